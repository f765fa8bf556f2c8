# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened around a time: events from series of Prometheus and from the reports that runs leave behind, put into one order."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, moment
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Series

ALERT, CHANGE, FAILOVER, OUTAGE, NOTE = "alert", "change", "failover", "outage", "note"
SUSPECT_SECONDS = 3600.0
"""A change so long before the first alert is one to look at."""
Fact = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that began at a Unix time, and ended at another one: None if it had not when the window ended, the same for what took no time."""

    at: float
    kind: str
    what: str
    until: float | None = None
    severity: str = ""
    source: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.until is None else self.until - self.at


@dataclasses.dataclass(frozen=True)
class Window:
    """From when to when is looked, as Unix times, and how fine."""

    start: float
    end: float
    step: float

    def holds(self, at: float, until: float | None) -> bool:
        """Tell whether something was going on in it."""
        return at <= self.end and (until is None or until >= self.start)


def spans(series: Series, window: Window) -> list[tuple[float, float | None]]:
    """Return when a series that is there only while something lasts was there; None for an end that is not in the window."""
    found: list[list[float]] = []
    for at, _value in series.points:
        if found and at - found[-1][1] <= 1.5 * window.step:
            found[-1][1] = at
        else:
            found.append([at, at])
    # At the point after its last one it was seen to be over.
    return [(first, None if last + 1.5 * window.step > window.end else last + window.step) for first, last in found]


def alerts(found: t.Iterable[Series], window: Window) -> list[Event]:
    """Return the alerts that were firing, from series of ``ALERTS``."""
    events = []
    for series in found:
        labels = series.labels
        where = labels.get("instance") or ", ".join(f"{name} {value}" for name, value in sorted(labels.items()) if name not in HIDDEN)
        name = labels.get("alertname", "an alert")
        for at, until in spans(series, window):
            events.append(Event(at, ALERT, f"{name}{f' on {where}' if where else ''}", until, labels.get("severity", ""), "Prometheus"))
    return events


HIDDEN = frozenset({"__name__", "alertname", "alertstate", "severity", "instance"})


def outages(found: t.Iterable[Series], window: Window) -> list[Event]:
    """Return the targets that did not answer, from series of ``up == 0``."""
    return [
        Event(at, OUTAGE, f"{series.labels.get('job', '?')} on {series.labels.get('instance', '?')} did not answer Prometheus", until, "", "Prometheus")
        for series in found
        for at, until in spans(series, window)
    ]


def failovers(what: str, found: t.Iterable[Series], window: Window) -> list[Event]:
    """Return when the lead changed.

    Args:
        what: which service, such as ``PostgreSQL``.
        found: for each member a series that is there while it leads, by the label ``instance``.
        window: what was read.
    """
    holders = sorted((at, until, series.labels.get("instance", "?")) for series in found for at, until in _ended(spans(series, window), window))
    events = []
    for (_since, until, old), (at, _until, new) in zip(holders, holders[1:]):
        gap = at - until
        if old != new:
            words = f", for {duration(gap)} there was none" if gap > window.step else ", for a while there were two" if gap < 0 else ""
            events.append(Event(at, FAILOVER, f"{what}: {new} took the lead from {old}{words}", at, "", "Prometheus"))
        else:
            events.append(Event(at, FAILOVER, f"{what}: {new} had lost the lead for {duration(gap)}, and has it again", at, "", "Prometheus"))
    return events


def _ended(found: t.Iterable[tuple[float, float | None]], window: Window) -> list[tuple[float, float]]:
    return [(at, window.end if until is None else until) for at, until in found]


def reboots(found: t.Iterable[Series], window: Window) -> list[Event]:
    """Return when hosts were started, from series of ``node_boot_time_seconds``."""
    booted = {(value, series.labels.get("instance", "?")) for series in found for _at, value in series.points if window.start <= value <= window.end}
    return [Event(at, CHANGE, f"{instance} was started", at, "", "Prometheus") for at, instance in sorted(booted)]


def run_event(report: Fact, name: str) -> Event | None:
    """Return a run as an event, by the report that it left behind; None if that tells no time.

    Args:
        report: its JSON.
        name: what to call its file.
    """
    started, finished = moment(report.get("started")), moment(report.get("finished"))
    if started is None and finished is None:
        return None
    begin, end = started or finished, finished or started
    operation = str(report.get("operation") or report.get("title") or "a run")
    subject = " ".join(str(report[key]) for key in ("application", "release", "component", "state", "cluster") if isinstance(report.get(key), (str, int)))
    outcome = str(report.get("result") or report.get("status") or "")
    words = " ".join(filter(None, (operation, subject))) + (f", {outcome}" if outcome else "")
    if report.get("failure"):
        words += f": {str(report['failure'])[:200]}"
    if report.get("by"):
        words += f", by {report['by']}"
    return Event(t.cast(datetime.datetime, begin).timestamp(), CHANGE, words, t.cast(datetime.datetime, end).timestamp(), "", name)


def ordered(events: t.Iterable[Event], window: Window) -> list[Event]:
    """Return what was going on in the window, in the order in which it began."""
    return sorted({event for event in events if window.holds(event.at, event.until)}, key=lambda event: (event.at, event.kind, event.what))


@dataclasses.dataclass(frozen=True)
class Course:
    """What can be said of an incident as a whole; None where there is nothing to say it by.

    Attributes:
        began: when the first alert fired.
        ended: when the last one was over.
        suspects: changes and failovers in the hour before the first alert, the last one first. That it came before is no proof.
    """

    began: float | None
    ended: float | None
    suspects: tuple[Event, ...]

    @property
    def seconds(self) -> float | None:
        """How long alerts were firing, from the first to the last."""
        return None if self.began is None or self.ended is None else self.ended - self.began


def course(events: t.Sequence[Event], around: float) -> Course:
    """Return the course of the incident.

    Args:
        events: in order.
        around: the time that was asked about, before which changes are looked for if there was no alert.
    """
    firing = [event for event in events if event.kind in (ALERT, OUTAGE)]
    began = min((event.at for event in firing), default=None)
    over = [event.until for event in firing]
    ended = None if not over or None in over else max(t.cast(list[float], over))
    first = around if began is None else began
    suspects = [event for event in events if event.kind in (CHANGE, FAILOVER) and first - SUSPECT_SECONDS <= event.at <= first]
    return Course(began, ended, tuple(reversed(suspects)))
