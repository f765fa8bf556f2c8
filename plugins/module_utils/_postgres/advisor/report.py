# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports on the members of a cluster as one, in the form of ``module_utils/_report.py``.

What all members share, such as a table without a primary key, is told once. An index is told as unused only if no member has used it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import CRITICAL, SEVERITIES
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.texts import sentences, where
from ansible_collections.mainstay.ops.plugins.module_utils._report import FAILED

PER_MEMBER = "unused_indexes"
"""The check whose findings stand only if every member has them."""


def combine(results: t.Mapping[str, t.Mapping[str, t.Any]], finished: str) -> dict[str, t.Any]:
    """Return the report.

    Args:
        results: what ``pg_advisor_info`` returned, by member; of one that failed its ``msg``.
        finished: when the last one had answered, ISO 8601.
    """
    answered = {name: result for name, result in results.items() if "findings" in result}
    silent = {name: str(result.get("msg", "it was not asked")) for name, result in results.items() if name not in answered}
    merged, used_elsewhere = _merged(answered, len(results))
    counts = {severity: sum(1 for finding in merged if finding["severity"] == severity) for severity in SEVERITIES}
    not_judged = [{"member": name, **entry} for name, result in answered.items() for entry in result["not_judged"]]
    not_judged += [
        {"member": name, "check": "", "database": database["name"], "reason": database["refusal"]}
        for name, result in answered.items()
        for database in result["databases"]
        if database["refusal"]
    ]
    found = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    checks = [{"name": f"{name}: does not answer", "status": FAILED, "evidence": reason} for name, reason in silent.items()]
    return {
        "title": "PostgreSQL report",
        "summary": f"{len(answered)} of {len(results)} members answered; findings: {found}.",
        "finished": finished,
        "checks": checks + [_check(finding) for finding in merged],
        "lines": _lines(silent, merged, used_elsewhere, not_judged),
        "silent": sorted(silent),
        "findings_by_severity": counts,
        "members": {name: {**result["server"], "databases": result["databases"], "omitted": result["omitted"]} for name, result in answered.items()},
        "findings": merged,
        "unused_on_some_members_only": used_elsewhere,
        "not_judged": not_judged,
    }


def _merged(answered: t.Mapping[str, t.Mapping[str, t.Any]], members: int) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Return the findings of all members with who has them, and the indexes that some members use, or may use because nobody knows."""
    found: dict[tuple[str, str, str], dict[str, t.Any]] = {}
    for name, result in answered.items():
        for finding in result["findings"]:
            key = (finding["id"], finding["database"], finding["object"])
            if key not in found:
                found[key] = {**finding, "members": [name]}
                continue
            known = found[key]
            worse = SEVERITIES.index(finding["severity"]) < SEVERITIES.index(known["severity"])
            found[key] = {**(finding if worse else known), "members": [*known["members"], name]}
    some = [finding for finding in found.values() if finding["check"] == PER_MEMBER and len(finding["members"]) < members]
    kept = [finding for finding in found.values() if finding not in some]
    kept.sort(key=lambda finding: SEVERITIES.index(finding["severity"]))
    return kept, sorted(f"{finding['database']}: {finding['object']}" for finding in some)


def _sentence(finding: t.Mapping[str, t.Any]) -> str:
    """Say what was found, and who has it."""
    return f"{where(finding)}{finding['object']} {finding['problem']} ({', '.join(finding['members'])})"


def _lines(silent: t.Mapping[str, str], merged: list[dict[str, t.Any]], some: list[str], not_judged: list[dict[str, t.Any]]) -> list[str]:
    """Return the report for a terminal."""
    lines = [f"{CRITICAL:8}  {name} does not answer: {reason}" for name, reason in silent.items()]
    lines += sentences(merged, _sentence)
    lines += [f"{'':8}  used by some members only: {index}" for index in some]
    for entry in not_judged:
        place = ", ".join(filter(None, (entry["member"], entry["database"], entry["check"])))
        lines.append(f"{'':8}  not judged: {place}: {entry['reason']}")
    return lines or ["nothing was found"]


def _check(finding: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return a finding as one of the report's checks; only what is critical fails it."""
    return {
        "name": f"{finding['severity']}: {_sentence(finding)}",
        "status": FAILED if finding["severity"] == CRITICAL else finding["severity"],
        "evidence": " ".join(filter(None, (finding["recommendation"], finding["sql"]))),
    }
