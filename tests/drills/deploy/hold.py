# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that holds many connections over TLS to a server and gives it little to do with each, as ``python hold.py KIND --address A --name N --count C``.

Kinds: ``idle`` asks for one page on each connection and then says nothing; ``headers`` sends the header of a request, and ``body`` its body, a byte at a
time and never to the end (what is called slowloris). Connections that the server closes are opened again. Until SIGTERM it prints one JSON object a second:
``held`` (connections that are open now), ``opened`` and ``closed`` (by the server) since the beginning, ``failed`` (that could not be opened).
"""

from __future__ import annotations

import argparse
import collections
import json
import resource
import selectors
import signal
import socket
import ssl
import sys
import time

STEP = 0.05
"""Seconds between two looks at everything."""

FEED_SECONDS = 5.0
"""Each slow connection sends a byte so often."""

HANDSHAKE_SECONDS = 60.0
"""A connection that is not open after so long counts as failed."""

FIRST = {
    "idle": "GET /version HTTP/1.1\r\nHost: {name}\r\n\r\n",
    "headers": "GET /entries HTTP/1.1\r\nHost: {name}\r\nX-Slow: ",
    "body": "POST /entries HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
}
"""What each kind of connection says first."""


class Holder:
    """All connections of one kind."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Hold none yet."""
        self._options = options
        self._tls = ssl.create_default_context()
        # Who the server is does not matter here, and checking it would cost this side more than the server.
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._selector = selectors.EpollSelector()
        self._begun: dict[ssl.SSLSocket, float] = {}
        self._fed: collections.OrderedDict[ssl.SSLSocket, float] = collections.OrderedDict()
        self.counts: collections.Counter[str] = collections.Counter(held=0, opened=0, closed=0, failed=0)

    def begin(self) -> None:
        """Begin to open one connection; a failure is counted."""
        try:
            plain = socket.create_connection((self._options.address, self._options.port), timeout=10)
        except OSError:
            self.counts["failed"] += 1
            return
        # Many handshakes at a time: a busy server takes long for each.
        plain.settimeout(0)
        connection = self._tls.wrap_socket(plain, server_hostname=self._options.name, do_handshake_on_connect=False)
        self._begun[connection] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)

    @property
    def missing(self) -> int:
        """How many have to be begun."""
        return self._options.count - self.counts["held"] - len(self._begun)

    def _shake(self, connection: ssl.SSLSocket) -> None:
        """Go on with a handshake; once it is done, say what the kind of connection says first."""
        try:
            connection.do_handshake()
            connection.send(FIRST[self._options.kind].format(name=self._options.name).encode())
        except (BlockingIOError, ssl.SSLWantReadError):
            self._selector.modify(connection, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._selector.modify(connection, selectors.EVENT_WRITE)
        except OSError:
            self._give_up(connection)
        else:
            self._selector.modify(connection, selectors.EVENT_READ)
            del self._begun[connection]
            self._fed[connection] = time.monotonic()
            self.counts["opened"] += 1
            self.counts["held"] += 1

    def _give_up(self, connection: ssl.SSLSocket) -> None:
        self._selector.unregister(connection)
        del self._begun[connection]
        connection.close()
        self.counts["failed"] += 1

    def look(self) -> None:
        """Go on with handshakes, read what came, and forget connections that were closed."""
        for key, _events in self._selector.select(timeout=0):
            if key.fileobj in self._begun:
                self._shake(key.fileobj)
                continue
            try:
                over = not key.fileobj.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                over = False
            except OSError:
                over = True
            if over:
                self._forget(key.fileobj)

        while self._begun and next(iter(self._begun.values())) < time.monotonic() - HANDSHAKE_SECONDS:
            self._give_up(next(iter(self._begun)))

    def feed(self) -> None:
        """Send a byte where it is due."""
        now = time.monotonic()
        while self._options.kind != "idle" and self._fed and next(iter(self._fed.values())) < now - FEED_SECONDS:
            connection = next(iter(self._fed))
            try:
                connection.send(b"x")
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            except OSError:
                self._forget(connection)
                continue
            self._fed[connection] = now
            self._fed.move_to_end(connection)

    def _forget(self, connection: ssl.SSLSocket) -> None:
        self._selector.unregister(connection)
        del self._fed[connection]
        connection.close()
        self.counts["closed"] += 1
        self.counts["held"] -= 1


def hold(options: argparse.Namespace) -> None:
    """Hold connections until SIGTERM, opening them at the given rate, and print what is held."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    holder = Holder(options)
    said = 0.0
    while not told:
        begun = time.monotonic()
        for _number in range(min(holder.missing, max(1, round(options.rate * STEP)))):
            holder.begin()
        holder.look()
        holder.feed()
        if time.monotonic() - said >= 1:
            said = time.monotonic()
            print(json.dumps(holder.counts), flush=True)
        time.sleep(max(0.0, STEP - (time.monotonic() - begun)))


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="Hold many connections to a server and give it little to do with each.")
    parser.add_argument("kind", choices=sorted(FIRST))
    parser.add_argument("--address", required=True, help="where to connect")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--name", required=True, help="name of the site, for SNI and the Host header")
    parser.add_argument("--count", type=int, required=True, help="connections to hold")
    parser.add_argument("--rate", type=float, default=250.0, help="connections to open a second at most (default 250)")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = options.count + 64
    if hard != resource.RLIM_INFINITY and hard < needed:
        parser.error(f"{options.count} connections need {needed} open files, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    hold(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
