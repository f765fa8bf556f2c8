# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: what one backup is, written once, after everything else of it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

FORMAT = 1
NAME = "manifest.json"


class UnreadableManifest(MainstayError):
    """There is a manifest, so there is a backup, but this version cannot read it. It must never be deleted for that."""


def utc_now() -> datetime.datetime:
    """Return the time of this host, in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def to_text(moment: datetime.datetime) -> str:
    """Return a moment as ``2026-11-22T17:42:00Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_text(text: str) -> datetime.datetime:
    """Return the moment that :func:`to_text` wrote; a ValueError if it is none."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)


@dataclasses.dataclass(frozen=True)
class ObjectRecord:
    """One data object: its name below the backup's folder, bytes and SHA-256 as stored, and the bytes it holds when opened."""

    name: str
    bytes: int
    sha256: str
    plain_bytes: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a backup is.

    Args:
        id: UTC time and random, see :func:`.catalogue.new_id`.
        kind: what was backed up: ``postgres``, ``redis``, ...
        method: how, in the kind's words.
        name: the catalogue it belongs to.
        started: when the run began.
        finished: when the last object was stored.
        recoverable_from: the earliest moment that it can bring back.
        recoverable_to: the latest moment that it can bring back; its age counts from here.
        source: where it came from: host, version, role, system identifier, ..., in the kind's words.
        contents: what is in it, in the kind's words (databases, roles, key counts, ...).
        objects: its data objects.
        compression: ``{"type": "zstd", "level": 3}`` or ``{"type": "none"}``.
        encryption: ``{"type": "age", "recipients": [...]}`` or ``{"type": "none"}``.
        tools: versions of the programs that made it.
        labels: the user's own.
        warnings: what whoever restores it should know.
        parents: ids of the backups that it cannot be restored without, oldest first; each of them names those before it.
    """

    id: str
    kind: str
    method: str
    name: str
    started: datetime.datetime
    finished: datetime.datetime
    recoverable_from: datetime.datetime
    recoverable_to: datetime.datetime
    source: dict[str, t.Any]
    contents: dict[str, t.Any]
    objects: tuple[ObjectRecord, ...]
    compression: dict[str, t.Any]
    encryption: dict[str, t.Any]
    tools: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()

    @property
    def bytes_stored(self) -> int:
        """The bytes of all objects in the store."""
        return sum(record.bytes for record in self.objects)

    @property
    def bytes_plain(self) -> int:
        """The bytes of all objects when opened."""
        return sum(record.plain_bytes for record in self.objects)

    def record(self, name: str) -> ObjectRecord:
        """Return the object of that name.

        Raises:
            MainstayError: the manifest names no such object.
        """
        for record in self.objects:
            if record.name == name:
                return record
        raise MainstayError(f"read backup {self.id}", f"its manifest names no object {name}")

    def dump(self) -> bytes:
        """Return the JSON that is stored."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in _MOMENTS:
            plain[name] = to_text(plain[name])
        plain["objects"] = [dataclasses.asdict(record) for record in self.objects]
        plain["warnings"], plain["parents"] = list(self.warnings), list(self.parents)
        return json.dumps({"format": FORMAT, **plain}, indent=2).encode() + b"\n"


_MOMENTS = ("started", "finished", "recoverable_from", "recoverable_to")


def load(data: bytes, where: str) -> Manifest:
    """Return the manifest that some JSON describes; keys that this version does not know are passed over.

    Args:
        data: what is stored.
        where: the manifest's place, for the error.

    Raises:
        UnreadableManifest: it is not JSON, of another format, or lacks something.
    """
    doing = f"read the manifest {where}"
    try:
        plain = json.loads(data)
        if plain["format"] != FORMAT:
            raise UnreadableManifest(doing, f"its format is {plain['format']!r}, this version knows {FORMAT}", "use a newer version of the collection")
        plain = {"parents": [], **plain}
        known = {field.name: plain[field.name] for field in dataclasses.fields(Manifest)}
        for name in _MOMENTS:
            known[name] = from_text(known[name])
        known["objects"] = tuple(
            ObjectRecord(str(item["name"]), int(item["bytes"]), str(item["sha256"]), int(item["plain_bytes"])) for item in known["objects"]
        )
        known["warnings"] = tuple(known["warnings"])
        known["parents"] = tuple(str(parent) for parent in known["parents"])
        for name in ("source", "contents", "compression", "encryption", "tools", "labels"):
            if not isinstance(known[name], dict):
                raise TypeError(f"{name} is no mapping")
        return Manifest(**known)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableManifest(doing, f"it is no manifest ({type(error).__name__}: {error})", "the backup is kept, restore it by hand") from error
