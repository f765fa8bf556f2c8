# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rds_backup and rds_backup_info against the cloud of the tests."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from cloud import REGION, Cloud, cloud
from policies import compare, key_of
from postgres_cluster import until
from servers import Runner

STANDBY = "eu-west-1"
PASSWORD = "SentinelMaster1"
KIND = {
    "DBInstanceClass": "db.t4g.small",
    "Engine": "postgres",
    "EngineVersion": "15.4",
    "AllocatedStorage": 20,
    "MasterUsername": "app",
    "MasterUserPassword": PASSWORD,
}


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud(milliseconds=4) as started:
        yield started
        for module in ("rds_backup", "rds_backup_info"):
            compare(module, started.control("calls"))


@dataclasses.dataclass
class Database:
    """An instance of RDS, and the modules that work on its snapshots."""

    cloud: Cloud
    run: Runner
    name: str

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        """The options that every module has."""
        access = {"endpoint_url": self.cloud.endpoint_url, "access_key": key_of("rds_backup"), "secret_key": "SentinelAWS", "region": REGION}
        return {**access, "db_instance_identifier": self.name, **more}

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run the module; no result holds a password."""
        result = self.run("rds_backup", self.options(poll_interval=0.1, **more), check)
        assert PASSWORD not in json.dumps(result) and "SentinelAWS" not in json.dumps(result)
        return result

    def info(self, **more: t.Any) -> dict[str, t.Any]:
        """Run the info module."""
        return self.run("rds_backup_info", self.options(**{"access_key": key_of("rds_backup_info"), **more}))

    def rds(self, region: str = REGION) -> t.Any:
        """A client."""
        return self.cloud.client("rds", region=region)

    def snapshots(self, region: str = REGION) -> dict[str, dict[str, t.Any]]:
        """The manual snapshots as AWS tells of them, by identifier."""
        found = self.rds(region).describe_db_snapshots(DBInstanceIdentifier=self.name, SnapshotType="manual")["DBSnapshots"]
        return {row["DBSnapshotIdentifier"]: row for row in found}

    def take(self, **more: t.Any) -> str:
        """Take a snapshot with the module and return its identifier."""
        made = self(max_age="0", **more)
        assert made["changed"], made
        return str(made["backup"]["id"])


@pytest.fixture
def database(running: Cloud, run_module: Runner, request: pytest.FixtureRequest) -> t.Iterator[Database]:
    """An instance of its own, available."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:50].rstrip("-")
    found = Database(running, run_module, name)
    found.rds().create_db_instance(DBInstanceIdentifier=name, **KIND)
    until(lambda: found.rds().describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceStatus"] == "available", "the instance")
    try:
        yield found
    finally:
        running.control("mend")


def refused(result: dict[str, t.Any], *words: str) -> None:
    """The result is a failure whose sentence has the words."""
    assert result["failed"] and result["msg"].startswith("could not "), result
    for word in words:
        assert word in result["msg"], result["msg"]


def test_a_snapshot_is_taken_once(database: Database) -> None:
    """Check, real, check again, real again; AWS is asked what is there."""
    planned = database(check=True, labels={"why": "release 3"})
    assert (planned["changed"], planned["backup"], database.snapshots()) == (True, None, {})
    made = database(labels={"why": "release 3"})
    assert made["actions"] == planned["actions"] == [f"take a snapshot of {database.name}"]
    assert made["diff"] == planned["diff"] and made.keys() == planned.keys()
    (row,) = database.snapshots().values()
    tags = {tag["Key"]: tag["Value"] for tag in row["TagList"]}
    assert (row["Status"], row["SnapshotType"], tags["mainstay:backup"], tags["mainstay:label:why"]) == ("available", "manual", database.name, "release 3")
    assert (made["backup"]["id"], made["backup"]["good"], made["backup"]["labels"]) == (row["DBSnapshotIdentifier"], True, {"why": "release 3"})
    assert made["phases"]["snapshot"] > 0 and made["recoverable_to"] == made["backup"]["recoverable_to"]
    for check in (True, False):
        again = database(check=check)
        assert (again["changed"], again["actions"], again["backup"]["id"]) == (False, [], row["DBSnapshotIdentifier"])
    assert database.take() != row["DBSnapshotIdentifier"] and len(database.snapshots()) == 2


def test_the_list_tells_what_can_be_brought_back(database: Database) -> None:
    """Ours only, and after the instance is gone as well; one that is asked for must exist."""
    empty = database.info()
    assert (empty["backups"], empty["latest"], empty["recoverable_to"], empty["instance_status"]) == ([], "", None, "available")
    first, second = database.take(), database.take()
    database.rds().create_db_snapshot(DBInstanceIdentifier=database.name, DBSnapshotIdentifier=f"{database.name}-by-hand")
    found = database.info()
    assert [row["id"] for row in found["backups"]] == [first, second]
    assert (found["latest"], found["latest_verified"], found["incomplete"]) == (second, "", [])
    assert found["recoverable_from"] <= found["recoverable_to"] and found["point_in_time_to"]
    assert [row["id"] for row in database.info(backup_id="latest")["backups"]] == [second]
    refused(database.info(backup_id="nobody"), "there is no snapshot nobody")
    until(lambda: not database.rds().describe_db_instances(DBInstanceIdentifier=database.name)["DBInstances"][0]["DBInstanceStatus"].startswith("back"), "it")
    database.rds().delete_db_instance(DBInstanceIdentifier=database.name, SkipFinalSnapshot=True)
    until(lambda: database.info()["instance_status"] == "", "the removal of the instance")
    assert [row["id"] for row in database.info()["backups"]] == [first, second]


def test_retention_removes_what_no_rule_keeps(database: Database) -> None:
    """With present after the snapshot, with pruned at once; the same in check mode; what others have made stays."""
    names = [database.take() for unused in range(3)]
    by_hand = f"{database.name}-by-hand"
    database.rds().create_db_snapshot(DBInstanceIdentifier=database.name, DBSnapshotIdentifier=by_hand)
    rules = {"keep_last": 2, "min_good": 1, "grace": "0"}
    planned = database(check=True, state="pruned", retention=rules)
    assert len(database.snapshots()) == 4
    pruned = database(state="pruned", retention=rules)
    assert pruned["actions"] == planned["actions"] == [f"remove snapshot {names[0]} from {REGION}"]
    assert (pruned["pruned"], pruned["diff"], [row["id"] for row in pruned["kept"]]) == ([names[0]], planned["diff"], names[1:])
    assert set(database.snapshots()) == {*names[1:], by_hand}
    assert not database(state="pruned", retention=rules)["changed"]
    planned, taken = database(check=True, max_age="0", retention=rules), database(max_age="0", retention=rules)
    assert taken["actions"] == planned["actions"] == [f"take a snapshot of {database.name}", f"remove snapshot {names[1]} from {REGION}"]
    assert taken["diff"] == planned["diff"] and taken["kept"] == planned["kept"]
    assert set(database.snapshots()) == {names[2], taken["backup"]["id"], by_hand}


def test_a_snapshot_is_removed_by_its_identifier(database: Database) -> None:
    """The rails hold, force lifts them; what is gone is gone, and a snapshot of others is refused."""
    names = [database.take() for unused in range(3)]
    refused(database(state="absent"), "must be named by its identifier")
    refused(database(state="absent", backup_id=names[2]), "it is the newest good one", "force=true")
    planned, removed = database(check=True, state="absent", backup_id=names[0]), database(state="absent", backup_id=names[0])
    assert removed["actions"] == planned["actions"] == [f"remove snapshot {names[0]} from {REGION}"]
    assert removed["pruned"] == [names[0]] and set(database.snapshots()) == set(names[1:])
    assert not database(state="absent", backup_id=names[0])["changed"]
    refused(database(state="absent", backup_id=names[1]), "1 good ones would be left, min_good is 2")
    assert database(state="absent", backup_id=names[2], force=True)["changed"]
    database.rds().create_db_snapshot(DBInstanceIdentifier=database.name, DBSnapshotIdentifier="by-hand")
    refused(database(state="absent", backup_id="by-hand", force=True), "it is not one of ours")
    assert set(database.snapshots()) == {names[1], "by-hand"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"db_instance_identifier": "nobody"}, ["there is no instance nobody in eu-central-1"]),
        ({"labels": {"a": "b,c"}}, ["the label a cannot be a tag"]),
        ({"max_age": "soon"}, ["soon"]),
        ({"poll_interval": 0}, ["poll_interval is 0"]),
        ({"state": "pruned", "retention": {"keep_last": -1}}, ["keep_last is -1"]),
        ({"copies": [{"region": REGION}]}, ["eu-central-1 is named twice"]),
        ({"state": "copied"}, ["copies is empty"]),
        ({"state": "copied", "copies": [{"region": STANDBY}]}, ["there is no good snapshot among 0 of ours"]),
    ],
)
def test_what_cannot_be_right_is_refused_first(running: Cloud, run_module: Runner, options: dict[str, t.Any], words: list[str]) -> None:
    """In words, and before a call that changes something."""
    database, before = Database(running, run_module, "refusals"), running.calls()
    refused(run_module("rds_backup", {**database.options(poll_interval=0.1), **options}), *words)
    changed = {name: count for name, count in (running.calls() - before).items() if name != "rds:AddTagsToResource" and "Describe" not in name}
    assert not changed


def test_lost_answers_and_throttling_make_no_second_snapshot(database: Database) -> None:
    """A snapshot of which the answer was lost is there once; a run that was cut off is gone on with."""
    database.cloud.fault("lost_reply", "rds", "CreateDBSnapshot")
    database.cloud.fault("throttle", "rds", "DescribeDBSnapshots", count=2)
    first = database.take()
    assert list(database.snapshots()) == [first]
    database.cloud.fault("error", "rds", "CreateDBSnapshot", status=403, code="AccessDenied")
    refused(database(max_age="0"), "AccessDenied", "give the role the permission for the call CreateDBSnapshot")
    assert list(database.snapshots()) == [first]


def test_a_snapshot_that_a_run_has_left_behind_is_waited_for(running: Cloud, run_module: Runner) -> None:
    """Its time is up before AWS is ready; the next run goes on with the same one."""
    database = Database(running, run_module, "patient")
    database.rds().create_db_instance(DBInstanceIdentifier="patient", **KIND)
    until(lambda: database.rds().describe_db_instances(DBInstanceIdentifier="patient")["DBInstances"][0]["DBInstanceStatus"] == "available", "it")
    running.control("set", snapshot=2500)
    try:
        refused(database(wait_timeout=1), "wait for the snapshot patient-", "it is creating", "after 1 s", "run it again")
        found = database.info()
        assert (len(found["incomplete"]), found["latest"]) == (1, "")
        made = database()
        assert (made["changed"], made["backup"]["id"]) == (False, found["incomplete"][0])
    finally:
        running.control("set", snapshot=30)
