# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from the server as it is to what is asked for. Nothing here talks to a server."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.scram import matches, verifier
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.server import (
    DatabaseState,
    DefaultPrivilege,
    Inside,
    Privilege,
    RoleState,
    Server,
    blank,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import (
    LISTS,
    MAINTAIN_VERSION,
    PRIVILEGES,
    PUBLIC,
    Database,
    DefaultGrant,
    Grant,
    InitSql,
    Role,
    Wishes,
    named_in,
    names_of,
)

NEW_ROLE = {"SUPERUSER": False, "CREATEDB": False, "CREATEROLE": False, "INHERIT": True, "LOGIN": True, "REPLICATION": False, "BYPASSRLS": False}
"""The attributes of a role that is made here: those of CREATE USER."""

_FIRST = frozenset({"database", "schema"})
"""What is granted on before scripts are run; the objects of the other kinds may come from them."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One change: in words, as a statement, and what it is about, before and after."""

    words: str
    statement: str = dataclasses.field(repr=False)
    thing: str
    before: str
    after: str
    secret: bool = False


def quoted(*parts: str) -> str:
    """Return a name as SQL has it, such as ``"schema"."table"``."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    escaped = text.replace("'", "''")
    return f" E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def _holder(name: str) -> str:
    return PUBLIC if name == PUBLIC else quoted(name)


def _set(name: str, content: str) -> str:
    """Return the part of ALTER ROLE or ALTER DATABASE that sets a parameter."""
    assigned = ", ".join(literal(part) for part in names_of(content)) or "''" if name in LISTS else literal(content)
    return f"SET {quoted(*name.split('.'))} TO {assigned}"


def _configure(what: str, name: str, wanted: t.Mapping[str, str] | None, found: t.Mapping[str, str]) -> list[Step]:
    """Return the steps that make the settings of a role or a database match exactly."""
    steps, alter = [], f"ALTER {what.upper()} {quoted(name)}"
    for setting, content in (wanted or {}).items():
        if found.get(setting) != content:
            words = f"set {setting} of the {what} {name} to {content}"
            steps.append(Step(words, f"{alter} {_set(setting, content)}", f"{what} {name}: {setting}", found.get(setting, ""), content))
    for setting in sorted(set(found) - set(wanted) if wanted is not None else ()):
        statement = f"{alter} RESET {quoted(*setting.split('.'))}"
        steps.append(Step(f"reset {setting} of the {what} {name}", statement, f"{what} {name}: {setting}", found[setting], ""))
    return steps


def plan_roles(wishes: Wishes, server: Server) -> list[Step]:
    """Return the steps that make roles and alter them; those that shall go go last (:func:`plan_absent_roles`)."""
    wanted = [role for role in wishes.roles if role.present]
    steps = [_create_role(role) for role in wanted if role.name not in server.roles]
    for role in wanted:
        steps += _alter_role(role, server.roles.get(role.name) or RoleState(NEW_ROLE), server)
    for role in wanted:
        steps += _join(role, server.roles.get(role.name) or RoleState(NEW_ROLE), server.version)
    return steps


def _create_role(role: Role) -> Step:
    return Step(f"make the role {role.name}", f"CREATE ROLE {quoted(role.name)} LOGIN", f"role {role.name}", "", "there")


def _alter_role(role: Role, found: RoleState, server: Server) -> list[Step]:
    steps, alter, thing = [], f"ALTER ROLE {quoted(role.name)}", f"role {role.name}"
    for flag, wanted in role.flags.items():
        if found.flags[flag] != wanted:
            word = flag if wanted else f"NO{flag}"
            steps.append(Step(f"give the role {role.name} {word}", f"{alter} {word}", f"{thing}: {flag}", "no" if wanted else "yes", "yes" if wanted else "no"))
    if role.conn_limit is not None and role.conn_limit != found.conn_limit:
        words = f"allow the role {role.name} {_limit(role.conn_limit)}"
        statement = f"{alter} CONNECTION LIMIT {role.conn_limit}"
        steps.append(Step(words, statement, f"{thing}: connections", _limit(found.conn_limit), _limit(role.conn_limit)))
    if role.expires is not None and server.moments[role.expires] != found.expires:
        moment = server.moments[role.expires] or "infinity"
        words = f"let the password of the role {role.name} be valid until {moment}"
        steps.append(Step(words, f"{alter} VALID UNTIL {literal(moment)}", f"{thing}: valid until", found.expires or "infinity", moment))
    if role.password is not None and not matches(found.verifier, role.password):
        statement = f"{alter} PASSWORD {literal(verifier(role.password))}"
        before = "another one" if found.verifier else "none"
        steps.append(Step(f"set the password of the role {role.name}", statement, f"{thing}: password", before, "the one asked for", secret=True))
    return steps + _configure("role", role.name, role.configuration, found.configuration)


def _limit(count: int) -> str:
    return "any number of connections" if count < 0 else f"{count} connections"


def _join(role: Role, found: RoleState, version: int) -> list[Step]:
    """Return the steps that make the memberships match exactly."""
    if role.member_of is None:
        return []
    thing, steps = f"role {role.name}: member of", []
    for group in sorted(role.member_of - set(found.grantors)):
        steps.append(Step(f"make the role {role.name} a member of {group}", f"GRANT {quoted(group)} TO {quoted(role.name)}", thing, "", group))
    for group in sorted(set(found.grantors) - role.member_of):
        # Since PostgreSQL 16 each grantor's membership counts by itself.
        by = [f" GRANTED BY {quoted(grantor)}" for grantor in found.grantors[group]] if version >= 160000 else [""]
        words = f"end the membership of the role {role.name} in {group}"
        statement = "; ".join(f"REVOKE {quoted(group)} FROM {quoted(role.name)}{grantor}" for grantor in by)
        steps.append(Step(words, statement, thing, group, ""))
    return steps


def plan_databases(wishes: Wishes, server: Server) -> list[Step]:
    """Return the steps that make databases and alter them from outside."""
    steps = []
    for database in wishes.databases:
        if not database.present:
            continue
        found = server.databases.get(database.name)
        if found is None:
            steps.append(_create_database(database))
            # What is not asked for is as it is made.
            found = DatabaseState(database.owner or "", "", "", "")
        steps += _alter_database(database, found)
    return steps


def _create_database(database: Database) -> Step:
    options = f" OWNER {quoted(database.owner)}" if database.owner else ""
    given = {"ENCODING": database.encoding, "LC_COLLATE": database.lc_collate, "LC_CTYPE": database.lc_ctype}
    options += "".join(f" {word} {literal(content)}" for word, content in given.items() if content)
    # Only template0 may be copied with another encoding or locale.
    template = database.template or ("template0" if any(given.values()) else "")
    options += f" TEMPLATE {quoted(template)}" if template else ""
    owner = f", owned by {database.owner}" if database.owner else ""
    return Step(f"make the database {database.name}{owner}", f"CREATE DATABASE {quoted(database.name)}{options}", f"database {database.name}", "", "there")


def _alter_database(database: Database, found: DatabaseState) -> list[Step]:
    steps, alter, thing = [], f"ALTER DATABASE {quoted(database.name)}", f"database {database.name}"
    if database.owner and database.owner != found.owner:
        words = f"give the database {database.name} to {database.owner}"
        steps.append(Step(words, f"{alter} OWNER TO {quoted(database.owner)}", f"{thing}: owner", found.owner, database.owner))
    if database.conn_limit is not None and database.conn_limit != found.conn_limit:
        words = f"allow the database {database.name} {_limit(database.conn_limit)}"
        statement = f"{alter} CONNECTION LIMIT {database.conn_limit}"
        steps.append(Step(words, statement, f"{thing}: connections", _limit(found.conn_limit), _limit(database.conn_limit)))
    return steps + _configure("database", database.name, database.configuration, found.configuration)


def plan_inside(database: Database, inside: Inside, server: Server) -> list[Step]:
    """Return the steps within a database that come before its scripts: schemas, extensions, and privileges on what is not made by them."""
    steps = [step for schema in database.schemas for step in _schema(database, schema.name, schema.owner, schema.present, inside)]
    for extension in database.extensions:
        steps += _extension(database, extension, inside, server)
    closed = [Privilege("schema", "", "public", PUBLIC, "CREATE")] if not database.public_create else []
    closed += [Privilege("database", "", database.name, PUBLIC, word) for word in ("CONNECT", "TEMPORARY")] if database.public_connect is False else []
    for privilege in closed:
        if privilege in inside.privileges:
            words = f"revoke {privilege.privilege} on the {privilege.kind} {privilege.name}{_of(database, privilege.kind)} from everybody"
            steps.append(_grant_step(database, words, [privilege], present=False))
    for grant in database.grants:
        steps += _grant(database, grant, inside, server.version) if grant.kind in _FIRST else []
    for default in database.defaults:
        steps += _default(database, default, inside, server.version)
    return steps


def plan_objects(database: Database, inside: Inside, version: int) -> list[Step]:
    """Return the steps within a database that come after its scripts: privileges on tables, sequences and functions."""
    return [step for grant in database.grants if grant.kind not in _FIRST for step in _grant(database, grant, inside, version)]


def _of(database: Database, kind: str) -> str:
    return "" if kind == "database" else f" of the database {database.name}"


def _schema(database: Database, name: str, owner: str | None, present: bool, inside: Inside) -> list[Step]:
    thing, found, where = f"database {database.name}: schema {name}", inside.schemas.get(name), f"the schema {name} of the database {database.name}"
    if not present:
        return [Step(f"drop {where}", f"DROP SCHEMA {quoted(name)}", thing, "there", "")] if found is not None else []
    if found is None:
        authorization = f" AUTHORIZATION {quoted(owner)}" if owner else ""
        words = f"make {where}" + (f", owned by {owner}" if owner else "")
        return [Step(words, f"CREATE SCHEMA {quoted(name)}{authorization}", thing, "", "there")]
    if owner and owner != found:
        return [Step(f"give {where} to {owner}", f"ALTER SCHEMA {quoted(name)} OWNER TO {quoted(owner)}", f"{thing}: owner", found, owner)]
    return []


def _extension(database: Database, extension: t.Any, inside: Inside, server: Server) -> list[Step]:
    name, found = extension.name, inside.extensions.get(extension.name)
    thing, where = f"database {database.name}: extension {name}", f"the extension {name} in the database {database.name}"
    version = server.extensions.get(name, "") if extension.version == "latest" else extension.version
    if not extension.present:
        return [Step(f"drop {where}", f"DROP EXTENSION {quoted(name)}", thing, "there", "")] if found else []
    if found is None:
        options = f" SCHEMA {quoted(extension.schema)}" if extension.schema else ""
        options += f" VERSION {quoted(version)}" if version else ""
        return [Step(f"make {where}", f"CREATE EXTENSION {quoted(name)}{options} CASCADE", thing, "", "there")]
    steps = []
    if version and version != found[0]:
        steps.append(Step(f"bring {where} to {version}", f"ALTER EXTENSION {quoted(name)} UPDATE TO {quoted(version)}", f"{thing}: version", found[0], version))
    if extension.schema and extension.schema != found[1]:
        statement = f"ALTER EXTENSION {quoted(name)} SET SCHEMA {quoted(extension.schema)}"
        steps.append(Step(f"move {where} to the schema {extension.schema}", statement, f"{thing}: schema", found[1], extension.schema))
    return steps


def chosen(grant: Grant, inside: Inside) -> tuple[list[str], list[str]]:
    """Return the objects that privileges are asked for on, and the names that are asked for and not there.

    A function may be named without its arguments if there is only one of the name.
    """
    if grant.kind in _FIRST:
        return list(grant.objects), []
    there = inside.objects.get((grant.kind, grant.schema), ())
    if not grant.objects:
        return list(there), []
    found, missing = [], []
    for name in grant.objects:
        fitting = [one for one in there if one == name or (grant.kind == "function" and one.partition("(")[0] == name)]
        (found if len(fitting) == 1 else missing).append(fitting[0] if len(fitting) == 1 else name)
    return found, missing


def _grant(database: Database, grant: Grant, inside: Inside, version: int) -> list[Step]:
    """Return the steps for privileges; objects that are not there yet count as made by a script."""
    objects, missing = chosen(grant, inside)
    schema = "" if grant.kind in _FIRST else grant.schema
    steps = []
    for holder in grant.roles:
        lacking = []
        for name in objects + missing:
            for privilege in _known(grant, version):
                one = Privilege(grant.kind, schema, name, holder, privilege)
                held = one in inside.privileges and (inside.privileges[one] or not (grant.present and grant.grantable))
                if held != grant.present:
                    lacking.append(one)
        if lacking:
            steps.append(_grant_step(database, _grant_words(database, grant, lacking), lacking, grant.present, grant.grantable))
    return steps


def _known(grant: Grant | DefaultGrant, version: int) -> tuple[str, ...]:
    """Return the privileges that are asked for; all of them are those that this version has."""
    everything = grant.privileges == PRIVILEGES[grant.kind]
    return tuple(name for name in grant.privileges if not (everything and name == "MAINTAIN" and version < MAINTAIN_VERSION))


def _grant_words(database: Database, grant: Grant, lacking: t.Sequence[Privilege]) -> str:
    names = list(dict.fromkeys(f"{one.schema}.{one.name}" if one.schema else one.name for one in lacking))
    kind = grant.kind if len(names) == 1 else f"{grant.kind}s"
    what = f"{kind} {', '.join(names)}" if len(names) <= 5 else f"{len(names)} {kind} of the schema {grant.schema}"
    privileges = ", ".join(dict.fromkeys(one.privilege for one in lacking))
    verb, to = ("grant", "to") if grant.present else ("revoke", "from")
    option = ", with the right to grant it on" if grant.grantable and grant.present else ""
    return f"{verb} {privileges} on the {what}{_of(database, grant.kind)} {to} {lacking[0].holder}{option}"


def _grant_step(database: Database, words: str, privileges: t.Sequence[Privilege], present: bool, grantable: bool = False) -> Step:
    """Return the step that grants or revokes privileges of one holder on objects of one kind."""
    kind, holder = privileges[0].kind, privileges[0].holder
    by_object: dict[str, list[str]] = {}
    for one in privileges:
        by_object.setdefault(_object(one), []).append(one.privilege)
    verb, to = ("GRANT", "TO") if present else ("REVOKE", "FROM")
    noun = {"function": "ROUTINE"}.get(kind, kind.upper())
    option = " WITH GRANT OPTION" if grantable and present else ""
    statements = [f"{verb} {', '.join(held)} ON {noun} {name} {to} {_holder(holder)}{option}" for name, held in by_object.items()]
    lines = [f"{', '.join(held)} on {name}" for name, held in by_object.items()]
    thing = f"database {database.name}: privileges of {holder}"
    return Step(words, "; ".join(statements), thing, "" if present else "; ".join(lines), "; ".join(lines) if present else "")


def _object(one: Privilege) -> str:
    if one.kind in _FIRST:
        return quoted(one.name)
    name, bracket, arguments = one.name.partition("(")
    # The arguments are those that the server itself wrote.
    return quoted(one.schema, name) + (bracket + arguments if one.kind == "function" else "")


def _default(database: Database, grant: DefaultGrant, inside: Inside, version: int) -> list[Step]:
    steps, plural = [], f"{grant.kind}s"
    where = f"in the schema {grant.schema} of the database {database.name}" if grant.schema else f"in the database {database.name}"
    verb, to = ("grant", "to") if grant.present else ("revoke", "from")
    for holder in grant.roles:
        places = [DefaultPrivilege(grant.owner, grant.schema, grant.kind, holder, privilege) for privilege in _known(grant, version)]
        lacking = [one.privilege for one in places if (one in inside.defaults) != grant.present]
        if not lacking:
            continue
        privileges = ", ".join(lacking)
        schema = f" IN SCHEMA {quoted(grant.schema)}" if grant.schema else ""
        change = f"{verb.upper()} {privileges} ON {plural.upper()} {to.upper()} {_holder(holder)}"
        statement = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(grant.owner)}{schema} {change}"
        words = f"{verb} {privileges} on the {plural} that {grant.owner} will make {where} {to} {holder}"
        thing, line = f"database {database.name}: privileges of {holder}", f"{privileges} on {plural} that {grant.owner} will make"
        steps.append(Step(words, statement, thing, "" if grant.present else line, line if grant.present else ""))
    return steps


def plan_scripts(database: Database, inside: Inside) -> list[InitSql]:
    """Return the scripts to run, in order."""
    return [init for init in database.init if inside.scripts.get(init.name) != init.digest]


def script_step(database: Database, init: InitSql, inside: Inside) -> Step:
    """Return the running of a script as a step, for its words."""
    again = " again, since it has changed" if init.name in inside.scripts else ""
    thing = f"database {database.name}: init_sql {init.name}"
    return Step(f"run the SQL {init.name} in the database {database.name}{again}", "", thing, inside.scripts.get(init.name, ""), init.digest)


def plan_absent_databases(wishes: Wishes, server: Server) -> list[Step]:
    """Return the steps that drop databases."""
    gone = [database.name for database in wishes.databases if not database.present and database.name in server.databases]
    return [Step(f"drop the database {name}", f"DROP DATABASE {quoted(name)} WITH (FORCE)", f"database {name}", "there", "") for name in gone]


def plan_absent_roles(wishes: Wishes, server: Server) -> list[Step]:
    """Return the steps that drop roles; their privileges in each database are taken from them first (:func:`places_of`)."""
    gone = [role.name for role in wishes.roles if not role.present and role.name in server.roles]
    return [Step(f"drop the role {name}", f"DROP ROLE {quoted(name)}", f"role {name}", "there", "") for name in gone]


def places_of(wishes: Wishes, server: Server, role: str) -> list[str]:
    """Return the databases in which a role that shall go has privileges, apart from those that go themselves."""
    dropped = {database.name for database in wishes.databases if not database.present}
    return [name for name in server.named.get(role, ()) if name and name not in dropped]


def conflicts(wishes: Wishes, server: Server, insides: t.Mapping[str, Inside]) -> list[str]:
    """Return in sentences what this server makes impossible; nothing has been changed then."""
    known = (set(server.roles) | {role.name for role in wishes.roles if role.present}) - {role.name for role in wishes.roles if not role.present}
    found, dropped = [], {database.name for database in wishes.databases if not database.present}
    for role in wishes.roles:
        found += [f"role {role.name}: there is no role {group} that it could be a member of" for group in sorted((role.member_of or set()) - known)]
        places = [name for name in server.owned.get(role.name, ()) if name not in dropped]
        if places:
            where = ", ".join(name or "outside of databases" for name in places)
            found.append(f"role {role.name}: it owns something ({where}); give that to another role with REASSIGN OWNED before the role goes")
    for database in wishes.databases:
        if database.present:
            unknown = sorted(named_in(database) - known)
            found += [f"database {database.name}: there is no role {name}; add it to the users, or correct the name" for name in unknown]
            found += [f"database {database.name}: {problem}" for problem in _database_conflicts(database, server, insides)]
    return found


def _database_conflicts(database: Database, server: Server, insides: t.Mapping[str, Inside]) -> list[str]:
    found, there = [], server.databases.get(database.name)
    for word in ("encoding", "lc_collate", "lc_ctype"):
        wanted, kept = getattr(database, word), getattr(there, word, None)
        if wanted and kept and wanted.replace("-", "").lower() != kept.replace("-", "").lower():
            found.append(f"{word} is {kept} and cannot be changed to {wanted}; make a new database and move the data")
    if database.template and there is None and database.template not in server.databases:
        found.append(f"there is no database {database.template} to copy")
    for extension in database.extensions:
        if extension.present and extension.name not in server.extensions:
            found.append(f"the server has no extension {extension.name}; install its package on every member")
    inside = insides.get(database.name) or blank(database, server.version)
    for schema in database.schemas:
        if not schema.present and schema.name in inside.filled:
            found.append(f"the schema {schema.name} is not empty; drop what is in it first")
    for init in plan_scripts(database, inside):
        if init.name in inside.scripts and not init.always:
            found.append(
                f"init_sql {init.name} was run and has another text now; give what is new another name, or say always: true if it may be run again as a whole"
            )
    return found + missing(database, inside, server)


def missing(database: Database, inside: Inside, server: Server) -> list[str]:
    """Return what privileges are asked for on and nobody makes; a script that is still to be run may make anything but schemas."""
    found, pending = [], bool(plan_scripts(database, inside)) or any(extension.name not in inside.extensions for extension in database.extensions)
    schemas = set(inside.schemas) | {schema.name for schema in database.schemas if schema.present}
    schemas |= {extension.schema for extension in database.extensions if extension.schema}
    for grant in database.grants:
        needed = grant.objects if grant.kind == "schema" else (grant.schema,) if grant.kind != "database" else ()
        lost = [name for name in needed if name not in schemas]
        if lost and not pending:
            found.append(f"there is no schema {', '.join(lost)}; add it to schemas")
        unknown = [] if pending or lost else chosen(grant, inside)[1]
        if unknown:
            names = ", ".join(f"{grant.schema}.{name}" for name in unknown)
            found.append(f"there is no {grant.kind} {names}; correct the name (a function's with its arguments), or grant once it is made")
        if "MAINTAIN" in _known(grant, server.version) and server.version < MAINTAIN_VERSION:
            found.append("MAINTAIN is a privilege since PostgreSQL 17")
    return found
