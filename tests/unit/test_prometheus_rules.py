# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each alert has a test that makes it fire and one that keeps it quiet, these pass, and it says what it is about and what to do."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from prometheus_tree import ROLE, RUNBOOKS, TESTS, variables_of_tests, write_rules, write_tests

PAGES = ROOT / "docs/runbooks/alerts"
PARTS = ("**Means**", "**Look**", "**Do**", "**Verify**")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the role's rules, and promtool's tests of them beside."""
    found = tmp_path_factory.mktemp("rules")
    write_rules(found, **variables_of_tests())
    write_tests(found)
    return found


@pytest.fixture(scope="module")
def alerts(folder: pathlib.Path) -> list[tuple[str, dict[str, t.Any]]]:
    """All alerts of the role, with the name of their file."""
    found = []
    for path in sorted((folder / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += [(path.stem, rule) for rule in group["rules"] if "alert" in rule]
    return found


def expected(fires: bool) -> set[str]:
    """Names of the alerts that some promtool test expects to fire, or to stay quiet."""
    names = set()
    for path in sorted(TESTS.glob("*.yml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            names.update(case["alertname"] for case in test["alert_rule_test"] if bool(case["exp_alerts"]) == fires)
    return names


def test_every_alert_is_tested_both_ways(alerts: list[tuple[str, dict[str, t.Any]]]) -> None:
    """No alert without a test that makes it fire and one that keeps it quiet; the one that always fires has no quiet one."""
    names = {rule["alert"] for _page, rule in alerts}
    assert len(names) == len(alerts), "two alerts have the same name"
    assert names == expected(fires=True)
    assert names - {"Watchdog"} == expected(fires=False)


def test_every_alert_says_what_it_is_about(alerts: list[tuple[str, dict[str, t.Any]]]) -> None:
    """Severity, summary and description."""
    for _page, rule in alerts:
        assert rule["labels"]["severity"] in (("none",) if rule["alert"] == "Watchdog" else ("critical", "warning")), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]


def sections(page: str) -> dict[str, str]:
    """The headings of a page of runbooks, with what stands below each."""
    parts = re.split(r"(?m)^## (.+)\n", (PAGES / f"{page}.md").read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_a_runbook(alerts: list[tuple[str, dict[str, t.Any]]]) -> None:
    """Its link leads to a heading that has all parts, and no heading is about an alert that is gone."""
    for page, rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/{page}.md#{rule['alert'].lower()}"
        text = sections(page).get(rule["alert"])
        assert text, f"docs/runbooks/alerts/{page}.md has no heading {rule['alert']}"
        assert [part for part in PARTS if part not in text] == [], rule["alert"]
    for page in {page for page, _rule in alerts}:
        assert list(sections(page)) == [rule["alert"] for of, rule in alerts if of == page]


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_what_runbooks_run_exists(path: pathlib.Path) -> None:
    """A command that is copied at night works: its playbook is there, and knows the variables that it is given."""
    text = path.read_text(encoding="utf-8")
    for playbook, arguments in re.findall(r"playbooks/([a-z_]+\.yml)([^`]*)", text):
        assert (ROOT / "playbooks" / playbook).is_file(), playbook
        for variable in re.findall(r"-e '?([a-z_]+)=", arguments):
            found = subprocess.run(["git", "grep", "-qw", variable, "--", "playbooks", "roles"], cwd=ROOT, check=False)
            assert found.returncode == 0, f"{playbook}: nothing knows {variable}"
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (path.parent / link).exists(), link


def test_thresholds_are_documented_and_used() -> None:
    """The defaults in the argument spec are those of the role, and each moves a rule."""
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    known = yaml.safe_load((ROLE / "vars/main/thresholds.yml").read_text(encoding="utf-8"))["__prometheus_default_thresholds"]
    assert {name: option["default"] for name, option in options["prometheus_thresholds"]["options"].items()} == known
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROLE / "templates/rules").glob("*.j2"))
    assert set(re.findall(r"\blimit\.(\w+)", rules)) == set(known)


@needs_promtool
@pytest.mark.parametrize("variables", [{}, variables_of_tests()], ids=["defaults", "everything"])
def test_prometheus_takes_the_rules(variables: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    """With the role's defaults, too."""
    paths = write_rules(tmp_path, **variables)
    assert len(paths) == len(list((ROLE / "templates/rules").glob("*.j2")))
    run = subprocess.run(["promtool", "check", "rules", *map(str, paths)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@needs_promtool
@pytest.mark.parametrize("name", sorted(path.name for path in TESTS.glob("*.yml")))
def test_alerts_fire_and_stay_quiet(name: str, folder: pathlib.Path) -> None:
    """What the promtool tests expect is so."""
    run = subprocess.run(["promtool", "test", "rules", name], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
