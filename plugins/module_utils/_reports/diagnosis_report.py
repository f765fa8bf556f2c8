# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis of a whole stack: what all hosts told, judged, ranked, and put together."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import io
import json
import tarfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import CRITICAL, INFO, SEVERITIES
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis import (
    Facts,
    Finding,
    Limits,
    judge_host,
    judge_http,
    judge_postgres,
    judge_redis,
    ranked,
)
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import iso

LATEST_CHANGES = 50
RECENT = 7200.0
"""Seconds before the end in which a change is a finding: most trouble begins with one."""
QUIET_CHANGES = frozenset({"boot"})
ADDED = frozenset({"invocation", "failed", "failed_when_result", "changed", "warnings", "deprecations", "metrics", "lines", "ansible_facts"})
PARTS = ("host", "postgres", "redis")
MARKS = {"host": "filesystems", "postgres": "findings", "redis": "address"}
"""A key of each part's result: what lacks it did not answer."""


def combine(hosts: t.Mapping[str, Facts], limits: Limits, end: float, hours: float) -> dict[str, t.Any]:
    """Return the report.

    Args:
        hosts: by name the results of ``host`` (``diagnose_host_info``), ``postgres`` (``pg_advisor_info``) and ``redis`` (``diagnose_redis_info``), as far as
            they were asked for. Of a task that failed its result.
        limits: from where on something is a finding.
        end: Unix time of the end of the window.
        hours: its length.
    """
    findings: list[Finding] = []
    gaps, changes = [], []
    for name, parts in hosts.items():
        for part in PARTS:
            result = parts.get(part)
            if result is None:
                continue
            if MARKS[part] not in result:
                reason = str(result.get("msg") or "it was not looked at")
                findings.append(Finding(CRITICAL, part, name, f"the {part} could not be looked at", reason, "See whether it is up and lets this run in.", 100))
                continue
            findings += _judge(part, name, result, limits)
            gaps += [{"host": name, **entry} for entry in result.get("not_judged", [])]
        changes += [{"host": name, **change} for change in (parts.get("host") or {}).get("changes", [])]
    changes.sort(key=lambda change: -change["time"])
    findings += [_change(change, end) for change in changes if end - RECENT <= change["time"] <= end and change["kind"] not in QUIET_CHANGES]
    return _report(ranked(findings), gaps, changes[:LATEST_CHANGES], hosts, (end, hours))


def _judge(part: str, name: str, result: Facts, limits: Limits) -> list[Finding]:
    if part == "postgres":
        return judge_postgres(name, result)
    if part == "redis":
        return judge_redis(name, result, limits)
    return judge_host(name, result, limits) + (judge_http(name, result["traffic"], limits) if result.get("traffic") else [])


def _change(change: Facts, end: float) -> Finding:
    ago = duration(max(end - change["time"], 0))
    return Finding(INFO, "change", change["host"], f"{change['kind']} {ago} before: {change['what']}", "", "", 100 - (end - change["time"]) / RECENT)


def _report(
    findings: list[Finding], gaps: list[dict[str, t.Any]], changes: list[dict[str, t.Any]], hosts: t.Mapping[str, Facts], window: tuple[float, float]
) -> dict[str, t.Any]:
    end, hours = window
    counts = {severity: sum(1 for finding in findings if finding.severity == severity) for severity in SEVERITIES}
    told = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    summary = f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}; findings: {told}."
    if gaps:
        summary += f" {len(gaps)} parts could not be judged."
    return {
        "title": "Diagnosis",
        "started": iso(end - hours * 3600),
        "finished": iso(end),
        "hours": hours,
        "summary": summary,
        "findings_by_severity": counts,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "not_judged": gaps,
        "changes": [{**change, "time": iso(change["time"])} for change in changes],
        "hosts": {name: {part: _told(parts[part]) for part in PARTS if parts.get(part) is not None} for name, parts in hosts.items()},
        "lines": [*_lines(findings), *(f"not judged: {_gap(gap)}" for gap in gaps), summary],
    }


def _told(result: Facts) -> dict[str, t.Any]:
    """Return what a module told, without what Ansible adds and without what is only another form of it."""
    return {name: value for name, value in result.items() if name not in ADDED}


def _gap(gap: Facts) -> str:
    """Return a part that could not be judged; pg_advisor_info names checks and databases."""
    what = gap.get("part") or " of ".join(filter(None, (gap.get("check"), gap.get("database"))))
    return f"{gap['host']}: {what}: {gap['reason']}"


def _lines(findings: t.Iterable[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        evidence = f" ({finding.evidence})" if finding.evidence else ""
        lines.append(f"{finding.severity:9} {finding.place}: {finding.problem}{evidence}" + (f". {finding.mend}" if finding.mend else ""))
    return lines or ["nothing was found"]


def bundle(report: Facts, page: str, folder: str) -> bytes:
    """Return a tar.gz to attach to a ticket: the page, the findings as text, and what each host told. The same report makes the same bytes.

    Args:
        report: the report, masked.
        page: its page.
        folder: the folder within the archive.
    """
    finished = int(datetime.datetime.fromisoformat(report["finished"]).timestamp())
    files = {"report.html": page, "findings.txt": "".join(f"{line}\n" for line in report["lines"])}
    files["report.json"] = json.dumps({**report, "hosts": sorted(report["hosts"])}, indent=2, ensure_ascii=False) + "\n"
    for host, parts in report["hosts"].items():
        files[f"hosts/{host.replace('/', '_')}.json"] = json.dumps(parts, indent=2, ensure_ascii=False) + "\n"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=finished) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name in sorted(files):
            content = files[name].encode()
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(content), finished, 0o600
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
