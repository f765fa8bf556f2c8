# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure snapshots of Redis side by side, and write the table of docs/benchmarks.md.

Everything is made for it and removed at the end: a server, its data, an S3 endpoint, all in one temporary folder.
All figures are also in artifacts/bench/redis.json.
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
from measure import Job, JobFailed, run

from snapshot.limits import find_limits
from snapshot.peers import MODULE, Bench, EncryptedStream, File, Peer, PlainSnapshot, Saved, Snapshot, SnapshotS3, Stream
from snapshot.report import SnapshotFindings, page, targets
from snapshot.servers import Server, load

PEERS: tuple[type[Peer], ...] = (Snapshot, PlainSnapshot, SnapshotS3, Stream, EncryptedStream, File, Saved)
ROOM = 10
"""The folder needs room for this many times the data: what six peers store, two copies that are staged, and a restored one."""
SMALL = 10
"""The smaller data have this part of the size."""


class Run(Contest):
    """One run of the benchmark."""

    def __init__(self, bench: Bench, found: SnapshotFindings, names: t.Sequence[str]) -> None:
        """Take the peers whose keys are named, or all."""
        super().__init__(bench, [peer(bench) for peer in PEERS if not names or peer.key in names], found)
        self._server = bench.server
        self._restored = bench.folder / "restored"

    def restore(self) -> None:
        """Restore the last snapshot of each peer and compare the digests."""
        keys, digest = self._server.keys, self._server.digest
        for peer in self.left():
            target = Server(self._restored)
            with self.noting(peer) as result:
                try:
                    target.create()
                    os.sync()
                    begun = time.monotonic()
                    peer.restore(target)
                    if (got := target.keys) != keys:
                        raise JobFailed(f"it restored {got} keys, {keys} were there")
                    seconds = time.monotonic() - begun
                    if target.digest != digest:
                        raise JobFailed("it restored other data than were there")
                    result.restore_seconds = seconds
                    say(f"  {peer.key}: {seconds:.1f} s")
                finally:
                    target.stop()
                    shutil.rmtree(target.folder, ignore_errors=True)


def fill(server: Server, size: int) -> None:
    """Add data up to a size."""
    begun = time.monotonic()
    load(server, size)
    say(f"  {server.used_memory / 1e9:.2f} GB of memory, made in {time.monotonic() - begun:.0f} s")


def versions() -> str:
    """Return the versions of the programs that are compared."""
    redis, zstd, age = (run(Job(argv)) for argv in (("redis-server", "--version"), ("zstd", "--version"), ("age", "--version")))
    return f"Redis {redis.split('v=')[1].split()[0]}, zstd {zstd.split('v')[-1].split(',')[0]}, age {age.strip()}"


def bench_all(given: argparse.Namespace, folder: pathlib.Path, found: SnapshotFindings) -> None:
    """Do everything in a folder."""
    (folder / "s3").mkdir()
    with s3_endpoint(folder / "s3") as s3:
        bench = Bench(Server(folder / "scratch" / "redis"), s3, folder)
        bench.make()
        work = Run(bench, found, given.names)
        server = bench.server
        server.create()
        server.start()
        try:
            say("a tenth of the data")
            fill(server, given.bytes // SMALL)
            work.measure_small(server.used_memory)
            say("the data")
            fill(server, given.bytes)
            found.raw_bytes, found.keys = server.used_memory, server.keys
            say("the machine's limits")
            found.limits = find_limits(bench)
            found.plain_bytes = round(found.limits[0].rate * found.limits[0].seconds)
            found.load = os.getloadavg()[0]
            say(f"snapshots, load {found.load:.2f}")
            work.rounds(given.rounds)
            say("a task that has nothing to do")
            snapshot = Snapshot(bench)
            work.noop(MODULE, snapshot.key, snapshot.options())
            say("restores")
            work.restore()
        finally:
            server.stop()


def main() -> int:
    """Measure, and write the section."""
    given = arguments("bench-redis", __doc__ or "", [peer.key for peer in PEERS], ROOM, "1G")
    found = SnapshotFindings(given.bytes, rounds=given.rounds, versions=versions())
    return conduct(given, found, Section("snapshots of Redis", "redis.json", page, targets), bench_all)


if __name__ == "__main__":
    sys.exit(main())
