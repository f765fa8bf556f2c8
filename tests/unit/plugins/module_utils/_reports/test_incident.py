# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents: from points and reports of runs to events, and from events to a course; and what the skeleton of a post-mortem asks."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._reports.incident import (
    ALERT,
    CHANGE,
    FAILOVER,
    NOTE,
    OUTAGE,
    Event,
    Window,
    alerts,
    course,
    failovers,
    ordered,
    reboots,
    run_event,
    spans,
)
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Series

WINDOW = Window(1000.0, 2000.0, 10.0)


def there(*ranges: tuple[float, float], **labels: str) -> Series:
    """A series that is there from each first to each last moment."""
    points = [(float(at), 1.0) for first, last in ranges for at in range(int(first), int(last) + 1, 10)]
    return Series(labels, tuple(points))


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(1100, 1200)], [(1100, 1210)]),
        ([(1100, 1100)], [(1100, 1110)]),
        ([(1100, 1200), (1300, 1400)], [(1100, 1210), (1300, 1410)]),
        # It was there at the last point that was asked for: nobody knows of an end.
        ([(1900, 2000)], [(1900, None)]),
        ([(1000, 2000)], [(1000, None)]),
        ([], []),
    ],
)
def test_spans(ranges: list[tuple[float, float]], expected: list[tuple[float, float | None]]) -> None:
    assert spans(there(*ranges), WINDOW) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"alertname": "HostDown", "instance": "a", "severity": "critical", "job": "node"}, "HostDown on a"),
        ({"alertname": "BackupLate", "schedule": "nightly", "kind": "redis"}, "BackupLate on kind redis, schedule nightly"),
        ({"alertname": "NoPrimary", "severity": "critical"}, "NoPrimary"),
    ],
)
def test_alerts(labels: dict[str, str], expected: str) -> None:
    [event] = alerts([there((1100, 1200), **labels, alertstate="firing")], WINDOW)
    assert (event.what, event.severity, event.seconds) == (expected, labels.get("severity", ""), 110)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"a": [(1000, 2000)]}, []),
        ({"a": [(1000, 1500)], "b": [(1510, 2000)]}, ["PostgreSQL: b took the lead from a"]),
        ({"a": [(1000, 1500)], "b": [(1540, 2000)]}, ["PostgreSQL: b took the lead from a, for 30 s there was none"]),
        ({"a": [(1000, 1500)], "b": [(1400, 2000)]}, ["PostgreSQL: b took the lead from a, for a while there were two"]),
        ({"a": [(1000, 1500), (1560, 2000)]}, ["PostgreSQL: a had lost the lead for 50 s, and has it again"]),
        (
            {"a": [(1000, 1200), (1510, 2000)], "b": [(1210, 1500)]},
            ["PostgreSQL: b took the lead from a", "PostgreSQL: a took the lead from b"],
        ),
    ],
)
def test_failovers(members: dict[str, list[tuple[float, float]]], expected: list[str]) -> None:
    events = failovers("PostgreSQL", [there(*ranges, instance=name) for name, ranges in members.items()], WINDOW)
    assert [event.what for event in events] == expected and all(event.kind == FAILOVER for event in events)


def test_reboots_of_the_window_only() -> None:
    series = [Series({"instance": "a"}, ((1400.0, 900.0), (1500.0, 1450.0), (1510.0, 1450.0))), Series({"instance": "b"}, ((1400.0, 5.0),))]
    assert [(event.at, event.what) for event in reboots(series, WINDOW)] == [(1450.0, "a was started")]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"operation": "deploy", "application": "shop", "release": "7", "result": "ok", "by": "jo", "started": 1100.0, "finished": 1150.5},
         (1100.0, 1150.5, "deploy shop 7, ok, by jo")),
        ({"title": "The demo", "status": "failed", "started": "1970-01-01T00:18:20+00:00"}, (1100.0, 1100.0, "The demo, failed")),
        ({"operation": "rollback", "failure": "it did not start", "finished": 1150}, (1150.0, 1150.0, "rollback: it did not start")),
        ({"finished": 1150}, (1150.0, 1150.0, "a run")),
        ({"operation": "deploy"}, None),
        ({"started": "soon"}, None),
    ],
)
def test_runs(report: dict[str, t.Any], expected: tuple[float, float, str] | None) -> None:
    event = run_event(report, "a.json")
    assert (None if event is None else (event.at, event.until, event.what)) == expected


def test_only_what_was_going_on_is_told_in_order_and_once() -> None:
    events = [
        Event(1500, NOTE, "late", 1500), Event(900, CHANGE, "before", 999), Event(900, ALERT, "until then", 1000), Event(900, ALERT, "still", None),
        Event(2001, CHANGE, "after", 2002), Event(1500, NOTE, "late", 1500), Event(1200, NOTE, "early", 1200),
    ]
    assert [event.what for event in ordered(events, WINDOW)] == ["still", "until then", "early", "late"]


@pytest.mark.parametrize(
    ("events", "began", "ended", "suspects"),
    [
        ([], None, None, []),
        ([Event(5000, ALERT, "a", 5100), Event(5050, OUTAGE, "b", 5300)], 5000, 5300, []),
        ([Event(5000, ALERT, "a", 5100), Event(5050, OUTAGE, "b", None)], 5000, None, []),
        # Of changes within an hour before the first alert, the last one first; not one that came after.
        ([Event(1000, CHANGE, "old", 1001), Event(2000, CHANGE, "one", 2001), Event(4000, FAILOVER, "two", 4000), Event(5000, ALERT, "a", 5100),
          Event(5001, CHANGE, "later", 5002)], 5000, 5100, ["two", "one"]),
        # Without an alert it is the time that was asked about.
        ([Event(5900, CHANGE, "one", 5901), Event(6100, CHANGE, "later", 6101)], None, None, ["one"]),
    ],
)
def test_course(events: list[Event], began: float | None, ended: float | None, suspects: list[str]) -> None:
    found = course(events, 6000.0)
    assert (found.began, found.ended, [event.what for event in found.suspects]) == (began, ended, suspects)
    assert found.seconds == (ended - began if began is not None and ended is not None else None)
