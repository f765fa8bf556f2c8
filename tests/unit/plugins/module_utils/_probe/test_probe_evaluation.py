# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What observations mean: statuses, percentiles, streaks, gates and quorums."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._probe import evaluation
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check, Finding, Observation, Outcome, Policy, Statistics, Tally

H, D, U, I = "healthy", "degraded", "unhealthy", "inconclusive"


def check(**changes: t.Any) -> Check:
    return Check(**{"name": "web", "kind": "http", "target": None, "observed_keys": ("address", "http_status"), **changes})


def tally(statuses: str, fail_on: str = "never", seconds: float = 0.1, answered: bool = True) -> Tally:
    """Attempts by their initials, each numbered in its detail."""
    counted = Tally()
    for number, initial in enumerate(statuses, start=1):
        counted.add(Observation({"H": H, "D": D, "U": U}[initial], seconds, f"seen {number}", {"n": number}, answered), fail_on)
    return counted


@pytest.mark.parametrize(
    ("finding", "seconds", "status", "detail"),
    [
        (Finding("answered 200"), 0.1, H, "answered 200"),
        (Finding("answered 200"), 0.5, H, "answered 200"),
        (Finding("answered 200"), 0.501, D, "took 0.501 s, more than 0.5 s"),
        (Finding("answered 200"), 2.0, D, "took 2.000 s, more than 0.5 s"),
        (Finding("answered 200"), 2.1, U, "took 2.100 s, more than 2 s"),
        (Finding("answered 200", ("wrong",), ("old",)), 0.1, U, "wrong; old"),
        (Finding("answered 200", (), ("old",)), 0.1, D, "old"),
        (Finding(problems=("refused",), answered=False), 9.0, U, "refused"),
    ],
)
def test_judge(finding: Finding, seconds: float, status: str, detail: str) -> None:
    seen = evaluation.judge(check(degraded_above=0.5, unhealthy_above=2.0), finding, seconds)
    assert (seen.status, seen.detail, seen.answered) == (status, detail, finding.answered)


def test_judge_returns_every_key_of_the_kind() -> None:
    assert evaluation.judge(check(), Finding(observed={"address": "x"}), 0.1).observed == {"address": "x", "http_status": None}


@pytest.mark.parametrize(
    ("sample", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 1, 3.0),
        ([3.0], 99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 100, 50),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 11)), 99, 10),
    ],
)
def test_percentile(sample: list[float], percent: float, expected: float | None) -> None:
    assert evaluation.percentile(sample, percent) == expected


def test_statistics_sum_up_and_leave_silence_out_of_the_percentiles() -> None:
    slow = tally("UU", seconds=9.0, answered=False)
    assert evaluation.statistics([tally("HHD"), slow]) == Statistics(5, 2, 0.4, 0.1, 0.1, 0.1)
    assert evaluation.statistics([slow]) == Statistics(2, 2, 1.0, None, None, None)
    assert evaluation.statistics([]) == Statistics(0, 0, 0.0, None, None, None)


@pytest.mark.parametrize(
    ("options", "statuses", "due"),
    [
        ({}, "H", None),
        ({}, "D", None),
        ({}, "U", None),
        ({"fail_on": "degraded", "retries": 1}, "D", 102.0),
        ({"retries": 1}, "U", 102.0),
        ({"retries": 1}, "UU", None),
        ({"successes": 3}, "H", 102.0),
        ({"successes": 3}, "HH", 102.0),
        ({"successes": 3}, "HHH", None),
        ({"successes": 3}, "HU", None),  # three in a row cannot be had any more
        ({"successes": 3, "retries": 2}, "HU", 102.0),
        ({"successes": 3, "retries": 2}, "HUHU", None),
        ({"successes": 3, "retries": 1}, "HHU", None),
        ({"successes": 2, "retries": 2}, "HUH", 102.0),
        ({"samples": 3, "interval": 5.0}, "UU", 104.0),  # five seconds after the last one began, whatever it saw
        ({"samples": 3, "interval": 0.5}, "UU", 100.0),  # late: at once
        ({"samples": 3}, "HHH", None),
        ({"duration": 20.0, "interval": 5.0}, "H", 104.0),
        ({"duration": 14.0, "interval": 5.0}, "H", None),
        ({"duration": 14.1, "interval": 5.0}, "H", 104.0),
    ],
)
def test_next_attempt(options: dict[str, t.Any], statuses: str, due: float | None) -> None:
    policy = Policy(delay=2.0, **options)
    assert evaluation.next_attempt(policy, tally(statuses, policy.fail_on), started=90.0, began=99.0, now=100.0) == due


@pytest.mark.parametrize(
    ("options", "statuses", "status", "detail"),
    [
        ({}, "H", H, "seen 1"),
        ({}, "D", D, "seen 1"),
        ({}, "U", U, "seen 1"),
        ({}, "", U, "no attempt was finished; the deadline of 9 s passed"),
        ({"successes": 2, "retries": 1}, "UHH", H, "seen 3"),
        ({"successes": 2, "retries": 1}, "UHD", D, "seen 3"),
        ({"successes": 2, "retries": 1}, "DUHH", H, "seen 4"),
        ({"successes": 2, "retries": 1}, "UHU", U, "seen 3"),
        ({"successes": 3, "retries": 9}, "UHH", U, "passed 2 times in a row, not 3; last failure: seen 1; the deadline of 9 s passed"),
        ({"successes": 3, "retries": 9}, "HH", U, "passed 2 times in a row, not 3; the deadline of 9 s passed"),
        ({"successes": 2, "retries": 9, "fail_on": "degraded"}, "HDH", D, "passed 1 times in a row, not 2; last failure: seen 2"),
    ],
)
def test_conclude_tried(options: dict[str, t.Any], statuses: str, status: str, detail: str) -> None:
    policy = Policy(deadline=9.0, **options)
    outcome = evaluation.conclude(check(), policy, tally(statuses, policy.fail_on), interrupted="deadline" in detail)
    assert (outcome.status, outcome.detail, outcome.attempts) == (status, detail, len(statuses))
    assert (outcome.name, outcome.type) == ("web", "http")


def test_conclude_tells_of_the_failure_not_of_the_last_success() -> None:
    outcome = evaluation.conclude(check(), Policy(successes=2, retries=9, deadline=9.0), tally("UH"), interrupted=True)
    assert outcome.observed == {"n": 1}
    assert evaluation.conclude(check(), Policy(deadline=9.0), tally(""), interrupted=True).observed == {"address": None, "http_status": None}
    assert evaluation.conclude(check(), Policy(retries=1), tally("UH"), interrupted=False).observed == {"n": 2}


@pytest.mark.parametrize(
    ("options", "statuses", "status", "detail"),
    [
        ({}, "HHHH", H, "4 samples, error rate 0"),
        ({}, "HHUH", U, "error rate 0.25 is above 0 (1 of 4 samples); last failure: seen 3"),
        ({"max_error_rate": 0.25}, "HHUH", H, "4 samples, error rate 0.25"),
        ({"max_error_rate": 0.25}, "HDUH", D, "1 of 4 samples were degraded"),
        ({"max_error_rate": 0.25}, "HHDH", H, "4 samples, error rate 0"),
        ({}, "HHDH", D, "1 of 4 samples were degraded"),
        ({"min_samples": 5}, "HHUH", I, "4 samples, at least 5 are needed to judge; last failure: seen 3"),
        ({"max_p50": 0.09}, "HHHH", U, "p50 0.100 s is above 0.09 s"),
        ({"max_p95": 0.09, "max_p99": 0.08}, "HHHH", U, "p95 0.100 s is above 0.09 s; p99 0.100 s is above 0.08 s"),
        ({"max_p99": 0.1}, "HHHH", H, "4 samples, error rate 0"),
    ],
)
def test_conclude_sampled(options: dict[str, t.Any], statuses: str, status: str, detail: str) -> None:
    outcome = evaluation.conclude(check(), Policy(samples=4, **options), tally(statuses), interrupted=False)
    assert (outcome.status, outcome.detail) == (status, detail)


def test_too_few_samples_never_pass_even_if_none_was_taken() -> None:
    outcome = evaluation.conclude(check(), Policy(duration=5.0, deadline=1.0), tally(""), interrupted=True)
    assert (outcome.status, outcome.detail) == (I, "0 samples, at least 1 are needed to judge; the deadline of 1 s passed")
    assert outcome.seconds is None


@pytest.mark.parametrize(
    ("statuses", "min_healthy", "whole"),
    [
        ([H, H], None, H),
        ([H, D], None, D),
        ([H, D, U], None, U),
        ([D, I], None, I),
        ([I, U], None, U),
        ([H, H, H], 2, H),
        ([H, H, U], 2, D),
        ([H, D, U], 2, D),
        ([H, U, U], 2, U),
        ([H, I, U], 2, I),
        ([D, D, D], 3, D),
    ],
)
def test_overall(statuses: list[str], min_healthy: int | None, whole: str) -> None:
    assert evaluation.overall(statuses, min_healthy) == whole


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [("never", set()), ("unhealthy", {U, I}), ("degraded", {U, I, D})],
)
def test_gate(fail_on: str, failing: set[str]) -> None:
    assert {status for status in evaluation.SEVERITY if evaluation.gate_fails(status, fail_on)} == failing


def test_failure_text_names_the_worst_first_and_stays_short() -> None:
    stats = Statistics(1, 1, 1.0, None, None, None)
    outcomes = [Outcome("slow", "http", D, 1.0, 1, "took long", {}, stats), Outcome("good", "tcp", H, 1.0, 1, "fine", {}, stats)]
    outcomes += [Outcome(f"dead{number}", "tcp", U, 1.0, 1, "refused", {}, stats) for number in range(12)]
    text = evaluation.failure_text(U, outcomes)
    assert text.startswith("unhealthy, 13 of 14 checks are not healthy: dead0 (tcp) is unhealthy: refused | dead1 (tcp)")
    assert text.endswith("| and 3 more") and "good" not in text and "slow" not in text
