# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway server: initdb in a private folder, reached by a private socket only, archive off, removed at the end; and the checks made in it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import re
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, ObjectRecord
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import PipelineError
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client, facts, roles
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, client_environment, connect, execute, rows
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.fill import (
    Means,
    Source,
    apply_properties,
    check_room,
    check_target,
    create_database,
    fill_database,
    needed_roles,
    staged_bytes,
)
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, ProgramKilled, run, uninterrupted

SUPERUSER = "mainstay_verify"
PORT = 5432
"""Part of the socket's name only: the server listens on no address."""
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "128MB",
    "max_connections": "40",
    "max_logical_replication_workers": "0",
}
PRELOADED = frozenset(
    ("age", "anon", "auth_delay", "citus", "credcheck", "hypopg", "pg_cron", "pg_hint_plan", "pg_ivm", "pg_net", "pg_partman_bgw", "pg_prewarm")
    + ("pg_qualstats", "pg_squeeze", "pg_stat_kcache", "pg_stat_monitor", "pg_stat_statements", "pg_tde", "pg_wait_sampling", "pgaudit", "pglogical")
    + ("pgsodium", "plprofiler", "set_user", "spock", "supautils", "timescaledb", "wal2json")
)
"""Libraries of extensions that belong in ``shared_preload_libraries``: for backups whose login could not read what the source loads."""


def server_user() -> str:
    """Return the user to run a server as: ``postgres`` when we are root, which PostgreSQL refuses; empty for the current user.

    Raises:
        MainstayError: we are root and there is no user ``postgres``.
    """
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise MainstayError("start a throwaway server", "PostgreSQL does not run as root, and there is no user postgres", "install PostgreSQL") from error


def find_server(manifest: Manifest, folder: str | None) -> str:
    """Return the folder of server programs that can take a backup: of the source's version, or of the next newer one that is installed.

    Raises:
        MainstayError: there are none, or no user to run them as.
    """
    server_user()
    major = max(client.major_of(manifest.tools["pg_dump"]), manifest.source["server_version_num"] // 10000)
    return os.path.dirname(client.find_program("initdb", major, folder, "the backup"))


def preload_libraries(manifest: Manifest) -> tuple[str, ...]:
    """Return the libraries that the extensions of the backup want loaded at the server's start, in the source's order.

    Of what the source loads, only what an extension of a backed-up database comes from: nothing else is needed to restore.
    """
    wanted = {name for database in manifest.contents["databases"] for name in database.get("extension_libraries", ())}
    wanted = {re.sub(r"-[\d.]+$", "", name) for name in wanted}  # timescaledb-2.17.2 is loaded by timescaledb
    loaded = manifest.source.get("preload_libraries")
    return tuple(name for name in (sorted(PRELOADED) if loaded is None else loaded) if name in wanted)


def room_needed(source: Source, jobs: int) -> int:
    """Return the bytes that restoring everything into a throwaway server takes at least: of dump and database the smaller, and the largest staged dump."""
    manifest = source.backup.require_manifest()
    restored = sum(min(manifest.record(item["object"]).plain_bytes, item["size_bytes"]) for item in source.databases.values())
    return restored + staged_bytes(source, source.databases.values(), jobs)


@contextlib.contextmanager
def throwaway_server(bin_dir: str, work_dir: str, phases: dict[str, float], libraries: t.Sequence[str] = ()) -> t.Iterator[Login]:
    """Yield the login of a fresh, empty server, and remove everything of it at the end, also after an error.

    Args:
        bin_dir: folder of the server's programs.
        work_dir: folder in which the private folder is made; it needs room for the restored databases.
        phases: gets ``prepare`` and ``remove``.
        libraries: what it loads at its start; their background workers do not run, so that no restored job is carried out.

    Raises:
        MainstayError: the server could not be made.
    """
    user = server_user()
    try:
        folder = tempfile.mkdtemp(prefix="mainstay-verify-", dir=work_dir)
    except OSError as error:
        raise MainstayError(f"make a folder in {work_dir}", error.strerror or error, "name another one in work_dir") from error
    data = f"{folder}/data"
    control = f"{bin_dir}/pg_ctl"
    try:
        with timed(phases, "prepare"):
            _progress.current().phase("prepare")
            if user:
                shutil.chown(folder, user)
            argv = (f"{bin_dir}/initdb", "--no-sync", "-D", data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C")
            run(Command(argv, user=user, cwd="/"), "initialise a throwaway server")
            given = {**SETTINGS, "unix_socket_directories": folder, "port": str(PORT)}
            if libraries:
                given |= {"shared_preload_libraries": ",".join(libraries), "max_worker_processes": "0"}
            with open(f"{data}/postgresql.conf", "a", encoding="utf-8") as file:
                file.writelines(f"{name} = '{text}'\n" for name, text in given.items())
            with contextlib.suppress(OSError):
                os.chmod(f"{data}/postgresql.conf", 0o600)
            start = Command((control, "-D", data, "-l", f"{folder}/log", "-w", "-s", "start"), user=user, cwd="/")
            try:
                run(start, "start a throwaway server")
            except MainstayError as error:
                said = _last_lines(f"{folder}/log") or error.cause
                missing = re.search(r'could not access file "([^"]+)"', said)
                cause = f"extensions of the backup need the library {missing[1]}, which is not installed" if missing else said
                raise MainstayError("start a throwaway server", cause, "install the extension's package on this host" if missing else "") from error
        yield Login(host=folder, port=PORT, user=SUPERUSER, ssl_mode="disable")
    finally:
        with timed(phases, "remove"), uninterrupted():
            _progress.current().phase("remove")
            if os.path.exists(f"{data}/postmaster.pid"):
                with contextlib.suppress(MainstayError):
                    run(Command((control, "-D", data, "-m", "immediate", "-w", "-s", "stop"), user=user, cwd="/"), "stop a throwaway server")
            shutil.rmtree(folder, ignore_errors=True)


def _last_lines(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return " ".join(file.read().split("\n")[-6:]).strip()
    return ""


@dataclasses.dataclass(frozen=True)
class Query:
    """A user's own check: the first column of a query's first row, as text, must be ``expect``."""

    database: str
    query: str
    expect: str


@dataclasses.dataclass(frozen=True)
class PostgresChecks:
    """What this kind of backup knows about its contents; see :class:`..._catalog.verify.KindChecks`."""

    catalogue: Catalogue
    identity: Identity
    queries: tuple[Query, ...]
    bin_dir: str | None
    work_dir: str
    jobs: int = 1

    def content(self, backup: Backup, record: ObjectRecord) -> Command | t.Callable[[t.BinaryIO], object]:
        """Return ``pg_restore -f /dev/null``, which reads a dump to its end (``-l`` does not), or the reader of the globals."""
        manifest = backup.require_manifest()
        if manifest.contents["globals"] and record.name == manifest.contents["globals"]["object"]:
            return lambda stream: roles.parse(stream.read().decode(errors="replace"))
        program = client.find_program("pg_restore", client.major_of(manifest.tools["pg_dump"]), self.bin_dir, "the backup")
        return Command((program, "-f", "/dev/null"))

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore everything into a throwaway server of the source's version, or of the next newer one, and check it."""
        with self.restored(backup, phases) as (_unused, details):
            return details

    @contextlib.contextmanager
    def restored(self, backup: Backup, phases: dict[str, float]) -> t.Iterator[tuple[Login, dict[str, t.Any]]]:
        """Do what :meth:`restore` does, and yield the server's login with what was seen; the server is removed at the end."""
        manifest = backup.require_manifest()
        source = Source(self.catalogue, backup, self.identity)
        bin_dir = find_server(manifest, self.bin_dir)
        check_room(self.work_dir, "for a restore", room_needed(source, self.jobs))
        with throwaway_server(bin_dir, self.work_dir, phases, preload_libraries(manifest)) as login:
            try:
                details = self._restore_into(login, source, bin_dir, phases)
            except PipelineError as error:
                if "No space left on device" in error.cause or "could not extend file" in error.cause:
                    raise MainstayError(error.doing, error.cause, f"make room in {self.work_dir} or name another work_dir") from error
                raise
            yield login, details

    def _restore_into(self, login: Login, source: Source, bin_dir: str, phases: dict[str, float]) -> dict[str, t.Any]:
        maintenance = dataclasses.replace(login, database="template1")
        databases = list(source.databases.values())
        with client_environment(login) as environment, connect(maintenance) as connection:
            means = Means(login, environment, f"{bin_dir}/pg_restore", self.jobs, self.work_dir)
            server = facts.read_server(connection)
            with timed(phases, "globals"):
                _progress.current().phase("globals")
                _make_roles(connection, source, databases)
            warnings = check_target(connection, [{**database, "tablespaces": [], "tablespace": "pg_default"} for database in databases], ())
            for database in databases:
                execute(connection, "DROP DATABASE IF EXISTS {}", database["name"])
                create_database(connection, server, database, database["name"])
                warnings += fill_database(means, source, database, database["name"], phases)
            with timed(phases, "check"):
                _progress.current().phase("check")
                checked = self._amcheck(login, environment.variables, bin_dir)
                for database in databases:  # after pg_amcheck, which a database's own settings could hinder
                    apply_properties(connection, {**database, "connection_limit": -1}, database["name"])
                answers = [ask(login, query) for query in self.queries]
        return {
            "server_version": server.version,
            "databases": [_counted(database) for database in databases],
            "amcheck": checked,
            "verify_queries": answers,
            "warnings": warnings,
        }

    def _amcheck(self, login: Login, variables: dict[str, str], bin_dir: str) -> bool:
        """Check heaps and indexes with pg_amcheck where it is installed; return whether it was."""
        program = f"{bin_dir}/pg_amcheck"
        with connect(login) as connection:
            available = bool(rows(connection, "SELECT FROM pg_available_extensions WHERE name = 'amcheck'"))
        if not (available and os.access(program, os.X_OK)):
            return False
        command = Command((program, "--all", "--install-missing", "--heapallindexed", "--no-password", "--maintenance-db=template1"), variables)
        try:
            run(command, "check the restored tables and indexes")
        except ProgramKilled:
            raise
        except MainstayError as error:
            raise VerificationFailed(error.doing, error.cause) from error
        return True


def _make_roles(connection: t.Any, source: Source, databases: t.Sequence[dict[str, t.Any]]) -> None:
    """Make the roles of the backup; where it holds no globals, those that its databases need, without any rights of their own."""
    roles.apply(connection, roles.select(source.read_roles(), roles.existing_roles(connection)))
    if source.backup.require_manifest().contents["globals"] is not None:
        return
    present = roles.existing_roles(connection)
    for name in sorted({name for database in databases for name in needed_roles(database)} - present):
        execute(connection, "CREATE ROLE {}", name)


def _counted(database: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": database["name"],
        "tables": database["tables"],
        "large_objects": database["large_objects"],
        "tables_counted": len(database["row_counts"]),
        "rows_counted": sum(database["row_counts"].values()),
    }


def ask(login: Login, query: Query) -> dict[str, t.Any]:
    """Put one of the user's queries.

    Raises:
        VerificationFailed: it failed or answered something else.
    """
    doing = f"check {query.query!r} in {query.database}"
    try:
        with connect(login, query.database) as connection, connection.cursor() as cursor:
            cursor.execute(query.query)
            row = cursor.fetchone() if cursor.description else None
    except MainstayError as error:
        raise VerificationFailed(doing, error.cause) from error
    found = as_text(row[0] if row else None)
    if found != query.expect:
        raise VerificationFailed(doing, f"it answered {found!r}, {query.expect!r} is expected")
    return {**dataclasses.asdict(query), "found": found}


def as_text(answer: object) -> str:
    """Return a value as PostgreSQL's own text for the common types: ``true`` and ``false``, an empty text for NULL."""
    if answer is None:
        return ""
    return str(answer).lower() if isinstance(answer, bool) else str(answer)
