# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that a scheduled backup leaves for Prometheus."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import metrics

NOW = 1_800_000_000.0
LOGICAL = metrics.Schedule("nightly", "ledger", "postgres", "logical", "", 93600, None)
SAMPLE = re.compile(r'mainstay_backup_[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\} -?[0-9.e+]+')


def backup(hour: int, size: int = 100, good: bool = True, method: str = "logical", kind: str = "", verified: str | None = None) -> dict[str, t.Any]:
    """A backup as the info modules list it."""
    moment = f"2027-01-15T{hour:02}:00:00Z"
    contents = {"pgbackrest": {"type": kind}} if kind else {}
    return {
        "id": f"20270115T{hour:02}0000Z-00000000", "method": method, "good": good, "started": moment, "recoverable_to": moment, "bytes_stored": size // 4,
        "bytes_plain": size, "verified_at": verified, "contents": contents,
    }


def figures(schedule: metrics.Schedule, state: dict[str, t.Any], operation: str = "") -> dict[str, float]:
    """The samples of the text, by the rest of their names; those of runs only for one operation."""
    found = {}
    for line in metrics.render(schedule, state).splitlines():
        if not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            if 'operation="' not in line or f'operation="{operation}"' in line:
                found[line.split("{")[0].removeprefix("mainstay_backup_")] = float(line.rsplit(" ", 1)[1])
    return found


def at(hour: int) -> float:
    """The Unix time of that hour."""
    return metrics.seconds_of(f"2027-01-15T{hour:02}:00:00Z")


def test_nothing_there_yet() -> None:
    """No backup is a time of 0, which is late, and no size at all."""
    state = metrics.learn({}, LOGICAL, {"backups": []}, None, NOW)
    found = figures(LOGICAL, state)
    assert found == {
        "newest_good_timestamp_seconds": 0, "newest_verified_timestamp_seconds": 0, "count": 0, "since_timestamp_seconds": NOW, "late_after_seconds": 93600,
        "store_readable": 1, "metrics_timestamp_seconds": NOW,
    }


def test_good_ones_count_and_the_usual_size_is_a_median() -> None:
    """A backup that is not good is neither the newest one nor part of what is usual."""
    sizes = [5, 100, 110, 120, 130, 140, 150, 160]
    listing = {"backups": [*(backup(hour, size) for hour, size in enumerate(sizes)), backup(8, 40, verified="2027-01-15T09:30:00Z"), backup(9, good=False)]}
    found = figures(LOGICAL, metrics.learn({}, LOGICAL, listing, None, NOW))
    assert found["newest_good_timestamp_seconds"] == at(8)
    assert found["newest_verified_timestamp_seconds"] == at(9) + 1800
    assert found["recoverable_to_timestamp_seconds"] == at(8)
    assert (found["bytes"], found["plain_bytes"], found["usual_plain_bytes"], found["count"]) == (10, 40, 130, 9)


@pytest.mark.parametrize(
    ("backup_type", "newest", "usual", "count"),
    [("full", 2, 300, 2), ("differential", 4, None, 3), ("incremental", 5, 8, 5)],
)
def test_types_of_physical_backups(backup_type: str, newest: int, usual: int | None, count: int) -> None:
    """A stronger type counts, a weaker one does not, and sizes are compared within a type."""
    schedule = metrics.Schedule("wal", "ledger", "postgres", "physical", backup_type, 60, 120)
    kinds = [("full", 300), ("full", 310), ("incr", 8), ("diff", 40), ("incr", 9)]
    listing = {"backups": [backup(0), *(backup(hour, size, method="physical", kind=kind) for hour, (kind, size) in enumerate(kinds, start=1))]}
    found = figures(schedule, metrics.learn({}, schedule, listing, None, NOW))
    assert found["newest_good_timestamp_seconds"] == at(newest)
    assert found.get("usual_plain_bytes") == usual
    assert found["count"] == count
    assert found["verify_late_after_seconds"] == 120


def test_snapshots_of_aws() -> None:
    """Their moment is that of their data, and nobody tells their size; one that is in progress or was proven wrong does not count."""
    schedule = metrics.Schedule("shop", "shop", "rds", "snapshot", "", 108000, 691200)
    rows = [
        {"id": f"shop-2027011500000{hour}-1a2b3c", "arn": "arn:aws:rds:eu-central-1:1:snapshot:s", "method": "snapshot", "good": good, "bytes_stored": None,
         "recoverable_from": f"2027-01-15T{hour:02}:00:00Z", "recoverable_to": f"2027-01-15T{hour:02}:00:00Z", "verified_at": verified}
        for hour, good, verified in ((1, True, "2027-01-15T04:00:00Z"), (2, True, None), (3, False, None))
    ]
    found = figures(schedule, metrics.learn({}, schedule, {"backups": rows}, metrics.Run("backup", True, True, 9.0), NOW), "backup")
    assert found["newest_good_timestamp_seconds"] == found["recoverable_to_timestamp_seconds"] == at(2)
    assert found["newest_verified_timestamp_seconds"] == at(4)
    assert (found["count"], found["late_after_seconds"], found["verify_late_after_seconds"], found["last_run_success"]) == (2, 108000, 691200, 1)
    assert not {"bytes", "plain_bytes", "usual_plain_bytes"} & set(found)


def test_a_store_that_does_not_answer_takes_nothing_back() -> None:
    """The times stand still, the run has failed, the figures are fresh."""
    before = metrics.learn({}, LOGICAL, {"backups": [backup(1)]}, metrics.Run("backup", True, True, 3.0), NOW)
    after = metrics.learn(before, LOGICAL, None, metrics.Run("backup", False, True, 1.5), NOW + 60)
    found = figures(LOGICAL, after, "backup")
    assert found["newest_good_timestamp_seconds"] == at(1)
    assert (found["store_readable"], found["last_run_success"], found["last_run_seconds"]) == (0, 0, 1.5)
    assert (found["since_timestamp_seconds"], found["last_run_timestamp_seconds"], found["metrics_timestamp_seconds"]) == (NOW, NOW + 60, NOW + 60)


def test_what_a_restore_replaced_does_not_count() -> None:
    """It is younger than the backups that somebody asked for, and none of them."""
    aside = {**backup(9), "labels": {"before_restore": backup(8)["id"]}}
    found = figures(LOGICAL, metrics.learn({}, LOGICAL, {"backups": [backup(8), aside]}, None, NOW))
    assert (found["newest_good_timestamp_seconds"], found["count"]) == (at(8), 1)


def test_runs_are_kept_by_operation() -> None:
    """A look in between changes nothing of how the last runs ended."""
    state = metrics.learn({}, LOGICAL, None, metrics.Run("backup", True, False, 3.0), NOW)
    state = metrics.learn(state, LOGICAL, None, metrics.Run("verify", False, True, 4.0), NOW + 1)
    state = metrics.learn(state, LOGICAL, {"backups": []}, None, NOW + 2)
    assert (figures(LOGICAL, state, "backup")["last_run_success"], figures(LOGICAL, state, "verify")["last_run_success"]) == (1, 0)
    assert (figures(LOGICAL, state, "backup")["last_run_mine"], figures(LOGICAL, state, "verify")["last_run_mine"]) == (0, 1)


def test_a_state_of_an_older_version() -> None:
    """What it lacks is left out until the next run."""
    old = {"since": NOW, "mine": 1, "runs": {"backup": {"timestamp": NOW, "success": 1}}}
    found = figures(LOGICAL, metrics.learn(old, LOGICAL, None, None, NOW), "backup")
    assert found["last_run_success"] == 1
    assert "last_run_mine" not in found


def test_redis_counts_whatever_its_method() -> None:
    """The catalogue of Redis has no methods to choose from."""
    schedule = metrics.Schedule("cache", "ledger", "redis", "snapshot", "", 60, None)
    assert figures(schedule, metrics.learn({}, schedule, {"backups": [backup(3, method="psync")]}, None, NOW))["newest_good_timestamp_seconds"] == at(3)


def test_a_backup_without_a_time_has_that_of_its_id() -> None:
    """As one that pgBackRest took by itself."""
    schedule = metrics.Schedule("wal", "ledger", "postgres", "physical", "full", 60, None)
    listing = {"backups": [{**backup(4, method="physical", kind="full"), "started": None}]}
    assert figures(schedule, metrics.learn({}, schedule, listing, None, NOW))["newest_good_timestamp_seconds"] == at(4)


def test_labels_are_escaped() -> None:
    """A name with a quotation mark does not make another label."""
    schedule = metrics.Schedule('a"b\\c\nd', "ledger", "postgres", "logical", "", 60, None)
    assert r'schedule="a\"b\\c\nd"' in metrics.render(schedule, metrics.learn({}, schedule, None, None, NOW))


def test_files_are_replaced_in_one_step(tmp_path: pathlib.Path) -> None:
    """A reader that has the old file open reads it to its end; nothing else stays in the folder."""
    path = tmp_path / "ledger.prom"
    metrics.write(str(path), "old\n")
    with open(path, encoding="utf-8") as reader:
        metrics.write(str(path), "new\n")
        assert reader.read() == "old\n"
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["ledger.prom"]
    with pytest.raises(MainstayError, match="could not write"):
        metrics.write(str(tmp_path / "missing" / "ledger.prom"), "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_state_is_none(tmp_path: pathlib.Path, text: str) -> None:
    """The figures begin anew."""
    (tmp_path / "state").write_text(text)
    assert metrics.read_state(str(tmp_path / "state")) == {}
    (tmp_path / "state").write_text(metrics.dump(metrics.learn({}, LOGICAL, None, None, NOW)))
    assert metrics.read_state(str(tmp_path / "state"))["since"] == NOW


def test_files_are_as_large_as_what_a_restore_brings() -> None:
    """An incremental backup without a change holds next to nothing itself, which is no loss."""
    schedule = metrics.Schedule("hourly", "app1", "files", "tar", "", 3900, None)
    listing = [{**backup(hour, size=size), "kind": "files", "method": "tar", "contents": {"type": type_, "bytes": 1000}} for hour, size, type_ in (
        (1, 1000, "full"), (2, 7, "incremental"), (3, 9, "incremental"))]
    found = figures(schedule, metrics.learn({}, schedule, {"backups": listing}, None, NOW))
    assert (found["count"], found["plain_bytes"], found["usual_plain_bytes"]) == (3, 1000, 1000)
    assert found["newest_good_timestamp_seconds"] == at(3)
