# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of files: kills, disks that are full, and damage. What is listed as good is good, and a tree that is restored over is the old or the new one."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest
from drill import SEED, Subject, kill_drill, s3_store
from processes import descendants
from servers import AgeKeys, HostileS3, Runner

KILLS = int(os.environ.get("MAINSTAY_FAULT_KILLS", "50"))
FLIPS = int(os.environ.get("MAINSTAY_FAULT_FLIPS", "60"))


def fill(tree: pathlib.Path, files: int = 300, size: int = 50_000) -> None:
    """Make files that do not compress."""
    for number in range(files):
        folder = tree / f"{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(os.urandom(size))


def content(tree: pathlib.Path) -> dict[str, bytes]:
    """All files of a tree."""
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """What is backed up."""
    fill(tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def subject(run_module: Runner, age_keys: AgeKeys, tree: pathlib.Path, tmp_path: pathlib.Path) -> Subject:
    """files_backup of it into a folder."""
    (tmp_path / "work").mkdir()
    encryption = {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}
    places = {"work_dir": str(tmp_path / "work"), "state_dir": str(tmp_path / "state"), "store": {"type": "local", "path": str(tmp_path / "store")}}
    wanted = {"name": "app", "paths": [str(tree)], "encryption": encryption, "compression": {"level": 1}}
    return Subject(run_module, "files_backup", {**wanted, **places})


@pytest.mark.parametrize("kind", ["local", "s3"])
@pytest.mark.parametrize("backup_type", ["full", "incremental"])
def test_kills_while_a_backup_is_taken(subject: Subject, hostile: HostileS3, tree: pathlib.Path, kind: str, backup_type: str) -> None:
    """Each run has something to read; a chain never leads over one that was cut off."""
    if kind == "s3":
        subject.options["store"] = s3_store(hostile)
    subject.options.update(backup_type=backup_type, compare="contents", max_increments=5)
    kill_drill(subject, max(1, KILLS // 4), f"files_backup, {backup_type}, {kind}")
    (tree / "0/0").write_bytes(os.urandom(50_000))
    taken = subject.take()
    assert not taken["failed"] and not subject.verify(taken["backup"]["id"], "restore")["failed"]


def test_kills_while_a_tree_is_replaced(subject: Subject, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """SIGKILL at any moment of a restore: the tree is the old one or the new one, in full, and the next run brings the new one."""
    choose = random.Random(SEED)
    new = content(tree)
    backup_id = subject.take()["backup"]["id"]
    given = {"state": "restored", "backup_id": backup_id, "on_existing": "replace", "compare": "contents"}
    seen = set()
    for number in range(KILLS):
        (tree / "0/0").write_bytes(b"old")
        (tree / "more").write_bytes(b"not in the backup")
        old = content(tree)
        process = subject.run.start("files_backup", {**subject.options, **given})
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(choose.uniform(0.2, 2.0 if number % 2 else 6.0))
        below = descendants(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(choose.choice([process.pid, process.pid, *below]), signal.SIGKILL)
        process.communicate(timeout=120)
        found = content(tree)
        assert found in (old, new), f"neither the old tree nor the new one (seed {SEED})"
        seen.add(found == new)
        for path in tmp_path.glob(".mainstay-swap-*"):
            assert found == new, "only once the new tree is in place may the old one be left"
            subprocess.run(["rm", "-rf", str(path)], check=True)
        result = subject.run("files_backup", {**subject.options, **given})
        assert not result["failed"] and content(tree) == new, result
        assert not list(tmp_path.glob(".mainstay-restore-*")), "what a killed run left goes with the next one"
    assert False in seen


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_disks(subject: Subject, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Under the store, under what is restored for trial, under what is restored, and under what is remembered: said so, and nothing is lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    backup_id = subject.take()["backup"]["id"]
    before = content(tree)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], check=True)
    try:
        result = subject.take(store={"type": "local", "path": str(disk / "store")})
        assert result["failed"] and "No space left" in result["msg"], result
        assert not [path for path in disk.rglob("*") if path.is_file()]
        for given in ({"state": "verified", "work_dir": str(disk)}, {"state": "restored", "target_dir": str(disk)}):
            result = subject.run("files_backup", {**subject.options, "backup_id": backup_id, "max_age": "0", **given})
            assert result["failed"] and "bytes are free on the file system" in result["msg"], result
            assert not [path for path in disk.rglob("*") if path.is_file()]
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        result = subject.take(state_dir=str(disk))
        assert not result["failed"] and any("the next backup will be a full one" in str(warning) for warning in result["warnings"]), result
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert subject.good() and content(tree) == before


def test_every_kind_of_damage_is_found(subject: Subject, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """One bit in any object of a chain, and an end that is cut off: the level checksum names the object, and a restore changes nothing."""
    choose = random.Random(SEED)
    first = subject.take()["backup"]
    time.sleep(1.1)
    (tree / "0/0").write_bytes(os.urandom(50_000))
    second = subject.take()["backup"]
    before = content(tree)
    objects = [(backup["id"], item["name"]) for backup in (first, second) for item in backup["objects"]]
    for number in range(FLIPS):
        backup_id, name = objects[number % len(objects)]
        path = tmp_path / "store/files/app" / backup_id / name
        data = path.read_bytes()
        if number % 5:
            spoilt = bytearray(data)
            spoilt[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        else:
            spoilt = bytearray(data[: choose.randrange(len(data))])
        path.write_bytes(spoilt)
        result = subject.verify(second["id"], "checksum")
        assert result["failed"] and name in result["msg"] and backup_id in result["msg"], (SEED, result)
        given = {"state": "restored", "backup_id": second["id"], "target_dir": str(tmp_path / "back")}
        if backup_id == second["id"] or name.startswith("files-"):
            assert subject.run("files_backup", {**subject.options, **given})["failed"], (SEED, backup_id, name)
        assert not (tmp_path / "back").exists() and content(tree) == before
        path.write_bytes(data)
    assert not subject.verify(second["id"], "restore")["failed"]
