# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on a release: by what its users got, or by probes, beside those of the old one."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Figures, Summary
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.gate import FAIL, Limits, Verdict, judge

Mappings = t.Sequence[t.Mapping[str, t.Any]]


def _limits(name: str, given: t.Mapping[str, t.Any] | None) -> Limits:
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Limits)}
    unknown = sorted(set(given or {}) - set(kinds))
    if unknown:
        raise ValueError(f"{name}: there is no limit {', '.join(unknown)}; there are {', '.join(sorted(kinds))}")
    return Limits(**{limit: kinds[limit](content) for limit, content in (given or {}).items()})


def _told(canary: Summary, baseline: Summary | None, verdict: Verdict) -> dict[str, t.Any]:
    return {
        "result": verdict.result,
        "reasons": list(verdict.reasons),
        "slow_only": verdict.slow_only,
        "starved": verdict.starved,
        "canary": canary.as_dict(),
        "baseline": baseline.as_dict() if baseline is not None else {},
    }


def _added(reads: Mappings, name: str) -> Summary:
    """What the users of a pool got, on all balancers together."""
    figures = Figures()
    for pool in (pool for read in reads for pool in read["pools"] if pool["pool"] == name):
        figures.add(Figures.of(pool))
    return figures.summary()


def _blind(reads: Mappings) -> t.Iterator[str]:
    """Why what the users got is not known, for each balancer of which that is so."""
    for read in reads:
        where = f"the access log of {read['item']}" if read.get("item") else "an access log"
        if "pools" not in read:
            yield f"{where} could not be read: {read.get('msg', 'it was not looked at')}"
        elif not read["position"]["inode"]:
            yield f"{where} is not there"
        elif not read["complete"]:
            yield f"{where} was truncated, or packed while it was watched"
        elif read["unreadable"] and not read["readable"]:
            yield f"{where} has {read['unreadable']} lines that are not of the kind that the role nginx_tls lets nginx write, and no other"


def traffic_verdict(
    reads: Mappings, canary: str, baseline: str = "", *, baseline_reads: Mappings = (), limits: t.Mapping[str, t.Any] | None = None,
    seconds: float = 0.0, baseline_seconds: float = 0.0,
) -> dict[str, t.Any]:
    """Return the verdict; the arguments are those of the filter of this name.

    Raises:
        ValueError: there is no limit of a name that was given.
    """
    known = _limits("traffic_verdict", limits)
    seen = [read for read in reads if "pools" in read]
    new = _added(seen, canary)
    old = _added([read for read in baseline_reads if "pools" in read] or seen, baseline) if baseline else None
    blind = tuple(_blind(reads))
    return _told(new, old, Verdict(FAIL, blind) if blind else judge(new, old, known, float(seconds), float(baseline_seconds)))


def _probed(checks: Mappings) -> Summary | None:
    """What the slowest of some checks took, and all their errors."""
    if not checks:
        return None
    samples = [check["samples"] for check in checks]
    worst = {name: max((sample[name] for sample in samples if sample[name] is not None), default=None) for name in ("p50", "p95", "p99")}
    return Summary(sum(sample["count"] for sample in samples), sum(sample["errors"] for sample in samples), **worst)


def probe_verdict(checks: Mappings, canary: str, baseline: str = "", *, limits: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Return the verdict; the arguments are those of the filter of this name.

    Raises:
        ValueError: there is no limit of a name that was given.
    """
    new, old = ([check for check in checks if prefix and check["name"].startswith(f"{prefix} ")] for prefix in (canary, baseline))
    canary_summary, baseline_summary = _probed(new) or Summary(0, 0), _probed(old)
    return _told(canary_summary, baseline_summary, judge(canary_summary, baseline_summary, _limits("probe_verdict", limits)))
