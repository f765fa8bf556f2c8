# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the capacity report, and its lines for a terminal."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._report import size as bytes_text
from ansible_collections.mainstay.ops.plugins.module_utils._reports import page
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity import ENLARGE, KEEP, SHRINK
from ansible_collections.mainstay.ops.plugins.module_utils._reports.charts import Chart, Line, draw
from ansible_collections.mainstay.ops.plugins.module_utils._reports.trend import DAY

Entry = t.Mapping[str, t.Any]
CHARTS = 12
"""How many subjects get a chart of their own: those that are full first."""
SOON, SOMEDAY = 30, 90
"""Days until something is full from which on it is bad, and worth a look."""
GIB = 1 << 30


def amount(value: float | None, unit: str) -> str:
    """Return an amount with its unit, a dash where it is not known."""
    if value is None:
        return "–"
    if unit == "bytes":
        return bytes_text(value) if value < GIB else f"{value / GIB:,.4g} GiB"
    number = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return {"cores": f"{number} cores", "per_second": f"{number} /s"}.get(unit, number)


def days_text(days: float | None, known: bool) -> str:
    """Return when something is full, in words."""
    if not known:
        return "not known"
    if days is None:
        return "not in sight"
    return "now" if days == 0 else f"{days:,.0f} days" if days >= 1.5 else "1 day"


def known(entry: Entry) -> bool:
    """Tell whether it can be said when something is full."""
    return entry["size"] is not None and entry["line"] is not None


def tone(entry: Entry) -> str:
    """Return the colour of an entry."""
    days = entry["days_until_full"]
    if not known(entry):
        return page.QUIET
    return page.GOOD if days is None or days > SOMEDAY else page.WAIT if days > SOON else page.BAD


def name(entry: Entry) -> str:
    """Return what an entry is about."""
    return f"{entry['title']} of {entry['subject']}" if entry["subject"] != "all" else str(entry["title"])


def advice(entry: Entry) -> str:
    """Return the recommendation in words."""
    if entry["recommendation"] in (ENLARGE, SHRINK):
        return f"{entry['recommendation']} to {amount(entry['recommended_size'], entry['unit'])}"
    if entry["recommendation"] == KEEP:
        return "keep"
    return f"should be at least {amount(entry['recommended_size'], entry['unit'])}" if entry["recommended_size"] else "–"


def lines(report: Entry) -> list[str]:
    """Return the report for a terminal."""
    found = []
    for entry in report["subjects"]:
        use = f"{entry['used_percent']:g} % of {amount(entry['size'], entry['unit'])}" if entry["size"] else amount(entry["used"], entry["unit"])
        full = f"full: {days_text(entry['days_until_full'], known(entry))}"
        notes = f" ({'; '.join(entry['notes'])})" if entry["notes"] else ""
        found.append(f"{name(entry)}: {use}, {entry['trend']}, {full}, {advice(entry)}{notes}")
    return found + [f"{entry['title']}: no data: {entry['reason']}" for entry in report["missing"]] + [report["summary"]]


def render(report: Entry) -> str:
    """Return the page of a report."""
    subjects = report["subjects"]
    worst = next((each for each in (page.BAD, page.WAIT) if any(tone(entry) == each for entry in subjects)), page.GOOD)
    words = {page.BAD: f"Something is full within {SOON} days", page.WAIT: f"Something is full within {SOMEDAY} days", page.GOOD: "There is room"}
    if not any(known(entry) for entry in subjects):
        worst, words = page.WAIT, {page.WAIT: "Nothing can be said yet"}
    facts = [f"{report['started'][:10]} to {report['finished'][:10]}", f"peaks of {report['days']} days", report["prometheus"]]
    return page.document(report["title"], [
        page.header(report["title"], worst, words[worst], facts, report["summary"]),
        page.tiles(_tiles(report)),
        page.section("What is full first", _table(subjects), note=_how(report)),
        page.section("If more comes", _scenarios(subjects)),
        page.section("How it grows", *[_chart(entry, report) for entry in subjects[:CHARTS] if len(entry["daily_peaks"]) > 1]),
        page.section("Not known", page.bullets(_gaps(report))),
    ])


def _how(report: Entry) -> str:
    return (
        f"The trend is the line through the peaks of the days that one odd day does not bend. A size is for {report['horizon_days']} days from now. "
        "What counts as full leaves some room: see the limit."
    )


def _tiles(report: Entry) -> list[page.Tile]:
    judged = [entry for entry in report["subjects"] if known(entry)]
    first = judged[0] if judged and judged[0]["days_until_full"] is not None else None
    soonest = (
        page.Tile("Full first", days_text(first["days_until_full"], True), name(first), tone(first)) if first else page.Tile("Full first", "nothing in sight")
    )
    larger = [entry for entry in judged if entry["recommendation"] == ENLARGE]
    smaller = [entry for entry in judged if entry["recommendation"] == SHRINK]
    unknown = len(report["missing"]) + sum(1 for entry in report["subjects"] if not known(entry))
    return [
        soonest,
        page.Tile("Looked at", str(len(report["subjects"])), "hosts and services, each by what can run out"),
        page.Tile("Growing", str(sum(1 for entry in judged if entry["trend"] == "rising")), f"of {len(judged)} that can be judged"),
        page.Tile("Too small", str(len(larger)), f"for the next {report['horizon_days']} days", page.WAIT if larger else page.GOOD),
        page.Tile("Larger than needed", str(len(smaller)), "half would do"),
        page.Tile("Not known", str(unknown), "told below", page.WAIT if unknown else page.GOOD),
    ]


def _table(subjects: t.Sequence[Entry]) -> str:
    rows: list[list[page.Cell]] = []
    for entry in subjects:
        growth = entry["growth_per_day"]
        rows.append([
            name(entry),
            amount(entry["used"], entry["unit"]),
            f"{entry['used_percent']:g} %" if entry["used_percent"] is not None else "–",
            amount(entry["size"], entry["unit"]),
            amount(entry["limit"], entry["unit"]),
            f"{amount(growth, entry['unit'])} a day" if growth else entry["trend"],
            page.badge(tone(entry), days_text(entry["days_until_full"], known(entry))),
            advice(entry),
        ])
    return page.table(["What", "#Used", "#Share", "#Size", "#Limit", "#Growth", "Full in", "Recommendation"], rows)


def _scenarios(subjects: t.Sequence[Entry]) -> str:
    judged = [entry for entry in subjects if known(entry) and any(outcome["days"] is not None for outcome in entry["scenarios"])]
    if not judged:
        return ""
    names = [f"#{outcome['scenario']}" for outcome in judged[0]["scenarios"]]
    rows: list[list[page.Cell]] = [[name(entry), *(days_text(outcome["days"], True) for outcome in entry["scenarios"])] for entry in judged]
    return page.table(["What is full, and when", *names], rows)


def _chart(entry: Entry, report: Entry) -> str:
    """Return the chart of the days' peaks, with the line as far as the size has to do."""
    points = [tuple(point) for point in entry["daily_peaks"]]
    end = report["end"]
    drawn = [Line("peak of the day", points)]
    if entry["line"]:
        level, growth = entry["line"]["level"], entry["line"]["growth"]
        # A line that leaves the limit far behind would leave no room for what was measured.
        beyond = (1.2 * entry["limit"] - level) / growth if entry["limit"] is not None and growth > 0 else math.inf
        moments = [(points[0][0] - end) / DAY, 0.0, max(min(float(report["horizon_days"]), beyond), 0.0)]
        drawn.append(Line("trend", [(end + days * DAY, max(level + growth * days, 0.0)) for days in moments], dashed=True, colour=1))
    limit = (entry["limit"], f"full: {amount(entry['limit'], entry['unit'])}") if entry["limit"] is not None else None
    note = f"{entry['trend']}, full: {days_text(entry['days_until_full'], known(entry))}"
    return draw(Chart(name(entry), note, drawn, lambda value: amount(value, entry["unit"]), limit, end, 1.5 * DAY, GIB if entry["unit"] == "bytes" else 1.0))


def _gaps(report: Entry) -> list[str]:
    return [f"{entry['title']}: {entry['reason']}" for entry in report["missing"]] + [
        f"{name(entry)}: {note}" for entry in report["subjects"] for note in entry["notes"]
    ]
