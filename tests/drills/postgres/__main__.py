# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the drills of PostgreSQL, show each run, and write the table of docs/postgres.md."""

from __future__ import annotations

import functools
import pathlib
import sys
import typing as t

import psycopg2
from fixtures.client.postgres_writer import RATE

from drills import runner
from drills.clients import WELL_SECONDS
from drills.lab import ROOT
from drills.postgres import report
from drills.postgres.lab import LabPlace
from drills.postgres.loopback import PROFILES, LoopbackPlace
from drills.postgres.measurement import Outcome, measure
from drills.postgres.scenarios import SCENARIOS, Place
from drills.postgres.topology import Settings, read_settings, wait_until_well


class PostgreSQL(runner.Subject):
    """PostgreSQL under Patroni."""

    name = "postgres"
    title = "PostgreSQL"
    page = ROOT / "docs/postgres.md"
    section = "measured failovers of PostgreSQL"
    keys = tuple(scenario.key for scenario in SCENARIOS)
    profiles = tuple(PROFILES)
    failures = (psycopg2.Error, ValueError)

    def lab_place(self, lab: str, log: pathlib.Path) -> Place:
        """Return the hosts of a lab as a place."""
        return LabPlace(lab, log)

    def loopback_place(self, folder: pathlib.Path, profile: str) -> Place:
        """Return processes on loopback with a profile of the role as a place."""
        return LoopbackPlace(folder, PROFILES[profile])

    def rows(self, keys: t.Sequence[str]) -> list[tuple[str, t.Callable[..., Outcome]]]:
        """Return what measures each scenario."""
        return [(scenario.key, functools.partial(measure, scenario)) for scenario in SCENARIOS if scenario.key in keys]

    def wait_until_well(self, place: Place) -> None:
        """Wait until nothing is wrong."""
        wait_until_well(place.cluster, WELL_SECONDS)

    def settings(self, place: Place) -> Settings:
        """Return what the figures depend on."""
        return read_settings(place.cluster)

    def describe(self, outcome: Outcome) -> str:
        """Return one run in a line."""
        return report.describe(outcome)

    def missed(self, outcomes: t.Sequence[Outcome], settings: Settings, slack: float) -> list[str]:
        """Return in sentences which targets are missed."""
        return report.missed(outcomes, slack)

    def document(self, outcomes: t.Sequence[Outcome], settings: Settings, place: Place, problems: t.Sequence[str]) -> str:
        """Return the section of the page."""
        return report.page(outcomes, settings, place.about, RATE, place.cluster.application, problems)

    def as_json(self, outcomes: t.Sequence[Outcome], settings: Settings, seed: int, problems: t.Sequence[str]) -> dict[str, t.Any]:
        """Return all figures."""
        return report.as_json(outcomes, settings, seed, problems)


if __name__ == "__main__":
    sys.exit(runner.main(PostgreSQL()))
