# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dynamic configuration: what may be asked for, what differs, and what the difference needs. Nothing here speaks to a server."""

from __future__ import annotations

import copy
import dataclasses
import decimal
import json
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.secrecy import mask

DOING = "plan the dynamic configuration"
NOTES = "mainstay"
"""Patroni keeps what it does not know; under this name roles note what they have applied."""

NUMBERS = frozenset({
    *("ttl", "loop_wait", "retry_timeout", "maximum_lag_on_failover", "maximum_lag_on_syncnode", "max_timelines_history"),
    *("primary_start_timeout", "primary_stop_timeout", "synchronous_node_count"),
})
SWITCHES = frozenset({"synchronous_mode_strict", "failsafe_mode", "check_timeline", "pause"})
OTHERS = frozenset({"synchronous_mode", "member_slots_ttl", "postgresql", "standby_cluster", "slots", "ignore_slots", NOTES})
RENAMED = {"master_start_timeout": "primary_start_timeout", "master_stop_timeout": "primary_stop_timeout"}
"""Names of Patroni before 3.0, which later ones still understand."""

SINCE = {"member_slots_ttl": (4, 0)}
"""Settings that older releases pass over in silence, with the first release that knows them (its release notes)."""

LOCAL = frozenset({
    *("name", "scope", "namespace", "log", "restapi", "ctl", "tags", "watchdog", "bootstrap", "citus", "proxy"),
    *("etcd", "etcd3", "consul", "zookeeper", "exhibitor", "kubernetes", "raft"),
})
LOCAL_POSTGRESQL = frozenset({"listen", "connect_address", "proxy_address", "data_dir", "config_dir", "bin_dir", "pgpass", "authentication"})
"""Read from each member's own configuration file alone (Patroni: "can be set only locally")."""

LOCAL_PARAMETERS = {
    "listen_addresses": "postgresql.listen",
    "port": "postgresql.listen",
    "cluster_name": "scope",
    "data_directory": "postgresql.data_dir",
    "config_file": "postgresql.custom_conf",
    "hba_file": "postgresql.pg_hba",
    "ident_file": "postgresql.pg_ident",
    "hot_standby": "",
    "primary_conninfo": "postgresql.authentication",
    "primary_slot_name": "postgresql.use_slots",
}
"""Parameters that Patroni sets itself, with the setting that they come from; empty where there is none."""

LEAST = {
    **{"max_connections": 25, "max_wal_senders": 3, "max_prepared_transactions": 0, "max_locks_per_transaction": 32},
    **{"max_replication_slots": 4, "max_worker_processes": 2, "wal_keep_segments": 1},
}
"""Patroni takes its default in silence where a parameter is less (its documentation, "PostgreSQL parameters controlled by Patroni")."""

WAL_LEVELS = ("hot_standby", "replica", "logical")

SHARED_DEFAULTS = {"max_connections": 100, "max_prepared_transactions": 0, "max_locks_per_transaction": 64, "max_wal_senders": 10, "max_worker_processes": 8}
"""Parameters that must not be less on a standby than on the leader, with Patroni's defaults: less of one is for the leader to have first."""

START_PARAMETERS = frozenset({
    *("archive_mode", "autovacuum_freeze_max_age", "autovacuum_max_workers", "autovacuum_multixact_freeze_max_age", "autovacuum_worker_slots", "bonjour"),
    *("bonjour_name", "commit_timestamp_buffers", "data_sync_retry", "debug_io_direct", "dynamic_shared_memory_type", "event_source"),
    *("external_pid_file", "huge_page_size", "huge_pages", "io_max_combine_limit", "io_max_concurrency", "io_method", "jit_provider", "logging_collector"),
    *("max_active_replication_slots", "max_connections", "max_files_per_process", "max_locks_per_transaction", "max_logical_replication_workers"),
    *("max_notify_queue_pages", "max_pred_locks_per_transaction", "max_prepared_transactions", "max_replication_slots", "max_wal_senders"),
    *("max_worker_processes", "min_dynamic_shared_memory", "multixact_member_buffers", "multixact_offset_buffers", "notify_buffers"),
    *("old_snapshot_threshold", "reserved_connections", "serializable_buffers", "shared_buffers", "shared_memory_type", "shared_preload_libraries"),
    *("subtransaction_buffers", "superuser_reserved_connections", "track_activity_query_size", "track_commit_timestamp", "transaction_buffers"),
    *("unix_socket_directories", "unix_socket_group", "unix_socket_permissions", "wal_buffers", "wal_decode_buffer_size", "wal_level", "wal_log_hints"),
})
"""Parameters that PostgreSQL reads at its start alone (pg_settings, context ``postmaster``, of PostgreSQL 13 to 18). What a member says goes before."""

ON, OFF = frozenset({"on", "true", "yes"}), frozenset({"off", "false", "no"})
AMOUNT = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
MEMORY = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
MICROSECONDS = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
"""Units as PostgreSQL writes them (its documentation, "Parameter Names and Values")."""

Settings = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """One setting that differs; ``None`` means that it is not there."""

    path: tuple[str, ...]
    before: t.Any
    after: t.Any

    def __str__(self) -> str:
        """The change in words, without secrets."""
        name, last = ".".join(self.path), self.path[-1]
        if self.after is None:
            return f"remove {name} (it was {shown(self.before, last)})"
        was = "it was not set" if self.before is None else f"it was {shown(self.before, last)}"
        return f"set {name} to {shown(self.after, last)} ({was})"

    @property
    def parameter(self) -> str:
        """The parameter of PostgreSQL that changes; empty if it is none."""
        return self.path[2] if self.path[:2] == ("postgresql", "parameters") and len(self.path) == 3 else ""


def shown(content: t.Any, name: str) -> str:
    """Return a setting's content for messages."""
    hidden = mask(content, name)
    return hidden if isinstance(hidden, str) else json.dumps(hidden, sort_keys=True)


def canonical(content: t.Any) -> t.Any:
    """Return what a setting means: ``on`` is true, ``100`` and ``"100"`` are a number, ``64MB`` and ``65536kB`` are the same memory."""
    if isinstance(content, dict):
        return {name: canonical(part) for name, part in content.items()}
    if isinstance(content, list):
        return [canonical(part) for part in content]
    text = str(content).strip()
    if text.lower() in ON | OFF:
        return text.lower() in ON
    if (match := AMOUNT.fullmatch(text)) is None:
        return content
    number, unit = decimal.Decimal(match[1]), match[2]
    if not unit:
        return ("number", number)
    for kind, units in (("memory", MEMORY), ("time", MICROSECONDS)):
        if unit in units:
            return (kind, number * units[unit])
    return content


def same(one: t.Any, other: t.Any) -> bool:
    """Tell whether two settings mean the same."""
    return canonical(one) == canonical(other)


def wanted_from(settings: Settings, versions: t.Iterable[str]) -> dict[str, t.Any]:
    """Check what is asked for, and return it as it goes into the store.

    Args:
        settings: the module's option.
        versions: of Patroni on the members, as far as they are known.

    Raises:
        InvalidInput: a setting that does not belong there, that Patroni would pass over in silence, or that cannot be right.
    """
    oldest = min((tuple(int(part) for part in re.findall(r"\d+", version)[:2]) for version in versions if version), default=None)
    wanted: dict[str, t.Any] = {}
    for given, content in settings.items():
        name = RENAMED.get(given, given)
        if name in wanted or (name != given and name in settings):
            raise InvalidInput(DOING, f"{given} and {name} are the same setting", f"give {name} alone")
        _check_name(name, content, oldest)
        wanted[name] = _top_level(name, content)
    postgresql = wanted.get("postgresql") or {}
    for name in sorted(LOCAL_POSTGRESQL & set(postgresql)):
        raise InvalidInput(DOING, f"postgresql.{name} belongs to each member's own configuration file, Patroni passes it over here", "leave it out")
    if postgresql.get("parameters"):
        wanted["postgresql"] = {**postgresql, "parameters": {name: _parameter(name, content) for name, content in postgresql["parameters"].items()}}
    return wanted


def _check_name(name: str, content: t.Any, oldest: tuple[int, ...] | None) -> None:
    if name in LOCAL:
        raise InvalidInput(DOING, f"{name} belongs to each member's own configuration file, Patroni passes it over here", "leave it out")
    if name not in NUMBERS | SWITCHES | OTHERS:
        raise InvalidInput(DOING, f"Patroni knows no dynamic setting {name} and would pass it over", "parameters of PostgreSQL go below postgresql.parameters")
    first = (4, 0) if name == "synchronous_mode" and str(content).lower() == "quorum" else SINCE.get(name)
    if content is not None and first is not None and oldest is not None and oldest < first:
        what = "synchronous_mode quorum" if name == "synchronous_mode" else name
        has, needs = ".".join(map(str, oldest)), ".".join(map(str, first))
        raise InvalidInput(DOING, f"{what} needs Patroni {needs}, and a member has {has}, which would pass it over", "leave it out, or upgrade")


def _top_level(name: str, content: t.Any) -> t.Any:
    """Return the content of a setting of Patroni itself with its proper type."""
    if content is None:
        return None
    means = canonical(content)
    if name in NUMBERS:
        if not isinstance(means, tuple) or means[0] != "number" or means[1] != int(means[1]):
            raise InvalidInput(DOING, f"{name} is {content!r}, it must be a whole number")
        return int(means[1])
    if name in SWITCHES or (name == "synchronous_mode" and str(content).lower() != "quorum"):
        if not isinstance(means, bool):
            raise InvalidInput(DOING, f"{name} is {content!r}, it must be true or false{', or quorum' if name == 'synchronous_mode' else ''}")
        return means
    kind: type = list if name == "ignore_slots" else dict
    if name in ("postgresql", "slots", "ignore_slots", "standby_cluster", NOTES) and not isinstance(content, kind):
        raise InvalidInput(DOING, f"{name} is {content!r}, it must be a {'list' if kind is list else 'dictionary'}")
    if name == "postgresql" and not isinstance(content.get("parameters") or {}, dict):
        raise InvalidInput(DOING, "postgresql.parameters must be a dictionary")
    return content


def _parameter(name: str, content: t.Any) -> t.Any:
    """Return the content of a parameter of PostgreSQL as it goes into the store; YAML has made booleans of ``on`` and ``off``."""
    if name in LOCAL_PARAMETERS:
        source = LOCAL_PARAMETERS[name]
        where = f"; it comes from {source}" if source else ""
        raise InvalidInput(DOING, f"the parameter {name} is set by Patroni itself and passed over here{where}", "leave it out")
    if content is None:
        return None
    if isinstance(content, (dict, list)):
        raise InvalidInput(DOING, f"the parameter {name} is {mask(content, name)!r}, it must be one value")
    means = canonical(content)
    if name in LEAST and isinstance(means, tuple) and means[0] == "number" and means[1] < LEAST[name]:
        raise InvalidInput(DOING, f"{name} is {content}, and below {LEAST[name]} Patroni takes its own default instead", f"give at least {LEAST[name]}")
    if name == "wal_level" and content not in WAL_LEVELS:
        raise InvalidInput(DOING, f"wal_level is {content}, and Patroni takes its own default for that", f"give one of {', '.join(WAL_LEVELS[1:])}")
    return ("on" if content else "off") if isinstance(content, bool) else content


def differences(current: Settings, wanted: Settings, purge_parameters: bool) -> tuple[Change, ...]:
    """Return what has to change, by name.

    Args:
        current: the configuration in the store.
        wanted: see :func:`wanted_from`; ``None`` as a content means that the setting is not there.
        purge_parameters: whether parameters of PostgreSQL that are not asked for go.
    """
    found = list(_walk((), current, wanted))
    for old, new in RENAMED.items():
        if new in wanted and old in current:
            found.append(Change((old,), current[old], None))
    if purge_parameters:
        have = (current.get("postgresql") or {}).get("parameters") or {}
        keep = (wanted.get("postgresql") or {}).get("parameters") or {}
        found.extend(Change(("postgresql", "parameters", name), have[name], None) for name in have if name not in keep)
    return tuple(sorted(found, key=lambda change: change.path))


def _walk(path: tuple[str, ...], have: Settings, want: Settings) -> t.Iterator[Change]:
    for name, content in want.items():
        before = have.get(name)
        if isinstance(content, dict):
            yield from _walk((*path, name), before if isinstance(before, dict) else {}, content)
        elif (name in have or content is not None) and not (name in have and same(before, content)):
            yield Change((*path, name), before, content)


def patch_of(changes: t.Iterable[Change]) -> dict[str, t.Any]:
    """Return the changes as the request that makes them."""
    patch: dict[str, t.Any] = {}
    for change in changes:
        place = patch
        for name in change.path[:-1]:
            place = place.setdefault(name, {})
        place[change.path[-1]] = change.after
    return patch


def applied(current: Settings, changes: t.Iterable[Change]) -> dict[str, t.Any]:
    """Return the configuration after the changes."""
    after: dict[str, t.Any] = copy.deepcopy(dict(current))
    for change in changes:
        place = after
        for name in change.path[:-1]:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        if change.after is None:
            place.pop(change.path[-1], None)
        else:
            place[change.path[-1]] = change.after
    return after


def check_timing(after: Settings, wanted: Settings) -> None:
    """Hold ttl, loop_wait and retry_timeout against Patroni's rule, if one of them is asked for.

    Raises:
        InvalidInput: a failover could happen without need; Patroni 3.1 and later change the settings in silence.
    """
    if not {"ttl", "loop_wait", "retry_timeout"} & set(wanted):
        return
    ttl, loop_wait, retry_timeout = int(after.get("ttl", 30)), int(after.get("loop_wait", 10)), int(after.get("retry_timeout", 10))
    for name, number, least in (("ttl", ttl, 20), ("loop_wait", loop_wait, 1), ("retry_timeout", retry_timeout, 3)):
        if number < least:
            raise InvalidInput(DOING, f"{name} is {number}, and Patroni permits no less than {least}")
    if loop_wait + 2 * retry_timeout > ttl:
        cause = f"loop_wait {loop_wait} + 2 * retry_timeout {retry_timeout} is more than ttl {ttl}"
        raise InvalidInput(DOING, cause, "give a longer ttl, or less of the others")


def start_parameters(changes: t.Iterable[Change]) -> list[str]:
    """Return the parameters among the changes that PostgreSQL reads at its start alone."""
    return [change.parameter for change in changes if change.parameter in START_PARAMETERS]


@dataclasses.dataclass(frozen=True)
class Needs:
    """What the parameters that wait for a restart ask of the order.

    Args:
        falling: parameters of shared memory of which there is to be less: the leader has to be restarted with less before a standby can be.
        others: all other ones: the standbys go first.
    """

    falling: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def needs_of(changes: t.Iterable[Change], reasons: t.Iterable[Settings]) -> Needs:
    """Sort the parameters that wait for a restart.

    Args:
        changes: of this run.
        reasons: what members that wait already say (Patroni 4.0 and later): the old and the new value of each parameter.
    """
    moves = {change.parameter: (change.before, change.after) for change in changes if change.parameter in START_PARAMETERS}
    for reason in reasons:
        for name, values in reason.items():
            moves.setdefault(name, (values.get("old_value"), values.get("new_value")))
    falling = tuple(sorted(name for name, (before, after) in moves.items() if _falls(name, before, after)))
    return Needs(falling, tuple(sorted(set(moves) - set(falling))))


def _falls(name: str, before: t.Any, after: t.Any) -> bool:
    if name not in SHARED_DEFAULTS:
        return False
    numbers = [canonical(SHARED_DEFAULTS[name] if content is None else content) for content in (before, after)]
    return all(isinstance(number, tuple) for number in numbers) and numbers[1][1] < numbers[0][1]
