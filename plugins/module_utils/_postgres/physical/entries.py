# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's backups as entries of the catalogue: what is there comes from the repository, a manifest beside it only adds what was noted."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import manifest as manifests
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import ID_PATTERN, Backup, BackupNotFound, Catalogue, Draft, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Candidate
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectExists
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import writing_to
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import Engine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import BackupSet, Chain, Repository, chain, last_commit, lsn_text

METHOD = "physical"


@dataclasses.dataclass(frozen=True)
class PhysicalManifest(Manifest):
    """A manifest without objects: the bytes are those that pgBackRest tells of."""

    @property
    def bytes_stored(self) -> int:
        """The bytes that this backup added to the repository."""
        return int(self.contents["pgbackrest"]["bytes_stored"])

    @property
    def bytes_plain(self) -> int:
        """The bytes of the cluster."""
        return int(self.contents["pgbackrest"]["bytes_plain"])


@dataclasses.dataclass(frozen=True)
class PhysicalBackup(Backup):
    """A backup in pgBackRest's repository; ``problem`` says what speaks against it although it is listed."""

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it and its newest verification, if any, did not fail."""
        return not self.problem and (not self.verifications or self.verifications[-1].status == "successful")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A backup: as pgBackRest lists it, with its log, and as the catalogue returns it."""

    set: BackupSet
    chain: Chain
    backup: PhysicalBackup


class Holdings:
    """The physical backups of one catalogue in one repository."""

    def __init__(self, engine: Engine, catalogue: Catalogue, repository: Repository) -> None:
        """Put together what the repository and the catalogue's annotations say; both were read or are read now."""
        self.engine, self.catalogue, self.repository = engine, catalogue, repository
        self.noted = Catalogue(catalogue.store, catalogue.kind, catalogue.name, (METHOD,))
        noted = {backup.id: backup for backup in self.noted.backups()}
        self._ends: dict[tuple[str, int], t.Any] = {}
        self.entries = tuple(self._entry(item, noted.get(item.id)) for item in repository.sets)

    def _entry(self, item: BackupSet, noted: Backup | None) -> Entry:
        found = chain(self.repository.archive(item), item, self.repository.timeline(item))
        fault = self.repository.fault(item)
        manifest = self._manifest(item, found, noted.manifest if noted else None)
        return Entry(item, found, PhysicalBackup(item.id, manifest, fault, noted.verifications if noted else ()))

    def recoverable_to(self, item: BackupSet, found: Chain) -> t.Any:
        """Return the time of the last commit that recovery from a backup can bring back, exactly; the backup's end if none came after it."""
        if not found.consistent:
            return item.stopped
        key = (item.archive_id, found.end)
        if key not in self._ends:
            self._ends[key] = last_commit(self.engine, self.repository, item, found)
        return max(item.stopped, self._ends[key] or item.stopped)

    def _manifest(self, item: BackupSet, found: Chain, noted: Manifest | None) -> PhysicalManifest:
        settings = self.engine.settings
        source = noted.source if noted else {"host": "", "role": "", "server_version": item.server_version}
        return PhysicalManifest(
            id=item.id,
            kind=self.catalogue.kind,
            method=METHOD,
            name=self.catalogue.name,
            started=item.started,
            finished=item.stopped,
            recoverable_from=item.stopped,
            recoverable_to=self.recoverable_to(item, found),
            source={**source, "system_identifier": item.system_identifier, "timeline": item.timeline, "lsn": lsn_text(item.lsn_stop)},
            contents={
                "globals": None,
                "databases": noted.contents.get("databases", []) if noted else [],
                "pgbackrest": {
                    "label": item.label,
                    "type": item.type,
                    "repository": self.engine.describe(self.repository.number),
                    "references": list(item.references),
                    "children": [child.label for child in self.repository.children(item)],
                    "bytes_plain": item.bytes_plain,
                    "bytes_stored": item.bytes_stored,
                    "bytes_needed": item.bytes_needed,
                    "wal_start": item.wal_start,
                    "wal_stop": item.wal_stop,
                    "wal_end": found.names[-1] if found.names else "",
                    "wal_missing": found.missing,
                    "lsn_start": lsn_text(item.lsn_start),
                    "lsn_stop": lsn_text(item.lsn_stop),
                    "timeline": item.timeline,
                    "recovery_timeline": found.timeline,
                    "page_errors": item.page_errors,
                },
            },
            objects=(),
            compression=noted.compression if noted else {"type": "unknown"},
            encryption={"type": "aes-256-cbc" if settings.encrypted else "none", "recipients": []},
            tools={**(noted.tools if noted else {}), "pgbackrest": item.engine_version},
            labels=noted.labels if noted else dict(item.annotations),
            warnings=noted.warnings if noted else (),
        )

    @property
    def backups(self) -> list[PhysicalBackup]:
        """All backups, oldest first."""
        return [entry.backup for entry in self.entries]

    def choose(self, selector: str) -> Entry:
        """Return the backup that is meant: ``latest``, ``latest_verified`` or an id.

        Raises:
            InvalidInput: it is none of these.
            BackupNotFound: there is none.
        """
        doing = f"find backup {selector} of {self.catalogue.kind} {self.catalogue.name} in {self.engine.describe(self.repository.number)}"
        if selector not in ("latest", "latest_verified"):
            if not ID_PATTERN.fullmatch(selector):
                raise InvalidInput(doing, "it is neither latest, latest_verified nor an id like 20261122T174200Z-1a2b3c4d")
            for entry in self.entries:
                if entry.backup.id == selector:
                    return entry
            raise BackupNotFound(doing, "pgBackRest lists no such backup there")
        for entry in reversed(self.entries):
            if entry.backup.good if selector == "latest" else entry.backup.verified_at:
                return entry
        raise BackupNotFound(doing, f"none of the {len(self.entries)} backups there is {'good' if selector == 'latest' else 'verified by a restore'}")

    def candidates(self) -> list[Candidate]:
        """Return what retention plans with."""
        ids = {item.label: item.id for item in self.repository.sets}
        return [
            Candidate(
                entry.backup.id,
                entry.set.stopped,
                entry.backup.good,
                entry.backup.verified_at is not None,
                parents=tuple(ids[label] for label in entry.set.references if label in ids),
            )
            for entry in self.entries
        ]

    def annotate(self, backup: PhysicalBackup) -> None:
        """Write the manifest that annotates a backup, unless there is one."""
        manifest = backup.require_manifest()
        plain = Manifest(**{field.name: getattr(manifest, field.name) for field in dataclasses.fields(Manifest)})
        with contextlib.suppress(ObjectExists), writing_to(self.catalogue.store, self.engine.user):
            self.catalogue.store.put_new(self.catalogue.key(backup.id, manifests.NAME), plain.dump())

    def record(self, backup: PhysicalBackup, result: Verification) -> PhysicalBackup:
        """Store the result of a verification beside the annotation; return the backup with it."""
        self.annotate(backup)
        with writing_to(self.catalogue.store, self.engine.user):
            return t.cast(PhysicalBackup, self.catalogue.record_verification(backup, result))

    def forget(self, backup_id: str) -> None:
        """Remove the annotations of a backup that pgBackRest no longer lists."""
        Draft(self.catalogue.store, self.catalogue.key(backup_id).rstrip("/"), backup_id).discard()

    def overview(self) -> list[dict[str, t.Any]]:
        """Return the backups as modules return them."""
        return [summary(self.catalogue, self.engine, self.repository.number, backup) for backup in self.backups]


def summary(catalogue: Catalogue, engine: Engine, number: int, backup: PhysicalBackup) -> dict[str, t.Any]:
    """Return a backup as modules return it."""
    return {**catalogue.summary(backup), "location": engine.describe(number)}
