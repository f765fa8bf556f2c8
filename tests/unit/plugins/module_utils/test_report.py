# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run report: its JSON form, its verdict, and the page."""

from __future__ import annotations

import html.parser
import json
import re
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._report import (
    Check,
    Event,
    Phase,
    Report,
    duration,
    label,
    moment,
    render_html,
    size,
    ticks,
    value_text,
)

PHASES = [{"name": "site", "start": 0, "seconds": 100.0, "status": "ok"}, {"name": "restore", "start": 100.0, "seconds": 60.5, "status": "ok"}]
DEMO: dict[str, t.Any] = {
    "title": "demo",
    "started": "2026-11-22T18:21:17+00:00",
    "finished": "2026-11-22T18:24:37+00:00",
    "requests_sent": 2004,
    "requests_failed": 0,
    "rows_acknowledged": 481,
    "rows_found": 481,
    "rows_lost": 0,
    "backup_bytes": 482113,
    "backup_seconds": 6.7,
    "restore_seconds": 61.9,
    "site_seconds": 192.4,
    "noop_seconds": 19.3,
    "noop_changed": 0,
    "ssh_executions_per_host": 18,
    "ssh_executions": {"data1": 18, "lb1": 9},
    "backup": {"postgres": {"id": "X-1"}},
    "phases": PHASES,
    "checks": [{"name": "no row is lost", "status": "ok", "evidence": "481 of 481 found"}],
}


class Page(html.parser.HTMLParser):
    """Collects a page's elements, texts and tags that do not close."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style":
            self.text += data


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0821, "82.1 ms"),
        (0.9, "900 ms"),
        (0.9999, "1 s"),
        (6.66, "6.7 s"),
        (21.0, "21 s"),
        (119.9, "119.9 s"),
        (119.99, "2 min"),
        (192.4, "3 min 12 s"),
        (3599.7, "1 h"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (812, "812 B"), (999.6, "1 kB"), (482113, "482 kB"), (12_345_678, "12.3 MB"), (5e9, "5 GB"), (2.5e12, "2.5 TB")]
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("a_seconds", 90, "90 s"),
        ("a_bytes", 1500, "1.5 kB"),
        ("cpu_percent", 12.5, "12.5 %"),
        ("rows", 12345, "12,345"),
        ("ratio", 0.5, "0.5"),
        ("ok", True, "yes"),
        ("release", "2", "2"),
        ("hosts", ["app1", "app2"], "app1, app2"),
    ],
)
def test_value_text(key: str, value: t.Any, text: str) -> None:
    assert value_text(key, value) == text


@pytest.mark.parametrize(
    ("key", "text"), [("rto_seconds", "Recovery time"), ("failback_seconds", "Failback"), ("wal_bytes", "WAL"), ("tls_days_left", "TLS days left")]
)
def test_label(key: str, text: str) -> None:
    assert label(key) == text


@pytest.mark.parametrize(
    "value", ["2026-11-22T18:21:17+00:00", "2026-11-22T18:21:17Z", "2026-11-22T20:21:17+02:00", "2026-11-22T18:21:17", 1795371677, 1795371677.0]
)
def test_moment(value: str | float) -> None:
    point = moment(value)
    assert point is not None and point.isoformat() == "2026-11-22T18:21:17+00:00"


@pytest.mark.parametrize("value", [None, "", "yesterday", [1], True])
def test_moment_that_is_none(value: t.Any) -> None:
    assert moment(value) is None


@pytest.mark.parametrize(
    ("length", "points"),
    [(3, [0, 1, 2, 3]), (14.7, [0, 2, 4, 6, 8, 10, 12, 14]), (386, [0, 60, 120, 180, 240, 300, 360]), (400000, [0, 86400, 172800, 259200, 345600])],
)
def test_ticks(length: float, points: list[float]) -> None:
    assert ticks(length) == points


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "ok"),
        ({"status": "failed"}, "failed"),
        ({"phases": [{**PHASES[0], "status": "failed"}]}, "failed"),
        ({"phases": [{**PHASES[0], "status": "running"}]}, "running"),
        ({"phases": [{**PHASES[0], "status": "skipped"}]}, "ok"),
        ({"checks": [{"name": "c", "status": "failed"}], "status": "ok"}, "failed"),
        ({"targets": {"restore_seconds": 61.9}}, "ok"),
        ({"targets": {"restore_seconds": 61.8}}, "failed"),
        ({"targets": {"rpo_seconds": 5}}, "ok"),
    ],
)
def test_verdict(change: dict[str, t.Any], verdict: str) -> None:
    report = {**DEMO, **change}
    assert Report.from_dict(report).verdict == verdict
    assert f'class="verdict {verdict}"' in render_html(report)


def test_length_covers_phases_events_and_clock() -> None:
    assert Report.from_dict(DEMO).length == 200
    assert Report("x", phases=(Phase("p", 10, 5),)).length == 15
    assert Report("x", phases=(Phase("p", 10, 5),), events=(Event("e", 40),)).length == 40
    assert Report("x").length == 0


def test_json_form_survives_a_round_trip_with_the_figures_at_the_top() -> None:
    report = Report(
        title="drill",
        summary="s",
        started="2026-01-01T00:00:00Z",
        finished=1795371677,
        status="ok",
        phases=(Phase("p", 0, 1.5),),
        events=(Event("e", 1),),
        checks=(Check("c", "ok", "seen"),),
        targets={"rto_seconds": 60},
        figures={"rto_seconds": 12, "hosts": ["a"]},
    )
    form = json.loads(json.dumps(report.to_dict()))
    assert form["rto_seconds"] == 12 and form["phases"] == [{"name": "p", "start": 0, "seconds": 1.5, "status": "ok"}]
    assert Report.from_dict(form) == report


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({}, "it has no title"),
        ({"title": "x", "phases": {}}, ""),
        ({"title": "x", "phases": "p"}, "phases is not a list"),
        ({"title": "x", "phases": [{"name": "p"}]}, "entry 1 of phases is not complete"),
        ({"title": "x", "phases": ["p"]}, "entry 1 of phases is not complete"),
        ({"title": "x", "phases": [{"name": "p", "start": "0", "seconds": 1}]}, "entry 1 of phases has a time that is not a number"),
        ({"title": "x", "checks": [{"name": "c"}]}, "entry 1 of checks is not complete"),
        ({"title": "x", "targets": [60]}, "targets is not a dictionary of numbers"),
        ({"title": "x", "targets": {"rto_seconds": "60"}}, "targets is not a dictionary of numbers"),
    ],
)
def test_wrong_shapes_are_named(report: dict[str, t.Any], message: str) -> None:
    if not message:
        assert "Timeline" not in render_html(report)
        return
    with pytest.raises(InvalidInput, match=message):
        render_html(report)


def test_page_is_well_formed_and_loads_nothing() -> None:
    text = render_html(
        {**DEMO, "targets": {"restore_seconds": 60, "rto_seconds": 300}, "events": [{"name": "database gone", "at": 90}], "summary": "What was done."}
    )
    page = Page(text)
    assert page.stack == []
    tags = {tag for tag, _attributes in page.seen}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert not any(name.startswith("on") or name in ("src", "href") for _tag, attributes in page.seen for name in attributes)
    for expected in (
        "What was done.",
        "database gone",
        "481 of 481 acknowledged rows found",
        "of 2,004 sent",
        "482 kB",
        "target 60 s",
        "not measured",
        "22 November 2026, 18:21:17",
        "3 min 20 s in all",
        "0 changes, at most 18 SSH executions per host",
        "data1",
        '"id": "X-1"',
    ):
        assert expected in page.text, expected


def test_timeline_places_bars_by_time() -> None:
    text = render_html(DEMO)
    assert "left:0.000%;width:50.000%" in text
    assert "left:50.000%;width:30.250%" in text


@pytest.mark.parametrize(("lost", "tone"), [(0, "good"), (3, "bad")])
def test_losses_are_coloured(lost: int, tone: str) -> None:
    assert f'<div class="tile {tone}"><dt>Rows lost</dt><dd>{lost}</dd>' in render_html({**DEMO, "rows_lost": lost})


def test_partial_report_of_a_run_that_stopped_is_shown() -> None:
    text = render_html(
        {"title": "demo", "started": "soon", "phases": [{"name": "site", "start": 0.0, "seconds": 0, "status": "failed"}], "requests_failed": None}
    )
    page = Page(text)
    assert page.stack == [] and "failed after 0 s" in page.text and "soon" in page.text and "Requests failed" not in page.text


def test_everything_given_is_escaped() -> None:
    evil = "<script>alert('&\"')</script>"
    text = render_html(
        {
            "title": evil,
            "summary": evil,
            "started": evil,
            evil: evil,
            "counts": {evil: 1},
            "nested": {evil: [evil]},
            "list": [{"a": evil}],
            "targets": {evil: 1},
            "phases": [{"name": evil, "start": 0, "seconds": 1, "status": evil}],
            "events": [{"name": evil, "at": 0}],
            "checks": [{"name": evil, "status": evil, "evidence": evil}],
        }
    )
    assert "<script" not in text and Page(text).stack == []
