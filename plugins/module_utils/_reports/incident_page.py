# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an incident, and the skeleton of its post-mortem."""

from __future__ import annotations

import datetime
import html
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._report import duration
from ansible_collections.mainstay.ops.plugins.module_utils._reports import page
from ansible_collections.mainstay.ops.plugins.module_utils._reports.charts import RIGHT, WIDTH, Chart, Line, draw, time_ticks
from ansible_collections.mainstay.ops.plugins.module_utils._reports.incident import ALERT, CHANGE, FAILOVER, NOTE, OUTAGE

Fact = t.Mapping[str, t.Any]
TONES = {ALERT: page.BAD, OUTAGE: page.BAD, FAILOVER: page.WAIT, CHANGE: page.QUIET, NOTE: page.QUIET}
COLOURS = {page.BAD: "var(--bad)", page.WAIT: "var(--wait)", page.QUIET: "var(--bar)"}
ROW, NAMES = 26, 330
"""Height of an event, and room for its words, in the units of the drawing."""
DRAWN = 60
LETTERS = 46


def render(report: Fact) -> str:
    """Return the page."""
    ongoing = report["began"] is not None and report["ended"] is None
    tone = page.BAD if ongoing else page.WAIT if report["began"] else page.GOOD
    words = "It had not ended" if ongoing else "It is over" if report["began"] else "Nothing was firing"
    moments = f"{report['started'][:16].replace('T', ' ')} to {report['finished'][:16].replace('T', ' ')} UTC"
    rows: list[list[page.Cell]] = [
        [event["at"][:19].replace("T", " "), page.badge(TONES[event["kind"]], event["kind"]), event["what"], _took(event), event["source"]]
        for event in report["timeline"]
    ]
    suspects = page.bullets(f"{event['at'][11:19]}  {event['what']}" for event in report["suspects"])
    return page.document(
        report["title"],
        [
            page.header(report["title"], tone, words, [moments, f"{len(rows)} events"], report["summary"]),
            page.tiles(_tiles(report)),
            page.section("Course", _lanes(report)),
            page.section(
                "What had changed before",
                suspects,
                note="Changes and failovers in the hour before the first alert, the last one first. That they came before proves nothing.",
            ),
            page.section("Figures", *(draw(_chart(chart)) for chart in report["charts"])),
            page.section("Timeline", page.table(["When (UTC)", "Kind", "What", "#For", "Source"], rows)),
            page.section("Not known", page.bullets(report["gaps"])),
            page.section("Post-mortem", "<p>postmortem.md beside this page has its skeleton, with the timeline filled in.</p>"),
        ],
    )


def _took(event: Fact) -> str:
    return "until the end" if event["seconds"] is None else duration(event["seconds"]) if event["seconds"] else ""


def _tiles(report: Fact) -> list[page.Tile]:
    kinds = report["events_by_kind"]
    lasted = "–" if report["began"] is None else "not over" if report["duration_seconds"] is None else duration(report["duration_seconds"])
    return [
        page.Tile("Lasted", lasted, "from the first alert until the last one was over"),
        page.Tile("Alerts and outages", str(kinds[ALERT] + kinds[OUTAGE]), f"{kinds[ALERT]} alerts, {kinds[OUTAGE]} targets without an answer"),
        page.Tile("Changes and failovers", str(kinds[CHANGE] + kinds[FAILOVER]), f"{kinds[CHANGE]} changes, {kinds[FAILOVER]} failovers"),
    ]


def _time(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def _lanes(report: Fact) -> str:
    """Return the events as bars over time, nothing without one."""
    start, end = _time(report["started"]), _time(report["finished"])
    shown = report["timeline"][:DRAWN]
    if not shown:
        return ""
    scale = (WIDTH - NAMES - RIGHT) / (end - start)
    height = len(shown) * ROW + 30
    parts = []
    for moment, word in time_ticks(start, end, 6):
        x = round(NAMES + (moment - start) * scale, 1)
        parts.append(f'<line class=grid x1="{x}" x2="{x}" y1="0" y2="{height - 26}"/><text x="{x}" y="{height - 8}" text-anchor=middle>{word}</text>')
    for number, event in enumerate(shown):
        left = round(NAMES + max(_time(event["at"]) - start, 0) * scale, 1)
        until = end if event["until"] is None else min(_time(event["until"]), end)
        width = round(max(NAMES + max(until - start, 0) * scale - left, 4), 1)
        what = event["what"] if len(event["what"]) <= LETTERS else f"{event['what'][:LETTERS - 1]}…"
        y = number * ROW
        colour = COLOURS[TONES[event["kind"]]]
        parts.append(f'<text x="0" y="{y + 17}">{html.escape(what)}</text>')
        parts.append(
            f'<rect x="{left}" y="{y + 6}" width="{width}" height="14" rx="3" style="fill:{colour}"><title>{html.escape(event["what"])}</title></rect>'
        )
    x = round(NAMES + (_time(report["around"]) - start) * scale, 1)
    parts.append(f'<line class=now x1="{x}" x2="{x}" y1="0" y2="{height - 26}"/>')
    more = f"<p class=evidence>{len(report['timeline']) - DRAWN} more are in the timeline below.</p>" if len(report["timeline"]) > DRAWN else ""
    return f'<figure class=chart><svg viewBox="0 0 {WIDTH} {height}" role=img aria-label="The events over time">{"".join(parts)}</svg></figure>{more}'


def _chart(chart: Fact) -> Chart:
    lines = [Line(line["name"], [tuple(point) for point in line["points"]], colour=number) for number, line in enumerate(chart["lines"])]
    note = f"{chart['left_out']} more series are left out" if chart["left_out"] else ""

    def text(value: float) -> str:
        return f"{value:.6g} {chart['unit']}".rstrip()

    return Chart(chart["title"], note, lines, text, gap=2.5 * chart["step"])


def postmortem(report: Fact) -> str:
    """Return the skeleton in Markdown: what is known is filled in, what only people know is asked for."""
    lasted = "not known" if report["duration_seconds"] is None else duration(report["duration_seconds"])
    rows = "".join(f"| {event['at'][:19].replace('T', ' ')} | {event['kind']} | {_cell(event['what'])} | {_took(event)} |\n" for event in report["timeline"])
    suspects = (
        "".join(f"- {event['at'][11:19]} {_cell(event['what'])}\n" for event in report["suspects"]) or "- None is known in the hour before the first alert.\n"
    )
    gaps = "".join(f"- {gap}\n" for gap in report["gaps"]) or "- Nothing that was asked for.\n"
    return _POSTMORTEM.format(
        title=report["title"],
        began=report["began"] or "not known",
        ended=report["ended"] or "not known",
        lasted=lasted,
        rows=rows,
        suspects=suspects,
        gaps=gaps,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_POSTMORTEM = """# {title}

Status: draft. Owner: _name_. Reviewed on: _date_.

This page is about what made the mistake possible, and not about who made it.

## Summary

_Two or three sentences: what users noticed, why, and what ended it._

## Impact

- Began: {began}. Ended: {ended}. Alerts were firing for: {lasted}.
- Users: _how many, which parts, what they saw_.
- Data: _lost, late, wrong? How do we know?_
- Objectives: _how much of the error budget was used; recovery time and recovery point against their targets_.

## Timeline (UTC)

| When | Kind | What | For |
|---|---|---|---|
{rows}
## What had changed before

{suspects}
## Detection

_Who or what noticed first? How long after it began? Would an alert have been sooner?_

## Cause

1. Why did it happen? _…_
2. Why was that possible? _…_
3. Why did nothing catch it before? _…_
4. Why did it last as long as it did? _…_
5. Why had we not expected it? _…_

## What went well, what went badly, where we were lucky

- Well: _…_
- Badly: _…_
- Lucky: _…_

## Actions

| What | Kind (prevent, detect, mend faster) | Owner | Until |
|---|---|---|---|
| _…_ | | | |

## Not known

{gaps}"""
