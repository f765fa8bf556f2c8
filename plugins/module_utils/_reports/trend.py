# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trends that one bad day does not bend: daily peaks, the line of Theil and Sen through them, and the test of Mann and Kendall whether there is a trend.

Sources: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63 (1968); M. G. Kendall, "Rank correlation methods"
(1975), for the variance with ties.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import statistics
import typing as t

DAY = 86400.0
COVERED = 0.5
"""A day with fewer than half of its samples says little of its peak, and is left out."""
SIGNIFICANT = 1.96
"""Of a normal distribution: 5 % of the data without a trend look as if they had one."""

Points = t.Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Trend:
    """A line through the days.

    Attributes:
        slope: what is added in a day.
        level: where the line is at the end of what was read.
        rising: whether the days show a trend upwards that is more than chance; ``falling`` the same downwards.
        days: how many days it rests on.
    """

    slope: float
    level: float
    rising: bool
    falling: bool
    days: int

    @property
    def growth(self) -> float:
        """What is to be expected each day: nothing unless there is a trend."""
        return self.slope if self.rising or self.falling else 0.0

    def after(self, days: float) -> float:
        """Return where the line is so many days after the end, and never below nothing."""
        return max(self.level + self.growth * days, 0.0)


def quantile(numbers: t.Sequence[float], share: float) -> float:
    """Return a quantile by the nearest rank.

    Args:
        numbers: one at least.
        share: between 0 and 1.
    """
    ranked = sorted(numbers)
    return ranked[max(math.ceil(share * len(ranked)), 1) - 1]


def daily_peaks(points: Points, end: float, step: float, share: float) -> list[tuple[float, float]]:
    """Return for each day before ``end`` its noon (Unix time) and a quantile of its values.

    Args:
        points: Unix time and value.
        end: when the last day ends.
        step: seconds between two points.
        share: which quantile, 0.95 for all but the hour and 12 minutes that are busiest.
    """
    days: dict[int, list[float]] = collections.defaultdict(list)
    for at, value in points:
        if at <= end:
            days[int((end - at) // DAY)].append(value)
    enough = COVERED * DAY / step
    return [(end - (age + 0.5) * DAY, quantile(values, share)) for age, values in sorted(days.items(), reverse=True) if len(values) >= enough]


def fit(days: Points, end: float) -> Trend:
    """Return the line through days, two at least.

    Args:
        days: Unix time and value, in the order of time.
        end: where the line's level is told.
    """
    slopes = [(later - value) / (then - at) for number, (at, value) in enumerate(days) for then, later in days[number + 1:]]
    slope = statistics.median(slopes) * DAY
    level = statistics.median(value + slope * (end - at) / DAY for at, value in days)
    score = _mann_kendall([value for at, value in days])
    return Trend(slope, level, slope > 0 and score > SIGNIFICANT, slope < 0 and score < -SIGNIFICANT, len(days))


def _mann_kendall(values: t.Sequence[float]) -> float:
    """Return the standard score of the test for a trend; 0 where all values are the same."""
    count = len(values)
    signs = sum((later > value) - (later < value) for number, value in enumerate(values) for later in values[number + 1:])
    ties = sum(same * (same - 1) * (2 * same + 5) for same in collections.Counter(values).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    return (signs - (signs > 0) + (signs < 0)) / math.sqrt(variance) if variance > 0 else 0.0


def days_until(trend: Trend, limit: float, load: float = 1.0, growth: float = 1.0) -> float | None:
    """Return after how many days the line reaches a limit: 0 if it is there, None if it never does.

    Args:
        load: what the level is multiplied by at once.
        growth: what the growth is multiplied by.
    """
    level, slope = trend.level * load, trend.growth * load * growth
    if level >= limit:
        return 0.0
    return (limit - level) / slope if slope > 0 else None
