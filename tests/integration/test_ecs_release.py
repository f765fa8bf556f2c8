# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_release and ecs_release_info against the parameters of the cloud of the tests."""

from __future__ import annotations

import typing as t

import pytest
from cloud import REGION, Cloud, cloud
from policies import compare, key_of
from servers import Runner

ARN = "arn:aws:ecs:eu-central-1:123456789012:task-definition/shop:{}"
PARAMETER = "/mainstay/releases/main/shop"


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud() as started:
        yield started
        for module in ("ecs_release", "ecs_release_info"):
            compare(module, started.control("calls"), all_of_them=True)


def options(running: Cloud, module: str, **more: t.Any) -> dict[str, t.Any]:
    """The options of a module."""
    access = {"endpoint_url": running.endpoint_url, "access_key": key_of(module), "secret_key": "SentinelAWS", "region": REGION}
    return {**access, "cluster": "main", "name": "shop", **more}


def test_releases_are_recorded_once_and_read_again(running: Cloud, run_module: Runner) -> None:
    """With the one that served before; check mode says the same and writes nothing."""
    before = {"release": "1", "slot": "blue", "task_definition": ARN.format(1)}
    given = options(running, "ecs_release", release="2", slot="green", task_definition=ARN.format(2), kind="canary", by="ops@here", before=before)
    planned = run_module("ecs_release", given, check=True)
    ssm = running.client("ssm")
    assert planned["changed"] and ssm.get_parameters(Names=[PARAMETER])["Parameters"] == []
    made, again = run_module("ecs_release", given), run_module("ecs_release", given)
    assert planned["actions"] == made["actions"] == ["record release 2 as live in green"]
    assert planned["diff"] == made["diff"] == {"before": "nothing is live\n", "after": "2 is live in green, a rollback leads to 1\n"}
    assert (again["changed"], again["actions"], again["live"]) == (False, [], made["live"])
    assert {key: made["live"][key] for key in ("release", "slot", "previous", "kind", "by")} == {
        "release": "2",
        "slot": "green",
        "previous": "1",
        "kind": "canary",
        "by": "ops@here",
    }
    seen = run_module("ecs_release_info", options(running, "ecs_release_info", task_definition=ARN.format(2)))
    assert (seen["release"], seen["previous"], seen["releases"]) == ("2", "1", {"1": ARN.format(1), "2": ARN.format(2)})
    assert [(row["release"], row["kind"]) for row in seen["history"]] == [("1", "deploy"), ("2", "canary")]
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["Version"] == 1


def test_what_is_no_record_is_left_alone(running: Cloud, run_module: Runner) -> None:
    """A parameter of somebody else, and a name that is none."""
    running.client("ssm").put_parameter(Name="/taken", Value="mine", Type="String")
    given = options(running, "ecs_release", release="2", slot="green", task_definition=ARN.format(2))
    for module, more in (("ecs_release", given), ("ecs_release_info", options(running, "ecs_release_info"))):
        failed = run_module(module, {**more, "parameter_name": "/taken"})
        assert failed["failed"] and "the parameter holds something else" in failed["msg"] and "give parameter_name another name" in failed["msg"], failed
    refused = run_module("ecs_release", {**given, "release": "a release"})
    assert "it must be 1 to 64 letters, digits, dots, underscores or hyphens" in refused["msg"]
    assert running.client("ssm").get_parameter(Name="/taken")["Parameter"]["Value"] == "mine"
