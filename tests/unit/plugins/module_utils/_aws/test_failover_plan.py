# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of a failover pair: which records, what is live, what changes."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

FIRST = plans.Target("primary", {"A": ("192.0.2.1",), "AAAA": ("2001:db8::1",)}, health_check="check-1")
SECOND = plans.Target("secondary", {"A": ("192.0.2.2",), "AAAA": ("2001:db8::2",)}, health_check="check-2")
PAIR = plans.Pair("www.example.com.", "failover", FIRST, SECOND, 60)
WEIGHTED = dataclasses.replace(PAIR, method="weighted")
OPTIONS: dict[str, t.Any] = {"identifier": None, "addresses": None, "alias": None, "health_check_id": None}


def rows(records: list[dict[str, t.Any]]) -> list[str]:
    """Return records in short."""
    return [plans.describe(record).removeprefix("www.example.com. ") for record in records]


def test_auto_gives_each_side_its_own_record() -> None:
    """With its health check."""
    assert rows(PAIR.records("auto")) == [
        "A SetIdentifier=primary Failover=PRIMARY TTL=60 HealthCheckId=check-1 192.0.2.1",
        "A SetIdentifier=secondary Failover=SECONDARY TTL=60 HealthCheckId=check-2 192.0.2.2",
        "AAAA SetIdentifier=primary Failover=PRIMARY TTL=60 HealthCheckId=check-1 2001:db8::1",
        "AAAA SetIdentifier=secondary Failover=SECONDARY TTL=60 HealthCheckId=check-2 2001:db8::2",
    ]


def test_a_pinned_pair_holds_one_side_in_both_records() -> None:
    """The second without a health check, so that there is always an answer, and always the same."""
    assert rows(PAIR.records("secondary"))[:2] == [
        "A SetIdentifier=primary Failover=PRIMARY TTL=60 HealthCheckId=check-2 192.0.2.2",
        "A SetIdentifier=secondary Failover=SECONDARY TTL=60 192.0.2.2",
    ]


def test_weights_name_one_side() -> None:
    """Without health checks."""
    assert rows(WEIGHTED.records("secondary"))[:2] == [
        "A SetIdentifier=primary Weight=0 TTL=60 192.0.2.1",
        "A SetIdentifier=secondary Weight=100 TTL=60 192.0.2.2",
    ]


@pytest.mark.parametrize(
    ("pair", "active", "expected"),
    [
        (dataclasses.replace(PAIR, secondary=dataclasses.replace(SECOND, addresses={"A": ("192.0.2.2",)})), "auto", "the same types"),
        (dataclasses.replace(PAIR, secondary=dataclasses.replace(SECOND, identifier="primary")), "auto", "different identifiers"),
        (dataclasses.replace(PAIR, secondary=dataclasses.replace(SECOND, health_check="")), "secondary", "secondary.health_check"),
        (WEIGHTED, "auto", "say primary or secondary"),
    ],
)
def test_what_cannot_be_right_is_refused(pair: plans.Pair, active: str, expected: str) -> None:
    """With the next step."""
    with pytest.raises(InvalidInput, match=expected):
        pair.check(active)


@pytest.mark.parametrize("active", ["auto", "primary", "secondary"])
def test_what_is_made_is_recognised(active: str) -> None:
    """By its contents, also without knowing the sides."""
    live = PAIR.records(active)
    marker = plans.Marker(active, 1, "x")
    assert plans.classify("failover", live, None, PAIR) == active
    assert plans.classify("failover", live, marker) == active
    assert plans.foreign(PAIR, live) == [] and plans.batch(live, live) == []


def test_weights_are_recognised() -> None:
    """Only if one side carries all."""
    assert plans.classify("weighted", WEIGHTED.records("secondary"), None, WEIGHTED) == "secondary"
    both = [{**record, "Weight": 10} for record in WEIGHTED.records("primary")]
    assert plans.classify("weighted", both, None, WEIGHTED) == "unknown"


def test_nothing_and_half_of_it() -> None:
    """An empty name is absent; a pair of which a record is missing is unknown."""
    assert plans.classify("failover", [], None, PAIR) == "absent"
    assert plans.classify("failover", PAIR.records("auto")[:1], None, PAIR) == "unknown"


@pytest.mark.parametrize(
    "record",
    [
        {"Name": "www.example.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.7"}]},
        {"Name": "www.example.com.", "Type": "A", "SetIdentifier": "third", "Failover": "SECONDARY", "TTL": 60, "ResourceRecords": []},
        {"Name": "www.example.com.", "Type": "A", "SetIdentifier": "primary", "Weight": 1, "TTL": 60, "ResourceRecords": []},
        {"Name": "www.example.com.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "example.net."}]},
    ],
)
def test_what_others_have_made_is_foreign(record: dict[str, t.Any]) -> None:
    """A simple record, a third identifier, another policy, another type."""
    assert len(plans.foreign(PAIR, [record])) == 1


def test_a_batch_deletes_what_was_read_and_makes_what_is_wanted() -> None:
    """And leaves alone what is right already."""
    live, wanted = PAIR.records("auto"), PAIR.records("secondary")
    changes = plans.batch(live, wanted)
    assert [change["Action"] for change in changes] == ["DELETE"] * 4 + ["CREATE"] * 4
    assert changes[0]["ResourceRecordSet"] is live[0]
    again = [*live[:3], {**live[3], "TTL": 30}]
    assert [change["Action"] for change in plans.batch(again, live)] == ["DELETE", "CREATE"]


def test_spellings_of_the_same_are_the_same() -> None:
    """Order of addresses, case and dualstack of an alias."""
    alias = plans.Target("primary", {}, plans.Alias("Z1", "DualStack.LB-1.example.amazonaws.com"))
    other = plans.Target("primary", {}, plans.Alias("Z1", "lb-1.example.amazonaws.com."))
    records = [dataclasses.replace(PAIR, primary=side, secondary=SECOND).side("primary") for side in (alias, other)]
    assert records[0].alias.text == records[1].alias.text
    one = {"Name": "a.", "Type": "A", "TTL": 1, "ResourceRecords": [{"Value": "192.0.2.2"}, {"Value": "192.0.2.1"}]}
    assert plans.same(one, {**one, "ResourceRecords": one["ResourceRecords"][::-1]})


def test_the_marker_comes_back() -> None:
    """And anything else at its name does not pass for one."""
    marker = plans.Marker("secondary", 1764255600, "ab12")
    assert plans.read_marker(marker.record("www.example.com.", 60)) == marker
    assert plans.read_marker({"ResourceRecords": [{"Value": '"v=spf1 -all"'}]}) is None and plans.read_marker(None) is None


def test_a_side_has_addresses_or_an_alias() -> None:
    """Sorted by type, in their normal form."""
    target = plans.plan_target("primary", {**OPTIONS, "addresses": ["2001:DB8::0:1", "192.0.2.1"]})
    assert target.addresses == {"AAAA": ("2001:db8::1",), "A": ("192.0.2.1",)} and target.identifier == "primary"
    alias = {"zone_id": "Z1", "dns_name": "lb.example", "types": ["AAAA", "A"], "evaluate_target_health": False}
    assert plans.plan_target("primary", {**OPTIONS, "alias": alias}).types == ("A", "AAAA")
    for options in (OPTIONS, {**OPTIONS, "addresses": ["192.0.2.1"], "alias": alias}, {**OPTIONS, "addresses": ["www.example.com"]}):
        with pytest.raises(InvalidInput):
            plans.plan_target("primary", options)
