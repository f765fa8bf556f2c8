# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the drills, show each run, and write the table of docs/redis.md.

The hosts are made for it and removed at the end, unless ``--converged`` says that they are there, or ``--loopback`` asks for processes instead of hosts.
All figures are in artifacts/drills/redis.json, and the log of each run's clients is in the folder beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

from bench.document import replace_section
from fixtures.client.redis_writer import RATE
from redis.exceptions import RedisError

from drills.redis.lab import ROOT, LabPlace
from drills.redis.loopback import LoopbackPlace
from drills.redis.measurement import WELL_SECONDS, Outcome, measure
from drills.redis.report import as_json, describe, missed, page
from drills.redis.scenarios import SCENARIOS, Place, Scenario
from drills.redis.topology import DrillFailed, Settings, read_settings, wait_until_well

PAGE = ROOT / "docs/redis.md"
SECTION = "measured failovers"
LAB = "failover"
FAILURES = (DrillFailed, RedisError, OSError, subprocess.SubprocessError)


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


class Drills:
    """All runs of one call."""

    def __init__(self, place: Place, folder: pathlib.Path, seed: int) -> None:
        """Run at a place; logs go to the folder, random moments come from the seed."""
        self._place, self._folder, self._seed = place, folder, seed
        self.outcomes: list[Outcome] = []
        self.problems: list[str] = []
        self.settings: Settings | None = None

    def run(self, scenarios: t.Sequence[Scenario], runs: int) -> None:
        """Run every scenario so many times, in turn, so that whatever else the machine does meets all of them.

        A run that fails is noted, and the next one follows if the cluster becomes well.

        Raises:
            DrillFailed: it does not.
        """
        self.settings = read_settings(self._place.cluster, wait_until_well(self._place.cluster, WELL_SECONDS))
        rows = [(scenario, waited) for scenario in scenarios for waited in scenario.waits]
        begun = time.monotonic()
        for number in range(1, runs + 1):
            for position, (scenario, waited) in enumerate(rows):
                label = f"{scenario.key}{'-wait' if waited else ''}-{number}"
                choose = random.Random(f"{self._seed} {label}")  # noqa: S311
                try:
                    self.outcomes.append(measure(self._place, scenario, waited, label, self._folder, choose))
                    told = describe(self.outcomes[-1])
                except FAILURES as error:
                    self.problems.append(f"{label}: {error}")
                    told = f"FAILED: {error}"
                    wait_until_well(self._place.cluster, WELL_SECONDS)
                done = (number - 1) * len(rows) + position + 1
                say(f"[{time.monotonic() - begun:6.0f} s] {done}/{runs * len(rows)} {label}: {told}")

    def save(self, path: pathlib.Path) -> None:
        """Write all figures."""
        if self.settings is not None:
            path.write_text(json.dumps(as_json(self.outcomes, self.settings, self._seed, self.problems), indent=2) + "\n", encoding="utf-8")


def write_page(section: str) -> None:
    """Put the table into docs/redis.md."""
    PAGE.write_text(replace_section(PAGE.read_text(encoding="utf-8"), SECTION, section), encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description="Count acknowledged writes through failovers of Redis.")
    parser.add_argument("--lab", default=LAB, help=f"name of the lab (default {LAB})")
    parser.add_argument("--converged", action="store_true", help="its hosts are up and converged: make and remove none")
    parser.add_argument("--loopback", action="store_true", help="use processes on loopback, which cannot be cut off from each other; write no table")
    parser.add_argument("--runs", type=int, default=10, help="runs of each scenario (default 10)")
    parser.add_argument("--scenario", action="append", choices=[scenario.key for scenario in SCENARIOS], help="only this one; may be repeated")
    parser.add_argument("--gate", action="store_true", help="write no table, and end with 1 if a target is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="with --gate, how many times longer gaps may be, for a machine that does other work too")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="source of the random moments (default: another one each time)")
    parser.add_argument("--artifacts", type=pathlib.Path, default=ROOT / "artifacts/drills", help="folder for the figures and logs")
    return parser


@contextlib.contextmanager
def place_for(options: argparse.Namespace, folder: pathlib.Path) -> t.Iterator[Place]:
    """Make the place that is asked for, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="mainstay-drill-") as temporary:
        place = LoopbackPlace(pathlib.Path(temporary)) if options.loopback else LabPlace(options.lab, folder / "playbooks.log")
        if options.converged:
            yield place
            return
        try:
            say(f"making {'processes' if options.loopback else 'hosts'}")
            place.rise()
            yield place
        finally:
            place.fall()


def main() -> int:
    """Do what the command line asks for."""
    options = arguments().parse_args()
    folder = options.artifacts / "redis"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"seed {options.seed}, figures in {options.artifacts / 'redis.json'}")
    try:
        with place_for(options, folder) as place:
            return drill(options, place, folder)
    except FAILURES as error:
        say(f"the drill stopped: {error}")
        return 2


def drill(options: argparse.Namespace, place: Place, folder: pathlib.Path) -> int:
    """Run what is asked for, and report; return the exit status."""
    drills = Drills(place, folder, options.seed)
    scenarios = [scenario for scenario in SCENARIOS if scenario.key not in place.impossible and (not options.scenario or scenario.key in options.scenario)]
    try:
        drills.run(scenarios, options.runs)
    finally:
        drills.save(options.artifacts / "redis.json")
    if drills.outcomes:
        section = page(drills.outcomes, drills.settings, place.about, RATE, place.cluster.application.timeout, drills.problems)
        say(section)
        if not (options.gate or options.loopback):
            write_page(section)
    problems = [*drills.problems, *missed(drills.outcomes, drills.settings.max_lag_seconds, options.slack)]
    for problem in problems:
        say(f"missed: {problem}")
    return 1 if problems and options.gate else 0


if __name__ == "__main__":
    sys.exit(main())
