# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and its standbys on loopback, as pg_basebackup makes them, and a writer that says what it was promised."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import typing as t

import psycopg2
import waiting
from servers import SENTINEL, PostgresServer, as_server_user, free_port, postgresql


until = functools.partial(waiting.until, ignoring=(psycopg2.Error, IndexError))
"""Wait for what servers do; one that does not answer yet is waited for."""


@dataclasses.dataclass
class Cluster:
    """A running primary and its standbys, by name; ``passfile`` holds the password for all of them."""

    folder: pathlib.Path
    servers: dict[str, PostgresServer]
    passfile: pathlib.Path

    @property
    def access(self) -> dict[str, t.Any]:
        """The modules' options."""
        members = [{"name": name, "host": "127.0.0.1", "port": server.port} for name, server in self.servers.items()]
        return {"members": members, "login_user": "postgres", "login_password": SENTINEL}

    def __getitem__(self, name: str) -> PostgresServer:
        """Return a server by its name."""
        return self.servers[name]

    def one(self, name: str, query: str) -> t.Any:
        """Return the only value of a query."""
        return self[name].query(query)[0][0]

    def kill(self, name: str) -> None:
        """End a server at once, as if its host had lost its power."""
        postmaster = int((self[name].data_dir / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        # Its children see that it is gone, and the shared memory is free when the last of them is.
        until(lambda: not pathlib.Path(f"/proc/{postmaster}").exists() and not self._children(name), f"the end of {name}")

    def _children(self, name: str) -> bool:
        for path in pathlib.Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if path.resolve() == self[name].data_dir:
                    return True
        return False

    def recovery(self, name: str) -> int:
        """Return the process id of what replays the log on a standby."""
        postmaster = (self[name].data_dir / "postmaster.pid").read_text().splitlines()[0]
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError, IndexError):
                if b": startup" in path.read_bytes() and path.with_name("stat").read_text().rpartition(")")[2].split()[1] == postmaster:
                    return int(path.parent.name)
        raise AssertionError(f"{name} replays nothing")

    def settle(self, primary: str, *standbys: str) -> None:
        """Wait until standbys stream from a primary and have everything."""
        for name in standbys:
            until(lambda: self.one(name, "SELECT status FROM pg_stat_wal_receiver") == "streaming", f"the streaming of {name}")
        end = self.one(primary, "SELECT pg_current_wal_lsn()")
        for name in standbys:
            until(lambda: self.one(name, f"SELECT pg_last_wal_replay_lsn() >= '{end}'"), f"the catching up of {name}")

    def cut_off(self, *standbys: str) -> dict[str, str]:
        """Have standbys receive nothing more; return how they did, for :meth:`connect_again`."""
        before = {name: self.one(name, "SELECT current_setting('primary_conninfo')") for name in standbys}
        for name in standbys:
            self.set(name, "primary_conninfo", "")
            until(lambda: not self[name].query("SELECT 1 FROM pg_stat_wal_receiver"), f"the end of the receiver of {name}")
        return before

    def connect_again(self, conninfo: t.Mapping[str, str]) -> None:
        """Have standbys receive as before."""
        for name, text in conninfo.items():
            self.set(name, "primary_conninfo", text.replace("'", "''"))

    def set(self, name: str, setting: str, text: str) -> None:
        """Change a setting at run time."""
        self[name].query(f"ALTER SYSTEM SET {setting} = '{text}'")
        self[name].query("SELECT pg_reload_conf()")


def add_standby(cluster: Cluster, name: str, source: str, slot: str = "") -> None:
    """Make a standby of a running server, and start it."""
    folder, server = cluster.folder / name, cluster[source]
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    standby = PostgresServer(server.bin_dir, folder / "data", folder, free_port())
    argv = [f"{server.bin_dir}/pg_basebackup", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-D", str(standby.data_dir), "-R", "-c", "fast"]
    argv += ["-C", "-S", slot] if slot else []
    environment = {**os.environ, "PGPASSFILE": str(cluster.passfile)}
    subprocess.run(as_server_user(argv), check=True, cwd="/", env=environment, stdout=subprocess.DEVNULL, timeout=60)
    with (standby.data_dir / "postgresql.auto.conf").open("a") as file:
        file.write(f"port = '{standby.port}'\nunix_socket_directories = '{folder}'\n")
    cluster.servers[name] = standby
    standby.control("start")


@contextlib.contextmanager
def streaming_cluster(folder: pathlib.Path, standbys: t.Sequence[str] = ("data2", "data3"), **settings: t.Any) -> t.Iterator[Cluster]:
    """Yield a primary ``data1`` and standbys that stream from it, each with a replication slot of its own.

    Args:
        folder: a new folder that any user may enter.
        standbys: their names.
        settings: further settings of all of them.
    """
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    passfile = folder / "passfile"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:postgres:{SENTINEL}\n")
    if os.geteuid() == 0:
        shutil.chown(passfile, "postgres", "postgres")
    given = {"wal_retrieve_retry_interval": "200ms", "shared_buffers": "16MB", "max_wal_size": "1GB", "wal_keep_size": "256MB", **settings}
    with postgresql(folder / "data1", **given) as primary:
        cluster = Cluster(folder, {"data1": primary}, passfile)
        try:
            for name in standbys:
                add_standby(cluster, name, "data1", f"slot_{name}")
            cluster.settle("data1", *standbys)
            yield cluster
        finally:
            for server in list(cluster.servers.values())[1:]:
                with contextlib.suppress(subprocess.CalledProcessError):
                    server.control("-m", "immediate", "stop")


class Writer:
    """Writes numbered rows to one server, and remembers for each that was acknowledged between which positions of the log its commit is."""

    def __init__(self, server: PostgresServer) -> None:
        """Make the table; :meth:`__enter__` begins to write."""
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> Writer:
        self._server.query("CREATE TABLE ledger (number bigint PRIMARY KEY)")
        self._thread.start()
        until(lambda: len(self.acknowledged) > 20, "the first rows")
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join(30)

    def _write(self) -> None:
        number = 0
        with contextlib.suppress(psycopg2.Error), self._server.connect() as connection, connection.cursor() as cursor:
            while not self._end.is_set():
                number += 1
                before = self._position(cursor)
                cursor.execute("INSERT INTO ledger VALUES (%s)", (number,))
                self.acknowledged[number] = (before, 1 << 64)
                self.acknowledged[number] = (before, self._position(cursor))
                time.sleep(0.002)

    def _position(self, cursor: t.Any) -> int:
        cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        return int(cursor.fetchone()[0])

    def lost(self, server: PostgresServer) -> set[int]:
        """Return the rows that were acknowledged and that a server does not have."""
        return set(self.acknowledged) - {row[0] for row in server.query("SELECT number FROM ledger")}


def number_of(lsn: str) -> int:
    """Return a position in the log as a number."""
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)
