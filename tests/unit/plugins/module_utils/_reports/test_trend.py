# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trends: the line through the days, whether there is a trend, and when it reaches a limit."""

from __future__ import annotations

import math
import random
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._reports.trend import DAY, Trend, daily_peaks, days_until, fit, quantile

END = 100 * DAY


def days(values: t.Sequence[float]) -> list[tuple[float, float]]:
    """Days that end at END, each at its noon."""
    return [(END - (len(values) - number - 0.5) * DAY, value) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "slope", "level", "word"),
    [
        ([1, 2, 3, 4, 5, 6, 7], 1.0, 7.5, "rising"),
        ([7, 6, 5, 4, 3, 2, 1], -1.0, 0.5, "falling"),
        ([5, 5, 5, 5, 5, 5, 5], 0.0, 5.0, "steady"),
        # One bad day bends a line of least squares far; this one not at all.
        ([1, 2, 400, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 1.0, 14.5, "rising"),
        ([5, 6, 5, 6, 5, 6, 5], 0.0, 5.0, "steady"),
        # Three days can look like anything: it is no trend.
        ([1, 2, 3], 1.0, 3.5, "steady"),
    ],
)
def test_fit(values: list[float], slope: float, level: float, word: str) -> None:
    trend = fit(days(values), END)
    assert (trend.slope, trend.level) == (pytest.approx(slope), pytest.approx(level))
    assert {(True, False): "rising", (False, True): "falling", (False, False): "steady"}[trend.rising, trend.falling] == word
    assert trend.days == len(values)


def test_noise_is_seldom_a_trend() -> None:
    """Of noise alone one series in twenty looks like a trend: that is what the test promises."""
    chance = random.Random(4711)
    found = sum(trend.rising or trend.falling for trend in (fit(days([chance.gauss(50, 10) for _day in range(30)]), END) for _try in range(400)))
    assert found <= 40


def test_a_slow_trend_is_seen_through_noise() -> None:
    chance = random.Random(4711)
    trend = fit(days([50 + day + chance.gauss(0, 5) for day in range(30)]), END)
    assert trend.rising and trend.slope == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("trend", "limit", "factors", "expected"),
    [
        (Trend(2.0, 10.0, True, False, 9), 30.0, {}, 10.0),
        (Trend(2.0, 10.0, True, False, 9), 30.0, {"growth": 2.0}, 5.0),
        (Trend(2.0, 10.0, True, False, 9), 30.0, {"load": 2.0}, 2.5),
        (Trend(2.0, 10.0, True, False, 9), 30.0, {"load": 3.0}, 0.0),
        (Trend(2.0, 10.0, True, False, 9), 10.0, {}, 0.0),
        (Trend(2.0, 10.0, False, False, 9), 30.0, {}, None),
        (Trend(-2.0, 10.0, False, True, 9), 30.0, {}, None),
        (Trend(2.0, 10.0, True, False, 9), 30.0, {"growth": 0.0}, None),
    ],
)
def test_days_until(trend: Trend, limit: float, factors: dict[str, float], expected: float | None) -> None:
    assert days_until(trend, limit, **factors) == expected


def test_a_line_never_falls_below_nothing() -> None:
    assert Trend(-2.0, 10.0, False, True, 9).after(30) == 0.0


def test_daily_peaks_leave_out_days_with_few_samples() -> None:
    """Whole days count back from the end; half a day is not one."""
    hours = [(END - hour * 3600, float(hour % 24)) for hour in range(1, 24 * 3 + 8)]
    found = daily_peaks(hours, END, 3600, 1.0)
    assert [at for at, _peak in found] == [END - 2.5 * DAY, END - 1.5 * DAY, END - 0.5 * DAY]
    assert [peak for _at, peak in found] == [23.0, 23.0, 23.0]
    assert len(daily_peaks(hours + [(END - 3.4 * DAY - hour * 3600, 1.0) for hour in range(8)], END, 3600, 1.0)) == 4
    assert daily_peaks([(END + 60, 1.0)], END, 3600, 1.0) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0001, 1), (0.5, 5), (0.95, 10), (1.0, 10)])
def test_quantile(share: float, expected: float) -> None:
    assert quantile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], share) == expected
    assert math.isclose(quantile([4.0], share), 4.0)
