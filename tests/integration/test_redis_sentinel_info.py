# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_sentinel_info against a real cluster, whole and with dead parts."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import threading
import time
import typing as t

import pytest
from conftest import Runner
from redis_cluster import Cluster, running, until

Result = dict[str, t.Any]


@pytest.fixture(scope="module")
def shared(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A cluster whose Sentinels notice soon what is dead."""
    with running(server_root / "info", priorities=(100, 10, 0), down_after=1.0) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """The cluster in order."""
    shared.settle()
    return shared


@pytest.fixture
def look(run_module: Runner, cluster: Cluster) -> t.Callable[..., Result]:
    """Run the module with users that may do no more than is documented; no secret is in what it returns."""

    def run(check: bool = False, **options: t.Any) -> Result:
        result = run_module("redis_sentinel_info", {**cluster.options("reader"), **options}, check=check)
        assert not result["changed"]
        assert cluster.password not in str(result) and cluster.sentinel_password not in str(result)
        return result

    return run


def test_a_healthy_cluster(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """Everything that is documented, against what the servers say."""
    master = cluster.master
    seen = look(expect_replicas=2, expect_sentinels=3, wait_for="healthy")
    assert look(check=True)["agreed"]
    assert (seen["agreed"], seen["problems"]) == (True, [])
    expected = {"name": "main", "host": "127.0.0.1", "port": master.port, "address": master.address, "answers": True, "role": "master"}
    assert expected.items() <= seen["master"].items()
    assert seen["master"]["version"].startswith("Redis ") and seen["master"]["offset"] > 0
    assert {replica["address"]: replica["priority"] for replica in seen["replicas"]} == {
        server.address: cluster.priority(server) for server in cluster.servers if server is not master
    }
    for replica in seen["replicas"]:
        assert (replica["answers"], replica["link_up"], replica["flags"]) == (True, True, ["slave"])
        assert replica["offset"] > 0 and replica["lag_bytes"] >= 0 and 0 <= replica["lag_seconds"] < 15
        assert f"{replica['host']}:{replica['port']}" == replica["address"]
    assert [sentinel["port"] for sentinel in seen["sentinels"]] == [sentinel.port for sentinel in cluster.sentinels]
    for sentinel in seen["sentinels"]:
        assert {**sentinel, "port": 0} == {
            "host": "127.0.0.1",
            "port": 0,
            "answers": True,
            "error": "",
            "master": master.address,
            "known_sentinels": 3,
            "known_replicas": 2,
            "quorum": 2,
            "quorum_ok": True,
            "tilt": False,
            "failover_in_progress": False,
        }


def test_a_client_that_read_a_snapshot_is_no_replica(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """Sentinel lists it for ever, with the port 0: that is no replica that has gone."""
    client = cluster.client(cluster.master)
    with contextlib.closing(client):
        client.connection_pool.get_connection().send_command("PSYNC", "?", "-1")
        until(lambda: any(replica["port"] == "0" for replica in cluster.replicas(cluster.sentinels[0])), "Sentinel taking a client for a replica")
    seen = look(wait_for="healthy", expect_replicas=2)
    assert seen["problems"] == [] and [sentinel["known_replicas"] for sentinel in seen["sentinels"]] == [2, 2, 2]
    for sentinel in cluster.sentinels:
        cluster.client(sentinel).execute_command("SENTINEL", "RESET", "main")


def test_a_dead_sentinel_and_a_dead_replica(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """The rest is seen all the same."""
    master = cluster.master
    replica = next(server for server in cluster.servers if server is not master)
    cluster.sentinels[0].stop()
    replica.stop()
    seen = look(expect_replicas=2, expect_sentinels=3)
    assert not seen["failed"] and seen["agreed"] and seen["master"]["address"] == master.address
    words = "\n".join(seen["problems"])
    assert f"the Sentinel at {cluster.sentinels[0].address} does not answer" in words
    assert f"the replica {replica.address} does not answer" in words
    assert "1 replicas are linked to the master, 2 are expected" in words
    assert "2 Sentinels answer, 3 are expected" in words
    assert [sentinel["answers"] for sentinel in seen["sentinels"]] == [False, True, True]
    (dead,) = (entry for entry in seen["replicas"] if entry["address"] == replica.address)
    assert (dead["answers"], dead["link_up"], dead["offset"], dead["lag_bytes"]) == (False, False, -1, -1)


def test_no_quorum(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """The last Sentinel knows that it is alone."""
    for sentinel in cluster.sentinels[1:]:
        sentinel.stop()
    deadline = time.monotonic() + 60
    while (seen := look())["sentinels"][0]["quorum_ok"]:
        assert time.monotonic() < deadline, seen
    assert f"the Sentinel at {cluster.sentinels[0].address} sees no quorum: NOQUORUM" in "\n".join(seen["problems"])


def test_waiting(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """It ends when all is well; what was seen last is told when it is not in time."""
    replica = next(server for server in cluster.servers if server is not cluster.master)
    replica.signal(signal.SIGSTOP)
    late = look(wait_for="healthy", wait_timeout=1)
    assert late["failed"] and f"the replica {replica.address} does not answer" in late["msg"] and "not so after 1 seconds" in late["msg"]
    assert late["agreed"] and late["problems"]
    timer = threading.Timer(2, replica.signal, [signal.SIGCONT])
    timer.start()
    assert not look(wait_for="healthy", wait_timeout=30)["failed"]
    timer.join()
    assert not look(wait_for="agreed", wait_timeout=1)["failed"]


def test_wrong_passwords(cluster: Cluster, look: t.Callable[..., Result]) -> None:
    """They are problems, told with the option to look at."""
    seen = look(sentinel_password="wrong")
    assert seen["master"] == {} and not seen["agreed"] and seen["replicas"] == []
    assert "see sentinel_user and sentinel_password" in seen["sentinels"][0]["error"]
    assert "no Sentinel names a master" in seen["problems"]
    seen = look(login_password="wrong")
    assert not seen["agreed"] and not seen["master"]["answers"]
    assert "invalid username-password pair" in "\n".join(seen["problems"])
    failed = look(sentinel_password=None)
    assert failed["failed"] and "sentinel_user is given without sentinel_password" in failed["msg"]
