# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""elasticache_backup and elasticache_backup_info against the cloud of the tests."""

from __future__ import annotations

import dataclasses
import importlib
import json
import typing as t

import pytest
import redis
from cloud import REGION, Cloud, cloud
from module_job import run_inside
from policies import compare, key_of
from postgres_cluster import until
from rds_job import refused

PASSWORD = "SentinelTokenOfTheSource"
TRIAL = {"state": "verified", "validate_certs": False}
"""The servers of the tests have certificates of nobody."""


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud(milliseconds=4) as started:
        yield started
        for module in ("elasticache_backup", "elasticache_backup_info"):
            compare(module, started.control("calls"), all_of_them=True)


@dataclasses.dataclass
class Cache:
    """A replication group, and the modules that work on its snapshots."""

    cloud: Cloud
    name: str

    def run(self, module: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run a module."""
        access = {"endpoint_url": self.cloud.endpoint_url, "access_key": key_of(module), "secret_key": "SentinelAWS", "region": REGION}
        code = importlib.import_module(f"ansible_collections.mainstay.ops.plugins.modules.{module}")
        output = run_inside(code, {**access, "replication_group_id": self.name, **more, "_ansible_check_mode": check})
        assert "SentinelAWS" not in output and PASSWORD not in output
        return {"failed": False, "changed": False, **json.loads(output)}

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run elasticache_backup."""
        result = self.run("elasticache_backup", check, **{"poll_interval": 0.1, **more})
        return {**result, "warnings": [warning["event"]["msg"] for warning in result.get("warnings", [])]}

    def info(self, **more: t.Any) -> dict[str, t.Any]:
        """Run the info module."""
        return self.run("elasticache_backup_info", **more)

    @property
    def client(self) -> t.Any:
        """A client."""
        return self.cloud.client("elasticache")

    def names(self) -> set[str]:
        """The manual snapshots as AWS tells of them."""
        return {row["SnapshotName"] for row in self.client.describe_snapshots(ReplicationGroupId=self.name)["Snapshots"]}

    def trials(self) -> list[str]:
        """The groups for trial that are not being removed."""
        rows = self.client.describe_replication_groups()["ReplicationGroups"]
        names = [row["ReplicationGroupId"] for row in rows if row["Status"] != "deleting"]
        return [name for name in names if name.startswith(f"{self.name[:25].rstrip('-')}-trial-")]

    def serve(self) -> redis.Redis:
        """Give the group a real server, and return a connection to it."""
        place = self.cloud.control("cache", group=self.name, password=PASSWORD)
        return redis.Redis(host=place["address"], port=place["port"], password=PASSWORD, ssl=True, ssl_cert_reqs="none", ssl_check_hostname=False)

    def bucket(self, name: str, region: str = REGION) -> str:
        """Make a bucket."""
        self.cloud.client("s3", region=region).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        return name

    def files(self, bucket: str) -> list[str]:
        """The files in a bucket."""
        return [row["Key"] for row in self.cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

    def take(self, **more: t.Any) -> str:
        """Take a snapshot with the module and return its name."""
        made = self(max_age="0", **more)
        assert made["changed"], made
        return str(made["backup"]["id"])


@pytest.fixture
def cache(running: Cloud, request: pytest.FixtureRequest) -> t.Iterator[Cache]:
    """A group of its own."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:35].rstrip("-")
    place = {"CacheSubnetGroupName": "private", "SecurityGroupIds": ["sg-1"], "EngineVersion": "7.2.6"}
    kind = {"ReplicationGroupDescription": name, "Engine": "valkey", "NumCacheClusters": 2, **place}
    running.client("elasticache").create_replication_group(ReplicationGroupId=name, **kind)
    yield Cache(running, name)
    running.control("mend")


def test_a_snapshot_is_taken_once(cache: Cache) -> None:
    """Check, real, check again, real again; AWS is asked what is there, and the list tells it after the group is gone as well."""
    planned = cache(check=True, labels={"why": "x"})
    assert (planned["changed"], planned["backup"], cache.names()) == (True, None, set())
    made = cache(labels={"why": "x"})
    assert made["actions"] == planned["actions"] == [f"take a snapshot of {cache.name}"]
    assert made["diff"] == planned["diff"] and made.keys() == planned.keys()
    (name,) = cache.names()
    backup = made["backup"]
    assert (backup["id"], backup["good"], backup["labels"], backup["group"], backup["engine"]) == (name, True, {"why": "x"}, cache.name, "valkey")
    assert made["recoverable_from"] == made["recoverable_to"] == backup["recoverable_to"] and made["seconds"] > 0 and "snapshot" in made["phases"]
    for check in (True, False):
        again = cache(check=check)
        assert (again["changed"], again["actions"], again["backup"]["id"]) == (False, [], name)
    cache.client.create_snapshot(ReplicationGroupId=cache.name, SnapshotName="by-hand")
    found = cache.info()
    assert ([row["id"] for row in found["backups"]], found["latest"], found["latest_verified"], found["incomplete"]) == ([name], name, "", [])
    assert found["recoverable_from"] == found["recoverable_to"] and found["group_status"] in ("available", "snapshotting")
    refused(cache.info(backup_id="nobody"), "there is no snapshot nobody")


def test_retention_and_removal(cache: Cache) -> None:
    """By the rules and by name; the rails hold; a snapshot of others stays."""
    names = [cache.take() for unused in range(3)]
    rules = {"keep_last": 2, "min_good": 1, "grace": "0"}
    planned, pruned = cache(check=True, state="pruned", retention=rules), cache(state="pruned", retention=rules)
    assert pruned["actions"] == planned["actions"] == [f"remove snapshot {names[0]} from {REGION}"] and pruned["diff"] == planned["diff"]
    assert (pruned["pruned"], [row["id"] for row in pruned["kept"]], cache.names()) == ([names[0]], names[1:], set(names[1:]))
    assert not cache(state="pruned", retention=rules)["changed"]
    refused(cache(state="absent", backup_id=names[2]), "it is the newest good one", "force=true")
    removed = cache(state="absent", backup_id=names[2], force=True)
    assert removed["actions"] == [f"remove snapshot {names[2]} from {REGION}"] and cache.names() == {names[1]}
    assert not cache(state="absent", backup_id=names[2], force=True)["changed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replication_group_id": "nobody"}, ["there is no replication group nobody in eu-central-1"]),
        ({"copies": [{"bucket": "nowhere"}]}, ["there is no such bucket"]),
        ({"copies": [{"bucket": "a"}, {"bucket": "a"}]}, ["s3://a is named twice"]),
        ({"state": "verified", "min_keys": -1}, ["min_keys is less than 0"]),
        ({"poll_interval": 0}, ["poll_interval is 0"]),
        ({"wait_timeout": -1}, ["wait_timeout is -1"]),
    ],
)
def test_what_cannot_be_right_is_refused_first(running: Cloud, options: dict[str, t.Any], words: list[str]) -> None:
    refused(Cache(running, "refusals")(**options), *words)


def test_a_lost_answer_makes_no_second_snapshot(cache: Cache) -> None:
    """And a permission that is missing is named."""
    cache.cloud.fault("lost_reply", "elasticache", "CreateSnapshot")
    assert cache.names() == set() and {cache.take()} == cache.names()
    cache.cloud.fault("error", "elasticache", "CreateSnapshot", status=403, code="AccessDenied")
    refused(cache(max_age="0"), "give the role the permission for the call CreateSnapshot")


def test_a_snapshot_is_proven_by_a_restore(cache: Cache) -> None:
    """To a group of its own with a password of its own, in the network of the source; the data is that of the snapshot, and the group is removed."""
    source = cache.serve()
    source.mset({"catalogue": "1", "a": "2"})
    source.hset("basket", "x", "1")
    name = cache.take()
    source.flushall()
    planned = cache(check=True, **TRIAL, verify_keys=["catalogue"])
    assert planned["actions"] == [f"restore snapshot {name} to a replication group for trial, check it, and remove the replication group"]
    assert cache.trials() == [] and cache.info()["latest_verified"] == ""
    made = cache(**TRIAL, verify_keys=["catalogue"], rto_target="1h")
    assert made["actions"] == planned["actions"] and made["diff"] == planned["diff"] and made.keys() == planned.keys(), made
    result, details = made["verification"], made["verification"]["details"]
    assert (result["status"], result["level"], details["keys"], details["types"]) == ("successful", "restore", 3, {"hash": 1, "string": 2}), made
    assert details["rto_met"] and details["rto_seconds"] > 0 and details["shards"] == 1 and details["server_versions"]
    assert set(made["phases"]) == {"restore", "connect", "check", "remove"} and cache.trials() == []
    assert cache.info()["latest_verified"] == name and cache.info()["backups"][0]["verified_at"] == result["at"]
    for check in (True, False):
        again = cache(check=check, **TRIAL, verify_keys=["catalogue"])
        assert (again["changed"], again["verification"]["status"]) == (False, "successful")
    refused(cache(state="absent", backup_id=name), "it is the newest good one", "the newest verified one")


def test_a_snapshot_that_lacks_something_is_not_good(cache: Cache) -> None:
    """Keys that must be there are not, or there are too few; the result is kept, and the group removed."""
    cache.serve().set("a", "1")
    name = cache.take()
    lacking = cache(**TRIAL, verify_keys=["a", "catalogue"])
    refused(lacking, "the keys catalogue are missing")
    assert (lacking["verification"]["status"], cache.trials(), cache.info()["latest"]) == ("failed", [], "")
    refused(cache(**TRIAL, backup_id=name, min_keys=2), "it holds 1 keys, and min_keys is 2")
    assert cache(**TRIAL, backup_id=name)["verification"]["status"] == "successful" and cache.info()["latest"] == name


def test_the_group_for_trial_is_removed_whatever_happens(cache: Cache) -> None:
    """A login that never succeeds, a call that is refused, and what a run that was cut off has left."""
    cache.serve().set("a", "1")
    cache.take()
    unknown = cache(state="verified", wait_timeout=2)
    refused(unknown, "log in to the replication group", "CERTIFICATE_VERIFY_FAILED", "run it where the cache's subnets can be reached")
    assert cache.trials() == []
    cache.cloud.fault("error", "elasticache", "CreateReplicationGroup", status=403, code="AccessDenied")
    refused(cache(**TRIAL), "the permission for the call CreateReplicationGroup")
    tags = [{"Key": "mainstay:trial-of", "Value": cache.name}, {"Key": "mainstay:trial-until", "Value": "2026-01-01T00:00:00Z"}]
    left, held = (f"{cache.name[:25].rstrip('-')}-trial-{word}" for word in ("left", "held"))
    for group, until_tag in ((left, tags[1]), (held, {**tags[1], "Value": "2999-01-01T00:00:00Z"})):
        cache.client.create_replication_group(ReplicationGroupId=group, ReplicationGroupDescription="x", Tags=[tags[0], until_tag])
    made = cache(**TRIAL)
    assert made["actions"][0] == f"remove the replication group {left}, which an earlier verification has left" and cache.trials() == [held], made
    assert any(f"another run is at the replication group {held}" in warning for warning in made["warnings"])
    cache.client.delete_replication_group(ReplicationGroupId=held)


def test_where_the_group_is_gone_its_place_is_asked_for(cache: Cache) -> None:
    """The snapshot tells no security groups; with them it is proven all the same."""
    cache.serve().set("a", "1")
    cache.take()
    cache.client.delete_replication_group(ReplicationGroupId=cache.name)
    until(lambda: cache.info()["group_status"] == "", "the end of the group")
    refused(cache(check=True, **TRIAL), "its group is gone", "give security_group_ids")
    assert cache(**TRIAL, security_group_ids=["sg-2"])["verification"]["status"] == "successful" and cache.trials() == []


def test_snapshots_are_exported_to_buckets(cache: Cache) -> None:
    """New ones and old ones, once, whatever answer is lost; retention and removal work there, and files of others stay."""
    cache.serve().set("a", "1")
    bucket = cache.bucket(f"{cache.name}-exports")
    copies = [{"bucket": bucket}]
    first = cache.take()
    planned = cache(check=True, state="copied", copies=copies)
    assert planned["actions"] == [f"copy snapshot {first} to s3://{bucket}"] and cache.files(bucket) == []
    cache.cloud.fault("lost_reply", "elasticache", "CopySnapshot")
    made = cache(state="copied", copies=copies)
    assert made["actions"] == planned["actions"] and made["diff"] == planned["diff"] and cache.files(bucket) == [f"{first}-0001.rdb"], made
    assert cache.cloud.client("s3").get_object(Bucket=bucket, Key=f"{first}-0001.rdb")["Body"].read(5) == b"REDIS"
    assert not cache(state="copied", copies=copies)["changed"] and not cache(copies=copies)["changed"]
    cache.cloud.client("s3").put_object(Bucket=bucket, Key=f"{cache.name}-by-hand.rdb", Body=b"x")
    second = cache.take(copies=copies, retention={"keep_last": 1, "min_good": 1, "grace": "0"})
    assert cache.names() == {second} and cache.files(bucket) == sorted([f"{second}-0001.rdb", f"{cache.name}-by-hand.rdb"])
    removed = cache(state="absent", backup_id=second, copies=copies, force=True)
    assert removed["actions"] == [f"remove snapshot {second} from {REGION}", f"remove snapshot {second} from s3://{bucket}"]
    assert cache.files(bucket) == [f"{cache.name}-by-hand.rdb"]


def test_what_elasticache_cannot_export_is_refused_first(cache: Cache) -> None:
    """To another region, and with data tiering; nothing was begun."""
    away = cache.bucket(f"{cache.name[:30]}-away", "eu-west-1")
    refused(cache(copies=[{"bucket": away}]), "it is in eu-west-1", "to buckets in its own region only", "have S3 replicate it to eu-west-1")
    tiered = Cache(cache.cloud, "tiered")
    kind = {"ReplicationGroupDescription": "x", "Engine": "valkey", "DataTieringEnabled": True}
    cache.client.create_replication_group(ReplicationGroupId="tiered", **kind)
    bucket = cache.bucket("tiered-exports")
    refused(tiered(copies=[{"bucket": bucket}]), "exports nothing of groups with data tiering")
    tiered.take()
    refused(tiered(state="copied", copies=[{"bucket": bucket}]), "exports nothing of groups with data tiering", "redis_snapshot")
    assert cache.names() == set() and cache.files(bucket) == []
