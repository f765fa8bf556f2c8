# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_switchover against a real cluster in synchronous mode, with three voters of etcd: nothing is lost, who may lead, and runs that are cut off."""

from __future__ import annotations

import datetime
import os
import pathlib
import signal
import typing as t

import pytest
import yaml
from conftest import SENTINEL, Runner
from patroni_cluster import API_PASSWORD, Member, PatroniCluster, Writer, arguments_of_processes, patroni_cluster, until

Result = dict[str, t.Any]
PLANNED = ("changed", "actions", "from", "to", "timeline_before", "timeline_after", "diff")


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[PatroniCluster]:
    """A cluster of three members in synchronous mode, and three voters."""
    with patroni_cluster(server_root / "patroni-switchover", voters=3, synchronous_mode=True) as running:
        yield running


@pytest.fixture
def ask(cluster: PatroniCluster, run_module: Runner) -> t.Callable[..., Result]:
    """Run the module on the cluster."""

    def run(check: bool = False, **options: t.Any) -> Result:
        return run_module("patroni_switchover", {**cluster.access, "wait_timeout": 60, **options}, check=check)

    return run


def standbys(cluster: PatroniCluster) -> tuple[Member, Member]:
    """Return the synchronous standby, and the other one."""
    cluster.settle()
    (name,) = cluster.synchronous()
    leader = cluster.leader()
    return cluster.member(name), next(member for member in cluster.members if member is not leader and member.name != name)


def test_a_switchover_loses_nothing(cluster: PatroniCluster, ask: t.Callable[..., Result], capsys: pytest.CaptureFixture[str]) -> None:
    leader = cluster.settle()
    target, unused = standbys(cluster)
    cluster.etcds[0].kill()  # two of three voters are enough
    planned = ask(check=True, candidate=target.name)
    assert cluster.leader() is leader
    with Writer(cluster) as writer:
        done = ask(candidate=target.name)
    with capsys.disabled():
        rows = len(writer.acknowledged)
        print(f"\nswitchover: gap {writer.gap:.2f} s, {rows} rows acknowledged, {writer.errors} errors; phases {done.get('phases')}", end="")
    assert not done["failed"], done
    assert writer.lost() == set()
    assert {name: planned[name] for name in PLANNED} == {name: done[name] for name in PLANNED}
    assert done["changed"] and (done["from"], done["to"]) == (leader.name, target.name)
    assert (done["timeline_before"], done["timeline_after"]) == (1, 2)
    assert done["diff"] == {"before": f"leader: {leader.name}\ntimeline: 1\n", "after": f"leader: {target.name}\ntimeline: 2\n"}
    assert set(done["phases"]) == {"plan", "switch over", "rejoin"} and done["seconds"] > done["phases"]["switch over"] > 0
    # It has waited for the old leader, so this needs no patience.
    assert cluster.call(target, "/primary")[0] == cluster.call(leader, "/replica")[0] == 200
    followers = {row["application_name"] for row in cluster.call(target, "/patroni")[1]["replication"]}
    assert followers == {member.name for member in cluster.members} - {target.name}
    assert {member["name"]: member["timeline"] for member in done["members"]} == {member.name: 2 for member in cluster.members}
    for check in (True, False):
        again = ask(check=check, candidate=target.name)
        assert not again["changed"] and again["actions"] == [] and again["from"] == again["to"] == target.name and again["timeline_after"] == 2
    not_leading = ask(leader=leader.name)
    assert not not_leading["changed"] and not_leading["to"] == target.name


def test_who_may_not_lead(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    synchronous, other = standbys(cluster)
    leader = cluster.settle()

    def refused(words: str, **options: t.Any) -> None:
        result = ask(**options)
        assert result["failed"] and words in result["msg"], result

    refused(f"it is not synchronous and may lack committed transactions (synchronous: {synchronous.name})", candidate=other.name)
    refused("there is no member data9, the cluster has data1, data2, data3", candidate="data9")
    refused(f"candidate and leader are both {other.name}", candidate=other.name, leader=other.name)
    refused(f"{leader.name} leads and not {other.name}", candidate=synchronous.name, leader=other.name)
    replay = synchronous.replay()
    os.kill(replay, signal.SIGSTOP)
    try:
        with cluster.connect(leader) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE lagging AS SELECT generate_series(1, 1000)")
        refused("bytes behind, more than 100", candidate=synchronous.name, max_lag_bytes=100, wait_timeout=1)
    finally:
        os.kill(replay, signal.SIGCONT)
    assert cluster.leader() is leader


def test_a_cluster_that_must_not_be_switched_over(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    synchronous, other = standbys(cluster)
    leader = cluster.settle()

    def refused(words: str) -> None:
        result = ask(candidate=synchronous.name)
        assert result["failed"] and words in result["msg"], result
        assert cluster.leader() is leader

    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    assert cluster.call(leader, "/switchover", "POST", {"leader": leader.name, "candidate": synchronous.name, "scheduled_at": at})[0] == 202
    refused("a switchover is scheduled at")
    assert cluster.call(leader, "/switchover", "DELETE")[0] == 200
    cluster.patch(pause=True)
    refused("the cluster is paused")
    cluster.patch(pause=None)
    tag(synchronous, nofailover=True)
    until(lambda: cluster.call(synchronous, "/patroni")[1].get("tags") == {"nofailover": True}, "the tag")
    refused("it has the tag nofailover")
    tag(synchronous)
    other.kill()
    refused(f"{other.name} does not answer")
    other.server.start()
    cluster.settle()


def tag(member: Member, **tags: t.Any) -> None:
    """Give a member tags, instead of those that it has."""
    path = member.folder / "patroni.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "tags": tags}))
    member.server.signal(signal.SIGHUP)


def test_a_run_that_was_cut_off_is_finished(cluster: PatroniCluster, ask: t.Callable[..., Result], run_module: Runner) -> None:
    leader = cluster.settle()
    timeline = cluster.call(leader, "/patroni")[1]["timeline"]
    options = {"leader": leader.name, "wait_timeout": 60}
    process = run_module.start("patroni_switchover", {**cluster.access, **options})
    until(lambda: cluster.call(leader, "/primary")[0] != 200, "the old leader's end")
    process.kill()
    process.wait(10)
    done = ask(**options)
    assert not done["failed"], done
    assert done["to"] != leader.name and done["timeline_after"] == timeline + 1
    new = cluster.settle()
    assert new.name == done["to"] and cluster.call(new, "/patroni")[1]["timeline"] == timeline + 1
    assert {member["streams"] for member in done["members"]} == {True, None}


def test_no_secret_shows(cluster: PatroniCluster, run_module: Runner) -> None:
    leader = cluster.settle()
    task = {"name": "Switch over", "mainstay.ops.patroni_switchover": {**cluster.access, "leader": leader.name}}
    with arguments_of_processes() as seen:
        run = run_module.tasks([task], "-vvv", "--diff", "--check")
        wrong = run_module("patroni_switchover", {**cluster.access, "leader": leader.name, "api_user": "nobody"})
    assert run.status == 0 and run.result["changed"] and run.result["from"] == leader.name, run.output
    assert wrong["failed"] and "refused the login" in wrong["msg"]
    for word in (API_PASSWORD, SENTINEL):
        assert word not in run.output + str(wrong)
        assert word not in " ".join(seen)
