# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recovery_report: what is left behind, in a folder and in a bucket, by one run, by the same again, and by many at once."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from conftest import Runner, S3Server

Options = dict[str, t.Any]


@pytest.fixture
def options(tmp_path: pathlib.Path) -> Options:
    """A drill that held."""
    (tmp_path / "store").mkdir()
    return {
        "title": "Drill of ledger",
        "summary": "On a throwaway host.",
        "name": "ledger",
        "operation": "drill",
        "level": "restore",
        "started": "2026-11-22T03:00:00Z",
        "finished": "2026-11-22T03:04:10Z",
        "phases": [{"name": "restore PostgreSQL", "started": "2026-11-22T03:00:02Z", "seconds": 201.4, "outcome": "ok"}],
        "targets": {"rto_seconds": "30m"},
        "measured": {"rto_seconds": 248.0},
        "evidence": [{"name": "The application answers", "outcome": "ok", "seen": "200"}],
        "lost": ["30 s of writes"],
        "dest": str(tmp_path / "report"),
        "store": {"type": "local", "path": str(tmp_path / "store")},
        "metrics": str(tmp_path / "drill.prom"),
        "late_after": "8d",
    }


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_left_behind(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """Planned as it is done, there afterwards, and not done twice."""
    planned = run_module("recovery_report", options, check=True)
    assert contents(tmp_path) == {}
    done = run_module("recovery_report", options)
    for key in ("changed", "actions", "diff", "success", "problems", "report", "history"):
        assert done[key] == planned[key], key
    assert done["changed"] and done["success"] and done["problems"] == []
    key = done["actions"][0].split()[1]
    assert done["actions"] == [
        f"add {key} to the history in {tmp_path}/store", f"make the folder {tmp_path}/report", f"write {tmp_path}/report/report.json",
        f"write {tmp_path}/report/report.html", f"write {tmp_path}/drill.prom",
    ]
    assert json.loads((tmp_path / "store" / key).read_text()) == done["history"][0]
    assert json.loads((tmp_path / "report/report.json").read_text()) == done["report"]
    assert done["report"]["rto_seconds"] == 248 and done["report"]["lost"] == ["30 s of writes"]
    page = (tmp_path / "report/report.html").read_text()
    assert "Drill of ledger" in page and "30 s of writes" in page and "4 min 8 s" in page
    # 2026-11-22T03:04:10Z
    assert 'mainstay_drill_last_success_timestamp_seconds{name="ledger",level="restore"} 1795316650' in (tmp_path / "drill.prom").read_text()
    assert [part["before_header"] for part in done["diff"]] == [f"{tmp_path}/report/report.json", f"{tmp_path}/drill.prom"]
    before = contents(tmp_path)
    again = run_module("recovery_report", options)
    assert not again["changed"] and again["actions"] == [] and again["diff"] == [] and contents(tmp_path) == before


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
def test_the_figures_are_ones_for_prometheus(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """Prometheus' own tool reads them."""
    run_module("recovery_report", options)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=(tmp_path / "drill.prom").read_text(), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_failed_run_is_told_and_kept(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """The module succeeds, and says that the drill did not; the figures of the success before stay."""
    run_module("recovery_report", options)
    failed = run_module("recovery_report", {**options, "finished": "2026-11-22T03:05:00Z", "measured": {"rto_seconds": 1801}})
    assert not failed["failed"] and not failed["success"] and failed["problems"] == ["rto_seconds is 30 min 1 s, its target is 30 min"]
    figures = (tmp_path / "drill.prom").read_text()
    assert 'mainstay_drill_success{name="ledger",level="restore"} 0' in figures
    assert 'mainstay_drill_last_success_timestamp_seconds{name="ledger",level="restore"} 1795316650' in figures
    assert [line["success"] for line in failed["history"]] == [True, False]
    assert "1 of the last 2 runs succeeded" in (tmp_path / "report/report.html").read_text()


def test_runs_that_end_at_once_lose_no_line(run_module: Runner, options: Options, s3_server: S3Server) -> None:
    """In a bucket: each has its line, although all began with the same history."""
    bucket = s3_server.new_bucket()
    given = {**options, "store": s3_server.store(bucket, "ledger"), "dest": None, "metrics": None}
    started = [run_module.start("recovery_report", {**given, "measured": {"rto_seconds": number}}) for number in range(4)]
    results = [run_module.finish(process) for process in started]
    assert all(result["changed"] for result in results), results
    assert len(s3_server.keys(bucket)) == 4
    read = run_module("recovery_report", {**given, "measured": {"rto_seconds": 0}})
    assert not read["changed"] and sorted(line["measured"]["rto_seconds"] for line in read["history"]) == [0, 1, 2, 3]
    assert s3_server.secret_key not in json.dumps([results, read])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metrics": "/tmp/drill.txt"}, "only files that end in .prom"),
        ({"metrics": "/nowhere/at/all/drill.prom"}, "its parent folder does not exist"),
        ({"dest": "/nowhere/at/all"}, "could not write the report to /nowhere/at/all: its parent folder does not exist"),
        ({"name": "../ledger"}, "could not use the history '../ledger'"),
        ({"late_after": "soon"}, "could not read the duration 'soon'"),
        ({"finished": "2026-11-22T02:00:00Z"}, "which is before it started"),
    ],
)
def test_refusals(run_module: Runner, options: Options, tmp_path: pathlib.Path, given: Options, words: str) -> None:
    """One sentence, before anything is written."""
    result = run_module("recovery_report", {**options, **given})
    assert result["failed"] and words in result["msg"], result
    assert contents(tmp_path) == {}


def test_a_line_that_is_none(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """Something else among the lines is named."""
    (tmp_path / "store/drills/ledger").mkdir(parents=True)
    (tmp_path / "store/drills/ledger/20260101T000000Z-0.json").write_text("{}")
    result = run_module("recovery_report", options)
    assert result["failed"] and "drills/ledger/20260101T000000Z-0.json" in result["msg"] and "move it away" in result["msg"]


def test_a_store_that_fails_takes_neither_report_nor_figures(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """The module fails and names the store; what is on the host is written all the same, and counts once when it is told again."""
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("no folder\n")
    result = run_module("recovery_report", options)
    assert result["failed"] and f"{tmp_path}/store" in result["msg"], result
    assert json.loads((tmp_path / "report/report.json").read_text())["success"]
    before = (tmp_path / "drill.prom").read_text()
    assert 'mainstay_drill_success{name="ledger",level="restore"} 1' in before
    (tmp_path / "store").unlink()
    (tmp_path / "store").mkdir()
    again = run_module("recovery_report", options)
    assert not again["failed"] and len(again["history"]) == 1 and (tmp_path / "drill.prom").read_text() == before


def test_drills_are_expected(run_module: Runner, options: Options, tmp_path: pathlib.Path) -> None:
    """recovery_metrics: planned, done, not done twice, and nothing of what is known is lost; a drill that never comes has a time from which it is late."""
    given = {"path": str(tmp_path / "drill.prom"), "name": "ledger", "late_after": "8d"}
    planned = run_module("recovery_metrics", given, check=True)
    assert planned["changed"] and planned["actions"] == [f"write {given['path']}"] and not (tmp_path / "drill.prom").exists()
    done = run_module("recovery_metrics", given)
    assert done["changed"] and done["actions"] == planned["actions"] and done["diff"][0]["before"] == ""
    figures = (tmp_path / "drill.prom").read_text()
    assert done["diff"][0]["after"] == figures
    assert 'mainstay_drill_last_success_timestamp_seconds{name="ledger",level="restore"} 0' in figures
    assert 'mainstay_drill_late_after_seconds{name="ledger",level="restore"} 691200' in figures
    again = run_module("recovery_metrics", given)
    assert not again["changed"] and again["actions"] == again["diff"] == [] and (tmp_path / "drill.prom").read_text() == figures
    run_module("recovery_report", options)
    assert not run_module("recovery_metrics", given)["changed"]
    run_module("recovery_metrics", {**given, "level": "site", "late_after": "30d"})
    figures = (tmp_path / "drill.prom").read_text()
    assert 'mainstay_drill_success{name="ledger",level="restore"} 1' in figures
    assert 'mainstay_drill_late_after_seconds{name="ledger",level="site"} 2592000' in figures


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"path": "/tmp/drill.txt"}, "only files that end in .prom"),
        ({"path": "/nowhere/at/all/drill.prom"}, "its parent folder does not exist"),
        ({"late_after": "soon"}, "could not read the duration 'soon'"),
    ],
)
def test_what_cannot_be_expected(run_module: Runner, tmp_path: pathlib.Path, given: Options, words: str) -> None:
    """One sentence, before anything is written."""
    result = run_module("recovery_metrics", {"path": str(tmp_path / "drill.prom"), "name": "ledger", "late_after": "8d", **given})
    assert result["failed"] and words in result["msg"] and contents(tmp_path) == {}, result
