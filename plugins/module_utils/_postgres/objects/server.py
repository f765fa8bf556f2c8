# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as it is: its roles and databases, and what one database has within it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import rows, value, words
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import FLAGS, LISTS, PUBLIC, Database, Wishes, names_of

CLOSED_PUBLIC_SCHEMA_VERSION = 150000
"""Since PostgreSQL 15, not everybody may create objects in the schema ``public`` of a new database."""

DEFAULT_TYPES = {"table": "r", "sequence": "S", "function": "f", "schema": "n"}
"""``pg_default_acl.defaclobjtype``."""


@dataclasses.dataclass(frozen=True)
class RoleState:
    """A role; ``expires`` is empty if its password is valid for ever, ``grantors`` says who made it a member of each group."""

    flags: t.Mapping[str, bool]
    conn_limit: int = -1
    expires: str = ""
    verifier: str = dataclasses.field(default="", repr=False)
    configuration: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    grantors: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DatabaseState:
    """A database from outside."""

    owner: str
    encoding: str
    lc_collate: str
    lc_ctype: str
    conn_limit: int = -1
    configuration: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Server:
    """The server; ``moments`` holds the times that roles are to expire at as the server writes them, ``extensions`` the newest version of each that it has,
    and ``owned`` and ``named`` for the roles that shall go the databases in which they own something, or stand in something."""

    version: int
    roles: t.Mapping[str, RoleState] = dataclasses.field(default_factory=dict)
    databases: t.Mapping[str, DatabaseState] = dataclasses.field(default_factory=dict)
    extensions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    moments: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    owned: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    named: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Privilege:
    """One privilege that someone has on an object. Functions have their arguments in the name, databases and schemas an empty ``schema``."""

    kind: str
    schema: str
    name: str
    holder: str
    privilege: str


@dataclasses.dataclass(frozen=True)
class DefaultPrivilege:
    """One privilege that someone will have on what ``owner`` makes."""

    owner: str
    schema: str
    kind: str
    holder: str
    privilege: str


@dataclasses.dataclass(frozen=True)
class Inside:
    """What a database has: owners of schemas, and those that are not empty, versions and schemas of extensions, names of objects by kind and schema,
    privileges with whether they may be granted on, privileges on what will be made, and fingerprints of the scripts that were run."""

    schemas: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    filled: frozenset[str] = frozenset()
    extensions: t.Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    objects: t.Mapping[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    privileges: t.Mapping[Privilege, bool] = dataclasses.field(default_factory=dict)
    defaults: frozenset[DefaultPrivilege] = frozenset()
    scripts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def blank(database: Database, version: int) -> Inside:
    """Return what a database that is made now has: what PostgreSQL gives to everybody."""
    given = [("database", database.name, name) for name in ("CONNECT", "TEMPORARY")] + [("schema", "public", "USAGE")]
    given += [("schema", "public", "CREATE")] if version < CLOSED_PUBLIC_SCHEMA_VERSION else []
    privileges = {Privilege(kind, "", name, PUBLIC, privilege): False for kind, name, privilege in given}
    return Inside(schemas={"public": "pg_database_owner"}, privileges=privileges, defaults=_built_in(database, set()))


def _built_in(database: Database, said: t.Collection[tuple[str, str, str]]) -> frozenset[DefaultPrivilege]:
    """What holds for functions unless something else was said: everybody may run them."""
    owners = {grant.owner for grant in database.defaults if grant.kind == "function" and (grant.owner, "", "function") not in said}
    return frozenset(DefaultPrivilege(owner, "", "function", PUBLIC, "EXECUTE") for owner in owners)


def _settings(texts: t.Sequence[str] | None) -> dict[str, str]:
    pairs = (text.partition("=") for text in texts or ())
    return {name: ", ".join(names_of(content)) if name in LISTS else content for name, unused, content in pairs}


_ROLES = """
SELECT r.rolname AS name, rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit AS conn_limit,
  CASE WHEN rolvaliduntil = 'infinity' THEN '' ELSE coalesce(rolvaliduntil::text, '') END AS expires, coalesce(rolpassword, '') AS verifier,
  (SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0) AS configuration,
  (SELECT jsonb_object_agg(groups.name, groups.grantors) FROM (
    SELECT pg_get_userbyid(m.roleid) AS name, jsonb_agg(pg_get_userbyid(m.grantor)) AS grantors
    FROM pg_auth_members AS m WHERE m.member = r.oid GROUP BY m.roleid) AS groups) AS grantors
FROM pg_authid AS r
"""
_DATABASES = """
SELECT datname AS name, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datcollate AS lc_collate, datctype AS lc_ctype,
  datconnlimit AS conn_limit, (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0) AS configuration
FROM pg_database AS d
"""
_DEPENDENCIES = """
SELECT r.rolname AS role, coalesce(d.datname, '') AS database, bool_or(s.deptype = 'o' AND s.classid <> 'pg_default_acl'::regclass) AS owns
FROM pg_shdepend AS s JOIN pg_roles AS r ON s.refclassid = 'pg_authid'::regclass AND r.oid = s.refobjid
LEFT JOIN pg_database AS d ON d.oid = CASE WHEN s.dbid = 0 AND s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END
WHERE r.rolname = ANY(%s) GROUP BY 1, 2
"""
_FLAG_COLUMNS = dict(zip(FLAGS, ("rolsuper", "rolcreatedb", "rolcreaterole", "rolinherit", "rolcanlogin", "rolreplication", "rolbypassrls"), strict=True))


def read_server(connection: t.Any, wishes: Wishes) -> Server:
    """Read what is outside of databases; the login has to be a superuser's, who alone sees verifiers.

    Raises:
        InvalidInput: a role is to expire at what is no time.
    """
    roles = {
        row["name"]: RoleState(
            {flag: row[column] for flag, column in _FLAG_COLUMNS.items()},
            row["conn_limit"],
            row["expires"],
            row["verifier"],
            _settings(row["configuration"]),
            {group: tuple(grantors) for group, grantors in (row["grantors"] or {}).items()},
        )
        for row in rows(connection, _ROLES)
    }
    databases = {row.pop("name"): DatabaseState(**{**row, "configuration": _settings(row["configuration"])}) for row in rows(connection, _DATABASES)}
    extensions = {row["name"]: row["default_version"] for row in rows(connection, "SELECT name, default_version FROM pg_available_extensions")}
    found = rows(connection, _DEPENDENCIES, [[role.name for role in wishes.roles if not role.present]])
    owned, named = ({role: _places(found, role, key) for role in {row["role"] for row in found}} for key in ("owns", "database"))
    moments = {role.expires: _moment(connection, role.expires) for role in wishes.roles if role.expires is not None}
    return Server(connection.server_version, roles, databases, extensions, moments, owned, named)


def _places(found: t.Sequence[t.Mapping[str, t.Any]], role: str, key: str) -> tuple[str, ...]:
    return tuple(sorted(row["database"] for row in found if row["role"] == role and row[key]))


def _moment(connection: t.Any, text: str) -> str:
    try:
        return value(connection, "SELECT CASE WHEN m = 'infinity' THEN '' ELSE m::text END FROM (SELECT %s::timestamptz AS m) AS given", [text])
    except Exception as error:
        if getattr(error, "pgcode", None) is None:
            raise
        raise InvalidInput(f"read the time {text}", words(error), "write it as 2030-12-31 23:59:59+00, or infinity") from error


_OBJECTS = """
WITH found AS (
  SELECT 'database' AS kind, '' AS schema, datname::text AS name, datacl AS acl, datdba AS owner, 'd' AS letter
  FROM pg_database WHERE datname = current_database()
  UNION ALL SELECT 'schema', '', nspname, nspacl, nspowner, 'n' FROM pg_namespace
  UNION ALL SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, relname, relacl, relowner, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END
  FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relkind IN ('r', 'v', 'm', 'f', 'p', 'S') AND nspname = ANY(%(schemas)s)
  UNION ALL SELECT 'function', nspname, proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', proacl, proowner, 'f'
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace WHERE prokind IN ('f', 'p', 'w') AND nspname = ANY(%(schemas)s)
)
SELECT f.kind, f.schema, f.name, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS holder, a.privilege_type AS privilege,
  a.is_grantable AS grantable
FROM found AS f LEFT JOIN LATERAL aclexplode(coalesce(f.acl, acldefault(f.letter::"char", f.owner))) AS a ON true
"""
_DEFAULTS = """
SELECT pg_get_userbyid(d.defaclrole) AS owner, coalesce(n.nspname, '') AS schema, d.defaclobjtype AS letter,
  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS holder, a.privilege_type AS privilege
FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace LEFT JOIN LATERAL aclexplode(d.defaclacl) AS a ON true
"""
_SCHEMAS = """
SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner,
  EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid AND deptype = 'n') AS filled
FROM pg_namespace AS n
"""
_EXTENSIONS = "SELECT extname AS name, extversion AS version, nspname AS schema FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace"


_KEEPERS = """
SELECT c.relkind, array_agg(r.rolname) FILTER (WHERE NOT r.rolsuper) AS strangers
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_roles AS r ON r.oid IN (c.relowner, n.nspowner)
WHERE n.nspname = 'mainstay' AND c.relname = 'init_sql' GROUP BY c.relkind
"""


def records_there(connection: t.Any) -> bool:
    """Tell whether the database has the table that scripts are recorded in.

    Raises:
        MainstayError: it is someone's who is no superuser. What they have attached to it would be run as one.
    """
    found = rows(connection, _KEEPERS)
    if found and (found[0]["strangers"] or found[0]["relkind"] != "r"):
        cause = f"the schema mainstay or its table init_sql is not this module's, but belongs to {', '.join(found[0]['strangers'] or ['a view'])}"
        raise MainstayError("read which SQL was run", cause, "rename or drop it")
    return bool(found)


def read_inside(connection: t.Any, database: Database) -> Inside:
    """Read what a database has of what is asked for."""
    schemas = rows(connection, _SCHEMAS)
    objects: dict[tuple[str, str], dict[str, None]] = {}
    privileges: dict[Privilege, bool] = {}
    with connection.cursor() as cursor:
        cursor.execute(_OBJECTS, {"schemas": [grant.schema for grant in database.grants]})
        for kind, schema, name, holder, privilege, grantable in cursor.fetchall():
            objects.setdefault((kind, schema), {})[name] = None
            if holder is not None:
                key = Privilege(kind, schema, name, holder, privilege)
                privileges[key] = grantable or privileges.get(key, False)
    letters = {letter: kind for kind, letter in DEFAULT_TYPES.items()}
    found = [row for row in rows(connection, _DEFAULTS) if row["letter"] in letters]
    defaults = {
        DefaultPrivilege(row["owner"], row["schema"], letters[row["letter"]], row["holder"], row["privilege"]) for row in found if row["holder"] is not None
    }
    said = {(row["owner"], row["schema"], letters[row["letter"]]) for row in found}
    recorded = records_there(connection)
    return Inside(
        schemas={row["name"]: row["owner"] for row in schemas},
        filled=frozenset(row["name"] for row in schemas if row["filled"]),
        extensions={row["name"]: (row["version"], row["schema"]) for row in rows(connection, _EXTENSIONS)},
        objects={place: tuple(sorted(names)) for place, names in objects.items()},
        privileges=privileges,
        defaults=frozenset(defaults) | _built_in(database, said),
        scripts={row["name"]: row["sha256"] for row in rows(connection, "SELECT name, sha256 FROM mainstay.init_sql")} if recorded else {},
    )
