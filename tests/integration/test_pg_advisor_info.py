# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_advisor_info against real servers: each finding is provoked, and a quiet server has none."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import typing as t

import playbooks
import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from conftest import SENTINEL, PostgresServer, Runner, postgresql
from postgres_cluster import Cluster, streaming_cluster, until

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor import reading
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.run import argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.run import run as advise
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login

Result = dict[str, t.Any]
Ask = t.Callable[..., Result]
SECRET = "Sentinelliteral4711"
NO_FSYNC = {("unsafe_setting", "critical", "fsync")}
"""What the servers of the tests have in common."""


@pytest.fixture(scope="module")
def server(server_root: pathlib.Path) -> t.Iterator[PostgresServer]:
    """A server as production would have it, but small."""
    settings: dict[str, t.Any] = {
        "shared_preload_libraries": "pg_stat_statements", "max_connections": 25, "max_prepared_transactions": 5, "shared_buffers": "4MB",
        "archive_mode": "on", "archive_command": "/bin/true", "wal_level": "logical", "max_slot_wal_keep_size": "2MB", "min_wal_size": "4MB",
    }  # fmt: skip
    with postgresql(server_root / "pg-advisor", "-k", "--wal-segsize=1", **settings) as running:
        running.query("CREATE EXTENSION pg_stat_statements")
        running.query("CREATE DATABASE quiet")
        running.query(
            "CREATE TABLE parents (id bigserial PRIMARY KEY, name text UNIQUE);"
            "CREATE TABLE children (id bigserial PRIMARY KEY, parent bigint REFERENCES parents);"
            "CREATE INDEX ON children (parent); INSERT INTO parents (name) SELECT 'n' || g FROM generate_series(1, 20000) g;"
            "INSERT INTO children (parent) SELECT id FROM parents",
            "quiet",
        )
        counted(running, "quiet", "n_tup_ins >= 20000", "children")
        running.query("VACUUM ANALYZE", "quiet")
        # What made the data is no statement of an application.
        running.query("SELECT pg_stat_statements_reset()")
        yield running


@pytest.fixture
def ask(server: PostgresServer) -> Ask:
    """Ask the server what the module asks, in this process: most of the time of a module is its start."""

    def run(**options: t.Any) -> Result:
        checked = ArgumentSpecValidator(argument_spec()).validate({**server.login, "min_age": "0", **options})
        assert not checked.error_messages, checked.error_messages
        result, warnings = advise(checked.validated_parameters, check_mode=False)
        return {"failed": False, "warnings": warnings, **json.loads(json.dumps(result))}

    return run


@pytest.fixture
def app(server: PostgresServer) -> t.Iterator[str]:
    """A new database."""
    server.query("CREATE DATABASE app")
    try:
        yield "app"
    finally:
        server.drop("app")


def by_id(result: Result, name: str) -> list[Result]:
    """Return the findings of a kind."""
    assert not result["failed"], result
    return [finding for finding in result["findings"] if finding["id"] == name]


def ids(result: Result) -> set[tuple[str, str, str]]:
    """Return what was found: kind, severity, object."""
    assert not result["failed"], result
    return {(finding["id"], finding["severity"], finding["object"]) for finding in result["findings"]}


def counted(server: PostgresServer, database: str, condition: str, table: str) -> None:
    """Wait until the counters of a table say something, which sessions report with some delay."""
    until(lambda: server.query(f"SELECT {condition} FROM pg_stat_user_tables WHERE relname = '{table}'", database)[0][0], f"{condition} of {table}")


def test_a_quiet_server_has_no_findings(server: PostgresServer, ask: Ask) -> None:
    with setting(server, "fsync", "on"):
        found = ask(databases=["quiet", "postgres"])
    assert found["findings"] == [] and found["lines"] == [] and found["worst"] == "" and found["omitted"] == {}, found
    assert found["summary"] == {"critical": 0, "warning": 0, "info": 0} and found["not_judged"] == [] and found["warnings"] == []
    assert found["server"]["role"] == "primary" and found["server"]["sees_all"] and found["server"]["version_num"] // 10000 >= 13
    assert found["server"]["version"] and found["server"]["uptime_seconds"] > 0 and found["server"]["counters_seconds"] > 0 and found["seconds"] > 0
    assert [(each["name"], each["refusal"]) for each in found["databases"]] == [("postgres", ""), ("quiet", "")]
    assert all(each["bytes"] > 1_000_000 and each["counters_seconds"] > 0 for each in found["databases"])


def test_young_counters_are_no_verdict(ask: Ask) -> None:
    found = ask(databases=["quiet"], min_age="1d")
    young = {(each["check"], each["database"]) for each in found["not_judged"] if each["reason"].endswith("old, which is less than min_age")}
    both = {("cache", "quiet"), ("temp_files", "quiet"), ("unused_indexes", "quiet"), ("missing_indexes", "quiet"), ("checkpoints", "")}
    # Before version 14 nobody knows how old those of the statements are.
    statements = {("statements", "")} if found["server"]["version_num"] >= 140000 else set()
    assert young == both | statements, found["not_judged"]
    assert ids(found) == NO_FSYNC and 'check="cache"' not in found["metrics"] and 'check="locks"' in found["metrics"]


def test_indexes(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query(
        'CREATE TABLE "Big" (id int PRIMARY KEY, a int, b int, c text); INSERT INTO "Big" SELECT g, g, g % 7, g::text FROM generate_series(1, 60000) g;'
        'CREATE INDEX twin1 ON "Big" (a); CREATE INDEX twin2 ON "Big" (a); CREATE INDEX longer ON "Big" (a, b); CREATE INDEX part ON "Big" (a) WHERE b = 3;'
        'CREATE INDEX lower1 ON "Big" (lower(c)); CREATE INDEX lower2 ON "Big"  ( lower( c ) ); CREATE INDEX other ON "Big" (a DESC);'
        'CREATE UNIQUE INDEX again ON "Big" (id); CREATE TABLE child (id int PRIMARY KEY, big int REFERENCES "Big", b int);'
        "INSERT INTO child SELECT g, g FROM generate_series(1, 3000) g; CREATE INDEX used ON child (b); ANALYZE",
        app,
    )
    with contextlib.suppress(psycopg2.Error):
        server.query('CREATE UNIQUE INDEX CONCURRENTLY broken ON "Big" (b)', app)
    # An index that is built is a scan, too.
    server.query("SELECT count(*) FROM child WHERE big > 0;" * 30, app)
    server.query("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM child WHERE b = 3", app)
    counted(server, app, "seq_scan >= 30 AND idx_scan >= 1", "child")
    limits = {"scan_count": 30, "scan_rows": 1000, "referencing_rows": 1000, "unused_index_days": 0, "unused_index_bytes": 8192}
    checks = ["unused_indexes", "duplicate_indexes", "missing_indexes", "foreign_keys", "invalid_indexes", "primary_keys"]
    found = ask(databases=[app], checks=checks, thresholds=limits)
    # What keeps something unique is never called unused, nor is what was used.
    unused = {finding["object"] for finding in by_id(found, "unused_index")}
    assert unused == {f"public.{name}" for name in ("twin1", "twin2", "longer", "part", "lower1", "lower2", "other")}
    finding = next(finding for finding in by_id(found, "unused_index") if finding["object"] == "public.twin1")
    assert finding["measured"] == server.query("SELECT pg_relation_size('twin1')", app)[0][0] and finding["threshold"] == 8192 and finding["unit"] == "bytes"
    assert finding["severity"] == "warning" and finding["database"] == app and finding["check"] == "unused_indexes"
    assert finding["details"] == {"scans": 0, "unused_seconds": finding["details"]["unused_seconds"], "table": "Big", "member": "primary"}
    assert finding["sql"] == 'DROP INDEX CONCURRENTLY "public"."twin1";'
    twins = {(finding["object"], finding["details"]["other"]) for finding in by_id(found, "duplicate_index")}
    assert twins == {("public.twin1", "twin2"), ("public.lower1", "lower2"), ("public.again", "Big_pkey")}
    assert {finding["object"] for finding in by_id(found, "redundant_index")} == {"public.twin1", "public.twin2"} - {name for name, _other in twins}
    assert [(finding["object"], finding["severity"]) for finding in by_id(found, "invalid_index")] == [("public.broken", "warning")]
    scans = by_id(found, "sequential_scans")
    assert [scan["object"] for scan in scans] == ["public.child"] and scans[0]["details"]["scans"] >= 30 and 1000 <= scans[0]["measured"] <= 3000
    key = by_id(found, "unindexed_foreign_key")
    assert [each["object"] for each in key] == ["public.child.child_big_fkey"] and key[0]["measured"] == 3000
    assert by_id(found, "no_primary_key") == []
    # The statements do what they say.
    for finding in [*by_id(found, "duplicate_index"), *key, *by_id(found, "invalid_index")]:
        statement = finding["sql"].replace("REINDEX INDEX", "DROP INDEX") if finding["id"] == "invalid_index" else finding["sql"]
        server.query(statement, app)
    server.query("ANALYZE", app)
    again = ask(databases=[app], checks=checks, thresholds=limits)
    assert not {"duplicate_index", "unindexed_foreign_key", "invalid_index"} & {finding["id"] for finding in again["findings"]}
    first = ask(databases=[app], checks=checks, thresholds={**limits, "unused_index_days": 30}, limit=2)
    assert len(by_id(first, "unused_index")) == 2 and first["omitted"]["unused_indexes"] >= 2 and by_id(first, "unused_index")[0]["severity"] == "info"
    assert first["summary"]["info"] == len(by_id(first, "unused_index")) + first["omitted"]["unused_indexes"] + len(by_id(first, "redundant_index"))


def test_tables(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query(
        "CREATE TABLE wide (id int PRIMARY KEY, name text, n int) WITH (autovacuum_enabled = off);"
        "INSERT INTO wide SELECT g, repeat('x', g % 50), g FROM generate_series(1, 60000) g; CREATE INDEX wide_n ON wide (n);"
        "CREATE TABLE full_one (id int, name text); INSERT INTO full_one SELECT g, repeat('x', g % 50) FROM generate_series(1, 60000) g;"
        "CREATE SEQUENCE ending MAXVALUE 100; SELECT setval('ending', 90); CREATE TABLE narrow (id serial PRIMARY KEY);"
        "ALTER SEQUENCE narrow_id_seq AS bigint; SELECT setval('narrow_id_seq', 2100000000);"
        "CREATE SEQUENCE round MAXVALUE 10 CYCLE; SELECT setval('round', 10);"
        "CREATE SEQUENCE falling INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT setval('falling', -97); CREATE EXTENSION pgstattuple",
        app,
    )
    counted(server, app, "n_tup_ins >= 60000", "wide")
    counted(server, app, "n_tup_ins >= 60000", "full_one")
    server.query("ANALYZE", app)
    server.query("DELETE FROM wide WHERE id % 10 <> 0", app)
    counted(server, app, "n_dead_tup >= 54000", "wide")
    limits = {"bloat_warning_bytes": 500_000, "bloat_critical_bytes": 100_000_000, "vacuum_rows": 1000}
    checks = ["vacuum", "bloat", "sequences", "primary_keys"]
    found = ask(databases=[app], checks=checks, thresholds=limits)
    dead = by_id(found, "dead_rows")
    assert [(each["object"], each["measured"], each["severity"], each["unit"]) for each in dead] == [("public.wide", 54000, "warning", "rows")], found
    # Twice what the manual says: 50 + 0.2 * 60000.
    assert dead[0]["threshold"] == 24100 and "switched off" in dead[0]["recommendation"] and dead[0]["details"]["vacuumed_seconds"] is None
    assert dead[0]["sql"] == 'VACUUM (ANALYZE) "public"."wide";' and by_id(found, "stale_statistics")[0]["object"] == "public.wide"
    # By its statistics nothing is empty before VACUUM.
    assert by_id(found, "bloated_table") == [] and by_id(found, "bloated_index") == []
    ends = {(each["object"], each["severity"], each["measured"]) for each in by_id(found, "sequence_near_end")}
    assert ends == {("public.ending", "warning", 89.9), ("public.narrow_id_seq", "critical", 97.8), ("public.falling", "critical", 97.0)}
    assert by_id(found, "sequence_near_end")[0]["details"]["type"] in ("", "integer") and found["worst"] == "critical"
    assert [(each["object"], each["severity"], each["measured"]) for each in by_id(found, "no_primary_key")] == [("public.full_one", "info", 60000)]

    server.query(dead[0]["sql"], app)
    counted(server, app, "n_dead_tup = 0", "wide")
    found = ask(databases=[app], checks=checks, thresholds=limits)
    assert by_id(found, "dead_rows") == [] and by_id(found, "stale_statistics") == []
    table, index = by_id(found, "bloated_table"), by_id(found, "bloated_index")
    assert [each["object"] for each in table] == ["public.wide"] and {each["object"] for each in index} == {"public.wide_n", "public.wide_pkey"}
    exact = server.query("SELECT free_space + dead_tuple_len FROM pgstattuple('wide')", app)[0][0]
    density = server.query("SELECT avg_leaf_density FROM pgstatindex('wide_n')", app)[0][0]
    assert abs(table[0]["measured"] / exact - 1) < 0.15 and abs((100 - density) - index[0]["details"]["empty_percent"]) < 15, (table, exact, density)
    measured = by_id(ask(databases=[app], checks=["bloat"], thresholds=limits, bloat_method="pgstattuple"), "bloated_table")
    assert [each["object"] for each in measured] == ["public.wide"] and abs(measured[0]["measured"] / exact - 1) < 0.05
    assert measured[0]["details"]["method"] == "measured" and table[0]["details"]["method"] == "estimated"
    server.query(index[0]["sql"], app)
    server.query("VACUUM (FULL, ANALYZE) wide", app)
    assert by_id(ask(databases=[app], checks=["bloat"], thresholds=limits), "bloated_table") == []


def test_databases(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query("SET work_mem = '64kB'; SELECT count(*) FROM (SELECT * FROM generate_series(1, 50000) g ORDER BY g DESC OFFSET 1) s", app)
    server.query("SELECT pg_sleep(0.02);" * 12, app)
    # Twice what shared_buffers holds.
    server.query("CREATE TABLE larger AS SELECT g, repeat('x', 1000) FROM generate_series(1, 8000) g;" + "SELECT count(*) FROM larger;" * 2, app)
    until(lambda: server.query(f"SELECT temp_bytes > 0 FROM pg_stat_database WHERE datname = '{app}'")[0][0], "the counters")
    limits = {
        "temp_bytes_per_day": 1000, "cache_hit_percent": 100, "cache_blocks": 1, "statement_mean_seconds": 0.01, "wraparound_late_factor": 0,
        "statement_share_percent": 0.0001, "statement_calls": 1,
    }  # fmt: skip
    found = ask(databases=[app], checks=["temp_files", "cache", "statements", "wraparound"], thresholds=limits, limit=1000)
    temp, cache = by_id(found, "temp_files")[0], by_id(found, "low_cache_hit_ratio")[0]
    bytes_written, hit, read = server.query(f"SELECT temp_bytes, blks_hit, blks_read FROM pg_stat_database WHERE datname = '{app}'")[0]
    assert temp["measured"] == bytes_written and temp["object"] == app and temp["unit"] == "bytes"
    assert cache["details"]["blocks_read"] <= read and cache["details"]["blocks_hit"] <= hit and 0 < cache["measured"] < 100
    slow = next(each for each in by_id(found, "slow_statement") if "pg_sleep" in each["object"])
    assert slow["object"].startswith("SELECT pg_sleep($1)") and slow["details"]["calls"] == 12 and slow["measured"] >= 0.02 and slow["database"] == app
    assert by_id(found, "dominant_statement") and {each["database"] for each in by_id(found, "dominant_statement")} == {app}
    ages = dict(server.query("SELECT datname, age(datfrozenxid) FROM pg_database"))
    old = {each["object"]: each for each in by_id(found, "xid_wraparound")}
    assert set(old) == set(ages) and 0 <= ages["quiet"] - old["quiet"]["measured"] < 50 and old["quiet"]["severity"] == "warning"
    assert {each["object"] for each in by_id(found, "multixact_wraparound")} == set(ages)
    assert {each["severity"] for each in by_id(ask(checks=["wraparound"], thresholds={"wraparound_critical_percent": 0}), "xid_wraparound")} == {"critical"}
    server.query("SELECT pg_stat_statements_reset()")


def test_sessions(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query(f"CREATE TABLE held (id int PRIMARY KEY); COMMENT ON TABLE held IS '{SECRET}'", app)
    limits = {"idle_in_transaction_seconds": 0, "lock_warning_seconds": 0, "transaction_warning_seconds": 0, "prepared_warning_seconds": 0}
    checks = ["idle_in_transaction", "locks", "transactions", "prepared_transactions"]

    def wait_for_it() -> None:
        with contextlib.suppress(psycopg2.Error), server.connect(app, application_name="waiter") as waiter, waiter.cursor() as cursor:
            cursor.execute(f"SELECT '{SECRET}', 4711 FROM held /* {SECRET} */")

    with server.connect(app, application_name="holder") as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE held")
        cursor.execute(f"SELECT 1 WHERE E'\\'{SECRET}' = $q$ {SECRET} $q$")
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        until(lambda: server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), "the waiting")
        found, everything = ask(checks=checks, thresholds=limits), ask(thresholds=limits)
        bare = ask(checks=checks, thresholds=limits, mask_statements=False)
        waiting = server.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'waiter'")[0][0]
        holding = holder.info.backend_pid
        # The statement that is recommended does it, and leaves alone a session that has got the number later.
        ends_it = by_id(found, "blocked_session")[0]["sql"]
        assert server.query(ends_it.replace("backend_start = '20", "backend_start = '19")) == [] and server.query(ends_it) == [(True,)]
    thread.join(30)
    assert not everything["failed"] and everything["seconds"] < 20, "a lock on a table kept the report waiting"
    assert [each["check"] for each in everything["not_judged"]] == [], everything["not_judged"]
    blocked = by_id(found, "blocked_session")[0]
    assert blocked["object"] == f"session {waiting} of postgres (waiter)" and blocked["severity"] == "warning" and blocked["measured"] > 0
    assert blocked["details"]["blockers"][0]["application"] == "holder" and blocked["details"]["blockers"][0]["pid"] == holding
    assert blocked["details"]["mode"] == "AccessShareLock" and blocked["details"]["locktype"] == "relation"
    assert blocked["details"]["blockers"][0]["query"] == "SELECT 0 WHERE '***' = '***'"
    idle, long = by_id(found, "idle_in_transaction"), by_id(found, "long_transaction")
    assert [each["details"]["application"] for each in idle] == ["holder"] and [each["details"]["application"] for each in long] == ["waiter"]
    assert "SELECT '***', 0 FROM held" in long[0]["problem"] and SECRET not in json.dumps([found, everything]) and SECRET in json.dumps(bare)

    server.query("BEGIN; INSERT INTO held VALUES (1); PREPARE TRANSACTION 'forgotten'", app)
    try:
        prepared = by_id(ask(checks=checks, thresholds={**limits, "prepared_critical_seconds": 0}), "prepared_transaction")
        assert [(each["object"], each["severity"], each["database"]) for each in prepared] == [("forgotten", "critical", app)]
        assert prepared[0]["details"] == {"role": "postgres"}
    finally:
        server.query("ROLLBACK PREPARED 'forgotten'", app)
    assert ask(checks=checks, thresholds={**limits, "transaction_warning_seconds": 3600})["findings"] == []


def test_connections(server: PostgresServer, ask: Ask) -> None:
    with contextlib.ExitStack() as open_ones:
        for _number in range(20):
            open_ones.enter_context(server.connect("quiet"))
        found = by_id(ask(checks=["connections"]), "connections_near_limit")
        # 20 and the module's own, of 25 less 3 for superusers.
        # A session that has just been closed may still be there.
        assert [(each["severity"], each["threshold"]) for each in found] == [("critical", 95.0)] and found[0]["measured"] >= 95.5
        assert found[0]["details"]["idle"] >= 20 and found[0]["details"]["most_by_role"] == {"postgres": found[0]["details"]["used"]}


@contextlib.contextmanager
def setting(server: PostgresServer, name: str, text: str) -> t.Iterator[None]:
    """Change a setting for a while."""
    reload = "SELECT pg_reload_conf()"
    before = server.query(f"SELECT setting FROM pg_settings WHERE name = '{name}'")[0][0]
    server.query(f"ALTER SYSTEM SET {name} = '{text}'")
    server.query(reload)
    try:
        yield
    finally:
        server.query(f"ALTER SYSTEM SET {name} = '{before}'")
        server.query(reload)
        until(lambda: server.query(f"SELECT setting = '{before}' AND NOT pending_restart FROM pg_settings WHERE name = '{name}'")[0][0], f"the old {name}")


def test_settings(server: PostgresServer, ask: Ask) -> None:
    with setting(server, "max_connections", "30"), setting(server, "full_page_writes", "off"):
        until(lambda: server.query("SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'")[0][0], "the pending restart")
        found = ids(ask(checks=["settings"])) - NO_FSYNC
    assert found == {("pending_restart", "warning", "max_connections"), ("unsafe_setting", "critical", "full_page_writes")}
    assert ids(ask(checks=["settings"])) == NO_FSYNC


def test_the_log(server: PostgresServer, app: str, ask: Ask) -> None:
    def switch() -> None:
        server.query("CREATE TABLE IF NOT EXISTS written (n int); INSERT INTO written VALUES (1)", app)
        server.query("SELECT pg_switch_wal()")

    for _number in range(12):
        server.query("CHECKPOINT")
    requested = by_id(ask(checks=["checkpoints"]), "requested_checkpoints")
    assert [each["measured"] for each in requested] == [100.0] and requested[0]["details"]["requested"] >= 12 and requested[0]["threshold"] == 50
    server.query("SELECT pg_stat_reset_shared('bgwriter')")
    with contextlib.suppress(psycopg2.Error):
        server.query("SELECT pg_stat_reset_shared('checkpointer')")
    assert ask(checks=["checkpoints"])["findings"] == []

    with setting(server, "archive_command", "/bin/false"):
        switch()
        until(lambda: server.query("SELECT failed_count > 0 FROM pg_stat_archiver")[0][0], "a failure")
        failing = by_id(ask(checks=["archiver"]), "archiver_failing")
        assert [(each["severity"], each["unit"]) for each in failing] == [("critical", "failures")]
        assert failing[0]["details"]["last_failed_wal"] in failing[0]["problem"] and failing[0]["measured"] >= 1
        with setting(server, "archive_command", ""):
            assert "nothing archives the log" in by_id(ask(checks=["archiver"]), "archiver_failing")[0]["problem"]
    switch()
    until(lambda: server.query("SELECT last_archived_time > last_failed_time FROM pg_stat_archiver")[0][0], "a success")
    assert ask(checks=["archiver"])["findings"] == []

    server.query("SELECT pg_create_physical_replication_slot('nobody', true)")
    try:
        assert ids(ask(checks=["slots"])) == {("inactive_slot", "warning", "nobody")}
        slot = by_id(ask(checks=["slots"], thresholds={"slot_critical_bytes": 0}), "inactive_slot")[0]
        assert slot["severity"] == "critical" and slot["sql"] == "SELECT pg_drop_replication_slot('nobody');"
        for _number in range(6):
            switch()
        server.query("CHECKPOINT")
        until(lambda: server.query("SELECT wal_status = 'lost' FROM pg_replication_slots")[0][0], "the loss")
        lost = by_id(ask(checks=["slots"]), "lost_slot")[0]
        assert lost["severity"] == "critical" and lost["object"] == "nobody"
        server.query(lost["sql"])
        assert ask(checks=["slots"])["findings"] == []
    finally:
        server.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def test_damaged_pages(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query("CREATE TABLE damaged AS SELECT g FROM generate_series(1, 5000) g", app)
    path = server.data_dir / server.query("SELECT pg_relation_filepath('damaged')", app)[0][0]
    server.control("-m", "fast", "stop")
    with path.open("r+b") as file:
        file.seek(8192 + 4000)
        file.write(b"damaged!")
    server.control("start")
    with pytest.raises(psycopg2.Error, match="invalid page"):
        server.query("SELECT count(*) FROM damaged", app)
    until(lambda: server.query(f"SELECT checksum_failures > 0 FROM pg_stat_database WHERE datname = '{app}'")[0][0], "the counter")
    found = by_id(ask(checks=["checksums"]), "checksum_failures")
    assert [(each["object"], each["severity"], each["unit"]) for each in found] == [(app, "critical", "pages")] and found[0]["measured"] >= 1


def test_who_may_not_see_everything(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query(f"CREATE ROLE watcher LOGIN PASSWORD '{SENTINEL}' IN ROLE pg_monitor; CREATE ROLE nobody LOGIN PASSWORD '{SENTINEL}'")
    server.query("CREATE DATABASE hidden; ")
    server.query("REVOKE CONNECT ON DATABASE hidden FROM PUBLIC")
    server.query("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    server.query("CREATE SEQUENCE counter; CREATE TABLE t AS SELECT g, g::text AS x FROM generate_series(1, 60000) g; ANALYZE", app)
    try:
        found = ask(login_user="watcher", databases=[app, "hidden", "closed"])
        assert not found["failed"] and found["server"]["sees_all"], found
        assert found["warnings"] == [
            "the database closed was not looked at: it allows no connections",
            "the database hidden was not looked at: the login has no right to connect to it",
        ]
        assert {each["name"]: bool(each["refusal"]) for each in found["databases"]} == {app: False, "hidden": True, "closed": True}
        assert {(each["check"], each["reason"]) for each in found["not_judged"]} == {
            ("sequences", "the login may not read public.counter; grant it pg_read_all_data"),
            ("bloat", "the login may not read the statistics of public.t; grant it pg_read_all_data, or SELECT"),
        }
        assert by_id(found, "no_primary_key")[0]["object"] == "public.t"
        blind = ask(login_user="nobody", databases=[app])
        hidden = {each["check"] for each in blind["not_judged"] if "pg_monitor" in each["reason"]}
        assert hidden == {"connections", "idle_in_transaction", "locks", "transactions", "replication", "statements"} and not blind["server"]["sees_all"]
        no_extension = ask(databases=["quiet"], checks=["statements", "bloat"], login_db="quiet", bloat_method="pgstattuple")
        assert [each["reason"].split(";")[0] for each in no_extension["not_judged"]] == [
            "the database does not have the extension pgstattuple", "no database has the extension pg_stat_statements",
        ]  # fmt: skip
    finally:
        server.query("ALTER DATABASE closed ALLOW_CONNECTIONS true")
        server.drop("hidden", "closed")
        server.query("DROP ROLE watcher")
        server.query("DROP ROLE nobody")


def test_a_session_can_change_nothing_and_waits_for_nobody(server: PostgresServer) -> None:
    login = Login(str(server.socket_dir), server.port, "postgres", SENTINEL)
    with reading.session(login, "", 0.5, time.monotonic() + 60) as asker:
        assert asker.ask("SELECT current_setting('application_name') AS name")[0]["name"] == "mainstay pg_advisor_info"
        for statement, said in (
            ("CREATE TABLE t (); SELECT 1", "read-only transaction"),
            ("SELECT pg_sleep(30)", "statement timeout"),
            ("SELECT nothing", "does not exist"),
        ):
            with pytest.raises(reading.NotJudged, match=said):
                asker.ask(statement)
    with reading.session(login, "", 30, time.monotonic() - 1) as asker, pytest.raises(reading.NotJudged, match="time for the report"):
        asker.ask("SELECT 1")
    with server.connect("quiet") as holder, holder.cursor() as cursor, reading.session(login, "quiet", 30, time.monotonic() + 60) as asker:
        cursor.execute("BEGIN; LOCK TABLE parents")
        with pytest.raises(reading.NotJudged, match="lock timeout"):
            asker.ask("SELECT count(*) FROM public.parents")


def test_two_thousand_tables(server: PostgresServer, app: str, ask: Ask) -> None:
    server.query("CREATE TABLE model (id int, a int, b text); INSERT INTO model SELECT g, g, g::text FROM generate_series(1, 10) g", app)
    for first in range(0, 2000, 200):
        server.query(
            f"DO $$ BEGIN FOR n IN {first}..{first + 199} LOOP EXECUTE format('CREATE TABLE t%s (id int, a int, b text);"
            "CREATE INDEX ON t%s (a); CREATE INDEX ON t%s (a)', n, n, n); END LOOP; END $$",
            app,
        )
    found = ask(databases=[app], limit=10)
    assert not found["failed"] and found["seconds"] < 60, found["seconds"]
    assert len(by_id(found, "no_primary_key")) == 10 and len(by_id(found, "duplicate_index")) == 10
    # At most 1000 tables are read, and 20000 indexes compared.
    assert found["omitted"]["primary_keys"] == 990 and found["omitted"]["duplicate_indexes"] == 1990 and found["summary"]["warning"] == 2000
    assert len(json.dumps(found)) < 200_000


def test_wrong_input_is_refused(server: PostgresServer, run_module: Runner, closed_port: int) -> None:
    for options, said in (
        ({"databases": ["missing"]}, "could not look at missing: there is no such database; there are postgres, quiet"),
        ({"limit": 0}, "could not judge the server: limit is 0; give a number from 1 up"),
        ({"metrics_file": "/nowhere/report.prom"}, "could not write /nowhere/report.prom: No such file or directory"),
        ({"login_unix_socket": "", "login_host": "127.0.0.1", "login_port": closed_port}, "could not connect to the database postgres at 127.0.0.1"),
    ):
        found = run_module("pg_advisor_info", {**server.login, **t.cast(dict[str, t.Any], options)})
        assert found["failed"] and said in found["msg"], found


def test_figures_for_prometheus(server: PostgresServer, app: str, run_module: Runner, tmp_path: pathlib.Path) -> None:
    server.query("CREATE TABLE keyless (id int)", app)
    server.query("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    path = tmp_path / "report.prom"
    options = {**server.login, "min_age": "0", "databases": [app, "closed"], "metrics_file": str(path), "late_after": "26h"}
    planned = run_module("pg_advisor_info", options, check=True)
    assert not planned["failed"] and not path.exists() and by_id(planned, "no_primary_key")
    found = run_module("pg_advisor_info", options)
    server.query("ALTER DATABASE closed ALLOW_CONNECTIONS true")
    server.drop("closed")
    assert not found["changed"] and found["warnings"][0]["event"]["msg"] == "the database closed was not looked at: it allows no connections"
    text = path.read_text()
    assert text == found["metrics"] and path.stat().st_mode & 0o777 == 0o644
    port = f'port="{server.port}"'
    assert f'mainstay_postgres_findings{{check="primary_keys",severity="info",{port}}} 1\n' in text
    assert f'mainstay_postgres_findings{{check="locks",severity="critical",{port}}} 0\n' in text
    assert f"mainstay_postgres_report_late_after_seconds{{{port}}} 93600\n" in text and f"mainstay_postgres_report_not_judged{{{port}}} 1\n" in text
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A primary and a standby."""
    with streaming_cluster(server_root / "pg-advised", ("data2",)) as running:
        running["data1"].query(
            "CREATE TABLE big (id int PRIMARY KEY, a int, b int); INSERT INTO big SELECT g, g, g FROM generate_series(1, 60000) g;"
            "CREATE INDEX here ON big (a); CREATE INDEX nowhere ON big (b)"
        )
        counted(running["data1"], "postgres", "n_tup_ins >= 60000", "big")
        running["data1"].query("VACUUM ANALYZE big")
        running.settle("data1", "data2")
        yield running


def use_index_on_the_standby(cluster: Cluster) -> None:
    """Have the standby scan an index that the primary does not."""
    cluster["data2"].query("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM big WHERE a = 5")
    until(lambda: cluster.one("data2", "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'here'"), "the counter")


def test_members_of_a_cluster(cluster: Cluster, run_module: Runner) -> None:
    def ask(name: str, **options: t.Any) -> Result:
        return run_module("pg_advisor_info", {**cluster[name].login, "min_age": "0", **options})

    use_index_on_the_standby(cluster)
    first, second = ask("data1"), ask("data2")
    assert first["server"]["role"] == "primary" and second["server"]["role"] == "standby"
    assert {each["object"] for each in by_id(first, "unused_index")} == {"public.here", "public.nowhere"}
    unused = by_id(second, "unused_index")
    assert [each["object"] for each in unused] == ["public.nowhere"] and "not used on this standby" in unused[0]["problem"]
    assert {each["check"] for each in second["not_judged"] if each["reason"] == "it is judged on the primary"} == {"vacuum", "archiver", "checkpoints"}
    expected = {"unused_index", "checksums_off", "unsafe_setting"}
    assert {each["id"] for each in first["findings"]} == {each["id"] for each in second["findings"]} == expected, (first["lines"], second["lines"])

    cluster["data2"].query("SELECT pg_wal_replay_pause()")
    try:
        cluster["data1"].query("CREATE TABLE lagging AS SELECT generate_series(1, 20000)")
        until(lambda: cluster.one("data2", "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > 500000"), "the lag")
        limits = {"lag_bytes": 100_000}
        there, here = (by_id(ask(name, checks=["replication"], thresholds=limits), "replication_lag") for name in ("data1", "data2"))
        assert [each["unit"] for each in there + here] == ["bytes", "bytes"] and "has paused replaying" in here[0]["problem"]
        assert there[0]["measured"] > 500_000 and here[0]["measured"] > 500_000 and there[0]["severity"] == "warning"
        late = by_id(ask("data2", checks=["replication"], thresholds={"lag_critical_seconds": 0.001}), "replication_lag")
        assert late[0]["severity"] == "critical" and late[0]["unit"] == "seconds" and late[0]["measured"] > 0.001
    finally:
        cluster["data2"].query("SELECT pg_wal_replay_resume()")
    cluster["data1"].query("DROP TABLE lagging")
    cluster.settle("data1", "data2")
    assert ask("data1", checks=["replication", "slots"])["findings"] == ask("data2", checks=["replication", "slots"])["findings"] == []

    cluster["data1"].control("-m", "fast", "stop")
    try:
        stopped = ask("data2", checks=["replication"])
    finally:
        cluster["data1"].control("start")
    assert [(each["severity"], each["object"]) for each in by_id(stopped, "replication_stopped")] == [("critical", "this standby")], stopped


def test_the_playbook_puts_the_members_together(cluster: Cluster, tmp_path: pathlib.Path) -> None:
    """With a third member that does not answer, and a password that is seen nowhere."""
    interpreter = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    hosts = {name: {**interpreter, "postgres_report_login": cluster[name].login} for name in ("data1", "data2")}
    hosts["data3"] = {**interpreter, "postgres_report_login": {"login_unix_socket": str(tmp_path), "login_password": SENTINEL}}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"postgres": {"hosts": hosts}}))
    given = {
        "postgres_report_options": {"min_age": "0", "late_after": "26h"}, "postgres_report_dir": str(tmp_path / "report"),
        "postgres_report_metrics_file": str(tmp_path / "report.prom"),
    }  # fmt: skip
    use_index_on_the_standby(cluster)
    told = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    done = playbooks.run("postgres_report", "-vvv", "-e", json.dumps(given), inventory=inventory, **told)
    said = "2 of 3 members answered; findings: 1 critical, 0 warning, 1 info. No answer from data3."
    assert done.returncode == 2 and said in done.stdout, done.stdout + done.stderr
    assert SENTINEL not in done.stdout + done.stderr and "changed=1" not in done.stdout
    report, page = json.loads((tmp_path / "report/report.json").read_text()), (tmp_path / "report/report.html").read_text()
    assert report["silent"] == ["data3"] and report["findings_by_severity"] == {"critical": 1, "warning": 0, "info": 1}
    # Nobody knows of data3.
    assert report["unused_on_some_members_only"] == ["postgres: public.here", "postgres: public.nowhere"]
    assert {finding["id"]: finding["members"] for finding in report["findings"]} == {"unsafe_setting": ["data1", "data2"], "checksums_off": ["data1", "data2"]}
    assert report["members"]["data2"]["role"] == "standby" and "data3: does not answer" in page and "fsync is off" in page and SENTINEL not in page
    assert "postgres_report_late_after_seconds" in (tmp_path / "report.prom").read_text()
