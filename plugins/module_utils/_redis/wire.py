# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many commands in one write, and replies that are read one by one, large ones in pieces: what reading every key of a server takes."""

from __future__ import annotations

import socket
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Refused, Unreachable, open_socket, refusal

RECEIVE = 1 << 18
PIECE = 1 << 18
"""Bytes of a large reply that are held at once."""
LINE_LIMIT = 1 << 16
"""A longer line is no line of this protocol."""
KEYS_PER_SCAN = 500

Reply = t.Union[bytes, int, None, list["Reply"]]


class Wire:
    """A connection that speaks the protocol itself (RESP 2)."""

    def __init__(self, login: Login, doing: str, idle_timeout: float) -> None:
        """Connect and log in.

        Args:
            login: the server and the credentials.
            doing: verb phrase for errors.
            idle_timeout: seconds without a byte after which the connection counts as broken.

        Raises:
            Refused: the login failed.
            MainstayError: the server could not be reached.
        """
        self._doing, self._idle_timeout = doing, idle_timeout
        self._buffer, self._at = b"", 0
        self._socket = open_socket(login, idle_timeout)
        try:
            if login.password:
                self.ask(b"AUTH", *([login.user.encode()] if login.user else []), login.password.encode())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def send(self, commands: t.Iterable[bytes]) -> None:
        """Send commands, as :func:`encode` makes them, in one write; their replies are to be read afterwards, in order."""
        try:
            self._socket.sendall(b"".join(commands))
        except OSError as error:
            raise Unreachable(self._doing, error) from error

    def ask(self, *words: bytes) -> Reply:
        """Send one command and return its reply.

        Raises:
            Refused: the reply is an error.
        """
        self.send([encode(*words)])
        return self.reply()

    def reply(self) -> Reply:
        """Return the next reply in full.

        Raises:
            Refused: it is an error.
        """
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self.reply() for _element in range(int(rest))]
        length = self.length_of(line)
        return None if length < 0 else self.take(length)

    def replies(self, count: int) -> list[Reply]:
        """Return the next replies, for commands that were sent together.

        Raises:
            Refused: one of them is an error; all of them have been read.
        """
        found: list[Reply] = []
        refused: Refused | None = None
        for _command in range(count):
            try:
                found.append(self.reply())
            except Refused as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return found

    def line(self) -> bytes:
        """Return the next line without its end.

        Raises:
            Refused: it is an error.
        """
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > LINE_LIMIT:
                raise MainstayError(self._doing, "the server sent no line", "check that it is a Redis server")
            self._receive()
        line, self._at = self._buffer[self._at : end], end + 2
        if line[:1] == b"-":
            raise refusal(self._doing, line[1:].decode(errors="replace"))
        return line

    def length_of(self, line: bytes) -> int:
        """Return the length that a line announces; -1 if there is nothing.

        Raises:
            MainstayError: it announces something else.
        """
        if line[:1] != b"$":
            raise MainstayError(self._doing, f"the server answered {line[:80]!r}, where a string was expected")
        return int(line[1:])

    def expect(self, expected: bytes) -> None:
        """Read bytes that can be no others; for speed, where one command in a thousand fails.

        Raises:
            Refused: one of their lines is an error.
            MainstayError: they are others.
        """
        while len(self._buffer) - self._at < len(expected) and not self._buffer.startswith(b"-", self._at):
            self._receive()
        if self._buffer.startswith(expected, self._at):
            self._at += len(expected)
            return
        for line in expected.split(b"\r\n")[:-1]:
            if (found := self.line()) != line:
                raise MainstayError(self._doing, f"the server answered {found[:80]!r}, not {line!r}")

    def take(self, length: int) -> bytes:
        """Return a string of that length, and pass over the end of its line."""
        end = self._at + length
        if end + 2 <= len(self._buffer):
            found, self._at = self._buffer[self._at : end], end + 2
            return found
        return b"".join(self.pieces(length))

    def pieces(self, length: int) -> t.Iterator[bytes]:
        """Yield the bytes of a string of that length, at most :data:`PIECE` at once, and pass over the end of its line."""
        missing = length
        while missing:
            if self._at == len(self._buffer):
                self._receive()
            piece = self._buffer[self._at : self._at + min(missing, PIECE)]
            self._at += len(piece)
            missing -= len(piece)
            yield piece
        self.expect(b"\r\n")

    def databases(self) -> list[int]:
        """Return the numbers of the databases that have keys."""
        info = self.ask(b"INFO", b"keyspace")
        lines = info.split(b"\r\n") if isinstance(info, bytes) else []
        return sorted(int(line[2 : line.index(b":")]) for line in lines if line.startswith(b"db") and b":" in line)

    def keys(self, database: int) -> t.Iterator[list[bytes]]:
        """Yield the keys of a database by ``SCAN``, in lists; a key may come more than once."""
        self.ask(b"SELECT", b"%d" % database)
        cursor = b"0"
        while True:
            reply = self.ask(b"SCAN", cursor, b"COUNT", b"%d" % KEYS_PER_SCAN)
            cursor, keys = t.cast("tuple[bytes, list[bytes]]", reply)
            if keys:
                yield keys
            if cursor == b"0":
                return

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE)
        except socket.timeout as error:
            raise Unreachable(self._doing, f"no byte came for {self._idle_timeout:g} seconds", "look at the server's log") from error
        except OSError as error:
            raise Unreachable(self._doing, error, "look at the server's log") from error
        if not data:
            raise Unreachable(self._doing, "the server closed the connection", "look at the server's log")
        self._buffer, self._at = self._buffer[self._at :] + data, 0


def encode(*words: bytes) -> bytes:
    """Return a command as it is sent."""
    return b"*%d\r\n%s" % (len(words), b"".join([b"$%d\r\n%s\r\n" % (len(word), word) for word in words]))
