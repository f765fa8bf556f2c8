# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run many checks at once, each as often as its policy says, and be done by the deadline whatever hangs."""

from __future__ import annotations

import dataclasses
import heapq
import queue
import threading
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._probe import dns, http, postgres, prometheus, redis, tcp, tls
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import (
    Check, Finding, Observation, Outcome, Policy, Statistics, Tally, conclude, judge, next_attempt, statistics,
)
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer

KINDS: dict[str, t.Any] = {
    "http": http, "tcp": tcp, "tls": tls, "postgres": postgres, "redis": redis, "prometheus": prometheus, "dns": dns,
}
#: Seconds (and share of the deadline, if that is less) before the deadline at which attempts end, so that what they saw is still told.
GRACE, GRACE_SHARE = 0.1, 0.1

Clock = t.Callable[[], float]
Attempt = t.Callable[[Check, float, Clock], Observation]


@dataclasses.dataclass
class _Progress:
    """Where one check stands."""

    tally: Tally = dataclasses.field(default_factory=Tally)
    done: bool = False


def attempts_end(policy: Policy, started: float) -> float:
    """The time by which every attempt has to end; infinity without a deadline."""
    if policy.deadline is None:
        return float("inf")
    return started + policy.deadline - min(GRACE, GRACE_SHARE * policy.deadline)


def attempt(check: Check, end: float, clock: Clock) -> Observation:
    """Probe once, within the check's timeout and by ``end``; what does not answer is an observation too."""
    began = clock()
    budget = Budget.of(min(check.timeout, end - began), clock)
    try:
        finding = KINDS[check.kind].probe(check.target, budget)
    except NoAnswer as error:
        finding = Finding(problems=(str(error),), answered=False)
    return judge(check, finding, clock() - began)


def run(checks: t.Sequence[Check], policy: Policy, probe: Attempt = attempt, clock: Clock = time.monotonic) -> tuple[list[Outcome], Statistics]:
    """Probe all checks until each has passed or used up its attempts, or the deadline is there.

    Workers are daemon threads: one that hangs where no time limit reaches it is left behind and does not keep the process from ending.

    Returns:
        What became of each check, in their order, and the statistics of all attempts together.
    """
    started = clock()
    end = attempts_end(policy, started)
    stop = started + policy.deadline if policy.deadline is not None else None
    work: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    results: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    workers = min(policy.concurrency, len(checks))
    for unused in range(workers):
        threading.Thread(target=_worker, args=(work, results, probe, end, clock), daemon=True).start()
    progress = [_Progress() for unused in checks]
    due = [(started, index) for index in range(len(checks))]
    open_checks = len(checks)
    while open_checks and (stop is None or clock() < stop):
        while due and due[0][0] <= clock():
            index = heapq.heappop(due)[1]
            work.put((index, checks[index]))
        try:
            index, began, seen = results.get(timeout=_patience(due, stop, clock()))
        except queue.Empty:
            continue
        again = _advance(progress[index], policy, seen, started, began, end, clock())
        if again is None:
            open_checks -= 1
        else:
            heapq.heappush(due, (again, index))
    for unused in range(workers):
        work.put(None)
    outcomes = [conclude(check, policy, state.tally, not state.done) for check, state in zip(checks, progress)]
    return outcomes, statistics(state.tally for state in progress)


def _advance(state: _Progress, policy: Policy, seen: t.Any, started: float, began: float, end: float, now: float) -> float | None:
    """Take in one result; the time of the check's next attempt, or None when it has none."""
    if isinstance(seen, BaseException):
        raise seen
    if seen is None:
        return None
    state.tally.add(seen, policy.fail_on)
    again = next_attempt(policy, state.tally, started, began, now)
    state.done = again is None
    return again if again is not None and again < end else None


def _patience(due: list[tuple[float, int]], stop: float | None, now: float) -> float | None:
    """How long to wait for a result: until the next attempt is due or the deadline is there; None is for ever."""
    events = [due[0][0]] if due else []
    if stop is not None:
        events.append(stop)
    return max(min(events) - now, 0.0) if events else None


def _worker(work: t.Any, results: t.Any, probe: Attempt, end: float, clock: Clock) -> None:
    while (job := work.get()) is not None:
        index, check = job
        began = clock()
        try:
            results.put((index, began, probe(check, end, clock) if began < end else None))
        except BaseException as error:  # handed over: the main thread raises it
            results.put((index, began, error))
