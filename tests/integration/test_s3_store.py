# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store against a server that misbehaves: an object is there just as it was sent, or there is an error and nothing is left."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from certificates import make_self_signed
from conftest import HostileS3

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject, hash_object
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.s3 import S3Options, S3Store
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import BLOCK, ObjectExists, ObjectMissing
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.transfer import MIN_PART
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


DATA = os.urandom(20 << 20)
SMALL = DATA[: 1 << 20]


@pytest.fixture
def store(hostile: HostileS3) -> S3Store:
    """A store in it."""
    return S3Store(S3Options("backups", "p", endpoint_url=hostile.endpoint_url, access_key="a", secret_key="b", region="us-east-1"))


def read(store: S3Store, key: str) -> bytes:
    """Read an object in the pipeline's blocks."""
    blocks = []
    with store.open_read(key) as stored:
        while block := stored.read(BLOCK):
            blocks.append(block)
    return b"".join(blocks)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("reset_before", {"operation": "UploadPart", "nth": 2}),
        ("reset_during", {"operation": "UploadPart", "nth": 2}),
        ("reset_after", {"operation": "UploadPart", "nth": 2}),
        ("flip_request", {"operation": "UploadPart", "nth": 2}),
        ("flip_stored", {"operation": "UploadPart", "nth": 2}),
        ("wrong_etag", {"operation": "UploadPart", "nth": 2}),
        ("status", {"operation": "UploadPart", "count": 3, "status": 503, "code": "SlowDown"}),
        ("status", {"operation": "UploadPart", "count": 2, "status": 429, "code": "TooManyRequests"}),
        ("status", {"operation": "CreateMultipartUpload", "count": 2}),
        ("status", {"operation": "CompleteMultipartUpload", "count": 2}),
        ("reset_before", {"operation": "CompleteMultipartUpload"}),
        ("reset_after", {"operation": "CompleteMultipartUpload"}),
        ("wrong_etag", {"operation": "CompleteMultipartUpload"}),
        ("slow", {"operation": "UploadPart", "amount": 20 << 20, "count": None}),
    ],
)
def test_writing_survives(hostile: HostileS3, store: S3Store, kind: str, given: dict[str, t.Any]) -> None:
    fault = hostile.fault(kind, **given)
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    assert fault.hits == fault.count or fault.count is None and fault.hits
    assert hostile.content("backups", "p/a/b") == DATA and hostile.uploads == {}


@pytest.mark.parametrize("kind", ["reset_before", "reset_during", "reset_after", "flip_request", "flip_stored", "status"])
def test_writing_what_fits_into_one_part_survives(hostile: HostileS3, store: S3Store, kind: str) -> None:
    fault = hostile.fault(kind, operation="PutObject")
    store.write_stream("a/b", io.BytesIO(SMALL), len(SMALL))
    assert fault.hits == 1 and hostile.content("backups", "p/a/b") == SMALL
    assert hostile.count("CreateMultipartUpload") == hostile.count("CompleteMultipartUpload")


@pytest.mark.parametrize("length", [0, 1, MIN_PART - 1, MIN_PART, MIN_PART + 1, 2 * MIN_PART])
def test_lengths_at_the_borders_of_parts(hostile: HostileS3, store: S3Store, length: int) -> None:
    store.write_stream("a/b", io.BytesIO(DATA[:length]), 0)
    assert hostile.content("backups", "p/a/b") == DATA[:length] == read(store, "a/b") and hostile.uploads == {}


@pytest.mark.parametrize(
    ("kind", "given", "cause"),
    [
        ("status", {"operation": "UploadPart", "status": 403, "code": "AccessDenied"}, "(AccessDenied) when calling the UploadPart"),
        ("status", {"operation": "CompleteMultipartUpload", "status": 403, "code": "AccessDenied"}, "(AccessDenied) when calling the Complete"),
        ("status", {"operation": "CreateMultipartUpload|PutObject", "status": 403, "code": "InvalidAccessKeyId"}, "check access_key"),
        ("short_request", {"operation": "UploadPart"}, "(InvalidPart)"),
        ("lose", {"operation": "UploadPart"}, "(InvalidPart)"),
        ("wrong_etag", {"operation": "UploadPart"}, "the store kept something else than it was sent, 4 times"),
        ("flip_request", {"operation": "UploadPart"}, "(BadDigest)"),
    ],
)
def test_writing_fails_with_its_cause_and_leaves_nothing(hostile: HostileS3, store: S3Store, kind: str, given: dict[str, t.Any], cause: str) -> None:
    hostile.fault(kind, count=None, **given)
    with pytest.raises(MainstayError) as caught:
        store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    assert cause in str(caught.value) and str(caught.value).startswith("could not write a/b to s3://backups/p at http")
    assert hostile.keys("backups") == [] and hostile.uploads == {}


def test_a_source_that_fails_leaves_nothing(hostile: HostileS3, store: S3Store) -> None:
    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 17 << 20:
                raise MainstayError("read the source", "it died")
            return super().read(size)

    with pytest.raises(MainstayError, match="it died"):
        store.write_stream("a/b", Source(DATA), len(DATA))
    assert hostile.keys("backups") == [] and hostile.uploads == {} and hostile.count("AbortMultipartUpload") >= 1


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("reset_before", {"count": 2}),
        ("status", {"count": 2, "status": 503, "code": "SlowDown"}),
        ("reset_during", {"count": 3}),
        ("cut_answer", {"count": 3}),
        ("slow", {"count": None, "amount": 20 << 20}),
    ],
)
def test_reading_goes_on_where_it_broke_off(hostile: HostileS3, store: S3Store, kind: str, given: dict[str, t.Any]) -> None:
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    fault = hostile.fault(kind, operation="GetObject", **given)
    assert read(store, "a/b") == DATA and fault.hits >= 1


def test_reading_goes_on_without_ranges(hostile: HostileS3, store: S3Store) -> None:
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    cut, ignored = hostile.fault("reset_during", operation="GetObject"), hostile.fault("ignore_range", operation="GetObject", count=None)
    assert read(store, "a/b") == DATA and cut.hits == 1 and ignored.hits == 2


def test_reading_never_mixes_two_objects(hostile: HostileS3, store: S3Store) -> None:
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    hostile.fault("reset_during", operation="GetObject")
    with pytest.raises(MainstayError, match="there was another object in its place"), store.open_read("a/b") as stored:
        assert stored.read(BLOCK) == DATA[:BLOCK]
        hostile.flip("backups", "p/a/b", 5)
        hostile.buckets["backups"]["p/a/b"] = dataclasses.replace(hostile.buckets["backups"]["p/a/b"], etag="0" * 32)
        while stored.read(BLOCK):
            pass


def test_reading_gives_up_and_says_where(hostile: HostileS3, store: S3Store) -> None:
    store.write_stream("a/b", io.BytesIO(SMALL), len(SMALL))
    hostile.fault("reset_before", operation="GetObject", nth=2, count=None)
    hostile.fault("reset_during", operation="GetObject")
    with pytest.raises(MainstayError, match="read a/b from s3://backups/p"):
        read(store, "a/b")


@pytest.mark.parametrize(("kind", "cause"), [("short_answer", "it has 10485760 bytes, its manifest says 20971520"), ("flip_answer", "its SHA-256 is")])
def test_a_body_that_lies_is_found_by_length_and_hash(hostile: HostileS3, store: S3Store, kind: str, cause: str) -> None:
    expected = (len(DATA), hashlib.sha256(DATA).hexdigest())
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    hash_object(store, "a/b", expected)
    hostile.fault(kind, operation="GetObject")
    with pytest.raises(DamagedObject, match=cause):
        hash_object(store, "a/b", expected)


@pytest.mark.parametrize("conditional", ["obey", "refuse", "ignore"])
class TestNew:
    """Manifests: written once, and read back."""

    @pytest.mark.parametrize("kind", ["reset_before", "reset_during", "reset_after", "status"])
    def test_it_is_there_after_a_mishap(self, hostile: HostileS3, store: S3Store, conditional: str, kind: str) -> None:
        hostile.conditional = conditional
        assert hostile.fault(kind, operation="PutObject") and store.put_new("m", b"text") is None
        assert hostile.content("backups", "p/m") == b"text"

    def test_what_is_there_stays(self, hostile: HostileS3, store: S3Store, conditional: str) -> None:
        store.put_new("m", b"one")
        hostile.conditional = conditional
        with pytest.raises(ObjectExists):
            store.put_new("m", b"two")
        assert hostile.content("backups", "p/m") == b"one"

    @pytest.mark.parametrize(("kind", "cause"), [("lose", "the store said that it has it, then it was not there"), ("rot", "kept something else")])
    def test_a_store_that_lies(self, hostile: HostileS3, store: S3Store, conditional: str, kind: str, cause: str) -> None:
        hostile.conditional = conditional
        hostile.fault(kind, operation="PutObject", count=None)
        with pytest.raises(MainstayError, match=cause):
            store.put_new("m", b"text")
        assert hostile.keys("backups") == []


def test_listings_in_pages_and_odd_keys(hostile: HostileS3, store: S3Store) -> None:
    hostile.page = 3
    keys = sorted(f"l/{number} ä+&<%20" for number in range(10))
    for key in keys:
        store.put_new(key, b"x")
    before = hostile.count("ListObjectsV2")
    assert [(item.key, item.bytes) for item in store.list("l/")] == [(key, 1) for key in keys] and hostile.count("ListObjectsV2") - before == 4
    store.delete(keys[0])
    store.delete(keys[0])
    assert [item.key for item in store.list("l/")] == keys[1:]
    with pytest.raises(ObjectMissing):
        store.open_read(keys[0])


def test_no_checksum_trailers_are_sent(hostile: HostileS3, store: S3Store) -> None:
    hostile.refuse_trailers = True
    store.write_stream("a/b", io.BytesIO(DATA), len(DATA))
    store.put_new("m", b"text")
    assert read(store, "a/b") == DATA


def test_the_clock_is_the_stores(hostile: HostileS3, store: S3Store) -> None:
    for shift in (datetime.timedelta(minutes=-10), datetime.timedelta(), datetime.timedelta(minutes=10)):
        hostile.clock_shift = shift
        apart = store.clock() - datetime.datetime.now(datetime.timezone.utc)
        assert abs(apart - shift) < datetime.timedelta(seconds=5)


def test_old_leftovers_of_the_catalogue_are_abandoned(hostile: HostileS3, store: S3Store) -> None:
    """By the store's clock, only those older than a day, only under the catalogue's prefix, and in pages."""
    hostile.clock_shift, hostile.page = datetime.timedelta(minutes=30), 2
    client = store._client
    for number, hours in enumerate([1, 25, 23, 26, 27, 25]):
        client.create_multipart_upload(Bucket="backups", Key=f"p/kind/{'n' if number < 5 else 'name'}/{number}")
        list(hostile.uploads.values())[-1].initiated -= datetime.timedelta(hours=hours)
    with Catalogue(store, "kind", "n").draft("20261122T000000Z-00000000"):
        pass
    assert sorted(upload.key for upload in hostile.uploads.values()) == ["p/kind/n/0", "p/kind/n/2", "p/kind/name/5"]


def test_tls_with_a_certificate_of_its_own(tmp_path: pathlib.Path) -> None:
    pem = tmp_path / "server.pem"
    make_self_signed(pem, tmp_path / "ca.crt", "127.0.0.1", "IP:127.0.0.1")
    pem.write_text(pem.read_text() + (tmp_path / "ca.crt").read_text())
    with HostileS3(certificate=pem) as server:
        server.buckets = {"backups": {}}
        given: dict[str, t.Any] = {"endpoint_url": server.endpoint_url, "access_key": "a", "secret_key": "b"}
        trusted = S3Store(S3Options("backups", aws_ca_bundle=str(tmp_path / "ca.crt"), **given))
        server.fault("reset_during", operation="UploadPart|GetObject", count=2)
        trusted.write_stream("a/b", io.BytesIO(DATA), 0)
        assert read(trusted, "a/b") == DATA
        assert read(S3Store(S3Options("backups", validate_certs=False, **given)), "a/b") == DATA
        with pytest.raises(MainstayError, match=r"SSL validation failed .*certificate"):
            S3Store(S3Options("backups", **given)).clock()


MEASURE = """
import os, sys
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.s3 import S3Options, S3Store

class Stream:
    left, block = 160, os.urandom(1 << 20)
    def read(self, size):
        self.left -= 1
        return self.block if self.left >= 0 else b""

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

store = S3Store(S3Options("backups", endpoint_url=sys.argv[1], access_key="a", secret_key="b", region="us-east-1"))
store.list("")
before = peak()
store.write_stream("a/b", Stream(), int(sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.parametrize(("expected", "limit"), [(0, 30 << 20), (100 * 10**9, 80 << 20)])
def test_memory_of_an_upload(tmp_path: pathlib.Path, expected: int, limit: int) -> None:
    """What an upload takes beyond boto3 itself, measured in a process of its own: 15 MiB of buffers and some small change."""
    with HostileS3(tmp_path) as server:
        server.buckets = {"backups": {}}
        done = subprocess.run([sys.executable, "-c", MEASURE, server.endpoint_url, str(expected)], check=True, capture_output=True, text=True, cwd="/")
    assert 0 < int(done.stdout) < limit, f"{int(done.stdout) >> 20} MiB"
