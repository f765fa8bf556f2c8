# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of RDS: one thin method for each."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling, unless_done
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import MOMENT, Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

Row = dict[str, t.Any]


def tag_list(tags: t.Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as the API takes them."""
    return [{"Key": name, "Value": text} for name, text in tags.items()]


def tags_of(row: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the tags of what the API tells."""
    return {tag["Key"]: tag.get("Value", "") for tag in row.get("TagList") or []}


def refuse_missing(instance: Row | None, name: str, region: str, doing: str) -> Row:
    """Return an instance.

    Raises:
        InvalidInput: there is none, or it is a part of a cluster.
    """
    if instance is None:
        raise InvalidInput(doing, f"there is no instance {name} in {region}", "see whether its name and the region are right")
    if instance.get("DBClusterIdentifier"):
        cluster = instance["DBClusterIdentifier"]
        raise InvalidInput(doing, f"{name} belongs to the cluster {cluster}, whose snapshots are of another kind", "name an instance that stands for itself")
    return instance


def to_snapshot(row: t.Mapping[str, t.Any], region: str) -> Snapshot:
    """Return a snapshot of what DescribeDBSnapshots tells. The moment of its data is that of the first snapshot, however often it was copied."""
    tags = tags_of(row)
    begun = from_text(tags[MOMENT]) if MOMENT in tags else row["InstanceCreateTime"]
    moment = row.get("OriginalSnapshotCreateTime") or row.get("SnapshotCreateTime") or begun
    facts = {
        "instance": row["DBInstanceIdentifier"],
        "engine": row["Engine"],
        "engine_version": row["EngineVersion"],
        "allocated_gib": row["AllocatedStorage"],
        "encrypted": row.get("Encrypted", False),
        "master_user": row.get("MasterUsername", ""),
    }
    return Snapshot(row["DBSnapshotIdentifier"], row["DBSnapshotArn"], region, moment, row["Status"], row.get("PercentProgress") or 0, tags, facts)


class Rds:
    """A client of RDS in one region."""

    def __init__(self, client: t.Any, region: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self.region = client, region

    def instances(self, name: str = "") -> list[Row]:
        """Return all instances, or the one of a name if there is one."""
        rows: list[Row] = []
        more: dict[str, str] = {"DBInstanceIdentifier": name} if name else {}
        while True:
            try:
                with calling(f"read the instance {name}" if name else f"read the instances in {self.region}"):
                    page = self._client.describe_db_instances(aws_retry=True, **more)
            except AwsError as error:
                if error.code == "DBInstanceNotFound":
                    return []
                raise
            rows += page["DBInstances"]
            if not page.get("Marker"):
                return rows
            more = {"Marker": page["Marker"]}

    def instance(self, name: str) -> Row | None:
        """Return an instance, or None."""
        return next(iter(self.instances(name)), None)

    def snapshots(self, instance: str) -> list[Snapshot]:
        """Return the manual snapshots of an instance, whether it is still there or not."""
        found: list[Snapshot] = []
        more: dict[str, str] = {}
        while True:
            with calling(f"read the snapshots of {instance} in {self.region}"):
                page = self._client.describe_db_snapshots(DBInstanceIdentifier=instance, SnapshotType="manual", aws_retry=True, **more)
            found += [to_snapshot(row, self.region) for row in page["DBSnapshots"]]
            if not page.get("Marker"):
                return found
            more = {"Marker": page["Marker"]}

    def take(self, instance: str, snapshot: str, tags: t.Mapping[str, str]) -> None:
        """Begin a snapshot."""
        with calling(f"take the snapshot {snapshot} of {instance}"):
            self._client.create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=snapshot, Tags=tag_list(tags), aws_retry=True)

    def bring(self, source: Snapshot, kms_key: str | None) -> None:
        """Begin to copy a snapshot of another region into this one, with its tags."""
        key = {"KmsKeyId": kms_key} if kms_key else {}
        with calling(f"copy the snapshot {source.id} to {self.region}"):
            self._client.copy_db_snapshot(
                SourceDBSnapshotIdentifier=source.arn,
                TargetDBSnapshotIdentifier=source.id,
                SourceRegion=source.region,
                Tags=tag_list(source.tags),
                aws_retry=True,
                **key,
            )

    def remove(self, snapshot: str) -> None:
        """Remove a snapshot; one that is gone is removed."""
        with unless_done("DBSnapshotNotFound"), calling(f"remove the snapshot {snapshot} from {self.region}"):
            self._client.delete_db_snapshot(DBSnapshotIdentifier=snapshot, aws_retry=True)

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags."""
        with calling(f"tag {arn}"):
            self._client.add_tags_to_resource(ResourceName=arn, Tags=tag_list(tags), aws_retry=True)
