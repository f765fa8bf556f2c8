# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_restart and ecs_scale against the cloud of the tests, whose tasks are processes, under load."""

from __future__ import annotations

import importlib
import json
import typing as t

import pytest
from cloud import REGION, Load, Site, cloud, site
from module_job import run_inside
from policies import compare, key_of
from postgres_cluster import until
from rds_job import refused


@pytest.fixture(scope="module")
def web() -> t.Iterator[Site]:
    """A service with two tasks, its idle colour, and autoscaling."""
    with cloud() as running, site(running, "web") as found:
        found.service("web-blue", "app:1", found.blue)
        found.service("web-green", "app:2", found.green, count=0)
        found.wait_healthy(found.blue)
        scaling = running.client("application-autoscaling")
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/web/web-blue", "ScalableDimension": "ecs:service:DesiredCount"}
        scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)
        yield found
        for module in ("ecs_restart", "ecs_scale"):
            compare(module, running.control("calls"), all_of_them=True)


def run(web: Site, module: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """Run a module for both colours."""
    access = {"endpoint_url": web.cloud.endpoint_url, "access_key": key_of(module), "secret_key": "SentinelAWS", "region": REGION}
    options = {**access, "cluster": web.cluster, "services": ["web-blue", "web-green"], "poll_interval": 0.2, **more}
    code = importlib.import_module(f"ansible_collections.mainstay.ops.plugins.modules.{module}")
    return {"failed": False, "changed": False, **json.loads(run_inside(code, {**options, "_ansible_check_mode": check}))}


def test_a_restart_replaces_tasks_without_losing_a_request(web: Site) -> None:
    """The idle colour stays idle; check mode does nothing."""
    before = {task["arn"] for task in web.cloud.tasks("app:1")}
    planned = run(web, "ecs_restart", check=True)
    assert {task["arn"] for task in web.cloud.tasks("app:1")} == before
    with Load(web.address) as load:
        made = run(web, "ecs_restart")
    assert made["actions"] == planned["actions"] == ["replace the 2 tasks of web-blue"] and made["diff"] == planned["diff"]
    until(lambda: not before & {task["arn"] for task in web.cloud.tasks("app:1")}, "the end of the old tasks")
    assert len(web.cloud.tasks("app:1")) == 2 and load.lost == 0 and load.total > 0
    assert made["services"]["web-blue"]["deployment"] != planned["services"]["web-blue"]["deployment"] and made["seconds"] > 0
    assert web.cloud.tasks("app:2") == []


def test_tasks_and_bounds_are_scaled(web: Site) -> None:
    """Check, real, again; what autoscaling would put back is refused."""
    refused(run(web, "ecs_scale", desired_count=4), "autoscaling keeps between 2 and 3", "give min_capacity or max_capacity too")
    planned, made = run(web, "ecs_scale", check=True, desired_count=4, max_capacity=6), run(web, "ecs_scale", desired_count=4, max_capacity=6)
    words = ["let autoscaling keep between 2 and 6 tasks of web-blue", "scale web-blue from 2 to 4 tasks"]
    assert made["actions"] == planned["actions"] == words and made["diff"] == planned["diff"]
    assert made["service"] == {"name": "web-blue", "tasks": 4, "least": 2, "most": 6} and made["seconds"] > 0
    assert web.describe("web-blue")["runningCount"] == 4 and web.describe("web-green")["desiredCount"] == 0
    assert not run(web, "ecs_scale", desired_count=4, max_capacity=6)["changed"]


@pytest.mark.parametrize("module", ["ecs_restart", "ecs_scale"])
def test_what_is_not_there_is_refused(web: Site, module: str) -> None:
    """And a service without tasks."""
    more = {"desired_count": 2} if module == "ecs_scale" else {}
    refused(run(web, module, services=["nobody"], **more), "there is no service nobody in the cluster")
    refused(run(web, module, services=["web-green"], **more), "none of the services has a task")
    refused(run(web, module, cluster="nowhere", **more), "there is no cluster nowhere")
    refused(run(web, module, wait_timeout=0, **more), "wait_timeout is 0")
