# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and sequences of a database: dead rows, old statistics, sequences near their end, tables without a primary key."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.indexes import OURS
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
    quoted,
)
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration

INTEGERS = {"smallint": 2**15 - 1, "integer": 2**31 - 1}
"""Columns that end before their sequence does."""
NAMED = 5
"""So many objects are named in a sentence."""


def _vacuum(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, greatest(c.reltuples, 0)::float8 AS rows, s.n_dead_tup AS dead, s.n_mod_since_analyze AS changed,
               coalesce(c.reloptions, '{{}}') AS options,
               extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8 AS vacuumed_seconds,
               extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8 AS analyzed_seconds
          FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND s.n_dead_tup + s.n_mod_since_analyze > 0
         ORDER BY s.n_dead_tup + s.n_mod_since_analyze DESC, 1, 2 LIMIT {READ_ROWS}
    """


def due(context: Context, row: Row, what: str) -> float:
    """Return how many rows autovacuum waits for before it acts on a table; ``what`` is ``vacuum`` or ``analyze``.

    The formula is that of "The Autovacuum Daemon" in the manual of PostgreSQL; version 18 has an upper limit as well.
    """
    own = dict(option.split("=", 1) for option in row["options"])

    def setting(name: str) -> float:
        return float(own.get(f"autovacuum_{what}_{name}", context.server.number(f"autovacuum_{what}_{name}")))

    rows = setting("threshold") + setting("scale_factor") * row["rows"]
    most = setting("max_threshold") if what == "vacuum" else 0
    return min(rows, most) if most > 0 else rows


def judge_vacuum(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Tables that autovacuum should have seen to."""
    limits = context.thresholds
    jobs = (
        ("dead", "vacuum", "dead_rows", "dead rows", WARNING, "vacuumed_seconds", "VACUUM (ANALYZE)"),
        ("changed", "analyze", "stale_statistics", "rows changed since it was analyzed", INFO, "analyzed_seconds", "ANALYZE"),
    )
    for key, what, kind, words, severity, last, command in jobs:
        for row in rows:
            limit = max(due(context, row, what) * limits.vacuum_late_factor, limits.vacuum_rows)
            if row[key] < limit:
                continue
            when = "never" if row[last] is None else f"{duration(row[last])} ago"
            off = "autovacuum_enabled=false" in row["options"] or "autovacuum_enabled=off" in row["options"]
            yield Finding(
                id=kind,
                severity=severity,
                object=f"{row['schema']}.{row['name']}",
                problem=f"has {row[key]:,} {words}, beside {row['rows']:,.0f} rows; the last {what} was {when}",
                measured=row[key],
                unit="rows",
                threshold=round(limit),
                recommendation=(
                    "Autovacuum is switched off for it: switch it on."
                    if off
                    else "If it is so an hour later too, look for an old transaction or slot that keeps autovacuum from helping, then give it more workers."
                ),
                sql=f"{command} {quoted(row['schema'], row['name'])};",
                details={"rows": round(row["rows"]), last: row[last], "options": row["options"]},
                database=context.database,
            )


def _sequences(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, q.seqmin AS lowest, q.seqmax AS highest, q.seqincrement AS step,
               has_sequence_privilege(c.oid, 'SELECT, USAGE') AS visible,
               CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid) END AS last,
               coalesce(t.relname || '.' || a.attname, '') AS column, coalesce(format_type(a.atttypid, NULL), '') AS type
          FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                                   AND d.deptype IN ('a', 'i')
          LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE {OURS} AND NOT q.seqcycle AND c.relpersistence = 'p' ORDER BY 1, 2 LIMIT {10 * READ_ROWS}
    """


def judge_sequences(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Sequences, or the columns that they fill, that are almost at their end."""
    limits = context.thresholds
    for row in rows:
        if row["last"] is None:
            continue
        highest = min(row["highest"], INTEGERS.get(row["type"], row["highest"]))
        gone, all_of_it = (row["last"] - row["lowest"], highest - row["lowest"]) if row["step"] > 0 else (highest - row["last"], highest - row["lowest"])
        percent = 100 * gone / max(all_of_it, 1)
        severity = graded(percent, limits.sequence_warning_percent, limits.sequence_critical_percent)
        if severity:
            fills = f", which fills {row['column']} ({row['type']})," if row["column"] else ""
            yield Finding(
                id="sequence_near_end",
                severity=severity,
                object=f"{row['schema']}.{row['name']}",
                problem=f"at {row['last']:,}{fills} has used {percent:.1f} % of its numbers",
                measured=round(percent, 1),
                unit="percent",
                threshold=limits.sequence_critical_percent if severity == CRITICAL else limits.sequence_warning_percent,
                recommendation="Inserts fail at its end. Make sequence and column bigint; a large table needs a new column for it: ALTER TYPE writes all anew.",
                details={"last_number": row["last"], "highest_number": highest, "column": row["column"], "type": row["type"]},
                database=context.database,
            )


def hidden_sequences(context: Context, rows: list[Row]) -> str:
    """Say which sequences the login may not read."""
    return named("the login may not read", [f"{row['schema']}.{row['name']}" for row in rows if not row["visible"]], "grant it pg_read_all_data")


def named(why: str, objects: t.Sequence[str], next_step: str) -> str:
    """Return a sentence that names some objects and counts the rest; empty if there is none."""
    if not objects:
        return ""
    more = f" and {len(objects) - NAMED} more" if len(objects) > NAMED else ""
    return f"{why} {', '.join(objects[:NAMED])}{more}; {next_step}"


def _primary_keys(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS rows, c.relreplident AS identity
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
           AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
         ORDER BY rows DESC, 1, 2 LIMIT {READ_ROWS}
    """


def judge_primary_keys(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Tables whose rows have no name."""
    for row in rows:
        yield Finding(
            id="no_primary_key",
            severity=INFO,
            object=f"{row['schema']}.{row['name']}",
            problem="has no primary key",
            measured=row["rows"],
            unit="rows",
            threshold=None,
            recommendation="Add one: without it a row can be there twice, and logical replication cannot follow updates and deletes.",
            details={"replica_identity": {"d": "default", "n": "nothing", "f": "full", "i": "index"}.get(row["identity"], row["identity"])},
            database=context.database,
        )


CHECKS = (
    Check("vacuum", _vacuum, judge_vacuum, primary_only=True),
    Check("sequences", _sequences, judge_sequences, partial=hidden_sequences),
    Check("primary_keys", _primary_keys, judge_primary_keys),
)
