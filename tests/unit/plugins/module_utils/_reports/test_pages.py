# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts and the parts of pages: axes, gaps, limits, and that nothing of the data becomes markup."""

from __future__ import annotations

import re
import xml.dom.minidom

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._reports import page
from ansible_collections.mainstay.ops.plugins.module_utils._reports.charts import DAY, Chart, Line, draw, nice_ticks, time_ticks

EVIL = '<script>alert("1")</script>'


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (100, [0, 20, 40, 60, 80, 100]), (7.3, [0, 2, 4, 6, 8]), (0.031, [0, 0.01, 0.02, 0.03, 0.04]), (0, [0, 1]),
        (1.2e9, [0, 2.5e8, 5e8, 7.5e8, 1e9, 1.25e9]), (float("nan"), [0, 1]),
    ],
)
def test_nice_ticks(highest: float, expected: list[float]) -> None:
    assert nice_ticks(highest) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("start", "length", "words"),
    [
        (0, 7200, ["00:00", "00:15", "00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00"]),
        (0, 4 * DAY, ["1 Jan", "12:00", "2 Jan", "12:00", "3 Jan", "12:00", "4 Jan", "12:00", "5 Jan"]),
        (0.5 * DAY, 6 * DAY, ["2 Jan", "3 Jan", "4 Jan", "5 Jan", "6 Jan", "7 Jan"]),
        (0, 720 * DAY, ["Jan 1970", "Apr 1970", "Jun 1970", "Sep 1970", "Dec 1970", "Mar 1971", "Jun 1971", "Sep 1971", "Dec 1971"]),
    ],
)
def test_time_ticks(start: float, length: float, words: list[str]) -> None:
    assert [word for _moment, word in time_ticks(start, start + length)] == words


def svg(text: str) -> xml.dom.minidom.Document:
    """The drawing, as XML: attributes without quotes get some first."""
    drawing = re.search(r"<svg.*?</svg>", text, re.DOTALL)
    assert drawing
    return xml.dom.minidom.parseString(re.sub(r"=([\w-]+)(?=[ />])", r'="\1"', drawing[0]))


def test_a_gap_interrupts_what_was_measured_only() -> None:
    points = [(0.0, 1.0), (60.0, 2.0), (600.0, 3.0)]
    chart = Chart("Load", "", [Line("measured", points), Line("expected", points, dashed=True)], str, gap=100)
    measured, expected = (path.getAttribute("d") for path in svg(draw(chart)).getElementsByTagName("path"))
    assert (measured.count("M"), measured.count("L")) == (2, 1)
    assert (expected.count("M"), expected.count("L")) == (1, 2)


def test_all_points_are_within_the_drawing() -> None:
    chart = Chart("Load", "", [Line("measured", [(0.0, -1.0), (60.0, 2.0), (600.0, 11.0)])], str, limit=(30.0, "full"), now=60.0)
    path = svg(draw(chart)).getElementsByTagName("path")[0].getAttribute("d")
    places = [tuple(map(float, place.split())) for place in re.split("[ML]", path)[1:]]
    assert places[0][0] == 64 and places[-1][0] == 948 and all(12 <= y <= 212 for _x, y in places)
    assert ">full<" in draw(chart) and ">now<" in draw(chart)


def test_nothing_to_draw_is_said() -> None:
    assert "not enough points" in draw(Chart("Load", "", [Line("measured", [(0.0, 1.0)])], str))


def test_data_is_never_markup() -> None:
    """Names of hosts, statements and log lines come from elsewhere."""
    parts = [
        page.header(EVIL, page.GOOD, EVIL, [EVIL], EVIL),
        page.tiles([page.Tile(EVIL, EVIL, EVIL)]),
        page.section(EVIL, page.table([EVIL], [[EVIL]]), page.bullets([EVIL]), page.findings([(page.badge(page.BAD, EVIL), EVIL, EVIL)]), note=EVIL),
        page.details(EVIL, page.bullets([EVIL])),
        draw(Chart(EVIL, EVIL, [Line(EVIL, [(0.0, 1.0), (60.0, 1.0)]), Line(EVIL, [(0.0, 1.0), (60.0, 1.0)])], lambda value: EVIL, limit=(1.0, EVIL))),
    ]
    text = page.document(EVIL, parts)
    assert "<script" not in text and text.count("&lt;script&gt;") >= 18
