# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of a service that gets no new requests: which of them still matter, and waiting for those."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

Run = t.Callable[[t.List[str]], t.Tuple[int, str, str]]

_FIELD = re.compile(r"\b(lastsnd|lastrcv|data_segs_in|data_segs_out):(\d+)")


@dataclasses.dataclass(frozen=True)
class Connection:
    """One established connection: the peer, bytes that wait on either side, whether the last data came from the peer, and seconds since there was any."""

    peer: str
    waiting: int
    owes: bool
    silent: float

    def busy(self, idle: float) -> bool:
        """Whether it still matters: bytes wait, an answer is owed, or there was traffic within ``idle`` seconds."""
        return self.waiting > 0 or self.owes or self.silent < idle


def parse_connections(output: str) -> list[Connection]:
    """The connections in the output of ``ss --info --oneline``, whose lines are RECV-Q, SEND-Q, local, peer, and fields.

    Times are milliseconds, counted from the beginning of the connection where nothing was sent or received. What is 0 is left out.
    """
    found = []
    for line in output.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0].isdigit() and words[1].isdigit():
            fields = {name: int(number) for name, number in _FIELD.findall(line)}
            sent, received = fields.get("lastsnd", 0), fields.get("lastrcv", 0)
            owes = "data_segs_in" in fields and ("data_segs_out" not in fields or received < sent)
            found.append(Connection(words[3], int(words[0]) + int(words[1]), owes, min(sent, received) / 1000))
    return found


def command(port: int, peers: t.Sequence[str]) -> list[str]:
    """What lists the connections to a port.

    Args:
        port: the service's own.
        peers: addresses of the peers that count; all if there are none.

    Raises:
        InvalidInput: one is no address.
    """
    try:
        addresses = [str(ipaddress.ip_address(peer)) for peer in peers]
    except ValueError as exc:
        raise InvalidInput(f"watch the connections to port {port}", exc, "give the addresses of the balancers, not their names") from exc
    condition = f"sport = :{port}"
    if addresses:
        condition += f" and ( {' or '.join(f'dst {address}' for address in addresses)} )"
    return ["ss", "--no-header", "--tcp", "--numeric", "--info", "--oneline", "state", "established", condition]


def busy_connections(run: Run, argv: list[str], idle: float) -> list[Connection]:
    """The connections that still matter now.

    Raises:
        MainstayError: the kernel cannot be asked.
    """
    rc, out, err = run(argv)
    if rc != 0:
        raise MainstayError("list the connections", err.strip() or f"ss ended with status {rc}", "install the package iproute2")
    return [connection for connection in parse_connections(out) if connection.busy(idle)]


def drain(run: Run, argv: list[str], idle: float, timeout: float) -> list[Connection]:
    """Wait until no connection matters any more, or the time is over, and return those that are left."""
    deadline = time.monotonic() + timeout
    while True:
        left = busy_connections(run, argv, idle)
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.2)
