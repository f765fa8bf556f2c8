# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the benchmark: Redis on private sockets, and the data that is backed up."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import random
import shutil
import subprocess
import time
import typing as t

import redis

SETTINGS = {
    "port": "0",
    "save": '""',
    "appendonly": "no",
    "unixsocketperm": "700",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "enable-debug-command": "yes",
}
"""As on a server that is backed up by hand, but without the 5 seconds that it waits by default before it sends a snapshot."""
START_SECONDS = 300
BATCH = 50
"""Entries of each type between two looks at the server's memory."""
WORDS = ("open", "paid", "sent", "returned", "north", "south", "east", "west", "parcel", "letter", "invoice", "customer", "warehouse", "street")


@dataclasses.dataclass
class Server:
    """A Redis server in a folder of its own, reached by a socket there without a password."""

    folder: pathlib.Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> pathlib.Path:
        """The path of its socket."""
        return self.folder / "redis.sock"

    @property
    def dump(self) -> pathlib.Path:
        """The file that it loads at its start, and saves to."""
        return self.folder / "dump.rdb"

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.process.pid if self.process else 0

    def client(self) -> t.Any:
        """Return a client."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=START_SECONDS)

    def create(self) -> None:
        """Make its folder, which only its user may enter, anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)

    def start(self) -> None:
        """Start it, and wait until it has loaded and answers.

        Raises:
            TimeoutError: it does not.
        """
        config = self.folder / "redis.conf"
        given = {**SETTINGS, "dir": str(self.folder), "unixsocket": str(self.socket), "logfile": str(self.folder / "log")}
        config.write_text("".join(f"{name} {text}\n" for name, text in given.items()), encoding="utf-8")
        nothing = subprocess.DEVNULL
        self.process = subprocess.Popen(["redis-server", str(config)], cwd="/", stdin=nothing, stdout=nothing, stderr=nothing)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(redis.exceptions.RedisError), self.client() as client:
                client.ping()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"Redis does not answer: {(self.folder / 'log').read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, if it runs; it saves nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def used_memory(self) -> int:
        """Bytes that its data takes."""
        with self.client() as client:
            return int(client.info("memory")["used_memory"])

    @property
    def keys(self) -> int:
        """The number of its keys."""
        with self.client() as client:
            return int(client.dbsize())

    @property
    def digest(self) -> bytes:
        """The digest of its data."""
        with self.client() as client:
            return client.execute_command("DEBUG", "DIGEST")


def load(server: Server, size: int) -> None:
    """Add data until the server uses ``size`` bytes of memory.

    About a sixth of it each: strings of JSON, random strings, hashes, lists, sorted sets, streams. The same data each time.
    """
    choose = random.Random(3)  # noqa: S311
    with server.client() as client:
        base = client.dbsize()
        while client.info("memory")["used_memory"] < size:
            pipe = client.pipeline(transaction=False)
            for number in range(base, base + BATCH):
                _add(pipe, number, choose)
            pipe.execute()
            base += BATCH


def _add(pipe: t.Any, number: int, choose: random.Random) -> None:
    """Add some entries of each type, each type of about 12 kB."""
    for part in range(12):
        body = {"order": number, "part": part, "lines": [{"state": choose.choice(WORDS), "amount": choose.randrange(10**6)} for _unused in range(24)]}
        pipe.set(f"order:{number}:{part}", json.dumps(body))
    for part in range(3):
        pipe.set(f"blob:{number}:{part}", choose.randbytes(4000))
        pipe.zadd(f"board:{number}:{part}", {f"player{choose.randrange(10**9)}": choose.random() for _unused in range(120)})
    for part in range(2):
        pipe.hset(f"session:{number}:{part}", mapping={f"field{field}": f"{choose.choice(WORDS)} {choose.getrandbits(128):x}" for field in range(120)})
    pipe.rpush(f"queue:{number}", *(f"{choose.choice(WORDS)}:{choose.getrandbits(64):x}" for _unused in range(480)))
    for entry in range(150):
        pipe.xadd(f"events:{number}", {"kind": choose.choice(WORDS), "value": f"{choose.getrandbits(200):x}"}, id=f"{number + 1}-{entry + 1}")
