# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: the levels that need to know nothing of the kind, and the frame around those that do."""

from __future__ import annotations

import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import LEVELS, Backup, Catalogue, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import ObjectRecord, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject, PipelineError
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import Command
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectMissing
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError


class VerificationFailed(MainstayError):
    """The backup is at fault. (That it could not be tried, for want of a key, a program or disk, is any other error and is not recorded.)"""


class KindChecks(t.Protocol):
    """What a kind of backup knows about its own contents."""

    def content(self, backup: Backup, record: ObjectRecord) -> Command | t.Callable[[t.BinaryIO], object]:
        """Return who parses an object in full; it fails if something is wrong."""

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore the backup into something throwaway, check it, remove it.

        Args:
            backup: the backup.
            phases: seconds by the name of the phase; to be filled as they end (``restore``, ``check``, ...).

        Returns:
            What was seen, for the result's ``details``.

        Raises:
            VerificationFailed: the backup is at fault.
            MainstayError: it could not be tried.
        """


def check_level(level: str) -> None:
    """Raise InvalidInput unless it is one of :data:`.catalogue.LEVELS`."""
    if level not in LEVELS:
        raise InvalidInput(f"verify at the level {level!r}", f"the levels are {', '.join(LEVELS)}")


def verify(catalogue: Catalogue, backup: Backup, level: str, identity: Identity, checks: KindChecks) -> Backup:
    """Verify a backup and store the result beside its manifest, also when it failed.

    ``list`` looks for every object and its size; ``checksum`` also hashes them; ``content`` also decrypts, decompresses and parses them in full;
    ``restore`` restores (which hashes, decrypts and decompresses on the way) and checks what came out.

    Returns:
        The backup with the new result as its last verification.

    Raises:
        VerificationFailed: the backup is at fault; ``details`` of the error hold the result as ``verification``.
        MainstayError: it could not be tried; nothing was recorded.
    """
    check_level(level)
    manifest = backup.require_manifest()
    phases: dict[str, float] = {}
    details: dict[str, t.Any] = {}
    cause: MainstayError | None = None
    started = time.monotonic()
    try:
        with timed(phases, "list"):
            catalogue.check_listed(backup)
        if level == "checksum":
            with timed(phases, "checksum"):
                catalogue.check_hashes(backup)
        elif level == "content":
            with timed(phases, "content"):
                for record in manifest.objects:
                    catalogue.read(backup, record.name, identity, checks.content(backup, record))
        elif level == "restore":
            details = checks.restore(backup, phases)
    except (VerificationFailed, DamagedObject, ObjectMissing, PipelineError) as error:
        cause = error
    result = Verification(
        at=utc_now(),
        level=level,
        status="failed" if cause else "successful",
        seconds=round(time.monotonic() - started, 3),
        phases=phases,
        cause=str(cause or ""),
        details=details,
    )
    backup = catalogue.record_verification(backup, result)
    if cause is not None:
        raise VerificationFailed(f"verify backup {backup.id} at the level {level}", cause, verification=result.plain()) from cause
    return backup


class timed:  # noqa: N801
    """A context that adds the seconds it took to ``phases`` under a name, also after an error."""

    def __init__(self, phases: dict[str, float], name: str) -> None:
        """Take the dictionary and the phase's name."""
        self._phases, self._name, self._started = phases, name, 0.0

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *unused: object) -> None:
        self._phases[self._name] = round(self._phases.get(self._name, 0.0) + time.monotonic() - self._started, 3)


def recent(backup: Backup, level: str, seconds: int, now: datetime.datetime) -> Verification | None:
    """Return the newest successful verification at this level or a stronger one, not older than ``seconds`` and with no failure after it."""
    for result in reversed(backup.verifications):
        if result.status != "successful" or (now - result.at).total_seconds() > seconds:
            return None
        if LEVELS.index(result.level) >= LEVELS.index(level):
            return result
    return None
