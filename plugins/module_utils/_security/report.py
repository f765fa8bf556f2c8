# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of all hosts: findings with severities, exceptions, a table for the terminal, and the form of ``module_utils/_report.py``."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._report import FAILED, OK, SKIPPED
from ansible_collections.mainstay.ops.plugins.module_utils._security import certificates, files, headers, kernel, packages, ports, sshd, tls, units
from ansible_collections.mainstay.ops.plugins.module_utils._security.model import SEVERITIES, Facts, Finding, Rule, judge, rank

AREAS: dict[str, tuple[Rule, ...]] = {
    "ports": ports.RULES,
    "tls": tls.RULES,
    "headers": headers.RULES,
    "certificates": certificates.RULES,
    "sshd": sshd.RULES,
    "kernel": kernel.RULES,
    "packages": packages.RULES,
    "files": files.RULES,
    "units": units.RULES,
}
RULE_IDS = frozenset(rule.id for rules in AREAS.values() for rule in rules)


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """An exception: what is known, by whom it is borne, and until when. ``host`` and ``subject`` are patterns of a shell."""

    id: str
    host: str
    subject: str
    until: datetime.date
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Tell whether it is about a finding."""
        return self.id == finding.id and fnmatch.fnmatch(finding.host, self.host) and fnmatch.fnmatch(finding.subject, self.subject)


@dataclasses.dataclass(frozen=True)
class Scanned:
    """What came of a scan: findings, the worst first, what failed as a whole (place and reason), parts that could not be judged, and the exceptions."""

    findings: list[Finding]
    gaps: dict[str, str]
    not_judged: list[dict[str, t.Any]]
    acceptances: list[Acceptance]

    @property
    def unknown(self) -> list[dict[str, t.Any]]:
        """The parts that are there and could not be judged. A result that does not tell counts as one."""
        return [entry for entry in self.not_judged if entry.get("failed", True)]

    @property
    def unused(self) -> list[Acceptance]:
        """The exceptions that no finding needs."""
        return [acceptance for acceptance in self.acceptances if not any(acceptance.covers(finding) for finding in self.findings)]


def read_acceptances(given: t.Iterable[Facts]) -> list[Acceptance]:
    """Read exceptions: ``id``, ``until`` (a day, the last on which it holds) and ``reason`` are required, ``host`` and ``subject`` are all by default.

    Raises:
        InvalidInput: something is missing, or no rule has that name.
    """
    return [_acceptance(entry) for entry in given]


def _acceptance(entry: Facts) -> Acceptance:
    doing = f"read the exception {entry.get('id') or dict(entry)}"
    if entry.get("id") not in RULE_IDS:
        raise InvalidInput(doing, "no rule has that id", f"take one of {', '.join(sorted(RULE_IDS))}")
    if not str(entry.get("reason") or "").strip():
        raise InvalidInput(doing, "it has no reason", "say why it is borne, for those who come after")
    try:
        until = datetime.date.fromisoformat(str(entry.get("until")))
    except ValueError as exc:
        raise InvalidInput(doing, "until is no day", "write it as 2027-03-31: an exception without an end is never looked at again") from exc
    return Acceptance(entry["id"], str(entry.get("host") or "*"), str(entry.get("subject") or "*"), until, str(entry["reason"]).strip())


def combine(hosts: t.Mapping[str, Facts], accept: t.Iterable[Facts], fail_on: str, now: datetime.datetime) -> dict[str, t.Any]:
    """Return the report.

    Args:
        hosts: by name of the host ``inside`` (what ``host_security_info`` returned), ``ports`` (``port_scan_info``), ``web`` (``web_security_info``) and
            ``flows`` (what is declared, None if nothing is). Of what failed its ``msg``.
        accept: exceptions.
        fail_on: the least severity that fails the scan.
        now: the time, with its zone.

    Raises:
        InvalidInput: an exception or a flow cannot be read.
    """
    acceptances = read_acceptances(accept)
    findings, not_judged = [], []
    gaps: dict[str, str] = {}
    for host, facts in hosts.items():
        parts, missing, failed = _parts(facts, now.timestamp())
        gaps.update({f"{host} from {place}": reason for place, reason in failed.items()})
        not_judged += [{"host": host, **entry} for entry in missing]
        findings += [finding for area, part in parts.items() for finding in judge(AREAS[area], part, host, area)]
    judged = [_accepted(finding, acceptances, now.date()) for finding in findings]
    judged.sort(key=lambda finding: (rank(finding.severity), finding.host, finding.area, finding.id))
    return _report(Scanned(judged, gaps, not_judged, acceptances), fail_on, now, len(hosts))


def _parts(facts: Facts, now: float) -> tuple[dict[str, t.Any], list[dict[str, t.Any]], dict[str, str]]:
    """Return the facts of each area, which of them could not be looked at, and the reasons of what failed as a whole."""
    parts: dict[str, t.Any] = {}
    inside, scanned, web = (facts.get(part) or {} for part in ("inside", "ports", "web"))
    places = {"inside": inside, "outside (ports)": scanned, "outside (TLS and headers)": web}
    failed = {place: str(found.get("msg") or "it was not looked at") for place, found in places.items() if "seconds" not in found}
    for area in ("sshd", "kernel", "packages", "files", "units"):
        if inside.get(area) is not None:
            parts[area] = inside[area]
    if "open" in scanned:
        # A template that leads to none is an empty text for ansible-core 2.18.
        flows = None if facts.get("flows") in (None, "") else ports.read_flows(facts["flows"])
        parts["ports"] = {**scanned, "listeners": inside.get("listeners") or [], "flows": flows}
        if ports.is_unreached(parts["ports"]):
            silent = f"no port of {scanned['address']} answered {scanned['source']}, not even by refusing"
            failed["outside (ports)"] = f"{silent}: it is down, has another address, or shuts the scanner out"
    if "endpoints" in web:
        parts["tls"] = parts["headers"] = web
    if inside.get("certificates") is not None or "served" in web:
        parts["certificates"] = {"now": now, "files": inside.get("certificates") or [], "served": web.get("served", [])}
    return parts, [*inside.get("not_judged", []), *web.get("not_judged", [])], failed


def _accepted(finding: Finding, acceptances: t.Iterable[Acceptance], today: datetime.date) -> Finding:
    """Return a finding with the exception that covers it; one that has ended counts for nothing."""
    valid = [acceptance for acceptance in acceptances if acceptance.covers(finding) and acceptance.until >= today]
    if not valid:
        return finding
    return dataclasses.replace(finding, accepted=valid[0].reason, accepted_until=valid[0].until.isoformat())


def _report(scanned: Scanned, fail_on: str, now: datetime.datetime, hosts: int) -> dict[str, t.Any]:
    opened = [finding for finding in scanned.findings if not finding.accepted]
    counts = {severity: sum(1 for finding in opened if finding.severity == severity) for severity in SEVERITIES}
    failing = [finding for finding in opened if rank(finding.severity) <= rank(fail_on)]
    accepted = len(scanned.findings) - len(opened)
    told = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    summary = f"{hosts} {'host' if hosts == 1 else 'hosts'}; open findings: {told}" + (f"; {accepted} accepted." if accepted else ".")
    gaps = [{"name": f"{place}: not looked at", "status": FAILED, "evidence": reason} for place, reason in scanned.gaps.items()]
    gaps += [{"name": f"{entry['host']}: {entry['part']} not judged", "status": FAILED, "evidence": entry["reason"]} for entry in scanned.unknown]
    return {
        "title": "Security scan",
        "summary": summary,
        "finished": now.isoformat(timespec="seconds"),
        "status": FAILED if failing or gaps else OK,
        "verdict": _verdict(len(failing), fail_on, scanned),
        "checks": gaps + [_check(finding, fail_on) for finding in scanned.findings],
        "lines": [*table(scanned), summary],
        "findings_by_severity": counts,
        "findings_failing": len(failing),
        "findings_accepted": accepted,
        "fail_on": fail_on,
        "gaps": scanned.gaps,
        "findings": [dataclasses.asdict(finding) for finding in scanned.findings],
        "not_judged": scanned.not_judged,
        "exceptions_without_finding": [{**dataclasses.asdict(each), "until": each.until.isoformat()} for each in scanned.unused],
    }


def _verdict(failing: int, fail_on: str, scanned: Scanned) -> str:
    """Return why the scan failed, or that it did not, for the last line of a run."""
    reasons = [f"{failing} {'finding is' if failing == 1 else 'findings are'} open at or above {fail_on}"] if failing else []
    reasons += [f"{place} could not be looked at ({reason})" for place, reason in scanned.gaps.items()]
    reasons += [f"{entry['part']} of {entry['host']} could not be judged ({entry['reason']})" for entry in scanned.unknown]
    if not reasons:
        return f"No finding is open at or above {fail_on}"
    return "; ".join(reasons) + "; mend what the table names, or bear it until a day by security_scan_accept"


def _check(finding: Finding, fail_on: str) -> dict[str, str]:
    """Return a finding as one of the report's checks."""
    evidence = f"{finding.evidence}. {finding.why} {finding.mend} ({finding.source}; {finding.id})"
    if finding.accepted:
        evidence = f"Accepted until {finding.accepted_until}: {finding.accepted}. {evidence}"
    failed = not finding.accepted and rank(finding.severity) <= rank(fail_on)
    name = f"{finding.severity}: {finding.host}: {finding.subject} {finding.problem}"
    return {"name": name, "status": FAILED if failed else SKIPPED, "evidence": evidence[:1].upper() + evidence[1:]}


def table(scanned: Scanned) -> list[str]:
    """Return the lines of a table; why a finding counts and what to do stands below the first of a kind, for those that are not accepted."""
    hosts = max((len(finding.host) for finding in scanned.findings), default=0)
    width = max(hosts, len("HOST")) + 2
    lines = [f"{'SEVERITY':10}{'HOST':{width}}FINDING"] if scanned.findings else []
    explained = set()
    for finding in scanned.findings:
        mark = f"accepted until {finding.accepted_until}: " if finding.accepted else ""
        lines.append(f"{finding.severity:10}{finding.host:{width}}{mark}{finding.subject} {finding.problem}: {finding.evidence} [{finding.id}]")
        if finding.id not in explained and not finding.accepted:
            explained.add(finding.id)
            lines.append(f"{'':{width + 12}}{finding.why} {finding.mend}")
    lines += [f"{place}: not looked at: {reason}" for place, reason in scanned.gaps.items()]
    lines += [f"{entry['host']}: {entry['part']} was not judged: {entry['reason']}" for entry in scanned.not_judged]
    return [*lines, *(f"no finding needs the exception {each.id} of {each.host} any more" for each in scanned.unused)]
