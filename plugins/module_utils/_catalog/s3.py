# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store: boto3's managed transfer, parts sized from the expected size, aborted on failure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import io
import traceback
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectExists, ObjectMissing, StoredObject, check_key
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    from s3transfer.manager import TransferConfig, TransferManager

    HAS_BOTO3, BOTO3_IMPORT_ERROR = True, None
except ImportError:
    HAS_BOTO3, BOTO3_IMPORT_ERROR = False, traceback.format_exc()

MAX_PARTS = 10_000
"""Parts of one object at most (Amazon S3 user guide, "Multipart upload limits")."""
MIN_PART = 16 << 20
MAX_PART = 5 << 30
PARTS_IN_MEMORY = 3


def part_size(expected_bytes: int) -> int:
    """Return the bytes per part for an object of about this size: twice the expected size still fits into 10,000 parts."""
    wanted = -(-2 * expected_bytes // MAX_PARTS)
    return min(MAX_PART, max(MIN_PART, -(-wanted // (1 << 20)) << 20))


@dataclasses.dataclass(frozen=True)
class S3Options:
    """How to reach a bucket; the names follow amazon.aws. What is empty comes from boto3's own chain (environment, profile, instance role)."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = dataclasses.field(default=None, repr=False)
    session_token: str | None = dataclasses.field(default=None, repr=False)
    profile: str | None = None
    validate_certs: bool = True
    aws_ca_bundle: str | None = None


class _Guarded:
    """A stream that stops being read once the transfer that reads it has failed."""

    def __init__(self, stream: t.Any) -> None:
        self._stream = stream
        self.future: t.Any = None

    def read(self, size: int = -1) -> bytes:
        if self.future is not None and self.future.done():
            raise EOFError("the transfer has ended already")
        return self._stream.read(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class _Reader(io.RawIOBase):
    """The body of an object, with the store's words for what goes wrong."""

    def __init__(self, store: S3Store, key: str, body: t.Any) -> None:
        super().__init__()
        self._store, self._key, self._body = store, key, body

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        with self._store.translated(f"read {self._key}", self._key):
            return self._body.read(size if size >= 0 else None)

    def close(self) -> None:
        self._body.close()
        super().close()


class S3Store:
    """A bucket, or a part of one under a prefix, at Amazon or at any store that speaks its protocol."""

    def __init__(self, options: S3Options) -> None:
        """Make the client; nothing is asked of the store yet.

        Raises:
            MainstayError: boto3 is missing, or the profile or the certificates cannot be read.
        """
        if not HAS_BOTO3:
            cause = "the Python library boto3 is not installed on this host"
            raise MainstayError("use an S3 store", cause, "install python3-boto3", exception=BOTO3_IMPORT_ERROR)
        self._options = options
        self._prefix = options.prefix.strip("/") + "/" if options.prefix.strip("/") else ""
        with self.translated("connect"):
            session = boto3.session.Session(
                aws_access_key_id=options.access_key,
                aws_secret_access_key=options.secret_key,
                aws_session_token=options.session_token,
                profile_name=options.profile,
                region_name=options.region,
            )
            verify: bool | str = (options.aws_ca_bundle or True) if options.validate_certs else False
            region = session.region_name or "us-east-1"
            self._client = session.client("s3", region_name=region, endpoint_url=options.endpoint_url, verify=verify, config=self._config())

    def _config(self) -> t.Any:
        settings: dict[str, t.Any] = {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"mode": "standard", "total_max_attempts": 4},
            "s3": {"addressing_style": "path" if self._options.endpoint_url else "auto"},
        }
        try:
            return botocore.config.Config(**settings, request_checksum_calculation="when_required", response_checksum_validation="when_required")
        except TypeError:  # botocore before 1.36 neither adds checksum trailers nor knows the settings
            return botocore.config.Config(**settings)

    def describe(self) -> str:
        """Return the bucket's address, with the endpoint where it is not Amazon's."""
        at = f" at {self._options.endpoint_url}" if self._options.endpoint_url else ""
        return f"s3://{self._options.bucket}/{self._prefix}".rstrip("/") + at

    @contextlib.contextmanager
    def translated(self, verb: str, key: str = "") -> t.Iterator[None]:
        """Turn the library's errors into ours."""
        doing = f"{verb} {_PREPOSITIONS.get(verb.partition(' ')[0], 'in')} {self.describe()}"
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if key and code in ("NoSuchKey", "404"):
                raise ObjectMissing(doing, "there is no such object") from error
            if key and code in ("PreconditionFailed", "412"):
                raise ObjectExists(doing, "there is such an object already") from error
            raise MainstayError(doing, error, _NEXT_STEPS.get(code, "")) from error
        except botocore.exceptions.BotoCoreError as error:
            raise MainstayError(doing, error, "check the endpoint, the region, the certificates and the credentials") from error

    def list(self, prefix: str) -> list[StoredObject]:
        """See :meth:`Store.list`."""
        found: list[StoredObject] = []
        with self.translated("list objects"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._options.bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", []):
                    found.append(StoredObject(item["Key"][len(self._prefix) :], item["Size"], item["LastModified"]))
        return sorted(found, key=lambda item: item.key)

    def open_read(self, key: str) -> t.BinaryIO:
        """See :meth:`Store.open_read`."""
        with self.translated(f"read {key}", key):
            body = self._client.get_object(Bucket=self._options.bucket, Key=self._prefix + check_key(key))["Body"]
        return t.cast(t.BinaryIO, _Reader(self, key, body))

    def write_stream(self, key: str, stream: t.Any, expected_bytes: int) -> None:
        """See :meth:`Store.write_stream`; at most three parts are in memory."""
        size = part_size(expected_bytes)
        config = TransferConfig(
            multipart_threshold=size,
            multipart_chunksize=size,
            max_request_concurrency=2,
            max_submission_concurrency=1,
            max_in_memory_upload_chunks=PARTS_IN_MEMORY,
        )
        guarded = _Guarded(stream)
        with self.translated(f"write {key}", key), TransferManager(self._client, config) as manager:
            guarded.future = future = manager.upload(guarded, self._options.bucket, self._prefix + check_key(key))
            future.result()

    def put_new(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put_new`: a conditional write where library and store have it, otherwise a look before."""
        place = {"Bucket": self._options.bucket, "Key": self._prefix + check_key(key)}
        with self.translated(f"write {key}", key):
            if "IfNoneMatch" in self._client.meta.service_model.operation_model("PutObject").input_shape.members:
                try:
                    self._client.put_object(**place, Body=data, IfNoneMatch="*")
                    return
                except botocore.exceptions.ClientError as error:
                    if error.response.get("Error", {}).get("Code") not in ("NotImplemented", "501"):
                        raise
            with contextlib.suppress(botocore.exceptions.ClientError):
                self._client.head_object(**place)
                raise ObjectExists(f"write {key} to {self.describe()}", "there is such an object already")
            self._client.put_object(**place, Body=data)

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        with self.translated(f"delete {key}"):
            self._client.delete_object(Bucket=self._options.bucket, Key=self._prefix + check_key(key))

    def clock(self) -> datetime.datetime:
        """See :meth:`Store.clock`: the ``Date`` of an answer, which HTTP gives in whole seconds (RFC 9110, section 6.6.1)."""
        with self.translated("read the clock"):
            answer = self._client.list_objects_v2(Bucket=self._options.bucket, Prefix=self._prefix, MaxKeys=1)
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
        try:
            moment = email.utils.parsedate_to_datetime(date)
        except ValueError as error:
            raise MainstayError(f"read the clock of {self.describe()}", f"the header Date of its answer is {date!r}") from error
        return moment.replace(tzinfo=datetime.timezone.utc) if moment.tzinfo is None else moment.astimezone(datetime.timezone.utc)


_PREPOSITIONS = {"read": "from", "delete": "from", "write": "to", "connect": "to"}
_NEXT_STEPS = {
    "NoSuchBucket": "create the bucket or correct its name",
    "AccessDenied": "the credentials need s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload",
    "InvalidAccessKeyId": "check access_key",
    "SignatureDoesNotMatch": "check secret_key and the host's clock",
    "RequestTimeTooSkewed": "correct the host's clock",
}
