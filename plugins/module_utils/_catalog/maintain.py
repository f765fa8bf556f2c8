# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that need to know nothing of the kind: ``copied``, ``pruned``, ``absent``, and what follows a backup that was taken."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import ID_PATTERN, TOMBSTONE, Backup, Catalogue, View, time_of
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.copying import CopyPlan, copy, plan_copy
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import NAME
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Candidate, Decision, Policy, plan, refusals
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

CLOCK_TOLERANCE = 300
"""Seconds that the clocks of host and store may differ when ages decide what is removed."""
NEW = "(a new backup)"
"""What stands for the id of a backup that this run takes."""
Params = t.Mapping[str, t.Any]
T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Upkeep:
    """What is to hold beside the backup itself.

    Args:
        catalogue: the catalogue in ``store``.
        copies: the same catalogue in each of ``copies``.
        policy: which backups stay; None if nothing is ever to be removed.
    """

    catalogue: Catalogue
    copies: tuple[Catalogue, ...]
    policy: Policy | None

    @classmethod
    def of(cls, params: Params, catalogue: Catalogue) -> Upkeep:
        """Read the options ``copies`` and ``retention``; no store is asked anything.

        Raises:
            InvalidInput: they cannot be right.
        """
        return cls(catalogue, spec.open_copies(params, catalogue), spec.policy_of(params))

    def label(self, catalogue: Catalogue, line: str) -> str:
        """Return a line of a diff, with the store before it where that is a copy."""
        return line if catalogue is self.catalogue else f"{catalogue.store.describe()}: {line}"


def complete(upkeep: Upkeep, outcome: Outcome, check_mode: bool) -> Outcome:
    """Do what follows a state ``present`` that succeeded: bring the backup into the copies, and, if it was taken by this run, let retention work.

    Where no backup was due and there are no copies, no store is asked anything. In check mode nothing is done, and the backup that would be taken
    is planned with.

    Args:
        upkeep: what is to hold.
        outcome: what the run found and did so far; it took a backup, or would, if there are actions. Completed in place and returned.
        check_mode: whether nothing may change.

    Raises:
        MainstayError: a copy failed (the error names the store), or something could not be removed. The backup itself is there.
    """
    taken = bool(outcome.actions)
    backup = None if taken and check_mode else outcome.backup
    if upkeep.copies:
        with timed(outcome.phases, "copy"):
            _complete_copies(upkeep, outcome, backup, taken, check_mode)
    if taken and upkeep.policy is not None:
        with timed(outcome.phases, "prune"):
            _retain(upkeep, upkeep.policy, outcome, NEW if backup is None else backup.id, check_mode)
    return outcome


def _complete_copies(upkeep: Upkeep, outcome: Outcome, backup: Backup | None, taken: bool, check_mode: bool) -> None:
    if taken:
        outcome.actions += [f"copy the new backup to {target.store.describe()}" for target in upkeep.copies]
        outcome.after = [*outcome.after, *(upkeep.label(target, NEW) for target in upkeep.copies)]
    if backup is not None:
        plans = _bring(upkeep.catalogue, backup, upkeep.copies, check_mode)
        if not taken:
            outcome.actions += [item.words for item in plans if item.needed]
            outcome.after = [*outcome.after, *(upkeep.label(item.target, item.backup.id) for item in plans if item.needed)]
    else:
        _each(upkeep.copies, "reach the copies", lambda target: target.objects(NEW))


def _bring(source: Catalogue, backup: Backup, copies: t.Iterable[Catalogue], check_mode: bool) -> list[CopyPlan]:
    """Plan, and unless it is a check run make, the copies of a backup that are missing; one that fails does not keep the others from being made.

    What the backup is based on comes before it.
    """
    lineage = source.lineage(backup)

    def bring(target: Catalogue) -> list[CopyPlan]:
        plans = []
        for member in lineage:
            planned = plan_copy(source, member, target)
            if planned.needed:
                source.check_listed(member)
                if not check_mode:
                    copy(source, planned)
            plans.append(planned)
        return plans

    found = _each(copies, f"copy backup {backup.id}", bring, "correct that and run it again, what is there already is kept")
    return [planned for plans in found for planned in plans]


def _each(targets: t.Iterable[Catalogue], doing: str, action: t.Callable[[Catalogue], T], next_step: str = "") -> list[T]:
    """Do something with each store, also after one failed; then raise one error that names all that did."""
    results, failures = [], []
    for target in targets:
        try:
            results.append(action(target))
        except MainstayError as error:
            failures.append(f"{target.store.describe()}: {error}")
    if failures:
        raise MainstayError(doing, " | ".join(failures), next_step)
    return results


def copied(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """All of ``copies`` hold the backup ``backup_id``, with the results of its verifications."""
    upkeep = Upkeep.of(params, catalogue)
    if not upkeep.copies:
        raise InvalidInput("copy a backup", "copies is empty", "name at least one further store")
    backup = catalogue.choose(params["backup_id"])
    backup.require_manifest()
    outcome = Outcome(backup=backup)
    with timed(outcome.phases, "copy"):
        plans = _bring(catalogue, backup, upkeep.copies, check_mode)
    outcome.actions = [item.words for item in plans if item.needed]
    outcome.before = [f"{item.target.store.describe()}: {item.backup.id}" for item in plans if not item.needed]
    outcome.after = [f"{item.target.store.describe()}: {item.backup.id}" for item in plans]
    return outcome


def pruned(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """No backup is there, in the store or in the copies, that ``retention`` does not keep."""
    upkeep = Upkeep.of(params, catalogue)
    if upkeep.policy is None:
        raise InvalidInput("prune the backups", "retention is not given", "say which backups stay")
    outcome = Outcome()
    if not upkeep.policy.has_rules:
        outcome.warnings.append("retention has no rule that keeps something, so nothing is removed")
    with timed(outcome.phases, "prune"):
        _retain(upkeep, upkeep.policy, outcome, "", check_mode)
    return outcome


@dataclasses.dataclass(frozen=True)
class _Pruning:
    """What goes from one store and what stays."""

    catalogue: Catalogue
    decisions: tuple[Decision, ...]
    backups: t.Mapping[str, Backup]
    half_removed: t.Sequence[str]

    @property
    def gone(self) -> list[str]:
        """The ids that go, newest first, so that nothing is left without what it is based on."""
        return [decision.id for decision in reversed(self.decisions) if not decision.keep]


def _retain(upkeep: Upkeep, policy: Policy, outcome: Outcome, new_id: str, check_mode: bool) -> None:
    """Let retention work in all stores.

    Args:
        upkeep: the stores.
        policy: which backups stay.
        outcome: gets the actions, what stays and what goes, and the diff.
        new_id: the backup that this run took, :data:`NEW` in check mode, empty if it takes none.
        check_mode: whether nothing may change.
    """
    first = _plan_pruning(upkeep.catalogue, policy, new_id)
    kept = {decision.id for decision in first.decisions if decision.keep}
    doing = f"prune the backups of {upkeep.catalogue.kind} {upkeep.catalogue.name}"
    prunings = [first, *_each(upkeep.copies, doing, lambda target: _stay_with(first.catalogue, kept, _plan_pruning(target, policy, new_id)))]
    outcome.kept = [{"id": item.id, "reasons": list(item.reasons)} for item in first.decisions if item.keep and item.id != NEW]
    outcome.pruned = sorted({backup_id for item in prunings for backup_id in item.gone})
    outcome.before, outcome.after = [], []
    for item in prunings:
        place = "" if item.catalogue is upkeep.catalogue else f" from {item.catalogue.store.describe()}"
        outcome.actions += [f"remove backup {backup_id}{place}" for backup_id in item.gone]
        outcome.actions += [f"bring the removal of backup {backup_id}{place} to its end" for backup_id in item.half_removed]
        for decision in item.decisions:
            line = upkeep.label(item.catalogue, f"{decision.id}: {', '.join(decision.reasons)}")
            if new_id:
                line = line.replace(new_id, NEW)
            if decision.id != new_id:
                outcome.before.append(line)
            if decision.keep:
                outcome.after.append(line)
    if not check_mode:
        _each([item.catalogue for item in prunings], doing, lambda target: _prune(next(item for item in prunings if item.catalogue is target)))


def _plan_pruning(catalogue: Catalogue, policy: Policy, new_id: str) -> _Pruning:
    """Plan for one store by what it holds itself."""
    now = check_clock(catalogue)
    view = catalogue.look()
    backups = {backup.id: backup for backup in view.backups()}
    candidates = candidates_of(view, backups.values())
    if new_id == NEW:
        candidates.append(Candidate(NEW, now, good=True, verified=False))
    return _Pruning(catalogue, plan(policy, candidates, now), backups, view.half_removed)


def _stay_with(store: Catalogue, kept: t.Collection[str], pruning: _Pruning) -> _Pruning:
    """Keep in a copy what stays in the store that it copies."""
    why = (f"it stays in {store.store.describe()}",)
    decisions = tuple(item if item.keep or item.id not in kept else Decision(item.id, True, why) for item in pruning.decisions)
    return dataclasses.replace(pruning, decisions=decisions)


def _prune(pruning: _Pruning) -> None:
    if pruning.gone or pruning.half_removed:
        with current().phase(f"remove backups from {pruning.catalogue.store.describe()}"):
            for backup_id in pruning.gone:
                pruning.catalogue.remove(pruning.backups[backup_id])
            for backup_id in pruning.half_removed:
                pruning.catalogue.finish_removal(backup_id)


def candidates_of(view: View, backups: t.Iterable[Backup]) -> list[Candidate]:
    """Return what retention plans with: the backups, and the ids without a manifest that are not just being removed."""
    found = []
    for backup in backups:
        moment = time_of(backup.id) if backup.manifest is None else backup.manifest.recoverable_to
        parents = backup.manifest.parents if backup.manifest else ()
        verified, readable = backup.verified_at is not None, backup.manifest is not None
        found.append(Candidate(backup.id, moment, backup.intact, verified, readable=readable, parents=parents, regular=backup.regular))
    removed = set(view.half_removed)
    for backup_id in view.incomplete:
        if backup_id not in removed:
            found.append(Candidate(backup_id, time_of(backup_id), good=False, verified=False, in_progress=True))
    return found


def check_clock(catalogue: Catalogue) -> datetime.datetime:
    """Return the time by the store's clock.

    Raises:
        MainstayError: it differs from this host's by more than 5 minutes, so that no age can be trusted.
    """
    here, there = datetime.datetime.now(datetime.timezone.utc), catalogue.store.clock()
    apart = abs((there - here).total_seconds())
    if apart > CLOCK_TOLERANCE:
        cause = f"its clock and this host's are {apart:.0f} seconds apart, more than {CLOCK_TOLERANCE}, so that no age can be trusted"
        raise MainstayError(f"prune the backups in {catalogue.store.describe()}", cause, "correct the clock that is wrong; nothing was removed")
    return there


def absent(params: Params, catalogue: Catalogue, check_mode: bool) -> Outcome:
    """There is no backup ``backup_id``, in the store or in the copies."""
    backup_id, upkeep = params["backup_id"], Upkeep.of(params, catalogue)
    if not ID_PATTERN.fullmatch(backup_id):
        raise InvalidInput(f"remove backup {backup_id}", "what is removed must be named by its id", "take the id from the list of backups")
    outcome, backups, begun = Outcome(), {}, []
    for place in (catalogue, *upkeep.copies):
        names = place.objects(backup_id)
        where = "" if place is catalogue else f" from {place.store.describe()}"
        if NAME in names:
            backup = place.choose(backup_id)
            _check_removal(upkeep, place, backup, params["force"])
            backups[place] = backup
            outcome.backup = outcome.backup or backup
            outcome.actions.append(f"remove backup {backup_id}{where}")
            outcome.before.append(upkeep.label(place, backup_id))
        elif TOMBSTONE in names:
            begun.append(place)
            outcome.actions.append(f"bring the removal of backup {backup_id}{where} to its end")
        elif names:
            outcome.warnings.append(f"{place.location(backup_id)} has no manifest, so it is in progress or the remains of a run, and is left alone")
    outcome.pruned = [backup_id] if outcome.actions else []
    if not check_mode:
        with timed(outcome.phases, "remove"):
            _each(backups, f"remove backup {backup_id}", lambda place: place.remove(backups[place]))
            _each(begun, f"remove backup {backup_id}", lambda place: place.finish_removal(backup_id))
    return outcome


def _check_removal(upkeep: Upkeep, place: Catalogue, backup: Backup, force: bool) -> None:
    """Refuse what the rails speak against.

    Raises:
        UnreadableManifest: which objects belong to the backup is not known; not even ``force`` helps.
        InvalidInput: a rail speaks against it, and there is no ``force``.
    """
    backup.require_manifest()
    if force:
        return
    view = place.look()
    min_good = Policy().min_good if upkeep.policy is None else upkeep.policy.min_good
    against = refusals(candidates_of(view, view.backups()), backup.id, min_good)
    if against:
        raise InvalidInput(f"remove backup {backup.id} from {place.store.describe()}", ", and ".join(against), "add force=true to remove it all the same")
