# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs of a drill say together."""

from __future__ import annotations

import collections
import dataclasses
import statistics
import typing as t


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that must hold in every run of a row, what was found at worst, and whether it holds."""

    what: str
    found: str
    met: bool


def gap_target(gaps: t.Iterable[float], limit: float, slack: float) -> Target:
    """Compare gaps with their limit, which may be ``slack`` times as long; all in seconds."""
    worst = max(gaps)
    return Target(f"gap at most {limit * slack:g} s", f"{worst:.2f} s", worst <= limit * slack)


def none_target(what: str, counts: t.Iterable[float], noun: str) -> Target:
    """Demand that a count is 0 in every run."""
    worst = max(counts)
    return Target(what, f"{worst:.0f} {noun}", worst == 0)


def three(figures: t.Sequence[float], digits: int = 0) -> str:
    """Return minimum, median and maximum; one figure if all are the same."""
    shown = [f"{figure:.{digits}f}" for figure in (min(figures), statistics.median(figures), max(figures))]
    return shown[0] if len(set(shown)) == 1 else " / ".join(shown)


def kinds_of_errors(counts: t.Iterable[t.Mapping[str, int]]) -> str:
    """Return the sums of errors by their kind, the most frequent first."""
    kinds: collections.Counter[str] = collections.Counter()
    for errors in counts:
        kinds.update(errors)
    return ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "none"


def in_words(targets: t.Iterable[Target]) -> str:
    """Return which targets are met, and what was found where one is missed."""
    return "; ".join(f"{target.what}: {'met' if target.met else f'**missed** ({target.found})'}" for target in targets) or "none"
