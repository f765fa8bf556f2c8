# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of nginx: the master, its workers, and a reload that is seen to have happened."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

Run = t.Callable[[list[str]], tuple[int, str, str]]
"""Runs an argv and returns its exit status, standard output and standard error."""

_WORKER = "nginx: worker process"
_LEAVING = "shutting down"
_PAUSE = 0.05
_LOG_TAIL = 65536
_STAMP = re.compile(r"^\S+ \S+ \[emerg\] \d+#\d+: ")


def find_program() -> str:
    """The path of the program, empty if it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin") or ""


def read_version(run: Run) -> str:
    """The version of the program that is installed, empty if there is none."""
    program = find_program()
    found = re.search(r"nginx version: \S+?/(\S+)", run([program, "-v"])[2]) if program else None
    return found[1] if found else ""


def _words(pid: int, name: str) -> str:
    """A file of a process, empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as stream:
            return stream.read().replace("\0", " ").strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    fields = _words(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _workers_of(masters: t.Collection[int]) -> dict[int, str]:
    """The workers of these masters, with their titles; 0 is no master."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal()) if any(masters) else ()
    found = {pid: _words(pid, "cmdline") for pid in pids if _parent(pid) in masters}
    return {pid: title for pid, title in found.items() if title.startswith(_WORKER)}


class Master:
    """The master process that a pid file names."""

    def __init__(self, pid_file: str, error_log: str = "") -> None:
        """Take the file that nginx writes its process id to, and the log in which it says why it refused a configuration."""
        self._pid_file = pid_file
        self._error_log = error_log

    @property
    def pid(self) -> int:
        """Its process id, 0 if nginx does not run."""
        try:
            with open(self._pid_file, encoding="ascii") as stream:
                pid = int(stream.read().strip() or 0)
        except (OSError, ValueError):
            return 0
        return pid if pid and "nginx: master" in _words(pid, "cmdline") else 0

    def workers(self) -> frozenset[int]:
        """The workers that accept connections."""
        return frozenset(pid for pid, title in _workers_of({self.pid}).items() if not title.endswith(_LEAVING))

    def leaving(self) -> frozenset[int]:
        """The workers that only finish what they have: those from before any reload, and those of a master that a new one has taken over from."""
        former = Master(f"{self._pid_file}.oldbin").pid
        return frozenset(pid for pid, title in _workers_of({self.pid, former}).items() if title.endswith(_LEAVING))

    def reload(self, timeout: float) -> frozenset[int]:
        """Let it read its configuration again, and wait until all workers are new ones.

        Args:
            timeout: seconds to wait. nginx tries for 2.5 seconds to open a port that is taken.

        Returns:
            The workers of before, which finish what they have; those that an earlier reload left behind are among them.

        Raises:
            MainstayError: it does not run, or it went on with what it had.
        """
        master, before, left, offset = self.pid, self.workers(), self.leaving(), self._log_size()
        if not master:
            raise MainstayError("reload nginx", f"it does not run ({self._pid_file} names no process)", "start nginx.service")
        os.kill(master, signal.SIGHUP)
        deadline = time.monotonic() + timeout
        while True:
            now, refused = self.workers(), self._refusals(offset)
            if refused and not now - before:
                raise MainstayError("reload nginx", refused)
            if now and not now & before:
                return before | left
            if time.monotonic() > deadline:
                raise MainstayError("reload nginx", f"{len(now & before)} of its workers still have the former configuration after {timeout:.0f} s")
            time.sleep(_PAUSE)

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):
            return os.stat(self._error_log).st_size
        return 0

    def _refusals(self, offset: int) -> str:
        """Why the master gave a configuration up since the log had a size, empty if it did not: it says so last, after each port it could not open."""
        try:
            with open(self._error_log, "rb") as stream:
                stream.seek(offset)
                lines = stream.read(_LOG_TAIL).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        emergencies = list(dict.fromkeys(_STAMP.sub("", line) for line in lines if _STAMP.match(line)))
        ports = [line for line in emergencies if line.startswith("bind() to")]
        return "" if ports and "still could not bind()" not in emergencies else "; ".join(line for line in emergencies if line != "still could not bind()")
