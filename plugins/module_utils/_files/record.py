# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host remembers of a catalogue: the index of the newest backup that it took, to find out what changed since.

The host holds no key to read it from the store. It is a text of names, facts and hashes, readable for the owner alone, and counts only while it is, byte for
byte, the index that the manifest of that backup vouches for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, View
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import BadIndex, Index, digest_of, read_index


@dataclasses.dataclass(frozen=True)
class Base:
    """What an incremental backup is based on; without an index a full one is due, and ``why`` says so."""

    index: Index | None
    why: str = ""


class Record:
    """The place of the record of one catalogue, and the lock that only one run at a time holds."""

    def __init__(self, state_dir: str, catalogue: Catalogue) -> None:
        """Take the folder; nothing is made."""
        self._folder, self._name = state_dir, catalogue.name
        place = hashlib.sha256(catalogue.store.describe().encode()).hexdigest()[:12]
        self.path = os.path.join(state_dir, f"{catalogue.name}.{place}.index")

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Keep other runs on this host from working on the catalogue.

        Raises:
            MainstayError: another run does.
            InvalidInput: the folder cannot be made or written to.
        """
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            lock = os.open(os.path.join(self._folder, f"{self._name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput(f"use state_dir {self._folder}", error.strerror or error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise MainstayError(f"work on the backups {self._name}", "another run on this host does", "wait for it to end") from error
            yield
        finally:
            os.close(lock)

    def read(self) -> tuple[Index | None, str]:
        """Return the index and the SHA-256 of its text; None if there is none that can be read."""
        try:
            with open(self.path, "rb") as text:
                digest = digest_of(text)
                text.seek(0)
                return read_index(text, f"read {self.path}"), digest
        except (OSError, BadIndex):
            return None, ""

    def write(self, index: Index) -> None:
        """Replace the record, in one step.

        Raises:
            MainstayError: it could not be written; the old one is as it was.
        """
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(self.path)}.", dir=self._folder)
            try:
                with open(descriptor, "wb") as target:
                    target.writelines(index.lines())
                    target.flush()
                    os.fsync(target.fileno())
                os.replace(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise MainstayError(f"write {self.path}", error.strerror or error, "the next backup will be a full one") from error


def find_base(record: Record, catalogue: Catalogue, view: View, full: bool, max_increments: int) -> Base:
    """Return what the next backup is based on.

    Args:
        record: what this host remembers.
        catalogue: where the backups are.
        view: a listing of it.
        full: whether a full backup was asked for.
        max_increments: so many incremental backups may follow a full one.
    """
    if full:
        return Base(None, "a full backup was asked for")
    index, digest = record.read()
    if index is None:
        return Base(None, "this host remembers no earlier backup" if view.ids else "there is no earlier backup")
    found = view.find(index.backup_id)
    if found is None or not found.good or not found.regular:
        return Base(None, f"backup {index.backup_id}, the last one that this host took, is {'missing' if found is None else 'at fault'}")
    if found.require_manifest().contents.get("index_sha256") != digest:
        return Base(None, f"what this host remembers is not backup {index.backup_id} as it was published")
    if len(index.chain) > max_increments:
        return Base(None, f"{len(index.chain) - 1} incremental backups follow the last full one")
    return _checked(catalogue, found, index)


def _checked(catalogue: Catalogue, backup: Backup, index: Index) -> Base:
    """Look whether all objects of the chain are in the store."""
    try:
        for member in catalogue.lineage(backup):
            catalogue.check_listed(member)
    except DamagedObject as error:
        return Base(None, f"{error.doing.removeprefix('find ')}: {error.cause}")
    return Base(index)
