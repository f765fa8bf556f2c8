# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets the lock of an application, through ansible-playbook and with real processes as its holders: never that of a run which is alive."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._release.controller import identity
from servers import Runner

HOURS = 7200
LOCK_TIMEOUT = 3600


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """An application's folder."""
    (tmp_path / "shop/releases").mkdir(parents=True)
    return tmp_path / "shop"


def hold(root: pathlib.Path, controller: dict[str, t.Any], age: float = HOURS) -> None:
    """Write the lock of another run."""
    taken = time.time() - age
    (root / "deploy.lock").write_text(json.dumps({"owner": "other", "by": "ops@ctl", "since": taken, "renewed": taken, "controller": controller}))


def task(root: pathlib.Path, **options: t.Any) -> dict[str, t.Any]:
    """A task that takes the lock, whatever comes of it."""
    given = {"root": str(root), "state": "locked", "owner": "me", "by": "me@ctl", "lock_timeout": LOCK_TIMEOUT, **options}
    return {"name": "Lock", "mainstay.ops.app_release": given, "failed_when": False}


def owner(root: pathlib.Path) -> str:
    """Whose lock it is."""
    return json.loads((root / "deploy.lock").read_text())["owner"]


def test_a_run_that_is_alive_keeps_its_lock_however_old_it_is(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """Only force takes it; when its process is gone, the next run has it at once."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as holder:
        try:
            hold(root, identity(holder.pid))
            refused, planned = Runner(tmp_path).tasks([task(root), {**task(root), "check_mode": True}]).results
            for answer in (refused, planned):
                assert f"its process {holder.pid} runs on this machine" in answer["msg"]
                assert "ops@ctl took it" in answer["msg"]
            assert owner(root) == "other"
            forced = Runner(tmp_path).tasks([task(root, force=True)]).results[0]
            assert (forced["changed"], forced["taken_over"]["owner"], owner(root)) == (True, "other", "me")
            hold(root, identity(holder.pid))
        finally:
            holder.kill()
            holder.wait()
    taken = Runner(tmp_path).tasks([{**task(root), "check_mode": True}, task(root)]).results
    assert [answer["actions"] for answer in taken] == [["take the lock from the run other"]] * 2
    assert owner(root) == "me"


def test_the_lock_of_another_controller_is_left_behind_after_a_time(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """That run cannot be judged from here, so its last sign of life counts."""
    elsewhere = {**identity(os.getpid()), "boot": "another", "machine": "another"}
    for age, expected in ((LOCK_TIMEOUT / 2, "other"), (HOURS, "me")):
        hold(root, elsewhere, age)
        answer = Runner(tmp_path).tasks([task(root)]).results[0]
        assert owner(root) == expected
        assert ("ops@ctl took it" in answer["msg"]) if expected == "other" else answer["taken_over"]["owner"] == "other"


def test_a_run_that_lost_its_lock_learns_so(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """It takes it neither from nobody nor from another run, and is told who has it."""
    taken, renewed = Runner(tmp_path).tasks([task(root), task(root, renew=True)]).results
    assert (taken["actions"], renewed["actions"]) == (["take the lock"], [])
    hold(root, {}, age=0)
    lost = Runner(tmp_path).tasks([task(root, renew=True)]).results[0]
    assert "could not go on with this run: it lost its lock: ops@ctl took it" in lost["msg"]
    assert (lost["lock"]["owner"], owner(root)) == ("other", "other")
    (root / "deploy.lock").unlink()
    free = Runner(tmp_path).tasks([task(root, renew=True)]).results[0]
    assert (free["lock"], "its lock is gone" in free["msg"]) == ({}, True)
    assert not (root / "deploy.lock").exists()
