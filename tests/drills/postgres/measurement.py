# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: two clients write, something happens to the leader at a random moment, and the clients' log is judged by what the final primary has."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import sys
import time
import typing as t

from fixtures.client import counting, postgres_writer
from fixtures.client.postgres_writer import Access

from drills.clients import WELL_SECONDS, judged, moment, pack, writing
from drills.postgres.scenarios import Place, Scenario
from drills.postgres.topology import wait_until_well


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run measured.

    Attributes:
        scenario: key of the scenario.
        before: the member that led.
        after: the member that leads at the end.
        phase_seconds: how long the clients had written when it happened.
        well_seconds: how long the cluster needed, after the clients had ended, until nothing was wrong.
        judged: what the judge of the clients' log printed.
    """

    scenario: str
    before: str
    after: str
    phase_seconds: float
    well_seconds: float
    judged: dict[str, t.Any]

    @property
    def gap(self) -> float:
        """Longest interval without an acknowledged row of the application, in seconds."""
        return self.judged["gap_seconds"]

    @property
    def errors(self) -> dict[str, int]:
        """Failed rows of the application by their kind."""
        return self.judged["clients"][counting.APPLICATION]["failed_by_kind"]


def command(name: str, access: Access, run: str, folder: pathlib.Path) -> list[str]:
    """Return the writer's command line, without the password."""
    argv = [sys.executable, postgres_writer.__file__, name, "--database", access.database, "--user", access.user, "--timeout", str(access.timeout)]
    for host in access.hosts:
        argv += ["--host", postgres_writer.text_of(host)]
    argv += ["--ca-file", access.ca_file] if access.ca_file else []
    argv += ["--through", "{}={}:{}".format(*access.through)] if access.through else []
    return [*argv, "--run", run, "--log", str(folder / f"{run}.jsonl"), "--watch-log", str(folder / f"{run}-hosts.jsonl")]


def environment(access: Access) -> dict[str, str]:
    """Return the writer's environment, with the password."""
    return {**os.environ, **({postgres_writer.PASSWORD: access.password} if access.password else {})}


def measure(scenario: Scenario, place: Place, run: str, folder: pathlib.Path, choose: random.Random) -> Outcome:
    """Run a scenario once.

    Args:
        scenario: what happens.
        place: where.
        run: name of the run, used once only.
        folder: for the clients' log, which is compressed at the end.
        choose: source of the random moment, and of the order in which the clients know the hosts.

    Raises:
        DrillFailed: the cluster is not well before or does not become so afterwards, or something could not be done.
    """
    leader = wait_until_well(place.cluster, WELL_SECONDS)
    known = place.cluster.application
    access = dataclasses.replace(known, hosts=tuple(choose.sample(known.hosts, len(known.hosts))))
    phase = moment(choose)
    with writing(command("run", access, run, folder), environment(access), folder / f"{run}.jsonl"):
        time.sleep(phase)
        scenario.act(place, leader)
        time.sleep(scenario.after)
    begun = time.monotonic()
    after = wait_until_well(place.cluster, WELL_SECONDS)
    seconds = time.monotonic() - begun
    found = judged([*command("judge", access, run, folder), "--delete"], environment(access))
    for log in (folder / f"{run}.jsonl", folder / f"{run}-hosts.jsonl"):
        pack(log)
    return Outcome(scenario.key, leader.name, after.name, round(phase, 3), round(seconds, 1), found)
