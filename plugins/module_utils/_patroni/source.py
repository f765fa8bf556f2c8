# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that a standby cluster follows: whether it can be seen, whether it takes writes, and how far the standby cluster is behind."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Client, Refused, Unreachable, client_from
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.config import NOTES
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import WORKING, Member, View, look

HANDOVER = "handover"
"""The note in the source's settings that its writes are held for a planned promotion, so that they are released only by who holds them."""

PROMOTED_FROM = "promoted_from_timeline"
"""The note in the settings of a cluster that was promoted: the newest timeline that it has in common with the one that it followed.

A site that was lost and starts again begins a timeline of the same number as the promotion did, and neither Patroni nor pg_rewind can tell the two apart.
"""

TOOK_OVER_AT = "took_over_at"
"""The note in the settings of a cluster that was promoted, or restored in place of another one: when (seconds since 1970), by the clock of the controller.

Of two clusters that take writes, the guards of a site stop the one that took over earlier. One that was restored has no timeline in common with the other.
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """The cluster that is followed, as far as it can be seen.

    Args:
        view: what it looks like; none if it does not answer or was not named.
        why: why it cannot be seen; empty if it can.
    """

    view: View | None = None
    why: str = ""

    @property
    def writer(self) -> Member | None:
        """Its leader if that takes writes."""
        leader = self.view.leader if self.view else None
        return leader if leader is not None and leader.replayed is None and leader.state in WORKING and not leader.unreachable else None

    def sends_to(self, follower: Member | None) -> bool:
        """Whether its leader streams to a member of another cluster."""
        leader = self.view.leader if self.view else None
        return leader is not None and follower is not None and follower.name in leader.followers

    def lacks(self, other: Member | None) -> int:
        """Return how many bytes of the same timeline another cluster's leader has more, which it cannot have received from here.

        Args:
            other: the leader, looked at before this cluster was.
        """
        leader = self.view.leader if self.view else None
        if leader is None or other is None or leader.position is None or other.position is None or leader.timeline != other.timeline:
            return 0
        return max(0, other.position - leader.position)

    @property
    def held(self) -> bool:
        """Whether its writes are held for a promotion."""
        return bool(self.view and (self.view.config.get(NOTES) or {}).get(HANDOVER))

    @property
    def follows(self) -> bool:
        """Whether it is a standby cluster by its settings."""
        return bool(self.view and self.view.is_standby_cluster)


@dataclasses.dataclass(frozen=True)
class Loss:
    """What a promotion loses, as far as it can be known before.

    Args:
        size: bytes of the source's log that this cluster does not have; none if the source does not say.
        seconds: the most seconds of commits; none if no commit was replayed since the standby's start.
    """

    size: int | None
    seconds: float | None


def source_client(params: t.Mapping[str, t.Any]) -> Client | None:
    """Build the client of the source from a module's parameters; what its option leaves out is as for the cluster itself."""
    if not params["source"]:
        return None
    return client_from({**params, **{name: content for name, content in params["source"].items() if content is not None}})


def see_source(client: Client | None) -> Source:
    """Look at the source, if it was named."""
    if client is None:
        return Source(None, "source does not name it")
    try:
        return Source(look(client, all_at_once=True))
    except (Unreachable, Refused) as error:
        return Source(None, error.cause)


def loss_of(here: Member, source: Source, now: datetime.datetime) -> Loss:
    """Say what would be lost.

    Args:
        here: the leader of the standby cluster.
        source: what it follows.
        now: the time, with its zone.
    """
    there = source.view.leader if source.view else None
    size = None if there is None or there.position is None or here.position is None else max(0, there.position - here.position)
    if size == 0:
        return Loss(0, 0.0)
    if not here.last_commit:
        return Loss(size, None)
    return Loss(size, round(max(0.0, (now - datetime.datetime.fromisoformat(here.last_commit)).total_seconds()), 3))
