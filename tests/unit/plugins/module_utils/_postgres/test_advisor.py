# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgements of the report on a PostgreSQL server, which need no server: from rows to findings, and from findings to a report."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor import bloat, indexes, metrics, reading, run, server, sessions, tables
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import SEVERITIES, Context, Finding, Row, Server, Thresholds, quoted
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.report import combine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.statements import SHOWN_CHARACTERS, masked, shown

DAY = 86400.0


def context(version: int = 15, standby: bool = False, database: str = "app", age: float = 60 * DAY, **limits: t.Any) -> Context:
    """What judgements look at."""
    settings = {
        "block_size": "8192", "max_connections": "100", "superuser_reserved_connections": "3", "reserved_connections": "2", "archive_mode": "on",
        "archive_command": "push %p", "autovacuum_freeze_max_age": "200000000", "autovacuum_multixact_freeze_max_age": "400000000",
        "autovacuum_vacuum_threshold": "50", "autovacuum_vacuum_scale_factor": "0.2", "autovacuum_analyze_threshold": "50",
        "autovacuum_analyze_scale_factor": "0.1", "fsync": "on", "data_checksums": "on",
    }  # fmt: skip
    known = Server(version * 10000, str(version), standby, age, age, True, settings)
    return Context(known, Thresholds(**limits), shown, database, age)


def verdicts(found: t.Iterable[Finding]) -> list[tuple[str, str]]:
    """Kinds and severities."""
    return [(finding.id, finding.severity) for finding in found]


class TestStatements:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("SELECT 1", "SELECT 0"),
            ("SELECT 'a''b', 12.5e3, .5, 0x1F FROM t1 WHERE c$2 = $1", "SELECT '***', 0, 0, 0 FROM t1 WHERE c$2 = $1"),
            ("ALTER ROLE x PASSWORD 'secret'", "ALTER ROLE x PASSWORD '***'"),
            (r"SELECT E'it\'s secret', e'\\' , 'x'", "SELECT '***', '***' , '***'"),
            ("SELECT $$secret$$, $tag$ secret $$ $tag$, x", "SELECT '***', '***', x"),
            ("SELECT 1 -- secret\n, 2", "SELECT 0 , 0"),
            ("SELECT /* secret /* nested */ secret */ x", "SELECT x"),
            ('SELECT "a ""1"" \'b\'" FROM "t"', 'SELECT "a ""1"" \'b\'" FROM "t"'),
            ("SELECT B'101', x'1F', N'secret'", "SELECT '***', '***', '***'"),
            ("SELECT U&'secret' FROM e", "SELECT U&'***' FROM e"),
            ("SELECT 'secret that was cut of", "SELECT '***'"),
            ("SELECT $$secret that was cut of", "SELECT '***'"),
            ("SELECT x /* secret that was cut of", "SELECT x"),
            ("SELECT E'secret\\", "SELECT '***'"),
            # Where this literal ends depends on a setting of the session.
            (r"SELECT 'C:\', 'secret'", "SELECT '***' ..."),
            ("", ""),
        ],
    )
    def test_literals_and_comments_are_taken_out(self, text: str, left: str) -> None:
        assert " ".join(masked(text).split()) == left and "secret" not in shown(text)

    def test_what_is_shown_is_one_short_line(self) -> None:
        assert shown("SELECT\n  a,\n\tb") == "SELECT a, b" and shown(None) == "" and shown("SELECT 'x'", mask=False) == "SELECT 'x'"
        long = shown("SELECT " + "a, " * 1000)
        assert len(long) <= SHOWN_CHARACTERS and long.endswith(" ...")

    @pytest.mark.parametrize(
        ("calls", "mean", "share", "verdict"),
        [(10, 1.0, 1, [("slow_statement", "warning")]), (9, 99, 99, []), (10, 0.9, 24, []), (10, 0.1, 25, [("dominant_statement", "info")])],
    )
    def test_slow_each_time_or_most_of_the_time(self, calls: int, mean: float, share: float, verdict: list[t.Any]) -> None:
        row = {
            "query": "SELECT 'x'", "calls": calls, "mean_seconds": mean, "max_seconds": mean, "total_seconds": calls * mean, "share_percent": share,
            "database": "app", "query_id": "1", "role": "app", "rows": 1, "read_bytes": 0, "temp_bytes": 0,
        }  # fmt: skip
        found = list(sessions.judge_statements(context(), [row]))
        assert verdicts(found) == verdict and all(finding.object == "SELECT '***'" for finding in found)


class TestSessions:
    @pytest.mark.parametrize(("used", "severity"), [(85, []), (86, ["warning"]), (90, ["warning"]), (91, ["critical"]), (95, ["critical"])])
    def test_connections_without_those_that_are_reserved(self, used: int, severity: list[str]) -> None:
        row = {"used": used, "active": 1, "idle": used - 1, "idle_in_transaction": 0, "most_by_role": {}}
        assert [finding.severity for finding in sessions.judge_connections(context(), [row])] == severity

    @pytest.mark.parametrize(("seconds", "severity"), [(None, []), (29, []), (30, ["warning"]), (300, ["critical"])])
    def test_waits(self, seconds: float | None, severity: list[str]) -> None:
        row = {"pid": 7, "role": "app", "application": "", "database": "app", "seconds": seconds, "query": "", "blockers": [], "mode": "x", "locktype": "y"}
        found = list(sessions.judge_locks(context(), [row]))
        assert [finding.severity for finding in found] == severity
        assert all(finding.sql == "" and "a prepared transaction" in finding.problem and finding.object == "session 7 of app" for finding in found)


class TestServer:
    @pytest.mark.parametrize(
        ("xids", "multixacts", "expected"),
        [
            (200_000_000, 400_000_000, []),
            (300_000_000, 0, [("xid_wraparound", "warning")]),
            (1_395_864_371, 0, [("xid_wraparound", "warning")]),
            (1_395_864_372, 599_999_999, [("xid_wraparound", "critical")]),
            (0, 600_000_000, [("multixact_wraparound", "warning")]),
        ],
    )
    def test_wraparound(self, xids: int, multixacts: int, expected: list[t.Any]) -> None:
        assert verdicts(server.judge_wraparound(context(), [{"database": "app", "xids": xids, "multixacts": multixacts}])) == expected

    def test_a_late_factor_beyond_the_critical_point_changes_nothing(self) -> None:
        row = {"database": "app", "xids": 1_500_000_000, "multixacts": 0}
        assert verdicts(server.judge_wraparound(context(wraparound_late_factor=100), [row])) == [("xid_wraparound", "critical")]

    @pytest.mark.parametrize(
        ("seconds", "size", "expected", "unit"),
        [
            (None, 0, [], ""),
            (59.0, 1, [], ""),
            (60.0, 0, ["warning"], "seconds"),
            (600.0, 1 << 40, ["critical"], "seconds"),
            (59.0, 268435456, ["warning"], "bytes"),
        ],
    )
    def test_lag(self, seconds: float | None, size: int, expected: list[str], unit: str) -> None:
        found = list(server.judge_replication(context(), [{"name": "data2", "address": "10.0.0.2", "seconds": seconds, "bytes": size}]))
        assert [finding.severity for finding in found] == expected and [finding.unit for finding in found] == ([unit] if unit else [])

    @pytest.mark.parametrize(
        ("active", "standby", "status", "size", "expected"),
        [
            (True, False, "reserved", 1 << 20, []),
            (False, False, "reserved", 0, [("inactive_slot", "warning")]),
            # A standby keeps slots for the day that it leads.
            (False, True, "reserved", 1 << 20, []),
            (False, True, "extended", 2 << 30, [("inactive_slot", "warning")]),
            (True, False, "extended", 20 << 30, [("slot_behind", "critical")]),
            (False, False, "lost", None, [("lost_slot", "critical")]),
        ],
    )
    def test_slots(self, active: bool, standby: bool, status: str, size: int | None, expected: list[t.Any]) -> None:
        row = {"name": "it's", "type": "physical", "database": "", "active": active, "wal_status": status, "bytes": size}
        found = list(server.judge_slots(context(standby=standby), [row]))
        assert verdicts(found) == expected
        assert all(finding.sql == ("" if active else "SELECT pg_drop_replication_slot('it''s');") for finding in found)

    @pytest.mark.parametrize(
        ("archived", "failed", "expected"), [(None, None, 0), (5.0, None, 0), (5.0, 60.0, 0), (60.0, 5.0, 1), (None, 5.0, 1)]
    )
    def test_the_archive_fails_if_its_last_try_did(self, archived: float | None, failed: float | None, expected: int) -> None:
        row = {"archived_count": 1, "failed_count": 2, "last_failed_wal": "0001", "archived_seconds": archived, "failed_seconds": failed}
        assert len(list(server.judge_archiver(context(), [row]))) == expected

    @pytest.mark.parametrize(("timed", "requested", "expected"), [(0, 9, 0), (0, 10, 1), (10, 10, 1), (11, 10, 0)])
    def test_checkpoints(self, timed: int, requested: int, expected: int) -> None:
        assert len(list(server.judge_checkpoints(context(), [{"timed": timed, "requested": requested, "counters_seconds": DAY}]))) == expected

    def test_temporary_files_of_less_than_a_day_are_not_multiplied(self) -> None:
        row = {"database": "app", "temp_bytes": 6 << 30, "temp_files": 3, "counters_seconds": 3600.0}
        assert list(server.judge_temp_files(context(), [row])) == []
        assert verdicts(server.judge_temp_files(context(), [{**row, "temp_bytes": 30 << 30, "counters_seconds": 2 * DAY}])) == [("temp_files", "warning")]


def index(name: str, columns: list[str], **more: t.Any) -> Row:
    """An index as it is read."""
    plain = {
        "table_id": 1, "schema": "public", "table": "t", "method": "btree", "bytes": 8192, "is_unique": False, "is_primary": False, "is_identity": False,
        "is_constraint": False, "scans": 0, "included": [], "expressions": "", "predicate": "",
    }  # fmt: skip
    return {**plain, "name": name, "columns": [f"{column}:1:0:0" for column in columns], **more}


class TestIndexes:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ([index("a", ["1"]), index("b", ["2"])], []),
            ([index("a", ["1"]), index("b", ["1"])], [("a", "b", True)]),
            # The used one stays, and what keeps something unique; the primary key above all.
            ([index("a", ["1"], scans=5), index("b", ["1"])], [("b", "a", True)]),
            ([index("a", ["1"], scans=5), index("b", ["1"], is_unique=True)], [("a", "b", True)]),
            ([index("a", ["1"], is_unique=True, scans=9), index("b", ["1"], is_unique=True, is_primary=True, is_constraint=True)], [("a", "b", True)]),
            ([index("a", ["1"]), index("b", ["1", "2"])], [("a", "b", False)]),
            ([index("a", ["2"]), index("b", ["1", "2"])], []),
            ([index("a", ["1"], is_unique=True), index("b", ["1", "2"])], []),
            ([index("a", ["1"], predicate="p"), index("b", ["1", "2"])], []),
            ([index("a", ["1"], included=[3]), index("b", ["1", "2"])], []),
            ([index("a", ["1"], included=[3]), index("b", ["1", "2"], included=[3])], [("a", "b", False)]),
            ([index("a", ["0"], expressions="lower(x)"), index("b", ["0", "2"], expressions="lower(y)")], []),
            ([index("a", ["1"], method="hash"), index("b", ["1", "2"])], []),
            ([index("a", ["1"]), index("b", ["1"], table_id=2)], []),
            ([index("a", ["1"]), index("b", ["1"]), index("c", ["1"])], [("a", "b", True), ("b", "c", True)]),
        ],
    )
    def test_duplicates(self, given: list[Row], expected: list[tuple[str, str, bool]]) -> None:
        found = list(indexes.judge_duplicates(context(), given))
        pairs = [(finding.object.removeprefix("public."), finding.details["other"], finding.id == "duplicate_index") for finding in found]
        # One always stays, whatever it is compared with.
        assert [(name, same) for name, _other, same in pairs] == [(name, same) for name, _other, same in expected]
        assert len({finding.object for finding in found}) < len(given)

    def test_a_constraint_is_not_dropped_as_an_index(self) -> None:
        unique = {"is_unique": True, "is_constraint": True}
        found = list(indexes.judge_duplicates(context(), [index("a", ["1"], **unique), index("b", ["1"], **unique)]))
        assert [(finding.object, finding.sql) for finding in found] == [("public.a", "")] and "constraint" in found[0].recommendation

    @pytest.mark.parametrize(
        ("scans", "idle", "age", "size", "expected"),
        [
            (0, None, 29 * DAY, 1 << 20, ["info"]),
            (0, None, 30 * DAY, 1 << 20, ["warning"]),
            (0, None, 30 * DAY, (1 << 20) - 1, []),
            (5, 29 * DAY, 90 * DAY, 1 << 20, []),
            (5, 31 * DAY, 90 * DAY, 1 << 20, ["warning"]),
        ],
    )
    def test_unused(self, scans: int, idle: float | None, age: float, size: int, expected: list[str]) -> None:
        row = {"schema": "public", "name": 'odd"name', "table": "t", "bytes": size, "scans": scans, "idle_seconds": idle}
        found = list(indexes.judge_unused(context(age=age), [row]))
        assert [finding.severity for finding in found] == expected
        assert all(finding.sql == 'DROP INDEX CONCURRENTLY "public"."odd""name";' for finding in found)

    @pytest.mark.parametrize(("name", "statement"), [("i", 'REINDEX INDEX CONCURRENTLY "s"."i";'), ("i_ccnew1", 'DROP INDEX CONCURRENTLY "s"."i_ccnew1";')])
    def test_what_a_reindex_left_is_dropped(self, name: str, statement: str) -> None:
        assert [finding.sql for finding in indexes.judge_invalid(context(), [{"schema": "s", "name": name, "table": "t", "bytes": 0}])] == [statement]


class TestTables:
    def row(self, **more: t.Any) -> Row:
        """A table as it is read for autovacuum."""
        plain = {"schema": "s", "name": "t", "rows": 1e6, "dead": 0, "changed": 0, "options": [], "vacuumed_seconds": None, "analyzed_seconds": None}
        return {**plain, **more}

    def test_when_autovacuum_begins(self) -> None:
        assert tables.due(context(), self.row(), "vacuum") == 200050 and tables.due(context(), self.row(), "analyze") == 100050
        own = self.row(options=["autovacuum_vacuum_scale_factor=0.01", "autovacuum_vacuum_threshold=7"])
        assert tables.due(context(), own, "vacuum") == 10007
        newer = context(18)
        settings = {**newer.server.settings, "autovacuum_vacuum_max_threshold": "1000"}
        capped = dataclasses.replace(newer, server=dataclasses.replace(newer.server, settings=settings))
        assert tables.due(capped, self.row(), "vacuum") == 1000 and tables.due(capped, self.row(), "analyze") == 100050

    @pytest.mark.parametrize(("dead", "expected"), [(400099, []), (400100, [("dead_rows", "warning")])])
    def test_late(self, dead: int, expected: list[t.Any]) -> None:
        assert verdicts(tables.judge_vacuum(context(), [self.row(dead=dead)])) == expected

    def test_few_rows_are_passed_over(self) -> None:
        assert verdicts(tables.judge_vacuum(context(), [self.row(rows=10.0, dead=9999, changed=10000)])) == [("stale_statistics", "info")]

    @pytest.mark.parametrize(
        ("last", "highest", "step", "kind", "expected"),
        [
            (None, 100, 1, "", []),
            (86, 100, 1, "", ["warning"]),
            (85, 100, 1, "", []),
            (2**31 - 2, 2**63 - 1, 1, "bigint", []),
            (2**31 - 2, 2**63 - 1, 1, "integer", ["critical"]),
            (32000, 2**63 - 1, 1, "smallint", ["critical"]),
            (4, 100, -1, "", ["critical"]),
            (50, 100, -1, "", []),
        ],
    )
    def test_sequences(self, last: int | None, highest: int, step: int, kind: str, expected: list[str]) -> None:
        row = {"schema": "s", "name": "q", "lowest": 1, "highest": highest, "step": step, "last": last, "visible": True, "column": "t.id", "type": kind}
        assert [finding.severity for finding in tables.judge_sequences(context(), [row])] == expected

    def test_what_is_named(self) -> None:
        assert tables.named("cannot read", [], "ask") == ""
        assert tables.named("cannot read", list("abcdefg"), "ask") == "cannot read a, b, c, d, e and 2 more; ask"
        assert quoted("a", 'b"c') == '"a"."b""c"'


class TestBloat:
    def test_pages_of_a_table(self) -> None:
        # 8168 bytes a page, 4 + 24 + 8 a row of one int: 226 rows, as any table of ints has.
        assert bloat.table_pages(8192, 226, 4, 1, False) == 1 and bloat.table_pages(8192, 227, 4, 1, False) == 2
        assert bloat.table_pages(8192, 226, 4, 1, False, fill=50) == 2 and bloat.table_pages(8192, 0, 4, 1, False) == 0
        # Nine columns with nulls need a longer header: 23 + 2 bytes in words.
        assert bloat.table_pages(8192, 204, 4, 9, True) == 2 and bloat.table_pages(8192, 10, 9000, 1, False) == 10

    def test_pages_of_an_index(self) -> None:
        # 8152 bytes a page, 90 % of them used, 4 + 8 + 8 an entry, and the first page.
        assert bloat.index_pages(8192, 366, 4, False) == 2 and bloat.index_pages(8192, 367, 4, False) == 3
        assert bloat.index_pages(8192, 366, 4, True) == 3

    @pytest.mark.parametrize(("pages", "expected"), [(200_000, []), (300_000, [("bloated_table", "warning")]), (1_000_000, [("bloated_table", "critical")])])
    def test_of_a_table(self, pages: int, expected: list[t.Any]) -> None:
        row = {"schema": "s", "name": "t", "rows": 226 * 100_000.0, "pages": pages, "options": [], "columns": 1, "known": 1, "nulls": False, "width": 4.0}
        assert verdicts(bloat.judge_tables(context(bloat_percent=60), [row])) == expected
        assert verdicts(bloat.judge_tables(context(), [{**row, "options": ["fillfactor=10"]}])) == []

    def test_what_is_not_known(self) -> None:
        row = {"schema": "s", "name": "t", "rows": 5.0, "columns": 2, "known": 1, "visible": True}
        assert bloat.unknown(context(), [row, {**row, "name": "u", "visible": False}, {**row, "known": 2, "name": "v"}]) == (
            "the login may not read the statistics of s.u; grant it pg_read_all_data, or SELECT. there are no statistics of all columns of s.t; run ANALYZE"
        )
        assert not bloat.is_known({**row, "known": 2, "rows": -1.0})


class TestVersions:
    """Names that changed between versions."""

    @pytest.mark.parametrize(
        ("query", "old", "new", "since"),
        [
            ("checkpoints", "checkpoints_req AS requested", "num_requested AS requested", 17),
            ("checkpoints", "FROM pg_stat_bgwriter", "FROM pg_stat_checkpointer", 17),
            ("unused_indexes", "NULL::float8", "s.last_idx_scan", 16),
            ("locks", "coalesce(a.query_start", "coalesce(l.waitstart", 14),
        ],
    )
    def test_questions(self, query: str, old: str, new: str, since: int) -> None:
        check = next(check for check in (*run.OF_SERVER, *run.OF_DATABASE) if check.name == query)
        before, after = check.query(context(since - 1).server), check.query(context(since).server)
        assert old in before and new not in before and new in after and old not in after

    def test_a_standby_is_asked_for_what_it_has(self) -> None:
        assert "pg_current_wal_lsn" not in server._slots(context(standby=True).server) + server._replication(context(standby=True).server)


class TestChoices:
    PRESENT: t.ClassVar[list[reading.Database]] = [reading.Database(name, 1, 1.0, name.startswith("template"), "") for name in ("app", "postgres", "template1")]

    @pytest.mark.parametrize(
        ("wanted", "excluded", "chosen"),
        [([], [], ["app", "postgres"]), (["template1"], [], ["template1"]), ([], ["app", "x"], ["postgres"]), (["app"], ["app"], [])],
    )
    def test_databases(self, wanted: list[str], excluded: list[str], chosen: list[str]) -> None:
        assert [database.name for database in reading.choose(self.PRESENT, wanted, excluded)] == chosen

    def test_a_database_that_is_not_there(self) -> None:
        with pytest.raises(InvalidInput, match="look at nope: there is no such database; there are app, postgres, template1"):
            reading.choose(self.PRESENT, ["nope"], [])

    def test_thresholds(self) -> None:
        assert Thresholds.from_params(dataclasses.asdict(Thresholds())) == Thresholds()
        with pytest.raises(InvalidInput, match="the threshold lag_bytes is negative"):
            Thresholds.from_params({"lag_bytes": -1})

    @pytest.mark.parametrize(
        ("option", "said"),
        [({"limit": 0}, "limit is 0"), ({"timeout": 0}, "timeout is 0"), ({"metrics_file": "/x.txt"}, "end in .prom"), ({"min_age": "long"}, "long")],
    )
    def test_options_that_cannot_be_right(self, option: dict[str, t.Any], said: str) -> None:
        plain = {name: spec.get("default") for name, spec in run.argument_spec().items()}
        thresholds = {name: spec["default"] for name, spec in run.argument_spec()["thresholds"]["options"].items()}
        with pytest.raises(InvalidInput, match=said):
            run.Request.from_params({**plain, "thresholds": thresholds, **option})

    @pytest.mark.parametrize(
        ("name", "standby", "sees_all", "age", "said"),
        [
            ("locks", False, False, DAY, "pg_monitor"),
            ("locks", True, True, 1.0, ""),
            ("archiver", True, True, DAY, "on the primary"),
            ("unused_indexes", True, False, DAY, ""),
            ("unused_indexes", False, True, DAY - 1, "less than min_age"),
            ("duplicate_indexes", False, False, 1.0, ""),
        ],
    )
    def test_what_stands_in_the_way(self, name: str, standby: bool, sees_all: bool, age: float, said: str) -> None:
        known = context(standby=standby, age=age)
        known = dataclasses.replace(known, server=dataclasses.replace(known.server, sees_all=sees_all))
        reason = run.obstacle(next(check for check in (*run.OF_SERVER, *run.OF_DATABASE) if check.name == name), known, DAY)
        assert said in reason and bool(said) == bool(reason)


def finding(kind: str, severity: str, name: str, database: str = "app", check: str = "x") -> dict[str, t.Any]:
    """A finding as the module returns it."""
    return {"id": kind, "check": check, "severity": severity, "object": name, "database": database, "problem": "is so", "recommendation": "Do it.", "sql": ""}


def result(*findings: dict[str, t.Any], refusal: str = "") -> dict[str, t.Any]:
    """What the module returns."""
    return {
        "findings": list(findings), "not_judged": [{"check": "cache", "database": "app", "reason": "too young"}], "omitted": {}, "server": {"role": "primary"},
        "databases": [{"name": "app", "refusal": refusal}],
    }  # fmt: skip


class TestReport:
    def test_what_members_share_is_told_once(self) -> None:
        shared, own = finding("no_primary_key", "info", "public.t"), finding("pending_restart", "warning", "work_mem", "")
        worse = {**shared, "severity": "critical"}
        report = combine({"a": result(shared, own), "b": result(worse)}, "2027-01-01T00:00:00Z")
        assert [(each["id"], each["severity"], each["members"]) for each in report["findings"]] == [
            ("no_primary_key", "critical", ["a", "b"]), ("pending_restart", "warning", ["a"]),
        ]  # fmt: skip
        assert report["findings_by_severity"] == {"critical": 1, "warning": 1, "info": 0} and report["silent"] == []
        assert report["summary"] == "2 of 2 members answered; findings: 1 critical, 1 warning, 0 info."
        assert [check["status"] for check in report["checks"]] == ["failed", "warning"]
        assert report["lines"][:3] == ["critical  app: public.t is so (a, b)", "            Do it.", "warning   work_mem is so (a)"]
        assert "          not judged: b, app, cache: too young" in report["lines"]

    def test_an_index_that_any_member_uses_is_not_unused(self) -> None:
        one, both = (finding("unused_index", "warning", name, check="unused_indexes") for name in ("public.one", "public.both"))
        report = combine({"a": result(one, both), "b": result(both)}, "")
        assert [each["object"] for each in report["findings"]] == ["public.both"] and report["unused_on_some_members_only"] == ["app: public.one"]
        # Of a member that does not answer nobody knows.
        silent = combine({"a": result(both), "b": {"msg": "gone", "failed": True}}, "")
        assert silent["findings"] == [] and silent["silent"] == ["b"] and silent["lines"][0] == "critical  b does not answer: gone"
        assert silent["checks"][0] == {"name": "b: does not answer", "status": "failed", "evidence": "gone"}

    def test_a_database_that_was_not_looked_at(self) -> None:
        report = combine({"a": result(refusal="no right")}, "")
        assert {"member": "a", "check": "", "database": "app", "reason": "no right"} in report["not_judged"]

    def test_figures(self) -> None:
        figures = metrics.Figures(5432, {("locks", "critical"): 2}, ("locks", "cache"), 3, 1.5, None)
        text = metrics.render(figures, 1000.5)
        assert 'mainstay_postgres_findings{check="locks",severity="critical",port="5432"} 2\n' in text
        assert text.count("mainstay_postgres_findings{") == 2 * len(SEVERITIES)
        assert 'mainstay_postgres_report_timestamp_seconds{port="5432"} 1000.5\n' in text and "late_after" not in text
        assert "late_after_seconds" in metrics.render(dataclasses.replace(figures, late_after=60), 1.0)
