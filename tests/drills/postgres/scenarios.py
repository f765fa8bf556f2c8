# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the leader or to etcd, and what must hold afterwards."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from drills.postgres.topology import Cluster, Member
from drills.runner import Place as AnyPlace

AWAY_SECONDS = 35
"""How long a leader is away with the fast profile: longer than its ``ttl`` (20 s) and the others' need to replace it."""

DOWN_SECONDS = 30
"""How long voters of etcd are away: longer than ``ttl``, so that a leader that could not renew its lock would have stepped down."""


class Place(AnyPlace, t.Protocol):
    """Where a drill is run: a cluster that can be hurt and healed. A fault that cannot be made raises DrillFailed."""

    away_seconds: float
    """How long a leader is away, so that the others have to replace it."""

    @property
    def cluster(self) -> Cluster:
        """The members, and how to log in."""

    def switch_over(self) -> None:
        """Hand the lead over to another member as planned."""

    def kill_postmaster(self, member: Member) -> None:
        """SIGKILL the server's first process; Patroni starts it again."""

    def kill_host(self, member: Member) -> None:
        """SIGKILL everything on a host at once, as a loss of power does."""

    def start_host(self, member: Member) -> None:
        """Boot a host that was killed."""

    def halt(self, member: Member) -> None:
        """SIGSTOP Patroni and all processes of the server."""

    def resume(self, member: Member) -> None:
        """SIGCONT them."""

    def cut(self, member: Member) -> None:
        """Drop what goes between this host and the other members, both ways."""

    def mend(self, member: Member) -> None:
        """Let everything through again."""

    def kill_voter(self, member: Member) -> None:
        """SIGKILL a member's etcd, and keep it from being started."""

    def start_voter(self, member: Member) -> None:
        """Start it again."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Something that happens while the clients write. No acknowledged row may be lost in any of them, and never may two servers acknowledge rows.

    Attributes:
        key: its name on the command line.
        name: its name in the table.
        act: does it to the leader, and ends when everything is in order again or can become so by itself.
        after: seconds that the clients go on writing: long enough for an old leader to show what it still takes in.
        gap_limit: seconds that the application may be without an acknowledgement, None if there is no limit.
        leads_on: whether the leader must be the same afterwards.
    """

    key: str
    name: str
    act: t.Callable[[Place, Member], None]
    after: float = 12
    gap_limit: float | None = None
    leads_on: bool = False


def switch_over(place: Place, _leader: Member) -> None:
    """Hand the lead over as planned."""
    place.switch_over()


def kill_postmaster(place: Place, leader: Member) -> None:
    """Kill the server, which is started again."""
    place.kill_postmaster(leader)


def kill_host(place: Place, leader: Member) -> None:
    """Kill the host, and boot it when another one leads."""
    place.kill_host(leader)
    try:
        time.sleep(place.away_seconds)
    finally:
        place.start_host(leader)


def halt(place: Place, leader: Member) -> None:
    """Stop Patroni and the server, which wake up later and know of nothing."""
    place.halt(leader)
    try:
        time.sleep(place.away_seconds)
    finally:
        place.resume(leader)


def cut(place: Place, leader: Member) -> None:
    """Cut the leader off from the other members while its clients still reach it."""
    place.cut(leader)
    try:
        time.sleep(place.away_seconds)
    finally:
        place.mend(leader)


def lose_voters(place: Place, voters: t.Sequence[Member]) -> None:
    """Kill some members' etcd, and start them later."""
    for voter in voters:
        place.kill_voter(voter)
    try:
        time.sleep(DOWN_SECONDS)
    finally:
        for voter in voters:
            place.start_voter(voter)


def lose_voter(place: Place, leader: Member) -> None:
    """Lose the etcd beside the leader, which is the one that its Patroni talks to."""
    lose_voters(place, [leader])


def lose_quorum(place: Place, leader: Member) -> None:
    """Lose a majority of etcd, the leader's own included."""
    others = [member for member in place.cluster.members if member != leader]
    lose_voters(place, [leader, *others[: len(place.cluster.members) // 2]])


SCENARIOS = (
    Scenario("planned", "planned switchover (`patroni_switchover`)", switch_over, gap_limit=3),
    Scenario("kill", "SIGKILL of the leader's postmaster, Patroni starts it again", kill_postmaster, gap_limit=5, leads_on=True),
    Scenario("host", "loss of the leader's host", kill_host, gap_limit=25),
    Scenario("stop", f"SIGSTOP of the leader's Patroni and PostgreSQL for {AWAY_SECONDS} s", halt),
    Scenario("partition", f"the leader cut off from the other members for {AWAY_SECONDS} s", cut, after=20),
    Scenario("voter", f"loss of the etcd beside the leader for {DOWN_SECONDS} s", lose_voter, gap_limit=2, leads_on=True),
    Scenario("quorum", f"loss of etcd's quorum for {DOWN_SECONDS} s", lose_quorum, gap_limit=2, leads_on=True),
)
