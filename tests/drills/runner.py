# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs drills: the command line, the place that is made and removed, each run after the other, and what is written about them.

The hosts are made for it and removed at the end, unless ``--converged`` says that they are there, or ``--loopback`` asks for processes instead of hosts.
All figures are in one JSON file of the artefacts, and the log of each run's clients is in the folder beside it.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import json
import pathlib
import random
import secrets
import shutil
import subprocess
import tempfile
import time
import typing as t

from bench.document import replace_section

from drills.failure import DrillFailed
from drills.lab import ROOT


class Place(t.Protocol):
    """Where a drill is run; ``impossible`` are the keys of scenarios that it cannot have."""

    impossible: t.ClassVar[frozenset[str]]

    @property
    def about(self) -> str:
        """Say in words what this place is."""

    def rise(self) -> None:
        """Make everything."""

    def fall(self) -> None:
        """Remove everything."""


class Subject(abc.ABC):
    """What is drilled, and what only it knows.

    Attributes:
        name: what its files are called.
        title: its name in sentences.
        page: the document that gets the table.
        section: the name of the table's part of it.
        lab: name of the lab, unless another one is asked for.
        keys: the scenarios by their names on the command line.
        profiles: named timings that processes on loopback can have, the usual one first.
        failures: errors that end a run, not the drill.
    """

    name: str
    title: str
    page: pathlib.Path
    section: str
    lab = "failover"
    keys: tuple[str, ...]
    profiles: tuple[str, ...] = ("",)
    failures: tuple[type[Exception], ...] = ()

    @property
    def purpose(self) -> str:
        """Say in a sentence what the drills are for."""
        return f"Count acknowledged writes through failovers of {self.title}."

    @abc.abstractmethod
    def lab_place(self, lab: str, log: pathlib.Path) -> Place:
        """Return the hosts of a lab as a place; what playbooks print goes to the log."""

    @abc.abstractmethod
    def loopback_place(self, folder: pathlib.Path, profile: str) -> Place:
        """Return processes on loopback with these timings as a place."""

    @abc.abstractmethod
    def rows(self, keys: t.Sequence[str]) -> list[tuple[str, t.Callable[..., t.Any]]]:
        """Return for each row of the table a label, and what measures one run of it: it gets place, label of the run, folder and source of chance."""

    @abc.abstractmethod
    def wait_until_well(self, place: t.Any) -> None:
        """Wait until nothing is wrong; raises DrillFailed."""

    @abc.abstractmethod
    def settings(self, place: t.Any) -> t.Any:
        """Return what the figures depend on, once the place is well."""

    @abc.abstractmethod
    def describe(self, outcome: t.Any) -> str:
        """Return one run in a line for whoever waits."""

    @abc.abstractmethod
    def missed(self, outcomes: t.Sequence[t.Any], settings: t.Any, slack: float) -> list[str]:
        """Return in sentences which targets are missed; limits of gaps are ``slack`` times as long."""

    @abc.abstractmethod
    def document(self, outcomes: t.Sequence[t.Any], settings: t.Any, place: t.Any, problems: t.Sequence[str]) -> str:
        """Return the section of the page; ``problems`` are sentences about runs that could not be judged."""

    @abc.abstractmethod
    def as_json(self, outcomes: t.Sequence[t.Any], settings: t.Any, seed: int, problems: t.Sequence[str]) -> dict[str, t.Any]:
        """Return all figures."""

    @property
    def all_failures(self) -> tuple[type[Exception], ...]:
        """Errors that end a run: its own, and those of any drill."""
        return (DrillFailed, OSError, subprocess.SubprocessError, *self.failures)


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


class Drills:
    """All runs of one call."""

    def __init__(self, subject: Subject, place: Place, folder: pathlib.Path, seed: int) -> None:
        """Run at a place; logs go to the folder, random moments come from the seed."""
        self._subject, self._place, self._folder, self._seed = subject, place, folder, seed
        self.outcomes: list[t.Any] = []
        self.problems: list[str] = []
        self.settings: t.Any = None

    def run(self, runs: t.Mapping[str, int]) -> None:
        """Run every scenario as many times as it has, in turn, so that whatever else the machine does meets all of them.

        A run that fails is noted, and the next one follows if the cluster becomes well. SIGINT ends it with what was measured until then.

        Raises:
            DrillFailed: it does not.
        """
        self._subject.wait_until_well(self._place)
        self.settings = self._subject.settings(self._place)
        rounds = [self._subject.rows([key for key, count in runs.items() if count >= number]) for number in range(1, max(runs.values(), default=0) + 1)]
        begun, done, total = time.monotonic(), 0, sum(map(len, rounds))
        try:
            for number, rows in enumerate(rounds, 1):
                for name, measure in rows:
                    told = self._one(f"{name}-{number}", measure)
                    done += 1
                    say(f"[{time.monotonic() - begun:6.0f} s] {done}/{total} {name}-{number}: {told}")
        except KeyboardInterrupt:
            self.problems.append(f"stopped after {done} of {total} runs")

    def _one(self, label: str, measure: t.Callable[..., t.Any]) -> str:
        """Do one run, and return it in a line."""
        choose = random.Random(f"{self._seed} {label}")  # noqa: S311
        try:
            self.outcomes.append(measure(self._place, label, self._folder, choose))
            return self._subject.describe(self.outcomes[-1])
        except self._subject.all_failures as error:
            self.problems.append(f"{label}: {error}")
            self._subject.wait_until_well(self._place)
            return f"FAILED: {error}"

    def save(self, path: pathlib.Path) -> None:
        """Write all figures."""
        if self.settings is not None:
            path.write_text(json.dumps(self._subject.as_json(self.outcomes, self.settings, self._seed, self.problems), indent=2) + "\n", encoding="utf-8")


def arguments(subject: Subject) -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=subject.purpose)
    parser.add_argument("--lab", default=subject.lab, help=f"name of the lab (default {subject.lab})")
    parser.add_argument("--converged", action="store_true", help="its hosts are up and converged: make and remove none")
    parser.add_argument("--loopback", action="store_true", help="use processes on loopback, which cannot be cut off from each other; write no table")
    parser.add_argument("--profile", choices=subject.profiles, default=subject.profiles[0], help="with --loopback, the timings (default: the first)")
    parser.add_argument("--runs", type=int, default=10, help="runs of each scenario (default 10)")
    parser.add_argument("--scenario", action="append", choices=subject.keys, help="only this one; may be repeated")
    parser.add_argument("--runs-of", action="append", default=[], metavar="SCENARIO=RUNS", help="another number of runs of a scenario; may be repeated")
    parser.add_argument("--gate", action="store_true", help="write no table, and end with 1 if a target is missed")
    parser.add_argument("--slack", type=float, default=1.0, help="with --gate, how many times longer gaps may be, for a machine that does other work too")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="source of the random moments (default: another one each time)")
    parser.add_argument("--artifacts", type=pathlib.Path, default=ROOT / "artifacts/drills", help="folder for the figures and logs")
    return parser


@contextlib.contextmanager
def place_for(subject: Subject, options: argparse.Namespace, folder: pathlib.Path) -> t.Iterator[Place]:
    """Make the place that is asked for, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="mainstay-drill-") as temporary:
        loopback = options.loopback
        place = subject.loopback_place(pathlib.Path(temporary), options.profile) if loopback else subject.lab_place(options.lab, folder / "playbooks.log")
        if options.converged:
            yield place
            return
        try:
            say(f"making {'processes' if loopback else 'hosts'}")
            place.rise()
            yield place
        finally:
            place.fall()


def counts_of(options: argparse.Namespace, keys: t.Iterable[str]) -> dict[str, int]:
    """Return how often each scenario that is asked for is run.

    Raises:
        ValueError: a number of runs is none, or that of a scenario which is not run.
    """
    counts = {key: options.runs for key in keys if not options.scenario or key in options.scenario}
    for text in options.runs_of:
        key, _equals, number = text.partition("=")
        if key not in counts or not number.isdecimal():
            raise ValueError(f"--runs-of {text}: give one of {', '.join(counts)}, and a number after an equals sign")
        counts[key] = int(number)
    return counts


def main(subject: Subject) -> int:
    """Do what the command line asks for."""
    parser = arguments(subject)
    options = parser.parse_args()
    try:
        counts_of(options, subject.keys)
    except ValueError as error:
        parser.error(str(error))
    folder, figures = options.artifacts / subject.name, options.artifacts / f"{subject.name}.json"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"seed {options.seed}, figures in {figures}")
    try:
        with place_for(subject, options, folder) as place:
            return drill(subject, options, place, folder, figures)
    except subject.all_failures as error:
        say(f"the drill stopped: {error}")
        return 2


def drill(subject: Subject, options: argparse.Namespace, place: Place, folder: pathlib.Path, figures: pathlib.Path) -> int:
    """Run what is asked for, and report; return the exit status."""
    drills = Drills(subject, place, folder, options.seed)
    try:
        drills.run({key: count for key, count in counts_of(options, subject.keys).items() if key not in place.impossible})
    finally:
        drills.save(figures)
    if drills.outcomes:
        section = subject.document(drills.outcomes, drills.settings, place, drills.problems)
        say(section)
        if not (options.gate or options.loopback):
            page = subject.page.read_text(encoding="utf-8") if subject.page.exists() else f"# {subject.title.capitalize()}\n"
            subject.page.write_text(replace_section(page, subject.section, section), encoding="utf-8")
    problems = [*drills.problems, *subject.missed(drills.outcomes, drills.settings, options.slack)]
    for problem in problems:
        say(f"missed: {problem}")
    return 1 if problems and options.gate else 0
