# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: bring up the stack on lab hosts, deploy under load, lose the database, recover it, and report what was measured.

Run by ``make demo``. Every figure is measured in this run: by the clock of the controller, by the load client, or by what the modules return.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.mainstay.ops.plugins.module_utils._report import render_html

ROOT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab"
CLIENT = ROOT / "tests/fixtures/client/load.py"
BUILD = ROOT / "tests/fixtures/app/build.py"
SERVICE = "ledger.lab.test"

RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)

WRITE_SECONDS = 15
WRITE_RATE = 40
DEPLOY_RATE = 60


class DemoFailed(Exception):
    """A step of the demo that did not end well."""


@dataclass
class Phase:
    """A step of the demo with its time: ``start`` in seconds after the demo began."""

    name: str
    start: float
    seconds: float = 0.0
    status: str = "running"


@dataclass
class Demo:
    """One run of the demo.

    Attributes:
        artifacts: where logs and the report go.
        lab: name of the lab whose hosts are used.
    """

    artifacts: pathlib.Path
    lab: str
    began: float = field(default_factory=time.monotonic)
    phases: list[Phase] = field(default_factory=list)
    figures: dict[str, t.Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> t.Iterator[Phase]:
        """Time one step and say what it is."""
        phase = Phase(name, time.monotonic() - self.began)
        self.phases.append(phase)
        print(f"\n[{phase.start:6.1f} s] {len(self.phases)}. {name}", flush=True)
        started = time.monotonic()
        try:
            yield phase
        except BaseException:
            phase.status = "failed"
            raise
        else:
            phase.status = "ok"
        finally:
            phase.seconds = round(time.monotonic() - started, 2)
            print(f"[{time.monotonic() - self.began:6.1f} s]    {phase.status} after {phase.seconds} s", flush=True)

    def playbook(self, path: str, *args: str, count_ssh: pathlib.Path | None = None) -> dict[str, int]:
        """Run a playbook, show its plays while they run, keep its whole output in a log, and return the changes on each host."""
        environment = {**os.environ, "MAINSTAY_LAB": self.lab, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONUNBUFFERED": "1"}
        if count_ssh is not None:
            environment.update(ANSIBLE_SSH_EXECUTABLE=str(ROOT / "tests/demo/count-ssh"), SSH_COUNT_FILE=str(count_ssh))
        name = f"{len(self.phases):02d}-{pathlib.Path(path).stem}"
        log = self.artifacts / "logs" / f"{name}.log"
        argv = ["ansible-playbook", "-i", str(INVENTORY), str(ROOT / path), *args]
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
            for line in process.stdout:
                stream.write(line)
                if line.startswith("PLAY [("):
                    print(f"           {line.removeprefix('PLAY [').split(']')[0]}", flush=True)
        output = log.read_text(encoding="utf-8")
        if process.wait() != 0:
            print(output[-6000:], flush=True)
            raise DemoFailed(f"{path} ended with status {process.returncode}; its output is {log}")
        return {match[1]: int(match[3]) for match in RECAP.finditer(output)}

    def release(self, number: int) -> pathlib.Path:
        """Build a release archive of the sample application."""
        folder = self.artifacts / "releases"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(BUILD), "--release", str(number), "--output", str(folder)], check=True, stdout=subprocess.DEVNULL)
        return folder / f"ledger-{number}.tar.gz"

    def deploy(self, number: int) -> None:
        """Deploy a release of the sample application."""
        self.playbook("playbooks/deploy.yml", "-e", f"app_release_archive={self.release(number)}")
