# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of recoveries and drills, kept in the store of the backups: one line each, as an object of its own.

Objects are written once and never again, as everything in that store: two runs that end at the same moment lose neither's line, and lines
may lie under an object lock. All of them together, in the order of their names, are the history.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectExists, Store, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

SHOWN = 60
"""So many of the newest lines are read: more than a year of weekly drills."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LINE_LIMIT = 1 << 20


def folder(name: str) -> str:
    """Return what the keys of a history start with.

    Raises:
        InvalidInput: the name cannot be a part of a key.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"use the history {name!r}", "a name has letters, digits, underscores, dots and hyphens, and starts with a letter or digit")
    return f"drills/{name}/"


def key_of(name: str, line: t.Mapping[str, t.Any]) -> str:
    """Return the key of a line: its time and its content, so that the same run is never written twice."""
    digits = hashlib.sha256(_dump(line)).hexdigest()[:12]
    return f"{folder(name)}{re.sub(r'[^0-9TZ]', '', line['finished'][:19])}Z-{digits}.json"


def read(store: Store, name: str, shown: int = SHOWN) -> list[dict[str, t.Any]]:
    """Return the newest lines, oldest first.

    Raises:
        MainstayError: the store failed, or a line is none of ours.
    """
    lines = []
    for item in store.list(folder(name))[-shown:]:
        try:
            line = json.loads(read_small(store, item.key, _LINE_LIMIT))
            lines.append({**line, "measured": dict(line["measured"]), "success": bool(line["success"]), "finished": str(line["finished"])})
        except (ValueError, KeyError, TypeError) as error:
            raise MainstayError(f"read {item.key} from {store.describe()}", f"it is no line of a history ({error})", "move it away") from error
    return lines


def append(store: Store, name: str, line: t.Mapping[str, t.Any]) -> bool:
    """Add a line; return whether it was not there yet.

    Raises:
        MainstayError: the store failed.
    """
    try:
        store.put_new(key_of(name, line), _dump(line))
    except ObjectExists:
        return False  # the key holds the hash of the line: it is this very one
    return True


def _dump(line: t.Mapping[str, t.Any]) -> bytes:
    return json.dumps(line, sort_keys=True).encode() + b"\n"
