# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored backups that are damaged behind the module's back, and two runs at once."""

from __future__ import annotations

import random
import re
import typing as t

import pytest
from drill import SEED, Options, Subject, both, damage_manifest, s3_store
from servers import AgeKeys, HostileS3, PostgresServer, Runner
from subjects import fill


@pytest.fixture(scope="module")
def books(postgres_server: PostgresServer) -> t.Iterator[PostgresServer]:
    """The server with two databases."""
    fill(postgres_server)
    postgres_server.query("CREATE DATABASE letters")
    postgres_server.query("CREATE TABLE a AS SELECT generate_series(1, 1000) n", "letters")
    yield postgres_server
    postgres_server.drop("books", "letters")


@pytest.fixture
def opening(age_keys: AgeKeys) -> Options:
    """Options that encrypt, and that open again."""
    return {"encryption": {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}}


@pytest.fixture
def logical(run_module: Runner, books: PostgresServer, opening: Options, hostile: HostileS3) -> Subject:
    """pg_backup of both databases and the roles."""
    wanted = {"name": "books", "databases": ["books", "letters"], "store": s3_store(hostile), "compression": {"level": 1}}
    return Subject(run_module, "pg_backup", {**books.login, **wanted, **opening})


def test_every_object_is_watched(logical: Subject, hostile: HostileS3) -> None:
    """One flipped bit in each, at the first byte, the last one and a random one: ``checksum`` names the object. One missing: ``list`` names it."""
    choose = random.Random(SEED)  # noqa: S311
    backup_id = logical.take()["backup"]["id"]
    objects = [key for key in hostile.keys("backups") if not key.endswith(".json")]
    assert sorted(key.rsplit("/", 1)[1] for key in objects) == ["books.dump.zst.age", "globals.sql.zst.age", "letters.dump.zst.age"]
    for key in objects:
        size = hostile.buckets["backups"][key].size
        for position in (0, size - 1, choose.randrange(size)):
            hostile.flip("backups", key, position)
            result = logical.verify(backup_id, "checksum")
            assert result["failed"] and "its SHA-256 is" in result["msg"] and key.rsplit("/", 1)[1] in result["msg"], (SEED, position, result)
            assert logical.info()["backups"][0]["good"] is False
            hostile.flip("backups", key, position)
        kept = hostile.buckets["backups"].pop(key)
        result = logical.verify(backup_id, "list")
        assert result["failed"] and "it is missing" in result["msg"] and key.rsplit("/", 1)[1] in result["msg"], result
        hostile.buckets["backups"][key] = kept
    assert not logical.verify(backup_id, "content")["failed"] and logical.good() == [backup_id]


def test_a_store_that_rots(logical: Subject, hostile: HostileS3) -> None:
    """A disk under the store that flips a bit after the answer: nobody can know at once, each level from ``checksum`` on finds it."""
    hostile.fault("rot", operation="UploadPart", nth=2)
    taken = logical.take()
    assert not taken["failed"]
    for level in ("checksum", "content", "restore"):
        result = logical.verify(taken["backup"]["id"], level)
        cause = "its SHA-256 is" if level == "checksum" else "its SHA-256 is|age: error: failed to decrypt and authenticate"
        assert result["failed"] and re.search(f"books.dump.zst.age .*({cause})", result["msg"]), (level, result)
    assert logical.good() == []


def test_manifests_of_another_version_or_damaged(logical: Subject, hostile: HostileS3) -> None:
    damage_manifest(logical, hostile)


def test_a_wrong_key_says_nothing_about_the_backup(logical: Subject, age_keys: AgeKeys) -> None:
    backup_id = logical.take()["backup"]["id"]
    for level in ("content", "restore"):
        result = logical.verify(backup_id, level, encryption={"identity": age_keys.stranger.private})
        assert result["failed"] and "the private key fits none of its recipients" in result["msg"], result
    assert logical.good() == [backup_id] and logical.info()["backups"][0]["verifications"][0]["level"] == "content"


def test_two_at_once(logical: Subject, hostile: HostileS3) -> None:
    """pg_backup: one of them says that the other is at work, or comes after it."""
    hostile.fault("slow", operation="UploadPart", count=None, amount=8 << 20)
    results = both(logical)
    good = [result["backup"]["id"] for result in results if not result["failed"]]
    assert good and all("another run holds its lock" in result["msg"] for result in results if result["failed"]), results
    assert sorted(logical.good()) == sorted(good) and hostile.uploads == {}
