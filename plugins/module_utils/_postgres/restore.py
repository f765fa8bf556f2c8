# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore into a running server: into new databases, which take their places by renames in one transaction."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import facts, roles
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, client_environment, connect, execute, rows, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.fill import (
    Means,
    Source,
    apply_properties,
    check_room,
    check_target,
    create_database,
    fill_database,
    find_pg_restore,
    staged_bytes,
)

NAME_BYTES = 63
"""Bytes that PostgreSQL keeps of a name (NAMEDATALEN - 1)."""
DISCONNECT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Desired:
    """What is to be restored, under which name, and what happens to a database that is there."""

    databases: tuple[str, ...] = ()
    target_database: str = ""
    on_existing: str = "fail"
    include_globals: bool = True
    bin_dir: str | None = None
    jobs: int = 1
    work_dir: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """One database of a plan: ``action`` is ``create``, ``replace`` (the old one is dropped) or ``rename`` (the old one is kept as ``aside``)."""

    database: dict[str, t.Any]
    target: str
    temporary: str
    aside: str
    action: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A restore that can be done: everything was looked up and found in order."""

    server: facts.Server
    steps: tuple[Step, ...]
    role_statements: tuple[roles.RoleStatement, ...]
    pg_restore: str
    maintenance: str
    actions: tuple[str, ...]
    warnings: tuple[str, ...]
    jobs: int = 1
    work_dir: str = ""


def derived_name(database: str, word: str, backup_id: str) -> str:
    """Return ``<database>__<word>_<id>``; of a long name the database's part is cut and gets some of its hash, so that PostgreSQL keeps all of it."""
    ending = f"__{word}_{backup_id}"
    room = NAME_BYTES - len(ending)
    if len(database.encode()) <= room:
        return database + ending
    mark = "~" + hashlib.sha256(database.encode()).hexdigest()[:6]
    return database.encode()[: room - len(mark)].decode(errors="ignore") + mark + ending


def decide(target: str, exists: bool, empty: bool, on_existing: str) -> str:
    """Return what happens to a target: ``create``, ``replace`` or ``rename``. A database without any user's object counts as if it were not there.

    Raises:
        InvalidInput: it exists, holds something, and ``on_existing`` is ``fail``.
    """
    if not exists:
        return "create"
    if empty:
        return "replace"
    if on_existing == "fail":
        next_step = "ask for on_existing=rename (keeps it under another name) or on_existing=replace (drops it)"
        raise InvalidInput(f"restore into the database {target}", "it exists and is not empty", next_step)
    return on_existing


def plan(login: Login, source: Source, desired: Desired) -> Plan:
    """Look at the backup and at the server; nothing is written.

    Raises:
        InvalidInput: the request does not fit the backup, or a target exists.
        MainstayError: the server lacks something, or cannot be reached.
    """
    backup_id = source.backup.id
    chosen = _choose(source, desired)
    if needed := staged_bytes(source, [database for database, _unused in chosen], desired.jobs):
        check_room(desired.work_dir, "for an opened dump", needed)
    wanted = source.read_roles() if desired.include_globals else roles.Globals((), ())
    with connect(login) as connection:
        server = facts.read_server(connection)
        if server.in_recovery:
            raise InvalidInput(f"restore backup {backup_id}", "the server is a standby", "restore on the primary")
        existing = {row["datname"] for row in rows(connection, "SELECT datname FROM pg_database")}
        statements = roles.select(wanted, roles.existing_roles(connection))
        made = [statement.roles[0] for statement in statements if statement.creates]
        warnings = check_target(connection, [database for database, _unused in chosen], made)
    pg_restore = find_pg_restore(source.backup, server, desired.bin_dir)
    steps = []
    for database, target in chosen:
        empty = target in existing and _is_empty(login, target)
        action = decide(target, target in existing, empty, desired.on_existing)
        steps.append(Step(database, target, derived_name(target, "restore", backup_id), derived_name(target, "before", backup_id), action))
    warnings += [f"not restored from the globals: {text}" for text in wanted.skipped]
    if elsewhere := sorted(set(wanted.set_in) - set(source.databases)):
        warnings.append(f"not restored from the globals: settings of roles in {', '.join(elsewhere)}, which the backup does not hold")
    maintenance = next(name for name in (login.database, "postgres", "template1") if name not in {step.target for step in steps})
    actions = _describe(steps, made)
    return Plan(server, tuple(steps), tuple(statements), pg_restore, maintenance, actions, tuple(warnings), desired.jobs, desired.work_dir)


def _choose(source: Source, desired: Desired) -> list[tuple[dict[str, t.Any], str]]:
    """Return the databases of the backup that are meant, each with its target's name."""
    recorded = source.databases
    names = list(desired.databases or recorded)
    unknown = sorted(set(names) - set(recorded))
    if unknown:
        raise InvalidInput(f"restore {', '.join(unknown)}", f"backup {source.backup.id} does not hold it", f"it holds {', '.join(recorded)}")
    if desired.target_database and len(names) != 1:
        raise InvalidInput("restore into target_database", f"{len(names)} databases would be restored into it", "name one in databases")
    return [(recorded[name], desired.target_database or name) for name in sorted(names)]


def _is_empty(login: Login, database: str) -> bool:
    with connect(login, database) as connection:
        return facts.is_empty(connection)


def _describe(steps: t.Sequence[Step], made: t.Sequence[str]) -> tuple[str, ...]:
    words = [f"create the role {name}" for name in made]
    for step in steps:
        words.append(f"restore {step.database['name']} into a new database")
        if step.action == "rename":
            words.append(f"rename the database {step.target} to {step.aside}")
        elif step.action == "replace":
            words.append(f"drop the old database {step.target}")
        words.append(f"put the restored database in place as {step.target}")
    return tuple(words)


def restore(login: Login, source: Source, planned: Plan, phases: dict[str, float]) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Do it. Until the swap nothing but roles was added; after an error the databases that were there are as before and the half-made ones are gone.

    Returns:
        What was restored, and warnings.
    """
    login = dataclasses.replace(login, database=planned.maintenance)
    restored: list[dict[str, t.Any]] = []
    warnings: list[str] = []
    with contextlib.ExitStack() as undo, client_environment(login) as environment, connect(login) as connection:
        means = Means(login, environment, planned.pg_restore, planned.jobs, planned.work_dir)
        with timed(phases, "globals"):
            _progress.current().phase("globals")
            roles.apply(connection, planned.role_statements)
        for step in planned.steps:
            started = time.monotonic()
            undo.callback(_drop_quietly, login, step.temporary)
            _drop_quietly(login, step.temporary)  # what a restore of this backup left when its server went down; we hold the lock
            create_database(connection, planned.server, step.database, step.temporary)
            warnings += fill_database(means, source, step.database, step.temporary, phases)
            apply_properties(connection, step.database, step.temporary)
            restored.append(
                {
                    "database": step.target,
                    "source_database": step.database["name"],
                    "action": step.action,
                    "previous": step.aside if step.action == "rename" else "",
                    "tables": step.database["tables"],
                    "rows_checked": sum(step.database["row_counts"].values()),
                    "seconds": round(time.monotonic() - started, 3),
                }
            )
        with timed(phases, "swap"):
            _progress.current().phase("swap")
            _swap(login, connection, planned.steps)
        undo.pop_all()
        return restored, [*warnings, *_after(connection, planned.steps)]


def _drop_quietly(login: Login, database: str) -> None:
    with contextlib.suppress(MainstayError), connect(login) as connection:
        _disconnect(connection, database)
        execute(connection, "DROP DATABASE IF EXISTS {}", database)


def _disconnect(connection: t.Any, database: str) -> None:
    """End every session of a database and wait until they are gone.

    Raises:
        MainstayError: one stays longer than 30 seconds.
    """
    deadline = time.monotonic() + DISCONNECT_SECONDS
    while value(connection, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [database]):
        if time.monotonic() > deadline:
            raise MainstayError(f"disconnect the users of the database {database}", f"some are still there after {DISCONNECT_SECONDS:.0f} seconds")
        time.sleep(0.1)


def _swap(login: Login, connection: t.Any, steps: t.Sequence[Step]) -> None:
    """Close the old databases, end their sessions, rename everything in one transaction; an error opens the old ones again."""
    old = [step for step in steps if step.action != "create"]
    with contextlib.ExitStack() as reopen:
        for step in old:
            reopen.callback(_reopen_quietly, login, step.target)
            execute(connection, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", step.target)
        for step in steps:
            _disconnect(connection, step.temporary)
            if step.action != "create":
                _disconnect(connection, step.target)
        reopen.callback(_roll_back_quietly, connection)
        execute(connection, "BEGIN")
        for step in steps:
            if step.action != "create":
                execute(connection, "ALTER DATABASE {} RENAME TO {}", step.target, step.aside)
            execute(connection, "ALTER DATABASE {} RENAME TO {}", step.temporary, step.target)
        execute(connection, "COMMIT")
        reopen.pop_all()


def _roll_back_quietly(connection: t.Any) -> None:
    """End the transaction, whose locks would keep the databases from being opened again."""
    with contextlib.suppress(Exception):
        execute(connection, "ROLLBACK")


def _reopen_quietly(login: Login, database: str) -> None:
    with contextlib.suppress(MainstayError), connect(login) as connection:
        execute(connection, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", database)


def _after(connection: t.Any, steps: t.Sequence[Step]) -> list[str]:
    """Drop the old databases that are replaced, open those that are kept; what fails here is a warning, since the restore itself is done."""
    warnings: list[str] = []
    for step in steps:
        statement = {"replace": "DROP DATABASE {}", "rename": "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true"}.get(step.action)
        if statement is None:
            continue
        try:
            execute(connection, statement, step.aside)
        except Exception as error:  # psycopg2's own class is not there without the library
            warnings.append(f"{step.target} is restored, but its old database {step.aside} could not be tidied up: {str(error).strip()}")
    return warnings
