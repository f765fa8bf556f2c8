# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as all endpoints see it, for people and for what waits until it is in order."""

from __future__ import annotations

import dataclasses
import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import (
    REACH,
    Answer,
    Client,
    Endpoint,
    LoginFailed,
    Refused,
    Unreachable,
)
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.secrecy import mask
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.source import Source, loss_of, see_source, source_client
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import LEADERS, WORKING, Problem, View, join, judge, look

DOING = "look at the cluster"
POLL_SECONDS = 0.5
NOTHING = View((), {})
"""What is known of a cluster whose configuration store cannot be read."""


@dataclasses.dataclass(frozen=True)
class Witness:
    """What one endpoint says.

    Args:
        endpoint: which one.
        unreachable: why it does not answer; empty if it does.
        refused: why it does not take the password; empty if it does, or if there is none.
        unread: why it cannot read the configuration store; empty if it can.
        version: of its Patroni.
        scope: the cluster that it belongs to.
        leader: who leads as it sees it.
    """

    endpoint: Endpoint
    unreachable: str = ""
    refused: str = ""
    unread: str = ""
    version: str = ""
    scope: str = ""
    leader: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        return self.unreachable or self.refused or self.unread

    def plain(self) -> dict[str, t.Any]:
        """Return it as modules return it."""
        return {
            "url": str(self.endpoint),
            "reachable": not self.unreachable,
            "problem": self.problem,
            "patroni_version": self.version,
            "leader": self.leader,
        }


def ask(client: Client, endpoints: t.Sequence[Endpoint]) -> list[Witness]:
    """Ask every endpoint who leads, and whether it takes the password if there is one.

    Raises:
        InvalidInput: they belong to different clusters.
    """
    answers = client.get_all([(endpoint, path) for endpoint in endpoints for path in ("/patroni", "/cluster")])
    found = [_witness(client, endpoint, *answers[2 * number : 2 * number + 2]) for number, endpoint in enumerate(endpoints)]
    scopes = {witness.scope: witness for witness in found if witness.scope}
    if len(scopes) > 1:
        said = ", ".join(f"{witness.endpoint} to {scope}" for scope, witness in scopes.items())
        raise InvalidInput(DOING, f"the endpoints belong to different clusters: {said}", "name those of one cluster")
    return found


def _witness(client: Client, endpoint: Endpoint, status: Answer | Unreachable, cluster: Answer | Unreachable) -> Witness:
    if isinstance(status, Unreachable):
        return Witness(endpoint, unreachable=status.cause)
    patroni = status.document().get("patroni", {})
    refused = unread = leader = ""
    if client.has_login:
        try:
            client.prove_login(endpoint)
        except (LoginFailed, Unreachable) as error:
            refused = error.cause
    if isinstance(cluster, Unreachable):
        unread = cluster.cause
    elif cluster.status != 200:
        unread = f"{endpoint}: {cluster.words()}"
    else:
        leader = next((member["name"] for member in cluster.document().get("members", []) if member.get("role") in LEADERS), "")
    return Witness(endpoint, "", refused, unread, patroni.get("version", ""), patroni.get("scope", ""), leader)


def compare(witnesses: t.Sequence[Witness], view: View, expected: t.Collection[str]) -> list[Problem]:
    """Say what is wrong between the endpoints, and which members are missing."""
    known = {member.endpoint for member in view.members}
    found = [
        Problem(f"the endpoint {witness.endpoint} cannot be used ({witness.problem})", passing=False)
        for witness in witnesses
        if witness.refused or witness.unread or (witness.unreachable and witness.endpoint not in known)
    ]
    leaders = {witness.leader for witness in witnesses if not witness.problem}
    if len(leaders) > 1:
        said = ", ".join(f"{witness.endpoint} sees {witness.leader or 'nobody'}" for witness in witnesses if not witness.problem)
        found.append(Problem(f"the endpoints do not agree on who leads: {said}"))
    missing = [name for name in expected if view.find(name) is None]
    return [*found, *(Problem(f"{name} is not a member of the cluster") for name in missing)]


def survey(client: Client, endpoints: t.Sequence[Endpoint], max_lag_bytes: int, expected: t.Collection[str]) -> tuple[View, list[Witness], list[Problem]]:
    """Look at the cluster through all endpoints and at each member.

    Raises:
        Unreachable: no endpoint answers.
        LoginFailed: none takes the password.
        InvalidInput: they belong to different clusters.
    """
    witnesses = ask(client, endpoints)
    answering = [witness for witness in witnesses if not witness.unreachable]
    if not answering:
        raise Unreachable(DOING, "; ".join(witness.unreachable for witness in witnesses), REACH)
    if all(witness.refused for witness in answering):
        raise LoginFailed(DOING, "; ".join(witness.refused for witness in answering), "check api_user and api_password")
    readers = tuple(witness.endpoint for witness in answering if not witness.unread)
    if not readers:
        causes = "; ".join(witness.unread for witness in answering)
        return NOTHING, witnesses, [Problem(f"nobody can read the configuration store ({causes})", passing=False)]
    client.endpoints = readers
    view = look(client)
    return view, witnesses, [*judge(view, max_lag_bytes), *compare(witnesses, view, expected)]


def run(client: Client, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the cluster, once it is as the module's options want it.

    Raises:
        MainstayError: no endpoint can be used, or it was not so within the time.
    """
    if params["wait_timeout"] < 0 or params["max_lag_bytes"] < 0:
        raise InvalidInput(DOING, "wait_timeout and max_lag_bytes must not be negative")
    endpoints, wait_for, started = client.endpoints, params["wait_for"], time.monotonic()
    while True:
        left = started + params["wait_timeout"] - time.monotonic()
        try:
            view, witnesses, problems = survey(client, endpoints, params["max_lag_bytes"], params["expected_members"])
        except (Unreachable, Refused):
            if wait_for == "none" or left < POLL_SECONDS:
                raise
        else:
            lacking = lacks(view, problems, wait_for)
            if not lacking:
                return _result(view, witnesses, problems, source_of(view, params), time.monotonic() - started)
            if left < POLL_SECONDS:
                what = "a leader" if wait_for == "leader" else "a healthy cluster"
                raise MainstayError(f"see {what}", f"within {params['wait_timeout']} seconds this did not pass: {lacking}", "look at the logs of Patroni")
        time.sleep(POLL_SECONDS)


def lacks(view: View, problems: t.Sequence[Problem], wait_for: str) -> str:
    """Return what is missing for what is waited for; empty if nothing is."""
    if wait_for == "healthy":
        return join(problems)
    if wait_for == "leader" and (view.leader is None or view.leader.unreachable or view.leader.state not in WORKING):
        return join(problems) or "there is no leader"
    return ""


def source_of(view: View, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what is known of the cluster that this one follows, and how far behind this one is, as modules return it."""
    source = see_source(source_client(params)) if view.is_standby_cluster else Source(None, "this cluster follows none")
    there = source.view.leader if source.view else None
    loss = loss_of(view.leader, source, datetime.datetime.now(datetime.timezone.utc)) if view.is_standby_cluster and view.leader else None
    more = source.lacks(view.leader)
    return {
        "reachable": source.view is not None,
        "problem": f"this cluster has {more} bytes of the timeline that the source lacks, so they have parted" if more else source.why,
        "leader": there.name if there else "",
        "takes_writes": source.writer is not None,
        "streams": source.sends_to(view.leader),
        "timeline": there.timeline if there else None,
        "lag_bytes": loss.size if loss else None,
        "lag_seconds": loss.seconds if loss else None,
    }


def _result(view: View, witnesses: t.Sequence[Witness], problems: t.Sequence[Problem], source: dict[str, t.Any], seconds: float) -> dict[str, t.Any]:
    leader = view.leader
    return {
        "cluster": view.scope or next((witness.scope for witness in witnesses if witness.scope), ""),
        "healthy": not problems,
        "problems": [problem.text for problem in problems],
        "leader": leader.name if leader else "",
        "timeline": leader.timeline if leader else None,
        "members": [member.plain() for member in view.members],
        "synchronous_mode": view.synchronous_mode,
        "synchronous_standbys": [member.name for member in view.synchronous_standbys],
        "standby_cluster": view.is_standby_cluster,
        "standby_leader": leader.name if leader and view.is_standby_cluster else "",
        "source": source,
        "paused": view.paused,
        "pending_restart": [member.name for member in view.members if member.pending_restart],
        "scheduled_switchover": dict(view.scheduled_switchover),
        "scheduled_restarts": [{"name": member.name, **member.scheduled_restart} for member in view.members if member.scheduled_restart],
        "config": mask(dict(view.config)),
        "endpoints": [witness.plain() for witness in witnesses],
        "seconds": round(seconds, 3),
    }
