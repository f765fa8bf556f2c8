# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, Alertmanagers and exporters on loopback, with what the role ``prometheus`` writes, and somebody who takes their messages."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import shlex
import shutil
import ssl
import subprocess
import threading
import typing as t

from ports import wait_until_listening


@contextlib.contextmanager
def daemon(folder: pathlib.Path, port: int, argv: t.Sequence[str], **environment: str) -> t.Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block.

    Args:
        folder: where its log goes.
        port: where it listens when it is ready.
        argv: the program, which a Debian package of its name brings, and its arguments.
        environment: its whole environment.
    """
    assert shutil.which(argv[0]), f"{argv[0]} is not installed: apt-get install {argv[0]}"
    log = folder / f"{pathlib.Path(argv[0]).name}-{port}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, cwd=folder, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}, stdout=stream, stderr=stream)
    try:
        wait_until_listening(port, process, lambda: log.read_text(encoding="utf-8", errors="replace"))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def relocate(folder: pathlib.Path) -> None:
    """Let the files that the role wrote below ``folder`` name each other there instead of in ``/etc``."""
    for path in (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".yml", "") and "render" not in path.parts):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("/etc/prometheus", f"{folder}/etc/prometheus"), encoding="utf-8")


def environment(folder: pathlib.Path, service: str) -> dict[str, str]:
    """What the role gives a service in ``/etc/default``, with the quotes that systemd takes off."""
    lines = (folder / "etc/default" / service).read_text(encoding="utf-8").splitlines()
    return {name: "".join(shlex.split(text)) for name, text in (line.split("=", 1) for line in lines if not line.startswith("#"))}


def arguments(folder: pathlib.Path, service: str) -> list[str]:
    """The arguments that the role gives a service."""
    return environment(folder, service)["ARGS"].split()


class Receiver(http.server.ThreadingHTTPServer):
    """Takes Alertmanager's messages and keeps them."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Message)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self.messages: list[tuple[str, str, dict[str, t.Any]]] = []

    def url(self, path: str) -> str:
        """Where to send to."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/{path}"

    def received(self, path: str, **labels: str) -> list[dict[str, t.Any]]:
        """The messages to a path that have an alert with these labels, in their order."""
        return [body for at, _token, body in self.messages if at == f"/{path}" and any(labels.items() <= alert["labels"].items() for alert in body["alerts"])]

    def posted(self, path: str) -> list[dict[str, t.Any]]:
        """The messages to a path in another form."""
        return [body for at, _token, body in self.messages if at == f"/{path}"]


class Message(http.server.BaseHTTPRequestHandler):
    """One message."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep it, with the token that came with it, and answer as Slack does: by any other word Alertmanager 0.28 takes it for refused."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.messages.append((self.path, self.headers.get("Authorization", ""), body))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *unused: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> t.Iterator[Receiver]:
    """Take messages until the end of the block, by TLS with a server's context."""
    server = Receiver(tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
