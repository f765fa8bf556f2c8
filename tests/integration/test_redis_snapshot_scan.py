# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_snapshot by ``SCAN``: an RDB file from a server that cannot be replicated from, whole, bounded, and with the rights that are documented."""

from __future__ import annotations

import pathlib
import secrets
import signal
import subprocess
import time
import typing as t

import pytest
from conftest import free_port
from module_job import failed
from redis_jobs import (
    MEMORY_LIMIT,
    SECRET,
    Job,
    RedisServer,
    Starter,
    certificates,
    job,
    master,
    nothing_left,
    peak_memory,
    program,
    restored_keys,
    start_redis,
    until,
)

from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.scan import ScanStream

__all__ = ["certificates", "job", "master", "nothing_left", "start_redis"]
RIGHTS = ("~*", "+info", "+select", "+scan", "+time", "+multi", "+exec", "+pttl", "+dump")
MORE_RIGHTS = ("+function|dump", "+memory|usage", "+acl|list", "+config|get")
FUZZY = "a snapshot by scan is not of one instant"
MANAGED = {"rename-command": 'PSYNC ""\nrename-command SYNC ""\nrename-command BGSAVE ""'}


def fill(server: RedisServer) -> None:
    """All types, values of every way to read them, and keys that are no text."""
    server.fill()
    client = server.client()
    client.execute_command("FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\nredis.register_function('answer', function() return 42 end)")
    for size in (65_536, 70_000, 262_144, 300_000, 3_000_000):
        client.set(f"large:{size}", secrets.token_bytes(size))
    client.hset("big hash", mapping={f"field:{number}": secrets.token_hex(50) for number in range(2000)})
    client.set(b"\x00\xff\r\n binary", b"\r\n$5\r\n\xff")
    client.set("k" * 20_000, "")
    client.set("short-lived", "x", ex=1000)
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    client.set("its time is over", "x", px=1)
    time.sleep(0.01)


def test_a_scan_is_a_whole_snapshot(job: Job, master: RedisServer, start_redis: Starter, server_root: pathlib.Path) -> None:
    fill(master)
    planned = job(check=True, **master.login, method="scan")
    taken = job(**master.login, method="scan")
    assert (planned["changed"], planned["actions"], planned["diff"]) == (taken["changed"], taken["actions"], taken["diff"])
    assert taken["actions"][0].endswith("by scan") and FUZZY in planned["warnings"][0] and planned["warnings"] == taken["warnings"]
    backup = taken["backup"]
    assert (backup["method"], backup["contents"]["consistency"], backup["contents"]["keys_exact"]) == ("scan", "fuzzy", True)
    assert backup["contents"]["keys"] == {"db0": {"min": 515, "max": 515}, "db7": {"min": 1, "max": 1}}, "a key whose time is over is not in it"
    assert backup["warnings"] == taken["warnings"] and not backup["source"]["has_checksum"]
    assert backup["started"] <= backup["recoverable_from"] <= backup["recoverable_to"] <= backup["finished"]
    assert job.info()["backups"][0]["contents"] == backup["contents"]
    folder = server_root / "scan-by-hand"
    folder.mkdir()
    path = job.open_by_hand(backup, "dump.rdb", folder / "dump.rdb")
    checked = subprocess.run([program("redis-check-rdb"), str(path)], capture_output=True, text=True, check=True)
    assert "RDB looks OK" in checked.stdout and "516 keys read" in checked.stdout
    assert master.client().exists("its time is over") == 0, "now it is removed"
    loaded = start_redis(dir=str(folder))
    assert loaded.digest == master.digest
    assert loaded.client().fcall("answer", 0) == 42
    assert abs(loaded.client().pexpiretime("short-lived") - master.client().pexpiretime("short-lived")) < 1000
    for level in ("content", "restore"):
        assert job(state="verified", verify_level=level)["verification"]["status"] == "successful"
    digest = master.digest
    master.client().flushall()
    restored = job(**master.login, state="restored")
    assert restored_keys(restored) == {"db0": 515, "db7": 1} and restored["warnings"] == []
    assert restored["compared"]["digest"] == master.digest == digest


def test_no_keys(job: Job, start_redis: Starter) -> None:
    server = start_redis()
    assert job(**server.login, method="scan")["backup"]["contents"]["keys"] == {}
    assert job(state="verified")["verification"]["details"]["keys"] == {}


def test_a_managed_server_is_scanned(job: Job, start_redis: Starter) -> None:
    """It has neither PSYNC nor BGSAVE."""
    server = start_redis(**MANAGED)
    server.fill()
    taken = job(**server.login)
    assert taken["backup"]["method"] == "scan"
    assert "a better way is not possible (psync: the server does not have the command PSYNC; bgsave: " in taken["warnings"][0]
    assert FUZZY in taken["warnings"][1]
    failed(job(**server.login, method="psync", max_age="0"), "does not have the command PSYNC", "use another method")
    failed(job(**server.login, method="bgsave", max_age="0"), "read a snapshot by bgsave", "unknown command")
    server.stop()


def since_8(server: RedisServer) -> bool:
    """Tell whether a server is of Redis 8 or later."""
    return int(server.client().info("server")["redis_version"].split(".")[0]) >= 8


def test_the_documented_rights_suffice(job: Job, master: RedisServer) -> None:
    master.fill()
    login = master.allow("scanner", *RIGHTS, *MORE_RIGHTS)
    taken = job(**login)
    assert (taken["backup"]["method"], taken["backup"]["contents"]["keys"]["db0"]["min"]) == ("scan", 506)
    who = "user scanner" if since_8(master) else "this user"
    assert f"psync: {who} has no permissions" in taken["warnings"][0].lower() and f"bgsave: {who} has no permissions" in taken["warnings"][0].lower()
    assert len(taken["warnings"]) == 2 and taken["backup"]["contents"]["acl_users"] and taken["backup"]["contents"]["configuration"]
    login = master.allow("scanner", *RIGHTS)
    taken = job(**login, max_age="0")
    said = "\n".join(taken["warnings"])
    for words in ("functions are not in the snapshot: ", "the ACL users are not in the backup: ", "the configuration is not in the backup: "):
        assert words in said
    assert taken["backup"]["contents"]["keys"]["db0"]["min"] == 506 and len(taken["backup"]["objects"]) == 1
    assert job(state="verified")["verification"]["status"] == "successful"


@pytest.mark.parametrize("right", RIGHTS[2:])
def test_a_right_that_is_missing(job: Job, master: RedisServer, right: str) -> None:
    master.fill()
    login = master.allow("scanner", *(known for known in RIGHTS if known != right))
    failed(job(**login, method="scan"), f"read the keys of Redis at 127.0.0.1:{master.port}", "ACL SETUSER")
    assert job.files == []


def test_a_table_that_shrinks_meanwhile(start_redis: Starter, tmp_path: pathlib.Path) -> None:
    """SCAN gives the keys of a bucket again then; a file with a key twice would end the server that loads it."""
    server = start_redis(hz="100", rdbcompression="no")
    client = server.client()
    client.execute_command("DEBUG", "POPULATE", 60_000, "key", 500)
    login = Login("127.0.0.1", server.port, password=server.password)
    repeated: list[int] = []
    with Server(login) as asked:
        facts = read_facts(asked)
    with ScanStream(login, facts, str(tmp_path), 10) as stream, (tmp_path / "dump.rdb").open("wb") as target:
        new = stream._seen.new

        def counted(keys: t.Sequence[bytes]) -> list[bytes]:
            fresh = new(keys)
            repeated.append(len(keys) - len(fresh))
            return fresh

        stream._seen.new = counted  # type: ignore[method-assign]
        # Small steps: a key comes twice by chance, about once in two of them, and there have to be many chances.
        while block := stream.read(1 << 19):
            target.write(block)
            client.eval("for number = 4000, 59999 do redis.call('DEL', 'key:' .. number) end", 0)
            # Redis 8 begins as soon as fewer than 8192 are left.
            until(lambda: f"table size: {8192 if since_8(server) else 4096}" in client.execute_command("DEBUG", "HTSTATS", 0), "the shrinking of the table")
            target.write(stream.read(1 << 15))
            client.execute_command("DEBUG", "POPULATE", 60_000, "key", 500)
    assert sum(repeated) > 0, "no key came twice, so the test has seen nothing"
    server.stop()
    assert start_redis(dir=str(tmp_path)).client().dbsize() == sum(stream.counts.values())


@pytest.mark.parametrize("way", ["tls", "socket"])
def test_other_ways_to_the_server(job: Job, start_redis: Starter, certificates: pathlib.Path, server_root: pathlib.Path, way: str) -> None:
    path = server_root / f"scan-{way}.sock"
    tls = {f"tls_{name}": str(certificates / file) for name, file in (("cert_file", "redis.crt"), ("key_file", "redis.key"), ("ca_cert_file", "ca.crt"))}
    server = start_redis(unixsocket=str(path), tls_port=str(tls_port := free_port()), **tls)
    server.fill()
    login: dict[str, t.Any] = {"login_unix_socket": str(path)}
    if way == "tls":
        files = {"ca_certs": str(certificates / "ca.crt"), "client_cert_file": tls["tls_cert_file"], "client_key_file": tls["tls_key_file"]}
        login = {"login_port": tls_port, "tls": True, **files}
    user = server.allow("scanner", *RIGHTS)
    taken = job(**login, login_user="scanner", login_password=user["login_password"], method="scan")
    assert taken["backup"]["contents"]["keys"]["db0"] == {"min": 506, "max": 506}, taken
    server.stop()


def test_a_server_that_goes_or_stalls(job: Job, start_redis: Starter) -> None:
    for number, words in ((signal.SIGKILL, "the server closed the connection"), (signal.SIGSTOP, "no byte came for 1 seconds")):
        server = start_redis()
        server.client().execute_command("DEBUG", "POPULATE", 300_000, "key", 100)
        process = job.start(**server.login, method="scan", idle_timeout=1)
        deadline = time.monotonic() + 60
        while not job.files:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.process is not None
        server.process.send_signal(number)
        result = job.finish(process)
        server.process.send_signal(signal.SIGCONT)
        server.stop()
        failed(result, f"read the keys of Redis at 127.0.0.1:{server.port}")
        assert words in result["msg"] or "Connection reset" in result["msg"]
        assert job.files == []


def test_memory_is_bounded(job: Job, start_redis: Starter) -> None:
    """Whatever the number of keys, and whatever the size of a value; the server holds a few replies at most."""
    server = start_redis(maxmemory_clients="0", rdbcompression="no")
    client = server.client()
    client.execute_command("DEBUG", "POPULATE", 50_000, "key", 2000)
    client.execute_command("SETRANGE", "huge", 100 << 20, "x")
    pipe = server.client(1).pipeline()
    for number in range(200):
        pipe.execute_command("SETRANGE", f"large:{number}", 1 << 20, "x")
    pipe.execute()
    client.config_resetstat()
    before = client.info()["used_memory"]
    process = job.start(**server.login, method="scan", compression={"level": 1, "threads": 1})
    peak = peak_memory(process)
    result = job.finish(process)
    grown = client.info()["used_memory_peak"] - before
    server.stop()
    assert not result["failed"] and result["bytes_plain"] > 400_000_000
    assert 0 < peak < MEMORY_LIMIT, f"{peak >> 20} MiB"
    assert grown < 150 << 20, f"the server grew by {grown >> 20} MiB"
    assert SECRET not in str(result)
