# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis servers on loopback and catalogues of their snapshots, for the tests of redis_snapshot; a test module imports the fixtures that it uses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import time
import typing as t

import pytest
import redis
import waiting
from certificates import issue, make_authority
from conftest import AgeKeys, free_port
from module_job import ModuleJob, Options, Result

from ansible_collections.mainstay.ops.plugins.modules import redis_snapshot, redis_snapshot_info

SECRET = "Sentinel" + secrets.token_hex(8)
"""The servers' password: a word that must never be seen outside the places made for it."""
MEMORY_LIMIT = 64 << 20
"""What the module may take, with the interpreter and its libraries."""


def program(name: str) -> str:
    """Return the path of a program that the tests need."""
    found = shutil.which(name)
    assert found, f"{name} is missing; install redis-server, redis-tools, age and zstd"
    return found


until = functools.partial(waiting.until, ignoring=(redis.exceptions.RedisError, OSError), pause=0.03)
"""Wait for what servers do; one that does not answer yet is waited for."""


@dataclasses.dataclass
class RedisServer:
    """A Redis server on a loopback port, with its files in a folder of its own."""

    folder: pathlib.Path
    port: int
    settings: dict[str, str]
    password: str = SECRET
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Start it and wait until it has loaded."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "redis.conf"
        config.touch(0o600)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "logfile": str(self.folder / "log"),
            "requirepass": self.password,
            "masterauth": self.password,
            "save": '""',
            "repl-diskless-sync-delay": "0",
            "enable-debug-command": "yes",
            **self.settings,
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self.process = subprocess.Popen([program("redis-server"), str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.client().ping() and not self.client().info()["loading"], f"the start of Redis on port {self.port}")
        return self

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def client(self, database: int = 0) -> t.Any:
        """Return a client of its plain port."""
        return redis.Redis(port=self.port, password=self.password, db=database, decode_responses=True)

    def fill(self) -> None:
        """Replace the data by some of each type, in two databases, with a function and keys that expire."""
        client = self.client()
        client.flushall()
        pipe = client.pipeline()
        for number in range(500):
            pipe.set(f"string:{number}", "x" * number)
        pipe.hset("hash", mapping={"a": 1, "b": 2})
        pipe.rpush("list", *range(100))
        pipe.zadd("sorted", {"a": 1.5, "b": 2.5})
        pipe.sadd("set", "a", "b")
        pipe.xadd("stream", {"a": "b"})
        pipe.set("lasting", "x", ex=3600)
        pipe.execute()
        self.client(7).set("seven", "7")

    def allow(self, name: str, *rules: str) -> Options:
        """Make a user with these rights and no others; return the module's options that log in as it."""
        self.client().execute_command("ACL", "SETUSER", name, "reset", "on", f">{self.password}", *rules)
        return {**self.login, "login_user": name}

    @property
    def digest(self) -> str:
        """The digest of all data."""
        return self.client().execute_command("DEBUG", "DIGEST")

    @property
    def log(self) -> str:
        """Everything the server has logged."""
        return (self.folder / "log").read_text()

    @property
    def login(self) -> Options:
        """The module's connection options."""
        return {"login_host": "127.0.0.1", "login_port": self.port, "login_password": self.password, "tls": False}


Starter = t.Callable[..., RedisServer]


@pytest.fixture(scope="module")
def start_redis(server_root: pathlib.Path) -> t.Iterator[Starter]:
    """Start servers that are ended with the module: ``start_redis(appendonly="yes")``."""
    servers: list[RedisServer] = []

    def start(password: str = SECRET, port: int = 0, **settings: str) -> RedisServer:
        words = {name.replace("_", "-"): value for name, value in settings.items()}
        server = RedisServer(server_root / f"redis-{secrets.token_hex(3)}", port or free_port(), words, password)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def master(start_redis: Starter) -> RedisServer:
    """A master without replicas."""
    return start_redis()


class Job(ModuleJob):
    """A catalogue of snapshots."""

    module, info_module, secret, patience = redis_snapshot, redis_snapshot_info, SECRET, 120

    def data_object(self) -> pathlib.Path:
        """The only backup's data object."""
        (found,) = (path for path in self.files if path.name.startswith("dump.rdb"))
        return found

    def open_by_hand(self, backup: Result, name: str, target: pathlib.Path) -> pathlib.Path:
        """Open an object of a backup with the stock programs, into a file, and return that."""
        (found,) = (path for path in self.files if path.parent.name == backup["id"] and path.name.startswith(name))
        line = f"{program('age')} -d -i {self.options['encryption']['identity_file']} {found} | {program('zstd')} -d > {target}"
        subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True)
        return target

    def edit_manifest(self, change: t.Callable[[dict[str, t.Any]], None]) -> None:
        """Change the only backup's manifest behind the module's back."""
        (path,) = (path for path in self.files if path.name == "manifest.json")
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))


@pytest.fixture
def job(tmp_path: pathlib.Path, age_keys: AgeKeys) -> Job:
    """An empty catalogue in a local store, encrypted for two keys."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    encryption = {"recipients": [age_keys.operators.public, age_keys.break_glass.public], "identity_file": age_keys.operators.path}
    options = {"name": "cache", "store": {"type": "local", "path": str(tmp_path / "store")}, "encryption": encryption, "work_dir": str(work_dir)}
    return Job(tmp_path, options)


@pytest.fixture(autouse=True)
def nothing_left(job: Job) -> t.Iterator[None]:
    """After each test no throwaway folder and no throwaway server is left."""
    yield
    assert os.listdir(job.options["work_dir"]) == []
    for path in pathlib.Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            assert not os.readlink(path).startswith(job.options["work_dir"]), path


def command_line(pid: int | str) -> list[str]:
    """The command line of a process; nothing if it has gone."""
    with contextlib.suppress(OSError):
        return [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")]
    return []


def peak_memory(process: subprocess.Popen[str]) -> int:
    """Wait until a process ends; return the most memory that it had, in bytes."""
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max(peak, next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:")))
        time.sleep(0.02)
    return peak


def restored_keys(result: Result) -> dict[str, int]:
    """The keys per database that a restore says the server has."""
    return {entry["database"]: entry["keys_count"] for entry in result["restored"]}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A CA and a certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder)
    issue(folder, "redis", "localhost", "DNS:localhost,IP:127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def slow(start_redis: Starter) -> RedisServer:
    """A server that needs about ten seconds for a snapshot."""
    server = start_redis(rdb_key_save_delay="0")
    pipe = server.client().pipeline()
    for number in range(10_000):
        pipe.set(f"key:{number}", secrets.token_hex(300))
    pipe.execute()
    return server


@contextlib.contextmanager
def slowly(server: RedisServer) -> t.Iterator[None]:
    """Let snapshots of a server take about ten seconds."""
    server.client().config_set("rdb-key-save-delay", "1000")
    try:
        yield
    finally:
        with contextlib.suppress(redis.exceptions.RedisError):
            server.client().config_set("rdb-key-save-delay", "0")


def streaming(server: RedisServer) -> bool:
    """Whether a server is sending a snapshot."""
    return bool(server.client().info()["rdb_bgsave_in_progress"])
