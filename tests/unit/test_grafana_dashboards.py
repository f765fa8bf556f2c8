# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's dashboards: up to date with their source, in Grafana's form, each of its own, and each expression is PromQL."""

from __future__ import annotations

import importlib.util
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import types
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "roles/grafana/files/dashboards"
PATHS = sorted(FOLDER.glob("*.json"))
TOPICS = {"overview", "http", "database", "cache", "hosts", "errors", "backups", "deploys"}
# Of Grafana's @grafana/data, packages/grafana-data/src/valueFormats/categories.ts.
UNITS = {"short", "s", "d", "bytes", "Bps", "percentunit", "reqps", "ops", "cps"}
VARIABLES = {"$__rate_interval": "5m", "$instance": ".+"}


def generator() -> types.ModuleType:
    """The program that makes them."""
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / ".ci/dashboards.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: pathlib.Path) -> dict[str, t.Any]:
    """Read a dashboard."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def panels(dashboard: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def filled(expression: str) -> str:
    """An expression with Grafana's variables filled in."""
    for name, content in VARIABLES.items():
        expression = expression.replace(name, content)
    return expression


def test_they_are_up_to_date() -> None:
    """Whoever changes the source runs .ci/dashboards.py."""
    assert {path.name: path.read_text(encoding="utf-8") for path in PATHS} == generator().texts()
    assert {path.stem for path in PATHS} == TOPICS


def test_each_is_one_of_its_own() -> None:
    """Grafana replaces a dashboard by another with the same uid, and finds a panel by its id."""
    found = [load(path) for path in PATHS]
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in found}) == len(found)
    for dashboard in found:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", dashboard["uid"]) and "id" not in dashboard
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids) and min(ids) > 0
        titles = [panel["title"] for panel in panels(dashboard)]
        assert len(set(titles)) == len(titles), dashboard["title"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_form(path: pathlib.Path) -> None:
    """What Grafana needs to show it, and what a reader needs to understand it."""
    dashboard = load(path)
    assert dashboard["schemaVersion"] >= 36 and dashboard["description"] and dashboard["editable"] is False
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert "datasource" in names
    assert ("instance" in names) == ("$instance" in path.read_text(encoding="utf-8"))
    for panel in panels(dashboard):
        where = f"{path.stem}: {panel['title']}"
        assert panel["type"] in ("timeseries", "stat", "table", "bargauge"), where
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, where
        assert panel["fieldConfig"]["defaults"]["noValue"], where
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, where
        assert panel["targets"] and len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), where
        for target in panel["targets"]:
            assert target["expr"] and target["legendFormat"] and target["datasource"] == panel["datasource"], where
            # A fixed range shows nothing where the targets are asked less often.
            ranges = [found for found in re.findall(r"\[([^\]:]+)", target["expr"]) if found != "$__rate_interval"]
            assert not ranges, where
            assert all(f"${name}" not in filled(target["expr"]) for name in ("", "__")), where
        values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert values[0] is None and values[1:] == sorted(values[1:]), where


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_two_panels_lie_on_each_other(path: pathlib.Path) -> None:
    places = [panel["gridPos"] for panel in load(path)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_expression_is_promql(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """As rules, which promtool parses."""
    dashboard = load(path)
    expressions = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    expressions += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    rules = [{"record": f"panel:{number}", "expr": filled(expression)} for number, expression in enumerate(expressions)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": path.stem, "rules": rules}]}), encoding="utf-8")
    run = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and f"SUCCESS: {len(rules)} rules found" in run.stdout, run.stdout + run.stderr


def test_an_unknown_key_of_the_source_is_refused() -> None:
    told = {"title": "t", "about": "a", "rows": [{"title": "r", "panels": [{"title": "p", "width": 6, "queries": {"a": "up"}, "untit": "s"}]}]}
    with pytest.raises(ValueError, match="the panel p has untit"):
        generator().dashboards({"x": told})
