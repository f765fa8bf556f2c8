# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: how much of each resource is used, how that grows, when it is full, and what size it should have."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Series
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import day
from ansible_collections.mainstay.ops.plugins.module_utils._reports.trend import DAY, Trend, daily_peaks, days_until, fit

KEEP, ENLARGE, SHRINK, UNKNOWN = "keep", "enlarge", "shrink", "unknown"
SHRINK_BELOW = 0.5
"""A smaller size is recommended only where half of what there is would do."""
LADDER = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of cores, and GiB of memory, that machines are commonly sold with."""
GIB = 1 << 30
REAL_DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|fuse.*|nsfs"'


@dataclasses.dataclass(frozen=True)
class Resource:
    """Something that can run out.

    Attributes:
        id: its name in options and results.
        title: what it is called on the page.
        usage: PromQL of what is used; ``STEP`` in it becomes the step. A series of it is one subject.
        size: PromQL of how much there is, with the labels of ``usage``; empty if nobody measures it.
        fixed_size: how much there is, where no query tells it.
        unit: ``cores``, ``bytes`` or ``count`` (``per_second`` for rates).
        limit: the share of the size at which it counts as full.
        target: the share of the size that is to be used when it is sized.
        follows_load: whether twice the traffic needs twice as much of it.
        shrinks: whether a smaller one can be had.
    """

    id: str
    title: str
    usage: str
    size: str = ""
    fixed_size: float | None = None
    unit: str = "count"
    limit: float = 0.9
    target: float = 0.7
    follows_load: bool = True
    shrinks: bool = True


RESOURCES = (
    Resource(
        "cpu",
        "CPU",
        'sum by (instance) (rate(node_cpu_seconds_total{mode!~"idle|iowait|steal"}[STEP]))',
        'count by (instance) (node_cpu_seconds_total{mode="idle"})',
        unit="cores",
        limit=0.85,
        target=0.6,
    ),
    Resource(
        "memory",
        "Memory",
        "max by (instance) (node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)",
        "max by (instance) (node_memory_MemTotal_bytes)",
        unit="bytes",
        limit=0.92,
        target=0.75,
    ),
    Resource(
        "disk",
        "Disk",
        f"max by (instance, mountpoint) (node_filesystem_size_bytes{{{REAL_DISKS}}} - node_filesystem_avail_bytes{{{REAL_DISKS}}})",
        f"max by (instance, mountpoint) (node_filesystem_size_bytes{{{REAL_DISKS}}})",
        unit="bytes",
        limit=0.9,
        target=0.7,
        follows_load=False,
        shrinks=False,
    ),
    Resource(
        "postgres_connections", "PostgreSQL connections", "sum by (instance) (pg_stat_database_numbackends)", "max by (instance) (pg_settings_max_connections)"
    ),
    Resource(
        "redis_memory",
        "Redis memory",
        'max by (instance) (redis_memory_used_bytes{job="redis"})',
        'max by (instance) (redis_memory_max_bytes{job="redis"} > 0)',
        unit="bytes",
        limit=0.9,
        target=0.75,
    ),
    Resource("http_connections", "HTTP connections", "sum by (instance) (nginx_connections_active)"),
    Resource("http_requests", "HTTP requests", "sum (rate(nginx_http_requests_total[STEP]))", unit="per_second", limit=0.85, target=0.6),
)
"""What is looked at. The limits of disks and Redis are those of the collection's alerts; the others are conventions: from there on answers get slow."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What may happen: traffic becomes ``load`` times as much at once, and grows ``growth`` times as fast."""

    name: str
    load: float = 1.0
    growth: float = 1.0


@dataclasses.dataclass(frozen=True)
class Window:
    """What is read and asked.

    Attributes:
        end: Unix time at which it ends.
        days: how many days are read.
        step: seconds between two points.
        least_days: with fewer days no trend is told.
        horizon: for how many days a size has to do.
        peak: which quantile of a day counts as its peak.
    """

    end: float
    days: int = 30
    step: float = 3600.0
    least_days: int = 7
    horizon: int = 90
    peak: float = 0.95

    @property
    def start(self) -> float:
        """Unix time at which it begins."""
        return self.end - self.days * DAY


SCENARIOS = (Scenario("as until now"), Scenario("growth doubles", growth=2.0), Scenario("half as much traffic again", load=1.5))


def read_resources(given: t.Iterable[t.Mapping[str, t.Any]], exclude: t.Collection[str]) -> list[Resource]:
    """Return what is looked at: the known resources with what is given about them, and further ones.

    Raises:
        InvalidInput: a further one has no query, a share is none, or a name to leave out is unknown.
    """
    found = {resource.id: resource for resource in RESOURCES}
    for entry in given:
        known = {name: value for name, value in entry.items() if value is not None}
        if known["id"] not in found and "usage" not in known:
            raise InvalidInput(f"look at the resource {known['id']}", "it has no usage", f"give its query, or use one of {', '.join(found)}")
        base = found.get(known["id"]) or Resource(known["id"], known["id"], "")
        found[known["id"]] = _checked(dataclasses.replace(base, **known))
    unknown = sorted(set(exclude) - set(found))
    if unknown:
        raise InvalidInput(f"leave out {unknown[0]}", "there is no such resource", f"use one of {', '.join(found)}")
    return [resource for resource in found.values() if resource.id not in exclude]


def _checked(resource: Resource) -> Resource:
    for name in ("limit", "target"):
        if not 0 < getattr(resource, name) <= 1:
            raise InvalidInput(f"size the resource {resource.id}", f"{name} is {getattr(resource, name):g}", "give a share of its size, above 0 and at most 1")
    if resource.fixed_size is not None and resource.fixed_size <= 0:
        raise InvalidInput(f"size the resource {resource.id}", f"fixed_size is {resource.fixed_size:g}", "give what there is of it, above 0")
    return resource


def read_scenarios(given: t.Iterable[t.Mapping[str, t.Any]]) -> list[Scenario]:
    """Return the scenarios, those of the collection if none are given.

    Raises:
        InvalidInput: two have one name, or a factor is negative.
    """
    found = [Scenario(entry["name"], entry["load"], entry["growth"]) for entry in given] or list(SCENARIOS)
    for scenario in found:
        if scenario.load < 0 or scenario.growth < 0:
            raise InvalidInput(f"reckon with {scenario.name}", "a factor is negative", "give load and growth as factors, 1 for no change")
    if len({scenario.name for scenario in found}) < len(found):
        raise InvalidInput("tell the scenarios apart", "two have the same name", "give each a name of its own")
    return found


def check_window(window: Window) -> Window:
    """Return it.

    Raises:
        InvalidInput: a number is of no use.
    """
    if window.step < 60 or window.step > DAY / 4:
        raise InvalidInput(f"take steps of {window.step:g} s", "a day would have too few or too many", "give a step between 1m and 6h")
    if not 0 < window.peak <= 1:
        raise InvalidInput(f"take the quantile {window.peak:g} for a day's peak", "it is no share", "give one above 0 and at most 1")
    if window.least_days < 3 or window.days < window.least_days:
        cause = f"{window.days} days are read, and {window.least_days} are the least"
        raise InvalidInput("tell trends", cause, "read at least as many days as least_days, which is at least 3")
    if window.horizon < 1:
        raise InvalidInput(f"size for {window.horizon} days", "that is no time", "give horizon_days from 1 up")
    return window


def judge(resource: Resource, usage: t.Sequence[Series], sizes: t.Sequence[Series], window: Window, scenarios: t.Sequence[Scenario]) -> list[dict[str, t.Any]]:
    """Return one entry for each subject of a resource.

    Args:
        resource: what is looked at.
        usage: what is used, over the window.
        sizes: how much there is, now.
        window: what was read.
        scenarios: what may happen; the first one is what is sized for.
    """
    known = {_key(series.labels): series.last for series in sizes}
    return [_judged(resource, series, known.get(_key(series.labels), resource.fixed_size), window, scenarios) for series in usage]


def _key(labels: t.Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if name != "__name__"))


def _judged(resource: Resource, series: Series, size: float | None, window: Window, scenarios: t.Sequence[Scenario]) -> dict[str, t.Any]:
    """Return what is known of one subject."""
    days = daily_peaks(series.points, window.end, window.step, window.peak)
    trend = fit(days, window.end) if len(days) >= window.least_days else None
    notes = [] if trend else [f"{len(days)} whole days of data, and {window.least_days} are needed for a trend"]
    if size is None:
        notes.append("its size is not known, so nobody can say when it is full; give it as fixed_size")
    limit = None if size is None else size * resource.limit
    outcomes = [{"scenario": each.name, "days": _rounded(_days(trend, limit, each, resource.follows_load))} for each in scenarios]
    # What a machine that is off uses is not nothing: of old data only the last point is told.
    now = series.last
    if window.end - series.points[-1][0] > DAY:
        notes.append(f"nothing was measured since {day(series.points[-1][0])}")
    highest = max(value for _at, value in series.points)
    verdict, wanted = _recommended(resource, trend, size, highest, window.horizon, scenarios[0])
    first = outcomes[0]["days"]
    return {
        "resource": resource.id,
        "title": resource.title,
        "subject": ", ".join(value for _name, value in _key(series.labels)) or "all",
        "labels": dict(series.labels),
        "unit": resource.unit,
        "used": round(now, 4),
        "size": size,
        "used_percent": round(100 * now / size, 1) if size else None,
        "peak": round(highest, 4),
        "limit": limit,
        "trend": _trend_word(trend),
        "growth_per_day": None if trend is None else round(trend.growth, 6),
        "days_of_data": len(days),
        "days_until_full": first,
        "full_on": day(window.end + first * DAY) if first is not None and first < 3650 else None,
        "scenarios": outcomes,
        "recommendation": verdict,
        "recommended_size": wanted,
        "notes": notes,
        "daily_peaks": [[at, round(value, 4)] for at, value in days],
        "line": None if trend is None else {"level": round(trend.level, 4), "growth": round(trend.growth, 6)},
    }


def _trend_word(trend: Trend | None) -> str:
    if trend is None:
        return "unknown"
    return "rising" if trend.rising else "falling" if trend.falling else "steady"


def _days(trend: Trend | None, limit: float | None, scenario: Scenario, follows_load: bool) -> float | None:
    if trend is None or limit is None:
        return None
    return days_until(trend, limit, scenario.load if follows_load else 1.0, scenario.growth)


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 1)


def _recommended(
    resource: Resource, trend: Trend | None, size: float | None, highest: float, horizon: int, scenario: Scenario
) -> tuple[str, float | None]:
    """Return whether the size should change, and to what it should. A smaller one has room for the highest point that was seen."""
    if trend is None:
        return UNKNOWN, None
    load = scenario.load if resource.follows_load else 1.0
    needed = max(trend.level * load + trend.growth * load * scenario.growth * horizon, 0.0) / resource.target
    wanted = rounded_size(max(needed, highest / resource.limit), resource.unit)
    if size is None:
        return UNKNOWN, wanted
    if needed > size:
        return ENLARGE, wanted
    if resource.shrinks and resource.unit in ("cores", "bytes") and wanted <= size * SHRINK_BELOW:
        return SHRINK, wanted
    return KEEP, None


def rounded_size(needed: float, unit: str) -> float:
    """Return the next size that can be had: cores and GiB as machines have them, beyond the ladder and for all else two digits."""
    scale = GIB if unit == "bytes" else 1
    if unit in ("cores", "bytes"):
        for step in LADDER:
            if needed <= step * scale:
                return float(step * scale)
    needed /= scale
    digits = max(10 ** (len(str(math.ceil(needed))) - 2), 1)
    return float(math.ceil(needed / digits) * digits * scale)


def rank(entry: t.Mapping[str, t.Any]) -> tuple[float, float]:
    """Return the place of an entry in the report: what is full first, then what is used most."""
    days = entry["days_until_full"]
    return (math.inf if days is None else days, -(entry["used_percent"] or 0.0))
