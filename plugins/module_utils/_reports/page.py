# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a page that the reports are made of; the frame and most of its style are those of the run report."""

from __future__ import annotations

import dataclasses
import html
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _report
from ansible_collections.mainstay.ops.plugins.module_utils._reports import charts

GOOD, WAIT, BAD, QUIET = "good", "wait", "bad", "quiet"
"""What a colour says: it is well; look at it; act; it is only to be known."""
VERDICTS = {GOOD: "ok", WAIT: "running", BAD: "failed"}
MARKS = {GOOD: "✓", WAIT: "!", BAD: "✕"}

STYLE = """
.wide{overflow-x:auto;margin:0 -8px}
table{border-collapse:collapse;width:100%;font-size:.9375rem}
th{font-weight:600;color:var(--soft);text-align:left;font-size:.8125rem}
th,td{padding:7px 8px;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border-bottom:0}
td{overflow-wrap:anywhere}td.number,th.number{text-align:right;white-space:nowrap;overflow-wrap:normal}
.badge{display:inline-block;padding:0 9px;border-radius:99px;font-size:.8125rem;font-weight:600;line-height:1.6;white-space:nowrap;
color:var(--soft);background:var(--line)}
.badge.good{color:var(--good);background:var(--good-soft)}.badge.bad{color:var(--bad);background:var(--bad-soft)}
.badge.wait{color:var(--wait);background:var(--wait-soft)}
.tile.wait dd:not(.note){color:var(--wait)}.tile dd.small{font-size:1.5rem;line-height:1.77}
.evidence{color:var(--soft);font-size:.9375rem}.note-line{color:var(--soft);font-size:.875rem;margin:-10px 0 14px}
.findings li{display:grid;grid-template-columns:6.2em 1fr;gap:4px 14px;padding:12px 0;border-top:1px solid var(--line)}
.findings li:first-child{border-top:0;padding-top:0}.findings p{overflow-wrap:anywhere}
.findings .evidence{grid-column:2}.findings .badge{justify-self:start;align-self:start;margin-top:1px}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.plain{list-style:disc;padding-left:1.2em;font-size:.9375rem}.plain li{padding:2px 0}
@media print{.wide{overflow:visible}}
"""


@dataclasses.dataclass(frozen=True)
class Markup:
    """Text that is HTML already."""

    text: str


Cell = t.Union[str, Markup]


@dataclasses.dataclass(frozen=True)
class Tile:
    """A headline figure; the tone is one of the colours, or none."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


def escaped(cell: Cell) -> str:
    """Return a cell as HTML."""
    return cell.text if isinstance(cell, Markup) else html.escape(str(cell))


def badge(tone: str, word: str) -> Markup:
    """Return a word on a colour."""
    return Markup(f'<span class="badge {tone}">{html.escape(word)}</span>')


def document(title: str, sections: t.Iterable[str]) -> str:
    """Return the page."""
    return _report.document(title, filter(None, sections), charts.STYLE + STYLE, "mainstay.ops report")


def header(title: str, tone: str, verdict: str, facts: t.Sequence[str], lead: str = "") -> str:
    """Return the head of a page.

    Args:
        tone: of the verdict.
        verdict: a few words.
        facts: what was looked at, and when.
        lead: one or two sentences.
    """
    said = " <i>·</i> ".join(html.escape(fact) for fact in facts)
    summary = f"<p class=lead>{html.escape(lead)}</p>" if lead else ""
    return (
        f'<header><p class="verdict {VERDICTS[tone]}"><span aria-hidden=true>{MARKS[tone]}</span> {html.escape(verdict)}</p>'
        f"<h1>{html.escape(title)}</h1><p class=facts>{said}</p>{summary}</header>"
    )


def tiles(entries: t.Sequence[Tile]) -> str:
    """Return the headline figures."""
    shown = []
    for tile in entries:
        size = ' class="small"' if len(tile.value) > 12 else ""
        shown.append(
            f'<div class="tile {tile.tone}"><dt>{html.escape(tile.name)}</dt><dd{size}>{html.escape(tile.value)}</dd>'
            f"<dd class=note>{html.escape(tile.note)}</dd></div>"
        )
    return f"<dl class=tiles>{''.join(shown)}</dl>" if shown else ""


def section(heading: str, *parts: str, note: str = "") -> str:
    """Return a section, nothing if it has no parts."""
    body = "".join(parts)
    said = f"<p class=note-line>{html.escape(note)}</p>" if note else ""
    return f"<section><h2>{html.escape(heading)}</h2>{said}{body}</section>" if body else ""


def table(columns: t.Sequence[str], rows: t.Sequence[t.Sequence[Cell]]) -> str:
    """Return a table, nothing without rows. A column whose name begins with ``#`` holds numbers."""
    if not rows:
        return ""
    kinds = [" class=number" if name.startswith("#") else "" for name in columns]
    head = "".join(f"<th{kind}>{html.escape(name.lstrip('#'))}</th>" for kind, name in zip(kinds, columns))
    body = "".join(f"<tr>{''.join(f'<td{kind}>{escaped(cell)}</td>' for kind, cell in zip(kinds, row))}</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def findings(entries: t.Iterable[tuple[Markup, Cell, str]]) -> str:
    """Return findings: the badge, what was found, and what is known and to be done about it."""
    rows = "".join(f"<li>{mark.text}<p>{escaped(what)}</p><p class=evidence>{html.escape(more)}</p></li>" for mark, what, more in entries)
    return f"<ul class=findings>{rows}</ul>" if rows else ""


def bullets(entries: t.Iterable[str]) -> str:
    """Return a list of sentences, nothing without one."""
    rows = "".join(f"<li>{html.escape(entry)}</li>" for entry in entries)
    return f"<ul class=plain>{rows}</ul>" if rows else ""


def details(summary: str, body: str) -> str:
    """Return what is opened by a click, with HTML in it."""
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>" if body else ""
