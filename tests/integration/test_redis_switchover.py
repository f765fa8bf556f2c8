# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_switchover under load, with a real cluster: no acknowledged write is lost, never two masters, and what is refused changes nothing."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import threading
import time
import typing as t

import pytest
import redis
from conftest import Runner
from redis_cluster import MASTER_NAME, Cluster, Daemon, Writer, running, until

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis import switchover

Result = dict[str, t.Any]
PRIORITIES = (10, 20, 100)
DOWN_AFTER = 5.0
"""Seconds; the default of the cluster."""

pytestmark = pytest.mark.long

DEFAULTS = {
    **{"validate_certs": True, "ca_certs": None, "client_cert_file": None, "client_key_file": None},
    **{"target": "", "max_pause": 10, "max_lag_bytes": 1 << 20, "wait_timeout": 60},
}
KEYS = {"changed", "actions", "from", "to", "offset", "paused_seconds", "phases", "diff"}


@pytest.fixture(scope="module")
def shared(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A cluster that refuses writes without a replica, as the role sets it up where there are two replicas."""
    with running(server_root / "switchover", priorities=PRIORITIES, settings={"min-replicas-to-write": "1", "min-replicas-max-lag": "3"}) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> t.Iterator[Cluster]:
    """The cluster in order; afterwards the priorities are as before, in the servers and in their files."""
    shared.settle()
    yield shared
    shared.settle()
    assert tuple(shared.priority(server) for server in shared.servers) == PRIORITIES
    for server, priority in zip(shared.servers, PRIORITIES):
        assert f"replica-priority {priority}\n" in server.config.read_text()


@pytest.fixture
def switch(run_module: Runner, cluster: Cluster) -> t.Callable[..., Result]:
    """Run the module with users that may do no more than is documented; no secret is in what it returns."""

    def run(check: bool = False, **options: t.Any) -> Result:
        result = run_module("redis_switchover", {**cluster.options(), **options}, check=check, diff=True)
        assert_no_secret(cluster, result)
        return result

    return run


def assert_no_secret(cluster: Cluster, result: Result) -> None:
    """Fail if a password is in a result; the arguments are returned with their secrets left out."""
    for secret in (cluster.password, cluster.sentinel_password):
        assert secret not in str(result)


def others(cluster: Cluster) -> list[Daemon]:
    """The replicas, the one with the best priority first."""
    return sorted((server for server in cluster.servers if server is not cluster.master), key=cluster.priority)


@contextlib.contextmanager
def watched(cluster: Cluster) -> t.Iterator[list[int]]:
    """Yield how many servers take writes, looked at all the time: those that say that they are masters and are not held."""
    counts: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            counts.append(len(cluster.masters))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield counts
    ended.set()
    thread.join(10)


def assert_nothing_lost(writers: t.Sequence[Writer]) -> None:
    """Fail if a write that was acknowledged is not there, or none was acknowledged for as long as it takes the Sentinels to begin a failover themselves."""
    for writer in writers:
        assert writer.lost() == []
        assert len(writer.acknowledged) > 200
        assert writer.longest_gap < DOWN_AFTER, writer.errors


def assert_writes_go_on(cluster: Cluster, old: Daemon, message: str) -> None:
    """Fail unless the old master is still the only one, takes writes, and the error says so."""
    assert f"{old.address} is still the master" in message
    assert cluster.named() is old
    assert cluster.masters == [old]
    assert cluster.client(old).set("after", "all")


def test_the_best_replica_takes_over_and_nothing_is_lost(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """Check, real: the same plan; every acknowledged write is there, and only one server at a time is a master."""
    old, best = cluster.master, others(cluster)[0]
    with Writer(cluster, "asking") as asking, Writer(cluster, "sticky", sticky=True) as sticky, watched(cluster) as counts:
        planned = switch(check=True)
        assert cluster.master is old
        done = switch()
        time.sleep(1)
    assert_nothing_lost((asking, sticky))
    assert max(counts) == 1
    assert cluster.master is best and cluster.named() is best
    assert (done["from"], done["to"], done["changed"]) == (old.address, best.address, True)
    assert {**done, "warnings": []} == {**planned, **{name: done[name] for name in ("offset", "paused_seconds", "phases")}, "warnings": []}
    assert KEYS <= set(planned) and planned["offset"] == -1 and planned["paused_seconds"] == 0
    assert done["actions"][0] == f"hold the writes to {old.address} until {best.address} has all of them"
    assert done["diff"] == {"before": {"master": old.address}, "after": {"master": best.address}}
    assert 0 < done["paused_seconds"] <= DOWN_AFTER / 2 and done["offset"] > 0
    assert set(done["phases"]) == {"plan", "prefer", "catch_up", "promote", "release", "settle"}
    assert f"replicaof 127.0.0.1 {best.port}" in old.config.read_text(), "after a restart it would be a master"
    assert "Full resync from master" not in old.log.split("REPLICAOF")[-1]


def test_a_chosen_target_takes_over_and_a_second_run_changes_nothing(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """The one with the worst priority: the Sentinels get no choice for the time."""
    target = others(cluster)[-1]
    with Writer(cluster, "chosen", sticky=True) as writer:
        done = switch(target=target.address)
        time.sleep(0.5)
    assert not done["failed"], done
    assert_nothing_lost([writer])
    assert cluster.master is target
    assert done["actions"][0] == f"give {target.address} the replica-priority 1 for the time"
    assert done["actions"][-1] == f"give {target.address} its replica-priority {cluster.priority(target)} again"
    again = switch(target=target.address)
    assert not again["changed"] and again["actions"] == [] and again["from"] == again["to"] == target.address


def test_sentinel_failover_alone_loses_writes(cluster: Cluster) -> None:
    """What the tests above look for can be seen: this is the documented way."""
    with Writer(cluster, "plain", sticky=True) as writer:
        cluster.client(cluster.sentinels[0]).execute_command("SENTINEL", "FAILOVER", MASTER_NAME)
        time.sleep(4)
    cluster.settle()
    assert writer.lost()


def test_what_is_refused_at_once(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """Wrong options, wrong passwords, missing permissions."""
    old, target = cluster.master, others(cluster)[0]
    sentinels = cluster.options()["sentinels"]
    refused = {
        "which is none of the servers that the Sentinels know": {"target": "127.0.0.1:1"},
        "which is 3 of the servers that the Sentinels know": {"target": "127.0.0.1"},
        "see sentinel_user and sentinel_password": {"sentinel_password": "wrong"},
        "invalid username-password pair": {"login_password": "wrong"},
        "1 of 3 Sentinels answer, which is no majority": {"sentinels": sentinels[:1]},
        "No such master with that name": {"master_name": "other"},
    }
    for words, options in refused.items():
        result = switch(**{"target": target.address, **options})
        assert result["failed"] and words in result["msg"], result
        assert cluster.masters == [old]


@pytest.mark.parametrize(("kind", "words"), [("login_user", "pause"), ("sentinel_user", "failover")])
def test_a_user_without_permission(cluster: Cluster, switch: t.Callable[..., Result], kind: str, words: str) -> None:
    """Writes go on at the old master, also where it had been made a replica already."""
    old = cluster.master
    with Writer(cluster, f"refused-{words}", sticky=True) as writer:
        result = switch(target=others(cluster)[0].address, **{kind: "reader"})
        time.sleep(0.5)
    assert result["failed"] and words in result["msg"].lower() and "no permissions" in result["msg"], result
    assert_writes_go_on(cluster, old, result["msg"])
    assert_nothing_lost([writer])


def test_sentinels_that_cannot_decide(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """One is down: that is enough. Two are: it is not."""
    old = cluster.master
    cluster.sentinels[1].stop()
    assert not switch(check=True)["failed"]
    cluster.sentinels[2].stop()
    result = switch()
    assert result["failed"] and "1 of 3 Sentinels answer" in result["msg"], result
    assert_writes_go_on(cluster, old, result["msg"])


def test_a_sentinel_of_another_opinion(cluster: Cluster, switch: t.Callable[..., Result], server_root: pathlib.Path) -> None:
    """One of those that are asked belongs to another cluster."""
    old = cluster.master
    with running(server_root / "lone", nodes=1, passwords=(cluster.password, cluster.sentinel_password)) as lone:
        result = switch(sentinels=cluster.options()["sentinels"] + lone.options()["sentinels"])
        assert result["failed"] and "name different masters" in result["msg"], result
        assert f"{lone.servers[0].address} by {lone.sentinels[0].address}" in result["msg"]
    assert cluster.masters == [old]


def test_a_target_that_is_stopped(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """It answers no more, and lacks what is written meanwhile."""
    old, target = cluster.master, others(cluster)[0]
    target.signal(signal.SIGSTOP)
    result = switch(target=target.address)
    target.signal(signal.SIGCONT)
    assert result["failed"] and f"the replica {target.address} does not answer" in result["msg"], result
    assert_writes_go_on(cluster, old, result["msg"])


@contextlib.contextmanager
def started(run_module: Runner, cluster: Cluster, **options: t.Any) -> t.Iterator[subprocess.Popen[str]]:
    """Start the module in the background; go on when it has set the priorities, and waits until the Sentinels have read them."""
    until(cluster.has_seen_priorities, "the Sentinels' reading of the priorities")
    process = run_module.start("redis_switchover", {**cluster.options(), **options})
    try:
        until(lambda: 1 in [cluster.priority(server) for server in cluster.servers], "the change of the priority")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_a_target_that_dies_while_writes_are_held(cluster: Cluster, run_module: Runner) -> None:
    """Writes go on at the old master; the priority that cannot be put back is told."""
    old, target = cluster.master, others(cluster)[-1]
    before = cluster.priority(target)

    def priorities() -> set[str]:
        return {replica["slave-priority"] for sentinel in cluster.sentinels for replica in cluster.replicas(sentinel) if replica["port"] == str(target.port)}

    with Writer(cluster, "dies", sticky=True) as writer, started(run_module, cluster, target=target.address) as process:
        process.send_signal(signal.SIGSTOP)
        until(lambda: priorities() == {"1"}, "the Sentinels' reading of the priority")
        cluster.client(target).client_pause(60_000, all=False)  # what its master sends waits as well
        process.send_signal(signal.SIGCONT)
        until(lambda: time.monotonic() - writer.moments[-1] > 0.3, "the pause")
        target.stop()
        result = run_module.finish(process)
        time.sleep(0.5)
    assert result["failed"] and target.address in result["msg"], result
    assert f"could not give {target.address} its replica-priority {before} again" in str(result["warnings"])
    assert_writes_go_on(cluster, old, result["msg"])
    assert_nothing_lost([writer])


def test_a_target_that_does_not_catch_up(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """It answers, but what its master sends waits: writes go on before the Sentinels take the master for down."""
    old, target = cluster.master, others(cluster)[0]
    with Writer(cluster, "lags", sticky=True) as writer:
        cluster.client(target).client_pause(60_000, all=False)
        lagging, result = switch(max_lag_bytes=0), switch()
        cluster.client(target).client_unpause()
        time.sleep(0.5)
    assert lagging["failed"] and "0 are allowed" in lagging["msg"], lagging
    assert result["failed"] and f"{target.address} has not caught up within 2.5 seconds" in result["msg"], result
    assert_writes_go_on(cluster, old, result["msg"])
    assert_nothing_lost([writer])


def test_a_run_that_is_killed_while_writes_are_held(cluster: Cluster, run_module: Runner) -> None:
    """Writes go on by themselves at the old master."""
    old, target = cluster.master, others(cluster)[0]
    with Writer(cluster, "killed", sticky=True) as writer:
        cluster.client(target).client_pause(60_000, all=False)
        process = run_module.start("redis_switchover", {**cluster.options(), "max_pause": 2})
        until(lambda: time.monotonic() - writer.moments[-1] > 0.3, "the pause")
        process.kill()
        process.wait(10)
        cluster.client(target).client_unpause()
        time.sleep(3)
    assert cluster.masters == [old]
    assert_nothing_lost([writer])


def test_writes_that_come_in_although_they_were_held(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped for longer than the pause: both are compared once more, and everything is taken back."""
    old, target = cluster.master, others(cluster)[0]
    level = switchover._Move._await_level

    def oversleep(*arguments: t.Any) -> None:
        level(*arguments)
        cluster.client(target).client_pause(60_000, all=False)  # what its master sends waits as well
        cluster.client(old).client_unpause()
        count = len(writer.acknowledged)
        until(lambda: len(writer.acknowledged) > count + 5, "some more writes")

    monkeypatch.setattr(switchover._Move, "_await_level", oversleep)
    with Writer(cluster, "oversleep", sticky=True) as writer, pytest.raises(MainstayError) as caught:
        switchover.run({**DEFAULTS, **cluster.options()}, check_mode=False)
    cluster.client(target).client_unpause()
    assert "it was written to while it was made a replica" in str(caught.value)
    assert_writes_go_on(cluster, old, str(caught.value))
    assert writer.lost() == []


@pytest.mark.parametrize("dies", ["this process", "the target"])
def test_what_happens_when_the_old_master_is_a_replica_already(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, dies: str) -> None:
    """The worst moment: nobody is a master. The Sentinels promote one by themselves, and nothing is lost."""
    old, target = cluster.master, others(cluster)[0]
    tell = switchover._Move._tell

    class Killed(BaseException):
        """Stands for SIGKILL: nothing is done after it."""

    def die(move: t.Any, server: t.Any) -> t.Any:
        if dies == "this process":
            raise Killed
        target.stop()
        return tell(move, server)

    monkeypatch.setattr(switchover._Move, "_tell", die)
    with Writer(cluster, f"worst-{dies[-3:]}", sticky=True) as writer, watched(cluster) as counts:
        with pytest.raises((MainstayError, Killed)) as caught:
            switchover.run({**DEFAULTS, **cluster.options()}, check_mode=False)
        count = len(writer.acknowledged)
        until(lambda: len(writer.acknowledged) > count + 50, "writes to a new master", seconds=40)
    until(lambda: cluster.masters == [cluster.named()], "the Sentinel that is asked to hear of the new master")
    master = cluster.named()
    assert max(counts) == 1 and master is not old
    assert writer.lost() == []
    if dies == "the target":
        assert f"the Sentinels have promoted {master.address} instead; {master.address} is the master and takes writes" in str(caught.value)


def test_a_run_that_is_interrupted_ends_what_it_began(cluster: Cluster, run_module: Runner) -> None:
    """SIGTERM while the priorities are being read: they are put back. No secret is in its command line or environment."""
    old, target = cluster.master, others(cluster)[-1]
    with started(run_module, cluster, target=target.address) as process:
        for name in ("cmdline", "environ"):
            shown = pathlib.Path(f"/proc/{process.pid}/{name}").read_text()
            assert cluster.password not in shown and cluster.sentinel_password not in shown
        process.send_signal(signal.SIGTERM)
        result = run_module.finish(process)
    assert result["failed"] and "SIGTERM" in result["msg"], result
    assert cluster.masters == [old]


def test_everything_over_tls(server_root: pathlib.Path, run_module: Runner) -> None:
    """Servers, Sentinels and replication; a certificate that is not trusted is refused."""
    with running(server_root / "switchover-tls", tls=True, priorities=PRIORITIES) as cluster:
        old, best = cluster.master, others(cluster)[0]
        distrusted = run_module("redis_switchover", {**cluster.options(), "ca_certs": None})
        assert distrusted["failed"] and "certificate verify failed" in distrusted["msg"], distrusted
        with Writer(cluster, "asking") as asking, Writer(cluster, "sticky", sticky=True) as sticky:
            result = run_module("redis_switchover", cluster.options())
            time.sleep(0.5)
        assert not result["failed"], result
        assert_no_secret(cluster, result)
        assert cluster.masters == [best] and best is not old
        assert_nothing_lost((asking, sticky))


def test_clients_are_dropped_only_by_the_old_master(cluster: Cluster, switch: t.Callable[..., Result]) -> None:
    """A subscriber at the old master is told by the end of its connection."""
    listener = cluster.client(cluster.master).pubsub()
    listener.subscribe("news")
    listener.get_message(timeout=1)
    assert not switch()["failed"]
    with pytest.raises(redis.exceptions.ConnectionError):
        listener.connection.read_response()
