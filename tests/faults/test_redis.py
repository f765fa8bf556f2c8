# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_snapshot and its servers killed at random moments, restores into a master that is at work, and snapshots of one that is written to."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import typing as t

import pytest
from drill import Options, Subject, at_work
from processes import descendants
from redis_drill import TEMPORARY, clear, live_drill, nothing_left, refill, restoring, servers_in, source_drill, target_drill, verify_drill, write_drill
from servers import AgeKeys, Runner
from subjects import Redis, following, redis_server, until

KILLS = int(os.environ.get("MAINSTAY_FAULT_KILLS", "50"))
LIVE_KILLS = 10


@pytest.fixture(scope="module")
def source(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """The server that is backed up."""
    with redis_server(server_root / "redis-source") as server:
        yield server


@pytest.fixture
def opening(age_keys: AgeKeys) -> Options:
    """Options that encrypt, and that open again."""
    return {"encryption": {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}}


@pytest.fixture
def work_dir(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Where throwaway servers work; whatever a test leaves there goes."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    clear(folder)


@pytest.fixture
def subject(run_module: Runner, source: Redis, opening: Options, tmp_path: pathlib.Path) -> Subject:
    """redis_snapshot of the source into a folder."""
    wanted = {"name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}, "compression": {"level": 1}}
    return Subject(run_module, "redis_snapshot", {**source.login, **wanted, **opening})


def test_verifying(subject: Subject, work_dir: pathlib.Path) -> None:
    verify_drill(subject, subject.take()["backup"]["id"], KILLS, work_dir)


def test_a_source_that_is_killed(subject: Subject, server_root: pathlib.Path) -> None:
    with redis_server(server_root / "redis-killed") as source:
        subject.options.update(source.login)
        source_drill(subject, source, KILLS)


@pytest.mark.parametrize("kind", ["aof", "rdb"])
def test_a_target_that_is_killed(subject: Subject, source: Redis, server_root: pathlib.Path, work_dir: pathlib.Path, kind: str) -> None:
    settings = {"appendonly": "yes"} if kind == "aof" else {"save": "3600 1000000"}
    with redis_server(server_root / f"redis-target-{kind}", **settings) as target:
        target_drill(subject, target, subject.take()["backup"]["id"], source.digest, KILLS // 2, work_dir)


def test_restoring_under_load(subject: Subject, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    backup_id = subject.take()["backup"]["id"]
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis_server(server_root / "redis-master", appendonly="yes", rdb_key_save_delay="100"))
        replicas = [stack.enter_context(following(server_root / f"redis-replica-{number}", master)) for number in range(2)]
        live_drill(subject, master, replicas, backup_id, LIVE_KILLS, work_dir)


def test_snapshots_of_a_server_that_is_written_to(subject: Subject, source: Redis, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    with redis_server(server_root / "redis-written") as busy, redis_server(server_root / "redis-empty", rdb_key_save_delay="0") as empty:
        subject.options.update(busy.login)
        assert min(write_drill(subject, busy, empty, 5, work_dir)) > 2500, "the machine cannot write that fast"


@pytest.mark.parametrize(
    ("level", "program", "number"),
    [
        ("content", "age", signal.SIGKILL),
        ("content", "age", signal.SIGTERM),
        ("content", "zstd", signal.SIGKILL),
        ("content", "redis-check-rdb", signal.SIGKILL),
        ("restore", "age", signal.SIGKILL),
        ("restore", "redis-server", signal.SIGKILL),
        ("restore", "redis-server", signal.SIGTERM),
    ],
)
def test_a_program_that_is_killed_while_the_module_verifies(
    subject: Subject, work_dir: pathlib.Path, level: str, program: str, number: signal.Signals
) -> None:
    """By the kernel for want of memory, or by somebody who tells it to end: said so, and no fault of the backup."""
    backup_id = subject.take()["backup"]["id"]
    options = {**subject.options, "state": "verified", "backup_id": backup_id, "verify_level": level, "max_age": "0", "work_dir": str(work_dir)}
    process = subject.run.start(subject.module, options)
    victim = until(lambda: next((pid for pid in descendants(process.pid) if at_work(pid, program)), 0), f"the start of {program}")
    os.kill(victim, number)
    result = subject.run.finish(process)
    assert result["failed"] and re.search(f"^could not .*: .*(was killed by {number.name}|somebody told it to end)", result["msg"]), result
    nothing_left(work_dir)
    assert subject.good() == [backup_id], result


@pytest.mark.parametrize("kind", ["aof", "rdb"])
def test_a_target_that_is_killed_right_after(subject: Subject, source: Redis, server_root: pathlib.Path, work_dir: pathlib.Path, kind: str) -> None:
    """A master with a replica, which it feeds by a child of its own while the restored data is saved: what was acknowledged is there after a crash."""
    backup_id = subject.take()["backup"]["id"]
    settings = {"appendonly": "yes"} if kind == "aof" else {"save": "3600 1000000"}
    with redis_server(server_root / f"redis-after-{kind}", rdb_key_save_delay="1000", **settings) as target:
        with following(server_root / f"redis-below-{kind}", target):
            old = refill(target)
            until(lambda: not target.child, "the end of what the server writes")
            result = subject.run(subject.module, {**subject.options, **restoring(subject, target, backup_id, work_dir)})
            target.kill()
        assert not result["failed"], result
        target.start()
        assert target.digest == source.digest, "the old data came back" if target.digest == old else "other data came back"


def test_a_module_that_is_killed_while_it_verifies(subject: Subject, work_dir: pathlib.Path) -> None:
    """SIGKILL of the module alone, while its throwaway server loads or runs: that server ends, and its folder goes, now or with the next run."""
    backup_id = subject.take()["backup"]["id"]
    given = {"state": "verified", "backup_id": backup_id, "max_age": "0", "work_dir": str(work_dir)}
    process = subject.run.start(subject.module, {**subject.options, **given})
    until(lambda: servers_in(work_dir), "the start of the throwaway server")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not servers_in(work_dir), "the end of the throwaway server", 10)
    assert not subject.run(subject.module, {**subject.options, **given})["failed"]
    nothing_left(work_dir)
    assert subject.good() == [backup_id]


def test_a_module_that_is_killed_while_it_restores(subject: Subject, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    """SIGKILL of the module alone, while the target replicates: the next run puts right what it left."""
    backup_id = subject.take()["backup"]["id"]
    with redis_server(server_root / "redis-left", appendonly="yes") as target:
        before = {name: target.setting(name) for name in TEMPORARY}
        given = {**subject.options, **restoring(subject, target, backup_id, work_dir)}
        process = subject.run.start(subject.module, given)
        until(lambda: target.client.info()["role"] == "slave", "the beginning of the replication")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until(lambda: not servers_in(work_dir), "the end of the throwaway server", 10)
        again = subject.run(subject.module, given)
        assert not again["failed"], again
        assert target.client.info()["role"] == "master" and {name: target.setting(name) for name in TEMPORARY} == before
        nothing_left(work_dir)
