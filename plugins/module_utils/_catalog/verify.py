# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: the levels that need to know nothing of the kind, and the frame around those that do."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import LEVELS, Backup, BackupNotFound, Catalogue, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity, reading_filters, require_programs
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, ObjectRecord, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject, PipelineError
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectMissing
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command


NOT_RECOVERY = frozenset(("list", "prepare", "remove", "survey"))
"""Phases of a verification by restore that a recovery does not go through; the others make up ``rto_seconds``."""
AT_FAULT = "at_fault"
"""Under this name the details of an error hold the id of the backup that was being read."""


@dataclasses.dataclass(frozen=True)
class Targets:
    """What a recovery may cost, in seconds: its duration, and how old its data may be. None sets no target."""

    rto: int | None = None
    rpo: int | None = None

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Targets:
        """Read the options ``rto_target`` and ``rpo_target``.

        Raises:
            InvalidInput: one is no duration.
        """
        return cls(*(None if params[name] is None else spec.parse_duration(params[name]) for name in ("rto_target", "rpo_target")))

    def judge(self, details: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[str]]:
        """Compare measured ``rto_seconds`` and ``rpo_seconds``.

        Returns:
            ``rto_met`` and ``rpo_met`` (None without a target), and a warning for each target that is missed. The backup is as good as it was.
        """
        met: dict[str, t.Any] = {}
        warnings = []
        for name, target, words in (("rto", self.rto, "a restore takes"), ("rpo", self.rpo, "the data is older than the verification by")):
            measured = details.get(f"{name}_seconds")
            met[f"{name}_met"] = None if target is None or measured is None else measured <= target
            if met[f"{name}_met"] is False:
                warnings.append(f"{name}_target is missed: {words} {measured:.0f} seconds, {target} are allowed")
        return met, warnings


class VerificationFailed(MainstayError):
    """The backup is at fault. (That it could not be tried, for want of a key, a program or disk, or as a program was killed, is any other error and is not
    recorded.)
    """


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


def verify(catalogue: Catalogue, backup: Backup, level: str, identity: Identity, checks: KindChecks, targets: Targets | None = None) -> Backup:
    """Verify a backup, with those that it is based on, and store the result beside its manifest, also when it failed.

    Where the fault is that of a backup that it is based on, that one gets the result as well.

    ``list`` looks for every object and its size; ``checksum`` also hashes them; ``content`` also decrypts, decompresses and parses them in full;
    ``restore`` restores (which hashes, decrypts and decompresses on the way) and checks what came out; its details then also say ``rto_seconds`` (of the
    phases that a recovery goes through), ``rpo_seconds`` (from the moment whose data the backup holds to the start), and whether ``targets`` were met.

    Returns:
        The backup with the new result as its last verification.

    Raises:
        VerificationFailed: the backup is at fault; ``details`` of the error hold the result as ``verification``.
        MainstayError: it could not be tried; nothing was recorded.
    """
    check_level(level)
    phases: dict[str, float] = {}
    details: dict[str, t.Any] = {}
    cause: MainstayError | None = None
    started, began = time.monotonic(), datetime.datetime.now(datetime.timezone.utc)
    lineage = [backup]
    try:
        lineage = catalogue.lineage(backup)
        for member in lineage:
            with blaming(member):
                _examine(catalogue, member, level, identity, checks, phases)
        if level == "restore":
            details = checks.restore(backup, phases)
            measured = {"rto_seconds": rto_seconds(phases), "rpo_seconds": age_seconds(backup, began), **details}
            met, missed = (targets or Targets()).judge(measured)
            details = {**measured, **met, "warnings": [*details.get("warnings", []), *missed]}
    except (VerificationFailed, DamagedObject, ObjectMissing, PipelineError, BackupNotFound) as error:
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
    for ancestor in lineage[:-1]:
        if cause is not None and cause.details.get(AT_FAULT) == ancestor.id:
            catalogue.record_verification(ancestor, result)
    backup = catalogue.record_verification(backup, result)
    if cause is not None:
        raise VerificationFailed(f"verify backup {backup.id} at the level {level}", cause, verification=result.plain()) from cause
    return backup


def _examine(catalogue: Catalogue, backup: Backup, level: str, identity: Identity, checks: KindChecks, phases: dict[str, float]) -> None:
    """Check the objects of one backup, as far as the levels below ``restore`` go."""
    with timed(phases, "list"):
        catalogue.check_listed(backup)
    if level == "checksum":
        with timed(phases, "checksum"), _progress.current().phase("checksum", backup.require_manifest().bytes_stored, exact=True):
            catalogue.check_hashes(backup)
    elif level == "content":
        with timed(phases, "content"):
            for record in backup.require_manifest().objects:
                _progress.current().phase(f"read {record.name}", record.plain_bytes, exact=True)
                catalogue.read(backup, record.name, identity, checks.content(backup, record))


@contextlib.contextmanager
def blaming(backup: Backup) -> t.Iterator[None]:
    """Let an error that passes say which backup was being read, which may be one that another is based on."""
    try:
        yield
    except MainstayError as error:
        error.details.setdefault(AT_FAULT, backup.id)
        raise


def require_opening(backup: Backup, identity: Identity) -> None:
    """Find out that a backup can be decrypted and decompressed here before anything is begun.

    Raises:
        InvalidInput: there is no usable key.
        MainstayError: a program is missing.
    """
    manifest = backup.require_manifest()
    require_programs(reading_filters(manifest.compression, manifest.encryption, identity))


def age_seconds(backup: Backup, moment: datetime.datetime) -> float:
    """Return the seconds from the moment whose data a backup holds to another one; 0 where the clocks say that it is the later one."""
    return max(0.0, round((moment - backup.require_manifest().recoverable_to).total_seconds(), 3))


def rto_seconds(phases: t.Mapping[str, float]) -> float:
    """Return the seconds of the phases that a recovery goes through."""
    return round(sum(seconds for name, seconds in phases.items() if name not in NOT_RECOVERY), 3)


def expected_seconds(
    catalogue: Catalogue, backup: Backup, plain_bytes: int, size: t.Callable[[Manifest], int] = lambda manifest: manifest.bytes_plain
) -> float | None:
    """Return how long a restore of so many opened bytes should take, by the newest verification that restored this backup, or else another one.

    None if no restore was ever measured. Where it was measured on another host, it is a guess.

    Args:
        catalogue: holds the backups.
        backup: what would be restored.
        plain_bytes: the bytes that would be restored.
        size: returns the bytes that a restore of a backup brings.
    """
    for candidate in (backup, *catalogue.look().newest_first()):
        for result in reversed(candidate.verifications):
            measured = result.details.get("rto_seconds") if result.level == "restore" and result.status == "successful" else None
            if measured and candidate.manifest is not None and size(candidate.manifest):
                return round(measured * plain_bytes / size(candidate.manifest), 1)
    return None


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
