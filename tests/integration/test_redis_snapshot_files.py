# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_snapshot into the data folder of a server that does not run: what the server loads then, and what is never overwritten."""

from __future__ import annotations

import os
import pathlib
import signal
import stat
import subprocess
import typing as t

import pytest
from module_job import failed
from redis_jobs import (
    Job,
    RedisServer,
    Starter,
    job,
    master,
    nothing_left,
    program,
    restored_keys,
    start_redis,
)

__all__ = ["job", "master", "nothing_left", "start_redis"]
NOBODY = 65534


@pytest.fixture
def data_dir(server_root: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty folder that belongs to another user, if this is root."""
    folder = server_root / f"data-{tmp_path.name}"
    folder.mkdir()
    folder.chmod(0o750)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.fixture
def taken(job: Job, master: RedisServer) -> dict[str, t.Any]:
    """A backup in the catalogue."""
    master.fill()
    return t.cast("dict[str, t.Any]", job(**master.login)["backup"])


def options(folder: pathlib.Path, appendonly: bool | None, **more: t.Any) -> dict[str, t.Any]:
    """The options of a restore into a folder; nobody listens on the port."""
    given = {"state": "restored", "restore_method": "files", "data_dir": str(folder), "appendonly": appendonly}
    return {**given, "login_host": "127.0.0.1", "login_port": 1, "tls": False, **more}


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("appendonly", "names", "settings"),
    [
        (True, {}, {}),
        (False, {}, {}),
        (True, {"appenddirname": "aof", "appendfilename": "my file.aof"}, {"appenddirname": "aof", "appendfilename": '"my file.aof"'}),
        (False, {"dbfilename": "other.rdb"}, {"dbfilename": "other.rdb"}),
    ],
    ids=["aof", "rdb", "aof by other names", "rdb by another name"],
)
def test_a_server_starts_with_the_data(
    job: Job,
    master: RedisServer,
    taken: dict[str, t.Any],
    start_redis: Starter,
    data_dir: pathlib.Path,
    appendonly: bool,
    names: dict[str, str],
    settings: dict[str, str],
) -> None:
    planned = job(check=True, **options(data_dir, appendonly, **names))
    assert list(data_dir.iterdir()) == [] and planned["restored"] == []
    done = job(**options(data_dir, appendonly, **names))
    assert (planned["changed"], planned["actions"], planned["diff"]) == (done["changed"], done["actions"], done["diff"])
    new = names.get("appenddirname", "appendonlydir") if appendonly else names.get("dbfilename", "dump.rdb")
    assert done["actions"] == [f"write {new} in {data_dir}"] and done["changed"]
    assert done["diff"]["after"]["state"] == ["db0: 506 keys", "db7: 1 keys"]
    assert {"plan", "fetch", "swap"} == set(done["phases"])
    assert restored_keys(done) == {"db0": 506, "db7": 1} and done["files_kept"] == [] and done["snapshot_before"] is None
    assert [path.name for path in data_dir.iterdir()] == [new]
    folder = data_dir.stat()
    for path in data_dir.rglob("*"):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (folder.st_uid, folder.st_gid)
        assert stat.S_IMODE(found.st_mode) == (0o750 if path.is_dir() else 0o640)
    server = start_redis(dir=str(data_dir), appendonly="yes" if appendonly else "no", **settings)
    assert server.digest == master.digest
    server.client().set("new", "x")
    digest = server.digest
    if appendonly:
        server.stop(signal.SIGKILL)
        server.start()
        assert server.digest == digest, "what is written after the restore is not in the AOF"
    server.stop()


def test_old_files_are_renamed(job: Job, taken: dict[str, t.Any], master: RedisServer, start_redis: Starter, data_dir: pathlib.Path) -> None:
    old = start_redis(dir=str(data_dir), appendonly="yes")
    old.client().set("old", "data")
    old.client().save()
    before = old.digest
    failed(job(**options(data_dir, True, force=True)), f"process {old.process.pid if old.process else 0} (redis-server) runs in it", "stop the server")
    old.stop(signal.SIGTERM)
    files = tree(data_dir)
    failed(job(**options(data_dir, True)), "it holds appendonlydir, dump.rdb", "set force=true")
    planned = job(check=True, **options(data_dir, True, force=True))
    assert tree(data_dir) == files
    done = job(**options(data_dir, True, force=True))
    suffix = f".before-{taken['id']}"
    assert (planned["actions"], planned["diff"]) == (done["actions"], done["diff"])
    assert done["diff"]["before"]["state"] == ["appendonlydir", "dump.rdb"]
    assert done["actions"][0] == f"rename appendonlydir to appendonlydir{suffix} in {data_dir}"
    assert done["files_kept"] == [f"{data_dir}/appendonlydir{suffix}", f"{data_dir}/dump.rdb{suffix}"]
    kept = {name.replace(suffix, ""): content for name, content in tree(data_dir).items() if suffix in name}
    assert kept == files
    again = job(**options(data_dir, True, force=True))
    assert again["files_kept"] == [f"{data_dir}/appendonlydir{suffix}-2"]
    server = start_redis(dir=str(data_dir), appendonly="yes")
    assert server.digest == master.digest
    server.stop(signal.SIGTERM)
    os.rename(f"{data_dir}/appendonlydir", f"{data_dir}/away")
    os.rename(f"{data_dir}/appendonlydir{suffix}", f"{data_dir}/appendonlydir")
    assert old.start().digest == before
    old.stop()


def test_folders_that_are_in_use(job: Job, taken: dict[str, t.Any], start_redis: Starter, data_dir: pathlib.Path) -> None:
    server = start_redis(dir=str(data_dir))
    server.client().save()
    unseen = job.start("unshare", "--pid", "--fork", "--mount-proc", **options(data_dir, False, force=True, **server.login))
    failed(job.finish(unseen), f"the server at 127.0.0.1:{server.port} says that it is its folder")
    stranger = job.start("unshare", "--map-root-user", **options(data_dir, False, force=True))
    failed(job.finish(stranger), "may not see what the processes", "run the task as root")
    server.stop()
    with (data_dir / "dump.rdb").open("rb") as dump:
        holder = subprocess.Popen([program("sleep"), "60"], stdin=dump)
    try:
        failed(job(**options(data_dir, False, force=True)), f"process {holder.pid} (sleep) has files of it open")
    finally:
        holder.terminate()
        holder.wait()
    assert [path.name for path in data_dir.iterdir()] == ["dump.rdb"]


def test_what_cannot_be_restored_into(
    job: Job, taken: dict[str, t.Any], data_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(job(**{**options(data_dir, True), "data_dir": None}), "needs data_dir and appendonly")
    failed(job(**options(data_dir, None)), "needs data_dir and appendonly")
    failed(job(**options(data_dir, True, restore_users=True)), "ACL users are set in a server that runs")
    failed(job(**options(data_dir / "missing", True)), "No such file or directory", "make the folder")
    (data_dir / "file").touch()
    failed(job(**options(data_dir / "file", True)), "is no folder")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "redis-server").write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0 malloc=libc bits=64'\n")
    (programs / "redis-server").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        job.edit_manifest(lambda manifest: manifest["source"].update(rdb_magic="REDIS0010"))
        failed(job(**options(data_dir, True)), "the snapshot has RDB version 10; Redis 6.2.14 loads up to 9", "install that version")
        job.edit_manifest(lambda manifest: manifest["source"].update(rdb_magic="REDIS0009"))
        failed(job(**options(data_dir, True)), "Redis 6.2.14 has an AOF that cannot be written from outside", "CONFIG SET")
        assert job(check=True, **options(data_dir, False))["changed"]
        (programs / "redis-server").write_text("#!/bin/sh\necho nonsense\n")
        failed(job(**options(data_dir, True)), "for its version: it said 'nonsense")
    assert [path.name for path in data_dir.iterdir()] == ["file"]


def test_a_backup_that_cannot_be_read_changes_nothing(job: Job, taken: dict[str, t.Any], data_dir: pathlib.Path) -> None:
    (data_dir / "dump.rdb").write_bytes(b"old")
    path = job.data_object()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    failed(job(**options(data_dir, False, force=True, backup_id=taken["id"])), "its SHA-256 is")
    assert tree(data_dir) == {"dump.rdb": b"old"} and len(list(data_dir.iterdir())) == 1


def test_a_full_disk(job: Job, taken: dict[str, t.Any], data_dir: pathlib.Path) -> None:
    script = f'mount -t tmpfs -o size=256k tmpfs {data_dir} && echo old > {data_dir}/dump.rdb && "$@"; status=$?; ls -A {data_dir} >&2; exit $status'
    process = job.start("unshare", "-m", "sh", "-c", script, "sh", **options(data_dir, True, force=True))
    output, errors = process.communicate(timeout=60)
    failed(job._result(output), "bytes are free")
    assert errors.split() == ["dump.rdb"]
