# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes tasks, which are files in ``queue``, works on each for a moment, and moves it to ``done``. SIGTERM lets it finish the one that it has.

Called as ``worker.py clock`` it is the one that may run only once: it says so when it finds another one.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import time

RELEASE = pathlib.Path(__file__).resolve().with_name("RELEASE").read_text(encoding="utf-8").strip()
SHARED = pathlib.Path("/srv/trial/shared")
stopping: list[int] = []


def say(log: str, words: str) -> None:
    """Append a line to a log."""
    with (SHARED / log).open("a", encoding="utf-8") as stream:
        stream.write(f"{words} {RELEASE}\n")


def take() -> bool:
    """Do one task, if there is one that nobody else has."""
    for task in sorted((SHARED / "queue").glob("task-*")):
        mine = SHARED / "working" / f"{task.name}.{os.getpid()}"
        try:
            task.rename(mine)
        except FileNotFoundError:
            continue
        time.sleep(1)
        mine.rename(SHARED / "done" / task.name)
        say("worker.log", task.name)
        return True
    return False


def work() -> None:
    """Work until told to stop."""
    for folder in ("queue", "working", "done"):
        (SHARED / folder).mkdir(exist_ok=True)
    while not stopping:
        if not take():
            time.sleep(0.1)


def clock() -> None:
    """Run alone until told to stop, and take a while to end."""
    alone = SHARED / "clock.running"
    say("clock.log", "twice" if alone.exists() else "once")
    alone.touch()
    while not stopping:
        time.sleep(0.1)
    time.sleep(1)
    alone.unlink()


signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
if sys.argv[1:] == ["tidy"]:
    say("tidy.log", "tidy")
elif sys.argv[1:] == ["clock"]:
    clock()
else:
    work()
