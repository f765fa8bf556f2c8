# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""files_backup on real trees: what is kept, what changed, what is refused, and what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import AgeKeys, S3Server, free_port
from files_jobs import SECRET, Job, facts_of, fill, job, nothing_left
from module_job import Result, failed

__all__ = ["job", "nothing_left"]


def wait_second() -> None:
    """Ids sort by their second."""
    time.sleep(1.05)


def restored(job: Job, name: str = "back", **options: object) -> pathlib.Path:
    """Restore into a new folder; return where the tree is then."""
    target = job.folder / name
    result = job(state="restored", target_dir=str(target), **options)
    assert not result["failed"], result
    return target / str(job.tree).lstrip("/")


def test_everything_that_a_file_has_comes_back(job: Job) -> None:
    fill(job.tree)
    before = facts_of(job.tree)
    del before["pipe"]
    planned = job(check=True)
    assert job.files == [] and not (job.folder / "state").exists()
    taken = job()
    assert (planned["changed"], planned["actions"], planned["diff"], planned["changes"]) == (
        taken["changed"], taken["actions"], taken["diff"], taken["changes"]
    )
    assert taken["changed"] and planned["backup"] is None and set(planned) == set(taken)
    backup = taken["backup"]
    assert (backup["kind"], backup["method"], backup["parents"], backup["good"]) == ("files", "tar", [], True)
    assert [item["name"] for item in backup["objects"]] == ["files-1.tar.zst.age", "tree.tar.zst.age", "index.jsonl.zst.age"]
    assert backup["contents"]["skipped"] == {"count": 1, "names": [f"{job.tree}/pipe (named pipe)"]}
    assert any("named pipe" in warning for warning in taken["warnings"])
    assert (backup["contents"]["type"], backup["contents"]["why"]) == ("full", "there is no earlier backup")
    assert {"plan", "read", "publish"} == set(taken["phases"])
    assert f"{job.tree}/plain" in taken["changes"]["created"]
    back = restored(job)
    assert facts_of(back) == before
    assert (back / "holes").stat().st_blocks * 512 < 1 << 20, "the holes were filled"
    assert taken["bytes_stored"] == sum(path.stat().st_size for path in job.files if path.name.endswith(".age"))
    info = job.info()
    assert [item["id"] for item in info["backups"]] == [backup["id"]] and info["latest"] == backup["id"] and info["incomplete"] == []
    again = job(max_age="1h")
    assert not again["changed"] and again["actions"] == [] and set(again) == set(taken)


def test_opens_by_hand_with_stock_tools(job: Job, age_keys: AgeKeys) -> None:
    fill(job.tree)
    taken = job()
    for name in ("files-1.tar", "tree.tar"):
        source = job.object(taken["backup"], name)
        line = f"age -d -i {age_keys.break_glass.path} {source} | zstd -d | tar -x -p --acls --xattrs '--xattrs-include=*' -C {job.folder}/hand"
        (job.folder / "hand").mkdir(exist_ok=True)
        subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True)
    (job.tree / "pipe").unlink()
    os.utime(job.tree, ns=(1, (job.folder / "hand" / str(job.tree).lstrip("/")).stat().st_mtime_ns))
    assert facts_of(job.folder / "hand" / str(job.tree).lstrip("/")) == facts_of(job.tree)


def test_only_what_changed_is_read(job: Job) -> None:
    fill(job.tree)
    (job.tree / "pipe").unlink()
    full = job()
    wait_second()
    quiet = job()
    assert quiet["backup"]["contents"]["type"] == "incremental" and quiet["backup"]["parents"] == [full["backup"]["id"]]
    assert [item["name"] for item in quiet["backup"]["objects"]] == ["tree.tar.zst.age", "index.jsonl.zst.age"]
    assert quiet["changes"] == {"created": [], "changed": [], "deleted": []} and quiet["backup"]["contents"]["taken_files"] == 0
    wait_second()
    (job.tree / "uploads/2026/003.txt").write_text("other")
    (job.tree / "uploads/2026/004.txt").chmod(0o600)
    (job.tree / "uploads/2026/005.txt").unlink()
    (job.tree / "new").write_text("new")
    shutil.rmtree(job.tree / "empty")
    (job.tree / "empty").write_text("a file where a folder was")
    (job.tree / "nothing").unlink()
    (job.tree / "nothing").mkdir()
    (job.tree / "nothing/inside").write_text("a folder where a file was")
    (job.tree / "absolute").unlink()
    os.symlink("/etc/hosts", job.tree / "absolute")
    os.rename(job.tree / "uploads/2026", job.tree / "uploads/old")
    changed = job()
    names = {name: [path.removeprefix(f"{job.tree}/") for path in paths] for name, paths in changed["changes"].items()}
    assert names["changed"] == ["absolute", "empty", "nothing"]
    assert "new" in names["created"] and "uploads/old/003.txt" in names["created"] and "uploads/2026/005.txt" in names["deleted"]
    assert changed["backup"]["parents"] == [full["backup"]["id"], quiet["backup"]["id"]]
    before = facts_of(job.tree)
    assert facts_of(restored(job)) == before
    assert facts_of(restored(job, "first", backup_id=full["backup"]["id"]))["uploads/2026/003.txt"][5] != before["uploads/old/003.txt"][5]
    at = restored(job, "then", at=quiet["recoverable_to"])
    assert (at / "uploads/2026/005.txt").exists()
    failed(job(state="restored", target_dir=f"{job.folder}/never", at="2020-01-01T00:00:00Z"), "the earliest good one is of")
    failed(job(state="restored", target_dir=f"{job.folder}/never", at="2020-01-01T00:00:00"), "it has no zone")
    verified = job(state="verified")
    assert verified["verification"]["details"]["chain"] == [full["backup"]["id"], quiet["backup"]["id"], changed["backup"]["id"]]
    assert verified["verification"]["details"]["attributes_compared"] == (os.geteuid() == 0)


def test_contents_that_changed_behind_the_times(job: Job) -> None:
    """A file with the old size, times and inode, as after damage on the disk: only reading it tells."""
    (job.tree / "file").write_text("before")
    job()
    (job.tree / "file").write_text("behind")
    index = next((job.folder / "state").glob("*.index"))
    facts = (job.tree / "file").stat()
    lines = index.read_text().splitlines()
    entry = json.loads(lines[-1])
    entry.update(mtime=facts.st_mtime_ns, ctime=facts.st_ctime_ns)
    lines[-1] = json.dumps(entry)
    index.write_text("\n".join(lines) + "\n")
    manifest = next(path for path in job.files if path.name == "manifest.json")
    plain = json.loads(manifest.read_text())
    plain["contents"]["index_sha256"] = hashlib.sha256(index.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(plain))
    wait_second()
    assert job(check=True)["changes"]["changed"] == []
    assert job(check=True, compare="contents")["changes"]["changed"] == [f"{job.tree}/file"]


def test_when_a_full_backup_is_due(job: Job) -> None:
    (job.tree / "file").write_text("x")

    def take(**options: object) -> Result:
        wait_second()
        return job(**options)["backup"]

    first = take()
    assert take(max_increments=1)["contents"]["type"] == "incremental"
    third = take(max_increments=1)
    assert (third["contents"]["type"], third["contents"]["why"]) == ("full", "1 incremental backups follow the last full one")
    assert take(backup_type="full")["contents"]["why"] == "a full backup was asked for"
    last = take()
    assert last["contents"]["type"] == "incremental"
    job.object(job.info(backup_id=last["parents"][0])["backups"][0], "files-1.tar").unlink()
    again = take()
    assert "it is missing" in again["contents"]["why"] and again["contents"]["type"] == "full"
    shutil.rmtree(job.folder / "state")
    assert take()["contents"]["why"] == "this host remembers no earlier backup"
    newest = take()
    shutil.rmtree(next(path for path in job.store.rglob(newest["parents"][0])))
    info = job.info()
    assert not info["backups"][-1]["good"] and newest["parents"][0] in info["backups"][-1]["problem"]
    assert "is at fault" in take()["contents"]["why"]
    failed(job(state="restored", backup_id=newest["id"], target_dir=f"{job.folder}/x"), f"it is based on backup {newest['parents'][0]}")
    assert first["contents"]["type"] == "full"


def test_what_is_left_out(job: Job) -> None:
    fill(job.tree)
    (job.tree / "cache").mkdir()
    (job.tree / "cache/a").write_text("x")
    (job.tree / "uploads/cache").write_text("a file of that name")
    (job.tree / "a.tmp").write_text("x")
    job(exclude=["cache/", "*.tmp", str(job.tree / "absolute"), "2026/00?.txt"])
    back = restored(job)
    names = set(facts_of(back))
    assert "uploads/cache" in names and "uploads/2026/010.txt" in names
    assert not {"cache", "a.tmp", "absolute", "uploads/2026/001.txt"} & names
    failed(job(exclude=["/"]), "fits nothing or everything")
    failed(job(exclude=["tree"]), "exclude leaves nothing of it")


def test_secrets_go_only_into_encrypted_backups(job: Job) -> None:
    (job.tree / "app.env").write_text(f"PASSWORD={SECRET}\n")
    (job.tree / "chain").write_text("x" * 100_000 + f"\n-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n")
    plain = {"type": "none"}
    for check in (True, False):
        refused = job(check=check, encryption=plain)
        failed(refused, f"{job.tree}/app.env: its name fits secret_patterns", f"{job.tree}/chain: it holds a private key", "encryption.recipients", "exclude")
        assert job.files == []
    failed(job(encryption=plain, secret_contents=False), "app.env")
    assert not job(encryption=plain, secret_contents=False, secret_patterns=[])["failed"]
    shutil.rmtree(job.store)
    assert not job()["failed"]
    for path in job.files:
        assert SECRET.encode() not in path.read_bytes()
    for path in job.folder.rglob("state/*"):
        assert SECRET not in path.read_text() and path.stat().st_mode & 0o077 == 0


def test_what_is_refused_before_anything_is_written(job: Job) -> None:
    (job.tree / "file").write_text("x")
    failed(job(paths=[]), "paths is empty")
    failed(job(paths=["relative"]), "no absolute path")
    failed(job(paths=["/"]), "below /")
    failed(job(paths=[str(job.tree / "missing")]), "missing", "does not exist")
    failed(job(paths=[str(job.folder)]), f"the store {job.store} lies in it")
    failed(job(encryption={}), "encryption.recipients is empty")
    failed(job(max_increments=-1), "max_increments is -1")
    failed(job(state="verified"), "none of the 0 backups there is good")
    assert job.files == []
    assert not job(paths=[str(job.folder)], exclude=["store", "work", "arguments*", "state"])["failed"]


def test_a_link_that_is_named_is_kept_as_one(job: Job) -> None:
    (job.tree / "file").write_text("x")
    os.symlink(job.tree, job.folder / "named")
    taken = job(paths=[str(job.folder / "named")])
    assert any("is a symbolic link" in warning and str(job.tree) in warning for warning in taken["warnings"])
    assert taken["backup"]["contents"]["files"] == 0
    inside = job(paths=[str(job.folder / "named/file")])
    assert inside["backup"]["source"]["paths"] == [str(job.tree / "file")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its rights away")
def test_what_cannot_be_read_fails_by_name(job: Job) -> None:
    """A root who has no more rights than others."""
    (job.tree / "file").write_text("x")
    (job.tree / "closed").write_text("x")
    (job.tree / "closed").chmod(0o600)
    os.chown(job.tree / "closed", 12345, 12345)
    less = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    failed(job.finish(job.start(*less)), f"{job.tree}/closed: Permission denied", "allow_unreadable")
    assert job.files == []
    taken = job.finish(job.start(*less, allow_unreadable=True))
    assert taken["backup"]["contents"]["unreadable"] == {"count": 1, "names": [f"{job.tree}/closed"]}
    assert any("cannot be read and are left out" in warning for warning in taken["warnings"])
    assert taken["backup"]["contents"]["files"] == 1


def test_a_file_that_changes_while_it_is_read(job: Job) -> None:
    """It is read three times, named, and read again by the next backup."""
    (job.tree / "log").write_bytes(b"x" * (1 << 20))
    (job.tree / "file").write_text("x")
    stop = threading.Event()

    def write() -> None:
        with (job.tree / "log").open("ab", buffering=0) as log:
            while not stop.is_set():
                log.write(b"line\n")
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        taken = job()
    finally:
        stop.set()
        writer.join()
    contents = taken["backup"]["contents"]
    assert contents["changed_while_read"] == {"count": 1, "names": [f"{job.tree}/log"]}
    assert any("may be of no one moment" in warning and "/log" in warning for warning in taken["warnings"])
    assert [item["name"].partition(".")[0] for item in taken["backup"]["objects"]] == ["files-1", "files-2", "files-3", "tree", "index"]
    assert not job(state="verified")["failed"], "the backup is what was read"
    wait_second()
    after = job()
    assert after["changes"]["changed"] == [f"{job.tree}/log"] and after["backup"]["contents"]["changed_while_read"]["count"] == 0
    assert (restored(job) / "log").read_bytes() == (job.tree / "log").read_bytes()


def test_verification_of_each_level(job: Job) -> None:
    fill(job.tree)
    taken = job()
    for level in ("list", "checksum", "content", "restore"):
        planned = job(check=True, state="verified", verify_level=level)
        done = job(state="verified", verify_level=level, rto_target="10m", rpo_target="1h")
        assert (planned["actions"], planned["diff"]) == (done["actions"], done["diff"])
        assert done["verification"]["status"] == "successful" and done["verification"]["level"] == level
        assert done["backup"]["verified"] == (level == "restore")
    details = done["verification"]["details"]
    assert details["files"] == taken["backup"]["contents"]["files"] and details["rto_met"] and details["rpo_met"]
    assert {"list", "fetch", "check"} == set(done["phases"])
    again = job(state="verified", max_age="1h")
    assert not again["changed"] and again["verification"]["level"] == "restore"
    assert job(check=True, state="restored", target_dir=f"{job.folder}/x")["expected_seconds"] >= 0


def test_the_key_that_does_not_fit(job: Job, age_keys: AgeKeys, tmp_path: pathlib.Path) -> None:
    (job.tree / "file").write_text("x")
    job()
    subprocess.run(["age-keygen", "-o", str(tmp_path / "other.key")], check=True, capture_output=True)
    wrong = {**job.options["encryption"], "identity_file": str(tmp_path / "other.key")}
    failed(job(state="restored", target_dir=f"{job.folder}/x", encryption=wrong), "the private key fits none of its recipients", age_keys.operators.public)
    assert job.info()["backups"][0]["good"], "a wrong key is no fault of the backup"


def test_restore_over_what_is_there(job: Job) -> None:
    fill(job.tree)
    (job.tree / "pipe").unlink()
    taken = job()
    before = facts_of(job.tree)
    same = job(state="restored")
    assert not same["changed"] and same["actions"] == [] and same["restored"] == []
    (job.tree / "plain").write_text("changed")
    (job.tree / "extra").write_text("not in the backup")
    (job.tree / "holes").unlink()
    spoilt = facts_of(job.tree)
    refused = job(state="restored")
    failed(refused, f"{job.tree} from backup", "it is there already", "1 created", "on_existing=rename")
    assert refused["changes"]["deleted"] == [f"{job.tree}/extra"] and facts_of(job.tree) == spoilt
    planned = job(check=True, state="restored", on_existing="rename")
    assert facts_of(job.tree) == spoilt and planned["restored"] == []
    assert planned["changes"] == {
        "created": [f"{job.tree}/holes"], "changed": [str(job.tree), f"{job.tree}/plain", f"{job.tree}/uploads/hard"], "deleted": [f"{job.tree}/extra"]
    }
    assert f"{job.tree}/extra" in planned["diff"]["before"]["state"]
    done = job(state="restored", on_existing="rename")
    assert (planned["changed"], planned["actions"], planned["diff"], planned["changes"]) == (done["changed"], done["actions"], done["diff"], done["changes"])
    assert facts_of(job.tree) == before
    kept = pathlib.Path(done["restored"][0]["previous"])
    assert kept.name == f"tree.before-{taken['backup']['id']}" and facts_of(kept) == spoilt
    assert {"plan", "fetch", "check", "swap"} == set(done["phases"])
    assert not job(state="restored", on_existing="rename")["changed"]
    (job.tree / "plain").write_text("again")
    failed(job(state="restored", on_existing="rename"), "is there already", "move it away")
    replaced = job(state="restored", on_existing="replace")
    assert replaced["restored"][0]["previous"] == "" and facts_of(job.tree) == before
    assert replaced["restored"][0]["files"] == taken["backup"]["contents"]["files"]


def test_restore_of_some_paths(job: Job) -> None:
    fill(job.tree)
    (job.tree / "pipe").unlink()
    job()
    before = facts_of(job.tree)
    shutil.rmtree(job.tree / "uploads/2026")
    (job.tree / "extra").write_text("stays")
    (job.tree / "plain").unlink()
    done = job(state="restored", restore_paths=[f"{job.tree}/uploads/2026", f"{job.tree}/uploads/2026/001.txt", f"{job.tree}/uploads/hard"])
    assert [unit["path"] for unit in done["restored"]] == [f"{job.tree}/uploads/2026"], "the hard link is there as it was"
    after = facts_of(job.tree)
    for name in ("uploads/2026", "uploads/2026/001.txt", "uploads/hard", "extra"):
        assert name == "extra" or after[name][:7] == before[name][:7], name
    (job.tree / "uploads/hard").unlink()
    assert job(state="restored", restore_paths=[f"{job.tree}/uploads/hard"])["changed"]
    assert facts_of(job.tree)["uploads/hard"][:7] == before["uploads/hard"][:7]
    failed(job(state="restored", restore_paths=["/etc/passwd"]), "the backup does not hold it", str(job.tree))


def test_nothing_is_written_through_a_link(job: Job) -> None:
    (job.tree / "a").mkdir()
    (job.tree / "a/file").write_text("x")
    job()
    outside = job.folder / "outside"
    outside.mkdir()
    target = job.folder / "target"
    above = target / str(job.folder).lstrip("/")
    above.parent.mkdir(parents=True)
    os.symlink(outside, above)
    failed(job(state="restored", target_dir=str(target)), "a symbolic link leads from there to", str(outside))
    shutil.rmtree(job.tree / "a")
    os.symlink(outside, job.tree / "a")
    failed(job(state="restored", restore_paths=[f"{job.tree}/a/file"]), "a symbolic link leads from there to")
    assert list(outside.iterdir()) == []


def forge(job: Job, script: str) -> None:
    """Write another archive of files into the only backup, as somebody could who may write to the store and knows the public key."""
    backup = job.info()["backups"][0]
    path = job.object(backup, "files-1.tar")
    plain = job.folder / "forged.tar"
    subprocess.run(["bash", "-euc", script.format(tar=plain, tree=str(job.tree).lstrip("/"))], check=True, cwd=job.folder)
    packed = subprocess.run(["zstd", "-q", "-c", str(plain)], check=True, capture_output=True).stdout
    recipients = [word for recipient in job.options["encryption"]["recipients"] for word in ("-r", recipient)]
    path.write_bytes(subprocess.run(["age", *recipients], input=packed, check=True, capture_output=True).stdout)
    manifest = path.parent / "manifest.json"
    plain_manifest = json.loads(manifest.read_text())
    for record in plain_manifest["objects"]:
        if record["name"] == path.name:
            record.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), plain_bytes=plain.stat().st_size)
    manifest.write_text(json.dumps(plain_manifest))


@pytest.mark.parametrize(
    "script",
    [
        "mkdir -p f/{tree}; ln -s {{outside}} f/{tree}/file; tar -cf {tar} -C f {tree}/file",
        "mkdir -p f/{tree}; ln -s {{outside}}/x f/{tree}/file; tar -cf {tar} -C f {tree}/file; rm f/{tree}/file; mkdir f/{tree}/file; echo y > f/{tree}/file/x;"
        " tar -rf {tar} -C f {tree}/file/x",
        "mkdir -p f; echo y > f/y; tar -cPf {tar} -C f --transform 's,^y,../../../{{outside}}/y,' y",
        "mkdir -p f; echo y > f/y; tar -cPf {tar} -C f --transform 's,^y,{{outside}}/y,' y",
        "mkdir -p f; mkfifo f/p; tar -cf {tar} -C f --transform 's,^p,{tree}/file,' p",
    ],
    ids=["link", "through-a-link", "dots", "absolute", "pipe"],
)
def test_a_forged_archive_writes_nothing_elsewhere(job: Job, script: str) -> None:
    (job.tree / "file").write_text("x")
    job()
    outside = job.folder / "outside"
    outside.mkdir()
    forge(job, script.replace("{{outside}}", str(outside)))
    result = job(state="restored", target_dir=f"{job.folder}/target")
    failed(result)
    assert list(outside.iterdir()) == [] and not (job.folder / "target").exists()
    assert job(state="verified", verify_level="content")["failed"] and job(state="verified")["failed"]
    assert list(outside.iterdir()) == []


def test_damage_is_named_and_ends_the_chain(job: Job) -> None:
    fill(job.tree)
    full = job()
    wait_second()
    (job.tree / "plain").write_text("more")
    second = job()
    path = job.object(full["backup"], "files-1.tar")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert not job(state="verified", verify_level="list")["failed"]
    for level in ("checksum", "content", "restore"):
        result = job(state="verified", verify_level=level, backup_id=second["backup"]["id"])
        failed(result, second["backup"]["id"], full["backup"]["id"], "files-1.tar")
        assert result["verification"]["status"] == "failed"
    failed(job(state="restored", target_dir=f"{job.folder}/x", backup_id=second["backup"]["id"]), full["backup"]["id"], "SHA-256")
    assert not (job.folder / "x").exists()
    info = job.info()
    assert [item["good"] for item in info["backups"]] == [False, False] and info["latest"] is None
    wait_second()
    assert "is at fault" in job()["backup"]["contents"]["why"]
    path.write_bytes(data[:-1])
    failed(job(state="verified", verify_level="list", backup_id=second["backup"]["id"]), "its manifest says")


def test_retention_keeps_what_a_kept_one_is_based_on(job: Job) -> None:
    (job.tree / "file").write_text("x")
    ids = []
    for _unused in range(4):
        ids.append(job()["backup"]["id"])
        wait_second()
    failed(job(state="absent", backup_id=ids[1]), "is based on it")
    rules = {"keep_last": 1, "min_good": 1, "grace": "0"}
    result = job(state="pruned", retention=rules)
    assert [item["id"] for item in result["kept"]] == ids and result["pruned"] == []
    job(backup_type="full")
    wait_second()
    planned = job(check=True, state="pruned", retention=rules)
    done = job(state="pruned", retention=rules)
    assert planned["pruned"] == done["pruned"] == ids and planned["diff"] == done["diff"]
    assert not job(state="pruned", retention=rules)["changed"]
    assert not job(state="absent", backup_id=job.info()["latest"], force=True)["failed"]


def test_copies_hold_the_whole_chain(job: Job) -> None:
    (job.tree / "file").write_text("x")
    full = job()
    wait_second()
    (job.tree / "file").write_text("y")
    copy = {"type": "local", "path": str(job.folder / "copy")}
    job(copies=[copy])
    assert [item["id"] for item in job.info(store=copy)["backups"]][0] == full["backup"]["id"]
    (job.folder / "elsewhere").mkdir()
    other = {"type": "local", "path": str(job.folder / "elsewhere/copy")}
    planned, done = job(check=True, state="copied", copies=[other]), job(state="copied", copies=[other])
    assert planned["actions"] == done["actions"] and len(done["actions"]) == 2
    assert not job(state="copied", copies=[other])["changed"]
    shutil.rmtree(job.store)
    assert (restored(job, store=other) / "file").read_text() == "y"
    assert not job(state="verified", store=other)["failed"]


def test_on_s3(job: Job, s3_server: S3Server) -> None:
    fill(job.tree)
    (job.tree / "pipe").unlink()
    bucket = f"files-{free_port()}"
    s3_server.client().create_bucket(Bucket=bucket)
    store = s3_server.store(bucket)
    before = facts_of(job.tree)
    full = job(store=store)
    assert not full["failed"], full
    wait_second()
    (job.tree / "more").write_text("more")
    taken = job(store=store)
    assert taken["backup"]["parents"] == [full["backup"]["id"]]
    assert not job(state="verified", store=store)["failed"]
    back = restored(job, store=store)
    assert facts_of(back) == facts_of(job.tree) and len(before) + 1 == len(facts_of(back))


def test_one_run_at_a_time(job: Job) -> None:
    (job.tree / "file").write_text("x")
    job()
    process = subprocess.Popen(["flock", str(job.folder / "state/app1.lock"), "sleep", "60"])
    try:
        time.sleep(0.5)
        failed(job(), "another run on this host does")
        assert not job(check=True)["failed"]
    finally:
        process.kill()
        process.wait()
    subprocess.run(["pkill", "--parent", str(process.pid)], check=False)


def test_a_signal_leaves_nothing(job: Job) -> None:
    for number in range(200):
        (job.tree / f"{number}").write_bytes(os.urandom(1 << 18))
    process = job.start()
    deadline = time.monotonic() + 60
    while not list(job.store.rglob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    result = job.finish(process)
    failed(result, "the module received SIGTERM")
    assert job.files == []
    assert job()["backup"]["contents"]["type"] == "full"
