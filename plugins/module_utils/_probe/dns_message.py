# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of DNS: one question, and the records of an answer as text. Formats are those of RFC 1035, section 4, where nothing else is said."""

from __future__ import annotations

import dataclasses
import ipaddress
import secrets
import struct

#: The types that can be asked for (RFC 1035; AAAA from RFC 3596, SRV from RFC 2782).
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
CLASS_IN = 1
#: Flags of a header.
IS_ANSWER, IS_AUTHORITATIVE, IS_TRUNCATED, RECURSION_DESIRED = 0x8000, 0x0400, 0x0200, 0x0100
#: How the data of a type are built: ``n`` is a name, ``H`` and ``I`` are numbers of 16 and 32 bits.
FIELDS = {"NS": "n", "CNAME": "n", "PTR": "n", "MX": "Hn", "SRV": "HHHn", "SOA": "nnIIIII"}
MAX_NAME = 255


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked for, under a number that nobody can guess."""

    record: str
    record_type: str
    number: int = dataclasses.field(default_factory=lambda: secrets.randbelow(1 << 16))


@dataclasses.dataclass(frozen=True)
class Record:
    """A record of an answer: its type (a number as text if it is none of :data:`TYPES`), seconds to live, and contents in normal form."""

    kind: str
    ttl: int
    text: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server answered; ``truncated`` if it was too long for its transport."""

    rcode: str
    authoritative: bool
    truncated: bool
    records: tuple[Record, ...]


def encode_name(name: str) -> bytes:
    """A name as a message holds it.

    Raises:
        ValueError: it cannot be a name.
    """
    if name == ".":
        return b"\0"
    labels = name.removesuffix(".").split(".")
    try:
        encoded = [label.encode("ascii") if label.isascii() else label.encode("idna") for label in labels]
    except UnicodeError as error:
        raise ValueError(f"{name!r} is not a name: {error}") from error
    if not all(0 < len(label) < 64 for label in encoded) or sum(len(label) + 1 for label in encoded) >= MAX_NAME:
        raise ValueError(f"{name!r} is not a name: each label has 1 to 63 characters, and all together at most 253")
    return b"".join(bytes([len(label)]) + label for label in encoded) + b"\0"


def encode_question(question: Question) -> bytes:
    """A message that asks one question, and for recursion."""
    header = struct.pack(">6H", question.number, RECURSION_DESIRED, 1, 0, 0, 0)
    return header + encode_name(question.record) + struct.pack(">2H", TYPES[question.record_type], CLASS_IN)


def decode_answer(question: Question, data: bytes) -> Answer:
    """Read an answer to this question.

    Raises:
        ValueError: it answers another question, or cannot be read; says what it does.
    """
    try:
        number, flags, questions, answers = struct.unpack_from(">4H", data)
        if number != question.number or not flags & IS_ANSWER:
            raise ValueError("answers another question")
        position = 12
        for unused in range(questions):
            name, position = _read_name(data, position)
            if (name, *struct.unpack_from(">2H", data, position)) != (_normal_name(question.record), TYPES[question.record_type], CLASS_IN):
                raise ValueError("answers another question")
            position += 4
        truncated = bool(flags & IS_TRUNCATED)
        records = () if truncated else _read_records(data, position, answers)
    except (struct.error, IndexError) as error:
        raise ValueError("ends too early") from error
    code = flags & 0xF
    return Answer(RCODES[code] if code < len(RCODES) else str(code), bool(flags & IS_AUTHORITATIVE), truncated, records)


def normal_form(kind: str, text: str) -> str:
    """Return what a record contains, spelled as :func:`decode_answer` spells it: small letters, no dot at the end, short IPv6 addresses; a text as it is.

    Raises:
        ValueError: no record of this type can contain it.
    """
    if kind in ("A", "AAAA"):
        return str((ipaddress.IPv4Address if kind == "A" else ipaddress.IPv6Address)(text))
    if kind == "TXT":
        return text
    words = text.split()
    if len(words) != len(FIELDS[kind]):
        raise ValueError(f"{text!r} has {len(words)} fields, not {len(FIELDS[kind])}")
    return " ".join(_normal_name(word) if field == "n" else str(int(word)) for field, word in zip(FIELDS[kind], words))


def _normal_name(name: str) -> str:
    return _read_name(encode_name(name), 0)[0]


def _read_records(data: bytes, position: int, count: int) -> tuple[Record, ...]:
    records = []
    for unused in range(count):
        unused_name, position = _read_name(data, position)
        number, unused_class, ttl, length = struct.unpack_from(">2HIH", data, position)
        position += 10
        if position + length > len(data):
            raise IndexError(position)
        kind = NAMES_OF_TYPES.get(number, str(number))
        records.append(Record(kind, ttl, _read_contents(kind, data, position, length)))
        position += length
    return tuple(records)


def _read_contents(kind: str, data: bytes, position: int, length: int) -> str:
    contents = data[position:position + length]
    if kind in ("A", "AAAA"):
        if length != (4 if kind == "A" else 16):
            raise ValueError(f"has an address of {length} bytes")
        return str(ipaddress.ip_address(contents))
    if kind == "TXT":
        parts = []
        while contents:
            parts.append(contents[1:1 + contents[0]])
            contents = contents[1 + contents[0]:]
        return b"".join(parts).decode(errors="replace")
    fields = []
    for field in FIELDS.get(kind, ""):
        if field == "n":
            name, position = _read_name(data, position)
            fields.append(name)
        else:
            fields.append(str(struct.unpack_from(f">{field}", data, position)[0]))
            position += struct.calcsize(f">{field}")
    return " ".join(fields)


def _read_name(data: bytes, position: int) -> tuple[str, int]:
    """Read a name, in small letters and without the dot at its end, and where it ends. Pointers lead backwards only, so that none goes in a circle."""
    labels: list[str] = []
    end = limit = 0
    while length := data[position]:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | data[position + 1]
            end = end or position + 2
            if target >= (limit or position):
                raise ValueError("has a name that goes in a circle")
            position = limit = target
        elif length < 0x40:
            labels.append(data[position + 1:position + 1 + length].decode("ascii", errors="replace").lower())
            position += 1 + length
        else:
            raise ValueError("has a name with a label of an unknown kind")
    return ".".join(labels) or ".", end or position + 1
