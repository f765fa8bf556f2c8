# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a Redis (or Valkey) server: that it answers PING, its role, a replica's link and lag, and what a Sentinel says of a master.

Four commands of the protocol are spoken here directly, over a wire with a strict time limit; no client library is needed.
"""

from __future__ import annotations

import dataclasses
import io
import re
import ssl
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import (
    Budget, NoAnswer, Wire, connect, connect_unix, join_address, split_address, tls_context,
)

OPTIONS = frozenset({
    "login_host", "login_port", "login_user", "login_password", "login_unix_socket", "tls", "connect_to", "server_hostname", "ca_cert", "client_cert",
    "client_key", "validate_certs", "role", "max_lag", "master_name",
})
OBSERVED = ("address", "server_version", "role", "link_up", "lag_seconds", "master", "quorum_reached")
ROLES = {"primary": "primary", "master": "primary", "replica": "replica", "slave": "replica", "sentinel": "sentinel"}
#: Bytes of a reply that are accepted; INFO's sections are a few kilobytes.
MAX_REPLY = 1 << 20


@dataclasses.dataclass(frozen=True)
class Target:
    """A server, how to log in, and what has to be true of it."""

    host: str
    port: int
    unix_socket: str | None = None
    connect_to: tuple[str, int | None] | None = None
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    role: str | None = None
    max_lag: float | None = None
    master_name: str | None = None

    def __str__(self) -> str:
        """How the target is called."""
        return self.unix_socket or join_address(self.host, self.port)


class ReplyError(Exception):
    """The server answered with an error."""


def plan(options: dict[str, t.Any]) -> Target:
    """The server that the check's options describe.

    Raises:
        InvalidInput: a file or an address is of no use, or options contradict each other.
    """
    if options["login_user"] is not None and options["login_password"] is None:
        raise InvalidInput("log in to Redis", "login_user is given without login_password")
    if options["master_name"] is not None and options["role"] != "sentinel":
        raise InvalidInput("ask for master_name", "role is not sentinel")
    if options["max_lag"] is not None and options["role"] == "sentinel":
        raise InvalidInput("use max_lag", "a Sentinel has none")
    context = None
    if options["tls"]:
        context = tls_context(options["validate_certs"], options["ca_cert"], options["client_cert"], options["client_key"])
    elif options["ca_cert"] or options["client_cert"] or options["client_key"] or options["server_hostname"]:
        raise InvalidInput("use certificates with Redis", "tls is not true")
    host = options["login_host"] or "localhost"
    return Target(
        host=host,
        port=options["login_port"] or 6379,
        unix_socket=options["login_unix_socket"],
        connect_to=split_address(options["connect_to"]) if options["connect_to"] else None,
        user=options["login_user"],
        password=options["login_password"],
        context=context,
        server_hostname=options["server_hostname"] or host,
        role=ROLES[options["role"]] if options["role"] else None,
        max_lag=options["max_lag"],
        master_name=options["master_name"],
    )


def probe(target: Target, budget: Budget) -> Finding:
    """Log in, PING, and read where the server stands in replication.

    Raises:
        NoAnswer: no connection, or what answered does not speak Redis's protocol.
    """
    with _connect(target, budget) as wire:
        if target.context is not None:
            wire.start_tls(target.context, target.server_hostname or target.host)
        incoming = wire.makefile()
        observed = {"address": wire.address}
        try:
            if target.password is not None:
                _command(wire, incoming, "AUTH", *([target.user] if target.user else []), target.password)
            _command(wire, incoming, "PING")
        except ReplyError as error:
            return Finding(problems=(f"answered {error}",), observed=observed)
        sections = ("server", "replication", "sentinel") if target.master_name is not None else ("server", "replication")
        quorum = None
        try:
            facts = parse_info("\n".join(_command(wire, incoming, "INFO", section) for section in sections))
            if target.master_name is not None and facts.get("redis_mode") == "sentinel":
                quorum = _quorum(wire, incoming, target.master_name)
        except ReplyError as error:
            # An account may be allowed PING alone; that is enough when nothing more was asked for.
            denied = target.role is not None or target.max_lag is not None
            return Finding("answers PING", (f"INFO answered {error}",) if denied else (), (), observed)
    finding = judge_replication(target, facts) if quorum is None else judge_master(target, facts, quorum)
    return dataclasses.replace(finding, observed={**observed, **finding.observed})


def parse_info(text: str) -> dict[str, str]:
    """The fields of an INFO reply."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def judge_replication(target: Target, facts: dict[str, str]) -> Finding:
    """Hold a server's place in replication against what was asked for.

    A replica's lag is the seconds since its master was last heard of; on a quiet link the master's pings (``repl-ping-replica-period``, 10 s by
    default) are all there is to hear. A replica whose link is down answers with old data: it is degraded, and unhealthy where ``max_lag`` is set.
    """
    said = "sentinel" if facts.get("redis_mode") == "sentinel" else facts.get("role", "unknown")
    role = ROLES.get(said, said)
    version = facts.get("valkey_version") or facts.get("redis_version")
    problems: list[str] = []
    warnings: list[str] = []
    link_up: bool | None = None
    lag: float | None = None
    if role == "replica":
        link_up = facts.get("master_link_status") == "up"
        lag = _seconds(facts.get("master_last_io_seconds_ago" if link_up else "master_link_down_since_seconds"))
        if not link_up:
            (problems if target.max_lag is not None else warnings).append("link to the master is down" + ("" if lag is None else f" for {lag:g} s"))
        elif target.max_lag is not None and (lag is None or lag > target.max_lag):
            problems.append("lag is not known" if lag is None else f"lag is {lag:g} s, more than {target.max_lag:g} s")
    if target.role is not None and role != target.role:
        problems.insert(0, f"role is {role}, expected {target.role}")
    observed = {"server_version": version, "role": role, "link_up": link_up, "lag_seconds": lag}
    return Finding(f"{role}, version {version}", tuple(problems), tuple(warnings), observed)


def judge_master(target: Target, facts: dict[str, str], quorum: str) -> Finding:
    """Hold what a Sentinel says of a master against what was asked for.

    Args:
        target: what was asked for.
        facts: the Sentinel's INFO, with a line such as ``master0:name=mymaster,status=ok,address=192.0.2.1:6379,slaves=2,sentinels=3`` for each master.
        quorum: its answer to ``SENTINEL CKQUORUM``: ``OK`` and more, if enough Sentinels can agree to a failover and carry it out.
    """
    finding = judge_replication(target, facts)
    masters = [dict(part.split("=", 1) for part in line.split(",") if "=" in part) for name, line in facts.items() if re.fullmatch(r"master\d+", name)]
    master = next((master for master in masters if master.get("name") == target.master_name), None)
    problems = list(finding.problems)
    if master is None:
        problems.append(f"it does not watch a master {target.master_name}")
        return dataclasses.replace(finding, problems=tuple(problems))
    if master.get("status") != "ok":
        problems.append(f"master {target.master_name} at {master.get('address')} is {master.get('status')}")
    reached = quorum.startswith("OK")
    if not reached:
        problems.append(quorum)
    observed = {**finding.observed, "master": master.get("address"), "quorum_reached": reached}
    return Finding(f"master {target.master_name} is {master.get('address')}; {quorum}", tuple(problems), finding.warnings, observed)


def _quorum(wire: Wire, incoming: io.BufferedIOBase, master_name: str) -> str:
    """The answer to CKQUORUM, in its words; that there is no quorum is an error to Redis, and an answer here."""
    try:
        return _command(wire, incoming, "SENTINEL", "CKQUORUM", master_name)
    except ReplyError as error:
        if str(error).startswith("NOPERM"):
            raise
        return str(error)


def _seconds(text: str | None) -> float | None:
    """A number of seconds; a negative one is Redis's way to say that it has none."""
    return float(text) if text and text.isdecimal() else None


def _connect(target: Target, budget: Budget) -> Wire:
    if target.unix_socket:
        return connect_unix(target.unix_socket, budget)
    host, port = target.connect_to or (target.host, None)
    return connect(host, port or target.port, budget)


def encode(*words: str) -> bytes:
    """A command as the protocol (RESP2) sends it."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def read_reply(incoming: io.BufferedIOBase, address: str) -> str:
    """Read a simple or a bulk string.

    Raises:
        ReplyError: the server answered with an error.
        NoAnswer: the stream ended, or the reply is not one of these.
    """
    line = incoming.readline(MAX_REPLY)
    if not line:
        raise NoAnswer(f"{address} closed the connection")
    kind, rest = line[:1], line[1:].strip()
    if kind == b"-":
        raise ReplyError(rest.decode(errors="replace"))
    if kind == b"+":
        return rest.decode(errors="replace")
    if kind == b"$" and rest.isdigit() and int(rest) <= MAX_REPLY:
        data = incoming.read(int(rest) + 2)
        if len(data) < int(rest) + 2:
            raise NoAnswer(f"{address} closed the connection")
        return data[:-2].decode(errors="replace")
    raise NoAnswer(f"{address} does not speak Redis's protocol: it answered {line[:80].decode(errors='replace').strip()!r}")


def _command(wire: Wire, incoming: io.BufferedIOBase, *words: str) -> str:
    wire.sendall(encode(*words))
    return read_reply(incoming, wire.address)
