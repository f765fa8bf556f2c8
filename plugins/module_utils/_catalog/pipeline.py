# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream between a source and a store: nothing is staged, memory is bounded, and no end of file is handed on before everyone upstream succeeded.

Writing: source -> filters (``zstd``, ``age``) -> hash and count -> store. Reading: store -> hash check -> filters -> consumer.

Both directions count plain bytes on the progress phase that the calling thread is in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import os
import threading
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import Store
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import STOP_SECONDS, Command, Process, ProgramKilled
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

BLOCK = 1 << 20
"""Bytes per read, and the size asked for each pipe (1 MiB is what an unprivileged user may have: /proc/sys/fs/pipe-max-size)."""

EXIT_SECONDS = 1.0
"""How long a program may take between its output's end, which the consumer has seen, and its own."""

T = t.TypeVar("T")


class PipelineError(MainstayError):
    """A stream did not come through in full."""


class DamagedObject(MainstayError):
    """A stored object is not what its manifest says."""


@dataclasses.dataclass(frozen=True)
class Written:
    """What went into the store: bytes as stored, their SHA-256, and the bytes that the source produced."""

    bytes: int
    sha256: str
    plain_bytes: int


class Readable(t.Protocol):
    """What a source has to offer: ``read`` returns at most ``size`` bytes, and nothing at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""


def write_object(store: Store, key: str, source: Command | Readable, filters: t.Sequence[Command], expected_bytes: int, minimum_bytes: int = 1) -> Written:
    """Stream a source through filters into an object of the store.

    The object becomes visible only when the source and every filter have ended with status 0; otherwise the store drops what it received.

    Args:
        store: where the object goes.
        key: the object's key.
        source: a program whose standard output is taken, or something readable.
        filters: programs through which the bytes go, in order.
        expected_bytes: an estimate of the object's size, for the size of its parts.
        minimum_bytes: fewer bytes than this from the source are a failure.

    Raises:
        PipelineError: the source or a filter failed, or the source produced too little.
        ProgramKilled: the source or a filter was killed by somebody else.
        MainstayError: the store failed.
    """
    doing = f"write {key} to {store.describe()}"
    with _Chain(doing) as chain:
        gate = _Gate(chain, chain.start(source, filters), minimum_bytes)
        try:
            store.write_stream(key, gate, expected_bytes)
        except Exception as error:
            chain.stop()
            if gate.failure is not None and gate.failure is not error:
                raise gate.failure from error
            raise
        if not gate.complete:
            raise PipelineError(doing, "the store did not read to the end of the stream")
        return Written(gate.count, gate.digest.hexdigest(), chain.fed)


def read_object(
    store: Store,
    key: str,
    expected: tuple[int, str],
    filters: t.Sequence[Command],
    consumer: Command | t.Callable[[t.BinaryIO], T],
    plain_bytes: int | None = None,
) -> T | None:
    """Stream an object of the store through filters into a consumer.

    The last block is handed on only when size and SHA-256 of the whole object are right, so that no consumer sees a complete but damaged stream.

    Args:
        store: where the object is.
        key: the object's key.
        expected: the object's bytes and SHA-256, from its manifest.
        filters: programs through which the bytes go, in order.
        consumer: a program that reads standard input (its output is discarded), or a function of a binary file that reads it to its end.
        plain_bytes: the bytes that come out of the filters, from the manifest; progress counts their share. ``None``: the bytes as stored.

    Returns:
        What the consumer function returned; ``None`` for a program.

    Raises:
        DamagedObject: size or hash differ from the manifest.
        PipelineError: a filter or the consuming program failed, whatever a consumer function made of what came through.
        ProgramKilled: a filter or the consuming program was killed by somebody else, whatever the consumer made of what came through.
        MainstayError: the store failed, or what the consumer function raised.
    """
    doing = f"read {key} from {store.describe()}"
    with store.open_read(key) as stored, _Chain(doing) as chain:
        if isinstance(consumer, Command):
            chain.start(_Checked(stored, doing, *expected, plain_bytes), [*filters, consumer], last_output=False)
            chain.finish()
            return None
        with os.fdopen(chain.start(_Checked(stored, doing, *expected, plain_bytes), filters), "rb", buffering=BLOCK) as plain:
            try:
                result = consumer(plain)
                while plain.read(BLOCK):
                    pass
            except Exception as error:
                chain.stop(grace=EXIT_SECONDS)
                if chain.feed_error is not None and not isinstance(chain.feed_error, BrokenPipeError):
                    raise chain.feed_error from None
                if killed := chain.killed:
                    raise ProgramKilled(doing, killed.failure) from error
                if causes := chain.causes:
                    raise PipelineError(doing, causes[0].failure) from error
                raise
        chain.finish()
        return result


def hash_object(store: Store, key: str, expected: tuple[int, str]) -> None:
    """Read an object and compare its bytes and SHA-256 with ``expected``; progress counts the bytes as stored.

    Raises:
        DamagedObject: they differ.
        MainstayError: the store failed.
    """
    with store.open_read(key) as stored:
        checked = _Checked(stored, f"check {key} in {store.describe()}", *expected)
        while checked.read(BLOCK):
            pass


class _Checked:
    """A reader that hands on the last block only after size and hash were found right."""

    def __init__(self, stored: Readable, doing: str, expected_bytes: int, expected_sha256: str, plain_bytes: int | None = None) -> None:
        self._stored, self._doing = stored, doing
        self._expected = (expected_bytes, expected_sha256)
        self._digest, self._count = hashlib.sha256(), 0
        self._plain_bytes = expected_bytes if plain_bytes is None else plain_bytes
        self._counted, self._advance = 0, current().counter()
        self._held = self._next()

    def _next(self) -> bytes:
        block = self._stored.read(BLOCK)
        self._digest.update(block)
        self._count += len(block)
        plain = self._count * self._plain_bytes // max(1, self._expected[0])
        self._advance(plain - self._counted)
        self._counted = plain
        return block

    def read(self, size: int, /) -> bytes:
        block, self._held = self._held, self._next() if self._held else b""
        if not self._held:
            self._compare()
        return block

    def _compare(self) -> None:
        expected_bytes, expected_sha256 = self._expected
        if self._count != expected_bytes:
            raise DamagedObject(self._doing, f"it has {self._count} bytes, its manifest says {expected_bytes}", "use another backup")
        if self._digest.hexdigest() != expected_sha256:
            raise DamagedObject(self._doing, f"its SHA-256 is {self._digest.hexdigest()}, its manifest says {expected_sha256}", "use another backup")


class _Chain:
    """A source, a thread that moves and counts its bytes, and the programs after it."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._processes: list[Process] = []
        self._feeder: threading.Thread | None = None
        self.fed = 0
        self.feed_error: BaseException | None = None

    def __enter__(self) -> _Chain:
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def start(self, source: Command | Readable, filters: t.Sequence[Command], last_output: bool = True) -> int:
        """Start everything; return the descriptor of the last output (-1 without ``last_output``), which the caller closes."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            feed: int | Readable
            if isinstance(source, Command):
                feed, write_fd = wide_pipe()
                ours.callback(os.close, feed)
                theirs.callback(os.close, write_fd)
                self._processes.append(Process(source, stdout=write_fd))
            else:
                feed = source
            stream_fd, feed_fd = wide_pipe()
            ours.callback(os.close, feed_fd)
            for position, command in enumerate(filters):
                theirs.callback(os.close, stream_fd)
                is_last = position == len(filters) - 1 and not last_output
                next_fd, output_fd = (-1, None) if is_last else wide_pipe()
                if output_fd is not None:
                    theirs.callback(os.close, output_fd)
                self._processes.append(Process(command, stdin=stream_fd, stdout=output_fd))
                stream_fd = next_fd
            ours.pop_all()
        advance = _ignore if isinstance(source, _Checked) else current().counter()
        self._feeder = threading.Thread(target=self._feed, args=(feed, feed_fd, advance), daemon=True)
        self._feeder.start()
        return stream_fd

    def _feed(self, source: int | Readable, target: int, advance: t.Callable[[int], None]) -> None:
        try:
            if isinstance(source, int):
                while moved := os.splice(source, target, BLOCK):
                    self.fed += moved
                    advance(moved)
            else:
                while block := source.read(BLOCK):
                    view = memoryview(block)
                    while view:
                        view = view[os.write(target, view) :]
                    self.fed += len(block)
                    advance(len(block))
        except BaseException as error:
            self.feed_error = error
        finally:
            if self.feed_error is not None and not isinstance(self.feed_error, BrokenPipeError):
                self.abandon()
            os.close(target)
            if isinstance(source, int):
                os.close(source)

    def abandon(self) -> None:
        """End the programs before they can see an end of file that is none."""
        for process in self._processes:
            process.signal()

    def finish(self) -> None:
        """Wait for everyone and raise the error that came first in the stream.

        When a program has failed, those before it write into a broken pipe at their next output; they get two seconds for it.
        """
        broken = False
        for process in reversed(self._processes):
            status = process.stop(grace=2.0) if broken else process.join()
            broken = broken or status != 0
        if self._feeder is not None:
            self._feeder.join()
        if self.feed_error is not None and not isinstance(self.feed_error, BrokenPipeError):
            raise self.feed_error
        if killed := self.killed:
            raise ProgramKilled(self._doing, killed.failure)
        if causes := self.causes:
            raise PipelineError(self._doing, causes[0].failure)
        if self.feed_error is not None or any(process.failure for process in self._processes):
            raise PipelineError(self._doing, "the stream was not read to its end")

    @property
    def killed(self) -> Process | None:
        """The first of the joined programs that was killed by somebody else; its neighbours failed for want of it."""
        return next((process for process in self._processes if process.killed), None)

    @property
    def causes(self) -> list[Process]:
        """Those of the joined programs that failed by themselves, in the order of the stream."""
        return [process for process in self._processes if process.failure and not process.suffered]

    def stop(self, grace: float = 0.0) -> None:
        """End what still runs after ``grace`` seconds; no error."""
        deadline = time.monotonic() + grace
        for process in self._processes:
            process.stop(max(0.0, deadline - time.monotonic()))
        if self._feeder is not None:
            self._feeder.join(STOP_SECONDS)


class _Gate(io.RawIOBase):
    """The chain's last output; its end of file appears only when the whole chain has succeeded."""

    def __init__(self, chain: _Chain, descriptor: int, minimum_bytes: int) -> None:
        super().__init__()
        self._chain, self._minimum = chain, minimum_bytes
        self._raw = os.fdopen(descriptor, "rb", buffering=0)
        self.digest, self.count = hashlib.sha256(), 0
        self.complete = False
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly ``size`` bytes, or fewer at the end of the stream only.

        Raises:
            PipelineError: the end was reached, but a program failed or the source produced too little.
        """
        blocks: list[bytes] = []
        missing = size
        while missing and not self.complete:
            block = self._raw.read(min(missing, BLOCK) if size >= 0 else BLOCK)
            if not block:
                self._finish()
                break
            self.digest.update(block)
            blocks.append(block)
            missing -= len(block) if size >= 0 else 0
        data = b"".join(blocks)
        self.count += len(data)
        return data

    def _finish(self) -> None:
        try:
            self._chain.finish()
            if self._chain.fed < self._minimum:
                raise PipelineError(self._chain._doing, f"the source produced {self._chain.fed} bytes, at least {self._minimum} are plausible")
        except BaseException as error:
            self.failure = error
            raise
        self.complete = True

    def close(self) -> None:
        if hasattr(self, "_raw"):
            self._raw.close()
        super().close()


def _ignore(amount: int) -> None:
    """Count nothing: a checked reader counts by itself."""


def wide_pipe() -> tuple[int, int]:
    """Return the two ends of a pipe that holds :data:`BLOCK` bytes, where the kernel allows it."""
    read_fd, write_fd = os.pipe()
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, BLOCK)
    return read_fd, write_fd
