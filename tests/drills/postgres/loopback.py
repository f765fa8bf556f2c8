# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes on loopback as the place of a drill: no hosts are needed, and none can be cut off from the others."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import typing as t

import patroni_cluster
import yaml
from fixtures.client.postgres_writer import Access
from patroni_cluster import PatroniCluster
from servers import SENTINEL, Runner

from drills.failure import DrillFailed
from drills.postgres.scenarios import AWAY_SECONDS
from drills.postgres.topology import Cluster, Member

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles/postgres_replication/vars/main/patroni.yml"

PROFILES: dict[str, dict[str, int]] = {
    name: {key: timing[key] for key in ("ttl", "loop_wait", "retry_timeout")}
    for name, timing in yaml.safe_load(ROLE.read_text(encoding="utf-8"))["__postgres_replication_profiles"].items()
}
"""The timings of the role's profiles, ``fast`` first."""

SETTINGS = {
    "primary_start_timeout": 30,
    "failsafe_mode": True,
    "synchronous_mode": True,
    "postgresql": {"use_pg_rewind": True, "use_slots": True},
}
"""What the role sets beside the timings."""

VOTERS = 3


def processes_of(parent: int) -> list[int]:
    """Return a process and its children, itself first."""
    found = [parent]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


class LoopbackPlace:
    """Three members and three voters of etcd as processes; data1 counts as the host of the first voter, and so on."""

    about = "three members and three voters of etcd as processes on loopback"
    impossible: t.ClassVar[frozenset[str]] = frozenset({"partition"})

    def __init__(self, folder: pathlib.Path, timing: t.Mapping[str, int]) -> None:
        """Prepare a cluster in a folder.

        Args:
            folder: an empty folder.
            timing: ``ttl``, ``loop_wait`` and ``retry_timeout`` of Patroni, in seconds.
        """
        self.away_seconds = max(AWAY_SECONDS, timing["ttl"] + 15)
        self._folder = folder
        self._settings = {**SETTINGS, **timing}
        self._runner = Runner(folder)
        self._stack = contextlib.ExitStack()
        self._processes: PatroniCluster | None = None

    @property
    def processes(self) -> PatroniCluster:
        """The cluster's processes; raises DrillFailed before it was started."""
        if self._processes is None:
            raise DrillFailed("the cluster was not started")
        return self._processes

    @property
    def cluster(self) -> Cluster:
        """The members, and how to log in."""
        running = self.processes
        members = tuple(
            Member(member.name, "127.0.0.1", member.port, member.url, f"http://127.0.0.1:{port}") for member, port in zip(running.members, self._etcd_ports)
        )
        hosts = tuple((member.address, member.port) for member in members)
        return Cluster(members, Access(hosts, "drill", "app", SENTINEL), running.ca_cert)

    @property
    def _etcd_ports(self) -> list[int]:
        return [int(etcd.argv[etcd.argv.index("--advertise-client-urls") + 1].rpartition(":")[2]) for etcd in self.processes.etcds]

    def rise(self) -> None:
        """Start everything, with the application's user and database."""
        # The servers run as another user, who has to get there.
        self._folder.chmod(0o711)
        self._processes = self._stack.enter_context(patroni_cluster.patroni_cluster(self._folder / "cluster", VOTERS, **self._settings))
        with self.processes.connect(self.processes.settle()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE app LOGIN PASSWORD %s", (SENTINEL,))
            cursor.execute("CREATE DATABASE drill OWNER app")

    def fall(self) -> None:
        """End everything."""
        self._stack.close()

    def _member(self, member: Member) -> patroni_cluster.Member:
        return self.processes.member(member.name)

    def _etcd(self, member: Member) -> patroni_cluster.Process:
        return self.processes.etcds[[each.name for each in self.processes.members].index(member.name)]

    def switch_over(self) -> None:
        """Hand the lead over to another member as planned."""
        result = self._runner("patroni_switchover", {**self.processes.access, "wait_timeout": 60})
        if result["failed"]:
            raise DrillFailed(result["msg"])

    def kill_postmaster(self, member: Member) -> None:
        """SIGKILL the server's first process; Patroni starts it again."""
        os.kill(self._member(member).postmaster(), signal.SIGKILL)

    def _signal_server(self, member: Member, number: int) -> None:
        for process in processes_of(self._member(member).postmaster()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def kill_host(self, member: Member) -> None:
        """SIGKILL Patroni, all processes of the server, and the etcd beside them."""
        self._member(member).server.kill()
        self._signal_server(member, signal.SIGKILL)
        self._etcd(member).kill()

    def start_host(self, member: Member) -> None:
        """Start all of it again."""
        self._etcd(member).start()
        self._member(member).server.start()

    def halt(self, member: Member) -> None:
        """SIGSTOP Patroni and all processes of the server."""
        self._member(member).server.signal(signal.SIGSTOP)
        self._signal_server(member, signal.SIGSTOP)

    def resume(self, member: Member) -> None:
        """SIGCONT them."""
        self._signal_server(member, signal.SIGCONT)
        self._member(member).server.signal(signal.SIGCONT)

    def cut(self, member: Member) -> None:
        """Refuse: all members share one address."""
        raise DrillFailed(f"{member.name} shares its address with the others and cannot be cut off")

    def mend(self, member: Member) -> None:
        """Do nothing: nothing was cut."""

    def kill_voter(self, member: Member) -> None:
        """SIGKILL the etcd of the same number."""
        self._etcd(member).kill()

    def start_voter(self, member: Member) -> None:
        """Start it again."""
        self._etcd(member).start()
