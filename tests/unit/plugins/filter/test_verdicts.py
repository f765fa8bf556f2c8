# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verdict on what was not seen is none, and a message has no secrets."""

from __future__ import annotations

import collections
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.filter.hide_secrets import hide_secrets
from ansible_collections.mainstay.ops.plugins.filter.verdicts import traffic_verdict
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Figures


def read(requests: int, pool: str = "shop_green", **differs: t.Any) -> dict[str, t.Any]:
    """What traffic_info found on a balancer, in a loop over balancers."""
    figures = Figures(requests, times=collections.Counter({10: requests}))
    position = {"inode": 7, "offset": 0, "time": 0.0}
    found = {"item": "lb1", "pools": [{"pool": pool, **figures.as_dict()}], "position": position, "complete": True, "unreadable": 0, "readable": requests}
    return {**found, **differs}


@pytest.mark.parametrize(("differs", "result", "words"), [
    ({}, "pass", ""),
    # A balancer that waits for the other one to fail has no line at all; one line that something else wrote is no reason.
    ({"readable": 0}, "pass", ""),
    ({"unreadable": 1, "readable": 5}, "pass", ""),
    ({"unreadable": 9, "readable": 0}, "fail", "the access log of lb1 has 9 lines that are not of the kind"),
    ({"complete": False}, "fail", "the access log of lb1 was truncated, or packed"),
    ({"position": {"inode": 0, "offset": 0, "time": 0.0}}, "fail", "the access log of lb1 is not there"),
])
def test_a_gate_that_sees_nothing_fails(differs: dict[str, t.Any], result: str, words: str) -> None:
    """However good the rest looks."""
    verdict = traffic_verdict([read(200), read(200, **differs)], "shop_green")
    assert verdict["result"] == result
    assert words in "; ".join(verdict["reasons"])
    assert not verdict["slow_only"]


def test_a_balancer_that_could_not_be_asked_fails_the_gate() -> None:
    """It has no figures, neither now nor before."""
    lost = {"item": "lb2", "unreachable": True, "msg": "no route to host"}
    verdict = traffic_verdict([read(200), lost], "shop_green", "shop_blue", baseline_reads=[lost, read(200, "shop_blue")])
    assert (verdict["result"], verdict["baseline"]["requests"]) == ("fail", 200)
    assert verdict["reasons"] == ["the access log of lb2 could not be read: no route to host"]


@pytest.mark.parametrize(("new", "seconds", "old", "result", "starved"), [
    (1000, 10, 6000, "pass", False),
    (499, 10, 6000, "inconclusive", True),
    (500, 10, 6000, "pass", False),
    # Nothing to compare with: too few, or no time.
    (20, 10, 99, "inconclusive", False),
    (499, 0, 6000, "pass", False),
])
def test_a_release_that_answers_far_fewer_requests(new: int, seconds: float, old: int, result: str, starved: bool) -> None:
    """Half of what the old one answered a second is enough."""
    verdict = traffic_verdict([read(new)], "shop_green", "shop_blue", baseline_reads=[read(old, "shop_blue")], seconds=seconds, baseline_seconds=60)
    assert (verdict["result"], verdict["starved"]) == (result, starved)
    assert not starved or verdict["reasons"] == ["50 requests a second were answered, the old release answered 1e+02"]


def test_hide_secrets() -> None:
    """What is known, and what looks like a secret; what is short is a part of other words."""
    text = "could not log in as shop with s3cr3t+more at postgresql://shop:hunter22@db/shop, password=other, port 5432, on"
    assert hide_secrets(text, ["s3cr3t", "s3cr3t+more", "on", "", 5432]) == (
        "could not log in as shop with ******** at postgresql://shop:********@db/shop, password=******** port ********, on")
