# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes on loopback as the place of a drill: no hosts are needed, and none can be cut off from the others."""

from __future__ import annotations

import pathlib
import signal
import typing as t

import redis_cluster
from fixtures.client.redis_writer import Access
from servers import Runner

from drills.failure import DrillFailed
from drills.redis.lab import TIMEOUT
from drills.redis.topology import Cluster, Member

SETTINGS = {"appendonly": "yes", "min-replicas-to-write": "1", "min-replicas-max-lag": "3"}
"""What the role sets by itself and Redis does not."""


class LoopbackPlace:
    """Three servers and three Sentinels as processes, with TLS and passwords."""

    about = "three servers and three Sentinels as processes on loopback"
    impossible: t.ClassVar[frozenset[str]] = frozenset({"partition"})

    def __init__(self, folder: pathlib.Path, **given: t.Any) -> None:
        """Prepare a cluster in a folder.

        Args:
            folder: an empty folder.
            given: options of :class:`redis_cluster.Cluster`.
        """
        self._processes = redis_cluster.Cluster(folder / "cluster", **{"tls": True, "settings": SETTINGS, **given})
        self._runner = Runner(folder)
        pairs = list(zip(self._processes.servers, self._processes.sentinels))
        self._daemons = {server.folder.name: (server, sentinel) for server, sentinel in pairs}
        members = tuple(Member(server.folder.name, redis_cluster.HOST, server.port, sentinel.port) for server, sentinel in pairs)
        access = Access(
            sentinels=tuple((member.address, member.sentinel_port) for member in members),
            master_name=redis_cluster.MASTER_NAME,
            password=self._processes.password,
            sentinel_password=self._processes.sentinel_password,
            ca_file=str(self._processes.folder / "tls.crt") if self._processes.tls else None,
            timeout=TIMEOUT,
        )
        self.cluster = Cluster(members, access, access)

    def rise(self) -> None:
        """Start everything."""
        self._processes.start()

    def fall(self) -> None:
        """End everything."""
        self._processes.stop()

    def switch_over(self) -> None:
        """Move the master to another member as planned."""
        result = self._runner("redis_switchover", self._processes.options())
        if result["failed"]:
            raise DrillFailed(result["msg"])

    def kill_process(self, member: Member) -> None:
        """SIGKILL the server, and start it at once, as systemd does."""
        self.kill_for_good(member)
        self.start_process(member)

    def kill_for_good(self, member: Member) -> None:
        """SIGKILL the server."""
        self._daemons[member.name][0].stop()

    def start_process(self, member: Member) -> None:
        """Start a server that was killed."""
        self._daemons[member.name][0].start()

    def kill_host(self, member: Member) -> None:
        """SIGKILL the server and the Sentinel beside it."""
        for daemon in self._daemons[member.name]:
            daemon.stop()

    def start_host(self, member: Member) -> None:
        """Start both again."""
        for daemon in self._daemons[member.name]:
            daemon.start()

    def halt_process(self, member: Member) -> None:
        """SIGSTOP the server."""
        self._daemons[member.name][0].signal(signal.SIGSTOP)

    def resume_process(self, member: Member) -> None:
        """SIGCONT the server."""
        self._daemons[member.name][0].signal(signal.SIGCONT)

    def cut(self, member: Member) -> None:
        """Refuse: all members share one address."""
        raise DrillFailed(f"{member.name} shares its address with the others and cannot be cut off")

    def mend(self, member: Member) -> None:
        """Do nothing: nothing was cut."""
