# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a success, and how the figures for Prometheus come of it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import drill_metrics, page, record

START = 1_800_000_000
HELD = {"name": "The application answers", "outcome": "ok", "seen": "200"}


def options(**given: t.Any) -> dict[str, t.Any]:
    """A module's options: a drill that held, with what is given."""
    return {
        "title": "Drill", "operation": "drill", "level": "restore", "name": "ledger", "summary": "", "started": START, "finished": START + 100,
        "phases": [], "targets": {}, "measured": {}, "evidence": [HELD], "lost": None, **given,
    }


def phase(**given: t.Any) -> dict[str, t.Any]:
    """A phase that went well, with what is given."""
    return {"name": "restore", "started": START + 10, "seconds": 5.0, "outcome": "ok", **given}


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, []),
        ({"targets": {"rto_seconds": "2m"}, "measured": {"rto_seconds": 120}}, []),
        ({"targets": {"rto_seconds": 120}, "measured": {"rto_seconds": "119.5"}}, []),
        ({"targets": {"rto_seconds": "2m"}, "measured": {"rto_seconds": 121}}, ["rto_seconds is 2 min 1 s, its target is 2 min"]),
        ({"targets": {"rto_seconds": "2m"}}, ["rto_seconds has a target, and was not measured"]),
        ({"targets": {"rto_seconds": "2m"}, "measured": {"rto_seconds": None}}, ["rto_seconds has a target, and was not measured"]),
        ({"phases": [phase(outcome="failed")]}, ["the phase restore failed after 5 s"]),
        ({"phases": [phase(outcome="skipped")]}, []),
        ({"evidence": [HELD, {"name": "Rows", "outcome": "failed", "seen": "3 of 4"}]}, ["Rows: 3 of 4"]),
        ({"evidence": [{"name": "Rows", "outcome": "failed", "seen": ""}]}, ["Rows: it did not hold"]),
        ({"evidence": []}, ["nothing was checked"]),
    ],
)
def test_problems(given: dict[str, t.Any], problems: list[str]) -> None:
    """What was promised has to be seen."""
    run = record.read(options(**given))
    assert run.problems == problems
    assert run.success == (not problems)
    assert run.report()["status"] == ("failed" if problems else "ok")
    assert run.line()["success"] == run.report()["success"] == run.success


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"started": "yesterday"}, "could not read started: 'yesterday' is no moment; give a Unix time"),
        ({"finished": START - 1}, "before it started"),
        ({"finished": "nan"}, "is no moment"),
        ({"phases": [phase(started=START - 1)]}, "the phase restore started 1799999999, which is before the run"),
        ({"phases": [phase(seconds=-1.0)]}, "took -1.0 s"),
        ({"targets": {"rto_seconds": "soon"}}, "could not read the target of rto_seconds"),
        ({"measured": {"status": 1}}, "measured has the key status"),
        ({"measured": {"lost": 1}}, "measured has the key lost"),
    ],
)
def test_refusals(given: dict[str, t.Any], words: str) -> None:
    """A run that cannot have been is refused."""
    with pytest.raises(InvalidInput) as caught:
        record.read(options(**given))
    assert words in str(caught.value)


def test_times_are_the_same_in_either_form() -> None:
    """A Unix time, also as text, and ISO 8601."""
    moments = [record.read(options(started=given)).started for given in (START, str(START), float(START), "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00")]
    assert len(set(moments)) == 1
    assert record.read(options(phases=[phase()])).phases[0].start == 10


def test_the_page_tells_what_failed_and_what_was_lost() -> None:
    """Each in a section of its own, with what was given escaped; nothing is loaded from elsewhere."""
    run = record.read(options(evidence=[{"name": "<b>", "outcome": "failed", "seen": "5 < 6"}], lost=["<i> 3 rows"]))
    shown = page.render(run, [run.line()])
    assert "Why it failed" in shown and "&lt;b&gt;: 5 &lt; 6" in shown and "&lt;i&gt; 3 rows" in shown
    assert "<b>:" not in shown and "<i> 3" not in shown
    assert "<script" not in shown and "http" not in shown
    assert "Runs so far" not in shown
    assert "It was not established" in page.render(record.read(options()), [])
    assert "<p>Nothing.</p>" in page.render(record.read(options(lost=[])), [])
    assert "Why it failed" not in page.render(record.read(options()), [])


def test_the_picture_shows_runs_of_the_same_kind() -> None:
    """A bar each, red above the target; a cross where a run failed; others are left out."""
    targets = {"rto_seconds": 100}
    runs = [record.read(options(finished=START + 100 + n, targets=targets, measured={"rto_seconds": n * 60})) for n in range(3)]
    unmeasured = record.read(options(targets=targets))
    other = record.read(options(level="verify", targets=targets, measured={"rto_seconds": 5}))
    shown = page.trend(runs[0], [run.line() for run in (*runs, unmeasured, other)])
    assert shown.count("<rect") == 4
    assert shown.count("✕") == 2  # 120 s of 100 s, and the one without a figure
    assert "2 of the last 4 runs succeeded" in shown
    assert shown.count('fill="var(--bad)"><title>') == 1 and "2 min" in shown and "not measured, failed" in shown


def figures(state: dict[str, t.Any]) -> dict[str, float]:
    """The samples of the text by their names and labels."""
    lines = [line for line in drill_metrics.render(state).splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0].removeprefix("mainstay_drill_"): float(line.rsplit(" ", 1)[1]) for line in lines}


LABELS = '{name="ledger",level="restore"}'


def test_a_failed_drill_leaves_the_last_success_standing() -> None:
    """What was measured is told by the name of the figure."""
    good = record.read(options(targets={"rto_seconds": 100}, measured={"rto_seconds": 42.5}))
    state = drill_metrics.learn({}, good, 3600)
    found = figures(state)
    assert found[f"success{LABELS}"] == 1 and found[f"last_success_timestamp_seconds{LABELS}"] == START + 100 and found[f"seconds{LABELS}"] == 100
    assert found['measured{name="ledger",level="restore",figure="rto_seconds"}'] == 42.5
    assert found['target{name="ledger",level="restore",figure="rto_seconds"}'] == 100
    assert found[f"late_after_seconds{LABELS}"] == 3600 and found[f"since_timestamp_seconds{LABELS}"] == START
    failed = record.read(options(started=START + 500, finished=START + 600, evidence=[]))
    found = figures(drill_metrics.learn(state, failed, None))
    assert found[f"success{LABELS}"] == 0 and found[f"last_success_timestamp_seconds{LABELS}"] == START + 100
    assert found[f"last_run_timestamp_seconds{LABELS}"] == START + 600 and found[f"late_after_seconds{LABELS}"] == 3600


def test_an_older_run_changes_nothing() -> None:
    """A report that comes late does not hide the newer one."""
    new = drill_metrics.learn({}, record.read(options(started=START + 500, finished=START + 600)), None)
    assert drill_metrics.learn(new, record.read(options(evidence=[])), None) == new


def test_an_announced_drill_that_never_came() -> None:
    """There is a time of 0 and one since when it is expected; saying so again changes nothing."""
    state = drill_metrics.expect({}, 'led"ger', "site", 60, 5.0)
    assert figures(state) == {
        'last_success_timestamp_seconds{name="led\\"ger",level="site"}': 0, 'last_run_timestamp_seconds{name="led\\"ger",level="site"}': 0,
        'since_timestamp_seconds{name="led\\"ger",level="site"}': 5, 'late_after_seconds{name="led\\"ger",level="site"}': 60,
    }
    assert drill_metrics.expect(state, 'led"ger', "site", 60, 9.0) == state
