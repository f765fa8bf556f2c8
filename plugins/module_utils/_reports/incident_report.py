# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident report: Prometheus and the artefacts asked, and put together."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, moment
from ansible_collections.mainstay.ops.plugins.module_utils._reports import artefacts, incident
from ansible_collections.mainstay.ops.plugins.module_utils._reports.incident import ALERT, CHANGE, FAILOVER, NOTE, OUTAGE, Event, Window
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus, Series
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import iso, masked

LEADERS = {"PostgreSQL": "(patroni_primary or patroni_master) == 1", "Redis": 'redis_instance_info{job="redis", role="master"} == 1'}
STEP = 15.0
"""Seconds between two points: how often rules are evaluated by default."""
CHART_POINTS = 300
CHARTS = (
    {"title": "Alerts", "query": 'count(ALERTS{alertstate="firing"}) or vector(0)', "unit": ""},
    {"title": "Targets that do not answer", "query": "count(up == 0) or vector(0)", "unit": ""},
    {"title": "HTTP requests", "query": "sum(rate(nginx_http_requests_total[5m]))", "unit": "/s"},
)


def window_of(around: float, before: float, after: float, now: float) -> Window:
    """Return from when to when is looked.

    Args:
        around: Unix time; before and after: seconds; now: Unix time, after which there is nothing.

    Raises:
        InvalidInput: it is in the future, or too long.
    """
    if around > now:
        raise InvalidInput("report on an incident", "the time around which it was is in the future", "give it as ISO 8601, with its zone")
    start, end = around - before, min(around + after, now)
    if end - start < 60 or end - start > 14 * 86400:
        raise InvalidInput(
            f"report on {duration(max(end - start, 0))}", "that is less than a minute, or more than 14 days", "give other lengths in before and after"
        )
    return Window(start, end, max(STEP, (end - start) / 10000))


def make(server: Prometheus | None, params: t.Mapping[str, t.Any], window: Window, around: float) -> dict[str, t.Any]:
    """Return the report.

    Args:
        server: whom to ask; None if nobody is to be asked.
        params: the module's options.
        window: from when to when.
        around: the time that was asked about.

    Raises:
        MainstayError: Prometheus does not answer, or an event cannot be read.
    """
    gaps: list[str] = []
    events = [_given(entry) for entry in params["events"]]
    charts: list[dict[str, t.Any]] = []
    if server:
        server.instant("vector(1)", window.end)
        events += _from_prometheus(server, window, gaps)
        charts = _charts(server, params["charts"] or list(CHARTS), window, gaps)
    else:
        gaps.append("no Prometheus was given, so that alerts, outages and failovers are not known")
    reports, unread = artefacts.read(params["artefacts"])
    gaps += [f"a report of a run could not be read: {reason}" for reason in unread]
    events += [event for name, report in reports if (event := incident.run_event(report, name))]
    whole = incident.ordered(events, window)
    return _report(whole, incident.course(whole, around), {"charts": charts, "gaps": gaps, "around": around, "title": params["title"]}, window)


def _from_prometheus(server: Prometheus, window: Window, gaps: list[str]) -> list[Event]:
    events = incident.alerts(_series(server, 'ALERTS{alertstate="firing"}', window, gaps), window)
    events += incident.outages(_series(server, "up == 0", window, gaps), window)
    events += incident.reboots(_series(server, "node_boot_time_seconds", window, gaps), window)
    for what, query in LEADERS.items():
        events += incident.failovers(what, _series(server, query, window, gaps), window)
    if not server.range("up", window.start, window.end, window.step):
        gaps.append("Prometheus has nothing of that time; it keeps 15 days unless it is told otherwise")
    return events


def _series(server: Prometheus, query: str, window: Window, gaps: list[str]) -> list[Series]:
    try:
        return server.range(query, window.start, window.end, window.step)
    except MainstayError as error:
        gaps.append(str(error))
        return []


def _charts(server: Prometheus, wanted: t.Iterable[t.Mapping[str, t.Any]], window: Window, gaps: list[str]) -> list[dict[str, t.Any]]:
    step = max((window.end - window.start) / CHART_POINTS, STEP)
    found = []
    for chart in wanted:
        series = _series(server, chart["query"], Window(window.start, window.end, step), gaps)
        if not series:
            gaps.append(f"there is no data for the chart {chart['title']}: {chart['query']}")
            continue
        lines = [{"name": ", ".join(value for name, value in sorted(each.labels.items()) if name != "__name__") or chart["title"], "points": each.points}
                 for each in series[:6]]
        found.append({"title": chart["title"], "unit": chart["unit"] or "", "step": step, "lines": lines, "left_out": len(series[6:])})
    return found


def _given(entry: t.Mapping[str, t.Any]) -> Event:
    at, until = moment(entry["time"]), moment(entry["until"]) if entry["until"] else None
    if at is None or (entry["until"] and until is None):
        raise InvalidInput(f"read the event {entry['what']!r}", "its time is none", "write it as 2026-11-28T07:30:00+00:00")
    return Event(at.timestamp(), entry["kind"] or NOTE, entry["what"], (until or at).timestamp(), "", "given")


def _report(events: list[Event], whole: incident.Course, parts: dict[str, t.Any], window: Window) -> dict[str, t.Any]:
    kinds = {kind: sum(1 for event in events if event.kind == kind) for kind in (ALERT, OUTAGE, FAILOVER, CHANGE, NOTE)}
    report = {
        "title": parts["title"] or f"Incident of {iso(parts['around'])[:16].replace('T', ' ')} UTC",
        "started": iso(window.start),
        "finished": iso(window.end),
        "around": iso(parts["around"]),
        "began": iso(whole.began) if whole.began is not None else None,
        "ended": iso(whole.ended) if whole.ended is not None else None,
        "duration_seconds": whole.seconds,
        "events_by_kind": kinds,
        "timeline": [_event(event) for event in events],
        "suspects": [_event(event) for event in whole.suspects],
        "charts": parts["charts"],
        "gaps": parts["gaps"],
    }
    report["summary"] = _summary(report)
    # Reports of runs tell failures in the words of programs.
    return t.cast("dict[str, t.Any]", masked(report | {"lines": _lines(report)}))


def _event(event: Event) -> dict[str, t.Any]:
    return {
        "at": iso(event.at), "until": None if event.until is None else iso(event.until), "seconds": event.seconds, "kind": event.kind, "what": event.what,
        "severity": event.severity, "source": event.source,
    }


def _summary(report: t.Mapping[str, t.Any]) -> str:
    kinds = report["events_by_kind"]
    told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items() if count)
    if report["began"] is None:
        said = "No alert was firing and every target answered in that time, as far as is known."
    elif report["ended"] is None:
        said = f"It began at {report['began'][11:19]} UTC, and had not ended at {report['finished'][11:19]}."
    else:
        said = f"It began at {report['began'][11:19]} UTC and lasted {duration(report['duration_seconds'])}."
    if report["suspects"]:
        said += f" The last change before it: {report['suspects'][0]['what']}."
    return f"{said} {told[:1].upper()}{told[1:]}." if told else said


def _lines(report: t.Mapping[str, t.Any]) -> list[str]:
    lines = []
    for event in report["timeline"]:
        took = " until the end" if event["seconds"] is None else f" for {duration(event['seconds'])}" if event["seconds"] else ""
        lines.append(f"{event['at'][:19]}Z  {event['kind']:9}{event['what']}{took}")
    return [*lines, *(f"not known: {gap}" for gap in report["gaps"]), report["summary"]]
