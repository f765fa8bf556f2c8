# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site on AWS takes over: its replica in RDS is promoted, its services on ECS are scaled, and the name moves; in the cloud of the tests."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import typing as t

import playbooks
import pytest
from cloud import REGION, Cloud, Site, cloud, site
from postgres_cluster import until
from rds_job import PASSWORD, Database, make
from servers import Runner

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
NAME, OLD, NEW = "shop.dr.test", "192.0.2.1", "192.0.2.2"


@dataclasses.dataclass
class Region:
    """What the site that takes over has, and the playbook that lets it."""

    cloud: Cloud
    web: Site
    replica: Database
    folder: pathlib.Path

    def write_inventory(self) -> None:
        """Write it; the hosts of both sites are this one."""
        host, port = self.web.address
        page = {"name": "the page", "type": "http", "url": f"http://{host}:{port}/"}
        name = {"name": "the name", "type": "dns", "host": "127.0.0.1", "port": self.cloud.dns_port, "record": NAME, "answers": [NEW]}
        given = {
            **LOCAL,
            "site_failover_aws": {"endpoint_url": self.cloud.endpoint_url, "access_key": "test", "secret_key": "SentinelAWS", "region": REGION},
            "site_failover_rds": {"db_instance_identifier": self.replica.name, "login_password": PASSWORD, "poll_interval": 0.1},
            "site_failover_ecs": [{"cluster": self.web.cluster, "services": ["web-blue", "web-green"], "desired_count": 3, "poll_interval": 0.2}],
            "site_failover_checks": [page],
            "site_failover_verify_checks": [page, name],
            "site_failover_dns": [
                {
                    **{"zone": "dr.test", "name": NAME, "method": "weighted", "ttl": 1, "require_healthy": False, "verify": "authoritative"},
                    **{"primary": {"addresses": [OLD]}, "secondary": {"addresses": [NEW]}, "sides": {"site_a": "primary", "site_b": "secondary"}},
                    "name_servers": [f"127.0.0.1:{self.cloud.dns_port}"],
                }
            ],
            "site_failover_record_dir": str(self.folder / "record"),
            "site_failover_report_dir": str(self.folder / "report"),
        }
        children = {"site_a": {"hosts": {"a1": {}}}, "site_b": {"hosts": {"b1": {}}}}
        path = self.folder / "hosts.json"
        path.touch(0o600)
        path.write_text(json.dumps({"all": {"vars": given, "children": children}}))

    def fail_over(self, *arguments: str) -> tuple[int, str]:
        """Let it take over; return the status of the playbook and what it said, without line breaks."""
        sites = ("-e", "site_failover_from=site_a", "-e", "site_failover_to=site_b")
        environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PWD": str(self.folder)}
        done = playbooks.run("dr_failover", *sites, *arguments, inventory=self.folder / "hosts.json", cwd=self.folder, **environment)
        output = done.stdout + done.stderr
        assert PASSWORD not in output and "SentinelAWS" not in output
        return done.returncode, " ".join(output.split())

    def lose_source(self) -> None:
        """Have nothing arrive at the replica any more."""
        for statement in ("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"):
            self.cloud.control("sql", instance=self.replica.name, statement=statement)
        until(lambda: lag(self.replica) == -1, "a replica that does not follow")


def lag(replica: Database) -> float | None:
    """The newest figure that CloudWatch has of a replica, in whole seconds."""
    found = replica.module("rds_promote", check=True, force=True)["lag_seconds"]
    return found if found is None else round(found)


@pytest.fixture
def region(run_module: Runner, tmp_path: pathlib.Path) -> t.Iterator[Region]:
    """The database of site a has a replica that follows; the application of site b has two tasks, and the name leads nowhere yet."""
    with cloud() as running, site(running, "web") as web:
        web.service("web-blue", "app:1", web.blue)
        web.service("web-green", "app:2", web.green, count=0)
        web.wait_healthy(web.blue)
        source = make(running, run_module, "shop", server=True)
        source.query("CREATE TABLE entries (number int); INSERT INTO entries VALUES (1)")
        replica = Database(running, run_module, "shop-b")
        replica.rds().create_db_instance_read_replica(DBInstanceIdentifier=replica.name, SourceDBInstanceIdentifier=source.name)
        replica.wait()
        until(lambda: lag(replica) in (0, 1), "a replica that follows")
        running.client("route53").create_hosted_zone(Name="dr.test", CallerReference="test")
        found = Region(running, web, replica, tmp_path)
        found.write_inventory()
        yield found


def test_a_region_takes_over(region: Region) -> None:
    """Refused as long as the source sends, and as planned; planned without a change; done once; the report says what was lost only if AWS does."""
    confirmed = ("-e", "site_failover_confirm=site_b")
    status, output = region.fail_over(*confirmed)
    assert status != 0 and "the database of site_a still sends to its replica shop-b, so it may take writes" in output, output[-3000:]
    status, output = region.fail_over(*confirmed, "-e", "site_failover_planned=true")
    assert status != 0 and "both are for a site that is lost, not for a planned change" in output, output[-3000:]
    region.lose_source()
    status, output = region.fail_over("--check")
    assert status == 0 and "promote the replica shop-b of shop" in output and "scale web-blue from 2 to 3 tasks" in output, output[-3000:]
    assert region.replica.row()["ReadReplicaSourceDBInstanceIdentifier"] == "shop" and region.web.describe("web-blue")["desiredCount"] == 2
    status, output = region.fail_over(*confirmed)
    assert status == 0 and "Recovery point not known" in output, output[-3000:]
    assert not region.replica.row().get("ReadReplicaSourceDBInstanceIdentifier")
    region.replica.query("INSERT INTO entries VALUES (2)")
    assert region.web.describe("web-blue")["runningCount"] == 3 and region.web.describe("web-green")["desiredCount"] == 0
    assert region.cloud.addresses(NAME) == [NEW]
    report = json.loads((region.folder / "report/report.json").read_text(encoding="utf-8"))
    assert "RDS: a write to shop-b was tried and accepted" in [check["name"] for check in report["checks"]]
    assert report["lost"] == ["rds lag seconds: not known"] and report["rto_seconds"] > 0 and "rpo_seconds" not in report
    record = json.loads((region.folder / "record/record.json").read_text(encoding="utf-8"))
    assert [action for action in record["actions"] if "shop-b" in action or "web-" in action] == [
        "promote the replica shop-b of shop",
        "scale web-blue from 2 to 3 tasks",
    ]
