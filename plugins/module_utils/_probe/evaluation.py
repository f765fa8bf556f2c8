# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe found, and what that means: pure functions over plain data, without any input or output."""

from __future__ import annotations

import dataclasses
import math
import typing as t

HEALTHY = "healthy"
DEGRADED = "degraded"
UNHEALTHY = "unhealthy"
INCONCLUSIVE = "inconclusive"
#: From good to bad. Inconclusive is worse than degraded: nobody knows yet.
SEVERITY = (HEALTHY, DEGRADED, INCONCLUSIVE, UNHEALTHY)
#: How many checks a failure message describes; the returned list has them all.
MESSAGE_CHECKS = 10


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing to probe; ``target`` and the keys of ``observed`` belong to the kind. Times are in seconds."""

    name: str
    kind: str
    target: t.Any = dataclasses.field(repr=False)
    timeout: float = 5.0
    degraded_above: float | None = None
    unhealthy_above: float | None = None
    observed_keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Policy:
    """How often to probe and what is good enough. Times are in seconds, rates between 0 and 1."""

    retries: int = 0
    delay: float = 1.0
    successes: int = 1
    deadline: float | None = None
    concurrency: int = 256
    min_healthy: int | None = None
    fail_on: str = "never"
    samples: int | None = None
    duration: float | None = None
    interval: float = 1.0
    max_error_rate: float = 0.0
    max_p50: float | None = None
    max_p95: float | None = None
    max_p99: float | None = None
    min_samples: int = 1

    @property
    def sampling(self) -> bool:
        """Whether checks are sampled as a gate instead of being tried until they pass."""
        return self.samples is not None or self.duration is not None


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one attempt saw, before its latency is judged.

    Attributes:
        summary: what was seen, in a few words.
        problems: reasons to call it unhealthy.
        warnings: reasons to call it degraded.
        observed: the values that were seen.
        answered: whether an answer came at all, so that its latency means something.
    """

    summary: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    observed: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    answered: bool = True


@dataclasses.dataclass(frozen=True)
class Observation:
    """One attempt, judged."""

    status: str
    seconds: float
    detail: str
    observed: dict[str, t.Any]
    answered: bool = True


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Errors over all attempts, and percentiles (seconds) over those that got an answer."""

    count: int
    errors: int
    error_rate: float
    p50: float | None
    p95: float | None
    p99: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is said about one check in the end."""

    name: str
    type: str
    status: str
    seconds: float | None
    attempts: int
    detail: str
    observed: dict[str, t.Any]
    samples: Statistics


@dataclasses.dataclass
class Tally:
    """All attempts at one check so far."""

    attempts: int = 0
    streak: int = 0
    streak_degraded: bool = False
    errors: int = 0
    slow: int = 0
    latencies: list[float] = dataclasses.field(default_factory=list)
    last: Observation | None = None
    last_failure: Observation | None = None

    def add(self, observation: Observation, fail_on: str) -> None:
        """Count one more attempt; one that would fail the run breaks the streak."""
        self.attempts += 1
        self.last = observation
        self.errors += observation.status == UNHEALTHY
        self.slow += observation.status == DEGRADED
        if observation.answered:
            self.latencies.append(observation.seconds)
        if gate_fails(observation.status, fail_on if fail_on == DEGRADED else UNHEALTHY):
            self.last_failure = observation
            self.streak, self.streak_degraded = 0, False
        else:
            self.streak += 1
            self.streak_degraded = self.streak_degraded or observation.status == DEGRADED


def judge(check: Check, finding: Finding, seconds: float) -> Observation:
    """Turn what an attempt saw and the seconds it took into a status with its reasons."""
    problems, warnings = list(finding.problems), list(finding.warnings)
    if finding.answered and check.unhealthy_above is not None and seconds > check.unhealthy_above:
        problems.append(f"took {seconds:.3f} s, more than {check.unhealthy_above:g} s")
    elif finding.answered and check.degraded_above is not None and seconds > check.degraded_above:
        warnings.append(f"took {seconds:.3f} s, more than {check.degraded_above:g} s")
    status = UNHEALTHY if problems else DEGRADED if warnings else HEALTHY
    detail = "; ".join(problems + warnings) or finding.summary
    return Observation(status, seconds, detail, {**dict.fromkeys(check.observed_keys), **finding.observed}, finding.answered)


def percentile(sample: t.Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: the smallest value that at least ``percent`` of the sample do not exceed; none of an empty sample."""
    if not sample:
        return None
    ordered = sorted(sample)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def statistics(tallies: t.Iterable[Tally]) -> Statistics:
    """Sum up all attempts of one check or of several."""
    attempts = errors = 0
    latencies: list[float] = []
    for tally in tallies:
        attempts += tally.attempts
        errors += tally.errors
        latencies.extend(tally.latencies)
    p50, p95, p99 = (None if value is None else round(value, 6) for value in (percentile(latencies, percent) for percent in (50, 95, 99)))
    return Statistics(attempts, errors, round(errors / attempts, 6) if attempts else 0.0, p50, p95, p99)


def next_attempt(policy: Policy, tally: Tally, started: float, began: float, now: float) -> float | None:
    """When a check is to be tried again.

    Args:
        policy: how often to probe.
        tally: the attempts so far, at least one.
        started: when the run started; all times are readings of one monotonic clock.
        began: when the last attempt began.
        now: the time now.

    Returns:
        The time of the next attempt, or None when there is to be none.
    """
    if policy.sampling:
        due = max(now, began + policy.interval)
        if policy.samples is not None:
            return due if tally.attempts < policy.samples else None
        return due if due < started + t.cast(float, policy.duration) else None
    missing = policy.successes - tally.streak
    attempts_left = policy.successes + policy.retries - tally.attempts
    return now + policy.delay if 0 < missing <= attempts_left else None


def conclude(check: Check, policy: Policy, tally: Tally, interrupted: bool) -> Outcome:
    """Say what became of one check.

    Args:
        check: the check.
        policy: what is good enough.
        tally: all its attempts.
        interrupted: whether the deadline ended it before it was through.
    """
    decide = _conclude_sampled if policy.sampling else _conclude_tried
    status, detail = decide(policy, tally)
    if interrupted and status != HEALTHY:
        detail += f"; the deadline of {policy.deadline:g} s passed"
    shown = tally.last if status == HEALTHY else tally.last_failure or tally.last
    return Outcome(
        name=check.name,
        type=check.kind,
        status=status,
        seconds=None if shown is None else round(shown.seconds, 6),
        attempts=tally.attempts,
        detail=detail,
        observed=dict.fromkeys(check.observed_keys) if shown is None else shown.observed,
        samples=statistics([tally]),
    )


def _conclude_tried(policy: Policy, tally: Tally) -> tuple[str, str]:
    if tally.last is None:
        return UNHEALTHY, "no attempt was finished"
    if tally.streak >= policy.successes:
        return (DEGRADED if tally.streak_degraded else HEALTHY), tally.last.detail
    if tally.streak:
        detail = f"passed {tally.streak} times in a row, not {policy.successes}"
        if tally.last_failure is None:
            return UNHEALTHY, detail
        return tally.last_failure.status, f"{detail}; last failure: {tally.last_failure.detail}"
    return tally.last.status, tally.last.detail


def _conclude_sampled(policy: Policy, tally: Tally) -> tuple[str, str]:
    stats = statistics([tally])
    last = f"; last failure: {tally.last_failure.detail}" if tally.last_failure else ""
    if stats.count < policy.min_samples:
        return INCONCLUSIVE, f"{stats.count} samples, at least {policy.min_samples} are needed to judge{last}"
    problems = []
    if stats.error_rate > policy.max_error_rate:
        problems.append(f"error rate {stats.error_rate:g} is above {policy.max_error_rate:g} ({stats.errors} of {stats.count} samples)")
    for name, limit in (("p50", policy.max_p50), ("p95", policy.max_p95), ("p99", policy.max_p99)):
        value = getattr(stats, name)
        if limit is not None and value is not None and value > limit:
            problems.append(f"{name} {value:.3f} s is above {limit:g} s")
    if problems:
        return UNHEALTHY, "; ".join(problems) + last
    if (stats.errors + tally.slow) / stats.count > policy.max_error_rate:
        return DEGRADED, f"{tally.slow} of {stats.count} samples were degraded"
    return HEALTHY, f"{stats.count} samples, error rate {stats.error_rate:g}"


def overall(statuses: t.Sequence[str], min_healthy: int | None) -> str:
    """The status of the whole: that of its worst check, or with a quorum whether enough checks pass.

    A degraded check counts towards the quorum: it answers. With the quorum met, any check that is not healthy leaves the whole degraded.
    """
    worst = max(statuses, key=SEVERITY.index)
    if min_healthy is None:
        return worst
    passing = sum(status in (HEALTHY, DEGRADED) for status in statuses)
    if passing >= min_healthy:
        return HEALTHY if worst == HEALTHY else DEGRADED
    return INCONCLUSIVE if passing + statuses.count(INCONCLUSIVE) >= min_healthy else UNHEALTHY


def gate_fails(status: str, fail_on: str) -> bool:
    """Whether a status fails a run with this ``fail_on``; what is inconclusive never passes a gate."""
    return fail_on != "never" and SEVERITY.index(status) >= (SEVERITY.index(DEGRADED) if fail_on == DEGRADED else SEVERITY.index(INCONCLUSIVE))


def failure_text(status: str, outcomes: t.Sequence[Outcome]) -> str:
    """Name the checks that are not healthy, worst first, each with what was seen last."""
    bad = sorted((outcome for outcome in outcomes if outcome.status != HEALTHY), key=lambda outcome: -SEVERITY.index(outcome.status))
    told = [f"{outcome.name} ({outcome.type}) is {outcome.status}: {outcome.detail}" for outcome in bad[:MESSAGE_CHECKS]]
    if len(bad) > MESSAGE_CHECKS:
        told.append(f"and {len(bad) - MESSAGE_CHECKS} more")
    return f"{status}, {len(bad)} of {len(outcomes)} checks are not healthy: " + " | ".join(told)
