# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_backup and redis_snapshot do with backups that exist (copied, pruned, absent, and what follows present), and gpg, with real servers and stores."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
import time
import typing as t

import pytest
import redis
from conftest import PostgresServer, Runner, S3Server, free_port, newest_postgresql

Options = dict[str, t.Any]
Result = dict[str, t.Any]
COMPARED = ("changed", "actions", "diff", "pruned")
KEEP = {"min_good": 1, "grace": "0"}


@pytest.fixture(scope="module")
def redis_port(server_root: pathlib.Path) -> t.Iterator[int]:
    """A Redis server with some keys, without a password."""
    program, port, folder = shutil.which("redis-server"), free_port(), server_root / "catalog-redis"
    assert program, "redis-server is missing; install it"
    folder.mkdir()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--repl-diskless-sync-delay", "0"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client, deadline = redis.Redis(port=port), time.monotonic() + 60
        while True:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                if client.mset({f"key:{number}": "x" * 100 for number in range(1000)}):
                    break
            assert process.poll() is None and time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


class Stored:
    """The objects of a store, seen from outside."""

    def __init__(self, options: Options, server: S3Server | None = None) -> None:
        """Look at what the option ``store`` names."""
        self.options, self._server = options, server

    @property
    def where(self) -> str:
        """How the modules call it."""
        if self._server is None:
            return self.options["path"]
        return f"s3://{self.options['bucket']} at {self._server.endpoint_url}"

    def keys(self) -> list[str]:
        """All keys."""
        if self._server is not None:
            return sorted(self._server.keys(self.options["bucket"]))
        root = pathlib.Path(self.options["path"])
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def read(self, key: str) -> bytes:
        """The content of an object."""
        if self._server is not None:
            return self._server.client().get_object(Bucket=self.options["bucket"], Key=key)["Body"].read()
        return (pathlib.Path(self.options["path"]) / key).read_bytes()

    def delete(self, key: str) -> None:
        """Lose an object."""
        if self._server is not None:
            self._server.client().delete_object(Bucket=self.options["bucket"], Key=key)
        else:
            (pathlib.Path(self.options["path"]) / key).unlink()

    def ids(self) -> list[str]:
        """The ids of the backups whose manifest is there."""
        return [key.split("/")[2] for key in self.keys() if key.endswith("/manifest.json")]

    def everything(self) -> dict[str, bytes]:
        """All objects."""
        return {key: self.read(key) for key in self.keys()}


@dataclasses.dataclass
class Site:
    """A module with its server, a store and a copy."""

    run: Runner
    module: str
    login: Options
    store: Stored
    copy: Stored

    def options(self, state: str, **more: t.Any) -> Options:
        """The module's options."""
        return {
            "name": "site",
            "state": state,
            "store": self.store.options,
            "copies": [self.copy.options],
            "encryption": {"type": "none"},
            "compression": {"level": 1},
            **self.login,
            **more,
        }

    def all_three(self, state: str, **more: t.Any) -> Result:
        """Run in check mode, which changes nothing, then really, which does the same, then again, which does nothing; return the real result."""
        options = self.options(state, **more)
        before = self.store.keys(), self.copy.keys()
        planned = self.run(self.module, options, check=True, diff=True)
        assert not planned["failed"], planned
        assert (self.store.keys(), self.copy.keys()) == before
        done = self.run(self.module, options, diff=True)
        assert not done["failed"], done
        assert set(planned) == set(done)
        assert {name: planned[name] for name in COMPARED} == {name: done[name] for name in COMPARED}
        again = self.run(self.module, {**options, **({"max_age": "1h"} if state == "present" else {})}, diff=True)
        assert (again["failed"], again["changed"], again["actions"], again["pruned"]) == (False, False, [], [])
        assert again["diff"]["before"] == again["diff"]["after"]
        return done


@pytest.fixture(params=["pg_backup", "redis_snapshot"])
def module(request: pytest.FixtureRequest) -> str:
    """The module."""
    return request.param


@pytest.fixture
def site(
    module: str,
    run_module: Runner,
    postgres_server: PostgresServer,
    redis_port: int,
    s3_server: S3Server,
    tmp_path: pathlib.Path,
) -> t.Iterator[Site]:
    """A server with data, and two empty stores: a folder with a copy in a bucket for PostgreSQL, the other way round for Redis."""

    def place(kind: str, name: str) -> Stored:
        if kind == "s3":
            return Stored(s3_server.store(s3_server.new_bucket()), s3_server)
        return Stored({"type": "local", "path": str(tmp_path / name)})

    first, second = ("local", "s3") if module == "pg_backup" else ("s3", "local")
    login = {"login_host": "127.0.0.1", "login_port": redis_port, "tls": False}
    database = f"site_{secrets.token_hex(4)}"
    if module == "pg_backup":
        postgres_server.query(f"CREATE DATABASE {database}")
        postgres_server.query("CREATE TABLE entries AS SELECT generate_series(1, 100) AS id", database)
        login = {**postgres_server.login, "databases": [database]}
    yield Site(run_module, module, login, place(first, "store"), place(second, "copy"))
    if module == "pg_backup":
        postgres_server.drop(database)


def test_the_life_of_backups(site: Site) -> None:
    ids = []
    for number in range(3):
        done = site.all_three("present", max_age="0", retention={"keep_last": 2, **KEEP})
        ids.append(done["backup"]["id"])
        assert f"copy the new backup to {site.copy.where}" in done["actions"]
        assert done["pruned"] == ids[:-2] and site.store.ids() == site.copy.ids() == ids[-2:]
        assert [item["id"] for item in done["kept"]] == ids[-2:]
        assert "the newest good one" in done["kept"][-1]["reasons"]
        assert any(line.startswith("(a new backup): keep_last 1 of 2") for line in done["diff"]["after"]["state"])
        assert site.store.everything() == site.copy.everything()
        time.sleep(1.1)
        assert number < 2 or done["actions"][-2:] == [f"remove backup {ids[0]}", f"remove backup {ids[0]} from {site.copy.where}"]
    ids = ids[1:]

    manifest = next(key for key in site.copy.keys() if key.endswith(f"{ids[-1]}/manifest.json"))
    site.copy.delete(manifest)
    options = site.options("present", max_age="1h", retention={"keep_last": 1, **KEEP})
    planned, done, again = (site.run(site.module, options, check=check, diff=True) for check in (True, False, False))
    assert planned["actions"] == done["actions"] == [f"copy backup {ids[-1]} to {site.copy.where}"] and planned["diff"] == done["diff"]
    assert not again["changed"] and site.store.everything() == site.copy.everything() and site.store.ids() == ids

    verified = site.run(site.module, site.options("verified", verify_level="checksum"))
    assert verified["changed"] and site.store.keys() != site.copy.keys()
    done = site.all_three("copied")
    assert done["actions"] == [f"copy 1 verifications of backup {ids[-1]} to {site.copy.where}"] and done["backup"]["id"] == ids[-1]
    assert site.store.everything() == site.copy.everything()
    for key in site.copy.keys():
        site.copy.delete(key)
    done = site.all_three("copied", backup_id=ids[0])
    assert done["changed"] and "copy" in done["phases"] and site.copy.ids() == ids[:1]
    assert done["diff"] == {"before": {"state": []}, "after": {"state": [f"{site.copy.where}: {ids[0]}"]}}

    site.all_three("copied")
    done = site.all_three("pruned", retention={"keep_last": 1, **KEEP})
    assert done["actions"] == [f"remove backup {ids[0]}", f"remove backup {ids[0]} from {site.copy.where}"] and done["pruned"] == ids[:1]
    assert done["backup"] is None and done["kept"][0]["id"] == ids[1] and site.store.ids() == site.copy.ids() == ids[1:]
    assert all(ids[1] in key for key in site.store.keys() + site.copy.keys())

    refused = site.run(site.module, site.options("absent", backup_id=ids[1]))
    assert refused["failed"] and "it is the newest good one" in refused["msg"] and "force" in refused["msg"] and site.store.ids() == ids[1:]
    done = site.all_three("absent", backup_id=ids[1], force=True)
    assert done["actions"] == [f"remove backup {ids[1]}", f"remove backup {ids[1]} from {site.copy.where}"] and done["backup"]["id"] == ids[1]
    assert site.store.keys() == site.copy.keys() == []


def test_a_copy_out_of_reach_fails_the_task_and_nothing_is_pruned(site: Site) -> None:
    retention = {"keep_last": 1, **KEEP}
    first = site.run(site.module, site.options("present", max_age="0", retention=retention))["backup"]["id"]
    time.sleep(1.1)
    bucket = site.copy.options if "bucket" in site.copy.options else site.store.options
    options = site.options("present", max_age="0", retention=retention, copies=[{**bucket, "bucket": "nowhere"}, site.copy.options])
    failed = site.run(site.module, options)
    assert failed["failed"] and "nowhere" in failed["msg"] and site.copy.where not in failed["msg"].replace("s3://nowhere at", "")
    assert first in site.store.ids() and len(site.store.ids()) == len(site.copy.ids()) == 2
    assert site.store.everything() == site.copy.everything()
    done = site.run(site.module, site.options("present", max_age="1h", retention=retention))
    assert not done["failed"] and not done["changed"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"state": "copied", "copies": []}, "copies is empty"),
        ({"state": "pruned"}, "retention is not given"),
        ({"state": "absent", "backup_id": "latest"}, "named by its id"),
        ({"state": "present", "retention": {"min_good": 0}}, "min_good"),
        ({"state": "copied", "backup_id": "20261122T174200Z-1a2b3c4d"}, "no such backup"),
    ],
)
def test_what_cannot_be_right(run_module: Runner, module: str, tmp_path: pathlib.Path, more: Options, words: str) -> None:
    login = {"tls": False, "login_port": 1} if module == "redis_snapshot" else {"login_port": 1}
    stores = {"store": {"type": "local", "path": str(tmp_path / "a")}, "copies": [{"type": "local", "path": str(tmp_path / "b")}]}
    for check in (True, False):
        done = run_module(module, {"name": "x", "encryption": {"type": "none"}, **stores, **login, **more}, check=check)
        assert done["failed"] and words in done["msg"], done
    assert list(tmp_path.iterdir()) == []


class GpgKey(t.NamedTuple):
    """An armored pair of keys."""

    public: str
    private: str


@pytest.fixture(scope="module")
def gpg_keys() -> t.Iterator[list[GpgKey]]:
    """The keys of the operators and of a stranger."""
    with tempfile.TemporaryDirectory(prefix="keys-") as home:

        def gpg(*arguments: str) -> str:
            fixed = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
            return subprocess.run([*fixed, *arguments], check=True, capture_output=True, text=True).stdout

        made = []
        for name in ("operators", "stranger"):
            gpg("--quick-generate-key", name, "future-default", "default", "never")
            made.append(GpgKey(gpg("--armor", "--export", f"={name}"), gpg("--armor", "--export-secret-keys", f"={name}")))
        yield made
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def own_homes() -> set[str]:
    """The private folders of gpg that nobody uses any more."""
    return {path for path in glob.glob("/dev/shm/mainstay-*gpg-*") if subprocess.run(["flock", "-n", f"{path}/in-use", "true"], check=False).returncode == 0}


def test_gpg_from_the_backup_to_the_restore(
    run_module: Runner, module: str, postgres_server: PostgresServer, redis_port: int, gpg_keys: list[GpgKey], tmp_path: pathlib.Path
) -> None:
    operators, stranger = gpg_keys
    left = own_homes()
    common: Options = {"name": "site", "store": {"type": "local", "path": str(tmp_path / "store")}}
    if module == "pg_backup":
        postgres_server.query("CREATE DATABASE opened")
        common.update(postgres_server.login, databases=["opened"])
    else:
        common.update(login_host="127.0.0.1", login_port=redis_port, tls=False)
    try:
        done = run_module(module, {**common, "encryption": {"type": "gpg", "recipients": [operators.public]}})
        assert not done["failed"], done
        assert done["backup"]["encryption"]["type"] == "gpg" and all(item["name"].endswith(".gpg") for item in done["backup"]["objects"])

        wrong = run_module(module, {**common, "state": "verified", "verify_level": "content", "encryption": {"identity": stranger.private}})
        assert wrong["failed"] and "fits none of its recipients" in wrong["msg"]
        none = run_module(module, {**common, "state": "verified", "verify_level": "content"})
        assert none["failed"] and "there is no private key" in none["msg"]
        key_file = tmp_path / "key"
        key_file.write_text(operators.private)
        for identity in ({"identity": operators.private}, {"identity_file": str(key_file)}):
            work_dir = {"work_dir": "/var/tmp"}
            good = run_module(module, {**common, **work_dir, "state": "verified", "max_age": "0", "verify_level": "restore", "encryption": identity})
            assert not good["failed"] and good["backup"]["verified"], good
            secret = operators.private.splitlines()[4]
            assert secret not in json.dumps(good) and secret not in json.dumps(wrong)
        assert own_homes() <= left

        name = next(item["name"] for item in done["backup"]["objects"] if item["name"].startswith(("opened", "dump")) or "opened" in item["name"])
        kind = "postgres" if module == "pg_backup" else "redis"
        stored = tmp_path / "store" / kind / "site" / done["backup"]["id"] / name
        reader = f"{newest_postgresql()}/pg_restore -l" if module == "pg_backup" else "head -c 5"
        with tempfile.TemporaryDirectory(prefix="hand-") as home:
            environment = {**os.environ, "GNUPGHOME": home}
            subprocess.run(["gpg", "--batch", "--quiet", "--import", str(key_file)], env=environment, check=True)
            command = f"set -o pipefail; gpg --batch --quiet -d {stored} | zstd -q -d | {reader}"
            opened = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
        assert "dbname: opened" in opened.stdout or opened.stdout == "REDIS", opened
    finally:
        if module == "pg_backup":
            postgres_server.drop("opened")
