# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connect scan: which TCP ports of an address answer, by nothing but ``connect``, so that it needs no privilege and no program."""

from __future__ import annotations

import collections
import errno
import selectors
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK)


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "address": {"type": "str", "required": True},
        "ports": {"type": "list", "elements": "str", "default": ["1-65535"]},
        "timeout": {"type": "float", "default": 1.0},
        "parallel": {"type": "int", "default": 2000},
    }


def read_ports(given: t.Iterable[str]) -> list[int]:
    """Return the ports of numbers and ranges such as ``1-1024``, each once.

    Raises:
        InvalidInput: something is no port.
    """
    ports: set[int] = set()
    for part in given:
        first, dash, last = str(part).strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or not 1 <= int(first) <= int(last or first) <= 65535:
            raise InvalidInput("read the ports to try", f"{part} is no port and no range", "write numbers from 1 to 65535, or ranges such as 1-1024")
        ports.update(range(int(first), int(last or first) + 1))
    return sorted(ports)


def source_address(address: str) -> str:
    """Return the address of this machine that packets to another one leave from; nothing is sent.

    Raises:
        MainstayError: there is no way there.
    """
    try:
        family, kind, protocol, _name, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return probe.getsockname()[0]
    except OSError as exc:
        raise MainstayError(f"scan {address}", exc, "see that the address is right, and that this machine has a way there") from exc


class Scan:
    """A scan of one address; ``timeout`` in seconds for each port, ``parallel`` connections at a time."""

    def __init__(self, address: str, timeout: float, parallel: int) -> None:
        """Resolve the address."""
        self._family, _type, _protocol, _name, self._target = socket.getaddrinfo(address, 9, type=socket.SOCK_STREAM)[0]
        self._timeout = timeout
        self._parallel = parallel
        self._selector = selectors.DefaultSelector()
        self._waiting: collections.OrderedDict[socket.socket, tuple[int, float]] = collections.OrderedDict()
        self.answers: dict[str, list[int]] = {"open": [], "closed": [], "filtered": []}

    def run(self, ports: t.Iterable[int]) -> dict[str, list[int]]:
        """Return the ports by what they did: ``open``, ``closed`` (refused), ``filtered`` (silent until the time was over)."""
        left = iter(ports)
        more = True
        while more or self._waiting:
            while more and len(self._waiting) < self._parallel:
                port = next(left, None)
                more = port is not None
                if port is not None:
                    self._begin(port)
            self._collect()
        self._selector.close()
        return {answer: sorted(found) for answer, found in self.answers.items()}

    def _begin(self, port: int) -> None:
        connection = socket.socket(self._family, socket.SOCK_STREAM)
        connection.setblocking(False)
        status = connection.connect_ex((self._target[0], port, *self._target[2:]))
        if status in _IN_PROGRESS:
            self._waiting[connection] = (port, time.monotonic() + self._timeout)
            self._selector.register(connection, selectors.EVENT_WRITE)
        else:
            self._settle(connection, port, status)

    def _collect(self) -> None:
        """Wait for answers, and give up those that had their time; they wait in the order of their ends."""
        if not self._waiting:
            return
        _port, end = next(iter(self._waiting.values()))
        for key, _events in self._selector.select(max(0.0, min(end - time.monotonic(), 0.2))):
            connection = t.cast(socket.socket, key.fileobj)
            port, _end = self._waiting.pop(connection)
            self._selector.unregister(connection)
            self._settle(connection, port, connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        now = time.monotonic()
        while self._waiting:
            connection, (port, end) = next(iter(self._waiting.items()))
            if end > now:
                break
            del self._waiting[connection]
            self._selector.unregister(connection)
            self._settle(connection, port, errno.ETIMEDOUT)

    def _settle(self, connection: socket.socket, port: int, status: int) -> None:
        if status == 0 and connection.getsockname() == connection.getpeername():
            # On one's own machine a connection to a free port can meet itself.
            status = errno.ECONNREFUSED
        connection.close()
        self.answers["open" if status == 0 else "closed" if status == errno.ECONNREFUSED else "filtered"].append(port)


def scan(address: str, ports: t.Sequence[str], timeout: float, parallel: int) -> dict[str, t.Any]:
    """Scan an address; ports that were silent are tried a second time, for a busy host drops what a quiet one answers.

    Raises:
        InvalidInput: something is no port, or no time or number of connections.
        MainstayError: there is no way to the address.
    """
    began = time.monotonic()
    numbers = read_ports(ports)
    if timeout <= 0 or parallel < 1:
        raise InvalidInput(f"scan {address}", "timeout and parallel must be more than 0", "leave them at 1.0 and 2000")
    source = source_address(address)
    first = Scan(address, timeout, parallel).run(numbers)
    silent = first["filtered"]
    # Where everything is silent a firewall drops, and a second look at each port would only double the time.
    again = Scan(address, timeout, parallel).run(silent) if 0 < len(silent) <= 1000 else {"open": [], "closed": [], "filtered": silent}
    return {
        "address": address,
        "source": source,
        "tried": [str(part) for part in ports],
        "open": sorted(first["open"] + again["open"]),
        "closed_count": len(first["closed"]) + len(again["closed"]),
        "filtered_count": len(again["filtered"]),
        "seconds": round(time.monotonic() - began, 3),
    }
