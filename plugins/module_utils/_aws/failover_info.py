# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a name that fails over points now, for reading only."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws import health_check_plan as checks
from ansible_collections.mainstay.ops.plugins.module_utils._aws import switch_plan
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import unanswered
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover import read
from ansible_collections.mainstay.ops.plugins.module_utils._aws.route53 import Route53
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_object import ask
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import NoAnswer

FOUND = range(200, 400)
"""Statuses that a checker takes for well (Developer Guide, "How Amazon Route 53 determines whether a health check is healthy")."""


def inspect(api: Route53, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the info module: what is live, and what the health checks say.

    With ``switch_url`` an API of Route 53 that does not answer is no failure: the switch is asked alone.
    """
    try:
        return inspect_records(api, params)
    except MainstayError as error:
        if not params["switch_url"] or not unanswered(error):
            raise
        found = look_at_switch(params["switch_url"])
        empty = {"zone_id": params["hosted_zone_id"] or "", "records": [], "foreign": [], "fingerprint": found.pop("fingerprint"), "health": {}}
        return {"changed": False, "method": "s3_switch", "control_plane": False, **empty, **found}


def inspect_records(api: Route53, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the info module as Route 53's API tells it.

    Raises:
        MainstayError: it does not answer, or refuses.
    """
    name = plans.absolute(params["name"])
    zone = params["hosted_zone_id"] or api.zone_id(params["zone"], params["private_zone"])
    live = read(api, zone, name)
    switched = live.marker is not None and live.marker.active == plans.SWITCH
    method = "s3_switch" if switched else "weighted" if any("Weight" in record for record in live.records) else "failover"
    strange = [plans.describe(record) for record in live.records if "Failover" not in record and "Weight" not in record]
    active = plans.UNKNOWN if strange else plans.classify(method, live.records, live.marker)
    identifiers = sorted({record["HealthCheckId"] for record in live.records if "HealthCheckId" in record})
    found = {
        "changed": False,
        "active": active,
        "method": method,
        "control_plane": True,
        "zone_id": zone,
        "records": [plans.describe(record) for record in live.all],
        "foreign": strange,
        "fingerprint": plans.fingerprint(live.all),
        "last_switch": {"active": live.marker.active, "at": live.marker.at} if live.marker and not switched else {},
        "switch_url": "",
        "health": {identifier: checks.healthy(api.observations(identifier)) for identifier in identifiers},
    }
    if switched and live.records and not strange:
        configs = [check["HealthCheckConfig"] for check in api.health_checks() if check["Id"] in identifiers]
        urls = [url for url in map(switch_plan.url_of_check, configs) if url]
        if len(urls) == 1:
            found |= look_at_switch(urls[0])
    return found


def look_at_switch(url: str) -> dict[str, t.Any]:
    """Ask for a switch's objects as the checkers do; return the side that it makes active, and when it was thrown last."""
    state, there = look(switch_plan.url_of_state(url)), look(url)
    marker = plans.parse_marker(state[1]) if state[0] in FOUND else None
    # Where the state cannot be read, an object that is not seen may well be there.
    active = plans.SECONDARY if there[0] in FOUND else plans.PRIMARY if marker is not None and there[0] in (403, 404) else plans.UNKNOWN
    return {
        "active": active,
        "fingerprint": switch_plan.Position(active == plans.SECONDARY, marker).fingerprint,
        "last_switch": {"active": marker.active, "at": marker.at} if marker else {},
        "switch_url": url,
    }


def look(url: str) -> tuple[int, str]:
    """Return status and body of an object, or 0 if no answer came."""
    try:
        answer = ask(url)
    except NoAnswer:
        return 0, ""
    return answer.status, answer.body
