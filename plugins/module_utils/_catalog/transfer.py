# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How bytes go to S3 and come back: parts from a few buffers that are used again and again, and a body that is read on after it broke off.

boto3's managed transfer is not used for streams: it holds about twice the parts it is allowed to, sends nothing by which the store could check a part, does not
look at what the store says it kept, and gives up when the answer to its last request is lost.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import io
import queue
import random
import re
import threading
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import BLOCK
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

try:
    import botocore.exceptions
    import urllib3.exceptions
except ImportError:  # s3.py says what is missing
    pass

MAX_PARTS = 10_000
"""Parts of one object at most (Amazon S3 user guide, "Multipart upload limits")."""
MIN_PART = 5 << 20
"""Bytes of a part at least, but for the last one (the same guide)."""
MAX_PART = 5 << 30
WORKERS = 2
"""Parts that are sent at once; one more is being filled."""
LARGE_PART = 32 << 20
"""Larger parts are sent one at a time, so that two are in memory instead of three."""
EQUAL_PARTS = 5_000
DOUBLED_PARTS = 500
_DAMAGED_ON_THE_WAY = ("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")
TRIES = 4
"""How often a part is sent that did not arrive as it was, or a body is asked for that broke off without a byte; boto3's own tries come within each."""


def part_size(expected_bytes: int) -> int:
    """Return the bytes per part for an object of about this size: twice the expected size still fits into 10,000 parts."""
    wanted = -(-2 * expected_bytes // MAX_PARTS)
    return min(MAX_PART, max(MIN_PART, -(-wanted // (1 << 20)) << 20))


def grown_size(first: int, number: int) -> int:
    """Return the bytes of a part by its number (from 1).

    Parts are equal, which some stores insist on (Cloudflare R2), up to number 5,000: that is the expected size. If the estimate was wrong or there was
    none, they double with every 500 parts after it, so that 5 TB fit from the smallest parts on.
    """
    return min(MAX_PART, first << max(0, -(-(number - EQUAL_PARTS) // DOUBLED_PARTS)))


def md5_of(data: t.Any) -> bytes | None:
    """Return the MD5 of some bytes, which S3 knows them by; None where the host's policy forbids it even for that."""
    try:
        return hashlib.md5(data, usedforsecurity=False).digest()
    except ValueError:
        return None


def is_other(answer: t.Mapping[str, t.Any], expected: bytes | None, parts: int = 0) -> bool:
    """Return whether the ETag of an answer says that the store kept something else than it was sent.

    An ETag is an MD5 unless the store encrypts with a key of the customer's or of its key service (Amazon S3 API reference, "Object"); then it says nothing.
    """
    etag = answer.get("ETag", "").strip('"').lower()
    suffix = f"-{parts}" if parts else ""
    says_nothing = expected is None or answer.get("SSECustomerAlgorithm") or answer.get("ServerSideEncryption") not in (None, "AES256")
    if says_nothing or not re.fullmatch("[0-9a-f]{32}" + suffix, etag):
        return False
    return etag != expected.hex() + suffix if expected else False


def pause(attempt: int) -> None:
    """Wait up to 1, 2, 4, ... seconds, at random, before the next try."""
    time.sleep(random.uniform(0, 2**attempt))  # noqa: S311


def code_of(error: Exception) -> str:
    """Return the S3 error code of an error; empty if it has none."""
    return getattr(error, "response", {}).get("Error", {}).get("Code", "")


class _Body(io.RawIOBase):
    """A part as it is sent: in small pieces, each with a time limit of its own, and no further once the upload is given up."""

    def __init__(self, data: memoryview, given_up: threading.Event) -> None:
        super().__init__()
        self._data, self._given_up, self._position = data, given_up, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset + (0, self._position, len(self._data))[whence]
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        if self._given_up.is_set():
            raise MainstayError("send a part", "the upload was given up")
        end = len(self._data) if size is None or size < 0 else min(len(self._data), self._position + size)
        block = self._data[self._position : end]
        self._position = end
        return bytes(block)


class Upload:
    """One object on its way to the store, as one request if it fits into a part, else as a multipart upload."""

    def __init__(self, client: t.Any, place: dict[str, str], doing: str, expected_bytes: int) -> None:
        """Take a boto3 client, bucket and key under boto3's names, and what is done, for messages."""
        self._client, self._place, self._doing = client, place, doing
        self._first = part_size(expected_bytes)
        self._workers = WORKERS if self._first <= LARGE_PART else 1
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._buffers = 0
        self._given_up = threading.Event()
        self._upload_id = ""
        self._bytes = 0
        self._doubtful = False
        self._sent: dict[int, tuple[str, bytes | None]] = {}
        self._running: dict[concurrent.futures.Future[None], bytearray] = {}

    def run(self, stream: t.Any) -> None:
        """Send everything that a stream gives.

        Raises:
            BotoCoreError: the store does not do it.
            ClientError: likewise.
            MainstayError: the store keeps something else than it was sent; or what the stream raises. Nothing is left in the store after any error.
        """
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            try:
                buffer = self._buffer(1)
                count = _fill(stream, buffer)
                if count < len(buffer):
                    self._put(memoryview(buffer)[:count])
                    return
                self._upload_id = self._client.create_multipart_upload(**self._place)["UploadId"]
                number = 1
                while count:
                    self._bytes += count
                    self._running[pool.submit(self._part, number, memoryview(buffer)[:count])] = buffer
                    number += 1
                    if number > MAX_PARTS:
                        raise MainstayError(self._doing, f"it is larger than {MAX_PARTS} parts of {self._first} bytes and more can hold")
                    buffer = self._buffer(number)
                    count = _fill(stream, buffer)
                self._collect(everything=True)
                self._complete()
            except BaseException:
                self._given_up.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._abort()
                raise

    def _buffer(self, number: int) -> bytearray:
        """Return a buffer for a part: a used one if there are enough; wait for one if need be."""
        size = grown_size(self._first, number)
        while self._free.empty() and self._buffers > self._workers:
            self._collect()
        self._collect(wait=False)
        if self._free.empty():
            self._buffers += 1
            return bytearray(size)
        buffer = self._free.get()
        return buffer if len(buffer) == size else bytearray(size)

    def _collect(self, everything: bool = False, wait: bool = True) -> None:
        """Take back the buffers of the parts that are sent, and raise the error of one that is not."""
        how = concurrent.futures.ALL_COMPLETED if everything else concurrent.futures.FIRST_COMPLETED
        pending = list(self._running)
        if everything:
            for done in concurrent.futures.as_completed(pending):
                done.result()
        for done in concurrent.futures.wait(pending, None if wait else 0, how).done:
            buffer = self._running.pop(done)
            done.result()
            self._free.put(buffer)

    def _exactly(self, data: memoryview, send: t.Callable[..., t.Mapping[str, t.Any]]) -> tuple[str, bytes | None]:
        """Send bytes until the store has received just these; return its ETag and their MD5."""
        digest = md5_of(data)
        check = {} if digest is None else {"ContentMD5": base64.b64encode(digest).decode()}
        for attempt in range(1, TRIES + 1):
            try:
                answer = send(Body=_Body(data, self._given_up), **check)
                if not is_other(answer, digest):
                    return answer["ETag"], digest
                if attempt == TRIES:
                    raise MainstayError(self._doing, f"the store kept something else than it was sent, {TRIES} times (its ETag is not the MD5)")
            except botocore.exceptions.ClientError as error:
                if code_of(error) not in _DAMAGED_ON_THE_WAY or attempt == TRIES:
                    raise
            pause(attempt - 1)
        raise AssertionError("unreachable")

    def _part(self, number: int, data: memoryview) -> None:
        def send(**given: t.Any) -> t.Mapping[str, t.Any]:
            return t.cast("t.Mapping[str, t.Any]", self._client.upload_part(**self._place, UploadId=self._upload_id, PartNumber=number, **given))

        self._sent[number] = self._exactly(data, send)

    def _put(self, data: memoryview) -> None:
        self._doubtful = True

        def send(**given: t.Any) -> t.Mapping[str, t.Any]:
            return t.cast("t.Mapping[str, t.Any]", self._client.put_object(**self._place, **given))

        self._exactly(data, send)

    def _complete(self) -> None:
        """Put the parts together. When the answer is lost, what the store has decides."""
        parts = [{"PartNumber": number, "ETag": etag} for number, (etag, _digest) in sorted(self._sent.items())]
        digests = [digest for _number, (_etag, digest) in sorted(self._sent.items())]
        expected = None if None in digests else md5_of(b"".join(digest for digest in digests if digest))
        self._doubtful = True
        try:
            self._client.complete_multipart_upload(**self._place, UploadId=self._upload_id, MultipartUpload={"Parts": parts})
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            try:
                found = self._client.head_object(**self._place)
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                found = {}
            if found.get("ContentLength") != self._bytes or is_other(found, expected, len(parts)):
                raise
        self._upload_id = ""

    def _abort(self) -> None:
        """Leave nothing behind: no object, no parts. What cannot be removed now is found by the next run's look for old uploads."""
        with contextlib.suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            if self._upload_id:
                self._client.abort_multipart_upload(**self._place, UploadId=self._upload_id)
        if self._doubtful:
            with contextlib.suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                self._client.delete_object(**self._place)


def _fill(stream: t.Any, buffer: bytearray) -> int:
    """Read into a buffer until it is full or the stream is at its end; return the bytes."""
    count, view = 0, memoryview(buffer)
    while count < len(buffer) and (block := stream.read(min(BLOCK, len(buffer) - count))):
        view[count : count + len(block)] = block
        count += len(block)
    return count


class Download(io.RawIOBase):
    """An object's body. Where the connection breaks off it goes on from there, with the very same object or not at all."""

    def __init__(self, client: t.Any, place: dict[str, str], doing: str, translated: t.Callable[[], t.ContextManager[None]]) -> None:
        """Ask for the object.

        Args:
            client: a boto3 client.
            place: bucket and key under boto3's names.
            doing: what is done, for messages.
            translated: a context that turns the library's errors into ours.
        """
        super().__init__()
        self._client, self._place, self._doing, self._translated = client, place, doing, translated
        self._position = 0
        with translated():
            answer = client.get_object(**place)
        self._size, self._etag, self._body = answer["ContentLength"], answer.get("ETag"), answer["Body"]

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            MainstayError: the body breaks off again and again, or another object has taken its place.
        """
        for attempt in range(1, TRIES + 1):
            try:
                if self._body is None:
                    self._resume()
                block = t.cast(bytes, self._body.read(None if size is None or size < 0 else size))
                if self._position + len(block) > self._size:
                    raise MainstayError(self._doing, f"the store gives more than the {self._size} bytes that it said")
                if block or self._position == self._size or size == 0:
                    self._position += len(block)
                    return block
                cause: object = "the answer ended early"
            except _broken() as error:
                cause = error
            self._drop()
            if attempt == TRIES:
                raise MainstayError(self._doing, f"after {self._position} of {self._size} bytes it broke off {TRIES} times: {cause}")
            pause(attempt - 1)
        raise AssertionError("unreachable")

    def _resume(self) -> None:
        same = {"IfMatch": self._etag} if self._etag else {}
        with self._translated():
            try:
                answer = self._client.get_object(**self._place, Range=f"bytes={self._position}-", **same)
            except botocore.exceptions.ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    raise MainstayError(self._doing, f"after {self._position} bytes there was another object in its place") from error
                raise
        self._body = answer["Body"]
        if not answer.get("ContentRange", "").startswith(f"bytes {self._position}-"):
            skip = self._position
            while skip:
                if not (block := self._body.read(min(BLOCK, skip))):
                    raise MainstayError(self._doing, f"after {self._position} bytes it broke off, and the store does not give the rest")
                skip -= len(block)

    def _drop(self) -> None:
        if self._body is not None:
            with contextlib.suppress(Exception):
                self._body.close()
        self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


def _broken() -> tuple[type[Exception], ...]:
    """The errors of a body that breaks off."""
    ours = (botocore.exceptions.IncompleteReadError, botocore.exceptions.ReadTimeoutError, botocore.exceptions.HTTPClientError)
    return (*ours, urllib3.exceptions.HTTPError, OSError)
