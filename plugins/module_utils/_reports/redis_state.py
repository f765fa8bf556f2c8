# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody on call wants to know of a Redis server: hit rate, memory, persistence, clients, slow commands. Never a key or an argument."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Refused, Server

SLOWEST = 20
"""Commands of the slow log that are told."""
NUMBERS = (
    "uptime_in_seconds", "connected_clients", "maxclients", "blocked_clients", "used_memory", "used_memory_rss", "maxmemory", "total_system_memory",
    "evicted_keys", "expired_keys", "keyspace_hits", "keyspace_misses", "rejected_connections", "instantaneous_ops_per_sec", "connected_slaves", "loading",
    "master_last_io_seconds_ago",
)
WORDS = ("redis_version", "role", "maxmemory_policy", "master_link_status", "rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")


def look(server: Server, since: float) -> dict[str, t.Any]:
    """Return the facts.

    Args:
        server: the server.
        since: Unix time from which on slow commands count.

    Raises:
        MainstayError: the server cannot be reached, or does not permit ``INFO``.
    """
    info = server.info()
    facts: dict[str, t.Any] = {name: int(info[name]) for name in NUMBERS if info.get(name, "").lstrip("-").isdecimal()}
    facts.update({name: info[name] for name in WORDS if name in info})
    facts["address"] = server.login.address
    facts["keys"] = sum(int(told.split("keys=")[1].split(",")[0]) for name, told in info.items() if name[:2] == "db" and "keys=" in told)
    looked = facts.get("keyspace_hits", 0) + facts.get("keyspace_misses", 0)
    facts["lookups"] = looked
    facts["hit_percent"] = round(100 * facts.get("keyspace_hits", 0) / looked, 2) if looked else None
    facts["not_judged"] = []
    try:
        reply = server.command("SLOWLOG", "GET", "128", doing="read the slow log")
        facts["slow"] = slow_commands(reply, since)
    except Refused as error:
        facts["slow"] = None
        facts["not_judged"].append({"part": "the slow log", "reason": str(error)})
    return facts


def slow_commands(reply: t.Sequence[t.Any], since: float) -> dict[str, t.Any]:
    """Return the slow log by command, the slowest first."""
    found: dict[str, dict[str, t.Any]] = {}
    total = 0
    for entry in reply:
        _number, at, micros, words = _fields(entry)
        if at < since:
            continue
        total += 1
        name = (words[0].decode("utf-8", "replace") if isinstance(words[0], bytes) else str(words[0])).upper()[:40] if words else "?"
        known = found.setdefault(name, {"command": name, "count": 0, "slowest_seconds": 0.0, "last": 0})
        known["count"] += 1
        known["slowest_seconds"] = max(known["slowest_seconds"], micros / 1e6)
        known["last"] = max(known["last"], at)
    return {"count": total, "commands": sorted(found.values(), key=lambda known: -known["slowest_seconds"])[:SLOWEST]}


def _fields(entry: t.Any) -> tuple[int, int, int, list[t.Any]]:
    """Return number, Unix time, microseconds and words of an entry; the library makes dictionaries of them."""
    if isinstance(entry, dict):
        command = entry["command"]
        return entry["id"], entry["start_time"], entry["duration"], command.split(b" ") if isinstance(command, bytes) else str(command).split(" ")
    try:
        return entry[0], entry[1], entry[2], list(entry[3])
    except (IndexError, TypeError) as error:
        raise MainstayError("read the slow log", "an entry has another form", "see whether this is Redis") from error
