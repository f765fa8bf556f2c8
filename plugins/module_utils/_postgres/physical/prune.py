# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing physical backups: what retention does not keep, or one by name; the log goes as far as no backup that stays needs it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.maintain import NEW, check_clock
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Candidate, Decision, Policy, plan, refusals
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import writing_to
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import NEVER
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Holdings


@dataclasses.dataclass(frozen=True)
class Pruning:
    """What goes from one repository, and why the others stay."""

    holdings: Holdings
    decisions: tuple[Decision, ...]

    @property
    def gone(self) -> list[str]:
        """The ids that go, newest first, so that nothing is left without what it is based on."""
        return [decision.id for decision in reversed(self.decisions) if not decision.keep]


def plan_pruning(holdings: Holdings, policy: Policy, new: tuple[str, ...] | None = None) -> Pruning:
    """Decide which backups of a repository stay.

    Args:
        holdings: the repository.
        policy: the rules.
        new: for a plan with a backup that is still to be taken, the ids that it will be based on.
    """
    now = check_clock(holdings.catalogue)
    candidates = holdings.candidates()
    if new is not None:
        candidates.append(Candidate(NEW, now, good=True, verified=False, parents=new))
    decisions = [item for item in plan(policy, candidates, now) if item.id != NEW]
    return Pruning(holdings, tuple(_one_full(holdings, decisions)))


def _one_full(holdings: Holdings, decisions: t.Sequence[Decision]) -> list[Decision]:
    """Keep the newest full backup in any case: pgBackRest never removes the last one."""
    full = [entry.backup.id for entry in holdings.entries if entry.set.type == "full"]
    if not full or any(item.keep for item in decisions if item.id in full):
        return list(decisions)
    why = "pgBackRest keeps the last full one"
    return [Decision(item.id, True, (why,)) if item.id == full[-1] else item for item in decisions]


def prune(pruning: Pruning) -> None:
    """Remove what goes, then the log that nothing needs any more."""
    for backup_id in pruning.gone:
        remove(pruning.holdings, backup_id)
    if pruning.gone:
        trim_log(pruning.holdings, set(pruning.gone))


def remove(holdings: Holdings, backup_id: str) -> None:
    """Remove one backup, on which no other may be based, and what was noted of it."""
    entry = holdings.choose(backup_id)
    engine, number = holdings.engine, holdings.repository.number
    kept = [f"--repo{number}-retention-archive={NEVER}", f"--repo{number}-retention-full={NEVER}"]
    engine.run(f"remove backup {backup_id} from {engine.describe(number)}", "expire", f"--repo={number}", f"--set={entry.set.label}", *kept)
    with writing_to(holdings.catalogue.store, engine.user):
        holdings.forget(backup_id)


def trim_log(holdings: Holdings, gone: t.Collection[str]) -> None:
    """Remove the log before the oldest full backup that stays; everything from there on serves point-in-time recovery."""
    engine, number = holdings.engine, holdings.repository.number
    full = [entry for entry in holdings.entries if entry.set.type == "full" and entry.backup.id not in gone]
    if full:
        kept = [f"--repo{number}-retention-archive={len(full)}", f"--repo{number}-retention-archive-type=full", f"--repo{number}-retention-full={NEVER}"]
        engine.run(f"remove the log that no backup in {engine.describe(number)} needs", "expire", f"--repo={number}", *kept)


def check_removal(holdings: Holdings, backup_id: str, min_good: int, force: bool) -> None:
    """Refuse to remove a backup that must stay.

    Raises:
        InvalidInput: others are based on it, it is pgBackRest's last full one, or a rail speaks against it and there is no ``force``.
    """
    entry = holdings.choose(backup_id)
    doing = f"remove backup {backup_id} from {holdings.engine.describe(holdings.repository.number)}"
    if children := [child.id for child in holdings.repository.children(entry.set)]:
        raise InvalidInput(doing, f"{', '.join(children)} are based on it", "remove these first, newest first")
    if entry.set.type == "full" and sum(item.set.type == "full" for item in holdings.entries) == 1:
        cause = "it is the last full one, which pgBackRest never removes"
        raise InvalidInput(doing, cause, "take another full one first, or remove the whole repository by pgbackrest stanza-delete")
    if not force and (against := refusals(holdings.candidates(), backup_id, min_good)):
        raise InvalidInput(doing, ", and ".join(against), "add force=true to remove it all the same")
