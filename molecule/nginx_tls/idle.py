# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds many idle connections over TLS to a server, opens one more, and prints, as JSON, how many it held and how long the one more took."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import resource
import socket
import ssl
import time

THREADS = 16
ROUNDS = 4
"""On a slow machine the first ones have been idle for too long when the last ones are open; they are opened again, and the others are asked again."""


def ask(connection: ssl.SSLSocket, path: str) -> int:
    """The status of an answer without a body."""
    connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("the connection was closed")
        answer += part
    return int(answer.split()[1])


def open_one(context: ssl.SSLContext, address: str, port: int, path: str) -> ssl.SSLSocket:
    """A connection that has asked once, and is kept. Where this program has to wait for a processor, nginx gives a connection up before it asks."""
    for last in (False, False, True):
        try:
            connection = context.wrap_socket(socket.create_connection((address, port), timeout=60))
            ask(connection, path)
            connection.setblocking(False)
            return connection
        except ConnectionError:
            if last:
                raise
    raise AssertionError


def is_open(connection: ssl.SSLSocket) -> bool:
    """Whether the server has not closed it."""
    try:
        return bool(connection.recv(1))
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False


def is_kept(connection: ssl.SSLSocket, path: str) -> bool:
    """Whether it still answers, which also starts its time of being idle anew."""
    connection.settimeout(60)
    try:
        ask(connection, path)
    except OSError:
        return False
    connection.setblocking(False)
    return True


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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    target = (context, options.address, options.port, options.path)
    connections: list[ssl.SSLSocket] = []
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for dummy in range(ROUNDS):
            connections = [connection for connection in connections if is_kept(connection, options.path)]
            connections += pool.map(lambda dummy: open_one(*target), range(options.count - len(connections)))
    started = time.monotonic()
    last = open_one(*target)
    seconds = time.monotonic() - started
    print(json.dumps({"held": sum(map(is_open, [*connections, last])) - 1, "seconds": round(seconds, 3)}))


if __name__ == "__main__":
    main()
