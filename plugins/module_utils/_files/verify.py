# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verification knows of backups of files; see ``_catalog.verify.KindChecks``."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import ObjectRecord
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import BLOCK
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.workspace import private_folder
from ansible_collections.mainstay.ops.plugins.module_utils._files import index as indexes
from ansible_collections.mainstay.ops.plugins.module_utils._files.archive import BadArchive, Member, read_members
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import Entry, Index
from ansible_collections.mainstay.ops.plugins.module_utils._files.unpack import Source, keeps_attributes, require_space, require_whole, unpack

PREFIX = "mainstay-files-"


class FilesChecks:
    """What verification needs to know of backups of files."""

    def __init__(self, catalogue: Catalogue, identity: Identity, work_dir: str) -> None:
        """Take what is needed to open a backup and to try it.

        Args:
            catalogue: holds the backup.
            identity: the private key.
            work_dir: folder below which the private folder is made that files are restored into.
        """
        self._catalogue, self._identity, self._work_dir = catalogue, identity, work_dir
        self._index: Index | None = None

    def _index_of(self, backup: Backup) -> Index:
        if self._index is None or self._index.backup_id != backup.id:
            self._index = Source(self._catalogue, backup, self._identity).read_index()
        return self._index

    def content(self, backup: Backup, record: ObjectRecord) -> t.Callable[[t.BinaryIO], None]:
        """Return a reader of an object: of the index, or of an archive, whose files are hashed and compared with the index."""
        index = self._index_of(backup)  # with all its checks, which is all there is to do for the index itself
        if record.name.startswith(indexes.NAME):
            return _drain
        doing = f"read backup {backup.id}"
        if record.name.startswith(indexes.TREE):
            expected = {path: entry for path, entry in index.entries.items() if entry.type != "file"}
        else:
            place = (len(index.chain) - 1, int(record.name.removeprefix("files-").partition(".")[0]))
            expected = {path: entry for path, entry in index.entries.items() if entry.type == "file" and (entry.layer, entry.part) == place}

        def parse(plain: t.BinaryIO) -> None:
            try:
                found = {member.path: member for member in read_members(plain, doing) if member.path in expected}
            except BadArchive as error:
                raise VerificationFailed(doing, f"{record.name}: {error.cause}") from error
            if faults := [fault for path, entry in expected.items() if (fault := _fault(entry, found.get(path)))]:
                raise VerificationFailed(doing, f"{record.name}: {'; '.join(faults[:10])}")

        return parse

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore everything into a private folder and compare it, file by file, with the index."""
        with self.restored(backup, phases) as (_unused, details):
            return details

    @contextlib.contextmanager
    def restored(self, backup: Backup, phases: dict[str, float]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
        """Do what :meth:`restore` does, and yield the folder with what was seen; the folder is removed at the end."""
        source = Source(self._catalogue, backup, self._identity)
        with private_folder(self._work_dir, PREFIX) as folder:
            with timed(phases, "fetch"):
                index = source.read_index()
                require_space(folder, index.entries.values(), f"verify backup {backup.id} below {self._work_dir}")
                unpack(source, index, index.entries, folder)
            with timed(phases, "check"):
                require_whole(source, index.entries, folder)
            yield folder, _seen(source, index, source.as_root and keeps_attributes(folder))


def _seen(source: Source, index: Index, attributes: bool) -> dict[str, t.Any]:
    """Return what a restore brought; ``attributes`` says whether owners, ACLs and extended attributes could be compared."""
    types = [entry.type for entry in index.entries.values()]
    why = "the file system of work_dir has none" if source.as_root else "only root can set all of them"
    return {
        **{f"{name}s": types.count(name) for name in ("file", "folder", "link")},
        "bytes": sum(entry.size for entry in index.entries.values() if not entry.target),
        "chain": list(index.chain),
        "owners_compared": source.as_root,
        "attributes_compared": attributes,
        "warnings": [] if attributes else [f"owners, ACLs or extended attributes were not compared: {why}"],
    }


def _drain(plain: t.BinaryIO) -> None:
    while plain.read(BLOCK):
        pass


def _fault(entry: Entry, member: Member | None) -> str:
    if member is None:
        return f"{entry.path} is missing"
    if (entry.type, entry.size, entry.sha256) != (member.type, member.size, member.sha256):
        return f"{entry.path} has another content"
    return ""
