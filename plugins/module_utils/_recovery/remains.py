# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What drills that were killed have left: processes that work in a folder which nobody holds any more. They go before the folder does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time

STOP_SECONDS = 10.0
"""So long they may take to end before they are killed."""


def processes_in(folder: str) -> list[int]:
    """Return the processes that work in a folder or below it."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and f"{os.readlink(f'/proc/{name}/cwd')}/".startswith(f"{os.path.realpath(folder)}/"):
                found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]


def left_behind(work_dir: str, prefix: str) -> list[str]:
    """Return the folders of drills that have ended without removing them: those of this user that nobody holds a lock on."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(work_dir):
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                with contextlib.suppress(OSError):
                    lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        found.append(entry.path)
                    finally:
                        os.close(lock)
    return sorted(found)


def end_processes(folder: str) -> int:
    """End what works in a folder: by SIGTERM, and what does not end by SIGKILL; return how many processes there were."""
    before = processes_in(folder)
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        deadline = time.monotonic() + seconds
        while remaining := processes_in(folder):
            for pid in remaining:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    return len(before)
