# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup a new standby is made from, as the role postgres_replication's script chooses it."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load() -> t.Any:
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("replica_from_archive", ROOT / "roles/postgres_replication/files/replica_from_archive.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load()


def backup(label: str, timeline: int, stop: str, cluster: int = 1, error: bool = False) -> dict[str, t.Any]:
    """A backup as pgBackRest lists it."""
    return {
        "label": label,
        "error": error,
        "database": {"id": cluster, "repo-key": 1},
        "archive": {"start": f"{timeline:08X}0000000000000001", "stop": f"{timeline:08X}0000000000000002"},
        "lsn": {"start": "0/1000000", "stop": stop},
    }


FULL = backup("20261122-100000F", 1, "0/3000000")
INCREMENTAL = backup("20261122-100000F_20261122-110000I", 1, "0/5000000")
LATER = backup("20261122-120000F", 1, "0/9000000")
NEW_TIMELINE = backup("20261122-130000F", 2, "0/8000000")
OLD_CLUSTER = backup("20261122-140000F", 1, "0/2000000", cluster=2)
BROKEN = backup("20261122-150000F", 2, "0/8500000", error=True)


@pytest.mark.parametrize(
    ("backups", "timeline", "parted", "expected"),
    [
        pytest.param([], 1, {}, "", id="none"),
        pytest.param([FULL, INCREMENTAL], 1, {}, INCREMENTAL["label"], id="the newest"),
        pytest.param([FULL, INCREMENTAL, LATER], 2, {1: script.position("0/7000000")}, INCREMENTAL["label"], id="before the history parted"),
        pytest.param([FULL], 2, {1: script.position("0/2FFFFFF")}, "", id="all after it"),
        pytest.param([FULL], 2, {1: script.position("0/3000000")}, FULL["label"], id="exactly where it parted"),
        pytest.param([FULL, LATER, NEW_TIMELINE], 2, {1: script.position("0/7000000")}, NEW_TIMELINE["label"], id="on the new timeline"),
        pytest.param([NEW_TIMELINE], 3, {1: script.position("0/7000000")}, "", id="a timeline that was given up"),
        pytest.param([FULL, OLD_CLUSTER], 1, {}, FULL["label"], id="not of another cluster"),
        pytest.param([NEW_TIMELINE, BROKEN], 2, {}, NEW_TIMELINE["label"], id="not one with errors"),
    ],
)
def test_choose(backups: list[dict[str, t.Any]], timeline: int, parted: dict[int, int], expected: str) -> None:
    """The newest good backup of the primary's own history."""
    stanza = {
        "name": "ledger",
        "db": [{"id": 1, "repo-key": 1, "system-id": 77, "version": "17"}, {"id": 2, "repo-key": 1, "system-id": 78, "version": "17"}],
        "backup": backups,
    }
    other = {"name": "other", "db": stanza["db"], "backup": [backup("20261122-160000F", timeline, "0/1000000")]}
    assert script.choose([other, stanza], "ledger", script.Primary(77, timeline, parted)) == expected


def test_history() -> None:
    """PostgreSQL's own form, with comments and reasons."""
    text = "1\t0/5000158\tbefore 2026-11-22 17:42:00+00\n\n2\t1/A0000000\tno recovery target specified\n"
    assert script.history(text) == {1: 0x5000158, 2: 0x1A0000000}


def test_nobody_to_follow(capsys: pytest.CaptureFixture[str]) -> None:
    """Patroni gives an empty connection where there is no leader."""
    assert script.main(["--stanza=ledger", "--datadir=/nowhere", "--connstring=", "--scope=ledger", "--role=replica"]) == 1
    assert "no member to follow" in capsys.readouterr().err
