# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says in one report what was judged: a table for the terminal, and the form of ``module_utils/_report.py``."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._preflight.judge import (
    AFTER,
    BEFORE,
    FAIL,
    FINE,
    HOST_PARTS,
    WARN,
    Finding,
    Limits,
    Seen,
    controller_findings,
    services_findings,
    words,
)
from ansible_collections.mainstay.ops.plugins.module_utils._report import FAILED, OK

RANKS = {FAIL: 0, WARN: 1, FINE: 2}


def combine(seen: t.Mapping[str, Seen], controller: Seen, services: Seen, parts: t.Collection[str], limits: Limits, fail_on: str, now: str) -> dict[str, t.Any]:
    """Judge everything that was seen, and return the report.

    Args:
        seen: what was seen of each host; empty for one that was lost on the way.
        controller: what was seen of the controller.
        services: what the probe of services returned; empty if there was none.
        parts: which parts were looked at.
        limits: what is still well.
        fail_on: the least finding that fails the run: fail, warn or never.
        now: the moment, in ISO 8601.
    """
    findings: list[Finding] = controller_findings(controller) if controller else []
    for host, of_host in seen.items():
        if not of_host:
            findings.append(Finding(host, "hosts", "look", FAIL, "it was lost on the way", "see the task that failed for it above"))
            continue
        for part, judge in HOST_PARTS.items():
            findings += judge(host, of_host, limits) if part in parts else []
    if "services" in parts and limits.moment == AFTER:
        findings += services_findings(services.get("checks", []))
        if services.get("msg") and not services.get("checks"):
            findings.append(Finding("controller", "services", "checks", FAIL, words(services["msg"]), "see site_checks of the inventory"))
    unique = list(dict.fromkeys(findings))
    unique.sort(key=lambda finding: (RANKS[finding.status], finding.host, finding.part, finding.check))
    return _report(unique, limits, fail_on, now)


def _report(findings: list[Finding], limits: Limits, fail_on: str, now: str) -> dict[str, t.Any]:
    counts = {status: sum(1 for finding in findings if finding.status == status) for status in RANKS}
    failing = [] if fail_on == "never" else [finding for finding in findings if RANKS[finding.status] <= RANKS[fail_on]]
    summary = f"{len(findings)} things were looked at: {counts[FINE]} are well, {counts[WARN]} are to be known, {counts[FAIL]} are wrong."
    return {
        "title": "Before the deployment" if limits.moment == BEFORE else "After the deployment",
        "summary": summary,
        "finished": now,
        "status": FAILED if failing else OK,
        "verdict": _verdict(failing),
        "checks": [{"name": f"{entry.host}: {entry.check}", "status": FAILED if entry in failing else OK, "evidence": _evidence(entry)} for entry in findings],
        "lines": [*_table(findings), summary],
        "findings_by_status": counts,
        "fail_on": fail_on,
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def _verdict(failing: t.Sequence[Finding]) -> str:
    """Why the run fails, for its last line; empty if it does not."""
    if not failing:
        return ""
    named = ", ".join(dict.fromkeys(f"{finding.host}: {finding.check}" for finding in failing))
    return f"{len(failing)} {'thing is' if len(failing) == 1 else 'things are'} not well ({named}); the table above says why, and what to do"


def _evidence(finding: Finding) -> str:
    return f"{finding.reason}; {finding.next_step}" if finding.next_step else finding.reason


def _table(findings: t.Sequence[Finding]) -> list[str]:
    """The lines of a table, what is wrong first. What is said of several hosts has one line, and what is well one for each part."""
    told: dict[tuple[str, ...], list[str]] = {}
    well: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.status == FINE:
            well.setdefault((finding.host, finding.part), []).append(finding.check)
        else:
            told.setdefault((finding.status, finding.part, finding.check, _evidence(finding)), []).append(finding.host)
    lines = [f"{status:6}{part:14}{', '.join(hosts)}: {check}: {evidence}" for (status, part, check, evidence), hosts in told.items()]
    return lines + [f"{FINE:6}{part:14}{host}: {', '.join(checks)}" for (host, part), checks in well.items()]
