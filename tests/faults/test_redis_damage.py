# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored snapshots of Redis that are damaged, swapped or replaced behind the module's back, and two runs at once."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import typing as t

import pytest
from drill import SEED, Options, Subject, both, damage_manifest, s3_store
from redis_drill import Stored, clear, flip_drill, nothing_left, restoring
from servers import AgeKeys, HostileS3, Runner
from subjects import Redis, redis_server

FLIPS = int(os.environ.get("MAINSTAY_FAULT_FLIPS", "60"))
PLAIN: Options = {"compression": {"type": "none"}, "encryption": {"type": "none"}}


@contextlib.contextmanager
def little(folder: pathlib.Path, **settings: str) -> t.Iterator[Redis]:
    """A server with little data, so that each kind of byte is hit."""
    with redis_server(folder, rdb_key_save_delay="0", **settings) as server:
        server.fill("new", 20)
        server.client.hset("hash", mapping={f"field{number}": number for number in range(200)})
        server.client.xadd("stream", {"a": "b"})
        server.client.set("lasting", "x", ex=86_400)
        yield server


@pytest.fixture(scope="module")
def source(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """The server that is backed up."""
    with little(server_root / "redis-damage") as server:
        yield server


@pytest.fixture(scope="module")
def unchecked(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """One whose snapshots end without a checksum."""
    with little(server_root / "redis-unchecked", rdbchecksum="no") as server:
        yield server


@pytest.fixture(scope="module")
def target(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """A server with data that nothing here may replace."""
    with redis_server(server_root / "redis-untouched", rdb_key_save_delay="0") as server:
        server.fill("old", 5)
        yield server


@pytest.fixture
def opening(age_keys: AgeKeys) -> Options:
    """Options that encrypt, and that open again."""
    return {"encryption": {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}}


@pytest.fixture
def work_dir(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Where throwaway servers work."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    clear(folder)


@pytest.fixture
def subject(run_module: Runner, source: Redis, opening: Options, tmp_path: pathlib.Path) -> Subject:
    """redis_snapshot into a folder."""
    return Subject(run_module, "redis_snapshot", {**source.login, **opening, "name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}})


def stored_of(subject: Subject, backup_id: str) -> Stored:
    """Where a backup lies."""
    return Stored.of(pathlib.Path(subject.options["store"]["path"]), backup_id)


@pytest.mark.parametrize("form", ["plain", "compressed", "encrypted"])
def test_flips_and_cuts(subject: Subject, target: Redis, work_dir: pathlib.Path, form: str) -> None:
    if form != "encrypted":
        subject.options.update({**PLAIN, "compression": {"type": "none" if form == "plain" else "zstd"}})
    backup_id = subject.take()["backup"]["id"]
    flip_drill(subject, backup_id, stored_of(subject, backup_id), FLIPS, target, work_dir)


def test_flips_and_cuts_without_a_checksum(subject: Subject, unchecked: Redis, target: Redis, work_dir: pathlib.Path) -> None:
    """Redis itself passes over them."""
    subject.options.update({**unchecked.login, **PLAIN})
    backup = subject.take()["backup"]
    assert backup["source"]["has_checksum"] is False
    flip_drill(subject, backup["id"], stored_of(subject, backup["id"]), FLIPS, target, work_dir)


WRONG: list[tuple[str, t.Callable[[bytes], bytes]]] = [
    ("of a future version", lambda whole: b"REDIS0099" + whole[9:]),
    ("of version 0", lambda whole: b"REDIS0000" + whole[9:]),
    ("in Valkey's own format", lambda whole: b"VALKEY080" + whole[9:]),
    ("no RDB file", lambda whole: bytes(reversed(whole))),
    ("the magic alone", lambda whole: whole[:9]),
    ("without a byte", lambda whole: b""),
    ("without its end", lambda whole: whole[:-9]),
    ("with the end mark of a replication stream", lambda whole: whole + b"0" * 40),
    ("with another checksum", lambda whole: whole[:-1] + bytes([whole[-1] ^ 255])),
    ("with a type of value that there is none", lambda whole: whole.replace(b"\x00\x06mark:1", b"\xf0\x06mark:1", 1)),
]
"""What stands in the store although the manifest agrees with it, byte for byte."""


@pytest.mark.parametrize("magic", ["as it was", "as it is"])
@pytest.mark.parametrize(("name", "change"), WRONG, ids=[name for name, _change in WRONG])
def test_a_wrong_snapshot(
    subject: Subject, target: Redis, work_dir: pathlib.Path, name: str, change: t.Callable[[bytes], bytes], magic: str
) -> None:
    """Whether the manifest knows its magic or not: ``content`` and ``restore`` find it, and a restore leaves its target alone."""
    subject.options.update(PLAIN)
    backup_id = subject.take()["backup"]["id"]
    stored = stored_of(subject, backup_id)
    data = change(whole := stored.snapshot.read_bytes())
    assert data != whole
    stored.replace(data, **({} if magic == "as it was" else {"rdb_magic": data[:9].decode(errors="replace")}))
    for level in ("content", "restore"):
        result = subject.verify(backup_id, level, work_dir=str(work_dir))
        assert result["failed"] and result["msg"].startswith("could not ") and "Traceback" not in str(result), (name, level, result)
        assert subject.info()["backups"][0]["good"] is False, (name, level)
        stored.forget()
    digest = target.digest
    result = subject.run(subject.module, {**subject.options, **restoring(subject, target, backup_id, work_dir)})
    assert result["failed"] and result["msg"].startswith("could not "), (name, result)
    assert target.digest == digest and target.client.info()["role"] == "master", name
    nothing_left(work_dir)


def test_objects_of_another_backup(subject: Subject, source: Redis, target: Redis, work_dir: pathlib.Path) -> None:
    """Two backups with their objects exchanged, and with their manifests exchanged: neither counts, neither is restored."""
    first = subject.take()["backup"]["id"]
    source.client.set("more", "x")
    second = subject.take()["backup"]["id"]
    source.client.delete("more")
    one, other = stored_of(subject, first), stored_of(subject, second)
    digest = target.digest
    for pairs in (list(zip(one.objects, other.objects)), [(one.snapshot, other.snapshot)], [(one.folder / "manifest.json", other.folder / "manifest.json")]):
        exchange(pairs)
        for backup_id in (first, second):
            for level in ("checksum", "content", "restore"):
                result = subject.verify(backup_id, level, work_dir=str(work_dir))
                assert result["failed"] and result["msg"].startswith("could not "), (level, result)
            result = subject.run(subject.module, {**subject.options, **restoring(subject, target, backup_id, work_dir)})
            assert result["failed"] and target.digest == digest, result
        assert subject.good() == []
        exchange(pairs)
        one.forget()
        other.forget()
    assert subject.good() == [first, second]
    nothing_left(work_dir)


def exchange(pairs: t.Sequence[tuple[pathlib.Path, pathlib.Path]]) -> None:
    """Exchange the content of files."""
    for one, other in pairs:
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)


def test_a_manifest_that_is_changed(subject: Subject, target: Redis, work_dir: pathlib.Path) -> None:
    """Random words of a manifest changed: never a traceback, and a restore that succeeds has restored the data."""
    backup_id = subject.take()["backup"]["id"]
    path = stored_of(subject, backup_id).folder / "manifest.json"
    text, digest = path.read_text(), target.digest
    choose = random.Random(SEED)  # noqa: S311
    for _unused in range(FLIPS // 3):
        manifest = json.loads(text)
        place = choose.choice(sorted(manifest))
        manifest[place] = choose.choice([None, [], {}, "", 0, -1, "x" * 100, [{}], {"a": []}])
        path.write_text(json.dumps(manifest))
        results = [subject.verify(backup_id, level, work_dir=str(work_dir)) for level in ("checksum", "content")]
        results.append(subject.run(subject.module, {**subject.options, **restoring(subject, target, backup_id, work_dir)}, check=True))
        for result in [*results, subject.info()]:
            assert "Traceback" not in str(result) and (not result["failed"] or result["msg"].startswith("could not ")), (SEED, place, manifest[place], result)
    assert target.digest == digest


def test_manifests_of_another_version_or_damaged(subject: Subject, hostile: HostileS3) -> None:
    subject.options["store"] = s3_store(hostile)
    damage_manifest(subject, hostile)


def test_two_snapshots_at_once(subject: Subject, hostile: HostileS3) -> None:
    """Each is whole, or says what keeps it."""
    subject.options["store"] = s3_store(hostile)
    results = both(subject)
    good = [result["backup"]["id"] for result in results if not result["failed"]]
    assert good and all(result["msg"].startswith("could not ") for result in results if result["failed"]), results
    assert sorted(subject.good()) == sorted(good)
