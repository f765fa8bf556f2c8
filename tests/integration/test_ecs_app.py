# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks deploy and rollback for an application on ECS: planned, deployed under load, refused, taken back, and reported as on hosts.

The tests of this file are one story, in their order. The cloud is a simulator (tests/fixtures/cloud).
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from aws_platform import ROOT, Done
from bluegreen import LONG, PATIENCE, SECRET, Shop, shop, until
from cloud import REGION, cloud
from policies import key_of
from servers import Runner

DATABASE = "ledger-db"


@dataclasses.dataclass
class Application:
    """An application on ECS with its inventory."""

    web: Shop
    folder: pathlib.Path

    @property
    def variables(self) -> dict[str, t.Any]:
        """What the inventory says of it."""
        place = self.web.place
        access = {"endpoint_url": self.web.site.cloud.endpoint_url, "access_key": key_of("ecs_app"), "secret_key": SECRET}
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ecs_app_name": place["name"],
            "ecs_app_cluster": place["cluster"],
            "ecs_app_production": place["production"],
            "ecs_app_test": self.web.site.test_rule,
            "ecs_app_target_groups": place["target_groups"],
            "ecs_app_region": REGION,
            "ecs_app_access": access,
            "ecs_app_repository": "app",
            "ecs_app_database": DATABASE,
            "ecs_app_backup_before_migration": True,
            "ecs_app_migrate_command": ["true"],
            "ecs_app_smoke_checks": [{"type": "http", "url": self.web.test_url()}],
            "ecs_app_verify_checks": [{"type": "http", "url": "http://{}:{}/".format(*self.web.site.address)}],
            "ecs_app_canary_steps": [20, 50],
            "ecs_app_canary_seconds": 1,
            "ecs_app_gate_seconds": 0.5,
            "ecs_app_settle_seconds": 0.6,
            "ecs_app_poll_interval": 0.2,
            "ecs_app_healthy_polls": 2,
            "ecs_app_start_timeout": PATIENCE,
            "ecs_app_lock_ttl": PATIENCE,
            "ecs_app_report_dir": str(self.folder / "reports"),
        }

    def start(self, playbook: str, *arguments: str, **more: t.Any) -> subprocess.Popen[str]:
        """Start a playbook."""
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"children": {"app": {}, "postgres": {}, "ecs": {"hosts": {"ledger": {**self.variables, **more}}}}}}))
        program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
        argv = [program, "-i", str(inventory), *arguments, str(ROOT / f"playbooks/{playbook}.yml")]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def __call__(self, playbook: str, *arguments: str, **more: t.Any) -> Done:
        """Run a playbook."""
        process = self.start(playbook, *arguments, **more)
        output, unused = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, output)

    def report(self) -> dict[str, t.Any]:
        """Return the newest report."""
        newest = max((self.folder / "reports").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return dict(json.loads(newest.read_text()))

    def reports(self) -> int:
        """Return how many there are."""
        return len(list((self.folder / "reports").glob("*.json")))

    def snapshots(self) -> list[tuple[str, str]]:
        """Return names and states of the snapshots that were taken."""
        rows = self.web.site.cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        return sorted((row["DBSnapshotIdentifier"], row["Status"]) for row in rows)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Application]:
    """An application with its release v1, and a database."""
    folder = tmp_path_factory.mktemp("ecs_app")
    with cloud() as running, shop(running, "ledger", Runner(folder), folder) as web:
        rds = running.client("rds")
        kind = {"DBInstanceClass": "db.t4g.micro", "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "app", "MasterUserPassword": "Sentinel1"}
        rds.create_db_instance(DBInstanceIdentifier=DATABASE, **kind)
        until(lambda: rds.describe_db_instances(DBInstanceIdentifier=DATABASE)["DBInstances"][0]["DBInstanceStatus"] == "available", "the database")
        yield Application(web, folder)


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
    """The old one goes on serving, and what failed is no release to go to."""
    with app.web.load() as load:
        done = app("deploy", "-e", "app_release_archive=app:v3-unready", ecs_app_start_timeout=3, ecs_app_migrate_command=[])
    assert done.status != 0 and load.lost == 0 and set(load.answers) == {"app:v2"}, load.answers
    assert "could not deploy ledger v3-unready: roll:" in done.words, done.output
    assert "v2 goes on serving in slot green, and no request went to v3-unready" in done.words
    app.web.is_whole("app:v2")
    report = app.report()
    assert (report["result"], report["release"], report["slot"], report["gates"][-1]["result"]) == ("failed", "v3-unready", "green", "fail")
    refused = app("rollback", "-e", "app_release=v3-unready")
    assert refused.status != 0 and "release v3-unready has not been live on ledger; known are: v1, v2" in refused.words, refused.output


def test_a_canary_with_errors_is_taken_back(app: Application) -> None:
    """Within seconds that the report has; its snapshot fails no run, and a backup that fails does."""
    done = app("canary", "-e", "app_release=v4-errors", ecs_app_smoke_checks=[], ecs_app_canary_seconds=60)
    assert done.status != 0 and "v2 goes on serving in slot green, which got all requests back within" in done.words, done.output
    report = app.report()
    assert (report["operation"], report["result"]) == ("canary", "failed")
    assert 0 < report["back_seconds"] < PATIENCE
    app.web.is_whole("app:v2")
    without = app("deploy", "-e", "app_release=v4", ecs_app_database="no-such-database")
    assert without.status != 0 and "backup: the backup before the migration failed:" in without.words, without.output
    assert "the database is as it was; nothing was changed" in without.words
    app.web.is_whole("app:v2")


def test_a_good_canary_is_promoted(app: Application) -> None:
    """By the steps of the inventory."""
    done = app("canary", "-e", "app_release=v5", ecs_app_migrate_command=[])
    assert done.status == 0, done.output[-5000:]
    assert [gate["name"] for gate in app.report()["gates"]] == ["canary 20 %", "canary 50 %", "after the switch"]
    app.web.is_whole("app:v5")


def test_rollbacks_lead_back_in_time(app: Application) -> None:
    """Planned, to the release before, then further back, then nowhere; and to a named one, once."""
    planned = app("rollback", "--check")
    assert planned.status == 0 and "rollback of ledger v2: start ledger-green with 2 tasks" in planned.words, planned.output
    app.web.is_whole("app:v5")
    for release in ("v2", "v1"):
        with app.web.load() as load:
            done = app("rollback")
        assert done.status == 0, done.output[-5000:]
        assert load.lost == 0 and load.answers[f"app:{release}"] > 0, load.answers
        app.web.is_whole(f"app:{release}")
        assert (app.report()["operation"], app.report()["release"], len(app.snapshots())) == ("rollback", release, 2)
    done = app("rollback")
    assert done.status != 0 and "no release was live before v1; known are: v1, v2, v5; nothing was changed" in done.words, done.output
    named = app("rollback", "-e", "app_release=v5")
    assert named.status == 0, named.output[-5000:]
    app.web.is_whole("app:v5")
    again = app("rollback", "-e", "app_release=v5")
    assert (again.status, again.changed) == (0, 0), again.output[-5000:]


def test_a_deployment_that_was_cut_off_is_taken_back(app: Application) -> None:
    """By a rollback without a name, which leads to what served before; while its run lives, it is not touched."""
    quick = {"ecs_app_lock_ttl": 20, "ecs_app_migrate_command": []}
    process = app.start("deploy", "-e", "app_release=v6", ecs_app_gate_seconds=LONG, **quick)
    until(lambda: app.web.site.live_weights() in ((100, 0), (0, 100)) and app.web.record() is not None and app.web.record().share == 100, "the switch")
    locked = app("rollback", **quick)
    assert locked.status != 0 and "could not take the lock:" in locked.words, locked.output
    os.killpg(process.pid, 9)
    process.communicate(timeout=PATIENCE)
    until(lambda: app.web.info()["deployment"].get("state") == "interrupted", "the end of the lock")
    done = app("rollback", **quick)
    assert done.status == 0, done.output[-5000:]
    assert (app.report()["release"], app.report()["previous"], bool(app.report()["took_over"])) == ("v5", "v5", True)
    app.web.is_whole("app:v5")
