# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sessions do now: statements that cost most, connections, locks, long transactions."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import (
    INFO,
    READ_CHARACTERS,
    READ_ROWS,
    WARNING,
    Check,
    Context,
    Finding,
    Row,
    Server,
    graded,
)
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration

STATEMENTS_EXTENSION = "pg_stat_statements"


def statements_query(schema: str) -> str:
    """Return the question for what pg_stat_statements has counted; ``schema`` is the quoted one that the extension is in.

    Its columns are those of PostgreSQL 13 (extension 1.8). The times of blocks, which were renamed in 1.11, are not asked for.
    """
    return f"""
        SELECT s.queryid::text AS query_id, coalesce(d.datname, '') AS database, coalesce(pg_get_userbyid(s.userid), '') AS role, s.calls,
               s.total_exec_time / 1000 AS total_seconds, s.mean_exec_time / 1000 AS mean_seconds, s.max_exec_time / 1000 AS max_seconds,
               coalesce(100 * s.total_exec_time / nullif(s.all_time, 0), 0) AS share_percent, s.rows,
               s.shared_blks_read * current_setting('block_size')::bigint AS read_bytes,
               s.temp_blks_written * current_setting('block_size')::bigint AS temp_bytes,
               left(s.query, {READ_CHARACTERS}) AS query
          FROM (SELECT *, sum(total_exec_time) OVER () AS all_time FROM {schema}.pg_stat_statements) s
          LEFT JOIN pg_database d ON d.oid = s.dbid
         ORDER BY s.total_exec_time DESC LIMIT {READ_ROWS}
    """


def judge_statements(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Statements that are slow each time, and those that take a large part of all time."""
    limits = context.thresholds
    for row in rows:
        if row["calls"] < limits.statement_calls:
            continue
        slow, dominant = row["mean_seconds"] >= limits.statement_mean_seconds, row["share_percent"] >= limits.statement_share_percent
        if not slow and not dominant:
            continue
        took = f"{duration(row['total_seconds'])} in {row['calls']} calls, {row['share_percent']:.0f} % of the time of all statements"
        figures = ("query_id", "role", "calls", "total_seconds", "mean_seconds", "max_seconds", "share_percent", "rows", "read_bytes", "temp_bytes")
        yield Finding(
            id="slow_statement" if slow else "dominant_statement",
            severity=WARNING if slow else INFO,
            object=context.statement(row["query"]),
            problem=f"takes {duration(row['mean_seconds'])} on average, {took}",
            measured=row["mean_seconds"] if slow else row["share_percent"],
            unit="seconds" if slow else "percent",
            threshold=limits.statement_mean_seconds if slow else limits.statement_share_percent,
            recommendation="Look at its plan with EXPLAIN (ANALYZE, BUFFERS) and typical parameters: an index that fits, fewer rows, or fewer calls.",
            details={name: row[name] for name in figures},
            database=row["database"],
        )


def _connections(server: Server) -> str:
    return """
        SELECT count(*) AS used, count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state = 'idle') AS idle,
               count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
               (SELECT coalesce(jsonb_object_agg(k.role, k.count), '{}') FROM (SELECT coalesce(usename, '') AS role, count(*) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC LIMIT 5) k) AS most_by_role
          FROM pg_stat_activity WHERE backend_type = 'client backend'
    """


def judge_connections(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """How many of the connections that anybody may have are taken."""
    row, server, limits = rows[0], context.server, context.thresholds
    free_for_all = server.number("max_connections") - server.number("superuser_reserved_connections") - server.number("reserved_connections")
    percent = 100 * row["used"] / max(free_for_all, 1)
    severity = graded(percent, limits.connections_warning_percent, limits.connections_critical_percent)
    if severity:
        states = f"{row['active']} active, {row['idle']} idle, {row['idle_in_transaction']} idle in a transaction"
        yield Finding(
            id="connections_near_limit",
            severity=severity,
            object="max_connections",
            problem=f"{row['used']} of {free_for_all:.0f} connections are taken ({states})",
            measured=round(percent, 1),
            unit="percent",
            threshold=limits.connections_critical_percent if severity == "critical" else limits.connections_warning_percent,
            recommendation="Put a pooler such as pgbouncer before the server, or make the applications' pools smaller; each connection more costs memory.",
            details={**row, "max_connections": int(server.number("max_connections"))},
        )


def _idle(server: Server) -> str:
    return f"""
        SELECT pid, backend_start::text AS began, coalesce(datname, '') AS database, coalesce(usename, '') AS role,
               coalesce(application_name, '') AS application, state,
               extract(epoch FROM clock_timestamp() - state_change)::float8 AS seconds, left(query, {READ_CHARACTERS}) AS query
          FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND pid <> pg_backend_pid() ORDER BY state_change LIMIT {READ_ROWS}
    """


def judge_idle(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Sessions that hold a transaction open and do nothing."""
    limit = context.thresholds.idle_in_transaction_seconds
    for row in rows:
        if row["seconds"] >= limit:
            yield Finding(
                id="idle_in_transaction",
                severity=WARNING,
                object=session_of(row),
                problem=f"has been idle in a transaction for {duration(row['seconds'])}, after {context.statement(row['query'])}",
                measured=row["seconds"],
                unit="seconds",
                threshold=limit,
                recommendation="It holds its locks and keeps dead rows. Mend the application; idle_in_transaction_session_timeout ends such sessions.",
                sql=ending("pg_terminate_backend", row),
                details={name: row[name] for name in ("pid", "role", "application", "state")},
                database=row["database"],
            )


def _locks(server: Server) -> str:
    # Since when a lock is waited for is known from version 14 on; before, since when the statement has run is the most that it can be.
    since = "l.waitstart" if server.major >= 14 else "a.query_start"
    return f"""
        SELECT a.pid, coalesce(a.datname, '') AS database, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application,
               extract(epoch FROM clock_timestamp() - coalesce({since}, a.query_start))::float8 AS seconds, left(a.query, {READ_CHARACTERS}) AS query,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('pid', b.pid, 'began', b.backend_start::text, 'role', b.usename,
                       'application', b.application_name, 'state', b.state, 'query', left(b.query, {READ_CHARACTERS}),
                       'transaction_seconds', extract(epoch FROM clock_timestamp() - b.xact_start)::float8)
                       ORDER BY b.xact_start), '[]') FROM pg_stat_activity b WHERE b.pid = ANY (pg_blocking_pids(a.pid))) AS blockers,
               l.mode, l.locktype
          FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
         WHERE a.wait_event_type = 'Lock' ORDER BY seconds DESC NULLS LAST LIMIT {READ_ROWS // 10}
    """


def judge_locks(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Sessions that wait for others."""
    limits = context.thresholds
    for row in rows:
        severity = graded(row["seconds"] or 0, limits.lock_warning_seconds, limits.lock_critical_seconds)
        if severity is None:
            continue
        blockers = [{**blocker, "query": context.statement(blocker["query"])} for blocker in row["blockers"]]
        names = ", ".join(f"{blocker['pid']} ({blocker['role']}, {blocker['state']})" for blocker in blockers) or "a prepared transaction"
        yield Finding(
            id="blocked_session",
            severity=severity,
            object=session_of(row),
            problem=f"has waited for {duration(row['seconds'])} for {names}, with {context.statement(row['query'])}",
            measured=row["seconds"],
            unit="seconds",
            threshold=limits.lock_critical_seconds if severity == "critical" else limits.lock_warning_seconds,
            recommendation="Find out what the session that blocks is doing; ending it rolls its transaction back. lock_timeout keeps waits short.",
            sql=ending("pg_terminate_backend", blockers[0]) if blockers else "",
            details={**{name: row[name] for name in ("pid", "role", "application", "mode", "locktype")}, "blockers": blockers},
            database=row["database"],
        )


def _transactions(server: Server) -> str:
    return f"""
        SELECT pid, backend_start::text AS began, coalesce(datname, '') AS database, coalesce(usename, '') AS role,
               coalesce(application_name, '') AS application, coalesce(state, '') AS state,
               extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, left(query, {READ_CHARACTERS}) AS query
          FROM pg_stat_activity
         WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND state NOT LIKE 'idle in transaction%' AND pid <> pg_backend_pid()
         ORDER BY xact_start LIMIT {READ_ROWS}
    """


def judge_transactions(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Transactions that have worked for long."""
    limits = context.thresholds
    for row in rows:
        severity = graded(row["seconds"], limits.transaction_warning_seconds, limits.transaction_critical_seconds)
        if severity:
            yield Finding(
                id="long_transaction",
                severity=severity,
                object=session_of(row),
                problem=f"has been in a transaction for {duration(row['seconds'])}, now with {context.statement(row['query'])}",
                measured=row["seconds"],
                unit="seconds",
                threshold=limits.transaction_critical_seconds if severity == "critical" else limits.transaction_warning_seconds,
                recommendation="No row that was deleted since then can be removed in its database. Make it shorter, or run it where it does not matter.",
                sql=ending("pg_cancel_backend", row),
                details={name: row[name] for name in ("pid", "role", "application", "state")},
                database=row["database"],
            )


def _prepared(server: Server) -> str:
    return f"""
        SELECT gid, database, owner AS role, extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
          FROM pg_prepared_xacts ORDER BY prepared LIMIT {READ_ROWS}
    """


def judge_prepared(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Prepared transactions that nobody has ended."""
    limits = context.thresholds
    for row in rows:
        severity = graded(row["seconds"], limits.prepared_warning_seconds, limits.prepared_critical_seconds)
        if severity:
            yield Finding(
                id="prepared_transaction",
                severity=severity,
                object=row["gid"],
                problem=f"was prepared {duration(row['seconds'])} ago by {row['role']} and is neither committed nor rolled back",
                measured=row["seconds"],
                unit="seconds",
                threshold=limits.prepared_critical_seconds if severity == "critical" else limits.prepared_warning_seconds,
                recommendation="It holds its locks and keeps dead rows, through restarts too. Ask its transaction manager, then commit it or roll it back.",
                details={"role": row["role"]},
                database=row["database"],
            )


def session_of(row: Row) -> str:
    """Return a session in words."""
    return f"session {row['pid']} of {row['role']}" + (f" ({row['application']})" if row["application"] else "")


def ending(function: str, session: t.Mapping[str, t.Any]) -> str:
    """Return the statement that ends a session or what it does; it does nothing when another session has got its number."""
    return f"SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {session['pid']} AND backend_start = '{session['began']}';"


CHECKS = (
    Check("connections", _connections, judge_connections, needs_monitor=True),
    Check("idle_in_transaction", _idle, judge_idle, needs_monitor=True),
    Check("locks", _locks, judge_locks, needs_monitor=True),
    Check("transactions", _transactions, judge_transactions, needs_monitor=True),
    Check("prepared_transactions", _prepared, judge_prepared),
)
