# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for Redis at two sites: who follows whom, who is promoted, what is refused, and what would be lost."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import facts_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.site_plan import FOLLOWING, PROMOTED, Plan, Site, Wish, plan
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import Address, ServerView

A1, A2 = Address("10.0.0.1", 6379), Address("10.0.0.2", 6379)
B1, B2, B3 = Address("10.1.0.1", 6379), Address("10.1.0.2", 6379), Address("10.1.0.3", 6379)
INFO = {"redis_version": "7.0.15", "master_replid": "r"}


def master(address: Address, offset: int = 100, keys: int = 0) -> ServerView:
    """A server that takes writes."""
    keyspace = {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {}
    return ServerView(address, facts=facts_from({**INFO, **keyspace, "role": "master", "master_repl_offset": str(offset)}))


def replica(address: Address, of: Address, offset: int = 100, **fields: str) -> ServerView:
    """A server that follows another one."""
    link = {"master_link_status": "up", "master_last_io_seconds_ago": "1", "slave_repl_offset": str(offset)}
    return ServerView(address, facts=facts_from({**INFO, "role": "slave", "master_host": of.host, "master_port": str(of.port), **link, **fields}))


def silent(address: Address) -> ServerView:
    """A server that does not answer."""
    return ServerView(address, "no route")


DOWN = {"master_link_status": "down", "master_link_down_since_seconds": "7"}
THERE = Site((master(A1), replica(A2, A1)))
GONE = Site((silent(A1), silent(A2)))
HERE = Site((replica(B1, A1), replica(B2, B1)))
CUT = Site((replica(B1, A1, **DOWN), replica(B2, B1, 90)))


@pytest.mark.parametrize(
    ("here", "there", "moves"),
    [
        (Site((master(B1), master(B2))), THERE, ((B1, A1), (B2, B1))),
        (HERE, THERE, ()),
        (Site((replica(B1, A1), replica(B2, A1))), THERE, ((B2, B1),)),
        (Site((replica(B1, B2), replica(B2, A1))), THERE, ()),
        # The other site had a failover of its own.
        (HERE, Site((replica(A1, A2), master(A2))), ((B1, A2),)),
        # A site that was promoted and is given up keeps its head.
        (Site((replica(B1, B2), master(B2))), THERE, ((B2, A1),)),
        (Site((silent(B1), replica(B2, B1))), THERE, ((B2, A1),)),
        (CUT, GONE, ()),
    ],
)
def test_following(here: Site, there: Site, moves: tuple[tuple[Address, Address], ...]) -> None:
    assert sorted(plan(here, there, Wish(FOLLOWING)).follow) == sorted(moves)


@pytest.mark.parametrize(
    ("here", "there", "options", "words"),
    [
        (Site((master(B1, keys=3),)), THERE, {"state": FOLLOWING}, "discard=true"),
        (Site((master(B1),)), GONE, {"state": FOLLOWING}, "no server of the other site answers"),
        (HERE, Site((master(A1), master(A2))), {"state": FOLLOWING}, "where one must be"),
        (Site((silent(B1),)), THERE, {"state": PROMOTED}, "none of its servers answers"),
        (Site((replica(B1, A1), master(A1))), THERE, {"state": PROMOTED}, "named for both sites"),
        (HERE, THERE, {"state": PROMOTED}, "still takes writes"),
        (CUT, GONE, {"state": PROMOTED}, "cannot be seen"),
        (Site((master(B1), master(B2))), GONE, {"state": PROMOTED, "fenced": True}, "are masters already"),
        (Site((master(B1), replica(B2, B1))), THERE, {"state": PROMOTED}, "and so is 10.0.0.1:6379"),
        (Site((replica(B1, A1, master_sync_in_progress="1"),)), GONE, {"state": PROMOTED, "fenced": True}, "being synchronised"),
        (CUT, GONE, {"state": PROMOTED, "fenced": True, "max_lost_bytes": 10}, "nobody knows how many bytes"),
        (CUT, GONE, {"state": PROMOTED, "fenced": True, "max_lost_seconds": 5}, "up to 7 seconds"),
        (HERE, GONE, {"state": PROMOTED, "planned": True}, "no server of the other site answers"),
        (CUT, THERE, {"state": PROMOTED, "planned": True}, "no link to the data"),
        (Site((replica(B1, A1, 40),)), THERE, {"state": PROMOTED, "planned": True, "max_lag_bytes": 59}, "60 bytes behind"),
        (Site((replica(B1, A1, 90, **DOWN),)), Site((replica(A1, B1, 95),)), {"state": PROMOTED, "planned": True}, "5 bytes more"),
    ],
)
def test_refusals(here: Site, there: Site, options: dict[str, t.Any], words: str) -> None:
    with pytest.raises((InvalidInput, MainstayError), match="could not") as raised:
        plan(here, there, Wish(**options))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("here", "there", "options", "expected"),
    [
        (CUT, GONE, {"fenced": True}, Plan(None, B1, ((B2, B1),), B1, None, 7.0)),
        # The one that is further ahead, although it did not follow the other site itself.
        (Site((replica(B1, A1, 90, **DOWN), replica(B2, B1, 95))), GONE, {"fenced": True}, Plan(None, B2, ((B1, B2),), B2, None, 1.0)),
        (Site((replica(B1, A1, 70), silent(B2))), THERE, {"fenced": True}, Plan(None, B1, (), B1, 30, 1.0)),
        (HERE, THERE, {"planned": True}, Plan(A1, B1, ((B2, B1),), B1, 0, 0.0)),
        # The head, although the one behind it was asked a moment later, unless the head cannot be had.
        (Site((replica(B1, A1, 90), replica(B2, B1, 95))), THERE, {"planned": True}, Plan(A1, B1, ((B2, B1),), B1, 0, 0.0)),
        (Site((replica(B1, A1, 90, **DOWN), replica(B2, A2, 95))), THERE, {"planned": True}, Plan(A1, B2, ((B1, B2),), B2, 0, 0.0)),
        # Cut off: the source's master is a replica already.
        (CUT, Site((replica(A1, B1),)), {"planned": True}, Plan(None, B1, ((B2, B1),), B1, 0, 0.0)),
        (Site((master(B1), replica(B2, B1))), GONE, {}, Plan(None, None, (), B1, 0, 0.0)),
        (Site((master(B1), replica(B2, A1))), GONE, {"fenced": True}, Plan(None, None, ((B2, B1),), B1, 0, 0.0)),
    ],
)
def test_promotion(here: Site, there: Site, options: dict[str, t.Any], expected: Plan) -> None:
    found = plan(here, there, Wish(PROMOTED, **options))
    assert {**vars(found), "warnings": ()} == vars(expected)
    assert bool(found.actions) == bool(expected.promote or expected.follow)


def test_what_it_says() -> None:
    """The actions in order, and a warning for each server that was left out or still takes writes."""
    assert plan(HERE, THERE, Wish(PROMOTED, planned=True)).actions == [
        "hold the writes to 10.0.0.1:6379 until 10.1.0.1:6379 has all of them",
        "make 10.0.0.1:6379 a replica of 10.1.0.1:6379",
        "make 10.1.0.1:6379 a master",
        "make 10.1.0.2:6379 a replica of 10.1.0.1:6379",
    ]
    warned = plan(Site((replica(B1, A1), silent(B3))), THERE, Wish(PROMOTED, fenced=True)).warnings
    assert warned == (
        "10.0.0.1:6379 still answers as a master; see that no client reaches it",
        "10.1.0.3:6379 does not answer (no route) and was left as it is",
    )
