# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a request in the journal and in files."""

from __future__ import annotations

import dataclasses
import glob
import gzip
import json
import os
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._logs.lines import ID, Line, read_journal, read_line

Run = t.Callable[[list[str]], tuple[int, str, str]]
"""Runs an argv and returns its exit status, standard output and standard error."""


@dataclasses.dataclass(frozen=True)
class Search:
    """What is looked for, and where.

    Attributes:
        request_id: the id.
        since: Unix time of the oldest entry.
        until: Unix time of the newest entry.
        journal: whether the journal is read.
        journal_dir: folder of journals from elsewhere, such as those that a log host receives; empty for the host's own.
        files: patterns of files with a line for each entry; those that end in .gz too.
        host: how this host is called, for lines that do not say so themselves.
    """

    request_id: str
    since: float
    until: float
    journal: bool
    journal_dir: str
    files: tuple[str, ...]
    host: str


@dataclasses.dataclass(frozen=True)
class Found:
    """The lines in the order of their times, and what was read for them."""

    lines: tuple[Line, ...]
    searched: tuple[str, ...]


def check_id(text: str) -> str:
    """Return an id that can be looked for.

    Raises:
        InvalidInput: it is none.
    """
    if not ID.fullmatch(text):
        raise InvalidInput(f"look for the request {text!r}", "an id is 4 to 64 letters, digits, dots, underscores and hyphens", "take it from X-Request-ID")
    return text


def find(search: Search, run: Run) -> Found:
    """Return what is known of the request.

    Raises:
        MainstayError: a log cannot be read.
    """
    lines: set[Line] = set()
    searched = []
    if search.journal or search.journal_dir:
        lines.update(_journal(search, run))
        searched.append(search.journal_dir or "the journal")
    for path in sorted({path for pattern in search.files for path in glob.glob(pattern)}):
        # What was last written before the time began holds nothing of it.
        if os.path.isfile(path) and os.path.getmtime(path) >= search.since:
            lines.update(_file(search, path))
            searched.append(path)
    return Found(tuple(sorted(line for line in lines if search.since <= line.time <= search.until)), tuple(searched))


def _journal(search: Search, run: Run) -> t.Iterator[Line]:
    place = [f"--directory={search.journal_dir}"] if search.journal_dir else ["--namespace=*"]
    argv = [
        "journalctl", *place, "--output=json", "--all", "--quiet", "--no-pager", f"--since=@{search.since:.0f}", f"--until=@{search.until + 1:.0f}",
        f"--grep={re.escape(search.request_id)}", "--case-sensitive=true",
    ]
    status, output, errors = run(argv)
    # It ends with 1 when it found nothing.
    if status != 0 and (status != 1 or errors.strip()):
        cause = errors.strip() or f"journalctl ended with status {status}"
        raise MainstayError(f"read {search.journal_dir or 'the journal'}", cause, "run the task with become: true")
    for text in output.splitlines():
        if found := read_journal(json.loads(text), search.request_id):
            yield found


def _file(search: Search, path: str) -> t.Iterator[Line]:
    try:
        with gzip.open(path, "rt", errors="replace") if path.endswith(".gz") else open(path, encoding="utf-8", errors="replace") as stream:
            for text in stream:
                # The text first: reading each line as JSON would take minutes for a busy day.
                if search.request_id in text and (found := read_line(text, search.request_id, search.host)):
                    yield found
    except (OSError, EOFError) as error:
        raise MainstayError(f"read {path}", getattr(error, "strerror", None) or error, "run the task with become: true") from error
