# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Sentinels say of a master and its replicas, what these say of themselves, and whether the two fit together."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import re
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed, Refused, Server, login_from, redis_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, facts_from

LOOK_SECONDS = 3.0
"""Patience with one Sentinel or server; all are asked at the same time."""
POLL_SECONDS = 0.5
_NAMED_BY_SENTINEL = ("login_host", "login_port", "login_unix_socket")
_USABLE = re.compile(r"OK (\d+) usable")


def sentinel_argument_spec() -> dict[str, t.Any]:
    """Return the options of all modules that find their servers through Sentinel; the documentation is the ``redis_sentinel`` fragment."""
    sentinel: dict[str, t.Any] = {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 26379}}
    return {
        **{name: option for name, option in redis_argument_spec().items() if name not in _NAMED_BY_SENTINEL},
        "sentinels": {"type": "list", "elements": "dict", "required": True, "options": sentinel},
        "sentinel_user": {"type": "str"},
        "sentinel_password": {"type": "str", "no_log": True},
        "master_name": {"type": "str", "default": "main"},
        "other_site": {"type": "list", "elements": "str", "default": []},
    }


class Address(t.NamedTuple):
    """Where a Sentinel or a server is, as the Sentinels name it."""

    host: str
    port: int

    def __str__(self) -> str:
        return Login(self.host, self.port).address


@dataclasses.dataclass(frozen=True)
class Access:
    """The Sentinels, the master's name, how to log in to either kind (the address in a login is to be replaced), and hosts that belong to another site."""

    sentinels: tuple[Address, ...]
    master_name: str
    sentinel_login: Login
    server_login: Login
    other_site: frozenset[str] = frozenset()

    def sentinel(self, address: Address, timeout: float = LOOK_SECONDS) -> Server:
        """Return a connection to a Sentinel; ``timeout`` is seconds."""
        return Server(self.sentinel_login.at(*address), timeout)

    def server(self, address: Address, timeout: float = LOOK_SECONDS) -> Server:
        """Return a connection to a server; ``timeout`` is seconds."""
        return Server(self.server_login.at(*address), timeout)


def access_from(params: t.Mapping[str, t.Any]) -> Access:
    """Build the access from a module's parameters.

    Raises:
        InvalidInput: no Sentinel, options that exclude each other, or a missing library.
    """
    if not params["sentinels"]:
        raise InvalidInput("ask the Sentinels", "sentinels is empty", "name all of them")
    if params["sentinel_user"] and not params["sentinel_password"]:
        raise InvalidInput("log in to the Sentinels", "sentinel_user is given without sentinel_password")
    login = login_from({**params, "login_host": "", "login_port": 0, "login_unix_socket": None})
    if login.tls:
        login.context()  # a file that cannot be used is found here, not once for each server
    return Access(
        tuple(dict.fromkeys(Address(entry["host"], entry["port"]) for entry in params["sentinels"])),
        params["master_name"],
        dataclasses.replace(login, user=params["sentinel_user"], password=params["sentinel_password"]),
        login,
        frozenset(params.get("other_site") or ()),
    )


@dataclasses.dataclass(frozen=True)
class KnownReplica:
    """A replica as a Sentinel sees it."""

    address: Address
    priority: int
    flags: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether the Sentinel can reach it."""
        return not {"s_down", "o_down", "disconnected"} & set(self.flags)


@dataclasses.dataclass(frozen=True)
class SentinelView:
    """What a Sentinel says. Times are seconds; ``error`` is why it says nothing."""

    address: Address
    error: str = ""
    master: Address | None = None
    replicas: tuple[KnownReplica, ...] = ()
    known_sentinels: int = 0
    usable_sentinels: int = 0
    quorum: int = 0
    quorum_ok: bool = False
    quorum_says: str = ""
    tilt: bool = False
    failover_in_progress: bool = False
    down_after: float = 0.0
    failover_timeout: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether it said what it was asked."""
        return not self.error

    def replica(self, address: Address) -> KnownReplica | None:
        """Return a replica as this Sentinel sees it, if it knows it."""
        return next((replica for replica in self.replicas if replica.address == address), None)


@dataclasses.dataclass(frozen=True)
class ServerView:
    """What a server says of itself; ``error`` is why it says nothing. A priority is 0 for one that must never be promoted."""

    address: Address
    error: str = ""
    facts: ServerFacts | None = None
    priority: int = 0

    @property
    def is_master(self) -> bool:
        """Whether it says that it is a master."""
        return self.facts is not None and self.facts.role == "master"

    @property
    def is_linked(self) -> bool:
        """Whether it is a replica whose link to its master is up."""
        return self.facts is not None and self.facts.role == "replica" and self.facts.link_status == "up"


@dataclasses.dataclass(frozen=True)
class Topology:
    """All answers of one moment."""

    sentinels: tuple[SentinelView, ...]
    servers: t.Mapping[Address, ServerView]

    @property
    def answering(self) -> tuple[SentinelView, ...]:
        """The Sentinels that answer."""
        return tuple(view for view in self.sentinels if view.answers)

    @property
    def named(self) -> dict[Address, list[Address]]:
        """The masters that are named, each with the Sentinels that name it."""
        found: dict[Address, list[Address]] = {}
        for view in self.answering:
            if view.master is not None:
                found.setdefault(view.master, []).append(view.address)
        return found

    @property
    def master(self) -> ServerView | None:
        """The server that all Sentinels that answer name as the master, whatever it says of itself."""
        named = list(self.named)
        return self.servers[named[0]] if len(named) == 1 else None

    @property
    def agreed(self) -> bool:
        """Whether all Sentinels that answer name the same master, and that server says that it is one."""
        return self.master is not None and self.master.is_master

    @property
    def replicas(self) -> tuple[ServerView, ...]:
        """The replicas that any Sentinel knows, in the order of their addresses."""
        known = {replica.address for view in self.answering for replica in view.replicas}
        return tuple(self.servers[address] for address in sorted(known - set(self.named)))

    def lag_bytes(self, replica: ServerView) -> int:
        """Return how much the replica lacks of what the master has written; -1 if that cannot be said."""
        master = self.master
        if master is None or not master.is_master or replica.facts is None or replica.facts.role != "replica":
            return -1
        return max(0, t.cast(ServerFacts, master.facts).offset - replica.facts.offset)


def read_topology(access: Access) -> Topology:
    """Ask all Sentinels, and then all servers that they name. One that does not answer is part of the result, not an error."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        sentinels = tuple(pool.map(lambda address: read_sentinel(access, address), access.sentinels))
        masters = {view.master for view in sentinels if view.master is not None}
        replicas = {replica.address for view in sentinels for replica in view.replicas}
        servers = {view.address: view for view in pool.map(lambda address: read_server(access, address), sorted(masters | replicas))}
    return Topology(sentinels, servers)


def read_sentinel(access: Access, address: Address) -> SentinelView:
    """Ask one Sentinel."""
    name = access.master_name
    try:
        with access.sentinel(address) as sentinel:
            fields = fields_of(ask(sentinel, "MASTER", name))
            replicas = [fields_of(reply) for reply in ask(sentinel, "REPLICAS", name)]
            tilt = sentinel.info().get("sentinel_tilt", "0") == "1"
            quorum_ok, quorum_says = _check_quorum(sentinel, name)
            master = named_master(sentinel, name)
    except LoginFailed as error:
        return SentinelView(address, f"{error.cause} (see sentinel_user and sentinel_password)")
    except MainstayError as error:
        return SentinelView(address, error.cause)
    usable = _USABLE.match(quorum_says)
    return SentinelView(
        address,
        master=master,
        # A client that reads a snapshot from the master has no port of its own; Sentinel takes it for a replica, and remembers it.
        replicas=tuple(_known_replica(fields) for fields in replicas if fields["port"] != "0" and fields["ip"] not in access.other_site),
        known_sentinels=int(fields["num-other-sentinels"]) + 1,
        usable_sentinels=int(usable[1]) if usable else 0,
        quorum=int(fields["quorum"]),
        quorum_ok=quorum_ok,
        quorum_says=quorum_says,
        tilt=tilt,
        failover_in_progress="failover_in_progress" in fields["flags"].split(","),
        down_after=int(fields["down-after-milliseconds"]) / 1000,
        failover_timeout=int(fields["failover-timeout"]) / 1000,
    )


def read_server(access: Access, address: Address) -> ServerView:
    """Ask one server."""
    try:
        with access.server(address) as server:
            info = server.info()
    except MainstayError as error:
        return ServerView(address, error.cause)
    return ServerView(address, facts=facts_from(info), priority=int(info.get("slave_priority", 0)))


def ask(sentinel: Server, *words: str) -> t.Any:
    """Run a ``SENTINEL`` command; the name is sent as two words, for which the library does not interpret the reply.

    Raises:
        Refused: the Sentinel does not know the master, or the user may not.
        MainstayError: it could not be reached, or the login failed.
    """
    return sentinel.command("SENTINEL", *words, doing=f"run SENTINEL {words[0]}")


def named_master(sentinel: Server, name: str) -> Address | None:
    """Return the master that a Sentinel names to clients; during a failover that is the promoted one as soon as it is a master.

    Raises:
        MainstayError: the Sentinel does not answer.
    """
    reply = ask(sentinel, "GET-MASTER-ADDR-BY-NAME", name)
    return None if reply is None else Address(reply[0].decode(), int(reply[1]))


def fields_of(reply: t.Sequence[bytes]) -> dict[str, str]:
    """Return the fields of a reply that lists names and values in turn."""
    words = [word.decode(errors="replace") for word in reply]
    return dict(zip(words[::2], words[1::2]))


def _check_quorum(sentinel: Server, name: str) -> tuple[bool, str]:
    try:
        return True, ask(sentinel, "CKQUORUM", name).decode()
    except Refused as error:
        if not error.cause.startswith("NOQUORUM"):
            raise
        return False, error.cause


def _known_replica(fields: t.Mapping[str, str]) -> KnownReplica:
    return KnownReplica(Address(fields["ip"], int(fields["port"])), int(fields.get("slave-priority", 0)), tuple(fields["flags"].split(",")))


def problems(topology: Topology, expect_replicas: int | None = None, expect_sentinels: int | None = None) -> list[str]:
    """Return what is not as it should be, a sentence each.

    Args:
        topology: what was seen.
        expect_replicas: how many replicas must be linked to the master.
        expect_sentinels: how many Sentinels must answer.
    """
    found = [*_sentinel_problems(topology), *_master_problems(topology)]
    found += [problem for replica in topology.replicas if (problem := replica_problem(topology, replica))]
    linked = sum(replica.is_linked for replica in topology.replicas)
    if expect_replicas is not None and linked != expect_replicas:
        found.append(f"{linked} replicas are linked to the master, {expect_replicas} are expected")
    if expect_sentinels is not None and len(topology.answering) != expect_sentinels:
        found.append(f"{len(topology.answering)} Sentinels answer, {expect_sentinels} are expected")
    return found


def _sentinel_problems(topology: Topology) -> t.Iterator[str]:
    for view in topology.sentinels:
        words = f"the Sentinel at {view.address}"
        if view.error:
            yield f"{words} does not answer: {view.error}"
        elif not view.quorum_ok:
            yield f"{words} sees no quorum: {view.quorum_says}"
        elif view.usable_sentinels < view.known_sentinels:
            yield f"{words} knows {view.known_sentinels} Sentinels, {view.usable_sentinels} of them are usable"
        if view.tilt:
            yield f"{words} is in TILT mode, in which it does not act"
        if view.failover_in_progress:
            yield f"{words} is failing over"


def _master_problems(topology: Topology) -> t.Iterator[str]:
    named, master = topology.named, topology.master
    if not named:
        yield "no Sentinel names a master"
    elif master is None:
        yield f"the Sentinels name different masters: {'; '.join(f'{address} by {join(sentinels)}' for address, sentinels in named.items())}"
    elif master.facts is None:
        yield f"the master {master.address} does not answer: {master.error}"
    elif not master.is_master:
        yield f"the Sentinels name {master.address} as the master, which says that it is a {master.facts.role} of {master.facts.master}"


def replica_problem(topology: Topology, replica: ServerView) -> str:
    """Return why a replica cannot take over now; empty if it can."""
    master, facts = topology.master, replica.facts
    words = f"the replica {replica.address}"
    if facts is None:
        return f"{words} does not answer: {replica.error}"
    if facts.role != "replica":
        return f"{words} says that it is a {facts.role}"
    if facts.link_status != "up" or facts.sync_in_progress:
        return f"{words} has no data from its master: its link is {facts.link_status}{', it is being synchronised' if facts.sync_in_progress else ''}"
    if master is not None and master.facts is not None and master.is_master and facts.replication_id != master.facts.replication_id:
        return f"{words} follows another master, {facts.master}"
    unknown = [view.address for view in topology.answering if (known := view.replica(replica.address)) is None or not known.usable]
    return f"{words} is not known or not reachable to the Sentinels {join(unknown)}" if unknown else ""


def join(addresses: t.Iterable[Address]) -> str:
    """Return addresses as words."""
    return ", ".join(str(address) for address in addresses)


def describe(topology: Topology, name: str, expect_replicas: int | None = None, expect_sentinels: int | None = None) -> dict[str, t.Any]:
    """Return what ``redis_sentinel_info`` returns; ``name`` is the master's name."""
    return {
        "master": {} if topology.master is None else {"name": name, **_describe_master(topology.master)},
        "replicas": [_describe_replica(topology, replica) for replica in topology.replicas],
        "sentinels": [_describe_sentinel(view) for view in topology.sentinels],
        "agreed": topology.agreed,
        "problems": problems(topology, expect_replicas, expect_sentinels),
    }


def _describe_master(view: ServerView) -> dict[str, t.Any]:
    facts = view.facts
    return {
        "host": view.address.host,
        "port": view.address.port,
        "address": str(view.address),
        "answers": facts is not None,
        "role": facts.role if facts else "",
        "version": facts.name if facts else "",
        "offset": facts.offset if facts else -1,
    }


def _describe_replica(topology: Topology, view: ServerView) -> dict[str, t.Any]:
    facts = view.facts
    known = [replica for sentinel in topology.answering if (replica := sentinel.replica(view.address))]
    return {
        "host": view.address.host,
        "port": view.address.port,
        "address": str(view.address),
        "answers": facts is not None,
        "link_up": view.is_linked,
        "offset": facts.offset if facts else -1,
        "lag_bytes": topology.lag_bytes(view),
        "lag_seconds": facts.link_age if facts else -1,
        "priority": view.priority if facts else max(replica.priority for replica in known),
        "flags": sorted({flag for replica in known for flag in replica.flags}),
    }


def _describe_sentinel(view: SentinelView) -> dict[str, t.Any]:
    return {
        "host": view.address.host,
        "port": view.address.port,
        "answers": view.answers,
        "error": view.error,
        "master": "" if view.master is None else str(view.master),
        "known_sentinels": view.known_sentinels,
        "known_replicas": len(view.replicas),
        "quorum": view.quorum,
        "quorum_ok": view.quorum_ok,
        "tilt": view.tilt,
        "failover_in_progress": view.failover_in_progress,
    }


def inspect(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Look, or wait until what is seen is as a module's options ask for, and return it.

    Raises:
        InvalidInput: options that cannot be right.
        MainstayError: it was not so in time.
    """
    access, wait_for = access_from(params), params["wait_for"]
    deadline = time.monotonic() + params["wait_timeout"]
    while True:
        seen = describe(read_topology(access), access.master_name, params["expect_replicas"], params["expect_sentinels"])
        if wait_for == "none" or (seen["agreed"] and (wait_for == "agreed" or not seen["problems"])):
            return seen
        if time.monotonic() > deadline:
            cause = f"that is not so after {params['wait_timeout']} seconds: {'; '.join(seen['problems'])}"
            raise MainstayError(f"see that {access.master_name} is {wait_for}", cause, "look at the logs of what is named, or raise wait_timeout", **seen)
        time.sleep(POLL_SECONDS)
