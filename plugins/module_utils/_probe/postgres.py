# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a PostgreSQL server: that it takes connections, its role, a standby's lag, and what a query returns."""

from __future__ import annotations

import dataclasses
import select
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer, check_readable, join_address, resolve, split_address

OPTIONS = frozenset({
    "login_host", "login_port", "login_user", "login_password", "login_unix_socket", "login_db", "ssl_mode", "connect_to", "ca_cert", "client_cert",
    "client_key", "role", "max_lag", "query", "expect",
})
OBSERVED = ("address", "server_version", "role", "lag_seconds", "query_result")
ROLES = {"primary": "primary", "master": "primary", "replica": "replica", "slave": "replica"}
#: A standby that has replayed all it received, and still receives, is not behind, however long ago the last transaction was.
#: Otherwise, and without a WAL receiver, when nobody knows what is missing, the age of the last replayed transaction counts. It is NULL if there is none;
#: GREATEST would make 0 of that.
#: Sources: PostgreSQL's manual, "Recovery Information Functions" and "pg_stat_wal_receiver" (other users see its row with the pid alone).
FACTS = """
SELECT pg_is_in_recovery(),
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 0.0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
       END::float8,
       current_setting('server_version')
"""


@dataclasses.dataclass(frozen=True)
class Target:
    """A server, how to log in, and what has to be true of it."""

    host: str
    port: int
    connect_to: tuple[str, int | None] | None
    parameters: tuple[tuple[str, t.Any], ...] = dataclasses.field(repr=False)
    role: str | None = None
    max_lag: float | None = None
    query: str | None = None
    expect: str | None = None

    def __str__(self) -> str:
        """How the target is called."""
        return join_address(self.host, self.port)


def plan(options: dict[str, t.Any]) -> Target:
    """The server that the check's options describe.

    Raises:
        InvalidInput: psycopg2 is missing, a file cannot be read, or options contradict each other.
    """
    _load_psycopg2()
    if options["expect"] is not None and options["query"] is None:
        raise InvalidInput("compare with expect", "query is not given")
    if options["role"] is not None and options["role"] not in ROLES:
        raise InvalidInput(f"use role {options['role']}", f"a PostgreSQL server has one of {', '.join(ROLES)}")
    files = {"ca_cert": "sslrootcert", "client_cert": "sslcert", "client_key": "sslkey"}
    for option in files:
        if options[option] is not None:
            check_readable(option, options[option])
    parameters = {
        "dbname": options["login_db"] or "postgres",
        "user": options["login_user"] or "postgres",
        "password": options["login_password"],
        "sslmode": options["ssl_mode"] or "prefer",
        **{parameter: options[option] for option, parameter in files.items()},
    }
    return Target(
        host=options["login_unix_socket"] or options["login_host"] or "localhost",
        port=options["login_port"] or 5432,
        connect_to=split_address(options["connect_to"]) if options["connect_to"] else None,
        parameters=tuple((name, value) for name, value in parameters.items() if value is not None),
        role=ROLES[options["role"]] if options["role"] else None,
        max_lag=options["max_lag"],
        query=options["query"],
        expect=options["expect"],
    )


def probe(target: Target, budget: Budget) -> Finding:
    """Log in, and read the server's role and lag and the query's result in one read-only transaction.

    Raises:
        NoAnswer: no connection, no login, or no answer to the first question.
    """
    psycopg2 = _load_psycopg2()
    address, where = _address(target, budget)
    connection = None
    try:
        connection = psycopg2.connect(async_=1, application_name="health_probe", **where, **dict(target.parameters))
        _wait(connection, budget, f"no login at {address}")
        cursor = connection.cursor()
        in_recovery, lag, version = _ask(cursor, FACTS, budget, address)
        result, failure = None, None
        if target.query is not None:
            result, failure = _ask_query(psycopg2, cursor, target.query, budget, address)
    except psycopg2.Error as error:
        raise NoAnswer(f"{address}: {_told(error)}") from error
    finally:
        if connection is not None:
            connection.close()
    return judge_server(target, address, in_recovery, lag, version, result, failure)


def judge_server(
    target: Target, address: str, in_recovery: bool, lag: float | None, version: str, result: str | None = None, failure: str | None = None,
) -> Finding:
    """Hold what a server said against what was asked for.

    Args:
        target: what was asked for.
        address: who answered.
        in_recovery: whether it is a standby.
        lag: a standby's seconds behind; None on a primary, or when it is not known.
        version: the server's version.
        result: the first column of the first row that the query returned, as text.
        failure: why the query failed.
    """
    role = "replica" if in_recovery else "primary"
    lag = None if lag is None else max(lag, 0.0)  # the primary's clock may be ahead
    problems: list[str] = []
    if target.role is not None and role != target.role:
        problems.append(f"role is {role}, expected {target.role}")
    if target.max_lag is not None and in_recovery:
        if lag is None:
            problems.append(f"lag is not known, at most {target.max_lag:g} s are allowed")
        elif lag > target.max_lag:
            problems.append(f"lag is {lag:.1f} s, more than {target.max_lag:g} s")
    if failure is not None:
        problems.append(f"query failed: {failure}")
    elif target.expect is not None and result != (target.expect.lower() if result in ("true", "false") else target.expect):
        problems.append(f"query returned {result!r}, expected {target.expect!r}")
    observed = {"address": address, "server_version": version, "role": role, "lag_seconds": lag, "query_result": result}
    return Finding(f"{role}, version {version}", tuple(problems), (), observed)


def as_text(value: t.Any) -> str | None:
    """A query's value as it is compared with ``expect``; booleans are ``true`` and ``false``, NULL stays None."""
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _address(target: Target, budget: Budget) -> tuple[str, dict[str, t.Any]]:
    """How messages call the server, and libpq's parameters. Names are resolved here, because libpq's own look-up knows no time limit."""
    host, port = target.connect_to or (target.host, None)
    port = port or target.port
    shown = join_address(host, port)
    if host.startswith("/"):
        return shown, {"host": host, "port": port}
    addresses = list(dict.fromkeys(found[4][0] for found in resolve(host, port, budget)))
    return shown, {"host": ",".join([target.host] * len(addresses)), "hostaddr": ",".join(addresses), "port": port}


def _ask(cursor: t.Any, query: str, budget: Budget, address: str) -> t.Any:
    """Run one question in a read-only transaction that the server ends by itself when time is up."""
    waited_for = f"no answer from {address}"
    milliseconds = max(int(budget.left(waited_for) * 1000), 1)
    cursor.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}")
    _wait(cursor.connection, budget, waited_for)
    cursor.execute(query)
    _wait(cursor.connection, budget, waited_for)
    row = cursor.fetchone() if cursor.description else None
    cursor.execute("ROLLBACK")
    _wait(cursor.connection, budget, waited_for)
    return row


def _ask_query(psycopg2: t.Any, cursor: t.Any, query: str, budget: Budget, address: str) -> tuple[str | None, str | None]:
    try:
        row = _ask(cursor, query, budget, address)
    except psycopg2.Error as error:
        return None, _told(error)
    except NoAnswer as error:
        return None, str(error)
    return (as_text(row[0]) if row else None), None


def _wait(connection: t.Any, budget: Budget, what: str) -> None:
    from psycopg2 import extensions

    while (state := connection.poll()) != extensions.POLL_OK:
        waiter = select.poll()
        waiter.register(connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
        if not waiter.poll(budget.left(what) * 1000):
            raise budget.spent(what)


def _told(error: Exception) -> str:
    """What the server or libpq said, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _load_psycopg2() -> t.Any:
    try:
        import psycopg2
        import psycopg2.extensions
    except ImportError as error:
        raise InvalidInput("check PostgreSQL", missing_required_lib("psycopg2")) from error
    return psycopg2
