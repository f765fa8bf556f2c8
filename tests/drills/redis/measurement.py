# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: two clients write, something happens to the master at a random moment, and the clients' log is judged by what the final master has."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import sys
import time
import typing as t

from fixtures.client import counting, redis_writer
from fixtures.client.redis_writer import Access

from drills.clients import WELL_SECONDS, judged, moment, pack, writing
from drills.redis.scenarios import Place, Scenario
from drills.redis.topology import Member, wait_until_well

WAIT_MS = 500
"""Patience of ``WAIT``."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run measured.

    Attributes:
        scenario: key of the scenario.
        waited: whether each write was followed by ``WAIT``.
        before: the member that was the master.
        after: the member that is it at the end.
        phase_seconds: how long the clients had written when it happened.
        well_seconds: how long the cluster needed, after the clients had ended, until nothing was wrong.
        judged: what the judge of the clients' log printed.
    """

    scenario: str
    waited: bool
    before: str
    after: str
    phase_seconds: float
    well_seconds: float
    judged: dict[str, t.Any]

    @property
    def gap(self) -> float:
        """Longest interval without an acknowledged write of the application, in seconds."""
        return self.judged["gap_seconds"]

    @property
    def errors(self) -> dict[str, int]:
        """Failed writes of the application by their kind."""
        return self.judged["clients"][counting.APPLICATION]["failed_by_kind"]


def command(name: str, access: Access, run: str, log: pathlib.Path, sentinels: t.Iterable[tuple[str, int]]) -> list[str]:
    """Return the writer's command line, without the passwords."""
    argv = [sys.executable, redis_writer.__file__, name, "--master-name", access.master_name, "--run", run, "--log", str(log), "--timeout", str(access.timeout)]
    for host, port in sentinels:
        argv += ["--sentinel", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    for option, value in (("--user", access.user), ("--sentinel-user", access.sentinel_user), ("--ca-file", access.ca_file)):
        if value:
            argv += [option, value]
    return argv


def environment(access: Access) -> dict[str, str]:
    """Return the writer's environment, with the passwords."""
    passwords = {redis_writer.PASSWORD: access.password, redis_writer.SENTINEL_PASSWORD: access.sentinel_password}
    return {**os.environ, **{name: value for name, value in passwords.items() if value}}


def sentinels_for(place: Place, scenario: Scenario, master: Member, choose: random.Random) -> list[tuple[str, int]]:
    """Return the Sentinels that the clients ask, in any order."""
    asked = [member for member in place.cluster.members if not (scenario.aside and member == master)]
    return [(member.address, member.sentinel_port) for member in choose.sample(asked, len(asked))]


def measure(scenario: Scenario, waited: bool, place: Place, run: str, folder: pathlib.Path, choose: random.Random) -> Outcome:
    """Run a scenario once.

    Args:
        scenario: what happens.
        waited: whether each write is followed by ``WAIT``.
        place: where.
        run: name of the run, used once only.
        folder: for the clients' log, which is compressed at the end.
        choose: source of the random moment.

    Raises:
        DrillFailed: the cluster is not well before or does not become so afterwards, or something could not be done.
    """
    master = wait_until_well(place.cluster, WELL_SECONDS)
    access, log = place.cluster.application, folder / f"{run}.jsonl"
    argv = command("run", access, run, log, sentinels_for(place, scenario, master, choose))
    phase = moment(choose)
    with writing([*argv, "--wait", str(WAIT_MS)] if waited else argv, environment(access), log):
        time.sleep(phase)
        scenario.act(place, master)
        time.sleep(scenario.after)
    begun = time.monotonic()
    after = wait_until_well(place.cluster, WELL_SECONDS)
    seconds = time.monotonic() - begun
    found = judged([*command("judge", access, run, log, access.sentinels), "--delete"], environment(access))
    pack(log)
    return Outcome(scenario.key, waited, master.name, after.name, round(phase, 3), round(seconds, 1), found)
