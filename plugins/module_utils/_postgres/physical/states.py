# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``pg_backup`` with ``method=physical``: each looks first, then acts unless it is a check run, and returns the same keys either way."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import ID_PATTERN, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.maintain import NEW, Upkeep
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Policy
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, expected_seconds, recent, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, client_environment, connect, locked
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import account, prune, restore, take, verify
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import Settings
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import Engine, find_engine, open_engine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Entry, Holdings, PhysicalBackup
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.recovery import server_programs
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import read_repository
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query

Params = t.Mapping[str, t.Any]
_WORD = re.compile(r"[A-Za-z0-9_.-]+")


def settings_of(params: Params, data_dir: str = "", socket_dir: str = "") -> Settings:
    """Return what pgBackRest is configured with.

    Args:
        params: the module's options; those that ``pg_backup_info`` has not are taken as their defaults.
        data_dir: data directory of the cluster, for what works on one.
        socket_dir: folder of its socket.
    """
    encryption = params.get("encryption") or {}
    return Settings(
        name=params["name"],
        stores=(params["store"], *params.get("copies", ())),
        passphrase=params["repository_passphrase"],
        encrypted=encryption.get("type") != "none" or bool(params["repository_passphrase"]),
        data_dir=data_dir,
        socket_path=socket_dir,
        port=params.get("login_port", 5432),
        user=params.get("login_user", ""),
        peers=tuple(params.get("peers", ())) if data_dir else (),
        jobs=max(1, params.get("jobs", 1)),
        compression=params.get("compression") or {"type": "zstd", "level": 3},
        options=params["pgbackrest_options"],
    )


class Session:
    """One run of a state: the options, the catalogues of the store and of each copy, and the user to work as."""

    def __init__(self, params: Params, upkeep: Upkeep, check_mode: bool, user: str) -> None:
        """Take what was opened before."""
        self.params, self.upkeep, self.check_mode, self.user = params, upkeep, check_mode, user
        self.catalogues = (upkeep.catalogue, *upkeep.copies)

    def holdings(self, engine: Engine, number: int) -> Holdings:
        """Read what a repository holds."""
        return Holdings(engine, self.catalogues[number - 1], read_repository(engine, number))

    def every(self, engine: Engine) -> list[Holdings]:
        """Read what all repositories hold; one that fails is named."""
        return self.each(lambda number: self.holdings(engine, number), f"read the repositories of {engine.stanza}", engine)

    def each(self, action: t.Callable[[int], t.Any], doing: str, engine: Engine, numbers: t.Iterable[int] | None = None) -> list[t.Any]:
        """Do something with each repository, also after one failed; then raise one error that names all that did."""
        results, failures = [], []
        for number in numbers if numbers is not None else range(1, len(self.catalogues) + 1):
            try:
                results.append(action(number))
            except InvalidInput:
                raise
            except MainstayError as error:
                failures.append((number, error))
        if len(failures) == 1 and len(self.catalogues) == 1:
            raise failures[0][1]
        if failures:
            words = " | ".join(f"{engine.describe(number)}: {error}" for number, error in failures)
            raise MainstayError(doing, words, "correct that and run it again, what succeeded is kept")
        return results

    def place(self, engine: Engine, number: int) -> str:
        """Return the words that name a copy in an action; empty for the store itself."""
        return "" if number == 1 else f" in {engine.describe(number)}"


def run(state: t.Callable[[Session], Outcome]) -> t.Callable[[Params, Catalogue, bool], Outcome]:
    """Return a state as the module calls it."""

    def started(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
        find_engine()
        local = [store["path"] for store in (params["store"], *params["copies"]) if store["type"] == "local"]
        user = account.owner_of(params["data_dir"], os.path.dirname(params["data_dir"] or ""), *(f"{path}/pgbackrest/{params['name']}" for path in local))
        upkeep = Upkeep.of(params, Catalogue(catalogue.store, catalogue.kind, catalogue.name))
        if user and not check_mode:
            for path in local:
                account.prepare_folder(path, user)
        return state(Session(params, upkeep, check_mode, user))

    return started


def _present(session: Session) -> Outcome:
    """A good backup of the type, or of a stronger one, that is not older than ``max_age``, in the store and in each copy."""
    params = session.params
    limit, wanted = spec.parse_duration(params["max_age"]), params["backup_type"]
    with open_engine(settings_of(params), session.user) as engine:
        found = session.every(engine)
        due = [holdings for holdings in found if take.newest_enough(holdings, wanted, limit, holdings.catalogue.store.clock()) is None]
        enough = take.newest_enough(found[0], wanted, limit, utc_now()) if found[0] not in due else None
        ids = [backup.id for backup in found[0].backups]
        outcome = Outcome(backup=enough.backup if enough else _newest(found[0]), before=ids, after=ids)
    if due:
        _take_due(session, outcome, found, due)
    return outcome


def _newest(holdings: Holdings) -> PhysicalBackup | None:
    return next((backup for backup in reversed(holdings.backups) if backup.good), None)


def _take_due(session: Session, outcome: Outcome, found: t.Sequence[Holdings], due: t.Sequence[Holdings]) -> None:
    """Take a backup in each repository where one is due, then let retention work there."""
    params = session.params
    login = Login.from_params(params)
    labels = spec.labels_of(params)
    for library in ("psycopg2.extras", "psycopg2.sql"):
        with contextlib.suppress(ImportError):
            importlib.import_module(library)  # now, since the cluster's owner may not be able to read it
    with contextlib.ExitStack() as stack:
        with account.acting_as(session.user):
            connection = stack.enter_context(connect(login))
        running = take.read_running(connection)
    take.check_archiving(running, params["name"])
    data_dir = params["data_dir"] or running.data_dir
    socket_dir = login.host if login.host.startswith("/") else ("" if login.host else running.socket_dir)
    with contextlib.ExitStack() as stack:
        with account.acting_as(session.user):
            environment = stack.enter_context(client_environment(login))
        secret = {name: text for name, text in environment.variables.items() if name == "PGPASSFILE"}
        engine = stack.enter_context(open_engine(settings_of(params, data_dir, socket_dir), session.user, secret, environment.pass_fds))
        outcome.warnings += take.lacking(engine)
        exists = {holdings.repository.number: holdings.repository.exists for holdings in found}
        if not all(exists.values()):
            outcome.actions += [f"make the stanza {engine.stanza}", "prove that the log arrives in the repository"]
        kinds = {}
        for holdings in due:
            kind, why = take.type_to_take(holdings, params["backup_type"])
            number = holdings.repository.number
            kinds[number] = kind
            outcome.actions.append(f"take a {kind} backup{session.place(engine, number)}" + (f", since {why}" if why else ""))
            outcome.after = [*outcome.after, NEW if number == 1 else f"{engine.describe(number)}: {NEW}"]
        policy = session.upkeep.policy
        if session.check_mode:
            if policy is not None:
                _plan_retention(session, engine, outcome, [prune.plan_pruning(item, policy, _base(item, kinds[item.repository.number])) for item in due])
            return
        with account.acting_as(session.user):
            stack.enter_context(locked(login, params["name"]))
        with timed(outcome.phases, "check"):
            take.prepare(engine, running, exists, [holdings.repository.system_identifier for holdings in found])
        taken: dict[int, Holdings] = {}

        def back_up(number: int) -> None:
            with timed(outcome.phases, "backup" if number == 1 else f"backup_copy_{number - 1}"):
                catalogue = session.catalogues[number - 1]
                taken[number], backup = take.take(engine, catalogue, number, running, kinds[number], _usable(labels), outcome.warnings)
            if number == 1:
                outcome.backup = backup

        session.each(back_up, f"back up {engine.stanza}", engine, list(kinds))
        if policy is not None:
            with timed(outcome.phases, "prune"):
                prunings = [prune.plan_pruning(item, policy) for item in taken.values()]
                new = {item.backups[-1].id for item in taken.values()}
                _plan_retention(session, engine, outcome, prunings, new)
                for item in prunings:
                    prune.prune(item)


def _usable(labels: t.Mapping[str, str]) -> dict[str, str]:
    """Return the labels with names that pgBackRest takes as the keys of annotations."""
    return {name: text for name, text in labels.items() if _WORD.fullmatch(name) and text}


def _base(holdings: Holdings, kind: str) -> tuple[str, ...]:
    """Return the ids that a backup which is still to be taken will be based on."""
    if kind == "full":
        return ()
    entries = [entry for entry in holdings.entries if kind == "incr" or entry.set.type == "full"]
    held = holdings.repository.by_label()
    return tuple(held[label].id for label in (*entries[-1].set.references, entries[-1].set.label) if label in held)


def _plan_retention(session: Session, engine: Engine, outcome: Outcome, prunings: t.Sequence[prune.Pruning], new: t.Collection[str] = ()) -> None:
    """Write into the outcome what retention keeps and removes."""
    before, after = [], []
    for item in prunings:
        number = item.holdings.repository.number
        mark = "" if number == 1 else f"{engine.describe(number)}: "
        outcome.actions += [f"remove backup {backup_id}{session.place(engine, number)}" for backup_id in item.gone]
        for decision in item.decisions:
            if decision.id in new:
                continue
            line = f"{mark}{decision.id}: {', '.join(decision.reasons)}"
            before.append(line)
            if decision.keep:
                after.append(line)
                if number == 1:
                    outcome.kept.append({"id": decision.id, "reasons": list(decision.reasons)})
        after += [f"{mark}{NEW}"] if NEW in " ".join(outcome.after) else []
    outcome.pruned = sorted({backup_id for item in prunings for backup_id in item.gone})
    outcome.before, outcome.after = before, after


def _pruned(session: Session) -> Outcome:
    """No backup is there, in the store or in the copies, that ``retention`` does not keep."""
    policy = session.upkeep.policy
    if policy is None:
        raise InvalidInput("prune the backups", "retention is not given", "say which backups stay")
    outcome = Outcome()
    if not policy.has_rules:
        outcome.warnings.append("retention has no rule that keeps something, so nothing is removed")
    with open_engine(settings_of(session.params), session.user) as engine, timed(outcome.phases, "prune"):
        prunings = [prune.plan_pruning(holdings, policy) for holdings in session.every(engine) if holdings.repository.exists]
        _plan_retention(session, engine, outcome, prunings)
        if not session.check_mode:
            for item in prunings:
                prune.prune(item)
    return outcome


def _absent(session: Session) -> Outcome:
    """There is no backup ``backup_id``, in the store or in the copies."""
    backup_id, policy = session.params["backup_id"], session.upkeep.policy
    if not ID_PATTERN.fullmatch(backup_id):
        raise InvalidInput(f"remove backup {backup_id}", "what is removed must be named by its id", "take the id from the list of backups")
    outcome = Outcome()
    with open_engine(settings_of(session.params), session.user) as engine:
        there = [holdings for holdings in session.every(engine) if backup_id in [backup.id for backup in holdings.backups]]
        for holdings in there:
            number = holdings.repository.number
            prune.check_removal(holdings, backup_id, policy.min_good if policy else Policy().min_good, session.params["force"])
            outcome.backup = outcome.backup or holdings.choose(backup_id).backup
            outcome.actions.append(f"remove backup {backup_id}{session.place(engine, number)}")
            outcome.before.append(backup_id if number == 1 else f"{engine.describe(number)}: {backup_id}")
        outcome.pruned = [backup_id] if there else []
        if not session.check_mode:
            with timed(outcome.phases, "remove"):
                for holdings in there:
                    prune.remove(holdings, backup_id)
                    prune.trim_log(holdings, {backup_id})
    return outcome


def _copied(session: Session) -> Outcome:
    """Each of ``copies`` holds a good backup that ended no earlier than ``backup_id``; pgBackRest copies none, so what lacks one gets its own."""
    params = session.params
    if not session.upkeep.copies:
        raise InvalidInput("copy a backup", "copies is empty", "name at least one further store")
    with open_engine(settings_of(params), session.user) as engine:
        found = session.every(engine)
        entry = found[0].choose(params["backup_id"])
        outcome = Outcome(backup=entry.backup)
        held = {item.repository.number: _as_new(item, entry) for item in found[1:]}
        due = [item for item in found[1:] if held[item.repository.number] is None]
        outcome.before = [f"{engine.describe(number)}: {other.backup.id}" for number, other in held.items() if other]
        outcome.after = list(outcome.before)
    if due:
        newest = outcome.backup
        upkeep = dataclasses.replace(session.upkeep, policy=None)
        copied = Session({**params, "retention": None, "backup_type": "full"}, upkeep, session.check_mode, session.user)
        _take_due(copied, outcome, found, due)
        outcome.backup = newest
    return outcome


def _as_new(holdings: Holdings, entry: Entry) -> Entry | None:
    """Return the newest good backup of a repository that ended no earlier than another one."""
    return next((item for item in reversed(holdings.entries) if item.backup.good and item.set.stopped >= entry.set.started), None)


def _verified(session: Session) -> Outcome:
    """A backup that was verified at the level, or a stronger one, not longer ago than ``max_age``."""
    params = session.params
    level, limit = params["verify_level"], spec.parse_duration(params["max_age"])
    queries = tuple(Query(item["database"], item["query"], item["expect"]) for item in params["verify_queries"])
    targets = Targets.of(params)
    if queries and level != "restore":
        raise InvalidInput("put verify_queries", f"the level {level} starts no server", "ask for verify_level=restore")
    with open_engine(settings_of(params), session.user) as engine:
        holdings = session.holdings(engine, 1)
        entry = holdings.choose(params["backup_id"])
        backup = entry.backup
        before = [f"{backup.id}: {result.level} {result.status}" for result in backup.verifications]
        outcome = Outcome(backup=backup, before=before, after=before)
        found = recent(backup, level, limit, utc_now()) if limit and not backup.problem else None
        asked = {dataclasses.astuple(query) for query in queries}
        if found is not None and {(item["database"], item["query"], item["expect"]) for item in found.details.get("verify_queries", [])} >= asked:
            outcome.verification = found.plain()
            return outcome
        if level == "restore":
            server_programs(entry.set.server_version, params["pg_bin_dir"])
        outcome.actions = [f"verify backup {backup.id} at the level {level}"]
        outcome.after = [*before, f"{backup.id}: {level} successful"]
        if not session.check_mode:
            trial = verify.Trial(holdings, entry, queries, params["pg_bin_dir"], params["work_dir"], params["login_user"])
            outcome.backup = verify.verify(trial, level, targets)
            result = outcome.backup.verifications[-1]
            outcome.verification, outcome.phases = result.plain(), result.phases
            outcome.warnings += result.details.get("warnings", [])
    return outcome


def _restored(session: Session) -> Outcome:
    """The whole cluster of a backup, in place in ``data_dir``, at the moment that ``target`` means."""
    params = session.params
    data_dir = os.path.normpath(params["data_dir"] or "")
    if not params["data_dir"] or not os.path.isabs(data_dir):
        raise InvalidInput("restore a physical backup", "data_dir is not given as an absolute path", "name the folder that the cluster is restored into")
    target = restore.Target.from_params(params["target"])
    with open_engine(settings_of(params, data_dir), session.user) as engine:
        holdings = session.holdings(engine, 1)
        choice = restore.choose(holdings, params["backup_id"], target)
        bin_dir = restore.programs_for(choice.entry, params["pg_bin_dir"])
        outcome = Outcome(backup=choice.entry.backup, warnings=list(choice.warnings))
        place = restore.survey(holdings, choice, data_dir, params["on_existing"], params["delta"], bin_dir, outcome.warnings, session.check_mode)
        outcome.actions = restore.describe(place, choice)
        outcome.expected_seconds = expected_seconds(holdings.noted, choice.entry.backup, choice.entry.set.bytes_plain)
        outcome.before = [] if place.action == "create" else [data_dir]
        outcome.after = sorted({data_dir, *([place.previous] if place.action == "rename" else []), *([place.saved] if place.saved else [])})
        if not session.check_mode:
            user, delta = params["login_user"], params["delta"]
            outcome.restored = [restore.restore(holdings, choice, place, bin_dir, user, delta, outcome.phases, outcome.warnings)]
    return outcome


STATES = {
    "present": run(_present),
    "verified": run(_verified),
    "restored": run(_restored),
    "copied": run(_copied),
    "pruned": run(_pruned),
    "absent": run(_absent),
}
