# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of CloudWatch, and of the autoscaling of services: one thin method for each."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import calling

NAMESPACE = "AWS/ApplicationELB"
PERIOD = 60
"""Seconds: load balancers send their metrics once a minute."""

COUNTED = {
    "requests": ("RequestCount", "Sum"),
    "errors": ("HTTPCode_Target_5XX_Count", "Sum"),
    "refused": ("TargetConnectionErrorCount", "Sum"),
    "seconds": ("TargetResponseTime", "Sum"),
    "answers": ("TargetResponseTime", "SampleCount"),
}
"""What is counted of a target group: metric and statistic. All of them can be added up, and taken off again."""

DIMENSION = "ecs:service:DesiredCount"
SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


class Watch:
    """A client of CloudWatch."""

    def __init__(self, client: t.Any) -> None:
        """Use a boto3 client with retries."""
        self._client = client

    def alarms(self, names: t.Sequence[str]) -> dict[str, str]:
        """Return the states of those alarms that exist."""
        with calling(f"read the alarms {', '.join(names)}"):
            found = self._client.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"], aws_retry=True)
        return {row["AlarmName"]: row["StateValue"] for row in (*found.get("MetricAlarms", []), *found.get("CompositeAlarms", []))}

    def counts(self, group: str, balancer: str, since: datetime.datetime) -> dict[str, float]:
        """Return what has been counted of a target group.

        Args:
            group: its ARN.
            balancer: the load balancer, as metrics name it: ``app/NAME/ID``.
            since: from the beginning of this minute.
        """
        dimensions = [
            {"Name": "LoadBalancer", "Value": balancer},
            {"Name": "TargetGroup", "Value": group.rpartition(":")[2]},
        ]
        queries = [
            {
                "Id": name,
                "MetricStat": {"Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}, "Period": PERIOD, "Stat": statistic},
            }
            for name, (metric, statistic) in COUNTED.items()
        ]
        start = since.replace(second=0, microsecond=0)
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=PERIOD)
        with calling(f"read the metrics of {group}"):
            rows = self._client.get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end, aws_retry=True)["MetricDataResults"]
        return {row["Id"]: float(sum(row["Values"])) for row in rows}

    def newest(self, namespace: str, metric: str, dimension: tuple[str, str], seconds: int) -> float | None:
        """Return the newest average of a metric over a minute, not older than so many seconds; None if there is none.

        Args:
            namespace: of the metric, such as ``AWS/RDS``.
            metric: its name.
            dimension: name and content of its only dimension.
            seconds: how far is looked back.
        """
        of = {"Namespace": namespace, "MetricName": metric, "Dimensions": [{"Name": dimension[0], "Value": dimension[1]}]}
        query = {"Id": "newest", "MetricStat": {"Metric": of, "Period": PERIOD, "Stat": "Average"}}
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=PERIOD)
        start = end - datetime.timedelta(seconds=seconds + PERIOD)
        with calling(f"read the metric {metric} of {dimension[1]}"):
            rows = self._client.get_metric_data(MetricDataQueries=[query], StartTime=start, EndTime=end, ScanBy="TimestampDescending", aws_retry=True)
        found = sorted(zip(rows["MetricDataResults"][0]["Timestamps"], rows["MetricDataResults"][0]["Values"], strict=True))
        return float(found[-1][1]) if found else None


class Autoscaling:
    """A client of Application Auto Scaling, and one cluster."""

    def __init__(self, client: t.Any, cluster: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self._cluster = client, cluster.rpartition("/")[2]

    def _targets(self, services: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        resources = {f"service/{self._cluster}/{name}": name for name in services}
        with calling("read the autoscaling of the services"):
            rows = self._client.describe_scalable_targets(
                ServiceNamespace="ecs", ResourceIds=list(resources), ScalableDimension=DIMENSION, aws_retry=True
            )["ScalableTargets"]
        return {resources[row["ResourceId"]]: row for row in rows}

    def read(self, services: t.Sequence[str]) -> dict[str, dict[str, bool]]:
        """Return what is suspended, of those services that have autoscaling."""
        found = self._targets(services)
        return {service: {name: bool(row.get("SuspendedState", {}).get(name)) for name in SUSPENDABLE} for service, row in found.items()}

    def write(self, service: str, state: t.Mapping[str, bool]) -> None:
        """Set what is suspended of a service's autoscaling."""
        with calling(f"change the autoscaling of {service}"):
            self._client.register_scalable_target(
                ServiceNamespace="ecs",
                ResourceId=f"service/{self._cluster}/{service}",
                ScalableDimension=DIMENSION,
                SuspendedState=dict(state),
                aws_retry=True,
            )

    def bounds(self, services: t.Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the least and the most tasks, of those services that have autoscaling."""
        return {service: (row["MinCapacity"], row["MaxCapacity"]) for service, row in self._targets(services).items()}

    def bound(self, service: str, least: int, most: int) -> None:
        """Set the least and the most tasks of a service's autoscaling."""
        with calling(f"change the autoscaling of {service}"):
            self._client.register_scalable_target(
                ServiceNamespace="ecs",
                ResourceId=f"service/{self._cluster}/{service}",
                ScalableDimension=DIMENSION,
                MinCapacity=least,
                MaxCapacity=most,
                aws_retry=True,
            )
