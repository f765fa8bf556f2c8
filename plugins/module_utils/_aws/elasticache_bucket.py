# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket that holds the data of snapshots of ElastiCache as RDB files.

ElastiCache User Guide, "Exporting a backup": CopySnapshot with TargetBucket writes one file for each shard into a bucket of the same region, and not with data
tiering. ElastiCache has no call that brings a snapshot into another region; the bucket's own replication brings the files there, and
CreateReplicationGroup makes a new group of them ("Seeding a new self-designed cluster with an externally created backup").
"""

from __future__ import annotations

import collections
import datetime
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import ElastiCache
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import OWNER, Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

FILE = re.compile(r"(?P<id>(?P<name>.+)-(?P<moment>\d{14})-[0-9a-f]{6})(-\d{4})?\.rdb")
"""The files of a snapshot, whose identifier is one that ``snapshots.new_id`` makes."""


def refuse_tiering(tiered: bool, doing: str) -> None:
    """Refuse to export what has data tiering.

    Raises:
        InvalidInput: so.
    """
    if tiered:
        raise InvalidInput(doing, "ElastiCache exports nothing of groups with data tiering", "leave copies out, or save the data with redis_snapshot")


class BucketShelf:
    """The files of one group's snapshots in a bucket."""

    def __init__(self, client: t.Any, cache: ElastiCache, bucket: str) -> None:
        """Use a boto3 client of S3 with retries, and the calls of the group's region."""
        self._client, self._cache, self._bucket = client, cache, bucket
        self.region = f"s3://{bucket}"

    def refuse_unfit(self) -> None:
        """Refuse a bucket that ElastiCache cannot export to.

        Raises:
            InvalidInput: it is not there, or in another region.
        """
        doing = f"export snapshots to the bucket {self._bucket}"
        try:
            with calling(doing):
                answer = self._client.head_bucket(Bucket=self._bucket, aws_retry=True)
        except AwsError as error:
            if error.code not in ("404", "NoSuchBucket"):
                raise
            raise InvalidInput(doing, "there is no such bucket", "make it, in the region of the replication group, or see whether its name is right") from error
        there = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", self._cache.region)
        if there != self._cache.region:
            cause = f"it is in {there}, and ElastiCache exports to buckets in its own region only, {self._cache.region}"
            raise InvalidInput(doing, cause, f"name a bucket in {self._cache.region}, and have S3 replicate it to {there}")

    def snapshots(self, name: str) -> list[Snapshot]:
        """Return the snapshots of a group whose files are here, or are being written."""
        # Before the files: one whose export ends between the two calls is still being written then, rather than nowhere.
        rows = {row["SnapshotName"]: row for row in self._cache.snapshot_rows(name)}
        writing = {snapshot for snapshot, row in rows.items() if row["SnapshotStatus"] == "exporting" and FILE.fullmatch(f"{snapshot}.rdb")}
        files: dict[str, list[str]] = collections.defaultdict(list)
        for key in self._keys(f"{name}-"):
            found = FILE.fullmatch(key)
            if found and found["name"] == name:
                files[found["id"]].append(key)
        return [self._snapshot(name, each, files.get(each, []), rows.get(each, {}), each in writing) for each in sorted({*files, *writing})]

    def _snapshot(self, name: str, snapshot: str, keys: list[str], row: t.Mapping[str, t.Any], writing: bool) -> Snapshot:
        whole = len(keys) >= (row.get("NumNodeGroups") or 1)
        status = "exporting" if writing else "available" if whole else "incomplete"
        moment = datetime.datetime.strptime(snapshot.split("-")[-2], "%Y%m%d%H%M%S").replace(tzinfo=datetime.timezone.utc)
        return Snapshot(snapshot, f"arn:aws:s3:::{self._bucket}/{snapshot}", self.region, moment, status, 0 if writing else 100, {OWNER: name})

    def _keys(self, prefix: str) -> list[str]:
        """Return the names of the objects that begin so."""
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            with calling(f"list the files in the bucket {self._bucket}"):
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, aws_retry=True, **more)
            found += [row["Key"] for row in page.get("Contents", [])]
            if not page.get("NextContinuationToken"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def bring(self, source: Snapshot, kms_key: str | None) -> None:
        """Begin to write the files of a snapshot."""
        refuse_tiering(bool(source.facts.get("data_tiering")), f"export the snapshot {source.id}")
        self._cache.export(source.id, self._bucket)

    def remove(self, snapshot: str) -> None:
        """Remove the files of a snapshot."""
        for key in self._keys(snapshot):
            if (found := FILE.fullmatch(key)) and found["id"] == snapshot:
                with calling(f"remove the file {key} from the bucket {self._bucket}"):
                    self._client.delete_object(Bucket=self._bucket, Key=key, aws_retry=True)
