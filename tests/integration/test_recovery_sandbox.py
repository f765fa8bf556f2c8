# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recovery_sandbox on real backups of real servers: an application works on what was restored, a damaged backup is named, and nothing is left."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import secrets
import shutil
import signal
import time
import typing as t

import pytest
from conftest import AgeKeys, PostgresServer, Runner, free_port, newest_postgresql
from redis_jobs import SECRET, RedisServer, Starter, start_redis
from test_pg_backup_physical import Cluster
from waiting import until

from ansible_collections.mainstay.ops.plugins.filter.pgbackrest_conf import pgbackrest_conf
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.remains import processes_in

__all__ = ["start_redis"]

Options = dict[str, t.Any]
Result = dict[str, t.Any]
ENTRIES = 41

APPLICATION = """
import http.server, os, subprocess

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        rows = subprocess.run(["psql", "-Atc", "SELECT count(*) FROM entries"], capture_output=True, text=True).stdout
        keys = subprocess.run(["redis-cli", "-p", os.environ["CACHE_PORT"], "INCR", "visits"], capture_output=True, text=True).stdout
        with open(os.environ["UPLOAD"]) as upload:
            text = f"{rows.strip()} entries, visit {keys.strip()}, {upload.read().strip()}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Drills:
    """Catalogues of a database, a cache and files in one store, and the module's options for drilling them."""

    def __init__(self, root: pathlib.Path, run: Runner, keys: AgeKeys, logins: dict[str, Options]) -> None:
        """Make the folders and the application."""
        self.root, self._run, self._logins = root, run, logins
        for name in ("w", "tree"):
            (root / name).mkdir()
        (root / "w").chmod(0o711)
        (root / "tree/upload.txt").write_text("an upload\n")
        (root / "application.py").write_text(APPLICATION)
        store = {"type": "local", "path": str(root / "store")}
        self.backup = {
            "name": "ledger", "store": store, "max_age": "0", "retention": None,
            "encryption": {"recipients": [keys.operators.public], "identity_file": keys.operators.path},
        }
        upload = str(root / "tree/upload.txt")
        self.options: Options = {
            "name": "ledger",
            "store": store,
            "encryption": {"identity_file": keys.operators.path},
            "work_dir": str(root / "w"),
            "parts": [
                {"part": "database", "queries": [{"database": "drilled", "query": "SELECT count(*) FROM entries", "expect": str(ENTRIES)}]},
                {"part": "cache"},
                {"part": "files"},
            ],
            "application": {
                "argv": ["/usr/bin/python3", str(root / "application.py")],
                "environment": {
                    "PORT": "{port}", "PGHOST": "{database_host}", "PGPORT": "{database_port}", "PGUSER": "{database_user}", "PGDATABASE": "drilled",
                    "CACHE_PORT": "{cache_port}", "REDISCLI_AUTH": "{cache_password}", "UPLOAD": f"{{files_dir}}{upload}",
                },
                "timeout": 60,
            },
            "checks": [{
                "name": "front page", "type": "http", "url": "http://127.0.0.1:{port}/", "timeout": 20,
                "body_regex": f"^{ENTRIES} entries, visit [0-9]+, an upload$",
            }],
        }

    def take(self, *modules: str) -> dict[str, str]:
        """Take backups; return their ids."""
        own: dict[str, Options] = {
            "pg_backup": {**self._logins["pg_backup"], "databases": ["drilled"]},
            "redis_snapshot": self._logins["redis_snapshot"],
            "files_backup": {"paths": [str(self.root / "tree")], "state_dir": str(self.root / "state"), "backup_type": "full"},
        }
        found = {}
        for module in modules or own:
            result = self._run(module, {**{key: given for key, given in self.backup.items() if given is not None}, **own[module]})
            assert not result["failed"], result
            found[module] = result["backup"]["id"]
        return found

    def __call__(self, check: bool = False, **given: t.Any) -> Result:
        """Drill; nothing may be left, and no secret may show."""
        result = self._run("recovery_sandbox", {**self.options, **given}, check=check)
        assert os.listdir(self.root / "w") == [] and processes_in(str(self.root)) == []
        assert SECRET not in json.dumps(result) and "AGE-SECRET-KEY" not in json.dumps(result)
        return result

    def damage(self, kind: str, backup_id: str) -> None:
        """Flip a bit in the middle of the largest encrypted object of a backup."""
        path = max((self.root / "store" / kind / "ledger" / backup_id).glob("*.age"), key=lambda path: path.stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


@pytest.fixture(scope="module")
def cache(start_redis: Starter) -> RedisServer:  # noqa: F811
    """A cache with some keys."""
    server = start_redis()
    server.fill()
    return server


@pytest.fixture
def drills(server_root: pathlib.Path, run_module: Runner, age_keys: AgeKeys, postgres_server: PostgresServer, cache: RedisServer) -> t.Iterator[Drills]:
    """A database, a cache and files, with a backup of each."""
    postgres_server.query("CREATE DATABASE drilled")
    postgres_server.query(f"CREATE TABLE entries AS SELECT id, repeat('x', 500) FROM generate_series(1, {ENTRIES}) id", "drilled")
    root = server_root / f"d{secrets.token_hex(1)}"
    root.mkdir(mode=0o711)
    root.chmod(0o711)
    try:
        yield Drills(root, run_module, age_keys, {"pg_backup": postgres_server.login, "redis_snapshot": cache.login})
    finally:
        postgres_server.drop("drilled")
        shutil.rmtree(root)


def outcomes(result: Result) -> dict[str, str]:
    """How each check ended."""
    return {entry["name"]: entry["outcome"] for entry in result["evidence"]}


def test_the_application_works_on_what_was_restored(drills: Drills) -> None:
    """Its answer has rows, a key that it could write, and a file; the figures are there, and the plan said so before."""
    taken = drills.take()
    planned = drills(check=True)
    result = drills()
    assert not result["failed"], result
    assert result["changed"] and planned["changed"] and result["actions"] == planned["actions"] == [
        "restore the newest good backup of database (postgres ledger)", "restore the newest good backup of cache (redis ledger)",
        "restore the newest good backup of files (files ledger)", "start /usr/bin/python3 on what was restored, and test it", "remove everything",
    ]
    assert set(outcomes(result).values()) == {"ok"}, result["evidence"]
    assert "smoke test front page" in outcomes(result) and "everything was removed" in outcomes(result)
    assert result["backups"] == {"database ledger": taken["pg_backup"], "cache ledger": taken["redis_snapshot"], "files ledger": taken["files_backup"]}
    figures = result["measured"]
    assert set(figures) == {f"{part}_{figure}_seconds" for part in ("database", "cache", "files", "application") for figure in ("rto", "rpo")}
    restored = sum(figures[f"{part}_rto_seconds"] for part in ("database", "cache", "files"))
    assert 0 < restored <= figures["application_rto_seconds"] <= result["finished"] - result["started"]
    assert figures["application_rpo_seconds"] == max(figures[f"{part}_rpo_seconds"] for part in ("database", "cache", "files")) > 0
    assert len(result["lost"]) == 3 and "database (postgres ledger): what was written after 20" in result["lost"][0]
    assert {phase["outcome"] for phase in result["phases"]} == {"ok"}
    assert planned["phases"] == planned["evidence"] == planned["lost"] == [] and planned["measured"] == planned["backups"] == {}


@pytest.mark.parametrize("level", ["verify", "restore"])
def test_a_damaged_newest_backup_is_named_and_the_one_before_is_drilled(drills: Drills, level: str) -> None:
    """And from then on it is no good one, which makes the freshness alert fire; the next drill still says so."""
    before = drills.take("pg_backup")["pg_backup"]
    # Backups of the same second have no order.
    time.sleep(1)
    newest = drills.take("pg_backup")["pg_backup"]
    drills.damage("postgres", newest)
    given = {"parts": [{"part": "database"}], "application": None, "checks": [], "level": level}
    result = drills(**given)
    assert not result["failed"], result
    bad = [entry for entry in result["evidence"] if entry["outcome"] == "failed"]
    assert len(bad) == 1 and newest in bad[0]["seen"] and "SHA-256" in bad[0]["seen"]
    assert result["backups"] == {"database ledger": before}
    assert [phase["outcome"] for phase in result["phases"] if "database" in phase["name"]] == ["failed", "ok"]
    assert ("database_rto_seconds" in result["measured"]) == (level == "restore")
    listing = drills._run("pg_backup_info", {"name": "ledger", "store": drills.options["store"]})
    assert {backup["id"]: backup["good"] for backup in listing["backups"]} == {before: True, newest: False}
    again = drills(**given)
    said = [entry["seen"] for entry in again["evidence"] if entry["outcome"] == "failed"]
    assert len(said) == 1 and said[0].startswith(f"the newest backup, {newest}, is at fault")


def test_no_backup_is_sound(drills: Drills) -> None:
    """The application is not started, and it is said why."""
    drills.damage("redis", drills.take("redis_snapshot")["redis_snapshot"])
    result = drills(parts=[{"part": "cache"}])
    seen = {entry["name"]: entry["seen"] for entry in result["evidence"] if entry["outcome"] == "failed"}
    assert "it was not started" in seen["application"] and "cache (redis ledger): there is a good backup" in seen
    assert result["backups"] == {} and "application_rto_seconds" not in result["measured"]


def test_an_application_that_does_not_work(drills: Drills) -> None:
    """One that ends, and one that answers something else: the smoke test fails with what was seen."""
    drills.take("redis_snapshot")
    given = {"parts": [{"part": "cache"}], "checks": [{"name": "page", "type": "http", "url": "http://127.0.0.1:{port}/", "status": [204]}]}
    ended = drills(**given, application={"argv": ["/bin/sh", "-c", "echo no such database >&2; exit 3"], "timeout": 30})
    seen = {entry["name"]: entry["seen"] for entry in ended["evidence"] if entry["outcome"] == "failed"}
    assert "ended with status 3: no such database" in seen["the application runs"] and "smoke test page" in seen
    wrong = drills(**given, application={"argv": ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"], "timeout": 3})
    seen = {entry["name"]: entry["seen"] for entry in wrong["evidence"] if entry["outcome"] == "failed"}
    assert list(seen) == ["smoke test page"] and "200" in seen["smoke test page"]
    assert "application_rto_seconds" not in wrong["measured"]


def test_what_a_killed_drill_has_left_is_removed_by_the_next(drills: Drills, run_module: Runner) -> None:
    """Servers and the application run on after SIGKILL; the next drill ends them."""
    drills.take()
    work = drills.root / "w"
    checks = [{"name": "never", "type": "http", "url": "http://127.0.0.1:{port}/", "status": [299]}]
    process = run_module.start("recovery_sandbox", {**drills.options, "checks": checks})
    until(lambda: list(work.glob("*/application")) and len(processes_in(str(work))) > 2, "the start of the application")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (left,) = work.iterdir()
    until(lambda: any("postgres" in pathlib.Path(f"/proc/{pid}/comm").read_text() for pid in processes_in(str(left))), "a server that was left")
    planned = run_module("recovery_sandbox", drills.options, check=True)
    assert planned["actions"][0] == f"remove {left}, which a drill that was killed has left"
    result = drills()
    assert not result["failed"] and not left.exists() and set(outcomes(result).values()) == {"ok"}, result


def test_a_drill_that_is_interrupted_removes_everything(drills: Drills, run_module: Runner) -> None:
    """SIGTERM in the middle."""
    drills.take()
    work = drills.root / "w"
    process = run_module.start("recovery_sandbox", {**drills.options, "checks": [{"type": "http", "url": "http://127.0.0.1:{port}/", "status": [299]}]})
    until(lambda: list(work.glob("*/application")), "the start of the application")
    process.send_signal(signal.SIGTERM)
    result = run_module.finish(process)
    assert result["failed"] and "SIGTERM" in result["msg"]
    assert os.listdir(work) == [] and processes_in(str(drills.root)) == []


def test_a_cluster_is_brought_to_a_random_moment(server_root: pathlib.Path, run_module: Runner) -> None:
    """Of physical backups with their log: a moment between the end of the backup and the last commit, on a server that takes writes."""
    folder = server_root / f"p{secrets.token_hex(1)}"
    (folder / "store").mkdir(parents=True)
    (folder / "w").mkdir()
    for path in (folder, folder / "store", folder / "w"):
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")
    cluster, name = Cluster(newest_postgresql(), folder, free_port()), f"drill-{secrets.token_hex(3)}"
    cluster.make()
    try:
        store = {"type": "local", "path": str(folder / "store")}
        cluster.archive_to(pgbackrest_conf(store, name, data_dir=str(cluster.data), repository_passphrase=SECRET), name)
        login = {"login_unix_socket": str(folder), "login_port": cluster.port}
        taken = run_module("pg_backup", {"name": name, "method": "physical", "store": store, "repository_passphrase": SECRET, **login})
        assert not taken["failed"], taken
        cluster.query("CREATE TABLE marks (id int PRIMARY KEY)")
        for mark in range(4):
            cluster.query(f"INSERT INTO marks VALUES ({mark})")
            time.sleep(0.3)
        cluster.switch()
    finally:
        cluster.stop("immediate")
    write = "CREATE TABLE written AS SELECT 1 AS one; SELECT one FROM written"
    result = run_module("recovery_sandbox", {
        "name": name, "store": store, "encryption": {"type": "age"}, "work_dir": str(folder / "w"),
        "parts": [{"part": "database", "method": "physical", "repository_passphrase": SECRET,
                   "queries": [{"database": "postgres", "query": write, "expect": "1"}]}],
    })
    assert not result["failed"] and set(outcomes(result).values()) == {"ok"}, result
    sound = next(entry["seen"] for entry in result["evidence"] if "is sound" in entry["name"])
    landed = datetime.datetime.fromisoformat(sound.partition("at the moment ")[2])
    info = run_module("pg_backup_info", {"name": name, "store": store, "repository_passphrase": SECRET})
    assert datetime.datetime.fromisoformat(info["recoverable_from"]) <= landed <= datetime.datetime.fromisoformat(info["recoverable_to"])
    assert result["measured"]["database_rto_seconds"] > 0 and SECRET not in json.dumps(result)
    assert os.listdir(folder / "w") == [] and processes_in(str(folder)) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"parts": []}, "parts is empty"),
        ({"attempts": 0}, "attempts is 0"),
        ({"work_dir": "/nowhere"}, "there is no such folder"),
        ({"work_dir": "/usr/share/doc/../doc/../doc/../doc/../doc"}, "the path of a Unix socket is longer than 107 bytes"),
        ({"level": "verify"}, "the level verify restores nothing"),
        ({"checks": []}, "say what is started, and how one sees that it works"),
        ({"checks": [{"type": "http"}]}, "could not plan check 1"),
        ({"checks": [{"type": "gopher"}]}, "could not read check 1"),
        ({"name": "a/b"}, "could not drill database"),
        ({"store": {"type": "local", "path": "relative"}}, "absolute"),
    ],
)
def test_refusals(drills: Drills, given: Options, words: str) -> None:
    """One sentence, before anything is done."""
    result = drills(**given)
    assert result["failed"] and words in result["msg"], result
