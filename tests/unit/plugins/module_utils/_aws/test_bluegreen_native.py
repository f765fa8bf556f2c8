# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green by ECS itself: its deployment configuration, and gates."""

from __future__ import annotations

import typing as t

import boto3
import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_gates as gates
from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_native as native
from ansible_collections.mainstay.ops.plugins.module_utils._aws import ecs, elbv2, watch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

OPTIONS: dict[str, t.Any] = {"step_percent": 20, "step_bake": 90, "bake": 600, "alarms": [], "smoke_test": None, "steps": None}
PAUSE = {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}
LAMBDA = {"targetType": "AWS_LAMBDA", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"], "hookTargetArn": "arn:aws:lambda:x"}


@pytest.mark.parametrize(
    ("options", "live", "expected"),
    [
        ({"strategy": "blue_green"}, {}, {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 10}),
        (
            {"strategy": "canary", "bake": 61},
            {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 3.0}, "maximumPercent": 200},
            {
                "strategy": "CANARY",
                "bakeTimeInMinutes": 2,
                "canaryConfiguration": {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 2},
                "maximumPercent": 200,
            },
        ),
        (
            {"strategy": "linear", "alarms": ["a"], "smoke_test": {"checks": []}},
            {},
            {
                "strategy": "LINEAR",
                "bakeTimeInMinutes": 10,
                "linearConfiguration": {"stepPercent": 20.0, "stepBakeTimeInMinutes": 2},
                "alarms": {"alarmNames": ["a"], "enable": True, "rollback": True},
                "lifecycleHooks": [PAUSE],
            },
        ),
        (
            {"strategy": "blue_green", "smoke_test": {"checks": []}},
            {"lifecycleHooks": [PAUSE]},
            {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 10, "lifecycleHooks": [PAUSE]},
        ),
    ],
)
def test_options_become_a_deployment_configuration(options: dict[str, t.Any], live: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    """In whole minutes, and with everything else as it is."""
    assert native.configuration({**OPTIONS, **options}, live, own_pause=False) == expected


@pytest.mark.parametrize(
    ("own", "smoke_test", "expected"),
    [
        (True, None, [LAMBDA]),
        (False, None, [LAMBDA, PAUSE]),
        (True, {"checks": []}, [LAMBDA, PAUSE]),
    ],
)
def test_the_pause_of_the_module_goes_when_there_is_nothing_to_probe(own: bool, smoke_test: dict[str, t.Any] | None, expected: list[t.Any]) -> None:
    """Somebody else's stays: it waits for a person."""
    live = {"strategy": "BLUE_GREEN", "lifecycleHooks": [LAMBDA, PAUSE]}
    made = native.configuration({**OPTIONS, "strategy": "blue_green", "smoke_test": smoke_test}, live, own)
    assert made["lifecycleHooks"] == expected


def test_a_deployment_waits_for_one_hook() -> None:
    """Not while it goes back."""
    hooks = [{"hookId": "a", "status": "SUCCEEDED"}, {"hookId": "b", "status": "AWAITING_ACTION"}]
    assert native.waiting_hook({"status": "IN_PROGRESS", "lifecycleHookDetails": hooks}) == "b"
    assert native.waiting_hook({"status": "IN_PROGRESS", "lifecycleHookDetails": hooks[:1]}) == ""
    assert native.waiting_hook({"status": "ROLLBACK_IN_PROGRESS", "lifecycleHookDetails": hooks}) == ""


def test_single_steps_are_refused() -> None:
    """ECS has no such strategy."""
    with pytest.raises(InvalidInput, match="engine weighted"):
        native.configuration({**OPTIONS, "strategy": "steps", "steps": []}, {}, False)


class OldEcs(ecs.Ecs):
    """A client of a boto3 that does not know something."""

    def __init__(self, unknown: str) -> None:
        """Know everything but this operation or word."""
        client = boto3.client("ecs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
        super().__init__(client, "shop")
        self._unknown = unknown

    def lacks(self, operation: str, shape: str = "", word: str = "") -> bool:
        """Say so."""
        return self._unknown in (operation, word) or super().lacks(operation, shape, word)


@pytest.mark.parametrize(
    ("unknown", "options", "words"),
    [
        ("ListServiceDeployments", {}, "does not know ListServiceDeployments"),
        ("CANARY", {"strategy": "canary"}, "does not know the strategy CANARY"),
        ("ContinueServiceDeployment", {"state": "promoted"}, "does not know ContinueServiceDeployment"),
    ],
)
def test_an_old_boto3_is_refused(unknown: str, options: dict[str, t.Any], words: str) -> None:
    """Only if what it lacks is used."""
    params = {**OPTIONS, "name": "web", "strategy": "blue_green", "state": "deployed", "metrics": None, "step_test": None, **options}
    with pytest.raises(InvalidInput, match=words):
        native.NativeBlueGreen(OldEcs(unknown), elbv2.LoadBalancing(None), gates.Gates(watch.Watch(None), params), params, False).run()


def test_this_boto3_knows_what_it_knows() -> None:
    """Operations, and words of enumerations."""
    here = OldEcs("nothing")
    assert not here.lacks("UpdateService") and not here.lacks("UpdateService", "DeploymentStrategy", "CANARY")
    assert here.lacks("FlyToTheMoon") and here.lacks("UpdateService", "DeploymentStrategy", "SIDEWAYS") and here.lacks("UpdateService", "NoSuchShape", "X")


@pytest.mark.parametrize("field", ["alternateTargetGroupArn", "productionListenerRule", "roleArn"])
def test_a_service_needs_both_groups_a_rule_and_a_role(field: str) -> None:
    """The one that is missing is named."""
    advanced = {"alternateTargetGroupArn": "g", "productionListenerRule": "r", "roleArn": "x"}
    native.refuse_service({"serviceName": "web", "loadBalancers": [{"advancedConfiguration": advanced}]})
    del advanced[field]
    with pytest.raises(InvalidInput, match=field):
        native.refuse_service({"serviceName": "web", "loadBalancers": [{"advancedConfiguration": advanced}]})


def test_a_probe_takes_the_options_of_health_probe() -> None:
    """With its defaults and its checks of them; secrets in it are known."""
    check = {"type": "http", "url": "http://192.0.2.1/", "bearer_token": "SentinelToken"}
    probe, secrets = gates.plan_probe("smoke_test", {"checks": [check], "retries": 2})
    assert probe is not None and probe.policy.fail_on == "unhealthy" and probe.policy.retries == 2
    assert secrets == {"SentinelToken"}
    assert gates.plan_probe("smoke_test", None) == (None, set())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "missing required arguments: checks"),
        ({"checks": []}, "empty list"),
        ({"checks": [{"type": "http"}]}, "url"),
        ({"checks": [{"type": "smtp"}]}, "smtp"),
        ({"checks": [{"type": "tcp", "host": "x", "port": 1}], "tries": 3}, "tries"),
        ({"checks": [{"type": "tcp", "host": "x", "port": 1}], "samples": 3, "duration": 3}, "mutually exclusive"),
        ({"checks": [{"type": "tcp", "host": "x", "port": 1}], "interval": 3}, "it needs samples"),
    ],
)
def test_a_wrong_probe_is_refused(given: dict[str, t.Any], words: str) -> None:
    """Before anything is changed, with the option's name."""
    with pytest.raises(InvalidInput, match="could not plan step_test") as error:
        gates.plan_probe("step_test", given)
    assert words in str(error.value)
