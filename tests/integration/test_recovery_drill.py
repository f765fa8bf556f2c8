# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role recovery_drill on this host: a drill that holds, one on a damaged backup, one that cannot be tried, and what the policy says of them."""

from __future__ import annotations

import json
import pathlib
import time
import typing as t

import pytest
import yaml
from conftest import Run, Runner
from exporters import exporter
from prometheus_server import ask, prometheus
from prometheus_tree import write_rules
from redis_jobs import SECRET, start_redis
from test_recovery_notice import Receiver, hook
from test_recovery_sandbox import Drills, cache, drills
from waiting import until

__all__ = ["cache", "drills", "hook", "start_redis"]

ROLE = "mainstay.ops.recovery_drill"
Play = t.Callable[..., Run]
GOOD = "mainstay_backup_newest_good_timestamp_seconds"


def role(*parts: str, **variables: t.Any) -> list[dict[str, t.Any]]:
    """The tasks that run some files of the role."""
    return [{"name": part, "ansible.builtin.include_role": {"name": ROLE, "tasks_from": part}, "vars": variables} for part in parts]


@pytest.fixture
def play(drills: Drills, run_module: Runner, tmp_path: pathlib.Path, hook: Receiver) -> Play:  # noqa: F811
    """Run the role on the backups of the cache; apt is left out."""
    (tmp_path / "textfile").mkdir()
    identity = pathlib.Path(drills.options["encryption"]["identity_file"]).read_text(encoding="utf-8")
    variables = {
        "mainstay_no_log": False,  # the modules themselves hide what is secret
        "recovery_drill_name": "ledger",
        "recovery_drill_parts": [{"part": "cache"}],
        "recovery_drill_store": drills.options["store"],
        "recovery_drill_encryption": {"type": "age"},
        "recovery_drill_identity": identity,
        "recovery_drill_work_dir": drills.options["work_dir"],
        "recovery_drill_textfile_dir": str(tmp_path / "textfile"),
        "recovery_drill_state_dir": str(tmp_path / "state"),
        "recovery_drill_report_dir": str(tmp_path / "report"),
        "recovery_drill_policy": {"cache": {"recovery_point": "1h", "copies": 0, "retention": {"min_good": 1}}},
        "recovery_drill_notices": [{"type": "webhook", "url": f"http://127.0.0.1:{hook.port}/{SECRET}"}],
    }

    def run(*arguments: str, parts: t.Sequence[str] = ("assert", "rehearse", "report", "notify"), **given: t.Any) -> Run:
        done = run_module.tasks(role(*parts, **{**variables, **given}), *arguments)
        assert SECRET not in done.output and "AGE-SECRET-KEY" not in done.output
        return done

    return run


def policy_of(play: Play) -> dict[str, t.Any]:
    """What the policy says."""
    done = play(parts=("look", "policy"), recovery_drill_kind="redis", recovery_drill_fail_on="never")
    assert done.status == 0, done.output
    return next(result for result in done.results if "findings" in result)


def test_drills_are_reported_kept_told_and_judged(play: Play, drills: Drills, hook: Receiver, tmp_path: pathlib.Path) -> None:  # noqa: F811
    """First nothing was drilled, then it holds, then the newest backup is damaged: each is in the report, the history, the figures and the message."""
    drills.take("redis_snapshot")
    assert [finding["what"] for finding in policy_of(play)["findings"]][-1] == "it was never drilled at the level restore"
    planned = play("--check")
    assert planned.status == 0 and "restore the newest good backup of cache (redis ledger)" in planned.output, planned.output
    assert hook.got == [] and not (tmp_path / "report").exists()

    held = play()
    assert held.status == 0, held.output
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["success"] and report["targets"] == {"cache_rpo_seconds": 3600, "cache_rto_seconds": 300}
    assert "Drill of ledger: restore" in (tmp_path / "report/report.html").read_text()
    assert 'mainstay_drill_success{name="ledger",level="restore"} 1' in (tmp_path / "textfile/mainstay-drill.prom").read_text()
    assert policy_of(play)["findings"] == [] and policy_of(play)["met"] == {"cache": True}

    newest = drills.take("redis_snapshot")["redis_snapshot"]
    drills.damage("redis", newest)
    failed = play()
    assert failed.status == 0 and "FAILED" in failed.output and newest in failed.output, failed.output
    assert 'mainstay_drill_success{name="ledger",level="restore"} 0' in (tmp_path / "textfile/mainstay-drill.prom").read_text()
    assert len(list((drills.root / "store/drills/ledger").iterdir())) == 2
    assert [document["success"] for _path, _headers, document in hook.got] == [True, False]
    assert any(newest in line for line in hook.got[1][2]["lines"])
    findings = [finding["what"] for finding in policy_of(play)["findings"]]
    assert len(findings) == 1 and findings[0].startswith("the last drill failed: ") and newest in findings[0]


def test_a_damaged_newest_backup_raises_the_alerts(play: Play, drills: Drills, run_module: Runner, tmp_path: pathlib.Path) -> None:  # noqa: F811
    """The drill finds the damage, the newest good backup is the one before, which is too old by now, and the role's rules say both."""
    textfile, late = tmp_path / "textfile", 20

    def leave_figures() -> float:
        """As the timer of a host does; return when the newest good backup was taken."""
        listing = run_module("redis_snapshot_info", {"name": "ledger", "store": drills.options["store"]})
        figures = {"path": str(textfile / "nightly.prom"), "schedule": "nightly", "kind": "redis", "method": "snapshot", "late_after": str(late)}
        left = run_module("backup_metrics", {**figures, "name": "ledger", "listing": listing})
        assert not left["failed"], left
        return next(float(line.split()[-1]) for line in (textfile / "nightly.prom").read_text().splitlines() if line.startswith(f"{GOOD}{{"))

    rules = next(path for path in write_rules(tmp_path / "rules") if path.name == "backup.yml")
    alerts = {rule["alert"]: rule["expr"] for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]}
    (tmp_path / "prometheus").mkdir()
    collector = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={textfile}"]
    with exporter("node", collector) as port:
        scrape = {"job_name": "node", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        with prometheus(tmp_path / "prometheus", config=json.dumps({"scrape_configs": [scrape]})) as url:
            drills.take("redis_snapshot")
            before = leave_figures()
            until(lambda: time.time() > before + late, "the age of the first backup")
            newest = drills.take("redis_snapshot")["redis_snapshot"]
            assert leave_figures() > before
            until(lambda: [one for one in ask(url, GOOD) if float(one["value"][1]) > before], "the figures of the newest backup")
            assert ask(url, alerts["BackupLate"]) == [] == ask(url, alerts["DrillFailed"])
            drills.damage("redis", newest)
            done = play()
            assert done.status == 0 and "FAILED" in done.output and newest in done.output, done.output
            assert leave_figures() == before
            until(lambda: ask(url, alerts["DrillFailed"]), "the alert of the drill")
            [late_one] = until(lambda: ask(url, alerts["BackupLate"]), "the alert of the backup")
            assert late_one["metric"]["name"] == "ledger" and float(late_one["value"][1]) > late


def test_a_drill_that_cannot_be_tried_is_a_failed_one(play: Play, hook: Receiver, tmp_path: pathlib.Path) -> None:  # noqa: F811
    """It is reported, and a message that nobody takes does not hide it."""
    hook.status = 500
    done = play(recovery_drill_work_dir="/nowhere")
    assert done.status == 0 and "there is no such folder" in done.output and "it answered 500" in done.output
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert not report["success"] and report["lost"] is None
    assert "the drill could be tried: could not use work_dir /nowhere" in report["problems"][0]
    planned = play("--check", recovery_drill_work_dir="/nowhere")
    assert planned.status != 0 and "there is no such folder" in planned.output


@pytest.mark.parametrize("given", [
    {"recovery_drill_parts": []},
    {"recovery_drill_store": {}},
    {"recovery_drill_identity": ""},
    {"recovery_drill_application": {"argv": ["true"]}},
])
def test_refusals(play: Play, given: dict[str, t.Any]) -> None:
    """What cannot be rehearsed is refused before anything is done."""
    done = play(parts=("assert",), **given)
    assert done.status != 0 and "Nothing was changed. A drill needs" in done.output
