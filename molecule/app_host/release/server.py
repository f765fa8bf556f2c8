# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest application that can be deployed: it says that it lives, which release it is, what it was given, and how often it was asked."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pathlib

RELEASE = pathlib.Path(__file__).resolve().with_name("RELEASE").read_text(encoding="utf-8").strip()
SECRET = hashlib.sha256(os.environ["TRIAL_SECRET"].encode()).hexdigest()
TOKEN = hashlib.sha256(pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"], "token").read_bytes()).hexdigest()
WARMED: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers three paths."""

    def do_GET(self) -> None:  # noqa: N802  (the name is the library's)
        """Answer 503 to the question for readiness if the release was built to be broken."""
        broken = self.path == "/health/ready" and RELEASE == "broken"
        if self.path == "/warm":
            WARMED.append(self.path)
        features = json.loads(pathlib.Path(os.environ["FEATURES_FILE"]).read_text(encoding="utf-8"))
        body = json.dumps({"release": RELEASE, "secret": SECRET, "token": TOKEN, "features": features, "warmed": len(WARMED)}).encode()
        self.send_response(503 if broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve."""
    http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
