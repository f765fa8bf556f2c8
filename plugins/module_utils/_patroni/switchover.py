# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover: who may lead next, the request, and the proof that the new leader accepts writes and the old one follows it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Answer, Client, Endpoint, Refused, Unreachable
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import (
    LEADERS,
    WORKING,
    Member,
    Patience,
    Phases,
    Problem,
    View,
    first,
    join,
    judge,
    look,
)

POLL_SECONDS = 0.2
"""Between two questions whether the new leader accepts writes."""

GRACE_SECONDS = 10.0
"""So long, and two rounds of Patroni, a switchover that Patroni called failed or unknown may still turn out to have happened."""

NOT_WRITTEN = "failed to write"
"""What Patroni says when the configuration store did not take the request."""

PATRONI_LAG = 1048576
"""Patroni's default of maximum_lag_on_failover, in bytes."""


@dataclasses.dataclass(frozen=True)
class Handover:
    """The lead goes from one member to another.

    Args:
        source: name of the leader that gives it up.
        target: name of the member that takes it.
        timeline: before it.
    """

    source: str
    target: str
    timeline: int

    def __str__(self) -> str:
        """The handover in words."""
        return f"switch over from {self.source} to {self.target}"


def scheduled(view: View) -> list[Problem]:
    """Say whether a switchover is scheduled already, which another one would replace."""
    if not view.scheduled_switchover:
        return []
    at = view.scheduled_switchover.get("at", "an unknown time")
    return [Problem(f"a switchover is scheduled at {at} (patronictl flush takes it away)", passing=False)]


def unfit(view: View, member: Member, max_lag_bytes: int) -> str:
    """Return why a member cannot lead next; empty if it can."""
    limit = min(max_lag_bytes, int(view.config.get("maximum_lag_on_failover", PATRONI_LAG)))
    if member.leads:
        return "it leads"
    if member.unreachable:
        return f"it does not answer ({member.unreachable})"
    if member.tags.get("nofailover") is True or str(member.tags.get("failover_priority", 1)) == "0":
        return "it has the tag nofailover"
    if member.state not in WORKING or not member.streams:
        return f"it does not stream (PostgreSQL is {member.state})"
    if view.synchronous_mode != "off" and member not in view.synchronous_standbys:
        names = ", ".join(standby.name for standby in view.synchronous_standbys)
        return f"it is not synchronous and may lack committed transactions (synchronous: {names or 'none'})"
    if member.lag_bytes is None:
        return "it is not known how far it is behind"
    if member.lag_bytes > limit:
        return f"it is {member.lag_bytes} bytes behind, more than {limit}"
    return ""


def choose(view: View, max_lag_bytes: int) -> Member:
    """Return the member that should lead next: the highest failover_priority, then the least lag.

    Raises:
        MainstayError: none can; the sentence has the reason of each.
    """
    reasons = {member.name: unfit(view, member, max_lag_bytes) for member in view.replicas}
    fit = [member for member in view.replicas if not reasons[member.name]]
    if not fit:
        said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise MainstayError("find a member that can lead next", said or "there is no standby")
    return min(fit, key=lambda member: (-int(member.tags.get("failover_priority", 1)), member.lag_bytes, member.name))


def check_wish(view: View, candidate: str, leader: str) -> None:
    """Refuse a wish that does not fit the cluster.

    Raises:
        InvalidInput: it does not.
    """
    doing = f"switch over {view.scope}"
    for name in (candidate, leader):
        if name and view.find(name) is None:
            raise InvalidInput(doing, f"there is no member {name}, the cluster has {', '.join(member.name for member in view.members) or 'none'}")
    if candidate and candidate == leader:
        raise InvalidInput(doing, f"candidate and leader are both {candidate}")
    if view.is_standby_cluster:
        raise InvalidInput(doing, "it is a standby cluster, which follows another one", "use patronictl switchover")


def is_there(view: View, candidate: str, leader: str) -> bool:
    """Tell whether the lead is where the wish wants it."""
    if view.leader is None:
        return False
    return view.leader.name == candidate or bool(leader and not candidate and view.leader.name != leader)


def plan(view: View, candidate: str, leader: str, max_lag_bytes: int) -> Handover | None:
    """Return the handover that brings about what is asked for, or ``None`` if nothing is to be done.

    Args:
        view: the cluster, in order.
        candidate: who is to lead; empty is the best.
        leader: who is not to lead any more; empty is whoever leads.
        max_lag_bytes: a candidate may be so far behind.

    Raises:
        InvalidInput: see :func:`check_wish`, or somebody else leads than ``leader``.
        MainstayError: the candidate, or everybody, cannot lead.
    """
    doing = f"switch over {view.scope}"
    check_wish(view, candidate, leader)
    if is_there(view, candidate, leader):
        return None
    if view.leader is None:
        raise MainstayError(doing, "there is no leader")
    if leader and view.leader.name != leader:
        raise InvalidInput(doing, f"{view.leader.name} leads and not {leader}", "look at the cluster again before it is switched over")
    target = view.member(candidate) if candidate else choose(view, max_lag_bytes)
    if reason := unfit(view, target, max_lag_bytes):
        raise MainstayError(f"{doing} to {target.name}", reason)
    return Handover(view.leader.name, target.name, view.leader.timeline or 0)


def carry_out(client: Client, view: View, handover: Handover, patience: Patience, phases: Phases) -> View:
    """Switch over, wait until the new leader accepts writes and everybody follows it, and return what the cluster looks like then.

    Raises:
        Refused: Patroni did not do it; the old leader leads.
        MainstayError: it came out otherwise, or took too long.
    """
    source, target = view.member(handover.source), view.member(handover.target)
    with phases("switch over"):
        answer = _request(client, source.api, handover, patience.seconds)
        _await_writes(client, target.api, handover, answer, patience.seconds, 2 * view.loop_wait() + GRACE_SECONDS)
    with phases("rejoin"):
        after = patience.wait(client, f"see {handover.source} follow {handover.target} after the switchover")
    leader = after.leader
    if leader is None or leader.name != handover.target:
        raise MainstayError(str(handover), f"it was done, and then {leader.name if leader else 'nobody'} leads", "look at the logs of Patroni on the members")
    if leader.timeline != handover.timeline + 1:
        raise MainstayError(str(handover), f"the timeline went from {handover.timeline} to {leader.timeline}, so that more than this one promotion happened")
    return after


def _request(client: Client, leader: Endpoint, handover: Handover, seconds: float) -> Answer | None:
    """Ask the leader for it; ``None`` means that no answer came and it is to be seen what happened."""
    wish = {"leader": handover.source, "candidate": handover.target}
    try:
        answer = client.send(leader, "POST", "/switchover", wish, seconds, str(handover))
    except Unreachable:
        return None
    if answer.status in (400, 412) or NOT_WRITTEN in answer.text:
        raise Refused(str(handover), answer.words())
    return answer


def _await_writes(client: Client, target: Endpoint, handover: Handover, answer: Answer | None, seconds: float, grace: float) -> None:
    """Wait until the new leader says that it accepts writes.

    Args:
        client: whom to ask.
        target: the new leader.
        handover: what was asked for.
        answer: what Patroni said.
        seconds: how long it may take.
        grace: how long if Patroni said that it failed, or nothing.
    """
    done = answer is not None and answer.status == 200
    deadline = time.monotonic() + (seconds if done else min(seconds, grace))
    while True:
        with contextlib.suppress(Unreachable):
            if client.get(target, "/primary").status == 200:
                return
        leader = _leader_of(client)
        if leader and leader not in (handover.source, handover.target):
            raise MainstayError(str(handover), f"{leader} took the lead instead", "look at the logs of Patroni on the members")
        if time.monotonic() > deadline:
            said = answer.words() if answer is not None else "Patroni gave no answer"
            raise Refused(str(handover), f"{said}; {leader or 'nobody'} leads", "look at the logs of Patroni on the members")
        time.sleep(POLL_SECONDS)


def _leader_of(client: Client) -> str:
    with contextlib.suppress(Unreachable):
        members = first(client, "/cluster").document().get("members", [])
        return next((member["name"] for member in members if member.get("role") in LEADERS), "")
    return ""


def run(client: Client, params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring the lead where the module's options want it.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    started, phases, found = time.monotonic(), Phases(), []
    if params["wait_timeout"] < 1 or params["max_lag_bytes"] < 0:
        raise InvalidInput("switch over", "wait_timeout must be at least 1, and max_lag_bytes not negative")
    candidate, leader = params["candidate"] or "", params["leader"] or ""
    patience = Patience(float(params["wait_timeout"]), params["max_lag_bytes"])
    at_once = dataclasses.replace(patience, with_lasting=False)
    handover = None
    with phases("plan"):
        view = look(client)
        check_wish(view, candidate, leader)
        if is_there(view, candidate, leader):
            found = judge(view, patience.max_lag_bytes)
        else:
            view = at_once.wait(client, f"switch over {view.scope}", scheduled)
            handover = plan(view, candidate, leader, patience.max_lag_bytes)
        if handover is not None:
            client.prove_login(view.member(handover.source).api)
    if found and not check_mode:  # a run that was cut off may have left the old leader on its way back
        with phases("rejoin"), contextlib.suppress(MainstayError):
            view, found = at_once.wait(client, "see the cluster in order"), []
    if handover is not None and not check_mode:
        view = carry_out(client, view, handover, patience, phases)
    warnings = [f"The cluster is not in order: {join(found)}"] if found else []
    return _result(view, handover, phases, time.monotonic() - started), warnings


def _result(view: View, handover: Handover | None, phases: Phases, seconds: float) -> dict[str, t.Any]:
    leader = view.leader.name if view.leader else ""
    timeline = view.leader.timeline if view.leader and view.leader.timeline else 0
    source, target = (handover.source, handover.target) if handover else (leader, leader)
    before = handover.timeline if handover else timeline
    after = before + 1 if handover else timeline
    return {
        "changed": handover is not None,
        "actions": [str(handover)] if handover else [],
        "from": source,
        "to": target,
        "timeline_before": before,
        "timeline_after": after,
        "members": [member.plain() for member in view.members],
        "phases": phases.seconds,
        "seconds": round(seconds, 3),
        "diff": {"before": f"leader: {source}\ntimeline: {before}\n", "after": f"leader: {target}\ntimeline: {after}\n"},
    }
