# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the JSON of Grafana's dashboards (roles/grafana/files/dashboards/) of their source beside it. A test fails when they are not up to date."""

from __future__ import annotations

import json
import pathlib
import typing as t

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "roles/grafana/files"
SOURCE, TARGET = FOLDER / "dashboards.yml", FOLDER / "dashboards"
SCHEMA = 38
"""Version of the classic schema, of Grafana 9.5; later ones migrate it when they load it."""
COLUMNS = 24
HEIGHTS = {"stat": 5, "timeseries": 8, "bargauge": 8, "table": 8}
KEYS = {"title", "about", "type", "unit", "queries", "warn", "bad", "least", "exactly", "width", "empty", "max"}
Fact = dict[str, t.Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboards(source: t.Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the dashboards by name.

    Args:
        source: the content of ``dashboards.yml``.
    """
    return {name: _dashboard(name, told) for name, told in source.items()}


def _dashboard(name: str, told: Fact) -> Fact:
    return {
        "uid": f"mainstay-{name}",
        "title": told["title"],
        "description": told["about"],
        "tags": ["mainstay"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["mainstay"], "title": "Dashboards", "asDropdown": True, "includeVars": False, "keepTime": True}],
        "annotations": {"list": [_deploys()]},
        "templating": {"list": _variables(told.get("instance", ""))},
        "panels": _panels(told["rows"]),
    }


def _deploys() -> Fact:
    """Mark in every chart when another release began to serve."""
    expression = "count by (release) (ledger_build_info) unless count by (release) (ledger_build_info offset 1m)"
    return {
        "name": "Releases", "datasource": DATASOURCE, "enable": True, "iconColor": "blue", "expr": expression, "step": "60s",
        "titleFormat": "release {{release}}", "textFormat": "began to serve",
    }


def _variables(metric: str) -> list[Fact]:
    datasource = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "regex": "", "hide": 0, "refresh": 1, "current": {}}
    if not metric:
        return [datasource]
    query = f"label_values({metric}, instance)"
    instance = {
        "name": "instance", "label": "Instance", "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": "instance"}, "definition": query,
        "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".+", "current": {"text": "All", "value": "$__all"}, "hide": 0,
    }
    return [datasource, instance]


def _panels(rows: list[Fact]) -> list[Fact]:
    """Return panels with their places: from left to right, row by row."""
    found: list[Fact] = []
    top = 0
    for row in rows:
        found.append({"id": len(found) + 1, "type": "row", "title": row["title"], "collapsed": False, "panels": [], "gridPos": _place(0, top, COLUMNS, 1)})
        top, left, tallest = top + 1, 0, 0
        for told in row["panels"]:
            width, height = told["width"], HEIGHTS[told.get("type", "timeseries")]
            if left + width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            found.append(_panel(len(found) + 1, told, _place(left, top, width, height)))
            left, tallest = left + width, max(tallest, height)
        top += tallest
    return found


def _place(left: int, top: int, width: int, height: int) -> Fact:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(number: int, told: Fact, place: Fact) -> Fact:
    """Return a panel.

    Raises:
        ValueError: the source has a key that means nothing.
    """
    unknown = set(told) - KEYS
    if unknown:
        raise ValueError(f"the panel {told['title']} has {', '.join(sorted(unknown))}")
    kind = told.get("type", "timeseries")
    at_once = kind in ("stat", "table", "bargauge")
    targets = [
        {
            "refId": chr(ord("A") + order), "datasource": DATASOURCE, "expr": " ".join(expression.split()), "legendFormat": legend,
            **({"instant": True, "range": False, "format": "table" if kind == "table" else "time_series"} if at_once else {"range": True}),
        }
        for order, (legend, expression) in enumerate(told["queries"].items())
    ]
    defaults: Fact = {"unit": told.get("unit", "short"), "thresholds": _thresholds(told), "noValue": told.get("empty", "no data")}
    if kind == "timeseries":
        defaults |= {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False, **_limit_lines(told)}}
        if told.get("unit") == "s" or not told.get("unit"):
            defaults.pop("min")
    if "max" in told:
        defaults["max"] = told["max"]
    return {
        "id": number, "type": kind, "title": told["title"], "description": told.get("about", ""), "datasource": DATASOURCE, "gridPos": place,
        "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": _options(kind),
    }


def _thresholds(told: Fact) -> Fact:
    """Return the colours of values, each from some value on."""
    steps: list[tuple[str, float | None]] = [("text", None)]
    if "bad" in told:
        steps = [("green", None), ("yellow", told["warn"]), ("red", told["bad"])]
    elif "least" in told:
        steps = [("red", None), ("green", told["least"])]
    elif "exactly" in told:
        steps = [("red", None), ("green", told["exactly"]), ("red", told["exactly"] + 1)]
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps]}


def _limit_lines(told: Fact) -> Fact:
    return {"thresholdsStyle": {"mode": "line"}} if "bad" in told else {}


def _options(kind: str) -> Fact:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "table":
        return {"showHeader": True}
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if kind == "bargauge":
        return {"reduceOptions": reduce, "orientation": "horizontal", "displayMode": "basic"}
    return {"reduceOptions": reduce, "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto"}


def texts() -> dict[str, str]:
    """Return the content of each file by its name."""
    source = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return {f"{name}.json": json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in dashboards(source).items()}


def main() -> None:
    """Write the files, and remove those of dashboards that are gone."""
    wanted = texts()
    TARGET.mkdir(exist_ok=True)
    for path in TARGET.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (TARGET / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
