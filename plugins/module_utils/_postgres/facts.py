# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server and its databases are: read for the manifest, and compared after a restore."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import execute, rows, sql, value

COUNTED_TABLES = 1000
COUNTED_BYTES = 256 << 20
"""Rows are counted in the smallest tables of a database, up to so many tables and bytes in all: a fraction of what the dump itself reads."""

OURS = """
    n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server: its version as a number and in words, whether it is a standby, which cluster it is, and what it loads (None if that is not shown)."""

    version_num: int
    version: str
    in_recovery: bool
    system_identifier: str
    timeline: int
    host: str
    superuser: bool
    reads_passwords: bool
    preload_libraries: tuple[str, ...] | None = None

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10000

    def describe(self, lsn: str) -> dict[str, t.Any]:
        """Return what the manifest says of it as the source."""
        return {
            "host": self.host,
            "server_version": self.version,
            "server_version_num": self.version_num,
            "role": "standby" if self.in_recovery else "primary",
            "system_identifier": self.system_identifier,
            "timeline": self.timeline,
            "lsn": lsn,
            "preload_libraries": None if self.preload_libraries is None else list(self.preload_libraries),
        }


FIXES = (
    ("CVE-2026-18408", {18: 6, 17: 11, 16: 15, 15: 19, 14: 24}),
    ("CVE-2025-8714", {17: 6, 16: 10, 15: 14, 14: 19, 13: 22}),
    ("CVE-2024-7348", {16: 4, 15: 8, 14: 13, 13: 16, 12: 20}),
)
"""Vulnerabilities of dumps, and the first minor version of each major one that is without them (postgresql.org/support/security)."""


def unfixed(version: str) -> list[str]:
    """Return the known vulnerabilities of dumps that a version such as ``15.18`` still has; a major version older than all fixes has every one."""
    major, minor = (int(part) for part in re.match(r"(\d+)(?:\.(\d+))?", f"{version}.0").groups(default="0"))  # type: ignore[union-attr]
    return [name for name, fixed in FIXES if major < min(fixed) or minor < fixed.get(major, 0)]


def read_server(connection: t.Any) -> Server:
    """Ask a server what it is."""
    row = rows(
        connection,
        """
        SELECT current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,
               (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
               (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
               coalesce(host(inet_server_addr()), '') AS host,
               (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries') AS preload_libraries,
               current_setting('is_superuser') = 'on' AS superuser, has_table_privilege('pg_authid', 'SELECT') AS reads_passwords
        """,
    )[0]
    libraries = row["preload_libraries"]
    if libraries is not None:
        libraries = tuple(os.path.basename(name.strip().strip('"')) for name in libraries.split(",") if name.strip())
    return Server(**{**row, "host": row["host"] or socket.gethostname(), "preload_libraries": libraries})


def read_lsn(connection: t.Any) -> str:
    """Return the write-ahead log's position: written on a primary, replayed on a standby."""
    return str(value(connection, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END") or "")


def read_databases(connection: t.Any) -> list[dict[str, t.Any]]:
    """Return every database that allows connections and is no template: name, owner, encoding, collation, bytes, and what ``ALTER DATABASE`` set."""
    found = rows(
        connection,
        """
        SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
               CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) ELSE 0 END
                    AS size_bytes,
               (SELECT spcname FROM pg_tablespace WHERE oid = d.dattablespace) AS tablespace,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider), '[]')
                  FROM pg_shseclabel l WHERE l.classoid = 'pg_database'::regclass AND l.objoid = d.oid) AS security_labels,
               d.datcollate AS lc_collate, d.datctype AS lc_ctype, d.datconnlimit AS connection_limit,
               to_jsonb(d) AS row, shobj_description(d.oid, 'pg_database') AS comment,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('grantee', CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END,
                        'privilege', a.privilege_type, 'grantable', a.is_grantable) ORDER BY a.place), '[]')
                  FROM aclexplode(d.datacl) WITH ORDINALITY AS a(grantor, grantee, privilege_type, is_grantable, place)) AS grants,
               (SELECT coalesce(jsonb_agg(jsonb_build_object('role', CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END,
                        'setting', c.setting) ORDER BY s.setrole, c.place), '[]')
                  FROM pg_db_role_setting s, unnest(s.setconfig) WITH ORDINALITY AS c(setting, place) WHERE s.setdatabase = d.oid) AS settings
          FROM pg_database d WHERE d.datallowconn AND NOT d.datistemplate ORDER BY d.datname
        """,
    )
    for database in found:
        row = database.pop("row")
        database["default_grants"] = row["datacl"] is None
        database["locale_provider"] = {"i": "icu", "b": "builtin"}.get(row.get("datlocprovider", "c"), "libc")
        database["locale"] = row.get("datlocale") or row.get("daticulocale") or ""
        database["icu_rules"] = row.get("daticurules") or ""
        database["collation_version"] = row.get("datcollversion") or ""
    return found


def select_databases(present: t.Sequence[dict[str, t.Any]], wanted: t.Sequence[str], excluded: t.Sequence[str], empty: t.Container[str] = ()) -> list[str]:
    """Return the names of the databases to back up, sorted.

    Args:
        present: what :func:`read_databases` returned.
        wanted: names; none means all, without those that are ``empty``.
        excluded: names that are left out.
        empty: names that are left out unless they are wanted by name.

    Raises:
        InvalidInput: one of the names does not exist, or nothing is left.
    """
    names = [database["name"] for database in present]
    unknown = sorted({*wanted, *excluded} - set(names)) if wanted else []
    if unknown:
        raise InvalidInput(f"back up {', '.join(unknown)}", "there is no such database", f"there are {', '.join(names) or 'none'}")
    chosen = sorted(name for name in (set(wanted) or set(names)) - set(excluded) if wanted or name not in empty)
    if not chosen:
        raise InvalidInput("choose the databases", "none is left to back up", "name them in databases")
    return chosen


def is_empty(connection: t.Any) -> bool:
    """Whether a database holds no relation, no function and no large object of a user."""
    return bool(
        value(
            connection,
            f"""
            SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS})
               AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                               WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                               AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'))
               AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
            """,  # noqa: S608
        )
    )


_OWNED = {
    "pg_class": "relowner",
    "pg_collation": "collowner",
    "pg_conversion": "conowner",
    "pg_default_acl": "defaclrole",
    "pg_event_trigger": "evtowner",
    "pg_foreign_data_wrapper": "fdwowner",
    "pg_foreign_server": "srvowner",
    "pg_language": "lanowner",
    "pg_largeobject_metadata": "lomowner",
    "pg_namespace": "nspowner",
    "pg_operator": "oprowner",
    "pg_opclass": "opcowner",
    "pg_opfamily": "opfowner",
    "pg_proc": "proowner",
    "pg_publication": "pubowner",
    "pg_statistic_ext": "stxowner",
    "pg_ts_config": "cfgowner",
    "pg_ts_dict": "dictowner",
    "pg_type": "typowner",
}
"""Catalogues of what has an owner, and the column that says who. (pg_shdepend does not name the superuser that the cluster was made with.)"""
FIRST_OID = 16384
"""What has a lower number came with the server (FirstNormalObjectId in PostgreSQL's src/include/access/transam.h)."""


def read_contents(connection: t.Any, count_rows: bool = True) -> dict[str, t.Any]:
    """Return what is in the connected database: numbers of tables and large objects, extensions, the roles it needs, and exact rows of its smaller tables.

    Run it in the transaction whose snapshot is dumped, and the numbers are those of the dump.
    """
    counts = rows(
        connection,
        f"""
        SELECT count(*) FILTER (WHERE c.relkind IN ('r', 'p'))::int AS tables,
               coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS estimated_rows,
               (SELECT count(*)::int FROM pg_largeobject_metadata) AS large_objects,
               EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public') AS public_schema
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}
        """,  # noqa: S608
    )[0]
    extensions = {row["extname"]: row["extversion"] for row in rows(connection, "SELECT extname, extversion FROM pg_extension ORDER BY extname")}
    libraries = rows(
        connection,
        """
        SELECT DISTINCT p.probin AS name FROM pg_proc p JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
         WHERE p.probin IS NOT NULL
        """,
    )
    owned = " UNION ".join(
        f"SELECT pg_get_userbyid(o.{column}) FROM {table} o WHERE o.oid >= {FIRST_OID} AND NOT EXISTS"  # noqa: S608
        f" (SELECT FROM pg_depend e WHERE e.classid = '{table}'::regclass AND e.objid = o.oid AND e.deptype = 'e')"
        for table, column in _OWNED.items()
    )
    roles = rows(
        connection,
        f"""
        SELECT r.rolname AS name FROM pg_shdepend s JOIN pg_database d ON d.datname = current_database() JOIN pg_roles r ON r.oid = s.refobjid
         WHERE s.refclassid = 'pg_authid'::regclass AND (s.dbid = d.oid OR (s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = d.oid))
         UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database() UNION {owned} ORDER BY 1
        """,  # noqa: S608
    )
    spaces = rows(
        connection,
        f"""
        SELECT DISTINCT s.spcname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_tablespace s ON s.oid = c.reltablespace
         WHERE {OURS} ORDER BY 1
        """,  # noqa: S608
    )
    return {
        **counts,
        "extensions": extensions,
        "extension_libraries": sorted({os.path.basename(row["name"]).removesuffix(".so") for row in libraries}),
        "roles": [row["name"] for row in roles],
        "tablespaces": [row["name"] for row in spaces],
        "collations": read_collations(connection),
        "row_counts": count_tables(connection, _small_tables(connection)) if count_rows else {},
    }


def read_collations(connection: t.Any) -> dict[str, str]:
    """Return the collations that something in the connected database uses, with the version that the library behind each has on the server's host.

    ``(default)`` is the database's own, where the server knows its version (PostgreSQL 15 and newer). What has no version (``C``) is left out.
    """
    found = rows(
        connection,
        """
        SELECT format('%%I.%%I', n.nspname, c.collname) AS name, pg_collation_actual_version(c.oid) AS version
          FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
         WHERE c.collprovider <> 'd' AND (c.oid >= %s OR EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid)
               OR EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid AND a.attrelid >= %s))
         ORDER BY 1
        """,
        [FIRST_OID, FIRST_OID],
    )
    if value(connection, "SELECT to_regprocedure('pg_database_collation_actual_version(oid)') IS NOT NULL"):
        statement = "SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()"
        found.append({"name": "(default)", "version": value(connection, statement)})
    return {row["name"]: row["version"] for row in found if row["version"]}


def stale_collations(connection: t.Any) -> list[str]:
    """Return the collations of the connected database whose library has changed since indexes were built by them, in words."""
    found = rows(
        connection,
        """
        SELECT format('%%I.%%I', n.nspname, c.collname) AS name, c.collversion AS recorded, pg_collation_actual_version(c.oid) AS actual
          FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
         WHERE c.collversion <> pg_collation_actual_version(c.oid) AND EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid AND a.attrelid >= %s)
        """,
        [FIRST_OID],
    )
    if value(connection, "SELECT to_regprocedure('pg_database_collation_actual_version(oid)') IS NOT NULL"):
        found += rows(
            connection,
            """
            SELECT 'of the database' AS name, datcollversion AS recorded, pg_database_collation_actual_version(oid) AS actual FROM pg_database
             WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
            """,
        )
    return [f"the collation {row['name']} has version {row['actual']}, its indexes may be of {row['recorded']}" for row in found]


def left_out(connection: t.Any, server: Server) -> list[str]:
    """Return what pg_dump leaves out of the connected database for this login or on this server, in words."""
    found = []
    subscriptions = "SELECT count(s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()"
    if not server.superuser and (number := value(connection, subscriptions)):
        found.append(f"{number} subscriptions are left out, since only a superuser may dump them")
    if not server.superuser and (number := value(connection, "SELECT count(*) FROM pg_user_mappings WHERE umoptions IS NULL")):
        found.append(f"{number} user mappings are without their options, which only a superuser may read")
    if server.in_recovery and (tables := unlogged_tables(connection)):
        found.append(f"the unlogged tables {', '.join(tables)} are without rows, since a standby has none")
    return found


def unlogged_tables(connection: t.Any) -> list[str]:
    """Return the quoted names of the unlogged tables."""
    found = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND {OURS} ORDER BY 1
        """,  # noqa: S608
    )
    return [row["name"] for row in found]


def _small_tables(connection: t.Any) -> list[str]:
    tables = rows(
        connection,
        f"""
        SELECT format('%%I.%%I', n.nspname, c.relname) AS name, pg_relation_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()) AND {OURS} ORDER BY bytes, name LIMIT %s
        """,  # noqa: S608
        [COUNTED_TABLES],
    )
    chosen, total = [], 0
    for table in tables:
        total += table["bytes"]
        if total > COUNTED_BYTES:
            break
        chosen.append(table["name"])
    return sorted(chosen)


def count_tables(connection: t.Any, names: t.Iterable[str]) -> dict[str, int]:
    """Return the exact rows of tables, by their quoted names as :func:`read_contents` gave them; -1 where there is no such table."""
    wanted = list(names)
    there = {row["name"] for row in rows(connection, "SELECT n AS name FROM unnest(%s::text[]) n WHERE to_regclass(n) IS NOT NULL", [wanted])}
    return {name: value(connection, sql.SQL("SELECT count(*) FROM ONLY ") + sql.SQL(name)) if name in there else -1 for name in wanted}


def differences(recorded: t.Mapping[str, t.Any], connection: t.Any) -> list[str]:
    """Compare a restored database with what was recorded of it when it was dumped; return what differs, in words."""
    execute(connection, "SET row_security = off")
    found = read_contents(connection, count_rows=False)
    wrong = [f"{recorded[key]} {noun} were backed up, {found[key]} are there" for key, noun in _COMPARED.items() if recorded[key] != found[key]]
    missing = sorted(set(recorded["extensions"]) - set(found["extensions"]))
    if missing:
        wrong.append(f"the extensions {', '.join(missing)} are missing")
    counted = count_tables(connection, recorded["row_counts"])
    wrong += [f"{name} had {rows_then} rows, it has {counted[name]}" for name, rows_then in recorded["row_counts"].items() if counted[name] != rows_then]
    return wrong


_COMPARED = {"tables": "tables", "large_objects": "large objects"}
