# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of a module's phases: what is written, how much, and by whom it is counted."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._progress import BURST_LINES, FILE_VARIABLE, MAXIMUM_BYTES, Reporter
from ansible_collections.mainstay.ops.plugins.plugin_utils import _progress_job
from ansible_collections.mainstay.ops.plugins.plugin_utils._progress_lines import parse


class Report:
    """A reporter with its file and a clock that stands still unless told."""

    def __init__(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Open the file."""
        self.path, self.now = path, 1000.0
        monkeypatch.setattr(_progress, "CLOCK", lambda: self.now)
        self.reporter = Reporter(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and let the reporter tick as its thread would."""
        self.now += seconds
        self.reporter.tick()

    def lines(self) -> list[dict[str, t.Any]]:
        """Return the records that were written."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def states(self) -> list[tuple[str, str, int]]:
        """Return phase, state and amount of each record."""
        return [(line["phase"], line["state"], line["done"]) for line in self.lines()]


@pytest.fixture
def report(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A reporter that is wanted."""
    return Report(tmp_path / "progress", monkeypatch)


def test_a_phase_from_begin_to_end(report: Report) -> None:
    """Begin and end are written at once, and say what they are about."""
    with report.reporter.phase("dump ledger", 100, exact=True) as phase:
        phase.advance(10)
        report.pass_time(0.6)
        report.pass_time(0.6)
        report.reporter.advance(30)
        report.pass_time(0.4)
        phase.reach(90)
    assert report.states() == [("dump ledger", state, done) for state, done in (("begun", 0), ("running", 10), ("running", 40), ("ended", 90))]
    assert report.lines()[-1] == {
        **{"number": 1, "phase": "dump ledger", "state": "ended", "done": 90, "total": 100},
        **{"unit": "bytes", "exact": True, "seconds": 1.6},
    }
    assert [record.state for record in parse(report.path.read_text())] == ["begun", "running", "running", "ended"]


def test_the_next_phase_ends_the_one_before(report: Report) -> None:
    """Without ``with``, and once only."""
    first = report.reporter.phase("wait")
    report.reporter.phase("stream")
    first.end()
    assert [line[:2] for line in report.states()] == [("wait", "begun"), ("wait", "ended"), ("stream", "begun")]


def test_an_error_is_told(report: Report) -> None:
    """A phase that was left by an exception has failed, and the exception goes on."""
    with pytest.raises(KeyError), report.reporter.phase("dump"):
        raise KeyError
    assert report.states()[-1] == ("dump", "failed", 0)


def test_two_lines_a_second(report: Report) -> None:
    """A hundred seconds of a thousand steps each are two hundred lines."""
    with report.reporter.phase("dump"):
        for _step in range(100_000):
            report.reporter.advance(1)
            report.pass_time(0.001)
    assert 190 <= len(report.lines()) <= 225
    assert report.states()[-1] == ("dump", "ended", 100_000)


def test_phases_side_by_side_share_the_lines(report: Report) -> None:
    """None of ten is forgotten over the others."""
    phases: list[_progress.Phase] = []
    for number in range(10):
        in_thread(lambda: phases.append(report.reporter.phase(f"dump {number}")))
    for _step in range(400):
        for phase in phases:
            phase.advance(1)
        report.pass_time(0.1)
    written = [phase for phase, state, _done in report.states() if state == "running"]
    assert len(written) <= 100 and min(written.count(phase.name) for phase in phases) >= 5


def test_what_was_counted_last_is_shown(tmp_path: pathlib.Path) -> None:
    """A source that gave all at once, into a program that takes minutes: the thread that ticks writes what nobody counts after."""
    path = tmp_path / "progress"
    path.touch()
    run_current("import time\nwith current().phase('x'):\n    current().advance(3)\n    time.sleep(1.5)", **{FILE_VARIABLE: str(path)})
    assert [(record.state, record.done) for record in parse(path.read_text())] == [("begun", 0), ("running", 3), ("ended", 3)]


def in_thread(call: t.Callable[[], object]) -> None:
    """Call something in a thread of its own, to its end."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_phases_without_an_end_do_not_stay(report: Report) -> None:
    """The main thread hands the work to others and goes on when they are done; what runs side by side goes on doing so."""
    report.reporter.phase("plan")
    in_thread(lambda: report.reporter.phase("dump one"))
    in_thread(lambda: report.reporter.phase("dump two"))
    report.reporter.phase("publish")
    assert [line[:2] for line in report.states()] == [
        *[("plan", "begun"), ("plan", "ended"), ("dump one", "begun"), ("dump two", "begun")],
        *[("dump one", "ended"), ("dump two", "ended"), ("publish", "begun")],
    ]
    with report.reporter.phase("copy"):
        in_thread(lambda: report.reporter.phase("read"))
        assert report.states()[-1][:2] == ("read", "begun")


def test_a_storm_of_phases(report: Report) -> None:
    """A thousand phases in a second are thinned, but whatever was begun in the file ends in it."""
    for number in range(1000):
        report.now += 0.001
        with report.reporter.phase(f"dump {number}"):
            report.reporter.advance(1)
    states = report.states()
    assert len(states) <= 2 * (BURST_LINES + 4)
    begun, ended = ({phase for phase, state, _done in states if state == wanted} for wanted in ("begun", "ended"))
    assert begun and begun <= ended


def test_the_file_stays_small(report: Report) -> None:
    """A week of work does not fill a disk, and the last record is there."""
    with report.reporter.phase("dump " + "x" * 500):
        for _step in range(7000):
            report.reporter.advance(1)
            report.pass_time(60)
            assert report.path.stat().st_size < MAXIMUM_BYTES + 1000
    assert report.states()[-1][1:] == ("ended", 7000)
    assert len(report.lines()[-1]["phase"]) == _progress.NAME_CHARACTERS


def test_threads_count_on_their_own_phase(report: Report) -> None:
    """Two dumps at once; a counter belongs to the phase that was active when it was taken, whoever calls it."""
    both = threading.Barrier(2)
    done: dict[str, int] = {}

    def dump(name: str, amount: int) -> None:
        with report.reporter.phase(name) as phase:
            count = report.reporter.counter()
            both.wait(10)
            feeders = [threading.Thread(target=lambda: [count(amount) for _step in range(500)]) for _feeder in range(4)]
            for feeder in feeders:
                feeder.start()
            for feeder in feeders:
                feeder.join()
            report.reporter.advance(1)
            both.wait(10)
            done[name] = phase.done

    threads = [threading.Thread(target=dump, args=given) for given in (("one", 3), ("two", 5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == {"one": 6001, "two": 10001}


def test_a_thread_without_a_phase_counts_on_the_newest(report: Report) -> None:
    """A worker thread that knows nothing of phases still counts."""
    with report.reporter.phase("stream") as phase:
        thread = threading.Thread(target=report.reporter.advance, args=(7,))
        thread.start()
        thread.join()
        assert phase.done == 7
    report.reporter.advance(7)
    assert phase.done == 7


def full_disk(*unused: object) -> int:
    """What a write to a full disk does."""
    raise OSError(28, "No space left on device")


def test_a_full_disk_stops_the_report_only(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on."""
    with report.reporter.phase("dump"):
        monkeypatch.setattr(_progress.os, "write", full_disk)
        report.reporter.advance(1)
        report.pass_time(1)
        report.reporter.advance(1)
    assert not report.reporter.wanted


def run_current(program: str, **environment: str) -> str:
    """Run a program that has the module's ``current`` in a process of its own."""
    head = "from ansible_collections.mainstay.ops.plugins.module_utils._progress import current\nimport os\n"
    done = subprocess.run([sys.executable, "-c", head + program], env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_happens_unless_it_is_wanted(tmp_path: pathlib.Path) -> None:
    """No variable, or one that names no file, or a link: no report and no error; children do not inherit the wish."""
    link = tmp_path / "link"
    (tmp_path / "target").touch()
    link.symlink_to(tmp_path / "target")
    program = f"current().phase('x'); current().advance(1); print(current().wanted, os.environ.get('{FILE_VARIABLE}'))"
    for path in ("", str(tmp_path / "missing"), str(link)):
        assert run_current(program, **{FILE_VARIABLE: path}) == "False None"
    assert (tmp_path / "target").stat().st_size == 0 and not (tmp_path / "missing").exists()
    assert run_current(program, **{FILE_VARIABLE: str(tmp_path / "target")}) == "True None"
    assert (tmp_path / "target").stat().st_size > 0


def test_both_sides_mean_the_same_variable() -> None:
    """The launcher is sent alone, so it has the name twice."""
    assert _progress_job.FILE_VARIABLE == FILE_VARIABLE
