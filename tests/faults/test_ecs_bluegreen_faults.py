# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_bluegreen, killed before each of its changes, with faults of AWS, and made to do things in a wrong order: only that loses requests."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from bluegreen import LONG, NATIVE, SABOTAGE, Shop, forward, native_shop, shop, short_name, until
from cloud import Cloud, cloud, site
from policies import policies, recorded
from ports import free_port
from servers import Runner

LEAST_REQUESTS = 2000
MOST_WRITES = 60


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud() as started:
        yield started
        assert started.control("state")["errors"] == {}
        assert recorded(started.control("calls")) <= policies()["ecs_bluegreen"]


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
    """The service stays whole under load, and the next run takes the rest back or goes on; nothing is left behind."""
    target, live = autoscaled(web), "app:v1"
    options = {"strategy": "canary", "lock_ttl": 1, "step_bake": 0.2, "bake": 0.2, "migration": {"container": "app", "command": ["true"]}}
    killed, number = True, 0
    with web.load(pause=0.1) as load:
        while killed and number < MOST_WRITES:
            number += 1
            wanted = f"app:k{number}"
            killed = web.killed_at(number, images={"app": wanted}, **options)
            if not killed:
                live = wanted
                break
            until(lambda: web.info()["deployment"].get("state") in (None, "interrupted"), "the death of the lock")
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
    with web.load(pause=0.1) as load:
        while killed and number < MOST_WRITES:
            number += 1
            killed = web.killed_at(number, images={"app": f"app:k{number}"}, **options)
            until(lambda: web.info()["deployment"].get("state") in (None, "interrupted"), "the death of the lock")
            ended = web(state="aborted", **options)
            assert not ended["failed"], (number, ended)
            web.is_whole("app:v1")
            is_free(web, target)
    assert 10 < number < MOST_WRITES and load.lost == 0, (number, load.answers)


@pytest.mark.parametrize("name", ["", *SABOTAGE])
def test_only_a_wrong_order_loses_requests(running: Cloud, run_module: Runner, tmp_path: pathlib.Path, name: str) -> None:
    """Without the wait until weights are in force, without draining, and with traffic before there are tasks; so the other tests can fail."""
    before = running.control("state")["propagation"]
    slow = name == "no drain"
    running.control("set", propagation=before if slow else 40)
    try:
        with shop(running, short_name(f"sabotage {name}"), run_module, tmp_path, drain=0 if slow else 30) as web:
            options = {"settle": 0.2, "bake": 0} if slow else {"settle": 1.2}
            with web.load("/sleep/2" if slow else "/") as load:
                made = web.sabotaged(name, **options) if name else web(**options)
                web.site.settle()
        assert (load.lost == 0) == (name == ""), (made, load.answers)
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


def test_a_listeners_default_action_is_moved(running: Cloud, run_module: Runner, tmp_path: pathlib.Path) -> None:
    """Without a rule of its own."""
    with site(running, "default") as made:
        made.elb.delete_rule(RuleArn=made.rule)
        made.elb.modify_listener(ListenerArn=made.listener, DefaultActions=forward({made.blue: 1}))
        made.service("default-blue", "app:v1", made.blue)
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
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
    configuration = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1, "lifecycleHooks": [hook]}
    native.site.ecs.update_service(cluster=native.site.cluster, service=native.site.name, deploymentConfiguration=configuration)
    assert native(**NATIVE)["phase"] == "paused"
    assert native(**NATIVE)["reason"] == native(**{**NATIVE, "images": {"app": "app:v3"}})["reason"] == "paused"
    aborted = native(**{**NATIVE, "state": "aborted"})
    assert aborted["rolled_back"] and not native(**{**NATIVE, "state": "aborted"})["changed"]
    assert native(**NATIVE)["phase"] == "paused"
    promoted = native(**{**NATIVE, "state": "promoted"})
    assert promoted["phase"] == "finished", promoted
    native.site.settle()
    assert native.site.get() == (200, "app:v2")
