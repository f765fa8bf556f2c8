# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_snapshot against real Redis servers on loopback: replicas, TLS, Sentinel, AOF, and everything that can break on the way."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import threading
import time

import pytest
import redis
from certificates import make_self_signed
from conftest import AgeKeys, Runner, S3Server, free_port
from module_job import failed
from processes import children, descendants, marked
from redis_jobs import (
    MEMORY_LIMIT,
    SECRET,
    Job,
    RedisServer,
    Starter,
    certificates,
    command_line,
    job,
    master,
    nothing_left,
    peak_memory,
    program,
    restored_keys,
    slow,
    slowly,
    start_redis,
    streaming,
    until,
)

__all__ = ["certificates", "job", "master", "nothing_left", "slow", "start_redis"]


@pytest.fixture(scope="module")
def pair(start_redis: Starter) -> tuple[RedisServer, RedisServer]:
    """A master and its replica."""
    above = start_redis()
    above.fill()
    below = start_redis(replicaof=f"127.0.0.1 {above.port}")
    until(lambda: below.client().info()["master_link_status"] == "up", "the replica's first synchronisation")
    return above, below


def test_present_is_idempotent_and_check_mode_tells_the_same(job: Job, master: RedisServer) -> None:
    master.fill()
    planned = job(check=True, **master.login)
    assert job.files == []
    taken = job(**master.login)
    assert (planned["changed"], planned["actions"], planned["diff"]) == (taken["changed"], taken["actions"], taken["diff"])
    assert taken["changed"] and planned["backup"] is None
    info = master.client().info()
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    assert taken["actions"] == [f"take a snapshot of {name} at 127.0.0.1:{master.port} (master) by psync", "publish the backup"]
    assert taken["diff"] == {"before": {"state": []}, "after": {"state": ["(a new backup)"]}}
    assert {"plan", "wait", "stream", "publish"} == set(taken["phases"])
    backup = taken["backup"]
    assert backup["method"] == "psync" and backup["good"] and not backup["verified"]
    assert backup["contents"] == {
        "keys": {"db0": {"min": 506, "max": 506}, "db7": {"min": 1, "max": 1}},
        "keys_exact": True,
        "consistency": "instant",
        "digest": "",
        "acl_users": True,
        "configuration": True,
    }
    assert [item["name"] for item in backup["objects"]] == ["dump.rdb.zst.age", "acl.txt.zst.age", "config.txt.zst.age"]
    assert (taken["snapshot_before"], taken["files_kept"], taken["users"], taken["compared"]) == (None, [], [], {})
    assert backup["source"]["rdb_magic"].startswith("REDIS00") and backup["source"]["has_checksum"]
    assert (backup["source"]["framing"], backup["source"]["rdb_only"], backup["source"]["role"]) == ("eof", True, "master")
    assert backup["source"]["replication_offset"] >= 0
    assert taken["bytes_stored"] == sum(path.stat().st_size for path in job.files if path.name.endswith(".age")) > 0
    again = job(**master.login)
    assert not again["changed"] and again["actions"] == [] and again["backup"]["id"] == backup["id"]
    assert set(again) == set(taken) == set(planned)
    assert taken["recoverable_from"] == taken["recoverable_to"] == backup["recoverable_to"]
    time.sleep(1.1)  # ids sort by their second
    forced = job(**master.login, max_age="0", labels={"why": "test"})
    assert forced["changed"] and forced["backup"]["id"] != backup["id"] and forced["backup"]["labels"] == {"why": "test"}
    info = job.info()
    assert [item["id"] for item in info["backups"]] == [backup["id"], forced["backup"]["id"]]
    assert (info["latest"], info["latest_verified"], info["incomplete"], info["changed"]) == (forced["backup"]["id"], None, [], False)
    assert (info["recoverable_from"], info["recoverable_to"]) == (backup["recoverable_from"], forced["backup"]["recoverable_to"])
    assert [item["id"] for item in job.info(backup_id=backup["id"])["backups"]] == [backup["id"]]
    failed(job.info(backup_id="latest_verified"), "none of the 2 backups there is verified")


def test_opens_by_hand_with_stock_tools(job: Job, master: RedisServer, start_redis: Starter, age_keys: AgeKeys, server_root: pathlib.Path) -> None:
    master.fill()
    taken = job(**master.login)
    folder = server_root / "by-hand"
    folder.mkdir()
    job.options["encryption"]["identity_file"] = age_keys.break_glass.path
    job.open_by_hand(taken["backup"], "dump.rdb", folder / "dump.rdb")
    checked = subprocess.run([program("redis-check-rdb"), f"{folder}/dump.rdb"], capture_output=True, text=True, check=True)
    assert "RDB looks OK" in checked.stdout and "507 keys read" in checked.stdout
    assert (folder / "dump.rdb").stat().st_size == taken["backup"]["objects"][0]["plain_bytes"]
    assert taken["bytes_plain"] == sum(item["plain_bytes"] for item in taken["backup"]["objects"])
    assert (folder / "dump.rdb").read_bytes()[-9] == 0xFF, "the end mark of the replication stream was kept"
    server = start_redis(dir=str(folder))
    assert server.digest == master.digest


def test_reads_from_a_replica(job: Job, pair: tuple[RedisServer, RedisServer]) -> None:
    above, below = pair
    forks = above.client().info()["total_forks"]
    taken = job(**above.login)
    assert taken["backup"]["source"]["role"] == "replica"
    assert taken["backup"]["source"]["address"] == below.login["login_host"] + f":{below.port}"
    assert taken["warnings"] == [] and taken["backup"]["contents"]["keys"]["db0"]["min"] == 506
    assert above.client().info()["total_forks"] == forks
    direct = job(**above.login, max_age="0", prefer_replica=False)
    assert direct["backup"]["source"]["role"] == "master"
    assert above.client().info()["total_forks"] > forks


def test_a_signal_is_not_taken_for_the_error_of_a_replica(job: Job, start_redis: Starter) -> None:
    """One that takes connections and never answers, when SIGTERM comes: the run ends, and does not go on with the master."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        above = start_redis()
        announced = {"replica_announce_ip": "127.0.0.1", "replica_announce_port": str(silent.getsockname()[1])}
        below = start_redis(replicaof=f"127.0.0.1 {above.port}", **announced)
        until(lambda: below.client().info()["master_link_status"] == "up", "the first synchronisation")
        process = job.start(**above.login)
        connection, _unused = silent.accept()
        with connection:
            process.terminate()
            failed(job.finish(process), "the module received SIGTERM")
    assert job.files == []


def test_replicas_that_are_not_fit(job: Job, start_redis: Starter) -> None:
    above = start_redis()
    above.client().set("a", "b")
    below = start_redis(password="another", masterauth=SECRET, replicaof=f"127.0.0.1 {above.port}")
    until(lambda: below.client().info()["master_link_status"] == "up", "the first synchronisation")
    taken = job(**above.login)
    assert taken["backup"]["source"]["role"] == "master"
    warning = taken["warnings"][0]
    assert f"no replica was fit: 127.0.0.1:{below.port}: " in warning and "password" in warning.lower()
    assert taken["backup"]["warnings"] == taken["warnings"]
    above.stop()
    until(lambda: below.client().info()["master_link_status"] == "down", "the loss of the link")
    failed(job(**below.login, max_age="0"), f"its link to the master 127.0.0.1:{above.port} is down")
    assert len(job.info()["backups"]) == 1


def test_a_replica_without_its_master_is_passed_over(job: Job, start_redis: Starter) -> None:
    above = start_redis()
    below = start_redis(replicaof=f"127.0.0.1 {above.port}", repl_ping_replica_period="1")
    until(lambda: below.client().info()["master_link_status"] == "up", "the first synchronisation")
    below.client().config_set("masterauth", "wrong")
    below.client().client_kill_filter(_type="master")
    above.client().set("a", "b")
    until(lambda: below.client().info()["master_link_status"] == "down", "the loss of the link")
    taken = job(**above.login)
    assert taken["backup"]["source"]["role"] == "master"
    failed(job(**below.login, max_age="0"), "its link to the master")


@pytest.mark.parametrize(
    ("settings", "method", "used", "framing", "exact"),
    [
        ({"repl-diskless-sync": "no"}, "auto", "psync", "length", False),
        ({"repl-diskless-sync": "yes"}, "psync", "psync", "eof", True),
        ({"rename-command": 'PSYNC ""'}, "psync", "psync", "eof", False),
        ({}, "bgsave", "bgsave", None, True),
        ({"rename-command": 'PSYNC ""\nrename-command SYNC ""'}, "auto", "bgsave", None, True),
        ({"rdbchecksum": "no"}, "auto", "psync", "eof", True),
    ],
    ids=["disk-based", "diskless", "SYNC", "bgsave", "bgsave for want of PSYNC", "without checksum"],
)
def test_ways_to_read(job: Job, start_redis: Starter, settings: dict[str, str], method: str, used: str, framing: str | None, exact: bool) -> None:
    server = start_redis(**settings)
    server.fill()
    backup = job(**server.login, method=method)["backup"]
    assert (backup["method"], backup["source"].get("framing")) == (used, framing)
    assert backup["contents"]["keys_exact"] or not exact
    assert backup["source"]["has_checksum"] == ("rdbchecksum" not in settings)
    verified = job(state="verified")
    assert verified["verification"]["details"]["keys"] == {"db0": 506, "db7": 1}, verified
    server.stop()


def test_unix_socket(job: Job, start_redis: Starter, server_root: pathlib.Path) -> None:
    path = server_root / "redis.sock"
    server = start_redis(unixsocket=str(path))
    server.fill()
    taken = job(login_unix_socket=str(path), login_password=SECRET)
    assert taken["backup"]["source"]["address"] == str(path)
    server.client().flushall()
    assert restored_keys(job(state="restored", login_unix_socket=str(path), login_password=SECRET)) == {"db0": 506, "db7": 1}


def test_tls_from_end_to_end(job: Job, start_redis: Starter, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    port = free_port()
    server = start_redis(
        tls_port=str(port),
        tls_cert_file=str(certificates / "redis.crt"),
        tls_key_file=str(certificates / "redis.key"),
        tls_ca_cert_file=str(certificates / "ca.crt"),
        tls_replication="yes",
    )
    server.fill()
    digest = server.digest
    files = {"client_cert_file": str(certificates / "redis.crt"), "client_key_file": str(certificates / "redis.key")}
    login = {"login_port": port, "login_password": SECRET, "ca_certs": str(certificates / "ca.crt"), **files}
    assert job(**login)["changed"]
    server.client().flushall()
    assert restored_keys(job(**login, state="restored")) == {"db0": 506, "db7": 1}
    assert server.digest == digest
    stranger = tmp_path / "stranger.crt"
    make_self_signed(tmp_path / "stranger.key", stranger, "x", "DNS:x")
    failed(job(**{**login, "ca_certs": str(stranger)}, max_age="0"), "CERTIFICATE_VERIFY_FAILED")
    failed(job(**{**login, "ca_certs": "/nonexistent"}, max_age="0"), "ca_certs")
    assert job(**{**login, "ca_certs": None, "validate_certs": False}, max_age="0")["changed"]
    failed(job(**{**login, "client_key_file": None}), "client_cert_file and client_key_file are needed together")


def test_levels_of_verification(job: Job, master: RedisServer) -> None:
    master.fill()
    master.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    master.client().set("its time is over", "x", px=1)
    backup = job(**master.login)["backup"]
    master.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    for level in ("list", "checksum", "content"):
        result = job(state="verified", verify_level=level)
        assert result["verification"]["status"] == "successful" and level in result["phases"]
        assert not result["backup"]["verified"]
    planned = job(check=True, state="verified")
    result = job(state="verified")
    assert (planned["actions"], planned["diff"], planned["verification"]) == (result["actions"], result["diff"], None)
    assert result["changed"] and result["backup"]["verified"]
    verification = result["verification"]
    assert {"list", "fetch", "load", "check", "survey"} == set(verification["phases"]) and verification["seconds"] > 0
    details = verification["details"]
    assert details["keys_compared"] == "exactly" and backup["contents"]["keys_exact"]
    assert details["keys"] == {"db0": 507, "db7": 1}, "a key whose time is over is counted too"
    assert details["rdb_magic"] == backup["source"]["rdb_magic"] and details["has_checksum"]
    for level in ("restore", "content"):
        again = job(state="verified", verify_level=level)
        assert not again["changed"] and again["actions"] == [] and again["verification"] == verification
    info = job.info()
    assert info["latest_verified"] == backup["id"]
    assert [item["level"] for item in info["backups"][0]["verifications"]] == ["list", "checksum", "content", "restore"]
    assert job(state="verified", max_age="0")["changed"]


def test_any_flipped_byte_is_found(job: Job, master: RedisServer) -> None:
    master.fill()
    job(**master.login)
    path = job.data_object()
    whole = path.read_bytes()
    for position in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert job(state="verified", verify_level="list", backup_id=path.parent.name)["verification"]["status"] == "successful"
        for level in ("checksum", "content", "restore"):
            result = job(state="verified", verify_level=level, backup_id=path.parent.name)
            failed(result, "its SHA-256 is")
            assert result["verification"]["status"] == "failed"
        failed(job(**master.login, state="restored", force=True, backup_id=path.parent.name), "its SHA-256 is")
    assert master.client().dbsize() == 506
    path.write_bytes(whole[:-1])
    failed(job(state="verified", verify_level="list", backup_id=path.parent.name), f"it has {len(whole) - 1} bytes")
    path.unlink()
    failed(job(state="verified", backup_id=path.parent.name), "it is missing")
    failed(job(state="verified"), "none of the 1 backups there is good")


@pytest.mark.parametrize("level", ["content", "restore"])
def test_damage_from_before_the_pipeline_is_found(job: Job, master: RedisServer, level: str) -> None:
    """The hash is right and the content is not, as if memory had flipped a bit under way."""
    master.fill()
    plain = {"compression": {"type": "none"}, "encryption": {"type": "none"}}
    job(**master.login, **plain)
    path = job.data_object()
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    job.edit_manifest(lambda manifest: manifest["objects"][0].update(sha256=hashlib.sha256(data).hexdigest()))
    result = job(state="verified", verify_level=level, **plain)
    failed(result, "redis-check-rdb found it damaged" if level == "content" else "throwaway server")
    assert result["verification"]["status"] == "failed"
    before = master.digest
    failed(job(**master.login, **plain, state="restored", force=True, backup_id=path.parent.name), "throwaway server")
    assert master.digest == before and master.client().info()["role"] == "master"


def test_other_keys_than_the_manifest_says_are_found(job: Job, master: RedisServer) -> None:
    master.fill()
    assert job(**master.login)["backup"]["contents"]["keys_exact"]
    job.edit_manifest(lambda manifest: manifest["contents"]["keys"]["db7"].update(min=2, max=2))
    failed(job(state="verified"), "db7 has 1 keys, the source had 2")
    job.edit_manifest(lambda manifest: manifest["contents"].update(keys_exact=False))
    result = job(state="verified", backup_id=job.data_object().parent.name)
    assert result["verification"]["status"] == "successful" and "db7 has 1 keys" in result["warnings"][0]
    assert result["verification"]["details"]["keys_compared"] == "with bounds"


def test_a_wrong_key_is_no_fault_of_the_backup(job: Job, master: RedisServer, age_keys: AgeKeys) -> None:
    job(**master.login)
    for identity in ({"identity": age_keys.stranger.private}, {"identity_file": age_keys.stranger.path}):
        for level in ("content", "restore"):
            failed(job(state="verified", verify_level=level, encryption=identity), "fits none of its recipients")
    failed(job(state="verified", encryption={}), "there is no private key")
    assert job.info()["backups"][0]["verifications"] == []
    assert job(state="verified", encryption={"identity": age_keys.operators.private})["backup"]["verified"]


class Watcher:
    """A client that reads all the time and stays connected: what it saw of one key, and how many keys there were, in one transaction."""

    def __init__(self, server: RedisServer, seen: list[tuple[str | None, int]]) -> None:
        """Keep what is seen in a list."""
        self._client, self._seen, self._over = server.client(), seen, threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        connected = self._client.client_id()
        while not self._over.wait(0.002):
            value, count = self._client.pipeline().get("written later").dbsize().execute()
            self._seen.append((value, count))
        self._seen += [("it was disconnected", 0)] if self._client.client_id() != connected else []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *unused: object) -> None:
        self._over.set()
        self._thread.join(10)


def test_restore_into_a_live_master(job: Job, start_redis: Starter) -> None:
    """With an AOF, a replica and a client that stays connected; the data survives a crash right after it."""
    server = start_redis(appendonly="yes", appendfsync="always")
    server.fill()
    server.client().config_set("min-replicas-to-write", 1)
    below = start_redis(replicaof=f"127.0.0.1 {server.port}")
    until(lambda: below.client().info()["master_link_status"] == "up", "the first synchronisation")
    digest = server.digest
    backup = job(**server.login)["backup"]
    client = server.client()
    client.config_set("masterauth", "of old")
    client.config_set("repl-diskless-load", "on-empty-db")
    client.flushall()
    client.set("written later", "x")
    failed(job(**server.login, state="restored"), "it holds 1 keys", "set force=true")
    failed(job(**below.login, state="restored", force=True), "it is a replica", f"restore into its master 127.0.0.1:{server.port}")
    planned = job(check=True, **server.login, state="restored", force=True)
    assert client.get("written later") == "x" and planned["restored"] == []
    seen: list[tuple[str | None, int]] = []
    watcher = Watcher(server, seen)
    with watcher:
        restored = job(**server.login, state="restored", force=True)
    assert (planned["actions"], planned["diff"]) == (restored["actions"], restored["diff"])
    assert restored["changed"] and restored["backup"]["id"] == backup["id"]
    assert restored_keys(restored) == {"db0": 506, "db7": 1}
    assert {"plan", "fetch", "load", "snapshot_before", "replicate", "compare", "persist", "replicas"} == set(restored["phases"])
    assert set(seen) == {("x", 1), (None, 506)}, "a connected client saw neither the old data nor the new"
    assert server.digest == digest and client.get("written later") is None
    assert restored["compared"]["digest"] == digest
    assert restored["compared"]["types"] == {"hash": 1, "list": 1, "set": 1, "stream": 1, "string": 502, "zset": 1}
    assert (client.config_get("masterauth"), client.config_get("repl-diskless-load")) == ({"masterauth": "of old"}, {"repl-diskless-load": "on-empty-db"})
    assert client.set("new", "x") and client.wait(1, 5000) == 1 and client.delete("new"), "it takes no writes before its replica is back"
    until(lambda: below.digest == digest, "the replica's way to the restored data")
    assert restored["warnings"] == []
    server.stop(signal.SIGKILL)
    server.start()
    assert server.digest == digest


def test_restore_of_the_same_history_loads_the_data(job: Job, start_redis: Starter) -> None:
    """A server whose history and offset are those of the snapshot must not go on with the data that it has."""
    server = start_redis()
    server.fill()
    job(**server.login)
    job(**server.login, max_age="0")
    before = server.log.count("Done loading RDB")
    assert job(**server.login, state="restored", force=True)["changed"]
    assert server.log.count("Done loading RDB") == before + 1


def test_restore_of_what_the_target_cannot_hold(job: Job, master: RedisServer, start_redis: Starter) -> None:
    master.fill()
    job(**master.login)
    small = start_redis(databases="7")
    failed(job(**small.login, state="restored"), "the backup has database 7, the server has 7")
    cluster = start_redis(cluster_enabled="yes", cluster_port=str(free_port()))
    failed(job(**cluster.login, state="restored"), "node of a cluster")
    job.edit_manifest(lambda manifest: manifest["source"].update(rdb_magic="REDIS0099"))
    failed(job(**small.login, state="restored"), "the snapshot has RDB version 99")
    failed(job(**small.login, state="restored", backup_id="20200101T000000Z-00000000"), "there is no such backup")
    assert small.client().dbsize() == 0


def test_a_server_that_saves_to_rdb_has_the_restored_data_on_disk(job: Job, start_redis: Starter) -> None:
    server = start_redis(save="3600 1000000")
    server.fill()
    digest = server.digest
    job(**server.login)
    server.client().flushall()
    job(**server.login, state="restored")
    server.stop(signal.SIGKILL)
    server.start()
    assert server.digest == digest


def test_sentinel_keeps_the_master(job: Job, start_redis: Starter, server_root: pathlib.Path) -> None:
    server = start_redis()
    server.fill()
    digest = server.digest
    below = start_redis(replicaof=f"127.0.0.1 {server.port}")
    config = server_root / "sentinel.conf"
    port = free_port()
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {server_root}\nsentinel monitor cache 127.0.0.1 {server.port} 1\n"
        f"sentinel auth-pass cache {SECRET}\nsentinel down-after-milliseconds cache 1000\n"
    )
    config.chmod(0o600)
    process = subprocess.Popen([program("redis-server"), str(config), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        sentinel = redis.Redis(port=port, decode_responses=True)
        until(lambda: sentinel.execute_command("SENTINEL", "REPLICAS", "cache"), "Sentinel's discovery of the replica", 30)
        until(lambda: any(client["name"].startswith("sentinel-") for client in below.client().client_list()), "Sentinel's connection to the replica", 30)
        job(**server.login)
        failed(job(**below.login, state="restored", force=True), "which Sentinel names")
        server.client().flushall()
        restored = job(**server.login, state="restored")
        assert "Sentinel watches the server" in restored["warnings"][0]
        time.sleep(2)
        assert sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cache") == ["127.0.0.1", str(server.port)]
        until(lambda: server.digest == below.digest == digest, "the replica's way to the restored data")
        assert server.client().config_get("masterauth") == {"masterauth": SECRET}
    finally:
        process.terminate()
        process.wait(10)


def test_a_server_that_dies_mid_stream(job: Job, start_redis: Starter, slow: RedisServer) -> None:
    server = start_redis(dir=str(slow.folder), dbfilename="slow.rdb")
    server.client().execute_command("REPLICAOF", "127.0.0.1", slow.port)
    until(lambda: server.client().dbsize() == 10_000, "the copy of the data")
    server.client().execute_command("REPLICAOF", "NO", "ONE")
    with slowly(server):
        process = job.start(**server.login)
        until(lambda: streaming(server) and job.files, "the stream's start")
        time.sleep(0.3)
        server.stop(signal.SIGKILL)
        result = job.finish(process)
    failed(result, f"read the snapshot of Redis at 127.0.0.1:{server.port}", "the end mark is missing after")
    assert job.files == [] and job.info()["backups"] == []


def test_a_child_that_dies_mid_stream(job: Job, slow: RedisServer) -> None:
    with slowly(slow):
        process = job.start(**slow.login)
        until(lambda: streaming(slow) and job.files, "the stream's start")
        assert slow.process is not None
        os.kill(children(slow.process.pid)[0], signal.SIGKILL)
        result = job.finish(process)
    failed(result, "the server closed the connection", "the end mark is missing after")
    assert job.files == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_module_that_is_stopped(job: Job, slow: RedisServer, number: signal.Signals) -> None:
    with slowly(slow):
        process = job.start(**slow.login)
        until(lambda: streaming(slow) and job.files, "the stream's start")
        process.send_signal(number)
        if number == signal.SIGTERM:
            failed(job.finish(process), "the module received SIGTERM")
            assert job.files == []
        process.wait(20)
        until(lambda: not streaming(slow), "the end of the server's child")
    process.communicate()
    assert job.info()["backups"] == []
    assert job(**slow.login)["changed"]
    assert len(job.info()["backups"]) == 1


def test_a_server_that_stalls(job: Job, slow: RedisServer) -> None:
    with slowly(slow):
        process = job.start(**slow.login, idle_timeout=1)
        until(lambda: streaming(slow) and job.files, "the stream's start")
        assert slow.process is not None
        child = children(slow.process.pid)[0]
        os.kill(child, signal.SIGSTOP)
        try:
            failed(job.finish(process), "no byte came for 1 seconds")
        finally:
            os.kill(child, signal.SIGKILL)
    assert job.files == []


def test_a_full_disk(job: Job, slow: RedisServer, tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=256k tmpfs {disk} && "$@"; status=$?; find {disk} -type f >&2; exit $status'
    process = job.start("unshare", "-rm", "sh", "-c", script, "sh", **slow.login, store={"type": "local", "path": f"{disk}/store"})
    failed(job.finish(process), "No space left on device", "bytes are free on the file system")


def test_a_full_disk_under_the_throwaway_server(job: Job, slow: RedisServer, tmp_path: pathlib.Path) -> None:
    job(**slow.login)
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=256k tmpfs {disk} && "$@"; status=$?; ls -A {disk} >&2; exit $status'
    process = job.start("unshare", "-rm", "sh", "-c", script, "sh", state="verified", work_dir=str(disk))
    failed(job.finish(process), "bytes are free", "set work_dir")
    assert job.info()["backups"][0]["verifications"] == [], "a full disk is no fault of the backup"


def test_what_cannot_be_reached(job: Job, master: RedisServer, s3_server: S3Server, tmp_path: pathlib.Path) -> None:
    failed(job(**{**master.login, "login_password": "wrong"}), "invalid username-password pair", "check login_user and login_password")
    failed(job(**{**master.login, "login_password": None}), "Authentication required", "check login_user and login_password")
    failed(job(**{**master.login, "login_port": free_port()}), "refused", "check login_host")
    failed(job(**{**master.login, "tls": True}), f"127.0.0.1:{master.port}", "tls")
    failed(job(**master.login, store={**s3_server.store("nowhere"), "endpoint_url": f"http://127.0.0.1:{free_port()}"}), "127.0.0.1", "check the endpoint")
    failed(job(**master.login, store=s3_server.store("nowhere")), "NoSuchBucket", "create the bucket")
    failed(job(**master.login, store={"type": "local", "path": str(tmp_path / "a/b")}), "its parent folder does not exist")
    failed(job(**master.login, encryption={"recipients": ["age1nonsense"]}), "check encryption.recipients")
    failed(job(**master.login, encryption={}), "encryption.recipients is empty")
    failed(job(**master.login, idle_timeout=0), "idle_timeout is 0")
    failed(job(**master.login, state="restored"), "none of the 0 backups there is good")
    failed(job(login_user="x"), "login_user is given without login_password")
    assert job.files == []


def test_memory_is_bounded(job: Job, start_redis: Starter) -> None:
    server = start_redis()
    pipe = server.client().pipeline()
    for number in range(300):
        pipe.set(f"key:{number}", secrets.token_bytes(1 << 20))
    pipe.execute()
    process = job.start(**server.login, compression={"level": 1, "threads": 1})
    peak = peak_memory(process)
    result = job.finish(process)
    server.stop()
    assert result["bytes_plain"] > 300 << 20
    assert 0 < peak < MEMORY_LIMIT, f"{peak >> 20} MiB"


def test_through_ansible_with_s3_and_no_secret_anywhere(job: Job, slow: RedisServer, s3_server: S3Server, age_keys: AgeKeys, run_module: Runner) -> None:
    bucket = s3_server.new_bucket()
    digest = slow.digest
    common = {**job.options, **slow.login, "store": s3_server.store(bucket, "site"), "encryption": {"recipients": [age_keys.operators.public]}}
    opened = {**common, "encryption": {"identity": age_keys.operators.private, "recipients": [age_keys.operators.public]}}
    place = {name: common[name] for name in ("name", "store")}
    tasks = [
        {"mainstay.ops.redis_snapshot": common},
        {"mainstay.ops.redis_snapshot": {**opened, "state": "verified"}},
        {"mainstay.ops.redis_snapshot": {**opened, "state": "restored", "backup_id": "latest_verified", "force": True}},
        {"mainstay.ops.redis_snapshot_info": place},
    ]
    secrets_used = {SECRET, age_keys.operators.private, s3_server.secret_key}
    seen: set[tuple[int, str]] = set()
    command = run_module.command([{"name": f"Task {number}", **task} for number, task in enumerate(tasks)], "-vvv")
    output = job.folder / "output"
    slow.client().config_set("rdb-key-save-delay", "50")
    with output.open("wb") as target:
        mark = f"run-{secrets.token_hex(8)}"
        process = subprocess.Popen(command, env=run_module.environment(TEST_RUN=mark), stdin=subprocess.DEVNULL, stdout=target, stderr=target)
        while process.poll() is None:
            seen |= {(pid, line) for known in marked(mark) for pid in (known, *descendants(known)) for line in command_line(pid)}
            time.sleep(0.02)
    slow.client().config_set("rdb-key-save-delay", "0")
    said = output.read_text()
    assert process.returncode == 0, said
    for word in ("age", "zstd", "redis-server"):
        assert any(word in line for _pid, line in seen), f"{word} was not seen running, so the test looks at nothing"
    for secret in secrets_used:
        assert secret not in said
        assert not [line for _pid, line in seen if secret in line]
    assert slow.digest == digest
    keys = s3_server.keys(bucket)
    names = ["acl.txt.zst.age", "config.txt.zst.age", "dump.rdb.zst.age", "manifest.json"]
    assert [key.rsplit("/", 1)[1] for key in keys if "/verify/" not in key] == names * 2, "the backup, and the one of what the restore replaced"
    for key in keys:
        body = s3_server.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        assert not [secret for secret in secrets_used if secret.encode() in body]
    assert re.search(r"latest_verified\W+\d{8}T", said)
