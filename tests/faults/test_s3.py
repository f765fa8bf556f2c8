# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of an S3 against whole backups: while one is taken, verified at each level, and restored; and clocks that are apart."""

from __future__ import annotations

import datetime
import pathlib
import re
import typing as t

import pytest
from drill import TAKING, Case, Options, Subject, s3_store, take_under
from redis_drill import nothing_left, restoring
from servers import AgeKeys, HostileS3, PostgresServer, Runner
from subjects import ROWS, Redis, fill, redis_server

LEVELS = ("list", "checksum", "content", "restore")


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
def logical(run_module: Runner, books: PostgresServer, opening: Options, hostile: HostileS3) -> Subject:
    """pg_backup into the S3 that misbehaves."""
    wanted = {"name": "books", "databases": ["books"], "store": s3_store(hostile), "compression": {"level": 1}}
    return Subject(run_module, "pg_backup", {**books.login, **wanted, **opening})


@pytest.mark.parametrize("case", TAKING, ids=lambda case: case.name)
def test_taking_with_pg_backup(logical: Subject, hostile: HostileS3, case: Case) -> None:
    take_under(logical, hostile, case)


@pytest.fixture(scope="module")
def source(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """The Redis server that is backed up."""
    with redis_server(server_root / "redis-s3") as server:
        yield server


@pytest.fixture
def snapshot(run_module: Runner, source: Redis, opening: Options, hostile: HostileS3) -> Subject:
    """redis_snapshot into the S3 that misbehaves."""
    return Subject(run_module, "redis_snapshot", {**source.login, **opening, "name": "cache", "store": s3_store(hostile)})


@pytest.mark.parametrize("case", [case for case in TAKING if "globals" not in case.name], ids=lambda case: case.name)
def test_taking_with_redis_snapshot(snapshot: Subject, hostile: HostileS3, case: Case) -> None:
    take_under(snapshot, hostile, case)


GET, DUMP = {"operation": "GetObject"}, {"operation": "GetObject", "key": r"(books\.dump|dump\.rdb)"}
READING: list[tuple[str, str, Options, str, bool]] = [
    ("cut before", "reset_before", {**GET, "count": 2}, "", False),
    ("cut within", "reset_during", {**GET, "count": 3}, "", False),
    ("ended early", "cut_answer", {**GET, "count": 3}, "", False),
    ("slow down", "status", {**GET, "count": 2, "status": 503, "code": "SlowDown"}, "", False),
    ("slow", "slow", {**GET, "count": None, "amount": 16 << 20}, "", False),
    ("half of it", "short_answer", DUMP, "bytes, its manifest says|age: error", True),
    ("a flipped bit", "flip_answer", DUMP, "its SHA-256 is|age: error", True),
    ("refused", "status", {**DUMP, "count": None, "status": 403, "code": "AccessDenied"}, "AccessDenied", False),
    ("never there", "reset_before", {**DUMP, "count": None}, "onnection", False),
    ("down", "status", {**DUMP, "count": None}, "InternalError", False),
    ("gone", "status", {**DUMP, "count": None, "status": 404, "code": "NoSuchKey"}, "there is no such object", True),
]
"""Name, fault, cause (empty: it is survived), and whether the backup is to blame by what the store says."""


@pytest.mark.parametrize(("kind", "given", "cause", "blamed"), [case[1:] for case in READING], ids=[case[0] for case in READING])
def test_reading(logical: Subject, hostile: HostileS3, books: PostgresServer, kind: str, given: Options, cause: str, blamed: bool) -> None:
    """Verification at every level, and a restore: survived, or said for what it is; what the way alone is to blame for is not in the backup's record."""
    backup_id = logical.take()["backup"]["id"]
    for level in LEVELS:
        hostile.fault(kind, **given)
        result = logical.verify(backup_id, level)
        hostile.behave()
        expected = cause if level != "list" else ""
        assert result["failed"] is bool(expected) and re.search(expected, result.get("msg", "")), (level, result)
        (backup,) = logical.info()["backups"]
        assert backup["good"] is not (blamed and bool(expected)), (level, backup["verifications"])
        assert not logical.verify(backup_id, "content")["failed"]
    before = books.databases()
    books.query("UPDATE pages SET body = '' WHERE n = 1", "books")
    hostile.fault(kind, **given)
    result = logical.run(logical.module, {**logical.options, "state": "restored", "backup_id": backup_id, "on_existing": "replace"})
    assert result["failed"] is bool(cause) and re.search(cause, result.get("msg", "")), result
    assert books.databases() == before
    rows = books.query("SELECT count(*), count(*) FILTER (WHERE body = '') FROM pages", "books")
    assert rows == [(ROWS, 1 if cause else 0)]
    books.query("UPDATE pages SET body = gen_random_bytes(1000) WHERE body = ''", "books")


@pytest.mark.parametrize(("kind", "given", "cause", "blamed"), [case[1:] for case in READING], ids=[case[0] for case in READING])
def test_reading_with_redis_snapshot(
    snapshot: Subject, source: Redis, hostile: HostileS3, server_root: pathlib.Path, tmp_path: pathlib.Path, kind: str, given: Options, cause: str, blamed: bool
) -> None:
    """The same for a snapshot of Redis; a restore that is refused leaves its target as it is."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    backup_id = snapshot.take()["backup"]["id"]
    for level in LEVELS:
        hostile.fault(kind, **given)
        result = snapshot.verify(backup_id, level, work_dir=str(work_dir))
        hostile.behave()
        expected = cause if level != "list" else ""
        assert result["failed"] is bool(expected) and re.search(expected, result.get("msg", "")), (level, result)
        (backup,) = snapshot.info()["backups"]
        assert backup["good"] is not (blamed and bool(expected)), (level, backup["verifications"])
        assert not snapshot.verify(backup_id, "content")["failed"]
    with redis_server(server_root / f"redis-{tmp_path.name}", rdb_key_save_delay="0") as target:
        old = target.fill("old", 100)
        hostile.fault(kind, **given)
        result = snapshot.run(snapshot.module, {**snapshot.options, **restoring(snapshot, target, backup_id, work_dir)})
        assert result["failed"] is bool(cause) and re.search(cause, result.get("msg", "")), result
        assert target.digest == (old if cause else source.digest) and target.client.info()["role"] == "master"
    nothing_left(work_dir)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clocks_that_are_apart(logical: Subject, hostile: HostileS3, minutes: int) -> None:
    """Nothing is pruned, neither on request nor after a backup; backups can be taken and read."""
    for _unused in range(2):
        assert not logical.take()["failed"]
    keys = hostile.keys("backups")
    hostile.clock_shift = datetime.timedelta(minutes=minutes)
    options = {**logical.options, "retention": {"keep_last": 1, "min_good": 1, "grace": "0"}}
    for check in (True, False):
        result = logical.run(logical.module, {**options, "state": "pruned"}, check)
        assert result["failed"] and "seconds apart" in result["msg"] and "nothing was removed" in result["msg"], result
    assert hostile.keys("backups") == keys
    result = logical.take(retention=options["retention"])
    assert set(keys) <= set(hostile.keys("backups")), "something was removed"
    assert "seconds apart" in str(result)
    assert len(logical.good()) == 3
    hostile.behave()
    result = logical.run(logical.module, {**options, "state": "pruned"})
    assert not result["failed"] and len(logical.good()) < 3, result
