# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a switchover: the target, the priorities that leave no choice, how long writes may be held, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import facts_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.switchover import Plan, plan_switchover, run, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import Address, KnownReplica, SentinelView, ServerView, Topology

A, B, C, D = (Address("10.0.0.1", 6379), Address("10.0.0.2", 6379), Address("10.0.0.3", 6379), Address("10.0.0.3", 6380))
INFO = {"redis_version": "7.0.15", "master_replid": "r"}
REPLICA = {**INFO, "role": "slave", "master_host": "10.0.0.1", "master_port": "6379", "master_link_status": "up"}


def server(address: Address, priority: int, offset: int = 100, **fields: str) -> ServerView:
    """A replica."""
    return ServerView(address, facts=facts_from({**REPLICA, "slave_repl_offset": str(offset), **fields}), priority=priority)


def topology(*replicas: ServerView, version: str = "7.0.15", **fields: t.Any) -> Topology:
    """Three Sentinels that agree, a master and these replicas; ``fields`` are those of the first Sentinel."""
    master = ServerView(A, facts=facts_from({**INFO, "redis_version": version, "role": "master", "master_repl_offset": "100"}))
    known = tuple(KnownReplica(replica.address, replica.priority or 7, ("slave",)) for replica in replicas)
    view = SentinelView(
        A, "", A, known, known_sentinels=3, usable_sentinels=3, quorum=2, quorum_ok=True, quorum_says="OK", down_after=5.0, failover_timeout=60.0
    )
    sentinels = tuple(dataclasses.replace(view, address=address._replace(port=26379)) for address in (A, B, C))
    return Topology((dataclasses.replace(sentinels[0], **fields), *sentinels[1:]), {A: master, **{replica.address: replica for replica in replicas}})


def plan(seen: Topology, wanted: str = "", max_lag_bytes: int = 10, max_pause: float = 10) -> Plan:
    """The plan for a topology."""
    return plan_switchover(seen, "main", wanted, max_lag_bytes, max_pause)


@pytest.mark.parametrize(
    ("replicas", "wanted", "target", "priorities"),
    [
        ((server(B, 100), server(C, 10)), "", C, {}),
        ((server(B, 10, 95), server(C, 10, 100)), "", C, {C: (10, 1)}),
        ((server(B, 10), server(C, 10)), "", B, {B: (10, 1)}),
        ((server(B, 0), server(C, 100)), "", C, {}),
        ((server(B, 10, master_link_status="down"), server(C, 100)), "", C, {C: (100, 1)}),
        ((server(B, 100), server(C, 10)), "10.0.0.2", B, {B: (100, 1)}),
        ((server(B, 1), server(C, 100)), "10.0.0.3:6379", C, {C: (100, 1), B: (1, 2)}),
        ((server(B, 1), server(C, 1)), "10.0.0.3", C, {B: (1, 2)}),
        ((server(B, 100), server(C, 0)), "10.0.0.3", C, {C: (0, 1)}),
        ((server(C, 0), server(D, 0)), "10.0.0.3:6380", D, {D: (0, 1)}),
    ],
)
def test_the_sentinels_have_no_choice(replicas: tuple[ServerView, ...], wanted: str, target: Address, priorities: dict[Address, tuple[int, int]]) -> None:
    made = plan(topology(*replicas), wanted)
    assert (made.old, made.target, made.priorities) == (A, target, priorities)
    positive = {address: priority for address, priority in made.seen.items() if priority > 0}
    assert all(priority > positive[target] for address, priority in positive.items() if address != target)
    assert set(made.seen) == {replica.address for replica in replicas}


def test_the_actions_in_words() -> None:
    made = plan(topology(server(B, 100), server(C, 1)), "10.0.0.2")
    assert made.actions == [
        "give 10.0.0.2:6379 the replica-priority 1 for the time",
        "give 10.0.0.3:6379 the replica-priority 2 for the time",
        "hold the writes to 10.0.0.1:6379 until 10.0.0.2:6379 has all of them",
        "make 10.0.0.1:6379 a replica of 10.0.0.2:6379",
        "have the Sentinels promote 10.0.0.2:6379",
        "drop the clients of 10.0.0.1:6379",
        "give 10.0.0.2:6379 its replica-priority 100 again",
        "give 10.0.0.3:6379 its replica-priority 1 again",
    ]


@pytest.mark.parametrize(("down_after", "max_pause", "hold"), [(5.0, 10, 2.5), (30.0, 10, 10), (1.0, 10, 0.5), (5.0, 1, 1)])
def test_writes_are_held_so_short_that_no_sentinel_holds_the_master_for_down(down_after: float, max_pause: float, hold: float) -> None:
    seen = topology(server(B, 1))
    seen = dataclasses.replace(seen, sentinels=(*(dataclasses.replace(view, down_after=60.0) for view in seen.sentinels[:2]), seen.sentinels[2]))
    seen = dataclasses.replace(seen, sentinels=(*seen.sentinels[:2], dataclasses.replace(seen.sentinels[2], down_after=down_after)))
    assert plan(seen, max_pause=max_pause).hold == hold


def test_the_master_is_no_change() -> None:
    made = plan(topology(server(B, 1), quorum_ok=False), "10.0.0.1:6379")
    assert (made.actions, made.old, made.target) == ([], A, A)


@pytest.mark.parametrize(
    ("seen", "wanted", "words"),
    [
        (topology(server(B, 1), master=B), "", "name different masters"),
        (topology(server(B, 1), failover_in_progress=True), "", "is failing over"),
        (topology(server(B, 1), quorum_ok=False, quorum_says="NOQUORUM"), "", "sees no quorum: NOQUORUM"),
        (topology(server(B, 1), tilt=True), "", "TILT"),
        (topology(server(B, 1), known_sentinels=7), "", "3 of 7 Sentinels answer"),
        (topology(server(B, 1), version="6.0.16"), "", "Redis 6.0.16 cannot hold writes alone"),
        (topology(server(B, 1)), "10.9.9.9", "which is none of the servers"),
        (topology(server(C, 1), server(D, 2)), "10.0.0.3", "which is 2 of the servers"),
        (topology(server(B, 1, 89)), "", "lacks 11 bytes of 10.0.0.1:6379, 10 are allowed"),
        (topology(server(B, 1, master_link_status="down")), "10.0.0.2", "its link is down"),
        (topology(server(B, 0)), "", "has the priority 0"),
        (topology(), "", "it has no replica"),
        (topology(server(B, 100), ServerView(C, "timed out", priority=1)), "10.0.0.2", "has the best priority and does not answer"),
    ],
)
def test_what_is_refused(seen: Topology, wanted: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(seen, wanted)
    assert words in str(caught.value)
    assert "nothing was changed" in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("max_pause", 0), ("max_lag_bytes", -1), ("wait_timeout", 0)])
def test_options_that_cannot_be_right(name: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is {value}"):
        run({"max_pause": 1, "max_lag_bytes": 0, "wait_timeout": 1, name: value}, check_mode=False)


def test_a_signal_waits_until_the_end() -> None:
    done: list[str] = []

    def stop(number: int, frame: object) -> None:
        raise MainstayError("go on", "stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(MainstayError, match="stopped"), uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the rest")
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["the rest"]


def test_an_error_is_not_hidden_by_a_signal() -> None:
    with pytest.raises(MainstayError, match="broken"), uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        raise MainstayError("go on", "broken")
