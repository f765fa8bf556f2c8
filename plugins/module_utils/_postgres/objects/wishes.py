# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for: roles, databases and what is within them, and what cannot be right about it whatever the server."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.script import split

FLAGS = ("SUPERUSER", "CREATEDB", "CREATEROLE", "INHERIT", "LOGIN", "REPLICATION", "BYPASSRLS")
PUBLIC = "PUBLIC"
"""Everybody, as a privilege's holder."""

PRIVILEGES = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "function": ("EXECUTE",),
}
"""The privileges of each kind of object: the documentation of PostgreSQL, section "Privileges". MAINTAIN is there since 17."""

LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")
"""Parameters that are lists of names: ``GUC_LIST_QUOTE`` in PostgreSQL's ``guc_tables.c``. Each name has to be quoted by itself."""

MAINTAIN_VERSION = 170000
MAX_NAME_BYTES = 63
"""PostgreSQL cuts off the rest of a longer name (``NAMEDATALEN``)."""

_ATTRIBUTE = re.compile(rf"(NO)?({'|'.join(FLAGS)})")

Raw = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Role:
    """A role. None leaves that side of it alone; ``configuration`` and ``member_of`` mean match exactly."""

    name: str
    present: bool = True
    password: str | None = dataclasses.field(default=None, repr=False)
    flags: t.Mapping[str, bool] = dataclasses.field(default_factory=dict)
    conn_limit: int | None = None
    expires: str | None = None
    configuration: t.Mapping[str, str] | None = None
    member_of: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Extension:
    """An extension of a database; the version ``latest`` means the newest that the server has."""

    name: str
    present: bool = True
    version: str | None = None
    schema: str | None = None


@dataclasses.dataclass(frozen=True)
class Schema:
    """A schema of a database."""

    name: str
    present: bool = True
    owner: str | None = None


@dataclasses.dataclass(frozen=True)
class Grant:
    """Privileges on objects of one kind; no ``objects`` means all of that kind that the schema has."""

    roles: tuple[str, ...]
    privileges: tuple[str, ...]
    kind: str
    schema: str
    objects: tuple[str, ...] = ()
    grantable: bool = False
    present: bool = True


@dataclasses.dataclass(frozen=True)
class DefaultGrant:
    """Privileges on what a role will make, in one schema, or in all of them if it is empty."""

    owner: str
    roles: tuple[str, ...]
    privileges: tuple[str, ...]
    kind: str
    schema: str = ""
    present: bool = True


@dataclasses.dataclass(frozen=True)
class InitSql:
    """A script that is run once; with ``always``, once more whenever it has changed."""

    name: str
    text: str
    role: str | None = None
    always: bool = False

    @property
    def digest(self) -> str:
        """The fingerprint that it is recorded with."""
        return hashlib.sha256(self.text.strip().encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Database:
    """A database. None leaves that side of it alone; ``configuration`` means match exactly."""

    name: str
    present: bool = True
    force: str = ""
    owner: str | None = None
    encoding: str | None = None
    lc_collate: str | None = None
    lc_ctype: str | None = None
    template: str | None = None
    conn_limit: int | None = None
    configuration: t.Mapping[str, str] | None = None
    public_connect: bool | None = None
    public_create: bool = False
    extensions: tuple[Extension, ...] = ()
    schemas: tuple[Schema, ...] = ()
    grants: tuple[Grant, ...] = ()
    defaults: tuple[DefaultGrant, ...] = ()
    init: tuple[InitSql, ...] = ()


@dataclasses.dataclass(frozen=True)
class Wishes:
    """All that is asked for."""

    roles: tuple[Role, ...] = ()
    databases: tuple[Database, ...] = ()


def parse(roles: t.Sequence[Raw], databases: t.Sequence[Raw]) -> Wishes:
    """Read the options ``roles`` and ``databases``; what is wrong with them is for :func:`problems`."""
    return Wishes(tuple(_role(raw) for raw in roles), tuple(_database(raw) for raw in databases))


def names_of(text: str) -> list[str]:
    """Return the names of a list such as ``search_path``, without their quotes."""
    return [quoted.replace('""', '"') if quoted else bare.strip() for quoted, bare in re.findall(r'\s*"((?:[^"]|"")*)"\s*|([^,"]+)', text)]


def _present(raw: Raw) -> bool:
    return (raw.get("state") or "present") == "present"


def _setting(name: str, content: t.Any) -> str:
    if isinstance(content, bool):
        return "on" if content else "off"
    parts = [str(part) for part in content] if isinstance(content, (list, tuple)) else names_of(str(content)) if name in LISTS else [str(content)]
    return ", ".join(parts)


def _configuration(raw: Raw) -> dict[str, str] | None:
    given = raw.get("configuration")
    return None if given is None else {str(name): _setting(str(name), content) for name, content in given.items()}


def _list(given: t.Any) -> list[str]:
    """Return a list as Ansible takes it, which may be written with commas."""
    return [str(item).strip() for item in (given.split(",") if isinstance(given, str) else given or ())]


def _words(given: t.Any) -> tuple[str, ...]:
    return tuple(word.upper() for word in _list(given))


def _names(given: t.Any) -> tuple[str, ...]:
    return tuple(PUBLIC if name.upper() == PUBLIC else name for name in _list(given))


def _role(raw: Raw) -> Role:
    flags = {found[2]: not found[1] for word in _words(raw.get("role_attr_flags")) if (found := _ATTRIBUTE.fullmatch(word))}
    member_of = raw.get("member_of")
    return Role(
        name=str(raw["name"]),
        present=_present(raw),
        password=raw.get("password") or None,
        flags=flags,
        conn_limit=raw.get("conn_limit"),
        expires=str(raw["expires"]) if raw.get("expires") is not None else None,
        configuration=_configuration(raw),
        member_of=None if member_of is None else frozenset(_list(member_of)),
    )


def _extension(raw: t.Any) -> Extension:
    if not isinstance(raw, t.Mapping):
        return Extension(str(raw))
    version = raw.get("version")
    return Extension(str(raw.get("name") or ""), _present(raw), None if version is None else str(version), raw.get("schema"))


def _grant(raw: Raw, database: str) -> Grant:
    kind, schema = raw.get("type") or "table", raw.get("schema") or "public"
    whole = {"database": (database,), "schema": (schema,)}.get(kind, ())
    objects = _names(raw.get("objs")) or whole
    return Grant(_names(raw.get("roles")), _privileges(raw, kind), kind, schema, objects, bool(raw.get("grant_option")), _present(raw))


def _privileges(raw: Raw, kind: str) -> tuple[str, ...]:
    words = tuple("TEMPORARY" if word == "TEMP" else word for word in _words(raw.get("privs")))
    return PRIVILEGES.get(kind, ()) if set(words) & {"ALL", "ALL PRIVILEGES"} else words


def _default_grant(raw: Raw, owner: str | None) -> DefaultGrant:
    kind = raw.get("type") or "table"
    return DefaultGrant(raw.get("owner") or owner or "", _names(raw.get("roles")), _privileges(raw, kind), kind, raw.get("schema") or "", _present(raw))


def _database(raw: Raw) -> Database:
    name, owner = str(raw["name"]), raw.get("owner")
    return Database(
        name=name,
        present=_present(raw),
        force=raw.get("force") or "",
        owner=owner,
        encoding=raw.get("encoding"),
        lc_collate=raw.get("lc_collate"),
        lc_ctype=raw.get("lc_ctype"),
        template=raw.get("template"),
        conn_limit=raw.get("conn_limit"),
        configuration=_configuration(raw),
        public_connect=raw.get("public_connect"),
        public_create=bool(raw.get("public_create")),
        extensions=tuple(_extension(item) for item in raw.get("extensions") or ()),
        schemas=tuple(Schema(str(item["name"]), _present(item), item.get("owner")) for item in raw.get("schemas") or ()),
        grants=tuple(_grant(item, name) for item in raw.get("privileges") or ()),
        defaults=tuple(_default_grant(item, owner) for item in raw.get("default_privileges") or ()),
        init=tuple(
            InitSql(str(item["name"]), str(item.get("sql") or ""), item.get("role") or owner, bool(item.get("always"))) for item in raw.get("init_sql") or ()
        ),
    )


def problems(roles: t.Sequence[Raw], databases: t.Sequence[Raw], passwords: bool = False, reserved: t.Collection[str] = ()) -> list[str]:
    """Return in sentences what cannot be right whatever the server holds.

    Args:
        roles: the option ``roles``.
        databases: the option ``databases``.
        passwords: whether a role that may log in must have a password.
        reserved: names that none of the roles may have.
    """
    nameless = [what for what, given in (("role", roles), ("database", databases)) for raw in given if not isinstance(raw, t.Mapping) or not raw.get("name")]
    if nameless:
        return [f"a {what} has no name" for what in nameless]
    wishes = parse(roles, databases)
    found = _twice("role", [role.name for role in wishes.roles]) + _twice("database", [database.name for database in wishes.databases])
    for raw, role in zip(roles, wishes.roles):
        found += [f"role {role.name}: {problem}" for problem in _role_problems(raw, role, passwords)]
        found += [f"role {role.name}: the cluster keeps it for itself; choose another name"] if role.name in reserved else []
    absent = {role.name for role in wishes.roles if not role.present}
    for database in wishes.databases:
        found += [f"database {database.name}: {problem}" for problem in _database_problems(database, absent)]
    return found


def _twice(what: str, names: t.Sequence[str]) -> list[str]:
    return [f"the {what} {name} is listed twice; leave one" for name, count in collections.Counter(names).items() if count > 1]


def _name_problems(what: str, name: str) -> list[str]:
    if not name or "\0" in name:
        return [f"{name!r} is no name of a {what}"]
    return [f"the name {name} has more than {MAX_NAME_BYTES} bytes, and PostgreSQL would cut it"] if len(name.encode()) > MAX_NAME_BYTES else []


def _role_problems(raw: Raw, role: Role, passwords: bool) -> list[str]:
    found = _name_problems("role", role.name)
    if role.name.startswith("pg_") or role.name.upper() in (PUBLIC, "NONE"):
        found.append("PostgreSQL keeps this name for itself")
    unknown = [word for word in _words(raw.get("role_attr_flags")) if not _ATTRIBUTE.fullmatch(word)]
    if unknown:
        found.append(f"{', '.join(unknown)} is no attribute; there are {', '.join(FLAGS)}, each with NO before it for the contrary")
    if passwords and role.present and role.flags.get("LOGIN", True) and not role.password:
        found.append("it may log in and has no password; give it one, or say NOLOGIN in role_attr_flags")
    if role.member_of and role.name in role.member_of:
        found.append("it cannot be a member of itself")
    return found


def _database_problems(database: Database, absent: t.Container[str]) -> list[str]:
    found = _name_problems("database", database.name)
    if not database.present:
        if database.force != database.name:
            found.append(f"it is dropped with all that is in it only if its entry says force: {database.name}; take a backup first")
        return found
    for what, names in (
        ("schema", [schema.name for schema in database.schemas]),
        ("extension", [extension.name for extension in database.extensions]),
        ("init_sql", [init.name for init in database.init]),
    ):
        found += _twice(what, names) + [problem for name in names for problem in _name_problems(what, name)]
    found += [f"the schema {schema.name}: PostgreSQL keeps this name for itself" for schema in database.schemas if schema.name.startswith("pg_")]
    for grant in (*database.grants, *database.defaults):
        found += _grant_problems(grant)
    for init in database.init:
        found += [f"init_sql {init.name}: {problem}" for problem in _init_problems(init)]
    found += [f"{name} is to own something or to be granted something, and is listed with state: absent" for name in named_in(database) if name in absent]
    return found


def _grant_problems(grant: Grant | DefaultGrant) -> list[str]:
    where = "default privileges" if isinstance(grant, DefaultGrant) else "privileges"
    if grant.kind not in PRIVILEGES or (isinstance(grant, DefaultGrant) and grant.kind == "database"):
        return [f"{where}: there is no type {grant.kind}"]
    unknown = [word for word in grant.privileges if word not in PRIVILEGES[grant.kind]]
    found = []
    if unknown:
        known = ", ".join((*PRIVILEGES[grant.kind], "ALL"))
        found.append(f"{where}: {', '.join(unknown)} is no privilege on a {grant.kind}; there are {known}")
    if not grant.privileges:
        found.append(f"{where} on a {grant.kind}: privs is empty")
    if not grant.roles:
        found.append(f"{where} on a {grant.kind}: roles is empty")
    if isinstance(grant, DefaultGrant):
        if not grant.owner:
            found.append(f"{where}: whose objects is not said; give owner")
        if grant.kind == "schema" and grant.schema:
            found.append(f"{where}: those of schemas hold in the whole database; leave schema out")
    elif grant.grantable and PUBLIC in grant.roles:
        found.append(f"{where}: PUBLIC cannot have a grant option")
    return found


def _init_problems(init: InitSql) -> list[str]:
    statements = split(init.text)
    if not statements:
        return ["there is no statement in it"]
    return [
        f"line {statement.line}, {statement}: it runs in one transaction, which it must neither begin nor end"
        for statement in statements
        if statement.ends_transaction
    ]


def named_in(database: Database) -> set[str]:
    """Return the roles that a database needs to be there."""
    names = {database.owner, *(schema.owner for schema in database.schemas if schema.present), *(init.role for init in database.init)}
    names |= {name for grant in (*database.grants, *database.defaults) if grant.present for name in grant.roles}
    names |= {grant.owner for grant in database.defaults}
    return {name for name in names if name} - {PUBLIC}
