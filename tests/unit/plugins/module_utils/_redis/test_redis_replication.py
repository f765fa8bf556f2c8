# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parser of the replication protocol, fed with every cut of what a server can send."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import LoginFailed, Refused
from ansible_collections.mainstay.ops.plugins.module_utils._redis.replication import LINE_LIMIT, PayloadParser

ID = b"0123456789abcdef0123456789abcdef01234567"
MARK = b"f3e2d1c0b9a8f7e6d5c4b3a2918070605040302a"
PAYLOAD = b"REDIS0010\n\r\n$5\r\n" + MARK[:39] + b"\n" + bytes(range(256)) + MARK[:20]
FULLRESYNC = b"+FULLRESYNC " + ID + b" 4711\r\n"
BY_MARK = b"$EOF:" + MARK + b"\r\n" + PAYLOAD + MARK
BY_LENGTH = b"$%d\r\n" % len(PAYLOAD) + PAYLOAD
KEEPALIVE = b"\n\n\n"

STREAMS = {
    "mark": FULLRESYNC + BY_MARK,
    "length": FULLRESYNC + BY_LENGTH,
    "mark after keepalives": KEEPALIVE + FULLRESYNC + KEEPALIVE + BY_MARK,
    "length after keepalives": KEEPALIVE + FULLRESYNC + KEEPALIVE + BY_LENGTH,
    "commands after the length": FULLRESYNC + BY_LENGTH + b"*1\r\n$4\r\nPING\r\n",
}


def feed(parser: PayloadParser, chunks: t.Iterable[bytes]) -> bytes:
    """Give chunks until the parser is done, as the reader of a socket does."""
    payload = b""
    for chunk in chunks:
        payload += parser.feed(chunk)
        if parser.done:
            break
    return payload


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_any_cut_gives_the_payload(stream: bytes) -> None:
    for cut in range(len(stream) + 1):
        parser = PayloadParser("read")
        assert feed(parser, (stream[:cut], stream[cut:])) == PAYLOAD
        assert parser.done and parser.payload_bytes == len(PAYLOAD)
        assert (parser.replication_id, parser.offset) == (ID.decode(), 4711)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_byte_by_byte_gives_the_payload(stream: bytes) -> None:
    assert feed(PayloadParser("read"), (stream[at : at + 1] for at in range(len(stream)))) == PAYLOAD


@pytest.mark.parametrize("seed", range(200))
def test_random_payloads_in_random_chunks(seed: int) -> None:
    source = random.Random(seed)
    payload = b"".join(source.choice((MARK[: source.randrange(40)], b"\n", b"\r\n", b"$", source.randbytes(source.randrange(99)))) for _piece in range(20))
    mark = source.randbytes(20).hex().encode()
    by_mark = source.random() < 0.5
    body = b"$EOF:" + mark + b"\r\n" + payload + mark if by_mark else b"$%d\r\n%s" % (len(payload), payload)
    stream = KEEPALIVE * source.randrange(3) + FULLRESYNC + KEEPALIVE * source.randrange(3) + body
    cuts = sorted(source.randrange(len(stream) + 1) for _cut in range(source.randrange(12)))
    parser = PayloadParser("read")
    assert feed(parser, (stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)]))) == payload
    assert parser.done
    assert parser.framing == ("eof" if by_mark else "length")


@pytest.mark.parametrize("name", ["mark", "length"])
def test_no_prefix_counts_as_done(name: str) -> None:
    stream = STREAMS[name]
    for end in range(len(stream)):
        parser = PayloadParser("read")
        payload = parser.feed(stream[:end])
        assert not parser.done
        assert parser.missing
        assert PAYLOAD.startswith(payload)


def test_memory_holds_no_more_than_the_mark() -> None:
    parser = PayloadParser("read")
    parser.feed(FULLRESYNC + b"$EOF:" + MARK + b"\r\n")
    given = sum(len(parser.feed(bytes(1 << 16))) for _block in range(32))
    assert given == 32 * (1 << 16) - len(MARK)
    assert len(parser._buffer) == len(MARK)


def test_sync_has_no_fullresync() -> None:
    parser = PayloadParser("read", psync=False)
    assert feed(parser, (KEEPALIVE, BY_LENGTH)) == PAYLOAD
    assert (parser.replication_id, parser.offset) == ("", -1)


def test_empty_snapshot_of_known_length_is_done() -> None:
    parser = PayloadParser("read")
    assert parser.feed(FULLRESYNC + b"$0\r\n") == b""
    assert parser.done


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        (b"-NOAUTH Authentication required.\r\n", LoginFailed, "NOAUTH"),
        (b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n", Refused, "NOMASTERLINK"),
        (b"\n-ERR unknown command 'PSYNC'\r\n", Refused, "unknown command"),
        (b"-NOPERM this user has no permissions to run the 'psync' command\r\n", Refused, "ACL SETUSER"),
        (b"+CONTINUE\r\n", MainstayError, "not with FULLRESYNC"),
        (b"HTTP/1.1 400 Bad Request\r\n", MainstayError, "HTTP/1.1"),
        (FULLRESYNC + b"-ERR child failed\r\n", Refused, "child failed"),
        (FULLRESYNC + b"$EOF:short\r\n", MainstayError, "neither a length nor an end mark"),
        (FULLRESYNC + b"$-1\r\n", MainstayError, "neither a length nor an end mark"),
        (b"x" * (LINE_LIMIT + 1), MainstayError, "without the end of a line"),
    ],
)
def test_what_is_not_the_protocol_is_refused(stream: bytes, error: type[MainstayError], words: str) -> None:
    with pytest.raises(error, match="could not read") as caught:
        PayloadParser("read").feed(stream)
    assert words in str(caught.value)
