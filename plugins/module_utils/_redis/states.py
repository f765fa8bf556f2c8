# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``redis_snapshot``: each looks first, then acts unless it is a check run, and returns the same keys either way."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import BEFORE_RESTORE, Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome, due, result_of
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, expected_seconds, recent, require_opening, timed, verify
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.accounts import (
    ACL_NAME,
    User,
    own_name,
    parse_acl,
    plan_users,
    read_acl,
    require_users,
    set_users,
)
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Server, login_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import bounds_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.files import layout_of, plan_files, restore_files
from ansible_collections.mainstay.ops.plugins.module_utils._redis.restore import Target, check_target, look_at, put_right, restore
from ansible_collections.mainstay.ops.plugins.module_utils._redis.snapshot import KIND, Settings, take
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import SourcePlan, plan_source
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import find_program
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import RedisChecks, loaded_keys, read_object

WATCHED = "Sentinel watches the server; if sending the data takes longer than its patience, it moves the master"
Params = t.Mapping[str, t.Any]


@dataclasses.dataclass
class RedisOutcome(Outcome):
    """What only restores find and do.

    Args:
        snapshot_before: the backup of the data that was replaced.
        files_kept: paths of the old files.
        users: names of the ACL users that were set.
        compared: what was the same in the restored server as in the backup.
    """

    snapshot_before: Backup | None = None
    files_kept: list[str] = dataclasses.field(default_factory=list)
    users: list[str] = dataclasses.field(default_factory=list)
    compared: dict[str, t.Any] = dataclasses.field(default_factory=dict)


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
    restored = outcome if isinstance(outcome, RedisOutcome) else RedisOutcome()
    result = {
        **result_of(outcome, catalogue, time.monotonic() - started),
        "snapshot_before": catalogue.summary(restored.snapshot_before) if restored.snapshot_before else None,
        "files_kept": restored.files_kept,
        "users": restored.users,
        "compared": restored.compared,
    }
    return result, outcome.warnings


def _settings(params: Params, labels: t.Mapping[str, str]) -> Settings:
    """Read how a snapshot is to be written."""
    compression, encryption = spec.compression_of(params), spec.encryption_of(params)
    idle_timeout, wait_timeout = float(params["idle_timeout"]), float(params["wait_timeout"])
    return Settings(compression, encryption, labels, idle_timeout, wait_timeout, params["work_dir"], params["digest"])


def _present(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A good backup that is not older than ``max_age``."""
    login, limit = login_from(params), spec.parse_duration(params["max_age"])
    settings = _settings(params, spec.labels_of(params))
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
        outcome.warnings = list(outcome.backup.require_manifest().warnings)
    return maintain.complete(upkeep, outcome, check_mode)


def _verified(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """A backup that was verified at the level, or a stronger one, not longer ago than ``max_age``."""
    level, limit, identity = params["verify_level"], spec.parse_duration(params["max_age"]), spec.identity_of(params)
    targets = Targets.of(params)
    backup = catalogue.choose(params["backup_id"])
    backup.require_manifest()
    outcome = Outcome(backup=backup, before=backup.results, after=backup.results)
    if limit and (found := recent(backup, level, limit, utc_now())) is not None:
        met, outcome.warnings = targets.judge(found.details)
        outcome.verification = {**found.plain(), "details": {**found.details, **met} if level == "restore" else found.details}
        return outcome
    if level in ("content", "restore"):
        require_opening(backup, identity)
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


def _restored(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """The server's data, or what lies in its folder, is that of a backup."""
    identity, backup = spec.identity_of(params), catalogue.choose(params["backup_id"])
    outcome = RedisOutcome(backup=backup, expected_seconds=expected_seconds(catalogue, backup, backup.require_manifest().bytes_plain))
    outcome.after = [f"{name}: {high} keys" for name, (_low, high) in bounds_from(backup.require_manifest().contents).databases.items()]
    with timed(outcome.phases, "plan"):
        catalogue.check_listed(backup)
        require_opening(backup, identity)
    return (_into_files if params["restore_method"] == "files" else _into_server)(params, catalogue, identity, outcome, check_mode)


def _into_files(params: Params, catalogue: Catalogue, identity: Identity, outcome: RedisOutcome, check_mode: bool) -> Outcome:
    """Restore into the data folder of a server that does not run."""
    backup = t.cast(Backup, outcome.backup)
    manifest = backup.require_manifest()
    with timed(outcome.phases, "plan"):
        layout = layout_of(params)
        if params["restore_users"]:
            raise InvalidInput(f"restore backup {backup.id}", "ACL users are set in a server that runs", "start it, then use restore_method=replicate")
        plan = plan_files(layout, login_from(params), manifest, params["force"])
    outcome.actions, outcome.before = plan.words, list(plan.layout.present())
    if not check_mode:
        outcome.files_kept = restore_files(plan, catalogue, backup, identity, outcome.phases)
        outcome.restored = [{"database": name, "keys_count": high} for name, (_low, high) in bounds_from(manifest.contents).databases.items()]
    return outcome


def _into_server(params: Params, catalogue: Catalogue, identity: Identity, outcome: RedisOutcome, check_mode: bool) -> Outcome:
    """Restore into a server that runs, after a snapshot of what it holds."""
    login, backup = login_from(params), t.cast(Backup, outcome.backup)
    with timed(outcome.phases, "plan"):
        find_program()
        target = look_at(login, params["work_dir"])
        check_target(target, backup.require_manifest(), params["force"])
        users = _users_to_set(login, catalogue, backup, identity) if params["restore_users"] else ()
        before = _before(params, login, target, backup) if params["snapshot_before"] and target.facts.key_count else None
    if target.left is not None:
        outcome.actions.append(f"make Redis at {login.address} a master again, as a restore that was killed has left it")
    if before:
        outcome.actions.append(f"take a snapshot of {before[0].words} before it is replaced")
    outcome.actions.append(f"replace the {target.facts.key_count} keys of {target.facts.name} at {login.address} by those of backup {backup.id}")
    outcome.actions += [f"set the ACL user {user.name}" for user in users]
    outcome.before = [f"{name}: {count} keys" for name, count in loaded_keys(target.facts).items()]
    outcome.warnings = [*(before[0].warnings if before else ()), *([WATCHED] if target.watched else [])]
    if not check_mode:
        _replace(params, login, target, catalogue, identity, before, users, outcome)
    return outcome


def _replace(
    params: Params,
    login: Login,
    target: Target,
    catalogue: Catalogue,
    identity: Identity,
    before: tuple[SourcePlan, Settings] | None,
    users: t.Sequence[User],
    outcome: RedisOutcome,
) -> None:
    """Do what was planned. The snapshot is taken when the backup has been loaded for trial, and nothing is changed if it fails."""

    def take_before() -> None:
        if before:
            with timed(outcome.phases, "snapshot_before"):
                outcome.snapshot_before = take(catalogue, *before, {})

    work_dir, wait_timeout = params["work_dir"], float(params["wait_timeout"])
    if target.left is not None:
        put_right(login, target, work_dir)
    backup = t.cast(Backup, outcome.backup)
    restored, warnings = restore(login, target, catalogue, backup, identity, work_dir, wait_timeout, outcome.phases, take_before)
    outcome.restored = [{"database": name, "keys_count": count} for name, count in restored.keys.items()]
    outcome.compared = {"types": dict(restored.content.types), "digest": restored.content.digest}
    with Server(login) as server:
        warning = set_users(server, users)
    outcome.users = [user.name for user in users]
    outcome.warnings += [*warnings, *([warning] if warning else [])]


def _users_to_set(login: Login, catalogue: Catalogue, backup: Backup, identity: Identity) -> tuple[User, ...]:
    """Compare the ACL users of a backup with those of the server.

    Raises:
        InvalidInput: the backup holds none.
        Refused: the user may not read those of the server.
    """
    doing = f"restore the ACL users of backup {backup.id}"
    saved = require_users(read_object(catalogue, backup, ACL_NAME, identity), doing)
    with Server(login) as server:
        return plan_users(saved, parse_acl(read_acl(server)), own_name(server))


def _before(params: Params, login: Login, target: Target, backup: Backup) -> tuple[SourcePlan, Settings]:
    """Plan the snapshot of what a restore replaces: of this very server, whatever replicas it has.

    Raises:
        InvalidInput: it could not be encrypted.
        MainstayError: it could not be taken.
    """
    settings = _settings(params, {**spec.labels_of(params), BEFORE_RESTORE: backup.id})
    if settings.encryption.type != "none" and not settings.encryption.recipients:
        raise InvalidInput(
            f"take a snapshot of the {target.facts.key_count} keys of Redis at {login.address} before they are replaced",
            "encryption.recipients is empty",
            "give the public keys that it is encrypted for, or do without it by snapshot_before=false",
        )
    settings.check()
    return plan_source(login, params["method"], False, params["max_replica_lag"], target.facts), settings


STATES = {
    "present": _present,
    "verified": _verified,
    "restored": _restored,
    "copied": maintain.copied,
    "pruned": maintain.pruned,
    "absent": maintain.absent,
}
