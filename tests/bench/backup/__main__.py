# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure backups of PostgreSQL side by side, and write the table of docs/benchmarks.md.

Everything is made for it and removed at the end: a server, its data, an S3 endpoint, all in one temporary folder.
All figures are also in artifacts/bench/backup.json.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import sys
import time
import typing as t

from contest import Contest, Section, arguments, conduct, say
from endpoint import s3_endpoint
from figures import Findings
from measure import Job, JobFailed, run

from backup.limits import find_limits, take_samples
from backup.peers import DATABASE, Bench, BaseBackup, CustomFormat, DirectoryFormat, GzipGpg, Logical, LogicalS3, Peer, PostgresqlDb
from backup.physical import Barman, PgBackRest, Physical
from backup.report import page, targets
from backup.servers import LOADING, SERVER_USER, Server, load, newest_postgresql

PEERS: tuple[type[Peer], ...] = (
    Logical,
    GzipGpg,
    CustomFormat,
    DirectoryFormat,
    PostgresqlDb,
    LogicalS3,
    Physical,
    PgBackRest,
    BaseBackup,
    Barman,
)
ROOM = 10
"""The folder needs room for this many times the data: the data, a restored copy, and what ten peers store."""
SMALL = 10
"""The smaller database has this part of the size."""
FIRST_QUERY = "SELECT aid FROM pgbench_accounts ORDER BY aid LIMIT 1"


class Run(Contest):
    """One run of the benchmark."""

    def __init__(self, bench: Bench, found: Findings, names: t.Sequence[str]) -> None:
        """Take the peers whose keys are named, or all."""
        super().__init__(bench, [peer(bench) for peer in PEERS if not names or peer.key in names], found)
        self._server = bench.server
        self._restored = bench.folder / "restored"

    def fill(self, size: int) -> None:
        """Make the data, and restart the server as one that is backed up."""
        server = self._server
        server.start(**LOADING)
        server.query(f"DROP DATABASE IF EXISTS {DATABASE}")
        begun = time.monotonic()
        load(server, DATABASE, size)
        server.stop()
        os.sync()
        server.start(archive_mode="on")
        server.archive_with("/bin/true")
        say(f"  {server.bytes_of(DATABASE) / 1e9:.2f} GB on disk, made in {time.monotonic() - begun:.0f} s")

    def warm(self) -> None:
        """Read all data into the page cache."""
        self._server.query(FIRST_QUERY, DATABASE)
        run(Job.shell(f"find {self._server.data} -type f -print0 | xargs -0 cat | wc -c", user=SERVER_USER))

    def restore(self) -> None:
        """Restore the last backup of each peer and compare the rows."""
        expected = self._server.counts(DATABASE)
        for peer in self.left():
            target = Server(self._server.bin_dir, self._restored)
            with self.noting(peer) as result:
                try:
                    if not peer.physical:
                        target.create()
                        target.start()
                    os.sync()
                    begun = time.monotonic()
                    peer.restore(target)
                    target.query(FIRST_QUERY, DATABASE)
                    seconds = time.monotonic() - begun
                    if (got := target.counts(DATABASE)) != expected:
                        raise JobFailed(f"it restored {got}, {expected} were there")
                    result.restore_seconds = seconds
                    say(f"  {peer.key}: {seconds:.1f} s")
                finally:
                    target.stop("immediate")
                    shutil.rmtree(target.folder, ignore_errors=True)


def versions() -> str:
    """Return the versions of the programs that are compared."""
    found = [run(Job((f"{newest_postgresql()}/postgres", "--version"))).split(" (Debian")[0].replace("postgres (PostgreSQL)", "PostgreSQL").strip()]
    for program, position in (("pgbackrest version", 1), ("zstd --version", 4), ("age --version", 0), ("gpg --version", 2)):
        name = program.split()[0]
        if shutil.which(name):
            found.append(f"{name} {run(Job(tuple(program.split()))).split()[position].strip('v,')}")
    return ", ".join(found)


def bench_all(given: argparse.Namespace, folder: pathlib.Path, found: Findings) -> None:
    """Do everything in a folder."""
    server = Server(newest_postgresql(), folder / "server")
    (folder / "s3").mkdir()
    with s3_endpoint(folder / "s3") as s3:
        bench = Bench(server, s3, folder, given.work)
        bench.make()
        work = Run(bench, found, given.names)
        work.install()
        server.create()
        try:
            say("a tenth of the data")
            work.fill(given.bytes // SMALL)
            work.measure_small(server.bytes_of(DATABASE))
            samples = take_samples(bench)
            server.stop()
            say("the data")
            work.fill(given.bytes)
            found.raw_bytes = server.bytes_of(DATABASE)
            say("the machine's limits")
            found.limits = find_limits(bench, samples)
            found.load = os.getloadavg()[0]
            say(f"backups, load {found.load:.2f}")
            work.warm()
            work.rounds(given.rounds)
            say("a task that has nothing to do")
            logical = Logical(bench)
            work.noop("mainstay.ops.pg_backup", logical.key, logical.options())
            say("restores")
            work.restore()
        finally:
            server.stop("immediate")


def main() -> int:
    """Measure, and write the section."""
    given = arguments("bench-backup", __doc__ or "", [peer.key for peer in PEERS], ROOM, "2G")
    found = Findings(given.bytes, rounds=given.rounds, versions=versions())
    return conduct(given, found, Section("backups of PostgreSQL", "backup.json", page, targets), bench_all)


if __name__ == "__main__":
    sys.exit(main())
