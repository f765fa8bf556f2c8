# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of one name: which backups a store holds, which of them is meant, how a new one comes in.

Layout, below the store's own path or prefix::

    <kind>/<name>/<id>/<data objects>       for example postgres/ledger/20261122T174200Z-1a2b3c4d/ledger.dump.zst.age
    <kind>/<name>/<id>/manifest.json        published last: without it there is no backup
    <kind>/<name>/<id>/verify/<time>.json   one for each verification, beside the manifest, which never changes
    <kind>/<name>/<id>/removed.json         what the manifest was, while the backup is being removed; goes last
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import re
import secrets
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import manifest as manifests
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import pipeline
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import NO_MATCH, Identity, reading_filters, require_programs
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, ObjectRecord, UnreadableManifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectExists, ObjectMissing, Store, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command

ID_PATTERN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
VERIFICATION_PATTERN = re.compile(r"verify/\d{8}T\d{6}\.\d{6}Z\.json")
TOMBSTONE = "removed.json"
LEFTOVER_AGE = datetime.timedelta(days=1)
LEVELS = ("list", "checksum", "content", "restore")
READERS = 8
"""Manifests that are read at once; below the ten connections that boto3 keeps open."""
T = t.TypeVar("T")


BEFORE_RESTORE = "before_restore"
"""Label of a backup of data that a restore replaced; its value is the id of the backup that was restored."""


class BackupNotFound(MainstayError):
    """The catalogue holds no backup like the one that was asked for."""


def time_of(backup_id: str) -> datetime.datetime:
    """Return the time that an id begins with."""
    return datetime.datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def new_id(moment: datetime.datetime) -> str:
    """Return a new id: the time in UTC, then 8 random hexadecimal digits. Ids sort by time."""
    return f"{moment.astimezone(datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """What one verification of a backup found.

    Args:
        at: when it ended.
        level: one of :data:`LEVELS`.
        status: ``successful`` or ``failed``; failed means that the backup is at fault, not the place where it was tried.
        seconds: how long it took.
        phases: seconds by the name of the phase.
        cause: why it failed; empty if it did not.
        details: what was seen, in the kind's words.
    """

    at: datetime.datetime
    level: str
    status: str
    seconds: float
    phases: dict[str, float]
    cause: str = ""
    details: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def plain(self) -> dict[str, t.Any]:
        """Return it as stored and as returned by modules."""
        return {**dataclasses.asdict(self), "at": manifests.to_text(self.at)}


@dataclasses.dataclass(frozen=True)
class Backup:
    """A backup that exists: it has a manifest, though perhaps one that cannot be read (then ``manifest`` is None and ``problem`` says why).

    ``broken`` says which backup that it is based on is missing or at fault; empty if none is.
    """

    id: str
    manifest: Manifest | None
    problem: str = ""
    verifications: tuple[Verification, ...] = ()
    broken: str = ""

    @property
    def intact(self) -> bool:
        """Whether the manifest can be read and the newest verification, if any, did not fail, whatever it is based on."""
        return self.manifest is not None and (not self.verifications or self.verifications[-1].status == "successful")

    @property
    def good(self) -> bool:
        """Whether it is intact, and all that it is based on is."""
        return self.intact and not self.broken

    @property
    def results(self) -> list[str]:
        """Its verifications, in a line each."""
        return [f"{self.id}: {result.level} {result.status}" for result in self.verifications]

    @property
    def verified_at(self) -> datetime.datetime | None:
        """When it was last restored for trial with success; None if never, or if a verification failed after that."""
        if not self.good:
            return None
        return next((item.at for item in reversed(self.verifications) if item.level == "restore" and item.status == "successful"), None)

    @property
    def regular(self) -> bool:
        """Whether it is not of data that a restore replaced; such a backup is meant by its id alone."""
        return self.manifest is None or BEFORE_RESTORE not in self.manifest.labels

    def require_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            UnreadableManifest: it cannot be read.
        """
        if self.manifest is None:
            raise UnreadableManifest(f"use backup {self.id}", self.problem)
        return self.manifest


def _judged(backup: Backup, find: t.Callable[[str], Backup | None]) -> Backup:
    """Return the backup with what is wrong with those that it is based on.

    Args:
        backup: what is looked at.
        find: returns the backup of an id, None if there is none.
    """
    for parent in backup.manifest.parents if backup.manifest else ():
        found = find(parent)
        if found is None or not found.intact:
            return dataclasses.replace(backup, broken=f"it is based on backup {parent}, which is {'missing' if found is None else 'at fault'}")
    return backup


class Draft:
    """A backup that is being written. Made by :meth:`Catalogue.draft`."""

    def __init__(self, store: Store, base: str, backup_id: str) -> None:
        """Use :meth:`Catalogue.draft`."""
        self.id = backup_id
        self.records: list[ObjectRecord] = []
        self.published = False
        self._store, self._base = store, base

    def add(
        self, name: str, source: Command | pipeline.Readable, filters: t.Sequence[Command], expected_bytes: int, minimum_bytes: int = 1
    ) -> ObjectRecord:
        """Stream a source into an object of the backup; see :func:`.pipeline.write_object`."""
        written = pipeline.write_object(self._store, f"{self._base}/{name}", source, filters, expected_bytes, minimum_bytes)
        record = ObjectRecord(name, written.bytes, written.sha256, written.plain_bytes)
        self.records.append(record)
        return record

    def publish(self, manifest: Manifest) -> Backup:
        """Check that every object is in the store with its size, then write the manifest: from here on there is a backup.

        Raises:
            MainstayError: an object is missing or has another size, or the store failed.
        """
        stored = {item.key: item.bytes for item in self._store.list(f"{self._base}/")}
        for record in manifest.objects:
            if stored.get(f"{self._base}/{record.name}") != record.bytes:
                raise MainstayError(
                    f"publish backup {self.id}",
                    f"{record.name} has {stored.get(f'{self._base}/{record.name}', 'no')} bytes in {self._store.describe()} instead of {record.bytes}",
                )
        self._store.put_new(f"{self._base}/{manifests.NAME}", manifest.dump())
        self.published = True
        return Backup(self.id, manifest)

    def discard(self) -> None:
        """Remove what was written: the manifest first, so that at no moment there is one without its objects."""
        self._store.delete(f"{self._base}/{manifests.NAME}")
        for item in self._store.list(f"{self._base}/"):
            self._store.delete(item.key)


class View:
    """What one listing of a catalogue showed. Manifests are read when they are asked for."""

    def __init__(self, load: t.Callable[[str, t.Sequence[str]], Backup], meant: t.Callable[[Backup], bool], listing: t.Mapping[str, t.Sequence[str]]) -> None:
        """Use :meth:`Catalogue.look`."""
        self._load, self._meant, self._listing = load, meant, listing
        self._read: dict[str, Backup] = {}

    @property
    def ids(self) -> list[str]:
        """The ids of every backup, oldest first, whatever its method."""
        return [backup_id for backup_id, names in self._listing.items() if manifests.NAME in names]

    @property
    def incomplete(self) -> list[str]:
        """The ids that have objects but no manifest: in progress, or left by a run that was killed. They are no backups."""
        return [backup_id for backup_id, names in self._listing.items() if manifests.NAME not in names]

    @property
    def half_removed(self) -> list[str]:
        """The incomplete ids whose removal was begun and not brought to its end."""
        return [backup_id for backup_id in self.incomplete if TOMBSTONE in self._listing[backup_id]]

    def newest_first(self) -> t.Iterator[Backup]:
        """Yield the backups, reading one at a time."""
        for backup_id in reversed(self.ids):
            yield from self._one(backup_id)

    def find(self, backup_id: str) -> Backup | None:
        """Return the backup of an id, or None."""
        backup = self._find(backup_id)
        return None if backup is None else _judged(backup, self._find)

    def newest_good(self) -> Backup | None:
        """Return the newest good backup that is a regular one, or None."""
        return next((backup for backup in self.newest_first() if backup.good and backup.regular), None)

    def backups(self) -> list[Backup]:
        """Return every backup, oldest first; those with an unreadable manifest too."""
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            return [backup for found in pool.map(self._one, self.ids) for backup in found]

    def _one(self, backup_id: str) -> list[Backup]:
        """Return the backup, or nothing if it is not meant or was removed since the listing."""
        backup = self._find(backup_id)
        return [_judged(backup, self._find)] if backup is not None and self._meant(backup) else []

    def _find(self, backup_id: str) -> Backup | None:
        """Return the backup, read once; None if it is not there (any more)."""
        if backup_id not in self._read and manifests.NAME in self._listing.get(backup_id, ()):
            with contextlib.suppress(ObjectMissing):
                self._read[backup_id] = self._load(backup_id, self._listing[backup_id])
        return self._read.get(backup_id)


class Catalogue:
    """The backups of one kind under one name in one store."""

    def __init__(self, store: Store, kind: str, name: str, methods: t.Collection[str] = ()) -> None:
        """Look at a store.

        Args:
            store: where the backups are.
            kind: what is backed up.
            name: the catalogue's name.
            methods: only backups by these methods are seen (and those whose manifest cannot be read); by default all.

        Raises:
            InvalidInput: the name holds something else than letters, digits, ``_``, ``.`` and ``-``.
        """
        if not NAME_PATTERN.fullmatch(name):
            raise InvalidInput(f"use the catalogue name {name!r}", "it may hold letters, digits, underscores, dots and hyphens, and starts with no dot")
        self.store, self.kind, self.name, self.methods = store, kind, name, tuple(methods)
        self._base = f"{kind}/{name}"

    def location(self, backup_id: str) -> str:
        """Return where a backup's objects are, for results: the store and the folder."""
        return f"{self.store.describe()} : {self._base}/{backup_id}/"

    def key(self, backup_id: str, name: str = "") -> str:
        """Return the key of an object of a backup, or what all of its keys start with."""
        return f"{self._base}/{backup_id}/{name}"

    def objects(self, backup_id: str) -> dict[str, int]:
        """Return the bytes of everything that is stored under an id, by name; empty if there is nothing."""
        start = self.key(backup_id)
        return {item.key[len(start) :]: item.bytes for item in self.store.list(start)}

    def look(self) -> View:
        """List the store once; return what is there."""
        return View(self._load, self._is_meant, self._listing())

    def _is_meant(self, backup: Backup) -> bool:
        return not self.methods or backup.manifest is None or backup.manifest.method in self.methods

    def _listing(self) -> dict[str, list[str]]:
        """Return the keys of each id, ids sorted by time."""
        found: dict[str, list[str]] = {}
        start = len(self._base) + 1
        for item in self.store.list(f"{self._base}/"):
            backup_id, separator, rest = item.key[start:].partition("/")
            if separator and ID_PATTERN.fullmatch(backup_id):
                found.setdefault(backup_id, []).append(rest)
        return dict(sorted(found.items()))

    def _load(self, backup_id: str, names: t.Sequence[str]) -> Backup:
        key = f"{self._base}/{backup_id}/{manifests.NAME}"
        verifications = tuple(self._verification(backup_id, name) for name in sorted(names) if VERIFICATION_PATTERN.fullmatch(name))
        try:
            manifest = manifests.load(read_small(self.store, key), key)
            if manifest.id != backup_id:
                raise UnreadableManifest(f"read the manifest {key}", f"it is that of backup {manifest.id}", "move it back")
        except UnreadableManifest as error:
            return Backup(backup_id, None, str(error), verifications)
        return Backup(backup_id, manifest, "", verifications)

    def _verification(self, backup_id: str, name: str) -> Verification:
        key = f"{self._base}/{backup_id}/{name}"
        try:
            plain = json.loads(read_small(self.store, key))
            return Verification(**{**{field.name: plain[field.name] for field in dataclasses.fields(Verification)}, "at": manifests.from_text(plain["at"])})
        except (ValueError, KeyError, TypeError) as error:
            raise MainstayError(f"read {key} from {self.store.describe()}", f"it is no result of a verification ({error})", "move it away") from error

    def backups(self) -> list[Backup]:
        """Return every backup, oldest first; those with an unreadable manifest too."""
        return self.look().backups()

    def ids(self) -> list[str]:
        """Return the ids of every backup, oldest first, without reading the manifests."""
        return self.look().ids

    def incomplete(self) -> list[str]:
        """Return the ids that have objects but no manifest; see :attr:`View.incomplete`."""
        return self.look().incomplete

    def newest_good(self) -> Backup | None:
        """Return the newest good backup, or None."""
        return self.look().newest_good()

    def choose(self, selector: str) -> Backup:
        """Return the backup that is meant.

        Args:
            selector: ``latest`` (the newest good one), ``latest_verified`` (the newest that was restored for trial), both among the regular ones, or an id,
                which is taken as it is.

        Raises:
            InvalidInput: it is neither a word nor an id, or that backup was made by another method.
            BackupNotFound: there is none.
        """
        doing = f"find backup {selector} of {self.kind} {self.name} in {self.store.describe()}"
        if selector not in ("latest", "latest_verified"):
            if not ID_PATTERN.fullmatch(selector):
                raise InvalidInput(doing, "it is neither latest, latest_verified nor an id like 20261122T174200Z-1a2b3c4d")
            names = list(self.objects(selector))
            if manifests.NAME not in names:
                raise BackupNotFound(doing, "it is incomplete: it has no manifest" if names else "there is no such backup")
            backup = self._load(selector, names)
            if not self._is_meant(backup):
                raise InvalidInput(doing, f"its method is {backup.require_manifest().method}", "name that method")
            return _judged(backup, self._find)
        seen = 0
        aside = False
        for backup in self.look().newest_first():
            seen += 1
            if backup.good if selector == "latest" else backup.verified_at:
                if backup.regular:
                    return backup
                aside = True
        if aside:
            raise BackupNotFound(doing, "all good ones are of data that a restore replaced", "name the id")
        raise BackupNotFound(doing, f"none of the {seen} backups there is {'good' if selector == 'latest' else 'verified by a restore'}")

    def _find(self, backup_id: str) -> Backup | None:
        names = list(self.objects(backup_id))
        return self._load(backup_id, names) if manifests.NAME in names else None

    def lineage(self, backup: Backup) -> list[Backup]:
        """Return the backups that one is based on, oldest first, and the backup itself.

        Raises:
            BackupNotFound: one is missing.
            UnreadableManifest: the manifest of one cannot be read.
        """
        found = []
        for parent in backup.require_manifest().parents:
            ancestor = self._find(parent)
            if ancestor is None:
                cause = f"it is based on backup {parent}, which {self.store.describe()} does not hold"
                raise BackupNotFound(f"use backup {backup.id}", cause, "use another backup, such as one that is not based on it")
            ancestor.require_manifest()
            found.append(ancestor)
        return [*found, backup]

    @contextlib.contextmanager
    def draft(self, backup_id: str) -> t.Iterator[Draft]:
        """Begin a backup. Unless :meth:`Draft.publish` was reached, everything written is removed at the end.

        What writers of this catalogue that were killed more than a day ago left unfinished goes as well.
        When the store is out of reach by then, objects without a manifest stay behind: they count as nothing and :meth:`incomplete` names them.
        """
        draft = Draft(self.store, f"{self._base}/{backup_id}", backup_id)
        with contextlib.suppress(MainstayError):
            self.store.abandon(f"{self._base}/", LEFTOVER_AGE)
        try:
            yield draft
        finally:
            if not draft.published:
                with contextlib.suppress(MainstayError):
                    draft.discard()

    def remove(self, backup: Backup) -> None:
        """Remove a backup: the objects that its manifest names, its verifications, and nothing else that may lie beside them.

        The manifest becomes a tombstone first, so that a removal that is cut off leaves no half backup but an id that :attr:`View.half_removed` names,
        and :meth:`finish_removal` knows what belonged to it.

        Raises:
            UnreadableManifest: which objects belong to it is not known.
            MainstayError: the store failed.
        """
        with contextlib.suppress(ObjectExists):
            self.store.put_new(self.key(backup.id, TOMBSTONE), backup.require_manifest().dump())
        self.store.delete(self.key(backup.id, manifests.NAME))
        self.finish_removal(backup.id)

    def finish_removal(self, backup_id: str) -> None:
        """Bring a removal to its end; where none was begun nothing happens."""
        tombstone = self.key(backup_id, TOMBSTONE)
        try:
            removed = manifests.load(read_small(self.store, tombstone), tombstone)
        except ObjectMissing:
            return
        for name in [record.name for record in removed.objects] + [name for name in self.objects(backup_id) if VERIFICATION_PATTERN.fullmatch(name)]:
            self.store.delete(self.key(backup_id, name))
        self.store.delete(tombstone)

    def read(self, backup: Backup, name: str, identity: Identity, consumer: Command | t.Callable[[t.BinaryIO], T]) -> T | None:
        """Open an object of a backup: check its hash, decrypt, decompress, hand it to a consumer; see :func:`.pipeline.read_object`.

        Raises:
            InvalidInput: the private key is missing or fits none of the recipients.
            DamagedObject: the object is not what the manifest says.
            PipelineError: a filter or the consuming program failed.
        """
        manifest = backup.require_manifest()
        record = manifest.record(name)
        filters = reading_filters(manifest.compression, manifest.encryption, identity)
        require_programs(filters)
        try:
            key, expected = f"{self._base}/{backup.id}/{name}", (record.bytes, record.sha256)
            return pipeline.read_object(self.store, key, expected, filters, consumer, record.plain_bytes or None)
        except pipeline.PipelineError as error:
            if any(words in error.cause for words in NO_MATCH):
                known = ", ".join(manifest.encryption.get("recipients", []))
                raise InvalidInput(f"decrypt backup {backup.id}", "the private key fits none of its recipients", f"use the key of one of {known}") from error
            raise

    def check_listed(self, backup: Backup) -> None:
        """Check that every object is there with its size.

        Raises:
            DamagedObject: one is missing or has another size.
        """
        stored = {item.key: item.bytes for item in self.store.list(f"{self._base}/{backup.id}/")}
        for record in backup.require_manifest().objects:
            found = stored.get(f"{self._base}/{backup.id}/{record.name}")
            if found != record.bytes:
                cause = "it is missing" if found is None else f"it has {found} bytes, its manifest says {record.bytes}"
                raise pipeline.DamagedObject(f"find {record.name} of backup {backup.id} in {self.store.describe()}", cause, "use another backup")

    def check_hashes(self, backup: Backup) -> None:
        """Read every object in full and compare its SHA-256.

        Raises:
            DamagedObject: one differs.
        """
        for record in backup.require_manifest().objects:
            pipeline.hash_object(self.store, f"{self._base}/{backup.id}/{record.name}", (record.bytes, record.sha256))

    def record_verification(self, backup: Backup, result: Verification) -> Backup:
        """Store the result of a verification beside the manifest; return the backup with it."""
        now = datetime.datetime.now(datetime.timezone.utc)
        key = f"{self._base}/{backup.id}/verify/{now:%Y%m%dT%H%M%S.%f}Z.json"
        self.store.put_new(key, json.dumps(result.plain(), indent=2).encode() + b"\n")
        return dataclasses.replace(backup, verifications=(*backup.verifications, result))

    def summary(self, backup: Backup) -> dict[str, t.Any]:
        """Return a backup as modules return it: the manifest in plain values, its bytes, its place, and what was verified."""
        manifest = backup.manifest
        plain: dict[str, t.Any] = {} if manifest is None else json.loads(manifest.dump())
        plain.pop("format", None)
        for field in dataclasses.fields(Manifest):
            plain.setdefault(field.name, None)
        return {
            **plain,
            "id": backup.id,
            "kind": self.kind,
            "name": self.name,
            "location": self.location(backup.id),
            "good": backup.good,
            "problem": backup.problem or backup.broken,
            "bytes_stored": 0 if manifest is None else manifest.bytes_stored,
            "bytes_plain": 0 if manifest is None else manifest.bytes_plain,
            "verified": backup.verified_at is not None,
            "verified_at": None if backup.verified_at is None else manifests.to_text(backup.verified_at),
            "verifications": [item.plain() for item in backup.verifications],
        }

    def overview(self, selector: str | None = None) -> dict[str, t.Any]:
        """Return what an ``_info`` module returns.

        Args:
            selector: lists only the backup that :meth:`choose` gives for it; None lists all.

        Raises:
            BackupNotFound: there is no such backup.
        """
        view = None if selector else self.look()
        found = [self.choose(selector or "")] if view is None else view.backups()
        good = [backup for backup in found if backup.good and backup.regular]
        moments = [(backup.require_manifest().recoverable_from, backup.require_manifest().recoverable_to) for backup in good]
        verified = [backup.id for backup in good if backup.verified_at]
        return {
            "backups": [self.summary(backup) for backup in found],
            "incomplete": [] if view is None else view.incomplete,
            "latest": good[-1].id if good else None,
            "latest_verified": verified[-1] if verified else None,
            "recoverable_from": manifests.to_text(min(start for start, _unused in moments)) if moments else None,
            "recoverable_to": manifests.to_text(max(end for _unused, end in moments)) if moments else None,
        }
