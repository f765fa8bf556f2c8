# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database out of a backup into a new, empty one: created as it was, filled by ``pg_restore``, compared with the manifest."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import Command
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
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.facts import Server, differences

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
    spaces = {row["spcname"] for row in rows(connection, "SELECT spcname FROM pg_tablespace")}
    warnings: list[str] = []
    for database in databases:
        doing = f"restore the database {database['name']}"
        named = {database["owner"], *database["roles"]}
        named |= {item["role"] for item in database["settings"]} | {item["grantee"] for item in database["grants"]}
        missing = sorted(name for name in named - {""} if name not in present and name not in coming)
        if missing:
            raise MainstayError(doing, f"the server lacks the roles {', '.join(missing)}", "create them, or restore with include_globals")
        lacking = sorted(set(database["extensions"]) - set(available))
        if lacking:
            raise MainstayError(doing, f"the extensions {', '.join(lacking)} are not installed on the server's host", "install their packages")
        for name, version in database["extensions"].items():
            if available[name] != version:
                warnings.append(f"the extension {name} was backed up at version {version} and comes back at {available[name]}")
        lost = sorted(set(database["tablespaces"]) - spaces)
        if lost:
            warnings.append(f"the tablespaces {', '.join(lost)} do not exist: all of {database['name']} goes to the default one")
    return warnings


def create_database(connection: t.Any, server: Server, database: t.Mapping[str, t.Any], name: str) -> None:
    """Create an empty database with the recorded owner, encoding and collation."""
    options = ["TEMPLATE template0", "OWNER {}", "ENCODING {}", "LC_COLLATE {}", "LC_CTYPE {}"]
    arguments: list[t.Any] = [sql.Identifier(database["owner"]), *(sql.Literal(database[key]) for key in ("encoding", "lc_collate", "lc_ctype"))]
    if server.major >= 15:
        options.append({"icu": "LOCALE_PROVIDER icu", "builtin": "LOCALE_PROVIDER builtin"}.get(database["locale_provider"], "LOCALE_PROVIDER libc"))
    if database["locale_provider"] in ("icu", "builtin"):
        options.append({"icu": "ICU_LOCALE {}", "builtin": "BUILTIN_LOCALE {}"}[database["locale_provider"]])
        arguments.append(sql.Literal(database["locale"]))
    execute(connection, sql.SQL("CREATE DATABASE {} " + " ".join(options)).format(sql.Identifier(name), *arguments))


def fill_database(
    login: Login,
    environment: ClientEnvironment,
    source: Source,
    database: t.Mapping[str, t.Any],
    name: str,
    pg_restore: str,
    phases: dict[str, float],
) -> None:
    """Stream the dump of a database into an empty one, compare it with the manifest, and gather statistics.

    Raises:
        PipelineError: ``pg_restore`` or a filter failed, or the stored object is damaged.
        VerificationFailed: what came out is not what was backed up.
        MainstayError: the server or the store failed.
    """
    with connect(login, name) as connection:
        spaces = {row["spcname"] for row in rows(connection, "SELECT spcname FROM pg_tablespace")}
    flags = () if set(database["tablespaces"]) <= spaces else ("--no-tablespaces",)
    argv = (pg_restore, "--exit-on-error", "--no-password", *flags, "-d", conninfo(name))
    with timed(phases, "restore"):
        source.catalogue.read(source.backup, database["object"], source.identity, Command(argv, environment.variables, pass_fds=environment.pass_fds))
    with connect(login, name) as connection:
        with timed(phases, "check"):
            wrong = differences(database, connection)
            if wrong:
                raise VerificationFailed(f"restore the database {database['name']} from backup {source.backup.id}", "; ".join(wrong))
        with timed(phases, "analyze"):
            execute(connection, "ANALYZE")


def list_elements(text: str) -> list[str]:
    """Return the elements of a stored list setting: ``"$user", public`` gives ``$user`` and ``public``."""
    found = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', text)
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in found] or [""]


def apply_properties(connection: t.Any, database: t.Mapping[str, t.Any], name: str) -> None:
    """Give a database the comment, the settings and the privileges that belong to the database itself and that a dump into another name leaves out."""
    target = sql.Identifier(name)
    if database["comment"]:
        execute(connection, sql.SQL("COMMENT ON DATABASE {} IS {}").format(target, sql.Literal(database["comment"])))
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
    execute(connection, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(target))
    for grant in (grant for grant in database["grants"] if grant["privilege"] in PRIVILEGES):
        grantee = sql.Identifier(grant["grantee"]) if grant["grantee"] else sql.SQL("PUBLIC")
        option = " WITH GRANT OPTION" if grant["grantable"] and grant["grantee"] else ""
        execute(connection, sql.SQL(f"GRANT {grant['privilege']} ON DATABASE {{}} TO {{}}{option}").format(target, grantee))
