# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of processes, read from /proc: what a worker that leaves still has to do for a server."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
import typing as t

_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def parse_address(text: str) -> tuple[str, int]:
    """An address of /proc/net/tcp or tcp6: words of four bytes in the order of the machine, then the port.

    Addresses of IPv4 that are mapped into IPv6 are given as IPv4.
    """
    packed, dummy, port = text.partition(":")
    raw = b"".join(struct.pack("=I", int(packed[start : start + 8], 16)) for start in range(0, len(packed), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw), int(port, 16)
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address), int(port, 16)


def parse_table(text: str) -> dict[str, tuple[str, int]]:
    """The far ends of all established connections in a table of /proc, by the inode of their sockets."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {row[9]: parse_address(row[2]) for row in rows if len(row) > 9 and row[3] == _ESTABLISHED}


def _table(name: str) -> dict[str, tuple[str, int]]:
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as stream:
            return parse_table(stream.read())
    except FileNotFoundError:  # a kernel without IPv6
        return {}


def _sockets(pid: int) -> t.Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            found = _SOCKET.match(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
        if found:
            yield found[1]


def count_connections(pids: t.Iterable[int], ends: t.Collection[tuple[str, int]]) -> int:
    """How many established connections the processes have to these addresses and ports."""
    table = {**_table("tcp"), **_table("tcp6")}
    return sum(table.get(inode) in ends for pid in pids for inode in _sockets(pid))
