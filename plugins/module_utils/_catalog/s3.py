# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store: boto3's client and its retries; what is written is checked against what the store says it kept."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import email.utils
import traceback
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectExists, ObjectMissing, StoredObject, check_key, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.transfer import Download, Upload, code_of, md5_of, pause
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    import urllib3.exceptions

    HAS_BOTO3, BOTO3_IMPORT_ERROR = True, None
except ImportError:
    HAS_BOTO3, BOTO3_IMPORT_ERROR = False, traceback.format_exc()

ATTEMPTS = 6
"""How often boto3 sends a request: about 15 seconds of waiting in all, at random between the tries."""
LOOKS = 3
"""How often a small object that was just written is looked for."""


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
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
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
        except (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError) as error:
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
        """See :meth:`Store.open_read`; a body that breaks off is asked for again from where it was."""
        place = self._place(key)
        return t.cast(t.BinaryIO, Download(self._client, place, f"read {key} from {self.describe()}", lambda: self.translated(f"read {key}", key)))

    def write_stream(self, key: str, stream: t.Any, expected_bytes: int) -> None:
        """See :meth:`Store.write_stream`; at most three parts are in memory."""
        with self.translated(f"write {key}", key):
            Upload(self._client, self._place(key), f"write {key} to {self.describe()}", expected_bytes).run(stream)

    def put_new(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put_new`: a conditional write where library and store have it, otherwise a look before; then it is read back.

        Raises:
            ObjectExists: there is an object of that key with another content (the same content is our own, from a request whose answer was lost).
            MainstayError: it is not there afterwards as it was written.
        """
        with self.translated(f"write {key}", key):
            if not self._put_if_free(self._place(key), data) and self._read_back(key) != data:
                raise ObjectExists(f"write {key} to {self.describe()}", "there is such an object already")
            for attempt in range(LOOKS):
                if (found := self._read_back(key)) is not None:
                    break
                pause(attempt)
            if found == data:
                return
            self.delete(key)
        cause = "the store said that it has it, then it was not there" if found is None else "the store kept something else than it was sent"
        raise MainstayError(f"write {key} to {self.describe()}", cause)

    def _put_if_free(self, place: dict[str, str], data: bytes) -> bool:
        """Write a small object unless there is one; return whether there was none.

        The look before is for stores that pass over the condition; those that refuse it get none.
        """
        try:
            self._client.head_object(**place)
            return False
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in ("NoSuchKey", "404"):
                raise
        digest = md5_of(data)
        given: dict[str, t.Any] = {**place, "Body": data}
        if digest is not None:
            given["ContentMD5"] = base64.b64encode(digest).decode()
        if "IfNoneMatch" in self._client.meta.service_model.operation_model("PutObject").input_shape.members:
            try:
                self._client.put_object(**given, IfNoneMatch="*")
                return True
            except botocore.exceptions.ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    return False
                if code_of(error) not in ("NotImplemented", "501"):
                    raise
        self._client.put_object(**given)
        return True

    def _read_back(self, key: str) -> bytes | None:
        try:
            return read_small(self, key)
        except ObjectMissing:
            return None

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._options.bucket, "Key": self._prefix + check_key(key)}

    def abandon(self, prefix: str, older_than: datetime.timedelta) -> list[str]:
        """See :meth:`Store.abandon`: unfinished uploads, whose parts cost money and no listing shows."""
        with self.translated("abort old uploads"):
            limit = self.clock() - older_than
            abandoned = []
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._options.bucket, Prefix=self._prefix + prefix):
                for item in page.get("Uploads", []):
                    if item["Initiated"] < limit and item["Key"].startswith(self._prefix + prefix):
                        self._client.abort_multipart_upload(Bucket=self._options.bucket, Key=item["Key"], UploadId=item["UploadId"])
                        abandoned.append(item["Key"][len(self._prefix) :])
        return abandoned

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`."""
        with self.translated(f"delete {key}"):
            self._client.delete_object(**self._place(key))

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
    "AccessDenied": "the credentials need s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, "
    "s3:ListBucketMultipartUploads",
    "InvalidAccessKeyId": "check access_key",
    "SignatureDoesNotMatch": "check secret_key and the host's clock",
    "RequestTimeTooSkewed": "correct the host's clock",
    "ExpiredToken": "get a new session_token that lasts as long as the backup",
}
