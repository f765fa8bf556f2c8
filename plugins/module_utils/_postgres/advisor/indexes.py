# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Indexes of a database that are too many, missing, or broken.

Sizes are those of the last VACUUM or ANALYZE (``relpages``): to ask the files would wait for whoever holds a lock on one of them.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import (
    INFO,
    READ_ROWS,
    WARNING,
    Check,
    Context,
    Finding,
    Row,
    Server,
    quoted,
)
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration, size

OURS = """
    n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
"""
"""Of ``pg_class c`` and ``pg_namespace n``: what is neither the server's own nor an extension's."""
SECONDS_OF_DAY = 86400
READ_INDEXES = 20 * READ_ROWS
"""So many indexes are compared with each other."""


def _unused(server: Server) -> str:
    # When an index was last scanned is known from version 16 on.
    last = "extract(epoch FROM clock_timestamp() - s.last_idx_scan)::float8" if server.major >= 16 else "NULL::float8"
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, t.relname AS table, c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
               s.idx_scan AS scans, {last} AS idle_seconds
          FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid JOIN pg_class c ON c.oid = s.indexrelid
          JOIN pg_class t ON t.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident AND NOT c.relispartition
           AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) AND (s.idx_scan = 0 OR {last} > {SECONDS_OF_DAY})
         ORDER BY c.relpages DESC, 1, 2 LIMIT {READ_ROWS}
    """


def judge_unused(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Indexes that no query of this member has used, unless they keep something unique."""
    limits, role = context.thresholds, context.server.role
    waited = limits.unused_index_days * SECONDS_OF_DAY
    for row in rows:
        if row["bytes"] < limits.unused_index_bytes or (row["scans"] > 0 and (row["idle_seconds"] or 0) < waited):
            continue
        seconds = row["idle_seconds"] if row["scans"] > 0 else context.counters_seconds
        yield Finding(
            id="unused_index",
            severity=WARNING if seconds >= waited else INFO,
            object=f"{row['schema']}.{row['name']}",
            problem=f"holds {size(row['bytes'])} for {row['schema']}.{row['table']} and was not used on this {role} for {duration(seconds)}",
            measured=row["bytes"],
            unit="bytes",
            threshold=limits.unused_index_bytes,
            recommendation=(
                "Every member counts its own scans: see that no other one uses it, nor what runs once a month. An index that is younger "
                "than the counters had less time. Then drop it, on the primary."
            ),
            sql=f"DROP INDEX CONCURRENTLY {quoted(row['schema'], row['name'])};",
            details={"scans": row["scans"], "unused_seconds": round(seconds), "table": row["table"], "member": role},
            database=context.database,
        )


def _all_keys(server: Server) -> str:
    # The texts of expressions hold where in a statement they stood, which makes no difference. To have them written out in SQL would lock the tables.
    return f"""
        WITH kept AS (
            SELECT i.*, c.relname, c.relpages, c.relam, n.nspname, count(*) OVER (PARTITION BY i.indrelid) AS siblings
              FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {OURS} AND i.indisvalid AND c.relkind = 'i' AND NOT c.relispartition AND c.relpersistence <> 't')
        SELECT k.indrelid::bigint AS table_id, k.nspname AS schema, k.relname AS name, t.relname AS table, m.amname AS method,
               k.relpages::bigint * current_setting('block_size')::bigint AS bytes,
               k.indisunique AS is_unique, k.indisprimary AS is_primary, k.indisreplident AS is_identity,
               EXISTS (SELECT FROM pg_constraint r WHERE r.conindid = k.indexrelid AND r.contype IN ('p', 'u', 'x')) AS is_constraint,
               coalesce(pg_stat_get_numscans(k.indexrelid), 0) AS scans,
               (SELECT array_agg(concat_ws(':', k.indkey[g], k.indclass[g], k.indcollation[g], k.indoption[g]) ORDER BY g)
                  FROM generate_series(0, k.indnkeyatts - 1) g) AS columns,
               (SELECT coalesce(array_agg(k.indkey[g]::int ORDER BY k.indkey[g]), '{{}}') FROM generate_series(k.indnkeyatts, k.indnatts - 1) g) AS included,
               coalesce(regexp_replace(k.indexprs::text, ':location -?[0-9]+', '', 'g'), '') AS expressions,
               coalesce(regexp_replace(k.indpred::text, ':location -?[0-9]+', '', 'g'), '') AS predicate
          FROM kept k JOIN pg_class t ON t.oid = k.indrelid JOIN pg_am m ON m.oid = k.relam
         WHERE k.siblings > 1 ORDER BY k.indrelid, k.indexrelid LIMIT {READ_INDEXES}
    """


def judge_duplicates(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Indexes that another one of the same table makes needless."""
    tables: dict[int, list[Row]] = {}
    for row in rows:
        tables.setdefault(row["table_id"], []).append(row)
    found = [(row, *_covered(row, siblings)) for siblings in tables.values() for row in siblings]
    for row, other, same in sorted(found, key=lambda entry: -entry[0]["bytes"]):
        if other is not None:
            is_what = f"{'is the same as' if same else 'has the first columns of'} {other['name']} of {row['schema']}.{row['table']}"
            drop = "" if row["is_constraint"] else f"DROP INDEX CONCURRENTLY {quoted(row['schema'], row['name'])};"
            yield Finding(
                id="duplicate_index" if same else "redundant_index",
                severity=WARNING if same else INFO,
                object=f"{row['schema']}.{row['name']}",
                problem=f"{is_what}, and holds {size(row['bytes'])}",
                measured=row["bytes"],
                unit="bytes",
                threshold=None,
                recommendation=(
                    "Drop it: what it answers, the other one does."
                    if drop and same
                    else "Drop its constraint: the other one promises the same."
                    if same
                    else "Drop it unless it is much smaller and much used: the other one answers the same."
                ),
                sql=drop,
                details={"other": other["name"], "table": row["table"], "scans": row["scans"]},
                database=context.database,
            )


def _covered(row: Row, siblings: list[Row]) -> tuple[Row | None, bool]:
    """Return the index that makes this one needless, and whether it is the same."""
    for other in siblings:
        if other is not row and _same(row, other) and _worth(other) > _worth(row):
            return other, True
    needed = row["is_unique"] or row["is_constraint"] or row["is_identity"] or row["expressions"]
    for other in siblings if not needed and row["method"] == "btree" else ():
        fits = other["method"] == "btree" and other["predicate"] == row["predicate"] and len(other["columns"]) > len(row["columns"])
        if fits and other["columns"][: len(row["columns"])] == row["columns"] and set(row["included"]) <= _attributes(other):
            return other, False
    return None, False


def _same(one: Row, other: Row) -> bool:
    return all(one[part] == other[part] for part in ("method", "columns", "included", "expressions", "predicate"))


def _worth(row: Row) -> tuple[t.Any, ...]:
    """What makes an index worth more than one that is the same; the name decides in the end, so that never both go."""
    return (row["is_primary"], row["is_constraint"], row["is_identity"], row["is_unique"], row["scans"], row["name"])


def _attributes(row: Row) -> set[int]:
    return {int(column.split(":")[0]) for column in row["columns"]} | set(row["included"])


def _scans(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, s.seq_scan AS scans, s.seq_tup_read AS rows_read, coalesce(s.idx_scan, 0) AS index_scans,
               s.n_live_tup AS rows, c.relpages::bigint * current_setting('block_size')::bigint AS bytes
          FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND c.relpersistence <> 't' AND s.seq_scan > 0 ORDER BY s.seq_tup_read DESC, 1, 2 LIMIT {READ_ROWS}
    """


def judge_scans(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Tables that are read from end to end again and again."""
    limits = context.thresholds
    for row in rows:
        a_scan = row["rows_read"] / row["scans"]
        if row["scans"] >= limits.scan_count and a_scan >= limits.scan_rows:
            yield Finding(
                id="sequential_scans",
                severity=WARNING,
                object=f"{row['schema']}.{row['name']}",
                problem=f"was read from end to end {row['scans']:,} times, {a_scan:,.0f} rows each time, and by an index {row['index_scans']:,} times",
                measured=round(a_scan),
                unit="rows",
                threshold=limits.scan_rows,
                recommendation="Find the statements that read it (check statements) and give it an index on the columns of their conditions.",
                details={name: row[name] for name in ("scans", "rows_read", "index_scans", "rows", "bytes")},
                database=context.database,
            )


def _foreign_keys(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS table, k.conname AS name, r.relname AS referenced, c.relkind = 'p' AS partitioned,
               greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS rows,
               (SELECT array_agg(a.attname::text ORDER BY p.place) FROM unnest(k.conkey) WITH ORDINALITY AS p(number, place)
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.number) AS columns
          FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class r ON r.oid = k.confrelid
         WHERE {OURS} AND k.contype = 'f' AND k.conparentid = 0
           AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                           AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
         ORDER BY rows DESC, 1, 2, 3 LIMIT {READ_ROWS}
    """


def judge_foreign_keys(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Foreign keys whose table is read from end to end for each row that is deleted in the other."""
    limit = context.thresholds.referencing_rows
    for row in rows:
        if row["rows"] >= limit:
            columns = ", ".join(quoted(column) for column in row["columns"])
            yield Finding(
                id="unindexed_foreign_key",
                severity=WARNING,
                object=f"{row['schema']}.{row['table']}.{row['name']}",
                problem=f"has no index on {', '.join(row['columns'])}, so that each delete in {row['referenced']} reads about {row['rows']:,} rows",
                measured=row["rows"],
                unit="rows",
                threshold=limit,
                recommendation="Give it an index, unless nothing is ever deleted or renumbered in the other table.",
                sql="" if row["partitioned"] else f"CREATE INDEX CONCURRENTLY ON {quoted(row['schema'], row['table'])} ({columns});",
                details={"columns": row["columns"], "referenced": row["referenced"]},
                database=context.database,
            )


def _invalid(server: Server) -> str:
    return f"""
        SELECT n.nspname AS schema, c.relname AS name, t.relname AS table, c.relpages::bigint * current_setting('block_size')::bigint AS bytes
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND NOT i.indisvalid AND c.relkind = 'i' AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid)
         ORDER BY c.relpages DESC, 1, 2 LIMIT {READ_ROWS}
    """


def judge_invalid(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Indexes that a CREATE INDEX CONCURRENTLY left when it failed: written to, never read."""
    for row in rows:
        # What REINDEX CONCURRENTLY makes beside the index; that one is still there.
        rest = re.search(r"_cc(new|old)\d*$", row["name"])
        name = quoted(row["schema"], row["name"])
        yield Finding(
            id="invalid_index",
            severity=WARNING,
            object=f"{row['schema']}.{row['name']}",
            problem=f"of {row['schema']}.{row['table']} is not valid: it is kept up to date, and no query uses it",
            measured=row["bytes"],
            unit="bytes",
            threshold=None,
            recommendation="Drop it." if rest else "Build it anew, or drop it. A unique one failed over rows that are twice there: mend those first.",
            sql=f"DROP INDEX CONCURRENTLY {name};" if rest else f"REINDEX INDEX CONCURRENTLY {name};",
            details={"table": row["table"]},
            database=context.database,
        )


CHECKS = (
    Check("unused_indexes", _unused, judge_unused, counted=True),
    Check("duplicate_indexes", _all_keys, judge_duplicates),
    Check("missing_indexes", _scans, judge_scans, counted=True),
    Check("foreign_keys", _foreign_keys, judge_foreign_keys),
    Check("invalid_indexes", _invalid, judge_invalid),
)
