# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small application that says which release it is, and is as bad as its file FAULT says: one word, and seconds or nothing."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
RELEASE = (HERE / "RELEASE").read_text(encoding="utf-8").strip()
FAULT, _space, SECONDS = (HERE / "FAULT").read_text(encoding="utf-8").strip().partition(" ")
STARTED = time.monotonic()

if FAULT == "crash":
    sys.exit("this release was built to crash")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every path, and keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, late or with an error where the release was built for that."""
        if FAULT == "slow":
            time.sleep(float(SECONDS))
        late = FAULT == "late" and time.monotonic() - STARTED > float(SECONDS)
        unready = FAULT == "unready" and self.path == "/health/ready"
        # Found out by users alone: probes come from the host itself, and ask for other paths.
        hidden = FAULT == "hidden" and self.path.startswith("/work")
        figures = self.path == "/metrics"
        body = b"trial_served 1\n" if figures else json.dumps({"release": RELEASE}).encode()
        self.send_response(500 if late or hidden or FAULT == "errors" and self.path != "/health/live" else 503 if unready else 200)
        self.send_header("Content-Type", "text/plain" if figures else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    wbufsize = -1  # one packet for an answer: with two, the second waits for the acknowledgement of the first

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the balancer's log has it."""


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


Server(("", int(os.environ["PORT"])), Handler).serve_forever()
