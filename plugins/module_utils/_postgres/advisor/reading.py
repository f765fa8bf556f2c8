# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the report asks a server: sessions that can change nothing and wait for nobody, and what a server is."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import Row, Server, quoted
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.server import SETTINGS
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, rows, words

APPLICATION_NAME = "mainstay pg_advisor_info"
LOCK_SECONDS = 1
OLDEST = 13
"""The first major version whose views the questions fit."""


class NotJudged(Exception):
    """Why a question has no answer, in words."""


@dataclasses.dataclass(frozen=True)
class Asker:
    """A session on a database, and until when there is time (``time.monotonic``)."""

    connection: t.Any
    deadline: float

    def ask(self, query: str, arguments: t.Sequence[t.Any] = ()) -> list[Row]:
        """Return the rows of an answer.

        Raises:
            NotJudged: the server refused, took too long, or the time for the whole report is over.
        """
        import psycopg2

        if time.monotonic() > self.deadline:
            raise NotJudged("the time for the report was over")
        try:
            return rows(self.connection, query, arguments)
        except psycopg2.Error as error:
            raise NotJudged(words(error).splitlines()[0]) from error

    def extensions(self, *names: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return which of the extensions the database has: the schema of each, quoted, and its version."""
        query = "SELECT e.extname, n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = ANY (%s)"
        found = self.ask(query, [list(names)])
        return {row["extname"]: (quoted(row["nspname"]), tuple(int(part) for part in row["extversion"].split("."))) for row in found}


@contextlib.contextmanager
def session(login: Login, database: str, statement_seconds: float, deadline: float) -> t.Iterator[Asker]:
    """Yield a session that can write nothing, and that gives up a question soon.

    Args:
        login: where and as whom.
        database: which one; empty for that of the login.
        statement_seconds: for one question.
        deadline: for all of them, as ``time.monotonic`` counts.

    Raises:
        MainstayError: the database cannot be connected to.
    """
    settings = {
        "application_name": APPLICATION_NAME,
        "default_transaction_read_only": "on",
        "statement_timeout": f"{round(statement_seconds * 1000)}",
        "lock_timeout": f"{LOCK_SECONDS}s",
        # Names mean the server's own objects, whatever a role or a database has made its own.
        "search_path": "pg_catalog",
    }
    with connect(login, database) as connection:
        with connection.cursor() as cursor:
            for name, text in settings.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, text))
        yield Asker(connection, deadline)


_SERVER = """
    SELECT current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
           extract(epoch FROM clock_timestamp() - (SELECT stats_reset FROM pg_stat_bgwriter))::float8 AS counters_seconds,
           extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime_seconds,
           current_setting('is_superuser') = 'on' OR pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
"""


def read_server(asker: Asker) -> Server:
    """Ask a server what it is.

    Raises:
        InvalidInput: it is too old.
    """
    row = asker.ask(_SERVER)[0]
    if row["version_num"] < OLDEST * 10000:
        raise InvalidInput("judge the server", f"it is PostgreSQL {row['version']}", f"upgrade it to {OLDEST} or later")
    found = asker.ask("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(SETTINGS)])
    return Server(**row, settings={each["name"]: each["setting"] for each in found})


@dataclasses.dataclass(frozen=True)
class Database:
    """A database: its size in bytes (None if the login may not know), the age of its counters, and why it cannot be connected to, if so."""

    name: str
    bytes: int | None
    counters_seconds: float
    template: bool
    refusal: str


_DATABASES = """
    SELECT d.datname AS name, d.datistemplate AS template,
           CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END AS bytes,
           extract(epoch FROM clock_timestamp() - coalesce(s.stats_reset, (SELECT stats_reset FROM pg_stat_bgwriter)))::float8 AS counters_seconds,
           CASE WHEN NOT d.datallowconn THEN 'it allows no connections'
                WHEN NOT has_database_privilege(d.oid, 'CONNECT') THEN 'the login has no right to connect to it' ELSE '' END AS refusal
      FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid ORDER BY d.datname
"""


def read_databases(asker: Asker) -> list[Database]:
    """Return all databases.

    Since version 15 the server does not know when counters of a database were reset last if they never were; they are then as old as those of the server.
    """
    return [Database(**row) for row in asker.ask(_DATABASES)]


def choose(present: t.Sequence[Database], wanted: t.Sequence[str], excluded: t.Sequence[str]) -> list[Database]:
    """Return the databases to look at: those wanted by name, or all but the templates, less those excluded.

    Raises:
        InvalidInput: one that is wanted does not exist.
    """
    names = [database.name for database in present]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise InvalidInput(f"look at {', '.join(unknown)}", "there is no such database", f"there are {', '.join(names)}")
    return [
        database for database in present if database.name not in excluded and (database.name in wanted if wanted else not database.template)
    ]
