# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a group of ElastiCache for trial, and which files in a bucket are those of a snapshot."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_bucket import FILE, BucketShelf
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_trial import plan_trial, short_version
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot, new_id
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.timezone.utc)
FACTS = {
    "engine": "valkey",
    "engine_version": "7.2.6",
    "node_type": "cache.r7g.large",
    "shards": 1,
    "subnet_group": "private",
    "parameter_group": "default.valkey7",
    "data_tiering": False,
}
OPTIONS: dict[str, t.Any] = {"cache_node_type": None, "cache_subnet_group_name": None, "cache_parameter_group_name": None, "security_group_ids": []}
NODES = [{"SecurityGroups": [{"SecurityGroupId": "sg-2"}, {"SecurityGroupId": "sg-1"}]}, {"SecurityGroups": [{"SecurityGroupId": "sg-1"}]}]


def planned(facts: dict[str, t.Any], options: dict[str, t.Any], source: dict[str, t.Any] | None, nodes: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Plan a group for trial."""
    snapshot = Snapshot("shop-1", "arn", "eu-central-1", NOW, "available", facts={**FACTS, **facts})
    return plan_trial({**OPTIONS, **options}, snapshot, source, nodes, "restore")


def test_a_group_for_trial_is_where_the_source_is() -> None:
    """With its shards and no replica, encrypted, and with no snapshots of its own."""
    found = planned({}, {}, {"ClusterEnabled": False}, NODES)
    assert found == {
        "CacheNodeType": "cache.r7g.large",
        "CacheSubnetGroupName": "private",
        "CacheParameterGroupName": "default.valkey7",
        "Engine": "valkey",
        "EngineVersion": "7.2",
        "SecurityGroupIds": ["sg-1", "sg-2"],
        "NumNodeGroups": 1,
        "ReplicasPerNodeGroup": 0,
        "AutomaticFailoverEnabled": False,
        "TransitEncryptionEnabled": True,
        "AtRestEncryptionEnabled": True,
        "SnapshotRetentionLimit": 0,
        "AutoMinorVersionUpgrade": False,
    }


@pytest.mark.parametrize(
    ("facts", "options", "source", "expected"),
    [
        ({"shards": 3}, {}, {}, {"NumNodeGroups": 3, "AutomaticFailoverEnabled": True}),
        ({}, {}, {"ClusterEnabled": True}, {"NumNodeGroups": 1, "AutomaticFailoverEnabled": True}),
        ({"parameter_group": "default.valkey7.cluster.on"}, {}, {}, {"AutomaticFailoverEnabled": True}),
        ({"data_tiering": True}, {}, {}, {"DataTieringEnabled": True}),
        ({}, {"cache_node_type": "cache.t4g.small", "security_group_ids": ["sg-9"]}, None, {"CacheNodeType": "cache.t4g.small", "SecurityGroupIds": ["sg-9"]}),
        ({}, {"cache_subnet_group_name": "dr", "cache_parameter_group_name": "own"}, {}, {"CacheSubnetGroupName": "dr", "CacheParameterGroupName": "own"}),
    ],
)
def test_what_differs_from_that(facts: dict[str, t.Any], options: dict[str, t.Any], source: dict[str, t.Any] | None, expected: dict[str, t.Any]) -> None:
    found = planned(facts, options, source, NODES if source is not None else [])
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("facts", "source", "words"),
    [
        ({}, None, "its group is gone.*give security_group_ids"),
        ({"subnet_group": None}, None, "give cache_subnet_group_name, security_group_ids"),
        ({}, {}, "neither its group nor the snapshot tells.*give security_group_ids"),
    ],
)
def test_a_place_that_nobody_tells_is_asked_for(facts: dict[str, t.Any], source: dict[str, t.Any] | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        planned(facts, {}, source, [])


@pytest.mark.parametrize(("version", "short"), [("7.2.6", "7.2"), ("7.1.0", "7.1"), ("8.0", "8.0"), ("6.x", "6.x"), ("5.0.6", "5.0.6"), ("", "")])
def test_versions_as_a_new_group_takes_them(version: str, short: str) -> None:
    assert short_version(version) == short


@pytest.mark.parametrize("shard", ["", "-0001", "-0090"])
def test_the_files_of_a_snapshot_are_known_by_their_names(shard: str) -> None:
    """Whatever the group is called."""
    for group in ("shop", "shop-2", "a-20260101000000-abcdef"):
        snapshot = new_id(group, NOW)
        found = FILE.fullmatch(f"{snapshot}{shard}.rdb")
        assert found and (found["id"], found["name"], found["moment"]) == (snapshot, group, "20261128120000")
    for other in ("shop-by-hand.rdb", "shop-20261128120000-abcdef.rdb.gz", "shop-20261128120000-abcdeg.rdb", "folder/x.rdb"):
        assert FILE.fullmatch(other) is None


def test_an_export_that_ends_while_its_bucket_is_looked_at_is_somewhere() -> None:
    """AWS tells of the snapshot and S3 of its files, in two calls: what is being written at the first is whole at the second."""
    snapshot = new_id("shop", NOW)

    class Export:
        """Stands for both services; ends as soon as one of them has been asked."""

        ended = False

        def snapshot_rows(self, name: str) -> list[dict[str, t.Any]]:
            """Tell of the snapshot."""
            status, self.ended = "available" if self.ended else "exporting", True
            return [{"SnapshotName": snapshot, "SnapshotStatus": status, "NumNodeGroups": 1}]

        def list_objects_v2(self, **options: t.Any) -> dict[str, t.Any]:
            """Tell of the file."""
            there, self.ended = self.ended, True
            return {"Contents": [{"Key": f"{snapshot}-0001.rdb"}] if there else []}

    export = Export()
    assert [each.id for each in BucketShelf(export, t.cast(t.Any, export), "exports").snapshots("shop")] == [snapshot]
