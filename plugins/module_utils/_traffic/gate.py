# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of a new release: a pure judgement of what its users got, beside what those of the old release got in the same window."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Summary

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"

STEADY_REQUESTS = 500
"""With so many requests the 99th percentile is compared; with fewer it would be made of a handful of them, and the 95th is."""

ONE_MAY_FAIL = 1
"""A single failure decides nothing."""

STARVED_SHARE = 0.5
"""A release that answers less than this share of the requests a second that the old one answered may let them hang: they are logged when they end."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is good enough.

    Attributes:
        min_requests: fewer of them say nothing.
        max_error_ratio: the share of errors that a release may have, whatever the old one has.
        max_error_increase: by how much its share of errors may be above the old one's.
        max_aborted_increase: by how much its share of requests that clients gave up may be above the old one's.
        max_slowdown: how many times as slow as the old release it may be.
        slow_above: seconds up to which nothing counts as slow, because there a hiccup of the machine is many times the usual.
        max_seconds: what it may take, whatever the old one takes; 0 for no limit.
    """

    min_requests: int = 100
    max_error_ratio: float = 0.01
    max_error_increase: float = 0.005
    max_aborted_increase: float = 0.05
    max_slowdown: float = 2.0
    slow_above: float = 0.1
    max_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``pass``, ``fail`` or ``inconclusive``, the reasons in words, whether its times alone are against the release, and whether too few requests came."""

    result: str
    reasons: tuple[str, ...] = ()
    slow_only: bool = False
    starved: bool = False


def judge(canary: Summary, baseline: Summary | None, limits: Limits, seconds: float = 0.0, baseline_seconds: float = 0.0) -> Verdict:
    """Judge a release.

    It fails as soon as what is missing to the least number of requests could not save it any more.

    Args:
        canary: what the users of the new release got.
        baseline: what those of the old release got in the same window; None, or one with too few requests, is not compared with.
        limits: what is good enough.
        seconds, baseline_seconds: how long each window is, where the old release had another one; 0 to compare no rates.
    """
    if baseline is not None and baseline.requests - baseline.aborted < limits.min_requests:
        baseline = None
    failures = tuple(_failures(canary, baseline, limits))
    reasons = (*failures, *_slowness(canary, baseline, limits))
    if reasons:
        return Verdict(FAIL, reasons, not failures)
    answered = canary.requests - canary.aborted
    if baseline is not None and seconds > 0 and baseline_seconds > 0:
        rate, old_rate = answered / seconds, (baseline.requests - baseline.aborted) / baseline_seconds
        if rate < STARVED_SHARE * old_rate:
            return Verdict(INCONCLUSIVE, (f"{rate:.2g} requests a second were answered, the old release answered {old_rate:.2g}",), starved=True)
    if answered < limits.min_requests:
        return Verdict(INCONCLUSIVE, (f"{answered} requests were answered, at least {limits.min_requests} are needed to judge",))
    return Verdict(PASS)


def _share(count: int, summary: Summary | None) -> float:
    return count / summary.requests if summary is not None and summary.requests else 0.0


def _failures(canary: Summary, baseline: Summary | None, limits: Limits) -> t.Iterator[str]:
    """The kinds of failures of which there are too many."""
    answered = max(canary.requests - canary.aborted, limits.min_requests)
    allowed = limits.max_error_ratio
    beside = ""
    if baseline is not None:
        allowed = min(allowed, baseline.error_ratio + limits.max_error_increase)
        beside = f", the old release has {baseline.errors} of {baseline.requests}"
    if canary.errors > max(ONE_MAY_FAIL, allowed * answered):
        yield f"{canary.errors} of {canary.requests} requests were answered with an error, at most {allowed:.2%} may be{beside}"
    old_failures = 0 if baseline is None else baseline.errors + baseline.retried
    allowed = _share(old_failures, baseline) + limits.max_error_ratio
    if canary.retried and canary.errors + canary.retried > max(ONE_MAY_FAIL, allowed * answered):
        yield f"{canary.errors + canary.retried} of {canary.requests} requests failed at a server of the release, {canary.retried} were answered by another one"
    old_aborted = 0 if baseline is None else baseline.aborted
    allowed = _share(old_aborted, baseline) + limits.max_aborted_increase
    if canary.aborted > max(ONE_MAY_FAIL, allowed * max(canary.requests, limits.min_requests)):
        yield f"clients gave up {canary.aborted} of {canary.requests} requests, at most {allowed:.2%} may be"


def _slowness(canary: Summary, baseline: Summary | None, limits: Limits) -> t.Iterator[str]:
    """What takes too long; of too few requests that is not said."""
    if canary.requests - canary.aborted < limits.min_requests:
        return
    name = "p99" if canary.requests >= STEADY_REQUESTS else "p95"
    seconds = getattr(canary, name)
    if seconds is None:
        return
    if limits.max_seconds and seconds > limits.max_seconds:
        yield f"{name} is {seconds:.3f} s, at most {limits.max_seconds:g} s may be"
    old = None if baseline is None else getattr(baseline, name)
    if old is not None and seconds > max(limits.slow_above, old * limits.max_slowdown):
        allowed = f"{limits.max_slowdown:g} times that may be, and {limits.slow_above:g} s in any case"
        yield f"{name} is {seconds:.3f} s, that of the old release {old:.3f} s; {allowed}"
