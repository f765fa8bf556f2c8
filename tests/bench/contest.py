# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to back up that are measured in turn on the same data, and what each cost."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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
from figures import Findings, Result, Target, as_json, parse_size
from measure import Cost, Job, JobFailed, adopt_orphans, measure, run
from modules import playbook_job, seconds_of

NOOP_RUNS = 5
SLOW = 4
SLOW_ROUNDS = 2
"""What takes so many times as long as the fastest is taken in so many rounds only: its place is clear by then."""


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


class Bench(t.Protocol):
    """What all peers share."""

    @property
    def folder(self) -> pathlib.Path:
        """Holds everything; what is stored goes below ``stored`` in it."""

    @property
    def scratch(self) -> pathlib.Path:
        """Temporary folder and home of what is measured."""

    @property
    def keys(self) -> pathlib.Path:
        """Private folder."""

    @property
    def server_pid(self) -> int:
        """The id of the first process of the server with the data."""


class Peer:
    """One way to make a backup.

    Attributes:
        name: what the table calls it.
        key: a plain word for it.
        what: what it does, for the legend.
        one_stream: whether it is the server's own dump in one compressed stream.
        ours: whether it is this collection's module.
    """

    name = ""
    key = ""
    what = ""
    one_stream = False
    ours = False

    def __init__(self, bench: t.Any) -> None:
        """Take what all share, a :class:`Bench`."""
        self.bench = bench

    @property
    def destination(self) -> pathlib.Path:
        """Where its backup goes."""
        return self.bench.folder / "stored" / self.key

    def install(self) -> None:
        """Make sure that its programs are there.

        Raises:
            JobFailed: they cannot be had.
        """

    def prepare(self) -> None:
        """Remove what an earlier run stored; not measured."""
        shutil.rmtree(self.destination, ignore_errors=True)
        self.destination.mkdir(mode=0o700)

    def backup(self) -> Job:
        """Return what is measured."""
        raise NotImplementedError

    def check(self, output: str) -> None:
        """Look at what the measured program printed."""

    def stored(self) -> int:
        """Return the bytes that it stored."""
        return sum(path.stat().st_size for path in self.destination.rglob("*") if path.is_file())

    def module(self, **more: t.Any) -> Job:
        """Return the module's process, with further options; for a peer of ours."""
        raise NotImplementedError


class Contest:
    """Measures peers, and keeps what it finds; one that fails does not keep the others from their turn."""

    def __init__(self, bench: Bench, peers: t.Sequence[Peer], found: Findings) -> None:
        """Take the peers and the findings, whose results are made anew."""
        self._bench, self._peers, self._found = bench, peers, found
        self._results = {peer.key: Result(peer.name, peer.key, peer.what, peer.ours, peer.one_stream) for peer in peers}
        found.results = list(self._results.values())

    def left(self) -> list[t.Any]:
        """Return the peers that have not failed."""
        return [peer for peer in self._peers if not self._results[peer.key].problem]

    @contextlib.contextmanager
    def noting(self, peer: Peer) -> t.Iterator[Result]:
        """Keep why a peer failed, and go on with the others."""
        try:
            yield self._results[peer.key]
        except (JobFailed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            self._results[peer.key].problem = f"{type(error).__name__}: {error}"
            say(f"  {peer.key} FAILED: {error}")

    def install(self) -> None:
        """See that every peer's programs are there."""
        for peer in self.left():
            with self.noting(peer):
                peer.install()

    def measure(self, peer: Peer) -> Cost:
        """Take one backup."""
        peer.prepare()
        os.sync()
        cost = self._cost(peer, peer.backup())
        peer.check(cost.output)
        return cost

    def _cost(self, peer: Peer, job: Job) -> Cost:
        return measure(job, self._bench.server_pid, self._bench.scratch, peer.destination)

    def measure_small(self, size: int) -> None:
        """Find out how much memory our own peers need for little data, which is of ``size`` bytes."""
        self._found.small_bytes = size
        for peer in self.left():
            if peer.ours:
                with self.noting(peer):
                    self._found.small_memory[peer.key] = self.measure(peer).own_bytes

    def rounds(self, count: int) -> None:
        """Take all backups in turn; each round begins with another one."""
        for number in range(count):
            peers = [peer for peer in self.left() if number < SLOW_ROUNDS or not self._is_slow(peer)]
            turn = number * len(peers) // count
            for peer in peers[turn:] + peers[:turn]:
                with self.noting(peer) as result:
                    cost = self.measure(peer)
                    result.costs.append(cost)
                    result.stored = peer.stored()
                    figures = f"{cost.seconds:.1f} s, {cost.cpu_seconds:.1f} CPU s, {cost.peak_bytes >> 20} MiB, {result.stored / 1e6:.0f} MB"
                    say(f"  round {number + 1}: {peer.key} {figures}")
                    if peer.ours and cost.staged_files:
                        say(f"  it staged {', '.join(cost.staged_files)}")

    def _is_slow(self, peer: Peer) -> bool:
        fastest = min(result.seconds for result in self._results.values() if result.costs)
        return self._results[peer.key].seconds > SLOW * fastest

    def noop(self, module: str, key: str, options: t.Mapping[str, t.Any]) -> None:
        """Measure a task that has nothing to do: of each peer of ours as a process of its own, and of one of them in a playbook.

        Args:
            module: the full name of the module in the playbook.
            key: the peer whose backup it finds.
            options: the module's options there.
        """
        for peer in self.left():
            if peer.ours:
                with self.noting(peer):
                    costs = [self._do_nothing(peer) for _number in range(NOOP_RUNS)]
                    self._found.noop_module[peer.key] = [cost.seconds for cost in costs]
                    self._found.noop_memory[peer.key] = max(cost.own_bytes for cost in costs)
        for peer in self.left():
            if peer.key == key:
                with self.noting(peer):
                    tasks = {"ansible.builtin.meta": "noop"}, {"ansible.builtin.ping": {}}, {module: {**options, "max_age": "24h"}}
                    plays = [playbook_job(self._bench.keys / f"play-{number}.json", task) for number, task in enumerate(tasks)]
                    for play in plays:
                        run(play)
                    self._found.noop_plays = [(seconds_of(plays[0]), seconds_of(plays[1]), seconds_of(plays[2])) for _number in range(NOOP_RUNS)]

    def _do_nothing(self, peer: Peer) -> Cost:
        cost = self._cost(peer, peer.module(max_age="24h"))
        if json.loads(cost.output)["changed"]:
            raise JobFailed("the module took a backup although there is a fresh one")
        return cost


@dataclasses.dataclass(frozen=True)
class Section:
    """What becomes of the findings.

    Attributes:
        name: of the section of docs/benchmarks.md.
        file: name of the file with all figures, below artifacts/bench.
        page: returns the section.
        targets: compares with what is asked.
    """

    name: str
    file: str
    page: t.Callable[[t.Any], str]
    targets: t.Callable[[t.Any], list[Target]]


def arguments(program: str, about: str, keys: t.Sequence[str], room: int, size: str) -> argparse.Namespace:
    """Read the command line.

    Args:
        program: name of the command.
        about: what it does.
        keys: the peers' keys.
        room: how many times the data the folder needs room for.
        size: the size if none is given.
    """
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--size", default=size, help="size of the data, such as 2G or 100M")
    parser.add_argument("--rounds", type=int, default=3, help="how often each backup is taken")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR", "/var/tmp"), help="where the temporary folder is made")
    parser.add_argument("--work", default=pathlib.Path("~/.cache/mainstay").expanduser(), type=pathlib.Path, help="folder for what is installed")
    parser.add_argument("--peers", default="", help="keys of the peers, by commas; then docs/benchmarks.md stays as it is")
    given = parser.parse_args()
    try:
        given.bytes = parse_size(given.size)
    except ValueError as error:
        parser.error(str(error))
    given.names = [name for name in given.peers.split(",") if name]
    if unknown := set(given.names) - set(keys):
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(keys)}")
    free = shutil.disk_usage(given.folder).free
    if free < room * given.bytes:
        parser.error(f"{given.folder} has {free / 1e9:.0f} GB left, {room * given.bytes / 1e9:.0f} GB are needed; name another --folder or a smaller --size")
    return given


def conduct(given: argparse.Namespace, found: Findings, section: Section, work: t.Callable[[argparse.Namespace, pathlib.Path, t.Any], None]) -> int:
    """Measure in a temporary folder and write the section; return 1 if one of this collection's own backups failed."""
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    adopt_orphans()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-", dir=given.folder) as name:
        folder = pathlib.Path(name)
        folder.chmod(0o711)
        work(given, folder, found)
    text, wanted = section.page(found), section.targets(found)
    artifacts = PAGE.parents[1] / "artifacts/bench"
    artifacts.mkdir(parents=True, exist_ok=True)
    (artifacts / section.file).write_text(json.dumps(as_json(found, wanted), indent=2) + "\n", encoding="utf-8")
    print(text)
    for target in wanted:
        say(f"{target.verdict.strip('*'):13} {target.what}: {target.found}")
    say(f"took {time.monotonic() - begun:.0f} s")
    if not given.names:
        write_section(section.name, text)
    failed = [result for result in found.results if result.problem]
    for result in failed:
        say(f"FAILED {result.key}: {result.problem}")
    return int(any(result.ours for result in failed))
