# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as SVG within a page: no script, and the colours of the page, so that they are light, dark and printed as it is."""

from __future__ import annotations

import dataclasses
import datetime
import html
import math
import typing as t

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
"""Room for the axes' words around the plot, in the units of the drawing."""
DAY = 86400.0
COLOURS = 6
"""How many lines have colours of their own (``.c0`` to ``.c5`` of :data:`STYLE`)."""
STEPS = (900, 1800, 3600, 7200, 10800, 21600, 43200, DAY, 2 * DAY, 5 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY, 180 * DAY, 365 * DAY)
"""Seconds between two words of an axis of time."""

STYLE = """
:root{--c0:#2f7f93;--c1:#c2571a;--c2:#6b4fa3;--c3:#3d7d3a;--c4:#b03060;--c5:#7a6a1e}
@media(prefers-color-scheme:dark){:root{--c0:#4ea3b8;--c1:#f0965a;--c2:#b09be0;--c3:#7cc178;--c4:#ee87ab;--c5:#d3bf62}}
.chart{margin:4px 0 18px}.chart figcaption{font-size:.9375rem;font-weight:600;margin-bottom:6px}
.chart figcaption span{font-weight:400;color:var(--soft);margin-left:8px}
.chart svg{width:100%;height:auto;display:block;overflow:visible}
.chart text{font-size:12px;fill:var(--soft)}.chart .grid{stroke:var(--line);stroke-width:1}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}.chart .dashed{stroke-dasharray:6 5}
.chart .limit{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:2 4}.chart .limit-name{fill:var(--bad)}
.chart .now{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:.8125rem;color:var(--soft);padding-left:4px}
.legend svg{display:inline-block;width:22px;height:8px;margin-right:6px;vertical-align:middle}
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart: Unix times with values; ``dashed`` for what is expected rather than measured."""

    name: str
    points: t.Sequence[tuple[float, float]]
    dashed: bool = False
    colour: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart over time.

    Attributes:
        text: turns a value into words, for the axis.
        limit: a line across, with its name.
        now: a moment that is marked.
        gap: seconds without a point from which on a measured line is interrupted.
        scale: what the axis counts in round numbers of, such as the bytes of a GiB.
    """

    title: str
    note: str
    lines: t.Sequence[Line]
    text: t.Callable[[float], str]
    limit: tuple[float, str] | None = None
    now: float | None = None
    gap: float = math.inf
    scale: float = 1.0


def nice_ticks(highest: float, most: int = 5) -> list[float]:
    """Return round values from 0 to at least ``highest``."""
    if not highest > 0:
        return [0.0, 1.0]
    rough = highest / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [round(index * step, 12) for index in range(math.ceil(highest / step - 1e-9) + 1)]


def time_ticks(start: float, end: float, most: int = 8) -> list[tuple[float, str]]:
    """Return moments between two Unix times with their words: days of UTC, or hours where there are few days."""
    step = next((step for step in STEPS if (end - start) / step <= most), STEPS[-1])
    moments = [index * step for index in range(math.ceil(start / step), math.floor(end / step) + 1)]
    days = "%-d %b" if end - start < 300 * DAY else "%b %Y"
    hours = end - start <= DAY

    def word(moment: float) -> str:
        pattern = "%H:%M" if hours or moment % DAY else days
        return f"{datetime.datetime.fromtimestamp(moment, datetime.timezone.utc):{pattern}}"

    return [(moment, word(moment)) for moment in moments]


def draw(chart: Chart) -> str:
    """Return a figure; nothing to draw is said in it."""
    caption = f"<figcaption>{html.escape(chart.title)}<span>{html.escape(chart.note)}</span></figcaption>"
    points = [point for line in chart.lines for point in line.points]
    if len(points) < 2:
        return f"<figure class=chart>{caption}<p class=evidence>There are not enough points for a chart.</p></figure>"
    start, end = min(at for at, _value in points), max(at for at, _value in points)
    highest = max([value for _at, value in points] + ([chart.limit[0]] if chart.limit else []))
    ticks = [tick * chart.scale for tick in nice_ticks(highest / chart.scale)]
    top = max(ticks[-1], highest)

    def place(at: float, value: float) -> tuple[float, float]:
        x = LEFT + (at - start) / ((end - start) or 1) * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(TOP + (1 - max(value, 0.0) / top) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_axes(chart, ticks, time_ticks(start, end), place)]
    parts += [_path(line, place, chart.gap) for line in chart.lines]
    if chart.limit:
        parts.append(_limit(chart.limit, place(start, chart.limit[0])[1]))
    if chart.now is not None and start < chart.now < end:
        x = place(chart.now, 0)[0]
        parts.append(f'<line class=now x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/><text x="{x + 4}" y="{TOP + 10}">now</text>')
    label = html.escape(f"{chart.title}. {chart.note}", quote=True)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{label}">{"".join(parts)}</svg>'
    return f"<figure class=chart>{caption}{svg}{_legend(chart.lines)}</figure>"


Place = t.Callable[[float, float], tuple[float, float]]


def _axes(chart: Chart, ticks: t.Sequence[float], moments: t.Sequence[tuple[float, str]], place: Place) -> str:
    rows = []
    for tick in ticks:
        y = place(0, tick)[1]
        rows.append(f'<line class=grid x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        rows.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor=end>{html.escape(chart.text(tick))}</text>')
    for moment, word in moments:
        rows.append(f'<text x="{place(moment, 0)[0]}" y="{HEIGHT - 8}" text-anchor=middle>{word}</text>')
    return "".join(rows)


def _path(line: Line, place: Place, gap: float) -> str:
    steps, before = [], -math.inf
    for at, value in line.points:
        x, y = place(at, value)
        steps.append(f"{'L' if line.dashed or at - before <= gap else 'M'}{x} {y}" if steps else f"M{x} {y}")
        before = at
    return f'<path class="line c{line.colour % COLOURS}{" dashed" if line.dashed else ""}" d="{"".join(steps)}"/>'


def _limit(limit: tuple[float, str], y: float) -> str:
    words = f'<text class=limit-name x="{WIDTH - RIGHT}" y="{y - 5 if y > TOP + 14 else y + 14}" text-anchor=end>{html.escape(limit[1])}</text>'
    return f'<line class=limit x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>{words}'


def _legend(lines: t.Sequence[Line]) -> str:
    """Return what the lines are, where there is more than one."""
    if len(lines) < 2:
        return ""
    entries = [
        f'<span><svg viewBox="0 0 22 8" aria-hidden=true><path class="line c{line.colour % COLOURS}{" dashed" if line.dashed else ""}" d="M0 4H22"/></svg>'
        f"{html.escape(line.name)}</span>"
        for line in lines
    ]
    return f"<div class=legend>{''.join(entries)}</div>"
