# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a stack, by what was found on its hosts: rules, each of which looks at the facts of one place."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import CRITICAL, INFO, SEVERITIES, WARNING, graded
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, size

Facts = t.Mapping[str, t.Any]
MANY_ERRORS = 10
"""Errors of one kind from which on they are a warning rather than something to know."""
LOOKUPS = 1000
"""Fewer lookups say nothing of a hit rate."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that somebody on call should look at.

    Attributes:
        severity: one of critical, warning and info.
        area: host, postgres, redis, http or change.
        place: which host it is on.
        problem: what is wrong, a sentence without a final stop.
        evidence: what was measured.
        mend: what to look at or do next.
        weight: orders findings of one severity, larger ones first.
    """

    severity: str
    area: str
    place: str
    problem: str
    evidence: str = ""
    mend: str = ""
    weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """From where on something is a finding: a warning, and a critical one. The defaults of disks are those of the collection's alerts; what has no such
    alert has a convention."""

    disk_warning_percent: float = 85.0
    disk_critical_percent: float = 95.0
    memory_warning_percent: float = 90.0
    memory_critical_percent: float = 97.0
    load_warning_per_cpu: float = 2.0
    load_critical_per_cpu: float = 5.0
    stalled_warning_percent: float = 10.0
    stalled_critical_percent: float = 40.0
    slow_warning_seconds: float = 1.0
    slow_critical_seconds: float = 5.0
    errors_warning_percent: float = 1.0
    errors_critical_percent: float = 5.0
    requests_least: int = 20
    redis_hits_warning_percent: float = 80.0
    redis_command_warning_seconds: float = 0.1
    redis_command_critical_seconds: float = 1.0


def judge_host(place: str, facts: Facts, limits: Limits) -> list[Finding]:
    """Return what is wrong with a host, by the result of ``diagnose_host_info``."""
    return [*_disks(place, facts, limits), *_memory(place, facts, limits), *_load(place, facts, limits), *_units(place, facts), *_journal(place, facts)]


def _disks(place: str, facts: Facts, limits: Limits) -> t.Iterator[Finding]:
    for disk in facts["filesystems"]:
        for what, most, left in (("bytes", disk["size"], disk["available"]), ("inodes", disk["inodes"], disk["inodes_free"])):
            percent = 100 * (1 - left / most) if most else 0.0
            severity = graded(percent, limits.disk_warning_percent, limits.disk_critical_percent)
            if severity:
                free = f"{size(left)} of {size(most)} are left" if what == "bytes" else f"{left:,} of {most:,} inodes are left"
                mend = "Find what grows with du -x, or make it larger; what only root may use is not counted as free."
                yield Finding(severity, "host", place, f"{disk['mount']} is {percent:.0f} % full", free, mend, percent)
        if disk["read_only"]:
            mend = "If nobody mounted it so, the kernel did after an error: see dmesg before anything is written there."
            yield Finding(WARNING, "host", place, f"{disk['mount']} is read-only", f"it is a file system of type {disk['type']}", mend, 90)


def _memory(place: str, facts: Facts, limits: Limits) -> t.Iterator[Finding]:
    told = facts["memory"]
    percent = 100 * (1 - told["available"] / told["total"]) if told["total"] else 0.0
    severity = graded(percent, limits.memory_warning_percent, limits.memory_critical_percent)
    if severity:
        largest = ", ".join(f"{process['program']} {size(process['bytes'])}" for process in facts["processes"][:3])
        yield Finding(
            severity, "host", place, f"{percent:.0f} % of the memory is used", f"most by {largest}", "Stop or limit what grows, or give it more.", percent
        )
    for name, words in (("memory", "for memory"), ("io", "for disks"), ("cpu", "for a CPU")):
        # All work stands still for memory and disks; for a CPU some always runs.
        stalled = facts["pressure"].get(name, {}).get("some" if name == "cpu" else "full", 0.0)
        severity = graded(stalled, limits.stalled_warning_percent * (4 if name == "cpu" else 1), limits.stalled_critical_percent * (2 if name == "cpu" else 1))
        if severity:
            mend = {"memory": "Look at the largest processes.", "io": "See with iotop who reads and writes.", "cpu": "See with top who computes."}[name]
            yield Finding(severity, "host", place, f"work waits {words}", f"{stalled:.0f} % of the last minute", mend, stalled)


def _load(place: str, facts: Facts, limits: Limits) -> t.Iterator[Finding]:
    five, cpus = facts["load"]["averages"][1], facts["load"]["cpus"]
    severity = graded(five / cpus, limits.load_warning_per_cpu, limits.load_critical_per_cpu)
    if severity:
        yield Finding(
            severity, "host", place, f"the load is {five:g}", f"over five minutes, on {cpus} CPUs", "See with top what runs or waits for disks.", five / cpus
        )


def _units(place: str, facts: Facts) -> t.Iterator[Finding]:
    for unit in facts["failed_units"]:
        yield Finding(WARNING, "host", place, f"the unit {unit} failed", "", f"Read journalctl -u {unit}, then mend or reset it.", 95)
    if facts["clock_synchronised"] is False:
        yield Finding(
            WARNING, "host", place, "the clock is not synchronised", "", "See chronyc tracking or timedatectl: certificates and clusters need it.", 20
        )
    if facts["reboot_required"]:
        yield Finding(INFO, "host", place, "an update waits for a reboot", "", "Plan one, for example by the playbook patch.", 1)


def _journal(place: str, facts: Facts) -> t.Iterator[Finding]:
    journal = facts["journal"]
    if journal.get("out_of_memory"):
        evidence = f"{journal['out_of_memory']} lines of the kernel since the beginning of the window"
        yield Finding(CRITICAL, "host", place, "the kernel killed processes for lack of memory", evidence, "See dmesg for which ones.", 99)
    for group in journal.get("groups", []):
        severity = WARNING if group["count"] >= MANY_ERRORS else INFO
        yield Finding(severity, "host", place, f"{group['unit']} logged {group['count']} errors of a kind", group["message"], "", min(group["count"], 80))


def judge_http(place: str, facts: Facts, limits: Limits) -> list[Finding]:
    """Return which endpoints are slow or answer with errors."""
    found = []
    for told in facts["endpoints"]:
        if told["requests"] < limits.requests_least:
            continue
        percent = 100 * told["error_ratio"]
        severity = graded(percent, limits.errors_warning_percent, limits.errors_critical_percent)
        if severity:
            evidence = f"{told['errors']} of {told['requests']} requests got a status of 500 or more"
            found.append(
                Finding(severity, "http", place, f"{told['endpoint']}: {percent:.1f} % errors", evidence, "See the application's log for it.", percent)
            )
        severity = graded(told["p95"] or 0.0, limits.slow_warning_seconds, limits.slow_critical_seconds)
        if severity:
            evidence = f"half of {told['requests']} requests took {duration(told['p50'])} or less, and one in a hundred {duration(told['p99'])} or more"
            problem = f"{told['endpoint']}: one request in twenty takes {duration(told['p95'])} or more"
            found.append(Finding(severity, "http", place, problem, evidence, "See the slow statements, and what the application waits for.", told["p95"]))
    return found


def judge_postgres(place: str, result: Facts) -> list[Finding]:
    """Return what ``pg_advisor_info`` found."""
    found = []
    for number, told in enumerate(reversed(result["findings"])):
        database = f"{told['database']}: " if told["database"] else ""
        mend = " ".join(filter(None, (told["recommendation"], told["sql"])))
        found.append(Finding(told["severity"], "postgres", place, f"{database}{told['object']} {told['problem']}", "", mend, number))
    return found


def judge_redis(place: str, facts: Facts, limits: Limits) -> list[Finding]:
    """Return what is wrong with a Redis server."""
    return [
        Finding(severity, "redis", place, problem, evidence, mend, weight)
        for severity, problem, evidence, mend, weight in (*_redis_state(facts), *_redis_memory(facts), *_redis_speed(facts, limits))
    ]


Told = tuple[str, str, str, str, float]


def _redis_state(facts: Facts) -> t.Iterator[Told]:
    if facts.get("loading"):
        yield CRITICAL, "Redis is loading its data", "it answers little until it has them", "Wait; see its log for how far it is.", 99
    if facts.get("master_link_status", "up") != "up":
        since = facts.get("master_last_io_seconds_ago", -1)
        evidence = f"it heard of it {duration(since)} ago" if since >= 0 else ""
        yield CRITICAL, "the replica has no link to its master", evidence, "Its log says why, such as a password or a certificate.", 95
    for name, what in (
        ("rdb_last_bgsave_status", "save"),
        ("aof_last_write_status", "write of the append-only file"),
        ("aof_last_bgrewrite_status", "rewrite"),
    ):
        if facts.get(name, "ok") != "ok":
            yield CRITICAL, f"the last {what} of Redis failed", "", "Look at the disk's free space and at its log.", 97
    if facts.get("rejected_connections"):
        evidence = f"{facts['rejected_connections']:,} since it was started"
        yield WARNING, "Redis turned clients away", evidence, "Raise maxclients, or find who does not close connections.", 60
    if facts.get("maxclients") and facts.get("connected_clients", 0) > 0.8 * facts["maxclients"]:
        evidence = f"{facts['connected_clients']:,} of {facts['maxclients']:,}"
        yield WARNING, "Redis has almost as many clients as it takes", evidence, "Find who does not close connections, by CLIENT LIST.", 70


def _redis_memory(facts: Facts) -> t.Iterator[Told]:
    used, most = facts.get("used_memory", 0), facts.get("maxmemory", 0)
    if most and used > 0.9 * most:
        keeps = facts.get("maxmemory_policy") == "noeviction"
        mend = "Raise maxmemory, or find what grows with redis-cli --memkeys." + (" At 100 % writes are refused." if keeps else "")
        yield CRITICAL if keeps else INFO, f"{100 * used / most:.0f} % of maxmemory is used", f"{size(used)} of {size(most)}", mend, 90
    if facts.get("evicted_keys") and facts.get("maxmemory_policy") != "noeviction":
        yield INFO, "Redis removes keys to make room", f"{facts['evicted_keys']:,} since it was started", "Raise maxmemory, unless all it keeps is a cache.", 10
    if used > 100e6 and facts.get("used_memory_rss", 0) > 1.5 * used:
        evidence = f"it takes {size(facts['used_memory_rss'])} for {size(used)} of data"
        yield WARNING, "the memory of Redis is fragmented", evidence, "Set activedefrag, or restart its replicas and switch over.", 30


def _redis_speed(facts: Facts, limits: Limits) -> t.Iterator[Told]:
    percent = facts.get("hit_percent")
    if percent is not None and facts["lookups"] >= LOOKUPS and percent < limits.redis_hits_warning_percent:
        evidence = f"of {facts['lookups']:,} lookups since it was started"
        mend = "See which keys are asked for and are not there, or expire too soon."
        yield WARNING, f"{percent:.0f} % of the lookups in Redis find a key", evidence, mend, 40
    for command in (facts.get("slow") or {}).get("commands", []):
        severity = graded(command["slowest_seconds"], limits.redis_command_warning_seconds, limits.redis_command_critical_seconds)
        if severity:
            evidence = f"{command['count']} times in the slow log of the window"
            problem = f"{command['command']} took {duration(command['slowest_seconds'])} in Redis, in which nothing else runs"
            yield severity, problem, evidence, "Ask for less at once: SCAN for KEYS, parts of large collections.", command["slowest_seconds"]


def ranked(findings: t.Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.weight, finding.area, finding.place, finding.problem))
