# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a drill runs what, and in which order."""

from __future__ import annotations

import argparse
import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

# pylint: disable=wrong-import-position
from drills import runner  # noqa: E402


def options(*runs_of: str, scenario: list[str] | None = None) -> argparse.Namespace:
    """What the command line gives."""
    return argparse.Namespace(runs=1, scenario=scenario, runs_of=list(runs_of))


def test_counts() -> None:
    assert runner.counts_of(options("good=3"), ("quiet", "good", "bad")) == {"quiet": 1, "good": 3, "bad": 1}
    assert runner.counts_of(options("good=3", scenario=["good"]), ("quiet", "good", "bad")) == {"good": 3}


@pytest.mark.parametrize("text", ["good", "good=", "good=x", "best=3", "quiet=2"])
def test_counts_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"--runs-of {text}: give one of good, bad"):
        runner.counts_of(options(text, scenario=["good", "bad"]), ("quiet", "good", "bad"))


def measured(_place: t.Any, label: str, _folder: pathlib.Path, _choose: t.Any) -> str:
    """Return the label, or fail."""
    if label.startswith("ill"):
        raise OSError("nobody answers")
    if label == "long-2":
        raise KeyboardInterrupt
    return label


class Subject:
    """Measures nothing."""

    all_failures = (OSError,)

    def wait_until_well(self, place: t.Any) -> None:
        """It is."""

    def settings(self, place: t.Any) -> str:
        """None."""
        return ""

    def rows(self, keys: t.Sequence[str]) -> list[tuple[str, t.Callable[..., str]]]:
        """Each returns its label, or ends as its name says."""
        return [(key, measured) for key in keys]

    def describe(self, outcome: str) -> str:
        """The label."""
        return outcome


def test_order(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    drills = runner.Drills(t.cast(t.Any, Subject()), t.cast(t.Any, None), tmp_path, 1)
    drills.run({"quiet": 2, "bad": 1, "good": 3})
    assert drills.outcomes == ["quiet-1", "bad-1", "good-1", "quiet-2", "good-2", "good-3"]
    assert "6/6 good-3: good-3" in capsys.readouterr().out


def test_failures_and_a_stop_by_hand_keep_what_was_measured(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    drills = runner.Drills(t.cast(t.Any, Subject()), t.cast(t.Any, None), tmp_path, 1)
    drills.run({"ill": 1, "long": 2, "good": 2})
    assert drills.outcomes == ["long-1", "good-1"]
    assert drills.problems == ["ill-1: nobody answers", "stopped after 3 of 5 runs"]
    assert "1/5 ill-1: FAILED: nobody answers" in capsys.readouterr().out
