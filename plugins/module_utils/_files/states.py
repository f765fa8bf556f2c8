# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``files_backup``: each looks first, then acts unless it is a check run, and returns the same keys either way."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, BackupNotFound, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, to_text, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome, due, result_of
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, expected_seconds, recent, require_opening, timed, verify
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._files import backup as backups
from ansible_collections.mainstay.ops.plugins.module_utils._files import restore as restores
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import Changes
from ansible_collections.mainstay.ops.plugins.module_utils._files.record import Record
from ansible_collections.mainstay.ops.plugins.module_utils._files.unpack import Source
from ansible_collections.mainstay.ops.plugins.module_utils._files.verify import FilesChecks

NAMES_RETURNED = 1000
Params = t.Mapping[str, t.Any]


@dataclasses.dataclass
class FilesOutcome(Outcome):
    """What only backups of files find.

    Args:
        changes: how the tree differs from the earlier backup, or will by a restore.
    """

    changes: Changes = dataclasses.field(default_factory=Changes)


def run(params: Params, check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about the state that a module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    started = time.monotonic()
    if params["max_increments"] < 0:
        raise InvalidInput("run files_backup", f"max_increments is {params['max_increments']}, it must be at least 0")
    catalogue = spec.open_catalogue(params, backups.KIND)
    outcome = STATES[params["state"]](params, catalogue, check_mode)
    changes = outcome.changes if isinstance(outcome, FilesOutcome) else Changes()
    return {**result_of(outcome, catalogue, time.monotonic() - started), "changes": changes.plain(NAMES_RETURNED)}, outcome.warnings


def _present(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A good backup that is not older than ``max_age``."""
    desired, limit = _desired(params), spec.parse_duration(params["max_age"])
    upkeep, record = maintain.Upkeep.of(params, catalogue), Record(params["state_dir"], catalogue)
    with contextlib.nullcontext() if check_mode else record.locked():
        view = catalogue.look()
        newest = view.newest_good()
        outcome = FilesOutcome(backup=newest, before=view.ids, after=view.ids)
        if due(newest, limit, utc_now()):
            with timed(outcome.phases, "plan"):
                planned = backups.plan(desired, catalogue, view, record)
            outcome.actions, outcome.after = planned.actions, [*view.ids, maintain.NEW]
            outcome.changes, outcome.warnings = planned.changes, list(planned.warnings)
            if not check_mode:
                outcome.backup, more = backups.take(catalogue, desired, planned, record, outcome.phases)
                outcome.warnings = [*outcome.backup.require_manifest().warnings, *more]
        return maintain.complete(upkeep, outcome, check_mode)


def _desired(params: Params) -> backups.Desired:
    return backups.Desired(
        paths=tuple(params["paths"]),
        exclude=tuple(params["exclude"]),
        one_file_system=params["one_file_system"],
        backup_type=params["backup_type"],
        compare_contents=params["compare"] == "contents",
        max_increments=params["max_increments"],
        allow_unreadable=params["allow_unreadable"],
        secret_patterns=tuple(params["secret_patterns"]),
        secret_contents=params["secret_contents"],
        compression=spec.compression_of(params),
        encryption=spec.encryption_of(params),
        labels=spec.labels_of(params),
    )


def _choose(params: Params, catalogue: Catalogue) -> Backup:
    """Return the backup that ``backup_id`` means, or the newest good one that is not of after the moment ``at``.

    Raises:
        BackupNotFound: there is none.
        InvalidInput: both are given, or ``at`` is no time.
    """
    if not params["at"]:
        return catalogue.choose(params["backup_id"])
    doing = f"find the backup of {catalogue.kind} {catalogue.name} at {params['at']}"
    if params["backup_id"] not in ("latest", "latest_verified"):
        raise InvalidInput(doing, "backup_id names another one", "give at or an id")
    try:
        moment = datetime.datetime.fromisoformat(params["at"].replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidInput(doing, "it is no time such as 2026-11-22T17:42:00Z") from error
    if moment.tzinfo is None:
        raise InvalidInput(doing, "it has no zone", "end it with Z, or with one such as +01:00")
    earliest = None
    for backup in catalogue.look().newest_first():
        usable = backup.verified_at if params["backup_id"] == "latest_verified" else backup.good
        if usable and backup.regular:
            if backup.require_manifest().recoverable_to <= moment:
                return backup
            earliest = backup.require_manifest().recoverable_to
    cause = f"the earliest good one is of {to_text(earliest)}" if earliest else "none is good"
    raise BackupNotFound(doing, cause, "give a later time")


def _verified(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A backup that was verified at the level, or a stronger one, not longer ago than ``max_age``."""
    level, limit, identity = params["verify_level"], spec.parse_duration(params["max_age"]), spec.identity_of(params)
    targets = Targets.of(params)
    backup = _choose(params, catalogue)
    backup.require_manifest()
    outcome = Outcome(backup=backup, before=backup.results, after=backup.results)
    if limit and not backup.broken and (found := recent(backup, level, limit, utc_now())) is not None:
        met, outcome.warnings = targets.judge(found.details)
        outcome.verification = {**found.plain(), "details": {**found.details, **met} if level == "restore" else found.details}
        return outcome
    if level in ("content", "restore"):
        require_opening(backup, identity)
    outcome.actions, outcome.after = [f"verify backup {backup.id} at the level {level}"], [*outcome.before, f"{backup.id}: {level} successful"]
    if not check_mode:
        outcome.backup = verify(catalogue, backup, level, identity, FilesChecks(catalogue, identity, params["work_dir"]), targets)
        result = outcome.backup.verifications[-1]
        outcome.verification, outcome.phases = result.plain(), result.phases
        outcome.warnings = list(result.details.get("warnings", []))
    return outcome


def _restored(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """What the backup holds is where it was, or below ``target_dir``."""
    identity, backup = spec.identity_of(params), _choose(params, catalogue)
    desired = restores.Desired(tuple(params["restore_paths"]), params["target_dir"] or "", params["on_existing"], params["compare"] == "contents")
    if desired.target_dir and not desired.target_dir.startswith("/"):
        raise InvalidInput(f"restore into {desired.target_dir}", "target_dir is no absolute path")
    outcome = FilesOutcome(backup=backup, expected_seconds=expected_seconds(catalogue, backup, _size(backup.require_manifest()), _size))
    source = Source(catalogue, backup, identity, params["numeric_owner"])
    with contextlib.nullcontext() if check_mode else Record(params["state_dir"], catalogue).locked():
        with timed(outcome.phases, "plan"):
            for member in catalogue.lineage(backup):
                catalogue.check_listed(member)
                require_opening(member, identity)
            index = source.read_index()
            units = restores.plan(source, index, desired)
        _describe(outcome, units)
        changing = [unit for unit in units if unit.changes.any]
        if changing and not check_mode:
            restores.restore(source, index, changing, outcome.phases)
            outcome.restored = [_plain(unit) for unit in changing]
    return outcome


def _size(manifest: Manifest) -> int:
    """Return the bytes that a restore brings, from wherever in the chain."""
    return int(manifest.contents["bytes"])


def _describe(outcome: FilesOutcome, units: t.Sequence[restores.Unit]) -> None:
    """Say what a restore does, with every path that comes, changes or goes."""
    changes = Changes(*(tuple(path for unit in units for path in getattr(unit.changes, name)) for name in ("created", "changed", "deleted")))
    outcome.changes = changes
    outcome.actions = [unit.words for unit in units if unit.changes.any]
    outcome.before = [*(f"{path} (as it is)" for path in changes.changed[:NAMES_RETURNED]), *changes.deleted[:NAMES_RETURNED]]
    outcome.after = [*(f"{path} (of the backup)" for path in changes.changed[:NAMES_RETURNED]), *changes.created[:NAMES_RETURNED]]
    outcome.warnings = [
        f"{path} was left by a restore that was killed while it exchanged paths and may hold an old tree; look at it and remove it"
        for path in restores.left_behind(units)
    ]


def _plain(unit: restores.Unit) -> dict[str, t.Any]:
    types = [entry.type for entry in unit.entries.values()]
    return {
        "path": unit.path,
        "dest": unit.dest,
        "files": types.count("file"),
        "folders": types.count("folder"),
        "links": types.count("link"),
        "bytes": sum(entry.size for entry in unit.entries.values() if not entry.target),
        "previous": unit.previous,
    }


STATES = {
    "present": _present,
    "verified": _verified,
    "restored": _restored,
    "copied": maintain.copied,
    "pruned": maintain.pruned,
    "absent": maintain.absent,
}
