# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a recovery: that of any run, with what failed, what was lost, and the figures of the runs before it as a picture."""

from __future__ import annotations

import html
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _report
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.record import Record

HEIGHT = 120
"""Of a picture, in pixels: the bars stand on a line 20 above its lower edge, which leaves room for the days."""
GROUND = HEIGHT - 20
_HIDDEN = ("operation", "level", "name", "success", "problems", "lost")


def render(record: Record, history: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the page.

    Args:
        record: the run.
        history: the lines of the runs so far, oldest first, this one among them.
    """
    report = {key: part for key, part in record.report().items() if key not in _HIDDEN}
    return _report.render_html(report, [_problems(record), _lost(record), trend(record, history)])


def _escape(text: object) -> str:
    return html.escape(str(text))


def _listed(title: str, sentences: t.Iterable[str], status: str, mark: str) -> str:
    rows = "".join(f'<li class="{status}"><span class=mark>{mark}</span><div><p>{_escape(sentence)}</p></div></li>' for sentence in sentences)
    return f"<section><h2>{title}</h2><ul class=checks>{rows}</ul></section>"


def _problems(record: Record) -> str:
    """Say why a run is no success; nothing where it is one."""
    return _listed("Why it failed", record.problems, _report.FAILED, "✕") if record.problems else ""


def _lost(record: Record) -> str:
    """Say what was lost; that nobody looked is said too."""
    if record.lost is None:
        return _listed("What was lost", ["It was not established whether anything was lost."], _report.SKIPPED, "–")
    if not record.lost:
        return _listed("What was lost", ["Nothing."], _report.OK, "✓")
    return _listed("What was lost", record.lost, _report.FAILED, "✕")


def trend(record: Record, history: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the figures with a target, of all runs of the same operation and level, one picture each; nothing before there are two runs."""
    alike = [line for line in history if (line.get("operation"), line.get("level")) == (record.operation, record.level)]
    if len(alike) < 2:
        return ""
    pictures = "".join(_picture(key, record.targets[key], alike) for key in record.targets)
    succeeded = sum(line["success"] for line in alike)
    words = f"{succeeded} of the last {len(alike)} runs succeeded; those that did not have a cross. A bar is red where the figure was above its target."
    grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:20px 40px;margin-top:20px"
    return f'<section><h2>Runs so far</h2><p class=facts>{words}</p><div style="{grid}">{pictures}</div></section>'


def _picture(key: str, limit: float, lines: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return a figure's bars and its target. Across it is drawn in percent, so that text keeps its size on a narrow screen."""
    figures = [line["measured"].get(key) for line in lines]
    most = max([limit, *(figure for figure in figures if _report.is_number(figure))]) * 1.3 or 1
    step = 100 / max(len(lines), 12)
    bars = "".join(_bar(key, line, figure, most, (position * step, step)) for position, (line, figure) in enumerate(zip(lines, figures)))
    height = GROUND - limit / most * GROUND
    target = (
        f'<line x1="0" x2="100%" y1="{height:.1f}" y2="{height:.1f}" stroke="var(--ink)" stroke-dasharray="5 4"/>'
        f'<text x="100%" y="{height - 5:.1f}" text-anchor="end" fill="var(--soft)">target {_escape(_report.value_text(key, limit))}</text>'
    )
    days = f'<text x="0" y="{HEIGHT - 3}" fill="var(--soft)">{_escape(lines[0]["finished"][:10])}</text>'
    end = min(len(lines) * step, 100)
    if len(lines) > 3:
        days += f'<text x="{end:.2f}%" y="{HEIGHT - 3}" text-anchor="end" fill="var(--soft)">{_escape(lines[-1]["finished"][:10])}</text>'
    ground = f'<line x1="0" x2="100%" y1="{GROUND}" y2="{GROUND}" stroke="var(--line)"/>'
    name = _escape(_report.label(key))
    picture = f'<svg role="img" aria-label="{name}" width="100%" height="{HEIGHT}" font-size="12">{ground}{bars}{target}{days}</svg>'
    return f"<div><h3 style=margin:0>{name}</h3>{picture}</div>"


def _bar(key: str, line: t.Mapping[str, t.Any], figure: t.Any, most: float, place: tuple[float, float]) -> str:
    """Return a run's bar, or its cross; ``place`` is where it begins and how wide it may be, in percent."""
    left, width = place[0] + place[1] * 0.15, place[1] * 0.7
    measured = _report.is_number(figure)
    height = max(2.0, figure / most * GROUND) if measured else 0.0
    tip = f"{line['finished'][:16].replace('T', ' ')} UTC: {_report.value_text(key, figure) if measured else 'not measured'}"
    title = f"<title>{_escape(tip)}{'' if line['success'] else ', failed'}</title>"
    above = measured and figure > line.get("targets", {}).get(key, figure)
    colour = "var(--bad)" if above else "var(--good)"
    column = f'<rect x="{left:.2f}%" y="{GROUND - height:.1f}" width="{width:.2f}%" height="{height:.1f}" rx="2" fill="{colour}">{title}</rect>'
    if line["success"]:
        return column
    return f'{column}<text x="{left + width / 2:.2f}%" y="{GROUND - height - 4:.1f}" text-anchor="middle" fill="var(--bad)" font-size="13">{title}✕</text>'
