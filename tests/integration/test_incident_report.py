# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident report: a real Prometheus that has seen a failover, reports of runs on the disk, and the playbook."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import playbooks
import pytest
from prometheus_server import Past, prometheus
from servers import Runner

END = 1795651200.0
"""26 November 2026, midnight UTC."""
MINUTE = 60 / 86400
BEGAN = 1 - 120 * MINUTE - 1 / 86400
"""In days since the beginning of the past: the primary goes at 22:00 UTC, and no rounding makes the point of that second one of before."""


def lasting(first: float, last: float) -> t.Callable[[float], float | None]:
    """A series that is there from one day to another."""
    return lambda day: 1.0 if first <= day < last else None


def known_past() -> Past:
    """data1 leads until 22:00, is down for 40 minutes, and data2 leads from 22:04 on."""
    past = Past(END, 1)
    past.series(
        "ALERTS", lasting(BEGAN + 4 * MINUTE, BEGAN + 40 * MINUTE), alertname="PostgresDown", alertstate="firing", severity="critical", instance="data1:9187"
    )
    past.series("ALERTS", lasting(BEGAN, BEGAN + 4 * MINUTE), alertname="PostgresDown", alertstate="pending", severity="critical", instance="data1:9187")
    past.series("ALERTS", lasting(BEGAN + 4 * MINUTE, 1), alertname="BackupLate", alertstate="firing", severity="warning", schedule="nightly")
    past.series("up", lambda day: 0.0 if BEGAN <= day < BEGAN + 40 * MINUTE else 1.0, job="postgres", instance="data1:9187")
    past.series("up", lambda day: 1.0, job="postgres", instance="data2:9187")
    past.series("patroni_primary", lambda day: float(day < BEGAN), instance="data1:8008")
    past.series("patroni_primary", lambda day: float(day >= BEGAN + 4 * MINUTE), instance="data2:8008")
    booted = END - 80 * 60
    past.series("node_boot_time_seconds", lambda day: booted if day > BEGAN + 40 * MINUTE else END - 9e6, instance="data1:9100")
    past.series("nginx_http_requests_total", lambda day: 86400 * 20 * day, instance="lb1:9113")
    return past


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """A Prometheus with that past."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), known_past()) as found:
        yield found


@pytest.fixture
def artefacts(tmp_path: pathlib.Path) -> pathlib.Path:
    """What runs left behind: a deployment ten minutes before, a backup long before, and what is none."""
    folder = tmp_path / "artifacts"
    for name in ("deploy", "runs", "diagnose"):
        (folder / name).mkdir(parents=True)
    began = END - 130 * 60
    deploy = {"operation": "deploy", "application": "shop", "release": "7", "result": "ok", "by": "jo", "started": began, "finished": began + 95.5}
    failed = {
        "operation": "rollback",
        "application": "shop",
        "result": "failed",
        "failure": "password=Sentinel99 refused",
        "started": END - 60,
        "finished": END - 50,
    }
    (folder / "deploy" / "a.json").write_text(json.dumps(deploy))
    (folder / "deploy" / "b.json").write_text(json.dumps(failed))
    (folder / "runs" / "old.json").write_text(json.dumps({"operation": "backup", "started": "2026-11-20T00:00:00Z", "finished": "2026-11-20T00:00:09Z"}))
    (folder / "runs" / "list.json").write_text("[]")
    (folder / "runs" / "broken.json").write_text("{")
    (folder / "diagnose" / "report.json").write_text(json.dumps({"title": "Diagnosis", "started": began, "finished": began}))
    return folder


def options(url: str, artefacts: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    """A report on that evening."""
    return {"prometheus": {"url": url}, "around": "2026-11-25T22:10:00+00:00", "before": "1h", "after": "110m", "artefacts": str(artefacts)} | more


def test_the_timeline(run_module: Runner, url: str, artefacts: pathlib.Path) -> None:
    """Everything in its order, and nothing of another day."""
    result = run_module("incident_report", options(url, artefacts, events=[{"time": "2026-11-25T23:41:00+01:00", "what": "A customer called"}]))
    assert not result["failed"], result
    report = result["report"]
    told = {event["what"]: event for event in report["timeline"]}
    assert set(told) == {
        "deploy shop 7, ok, by jo", "postgres on data1:9187 did not answer Prometheus", "PostgresDown on data1:9187", "BackupLate on schedule nightly",
        "PostgreSQL: data2:8008 took the lead from data1:8008, for 4 min there was none", "data1:9100 was started", "A customer called",
        "rollback shop, failed: password=******** refused",
    }, sorted(told)
    assert [event["at"] for event in report["timeline"]] == sorted(event["at"] for event in report["timeline"])
    down = told["postgres on data1:9187 did not answer Prometheus"]
    assert down["seconds"] == pytest.approx(2400, abs=300) and down["kind"] == "outage"
    alert = told["PostgresDown on data1:9187"]
    assert (alert["severity"], alert["kind"]) == ("critical", "alert") and alert["seconds"] == pytest.approx(2160, abs=320)
    assert told["BackupLate on schedule nightly"]["until"] is None
    assert told["A customer called"]["at"].startswith("2026-11-25T22:41:00")
    assert told["data1:9100 was started"]["at"].startswith("2026-11-25T22:40:00")
    assert report["events_by_kind"] == {"alert": 2, "outage": 1, "failover": 1, "change": 3, "note": 1}
    assert "Sentinel99" not in json.dumps(report)


def test_the_course(run_module: Runner, url: str, artefacts: pathlib.Path) -> None:
    """When it began, that it is not over, what came before; and what is not known."""
    report = run_module("incident_report", options(url, artefacts))["report"]
    assert report["began"].startswith("2026-11-25T22:0") and (report["ended"], report["duration_seconds"]) == (None, None)
    assert [event["what"] for event in report["suspects"]] == ["deploy shop 7, ok, by jo"]
    assert "The last change before it: deploy shop 7" in report["summary"]
    assert [gap for gap in report["gaps"] if "broken.json" in gap]
    over = run_module("incident_report", options(url, artefacts, around="2026-11-25T10:00:00Z"))["report"]
    assert (over["began"], over["timeline"], over["suspects"]) == (None, [], [])
    assert over["summary"].startswith("No alert was firing and every target answered")
    past = run_module("incident_report", options(url, artefacts, around="2026-11-01T10:00:00Z"))["report"]
    assert any("Prometheus has nothing of that time" in gap for gap in past["gaps"])
    without = run_module("incident_report", {name: value for name, value in options(url, artefacts).items() if name != "prometheus"})["report"]
    assert [event["kind"] for event in without["timeline"]] == ["change", "change"] and "no Prometheus was given" in without["gaps"][0]


def test_figures(run_module: Runner, url: str, artefacts: pathlib.Path) -> None:
    charts = {chart["title"]: chart for chart in run_module("incident_report", options(url, artefacts))["report"]["charts"]}
    assert set(charts) == {"Alerts", "Targets that do not answer", "HTTP requests"}
    assert max(value for _at, value in charts["Alerts"]["lines"][0]["points"]) == 2
    own = run_module("incident_report", options(url, artefacts, charts=[{"title": "Mine", "query": "up"}, {"title": "None", "query": "absent_metric"}]))[
        "report"
    ]
    assert [(chart["title"], [line["name"] for line in chart["lines"]]) for chart in own["charts"]] == [
        ("Mine", ["data1:9187, postgres", "data2:9187, postgres"])
    ]
    assert any("there is no data for the chart None" in gap for gap in own["gaps"])


def test_files(run_module: Runner, url: str, artefacts: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The skeleton is written once, and what people write into it stays."""
    wanted = options(url, artefacts, report_dir=str(tmp_path / "out"), title="The evening | of <the> failover")
    planned = run_module("incident_report", wanted, check=True, diff=True)
    assert planned["changed"] and not (tmp_path / "out").exists()
    done = run_module("incident_report", wanted, diff=True)
    assert (done["actions"], done["diff"]) == (planned["actions"], planned["diff"]) and len(done["files"]) == 3
    skeleton = tmp_path / "out" / "postmortem.md"
    text = skeleton.read_text()
    assert text.startswith("# The evening") and "| 2026-11-25 22:" in text and "deploy shop 7" in text and "## Actions" in text and "{" not in text
    skeleton.write_text("Our own words.")
    again = run_module("incident_report", wanted)
    assert (again["changed"], skeleton.read_text()) == (False, "Our own words.")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;the&gt;" in page and "<script" not in page and "Sentinel99" not in page + text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"around": "breakfast"}, "could not report on what happened around breakfast: that is no time"),
        ({"around": "2999-01-01T00:00:00Z"}, "is in the future"),
        ({"before": "30d"}, "more than 14 days"),
        ({"events": [{"time": "noon", "what": "x"}]}, "could not read the event 'x'"),
        ({"prometheus": {"url": "http://127.0.0.1:1"}}, "see whether the URL is right"),
    ],
)
def test_refused(run_module: Runner, url: str, artefacts: pathlib.Path, more: dict[str, t.Any], words: str) -> None:
    result = run_module("incident_report", {**options(url, artefacts), **more})
    assert result["failed"] and words in result["msg"], result


def test_artefacts_that_are_no_folder(run_module: Runner, url: str) -> None:
    result = run_module("incident_report", options(url, pathlib.Path(__file__)))
    assert result["failed"] and "it is no folder" in result["msg"]


def test_the_playbook(url: str, artefacts: pathlib.Path) -> None:
    """It reads the reports of the folder that it writes to, and leaves its own out."""
    given = {"reports_prometheus": {"url": url}, "reports_incident_around": "2026-11-25T22:10:00+00:00", "reports_dir": str(artefacts)}
    for _time in range(2):
        done = playbooks.run("incident_report", "-e", json.dumps(given))
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((artefacts / "incident" / "2026-11-25T22-10-00-00-00" / "report.json").read_text())
        assert sum(event["what"].startswith("deploy shop") for event in report["timeline"]) == 1
        assert datetime.datetime.fromisoformat(report["started"]).timestamp() == END - 170 * 60
        assert "The last change before it" in done.stdout and "changed=0" in done.stdout
