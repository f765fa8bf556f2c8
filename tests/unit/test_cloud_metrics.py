# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the cloud of the tests do not grow with the load, nor with time."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "cloud"))

from cloudsim.metrics import Key, Series

BEGIN = 1_000_000.0
KEY = Key("eu-central-1", "TargetResponseTime", (("LoadBalancer", "app/web/1"), ("TargetGroup", "targetgroup/blue/1")))


def test_numbers_are_added_up_in_slots() -> None:
    """What is asked for is exact all the same."""
    series = Series(1.0, 3600)
    new = [series.add(KEY, BEGIN + number / 1000, float(number)) for number in range(10_000)]
    assert len(series) == len([point for point in new if point]) == 10
    found = series.between("eu-central-1", "TargetResponseTime", {("TargetGroup", "targetgroup/blue/1")}, BEGIN, BEGIN + 10)
    assert sum(point.sample_count for point in found) == 10_000 and sum(point.sum for point in found) == sum(range(10_000))
    assert (min(point.min for point in found), max(point.max for point in found)) == (0, 9999)
    assert series.between("eu-central-1", "TargetResponseTime", {("TargetGroup", "targetgroup/green/1")}, BEGIN, BEGIN + 10) == []


def test_what_is_old_is_forgotten() -> None:
    """And nothing else."""
    series = Series(1.0, 60)
    for second in range(120):
        series.add(KEY, BEGIN + second, 1.0)
    series.forget(BEGIN + 120)
    assert len(series) == 59
