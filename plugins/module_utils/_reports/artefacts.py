# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the reports that runs of playbooks left behind on the controller."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

MOST_FILES = 5000
MOST_BYTES = 8 << 20
OWN = frozenset({"capacity", "cost", "incident", "diagnose"})
"""Folders of reports of this kind: they tell what was found, and not what was done."""


def read(folder: str) -> tuple[list[tuple[str, dict[str, t.Any]]], list[str]]:
    """Return the JSON objects below a folder with their names in it, and what could not be read.

    Args:
        folder: the artefacts. One that does not exist has none.

    Raises:
        InvalidInput: it is no folder.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InvalidInput(f"read the reports in {folder}", "it is no folder", "give the folder that the playbooks write their reports to")
    found, unread = [], []
    for path in _paths(folder):
        name = os.path.relpath(path, folder)
        if len(found) + len(unread) >= MOST_FILES:
            unread.append(f"more than {MOST_FILES} files, the oldest ones")
            break
        try:
            if os.path.getsize(path) > MOST_BYTES:
                unread.append(f"{name}: it has more than {MOST_BYTES >> 20} MiB")
                continue
            with open(path, encoding="utf-8") as stream:
                content = json.load(stream)
        except (OSError, ValueError) as error:
            unread.append(f"{name}: {error}")
            continue
        if isinstance(content, dict):
            found.append((name, content))
    return found, unread


def _paths(folder: str) -> list[str]:
    """Return the files, the newest ones first."""
    paths = []
    for place, folders, names in os.walk(folder):
        if os.path.relpath(place, folder) == ".":
            folders[:] = [name for name in folders if name not in OWN]
        paths += [os.path.join(place, name) for name in names if name.endswith(".json")]
    return sorted(paths, key=lambda path: (-os.lstat(path).st_mtime, path))
