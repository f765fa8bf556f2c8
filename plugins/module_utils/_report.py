# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: its JSON form, and one page that a person can read.

A report is a dictionary. Known keys have a meaning (all but ``title`` may be missing); every other key is a figure that the run measured:

========== ===================================================================================================================
title      what was done
summary    one or two sentences for the reader
started    when it began: ISO 8601 with offset, or a Unix time
finished   when it ended
status     ``ok`` or ``failed``; when missing, it follows from the phases, the checks and the targets
phases     list of ``name``, ``start`` (seconds after the beginning), ``seconds``, ``status`` (ok, failed, running, skipped)
events     list of ``name``, ``at`` (seconds after the beginning): moments marked in the timeline
checks     list of ``name``, ``status`` (ok, failed, skipped), ``evidence``
targets    for figures: what they must not exceed, for example ``{"rto_seconds": 300}``
========== ===================================================================================================================

A figure's unit is in its name: ``_seconds``, ``_bytes``, ``_percent``. Figures that are dictionaries or lists are shown as details.
"""

from __future__ import annotations

import dataclasses
import datetime
import html
import json
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

OK, FAILED, RUNNING, SKIPPED = "ok", "failed", "running", "skipped"


@dataclasses.dataclass(frozen=True)
class Phase:
    """A step of the run; ``start`` and ``seconds`` are in seconds, ``start`` from the beginning of the run."""

    name: str
    start: float
    seconds: float
    status: str = OK


@dataclasses.dataclass(frozen=True)
class Event:
    """A moment, ``at`` seconds after the beginning of the run."""

    name: str
    at: float


@dataclasses.dataclass(frozen=True)
class Check:
    """Something the run promises, whether it held, and what was seen."""

    name: str
    status: str
    evidence: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run leaves behind; see the module's text for the keys of its JSON form."""

    title: str
    summary: str = ""
    started: str | float | None = None
    finished: str | float | None = None
    status: str | None = None
    phases: tuple[Phase, ...] = ()
    events: tuple[Event, ...] = ()
    checks: tuple[Check, ...] = ()
    targets: dict[str, float] = dataclasses.field(default_factory=dict)
    figures: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``failed`` if anything did, ``running`` if a phase has not ended, else the stated status or ``ok``."""
        parts = [self.status, *(phase.status for phase in self.phases), *(check.status for check in self.checks)]
        if FAILED in parts or any(self.met(key) is False for key in self.targets):
            return FAILED
        return RUNNING if RUNNING in parts else OK

    @property
    def length(self) -> float:
        """Seconds from the beginning to the end: of the last phase, or by the clock if that is later."""
        ends = [phase.start + phase.seconds for phase in self.phases] + [event.at for event in self.events]
        started, finished = moment(self.started), moment(self.finished)
        if started and finished:
            ends.append((finished - started).total_seconds())
        return max(ends, default=0.0)

    def met(self, key: str) -> bool | None:
        """Tell whether a figure is within its target; None when the run did not measure it."""
        measured = self.figures.get(key)
        return measured <= self.targets[key] if is_number(measured) else None

    def to_dict(self) -> dict[str, t.Any]:
        """Return the JSON form, with the figures at the top level."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "figures"}
        parts = {key: [dataclasses.asdict(part) for part in known.pop(key)] for key in ("phases", "events", "checks")}
        return {**{key: value for key, value in known.items() if value not in (None, "", {})}, **self.figures, **parts}

    @classmethod
    def from_dict(cls, report: t.Mapping[str, t.Any]) -> Report:
        """Read the JSON form.

        Raises:
            InvalidInput: a known key has the wrong shape.
        """
        known = {field.name for field in dataclasses.fields(cls)} - {"figures"}
        plain = {key: report[key] for key in known - {"phases", "events", "checks"} if report.get(key) is not None}
        if not isinstance(plain.get("title"), str):
            raise InvalidInput("read the report", "it has no title", "give it one")
        targets = plain.get("targets", {})
        if not isinstance(targets, dict) or not all(is_number(limit) for limit in targets.values()):
            raise InvalidInput("read the report", "targets is not a dictionary of numbers", "write for example {rto_seconds: 300}")
        return cls(
            **plain,
            phases=tuple(_parts(Phase, report, "phases")),
            events=tuple(_parts(Event, report, "events")),
            checks=tuple(_parts(Check, report, "checks")),
            figures={key: value for key, value in report.items() if key not in known},
        )


Part = t.TypeVar("Part", Phase, Event, Check)


def _parts(kind: type[Part], report: t.Mapping[str, t.Any], key: str) -> t.Iterator[Part]:
    names = [field.name for field in dataclasses.fields(kind)]
    entries = report.get(key) or []
    if not isinstance(entries, (list, tuple)):
        raise InvalidInput("read the report", f"{key} is not a list", f"make it a list of dictionaries with {', '.join(names)}")
    for position, entry in enumerate(entries, 1):
        try:
            part = kind(**{name: entry[name] for name in names if name in entry})
        except TypeError as exc:
            raise InvalidInput("read the report", f"entry {position} of {key} is not complete", f"give it {', '.join(names)}") from exc
        if not all(is_number(getattr(part, name)) for name in names if name in ("start", "seconds", "at")):
            raise InvalidInput("read the report", f"entry {position} of {key} has a time that is not a number", "give it in seconds")
        yield part


# How values read.


def is_number(value: t.Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def moment(value: t.Any) -> datetime.datetime | None:
    """Return a point in time in UTC from ISO 8601 text or a Unix time, None if it is neither."""
    if is_number(value):
        return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    try:
        parsed = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return parsed.replace(tzinfo=parsed.tzinfo or datetime.timezone.utc).astimezone(datetime.timezone.utc)


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``82 ms``, ``42.1 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 119.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def size(count: float) -> str:
    """Return a number of bytes in decimal units: ``812 B``, ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def value_text(key: str, value: t.Any) -> str:
    """Return a figure with the unit that its name ends with."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return ", ".join(str(part) for part in value) if isinstance(value, (list, tuple)) else str(value)
    if key.endswith("_seconds"):
        return duration(value)
    if key.endswith("_bytes"):
        return size(value)
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{text} %" if key.endswith("_percent") else text


_LABELS = {
    "requests_sent": "Requests sent",
    "requests_failed": "Requests failed",
    "requests_failed_by_kind": "Failed requests by kind",
    "rows_acknowledged": "Rows acknowledged",
    "rows_found": "Rows found again",
    "rows_lost": "Rows lost",
    "rows_after_backup": "Rows written after the backup",
    "site_seconds": "Site from bare hosts",
    "noop_seconds": "Site again",
    "noop_changed": "Changes when run again",
    "ssh_executions_per_host": "SSH executions per host, at most",
    "ssh_executions": "SSH executions when nothing changes",
    "rto_seconds": "Recovery time",
    "rpo_seconds": "Recovery point",
    "backup_bytes": "Backup",
    "backup_seconds": "Backup taken in",
    "restore_seconds": "Restore",
}
_ABBREVIATIONS = {"ssh": "SSH", "rto": "RTO", "rpo": "RPO", "dns": "DNS", "tls": "TLS", "http": "HTTP", "wal": "WAL", "lsn": "LSN", "s3": "S3", "id": "ID"}


def label(key: str) -> str:
    """Return what a figure is called on the page."""
    if key in _LABELS:
        return _LABELS[key]
    for unit in ("_seconds", "_bytes", "_percent"):
        key = key.removesuffix(unit)
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in key.split("_"))
    return words[:1].upper() + words[1:]


# The page.


@dataclasses.dataclass(frozen=True)
class _Tile:
    """A headline figure: shown when ``key`` was measured; the note is filled from the other figures, and left out when one is missing."""

    key: str
    name: str
    note: str = ""
    good_at_zero: bool = False


_TILES = (
    _Tile("rto_seconds", "Recovery time"),
    _Tile("rpo_seconds", "Recovery point"),
    _Tile("rows_lost", "Rows lost", "{rows_found} of {rows_acknowledged} acknowledged rows found", good_at_zero=True),
    _Tile("requests_failed", "Requests failed", "of {requests_sent} sent", good_at_zero=True),
    _Tile("restore_seconds", "Restore"),
    _Tile("backup_seconds", "Backup", "{backup_bytes}"),
    _Tile("site_seconds", "Site from bare hosts"),
    _Tile("noop_seconds", "Site again", "{noop_changed} changes, at most {ssh_executions_per_host} SSH executions per host"),
)

_WORDS = {OK: "Everything held", FAILED: "Something failed", RUNNING: "Not finished"}
_MARKS = {OK: "✓", FAILED: "✕", RUNNING: "…", SKIPPED: "–"}


def render_html(report: t.Mapping[str, t.Any], more: t.Sequence[str] = ()) -> str:
    """Return one page for a report's JSON form: no script, nothing loaded from elsewhere, light or dark as the reader's system is.

    Args:
        report: the JSON form.
        more: further sections as HTML, which come before the figures; whoever makes them escapes what they show.

    Raises:
        InvalidInput: the report has no title, or a known key of another shape.
    """
    parsed = Report.from_dict(report)
    sections = [_header(parsed), _tiles(parsed), _targets(parsed), _timeline(parsed), _checks(parsed), *more, _figures(parsed), _details(parsed)]
    return document(parsed.title, filter(None, sections))


def document(title: str, sections: t.Iterable[str], style: str = "", footer: str = "mainstay.ops run report") -> str:
    """Return a whole page.

    Args:
        title: what stands in the window's title, as plain text.
        sections: the page's parts, as HTML.
        style: rules of CSS beside those of every report.
        footer: the last line, as plain text.
    """
    return _PAGE.format(title=_escape(title), style=_STYLE + style, body="\n".join(sections), footer=_escape(footer))


def _escape(value: object) -> str:
    return html.escape(str(value))


def _status(status: str) -> str:
    return status if status in _MARKS else SKIPPED


def _header(report: Report) -> str:
    started, finished = moment(report.started), moment(report.finished)
    facts = []
    if started:
        facts.append(f"<time>{started:%-d %B %Y, %H:%M:%S}</time> UTC")
    elif report.started:
        facts.append(_escape(report.started))
    if report.length:
        facts.append(f"{_escape(duration(report.length))} in all")
    if finished and not started:
        facts.append(f"ended <time>{finished:%-d %B %Y, %H:%M:%S}</time> UTC")
    if report.phases:
        facts.append(f"{len(report.phases)} phases")
    summary = f"<p class=lead>{_escape(report.summary)}</p>" if report.summary else ""
    return (
        f'<header><p class="verdict {report.verdict}"><span aria-hidden=true>{_MARKS[report.verdict]}</span> {_WORDS[report.verdict]}</p>'
        f"<h1>{_escape(report.title)}</h1><p class=facts>{' <i>·</i> '.join(facts)}</p>{summary}</header>"
    )


def _tiles(report: Report) -> str:
    tiles = []
    for tile in _TILES:
        value = report.figures.get(tile.key)
        if not is_number(value):
            continue
        texts = {key: value_text(key, figure) for key, figure in report.figures.items() if is_number(figure)}
        try:
            note = tile.note.format_map(texts)
        except KeyError:
            note = ""
        tone = ("good" if value == 0 else "bad") if tile.good_at_zero else ""
        # "3 min 20 s": each number is followed by its unit, set smaller.
        words = [_escape(word) for word in value_text(tile.key, value).split(" ")]
        text = "".join(f"&#8239;<small>{word}</small> " if position % 2 else word for position, word in enumerate(words))
        tiles.append(f'<div class="tile {tone}"><dt>{_escape(tile.name)}</dt><dd>{text}</dd><dd class=note>{_escape(note)}</dd></div>')
    return f"<dl class=tiles>{''.join(tiles)}</dl>" if tiles else ""


def _targets(report: Report) -> str:
    rows = []
    for key, limit in report.targets.items():
        met, measured = report.met(key), report.figures.get(key)
        status = SKIPPED if met is None else OK if met else FAILED
        scale = max(limit, measured if is_number(measured) else 0) * 1.15 or 1
        fill = f'<span class="fill {status}" style="width:{measured / scale:.2%}"></span>' if is_number(measured) else ""
        shown = value_text(key, measured) if is_number(measured) else "not measured"
        rows.append(
            f"<li><span class=what>{_escape(label(key))}</span>"
            f'<span class=track>{fill}<span class=limit style="left:{limit / scale:.2%}"></span></span>'
            f'<span class="result {status}"><b>{_escape(shown)}</b> target {_escape(value_text(key, limit))}</span></li>'
        )
    listed = "".join(rows)
    return f'<section><h2>Measured against targets</h2><ul class="bars targets">{listed}</ul></section>' if rows else ""


def ticks(length: float) -> list[float]:
    """Return the points of a time axis: at most eight steps of a round number of seconds, minutes or hours."""
    step = next((step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200) if length / step <= 8), 86400)
    return [float(index * step) for index in range(int(length / step) + 1)]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"


def _timeline(report: Report) -> str:
    if not report.phases:
        return ""
    length = report.length or 1.0
    axis = "".join(f'<span style="left:{tick / length:.3%}">{_clock(tick)}</span>' for tick in ticks(length) if tick < length * 0.97)
    grid = "".join(f'<i style="left:{tick / length:.3%}"></i>' for tick in ticks(length))
    marks = "".join(f'<i class=event style="left:{event.at / length:.3%}"></i>' for event in report.events)
    rows = [_phase_row(number, phase, length) for number, phase in enumerate(report.phases, 1)]
    legend = "".join(f"<li><span class=at>{_clock(event.at)}</span> {_escape(event.name)}</li>" for event in sorted(report.events, key=lambda event: event.at))
    events = f"<ul class=events>{legend}</ul>" if legend else ""
    return (
        f"<section><h2>Timeline</h2><div class=timeline><div class=grid aria-hidden=true>{grid}{marks}</div><ol>{''.join(rows)}</ol>"
        f"<div class=axis aria-hidden=true>{axis}</div></div>{events}</section>"
    )


def _phase_row(number: int, phase: Phase, length: float) -> str:
    status = _status(phase.status)
    left, width = phase.start / length, phase.seconds / length
    word = {OK: "", FAILED: "failed after "}.get(status, f"{_escape(phase.status)}, ")
    return (
        f'<li class="{status}"><span class=name><span class=number>{number}</span>{_escape(phase.name)}</span><span class=track>'
        f'<span class=bar style="left:{left:.3%};width:{width:.3%}"></span>'
        f'<span class="time" style="{_time_place(left, left + width)}">{word}{_escape(duration(phase.seconds))}</span></span></li>'
    )


def _time_place(left: float, right: float) -> str:
    """Return where a phase's time stands: after its bar; before it where there is no room; on it where there is none on either side."""
    if right <= 0.86:
        return f"left:calc({right:.3%} + 6px)"
    if left >= 0.14:
        return f"right:calc({1 - left:.3%} + 6px)"
    return f"right:calc({1 - right:.3%} + 4px);color:var(--on-bar);background:none"


def _checks(report: Report) -> str:
    rows = "".join(
        f'<li class="{_status(check.status)}"><span class=mark title="{_escape(check.status)}">{_MARKS[_status(check.status)]}</span>'
        f"<div><p>{_escape(check.name)}</p><p class=evidence>{_escape(check.evidence)}</p></div></li>"
        for check in report.checks
    )
    return f"<section><h2>What was checked</h2><ul class=checks>{rows}</ul></section>" if rows else ""


def _figures(report: Report) -> str:
    shown = {key: value for key, value in report.figures.items() if not isinstance(value, dict) and not _is_table(value) and value not in (None, "", [])}
    rows = "".join(f"<div><dt>{_escape(label(key))}</dt><dd>{_escape(value_text(key, value))}</dd></div>" for key, value in shown.items())
    return f"<section><h2>Figures</h2><dl class=figures>{rows}</dl></section>" if rows else ""


def _is_table(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(part, (dict, list, tuple)) for part in value)


def _details(report: Report) -> str:
    parts = []
    for key, value in report.figures.items():
        if isinstance(value, dict) and value and all(is_number(count) for count in value.values()):
            parts.append(_counts(key, value))
        elif (isinstance(value, dict) and value) or _is_table(value):
            text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
            parts.append(f"<details><summary>{_escape(label(key))}</summary><pre>{_escape(text)}</pre></details>")
    return f"<section><h2>Details</h2>{''.join(parts)}</section>" if parts else ""


def _counts(key: str, counts: dict[str, float]) -> str:
    most = max(counts.values()) or 1
    rows = "".join(
        f'<li><span class=what>{_escape(name)}</span><span class=track><span class=fill style="width:{max(0.0, count / most):.2%}"></span></span>'
        f"<span class=result><b>{_escape(value_text(_unit_key(key, name), count))}</b></span></li>"
        for name, count in counts.items()
    )
    return f"<h3>{_escape(label(key))}</h3><ul class=bars>{rows}</ul>"


def _unit_key(key: str, name: str) -> str:
    return name if name.endswith(("_seconds", "_bytes", "_percent")) else key


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
<footer>{footer}</footer>
</main>
</body>
</html>
"""

_STYLE = """
:root{color-scheme:light dark;--paper:#f6f5f1;--card:#fff;--ink:#1c2326;--soft:#5d686c;--line:#e2e0d8;--bar:#2f7f93;--on-bar:#fff;
--good:#1c7a4a;--good-soft:#e4f2e9;--bad:#b3271e;--bad-soft:#fbe7e4;--wait:#8a6a12;--wait-soft:#f8efd6;--quiet:#a8b0b2}
@media(prefers-color-scheme:dark){:root{--paper:#12171a;--card:#1a2124;--ink:#e6eaea;--soft:#98a5a8;--line:#2b3539;--bar:#4ea3b8;--on-bar:#0b1214;
--good:#62c48f;--good-soft:#163326;--bad:#f0857a;--bad-soft:#3d1c19;--wait:#dcb756;--wait-soft:#382d12;--quiet:#566165}}
*{box-sizing:border-box;margin:0}
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:56px 32px 72px}
ul,ol{list-style:none;padding:0}
header{margin-bottom:32px}
h1{font-size:clamp(1.75rem,4vw,2.5rem);line-height:1.15;letter-spacing:-.02em;font-weight:680;margin:14px 0 8px;text-wrap:balance}
h2{font-size:1.0625rem;font-weight:650;letter-spacing:-.005em;margin-bottom:16px}
h3{font-size:.9375rem;font-weight:600;margin:24px 0 10px}
h3:first-of-type{margin-top:0}
.facts{color:var(--soft)}.facts i{font-style:normal;padding:0 4px;opacity:.6}
.lead{max-width:68ch;margin-top:12px;font-size:1.0625rem}
.verdict{display:inline-block;padding:3px 14px 3px 11px;border-radius:99px;font-weight:600;font-size:.9375rem}
.verdict.ok{color:var(--good);background:var(--good-soft)}.verdict.failed{color:var(--bad);background:var(--bad-soft)}
.verdict.running{color:var(--wait);background:var(--wait-soft)}
section,.tiles{background:var(--card);border:1px solid var(--line);border-radius:14px;margin-top:20px}
section{padding:24px 28px 26px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));overflow:hidden}
.tile{padding:20px 28px 18px;box-shadow:1px 0 var(--line),0 1px var(--line)}
.tile dt{color:var(--soft);font-size:.9375rem}
.tile dd{font-size:2.125rem;line-height:1.25;font-weight:640;letter-spacing:-.025em;white-space:nowrap}
.tile dd small{font-size:1.0625rem;font-weight:500;letter-spacing:0;color:var(--soft)}
.tile dd.note{font-size:.875rem;line-height:1.4;font-weight:400;letter-spacing:0;color:var(--soft);white-space:normal;min-height:1.4em}
.tile.good dd:not(.note){color:var(--good)}.tile.bad dd:not(.note){color:var(--bad)}
.timeline{position:relative;--names:38%}
.timeline .grid{position:absolute;inset:0 0 26px var(--names)}
.timeline .grid i{position:absolute;top:0;bottom:0;border-left:1px solid var(--line)}
.timeline .grid i.event{border-left:1.5px dashed var(--wait)}
.timeline li{position:relative;display:flex;align-items:center;padding:5px 0}
.timeline .name{width:var(--names);flex:none;padding-right:20px;font-size:.9375rem;line-height:1.35;display:flex}
.timeline .number{color:var(--soft);width:2.1em;flex:none}
.timeline .track{position:relative;display:block;flex:1;height:24px}
.timeline .bar{position:absolute;top:4px;height:16px;min-width:4px;border-radius:4px;background:var(--bar)}
.timeline .time{position:absolute;top:0;line-height:24px;padding:0 3px;font-size:.8125rem;color:var(--soft);background:var(--card);white-space:nowrap}
.timeline .failed .bar{background:var(--bad)}.timeline .failed .time{color:var(--bad);font-weight:600}
.timeline .running .bar{background:repeating-linear-gradient(115deg,var(--wait) 0 5px,transparent 5px 9px)}
.timeline .running .time{color:var(--wait)!important;background:var(--card)!important}
.timeline .skipped .bar{background:var(--quiet)}
.axis{position:relative;height:26px;margin-left:var(--names);font-size:.75rem;color:var(--soft)}
.axis span{position:absolute;top:8px;transform:translateX(-50%)}.axis span:first-child{transform:none}
.events{margin:14px 0 0 0;font-size:.875rem;color:var(--soft)}.events .at{color:var(--wait);font-weight:600;display:inline-block;min-width:4em}
.checks li{display:flex;gap:14px;padding:11px 0;border-top:1px solid var(--line)}
.checks li:first-child{border-top:0;padding-top:0}.checks li:last-child{padding-bottom:0}
.checks .mark{flex:none;width:24px;height:24px;border-radius:50%;display:grid;place-items:center;
font-size:.8125rem;font-weight:700;color:var(--soft);background:var(--line)}
.checks .ok .mark{color:var(--good);background:var(--good-soft)}.checks .failed .mark{color:var(--bad);background:var(--bad-soft)}
.checks .evidence{color:var(--soft);font-size:.9375rem;overflow-wrap:anywhere}.checks .failed .evidence{color:var(--bad)}
.bars li{display:flex;align-items:center;gap:16px;padding:4px 0;font-size:.9375rem}
.bars .what{flex:0 0 10.5em;overflow-wrap:anywhere}
.bars .track{position:relative;flex:1;height:10px;border-radius:5px;background:var(--paper)}
.bars .fill{position:absolute;inset:0 auto 0 0;border-radius:5px;background:var(--bar);min-width:3px}
.bars .fill.ok{background:var(--good)}.bars .fill.failed{background:var(--bad)}
.bars .limit{position:absolute;top:-5px;bottom:-5px;border-left:2px solid var(--ink)}
.bars .result{flex:0 0 auto;min-width:4.5em;text-align:right;color:var(--soft)}.bars .result b{color:var(--ink);font-weight:600;margin-right:6px}
.bars.targets .result{flex-basis:15.5em}
.bars .result.ok b{color:var(--good)}.bars .result.failed b{color:var(--bad)}
.figures{columns:2 360px;column-gap:48px}
.figures div{display:flex;justify-content:space-between;gap:24px;padding:6px 0;border-bottom:1px solid var(--line);break-inside:avoid;font-size:.9375rem}
.figures dt{color:var(--soft);flex:none}.figures dd{font-weight:550;text-align:right;overflow-wrap:anywhere}
details{border-top:1px solid var(--line)}details:first-of-type{margin-top:16px}h2+details{border-top:0;margin-top:0!important}
summary{cursor:pointer;padding:10px 0;font-size:.9375rem;font-weight:600}
summary:focus-visible{outline:2px solid var(--bar);outline-offset:2px;border-radius:4px}
pre{font:.8125rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--paper);border-radius:8px;padding:14px 16px;
overflow-x:auto;margin-bottom:12px}
footer{margin-top:24px;color:var(--soft);font-size:.8125rem}
@media(max-width:720px){main{padding:32px 16px 48px}section{padding:20px}
.tile{padding:16px 20px}.tiles{grid-template-columns:1fr 1fr}.tile dd{font-size:1.625rem}
.timeline{--names:0%}.timeline li{display:block;padding:6px 0 2px}.timeline .name{width:auto}
.bars .what{flex-basis:7em}.bars.targets li{flex-wrap:wrap;gap:0 12px;padding:8px 0}
.bars.targets .what{flex:1}.bars.targets .result{flex:0 0 auto}.bars.targets .track{order:3;flex:0 0 100%}}
@media print{:root{color-scheme:light}body{background:#fff}section,.tiles{break-inside:avoid}main{padding:0;max-width:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
