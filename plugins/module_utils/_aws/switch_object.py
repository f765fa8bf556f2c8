# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two objects of a switch: calls of S3, and the look without credentials that Route 53's checkers have."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_plan import Position, Switch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, tls_context

REFUSED = ("PreconditionFailed", "ConditionalRequestConflict")
"""Codes of a write whose condition does not hold (S3 User Guide, "How to prevent object overwrites with conditional writes")."""
ASK_SECONDS = 10.0


class SwitchObject:
    """A client of S3, for one switch."""

    def __init__(self, client: t.Any, switch: Switch) -> None:
        """Use a boto3 client with retries, of the bucket's region."""
        self._client, self.switch = client, switch

    def check_client(self) -> None:
        """Refuse a boto3 that knows no conditional writes, before anything is written.

        Raises:
            InvalidInput: with the version that does.
        """
        known = self._client.meta.service_model.operation_model("PutObject").input_shape.members
        if not {"IfMatch", "IfNoneMatch"} <= set(known):
            raise InvalidInput(f"write to the bucket {self.switch.bucket}", "this boto3 knows no conditional writes", "install boto3 1.35.69 or later")

    def read(self) -> Position:
        """Return how the switch stands.

        Raises:
            InvalidInput: there is no such bucket.
        """
        bucket, prefix = self.switch.bucket, f"{self.switch.prefix}/"
        try:
            with calling(f"list {self.switch.shown(prefix)}"):
                rows = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, aws_retry=True).get("Contents", [])
        except AwsError as error:
            if error.code == "NoSuchBucket":
                step = "make it, or see whether its name and region are right"
                raise InvalidInput(f"read the switch in {bucket}", "there is no such bucket", step) from error
            raise
        etags = {row["Key"]: row["ETag"] for row in rows}
        if self.switch.state_key not in etags:
            return Position(self.switch.key in etags)
        try:
            with calling(f"read {self.switch.shown(self.switch.state_key)}"):
                found = self._client.get_object(Bucket=bucket, Key=self.switch.state_key, aws_retry=True)
                text = found["Body"].read(1024).decode("utf-8", "replace")
        except AwsError as error:
            if error.code == "NoSuchKey":  # removed a moment ago
                return Position(self.switch.key in etags)
            raise
        return Position(self.switch.key in etags, plans.parse_marker(text), found["ETag"])

    def claim(self, marker: plans.Marker, etag: str) -> None:
        """Write the state over the version that was read, or where none was; S3 refuses it if somebody else has written meanwhile."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        self._put(self.switch.state_key, marker, condition)

    def throw(self, marker: plans.Marker) -> None:
        """Put the object, which makes the secondary active."""
        self._put(self.switch.key, marker, {"IfNoneMatch": "*"})

    def _put(self, key: str, marker: plans.Marker, condition: t.Mapping[str, str]) -> None:
        with calling(f"put {self.switch.shown(key)}"):
            self._client.put_object(
                Bucket=self.switch.bucket,
                Key=key,
                Body=f"{marker.text}\n".encode(),
                ContentType="text/plain",
                CacheControl="no-store",
                aws_retry=True,
                **condition,
            )

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is removed as well."""
        with calling(f"remove {self.switch.shown(key)}"):
            self._client.delete_object(Bucket=self.switch.bucket, Key=key, aws_retry=True)


def ask(url: str) -> http.Answer:
    """Ask for an object as the checkers do: without credentials, and without a look at the certificate.

    Raises:
        NoAnswer: none came.
    """
    # Route 53's checkers do not validate certificates (Developer Guide, "Values that you specify when you create or update health checks").
    context = tls_context(False, None, None, None) if http.locate(url).scheme == "https" else None
    return http.ask(http.Target(url, context=context), Budget.of(ASK_SECONDS))
