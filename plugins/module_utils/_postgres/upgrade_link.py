# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database on its way from an old server to a new one: its definitions, the replication of its rows, and who may write to it."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client, fill, roles, upgrade_facts
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import (
    Login,
    client_environment,
    conninfo,
    connect,
    execute,
    rows,
    silence,
    sql,
    value,
    words,
)
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process, run
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

HELD = "mainstay.upgrade_held"
"""A setting of a database whose writes are held: the limit of connections that it had. A name with a point is no parameter of PostgreSQL's own."""

STAGE = "mainstay.upgrade_stage"
"""A setting of a database on the new server: how far it is."""

DEFINING, COPYING, PREPARED, VERIFIED, SWITCHED = "defining", "copying", "prepared", "verified", "switched"

POLL_SECONDS = 0.2
INVALID_SYNTAX = "42601"
"""SQLSTATE of a connection string that cannot be read; its message quotes a part, which may be one of the password."""


@dataclasses.dataclass(frozen=True)
class Side:
    """A server, and how the other one reaches it for replication.

    Args:
        login: how this module reaches it.
        major: its major version.
        conninfo: how the other server reaches it, without a database; empty for as this module does.
    """

    login: Login
    major: int
    conninfo: str = dataclasses.field(default="", repr=False)

    def reached(self, database: str) -> str:
        """Return the connection string to a database for the other server."""
        login = self.login
        given = {
            "host": login.host,
            "port": str(login.port),
            "user": login.user,
            "password": login.password or "",
            "sslmode": login.ssl_mode,
            "sslrootcert": login.ca_cert or "",
        }
        own = " ".join(f"{name}={_quoted(text)}" for name, text in given.items() if text)
        return f"{self.conninfo or own} {conninfo(database)}"


@dataclasses.dataclass(frozen=True)
class Stream:
    """Changes of one database that go from one server to the other.

    Args:
        origin: where the changes are made.
        destination: where they arrive.
        database: its name on both.
        name: of the publication and of the subscription.
        slot: of the replication slot.
    """

    origin: Side
    destination: Side
    database: str
    name: str
    slot: str

    def publish(self) -> None:
        """Make the publication of all tables that move, anew if there is one."""
        with connect(self.origin.login, self.database) as connection:
            execute(connection, "DROP PUBLICATION IF EXISTS {}", self.name)
            tables = upgrade_facts.published_tables(connection)
            what = sql.SQL(" FOR TABLE ") + sql.SQL(", ").join(sql.SQL(f"ONLY {table}") for table in tables) if tables else sql.SQL("")
            execute(connection, sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(self.name)) + what)

    def subscribe(self, copy: bool) -> None:
        """Make the subscription, which begins to receive.

        Args:
            copy: whether the rows that are there already are copied first.
        """
        options = sql.SQL(f"slot_name = {{}}, copy_data = {str(copy).lower()}" + (", origin = none" if self.destination.major >= 16 else ""))
        with connect(self.destination.login, self.database) as connection:
            silence(connection)
            self._create(connection, self.database, options.format(sql.Literal(self.slot)))

    def try_out(self, database: str) -> None:
        """See that the destination reaches the origin, by a subscription that is taken back: it connects for replication, and nothing is kept.

        Args:
            database: which one of the origin it connects to.

        Raises:
            MainstayError: it does not.
        """
        with connect(self.destination.login, self.database) as connection:
            silence(connection)
            execute(connection, "BEGIN")
            self._create(connection, database, sql.SQL("enabled = false, create_slot = false, slot_name = NONE"))
            execute(connection, "ROLLBACK")

    def _create(self, connection: t.Any, database: str, options: t.Any) -> None:
        parts = sql.Identifier(self.name), sql.Literal(self.origin.reached(database)), sql.Identifier(self.name), options
        try:
            execute(connection, sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH ({})").format(*parts))
        except Exception as error:
            if getattr(error, "pgcode", None) is None:
                raise
            cause = "its connection string cannot be read" if error.pgcode == INVALID_SYNTAX else words(error)
            step = "see replication_conninfo, and pg_hba.conf and max_wal_senders of the server that is reached"
            raise MainstayError(f"replicate {self.database} from {self.origin.login.describe()} to {self.destination.login.describe()}", cause, step) from None

    def exists(self) -> bool:
        """Whether the subscription is there."""
        return self.name in subscriptions(self.destination.login, self.database)

    def unsubscribe(self) -> None:
        """Remove the subscription with its slot, if it is there."""
        if self.exists():
            with connect(self.destination.login, self.database) as connection:
                execute(connection, "ALTER SUBSCRIPTION {} DISABLE", self.name)
                execute(connection, "DROP SUBSCRIPTION {}", self.name)

    def unpublish(self) -> None:
        """Remove the publication, if it is there."""
        with connect(self.origin.login, self.database) as connection:
            execute(connection, "DROP PUBLICATION IF EXISTS {}", self.name)

    def copied(self) -> tuple[int, int]:
        """Return how many tables have been copied, and how many there are."""
        with connect(self.destination.login, self.database) as connection:
            row = rows(
                connection,
                """
                SELECT count(*) FILTER (WHERE r.srsubstate = 'r')::int AS done, count(*)::int AS total
                  FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid WHERE s.subname = %s
                """,
                [self.name],
            )[0]
        return row["done"], row["total"]

    def behind(self, position: str = "") -> int | None:
        """Return how many bytes of the origin's log the destination has not applied, up to a position or to the end; none without a slot."""
        with connect(self.origin.login, self.database) as connection:
            end = "coalesce(nullif(%s, '')::pg_lsn, pg_current_wal_lsn())"
            found = value(connection, f"SELECT ({end} - confirmed_flush_lsn)::bigint FROM pg_replication_slots WHERE slot_name = %s", [position, self.slot])
        return None if found is None else int(found)

    def await_copy(self, seconds: float) -> None:
        """Wait until every table has been copied and follows.

        Raises:
            MainstayError: they have not within the time; what has been copied stays.
        """
        done, total = self.copied()
        with current().phase(f"copy {self.database}", total, "tables", exact=True) as phase:
            until(f"copy {self.database}", seconds, lambda: self._all_copied(phase), "look at the log of the new server, and run it again to wait on")

    def _all_copied(self, phase: t.Any) -> bool:
        done, total = self.copied()
        phase.reach(done)
        return done == total

    def await_end(self, seconds: float, limit: int = 0) -> None:
        """Wait until the destination has applied the origin's log up to where it ends now.

        Args:
            seconds: how long it may take.
            limit: so many bytes may be missing.

        Raises:
            MainstayError: it has not within the time.
        """
        with connect(self.origin.login, self.database) as connection:
            end = value(connection, "SELECT pg_current_wal_lsn()::text")

        def arrived() -> bool:
            behind = self.behind(end)
            return behind is not None and behind <= limit

        until(f"see all changes of {self.database} arrive", seconds, arrived, "look at the log of the server that receives")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def until(doing: str, seconds: float, condition: t.Callable[[], bool], next_step: str) -> None:
    """Wait until something is true.

    Raises:
        MainstayError: it is not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MainstayError(doing, f"it did not happen within {seconds:g} seconds", next_step)
        time.sleep(POLL_SECONDS)


def subscriptions(login: Login, database: str) -> set[str]:
    """Return the names of the subscriptions of a database."""
    with connect(login) as connection:
        found = rows(connection, "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s", [database])
    return {row["subname"] for row in found}


def marks(login: Login, name: str) -> dict[str, str]:
    """Return what a setting of ours (:data:`HELD`, :data:`STAGE`) says, by database."""
    with connect(login) as connection:
        found = rows(
            connection,
            """
            SELECT d.datname AS database, split_part(c.setting, '=', 2) AS mark FROM pg_db_role_setting s
              JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS c(setting) WHERE s.setrole = 0 AND split_part(c.setting, '=', 1) = %s
            """,
            [name],
        )
    return {row["database"]: row["mark"] for row in found}


def mark(login: Login, database: str, name: str, text: str | None) -> None:
    """Set a setting of ours, or take it away."""
    with connect(login) as connection:
        _note(connection, database, name, text)


def _note(connection: t.Any, database: str, name: str, text: str | None) -> None:
    parameter = sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))
    if text is None:
        execute(connection, sql.SQL("ALTER DATABASE {} RESET {}").format(sql.Identifier(database), parameter))
    else:
        execute(connection, sql.SQL("ALTER DATABASE {} SET {} TO {}").format(sql.Identifier(database), parameter, sql.Literal(text)))


def limits(login: Login) -> dict[str, int]:
    """Return how many may connect to each database at once; none but superusers if it is 0."""
    with connect(login) as connection:
        return {row["datname"]: row["datconnlimit"] for row in rows(connection, "SELECT datname, datconnlimit FROM pg_database")}


def hold(login: Login, database: str, seconds: float) -> None:
    """Let nobody but superusers connect to a database, have their transactions begin read-only, and end the sessions that there are.

    Raises:
        MainstayError: a session does not end within the time.
    """
    with connect(login) as connection:
        if database not in marks(login, HELD):
            limit = value(connection, "SELECT datconnlimit FROM pg_database WHERE datname = %s", [database])
            mark(login, database, HELD, str(limit))
        execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(database)))
        # Superusers get in, and write nothing by mistake.
        execute(connection, sql.SQL("ALTER DATABASE {} SET default_transaction_read_only TO on").format(sql.Identifier(database)))
        sessions = """
            SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type IN ('client backend', 'parallel worker') AND pid <> pg_backend_pid()
        """

        def ended() -> bool:
            value(connection, f"SELECT count(pg_terminate_backend(pid)) FROM ({sessions}) s", [database])
            return not rows(connection, sessions, [database])

        until(f"end the sessions of {database}", seconds, ended, "see who they are (pg_stat_activity)")


def release(login: Login, database: str) -> None:
    """Take a hold off a database, if there is one."""
    limit = marks(login, HELD).get(database)
    if limit is None:
        return
    with connect(login) as connection:
        # Together: one that lets clients in must not look held to a run that comes after a kill.
        execute(connection, "BEGIN")
        execute(connection, "ALTER DATABASE {} RESET default_transaction_read_only", database)
        execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(database), sql.Literal(int(limit))))
        _note(connection, database, HELD, None)
        execute(connection, "COMMIT")


def copy_roles(source: Side, target: Side, bin_dir: str | None, check_mode: bool) -> list[str]:
    """Make the roles that the new server lacks, with their passwords; return their names. Those that it has stay as they are."""
    program = client.find_program("pg_dumpall", max(source.major, target.major), bin_dir)
    with client_environment(source.login) as environment:
        variables = {**environment.variables, "PGCLIENTENCODING": "UTF8"}
        argv = (program, "--globals-only", "--no-password", "-l", conninfo(source.login.database))
        text = run(Command(argv, variables, pass_fds=environment.pass_fds), "read the roles of the old server")
    with connect(target.login) as connection:
        statements = roles.select(roles.parse(text), roles.existing_roles(connection))
        if statements and not check_mode:
            roles.apply(connection, statements)
    return [statement.roles[0] for statement in statements if statement.creates]


def create(target: Side, server: t.Any, database: t.Mapping[str, t.Any], name: str) -> None:
    """Make an empty database that nobody but superusers can connect to."""
    with connect(target.login) as connection:
        fill.create_database(connection, server, database, name)
        execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(name)))
    if not database["public_schema"]:
        with connect(target.login, name) as connection:
            execute(connection, "DROP SCHEMA public")


def drop(login: Login, database: str) -> None:
    """Drop a database, with whoever is connected to it."""
    with connect(login) as connection:
        execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", database)


def apply_properties(target: Side, database: t.Mapping[str, t.Any]) -> None:
    """Give the new database the settings, privileges and the comment of the old one; its limit of connections comes later, by :func:`open_up`."""
    ours = (HELD, STAGE, "default_transaction_read_only") if any(item["setting"].startswith(HELD) for item in database["settings"]) else (HELD, STAGE)
    settings = [item for item in database["settings"] if item["role"] or item["setting"].partition("=")[0] not in ours]
    with connect(target.login) as connection:
        fill.apply_properties(connection, {**database, "settings": settings, "connection_limit": -1}, database["name"])


def open_up(login: Login, database: str, limit: int) -> None:
    """Let everybody connect to a database again, up to its limit of connections."""
    with connect(login) as connection:
        execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(database), sql.Literal(limit)))


def copy(source: Side, target: Side, database: str, name: str, bin_dir: str | None, *options: str) -> None:
    """Bring a database, or its definitions alone, into an empty one on the new server, through a pipe.

    Args:
        source: the old server.
        target: the new one.
        database: its name on the old server.
        name: the empty one's.
        bin_dir: folder of PostgreSQL's programs.
        options: further ones of pg_dump.

    Raises:
        MainstayError: pg_dump or pg_restore failed.
    """
    major, doing = max(source.major, target.major), f"copy {database}"
    pg_dump, pg_restore = (client.find_program(program, major, bin_dir) for program in ("pg_dump", "pg_restore"))
    with client_environment(source.login) as reading, client_environment(target.login) as writing:
        argv = (pg_dump, "-Fc", "-Z0", "--no-password", "--no-publications", "--no-subscriptions", *options, "-d", conninfo(database))
        dump = Command(argv, reading.variables, pass_fds=reading.pass_fds)
        argv = (pg_restore, "--exit-on-error", "--single-transaction", "--no-password", "-d", conninfo(name))
        _pipe(dump, Command(argv, writing.variables, pass_fds=writing.pass_fds), doing)


def _pipe(dump: Command, restore: Command, doing: str) -> None:
    read_fd, write_fd = os.pipe()
    try:
        try:
            first = Process(dump, stdout=write_fd)
        finally:
            os.close(write_fd)
        try:
            run(restore, doing, stdin=read_fd)
        except MainstayError:
            first.stop()
            if first.failure and not first.suffered:
                raise MainstayError(doing, first.failure) from None
            raise
        if first.join():
            raise MainstayError(doing, first.failure)
    finally:
        os.close(read_fd)
