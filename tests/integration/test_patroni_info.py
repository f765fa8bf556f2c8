# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_info against a real cluster: what it says, with members that are gone, with endpoints of no use, and without the configuration store."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

import pytest
from conftest import Runner
from patroni_cluster import PATRONI_VERSION, PatroniCluster, patroni_cluster

Result = dict[str, t.Any]


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[PatroniCluster]:
    """A cluster of three members."""
    with patroni_cluster(server_root / "patroni-info") as running:
        yield running


@pytest.fixture
def ask(cluster: PatroniCluster, run_module: Runner) -> t.Callable[..., Result]:
    """Run the module on the cluster."""

    def run(**options: t.Any) -> Result:
        return run_module("patroni_info", {**cluster.access, **options})

    return run


def test_a_cluster_in_order(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    leader = cluster.settle()
    cluster.patch(mainstay={"api_token": "hush-hush"})
    found = ask(wait_for="healthy", expected_members=["data1", "data2", "data3"])
    assert not found["failed"] and not found["changed"] and found["healthy"] and found["problems"] == []
    assert (found["cluster"], found["leader"], found["timeline"]) == ("ledger", leader.name, 1)
    assert found["synchronous_mode"] == "off" and found["synchronous_standbys"] == [] and found["pending_restart"] == []
    assert not found["paused"] and not found["standby_cluster"] and found["scheduled_switchover"] == {} and found["scheduled_restarts"] == []
    assert found["config"]["loop_wait"] == 1 and found["config"]["mainstay"] == {"api_token": "********"}
    assert [endpoint["url"] for endpoint in found["endpoints"]] == cluster.access["endpoints"]
    for endpoint in found["endpoints"]:
        assert endpoint["reachable"] and endpoint["problem"] == "" and endpoint["leader"] == leader.name and endpoint["patroni_version"] == PATRONI_VERSION
    assert found["seconds"] > 0
    for told in found["members"]:
        member, leads = cluster.member(told["name"]), told["name"] == leader.name
        with cluster.connect(member) as connection:
            version = connection.info.server_version
        assert told == {
            **{"name": member.name, "host": "127.0.0.1", "port": member.port, "api_url": member.url, "role": "leader" if leads else "replica"},
            **{"state": "running", "timeline": 1, "lag_bytes": None if leads else told["lag_bytes"], "streams": None if leads else True},
            **{"pending_restart": False, "pending_restart_reason": {}, "scheduled_restart": {}, "tags": {}, "reachable": True},
            **{"patroni_version": PATRONI_VERSION, "postgres_version": f"{version // 10000}.{version % 10000}"},
        }
        assert leads or 0 <= told["lag_bytes"] < 1 << 20


def test_what_is_planned_and_what_waits(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    leader = cluster.settle()
    standby = cluster.replicas()[0]
    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    cluster.patch(postgresql={"parameters": {"max_connections": 111}})
    assert cluster.call(leader, "/switchover", "POST", {"leader": leader.name, "candidate": standby.name, "scheduled_at": at})[0] == 202
    assert cluster.call(standby, "/restart", "POST", {"schedule": at})[0] == 202
    cluster.patch(pause=True, synchronous_mode=True)
    found = ask()
    assert found["scheduled_switchover"]["from"] == leader.name and found["scheduled_switchover"]["to"] == standby.name
    assert [entry["name"] for entry in found["scheduled_restarts"]] == [standby.name]
    assert found["paused"] and not found["healthy"] and "the cluster is paused" in found["problems"][0]
    assert found["synchronous_mode"] == "on"
    cluster.patch(pause=None, synchronous_mode=False)
    assert cluster.call(leader, "/switchover", "DELETE")[0] == cluster.call(standby, "/restart", "DELETE")[0] == 200
    assert ask(wait_for="healthy")["pending_restart"] == ["data1", "data2", "data3"]


def test_a_member_that_is_gone_is_a_problem_until_it_is_back(cluster: PatroniCluster, ask: t.Callable[..., Result], run_module: Runner) -> None:
    leader = cluster.settle()
    gone = cluster.replicas()[0]
    endpoints = [gone.url, *(member.url for member in cluster.members if member is not gone)]
    gone.kill()
    found = ask(endpoints=endpoints, wait_for="leader", expected_members=["data1", "data4"])
    assert not found["failed"] and found["leader"] == leader.name and not found["healthy"]
    assert any(text.startswith(f"{gone.name} does not answer") for text in found["problems"]) and "data4 is not a member of the cluster" in found["problems"]
    assert [endpoint["reachable"] for endpoint in found["endpoints"]] == [False, True, True] and "refused" in found["endpoints"][0]["problem"]
    assert [member["reachable"] for member in found["members"] if member["name"] == gone.name] == [False]
    late = ask(wait_for="healthy", wait_timeout=1)
    assert late["failed"] and "within 1 seconds this did not pass" in late["msg"] and gone.name in late["msg"]
    waiting = run_module.start("patroni_info", {**cluster.access, "wait_for": "healthy"})
    gone.server.start()
    assert run_module.finish(waiting)["healthy"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_password": "wrong"}, "refused the login (it answered 401"),
        ({"ca_cert": None}, "certificate verify failed"),
        ({"ca_cert": "/nowhere"}, "/nowhere"),
    ],
)
def test_endpoints_of_no_use_are_told(ask: t.Callable[..., Result], options: Result, words: str) -> None:
    refused = ask(**options)
    assert refused["failed"] and words in refused["msg"], refused


def test_endpoints_that_nobody_listens_on(cluster: PatroniCluster, ask: t.Callable[..., Result], closed_port: int) -> None:
    refused = ask(endpoints=[f"127.0.0.1:{closed_port}", f"http://127.0.0.1:{cluster.members[0].api_port}"])
    assert refused["failed"] and f"https://127.0.0.1:{closed_port}: [Errno 111]" in refused["msg"] and "http://127.0.0.1" in refused["msg"], refused
    without_checks = ask(endpoints=[f"127.0.0.1:{cluster.members[1].api_port}"], ca_cert=None, validate_certs=False, api_user=None, api_password=None)
    assert not without_checks["failed"] and without_checks["leader"], without_checks


def test_without_the_configuration_store(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    cluster.settle()
    cluster.etcds[0].kill()
    found = ask()
    assert not found["failed"] and not found["healthy"], found
    assert any("nobody can read the configuration store" in text for text in found["problems"]), found["problems"]
    assert found["leader"] == "" and found["members"] == [] and found["timeline"] is None and all(endpoint["reachable"] for endpoint in found["endpoints"])
    waited = ask(wait_for="leader", wait_timeout=0)
    assert waited["failed"] and "could not see a leader" in waited["msg"]
