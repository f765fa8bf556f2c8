# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab as the place of a drill: what is known about them from the inventory, and how they are hurt and healed."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import typing as t

from fixtures.client.redis_writer import Access

from drills.lab import LAB_DOWN, LAB_UP, Lab, read_facts
from drills.redis.topology import Cluster, Member

CONVERGE = "tests/drills/redis/converge.yml"
SWITCHOVER = "playbooks/switchover.yml"

TIMEOUT = 1.0
"""Seconds that the clients wait for an answer, as those of an application that wants to notice a failover."""

FACTS = {
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


@dataclasses.dataclass(frozen=True)
class Found:
    """What the inventory says."""

    image: str
    unit: str
    cluster: Cluster


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
    return Found(facts["image"], f"{facts['product']}-server.service", Cluster(members, *accesses))


class LabPlace:
    """Three data hosts of a lab."""

    impossible: t.ClassVar[frozenset[str]] = frozenset()

    def __init__(self, lab: str, log: pathlib.Path) -> None:
        """Use the lab of this name; what the playbooks print is appended to the log."""
        self._lab = Lab(lab, log)

    @functools.cached_property
    def _found(self) -> Found:
        return found_in(read_facts(self._lab.name, FACTS))

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
        self._lab.playbook(LAB_UP)
        self._lab.playbook(CONVERGE)

    def fall(self) -> None:
        """Remove the hosts."""
        self._lab.playbook(LAB_DOWN)

    def switch_over(self) -> None:
        """Move the master to another member as planned."""
        self._lab.playbook(SWITCHOVER, "-e", "switchover_parts=redis")

    def kill_process(self, member: Member) -> None:
        """SIGKILL the server; systemd starts it again."""
        self._lab.shell(member.name, f"systemctl kill --signal=KILL {self._found.unit}")

    def kill_for_good(self, member: Member) -> None:
        """SIGKILL the server, and keep systemd from starting it."""
        self._lab.keep_down(member.name, self._found.unit)

    def start_process(self, member: Member) -> None:
        """Start a server that was killed for good."""
        self._lab.bring_back(member.name, self._found.unit)

    def kill_host(self, member: Member) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""
        self._lab.kill(member.name)

    def start_host(self, member: Member) -> None:
        """Boot a host that was killed."""
        self._lab.boot(member.name)

    def halt_process(self, member: Member) -> None:
        """SIGSTOP the server."""
        self._lab.shell(member.name, f"systemctl kill --signal=STOP {self._found.unit}")

    def resume_process(self, member: Member) -> None:
        """SIGCONT the server."""
        self._lab.shell(member.name, f"systemctl kill --signal=CONT {self._found.unit}")

    def cut(self, member: Member) -> None:
        """Drop what goes between this host and the other members, both ways."""
        self._lab.cut(member.name, (other.address for other in self.cluster.members if other != member))

    def mend(self, member: Member) -> None:
        """Let everything through again."""
        self._lab.mend(member.name)
