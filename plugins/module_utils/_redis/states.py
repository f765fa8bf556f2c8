# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``redis_snapshot``: each looks first, then acts unless it is a check run, and returns the same keys either way."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity, reading_filters, require_programs
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome, result_of
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, expected_seconds, recent, timed, verify
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import login_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import bounds_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.restore import check_target, look_at, restore
from ansible_collections.mainstay.ops.plugins.module_utils._redis.snapshot import KIND, Settings, due, take
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import plan_source
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import find_program
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import RedisChecks, loaded_keys

Params = t.Mapping[str, t.Any]


def run(params: Params, check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about the state that a module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    started = time.monotonic()
    for name in ("max_replica_lag", "idle_timeout", "wait_timeout"):
        if params[name] < 1:
            raise InvalidInput("run redis_snapshot", f"{name} is {params[name]}, it must be at least 1")
    catalogue = spec.open_catalogue(params, KIND)
    outcome = STATES[params["state"]](params, catalogue, check_mode)
    return result_of(outcome, catalogue, time.monotonic() - started), outcome.warnings


def _present(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A good backup that is not older than ``max_age``."""
    login, limit = login_from(params), spec.parse_duration(params["max_age"])
    settings = Settings(
        spec.compression_of(params), spec.encryption_of(params), spec.labels_of(params), float(params["idle_timeout"]), float(params["wait_timeout"])
    )
    upkeep, view = maintain.Upkeep.of(params, catalogue), catalogue.look()
    newest = view.newest_good()
    outcome = Outcome(backup=newest, before=view.ids, after=view.ids)
    if not due(newest, limit, utc_now()):
        return maintain.complete(upkeep, outcome, check_mode)
    with timed(outcome.phases, "plan"):
        settings.check()
        plan = plan_source(login, params["method"], params["prefer_replica"], params["max_replica_lag"])
    outcome.actions, outcome.after = [f"take a snapshot of {plan.words}", "publish the backup"], [*view.ids, maintain.NEW]
    outcome.warnings = list(plan.warnings)
    if not check_mode:
        outcome.backup = take(catalogue, plan, settings, outcome.phases)
    return maintain.complete(upkeep, outcome, check_mode)


def _require_opening(backup: Backup, identity: Identity) -> None:
    """Find out that a backup can be decrypted and decompressed here before anything is begun."""
    manifest = backup.require_manifest()
    require_programs(reading_filters(manifest.compression, manifest.encryption, identity))


def _verified(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A backup that was verified at the level, or a stronger one, not longer ago than ``max_age``."""
    level, limit, identity = params["verify_level"], spec.parse_duration(params["max_age"]), spec.identity_of(params)
    targets = Targets.of(params)
    backup = catalogue.choose(params["backup_id"])
    backup.require_manifest()
    outcome = Outcome(backup=backup, before=_results(backup), after=_results(backup))
    if limit and (found := recent(backup, level, limit, utc_now())) is not None:
        met, outcome.warnings = targets.judge(found.details)
        outcome.verification = {**found.plain(), "details": {**found.details, **met} if level == "restore" else found.details}
        return outcome
    if level in ("content", "restore"):
        _require_opening(backup, identity)
    if level == "restore":
        find_program()
    outcome.actions, outcome.after = [f"verify backup {backup.id} at the level {level}"], [*outcome.before, f"{backup.id}: {level} successful"]
    if not check_mode:
        checks = RedisChecks(catalogue, identity, params["work_dir"], float(params["wait_timeout"]))
        outcome.backup = verify(catalogue, backup, level, identity, checks, targets)
        result = outcome.backup.verifications[-1]
        outcome.verification, outcome.phases = result.plain(), result.phases
        outcome.warnings = list(result.details.get("warnings", []))
    return outcome


def _results(backup: Backup) -> list[str]:
    return [f"{backup.id}: {result.level} {result.status}" for result in backup.verifications]


def _restored(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """The server's data is that of a backup."""
    login, identity, backup = login_from(params), spec.identity_of(params), catalogue.choose(params["backup_id"])
    manifest = backup.require_manifest()
    outcome = Outcome(backup=backup, expected_seconds=expected_seconds(catalogue, backup, manifest.bytes_plain))
    with timed(outcome.phases, "plan"):
        catalogue.check_listed(backup)
        _require_opening(backup, identity)
        find_program()
        target = look_at(login)
        check_target(target, manifest, params["force"])
    outcome.actions = [f"replace the {target.facts.key_count} keys of {target.facts.name} at {login.address} by those of backup {backup.id}"]
    outcome.before = [f"{name}: {count} keys" for name, count in loaded_keys(target.facts).items()]
    outcome.after = [f"{name}: {high} keys" for name, (_low, high) in bounds_from(manifest.contents).databases.items()]
    if target.watched:
        outcome.warnings.append("Sentinel watches the server; if sending the data takes longer than its patience, it moves the master")
    if not check_mode:
        work_dir, wait_timeout = params["work_dir"], float(params["wait_timeout"])
        restored, warnings = restore(login, target, catalogue, backup, identity, work_dir, wait_timeout, outcome.phases)
        outcome.restored = [{"database": name, "keys_count": count} for name, count in restored.items()]
        outcome.warnings += warnings
    return outcome


STATES = {
    "present": _present,
    "verified": _verified,
    "restored": _restored,
    "copied": maintain.copied,
    "pruned": maintain.pruned,
    "absent": maintain.absent,
}
