# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of RDS in the cloud of the tests, some with a real server behind them, and the modules that work on them."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import json
import typing as t

import psycopg2
from cloud import REGION, Cloud
from module_job import run_inside
from policies import key_of
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
    "DBName": "shop",
}


@dataclasses.dataclass
class Database:
    """An instance of RDS, and the modules that work on it."""

    cloud: Cloud
    run: Runner
    name: str

    def options(self, module: str = "rds_backup", **more: t.Any) -> dict[str, t.Any]:
        """The options that every module has."""
        access = {"endpoint_url": self.cloud.endpoint_url, "access_key": key_of(module), "secret_key": "SentinelAWS", "region": REGION}
        return {**access, "db_instance_identifier": self.name, **more}

    def module(self, module: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run a module; no result holds a password."""
        code = importlib.import_module(f"ansible_collections.mainstay.ops.plugins.modules.{module}")
        result = {"failed": False, "changed": False, **json.loads(run_inside(code, {**self.options(module, **more), "_ansible_check_mode": check}))}
        assert PASSWORD not in json.dumps(result) and "SentinelAWS" not in json.dumps(result)
        return result

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run rds_backup."""
        return self.module("rds_backup", check, poll_interval=0.1, **more)

    def info(self, **more: t.Any) -> dict[str, t.Any]:
        """Run the info module."""
        return self.module("rds_backup_info", **more)

    def rds(self, region: str = REGION) -> t.Any:
        """A client."""
        return self.cloud.client("rds", region=region)

    def row(self, name: str = "", region: str = REGION) -> dict[str, t.Any]:
        """What AWS tells of this instance, or of another one."""
        return dict(self.rds(region).describe_db_instances(DBInstanceIdentifier=name or self.name)["DBInstances"][0])

    def wait(self, name: str = "", region: str = REGION) -> None:
        """Wait until an instance is available."""
        until(lambda: self.row(name, region)["DBInstanceStatus"] == "available", f"the instance {name or self.name}")

    def snapshots(self, region: str = REGION) -> dict[str, dict[str, t.Any]]:
        """The manual snapshots as AWS tells of them, by identifier."""
        found = self.rds(region).describe_db_snapshots(DBInstanceIdentifier=self.name, SnapshotType="manual")["DBSnapshots"]
        return {row["DBSnapshotIdentifier"]: row for row in found}

    def take(self, **more: t.Any) -> str:
        """Take a snapshot with the module and return its identifier."""
        made = self(max_age="0", **more)
        assert made["changed"], made
        return str(made["backup"]["id"])

    def query(self, statement: str, name: str = "", password: str = PASSWORD) -> list[tuple[t.Any, ...]]:
        """Run statements at the server of this instance, or of another one, as the master user."""
        connection = psycopg2.connect(host=self.row(name)["Endpoint"]["Address"], port=5432, user="app", password=password, dbname="shop", sslmode="require")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def instances(self) -> list[str]:
        """The instances that are not being removed and whose names begin with this one's."""
        found = self.rds().describe_db_instances()["DBInstances"]
        names = [row["DBInstanceIdentifier"] for row in found if row["DBInstanceStatus"] != "deleting"]
        return sorted(name for name in names if name.startswith(self.name))

    def trials(self) -> list[str]:
        """The instances for trial."""
        return [name for name in self.instances() if "-trial-" in name]

    def changes(self) -> collections.Counter[str]:
        """How often each call of RDS that changes something was made."""
        return collections.Counter({name: count for name, count in self.cloud.calls().items() if name.startswith("rds:") and "Describe" not in name})


def make(running: Cloud, run: Runner, name: str, server: bool = False, **more: t.Any) -> Database:
    """Make an instance and return it once it is available.

    Args:
        running: the cloud.
        run: runs modules.
        name: its identifier.
        server: whether it has a real server.
        more: further options of the call that makes it.
    """
    found = Database(running, run, name)
    found.rds().create_db_instance(DBInstanceIdentifier=name, **KIND, **more)
    found.wait()
    if server:
        running.control("database", instance=name)
    return found


def place(running: Cloud, name: str, region: str = REGION) -> dict[str, t.Any]:
    """Make a private network for databases; return the options of an instance in it."""
    ec2 = running.client("ec2", region=region)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{region}{'ab'[number]}") for number in (0, 1)]
    subnets = [row["Subnet"]["SubnetId"] for row in made]
    running.client("rds", region=region).create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription=name, SubnetIds=subnets)
    group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    return {"DBSubnetGroupName": name, "VpcSecurityGroupIds": [group]}


def refused(result: dict[str, t.Any], *words: str) -> None:
    """The result is a failure whose sentence has the words."""
    assert result["failed"] and result["msg"].startswith("could not "), result
    for word in words:
        assert word in result["msg"], result["msg"]
