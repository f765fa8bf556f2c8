# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rds_backup and rds_backup_info against the cloud of the tests."""

from __future__ import annotations

import signal
import typing as t

import psycopg2
import pytest
from cloud import REGION, Cloud, cloud
from policies import compare
from postgres_cluster import until
from rds_job import STANDBY, Database, make, place, refused
from servers import Runner, newest_postgresql


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud(milliseconds=4) as started:
        yield started
        for module in ("rds_backup", "rds_backup_info"):
            compare(module, started.control("calls"))


@pytest.fixture
def database(running: Cloud, run_module: Runner, request: pytest.FixtureRequest) -> t.Iterator[Database]:
    """An instance of its own, available."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:50].rstrip("-")
    yield make(running, run_module, name)
    running.control("mend")


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
    database.wait()
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
    database = Database(running, run_module, "refusals")
    before = database.changes()
    refused(database.module("rds_backup", **{"poll_interval": 0.1, **options}), *words)
    assert not database.changes() - before


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
    database = make(running, run_module, "patient")
    running.control("set", snapshot=2500)
    try:
        refused(database(wait_timeout=1), "wait for the snapshot patient-", "it is creating", "after 1 s", "run it again")
        found = database.info()
        assert (len(found["incomplete"]), found["latest"]) == (1, "")
        made = database()
        assert (made["changed"], made["backup"]["id"]) == (False, found["incomplete"][0])
    finally:
        running.control("set", snapshot=30)


@pytest.fixture(scope="module")
def shop(running: Cloud, run_module: Runner) -> Database:
    """A shop with a real server: three customers and four orders, and a table of a role that the master user is no member of."""
    found = make(running, run_module, "shop", server=True, MultiAZ=True, DeletionProtection=True, **place(running, "private"))
    found.query(
        """
        CREATE TABLE customers (number int PRIMARY KEY, name text);
        CREATE TABLE orders (number int PRIMARY KEY, customer int REFERENCES customers, city text) PARTITION BY RANGE (number);
        CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (100);
        CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (100) TO (200);
        INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 3) n;
        INSERT INTO orders VALUES (1, 1), (2, 2), (101, 3), (102, NULL);
        CREATE ROLE reporter; GRANT reporter TO app; GRANT ALL ON SCHEMA public TO reporter;
        CREATE TABLE reports (day date); INSERT INTO reports VALUES ('2026-11-28'); ALTER TABLE reports OWNER TO reporter; REVOKE reporter FROM app;
        """
    )
    return found


QUERIES = [{"database": "shop", "query": "SELECT count(*) > 2 FROM customers", "expect": "true"}]


def test_a_snapshot_is_proven_by_a_restore(shop: Database) -> None:
    """Every row is read, also those of others, as of the snapshot; nothing stays but the result; a second run has nothing to do."""
    snapshot = shop.take()
    shop.query("INSERT INTO orders VALUES (3, 3)")
    planned = shop(check=True, state="verified", verify_queries=QUERIES)
    before = shop.changes()
    made = shop(state="verified", verify_queries=QUERIES, rto_target="0", rpo_target="1h")
    words = [f"restore snapshot {snapshot} to an instance for trial, check it, and remove the instance"]
    assert made["actions"] == planned["actions"] == words and made["diff"] == planned["diff"] and planned.keys() <= made.keys()
    result, (database, empty) = made["verification"], made["verification"]["details"]["databases"][::-1]
    assert (result["status"], result["level"], database["name"], database["tables"], database["rows"]) == ("successful", "restore", "shop", 4, 8)
    assert database["row_counts"] == {"public.customers": 3, "public.orders_1": 2, "public.orders_2": 2, "public.reports": 1}
    assert (database["foreign_keys"], empty["name"], empty["tables"]) == (1, "postgres", 0)
    assert result["details"]["verify_queries"] == [{**QUERIES[0], "found": "true"}]
    assert result["details"]["server_version"].startswith(f"{newest_postgresql().split('/')[4]}.")
    assert (result["details"]["rto_met"], result["details"]["rpo_met"]) == (False, True) and "rto_target is missed" in str(made["warnings"])
    assert set(result["phases"]) == {"restore", "connect", "check", "remove"} and result["details"]["rto_seconds"] > 0
    assert shop.trials() == [] and (shop.changes() - before)["rds:DeleteDBInstance"] == 1
    assert (made["backup"]["verified"], shop.info()["latest_verified"]) == (True, snapshot)
    for check in (True, False):
        again = shop(check=check, state="verified", verify_queries=QUERIES)
        assert (again["changed"], again["actions"], again["verification"]["status"]) == (False, [], "successful")
    assert shop(check=True, state="verified")["changed"] and shop(check=True, state="verified", verify_queries=QUERIES, max_age="0")["changed"]


def test_what_is_broken_in_a_snapshot_is_found(shop: Database) -> None:
    """Orphans, and a query that answers otherwise: the instance is gone, the tag says it, and the snapshot is no good one any more."""
    shop.query("ALTER TABLE customers DISABLE TRIGGER USER")
    broken = "SET session_replication_role = replica"
    with pytest.raises(psycopg2.Error):
        shop.query(broken)  # the master user of RDS may not; AWS's own can
    shop.cloud.control("sql", instance="shop", database="shop", statement=f"{broken}; DELETE FROM customers WHERE number = 2")
    snapshot = shop.take()
    shop.query("INSERT INTO customers VALUES (2, 'customer 2')")
    failed = shop(state="verified")
    refused(failed, f"verify snapshot {snapshot}", "check the foreign keys of shop", "1 rows of public.orders have no public.customers (orders_customer_fkey)")
    assert (failed["verification"]["status"], shop.trials()) == ("failed", [])
    found = {row["id"]: row for row in shop.info()["backups"]}
    assert (found[snapshot]["good"], found[snapshot]["problem"]) == (False, "its newest verification failed")
    good = shop.take()
    wrong = [{**QUERIES[0], "expect": "false"}]
    refused(shop(state="verified", verify_queries=wrong), f"verify snapshot {good}", "it answered 'true', 'false' is expected")
    refused(shop(state="verified", verify_queries=[{**QUERIES[0], "database": "nobody"}], backup_id=good), "there is no database nobody")
    assert shop.trials() == []
    assert shop(state="verified", backup_id=good)["verification"]["status"] == "successful"


def test_the_instance_for_trial_is_removed_whatever_happens(shop: Database) -> None:
    """AWS that refuses in the middle, a module that is ended, and one that is killed, whose instance the next run removes once its time is over."""
    shop.take()
    shop.cloud.fault("error", "rds", "ModifyDBInstance", status=403, code="AccessDenied")
    refused(shop(state="verified"), "change the instance shop-trial-", "AccessDenied")
    assert shop.trials() == []
    options = shop.options(poll_interval=0.1, state="verified", max_age="0")
    ended = shop.run.start("rds_backup", options)
    until(shop.trials, "an instance for trial")
    ended.send_signal(signal.SIGTERM)
    refused(shop.run.finish(ended), "work on the snapshots of shop", "SIGTERM")
    assert shop.trials() == []
    killed = shop.run.start("rds_backup", options)
    (left,) = until(shop.trials, "an instance for trial")
    killed.kill()
    killed.communicate()
    made = shop(state="verified", max_age="0", check=True)
    assert f"another run is at the instance {left}" in str(made["warnings"]) and len(made["actions"]) == 1
    shop.rds().add_tags_to_resource(ResourceName=shop.row(left)["DBInstanceArn"], Tags=[{"Key": "mainstay:trial-until", "Value": "2026-01-01T00:00:00Z"}])
    made = shop(state="verified", max_age="0")
    assert made["actions"][0] == f"remove the instance {left}, which an earlier verification has left" and shop.trials() == []


def test_an_instance_that_cannot_be_removed_is_told_of(shop: Database) -> None:
    """With the command that does it; the result of the trial is kept."""
    snapshot = shop.take()
    shop.cloud.fault("error", "rds", "DeleteDBInstance", status=403, code="AccessDenied", count=10)
    failed = shop(state="verified")
    shop.cloud.control("mend")
    (left,) = shop.trials()
    refused(failed, f"remove the instance {left}", "AccessDenied", f"aws rds delete-db-instance --db-instance-identifier {left} --skip-final-snapshot")
    assert shop.info()["latest_verified"] == snapshot
    shop.rds().delete_db_instance(DBInstanceIdentifier=left, SkipFinalSnapshot=True)


def test_without_a_way_to_the_instance_nothing_is_said_of_the_snapshot(shop: Database) -> None:
    """It is neither good nor bad: the place where it was tried is at fault."""
    snapshot = shop.take()
    failed = shop(state="verified", ssl_mode="verify-full", ca_cert="/etc/ssl/certs/ca-certificates.crt", wait_timeout=2)
    refused(failed, "log in to the instance shop-trial-", "after 2 s", "run it where the database's subnets can be reached")
    found = next(row for row in shop.info()["backups"] if row["id"] == snapshot)
    assert (found["good"], found["verified"], shop.trials()) == (True, False, [])


def test_a_source_without_a_network_needs_options(database: Database) -> None:
    """In the default network an instance for trial would be of no use, and perhaps open."""
    database.take()
    refused(database(state="verified"), "the source instance is in no network of its own", "give db_subnet_group_name")


def test_a_snapshot_becomes_a_new_instance(shop: Database) -> None:
    """With the network of the source, its two zones and its protection; a second run finds it; one of that name is never touched unasked."""
    snapshot = shop.take()
    options = {"state": "restored", "target_db_instance_identifier": "shop-copy", "deletion_protection": False}
    planned, made = shop(check=True, **options), shop(**options)
    assert made["actions"] == planned["actions"] == [f"restore snapshot {snapshot} to the new instance shop-copy"] and made["diff"] == planned["diff"]
    source, row = shop.row(), shop.row("shop-copy")
    assert row["DBSubnetGroup"]["DBSubnetGroupName"] == "private" and row["VpcSecurityGroups"] == source["VpcSecurityGroups"]
    assert (row["MultiAZ"], row["DeletionProtection"], row.get("PubliclyAccessible", False)) == (True, False, False)
    (told,) = made["restored"]
    assert told == {"instance": "shop-copy", "snapshot": snapshot, "aside": "", "address": row["Endpoint"]["Address"], "port": 5432}
    assert shop.query("SELECT count(*) FROM customers", "shop-copy") == [(3,)]
    assert not shop(**options)["changed"] and not shop(check=True, **options)["changed"]
    before = shop.changes()
    refused(shop(**{**options, "target_db_instance_identifier": "shop"}), "there is an instance shop already", "on_existing=rename")
    assert not shop.changes() - before


def test_a_restored_instance_takes_the_name_of_an_old_one(shop: Database) -> None:
    """The old one stays aside with its data; a run that was cut off between the renames is gone on with."""
    snapshot = shop.take()
    shop.query("INSERT INTO customers VALUES (99, 'later')")
    options = {"state": "restored", "target_db_instance_identifier": "shop", "on_existing": "rename"}
    word = snapshot[-6:]
    planned = shop(check=True, **options)
    assert planned["actions"] == [
        f"restore snapshot {snapshot} to the new instance shop-restored-{word}",
        f"rename the instance shop to shop-before-{word}",
        f"rename the instance shop-restored-{word} to shop",
    ]
    shop.cloud.fault("error", "rds", "ModifyDBInstance", status=403, code="AccessDenied", skip=1)
    refused(shop(**options), f"change the instance shop-restored-{word}", "AccessDenied")
    assert {f"shop-before-{word}", f"shop-restored-{word}"} <= set(shop.instances()) and "shop" not in shop.instances()
    rest = shop(**options)
    assert rest["actions"] == planned["actions"][2:]
    assert shop.query("SELECT count(*) FROM customers WHERE number = 99") == [(0,)]
    assert shop.query("SELECT count(*) FROM customers WHERE number = 99", f"shop-before-{word}") == [(1,)]
    assert not shop(**options)["changed"]


def test_a_copy_is_proven_and_restored_in_the_second_region(shop: Database) -> None:
    """A copy has the tags and the moment of its source; it is brought once, and works without the instance; retention and removal reach it."""
    copies = [{"region": STANDBY}]
    planned, made = shop(check=True, max_age="0", copies=copies), shop(max_age="0", copies=copies)
    assert made["actions"] == planned["actions"] == ["take a snapshot of shop", f"copy the new snapshot to {STANDBY}"] and made["diff"] == planned["diff"]
    snapshot = made["backup"]["id"]
    assert list(shop.snapshots(STANDBY)) == [snapshot]
    assert shop.snapshots(STANDBY)[snapshot]["TagList"] == shop.snapshots()[snapshot]["TagList"]
    assert shop.info(region=STANDBY)["backups"][0]["recoverable_to"] == made["backup"]["recoverable_to"]
    assert not shop(copies=copies)["changed"] and not shop(state="copied", copies=copies)["changed"]
    without = "give db_instance_class, db_subnet_group_name, vpc_security_group_ids"
    refused(shop(state="verified", region=STANDBY), "there is no source instance in this region", without)
    there = place(shop.cloud, "standby", STANDBY)
    network = {"db_subnet_group_name": there["DBSubnetGroupName"], "vpc_security_group_ids": there["VpcSecurityGroupIds"], "db_instance_class": "db.t4g.small"}
    proven = shop(state="verified", region=STANDBY, **network)
    assert (proven["verification"]["status"], shop.info(region=STANDBY)["latest_verified"]) == ("successful", snapshot)
    later = shop.take()
    planned, brought = shop(check=True, state="copied", copies=copies), shop(state="copied", copies=copies)
    assert brought["actions"] == planned["actions"] == [f"copy snapshot {later} to {STANDBY}"] and set(shop.snapshots(STANDBY)) == {snapshot, later}
    removed = shop(state="absent", backup_id=snapshot, copies=copies, force=True)
    assert removed["actions"] == [f"remove snapshot {snapshot} from {REGION}", f"remove snapshot {snapshot} from {STANDBY}"]
    assert list(shop.snapshots(STANDBY)) == [later]


def test_a_copy_of_an_encrypted_snapshot_needs_a_key_of_its_region(running: Cloud, run_module: Runner) -> None:
    """Before a snapshot is taken."""
    database = make(running, run_module, "sealed", StorageEncrypted=True)
    refused(database(copies=[{"region": STANDBY}]), "copy the new snapshot", "eu-west-1 needs another one", "copies[].kms_key_id")
    assert database.snapshots() == {}
    key = running.client("kms", region=STANDBY).create_key()["KeyMetadata"]["Arn"]
    made = database(copies=[{"region": STANDBY, "kms_key_id": key}])
    (row,) = database.snapshots(STANDBY).values()
    assert (row["Encrypted"], row["KmsKeyId"], row["DBSnapshotIdentifier"]) == (True, key, made["backup"]["id"])
    refused(database(state="copied", copies=[{"region": "eu-north-1", "kms_key_id": key}]), "copy the snapshot sealed-", "KMSKeyNotAccessible")
