# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for instances of RDS: their place, the names of a restore, what is left of trials, and what speaks against a promotion."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import rds_instances, rds_place, rds_promote, rds_restore, rds_trial, trial
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.timezone.utc)
SNAPSHOT = "shop-20261128080000-abc123"
SOURCE: dict[str, t.Any] = {
    "DBInstanceIdentifier": "shop",
    "DBInstanceStatus": "available",
    "DBInstanceClass": "db.r7g.large",
    "DBSubnetGroup": {"DBSubnetGroupName": "private"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
    "DBParameterGroups": [{"DBParameterGroupName": "shop-15"}],
    "MultiAZ": True,
    "DeletionProtection": True,
    "CopyTagsToSnapshot": True,
    "EnabledCloudwatchLogsExports": ["postgresql"],
}
NOTHING = {
    "db_instance_class": None,
    "db_subnet_group_name": None,
    "vpc_security_group_ids": [],
    "db_parameter_group_name": None,
    "multi_az": None,
    "deletion_protection": None,
}
PLACE = {"DBInstanceClass": "db.r7g.large", "DBSubnetGroupName": "private", "VpcSecurityGroupIds": ["sg-1"], "DBParameterGroupName": "shop-15"}


def row(name: str, status: str = "available", **tags: str) -> dict[str, t.Any]:
    """An instance."""
    return {"DBInstanceIdentifier": name, "DBInstanceStatus": status, "TagList": [{"Key": f"mainstay:{key}", "Value": text} for key, text in tags.items()]}


def test_an_instance_for_trial_is_beside_its_source() -> None:
    """Private, in one zone, without protection; nothing of it is left behind."""
    found = rds_place.plan_trial(NOTHING, SOURCE, "restore")
    assert found == {
        **PLACE,
        "PubliclyAccessible": False,
        "MultiAZ": False,
        "DeletionProtection": False,
        "CopyTagsToSnapshot": False,
        "AutoMinorVersionUpgrade": False,
    }
    smaller = rds_place.plan_trial({**NOTHING, "db_instance_class": "db.t4g.medium", "vpc_security_group_ids": ["sg-9"]}, SOURCE, "restore")
    assert (smaller["DBInstanceClass"], smaller["VpcSecurityGroupIds"], smaller["DBSubnetGroupName"]) == ("db.t4g.medium", ["sg-9"], "private")


def test_a_restored_instance_is_as_its_source_unless_options_say_otherwise() -> None:
    found = rds_place.plan_restored(NOTHING, SOURCE, "restore")
    logs = {"EnableCloudwatchLogsExports": ["postgresql"]}
    assert found == {**PLACE, **logs, "PubliclyAccessible": False, "MultiAZ": True, "DeletionProtection": True, "CopyTagsToSnapshot": True}
    found = rds_place.plan_restored({**NOTHING, "multi_az": False, "deletion_protection": False}, SOURCE, "restore")
    assert (found["MultiAZ"], found["DeletionProtection"]) == (False, False)


@pytest.mark.parametrize(
    ("source", "given", "words"),
    [
        (None, {}, "there is no source instance in this region.*give db_instance_class, db_subnet_group_name, vpc_security_group_ids"),
        (None, {"db_instance_class": "db.t4g.small", "db_subnet_group_name": "x"}, "give vpc_security_group_ids"),
        ({**SOURCE, "DBSubnetGroup": {}}, {}, "the source instance is in no network of its own; give db_subnet_group_name"),
    ],
)
def test_an_instance_is_never_made_in_the_default_network(source: dict[str, t.Any] | None, given: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        rds_place.plan_trial({**NOTHING, **given}, source, "restore")


WAITING = row("shop-restored-abc123", **{"restored-from": SNAPSHOT, "restored-as": "shop"})


@pytest.mark.parametrize(
    ("instances", "on_existing", "words"),
    [
        ([], "fail", [f"restore snapshot {SNAPSHOT} to the new instance shop"]),
        ([row("shop", **{"restored-from": SNAPSHOT})], "fail", []),
        ([row("other")], "rename", [f"restore snapshot {SNAPSHOT} to the new instance shop"]),
        (
            [row("shop")],
            "rename",
            [
                f"restore snapshot {SNAPSHOT} to the new instance shop-restored-abc123",
                "rename the instance shop to shop-before-abc123",
                "rename the instance shop-restored-abc123 to shop",
            ],
        ),
        ([row("shop"), WAITING], "rename", ["rename the instance shop to shop-before-abc123", "rename the instance shop-restored-abc123 to shop"]),
        ([row("shop-before-abc123"), WAITING], "fail", ["rename the instance shop-restored-abc123 to shop"]),
    ],
)
def test_a_restore_is_planned_from_wherever_it_is(instances: list[dict[str, t.Any]], on_existing: str, words: list[str]) -> None:
    known = {each["DBInstanceIdentifier"]: each for each in instances}
    assert rds_restore.plan("shop", SNAPSHOT, known, on_existing).words(SNAPSHOT) == words


@pytest.mark.parametrize(
    ("instances", "on_existing", "words"),
    [
        ([row("shop")], "fail", "there is an instance shop already.*on_existing=rename"),
        ([row("shop", **{"restored-from": "shop-1-fff"})], "fail", "there is an instance shop already"),
        ([row("shop"), row("shop-before-abc123")], "rename", "the name shop-before-abc123, which the old instance would get, is taken"),
        ([row("shop"), row("shop-restored-abc123")], "rename", "the name shop-restored-abc123.*is taken by one that is not ours"),
        (
            [row("shop-restored-fff", **{"restored-from": "shop-1-fff", "restored-as": "shop"})],
            "rename",
            "shop-restored-fff waits for this name, since a restore of shop-1-fff was cut off; finish that restore",
        ),
    ],
)
def test_a_restore_that_would_take_what_is_not_its_own_is_refused(instances: list[dict[str, t.Any]], on_existing: str, words: str) -> None:
    known = {each["DBInstanceIdentifier"]: each for each in instances}
    with pytest.raises(InvalidInput, match=words):
        rds_restore.plan("shop", SNAPSHOT, known, on_existing)


def test_only_trials_whose_time_is_over_are_leftovers() -> None:
    """Of this source; one that is being removed needs nothing."""
    past, future = "2026-11-28T11:00:00Z", "2026-11-28T13:00:00Z"
    found = [
        row("a", **{"trial-of": "shop", "trial-until": past}),
        row("b", **{"trial-of": "shop", "trial-until": future}),
        row("c", **{"trial-of": "shop"}),
        row("d", "deleting", **{"trial-of": "shop", "trial-until": past}),
        row("e", **{"trial-of": "other", "trial-until": past}),
        row("shop"),
    ]
    assert trial.split_leftovers(rds_trial.lodgers(found), "shop", NOW) == (["a", "c"], ["b"])


@pytest.mark.parametrize(
    ("status", "expected"),
    [("available", ""), ("storage-optimization", ""), ("backing-up", "it is backing-up"), ("modifying", "it is modifying")],
)
def test_an_instance_is_waited_for(status: str, expected: str) -> None:
    assert rds_instances.pending(row("shop", status), "shop", "wait") == expected


@pytest.mark.parametrize("status", ["failed", "stopped", "incompatible-restore", "storage-full", "deleting", "a-new-one"])
def test_what_does_not_end_by_itself_is_not_waited_for(status: str) -> None:
    with pytest.raises(MainstayError, match=f"it is {status}, which does not end by itself"):
        rds_instances.pending(row("shop", status), "shop", "wait")
    with pytest.raises(InvalidInput, match=f"shop is {status}"):
        rds_instances.refuse_unready(row("shop", status), "snapshot")


NORMAL = {"StatusType": "read replication", "Status": "replicating", "Normal": True}
BROKEN = {"StatusType": "read replication", "Status": "error", "Normal": False, "Message": "slot is gone"}


@pytest.mark.parametrize(
    ("infos", "lag", "against"),
    [
        ([NORMAL], 0.0, []),
        ([NORMAL], 60.0, []),
        ([], 3.0, []),
        ([NORMAL], 61.0, ["it is 61 s behind its source, more than max_lag, 60 s"]),
        ([NORMAL], -1.0, ["it does not follow its source now (ReplicaLag is -1)"]),
        ([NORMAL], None, ["nothing says how far it is behind its source (the metric ReplicaLag has no figure of the last five minutes)"]),
        ([BROKEN], 1.0, ["its read replication is error (slot is gone)"]),
    ],
)
def test_what_speaks_against_a_promotion(infos: list[dict[str, t.Any]], lag: float | None, against: list[str]) -> None:
    assert rds_promote.judge({"StatusInfos": infos}, lag, 60) == against
