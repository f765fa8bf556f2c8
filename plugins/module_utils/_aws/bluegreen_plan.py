# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a blue/green deployment is: steps, weights, what is kept of it while it runs, and what its state means. Nothing here asks AWS."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

BLUE, GREEN = "blue", "green"
COLOURS = (BLUE, GREEN)
FULL = 100
"""The weights of a rule add up to this, so that a weight is a share in per cent. ELB takes 0 to 999."""

BEGUN, MOVED, RETIRING = "begun", "moved", "retiring"
"""How far a deployment is: no traffic has moved yet; some or all has; it has all, and the old release is being stopped."""

BEATS = 4
"""So often within its time to live the holder of the lock says that it lives."""

MARK = "mainstay:rolled-back"
"""A tag of a service: the task definition from which traffic was taken back."""

Actions = list[dict[str, t.Any]]


def service_names(params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the name of each colour's service; ``params`` are the module's options ``name`` and ``services``."""
    return dict(params["services"] or {colour: f"{params['name']}-{colour}" for colour in COLOURS})


LIMITS: dict[str, tuple[float, float]] = {
    "step_bake": (0, math.inf),
    "bake": (0, math.inf),
    "settle": (0, math.inf),
    "desired_count": (1, math.inf),
    "healthy_percent": (1, 100),
    "healthy_polls": (1, math.inf),
    "start_timeout": (0, math.inf),
    "max_failed_tasks": (0, math.inf),
    "keep_old": (0, math.inf),
    "lock_ttl": (1, math.inf),
    "rollback_timeout": (0, math.inf),
    "poll_interval": (0.05, math.inf),
    "wait_timeout": (0, math.inf),
}
"""The least and the greatest value of the options that are numbers."""


def refuse_numbers(options: t.Mapping[str, t.Any]) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        InvalidInput: with the first one.
    """
    for name, (least, most) in LIMITS.items():
        given = options[name]
        if given is not None and not least <= given <= most:
            step = f"give a number from {least:g} to {most:g}" if most < math.inf else f"give {least:g} or more"
            raise InvalidInput(f"use the option {name}", f"it is {given:g}", step)
    if options["lock_ttl"] < BEATS * options["poll_interval"]:
        step = f"make lock_ttl at least {BEATS} times as long"
        raise InvalidInput("use the option lock_ttl", f"a run that looks every {options['poll_interval']:g} s would count as dead in between", step)


def other(colour: str) -> str:
    """Return the colour that is not this one."""
    return GREEN if colour == BLUE else BLUE


@dataclasses.dataclass(frozen=True)
class Step:
    """A share of traffic in per cent, the seconds that it is watched, and whether the run ends there until it is promoted."""

    share: int
    bake: float
    pause: bool = False


def plan_steps(options: t.Mapping[str, t.Any]) -> tuple[Step, ...]:
    """Return the steps of a deployment; the last one has all of the traffic and bakes for the option ``bake``.

    Raises:
        InvalidInput: the shares do not grow from 1 to 100.
    """
    strategy, width, bake = options["strategy"], options["step_percent"], options["step_bake"]
    if strategy == "steps":
        found = [Step(row["weight"], row["bake"], row["pause"]) for row in options["steps"]]
    elif strategy == "canary":
        found = [Step(width, bake)]
    elif strategy == "linear":
        found = [Step(share, bake) for share in range(width, FULL, width)] if width > 0 else [Step(width, bake)]
    else:
        found = []
    shares = [step.share for step in found]
    if any(step.bake < 0 for step in found):
        raise InvalidInput("plan the steps", "one of them bakes for less than 0 s", "give each a bake of 0 or more")
    if shares != sorted(set(shares)) or any(not 0 < share <= FULL for share in shares):
        numbers = ", ".join(str(share) for share in shares)
        raise InvalidInput("plan the steps", f"their weights are {numbers}", "let them grow, from 1 to 100")
    if not found or found[-1].share < FULL:
        return (*found, Step(FULL, options["bake"]))
    return tuple(found)


def forward_weights(actions: Actions) -> dict[str, int]:
    """Return the weights of a rule's target groups; nothing if it does not forward, which cannot be moved."""
    if not actions or actions[-1].get("Type") != "forward":
        return {}
    action = actions[-1]
    rows = (action.get("ForwardConfig") or {}).get("TargetGroups") or [{"TargetGroupArn": action.get("TargetGroupArn")}]
    return {row["TargetGroupArn"]: int(row.get("Weight", 1)) for row in rows}


def is_sticky(actions: Actions) -> bool:
    """Tell whether clients stay with the target group that answered them first."""
    forward = actions[-1].get("ForwardConfig") or {} if actions else {}
    return bool((forward.get("TargetGroupStickinessConfig") or {}).get("Enabled"))


def with_weights(actions: Actions, weights: t.Mapping[str, int]) -> Actions:
    """Return a rule's actions with other weights: everything else stays, the order of groups that are there too.

    ELB API reference, ``AuthenticateOidcActionConfig``: the client's secret is not shown, so that it has to be said that it stays.
    """
    found = copy.deepcopy(actions)
    for action in found[:-1]:
        if action.get("Type") == "authenticate-oidc":
            action["AuthenticateOidcConfig"]["UseExistingClientSecret"] = True
    last = found[-1]
    last.pop("TargetGroupArn", None)  # it cannot stand beside several groups
    order = [arn for arn in forward_weights(actions) if arn in weights]
    order += [arn for arn in weights if arn not in order]
    rows = [{"TargetGroupArn": arn, "Weight": weights[arn]} for arn in order]
    last["ForwardConfig"] = {**(last.get("ForwardConfig") or {}), "TargetGroups": rows}
    return found


def comparable(actions: Actions) -> str:
    """Return a rule's actions in a form in which equal ones are equal, whoever has written them."""
    rows = []
    for action in with_weights(actions, forward_weights(actions)) if forward_weights(actions) else actions:
        row = {key: content for key, content in action.items() if key != "Order"}
        forward = row.get("ForwardConfig")
        if forward:
            groups = sorted(forward["TargetGroups"], key=lambda each: each["TargetGroupArn"])
            stickiness = forward.get("TargetGroupStickinessConfig") or {}
            row["ForwardConfig"] = {"TargetGroups": groups, "sticky": stickiness if stickiness.get("Enabled") else {}}
        rows.append(row)
    return json.dumps(rows, sort_keys=True)


def describe_weights(weights: t.Mapping[str, int], groups: t.Mapping[str, str]) -> str:
    """Return weights in words, colours instead of the ARNs that are known."""
    names = {arn: colour for colour, arn in groups.items()}
    return ", ".join(f"{names.get(arn, arn)} {weight}" for arn, weight in weights.items()) or "no group"


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Where production goes: the weight of each colour, None if its group is not in the rule."""

    blue: int | None
    green: int | None

    def weight(self, colour: str) -> int | None:
        """Return a colour's weight."""
        return self.blue if colour == BLUE else self.green

    @property
    def live(self) -> str:
        """The colour that has all of the traffic; empty if both have some."""
        heavy = [colour for colour in COLOURS if self.weight(colour)]
        return heavy[0] if len(heavy) == 1 else ""

    def share(self, colour: str) -> int:
        """Return a colour's share in per cent."""
        total = (self.blue or 0) + (self.green or 0)
        return round(FULL * (self.weight(colour) or 0) / total) if total else 0


def traffic_of(actions: Actions, groups: t.Mapping[str, str]) -> Traffic:
    """Return where a rule goes, as far as that is to one of the colours."""
    weights = forward_weights(actions)
    return Traffic(weights.get(groups[BLUE]), weights.get(groups[GREEN]))


def read_traffic(actions: Actions, groups: t.Mapping[str, str], rule: str = "production rule") -> Traffic:
    """Return where a rule goes, which has to be to the colours only.

    Args:
        actions: of the rule.
        groups: the target group of each colour.
        rule: which one it is, in words.

    Raises:
        InvalidInput: the rule forwards elsewhere, or nowhere.
    """
    weights = forward_weights(actions)
    doing = "see which colour is live"
    if not weights:
        kind = actions[-1].get("Type", "?") if actions else "nothing"
        raise InvalidInput(doing, f"the {rule} does not forward to target groups (its last action is {kind})", "give a rule that forwards")
    strange = [arn for arn in weights if arn not in groups.values()]
    if strange:
        cause = f"the {rule} forwards to {', '.join(strange)}, which is neither blue nor green"
        raise InvalidInput(doing, cause, "give the right target_groups, or the right rule")
    if not any(weights.values()):
        raise InvalidInput(doing, f"all weights of the {rule} are 0 ({describe_weights(weights, groups)})", "give the live colour a weight by hand")
    return traffic_of(actions, groups)


def shared(groups: t.Mapping[str, str], colour: str, share: int) -> dict[str, int]:
    """Return the weights that give a colour a share of the traffic, and the other one the rest."""
    return {groups[other(colour)]: FULL - share, groups[colour]: share}


@dataclasses.dataclass(frozen=True)
class Record:
    """What is kept beside a deployment while it runs, so that a later run can end it.

    Attributes:
        token: tells the run that has the lock from any other.
        job: tells this deployment from any other, in whichever run; tasks that are run once for it carry it.
        holder: who runs it, in words.
        beat: when the holder last said that it lives (Unix time); 0 if it is paused.
        ttl: seconds without such a sign after which the holder counts as dead.
        phase: how far it is.
        source: the colour that was live.
        target: the other one.
        definition: the task definition of the target.
        old_definition: that of the source.
        shares: the shares of traffic that this deployment gives the target.
        share: the one that it has written last.
        count: tasks of the target.
        old_count: tasks that the source had; 0 if nothing served before.
        deployment: id of the deployment that the target was started with; empty before.
        test: the weights of the test rule before it, by colour; None if there is no such rule.
        scaling: what was suspended of the autoscaling before it, by service.
        migrated: whether the migration has ended well.
        back: whether this goes back to an older release.
        began: when it began (Unix time); 0 if that was not kept.
    """

    token: str
    job: str
    holder: str
    beat: float
    ttl: float
    phase: str
    source: str
    target: str
    definition: str
    old_definition: str
    shares: tuple[int, ...]
    share: int = 0
    count: int = 0
    old_count: int = 0
    deployment: str = ""
    test: t.Mapping[str, int] | None = None
    scaling: t.Mapping[str, t.Mapping[str, bool]] = dataclasses.field(default_factory=dict)
    migrated: bool = False
    back: bool = False
    began: float = 0.0

    @property
    def text(self) -> str:
        """In the form in which it is kept."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def paused(self) -> bool:
        """Whether it waits to be promoted."""
        return self.beat == 0

    def held(self, now: float) -> bool:
        """Tell whether a run that lives has it."""
        return not self.paused and now < self.beat + self.ttl


def read_record(text: str) -> Record:
    """Return a record from the form in which it is kept.

    Raises:
        MainstayError: somebody else has written there.
    """
    try:
        found = json.loads(text)
        return Record(**{**found, "shares": tuple(found["shares"])})
    except (ValueError, TypeError, KeyError) as error:
        raise MainstayError("read what is kept of the deployment", f"the parameter holds something else ({error})", "give lock_name another name") from error


def as_found(record: Record, share: int) -> Record:
    """Return a record of a run that was cut off as the rule shows it.

    A target that has all of the traffic although its deployment has not given it that was given it by a person: what is left is to stop the old release.

    Args:
        record: what was left.
        share: what the target has, in per cent.
    """
    return dataclasses.replace(record, phase=RETIRING) if share == FULL and record.share < FULL else record


NOTHING, DEPLOY, RESUME, BACK, BACK_AND_DEPLOY, FINISH_AND_DEPLOY = "nothing", "deploy", "resume", "back", "back and deploy", "finish and deploy"


def choose(state: str, record: Record | None, now: float, on_interrupted: str, same: bool) -> str:
    """Return what is to be done.

    Args:
        state: the module's option.
        record: what another run has left.
        now: Unix time.
        on_interrupted: the module's option.
        same: whether the record's release is the wanted one.

    Raises:
        MainstayError: a run that lives has the lock, the deployment is paused, or it was cut off and is to be left alone.
    """
    if record is None:
        return DEPLOY if state in ("deployed", "rolled_back") else NOTHING
    doing, details = "take the lock", {"holder": record.holder, "share": record.share}
    if record.held(now):
        cause = f"{record.holder} has it and was there {now - record.beat:.0f} s ago"
        step = f"wait for its end; {record.ttl:.0f} s after its last sign of life it counts as dead"
        raise MainstayError(doing, cause, step, reason="locked", **details)
    if state == "promoted" or (state == "rolled_back" and record.back):
        return RESUME
    if state in ("rolled_back", "aborted"):
        return BACK
    if record.paused:
        cause = f"a deployment is paused with {record.share} % of the traffic on {record.target}"
        raise MainstayError("deploy", cause, "promote it with state promoted, or take it back with state aborted", reason="paused", **details)
    if on_interrupted == "fail":
        cause = f"the deployment of {record.holder} was cut off with {record.share} % of the traffic on {record.target}"
        raise MainstayError("deploy", cause, "set on_interrupted to rollback or resume", reason="interrupted", **details)
    if record.phase == RETIRING:
        return RESUME if same else FINISH_AND_DEPLOY
    return RESUME if same and on_interrupted == "resume" else BACK_AND_DEPLOY


COPIED = (
    "launchType",
    "capacityProviderStrategy",
    "platformVersion",
    "networkConfiguration",
    "deploymentConfiguration",
    "healthCheckGracePeriodSeconds",
    "schedulingStrategy",
    "availabilityZoneRebalancing",
    "placementConstraints",
    "placementStrategy",
    "enableECSManagedTags",
    "propagateTags",
    "enableExecuteCommand",
    "tags",
)
"""What the service of the other colour takes over from the live one when it is made."""
NOT_COPIED = ("serviceRegistries", "serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")
"""Ways to a service beside the load balancer, by which the new release would be used before it gets weight; and what belongs to one service only."""
OWN_TAGS = ("aws:", "mainstay:")
"""Tags that are not copied begin so: nobody but AWS may set its own."""
RUN_LIKE = ("launchType", "capacityProviderStrategy", "platformVersion", "networkConfiguration")
"""What a task that is run once takes over."""


def taken_over(service: t.Mapping[str, t.Any], names: t.Iterable[str]) -> dict[str, t.Any]:
    """Return these of a service's settings; a capacity provider strategy stands instead of a launch type."""
    found = {name: copy.deepcopy(service[name]) for name in names if service.get(name) not in (None, "", [], {}, "NONE")}
    if "capacityProviderStrategy" in found:
        found.pop("launchType", None)
    if "tags" in found:
        found["tags"] = free_tags(found["tags"])
    return found


def free_tags(tags: t.Iterable[t.Mapping[str, str]]) -> list[dict[str, str]]:
    """Return those tags that may be copied."""
    return [dict(row) for row in tags if not row["key"].startswith(OWN_TAGS)]


def refuse_copy(name: str, service: t.Mapping[str, t.Any]) -> None:
    """Refuse to make another service like one that cannot be copied.

    Raises:
        InvalidInput: with what stands against it.
    """
    newest = primary(service)
    for field in NOT_COPIED:
        given = service.get(field) or newest.get(field)
        if given and not (isinstance(given, dict) and given.get("enabled") is False):
            raise InvalidInput(f"make a service like {name}", f"its {field} cannot be shared by two services", "make the other service by hand, with 0 tasks")


def balancer_of(service: t.Mapping[str, t.Any], group: str) -> dict[str, t.Any] | None:
    """Return a service's connection to a target group."""
    return next((dict(row) for row in service.get("loadBalancers", []) if row.get("targetGroupArn") == group), None)


def copy_of(service: t.Mapping[str, t.Any], group: str, new_group: str) -> dict[str, t.Any]:
    """Return what CreateService takes to make the same service for another target group."""
    balancers = [{**row, "targetGroupArn": new_group} if row.get("targetGroupArn") == group else dict(row) for row in service["loadBalancers"]]
    return {**taken_over(service, COPIED), "loadBalancers": balancers}


def refuse_pair(groups: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Refuse two target groups that do not do the same.

    Raises:
        InvalidInput: with what differs.
    """
    one, two = groups
    for field in ("Protocol", "ProtocolVersion", "Port", "VpcId", "TargetType", "HealthCheckPath", "HealthCheckPort", "HealthCheckProtocol", "Matcher"):
        if one.get(field) != two.get(field):
            cause = f"{field} is {one.get(field)} in {one['TargetGroupName']} and {two.get(field)} in {two['TargetGroupName']}"
            raise InvalidInput("use the target groups as blue and green", cause, "make them equal")


def refuse_service(name: str, service: t.Mapping[str, t.Any], group: str) -> None:
    """Refuse a service that cannot be a colour.

    Raises:
        InvalidInput: with the reason.
    """
    doing = f"deploy to the service {name}"
    controller = (service.get("deploymentController") or {}).get("type", "ECS")
    if controller != "ECS":
        more = "; AWS recommends to leave CodeDeploy" if controller == "CODE_DEPLOY" else ""
        raise InvalidInput(doing, f"its deployment controller is {controller}", f"make a service with the controller ECS{more}")
    strategy = (service.get("deploymentConfiguration") or {}).get("strategy", "ROLLING")
    if strategy != "ROLLING":
        raise InvalidInput(doing, f"ECS itself moves its traffic (strategy {strategy})", "use engine native")
    if balancer_of(service, group) is None:
        raise InvalidInput(doing, f"it does not register its tasks in {group}", "give the right target_groups and services")


READ_ONLY = frozenset(
    (
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
        "deregisteredAt",
        "deleteRequestedAt",
    )
)
"""What DescribeTaskDefinition answers, and RegisterTaskDefinition does not take."""


def content_of(definition: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what RegisterTaskDefinition takes to make the same again."""
    found = {key: copy.deepcopy(each) for key, each in definition.items() if key not in READ_ONLY and each not in (None, [], {})}
    return {**found, "tags": free_tags(found["tags"])} if "tags" in found else found


def replaced(content: t.Mapping[str, t.Any], images: t.Mapping[str, str], environment: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return a task definition with other images and environment variables.

    Args:
        content: the task definition.
        images: by container.
        environment: variables by container; those that are not named stay, and one that is None goes.

    Raises:
        InvalidInput: there is no such container.
    """
    found = copy.deepcopy(dict(content))
    known = {container["name"]: container for container in found["containerDefinitions"]}
    for name in (*images, *environment):
        if name not in known:
            raise InvalidInput(f"change the container {name}", "the live task definition has no such container", f"it has {', '.join(sorted(known))}")
    for name, image in images.items():
        if not isinstance(image, str) or not image:
            raise InvalidInput(f"change the container {name}", f"its image is {image!r}", "give a name with a tag or a digest")
        known[name]["image"] = image
    for name, variables in environment.items():
        if not isinstance(variables, dict):
            raise InvalidInput(f"change the container {name}", "its environment is no dictionary", "give variables by name")
        kept = {row["name"]: row["value"] for row in known[name].get("environment", [])}
        kept |= {key: str(text) for key, text in variables.items() if text is not None}
        rows = [{"name": key, "value": text} for key, text in sorted(kept.items()) if variables.get(key, "") is not None]
        known[name]["environment"] = rows
    return found


def refuse_containers(definition: t.Mapping[str, t.Any], balancer: t.Mapping[str, t.Any], migration: t.Mapping[str, t.Any] | None) -> None:
    """Refuse a task definition without the containers that are needed.

    Args:
        definition: the task definition.
        balancer: the connection of the service to its target group.
        migration: the module's option.

    Raises:
        InvalidInput: with what is missing.
    """
    rows = {row["name"]: row for row in definition["containerDefinitions"]}
    needed_by = {balancer["containerName"]: "the load balancer sends requests to", **({migration["container"]: "the migration runs in"} if migration else {})}
    for name, why in needed_by.items():
        if name not in rows:
            cause = f"it has no container {name}, which {why}"
            raise InvalidInput("use the task definition that is wanted", cause, f"it has {', '.join(sorted(rows))}")
    ports = [row.get("containerPort") for row in rows[balancer["containerName"]].get("portMappings", [])]
    if None not in ports and balancer["containerPort"] not in ports:
        cause = f"its container {balancer['containerName']} has no port {balancer['containerPort']}, which the load balancer sends requests to"
        raise InvalidInput("use the task definition that is wanted", cause, "add it to portMappings")


def normal(definition: t.Mapping[str, t.Any]) -> str:
    """Return a task definition in a form in which equal ones are equal, with what ECS fills in by itself."""
    content = content_of(definition)
    awsvpc = content.get("networkMode") == "awsvpc"
    containers = []
    for container in content.get("containerDefinitions", []):
        row = {"cpu": 0, "essential": True, **container}
        row["portMappings"] = [
            {"protocol": "tcp", **({"hostPort": port.get("containerPort")} if awsvpc else {}), **port} for port in row.get("portMappings", [])
        ]
        containers.append(row)
    return json.dumps(_sorted({**content, "containerDefinitions": containers}), sort_keys=True)


def _sorted(thing: t.Any) -> t.Any:
    if isinstance(thing, dict):
        return {key: _sorted(each) for key, each in thing.items() if each not in (None, [], {})}
    if isinstance(thing, list):
        rows = [_sorted(each) for each in thing]
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) if all(isinstance(row, dict) for row in rows) else rows
    return thing


def images_of(definition: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the image of each container."""
    return {container["name"]: container.get("image", "") for container in definition.get("containerDefinitions", [])}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a look at something says: ``good``, ``bad``, or neither yet; and why."""

    good: bool = False
    bad: bool = False
    why: str = ""


def primary(service: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a service's newest deployment."""
    return next((dict(row) for row in service["deployments"] if row["status"] == "PRIMARY"), {})


def must_start(service: t.Mapping[str, t.Any], record: Record) -> bool:
    """Tell whether a service has yet to be told to run a deployment's release; one that goes back takes over tasks that run already."""
    begun = record.back or (bool(record.deployment) and primary(service).get("id") == record.deployment)
    return not begun or service["taskDefinition"] != record.definition or int(service["desiredCount"]) < record.count


def states(health: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Return the states of targets in words, with what is wrong with those that are ill."""
    words = []
    for row in health:
        why = row.get("Description") or row.get("Reason")
        words.append(f"{row['State']} ({why})" if why and row["State"] not in ("healthy", "draining") else row["State"])
    return ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words))) or "no target"


def healthy(health: t.Iterable[t.Mapping[str, t.Any]]) -> int:
    """Return how many targets are healthy."""
    return sum(row["State"] == "healthy" for row in health)


def needed(count: int, percent: int) -> int:
    """Return how many of so many tasks have to be healthy; at least one."""
    return max(1, math.ceil(count * percent / 100))


def judge_deployment(service: t.Mapping[str, t.Any], deployment: str, most_failed: int) -> str:
    """Return why a deployment of a service cannot end well, or nothing.

    A service is stable after a rollback by its circuit breaker too; so what counts is that the deployment is still the newest one.
    """
    newest = primary(service)
    if newest.get("id") != deployment:
        return f"the service has gone on to another deployment, {newest.get('id')}: ECS has rolled this one back, or somebody else has changed the service"
    if newest.get("rolloutState") == "FAILED":
        return f"ECS has given the deployment up: {newest.get('rolloutStateReason', '')}"
    failed = int(newest.get("failedTasks") or 0)
    return f"{failed} of its tasks have failed" if failed >= most_failed > 0 else ""


def judge_start(service: t.Mapping[str, t.Any], deployment: str, health: t.Sequence[t.Mapping[str, t.Any]], percent: int, most_failed: int) -> Verdict:
    """Tell whether a release is up: all of its tasks run, and enough targets are healthy."""
    problem = judge_deployment(service, deployment, most_failed)
    if problem:
        return Verdict(bad=True, why=problem)
    if health and all(row["State"] == "unused" for row in health):
        return Verdict(bad=True, why="all targets are unused: no rule of a load balancer names their group")
    newest, well = primary(service), healthy(health)
    wanted, running = int(newest["desiredCount"]), int(newest["runningCount"])
    seen = f"{running} of {wanted} tasks run; targets: {states(health)}"
    alone = all(row is newest or row["id"] == deployment or not int(row["runningCount"]) for row in service["deployments"])
    return Verdict(good=wanted > 0 and running >= wanted and alone and well >= needed(wanted, percent), why=seen)


def judge_running(service: t.Mapping[str, t.Any], deployment: str, health: t.Sequence[t.Mapping[str, t.Any]], percent: int, most_failed: int) -> Verdict:
    """Tell whether a release that gets traffic is well."""
    problem = judge_deployment(service, deployment, most_failed)
    if problem:
        return Verdict(bad=True, why=problem)
    well, wanted = healthy(health), needed(int(service["desiredCount"]), percent)
    return Verdict(good=well >= wanted, why="" if well >= wanted else f"{well} of {wanted} targets are healthy: {states(health)}")


def judge_once(tasks: t.Sequence[t.Mapping[str, t.Any]], container: str) -> Verdict:
    """Tell whether a task that is run once has ended well."""
    if not tasks:
        return Verdict(why="ECS does not know the task yet")
    task = tasks[0]
    if task["lastStatus"] != "STOPPED":
        return Verdict(why=f"the task is {task['lastStatus']}")
    code = next((row.get("exitCode") for row in task.get("containers", []) if row["name"] == container), None)
    return Verdict(good=code == 0, bad=code != 0, why="" if code == 0 else stop_reason(task))


def stop_reason(task: t.Mapping[str, t.Any]) -> str:
    """Return why a task has stopped; nothing for one that its service did not need any more."""
    if str(task.get("stoppedReason", "")).startswith("Scaling activity"):
        return ""
    words = [f"{row['name']} ended with status {row['exitCode']}" for row in task.get("containers", []) if row.get("exitCode") is not None]
    words += [row["reason"] for row in task.get("containers", []) if row.get("reason")]
    return ", ".join(dict.fromkeys(filter(None, (task.get("stoppedReason", ""), *words))))


def tag_of(service: t.Mapping[str, t.Any], key: str) -> str:
    """Return a tag of a service, or nothing."""
    return next((row["value"] for row in service.get("tags", []) if row["key"] == key), "")


def mark_of(service: t.Mapping[str, t.Any]) -> str:
    """Return the task definition from which traffic was taken back, or nothing."""
    return tag_of(service, MARK)


def judge_alarms(found: t.Mapping[str, str], ignored: t.Container[str], insufficient_is_bad: bool) -> str:
    """Return what is wrong with alarms, or nothing."""
    bad = {"ALARM"} | ({"INSUFFICIENT_DATA"} if insufficient_is_bad else set())
    ringing = [f"{name} is in {state}" for name, state in sorted(found.items()) if state in bad and name not in ignored]
    return f"alarms: {', '.join(ringing)}" if ringing else ""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits for what the load balancer counts: errors in per cent of the requests, seconds of an answer on average, and the requests that make a judgement."""

    errors: float | None
    seconds: float | None
    least: int


def judge_metrics(limits: Limits, counted: t.Mapping[str, float], before: t.Mapping[str, float]) -> Verdict:
    """Tell whether what has been counted since a moment is within limits.

    Args:
        limits: the limits.
        counted: what has been counted until now.
        before: what had been counted at that moment; metrics come by the minute, and this one's are taken off.
    """
    new = {name: max(0.0, number - before.get(name, 0.0)) for name, number in counted.items()}
    requests = new.get("requests", 0.0) + new.get("refused", 0.0)
    if requests < limits.least:
        return Verdict(why=f"{requests:.0f} requests have been counted, at least {limits.least} are needed to judge")
    problems = []
    rate = 100 * (new.get("errors", 0.0) + new.get("refused", 0.0)) / requests if requests else 0.0
    if limits.errors is not None and rate > limits.errors:
        problems.append(f"{rate:.1f} % of {requests:.0f} requests failed, more than {limits.errors:g} %")
    average = new.get("seconds", 0.0) / new["answers"] if new.get("answers") else 0.0
    if limits.seconds is not None and average > limits.seconds:
        problems.append(f"an answer took {average:.3f} s on average, more than {limits.seconds:g} s")
    return Verdict(good=not problems, bad=bool(problems), why="; ".join(problems))
