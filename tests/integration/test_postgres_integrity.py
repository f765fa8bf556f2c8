# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at in a server that is there for trial, on a real one: rows, foreign keys of every shape, queries, and what may not be read."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.integrity import Examination, examine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query
from servers import SENTINEL, PostgresServer, postgresql

TABLES = """
CREATE SCHEMA "Odd name";
CREATE TABLE "Odd name"."Parent" (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE pairs (number int, x int, y text, FOREIGN KEY (x, y) REFERENCES "Odd name"."Parent" (a, b));
CREATE TABLE trees (number int PRIMARY KEY, parent int REFERENCES trees);
CREATE TABLE heads (number int PRIMARY KEY);
CREATE TABLE heirs () INHERITS (heads);
CREATE TABLE tails (head int REFERENCES heads);
CREATE UNLOGGED TABLE passing (number int);
INSERT INTO "Odd name"."Parent" VALUES (1, 'one');
INSERT INTO pairs VALUES (1, 1, 'one'), (2, NULL, 'two'), (3, 9, NULL);
INSERT INTO trees VALUES (1, NULL), (2, 1);
INSERT INTO heads VALUES (1);
INSERT INTO heirs VALUES (7);
INSERT INTO tails VALUES (1), (NULL);
"""


def login(server: PostgresServer, **more: t.Any) -> Login:
    """How the server is reached."""
    return Login(**{"host": "127.0.0.1", "port": server.port, "password": SENTINEL, **more})


@pytest.fixture(scope="module")
def own_server(server_root: pathlib.Path) -> t.Iterator[PostgresServer]:
    """A server with no other databases than those of these tests."""
    with postgresql(server_root / "integrity") as server:
        yield server


@pytest.fixture
def server(own_server: PostgresServer) -> t.Iterator[PostgresServer]:
    """The server, with tables of many shapes in a database."""
    own_server.query("CREATE DATABASE whole")
    own_server.query(TABLES, "whole")
    yield own_server
    own_server.drop("whole", "closed")


def test_what_is_whole_is_counted(server: PostgresServer) -> None:
    """NULLs refer to nothing, an heir's rows are its own, and what does not outlive a crash does not count."""
    server.query("CREATE DATABASE closed")
    found = examine(login(server), Examination((Query("whole", "SELECT max(number) FROM trees", "2"),), closed=("closed",)))
    whole = next(row for row in found["databases"] if row["name"] == "whole")
    assert {row["name"] for row in found["databases"]} >= {"postgres", "whole"} and "closed" not in {row["name"] for row in found["databases"]}
    assert whole["row_counts"] == {"Odd name.Parent": 1, "public.heads": 1, "public.heirs": 1, "public.pairs": 3, "public.tails": 2, "public.trees": 2}
    assert (whole["tables"], whole["rows"], whole["foreign_keys"], found["warnings"]) == (6, 10, 3, [])
    assert found["verify_queries"][0]["found"] == "2" and found["server_version"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ('DELETE FROM "Odd name"."Parent"', "1 rows of public.pairs have no Odd name.Parent"),
        ("DELETE FROM trees WHERE number = 1", "1 rows of public.trees have no public.trees"),
        ("INSERT INTO tails VALUES (7), (8)", "2 rows of public.tails have no public.heads"),
    ],
)
def test_orphans_are_found(server: PostgresServer, statement: str, words: str) -> None:
    """Also a row whose other one is an heir's, which PostgreSQL itself would refuse."""
    server.query(f"SET session_replication_role = replica; {statement}", "whole")
    with pytest.raises(VerificationFailed, match=words):
        examine(login(server), Examination())


def test_a_damaged_page_is_found(server: PostgresServer) -> None:
    """An index would have counted the rows without a look at it."""
    server.query("VACUUM trees", "whole")
    server.query("CHECKPOINT")
    path = server.data_dir / server.query("SELECT pg_relation_filepath('trees')", "whole")[0][0]
    server.control("-m", "fast", "stop")
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * 64)
    server.control("start")
    with pytest.raises(VerificationFailed, match="read the database whole: invalid page"):
        examine(login(server), Examination())


def test_what_may_not_be_read_is_told(server: PostgresServer) -> None:
    """A login that may make itself a reader does; one that may not says so, and one that may read nothing proves nothing."""
    server.query(f"CREATE ROLE able LOGIN CREATEROLE PASSWORD '{SENTINEL}'; CREATE ROLE unable LOGIN PASSWORD '{SENTINEL}'")
    try:
        if server.query("SELECT current_setting('server_version_num')::int < 160000")[0][0]:
            assert examine(login(server, user="able"), Examination())["warnings"] == []
        with pytest.raises(MainstayError, match="the login may read none of its tables; grant it pg_read_all_data") as error:
            examine(login(server, user="unable"), Examination())
        assert not isinstance(error.value, VerificationFailed)
        server.query("GRANT SELECT ON heads TO unable", "whole")
        found = examine(login(server, user="unable"), Examination())
        assert "5 of 6 tables of whole could not be read" in str(found["warnings"]) and "cannot make itself a member" in str(found["warnings"])
    finally:
        server.drop("whole")
        server.query("DROP ROLE able, unable")


def test_an_empty_server_proves_little(server: PostgresServer) -> None:
    server.drop("whole")
    assert examine(login(server), Examination())["warnings"] == ["no database has a table, so this proves only that the server starts"]
