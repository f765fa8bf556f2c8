# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the master, and what must hold afterwards."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from drills.redis.topology import Cluster, Member
from drills.runner import Place as AnyPlace

DOWN_SECONDS = 15
"""How long a killed master stays away: longer than the Sentinels need to replace it."""

STOPPED_SECONDS = 17
CUT_SECONDS = 20
"""Long enough that the old master is replaced before it wakes up, or before its side is joined again."""


class Place(AnyPlace, t.Protocol):
    """Where a drill is run: a cluster that can be hurt and healed. A fault that cannot be made raises DrillFailed."""

    @property
    def cluster(self) -> Cluster:
        """The members, and how to log in."""

    def switch_over(self) -> None:
        """Move the master to another member as planned."""

    def kill_process(self, member: Member) -> None:
        """SIGKILL the server; what supervises it starts it again."""

    def kill_for_good(self, member: Member) -> None:
        """SIGKILL the server, and keep it from being started."""

    def start_process(self, member: Member) -> None:
        """Start a server that was killed for good."""

    def kill_host(self, member: Member) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""

    def start_host(self, member: Member) -> None:
        """Boot a host that was killed."""

    def halt_process(self, member: Member) -> None:
        """SIGSTOP the server."""

    def resume_process(self, member: Member) -> None:
        """SIGCONT the server."""

    def cut(self, member: Member) -> None:
        """Drop what goes between this host and the other members, both ways."""

    def mend(self, member: Member) -> None:
        """Let everything through again."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Something that happens to the master while the clients write.

    Attributes:
        key: its name on the command line.
        name: its name in the table.
        act: does it, and ends when everything is in order again or can become so by itself.
        after: seconds that the clients go on writing: long enough for an old master to show what it still takes in.
        waits: whether it is measured without and with ``WAIT`` after each write.
        aside: whether the application asks only the Sentinels on the other hosts, as a client on their side of a cut would.
        gap_limit: seconds that the application may be without an acknowledgement, None if there is no limit.
        loses_nothing: whether no acknowledged write may be lost.
        bounded: whether acknowledged writes may be lost only within min-replicas-max-lag and a second.
        compared: whether it is there for comparison only, and nothing must hold.
    """

    key: str
    name: str
    act: t.Callable[[Place, Member], None]
    after: float
    waits: tuple[bool, ...] = (False, True)
    aside: bool = False
    gap_limit: float | None = None
    loses_nothing: bool = False
    bounded: bool = False
    compared: bool = False


def switch_over(place: Place, _master: Member) -> None:
    """Move the master as planned."""
    place.switch_over()


def plain_failover(place: Place, master: Member) -> None:
    """Ask one Sentinel for a failover, and do nothing else about it."""
    access = place.cluster.admin
    with access.sentinel_at(master.address, master.sentinel_port) as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", access.master_name)


def kill_process(place: Place, master: Member) -> None:
    """Kill the server, which is started again at once."""
    place.kill_process(master)


def kill_for_good(place: Place, master: Member) -> None:
    """Kill the server, and start it when another one is the master."""
    place.kill_for_good(master)
    try:
        time.sleep(DOWN_SECONDS)
    finally:
        place.start_process(master)


def kill_host(place: Place, master: Member) -> None:
    """Kill the host, and boot it when another one is the master."""
    place.kill_host(master)
    try:
        time.sleep(DOWN_SECONDS)
    finally:
        place.start_host(master)


def halt(place: Place, master: Member) -> None:
    """Stop the server, which wakes up later and knows of nothing."""
    place.halt_process(master)
    try:
        time.sleep(STOPPED_SECONDS)
    finally:
        place.resume_process(master)


def cut(place: Place, master: Member) -> None:
    """Cut the master off from the other members while its clients still reach it."""
    place.cut(master)
    try:
        time.sleep(CUT_SECONDS)
    finally:
        place.mend(master)


SCENARIOS = (
    Scenario("planned", "planned switchover (`redis_switchover`)", switch_over, after=12, waits=(False,), gap_limit=2, loses_nothing=True),
    Scenario("kill", "SIGKILL of the master's process, systemd starts it again", kill_process, after=12, waits=(False,), gap_limit=8),
    Scenario("kill-for-good", "SIGKILL of the master's process, it stays away", kill_for_good, after=10, gap_limit=8),
    Scenario("host", "SIGKILL of the master's host", kill_host, after=12, gap_limit=8),
    Scenario("stop", f"SIGSTOP of the master for {STOPPED_SECONDS} s", halt, after=12, bounded=True),
    Scenario("partition", f"the master cut off from the other members for {CUT_SECONDS} s", cut, after=15, aside=True, bounded=True),
    Scenario("plain", "plain `SENTINEL FAILOVER`, for comparison", plain_failover, after=20, compared=True),
)
