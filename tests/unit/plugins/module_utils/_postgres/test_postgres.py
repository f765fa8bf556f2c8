# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the PostgreSQL backups that need no server: roles, names, choices, versions, settings."""

from __future__ import annotations

import functools
import pathlib
import threading
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client, connection, facts, fill, logical, restore, roles, throwaway
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, client_environment, conninfo
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.parallel import Group, Stopped
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run

GLOBALS = r'''
--
-- PostgreSQL database cluster dump
--

\restrict x'yz;
SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b--c''d';
CREATE ROLE "the ""owner""";
COMMENT ON ROLE app IS E'first\\line
\! touch /tmp/owned
last';
ALTER ROLE app SET search_path TO 'a', 'b';
ALTER ROLE app IN DATABASE ledger SET work_mem TO '1MB';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
GRANT app TO "the ""owner""" WITH ADMIN OPTION GRANTED BY postgres;
CREATE TABLESPACE fast OWNER postgres LOCATION '/fast';
GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO app WITH GRANT OPTION;
GRANT SET ON PARAMETER log_statement TO PUBLIC;
SECURITY LABEL FOR 'selinux' ON ROLE app IS 'x';
SET SESSION AUTHORIZATION app;
RESET SESSION AUTHORIZATION;
\! touch /tmp/owned; CREATE ROLE evil;
DROP ROLE postgres;
CREATE ROLE last
'''


def test_what_keeps_a_secret_out_of_the_log_is_said_in_one_place() -> None:
    folder = pathlib.Path(connection.__file__).parent
    assert [path.name for path in folder.rglob("*.py") if "log_min_error_statement" in path.read_text()] == ["connection.py"]
    assert {"log_statement", "log_min_duration_statement", "log_min_duration_sample", "log_transaction_sample_rate"} < set(connection.SILENT)


class TestRoles:
    def test_backslashes_outside_of_texts_are_dropped_and_inside_kept(self) -> None:
        statements = roles.split(GLOBALS)
        assert statements[0] == "SET default_transaction_read_only = off" and statements[-1] == "CREATE ROLE last"
        assert not any("evil" in text or "restrict" in text for text in statements)
        assert "COMMENT ON ROLE app IS E'first\\\\line\n\\! touch /tmp/owned\nlast'" in statements
        assert any(text.endswith("PASSWORD 'SCRAM-SHA-256$4096:a;b--c''d'") for text in statements)

    def test_only_known_statements_are_run(self) -> None:
        found = roles.parse(GLOBALS)
        assert found.created == ("app", 'the "owner"', "postgres", "last")
        assert found.skipped == ("CREATE TABLESPACE fast OWNER", "GRANT SET ON PARAMETER", "DROP ROLE postgres")
        assert found.set_in == ("ledger",)
        about = {statement.text.split()[0] + " " + statement.text.split()[1]: statement.roles for statement in found.statements}
        assert about["GRANT SET,"] == about["SECURITY LABEL"] == ("app",)

    @pytest.mark.parametrize(
        ("existing", "count"),
        [(set(), 11), ({"postgres"}, 9), ({"postgres", "app"}, 3), ({"postgres", 'the "owner"'}, 8), ({"postgres", "app", 'the "owner"', "last"}, 0)],
    )
    def test_what_exists_stays_as_it_is(self, existing: set[str], count: int) -> None:
        chosen = roles.select(roles.parse(GLOBALS), existing)
        assert len(chosen) == count, [statement.text for statement in chosen]
        assert all(set(statement.roles) - existing for statement in chosen)


class TestNames:
    @pytest.mark.parametrize(
        ("database", "name"), [("ledger", "ledger.dump"), ("a b", "a%20b.dump"), ("../x", "%2E.%2Fx.dump"), (".", "%2E.dump"), ("ü", "%C3%BC.dump")]
    )
    def test_of_objects(self, database: str, name: str) -> None:
        assert logical.object_name(database) == name

    @pytest.mark.parametrize("database", ["ledger", "x" * 63, "ü" * 31])
    def test_derived_names_fit(self, database: str) -> None:
        first, second = (restore.derived_name(database, word, "20261122T174200Z-1a2b3c4d") for word in ("restore", "before"))
        assert len(first.encode()) <= 63 and len(second.encode()) <= 63 and first != second
        assert first.endswith("__restore_20261122T174200Z-1a2b3c4d") and database.startswith(first.split("__")[0].partition("~")[0])
        assert ("~" in first) == (len(database) > 30)

    def test_derived_names_of_long_ones_that_begin_alike_differ(self) -> None:
        found = {restore.derived_name("x" * 62 + end, "restore", "20261122T174200Z-1a2b3c4d") for end in "abc"}
        assert len(found) == 3

    @pytest.mark.parametrize(("database", "argument"), [("a", "dbname='a'"), ("a=b'c\\d", r"dbname='a=b\'c\\d'")])
    def test_in_arguments(self, database: str, argument: str) -> None:
        assert conninfo(database) == argument


class TestChoices:
    PRESENT: t.ClassVar[list[dict[str, str]]] = [{"name": name} for name in ("app", "postgres", "web")]

    @pytest.mark.parametrize(
        ("wanted", "excluded", "empty", "chosen"),
        [
            ([], [], [], ["app", "postgres", "web"]),
            ([], [], ["postgres"], ["app", "web"]),
            (["postgres"], [], ["postgres"], ["postgres"]),
            ([], ["web", "not there"], [], ["app", "postgres"]),
            (["web", "app"], ["web"], [], ["app"]),
        ],
    )
    def test_databases(self, wanted: list[str], excluded: list[str], empty: list[str], chosen: list[str]) -> None:
        assert facts.select_databases(self.PRESENT, wanted, excluded, empty) == chosen

    @pytest.mark.parametrize(("wanted", "excluded"), [(["nothing"], []), (["app"], ["app"]), ([], ["app", "postgres", "web"])])
    def test_databases_refused(self, wanted: list[str], excluded: list[str]) -> None:
        with pytest.raises(InvalidInput):
            facts.select_databases(self.PRESENT, wanted, excluded)

    @pytest.mark.parametrize(
        ("exists", "empty", "on_existing", "action"),
        [
            (False, False, "fail", "create"),
            (False, False, "replace", "create"),
            (True, True, "fail", "replace"),
            (True, True, "rename", "replace"),
            (True, False, "rename", "rename"),
            (True, False, "replace", "replace"),
        ],
    )
    def test_existing(self, exists: bool, empty: bool, on_existing: str, action: str) -> None:
        assert restore.decide("app", exists, empty, on_existing) == action

    def test_a_full_database_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="it exists and is not empty; ask for on_existing=rename"):
            restore.decide("app", True, False, "fail")

    @pytest.mark.parametrize(
        ("installed", "major", "found"),
        [({}, 15, None), ({"a": 14}, 15, None), ({"a": 14, "b": 17, "c": 16}, 15, "c"), ({"a": 15, "c": 16}, 15, "a")],
    )
    def test_programs(self, installed: dict[str, int], major: int, found: str | None) -> None:
        assert client.choose(installed, major) == found

    @pytest.mark.parametrize(("version", "major"), [("15.18", 15), ("17beta1", 17), ("18", 18), ("9.6.24", 9)])
    def test_versions(self, version: str, major: int) -> None:
        assert client.major_of(version) == major


@pytest.mark.parametrize(("text", "elements"), [('"$user", public', ["$user", "public"]), ("", [""]), ('"a ""b"", c", d', ['a "b", c', "d"])])
def test_list_settings(text: str, elements: list[str]) -> None:
    """A stored list is taken apart, so that nothing in it can be more than a name."""
    assert fill.list_elements(text) == elements


@pytest.mark.parametrize(("answer", "text"), [(None, ""), (True, "true"), (False, "false"), (5, "5"), ("x", "x"), (1.5, "1.5")])
def test_answers_as_text(answer: object, text: str) -> None:
    """What ``expect`` is compared with."""
    assert throwaway.as_text(answer) == text


def test_the_password_is_in_memory_only() -> None:
    """The password file exists under /proc only, private, and is gone afterwards; nothing of it is in the variables."""
    with client_environment(Login(host="h", password="a:b\\c")) as environment:
        path = environment.variables["PGPASSFILE"]
        assert path == f"/proc/self/fd/{environment.pass_fds[0]}" and not any("a:b" in text for text in environment.variables.values())
        with open(path, encoding="utf-8") as file:
            assert file.read() == "*:*:*:*:a\\:b\\\\c\n"
    with pytest.raises(OSError, match=path):
        open(path, encoding="utf-8")  # noqa: SIM115
    assert "a:b" not in repr(Login(password="a:b"))


class TestVersions:
    @pytest.mark.parametrize(
        ("version", "found"),
        [
            ("15.19 (Debian 15.19-1)", []),
            ("15.18", ["CVE-2026-18408"]),
            ("15.13", ["CVE-2026-18408", "CVE-2025-8714"]),
            ("15.7", ["CVE-2026-18408", "CVE-2025-8714", "CVE-2024-7348"]),
            ("18.6", []),
            ("18.5", ["CVE-2026-18408"]),
            ("19beta1", []),
            ("13.22", ["CVE-2026-18408"]),
            ("11.22", ["CVE-2026-18408", "CVE-2025-8714", "CVE-2024-7348"]),
        ],
    )
    def test_that_lack_fixes(self, version: str, found: list[str]) -> None:
        assert facts.unfixed(version) == found

    def test_are_warned_of(self) -> None:
        (warning,) = logical.outdated({"the server": "17.6 (Debian 17.6-1)", "/usr/bin/pg_dump": "18.6"})
        assert warning.startswith("the server is of version 17.6, which lacks the fix for CVE-2026-18408: ")


class TestThrowaway:
    @staticmethod
    def manifest(loaded: list[str] | None, *libraries: str) -> t.Any:
        class Holder:
            source = {"preload_libraries": loaded}
            contents = {"databases": [{"extension_libraries": list(libraries)}, {}]}

        return Holder

    @pytest.mark.parametrize(
        ("loaded", "libraries", "found"),
        [
            (["pg_stat_statements", "auto_explain"], ["pg_stat_statements", "hstore"], ("pg_stat_statements",)),
            (["timescaledb", "pg_cron"], ["timescaledb-2.17.2", "pg_cron"], ("timescaledb", "pg_cron")),
            ([], ["pg_stat_statements"], ()),
            (None, ["pg_stat_statements", "hstore", "citus"], ("citus", "pg_stat_statements")),
        ],
    )
    def test_loads_what_extensions_come_from(self, loaded: list[str] | None, libraries: list[str], found: tuple[str, ...]) -> None:
        assert throwaway.preload_libraries(self.manifest(loaded, *libraries)) == found


class TestRoom:
    def test_is_looked_for(self, tmp_path: t.Any) -> None:
        fill.check_room(str(tmp_path), "for a restore", 1)
        with pytest.raises(MainstayError, match=r"for a restore: about \d+ bytes are needed, \d+ are free; make room or name another one in work_dir"):
            fill.check_room(str(tmp_path), "for a restore", 1 << 60)
        with pytest.raises(MainstayError, match="No such file or directory"):
            fill.check_room(str(tmp_path / "none"), "for a restore", 1)


class TestCollations:
    def test_of_another_version_are_named(self) -> None:
        database = {"name": "ledger", "collations": {"(default)": "2.36", "public.german": "153.120", "public.gone": "1"}}
        (warning,) = fill.changed_collations(database, {"(default)": "2.36", "public.german": "153.121"})
        assert warning.startswith("the collation public.german of ledger was backed up at version 153.120 and is at 153.121 here")


class TestGroup:
    def test_returns_by_name_and_begins_in_order(self) -> None:
        begun: list[str] = []
        tasks = {name: functools.partial(lambda name: begun.append(name) or name.upper(), name) for name in "abcde"}
        assert Group().run(tasks, 1) == {name: name.upper() for name in "abcde"} and begun == list("abcde")
        assert Group().run(tasks, 3) == {name: name.upper() for name in "abcde"}

    def test_the_first_error_counts_and_stops_the_rest(self) -> None:
        group, running, ran = Group(), threading.Event(), []

        def fail() -> None:
            running.wait(5)
            raise InvalidInput("do it", "it cannot be")

        def wait() -> None:
            running.set()
            assert group.stopping.wait(5)
            raise MainstayError("go on", "the other one had failed")

        with pytest.raises(InvalidInput, match="it cannot be"):
            group.run({"fails": fail, "waits": wait, "never": lambda: ran.append(1)}, 2)
        assert ran == []

    def test_a_running_program_and_a_running_query_are_ended(self) -> None:
        group, cancelled = Group(), threading.Event()

        class Connection:
            def cancel(self) -> None:
                cancelled.set()

        def query() -> None:
            group.watch(Connection())
            assert cancelled.wait(10)

        def program() -> None:
            run(Command(("sleep", "60")), "sleep")

        def fail() -> None:
            time.sleep(0.3)
            raise InvalidInput("do it", "it cannot be")

        before = time.monotonic()
        with pytest.raises(InvalidInput):
            group.run({"query": query, "program": program, "fail": fail}, 3)
        assert time.monotonic() - before < 9
        with pytest.raises(Stopped):
            group.watch(Connection())
