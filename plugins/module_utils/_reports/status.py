# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status page for people without Grafana: what probes see now, what is firing, and how it was on each day before."""

from __future__ import annotations

import dataclasses
import datetime
import html
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import DEGRADED, HEALTHY, UNHEALTHY, Check, Outcome, Policy, overall
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import ARGUMENT_SPEC, plan_checks, plan_policy
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration
from ansible_collections.mainstay.ops.plugins.module_utils._reports import page
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import day
from ansible_collections.mainstay.ops.plugins.module_utils._reports.trend import DAY

FIRING = 'count by (alertname, severity) (ALERTS{alertstate="firing"})'
TONES = {HEALTHY: page.GOOD, DEGRADED: page.WAIT, UNHEALTHY: page.BAD}
WORDS = {HEALTHY: "works", DEGRADED: "slow", UNHEALTHY: "down"}
HEADLINES = {HEALTHY: "Everything works", DEGRADED: "Something is slow", UNHEALTHY: "Something is down"}
STYLE = """
.days{display:flex;gap:2px;height:30px;margin-top:4px}.days i{flex:1;border-radius:2px;background:var(--line)}
.days i.good{background:var(--good)}.days i.wait{background:var(--wait)}.days i.bad{background:var(--bad)}
.history{margin-bottom:18px}.history p{display:flex;justify-content:space-between;gap:16px;font-size:.9375rem}.history p span{color:var(--soft)}
"""
GOOD_SHARE, FAIR_SHARE = 0.9995, 0.99
"""Share of a day in which something worked from which on the day is green, and yellow."""


@dataclasses.dataclass(frozen=True)
class Day:
    """A day of a history: its date, and the share of it in which something worked; None if nobody knows."""

    date: str
    share: float | None


@dataclasses.dataclass(frozen=True)
class Status:
    """What is told.

    Attributes:
        at: Unix time.
        outcomes: of the probes.
        alerts: names of the firing alerts with their severities; None if nobody knows.
        histories: days by the name of what they are about.
        gaps: what could not be found out.
    """

    at: float
    outcomes: tuple[Outcome, ...]
    alerts: tuple[tuple[str, str], ...] | None
    histories: t.Mapping[str, tuple[Day, ...]]
    gaps: tuple[str, ...] = ()

    @property
    def overall(self) -> str:
        """The worst of the probes. Alerts wake somebody, and are no word on what users get."""
        return overall([outcome.status for outcome in self.outcomes], None)


def plan(checks: list[dict[str, t.Any]], retries: int, hide: t.Callable[[t.Iterable[str]], None]) -> tuple[list[Check], Policy]:
    """Return what to look at, and how often to try, from checks in the form of ``health_probe``.

    Args:
        checks: what to look at.
        retries: how often to try again what is unhealthy, after a second each.
        hide: is told the secrets among the options.

    Raises:
        InvalidInput: a check is of no use.
    """
    found = ArgumentSpecValidator(ARGUMENT_SPEC).validate({"checks": checks, "retries": retries})
    hide(found._no_log_values)  # pylint: disable=protected-access
    if found.error_messages:
        raise InvalidInput("read the checks", "; ".join(found.error_messages), "write them as for health_probe")
    options = found.validated_parameters
    return plan_checks(options["checks"]), plan_policy(options, len(options["checks"]))


def ask(server: Prometheus, histories: t.Sequence[t.Mapping[str, str]], days: int, at: float) -> tuple[t.Any, dict[str, tuple[Day, ...]], list[str]]:
    """Return what is firing, the histories, and what could not be found out: a page that says so is better than none.

    Args:
        server: whom to ask.
        histories: each with ``name`` and ``query``, which tells the share of the last day in which it worked.
        days: how many days.
        at: Unix time of the end.
    """
    gaps: list[str] = []
    alerts: tuple[tuple[str, str], ...] | None = None
    try:
        found = server.instant(FIRING, at)
        alerts = tuple(sorted((series.labels.get("alertname", "?"), series.labels.get("severity", "")) for series in found))
    except MainstayError as error:
        gaps.append(f"what is firing: {error.cause}")
    told = {}
    for history in histories:
        try:
            told[history["name"]] = _days(server, history["query"], days, at)
        except MainstayError as error:
            gaps.append(f"the history of {history['name']}: {error.cause}")
    return alerts, told, gaps


def _days(server: Prometheus, query: str, days: int, at: float) -> tuple[Day, ...]:
    """Return the share of each day, the oldest first; of several series the worst one counts."""
    end = (at // DAY) * DAY
    moments = [end - number * DAY for number in range(days - 1, -1, -1)] + [at]
    shares: dict[int, float] = {}
    for series in server.range(query, moments[0], end, DAY):
        for moment, share in series.points:
            number = round((moment - moments[0]) / DAY)
            shares[number] = min(share, shares.get(number, 1.0))
    # The point of a midnight tells of the day before.
    return tuple(Day(day(moment - DAY), shares.get(number)) for number, moment in enumerate(moments[:-1]))


def render(status: Status, title: str, notice: str, details: bool, refresh: int) -> str:
    """Return the page.

    Args:
        status: what is told.
        title: of the page.
        notice: what people want to say, such as a planned maintenance.
        details: whether to show what probes saw, and names of alerts. Leave them out where strangers read it.
        refresh: seconds after which a browser loads it again; 0 for never.
    """
    made = f"{datetime.datetime.fromtimestamp(status.at, datetime.timezone.utc):%-d %B %Y, %H:%M:%S} UTC"
    rows: list[list[page.Cell]] = [_row(outcome, details) for outcome in status.outcomes]
    columns = ["What", "Now", "#Answered in"] + (["Seen"] if details else [])
    whole = page.document(
        title,
        [
            page.header(
                title, TONES[status.overall], HEADLINES[status.overall], [f"as of {made}", "looked at again soon" if refresh else "a page of its time"], notice
            ),
            page.section("Services", page.table(columns, rows)),
            _alerts(status, details),
            page.section("Days before", *[_history(name, days) for name, days in status.histories.items()]),
            page.section("Not known", page.bullets(status.gaps)) if details else "",
        ],
    )
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    return whole.replace("</style>", f"{STYLE}</style>", 1).replace("<title>", f"{again}<title>", 1)


def _row(outcome: Outcome, details: bool) -> list[page.Cell]:
    took = duration(outcome.seconds) if outcome.seconds is not None and outcome.status != UNHEALTHY else "–"
    seen: list[page.Cell] = [outcome.detail] if details else []
    return [outcome.name, page.badge(TONES[outcome.status], WORDS[outcome.status]), took, *seen]


def _alerts(status: Status, details: bool) -> str:
    if status.alerts is None:
        return page.section("Alerts", "<p>It is not known whether alerts are firing.</p>")
    if not details:
        return ""
    rows: list[list[page.Cell]] = [
        [name, page.badge(page.BAD if severity == "critical" else page.WAIT, severity or "alert")] for name, severity in status.alerts
    ]
    return page.section("Alerts", page.table(["Alert", "Severity"], rows) or "<p>None is firing.</p>")


def _history(name: str, days: tuple[Day, ...]) -> str:
    """Return a bar for each day."""
    shares = [day.share for day in days if day.share is not None]
    mean = f"{100 * sum(shares) / len(shares):.2f} % of {len(shares)} days" if shares else "not known"
    bars = "".join(f'<i class={_tone(day.share)} title="{day.date}: {_share(day.share)}"></i>' for day in days)
    return f"<div class=history><p><b>{html.escape(name)}</b><span>{mean}</span></p><div class=days>{bars}</div></div>"


def _tone(share: float | None) -> str:
    if share is None:
        return page.QUIET
    return page.GOOD if share >= GOOD_SHARE else page.WAIT if share >= FAIR_SHARE else page.BAD


def _share(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.2f} %"
