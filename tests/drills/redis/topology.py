# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers and Sentinels that a drill is run on, and whether all of them are well.

This asks every member by itself, with the ``redis`` library alone: what the collection's modules say about a failover is not what it is judged by.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

import redis
from fixtures.client.redis_writer import Access

from drills.failure import DrillFailed

POLL = 0.5
"""Seconds between two looks."""

ACKNOWLEDGED = 1
"""A replica acknowledges once a second; one that did so longer ago than this is not well."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A host with a server and a Sentinel: its name, its address as the Sentinels say it, and the two ports."""

    name: str
    address: str
    port: int
    sentinel_port: int


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All members, and how to log in: as the application, whose writes are counted, and as the one who looks after the servers."""

    members: tuple[Member, ...]
    application: Access
    admin: Access

    def at(self, host: str, port: int) -> Member | None:
        """Return the member whose server has this address."""
        return next((member for member in self.members if (member.address, member.port) == (host, port)), None)


@dataclasses.dataclass(frozen=True)
class Opinion:
    """What one Sentinel thinks.

    Attributes:
        name: the member on which it runs.
        master: host and port.
        flags: the master's flags.
        others: how many other Sentinels it knows.
        replicas: flags and link state of each replica that it knows.
        quorum: its answer to ``SENTINEL CKQUORUM``.
    """

    name: str
    master: tuple[str, int]
    flags: str
    others: int
    replicas: tuple[tuple[str, str], ...]
    quorum: str


@dataclasses.dataclass(frozen=True)
class State:
    """What one server says: its address, its role, as a replica its master and the link, as a master the state and lag in seconds of each replica."""

    name: str
    address: tuple[str, int]
    role: str
    master: tuple[str, int] | None
    link: str
    replicas: tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class View:
    """What everybody said at one moment; ``silent`` are sentences about those who did not answer."""

    opinions: tuple[Opinion, ...]
    states: tuple[State, ...]
    silent: tuple[str, ...] = ()


def problems(view: View, members: int) -> list[str]:
    """Return in sentences what is not well. Well is: one master that everybody means, all others its replicas in step, all Sentinels in touch."""
    found = list(view.silent)
    named = {opinion.master for opinion in view.opinions}
    if len(named) != 1:
        found.append(f"the Sentinels name {len(named)} masters: {', '.join(f'{host}:{port}' for host, port in sorted(named))}")
    for opinion in view.opinions:
        found += _doubts(opinion, members)
    master = named.pop() if len(named) == 1 else None
    for state in view.states:
        found += _as_master(state, members) if state.address == master else _as_replica(state, master)
    return found


def _doubts(opinion: Opinion, members: int) -> t.Iterator[str]:
    where = f"the Sentinel on {opinion.name}"
    if opinion.flags != "master":
        yield f"{where} says of the master: {opinion.flags}"
    if opinion.others != members - 1:
        yield f"{where} knows {opinion.others} others"
    if len(opinion.replicas) != members - 1:
        yield f"{where} knows {len(opinion.replicas)} replicas"
    yield from (f"{where} says of a replica: {flags}, link {link}" for flags, link in opinion.replicas if (flags, link) != ("slave", "ok"))
    if not opinion.quorum.startswith("OK"):
        yield f"{where} has no quorum: {opinion.quorum}"


def _as_master(state: State, members: int) -> t.Iterator[str]:
    if state.role != "master":
        yield f"{state.name} should be the master and is a {state.role}"
    good = [lag for online, lag in state.replicas if online == "online" and lag <= ACKNOWLEDGED]
    if len(good) != members - 1:
        yield f"{state.name} has {len(good)} replicas in step"


def _as_replica(state: State, master: tuple[str, int] | None) -> t.Iterator[str]:
    if state.role != "slave":
        yield f"{state.name} should be a replica and is a {state.role}"
    elif state.master != master or state.link != "up":
        yield f"{state.name} follows {state.master}, link {state.link}"


def look(cluster: Cluster) -> View:
    """Ask every Sentinel and every server."""
    opinions, states, silent = [], [], []
    for member in cluster.members:
        for ask, answers in ((_ask_sentinel, opinions), (_ask_server, states)):
            try:
                answers.append(ask(cluster.admin, member))
            except (redis.exceptions.RedisError, OSError) as error:
                silent.append(f"{member.name} does not answer: {type(error).__name__}: {error}")
    return View(tuple(opinions), tuple(states), tuple(silent))


def _ask_sentinel(access: Access, member: Member) -> Opinion:
    with access.sentinel_at(member.address, member.sentinel_port) as sentinel:
        master = sentinel.sentinel_master(access.master_name)
        replicas = sentinel.sentinel_slaves(access.master_name)
        # As two words: the library makes a yes or no of the answer to the one command that it knows.
        try:
            quorum = str(sentinel.execute_command("SENTINEL", "CKQUORUM", access.master_name))
        except redis.exceptions.ResponseError as error:
            quorum = str(error)
    return Opinion(
        name=member.name,
        master=(master["ip"], int(master["port"])),
        flags=master["flags"],
        others=int(master["num-other-sentinels"]),
        replicas=tuple((replica["flags"], replica["master-link-status"]) for replica in replicas),
        quorum=quorum,
    )


def _ask_server(access: Access, member: Member) -> State:
    with access.server(member.address, member.port) as server:
        info = server.info("replication")
    replicas = [info[f"slave{number}"] for number in range(info["connected_slaves"])]
    return State(
        name=member.name,
        address=(member.address, member.port),
        role=info["role"],
        master=(info["master_host"], int(info["master_port"])) if "master_host" in info else None,
        link=info.get("master_link_status", ""),
        replicas=tuple((replica["state"], int(replica["lag"])) for replica in replicas),
    )


def wait_until_well(cluster: Cluster, seconds: float) -> Member:
    """Wait until nothing is wrong any more; return the master.

    Raises:
        DrillFailed: it takes longer; the message says what was last seen.
    """
    deadline = time.monotonic() + seconds
    while wrong := problems(view := look(cluster), len(cluster.members)):
        if time.monotonic() > deadline:
            raise DrillFailed(f"not well after {seconds:.0f} s: {'; '.join(wrong)}")
        time.sleep(POLL)
    master = cluster.at(*view.opinions[0].master)
    if master is None:
        raise DrillFailed(f"the master {view.opinions[0].master} is none of the members")
    return master


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the figures depend on, as the master and a Sentinel say it. Times are in the units of their names."""

    version: str
    persistence: str
    min_replicas: int
    max_lag_seconds: int
    down_after_ms: int
    failover_timeout_ms: int
    quorum: int
    tls: bool


def read_settings(cluster: Cluster, master: Member) -> Settings:
    """Read the settings of the running daemons; raises RedisError."""
    access = cluster.admin
    with access.server(master.address, master.port) as server:
        version = server.info("server")
        config = {name: server.config_get(name)[name] for name in ("appendonly", "appendfsync", "min-replicas-to-write", "min-replicas-max-lag")}
    with access.sentinel_at(master.address, master.sentinel_port) as sentinel:
        watched = sentinel.sentinel_master(access.master_name)
    valkey = version.get("valkey_version")
    return Settings(
        version=f"Valkey {valkey}" if valkey else f"Redis {version['redis_version']}",
        persistence=f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}",
        min_replicas=int(config["min-replicas-to-write"]),
        max_lag_seconds=int(config["min-replicas-max-lag"]),
        down_after_ms=int(watched["down-after-milliseconds"]),
        failover_timeout_ms=int(watched["failover-timeout"]),
        quorum=int(watched["quorum"]),
        tls=access.ca_file is not None,
    )
