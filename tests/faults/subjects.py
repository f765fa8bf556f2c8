# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is backed up in the fault tests: small databases and caches that do not compress, on servers that can be broken."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import secrets
import shutil
import subprocess
import typing as t

import redis
import waiting
from servers import SENTINEL, PostgresServer, as_server_user, free_port

MEGABYTES = 20
ROWS = MEGABYTES * 1000
MARKS = 100
"""Keys of a Redis server that say which generation its data is of."""


def fill(server: PostgresServer, name: str = "books") -> None:
    """Make a database of rows that do not compress, in several parts of an upload."""
    server.query(f"CREATE DATABASE {name}")
    server.query("CREATE EXTENSION IF NOT EXISTS pgcrypto", name)
    server.query(f"CREATE TABLE pages AS SELECT n, gen_random_bytes(1000) AS body FROM generate_series(1, {ROWS}) n", name)


@dataclasses.dataclass
class Redis:
    """A Redis server on loopback, with its files in a folder of its own.

    Args:
        folder: a folder for its files.
        settings: further settings.
    """

    folder: pathlib.Path
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    port: int = dataclasses.field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> t.Any:
        """A client."""
        return redis.Redis(port=self.port, password=SENTINEL)

    @property
    def login(self) -> dict[str, t.Any]:
        """The module's connection options."""
        return {"login_host": "127.0.0.1", "login_port": self.port, "login_password": SENTINEL, "tls": False}

    @property
    def digest(self) -> bytes:
        """The digest of all data."""
        return self.client.execute_command("DEBUG", "DIGEST")

    @property
    def child(self) -> int:
        """The process that writes a snapshot; 0 if there is none."""
        assert self.process is not None
        for path in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for word in path.read_text().split():
                return int(word)
        return 0

    def setting(self, name: str) -> str:
        """A setting of the running server."""
        return self.client.config_get(name)[name]

    def start(self) -> None:
        """Start it, and wait until it has loaded."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "redis.conf"
        config.touch(0o600)
        given = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "logfile": str(self.folder / "log"),
            "requirepass": SENTINEL,
            "masterauth": SENTINEL,
            "save": '""',
            "repl-diskless-sync-delay": "0",
            "enable-debug-command": "yes",
            **self.settings,
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in given.items()))
        program = shutil.which("redis-server")
        assert program, "redis-server is missing"
        self.process = subprocess.Popen([program, str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(lambda: self.client.ping() and not self.client.info()["loading"], f"the start of Redis on port {self.port}")

    def kill(self) -> None:
        """SIGKILL it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def fill(self, word: str, count: int = 1500) -> bytes:
        """Replace its data by keys that do not compress and whose generation is a word; return the digest."""
        self.client.flushall()
        pipe = self.client.pipeline(transaction=False)
        pipe.mset({f"mark:{number}": word for number in range(MARKS)})
        for number in range(count):
            pipe.set(f"key:{word}:{number}", secrets.token_bytes(10_000))
        pipe.execute()
        return self.digest


until = functools.partial(waiting.until, ignoring=(redis.exceptions.RedisError,), pause=0.005)
"""Wait for what servers do; one that does not answer yet is waited for."""


@contextlib.contextmanager
def redis_server(folder: pathlib.Path, **settings: str) -> t.Iterator[Redis]:
    """Yield a Redis server with the generation ``new``, whose snapshots take about half a second."""
    server = Redis(folder, {"rdb-key-save-delay": "300", **{name.replace("_", "-"): value for name, value in settings.items()}})
    try:
        server.start()
        server.fill("new")
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def following(folder: pathlib.Path, master: Redis) -> t.Iterator[Redis]:
    """Yield a replica that has synchronised."""
    server = Redis(folder, {"replicaof": f"127.0.0.1 {master.port}"})
    try:
        server.start()
        until(lambda: server.client.info()["master_link_status"] == "up", "the replica's first synchronisation")
        yield server
    finally:
        server.kill()


def archive_with_pgbackrest(server: PostgresServer, folder: pathlib.Path, text: str, stanza: str) -> None:
    """Let a server hand its log to pgBackRest, with the text of a configuration."""
    config = folder / f"{stanza}.conf"
    config.touch(0o600)
    config.write_text(text)
    with contextlib.suppress(LookupError, PermissionError):
        shutil.chown(config, "postgres", "postgres")
    server.query("ALTER SYSTEM SET archive_mode = on")
    server.query(f"ALTER SYSTEM SET archive_command = 'pgbackrest --config={config} --stanza={stanza} archive-push %p'")
    server.control("restart")


def kill_server(server: PostgresServer) -> None:
    """SIGKILL the postmaster."""
    pid = (server.data_dir / "postmaster.pid").read_text().split()[0]
    subprocess.run(as_server_user(["kill", "-KILL", pid]), check=True)
