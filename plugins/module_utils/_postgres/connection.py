# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to reach a PostgreSQL server: over libpq from here, and by its own programs without showing a password."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import traceback
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

CONNECT_SECONDS = 15
SETTLED = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
}
"""What every session of ours is set to, whatever the role or the database has as its own: a dump may take hours."""
SILENT = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_min_error_statement": "panic",
    "log_transaction_sample_rate": "0",
    "log_parser_stats": "off",
    "pg_stat_statements.track_utility": "off",
    "auto_explain.log_min_duration": "-1",
}
"""What a session is set to before it sends a statement with a secret, so that the server keeps that neither in its log nor in its statistics."""


def _psycopg2() -> t.Any:
    """Return the library, loaded at first use: a run that finds nothing to do needs no connection, and loading takes a good part of its time.

    Raises:
        MainstayError: it is not installed.
    """
    try:
        return importlib.import_module("psycopg2")
    except ImportError as error:
        cause = "the Python library psycopg2 is not installed on this host"
        raise MainstayError("connect to PostgreSQL", cause, "install python3-psycopg2", exception=traceback.format_exc()) from error


class _Sql:
    """``psycopg2.sql``, loaded at first use."""

    def __getattr__(self, name: str) -> t.Any:
        _psycopg2()
        return getattr(importlib.import_module("psycopg2.sql"), name)


sql: t.Any = _Sql()


def postgres_argument_spec() -> dict[str, t.Any]:
    """Return the connection options, named as in community.postgresql (fragment ``mainstay.ops.postgres``)."""
    return {
        "login_host": {"type": "str", "default": ""},
        "login_port": {"type": "int", "default": 5432},
        "login_user": {"type": "str", "default": "postgres"},
        "login_password": {"type": "str", "no_log": True},
        "login_unix_socket": {"type": "path"},
        "login_db": {"type": "str", "default": "postgres"},
        "ssl_mode": {"type": "str", "default": "prefer", "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"]},
        "ca_cert": {"type": "path"},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path", "no_log": False},
    }


@dataclasses.dataclass(frozen=True)
class Login:
    """Where a server is and as whom to log in. An empty host means the local socket of libpq's default folder."""

    host: str = ""
    port: int = 5432
    user: str = "postgres"
    password: str | None = dataclasses.field(default=None, repr=False)
    database: str = "postgres"
    ssl_mode: str = "prefer"
    ca_cert: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Login:
        """Read a module's options; ``login_unix_socket`` counts before ``login_host``."""
        return cls(
            host=params["login_unix_socket"] or params["login_host"],
            port=params["login_port"],
            user=params["login_user"],
            password=params["login_password"],
            database=params["login_db"],
            ssl_mode=params["ssl_mode"],
            ca_cert=params["ca_cert"],
            ssl_cert=params["ssl_cert"],
            ssl_key=params["ssl_key"],
        )

    def describe(self) -> str:
        """Return the server in words, for messages."""
        return f"{self.host or 'the local socket'}, port {self.port}, as {self.user}"


class NotFree(MainstayError):
    """Someone else holds the lock."""


@contextlib.contextmanager
def connect(login: Login, database: str = "") -> t.Iterator[t.Any]:
    """Yield an autocommit psycopg2 connection to a database (by default the one of the login) and close it.

    Raises:
        MainstayError: psycopg2 is missing, the server cannot be reached, or a statement failed in the block.
    """
    psycopg2 = _psycopg2()
    name = database or login.database
    settings = {
        "host": login.host,
        "port": login.port,
        "user": login.user,
        "password": login.password,
        "dbname": name,
        "sslmode": login.ssl_mode,
        "sslrootcert": login.ca_cert,
        "sslcert": login.ssl_cert,
        "sslkey": login.ssl_key,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "mainstay",
    }
    try:
        connection = psycopg2.connect(**{key: value for key, value in settings.items() if value})
    except psycopg2.Error as error:
        next_step = "check login_host, login_port, login_user, login_password and pg_hba.conf"
        raise MainstayError(f"connect to the database {name} at {login.describe()}", error, next_step) from error
    try:
        connection.autocommit = True
        statement = "SELECT set_config(name, %s::jsonb ->> name, false) FROM pg_settings WHERE %s::jsonb ? name"
        value(connection, statement, [json.dumps(SETTLED)] * 2)
        yield connection
    except psycopg2.Error as error:
        raise MainstayError(f"use the database {name} at {login.describe()}", words(error)) from error
    finally:
        connection.close()


def words(error: t.Any) -> str:
    """Return what the server said, in one line."""
    diagnostics = getattr(error, "diag", None)
    parts = [getattr(diagnostics, "message_primary", None), getattr(diagnostics, "message_detail", None)]
    return ": ".join(part for part in parts if part) or str(error).strip() or type(error).__name__


def rows(connection: t.Any, statement: t.Any, arguments: t.Sequence[t.Any] = ()) -> list[dict[str, t.Any]]:
    """Run a query and return its rows as dictionaries."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments or None)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def value(connection: t.Any, statement: t.Any, arguments: t.Sequence[t.Any] = ()) -> t.Any:
    """Run a query and return the first column of its first row; None without a row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments or None)
        row = cursor.fetchone()
    return row[0] if row else None


def execute(connection: t.Any, statement: t.Any, *names: str) -> None:
    """Run a statement; each ``{}`` in it becomes one of the names, quoted as an identifier."""
    composed = sql.SQL(statement).format(*(sql.Identifier(name) for name in names)) if names else statement
    with connection.cursor() as cursor:
        cursor.execute(composed)


def silence(connection: t.Any, names: t.Iterable[str] = tuple(SILENT), local: bool = False) -> None:
    """Have the server note nothing of what follows (:data:`SILENT`), as far as the role may ask for that: only a superuser may for most of it.

    Args:
        connection: to the server.
        names: of the settings. ``log_transaction_sample_rate`` counts when a transaction begins: within one it is too late for it.
        local: whether it ends with the transaction, not with the session.
    """
    chosen = json.dumps({name: SILENT[name] for name in names})
    permitted = "(context = 'user' OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))"
    rows(connection, f"SELECT set_config(name, %s::jsonb ->> name, %s) FROM pg_settings WHERE %s::jsonb ? name AND {permitted}", [chosen, local, chosen])


def conninfo(database: str) -> str:
    """Return a database's name as an argument for PostgreSQL's programs, which would read a bare ``a=b`` as something else."""
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{quoted}'"


@dataclasses.dataclass(frozen=True)
class ClientEnvironment:
    """What PostgreSQL's programs need to log in: variables, and the descriptor of the password file that they inherit."""

    variables: dict[str, str]
    pass_fds: tuple[int, ...] = ()


@contextlib.contextmanager
def client_environment(login: Login) -> t.Iterator[ClientEnvironment]:
    """Yield the environment for PostgreSQL's programs.

    The password is in a PGPASSFILE that exists in memory only and that only the child processes inherit; its path is all that shows.
    """
    given = {
        "PGHOST": login.host,
        "PGPORT": str(login.port),
        "PGUSER": login.user,
        "PGSSLMODE": login.ssl_mode,
        "PGSSLROOTCERT": login.ca_cert,
        "PGSSLCERT": login.ssl_cert,
        "PGSSLKEY": login.ssl_key,
        "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        "PGAPPNAME": "mainstay",
    }
    variables = {name: text for name, text in given.items() if text}
    if not login.password:
        yield ClientEnvironment(variables)
        return
    escaped = login.password.replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.memfd_create("pgpass", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, f"*:*:*:*:{escaped}\n".encode())
        yield ClientEnvironment({**variables, "PGPASSFILE": f"/proc/self/fd/{descriptor}"}, (descriptor,))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(login: Login, name: str) -> t.Iterator[None]:
    """Hold the advisory lock of a catalogue's name on the server, so that one run at a time backs up or restores it.

    Raises:
        NotFree: another run holds it.
    """
    with connect(login) as connection:
        if not value(connection, "SELECT pg_try_advisory_lock(hashtext('mainstay.pg_backup'), hashtext(%s))", [name]):
            cause = "another run holds its lock on the server"
            raise NotFree(f"work on the backups {name}", cause, "wait for it to end")
        yield
