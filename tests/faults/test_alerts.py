# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fault after the other in a small production on loopback: each is told of once, calls nobody for anything else, and its end is told too.

The durations of the role's rules are divided (``MAINSTAY_ALERT_PACE``, 10 if nothing is said). What is measured is left in ``artifacts/alerts.md``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import typing as t

import psycopg2
import pytest
import redis
from alert_stack import PACE, SCRAPE, SECONDS, Stack, production, seconds_of
from waiting import until

from ansible_collections.mainstay.ops.plugins.module_utils._release import apply, figures
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home, Lock, Run
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import Taking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a disk that fills needs root")
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 180
"""Seconds beyond what an alert waits for by its rule; a busy machine takes some of it."""
HOUR = SECONDS["h"]

Inject = t.Callable[[Stack], t.ContextManager[None]]


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong, the alert that is to tell of it, and for what else somebody may be called, since it is wrong then too."""

    what: str
    alert: str
    inject: Inject
    also: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Seconds from a fault to its message, and from its mend to the message that it is over; what else was written about."""

    fault: Fault
    told: float
    over: float
    notes: frozenset[str]


FAULTS: list[Fault] = []


def fault(alert: str, *also: str) -> t.Callable[[t.Callable[[Stack], t.Iterator[None]]], Inject]:
    """Add a fault to the list: what comes before ``yield`` does it, and what comes after that mends it."""
    def add(function: t.Callable[[Stack], t.Iterator[None]]) -> Inject:
        inject = contextlib.contextmanager(function)
        FAULTS.append(Fault((function.__doc__ or "").strip(), alert, inject, frozenset(also)))
        return inject

    return add


# Hosts


@fault("HostDown")
def host_down(stack: Stack) -> t.Iterator[None]:
    """a host does not answer any more: its node exporter is killed"""
    with stack.services["lb1-node"].gone():
        yield


@fault("DiskAlmostFull")
def disk_full(stack: Stack) -> t.Iterator[None]:
    """a disk fills: 95 % of an ext4 file system is written"""
    free = shutil.disk_usage(stack.disk).free
    (stack.disk / "log").write_bytes(bytes(int(free * 0.95)))
    yield
    (stack.disk / "log").unlink()


@fault("DiskInodesLow")
def inodes_low(stack: Stack) -> t.Iterator[None]:
    """a disk has no room for more files: its inodes are used up"""
    folder = stack.disk / "sessions"
    folder.mkdir()
    for number in range(os.statvfs(stack.disk).f_ffree - 2):
        (folder / str(number)).touch()
    yield
    shutil.rmtree(folder)


@fault("DiskReadOnly")
def disk_read_only(stack: Stack) -> t.Iterator[None]:
    """a disk cannot be written to any more: it is mounted read-only"""
    subprocess.run(["mount", "-o", "remount,ro", str(stack.disk)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(stack.disk)], check=True)


@fault("HostTextfilesUnreadable")
def broken_figures(stack: Stack) -> t.Iterator[None]:
    """a file of figures is broken"""
    stack.figures("lb1", "broken", "this is no figure")
    yield
    stack.figures("lb1", "broken")


@fault("HostClockWrong")
def clock_off(stack: Stack) -> t.Iterator[None]:
    """a clock is off by half a second; the figure is written, the clock of this machine is left alone"""
    stack.figures("lb1", "clock", "node_timex_offset_seconds 0.5")
    yield
    stack.figures("lb1", "clock", "node_timex_offset_seconds 0.001")


@fault("HostUnitFailed")
def unit_failed(stack: Stack) -> t.Iterator[None]:
    """a unit of systemd has failed; the figure is written"""
    stack.figures("lb1", "units", 'node_systemd_units{state="failed"} 1')
    yield
    stack.figures("lb1", "units", 'node_systemd_units{state="failed"} 0')


# The application


@fault("ApplicationSlotDown")
def slot_killed(stack: Stack) -> t.Iterator[None]:
    """the process of the slot that serves is killed; the other slot of the host runs on"""
    with stack.services["app2-blue"].gone():
        yield


@fault("ApplicationHostDown")
def both_slots_killed(stack: Stack) -> t.Iterator[None]:
    """both slots of a host are killed, and nobody knows which one served"""
    stack.figures("app2", "mainstay-deploy-ledger")
    time.sleep(2 * SCRAPE)
    with stack.services["app2-green"].gone(), stack.services["app2-blue"].gone():
        yield
    stack.deployed("app2", "7")


@fault("ApplicationDown", "EndpointDown")
def everything_killed(stack: Stack) -> t.Iterator[None]:
    """all processes of the application are killed"""
    with contextlib.ExitStack() as gone:
        for host in ("app1", "app2"):
            for slot in ("blue", "green"):
                gone.enter_context(stack.services[f"{host}-{slot}"].gone())
        yield


@fault("ApplicationErrors", "EndpointDown")
def errors(stack: Stack) -> t.Iterator[None]:
    """a fifth of the answers are errors, on all hosts"""
    for host in ("app1", "app2"):
        stack.mood(f"{host}-blue", broken_every=5)
    yield
    for host in ("app1", "app2"):
        stack.mood(f"{host}-blue")


@fault("ApplicationHostSick", "EndpointDown")
def sick_host(stack: Stack) -> t.Iterator[None]:
    """one host of two answers every thirteenth request with an error"""
    stack.mood("app1-blue", broken_every=13)
    yield
    stack.mood("app1-blue")


@fault("ApplicationSlow")
def latency(stack: Stack) -> t.Iterator[None]:
    """each answer of one host takes 1.2 s longer"""
    stack.mood("app1-blue", delay=1.2)
    yield
    stack.mood("app1-blue")


# Deployments, by what the module app_release leaves


def application(stack: Stack) -> tuple[Home, figures.Place]:
    """The folder of an application on the first host, and where its figures go."""
    home = Home(str(stack.folder / "srv"))
    os.makedirs(home.releases, exist_ok=True)
    return home, figures.Place(str(stack.folder / "app1-figures/mainstay-deploy-shop.prom"), "shop", {})


def take_lock(home: Home, owner: str) -> None:
    """Begin a run."""
    apply.take_lock(home, Lock(owner, "tests", 0.0), lambda _lock, _now: Taking(True, None), False)


@fault("DeployFailed")
def deployment_failed(stack: Stack) -> t.Iterator[None]:
    """a deployment ends red"""
    home, place = application(stack)
    for success in (False, True):
        take_lock(home, "run")
        apply.release_lock(home, "run", False, Run(time.time(), "deploy", "8", success, 20.0))
        assert figures.write(home, place) == ""
        if not success:
            yield


@fault("DeployStuck")
def deployment_stuck(stack: Stack) -> t.Iterator[None]:
    """a deployment is killed and leaves its lock"""
    home, place = application(stack)
    take_lock(home, "killed")
    assert figures.write(home, place) == ""
    yield
    apply.release_lock(home, "", False)
    assert figures.write(home, place) == ""


@fault("DeployReleasesDiffer")
def left_behind(stack: Stack) -> t.Iterator[None]:
    """a host serves the release before"""
    stack.deployed("app2", "6")
    yield
    stack.deployed("app2", "7")


# PostgreSQL


@fault("PostgresDown")
def postgres_killed(stack: Stack) -> t.Iterator[None]:
    """a standby of PostgreSQL is killed"""
    stack.postgres.kill("data2")
    yield
    stack.postgres["data2"].control("start")
    stack.postgres.settle("data1", "data2")


@fault("PostgresReplicaBroken")
def replication_stopped(stack: Stack) -> t.Iterator[None]:
    """replication stops: the standby cannot reach its primary"""
    before = stack.postgres.one("data2", "SELECT current_setting('primary_conninfo')")
    stack.postgres.set("data2", "primary_conninfo", re.sub(r"port=\d+", "port=1", before).replace("'", "''"))
    yield
    stack.postgres.connect_again({"data2": before})
    stack.postgres.settle("data1", "data2")


def write(stack: Stack, megabytes: float) -> None:
    """Write to PostgreSQL."""
    stack.postgres["data1"].query(f"INSERT INTO ballast SELECT repeat(md5(n::text), 32) FROM generate_series(1, {int(megabytes * 1000)}) n")


@fault("PostgresReplicationLag")
def replay_paused(stack: Stack) -> t.Iterator[None]:
    """a standby gets the log and does not replay it"""
    stack.postgres["data2"].query("SELECT pg_wal_replay_pause()")
    write(stack, 0.1)
    yield
    stack.postgres["data2"].query("SELECT pg_wal_replay_resume()")


@fault("PostgresReplicationBehind")
def replay_behind(stack: Stack) -> t.Iterator[None]:
    """a standby is 12 MB behind"""
    stack.postgres["data2"].query("SELECT pg_wal_replay_pause()")
    write(stack, 12)
    yield
    stack.postgres["data2"].query("SELECT pg_wal_replay_resume()")


@fault("PostgresSlotHoldsLog")
def forgotten_slot(stack: Stack) -> t.Iterator[None]:
    """a replication slot is left of which nobody reads"""
    stack.postgres["data1"].query("SELECT pg_create_physical_replication_slot('forgotten', true)")
    write(stack, 30)
    yield
    stack.postgres["data1"].query("SELECT pg_drop_replication_slot('forgotten')")


@fault("PostgresConnectionsHigh")
def connections_high(stack: Stack) -> t.Iterator[None]:
    """somebody opens connections and never closes them"""
    with contextlib.ExitStack() as open_ones:
        for _number in range(20):
            open_ones.enter_context(stack.postgres["data1"].connect())
        yield


@fault("PostgresSlowStatement")
def slow_statement(stack: Stack) -> t.Iterator[None]:
    """a statement does not end"""
    with stack.postgres["data1"].connect() as connection:
        def run() -> None:
            with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(600)")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        connection.cancel()
        thread.join(30)


@fault("PostgresIdleTransaction")
def idle_transaction(stack: Stack) -> t.Iterator[None]:
    """a transaction is left open"""
    with stack.postgres["data1"].connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1")
        yield


@fault("PostgresDeadlocks")
def deadlocks(stack: Stack) -> t.Iterator[None]:
    """transactions lock each other out, ten times"""
    with stack.postgres["data1"].connect() as one, stack.postgres["data1"].connect() as other:
        for _number in range(10):
            lock_each_other_out(one.cursor(), other.cursor())
    yield


def lock_each_other_out(one: t.Any, other: t.Any) -> None:
    """Have two transactions wait for each other; PostgreSQL ends one of them."""
    for cursor, row in ((one, 1), (other, 2)):
        cursor.execute(f"BEGIN; UPDATE pairs SET n = n + 1 WHERE id = {row}")

    def second() -> None:
        with contextlib.suppress(psycopg2.Error):
            one.execute("UPDATE pairs SET n = n + 1 WHERE id = 2")

    thread = threading.Thread(target=second)
    thread.start()
    with contextlib.suppress(psycopg2.Error):
        other.execute("UPDATE pairs SET n = n + 1 WHERE id = 1")
    other.execute("ROLLBACK")
    thread.join(30)
    one.execute("ROLLBACK")


@fault("WalArchiveFailing")
def archive_fails(stack: Stack) -> t.Iterator[None]:
    """the archive of the write-ahead log takes nothing"""
    stack.postgres.set("data1", "archive_command", "false")
    write(stack, 0.1)
    stack.postgres["data1"].query("SELECT pg_switch_wal()")
    yield
    stack.postgres.set("data1", "archive_command", "true")


# Redis


@fault("RedisDown")
def redis_killed(stack: Stack) -> t.Iterator[None]:
    """a replica of Redis is killed"""
    with stack.services["data2-redis"].gone():
        yield


@fault("RedisReplicaLinkDown")
def redis_link_down(stack: Stack) -> t.Iterator[None]:
    """a replica of Redis is sent to a master that is not there"""
    stack.redis("data2").replicaof("127.0.0.1", 1)
    yield
    stack.redis("data2").replicaof("127.0.0.1", stack.services["data1-redis"].port)


@fault("RedisTwoMasters")
def two_masters(stack: Stack) -> t.Iterator[None]:
    """a replica of Redis takes writes"""
    stack.redis("data2").replicaof("no", "one")
    yield
    stack.redis("data2").replicaof("127.0.0.1", stack.services["data1-redis"].port)


@fault("RedisMemoryHigh")
def redis_memory(stack: Stack) -> t.Iterator[None]:
    """Redis has used 97 % of its memory, and may remove nothing"""
    client = stack.redis("data1")
    # In small pieces: a large one is in a buffer as well, which is given back later.
    with client.pipeline(transaction=False) as pipeline:
        for number in range(8 << 10):
            pipeline.hset("ballast", str(number), "x" * 1024)
            if number % 64 == 0:
                pipeline.execute()
        pipeline.execute()
    time.sleep(SCRAPE)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.97))
    yield
    client.config_set("maxmemory", 0)
    client.delete("ballast")


@fault("RedisWritesRefused")
def redis_refuses(stack: Stack) -> t.Iterator[None]:
    """Redis refuses writes, since its memory is used up"""
    client, stop = stack.redis("data1"), threading.Event()
    client.config_set("maxmemory", 1 << 20)

    def ask() -> None:
        while not stop.wait(0.2):
            with contextlib.suppress(redis.RedisError):
                client.set("a", "b")

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    yield
    stop.set()
    asker.join(30)
    client.config_set("maxmemory", 0)


@fault("RedisClientsHigh")
def redis_clients(stack: Stack) -> t.Iterator[None]:
    """nine of ten clients that Redis takes are there"""
    client = stack.redis("data1")
    before, connected = client.config_get("maxclients")["maxclients"], client.info("clients")["connected_clients"]
    clients = [stack.redis("data1") for _number in range(40)]
    for one in clients:
        one.ping()
    client.config_set("maxclients", int((connected + 40) / 0.9))
    yield
    client.config_set("maxclients", before)
    for one in clients:
        one.connection_pool.disconnect()


@fault("RedisBackgroundSaveFails")
def redis_save_fails(stack: Stack) -> t.Iterator[None]:
    """Redis cannot write its data: the folder for them is a disk that is full"""
    client, before = stack.redis("data1"), stack.redis("data1").config_get("dir")["dir"]
    full = stack.folder / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(full)], check=True)
    try:
        client.set("ballast", os.urandom(1 << 20))
        client.config_set("dir", str(full))
        client.bgsave()
        yield
        client.config_set("dir", before)
        client.delete("ballast")
        client.bgsave()
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=True)


# nginx, addresses and certificates


@fault("NginxDown")
def balancer_killed(stack: Stack) -> t.Iterator[None]:
    """one balancer of two is killed"""
    with stack.services["lb2"].gone(signal.SIGTERM):
        yield


@fault("NginxConnectionsHigh")
def many_connections(stack: Stack) -> t.Iterator[None]:
    """clients hold 80 connections open"""
    with contextlib.ExitStack() as held:
        for _number in range(80):
            held.enter_context(socket.create_connection(("127.0.0.1", stack.services["lb2"].port), 30))
        yield


@fault("EndpointDown")
def address_gone(stack: Stack) -> t.Iterator[None]:
    """what answers at a public address is gone"""
    with stack.services["mail"].gone():
        yield


@fault("EndpointSlow")
def address_slow(stack: Stack) -> t.Iterator[None]:
    """a public address takes 1.5 s to answer"""
    stack.mood("shop", delay=1.5)
    yield
    stack.mood("shop")


def renew(stack: Stack, days: int) -> None:
    """Let the balancer serve another certificate."""
    stack.certify("lb1", days)
    stack.services["lb1"].process.send_signal(signal.SIGHUP)


@fault("CertificateExpires")
def certificate_ends(stack: Stack) -> t.Iterator[None]:
    """the certificate of the site is valid for 10 days more"""
    renew(stack, 10)
    yield
    renew(stack, 90)


@fault("CertificateExpiresSoon")
def certificate_ends_soon(stack: Stack) -> t.Iterator[None]:
    """the certificate of the site is valid for 2 days more"""
    renew(stack, 2)
    yield
    renew(stack, 90)


def lifetime(stack: Stack, left: float) -> None:
    """Tell of a certificate of 64 days of which a share is left, as what renews it does."""
    length = 64 * SECONDS["d"]
    ends = time.time() + left * length
    name = "mainstay_acme_certificate_not_{}_timestamp_seconds{{site=\"shop\"}} {:.0f}"
    stack.figures("lb1", "mainstay-acme", name.format("after", ends), name.format("before", ends - length))


@fault("CertificateNotRenewed")
def not_renewed(stack: Stack) -> t.Iterator[None]:
    """a certificate was not renewed: a fifth of its life is left; the figure is written"""
    lifetime(stack, 0.2)
    yield
    lifetime(stack, 0.9)


# Backups, drills and remediation, by the figures that they write


def backup(stack: Stack, **figure: float) -> None:
    """Tell of a schedule that is well, but for what is given."""
    now = time.time()
    well = {
        "newest_good_timestamp_seconds": now - HOUR, "newest_verified_timestamp_seconds": now - HOUR, "late_after_seconds": 26 * HOUR,
        "verify_late_after_seconds": 200 * HOUR, "since_timestamp_seconds": now - 900 * HOUR, "plain_bytes": 1000, "usual_plain_bytes": 1000,
        "store_readable": 1, "metrics_timestamp_seconds": now,
    }
    labels = '{schedule="nightly",name="ledger",kind="postgres",method="logical"}'
    run = f'mainstay_backup_last_run_success{{schedule="nightly",name="ledger",kind="postgres",method="logical",operation="backup"}} {figure.pop("success", 1)}'
    stack.figures("data1", "mainstay-backup-nightly", run, *(f"mainstay_backup_{name}{labels} {number}" for name, number in {**well, **figure}.items()))


def told_by_backups(alert: str, what: str, wrong: t.Callable[[], dict[str, float]]) -> None:
    """Add a fault that the figures of a backup tell of."""
    def inject(stack: Stack) -> t.Iterator[None]:
        backup(stack, **wrong())
        yield
        backup(stack)

    inject.__doc__ = f"{what}; the figure is written"
    fault(alert)(inject)


told_by_backups("BackupLate", "a backup was skipped", lambda: {"newest_good_timestamp_seconds": time.time() - 30 * HOUR})
told_by_backups("BackupNotVerified", "no backup was restored for trial", lambda: {"newest_verified_timestamp_seconds": time.time() - 300 * HOUR})
told_by_backups("BackupShrank", "a backup is a third as large as usual", lambda: {"plain_bytes": 333})
told_by_backups("BackupRunFailed", "the run of a backup failed", lambda: {"success": 0})
told_by_backups("BackupMetricsStale", "nobody looks after the backups any more", lambda: {"metrics_timestamp_seconds": time.time() - 3 * HOUR})


@fault("RemediationFailed")
def remediation_failed(stack: Stack) -> t.Iterator[None]:
    """a remediation did not help; the figure is written"""
    blocked = 'mainstay_remediation_blocked{action="restart_slot",target="app1"}'
    stack.figures("lb1", "mainstay-remediation", f"{blocked} 1")
    yield
    stack.figures("lb1", "mainstay-remediation", f"{blocked} 0")


# Whoever watches


@fault("TargetDown")
def target_gone(stack: Stack) -> t.Iterator[None]:
    """a target of a job of one's own is gone"""
    with stack.services["custom"].gone():
        yield


@fault("PrometheusConfigurationRefused")
def configuration_refused(stack: Stack) -> t.Iterator[None]:
    """Prometheus is given a configuration that it cannot read"""
    path = stack.folder / "monitoring/etc/prometheus/prometheus.yml"
    good = path.read_text(encoding="utf-8")
    for text in ("scrape_configs: nonsense\n", good):
        path.write_text(text, encoding="utf-8")
        stack.services["prometheus"].process.send_signal(signal.SIGHUP)
        if text != good:
            yield


@pytest.fixture(scope="module")
def stack(server_root: pathlib.Path) -> t.Iterator[Stack]:
    """The production, which is well."""
    folder = server_root / "production"
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    with production(folder) as found:
        backup(found)
        yield found


@pytest.fixture(scope="module")
def measured() -> t.Iterator[list[Measured]]:
    """What was measured, which is left as a table."""
    found: list[Measured] = []
    yield found
    if found:
        (ROOT / "artifacts").mkdir(exist_ok=True)
        (ROOT / "artifacts/alerts.md").write_text(table(found), encoding="utf-8")
        print("\n" + table(found))


RULE_FOR: dict[str, str] = {}
"""How long the role's rule waits for each alert."""


def table(found: t.Sequence[Measured]) -> str:
    """What was measured, as Markdown."""
    lines = ["| fault | alert | its rule waits | told after | its end told after | beside it |", "|---|---|---|---|---|---|"]
    for each in found:
        beside = ", ".join(f"`{name}`" for name in sorted(each.notes))
        lines.append(f"| {each.fault.what} | `{each.fault.alert}` | {RULE_FOR[each.fault.alert]} | {each.told:.0f} s | {each.over:.0f} s | {beside} |")
    return "".join(f"{line}\n" for line in lines)


def test_a_quiet_time_tells_nobody(stack: Stack) -> None:
    """Once everything has been looked at, an hour by the rules' pace raises nothing."""
    stack.calm(60)
    since = len(stack.messages.messages)
    time.sleep(HOUR / PACE)
    assert stack.messages.messages[since:] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.alert}-{fault.inject.__name__}")
def test_a_fault_is_told_once_and_so_is_its_end(stack: Stack, measured: list[Measured], fault: Fault) -> None:
    """And nobody is called for anything else."""
    stack.calm()
    since, rule = len(stack.messages.messages), stack.rules[fault.alert]
    waits = seconds_of(rule.get("for", "0s"))
    with fault.inject(stack):
        began = time.monotonic()
        until(lambda: stack.told(fault.alert, "firing", since), f"a message about {fault.alert}", waits / PACE + PATIENCE)
        told = time.monotonic() - began
        time.sleep(2 * SCRAPE)
    began = time.monotonic()
    until(lambda: stack.told(fault.alert, "resolved", since), f"a message that {fault.alert} is over", PATIENCE + 15 * SECONDS["m"] / PACE)
    over = time.monotonic() - began
    stack.calm(1)
    assert [len(stack.told(fault.alert, status, since)) for status in ("firing", "resolved")] == [1, 1]
    assert stack.pages(since) - {fault.alert} <= fault.also
    RULE_FOR[fault.alert] = rule.get("for", "0s")
    measured.append(Measured(fault, told, over, frozenset(stack.pages(since) | stack.notes(since)) - {fault.alert}))


def test_there_are_enough_of_them() -> None:
    """At least 25 faults, each with an alert of its own."""
    assert len({fault.alert for fault in FAULTS}) == len(FAULTS) >= 25
