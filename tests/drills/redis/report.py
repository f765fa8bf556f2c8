# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs say together: the table of docs/redis.md, and whether the targets are met."""

from __future__ import annotations

import dataclasses
import typing as t

from bench.document import machine, table

from drills.figures import Target, gap_target, in_words, kinds_of_errors, none_target, three
from drills.redis.measurement import WAIT_MS, Outcome
from drills.redis.scenarios import SCENARIOS, Scenario
from drills.redis.topology import Settings

LAG_GRACE = 2.0
"""Seconds beyond min-replicas-max-lag: a master compares whole seconds (a lag of 3.9 is 3), and does so once a second (``refreshGoodSlavesCount`` and
``replicationCron`` in src/replication.c of Redis 7 and 8)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """All runs of a scenario, without or with ``WAIT``."""

    scenario: Scenario
    waited: bool
    outcomes: tuple[Outcome, ...]

    def figures(self, name: str) -> list[float]:
        """Return one figure of the judge for each run."""
        return [outcome.judged[name] for outcome in self.outcomes]


def rows(outcomes: t.Sequence[Outcome]) -> list[Row]:
    """Sort outcomes into rows, in the order of the scenarios."""
    found = []
    for scenario in SCENARIOS:
        for waited in scenario.waits:
            own = tuple(outcome for outcome in outcomes if (outcome.scenario, outcome.waited) == (scenario.key, waited))
            if own:
                found.append(Row(scenario, waited, own))
    return found


def targets(row: Row, max_lag: float, slack: float = 1.0) -> list[Target]:
    """Compare a row with what must hold; ``max_lag`` is min-replicas-max-lag in seconds, and limits of gaps are ``slack`` times as long."""
    found = []
    scenario = row.scenario
    if scenario.compared:
        return found
    if scenario.gap_limit is not None:
        found.append(gap_target((outcome.gap for outcome in row.outcomes), scenario.gap_limit, slack))
    if scenario.loses_nothing:
        found.append(none_target("nothing lost", row.figures("lost"), "lost"))
    if scenario.bounded:
        span, limit = max(row.figures("lost_span_seconds")), max_lag + LAG_GRACE
        found.append(Target(f"losses within {limit:g} s", f"{span:.2f} s", span <= limit))
    if row.waited:
        found.append(none_target("nothing lost that was confirmed", row.figures("lost_confirmed"), "lost"))
    return found


def missed(outcomes: t.Sequence[Outcome], max_lag: float, slack: float = 1.0) -> list[str]:
    """Return in sentences which targets are missed; limits of gaps are ``slack`` times as long."""
    return [
        f"{row.scenario.key}{' with WAIT' if row.waited else ''}: {target.what}, but {target.found}"
        for row in rows(outcomes)
        for target in targets(row, max_lag, slack)
        if not target.met
    ]


def describe(outcome: Outcome) -> str:
    """Return one run in a line for whoever waits."""
    judged = outcome.judged
    confirmed = f", {judged['lost_confirmed']} of {judged['confirmed']} confirmed" if outcome.waited else ""
    return (
        f"{outcome.before} to {outcome.after}: gap {outcome.gap:.2f} s, {judged['lost']} of {judged['acknowledged']} acknowledged writes lost{confirmed}, "
        f"within {judged['lost_span_seconds']:.2f} s"
    )


def _line(row: Row, max_lag: float) -> list[str]:
    return [
        row.scenario.name + (", with `WAIT`" if row.waited else ""),
        three([outcome.gap for outcome in row.outcomes], 2),
        f"{sum(row.figures('acknowledged')):.0f}",
        three(row.figures("lost")),
        three(row.figures("lost_span_seconds"), 2),
        three(row.figures("lost_confirmed")) if row.waited else "",
        kinds_of_errors(outcome.errors for outcome in row.outcomes),
        in_words(targets(row, max_lag)),
    ]


PAGE = """## Measured failovers

Made by `make bench-redis-failover RUNS={runs}` on {place}, all on {machine}: {version}, {tls}, {persistence}, `min-replicas-to-write {min_replicas}`,
`min-replicas-max-lag {max_lag}`, `down-after-milliseconds {down_after}`, `failover-timeout {failover_timeout}`, quorum {quorum}.
{count} each at a random moment; minimum / median / maximum of the runs, acknowledged writes and errors summed up.{problems}

{table}

Two clients write numbered entries, up to {rate} a second each, one after the other. A write counts when its acknowledgement has arrived, and nothing is
sent twice. Afterwards every acknowledged number is looked for on the final master.

- *gap*: the longest interval without an acknowledged write of a client that does as an application should: it asks the Sentinels for the master
  (redis-py's `Sentinel`), gives up an answer after {timeout:g} s, and after each error connects anew by asking again.
- *errors*: writes of this client that failed, by their kind.
- *lost*: acknowledged writes of both clients that the final master does not have. The other client stays at the old master's address as long as that
  acknowledges anything.
- *lost within*: seconds from the first to the last acknowledgement of a lost write.
- *confirmed*: each write is followed by `WAIT 1 {wait}`, and one replica at least had it.
- *cut off*: the master's host loses touch with the other two; both clients still reach it, and the application asks the Sentinels of the other two.
- *SIGKILL of the host*: all its processes at once. What was written to files is kept, since the kernel goes on; a loss of power may cost a second more
  with `appendfsync everysec`.
"""


def page(outcomes: t.Sequence[Outcome], settings: Settings, place: str, rate: float, timeout: float, problems: t.Sequence[str] = ()) -> str:
    """Return the section of docs/redis.md.

    Args:
        outcomes: all runs that could be judged.
        settings: what the figures depend on.
        place: where it was, in words.
        rate: entries a second that each client wrote at most.
        timeout: seconds that a client waited for an answer.
        problems: sentences about runs that could not be judged.
    """
    found = rows(outcomes)
    runs = max(len(row.outcomes) for row in found)
    head = ["what happens", "gap s", "acknowledged", "lost", "lost within s", "lost though confirmed", "errors", "target"]
    return PAGE.format(
        runs=runs,
        count=f"{runs} runs" if runs > 1 else "One run",
        place=place,
        machine=machine(),
        version=settings.version,
        tls="TLS everywhere" if settings.tls else "without TLS",
        persistence=", ".join(f"`{part}`" for part in settings.persistence.split(", ")),
        min_replicas=settings.min_replicas,
        max_lag=settings.max_lag_seconds,
        down_after=settings.down_after_ms,
        failover_timeout=settings.failover_timeout_ms,
        quorum=settings.quorum,
        problems=f"\nNot judged: {'; '.join(problems)}." if problems else "",
        table=table(head, [_line(row, settings.max_lag_seconds) for row in found]),
        rate=f"{rate:g}",
        timeout=timeout,
        wait=WAIT_MS,
    )


def as_json(outcomes: t.Sequence[Outcome], settings: Settings, seed: int, problems: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return all figures, and sentences about runs that could not be judged."""
    return {
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
        "problems": list(problems),
        "missed": missed(outcomes, settings.max_lag_seconds),
    }
