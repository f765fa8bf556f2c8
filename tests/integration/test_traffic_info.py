# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""traffic_info with a real nginx on loopback, which logs as the role nginx_tls tells it to: what clients got is what is counted."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import typing as t

import pytest
from conftest import Runner
from ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


def log_format() -> str:
    """The directive of the role's template; none of its variables is the template's own."""
    template = (ROOT / "roles/nginx_tls/templates/nginx.conf.j2").read_text(encoding="utf-8")
    found = re.search(r"log_format json .*?;\n", template, re.DOTALL)
    assert found is not None
    return found[0]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names, after the seconds that it names."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer."""
        _empty, status, seconds = self.path.split("/")
        time.sleep(float(seconds))
        self.send_response(int(status))
        self.send_header("Content-Length", "0")
        with contextlib.suppress(BrokenPipeError):
            self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Balancer:
    """nginx in front of a server; the header Pool chooses the pool, of which ``app_green`` has a server that does not answer."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Write the configuration and start both."""
        self.log, self.port, self.folder = folder / "access.log", free_port(), folder
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address, dead = f"127.0.0.1:{self._server.server_port}", f"127.0.0.1:{free_port()}"
        temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = folder / "nginx.conf"
        # Weights let the first request of the second pool meet the dead server, and max_fails=0 keeps it in use.
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ {temporary}\n{log_format()}"
            f"access_log {self.log} json; limit_req_zone $uri zone=all:1m rate=1000r/s;\n"
            f"upstream app_blue {{ server {address}; }}\nupstream app_green {{ server {dead} max_fails=0; server {address} max_fails=0; }}\n"
            f"server {{ listen 127.0.0.1:{self.port}; location / {{ set $nginx_tls_pool $http_pool; proxy_pass http://$http_pool; }} }} }}\n", encoding="utf-8",
        )
        self._process = subprocess.Popen(["nginx", "-c", config, "-e", f"{folder}/error.log"], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while self._try() is None:
            assert self._process.poll() is None and time.monotonic() < deadline, (folder / "error.log").read_text(encoding="utf-8")
            time.sleep(0.05)

    def _try(self) -> bool | None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return None

    def ask(self, pool: str, status: int = 200, seconds: float = 0, times: int = 1, patience: float = 30) -> list[int]:
        """Send requests; a client that loses its patience goes away."""
        answers = []
        for _number in range(times):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
            with contextlib.suppress(TimeoutError), contextlib.closing(connection):
                connection.request("GET", f"/{status}/{seconds}", headers={"Pool": pool})
                answers.append(connection.getresponse().status)
        return answers

    def logged(self, lines: int) -> None:
        """Wait until so many lines are in the log."""
        deadline = time.monotonic() + 30
        while not self.log.exists() or self.log.read_bytes().count(b"\n") < lines:
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def rotate(self) -> None:
        """What logrotate does: rename, then tell nginx."""
        self.log.rename(self.log.with_name("access.log.1"))
        self.ask("app_blue")  # still goes into the old file
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 30
        while not self.log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop both."""
        self._process.terminate()
        self._process.wait(timeout=30)
        self._server.shutdown()


@pytest.fixture
def balancer(server_root: pathlib.Path) -> t.Iterator[Balancer]:
    """A balancer with an empty log."""
    folder = server_root / f"traffic-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    folder.chmod(0o755)
    started = Balancer(folder)
    try:
        yield started
    finally:
        started.stop()


def test_what_clients_got_is_what_is_counted(run_module: Runner, balancer: Balancer) -> None:
    """Answers, errors, clients that went away, and what another server answered; the next window begins where this one ended."""
    path = str(balancer.log)
    begin = run_module("traffic_info", {"path": path})
    assert (begin["pools"], begin["complete"], begin["changed"]) == ([], True, False)
    assert balancer.ask("app_blue", times=20) == [200] * 20
    assert balancer.ask("app_blue", 503, times=3) == [503] * 3
    assert balancer.ask("app_blue", seconds=0.3, times=2) == [200] * 2
    assert balancer.ask("app_blue", seconds=2, patience=0.3) == []
    assert balancer.ask("app_green", times=6) == [200] * 6
    balancer.logged(32)
    window = run_module("traffic_info", {"path": path, "since": begin["position"], "pools": ["app_green", "app_blue", "app_red"]})
    assert [pool["pool"] for pool in window["pools"]] == ["app_green", "app_blue", "app_red"]
    green, blue, red = window["pools"]
    assert [blue[name] for name in ("requests", "errors", "aborted", "retried")] == [26, 3, 1, 0]
    assert blue["error_ratio"] == 0.12
    assert 0.3 <= blue["p99"] < 2
    assert sum(count for _milliseconds, count in blue["times"]) == 25
    assert (green["requests"], green["errors"]) == (6, 0)
    assert 2 <= green["retried"] <= 6
    assert (red["requests"], red["p50"], red["times"]) == (0, None, [])
    assert (window["complete"], window["unreadable"], window["readable"]) == (True, 0, 32)
    balancer.ask("app_green", 500)
    balancer.logged(33)
    after = run_module("traffic_info", {"path": path, "since": window["position"]})
    assert [(pool["pool"], pool["requests"], pool["errors"]) for pool in after["pools"]] == [("app_green", 1, 1)]


def test_a_log_that_is_rotated_within_the_window(run_module: Runner, balancer: Balancer) -> None:
    """No request is counted twice or left out, by place and by time, in check mode too."""
    balancer.ask("app_blue", times=3)
    balancer.logged(3)
    begin = run_module("traffic_info", {"path": str(balancer.log)})
    balancer.ask("app_blue", times=4)
    balancer.rotate()
    balancer.ask("app_blue", times=5)
    balancer.logged(5)
    options = {"path": str(balancer.log), "since": begin["position"]}
    for check in (False, True):
        window = run_module("traffic_info", options, check=check)
        assert ([pool["requests"] for pool in window["pools"]], window["complete"]) == ([10], True)
    all_of_it = run_module("traffic_info", {"path": str(balancer.log), "seconds": 3600})
    assert [pool["requests"] for pool in all_of_it["pools"]] == [13]
    balancer.log.with_name("access.log.1").unlink()
    lost = run_module("traffic_info", options)
    assert ([pool["requests"] for pool in lost["pools"]], lost["complete"]) == ([5], False)


def test_wrong_input(run_module: Runner, balancer: Balancer) -> None:
    """Refused in words."""
    refused = run_module("traffic_info", {"path": str(balancer.log), "seconds": 1, "since": {"inode": 0, "offset": 0, "time": 0}})
    assert "mutually exclusive" in refused["msg"]
    refused = run_module("traffic_info", {"path": str(balancer.folder), "seconds": 1})
    assert refused["msg"].startswith(f"could not read the access log {balancer.folder}")
