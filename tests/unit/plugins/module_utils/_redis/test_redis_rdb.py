# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ends of an RDB stream, and who can read which version."""

from __future__ import annotations

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import (
    BadSnapshot,
    RdbObserver,
    magic_text,
    parse_magic,
    rdb_version,
    unreadable_because,
)

BODY = b"\xfa\x09redis-ver\x067.0.15"
FILE = b"REDIS0010" + BODY + b"\xff" + bytes(range(1, 9))


def observe(*chunks: bytes) -> RdbObserver:
    """Feed chunks and finish."""
    observer = RdbObserver()
    for chunk in chunks:
        observer.feed(chunk)
    observer.finish()
    return observer


@pytest.mark.parametrize("cut", range(len(FILE) + 1))
def test_any_cut_is_a_whole_file(cut: int) -> None:
    observer = observe(FILE[:cut], FILE[cut:])
    assert observer.bytes == len(FILE)
    assert observer.magic is not None and observer.magic.text == "REDIS0010"
    assert observer.has_checksum


@pytest.mark.parametrize("end", range(len(FILE)))
def test_no_prefix_is_a_whole_file(end: int) -> None:
    with pytest.raises(BadSnapshot):
        observe(FILE[:end])


def test_a_file_without_checksum_is_whole_and_says_so() -> None:
    assert not observe(b"REDIS0011\xff" + bytes(8)).has_checksum


@pytest.mark.parametrize("head", [b"REDIS001x", b"redis0010", b"VALKEY80\xff", b"PGDMP\x01\x0e\x00\x04", b"\x28\xb5\x2f\xfd\x00\x00\x00\x00\x00"])
def test_another_file_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(BadSnapshot, match="not with the magic"):
        RdbObserver().feed(head)


@pytest.mark.parametrize(("head", "product", "version"), [(b"REDIS0009xyz", "redis", 9), (b"VALKEY080xyz", "valkey", 80)])
def test_magic(head: bytes, product: str, version: int) -> None:
    magic = parse_magic(head)
    assert (magic.text, magic.product, magic.version) == (head[:9].decode(), product, version)
    assert magic_text(product, version) == magic.text


def test_valkey_writes_the_magic_of_redis_until_80() -> None:
    assert (magic_text("valkey", 11), magic_text("redis", 80)) == ("REDIS0011", "REDIS0080")


@pytest.mark.parametrize(
    ("product", "version", "expected"),
    [
        ("redis", "3.0.7", 0),
        ("redis", "5.0.14", 9),
        ("redis", "6.2.14", 9),
        ("redis", "7.0.15", 10),
        ("redis", "7.2.4", 11),
        ("redis", "8.0.2", 12),
        ("redis", "8.10.2", 15),
        ("valkey", "7.2.5", 11),
        ("valkey", "8.1.1", 11),
        ("valkey", "9.0.0", 80),
    ],
)
def test_version_that_a_server_writes(product: str, version: str, expected: int) -> None:
    assert rdb_version(product, version) == expected


@pytest.mark.parametrize(
    ("magic", "product", "version", "words"),
    [
        ("REDIS0010", "redis", "7.0.15", ""),
        ("REDIS0009", "redis", "7.0.15", ""),
        ("REDIS0012", "redis", "7.0.15", "loads up to 10"),
        ("REDIS0011", "valkey", "8.1.1", ""),
        ("REDIS0012", "valkey", "8.1.1", "those of Redis up to 11"),
        ("REDIS0012", "valkey", "9.0.0", "those of Redis up to 11"),
        ("VALKEY080", "valkey", "9.0.0", ""),
        ("VALKEY080", "valkey", "8.1.1", "loads up to 11"),
        ("VALKEY080", "redis", "8.10.2", "Valkey's own format"),
    ],
)
def test_who_reads_what(magic: str, product: str, version: str, words: str) -> None:
    reason = unreadable_because(parse_magic(magic.encode()), product, version)
    assert words in reason
    assert bool(reason) == bool(words)
