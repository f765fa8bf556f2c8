# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of a backup: everything that a restored tree holds, each with its facts, the hash of its content, and the archive that this lies in.

It is a text: a line that says what it is, then a JSON object in a line for each entry, ordered by path. All of it is held in memory, about a kilobyte for each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

FORMAT = 1
NAME = "index.jsonl"
TREE = "tree.tar"
"""The archive of folders and symbolic links, of which every backup holds all."""
UNSTABLE = -1
"""Stands for the change time of a file that changed while it was read, so that the next backup takes it again."""


class BadIndex(MainstayError):
    """What was read is no index, or one that no run can have written."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or symbolic link.

    Args:
        path: absolute.
        type: ``file``, ``folder`` or ``link``.
        mode: permission bits.
        uid: number of the owner.
        gid: number of the group.
        user: name of the owner; empty if it has none.
        group: name of the group; empty if it has none.
        mtime: when the content changed, in nanoseconds.
        size: bytes of the content, holes included.
        disk: bytes that it takes on the disk.
        ctime: when the inode changed, in nanoseconds; :data:`UNSTABLE` if the content is not of one moment.
        inode: its number.
        sha256: of the content.
        target: of a symbolic link what it says; of a file the path of which it is a further hard link, in the same archive.
        xattrs: SHA-256 over extended attributes, ACLs included; empty if there are none.
        layer: which backup the content lies in, as a place in the chain: 0 is the full one.
        part: which of the archives of that backup.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime: int
    size: int = 0
    disk: int = 0
    ctime: int = 0
    inode: int = 0
    sha256: str = ""
    target: str = ""
    xattrs: str = ""
    layer: int = 0
    part: int = 0

    @property
    def moved_bytes(self) -> int:
        """Bytes that reading it gives: of a further hard link none, of a sparse file about what it takes on the disk."""
        return 0 if self.type != "file" or self.target else min(self.size, self.disk)


@dataclasses.dataclass(frozen=True)
class Index:
    """All entries of a backup by their path.

    Args:
        backup_id: the backup.
        chain: ids of the backups that it is based on, oldest first, and its own.
        roots: the paths that were backed up.
        entries: ordered by path.
    """

    backup_id: str
    chain: tuple[str, ...]
    roots: tuple[str, ...]
    entries: t.Mapping[str, Entry]

    def lines(self) -> t.Iterator[bytes]:
        """Yield the text."""
        head = {"format": FORMAT, "backup": self.backup_id, "chain": self.chain, "roots": self.roots, "entries": len(self.entries)}
        yield json.dumps(head).encode() + b"\n"
        for path in sorted(self.entries, key=order):
            known = {name: getattr(self.entries[path], name) for name in _FIELDS}
            yield json.dumps({name: value for name, value in known.items() if value or name in _ALWAYS}).encode() + b"\n"

    def below(self, path: str) -> dict[str, Entry]:
        """Return the entries of a path and below it, in order."""
        return {name: entry for name, entry in self.entries.items() if is_below(name, path)}


_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))
_ALWAYS = ("path", "type", "mode", "uid", "gid", "user", "group", "mtime")


def order(path: str) -> list[str]:
    """The order of paths: a folder, then what is in it, before its neighbour."""
    return path.split("/")


def is_below(path: str, folder: str) -> bool:
    """Say whether a path is that of a folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def digest_of(lines: t.Iterable[bytes]) -> str:
    """Return the SHA-256 of a text."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def read_index(stream: t.Iterable[bytes], doing: str) -> Index:
    """Return the index that a text holds.

    Every path is absolute and plain, and lies in a folder of the index or is one of the roots: whoever could write to the store must not reach another place
    by it.

    Raises:
        BadIndex: it is none.
    """
    lines = iter(stream)
    try:
        head = json.loads(next(lines, b""))
        if head["format"] != FORMAT:
            raise BadIndex(doing, f"the format of its index is {head['format']!r}, this version knows {FORMAT}", "use a newer version of the collection")
        roots, entries = tuple(str(root) for root in head["roots"]), {}
        for line in lines:
            entry = Entry(**json.loads(line))
            if not _is_plain(entry, entries, roots, len(head["chain"])):
                raise BadIndex(doing, f"its index has an entry that cannot be: {entry.path!r}", "use another backup")
            entries[entry.path] = entry
        if len(entries) != head["entries"]:
            raise BadIndex(doing, f"its index has {len(entries)} entries of {head['entries']}", "use another backup")
        return Index(str(head["backup"]), tuple(str(item) for item in head["chain"]), roots, entries)
    except (ValueError, KeyError, TypeError) as error:
        raise BadIndex(doing, f"its index cannot be read ({type(error).__name__}: {error})", "use another backup") from error


def _is_plain(entry: Entry, before: t.Mapping[str, Entry], roots: t.Sequence[str], layers: int) -> bool:
    path = entry.path
    if not path.startswith("/") or os.path.normpath(path) != path or path.startswith("//") or "\0" in path or path in before:
        return False
    if entry.type not in ("file", "folder", "link") or not 0 <= entry.layer < layers or entry.part < 0 or entry.size < 0 or entry.mode & ~0o7777:
        return False
    above = before.get(os.path.dirname(path))
    return path in roots if above is None else above.type == "folder"


@dataclasses.dataclass(frozen=True)
class Changes:
    """How one set of files differs from another, in paths in order."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return bool(self.created or self.changed or self.deleted)

    @property
    def words(self) -> str:
        """The numbers."""
        return f"{len(self.created)} created, {len(self.changed)} changed, {len(self.deleted)} deleted"

    def plain(self, limit: int) -> dict[str, list[str]]:
        """Return at most so many paths of each."""
        return {name: list(getattr(self, name)[:limit]) for name in ("created", "changed", "deleted")}


def compare(before: t.Mapping[str, Entry], after: t.Mapping[str, Entry], same: t.Callable[[Entry, Entry], bool]) -> Changes:
    """Compare two sets of entries by path."""
    return Changes(
        tuple(path for path in after if path not in before),
        tuple(path for path, entry in after.items() if path in before and not same(before[path], entry)),
        tuple(path for path in before if path not in after),
    )


def as_read(before: Entry, now: Entry) -> bool:
    """Say whether a file is the one that was read for an earlier backup, by its facts: size, time of the content, time of the inode, and inode.

    The time of the inode (ctime) changes with content, owner, mode, names and attributes, and no program can set it. Device numbers are not looked at, since
    they change when a host restarts.
    """
    return (before.type, before.size, before.mtime, before.ctime, before.inode) == (now.type, now.size, now.mtime, now.ctime, now.inode)


def as_restored(wanted: Entry, found: Entry) -> bool:
    """Say whether what is there is what a restore would put there, as far as facts tell."""
    alike = (wanted.type, wanted.mode if wanted.type != "link" else 0, wanted.uid, wanted.gid, wanted.mtime, wanted.xattrs)
    return alike == (found.type, found.mode if found.type != "link" else 0, found.uid, found.gid, found.mtime, found.xattrs) and _same_content(wanted, found)


def _same_content(wanted: Entry, found: Entry) -> bool:
    if wanted.type == "link":
        return wanted.target == found.target
    return wanted.type == "folder" or (wanted.size == found.size and (not found.sha256 or wanted.sha256 == found.sha256))
