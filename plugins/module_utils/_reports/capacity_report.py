# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity report: Prometheus asked for each resource, judged, and put together."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity import Resource, Scenario, Window, judge, rank
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity_page import known, lines, name
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import iso


def make(server: Prometheus, resources: t.Sequence[Resource], scenarios: t.Sequence[Scenario], window: Window) -> dict[str, t.Any]:
    """Return the report.

    Raises:
        MainstayError: Prometheus does not answer, or refuses a query.
    """
    subjects: list[dict[str, t.Any]] = []
    missing: list[dict[str, str]] = []
    # Whoever does not answer at all fails the report, rather than leave it empty.
    server.instant("vector(1)", window.end)
    for resource in resources:
        found, reason = _look(server, resource, scenarios, window)
        subjects += found
        if reason:
            missing.append({"resource": resource.id, "title": resource.title, "reason": reason})
    subjects.sort(key=rank)
    report: dict[str, t.Any] = {
        "title": "Capacity",
        "started": iso(window.start),
        "finished": iso(window.end),
        "end": window.end,
        "days": window.days,
        "horizon_days": window.horizon,
        "prometheus": server.url,
        "soonest_days": min((entry["days_until_full"] for entry in subjects if entry["days_until_full"] is not None), default=None),
        "subjects": subjects,
        "missing": missing,
    }
    report["summary"] = _summary(report)
    return report | {"lines": lines(report)}


def _look(server: Prometheus, resource: Resource, scenarios: t.Sequence[Scenario], window: Window) -> tuple[list[dict[str, t.Any]], str]:
    """Return what is known of a resource, and why nothing is."""
    step = f"{int(window.step)}s"
    try:
        usage = server.range(resource.usage.replace("STEP", step), window.start, window.end, window.step)
        sizes = server.instant(resource.size.replace("STEP", step), window.end) if resource.size else []
    except MainstayError as error:
        return [], str(error)
    if not usage:
        return [], f"the query returned no series: {resource.usage}"
    return judge(resource, usage, sizes, window, scenarios), ""


def _summary(report: t.Mapping[str, t.Any]) -> str:
    subjects = report["subjects"]
    judged = [entry for entry in subjects if known(entry)]
    unknown = len(subjects) - len(judged) + len(report["missing"])
    soon = [entry for entry in judged if entry["days_until_full"] is not None and entry["days_until_full"] <= report["horizon_days"]]
    said = f"{len(judged)} of {len(subjects)} subjects can be judged; {len(soon)} are full within {report['horizon_days']} days."
    if soon:
        said += f" First is {name(soon[0])}."
    return said + (f" {unknown} could not be judged." if unknown else "")
