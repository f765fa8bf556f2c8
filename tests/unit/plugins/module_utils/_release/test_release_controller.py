# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the process that holds a lock is gone, with real processes; a process that cannot be judged counts as alive."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.controller import (
    ALIVE, FIRST_NAMESPACE, GONE, UNKNOWN, fate, identity, see_off, started, stragglers,
)

HERE = {"host": "ctl", "machine": "m1", "boot": "b1", "namespace": FIRST_NAMESPACE, "pid": 7, "started": "700", "command": "c"}

FORKING = "import os, signal, time\n{0}\nif os.fork() == 0:\n    os.setsid()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(30)"
"""A program with a child as Ansible has workers: forked, in a session of its own."""


@pytest.mark.parametrize(("differs", "running", "expected"), [
    ({}, "600", ALIVE),
    ({}, "", GONE),
    # The number is used by another process now.
    ({}, "650", GONE),
    ({"boot": "b0"}, "600", GONE),
    # Numbers of another container, or of another machine, say nothing here.
    ({"namespace": "pid:[4026532000]"}, "", UNKNOWN),
    ({"boot": "b0", "namespace": "pid:[4026532000]"}, "", UNKNOWN),
    ({"boot": "b0", "machine": "m2"}, "", UNKNOWN),
    ({"boot": "b0", "host": "other"}, "", UNKNOWN),
    ({"boot": ""}, "", UNKNOWN),
    ({"started": ""}, "", UNKNOWN),
])
def test_fate(differs: dict[str, str], running: str, expected: str) -> None:
    """Only what is certain."""
    assert fate({**HERE, "pid": 6, "started": "600", **differs}, HERE, lambda pid: running) == expected


def test_fate_of_nobody() -> None:
    """A lock of an older version has no process."""
    assert fate({}, HERE) == UNKNOWN


def test_identity() -> None:
    """This process is alive, and its identity is JSON."""
    mine = identity(os.getpid())
    assert all(mine[name] for name in ("host", "boot", "namespace", "started", "command"))
    assert fate(mine, mine) == ALIVE
    assert fate({**mine, "started": "1"}, mine) == GONE


@contextlib.contextmanager
def killed_run(first: str = "") -> t.Iterator[tuple[dict[str, t.Any], int]]:
    """The identity of a process that was killed, and the number of its worker, which goes on."""
    with subprocess.Popen([sys.executable, "-c", FORKING.format(first)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        numbers = {int(process.stdout.readline()), int(process.stdout.readline())}
        worker = (numbers - {process.pid}).pop()
        lost = identity(process.pid)
        process.kill()
        try:
            deadline = time.monotonic() + 20
            while started(process.pid) and time.monotonic() < deadline:  # it stays as a zombie until it is waited for, and counts as gone before
                time.sleep(0.02)
            time.sleep(0.05)  # times of start are counted in hundredths of a second
            yield lost, worker
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def test_workers_of_a_run_that_was_killed_are_seen_off() -> None:
    """They are found by what they share with it, and ended when they take too long."""
    with killed_run() as (lost, worker):
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as next_run:
            here = identity(next_run.pid)
            next_run.kill()
        assert fate(lost, here) == GONE
        assert stragglers(lost, here) == [worker]
        see_off(lost, here, seconds=0.3, ending=20)
        assert not started(worker)
        assert stragglers(lost, here) == []


def test_a_later_run_with_the_same_arguments_is_no_worker() -> None:
    """Somebody typed the same command again, and was killed too, before this run began: only the workers of the first one are its workers."""
    with killed_run() as (lost, worker), killed_run() as (_other, _worker), killed_run() as (here, _worker):
        assert stragglers(lost, here) == [worker]


def test_a_worker_that_does_not_listen_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for; one that cannot be ended keeps this run from going on."""
    with killed_run("signal.signal(signal.SIGTERM, signal.SIG_IGN)") as (lost, worker), killed_run() as (here, _worker):
        see_off(lost, here, seconds=0, ending=0.5)
        assert not started(worker)
    with killed_run() as (lost, worker), killed_run() as (here, _worker):
        monkeypatch.setattr(os, "kill", lambda pid, number: None)
        with pytest.raises(MainstayError, match=f"its workers still run as the processes {worker}; end them"):
            see_off(lost, here, seconds=0, ending=0)
        monkeypatch.undo()
