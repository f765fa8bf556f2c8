# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_objects on a real server that logs every statement: what logins of the roles can and cannot do, second runs, checks, refusals, and where passwords are."""

from __future__ import annotations

import copy
import json
import pathlib
import re
import subprocess
import sys
import typing as t

import psycopg2
import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.run import run
from conftest import SENTINEL, PostgresServer, Runner, postgresql
from patroni_cluster import API_PASSWORD, PatroniCluster, arguments_of_processes, patroni_cluster

Result = dict[str, t.Any]
Apply = t.Callable[..., Result]

WORD, NEW_WORD, LETTERS = f"{SENTINEL}-shop", f"{SENTINEL}-new", f"{SENTINEL}-\u00aa\u2168\u00a0\u00ad'\\"
"""Passwords; the last one has letters that SASLprep replaces, and what SQL has to quote."""

TABLES = """
-- A comment; with a semicolon.
CREATE TABLE app.item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'a;b');
CREATE FUNCTION app.total() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT CASE WHEN true THEN count(*) END FROM app.item; END;
CREATE FUNCTION app.hidden(number integer) RETURNS integer LANGUAGE plpgsql AS $body$ BEGIN RETURN number; END $body$;
"""
ROLES: list[Result] = [
    {"name": "shop_owner", "role_attr_flags": ["NOLOGIN"]},
    {"name": "shop_reader", "role_attr_flags": ["NOLOGIN"]},
    {
        "name": "shop",
        "password": WORD,
        "member_of": ["shop_owner"],
        "conn_limit": 5,
        "configuration": {"role": "shop_owner", "statement_timeout": "30s", "search_path": ["app", "$user", "public"]},
    },
    {"name": "report", "password": LETTERS, "member_of": ["shop_reader"], "expires": "2099-01-01 00:00:00+00", "role_attr_flags": ["NOINHERIT", "INHERIT"]},
]
SHOP: Result = {
    "name": "shop",
    "owner": "shop_owner",
    "encoding": "UTF8",
    "conn_limit": 20,
    "configuration": {"idle_in_transaction_session_timeout": "1min"},
    "public_connect": False,
    "schemas": [{"name": "app", "owner": "shop_owner"}],
    "extensions": ["pg_trgm", {"name": "hstore", "schema": "app", "version": "latest"}],
    "privileges": [
        {"roles": ["shop_reader"], "privs": ["CONNECT"], "type": "database"},
        {"roles": ["shop_reader"], "privs": ["USAGE"], "type": "schema", "schema": "app"},
        {"roles": ["shop_reader"], "privs": ["SELECT"], "schema": "app"},
        {"roles": ["shop_reader"], "privs": ["ALL"], "type": "sequence", "schema": "app", "objs": ["item_id_seq"]},
        {"roles": ["PUBLIC"], "privs": ["EXECUTE"], "type": "function", "schema": "app", "objs": ["hidden"], "state": "absent"},
    ],
    "default_privileges": [
        {"roles": ["shop_reader"], "privs": ["SELECT"], "schema": "app"},
        {"roles": ["PUBLIC"], "privs": ["EXECUTE"], "type": "function", "state": "absent"},
    ],
    "init_sql": [{"name": "tables", "sql": TABLES}],
}


@pytest.fixture(scope="module")
def server(server_root: pathlib.Path) -> t.Iterator[PostgresServer]:
    """A server that logs whatever it is told, and would make verifiers of another kind itself. The tests go on from each other."""
    with postgresql(server_root / "postgres-objects", log_statement="all", log_min_duration_statement="0", password_encryption="md5") as running:
        yield running


@pytest.fixture
def apply(server: PostgresServer, run_module: Runner) -> Apply:
    """What applies roles and databases to the server."""

    def ask(roles: t.Sequence[Result] = (), databases: t.Sequence[Result] = (), check: bool = False) -> Result:
        return run_module("pg_objects", {**server.login, "roles": list(roles), "databases": list(databases)}, check=check, diff=True)

    return ask


def changed(base: Result, **options: t.Any) -> Result:
    """Return an entry with other options."""
    return {**copy.deepcopy(base), **options}


def can(server: PostgresServer, user: str, password: str, statement: str, database: str = "shop") -> t.Any:
    """Return what a login of a role gets: the first column, True if there is none, and the state's code if it may not."""
    try:
        with server.connect(database, user=user, password=password) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else True
    except psycopg2.OperationalError as error:
        return str(error)
    except psycopg2.Error as error:
        return error.pgcode


def refused(result: Result, *words: str) -> None:
    """See that a run was refused with these words, before anything was changed."""
    assert result["failed"] and not result["changed"] and "nothing was changed" in result["msg"], result
    for word in words:
        assert word in result["msg"], result["msg"]


def test_all_of_it(server: PostgresServer, apply: Apply) -> None:
    before = apply(ROLES, [SHOP], check=True)
    assert before["changed"] and "shop" not in server.databases()
    with arguments_of_processes() as seen:
        made = apply(ROLES, [SHOP])
    assert not made["failed"] and made["changed"], made
    # Nothing but the objects that the SQL makes was unknown to the check.
    unknown = {"grant SELECT on the table app.item of the database shop to shop_reader"}
    assert set(before["actions"]) == set(made["actions"]) - unknown
    assert before["actions"][0] == "make the role shop_owner" and "run the SQL tables in the database shop" in before["actions"]
    assert "role shop: password: the one asked for" in made["diff"]["after"] and "database shop: there" in made["diff"]["after"]
    assert not [line for line in seen if SENTINEL in line] and SENTINEL not in str(made) + str(before)
    assert server.query("SELECT DISTINCT left(rolpassword, 19) FROM pg_authid WHERE rolname IN ('shop', 'report')") == [("SCRAM-SHA-256$4096:",)]
    for check in (True, False):
        again = apply(ROLES, [SHOP], check=check)
        assert not again["failed"] and again["actions"] == [] and not again["changed"], again


def test_what_logins_can_do(server: PostgresServer) -> None:
    assert can(server, "shop", WORD, "SHOW statement_timeout") == "30s"
    assert can(server, "shop", WORD, "SHOW search_path") == 'app, "$user", public'
    assert can(server, "shop", WORD, "SHOW idle_in_transaction_session_timeout") == "1min"
    assert can(server, "shop", WORD, "INSERT INTO item DEFAULT VALUES") is True
    assert can(server, "shop", WORD, "CREATE TABLE later AS SELECT 1 AS number") is True
    assert can(server, "report", LETTERS, "SELECT count(*) FROM app.item") == 1
    assert can(server, "report", LETTERS, "SELECT number FROM app.later") == 1
    assert can(server, "report", LETTERS, "SELECT app.total()") == "42501"
    assert can(server, "report", LETTERS, "SELECT app.hidden(1)") == "42501"
    assert can(server, "report", LETTERS, "INSERT INTO app.item DEFAULT VALUES") == "42501"
    assert can(server, "report", LETTERS, "CREATE TABLE public.mine ()") == "42501"
    assert can(server, "report", LETTERS, "SELECT nextval('app.item_id_seq')") == 2
    assert "password authentication failed" in can(server, "report", WORD, "SELECT 1")
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'later'"
    assert can(server, "shop", WORD, owner) == "shop_owner"
    assert "not permitted to log in" in can(server, "shop_owner", "", "SELECT 1") or "password" in can(server, "shop_owner", "", "SELECT 1")
    assert server.query("SELECT extname FROM pg_extension WHERE extname IN ('hstore', 'pg_trgm') ORDER BY 1", "shop") == [("hstore",), ("pg_trgm",)]


def test_a_stranger_cannot_connect(server: PostgresServer, apply: Apply) -> None:
    assert apply([{"name": "stranger", "password": WORD}])["changed"]
    assert "permission denied for database" in can(server, "stranger", WORD, "SELECT 1")
    gone = apply([{"name": "stranger", "state": "absent"}])
    assert gone["actions"] == ["drop the role stranger"] and not server.query("SELECT FROM pg_roles WHERE rolname = 'stranger'")
    assert apply([{"name": "stranger", "state": "absent"}])["actions"] == []


def test_a_changed_password(server: PostgresServer, apply: Apply) -> None:
    role = {"name": "shop", "password": NEW_WORD}
    for check in (True, False):
        result = apply([role], check=check)
        assert result["actions"] == ["set the password of the role shop"], result
        assert can(server, "shop", WORD if check else NEW_WORD, "SELECT 1") == 1
    assert "password authentication failed" in can(server, "shop", WORD, "SELECT 1")
    assert apply([role])["actions"] == []
    kept = server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'shop'")[0][0]
    assert apply([{"name": "shop", "password": kept}])["actions"] == []
    server.query("ALTER ROLE shop PASSWORD 'old'")
    assert apply([role])["actions"] == ["set the password of the role shop"] and can(server, "shop", NEW_WORD, "SELECT 1") == 1


def test_less_than_before(server: PostgresServer, apply: Apply) -> None:
    role = {"name": "shop", "conn_limit": -1, "configuration": {"statement_timeout": "10s"}, "member_of": ["shop_reader"], "expires": "infinity"}
    database = {"name": "shop", "configuration": {}, "conn_limit": -1, "owner": "report"}
    back = {"name": "shop", "owner": "shop_owner"}
    planned, done = apply([role], [database], check=True), apply([role], [database])
    assert planned["actions"] == done["actions"] and planned["diff"] == done["diff"], done
    assert set(done["actions"]) == {
        "allow the role shop any number of connections",
        "set statement_timeout of the role shop to 10s",
        "reset role of the role shop",
        "reset search_path of the role shop",
        "make the role shop a member of shop_reader",
        "end the membership of the role shop in shop_owner",
        "give the database shop to report",
        "allow the database shop any number of connections",
        "reset idle_in_transaction_session_timeout of the database shop",
    }
    assert can(server, "shop", NEW_WORD, "SELECT count(*) FROM app.item") == 1 and can(server, "shop", NEW_WORD, "DELETE FROM app.item") == "42501"
    assert apply([changed(ROLES[2], password=NEW_WORD)], [back])["changed"]
    revoked = [changed(grant, state="absent") for grant in SHOP["privileges"][:3]]
    assert apply([], [{"name": "shop", "privileges": revoked}])["changed"]
    assert "permission denied for database" in can(server, "report", LETTERS, "SELECT 1")
    assert apply([], [SHOP])["changed"] and can(server, "report", LETTERS, "SELECT count(*) FROM app.item") == 1


def test_sql_is_run_once(server: PostgresServer, apply: Apply) -> None:
    assert server.query("SELECT name FROM mainstay.init_sql", "shop") == [("tables",)]
    refused(apply([], [changed(SHOP, init_sql=[{"name": "tables", "sql": "DROP TABLE app.item"}])]), "init_sql tables was run and has another text now")
    script = "CREATE TABLE app.half (); CREATE TABLE app.broken (id int DEFAULT 1/0);\nINSERT INTO app.broken\nDEFAULT VALUES;"
    for check, failed in ((True, False), (False, True), (False, True)):
        result = apply([], [changed(SHOP, init_sql=[{"name": "broken", "sql": script}])], check=check)
        assert result["failed"] is failed, result
    said = "could not run the SQL broken in the database shop: statement 3 (line 2), INSERT INTO app.broken DEFAULT VALUES: division by zero"
    assert result["msg"].startswith(said) and "nothing of this SQL was applied" in result["msg"]
    assert server.query("SELECT to_regclass('app.half') IS NULL", "shop") == [(True,)]
    for text, said in (("SELECT 1", ""), ("SELECT 2", " again, since it has changed")):
        actions = [f"run the SQL again in the database shop{said}"]
        init = {"name": "again", "sql": f"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS '{text}'", "always": True}
        database = {"name": "shop", "init_sql": [init]}
        assert apply([], [database])["actions"] == actions and apply([], [database])["actions"] == []
        assert server.query("SELECT f()", "shop") == [(int(text[-1]),)]


def test_records_that_others_have_made(server: PostgresServer, apply: Apply) -> None:
    """What the owner of a database puts in their place is never run as a superuser."""
    assert apply([], [{"name": "trap", "owner": "shop_owner"}])["changed"]
    server.query("SET ROLE shop_owner; CREATE SCHEMA mainstay; CREATE VIEW mainstay.init_sql AS SELECT 'a'::text AS name, 'b'::text AS sha256", "trap")
    result = apply([], [{"name": "trap", "init_sql": [{"name": "a", "sql": "SELECT 1"}]}])
    assert result["failed"] and "belongs to shop_owner" in result["msg"], result


def test_going(server: PostgresServer, apply: Apply) -> None:
    refused(apply([{"name": "shop_owner", "state": "absent"}]), "role shop_owner: it owns something (shop, trap)", "REASSIGN OWNED")
    refused(apply([], [{"name": "trap", "state": "absent"}]), "only if its entry says force: trap")
    refused(apply([], [{"name": "shop", "schemas": [{"name": "app", "state": "absent"}]}]), "the schema app is not empty")
    assert apply([], [{"name": "trap", "state": "absent", "force": "trap"}])["actions"] == ["drop the database trap"] and "trap" not in server.databases()
    # Its privileges, also those on what will be made, go with a role.
    assert apply([{"name": "shop_reader", "state": "absent"}])["actions"] == ["drop the role shop_reader"]
    assert apply(ROLES, [SHOP])["changed"] and apply(ROLES, [SHOP])["actions"] == []


@pytest.mark.parametrize(
    ("roles", "database", "words"),
    [
        ([{"name": "twice"}, {"name": "twice"}], {}, "the role twice is listed twice"),
        ([], {"owner": "nobody"}, "database shop: there is no role nobody"),
        ([], {"privileges": [{"roles": ["nobody"], "privs": ["ALL"], "schema": "app"}]}, "there is no role nobody"),
        ([], {"privileges": [{"roles": ["report"], "privs": ["SELCT"]}]}, "SELCT is no privilege on a table; there are SELECT"),
        ([], {"privileges": [{"roles": ["report"], "privs": ["SELECT"], "schema": "app", "objs": ["lost"]}]}, "there is no table app.lost"),
        ([], {"privileges": [{"roles": ["report"], "privs": ["SELECT"], "schema": "lost"}]}, "there is no schema lost"),
        ([], {"encoding": "LATIN1"}, "encoding is UTF8 and cannot be changed to LATIN1"),
        ([], {"extensions": ["pg_nonsense"]}, "the server has no extension pg_nonsense"),
        ([], {"init_sql": [{"name": "a", "sql": "SELECT 1; COMMIT"}]}, "must neither begin nor end"),
        ([{"name": "report", "role_attr_flags": ["LOGGIN"]}], {}, "LOGGIN is no attribute"),
        ([{"name": "report", "member_of": ["nobody"]}], {}, "there is no role nobody that it could be a member of"),
        ([{"name": "report", "expires": "soon"}], {}, "read the time soon"),
        ([{"name": "shop", "state": "absent"}], {"owner": "shop"}, "is listed with state: absent"),
        ([{"name": "pg_mine"}], {}, "PostgreSQL keeps this name for itself"),
    ],
)
def test_refusals(server: PostgresServer, roles: list[Result], database: Result, words: str) -> None:
    """Asked of what the module calls, since each run of the module takes a second."""
    access = {**dict.fromkeys(("ca_cert", "ssl_cert", "ssl_key")), "login_host": "", "login_db": "postgres", "ssl_mode": "prefer", **server.login}
    with pytest.raises(InvalidInput, match=re.escape(words)):
        run({**access, "roles": [*roles, {"name": "made_before"}], "databases": [{"name": "shop", **database}] if database else []}, False)
    assert not server.query("SELECT FROM pg_roles WHERE rolname = 'made_before'")


def test_no_password_is_in_the_log(server: PostgresServer) -> None:
    log = pathlib.Path(f"{server.data_dir}.log").read_text()
    assert 'CREATE ROLE "shop" LOGIN' in log
    for word in (WORD, NEW_WORD, LETTERS, "SCRAM-SHA-256$"):
        assert word not in log


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[PatroniCluster]:
    """A cluster under Patroni."""
    with patroni_cluster(server_root / "postgres-objects-patroni") as running:
        yield running


def play(folder: pathlib.Path, run_module: Runner, cluster: PatroniCluster, parts: list[str], users: list[Result], *arguments: str) -> tuple[int, str]:
    """Run parts of the role against the cluster, from the host of a standby; return the exit status and the output."""
    leader = cluster.settle()
    contact = next(member for member in cluster.members if member is not leader)
    inventory = {"all": {"hosts": {member.name: {"ansible_connection": "local", "postgres_replication_port": member.port} for member in cluster.members}}}
    given = {
        "postgres_replication_members": [{"name": member.name, "address": "127.0.0.1"} for member in cluster.members],
        "postgres_replication_dcs_members": [{"name": name, "address": "127.0.0.1"} for name in ("data1", "data2", "data3")],
        "postgres_replication_version": str(server_version(cluster)),
        "postgres_replication_api_user": "admin",
        "postgres_replication_api_password": API_PASSWORD,
        **{f"postgres_replication_{user}_password": SENTINEL for user in ("superuser", "replication", "rewind")},
        "postgres_replication_control_ca_path": cluster.ca_cert,
        "postgres_replication_users": users,
        "postgres_replication_databases": [SHOP],
        "postgres_replication_port": leader.port,
        "postgres_replication_pooler": True,
        "postgres_replication_pooler_password": SENTINEL,
        "__postgres_replication_pooler_lookup_databases": ["postgres"],
        "__postgres_replication_endpoints": [member.url for member in cluster.members],
        "__postgres_replication_socket_dir": str(leader.folder),
        # The servers let every user of this machine in through their sockets.
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }
    roles = [{"name": "mainstay.ops.postgres_replication", "tasks_from": part} for part in parts]
    tasks = [{"name": "Run a part of the role", "ansible.builtin.include_role": role} for role in roles]
    plays = [{"name": "Run the role", "hosts": contact.name, "gather_facts": False, "tasks": tasks}]
    paths = [folder / name for name in ("play.json", "hosts.json", "vars.json")]
    for path, content in zip(paths, (plays, inventory, given)):
        path.touch(0o600)
        path.write_text(json.dumps(content))
    command = [f"{pathlib.Path(sys.executable).parent}/ansible-playbook", "-i", str(paths[1]), "-e", f"@{paths[2]}", *arguments, str(paths[0])]
    done = subprocess.run(command, env=run_module.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def server_version(cluster: PatroniCluster) -> int:
    """Return the major version of PostgreSQL."""
    with cluster.connect(cluster.members[0]) as connection:
        return int(connection.server_version) // 10000


def test_the_role_applies_on_the_leader(tmp_path: pathlib.Path, run_module: Runner, cluster: PatroniCluster) -> None:
    with arguments_of_processes() as seen:
        status, output = play(tmp_path, run_module, cluster, ["objects/plan", "objects"], ROLES, "-vvv")
    assert status == 0 and SENTINEL not in output and API_PASSWORD not in output and not [line for line in seen if SENTINEL in line], output
    # Once as the plan for a cluster that is not there, once as done.
    assert output.count("- make the database shop, owned by shop_owner") == 3, output
    assert "make the extension pg_stat_statements in the database postgres" in output
    wishes = cluster.config()["mainstay"]["wishes"]
    status, output = play(tmp_path, run_module, cluster, ["objects"], ROLES)
    assert status == 0 and "changed=0" in output and cluster.config()["mainstay"]["wishes"] == wishes, output
    lost = [*ROLES[:3], {"name": "report", "password": NEW_WORD, "member_of": ["nobody"]}]
    status, output = play(tmp_path, run_module, cluster, ["objects"], lost)
    assert status == 2 and "there is no role nobody that it could be a member of; nothing was changed" in " ".join(output.split()), output
    with cluster.connect(cluster.settle()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname, rolreplication FROM pg_roles WHERE rolname IN ('shop', 'prometheus', 'replicator') ORDER BY 1")
        assert cursor.fetchall() == [("prometheus", False), ("replicator", True), ("shop", False)]
        # What the pooler may ask, and nobody else.
        cursor.execute("SET ROLE pgbouncer; SELECT name, left(secret, 5) FROM pgbouncer.lookup('shop') UNION SELECT name, '' FROM pgbouncer.lookup('postgres')")
        assert cursor.fetchall() == [("shop", "SCRAM")]
