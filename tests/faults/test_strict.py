# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failovers of PostgreSQL on loopback with ``strict``: what is acknowledged is on two members, and a leader that is alone acknowledges nothing."""

from __future__ import annotations

import functools
import pathlib
import random
import time
import typing as t

import psycopg2
import pytest
from drill import SEED
from drills.postgres.loopback import PROFILES, LoopbackPlace
from drills.postgres.measurement import Outcome, measure
from drills.postgres.scenarios import SCENARIOS, Place, Scenario
from drills.postgres.topology import Member
from servers import SENTINEL

RUN = "strict"
IN_FLIGHT_SECONDS = 3
"""A row whose acknowledgement was on its way when the standbys went has arrived by then."""
FAULTS = [scenario for scenario in SCENARIOS if scenario.key in ("planned", "kill", "host", "stop")]


@pytest.fixture(scope="module", name="place")
def fixture_place(server_root: pathlib.Path) -> t.Iterator[LoopbackPlace]:
    folder = server_root / "strict"
    folder.mkdir()
    place = LoopbackPlace(folder, {**PROFILES["fast"], "synchronous_mode_strict": True})
    try:
        place.rise()
        yield place
    finally:
        place.fall()


def run(place: LoopbackPlace, scenario: Scenario, folder: pathlib.Path) -> Outcome:
    """Run a scenario once; no acknowledged row may be lost, nor may two servers have acknowledged rows."""
    outcome = measure(scenario, place, RUN, folder, random.Random(SEED))  # noqa: S311
    print(scenario.key, outcome.before, outcome.after, outcome.judged)
    assert outcome.judged["acknowledged"] > 0 and outcome.judged["lost"] == outcome.judged["second_writer_rows"] == 0, outcome
    return outcome


def visible_rows(member: Member) -> int:
    """Return how many rows of the client others see on a member: none whose commit still waits for a standby."""
    connection = psycopg2.connect(host=member.address, port=member.port, user="postgres", password=SENTINEL, dbname="drill", connect_timeout=3)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM drill_{RUN}")
            return cursor.fetchone()[0]
    finally:
        connection.close()


def leave_alone(taken: list[int], place: t.Any, leader: Member) -> None:
    """Kill both standbys, then the leader too; the standbys come back first."""
    standbys = [member for member in place.processes.members if member.name != leader.name]
    for standby in standbys:
        standby.kill()
    time.sleep(IN_FLIGHT_SECONDS)
    before = visible_rows(leader)
    time.sleep(place.away_seconds)
    taken.append(visible_rows(leader) - before)
    place.kill_host(leader)
    for standby in standbys:
        standby.server.start()
    time.sleep(place.away_seconds)
    place.start_host(leader)


@pytest.mark.parametrize("scenario", FAULTS, ids=lambda scenario: scenario.key)
def test_a_lost_leader(place: LoopbackPlace, tmp_path: pathlib.Path, scenario: Scenario) -> None:
    outcome = run(place, scenario, tmp_path)
    assert (outcome.before == outcome.after) is scenario.leads_on


def test_a_leader_that_is_alone(place: LoopbackPlace, tmp_path: pathlib.Path) -> None:
    """It takes no row for as long as both standbys are away; nobody else may lead when it is lost as well, since it lists no synchronous standby then."""
    taken: list[int] = []
    outcome = run(place, Scenario("alone", "", t.cast(t.Callable[[Place, Member], None], functools.partial(leave_alone, taken))), tmp_path)
    assert taken == [0] and outcome.gap > place.away_seconds and outcome.after == outcome.before, (taken, outcome)
