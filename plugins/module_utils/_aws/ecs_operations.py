# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts and scales services of ECS that run.

ECS API reference, ``UpdateService``: with forceNewDeployment ECS replaces the tasks by new ones of the same definition, as many at a time as the service's
deploymentConfiguration lets it. ``Deployment``: rolloutState of the deployment with this id; with the circuit breaker another one takes its place when it
fails.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.deployment_guard import Guard
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Autoscaling
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

Row = t.Mapping[str, t.Any]


def running(services: t.Mapping[str, Row], wanted: t.Sequence[str], doing: str) -> list[str]:
    """Return those services that are to have tasks; the others, such as the idle colour of a pair, stay as they are.

    Raises:
        InvalidInput: a service is not there, or none of them is to have tasks.
    """
    missing = [name for name in wanted if name not in services]
    if missing:
        raise InvalidInput(doing, f"there is no service {', '.join(missing)} in the cluster", "see whether names, cluster and region are right")
    found = [name for name in wanted if services[name]["desiredCount"] > 0]
    if not found:
        raise InvalidInput(doing, "none of the services has a task", "deploy the application first")
    return found


def primary(service: Row) -> Row:
    """Return the deployment that a service goes to."""
    return next(row for row in service["deployments"] if row["status"] == "PRIMARY")


def rollout(service: Row, deployment: str, doing: str) -> str:
    """Say what a deployment still is; nothing once it is through.

    Raises:
        MainstayError: it failed, or another one has taken its place.
    """
    row = next((row for row in service["deployments"] if row["id"] == deployment), None)
    if row is None or row["status"] != "PRIMARY" or row.get("rolloutState") == "FAILED":
        reason = (row or {}).get("rolloutStateReason") or "another deployment has taken its place"
        raise MainstayError(doing, reason, "see the events of the service; its old tasks go on where new ones did not come up")
    if row.get("rolloutState") == "COMPLETED":
        return ""
    return f"{row['runningCount']} of {row['desiredCount']} new tasks run"


def refuse_rollout(services: t.Iterable[Row], doing: str) -> None:
    """Refuse services whose deployment ECS is not through with; it does not tell who has begun it.

    Raises:
        InvalidInput: so.
    """
    for service in services:
        if len(service["deployments"]) > 1:
            newest = primary(service)
            what, since = newest["taskDefinition"].rpartition("/")[2], to_text(newest["createdAt"])
            cause = f"a deployment of {service['serviceName']} is not through: ECS brings it to {what} since {since}"
            raise InvalidInput(doing, cause, "wait until its old tasks are gone, or stop that deployment")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a service is to be scaled to.

    Args:
        count: tasks; None leaves them.
        least: the least of the autoscaling; None leaves it.
        most: the most; None leaves it.
    """

    count: int | None = None
    least: int | None = None
    most: int | None = None


def plan_bounds(wanted: Bounds, count: int, bounds: tuple[int, int] | None, doing: str) -> tuple[int, tuple[int, int] | None]:
    """Return the tasks and the bounds that a service has in the end.

    Args:
        wanted: what is asked for.
        count: the tasks it has now.
        bounds: those of its autoscaling now; None without one.
        doing: what for, as a verb phrase.

    Raises:
        InvalidInput: they contradict each other.
    """
    numbers = [number for number in (wanted.count, wanted.least, wanted.most) if number is not None]
    if not numbers or min(numbers) < 1:
        raise InvalidInput(doing, "desired_count, min_capacity and max_capacity must be at least 1, and one of them is needed", "give one")
    if bounds is None:
        if wanted.least is not None or wanted.most is not None:
            raise InvalidInput(doing, "it has no autoscaling, so there are no bounds", "give desired_count alone")
        return t.cast(int, wanted.count), None
    least, most = wanted.least or bounds[0], wanted.most or bounds[1]
    if least > most:
        raise InvalidInput(doing, f"the least, {least}, would be more than the most, {most}", "give both")
    if wanted.count is not None and not least <= wanted.count <= most:
        cause = f"desired_count is {wanted.count}, and autoscaling keeps between {least} and {most}, so that it would be put back"
        raise InvalidInput(doing, cause, "give min_capacity or max_capacity too")
    return wanted.count or min(max(count, least), most), (least, most)


@dataclasses.dataclass(frozen=True)
class Operations:
    """One run.

    Args:
        ecs: the calls, and the cluster.
        scaling: those of the autoscaling.
        guard: tells of deployments, which are left alone.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    ecs: Ecs
    scaling: Autoscaling
    guard: Guard
    params: t.Mapping[str, t.Any]
    check_mode: bool

    def restart(self) -> dict[str, t.Any]:
        """Have new tasks in place of those that run, one service after the other; return the module's result."""
        began, wanted = time.monotonic(), list(self.params["services"])
        doing = f"restart {' and '.join(wanted)}"
        found = self.ecs.services(wanted)
        names = running(found, wanted, doing)
        self.guard.refuse(doing)
        refuse_rollout([found[name] for name in names], doing)
        before = {name: primary(found[name])["id"] for name in names}
        after = dict(before)
        for name in [] if self.check_mode else names:
            self.guard.refuse(f"restart {name}")
            after[name] = primary(self.ecs.update(name, forceNewDeployment=True))["id"]
            self._wait(name, after[name])
        actions = [f"replace the {found[name]['desiredCount']} tasks of {name}" for name in names]
        return {
            "changed": bool(actions),
            "actions": actions,
            "services": {name: {"deployment": after[name], "tasks": found[name]["desiredCount"]} for name in names},
            "seconds": round(time.monotonic() - began, 3),
            "diff": {"before": dict.fromkeys(names, "old tasks"), "after": dict.fromkeys(names, "new tasks")},
        }

    def _wait(self, name: str, deployment: str) -> None:
        doing = f"wait for the new tasks of {name}"

        def look() -> Row:
            found = self.ecs.services([name])
            if name not in found:
                raise MainstayError(doing, "somebody has removed it", "see who")
            return found[name]

        self._patience().wait(doing, look, lambda service: rollout(service, deployment, doing))

    def _patience(self) -> Patience:
        return Patience(self.params["wait_timeout"], self.params["poll_interval"])

    def scale(self) -> dict[str, t.Any]:
        """Have another number of tasks; return the module's result."""
        began, wanted = time.monotonic(), list(self.params["services"])
        doing = f"scale {' or '.join(wanted)}"
        found = self.ecs.services(wanted)
        names = running(found, wanted, doing)
        self.guard.refuse(doing)
        refuse_rollout([found[name] for name in names], doing)
        if len(names) > 1:
            raise InvalidInput(doing, f"{' and '.join(names)} have tasks, so that a deployment goes on, or has kept its old release", "name one of them")
        name = names[0]
        now = self.scaling.bounds([name]).get(name)
        count = int(found[name]["desiredCount"])
        asked = Bounds(self.params["desired_count"], self.params["min_capacity"], self.params["max_capacity"])
        target, bounds = plan_bounds(asked, count, now, doing)
        actions = [f"let autoscaling keep between {bounds[0]} and {bounds[1]} tasks of {name}"] if bounds is not None and bounds != now else []
        actions += [f"scale {name} from {count} to {target} tasks"] if target != count else []
        if not self.check_mode:
            if bounds is not None and bounds != now:
                self.scaling.bound(name, *bounds)
            if target != count:
                self.ecs.update(name, desiredCount=target)
                self._patience().wait(f"wait for {target} tasks of {name}", lambda: self.ecs.services([name])[name], lambda row: tasks_of(row, target))
        before = {"tasks": count, "least": now[0] if now else None, "most": now[1] if now else None}
        after = {"tasks": target, "least": bounds[0] if bounds else None, "most": bounds[1] if bounds else None}
        return {
            "changed": bool(actions),
            "actions": actions,
            "service": {"name": name, **after},
            "seconds": round(time.monotonic() - began, 3),
            "diff": {"before": before, "after": after},
        }


def tasks_of(service: Row, target: int) -> str:
    """Say how many tasks a service has while these are not as many as it is to have."""
    return "" if service["runningCount"] == target and service["desiredCount"] == target else f"{service['runningCount']} run"
