# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_backup and pg_backup_info against a real server, a real folder and a real S3 endpoint: taking, listing, verifying, restoring."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest

if t.TYPE_CHECKING:
    from conftest import AgeKeys, PostgresServer, Runner, S3Server

BACKUP_KEYS = {
    "actions", "backup", "bytes_plain", "bytes_stored", "changed", "diff", "phases",
    "expected_seconds", "recoverable_from", "recoverable_to", "restored", "seconds", "verification",
}  # fmt: skip

SCHEMA = """
    CREATE SCHEMA books AUTHORIZATION "ledger owner";
    CREATE TABLE books.entries (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), note text, body bytea);
    INSERT INTO books.entries (note, body) SELECT 'entry ' || n, sha256(n::text::bytea) FROM generate_series(1, 5000) n;
    CREATE TABLE accounts (name text PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0));
    INSERT INTO accounts VALUES ('alice', 10), ('bob', 20);
    CREATE INDEX ON books.entries (note);
    CREATE VIEW totals AS SELECT sum(balance) FROM accounts;
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1';
    CREATE EXTENSION pg_trgm;
    COMMENT ON TABLE accounts IS 'who has what';
    GRANT SELECT ON accounts TO reader;
    ALTER TABLE books.entries OWNER TO "ledger owner";
    SELECT lo_from_bytea(0, 'large object');
"""


@pytest.fixture(scope="module")
def ledger(postgres_server: PostgresServer) -> t.Iterator[PostgresServer]:
    """The server with the database ``ledger``, its roles and everything that a database can have of its own."""
    postgres_server.query("""CREATE ROLE "ledger owner" LOGIN PASSWORD 'owner-secret'; CREATE ROLE reader; CREATE ROLE staff; GRANT reader TO staff""")
    postgres_server.query('CREATE DATABASE ledger OWNER "ledger owner" TEMPLATE template0 ENCODING UTF8')
    postgres_server.query(
        """
        COMMENT ON DATABASE ledger IS 'the books';
        ALTER DATABASE ledger SET search_path TO "$user", public, books;
        ALTER DATABASE ledger SET work_mem TO '5MB';
        ALTER ROLE staff IN DATABASE ledger SET statement_timeout TO '3s';
        REVOKE ALL ON DATABASE ledger FROM PUBLIC; GRANT CONNECT ON DATABASE ledger TO staff
        """
    )
    postgres_server.query(SCHEMA, "ledger")
    yield postgres_server
    postgres_server.drop(*postgres_server.databases())
    postgres_server.query('DROP ROLE staff; DROP ROLE reader; DROP ROLE "ledger owner"')


def dump(server: PostgresServer, database: str) -> str:
    """Return a database as text, as pg_dump sees it, with what belongs to the database itself."""
    argv = [f"{server.bin_dir}/pg_dump", "-h", str(server.socket_dir), "-p", str(server.port), "-U", "postgres", "--create", "-d", database]
    text = subprocess.run(argv, env={"PGPASSWORD": server.password}, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """A store in a folder that does not exist yet."""
    return {"type": "local", "path": str(tmp_path_factory.mktemp("backups") / "store")}


@pytest.fixture(scope="module")
def options(ledger: PostgresServer, local: dict[str, t.Any], age_keys: AgeKeys, server_root: pathlib.Path) -> dict[str, t.Any]:
    """Options of the module: the catalogue ``ledger`` in the folder, two recipients."""
    recipients = [age_keys.operators.public, age_keys.break_glass.public]
    wanted = {"name": "ledger", "databases": ["ledger"], "encryption": {"recipients": recipients}, "labels": {"team": "books"}}
    return {**ledger.login, **wanted, "store": local, "work_dir": str(server_root)}


@pytest.fixture(scope="module")
def taken(run_module: Runner, options: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """The grid of taking a backup: check, real, check again, real again."""
    return {
        "check": run_module("pg_backup", options, check=True, diff=True),
        "real": run_module("pg_backup", options, diff=True),
        "check again": run_module("pg_backup", options, check=True),
        "real again": run_module("pg_backup", options),
    }


def opening(options: dict[str, t.Any], **encryption: str) -> dict[str, t.Any]:
    """The options with a private key."""
    return {**options, "databases": [], "encryption": encryption}


def test_a_backup_is_taken_once(taken: dict[str, dict[str, t.Any]]) -> None:
    """The check run foretells the real one, and a fresh backup is enough the second time."""
    for name, result in taken.items():
        assert not result["failed"], (name, result)
        assert BACKUP_KEYS <= set(result), name
    assert [taken[name]["changed"] for name in ("check", "real", "check again", "real again")] == [True, True, False, False]
    assert taken["check"]["actions"] == taken["real"]["actions"] == ["dump the roles", "dump the database ledger", "publish the backup"]
    assert taken["check"]["diff"] == taken["real"]["diff"] == {"before": {"state": []}, "after": {"state": ["(a new backup)"]}}
    assert taken["check"]["backup"] is None
    assert taken["real again"]["actions"] == []
    assert taken["real again"]["backup"]["id"] == taken["real"]["backup"]["id"]


def test_the_result_describes_the_backup(taken: dict[str, dict[str, t.Any]], age_keys: AgeKeys, ledger: PostgresServer) -> None:
    """Every documented key, against what is known of the server."""
    result = taken["real"]
    backup = result["backup"]
    assert backup["kind"] == "postgres" and backup["method"] == "logical" and backup["name"] == "ledger"
    assert backup["good"] and not backup["problem"] and not backup["verified"] and backup["verified_at"] is None and backup["verifications"] == []
    assert backup["encryption"] == {"type": "age", "recipients": [age_keys.operators.public, age_keys.break_glass.public]}
    assert backup["compression"] == {"type": "zstd", "level": 3}
    assert backup["labels"] == {"team": "books"} and backup["warnings"] == []
    assert set(backup["tools"]) == {"pg_dump", "zstd", "age"}
    assert backup["location"].endswith(f"store : postgres/ledger/{backup['id']}/")
    assert [item["name"] for item in backup["objects"]] == ["globals.sql.zst.age", "ledger.dump.zst.age"]
    assert result["bytes_stored"] == backup["bytes_stored"] == sum(item["bytes"] for item in backup["objects"])
    assert result["bytes_plain"] == backup["bytes_plain"] > result["bytes_stored"] > 1000
    assert backup["started"] <= backup["recoverable_to"] == backup["recoverable_from"] == result["recoverable_to"] <= backup["finished"]
    assert backup["source"]["role"] == "primary" and backup["source"]["lsn"] and backup["source"]["timeline"] == 1
    assert backup["source"]["system_identifier"] == str(ledger.query("SELECT system_identifier FROM pg_control_system()")[0][0])
    assert backup["source"]["server_version_num"] == int(ledger.query("SHOW server_version_num")[0][0])
    (database,) = backup["contents"]["databases"]
    assert (database["owner"], database["tables"], database["large_objects"]) == ("ledger owner", 2, 1)
    assert database["row_counts"] == {"books.entries": 5000, "public.accounts": 2}
    assert database["roles"] == ["ledger owner", "postgres", "reader", "staff"] and "pg_trgm" in database["extensions"]
    assert set(result["phases"]) == {"dump_globals", "dump", "publish"} and result["seconds"] > 0


def test_the_stored_object_opens_by_hand(taken: dict[str, dict[str, t.Any]], local: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """``age -d | zstd -d | pg_restore -l`` with the break-glass key, files private, and the roles with their passwords."""
    folder = pathlib.Path(local["path"]) / "postgres" / "ledger" / taken["real"]["backup"]["id"]
    pipe = f"age -d -i {age_keys.break_glass.path} {folder}/%s | zstd -d | %s"
    listing = subprocess.run(["bash", "-c", pipe % ("ledger.dump.zst.age", "pg_restore -l")], check=True, capture_output=True, text=True).stdout
    assert "TABLE DATA books entries ledger owner" in listing
    roles = subprocess.run(["bash", "-c", pipe % ("globals.sql.zst.age", "cat")], check=True, capture_output=True, text=True).stdout
    assert 'CREATE ROLE "ledger owner"' in roles and "SCRAM-SHA-256" in roles
    for path in [folder, *folder.iterdir()]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert sorted(path.name for path in folder.iterdir()) == ["globals.sql.zst.age", "ledger.dump.zst.age", "manifest.json"]


def test_max_age_and_missing_databases_call_for_a_new_backup(run_module: Runner, taken: dict[str, dict[str, t.Any]], options: dict[str, t.Any]) -> None:
    """``max_age: 0`` always takes one; so does a database that the newest backup does not hold."""
    assert taken["real"]["changed"]
    assert run_module("pg_backup", {**options, "max_age": 0}, check=True)["changed"]
    result = run_module("pg_backup", {**options, "databases": ["ledger", "postgres"]}, check=True)
    assert result["actions"] == ["dump the roles", "dump the database ledger", "dump the database postgres", "publish the backup"]
    result = run_module("pg_backup", {**options, "databases": [], "exclude_databases": [], "max_age": 0, "include_globals": False}, check=True)
    assert result["actions"] == ["dump the database ledger", "publish the backup"], "an empty database postgres is left out"


def test_verification_grid(
    run_module: Runner, taken: dict[str, dict[str, t.Any]], options: dict[str, t.Any], local: dict[str, t.Any], age_keys: AgeKeys
) -> None:
    """The weaker levels do not mark the backup verified, a restore does; a second run finds it done; the info module shows it."""
    backup_id = taken["real"]["backup"]["id"]
    base = {**opening(options, identity=age_keys.operators.private), "state": "verified"}
    for level in ("list", "checksum", "content"):
        result = run_module("pg_backup", {**base, "verify_level": level})
        assert result["changed"] and result["verification"]["status"] == "successful" and level in result["verification"]["phases"], result
        assert not result["backup"]["verified"]
    queries = [{"database": "ledger", "query": "SELECT sum(balance) FROM accounts", "expect": "30"}]
    queries.append({"database": "ledger", "query": "SELECT count(*) = 5000 FROM books.entries", "expect": "true"})
    restore = {**base, "verify_queries": queries}
    check = run_module("pg_backup", restore, check=True, diff=True)
    real = run_module("pg_backup", restore, diff=True)
    assert check["changed"] and real["changed"] and check["actions"] == real["actions"] == [f"verify backup {backup_id} at the level restore"], real
    assert check["diff"] == real["diff"]
    assert check["verification"] is None and BACKUP_KEYS <= set(check)
    found = real["verification"]
    assert found["level"] == "restore" and found["status"] == "successful" and found["cause"] == ""
    assert set(found["phases"]) == {"list", "prepare", "globals", "restore", "check", "analyze", "remove"} and found["seconds"] > 0
    assert found["details"]["databases"] == [{"name": "ledger", "tables": 2, "large_objects": 1, "tables_counted": 2, "rows_counted": 5002}]
    assert found["details"]["amcheck"] is True and [item["found"] for item in found["details"]["verify_queries"]] == ["30", "true"]
    assert real["backup"]["verified"] and real["backup"]["verified_at"] == found["at"]
    again = run_module("pg_backup", restore)
    assert not again["changed"] and again["verification"] == found and again["actions"] == []
    assert list(pathlib.Path(options["work_dir"]).glob("mainstay-verify-*")) == []
    info = run_module("pg_backup_info", {"name": "ledger", "store": local, "backup_id": "latest_verified"})
    assert info["latest_verified"] == info["latest"] == backup_id and info["backups"] == [again["backup"]] and info["incomplete"] == []
    assert info["recoverable_from"] == info["recoverable_to"] == real["recoverable_to"] and not info["changed"]
    assert [item["level"] for item in info["backups"][0]["verifications"]] == ["list", "checksum", "content", "restore"]


def test_restore_grid(run_module: Runner, ledger: PostgresServer, taken: dict[str, dict[str, t.Any]], options: dict[str, t.Any], age_keys: AgeKeys) -> None:
    """Refused over a full database; renamed aside; replaced; a lost one and its roles come back; what comes back equals what was dumped."""
    backup_id = taken["real"]["backup"]["id"]
    before = dump(ledger, "ledger")
    base = {**opening(options, identity_file=age_keys.operators.path), "state": "restored", "backup_id": backup_id}
    refused = run_module("pg_backup", base)
    assert refused["failed"] and "restore into the database ledger: it exists and is not empty" in refused["msg"], refused
    assert dump(ledger, "ledger") == before

    ledger.query("DELETE FROM accounts", "ledger")
    with ledger.connect("ledger"):  # a session that is in the way
        check = run_module("pg_backup", {**base, "on_existing": "rename"}, check=True, diff=True)
        real = run_module("pg_backup", {**base, "on_existing": "rename"}, diff=True)
    assert not real["failed"], real
    aside = f"ledger__before_{backup_id}"
    assert check["changed"] and real["changed"] and check["actions"] == real["actions"] and check["diff"] == real["diff"]
    assert real["diff"] == {"before": {"state": ["ledger"]}, "after": {"state": ["ledger", aside]}}
    assert check["restored"] == [] and BACKUP_KEYS <= set(check)
    (entry,) = real["restored"]
    assert {**entry, "seconds": 0} == {
        "database": "ledger", "source_database": "ledger", "action": "rename", "previous": aside, "tables": 2, "rows_checked": 5002, "seconds": 0,
    }  # fmt: skip
    assert set(real["phases"]) == {"globals", "restore", "check", "analyze", "swap"}
    assert dump(ledger, "ledger") == before
    assert ledger.databases() == {"ledger", aside} and ledger.query("SELECT count(*) FROM accounts", aside) == [(0,)]

    ledger.drop(aside)
    ledger.query("DELETE FROM books.entries", "ledger")
    assert run_module("pg_backup", {**base, "on_existing": "replace"})["restored"][0]["action"] == "replace"
    assert dump(ledger, "ledger") == before and ledger.databases() == {"ledger"}
    assert ledger.query("SELECT reltuples FROM pg_class WHERE relname = 'entries'", "ledger") == [(5000.0,)], "statistics are gathered"

    password = ledger.query("""SELECT rolpassword FROM pg_authid WHERE rolname = 'ledger owner'""")
    ledger.drop("ledger")
    ledger.query('DROP ROLE staff; DROP ROLE "ledger owner"')
    real = run_module("pg_backup", base)
    assert real["actions"][:2] == ["create the role ledger owner", "create the role staff"], real
    assert dump(ledger, "ledger") == before
    assert ledger.query("""SELECT rolpassword FROM pg_authid WHERE rolname = 'ledger owner'""") == password
    assert ledger.query("SELECT pg_has_role('staff', 'reader', 'MEMBER')") == [(True,)]


def test_restore_under_another_name_and_into_an_empty_database(
    run_module: Runner, ledger: PostgresServer, taken: dict[str, t.Any], options: dict[str, t.Any], age_keys: AgeKeys
) -> None:
    """A database that holds nothing counts as absent."""
    assert taken["real"]["changed"]
    ledger.query("CREATE DATABASE copy")
    base = {**opening(options, identity=age_keys.break_glass.private), "state": "restored", "target_database": "copy"}
    result = run_module("pg_backup", base)
    assert result["restored"][0]["action"] == "replace" and ledger.query("SELECT count(*) FROM accounts", "copy") == [(2,)], result
    ledger.drop("copy")


def test_a_missing_role_is_found_before_anything_is_touched(
    run_module: Runner, ledger: PostgresServer, taken: dict[str, t.Any], options: dict[str, t.Any], age_keys: AgeKeys
) -> None:
    """Without the globals the restore says which roles are missing."""
    assert taken["real"]["changed"]
    ledger.query("ALTER ROLE staff RENAME TO people")
    base = {**opening(options, identity=age_keys.operators.private), "state": "restored", "target_database": "copy", "include_globals": False}
    try:
        result = run_module("pg_backup", base)
    finally:
        ledger.query("ALTER ROLE people RENAME TO staff")
    assert result["failed"] and "the server lacks the roles staff; create them" in result["msg"], result
    assert ledger.databases() == {"ledger"}


def test_s3_all_databases_and_odd_names(run_module: Runner, ledger: PostgresServer, s3_server: S3Server, age_keys: AgeKeys) -> None:
    """Backup to S3 of all databases, one of them with a name that is hard to quote; restored for trial from there."""
    odd = """odd/name = 'x' "y" ü"""
    ledger.query(f'CREATE DATABASE "{odd.replace(chr(34), chr(34) * 2)}"')
    with ledger.connect(odd) as connection, connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "Odd ""table" AS SELECT n FROM generate_series(1, 7) n')
    bucket = s3_server.new_bucket()
    base = {**ledger.login, "name": "everything", "store": s3_server.store(bucket, "a/b/")}
    try:
        result = run_module("pg_backup", {**base, "encryption": {"recipients": [age_keys.operators.public]}, "compression": {"level": 19, "threads": 1}})
        assert not result["failed"], result
        names = {f"a/b/postgres/everything/{result['backup']['id']}/{item['name']}" for item in result["backup"]["objects"]}
        assert set(s3_server.keys(bucket)) == names | {f"a/b/postgres/everything/{result['backup']['id']}/manifest.json"} and len(names) == 3
        verified = run_module("pg_backup", {**base, "state": "verified", "encryption": {"identity": age_keys.operators.private}})
        assert verified["backup"]["verified"], verified
        counted = {item["name"]: item["rows_counted"] for item in verified["verification"]["details"]["databases"]}
        assert counted == {"ledger": 5002, odd: 7}
        ledger.drop(odd.replace('"', '""'))
        restored = run_module("pg_backup", {**base, "state": "restored", "databases": [odd], "encryption": {"identity": age_keys.operators.private}})
        assert restored["restored"][0]["action"] == "create", restored
        assert ledger.query('SELECT count(*) FROM "Odd ""table"', odd) == [(7,)]
    finally:
        ledger.drop(odd.replace('"', '""'))


def test_plain_backups_must_be_asked_for(run_module: Runner, ledger: PostgresServer, tmp_path: pathlib.Path) -> None:
    """No recipient is an error; ``none`` leaves objects that pg_restore reads directly."""
    base = {**ledger.login, "name": "plain", "databases": ["ledger"], "store": {"type": "local", "path": str(tmp_path / "store")}}
    result = run_module("pg_backup", base)
    assert result["failed"] and "encryption.recipients is empty" in result["msg"]
    result = run_module("pg_backup", {**base, "encryption": {"type": "none"}, "compression": {"type": "none"}})
    (stored,) = (tmp_path / "store").rglob("ledger.dump")
    subprocess.run(["pg_restore", "-l", str(stored)], check=True, capture_output=True)
    manifest = json.loads((stored.parent / "manifest.json").read_text())
    assert manifest["encryption"] == {"type": "none"} and manifest["format"] == 1 and not result["failed"]
