# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication groups of ElastiCache: what they are doing, where their nodes are, and the calls that make and remove them."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling, unless_done
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import PASSING, ElastiCache
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row, tag_list
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def wait_available(cache: ElastiCache, name: str, patience: Patience) -> Row:
    """Wait until a group is available, and return it.

    Raises:
        MainstayError: it is in a state that does not end by itself, or gone.
    """
    doing = f"wait for the replication group {name}"

    def pending(found: Row | None) -> str:
        if found is None or found["Status"] not in PASSING | {"available"}:
            raise MainstayError(doing, "it is gone" if found is None else f"it is {found['Status']}", "see its events in AWS")
        return "" if found["Status"] == "available" else f"it is {found['Status']}"

    return t.cast(Row, patience.wait(doing, lambda: cache.group(name), pending))


class Groups:
    """What tells of groups and their nodes, makes groups and removes them."""

    def __init__(self, client: t.Any) -> None:
        """Use a boto3 client with retries."""
        self._client = client

    def beginning(self, prefix: str) -> list[Row]:
        """Return the groups whose names begin so."""
        found: list[Row] = []
        more: dict[str, str] = {}
        while True:
            with calling("read the replication groups"):
                page = self._client.describe_replication_groups(aws_retry=True, **more)
            found += [row for row in page["ReplicationGroups"] if row["ReplicationGroupId"].startswith(prefix)]
            if not page.get("Marker"):
                return found
            more = {"Marker": page["Marker"]}

    def nodes(self, group: Row) -> list[Row]:
        """Return the nodes of a group, without one that is gone since the group was read."""
        found: list[Row] = []
        for name in group.get("MemberClusters") or []:
            try:
                with calling(f"read the node {name}"):
                    found += self._client.describe_cache_clusters(CacheClusterId=name, ShowCacheNodeInfo=True, aws_retry=True)["CacheClusters"]
            except AwsError as error:
                if error.code not in ("CacheClusterNotFound", "CacheClusterNotFoundFault"):
                    raise
        return found

    def restore(self, snapshot: str, name: str, tags: t.Mapping[str, str], **settings: t.Any) -> None:
        """Begin to make a group of a snapshot; one of that name is there already if only the answer was lost."""
        with unless_done("ReplicationGroupAlreadyExists", "ReplicationGroupAlreadyExistsFault"), calling(f"restore the snapshot {snapshot} to {name}"):
            words = f"trial of {snapshot}"
            given = {"ReplicationGroupId": name, "ReplicationGroupDescription": words, "SnapshotName": snapshot, "Tags": tag_list(tags)}
            self._client.create_replication_group(**given, **settings, aws_retry=True)

    def remove(self, name: str) -> None:
        """Remove a group without a last snapshot; one that is gone is removed."""
        with unless_done("ReplicationGroupNotFoundFault", "ReplicationGroupNotFound"), calling(f"remove the replication group {name}"):
            self._client.delete_replication_group(ReplicationGroupId=name, aws_retry=True)
