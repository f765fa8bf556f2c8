# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of parts, and what an ETag says; how transfers behave is tested against a server in tests/integration/test_s3_store.py."""

from __future__ import annotations

import hashlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import transfer

LARGEST = 5 * 10**12
"""Bytes of the largest object, 5 TB (Amazon S3 user guide; since then raised to 50 TB, which other stores have not followed)."""


@pytest.mark.parametrize("expected", [0, 1, 5 << 20, 26_214_400_000, 26_214_400_001, 10**12, LARGEST])
def test_the_expected_size_fits_into_equal_parts(expected: int) -> None:
    size = transfer.part_size(expected)
    numbers = range(1, max(1, -(-expected // size)) + 1)
    assert len(numbers) <= transfer.EQUAL_PARTS, "and half of the numbers are left"
    assert {transfer.grown_size(size, number) for number in numbers} == {size}
    assert transfer.MIN_PART <= size <= transfer.MAX_PART and size % (1 << 20) == 0


@pytest.mark.parametrize(
    ("first", "capacity"), [(transfer.MIN_PART, LARGEST), (transfer.part_size(10**11), LARGEST), (transfer.part_size(LARGEST), 3 * LARGEST)]
)
def test_what_was_not_expected_fits_too(first: int, capacity: int) -> None:
    """From the smallest parts on, as for an unknown size."""
    sizes = [transfer.grown_size(first, number) for number in range(1, transfer.MAX_PARTS + 1)]
    assert sum(sizes) >= capacity
    assert sizes == sorted(sizes) and max(sizes) <= transfer.MAX_PART and min(sizes) >= 5 << 20
    assert sizes[transfer.EQUAL_PARTS - 1] == first < sizes[transfer.EQUAL_PARTS]


@pytest.mark.parametrize(("expected", "budget"), [(0, 15 << 20), (26 * 10**9, 15 << 20), (150 * 10**9, 96 << 20), (350 * 10**9, 150 << 20)])
def test_memory_of_a_transfer(expected: int, budget: int) -> None:
    """Buffers: one that is filled, and one for each part on its way."""
    size = transfer.part_size(expected)
    assert size * (1 + (transfer.WORKERS if size <= transfer.LARGE_PART else 1)) <= budget


_MD5 = hashlib.md5(b"x", usedforsecurity=False).digest()
_OTHER = hashlib.md5(b"y", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("answer", "parts", "other"),
    [
        ({"ETag": f'"{_MD5.hex()}"'}, 0, False),
        ({"ETag": _MD5.hex().upper()}, 0, False),
        ({"ETag": f'"{_OTHER}"'}, 0, True),
        ({"ETag": f'"{_OTHER}"', "ServerSideEncryption": "AES256"}, 0, True),
        ({"ETag": f'"{_OTHER}"', "ServerSideEncryption": "aws:kms"}, 0, False),
        ({"ETag": f'"{_OTHER}"', "SSECustomerAlgorithm": "AES256"}, 0, False),
        ({"ETag": '"of another kind"'}, 0, False),
        ({}, 0, False),
        ({"ETag": f'"{_MD5.hex()}-3"'}, 3, False),
        ({"ETag": f'"{_OTHER}-3"'}, 3, True),
        ({"ETag": f'"{_OTHER}-2"'}, 3, False),
    ],
)
def test_what_an_etag_says(answer: dict[str, t.Any], parts: int, other: bool) -> None:
    assert transfer.is_other(answer, _MD5, parts) is other
    assert transfer.is_other(answer, None, parts) is False
