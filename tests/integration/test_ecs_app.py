# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks deploy and rollback for an application on ECS: planned, deployed under load, refused, taken back, and reported as on hosts.

The tests of this file are one story, in their order. The cloud is a simulator (tests/fixtures/cloud). Canaries and runs that are cut off are in tests/faults.
"""

from __future__ import annotations

import typing as t

import pytest
import yaml
from aws_platform import ROOT
from bluegreen import SECRET
from ecs_app import DATABASE, Application, application_in


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Application]:
    """An application with its release v1."""
    with application_in(tmp_path_factory.mktemp("ecs_app")) as made:
        yield made


def test_a_run_that_cannot_be_right_is_refused(app: Application) -> None:
    """Before anything is asked of AWS, or before anything is changed."""
    nameless = app("deploy")
    assert nameless.status != 0 and "name the image with -e app_release_archive=REPOSITORY:TAG" in nameless.words, nameless.output
    nothing = app("rollback")
    assert nothing.status != 0 and "no release was live before v1; known are: none; nothing was changed" in nothing.words, nothing.output
    assert app.report()["failure"].startswith("plan: no release was live before v1")


def test_check_mode_says_what_would_be_done(app: Application) -> None:
    """And neither registers, nor records, nor writes a report."""
    before, reports = app.web.site.cloud.calls(), app.reports()
    done = app("deploy", "--check", "-e", "app_release=v2")
    assert done.status == 0, done.output
    plan = f"deploy of ledger v2: take a snapshot of the database {DATABASE}, register a revision of ledger, migrate: true, make ledger-green with 2 tasks"
    assert plan in done.words and "give green 100 % of the traffic for 0.5 s, stop ledger-blue" in done.words, done.output
    calls = app.web.site.cloud.calls() - before
    assert not [name for name in calls if any(word in name for word in ("Register", "Create", "Update", "Put", "Modify", "Run"))], calls
    assert app.reports() == reports


def test_a_good_release_is_deployed_and_reported_as_on_hosts(app: Application) -> None:
    """No request is lost, the database has a snapshot from before, and the report has the keys of the one of hosts."""
    with app.web.load() as load:
        done = app("deploy", "-vvv", "-e", "app_release=v2")
    assert done.status == 0, done.output[-5000:]
    assert load.lost == 0 and load.answers["app:v2"] > 0, load.answers
    app.web.is_whole("app:v2")
    assert SECRET not in done.output
    report = app.report()
    of_hosts = yaml.safe_load((ROOT / "roles/app_host/tasks/report.yml").read_text())[-2]["vars"]["__app_host_report"]
    assert set(report) == set(of_hosts)
    expected = {"operation": "deploy", "application": "ledger", "release": "v2", "previous": "v1", "slot": "green"}
    assert report["hosts"] == report["balancers"] == ["ledger"]
    assert {key: report[key] for key in expected} == expected
    assert (report["changed"], report["result"], report["failure"], report["back_seconds"], report["took_over"]) == (True, "ok", "", 0, "")
    assert [phase["name"] for phase in report["phases"]] == ["plan", "backup", "roll", "record"]
    assert [(gate["name"], gate["result"]) for gate in report["gates"]] == [("after the switch", "pass")]
    assert report["started"] < report["finished"]
    assert "mainstay_deploy:" in done.output
    snapshots = app.snapshots()
    assert len(snapshots) == 1 and snapshots[0][0].startswith(f"{DATABASE}-before-v2-") and snapshots[0][1] == "available"


def test_a_second_run_changes_nothing(app: Application) -> None:
    """No snapshot either."""
    done = app("deploy", "-e", "app_release=v2")
    assert (done.status, done.changed) == (0, 0), done.output[-5000:]
    assert "deploy of ledger v2: nothing to do, it serves in slot green" in done.words
    assert (app.report()["changed"], app.report()["previous"], len(app.snapshots())) == (False, "v2", 1)


def test_a_release_that_never_becomes_healthy_gets_no_request(app: Application) -> None:
    """The old one goes on serving."""
    with app.web.load() as load:
        done = app("deploy", "-e", "app_release_archive=app:v3-unready", ecs_app_start_timeout=3, ecs_app_migrate_command=[])
    assert done.status != 0 and load.lost == 0 and set(load.answers) == {"app:v2"}, load.answers
    assert "could not deploy ledger v3-unready: roll:" in done.words, done.output
    assert "v2 goes on serving in slot green, and no request went to v3-unready" in done.words
    app.web.is_whole("app:v2")
    report = app.report()
    assert (report["result"], report["release"], report["slot"], report["gates"][-1]["result"]) == ("failed", "v3-unready", "green", "fail")


def test_a_rollback_leads_to_the_release_before(app: Application) -> None:
    """Planned, then done under load, with the same report; the failed release is none that it could lead to, and before the first one there is none."""
    planned = app("rollback", "--check")
    assert planned.status == 0 and "rollback of ledger v1: start ledger-blue with 2 tasks" in planned.words, planned.output
    app.web.is_whole("app:v2")
    with app.web.load() as load:
        done = app("rollback")
    assert done.status == 0, done.output[-5000:]
    assert load.lost == 0 and load.answers["app:v1"] > 0, load.answers
    app.web.is_whole("app:v1")
    assert (app.report()["operation"], app.report()["release"], len(app.snapshots())) == ("rollback", "v1", 1)
    nowhere = app("rollback")
    assert nowhere.status != 0 and "no release was live before v1; known are: v1, v2; nothing was changed" in nowhere.words, nowhere.output
