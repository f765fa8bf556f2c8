# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Costs: what a resource costs, and what is found about it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost import Limits, Prices, Resource, judge, monthly, smaller
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import limits_of

NOW = 1795651200.0
DAY = 86400.0
TABLE = {
    "hours": 100, "currency": "USD", "public_address_hour": 0.01, "nat_hour": 0.05, "balancer_hour": 0.02, "fargate_vcpu_hour": 0.04, "fargate_gb_hour": 0.01,
    "volume_gb": {"gp3": 0.1, "gp2": 0.2}, "snapshot_gb": 0.05, "database_snapshot_gb": 0.1, "logs_stored_gb": 0.03, "valkey_share": 0.8,
    "database_hour": {"db.m6g.large": 0.2, "db.m6g.xlarge": 0.5}, "database_storage_gb": 0.1, "cache_hour": {"cache.m6g.large": 0.1},
    "instance_hour": {"t3.small": 0.02, "t3.medium": 0.05},
}


def resource(kind: str, age: float = 100, usage: dict[str, float] | None = None, tags: dict[str, str] | None = None, **facts: t.Any) -> Resource:
    """A resource that is so many days old."""
    return Resource(kind, "x", "eu-central-1", "", facts, usage or {}, NOW - age * DAY, tags or {})


def volume(**more: t.Any) -> Resource:
    return resource("volume", **{"size_gb": 10, "type": "gp3", "attached": False, "instances": [], **more})


def instance(**more: t.Any) -> Resource:
    return resource("instance", **{"type": "t3.medium", "state": "running", "volumes_monthly": 3.0, **more})


def database(**more: t.Any) -> Resource:
    return resource("database", **{"class": "db.m6g.xlarge", "multi_az": False, "storage_gb": 100, "engine": "postgres", **more})


def cache(**more: t.Any) -> Resource:
    return resource("cache", **{"class": "cache.m6g.large", "nodes": 2, "engine": "redis", **more})


def service(**more: t.Any) -> Resource:
    return resource("service", **{"tasks": 4, "vcpu": 0.5, "memory_gb": 1.0, "cluster": "c", **more})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (volume(), 1.0), (volume(type="gp2"), 2.0), (volume(type="io9"), None), (resource("snapshot", size_gb=20), 1.0),
        (resource("database_snapshot", size_gb=20), 2.0), (resource("address"), 1.0), (resource("nat_gateway"), 5.0), (resource("balancer"), 2.0),
        (database(), 60.0), (database(multi_az=True), 120.0), (database(**{"class": "db.x9.large"}), None), (cache(), 20.0), (cache(engine="valkey"), 16.0),
        (service(), 12.0), (service(tasks=0), 0.0), (instance(), 5.0), (instance(state="stopped"), 0.0), (instance(type="t9.big"), None),
        (resource("log_group", stored_bytes=10**11, retention_days=0), 3.0),
    ],
)
def test_monthly(given: Resource, expected: float | None) -> None:
    found = monthly(given, Prices(TABLE))
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "reason", "saved"),
    [
        (volume(), "unattached", 1.0),
        (volume(age=6), "", None),
        (volume(attached=True), "", None),
        (volume(attached=True, type="gp2"), "outdated", 1.0),
        (volume(type="gp2"), "unattached", 2.0),
        (volume(type="io9"), "unattached", None),
        (resource("address", associated=False), "unattached", 1.0),
        (resource("address", associated=True), "", None),
        (resource("balancer", targets=0), "unattached", 2.0),
        (resource("balancer", targets=0, age=1), "", None),
        (resource("balancer", targets=2, usage={"requests": 0.0}), "idle", 2.0),
        (resource("balancer", targets=2, usage={"requests": 1.0}), "", None),
        (resource("balancer", targets=2), "", None),
        (resource("nat_gateway", usage={"bytes": 0.0}), "idle", 5.0),
        (resource("nat_gateway", usage={"bytes": 9.0}), "", None),
        # Nobody measured it: that is no proof.
        (resource("nat_gateway"), "", None),
        (resource("snapshot", size_gb=20), "old", 1.0),
        (resource("snapshot", size_gb=20, age=89), "", None),
        (resource("snapshot", size_gb=20, image=True), "", None),
        (resource("snapshot", size_gb=20, tags={"mainstay:retention": "90d"}), "", None),
        (resource("database_snapshot", size_gb=20), "old", 2.0),
        (instance(usage={"cpu_max_percent": 2.9}), "idle", 5.0),
        (instance(usage={"cpu_max_percent": 19.0}), "oversized", 3.0),
        (instance(usage={"cpu_max_percent": 20.0}), "", None),
        (instance(), "", None),
        (instance(age=3, usage={"cpu_max_percent": 1.0}), "", None),
        (instance(state="stopped"), "idle", 3.0),
        (database(usage={"connections_max": 0.0, "cpu_max_percent": 90.0}), "idle", 60.0),
        (database(usage={"connections_max": 5.0, "cpu_max_percent": 10.0}), "oversized", 30.0),
        (database(multi_az=True, usage={"connections_max": 5.0, "cpu_max_percent": 10.0}), "oversized", 60.0),
        # There is no price of the smaller class: sizes of a family cost half of each other.
        (database(**{"class": "db.m6g.large"}, usage={"cpu_max_percent": 10.0}), "oversized", 10.0),
        (database(), "", None),
        (cache(usage={"cpu_max_percent": 5.0, "memory_max_percent": 20.0}), "oversized", 10.0),
        (cache(usage={"cpu_max_percent": 5.0, "memory_max_percent": 40.0}), "", None),
        (cache(usage={"cpu_max_percent": 5.0}), "", None),
        (service(usage={"cpu_max_percent": 10.0, "memory_max_percent": 10.0}), "oversized", 6.0),
        (service(usage={"cpu_max_percent": 10.0, "memory_max_percent": 50.0}), "", None),
        (service(tasks=0, usage={"cpu_max_percent": 0.0, "memory_max_percent": 0.0}), "", None),
        (resource("log_group", stored_bytes=10**11, retention_days=0), "unbounded", 3.0),
        (resource("log_group", stored_bytes=10**11, retention_days=30), "", None),
    ],
)
def test_findings(given: Resource, reason: str, saved: float | None) -> None:
    found = judge(given, Prices(TABLE), Limits(), NOW)
    assert (found.reason if found else "") == reason
    if found:
        assert found.problem and found.mend and (found.monthly is None if saved is None else found.monthly == pytest.approx(saved))


@pytest.mark.parametrize(
    ("name", "expected"), [("db.m6g.xlarge", "db.m6g.large"), ("t3.nano", ""), ("m5.2xlarge", "m5.xlarge"), ("m5.metal", ""), ("odd", "")],
)
def test_smaller(name: str, expected: str) -> None:
    assert smaller(name) == expected


def test_prices_that_are_missing_are_remembered() -> None:
    prices = Prices(TABLE)
    assert monthly(volume(type="io9"), prices) is None and monthly(instance(type="t9.big"), prices) is None
    assert prices.missing == {"volume_gb of io9", "instance_hour of t9.big"}
    for lacking in ("hours", "currency"):
        with pytest.raises(InvalidInput, match=f"the table lacks {lacking}"):
            Prices({key: value for key, value in TABLE.items() if key != lacking})


def test_limits() -> None:
    with pytest.raises(InvalidInput, match="young_days is negative"):
        limits_of(Limits, {"young_days": -1.0}, "judge")
