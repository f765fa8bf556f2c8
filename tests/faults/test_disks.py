# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full disks: under the store, under what is temporary, and under the write-ahead log of the server that is restored into. They need root, for small mounts."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time
import typing as t

import psycopg2
import pytest
from drill import Options, Subject, s3_store
from redis_drill import nothing_left, refill, restoring
from servers import AgeKeys, HostileS3, PostgresServer, Runner, postgresql
from subjects import ROWS, Redis, fill, redis_server, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def disk(server_root: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder on a file system of 8 MiB that every user may write to."""
    folder = server_root / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=1777", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture(scope="module")
def books(postgres_server: PostgresServer) -> t.Iterator[PostgresServer]:
    """The server with the database ``books``."""
    fill(postgres_server)
    yield postgres_server
    postgres_server.drop("books")


@pytest.fixture
def opening(age_keys: AgeKeys) -> Options:
    """Options that encrypt, and that open again."""
    return {"encryption": {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}}


@pytest.fixture
def logical(run_module: Runner, books: PostgresServer, opening: Options, tmp_path: pathlib.Path) -> Subject:
    """pg_backup into a folder with room."""
    wanted = {"name": "books", "databases": ["books"], "store": {"type": "local", "path": str(tmp_path / "store")}, "compression": {"level": 1}}
    return Subject(run_module, "pg_backup", {**books.login, **wanted, **opening})


def grow(disk: pathlib.Path) -> None:
    """Make room."""
    subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)


def test_store(logical: Subject, disk: pathlib.Path) -> None:
    """It says so, leaves nothing, and the next run after there is room succeeds."""
    logical.options["store"] = {"type": "local", "path": str(disk / "store")}
    result = logical.take()
    assert result["failed"] and "No space left on device" in result["msg"] and "bytes are free" in result["msg"], result
    assert [path for path in disk.rglob("*") if path.is_file()] == [] and logical.good() == []
    grow(disk)
    assert not logical.take()["failed"] and len(logical.good()) == 1


def test_store_of_a_second_backup(logical: Subject, disk: pathlib.Path) -> None:
    """The first one, which fitted, stays as it is."""
    logical.options["store"] = {"type": "local", "path": str(disk / "store")}
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
    first = logical.take()["backup"]["id"]
    assert logical.take()["failed"] and logical.good() == [first]
    assert not logical.verify(first, "restore")["failed"]


def fill_up(disk: pathlib.Path) -> None:
    """Take all the room that is left."""
    with contextlib.suppress(OSError), (disk / ".ballast").open("wb", buffering=0) as file:
        while file.write(b"\0" * (1 << 20)):
            pass


@pytest.mark.parametrize("given", [{"state": "verified"}, {"state": "restored", "on_existing": "replace", "restore_jobs": 2}], ids=["trial", "staged dump"])
@pytest.mark.parametrize("when", ["before", "amid"])
def test_temporary(logical: Subject, books: PostgresServer, disk: pathlib.Path, given: Options, when: str) -> None:
    """No fault of the backup, no harm to the database, and nothing left."""
    taken = logical.take()["backup"]["id"]
    options = {**logical.options, **given, "databases": [], "backup_id": taken, "work_dir": str(disk), "max_age": "0"}
    if when == "amid":
        subprocess.run(["mount", "-o", "remount,size=48m", str(disk)], check=True)
    process = logical.run.start(logical.module, options)
    deadline = time.monotonic() + 60
    while when == "amid" and not any(path.is_file() and path.stat().st_size for path in disk.rglob("*")):
        assert time.monotonic() < deadline and process.poll() is None, "nothing was written there"
        time.sleep(0.002)
    if when == "amid":
        fill_up(disk)
    result = logical.run.finish(process)
    (disk / ".ballast").unlink(missing_ok=True)
    assert result["failed"] and re.search("o space left|are free|could not extend", result["msg"]), result
    assert list(disk.iterdir()) == [] and logical.info()["backups"][0]["good"] is True, "a full disk is no fault of the backup"
    assert books.query("SELECT count(*) FROM pages", "books") == [(ROWS,)] and books.databases() == {"books"}
    assert logical.good() == [taken]


@pytest.fixture(scope="module")
def source(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """The Redis server that is backed up."""
    with redis_server(server_root / "redis-disk") as server:
        yield server


@pytest.fixture
def snapshot(run_module: Runner, source: Redis, opening: Options, tmp_path: pathlib.Path) -> Subject:
    """redis_snapshot into a folder with room."""
    return Subject(run_module, "redis_snapshot", {**source.login, **opening, "name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}})


def test_store_of_redis(snapshot: Subject, disk: pathlib.Path) -> None:
    """It says so, leaves nothing, and the next run after there is room succeeds; a second one for which there is none leaves the first as it is."""
    snapshot.options["store"] = {"type": "local", "path": str(disk / "store")}
    result = snapshot.take()
    assert result["failed"] and "No space left on device" in result["msg"] and "bytes are free" in result["msg"], result
    assert [path for path in disk.rglob("*") if path.is_file()] == [] and snapshot.good() == []
    subprocess.run(["mount", "-o", "remount,size=24m", str(disk)], check=True)
    first = snapshot.take()["backup"]["id"]
    assert snapshot.take()["failed"] and snapshot.good() == [first]


@pytest.mark.parametrize("state", ["verified", "restored"])
@pytest.mark.parametrize("when", ["before", "amid"])
def test_temporary_of_redis(snapshot: Subject, hostile: HostileS3, disk: pathlib.Path, server_root: pathlib.Path, state: str, when: str) -> None:
    """Under the throwaway server: no fault of the backup, no harm to the target, and nothing left."""
    snapshot.options["store"] = s3_store(hostile)
    taken = snapshot.take()["backup"]["id"]
    hostile.fault("slow", operation="GetObject", count=None, amount=16 << 20)
    if when == "amid":
        subprocess.run(["mount", "-o", "remount,size=128m", str(disk)], check=True)
    with redis_server(server_root / f"redis-{state}-{when}") as target:
        old = target.fill("old", 100)
        given = {**restoring(snapshot, target, taken, disk), "state": state, "verify_level": "restore", "max_age": "0"}
        process = snapshot.run.start(snapshot.module, {**snapshot.options, **given})
        if when == "amid":
            until(lambda: process.poll() is not None or any(path.is_file() and path.stat().st_size for path in disk.rglob("*")), "the first byte")
            fill_up(disk)
        result = snapshot.run.finish(process)
        (disk / ".ballast").unlink(missing_ok=True)
        assert result["failed"] and re.search("o space left|are free", result["msg"]), result
        assert target.digest == old and target.client.info()["role"] == "master"
    nothing_left(disk)
    assert snapshot.info()["backups"][0]["good"] is True, "a full disk is no fault of the backup"
    assert snapshot.good() == [taken]


@pytest.mark.parametrize("kind", ["aof", "rdb"])
def test_files_of_a_redis_that_is_restored(snapshot: Subject, source: Redis, disk: pathlib.Path, server_root: pathlib.Path, kind: str) -> None:
    """A restore that fills the disk of its target says that the data is not saved; after a crash the target has its old data, and the next restore succeeds."""
    taken, work_dir = snapshot.take()["backup"]["id"], server_root / f"work-{kind}"
    work_dir.mkdir()
    settings = {"appendonly": "yes"} if kind == "aof" else {"save": "3600 1000000"}
    subprocess.run(["mount", "-o", "remount,size=24m", str(disk)], check=True)
    with redis_server(disk / "redis", rdb_key_save_delay="0", **settings) as target:
        old = refill(target)
        until(lambda: not target.child, "the end of what the server writes")
        if kind == "aof":
            target.client.bgrewriteaof()
            until(lambda: not target.client.info()["aof_rewrite_in_progress"] and not target.client.info()["aof_rewrite_scheduled"], "a small AOF")
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        given = {**snapshot.options, **restoring(snapshot, target, taken, work_dir), "wait_timeout": 20}
        result = snapshot.run(snapshot.module, given)
        assert result["failed"] and "save the restored data" in result["msg"], result
        assert target.client.info()["role"] == "master" and target.digest == source.digest
        nothing_left(work_dir)
        target.kill()
        grow(disk)
        target.start()
        assert target.digest == old
        result = snapshot.run(snapshot.module, given)
        assert not result["failed"], result
        target.kill()
        target.start()
        assert target.digest == source.digest, "what was acknowledged"


def test_write_ahead_log(logical: Subject, disk: pathlib.Path, server_root: pathlib.Path) -> None:
    """A restore fills the disk of the target's log, and the server goes down with it: said so, and the old database is there when it is up again."""
    taken = logical.take()["backup"]["id"]
    subprocess.run(["mount", "-o", "remount,size=12m", str(disk)], check=True)
    log = disk / "pg_wal"
    with postgresql(server_root / "wal", f"--waldir={log}", "--wal-segsize=1", max_wal_size="4MB", min_wal_size="2MB", wal_keep_size="1GB") as target:
        target.query("CREATE DATABASE books")
        target.query("CREATE TABLE pages AS SELECT 7 AS n", "books")
        wanted = {"databases": [], "state": "restored", "backup_id": taken, "on_existing": "replace", "include_globals": False}
        given = {**logical.options, **target.login, **wanted}
        result = logical.run(logical.module, given)
        assert result["failed"] and result["msg"].startswith("could not "), result
        grow(disk)
        try:
            target.query("SELECT 1")
        except psycopg2.OperationalError:
            target.control("start")
        assert target.query("SELECT n FROM pages", "books") == [(7,)], "the old database"
        result = logical.run(logical.module, given)
        assert not result["failed"] and target.query("SELECT count(*) FROM pages", "books") == [(ROWS,)], result
        assert target.databases() == {"books"}, "what the first try left"
    shutil.rmtree(log, ignore_errors=True)
    assert logical.good() == [taken]
