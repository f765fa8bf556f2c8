# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL of the module, or of any process below it, at random moments: whatever is listed as good afterwards is good, and the next run succeeds."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import time
import typing as t

import psycopg2
import pytest
from drill import Subject, at_work, kill_drill, s3_store
from processes import descendants
from servers import AgeKeys, HostileS3, PostgresServer, Runner, postgresql
from subjects import archive_with_pgbackrest, fill, kill_server, redis_server, until

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import Settings, render

KILLS = int(os.environ.get("MAINSTAY_FAULT_KILLS", "50"))


@pytest.fixture(scope="module")
def server(server_root: pathlib.Path) -> t.Iterator[PostgresServer]:
    """A server with the database ``books``, for this module alone."""
    with postgresql(server_root / "kills", "--wal-segsize=1") as server:
        fill(server)
        yield server


@pytest.fixture
def subject(run_module: Runner, server: PostgresServer, age_keys: AgeKeys) -> Subject:
    """pg_backup of it; the store is still missing."""
    encryption = {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}
    return Subject(run_module, "pg_backup", {**server.login, "name": "books", "databases": ["books"], "encryption": encryption, "compression": {"level": 1}})


def test_logical_into_s3(subject: Subject, hostile: HostileS3) -> None:
    """Half of the kills; unfinished uploads that are left are aborted by a later run, once they are a day old."""
    subject.options["store"] = s3_store(hostile)
    kill_drill(subject, KILLS // 2, "pg_backup, S3")
    for upload in hostile.uploads.values():
        upload.initiated = upload.initiated.replace(year=upload.initiated.year - 1)
    assert not subject.take()["failed"] and hostile.uploads == {}


def test_logical_into_a_folder(subject: Subject, tmp_path: pathlib.Path) -> None:
    """The other half; temporary files that are left go with a later run, once they are a day old."""
    subject.options["store"] = {"type": "local", "path": str(tmp_path / "store")}
    kill_drill(subject, KILLS - KILLS // 2, "pg_backup, local")
    left = list((tmp_path / "store").rglob(".*.tmp"))
    for path in left:
        os.utime(path, (time.time() - 90_000,) * 2)
    assert not subject.take()["failed"] and not any(path.exists() for path in left)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_redis(run_module: Runner, age_keys: AgeKeys, server_root: pathlib.Path, tmp_path: pathlib.Path, hostile: HostileS3, kind: str) -> None:
    with redis_server(server_root / f"redis-{kind}") as server:
        encryption = {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}
        store = s3_store(hostile) if kind == "s3" else {"type": "local", "path": str(tmp_path / "store")}
        options = {**server.login, "name": "cache", "encryption": encryption, "store": store}
        kill_drill(Subject(run_module, "redis_snapshot", options), KILLS // 2, f"redis_snapshot, {kind}")


@pytest.fixture
def physical(run_module: Runner, server: PostgresServer, server_root: pathlib.Path) -> Subject:
    """pg_backup by pgBackRest of the same server."""
    store = {"type": "local", "path": str(server_root / "repository")}
    place = {"data_dir": str(server.data_dir), "socket_path": str(server.socket_dir), "port": server.port}
    text = render(Settings("books", (store,), encrypted=False, user="postgres", **place))
    archive_with_pgbackrest(server, server.socket_dir, text, "books")
    wanted = {"method": "physical", "name": "books", "store": store, "encryption": {"type": "none"}}
    return Subject(run_module, "pg_backup", {**server.login, **wanted})


def test_physical(physical: Subject) -> None:
    kill_drill(physical, KILLS, "pg_backup by pgBackRest")


@pytest.mark.parametrize(
    ("level", "program", "number", "jobs"),
    [
        ("content", "age", signal.SIGKILL, 1),
        ("content", "pg_restore", signal.SIGKILL, 1),
        ("restore", "zstd", signal.SIGKILL, 1),
        ("restore", "pg_restore", signal.SIGKILL, 1),
        ("restore", "pg_restore", signal.SIGTERM, 1),
        ("restore", "pg_restore", signal.SIGTERM, 2),
    ],
)
def test_a_program_that_is_killed_while_the_module_verifies(
    subject: Subject, server_root: pathlib.Path, tmp_path: pathlib.Path, level: str, program: str, number: signal.Signals, jobs: int
) -> None:
    """By the kernel for want of memory, or by somebody who tells it to end: said so, and no fault of the backup."""
    subject.options["store"] = {"type": "local", "path": str(tmp_path / "store")}
    backup_id = subject.take()["backup"]["id"]
    (work_dir := server_root / "work").mkdir(exist_ok=True)
    given = {"state": "verified", "backup_id": backup_id, "verify_level": level, "max_age": "0", "work_dir": str(work_dir), "restore_jobs": jobs}
    process = subject.run.start(subject.module, {**subject.options, **given})
    victim = until(lambda: next((pid for pid in descendants(process.pid) if at_work(pid, program)), 0), f"the start of {program}")
    os.kill(victim, number)
    result = subject.run.finish(process)
    said = f"{program} (was killed by {number.name}|ended with status 1: .*terminated by user)"
    assert result["failed"] and re.search(f"^could not .*: {said}", result["msg"], re.DOTALL), result
    assert list(work_dir.iterdir()) == [] and subject.good() == [backup_id], result


def test_a_server_that_is_killed(subject: Subject, server: PostgresServer, hostile: HostileS3) -> None:
    """SIGKILL of the postmaster, and of the backend that sends the rows, in the middle of a dump."""
    subject.options["store"] = s3_store(hostile)
    hostile.fault("slow", operation="UploadPart", count=None, amount=4 << 20)
    cause = "server closed the connection|terminating connection"
    for victim in ("postmaster", "backend"):
        process = subject.run.start(subject.module, {**subject.options, "max_age": "0"})
        deadline = time.monotonic() + 60
        while not hostile.count("UploadPart"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        if victim == "postmaster":
            kill_server(server)
        else:
            ((pid,),) = server.query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = 'books'")
            os.kill(pid, 9)
        result = subject.run.finish(process)
        hostile.requests.clear()
        assert result["failed"] and re.search(cause, result["msg"]), result
        assert hostile.keys("backups") == [] and hostile.uploads == {}
        if victim == "postmaster":
            server.control("start")
        while True:
            with contextlib.suppress(psycopg2.OperationalError):
                server.query("SELECT 1")
                break
            assert time.monotonic() < deadline + 60, "the server does not come back"
            time.sleep(0.2)
    hostile.behave()
    assert not subject.take()["failed"] and len(subject.good()) == 1
