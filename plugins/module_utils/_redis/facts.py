# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Redis server says of itself, and what follows from it for a snapshot."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Server

_REPLICA = re.compile(r"slave\d+")
_DATABASE = re.compile(r"db\d+")
_CHANGES = ("rdb_changes_since_last_save", "rdb_last_save_time", "expired_keys", "evicted_keys")
"""Counters that move when a key comes or goes."""


@dataclasses.dataclass(frozen=True)
class Replica:
    """A replica as its master lists it."""

    host: str
    port: int
    state: str
    offset: int


@dataclasses.dataclass(frozen=True)
class Keyspace:
    """Keys of one database, and how many of them have a time to live."""

    keys: int
    expires: int


@dataclasses.dataclass(frozen=True)
class ServerFacts:
    """The state of one server at one moment. Sizes are bytes, times seconds; -1 where the server does not say."""

    product: str
    version: str
    mode: str
    role: str
    run_id: str
    process_id: int
    replication_id: str
    offset: int
    link_status: str
    link_age: int
    sync_in_progress: bool
    replicas: tuple[Replica, ...]
    loading: bool
    child_running: bool
    used_memory: int
    resident_memory: int
    system_memory: int
    keyspace: t.Mapping[str, Keyspace]
    changes: tuple[int, ...]
    master: str
    link_down: int = -1

    @property
    def key_count(self) -> int:
        """Keys in all databases."""
        return sum(database.keys for database in self.keyspace.values())

    @property
    def name(self) -> str:
        """Product and version for messages."""
        return f"{self.product.capitalize()} {self.version}"


def facts_from(info: t.Mapping[str, str]) -> ServerFacts:
    """Read the facts from the fields of ``INFO``; a missing field has its neutral value."""
    product = "valkey" if info.get("server_name") == "valkey" or "valkey_version" in info else "redis"

    def number(name: str, default: int = -1) -> int:
        value = info.get(name, "")
        return int(value) if value.lstrip("-").isdigit() else default

    role = "replica" if info.get("role") == "slave" else info.get("role", "")
    return ServerFacts(
        product=product,
        version=info.get("valkey_version", info.get("redis_version", "")),
        mode=info.get("redis_mode", info.get("server_mode", "standalone")),
        role=role,
        run_id=info.get("run_id", ""),
        process_id=number("process_id"),
        replication_id=info.get("master_replid", ""),
        offset=number("slave_repl_offset" if role == "replica" else "master_repl_offset"),
        link_status=info.get("master_link_status", ""),
        link_age=number("master_last_io_seconds_ago"),
        sync_in_progress=info.get("master_sync_in_progress", "0") == "1",
        replicas=tuple(_replica(value) for name, value in info.items() if _REPLICA.fullmatch(name)),
        loading=info.get("loading", "0") == "1",
        child_running=any(info.get(name, "0") == "1" for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress")),
        used_memory=number("used_memory", 0),
        resident_memory=number("used_memory_rss", 0),
        system_memory=number("total_system_memory", 0),
        keyspace={name: _keyspace(value) for name, value in info.items() if _DATABASE.fullmatch(name)},
        changes=tuple(number(name) for name in _CHANGES),
        master=f"{info.get('master_host', '')}:{info.get('master_port', '')}" if role == "replica" else "",
        link_down=number("master_link_down_since_seconds"),
    )


def read_facts(server: Server) -> ServerFacts:
    """Ask a server for its facts.

    Raises:
        MainstayError: it could not be reached, or the login failed.
    """
    return facts_from(server.info())


def data_digest(server: Server) -> str:
    """Return the digest that ``DEBUG DIGEST`` makes of all keys, values and whether they expire; functions are not in it.

    The server does nothing else meanwhile: about 4 seconds for a million small keys.

    Raises:
        Refused: ``DEBUG`` is switched off (``enable-debug-command``) or not permitted.
    """
    reply = server.command("DEBUG DIGEST", doing="make the digest of the data")
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _replica(text: str) -> Replica:
    fields = _fields(text)
    return Replica(fields.get("ip", ""), int(fields.get("port", 0)), fields.get("state", ""), int(fields.get("offset", -1)))


def _keyspace(text: str) -> Keyspace:
    fields = _fields(text)
    return Keyspace(int(fields.get("keys", 0)), int(fields.get("expires", 0)))


@dataclasses.dataclass(frozen=True)
class KeyBounds:
    """How many keys a snapshot can have per database, from a look before and one after it was begun.

    ``exact`` says that nothing was written, expired or evicted between the two, so that any other number is wrong; otherwise
    the bounds are what was seen, and a number outside them is possible.
    """

    databases: t.Mapping[str, tuple[int, int]]
    exact: bool

    def as_dict(self) -> dict[str, t.Any]:
        """Return the form that the manifest keeps."""
        return {"keys": {name: {"min": low, "max": high} for name, (low, high) in self.databases.items()}, "keys_exact": self.exact}


def key_bounds(before: ServerFacts, after: ServerFacts) -> KeyBounds:
    """Compare the key counts of the same server at two moments.

    A save that was running already at the first may be the one that the snapshot comes from, so nothing is exact then.
    """
    names = sorted(set(before.keyspace) | set(after.keyspace), key=lambda name: int(name[2:]))
    none = Keyspace(0, 0)
    counts = {name: sorted((before.keyspace.get(name, none).keys, after.keyspace.get(name, none).keys)) for name in names}
    quiet = before.changes == after.changes and before.keyspace == after.keyspace and before.run_id == after.run_id and not before.child_running
    return KeyBounds({name: (low, high) for name, (low, high) in counts.items()}, quiet)


def bounds_from(contents: t.Mapping[str, t.Any]) -> KeyBounds:
    """Read the bounds back from a manifest's contents.

    Raises:
        MainstayError: they are none.
    """
    try:
        return KeyBounds({name: (int(entry["min"]), int(entry["max"])) for name, entry in contents.get("keys", {}).items()}, bool(contents.get("keys_exact")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MainstayError("read the contents that the manifest names", f"{type(error).__name__}: {error}", "use another backup") from error


def compare_keys(bounds: KeyBounds, loaded: t.Mapping[str, int]) -> tuple[str, str]:
    """Compare the keys that a throwaway server loaded with the bounds of the snapshot.

    Args:
        bounds: from the manifest.
        loaded: keys per database, those already expired included.

    Returns:
        A sentence for a failure and one for a warning; empty where there is none.
    """
    wrong = []
    for name in sorted(set(bounds.databases) | set(loaded)):
        low, high = bounds.databases.get(name, (0, 0))
        if not low <= loaded.get(name, 0) <= high:
            wrong.append(f"{name} has {loaded.get(name, 0)} keys, the source had {low}" + (f" to {high}" if high != low else ""))
    sentence = "; ".join(wrong)
    if bounds.exact:
        return sentence, ""
    return "", f"{sentence}; it was written to while the snapshot began, so this can be right" if sentence else ""
