# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab: playbooks for them, what the inventory says about them, and a shell within them.

Faults are made from outside, through the container engine: SSH may be part of what fails.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import Runtime, find_runtime

from drills.failure import DrillFailed

ROOT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab"
HOSTS = "data1,data2,data3"

LAB_UP, LAB_DOWN = "playbooks/lab_up.yml", "playbooks/lab_down.yml"

STAY_DOWN = """mkdir -p /run/systemd/system/{unit}.d
printf '[Service]\\nRestart=no\\n' > /run/systemd/system/{unit}.d/90-drill.conf
systemctl daemon-reload
systemctl kill --signal=KILL {unit}"""
"""Kill a daemon in such a way that systemd does not start it again."""

COME_BACK = """rm -rf /run/systemd/system/{unit}.d/90-drill.conf
systemctl daemon-reload
systemctl reset-failed {unit}
systemctl start {unit}"""

CUT = """table inet drill {{
  chain input {{ type filter hook input priority -300; ip saddr {{ {others} }} drop; }}
  chain output {{ type filter hook output priority -300; ip daddr {{ {others} }} drop; }}
}}
"""
"""Rules that cut a host off from the other members; the clients of the drill, and SSH, still reach it."""


def environment(lab: str, hosts: str = HOSTS) -> dict[str, str]:
    """Return the environment of Ansible's commands for a lab of these hosts."""
    return {
        **os.environ,
        "MAINSTAY_LAB": lab,
        "MAINSTAY_LAB_HOSTS": hosts,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        # The output is read by this program, and Molecule forces colours.
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }


def read_facts(lab: str, expressions: t.Mapping[str, str], hosts: str = HOSTS) -> dict[str, t.Any]:
    """Ask the inventory for the values of expressions, by name, as the first of the lab's hosts has them.

    Raises:
        DrillFailed: a variable is missing, or the lab was never made.
    """
    message = "{{ {" + ", ".join(f"'{name}': {expression}" for name, expression in expressions.items()) + "} | to_json }}"
    argv = ["ansible", "-i", str(INVENTORY), hosts.split(",")[0], "-o", "-m", "ansible.builtin.debug", "-a", f'msg="{message}"']
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment(lab, hosts), cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise DrillFailed(f"the inventory could not be read: {(done.stderr or done.stdout).strip()[-1000:]}")
    said = json.loads(done.stdout[done.stdout.index("{") :])["msg"]
    return json.loads(said) if isinstance(said, str) else said


class Lab:
    """A lab, by its name."""

    def __init__(self, name: str, log: pathlib.Path, hosts: str = HOSTS) -> None:
        """Use the lab of this name with these hosts; what the playbooks print is appended to the log."""
        self.name = name
        self.hosts = hosts
        self._log = log

    @functools.cached_property
    def _runtime(self) -> Runtime:
        return find_runtime()

    def playbook(self, path: str, *args: str) -> None:
        """Run a playbook of the checkout."""
        argv = ["ansible-playbook", "-i", str(INVENTORY), str(ROOT / path), *args]
        variables = environment(self.name, self.hosts)
        with self._log.open("a", encoding="utf-8") as stream:
            done = subprocess.run(
                argv, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables, cwd=ROOT, check=False, timeout=1800
            )
        if done.returncode != 0:
            raise DrillFailed(f"{path} ended with status {done.returncode}; its output is {self._log}")

    def _engine(self, *args: str, text: str | None = None) -> None:
        done = subprocess.run(self._runtime.command(*args), input=text, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise DrillFailed(f"{' '.join(args[:3])}: {done.stderr.strip()[-500:]}")

    def _container(self, host: str) -> str:
        return f"{self.name}-{host}"

    def shell(self, host: str, script: str) -> None:
        """Run a script as root of a host."""
        self._engine("exec", "--interactive", self._container(host), "sh", "-eu", text=script)

    def keep_down(self, host: str, unit: str) -> None:
        """SIGKILL a daemon, and keep systemd from starting it."""
        self.shell(host, STAY_DOWN.format(unit=unit))

    def bring_back(self, host: str, unit: str) -> None:
        """Start a daemon that was kept down."""
        self.shell(host, COME_BACK.format(unit=unit))

    def kill(self, host: str) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""
        self._engine("kill", "--signal", "KILL", self._container(host))

    def boot(self, host: str) -> None:
        """Boot a host that was killed."""
        self._engine("start", self._container(host))

    def cut(self, host: str, others: t.Iterable[str]) -> None:
        """Drop what goes between a host and these addresses, both ways."""
        self._engine("exec", "--interactive", self._container(host), "nft", "-f", "-", text=CUT.format(others=", ".join(others)))

    def mend(self, host: str) -> None:
        """Let everything through again."""
        self.shell(host, "nft delete table inet drill")
