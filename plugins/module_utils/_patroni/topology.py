# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Patroni cluster looks like: what the configuration store says of it, what each member says of itself, and what is wrong with it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import (
    REACH,
    Answer,
    Client,
    Endpoint,
    Refused,
    Unreachable,
    parse_endpoint,
)
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

LEADERS = ("leader", "standby_leader")
SYNCHRONOUS = ("sync_standby", "quorum_standby")
WORKING = ("running", "streaming", "in archive recovery")
FAILED = ("start failed", "stop failed", "restart failed", "crashed", "initdb failed", "custom bootstrap failed")
"""States that do not pass by themselves within moments; any other one that is not in :data:`WORKING` does."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 2.0
"""Seconds between two looks at a cluster that is waited for."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is wrong with a cluster.

    Args:
        text: a sentence without a final stop.
        passing: whether it goes away by itself when Patroni does its work.
    """

    text: str
    passing: bool = True


@dataclasses.dataclass(frozen=True)
class Member:
    """One member: what the store says of it, and what it says itself."""

    name: str
    role: str
    state: str
    endpoint: Endpoint | None = None
    host: str = ""
    port: int | None = None
    timeline: int | None = None
    lag_bytes: int | None = None
    streams: bool | None = None
    pending_restart: bool = False
    pending_reason: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    scheduled_restart: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    tags: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    unreachable: str = ""
    version: str = ""
    server_version: int = 0
    system_identifier: str = ""
    last_seen: int = 0
    sees_leader: bool = True
    failsafe: bool = False
    position: int | None = None
    replayed: int | None = None
    last_commit: str = ""
    followers: tuple[str, ...] = ()

    @property
    def leads(self) -> bool:
        """Whether it holds the lock of the leader."""
        return self.role in LEADERS

    @property
    def api(self) -> Endpoint:
        """Its REST API.

        Raises:
            MainstayError: it has not announced any.
        """
        if self.endpoint is None:
            raise MainstayError(f"reach Patroni on {self.name}", self.unreachable)
        return self.endpoint

    @property
    def postgres_version(self) -> str:
        """The version of PostgreSQL in words; empty if it is not known."""
        return f"{self.server_version // 10000}.{self.server_version % 10000}" if self.server_version else ""

    def plain(self) -> dict[str, t.Any]:
        """Return it as modules return it."""
        return {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "api_url": str(self.endpoint) if self.endpoint else "",
            "role": self.role,
            "state": self.state,
            "timeline": self.timeline,
            "lag_bytes": self.lag_bytes,
            "streams": self.streams,
            "pending_restart": self.pending_restart,
            "pending_restart_reason": dict(self.pending_reason),
            "scheduled_restart": dict(self.scheduled_restart),
            "tags": dict(self.tags),
            "reachable": not self.unreachable,
            "patroni_version": self.version,
            "postgres_version": self.postgres_version,
        }


@dataclasses.dataclass(frozen=True)
class View:
    """A cluster at one moment."""

    members: tuple[Member, ...]
    config: t.Mapping[str, t.Any]
    scope: str = ""
    paused: bool = False
    scheduled_switchover: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def leader(self) -> Member | None:
        """The leader, of a standby cluster too."""
        return next((member for member in self.members if member.leads), None)

    @property
    def replicas(self) -> tuple[Member, ...]:
        """All others, by name."""
        return tuple(member for member in self.members if not member.leads)

    @property
    def is_standby_cluster(self) -> bool:
        """Whether the whole cluster follows another one."""
        return bool(self.config.get("standby_cluster"))

    @property
    def synchronous_mode(self) -> str:
        """``off``, ``on`` or ``quorum``."""
        mode = str(self.config.get("synchronous_mode", "")).lower()
        return "quorum" if mode == "quorum" else "on" if mode in ("true", "on", "yes", "1") else "off"

    @property
    def synchronous_standbys(self) -> tuple[Member, ...]:
        """The standbys that have every transaction which a client was told is committed."""
        return tuple(member for member in self.members if member.role in SYNCHRONOUS) if self.synchronous_mode != "off" else ()

    def find(self, name: str) -> Member | None:
        """Return the member of a name, if there is one."""
        return next((member for member in self.members if member.name == name), None)

    def member(self, name: str) -> Member:
        """Return the member of a name.

        Raises:
            MainstayError: there is none.
        """
        if (found := self.find(name)) is None:
            raise MainstayError(f"find the member {name}", f"the cluster has {', '.join(member.name for member in self.members) or 'no members'}")
        return found

    def loop_wait(self) -> int:
        """Seconds between two rounds of each member."""
        return int(self.config.get("loop_wait", 10))


def look(client: Client, all_at_once: bool = False) -> View:
    """Look at the cluster once: through the first endpoint that can read the store, and at each member.

    Args:
        client: whom to ask.
        all_at_once: see :func:`first`.

    Raises:
        Unreachable: no endpoint could read the store.
    """
    answer = first(client, "/cluster", all_at_once)
    # In this order the endpoint has just read the store anew; /config alone answers from what it remembers.
    config = client.get(answer.endpoint, "/config")
    if config.status != 200:
        raise Refused("read the dynamic configuration of the cluster", config.words(), "check the configuration store (etcd)")
    cluster = answer.document()
    entries = cluster.get("members", [])
    places = [parse_endpoint(entry["api_url"]) for entry in entries if entry.get("api_url")]
    return build(cluster, config.document(), client.get_all([(place, "/patroni") for place in places]))


def first(client: Client, path: str, all_at_once: bool = False) -> Answer:
    """Read from the first endpoint that answers well, and begin with that one next time.

    Args:
        client: whom to ask.
        path: on the endpoint.
        all_at_once: ask all of them, where nobody may be there: a site that is silent costs one timeout then. Otherwise the others are asked together when the
            first one fails, which is two.

    Raises:
        Unreachable: none did; the sentence has the cause of each.
    """
    causes = []
    for endpoints in (client.endpoints,) if all_at_once else (client.endpoints[:1], client.endpoints[1:]):
        for endpoint, answer in zip(endpoints, client.get_all([(endpoint, path) for endpoint in endpoints])):
            if isinstance(answer, Unreachable):
                causes.append(answer.cause)
            elif answer.status == 200:
                client.endpoints = (endpoint, *(other for other in client.endpoints if other != endpoint))
                return answer
            else:
                causes.append(f"{endpoint}: {answer.words()}")
    raise Unreachable("read the cluster from Patroni", "; ".join(causes), REACH)


def build(cluster: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any], statuses: t.Sequence[Answer | Unreachable]) -> View:
    """Put a view together.

    Args:
        cluster: what ``/cluster`` says.
        config: what ``/config`` says.
        statuses: what ``/patroni`` of each member says that has a URL, in the order of the members.
    """
    entries = cluster.get("members", [])
    answers = iter(statuses)
    told: dict[str, t.Mapping[str, t.Any]] = {}
    failures: dict[str, str] = {}
    for entry in entries:
        if not entry.get("api_url"):
            failures[entry["name"]] = "it has not told the cluster where its REST API is"
            continue
        answer = next(answers)
        if isinstance(answer, Unreachable):
            failures[entry["name"]] = answer.cause
        else:
            told[entry["name"]] = answer.document()
    streaming = {row.get("application_name") for status in told.values() for row in status.get("replication", []) if row.get("state") == "streaming"}
    leader = next((entry["name"] for entry in entries if entry.get("role") in LEADERS), "")
    end = end_of_log(told.get(leader, {}).get("xlog", {}))
    members = tuple(_member(entry, told.get(entry["name"], {}), failures.get(entry["name"], ""), entry["name"] in streaming, end) for entry in entries)
    scopes = [status["patroni"]["scope"] for status in told.values() if status.get("patroni", {}).get("scope")]
    scope = cluster.get("scope") or next(iter(scopes), "")
    return View(members, config, scope, bool(cluster.get("pause")), cluster.get("scheduled_switchover", {}))


def _member(entry: t.Mapping[str, t.Any], status: t.Mapping[str, t.Any], failure: str, sends_to_it: bool, end: int | None) -> Member:
    """Put one member together; ``end`` is where the leader's log ends, in bytes."""
    leads = entry.get("role") in LEADERS
    replayed = status.get("xlog", {}).get("replayed_location")
    lag = entry.get("lag")
    if not leads and end is not None and replayed is not None:
        lag = max(0, end - replayed)
    streams = sends_to_it or "streaming" in (entry.get("state"), status.get("replication_state"))
    return Member(
        name=entry["name"],
        role=entry.get("role", ""),
        state=status.get("state") or entry.get("state", ""),
        endpoint=parse_endpoint(entry["api_url"]) if entry.get("api_url") else None,
        host=entry.get("host", ""),
        port=entry.get("port"),
        timeline=status.get("timeline") or entry.get("timeline"),
        lag_bytes=lag if isinstance(lag, int) and not leads else None,
        streams=None if leads else streams,
        pending_restart=bool(status.get("pending_restart") if status else entry.get("pending_restart")),
        pending_reason=status.get("pending_restart_reason") or {},
        scheduled_restart=status.get("scheduled_restart") or entry.get("scheduled_restart") or {},
        tags=entry.get("tags") or status.get("tags") or {},
        unreachable=failure,
        version=status.get("patroni", {}).get("version", ""),
        server_version=status.get("server_version", 0),
        system_identifier=status.get("database_system_identifier", ""),
        last_seen=status.get("dcs_last_seen", 0),
        sees_leader=not status.get("cluster_unlocked", False),
        failsafe=bool(status.get("failsafe_mode_is_active")),
        position=end_of_log(status.get("xlog", {})),
        replayed=replayed,
        last_commit=status.get("xlog", {}).get("replayed_timestamp") or "",
        followers=tuple(row.get("application_name", "") for row in status.get("replication", []) if row.get("state") == "streaming"),
    )


def end_of_log(log: t.Mapping[str, t.Any]) -> int | None:
    """Return the position up to which a member has the log, in bytes; none if it does not say.

    Args:
        log: what ``/patroni`` says of it. A standby that has just begun to stream calls the start of a segment received, although it has replayed more.
    """
    return max((log[name] for name in ("location", "received_location", "replayed_location") if log.get(name) is not None), default=None)


def judge(view: View, max_lag_bytes: int) -> list[Problem]:
    """Say what is wrong with a cluster; nothing is if the list is empty."""
    found: list[Problem] = []
    if view.paused:
        found.append(Problem("the cluster is paused, so that Patroni neither fails over nor restarts what has crashed", passing=False))
    if view.leader is None:
        found.append(Problem("there is no leader"))
    for member in view.members:
        found.extend(_problems_of(view, member, max_lag_bytes))
    # In a standby cluster nobody commits, and Patroni calls no member synchronous.
    if view.synchronous_mode != "off" and not view.is_standby_cluster and view.leader is not None and not view.synchronous_standbys:
        found.append(Problem("synchronous mode is on and no standby is synchronous"))
    identifiers = {member.system_identifier for member in view.members if member.system_identifier}
    if len(identifiers) > 1:
        found.append(Problem("the members hold data of different clusters (system identifiers differ)", passing=False))
    return found


def _problems_of(view: View, member: Member, max_lag_bytes: int) -> t.Iterator[Problem]:
    if member.unreachable:
        yield Problem(f"{member.name} does not answer ({member.unreachable})", passing=False)
    if member.failsafe:
        yield Problem(f"{member.name} cannot reach the configuration store and goes on in failsafe mode", passing=False)
    elif not member.sees_leader and view.leader is not None:
        yield Problem(f"{member.name} sees no leader")
    if member.state not in WORKING:
        yield Problem(f"PostgreSQL on {member.name} is {member.state or 'in an unknown state'}", passing=member.state not in FAILED)
    if member.leads or member.unreachable or member.state not in WORKING:
        return
    if not member.streams:
        yield Problem(f"{member.name} does not stream")
    elif view.leader is not None and view.leader.timeline and member.timeline and member.timeline != view.leader.timeline:
        yield Problem(f"{member.name} is on timeline {member.timeline}, the leader on {view.leader.timeline}")
    if member.lag_bytes is None:
        yield Problem(f"it is not known how far {member.name} is behind")
    elif member.lag_bytes > max_lag_bytes:
        yield Problem(f"{member.name} is {member.lag_bytes} bytes behind, more than {max_lag_bytes}")


def join(problems: t.Iterable[Problem]) -> str:
    """Return problems as one sentence."""
    return "; ".join(problem.text for problem in problems)


@dataclasses.dataclass
class Patience:
    """How long a cluster is waited for.

    Args:
        seconds: altogether, from now on.
        max_lag_bytes: a standby may be so far behind.
        with_lasting: whether to wait for what does not pass by itself too, since somebody else may put it right.
    """

    seconds: float
    max_lag_bytes: int
    with_lasting: bool = True

    def wait(self, client: Client, doing: str, more: t.Callable[[View], t.Iterable[Problem]] = lambda view: ()) -> View:
        """Look until nothing is wrong, and return the view.

        Args:
            client: whom to ask.
            doing: what this is for, for the error's sentence.
            more: further problems that a view may have.

        Raises:
            MainstayError: something is wrong still when the time is over, or will not pass by itself.
        """
        deadline, pause = time.monotonic() + self.seconds, SHORTEST_PAUSE
        while True:
            try:
                view = look(client)
                problems = [*judge(view, self.max_lag_bytes), *more(view)]
            except (Unreachable, Refused) as error:
                problems = [Problem(str(error), passing=False)]
            else:
                if not problems:
                    return view
            lasting = [problem for problem in problems if not problem.passing]
            if lasting and not self.with_lasting:
                raise MainstayError(doing, join(problems), "put that right first")
            if time.monotonic() + pause > deadline:
                raise MainstayError(doing, f"within {self.seconds:g} seconds this did not pass: {join(problems)}", "look at the logs of Patroni on the members")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)


class Phases:
    """Seconds of each phase, which shows itself while it goes on."""

    def __init__(self) -> None:
        """Begin without any."""
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> t.Iterator[None]:
        """Measure one phase."""
        started = time.monotonic()
        try:
            with current().phase(name):
                yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)
