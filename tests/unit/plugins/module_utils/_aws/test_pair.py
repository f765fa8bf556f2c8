# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a pair of services, and what is left to deployments."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._aws.pair import Found, plan_absent, plan_present, planned, snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

PARAMS: dict[str, t.Any] = {
    "name": "web",
    "state": "present",
    "services": None,
    "listener": "arn:listener",
    "test_listener": "arn:test",
    "priority": 100,
    "task_definition_spec": {"family": "web"},
    "desired_count": 3,
    "min_count": 3,
    "max_count": 9,
    "cpu_target": 60.0,
}
NOTHING = Found({"listener": "", "test_listener": ""}, {"listener": ["default"], "test_listener": ["default"]}, {}, {}, {})
WHOLE = Found(
    {"listener": "arn:rule", "test_listener": "arn:test-rule"},
    {"listener": ["100", "default"], "test_listener": ["100", "default"]},
    {"blue": {"taskDefinition": "web:1"}, "green": {"taskDefinition": "web:7"}},
    {"blue": (3, 9), "green": (3, 9)},
    {"blue": 60.0, "green": 60.0},
)


def words(**changed: t.Any) -> list[str]:
    """Return the plan's words for a pair that is there but for this."""
    return [step.words for step in plan_present(PARAMS, dataclasses.replace(WHOLE, **changed))]


def test_everything_is_made_in_order() -> None:
    """Rules first, since ECS refuses a service with a group that no rule names; only blue has tasks."""
    assert [step.words for step in plan_present(PARAMS, NOTHING)] == [
        "make the rule of production, with all weight on blue",
        "make the rule of tests, with all weight on blue",
        "make the service web-blue with 3 tasks",
        "make the service web-green with 0 tasks",
        "scale web-blue from 3 to 9 tasks",
        "scale web-blue for 60 % of its processors",
        "scale web-green from 3 to 9 tasks",
        "scale web-green for 60 % of its processors",
    ]


def test_what_is_there_stays() -> None:
    """Whatever weights, releases and counts it has: the plan does not look at them."""
    assert words() == []
    assert planned(PARAMS, WHOLE, []) == snapshot(PARAMS, WHOLE)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"services": {"green": {}}}, ["make the service web-blue with 0 tasks"]),
        ({"bounds": {"blue": (3, 9), "green": (1, 9)}}, ["scale web-green from 3 to 9 tasks"]),
        ({"targets": {"blue": 50.0, "green": 60.0}}, ["scale web-blue for 60 % of its processors"]),
        ({"rules": {"listener": "arn:rule", "test_listener": ""}, "priorities": {}}, ["make the rule of tests, with all weight on blue"]),
    ],
)
def test_what_is_missing_is_made(changed: dict[str, t.Any], expected: list[str]) -> None:
    """And nothing else; a service that is lost comes back without tasks, for the other one serves."""
    assert words(**changed) == expected


def test_what_cannot_be_is_refused() -> None:
    """Before anything is made."""
    with pytest.raises(InvalidInput, match="no first release; give task_definition_spec"):
        plan_present({**PARAMS, "task_definition_spec": None}, NOTHING)
    with pytest.raises(InvalidInput, match="has the priority 100; choose another"):
        plan_present(PARAMS, dataclasses.replace(NOTHING, priorities={"listener": ["100"]}))


def test_removal_in_order() -> None:
    """Autoscaling first, or it would bring tasks back; rules last."""
    assert [step.kind for step in plan_absent(PARAMS, WHOLE)] == ["no_bounds", "no_bounds", "no_service", "no_service", "no_rule", "no_rule"]
    assert plan_absent(PARAMS, NOTHING) == []
