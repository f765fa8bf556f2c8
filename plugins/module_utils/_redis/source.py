# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a snapshot is read from, how, and whether the server can afford it."""

from __future__ import annotations

import dataclasses
import io
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed, Refused, Server, is_local
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import RdbObserver, rdb_version

LEAST_FREE = 0.10
"""Part of the server's memory that must be free for the pages that change while its child writes."""
POLL_SECONDS = 0.2
METHODS = ("psync", "bgsave", "scan")
"""The ways to read a snapshot, the best first."""
FUZZY = "a snapshot by scan is not of one instant: of what was written while it was read, some is in it"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A server that the snapshot can be read from."""

    login: Login
    facts: ServerFacts


@dataclasses.dataclass(frozen=True)
class Unfit:
    """A server that the snapshot cannot be read from, and why."""

    login: Login
    problem: str


@dataclasses.dataclass(frozen=True)
class SourcePlan:
    """The server and the way that were chosen, and what the user should know about it; ``given`` is the server that was named."""

    given: Login
    login: Login
    facts: ServerFacts
    method: str
    warnings: tuple[str, ...]

    @property
    def words(self) -> str:
        """The source in words, for ``actions``."""
        return f"{self.facts.name} at {self.login.address} ({self.facts.role}) by {self.method}"


@dataclasses.dataclass(frozen=True)
class HostMemory:
    """Memory of the host that a server runs on: bytes available, and ``vm.overcommit_memory``."""

    available: int
    overcommit: int


def replica_problem(facts: ServerFacts, max_lag: float, lag: float, replication_id: str = "") -> str:
    """Say why a replica is no source for a snapshot; empty if it is one.

    Args:
        facts: of the replica.
        max_lag: seconds.
        lag: seconds that it is behind.
        replication_id: of the master that it must follow; empty if unknown.
    """
    if facts.role != "replica":
        return f"it is a {facts.role}, not a replica"
    if facts.loading or facts.sync_in_progress:
        return "it is still loading its data"
    if facts.link_status != "up":
        return f"its link to the master {facts.master} is {facts.link_status or 'unknown'}"
    if replication_id and facts.replication_id != replication_id:
        return "it follows another master"
    if lag > max_lag:
        return f"it is {lag:g} seconds behind, more than max_replica_lag ({max_lag:g})"
    return ""


def choose_source(given: Candidate, replicas: t.Sequence[Candidate | Unfit]) -> tuple[Candidate, tuple[str, ...]]:
    """Choose between the server that was given and those of its replicas that may be used: the replica that is ahead of the others, or the server.

    Returns:
        The server, and warnings.
    """
    fit = [replica for replica in replicas if isinstance(replica, Candidate)]
    if fit:
        return max(fit, key=lambda replica: replica.facts.offset), ()
    reasons = "; ".join(f"{replica.login.address}: {replica.problem}" for replica in replicas if isinstance(replica, Unfit))
    return given, (f"the snapshot is read from the master, as no replica was fit: {reasons}",) if reasons else ()


def choose_method(requested: str, problems: t.Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Choose how the snapshot is read: what was asked for, or the best that is possible.

    Args:
        requested: ``auto``, ``psync``, ``bgsave`` or ``scan``.
        problems: why ``psync`` and ``bgsave`` are not possible there; empty where one is.

    Returns:
        The method, and warnings.

    Raises:
        InvalidInput: the method that was asked for cannot work there.
    """
    if requested != "auto":
        if problem := problems.get(requested):
            raise InvalidInput(f"read a snapshot by {requested}", problem, "use another method, or auto, which takes the best that is possible")
        return requested, (FUZZY,) if requested == "scan" else ()
    for method in ("psync", "bgsave"):
        if not problems[method]:
            return method, _weaker(method, {name: problem for name, problem in problems.items() if problem})
    return "scan", (*_weaker("scan", problems), FUZZY)


def _weaker(method: str, problems: t.Mapping[str, str]) -> tuple[str, ...]:
    """Say why a method is used that is not the first choice."""
    better = list(problems)[: METHODS.index(method)]
    reasons = "; ".join(f"{name}: {problems[name]}" for name in better)
    return (f"the snapshot is read by {method}, as a better way is not possible ({reasons})",) if better else ()


def fork_findings(facts: ServerFacts, host: HostMemory | None, method: str) -> tuple[str, tuple[str, ...]]:
    """Judge whether a server can fork for a snapshot.

    Args:
        facts: of the server.
        host: memory of its host, if it is this one.
        method: ``psync``, ``bgsave``, or ``scan``, for which nothing forks.

    Returns:
        Why it must not be tried (empty if it may), and warnings.
    """
    if facts.loading:
        return "it is still loading its data", ()
    if method == "scan":
        return "", ()
    if facts.child_running and method == "bgsave":
        return "a background save or AOF rewrite is running already", ()
    warnings = ["a background save or AOF rewrite is running already; the snapshot waits for its end"] if facts.child_running else []
    if host is not None:
        if host.available < facts.resident_memory * LEAST_FREE:
            free, used = host.available >> 20, facts.resident_memory >> 20
            return f"its host has {free} MiB free, too little for the pages that change while it writes a snapshot of {used} MiB", ()
        if host.overcommit != 1 and host.available < facts.resident_memory:
            warnings.append(f"vm.overcommit_memory is {host.overcommit} and less memory is free than the server uses, so that its fork can fail; set it to 1")
    elif facts.system_memory and facts.resident_memory > facts.system_memory // 2:
        warnings.append("the server uses more than half of its host's memory; what is written while the snapshot runs takes memory in addition")
    return "", tuple(warnings)


def read_host_memory() -> HostMemory:
    """Read the memory of this host from ``/proc``."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)
    with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as setting:
        return HostMemory(available, int(setting.read()))


def host_memory_of(login: Login, facts: ServerFacts) -> HostMemory | None:
    """Return the memory of the server's host, if the server is a process of this one."""
    if not is_local(login):
        return None
    try:
        with open(f"/proc/{facts.process_id}/comm", encoding="ascii") as name:
            if not name.read().startswith(("redis", "valkey")):
                return None
        return read_host_memory()
    except (OSError, ValueError):
        return None


def plan_source(login: Login, method: str, prefer_replica: bool, max_replica_lag: float, facts: ServerFacts | None = None) -> SourcePlan:
    """Look at the server, and at its replicas if one is preferred, and decide; nothing is changed.

    Args:
        login: the server.
        method: what was asked for.
        prefer_replica: whether a replica is preferred.
        max_replica_lag: seconds.
        facts: of the server as it will be, where it is not yet.

    Raises:
        InvalidInput: what was asked for cannot work.
        MainstayError: the server could not be reached, or cannot fork now.
    """
    if facts is None:
        with Server(login) as server:
            facts = read_facts(server)
    if facts.role == "replica" and (problem := replica_problem(facts, max_replica_lag, facts.link_age)):
        raise InvalidInput(f"take a snapshot of the replica {login.address}", problem, "name its master, or wait until it has caught up")
    look = prefer_replica and facts.role == "master" and method != "bgsave"
    replicas = [_look_at_replica(login.at(replica.host, replica.port), facts, max_replica_lag) for replica in facts.replicas] if look else []
    chosen, warnings = choose_source(Candidate(login, facts), replicas)
    way, weaker = choose_method(method, _problems(chosen, method))
    problem, more = fork_findings(chosen.facts, host_memory_of(chosen.login, chosen.facts), way)
    if problem:
        raise MainstayError(f"take a snapshot of Redis at {chosen.login.address}", problem, "try again later")
    if chosen.facts.mode == "cluster":
        more = (*more, "the server is one shard of a cluster; snapshots of its shards are not of one instant")
    return SourcePlan(login, chosen.login, chosen.facts, way, (*warnings, *weaker, *more))


def _look_at_replica(login: Login, master: ServerFacts, max_lag: float) -> Candidate | Unfit:
    """Log in to a replica and wait, for at most ``max_lag`` seconds, until it has what its master had."""
    started = time.monotonic()
    try:
        with Server(login) as server:
            while True:
                facts = read_facts(server)
                lag = 0.0 if facts.offset >= master.offset else round(time.monotonic() - started, 1)
                problem = replica_problem(facts, max_lag, lag, master.replication_id)
                if problem:
                    return Unfit(login, problem)
                if not lag:
                    return Candidate(login, facts)
                time.sleep(POLL_SECONDS)
    except MainstayError as error:
        return Unfit(login, error.cause)


def _problems(chosen: Candidate, method: str) -> dict[str, str]:
    """Say why ``psync`` and ``bgsave`` are not possible on a server, as far as that matters for the method that was asked for."""
    with Server(chosen.login) as server:
        problems = {"psync": _psync_problem(server, chosen.facts) if method in ("auto", "psync") else "", "bgsave": ""}
        if method == "bgsave" or problems["psync"]:
            problems["bgsave"] = _bgsave_problem(server)
    return problems


def _psync_problem(server: Server, facts: ServerFacts) -> str:
    """Say why a server cannot be replicated from; one that does not tell is believed to allow it."""
    try:
        reply = server.command("COMMAND INFO", "psync", "sync")
        psync, sync = (entry is not None for entry in (reply.values() if isinstance(reply, dict) else reply))
    except LoginFailed:
        raise
    except Refused:
        psync = sync = True
    if not psync:
        return "" if sync else "the server does not have the command PSYNC"
    # Before Redis 7 a PSYNC that is wrong begins a snapshot all the same, so it is not tried there.
    wrong = ("PSYNC", "?", "?") if rdb_version(facts.product, facts.version) >= 10 else ()
    return _refusal(server, ("REPLCONF", "capa", "eof"), ("REPLCONF", "capa", "eof")) or _refusal(server, ("PSYNC", "?", "-1"), wrong)


def _bgsave_problem(server: Server) -> str:
    """Say why a server cannot save into a file that this host can read."""
    if not is_local(server.login):
        return "the file that bgsave writes would be on another host"
    try:
        folder = server.config("dir", "dbfilename").get("dir", "")
    except LoginFailed:
        raise
    except Refused as error:
        return error.cause
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"the folder {folder or '(unknown)'} that it saves to cannot be read here"
    return _refusal(server, ("BGSAVE",), ("BGSAVE", "?"))


def _refusal(server: Server, words: tuple[str, ...], wrong: tuple[str, ...]) -> str:
    """Say why the user may not run a command, without running it; empty if it is allowed, or if nothing tells.

    Args:
        server: who is asked.
        words: the command, for ``ACL DRYRUN`` (Redis 7), which few users may run.
        wrong: the command with arguments that are refused without any effect, but only after the permission has been checked; nothing if there are none.
    """
    for probe in (("ACL DRYRUN", server.login.user or "default", *words), wrong):
        try:
            answer = server.command(*probe) if probe else b"OK"
        except LoginFailed:
            raise
        except Refused as error:
            if probe is wrong and ("no permissions" in error.cause or "unknown command" in error.cause.lower()):
                return error.cause
            continue
        return "" if answer in (b"OK", "OK") else answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
    return ""


class SavedFile:
    """The file of a ``BGSAVE`` as something readable; checked to be one whole RDB file before its end is told."""

    forked = True

    def __init__(self, login: Login) -> None:
        """Begin the save; the server has forked on return.

        Raises:
            Refused: the server may not or cannot save now.
        """
        self._doing = f"save Redis at {login.address} in the background"
        self._server = Server(login)
        self._file: t.BinaryIO = io.BytesIO()
        self.observer = RdbObserver()
        try:
            self._saves = self._server.info().get("rdb_saves", "")
            self._server.command("BGSAVE", doing="start a background save")
        except BaseException:
            self.close()
            raise

    def wait_started(self, timeout: float) -> None:
        """Wait until the save has ended, and open its file.

        Raises:
            MainstayError: it failed or did not end in time, or its file cannot be read.
        """
        deadline = time.monotonic() + timeout
        while (info := self._server.info()).get("rdb_bgsave_in_progress") != "0":
            if time.monotonic() > deadline:
                raise MainstayError(self._doing, f"it has not ended after {timeout:g} seconds", "raise wait_timeout")
            time.sleep(POLL_SECONDS)
        if info.get("rdb_last_bgsave_status") != "ok" or (self._saves and info.get("rdb_saves") == self._saves):
            raise MainstayError(self._doing, "the save failed", "look at the server's log")
        settings = self._server.config("dir", "dbfilename")
        if not {"dir", "dbfilename"} <= set(settings):
            raise MainstayError(self._doing, "the server does not tell where it saves to", "use method=psync")
        path = os.path.join(settings["dir"], settings["dbfilename"])
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise MainstayError(self._doing, f"{path}: {error.strerror}", "run the task as a user who may read it, on the host of the server") from error

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of the way that the bytes came."""
        return {}

    def __enter__(self) -> SavedFile:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and the connection."""
        self._file.close()
        self._server.close()

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, nothing at the checked end.

        Raises:
            BadSnapshot: it is no whole RDB file.
        """
        block = self._file.read(size)
        if block:
            self.observer.feed(block)
        else:
            self.observer.finish()
        return block
