# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services are restarted and scaled, to what, and when that is through."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs_operations import Bounds, plan_bounds, rollout, running, tasks_of
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError


@pytest.mark.parametrize(
    ("wanted", "count", "bounds", "expected"),
    [
        (Bounds(count=4), 2, None, (4, None)),
        (Bounds(count=4), 2, (2, 6), (4, (2, 6))),
        (Bounds(count=8, most=10), 2, (2, 6), (8, (2, 10))),
        (Bounds(least=3), 2, (2, 6), (3, (3, 6))),
        (Bounds(most=4), 5, (2, 6), (4, (2, 4))),
        (Bounds(least=2, most=6), 3, (2, 6), (3, (2, 6))),
    ],
)
def test_tasks_and_bounds_are_planned(wanted: Bounds, count: int, bounds: tuple[int, int] | None, expected: tuple[int, tuple[int, int] | None]) -> None:
    assert plan_bounds(wanted, count, bounds, "scale web") == expected


@pytest.mark.parametrize(
    ("wanted", "bounds", "words"),
    [
        (Bounds(), (2, 6), "must be at least 1"),
        (Bounds(count=0), (2, 6), "must be at least 1"),
        (Bounds(count=8), (2, 6), "autoscaling keeps between 2 and 6, so that it would be put back; give min_capacity or max_capacity too"),
        (Bounds(least=7), (2, 6), "the least, 7, would be more than the most, 6"),
        (Bounds(most=7), None, "it has no autoscaling"),
    ],
)
def test_what_contradicts_itself_is_refused(wanted: Bounds, bounds: tuple[int, int] | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        plan_bounds(wanted, 3, bounds, "scale web")


def test_only_services_with_tasks_are_worked_on() -> None:
    services = {"web-blue": {"desiredCount": 0}, "web-green": {"desiredCount": 2}}
    assert running(services, ["web-blue", "web-green"], "restart") == ["web-green"]
    with pytest.raises(InvalidInput, match="there is no service other in the cluster"):
        running(services, ["web-green", "other"], "restart")
    with pytest.raises(InvalidInput, match="none of the services has a task"):
        running(services, ["web-blue"], "restart")


def deployment(name: str, status: str = "PRIMARY", state: str = "IN_PROGRESS", **more: t.Any) -> dict[str, t.Any]:
    """A deployment of a service."""
    return {"id": name, "status": status, "rolloutState": state, "runningCount": 1, "desiredCount": 2, **more}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([deployment("new"), deployment("old", "ACTIVE", "COMPLETED")], "1 of 2 new tasks run"),
        ([deployment("new", state="COMPLETED")], ""),
        ([deployment("new", state="FAILED", rolloutStateReason="tasks failed to start")], None),
        ([deployment("old", state="IN_PROGRESS"), deployment("new", "ACTIVE")], None),
        ([deployment("old", state="COMPLETED")], None),
    ],
)
def test_a_rollout_counts_only_by_its_own_id(rows: list[dict[str, t.Any]], expected: str | None) -> None:
    """After a rollback by the circuit breaker the service is stable again, with the old tasks."""
    if expected is not None:
        assert rollout({"deployments": rows}, "new", "wait") == expected
        return
    with pytest.raises(MainstayError, match="tasks failed to start|another deployment has taken its place"):
        rollout({"deployments": rows}, "new", "wait")


def test_tasks_are_counted_until_there_are_enough() -> None:
    assert tasks_of({"runningCount": 2, "desiredCount": 3}, 3) == "2 run"
    assert tasks_of({"runningCount": 3, "desiredCount": 3}, 3) == ""
