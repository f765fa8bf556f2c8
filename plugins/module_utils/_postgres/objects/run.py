# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of ``pg_objects``: read, refuse, and bring the server to what is asked for, stage by stage."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, execute, silence, value, words
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects import plan
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.plan import Step
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.script import split
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.server import Inside, Server, blank, read_inside, read_server, records_there
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import Database, InitSql, Wishes, parse, problems

DOING = "apply the roles and databases"
NEXT_STEP = "nothing was changed; correct it and run again"
STAYS = "what this run did before it stays; correct the cause and run again"

_RECORDS = """
CREATE SCHEMA IF NOT EXISTS mainstay;
CREATE TABLE IF NOT EXISTS mainstay.init_sql (name text PRIMARY KEY, sha256 text NOT NULL, run_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE mainstay.init_sql IS 'SQL that was run once in this database, by name and SHA-256 of its text';
"""


def refuse(found: t.Sequence[str]) -> None:
    """Raise what stands against the wishes, if anything does.

    Raises:
        InvalidInput: something does.
    """
    if found:
        raise InvalidInput(DOING, ". ".join(found), NEXT_STEP)


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Do what the module's options say, and return its result.

    Raises:
        MainstayError: the wishes cannot be right, the server does not answer or is a standby, or a statement failed.
    """
    refuse(problems(params["roles"], params["databases"]))
    wishes, login = parse(params["roles"], params["databases"]), Login.from_params(params)
    work = Work(login, wishes, check_mode)
    work.run()
    return result(work.done)


def result(done: t.Sequence[Step]) -> dict[str, t.Any]:
    """Return what the module returns after these steps."""
    before, after = ("".join(f"{step.thing}: {getattr(step, side)}\n" for step in done if getattr(step, side)) for side in ("before", "after"))
    return {"changed": bool(done), "actions": [step.words for step in done], "diff": {"before": before, "after": after}}


def plan_for_new(wishes: Wishes, version: int) -> list[Step]:
    """Return all steps on a server that has nothing yet.

    Args:
        wishes: what is asked for.
        version: the server's version as libpq has it, such as 170000.
    """
    moments = {role.expires: "" if role.expires == "infinity" else role.expires for role in wishes.roles if role.expires is not None}
    server = Server(version, moments=moments)
    steps = plan.plan_roles(wishes, server) + plan.plan_databases(wishes, server)
    for database in wishes.databases:
        if database.present:
            inside = blank(database, version)
            steps += plan.plan_inside(database, inside, server)
            steps += [plan.script_step(database, init, inside) for init in plan.plan_scripts(database, inside)]
            steps += plan.plan_objects(database, inside, version)
    return steps


class Work:
    """One run: each stage plans from what it reads, and what it did, or would do, is kept in order."""

    def __init__(self, login: Login, wishes: Wishes, check_mode: bool) -> None:
        """Keep what it takes."""
        self._login, self._wishes, self._check = login, wishes, check_mode
        self.done: list[Step] = []

    def run(self) -> None:
        """Go through all stages."""
        present = [database for database in self._wishes.databases if database.present]
        with connect(self._login) as connection:
            if value(connection, "SELECT pg_is_in_recovery()"):
                raise MainstayError(DOING, f"the server at {self._login.describe()} is a standby", "run on the primary")
            server = read_server(connection, self._wishes)
            refuse(plan.conflicts(self._wishes, server, {one.name: self._inside(one, server) for one in present if one.name in server.databases}))
            self._apply(connection, plan.plan_roles(self._wishes, server))
            for step in plan.plan_databases(self._wishes, server):
                self._apply(connection, [step], together=False)
            for database in present:
                self._fill(database, server)
            for step in plan.plan_absent_databases(self._wishes, server):
                self._apply(connection, [step], together=False)
            for step in plan.plan_absent_roles(self._wishes, server):
                self._drop_role(connection, step, server)

    def _inside(self, database: Database, server: Server) -> Inside:
        """Read a database; one that a check would have made is as PostgreSQL makes it."""
        if self._check and database.name not in server.databases:
            return blank(database, server.version)
        with connect(self._login, database.name) as connection:
            # Whoever owns the database sets its search_path, and what is found there would be run as a superuser.
            execute(connection, "SET search_path TO ''")
            return read_inside(connection, database)

    def _fill(self, database: Database, server: Server) -> None:
        inside = self._inside(database, server)
        steps = plan.plan_inside(database, inside, server)
        if steps:
            with self._within(database) as connection:
                self._apply(connection, steps)
        scripts = plan.plan_scripts(database, inside)
        for init in scripts:
            self._script(database, init, inside)
        if (scripts or steps) and not self._check:
            inside = self._inside(database, server)
            lost = plan.missing(database, inside, server)
            if lost:
                raise MainstayError(f"grant privileges in the database {database.name}", ". ".join(lost), STAYS)
        steps = plan.plan_objects(database, inside, server.version)
        if steps:
            with self._within(database) as connection:
                self._apply(connection, steps)

    @contextlib.contextmanager
    def _within(self, database: Database) -> t.Iterator[t.Any]:
        """Yield a connection to the database, or none in check mode, which may have no such database."""
        if self._check:
            yield None
            return
        with connect(self._login, database.name) as connection:
            # An extension goes into the first schema of the path, unless it says another one.
            execute(connection, "SET search_path TO public")
            yield connection

    def _apply(self, connection: t.Any, steps: t.Sequence[Step], together: bool = True) -> None:
        """Take the steps, in one transaction if they are taken together."""
        if not self._check and steps:
            if any(step.secret for step in steps):
                silence(connection, ["log_transaction_sample_rate"])
            with _transaction(connection) if together else contextlib.nullcontext():
                for step in steps:
                    _take(connection, step)
        self.done += steps

    def _script(self, database: Database, init: InitSql, inside: Inside) -> None:
        """Run a script and record it, in one transaction on a connection of its own."""
        if not self._check:
            with connect(self._login, database.name) as connection, _transaction(connection):
                if init.role:
                    execute(connection, "SET LOCAL ROLE {}", init.role)
                for number, statement in enumerate(split(init.text), 1):
                    try:
                        execute(connection, statement.text)
                    except Exception as error:
                        cause = f"statement {number} (line {statement.line}), {statement}: {words(error)}"
                        next_step = "nothing of this SQL was applied; correct it and run again"
                        raise MainstayError(f"run the SQL {init.name} in the database {database.name}", cause, next_step) from error
                execute(connection, "RESET ROLE")
                execute(connection, "SET LOCAL search_path TO ''")
                self._record(connection, init)
        self.done.append(plan.script_step(database, init, inside))

    def _record(self, connection: t.Any, init: InitSql) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL client_min_messages TO warning")
            cursor.execute(_RECORDS)
            records_there(connection)
            statement = "INSERT INTO mainstay.init_sql (name, sha256) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, run_at = now()"
            cursor.execute(statement, (init.name, init.digest))

    def _drop_role(self, connection: t.Any, step: Step, server: Server) -> None:
        """Take a role's privileges in each database, and drop it; it owns nothing."""
        name = step.thing.removeprefix("role ")
        if not self._check:
            for database in plan.places_of(self._wishes, server, name):
                with connect(self._login, database) as place, _transaction(place):
                    # DROP OWNED would drop what it has made since.
                    state = read_server(place, self._wishes)
                    refuse([f"role {name}: it owns something in {database} now"] if database in state.owned.get(name, ()) else [])
                    execute(place, "DROP OWNED BY {}", name)
        self._apply(connection, [step])


def _take(connection: t.Any, step: Step) -> None:
    """Take one step.

    Raises:
        MainstayError: the server refused; the message does not show the statement.
    """
    try:
        if step.secret:
            silence(connection, local=True)
        execute(connection, step.statement)
    except Exception as error:
        if getattr(error, "diag", None) is None:
            raise
        raise MainstayError(step.words, words(error), STAYS) from None


@contextlib.contextmanager
def _transaction(connection: t.Any) -> t.Iterator[None]:
    """Commit what the block did, or nothing of it."""
    execute(connection, "BEGIN")
    try:
        yield
    except BaseException:
        execute(connection, "ROLLBACK")
        raise
    execute(connection, "COMMIT")
