# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a server's INFO: the source, the method, the refusals, the bounds of the key counts."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import due
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, parse_info
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import (
    KeyBounds,
    Keyspace,
    Replica,
    ServerFacts,
    bounds_from,
    compare_keys,
    facts_from,
    key_bounds,
)
from ansible_collections.mainstay.ops.plugins.module_utils._redis.restore import Target, check_program, check_target
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import (
    FUZZY,
    Candidate,
    HostMemory,
    Unfit,
    choose_method,
    choose_source,
    fork_findings,
    replica_problem,
)
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import Listen, configuration

MASTER_INFO = b"""# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nprocess_id:4711\r\nrun_id:aa\r\n
# Memory\r\nused_memory:1000\r\nused_memory_rss:2000\r\ntotal_system_memory:9000\r\n
# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:3\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:1795370329\r\naof_rewrite_in_progress:0\r\n
# Stats\r\nexpired_keys:1\r\nevicted_keys:0\r\n
# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=70,lag=1\r\n
slave1:ip=fd00::3,port=6380,state=wait_bgsave,offset=0,lag=0\r\nmaster_replid:bb\r\nmaster_repl_offset:77\r\nslave_repl_offset:5\r\n
# Keyspace\r\ndb0:keys=12,expires=2,avg_ttl=0\r\ndb11:keys=1,expires=0,avg_ttl=0\r\n"""
MASTER = facts_from(parse_info(MASTER_INFO))
REPLICA = dataclasses.replace(MASTER, role="replica", link_status="up", link_age=1, master="10.0.0.1:6379", replicas=())
LOGIN = Login("10.0.0.1", password="hush")
MOMENT = datetime.datetime(2026, 11, 22, 18, tzinfo=datetime.timezone.utc)


def changed(facts: ServerFacts, **fields: t.Any) -> ServerFacts:
    """Return facts with some fields replaced."""
    return dataclasses.replace(facts, **fields)


def test_facts_of_a_master() -> None:
    assert (MASTER.name, MASTER.role, MASTER.offset, MASTER.key_count, MASTER.process_id) == ("Redis 7.0.15", "master", 77, 13, 4711)
    assert MASTER.replicas == (Replica("10.0.0.2", 6379, "online", 70), Replica("fd00::3", 6380, "wait_bgsave", 0))
    assert MASTER.keyspace == {"db0": Keyspace(12, 2), "db11": Keyspace(1, 0)}
    assert MASTER.changes == (3, 1795370329, 1, 0)


def test_facts_of_a_valkey_replica() -> None:
    text = "server_name:valkey\nredis_version:7.2.4\nvalkey_version:8.1.1\nrole:slave\nmaster_host:m\nmaster_port:1\nmaster_link_status:down\n"
    facts = facts_from(parse_info(text + "master_last_io_seconds_ago:-1\nslave_repl_offset:9\nmaster_repl_offset:8\nmaster_sync_in_progress:1\n"))
    assert (facts.name, facts.role, facts.offset, facts.link_status, facts.link_age) == ("Valkey 8.1.1", "replica", 9, "down", -1)
    assert facts.sync_in_progress and facts.master == "m:1"


def test_a_login_shows_no_password() -> None:
    assert "hush" not in repr(LOGIN)
    assert (LOGIN.at("fd00::3", 6380).address, LOGIN.at("fd00::3", 6380).password) == ("[fd00::3]:6380", "hush")


@pytest.mark.parametrize(
    ("fields", "lag", "words"),
    [
        ({}, 0, ""),
        ({}, 30, ""),
        ({}, 30.1, "30.1 seconds behind"),
        ({"role": "master"}, 0, "not a replica"),
        ({"loading": True}, 0, "still loading"),
        ({"sync_in_progress": True}, 0, "still loading"),
        ({"link_status": "down"}, 0, "10.0.0.1:6379 is down"),
        ({"replication_id": "cc"}, 0, "follows another master"),
    ],
)
def test_fitness_of_a_replica(fields: dict[str, t.Any], lag: float, words: str) -> None:
    problem = replica_problem(changed(REPLICA, **fields), 30, lag, MASTER.replication_id)
    assert words in problem
    assert bool(problem) == bool(words)


def replica(port: int, problem: str = "", offset: int = 70) -> Candidate | Unfit:
    """Return a replica that can be read from, or one with a problem."""
    login = LOGIN.at("10.0.0.2", port)
    return Unfit(login, problem) if problem else Candidate(login, changed(REPLICA, offset=offset))


@pytest.mark.parametrize(
    ("replicas", "port", "warned"),
    [
        ([], 6379, False),
        ([replica(1)], 1, False),
        ([replica(1, offset=70), replica(2, offset=75)], 2, False),
        ([replica(1, "its link is down"), replica(2)], 2, False),
        ([replica(1, "its link is down"), replica(2, "unreachable")], 6379, True),
    ],
)
def test_choice_of_the_source(replicas: list[Candidate | Unfit], port: int, warned: bool) -> None:
    chosen, warnings = choose_source(Candidate(LOGIN, MASTER), replicas)
    assert chosen.login.port == port
    assert bool(warnings) == warned
    assert not warned or "10.0.0.2:1: its link is down; 10.0.0.2:2: unreachable" in warnings[0]


@pytest.mark.parametrize(
    ("requested", "psync", "bgsave", "expected", "warned"),
    [
        ("auto", "", "", "psync", ()),
        ("auto", "", "elsewhere", "psync", ()),
        ("auto", "unknown", "", "bgsave", ("(psync: unknown)",)),
        ("auto", "unknown", "elsewhere", "scan", ("(psync: unknown; bgsave: elsewhere)", FUZZY)),
        ("psync", "", "", "psync", ()),
        ("bgsave", "", "", "bgsave", ()),
        ("scan", "", "", "scan", (FUZZY,)),
        ("psync", "unknown", "", None, ()),
        ("bgsave", "", "elsewhere", None, ()),
    ],
)
def test_choice_of_the_method(requested: str, psync: str, bgsave: str, expected: str | None, warned: tuple[str, ...]) -> None:
    problems = {"psync": psync, "bgsave": bgsave}
    if expected is None:
        with pytest.raises(InvalidInput, match=problems[requested]):
            choose_method(requested, problems)
        return
    method, warnings = choose_method(requested, problems)
    assert method == expected and len(warnings) == len(warned)
    assert all(words in warning for words, warning in zip(warned, warnings))


@pytest.mark.parametrize(
    ("fields", "host", "method", "refused", "warned"),
    [
        ({}, HostMemory(9000, 1), "psync", "", ""),
        ({}, HostMemory(1999, 1), "psync", "", ""),
        ({}, HostMemory(1999, 0), "psync", "", "vm.overcommit_memory is 0"),
        ({}, HostMemory(199, 1), "psync", "too little", ""),
        ({}, None, "psync", "", ""),
        ({"system_memory": 3000}, None, "psync", "", "more than half"),
        ({"child_running": True}, None, "psync", "", "waits for its end"),
        ({"child_running": True}, None, "bgsave", "running already", ""),
        ({"loading": True}, None, "psync", "still loading", ""),
        ({"loading": True}, None, "scan", "still loading", ""),
        ({"child_running": True}, HostMemory(199, 0), "scan", "", ""),
    ],
)
def test_whether_a_server_can_fork(fields: dict[str, t.Any], host: HostMemory | None, method: str, refused: str, warned: str) -> None:
    problem, warnings = fork_findings(changed(MASTER, **fields), host, method)
    assert refused in problem and bool(problem) == bool(refused)
    assert warned in " ".join(warnings) and bool(warnings) == bool(warned)


@pytest.mark.parametrize(
    ("after", "exact", "databases"),
    [
        ({}, True, {"db0": (12, 12), "db11": (1, 1)}),
        ({"changes": (4, 1795370329, 1, 0)}, False, {"db0": (12, 12), "db11": (1, 1)}),
        ({"keyspace": {"db0": Keyspace(9, 2), "db2": Keyspace(5, 0)}}, False, {"db0": (9, 12), "db2": (0, 5), "db11": (0, 1)}),
        ({"run_id": "other"}, False, {"db0": (12, 12), "db11": (1, 1)}),
    ],
)
def test_bounds_of_the_keys(after: dict[str, t.Any], exact: bool, databases: dict[str, tuple[int, int]]) -> None:
    bounds = key_bounds(MASTER, changed(MASTER, **after))
    assert bounds == KeyBounds(databases, exact)
    assert bounds_from(bounds.as_dict()) == bounds


@pytest.mark.parametrize(
    "contents", [None, "x", [], {"keys": 7}, {"keys": {"db0": None}}, {"keys": {"db0": {"min": 1}}}, {"keys": {"db0": {"min": "x", "max": 1}}}]
)
def test_bounds_that_are_none(contents: t.Any) -> None:
    with pytest.raises(MainstayError, match="could not read the contents"):
        bounds_from(contents)


def test_a_save_that_was_running_makes_bounds_inexact() -> None:
    assert not key_bounds(changed(MASTER, child_running=True), MASTER).exact


@pytest.mark.parametrize(
    ("exact", "loaded", "failed", "warned"),
    [
        (True, {"db0": 12, "db1": 3}, False, False),
        (True, {"db0": 11, "db1": 3}, True, False),
        (True, {"db0": 12}, True, False),
        (True, {"db0": 12, "db1": 3, "db2": 1}, True, False),
        (False, {"db0": 12, "db1": 5}, False, False),
        (False, {"db0": 12, "db1": 6}, False, True),
    ],
)
def test_comparison_of_the_keys(exact: bool, loaded: dict[str, int], failed: bool, warned: bool) -> None:
    failure, warning = compare_keys(KeyBounds({"db0": (12, 12), "db1": (3, 3 if exact else 5)}, exact), loaded)
    assert (bool(failure), bool(warning)) == (failed, warned)


def manifest(**fields: t.Any) -> Manifest:
    """Return a manifest of a snapshot."""
    values: dict[str, t.Any] = {
        "id": "20261122T180000Z-00000000",
        "kind": "redis",
        "method": "psync",
        "name": "x",
        "started": MOMENT,
        "finished": MOMENT,
        "recoverable_from": MOMENT,
        "recoverable_to": MOMENT,
        "source": {"rdb_magic": "REDIS0010"},
        "contents": {"keys": {"db0": {"min": 1, "max": 1}, "db15": {"min": 1, "max": 1}}, "keys_exact": True},
        "objects": (),
        "compression": {"type": "none"},
        "encryption": {"type": "none"},
    }
    return Manifest(**{**values, **fields})


SETTINGS = {"masteruser": "", "masterauth": "hush", "databases": "16", "save": "", "appendonly": "no"}
TARGET = Target("127.0.0.1:6379", True, changed(MASTER, keyspace={}), SETTINGS, {}, False)


@pytest.mark.parametrize(
    ("target", "stored", "words"),
    [
        ({}, {}, ""),
        ({"local": False}, {}, "another host"),
        ({"facts": changed(MASTER, keyspace={}, mode="cluster")}, {}, "cluster"),
        ({"facts": changed(REPLICA, keyspace={})}, {}, "restore into its master 10.0.0.1:6379"),
        ({"facts": changed(REPLICA, keyspace={}), "watched": True}, {}, "which Sentinel names"),
        ({"facts": changed(REPLICA, keyspace={}, master="127.0.0.1:7", link_status="down")}, {}, "as after a restore that was killed"),
        ({"facts": changed(MASTER, keyspace={}, loading=True)}, {}, "still loading"),
        ({"settings": {"databases": "16"}}, {}, "cannot be read"),
        ({"settings": {**SETTINGS, "databases": "15"}}, {}, "the backup has database 15, the server has 15"),
        ({"facts": MASTER}, {}, "it holds 13 keys"),
        ({}, {"source": {"rdb_magic": "REDIS0012"}}, "RDB version 12; Redis 7.0.15 loads up to 10"),
        ({}, {"source": {"rdb_magic": "VALKEY080"}}, "Valkey's own format"),
    ],
)
def test_what_is_not_restored_into(target: dict[str, t.Any], stored: dict[str, t.Any], words: str) -> None:
    wanted = dataclasses.replace(TARGET, **target)
    assert "hush" not in repr(wanted)
    if not words:
        check_target(wanted, manifest(**stored), force=False)
        return
    with pytest.raises(InvalidInput) as caught:
        check_target(wanted, manifest(**stored), force=False)
    assert words in str(caught.value)


def test_force_lets_keys_go() -> None:
    check_target(dataclasses.replace(TARGET, facts=MASTER), manifest(), force=True)


@pytest.mark.parametrize(
    ("here", "live", "allowed"),
    [("7.0.15", "7.0.15", True), ("7.0.15", "8.0.1", True), ("6.2.1", "7.0.15", True), ("8.0.1", "7.2.4", False)],
)
def test_the_throwaway_server_must_not_be_newer(here: str, live: str, allowed: bool) -> None:
    if allowed:
        check_program(changed(MASTER, version=live), changed(MASTER, version=here), manifest())
    else:
        with pytest.raises(InvalidInput, match="sends a newer format"):
            check_program(changed(MASTER, version=live), changed(MASTER, version=here), manifest())


@pytest.mark.parametrize(("max_age", "age", "expected"), [(3600, 3600, False), (3600, 3601, True), (0, 0, True), (3600, None, True)])
def test_when_a_backup_is_due(max_age: int, age: int | None, expected: bool) -> None:
    newest = None if age is None else Backup("x", manifest())
    assert due(newest, max_age, MOMENT + datetime.timedelta(seconds=age or 0)) is expected


def test_configuration_of_a_throwaway_server() -> None:
    private = configuration('/tmp/a "b"', "word", None, keep_expired=True, may_debug=False).splitlines()
    assert 'dir "/tmp/a \\"b\\""' in private
    assert {"port 0", 'requirepass "word"', "replicaof 127.0.0.1 1", "bind 127.0.0.1"} <= set(private)
    public = configuration("/tmp/a", "word", Listen(7000, {"tls-cert-file": "/c", "tls-key-file-pass": ""}), keep_expired=False, may_debug=True).splitlines()
    assert {"port 0", "tls-port 7000", 'tls-cert-file "/c"'} <= set(public)
    assert not any(line.startswith(("replicaof", "tls-key-file-pass")) for line in public)
    assert not any(line.startswith("user ") for line in (*private, *public))
    named = configuration("/tmp/a", "word", Listen(7000, user="follower", password="hush"), keep_expired=False, may_debug=False).splitlines()
    assert 'user "follower" on ">hush" ~* +@all' in named and 'requirepass "word"' in named
    assert "hush" not in repr(Listen(7000, user="follower", password="hush"))
    assert "enable-debug-command local" in public and not any(line.startswith("enable-debug") for line in private)
