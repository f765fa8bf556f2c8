# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of health checks: kept, changed, or replaced by the next generation."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import health_check_plan as checks

START = checks.prefix("Z1", "www.example.com.", "primary")
CONFIG = {"Type": "HTTPS", "RequestInterval": 10, "Port": 443, "FailureThreshold": 3}


def check(identifier: str, number: int, start: str = START, **config: t.Any) -> dict[str, t.Any]:
    """Return a health check as the API has it."""
    return {"Id": identifier, "CallerReference": f"{start}{number}", "HealthCheckVersion": 4, "HealthCheckConfig": {**CONFIG, "Inverted": False, **config}}


@pytest.mark.parametrize(
    ("known", "action", "reference", "identifier", "obsolete"),
    [
        ([], "create", f"{START}1", "", ()),
        ([check("other", 1, "terraform-")], "create", f"{START}1", "", ()),
        ([check("a", 1)], "keep", "", "a", ()),
        ([check("a", 1, FailureThreshold=5)], "update", "", "a", ()),
        ([check("a", 1, RequestInterval=30)], "create", f"{START}2", "", ("a",)),
        ([check("b", 10), check("a", 9)], "keep", "", "b", ("a",)),
    ],
)
def test_plan(known: list[dict[str, t.Any]], action: str, reference: str, identifier: str, obsolete: tuple[str, ...]) -> None:
    """What is there decides."""
    step = checks.plan(START, CONFIG, known)
    assert (step.action, step.reference, step.identifier, step.obsolete) == (action, reference, identifier, obsolete)


def test_each_side_of_each_name_has_references_of_its_own() -> None:
    """A caller reference has at most 64 characters."""
    starts = {checks.prefix(zone, name, side) for zone in ("Z1", "Z2") for name in ("a.", "b.") for side in ("primary", "secondary")}
    assert len(starts) == 8 and all(len(f"{start}999") <= 64 for start in starts)


@pytest.mark.parametrize(("good", "bad", "expected"), [(0, 0, None), (3, 0, True), (1, 2, True), (1, 5, False), (0, 3, False)])
def test_healthy_is_more_than_18_percent(good: int, bad: int, expected: bool | None) -> None:
    """As Route 53 decides."""
    rows = [{"StatusReport": {"Status": "Success: HTTP Status Code 200, OK."}}] * good + [{"StatusReport": {"Status": "Failure: timeout"}}] * bad
    assert checks.healthy(rows) is expected


def test_configuration_leaves_out_what_is_not_given() -> None:
    """And sends the name in TLS."""
    options = {"type": "HTTPS", "ip_address": None, "fqdn": "www.example.com", "port": 443, "path": "/", "search_string": None}
    options |= {"interval": 30, "failure_threshold": 3}
    assert checks.configuration(options) == {
        "Type": "HTTPS",
        "FullyQualifiedDomainName": "www.example.com",
        "Port": 443,
        "ResourcePath": "/",
        "RequestInterval": 30,
        "FailureThreshold": 3,
        "EnableSNI": True,
    }
