# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there: the folder of an application, read without changing anything.

Under the root lie ``releases/ID/`` (each with a file that says what it was unpacked from), ``slots/NAME`` (links to releases),
``history.json`` (what went live, newest last), ``last_run.json`` (how the last run ended) and, while somebody deploys, ``deploy.lock``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

STAMP = ".mainstay-release.json"
"""The file in a release's folder that says what it was unpacked from."""

HISTORY_LIMIT = 50
"""Records that are kept; the oldest are forgotten."""

KINDS = ("deploy", "canary", "rollback", "contract")
"""How a release became live; ``contract`` says that the database was changed so that nothing older works any more."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(what: str, name: str) -> str:
    """Return the name of a release or a slot, which becomes a file's name.

    Raises:
        InvalidInput: it is none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"use {name!r} as the name of a {what}", "it must be 1 to 64 letters, digits, dots, underscores or hyphens")
    return name


@dataclasses.dataclass(frozen=True)
class Record:
    """One release that went live. ``previous`` is what a rollback from it leads to, empty if there is nothing; ``kind`` is how it came (:data:`KINDS`)."""

    release: str
    slot: str
    previous: str = ""
    kind: str = "deploy"
    time: str = ""
    by: str = ""


def describe(record: Record | None) -> str:
    """Say in words what is live."""
    return "nothing is live" if record is None else f"{record.release} is live in {record.slot}, a rollback leads to {record.previous or 'nothing'}"


@dataclasses.dataclass(frozen=True)
class Installed:
    """One unpacked release, with the hash of its archive and the time it was unpacked (UTC)."""

    release: str
    sha256: str
    unpacked: str


@dataclasses.dataclass(frozen=True)
class Lock:
    """Who deploys: the ``owner`` of the lock (one run), by whom it was started, since when, when it was last heard of, and its process.

    Times are in seconds of the epoch.
    """

    owner: str
    by: str
    since: float
    renewed: float = 0.0
    controller: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """How a run ended: when (seconds of the epoch), of which kind it was (:data:`KINDS`), about which release, whether it did what it should, its seconds."""

    time: float
    kind: str
    release: str
    success: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class State:
    """Everything that a decision about releases depends on."""

    releases: tuple[Installed, ...] = ()
    slots: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    history: tuple[Record, ...] = ()
    lock: Lock | None = None

    @property
    def live(self) -> Record | None:
        """The newest record."""
        return self.history[-1] if self.history else None

    def installed(self, release: str) -> Installed | None:
        """The release with this name, if it is unpacked."""
        return next((found for found in self.releases if found.release == release), None)


class Home:
    """The paths under the root of an application."""

    def __init__(self, root: str) -> None:
        """Keep the root."""
        self.root = root
        self.releases = os.path.join(root, "releases")
        self.slots = os.path.join(root, "slots")
        self.history = os.path.join(root, "history.json")
        self.lock = os.path.join(root, "deploy.lock")
        self.last_run = os.path.join(root, "last_run.json")

    def release(self, name: str) -> str:
        """The folder of a release."""
        return os.path.join(self.releases, name)

    def read(self) -> State:
        """Read what is there; a root that does not exist holds nothing.

        Raises:
            MainstayError: something cannot be read or understood.
        """
        return State(self._releases(), self._slots(), self._history(), self.read_lock())

    def free_bytes(self) -> int:
        """Bytes that can be written below the root, or where it will be."""
        path = self.root
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def read_lock(self) -> Lock | None:
        """The lock, if somebody holds it."""
        content = self._json(self.lock)
        if content is None:
            return None
        since = float(content.get("since", 0))
        return Lock(str(content.get("owner", "")), str(content.get("by", "")), since, float(content.get("renewed", since)), content.get("controller") or {})

    def read_run(self) -> Run | None:
        """How the last run ended, if that was written down."""
        content = self._json(self.last_run)
        if content is None:
            return None
        kind, release = str(content.get("kind", "")), str(content.get("release", ""))
        return Run(float(content.get("time", 0)), kind, release, bool(content.get("success", False)), float(content.get("seconds", 0)))

    def _releases(self) -> tuple[Installed, ...]:
        found = []
        for name in self._names(self.releases):
            stamp = self._json(os.path.join(self.release(name), STAMP))
            if stamp is not None and _NAME.fullmatch(name):
                found.append(Installed(name, str(stamp.get("sha256", "")), str(stamp.get("unpacked", ""))))
        return tuple(sorted(found, key=lambda release: (release.unpacked, release.release)))

    def _slots(self) -> dict[str, str]:
        links = {name: os.path.join(self.slots, name) for name in self._names(self.slots)}
        return {name: os.path.basename(os.readlink(path)) for name, path in links.items() if os.path.islink(path)}

    def _history(self) -> tuple[Record, ...]:
        content = self._json(self.history) or {}
        fields = [field.name for field in dataclasses.fields(Record)]
        return tuple(Record(**{name: str(record.get(name, "")) for name in fields}) for record in content.get("records", []))

    def _names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise MainstayError(f"read {folder}", exc.strerror or exc, "run the task with become: true") from exc

    def _json(self, path: str) -> dict[str, t.Any] | None:
        try:
            with open(path, encoding="utf-8") as stream:
                content = json.load(stream)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise MainstayError(f"read {path}", exc.strerror or exc, "run the task with become: true") from exc
        except ValueError as exc:
            raise MainstayError(f"read {path}", f"it is not JSON: {exc}", "restore it from a backup, or move it away to begin anew") from exc
        if not isinstance(content, dict):
            raise MainstayError(f"read {path}", "it is not a JSON object", "restore it from a backup, or move it away to begin anew")
        return content
