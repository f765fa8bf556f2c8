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
from cloud import REGION, Cloud, cloud
from module_job import run_inside
from policies import compare, key_of
from rds_job import refused


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
        assert "SentinelAWS" not in output
        return {"failed": False, "changed": False, **json.loads(output)}

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run elasticache_backup."""
        return self.run("elasticache_backup", check, **{"poll_interval": 0.1, **more})

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

    def take(self) -> str:
        """Take a snapshot with the module and return its name."""
        made = self(max_age="0")
        assert made["changed"], made
        return str(made["backup"]["id"])


@pytest.fixture
def cache(running: Cloud, request: pytest.FixtureRequest) -> t.Iterator[Cache]:
    """A group of its own."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:35].rstrip("-")
    running.client("elasticache").create_replication_group(ReplicationGroupId=name, ReplicationGroupDescription=name, Engine="valkey", NumCacheClusters=2)
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
