# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of backups with an inventory of a platform on AWS, against the cloud of the tests."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import sys
import time
import typing as t

import pytest
import redis
import yaml
from aws_platform import Done, finish_playbook, start_playbook
from cloud import REGION, Cloud, cloud
from rds_job import PASSWORD, Database, make, place
from servers import Runner

SECONDS = 1200


@dataclasses.dataclass
class Platform:
    """A database and a cache, and an inventory that names them."""

    cloud: Cloud
    database: Database
    folder: pathlib.Path

    def __call__(self, playbook: str, *arguments: str, **more: t.Any) -> Done:
        """Run a playbook; nothing that it writes holds a password."""
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "aws_platform_name": self.database.name,
            "aws_platform_region": REGION,
            "aws_platform_access": {"endpoint_url": self.cloud.endpoint_url, "access_key": "AKIATEST", "secret_key": "SentinelAWS"},
            "backup_aws_poll_interval": 0.1,
            "backup_record_file": str(self.folder / "record.json"),
            "backup_aws_metrics_dir": str(self.folder),
            "backup_aws_cache_copies": [{"bucket": "shop-exports"}],
            "backup_aws_cache_trial": {"validate_certs": False, "verify_keys": ["entry"]},
            **more,
        }
        groups = {"app": {}, "postgres": {}, "dcs": {}, "redis": {}, "aws": {"hosts": {self.database.name: variables}}}
        kept = ("ansible_connection", "ansible_python_interpreter", "backup_record_file")
        record = {"localhost": {name: variables[name] for name in kept}}
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": record, "children": groups}}))
        done = finish_playbook(start_playbook(playbook, "-i", str(inventory), *arguments), SECONDS)
        assert PASSWORD not in done.output and "SentinelAWS" not in done.output
        return done

    def figures(self, part: str) -> dict[str, float]:
        """Return the figures for Prometheus of a part, by name and operation; they all have the labels of the platform."""
        found = {}
        for line in (self.folder / f"mainstay-backup-shop-{part}.prom").read_text().splitlines():
            if not line.startswith("#"):
                name, labels, number = re.fullmatch(r"mainstay_backup_(\w+)\{(.*)\} (\S+)", line).groups()
                assert labels.startswith(f'schedule="shop",name="shop",kind="{part}",method="snapshot"'), line
                operation = re.search('operation="(.*)"', labels)
                found[f"{operation[1]} {name}" if operation else name] = float(number)
        return found

    def record(self) -> dict[str, t.Any]:
        """Return what the last run has left."""
        return dict(json.loads((self.folder / "record.json").read_text()))


@pytest.fixture(scope="module")
def platform(run_module: Runner, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Platform]:
    """A platform with a real server behind its database."""
    with cloud(milliseconds=4) as running:
        database = make(running, run_module, "shop", server=True, **place(running, "private"))
        database.query("CREATE TABLE entries (number int); INSERT INTO entries VALUES (1), (2)")
        group = {"ReplicationGroupId": "shop", "ReplicationGroupDescription": "shop", "Engine": "valkey", "NumCacheClusters": 2}
        running.client("elasticache").create_replication_group(**group, CacheSubnetGroupName="private", SecurityGroupIds=["sg-1"])
        place_of_cache = running.control("cache", group="shop", password=PASSWORD)
        login = {"host": place_of_cache["address"], "password": PASSWORD, "ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False}
        redis.Redis(**login).set("entry", 1)
        running.client("s3").create_bucket(Bucket="shop-exports", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Platform(running, database, tmp_path_factory.mktemp("platform"))


def test_a_platform_is_backed_up_proven_listed_and_restored(platform: Platform) -> None:
    """The same playbooks and the same record as for hosts; a second run changes nothing; a restore asks first."""
    planned = platform("backup", "--check")
    assert planned.status == 0, planned.output
    assert platform.database.snapshots() == {} and not list(platform.folder.glob("*.json")) + list(platform.folder.glob("*.prom"))
    began = time.time()
    made = platform("backup")
    assert made.status == 0, made.output
    record, (snapshot,) = platform.record(), platform.database.snapshots()
    assert (record["operation"], set(record["parts"]), "aws" in record["phases"]) == ("backup", {"rds", "elasticache"}, True)
    assert (record["parts"]["rds"]["backup_id"], record["parts"]["rds"]["host"]) == (snapshot, "shop")
    assert record["parts"]["rds"]["actions"] == ["take a snapshot of shop"]
    assert record["parts"]["elasticache"]["actions"] == ["take a snapshot of shop", "copy the new snapshot to s3://shop-exports"]
    for part in ("rds", "elasticache"):
        seen = platform.figures(part)
        assert began - 1 < seen["newest_good_timestamp_seconds"] == seen["recoverable_to_timestamp_seconds"] < time.time()
        assert (seen["count"], seen["store_readable"], seen["late_after_seconds"], seen["backup last_run_success"]) == (1, 1, 108000, 1)
        assert (seen["newest_verified_timestamp_seconds"], seen["verify_late_after_seconds"]) == (0, 691200)
    again = platform("backup")
    assert again.status == 0 and [part["changed"] for part in platform.record()["parts"].values()] == [False, False], again.output
    queries = [{"database": "shop", "query": "SELECT count(*) FROM entries", "expect": "2"}]
    proven = platform("verify_backups", backup_postgres_queries=queries)
    assert proven.status == 0, proven.output
    result = platform.record()["parts"]["rds"]["verification"]
    assert (result["status"], result["details"]["databases"][1]["rows"], platform.database.trials()) == ("successful", 2, [])
    assert platform.record()["parts"]["elasticache"]["verification"]["details"]["keys"] == 1
    for part in ("elasticache", "rds"):
        seen = platform.figures(part)
        assert seen["newest_verified_timestamp_seconds"] > began and seen["verify last_run_success"] == 1 and seen["verify last_run_seconds"] > 0, seen
    (platform.folder / "mainstay-backup-shop-rds.prom").unlink()
    listed = platform("list_backups")
    assert {name: figure for name, figure in platform.figures("rds").items() if name != "metrics_timestamp_seconds"}.items() <= seen.items()
    assert listed.status == 0 and snapshot in listed.words and "verified 20" in listed.words, listed.output
    refused = platform("restore", backup_aws_target="shop-copy")
    assert refused.status != 0 and "say that it is meant" in refused.output and platform.database.instances() == ["shop"]
    taken = platform("restore", "-e", "confirm=restore")
    assert taken.status != 0 and "there is an instance shop already" in taken.output and platform.database.instances() == ["shop"]
    restored = platform("restore", "-e", "confirm=restore", backup_aws_target="shop-copy")
    assert restored.status == 0, restored.output
    assert platform.record()["parts"]["rds"]["restored"][0]["instance"] == "shop-copy"
    assert platform.database.query("SELECT count(*) FROM entries", "shop-copy") == [(2,)]


def test_what_cannot_be_read_is_told_by_the_figures(platform: Platform) -> None:
    """AWS does not let the snapshots be read: the list ends with that, and what was known stands still."""
    before = platform.figures("rds")
    platform.cloud.fault("error", "rds", "DescribeDBSnapshots", status=403, code="AccessDenied", count=99)
    done = platform("list_backups")
    platform.cloud.control("mend")
    after = platform.figures("rds")
    assert done.status != 0 and "the permission for the call DescribeDBSnapshots" in done.words, done.output
    assert (after["store_readable"], after["newest_good_timestamp_seconds"]) == (0, before["newest_good_timestamp_seconds"])


def test_what_fails_is_told_and_keeps_nothing_else_from_being_done(platform: Platform) -> None:
    """The database that is not there, and the cache that is."""
    done = platform("backup", "-e", "backup_max_age=0", backup_aws_database="nobody")
    assert done.status != 0 and "there is no instance nobody in eu-central-1" in done.output
    parts = platform.record()["parts"]
    assert (parts["rds"]["changed"], parts["elasticache"]["changed"]) == (False, True) and "nobody" in parts["rds"]["error"]
    assert 'name="nobody",kind="rds",method="snapshot",operation="backup"} 0' in (platform.folder / "mainstay-backup-shop-rds.prom").read_text()
    assert (platform.figures("elasticache")["backup last_run_success"], platform.figures("elasticache")["count"]) == (1, 2)
