# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the drills of releases, show each run, and write the table of docs/deploy.md."""

from __future__ import annotations

import functools
import pathlib
import sys
import typing as t

from drills import runner
from drills.deploy import report
from drills.deploy.lab import LabPlace
from drills.deploy.measurement import Outcome, measure
from drills.deploy.release import GOOD
from drills.deploy.scenarios import SCENARIOS
from drills.failure import DrillFailed
from drills.lab import ROOT


class Deploy(runner.Subject):
    """Releases of an application behind a balancer."""

    name = "deploy"
    title = "releases"
    page = ROOT / "docs/deploy.md"
    section = "measured releases"
    lab = "releases"
    keys = tuple(scenario.key for scenario in SCENARIOS)

    @property
    def purpose(self) -> str:
        """Say in a sentence what the drills are for."""
        return "Count failed requests while releases are deployed, killed and attacked."

    def lab_place(self, lab: str, log: pathlib.Path) -> LabPlace:
        """Return the hosts of a lab as a place."""
        return LabPlace(lab, log)

    def loopback_place(self, folder: pathlib.Path, profile: str) -> t.NoReturn:
        """Refuse: releases are units of systemd."""
        raise DrillFailed("releases need hosts: run it without --loopback")

    def rows(self, keys: t.Sequence[str]) -> list[tuple[str, t.Callable[..., Outcome]]]:
        """Return what measures each scenario."""
        return [(scenario.key, functools.partial(measure, scenario)) for scenario in SCENARIOS if scenario.key in keys]

    def wait_until_well(self, place: LabPlace) -> None:
        """See that a good release serves, or put one into service whatever a run left; raises DrillFailed if that cannot be done."""
        try:
            if place.serving() in GOOD:
                return
        except DrillFailed as error:
            runner.say(f"before the next run: {error}")
        ended = place.start_deploy(GOOD[0], "deploy", "-e", "app_release_unlock=true").wait()
        if ended.status != 0:
            raise DrillFailed(f"no good release serves, and none could be deployed; the output is {ended.log}")

    def settings(self, place: LabPlace) -> str:
        """Return the place in words: the figures depend on nothing else."""
        return place.about

    def describe(self, outcome: Outcome) -> str:
        """Return one run in a line."""
        return report.describe(outcome)

    def missed(self, outcomes: t.Sequence[Outcome], settings: str, slack: float) -> list[str]:
        """Return in sentences which targets are missed."""
        return report.missed(outcomes, slack)

    def document(self, outcomes: t.Sequence[Outcome], settings: str, place: LabPlace, problems: t.Sequence[str]) -> str:
        """Return the section of the page."""
        return report.page(outcomes, settings, problems)

    def as_json(self, outcomes: t.Sequence[Outcome], settings: str, seed: int, problems: t.Sequence[str]) -> dict[str, t.Any]:
        """Return all figures."""
        return report.as_json(outcomes, seed, problems)


if __name__ == "__main__":
    sys.exit(runner.main(Deploy()))
