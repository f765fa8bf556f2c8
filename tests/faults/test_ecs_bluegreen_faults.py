# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_bluegreen, killed before each of its changes, with faults of AWS, and made to do things in a wrong order: only that loses requests."""

from __future__ import annotations

import collections
import json
import pathlib
import shlex
import sys
import time
import typing as t
import urllib.request

import pytest
from bluegreen import LONG, NATIVE, SABOTAGE, STOPPED, Shop, compare_modules, forward, native_shop, shop, short_name, until
from cloud import FIXTURE, Cloud, cloud, site
from ports import free_port
from servers import Runner

LEAST_REQUESTS = 2000
MOST_WRITES = 60
APPLICATION = FIXTURE / "cloudsim" / "app.py"


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud() as started:
        yield started
        compare_modules(started)


@pytest.fixture
def web(running: Cloud, run_module: Runner, request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Shop]:
    """A web service of its own."""
    with shop(running, short_name(request.node.name), run_module, tmp_path) as made:
        yield made
        running.control("mend")


@pytest.fixture
def native(running: Cloud, run_module: Runner, request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Shop]:
    """A service that ECS itself deploys to."""
    with native_shop(running, short_name(request.node.name), run_module, tmp_path) as made:
        yield made


STRATEGIES: list[dict[str, t.Any]] = [
    {"strategy": "linear", "step_percent": 25, "step_bake": 0.3},
    {"strategy": "steps", "steps": [{"weight": 1, "bake": 0.3}, {"weight": 50, "bake": 0.3}]},
]


def test_every_strategy_loses_no_request(web: Shop) -> None:
    """Of at least 2,000 each."""
    for number, options in enumerate(STRATEGIES, start=2):
        with web.load() as load:
            made = web(images={"app": f"app:v{number}"}, **options)
            until(lambda load=load: load.total >= LEAST_REQUESTS, "enough requests")
        assert made["phase"] == "finished" and load.lost == 0, (made, load.answers)
        web.is_whole(f"app:v{number}")


def autoscaled(web: Shop) -> dict[str, t.Any]:
    """Give blue autoscaling; return how to ask for it."""
    target = {"ServiceNamespace": "ecs", "ResourceId": f"service/{web.site.cluster}/{web.site.name}-blue", "ScalableDimension": "ecs:service:DesiredCount"}
    web.site.cloud.client("application-autoscaling").register_scalable_target(MinCapacity=0, MaxCapacity=4, **target)
    return {"ServiceNamespace": "ecs", "ResourceIds": [target["ResourceId"]]}


def is_free(web: Shop, target: dict[str, t.Any]) -> None:
    """Fail unless autoscaling is as it was."""
    found = web.site.cloud.client("application-autoscaling").describe_scalable_targets(**target)["ScalableTargets"][0]
    assert not found.get("SuspendedState", {}).get("DynamicScalingInSuspended"), found


@pytest.mark.parametrize("ending", ["rollback", "resume", "aborted"])
def test_a_kill_beside_any_change_is_ended_by_the_next_run(web: Shop, ending: str) -> None:
    """The service stays whole under load, and the next run takes the rest back or goes on, once the lock is dead; nothing is left behind."""
    target, live = autoscaled(web), "app:v1"
    options = {"strategy": "canary", "lock_ttl": 1, "step_bake": 0.2, "bake": 0.2, "migration": {"container": "app", "command": ["true"]}}
    killed, number = True, 0
    with web.load(pause=0.2) as load:
        while killed and number < MOST_WRITES:
            number += 1
            wanted = f"app:k{number}"
            killed = web.killed_at(number, images={"app": wanted}, **options)
            if not killed:
                live = wanted
                break
            time.sleep(1.2 * options["lock_ttl"])
            more = {"state": "aborted"} if ending == "aborted" else {"on_interrupted": ending, "images": {"app": wanted}}
            ended = web(**options, **more)
            assert not ended["failed"], (number, ended)
            if ending != "aborted" or (web.site.get()[1] == wanted):
                live = wanted
            web.is_whole(live)
            is_free(web, target)
            assert load.lost == 0, (number, load.answers)
    assert 10 < number < MOST_WRITES and load.total >= LEAST_REQUESTS and load.lost == 0, (number, load.answers)
    web.is_whole(live)


def test_a_kill_on_the_way_back_is_ended_by_the_next_run(web: Shop) -> None:
    """Too: a release that a gate refuses with some of the traffic, and a controller that dies while it takes it back."""
    target = autoscaled(web)
    closed = {"checks": [{"type": "tcp", "host": "127.0.0.1", "port": free_port()}]}
    options = {"strategy": "canary", "lock_ttl": 1, "step_test": closed}
    killed, number = True, 0
    with web.load(pause=0.2) as load:
        while killed and number < MOST_WRITES:
            number += 1
            killed = web.killed_at(number, images={"app": f"app:k{number}"}, **options)
            time.sleep(1.2 * options["lock_ttl"])
            ended = web(state="aborted", **options)
            assert not ended["failed"], (number, ended)
            web.is_whole("app:v1")
            is_free(web, target)
    assert 10 < number < MOST_WRITES and load.lost == 0, (number, load.answers)


def test_a_kill_during_an_abortion_is_ended_by_the_next_run(web: Shop) -> None:
    """A person takes a paused release back, and the controller dies on the way: the service stays whole, and the same command again ends it."""
    target = autoscaled(web)
    paused = {"strategy": "steps", "steps": [{"weight": 25, "bake": 0.2, "pause": True}]}
    killed, number = True, 0
    with web.load(pause=0.2) as load:
        while killed and number < MOST_WRITES:
            number += 1
            begun = web(images={"app": f"app:k{number}"}, **paused)
            assert begun["phase"] == "paused", (number, begun)
            killed = web.killed_at(number, state="aborted", lock_ttl=1)
            ended = until_free(web, state="aborted", lock_ttl=1)
            assert not ended["failed"], (number, ended)
            web.is_whole("app:v1")
            is_free(web, target)
            assert load.lost == 0, (number, load.answers)
    assert 6 < number < MOST_WRITES, number


def until_free(web: Shop, **options: t.Any) -> dict[str, t.Any]:
    """Run the module as soon as no run that has died counts as alive any more, and return its result."""
    until(lambda: (record := web.record()) is None or not record.held(time.time()), "the death of the lock")
    return web(**options)


SLOW = "/sleep/8"
"""Requests that take so many seconds that a busy machine cannot be slower."""
SITUATIONS: dict[str, tuple[int, float, str, dict[str, t.Any]]] = {
    "": (600, 500, SLOW, {"settle": 11}),
    "no settle": (30, 500, "/", {"settle": 11}),
    "no drain": (0, 10, SLOW, {"settle": 0.3, "bake": 0}),
    "shift before attach": (30, 10, "/", {"settle": 0.3}),
}
"""Deregistration delay and propagation of rules in seconds of AWS, what clients ask for, and the module's options."""


@pytest.mark.parametrize("operation", ["ModifyRule", "UpdateService"])
def test_a_stop_right_after_a_change_takes_it_back(web: Shop, operation: str) -> None:
    """The run knows its own change although it could not read it; who is told to end does not take it for somebody else's."""
    assert web()["phase"] == "finished" and web(state="rolled_back")["phase"] == "finished"
    with web.load(pause=0.1) as load:
        stopped = web.finish(web.patched(STOPPED.format(operation=operation), strategy="canary", step_bake=LONG, images={"app": "app:v3"}, test=None))
    assert "SIGTERM" in stopped["msg"] and stopped["rolled_back"] and load.lost == 0, (stopped, load.answers)
    web.is_whole("app:v1")


@pytest.mark.parametrize("name", ["", *SABOTAGE])
def test_only_a_wrong_order_loses_requests(running: Cloud, run_module: Runner, tmp_path: pathlib.Path, name: str) -> None:
    """Without the wait until weights are in force, without draining, and with traffic before there are tasks; so the other tests can fail."""
    drain, propagation, path, options = SITUATIONS[name]
    before = running.control("state")["propagation"]
    try:
        with shop(running, short_name(f"sabotage {name}"), run_module, tmp_path, drain=drain) as web:
            running.control("set", propagation=propagation)
            with web.load(path) as load:
                made = web.sabotaged(name, **options) if name else web(**options)
                web.site.settle()
        assert (load.lost == 0) == (name == "") and (name or made["phase"] == "finished"), (made, load.answers)
    finally:
        running.control("set", propagation=before)


def test_a_ringing_alarm_takes_a_release_back(web: Shop) -> None:
    """One that rings before is refused, or left out; one that is not there is refused."""
    alarms = web.site.cloud.client("cloudwatch")
    row = {"Namespace": "Test", "MetricName": "x", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1}
    alarms.put_metric_alarm(AlarmName="web-5xx", ComparisonOperator="GreaterThanThreshold", **row)
    assert "there is no alarm web-9xx" in web(alarms=["web-5xx", "web-9xx"])["msg"]
    process = web.start(alarms=["web-5xx"], bake=LONG)
    until(lambda: web.site.live_weights() == (0, 100), "the new release")
    alarms.set_alarm_state(AlarmName="web-5xx", StateValue="ALARM", StateReason="test")
    failed = web.finish(process)
    assert "web-5xx is in ALARM" in failed["msg"] and failed["weights"] == {"blue": 100, "green": 0}
    web.is_whole("app:v1")
    assert web(alarms=["web-5xx"])["reason"] == "alarm"
    assert web(alarms=["web-5xx"], allow_preexisting_alarm=True)["phase"] == "finished"


@pytest.mark.parametrize("fault", ["lost_reply", "lost_request", "throttle"])
def test_lost_and_refused_calls_end_well(web: Shop, fault: str) -> None:
    """Each write of a rule or a service meets it once."""
    for service, operation in (("elbv2", "ModifyRule"), ("ecs", "UpdateService"), ("ssm", "PutParameter"), ("ecs", "DescribeServices")):
        web.site.cloud.fault(fault, service, operation, skip=1)
    made = web(strategy="canary")
    assert made["phase"] == "finished", made
    web.is_whole("app:v2")


WRITES = (
    ("ssm", "PutParameter"),
    ("elbv2", "ModifyRule"),
    ("application-autoscaling", "RegisterScalableTarget"),
    ("ecs", "RunTask"),
    ("ecs", "UpdateService"),
)
"""What the module changes before a release gets traffic."""


def test_a_missing_permission_moves_no_traffic(web: Shop) -> None:
    """Whichever it is: it is named, and everything is as before. So that it is found before, all kinds of writes come before the first weight."""
    target = autoscaled(web)
    web(images={"app": "app:v2"})
    web(state="rolled_back")
    options = {"images": {"app": "app:v3"}, "migration": {"container": "app", "command": ["true"]}}
    for service, operation in WRITES:
        web.site.cloud.fault("error", service, operation, code="AccessDeniedException", status=400)
        with web.load(pause=0.1) as load:
            refused = web(**options)
        web.site.cloud.control("mend")
        assert refused["failed"] and f"the permission for the call {operation}" in refused["msg"], (operation, refused)
        assert load.lost == 0 and set(load.answers) == {"app:v1"} and not any("% of the traffic goes" in event for event in refused.get("events", []))
        web.is_whole("app:v1")
        is_free(web, target)


def test_the_rule_of_a_service_under_maintenance_is_left_alone(web: Shop) -> None:
    """Somebody answers for the whole service with a page of theirs in the middle of a canary: both versions are told."""
    process = web.start(strategy="canary", step_percent=20, step_bake=LONG)
    until(lambda: web.site.live_weights() == (80, 20), "the canary")
    page = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}]
    web.site.elb.modify_rule(RuleArn=web.site.rule, Actions=page)
    failed = web.finish(process)
    assert failed["reason"] == "conflict" and failed["live"][0]["Type"] == "fixed-response", failed
    assert failed["expected"][0]["Type"] == "forward" and failed["weights"] == {"blue": 0, "green": 0}
    assert web.site.elb.describe_rules(RuleArns=[web.site.rule])["Rules"][0]["Actions"][0]["Type"] == "fixed-response"
    assert "does not forward" in web()["msg"]
    web.weights(0, 100)
    made = web()
    assert made["phase"] == "finished" and not made["rolled_back"], made
    web.is_whole("app:v2")


def test_calls_do_not_grow_with_the_length_of_a_deployment(web: Shop) -> None:
    """Beyond those of each look, a service and its targets once, with the rule while it has traffic; and a sign of life now and then."""
    assert web()["phase"] == "finished"  # which has made the service green
    short, long = (web(images={"app": f"app:bake{bake}"}, bake=bake)["api_calls"] for bake in (1, 8))
    assert long.keys() == short.keys()
    more = collections.Counter({name: long[name] - short[name] for name in long if long[name] != short[name]})
    looks = ("elbv2:DescribeRules", "ecs:DescribeServices", "elbv2:DescribeTargetHealth")
    assert set(more) <= {*looks, "ssm:PutParameter"} and more["elbv2:DescribeRules"] > 5, (short, long)
    assert abs(more["ecs:DescribeServices"] - more["elbv2:DescribeTargetHealth"]) <= 1, (short, long)


def test_a_long_probe_does_not_cost_the_lock(web: Shop) -> None:
    """It lives while the probe takes longer than a lock without a sign of life does."""
    probe = {"checks": [{"type": "http", "url": web.test_url()}], "duration": 20, "interval": 0.5}
    process, ages = web.start(lock_ttl=8, smoke_test=probe), []
    while process.poll() is None:
        record = web.record()
        if record is not None:
            ages.append(time.time() - record.beat)
        time.sleep(0.3)
    assert web.finish(process)["phase"] == "finished" and max(ages) < 8 and len(ages) > 10, ages
    web.is_whole("app:v2")


def test_a_whole_task_definition_and_other_names(running: Cloud, run_module: Runner, tmp_path: pathlib.Path) -> None:
    """With as many tasks as are asked for, of which not all have to be healthy; a lock of another name, and autoscaling that is left as it is."""
    with shop(running, "spec", run_module, tmp_path) as web:
        target = autoscaled(web)
        container = {"name": "app", "image": "app:v2", "portMappings": [{"containerPort": 8080}], "stopTimeout": 10}
        spec = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512", "containerDefinitions": [container]}
        names = {"blue": "spec-blue", "green": "another"}
        options = {"task_definition_spec": spec, "services": names, "desired_count": 3, "healthy_percent": 60, "autoscaling": "leave"}
        process = web.start(bake=LONG, lock_name="/lock/spec", lock_ttl=1, **options)
        until(lambda: web.site.live_weights() == (0, 100), "the new release")
        is_free(web, target)
        locks = web.site.cloud.client("ssm").describe_parameters()["Parameters"]
        assert "/lock/spec" in [row["Name"] for row in locks] and web.parameters() == []
        process.kill()
        process.communicate()
        more = {"services": names, "lock_name": "/lock/spec", "state": "aborted"}
        until(lambda: not web(check=True, **more)["failed"], "the death of the lock")
        assert web(**more)["rolled_back"]
        web.is_whole("app:v1")
        assert web.site.states(web.site.blue) == ["healthy"] * 2
        made = web(**options)
        assert made["phase"] == "finished" and web.site.describe("another")["desiredCount"] == 3, made
        web.site.wait_healthy(web.site.green, 3)


def test_a_pause_is_ended_by_abortion_or_by_hand(web: Shop) -> None:
    """Somebody who gives the paused release everything, or nothing, has decided; a task definition may be given."""
    steps = {"strategy": "steps", "steps": [{"weight": 25, "bake": 0.2, "pause": True}]}
    given = web(task_definition=web.site.definition("app:v2"), **steps)
    assert given["phase"] == "paused" and web.site.live_weights() == (75, 25), given
    aborted = web(state="aborted")
    assert aborted["changed"] and aborted["rolled_back"] and not web(state="aborted")["changed"]
    web.is_whole("app:v1")
    assert web(task_definition=given["previous_task_definition"])["actions"] == []
    assert web(**steps)["phase"] == "paused"
    web.weights(0, 100)
    assert web()["reason"] == "paused"
    promoted = web(state="promoted")
    assert promoted["phase"] == "finished" and promoted["steps"] == [], promoted
    web.is_whole("app:v2")


def test_limits_end_a_deployment(web: Shop) -> None:
    """Failed tasks, an alarm without data, a migration that hangs; and what is done by force."""
    control, image = web.site.cloud.control, {"app": f"{web.site.name}:repaired"}
    control("image", image=image["app"], argv=["false"])
    crashed = web(images=image, max_failed_tasks=1)
    assert "of its tasks have failed" in crashed["msg"] and crashed["rolled_back"]
    control("image", image=image["app"], argv=[sys.executable, "-S", str(APPLICATION), "{address}", "{port}", "{image}"])
    assert web(images=image, max_failed_tasks=1)["phase"] == "finished", "a new deployment counts anew"
    assert web(state="rolled_back")["phase"] == "finished"
    row = {"Namespace": "Test", "MetricName": "x", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1}
    web.site.cloud.client("cloudwatch").put_metric_alarm(AlarmName="silent", ComparisonOperator="GreaterThanThreshold", **row)
    silent = web(alarms=["silent"], alarm_on_insufficient="fail")
    assert "silent is in INSUFFICIENT_DATA" in silent["msg"] and silent["rolled_back"]
    hung = web(migration={"container": "app", "command": ["sleep", "60"], "timeout": 1})
    assert "it did not end within 1 s" in hung["msg"] and hung["rolled_back"]
    web.is_whole("app:v1")
    assert not web(images={"app": "app:v1"})["changed"]
    forced = web(images={"app": "app:v1"}, force=True)
    assert forced["phase"] == "finished" and forced["live_color"] == "green"
    web.is_whole("app:v1")


def test_what_cannot_be_taken_back_is_said_with_the_command(web: Shop) -> None:
    """AWS refuses to write the old weights until the time is over; the command does it, and the next run puts the rest in order."""
    process = web.start(strategy="canary", step_percent=20, step_bake=LONG, rollback_timeout=1)
    until(lambda: web.site.live_weights() == (80, 20), "the canary")
    web.site.cloud.fault("error", "elbv2", "ModifyRule", code="AccessDenied", status=403, count=99)
    process.terminate()
    failed = web.finish(process)
    assert failed["reason"] == "rollback_failed" and web.site.live_weights() == (80, 20), failed
    web.site.cloud.control("mend")
    words = shlex.split(failed["command"])
    assert words[:5] == ["aws", "elbv2", "modify-rule", "--rule-arn", web.site.rule] and words[5] == "--actions"
    web.site.elb.modify_rule(RuleArn=words[4], Actions=json.loads(words[6]))
    assert web.site.live_weights() == (100, 0)
    assert web(state="aborted")["phase"] == "finished"
    web.is_whole("app:v1")


def test_going_back_from_a_broken_release(web: Shop) -> None:
    """Its tasks being ill is the reason to go back, and no reason not to."""
    assert web(images={"app": "app:v2"})["phase"] == "finished"
    long_grace = {"service": f"{web.site.name}-green", "healthCheckGracePeriodSeconds": 100_000}  # ECS shall not replace them
    web.site.ecs.update_service(cluster=web.site.cluster, **long_grace)
    for task in web.site.cloud.tasks("app:v2"):
        urllib.request.urlopen(f"http://{task['address']}:{task['port']}/health/fail", b"", timeout=30).close()
    until(lambda: set(web.site.states(web.site.green)) == {"unhealthy"}, "the illness of green")
    assert web(images={"app": "app:v3"})["reason"] == "live_unhealthy"
    back = web(state="rolled_back")
    assert back["phase"] == "finished", back
    web.is_whole("app:v1")


def test_a_listeners_default_action_is_moved(running: Cloud, run_module: Runner, tmp_path: pathlib.Path) -> None:
    """Without a rule of its own."""
    with site(running, "plain") as made:
        made.elb.delete_rule(RuleArn=made.rule)
        made.elb.modify_listener(ListenerArn=made.listener, DefaultActions=forward({made.blue: 1}))
        made.service("plain-blue", "app:v1", made.blue)
        made.wait_healthy(made.blue)
        whole = Shop(made, run_module, tmp_path)
        assert whole(production=made.listener, test=None)["phase"] == "finished"
        made.settle()
        assert made.get() == (200, "app:v2")


def test_ecs_itself_takes_a_release_back(native: Shop) -> None:
    """When a gate of the module says so, and when it is asked for; a paused one is promoted."""
    probe = {"checks": [{"type": "http", "url": native.test_url()}], "samples": 40, "interval": 0, "max_error_rate": 0.1}
    with native.load() as load:
        failed = native(**{**NATIVE, "images": {"app": "app:v2-errors"}, "smoke_test": probe})
    assert failed["reason"] == "rolled_back" and failed["rolled_back"] and load.lost == 0, (failed, load.answers)
    late = native(**{**NATIVE, "wait_timeout": 1})
    assert "it was not done within 1 s" in late["msg"] and "the old release serves" in late["msg"] and late["rolled_back"], late
    native.weights(90, 10)
    split = native(**NATIVE)
    assert split["reason"] == "conflict" and not split["changed"] and native.site.live_weights() == (90, 10), split
    native.weights(100, 0)
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
    configuration = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1, "lifecycleHooks": [hook]}
    native.site.ecs.update_service(cluster=native.site.cluster, service=native.site.name, deploymentConfiguration=configuration)
    assert native(**NATIVE)["phase"] == "paused"
    seen = native.info("native")
    assert seen["images"] == {"app": "app:v1"} and (seen["deployment"]["state"], seen["deployment"]["stage"]) == ("paused", "POST_SCALE_UP"), seen
    assert native(**NATIVE)["reason"] == native(**{**NATIVE, "images": {"app": "app:v3"}})["reason"] == "paused"
    aborted = native(**{**NATIVE, "state": "aborted"})
    assert aborted["rolled_back"] and not native(**{**NATIVE, "state": "aborted"})["changed"]
    assert native(**NATIVE)["phase"] == "paused"
    promoted = native(**{**NATIVE, "state": "promoted"})
    assert promoted["phase"] == "finished" and promoted["steps"][-1]["seconds"] > 0, promoted
    native.site.settle()
    assert native.site.get() == (200, "app:v2")
