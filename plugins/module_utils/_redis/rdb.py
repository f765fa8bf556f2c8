# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The RDB format as far as a backup needs it: the magic, the end, and which server can read it."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

MAGIC_BYTES = 9
TRAILER_BYTES = 9
MINIMUM_BYTES = MAGIC_BYTES + TRAILER_BYTES
"""Magic, end opcode and checksum: what an empty dataset takes at the least since RDB version 5."""

_END_OPCODE = 0xFF
_MAGIC = re.compile(rb"(REDIS)(\d{4})|(VALKEY)(\d{3})")
_REDIS_RDB = (((8, 10), 15), ((8, 8), 14), ((8, 6), 13), ((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7))
"""First release of Redis that writes each RDB version (``RDB_VERSION`` in src/rdb.h of the tags 3.2.0 to 8.10.0)."""
_VALKEY_RDB = (((9, 0), 80), ((7, 2), 11))
"""The same for Valkey; 12 to 79 are foreign to it (valkey-io/valkey pull request 1604)."""


class BadSnapshot(MainstayError):
    """The bytes are not a whole RDB file."""


@dataclasses.dataclass(frozen=True)
class Magic:
    """The first nine bytes of an RDB file: ``REDIS0010`` or ``VALKEY080``."""

    text: str
    product: str
    version: int


def parse_magic(head: bytes) -> Magic:
    """Read the magic from the first bytes.

    Raises:
        BadSnapshot: it is no RDB file.
    """
    match = _MAGIC.match(head)
    if not match:
        raise BadSnapshot("read the RDB header", f"it begins with {head[:MAGIC_BYTES]!r}, not with the magic of Redis or Valkey")
    product = match[1] or match[3]
    return Magic(match[0].decode(), product.decode().lower(), int(match[2] or match[4]))


def rdb_version(product: str, server_version: str) -> int:
    """Return the RDB version that a server writes, the newest that it reads; 0 if the server is older than what is supported.

    Args:
        product: ``redis`` or ``valkey``.
        server_version: such as ``7.0.15``.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", server_version)[:2])
    table = _VALKEY_RDB if product == "valkey" else _REDIS_RDB
    return next((version for first, version in table if numbers >= first), 0)


def magic_text(product: str, version: int) -> str:
    """Return the magic of a file of that RDB version; Valkey has one of its own since 80."""
    return f"VALKEY{version:03d}" if product == "valkey" and version >= 80 else f"REDIS{version:04d}"


def unreadable_because(magic: Magic, product: str, server_version: str) -> str:
    """Say why a server cannot load a file with this magic; empty if it can.

    Valkey and Redis share the format up to version 11 only.
    """
    newest = rdb_version(product, server_version)
    if magic.product == "valkey" and product != "valkey":
        return f"the snapshot is in Valkey's own format {magic.text}, which Redis cannot load"
    if magic.product == "redis" and product == "valkey" and magic.version > 11:
        return f"the snapshot has RDB version {magic.version} of Redis; Valkey {server_version} loads those of Redis up to 11"
    if magic.version > newest:
        return f"the snapshot has RDB version {magic.version}; {product.capitalize()} {server_version} loads up to {newest}"
    return ""


class RdbObserver:
    """Watches an RDB stream go by: magic at the start, bytes, end opcode and checksum at the end."""

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.bytes = 0
        self.magic: Magic | None = None
        self._head = b""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            BadSnapshot: the stream does not begin like an RDB file.
        """
        self.bytes += len(data)
        if self.magic is None:
            self._head += data[:MAGIC_BYTES]
            if len(self._head) >= MAGIC_BYTES:
                self.magic = parse_magic(self._head)
        self._tail = data[-TRAILER_BYTES:] if len(data) >= TRAILER_BYTES else (self._tail + data)[-TRAILER_BYTES:]

    def finish(self) -> None:
        """Check the end.

        Raises:
            BadSnapshot: the stream is too short or does not end as an RDB file does.
        """
        if self.bytes < MINIMUM_BYTES or self.magic is None:
            raise BadSnapshot("read the snapshot", f"it has {self.bytes} bytes, an RDB file has at least {MINIMUM_BYTES}")
        if self._tail[0] != _END_OPCODE:
            raise BadSnapshot("read the snapshot", f"the end marker of an RDB file is missing after {self.bytes} bytes")

    @property
    def magic_text(self) -> str:
        """The magic as text; empty before it was seen."""
        return self.magic.text if self.magic else ""

    @property
    def has_checksum(self) -> bool:
        """Whether the CRC64 in the trailer is set; it is zero with ``rdbchecksum no``, and then Redis finds no flipped byte."""
        return any(self._tail[1:])
