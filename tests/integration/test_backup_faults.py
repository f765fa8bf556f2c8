# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short set of the faults that ``make test-faults`` tries at length: kills at random moments, and an S3 that misbehaves. Not one false good."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
from conftest import AgeKeys, HostileS3, PostgresServer, Runner

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
pytest.register_assert_rewrite("drill")
from drill import TAKING, Case, Options, Subject, kill_drill, s3_store, take_under
from subjects import fill, redis_server


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


def test_kills_of_pg_backup(logical: Subject) -> None:
    kill_drill(logical, 3, "pg_backup, S3", again_every=3)


def test_kills_of_redis_snapshot(run_module: Runner, opening: Options, server_root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with redis_server(server_root / "redis-kills") as server:
        options = {**server.login, **opening, "name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}}
        kill_drill(Subject(run_module, "redis_snapshot", options), 3, "redis_snapshot, local", again_every=3)


@pytest.mark.parametrize("case", [case for case in TAKING if case.short], ids=lambda case: case.name)
def test_a_store_that_misbehaves(logical: Subject, hostile: HostileS3, case: Case) -> None:
    take_under(logical, hostile, case)
