# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green by ECS itself: begin a service deployment, watch it, answer its pauses, and have it rolled back.

ECS API reference, ``ServiceDeployment`` (states and stages), ``DeploymentConfiguration``, ``DeploymentLifecycleHook`` (PAUSE), ``StopServiceDeployment``.
ECS goes on if the module ends, so that an interrupted run is taken up by the next one.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_gates import GateFailed, Gates
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_moves import MOST_BLIND, stamp
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import NoReply
from ansible_collections.mainstay.ops.plugins.module_utils._aws.definitions import Definitions, run_once
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import LoadBalancing
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

STRATEGIES = {"blue_green": "BLUE_GREEN", "canary": "CANARY", "linear": "LINEAR"}
ENDED = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
SMOKE_STAGE = "POST_TEST_TRAFFIC_SHIFT"
SERVING = ("PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME")
BEGIN_SECONDS = 60.0
"""Seconds in which the service deployment that UpdateService begins has to be listed."""
OWN_PAUSE = "mainstay:smoke-test"
"""A tag of a service: ``yes`` if this module has given it the pause in which it is probed. A hook itself cannot say so."""


def configuration(options: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], own_pause: bool) -> dict[str, t.Any]:
    """Return the deployment configuration that is wanted: what the options say, and the rest as it is.

    Minutes are the smallest unit of ECS, so that seconds are rounded up.

    Args:
        options: the module's options.
        live: the deployment configuration that the service has.
        own_pause: whether the pause for a probe was given to it by this module, so that it goes when there is nothing to probe.

    Raises:
        InvalidInput: ECS has no such strategy.
    """
    strategy = STRATEGIES.get(options["strategy"])
    if strategy is None:
        raise InvalidInput("plan the deployment", "ECS has no strategy with single steps", "use canary or linear, or engine weighted")
    plans.plan_steps(options)
    bake, step = (math.ceil(options[name] / 60) for name in ("bake", "step_bake"))
    found = {key: each for key, each in live.items() if key not in ("linearConfiguration", "canaryConfiguration") and each is not None}
    found |= {"strategy": strategy, "bakeTimeInMinutes": bake}
    if strategy == "CANARY":
        found["canaryConfiguration"] = {"canaryPercent": float(options["step_percent"]), "canaryBakeTimeInMinutes": step}
    elif strategy == "LINEAR":
        found["linearConfiguration"] = {"stepPercent": float(options["step_percent"]), "stepBakeTimeInMinutes": step}
    if options["alarms"]:
        found["alarms"] = {"alarmNames": list(options["alarms"]), "enable": True, "rollback": True}
    hooks = list(found.get("lifecycleHooks") or [])
    if options["smoke_test"] and not has_smoke_pause(live):
        found["lifecycleHooks"] = [*hooks, {"targetType": "PAUSE", "lifecycleStages": [SMOKE_STAGE]}]
    elif own_pause and not options["smoke_test"] and has_smoke_pause(live):
        found["lifecycleHooks"] = [hook for hook in hooks if hook.get("targetType") != "PAUSE" or hook.get("lifecycleStages") != [SMOKE_STAGE]]
    return found


def has_smoke_pause(configured: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a deployment configuration pauses where the new release is probed."""
    hooks = configured.get("lifecycleHooks") or []
    return any(hook.get("targetType") == "PAUSE" and SMOKE_STAGE in (hook.get("lifecycleStages") or []) for hook in hooks)


def waiting_hook(deployment: t.Mapping[str, t.Any]) -> str:
    """Return the id of the hook that a deployment waits for an answer to, or nothing; while it goes back, none matters."""
    if deployment["status"].startswith("ROLLBACK"):
        return ""
    return next((hook["hookId"] for hook in deployment.get("lifecycleHookDetails") or [] if hook["status"] == "AWAITING_ACTION"), "")


def refuse_service(service: t.Mapping[str, t.Any]) -> None:
    """Refuse a service that ECS cannot deploy to by weights.

    Raises:
        InvalidInput: with what is missing.
    """
    doing = f"deploy to the service {service['serviceName']}"
    controller = (service.get("deploymentController") or {}).get("type", "ECS")
    if controller != "ECS":
        raise InvalidInput(doing, f"its deployment controller is {controller}", "make a service with the controller ECS")
    advanced = [row.get("advancedConfiguration") or {} for row in service.get("loadBalancers", [])]
    for field in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
        if not any(row.get(field) for row in advanced):
            raise InvalidInput(doing, f"its load balancer has no advancedConfiguration.{field}", "give the service one, or use engine weighted")


def source_definition(ecs: Ecs, deployment: t.Mapping[str, t.Any]) -> str:
    """Return the task definition that served before a deployment; empty for a service's first."""
    sources = deployment.get("sourceServiceRevisions") or []
    return str(ecs.revision(sources[0]["arn"]).get("taskDefinition", "")) if sources else ""


@dataclasses.dataclass(frozen=True)
class NativePlan:
    """What is to be done.

    Attributes:
        action: ``nothing``, ``begin``, ``follow``, ``continue`` or ``stop``.
        running: the deployment that goes on already; empty without one.
        definition: the task definition that is wanted; empty if it is not registered yet.
        content: what is to be registered then.
        old_definition: the one that serves.
        update: more fields for UpdateService.
        actions: all of it in words.
        tags: what the service is tagged with first.
        back: whether this goes back to an older release.
    """

    action: str
    running: str
    definition: str
    content: t.Mapping[str, t.Any]
    old_definition: str
    update: t.Mapping[str, t.Any]
    actions: tuple[str, ...]
    tags: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    back: bool = False


class NativeBlueGreen:
    """One run."""

    def __init__(self, ecs: Ecs, elb: LoadBalancing, gates: Gates, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        """Take clients, gates and the module's options."""
        self._elb, self._step_begun = elb, 0.0
        self._ecs, self._gates, self._params, self._check = ecs, gates, params, check_mode
        self._name = params["name"]
        self._definitions = Definitions(ecs, params)
        self._arn = ""
        self._rolled_back = False
        self._answered: set[str] = set()
        self._shown = ""
        self.events: list[str] = []
        self.steps: list[dict[str, t.Any]] = []
        self.warnings: list[str] = []

    def run(self) -> dict[str, t.Any]:
        """Do what the options say and return the module's result.

        Raises:
            MainstayError: it was refused or failed; its ``reason`` says which case it is.
        """
        self._refuse_features()
        service = self._service()
        refuse_service(service)
        plan = self._plan(service)
        if plan.action == "nothing":
            return self._result(plan, "unchanged", plan.old_definition)
        if plan.action == "begin":
            self._gates.preflight()
            self._preflight(service, plan)
        if self._check:
            return self._result(plan, "planned", plan.definition)
        try:
            phase = self._apply(plan, service)
        except MainstayError as error:
            error.details = {**self._result(plan, "failed", plan.old_definition), "changed": bool(self.events), **error.details}
            raise
        finally:
            if (shown := current().active()) is not None:
                shown.end()
        return self._result(plan, phase, self._service()["taskDefinition"])

    def _refuse_features(self) -> None:
        doing, step = "have ECS move the traffic", "install a newer boto3, or use engine weighted"
        needed = [("ListServiceDeployments", "", ""), ("StopServiceDeployment", "", "")]
        needed.append(("UpdateService", "DeploymentStrategy", STRATEGIES.get(self._params["strategy"], "BLUE_GREEN")))
        if self._params["smoke_test"] or self._params["state"] == "promoted":
            needed.append(("ContinueServiceDeployment", "", ""))
        for operation, shape, word in needed:
            if self._ecs.lacks(operation, shape, word):
                raise InvalidInput(doing, f"this boto3 does not know {f'the strategy {word}' if word else operation}", step)
        if self._params["metrics"]:
            raise InvalidInput(doing, "metrics are read of the target group of a colour", "give alarms instead, or use engine weighted")

    def _service(self) -> dict[str, t.Any]:
        found = self._ecs.services([self._name]).get(self._name)
        if found is None:
            cause = f"there is no active service of this name in the cluster {self._params['cluster']}"
            raise InvalidInput(f"deploy to the service {self._name}", cause, "see whether cluster, name and region are right")
        return found

    # The plan

    def _plan(self, service: t.Mapping[str, t.Any]) -> NativePlan:
        listed = self._ecs.service_deployments(self._name)
        running = next((row for row in listed if row["status"] not in ENDED), None)
        state = self._params["state"]
        failed = bool(listed) and listed[0]["status"] == "ROLLBACK_SUCCESSFUL"
        live = (self._source_definition(listed[0]["serviceDeploymentArn"]) if failed else "") or service["taskDefinition"]
        if running is not None:
            return self._plan_running(running, live)
        if state == "rolled_back" and not failed:
            return self._plan_back(service, listed)
        if state != "deployed":
            return NativePlan("nothing", "", live, {}, live, {}, ())
        definition, content = self._definitions.wanted(live)
        if definition == live and not self._params["force"]:
            return NativePlan("nothing", "", live, {}, live, {}, ())
        plans.refuse_containers(content, service["loadBalancers"][0], self._params["migration"])
        return self._begin(service, definition, content, live, back=False)

    def _plan_running(self, running: t.Mapping[str, t.Any], live: str) -> NativePlan:
        arn, state = running["serviceDeploymentArn"], self._params["state"]
        definition = self._ecs.revision(running["targetServiceRevisionArn"]).get("taskDefinition", "")
        if state in ("rolled_back", "aborted"):
            return NativePlan("stop", arn, definition, {}, live, {}, (f"stop the deployment {arn} and roll it back",))
        if state == "promoted":
            return NativePlan("continue", arn, definition, {}, live, {}, (f"go on with the deployment {arn}",))
        found = self._ecs.service_deployment(arn)
        doing = f"deploy to the service {self._name}"
        if waiting_hook(found) and not self._probes(found):
            cause = f"the deployment {arn} of {definition} is paused at {found.get('lifecycleStage')}"
            raise MainstayError(doing, cause, "promote it with state promoted, or take it back with state aborted", reason="paused")
        base = source_definition(self._ecs, found) or live
        if self._definitions.wanted(base)[0] == definition:
            return NativePlan("follow", arn, definition, {}, base, {}, (f"follow the deployment {arn}",))
        cause = f"the deployment {arn} of {definition} is not finished"
        raise MainstayError(doing, cause, "wait for its end, or take it back with state aborted", reason="busy")

    def _probes(self, deployment: t.Mapping[str, t.Any]) -> bool:
        """Tell whether a pause of a deployment is the one in which the release is probed."""
        return bool(self._params["smoke_test"]) and deployment.get("lifecycleStage") == SMOKE_STAGE

    def _source_definition(self, arn: str) -> str:
        """Return the task definition that served before a deployment; empty for a service's first."""
        return source_definition(self._ecs, self._ecs.service_deployment(arn))

    def _plan_back(self, service: t.Mapping[str, t.Any], listed: t.Sequence[t.Mapping[str, t.Any]]) -> NativePlan:
        live = service["taskDefinition"]
        last = next((row["serviceDeploymentArn"] for row in listed if row["status"] == "SUCCESSFUL"), "")
        before = self._source_definition(last) if last else ""
        if before and before == plans.mark_of(service):
            return NativePlan("nothing", "", live, {}, live, {}, ())
        if not before:
            raise MainstayError("go back", "ECS knows no release before this one", "deploy that release instead")
        return self._begin(service, before, {}, live, back=True)

    def _begin(self, service: t.Mapping[str, t.Any], definition: str, content: dict[str, t.Any], live: str, back: bool) -> NativePlan:
        configured = service.get("deploymentConfiguration") or {}
        own_pause = plans.tag_of(service, OWN_PAUSE) == "yes"
        wanted, update, tags = configuration(self._params, configured, own_pause), {}, {}
        words = [] if definition else [f"register a revision of {content['family']}"]
        if wanted != configured:
            update["deploymentConfiguration"] = wanted
            words.append(f"set the strategy {wanted['strategy']}")
        if has_smoke_pause(wanted) != has_smoke_pause(configured):
            tags[OWN_PAUSE] = "yes" if has_smoke_pause(wanted) else "-"
        if back:
            tags[plans.MARK] = live
        elif plans.mark_of(service) == definition:
            tags[plans.MARK] = "-"
        if self._params["desired_count"] and self._params["desired_count"] != service["desiredCount"]:
            update["desiredCount"] = self._params["desired_count"]
        if definition == service["taskDefinition"]:
            update["forceNewDeployment"] = True
        if self._params["migration"] and not back:
            words.append(f"migrate: {' '.join(self._params['migration']['command'])}")
        words.append(f"have ECS deploy {definition or 'the new revision'} to {self._name}")
        return NativePlan("begin", "", definition, content, live, update, tuple(words), tags, back)

    def _preflight(self, service: t.Mapping[str, t.Any], plan: NativePlan) -> None:
        """Refuse to begin where there would be no way back: ECS itself looks neither at the live weights nor at the health of what serves.

        Raises:
            MainstayError: traffic is split, or nothing that serves is healthy.
        """
        doing = f"deploy to the service {self._name}"
        balancer = next(row for row in service["loadBalancers"] if row.get("advancedConfiguration"))
        rule = balancer["advancedConfiguration"]["productionListenerRule"]
        groups = {plans.BLUE: balancer["targetGroupArn"], plans.GREEN: balancer["advancedConfiguration"]["alternateTargetGroupArn"]}
        actions = self._elb.actions([rule], to_change=False)[rule]
        live = plans.read_traffic(actions, groups).live
        if not live:
            cause = f"both of its target groups get traffic ({plans.describe_weights(plans.forward_weights(actions), groups)})"
            raise MainstayError(doing, cause, "give one of them all of it by hand", reason="conflict")
        health = self._elb.health(groups[live])
        if not plans.healthy(health) and not plan.back and not self._params["force"]:
            cause = f"what serves has no healthy target ({plans.states(health)}), so there would be no way back"
            raise MainstayError(doing, cause, "repair it, or deploy with force", reason="live_unhealthy")

    # The moves

    def _apply(self, plan: NativePlan, service: t.Mapping[str, t.Any]) -> str:
        self._arn = plan.running
        if plan.action == "stop":
            self._roll_back("it was asked for")
            return "finished"
        if plan.action == "begin":
            self._arn = self._start(plan, service)
        try:
            return self._follow(plan)
        except GateFailed as error:
            self._roll_back_after(error)
            raise MainstayError(
                error.doing, error.cause, error.next_step or "the old release serves", reason="rolled_back", rollback_reason=str(error), rolled_back=True
            ) from error

    def _start(self, plan: NativePlan, service: t.Mapping[str, t.Any]) -> str:
        definition = plan.definition or self._ecs.register(plan.content)
        if self._params["migration"] and not plan.back:
            run_once(self._ecs, service, definition, secrets.token_hex(8), self._params["migration"], self._pause)
            self._event("migrated")
        doing, listed = f"deploy to the service {self._name}", self._ecs.service_deployments(self._name)
        if any(row["status"] not in ENDED for row in listed):
            raise MainstayError(doing, "somebody else has begun a deployment of it meanwhile", "wait for its end", reason="busy")
        if plan.tags:
            self._ecs.tag(service["serviceArn"], plan.tags)
        self._ecs.update(self._name, taskDefinition=definition, **plan.update)
        self._event(f"began the deployment of {definition.rpartition('/')[2]}")
        end, known = time.monotonic() + BEGIN_SECONDS, {row["serviceDeploymentArn"] for row in listed}
        while True:
            new = [row for row in self._ecs.service_deployments(self._name) if row["serviceDeploymentArn"] not in known]
            mine = [row for row in new if self._ecs.revision(row["targetServiceRevisionArn"]).get("taskDefinition") == definition]
            if mine:
                return str(mine[0]["serviceDeploymentArn"])
            if time.monotonic() >= end:
                raise MainstayError(doing, "ECS has begun no deployment of it", "look at the service's events", reason="busy")
            self._pause(end - time.monotonic())

    def _follow(self, plan: NativePlan) -> str:
        """Watch the deployment to its end, or to a pause; return the phase.

        Raises:
            GateFailed: a gate says that it must not go on, or the time is over.
            MainstayError: ECS has rolled it back, it was stopped, or AWS does not answer.
        """
        seen = time.monotonic()
        end = seen + self._params["wait_timeout"]
        while True:
            try:
                phase = self._look(plan)
            except NoReply as error:
                if time.monotonic() - seen > MOST_BLIND:
                    cause = f"AWS has not answered for {MOST_BLIND:.0f} s ({error.cause})"
                    raise MainstayError(f"watch the deployment {self._arn}", cause, "it goes on by itself; run the same again to follow it") from error
            else:
                if phase:
                    return phase
                seen = time.monotonic()
            if time.monotonic() >= end:
                raise GateFailed(f"deploy to the service {self._name}", f"it was not done within {self._params['wait_timeout']:.0f} s, at {self._shown}")
            self._pause(max(0.0, end - time.monotonic()))

    def _look(self, plan: NativePlan) -> str:
        """Look once, and answer a pause; return the phase if the run is over."""
        found = self._ecs.service_deployment(self._arn)
        self._show(found)
        if found["status"] in ENDED:
            return self._ended(found)
        stage, hook = found.get("lifecycleStage"), waiting_hook(found)
        if hook:
            promoted = plan.action == "continue" and (not self._answered or hook in self._answered)
            if not promoted and not self._probes(found):
                self._event(f"paused at {stage} until it is promoted")
                return "paused"
            if self._probes(found):
                self._gates.probe("smoke_test")
            else:
                self._answered.add(hook)  # one pause is promoted, also if the answer of AWS is lost
            self._ecs.continue_deployment(self._arn, hook, "CONTINUE")
            self._event(f"went on after {stage}")
        elif stage in SERVING and found["status"] == "IN_PROGRESS":
            self._gates.look("", "", last=False)
            self._gates.probe("step_test")
        return ""

    def _show(self, found: t.Mapping[str, t.Any]) -> None:
        """Tell of a stage that has not been told of yet, and how long a step has taken."""
        if self.steps and found["status"] in ("IN_PROGRESS", "SUCCESSFUL"):
            self.steps[-1]["seconds"] = round(time.monotonic() - self._step_begun, 1)
        share = (found.get("targetServiceRevision") or {}).get("requestedProductionTrafficWeight", 0.0)
        words = f"{found.get('lifecycleStage') or found['status']}, {share:g} % to the new release"
        if words != self._shown:
            self._shown = words
            current().phase(words)
            self._event(words)
            if share and (not self.steps or self.steps[-1]["share"] != share):
                self.steps.append({"share": share, "begun": stamp(), "seconds": 0.0})
                self._step_begun = time.monotonic()

    def _ended(self, found: t.Mapping[str, t.Any]) -> str:
        status, why = found["status"], found.get("statusReason") or "ECS gives no reason"
        if status == "SUCCESSFUL":
            return "finished"
        doing = f"deploy to the service {self._name}"
        self._rolled_back = status == "ROLLBACK_SUCCESSFUL"
        if self._rolled_back:
            raise MainstayError(doing, why, "the old release serves; see what was wrong with the new one", reason="rolled_back", rollback_reason=why)
        step = f"look at the deployment {self._arn} and at the weights of the rule by hand"
        raise MainstayError(doing, f"it ended as {status}: {why}", step, reason="rollback_failed")

    def _roll_back(self, why: str) -> None:
        """Have ECS roll the deployment back, and wait for that.

        Raises:
            MainstayError: it did not end well.
        """
        self._event(f"go back: {why}")
        self._ecs.stop_deployment(self._arn)
        end = time.monotonic() + self._params["rollback_timeout"]
        while (found := self._ecs.service_deployment(self._arn))["status"] not in ENDED:
            self._show(found)
            if time.monotonic() >= end:
                cause = f"ECS has not rolled the deployment {self._arn} back within {self._params['rollback_timeout']:.0f} s"
                raise MainstayError("go back", cause, "it goes on by itself; look at it", reason="rollback_failed")
            self._pause(end - time.monotonic())
        if found["status"] != "ROLLBACK_SUCCESSFUL":
            raise MainstayError("go back", f"the deployment ended as {found['status']}", "look at the service and the rule", reason="rollback_failed")
        self._rolled_back = True

    def _roll_back_after(self, error: GateFailed) -> None:
        """Roll back after a failure; if that fails, tell both."""
        try:
            self._roll_back(str(error))
        except MainstayError as second:
            raise MainstayError("go back after a failure", f"{second} (the failure: {error})", "", **second.details) from error

    def _pause(self, most: float) -> None:
        time.sleep(min(self._params["poll_interval"], most))

    def _event(self, words: str) -> None:
        self.events.append(f"{stamp()} {words}")

    def _result(self, plan: NativePlan, phase: str, definition: str) -> dict[str, t.Any]:
        before = {"definition": plan.old_definition, "images": self._definitions.images(plan.old_definition), "live": ""}
        images = plans.images_of(plan.content) if plan.content else self._definitions.images(plan.definition)
        after = {"definition": plan.definition or "(to be registered)", "images": images, "live": ""}
        return {
            "changed": plan.action != "nothing",
            "actions": list(plan.actions),
            "phase": phase,
            "live_color": "",
            "previous_color": "",
            "task_definition": definition,
            "previous_task_definition": plan.old_definition,
            "weights": {},
            "steps": self.steps,
            "events": self.events,
            "rolled_back": self._rolled_back,
            "back_seconds": 0.0,
            "service_deployment_arn": self._arn,
            "diff": {"before": before, "after": before if phase in ("failed", "unchanged") or plan.action == "stop" else after},
        }
