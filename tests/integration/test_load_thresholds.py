# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load test of ``make load`` ends with 1 where users wait too long, or get errors, or no answer."""

from __future__ import annotations

import contextlib
import http.server
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import pytest

LOCUSTFILE = pathlib.Path(__file__).resolve().parents[2] / "examples/load/locustfile.py"


@contextlib.contextmanager
def site(status: int, seconds: float) -> t.Iterator[str]:
    """A site that always answers so, after so long."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: t.Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def load(url: str, p95_ms: int) -> subprocess.CompletedProcess[str]:
    """Run the load test for three seconds, with four users."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url]
    environment = {**os.environ, "LOAD_P95_MS": str(p95_ms), "LOAD_ERROR_PERCENT": "1"}
    argv = [*command, "--users", "4", "--spawn-rate", "4", "--run-time", "3s"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(("status", "seconds", "p95_ms", "reason"), [
    (200, 0.0, 60_000, ""),
    (503, 0.0, 60_000, "100.00 % of the requests failed, more than 1 %"),
    (200, 0.2, 100, "ms, more than 100 ms"),
])
def test_limits(status: int, seconds: float, p95_ms: int, reason: str) -> None:
    """One that is kept, one for errors, one for latency."""
    with site(status, seconds) as url:
        done = load(url, p95_ms)
    assert done.returncode == (1 if reason else 0), done.stderr
    assert reason in done.stderr and ("Too bad for users" in done.stderr) == bool(reason)


def test_a_site_that_is_not_there(closed_port: int) -> None:
    """It fails as well."""
    done = load(f"http://127.0.0.1:{closed_port}", 60_000)
    assert done.returncode == 1 and "Too bad for users" in done.stderr
