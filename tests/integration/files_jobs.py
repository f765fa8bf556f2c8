# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of files and catalogues of their backups, for the tests of files_backup; a test module imports the fixtures that it uses."""

from __future__ import annotations

import hashlib
import os
import pathlib
import secrets
import stat
import struct
import typing as t

import pytest
from conftest import AgeKeys
from module_job import ModuleJob, Result

from ansible_collections.mainstay.ops.plugins.modules import files_backup, files_backup_info

SECRET = "Sentinel" + secrets.token_hex(8)
"""What the secret files of a tree hold: a word that must never be seen in a result."""
AS_ROOT = os.geteuid() == 0


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an ACL as the attribute has it: tag, permissions and id of each entry (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl((1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
DEFAULT_ACL = acl((1, 7, 0xFFFFFFFF), (2, 5, 1234), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service=ep"""


def facts_of(root: pathlib.Path) -> dict[str, tuple[t.Any, ...]]:
    """Return all there is to know of a tree, read without any code of the collection: a picture that a restore must give again."""
    found: dict[str, tuple[t.Any, ...]] = {}
    inodes: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        facts = path.lstat()
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(facts.st_mode) else ""
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
        linked = inodes.setdefault(facts.st_ino, str(path.relative_to(root)))
        found[str(path.relative_to(root))] = (
            stat.S_IFMT(facts.st_mode), stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns, content, attributes, linked
        )
    return found


def fill(root: pathlib.Path) -> None:
    """Make a tree with one of everything."""
    (root / "uploads/2026").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    for number in range(20):
        (root / f"uploads/2026/{number:03}.txt").write_text(f"upload {number}\n" * number)
    (root / "plain").write_text("plain")
    (root / "plain").chmod(0o640)
    os.link(root / "plain", root / "uploads/hard")
    os.symlink("../plain", root / "uploads/relative")
    os.symlink("/etc/passwd", root / "absolute")
    os.symlink("nowhere", root / "dangling")
    (root / "nothing").write_bytes(b"")
    os.mkfifo(root / "pipe")
    with (root / "holes").open("wb") as sparse:
        sparse.seek(8 << 20)
        sparse.write(b"in the middle")
        sparse.truncate(32 << 20)
    name = os.fsencode(root) + b"/odd \xff name\nof two lines"
    with open(name, "wb") as odd:
        odd.write(b"odd")
    os.setxattr(root / "plain", "user.note", b"a\0b\n=c")
    os.setxattr(root / "plain", "system.posix_acl_access", ACL)
    os.setxattr(root / "uploads", "system.posix_acl_default", DEFAULT_ACL)
    if AS_ROOT:
        (root / "server").write_bytes(b"\x7fELF")
        (root / "server").chmod(0o4755)
        os.setxattr(root / "server", "security.capability", CAPABILITY)
        os.chown(root / "uploads/2026/001.txt", 12345, 54321)
        os.chown(root / "dangling", 12345, 54321, follow_symlinks=False)
    os.utime(root / "plain", ns=(1, 1_700_000_000_123_456_789))
    os.utime(root / "uploads/2026/002.txt", ns=(1, 1_600_000_000_000_000_000))
    os.utime(root / "uploads", ns=(1, 1_650_000_000_987_654_321))


class Job(ModuleJob):
    """The tree that is backed up, and its catalogue."""

    module, info_module, secret, patience = files_backup, files_backup_info, SECRET, 300

    @property
    def tree(self) -> pathlib.Path:
        """The folder that is backed up."""
        return self.folder / "tree"

    def object(self, backup: Result, name: str) -> pathlib.Path:
        """An object of a backup, by the beginning of its name."""
        (found,) = (path for path in self.files if path.parent.name == backup["id"] and path.name.startswith(name))
        return found


@pytest.fixture
def job(tmp_path: pathlib.Path, age_keys: AgeKeys) -> Job:
    """An empty catalogue in a local store, encrypted for two keys, and an empty tree."""
    for name in ("work", "tree"):
        (tmp_path / name).mkdir()
    encryption = {"recipients": [age_keys.operators.public, age_keys.break_glass.public], "identity_file": age_keys.operators.path}
    options = {
        "name": "app1",
        "paths": [str(tmp_path / "tree")],
        "store": {"type": "local", "path": str(tmp_path / "store")},
        "encryption": encryption,
        "max_age": "0",
        "work_dir": str(tmp_path / "work"),
        "state_dir": str(tmp_path / "state"),
    }
    return Job(tmp_path, options)


@pytest.fixture(autouse=True)
def nothing_left(job: Job) -> t.Iterator[None]:
    """After each test no private folder is left."""
    yield
    assert os.listdir(job.options["work_dir"]) == []
    assert not list(job.folder.rglob(".mainstay-*"))
