# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of ElastiCache: one thin method for each."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling, unless_done
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row, tag_list, tags_of
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import MOMENT, Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

WHOLE = {"restoring": "available", "exporting": "available"}
"""States of a snapshot that is whole, and is being used."""
PASSING = frozenset(("creating", "modifying", "snapshotting"))
"""States of a group that end by themselves (ElastiCache API reference, ``ReplicationGroup``)."""
FIRST = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def to_snapshot(row: t.Mapping[str, t.Any], tags: t.Mapping[str, str], region: str) -> Snapshot:
    """Return a snapshot of what DescribeSnapshots tells. The oldest moment of its shards is the one that all of them have; each shard is taken by itself."""
    nodes = row.get("NodeSnapshots") or []
    moments = [node["SnapshotCreateTime"] for node in nodes if node.get("SnapshotCreateTime")]
    moment = min(moments) if moments else from_text(tags[MOMENT]) if MOMENT in tags else FIRST
    facts = {
        "group": row.get("ReplicationGroupId"),
        "engine": row.get("Engine"),
        "engine_version": row.get("EngineVersion"),
        "node_type": row.get("CacheNodeType"),
        "shards": row.get("NumNodeGroups"),
        "subnet_group": row.get("CacheSubnetGroupName"),
        "parameter_group": row.get("CacheParameterGroupName"),
        "data_tiering": row.get("DataTiering") == "enabled",
    }
    status = WHOLE.get(row["SnapshotStatus"], row["SnapshotStatus"])
    return Snapshot(row["SnapshotName"], row["ARN"], region, moment, status, 100 if status == "available" else 0, tags, facts)


def refuse_unready(group: Row | None, name: str, region: str) -> Row:
    """Return a group of which a snapshot can be taken, perhaps a little later.

    Raises:
        InvalidInput: there is none, or it does not serve.
    """
    doing = f"take a snapshot of {name}"
    if group is None:
        raise InvalidInput(doing, f"there is no replication group {name} in {region}", "see whether its name and the region are right")
    if group["Status"] not in PASSING | {"available"}:
        raise InvalidInput(doing, f"{name} is {group['Status']}", "bring it to the state available first")
    return group


class ElastiCache:
    """A client of ElastiCache in one region."""

    def __init__(self, client: t.Any, region: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self.region = client, region

    def group(self, name: str) -> Row | None:
        """Return a replication group, or None."""
        try:
            with calling(f"read the replication group {name}"):
                return dict(self._client.describe_replication_groups(ReplicationGroupId=name, aws_retry=True)["ReplicationGroups"][0])
        except AwsError as error:
            if error.code in ("ReplicationGroupNotFoundFault", "ReplicationGroupNotFound"):
                return None
            raise

    def snapshots(self, name: str) -> list[Snapshot]:
        """Return the manual snapshots of a group, whether it is still there or not."""
        return [to_snapshot(row, self.tags(row["ARN"]), self.region) for row in self.snapshot_rows(name)]

    def snapshot_rows(self, name: str) -> list[Row]:
        """Return the manual snapshots of a group as AWS tells of them, without those that are being removed."""
        found: list[Row] = []
        more: dict[str, str] = {}
        while True:
            with calling(f"read the snapshots of {name} in {self.region}"):
                page = self._client.describe_snapshots(SnapshotSource="user", aws_retry=True, **more)
            found += [row for row in page["Snapshots"] if row.get("ReplicationGroupId") == name and row["SnapshotStatus"] != "deleting"]
            if not page.get("Marker"):
                return found
            more = {"Marker": page["Marker"]}

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a snapshot or a group; none if it has been removed since it was listed."""
        try:
            with calling(f"read the tags of {arn}"):
                return tags_of(self._client.list_tags_for_resource(ResourceName=arn, aws_retry=True))
        except AwsError as error:
            if error.code in ("SnapshotNotFoundFault", "ReplicationGroupNotFoundFault", "InvalidARN"):
                return {}
            raise

    def take(self, name: str, snapshot: str, tags: t.Mapping[str, str]) -> None:
        """Begin a snapshot."""
        with calling(f"take the snapshot {snapshot} of {name}"):
            self._client.create_snapshot(ReplicationGroupId=name, SnapshotName=snapshot, Tags=tag_list(tags), aws_retry=True)

    def remove(self, snapshot: str) -> None:
        """Remove a snapshot; one that is gone is removed."""
        with unless_done("SnapshotNotFoundFault"), calling(f"remove the snapshot {snapshot} from {self.region}"):
            self._client.delete_snapshot(SnapshotName=snapshot, aws_retry=True)

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags."""
        with calling(f"tag {arn}"):
            self._client.add_tags_to_resource(ResourceName=arn, Tags=tag_list(tags), aws_retry=True)

    def export(self, snapshot: str, bucket: str) -> None:
        """Begin to write the data of a snapshot into a bucket of this region."""
        with calling(f"export the snapshot {snapshot} to the bucket {bucket}"):
            self._client.copy_snapshot(SourceSnapshotName=snapshot, TargetSnapshotName=snapshot, TargetBucket=bucket, aws_retry=True)
