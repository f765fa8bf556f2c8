# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a playbook, measured: its time, what it takes of the controller, and what it says at its end."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import re
import tempfile
import typing as t

import measure

from scale.fleet import ROOT

RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
CONTROLLER = "localhost"


@dataclasses.dataclass(frozen=True)
class Converged:
    """What a run of a playbook cost.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: user and system time of the controller's processes; the hosts' own are not among them.
        peak_bytes: greatest sum of the memory of the controller's processes.
        hosts: hosts that the run changed or looked at.
        tasks: tasks that ran, on all of these hosts together.
        changed: tasks that changed something.
        executions: SSH executions, on all hosts together.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    hosts: int
    tasks: int
    changed: int
    executions: int


def read_recap(output: str) -> tuple[int, int, int]:
    """Return hosts, tasks and changes of the recap that ``ansible-playbook`` ends with; the controller itself is no host.

    Raises:
        ValueError: there is none.
    """
    found = [match for match in RECAP.finditer(output) if match[1] != CONTROLLER]
    if not found:
        raise ValueError(f"a run ended without a recap: {output[-500:]}")
    return len(found), sum(int(match[2]) for match in found), sum(int(match[3]) for match in found)


class Controller:
    """Runs playbooks on the hosts of an inventory as a user would, with the settings of the checkout's ``ansible.cfg``."""

    def __init__(self, inventory: pathlib.Path, lab: str) -> None:
        """Use an inventory, for the lab of a name."""
        self._inventory, self._lab = inventory, lab

    def run(self, playbook: str, *arguments: str, **settings: str) -> Converged:
        """Run a playbook and measure it; no connection is open when it begins.

        Args:
            playbook: its path from the checkout.
            arguments: further ones of ``ansible-playbook``.
            settings: variables of the environment.

        Raises:
            measure.JobFailed: it did not end well.
        """
        with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as name:
            counts = pathlib.Path(name, "executions")
            counts.touch()
            argv = ("ansible-playbook", "-i", str(self._inventory), str(ROOT / playbook), *arguments)
            job = measure.Job(argv, self._environment({"SSH_COUNT_FILE": str(counts), **settings}))
            # Twenty forks, looked at ten times a second, would keep a core busy that the hosts need.
            cost = measure.measure(job, 0, pathlib.Path(name), None, timeout=4 * 3600, sample_seconds=0.5)
            hosts, tasks, changed = read_recap(cost.output)
            executions = sum(collections.Counter(counts.read_text(encoding="utf-8").split()).values())
        return Converged(cost.seconds, cost.cpu_seconds, cost.peak_bytes, hosts, tasks, changed, executions)

    def prepare(self, playbook: str, *arguments: str) -> None:
        """Run a playbook that is not measured."""
        argv = ("ansible-playbook", "-i", str(self._inventory), str(ROOT / playbook), *arguments)
        measure.run(measure.Job(argv, self._environment({})))

    def _environment(self, more: t.Mapping[str, str]) -> dict[str, str]:
        counted = {"ANSIBLE_SSH_EXECUTABLE": str(ROOT / "tests/demo/count-ssh")} if "SSH_COUNT_FILE" in more else {}
        return {
            "HOME": os.environ["HOME"],
            "PWD": str(ROOT),
            "MAINSTAY_LAB": self._lab,
            "MAINSTAY_LAB_HOSTS": "",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
            **counted,
            **more,
        }
