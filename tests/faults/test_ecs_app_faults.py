# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for an application on ECS when something goes wrong: canaries with errors, backups that fail, runs that are killed; and ways back in time.

The tests of this file are one story, in their order.
"""

from __future__ import annotations

import typing as t

import pytest
from aws_platform import power_off
from bluegreen import LONG, PATIENCE, until
from ecs_app import Application, application_in


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Application]:
    """An application with its release v1."""
    with application_in(tmp_path_factory.mktemp("ecs_app")) as made:
        yield made


def test_a_release_that_never_served_is_none_to_go_to(app: Application) -> None:
    """A release that serves, and one that never becomes healthy."""
    done = app("deploy", "-e", "app_release=v2")
    assert done.status == 0, done.output[-5000:]
    failed = app("deploy", "-e", "app_release_archive=app:v3-unready", ecs_app_start_timeout=3, ecs_app_migrate_command=[])
    assert failed.status != 0 and "v2 goes on serving in slot green" in failed.words, failed.output
    refused = app("rollback", "-e", "app_release=v3-unready")
    assert refused.status != 0 and "release v3-unready has not been live on ledger; known are: v1, v2" in refused.words, refused.output
    app.web.is_whole("app:v2")


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
    power_off(process)
    process.communicate(timeout=PATIENCE)
    until(lambda: app.web.info()["deployment"].get("state") == "interrupted", "the end of the lock")
    done = app("rollback", **quick)
    assert done.status == 0, done.output[-5000:]
    assert (app.report()["release"], app.report()["previous"], bool(app.report()["took_over"])) == ("v5", "v5", True)
    app.web.is_whole("app:v5")
