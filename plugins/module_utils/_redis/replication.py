# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Redis's replication protocol that reads one snapshot and goes.

The exchange: login, ``PING``, ``REPLCONF capa eof``, ``REPLCONF rdb-only 1`` (Redis 7 and later: no stream of commands is queued for us),
``PSYNC ? -1``; the server answers ``+FULLRESYNC <id> <offset>``, sends line feeds while its child starts, then the snapshot as
``$<length>`` or ``$EOF:<40 bytes>`` with the same 40 bytes after the last one.
"""

from __future__ import annotations

import enum
import re
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Refused, Unreachable, open_socket, refusal
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import RdbObserver

BLOCK = 1 << 20
MARK_BYTES = 40
LINE_LIMIT = 1 << 16
"""A longer line is no line of this protocol."""

_CAUGHT_UP = re.compile(r"\+FULLRESYNC ([0-9a-f]{40}) (-?\d+)$")


class ShortStream(MainstayError):
    """The snapshot ended before its end."""


class PayloadParser:
    """Takes the bytes that follow ``PSYNC`` or ``SYNC`` and gives those of the snapshot; does no reading itself."""

    class State(enum.Enum):
        """How far the stream has come."""

        REPLY = "waiting for the reply to PSYNC"
        HEADER = "waiting for the snapshot"
        COUNTED = "reading a snapshot of known length"
        MARKED = "reading a snapshot up to its end mark"
        DONE = "done"

    def __init__(self, doing: str, psync: bool = True) -> None:
        """Begin.

        Args:
            doing: verb phrase for errors.
            psync: whether a ``+FULLRESYNC`` line comes first (not after ``SYNC``).
        """
        self._doing = doing
        self.state = self.State.REPLY if psync else self.State.HEADER
        self.replication_id = ""
        self.offset = -1
        self.framing = ""
        self.payload_bytes = 0
        self._missing = 0
        self._mark = b""
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return those of the snapshot among them.

        Raises:
            Refused: the server answered with an error.
            MainstayError: the bytes are not of this protocol.
        """
        data = self._buffer + data
        self._buffer = b""
        while data and self.state in (self.State.REPLY, self.State.HEADER):
            data = data.lstrip(b"\n")
            line, found, rest = data.partition(b"\r\n")
            if not found:
                if len(data) > LINE_LIMIT:
                    raise MainstayError(self._doing, f"the server sent {len(data)} bytes without the end of a line", "check that it is a Redis server")
                self._buffer = data
                return b""
            self._take_line(line.decode(errors="replace"))
            data = rest
        payload = self._take_payload(data)
        self.payload_bytes += len(payload)
        return payload

    def _take_line(self, line: str) -> None:
        if line.startswith("-"):
            raise refusal(self._doing, line[1:])
        if self.state is self.State.REPLY:
            match = _CAUGHT_UP.match(line)
            if not match:
                raise MainstayError(self._doing, f"the server answered {line[:80]!r}, not with FULLRESYNC")
            self.replication_id, self.offset = match[1], int(match[2])
            self.state = self.State.HEADER
        elif line.startswith("$EOF:") and len(line) == len("$EOF:") + MARK_BYTES:
            self.framing, self._mark, self.state = "eof", line[5:].encode(), self.State.MARKED
        elif re.fullmatch(r"\$\d+", line):
            self.framing, self._missing = "length", int(line[1:])
            self.state = self.State.COUNTED if self._missing else self.State.DONE
        else:
            raise MainstayError(self._doing, f"the server announced the snapshot by {line[:80]!r}, which is neither a length nor an end mark")

    def _take_payload(self, data: bytes) -> bytes:
        if self.state is self.State.COUNTED:
            payload = data[: self._missing]
            self._missing -= len(payload)
            if not self._missing:
                self.state = self.State.DONE
            return payload
        if self.state is self.State.MARKED:
            if data.endswith(self._mark):
                self.state = self.State.DONE
                return data[:-MARK_BYTES]
            self._buffer = data[-MARK_BYTES:]
            return data[:-MARK_BYTES]
        return b""

    @property
    def accepted(self) -> bool:
        """Whether the server has agreed to send a snapshot."""
        return self.state is not self.State.REPLY

    @property
    def started(self) -> bool:
        """Whether the snapshot's length or end mark has been announced."""
        return self.state in (self.State.COUNTED, self.State.MARKED, self.State.DONE)

    @property
    def done(self) -> bool:
        """Whether the last byte of the snapshot has been given."""
        return self.state is self.State.DONE

    @property
    def missing(self) -> str:
        """What is missing if the stream ends here, in words."""
        if self.state is self.State.COUNTED:
            return f"{self._missing} of {self.payload_bytes + self._missing} bytes are missing"
        if self.state is self.State.MARKED:
            return f"the end mark is missing after {self.payload_bytes} bytes"
        return f"it was {self.state.value}"


class SnapshotStream:
    """The snapshot of one server as something readable; checked to be one whole RDB file before its end is told."""

    def __init__(self, login: Login, idle_timeout: float) -> None:
        """Connect, log in and ask for the snapshot; returns when the server has accepted, which it does as it forks.

        Args:
            login: the server and the credentials.
            idle_timeout: seconds without a byte after which the stream counts as broken.

        Raises:
            Refused: the server does not want to be replicated from.
            MainstayError: it could not be reached, or does not speak the protocol.
        """
        self._doing = f"read the snapshot of Redis at {login.address}"
        self._idle_timeout = idle_timeout
        self.observer = RdbObserver()
        self.rdb_only = False
        self._ready = b""
        self._parser = PayloadParser(self._doing)
        self._socket = open_socket(login, idle_timeout)
        try:
            self._login(login)
            self._request()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SnapshotStream:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection; the server then ends the child that writes for us."""
        self._socket.close()

    @property
    def forked(self) -> bool:
        """Whether the server has forked; after ``SYNC`` it does not tell."""
        return bool(self._parser.replication_id)

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of the way that the bytes came."""
        parser = self._parser
        told = {"replication_id": parser.replication_id, "replication_offset": parser.offset} if self.forked else {}
        return {**told, "framing": parser.framing, "rdb_only": self.rdb_only}

    def wait_started(self, timeout: float) -> None:
        """Read on until the server begins to send.

        Raises:
            MainstayError: it broke off before that, or takes too long.
        """
        deadline = time.monotonic() + timeout
        while not self._parser.started:
            self._ready += self._parser.feed(self._receive())
            if time.monotonic() > deadline:
                raise MainstayError(self._doing, f"it has not begun after {timeout:g} seconds", "raise wait_timeout, or look at the server's log")

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes of the snapshot, nothing at its checked end.

        Raises:
            ShortStream: the connection ended or stalled before the end.
            BadSnapshot: what came is no whole RDB file.
        """
        while not self._ready:
            if self._parser.done:
                self.observer.finish()
                return b""
            self._ready = self._parser.feed(self._receive())
        block, self._ready = self._ready[:size], self._ready[size:]
        self.observer.feed(block)
        return block

    def _login(self, login: Login) -> None:
        if login.password:
            self._ask(f"log in to Redis at {login.address}", "AUTH", *([login.user] if login.user else []), login.password)
        self._ask(self._doing, "PING")

    def _request(self) -> None:
        """Send ``PSYNC``, or ``SYNC`` to a server that does not know it."""
        self._ask(self._doing, "REPLCONF", "capa", "eof")
        try:
            self._ask(self._doing, "REPLCONF", "rdb-only", "1")
            self.rdb_only = True
        except Refused:
            self.rdb_only = False
        try:
            self._send("PSYNC", "?", "-1")
            while not self._parser.accepted:
                self._ready += self._parser.feed(self._receive())
        except Refused as error:
            if "unknown command" not in error.cause.lower():
                raise
            self._parser = PayloadParser(self._doing, psync=False)
            self._send("SYNC")

    def _ask(self, doing: str, *words: str) -> None:
        """Send a command whose reply is one line.

        Raises:
            Refused: the reply is an error.
        """
        self._send(*words)
        reply = b""
        while not reply.endswith(b"\r\n"):
            reply += self._receive()
            if len(reply) > LINE_LIMIT:
                raise MainstayError(doing, "the server sent no line", "check that it is a Redis server")
        line = reply.decode(errors="replace").strip()
        if line.startswith("-"):
            raise refusal(doing, line[1:])
        if not line.startswith("+"):
            raise MainstayError(doing, f"the server answered {line[:80]!r}", "check that it is a Redis server")

    def _send(self, *words: str) -> None:
        encoded = [word.encode() for word in words]
        try:
            self._socket.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
        except OSError as error:
            raise Unreachable(self._doing, error) from error

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(BLOCK)
        except socket.timeout as error:
            raise ShortStream(self._doing, f"no byte came for {self._idle_timeout:g} seconds; {self._parser.missing}", "look at the server's log") from error
        except OSError as error:
            raise ShortStream(self._doing, f"{error}; {self._parser.missing}", "look at the server's log") from error
        if not data:
            raise ShortStream(self._doing, f"the server closed the connection; {self._parser.missing}", "look at the server's log")
        return data
