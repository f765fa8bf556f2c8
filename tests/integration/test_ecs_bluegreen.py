# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_bluegreen against the cloud of the tests, with twelve clients that ask without pause; the long ones are in tests/faults."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from bluegreen import LONG, NATIVE, OVERTAKEN, SECRET, Shop, compare_modules, native_shop, shop, short_name, until
from cloud import Cloud, cloud, site
from servers import Runner

LEAST_REQUESTS = 2000
METRICS = {"max_5xx_percent": 5, "min_requests": 5}


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


def test_good_releases_lose_no_request(web: Shop) -> None:
    """By canary with each gate, and all at once; planned in check mode as it is done, and unchanged afterwards with few calls."""
    gates = {
        "smoke_test": {"checks": [{"type": "http", "url": web.test_url(), "assertions": None}], "retries": 5},
        "step_test": {"checks": [{"type": "http", "url": "http://{}:{}/".format(*web.site.address)}]},
        "metrics": {"max_5xx_percent": 1, "max_response_seconds": 5, "min_requests": 1},
    }
    planned = web(check=True, strategy="canary", **gates)
    assert planned["phase"] == "planned" and planned["live_color"] == "green" and web.parameters() == [], planned
    for number, options in enumerate(
        (
            {"strategy": "canary", "step_percent": 20, **gates},
            {"strategy": "blue_green"},
        ),
        start=2,
    ):
        images = {"app": f"app:v{number}"}
        with web.load() as load:
            made = web(images=images, **options)
            until(lambda load=load: load.total >= LEAST_REQUESTS, "enough requests")
        assert not made["failed"] and made["phase"] == "finished", made
        assert load.lost == 0 and load.answers[f"app:v{number}"] > 50, load.answers
        web.is_whole(f"app:v{number}")
        again = web(images=images, **options)
        assert not again["changed"] and again["actions"] == [] and sum(again["api_calls"].values()) <= 5, again
        if number == 2:
            assert [step["share"] for step in made["steps"]] == [20, 100] and made["live_color"] == "green"
            assert [word.replace("20 %", "10 %") for word in made["actions"]] == planned["actions"]
            assert (made["diff"], made["previous_color"]) == (planned["diff"], "blue")
        assert SECRET not in str(made)
    seen = web.info()
    assert (seen["live_color"], seen["images"], seen["deployment"]) == ("blue", {"app": "app:v3"}, {})
    assert seen["services"]["green"]["running"] == 0 and seen["services"]["blue"]["healthy"] == 2


def test_a_release_that_never_becomes_healthy_moves_no_traffic(web: Shop) -> None:
    """It is stopped, and the message says what its health check answered; one that crashes says so early."""
    with web.load() as load:
        failed = web(images={"app": "app:v2-unready"}, start_timeout=3)
        crashed = web(images={"app": "app:v2-crash"})
    assert load.lost == 0 and set(load.answers) == {"app:v1"}, load.answers
    assert (failed["reason"], failed["rolled_back"], failed["phase"]) == ("rolled_back", True, "failed")
    assert "Health checks failed with these codes: [500]" in failed["msg"] and failed["rollback_reason"] in failed["msg"]
    assert "ended with status 1" in crashed["msg"]
    web.is_whole("app:v1")
    assert not web(state="rolled_back")["changed"], "the failed release is not the one before"


def test_a_release_that_fails_half_of_its_requests_is_taken_back(web: Shop) -> None:
    """At the first gate, so that only the canary's share of requests has met it."""
    with web.load() as load:
        failed = web(images={"app": "app:v2-errors"}, strategy="canary", step_percent=10, step_bake=LONG, metrics=METRICS)
    assert failed["reason"] == "rolled_back" and failed["weights"] == {"blue": 100, "green": 0}, failed
    assert "of" in failed["msg"] and "requests failed, more than 5 %" in failed["msg"]
    assert 0 < load.lost < load.total / 10, load.answers
    assert not any("100 %" in event for event in failed["events"])
    assert 0 < failed["back_seconds"] < 30
    web.is_whole("app:v1")


def test_a_pause_is_ended_by_promotion(web: Shop) -> None:
    """Meanwhile nothing else is deployed; and a release goes back once."""
    steps = {"strategy": "steps", "steps": [{"weight": 25, "bake": 0.2, "pause": True}]}
    assert web(**steps)["phase"] == "paused" and web.site.live_weights() == (75, 25)
    assert web.info()["deployment"]["state"] == "paused" and web(images={"app": "app:v3"})["reason"] == "paused"
    promoted = web(state="promoted")
    assert promoted["phase"] == "finished" and not web(state="promoted")["changed"]
    web.is_whole("app:v2")
    with web.load() as load:
        planned, back = web(state="rolled_back", check=True), web(state="rolled_back")
    assert planned["actions"] == back["actions"] and load.lost == 0, (back, load.answers)
    web.is_whole("app:v1")
    assert not web(state="rolled_back")["changed"]


def test_somebody_elses_change_is_never_overwritten(web: Shop) -> None:
    """Both versions are told, and the next run puts the rest in order."""
    process = web.start(strategy="canary", step_percent=20, step_bake=LONG)
    until(lambda: web.site.live_weights() == (80, 20), "the canary")
    web.weights(60, 40)
    failed = web.finish(process)
    assert failed["reason"] == "conflict" and web.site.live_weights() == (60, 40), failed
    assert "blue 80, green 20" in failed["msg"] and "blue 60, green 40" in failed["msg"] and failed["live"] != failed["expected"]
    assert web()["reason"] == "conflict" and web.site.live_weights() == (60, 40)
    web.weights(100, 0)
    assert web()["phase"] == "finished"
    web.is_whole("app:v2")


def test_somebody_elses_change_right_after_a_write(web: Shop) -> None:
    """What was written is what is expected, though it was never read."""
    failed = web.finish(web.patched(OVERTAKEN, strategy="canary", step_percent=20, step_bake=LONG))
    assert failed["reason"] == "conflict" and web.site.live_weights() == (60, 40), failed
    assert "blue 80, green 20" in failed["msg"] and "blue 60, green 40" in failed["msg"]
    web.weights(100, 0)
    assert web()["phase"] == "finished"


def test_a_killed_run_is_ended_by_the_next(web: Shop) -> None:
    """In the middle of the move, under load."""
    with web.load() as load:
        process = web.start(strategy="canary", step_percent=20, step_bake=LONG, lock_ttl=1)
        until(lambda: web.site.live_weights() == (80, 20), "the canary")
        process.kill()
        process.communicate()
        assert web(on_interrupted="fail")["reason"] in ("locked", "interrupted")
        until(lambda: web.info()["deployment"]["state"] == "interrupted", "the death of the lock")
        made = web(strategy="canary", step_percent=20)
    assert not made["failed"] and load.lost == 0, (made, load.answers)
    assert made["rolled_back"] and made["phase"] == "finished"
    web.is_whole("app:v2")


def test_one_at_a_time(web: Shop) -> None:
    """The second run is told who has the lock; a stop by SIGTERM takes the first one back."""
    process = web.start(bake=LONG)
    until(lambda: web.site.live_weights() == (0, 100), "the new release")
    second = web(images={"app": "app:v3"})
    assert second["reason"] == "locked" and second["holder"] in second["msg"] and not second["changed"]
    process.terminate()
    stopped = web.finish(process)
    assert "SIGTERM" in stopped["msg"] and stopped["rolled_back"]
    web.is_whole("app:v1")


def test_migration_scaling_and_tasks(web: Shop) -> None:
    """A migration runs once before the new release; autoscaling is suspended meanwhile, and afterwards as before; a task of the old release may stay."""
    scaling = web.site.cloud.client("application-autoscaling")
    target = {"ServiceNamespace": "ecs", "ResourceId": f"service/{web.site.cluster}/{web.site.name}-blue", "ScalableDimension": "ecs:service:DesiredCount"}
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=4, **target)

    def suspended() -> bool:
        found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[target["ResourceId"]])["ScalableTargets"][0]
        assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
        return bool(found.get("SuspendedState", {}).get("DynamicScalingInSuspended"))

    failed = web(migration={"container": "app", "command": ["false"]})
    assert "ended with status 1" in failed["msg"] and not suspended()
    process = web.start(migration={"container": "app", "command": ["true"]}, bake=2, environment={"app": {"COLOUR": "new"}}, keep_old=1)
    until(suspended, "suspended scaling")
    made = web.finish(process)
    assert made["phase"] == "finished" and not suspended() and made["api_calls"]["ecs:RunTask"] == 1, made
    definition = web.site.ecs.describe_task_definition(taskDefinition=made["task_definition"])["taskDefinition"]
    assert {"name": "COLOUR", "value": "new"} in definition["containerDefinitions"][0]["environment"]
    assert not web(environment={"app": {"COLOUR": "new"}})["changed"]
    web.is_whole("app:v2", kept=1)


def test_the_first_release_needs_an_empty_service(running: Cloud, run_module: Runner, tmp_path: pathlib.Path) -> None:
    """Without one the module says what to make; with one it gives the release all of the traffic at once, and there is nothing to go back to."""
    with site(running, "first") as made:
        web = Shop(made, run_module, tmp_path)
        refused = web()
        assert "there is no service first-blue" in refused["msg"] and "0 tasks are enough, and give desired_count" in refused["msg"]
        made.service("first-blue", "app:placeholder", made.blue, 0)
        assert "first-blue has no task" in web()["msg"]
        planned, done = (web(desired_count=1, strategy="canary", check=check) for check in (True, False))
        assert done["phase"] == "finished" and [step["share"] for step in done["steps"]] == [100], done
        assert planned["actions"] == done["actions"] and "the first release" in done["actions"][0]
        web.is_whole("app:v2")
        assert made.states(made.green) == ["healthy"] and not web(state="rolled_back")["changed"]


def test_wrong_options_are_one_sentence(web: Shop) -> None:
    """Before anything is changed."""
    before = web.site.cloud.calls()
    nothing = {"blue": web.site.green, "green": web.site.blue}
    wrong: tuple[tuple[dict[str, t.Any], str], ...] = (
        ({"images": None}, "state is deployed but any of the following are missing"),
        ({"production": web.site.rule[:-4] + "0000"}, "could not read the rule"),
        ({"production": web.site.listener}, "does not forward to target groups"),
        ({"target_groups": nothing}, "it does not register its tasks in"),
        ({"cluster": "nowhere"}, "there is no cluster nowhere"),
        ({"smoke_test": {"checks": [{"type": "smtp"}]}}, "could not plan smoke_test"),
        ({"engine": "native"}, "there is no active service of this name"),
        ({"settle": -1}, "could not use the option settle"),
        ({"task_definition": "nowhere:7"}, "could not read the task definition nowhere:7"),
        ({"task_definition_spec": {"container_definitions": []}}, 'Unknown parameter in input: "container_definitions"'),
        ({"production": default_rule(web)}, "give the listener's ARN instead"),
        ({"alarms": ["nowhere"]}, "there is no alarm nowhere"),
    )
    started = [(web.start(**options), options, words) for options, words in wrong]
    for process, options, words in started:
        refused = web.finish(process)
        assert refused["failed"] and words in refused["msg"] and not refused["changed"], (options, refused)
    nobody = {key: each for key, each in web.options().items() if key not in ("access_key", "secret_key")}
    refused = web.run("ecs_bluegreen", nobody, AWS_EC2_METADATA_DISABLED="true")
    assert "Unable to locate credentials; see whether credentials" in refused["msg"], refused
    web.site.cloud.fault("error", "ssm", "GetParameter", code="AccessDeniedException", status=400, count=9)
    assert "give the role the permission for the call GetParameter" in web()["msg"]
    made = web.site.cloud.calls() - before
    assert not {name for name in made if re.search(r":(Put|Modify|Update|Create|Register|Run|Tag)", name)}


def default_rule(web: Shop) -> str:
    """Return the ARN of the production listener's default rule."""
    rules = web.site.elb.describe_rules(ListenerArn=web.site.listener)["Rules"]
    return str(next(rule["RuleArn"] for rule in rules if rule["IsDefault"]))


@pytest.fixture
def native(running: Cloud, run_module: Runner, request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Shop]:
    """A service that ECS itself deploys to."""
    with native_shop(running, short_name(request.node.name), run_module, tmp_path) as made:
        yield made


def test_ecs_itself_moves_the_traffic(native: Shop) -> None:
    """A canary with a probe in the pause that the module adds; then back to the release before, once."""
    probe = {"checks": [{"type": "http", "url": native.test_url()}], "retries": 5}
    options = {**NATIVE, "strategy": "canary", "step_percent": 20, "smoke_test": probe}
    with native.load() as load:
        planned, made = native(check=True, **options), native(**options)
        until(lambda: load.total >= LEAST_REQUESTS, "enough requests")
    assert made["phase"] == "finished" and load.lost == 0 and load.answers["app:v2"] > 50, (made, load.answers)
    assert planned["actions"] == made["actions"] and [step["share"] for step in made["steps"]] == [20, 100]
    assert made["service_deployment_arn"] and made["api_calls"]["ecs:ContinueServiceDeployment"] == 1
    again = native(**options)
    assert not again["changed"] and sum(again["api_calls"].values()) <= 5
    hooks = native.site.describe(native.site.name)["deploymentConfiguration"]["lifecycleHooks"]
    assert [hook["lifecycleStages"] for hook in hooks] == [["POST_TEST_TRAFFIC_SHIFT"]]
    back = native(**{**NATIVE, "state": "rolled_back"})
    assert native.site.describe(native.site.name)["deploymentConfiguration"]["lifecycleHooks"] == [], "without a probe nobody would answer the pause"
    assert back["phase"] == "finished" and back["task_definition"] == made["previous_task_definition"], back
    assert not native(**{**NATIVE, "state": "rolled_back"})["changed"]
    native.site.settle()
    assert native.site.get() == (200, "app:v1")
    seen = native.info("native")
    assert (seen["task_definition"], seen["images"], seen["deployment"]) == (back["task_definition"], {"app": "app:v1"}, {})
