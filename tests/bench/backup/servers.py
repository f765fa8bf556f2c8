# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the benchmark: PostgreSQL on private sockets, and the data that is backed up."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import io
import os
import pathlib
import random
import shutil
import subprocess
import time
import typing as t

import psycopg2

from measure import Job, run

SERVER_USER = "postgres" if os.geteuid() == 0 else ""
"""PostgreSQL refuses to run as root: its servers, and the programs beside them, then run as this user."""
PORT = 5432
"""Part of the socket's name only: the servers listen on no address."""
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "autovacuum": "off",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_level": "replica",
    "archive_mode": "off",
    "max_wal_senders": "4",
    "wal_compression": "off",
}
LOADING = {"fsync": "off", "wal_level": "minimal", "max_wal_senders": "0"}
PGBENCH_BYTES_PER_SCALE = 15_700_000
DOCUMENT_BYTES = 645
BLOB_BYTES = 8000
BLOB_OVERHEAD = 1.04
"""Bytes on disk in PostgreSQL 15 for one unit of scale, one document and one byte of a blob, with their indexes."""

DOCUMENTS = """
    CREATE TABLE documents (id bigint PRIMARY KEY, body jsonb NOT NULL);
    INSERT INTO documents SELECT n, jsonb_build_object(
        'order', n, 'placed', timestamptz '2026-01-01 00:00Z' + n * interval '7 seconds', 'state', (ARRAY['open', 'paid', 'sent', 'returned'])[1 + n % 4],
        'customer', jsonb_build_object('id', n * 7919 % 100003, 'mail', substr(md5(n::text), 1, 12) || '@example.com',
            'address', jsonb_build_object('street', initcap(substr(md5((n * 31)::text), 1, 9)) || ' Street ' || n % 200, 'city', 'City ' || n % 977)),
        'lines', (SELECT jsonb_agg(jsonb_build_object('article', 'A-' || n * m % 65521, 'quantity', 1 + (n + m) % 9, 'price', (n * m % 10007) / 100.0))
            FROM generate_series(1, 1 + n % 6) m))
    FROM generate_series(1, {count}::bigint) n;
"""


def newest_postgresql() -> str:
    """Return the folder of the newest server programs that are installed.

    Raises:
        FileNotFoundError: there are none.
    """
    folders = [folder for folder in glob.glob("/usr/lib/postgresql/*/bin") if os.access(f"{folder}/initdb", os.X_OK)]
    if not folders:
        raise FileNotFoundError("no PostgreSQL server below /usr/lib/postgresql; install the package postgresql")
    return max(folders, key=lambda path: int(path.split("/")[4]))


@dataclasses.dataclass
class Server:
    """A PostgreSQL server in a folder of its own, reached by a socket there as the superuser ``postgres`` without a password.

    Attributes:
        bin_dir: folder of the server's programs.
        folder: holds the socket, the log, and the data in ``data``.
        settings: settings given at each start, beside :data:`SETTINGS`.
    """

    bin_dir: str
    folder: pathlib.Path
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def data(self) -> pathlib.Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """What libpq's programs need to reach it."""
        return {"PGHOST": str(self.folder), "PGPORT": str(PORT), "PGUSER": "postgres"}

    @property
    def pid(self) -> int:
        """The id of its first process."""
        return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])

    def make_folder(self) -> None:
        """Make its folder, which only its user may enter, anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if SERVER_USER:
            shutil.chown(self.folder, SERVER_USER, SERVER_USER)

    def create(self) -> None:
        """Make an empty cluster with data checksums, which is what pgBackRest and barman check pages by."""
        self.make_folder()
        argv = (f"{self.bin_dir}/initdb", "-N", "-k", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        run(Job(argv, user=SERVER_USER))

    def start(self, **settings: str) -> None:
        """Start it, with further settings, and wait until it answers."""
        given = {**SETTINGS, "unix_socket_directories": str(self.folder), "port": str(PORT), **self.settings, **settings}
        options = " ".join(f"-c {name}='{text}'" for name, text in given.items())
        self._control("-l", f"{self.folder}/log", "-o", options, "-t", "600", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs."""
        if (self.data / "postmaster.pid").exists():
            pid = self.pid
            self._control("-m", mode, "stop")
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _control(self, *arguments: str) -> None:
        """Run pg_ctl, whose server must not inherit our pipes."""
        identity = {"user": SERVER_USER, "group": SERVER_USER, "extra_groups": []} if SERVER_USER else {}
        argv = [f"{self.bin_dir}/pg_ctl", "-D", str(self.data), "-w", "-s", *arguments]
        nothing = subprocess.DEVNULL
        subprocess.run(argv, check=True, cwd="/", stdin=nothing, stdout=nothing, stderr=nothing, timeout=900, **identity)

    @contextlib.contextmanager
    def connect(self, database: str = "postgres") -> t.Iterator[t.Any]:
        """Yield an autocommit connection."""
        connection = psycopg2.connect(host=str(self.folder), port=PORT, user="postgres", dbname=database)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, sql: str, database: str = "postgres") -> list[tuple[t.Any, ...]]:
        """Run statements and return the rows of the last."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def archive_with(self, command: str) -> None:
        """Let the server archive its log by a command, from now on."""
        self.query(f"ALTER SYSTEM SET archive_command = '{command}'")
        self.query("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while self.query("SHOW archive_command")[0][0] != command:
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not take over archive_command")
            time.sleep(0.05)

    def bytes_of(self, database: str) -> int:
        """Return the size of a database on disk."""
        return int(self.query(f"SELECT pg_database_size('{database}')")[0][0])

    def counts(self, database: str) -> dict[str, int]:
        """Return the number of rows of each table."""
        names = self.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1", database)
        return {name: int(self.query(f"SELECT count(*) FROM {name}", database)[0][0]) for (name,) in names}


class _Blobs(io.TextIOBase):
    """Rows for COPY: a number and random bytes, the same ones each time."""

    def __init__(self, count: int) -> None:
        """Offer ``count`` rows."""
        random_bytes = random.Random(3).randbytes
        self._rows = (f"{number}\t\\\\x{random_bytes(BLOB_BYTES).hex()}\n" for number in range(count))
        self._left = ""

    def read(self, size: int | None = -1, /) -> str:
        """Return the next characters, at most ``size``."""
        while not self._left or (size is not None and len(self._left) < size < 65536):
            more = next(self._rows, "")
            if not more:
                break
            self._left += more
        end = len(self._left) if size is None or size < 0 else size
        text, self._left = self._left[:end], self._left[end:]
        return text


def load(server: Server, database: str, size: int) -> None:
    """Make a database of about ``size`` bytes on disk: a third pgbench's tables, a third JSON documents, a third bytes that cannot be compressed."""
    third = size / 3
    server.query(f"CREATE DATABASE {database}")
    scale = max(1, round(third / PGBENCH_BYTES_PER_SCALE))
    run(Job((f"{server.bin_dir}/pgbench", "-i", "-q", "-I", "dtgp", "-s", str(scale), database), server.environment, user=SERVER_USER))
    server.query(DOCUMENTS.format(count=int(third / DOCUMENT_BYTES)), database)
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE blobs (id bigint PRIMARY KEY, body bytea NOT NULL)")
        cursor.copy_expert("COPY blobs FROM STDIN", _Blobs(int(third / BLOB_OVERHEAD / BLOB_BYTES)))
    server.query("VACUUM ANALYZE", database)
