# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a backup module found and did, and the result that every such module returns."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text


@dataclasses.dataclass
class Outcome:
    """What a run found and did, in the making; it changed something if there are actions."""

    backup: Backup | None = None
    actions: list[str] = dataclasses.field(default_factory=list)
    before: list[str] = dataclasses.field(default_factory=list)
    after: list[str] = dataclasses.field(default_factory=list)
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    verification: dict[str, t.Any] | None = None
    restored: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    expected_seconds: float | None = None
    kept: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    pruned: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def due(newest: Backup | None, max_age: int, now: datetime.datetime) -> bool:
    """Say whether a backup has to be taken: there is no good one, or the newest is older than ``max_age`` seconds; 0 always takes one."""
    return newest is None or not max_age or (now - newest.require_manifest().recoverable_to).total_seconds() > max_age


def common_result(outcome: Outcome, seconds: float) -> dict[str, t.Any]:
    """Return what the result of every such module holds, wherever its backups are.

    Args:
        outcome: what was found and done.
        seconds: how long it took.
    """
    return {
        "changed": bool(outcome.actions),
        "actions": outcome.actions,
        "verification": outcome.verification,
        "restored": outcome.restored,
        "expected_seconds": outcome.expected_seconds,
        "kept": outcome.kept,
        "pruned": outcome.pruned,
        "phases": outcome.phases,
        "seconds": round(seconds, 3),
        "diff": {"before": {"state": outcome.before}, "after": {"state": outcome.after}},
    }


def result_of(outcome: Outcome, catalogue: Catalogue, seconds: float) -> dict[str, t.Any]:
    """Return the module's result.

    Args:
        outcome: what was found and done.
        catalogue: where the backups are.
        seconds: how long it took.
    """
    manifest = outcome.backup.manifest if outcome.backup else None
    return {
        **common_result(outcome, seconds),
        "backup": catalogue.summary(outcome.backup) if outcome.backup else None,
        "bytes_stored": manifest.bytes_stored if manifest else 0,
        "bytes_plain": manifest.bytes_plain if manifest else 0,
        "recoverable_from": to_text(manifest.recoverable_from) if manifest else None,
        "recoverable_to": to_text(manifest.recoverable_to) if manifest else None,
    }
