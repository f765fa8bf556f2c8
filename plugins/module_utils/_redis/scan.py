# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a server key by key, for those that refuse to be replicated from: ``SCAN``, and ``PTTL`` with ``DUMP`` for each key, as an RDB file.

``DUMP`` gives a value as it stands in an RDB file (a byte for its type, the value), then two bytes of RDB version and a checksum; so the file is put
together from these without understanding any of them. Its own checksum is left at zero, which Redis takes for "none": the SHA-256 of the manifest
covers it.

The file is not of one instant. Each key is read with its time to live in one transaction, so that the two belong together.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed, Refused
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import Keyspace, ServerFacts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import RdbObserver, magic_text, rdb_version
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import private_folder
from ansible_collections.mainstay.ops.plugins.module_utils._redis.wire import Wire, encode

GROUP_BYTES = 4 << 20
"""Estimated bytes of values that are asked for at once; the server holds the replies of as many in its memory."""
GROUP_KEYS_UNSIZED = 8
"""Keys that are asked for at once where the server does not tell sizes."""
WHOLE_BYTES = 1 << 16
"""Values up to this size are taken in one piece."""
FOOTER_BYTES = 10
"""What ``DUMP`` adds: RDB version (2) and CRC64 (8)."""
BEFORE_TTL = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n"
"""The replies to ``MULTI``, ``PTTL`` and ``DUMP``, and the head of that to ``EXEC``."""
OUTPUT_BYTES = 1 << 18
"""The least that is handed on at once, but at the end."""

_MULTI, _EXEC = encode(b"MULTI"), encode(b"EXEC")
_AUX, _RESIZE, _EXPIRE_MS, _SELECT, _END = b"\xfa", b"\xfb", b"\xfc", b"\xfe", b"\xff"


def length(number: int) -> bytes:
    """Return a length as RDB files write it."""
    if number < 1 << 6:
        return bytes((number,))
    if number < 1 << 14:
        return struct.pack(">H", number | 0x4000)
    return b"\x80" + struct.pack(">I", number) if number < 1 << 32 else b"\x81" + struct.pack(">Q", number)


def text(content: bytes) -> bytes:
    """Return a string as RDB files write it."""
    return length(len(content)) + content


def file_head(magic: str, server_version: str) -> bytes:
    """Return what an RDB file begins with: the magic, and the version of the server it comes from."""
    return magic.encode() + _AUX + text(b"redis-ver") + text(server_version.encode())


def database_head(number: int, size: Keyspace) -> bytes:
    """Return what stands before the keys of a database; the size is a hint for whoever loads it."""
    return _SELECT + length(number) + _RESIZE + length(size.keys) + length(size.expires)


FILE_END = _END + bytes(8)


class Seen:
    """The keys of one database that were read already: ``SCAN`` may give one again when the server's table shrinks, and Redis loads no file with a key twice.

    Their digests are in a nameless file of a temporary folder, so that memory is bounded.
    """

    def __init__(self, work_dir: str) -> None:
        """Make the file.

        Raises:
            InvalidInput: ``work_dir`` cannot be used.
        """
        with private_folder(work_dir) as folder:
            self._database = sqlite3.connect(f"{folder}/seen", isolation_level=None, check_same_thread=False)
            for setting in ("journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY", "cache_size=-8192"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        """Drop the file."""
        self._database.close()

    def forget(self) -> None:
        """Begin with the next database."""
        self._database.execute("DELETE FROM seen")

    def new(self, keys: t.Sequence[bytes]) -> list[bytes]:
        """Return the keys that were not seen before, each once.

        Raises:
            MainstayError: the disk is full.
        """
        add = self._database.execute
        try:
            with self._database:
                add("BEGIN")
                return [key for key in keys if add("INSERT OR IGNORE INTO seen VALUES (?)", (hashlib.blake2b(key, digest_size=16).digest(),)).rowcount]
        except sqlite3.Error as error:
            raise MainstayError("note the keys that were read", error, "set work_dir to a larger file system") from error


class ScanStream:
    """All keys of one server, one by one, as a readable RDB file; see the module."""

    forked = True

    def __init__(self, login: Login, facts: ServerFacts, work_dir: str, idle_timeout: float) -> None:
        """Connect and log in.

        Args:
            login: the server and the credentials.
            facts: of the server.
            work_dir: folder for the digests of the keys, 16 bytes each and what an index takes.
            idle_timeout: seconds without a byte after which the connection counts as broken.

        Raises:
            MainstayError: the server could not be reached, or ``work_dir`` cannot be used.
        """
        self._doing = f"read the keys of Redis at {login.address}"
        self._facts = facts
        self.observer = RdbObserver()
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []
        self._version = 0
        self._sized = True
        self._seen = Seen(work_dir)
        try:
            self._wire = Wire(login, self._doing, idle_timeout)
        except BaseException:
            self._seen.close()
            raise
        self._blocks = self._joined()

    def __enter__(self) -> ScanStream:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection and what was noted."""
        self._wire.close()
        self._seen.close()

    def wait_started(self, timeout: float) -> None:
        """Do nothing: a scan begins at once."""

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of the way that the bytes came."""
        return {}

    def read(self, size: int, /) -> bytes:
        """Return the next block, nothing at the checked end; blocks are far smaller than a caller's ``size`` of 1 MiB.

        Raises:
            Refused: the user may not run one of the commands.
            MainstayError: the connection broke, or the server sends what cannot be put into one file.
        """
        block = next(self._blocks, b"")
        if block:
            self.observer.feed(block)
        else:
            self.observer.finish()
        return block

    def _joined(self) -> t.Iterator[bytes]:
        """Yield the file in blocks that are worth a write."""
        parts: list[bytes] = []
        size = 0
        for part in self._parts():
            parts.append(part)
            size += len(part)
            if size >= OUTPUT_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)

    def _parts(self) -> t.Iterator[bytes]:
        functions = self._functions()
        yield file_head(magic_text(self._facts.product, self._version), self._facts.version)
        yield functions
        for number in self._wire.databases():
            name = f"db{number}"
            self.counts[name] = 0
            self._seen.forget()
            yield database_head(number, self._facts.keyspace.get(name, Keyspace(0, 0)))
            for keys in self._wire.keys(number):
                for group in self._groups(self._seen.new(keys)):
                    yield from self._records(name, group)
        yield FILE_END

    def _functions(self) -> bytes:
        """Return the functions, and learn the RDB version from them; a server without functions has the version of a table."""
        self._version = rdb_version(self._facts.product, self._facts.version)
        if self._version < 10:
            return b""
        try:
            dumped = t.cast(bytes, self._wire.ask(b"FUNCTION", b"DUMP"))
        except LoginFailed:
            raise
        except Refused as error:
            self.warnings.append(f"functions are not in the snapshot: {error.cause}")
            return b""
        self._version = int.from_bytes(dumped[-FOOTER_BYTES : 2 - FOOTER_BYTES], "little")
        return dumped[:-FOOTER_BYTES]

    def _groups(self, keys: list[bytes]) -> t.Iterator[list[bytes]]:
        """Split keys so that the server does not have to hold many large replies at once."""
        group: list[bytes] = []
        size = 0
        for key, its_size in zip(keys, self._sizes(keys)):
            if group and size + its_size > GROUP_BYTES:
                yield group
                group, size = [], 0
            group.append(key)
            size += its_size
        if group:
            yield group

    def _sizes(self, keys: list[bytes]) -> list[int]:
        """Ask for the memory that each value takes; where the server does not tell, a few fill a group."""
        if self._sized:
            try:
                self._wire.send(encode(b"MEMORY", b"USAGE", key) for key in keys)
                return [t.cast(int, size or 0) for size in self._wire.replies(len(keys))]
            except LoginFailed:
                raise
            except Refused:
                self._sized = False
        return [GROUP_BYTES // GROUP_KEYS_UNSIZED] * len(keys)

    def _records(self, database: str, keys: list[bytes]) -> t.Iterator[bytes]:
        """Yield the records of some keys; those that have gone meanwhile are left out."""
        wire = self._wire
        commands = [encode(b"TIME")]
        for key in keys:
            commands += (_MULTI, encode(b"PTTL", key), encode(b"DUMP", key), _EXEC)
        wire.send(commands)
        seconds, microseconds = t.cast("list[bytes]", wire.reply())
        now = int(seconds) * 1000 + int(microseconds) // 1000
        for key in keys:
            wire.expect(BEFORE_TTL)
            ttl = int(wire.line()[1:])
            size = wire.length_of(wire.line())
            if size < 0:
                continue
            self.counts[database] += 1
            if ttl >= 0:
                yield _EXPIRE_MS + struct.pack("<q", now + ttl)
            if size <= WHOLE_BYTES:
                dumped = wire.take(size)
                self._check_version(dumped[-FOOTER_BYTES:])
                yield b"%b%b%b" % (dumped[:1], text(key), dumped[1:-FOOTER_BYTES])
            else:
                yield from self._large(key, wire.pieces(size))

    def _large(self, key: bytes, pieces: t.Iterator[bytes]) -> t.Iterator[bytes]:
        """Turn the reply to ``DUMP`` for a large value into a record: its type, the key, the value; the footer is checked and left out."""
        held = b""
        for number, piece in enumerate(pieces):
            if number:
                yield held[:-FOOTER_BYTES]
                held = held[-FOOTER_BYTES:] + piece
            else:
                yield piece[:1] + text(key)
                held = piece[1:]
        yield held[:-FOOTER_BYTES]
        self._check_version(held[-FOOTER_BYTES:])

    def _check_version(self, footer: bytes) -> None:
        version = int.from_bytes(footer[:2], "little")
        if version != self._version:
            cause = f"a value has RDB version {version}, the file has {self._version}"
            raise MainstayError(self._doing, cause, "allow the user +function|dump, which tells the version")
