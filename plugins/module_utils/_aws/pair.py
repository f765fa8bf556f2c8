# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two services and two rules that blue/green deployments move traffic between: made where they are missing, and from then on a deployment's.

Weights, task definitions and desired counts that are there are never touched. Only the bounds of the autoscaling are set again and again; what is suspended of
it is not named in the call, so it stays (Application Auto Scaling API reference, ``RegisterScalableTarget``).
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import COLOURS, service_names
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import calling
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

NAMESPACE = {"ServiceNamespace": "ecs"}
TARGET = {**NAMESPACE, "ScalableDimension": "ecs:service:DesiredCount"}
POLICY = "cpu"
COOLDOWNS = {"ScaleOutCooldown": 60, "ScaleInCooldown": 300}
"""Seconds. Out quickly and in slowly, as the guide to target tracking advises."""

Plan = list["Step"]


def pair_argument_spec(*, required: bool = False) -> dict[str, t.Any]:
    """Return the options of the fragment ``ecs_pair``; ``required`` says whether the target groups are always needed."""
    colours = {colour: {"type": "str", "required": True} for colour in COLOURS}
    return {
        "cluster": {"type": "str", "required": True},
        "target_groups": {"type": "dict", "required": required, "options": colours},
        "services": {"type": "dict", "options": colours},
    }


@dataclasses.dataclass(frozen=True)
class Step:
    """One change.

    Args:
        words: what it does.
        kind: ``rule``, ``service``, ``bounds``, ``policy``, or one of these with ``no_`` before it.
        subject: the listener's option, the colour, or an ARN.
    """

    words: str
    kind: str
    subject: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is.

    Args:
        rules: for each of ``listener`` and ``test_listener`` the ARN of the rule that forwards to one of the groups, or nothing.
        priorities: for both the priorities that are taken.
        services: the description of each colour's service that exists.
        bounds: least and most tasks of each colour with autoscaling.
        targets: per cent of processor time that each colour is scaled for.
    """

    rules: t.Mapping[str, str]
    priorities: t.Mapping[str, t.Collection[str]]
    services: t.Mapping[str, t.Mapping[str, t.Any]]
    bounds: t.Mapping[str, tuple[int, int]]
    targets: t.Mapping[str, float]


def plan_present(params: t.Mapping[str, t.Any], found: Found) -> Plan:
    """Return what is missing, in the order in which it is made: ECS refuses a service whose target group no rule names.

    Raises:
        InvalidInput: there is no service, and no first release to make them of; or a priority is taken by another rule.
    """
    steps = []
    for option, words in (("listener", "production"), ("test_listener", "tests")):
        if params[option] and not found.rules.get(option):
            if str(params["priority"]) in found.priorities.get(option, ()):
                doing = f"make the rule of {words}"
                raise InvalidInput(doing, f"another rule of {params[option]} has the priority {params['priority']}", "choose another priority")
            steps.append(Step(f"make the rule of {words}, with all weight on blue", "rule", option))
    if not found.services and not params["task_definition_spec"]:
        raise InvalidInput(f"make the services of {params['name']}", "there is none yet, and no first release", "give task_definition_spec")
    for colour in COLOURS:
        if colour not in found.services:
            count = params["desired_count"] if colour == "blue" and not found.services else 0
            steps.append(Step(f"make the service {service_names(params)[colour]} with {count} tasks", "service", colour))
    wanted = (params["min_count"], params["max_count"])
    for colour in COLOURS:
        if found.bounds.get(colour) != wanted:
            steps.append(Step(f"scale {service_names(params)[colour]} from {wanted[0]} to {wanted[1]} tasks", "bounds", colour))
        if found.targets.get(colour) != params["cpu_target"]:
            steps.append(Step(f"scale {service_names(params)[colour]} for {params['cpu_target']:g} % of its processors", "policy", colour))
    return steps


def plan_absent(params: t.Mapping[str, t.Any], found: Found) -> Plan:
    """Return what is there, in the order in which it is removed."""
    steps = [Step(f"scale {service_names(params)[colour]} no more", "no_bounds", colour) for colour in COLOURS if colour in found.bounds]
    steps += [Step(f"remove the service {service_names(params)[colour]}", "no_service", colour) for colour in COLOURS if colour in found.services]
    return steps + [Step(f"remove the rule {arn}", "no_rule", arn) for arn in found.rules.values() if arn]


def snapshot(params: t.Mapping[str, t.Any], found: Found) -> dict[str, t.Any]:
    """Return what there is, for a diff."""
    return {
        "rules": sorted(option for option, arn in found.rules.items() if arn),
        "services": sorted(service_names(params)[colour] for colour in found.services),
        "bounds": {service_names(params)[colour]: list(pair) for colour, pair in sorted(found.bounds.items())},
        "cpu_target": {service_names(params)[colour]: target for colour, target in sorted(found.targets.items())},
    }


def planned(params: t.Mapping[str, t.Any], found: Found, plan: Plan) -> dict[str, t.Any]:
    """Return what there will be, for a diff."""
    if params["state"] == "absent":
        return {"rules": [], "services": [], "bounds": {}, "cpu_target": {}}
    every = service_names(params).values()
    return {
        "rules": sorted({option for option, arn in found.rules.items() if arn} | {step.subject for step in plan if step.kind == "rule"}),
        "services": sorted(every),
        "bounds": {name: [params["min_count"], params["max_count"]] for name in sorted(every)},
        "cpu_target": {name: params["cpu_target"] for name in sorted(every)},
    }


class Pair:
    """The calls: one thin method for each step."""

    def __init__(self, containers: t.Any, balancing: t.Any, scaling: t.Any, params: t.Mapping[str, t.Any]) -> None:
        """Use boto3 clients with retries: of ECS, the load balancers, and the autoscaling."""
        self._containers, self._balancing, self._scaling, self._params = containers, balancing, scaling, params
        self._ecs = Ecs(containers, params["cluster"])
        self._definition = ""

    def find(self) -> Found:
        """Read what there is."""
        rules, priorities = {}, {}
        for option in ("listener", "test_listener"):
            if self._params[option]:
                rules[option], priorities[option] = self._rule(self._params[option])
        by_name = self._ecs.services(list(service_names(self._params).values()))
        services = {colour: by_name[name] for colour, name in service_names(self._params).items() if name in by_name}
        ids = {self._resource(colour): colour for colour in COLOURS}
        with calling("read the autoscaling of the services"):
            rows = self._scaling.describe_scalable_targets(**TARGET, ResourceIds=list(ids), aws_retry=True)["ScalableTargets"]
        bounds = {ids[row["ResourceId"]]: (row["MinCapacity"], row["MaxCapacity"]) for row in rows}
        return Found(rules, priorities, services, bounds, {colour: target for colour in bounds if (target := self._target(colour)) is not None})

    def apply(self, step: Step, found: Found) -> str:
        """Carry out a step and return the ARN of what it has made, if any."""
        return str(getattr(self, f"_do_{step.kind}")(step.subject, found) or "")

    def _resource(self, colour: str) -> str:
        cluster = self._params["cluster"].rpartition("/")[2]
        return f"service/{cluster}/{service_names(self._params)[colour]}"

    def _rule(self, listener: str) -> tuple[str, list[str]]:
        with calling(f"read the rules of {listener}"):
            rows = self._balancing.describe_rules(ListenerArn=listener, aws_retry=True)["Rules"]
        groups = set(self._params["target_groups"].values())
        found = ""
        for row in rows:
            tuples = [each for action in row["Actions"] for each in action.get("ForwardConfig", {}).get("TargetGroups", [])]
            if not row["IsDefault"] and groups & {each["TargetGroupArn"] for each in tuples}:
                found = row["RuleArn"]
        return found, [row["Priority"] for row in rows]

    def _target(self, colour: str) -> float | None:
        with calling(f"read the scaling policies of {service_names(self._params)[colour]}"):
            rows = self._scaling.describe_scaling_policies(**TARGET, ResourceId=self._resource(colour), PolicyNames=[POLICY], aws_retry=True)["ScalingPolicies"]
        return next((float(row["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]) for row in rows), None)

    def _do_rule(self, option: str, found: Found) -> str:
        groups = self._params["target_groups"]
        tuples = [{"TargetGroupArn": groups["blue"], "Weight": 100}, {"TargetGroupArn": groups["green"], "Weight": 0}]
        listener = self._params[option]
        with calling(f"make a rule of {listener}"):
            made = self._balancing.create_rule(
                ListenerArn=listener,
                Priority=self._params["priority"],
                Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
                Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": tuples}}],
                aws_retry=True,
            )
        return str(made["Rules"][0]["RuleArn"])

    def _do_service(self, colour: str, found: Found) -> str:
        if found.services:
            self._definition = next(iter(found.services.values()))["taskDefinition"]
        elif not self._definition:
            self._definition = self._ecs.register(self._params["task_definition_spec"])
        balancer = {key: self._params[option] for key, option in (("containerName", "container_name"), ("containerPort", "container_port"))}
        made = self._ecs.create(
            service_names(self._params)[colour],
            taskDefinition=self._definition,
            desiredCount=self._params["desired_count"] if colour == "blue" and not found.services else 0,
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {"subnets": self._params["subnets"], "securityGroups": self._params["security_groups"], "assignPublicIp": "DISABLED"}
            },
            loadBalancers=[{**balancer, "targetGroupArn": self._params["target_groups"][colour]}],
            healthCheckGracePeriodSeconds=self._params["grace_period"],
            propagateTags="SERVICE",
            tags=[{"key": key, "value": str(text)} for key, text in (self._params["tags"] or {}).items()],
        )
        return str(made["serviceArn"])

    def _do_bounds(self, colour: str, found: Found) -> None:
        with calling(f"set the bounds of {service_names(self._params)[colour]}"):
            self._scaling.register_scalable_target(
                **TARGET,
                ResourceId=self._resource(colour),
                MinCapacity=self._params["min_count"],
                MaxCapacity=self._params["max_count"],
                aws_retry=True,
            )

    def _do_policy(self, colour: str, found: Found) -> None:
        metric = {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
        configuration = {"TargetValue": self._params["cpu_target"], "PredefinedMetricSpecification": metric, **COOLDOWNS}
        with calling(f"set the scaling policy of {service_names(self._params)[colour]}"):
            self._scaling.put_scaling_policy(
                **TARGET,
                PolicyName=POLICY,
                PolicyType="TargetTrackingScaling",
                ResourceId=self._resource(colour),
                TargetTrackingScalingPolicyConfiguration=configuration,
                aws_retry=True,
            )

    def _do_no_bounds(self, colour: str, found: Found) -> None:
        with calling(f"remove the autoscaling of {service_names(self._params)[colour]}"):
            self._scaling.deregister_scalable_target(**TARGET, ResourceId=self._resource(colour), aws_retry=True)

    def _do_no_service(self, colour: str, found: Found) -> None:
        service = service_names(self._params)[colour]
        with calling(f"remove the service {service}"):
            self._containers.delete_service(cluster=self._params["cluster"], service=service, force=True, aws_retry=True)
        self._wait_gone(service)

    def _wait_gone(self, service: str) -> None:
        """Wait until a service has drained: a cluster with one that drains cannot be removed."""
        end, doing = time.monotonic() + self._params["wait_timeout"], f"wait until the service {service} is gone"
        while True:
            with calling(doing):
                rows = self._containers.describe_services(cluster=self._params["cluster"], services=[service], aws_retry=True)["services"]
            if all(row["status"] == "INACTIVE" for row in rows):
                return
            if time.monotonic() > end:
                raise MainstayError(doing, f"it still drains after {self._params['wait_timeout']:g} s", "run it again later")
            time.sleep(self._params["poll_interval"])

    def _do_no_rule(self, arn: str, found: Found) -> None:
        with calling(f"remove the rule {arn}"):
            self._balancing.delete_rule(RuleArn=arn, aws_retry=True)


def run(pair: Pair, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Make or remove what the options say, and return the module's result."""
    found = pair.find()
    plan = plan_present(params, found) if params["state"] == "present" else plan_absent(params, found)
    made = {}
    if not check_mode:
        for step in plan:
            made[step.subject] = pair.apply(step, found)
    present = params["state"] == "present"
    return {
        "changed": bool(plan),
        "actions": [step.words for step in plan],
        "diff": {"before": snapshot(params, found), "after": planned(params, found, plan)},
        "production_rule": (found.rules.get("listener") or made.get("listener", "")) if present else "",
        "test_rule": (found.rules.get("test_listener") or made.get("test_listener", "")) if present else "",
        "services": service_names(params) if present else {},
    }
