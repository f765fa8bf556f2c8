# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a master that Sentinel watches to one of its replicas without losing a write that was acknowledged.

``SENTINEL FAILOVER`` alone leaves the old master writable until the Sentinels get round to it, some ten seconds. Here writes are held, the replica is seen to
have everything, the old master is made a replica, and *both are compared once more*, all before the Sentinels are told: from then on nobody can write to
the old master, whatever becomes of this process, and until then everything can be taken back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Interrupted, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import LoginFailed, Refused, Server, Unreachable
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import (
    Access,
    Address,
    ServerView,
    Topology,
    access_from,
    ask,
    fields_of,
    join,
    named_master,
    problems,
    read_topology,
    replica_problem,
)

POLL_SECONDS = 0.01
SENTINEL_POLL_SECONDS = 0.1
"""How often Sentinel's own timer ticks."""
SEEN_POLL_SECONDS = 0.5
RELEASE_SECONDS = 5.0
"""So long the old master's clients are held, at most, for a Sentinel to name the new master and for a replica to be attached to it."""
ABORT_SECONDS = 10.0
"""Time for a Sentinel to give up, beyond its own ``failover-timeout``."""
PREFERRED, NOT_PREFERRED = 1, 2
"""The priority of the target, and that of a server which has the target's, for the time of the switchover. Sentinel takes the lowest; 0 is never."""
PAUSE_SHARE = 0.5
"""The part of ``down-after-milliseconds`` that writes may be held before the Sentinels are told.

They publish to the server, which is held like a write. The answers to their PINGs wait behind it, so a pause as long as ``down-after-milliseconds`` makes them
fail over by themselves."""
_VERSION = re.compile(r"(\d+)\.(\d+)")
_OLDEST = (6, 2)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        old: the master.
        target: the one that is to be the master.
        sentinels: those that can be told, in order.
        priorities: servers whose priority is another one for the time: before and meanwhile.
        seen: the priorities of all replicas meanwhile, which the Sentinels must have read.
        hold: seconds that writes may be held before the Sentinels are told.
        failover_timeout: seconds after which a Sentinel gives up.
    """

    old: Address
    target: Address
    sentinels: tuple[Address, ...] = ()
    priorities: t.Mapping[Address, tuple[int, int]] = dataclasses.field(default_factory=dict)
    seen: t.Mapping[Address, int] = dataclasses.field(default_factory=dict)
    hold: float = 0.0
    failover_timeout: float = 0.0

    @property
    def actions(self) -> list[str]:
        """What it does, in words and in order."""
        if self.old == self.target:
            return []
        prefer = [f"give {address} the replica-priority {meanwhile} for the time" for address, (_before, meanwhile) in self.priorities.items()]
        restore = [f"give {address} its replica-priority {before} again" for address, (before, _meanwhile) in self.priorities.items()]
        return [
            *prefer,
            f"hold the writes to {self.old} until {self.target} has all of them",
            f"make {self.old} a replica of {self.target}",
            f"have the Sentinels promote {self.target}",
            f"drop the clients of {self.old}",
            *restore,
        ]


def plan_switchover(topology: Topology, name: str, wanted: str, max_lag_bytes: int, max_pause: float) -> Plan:
    """Judge what was seen, and choose the target.

    Args:
        topology: what was seen.
        name: the master's name.
        wanted: the target as ``host`` or ``host:port``; empty for the best replica.
        max_lag_bytes: how much the target may lack when it begins.
        max_pause: seconds that writes may be held.

    Raises:
        InvalidInput: it cannot be done now; nothing was changed.
    """
    doing = f"move the master {name}"
    master = _require_master(topology, doing)
    facts = t.cast(ServerFacts, master.facts)
    unchanged = f"nothing was changed, {master.address} is still the master"
    named = _named(topology, doing, wanted, unchanged) if wanted else None
    if named is not None and named.address == master.address:
        return Plan(master.address, master.address)
    _require_sentinels(topology, doing, unchanged)
    version = _VERSION.match(facts.version)
    if facts.product == "redis" and version and tuple(map(int, version.groups())) < _OLDEST:
        raise InvalidInput(doing, f"{facts.name} cannot hold writes alone", f"use 6.2 or later; {unchanged}")
    target = named or _best(topology, doing, unchanged)
    if reason := replica_problem(topology, target):
        raise InvalidInput(doing, reason, f"see to it, or choose another target; {unchanged}")
    if (lag := topology.lag_bytes(target)) > max_lag_bytes:
        cause = f"{target.address} lacks {lag} bytes of {master.address}, {max_lag_bytes} are allowed"
        raise InvalidInput(doing, cause, f"wait, or raise max_lag_bytes; {unchanged}")
    answering, priorities = topology.answering, priorities_for(target, topology, doing, unchanged)
    asked = {replica.address: replica.priority for replica in topology.replicas if replica.facts is not None}
    return Plan(
        master.address,
        target.address,
        tuple(view.address for view in answering),
        priorities,
        asked | {address: meanwhile for address, (_before, meanwhile) in priorities.items()},
        min(max_pause, PAUSE_SHARE * min(view.down_after for view in answering)),
        max(view.failover_timeout for view in answering),
    )


def _require_master(topology: Topology, doing: str) -> ServerView:
    if topology.master is not None and topology.agreed:
        return topology.master
    next_step = "nothing was changed; see redis_sentinel_info, and give the Sentinels time to agree"
    raise InvalidInput(doing, "; ".join(problems(topology)), next_step)


def _require_sentinels(topology: Topology, doing: str, unchanged: str) -> None:
    answering = topology.answering
    known = max(view.known_sentinels for view in answering)
    if 2 * len(answering) <= known:
        silent = [f"{view.address}: {view.error}" for view in topology.sentinels if view.error]
        cause = f"{len(answering)} of {known} Sentinels answer, which is no majority" + (f" ({'; '.join(silent)})" if silent else "")
        raise InvalidInput(doing, cause, f"name all of them in sentinels, and start those that are down; {unchanged}")
    for view in answering:
        words = f"the Sentinel at {view.address}"
        if view.failover_in_progress:
            raise InvalidInput(doing, f"{words} is failing over", f"try again when it has ended; {unchanged}")
        if not view.quorum_ok:
            raise InvalidInput(doing, f"{words} sees no quorum: {view.quorum_says}", f"start the Sentinels that are down; {unchanged}")
        if view.tilt:
            raise InvalidInput(doing, f"{words} is in TILT mode, in which it does not act", f"wait 30 seconds, and look at the host's clock; {unchanged}")


def _named(topology: Topology, doing: str, wanted: str, unchanged: str) -> ServerView:
    """Return the only server that the user can mean."""
    known = [t.cast(ServerView, topology.master), *topology.replicas]
    found = [server for server in known if wanted in (server.address.host, str(server.address))]
    if len(found) != 1:
        cause = f"target is {wanted}, which is {len(found) or 'none'} of the servers that the Sentinels know ({join(server.address for server in known)})"
        raise InvalidInput(doing, cause, f"give one of them as host:port; {unchanged}")
    return found[0]


def _best(topology: Topology, doing: str, unchanged: str) -> ServerView:
    """Return the replica that the Sentinels should promote: the best priority, and then the least lag."""
    replicas = topology.replicas
    ready = [replica for replica in replicas if replica.priority > 0 and not replica_problem(topology, replica)]
    if not ready:
        reasons = [replica_problem(topology, replica) or f"the replica {replica.address} has the priority 0" for replica in replicas]
        raise InvalidInput(doing, "; ".join(reasons) or "it has no replica", f"see to the replicas; {unchanged}")
    return min(ready, key=lambda replica: (replica.priority, topology.lag_bytes(replica), replica.address))


def priorities_for(target: ServerView, topology: Topology, doing: str, unchanged: str) -> dict[Address, tuple[int, int]]:
    """Return the servers whose priority has to be another one for the Sentinels to have no choice but the target: before and meanwhile.

    A priority of 0 of another server stays: the Sentinels never promote that one. Servers with the same priority are a choice, by offsets that are old.

    Raises:
        InvalidInput: a server in the way cannot be reached.
    """
    others = [replica for replica in topology.replicas if replica.address != target.address]
    seen = {replica.address: _priority(topology, replica) for replica in others}
    rivals = {address: priority for address, priority in seen.items() if priority > 0}
    if target.priority > 0 and all(priority > target.priority for priority in rivals.values()):
        return {}
    changes = {target.address: (target.priority, PREFERRED)} if target.priority != PREFERRED else {}
    for address, priority in rivals.items():
        if priority <= PREFERRED:
            if topology.servers[address].facts is None:
                raise InvalidInput(doing, f"the replica {address} has the best priority and does not answer", f"see to it; {unchanged}")
            changes[address] = (priority, NOT_PREFERRED)
    return changes


def _priority(topology: Topology, replica: ServerView) -> int:
    """Return the priority by which the Sentinels judge a replica; that of one that does not answer is the one that they saw last."""
    if replica.facts is not None:
        return replica.priority
    return max(known.priority for view in topology.answering if (known := view.replica(replica.address)))


@dataclasses.dataclass
class Outcome:
    """What a run did, in the making. Seconds, and the offset at which both servers were level; -1 and 0 if nothing was moved."""

    offset: int = -1
    paused_seconds: float = 0.0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)


class _Move:
    """One switchover on its way. What is raised says who the master is."""

    def __init__(self, access: Access, plan: Plan, max_pause: float, wait_timeout: float, outcome: Outcome) -> None:
        self._access, self._plan, self._outcome = access, plan, outcome
        self._max_pause, self._wait_timeout = max_pause, wait_timeout
        self._doing = f"move the master {access.master_name} from {plan.old} to {plan.target}"

    def run(self, before: Topology) -> None:
        """Do it all."""
        plan, phases = self._plan, self._outcome.phases
        with self._preferred():
            with uninterrupted(), self._access.server(plan.old) as old, self._access.server(plan.target) as target:
                started = self._hold(old, target)
                with timed(phases, "catch_up"), current().phase(f"wait until {plan.target} has everything"):
                    self._demote(old, target, started)
                with timed(phases, "promote"), current().phase(f"wait until {plan.target} is the master"):
                    self._promote(old, target)
                with timed(phases, "release"):
                    self._outcome.paused_seconds = round(time.monotonic() - started, 3)
                    self._release(old)
        with timed(phases, "settle"), current().phase("wait until the Sentinels and the replicas have followed"):
            self._save()
            self._settle(before)

    @contextlib.contextmanager
    def _preferred(self) -> t.Iterator[None]:
        """Leave the Sentinels no choice for the time.

        They read a priority every ten seconds; what they have read may be old also where nothing has to be changed, such as right after another switchover.
        """
        plan, changed = self._plan, dict[Address, int]()
        try:
            with timed(self._outcome.phases, "prefer"):
                for address, (before, meanwhile) in plan.priorities.items():
                    changed[address] = before
                    self._set_priority(address, meanwhile)
                with current().phase("wait until the Sentinels have read the priorities"):
                    self._await_seen()
            yield
        except (MainstayError, Interrupted) as raised:
            if left := self._put_back(changed):
                error = raised.error if isinstance(raised, Interrupted) else raised
                error.details["warnings"] = left
            raise
        self._outcome.warnings += self._put_back(changed)

    def _set_priority(self, address: Address, priority: int) -> None:
        try:
            with self._access.server(address) as server:
                server.set_config("replica-priority", str(priority))
        except (Refused, Unreachable) as error:
            raise self._still_old(error) from error

    def _put_back(self, changed: t.Mapping[Address, int]) -> list[str]:
        """Put the priorities back; return a sentence for each that could not be."""
        left = []
        for address, before in changed.items():
            try:
                with uninterrupted(), self._access.server(address) as server:
                    server.set_config("replica-priority", str(before))
            except (Refused, Unreachable) as error:
                left.append(f"could not give {address} its replica-priority {before} again: {error.cause}")
        return left

    def _await_seen(self) -> None:
        deadline = time.monotonic() + self._wait_timeout
        while True:
            late = [address for address in self._plan.sentinels if not self._has_seen(address)]
            if not late:
                return
            if time.monotonic() > deadline:
                cause = f"the Sentinels {join(late)} have not read the priorities after {self._wait_timeout:g} seconds"
                raise self._still_old(MainstayError(self._doing, cause, "look at their logs"))
            time.sleep(SEEN_POLL_SECONDS)

    def _has_seen(self, address: Address) -> bool:
        try:
            with self._access.sentinel(address) as sentinel:
                replies = [fields_of(reply) for reply in ask(sentinel, "REPLICAS", self._access.master_name)]
        except (Refused, Unreachable):
            return False
        seen = {Address(fields["ip"], int(fields["port"])): int(fields["slave-priority"]) for fields in replies}
        return all(seen.get(replica) == priority for replica, priority in self._plan.seen.items())

    def _hold(self, old: Server, target: Server) -> float:
        """Hold the writes; return when that began. The pause ends by itself."""
        try:
            for server in (old, target):  # no write should wait for a TLS handshake
                read_facts(server)
            started = time.monotonic()
            old.command("CLIENT", "PAUSE", int(self._plan.hold * 1000), "WRITE", doing="hold the writes")
        except MainstayError as error:
            raise self._still_old(error) from error
        return started

    def _demote(self, old: Server, target: Server, started: float) -> None:
        """Wait until both are level, make the old master a replica, and see that they still are."""
        try:
            self._await_level(old, target, started + self._plan.hold)
        except MainstayError as error:
            self._unpause(old)
            raise self._still_old(error) from error
        try:
            old.command("REPLICAOF", self._plan.target.host, self._plan.target.port, doing="make it a replica")
        except Refused as error:
            self._unpause(old)
            raise self._still_old(error) from error
        except Unreachable as error:
            raise self._take_back(old, error) from error
        try:
            # A replica may be held for longer than a master: it does not matter if the Sentinels take it for down.
            old.command("CLIENT", "PAUSE", int(self._max_pause * 1000), "WRITE", doing="hold the writes")
            # A process that was stopped, or a slow network, can outlive the pause: what was written then would be lost from here on.
            ours, theirs = read_facts(old), read_facts(target)
            if not _level(ours, theirs):
                raise MainstayError(self._doing, f"it was written to while it was made a replica ({_distance(ours, theirs)})", "raise max_pause, or try again")
        except MainstayError as error:
            raise self._take_back(old, error) from error
        self._outcome.offset = ours.offset

    def _await_level(self, old: Server, target: Server, deadline: float) -> None:
        while True:
            ours, theirs = read_facts(old), read_facts(target)
            if ours.role != "master":
                raise MainstayError(self._doing, f"{self._plan.old} says that it is a {ours.role} of {ours.master}", "see redis_sentinel_info")
            if theirs.link_status == "up" and _level(ours, theirs):
                return
            if time.monotonic() > deadline:
                cause = f"{self._plan.target} has not caught up within {self._plan.hold:g} seconds ({_distance(ours, theirs)})"
                raise MainstayError(self._doing, cause, "try again when less is written, or raise max_pause up to half of down-after-milliseconds")
            time.sleep(POLL_SECONDS)

    def _promote(self, old: Server, target: Server) -> None:
        """Tell a Sentinel; wait until the target is a master, is named, and has a replica."""
        told = self._tell(old)
        with self._access.sentinel(told) as sentinel:
            self._await_promotion(old, target, sentinel)
            deadline = time.monotonic() + RELEASE_SECONDS
            while time.monotonic() < deadline:
                with contextlib.suppress(MainstayError):  # Sentinel drops the clients of the one that it promotes, and this is one
                    is_named = named_master(sentinel, self._access.master_name) == self._plan.target
                    if is_named and any(replica.state == "online" for replica in read_facts(target).replicas):
                        return
                time.sleep(POLL_SECONDS)

    def _tell(self, old: Server) -> Address:
        """Have one Sentinel begin; return which."""
        refusals = []
        for address in self._plan.sentinels:
            try:
                with self._access.sentinel(address) as sentinel:
                    ask(sentinel, "FAILOVER", self._access.master_name)
                return address
            except Unreachable:
                return address  # it may have begun: its state will tell
            except Refused as error:
                refusals.append(error)
                if not (isinstance(error, LoginFailed) or "NOGOODSLAVE" in error.cause):
                    break
        raise self._take_back(old, refusals[-1])

    def _await_promotion(self, old: Server, target: Server, sentinel: Server) -> None:
        """Wait until the target is a master, or the Sentinel has decided otherwise."""
        plan, told = self._plan, sentinel.login.address
        deadline = time.monotonic() + plan.failover_timeout + ABORT_SECONDS
        while True:
            looked, decided = time.monotonic(), self._decided(sentinel)
            while time.monotonic() < looked + SENTINEL_POLL_SECONDS:
                with contextlib.suppress(MainstayError):
                    if read_facts(target).role == "master":
                        return
                time.sleep(POLL_SECONDS)
            if decided == plan.old:
                cause = f"the Sentinel at {told} has given up, and {plan.target} is no master"
                raise self._take_back(old, MainstayError(self._doing, cause, "look at the logs of both"))
            if decided not in (None, plan.target):
                self._release(old)
                raise MainstayError(self._doing, f"the Sentinels have promoted {decided} instead", f"{decided} is the master and takes writes", changed=True)
            if looked > deadline:
                cause = f"neither {plan.target} nor the Sentinel at {told} says who the master is"
                next_step = f"see redis_sentinel_info; {plan.old} takes no writes, and the Sentinels promote a replica by themselves"
                raise MainstayError(self._doing, cause, next_step, changed=True)

    def _decided(self, sentinel: Server) -> Address | None:
        """Return the master that a Sentinel names; none while it may still promote somebody, or does not answer."""
        try:
            named = named_master(sentinel, self._access.master_name)
            flags = fields_of(ask(sentinel, "MASTER", self._access.master_name))["flags"].split(",")
        except MainstayError:
            return None
        return None if named == self._plan.old and "failover_in_progress" in flags else named

    def _release(self, old: Server) -> None:
        """Drop the clients that wait at the old master, so that they look for the new one, and let it go on."""
        try:
            for kind in ("normal", "pubsub"):
                old.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes", doing="drop the clients")
            old.command("CLIENT", "UNPAUSE", doing="let it go on")
        except MainstayError as error:
            self._outcome.warnings.append(f"{error}; its clients are refused as those of a replica until they look for the new master")

    def _unpause(self, old: Server) -> None:
        with contextlib.suppress(MainstayError):  # it ends by itself soon
            old.command("CLIENT", "UNPAUSE", doing="let it go on")

    def _take_back(self, old: Server, error: MainstayError) -> MainstayError:
        """Make the old master a master again: nobody else is one. Return what to raise."""
        self._unpause(old)
        try:
            old.command("REPLICAOF", "NO", "ONE", doing="make it a master again")
        except MainstayError as second:
            state = f"{self._plan.old} could not be made a master again ({second.cause})"
            next_step = f"{state}: see redis_sentinel_info; the Sentinels promote a replica by themselves"
            return MainstayError(error.doing, error.cause, next_step, changed=True)
        return self._still_old(error)

    def _still_old(self, error: MainstayError) -> MainstayError:
        state = f"{self._plan.old} is still the master, and writes go on"
        return MainstayError(error.doing, error.cause, f"{error.next_step}; {state}" if error.next_step else state)

    def _save(self) -> None:
        """Have the servers write their role and priority to their own files, as Sentinel does with each that it tells something."""
        for address in dict.fromkeys((self._plan.old, *self._plan.priorities)):
            try:
                with self._access.server(address) as server:
                    server.command("CONFIG", "REWRITE", doing="save the role")
            except Refused as error:
                if "without a config file" not in error.cause:
                    self._outcome.warnings.append(f"{error}; after a restart it may have another role until the Sentinels see to it")
            except Unreachable as error:
                self._outcome.warnings.append(str(error))

    def _settle(self, before: Topology) -> None:
        """Wait until all Sentinels name the new master, and all replicas that were linked are linked again, the old master too."""
        deadline = time.monotonic() + self._wait_timeout
        linked = {replica.address for replica in before.replicas if replica.is_linked} - {self._plan.target} | {self._plan.old}
        while True:
            after = read_topology(self._access)
            missing = [view.address for view in after.sentinels if view.address in self._plan.sentinels and view.master != self._plan.target]
            behind = [address for address in sorted(linked) if address not in after.servers or replica_problem(after, after.servers[address])]
            if after.agreed and not missing and not behind:
                return
            if time.monotonic() > deadline:
                late = [f"the Sentinels {join(missing)} do not name it"] if missing else []
                late += [f"{join(behind)} are no replicas of it yet (see masteruser, masterauth and their logs)"] if behind else []
                cause = f"{self._plan.target} is the master and takes writes, but after {self._wait_timeout:g} seconds {' and '.join(late)}"
                raise MainstayError(self._doing, cause, "see redis_sentinel_info", changed=True)
            time.sleep(SEEN_POLL_SECONDS)


def _level(ours: ServerFacts, theirs: ServerFacts) -> bool:
    return ours.offset == theirs.offset and ours.replication_id == theirs.replication_id


def _distance(ours: ServerFacts, theirs: ServerFacts) -> str:
    if ours.replication_id != theirs.replication_id:
        return "it follows another master"
    return f"link {theirs.link_status or 'none'}, offset {theirs.offset} of {ours.offset}"


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about what a module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done; the message says who the master is.
    """
    for name, least in (("max_pause", 1), ("max_lag_bytes", 0), ("wait_timeout", 1)):
        if params[name] < least:
            raise InvalidInput("run redis_switchover", f"{name} is {params[name]}, it must be at least {least}")
    access, outcome = access_from(params), Outcome()
    with timed(outcome.phases, "plan"):
        before = read_topology(access)
        plan = plan_switchover(before, access.master_name, params["target"], params["max_lag_bytes"], params["max_pause"])
    if plan.actions and not check_mode:
        _Move(access, plan, params["max_pause"], params["wait_timeout"], outcome).run(before)
    result = {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "from": str(plan.old),
        "to": str(plan.target),
        "offset": outcome.offset,
        "paused_seconds": outcome.paused_seconds,
        "phases": outcome.phases,
        "diff": {"before": {"master": str(plan.old)}, "after": {"master": str(plan.target)}},
    }
    return result, outcome.warnings
