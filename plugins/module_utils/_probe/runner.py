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
from ansible_collections.mainstay.ops.plugins.module_utils._progress import Phase, current

KINDS: dict[str, t.Any] = {
    "http": http, "tcp": tcp, "tls": tls, "postgres": postgres, "redis": redis, "prometheus": prometheus, "dns": dns,
}
#: Seconds (and share of the deadline, if that is less) before the deadline at which attempts end, so that what they saw is still told.
GRACE, GRACE_SHARE = 0.1, 0.1
#: So many attempts may be young, which is before they have run for so many seconds: then they wait for the other side and cost nothing. More at once would
#: make each other slow, and that would look like slow endpoints.
YOUNG, YOUNG_SECONDS = 32, 0.1
#: A run that takes longer shows how far it is.
QUIET_SECONDS = 3.0

Clock = t.Callable[[], float]
Attempt = t.Callable[[Check, float, Clock], Observation]


@dataclasses.dataclass
class _Progress:
    """Where one check stands."""

    tally: Tally = dataclasses.field(default_factory=Tally)
    done: bool = False


class _Crew:
    """Threads that make attempts, as many as are needed at the same time, and at most as many as there are places.

    They are daemon threads: one that hangs where no time limit reaches it is left behind and does not keep the process from ending.
    """

    def __init__(self, probe: Attempt, end: float, clock: Clock, places: int) -> None:
        self._probe, self._end, self._clock, self._places = probe, end, clock, places
        self._work: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
        self._running: dict[int, float] = {}
        self._threads = 0

    def free_at(self) -> float:
        """The time from which one more attempt may begin; infinity if another one has to end before."""
        now = self._clock()
        if len(self._running) >= self._places:
            return float("inf")
        young = [began + YOUNG_SECONDS for began in self._running.values() if began + YOUNG_SECONDS > now]  # in the order in which they began
        return now if len(young) < YOUNG else young[-YOUNG]

    def take(self, number: int, check: Check) -> None:
        """Begin an attempt at a check."""
        self._running[number] = self._clock()
        self._work.put((number, check))
        if len(self._running) > self._threads:
            self._threads += 1
            threading.Thread(target=self._labour, daemon=True).start()

    def hand_over(self, seconds: float | None) -> tuple[int, float, t.Any]:
        """Wait for an attempt to end: the check's number, when the attempt began, and what it saw, or what it raised, or None if it did not begin in time.

        Raises:
            queue.Empty: none ended within so many seconds.
        """
        number, began, seen = self._results.get(timeout=seconds)
        del self._running[number]
        return number, began, seen

    def dismiss(self) -> None:
        """Let all threads end that have nothing to do."""
        for unused in range(self._threads):
            self._work.put(None)

    def _labour(self) -> None:
        while (job := self._work.get()) is not None:
            number, check = job
            began = self._clock()
            try:
                self._results.put((number, began, self._probe(check, self._end, self._clock) if began < self._end else None))
            except BaseException as error:  # handed over: the main thread raises it
                self._results.put((number, began, error))


class _Shown:
    """Shows how many checks are through, or how many samples are taken, once somebody may wonder."""

    def __init__(self, policy: Policy, checks: int, started: float) -> None:
        self.next_look = started + QUIET_SECONDS if current().wanted else float("inf")
        self._unit = "samples" if policy.sampling else "checks"
        self._total = checks * (policy.samples or 1) if policy.duration is None else None
        self._phase: Phase | None = None

    def look(self, progress: t.Sequence[_Progress], now: float) -> None:
        """Show how far the checks are, if it is time."""
        if now >= self.next_look:
            self.next_look = float("inf")
            self._phase = current().phase("probe", self._total, self._unit, exact=True)
        if self._phase is not None:
            self._phase.reach(sum(state.tally.attempts if self._unit == "samples" else state.done for state in progress))

    def end(self) -> None:
        """End what is shown."""
        if self._phase is not None:
            self._phase.end()


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

    Returns:
        What became of each check, in their order, and the statistics of all attempts together.
    """
    started = clock()
    end = attempts_end(policy, started)
    stop = started + policy.deadline if policy.deadline is not None else float("inf")
    crew = _Crew(probe, end, clock, policy.concurrency)
    progress = [_Progress() for unused in checks]
    due = [(started, number) for number in range(len(checks))]
    open_checks = len(checks)
    shown = _Shown(policy, len(checks), started)
    while open_checks and clock() < stop:
        shown.look(progress, clock())
        while due and max(due[0][0], crew.free_at()) <= clock():
            number = heapq.heappop(due)[1]
            crew.take(number, checks[number])
        wake = min(stop, shown.next_look, max(due[0][0], crew.free_at()) if due else stop)
        try:
            number, began, seen = crew.hand_over(max(wake - clock(), 0.0) if wake < float("inf") else None)
        except queue.Empty:
            continue
        again = _advance(progress[number], policy, seen, started, began, end, clock())
        if again is None:
            open_checks -= 1
        else:
            heapq.heappush(due, (again, number))
    crew.dismiss()
    shown.end()
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
