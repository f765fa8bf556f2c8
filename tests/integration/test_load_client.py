# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load client against a server that fails on purpose: what it did to each request must be counted exactly."""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import dataclasses
import json
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import typing as t
import urllib.parse

import pytest
from certificates import make_self_signed

LOAD = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "client" / "load.py"
NAME = "ledger.lab.test"

# The rate that it keeps is measured.
pytestmark = pytest.mark.alone


class Server:
    """A raw HTTP server that does to row N what ``deeds`` says (by N modulo 20) and keeps the rows that it acknowledged."""

    def __init__(self, deeds: dict[int, str], tls: ssl.SSLContext | None = None) -> None:
        self.deeds = deeds
        self.done: collections.Counter[str] = collections.Counter()
        self.stored: set[int] = set()
        self.names: set[str] = set()
        self.hosts: set[str] = set()
        self._lock = threading.Lock()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse further connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            stream = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with stream, stream.makefile("rb") as reader:
                while self._answer(stream, reader):
                    pass

    def _answer(self, sock: socket.socket, reader: t.BinaryIO) -> bool:
        line = reader.readline().decode()
        headers = {}
        while header := reader.readline().decode().strip():
            headers[header.split(":", 1)[0].lower()] = header.split(":", 1)[1].strip()
        if not line:
            return False
        self.hosts.add(headers["host"])
        method, path, _version = line.split()
        if method == "GET":
            return self._page(sock, path)
        number = json.loads(reader.read(int(headers["content-length"])))["number"]
        deed = self.deeds.get(number % 20, "201")
        with self._lock:
            self.done[deed] += 1
            self.stored.add(number)
        return self._do(sock, deed, number)

    def _do(self, sock: socket.socket, deed: str, number: int) -> bool:
        body = json.dumps({"number": number + (deed == "wrong_answer")})
        if deed == "closed":
            return False
        if deed == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            return False
        if deed == "timeout":
            time.sleep(4)
            return False
        if deed == "bad_answer":
            sock.sendall(b"this is not HTTP\r\n\r\n")
            return False
        if deed == "truncated":
            sock.sendall(f"HTTP/1.1 201 OK\r\nContent-Length: {len(body) + 10}\r\n\r\n{body}".encode())
            return False
        status = deed if deed.isdigit() else "201"
        sock.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return deed != "then_close"  # closes the idle connection without having said so

    def _page(self, sock: socket.socket, path: str) -> bool:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        after, limit = int(query.get("after", ["-1"])[0]), int(query["limit"][0])
        above = sorted(number for number in self.stored if number > after)
        page = above[: min(limit, 25)]  # smaller pages than were asked for
        body = json.dumps({"numbers": page, "next": page[-1] if len(above) > len(page) else None})
        with self._lock:
            self.done["read"] += 1
        sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return True


@pytest.fixture
def serve() -> collections.abc.Iterator[t.Callable[..., Server]]:
    servers: list[Server] = []

    def start(deeds: dict[int, str], tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(deeds, tls))
        return servers[-1]

    yield start
    for server in servers:
        with contextlib.suppress(OSError):  # a test may have closed it
            server.close()


def load(*argv: object, expect: int = 0) -> t.Any:
    """Run the client and return what it printed."""
    result = subprocess.run([sys.executable, str(LOAD), *map(str, argv)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == expect, result.stdout + result.stderr
    return json.loads(result.stdout) if result.stdout else result.stderr


def acknowledged(path: pathlib.Path) -> list[dict[str, t.Any]]:
    """Return the acknowledgement log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


FAILURES = {3: "503", 5: "closed", 6: "reset", 7: "truncated", 9: "500", 11: "wrong_answer", 13: "bad_answer", 15: "502"}


def test_every_failure_is_counted_once_by_its_kind(serve: t.Callable[..., Server], tmp_path: pathlib.Path) -> None:
    server = serve({**FAILURES, 2: "409", 8: "then_close"})
    log = tmp_path / "acks"
    summary = load(
        "run",
        "--url",
        f"http://127.0.0.1:{server.port}",
        "--client",
        "a",
        "--rate",
        100,
        "--connections",
        4,
        "--read-share",
        0.25,
        "--seconds",
        2,
        "--ack-log",
        log,
        "--summary",
        tmp_path / "summary.json",
    )
    done = server.done
    assert all(done[deed] >= 5 for deed in (*FAILURES.values(), "409", "then_close")), done
    expected = {f"status_{deed}" if deed.isdigit() else deed: done[deed] for deed in FAILURES.values()}
    assert summary["failed_by_kind"] == expected
    assert summary["failed"] == sum(expected.values())
    assert summary["rejected"] == done["409"]
    assert summary["sent"] == sum(done.values())
    assert summary["ok"] == done["201"] + done["then_close"] + done["read"]
    assert summary["acknowledged"] == done["201"] + done["then_close"] == len(acknowledged(log))
    assert summary["statuses"]["503"] == done["503"] and summary["statuses"]["200"] == done["read"]
    assert 160 <= summary["sent"] <= 100 * summary["seconds"] + 4, "the client did not keep its rate"
    assert abs(done["read"] - summary["sent"] / 4) <= 2
    assert summary["started"] < summary["first_failure"] < summary["last_failure"] < summary["finished"]
    assert 0 < summary["p50_seconds"] <= summary["p95_seconds"] <= summary["p99_seconds"] <= summary["max_seconds"] < 5
    assert len(summary["failures"]) == 20 and {failure["kind"] for failure in summary["failures"]} <= set(expected)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    for line in acknowledged(log):
        assert server.deeds.get(line["number"] % 20, "201") in ("201", "then_close")
        assert line["status"] == 201 and summary["started"] <= line["sent"] <= line["acked"] <= summary["finished"]


def test_clean_server_has_no_failure_and_keeps_its_connections(serve: t.Callable[..., Server]) -> None:
    server = serve({})
    summary = load("run", "--url", f"http://127.0.0.1:{server.port}", "--rate", 100, "--connections", 3, "--seconds", 1)
    assert (summary["failed"], summary["rejected"], summary["connections_opened"]) == (0, 0, 3)
    assert summary["first_failure"] is None and summary["longest_gap_seconds"] < summary["seconds"] - 0.5


def test_idle_connection_that_the_server_closed_is_no_failure(serve: t.Callable[..., Server]) -> None:
    server = serve({number: "then_close" for number in range(20)})
    summary = load("run", "--url", f"http://127.0.0.1:{server.port}", "--rate", 20, "--connections", 1, "--read-share", 0, "--seconds", 1)
    assert summary["failed"] == 0
    assert summary["connections_opened"] == summary["sent"] == server.done["then_close"] >= 15


def test_hanging_answers_time_out_and_leave_a_gap(serve: t.Callable[..., Server]) -> None:
    server = serve({number: "timeout" for number in range(5, 20)})
    summary = load("run", "--url", f"http://127.0.0.1:{server.port}", "--rate", 20, "--connections", 2, "--read-share", 0, "--seconds", 1.5, "--timeout", 1)
    assert summary["failed_by_kind"] == {"timeout": server.done["timeout"]}
    assert summary["acknowledged"] == 4
    assert summary["longest_gap_seconds"] >= 0.8, "the end of the run was not counted"
    assert summary["latest_start_seconds"] > 0.1, "the client did not say that it fell behind"


def test_refused_connections_are_failures(serve: t.Callable[..., Server]) -> None:
    server = serve({})
    server.close()
    summary = load("run", "--url", f"http://127.0.0.1:{server.port}", "--rate", 20, "--seconds", 0.5)
    assert summary["sent"] == summary["failed"] == summary["failed_by_kind"]["connect_refused"] > 5
    assert summary["p50_seconds"] is None and summary["connections_opened"] == 0


@pytest.mark.parametrize("how", ["file", "signal"])
def test_stops_by_file_and_by_signal(serve: t.Callable[..., Server], tmp_path: pathlib.Path, how: str) -> None:
    server = serve({})
    stop = tmp_path / "stop"
    process = subprocess.Popen(
        [sys.executable, str(LOAD), "run", "--url", f"http://127.0.0.1:{server.port}", "--rate", "50", "--stop-file", str(stop)],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    assert process.poll() is None
    stop.touch() if how == "file" else process.send_signal(signal.SIGTERM)
    output, _errors = process.communicate(timeout=60)
    summary = json.loads(output)
    assert process.returncode == 0 and summary["failed"] == 0
    assert summary["sent"] == sum(server.done.values()) > 10


def test_verify_names_the_lost_rows(serve: t.Callable[..., Server], tmp_path: pathlib.Path) -> None:
    server = serve({4: "closed"})
    url, log = f"http://127.0.0.1:{server.port}", tmp_path / "acks"
    load("run", "--url", url, "--client", "v", "--rate", 100, "--seconds", 1, "--ack-log", log)
    lines = acknowledged(log)
    same = {
        "client": "v",
        "until": None,
        "rows_acknowledged": len(lines),
        "rows_found": len(lines),
        "rows_lost": 0,
        "rows_lost_first": [],
        "rows_stored": len(server.stored),
        "rows_unacknowledged": server.done["closed"],
    }
    assert load("verify", "--url", url, "--client", "v", "--ack-log", log) == same

    lost = sorted(line["number"] for line in lines)[10:40]
    server.stored -= set(lost)
    result = load("verify", "--url", url, "--client", "v", "--ack-log", log, expect=1)
    assert (result["rows_acknowledged"], result["rows_found"], result["rows_lost"]) == (len(lines), len(lines) - 30, 30)
    assert result["rows_lost_first"] == lost[:20]

    early = sorted(line["acked"] for line in lines)[4]
    result = load("verify", "--url", url, "--client", "v", "--ack-log", log, "--until", early)
    assert (result["rows_acknowledged"], result["rows_lost"]) == (5, 0)
    with log.open("a") as stream:
        stream.write('{"number": 7')  # the client was killed while it wrote
    assert load("verify", "--url", url, "--client", "v", "--ack-log", log, expect=1)["rows_acknowledged"] == len(lines)
    server.close()
    assert "could not ask" in load("verify", "--url", url, "--client", "v", "--ack-log", log, expect=2)


@dataclasses.dataclass(frozen=True)
class Certificates:
    """A certificate for the site's name, signed by itself, and another authority's."""

    certificate: pathlib.Path
    key: pathlib.Path
    other: pathlib.Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("site", "other"):
        make_self_signed(folder / f"{name}.key", folder / f"{name}.crt", NAME, f"DNS:{NAME}")
    return Certificates(folder / "site.crt", folder / "site.key", folder / "other.crt")


def test_tls_by_name_at_another_address(serve: t.Callable[..., Server], certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server = serve({8: "then_close", 3: "503"}, context)
    context.sni_callback = lambda _sock, name, _context: server.names.add(str(name))
    common = ("run", "--url", f"https://{NAME}", "--connect", f"127.0.0.1:{server.port}", "--rate", 50, "--connections", 2, "--seconds", 1)
    summary = load(*common, "--ca-file", certificates.certificate)
    assert summary["failed_by_kind"] == {"status_503": server.done["503"]}
    assert server.done["then_close"] >= 1 and summary["connections_opened"] == 2 + server.done["then_close"]
    assert (server.names, server.hosts) == ({NAME}, {NAME})
    summary = load(*common, "--ca-file", certificates.other)
    assert summary["sent"] == summary["failed_by_kind"]["tls_untrusted"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--url", "ftp://x"), "'ftp://x' is not an http or https URL"),
        (("--url", "http://x", "--rate", "0"), "must be above 0"),
        (("--url", "https://x", "--ca-file", "/nonexistent"), "No such file"),
    ],
)
def test_bad_arguments_end_with_one_sentence(argv: tuple[str, ...], message: str) -> None:
    error = load("run", *argv, "--seconds", 1, expect=2)
    assert message in error and "Traceback" not in error
