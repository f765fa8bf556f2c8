# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_major_upgrade between two real servers under a writer. Each test goes on where the last one ended."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import secrets
import threading
import time
import typing as t

import psycopg2
import pytest
from conftest import SENTINEL, PostgresServer, Runner, postgresql
from patroni_cluster import arguments_of_processes
from postgres_cluster import until

Result = dict[str, t.Any]
APP = "Sentinel" + secrets.token_hex(8)
SETTINGS = {"wal_level": "logical", "shared_buffers": "16MB", "wal_retrieve_retry_interval": "200ms"}


@dataclasses.dataclass
class Pair:
    """The old server and the new one."""

    old: PostgresServer
    new: PostgresServer

    def options(self, **more: t.Any) -> Result:
        """Return the module's options."""
        sides = {
            name: {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "postgres", "login_password": SENTINEL}
            for name, server in (("source", self.old), ("target", self.new))
        }
        return {**sides, "databases": ["ledger"], "wait_timeout": 30, "copy_timeout": 60, **more}

    def connect(self) -> t.Any:
        """Log in as the application to whichever server lets it in."""
        try:
            return psycopg2.connect(host="127.0.0.1", port=self.old.port, dbname="ledger", user="app", password=APP, connect_timeout=3)
        except psycopg2.OperationalError:
            return psycopg2.connect(host="127.0.0.1", port=self.new.port, dbname="ledger", user="app", password=APP, connect_timeout=3)


class Writer:
    """Writes rows with numbers from a sequence, changes some, and remembers which of them were acknowledged and when."""

    def __init__(self, pair: Pair) -> None:
        self._pair, self._end = pair, threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: list[tuple[int, float]] = []
        self.errors = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        until(lambda: len(self.acknowledged) > 20, "the first rows")
        return self

    def __exit__(self, *unused: object) -> None:
        written = len(self.acknowledged)
        with contextlib.suppress(AssertionError):
            until(lambda: len(self.acknowledged) > written + 20, "rows after the change", 30)
        self._end.set()
        self._thread.join(30)

    def _write(self) -> None:
        connection = None
        while not self._end.is_set():
            try:
                if connection is None:
                    connection = self._pair.connect()
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO entry (amount) VALUES (1) RETURNING number")
                    number = cursor.fetchone()[0]
                    cursor.execute("UPDATE entry SET amount = 2 WHERE number = %s", (number,))
                self.acknowledged.append((number, time.monotonic()))
                time.sleep(0.005)
            except psycopg2.Error:
                self.errors += 1
                connection = None
                time.sleep(0.05)

    @property
    def gap(self) -> float:
        """The longest time between two acknowledgements, in seconds."""
        moments = [moment for unused, moment in self.acknowledged]
        return max(later - earlier for earlier, later in zip(moments, moments[1:]))

    def lost(self, server: PostgresServer) -> set[int]:
        """Return the rows that were acknowledged and are not there with what was written last."""
        return {number for number, unused in self.acknowledged} - {row[0] for row in server.query("SELECT number FROM entry WHERE amount = 2", "ledger")}


@pytest.fixture(scope="module")
def pair(server_root: pathlib.Path) -> t.Iterator[Pair]:
    """Two servers; the old one has a database with what databases have."""
    with postgresql(server_root / "upgrade-old", **SETTINGS) as old, postgresql(server_root / "upgrade-new", **SETTINGS) as new:
        old.query(f"CREATE ROLE app LOGIN PASSWORD '{APP}'")
        old.query("CREATE ROLE auditors")
        old.query("GRANT auditors TO app")
        old.query("CREATE DATABASE ledger OWNER app CONNECTION LIMIT 50")
        old.query("ALTER DATABASE ledger SET work_mem TO '9MB'")
        old.query(
            """
            SET ROLE app;
            CREATE TABLE entry (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount integer NOT NULL);
            CREATE TABLE "odd Name" (word text PRIMARY KEY, at timestamptz DEFAULT now(), picture bytea);
            CREATE TABLE part (day date, place text, PRIMARY KEY (day, place)) PARTITION BY RANGE (day);
            CREATE TABLE part_2026 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
            CREATE TABLE loose (note text);
            CREATE SEQUENCE spare START 500;
            CREATE MATERIALIZED VIEW total AS SELECT count(*) AS rows FROM "odd Name";
            INSERT INTO entry (amount) SELECT 2 FROM generate_series(1, 1000);
            INSERT INTO "odd Name" SELECT 'word ' || n, now(), decode(md5(n::text), 'hex') FROM generate_series(1, 500) n;
            INSERT INTO part SELECT '2026-02-01', 'place ' || n FROM generate_series(1, 50) n;
            SELECT nextval('spare');
            GRANT SELECT ON "odd Name" TO auditors;
            """,
            "ledger",
        )
        yield Pair(old, new)


def dump(server: PostgresServer) -> dict[str, t.Any]:
    """Return what the database holds, as the server itself says."""
    tables = ['"odd Name"', "part", "loose"]
    statement = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    found: dict[str, t.Any] = {table: server.query(statement.format(table), "ledger") for table in tables}
    found["privileges"] = server.query("SELECT relacl::text FROM pg_class WHERE relname = 'odd Name'", "ledger")
    found["owner"] = server.query("SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = 'ledger'")
    return found


def leftovers(pair: Pair) -> list[t.Any]:
    """Return what of a move is left on either server."""
    statements = ("SELECT subname FROM pg_subscription", "SELECT slot_name FROM pg_replication_slots")
    found = [row for server in (pair.old, pair.new) for statement in statements for row in server.query(statement)]
    for server in (pair.old, pair.new):
        if "ledger" in server.databases():
            found += server.query("SELECT pubname FROM pg_publication", "ledger")
        found += server.query("SELECT setconfig FROM pg_db_role_setting WHERE setconfig::text LIKE '%mainstay%'")
    return found


@contextlib.contextmanager
def everything_logged(pair: Pair) -> t.Iterator[None]:
    """Have both servers log each transaction and each statement, as samples too."""
    settings = {"log_statement": "all", "log_transaction_sample_rate": "1", "log_min_duration_sample": "0"}
    for server in (pair.old, pair.new):
        for name, text in settings.items():
            server.query(f"ALTER SYSTEM SET {name} TO '{text}'")
        server.query("SELECT pg_reload_conf()")
    yield
    for server in (pair.old, pair.new):
        assert "duration: " in pathlib.Path(f"{server.data_dir}.log").read_text()
        for name in settings:
            server.query(f"ALTER SYSTEM RESET {name}")
        server.query("SELECT pg_reload_conf()")


def cut_off(server: PostgresServer, stage: str) -> None:
    """Have the new server know of a stage before the one that was reached, as after a run that was killed before it noted that."""
    server.query(f"ALTER DATABASE ledger SET mainstay.upgrade_stage TO '{stage}'")


def test_what_blocks_is_named(pair: Pair, run_module: Runner) -> None:
    refused = run_module("pg_major_upgrade", pair.options(state="prepared"))
    assert refused["failed"] and "rows of public.loose cannot be told apart" in refused["msg"], refused
    assert any(finding["weight"] == "blocks" and finding["database"] == "ledger" for finding in refused["findings"])
    assert pair.new.databases() == set() and leftovers(pair) == []
    same = run_module("pg_major_upgrade", {**pair.options(state="prepared"), "target": pair.options()["source"]})
    assert same["failed"] and "both are the same cluster" in same["msg"]
    unknown = run_module("pg_major_upgrade", pair.options(state="prepared", databases=["nobody"]))
    assert unknown["failed"] and "there is no such database" in unknown["msg"]
    early = run_module("pg_major_upgrade", pair.options(state="switched"))
    assert early["failed"] and "has not been prepared" in early["msg"]
    wrong = run_module("pg_major_upgrade", pair.options(state="switched", name="Not a name"))
    assert wrong["failed"] and "small letters" in wrong["msg"]


def test_a_way_back_that_cannot_be_is_refused_before_anything_is_made(pair: Pair, run_module: Runner) -> None:
    pair.old.query("ALTER TABLE loose REPLICA IDENTITY FULL", "ledger")
    for conninfo, words in (("host=127.0.0.1 port=1 user=postgres", "could not connect to the publisher"), ("user=postgres part of it", "cannot be read")):
        options = pair.options(state="prepared")
        options["target"]["replication_conninfo"] = conninfo
        for check in (True, False):
            refused = run_module("pg_major_upgrade", options, check=check)
            assert refused["failed"] and words in refused["msg"] and "see replication_conninfo" in refused["msg"], refused
            assert "part" not in refused["msg"]
    assert pair.new.databases() == set() and leftovers(pair) == []
    pair.old.query("ALTER TABLE loose REPLICA IDENTITY DEFAULT", "ledger")


def test_slots_that_patroni_would_drop_block(pair: Pair, run_module: Runner) -> None:
    pair.old.query("ALTER TABLE loose REPLICA IDENTITY FULL", "ledger")
    for which, server in (("old", pair.old), ("new", pair.new)):
        dynamic = server.data_dir / "patroni.dynamic.json"
        try:
            dynamic.write_text('{"ttl": 30, "ignore_slots": [{"type": "logical", "plugin": "wal2json"}]}')
            refused = run_module("pg_major_upgrade", pair.options(state="prepared"))
            words = f"the {which} server is under Patroni, whose ignore_slots does not name the slots mainstay_upgrade_"
            assert refused["failed"] and words in refused["msg"], refused
            dynamic.write_text('{"ttl": 30, "ignore_slots": [{"type": "logical", "plugin": "pgoutput"}]}')
            assert run_module("pg_major_upgrade", pair.options(state="prepared"), check=True)["ready"]
        finally:
            dynamic.unlink()
    pair.old.query("ALTER TABLE loose REPLICA IDENTITY DEFAULT", "ledger")


def test_a_rehearsal_leaves_nothing(pair: Pair, run_module: Runner) -> None:
    checked = run_module("pg_major_upgrade", pair.options(state="rehearsed"), check=True)
    assert pair.new.query("SELECT FROM pg_roles WHERE rolname = 'app'") == []
    done = run_module("pg_major_upgrade", pair.options(state="rehearsed"))
    assert not done["failed"] and not done["changed"] and not done["ready"], done
    pair.new.query("CREATE DATABASE ledger_rehearsal")
    pair.new.query("CREATE TABLE mine (n integer)", "ledger_rehearsal")
    foreign = run_module("pg_major_upgrade", pair.options(state="rehearsed"))
    assert foreign["failed"] and "could not make ledger_rehearsal on the new server: there is one" in foreign["msg"], foreign
    pair.new.drop("ledger_rehearsal")
    assert checked["actions"] == done["actions"][1:] and "rehearse ledger" in done["actions"][1]
    assert done["actions"][0] == "make the roles app, auditors on the new server"
    assert {"copy ledger", "compare ledger", "analyze ledger"} <= set(done["phases"])
    assert pair.new.databases() == set() and leftovers(pair) == []


def test_preparing_follows_the_old_server(pair: Pair, run_module: Runner) -> None:
    pair.old.query("ALTER TABLE loose REPLICA IDENTITY FULL", "ledger")
    pair.new.query("CREATE DATABASE ledger")
    pair.new.query("CREATE TABLE mine (n integer)", "ledger")
    occupied = run_module("pg_major_upgrade", pair.options(state="prepared"))
    assert occupied["failed"] and "which is not empty" in occupied["msg"], occupied
    # What the role has made for the new cluster has nothing in it yet.
    pair.new.query("DROP TABLE mine", "ledger")
    options = pair.options(state="prepared")
    checked = run_module("pg_major_upgrade", options, check=True)
    assert checked["changed"] and checked["ready"] and leftovers(pair) == []
    with arguments_of_processes() as seen, everything_logged(pair), Writer(pair) as writer:
        done = run_module("pg_major_upgrade", options)
        assert not done["failed"], done
        assert done["actions"] == checked["actions"] and done["changed"] and done["unwritable_seconds"] is None
        # Nobody gets in there before the cutover.
        with pytest.raises(psycopg2.OperationalError, match="too many connections"):
            psycopg2.connect(host="127.0.0.1", port=pair.new.port, dbname="ledger", user="app", password=APP)
        again = run_module("pg_major_upgrade", options)
        assert not again["failed"] and not again["changed"] and again["actions"] == [], again
    until(lambda: writer.lost(pair.new) == set(), "the arrival of all rows")
    assert writer.errors == 0
    for word in (SENTINEL, APP):
        assert word not in " ".join(seen) + str(done)
        assert word not in pathlib.Path(f"{pair.new.data_dir}.log").read_text() + pathlib.Path(f"{pair.old.data_dir}.log").read_text()


def test_a_cutover_that_cannot_be_is_taken_back(pair: Pair, run_module: Runner) -> None:
    options = pair.options(state="switched")
    options["target"]["replication_conninfo"] = "host=127.0.0.1 port=1 user=postgres"
    with Writer(pair) as writer:
        one_way = run_module("pg_major_upgrade", options)
    assert one_way["failed"] and "could not connect to the publisher" in one_way["msg"] and writer.errors == 0, one_way
    pair.old.query("ALTER TABLE loose ADD COLUMN later integer", "ledger")
    changed = run_module("pg_major_upgrade", pair.options(state="switched"))
    words = "definitions have changed since it was prepared: public.loose is note text, later integer on the old"
    assert changed["failed"] and words in changed["msg"], changed
    pair.old.query("ALTER TABLE loose DROP COLUMN later", "ledger")
    pair.new.query("DELETE FROM part_2026 WHERE place = 'place 7'", "ledger")
    with Writer(pair) as writer:
        differs = run_module("pg_major_upgrade", pair.options(state="switched"))
    assert differs["failed"] and "public.part_2026 is 50 rows" in differs["msg"] and "49 rows" in differs["msg"], differs
    assert writer.lost(pair.old) == set()
    pair.new.query("INSERT INTO part_2026 VALUES ('2026-02-01', 'place 7')", "ledger")
    # What has been verified and released is held anew.
    cut_off(pair.new, "verified")
    assert "hold the writes of ledger on the old server" in run_module("pg_major_upgrade", pair.options(state="switched"), check=True)["actions"]
    assert dump(pair.old)["owner"] == [("app", 50)]


def test_the_cutover_loses_nothing(pair: Pair, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    options = pair.options(state="switched")
    checked = run_module("pg_major_upgrade", options, check=True)
    with Writer(pair) as writer:
        done = run_module("pg_major_upgrade", options)
    assert not done["failed"] and done["actions"] == checked["actions"] and done["diff"] == checked["diff"], done
    with capsys.disabled():
        print(f"\ncutover: gap {writer.gap:.2f} s, {len(writer.acknowledged)} rows, {done['unwritable_seconds']} s without writes, {done['phases']}", end="")
    assert writer.lost(pair.new) == set() and len(writer.acknowledged) > 40
    assert dump(pair.old) | {"owner": []} == dump(pair.new) | {"owner": []} and dump(pair.new)["owner"] == [("app", 50)]
    assert pair.new.query("SELECT nextval('spare')", "ledger") == [(501,)]
    assert pair.new.query("SHOW work_mem", "ledger") == [("9MB",)] and pair.new.query("SELECT rows FROM total", "ledger") == [(500,)]
    with pytest.raises(psycopg2.OperationalError, match="too many connections"):
        psycopg2.connect(host="127.0.0.1", port=pair.old.port, dbname="ledger", user="app", password=APP)
    # What is written to the new server arrives on the old one.
    until(lambda: writer.lost(pair.old) == set(), "the way back")
    assert not run_module("pg_major_upgrade", options)["changed"]
    # A run that was cut off there has left them empty.
    pair.new.query("REFRESH MATERIALIZED VIEW total WITH NO DATA", "ledger")
    assert run_module("pg_major_upgrade", options)["actions"] == ["fill the materialized view public.total of ledger"]
    assert pair.new.query("SELECT rows FROM total", "ledger") == [(500,)]


def test_the_way_back_brings_everything(pair: Pair, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    options = pair.options(state="abandoned")
    cut_off(pair.new, "verified")
    checked = run_module("pg_major_upgrade", options, check=True)
    with Writer(pair) as writer:
        done = run_module("pg_major_upgrade", options)
    assert not done["failed"] and done["actions"] == checked["actions"], done
    with capsys.disabled():
        print(f"\nway back: gap {writer.gap:.2f} s, {len(writer.acknowledged)} rows, {done['unwritable_seconds']} s without writes", end="")
    assert writer.lost(pair.old) == set() and len(writer.acknowledged) > 40
    assert pair.old.query("SELECT nextval('spare')", "ledger") == [(502,)]
    assert leftovers(pair) == [] and pair.new.databases() == set() and dump(pair.old)["owner"] == [("app", 50)]
    assert not run_module("pg_major_upgrade", options)["changed"]


def test_a_run_that_was_cut_off_is_finished(pair: Pair, run_module: Runner) -> None:
    options = pair.options(state="prepared", way_back=False)
    process = run_module.start("pg_major_upgrade", options)
    until(lambda: "ledger" in pair.new.databases(), "the database")
    process.kill()
    process.wait(10)
    prepared = run_module("pg_major_upgrade", options)
    assert not prepared["failed"] and prepared["changed"], prepared
    with Writer(pair) as writer:
        process = run_module.start("pg_major_upgrade", {**options, "state": "switched"})
        until(lambda: pair.old.query("SELECT datconnlimit FROM pg_database WHERE datname = 'ledger'") == [(0,)], "the hold")
        process.kill()
        process.wait(10)
        done = run_module("pg_major_upgrade", {**options, "state": "switched"})
    assert not done["failed"], done
    assert writer.lost(pair.new) == set() and dump(pair.new)["owner"] == [("app", 50)]


def test_without_a_way_back_going_back_is_refused_and_the_move_is_finished(pair: Pair, run_module: Runner) -> None:
    back = run_module("pg_major_upgrade", pair.options(state="abandoned"))
    assert back["failed"] and "ledger has no way back, and what was written to the new server would be lost" in back["msg"], back
    assert run_module("pg_major_upgrade", pair.options(state="abandoned", accept_loss=True), check=True)["changed"]
    cut_off(pair.new, "verified")
    assert run_module("pg_major_upgrade", pair.options(state="abandoned")) == back
    cut_off(pair.new, "switched")
    options = pair.options(state="finished")
    checked, done = run_module("pg_major_upgrade", options, check=True), run_module("pg_major_upgrade", options)
    assert not done["failed"] and done["actions"] == checked["actions"] == ["end the replication of ledger"], done
    assert leftovers(pair) == [] and not run_module("pg_major_upgrade", options)["changed"]
    assert dump(pair.old)["owner"] == [("app", 0)] and dump(pair.new)["owner"] == [("app", 50)]
    # The old server stays closed, and no later run opens it beside the new one.
    assert not run_module("pg_major_upgrade", pair.options(state="abandoned"))["changed"]
