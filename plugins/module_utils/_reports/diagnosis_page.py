# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a diagnosis."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import CRITICAL, INFO, WARNING
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, size
from ansible_collections.mainstay.ops.plugins.module_utils._reports import page

Facts = t.Mapping[str, t.Any]
TONES = {CRITICAL: page.BAD, WARNING: page.WAIT, INFO: page.QUIET}
SHOWN_ENDPOINTS = 15


def render(report: Facts) -> str:
    """Return the page."""
    counts = report["findings_by_severity"]
    tone = page.BAD if counts[CRITICAL] else page.WAIT if counts[WARNING] or report["not_judged"] else page.GOOD
    words = {page.BAD: "Act", page.WAIT: "Look at it", page.GOOD: "Nothing was found"}[tone]
    moments = f"{report['started'][:16].replace('T', ' ')} to {report['finished'][:16].replace('T', ' ')} UTC"
    hosts = report["hosts"]
    return page.document(report["title"], [
        page.header(report["title"], tone, words, [moments, f"{len(hosts)} hosts"], report["summary"]),
        page.tiles(_tiles(report)),
        page.section("Findings, the worst first", page.findings(_findings(report))),
        page.section("What changed last", page.table(["When (UTC)", "Host", "Kind", "What"], [
            [change["time"][:19].replace("T", " "), change["host"], change["kind"], change["what"]] for change in report["changes"]
        ])),
        page.section("Hosts", page.table(["Host", "#Load (5 min)", "#CPUs", "#Memory used", "#Fullest disk", "Failed units", "#Errors logged"], _hosts(hosts))),
        page.section("Response times by endpoint", page.table(["Host", "Endpoint", "#Requests", "#Errors", "#p50", "#p95", "#p99"], _endpoints(hosts)),
                     note="The endpoints that took the most time in all. Identifiers in paths are shown as :id."),
        page.section("Redis", page.table(["Host", "Role", "#Memory", "#Hit rate", "#Clients", "#Commands a second", "#Slow commands"], _redis(hosts))),
        page.section("Not judged", page.bullets(line.removeprefix("not judged: ") for line in report["lines"] if line.startswith("not judged: "))),
    ])


def _tiles(report: Facts) -> list[page.Tile]:
    counts = report["findings_by_severity"]
    latest = report["changes"][0] if report["changes"] else None
    return [
        page.Tile("Critical", str(counts[CRITICAL]), "act now", page.BAD if counts[CRITICAL] else page.GOOD),
        page.Tile("Warnings", str(counts[WARNING]), "look at them", page.WAIT if counts[WARNING] else page.GOOD),
        page.Tile("Changed last", latest["time"][11:16] if latest else "nothing", f"{latest['host']}: {latest['what'][:80]}" if latest else "in the window"),
    ]


def _findings(report: Facts) -> t.Iterator[tuple[page.Markup, page.Cell, str]]:
    for finding in report["findings"]:
        more = ". ".join(filter(None, (finding["evidence"], finding["mend"])))
        yield page.badge(TONES[finding["severity"]], finding["severity"]), f"{finding['place']}: {finding['problem']}", more


def _hosts(hosts: t.Mapping[str, Facts]) -> list[list[page.Cell]]:
    rows: list[list[page.Cell]] = []
    for name, parts in hosts.items():
        facts = parts.get("host") or {}
        if "filesystems" not in facts:
            continue
        memory = facts["memory"]
        fullest = max(facts["filesystems"], key=lambda disk: 1 - disk["available"] / disk["size"], default=None)
        rows.append([
            name,
            f"{facts['load']['averages'][1]:g}",
            str(facts["load"]["cpus"]),
            f"{100 * (1 - memory['available'] / memory['total']):.0f} % of {size(memory['total'])}" if memory["total"] else "–",
            f"{fullest['mount']} {100 * (1 - fullest['available'] / fullest['size']):.0f} %" if fullest else "–",
            ", ".join(facts["failed_units"]) or "none",
            str(facts["journal"].get("total", "–")),
        ])
    return rows


def _endpoints(hosts: t.Mapping[str, Facts]) -> list[list[page.Cell]]:
    rows: list[list[page.Cell]] = []
    for name, parts in hosts.items():
        for told in ((parts.get("host") or {}).get("traffic") or {}).get("endpoints", [])[:SHOWN_ENDPOINTS]:
            times = [duration(told[key]) if told[key] is not None else "–" for key in ("p50", "p95", "p99")]
            rows.append([name, told["endpoint"], f"{told['requests']:,}", f"{told['errors']:,}", *times])
    return rows


def _redis(hosts: t.Mapping[str, Facts]) -> list[list[page.Cell]]:
    rows: list[list[page.Cell]] = []
    for name, parts in hosts.items():
        facts = parts.get("redis") or {}
        if "address" not in facts:
            continue
        most = f" of {size(facts['maxmemory'])}" if facts.get("maxmemory") else ""
        rows.append([
            name,
            facts.get("role", "–"),
            f"{size(facts.get('used_memory', 0))}{most}",
            f"{facts['hit_percent']:g} %" if facts["hit_percent"] is not None else "–",
            f"{facts.get('connected_clients', 0):,}",
            f"{facts.get('instantaneous_ops_per_sec', 0):,}",
            str(facts["slow"]["count"]) if facts["slow"] else "–",
        ])
    return rows
