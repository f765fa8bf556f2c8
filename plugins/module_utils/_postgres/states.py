# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``pg_backup``: each looks first, then acts unless it is a check run, and returns the same keys either way.

What one state alone needs is loaded by it: a run that finds nothing to do is over before the rest could be loaded.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import reading_filters, require_programs
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome, result_of
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, expected_seconds, recent, verify
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, locked
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.spec import KIND


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about the state that a module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    started = time.monotonic()
    for name in ("jobs", "restore_jobs"):
        if params[name] < 1:
            raise InvalidInput("run pg_backup", f"{name} is {params[name]}, it must be at least 1")
    catalogue = spec.open_catalogue(params, KIND, ("logical",) if params["method"] == "logical" else ())
    if params["method"] == "physical":
        from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import states as physical

        outcome = physical.STATES[params["state"]](params, catalogue, check_mode)
    else:
        outcome = STATES[params["state"]](params, catalogue, check_mode)
    result = result_of(outcome, catalogue, time.monotonic() - started)
    if params["method"] == "physical" and result["backup"]:
        result["backup"]["location"] = result["backup"]["contents"]["pgbackrest"]["repository"]
    return result, outcome.warnings


def _present(params: t.Mapping[str, t.Any], catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A good backup that is not older than ``max_age``."""
    limit = spec.parse_duration(params["max_age"])
    spec.compression_of(params)
    spec.encryption_of(params).filters()
    upkeep, view = maintain.Upkeep.of(params, catalogue), catalogue.look()
    newest = view.newest_good()
    outcome = Outcome(backup=newest, before=view.ids, after=view.ids)
    if newest is None or not limit or not _is_enough(newest.require_manifest(), params["databases"], limit):
        _take(params, catalogue, check_mode, outcome)
    return maintain.complete(upkeep, outcome, check_mode)


def _is_enough(manifest: Manifest, databases: t.Iterable[str], limit: int) -> bool:
    """Whether a backup is not older than ``limit`` seconds and holds every database that is wanted by name."""
    held = {database["name"] for database in manifest.contents["databases"]}
    return (utc_now() - manifest.recoverable_to).total_seconds() <= limit and held >= set(databases)


def _take(params: t.Mapping[str, t.Any], catalogue: Catalogue, check_mode: bool, outcome: Outcome) -> None:
    """Take a new backup."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres import logical

    login = Login.from_params(params)
    desired = logical.Desired(
        databases=tuple(params["databases"]),
        exclude_databases=tuple(params["exclude_databases"]),
        include_globals=params["include_globals"],
        compression=spec.compression_of(params),
        encryption=spec.encryption_of(params),
        labels=spec.labels_of(params),
        bin_dir=params["pg_bin_dir"],
        jobs=params["jobs"],
    )
    planned = logical.plan(login, desired)
    outcome.actions, outcome.after = list(planned.actions), [*outcome.before, maintain.NEW]
    outcome.warnings = list(planned.warnings)
    if not check_mode:
        with locked(login, catalogue.name):
            outcome.backup = logical.take(login, desired, planned, catalogue, outcome.phases)
            outcome.warnings += list(outcome.backup.require_manifest().warnings)


def _verified(params: t.Mapping[str, t.Any], catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A backup that was verified at the level, or a stronger one, not longer ago than ``max_age``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import PostgresChecks, Query, find_server

    level, limit, targets = params["verify_level"], spec.parse_duration(params["max_age"]), Targets.of(params)
    queries = tuple(Query(item["database"], item["query"], item["expect"]) for item in params["verify_queries"])
    if queries and level != "restore":
        raise InvalidInput("put verify_queries", f"the level {level} starts no server", "ask for verify_level=restore")
    backup = catalogue.choose(params["backup_id"])
    manifest = backup.require_manifest()
    unknown = sorted({query.database for query in queries} - {database["name"] for database in manifest.contents["databases"]})
    if unknown:
        raise InvalidInput("put verify_queries", f"backup {backup.id} does not hold {', '.join(unknown)}")
    outcome = Outcome(backup=backup, before=backup.results, after=backup.results)
    found = recent(backup, level, limit, utc_now()) if limit else None
    if found is not None and _asked(found.details) >= {dataclasses.astuple(query) for query in queries}:
        met, outcome.warnings = targets.judge(found.details)
        outcome.verification = {**found.plain(), "details": {**found.details, **met} if level == "restore" else found.details}
        return outcome
    identity = spec.identity_of(params)
    checks = PostgresChecks(catalogue, identity, queries, params["pg_bin_dir"], params["work_dir"], params["restore_jobs"])
    if level in ("content", "restore"):
        require_programs(reading_filters(manifest.compression, manifest.encryption, identity))
        client.find_program("pg_restore", client.major_of(manifest.tools["pg_dump"]), params["pg_bin_dir"], "the backup")
    if level == "restore":
        find_server(manifest, params["pg_bin_dir"])
    outcome.actions = [f"verify backup {backup.id} at the level {level}"]
    outcome.after = [*outcome.before, f"{backup.id}: {level} successful"]
    if not check_mode:
        outcome.backup = verify(catalogue, backup, level, identity, checks, targets)
        result = outcome.backup.verifications[-1]
        outcome.verification, outcome.phases = result.plain(), result.phases
        outcome.warnings = list(result.details.get("warnings", []))
    return outcome


def _asked(details: t.Mapping[str, t.Any]) -> set[tuple[str, str, str]]:
    return {(item["database"], item["query"], item["expect"]) for item in details.get("verify_queries", [])}


def _restored(params: t.Mapping[str, t.Any], catalogue: Catalogue, check_mode: bool) -> Outcome:
    """The databases of a backup, in place on the server."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres import restore
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.fill import Source

    login = Login.from_params(params)
    desired = restore.Desired(
        databases=tuple(params["databases"]),
        target_database=params["target_database"] or "",
        on_existing=params["on_existing"],
        include_globals=params["include_globals"],
        bin_dir=params["pg_bin_dir"],
        jobs=params["restore_jobs"],
        work_dir=params["work_dir"],
    )
    backup = catalogue.choose(params["backup_id"])
    source = Source(catalogue, backup, spec.identity_of(params))
    catalogue.check_listed(backup)
    planned = restore.plan(login, source, desired)
    outcome = Outcome(backup=backup, actions=list(planned.actions), warnings=list(planned.warnings))
    plain_bytes = sum(backup.require_manifest().record(step.database["object"]).plain_bytes for step in planned.steps)
    outcome.expected_seconds = expected_seconds(catalogue, backup, plain_bytes)
    outcome.before = [step.target for step in planned.steps if step.action != "create"]
    outcome.after = sorted(name for step in planned.steps for name in (step.target, *([step.aside] if step.action == "rename" else [])))
    if not check_mode:
        with locked(dataclasses.replace(login, database=planned.maintenance), catalogue.name):
            outcome.restored, more = restore.restore(login, source, planned, outcome.phases)
            outcome.warnings += more
    return outcome


STATES = {
    "present": _present,
    "verified": _verified,
    "restored": _restored,
    "copied": maintain.copied,
    "pruned": maintain.pruned,
    "absent": maintain.absent,
}
