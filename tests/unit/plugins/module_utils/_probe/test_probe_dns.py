# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS messages: what is written, what is read, and what cannot be either."""

from __future__ import annotations

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._probe import dns, dns_message
from ansible_collections.mainstay.ops.plugins.module_utils._probe.dns_message import Answer, Question, Record

QUESTION = Question("a.example", "A", 0x1234)
ASKED = b"\x01a\x07example\x00\x00\x01\x00\x01"


def answer(*records: bytes, flags: int = 0x8400, number: int = 0x1234, asked: bytes = ASKED) -> bytes:
    """An answer's bytes."""
    return b"".join(part.to_bytes(2, "big") for part in (number, flags, 1, len(records), 0, 0)) + asked + b"".join(records)


def record(kind: int, contents: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    """A record's bytes, living 60 seconds; its name points to the question's."""
    return name + kind.to_bytes(2, "big") + b"\0\1" + (60).to_bytes(4, "big") + len(contents).to_bytes(2, "big") + contents


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a.example", b"\x01a\x07example\x00"),
        ("a.example.", b"\x01a\x07example\x00"),
        (".", b"\x00"),
        ("_sip._tcp.a", b"\x04_sip\x04_tcp\x01a\x00"),
        ("b\u00fccher.a", b"\x0dxn--bcher-kva\x01a\x00"),
        ("a" * 63 + ".b", b"\x3f" + b"a" * 63 + b"\x01b\x00"),
    ],
)
def test_names(name: str, encoded: bytes) -> None:
    assert dns_message.encode_name(name) == encoded


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a" * 64, ".".join(["a" * 62] * 5), "\u00fc" * 80])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        dns_message.encode_name(name)


def test_question() -> None:
    assert dns_message.encode_question(QUESTION) == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + ASKED
    assert len({Question("a", "A").number for unused in range(50)}) > 40


@pytest.mark.parametrize(
    ("kind", "contents", "name", "text"),
    [
        (1, b"\xc0\x00\x02\x01", "A", "192.0.2.1"),
        (28, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", "AAAA", "2001:db8::1"),
        (5, b"\x03WWW\xc0\x0e", "CNAME", "www.example"),
        (2, b"\x00", "NS", "."),
        (15, b"\x00\x0a\x04mail\xc0\x0c", "MX", "10 mail.a.example"),
        (33, b"\x00\x01\x00\x02\x14\x6c\x01s\x00", "SRV", "1 2 5228 s"),
        (16, b"\x03abc\x02 d", "TXT", "abc d"),
        (6, b"\x01n\x00\x01h\x00" + b"".join(number.to_bytes(4, "big") for number in (2026112701, 1, 2, 3, 4)), "SOA", "n h 2026112701 1 2 3 4"),
        (99, b"anything", "99", ""),
    ],
)
def test_records(kind: int, contents: bytes, name: str, text: str) -> None:
    assert dns_message.decode_answer(QUESTION, answer(record(kind, contents))) == Answer("NOERROR", True, False, (Record(name, 60, text),))


def test_flags() -> None:
    assert dns_message.decode_answer(QUESTION, answer(flags=0x8183)) == Answer("NXDOMAIN", False, False, ())
    assert dns_message.decode_answer(QUESTION, answer(flags=0x8600)) == Answer("NOERROR", True, True, ())
    assert dns_message.decode_answer(QUESTION, answer(flags=0x8009)).rcode == "9"
    assert dns_message.decode_answer(QUESTION, answer(asked=ASKED.replace(b"example", b"EXAMPLE"))).rcode == "NOERROR"


@pytest.mark.parametrize(
    ("data", "does"),
    [
        (b"", "ends too early"),
        (answer()[:-3], "ends too early"),
        (answer(record(1, b"\xc0\x00\x02\x01"))[:-1], "ends too early"),
        (answer(number=1), "answers another question"),
        (answer(flags=0x0100), "answers another question"),
        (answer(asked=b"\x01b\x07example\x00\x00\x01\x00\x01"), "answers another question"),
        (answer(asked=ASKED[:-3] + b"\x1c\x00\x01"), "answers another question"),
        (answer(record(1, b"\xc0\x00\x02")), "has an address of 3 bytes"),
        (answer(record(5, b"\xc0\x27")), "has a name that goes in a circle"),
        (answer(record(5, b"\x01a\xc0\x27")), "has a name that goes in a circle"),
        (answer(record(5, b"\xc0\xff")), "has a name that goes in a circle"),
        (answer(record(5, b"\x80")), "has a name with a label of an unknown kind"),
    ],
)
def test_what_is_no_answer(data: bytes, does: str) -> None:
    with pytest.raises(ValueError, match=does):
        dns_message.decode_answer(QUESTION, data)


def test_no_answer_is_read_for_ever_or_raises_anything_else() -> None:
    good = answer(record(6, b"\x01n\xc0\x0c\x01h\xc0\x0c" + bytes(20)), record(16, b"\x05short"))
    for position in range(2, len(good)):
        for byte in (0x00, 0x0C, 0x3F, 0x7F, 0xC0, 0xFF):
            damaged = good[:position] + bytes([byte]) + good[position + 1:]
            try:
                dns_message.decode_answer(QUESTION, damaged)
            except ValueError:
                pass


@pytest.mark.parametrize(
    ("kind", "text", "normal"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:DB8:0:0::1", "2001:db8::1"),
        ("CNAME", "WWW.Example.", "www.example"),
        ("MX", "010  Mail.example.", "10 mail.example"),
        ("TXT", "As it  is.", "As it  is."),
    ],
)
def test_normal_form(kind: str, text: str, normal: str) -> None:
    assert dns_message.normal_form(kind, text) == normal


@pytest.mark.parametrize(("kind", "text"), [("A", "::1"), ("AAAA", "192.0.2.1"), ("MX", "mail.example"), ("MX", "ten mail.example"), ("CNAME", "a..b")])
def test_normal_form_of_what_cannot_be_one(kind: str, text: str) -> None:
    with pytest.raises(ValueError):
        dns_message.normal_form(kind, text)


def test_only_records_of_the_type_are_judged() -> None:
    target = dns.Target("s", 53, "www.a", "A", min_ttl=30)
    seen = dns.judge_answer(target, Answer("NOERROR", True, False, (Record("CNAME", 5, "a"), Record("A", 60, "192.0.2.1"))))
    assert (seen.problems, seen.observed["answers"], seen.observed["ttl"]) == ((), ["192.0.2.1"], 60)
