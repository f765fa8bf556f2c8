# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logical backups: ``pg_dump`` in the custom format per database and ``pg_dumpall --globals-only``, streamed into the catalogue."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import time
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, require_programs, tool_versions
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client, facts
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import (
    ClientEnvironment,
    Login,
    client_environment,
    conninfo,
    connect,
    execute,
    value,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.parallel import Group
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.spec import KIND
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command

METHOD = "logical"
SMALLEST_DUMP = 256
"""Bytes: the archive of an empty database has about 900, and pg_dumpall's comments alone are more."""


@dataclasses.dataclass(frozen=True)
class Desired:
    """What a backup is to hold and how it is to be stored."""

    databases: tuple[str, ...]
    exclude_databases: tuple[str, ...]
    include_globals: bool
    compression: Compression
    encryption: Encryption
    labels: dict[str, str]
    bin_dir: str | None = None
    jobs: int = 1

    @property
    def suffix(self) -> str:
        """What the names of the objects end with."""
        return self.compression.suffix + self.encryption.suffix

    def filters(self) -> tuple[Command, ...]:
        """The programs between the dump and the store."""
        return (*self.compression.filters(), *self.encryption.filters())


@dataclasses.dataclass(frozen=True)
class Plan:
    """A backup that can be taken: everything was looked up and found in order."""

    server: facts.Server
    databases: tuple[dict[str, t.Any], ...]
    pg_dump: str
    pg_dumpall: str
    actions: tuple[str, ...]
    pg_dump_version: str
    warnings: tuple[str, ...]


def object_name(database: str) -> str:
    """Return the name of a database's object without the suffixes; what is no plain name is percent-encoded."""
    encoded = urllib.parse.quote(database, safe="")
    return f"{'%2E' + encoded[1:] if encoded.startswith('.') else encoded}.dump"


def plan(login: Login, desired: Desired) -> Plan:
    """Look at the server and at the programs; nothing is written.

    Raises:
        InvalidInput: a database does not exist, or there is no recipient.
        MainstayError: the server cannot be reached, or a program is missing or older than the server.
    """
    desired.encryption.filters()
    with connect(login) as connection:
        server = facts.read_server(connection)
        present = facts.read_databases(connection)
    empty = []
    if not desired.databases and any(database["name"] == "postgres" for database in present):
        with connect(login, "postgres") as connection:
            empty = ["postgres"] if facts.is_empty(connection) else []
    names = facts.select_databases(present, desired.databases, desired.exclude_databases, empty)
    pg_dump = client.find_program("pg_dump", server.major, desired.bin_dir)
    pg_dumpall = client.find_program("pg_dumpall", server.major, desired.bin_dir) if desired.include_globals else ""
    require_programs(desired.filters())
    desired.encryption.check()
    actions = [*(["dump the roles"] if desired.include_globals else []), *(f"dump the database {name}" for name in names), "publish the backup"]
    version = client.version_of(pg_dump)
    chosen = tuple(database for database in present if database["name"] in names)
    return Plan(server, chosen, pg_dump, pg_dumpall, tuple(actions), version, tuple(outdated({"the server": server.version, pg_dump: version})))


def outdated(versions: t.Mapping[str, str]) -> list[str]:
    """Return a warning for each version, by what has it, that lacks the fix of a known vulnerability of dumps."""
    return [
        f"{what} is of version {version.split()[0]}, which lacks the fix for {', '.join(found)}: update it, and never feed a plain dump to psql"
        for what, version in versions.items()
        if (found := facts.unfixed(version))
    ]


def take(login: Login, desired: Desired, planned: Plan, catalogue: catalogues.Catalogue, phases: dict[str, float]) -> catalogues.Backup:
    """Take the backup; after any error nothing of it is left in the store.

    Raises:
        PipelineError: a program failed or produced too little.
        MainstayError: the server or the store failed.
    """
    started = utc_now()
    backup_id = catalogues.new_id(started)
    versions = {"pg_dump": planned.pg_dump_version, **tool_versions(desired.filters())}
    warnings: list[str] = []
    with client_environment(login) as environment, catalogue.draft(backup_id) as draft, connect(login) as connection:
        source = planned.server.describe(facts.read_lsn(connection))
        contents: dict[str, t.Any] = {"globals": None, "databases": []}
        if desired.include_globals:
            with timed(phases, "dump_globals"):
                _progress.current().phase("dump the roles")
                contents["globals"] = _dump_globals(login, desired, planned, draft, environment, warnings)
        with timed(phases, "dump"):
            contents["databases"] = _dump_databases(login, desired, planned, draft, environment, warnings)
        moments = [datetime.datetime.fromtimestamp(item.pop("snapshot_epoch"), datetime.timezone.utc) for item in contents["databases"]]
        recoverable = min(moments).replace(microsecond=0)
        records = {record.name: record for record in draft.records}
        described = [*([contents["globals"]] if contents["globals"] else []), *contents["databases"]]
        manifest = Manifest(
            id=backup_id,
            kind=KIND,
            method=METHOD,
            name=catalogue.name,
            started=started,
            finished=utc_now(),
            recoverable_from=recoverable,
            recoverable_to=recoverable,
            source=source,
            contents=contents,
            objects=tuple(records[item["object"]] for item in described),
            compression=desired.compression.describe(),
            encryption=desired.encryption.describe(),
            tools=versions,
            labels=desired.labels,
            warnings=tuple(warnings),
        )
        with timed(phases, "publish"):
            _progress.current().phase("publish")
            return draft.publish(manifest)


def _dump_globals(
    login: Login, desired: Desired, planned: Plan, draft: catalogues.Draft, environment: ClientEnvironment, warnings: list[str]
) -> dict[str, t.Any]:
    argv = [planned.pg_dumpall, "--globals-only", "--no-password", "-l", conninfo(login.database)]
    if not planned.server.reads_passwords:
        argv.append("--no-role-passwords")
        warnings.append(f"the roles are without passwords, since {login.user} may not read them")
    name = "globals.sql" + desired.suffix
    variables = {**environment.variables, "PGCLIENTENCODING": "UTF8"}
    draft.add(name, Command(tuple(argv), variables, pass_fds=environment.pass_fds), desired.filters(), 1 << 20, SMALLEST_DUMP)
    return {"object": name, "passwords": planned.server.reads_passwords}


def _dump_databases(
    login: Login, desired: Desired, planned: Plan, draft: catalogues.Draft, environment: ClientEnvironment, warnings: list[str]
) -> list[dict[str, t.Any]]:
    """Dump the databases, ``jobs`` at once and then the largest first; return what they hold in the order of the plan, whichever ended first."""
    group = Group()
    jobs = min(desired.jobs, len(planned.databases))
    order = sorted(planned.databases, key=lambda database: -database["size_bytes"]) if jobs > 1 else planned.databases

    def dump(database: dict[str, t.Any]) -> tuple[dict[str, t.Any], list[str]]:
        try:
            with _progress.current().phase(f"dump {database['name']}", database["size_bytes"]):
                return _dump_database(login, desired, planned, draft, environment, database, group)
        except MainstayError as error:
            raise MainstayError(f"dump the database {database['name']}", error, **error.details) from error

    found = group.run({database["name"]: functools.partial(dump, database) for database in order}, jobs)
    results = [found[database["name"]] for database in planned.databases]
    warnings += [warning for _unused, more in results for warning in more]
    return [contents for contents, _unused in results]


def _dump_database(
    login: Login, desired: Desired, planned: Plan, draft: catalogues.Draft, environment: ClientEnvironment, database: dict[str, t.Any], group: Group
) -> tuple[dict[str, t.Any], list[str]]:
    """Dump one database from a snapshot that this connection holds, so that the numbers in the manifest are those of the dump; return them and warnings."""
    with connect(login, database["name"]) as connection:
        group.watch(connection)
        try:
            execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            execute(connection, "SET LOCAL row_security = off")
            taken = time.time()
            snapshot = value(connection, "SELECT pg_export_snapshot()")
            contents = facts.read_contents(connection)
            warnings = [f"{database['name']}: {text}" for text in (*facts.left_out(connection, planned.server), *facts.stale_collations(connection))]
            argv = (planned.pg_dump, "-Fc", "-Z0", "--no-password", f"--snapshot={snapshot}", "-d", conninfo(database["name"]))
            name = object_name(database["name"]) + desired.suffix
            command = Command(argv, environment.variables, pass_fds=environment.pass_fds)
            draft.add(name, command, desired.filters(), database["size_bytes"], SMALLEST_DUMP)
            execute(connection, "ROLLBACK")
        finally:
            group.release(connection)
    return {**database, **contents, "object": name, "snapshot_epoch": taken}, warnings
