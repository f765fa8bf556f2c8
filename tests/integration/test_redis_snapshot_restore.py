# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_snapshot: what a restore does beside the data, and what it and a verification compare."""

from __future__ import annotations

import hashlib
import pathlib
import secrets
import socket
import threading
import typing as t

import pytest
import redis
from module_job import failed
from redis_jobs import (
    SECRET,
    Job,
    RedisServer,
    Starter,
    job,
    master,
    nothing_left,
    restored_keys,
    start_redis,
    until,
)

from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login
from ansible_collections.mainstay.ops.plugins.module_utils._redis.content import ContentDiffers, compare

__all__ = ["job", "master", "nothing_left", "start_redis"]
TYPES = {"hash": 1, "list": 1, "set": 1, "stream": 1, "string": 502, "zset": 1}
PLAIN = {"compression": {"type": "none"}, "encryption": {"type": "none"}}


def test_what_is_replaced_is_kept(job: Job, master: RedisServer, age_keys: t.Any) -> None:
    master.fill()
    first = job(**master.login)["backup"]
    client = master.client()
    client.set("written later", "x")
    digest = master.digest
    identity = {"identity_file": age_keys.operators.path}
    failed(
        job(**master.login, state="restored", force=True, encryption=identity),
        "take a snapshot of the 508 keys",
        "encryption.recipients is empty",
        "snapshot_before=false",
    )
    planned = job(check=True, **master.login, state="restored", force=True, labels={"why": "test"})
    done = job(**master.login, state="restored", force=True, labels={"why": "test"})
    assert (planned["actions"], planned["diff"], planned["snapshot_before"]) == (done["actions"], done["diff"], None)
    assert done["actions"][0].startswith("take a snapshot of Redis ") and done["actions"][0].endswith("by psync before it is replaced")
    kept = done["snapshot_before"]
    assert kept["labels"] == {"why": "test", "before_restore": first["id"]} and kept["contents"]["keys"]["db0"]["min"] == 507
    assert client.get("written later") is None and done["backup"]["id"] == first["id"]
    assert job(**master.login)["backup"]["id"] == first["id"], "what a restore replaced counts as a backup of the day"
    assert job(check=True, state="verified")["backup"]["id"] == first["id"], "latest is what a restore replaced"
    assert job(state="verified", backup_id=kept["id"])["backup"]["verified"]
    assert job(state="verified", backup_id=first["id"])["backup"]["verified"]
    assert job(check=True, **master.login, state="restored", force=True, backup_id="latest_verified")["backup"]["id"] == first["id"]
    back = job(**master.login, state="restored", force=True, backup_id=kept["id"], snapshot_before=False, encryption=identity)
    assert back["snapshot_before"] is None and len(back["actions"]) == 1 and "snapshot_before" not in back["phases"]
    assert master.digest == digest
    assert job(state="absent", backup_id=first["id"], force=True)["changed"]
    failed(job(state="verified"), "all good ones are of data that a restore replaced", "name the id")
    client.flushall()
    empty = job(**master.login, state="restored", backup_id=kept["id"], encryption=identity)
    assert empty["snapshot_before"] is None and master.digest == digest


def test_nothing_is_replaced_if_the_snapshot_before_fails(job: Job, master: RedisServer) -> None:
    master.fill()
    job(**master.login)
    digest = master.digest
    login = master.allow("restorer", "~*", "+info", "+config|get", "+config|set", "+replicaof")
    failed(job(**login, state="restored", force=True, method="scan"), "read the keys of Redis", "ACL SETUSER")
    assert master.digest == digest and master.client().info()["role"] == "master"
    assert len(job.info()["backups"]) == 1


def test_the_documented_rights_suffice(job: Job, start_redis: Starter) -> None:
    server = start_redis(save="3600 1", enable_debug_command="no")
    server.fill()
    reader = server.allow("reader", "+psync", "+replconf", "+ping", "+info")
    taken = job(**reader)
    assert taken["backup"]["method"] == "psync" and len(taken["backup"]["objects"]) == 1
    assert [warning.split(":")[0] for warning in taken["warnings"]] == ["the ACL users are not in the backup", "the configuration is not in the backup"]
    for right in ("+psync", "+replconf"):
        reader = server.allow("reader", *({"+psync", "+replconf", "+ping", "+info"} - {right}))
        failed(job(**reader, method="psync", max_age="0"), "read a snapshot by psync", "no permissions")
    until(lambda: not server.client().info()["rdb_bgsave_in_progress"], "the end of the child that wrote the snapshot")
    saver = server.allow("saver", "+bgsave", "+info", "+config|get")
    assert job(**saver, method="bgsave", max_age="0")["backup"]["method"] == "bgsave"
    saver = server.allow("saver", "+info", "+config|get")
    failed(job(**saver, method="bgsave", max_age="0"), "read a snapshot by bgsave", "no permissions")
    saver = server.allow("saver", "+bgsave", "+info")
    failed(job(**saver, method="bgsave", max_age="0"), "read a snapshot by bgsave", "no permissions")
    rights = ("+info", "+config|get", "+config|set", "+replicaof", "+bgsave", "+client|list")
    few = job(**server.allow("restorer", *rights), state="restored", force=True, snapshot_before=False)
    assert restored_keys(few) == {"db0": 506, "db7": 1} and few["compared"] == {"types": {}, "digest": ""}
    assert "the types of the keys were not compared: " in few["warnings"][0]
    full = job(**server.allow("restorer", *rights, "+select", "+scan", "+type", "~*"), state="restored", force=True, snapshot_before=False)
    assert full["compared"] == {"types": TYPES, "digest": ""} and full["warnings"] == []
    for right in rights[:4]:
        login = server.allow("restorer", *(known for known in rights if known != right))
        failed(job(**login, state="restored", force=True, snapshot_before=False), "no permissions", "ACL SETUSER")
        assert server.client().info()["role"] == "master"
    server.stop()


def test_what_is_acknowledged_is_saved_beside_a_replica_that_is_fed(job: Job, start_redis: Starter) -> None:
    """The child that feeds the replica is no save of the restored data."""
    server = start_redis(save="3600 1000000", rdb_key_save_delay="1000")
    server.fill()
    digest = server.digest
    below = start_redis(replicaof=f"127.0.0.1 {server.port}")
    until(lambda: below.client().info()["master_link_status"] == "up", "the first synchronisation")
    job(**server.login)
    server.client().flushall()
    assert job(**server.login, state="restored")["changed"]
    server.stop()
    server.start()
    assert server.digest == digest
    server.stop()
    below.stop()


def test_a_module_that_is_killed_leaves_no_server(job: Job, start_redis: Starter) -> None:
    """The throwaway server ends with the module, and the next run removes its folder."""
    server = start_redis(rdb_key_save_delay="0")
    server.fill()
    job(**server.login)
    process = job.start(**server.login, state="verified")
    work_dir = pathlib.Path(job.options["work_dir"])
    path = until(lambda: next(work_dir.glob("*/s"), None), "the start of the throwaway server")
    process.kill()
    process.communicate()
    until(lambda: not answers(path), "the end of the throwaway server")
    assert list(work_dir.iterdir()) != []
    assert job(state="verified")["backup"]["verified"]
    assert list(work_dir.iterdir()) == []
    server.stop()


def answers(path: pathlib.Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("masterauth", [SECRET, '""'], ids=["a password", "none"])
def test_a_server_that_a_killed_restore_left_is_put_right(job: Job, start_redis: Starter, masterauth: str) -> None:
    server = start_redis(rdb_key_save_delay="2000", masterauth=masterauth, replica_read_only="no", repl_diskless_load="on-empty-db")
    server.fill()
    digest, before = server.digest, settings_of(server)
    job(**server.login)
    given: dict[str, t.Any] = {**server.login, "state": "restored", "force": True}
    process = job.start(**given, snapshot_before=False)
    until(lambda: server.client().info()["role"] == "slave", "the beginning of the replication")
    process.kill()
    process.communicate()
    until(lambda: server.client().info()["master_link_status"] == "down", "the loss of the link")
    assert settings_of(server) != before
    (note,) = pathlib.Path(job.options["work_dir"]).glob("*.json")
    assert note.stat().st_mode & 0o777 == 0o600 and SECRET not in note.read_text()
    planned = job(check=True, **given)
    assert server.client().info()["role"] == "slave"
    done = job(**given)
    assert not done["failed"] and (planned["actions"], planned["diff"]) == (done["actions"], done["diff"]), done
    assert done["actions"][0] == f"make Redis at 127.0.0.1:{server.port} a master again, as a restore that was killed has left it"
    assert server.client().info()["role"] == "master" and settings_of(server) == before and server.digest == digest
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    until(lambda: server.client().info()["master_link_status"] == "down", "the loss of the link")
    failed(job(**given), "as after a restore that was killed", "REPLICAOF NO ONE")
    server.stop()


def test_a_run_that_is_stopped_while_the_server_loads_puts_it_right(job: Job, start_redis: Starter) -> None:
    """The server refuses to be made a master again until it has loaded; the run waits for that."""
    server = start_redis(loading_process_events_interval_bytes="1024")
    server.fill()
    digest, before = server.digest, settings_of(server)
    job(**server.login)
    server.client().config_set("key-load-delay", "10000")
    process = job.start(**server.login, state="restored", force=True, snapshot_before=False)
    until(lambda: server.client().info()["loading"], "the loading")
    process.terminate()
    failed(job.finish(process), "the module received SIGTERM")
    assert server.client().info()["role"] == "master" and settings_of(server) == before and server.digest == digest
    server.stop()


def test_a_target_that_dies_is_the_cause(job: Job, start_redis: Starter) -> None:
    """That nothing could be put back in it either is said beside, not instead."""
    server = start_redis(loading_process_events_interval_bytes="1024")
    server.fill()
    job(**server.login)
    server.client().config_set("key-load-delay", "10000")
    process = job.start(**server.login, state="restored", force=True, snapshot_before=False)
    until(lambda: server.client().info()["loading"], "the loading")
    server.stop()
    result = job.finish(process)
    failed(result, f"could not read the state on Redis at 127.0.0.1:{server.port}: ")
    where = f"on Redis at 127.0.0.1:{server.port}: "
    again, setting = result["warnings"]
    assert again.startswith(f"could not make it a master again {where}") and setting.startswith(f"could not change the setting repl-diskless-load {where}")


def settings_of(server: RedisServer) -> dict[str, str]:
    """The settings that a restore changes."""
    return {name: server.client().config_get(name)[name] for name in ("replica-read-only", "masterauth", "masteruser", "repl-diskless-load")}


def test_a_replication_user(job: Job, start_redis: Starter) -> None:
    server = start_redis(masteruser="follower", masterauth="other")
    server.fill()
    before = settings_of(server)
    job(**server.login)
    assert job(**server.login, state="restored", force=True, snapshot_before=False)["changed"]
    assert settings_of(server) == before
    server.stop()


def test_settings_of_a_restore_are_put_back(job: Job, start_redis: Starter) -> None:
    server = start_redis(replica_read_only="no")
    server.fill()
    job(**server.login)
    job(**server.login, state="restored", force=True, snapshot_before=False)
    assert settings_of(server) == {"replica-read-only": "no", "masterauth": SECRET, "masteruser": "", "repl-diskless-load": "disabled"}
    server.stop()


def test_keys_that_expire_meanwhile_are_no_difference(job: Job, start_redis: Starter) -> None:
    server = start_redis(enable_debug_command="no")
    pipe = server.client().pipeline()
    for number in range(3000):
        pipe.set(f"key:{number}", "x", px=200 + number)
    pipe.execute()
    job(**server.login)
    done = job(**server.login, state="restored", force=True, snapshot_before=False)
    assert not done["failed"] and set(done["compared"]["types"]) <= {"string"}
    server.stop()


def test_other_data_is_found(start_redis: Starter) -> None:
    one, two, strict = start_redis(), start_redis(), start_redis(enable_debug_command="no")
    logins = [Login("127.0.0.1", server.port, password=server.password) for server in (one, two, strict)]
    for server in (one, two, strict):
        server.client().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0") if server is not strict else None
        server.client().mset({"a": "1", "b": "2"})
    assert compare(logins[0], logins[1], 2, 5).digest == one.digest
    assert compare(logins[0], logins[2], 2, 5).types == {"string": 2}
    assert compare(logins[0], logins[1], 500_001, 5).digest == "", "a large server is blocked for a digest"
    assert "not compared" in compare(logins[0], logins[1], 5_000_001, 5).warnings[0]
    two.client().set("b", "3")
    with pytest.raises(ContentDiffers, match="the digest of its data is"):
        compare(logins[0], logins[1], 2, 5)
    strict.client().delete("b")
    strict.client().rpush("b", "2")
    with pytest.raises(ContentDiffers, match="it has 1 keys of the type list, the backup 0; it has 1 keys of the type string, the backup 2"):
        compare(logins[0], logins[2], 2, 5)


def test_a_verification_tells_types_and_digest(job: Job, start_redis: Starter) -> None:
    server = start_redis()
    server.fill()
    server.allow("alice", "~app:*", "+get")
    taken = job(**server.login, digest=True)
    assert taken["backup"]["contents"]["digest"] == server.digest and taken["warnings"] == []
    details = job(state="verified")["verification"]["details"]
    assert (details["types"], details["digest"], details["digest_compared"]) == (TYPES, server.digest, True)
    assert details["acl_users"] == 2 and details["settings"] > 100 and details["warnings"] == []
    job.edit_manifest(lambda manifest: manifest["source"].update(version="7.0.1"))
    assert job(state="verified", max_age="0")["verification"]["details"]["digest_compared"] is False
    job.edit_manifest(lambda manifest: manifest["source"].update(version=details["server"].split()[1]))
    job.edit_manifest(lambda manifest: manifest["contents"].update(digest="0" * 40))
    failed(job(state="verified", max_age="0"), f"its digest is {server.digest}, that of the source was {'0' * 40}")
    server.stop()


def test_a_digest_that_cannot_be_kept(job: Job, start_redis: Starter) -> None:
    server = start_redis(enable_debug_command="no")
    taken = job(**server.login, digest=True)
    assert taken["backup"]["contents"]["digest"] == "" and "the digest of the data is not kept: " in taken["warnings"][0]
    assert "a scan is not of one instant" in job(**server.login, digest=True, method="scan", max_age="0")["backup"]["warnings"][1]
    server.stop()
    server = start_redis()
    over = threading.Event()

    def write() -> None:
        client = server.client()
        while not over.is_set():
            client.set("busy", secrets.token_hex(8))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        taken = job(**server.login, digest=True, max_age="0")
    finally:
        over.set()
        thread.join()
    assert "not kept: the server was written to while the snapshot began" in taken["warnings"][0] and taken["backup"]["contents"]["digest"] == ""
    server.stop()


def test_users_are_restored(job: Job, start_redis: Starter, server_root: pathlib.Path) -> None:
    aclfile = server_root / "users.acl"
    aclfile.write_text(f"user default on >{SECRET} ~* &* +@all\n")
    server = start_redis(aclfile=str(aclfile))
    server.fill()
    server.allow("alice", "~app:*", "(~other:* +get)", "+get")
    server.allow("carol", "+ping")
    rules = server.client().acl_list()
    taken = job(**server.login)
    hashed = hashlib.sha256(SECRET.encode()).hexdigest()
    assert hashed in job.open_by_hand(taken["backup"], "acl.txt", job.folder / "acl.txt").read_text()
    client = server.client()
    client.acl_deluser("alice")
    server.allow("bob", "+ping")
    client.execute_command("ACL", "SETUSER", "carol", "+info")
    given = {**server.login, "state": "restored", "force": True, "restore_users": True, "snapshot_before": False}
    planned = job(check=True, **given)
    assert planned["users"] == [] and len(client.acl_users()) == 3
    done = job(**given)
    assert (planned["actions"], planned["diff"]) == (done["actions"], done["diff"])
    assert done["actions"][1:] == ["set the ACL user alice", "set the ACL user carol"] and done["users"] == ["alice", "carol"]
    assert done["warnings"] == [] and hashed not in str(done)
    assert [line for line in client.acl_list() if not line.startswith("user bob ")] == rules
    assert redis.Redis(port=server.port, username="alice", password=SECRET).get("app:none") is None
    server.stop()
    server.start()
    assert [line for line in server.client().acl_list() if not line.startswith("user bob ")] == rules, "the users were not saved"
    again = job(**given)
    assert again["users"] == [] and len(again["actions"]) == 1
    own = server.allow("carol", "~*", "+@all")
    assert job(**{**given, **own})["users"] == [], "the user of the module itself was changed"
    server.stop()


def test_users_without_a_place_to_keep_them(job: Job, start_redis: Starter) -> None:
    server = start_redis()
    server.allow("alice", "+ping")
    job(**server.login)
    server.client().acl_deluser("alice")
    given = {"state": "restored", "restore_users": True}
    rights = ("~*", "+info", "+config|get", "+config|set", "+replicaof", "+bgsave", "+client|list", "+select", "+scan", "+type")
    failed(job(**server.allow("restorer", *rights), **given), "read the ACL users", "no permissions")
    done = job(**server.login, **given)
    assert done["users"] == ["alice"] and "last until the server restarts" in done["warnings"][0]
    bare = job(**server.allow("reader", "+psync", "+replconf", "+ping", "+info"), max_age="0")["backup"]["id"]
    failed(job(**server.login, **given, backup_id=bare), "the backup holds no ACL users", "restore_users=false")
    server.stop()


def test_the_configuration_is_kept_without_passwords(job: Job, master: RedisServer) -> None:
    taken = job(**master.login)
    text = job.open_by_hand(taken["backup"], "config.txt", job.folder / "config.txt").read_text()
    assert f'port "{master.port}"' in text.splitlines() and 'appendonly "no"' in text.splitlines()
    assert SECRET not in text and "requirepass" not in text and "masterauth" not in text


@pytest.mark.parametrize(
    ("name", "content", "content_words", "restore_words"),
    [
        ("acl.txt", b"nonsense\n", "line 1 is no line of ACL LIST", "line 1 is no line of ACL LIST"),
        ("acl.txt", b"user alice on ~* +@all nonsense\n", "", "load the ACL user alice"),
        ("config.txt", b"maxmemory\n", "line 1 is no setting", "line 1 is no setting"),
    ],
)
def test_objects_that_are_damaged(job: Job, master: RedisServer, name: str, content: bytes, content_words: str, restore_words: str) -> None:
    backup_id = job(**master.login, **PLAIN)["backup"]["id"]
    (path,) = (path for path in job.files if path.name == name)
    path.write_bytes(content)

    def fake(manifest: dict[str, t.Any]) -> None:
        (record,) = (record for record in manifest["objects"] if record["name"] == name)
        record.update(bytes=len(content), plain_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    job.edit_manifest(fake)
    for level, words in (("content", content_words), ("restore", restore_words)):
        result = job(state="verified", verify_level=level, backup_id=backup_id, max_age="0", **PLAIN)
        failed(result, words) if words else None
        assert result["verification"]["status"] == ("failed" if words else "successful")


def test_users_of_another_version_are_no_fault_of_the_backup(job: Job, master: RedisServer) -> None:
    master.allow("alice", "+ping")
    backup_id = job(**master.login, **PLAIN)["backup"]["id"]
    (path,) = (path for path in job.files if path.name == "acl.txt")
    content = path.read_bytes().replace(b"+ping", b"+pong")
    path.write_bytes(content)
    job.edit_manifest(lambda manifest: manifest["objects"][1].update(sha256=hashlib.sha256(content).hexdigest()))
    result = job(state="verified", backup_id=backup_id, **PLAIN)
    assert result["verification"]["status"] == "successful"
    assert "the ACL user alice cannot be set in this server" in result["warnings"][0] and "nknown command" in result["warnings"][0]
    master.client().acl_deluser("alice")


def test_a_backup_of_before_is_still_good(job: Job, master: RedisServer) -> None:
    """It holds the snapshot alone, and its manifest knows less."""
    master.fill()
    taken = job(**master.login)["backup"]

    def older(manifest: dict[str, t.Any]) -> None:
        manifest["objects"] = manifest["objects"][:1]
        manifest["contents"] = {name: manifest["contents"][name] for name in ("keys", "keys_exact")}

    job.edit_manifest(older)
    for path in job.files:
        if path.name.startswith(("acl.txt", "config.txt")):
            path.unlink()
    digest = master.digest
    for level in ("checksum", "content", "restore"):
        assert job(state="verified", verify_level=level)["verification"]["status"] == "successful"
    details = job(state="verified")["verification"]["details"]
    assert (details["acl_users"], details["settings"], details["digest_compared"]) == (0, 0, False)
    master.client().flushall()
    assert restored_keys(job(**master.login, state="restored")) == {"db0": 506, "db7": 1} and master.digest == digest
    failed(job(**master.login, state="restored", force=True, restore_users=True), "the backup holds no ACL users")
    assert job.info()["latest"] == taken["id"]
