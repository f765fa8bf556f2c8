# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps other operations on services of ECS away from a deployment: its record, which is its lock, is looked at before each change.

Only ``ecs_bluegreen`` takes that lock, since its next run ends whatever a record tells of.
"""

from __future__ import annotations

import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import COLOURS, Record
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import Lock, default_name
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def guard_argument_spec() -> dict[str, t.Any]:
    """Return the options of the fragment ``mainstay.ops.ecs_services``."""
    return {
        "cluster": {"type": "str", "required": True},
        "services": {"type": "list", "elements": "str", "required": True},
        "name": {"type": "str"},
        "lock_name": {"type": "str"},
    }


def lock_names(params: t.Mapping[str, t.Any]) -> list[str]:
    """Return the parameters of Systems Manager that hold the locks of services: the given one, or those of the applications that their names tell of."""
    if params["lock_name"]:
        return [params["lock_name"]]
    stems = {service.removesuffix(f"-{colour}") for service in params["services"] for colour in COLOURS if service.endswith(f"-{colour}")}
    names = [params["name"]] if params["name"] else sorted(stems)
    return [default_name(params["cluster"], name) for name in names]


def refuse_deployment(record: Record | None, now: float, doing: str) -> None:
    """Refuse to touch services while a deployment is not finished.

    Args:
        record: what is kept of it; None without one.
        now: Unix time.
        doing: what would be done, as a verb phrase.

    Raises:
        MainstayError: there is one; with ``reason``, ``holder`` and ``since``.
    """
    if record is None:
        return
    since = to_text(datetime.datetime.fromtimestamp(record.began, datetime.timezone.utc)) if record.began else ""
    begun = f"since {since}" if since else "since a time that is not known"
    back = "take it back with ecs_bluegreen and state aborted"
    if record.held(now):
        cause = f"{record.holder} deploys to {record.target} {begun}, and was there {now - record.beat:.0f} s ago"
        step = f"wait for its end; if it dies, which shows {record.ttl:.0f} s after its last sign of life, {back}"
        reason = "locked"
    elif record.paused:
        cause = f"a deployment of {record.holder} {begun} is paused with {record.share} % of the traffic on {record.target}"
        step, reason = f"promote it with ecs_bluegreen and state promoted, or {back}", "paused"
    else:
        cause = f"a deployment of {record.holder} {begun} was cut off with {record.share} % of the traffic on {record.target}"
        step, reason = f"deploy again, which ends it, or {back}", "interrupted"
    raise MainstayError(doing, cause, step, reason=reason, holder=record.holder, since=since)


class Guard:
    """The locks of deployments to some services."""

    def __init__(self, client: t.Any, params: t.Mapping[str, t.Any]) -> None:
        """Use a boto3 client of Systems Manager with retries, and the module's options."""
        self._locks = [Lock(client, name) for name in lock_names(params)]

    def refuse(self, doing: str) -> None:
        """Refuse something while a deployment is not finished; see :func:`refuse_deployment`."""
        for lock in self._locks:
            refuse_deployment(lock.read(), time.time(), doing)
