# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the answers of Sentinels and servers: who is the master, whether they agree, and what is wrong."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import facts_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import (
    Address,
    KnownReplica,
    SentinelView,
    ServerView,
    Topology,
    access_from,
    describe,
    fields_of,
    problems,
)

A, B, C = Address("10.0.0.1", 6379), Address("10.0.0.2", 6379), Address("fd00::3", 6379)
INFO = {"redis_version": "7.0.15", "master_replid": "r"}
MASTER = ServerView(A, facts=facts_from({**INFO, "role": "master", "master_repl_offset": "100"}))
REPLICA = {**INFO, "role": "slave", "master_host": "10.0.0.1", "master_port": "6379", "master_link_status": "up", "master_last_io_seconds_ago": "1"}
BEHIND = ServerView(B, facts=facts_from({**REPLICA, "slave_repl_offset": "90"}), priority=100)
LEVEL = ServerView(C, facts=facts_from({**REPLICA, "slave_repl_offset": "100"}), priority=50)
KNOWN = (KnownReplica(B, 100, ("slave",)), KnownReplica(C, 50, ("slave",)))
SENTINEL = SentinelView(
    A._replace(port=26379), "", A, KNOWN, known_sentinels=3, usable_sentinels=3, quorum=2, quorum_ok=True, quorum_says="OK 3 usable Sentinels"
)
WHOLE = Topology(
    tuple(dataclasses.replace(SENTINEL, address=address._replace(port=26379)) for address in (A, B, C)), {A: MASTER, B: BEHIND, C: LEVEL}
)
PARAMS = {
    **{"sentinels": [{"host": "s", "port": 26379}], "sentinel_user": None, "sentinel_password": "hush", "master_name": "main"},
    **{"login_user": "operator", "login_password": "quiet", "tls": False, "validate_certs": True, "ca_certs": None},
    **{"client_cert_file": None, "client_key_file": None},
}


def with_sentinel(**fields: t.Any) -> Topology:
    """The whole topology with another first Sentinel."""
    return dataclasses.replace(WHOLE, sentinels=(dataclasses.replace(WHOLE.sentinels[0], **fields), *WHOLE.sentinels[1:]))


def with_server(view: ServerView) -> Topology:
    """The whole topology with another server."""
    return dataclasses.replace(WHOLE, servers={**WHOLE.servers, view.address: view})


def changed(view: ServerView, **fields: t.Any) -> ServerView:
    """A server that says something else."""
    assert view.facts is not None
    return dataclasses.replace(view, facts=dataclasses.replace(view.facts, **fields))


def test_a_whole_topology() -> None:
    assert WHOLE.agreed and WHOLE.master == MASTER and WHOLE.replicas == (BEHIND, LEVEL)
    assert problems(WHOLE, expect_replicas=2, expect_sentinels=3) == []
    assert [WHOLE.lag_bytes(replica) for replica in WHOLE.replicas] == [10, 0]


def test_addresses_in_words() -> None:
    assert (str(A), str(C)) == ("10.0.0.1:6379", "[fd00::3]:6379")


@pytest.mark.parametrize(
    ("topology", "agreed", "words"),
    [
        (with_sentinel(error="refused", master=None, replicas=()), True, "the Sentinel at 10.0.0.1:26379 does not answer: refused"),
        (with_sentinel(master=B), False, "name different masters: 10.0.0.2:6379 by 10.0.0.1:26379; 10.0.0.1:6379 by 10.0.0.2:26379, [fd00::3]:26379"),
        (with_sentinel(quorum_ok=False, quorum_says="NOQUORUM 1 usable"), True, "sees no quorum: NOQUORUM 1 usable"),
        (with_sentinel(usable_sentinels=2), True, "knows 3 Sentinels, 2 of them are usable"),
        (with_sentinel(tilt=True), True, "is in TILT mode"),
        (with_sentinel(failover_in_progress=True), True, "the Sentinel at 10.0.0.1:26379 is failing over"),
        (with_sentinel(replicas=KNOWN[:1]), True, "the replica [fd00::3]:6379 is not known or not reachable to the Sentinels 10.0.0.1:26379"),
        (with_sentinel(replicas=(KnownReplica(B, 100, ("slave", "s_down")), KNOWN[1])), True, "the replica 10.0.0.2:6379 is not known or not reachable"),
        (with_server(ServerView(A, "timed out")), False, "the master 10.0.0.1:6379 does not answer: timed out"),
        (with_server(changed(MASTER, role="replica", master="x:1")), False, "name 10.0.0.1:6379 as the master, which says that it is a replica of x:1"),
        (with_server(ServerView(B, "timed out")), True, "the replica 10.0.0.2:6379 does not answer: timed out"),
        (with_server(changed(BEHIND, role="master")), True, "the replica 10.0.0.2:6379 says that it is a master"),
        (with_server(changed(BEHIND, link_status="down")), True, "its link is down"),
        (with_server(changed(BEHIND, sync_in_progress=True)), True, "it is being synchronised"),
        (with_server(changed(BEHIND, replication_id="other", master="x:1")), True, "follows another master, x:1"),
    ],
)
def test_what_is_wrong(topology: Topology, agreed: bool, words: str) -> None:
    found = problems(topology)
    assert topology.agreed is agreed
    assert [sentence for sentence in found if words in sentence], found
    assert describe(topology, "main")["problems"] == found


def test_nobody_answers() -> None:
    topology = Topology((SentinelView(A, "refused"),), {})
    assert (topology.master, topology.agreed, topology.replicas) == (None, False, ())
    assert "no Sentinel names a master" in problems(topology)
    assert describe(topology, "main")["master"] == {}


def test_what_is_expected() -> None:
    topology = with_server(ServerView(B, "timed out"))
    assert "1 replicas are linked to the master, 2 are expected" in problems(topology, expect_replicas=2)
    assert "3 Sentinels answer, 5 are expected" in problems(topology, expect_sentinels=5)


def test_a_replica_that_does_not_answer_has_the_priority_that_was_seen_last() -> None:
    (replica,) = (entry for entry in describe(with_server(ServerView(C, "timed out")), "main")["replicas"] if not entry["answers"])
    assert (replica["priority"], replica["lag_bytes"], replica["lag_seconds"], replica["offset"]) == (50, -1, -1, -1)


def test_fields() -> None:
    assert fields_of([b"name", b"main", b"flags", b"master,s_down"]) == {"name": "main", "flags": "master,s_down"}


def test_the_access_keeps_both_logins_apart_and_shows_no_password() -> None:
    access = access_from({**PARAMS, "sentinels": PARAMS["sentinels"] * 2})
    assert access.sentinels == (Address("s", 26379),)
    assert (access.sentinel_login.user, access.sentinel_login.password) == (None, "hush")
    assert (access.server_login.user, access.server_login.password) == ("operator", "quiet")
    assert "hush" not in repr(access) and "quiet" not in repr(access)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sentinels": []}, "sentinels is empty"),
        ({"sentinel_user": "x", "sentinel_password": None}, "sentinel_user is given without sentinel_password"),
        ({"login_password": None}, "login_user is given without login_password"),
        ({"tls": True, "ca_certs": "/nonexistent"}, "check ca_certs"),
    ],
)
def test_options_that_cannot_be_right(params: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        access_from({**PARAMS, **params})
