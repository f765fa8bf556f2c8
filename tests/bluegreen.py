# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web service in the cloud of the tests that ecs_bluegreen deploys to, under load; and its module's process, killed or made to do things in a wrong order."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import Record, read_record
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import default_name
from cloud import Cloud, Load, Site, forward, site
from policies import compare, key_of
from postgres_cluster import until as wait_until
from servers import Runner

SECRET = "SentinelAWS"
CLIENTS = 12
PATIENCE = 600
"""Seconds for what takes some on a quiet machine."""
LONG = 600.0
"""Seconds of a bake that the test ends before."""
until = functools.partial(wait_until, seconds=PATIENCE)
WRITES = (
    "RegisterTaskDefinition",
    "DeleteParameter",
    "ModifyRule",
    "CreateService",
    "UpdateService",
    "RegisterScalableTarget",
    "RunTask",
    "TagResource",
)
"""What changes something. The record is written again and again while a run lives, so that its writes cannot be numbered: they lie between these."""

KILLED = """
import os
from botocore.client import BaseClient
WRITES, seen, call = {writes!r}, [], BaseClient._make_api_call
def killed(self, operation, parameters):
    if operation in WRITES:
        seen.append(operation)
        if 2 * len(seen) - 1 == {number}:
            os.kill(os.getpid(), 9)
    answer = call(self, operation, parameters)
    if operation in WRITES and 2 * len(seen) == {number}:
        os.kill(os.getpid(), 9)
    return answer
BaseClient._make_api_call = killed
"""
"""Python's start-up file of a process that kills itself before (odd numbers) or right after (even ones) one of its changes."""

STOPPED = """
import os
from botocore.client import BaseClient
seen, call = [], BaseClient._make_api_call
def stopped(self, operation, parameters):
    answer = call(self, operation, parameters)
    if operation == {operation!r}:
        seen.append(operation)
        if len(seen) == 1:
            os.kill(os.getpid(), 15)
    return answer
BaseClient._make_api_call = stopped
"""
"""The same of one that is told to end right after the first call of an operation, before it knows the answer."""

OVERTAKEN = """
import copy
from botocore.client import BaseClient
call = BaseClient._make_api_call
def overtaken(self, operation, parameters):
    answer = call(self, operation, parameters)
    if operation == "ModifyRule":
        changed = copy.deepcopy(parameters)
        groups = changed["Actions"][-1]["ForwardConfig"]["TargetGroups"]
        if sorted(group["Weight"] for group in groups) == [20, 80]:
            for group in groups:
                group["Weight"] = {20: 40, 80: 60}[group["Weight"]]
            call(self, operation, changed)
    return answer
BaseClient._make_api_call = overtaken
"""
"""The same of one whose first step somebody else changes before it has read what it wrote."""

SABOTAGE = {
    "no settle": "Mover._bake = lambda self, move, seconds, reach: None",
    "no drain": "Mover._until = (lambda before: lambda self, doing, *more: None if doing.startswith('stop') else before(self, doing, *more))(Mover._until)",
    "shift before attach": "Mover._start = lambda self, move: setattr(self, '_deployment', 'none'); Mover._look = lambda self, move, last: None",
}
"""What takes the place of a part of the module in its process, so that a test is seen to fail."""
SABOTAGED = "from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_moves import Mover\n{patch}\n"


@dataclasses.dataclass
class Shop:
    """A web service with a release v1 in blue, and the options to deploy to it."""

    site: Site
    run: Runner
    folder: pathlib.Path

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options: quick steps, and the image v2."""
        given: dict[str, t.Any] = {
            **self.access(),
            **self.place,
            "test": self.site.test_rule,
            "settle": 0.6,
            "step_bake": 0.5,
            "bake": 0.5,
            "poll_interval": 0.2,
            "healthy_polls": 2,
            "start_timeout": PATIENCE,
            "lock_ttl": PATIENCE,
        }
        if more.get("state", "deployed") == "deployed" and not {"task_definition", "task_definition_spec"} & set(more):
            given["images"] = {"app": "app:v2"}
        return {key: each for key, each in {**given, **more}.items() if each is not None}

    def access(self, module: str = "ecs_bluegreen") -> dict[str, t.Any]:
        """Return the options that lead a module to the cloud."""
        return {"endpoint_url": self.site.cloud.endpoint_url, "access_key": key_of(module), "secret_key": SECRET, "region": "eu-central-1"}

    @property
    def place(self) -> dict[str, t.Any]:
        """The options that name the service."""
        groups = {"blue": self.site.blue, "green": self.site.green}
        return {"cluster": self.site.cluster, "name": self.site.name, "production": self.site.rule, "target_groups": groups}

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run the module."""
        return self.finish(self.run.start("ecs_bluegreen", self.options(**more), check))

    def finish(self, process: t.Any) -> dict[str, t.Any]:
        """Wait for a module that was started, and return its result."""
        return self.run.finish(process, PATIENCE)

    def start(self, **more: t.Any) -> t.Any:
        """Start the module; :meth:`finish` returns its result."""
        return self.run.start("ecs_bluegreen", self.options(**more))

    def info(self, engine: str = "weighted") -> dict[str, t.Any]:
        """Run the info module."""
        place = self.place if engine == "weighted" else {"cluster": self.site.cluster, "name": self.site.name}
        return self.run("ecs_bluegreen_info", {**self.access("ecs_bluegreen_info"), "engine": engine, **place})

    def patched(self, patch: str, **more: t.Any) -> t.Any:
        """Start the module in a process that runs this first."""
        folder = self.folder / "patch"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(patch)
        return self.run.start("ecs_bluegreen", self.options(**more), PYTHONPATH=str(folder))

    def killed_at(self, number: int, **more: t.Any) -> bool:
        """Run the module and have it killed before or after one of its changes; return whether it came so far."""
        process = self.patched(KILLED.format(writes=WRITES, number=number), **more)
        process.communicate(timeout=PATIENCE)
        return bool(process.returncode == -9)

    def sabotaged(self, name: str, **more: t.Any) -> dict[str, t.Any]:
        """Run the module with a part of it replaced."""
        return self.finish(self.patched(SABOTAGED.format(patch=SABOTAGE[name]), **more))

    def load(self, path: str = "/", pause: float = 0.02) -> Load:
        """Return clients that load the service; in a long test they pause for longer."""
        return Load(self.site.address, CLIENTS, path, pause)

    def test_url(self) -> str:
        """Return where the test listener listens."""
        host, port = self.site.cloud.listener(self.site.test_listener)
        return f"http://{host}:{port}/"

    def weights(self, blue: int, green: int) -> None:
        """Set the weights of the production rule, as somebody else does."""
        self.site.weights(blue, green)

    def parameters(self) -> list[str]:
        """Return the names of the locks that are there."""
        rows, own = self.site.cloud.client("ssm").describe_parameters()["Parameters"], default_name(self.site.cluster, "")
        return [row["Name"] for row in rows if row["Name"].startswith(own)]

    def record(self) -> Record | None:
        """Return what the lock holds, or None."""
        found = self.site.cloud.client("ssm").get_parameters(Names=[default_name(self.site.cluster, self.site.name)])["Parameters"]
        return read_record(found[0]["Value"]) if found else None

    def is_whole(self, image: str, kept: int = 0) -> None:
        """Fail unless one colour has all of the traffic, an image answers, the other colour has as many tasks as are kept, and no lock is left."""
        assert self.site.live_weights() in ((100, 0), (0, 100))
        self.site.settle()
        assert {self.site.get() for unused in range(20)} == {(200, image)}
        idle = self.site.green if self.site.live_weights() == (100, 0) else self.site.blue
        assert self.site.states(idle) == ["healthy"] * kept and self.parameters() == []


def compare_modules(cloud: Cloud) -> None:
    """Fail if something in the cloud failed, or if the modules made calls that their policies do not know."""
    assert cloud.control("state")["errors"] == {}
    for module in ("ecs_bluegreen", "ecs_bluegreen_info"):
        compare(module, cloud.control("calls"))


@contextlib.contextmanager
def shop(cloud: Cloud, name: str, run: Runner, folder: pathlib.Path, drain: int = 30, count: int = 2) -> t.Iterator[Shop]:
    """Yield a web service with healthy tasks of v1 in blue, two of them if it is not said otherwise."""
    with site(cloud, name, drain) as made:
        made.service(f"{name}-blue", "app:v1", made.blue, count)
        made.wait_healthy(made.blue, count)
        yield Shop(made, run, folder)


NATIVE: dict[str, t.Any] = {"engine": "native", "production": None, "test": None, "target_groups": None, "bake": 60, "step_bake": 60}
"""Options of a service that ECS itself deploys to."""


@contextlib.contextmanager
def native_shop(cloud: Cloud, name: str, run: Runner, folder: pathlib.Path) -> t.Iterator[Shop]:
    """Yield a service that ECS itself deploys to, with its first release."""
    with site(cloud, name) as made:
        advanced = {
            "alternateTargetGroupArn": made.green,
            "productionListenerRule": made.rule,
            "testListenerRule": made.test_rule,
            "roleArn": "arn:aws:iam::123456789012:role/ecs-infrastructure",
        }
        configuration = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1}
        made.service(name, "app:v1", made.blue, 2, {"advancedConfiguration": advanced}, deploymentConfiguration=configuration)
        made.wait_healthy(made.blue)
        listed = made.ecs.list_service_deployments
        until(lambda: listed(cluster=made.cluster, service=name)["serviceDeployments"][0]["status"] == "SUCCESSFUL", "the first release")
        yield Shop(made, run, folder)


def short_name(test: str) -> str:
    """Return a name for the service of a test, short enough for a load balancer's."""
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_")).strip("-")
    return f"{words[:12].strip('-')}-{hashlib.sha256(words.encode()).hexdigest()[:6]}"


__all__ = ["CLIENTS", "LONG", "NATIVE", "OVERTAKEN", "SABOTAGE", "SECRET", "STOPPED", "Shop", "forward", "native_shop", "shop", "short_name", "until"]
