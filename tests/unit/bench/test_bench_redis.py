# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of Redis judges, and what it says of it."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import figures  # noqa: E402  pylint: disable=wrong-import-position
import measure  # noqa: E402  pylint: disable=wrong-import-position
from snapshot import report  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20


def result(key: str, *seconds: float, own: int = 30 * MIB, staged: int = 0, **more: t.Any) -> figures.Result:
    """A peer with runs of so many seconds."""
    costs = [measure.Cost(each, 2.0, 100 * MIB, own, staged, (), "") for each in seconds]
    return figures.Result(key, key, "what it does", costs=costs, stored=5_000_000, **more)


def findings(*changed: figures.Result, **more: t.Any) -> report.SnapshotFindings:
    """Findings that meet every target, but for some peers."""
    peers = {
        "redis-snapshot-plain": result("redis-snapshot-plain", 9, 10, 30, ours=True),
        "redis-snapshot": result("redis-snapshot", 11, 11, 30, ours=True),
        "redis-snapshot-s3": result("redis-snapshot-s3", 12, ours=True),
        "redis-cli": result("redis-cli", 10, 11, 10.5, one_stream=True),
        "redis-cli-age": result("redis-cli-age", 12, one_stream=True),
        "bgsave": result("bgsave", 5, staged=900_000_000),
    }
    given = {"noop_plays": [(1.0, 1.2, 1.9), (1.0, 1.2, 1.5)], "noop_memory": {"redis-snapshot": 25 * MIB}, **more}
    results = list({**peers, **{each.key: each for each in changed}}.values())
    return report.SnapshotFindings(size=10**9, raw_bytes=10**9, rounds=3, results=results, keys=7, plain_bytes=600_000_000, **given)


PLAIN, SPEED, FOLDER, BUCKET, STAGED, NOOP = range(6)
"""The targets, in their order."""


def verdicts(found: report.SnapshotFindings) -> list[bool | None]:
    """Whether each target is met."""
    return [target.met for target in report.targets(found)]


def test_targets_met() -> None:
    """Medians decide: one slow run does not. What stages beside us is no fault of ours."""
    found = findings()
    assert verdicts(found) == [True] * 6
    text = report.page(found)
    assert "1.05 times as fast as redis-cli" in text and "`make bench-redis SIZE=1G`" in text and "1.00 GB of the server's memory in 7 keys" in text
    assert "25 MiB of its own are the interpreter" in text and "600 MB as a snapshot. 3 rounds" in text


@pytest.mark.parametrize(
    ("changed", "more", "missed"),
    [
        (result("redis-snapshot-plain", 10.6, ours=True), {}, PLAIN),
        (result("redis-snapshot", 12.1, ours=True), {}, SPEED),
        (result("redis-snapshot", 9, ours=True, own=64 * MIB), {}, FOLDER),
        (result("redis-snapshot-s3", 9, ours=True, own=64 * MIB), {}, BUCKET),
        (result("redis-snapshot-s3", 9, ours=True), {"small_memory": {"redis-snapshot-s3": 70 * MIB}}, BUCKET),
        (result("redis-snapshot", 9, ours=True, staged=1), {}, STAGED),
        (result("redis-snapshot", 9, ours=True), {"noop_plays": [(1.0, 1.2, 2.1)]}, NOOP),
    ],
)
def test_a_target_that_is_missed_says_so(changed: figures.Result, more: dict[str, t.Any], missed: int) -> None:
    """Each can be missed alone; memory counts with little data as well."""
    found = findings(changed, **more)
    assert [place for place, met in enumerate(verdicts(found)) if met is False] == [missed]
    assert "**not met**" in report.page(found)


def test_what_was_not_measured_is_not_met() -> None:
    """A peer of ours that failed leaves no verdict in our favour."""
    found = findings(result("redis-snapshot", 9, ours=True), noop_plays=[])
    for place in (0, 1):
        found.results[place].problem = "JobFailed: it restored other data than were there"
    assert verdicts(found) == [None, None, None, True, None, None]
    assert "**Failed**: JobFailed: it restored other data" in report.page(found)
