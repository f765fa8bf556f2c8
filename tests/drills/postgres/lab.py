# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab as the place of a drill: what is known about them from the inventory, and how they are hurt and healed."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import typing as t

from fixtures.client.postgres_writer import Access

from drills.lab import HOSTS, LAB_DOWN, LAB_UP, Lab, read_facts
from drills.postgres.scenarios import AWAY_SECONDS
from drills.postgres.topology import Cluster, Member

PROXY_HOST, PROXY_PORT, PROXY_NAME = "app1", 5000, "postgres.lab.test"
"""Where the role postgres_proxy runs, its address for writers, and the name in every member's certificate that clients of it check."""

CONVERGE = "tests/drills/postgres/converge.yml"
SWITCHOVER = "tests/drills/postgres/switchover.yml"

FACTS = {
    "image": "lab_image",
    "cluster": "postgres_replication_cluster",
    "members": "postgres_replication_members",
    "port": "postgres_replication_port | default(5432)",
    "api_port": "postgres_replication_api_port | default(8008)",
    "database": "postgres_replication_databases[0].name",
    "user": "postgres_replication_databases[0].owner",
    "password": "(postgres_replication_users | selectattr('name', 'equalto', postgres_replication_databases[0].owner) | first).password",
    "pki": "lab_pki_dir",
    "proxy": "hostvars[groups['app'][0]].lab_address",
}
"""What the drill needs of the inventory, as expressions."""

POSTMASTER = "head -n 1 /var/lib/postgresql/*/{cluster}/postmaster.pid"
"""Prints the process id of a member's PostgreSQL."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the inventory says."""

    image: str
    scope: str
    cluster: Cluster
    proxy: str


def found_in(facts: t.Mapping[str, t.Any]) -> Found:
    """Build what is found from the facts. Each member of PostgreSQL has to be a voter of etcd, too."""
    members = tuple(
        Member(
            name=member["name"],
            address=member["address"],
            port=int(facts["port"]),
            api_url=f"https://{member['address']}:{facts['api_port']}",
            etcd_url=f"https://{member['address']}:2379",
        )
        for member in facts["members"]
    )
    ca_file = f"{facts['pki']}/ca.crt"
    hosts = tuple((member.address, member.port) for member in members)
    access = Access(hosts, facts["database"], facts["user"], facts["password"], ca_file)
    pair = tuple(f"{facts['pki']}/{members[0].name}.{part}" for part in ("crt", "key"))
    return Found(facts["image"], facts["cluster"], Cluster(members, access, ca_file, t.cast("tuple[str, str]", pair)), facts["proxy"])


class LabPlace:
    """Three data hosts of a lab; one more with the proxy, if they are made for the drill."""

    impossible: t.ClassVar[frozenset[str]] = frozenset()
    away_seconds = AWAY_SECONDS

    def __init__(self, lab: str, log: pathlib.Path) -> None:
        """Use the lab of this name; what the playbooks print is appended to the log."""
        self._lab = Lab(lab, log, f"{HOSTS},{PROXY_HOST}")
        self._proxied = False

    @functools.cached_property
    def _found(self) -> Found:
        return found_in(read_facts(self._lab.name, FACTS))

    @property
    def cluster(self) -> Cluster:
        """The members, and how to log in: through the proxy, if it was made."""
        found = self._found.cluster
        if not self._proxied:
            return found
        access = dataclasses.replace(found.application, through=(PROXY_NAME, self._found.proxy, PROXY_PORT))
        return dataclasses.replace(found, application=access)

    @property
    def about(self) -> str:
        """Say in words what this place is."""
        return f"three hosts of the lab ({self._found.image})"

    def rise(self) -> None:
        """Make the hosts and converge them."""
        self._lab.playbook(LAB_UP)
        self._lab.playbook(CONVERGE)
        self._proxied = True

    def fall(self) -> None:
        """Remove the hosts."""
        self._lab.playbook(LAB_DOWN)

    def switch_over(self) -> None:
        """Hand the lead over to another member as planned."""
        self._lab.playbook(SWITCHOVER)

    def kill_postmaster(self, member: Member) -> None:
        """SIGKILL the server's first process; Patroni starts it again."""
        self._lab.shell(member.name, f"kill -KILL $({POSTMASTER.format(cluster=self._found.scope)})")

    def kill_host(self, member: Member) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""
        self._lab.kill(member.name)

    def start_host(self, member: Member) -> None:
        """Boot a host that was killed."""
        self._lab.boot(member.name)

    def halt(self, member: Member) -> None:
        """SIGSTOP Patroni and all processes of the server: they are of one unit."""
        self._lab.shell(member.name, "systemctl kill --signal=STOP patroni.service")

    def resume(self, member: Member) -> None:
        """SIGCONT them."""
        self._lab.shell(member.name, "systemctl kill --signal=CONT patroni.service")

    def cut(self, member: Member) -> None:
        """Drop what goes between this host and the other members, both ways."""
        self._lab.cut(member.name, (other.address for other in self.cluster.members if other != member))

    def mend(self, member: Member) -> None:
        """Let everything through again."""
        self._lab.mend(member.name)

    def kill_voter(self, member: Member) -> None:
        """SIGKILL a member's etcd, and keep systemd from starting it."""
        self._lab.keep_down(member.name, "etcd.service")

    def start_voter(self, member: Member) -> None:
        """Start it again."""
        self._lab.bring_back(member.name, "etcd.service")
