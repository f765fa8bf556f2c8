# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs say together: the table of docs/postgres.md, and whether the targets are met."""

from __future__ import annotations

import dataclasses
import typing as t

from bench.document import machine, table
from fixtures.client.postgres_writer import Access

from drills.figures import Target, gap_target, in_words, kinds_of_errors, none_target, three
from drills.postgres.measurement import Outcome
from drills.postgres.scenarios import SCENARIOS, Scenario
from drills.postgres.topology import Settings


@dataclasses.dataclass(frozen=True)
class Row:
    """All runs of a scenario."""

    scenario: Scenario
    outcomes: tuple[Outcome, ...]

    def figures(self, name: str) -> list[float]:
        """Return one figure of the judge for each run."""
        return [outcome.judged[name] for outcome in self.outcomes]


def rows(outcomes: t.Sequence[Outcome]) -> list[Row]:
    """Sort outcomes into rows, in the order of the scenarios."""
    found = [Row(scenario, tuple(outcome for outcome in outcomes if outcome.scenario == scenario.key)) for scenario in SCENARIOS]
    return [row for row in found if row.outcomes]


def targets(row: Row, slack: float = 1.0) -> list[Target]:
    """Compare a row with what must hold; limits of gaps are ``slack`` times as long."""
    found = []
    if row.scenario.gap_limit is not None:
        found.append(gap_target((outcome.gap for outcome in row.outcomes), row.scenario.gap_limit, slack))
    found.append(none_target("nothing lost", row.figures("lost"), "lost"))
    found.append(none_target("one writer", row.figures("second_writer_rows"), "rows taken by a second one"))
    if row.scenario.leads_on:
        found.append(none_target("the leader stays", (outcome.before != outcome.after for outcome in row.outcomes), "run or more with another one"))
    return found


def missed(outcomes: t.Sequence[Outcome], slack: float = 1.0) -> list[str]:
    """Return in sentences which targets are missed; limits of gaps are ``slack`` times as long."""
    return [f"{row.scenario.key}: {target.what}, but {target.found}" for row in rows(outcomes) for target in targets(row, slack) if not target.met]


def describe(outcome: Outcome) -> str:
    """Return one run in a line for whoever waits."""
    judged = outcome.judged
    return (
        f"{outcome.before} to {outcome.after}: gap {outcome.gap:.2f} s, {judged['lost']} of {judged['acknowledged']} acknowledged rows lost, "
        f"{judged['second_writer_rows']} taken by a second writer, two primaries for {judged['second_primary_seconds']:.1f} s; "
        f"{kinds_of_errors([outcome.errors])}"
    )


def _line(row: Row) -> list[str]:
    return [
        row.scenario.name,
        three([outcome.gap for outcome in row.outcomes], 2),
        f"{sum(row.figures('acknowledged')):.0f}",
        three(row.figures("lost")),
        three(row.figures("second_writer_rows")),
        three(row.figures("second_primary_seconds"), 1),
        kinds_of_errors(outcome.errors for outcome in row.outcomes),
        in_words(targets(row)),
    ]


CLIENTS = {
    True: "it goes to the address for writers of `postgres_proxy` on another host",
    False: "libpq knows all hosts, in any order, and looks for the one that accepts writes\n  (`target_session_attrs=read-write`)",
}
"""How the application finds the primary: through the proxy, or by itself."""

PAGE = """## Measured failovers

Made by `make bench-postgres-failover RUNS={runs}` on {place}, all on {machine}: PostgreSQL {settings.postgresql}, Patroni {settings.patroni}, {tls},
`ttl` {settings.ttl}, `loop_wait` {settings.loop_wait}, `retry_timeout` {settings.retry_timeout}, `primary_start_timeout` {settings.primary_start_timeout},
`synchronous_mode` {settings.synchronous}, `failsafe_mode` {failsafe}.
{count} each at a random moment; minimum / median / maximum of the runs, acknowledged rows and errors summed up.{problems}

{table}

Two clients write numbered rows, up to {rate:g} a second each, one after the other. A row counts when its acknowledgement has arrived, and nothing is
sent twice. Afterwards every acknowledged number is looked for on the final primary.

- *gap*: the longest interval without an acknowledged row of a client that does as an application should: {client},
  with `connect_timeout` {timeout} and `tcp_user_timeout` {timeout} s; the client gives up an answer after {timeout} s, and after each error connects anew.
- *errors*: rows of this client that failed, by their kind.
- *lost*: acknowledged rows of both clients that the final primary does not have. The other client stays at the old primary's address as long as that
  acknowledges anything.
- *second writer*: rows that were sent when a newer timeline had acknowledged one already, and that an older one acknowledged.
- *two primaries*: for how long an old primary said that it was one, when a newer one had said so. With synchronous replication it acknowledges nothing
  meanwhile; what it is asked, it answers with old data.
- *cut off*: the leader's host loses touch with the other two; both clients still reach it.
- *loss of the host*: SIGKILL of all its processes at once. What was written to files is kept, since the kernel goes on.
"""


def page(outcomes: t.Sequence[Outcome], settings: Settings, place: str, rate: float, access: Access, problems: t.Sequence[str] = ()) -> str:
    """Return the section of docs/postgres.md.

    Args:
        outcomes: all runs that could be judged.
        settings: what the figures depend on.
        place: where it was, in words.
        rate: rows a second that each client wrote at most.
        access: how the application logged in, and for how many seconds it waited for an answer.
        problems: sentences about runs that could not be judged.
    """
    found = rows(outcomes)
    runs = max(len(row.outcomes) for row in found)
    head = ["what happens", "gap s", "acknowledged", "lost", "second writer", "two primaries s", "errors", "target"]
    return PAGE.format(
        runs=runs,
        count=f"{runs} runs" if runs > 1 else "One run",
        place=place,
        machine=machine(),
        settings=settings,
        tls="TLS everywhere" if settings.tls else "without TLS for clients",
        failsafe="on" if settings.failsafe else "off",
        problems=f"\nNot judged: {'; '.join(problems)}." if problems else "",
        table=table(head, map(_line, found)),
        rate=rate,
        timeout=access.timeout,
        client=CLIENTS[access.through is not None],
    )


def as_json(outcomes: t.Sequence[Outcome], settings: Settings, seed: int, problems: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return all figures, and sentences about runs that could not be judged."""
    return {
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
        "problems": list(problems),
        "missed": missed(outcomes),
    }
