# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private folders that never outlive the run that made them, or the next run where that one was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._process import uninterrupted


@contextlib.contextmanager
def private_folder(parent: str, prefix: str, doing: str = "") -> t.Iterator[str]:
    """Make a folder that only this user can enter, and remove it with everything in it at the end; what runs that were killed have left goes before.

    Args:
        parent: the folder that it is made in.
        prefix: what its name starts with; folders with it that nobody holds a lock on are taken for left ones.
        doing: what an error says was attempted.

    Raises:
        InvalidInput: ``parent`` cannot be used.
    """
    with contextlib.ExitStack() as stack:
        try:
            with uninterrupted():
                _remove_left(parent, prefix)
                folder, lock = _locked_folder(parent, prefix)
                stack.callback(_remove, folder, lock)
        except OSError as error:
            raise InvalidInput(doing or f"use work_dir {parent}", error.strerror or error) from error
        yield folder


def _remove(folder: str, lock: int) -> None:
    """Remove a folder and give up its lock."""
    with uninterrupted():
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(parent: str, prefix: str) -> tuple[str, int]:
    """Make a folder and lock it for as long as this process lives; return its path and the lock."""
    while True:
        folder = tempfile.mkdtemp(prefix=prefix, dir=parent)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)  # another run took it for one that was left, before it was locked


def _remove_left(parent: str, prefix: str) -> None:
    """Remove the folders of runs that were killed: those of this user that nobody holds a lock on."""
    for entry in os.scandir(parent):
        if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
            with contextlib.suppress(OSError):
                lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(lock)
