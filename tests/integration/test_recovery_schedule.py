# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills by a timer: what the role recovery_drill writes for systemd, that systemd takes it, and that what it starts drills, reports, and tells of failure.

There is no systemd on loopback that would start the unit: its commands are run as they stand in it, with the variables that it sets, on the files that a host
gets of this collection.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import shlex
import subprocess
import sys
import typing as t
import zipfile

import pytest
from conftest import AgeKeys, PostgresServer, Run, Runner
from redis_jobs import SECRET, RedisServer, start_redis
from test_recovery_sandbox import Drills, cache, drills

from ansible_collections.mainstay.ops.plugins.module_utils._schedule import bundle

__all__ = ["AgeKeys", "PostgresServer", "RedisServer", "cache", "drills", "start_redis"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIGURES = 'mainstay_drill_{figure}{{name="ledger",level="restore"}} '


@dataclasses.dataclass
class Host:
    """Folders that stand for those of a host, and what its timer starts."""

    root: pathlib.Path
    run_module: Runner
    drills: Drills
    identity: str

    def configure(self, *arguments: str, **given: t.Any) -> Run:
        """Run the part of the role that writes; what only a systemd does is left out."""
        variables = {
            "recovery_drill_name": "ledger",
            "recovery_drill_parts": [{"part": "cache"}],
            "recovery_drill_store": self.drills.options["store"],
            "recovery_drill_encryption": {"type": "age"},
            "recovery_drill_identity": self.identity,
            "recovery_drill_policy": {"cache": {"recovery_point": "1h", "copies": 0}},
            "recovery_drill_work_dir": self.drills.options["work_dir"],
            "recovery_drill_textfile_dir": str(self.root / "textfile"),
            "recovery_drill_state_dir": str(self.root / "state"),
            "recovery_drill_schedule_identity_file": str(self.root / "etc/identity"),
            "recovery_drill_schedule_path": str(self.root / "opt"),
            "__recovery_drill_config_dir": str(self.root / "etc"),
            "__recovery_drill_run_dir": str(self.root / "run"),
            "__recovery_drill_unit_dir": str(self.root / "units"),
            "backup_runtime": {"runtime": {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}},
        }
        task = {
            "name": "Write", "ansible.builtin.include_role": {"name": "mainstay.ops.recovery_drill", "tasks_from": "schedule_configure"},
            "vars": {**variables, **given},
        }
        defaults = {"mainstay.ops.config_tree": {"state_dir": str(self.root / "generations")}}
        done = self.run_module.tasks([{"name": "Host", "module_defaults": defaults, "block": [task]}], *arguments)
        assert SECRET not in done.output and "AGE-SECRET-KEY" not in done.output
        return done

    def unit(self, name: str) -> str:
        """The text of a unit."""
        return (self.root / "units" / name).read_text()

    def start(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service as it stands there, with what the unit sets and nothing of this run."""
        lines = [line.partition("=") for line in self.unit("mainstay-drill.service").splitlines()]
        given = dict(value.split("=", 1) for key, _equals, value in lines if key == "Environment")
        [argv] = [shlex.split(value) for key, _equals, value in lines if key == command]
        (self.root / "run").mkdir(exist_ok=True)
        # The collection of the host alone, not the checkout that the tests run from.
        given |= {"ANSIBLE_COLLECTIONS_PATH": str(self.root / "collections"), "PATH": os.environ["PATH"], **environment}
        return subprocess.run(argv, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/", timeout=300)

    @property
    def figures(self) -> str:
        """What Prometheus reads."""
        return (self.root / "textfile/mainstay-drill.prom").read_text()

    def figure(self, name: str) -> float:
        """One of them."""
        prefix = FIGURES.format(figure=name)
        return float(next(line.removeprefix(prefix) for line in self.figures.splitlines() if line.startswith(prefix)))


@pytest.fixture
def host(drills: Drills, run_module: Runner, tmp_path: pathlib.Path) -> Host:  # noqa: F811
    """A host whose runtime is that of the tests, with the collection as hosts get it."""
    for name in ("opt", "textfile", "units"):
        (tmp_path / name).mkdir()
    (tmp_path / "opt/venv").symlink_to(sys.prefix)
    with zipfile.ZipFile(io.BytesIO(bundle.build(str(ROOT)))) as archive:
        archive.extractall(tmp_path / "collections/ansible_collections/mainstay/ops")
    identity = pathlib.Path(drills.options["encryption"]["identity_file"]).read_text(encoding="utf-8")
    return Host(tmp_path, run_module, drills, identity)


def test_the_units_are_ones_that_systemd_takes(host: Host) -> None:
    """A check writes nothing and says what a run does; a second run changes nothing; drills are expected from the first on; the key is in no job."""
    planned = host.configure("--check")
    assert planned.status == 0, planned.output
    assert sum(result["changed"] for result in planned.results) == 2
    assert list((host.root / "units").iterdir()) == [] and list((host.root / "textfile").iterdir()) == []
    done = host.configure()
    assert done.status == 0, done.output
    assert sum(result["changed"] for result in done.results) == 2
    assert host.figure("last_success_timestamp_seconds") == 0 and host.figure("late_after_seconds") == 8 * 86400 and host.figure("since_timestamp_seconds") > 0
    assert "mainstay_drill_success" not in host.figures
    before = host.figures
    again = host.configure()
    assert again.status == 0 and not any(result["changed"] for result in again.results), again.output
    assert host.figures == before

    units = [str(host.root / "units" / name) for name in ("mainstay-drill.service", "mainstay-drill.timer")]
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "OnCalendar=Sun *-*-* 05:30:00" in host.unit("mainstay-drill.timer").splitlines()
    assert "Persistent=true" in host.unit("mainstay-drill.timer").splitlines()
    job = json.loads((host.root / "etc/job.json").read_text())
    assert job["recovery_drill_encryption"] == {"type": "age", "identity_file": str(host.root / "etc/identity")} and "AGE-SECRET-KEY" not in json.dumps(job)
    assert {name: (host.root / "etc" / name).stat().st_mode & 0o777 for name in ("job.json", "identity")} == {"job.json": 0o600, "identity": 0o600}

    refused = host.configure(recovery_drill_schedule_on_calendar="each Sunday")
    assert refused.status != 0 and "systemd-analyze" in refused.output and "Sun *-*-*" in host.unit("mainstay-drill.timer")
    limited = host.configure(recovery_drill_schedule_settings=["MemoryMax=4G", "Nice=19"])
    assert limited.status == 0 and host.unit("mainstay-drill.service").splitlines()[-2:] == ["MemoryMax=4G", "Nice=19"]

    gone = host.configure(recovery_drill_schedule_state="absent")
    assert gone.status == 0 and list((host.root / "units").iterdir()) == []
    assert not (host.root / "etc/job.json").exists() and not (host.root / "etc/identity").exists()
    assert host.figures == before


def test_what_the_timer_starts_drills_and_reports(host: Host) -> None:
    """A drill that holds, then one that cannot: each is in the figures, and what systemd runs afterwards adds nothing to what was reported."""
    host.drills.take("redis_snapshot")
    assert host.configure().status == 0
    assert host.start("ExecStartPre").returncode == 0
    held = host.start("ExecStart")
    assert held.returncode == 0, held.stdout + held.stderr
    assert host.figure("success") == 1 and host.figure("last_success_timestamp_seconds") > 0 and host.figure("late_after_seconds") == 8 * 86400
    assert json.loads((host.root / "state/report.json").read_text())["success"]
    assert len(list((host.drills.root / "store/drills/ledger").iterdir())) == 1
    before = host.figures
    after = host.start("ExecStopPost", SERVICE_RESULT="success", EXIT_CODE="exited", EXIT_STATUS="0")
    assert (after.returncode, after.stdout, host.figures) == (0, "", before)

    (host.root / "etc/identity").write_text("no key\n")
    assert host.start("ExecStartPre").returncode == 0
    failed = host.start("ExecStart")
    assert failed.returncode != 0 and "The drill failed" in failed.stdout, failed.stdout + failed.stderr
    assert host.figure("success") == 0 and host.figure("last_success_timestamp_seconds") > 0
    before = host.figures
    after = host.start("ExecStopPost", SERVICE_RESULT="exit-code", EXIT_CODE="exited", EXIT_STATUS="2")
    assert (after.returncode, after.stdout, host.figures) == (0, "", before)
    assert SECRET not in held.stdout + failed.stdout


@pytest.mark.parametrize("began", [True, False], ids=["it was ended", "it was never begun"])
def test_a_drill_that_did_not_come_to_its_report_failed(host: Host, began: bool) -> None:
    """Figures and page say so; the last success stays, and grows old."""
    assert host.configure().status == 0
    if began:
        assert host.start("ExecStartPre").returncode == 0
    after = host.start("ExecStopPost", SERVICE_RESULT="timeout", EXIT_CODE="killed", EXIT_STATUS="TERM")
    assert after.returncode == 0 and "mainstay-drill.prom" in after.stdout, after.stdout + after.stderr
    assert host.figure("success") == 0 and host.figure("last_success_timestamp_seconds") == 0 and host.figure("last_run_timestamp_seconds") > 0
    report = json.loads((host.root / "state/report.json").read_text())
    assert report["problems"] == ["the drill came to its report: systemd says timeout (killed TERM)"] and not report["success"]
