# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines for people out of what a module reports."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.plugin_utils._progress_lines import (
    Lines,
    Record,
    amount_text,
    bytes_text,
    clean,
    default_interval,
    parse,
    poll_seconds,
    seconds_text,
)

MIB = 1 << 20


def record(state: str = "running", done: float = 0, seconds: float = 0, total: float | None = None, **fields: t.Any) -> Record:
    """A record of the phase ``dump ledger``."""
    given = {"number": 1, "phase": "dump ledger", "unit": "bytes", "exact": False, **fields}
    return Record(state=state, done=done, seconds=seconds, total=total, **given)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (312.4 * MIB, "312.4 MiB"),
        (1.2 * 1024 * MIB, "1.2 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5 * 1024**6, "5120.0 PiB"),
    ],
)
def test_bytes(amount: float, words: str) -> None:
    """Bytes have the largest unit that leaves a number of at least one."""
    assert bytes_text(amount) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7625, "2 h 07 min"),
    ],
)
def test_seconds(seconds: float, words: str) -> None:
    """Durations are as exact as somebody who waits wants them, and never 60 s or 60 min."""
    assert seconds_text(seconds) == words


def test_amounts_of_other_things() -> None:
    """What is counted may be something else than bytes."""
    assert amount_text(12, "databases") == "12 databases"


def test_names_cannot_drive_a_terminal() -> None:
    """A database may be called anything."""
    assert clean("dump a\x1b[2J\nb\u202e") == "dump a?[2J?b?"


def test_parse_leaves_out_what_is_no_record() -> None:
    """A line cut short, or of something else, spoils nothing."""
    good = json.dumps(dataclasses.asdict(record(done=5)))
    assert parse(f'{{"number": 1, "pha\n[]\nnull\n{good}\n{good[:30]}') == [record(done=5)]


def test_the_line_with_everything() -> None:
    """Amount, total, share, rate, and time left."""
    lines = Lines(terminal=True, interval=1)
    lines.see([record("begun", total=400 * MIB)], 100.0)
    lines.see([record(done=50 * MIB, seconds=1, total=400 * MIB)], 100.5)
    assert lines.see([record(done=100 * MIB, seconds=2, total=400 * MIB)], 102.0) == [
        "dump ledger: 100.0 MiB of about 400.0 MiB (25 %), 50.0 MiB/s, 6.0 s left"
    ]


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (record(done=100 * MIB, seconds=2), "dump ledger: 100.0 MiB, 50.0 MiB/s"),
        (record(done=100 * MIB, seconds=2, total=200 * MIB, exact=True), "dump ledger: 100.0 MiB of 200.0 MiB (50 %), 50.0 MiB/s, 2.0 s left"),
        (record(done=100 * MIB, seconds=2, total=99 * MIB), "dump ledger: 100.0 MiB, 50.0 MiB/s"),
        (record(done=100 * MIB, seconds=0.5, total=200 * MIB), "dump ledger: 100.0 MiB of about 200.0 MiB (50 %)"),
        (record(done=0, seconds=3), "dump ledger: 3.0 s so far"),
        (record(done=0, seconds=3, total=0), "dump ledger: 3.0 s so far"),
        (record(done=4, seconds=2, total=8, unit="databases", exact=True), "dump ledger: 4 of 8 databases (50 %), 2.0 databases/s, 2.0 s left"),
        (record("ended", done=100 * MIB, seconds=2, total=99 * MIB), "dump ledger: 100.0 MiB in 2.0 s (50.0 MiB/s)"),
        (record("ended", done=3, seconds=0.01), "dump ledger: 3 B in 0.0 s"),
        (record("ended", seconds=2), "dump ledger: 2.0 s"),
        (record("failed", seconds=2), "dump ledger: failed after 2.0 s"),
        (record("failed", done=MIB, seconds=2), "dump ledger: failed after 2.0 s and 1.0 MiB"),
    ],
)
def test_lines(seen: Record, line: str) -> None:
    """Nothing is told that is not known: no share without a total that holds, no rate of a moment."""
    lines = Lines(terminal=True, interval=1)
    lines.see([record("begun", total=seen.total, unit=seen.unit, exact=seen.exact)], 0.0)
    assert lines.see([seen], 1.0) == [line]


def test_the_begin_names_the_total() -> None:
    """A phase that has not moved yet is announced; a short one has one line alone."""
    assert Lines(True).see([record("begun", total=MIB)], 0.0) == ["dump ledger: about 1.0 MiB"]
    assert Lines(True).see([record("begun")], 0.0) == ["dump ledger"]
    assert Lines(True).see([record("begun"), record("ended", seconds=0.2)], 0.0) == ["dump ledger: 0.2 s"]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """A slow begin is forgotten."""
    lines = Lines(terminal=True, interval=1)
    lines.see([record(done=MIB * second, seconds=second) for second in range(60)], 60.0)
    fast = [record(done=59 * MIB + 10 * MIB * (second - 59), seconds=second) for second in range(60, 100)]
    assert lines.see(fast, 100.0)[-1].endswith(", 10.0 MiB/s")


def test_standing_still_is_seen() -> None:
    """The rate falls while nothing is reported, and then the silence itself is told."""
    lines = Lines(terminal=False, interval=1)
    lines.see([record(done=0, seconds=0), record(done=20 * MIB, seconds=2)], 0.0)
    assert lines.see([], 8.0) == ["dump ledger: 20.0 MiB, 2.0 MiB/s"]
    assert lines.see([], 30.0) == ["dump ledger: 20.0 MiB, nothing new for 30 s"]


def test_a_job_log_has_a_line_in_ten_seconds() -> None:
    """Ten minutes of steady work, reported twice a second: the begin, the end, and at most sixty lines between."""
    lines = Lines(terminal=False)
    said = lines.see([record("begun", total=1200 * MIB)], 0.0)
    for half in range(1, 1200):
        said += lines.see([record(done=half * MIB, seconds=half / 2, total=1200 * MIB)], half / 2)
    said += lines.see([record("ended", done=1200 * MIB, seconds=600, total=1200 * MIB)], 600.0)
    assert 55 <= len(said) <= 62
    assert said[-1] == "dump ledger: 1.2 GiB in 10 min 00 s (2.0 MiB/s)"


def test_phases_side_by_side() -> None:
    """Each has its own line and its own end."""
    lines = Lines(terminal=True, interval=1)
    assert len(lines.see([record("begun"), record("begun", number=2, phase="dump audit")], 0.0)) == 2
    said = lines.see([record("ended", seconds=2), record(done=MIB, seconds=2, number=2, phase="dump audit")], 2.0)
    assert said == ["dump ledger: 2.0 s", "dump audit: 1.0 MiB, 512.0 KiB/s"]


def test_intervals() -> None:
    """A person sees more than a job log, most at first; looks at the host become rarer up to 5 seconds."""
    assert [default_interval(elapsed, False) for elapsed in (0, 5, 1000)] == [10.0, 10.0, 10.0]
    assert [default_interval(elapsed, True) for elapsed in (0, 50, 1000)] == [1.0, 5.0, 10.0]
    looks = [poll_seconds(elapsed) for elapsed in range(0, 100)]
    assert looks == sorted(looks) and looks[0] <= 0.5 and looks[-1] == 5.0
