# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two servers and their databases are like, as far as a move by logical replication depends on it, and how their contents compare."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import rows, sql, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.facts import OURS
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.upgrade_rules import Database, Server

COUNTED_BYTES = 1 << 30
"""Tables up to so many bytes altogether, the smallest first, are counted and sampled while writes are held, which takes some seconds on a common disk."""

DYNAMIC_BYTES = 1 << 20
"""More than a dynamic configuration of Patroni ever has: etcd takes no value above 1.5 MiB, and Patroni's has some KiB."""

COMPARABLE = "SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'"
"""Has both servers write a row as the same text."""


def read_server(connection: t.Any) -> Server:
    """Ask a server what the move depends on."""
    row = rows(
        connection,
        """
        SELECT current_setting('server_version_num')::int AS version_num, pg_is_in_recovery() AS in_recovery,
               (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier, current_setting('is_superuser') = 'on' AS superuser,
               current_setting('wal_level') AS wal_level, (SELECT count(*)::int FROM pg_prepared_xacts) AS prepared,
               current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots) AS slots,
               current_setting('max_wal_senders')::int - (SELECT count(*)::int FROM pg_stat_replication) AS senders,
               least(current_setting('max_logical_replication_workers')::int - (SELECT count(*)::int FROM pg_subscription),
                     current_setting('max_worker_processes')::int - 1) AS workers,
               coalesce((SELECT setting::int FROM pg_settings WHERE name = 'max_active_replication_origins'),
                        current_setting('max_replication_slots')::int) - (SELECT count(*)::int FROM pg_replication_origin) AS origins
        """,
    )[0]
    free = {name: row.pop(name) for name in ("slots", "senders", "workers", "origins")}
    slots = [each["slot_name"] for each in rows(connection, "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1")]
    available = rows(connection, "SELECT name, default_version FROM pg_available_extensions")
    return Server(
        **row,
        ignored_slots=_ignored_slots(connection) if row["superuser"] else None,
        free=free,
        consumers=tuple(slots),
        extensions={each["name"]: each["default_version"] for each in available},
        settings=frozenset(each["name"] for each in rows(connection, "SELECT name FROM pg_settings")),
        databases=frozenset(each["datname"] for each in rows(connection, "SELECT datname FROM pg_database")),
    )


def _ignored_slots(connection: t.Any) -> tuple[t.Mapping[str, str], ...] | None:
    """Return what Patroni's ``ignore_slots`` says; none if the server is not under Patroni, which keeps its dynamic configuration in the data directory."""
    dynamic = value(connection, "SELECT pg_read_file('patroni.dynamic.json', 0, %s, true)::jsonb", [DYNAMIC_BYTES])
    return None if dynamic is None else tuple(dynamic.get("ignore_slots") or ())


def read_database(connection: t.Any, described: t.Mapping[str, t.Any], collations: t.Sequence[str], ours: str) -> Database:
    """Ask for what is in the connected database.

    Args:
        connection: to the database.
        described: what :func:`facts.read_databases` and :func:`facts.read_contents` say of it.
        collations: what is to be said of collations.
        ours: name of the publication and the subscription that a move makes itself.
    """
    relations = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, c.relpersistence = 'u' AS unlogged,
               c.relreplident IN ('f', 'i') OR (c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) AS told
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'f', 'm') AND {OURS} ORDER BY 1
        """,  # noqa: S608
    )
    triggers = rows(connection, "SELECT format('%I on %s', tgname, tgrelid::regclass) AS name FROM pg_trigger WHERE tgenabled IN ('A', 'R') ORDER BY 1")

    def names(statement: str) -> tuple[str, ...]:
        return tuple(each["name"] for each in rows(connection, statement) if not each["name"].startswith(ours))

    def kind(letter: str) -> tuple[str, ...]:
        return tuple(each["name"] for each in relations if each["kind"] == letter)

    parameters = {item["setting"].partition("=")[0] for item in described["settings"]}
    return Database(
        name=described["name"],
        without_identity=tuple(each["name"] for each in relations if each["kind"] == "r" and not each["unlogged"] and not each["told"]),
        unlogged=tuple(each["name"] for each in relations if each["kind"] == "r" and each["unlogged"]),
        foreign=kind("f"),
        materialized=kind("m"),
        eager_triggers=tuple(each["name"] for each in triggers),
        event_triggers=names("SELECT evtname AS name FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"),
        large_objects=described["large_objects"],
        extensions=described["extensions"],
        # A name with a point belongs to an extension or to an application, and any server takes it.
        set_parameters=tuple(sorted(name for name in parameters if "." not in name)),
        publications=names("SELECT pubname AS name FROM pg_publication ORDER BY 1"),
        subscriptions=names(
            "SELECT s.subname AS name FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() ORDER BY 1"
        ),
        collations=tuple(collations),
    )


def published_tables(connection: t.Any) -> list[str]:
    """Return the tables whose rows move, by their quoted names: all of users, without those that extensions bring and fill."""
    found = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {OURS} ORDER BY 1
        """,  # noqa: S608
    )
    return [each["name"] for each in found]


def definitions(connection: t.Any) -> dict[str, str]:
    """Return the columns of all relations as text, by the relations' quoted names, so that two databases can be compared."""
    found = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name,
               coalesce(string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum), '') AS columns
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND {OURS} GROUP BY 1
        """,  # noqa: S608
    )
    return {each["name"]: each["columns"] for each in found}


def sequences(connection: t.Any) -> dict[str, tuple[int, bool]]:
    """Return for each sequence its last value and whether that was given out."""
    found = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'S' AND {OURS} ORDER BY 1
        """,  # noqa: S608
    )
    states = {}
    for each in found:
        row = rows(connection, sql.SQL("SELECT last_value, is_called FROM ") + sql.SQL(each["name"]))[0]
        states[each["name"]] = (row["last_value"], row["is_called"])
    return states


def set_sequences(connection: t.Any, states: t.Mapping[str, tuple[int, bool]]) -> None:
    """Give sequences the values that :func:`sequences` read elsewhere."""
    for name, (last, called) in states.items():
        value(connection, "SELECT setval(%s::regclass, %s, %s)", [name, last, called])


def countable(connection: t.Any) -> list[dict[str, t.Any]]:
    """Return the tables that are counted, each with the columns of its primary key for a sample, ready for ORDER BY.

    Texts are ordered by their bytes, since the libraries of two hosts may sort them in different orders.
    """
    found = rows(
        connection,
        f"""
        SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_table_size(c.oid) AS bytes,
               (SELECT string_agg(format('t.%I%s DESC', a.attname, CASE WHEN a.attcollation <> 0 THEN ' COLLATE "C"' ELSE '' END), ', ' ORDER BY k.place)
                  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number) AS key
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {OURS} ORDER BY 2, 1
        """,  # noqa: S608
    )
    chosen, total = [], 0
    for table in found:
        total += table["bytes"]
        if total > COUNTED_BYTES:
            break
        chosen.append(table)
    return chosen


def contents(connection: t.Any, tables: t.Sequence[t.Mapping[str, t.Any]], sample: int) -> dict[str, str]:
    """Return for each table its exact rows and a checksum over the newest of them by primary key.

    Args:
        connection: to the database.
        tables: see :func:`countable`, as the old server says it, for both.
        sample: how many rows go into the checksum of each.
    """
    value(connection, f"{COMPARABLE}; SELECT 1")
    found = {}
    for table in tables:
        name, count = table["name"], 0
        count = value(connection, sql.SQL("SELECT count(*) FROM ONLY ") + sql.SQL(name))
        text = f"{count} rows"
        if table["key"]:
            query = "SELECT coalesce(md5(string_agg(s.line, chr(10) ORDER BY s.place)), '') FROM (SELECT t::text AS line, row_number() OVER () AS place FROM"
            newest = f"(SELECT * FROM ONLY {name} t ORDER BY {table['key']} LIMIT {int(sample)}) t) s"
            text += f", checksum {value(connection, sql.SQL(f'{query} {newest}'))}"
        found[name] = text
    return found
