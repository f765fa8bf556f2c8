# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ecs_restart and ecs_scale against the cloud of the tests, whose tasks are processes, under load."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import time
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text
from bluegreen import LONG, Shop
from cloud import REGION, Load, Site, cloud, site
from module_job import run_inside
from policies import compare, key_of
from postgres_cluster import until
from rds_job import refused
from servers import Runner


@pytest.fixture(scope="module")
def web() -> t.Iterator[Site]:
    """A service with two tasks, its idle colour, and autoscaling."""
    with cloud() as running, site(running, "web", drain=150) as found:
        found.service("web-blue", "app:1", found.blue)
        found.service("web-green", "app:2", found.green, count=0)
        found.wait_healthy(found.blue)
        scaling = running.client("application-autoscaling")
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/web/web-blue", "ScalableDimension": "ecs:service:DesiredCount"}
        scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)
        yield found
        for module in ("ecs_restart", "ecs_scale"):
            compare(module, running.control("calls"), all_of_them=True)


WANTED: dict[str, dict[str, t.Any]] = {"ecs_restart": {}, "ecs_scale": {"desired_count": 2}}
"""What a module is asked for where a test does not care."""


def run(web: Site, module: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """Run a module for both colours."""
    access = {"endpoint_url": web.cloud.endpoint_url, "access_key": key_of(module), "secret_key": "SentinelAWS", "region": REGION}
    options = {**access, "cluster": web.cluster, "services": ["web-blue", "web-green"], "poll_interval": 0.2, **WANTED[module], **more}
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
    assert len(web.cloud.tasks("app:1")) == 2 and load.lost == 0 and load.total > 0, load.answers
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
    refused(run(web, module, services=["nobody"]), "there is no service nobody in the cluster")
    refused(run(web, module, services=["web-green"]), "none of the services has a task")
    refused(run(web, module, cluster="nowhere"), "there is no cluster nowhere")
    refused(run(web, module, wait_timeout=0), "wait_timeout is 0")


def started(web: Site) -> dict[str, str]:
    """Return what a restart or a change of tasks would change, by service."""
    rows = {name: web.describe(name) for name in ("web-blue", "web-green")}
    return {name: f"{row['desiredCount']} {[each['id'] for each in row['deployments']]}" for name, row in rows.items()}


@pytest.mark.parametrize("module", ["ecs_restart", "ecs_scale"])
def test_a_deployment_is_left_alone(web: Site, run_module: Runner, tmp_path: pathlib.Path, module: str) -> None:
    """While it goes on, is paused, and is cut off: who, since when, and how to go on; after its end the module works."""
    deploy, began = Shop(web, run_module, tmp_path), time.time()
    paused = deploy(images={"app": "app:9"}, strategy="steps", steps=[{"weight": 20, "bake": 0.2, "pause": True}])
    assert paused["phase"] == "paused", paused.get("msg")
    before, holder = started(web), deploy.record().holder
    for check in (True, False):
        result = run(web, module, check=check)
        refused(result, f"a deployment of {holder} since {result['since']} is paused with 20 % of the traffic on green", "state promoted")
        assert result["reason"] == "paused" and began - 1 <= from_text(result["since"]).timestamp() <= time.time()
    process = deploy.start(state="promoted", images=None, bake=LONG)
    until(lambda: web.live_weights() == (0, 100), "the new release")
    alive = run(web, module)
    assert (alive["reason"], alive["holder"], alive["since"]) == ("locked", deploy.record().holder, result["since"]), alive
    refused(alive, f"{alive['holder']} deploys to green since", "wait for its end")
    refused(run(web, module, services=["web-blue"], name="web"), "deploys to green since")
    process.kill()
    process.communicate()
    left = deploy.record()
    dead = dataclasses.replace(left, beat=left.beat - left.ttl)
    web.cloud.client("ssm").put_parameter(Name=f"/mainstay/bluegreen/{web.cluster}/web", Value=dead.text, Overwrite=True)
    assert run(web, module, check=True)["reason"] == "interrupted"
    refused(run(web, module), "was cut off with 100 % of the traffic on green", "state aborted")
    assert started(web) == before, "nothing of it was changed"
    assert deploy(state="aborted")["rolled_back"]
    until(lambda: len(web.describe("web-blue")["deployments"]) == 1, "the end of the abortion")
    assert not run(web, module)["failed"]


def test_a_lock_of_another_name_is_found(web: Site) -> None:
    """By lock_name; what somebody else has written there is no deployment, and a service without a colour has none."""
    ssm = web.cloud.client("ssm")
    ssm.put_parameter(Name="/lock/other", Value="{}", Type="String")
    refused(run(web, "ecs_restart", check=True, lock_name="/lock/other"), "the parameter holds something else")
    assert not run(web, "ecs_restart", check=True, lock_name="/lock/free")["failed"]


def test_what_ecs_itself_deploys_is_left_alone(web: Site) -> None:
    """A deployment that somebody began without the module."""
    web.ecs.update_service(cluster=web.cluster, service="web-blue", taskDefinition=web.definition("app:8"))
    for module in ("ecs_restart", "ecs_scale"):
        refused(run(web, module), "a deployment of web-blue is not through: ECS brings it to web:", "since 20", "wait until its old tasks are gone")
    until(lambda: len(web.describe("web-blue")["deployments"]) == 1, "its end")
