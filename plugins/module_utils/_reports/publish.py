# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a report goes: a page and its data in a folder, each written in one step, and only if it differs."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._report import moment
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.metrics import write

MODE = 0o600
"""A report tells what a stack consists of and where it is weak."""


def report_spec() -> dict[str, t.Any]:
    """Return the option of every report; the documentation is the fragment ``report``."""
    return {"report_dir": {"type": "path"}}


def end_of(given: str | None) -> float:
    """Return the option ``end`` as a Unix time, now if it is not given.

    Raises:
        InvalidInput: it is no time.
    """
    if not given:
        return time.time()
    found = moment(given)
    if found is None:
        raise InvalidInput(f"report until {given}", "that is no time", "write it as 2026-11-28T07:30:00+00:00")
    return found.timestamp()


@dataclasses.dataclass(frozen=True)
class Published:
    """What was written, or would be in check mode: paths, and the lines of the report before and after."""

    files: tuple[str, ...]
    written: tuple[str, ...]
    before: str
    after: str

    def as_result(self, diff: bool) -> dict[str, t.Any]:
        """Return it as a module does."""
        result = {"changed": bool(self.written), "files": list(self.files), "actions": [f"write {path}" for path in self.written]}
        return result | ({"diff": {"before": self.before, "after": self.after}} if diff else {})


def publish(folder: str | None, report: t.Mapping[str, t.Any], contents: t.Mapping[str, str | bytes], check_mode: bool) -> Published:
    """Write a report, unless it is there as it is.

    Args:
        folder: where to; nothing is written without one.
        report: its data, with ``lines`` for a terminal. It becomes ``report.json``.
        contents: the other files by name, such as ``report.html``.
        check_mode: whether only to say what would be written.

    Raises:
        MainstayError: a file cannot be written or read.
    """
    lines = "".join(f"{line}\n" for line in report["lines"])
    if not folder:
        return Published((), (), "", lines)
    wanted = {os.path.join(folder, name): content.encode() if isinstance(content, str) else content for name, content in contents.items()}
    data = os.path.join(folder, "report.json")
    wanted[data] = json.dumps(report, indent=2, ensure_ascii=False, default=str).encode() + b"\n"
    there = {path: _content(path) for path in wanted}
    stale = tuple(path for path, content in wanted.items() if there[path] != content)
    if stale and not check_mode:
        _make(folder)
        for path in stale:
            write(path, wanted[path], MODE)
    return Published(tuple(wanted), stale, _lines(there[data]), lines)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise MainstayError(f"read {path}", exc.strerror or exc, "give another report_dir") from exc


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise MainstayError(f"make the folder {folder}", exc.strerror or exc, "give another report_dir") from exc


def _lines(text: bytes | None) -> str:
    """Return the lines of a report that was written before; nothing if it is none."""
    try:
        return "".join(f"{line}\n" for line in json.loads(text or "{}").get("lines", []))
    except (ValueError, AttributeError, TypeError):
        return ""
