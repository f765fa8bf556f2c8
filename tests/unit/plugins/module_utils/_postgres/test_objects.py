# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and databases: what cannot be right, the steps on a server, the statements of a script, and verifiers, as tables."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects import plan, scram
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.run import plan_for_new
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.script import split
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.server import DatabaseState, Inside, Privilege, RoleState, Server
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import names_of, parse, problems

Entry = dict[str, t.Any]


def role(**options: t.Any) -> Entry:
    """A role's entry."""
    return {"name": "shop", "password": "hunter2", **options}


def database(**options: t.Any) -> Entry:
    """A database's entry."""
    return {"name": "shop", "owner": "shop", **options}


@pytest.mark.parametrize(
    ("roles", "databases", "said"),
    [
        ([role()], [database()], ""),
        ([role(role_attr_flags="CREATEDB, nologin", password=None)], [], ""),
        ([role(), role()], [], "the role shop is listed twice; leave one"),
        ([], [database(), database()], "the database shop is listed twice; leave one"),
        ([role(password="")], [], "role shop: it may log in and has no password"),
        ([role(state="absent", password=None)], [], ""),
        ([role(name="postgres")], [], "role postgres: the cluster keeps it for itself"),
        ([role(name="pg_shop")], [], "role pg_shop: PostgreSQL keeps this name for itself"),
        ([role(name="x" * 64)], [], "has more than 63 bytes"),
        ([role(role_attr_flags=["NOSUCH"])], [], "role shop: NOSUCH is no attribute; there are SUPERUSER"),
        ([role(member_of=["shop"])], [], "role shop: it cannot be a member of itself"),
        ([{"password": "a"}], [], "a role has no name"),
        ([role(state="absent")], [database()], "database shop: shop is to own something or to be granted something, and is listed with state: absent"),
        ([], [database(state="absent")], "only if its entry says force: shop"),
        ([], [database(state="absent", force="shop")], ""),
        ([], [database(schemas=[{"name": "pg_app"}])], "the schema pg_app: PostgreSQL keeps this name"),
        ([], [database(extensions=["hstore", {"name": "hstore"}])], "the extension hstore is listed twice"),
        ([], [database(privileges=[{"roles": ["a"], "privs": ["SELECT", "READ"]}])], "READ is no privilege on a table"),
        ([], [database(privileges=[{"roles": ["a"], "privs": ["TEMP", "connect"], "type": "database"}])], ""),
        ([], [database(privileges=[{"roles": ["a"], "privs": ["ALL"], "type": "view"}])], "there is no type view"),
        ([], [database(privileges=[{"roles": [], "privs": []}])], "roles is empty"),
        ([], [database(privileges=[{"roles": ["public"], "privs": ["SELECT"], "grant_option": True}])], "PUBLIC cannot have a grant option"),
        ([], [database(owner=None, default_privileges=[{"roles": ["a"], "privs": ["SELECT"]}])], "whose objects is not said"),
        ([], [database(default_privileges=[{"roles": ["a"], "privs": ["USAGE"], "type": "schema", "schema": "app"}])], "leave schema out"),
        ([], [database(init_sql=[{"name": "a", "sql": "-- nothing"}])], "init_sql a: there is no statement in it"),
        ([], [database(init_sql=[{"name": "a", "sql": "SELECT 1;\nROLLBACK;"}])], "init_sql a: line 2, ROLLBACK: it runs in one transaction"),
    ],
)
def test_problems(roles: list[Entry], databases: list[Entry], said: str) -> None:
    found = problems(roles, databases, passwords=True, reserved=["postgres"])
    assert bool(found) is bool(said)
    assert said in "".join(found)


def test_a_new_server() -> None:
    wishes = parse(
        [role(conn_limit=3, configuration={"search_path": "app, public", "jit": False}), role(name="reader", role_attr_flags="NOLOGIN", password=None)],
        [
            database(
                encoding="UTF8",
                public_connect=False,
                schemas=[{"name": "app", "owner": "shop"}],
                extensions=["hstore"],
                privileges=[{"roles": ["reader"], "privs": ["ALL"], "schema": "app", "objs": ["item"]}],
                default_privileges=[{"roles": ["public"], "privs": ["EXECUTE"], "type": "function", "state": "absent"}],
                init_sql=[{"name": "first", "sql": "SELECT 1"}],
            )
        ],
    )
    steps = plan_for_new(wishes, 150000)
    assert [step.words for step in steps] == [
        "make the role shop",
        "make the role reader",
        "allow the role shop 3 connections",
        "set the password of the role shop",
        "set search_path of the role shop to app, public",
        "set jit of the role shop to off",
        "give the role reader NOLOGIN",
        "make the database shop, owned by shop",
        "make the schema app of the database shop, owned by shop",
        "make the extension hstore in the database shop",
        "revoke CONNECT on the database shop from everybody",
        "revoke TEMPORARY on the database shop from everybody",
        "revoke EXECUTE on the functions that shop will make in the database shop from PUBLIC",
        "run the SQL first in the database shop",
        "grant SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER on the table app.item of the database shop to reader",
    ]
    statements = {step.words: step.statement for step in steps}
    assert statements["set search_path of the role shop to app, public"] == """ALTER ROLE "shop" SET "search_path" TO 'app', 'public'"""
    assert "TEMPLATE \"template0\"" in statements["make the database shop, owned by shop"]
    assert "hunter2" not in str(steps)
    # Before 15 everybody might make objects in the schema public.
    older = [step.words for step in plan_for_new(wishes, 140000)]
    assert set(older) - {step.words for step in steps} == {"revoke CREATE on the schema public of the database shop from everybody"}


def test_nothing_to_do() -> None:
    flags = {**plan.NEW_ROLE, "LOGIN": True}
    server = Server(
        170000,
        {"shop": RoleState(flags, verifier=scram.verifier("hunter2"), configuration={"work_mem": "8MB"}, grantors={"a": ("postgres",)})},
        {"shop": DatabaseState("shop", "UTF8", "C.UTF-8", "C.UTF-8")},
    )
    wishes = parse([role(configuration={"work_mem": "8MB"}, member_of="a")], [database(privileges=[{"roles": ["shop"], "privs": ["SELECT"]}])])
    assert plan.plan_roles(wishes, server) == [] and plan.plan_databases(wishes, server) == []
    held = {Privilege("table", "public", "one", "shop", "SELECT"): False}
    inside = Inside(schemas={"public": "shop"}, objects={("table", "public"): ("one",)}, privileges=held)
    assert plan.plan_objects(wishes.databases[0], inside, 170000) == [] and plan.conflicts(wishes, Server(170000, {"shop": RoleState(flags)}), {})


def test_each_grantor_is_asked_back() -> None:
    server = Server(160000, {"shop": RoleState(plan.NEW_ROLE, grantors={"a": ("x", "y")})})
    steps = plan.plan_roles(parse([{"name": "shop", "member_of": []}], []), server)
    assert [step.statement for step in steps] == ['REVOKE "a" FROM "shop" GRANTED BY "x"; REVOKE "a" FROM "shop" GRANTED BY "y"']


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("SELECT 1; SELECT ';' ;;\n\nSELECT \";\"", [1, 1, 3]),
        ("-- a;b\nSELECT 1 /* ; /* ; */ ; */ + 1;\nSELECT E'\\';'", [2, 3]),
        ("DO $$ BEGIN; END $$; DO $a$ $$;$$ $a$", [1, 1]),
        ("CREATE RULE a AS ON INSERT TO b DO (SELECT 1; SELECT 2);\nSELECT $1", [1, 2]),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\nSELECT 3", [1, 2]),
        (" ; ", []),
    ],
)
def test_statements(text: str, lines: list[int]) -> None:
    assert [statement.line for statement in split(text)] == lines


@pytest.mark.parametrize(
    ("text", "ends"),
    [("begin", True), ("START  TRANSACTION", True), ("ROLLBACK TO a", False), ("SELECT 1", False), ("/* a */ COMMIT AND CHAIN", True), ("SAVEPOINT a", False)],
)
def test_statements_that_end_the_transaction(text: str, ends: bool) -> None:
    assert [statement.ends_transaction for statement in split(text)] == [ends]


def test_verifiers() -> None:
    # The example of RFC 7677, section 3, and what the stored key and the server's key are for it.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    kept = scram.verifier("pencil", salt)
    assert kept == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    assert scram.matches(kept, "pencil") and not scram.matches(kept, "Pencil") and scram.matches(kept, kept)
    assert scram.verifier(kept) == kept and scram.verifier("pencil") != scram.verifier("pencil")
    assert not scram.matches("", "pencil") and not scram.matches("md5" + "0" * 32, "pencil")
    # SASLprep: RFC 4013, section 3.
    assert scram.verifier("I\u00adX", salt) == scram.verifier("IX", salt) == scram.verifier("\u2168", salt)
    assert scram.verifier("\u0627\u0031", salt) != scram.verifier("1", salt)


@pytest.mark.parametrize(("text", "names"), [('app, "$user",public', ["app", "$user", "public"]), ('"a,b"', ["a,b"]), ("", []), ('""', [""])])
def test_names(text: str, names: list[str]) -> None:
    assert names_of(text) == names


def test_quotes() -> None:
    assert plan.quoted("a", 'b"c') == '"a"."b""c"' and plan.literal("a'b") == "'a''b'" and plan.literal("a\\'b") == " E'a\\\\''b'"
