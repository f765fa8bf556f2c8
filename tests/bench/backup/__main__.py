# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure backups of PostgreSQL side by side, and write the table of docs/benchmarks.md.

Everything is made for it and removed at the end: a server, its data, an S3 endpoint, all in one temporary folder.
All figures are also in artifacts/bench/backup.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

from document import PAGE, write_section

from backup.limits import find_limits, take_samples
from backup.measure import Job, JobFailed, adopt_orphans, measure, run
from backup.peers import DATABASE, Bench, BaseBackup, CustomFormat, DirectoryFormat, GzipGpg, Logical, LogicalS3, Peer, PostgresqlDb
from backup.physical import Barman, PgBackRest, Physical
from backup.report import Findings, Result, as_json, page, parse_size, targets
from backup.servers import LOADING, Server, load, newest_postgresql, s3_endpoint

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
ROOT = PAGE.parents[1]
ROOM = 10
"""The folder needs room for this many times the data: the data, a restored copy, and what ten peers store."""
SMALL = 10
"""The smaller database has this part of the size."""
NOOP_RUNS = 5
SLOW = 4
SLOW_ROUNDS = 2
"""What takes so many times as long as the fastest is taken in so many rounds only: its place is clear by then."""
FIRST_QUERY = "SELECT aid FROM pgbench_accounts ORDER BY aid LIMIT 1"


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


class Run:
    """One run of the benchmark."""

    def __init__(self, bench: Bench, found: Findings, names: t.Sequence[str]) -> None:
        """Take the peers whose keys are named, or all."""
        self._bench, self._found = bench, found
        self._peers = [peer(bench) for peer in PEERS if not names or peer.key in names]
        self._results = {peer.key: Result(peer.name, peer.key, peer.what, peer.ours, peer.one_stream) for peer in self._peers}
        found.results = list(self._results.values())

    def _left(self) -> list[Peer]:
        return [peer for peer in self._peers if not self._results[peer.key].problem]

    @contextlib.contextmanager
    def _noting(self, peer: Peer) -> t.Iterator[None]:
        """Keep why a peer failed, and go on with the others."""
        try:
            yield
        except (JobFailed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            self._results[peer.key].problem = f"{type(error).__name__}: {error}"
            say(f"  {peer.key} FAILED: {error}")

    def install(self) -> None:
        """See that every peer's programs are there."""
        for peer in self._left():
            with self._noting(peer):
                peer.install()

    def fill(self, size: int) -> None:
        """Make the data, and restart the server as one that is backed up."""
        server = self._bench.server
        server.start(**LOADING)
        server.query(f"DROP DATABASE IF EXISTS {DATABASE}")
        begun = time.monotonic()
        load(server, DATABASE, size)
        server.stop()
        os.sync()
        server.start(archive_mode="on")
        server.archive_with("/bin/true")
        say(f"  {server.bytes_of(DATABASE) / 1e9:.2f} GB on disk, made in {time.monotonic() - begun:.0f} s")

    def measure_small(self) -> None:
        """Find out how much memory our own peers need for little data."""
        self._found.small_bytes = self._bench.server.bytes_of(DATABASE)
        for peer in self._left():
            if peer.ours:
                with self._noting(peer):
                    self._found.small_memory[peer.key] = self._measure(peer).own_bytes

    def _measure(self, peer: Peer) -> t.Any:
        peer.prepare()
        os.sync()
        cost = measure(peer.backup(), self._bench.server.pid, self._bench.scratch, peer.destination)
        peer.check(cost.output)
        return cost

    def rounds(self, count: int) -> None:
        """Take all backups in turn; each round begins with another one."""
        self._bench.server.query(FIRST_QUERY, DATABASE)
        run(Peer(self._bench).tool(f"find {self._bench.server.data} -type f -print0 | xargs -0 cat | wc -c"))
        for number in range(count):
            peers = [peer for peer in self._left() if number < SLOW_ROUNDS or not self._is_slow(peer)]
            turn = number * len(peers) // count
            for peer in peers[turn:] + peers[:turn]:
                with self._noting(peer):
                    cost = self._measure(peer)
                    result = self._results[peer.key]
                    result.costs.append(cost)
                    result.stored = peer.stored()
                    figures = f"{cost.seconds:.1f} s, {cost.cpu_seconds:.1f} CPU s, {cost.peak_bytes >> 20} MiB, {result.stored / 1e6:.0f} MB"
                    say(f"  round {number + 1}: {peer.key} {figures}")
                    if peer.ours and cost.staged_files:
                        say(f"  it staged {', '.join(cost.staged_files)}")

    def _is_slow(self, peer: Peer) -> bool:
        fastest = min(result.seconds for result in self._results.values() if result.costs)
        return self._results[peer.key].seconds > SLOW * fastest

    def restore(self) -> None:
        """Restore the last backup of each peer and compare the rows."""
        expected = self._bench.server.counts(DATABASE)
        for peer in self._left():
            target = Server(self._bench.server.bin_dir, self._bench.folder / "restored")
            with self._noting(peer):
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
                    self._results[peer.key].restore_seconds = seconds
                    say(f"  {peer.key}: {seconds:.1f} s")
                finally:
                    target.stop("immediate")
                    shutil.rmtree(target.folder, ignore_errors=True)

    def noop(self) -> None:
        """Measure a task that has nothing to do."""
        for peer in self._left():
            if isinstance(peer, (Logical, Physical)):
                with self._noting(peer):
                    self._found.noop_module[peer.key] = [self._do_nothing(peer) for _number in range(NOOP_RUNS)]
        peer = next((peer for peer in self._left() if peer.key == Logical.key), None)
        if isinstance(peer, Logical):
            with self._noting(peer):
                tasks = {"ansible.builtin.meta": "noop"}, {"ansible.builtin.ping": {}}, {"mainstay.ops.pg_backup": peer.options(max_age="24h")}
                plays = [_playbook(self._bench, number, task) for number, task in enumerate(tasks)]
                for play in plays:
                    run(play)
                self._found.noop_plays = [(_seconds(plays[0]), _seconds(plays[1]), _seconds(plays[2])) for _number in range(NOOP_RUNS)]

    def _do_nothing(self, peer: Logical | Physical) -> float:
        cost = measure(peer.module(max_age="24h"), self._bench.server.pid, self._bench.scratch, peer.destination)
        if json.loads(cost.output)["changed"]:
            raise JobFailed("the module took a backup although there is a fresh one")
        return cost.seconds


def _seconds(job: Job) -> float:
    begun = time.monotonic()
    run(job)
    return time.monotonic() - begun


def _playbook(bench: Bench, number: int, task: dict[str, t.Any]) -> Job:
    """Return a run of ansible-playbook with one task on this host; the options lie in a private file."""
    path = bench.keys / f"play-{number}.json"
    play = {
        "name": "Measure",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"name": "Do nothing", **task}],
    }
    path.touch(0o600)
    path.write_text(json.dumps([play]), encoding="utf-8")
    return Job((str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path)))


def versions() -> str:
    """Return the versions of the programs that are compared."""
    found = [run(Job((f"{newest_postgresql()}/postgres", "--version"))).split(" (Debian")[0].replace("postgres (PostgreSQL)", "PostgreSQL").strip()]
    for program, position in (("pgbackrest version", 1), ("zstd --version", 4), ("age --version", 0), ("gpg --version", 2)):
        name = program.split()[0]
        if shutil.which(name):
            found.append(f"{name} {run(Job(tuple(program.split()))).split()[position].strip('v,')}")
    return ", ".join(found)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench-backup", description=__doc__)
    parser.add_argument("--size", default="2G", help="size of the data on disk, such as 2G or 100M")
    parser.add_argument("--rounds", type=int, default=3, help="how often each backup is taken")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR", "/var/tmp"), help="where the temporary folder is made")
    parser.add_argument("--work", default=pathlib.Path("~/.cache/mainstay").expanduser(), type=pathlib.Path, help="folder for what is installed")
    parser.add_argument("--peers", default="", help="keys of the peers, by commas; then docs/benchmarks.md stays as it is")
    given = parser.parse_args()
    try:
        given.bytes = parse_size(given.size)
    except ValueError as error:
        parser.error(str(error))
    names = [name for name in given.peers.split(",") if name]
    if unknown := set(names) - {peer.key for peer in PEERS}:
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(peer.key for peer in PEERS)}")
    free = shutil.disk_usage(given.folder).free
    if free < ROOM * given.bytes:
        parser.error(f"{given.folder} has {free / 1e9:.0f} GB left, {ROOM * given.bytes / 1e9:.0f} GB are needed; name another --folder or a smaller --size")
    given.names = names
    return given


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
            work.measure_small()
            samples = take_samples(bench)
            server.stop()
            say("the data")
            work.fill(given.bytes)
            found.raw_bytes = server.bytes_of(DATABASE)
            say("the machine's limits")
            found.limits = find_limits(bench, samples)
            found.load = os.getloadavg()[0]
            say(f"backups, load {found.load:.2f}")
            work.rounds(given.rounds)
            say("a task that has nothing to do")
            work.noop()
            say("restores")
            work.restore()
        finally:
            server.stop("immediate")


def main() -> int:
    """Measure, and write the section; return 1 if one of this collection's own backups failed."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    adopt_orphans()
    begun = time.monotonic()
    found = Findings(given.bytes, rounds=given.rounds, versions=versions())
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir=given.folder) as name:
        folder = pathlib.Path(name)
        folder.chmod(0o711)
        bench_all(given, folder, found)
    section = page(found)
    artifacts = ROOT / "artifacts/bench"
    artifacts.mkdir(parents=True, exist_ok=True)
    (artifacts / "backup.json").write_text(json.dumps(as_json(found), indent=2) + "\n", encoding="utf-8")
    print(section)
    for target in targets(found):
        say(f"{target.verdict.strip('*'):13} {target.what}: {target.found}")
    say(f"took {time.monotonic() - begun:.0f} s")
    if not given.names:
        write_section("backups of PostgreSQL", section)
    failed = [result for result in found.results if result.problem]
    for result in failed:
        say(f"FAILED {result.key}: {result.problem}")
    return int(any(result.ours for result in failed))


if __name__ == "__main__":
    sys.exit(main())
