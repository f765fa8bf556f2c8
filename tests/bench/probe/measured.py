# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make endpoints, and run the module against them as a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import typing as t

LOOK_SECONDS = 0.02
"""Between two looks at a process's greatest memory. The kernel keeps the figure, so that only what comes after the last look is missed."""


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """Ports on loopback that answer, and ports that take a request and say nothing."""

    answering: tuple[int, ...]
    hanging: tuple[int, ...]

    def urls(self, count: int | None = None) -> list[str]:
        """Return the URLs of all, or of so many of them with the same share that hangs, which stand evenly among the others.

        Args:
            count: how many; all if not given.
        """
        total = len(self.answering) + len(self.hanging)
        wanted = total if count is None else count
        hanging = self.hanging[:round(wanted * len(self.hanging) / total)]
        ports = list(self.answering[:wanted - len(hanging)])
        for number, port in enumerate(hanging):
            ports.insert(number * wanted // len(hanging), port)
        return [f"http://127.0.0.1:{port}/" for port in ports]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of the module: how long it took, the greatest memory of its process, and what it returned."""

    seconds: float
    peak_bytes: int
    result: dict[str, t.Any]


@contextlib.contextmanager
def endpoints(count: int, hanging: int) -> t.Iterator[Endpoints]:
    """Have so many endpoints, of which some hang, in one process until the end of the block."""
    argv = [sys.executable, str(pathlib.Path(__file__).with_name("endpoints.py")), str(count), str(hanging)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        ports = json.loads(t.cast(t.IO[bytes], server.stdout).readline())
        try:
            yield Endpoints(tuple(ports["answering"]), tuple(ports["hanging"]))
        finally:
            t.cast(t.IO[bytes], server.stdin).close()


def checks(urls: t.Iterable[str], timeout: float) -> list[dict[str, t.Any]]:
    """Return a check of each URL."""
    return [{"type": "http", "url": url, "timeout": timeout} for url in urls]


def run_module(options: dict[str, t.Any]) -> Run:
    """Run ``health_probe`` as Ansible starts it on a host, arguments on standard input."""
    argv = [sys.executable, "-m", "ansible_collections.mainstay.ops.plugins.modules.health_probe"]
    begun = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        output = process.communicate(json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())[0]
        seconds = time.monotonic() - begun
        watcher.join()
    return Run(seconds, peak[0], json.loads(output))


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    """Note the greatest resident memory of a process until it ends (VmHWM of proc_pid_status(5))."""
    status = pathlib.Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError):
            found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(encoding="ascii"), re.MULTILINE)
            peak[0] = max(peak[0], int(found[1]) * 1024 if found else 0)
        time.sleep(LOOK_SECONDS)
