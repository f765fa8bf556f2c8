# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members that a drill is run on, and whether all of them are well.

This asks every member by itself: its Patroni, its PostgreSQL as the application's user, and its etcd. What the collection's modules say about a failover is
not what it is judged by.
"""

from __future__ import annotations

import dataclasses
import json
import ssl
import time
import typing as t
import urllib.error
import urllib.request

import psycopg2
from fixtures.client.postgres_writer import Access

from drills.failure import DrillFailed

POLL = 0.5
"""Seconds between two looks."""

ASK_SECONDS = 3
"""How long one answer may take."""

IN_STEP = 65536
"""Bytes that a standby may be behind a primary that nobody writes to: what the server itself logs now and then."""

LOOK = """SELECT pg_catalog.pg_is_in_recovery(),
  (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END - '0/0')::bigint"""


@dataclasses.dataclass(frozen=True)
class Member:
    """A host with PostgreSQL, Patroni and etcd: its name, the address and port of PostgreSQL, and the URLs of the two others."""

    name: str
    address: str
    port: int
    api_url: str
    etcd_url: str


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All members, how the application logs in, and the files for TLS: the authority, and what is shown to etcd (certificate and key), if it asks."""

    members: tuple[Member, ...]
    application: Access
    ca_file: str
    etcd_pair: tuple[str, str] | None = None

    def named(self, name: str) -> Member:
        """Return the member of a name.

        Raises:
            DrillFailed: there is none.
        """
        for member in self.members:
            if member.name == name:
                return member
        raise DrillFailed(f"the leader {name} is none of the members")

    def get(self, url: str) -> t.Any:
        """Return the answer of a Patroni or an etcd; raises OSError or ValueError."""
        context = ssl.create_default_context(cafile=self.ca_file) if url.startswith("https") else None
        if context and self.etcd_pair:
            context.load_cert_chain(*self.etcd_pair)
        with urllib.request.urlopen(url, timeout=ASK_SECONDS, context=context) as answer:  # noqa: S310
            return json.load(answer)


@dataclasses.dataclass(frozen=True)
class Opinion:
    """What one Patroni thinks: role and state of each member by its name, and whether a standby has to be synchronous."""

    name: str
    roles: t.Mapping[str, tuple[str, str]]
    synchronous: bool

    @property
    def leaders(self) -> tuple[str, ...]:
        """Names of the members that lead."""
        return tuple(name for name, (role, _state) in self.roles.items() if role == "leader")


@dataclasses.dataclass(frozen=True)
class State:
    """What one PostgreSQL says: whether it is a standby, and to which byte of the log it has written or replayed."""

    name: str
    standby: bool
    position: int


@dataclasses.dataclass(frozen=True)
class View:
    """What everybody said at one moment; ``silent`` are sentences about those who did not answer, or said that they are not well."""

    opinions: tuple[Opinion, ...]
    states: tuple[State, ...]
    silent: tuple[str, ...] = ()


def problems(view: View, members: int) -> list[str]:
    """Return in sentences what is not well. Well is: one leader that everybody means, all others standbys in step, one of them synchronous if that is asked."""
    found = list(view.silent)
    named = {opinion.leaders for opinion in view.opinions}
    for opinion in view.opinions:
        found += _doubts(opinion, members)
    if len(named) != 1 or len(leaders := named.pop()) != 1:
        return [*found, "Patroni does not name the same single leader on all members"]
    positions = {state.name: state.position for state in view.states}
    for state in view.states:
        if state.standby is (state.name == leaders[0]):
            found.append(f"{state.name} should be the primary and is a standby" if state.standby else f"{state.name} is a primary and should be a standby")
        elif (behind := positions.get(leaders[0], state.position) - state.position) > IN_STEP:
            found.append(f"{state.name} is {behind} bytes behind")
    return found


def _doubts(opinion: Opinion, members: int) -> t.Iterator[str]:
    where = f"Patroni on {opinion.name}"
    if len(opinion.roles) != members:
        yield f"{where} knows {len(opinion.roles)} members"
    for name, (role, state) in opinion.roles.items():
        # A standby that streams is "running" before Patroni 3.1.
        if state not in (("running",) if role == "leader" else ("running", "streaming")):
            yield f"{where} says of {name}: {role}, {state}"
    if opinion.synchronous and not any(role in ("sync_standby", "quorum_standby") for role, _state in opinion.roles.values()):
        yield f"{where} knows no synchronous standby"


def look(cluster: Cluster) -> View:
    """Ask every Patroni, every PostgreSQL and every etcd."""
    opinions: list[t.Any] = []
    states: list[t.Any] = []
    silent = []
    for member in cluster.members:
        for ask, answers in ((_ask_patroni, opinions), (_ask_server, states), (_ask_etcd, [])):
            try:
                answers.append(ask(cluster, member))
            except (psycopg2.Error, OSError, ValueError, KeyError) as error:
                silent.append(f"{member.name} does not answer ({ask.__name__.removeprefix('_ask_')}): {type(error).__name__}: {' '.join(str(error).split())}")
    return View(tuple(opinions), tuple(states), tuple(silent))


def _ask_patroni(cluster: Cluster, member: Member) -> Opinion:
    if cluster.get(f"{member.api_url}/patroni").get("failsafe_mode_is_active"):
        raise ValueError("it goes on in failsafe mode")
    members = cluster.get(f"{member.api_url}/cluster")["members"]
    synchronous = cluster.get(f"{member.api_url}/config").get("synchronous_mode") in (True, "on", "quorum")
    return Opinion(member.name, {entry["name"]: (entry["role"], entry["state"]) for entry in members}, synchronous)


def _ask_server(cluster: Cluster, member: Member) -> State:
    ((standby, position),) = ask_postgresql(cluster, member, LOOK)
    return State(member.name, standby, position)


def _ask_etcd(cluster: Cluster, member: Member) -> None:
    if str(cluster.get(f"{member.etcd_url}/health")["health"]) != "true":
        raise ValueError("it is not well")


def ask_postgresql(cluster: Cluster, member: Member, statement: str) -> list[tuple[t.Any, ...]]:
    """Run a statement at one member as the application's user; raises psycopg2.Error."""
    connection = psycopg2.connect(**cluster.application.options([(member.address, member.port)], "any"))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def wait_until_well(cluster: Cluster, seconds: float) -> Member:
    """Wait until nothing is wrong any more; return the leader.

    Raises:
        DrillFailed: it takes longer; the message says what was last seen.
    """
    deadline = time.monotonic() + seconds
    while wrong := problems(view := look(cluster), len(cluster.members)):
        if time.monotonic() > deadline:
            raise DrillFailed(f"not well after {seconds:.0f} s: {'; '.join(wrong)}")
        time.sleep(POLL)
    return cluster.named(view.opinions[0].leaders[0])


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the figures depend on, as the members say it. Times are in seconds."""

    postgresql: str
    patroni: str
    ttl: int
    loop_wait: int
    retry_timeout: int
    primary_start_timeout: int
    synchronous: str
    failsafe: bool
    tls: bool


def read_settings(cluster: Cluster) -> Settings:
    """Read the settings of the running daemons; raises OSError, ValueError or psycopg2.Error."""
    member = cluster.members[0]
    config = cluster.get(f"{member.api_url}/config")
    ((version,),) = ask_postgresql(cluster, member, "SHOW server_version")
    mode = config.get("synchronous_mode", False)
    return Settings(
        postgresql=version.split()[0],
        patroni=cluster.get(f"{member.api_url}/patroni")["patroni"]["version"],
        ttl=config["ttl"],
        loop_wait=config["loop_wait"],
        retry_timeout=config["retry_timeout"],
        primary_start_timeout=config.get("primary_start_timeout", 300),
        synchronous={True: "on", False: "off"}.get(mode, str(mode)),
        failsafe=bool(config.get("failsafe_mode")),
        tls=cluster.application.ca_file is not None,
    )
