# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the databases of a server are whole: every row is read, every foreign key finds its row, and the user's queries answer as expected.

For a server that is there for trial only, such as an instance that was restored from a snapshot: its login may give itself the right to read.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, execute, rows, sql, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.verify import ask
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query

SHOWN_ORPHANS = 10
"""So many foreign keys are named in the sentence that says that they are broken."""

DATABASES = """
SELECT datname AS name FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> ALL (%s) ORDER BY datname
"""
TABLES = """
SELECT n.nspname AS schema, c.relname AS name, has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS readable
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2
"""
FOREIGN_KEYS = """
SELECT con.conname AS name, cn.nspname AS child_schema, c.relname AS child, c.relkind = 'p' AS child_parted, pn.nspname AS parent_schema, p.relname AS parent,
       p.relkind = 'p' AS parent_parted, has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(p.oid, 'SELECT') AS readable,
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(con.conkey) WITH ORDINALITY k(number, place)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number) AS child_columns,
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(con.confkey) WITH ORDINALITY k(number, place)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.number) AS parent_columns
  FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = con.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE con.contype = 'f' AND con.conparentid = 0 AND con.convalidated
 ORDER BY 2, 3, 1
"""


@dataclasses.dataclass(frozen=True)
class Examination:
    """What is looked at.

    Args:
        queries: the user's own.
        closed: databases that nobody may log in to.
        seconds: how long one statement may take.
    """

    queries: tuple[Query, ...] = ()
    closed: tuple[str, ...] = ()
    seconds: int = 3600


def examine(login: Login, wanted: Examination) -> dict[str, t.Any]:
    """Look at all databases of a server.

    Args:
        login: as whom; it should be a member of ``pg_read_all_data``, or may make itself one.
        wanted: what is looked at.

    Returns:
        ``server_version``, ``databases`` (each with name, tables, rows, row_counts by table, foreign_keys), ``verify_queries`` with what was found, and
        ``warnings`` for what could not be read.

    Raises:
        VerificationFailed: something is broken, or a query did not answer as expected.
        MainstayError: it could not be looked at.
    """
    warnings: list[str] = []
    with connect(login) as connection:
        version = value(connection, "SHOW server_version")
        names = [row["name"] for row in rows(connection, DATABASES, [list(wanted.closed)])]
        _let_read(connection, warnings)
    missing = sorted({query.database for query in wanted.queries} - set(names))
    if missing:
        raise VerificationFailed("put verify_queries", f"there is no database {', '.join(missing)} in what was restored")
    databases = [_examine(dataclasses.replace(login, database=name), wanted.seconds, warnings) for name in names]
    if not any(database["tables"] for database in databases):
        warnings.append("no database has a table, so this proves only that the server starts")
    answers = [ask(login, query) for query in wanted.queries]
    return {"server_version": version, "databases": databases, "verify_queries": answers, "warnings": warnings}


def _let_read(connection: t.Any, warnings: list[str]) -> None:
    """Have the login read every table, if it does not already."""
    if value(connection, "SELECT rolsuper OR pg_has_role('pg_read_all_data', 'USAGE') FROM pg_roles WHERE rolname = current_user"):
        return
    psycopg2_error = connection.Error
    try:
        execute(connection, "GRANT pg_read_all_data TO CURRENT_USER")
    except psycopg2_error as error:
        warnings.append(f"the login cannot make itself a member of pg_read_all_data ({str(error).strip()}); tables of others may stay unread")


def _examine(login: Login, seconds: int, warnings: list[str]) -> dict[str, t.Any]:
    """Look at one database."""
    try:
        with connect(login) as connection:
            value(connection, "SELECT set_config('statement_timeout', %s, false)", [str(seconds * 1000)])
            # An index would answer without a look at the rows themselves.
            value(connection, "SELECT set_config('enable_indexonlyscan', 'off', false), set_config('enable_bitmapscan', 'off', false)")
            tables, keys = rows(connection, TABLES), rows(connection, FOREIGN_KEYS)
            counts = _count(connection, login.database, tables)
            _refuse_orphans(connection, login.database, [key for key in keys if key["readable"]])
    except VerificationFailed:
        raise
    except MainstayError as error:
        if error.doing.startswith("connect "):
            raise
        raise VerificationFailed(f"read the database {login.database}", error.cause) from error
    unread = len(tables) - len(counts)
    if unread:
        warnings.append(f"{unread} of {len(tables)} tables of {login.database} could not be read, for want of the right to")
        if unread == len(tables):
            raise MainstayError(f"read the database {login.database}", "the login may read none of its tables", "grant it pg_read_all_data at the source")
    return {
        "name": login.database,
        "tables": len(tables),
        "rows": sum(counts.values()),
        "row_counts": counts,
        "foreign_keys": sum(1 for key in keys if key["readable"]),
    }


def _count(connection: t.Any, database: str, tables: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, int]:
    """Return the exact rows of each table that can be read; every one of them is read for it."""
    counts = {}
    with _progress.current().phase(f"count the rows of {database}", len(tables), "tables", exact=True) as phase:
        for table in tables:
            if table["readable"]:
                statement = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(table["schema"], table["name"]))
                counts[f"{table['schema']}.{table['name']}"] = int(value(connection, statement))
            phase.advance(1)
    return counts


def _refuse_orphans(connection: t.Any, database: str, keys: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Look for rows whose foreign key leads nowhere.

    Raises:
        VerificationFailed: there are some.
    """
    broken = []
    with _progress.current().phase(f"look for orphans in {database}", len(keys), "foreign keys", exact=True) as phase:
        for key in keys:
            if count := value(connection, _orphans(key)):
                broken.append(f"{count} rows of {key['child_schema']}.{key['child']} have no {key['parent_schema']}.{key['parent']} ({key['name']})")
            phase.advance(1)
    if broken:
        more = f", and {len(broken) - SHOWN_ORPHANS} more foreign keys" if len(broken) > SHOWN_ORPHANS else ""
        raise VerificationFailed(f"check the foreign keys of {database}", "; ".join(broken[:SHOWN_ORPHANS]) + more)


def _orphans(key: t.Mapping[str, t.Any]) -> t.Any:
    """Return the query that counts the rows of a foreign key without their other row. One with a NULL refers to none (MATCH SIMPLE)."""

    def table(side: str) -> t.Any:
        return sql.SQL("" if key[f"{side}_parted"] else "ONLY ") + sql.Identifier(key[f"{side}_schema"], key[side])

    there = sql.SQL(" AND ").join(sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(name)) for name in key["child_columns"])
    pairs = zip(key["parent_columns"], key["child_columns"], strict=True)
    same = sql.SQL(" AND ").join(sql.SQL("p.{} = c.{}").format(sql.Identifier(parent), sql.Identifier(child)) for parent, child in pairs)
    statement = "SELECT count(*) FROM {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})"
    return sql.SQL(statement).format(table("child"), there, table("parent"), same)
