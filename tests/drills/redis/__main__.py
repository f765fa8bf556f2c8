# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the drills of Redis, show each run, and write the table of docs/redis.md."""

from __future__ import annotations

import functools
import pathlib
import sys
import typing as t

from fixtures.client.redis_writer import RATE
from redis.exceptions import RedisError

from drills import runner
from drills.clients import WELL_SECONDS
from drills.lab import ROOT
from drills.redis import report
from drills.redis.lab import LabPlace
from drills.redis.loopback import LoopbackPlace
from drills.redis.measurement import Outcome, measure
from drills.redis.scenarios import SCENARIOS, Place
from drills.redis.topology import Settings, read_settings, wait_until_well


class Redis(runner.Subject):
    """Redis with Sentinel."""

    name = "redis"
    title = "Redis"
    page = ROOT / "docs/redis.md"
    section = "measured failovers"
    keys = tuple(scenario.key for scenario in SCENARIOS)
    failures = (RedisError,)

    def lab_place(self, lab: str, log: pathlib.Path) -> Place:
        """Return the hosts of a lab as a place."""
        return LabPlace(lab, log)

    def loopback_place(self, folder: pathlib.Path, _profile: str) -> Place:
        """Return processes on loopback as a place."""
        return LoopbackPlace(folder)

    def rows(self, keys: t.Sequence[str]) -> list[tuple[str, t.Callable[..., Outcome]]]:
        """Return what measures each scenario, without and with ``WAIT``."""
        found = [(scenario, waited) for scenario in SCENARIOS if scenario.key in keys for waited in scenario.waits]
        return [(f"{scenario.key}{'-wait' if waited else ''}", functools.partial(measure, scenario, waited)) for scenario, waited in found]

    def wait_until_well(self, place: Place) -> None:
        """Wait until nothing is wrong."""
        wait_until_well(place.cluster, WELL_SECONDS)

    def settings(self, place: Place) -> Settings:
        """Return what the figures depend on."""
        return read_settings(place.cluster, wait_until_well(place.cluster, WELL_SECONDS))

    def describe(self, outcome: Outcome) -> str:
        """Return one run in a line."""
        return report.describe(outcome)

    def missed(self, outcomes: t.Sequence[Outcome], settings: Settings, slack: float) -> list[str]:
        """Return in sentences which targets are missed."""
        return report.missed(outcomes, settings.max_lag_seconds, slack)

    def document(self, outcomes: t.Sequence[Outcome], settings: Settings, place: Place, problems: t.Sequence[str]) -> str:
        """Return the section of the page."""
        return report.page(outcomes, settings, place.about, RATE, place.cluster.application.timeout, problems)

    def as_json(self, outcomes: t.Sequence[Outcome], settings: Settings, seed: int, problems: t.Sequence[str]) -> dict[str, t.Any]:
        """Return all figures."""
        return report.as_json(outcomes, settings, seed, problems)


if __name__ == "__main__":
    sys.exit(runner.main(Redis()))
