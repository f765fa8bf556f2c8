# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of traffic, their sums over balancers, and the verdict on a new release."""

from __future__ import annotations

import collections
import dataclasses
import random

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import percentile
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Figures, Summary, bucket
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.gate import FAIL, INCONCLUSIVE, PASS, Limits, judge

LIMITS = Limits(min_requests=100)
OLD = Summary(10000, 10, p50=0.01, p95=0.1, p99=0.2)


def figures(*milliseconds: int) -> Figures:
    """Requests that took so long."""
    return Figures(len(milliseconds), times=collections.Counter(milliseconds))


@pytest.mark.parametrize(("seconds", "milliseconds"), [
    (0.0, 0), (0.0004, 0), (0.012, 12), (0.999, 999), (1.0, 1000), (1.234, 1240), (12.341, 12400), (60.0, 60000),
])
def test_bucket(seconds: float, milliseconds: int) -> None:
    """Exact below a second, at most one percent too much above."""
    assert bucket(seconds) == milliseconds


def test_percentiles_of_a_sum_are_those_of_all_samples_together() -> None:
    """Whatever the balancers' shares; the mean of their percentiles would be another number."""
    choose = random.Random(7)
    quick = [choose.randint(1, 50) for _number in range(900)]
    slow = [choose.randint(400, 900) for _number in range(100)]
    both = figures(*quick)
    both.add(figures(*slow))
    for percent in (1, 50, 90, 95, 99, 100):
        assert both.percentile(percent) == percentile([time / 1000 for time in quick + slow], percent)
    assert (both.requests, both.summary().p99) == (1000, both.percentile(99))


def test_figures_survive_their_way_to_the_controller() -> None:
    """As JSON does it: keys that are lists."""
    given = Figures(5, 1, 1, 1, collections.Counter({3: 2, 1000: 2}))
    assert Figures.of(given.as_dict()) == given
    assert Figures().percentile(50) is None
    assert given.summary().error_ratio == 0.25


@pytest.mark.parametrize(("canary", "baseline", "result", "words"), [
    (Summary(100, 0, p95=0.1), OLD, PASS, ""),
    (Summary(99, 0, p95=0.1), OLD, INCONCLUSIVE, "99 requests were answered, at least 100"),
    (Summary(0, 0), OLD, INCONCLUSIVE, "0 requests"),
    (Summary(0, 0), None, INCONCLUSIVE, "0 requests"),
    # A single failure decides nothing; two among the least number that is judged cannot be made good any more.
    (Summary(100, 1, p95=0.1), OLD, PASS, ""),
    (Summary(1, 1), OLD, INCONCLUSIVE, ""),
    (Summary(2, 2), OLD, FAIL, "2 of 2 requests were answered with an error"),
    (Summary(100, 2, p95=0.1), OLD, FAIL, "the old release has 10 of 10000"),
    # 0.9 % is within the floor, but not beside an old release that has 0.1 %; without one to compare with, the floor alone counts.
    (Summary(1000, 9, p95=0.1, p99=0.2), OLD, FAIL, "at most 0.60%"),
    (Summary(1000, 9, p95=0.1, p99=0.2), None, PASS, ""),
    (Summary(1000, 9, p95=0.1, p99=0.2), Summary(99, 0, p99=0.2), PASS, ""),
    # An old release that is worse is no excuse.
    (Summary(1000, 11, p99=0.2), Summary(1000, 500, p99=0.2), FAIL, "at most 1.00%"),
    (Summary(1000, 0, p95=0.1, p99=0.4), OLD, PASS, ""),
    (Summary(1000, 0, p95=0.1, p99=0.41), OLD, FAIL, "p99 is 0.410 s, that of the old release 0.200 s"),
    # With few requests the 95th percentile is compared, with too few none.
    (Summary(400, 0, p95=0.2, p99=5.0), OLD, PASS, ""),
    (Summary(400, 0, p95=0.21, p99=5.0), OLD, FAIL, "p95"),
    (Summary(50, 0, p95=9.0, p99=9.0), OLD, INCONCLUSIVE, ""),
    # What is quick anyway may be many times as slow.
    (Summary(1000, 0, p99=0.1), Summary(1000, 0, p99=0.002), PASS, ""),
    (Summary(1000, 0, p99=9.0), None, PASS, ""),
    # Clients that give up are no errors, and no answers.
    (Summary(200, 0, aborted=200), OLD, FAIL, "clients gave up 200 of 200"),
    (Summary(200, 0, aborted=9, p95=0.1), OLD, PASS, ""),
    (Summary(200, 0, aborted=60, p95=0.1), Summary(1000, 0, aborted=260, p95=0.1), PASS, ""),
    # What another server answered was no good either.
    (Summary(100, 0, retried=5, p95=0.1), OLD, FAIL, "5 of 100 requests failed at a server of the release"),
    (Summary(1000, 0, retried=30, p99=0.1), Summary(1000, 0, retried=30, p99=0.1), PASS, ""),
])
def test_verdict(canary: Summary, baseline: Summary | None, result: str, words: str) -> None:
    """Each way to pass, to fail and to wait."""
    verdict = judge(canary, baseline, LIMITS)
    assert verdict.result == result
    assert words in "; ".join(verdict.reasons)
    assert bool(verdict.reasons) == (result != PASS)


def test_slow_only() -> None:
    """Nothing but its times is against it; a machine may be the cause of these, and never of errors."""
    slow = Summary(1000, 0, p50=0.01, p95=0.2, p99=0.9)
    assert judge(slow, OLD, LIMITS).slow_only
    assert not judge(dataclasses.replace(slow, errors=100), OLD, LIMITS).slow_only
    assert not judge(OLD, OLD, LIMITS).slow_only


def test_an_absolute_limit() -> None:
    """Also without an old release."""
    limits = Limits(min_requests=100, max_seconds=0.5)
    assert judge(Summary(1000, 0, p99=0.51), None, limits).reasons == ("p99 is 0.510 s, at most 0.5 s may be",)
