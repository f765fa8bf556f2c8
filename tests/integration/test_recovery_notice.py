# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recovery_notice against servers on loopback: what arrives, and that what does not arrive stops nothing and shows no secret."""

from __future__ import annotations

import contextlib
import dataclasses
import email
import http.server
import json
import secrets
import socketserver
import threading
import typing as t

import pytest
from conftest import Runner, free_port

TOKEN = "Sentinel" + secrets.token_hex(8)
OPTIONS = {"title": "Drill of ledger failed", "lines": ["the newest backup is at fault", "5 < 6"], "success": False, "report": {"level": "restore"}}


@dataclasses.dataclass
class Receiver:
    """A server that keeps what it gets."""

    port: int
    got: list[t.Any] = dataclasses.field(default_factory=list)
    status: int = 200


@contextlib.contextmanager
def serving(server: socketserver.TCPServer) -> t.Iterator[None]:
    """Let a server run meanwhile."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hook() -> t.Iterator[Receiver]:
    """A webhook."""
    receiver = Receiver(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.got.append((self.path, dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *unused: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    with serving(server):
        yield receiver


@pytest.fixture
def mailbox() -> t.Iterator[Receiver]:
    """A mail server that speaks as much SMTP as a message takes."""
    receiver = Receiver(0)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines: list[bytes] = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    receiver.got.append(email.message_from_bytes(b"".join(lines)))
                self.wfile.write(b"550 no\r\n" if verb == b"RCPT" and receiver.status != 200 else b"250 fine\r\n" if verb != b"QUIT" else b"221 bye\r\n")

    server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    with serving(server):
        yield receiver


def mail_to(port: int) -> dict[str, t.Any]:
    """The options of a mail to that port."""
    return {"type": "mail", "host": "127.0.0.1", "port": port, "encryption": "none", "sender": "drills@example.com", "to": ["operators@example.com"]}


def test_everybody_is_told(run_module: Runner, hook: Receiver, mailbox: Receiver) -> None:
    """Slack's form, any webhook's with its header, and a mail; nobody in check mode."""
    notices = [
        {"type": "slack", "url": f"http://127.0.0.1:{hook.port}/services/{TOKEN}"},
        {"type": "webhook", "url": f"http://127.0.0.1:{hook.port}/hook", "headers": {"Authorization": f"Bearer {TOKEN}"}},
        mail_to(mailbox.port),
    ]
    planned = run_module("recovery_notice", {**OPTIONS, "notices": notices}, check=True)
    assert hook.got == mailbox.got == []
    told = run_module("recovery_notice", {**OPTIONS, "notices": notices})
    assert {key: told[key] for key in ("changed", "actions", "unsent")} == {key: planned[key] for key in ("changed", "actions", "unsent")}
    assert told["changed"] and told["unsent"] == []
    assert told["actions"] == ["send slack at 127.0.0.1", "send webhook at 127.0.0.1", "send mail to operators@example.com through 127.0.0.1"]
    (path, _unused, slack), (_other, headers, document) = hook.got
    assert path == f"/services/{TOKEN}" and slack["text"].startswith("❌ Drill of ledger failed\n- the newest backup is at fault")
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert document == {"title": OPTIONS["title"], "lines": OPTIONS["lines"], "success": False, "report": {"level": "restore"}}
    (mail,) = mailbox.got
    assert mail["Subject"] == "Drill of ledger failed" and mail["To"] == "operators@example.com" and mail["Message-ID"].endswith("@example.com>")
    assert "- 5 < 6" in mail.get_payload(decode=True).decode()
    assert TOKEN not in json.dumps([planned, told])


def test_what_cannot_be_sent_stops_nothing_and_shows_no_secret(run_module: Runner, hook: Receiver, mailbox: Receiver) -> None:
    """An address that is refused, one that nobody listens at, and a mail server that does not take it; the last one is told all the same."""
    hook.status, mailbox.status = 403, 550
    closed = f"http://127.0.0.1:{free_port()}/services/{TOKEN}"
    notices = [{"type": "slack", "url": f"http://127.0.0.1:{hook.port}/{TOKEN}"}, {"type": "webhook", "url": closed}, mail_to(mailbox.port)]
    result = run_module("recovery_notice", {**OPTIONS, "notices": notices})
    assert not result["failed"] and [entry["place"] for entry in result["unsent"]] == [action.removeprefix("send ") for action in result["actions"]]
    causes = [entry["cause"] for entry in result["unsent"]]
    assert "it answered 403" in causes[0] and "efused" in causes[1] and "550" in causes[2]
    assert len(result["warnings"]) == 3 and TOKEN not in json.dumps(result)


@pytest.mark.parametrize(
    ("notice", "words"),
    [
        ({"type": "slack", "url": TOKEN}, "does not begin with https://"),
        ({"type": "slack"}, "url"),
        ({**mail_to(25), "to": []}, "to is empty"),
        ({**mail_to(25), "sender": "drills"}, "'drills' is no address"),
        ({**mail_to(25), "to": ["a@b\nBcc: c@d"]}, "is no address"),
    ],
)
def test_refusals(run_module: Runner, notice: dict[str, t.Any], words: str) -> None:
    """What can never be sent is refused."""
    result = run_module("recovery_notice", {**OPTIONS, "notices": [notice]})
    assert result["failed"] and words in result["msg"] and TOKEN not in json.dumps(result), result
