# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab as the place of a drill: what is known about them from the inventory, and how they are hurt and healed.

Faults are made from outside, through the container engine: SSH may be part of what fails.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import Runtime, find_runtime
from fixtures.client.redis_writer import Access

from drills.redis.topology import Cluster, DrillFailed, Member

ROOT = pathlib.Path(__file__).resolve().parents[3]
INVENTORY = ROOT / "inventories/lab"
HOSTS = "data1,data2,data3"

LAB_UP, LAB_DOWN = "playbooks/lab_up.yml", "playbooks/lab_down.yml"
CONVERGE = "tests/drills/redis/converge.yml"
SWITCHOVER = "playbooks/switchover.yml"

TIMEOUT = 1.0
"""Seconds that the clients wait for an answer, as those of an application that wants to notice a failover."""

FACTS = {
    "lab": "lab_name",
    "master_name": "redis_sentinel_master_name | default('main')",
    "members": "redis_sentinel_members",
    "port": "redis_sentinel_port | default(6379)",
    "sentinel_port": "redis_sentinel_sentinel_port | default(26379)",
    "product": "redis_sentinel_product | default('redis')",
    "image": "lab_image",
    "admin_password": "redis_sentinel_admin_password",
    "user": "(redis_sentinel_users | selectattr('password', 'defined') | first).name",
    "password": "(redis_sentinel_users | selectattr('password', 'defined') | first).password",
    "ca_file": "lab_pki_dir ~ '/ca.crt' if redis_sentinel_tls_certificate | default('') | length > 0 else none",
}
"""What the drill needs of the inventory, as expressions."""

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


@dataclasses.dataclass(frozen=True)
class Found:
    """What the inventory says."""

    lab: str
    image: str
    unit: str
    cluster: Cluster


def environment(lab: str) -> dict[str, str]:
    """Return the environment of Ansible's commands for a lab of three data hosts."""
    return {
        **os.environ,
        "MAINSTAY_LAB": lab,
        "MAINSTAY_LAB_HOSTS": HOSTS,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        # The output is read by this program, and Molecule forces colours.
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }


def read_inventory(lab: str) -> Found:
    """Ask the inventory.

    Raises:
        DrillFailed: a variable is missing, or the lab was never made.
    """
    message = "{{ {" + ", ".join(f"'{name}': {expression}" for name, expression in FACTS.items()) + "} | to_json }}"
    argv = ["ansible", "-i", str(INVENTORY), "data1", "-o", "-m", "ansible.builtin.debug", "-a", f'msg="{message}"']
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment(lab), cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise DrillFailed(f"the inventory could not be read: {(done.stderr or done.stdout).strip()[-1000:]}")
    said = json.loads(done.stdout[done.stdout.index("{") :])["msg"]
    facts = json.loads(said) if isinstance(said, str) else said
    return found_in(facts)


def found_in(facts: t.Mapping[str, t.Any]) -> Found:
    """Build what is found from the facts."""
    members = tuple(Member(member["name"], member["address"], int(facts["port"]), int(facts["sentinel_port"])) for member in facts["members"])
    common = {
        "sentinels": tuple((member.address, member.sentinel_port) for member in members),
        "master_name": facts["master_name"],
        "ca_file": facts["ca_file"],
        "timeout": TIMEOUT,
    }
    own, admin = (facts["user"], facts["password"]), ("admin", facts["admin_password"])
    accesses = [Access(user=user, password=password, sentinel_user=user, sentinel_password=password, **common) for user, password in (own, admin)]
    return Found(facts["lab"], facts["image"], f"{facts['product']}-server.service", Cluster(members, *accesses))


class LabPlace:
    """Three data hosts of a lab."""

    impossible: t.ClassVar[frozenset[str]] = frozenset()

    def __init__(self, lab: str, log: pathlib.Path) -> None:
        """Use the lab of this name; what the playbooks print is appended to the log."""
        self._lab = lab
        self._log = log

    @functools.cached_property
    def _runtime(self) -> Runtime:
        return find_runtime()

    @functools.cached_property
    def _found(self) -> Found:
        return read_inventory(self._lab)

    @property
    def cluster(self) -> Cluster:
        """The members, and how to log in."""
        return self._found.cluster

    @property
    def about(self) -> str:
        """Say in words what this place is."""
        return f"three hosts of the lab ({self._found.image})"

    def rise(self) -> None:
        """Make the hosts and converge them."""
        self._playbook(LAB_UP)
        self._playbook(CONVERGE)

    def fall(self) -> None:
        """Remove the hosts."""
        self._playbook(LAB_DOWN)

    def _playbook(self, path: str, *args: str) -> None:
        argv = ["ansible-playbook", "-i", str(INVENTORY), str(ROOT / path), *args]
        with self._log.open("a", encoding="utf-8") as stream:
            done = subprocess.run(
                argv, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment(self._lab), cwd=ROOT, check=False, timeout=1800
            )
        if done.returncode != 0:
            raise DrillFailed(f"{path} ended with status {done.returncode}; its output is {self._log}")

    def _engine(self, *args: str, text: str | None = None) -> None:
        done = subprocess.run(self._runtime.command(*args), input=text, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise DrillFailed(f"{' '.join(args[:3])}: {done.stderr.strip()[-500:]}")

    def _container(self, member: Member) -> str:
        return f"{self._found.lab}-{member.name}"

    def _shell(self, member: Member, script: str) -> None:
        self._engine("exec", "--interactive", self._container(member), "sh", "-eu", text=script.format(unit=self._found.unit))

    def switch_over(self) -> None:
        """Move the master to another member as planned."""
        self._playbook(SWITCHOVER)

    def kill_process(self, member: Member) -> None:
        """SIGKILL the server; systemd starts it again."""
        self._shell(member, "systemctl kill --signal=KILL {unit}")

    def kill_for_good(self, member: Member) -> None:
        """SIGKILL the server, and keep systemd from starting it."""
        self._shell(member, STAY_DOWN)

    def start_process(self, member: Member) -> None:
        """Start a server that was killed for good."""
        self._shell(member, COME_BACK)

    def kill_host(self, member: Member) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""
        self._engine("kill", "--signal", "KILL", self._container(member))

    def start_host(self, member: Member) -> None:
        """Boot a host that was killed."""
        self._engine("start", self._container(member))

    def halt_process(self, member: Member) -> None:
        """SIGSTOP the server."""
        self._shell(member, "systemctl kill --signal=STOP {unit}")

    def resume_process(self, member: Member) -> None:
        """SIGCONT the server."""
        self._shell(member, "systemctl kill --signal=CONT {unit}")

    def cut(self, member: Member) -> None:
        """Drop what goes between this host and the other members, both ways."""
        others = ", ".join(other.address for other in self.cluster.members if other != member)
        self._engine("exec", "--interactive", self._container(member), "nft", "-f", "-", text=CUT.format(others=others))

    def mend(self, member: Member) -> None:
        """Let everything through again."""
        self._shell(member, "nft delete table inet drill")
