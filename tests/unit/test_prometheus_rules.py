# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each alert has a test that makes it fire and one that keeps it quiet, these pass, and it says what it is about."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "roles/prometheus/files/rules"
TESTS = ROOT / "tests/unit/prometheus"


def alerts() -> t.Iterator[dict[str, t.Any]]:
    """All alerts of the role."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def expected(fires: bool) -> set[str]:
    """Names of the alerts that some promtool test expects to fire, or to stay quiet."""
    names = set()
    for path in sorted(TESTS.glob("*.yml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            names.update(case["alertname"] for case in test["alert_rule_test"] if bool(case["exp_alerts"]) == fires)
    return names


def test_every_alert_is_tested_both_ways() -> None:
    """No alert without a test that makes it fire and one that keeps it quiet."""
    names = {rule["alert"] for rule in alerts()}
    assert names
    assert names == expected(fires=True)
    assert names == expected(fires=False)


def test_every_alert_says_what_it_is_about() -> None:
    """Severity, summary and description."""
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet(path: pathlib.Path) -> None:
    """What the promtool tests expect is so."""
    run = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
