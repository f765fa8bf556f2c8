# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of a switch: where its objects are, what its check asks for, and what cannot be."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws import health_check_plan as checks
from ansible_collections.mainstay.ops.plugins.module_utils._aws import switch_plan
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

OPTIONS: dict[str, t.Any] = {"bucket": "b", "region": "eu-west-1", "prefix": None, "bucket_url": None, "interval": 10, "failure_threshold": 3}


def test_a_check_asks_for_the_object_and_tells_where_it_is() -> None:
    """By name, with SNI, inverted; or by address."""
    switch = switch_plan.plan_switch("www.example.com.", OPTIONS)
    config = checks.configuration(switch.check())
    assert switch.url == "https://b.s3.eu-west-1.amazonaws.com/mainstay/www.example.com/failover" and switch.seconds == 30
    assert config["Inverted"] and config["EnableSNI"] and config["FullyQualifiedDomainName"] == "b.s3.eu-west-1.amazonaws.com"
    assert switch_plan.url_of_check(config) == switch.url.replace(".com/", ".com:443/", 1)
    assert switch_plan.url_of_state(switch.url) == switch.state_url
    local = checks.configuration(switch_plan.plan_switch("www.example.com.", {**OPTIONS, "bucket_url": "http://127.0.0.1:5000/b/"}).check())
    assert (local["Type"], local["IPAddress"], local["Port"]) == ("HTTP", "127.0.0.1", 5000)
    assert switch_plan.url_of_check({**config, "Inverted": False}) == ""


@pytest.mark.parametrize("options", [None, {**OPTIONS, "prefix": "a//b"}, {**OPTIONS, "prefix": "x" * 260}, {**OPTIONS, "failure_threshold": 11}])
def test_what_cannot_be_a_switch_is_refused(options: dict[str, t.Any] | None) -> None:
    with pytest.raises(InvalidInput):
        switch_plan.plan_switch("www.example.com.", options)


def test_records_of_a_switched_pair_do_not_depend_on_the_side() -> None:
    """And no alias may follow its resource's own health."""
    first, second = (plans.Target(role, {"A": (f"192.0.2.{number}",)}) for number, role in enumerate(("primary", "secondary"), 1))
    pair = plans.Pair("www.example.com.", "s3_switch", first, second, 60)
    assert pair.records("primary") == pair.records("secondary")
    assert plans.classify("failover", pair.records("primary"), plans.Marker(plans.SWITCH, 1, "x"), pair) == "unknown"
    followed = plans.Target("primary", {}, plans.Alias("Z1", "lb.example", True))
    with pytest.raises(InvalidInput, match="evaluate_target_health"):
        plans.Pair("www.example.com.", "s3_switch", followed, plans.Target("secondary", {}, plans.Alias("Z1", "lb2.example", False)), 60).check("primary")
