# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locks belong to services, and what is said of a deployment that is in the way."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import MOVED, Record, read_record
from ansible_collections.mainstay.ops.plugins.module_utils._aws.deployment_guard import lock_names, refuse_deployment
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

BEGAN = 1795867200.0
RECORD = Record("t", "j", "ci7 (process 12)", BEGAN + 100, 60.0, MOVED, "blue", "green", "arn:2", "arn:1", (10, 100), 10, began=BEGAN)
SINCE = "2026-11-28T12:00:00Z"
PAIR = ["shop-blue", "shop-green"]


@pytest.mark.parametrize(
    ("services", "name", "lock_name", "wanted"),
    [
        (PAIR, None, None, ["/mainstay/bluegreen/main/shop"]),
        (["shop-green", "api-blue", "worker"], None, None, ["/mainstay/bluegreen/main/api", "/mainstay/bluegreen/main/shop"]),
        (["blue", "green"], "shop", None, ["/mainstay/bluegreen/main/shop"]),
        (PAIR, "other", None, ["/mainstay/bluegreen/main/other"]),
        (PAIR, "other", "/lock", ["/lock"]),
        (["worker"], None, None, []),
    ],
)
def test_locks_of_services(services: list[str], name: str | None, lock_name: str | None, wanted: list[str]) -> None:
    cluster = "arn:aws:ecs:eu-central-1:1:cluster/main"
    assert lock_names({"cluster": cluster, "services": services, "name": name, "lock_name": lock_name}) == wanted


@pytest.mark.parametrize(
    ("changes", "seconds", "reason", "since", "words"),
    [
        ({}, 130, "locked", SINCE, ["ci7 (process 12) deploys to green since 2026-11-28T12:00:00Z, and was there 30 s ago", "60 s after its last sign"]),
        ({}, 161, "interrupted", SINCE, ["since 2026-11-28T12:00:00Z was cut off with 10 % of the traffic on green", "deploy again", "state aborted"]),
        ({"beat": 0.0}, 130, "paused", SINCE, ["is paused with 10 % of the traffic on green", "promote it", "state aborted"]),
        ({"began": 0.0}, 130, "locked", "", ["deploys to green since a time that is not known"]),
    ],
)
def test_a_deployment_is_in_the_way(changes: dict[str, float], seconds: float, reason: str, since: str, words: list[str]) -> None:
    with pytest.raises(MainstayError) as caught:
        refuse_deployment(dataclasses.replace(RECORD, **changes), BEGAN + seconds, "restart shop-blue")
    text = str(caught.value)
    assert text.startswith("could not restart shop-blue") and all(word in text for word in words), text
    assert caught.value.details == {"reason": reason, "holder": "ci7 (process 12)", "since": since}


def test_without_a_deployment_nothing_is_refused() -> None:
    """And a record of before its beginning was kept can be read."""
    refuse_deployment(None, BEGAN, "restart shop-blue")
    assert read_record(RECORD.text.replace(f',"began":{BEGAN}', "").replace(f'"began":{BEGAN},', "")).began == 0
