# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database out of a backup into a new, empty one: created as it was, filled by ``pg_restore``, compared with the manifest."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import BLOCK, DamagedObject, PipelineError
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client, roles
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import (
    ClientEnvironment,
    Login,
    conninfo,
    connect,
    execute,
    rows,
    sql,
    words,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.facts import Server, differences, read_collations
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, ProgramKilled, run

LIST_SETTINGS = frozenset(
    ("local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories")
)
"""Settings whose stored value is already a quoted list (variable_is_guc_list_quote in PostgreSQL's src/bin/pg_dump/dumputils.c)."""
PRIVILEGES = frozenset(("CONNECT", "CREATE", "TEMPORARY"))
"""What can be granted on a database (PostgreSQL manual, section "Privileges")."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A backup that can be opened."""

    catalogue: Catalogue
    backup: Backup
    identity: Identity

    @property
    def databases(self) -> dict[str, dict[str, t.Any]]:
        """What the manifest says of each database, by name."""
        return {database["name"]: database for database in self.backup.require_manifest().contents["databases"]}

    def read_roles(self) -> roles.Globals:
        """Open the globals object.

        Raises:
            InvalidInput: the private key is missing or wrong.
        """
        described = self.backup.require_manifest().contents["globals"]
        if described is None:
            return roles.Globals((), ())
        text = self.catalogue.read(self.backup, described["object"], self.identity, lambda stream: stream.read().decode(errors="replace"))
        return roles.parse(text or "")


def find_pg_restore(backup: Backup, server: Server, folder: str | None) -> str:
    """Return the pg_restore that reads the archives of a backup and speaks to a server.

    Raises:
        InvalidInput: the server is older than the one that was backed up.
        MainstayError: no pg_restore is new enough.
    """
    manifest = backup.require_manifest()
    source = manifest.source["server_version_num"] // 10000
    if server.major < source:
        cause = f"it comes from PostgreSQL {source} and the server is of {server.major}"
        raise InvalidInput(f"restore backup {backup.id}", cause, "restore into a server of the same or a newer version")
    return client.find_program("pg_restore", max(server.major, client.major_of(manifest.tools["pg_dump"])), folder, "the backup and the server")


def check_target(connection: t.Any, databases: t.Sequence[t.Mapping[str, t.Any]], coming: t.Container[str]) -> list[str]:
    """Check that a server has what the databases need; return warnings.

    Args:
        connection: to the server.
        databases: what the manifest says of each.
        coming: roles that will be made before.

    Raises:
        MainstayError: a role or an extension is missing.
    """
    present = roles.existing_roles(connection)
    available = {row["name"]: row["version"] for row in rows(connection, "SELECT name, default_version AS version FROM pg_available_extensions")}
    spaces = existing_tablespaces(connection)
    warnings: list[str] = []
    for database in databases:
        doing = f"restore the database {database['name']}"
        missing = sorted(name for name in needed_roles(database) if name not in present and name not in coming)
        if missing:
            raise MainstayError(doing, f"the server lacks the roles {', '.join(missing)}", "create them, or restore with include_globals")
        lacking = sorted(set(database["extensions"]) - set(available))
        if lacking:
            raise MainstayError(doing, f"the extensions {', '.join(lacking)} are not installed on the server's host", "install their packages")
        for name, version in database["extensions"].items():
            if available[name] != version:
                warnings.append(f"the extension {name} was backed up at version {version} and comes back at {available[name]}")
        lost = sorted({*database["tablespaces"], database.get("tablespace", "pg_default")} - spaces)
        if lost:
            warnings.append(f"the tablespaces {', '.join(lost)} do not exist: all of {database['name']} goes to the default one")
    return warnings


def needed_roles(database: t.Mapping[str, t.Any]) -> set[str]:
    """Return the roles that a database cannot come back without: its owner, those that own or may do something in it, those with settings in it."""
    more = {item["role"] for item in database["settings"]} | {item["grantee"] for item in database["grants"]}
    return {database["owner"], *database["roles"], *more} - {""}


def existing_tablespaces(connection: t.Any) -> set[str]:
    """Return the names of the server's tablespaces."""
    return {row["spcname"] for row in rows(connection, "SELECT spcname FROM pg_tablespace")}


def create_database(connection: t.Any, server: Server, database: t.Mapping[str, t.Any], name: str) -> None:
    """Create an empty database with the recorded owner, encoding, collation and tablespace.

    Raises:
        MainstayError: the server refuses, for example since its host lacks the locale.
    """
    options = ["TEMPLATE template0", "OWNER {}", "ENCODING {}", "LC_COLLATE {}", "LC_CTYPE {}"]
    arguments: list[t.Any] = [sql.Identifier(database["owner"]), *(sql.Literal(database[key]) for key in ("encoding", "lc_collate", "lc_ctype"))]
    if server.major >= 15:
        options.append({"icu": "LOCALE_PROVIDER icu", "builtin": "LOCALE_PROVIDER builtin"}.get(database["locale_provider"], "LOCALE_PROVIDER libc"))
    if database["locale_provider"] in ("icu", "builtin"):
        options.append({"icu": "ICU_LOCALE {}", "builtin": "BUILTIN_LOCALE {}"}[database["locale_provider"]])
        arguments.append(sql.Literal(database["locale"]))
    if database.get("icu_rules") and server.major >= 16:
        options.append("ICU_RULES {}")
        arguments.append(sql.Literal(database["icu_rules"]))
    if database.get("tablespace", "pg_default") in existing_tablespaces(connection) - {"pg_default"}:
        options.append("TABLESPACE {}")
        arguments.append(sql.Identifier(database["tablespace"]))
    try:
        execute(connection, sql.SQL("CREATE DATABASE {} " + " ".join(options)).format(sql.Identifier(name), *arguments))
    except Exception as error:  # psycopg2's own class is not there without the library
        raise MainstayError(f"create the database {name}", words(error), "if a locale is missing, install it on the server's host and restart it") from error


@dataclasses.dataclass(frozen=True)
class Means:
    """What databases are filled with.

    Args:
        login: to the server.
        environment: for the server's programs.
        pg_restore: path of the program.
        jobs: how many processes restore a database; with more than one the opened dump is staged.
        work_dir: where it is staged.
    """

    login: Login
    environment: ClientEnvironment
    pg_restore: str
    jobs: int = 1
    work_dir: str = ""


def check_room(work_dir: str, purpose: str, needed: int) -> None:
    """Check that the file system of a folder has room for so many bytes.

    Raises:
        MainstayError: it has not, or there is no such folder.
    """
    try:
        facts = os.statvfs(work_dir)
    except OSError as error:
        raise MainstayError(f"use the folder {work_dir} {purpose}", error.strerror or error, "name another one in work_dir") from error
    free = facts.f_bavail * facts.f_frsize
    if free < needed:
        cause = f"about {needed} bytes are needed, {free} are free"
        raise MainstayError(f"use the folder {work_dir} {purpose}", cause, "make room or name another one in work_dir")


def staged_bytes(source: Source, databases: t.Iterable[t.Mapping[str, t.Any]], jobs: int) -> int:
    """Return the bytes that the largest of the opened dumps needs while it is restored by several processes; 0 where it is streamed."""
    manifest = source.backup.require_manifest()
    return max((manifest.record(database["object"]).plain_bytes for database in databases), default=0) if jobs > 1 else 0


def fill_database(means: Means, source: Source, database: t.Mapping[str, t.Any], name: str, phases: dict[str, float]) -> list[str]:
    """Bring the dump of a database into an empty one, compare it with the manifest, and gather statistics; return warnings.

    Raises:
        PipelineError: ``pg_restore`` or a filter failed, or the stored object is damaged.
        ProgramKilled: ``pg_restore`` or a filter was killed by somebody else.
        VerificationFailed: what came out is not what was backed up.
        MainstayError: the server or the store failed.
    """
    with connect(means.login, name) as connection:
        flags = () if set(database["tablespaces"]) <= existing_tablespaces(connection) else ("--no-tablespaces",)
        if not database.get("public_schema", True):
            execute(connection, "DROP SCHEMA public")
    argv = (means.pg_restore, "--exit-on-error", "--no-password", *flags, "-d", conninfo(name))
    reporter = _progress.current()
    if means.jobs > 1:
        _restore_staged(means, source, database, argv, phases)
    else:
        with timed(phases, "restore"):
            reporter.phase(f"restore {database['name']}", _plain_bytes(source, database), exact=True)
            command = Command(argv, means.environment.variables, pass_fds=means.environment.pass_fds)
            source.catalogue.read(source.backup, database["object"], source.identity, command)
    with connect(means.login, name) as connection:
        with timed(phases, "check"):
            reporter.phase(f"check {database['name']}")
            wrong = differences(database, connection)
            if wrong:
                raise VerificationFailed(f"restore the database {database['name']} from backup {source.backup.id}", "; ".join(wrong))
            warnings = changed_collations(database, read_collations(connection))
        with timed(phases, "analyze"):
            reporter.phase(f"analyze {database['name']}")
            execute(connection, "ANALYZE")
    return warnings


def _plain_bytes(source: Source, database: t.Mapping[str, t.Any]) -> int:
    return source.backup.require_manifest().record(database["object"]).plain_bytes


def _restore_staged(means: Means, source: Source, database: t.Mapping[str, t.Any], argv: tuple[str, ...], phases: dict[str, float]) -> None:
    """Open the dump into a private folder, where its hash was found right before anything uses it, and restore it by several processes."""
    expected = _plain_bytes(source, database)
    check_room(means.work_dir, f"for the opened dump of {database['name']}", expected)
    try:
        folder = tempfile.mkdtemp(prefix="mainstay-restore-", dir=means.work_dir)
    except OSError as error:
        raise MainstayError(f"make a folder in {means.work_dir}", error.strerror or error, "name another one in work_dir") from error
    try:
        path = f"{folder}/dump"
        with timed(phases, "fetch"):
            _progress.current().phase(f"fetch {database['name']}", expected, exact=True)
            found = source.catalogue.read(source.backup, database["object"], source.identity, lambda stream: _copy(stream, path)) or 0
            if found != expected:
                raise DamagedObject(f"open {database['object']} of backup {source.backup.id}", f"it holds {found} bytes, its manifest says {expected}")
        with timed(phases, "restore"):
            _progress.current().phase(f"restore {database['name']}")
            command = Command((*argv, "-j", str(means.jobs), path), means.environment.variables, pass_fds=means.environment.pass_fds)
            try:
                run(command, f"restore the database {database['name']}")
            except ProgramKilled:
                raise
            except MainstayError as error:
                raise PipelineError(error.doing, error.cause) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(stream: t.BinaryIO, path: str) -> int:
    """Write a stream into a new private file; return its bytes."""
    count = 0
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
            while block := stream.read(BLOCK):
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
                count += len(block)
    except OSError as error:
        raise MainstayError(f"write {path}", error.strerror or error, "make room or name another folder in work_dir") from error
    return count


def changed_collations(database: t.Mapping[str, t.Any], now: t.Mapping[str, str]) -> list[str]:
    """Return a warning for each collation whose library has another version than where the database was backed up."""
    return [
        f"the collation {name} of {database['name']} was backed up at version {then} and is at {now[name]} here: the indexes are new, but texts may sort"
        " in another order than before, so check partitions and constraints that depend on it"
        for name, then in database.get("collations", {}).items()
        if name in now and now[name] != then
    ]


def list_elements(text: str) -> list[str]:
    """Return the elements of a stored list setting: ``"$user", public`` gives ``$user`` and ``public``."""
    found = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', text)
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in found] or [""]


def apply_properties(connection: t.Any, database: t.Mapping[str, t.Any], name: str) -> None:
    """Give a database the comment, the settings and the privileges that belong to the database itself and that a dump into another name leaves out."""
    target = sql.Identifier(name)
    if database["comment"]:
        execute(connection, sql.SQL("COMMENT ON DATABASE {} IS {}").format(target, sql.Literal(database["comment"])))
    for item in database.get("security_labels", []):
        statement = sql.SQL("SECURITY LABEL FOR {} ON DATABASE {} IS {}").format(sql.Identifier(item["provider"]), target, sql.Literal(item["label"]))
        execute(connection, statement)
    if database["connection_limit"] >= 0:
        execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(target, sql.Literal(database["connection_limit"])))
    for item in database["settings"]:
        key, _unused, text = item["setting"].partition("=")
        elements = list_elements(text) if key in LIST_SETTINGS else [text]
        given = sql.SQL(", ").join(sql.Literal(element) for element in elements)
        parameter = sql.SQL(".").join(sql.Identifier(part) for part in key.split("."))
        whom = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(item["role"]), target) if item["role"] else sql.SQL("DATABASE {}").format(target)
        execute(connection, sql.SQL("ALTER {} SET {} TO {}").format(whom, parameter, given))
    if database["default_grants"]:
        return
    execute(connection, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(target, sql.Identifier(database["owner"])))
    for grant in (grant for grant in database["grants"] if grant["privilege"] in PRIVILEGES):
        grantee = sql.Identifier(grant["grantee"]) if grant["grantee"] else sql.SQL("PUBLIC")
        option = " WITH GRANT OPTION" if grant["grantable"] and grant["grantee"] else ""
        execute(connection, sql.SQL(f"GRANT {grant['privilege']} ON DATABASE {{}} TO {{}}{option}").format(target, grantee))
