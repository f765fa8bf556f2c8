# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be on the disk before a run goes on."""

from __future__ import annotations

import os


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
