# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a table or of a B-tree index is empty.

The estimate asks how many pages the rows would need, if they were as wide as ANALYZE found them, and compares that with how many there are.
The idea is the well-known one of https://wiki.postgresql.org/wiki/Show_database_bloat and https://github.com/ioguix/pgsql-bloat-estimation;
the sizes of headers are those of "Database Page Layout" in the manual of PostgreSQL. It passes over the padding between columns
and over the upper pages of an index, so that some 10 to 20 % mean nothing. What is stored apart (TOAST) is not looked at.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.indexes import OURS
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import READ_ROWS, Check, Context, Finding, Row, Server, graded, quoted
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.tables import named
from ansible_collections.mainstay.ops.plugins.module_utils._report import size

PAGE_HEADER, ITEM_POINTER, ALIGNMENT = 24, 4, 8
TUPLE_HEADER, INDEX_TUPLE_HEADER, INDEX_NULL_BITMAP, INDEX_PAGE_SPECIAL = 23, 8, 4, 16
TABLE_FILL, INDEX_FILL = 100, 90
"""Percent of a page that is filled when it is written first, where nothing else is said."""
PGSTATTUPLE = "pgstattuple"


def aligned(width: float) -> float:
    """Return a number of bytes as the server stores it, in full words."""
    return math.ceil(width / ALIGNMENT) * ALIGNMENT


def table_pages(block: int, rows: float, width: float, columns: int, nulls: bool, fill: int = TABLE_FILL) -> int:
    """Return how many pages the rows of a table need.

    Args:
        block: bytes of a page.
        rows: how many there are.
        width: bytes of the data of a row, on average.
        columns: how many a row has.
        nulls: whether there are any, so that rows say where.
        fill: percent of a page that is to be filled.
    """
    header = aligned(TUPLE_HEADER + (math.ceil(columns / 8) if nulls else 0))
    a_page = (block - PAGE_HEADER) * fill / 100 / (ITEM_POINTER + header + aligned(width))
    return math.ceil(rows / max(math.floor(a_page), 1))


def index_pages(block: int, rows: float, width: float, nulls: bool, fill: int = INDEX_FILL) -> int:
    """Return how many pages a B-tree index needs: its leaves and the first page. Arguments as for :func:`table_pages`."""
    header = aligned(INDEX_TUPLE_HEADER + (INDEX_NULL_BITMAP if nulls else 0))
    a_page = (block - PAGE_HEADER - INDEX_PAGE_SPECIAL) * fill / 100 / (ITEM_POINTER + header + aligned(width))
    return 1 + math.ceil(rows / max(math.floor(a_page), 1))


_WIDTH = "coalesce(sum((1 - s.null_frac) * s.avg_width), 0)::float8 AS width, coalesce(bool_or(s.null_frac > 0), false) AS nulls, count(s.attname) AS known"
_SMALLEST = 128
"""Pages; what is smaller is not looked at."""


def _tables(server: Server) -> str:
    return f"""
        WITH large AS (
            SELECT c.oid, n.nspname, c.relname, c.reltuples, c.relpages, c.reloptions FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {OURS} AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relpages >= {_SMALLEST} ORDER BY c.relpages DESC LIMIT {READ_ROWS})
        SELECT c.oid::bigint AS oid, c.nspname AS schema, c.relname AS name, c.reltuples::float8 AS rows, c.relpages AS pages,
               coalesce(c.reloptions, '{{}}') AS options, count(*) AS columns, {_WIDTH},
               has_table_privilege(c.oid, 'SELECT') AS visible
          FROM large c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_stats s ON s.schemaname = c.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
         GROUP BY c.oid, c.nspname, c.relname, c.reltuples, c.relpages, c.reloptions ORDER BY c.relpages DESC, 2, 3
    """


def _indexes(server: Server) -> str:
    # The statistics of an expression stand under the index's name, those of a column under the table's.
    return f"""
        WITH large AS (
            SELECT c.oid, n.nspname, c.relname, t.relname AS table_name, t.oid AS table_id, c.reltuples, c.relpages, c.reloptions, i.indkey, i.indnatts
              FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_am m ON m.oid = c.relam
             WHERE {OURS} AND m.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND c.relpersistence <> 't' AND c.relpages >= {_SMALLEST}
             ORDER BY c.relpages DESC LIMIT {READ_ROWS})
        SELECT c.nspname AS schema, c.relname AS name, c.reltuples::float8 AS rows, c.relpages AS pages, coalesce(c.reloptions, '{{}}') AS options,
               count(*) AS columns, {_WIDTH}, has_table_privilege(c.table_id, 'SELECT') AS visible
          FROM large c CROSS JOIN LATERAL generate_series(0, c.indnatts - 1) AS p(place)
          LEFT JOIN pg_attribute k ON c.indkey[p.place] <> 0 AND k.attrelid = c.table_id AND k.attnum = c.indkey[p.place]
          LEFT JOIN pg_attribute x ON c.indkey[p.place] = 0 AND x.attrelid = c.oid AND x.attnum = p.place + 1
          LEFT JOIN pg_stats s ON s.schemaname = c.nspname AND NOT s.inherited
                              AND s.tablename = CASE WHEN k.attname IS NULL THEN c.relname ELSE c.table_name END AND s.attname = coalesce(k.attname, x.attname)
         GROUP BY c.oid, c.nspname, c.relname, c.table_id, c.reltuples, c.relpages, c.reloptions ORDER BY c.relpages DESC, 1, 2
    """


def fill_of(row: Row, default: int) -> int:
    """Return the fill factor of a table or an index."""
    return int(dict(option.split("=", 1) for option in row["options"]).get("fillfactor", default))


def is_known(row: Row) -> bool:
    """Whether the statistics tell how wide its rows are."""
    return row["known"] == row["columns"] and row["rows"] >= 0


def unknown(context: Context, rows: list[Row]) -> str:
    """Say of which nothing can be estimated, and why."""
    hidden = [f"{row['schema']}.{row['name']}" for row in rows if not is_known(row) and not row["visible"]]
    missing = [f"{row['schema']}.{row['name']}" for row in rows if not is_known(row) and row["visible"]]
    parts = (
        named("the login may not read the statistics of", hidden, "grant it pg_read_all_data, or SELECT"),
        named("there are no statistics of all columns of", missing, "run ANALYZE"),
    )
    return ". ".join(part for part in parts if part)


def judge_tables(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Tables that are larger than their rows need."""
    for row in filter(is_known, rows):
        fill = fill_of(row, TABLE_FILL)
        needed = table_pages(context.server.block, row["rows"], row["width"], row["columns"], row["nulls"], fill)
        yield from _bloated(context, row, "bloated_table", (row["pages"] - needed) * context.server.block, "estimated")


def judge_indexes(context: Context, rows: list[Row]) -> t.Iterator[Finding]:
    """Indexes that are larger than their entries need."""
    for row in filter(is_known, rows):
        needed = index_pages(context.server.block, row["rows"], row["width"], row["nulls"], fill_of(row, INDEX_FILL))
        yield from _bloated(context, row, "bloated_index", (row["pages"] - needed) * context.server.block, "estimated")


def measured_query(schema: str) -> str:
    """Return the question for what pgstattuple measures in one table; ``schema`` is the quoted one that the extension is in."""
    return f"SELECT table_len AS bytes, (approx_free_space + dead_tuple_len)::bigint AS empty FROM {schema}.pgstattuple_approx(%s)"


def judge_measured(context: Context, row: Row, found: Row) -> t.Iterator[Finding]:
    """A table of which it was measured how much is empty."""
    pages = found["bytes"] // context.server.block
    yield from _bloated(context, {**row, "pages": pages}, "bloated_table", found["empty"], "measured")


def _bloated(context: Context, row: Row, kind: str, empty: int, how: str) -> t.Iterator[Finding]:
    limits, total = context.thresholds, row["pages"] * context.server.block
    percent = 100 * empty / max(total, 1)
    severity = graded(empty, limits.bloat_warning_bytes, limits.bloat_critical_bytes)
    if severity and percent >= limits.bloat_percent:
        name = quoted(row["schema"], row["name"])
        table = kind == "bloated_table"
        yield Finding(
            id=kind,
            severity=severity,
            object=f"{row['schema']}.{row['name']}",
            problem=f"of its {size(total)}, {size(empty)} are empty or dead ({percent:.0f} %, {how})",
            measured=empty,
            unit="bytes",
            threshold=limits.bloat_critical_bytes if severity == "critical" else limits.bloat_warning_bytes,
            recommendation=(
                "New rows fill what VACUUM has freed. To give it back use pg_repack, or VACUUM FULL, which locks the table for all of the time. "
                "Then find out why autovacuum was late."
                if table
                else "Build it anew; nobody waits for that, but it takes room for both."
            ),
            sql="" if table else f"REINDEX INDEX CONCURRENTLY {name};",
            details={"bytes": total, "empty_percent": round(percent, 1), "method": how},
            database=context.database,
        )


TABLES = Check("bloat", _tables, judge_tables, partial=unknown)
INDEXES = Check("bloat", _indexes, judge_indexes, partial=unknown)
