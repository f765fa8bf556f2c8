# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The RDB format as far as a scan writes it, the keys it has seen, and the replies it reads."""

from __future__ import annotations

import pathlib
import socket
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Refused
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import Keyspace
from ansible_collections.mainstay.ops.plugins.module_utils._redis.scan import FILE_END, Seen, database_head, file_head, length, text
from ansible_collections.mainstay.ops.plugins.module_utils._redis.wire import Wire, encode

REPLIES = b"+OK\r\n:-2\r\n$4\r\n\r\n\r\n\r\n$-1\r\n*2\r\n$1\r\n0\r\n*1\r\n$0\r\n\r\n+OK\r\n+QUEUED\r\n-ERR no\r\n:7\r\n"


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, b"\x00"),
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16383, b"\x7f\xff"),
        (16384, b"\x80\x00\x00\x40\x00"),
        (2**32 - 1, b"\x80\xff\xff\xff\xff"),
        (2**32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
    ],
)
def test_lengths(number: int, encoded: bytes) -> None:
    assert length(number) == encoded


def test_parts_of_a_file() -> None:
    assert file_head("REDIS0010", "7.0.15") == b"REDIS0010\xfa\x09redis-ver\x067.0.15"
    assert database_head(3, Keyspace(64, 1)) == b"\xfe\x03\xfb\x40\x40\x01"
    assert text(b"ab") == b"\x02ab" and FILE_END == b"\xff" + bytes(8)


def test_keys_are_new_once(tmp_path: pathlib.Path) -> None:
    seen = Seen(str(tmp_path))
    assert list(tmp_path.iterdir()) == [], "the file has a name"
    assert seen.new([b"a", b"b", b"a", b""]) == [b"a", b"b", b""]
    assert seen.new([b"b", b"c", b""]) == [b"c"]
    seen.forget()
    assert seen.new([b"b"]) == [b"b"]
    seen.close()


def test_commands() -> None:
    assert encode(b"DUMP", b"\r\n") == b"*2\r\n$4\r\nDUMP\r\n$2\r\n\r\n\r\n"


class Served:
    """A connection whose other end sends given bytes."""

    def __init__(self, chunks: t.Sequence[bytes]) -> None:
        """Listen, connect and send."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.wire = Wire(Login("127.0.0.1", listener.getsockname()[1]), "read", 5)
            peer, _address = listener.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for chunk in chunks:
                peer.sendall(chunk)

    def __enter__(self) -> Wire:
        return self.wire

    def __exit__(self, *unused: object) -> None:
        self.wire.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(REPLIES)])
def test_replies_in_any_pieces(size: int) -> None:
    with Served([REPLIES[start : start + size] for start in range(0, len(REPLIES), size)]) as wire:
        assert [wire.reply() for _reply in range(5)] == [b"OK", -2, b"\r\n\r\n", None, [b"0", [b""]]]
        with pytest.raises(Refused, match="ERR no"):
            wire.expect(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n")
        assert wire.reply() == 7
        with pytest.raises(MainstayError, match="closed the connection"):
            wire.reply()


def test_an_error_among_replies_leaves_the_others_read() -> None:
    with Served([b":1\r\n-NOPERM no permissions\r\n:3\r\n+next\r\n"]) as wire:
        with pytest.raises(Refused, match="ACL SETUSER"):
            wire.replies(3)
        assert wire.reply() == b"next"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b":5\r\n", b"x" * 70_000])
def test_what_is_no_string_is_refused(answer: bytes) -> None:
    with Served([answer]) as wire, pytest.raises(MainstayError, match="could not read"):
        wire.length_of(wire.line())


def test_a_string_comes_in_pieces() -> None:
    with Served([b"a" * 300_000, b"b" * 300_000 + b"\r\n+next\r\n"]) as wire:
        pieces = list(wire.pieces(600_000))
        assert b"".join(pieces) == b"a" * 300_000 + b"b" * 300_000 and max(map(len, pieces)) <= 1 << 18
        assert wire.reply() == b"next"
