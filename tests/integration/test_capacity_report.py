# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity report on a real Prometheus whose past is known to the byte."""

from __future__ import annotations

import json
import math
import pathlib
import typing as t

import pytest
from prometheus_server import Past, prometheus
from servers import Runner

END = 1795651200.0
"""26 November 2026, midnight UTC."""
DAYS = 10
GIB = 1 << 30


def busy(day: float) -> float:
    """A share of a day's wave: 1 at noon, 0 at midnight."""
    return (1 - math.cos(2 * math.pi * day)) / 2


def known_past() -> Past:
    """A host that gets fuller by 1 GiB a day, and whose load is the same each day; a database whose connections are lost, and more."""
    past = Past(END, DAYS)
    disk = {"instance": "data1:9100", "mountpoint": "/var", "fstype": "ext4"}
    past.series("node_filesystem_size_bytes", lambda day: 100 * GIB, **disk)
    past.series("node_filesystem_avail_bytes", lambda day: (50 - day) * GIB, **disk)
    past.series("node_filesystem_size_bytes", lambda day: GIB, instance="data1:9100", mountpoint="/run", fstype="tmpfs")
    past.series("node_filesystem_avail_bytes", lambda day: GIB / 2, instance="data1:9100", mountpoint="/run", fstype="tmpfs")
    for core in "0123":
        # The integral of a tenth to half a core, in the rhythm of the day.
        past.series(
            "node_cpu_seconds_total",
            lambda day: 86400 * (0.3 * day - 0.2 * math.sin(2 * math.pi * day) / (2 * math.pi)),
            instance="data1:9100",
            cpu=core,
            mode="user",
        )
        past.series("node_cpu_seconds_total", lambda day: 86400 * day / 2, instance="data1:9100", cpu=core, mode="idle")
    past.series("node_memory_MemTotal_bytes", lambda day: 16 * GIB, instance="data1:9100")
    past.series("node_memory_MemAvailable_bytes", lambda day: 14 * GIB - busy(day) * GIB, instance="data1:9100")
    past.series("pg_settings_max_connections", lambda day: 100, instance="data1:9187", server="x")
    past.series("pg_stat_database_numbackends", lambda day: 20 + 4 * day + 10 * busy(day), instance="data1:9187", datname="ledger")
    past.series("nginx_http_requests_total", lambda day: 86400 * 50 * day, instance="lb1:9113")
    past.series("nginx_connections_active", lambda day: 12 if day > DAYS - 3 else None, instance="lb1:9113")
    return past


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """A Prometheus with that past."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), known_past()) as found:
        yield found


def options(url: str, **more: t.Any) -> dict[str, t.Any]:
    """The options of a report on the whole past."""
    return {"prometheus": {"url": url}, "days": DAYS, "end": "2026-11-26T00:00:00+00:00", **more}


def subjects(result: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """The entries of a report by resource."""
    assert not result["failed"], result
    return {entry["resource"]: entry for entry in result["report"]["subjects"]}


def test_what_grows_is_full_when_it_must_be(run_module: Runner, url: str) -> None:
    """Every figure follows from the past that was written."""
    result = run_module("capacity_report", options(url))
    found = subjects(result)
    disk = found["disk"]
    assert (disk["subject"], disk["trend"], disk["size"]) == ("data1:9100, /var", "rising", 100 * GIB)
    assert disk["growth_per_day"] == pytest.approx(GIB, rel=0.01)
    # 60 of 100 GiB at the end, full at 90, and a GiB a day. The peak of a day is its 95th percentile, so up to half a day early.
    assert disk["days_until_full"] == pytest.approx(30, abs=1)
    assert disk["full_on"] in ("2026-12-25", "2026-12-26")
    # In 90 days 150 GiB are used, which shall be 70 %.
    assert (disk["recommendation"], disk["recommended_size"]) == ("enlarge", 256 * GIB)
    connections = found["postgres_connections"]
    assert connections["growth_per_day"] == pytest.approx(4, rel=0.05) and connections["trend"] == "rising"
    assert connections["days_until_full"] == pytest.approx((90 - 69) / 4, abs=1.0)
    assert result["soonest_days"] == connections["days_until_full"] and result["report"]["subjects"][0] == connections
    assert [outcome["scenario"] for outcome in disk["scenarios"]] == ["as until now", "growth doubles", "half as much traffic again"]
    days = [outcome["days"] for outcome in disk["scenarios"]]
    assert days[1] == pytest.approx(days[0] / 2, abs=0.1) and days[2] == days[0]
    assert connections["scenarios"][2]["days"] < connections["scenarios"][0]["days"]


def test_a_rhythm_is_no_trend(run_module: Runner, url: str) -> None:
    """What is the same every day is steady, and never full."""
    found = subjects(run_module("capacity_report", options(url)))
    for resource in ("cpu", "memory"):
        assert (found[resource]["trend"], found[resource]["days_until_full"], found[resource]["full_on"]) == ("steady", None, None), found[resource]
    # The busiest hours use half of each of four cores.
    assert found["cpu"]["size"] == 4 and found["cpu"]["line"]["level"] == pytest.approx(2.0, abs=0.05)
    # Two to three of 16 GiB: four would do for 75 %.
    assert (found["memory"]["recommendation"], found["memory"]["recommended_size"]) == ("shrink", 4 * GIB)


def test_what_is_not_known_is_said(run_module: Runner, url: str) -> None:
    """No size, too few days, and no data at all."""
    result = run_module("capacity_report", options(url))
    found = subjects(result)
    assert (found["http_requests"]["size"], found["http_requests"]["days_until_full"]) == (None, None)
    assert found["http_requests"]["used"] == pytest.approx(50, rel=0.01)
    assert any("its size is not known" in note for note in found["http_requests"]["notes"])
    assert found["http_connections"]["trend"] == "unknown" and "3 whole days of data, and 7 are needed" in found["http_connections"]["notes"][0]
    assert [entry["resource"] for entry in result["report"]["missing"]] == ["redis_memory"]
    assert "returned no series" in result["report"]["missing"][0]["reason"]
    assert any(line.startswith("Redis memory: no data") for line in result["lines"])


def test_what_is_given_counts(run_module: Runner, url: str) -> None:
    """A size from a load test, a limit, a resource of one's own, one that is left out, and scenarios."""
    given = [
        {"id": "http_requests", "fixed_size": 100.0},
        {"id": "disk", "limit": 0.7},
        {"id": "backends", "title": "Backends", "usage": "sum by (datname) (pg_stat_database_numbackends)", "fixed_size": 1000.0},
    ]
    more = {"resources": given, "exclude": ["redis_memory"], "scenarios": [{"name": "sale", "load": 2.0}]}
    result = run_module("capacity_report", options(url, **more))
    found = subjects(result)
    assert result["report"]["missing"] == []
    assert found["disk"]["days_until_full"] == pytest.approx(10, abs=1)
    assert found["http_requests"]["used_percent"] == pytest.approx(50, abs=1)
    assert [(outcome["scenario"], outcome["days"]) for outcome in found["http_requests"]["scenarios"]] == [("sale", 0.0)]
    assert (found["backends"]["subject"], found["backends"]["title"], found["backends"]["size"]) == ("ledger", "Backends", 1000.0)


def test_files(run_module: Runner, url: str, tmp_path: pathlib.Path) -> None:
    """Check mode says what would be written; the second run changes nothing; the page stands alone."""
    folder = tmp_path / "new" / "capacity"
    wanted = options(url, report_dir=str(folder))
    planned = run_module("capacity_report", wanted, check=True, diff=True)
    assert planned["changed"] and not folder.exists()
    done = run_module("capacity_report", wanted, diff=True)
    assert (done["changed"], done["actions"], done["diff"]) == (True, planned["actions"], planned["diff"])
    assert done["files"] == [str(folder / "report.html"), str(folder / "report.json")]
    assert "Disk of data1:9100, /var" in done["diff"]["after"] and done["diff"]["before"] == ""
    again = run_module("capacity_report", wanted)
    assert (again["changed"], again["actions"]) == (False, [])
    assert json.loads((folder / "report.json").read_text()) == done["report"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    page = (folder / "report.html").read_text()
    assert "<script" not in page and "http-equiv" not in page and page.count("<svg viewBox") >= 5 and "src=" not in page


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"prometheus": {"url": "http://127.0.0.1:1"}}, "see whether the URL is right and the server runs"),
        ({"end": "yesterday"}, "could not report until yesterday: that is no time"),
        ({"days": 3}, "3 days are read, and 7 are the least"),
        ({"step": "1s"}, "could not take steps of 1 s"),
        ({"exclude": ["discs"]}, "could not leave out discs: there is no such resource"),
        ({"resources": [{"id": "new"}]}, "it has no usage"),
        ({"resources": [{"id": "cpu", "limit": 80.0}]}, "limit is 80"),
    ],
)
def test_refused(run_module: Runner, url: str, more: dict[str, t.Any], words: str) -> None:
    """One clear error before anything is written."""
    result = run_module("capacity_report", options(url, **more))
    assert result["failed"] and words in result["msg"], result


def test_a_wrong_query_is_no_silence(run_module: Runner, url: str) -> None:
    """What Prometheus refuses is told with its words."""
    result = run_module("capacity_report", options(url, resources=[{"id": "mine", "usage": "sum("}]))
    missing = {entry["resource"]: entry["reason"] for entry in result["report"]["missing"]}
    assert "parse error" in missing["mine"]
