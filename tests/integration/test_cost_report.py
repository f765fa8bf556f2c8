# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost report on moto's server: an account in which somebody forgot a few things."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import typing as t

import boto3
import playbooks
import pytest
import yaml
from servers import Runner, S3Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = "eu-north-1"
"""A region that no other test uses: the server is shared."""
EMPTY_REGION = "eu-south-1"


def prices() -> dict[str, t.Any]:
    """The table that the role reckons with."""
    platform = yaml.safe_load((ROOT / "roles/aws_platform/vars/main/sizes.yml").read_text())["__aws_platform_prices"]
    return {**platform, **yaml.safe_load((ROOT / "roles/reports/vars/main.yml").read_text())["__reports_prices"]}


def client(server: S3Server, service: str) -> t.Any:
    """A client of the account."""
    login = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    return boto3.client(service, endpoint_url=server.endpoint_url, region_name=REGION, **login)


def measured(server: S3Server, namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
    """Put points of the last day into CloudWatch."""
    now = datetime.datetime.now(datetime.timezone.utc)
    told = [{"Name": key, "Value": content} for key, content in dimensions.items()]
    data = [{"MetricName": name, "Dimensions": told, "Timestamp": now - datetime.timedelta(hours=hour), "Value": value} for hour in (2, 10, 20)]
    client(server, "cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


@dataclasses.dataclass(frozen=True)
class Account:
    """What was made."""

    server: S3Server
    names: dict[str, str]


@pytest.fixture(scope="module")
def account(s3_server: S3Server) -> Account:
    """Two of each kind: one that is used, and one that is not."""
    ec2, elb, rds = (client(s3_server, service) for service in ("ec2", "elbv2", "rds"))
    names = {}
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for name, cpu in (("busy", 80.0), ("bored", 1.0)):
        names[name] = ec2.run_instances(ImageId=image, InstanceType="t3.medium", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        measured(s3_server, "AWS/EC2", "CPUUtilization", {"InstanceId": names[name]}, cpu)
    names["volume"] = ec2.create_volume(Size=100, AvailabilityZone=f"{REGION}a", VolumeType="gp3")["VolumeId"]
    names["snapshot"] = ec2.create_snapshot(VolumeId=names["volume"])["SnapshotId"]
    names["address"] = ec2.allocate_address(Domain="vpc")["AllocationId"]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    names["balancer"] = elb.create_load_balancer(Name="forgotten", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    names["nat"] = ec2.create_nat_gateway(SubnetId=subnets[0], AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])["NatGateway"]["NatGatewayId"]
    measured(s3_server, "AWS/NATGateway", "BytesOutToDestination", {"NatGatewayId": names["nat"]}, 0.0)
    for name, connections, cpu in (("ledger", 20.0, 5.0), ("trial", 0.0, 1.0)):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.m6g.large",
            Engine="postgres",
            AllocatedStorage=100,
            MasterUsername="u",
            MasterUserPassword="Sentinel-1",
        )
        measured(s3_server, "AWS/RDS", "DatabaseConnections", {"DBInstanceIdentifier": name}, connections)
        measured(s3_server, "AWS/RDS", "CPUUtilization", {"DBInstanceIdentifier": name}, cpu)
    logs = client(s3_server, "logs")
    logs.create_log_group(logGroupName="/shop/web")
    logs.create_log_group(logGroupName="/shop/kept")
    logs.put_retention_policy(logGroupName="/shop/kept", retentionInDays=30)
    ecs = client(s3_server, "ecs")
    ecs.create_cluster(clusterName="shop")
    ecs.register_task_definition(family="web", cpu="1024", memory="2048", containerDefinitions=[{"name": "web", "image": "web"}])
    ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=3)
    for name in ("CPUUtilization", "MemoryUtilization"):
        measured(s3_server, "AWS/ECS", name, {"ClusterName": "shop", "ServiceName": "web"}, 5.0)
    return Account(s3_server, names)


def options(account: Account, **more: t.Any) -> dict[str, t.Any]:
    """A report on that region, in which nothing counts as young."""
    server = account.server
    login = {"endpoint_url": server.endpoint_url, "access_key": server.access_key, "secret_key": server.secret_key, "region": REGION}
    return {**login, "prices": prices(), "limits": {"young_days": 0.0, "snapshot_days": 0.0}, **more}


def test_what_nobody_uses_is_found(run_module: Runner, account: Account) -> None:
    """Each thing that was forgotten, with its price; and nothing that is used."""
    result = run_module("cost_report", options(account))
    assert not result["failed"], result
    report, names = result["report"], account.names
    found = {(entry["kind"], entry["id"]): entry for entry in report["findings"]}
    saved = {
        ("volume", names["volume"]): ("unattached", 8.0),
        ("snapshot", names["snapshot"]): ("old", 5.0),
        ("address", names["address"]): ("unattached", 3.65),
        ("balancer", names["balancer"]): ("unattached", 16.43),
        ("nat_gateway", names["nat"]): ("idle", 32.85),
        ("instance", names["bored"]): ("idle", 30.37),
        ("database", "trial"): ("idle", 127.57),
        ("database", "ledger"): ("oversized", 58.03),
        ("log_group", "/shop/web"): ("unbounded", 0.0),
    }
    for key, (reason, amount) in saved.items():
        assert (found[key]["reason"], found[key]["monthly"]) == (reason, pytest.approx(amount, abs=0.02)), key
    assert ("instance", names["busy"]) not in found and ("log_group", "/shop/kept") not in found
    service = next(entry for entry in report["findings"] if entry["kind"] == "service")
    assert (service["name"], service["reason"]) == ("web", "oversized")
    assert service["monthly"] == pytest.approx(3 * (0.04048 + 2 * 0.004445) * 730 / 2, abs=0.01)
    assert report["findings"][0]["id"] == "trial" and report["gaps"] == []
    assert report["savings"] == pytest.approx(sum(entry["monthly"] or 0 for entry in report["findings"]), abs=0.05)
    assert report["savings_by_reason"]["oversized"] == pytest.approx(58.03 + service["monthly"], abs=0.02)
    assert report["kinds"]["instance"] == {"count": 2, "monthly": pytest.approx(60.74, abs=0.02), "without_price": 0}
    assert report["currency"] == "USD" and "could be saved" in report["summary"]
    assert "Sentinel" not in json.dumps(report)


def test_what_is_young_is_left_alone(run_module: Runner, account: Account) -> None:
    """By default a week counts as young, and snapshots of today are not old."""
    report = run_module("cost_report", options(account, limits={}))["report"]
    assert not {"volume", "instance", "balancer", "nat_gateway", "database"} & {entry["kind"] for entry in report["findings"] if entry["reason"] != "outdated"}
    assert account.names["snapshot"] not in {entry["id"] for entry in report["findings"]}


def test_prices_that_are_missing_are_said(run_module: Runner, account: Account) -> None:
    table = prices()
    del table["instance_hour"], table["volume_gb"]["gp3"]
    report = run_module("cost_report", options(account, prices=table))["report"]
    found = {entry["id"]: entry for entry in report["findings"]}
    assert found[account.names["volume"]]["monthly"] is None
    assert {"volume_gb of gp3", "instance_hour of t3.medium"} <= set(report["prices_missing"])
    assert report["kinds"]["instance"]["without_price"] == 2 and "the price is not known" in report["summary"]


def test_regions(run_module: Runner, account: Account) -> None:
    """Several at once; one without anything has nothing to save."""
    report = run_module("cost_report", options(account, regions=[EMPTY_REGION, REGION, EMPTY_REGION]))["report"]
    assert report["regions"] == [EMPTY_REGION, REGION]
    # moto has a few snapshots of its own in every region.
    assert {entry["region"] for entry in report["findings"] if entry["kind"] != "snapshot"} == {REGION}


def test_files(run_module: Runner, account: Account, tmp_path: pathlib.Path) -> None:
    wanted = options(account, report_dir=str(tmp_path / "out"), end=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
    planned = run_module("cost_report", wanted, check=True)
    assert planned["changed"] and not (tmp_path / "out").exists()
    done = run_module("cost_report", wanted)
    assert done["actions"] == planned["actions"] and len(done["files"]) == 2
    assert run_module("cost_report", wanted)["changed"] is False
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page and "forgotten" in page and "2026-06" in page


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"days": 0}, "could not read 0 days of usage"),
        ({"prices": {"currency": "EUR"}}, "the table lacks hours"),
        ({"limits": {"young_days": -1.0}}, "the limit young_days is negative"),
        ({"end": "later"}, "could not report until later"),
    ],
)
def test_refused(run_module: Runner, account: Account, more: dict[str, t.Any], words: str) -> None:
    result = run_module("cost_report", {**options(account), **more})
    assert result["failed"] and words in result["msg"], result


def test_the_playbook(account: Account, tmp_path: pathlib.Path) -> None:
    """With the role's own table of prices, and a price that is given."""
    login = {name: value for name, value in options(account).items() if name not in ("prices", "limits")}
    given = {
        "reports_cost_options": {**login, "limits": {"young_days": 0}}, "reports_cost_regions": [REGION], "reports_dir": str(tmp_path),
        "reports_cost_prices": {"volume_gb": {"gp3": 0.5}}, "reports_cost_fail_above": 1000,
    }
    done = playbooks.run("cost_report", "-e", json.dumps(given))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "cost" / "report.json").read_text())
    saved = {entry["id"]: entry["monthly"] for entry in report["findings"]}
    assert saved[account.names["volume"]] == 50.0 and report["prices_missing"] == [] and "changed=0" in done.stdout
