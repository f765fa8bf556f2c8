# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_config against a real cluster: what is set, who is restarted in which order, what is refused, and that no secret shows."""

from __future__ import annotations

import pathlib
import secrets
import typing as t

import pytest
from conftest import SENTINEL, Runner
from patroni_cluster import API_PASSWORD, Member, PatroniCluster, Writer, arguments_of_processes, patroni_cluster, until

Result = dict[str, t.Any]


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[PatroniCluster]:
    """A cluster of three members."""
    with patroni_cluster(server_root / "patroni-config") as running:
        yield running


@pytest.fixture
def ask(cluster: PatroniCluster, run_module: Runner) -> t.Callable[..., Result]:
    """Run the module on the cluster."""

    def run(check: bool = False, **options: t.Any) -> Result:
        return run_module("patroni_config", {**cluster.access, "wait_timeout": 60, **options}, check=check)

    return run


def parameters(**wanted: t.Any) -> dict[str, t.Any]:
    """Return the settings that ask for parameters of PostgreSQL."""
    return {"postgresql": {"parameters": wanted}}


def start_times(cluster: PatroniCluster) -> dict[str, float]:
    """Return when PostgreSQL was started on each member."""
    return {member.name: cluster.start_time(member) for member in cluster.members}


def restarted_since(cluster: PatroniCluster, before: dict[str, float]) -> list[str]:
    """Return the members that were restarted, in order, as PostgreSQL itself says."""
    now = start_times(cluster)
    return sorted((name for name in now if now[name] != before[name]), key=now.__getitem__)


def test_settings_are_set_once(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    cluster.patch(postgresql={"parameters": {"lock_timeout": "9s"}})
    wanted = {"ttl": "25", "maximum_lag_on_failover": 2097152, **parameters(work_mem="9MB", log_connections=True)}
    planned = ask(check=True, settings=wanted)
    assert cluster.config()["ttl"] == 20 and "work_mem" not in cluster.config()["postgresql"]["parameters"]
    done = ask(settings=wanted)
    assert done["actions"] == planned["actions"] == [
        "set maximum_lag_on_failover to 2097152 (it was not set)",
        "set postgresql.parameters.log_connections to on (it was not set)",
        "set postgresql.parameters.work_mem to 9MB (it was not set)",
        "set ttl to 25 (it was 20)",
    ]
    assert {name: done[name] for name in ("changed", "diff", "config", "restarted", "pending_restart", "leader")} == {
        name: planned[name] for name in ("changed", "diff", "config", "restarted", "pending_restart", "leader")
    }
    assert done["changed"] and done["restarted"] == done["pending_restart"] == []
    assert done["diff"]["before"]["ttl"] == 20 and done["diff"]["after"] == done["config"] == cluster.config()
    assert done["config"]["ttl"] == 25 and done["config"]["postgresql"]["parameters"]["lock_timeout"] == "9s"
    assert done["leader"] == cluster.settle().name
    assert set(planned["phases"]) == {"plan"} and set(done["phases"]) == {"plan", "change the settings", "see every member act on them"}
    assert done["seconds"] >= sum(done["phases"].values()) - 0.1
    # The module has waited until every member acted, so this needs no patience.
    assert [cluster.setting(member, "work_mem") for member in cluster.members] == ["9MB"] * 3
    for check in (True, False):
        again = ask(check=check, settings={"ttl": 25, **parameters(work_mem="9216kB", log_connections="yes", lock_timeout="9000ms")})
        assert not again["changed"] and again["actions"] == [] and again["diff"]["before"] == again["diff"]["after"]


def test_null_and_purge_take_settings_away(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    cluster.patch(slots={"audit": {"type": "physical"}}, postgresql={"parameters": {"work_mem": "7MB", "lock_timeout": "7s", "statement_timeout": "70s"}})
    gone = ask(settings={"maximum_lag_on_failover": None, **parameters(lock_timeout=None, idle_session_timeout=None)})
    assert [action for action in gone["actions"] if "lock" in action] == ["remove postgresql.parameters.lock_timeout (it was 7s)"]
    assert "lock_timeout" not in cluster.config()["postgresql"]["parameters"] and "maximum_lag_on_failover" not in cluster.config()
    purged = ask(settings=parameters(work_mem="7MB"), purge_parameters=True)
    assert purged["changed"] and cluster.config()["postgresql"]["parameters"] == {"work_mem": "7MB"}
    assert cluster.config()["slots"] == {"audit": {"type": "physical"}}
    assert cluster.setting(cluster.members[1], "statement_timeout") == "0"
    assert ask(settings={"slots": {"audit": None}})["actions"] == ['remove slots.audit (it was {"type": "physical"})']
    assert cluster.config()["slots"] == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"postgresql": {"listen": "0.0.0.0:5432"}}}, "postgresql.listen belongs to each member's own configuration file"),
        ({"settings": {"ttl": 20, "retry_timeout": 10}}, "loop_wait 1 + 2 * retry_timeout 10 is more than ttl 20"),
        ({"settings": {"ttl": 30}, "purge_parameters": True}, "purge_parameters is given without settings.postgresql.parameters"),
        ({"settings": {"ttl": 30}, "api_password": "wrong"}, "refused the login (it answered 401"),
    ],
)
def test_what_cannot_be_right_is_refused(cluster: PatroniCluster, ask: t.Callable[..., Result], options: Result, words: str) -> None:
    before = cluster.config()
    refused = ask(check="api_password" in options, **options)
    assert refused["failed"] and words in refused["msg"], refused
    assert cluster.config() == before


def test_rolling_restart_by_switchover_loses_nothing(cluster: PatroniCluster, ask: t.Callable[..., Result], capsys: pytest.CaptureFixture[str]) -> None:
    cluster.patch(synchronous_mode=True)
    leader, before = cluster.settle(), start_times(cluster)
    options = {"settings": parameters(max_connections=120), "restart_pending": True, "leader": "switchover"}
    planned = ask(check=True, **options)
    assert start_times(cluster) == before
    with Writer(cluster) as writer:
        done = ask(**options)
    with capsys.disabled():
        print(f"\nrolling restart by switchover: gap {writer.gap:.2f} s, {len(writer.acknowledged)} rows acknowledged, {writer.errors} errors", end="")
    assert not done["failed"], done
    assert writer.lost() == set()
    assert planned["actions"] == done["actions"] and planned["restarted"] == done["restarted"]
    assert done["actions"][-2:] == [f"switch over from {leader.name} to the best standby", f"restart PostgreSQL on {leader.name}"]
    assert done["restarted"] == restarted_since(cluster, before) and done["restarted"][-1] == leader.name
    assert done["leader"] == cluster.settle().name != leader.name and done["pending_restart"] == []
    assert [cluster.setting(member, "max_connections") for member in cluster.members] == ["120"] * 3
    assert not ask(**options)["changed"]


def test_who_waits_is_told_and_a_run_that_was_cut_off_is_finished(cluster: PatroniCluster, ask: t.Callable[..., Result], run_module: Runner) -> None:
    cluster.patch(synchronous_mode=False)
    leader, before = cluster.settle(), start_times(cluster)
    wanted = parameters(max_connections=130)
    planned, done = ask(check=True, settings=wanted), ask(settings=wanted)
    for result in (planned, done):
        assert [entry["name"] for entry in result["pending_restart"]] == ["data1", "data2", "data3"]
        assert all("max_connections" in entry["reason"] for entry in result["pending_restart"])
    left = ask(check=True, restart_pending=True, leader="leave")
    assert len(left["restarted"]) == 2 and [entry["name"] for entry in left["pending_restart"]] == [leader.name]
    assert start_times(cluster) == before
    process = run_module.start("patroni_config", {**cluster.access, "restart_pending": True})

    def somebody_restarted() -> Member | None:
        return next((member for member in cluster.members if cluster.setting(member, "max_connections") == "130"), None)

    first = until(somebody_restarted, "the first restart")
    process.kill()
    process.wait(10)
    moment = cluster.start_time(first)
    finished = ask(restart_pending=True)
    assert not finished["failed"] and finished["changed"] and first.name not in finished["restarted"], finished
    assert finished["leader"] == leader.name and finished["restarted"][-1] == leader.name and finished["pending_restart"] == []
    assert cluster.start_time(first) == moment and len(restarted_since(cluster, before)) == 3
    assert [cluster.setting(member, "max_connections") for member in cluster.members] == ["130"] * 3


def test_less_of_a_parameter_begins_with_the_leader(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    leader, before, config = cluster.settle(), start_times(cluster), cluster.config()
    wanted = parameters(max_connections=80)
    refused = ask(settings=wanted, restart_pending=True, leader="switchover")
    assert refused["failed"] and "there is to be less max_connections" in refused["msg"] and cluster.config() == config
    planned = ask(check=True, settings=wanted, restart_pending=True)
    assert planned["restarted"][0] == leader.name and len(planned["restarted"]) == 3
    # Patroni before 4.0 does not say why a member waits, so that a later run finds out by trying.
    assert ask(settings=wanted)["restarted"] == []
    done = ask(restart_pending=True)
    assert not done["failed"] and done["leader"] == leader.name and done["pending_restart"] == [], done
    assert sorted(done["restarted"]) == sorted(restarted_since(cluster, before)) == ["data1", "data2", "data3"]
    assert [cluster.setting(member, "max_connections") for member in cluster.members] == ["80"] * 3


def test_nobody_is_restarted_while_the_cluster_is_not_in_order(cluster: PatroniCluster, ask: t.Callable[..., Result]) -> None:
    cluster.patch(synchronous_mode=True)
    leader, before = cluster.settle(), start_times(cluster)
    options = {"settings": parameters(max_connections=140), "restart_pending": True}

    def refused(words: str) -> None:
        config = cluster.config(leader)
        result = ask(**options)
        assert result["failed"] and words in result["msg"], result
        assert cluster.config(leader) == config

    cluster.patch(pause=True)
    refused("the cluster is paused")
    cluster.patch(pause=None)
    missing = next(member for member in cluster.members if member is not leader)
    missing.kill()
    refused(f"{missing.name} does not answer")
    cluster.forget(missing)
    others = [member for member in cluster.members if member not in (leader, missing)]
    until(lambda: cluster.synchronous() == {others[0].name}, "another synchronous standby")
    refused(f"{others[0].name} is the only standby that can be synchronous")
    missing.server.start()
    cluster.settle()
    assert {name: began for name, began in start_times(cluster).items() if name != missing.name} == {
        name: began for name, began in before.items() if name != missing.name
    }


def test_no_secret_shows(cluster: PatroniCluster, run_module: Runner) -> None:
    secret = "Sentinel" + secrets.token_hex(8)
    settings = {
        "mainstay": {"api_token": secret},
        **parameters(archive_command=f"curl --oauth2-token={secret} -T %p https://loader:{secret}@127.0.0.1/%f"),
    }
    task = {"name": "Set", "mainstay.ops.patroni_config": {**cluster.access, "settings": settings, "wait_timeout": 60}}
    with arguments_of_processes() as seen:
        run = run_module.tasks([task], "-vvv", "--diff")
    assert run.status == 0 and run.result["changed"], run.output
    stored = cluster.config()
    assert stored["mainstay"] == {"api_token": secret} and stored["postgresql"]["parameters"]["archive_command"].count(secret) == 2
    assert run.result["config"]["mainstay"] == {"api_token": "********"}
    again = run_module("patroni_config", {**cluster.access, "settings": {"mainstay": {"api_token": secret + "2"}}}, diff=True)
    assert again["diff"]["before"]["mainstay"] != again["diff"]["after"]["mainstay"]
    assert seen
    for word in (secret, API_PASSWORD, SENTINEL):
        assert word not in run.output + str(again)
        assert word not in " ".join(seen)
