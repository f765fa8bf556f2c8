# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be on the disk before a run goes on."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def sync_path(path: str) -> None:
    """Bring a file, or the names in a folder, to the disk.

    Raises:
        OSError: it is not there, or cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file in one step, and bring it to the disk.

    Raises:
        MainstayError: it cannot be written; the old one is as it was.
    """
    folder, name = os.path.split(path)
    fresh = ""
    try:
        with tempfile.NamedTemporaryFile("wb", dir=folder, prefix=f".{name}.", delete=False) as stream:
            fresh = stream.name
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(fresh, path)
        sync_path(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise MainstayError(f"write {path}", error.strerror or error, "make room, or name a folder that this user can write") from error
