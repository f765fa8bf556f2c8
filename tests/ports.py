# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for the servers of the tests, of which several processes start some at the same time."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
import typing as t

FIRST, LAST = 10000, 32000
"""Linux gives connections the ports from 32768 on: one that is free when it is chosen would be taken before its server starts."""

_chance = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on, and that no other caller in this run of the tests is given.

    Each worker of pytest-xdist has a share of its own.
    """
    worker, count = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = _chance.randrange(FIRST + worker, LAST, count)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def wait_until_listening(port: int, process: subprocess.Popen[t.Any], failure: t.Callable[[], str], seconds: float = 60) -> None:
    """Wait until the server that a process is takes connections on loopback.

    Args:
        port: where it is to listen.
        process: the server; one that has ended is waited for no longer.
        failure: what is said when it does not, such as its log.
        seconds: how long it may take.

    Raises:
        AssertionError: it has ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None and time.monotonic() < deadline, failure()
        time.sleep(0.1)
