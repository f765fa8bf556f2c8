# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is in an account, and how much of it was used, by the APIs of AWS."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost import Resource

PERIOD = 3600
"""Seconds that one point of CloudWatch covers: it keeps hours for 15 months."""
BATCH = 500
"""Metrics that one call may ask for."""
ClientOf = t.Callable[[str], t.Any]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a resource: CloudWatch's name, the statistic, how the points are put together, and what no point means."""

    figure: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    fold: t.Callable[[t.Sequence[float]], float]
    empty: float | None = None


def survey(client_of: ClientOf, region: str) -> tuple[list[Resource], list[str]]:
    """Return what there is in a region, without usage, and what could not be read.

    Args:
        client_of: makes the client of a service.
        region: its name.
    """
    found: list[Resource] = []
    gaps: list[str] = []
    for what, read in READERS.items():
        try:
            with calling(f"list the {what} of {region}"):
                found += read(client_of, region)
        except AwsError as error:
            gaps.append(str(error))
    return found, gaps


def _pages(client: t.Any, operation: str, key: str, **arguments: t.Any) -> t.Iterator[dict[str, t.Any]]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[key]


def _tags(entry: t.Mapping[str, t.Any], key: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in entry.get(key) or []}


def _time(moment: datetime.datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _volumes(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for volume in _pages(client_of("ec2"), "describe_volumes", "Volumes"):
        tags = _tags(volume)
        facts = {"size_gb": volume["Size"], "type": volume["VolumeType"], "attached": bool(volume["Attachments"]),
                 "instances": [attachment["InstanceId"] for attachment in volume["Attachments"]]}
        yield Resource("volume", volume["VolumeId"], region, tags.get("Name", ""), facts, created=_time(volume["CreateTime"]), tags=tags)


def _snapshots(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    client = client_of("ec2")
    images = {
        mapping.get("Ebs", {}).get("SnapshotId") for image in _pages(client, "describe_images", "Images", Owners=["self"])
        for mapping in image.get("BlockDeviceMappings", [])
    }
    for snapshot in _pages(client, "describe_snapshots", "Snapshots", OwnerIds=["self"]):
        tags = _tags(snapshot)
        facts = {"size_gb": snapshot["VolumeSize"], "image": snapshot["SnapshotId"] in images}
        yield Resource("snapshot", snapshot["SnapshotId"], region, tags.get("Name", ""), facts, created=_time(snapshot["StartTime"]), tags=tags)


def _addresses(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for address in client_of("ec2").describe_addresses()["Addresses"]:
        tags = _tags(address)
        facts = {"associated": bool(address.get("AssociationId") or address.get("InstanceId") or address.get("NetworkInterfaceId"))}
        yield Resource("address", address.get("AllocationId") or address["PublicIp"], region, tags.get("Name", address["PublicIp"]), facts, tags=tags)


def _nat_gateways(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for gateway in _pages(client_of("ec2"), "describe_nat_gateways", "NatGateways"):
        if gateway["State"] == "available":
            tags = _tags(gateway)
            yield Resource("nat_gateway", gateway["NatGatewayId"], region, tags.get("Name", ""), {}, created=_time(gateway.get("CreateTime")), tags=tags)


def _instances(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for reservation in _pages(client_of("ec2"), "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] in ("running", "stopped"):
                tags = _tags(instance)
                facts = {"type": instance["InstanceType"], "state": instance["State"]["Name"]}
                yield Resource("instance", instance["InstanceId"], region, tags.get("Name", ""), facts, created=_time(instance["LaunchTime"]), tags=tags)


def _balancers(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    client = client_of("elbv2")
    targets: collections.Counter[str] = collections.Counter()
    for group in _pages(client, "describe_target_groups", "TargetGroups"):
        count = len(client.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"])
        targets.update(dict.fromkeys(group["LoadBalancerArns"], count))
    for balancer in _pages(client, "describe_load_balancers", "LoadBalancers"):
        arn = balancer["LoadBalancerArn"]
        facts = {"targets": targets[arn], "type": balancer["Type"]}
        yield Resource("balancer", arn, region, balancer["LoadBalancerName"], facts, created=_time(balancer["CreatedTime"]))


def _databases(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for database in _pages(client_of("rds"), "describe_db_instances", "DBInstances"):
        facts = {"class": database["DBInstanceClass"], "multi_az": bool(database.get("MultiAZ")), "storage_gb": database["AllocatedStorage"],
                 "engine": database["Engine"]}
        name = database["DBInstanceIdentifier"]
        yield Resource("database", name, region, name, facts, created=_time(database.get("InstanceCreateTime")), tags=_tags(database, "TagList"))


def _database_snapshots(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for snapshot in _pages(client_of("rds"), "describe_db_snapshots", "DBSnapshots", SnapshotType="manual"):
        name = snapshot["DBSnapshotIdentifier"]
        facts = {"size_gb": snapshot["AllocatedStorage"]}
        yield Resource("database_snapshot", name, region, name, facts, created=_time(snapshot.get("SnapshotCreateTime")), tags=_tags(snapshot, "TagList"))


def _caches(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for cluster in _pages(client_of("elasticache"), "describe_cache_clusters", "CacheClusters"):
        facts = {"class": cluster["CacheNodeType"], "nodes": cluster["NumCacheNodes"], "engine": cluster["Engine"]}
        name = cluster["CacheClusterId"]
        yield Resource("cache", name, region, name, facts, created=_time(cluster.get("CacheClusterCreateTime")))


def _services(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    client = client_of("ecs")
    for cluster in _pages(client, "list_clusters", "clusterArns"):
        arns = list(_pages(client, "list_services", "serviceArns", cluster=cluster))
        for first in range(0, len(arns), 10):
            for service in client.describe_services(cluster=cluster, services=arns[first:first + 10])["services"]:
                task = client.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
                facts = {"tasks": service["desiredCount"], "vcpu": int(task.get("cpu") or 0) / 1024, "memory_gb": int(task.get("memory") or 0) / 1024,
                         "cluster": cluster.rpartition("/")[2]}
                yield Resource("service", service["serviceArn"], region, service["serviceName"], facts, created=_time(service.get("createdAt")))


def _log_groups(client_of: ClientOf, region: str) -> t.Iterator[Resource]:
    for group in _pages(client_of("logs"), "describe_log_groups", "logGroups"):
        facts = {"stored_bytes": group.get("storedBytes", 0), "retention_days": group.get("retentionInDays", 0)}
        yield Resource("log_group", group["logGroupName"], region, group["logGroupName"], facts)


READERS: dict[str, t.Callable[[ClientOf, str], t.Iterator[Resource]]] = {
    "volumes": _volumes,
    "snapshots": _snapshots,
    "addresses": _addresses,
    "NAT gateways": _nat_gateways,
    "instances": _instances,
    "load balancers": _balancers,
    "databases": _databases,
    "snapshots of databases": _database_snapshots,
    "caches": _caches,
    "services": _services,
    "log groups": _log_groups,
}


def metrics_of(resource: Resource) -> list[Metric]:
    """Return the figures that are asked of CloudWatch about a resource."""
    if resource.kind == "instance":
        return [Metric("cpu_max_percent", "AWS/EC2", "CPUUtilization", (("InstanceId", resource.id),), "Maximum", max)]
    if resource.kind == "database":
        own = (("DBInstanceIdentifier", resource.id),)
        return [
            Metric("cpu_max_percent", "AWS/RDS", "CPUUtilization", own, "Maximum", max),
            Metric("connections_max", "AWS/RDS", "DatabaseConnections", own, "Maximum", max),
        ]
    if resource.kind == "cache":
        own = (("CacheClusterId", resource.id),)
        return [
            Metric("cpu_max_percent", "AWS/ElastiCache", "EngineCPUUtilization", own, "Maximum", max),
            Metric("memory_max_percent", "AWS/ElastiCache", "DatabaseMemoryUsagePercentage", own, "Maximum", max),
        ]
    if resource.kind == "service":
        own = (("ClusterName", str(resource.facts["cluster"])), ("ServiceName", resource.name))
        return [
            Metric("cpu_max_percent", "AWS/ECS", "CPUUtilization", own, "Maximum", max),
            Metric("memory_max_percent", "AWS/ECS", "MemoryUtilization", own, "Maximum", max),
        ]
    if resource.kind == "nat_gateway":
        return [Metric("bytes", "AWS/NATGateway", "BytesOutToDestination", (("NatGatewayId", resource.id),), "Sum", sum)]
    if resource.kind == "balancer" and resource.facts["type"] == "application":
        # "Reported if there is a non-zero value", says the guide of the Application Load Balancer of RequestCount.
        own = (("LoadBalancer", resource.id.partition("loadbalancer/")[2]),)
        return [Metric("requests", "AWS/ApplicationELB", "RequestCount", own, "Sum", sum, empty=0.0)]
    return []


def with_usage(client: t.Any, resources: t.Sequence[Resource], start: float, end: float) -> list[Resource]:
    """Return the resources with how much of them was used.

    Raises:
        MainstayError: CloudWatch refuses the call, or does not answer.
    """
    wanted = [(number, metric) for number, resource in enumerate(resources) for metric in metrics_of(resource)]
    usage: dict[int, dict[str, float]] = collections.defaultdict(dict)
    for first in range(0, len(wanted), BATCH):
        batch = wanted[first:first + BATCH]
        points = _points(client, [metric for _number, metric in batch], start, end)
        for (number, metric), found in zip(batch, points):
            folded = metric.fold(found) if found else metric.empty
            if folded is not None:
                usage[number][metric.figure] = folded
    return [dataclasses.replace(resource, usage=usage[number]) for number, resource in enumerate(resources)]


def _points(client: t.Any, metrics: t.Sequence[Metric], start: float, end: float) -> list[list[float]]:
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {"Namespace": metric.namespace, "MetricName": metric.name,
                           "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions]},
                "Period": PERIOD,
                "Stat": metric.statistic,
            },
        }
        for number, metric in enumerate(metrics)
    ]
    found: list[list[float]] = [[] for _metric in metrics]
    begin, until = (datetime.datetime.fromtimestamp(moment, datetime.timezone.utc) for moment in (start, end))
    with calling("read the usage from CloudWatch"):
        for page in client.get_paginator("get_metric_data").paginate(MetricDataQueries=queries, StartTime=begin, EndTime=until):
            for result in page["MetricDataResults"]:
                found[int(result["Id"][1:])] += result["Values"]
    return found
