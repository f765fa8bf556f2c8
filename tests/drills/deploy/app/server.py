# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application to be deployed: it takes what the load client sends, says which release it is, and fails as its file ``FAULT`` says.

``FAULT`` is empty for a good release, or one of: ``crash``, ``unready``, ``errors`` (500 to everything but what machines ask), ``hidden`` (500 to what only
users ask), ``slow SECONDS`` (each answer takes so long), ``later SECONDS`` (500 to everything, from so long after its start).
"""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import signal
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
RELEASE = (HERE / "RELEASE").read_text(encoding="utf-8").strip()
FAULT, _space, SECONDS = (HERE / "FAULT").read_text(encoding="utf-8").strip().partition(" ")
STARTED = time.monotonic()

DRAIN_SECONDS = 1.0
"""How long it goes on answering after SIGTERM, closing each connection: what is on its way to it then arrives."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every path, and keeps connections open."""

    protocol_version = "HTTP/1.1"
    # One packet for an answer: with two, the second waits for the acknowledgement of the first.
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:  # noqa: N802  (the name is the library's)
        """Answer a question."""
        self._answer({"release": RELEASE}, 200)

    def do_POST(self) -> None:  # noqa: N802  (the name is the library's)
        """Acknowledge a row."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"release": RELEASE, "number": json.loads(content)["number"]}, 201)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the balancer's log has it."""

    def _fails(self) -> bool:
        machines = self.path.startswith(("/health/", "/version"))
        if FAULT == "later":
            return time.monotonic() - STARTED > float(SECONDS)
        return (FAULT == "errors" and not machines) or (FAULT == "hidden" and self.path.startswith("/entries"))

    def _answer(self, content: dict[str, object], status: int) -> None:
        if FAULT == "slow":
            time.sleep(float(SECONDS))
        if FAULT == "unready" and self.path == "/health/ready":
            status = 503
        body = json.dumps(content).encode()
        self.send_response(500 if self._fails() else status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", RELEASE)
        if self.server.ending:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection; after SIGTERM it finishes what is on its way."""

    daemon_threads = True
    request_queue_size = 512
    ending = False

    def end(self, *_arguments: object) -> None:
        """Answer for a while longer, then stop."""
        self.ending = True
        threading.Timer(DRAIN_SECONDS, self.shutdown).start()


def main() -> None:
    """Serve."""
    if FAULT == "crash":
        sys.exit("this release was built to crash")
    with Server(("", int(os.environ["PORT"])), Handler) as server:
        signal.signal(signal.SIGTERM, server.end)
        server.serve_forever()


if __name__ == "__main__":
    main()
