# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_backup with method=physical on a real PostgreSQL and a real pgBackRest, with its repository in a folder and in a bucket behind TLS."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
import typing as t

import psycopg2
import pytest
from certificates import issue, make_authority
from conftest import Runner, S3Server, as_server_user, free_port, newest_postgresql

from ansible_collections.mainstay.ops.plugins.filter.pgbackrest_conf import pgbackrest_conf

PASSPHRASE = "Sentinel" + secrets.token_hex(8)
NAME = f"ledger-{secrets.token_hex(3)}"
"""One of its own: the locks of pgBackRest hold for a stanza on the whole host."""


def as_text(moment: datetime.datetime) -> str:
    """Return a moment as the option takes it, in another zone than UTC."""
    return moment.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30))).isoformat()


@dataclasses.dataclass
class Cluster:
    """A PostgreSQL cluster whose log goes where ``pgbackrest.conf`` beside it says."""

    bin_dir: str
    folder: pathlib.Path
    port: int

    @property
    def data(self) -> pathlib.Path:
        """The data directory."""
        return self.folder / "data"

    def run(self, *argv: str, text: str | None = None) -> str:
        """Run a program as the server's user."""
        done = subprocess.run(as_server_user(argv), check=True, cwd="/", input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.stdout

    def make(self) -> None:
        """Initialise and start it."""
        self.run(f"{self.bin_dir}/initdb", "-N", "-U", "postgres", "-A", "trust", "-k", "-E", "UTF8", "--locale=C", "-D", str(self.data))
        settings = {
            "port": self.port,
            "unix_socket_directories": self.folder,
            "listen_addresses": "",
            "fsync": "off",
            "archive_mode": "on",
            "max_connections": 37,
            "min_wal_size": "64MB",
            "log_line_prefix": "%m ",
        }
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.start()

    def start(self) -> None:
        """Start it and wait."""
        argv = [f"{self.bin_dir}/pg_ctl", "-D", str(self.data), "-l", f"{self.folder}/log", "-w", "-s", "start"]
        subprocess.run(as_server_user(argv), check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)

    def stop(self, mode: str = "fast") -> None:
        """Stop it and wait."""
        self.run(f"{self.bin_dir}/pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-s", "stop")

    def query(self, sql: str) -> list[tuple[t.Any, ...]]:
        """Run statements; return the rows of the last one, or nothing."""
        connection = psycopg2.connect(host=str(self.folder), port=self.port, dbname="postgres", user="postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def archive_to(self, text: str, name: str) -> None:
        """Let the server send its log where a configuration says."""
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        path.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres")
        self.query(f"ALTER SYSTEM SET archive_command = 'pgbackrest --config={path} --stanza={name} archive-push %p'")
        self.query("SELECT pg_reload_conf()")

    def switch(self) -> None:
        """End the segment of the log, and wait until it was archived."""
        name = self.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        deadline = time.monotonic() + 60
        while (self.query("SELECT last_archived_wal FROM pg_stat_archiver")[0][0] or "")[-16:] < name[-16:]:
            assert time.monotonic() < deadline, self.query("SELECT * FROM pg_stat_archiver")
            time.sleep(0.1)

    def marks(self, data: pathlib.Path | str) -> list[int]:
        """Return the marks in a stopped cluster's files, read by a server in single-user mode."""
        argv = (f"{self.bin_dir}/postgres", "--single", "-D", str(data), "-c", "archive_mode=off", "postgres")
        said = self.run(*argv, text="SELECT id FROM marks ORDER BY id\n")
        assert "ERROR" not in said and "FATAL" not in said, said
        return [int(number) for number in re.findall(r' = "(\d+)"', said)]


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A cluster with a table ``marks``."""
    assert shutil.which("pgbackrest"), "pgbackrest is missing; install the package pgbackrest"
    folder = server_root / "physical"
    (folder / "store").mkdir(parents=True)
    if os.geteuid() == 0:
        for path in (folder, folder / "store"):
            shutil.chown(path, "postgres", "postgres")
    made = Cluster(newest_postgresql(), folder, free_port())
    made.make()
    try:
        made.query("CREATE TABLE marks (id int PRIMARY KEY, filler text)")
        yield made
    finally:
        if (made.data / "postmaster.pid").exists():
            made.stop("immediate")


@pytest.fixture(scope="module")
def options(cluster: Cluster) -> dict[str, t.Any]:
    """The options of the module for the repository in a folder."""
    store = {"type": "local", "path": str(cluster.folder / "store")}
    cluster.archive_to(pgbackrest_conf(store, NAME, data_dir=str(cluster.data), repository_passphrase=PASSPHRASE), NAME)
    return {
        "name": NAME,
        "method": "physical",
        "store": store,
        "repository_passphrase": PASSPHRASE,
        "login_unix_socket": str(cluster.folder),
        "login_port": cluster.port,
        "work_dir": str(cluster.folder),
        "labels": {"purpose": "test"},
    }


@pytest.fixture(scope="module")
def info(run_module: Runner, options: dict[str, t.Any]) -> t.Callable[..., dict[str, t.Any]]:
    """Call pg_backup_info."""

    def call(**more: t.Any) -> dict[str, t.Any]:
        result = run_module("pg_backup_info", {name: options[name] for name in ("name", "store", "repository_passphrase")} | more)
        assert not result["failed"], result
        return result

    return call


@dataclasses.dataclass
class History:
    """What happened to the cluster: the moments and places between its marks."""

    full: dict[str, t.Any]
    before_two: datetime.datetime
    before_three: datetime.datetime
    lsn_three: str
    xid_four: int
    end: datetime.datetime


@pytest.fixture(scope="module")
def history(cluster: Cluster, options: dict[str, t.Any], run_module: Runner, info: t.Callable[..., dict[str, t.Any]]) -> History:
    """A full backup, then marks 1 to 5 with noted moments, a restore point and positions between them."""
    bare = run_module("pg_backup", {**options, "backup_type": "incremental"}, check=True)
    assert bare["changed"] and bare["backup"] is None, bare
    first = [f"make the stanza {NAME}", "prove that the log arrives in the repository"]
    assert bare["actions"] == [*first, "take a full backup, since there is no full one to base it on"]
    assert not list((cluster.folder / "store").iterdir())
    with watched(PASSPHRASE) as seen:
        taken = run_module("pg_backup", options)
    assert not taken["failed"], taken
    assert not seen, seen
    assert taken["changed"] and taken["actions"] == [*first, "take a full backup"]
    clock = "SELECT clock_timestamp()"
    cluster.query("INSERT INTO marks VALUES (1)")
    before_two = cluster.query(clock)[0][0]
    time.sleep(1.1)
    cluster.query("INSERT INTO marks VALUES (2)")
    time.sleep(0.2)
    before_three = cluster.query(clock)[0][0]
    cluster.query("SELECT pg_create_restore_point('half')")
    cluster.query("INSERT INTO marks VALUES (3)")
    lsn = cluster.query("SELECT pg_current_wal_lsn()")[0][0]
    xid = cluster.query("INSERT INTO marks VALUES (4) RETURNING pg_current_xact_id()::text::bigint")[0][0]
    cluster.switch()
    cluster.query("INSERT INTO marks VALUES (5)")
    end = cluster.query(clock)[0][0]
    cluster.switch()
    return History(taken["backup"], before_two, before_three, lsn, xid, end)


@contextlib.contextmanager
def watched(*words: str) -> t.Iterator[list[str]]:
    """Yield a list that gets what of some words shows in any process's command line or environment meanwhile."""
    seen: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for path in pathlib.Path("/proc").glob("[0-9]*"):
                if int(path.name) == os.getpid():
                    continue
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        text = (path / name).read_bytes().decode(errors="replace")
                        seen.extend(f"{name}: {text}" for word in words if word in text)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_backup_and_what_it_says(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """The result tells what was taken; a second run changes nothing; no secret and no file is left."""
    backup = history.full
    assert backup["method"] == "physical" and backup["good"] and not backup["verified"] and backup["labels"] == {"purpose": "test"}
    identifier = cluster.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    assert backup["source"]["role"] == "primary" and backup["source"]["system_identifier"] == identifier
    assert backup["location"] == f"{options['store']['path']}/pgbackrest/{NAME}"
    assert [database["name"] for database in backup["contents"]["databases"]] == ["postgres"] and backup["contents"]["databases"][0]["size_bytes"] > 1000000
    engine = backup["contents"]["pgbackrest"]
    assert engine["type"] == "full" and engine["references"] == [] and backup["bytes_plain"] > 10000000 > backup["bytes_stored"] > 100000
    again = run_module("pg_backup", options)
    assert not again["changed"] and again["actions"] == [] and again["backup"]["id"] == backup["id"], again
    weaker = run_module("pg_backup", {**options, "backup_type": "incremental"}, TMPDIR=str(cluster.folder))
    assert not weaker["changed"] and weaker["backup"]["id"] == backup["id"], weaker
    assert PASSPHRASE not in str(again) + str(weaker)
    assert not list(cluster.folder.glob("mainstay-*"))


def test_refuses_a_server_that_does_not_archive(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """Before anything is done, the error says what to set."""
    before = cluster.query("SHOW archive_command")[0][0]
    try:
        for command, words in (("/bin/true", "does not hand the log to pgBackRest"), ("pgbackrest --stanza=other archive-push %p", "to the stanza other")):
            cluster.query(f"ALTER SYSTEM SET archive_command = '{command}'")
            cluster.query("SELECT pg_reload_conf()")
            time.sleep(0.3)
            for check in (True, False):
                failed = run_module("pg_backup", {**options, "max_age": "0"}, check=check)
                assert failed["failed"] and words in failed["msg"] and f"pgbackrest --stanza={NAME} archive-push %p" in failed["msg"], failed
    finally:
        cluster.query(f"ALTER SYSTEM SET archive_command = '{before}'")
        cluster.query("SELECT pg_reload_conf()")


def test_wrong_passphrase(options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """It is said in words, whatever is asked."""
    for module, given in (("pg_backup", options), ("pg_backup_info", {name: options[name] for name in ("name", "store")})):
        failed = run_module(module, {**given, "repository_passphrase": "wrong"})
        assert failed["failed"] and "passphrase" in failed["msg"] and PASSPHRASE not in failed["msg"], failed
    failed = run_module("pg_backup_info", {name: options[name] for name in ("name", "store")})
    assert failed["failed"] and "give repository_passphrase" in failed["msg"], failed


def test_info(cluster: Cluster, options: dict[str, t.Any], history: History, info: t.Callable[..., dict[str, t.Any]]) -> None:
    """The window that can be brought back ends with the last commit that was archived, and with the first gap."""
    found = info()
    assert found["latest"] == history.full["id"] and found["latest_verified"] is None and found["incomplete"] == []
    assert found["recoverable_from"] == history.full["finished"]
    assert found["recoverable_to"] == history.end.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found["backups"][0]["contents"]["pgbackrest"]["wal_missing"] == ""
    last = found["backups"][0]["contents"]["pgbackrest"]["wal_end"]
    archive = cluster.folder / "store" / "pgbackrest" / NAME / "archive"
    held = sorted(path for path in archive.rglob("0000*-*") if re.match(r"[0-9A-F]{24}-", path.name))
    assert held[-1].name.startswith(last)
    gap, aside = held[-2], cluster.folder / "aside"
    gap.rename(aside)
    try:
        torn = info()
        assert torn["backups"][0]["contents"]["pgbackrest"]["wal_missing"] == gap.name[:24]
        assert torn["recoverable_to"] < found["recoverable_to"] and torn["backups"][0]["good"]
    finally:
        aside.rename(gap)
    needed = next(path for path in held if path.name.startswith(history.full["contents"]["pgbackrest"]["wal_start"]))
    needed.rename(aside)
    try:
        broken = info()
        assert not broken["backups"][0]["good"] and needed.name[:24] in broken["backups"][0]["problem"] and broken["latest"] is None
    finally:
        aside.rename(needed)


def restore_into(
    cluster: Cluster, options: dict[str, t.Any], run_module: Runner, target: dict[str, t.Any] | None, **more: t.Any
) -> tuple[dict[str, t.Any], pathlib.Path]:
    """Restore for trial into a new folder, first as a check run; return the result and the folder."""
    data = cluster.folder / f"restored-{secrets.token_hex(3)}"
    given = {**options, "state": "restored", "data_dir": str(data), "target": target, "pgbackrest_options": {"archive-mode": "off"}, **more}
    planned = run_module("pg_backup", given, check=True)
    assert not data.exists()
    result = run_module("pg_backup", given)
    if not result["failed"]:
        assert (planned["changed"], planned["actions"], planned["diff"]) == (result["changed"], result["actions"], result["diff"])
    return result, data


@pytest.mark.parametrize(
    ("target", "marks", "words"),
    [
        (lambda history: {"type": "time", "value": as_text(history.before_two)}, [1], "before commit of transaction"),
        (lambda history: {"type": "time", "value": as_text(history.before_three)}, [1, 2], "before commit of transaction"),
        (lambda history: {"type": "name", "value": "half"}, [1, 2], 'at restore point "half"'),
        (lambda history: {"type": "lsn", "value": history.lsn_three}, [1, 2, 3], "WAL location"),
        (lambda history: {"type": "xid", "value": str(history.xid_four), "inclusive": False}, [1, 2, 3], "before commit of transaction"),
        (lambda history: {"type": "immediate"}, [], "reaching consistency"),
        (lambda history: None, [1, 2, 3, 4, 5], ""),
    ],
    ids=["time", "time after a second", "name", "lsn", "xid", "immediate", "latest"],
)
def test_point_in_time(
    target: t.Callable[[History], dict[str, t.Any] | None],
    marks: list[int],
    words: str,
    cluster: Cluster,
    options: dict[str, t.Any],
    history: History,
    run_module: Runner,
) -> None:
    """Each target brings back exactly what was there, and the result says where it landed."""
    wanted = target(history)
    result, data = restore_into(cluster, options, run_module, wanted)
    assert not result["failed"], result
    restored = result["restored"][0]
    assert restored["target_reached"] is True and words in restored["stopped_by"] and restored["backup_id"] == history.full["id"]
    assert restored["data_dir"] == str(data) and restored["action"] == "create" and restored["timeline"] == 2
    assert not (data / "postmaster.pid").exists()
    assert cluster.marks(data) == marks, restored
    landed = datetime.datetime.fromisoformat(restored["landed_at"])
    if wanted and wanted["type"] == "time":
        moment = datetime.datetime.fromisoformat(wanted["value"])
        assert 0 <= (moment - landed).total_seconds() < 1, restored
    recovery = (data / "postgresql.auto.conf").read_text()
    assert "recovery_target" not in recovery and f"--stanza={NAME} archive-get" in recovery and "mainstay-pgbackrest" not in recovery
    shutil.rmtree(data)


def test_targets_out_of_reach(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """What cannot be brought back is refused with the nearest that can, and nothing is touched."""
    finished = datetime.datetime.fromisoformat(history.full["finished"])
    day = datetime.timedelta(days=1)
    end = history.end.astimezone(datetime.timezone.utc)
    cases = [
        ({"type": "time", "value": (finished - day).isoformat()}, f"the earliest that can be brought back is {history.full['finished']}"),
        ({"type": "time", "value": (finished + day).isoformat()}, f"the latest that can be brought back is {end:%Y-%m-%dT%H:%M:%S}"),
        ({"type": "time", "value": "2026-11-22 17:00:00"}, "it has no zone"),
        ({"type": "lsn", "value": "0/10"}, "the earliest that can be brought back is"),
        ({"type": "lsn", "value": "FF/0"}, "the log in the archive ends at"),
        ({"type": "lsn", "value": "x"}, "no position in the log"),
        ({"type": "latest", "timeline": "7"}, "no backup lies on the way to the timeline 7"),
    ]
    for target, words in cases:
        result, data = restore_into(cluster, options, run_module, target)
        assert result["failed"] and words in result["msg"] and not data.exists(), (target, result)


def test_a_name_that_is_not_there(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """It is known only at the end of the log; then the server stays stopped and is not promoted."""
    result, data = restore_into(cluster, options, run_module, {"type": "name", "value": "nowhere"})
    assert result["failed"] and "the log ended before the target was reached" in result["msg"] and "was not promoted" in result["msg"], result
    assert result["target_reached"] is False and not (data / "postmaster.pid").exists() and (data / "recovery.signal").exists()
    shutil.rmtree(data)


def test_restore_refuses_what_is_in_use(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """A running server, a folder with something in it, and another cluster are left alone."""
    given = {**options, "state": "restored", "on_existing": "replace"}
    running = run_module("pg_backup", {**given, "data_dir": str(cluster.data)})
    assert running["failed"] and "a server runs on it" in running["msg"], running
    other = cluster.folder / "other"
    cluster.run(f"{cluster.bin_dir}/initdb", "-N", "-U", "postgres", "-D", str(other))
    before = sorted(path.name for path in other.iterdir())
    for extra, words in (({"on_existing": "fail"}, "it is not empty"), ({}, "it holds the cluster")):
        failed = run_module("pg_backup", {**given, **extra, "data_dir": str(other)})
        assert failed["failed"] and words in failed["msg"], failed
    assert sorted(path.name for path in other.iterdir()) == before
    shutil.rmtree(other)
    missing = run_module("pg_backup", {**given, "data_dir": None})
    assert missing["failed"] and "data_dir is not given" in missing["msg"]


def test_delta_over_damage(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """Files that are damaged, missing or foreign are put right in place; what is right stays as it is; the log that was not archived is saved."""
    result, data = restore_into(cluster, options, run_module, {"type": "immediate"})
    assert not result["failed"], result
    for path in sorted((data / "base" / "5").glob("26*"))[:20]:
        path.unlink()
    victim = data / "base" / "5" / "1259"
    content = bytearray(victim.read_bytes())
    content[5000] ^= 0xFF
    victim.write_bytes(content)
    (data / "base" / "5" / "foreign").write_text("x")
    given = {**options, "state": "restored", "data_dir": str(data), "on_existing": "replace", "pgbackrest_options": {"archive-mode": "off"}}
    planned = run_module("pg_backup", given, check=True)
    assert (data / "base" / "5" / "foreign").exists()
    again = run_module("pg_backup", given)
    assert not again["failed"] and again["actions"] == planned["actions"], again
    assert again["restored"][0]["action"] == "replace" and cluster.marks(data) == [1, 2, 3, 4, 5]
    assert not (data / "base" / "5" / "foreign").exists()
    saved = again["restored"][0]["pg_wal_saved"]
    assert saved == f"{data}__pg_wal_before_{history.full['id']}"
    assert {path.name[:8] for path in pathlib.Path(saved).iterdir()} == {"00000002"}, saved
    shutil.rmtree(saved)
    renamed = run_module("pg_backup", {**given, "on_existing": "rename", "target": {"type": "immediate"}})
    assert not renamed["failed"], renamed
    previous = renamed["restored"][0]["previous"]
    assert previous == f"{data}__before_{history.full['id']}" and renamed["restored"][0]["action"] == "rename"
    assert cluster.marks(data) == [] and cluster.marks(previous) == [1, 2, 3, 4, 5]
    shutil.rmtree(previous)
    exchanged = run_module("pg_backup", {**given, "delta": False})
    assert not exchanged["failed"] and exchanged["restored"][0]["action"] == "replace" and cluster.marks(data) == [1, 2, 3, 4, 5], exchanged
    assert not list(cluster.folder.glob("restored-*__before_*"))
    for path in cluster.folder.glob("restored-*"):
        shutil.rmtree(path)


def test_verification(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner, info: t.Callable[..., dict[str, t.Any]]) -> None:
    """A trial restore marks the backup as verified, with seconds; a query that is not answered as expected does the opposite."""
    queries = [{"database": "postgres", "query": "SELECT to_regclass('marks') IS NOT NULL", "expect": "true"}]
    given = {**options, "state": "verified", "verify_queries": queries, "rto_target": "1h", "rpo_target": "1s"}
    planned = run_module("pg_backup", given, check=True)
    assert planned["changed"] and planned["verification"] is None
    done = run_module("pg_backup", given)
    assert not done["failed"] and done["changed"] and done["actions"] == planned["actions"] and done["diff"] == planned["diff"], done
    details = done["verification"]["details"]
    assert done["verification"]["status"] == "successful" and set(done["phases"]) == {"list", "restore", "recover", "check", "remove"}
    assert details["amcheck"] is True and details["verify_queries"][0]["found"] == "true" and [item["name"] for item in details["databases"]] == ["postgres"]
    assert 0 < details["rto_seconds"] < done["verification"]["seconds"] and details["rto_met"] is True
    assert details["rpo_seconds"] > 1 and details["rpo_met"] is False and "rpo_target is missed" in details["warnings"][0]
    assert not run_module("pg_backup", given)["changed"]
    assert info()["latest_verified"] == history.full["id"] == info(backup_id="latest_verified")["backups"][0]["id"]
    assert not list(cluster.folder.glob("mainstay-verify-*"))
    failed = run_module("pg_backup", {**given, "verify_queries": [{"database": "postgres", "query": "SELECT 1", "expect": "2"}]})
    assert failed["failed"] and "'2' is expected" in failed["msg"] and failed["verification"]["status"] == "failed", failed
    assert info()["latest"] is None
    assert run_module("pg_backup", {**given, "backup_id": history.full["id"]})["changed"]


def test_flipped_bytes(cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner) -> None:
    """One flipped byte in a file of the backup, or of the log since, is found and the file is named."""
    repository = cluster.folder / "store" / "pgbackrest" / NAME
    engine = history.full["contents"]["pgbackrest"]
    bundle = sorted((repository / "backup" / NAME / engine["label"]).rglob("bundle/*"))[0]
    segment = next((repository / "archive" / NAME).rglob(f"{engine['wal_stop']}-*"))
    given = {**options, "state": "verified", "backup_id": history.full["id"], "max_age": "0"}
    assert not run_module("pg_backup", {**given, "verify_level": "checksum"})["failed"]
    for path in (bundle, segment):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 0x01
        path.write_bytes(damaged)
        try:
            failed = run_module("pg_backup", {**given, "verify_level": "checksum"})
            assert failed["failed"] and failed["verification"]["status"] == "failed", failed
            assert (segment.name[:24] if path == segment else engine["label"]) in failed["verification"]["cause"], failed
        finally:
            path.write_bytes(content)
    assert not run_module("pg_backup", {**given, "verify_level": "content"})["failed"]


def children(pid: int) -> list[int]:
    """Return the processes that a process started, and theirs."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def test_killed_backup_leaves_nothing(options: dict[str, t.Any], history: History, run_module: Runner, info: t.Callable[..., dict[str, t.Any]]) -> None:
    """SIGKILL for pgBackRest while it copies: the task fails, nothing is listed, and the next backup works."""
    before = info()["backups"]
    process = run_module.start("pg_backup", {**options, "max_age": "0"})
    deadline = time.monotonic() + 60
    killed = 0
    while not killed and process.poll() is None:
        assert time.monotonic() < deadline
        for child in children(process.pid):
            with contextlib.suppress(OSError):
                if b"\0backup\0" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                    time.sleep(0.3)
                    os.kill(child, signal.SIGKILL)
                    killed += 1
                    break
        time.sleep(0.01)
    result = run_module.finish(process)
    assert killed and result["failed"] and "SIGKILL" in result["msg"], result
    after = info()
    assert [item["id"] for item in after["backups"]] == [item["id"] for item in before] and after["incomplete"] == []


def test_increments_and_retention(
    cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner, info: t.Callable[..., dict[str, t.Any]]
) -> None:
    """Differential and incremental backups stand on others; what others stand on cannot go; retention says why each stays."""
    for kind, short in (("differential", "diff"), ("incremental", "incr")):
        planned = run_module("pg_backup", {**options, "backup_type": kind, "max_age": "0"}, check=True)
        taken = run_module("pg_backup", {**options, "backup_type": kind, "max_age": "0"})
        assert taken["changed"] and taken["actions"] == planned["actions"] == [f"take a {short} backup"], taken
        assert taken["diff"] == planned["diff"] and taken["backup"]["contents"]["pgbackrest"]["type"] == short
    full, diff, incr = info()["backups"]
    assert full["contents"]["pgbackrest"]["children"] == [item["contents"]["pgbackrest"]["label"] for item in (diff, incr)]
    assert diff["contents"]["pgbackrest"]["label"] in incr["contents"]["pgbackrest"]["references"]
    newest = run_module("pg_backup", {**options, "backup_type": "incremental"})
    assert not newest["changed"] and newest["backup"]["id"] == incr["id"]
    refused = run_module("pg_backup", {**options, "state": "absent", "backup_id": diff["id"], "force": True})
    assert refused["failed"] and f"{incr['id']} are based on it" in refused["msg"], refused
    for check in (True, False):
        gone = run_module("pg_backup", {**options, "state": "absent", "backup_id": incr["id"], "force": True}, check=check)
        assert gone["changed"] and gone["pruned"] == [incr["id"]], gone
    assert [item["id"] for item in info()["backups"]] == [full["id"], diff["id"]]
    assert not run_module("pg_backup", {**options, "state": "absent", "backup_id": incr["id"]})["changed"]
    retention = {"keep_last": 1, "min_good": 1, "grace": "0"}
    kept = run_module("pg_backup", {**options, "state": "pruned", "retention": retention}, check=True)
    assert not kept["changed"] and [item["id"] for item in kept["kept"]] == [full["id"], diff["id"]], kept
    assert any("is based on it" in reason for reason in kept["kept"][0]["reasons"])
    second = run_module("pg_backup", {**options, "max_age": "0", "retention": {**retention, "grace": "24h"}})
    assert second["changed"] and second["pruned"] == [] and "younger than 24h (grace)" in str(second["kept"]), second
    keep = run_module("pg_backup", {**options, "state": "pruned", "retention": retention}, check=True)
    assert keep["pruned"] == [diff["id"]] and "the newest verified one" in str(keep["kept"]), keep
    assert not run_module("pg_backup", {**options, "state": "verified", "verify_level": "restore"})["failed"]
    planned = run_module("pg_backup", {**options, "state": "pruned", "retention": retention}, check=True)
    pruned = run_module("pg_backup", {**options, "state": "pruned", "retention": retention})
    assert pruned["pruned"] == planned["pruned"] == [full["id"], diff["id"]], pruned
    assert pruned["actions"] == planned["actions"] and pruned["diff"] == planned["diff"]
    left = info()
    assert [item["id"] for item in left["backups"]] == [second["backup"]["id"]] and left["incomplete"] == []
    archive = cluster.folder / "store" / "pgbackrest" / NAME / "archive"
    first = min(path.name for path in archive.rglob("0000*-*") if re.match(r"[0-9A-F]{24}-", path.name))
    assert first.startswith(second["backup"]["contents"]["pgbackrest"]["wal_start"])
    only = run_module("pg_backup", {**options, "state": "absent", "backup_id": second["backup"]["id"], "force": True})
    assert only["failed"] and "the last full one" in only["msg"]


def test_recovery_of_the_real_cluster(
    cluster: Cluster, options: dict[str, t.Any], history: History, run_module: Runner, info: t.Callable[..., dict[str, t.Any]]
) -> None:
    """The cluster itself goes back in time and on from there: the new timeline is archived, backed up, and found by the next recovery."""
    cluster.query("INSERT INTO marks VALUES (6)")
    moment = cluster.query("SELECT clock_timestamp()")[0][0]
    time.sleep(0.2)
    cluster.query("INSERT INTO marks VALUES (7)")
    cluster.switch()
    cluster.stop()
    target = {"type": "time", "value": as_text(moment)}
    back = run_module("pg_backup", {**options, "state": "restored", "data_dir": str(cluster.data), "on_existing": "replace", "target": target})
    assert not back["failed"] and back["restored"][0]["target_reached"], back
    assert "is not in the archive yet" not in str(back.get("warnings"))
    cluster.start()
    assert [row[0] for row in cluster.query("SELECT id FROM marks ORDER BY id")] == [1, 2, 3, 4, 5, 6]
    assert cluster.query("SELECT pg_is_in_recovery()")[0][0] is False
    assert list((cluster.folder / "store" / "pgbackrest" / NAME / "archive").rglob("00000002.history"))
    cluster.query("INSERT INTO marks VALUES (8)")
    cluster.switch()
    found = info()
    assert found["backups"][-1]["contents"]["pgbackrest"]["recovery_timeline"] == 2
    assert found["recoverable_to"] >= moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    result, data = restore_into(cluster, options, run_module, None)
    assert not result["failed"] and cluster.marks(data) == [1, 2, 3, 4, 5, 6, 8], result
    shutil.rmtree(data)
    result, data = restore_into(cluster, options, run_module, {"type": "latest", "timeline": "current"})
    assert not result["failed"] and cluster.marks(data) == [1, 2, 3, 4, 5, 6, 7], result
    shutil.rmtree(data)
    later = run_module("pg_backup", {**options, "backup_type": "incremental", "max_age": "0"})
    assert not later["failed"] and later["backup"]["source"]["timeline"] == 2, later


@pytest.fixture(scope="module")
def tls_s3(s3_server: S3Server, server_root: pathlib.Path) -> t.Iterator[dict[str, t.Any]]:
    """The option ``store`` of a bucket behind nginx, whose certificate an authority of our own has signed."""
    assert shutil.which("nginx"), "nginx is missing; install the package nginx-light"
    folder, port = server_root / "tls", free_port()
    folder.mkdir(mode=0o755)
    make_authority(folder)
    issue(folder, "s3", "localhost", "DNS:localhost,IP:127.0.0.1")
    (folder / "ca.crt").chmod(0o644)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {'user root;' if os.geteuid() == 0 else ''}
        events {{ worker_connections 256; }}
        http {{ access_log off; {temporary}
          server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/s3.crt; ssl_certificate_key {folder}/s3.key; client_max_body_size 0;
            location / {{ proxy_pass {s3_server.endpoint_url}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
              proxy_request_buffering off; }} }} }}
        """
    )
    process = subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"])
    try:
        time.sleep(0.5)
        assert process.poll() is None, (folder / "error.log").read_text()
        store = s3_server.store(s3_server.new_bucket(), "production")
        yield {**store, "endpoint_url": f"https://localhost:{port}", "aws_ca_bundle": str(folder / "ca.crt")}
    finally:
        process.terminate()
        process.wait(10)


def test_bucket_and_copies(
    cluster: Cluster, options: dict[str, t.Any], history: History, tls_s3: dict[str, t.Any], s3_server: S3Server, run_module: Runner
) -> None:
    """A repository in a bucket behind TLS, in clear text since that is asked for, and a copy in a folder; a copy that fails is named."""
    copy = {"type": "local", "path": str(cluster.folder / "copy")}
    given = {**options, "name": "both", "store": tls_s3, "copies": [copy], "repository_passphrase": None, "encryption": {"type": "none"}}
    refused = run_module("pg_backup", {**given, "store": {**tls_s3, "endpoint_url": "http://localhost:1"}})
    assert refused["failed"] and "by TLS only" in refused["msg"], refused
    cluster.archive_to(pgbackrest_conf(tls_s3, "both", data_dir=str(cluster.data), encrypted=False, copies=[copy]), "both")
    with watched(s3_server.secret_key) as seen:
        taken = run_module("pg_backup", given)
    assert not taken["failed"] and not seen, (taken, seen)
    assert taken["actions"] == [
        "make the stanza both",
        "prove that the log arrives in the repository",
        "take a full backup",
        f"take a full backup in {copy['path']}/pgbackrest/both",
    ]
    keys = s3_server.keys(tls_s3["bucket"])
    assert "production/pgbackrest/both/backup/both/backup.info" in keys and f"production/postgres/both/{taken['backup']['id']}/manifest.json" in keys
    assert s3_server.secret_key not in str(taken)
    assert not run_module("pg_backup", given)["changed"]
    held = run_module("pg_backup", {**given, "state": "copied"})
    assert not held["failed"] and not held["changed"] and len(held["diff"]["after"]["state"]) == 1, held
    listed = run_module("pg_backup_info", {"name": "both", "store": tls_s3})
    assert [item["id"] for item in listed["backups"]] == [taken["backup"]["id"]] and listed["backups"][0]["good"], listed
    cluster.query("INSERT INTO marks VALUES (9)")
    cluster.switch()
    result, data = restore_into(cluster, given, run_module, None)
    assert not result["failed"] and cluster.marks(data)[-1] == 9, result
    shutil.rmtree(data)
    (pathlib.Path(copy["path"]) / "pgbackrest" / "both" / "backup" / "both" / "backup.info").write_text("broken")
    (pathlib.Path(copy["path"]) / "pgbackrest" / "both" / "backup" / "both" / "backup.info.copy").write_text("broken")
    failed = run_module("pg_backup", {**given, "max_age": "0"})
    assert failed["failed"] and copy["path"] in failed["msg"], failed
