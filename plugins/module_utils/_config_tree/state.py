# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on the host: read without following links, changing nothing."""

from __future__ import annotations

import dataclasses
import grp
import os
import posixpath
import pwd
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, parents_of
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

DIFF_LIMIT = 104448
"""Bytes of a file up to which its text is shown; the default of Ansible's MAX_FILE_SIZE_FOR_DIFF."""


@dataclasses.dataclass(frozen=True)
class Current:
    """One path as it is. ``kind`` is absent, file, directory, link or other.

    ``content`` is None for what is no file, and for a file too large to be equal to what is asked for or to be shown.
    """

    kind: str = "absent"
    uid: int = 0
    gid: int = 0
    owner: str = "root"
    group: str = "root"
    mode: int = 0
    size: int = 0
    target: str = ""
    children: tuple[str, ...] = ()
    content: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Host:
    """All that a plan needs to know: the paths, the folders above them by kind, the ids of the accounts (None: missing)."""

    paths: t.Mapping[str, Current]
    parents: t.Mapping[str, str]
    uids: t.Mapping[str, int | None]
    gids: t.Mapping[str, int | None]


def _owner_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _uid(name: str) -> int | None:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "other")


def read_current(entry: Entry) -> Current:
    """The state of an entry's path.

    Raises:
        MainstayError: it cannot be read.
    """
    try:
        found = os.lstat(entry.dest)
    except (FileNotFoundError, NotADirectoryError):
        return Current()
    except OSError as exc:
        raise MainstayError(f"read {entry.dest}", exc.strerror or exc, "run the task with become: true") from exc
    kind = _kind(found.st_mode)
    current = Current(kind, found.st_uid, found.st_gid, _owner_name(found.st_uid), _group_name(found.st_gid), stat.S_IMODE(found.st_mode), found.st_size)
    try:
        if kind == "file" and found.st_size <= max(DIFF_LIMIT, len(entry.content)):
            with open(os.open(entry.dest, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                return dataclasses.replace(current, content=stream.read())
        if kind == "link":
            return dataclasses.replace(current, target=os.readlink(entry.dest))
        if kind == "directory" and entry.state == "absent":
            return dataclasses.replace(current, children=tuple(sorted(os.listdir(entry.dest))))
    except OSError as exc:
        raise MainstayError(f"read {entry.dest}", exc.strerror or exc, "run the task with become: true") from exc
    return current


def _parent_kind(path: str) -> str:
    """The kind of a folder above an entry; here, and only here, links are followed."""
    try:
        return _kind(os.stat(path).st_mode)
    except OSError:
        return "absent"


def read_host(entries: t.Sequence[Entry]) -> Host:
    """Read everything that the plan for these entries depends on.

    Raises:
        MainstayError: a path cannot be read.
    """
    owned = [entry for entry in entries if entry.state in ("file", "directory")]
    above = {path for entry in entries if entry.state != "absent" for path in (posixpath.dirname(entry.dest), *parents_of(entry.dest))}
    return Host(
        {entry.dest: read_current(entry) for entry in entries},
        {path: _parent_kind(path) for path in sorted(above)},
        {name: _uid(name) for name in {entry.owner for entry in owned}},
        {name: _gid(name) for name in {entry.group for entry in owned}},
    )
