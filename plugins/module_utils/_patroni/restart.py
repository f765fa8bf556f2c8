# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of the members that wait for one: in an order in which the cluster goes on, one at a time, and never if somebody would miss the member."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._patroni import switchover
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Client, Refused
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.config import Needs
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import Member, Patience, Phases, Problem, View

NOT_WAITING = "conditions are not satisfied"
"""What Patroni says of a member that does not wait for a restart (any more)."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a rolling restart.

    Args:
        member: name of the member that is restarted, or gives up the lead.
        hands_over: whether it gives up the lead instead of being restarted.
    """

    member: str
    hands_over: bool = False

    def __str__(self) -> str:
        """The step in words."""
        return f"switch over from {self.member} to the best standby" if self.hands_over else f"restart PostgreSQL on {self.member}"


def order(view: View, waiting: t.Collection[str], leader: str, needs: Needs) -> list[Step]:
    """Return the steps that put into force what members wait for.

    Standbys go first, those that are synchronous last of them, and then the leader. Less of a parameter of shared memory goes the other way round: a standby
    keeps the old amount until the leader has been restarted with less.

    Args:
        view: the cluster.
        waiting: names of the members that wait, or will.
        leader: what is done with a leader that waits: ``restart``, ``switchover`` or ``leave``.
        needs: of the parameters that they wait for.

    Raises:
        InvalidInput: a switchover cannot bring it about.
    """
    synchronous = view.synchronous_standbys
    replicas = sorted((member for member in view.replicas if member.name in waiting), key=lambda member: (member in synchronous, member.name))
    standbys = [Step(member.name) for member in replicas]
    if view.leader is None or view.leader.name not in waiting:
        return standbys
    first = view.leader.name
    if needs.falling and leader == "switchover":
        cause = f"there is to be less {' and '.join(needs.falling)}, and standbys keep the old amount until a leader has been restarted with less"
        raise InvalidInput(f"restart the members of {view.scope}", cause, "use leader=restart for this change")
    if leader == "leave":
        return standbys if needs.others or not needs.falling else []
    if leader == "switchover":
        return [*standbys, Step(first, hands_over=True), Step(first)]
    if not needs.falling:
        return [*standbys, Step(first)]
    return [*(standbys if needs.others else []), Step(first), *standbys]


def missed(view: View, name: str) -> list[Problem]:
    """Say who would miss a member while it is restarted: in synchronous mode the leader needs another standby."""
    member = view.find(name)
    if view.synchronous_mode == "off" or member is None or member.leads:
        return []
    if any(other.name != name and other.streams and not other.tags.get("nosync") for other in view.replicas):
        return []
    return [Problem(f"{name} is the only standby that can be synchronous, and without it writes would wait or go on without a second copy", passing=False)]


def preflight(client: Client, steps: t.Sequence[Step], patience: Patience) -> View:
    """Find out that all steps may be done now, and return the cluster.

    Raises:
        MainstayError: the cluster is not in order, a switchover is scheduled, or a member would be missed.
    """
    doing = "restart the members that wait for it"
    at_once = dataclasses.replace(patience, with_lasting=False)
    view = at_once.wait(client, doing, lambda seen: [*switchover.scheduled(seen), *(problem for step in steps for problem in missed(seen, step.member))])
    if any(step.hands_over for step in steps):
        switchover.plan(view, "", "", patience.max_lag_bytes)
    client.prove_login(view.member(steps[0].member).api)
    return view


def carry_out(client: Client, steps: t.Iterable[Step], patience: Patience, phases: Phases) -> list[str]:
    """Do the steps one after another, each for a cluster that is in order again; return the names of the members that were restarted.

    Raises:
        Refused: Patroni could not do one of them.
        MainstayError: the cluster did not come in order.
    """
    restarted: list[str] = []
    handed_over: set[str] = set()
    for step in steps:
        view = patience.wait(client, str(step), functools.partial(missed, name=step.member))
        member = view.member(step.member)
        if step.hands_over:
            if member.leads and (handover := switchover.plan(view, "", step.member, patience.max_lag_bytes)):
                switchover.carry_out(client, view, handover, patience, phases)
                handed_over.add(step.member)
        elif member.pending_restart:
            with phases(str(step)):
                restarted += [step.member] if restart(client, member, patience) else []
        elif step.member in handed_over:  # PostgreSQL was restarted when it became a standby
            restarted.append(step.member)
    return restarted


def restart(client: Client, member: Member, patience: Patience) -> bool:
    """Restart PostgreSQL on one member that waits for it, and wait until the cluster is in order; return whether it waited still."""
    doing = f"restart PostgreSQL on {member.name}"
    answer = client.send(member.api, "POST", "/restart", {"restart_pending": True}, patience.seconds, doing)
    waited = NOT_WAITING not in answer.text
    if waited and answer.status != 200:
        raise Refused(doing, answer.words(), f"look at the logs of Patroni and PostgreSQL on {member.name}")
    patience.wait(client, f"see the cluster in order after PostgreSQL was restarted on {member.name}")
    return waited
