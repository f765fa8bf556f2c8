# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with backups, made to go wrong for real: the cause is named, nothing is left that looks like a backup, no secret shows."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
import typing as t

import pytest

if t.TYPE_CHECKING:
    from conftest import AgeKeys, PostgresServer, Runner, S3Server

SLOW_ZSTD = """#!/bin/sh
case "$*" in *--version*) ;; *) touch "$SLOW_FLAG"; while [ -e "$SLOW_FLAG" ]; do sleep 0.05; done ;; esac
exec /usr/bin/zstd "$@"
"""
"""A zstd that waits until a file is taken away: by then the pipe is full and pg_dump stands still in the middle of its work."""


@pytest.fixture(scope="module")
def books(postgres_server: PostgresServer) -> t.Iterator[PostgresServer]:
    """The server with the database ``books``: 8 MB that do not compress."""
    postgres_server.query("CREATE DATABASE books")
    postgres_server.query("CREATE EXTENSION pgcrypto; CREATE TABLE pages AS SELECT n, gen_random_bytes(1000) AS body FROM generate_series(1, 8000) n", "books")
    yield postgres_server
    postgres_server.drop("books")


@pytest.fixture
def options(books: PostgresServer, tmp_path: pathlib.Path, age_keys: AgeKeys, server_root: pathlib.Path) -> dict[str, t.Any]:
    """Options of the module: the catalogue ``books`` in a folder, without globals."""
    store = {"type": "local", "path": str(tmp_path / "store")}
    encryption = {"recipients": [age_keys.operators.public]}
    wanted = {"name": "books", "databases": ["books"], "include_globals": False, "encryption": encryption}
    return {**books.login, **wanted, "store": store, "work_dir": str(server_root)}


RECORDING = """#!/bin/sh
{{ printf '%s\\0' {name}; cat /proc/$$/cmdline /proc/$$/environ; }} >>{record}
exec {bin_dir}/{name} "$@"
"""
"""A program of PostgreSQL that notes its arguments and its environment: many end before anybody has looked at them from the outside."""


@pytest.fixture
def slow(tmp_path: pathlib.Path) -> t.Iterator[dict[str, str]]:
    """Environment with a zstd that waits while the file ``SLOW_FLAG``, which it makes, is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "zstd").write_text(SLOW_ZSTD)
    (folder / "zstd").chmod(0o755)
    yield {"PATH_FIRST": str(folder), "SLOW_FLAG": str(tmp_path / "slow")}
    (tmp_path / "slow").unlink(missing_ok=True)


def wait_for(condition: t.Callable[[], t.Any], what: str) -> t.Any:
    """Return what the condition gives once it is true, within a minute."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)
    return found


def children(pid: int) -> dict[str, int]:
    """Return the running children of a process: pid by name."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _unused, rest = (entry / "stat").read_text().rpartition(")")
            if int(rest.split()[1]) == pid and rest.split()[0] != "Z":
                found[name.partition("(")[2]] = int(entry.name)
    return found


def left_in(store: dict[str, t.Any]) -> list[str]:
    """Return every file below a local store, temporary ones too."""
    return [str(path) for path in pathlib.Path(store["path"]).rglob("*") if path.is_file()]


def in_the_middle(run_module: Runner, options: dict[str, t.Any], slow: dict[str, str]) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """Start a backup; return it and its programs once pg_dump has filled the pipe."""
    process = run_module.start("pg_backup", options, **slow)
    wait_for(lambda: os.path.exists(slow["SLOW_FLAG"]), "the compression")
    wait_for(lambda: len(children(process.pid)) == 3, "the start of all programs")
    running = children(process.pid)
    time.sleep(0.3)
    return process, running


@pytest.mark.parametrize(
    ("victim", "cause"),
    [
        ("pg_dump", "pg_dump was killed by SIGKILL"),
        ("age", "age was killed by SIGKILL"),
        ("zstd", "zstd was killed by SIGKILL"),
        ("server", "pg_dump ended with status 1: pg_dump: error: Dumping the contents of table \"pages\" failed"),
    ],
)  # fmt: skip
def test_a_dump_cut_short(
    run_module: Runner, books: PostgresServer, options: dict[str, t.Any], slow: dict[str, str], victim: str, cause: str
) -> None:
    """Any program of the pipe killed in the middle, or the server's side of the dump ended: the message names it, nothing is left."""
    process, running = in_the_middle(run_module, options, slow)
    if victim == "server":
        ended = books.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'books' AND query LIKE 'COPY%'")
        assert ended == [(True,)]
        time.sleep(0.2)
    else:
        os.kill(next(pid for name, pid in running.items() if name.startswith(victim)), signal.SIGKILL)
    pathlib.Path(slow["SLOW_FLAG"]).unlink()
    result = run_module.finish(process)
    assert result["failed"] and cause in result["msg"], result
    assert left_in(options["store"]) == []
    info = run_module("pg_backup_info", {"name": "books", "store": options["store"]})
    assert info["backups"] == [] and info["incomplete"] == [] and info["latest"] is None and info["recoverable_to"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_module_is_stopped(run_module: Runner, books: PostgresServer, options: dict[str, t.Any], slow: dict[str, str], number: signal.Signals) -> None:
    """A stopped run takes its programs with it and leaves nothing; a killed one leaves no backup and no session on the server."""
    process, running = in_the_middle(run_module, options, slow)
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait(10)
        pathlib.Path(slow["SLOW_FLAG"]).unlink()
    else:
        result = run_module.finish(process)
        assert result["failed"] and f"the module received {number.name}" in result["msg"], result
        assert left_in(options["store"]) == []
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in running.values()), "the end of the programs")
    wait_for(lambda: not books.query("SELECT pid FROM pg_stat_activity WHERE datname = 'books'"), "the end of the sessions")
    info = run_module("pg_backup_info", {"name": "books", "store": options["store"]})
    assert info["backups"] == [] and info["incomplete"] == []


def test_the_module_is_stopped_while_it_sends_to_s3(
    run_module: Runner, options: dict[str, t.Any], s3_server: S3Server, slow: dict[str, str]
) -> None:
    """The upload's own thread waits for the dump, which must end first: no hanging, and nothing in the bucket."""
    bucket = s3_server.new_bucket()
    process, _unused = in_the_middle(run_module, {**options, "store": s3_server.store(bucket)}, slow)
    process.terminate()
    result = run_module.finish(process)
    assert result["failed"] and "the module received SIGTERM" in result["msg"], result
    assert s3_server.keys(bucket) == [] and "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder on a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk(run_module: Runner, options: dict[str, t.Any], small_disk: pathlib.Path) -> None:
    """The store's own error is the cause, not the broken pipe behind it, and the space is free again."""
    store = {"type": "local", "path": str(small_disk / "store")}
    result = run_module("pg_backup", {**options, "store": store})
    assert result["failed"] and f"to {store['path']}: No space left on device" in result["msg"], result
    assert left_in(store) == [] and os.statvfs(small_disk).f_bavail > 0.9 * os.statvfs(small_disk).f_blocks


def test_an_unmounted_disk(run_module: Runner, options: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    """A folder whose parent is not there is refused, not made."""
    result = run_module("pg_backup", {**options, "store": {"type": "local", "path": str(tmp_path / "mnt" / "store")}}, check=True)
    assert result["failed"] and "its parent folder does not exist; create it or mount the disk" in result["msg"]


def test_s3_that_does_not_answer(run_module: Runner, options: dict[str, t.Any], s3_server: S3Server, closed_port: int) -> None:
    """A closed port, a bucket that is not there: found before anything is dumped, also by a check run."""
    bucket = s3_server.new_bucket()
    closed = {**s3_server.store(bucket), "endpoint_url": f"http://127.0.0.1:{closed_port}"}
    result = run_module("pg_backup", {**options, "store": closed}, check=True)
    assert result["failed"] and f'Could not connect to the endpoint URL: "{closed["endpoint_url"]}' in result["msg"], result
    result = run_module("pg_backup", {**options, "store": s3_server.store("no-such-bucket")})
    assert result["failed"] and "The specified bucket does not exist; create the bucket or correct its name" in result["msg"], result


def test_s3_that_goes_away(run_module: Runner, options: dict[str, t.Any], s3_server: S3Server, slow: dict[str, str]) -> None:
    """The bucket vanishes in the middle of the dump: the upload's error is the cause, and no object and no part is left."""
    bucket = s3_server.new_bucket()
    process, _unused = in_the_middle(run_module, {**options, "store": s3_server.store(bucket)}, slow)
    s3_server.client().delete_bucket(Bucket=bucket)
    pathlib.Path(slow["SLOW_FLAG"]).unlink()
    result = run_module.finish(process)
    assert result["failed"] and f"s3://{bucket}" in result["msg"] and "The specified bucket does not exist" in result["msg"], result


def test_s3_keeps_nothing_of_a_cut_dump(run_module: Runner, options: dict[str, t.Any], s3_server: S3Server, slow: dict[str, str]) -> None:
    """pg_dump killed while the object goes to S3: no object, no unfinished upload."""
    bucket = s3_server.new_bucket()
    process, running = in_the_middle(run_module, {**options, "store": s3_server.store(bucket)}, slow)
    os.kill(running["pg_dump"], signal.SIGKILL)
    pathlib.Path(slow["SLOW_FLAG"]).unlink()
    result = run_module.finish(process)
    assert result["failed"] and "pg_dump was killed by SIGKILL" in result["msg"], result
    assert s3_server.keys(bucket) == [] and "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


@pytest.fixture
def shelf(books: PostgresServer) -> t.Iterator[tuple[str, ...]]:
    """Two more databases beside ``books``, as large."""
    names = ("books 2", "books 3")
    for name in names:
        books.query(f'CREATE DATABASE "{name}" TEMPLATE books')
    yield ("books", *names)
    books.drop(*names)


def many_in_the_middle(run_module: Runner, options: dict[str, t.Any], slow: dict[str, str]) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a backup of three databases at once; return it and the ids of its dumps once all of them stand still."""
    process = run_module.start("pg_backup", options, **slow)

    def dumps() -> list[int]:
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name, _unused, rest = (entry / "stat").read_text().rpartition(")")
                if int(rest.split()[1]) == process.pid and name.endswith("(pg_dump"):
                    found.append(int(entry.name))
        return found

    wait_for(lambda: len(dumps()) == 3, "the start of all dumps")
    time.sleep(0.5)
    return process, dumps()


@pytest.mark.parametrize("how", ["one dump is killed", "the server ends one session", "the module is stopped"])
def test_many_databases_cut_short(
    run_module: Runner, books: PostgresServer, shelf: tuple[str, ...], options: dict[str, t.Any], slow: dict[str, str], how: str
) -> None:
    """The first that fails stops the others at once, though they stand still, and is the one that is named; no program, no session, no file is left."""
    process, dumps = many_in_the_middle(run_module, {**options, "databases": list(shelf), "jobs": 3}, slow)
    if how == "one dump is killed":
        session = "SELECT pid FROM pg_stat_activity WHERE datname = 'books 2' AND query LIKE 'COPY%'"
        wait_for(lambda: books.query(session), "the dump of books 2")
        owner = [pid for pid in dumps if b"books 2" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(owner[0], signal.SIGKILL)
        pathlib.Path(slow["SLOW_FLAG"]).unlink()
        cause = "could not dump the database books 2: could not write postgres/books/"
    elif how == "the server ends one session":
        books.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'books 3' AND query LIKE 'COPY%'")
        time.sleep(0.2)
        pathlib.Path(slow["SLOW_FLAG"]).unlink()
        cause = "could not dump the database books 3: could not write postgres/books/"
    else:
        process.terminate()
        cause = "the module received SIGTERM"
    result = run_module.finish(process)
    assert result["failed"] and cause in result["msg"], result
    assert left_in(options["store"]) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in dumps)
    wait_for(lambda: not books.query("SELECT pid FROM pg_stat_activity WHERE datname LIKE 'books%'"), "the end of the sessions")
    info = run_module("pg_backup_info", {"name": "books", "store": options["store"]})
    assert info["backups"] == [] and info["incomplete"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_room_to_restore(run_module: Runner, books: PostgresServer, options: dict[str, t.Any], age_keys: AgeKeys, small_disk: pathlib.Path) -> None:
    """Found before anything is begun, by a check run of the restore too; the backup is not blamed."""
    assert run_module("pg_backup", options)["changed"]
    small = {**options, "databases": [], "encryption": {"identity": age_keys.operators.private}, "work_dir": str(small_disk)}
    refused = run_module("pg_backup", {**small, "state": "verified"})
    assert refused["failed"] and f"could not use the folder {small_disk} for a restore: about " in refused["msg"], refused
    assert "bytes are needed" in refused["msg"] and "make room or name another one in work_dir" in refused["msg"] and "verification" not in refused
    staged = {**small, "state": "restored", "target_database": "books copy", "restore_jobs": 2}
    refused = run_module("pg_backup", staged, check=True)
    assert refused["failed"] and f"could not use the folder {small_disk} for an opened dump: about " in refused["msg"], refused
    result = run_module("pg_backup", {**staged, "restore_jobs": 1})
    assert not result["failed"] and result["restored"][0]["rows_checked"] == 8000, result
    books.drop("books copy")
    assert list(small_disk.iterdir()) == []


def test_a_staged_dump_is_private_and_goes_away(
    run_module: Runner, books: PostgresServer, options: dict[str, t.Any], age_keys: AgeKeys, tmp_path: pathlib.Path
) -> None:
    """While several processes restore, the dump is readable by its owner only; after a stop in the middle neither it nor the new database is left."""
    assert run_module("pg_backup", options)["changed"]
    (tmp_path / "work").mkdir()
    base = {**options, "databases": [], "encryption": {"identity": age_keys.operators.private}, "work_dir": str(tmp_path / "work")}
    before = books.databases()
    process = run_module.start("pg_backup", {**base, "state": "restored", "target_database": "books copy", "restore_jobs": 2})
    staged = wait_for(lambda: list((tmp_path / "work").glob("mainstay-restore-*/dump")), "the staged dump")
    assert staged[0].parent.stat().st_mode & 0o777 == 0o700 and staged[0].stat().st_mode & 0o777 == 0o600
    process.terminate()
    result = run_module.finish(process)
    assert result["failed"] and "the module received SIGTERM" in result["msg"], result
    assert list((tmp_path / "work").iterdir()) == [] and books.databases() == before


def test_a_client_older_than_the_server(run_module: Runner, options: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    """Refused before anything is dumped."""
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    program.chmod(0o755)
    result = run_module("pg_backup", {**options, "pg_bin_dir": str(tmp_path)}, check=True)
    assert result["failed"] and f"{program} is of 9" in result["msg"] and "install the package postgresql-client-" in result["msg"], result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"login_password": "wrong-password"}, "could not connect to the database postgres"),
        ({"login_port": 1}, "could not connect to the database postgres"),
        ({"databases": ["nothing"]}, "could not back up nothing: there is no such database; there are "),
        ({"encryption": {"recipients": ["age1nonsense"]}}, "check encryption.recipients"),
        ({"max_age": "yesterday"}, "could not read the duration 'yesterday'"),
        ({"name": "../up"}, "could not use the catalogue name '../up'"),
        ({"compression": {"level": 30}}, "compression.level must be between 1 and 22"),
        ({"state": "restored", "backup_id": "latest"}, "none of the 0 backups there is good"),
        ({"state": "verified", "backup_id": "20200101T000000Z-00000000"}, "there is no such backup"),
        ({"state": "verified", "backup_id": "yesterday"}, "it is neither latest, latest_verified nor an id"),
    ],
)
def test_bad_input(run_module: Runner, options: dict[str, t.Any], change: dict[str, t.Any], message: str) -> None:
    """One clear error before anything is changed, and none of it shows the password."""
    result = run_module("pg_backup", {**options, **change})
    assert result["failed"] and message in result["msg"], result
    assert "wrong-password" not in json.dumps(result) and "exception" not in result
    assert left_in(options["store"]) == []


def test_a_second_writer_waits_outside(run_module: Runner, options: dict[str, t.Any], slow: dict[str, str]) -> None:
    """While one run holds the catalogue's lock, another one fails and says why; the first is not disturbed."""
    process, _unused = in_the_middle(run_module, options, slow)
    second = run_module("pg_backup", options)
    pathlib.Path(slow["SLOW_FLAG"]).unlink()
    first = run_module.finish(process)
    assert second["failed"] and "another run holds its lock on the server; wait for it to end" in second["msg"], second
    assert first["changed"] and len(left_in(options["store"])) == 2, first


def test_damage_is_named_and_the_backup_no_longer_counts(run_module: Runner, options: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """One flipped byte, a shortened, a missing object; a wrong key and an unreadable manifest are told apart from it."""
    taken = run_module("pg_backup", options)
    backup_id = taken["backup"]["id"]
    folder = pathlib.Path(options["store"]["path"]) / "postgres" / "books" / backup_id
    stored = folder / "books.dump.zst.age"
    good = stored.read_bytes()
    base = {**options, "state": "verified", "databases": [], "backup_id": backup_id}

    wrong_key = run_module("pg_backup", {**base, "encryption": {"identity": age_keys.stranger.private}})
    assert wrong_key["failed"] and f"the private key fits none of its recipients; use the key of one of {age_keys.operators.public}" in wrong_key["msg"]
    no_key = run_module("pg_backup", {**base, "verify_level": "content"}, check=True)
    assert no_key["failed"] and "there is no private key; give encryption.identity or encryption.identity_file" in no_key["msg"]
    assert run_module("pg_backup", options)["changed"] is False, "a wrong key says nothing about the backup"

    keyed = {**base, "encryption": {"identity": age_keys.operators.private}}
    for data, level, cause in (
        (good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :], "checksum", "its SHA-256 is"),
        (good[:-1] + bytes([good[-1] ^ 1]), "restore", "its SHA-256 is"),
        (good[:-100], "list", f"it has {len(good) - 100} bytes, its manifest says {len(good)}"),
        (None, "list", "it is missing"),
    ):
        stored.unlink(missing_ok=True)
        if data is not None:
            stored.write_bytes(data)
        result = run_module("pg_backup", {**keyed, "verify_level": level})
        assert result["failed"] and cause in result["msg"] and "books.dump.zst.age" in result["msg"], result
        assert result["verification"]["status"] == "failed" and result["verification"]["level"] == level
    assert list(pathlib.Path(options["work_dir"]).glob("mainstay-verify-*")) == []
    info = run_module("pg_backup_info", {"name": "books", "store": options["store"]})
    assert info["latest"] is None and info["backups"][0]["good"] is False
    assert run_module("pg_backup", options, check=True)["changed"], "a backup that is at fault is no reason not to take one"

    (folder / "manifest.json").write_text('{"format": 99}')
    info = run_module("pg_backup_info", {"name": "books", "store": options["store"]})
    assert [item["problem"] for item in info["backups"]] and "its format is 99, this version knows 1" in info["backups"][0]["problem"]
    result = run_module("pg_backup", keyed)
    assert result["failed"] and "its format is 99, this version knows 1" in result["msg"]


def test_what_comes_out_is_compared(run_module: Runner, options: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """A user's query that is answered otherwise, rows and tables that are not those of the manifest: the backup is at fault, and it is said how."""
    backup_id = run_module("pg_backup", options)["backup"]["id"]
    base = {**options, "state": "verified", "databases": [], "encryption": {"identity": age_keys.operators.private}}
    query = {"database": "books", "query": "SELECT count(*) FROM pages", "expect": "8001"}
    result = run_module("pg_backup", {**base, "verify_queries": [query]})
    assert result["failed"] and "it answered '8000', '8001' is expected" in result["msg"] and result["verification"]["status"] == "failed", result
    refused = run_module("pg_backup", {**base, "verify_queries": [{**query, "database": "other"}], "backup_id": backup_id})
    assert refused["failed"] and f"backup {backup_id} does not hold other" in refused["msg"]
    path = pathlib.Path(options["store"]["path"]) / "postgres" / "books" / backup_id / "manifest.json"
    manifest = json.loads(path.read_text())
    (database,) = manifest["contents"]["databases"]
    database["row_counts"]["public.pages"], database["row_counts"]["public.lost"], database["tables"] = 7999, 3, 2
    path.write_text(json.dumps(manifest))
    result = run_module("pg_backup", {**base, "backup_id": backup_id})
    assert result["failed"] and "2 tables were backed up, 1 are there" in result["msg"], result
    assert "public.pages had 7999 rows, it has 8000" in result["msg"] and "public.lost had 3 rows, it has -1" in result["msg"]
    target = run_module("pg_backup", {**base, "state": "restored", "backup_id": backup_id, "target_database": "books2"})
    assert target["failed"] and "public.pages had 7999 rows" in target["msg"], target


def test_a_swap_that_fails_leaves_the_old_database_open(run_module: Runner, books: PostgresServer, options: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """The last step fails (the name for the old database is taken): it is where it was, and lets people in."""
    backup_id = run_module("pg_backup", options)["backup"]["id"]
    books.query(f'CREATE DATABASE "books__before_{backup_id}"')
    before = books.databases()
    keyed = {**options, "databases": [], "encryption": {"identity": age_keys.operators.private}, "state": "restored", "on_existing": "rename"}
    try:
        result = run_module("pg_backup", keyed)
        assert result["failed"] and f'database "books__before_{backup_id}" already exists' in result["msg"], result
        assert books.databases() == before and books.query("SELECT count(*) FROM pages", "books") == [(8000,)]
    finally:
        books.drop(f"books__before_{backup_id}")


def test_a_restore_that_fails_leaves_the_old_database(run_module: Runner, books: PostgresServer, options: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """A dump that pg_restore cannot load (a constraint looks for a table without its schema): found by the trial, and harmless to what is there."""
    books.query("CREATE DATABASE trap")
    try:
        books.query(
            """
            CREATE TABLE other (n int);
            CREATE FUNCTION fits(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM other) >= 0; END';
            CREATE TABLE checked (n int CHECK (fits(n))); INSERT INTO checked VALUES (1)
            """,
            "trap",
        )
        base = {**options, "databases": ["trap"], "name": "trap"}
        assert run_module("pg_backup", base)["changed"]
        keyed = {**base, "databases": [], "encryption": {"identity": age_keys.operators.private}}
        trial = run_module("pg_backup", {**keyed, "state": "verified"})
        assert trial["failed"] and 'pg_restore ended with status 1' in trial["msg"] and 'relation "other" does not exist' in trial["msg"], trial
        assert trial["verification"]["status"] == "failed" and list(pathlib.Path(options["work_dir"]).glob("mainstay-verify-*")) == []
        refused = run_module("pg_backup", {**keyed, "state": "restored", "on_existing": "replace"})
        assert refused["failed"] and "none of the 1 backups there is good" in refused["msg"]
        before = books.databases()
        restore = {**keyed, "state": "restored", "on_existing": "replace", "backup_id": trial_id(run_module, base)}
        result = run_module("pg_backup", restore)
        assert result["failed"] and 'relation "other" does not exist' in result["msg"], result
        assert books.databases() == before and books.query("SELECT n FROM checked", "trap") == [(1,)]
    finally:
        books.drop("trap")


def trial_id(run_module: Runner, options: dict[str, t.Any]) -> str:
    """Return the id of the only backup."""
    (backup,) = run_module("pg_backup_info", {"name": options["name"], "store": options["store"]})["backups"]
    return t.cast(str, backup["id"])


def recording_programs(server: PostgresServer, folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Make a folder with the server's programs, all of which note what they are given; return it, and the file that they write."""
    folder.mkdir()
    record = folder / "record"
    record.touch()
    record.chmod(0o666)
    for program in pathlib.Path(server.bin_dir).iterdir():
        wrapper = folder / program.name
        wrapper.write_text(RECORDING.format(name=program.name, record=record, bin_dir=server.bin_dir))
        wrapper.chmod(0o755)
    return folder, record


def test_no_secret_shows(
    run_module: Runner,
    books: PostgresServer,
    options: dict[str, t.Any],
    s3_server: S3Server,
    age_keys: AgeKeys,
    slow: dict[str, str],
    tmp_path: pathlib.Path,
    server_root: pathlib.Path,
) -> None:
    """Through ansible-playbook at -vvv: not on any command line, in no environment, in no output, in no file that stays."""
    words = [books.password, s3_server.secret_key, age_keys.operators.private]
    base = {**options, "store": s3_server.store(s3_server.new_bucket()), "include_globals": True, "jobs": 2, "restore_jobs": 2}
    base["databases"] = ["books", "postgres"]
    base["encryption"] = {"recipients": [age_keys.operators.public], "identity": age_keys.operators.private}
    programs, record = recording_programs(books, server_root / "recording")
    base["pg_bin_dir"] = str(programs)
    tasks = [
        {"name": "Take", "mainstay.ops.pg_backup": base},
        {"name": "Verify", "mainstay.ops.pg_backup": {**base, "state": "verified"}},
        {"name": "List", "mainstay.ops.pg_backup_info": {"name": "books", "store": base["store"]}},
        {"name": "Fail", "mainstay.ops.pg_backup": {**base, "login_db": "nowhere", "max_age": 0}},
    ]
    temporary = {name: str(tmp_path / "tmp") for name in ("TMPDIR", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TEMP")}
    (tmp_path / "tmp").mkdir()
    output = tmp_path / "output"
    others = set(os.listdir("/proc"))
    with output.open("w") as file:
        command = run_module.command(tasks, "-vvv")
        process = subprocess.Popen(command, env=run_module.environment(**slow, **temporary), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    seen: set[bytes] = set()
    shown: set[str] = set()
    while process.poll() is None:
        for name in set(os.listdir("/proc")) - others:
            with contextlib.suppress(OSError):
                entry = pathlib.Path("/proc", name)
                text = (entry / "cmdline").read_bytes() + b" " + (entry / "environ").read_bytes()
                shown |= {f"{word} in {text[:200]!r}" for word in words if word.encode() in text}
                seen |= set(text.split(b"\0"))
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.stat(slow["SLOW_FLAG"]).st_mtime > 0.5:
                os.unlink(slow["SLOW_FLAG"])
        time.sleep(0.05)
    text = output.read_text()
    assert "failed=1" in text and "ok=3" in text and 'database "nowhere" does not exist' in text, text[-3000:]
    assert shown == set()
    recorded = record.read_bytes()
    assert {b"--globals-only", b"-Fc", b"-d", b"-j", b"pg_restore", b"initdb", b"pg_amcheck"} <= set(recorded.split(b"\0"))
    assert age_keys.operators.public.encode() in seen, "age was not seen at work"
    assert [word for word in words if word.encode() in recorded] == []
    assert [word for word in words if word in text] == []
    remains = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert [str(path) for path in remains for word in words if word.encode() in path.read_bytes()] == []
