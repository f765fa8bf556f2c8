# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program and find out what it cost: with all that it starts, and with what a server does for it meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import resource
import signal
import stat
import subprocess
import tempfile
import threading
import time
import typing as t

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.1
ORPHAN_SECONDS = 5.0
BEST_OF = 3
PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h: processes whose parent is gone become our children, so that what they used is counted as well."""

Inode = tuple[int, int]
"""Device and number of a file."""


class JobFailed(Exception):
    """A measured program did not end well."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to measure.

    Attributes:
        argv: the program and its arguments.
        env: variables added to the environment.
        stdin: what it reads from standard input.
        user: name of the user to run as; empty for the current one.
    """

    argv: tuple[str, ...]
    env: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    stdin: str = ""
    user: str = ""

    @classmethod
    def shell(cls, script: str, **more: t.Any) -> Job:
        """Return the job of a line of shell that fails if any part of a pipe does."""
        return cls(("/bin/bash", "-o", "pipefail", "-ec", script), **more)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a job cost.

    Attributes:
        seconds: from its start to the end of its first process.
        cpu_seconds: user and system time of all its processes, and of the server's during that time.
        peak_bytes: greatest sum of the memory of its processes (proportional set size, sampled).
        own_bytes: the same of its first process alone.
        staged_bytes: greatest sum of the files that it had outside its destination (sampled): temporary ones, and any other that one of its processes writes.
        staged_files: these files, by name.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    own_bytes: int
    staged_bytes: int
    staged_files: tuple[str, ...]
    output: str


def adopt_orphans() -> None:
    """Let processes that lose their parent become children of this one (prctl(2)).

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid: int) -> set[int]:
    """Return the ids of a process' children; none if it is gone."""
    found: set[int] = set()
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found.update(map(int, _read(f"/proc/{pid}/task/{task}/children").split()))
    except OSError:
        pass
    return found


def descendants(roots: t.Iterable[int]) -> set[int]:
    """Return the ids of some processes and all below them."""
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left.extend(children(pid))
    return found


def cpu_seconds(stat_line: str) -> float:
    """Return the seconds in a line of /proc/PID/stat: user and system time of the process and of the children it has waited for (proc_pid_stat(5))."""
    fields = stat_line.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def server_seconds(pid: int) -> float:
    """Return the CPU seconds of a server since its start: of its processes, and of those that have ended."""
    return sum(cpu_seconds(line) for process in descendants([pid]) if (line := _read(f"/proc/{process}/stat")))


def proportional_bytes(rollup: str) -> int:
    """Return the proportional set size in the text of /proc/PID/smaps_rollup; 0 for a process that is gone."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class _Sampler(threading.Thread):
    """Looks at a tree of processes every so many seconds."""

    def __init__(
        self, every: float, first: int, others: t.Callable[[], set[int]], scratch: pathlib.Path, destination: pathlib.Path | None, ours: t.Sequence[t.IO[bytes]]
    ) -> None:
        super().__init__(daemon=True)
        self._every = every
        self._first, self._others = first, others
        self._scratch, self._destination = scratch, f"{destination}/" if destination else "\0"
        self._end = threading.Event()
        self._ours = {(facts.st_dev, facts.st_ino) for facts in (os.fstat(file.fileno()) for file in ours)}
        self._seen: dict[tuple[int, int], str] = {}
        self._before = {key for key, _path, _bytes in self._files(set())}
        self.peak_bytes = self.own_bytes = self.staged_bytes = 0
        self.staged_files: tuple[str, ...] = ()

    def run(self) -> None:
        """Sample until :meth:`finish`."""
        while not self._end.wait(self._every):
            self._sample()

    def finish(self) -> None:
        """End, after a last look at what was left on the disk."""
        self._end.set()
        self.join()
        self._sample()

    def _sample(self) -> None:
        processes = descendants({self._first, *self._others()})
        own = proportional_bytes(_read(f"/proc/{self._first}/smaps_rollup"))
        total = own + sum(proportional_bytes(_read(f"/proc/{pid}/smaps_rollup")) for pid in processes - {self._first})
        self.own_bytes, self.peak_bytes = max(self.own_bytes, own), max(self.peak_bytes, total)
        staged = {key: (path, size) for key, path, size in self._files(processes) if size and key not in self._before | self._ours}
        if (total := sum(size for _path, size in staged.values())) > self.staged_bytes:
            self.staged_bytes, self.staged_files = total, tuple(sorted(path for path, _size in staged.values()))

    def _files(self, processes: set[int]) -> t.Iterator[tuple[Inode, str, int]]:
        """Yield the files outside the destination, with their bytes on disk; one may come more than once."""
        for folder, _names, names in os.walk(self._scratch):
            for name in names:
                yield from _regular(f"{folder}/{name}")
        for pid in processes:
            for found in _written_files(pid):
                if not found[1].startswith(self._destination):
                    self._seen[found[0]] = found[1]
                    yield found
        for key, path in list(self._seen.items()):
            yield from (found for found in _regular(path) if found[0] == key)


def _regular(path: str) -> t.Iterator[tuple[Inode, str, int]]:
    with contextlib.suppress(OSError):
        facts = os.lstat(path)
        if stat.S_ISREG(facts.st_mode):
            yield (facts.st_dev, facts.st_ino), path, facts.st_blocks * 512


def _written_files(pid: int) -> t.Iterator[tuple[Inode, str, int]]:
    """Yield the regular files that a process has open for writing, also those without a name any more."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for number in numbers:
        path = f"/proc/{pid}/fd/{number}"
        try:
            facts, target = os.stat(path), os.readlink(path)
        except OSError:
            continue
        flags = next((line.split()[1] for line in _read(f"/proc/{pid}/fdinfo/{number}").splitlines() if line.startswith("flags:")), "0")
        if stat.S_ISREG(facts.st_mode) and int(flags, 8) & os.O_ACCMODE and not target.startswith(("/memfd:", "/proc/")):
            yield (facts.st_dev, facts.st_ino), target, facts.st_blocks * 512


def run(job: Job, timeout: float = 3600) -> str:
    """Run a job without measuring it and return what it printed.

    Raises:
        JobFailed: it did not end with status 0.
    """
    done = subprocess.run(
        job.argv, env={**os.environ, **job.env}, cwd="/", input=job.stdin, capture_output=True, text=True, timeout=timeout, check=False, **_identity(job)
    )
    _check(job, done.returncode, done.stderr + done.stdout)
    return done.stdout


def best(work: t.Callable[[], object]) -> float:
    """Return the seconds of the fastest of three runs."""
    seconds = []
    for _number in range(BEST_OF):
        begun = time.monotonic()
        work()
        seconds.append(time.monotonic() - begun)
    return min(seconds)


def measure(
    job: Job, server: int, scratch: pathlib.Path, destination: pathlib.Path | None, timeout: float = 3600, sample_seconds: float = SAMPLE_SECONDS
) -> Cost:
    """Run a job to its end and return what it cost.

    Args:
        job: the program.
        server: id of the first process of the server that works for it; 0 for none.
        scratch: folder that it is given for temporary files and as its home.
        destination: folder whose files are not staged but stored.
        timeout: seconds after which it is killed.
        sample_seconds: how often memory and files are looked at. That itself takes milliseconds of a core for each process.

    Raises:
        JobFailed: it did not end with status 0.
    """
    before = children(os.getpid())
    environment = {**os.environ, "HOME": str(scratch), "TMPDIR": str(scratch), **job.env}
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        stdin.write(job.stdin.encode())
        stdin.seek(0)
        used, served = _used(), server_seconds(server) if server else 0.0
        begun = time.monotonic()
        process = subprocess.Popen(job.argv, env=environment, cwd="/", stdin=stdin, stdout=output, stderr=errors, **_identity(job))
        sampler = _Sampler(sample_seconds, process.pid, lambda: children(os.getpid()) - before, scratch, destination, (stdin, output, errors))
        sampler.start()
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise JobFailed(f"{job.argv[0]} still ran after {timeout:.0f} s") from error
        finally:
            seconds = time.monotonic() - begun
            sampler.finish()
            _reap(children(os.getpid()) - before)
        _check(job, status, _text(errors) + _text(output))
        cpu = _used() - used + (server_seconds(server) - served if server else 0.0)
        return Cost(seconds, cpu, sampler.peak_bytes, sampler.own_bytes, sampler.staged_bytes, sampler.staged_files, _text(output))


def _identity(job: Job) -> dict[str, t.Any]:
    return {"user": job.user, "group": job.user, "extra_groups": []} if job.user else {}


def _check(job: Job, status: int, printed: str) -> None:
    if status:
        raise JobFailed(f"{os.path.basename(job.argv[0])} ended with status {status}: {said(printed)}")


def said(printed: str) -> str:
    """Return the message of a module in what was printed, or the end of that."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(printed)["msg"])
    return printed.strip()[-1000:]


def _reap(orphans: set[int]) -> None:
    """Wait for processes that a job left behind; what still runs after a while is a daemon (such as gpg's agent) and is ended."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while orphans:
        orphans = {pid for pid in orphans if os.waitpid(pid, os.WNOHANG)[0] == 0}
        if orphans and time.monotonic() > deadline:
            for pid in orphans:
                os.kill(pid, signal.SIGTERM)
            deadline += ORPHAN_SECONDS
        time.sleep(0.02)


def _used() -> float:
    """Return the CPU seconds of all processes below this one that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _text(file: t.IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
