# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs say together: the table of docs/deploy.md, and whether the targets are met."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

from bench.document import machine, table

from drills.deploy.hold import FEED_SECONDS
from drills.deploy.measurement import Outcome
from drills.deploy.scenarios import SCENARIOS, Scenario
from drills.deploy.traffic import CLIENT_RATE, HEY_RATE, PER_CONNECTION, TIMEOUT
from drills.figures import Target, in_words, kinds_of_errors, none_target, three

QUIET = "quiet"
"""The scenario whose 99th percentile the others are compared with."""


@dataclasses.dataclass(frozen=True)
class Row:
    """All runs of a scenario."""

    scenario: Scenario
    outcomes: tuple[Outcome, ...]


def rows(outcomes: t.Sequence[Outcome]) -> list[Row]:
    """Sort outcomes into rows, in the order of the scenarios."""
    found = [Row(scenario, tuple(outcome for outcome in outcomes if outcome.scenario == scenario.key)) for scenario in SCENARIOS]
    return [row for row in found if row.outcomes]


def quiet_p99(outcomes: t.Sequence[Outcome]) -> float | None:
    """Return the median of the 99th percentiles of quiet time, None if there was none."""
    found = [outcome.p99 for outcome in outcomes if outcome.scenario == QUIET]
    return statistics.median(found) if found else None


def targets(row: Row, quiet: float | None, slack: float = 1.0) -> list[Target]:
    """Compare a row with what must hold; limits of times are ``slack`` times as long."""
    scenario, outcomes = row.scenario, row.outcomes
    if scenario.errors == "own":
        found = [none_target("errors from the new release alone", [outcome.failed_elsewhere for outcome in outcomes], "others")]
    else:
        found = [none_target("none failed", [outcome.failed for outcome in outcomes], "failed")]
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    found.append(Target("ends as it must", "; ".join(dict.fromkeys(problems)), not problems))
    if not scenario.changes and any(outcome.brought for outcome in outcomes):
        found.append(_back(row, slack))
    if scenario.factor is not None and quiet:
        p99 = statistics.median(outcome.p99 for outcome in outcomes)
        limit = scenario.factor * slack
        found.append(Target(f"p99 at most {limit:g} times that of quiet time", f"{p99 / quiet:.1f} times", p99 <= quiet * limit))
    return found


def _back(row: Row, slack: float) -> Target:
    brought = [outcome.brought for outcome in row.outcomes if outcome.brought]
    if row.scenario.back_within is None:
        return none_target("no user sees it", [each.answers for each in brought], "answers")
    worst, limit = max(each.seconds for each in brought), row.scenario.back_within * slack
    return Target(f"gone after {limit:g} s", f"{worst:.1f} s", worst <= limit)


def missed(outcomes: t.Sequence[Outcome], slack: float = 1.0) -> list[str]:
    """Return in sentences which targets are missed; limits of times are ``slack`` times as long."""
    quiet = quiet_p99(outcomes)
    return [
        f"{row.scenario.key}: {target.what}, but {target.found}" for row in rows(outcomes) for target in targets(row, quiet, slack) if not target.met
    ]


def describe(outcome: Outcome) -> str:
    """Return one run in a line for whoever waits."""
    problems = "".join(f"; {problem}" for problem in outcome.problems)
    return (
        f"{outcome.failed} of {outcome.sent} failed ({kinds_of_errors([outcome.failed_by_kind])}), p99 {outcome.p99 * 1000:.0f} ms, "
        f"{outcome.seconds:.0f} s, {_seen([outcome])}{problems}"
    )


def _seen(outcomes: t.Sequence[Outcome]) -> str:
    """Return in words what users saw of the release that was brought."""
    brought = [outcome.brought for outcome in outcomes if outcome.brought]
    if not brought:
        return ""
    seen = [each for each in brought if each.first is not None]
    if not seen:
        return "never seen"
    if not any(each.failed for each in seen):
        both = [max(0.0, (each.last_other or 0.0) - (each.first or 0.0)) for each in seen]
        return f"first after {three([each.first or 0.0 for each in seen], 1)} s, both for {three(both, 2)} s"
    return (
        f"for {three([each.seconds for each in seen], 1)} s, {three([100 * each.share for each in seen], 1)} % of the answers, "
        f"{sum(each.failed for each in seen)} failed"
    )


def _line(row: Row, quiet: float | None) -> list[str]:
    outcomes = row.outcomes
    return [
        row.scenario.name,
        str(len(outcomes)),
        f"{sum(outcome.sent for outcome in outcomes)}",
        f"{sum(outcome.failed for outcome in outcomes)}",
        three([outcome.p99 * 1000 for outcome in outcomes]),
        three([outcome.bulk_p99 * 1000 for outcome in outcomes]),
        three([outcome.seconds for outcome in outcomes]),
        _seen(outcomes),
        kinds_of_errors(outcome.failed_by_kind for outcome in outcomes),
        in_words(targets(row, quiet)),
    ]


PAGE = """## Measured under load

Made by `make bench-deploy RUNS={runs}` on {place}, all on {machine}, which the controller and the clients share with them.
Requests and errors are summed up; of other figures minimum / median / maximum of the runs.{problems}

{table}

All the time, users ask over TLS through the balancer: `hey` {hey} times a second, and a client that counts each answer {client} times a second, half of them
POST. It sends nothing twice, opens a new connection after every {per} requests, and waits {timeout} s at most. A request has failed without a whole
answer, with the answer to another one, or with a status of 500 or more.

- *p99*: of the client that counts, and of `hey`, in milliseconds. In quiet time nobody uses the machine but them; the row of a `deploy` that changes nothing
  shows what the controller's own work beside them costs. The controller runs with the lowest priority, as if it were another machine.
- *seen*: of the answers of the release that was brought. *First*: after how long it answered first; *both*: how long it and the old one answered beside
  each other.
- *SIGKILL of the controller*: all processes of `ansible-playbook`, also those that have left its group, at a random moment of the phase. The site is left to
  itself for a while, then the same deployment is run again, without any further variable; it must end well, with the release in service.
- *slow*: connections that send a byte in {feed:g} s. Those that the balancer closes are opened again at once.
- *certificate*, *value*, *full disk*: the balancer is converged with what must fail; afterwards its files must be good for a start, and the server must be
  the one of before. On the full disk lie its configuration and its logs.
"""


def page(outcomes: t.Sequence[Outcome], place: str, problems: t.Sequence[str] = ()) -> str:
    """Return the section of docs/deploy.md; ``problems`` are sentences about runs that could not be judged."""
    found, quiet = rows(outcomes), quiet_p99(outcomes)
    head = ["what happens", "runs", "requests", "failed", "p99", "p99 of hey", "took s", "seen", "errors", "target"]
    return PAGE.format(
        runs=max(len(row.outcomes) for row in found),
        place=place,
        machine=machine(),
        problems=f"\nNot judged: {'; '.join(problems)}." if problems else "",
        table=table(head, [_line(row, quiet) for row in found]),
        hey=HEY_RATE,
        client=CLIENT_RATE,
        per=PER_CONNECTION,
        timeout=TIMEOUT,
        feed=FEED_SECONDS,
    )


def as_json(outcomes: t.Sequence[Outcome], seed: int, problems: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return all figures, and sentences about runs that could not be judged."""
    return {
        "seed": seed,
        "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
        "problems": list(problems),
        "missed": missed(outcomes),
    }
