# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is backed up in the fault tests: small databases that do not compress, on servers that can be broken."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import secrets
import shutil
import subprocess
import time
import typing as t

import redis
from servers import SENTINEL, PostgresServer, as_server_user, free_port

MEGABYTES = 20
ROWS = MEGABYTES * 1000


def fill(server: PostgresServer, name: str = "books") -> None:
    """Make a database of rows that do not compress, in several parts of an upload."""
    server.query(f"CREATE DATABASE {name}")
    server.query("CREATE EXTENSION IF NOT EXISTS pgcrypto", name)
    server.query(f"CREATE TABLE pages AS SELECT n, gen_random_bytes(1000) AS body FROM generate_series(1, {ROWS}) n", name)


@dataclasses.dataclass
class Redis:
    """A Redis server on loopback."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> t.Any:
        """A client."""
        return redis.Redis(port=self.port, password=SENTINEL)

    @property
    def login(self) -> dict[str, t.Any]:
        """The module's connection options."""
        return {"login_host": "127.0.0.1", "login_port": self.port, "login_password": SENTINEL, "tls": False}


@contextlib.contextmanager
def redis_server(folder: pathlib.Path) -> t.Iterator[Redis]:
    """Yield a Redis server with keys that do not compress, whose snapshots take about half a second."""
    folder.mkdir()
    config = folder / "redis.conf"
    config.touch(0o600)
    port = free_port()
    config.write_text(f'port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {SENTINEL}\nsave ""\nrepl-diskless-sync-delay 0\nrdb-key-save-delay 300\n')
    program = shutil.which("redis-server")
    assert program, "redis-server is missing"
    server = Redis(port, subprocess.Popen([program, str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(redis.exceptions.RedisError):
                server.client.ping()
                break
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.05)
        pipe = server.client.pipeline()
        for number in range(1500):
            pipe.set(f"key:{number}", secrets.token_bytes(10_000))
        pipe.execute()
        yield server
    finally:
        server.process.kill()
        server.process.wait(10)


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
