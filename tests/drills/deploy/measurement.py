# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: users ask, something happens, and what they were answered is judged."""

from __future__ import annotations

import dataclasses
import pathlib
import random
import time

from drills.clients import pack
from drills.deploy.lab import LabPlace
from drills.deploy.scenarios import Deed, Scenario
from drills.deploy.traffic import Answer, Counted, traffic

LEAD_SECONDS, TAIL_SECONDS = 3.0, 5.0
"""How long users ask before something happens, and after it is over."""


@dataclasses.dataclass(frozen=True)
class Brought:
    """What users saw of a release that was brought; times are seconds after the beginning.

    Attributes:
        answers: how many of the counting client's requests it answered.
        failed: how many of those failed.
        first: when it answered first, None if it never did.
        last_other: when another release answered last, None if none did.
        seconds: from its first answer to its last one.
        share: its part of the answers in that time.
    """

    answers: int
    failed: int
    first: float | None
    last_other: float | None
    seconds: float
    share: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run measured.

    Attributes:
        scenario: key of the scenario.
        seconds: how long it took what was done.
        sent: requests of all clients.
        failed: those that failed.
        failed_elsewhere: those that failed and were not answered by the release that was brought.
        failed_by_kind: those that failed, by kind.
        p99: the 99th percentile of the counting client, in seconds.
        bulk_p99: that of ``hey``.
        brought: what was seen of the release that was brought, None if none was.
        problems: sentences about what did not go as it must.
    """

    scenario: str
    seconds: float
    sent: int
    failed: int
    failed_elsewhere: int
    failed_by_kind: dict[str, int]
    p99: float
    bulk_p99: float
    brought: Brought | None
    problems: tuple[str, ...]


def seen_of(release: str, answers: tuple[Answer, ...], begun: float) -> Brought:
    """Return what was seen of a release from a point in time on."""
    after = [answer for answer in answers if answer.ended >= begun]
    own = [answer for answer in after if answer.release == release]
    others = [answer.ended for answer in after if answer.release not in (release, None)]
    last_other = round(max(others) - begun, 3) if others else None
    if not own:
        return Brought(0, 0, None, last_other, 0.0, 0.0)
    first, last = min(answer.ended for answer in own), max(answer.ended for answer in own)
    within = sum(first <= answer.ended <= last for answer in after)
    failed = sum(answer.kind is not None for answer in own)
    return Brought(len(own), failed, round(first - begun, 3), last_other, round(last - first, 3), round(len(own) / within, 4))


def elsewhere(counted: Counted, release: str) -> int:
    """Return how many requests failed that the release did not answer itself.

    ``hey`` does not say who answered: its answers with 500 are counted as the release's own if the counting client had one from it, too.
    """
    own = [answer for answer in counted.by(release) if answer.kind is not None] if release else []
    told = counted.bulk.failed_by_kind.get("status_500", 0) if own else 0
    return counted.failed - len(own) - told


def outcome(scenario: Scenario, deed: Deed, counted: Counted) -> Outcome:
    """Put together what was done and what was counted."""
    return Outcome(
        scenario=scenario.key,
        seconds=deed.seconds,
        sent=counted.sent,
        failed=counted.failed,
        failed_elsewhere=elsewhere(counted, deed.release),
        failed_by_kind=counted.failed_by_kind,
        p99=counted.p99,
        bulk_p99=counted.bulk.p99,
        brought=seen_of(deed.release, counted.answers, deed.begun) if deed.release else None,
        problems=deed.problems,
    )


def measure(scenario: Scenario, place: LabPlace, run: str, folder: pathlib.Path, choose: random.Random) -> Outcome:
    """Run a scenario once.

    Args:
        scenario: what happens.
        place: where.
        run: name of the run, used once only.
        folder: for the clients' logs.
        choose: source of the random moment.

    Raises:
        DrillFailed: something that has to be there is not, or could not be done.
    """
    scenario.prepare(place)
    with traffic(place.site, run, folder) as counted:
        time.sleep(LEAD_SECONDS)
        deed = scenario.act(place, choose)
        time.sleep(TAIL_SECONDS)
    pack(folder / f"{run}.jsonl")
    return outcome(scenario, deed, counted[0])
