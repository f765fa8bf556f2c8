# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What concerns the whole server: replication, slots, wraparound, checkpoints, temporary files, settings, the archive, checksums, the cache."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import (
    CRITICAL,
    INFO,
    READ_ROWS,
    WARNING,
    Check,
    Context,
    Finding,
    Row,
    Server,
    graded,
)
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, size

SETTINGS = (
    "archive_command", "archive_library", "archive_mode", "autovacuum", "autovacuum_analyze_scale_factor", "autovacuum_analyze_threshold",
    "autovacuum_freeze_max_age", "autovacuum_multixact_freeze_max_age", "autovacuum_vacuum_max_threshold", "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold", "block_size", "data_checksums", "fsync", "full_page_writes", "ignore_checksum_failure", "max_connections",
    "reserved_connections", "shared_buffers", "superuser_reserved_connections", "track_counts", "zero_damaged_pages",
)  # fmt: skip
"""The settings that judgements look at; one that a version does not have is missing."""
UNSAFE = {
    "fsync": ("off", "what was committed may be lost, and the data damaged, by a loss of power"),
    "full_page_writes": ("off", "pages may be damaged beyond repair by a loss of power"),
    "autovacuum": ("off", "dead rows stay, and statistics grow old"),
    "track_counts": ("off", "autovacuum does nothing without these counters"),
    "ignore_checksum_failure": ("on", "damaged pages are read as if they were sound"),
    "zero_damaged_pages": ("on", "damaged pages are emptied without a word"),
}
XIDS = 2**31
"""So many transaction ids lie between the oldest row and the moment that the server refuses writes, less three million."""
SECONDS_OF_DAY = 86400


def _replication(server: Server) -> str:
    here = "pg_last_wal_receive_lsn()" if server.standby else "pg_current_wal_lsn()"
    return f"""
        SELECT application_name AS name, coalesce(host(client_addr), 'a local socket') AS address, state, sync_state,
               extract(epoch FROM replay_lag)::float8 AS seconds, greatest(pg_wal_lsn_diff({here}, replay_lsn), 0)::bigint AS bytes
          FROM pg_stat_replication WHERE replay_lsn IS NOT NULL ORDER BY bytes DESC NULLS LAST LIMIT {READ_ROWS}
    """


def judge_replication(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Those who receive the log from here, and are behind."""
    for row in rows:
        yield from _lag(context, row, row["name"] or row["address"], "receives the log from this server and", {**row})


def _receiving(server: Server) -> str:
    # What was replayed last is long ago on a server where nobody writes: without anything left to replay there is no lag.
    return """
        SELECT coalesce(greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0), 0)::bigint AS bytes,
               CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS seconds,
               pg_is_wal_replay_paused() AS paused, (SELECT status FROM pg_stat_wal_receiver) AS receiver,
               coalesce((SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'), '') <> '' AS has_upstream
         WHERE pg_is_in_recovery()
    """


def judge_receiving(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """What a standby says of itself."""
    for row in rows:
        details = {name: row[name] for name in ("receiver", "paused", "bytes", "seconds")}
        if row["has_upstream"] and row["receiver"] != "streaming":
            yield Finding(
                id="replication_stopped",
                severity=CRITICAL,
                object="this standby",
                problem=f"receives nothing from its primary; its receiver is {row['receiver'] or 'not there'}",
                measured=0,
                unit="receivers",
                threshold=1,
                recommendation="Read its log: the primary may be gone, refuse the login, or have removed log that this standby still needs.",
                details=details,
            )
        yield from _lag(context, row, "this standby", "has paused replaying and" if row["paused"] else "replays the log and", details)


def _lag(context: Context, row: Row, name: str, what: str, details: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    """Somebody who is behind by time, or by bytes."""
    limits, seconds = context.thresholds, row["seconds"] or 0.0
    severity = graded(seconds, limits.lag_warning_seconds, limits.lag_critical_seconds)
    by_bytes = severity is None and row["bytes"] >= limits.lag_bytes
    if severity or by_bytes:
        limit = limits.lag_critical_seconds if severity == CRITICAL else limits.lag_warning_seconds
        yield Finding(
            id="replication_lag",
            severity=severity or WARNING,
            object=name,
            problem=f"{what} is {duration(seconds)} and {size(row['bytes'])} behind",
            measured=row["bytes"] if by_bytes else seconds,
            unit="bytes" if by_bytes else "seconds",
            threshold=limits.lag_bytes if by_bytes else limit,
            recommendation="Look at its disk and network, and for a long query there that replaying waits for (max_standby_streaming_delay).",
            details=details,
        )


def _slots(server: Server) -> str:
    here = "pg_last_wal_replay_lsn()" if server.standby else "pg_current_wal_lsn()"
    return f"""
        SELECT slot_name AS name, slot_type AS type, coalesce(database, '') AS database, active, coalesce(wal_status, '') AS wal_status,
               greatest(pg_wal_lsn_diff({here}, restart_lsn), 0)::bigint AS bytes
          FROM pg_replication_slots WHERE NOT temporary ORDER BY bytes DESC NULLS LAST LIMIT {READ_ROWS}
    """


def judge_slots(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Slots that are lost, that nobody uses, or that keep much of the log."""
    limits = context.thresholds
    for row in rows:
        retained = row["bytes"] or 0
        lost = row["wal_status"] == "lost"
        severity = CRITICAL if lost else graded(retained, limits.slot_warning_bytes, limits.slot_critical_bytes)
        # A standby has the slots of its siblings, for the day that it is the primary, and nobody uses those.
        if severity is None and not row["active"] and not context.server.standby:
            severity = WARNING
        if severity is None:
            continue
        keeps = f"keeps {size(retained)} of the log"
        yield Finding(
            id="lost_slot" if lost else "slot_behind" if row["active"] else "inactive_slot",
            severity=severity,
            object=row["name"],
            problem="has lost log that its user still needs" if lost else f"{'' if row['active'] else 'is used by nobody and '}{keeps}",
            measured=retained,
            unit="bytes",
            threshold=limits.slot_critical_bytes if severity == CRITICAL and not lost else limits.slot_warning_bytes,
            recommendation=(
                "Make its user anew from a base backup or a snapshot, and drop the slot."
                if lost
                else "Have its user connect again, or drop it: kept log fills the disk. max_slot_wal_keep_size sets a limit to that."
            ),
            sql="" if row["active"] else f"SELECT pg_drop_replication_slot({_literal(row['name'])});",
            details={name: row[name] for name in ("type", "active", "wal_status")},
            database=row["database"],
        )


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _wraparound(server: Server) -> str:
    return f"""
        SELECT datname AS database, age(datfrozenxid)::bigint AS xids, mxid_age(datminmxid)::bigint AS multixacts
          FROM pg_database ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC LIMIT {READ_ROWS}
    """


def judge_wraparound(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Databases that autovacuum does not freeze in time."""
    limits, server = context.thresholds, context.server
    kinds = (
        ("xids", "xid_wraparound", "transactions", server.number("autovacuum_freeze_max_age")),
        ("multixacts", "multixact_wraparound", "multixacts", server.number("autovacuum_multixact_freeze_max_age")),
    )
    for row in rows:
        for key, kind, what, due in kinds:
            late, critical = due * limits.wraparound_late_factor, XIDS * limits.wraparound_critical_percent / 100
            severity = graded(row[key], min(late, critical), critical)
            if severity:
                yield Finding(
                    id=kind,
                    severity=severity,
                    object=row["database"],
                    problem=f"its oldest row is {row[key]:,} {what} old, {100 * row[key] / XIDS:.0f} % of the way to the end of writing",
                    measured=row[key],
                    unit=what,
                    threshold=critical if severity == CRITICAL else late,
                    recommendation="End old transactions, prepared ones and slots, which keep autovacuum from helping; then run it, the oldest tables first.",
                    sql="VACUUM (FREEZE, VERBOSE);",
                    details={"freeze_max_age": int(due)},
                    database=row["database"],
                )


def _checkpoints(server: Server) -> str:
    # The counters moved to a view of their own in version 17, with other names.
    if server.major >= 17:
        names, view = "num_timed AS timed, num_requested AS requested", "pg_stat_checkpointer"
    else:
        names, view = "checkpoints_timed AS timed, checkpoints_req AS requested", "pg_stat_bgwriter"
    return f"SELECT {names}, extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS counters_seconds FROM {view}"


def judge_checkpoints(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Checkpoints that come before their time because max_wal_size is small."""
    row, limit = rows[0], context.thresholds.checkpoints_requested_percent
    percent = 100 * row["requested"] / max(row["timed"] + row["requested"], 1)
    if row["requested"] >= 10 and percent >= limit:
        yield Finding(
            id="requested_checkpoints",
            severity=WARNING,
            object="max_wal_size",
            problem=f"{row['requested']} of {row['timed'] + row['requested']} checkpoints were not begun by time",
            measured=round(percent, 1),
            unit="percent",
            threshold=limit,
            recommendation="Raise max_wal_size, so that checkpoint_timeout decides: each checkpoint makes the log larger. Base backups ask for some, too.",
            details=row,
        )


def _databases(server: Server) -> str:
    return f"""
        SELECT coalesce(s.datname, '') AS database, s.blks_hit, s.blks_read, s.temp_files, s.temp_bytes, s.checksum_failures,
               to_char(s.checksum_last_failure AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS checksum_last_failure,
               extract(epoch FROM clock_timestamp() - coalesce(s.stats_reset, (SELECT stats_reset FROM pg_stat_bgwriter)))::float8 AS counters_seconds
          FROM pg_stat_database s ORDER BY s.blks_hit + s.blks_read DESC LIMIT {READ_ROWS}
    """


def judge_cache(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Databases that find too little of what they read in shared_buffers."""
    limits = context.thresholds
    for row in rows:
        asked = row["blks_hit"] + row["blks_read"]
        percent = 100 * row["blks_hit"] / max(asked, 1)
        if row["database"] and asked >= limits.cache_blocks and percent < limits.cache_hit_percent:
            yield Finding(
                id="low_cache_hit_ratio",
                severity=WARNING,
                object=row["database"],
                problem=f"found {percent:.1f} % of {asked:,} pages in shared_buffers",
                measured=round(percent, 2),
                unit="percent",
                threshold=limits.cache_hit_percent,
                recommendation="Look for statements that read whole tables first; then give shared_buffers about a quarter of the memory.",
                details={"blocks_hit": row["blks_hit"], "blocks_read": row["blks_read"], "shared_buffers_pages": int(context.server.number("shared_buffers"))},
                database=row["database"],
            )


def judge_temp_files(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Databases whose sorts and hashes do not fit into work_mem."""
    limit = context.thresholds.temp_bytes_per_day
    for row in rows:
        # Of what is younger than a day it is not known how it goes on.
        a_day = row["temp_bytes"] * SECONDS_OF_DAY / max(row["counters_seconds"], SECONDS_OF_DAY)
        if row["database"] and row["temp_bytes"] > 0 and a_day >= limit:
            yield Finding(
                id="temp_files",
                severity=WARNING,
                object=row["database"],
                problem=f"wrote {size(row['temp_bytes'])} in {row['temp_files']} temporary files, {size(a_day)} a day",
                measured=round(a_day),
                unit="bytes",
                threshold=limit,
                recommendation="Let log_temp_files name the statements; give them an index, or their roles more work_mem.",
                details={"temp_files": row["temp_files"], "temp_bytes": row["temp_bytes"]},
                database=row["database"],
            )


def judge_checksums(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Pages that are damaged, or nobody who would notice."""
    for row in rows:
        if row["checksum_failures"]:
            yield Finding(
                id="checksum_failures",
                severity=CRITICAL,
                object=row["database"] or "what all databases share",
                problem=f"{row['checksum_failures']} pages did not match their checksums, the last one at {row['checksum_last_failure']}",
                measured=row["checksum_failures"],
                unit="pages",
                threshold=1,
                recommendation="Its disk or memory is at fault. Hand over to a standby, keep the data as they are, and restore from a verified backup.",
                database=row["database"],
            )
    if context.server.settings.get("data_checksums") == "off":
        yield Finding(
            id="checksums_off",
            severity=INFO,
            object="data_checksums",
            problem="is off, so that damage of the disk is not noticed",
            measured=0,
            unit="enabled",
            threshold=1,
            recommendation="Enable them with pg_checksums on one stopped standby after the other, and hand over in between.",
        )


def _settings(server: Server) -> str:
    return "SELECT name, setting FROM pg_settings WHERE pending_restart ORDER BY name"


def judge_settings(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Settings that wait for a restart, and those that no production server has."""
    for name, (bad, reason) in UNSAFE.items():
        if context.server.settings.get(name) == bad:
            yield Finding(
                id="unsafe_setting",
                severity=CRITICAL,
                object=name,
                problem=f"is {bad}: {reason}",
                measured=1,
                unit="settings",
                threshold=1,
                recommendation=f"Set it to {'on' if bad == 'off' else 'off'}.",
            )
    for row in rows:
        yield Finding(
            id="pending_restart",
            severity=WARNING,
            object=row["name"],
            problem=f"was changed and waits for a restart; {row['setting'] or 'nothing'} is in force",
            measured=1,
            unit="settings",
            threshold=1,
            recommendation="Restart the server at a quiet time, standbys first, or take the change back.",
        )


def _archiver(server: Server) -> str:
    return """
        SELECT archived_count, failed_count, coalesce(last_failed_wal, '') AS last_failed_wal,
               extract(epoch FROM clock_timestamp() - last_archived_time)::float8 AS archived_seconds,
               extract(epoch FROM clock_timestamp() - last_failed_time)::float8 AS failed_seconds
          FROM pg_stat_archiver
    """


def judge_archiver(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """An archive that the log does not reach."""
    row, settings = rows[0], context.server.settings
    if settings.get("archive_mode") not in ("on", "always"):
        return
    advice = "Run the command by hand as the server's user and read its message. Until it succeeds the log fills the disk, and backups end where it stopped."
    if settings.get("archive_command") in ("", "(disabled)") and not settings.get("archive_library"):
        problem, measured, unit = "archive_mode is on and nothing archives the log, so that all of it is kept", 1.0, "settings"
        advice = "Set archive_command, or to /bin/true if no archive is wanted."
    elif row["failed_seconds"] is not None and (row["archived_seconds"] is None or row["failed_seconds"] < row["archived_seconds"]):
        since = "never" if row["archived_seconds"] is None else f"{duration(row['archived_seconds'])} ago"
        problem = f"cannot archive {row['last_failed_wal']}; it last succeeded {since}, and failed {row['failed_count']} times in all"
        measured, unit = float(row["failed_count"]), "failures"
    else:
        return
    yield Finding(
        id="archiver_failing",
        severity=CRITICAL,
        object="archive_command",
        problem=problem,
        measured=measured,
        unit=unit,
        threshold=1,
        recommendation=advice,
        details=row,
    )


CHECKS = (
    Check("replication", _replication, judge_replication, needs_monitor=True),
    Check("replication", _receiving, judge_receiving, needs_monitor=True),
    Check("slots", _slots, judge_slots),
    Check("wraparound", _wraparound, judge_wraparound),
    Check("checkpoints", _checkpoints, judge_checkpoints, counted=True, primary_only=True),
    Check("cache", _databases, judge_cache, counted=True, of_databases=True),
    Check("temp_files", _databases, judge_temp_files, counted=True, of_databases=True),
    Check("checksums", _databases, judge_checksums),
    Check("settings", _settings, judge_settings),
    Check("archiver", _archiver, judge_archiver, primary_only=True),
)
