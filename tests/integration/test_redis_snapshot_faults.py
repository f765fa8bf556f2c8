# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short set of the faults of Redis that ``make test-faults`` tries at length: kills, flipped bytes, clients that go on meanwhile. Not one false good."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import typing as t

import pytest
from conftest import AgeKeys, HostileS3, Runner

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
pytest.register_assert_rewrite("drill", "redis_drill")
from drill import TAKING, Case, Subject, s3_store, take_under
from redis_drill import Stored, clear, flip_drill, live_drill, source_drill, target_drill, verify_drill, write_drill
from subjects import Redis, following, redis_server


@pytest.fixture(scope="module")
def source(server_root: pathlib.Path) -> t.Iterator[Redis]:
    """The server that is backed up."""
    with redis_server(server_root / "redis-source") as server:
        yield server


@pytest.fixture
def work_dir(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Where throwaway servers work."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    clear(folder)


@pytest.fixture
def subject(run_module: Runner, source: Redis, age_keys: AgeKeys, tmp_path: pathlib.Path) -> Subject:
    """redis_snapshot of the source into a folder."""
    encryption = {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}
    wanted = {"name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}, "encryption": encryption, "compression": {"level": 1}}
    return Subject(run_module, "redis_snapshot", {**source.login, **wanted})


def test_verifying(subject: Subject, work_dir: pathlib.Path) -> None:
    verify_drill(subject, subject.take()["backup"]["id"], 1, work_dir)


def test_a_source_that_is_killed(subject: Subject, server_root: pathlib.Path) -> None:
    with redis_server(server_root / "redis-killed") as source:
        subject.options.update(source.login)
        source_drill(subject, source, 1)


def test_a_target_that_is_killed(subject: Subject, source: Redis, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    with redis_server(server_root / "redis-target", appendonly="yes") as target:
        target_drill(subject, target, subject.take()["backup"]["id"], source.digest, 1, work_dir)


def test_restoring_under_load(subject: Subject, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    backup_id = subject.take()["backup"]["id"]
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis_server(server_root / "redis-master", appendonly="yes", rdb_key_save_delay="100"))
        replicas = [stack.enter_context(following(server_root / f"redis-replica-{number}", master)) for number in range(2)]
        live_drill(subject, master, replicas, backup_id, 1, work_dir)


def test_a_snapshot_of_a_server_that_is_written_to(subject: Subject, server_root: pathlib.Path, work_dir: pathlib.Path) -> None:
    with redis_server(server_root / "redis-written") as busy, redis_server(server_root / "redis-empty", rdb_key_save_delay="0") as empty:
        subject.options.update(busy.login)
        write_drill(subject, busy, empty, 1, work_dir)


def test_flips_and_cuts(subject: Subject, source: Redis, work_dir: pathlib.Path) -> None:
    backup_id = subject.take()["backup"]["id"]
    stored = Stored.of(pathlib.Path(subject.options["store"]["path"]), backup_id)
    flip_drill(subject, backup_id, stored, 5, source, work_dir)


@pytest.mark.parametrize("case", [case for case in TAKING if case.name in ("a bit flipped in the store", "the object lost")], ids=lambda case: case.name)
def test_a_store_that_misbehaves(subject: Subject, hostile: HostileS3, case: Case) -> None:
    subject.options["store"] = s3_store(hostile)
    take_under(subject, hostile, case)
