# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: sizes, limits, scenarios and recommendations; and what the charts show."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity import (
    GIB,
    SCENARIOS,
    Resource,
    Scenario,
    Window,
    check_window,
    judge,
    rank,
    read_resources,
    read_scenarios,
    rounded_size,
)
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Series
from ansible_collections.mainstay.ops.plugins.module_utils._reports.trend import DAY

END = 1000 * DAY
WINDOW = Window(END, days=10, step=3600.0)


def hourly(value: t.Callable[[float], float], days: float = 10, until: float = END) -> tuple[tuple[float, float], ...]:
    """Points of every hour; ``value`` is told the days before the end, as a negative number."""
    return tuple((until - hour * 3600, value((until - END) / DAY - hour / 24)) for hour in range(int(days * 24), -1, -1))


def judged(resource: Resource, value: t.Callable[[float], float], size: float | None = None, **points: float) -> dict[str, t.Any]:
    """The entry of one subject."""
    sizes = [] if size is None else [Series({"instance": "a"}, ((END, size),))]
    return judge(resource, [Series({"instance": "a"}, hourly(value, **points))], sizes, WINDOW, SCENARIOS)[0]


CPU = Resource("cpu", "CPU", "usage", unit="cores", limit=0.8, target=0.5)
DISK = Resource("disk", "Disk", "usage", unit="bytes", limit=0.9, target=0.5, follows_load=False, shrinks=False)


@pytest.mark.parametrize(
    ("resource", "value", "size", "recommendation", "wanted"),
    [
        (CPU, lambda day: 2.0, 4, "keep", None),
        (CPU, lambda day: 2.1, 4, "enlarge", 8),
        (CPU, lambda day: 0.4, 4, "shrink", 1),
        (CPU, lambda day: 1.0, 4, "shrink", 2),
        (CPU, lambda day: 1.4, 4, "keep", None),
        # Growth until the horizon of 90 days counts.
        (CPU, lambda day: 1.0 + 0.05 * (day + 10), 4, "enlarge", 16),
        # One peak of an hour is no trend, but a smaller machine has to bear it.
        (CPU, lambda day: 3.0 if day == -5 else 0.4, 4, "keep", None),
        (CPU, lambda day: 2.0, None, "unknown", 4),
        (DISK, lambda day: GIB, 100 * GIB, "keep", None),
        (DISK, lambda day: 60 * GIB, 100 * GIB, "enlarge", 128 * GIB),
    ],
)
def test_recommendations(resource: Resource, value: t.Callable[[float], float], size: float | None, recommendation: str, wanted: float | None) -> None:
    found = judged(resource, value, size)
    assert (found["recommendation"], found["recommended_size"]) == (recommendation, wanted)


def test_what_is_full_already() -> None:
    found = judged(CPU, lambda day: 3.9, 4)
    assert (found["days_until_full"], found["used_percent"], found["limit"]) == (0.0, 97.5, pytest.approx(3.2))


def test_too_few_days_say_nothing_of_a_trend() -> None:
    found = judged(CPU, lambda day: 10 + day, 40, days=4)
    assert (found["trend"], found["days_until_full"], found["growth_per_day"], found["line"]) == ("unknown", None, None, None)
    assert found["recommendation"] == "unknown" and found["recommended_size"] is None
    assert found["notes"] == ["4 whole days of data, and 7 are needed for a trend"]


def test_what_is_not_measured_any_more_is_said() -> None:
    found = judged(CPU, lambda day: 1.0, 4, until=END - 2 * DAY)
    assert found["notes"] == ["nothing was measured since 1972-09-25"]


def test_labels_match_usage_with_size() -> None:
    """A size of another host is none."""
    usage = [Series({"instance": name}, hourly(lambda day: 1.0)) for name in "ab"]
    found = judge(CPU, usage, [Series({"instance": "b", "__name__": "size"}, ((END, 8.0),))], WINDOW, SCENARIOS)
    assert [(entry["subject"], entry["size"]) for entry in found] == [("a", None), ("b", 8.0)]


def test_rank_puts_first_what_is_full_first() -> None:
    entries = [{"days_until_full": None, "used_percent": 90.0}, {"days_until_full": None, "used_percent": None}, {"days_until_full": 3.0, "used_percent": 1.0}]
    assert [entry["days_until_full"] for entry in sorted(entries, key=rank)] == [3.0, None, None]
    assert sorted(entries, key=rank)[1]["used_percent"] == 90.0


@pytest.mark.parametrize(
    ("needed", "unit", "expected"),
    [
        (0.0, "cores", 1),
        (1.0, "cores", 1),
        (1.01, "cores", 2),
        (13, "cores", 16),
        (513, "cores", 520),
        (3.2 * GIB, "bytes", 4 * GIB),
        (600 * GIB, "bytes", 600 * GIB),
        (601 * GIB, "bytes", 610 * GIB),
        (7.2, "count", 8),
        (101, "count", 110),
        (1234.5, "per_second", 1300),
        (0.0, "count", 0),
    ],
)
def test_rounded_size(needed: float, unit: str, expected: float) -> None:
    assert rounded_size(needed, unit) == expected


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (Window(END, step=30), "take steps of 30 s"),
        (Window(END, step=DAY), "take steps"),
        (Window(END, days=6), "6 days are read, and 7 are the least"),
        (Window(END, least_days=2), "at least 3"),
        (Window(END, horizon=0), "size for 0 days"),
        (Window(END, peak=95), "the quantile 95"),
    ],
)
def test_windows_of_no_use(window: Window, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_window(window)


def test_scenarios() -> None:
    assert read_scenarios([]) == list(SCENARIOS)
    assert read_scenarios([{"name": "sale", "load": 2.0, "growth": 1.0}]) == [Scenario("sale", 2.0)]
    for wrong in ([{"name": "a", "load": -1.0, "growth": 1.0}], [{"name": "a", "load": 1.0, "growth": 1.0}] * 2):
        with pytest.raises(InvalidInput):
            read_scenarios(wrong)


def test_resources_keep_what_is_not_given() -> None:
    found = {resource.id: resource for resource in read_resources([{"id": "cpu", "limit": 0.5, "title": None}], ["disk"])}
    assert "disk" not in found and found["cpu"].limit == 0.5 and found["cpu"].title == "CPU" and "node_cpu" in found["cpu"].usage
