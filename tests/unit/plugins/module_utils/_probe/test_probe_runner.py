# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner: order, retries, concurrency, and a deadline that holds."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._probe import runner
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check, Observation, Policy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer

Script = t.Callable[[Check, int], str]


class Probe:
    """Answers as a script says, and counts."""

    def __init__(self, script: Script, seconds: float = 0.0) -> None:
        self.script, self.seconds = script, seconds
        self.lock = threading.Lock()
        self.calls: dict[str, int] = {}
        self.began: list[float] = []
        self.running = self.most_running = 0

    def __call__(self, check: Check, end: float, clock: t.Callable[[], float]) -> Observation:
        with self.lock:
            self.began.append(clock())
            number = self.calls[check.name] = self.calls.get(check.name, 0) + 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
        return Observation(self.script(check, number), 0.01, f"attempt {number}", {})


def checks(count: int) -> list[Check]:
    return [Check(f"c{number}", "tcp", None, observed_keys=("address",)) for number in range(count)]


def test_results_come_in_the_order_of_the_checks_and_each_is_retried_by_itself() -> None:
    probe = Probe(lambda check, number: "healthy" if number == 3 or check.name == "c1" else "unhealthy")
    outcomes, totals = runner.run(checks(3), Policy(retries=5, delay=0.01), probe)
    assert [(outcome.name, outcome.status, outcome.attempts) for outcome in outcomes] == [("c0", "healthy", 3), ("c1", "healthy", 1), ("c2", "healthy", 3)]
    assert (totals.count, totals.errors) == (7, 4)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_more_attempts_at_once_than_allowed(concurrency: int) -> None:
    probe = Probe(lambda check, number: "healthy", seconds=0.1)
    runner.run(checks(8), Policy(concurrency=concurrency), probe)
    assert probe.most_running == concurrency


def test_attempts_begin_in_flocks_that_do_not_slow_each_other_down(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []
    take = runner._Crew.take

    def noted(crew: t.Any, number: int, check: Check) -> None:
        began.append(time.monotonic())  # by who sends the attempts out: their threads may begin later on a busy machine
        take(crew, number, check)

    monkeypatch.setattr(runner._Crew, "take", noted)
    probe = Probe(lambda check, number: "healthy", seconds=20 * runner.YOUNG_SECONDS)
    runner.run(checks(3 * runner.YOUNG), Policy(), probe)
    gaps = [later - earlier for earlier, later in zip(began, began[runner.YOUNG:])]
    assert len(gaps) == 2 * runner.YOUNG and min(gaps) >= runner.YOUNG_SECONDS
    assert probe.most_running > 2 * runner.YOUNG  # those before are not waited for


def test_no_more_threads_than_are_needed() -> None:
    threads = set()

    def note(check: Check, number: int) -> str:
        threads.add(threading.get_ident())
        return "healthy" if number == 3 else "unhealthy"

    runner.run(checks(2), Policy(retries=2, delay=0.0), Probe(note))
    assert 1 <= len(threads) <= 2


def test_waiting_for_a_retry_holds_no_worker() -> None:
    probe = Probe(lambda check, number: "healthy" if number == 2 else "unhealthy")
    began = time.monotonic()
    outcomes, unused = runner.run(checks(20), Policy(retries=1, delay=0.3, concurrency=2), probe)
    assert {outcome.status for outcome in outcomes} == {"healthy"}
    assert 0.3 <= time.monotonic() - began < 2.9, "two workers that wait themselves take three seconds"


def test_deadline_holds_when_attempts_hang_for_ever() -> None:
    release = threading.Event()

    def hang(check: Check, end: float, clock: t.Callable[[], float]) -> Observation:
        if check.name == "c0":
            return Observation("healthy", 0.01, "fine", {})
        release.wait(30)
        raise AssertionError("never reached")

    began = time.monotonic()
    outcomes, totals = runner.run(checks(4), Policy(deadline=0.5, concurrency=2), hang)
    took = time.monotonic() - began
    assert 0.45 <= took < 10
    assert [outcome.status for outcome in outcomes] == ["healthy", "unhealthy", "unhealthy", "unhealthy"]
    assert outcomes[1].detail == "no attempt was finished; the deadline of 0.5 s passed"
    assert (outcomes[1].attempts, outcomes[1].observed, totals.count) == (0, {"address": None}, 1)
    release.set()


def test_an_attempt_that_would_begin_after_the_deadline_is_not_waited_for() -> None:
    probe = Probe(lambda check, number: "unhealthy")
    began = time.monotonic()
    outcomes, unused = runner.run(checks(1), Policy(retries=3, delay=60.0, deadline=20.0), probe)
    assert time.monotonic() - began < 10
    assert (outcomes[0].attempts, outcomes[0].detail) == (1, "attempt 1; the deadline of 20 s passed")


def test_samples_keep_their_interval() -> None:
    probe = Probe(lambda check, number: "healthy", seconds=0.05)
    outcomes, totals = runner.run(checks(1), Policy(samples=4, min_samples=4, interval=0.1), probe)
    gaps = [later - earlier for earlier, later in zip(probe.began, probe.began[1:])]
    assert totals.count == 4 and outcomes[0].status == "healthy"
    assert all(0.05 <= gap < 5 for gap in gaps), gaps


def test_duration_ends_sampling() -> None:
    probe = Probe(lambda check, number: "healthy")
    began = time.monotonic()
    outcomes, totals = runner.run(checks(2), Policy(duration=0.5, interval=0.1), probe)
    assert time.monotonic() - began < 10
    assert 2 <= totals.count <= 10
    assert totals.count == sum(outcome.samples.count for outcome in outcomes)


def test_a_bug_in_a_probe_is_raised_not_waited_for() -> None:
    def broken(check: Check, end: float, clock: t.Callable[[], float]) -> Observation:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        runner.run(checks(2), Policy(), broken)


@pytest.mark.parametrize(("deadline", "end"), [(None, float("inf")), (10.0, 109.9), (0.5, 100.45)])
def test_attempts_end_before_the_deadline(deadline: float | None, end: float) -> None:
    assert runner.attempts_end(Policy(deadline=deadline), 100.0) == pytest.approx(end)


@pytest.mark.parametrize(("end", "granted"), [(float("inf"), 5.0), (103.0, 3.0), (200.0, 5.0)])
def test_an_attempt_gets_its_timeout_or_what_the_deadline_leaves(end: float, granted: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kind:
        @staticmethod
        def probe(target: t.Any, budget: Budget) -> t.Any:
            raise NoAnswer(f"granted {budget.seconds:g}")

    monkeypatch.setitem(runner.KINDS, "tcp", Kind)
    seen = runner.attempt(Check("c", "tcp", None, timeout=5.0, observed_keys=("address",)), end, lambda: 100.0)
    assert (seen.status, seen.detail, seen.answered, seen.observed) == ("unhealthy", f"granted {granted:g}", False, {"address": None})


def test_budget_counts_down_on_its_clock() -> None:
    now = [10.0]
    budget = Budget.of(3.0, lambda: now[0])
    assert budget.left("x") == 3.0
    now[0] = 12.5
    assert budget.left("x") == 0.5
    now[0] = 13.0
    with pytest.raises(NoAnswer, match="^no answer within 3 s$"):
        budget.left("no answer")
