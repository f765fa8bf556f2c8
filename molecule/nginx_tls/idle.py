# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds many idle connections over TLS to a server, then asks it for a page and prints, as JSON, how many it held and how long the answer took."""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import socket
import ssl
import time


def open_all(address: str, port: int, count: int) -> list[ssl.SSLSocket]:
    """Connections that have done their handshake and say nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = []
    for _ in range(count):
        found.append(context.wrap_socket(socket.create_connection((address, port), timeout=30)))
    return found


def still_open(connections: list[ssl.SSLSocket]) -> int:
    """How many of them the server has not closed: one that is closed can be read."""
    with selectors.DefaultSelector() as waiting:
        for connection in connections:
            waiting.register(connection, selectors.EVENT_READ)
        closed = sum(not key.fileobj.recv(1) for key, _ in waiting.select(timeout=0))
    return len(connections) - closed


def ask(address: str, port: int, path: str) -> tuple[int, float]:
    """The status of an answer, and the seconds until it was there."""
    started = time.monotonic()
    with open_all(address, port, 1)[0] as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        status = int(connection.recv(64).split()[1])
    return status, time.monotonic() - started


def main() -> None:
    """Hold, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--path", default="/metrics")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.count + 256) if hard > 0 else options.count + 256, hard))
    connections = open_all(options.address, options.port, options.count)
    status, seconds = ask(options.address, options.port, options.path)
    print(json.dumps({"held": still_open(connections), "status": status, "seconds": round(seconds, 3)}))


if __name__ == "__main__":
    main()
