# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of an access log: what a line means, rotation, truncation, and where a time is found."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import shutil

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._traffic.log import Position, end_of, parse, read

BEGAN = 1795370400


def line(number: int, pool: str = "shop_blue", status: int = 200, upstream: str = "200", seconds: str = "0.010", **more: object) -> bytes:
    """One line, logged so many seconds after the beginning."""
    fields = {"msec": f"{BEGAN + number}.250", "pool": pool, "status": status, "upstream_status": upstream, "upstream_response_time": seconds, **more}
    return json.dumps(fields).encode() + b"\n"


def write(path: pathlib.Path, *lines: bytes) -> None:
    """Append lines."""
    with path.open("ab") as stream:
        stream.writelines(lines)


def requests(path: pathlib.Path, since: Position) -> int:
    """How many requests are found."""
    return sum(pool.requests for pool in read(str(path), since).pools.values())


@pytest.mark.parametrize(("given", "expected"), [
    (line(0), (BEGAN + 0.25, "shop_blue", 200, False, 0.01)),
    (line(0, upstream="502, 200", seconds="0.001, 0.004"), (BEGAN + 0.25, "shop_blue", 200, True, 0.005)),
    (line(0, upstream="200 : 200", seconds="0.001 : 0.004"), (BEGAN + 0.25, "shop_blue", 200, True, 0.005)),
    (line(0, upstream="-, 200", seconds="-, 0.004"), (BEGAN + 0.25, "shop_blue", 200, True, 0.004)),
    (line(0, status=499, upstream="-", seconds="-"), (BEGAN + 0.25, "shop_blue", 499, False, None)),
    (b'{"time":"2026-11-22T18:00:00+00:00","pool":"p","status":200}\n', (BEGAN, "p", 200, False, None)),
    (b'{"time":"2026-11-22T19:00:00+01:00","pool":"","status":308,"upstream_status":"","uri":"/\xff"}\n', (BEGAN, "", 308, False, None)),
    (b"no JSON\n", None), (b"[]\n", None), (b"{}\n", None), (line(0, status="x"), None), (b"\n", None),
])
def test_a_line(given: bytes, expected: tuple[object, ...] | None) -> None:
    """As nginx writes it."""
    entry = parse(given)
    assert (None if entry is None else (entry.time, entry.pool, entry.status, entry.retried, entry.seconds)) == expected


def test_kinds_of_ends(tmp_path: pathlib.Path) -> None:
    """Errors, requests that were given up, and those that another server answered."""
    path = tmp_path / "access.log"
    write(path, line(1), line(2, status=503, upstream="503"), line(3, status=499, seconds="-"), line(4, upstream="502, 200"),
          line(5, status=404, upstream="404"),
          line(6, pool="shop_green"), b"rubbish\n")
    window = read(str(path), Position(0, 0, 0.0), ["shop_blue"])
    blue = window.pools["shop_blue"]
    assert (blue.requests, blue.errors, blue.aborted, blue.retried, sum(blue.times.values())) == (5, 1, 1, 1, 4)
    assert (list(window.pools), window.unreadable, window.complete) == (["shop_blue"], 1, True)
    # Lines of other pools are understood as well.
    assert window.readable == 6


def test_only_what_comes_after_the_place(tmp_path: pathlib.Path) -> None:
    """Whatever its time says; the next window begins where this one ended, and a line that is being written belongs to it."""
    path = tmp_path / "access.log"
    assert end_of(str(path)).inode == 0
    write(path, line(1))
    since = end_of(str(path))
    write(path, line(0), line(2), line(3)[:20])
    window = read(str(path), since)
    assert (window.pools["shop_blue"].requests, window.unreadable) == (2, 0)
    write(path, line(3)[20:])
    assert requests(path, window.position) == 1


def test_no_log_yet(tmp_path: pathlib.Path) -> None:
    """A log that is made within the window is all of it."""
    path = tmp_path / "access.log"
    since = Position(0, 0, 0.0)
    assert requests(path, since) == 0
    write(path, line(1))
    assert requests(path, since) == 1


def test_rotation(tmp_path: pathlib.Path) -> None:
    """Renamed once and twice within the window; nginx writes to the old file until it is told."""
    path = tmp_path / "access.log"
    write(tmp_path / "access.log.1", line(-9))
    write(path, line(1))
    since = end_of(str(path))
    (tmp_path / "access.log.1").rename(tmp_path / "access.log.2")
    path.rename(tmp_path / "access.log.1")
    write(tmp_path / "access.log.1", line(2))
    os.utime(tmp_path / "access.log.2", (BEGAN, BEGAN))
    write(path, line(3))
    assert requests(path, since) == 2
    assert read(str(path), since).complete


@pytest.mark.parametrize("how", ["packed", "removed", "truncated"])
def test_a_window_whose_beginning_is_gone(tmp_path: pathlib.Path, how: str) -> None:
    """What is left is counted by time, and it is said that something is missing."""
    path = tmp_path / "access.log"
    write(path, line(1), line(2))
    since = Position(*[*vars(end_of(str(path))).values()][:2], BEGAN + 2.5)
    if how == "packed":
        with gzip.open(tmp_path / "access.log.2.gz", "wb") as packed, path.open("rb") as plain:
            shutil.copyfileobj(plain, packed)
    if how == "truncated":
        path.write_bytes(b"")
    else:
        (tmp_path / "other").touch()  # so that the inode is not used again
        path.rename(tmp_path / "gone")
    write(path, line(2), line(3), line(4))
    window = read(str(path), Position(since.inode, 10**6, since.time))
    assert (window.pools["shop_blue"].requests, window.complete) == (2, False)


def test_a_time_is_found_in_a_long_log(tmp_path: pathlib.Path) -> None:
    """Not a line more or less, without reading all of it."""
    path = tmp_path / "access.log"
    write(path, *[line(number, uri="/" + "x" * (number % 700)) for number in range(5000)])
    for number in (0, 1, 17, 2500, 4998, 4999, 5000):
        assert requests(path, Position(0, 0, BEGAN + number)) == 5000 - number
