# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of a blue/green deployment: steps, weights, task definitions, what another run has left, and verdicts."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

GROUPS = {"blue": "arn:b", "green": "arn:g"}
STEPS = {"strategy": "blue_green", "step_percent": 10, "step_bake": 300, "bake": 600, "steps": None}


def forward(*groups: tuple[str, int], **more: t.Any) -> dict[str, t.Any]:
    """Return an action that forwards."""
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups], **more}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(100, 600, False)]),
        ({"strategy": "canary"}, [(10, 300, False), (100, 600, False)]),
        ({"strategy": "linear", "step_percent": 40}, [(40, 300, False), (80, 300, False), (100, 600, False)]),
        ({"strategy": "linear", "step_percent": 50}, [(50, 300, False), (100, 600, False)]),
        ({"strategy": "canary", "step_percent": 100}, [(100, 300, False)]),
        ({"strategy": "steps", "steps": [{"weight": 5, "bake": 1, "pause": True}]}, [(5, 1, True), (100, 600, False)]),
    ],
)
def test_strategies_are_steps(options: dict[str, t.Any], expected: list[tuple[int, float, bool]]) -> None:
    """That end with all of the traffic."""
    assert [dataclasses.astuple(step) for step in plans.plan_steps({**STEPS, **options})] == expected


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "canary", "step_percent": 0},
        {"strategy": "linear", "step_percent": -5},
        {"strategy": "canary", "step_percent": 101},
        {"strategy": "steps", "steps": [{"weight": 30, "bake": 1, "pause": False}, {"weight": 20, "bake": 1, "pause": False}]},
        {"strategy": "steps", "steps": [{"weight": 30, "bake": 1, "pause": False}, {"weight": 30, "bake": 1, "pause": False}]},
    ],
)
def test_steps_that_do_not_grow_are_refused(options: dict[str, t.Any]) -> None:
    """Nothing, more than all, and back."""
    with pytest.raises(InvalidInput, match="let them grow"):
        plans.plan_steps({**STEPS, **options})


def test_a_step_bakes_forwards() -> None:
    """Less than 0 s is refused."""
    with pytest.raises(InvalidInput, match="less than 0 s"):
        plans.plan_steps({**STEPS, "strategy": "steps", "steps": [{"weight": 30, "bake": -1.0, "pause": False}]})


NUMBERS: dict[str, t.Any] = dict.fromkeys(plans.LIMITS, 100) | {"poll_interval": 5.0, "desired_count": None}


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("settle", -1.0, "it is -1; give 0 or more"),
        ("bake", float("nan"), "it is nan"),
        ("healthy_percent", 0, "from 1 to 100"),
        ("healthy_percent", 101, "from 1 to 100"),
        ("desired_count", 0, "give 1 or more"),
        ("poll_interval", 0.0, "give 0.05 or more"),
        ("poll_interval", 26.0, "make lock_ttl at least 4 times as long"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(name: str, given: float, words: str) -> None:
    """With the option's name; the documented defaults are not."""
    plans.refuse_numbers(NUMBERS)
    with pytest.raises(InvalidInput, match=words) as error:
        plans.refuse_numbers({**NUMBERS, name: given})
    assert ("lock_ttl" if given == 26 else name) in str(error.value)


def test_weights_change_and_everything_else_stays() -> None:
    """Stickiness, and the actions before; a simple forward becomes one by weights."""
    login = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {"ClientId": "x"}}
    sticky = {"TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60}}
    live = [login, {**forward(("arn:b", 1), **sticky), "TargetGroupArn": "arn:b", "Order": 2}]
    made = plans.with_weights(live, {"arn:b": 90, "arn:g": 10})
    assert made[0]["AuthenticateOidcConfig"] == {"ClientId": "x", "UseExistingClientSecret": True}
    assert made[1] == {**forward(("arn:b", 90), ("arn:g", 10), **sticky), "Order": 2}
    assert plans.is_sticky(made) and not plans.is_sticky([forward(("arn:b", 1))]) and not plans.is_sticky([])
    assert live[0] == login and plans.forward_weights(live) == {"arn:b": 1}
    assert plans.forward_weights([{"Type": "forward", "TargetGroupArn": "arn:b"}]) == {"arn:b": 1}


def test_equal_rules_are_equal() -> None:
    """Whatever order groups have, and whatever AWS adds; other weights, stickiness or actions are not."""
    one = [forward(("arn:b", 90), ("arn:g", 10))]
    same = [{**forward(("arn:g", 10), ("arn:b", 90), TargetGroupStickinessConfig={"Enabled": False}), "Order": 1}]
    assert plans.comparable(one) == plans.comparable(same)
    for other in (
        [forward(("arn:b", 80), ("arn:g", 20))],
        [forward(("arn:b", 90), ("arn:g", 10), TargetGroupStickinessConfig={"Enabled": True})],
        [{"Type": "authenticate-cognito"}, *one],
        [{"Type": "redirect"}],
    ):
        assert plans.comparable(one) != plans.comparable(other)


@pytest.mark.parametrize(
    ("actions", "live", "share"),
    [
        ([forward(("arn:b", 1))], "blue", 0),
        ([forward(("arn:b", 0), ("arn:g", 100))], "green", 100),
        ([forward(("arn:b", 3), ("arn:g", 1))], "", 25),
    ],
)
def test_the_live_colour_is_what_the_weights_say(actions: plans.Actions, live: str, share: int) -> None:
    """And nothing else."""
    found = plans.read_traffic(actions, GROUPS)
    assert (found.live, found.share("green")) == (live, share)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ([{"Type": "fixed-response"}], "does not forward"),
        ([], "does not forward"),
        ([forward(("arn:b", 1), ("arn:x", 0))], "arn:x, which is neither blue nor green"),
        ([forward(("arn:b", 0), ("arn:g", 0))], "all weights of the production rule are 0"),
    ],
)
def test_rules_that_cannot_be_moved_are_refused(actions: plans.Actions, words: str) -> None:
    """With what they are."""
    with pytest.raises(InvalidInput, match=words):
        plans.read_traffic(actions, GROUPS)


DEFINITION: dict[str, t.Any] = {
    "taskDefinitionArn": "arn:task-definition/web:3",
    "revision": 3,
    "family": "web",
    "networkMode": "awsvpc",
    "volumes": [],
    "containerDefinitions": [
        {"name": "app", "image": "app:1", "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}], "portMappings": [{"containerPort": 80}]},
        {"name": "log", "image": "log:1", "essential": False},
    ],
}


def test_images_and_variables_are_replaced() -> None:
    """And the rest of the task definition stays."""
    base = plans.content_of(DEFINITION)
    assert "revision" not in base and "volumes" not in base
    made = plans.replaced(base, {"app": "app:2"}, {"app": {"A": None, "C": 3}, "log": {"L": "x"}})
    app, log = made["containerDefinitions"]
    assert (app["image"], log["image"]) == ("app:2", "log:1") and plans.images_of(DEFINITION)["app"] == "app:1"
    assert app["environment"] == [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]
    assert log["environment"] == [{"name": "L", "value": "x"}]
    for images, environment, words in (
        ({"db": "x"}, {}, "it has app, log"),
        ({"app": 5}, {}, "its image is 5"),
        ({}, {"app": "A=1"}, "its environment is no dictionary"),
    ):
        with pytest.raises(InvalidInput, match=words):
            plans.replaced(base, images, environment)


def test_tags_of_aws_are_not_copied() -> None:
    """RegisterTaskDefinition and CreateService refuse them; those of this module say something of one service only."""
    tags = [{"key": "aws:cloudformation:stack-name", "value": "x"}, {"key": plans.MARK, "value": "y"}, {"key": "team", "value": "shop"}]
    assert plans.content_of({**DEFINITION, "tags": tags})["tags"] == tags[2:]
    assert plans.taken_over({"tags": tags}, plans.COPIED) == {"tags": tags[2:]}


BALANCER = {"containerName": "app", "containerPort": 80}


@pytest.mark.parametrize(
    ("balancer", "migration", "words"),
    [
        ({**BALANCER, "containerName": "web"}, None, "no container web, which the load balancer sends requests to; it has app, log"),
        ({**BALANCER, "containerPort": 81}, None, "its container app has no port 81"),
        (BALANCER, {"container": "db"}, "no container db, which the migration runs in"),
    ],
)
def test_a_task_definition_has_the_containers_that_are_needed(balancer: dict[str, t.Any], migration: dict[str, t.Any] | None, words: str) -> None:
    """Else it is refused."""
    plans.refuse_containers(DEFINITION, BALANCER, {"container": "log"})
    plans.refuse_containers({"containerDefinitions": [{"name": "app", "portMappings": [{"containerPortRange": "80-90"}]}]}, BALANCER, None)
    with pytest.raises(InvalidInput, match=words):
        plans.refuse_containers(DEFINITION, balancer, migration)


def test_equal_task_definitions_are_equal() -> None:
    """Whatever ECS fills in, and in whatever order variables are."""
    filled = plans.content_of(DEFINITION)
    app = filled["containerDefinitions"][0]
    app |= {"cpu": 0, "essential": True, "mountPoints": [], "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]}
    app["environment"].reverse()
    assert plans.normal(filled) == plans.normal(DEFINITION)
    app["command"] = ["b", "a"]
    with_command = plans.normal(filled)
    app["command"] = ["a", "b"]
    assert len({with_command, plans.normal(filled), plans.normal(DEFINITION)}) == 3


RECORD = plans.Record("t", "j", "host", 1000.0, 60.0, plans.MOVED, "blue", "green", "arn:2", "arn:1", (10, 100), 10, 2, 2, "new", {"blue": 0, "green": 100})


def test_a_record_is_read_as_it_was_written() -> None:
    """In less than the 4 KiB of a parameter, with long ARNs too."""
    long = dataclasses.replace(RECORD, definition="x" * 200, old_definition="y" * 200, shares=tuple(range(1, 101)), scaling={"a" * 100: {"Dynamic": True}})
    assert plans.read_record(long.text) == long and len(long.text) < 4096
    for text in ("", "[]", '{"token": "x", "shares": []}', "{}"):
        with pytest.raises(MainstayError, match="lock_name"):
            plans.read_record(text)
    assert RECORD.held(1059) and not RECORD.held(1060)
    assert dataclasses.replace(RECORD, beat=0).paused and not dataclasses.replace(RECORD, beat=0).held(5)


@pytest.mark.parametrize(
    ("written", "found", "phase"),
    [
        (10, 10, plans.MOVED),
        (10, 0, plans.MOVED),
        (100, 100, plans.MOVED),
        (10, 100, plans.RETIRING),
    ],
)
def test_a_target_that_a_person_has_given_everything_stays(written: int, found: int, phase: str) -> None:
    """Its deployment had not come so far."""
    assert plans.as_found(dataclasses.replace(RECORD, share=written), found).phase == phase


RETIRING = dataclasses.replace(RECORD, phase=plans.RETIRING)
PAUSED = dataclasses.replace(RECORD, beat=0.0)


@pytest.mark.parametrize(
    ("state", "record", "on_interrupted", "same", "expected"),
    [
        ("deployed", None, "rollback", False, plans.DEPLOY),
        ("rolled_back", None, "rollback", False, plans.DEPLOY),
        ("promoted", None, "rollback", False, plans.NOTHING),
        ("aborted", None, "rollback", False, plans.NOTHING),
        ("deployed", RECORD, "rollback", True, plans.BACK_AND_DEPLOY),
        ("deployed", RECORD, "resume", True, plans.RESUME),
        ("deployed", RECORD, "resume", False, plans.BACK_AND_DEPLOY),
        ("deployed", RETIRING, "rollback", True, plans.RESUME),
        ("deployed", RETIRING, "rollback", False, plans.FINISH_AND_DEPLOY),
        ("promoted", RECORD, "fail", False, plans.RESUME),
        ("promoted", PAUSED, "fail", False, plans.RESUME),
        ("aborted", PAUSED, "fail", False, plans.BACK),
        ("rolled_back", RECORD, "fail", False, plans.BACK),
        ("rolled_back", dataclasses.replace(RECORD, back=True), "fail", False, plans.RESUME),
    ],
)
def test_what_is_done_with_what_another_run_has_left(state: str, record: plans.Record | None, on_interrupted: str, same: bool, expected: str) -> None:
    """One way for each case."""
    assert plans.choose(state, record, 2000.0, on_interrupted, same) == expected


@pytest.mark.parametrize(
    ("record", "now", "on_interrupted", "reason"),
    [
        (RECORD, 1010.0, "rollback", "locked"),
        (PAUSED, 2000.0, "resume", "paused"),
        (RECORD, 2000.0, "fail", "interrupted"),
        (RETIRING, 2000.0, "fail", "interrupted"),
    ],
)
def test_what_another_run_has_is_left_alone(record: plans.Record, now: float, on_interrupted: str, reason: str) -> None:
    """While it lives, while it is paused, and if that is wanted."""
    with pytest.raises(MainstayError) as error:
        plans.choose("deployed", record, now, on_interrupted, True)
    assert error.value.details["reason"] == reason


def service(**more: t.Any) -> dict[str, t.Any]:
    """Return a service with a new deployment of two tasks."""
    newest = {"id": "new", "status": "PRIMARY", "rolloutState": "IN_PROGRESS", "desiredCount": 2, "runningCount": 2, "failedTasks": 0, **more}
    return {"serviceName": "web", "desiredCount": 2, "deployments": [newest]}


@pytest.mark.parametrize(
    ("more", "record", "expected"),
    [
        ({}, {}, False),
        ({"taskDefinition": "arn:1"}, {}, True),
        ({"desiredCount": 1}, {}, True),
        ({}, {"deployment": ""}, True),
        ({}, {"deployment": "other"}, True),
        ({}, {"deployment": "", "back": True}, False),
        ({"desiredCount": 0}, {"back": True}, True),
    ],
)
def test_a_service_is_told_once_what_to_run(more: dict[str, t.Any], record: dict[str, t.Any], expected: bool) -> None:
    """By a deployment of its own, unless it goes back to tasks that run still."""
    assert plans.must_start({**service(), "taskDefinition": "arn:2", **more}, dataclasses.replace(RECORD, **record)) == expected


WELL = [{"State": "healthy"}, {"State": "healthy"}]
ILL = [{"State": "healthy"}, {"State": "unhealthy", "Reason": "Target.Timeout", "Description": "Request timed out"}]


@pytest.mark.parametrize(
    ("row", "health", "percent", "expected"),
    [
        (service(), WELL, 100, (True, False)),
        (service(runningCount=1), WELL, 100, (False, False)),
        (service(), ILL, 100, (False, False)),
        (service(), ILL, 50, (True, False)),
        (service(), [{"State": "unused"}], 100, (False, True)),
        (service(id="other"), WELL, 100, (False, True)),
        (service(rolloutState="FAILED"), WELL, 100, (False, True)),
        (service(failedTasks=3), WELL, 100, (False, True)),
        (service(desiredCount=0, runningCount=0), [], 100, (False, False)),
    ],
)
def test_a_release_is_up_when_all_tasks_run(row: dict[str, t.Any], health: list[t.Any], percent: int, expected: tuple[bool, bool]) -> None:
    """Enough of them are healthy, and their deployment is the newest one still."""
    found = plans.judge_start(row, "new", health, percent, 3)
    assert (found.good, found.bad) == expected and (found.good or found.why)


def test_old_tasks_in_the_service_have_to_be_gone() -> None:
    """Else the new release would share its weight with an older one."""
    row = service()
    row["deployments"].append({"id": "old", "status": "ACTIVE", "desiredCount": 0, "runningCount": 1})
    assert not plans.judge_start(row, "new", WELL, 100, 3).good


def test_a_running_release_is_judged() -> None:
    """By its deployment, and by its targets."""
    assert plans.judge_running(service(), "new", WELL, 100, 3).good
    found = plans.judge_running(service(), "new", ILL, 100, 3)
    assert not found.good and not found.bad and found.why == "1 of 2 targets are healthy: 1 healthy, 1 unhealthy (Request timed out)"
    assert plans.judge_running(service(id="x"), "new", WELL, 100, 3).bad


def test_alarms_are_judged() -> None:
    """One without data only if that is wanted; one that rang before not at all."""
    found = {"a": "ALARM", "b": "INSUFFICIENT_DATA", "c": "OK"}
    assert plans.judge_alarms(found, set(), False) == "alarms: a is in ALARM"
    assert plans.judge_alarms(found, {"a"}, False) == ""
    assert plans.judge_alarms(found, {"a"}, True) == "alarms: b is in INSUFFICIENT_DATA"


@pytest.mark.parametrize(
    ("counted", "expected", "words"),
    [
        ({"requests": 130, "errors": 10}, (True, False), ""),
        ({"requests": 130, "errors": 16}, (False, True), "6.0 % of 100 requests failed, more than 5 %"),
        ({"requests": 120, "errors": 10, "refused": 10}, (False, True), "10.0 % of 100 requests failed"),
        ({"requests": 130, "errors": 10, "seconds": 250, "answers": 100}, (False, True), "2.500 s on average, more than 2 s"),
        ({"requests": 40, "errors": 20}, (False, False), "10 requests have been counted, at least 50"),
    ],
)
def test_metrics_are_judged_since_the_deployment_began(counted: dict[str, float], expected: tuple[bool, bool], words: str) -> None:
    """Not by what was counted before."""
    found = plans.judge_metrics(plans.Limits(5, 2, 50), counted, {"requests": 30, "errors": 10})
    assert (found.good, found.bad) == expected and words in found.why


def task(status: str = "STOPPED", code: int | None = 0, **more: t.Any) -> list[dict[str, t.Any]]:
    """Return a task that runs once."""
    return [{"lastStatus": status, "containers": [{"name": "app", **({} if code is None else {"exitCode": code})}], **more}]


@pytest.mark.parametrize(
    ("tasks", "expected", "words"),
    [
        ([], (False, False), "does not know"),
        (task("RUNNING", None), (False, False), "RUNNING"),
        (task(), (True, False), ""),
        (task(code=3, stoppedReason="Essential container in task exited"), (False, True), "Essential container in task exited, app ended with status 3"),
        (task(code=None, stoppedReason="CannotPullContainerError"), (False, True), "CannotPull"),
    ],
)
def test_a_task_that_runs_once_is_judged_by_its_container(tasks: list[dict[str, t.Any]], expected: tuple[bool, bool], words: str) -> None:
    """It ends with status 0."""
    found = plans.judge_once(tasks, "app")
    assert (found.good, found.bad) == expected and words in found.why


def test_the_other_service_is_made_like_the_live_one() -> None:
    """For its own target group; a capacity provider strategy stands instead of a launch type."""
    live = {
        "launchType": "FARGATE",
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}},
        "propagateTags": "NONE",
        "placementConstraints": [],
        "desiredCount": 3,
        "loadBalancers": [{"targetGroupArn": "arn:b", "containerName": "app", "containerPort": 80}, {"targetGroupArn": "arn:nlb", "containerPort": 81}],
    }
    made = plans.copy_of(live, "arn:b", "arn:g")
    assert [row["targetGroupArn"] for row in made["loadBalancers"]] == ["arn:g", "arn:nlb"]
    assert set(made) == {"capacityProviderStrategy", "networkConfiguration", "loadBalancers"}


@pytest.mark.parametrize(
    ("more", "newest"),
    [
        ({"serviceRegistries": [{"registryArn": "r"}]}, {}),
        ({}, {"serviceConnectConfiguration": {"enabled": True}}),
        ({}, {"volumeConfigurations": [{"name": "data"}]}),
    ],
)
def test_a_service_with_another_way_in_is_not_copied(more: dict[str, t.Any], newest: dict[str, t.Any]) -> None:
    """The new release would be used before it gets weight."""
    plans.refuse_copy("web", service(serviceConnectConfiguration={"enabled": False}))
    with pytest.raises(InvalidInput, match="by hand, with 0 tasks"):
        plans.refuse_copy("web", {**service(**newest), **more})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"deploymentController": {"type": "CODE_DEPLOY"}}, "leave CodeDeploy"),
        ({"deploymentController": {"type": "EXTERNAL"}}, "controller is EXTERNAL"),
        ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "use engine native"),
        ({"loadBalancers": []}, "does not register its tasks"),
    ],
)
def test_services_that_cannot_be_a_colour_are_refused(more: dict[str, t.Any], words: str) -> None:
    """With the reason."""
    row = {"loadBalancers": [{"targetGroupArn": "arn:b"}], **more}
    with pytest.raises(InvalidInput, match=words):
        plans.refuse_service("web", row, "arn:b")


def test_target_groups_must_do_the_same() -> None:
    """The first difference is named."""
    one = {"TargetGroupName": "b", "Protocol": "HTTP", "HealthCheckPath": "/health"}
    plans.refuse_pair([one, {**one, "TargetGroupName": "g"}])
    with pytest.raises(InvalidInput, match="HealthCheckPath is /health in b and / in g"):
        plans.refuse_pair([one, {**one, "TargetGroupName": "g", "HealthCheckPath": "/"}])
