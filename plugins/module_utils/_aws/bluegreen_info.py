# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a blue/green pair is there, for reading only."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_native import ENDED, source_definition, waiting_hook
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import LoadBalancing
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import Lock
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError


def inspect(ecs: Ecs, elb: LoadBalancing, lock: Lock, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the info module."""
    names = plans.service_names(params)
    groups, production = params["target_groups"], params["production"]
    traffic = plans.read_traffic(elb.actions([production])[production], groups)
    found = ecs.services(list(names.values()))
    services = {colour: describe(ecs, elb, found.get(names[colour]), groups[colour]) for colour in plans.COLOURS}
    live = services.get(traffic.live, {})
    return {
        "changed": False,
        "live_color": traffic.live,
        "weights": {colour: traffic.weight(colour) or 0 for colour in plans.COLOURS},
        "task_definition": live.get("task_definition", ""),
        "images": live.get("images", {}),
        "services": services,
        "deployment": left(lock),
    }


def inspect_native(ecs: Ecs, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the info module for a service that ECS itself deploys to.

    Raises:
        InvalidInput: there is no such service.
    """
    name = params["name"]
    service = ecs.services([name]).get(name)
    if service is None:
        cause = f"there is no active service of this name in the cluster {params['cluster']}"
        raise InvalidInput(f"read the service {name}", cause, "see whether cluster, name and region are right")
    running = next((row for row in ecs.service_deployments(name) if row["status"] not in ENDED), None)
    unfinished = describe_deployment(ecs, running) if running else {}
    definition = unfinished.get("source") or service["taskDefinition"]
    return {
        "changed": False,
        "live_color": "",
        "weights": {},
        "task_definition": definition,
        "images": plans.images_of(ecs.definition(definition)),
        "services": {},
        "deployment": unfinished,
    }


def describe_deployment(ecs: Ecs, running: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Describe a deployment by ECS that is not finished."""
    found = ecs.service_deployment(running["serviceDeploymentArn"])
    return {
        "state": "paused" if waiting_hook(found) else "running",
        "holder": "Amazon ECS",
        "source": source_definition(ecs, found),
        "target": running["targetServiceRevisionArn"],
        "share": round((found.get("targetServiceRevision") or {}).get("requestedProductionTrafficWeight", 0.0)),
        "definition": ecs.revision(running["targetServiceRevisionArn"]).get("taskDefinition", ""),
        "stage": found.get("lifecycleStage") or found["status"],
        "arn": running["serviceDeploymentArn"],
    }


def describe(ecs: Ecs, elb: LoadBalancing, service: t.Mapping[str, t.Any] | None, group: str) -> dict[str, t.Any]:
    """Describe one colour."""
    health = elb.health(group)
    if service is None:
        return {"exists": False, "healthy": plans.healthy(health), "targets": plans.states(health)}
    definition = service["taskDefinition"]
    return {
        "exists": True,
        "name": service["serviceName"],
        "task_definition": definition,
        "images": plans.images_of(ecs.definition(definition)),
        "desired": int(service["desiredCount"]),
        "running": int(service["runningCount"]),
        "healthy": plans.healthy(health),
        "targets": plans.states(health),
        "rolled_back": plans.mark_of(service) == definition,
    }


def left(lock: Lock) -> dict[str, t.Any]:
    """Describe the deployment that is not finished, if there is one."""
    try:
        record = lock.read()
    except MainstayError as error:
        return {"state": "unknown", "problem": str(error)}
    if record is None:
        return {}
    state = "paused" if record.paused else "running" if record.held(time.time()) else "interrupted"
    return {"state": state, "holder": record.holder, "source": record.source, "target": record.target, "share": record.share, "definition": record.definition}
