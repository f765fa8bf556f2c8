# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud of the tests on loopback (see tests/fixtures/cloud), a web service in it, and clients that load it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import http.client
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request

import boto3
from botocore.config import Config
from ports import free_port, wait_until_listening
from postgres_cluster import until

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "cloud"
REGION = "eu-central-1"


@functools.cache
def client_of(endpoint_url: str, service: str, retries: int, region: str) -> t.Any:
    """Return a client; reading a service's model takes a good part of a second, so each is made once."""
    config = Config(retries={"max_attempts": retries, "mode": "standard"} if retries else {"total_max_attempts": 1}, read_timeout=60)
    return boto3.client(service, endpoint_url=endpoint_url, region_name=region, aws_access_key_id="AKIATEST", aws_secret_access_key="Sentinel", config=config)


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A running cloud."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint_url(self) -> str:
        """The address of every API."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, retries: int = 0, region: str = REGION) -> t.Any:
        """Return a boto3 client that tries each call again so many times."""
        return client_of(self.endpoint_url, service, retries, region)

    def control(self, name: str, **options: t.Any) -> t.Any:
        """Ask the control endpoint for something; see ``control.py`` of the cloud."""
        request = urllib.request.Request(f"{self.endpoint_url}/_cloud/{name}", json.dumps(options).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def fault(self, kind: str, service: str = "", operation: str = "", **options: t.Any) -> None:
        """Let something go wrong; see ``faults.py`` of the cloud."""
        self.control("fault", kind=kind, service=service, operation=operation, **options)

    def listener(self, arn: str) -> tuple[str, int]:
        """Return where a listener listens."""
        host, port = until(lambda: self.control("state")["listeners"].get(arn), f"the listener {arn}")
        return host, port

    def tasks(self, image: str = "") -> list[dict[str, t.Any]]:
        """Return the running tasks, all or those of an image."""
        return [task for task in self.control("tasks") if task["status"] == "RUNNING" and image in ("", task["image"])]

    def seconds(self, amount: float) -> float:
        """Return how many real seconds so many seconds of AWS are."""
        return amount * float(self.control("state")["milliseconds"]) / 1000

    def calls(self) -> collections.Counter[str]:
        """Return how often each operation has been called, as ``service:Operation``."""
        return collections.Counter(f"{call['service']}:{call['operation']}" for call in self.control("calls"))

    @functools.cached_property
    def dns_port(self) -> int:
        """The port of the name servers."""
        return int(self.control("state")["dns_port"])

    def resolve(self, name: str, kind: int = 1) -> list[tuple[int, bytes]]:
        """Ask the name servers over UDP; return TTL and raw content of each answer of that type (1 is A, 16 is TXT, 28 is AAAA)."""
        question = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0" + struct.pack("!HH", kind, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(10)
            connection.sendto(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question, ("127.0.0.1", self.dns_port))
            answer = connection.recv(4096)
        position, found = 12 + len(question), []
        for unused in range(struct.unpack("!H", answer[6:8])[0]):
            while answer[position]:
                position += 1 + answer[position]
            given, unused_class, ttl, length = struct.unpack("!HHIH", answer[position + 1 : position + 11])
            if given == kind:
                found.append((ttl, answer[position + 11 : position + 11 + length]))
            position += 11 + length
        return found

    def addresses(self, name: str) -> list[str]:
        """Return the IPv4 addresses of a name, from the name servers."""
        return [socket.inet_ntoa(content) for unused, content in self.resolve(name)]


@contextlib.contextmanager
def cloud(milliseconds: float = 20) -> t.Iterator[Cloud]:
    """Yield a new cloud, running.

    Args:
        milliseconds: how long a second of AWS lasts.
    """
    port = free_port()
    argv = [sys.executable, "-m", "cloudsim", "--port", str(port), "--milliseconds", str(milliseconds)]
    process = subprocess.Popen(argv, cwd=FIXTURE, env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}, stdin=subprocess.DEVNULL)
    try:
        wait_until_listening(port, process, lambda: "the cloud did not start", seconds=180)
        yield Cloud(port, process)
    finally:
        process.terminate()
        process.wait(20)


@dataclasses.dataclass
class Site:
    """A web service in a cloud: a load balancer with a production and a test listener, and two target groups, blue and green."""

    cloud: Cloud
    name: str
    subnets: list[str]
    security_group: str
    balancer: dict[str, t.Any]
    blue: str
    green: str
    listener: str
    rule: str
    test_listener: str
    test_rule: str

    @property
    def cluster(self) -> str:
        """The name of the ECS cluster."""
        return self.name

    @functools.cached_property
    def ecs(self) -> t.Any:
        """A client of ECS."""
        return self.cloud.client("ecs")

    @functools.cached_property
    def elb(self) -> t.Any:
        """A client of the load balancers."""
        return self.cloud.client("elbv2")

    @functools.cached_property
    def address(self) -> tuple[str, int]:
        """Where the production listener listens."""
        return self.cloud.listener(self.listener)

    def definition(self, image: str, **container: t.Any) -> str:
        """Register a task definition and return its ARN."""
        row = {"name": "app", "image": image, "portMappings": [{"containerPort": 8080}], "stopTimeout": 10, **container}
        made = self.ecs.register_task_definition(
            family=self.name, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512", containerDefinitions=[row]
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])

    @property
    def network(self) -> dict[str, t.Any]:
        """The network configuration of tasks."""
        return {"awsvpcConfiguration": {"subnets": self.subnets, "securityGroups": [self.security_group]}}

    def service(self, name: str, image: str, group: str, count: int = 2, balancer: dict[str, t.Any] | None = None, **options: t.Any) -> dict[str, t.Any]:
        """Make a service."""
        balancers = [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080, **(balancer or {})}]
        made = self.ecs.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=self.definition(image),
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=self.network,
            loadBalancers=balancers,
            **{"healthCheckGracePeriodSeconds": 500, **options},
        )
        return dict(made["service"])

    def describe(self, service: str) -> dict[str, t.Any]:
        """Describe a service."""
        return dict(self.ecs.describe_services(cluster=self.cluster, services=[service])["services"][0])

    def states(self, group: str) -> list[str]:
        """Return the states of a group's targets."""
        rows = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return sorted(row["TargetHealth"]["State"] for row in rows)

    def wait_healthy(self, group: str, count: int = 2) -> None:
        """Wait until a group has so many targets, all of them healthy."""
        until(lambda: self.states(group) == ["healthy"] * count, f"{count} healthy targets of {group}")

    def weights(self, blue: int, green: int) -> None:
        """Set the weights of the production rule."""
        self.elb.modify_rule(RuleArn=self.rule, Actions=forward({self.blue: blue, self.green: green}))

    def live_weights(self, rule: str = "") -> tuple[int, int]:
        """Return the weights of blue and green in a rule, by default in the production rule."""
        actions = self.elb.describe_rules(RuleArns=[rule or self.rule])["Rules"][0]["Actions"]
        found = {row["TargetGroupArn"]: row["Weight"] for row in actions[-1]["ForwardConfig"]["TargetGroups"]}
        return found.get(self.blue, 0), found.get(self.green, 0)

    def settle(self) -> None:
        """Wait until a change of weights is in force everywhere."""
        state = self.cloud.control("state")
        time.sleep(state["propagation"] * state["milliseconds"] / 1000 + 0.2)

    def get(self, path: str = "/") -> tuple[int, str]:
        """Ask the production listener; return status and the image that answered."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body)["image"] if body.startswith(b"{") else ""
        finally:
            connection.close()


def forward(weights: t.Mapping[str, int]) -> list[dict[str, t.Any]]:
    """Return a rule's actions that forward to groups by weights."""
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]}}]


@contextlib.contextmanager
def site(running: Cloud, name: str, drain: int = 30) -> t.Iterator[Site]:
    """Yield a web service without tasks; at its end its services and listeners are removed.

    Args:
        running: the cloud.
        name: of everything in it.
        drain: the target groups' deregistration delay in seconds of AWS.
    """
    ec2, elb, ecs = running.client("ec2"), running.client("elbv2"), running.client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = [f"{REGION}{letter}" for letter in "ab"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"] for number, zone in enumerate(zones)]
    security_group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    balancer = elb.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]
    groups = {}
    for colour in ("blue", "green"):
        groups[colour] = elb.create_target_group(
            Name=f"{name}-{colour}",
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            TargetType="ip",
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=10,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
        )["TargetGroups"][0]["TargetGroupArn"]
        attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": str(drain)}
        elb.modify_target_group_attributes(TargetGroupArn=groups[colour], Attributes=[attribute])
    refusal = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    made = []
    for port, weights in ((80, (100, 0)), (8080, (0, 100))):
        listener = elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=port, DefaultActions=refusal)["Listeners"][0]
        actions = forward(dict(zip(groups.values(), weights, strict=True)))
        everything = [{"Field": "path-pattern", "Values": ["/*"]}]
        rule = elb.create_rule(ListenerArn=listener["ListenerArn"], Priority=1, Conditions=everything, Actions=actions)["Rules"][0]
        made += [listener["ListenerArn"], rule["RuleArn"]]
    ecs.create_cluster(clusterName=name)
    whole = Site(running, name, subnets, security_group, balancer, groups["blue"], groups["green"], *made)
    whole.settle()
    try:
        yield whole
    finally:
        for arn in ecs.list_services(cluster=name)["serviceArns"]:
            ecs.delete_service(cluster=name, service=arn, force=True)
        for listener in made[::2]:
            elb.delete_listener(ListenerArn=listener)


class Load:
    """Clients that ask for a path without pause, each on a connection that is kept, and remember every answer."""

    def __init__(self, address: tuple[str, int], clients: int = 6, path: str = "/", pause: float = 0.005) -> None:
        """Prepare; :meth:`__enter__` begins."""
        self._address, self._path, self._pause = address, path, pause
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for unused in range(clients)]
        self._lock = threading.Lock()
        self.answers: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: sum(self.answers.values()) > len(self._threads), "the first answers")
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def total(self) -> int:
        """How many requests have been answered or lost."""
        return sum(self.answers.values())

    @property
    def lost(self) -> int:
        """How many requests got no answer of 200."""
        return sum(count for answer, count in self.answers.items() if answer.startswith("lost"))

    def _run(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while not self._end.wait(self._pause):
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                key = json.loads(body)["image"] if answer.status == 200 else f"lost: {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                key = f"lost: {type(error).__name__}"
                connection.close()
            with self._lock:
                self.answers[key] += 1
        connection.close()
