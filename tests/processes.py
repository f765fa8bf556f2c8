# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes below a process: who they are, and their end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal


def children(pid: int) -> list[int]:
    """Return the child processes of a process; none of one that is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # of the folder itself, which may go while it is read
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in path.read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return the child processes of a process, and theirs."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def marked(word: str) -> list[int]:
    """Return the processes that have a word in their environment: whoever started them, and whatever group and session they are in.

    Redis is none of them: it writes its title over its environment.
    """
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def kill_marked(word: str) -> None:
    """SIGKILL all processes that have a word in their environment, and those that they start meanwhile."""
    while found := marked(word):
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it, whatever session they are in: each worker of ansible-playbook has one of its own since ansible-core 2.19.

    They are stopped first, so that none starts another one meanwhile.
    """
    stopped: set[int] = set()
    while found := {pid, *descendants(pid)} - stopped:
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        stopped |= found
    for each in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
