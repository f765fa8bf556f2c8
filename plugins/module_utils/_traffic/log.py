# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window of nginx's JSON access log, whatever is rotated meanwhile."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import glob
import json
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Figures, bucket

CLIENT_CLOSED = 499
"""What nginx logs when the client went away before it had its answer."""

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Rotated files of these kinds are not looked into: logrotate packs a file when it rotates for the second time."""


@dataclasses.dataclass(frozen=True)
class Position:
    """A place in a log: the file (by inode; 0 if there was none), the offset of the next line, and the time (seconds of the epoch)."""

    inode: int
    offset: int
    time: float


@dataclasses.dataclass(frozen=True)
class Entry:
    """One request: when it was logged, to which pool it went, how it ended, and the seconds that the upstream took (None if it never answered)."""

    time: float
    pool: str
    status: int
    retried: bool
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Window:
    """What was found. ``complete`` is false if its beginning was truncated, packed or removed. Lines of the window are counted that are JSON of ours, of any
    pool (``readable``), and those that are not (``unreadable``)."""

    pools: t.Mapping[str, Figures]
    position: Position
    complete: bool
    unreadable: int
    readable: int = 0


def parse(line: bytes) -> Entry | None:
    """Understand one line; None if it is none of ours."""
    try:
        fields = json.loads(line.decode("utf-8", "replace"))
        moment = float(fields["msec"]) if fields.get("msec") else datetime.datetime.fromisoformat(fields["time"]).timestamp()
        statuses = str(fields.get("upstream_status", "")).replace(":", ",").split(",")
        return Entry(moment, str(fields["pool"]), int(fields["status"]), len(statuses) > 1, _upstream_seconds(fields))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _upstream_seconds(fields: t.Mapping[str, t.Any]) -> float | None:
    """The seconds of all attempts together; nginx lists them as ``0.001, 0.004`` or ``0.001 : 0.004``, with ``-`` for an attempt without an answer."""
    parts = str(fields.get("upstream_response_time", "")).replace(":", ",").split(",")
    found = [float(part) for part in parts if part.strip() not in ("", "-")]
    return sum(found) if found else None


def count(figures: Figures, entry: Entry) -> None:
    """Add one request."""
    figures.requests += 1
    if entry.status == CLIENT_CLOSED:
        figures.aborted += 1
        return
    if entry.status >= 500:
        figures.errors += 1
    elif entry.retried:
        figures.retried += 1
    if entry.seconds is not None:
        figures.times[bucket(entry.seconds)] += 1


def end_of(path: str) -> Position:
    """The place where the next line of the log will be.

    Raises:
        MainstayError: the log cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
    except FileNotFoundError:
        return Position(0, 0, time.time())
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    return Position(found.st_ino, found.st_size, time.time())


def _unreadable(path: str, exc: OSError) -> MainstayError:
    return MainstayError(f"read the access log {path}", exc.strerror or exc, "run the task with become: true, or name another file")


def _files(path: str) -> list[str]:
    """The log and what it was rotated to, oldest first, without packed files."""
    rotated = [name for name in glob.glob(f"{glob.escape(path)}[.-]*") if not name.endswith(PACKED)]
    return sorted(rotated, key=os.path.getmtime) + ([path] if os.path.exists(path) else [])


def read(path: str, since: Position, pools: t.Collection[str] = ()) -> Window:
    """Count the requests that were logged from a place on.

    Args:
        path: the log that nginx writes.
        since: where to begin. Without an inode it is a time alone.
        pools: which pools to count, empty for all.

    Raises:
        MainstayError: the log cannot be read.
    """
    figures: dict[str, Figures] = collections.defaultdict(Figures, {pool: Figures() for pool in pools})
    readable, unreadable, position, complete = 0, 0, end_of(path), not since.inode
    try:
        files = _files(path)
        for name, offset, found in _begin(files, since):
            complete = complete or found
            position, lines = _lines(name, offset)
            for line in lines:
                entry = parse(line)
                if entry is None:
                    unreadable += 1
                elif found and since.inode or entry.time >= since.time:
                    readable += 1
                    if not pools or entry.pool in pools:
                        count(figures[entry.pool], entry)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    return Window(dict(figures), position, complete, unreadable, readable)


def lines_since(path: str, moment: float, most_bytes: int) -> t.Iterator[bytes]:
    """Yield the lines that were logged since a Unix time, without keeping them.

    Args:
        path: the log that nginx writes.
        moment: since when.
        most_bytes: of more than that in one file only the end is read.

    Raises:
        MainstayError: the log cannot be read.
    """
    try:
        for name, offset, _found in _begin(_files(path), Position(0, 0, moment)):
            with open(name, "rb") as stream:
                enough = os.fstat(stream.fileno()).st_size - most_bytes
                stream.seek(max(offset, enough))
                if enough > offset:
                    stream.readline()
                for line in stream:
                    entry = parse(line)
                    if entry is None or entry.time >= moment:
                        yield line
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _begin(files: t.Sequence[str], since: Position) -> t.Iterator[tuple[str, int, bool]]:
    """The files to read, each with the offset to begin at, and whether the place was found, so that all that follows is part of the window."""
    if since.inode:
        for number, name in enumerate(files):
            found = os.stat(name)
            if found.st_ino == since.inode and found.st_size >= since.offset:
                yield name, since.offset, True
                yield from ((later, 0, True) for later in files[number + 1:])
                return
    for name in files:
        if os.path.getmtime(name) >= since.time:
            yield name, _first_at(name, since.time), False


def _lines(name: str, offset: int) -> tuple[Position, list[bytes]]:
    """The whole lines from an offset on, and the place after them."""
    with open(name, "rb") as stream:
        stream.seek(offset)
        content = stream.read()
        inode = os.fstat(stream.fileno()).st_ino
    end = content.rfind(b"\n") + 1
    return Position(inode, offset + end, time.time()), content[:end].splitlines()


def _first_at(name: str, moment: float) -> int:
    """The offset of a line not after the first one that was logged at this time or later, found by halving: lines are logged in order of time."""
    low, high = 0, os.path.getsize(name)
    with open(name, "rb") as stream:
        while high - low > 1 << 16:
            middle = (low + high) // 2
            stream.seek(middle)
            stream.readline()
            entry = parse(stream.readline())
            if entry is not None and entry.time < moment:
                low = middle
            else:
                high = middle
        stream.seek(low)
        return low + len(stream.readline()) if low else 0
