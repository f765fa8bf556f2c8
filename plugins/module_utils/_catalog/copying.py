# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a backup into a further store: object by object, hashed on the way, the manifest last."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import manifest as manifests
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import VERIFICATION_PATTERN, Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import ObjectRecord
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject, hash_object, write_object
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import BLOCK, ObjectExists, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current


@dataclasses.dataclass(frozen=True)
class CopyPlan:
    """What a further store lacks of a backup.

    Args:
        target: the catalogue in that store.
        backup: the backup.
        records: its objects that are missing there or have another size.
        wrong: names of those that have another size.
        verifications: names of the results of verifications that are missing there.
        has_manifest: whether the manifest is there.
    """

    target: Catalogue
    backup: Backup
    records: tuple[ObjectRecord, ...]
    wrong: frozenset[str]
    verifications: tuple[str, ...]
    has_manifest: bool

    @property
    def needed(self) -> bool:
        """Whether anything is missing."""
        return not self.has_manifest or bool(self.records or self.verifications)

    @property
    def words(self) -> str:
        """What is to be done, in words."""
        what = f"{len(self.verifications)} verifications of backup" if self.has_manifest and not self.records else "backup"
        return f"copy {what} {self.backup.id} to {self.target.store.describe()}"


def plan_copy(source: Catalogue, backup: Backup, target: Catalogue) -> CopyPlan:
    """Compare two stores by their listings.

    Args:
        source: the catalogue that has the backup.
        backup: the backup.
        target: the catalogue that is to have it as well.

    Raises:
        UnreadableManifest: the manifest cannot be read.
        MainstayError: the target has another backup under this id, or a store failed.
    """
    here, there = source.objects(backup.id), target.objects(backup.id)
    size = there.get(manifests.NAME)
    if size not in (None, here[manifests.NAME]):
        cause = f"that store has another manifest of {size} bytes under this id"
        raise MainstayError(f"copy backup {backup.id} to {target.store.describe()}", cause, "look at both and remove the one that is wrong")
    records = tuple(record for record in backup.require_manifest().objects if there.get(record.name) != record.bytes)
    wrong = frozenset(record.name for record in records if record.name in there)
    verifications = tuple(name for name in here if VERIFICATION_PATTERN.fullmatch(name) and name not in there)
    return CopyPlan(target, backup, records, wrong, verifications, size is not None)


def copy(source: Catalogue, plan: CopyPlan) -> None:
    """Do what a plan says. The copy counts as a backup only once everything of it is there; what a run leaves behind that is cut off, the next one uses.

    Raises:
        DamagedObject: an object is not what the manifest says.
        MainstayError: a store failed.
    """
    backup, target = plan.backup, plan.target
    if plan.has_manifest and plan.records:
        for record in plan.records:
            hash_object(source.store, source.key(backup.id, record.name), (record.bytes, record.sha256))
        target.store.delete(target.key(backup.id, manifests.NAME))
    elif not plan.has_manifest:
        target.finish_removal(backup.id)
    with current().phase(plan.words, sum(record.bytes for record in plan.records), exact=True):
        for record in plan.records:
            if record.name in plan.wrong:
                target.store.delete(target.key(backup.id, record.name))
            _copy_object(source, target, backup, record)
    for name in plan.verifications:
        _copy_small(source, target, backup, name)
    target.check_listed(backup)
    _copy_small(source, target, backup, manifests.NAME)


def _copy_object(source: Catalogue, target: Catalogue, backup: Backup, record: ObjectRecord) -> None:
    key = source.key(backup.id, record.name)
    with source.store.open_read(key) as stored, contextlib.suppress(ObjectExists):  # another run that copies the same; the listing is checked at the end
        write_object(target.store, key, _Hashed(stored, f"copy {key} from {source.store.describe()}", record), (), record.bytes, 0)


def _copy_small(source: Catalogue, target: Catalogue, backup: Backup, name: str) -> None:
    key = source.key(backup.id, name)
    with contextlib.suppress(ObjectExists):
        target.store.put_new(key, read_small(source.store, key))


class _Hashed:
    """A stored object whose end is reached only if it is what its record says."""

    def __init__(self, stored: t.BinaryIO, doing: str, record: ObjectRecord) -> None:
        self._stored, self._doing, self._record = stored, doing, record
        self._digest, self._count = hashlib.sha256(), 0

    def read(self, size: int, /) -> bytes:
        block = self._stored.read(min(size, BLOCK))
        self._digest.update(block)
        self._count += len(block)
        if not block and (self._count, self._digest.hexdigest()) != (self._record.bytes, self._record.sha256):
            cause = f"it has {self._count} bytes with the SHA-256 {self._digest.hexdigest()}, its manifest says {self._record.bytes} and {self._record.sha256}"
            raise DamagedObject(self._doing, cause, "use another backup")
        return block
