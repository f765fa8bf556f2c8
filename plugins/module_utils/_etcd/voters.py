# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of etcd: which there are, one that joins, gets its vote, or goes."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import Client, Refused

NOT_YET = ("can only promote a learner member which is in sync", "unhealthy cluster")
"""What etcd says while a member catches up, and in the first seconds after members were started; both pass by themselves."""

POLL_SECONDS = 1.0
SEEN_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Member:
    """One member.

    Args:
        number: its identification, which etcd's JSON has as a decimal string.
        name: its name; empty until it has been started once.
        peer_urls: where the others reach it.
        learner: whether it follows without a vote.
    """

    number: str
    name: str
    peer_urls: tuple[str, ...]
    learner: bool = False

    def plain(self) -> dict[str, t.Any]:
        """Return it as modules return it; the identification as ``etcdctl`` has it."""
        return {"id": f"{int(self.number):x}", "name": self.name, "peer_urls": list(self.peer_urls), "learner": self.learner, "started": bool(self.name)}


@dataclasses.dataclass(frozen=True)
class Step:
    """One request that changes something, and what it does in words."""

    words: str
    path: str
    body: t.Mapping[str, t.Any]


def parse(answer: t.Mapping[str, t.Any]) -> tuple[Member, ...]:
    """Return the members of an answer of etcd, in order."""
    found = [
        Member(str(entry["ID"]), entry.get("name", ""), tuple(sorted(entry.get("peerURLs", []))), bool(entry.get("isLearner"))) for entry in answer["members"]
    ]
    return in_order(found)


def in_order(members: t.Iterable[Member]) -> tuple[Member, ...]:
    """Return members by name, those that have not told theirs yet last."""
    return tuple(sorted(members, key=lambda member: (not member.name, member.name, member.peer_urls)))


def find(members: t.Sequence[Member], name: str, peer_url: str) -> Member | None:
    """Return the member of a name, or the one that has not told its name yet and is to be reached at this URL."""
    named = next((member for member in members if member.name == name), None)
    return named or next((member for member in members if not member.name and peer_url in member.peer_urls), None)


def plan(members: t.Sequence[Member], name: str, peer_url: str, state: str) -> Step | None:
    """Return what brings the state about, or ``None`` if it holds.

    Args:
        members: who there is.
        name: of the member that this is about.
        peer_url: where the others reach it.
        state: ``learner``, ``voter`` or ``absent``.

    Raises:
        InvalidInput: it cannot be brought about.
    """
    member = find(members, name, peer_url)
    if state == "absent":
        return Step(f"remove {name} from etcd", "/v3/cluster/member/remove", {"ID": member.number}) if member else None
    if member is None and state == "learner":
        if other := next((other for other in members if peer_url in other.peer_urls), None):
            raise InvalidInput(f"let {name} join etcd", f"{other.name} is at {peer_url} already", "remove that member first, or check the address")
        return Step(f"let {name} join etcd without a vote", "/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})
    if member is None:
        raise InvalidInput(f"give {name} a vote in etcd", "it is no member", "let it join as a learner and start it first")
    if state == "voter" and member.learner:
        return Step(f"give {name} a vote in etcd", "/v3/cluster/member/promote", {"ID": member.number})
    return None


def after(members: t.Sequence[Member], name: str, peer_url: str, state: str) -> tuple[Member, ...]:
    """Return the members as they would be in this state."""
    member = find(members, name, peer_url)
    others = tuple(other for other in members if other is not member)
    if state == "absent":
        return others
    if member is None:
        return in_order((*others, Member("0", "", (peer_url,), True)))
    return in_order((*others, dataclasses.replace(member, learner=member.learner and state == "learner")))


def initial_cluster(members: t.Sequence[Member], name: str, peer_url: str) -> str:
    """Return what a member that joins has to know at its first start: exactly those that there are, and itself."""
    return ",".join(f"{name if peer_url in member.peer_urls else member.name}={url}" for member in members for url in member.peer_urls)


def carry_out(client: Client, step: Step, seconds: float) -> None:
    """Send the request, until it is not too early for it.

    Raises:
        MainstayError: etcd said no, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.call(step.path, step.body, step.words)
            return
        except Refused as error:
            if not any(words in error.cause for words in NOT_YET) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def seen_by_all(client: Client, name: str, peer_url: str, state: str) -> tuple[Member, ...]:
    """Return the members when the one that answers knows of the change too: before etcd 3.5 each answers with what it has seen itself."""
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        now = parse(client.call("/v3/cluster/member/list", {}, "list the members of etcd"))
        if plan(now, name, peer_url, state) is None or time.monotonic() > deadline:
            return now
        time.sleep(POLL_SECONDS)


def run(client: Client, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring the state about and return the module's result.

    Raises:
        MainstayError: it could not be done.
    """
    name, peer_url, state = params["name"], params["peer_url"] or "", params["state"]
    if state == "learner" and not peer_url:
        raise InvalidInput(f"let {name} join etcd", "peer_url is not given", "say where the others reach it, such as https://data4:2380")
    if params["root_password"]:
        client.login("root", params["root_password"])
    members = parse(client.call("/v3/cluster/member/list", {}, "list the members of etcd"))
    step = plan(members, name, peer_url, state)
    if step and not check_mode:
        carry_out(client, step, float(params["wait_timeout"]))
        now = seen_by_all(client, name, peer_url, state)
        if plan(now, name, peer_url, state):
            raise MainstayError(step.words, "etcd said that it was done, and it is not", "look at etcd's log")
    else:
        now = after(members, name, peer_url, state) if step else members
    return {
        "changed": step is not None,
        "actions": [step.words] if step else [],
        "members": [member.plain() for member in now],
        "initial_cluster": initial_cluster(now, name, peer_url),
        "diff": {"before": {"members": [_line(member) for member in members]}, "after": {"members": [_line(member) for member in now]}},
    }


def _line(member: Member) -> str:
    return f"{member.name or 'not started'} at {', '.join(member.peer_urls)}{' without a vote' if member.learner else ''}"
