# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the drills of releases: what clients counted, whose errors they were, and when a target is met."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
import tarfile
import time

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

# pylint: disable=wrong-import-position
from drills.deploy import lab, measurement, release, report, scenarios, traffic  # noqa: E402
from drills.deploy.measurement import Brought, Outcome  # noqa: E402
from drills.deploy.scenarios import SCENARIOS, Deed, Scenario  # noqa: E402
from drills.deploy.traffic import Answer, Bulk, Counted  # noqa: E402
from drills.failure import DrillFailed  # noqa: E402
from drills.lab import ROOT  # noqa: E402

HEY = """
Summary:
  Total:	2.0 secs

Latency distribution:
  10% in 0.0010 secs
  99% in 0.0214 secs

Details (average, fastest, slowest):
  DNS+dialup:	0.0007 secs, 0.0003 secs, 0.0217 secs

Status code distribution:
  [200]	180 responses
  [500]	7 responses

Error distribution:
  [2]	Get "https://10.0.0.10:443/entries": dial tcp 10.0.0.10:443: connect: connection refused
  [1]	Get "https://10.0.0.10:443/entries": dial tcp 10.0.0.10:443: connect: connection refused
"""


def test_what_hey_prints_is_read() -> None:
    """Answers with an error and requests without an answer are failures."""
    assert traffic.read_bulk(HEY) == Bulk(190, {"status_500": 7, "hey: connection refused": 3}, 0.0214)


def test_a_hey_that_counted_nothing_is_no_good_run() -> None:
    """Silence is not success."""
    with pytest.raises(DrillFailed, match="counted nothing"):
        traffic.read_bulk("Summary:\n")


def answers(*which: tuple[float, str | None, str | None]) -> tuple[Answer, ...]:
    """Answers that took 10 ms: when they were sent, the kind of a failure, and who answered."""
    return tuple(Answer(sent, 0.01, kind, who) for sent, kind, who in which)


MIXED = answers((0, None, "a"), (10, None, "a"), (11, "status_500", "b"), (12, None, "a"), (13, "status_500", "b"), (14, None, "a"), (15, "timeout", None))


def test_what_users_saw_of_a_release() -> None:
    """Its first answer, its last, its share between them, and how long the other one answered."""
    assert measurement.seen_of("b", MIXED, 9.0) == Brought(2, 2, 2.01, 5.01, 2.0, 0.6667)


def test_a_release_that_nobody_saw() -> None:
    """It has no first answer."""
    assert measurement.seen_of("c", MIXED, 9.0) == Brought(0, 0, None, 5.01, 0.0, 0.0)


@pytest.mark.parametrize(
    ("bulk", "who", "expected"),
    [
        (Bulk(10, {}, 0.1), "b", 1),
        (Bulk(10, {"status_500": 4}, 0.1), "b", 1),
        (Bulk(10, {"status_500": 4, "status_502": 2}, 0.1), "b", 3),
        (Bulk(10, {"status_500": 4}, 0.1), "a", 7),
        (Bulk(10, {"status_500": 4}, 0.1), "", 7),
    ],
    ids=["none of hey", "its own of hey too", "others of hey", "another release", "no release"],
)
def test_whose_errors(bulk: Bulk, who: str, expected: int) -> None:
    """An error is a release's own only if that release said so."""
    assert measurement.elsewhere(Counted(MIXED, bulk), who) == expected


def made(key: str, **given: object) -> Outcome:
    """A run in which all is well, but for what is given."""
    good = Outcome(key, 30.0, 6000, 0, 0, {}, 0.01, 0.01, None, ())
    return dataclasses.replace(good, **given)


GONE = Brought(20, 20, 5.0, 60.0, 12.0, 1.0)


@pytest.mark.parametrize(
    ("outcome", "missed"),
    [
        (made("good"), []),
        (made("good", failed=1), ["good: none failed, but 1 failed"]),
        (made("good", p99=0.021), ["good: p99 at most 2 times that of quiet time, but 2.1 times"]),
        (made("good", problems=("it hung",)), ["good: ends as it must, but it hung"]),
        (made("crash", brought=Brought(0, 0, None, 60.0, 0.0, 0.0)), []),
        (made("crash", brought=Brought(1, 0, 5.0, 60.0, 0.0, 0.1)), ["crash: no user sees it, but 1 answers"]),
        (made("hidden", failed=20, brought=GONE), []),
        (made("hidden", failed=20, failed_elsewhere=1, brought=GONE), ["hidden: errors from the new release alone, but 1 others"]),
        (made("hidden", brought=dataclasses.replace(GONE, seconds=31.0)), ["hidden: gone after 30 s, but 31.0 s"]),
        (made("idle", failed=2), ["idle: none failed, but 2 failed"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else value.scenario,
)
def test_targets(outcome: Outcome, missed: list[str]) -> None:
    """Each is missed by what it is about, and by nothing else."""
    assert report.missed([made("quiet"), outcome]) == missed


def test_slack_makes_times_longer_and_no_error_good() -> None:
    """On a busy machine an error is still one."""
    assert report.missed([made("quiet"), made("good", p99=0.05)], slack=3) == []
    assert report.missed([made("quiet"), made("good", failed=1)], slack=3) != []


def test_the_page_has_every_scenario_with_runs_and_no_other() -> None:
    """A table of what was measured."""
    page = report.page([made("quiet"), made("good", brought=Brought(9, 0, 5.0, 5.5, 20.0, 0.9)), made("hidden", failed=20, brought=GONE)], "hosts", ["x: y"])
    assert "first after 5.0 s, both for 0.50 s" in page
    assert "for 12.0 s, 100.0 % of the answers, 20 failed" in page
    assert "Not judged: x: y." in page
    assert "SIGKILL of the controller in the phase" not in page


def test_scenarios_have_names_of_their_own() -> None:
    """Each is one row."""
    assert len({scenario.key for scenario in SCENARIOS}) == len(SCENARIOS) == len({scenario.name for scenario in SCENARIOS})


def playbook_names(*paths: str) -> str:
    """What a deployment prints of its plays and tasks, as the default callback does."""
    lines = []
    for path in paths:
        for entry in yaml.safe_load((ROOT / path).read_text(encoding="utf-8")):
            lines.append(f"PLAY [{entry['name']}] ***" if "hosts" in entry else f"TASK [mainstay.ops.app_host : {entry['name']}] ***")
    return "\n".join(lines)


def test_the_phases_are_those_of_a_deployment() -> None:
    """A phase that a deployment has no more, or calls otherwise, would never be killed."""
    printed = playbook_names("playbooks/deploy.yml", *(f"roles/app_host/tasks/{name}.yml" for name in ("start", "soak", "canary_step", "switch", "verify")))
    for phase, mark in scenarios.PHASES.items():
        assert re.search(mark, printed, re.MULTILINE), phase


@pytest.mark.parametrize("name", [*release.GOOD, *release.FAULTS])
def test_archives(tmp_path: pathlib.Path, name: str) -> None:
    """Each release says its name and its fault."""
    path = release.build(name, tmp_path)
    with tarfile.open(path) as archive:
        assert archive.extractfile("RELEASE").read().decode() == f"{name}\n"
        assert archive.extractfile("FAULT").read().decode() == f"{release.FAULTS.get(name, '')}\n"
    again = release.build(name, tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()
    assert path.name == f"{yaml.safe_load((ROOT / lab.VARS).read_text(encoding='utf-8'))['app_host_name']}-{name}.tar.gz"


@pytest.mark.parametrize(("status", "good", "problems"), [(0, True, 0), (2, True, 1), (2, False, 0), (0, False, 1)])
def test_how_a_run_must_end(tmp_path: pathlib.Path, status: int, good: bool, problems: int) -> None:
    """A bad release that ends well is as wrong as a good one that does not."""
    assert len(lab.Ended(status, 1.0, "", tmp_path / "x.log").must_be(good)) == problems


def test_an_outcome_has_what_the_clients_counted() -> None:
    """Of both, and of the release that was brought."""
    scenario = Scenario("x", "x", lambda place, choose: Deed(1.0, 9.0))
    found = measurement.outcome(scenario, Deed(3.0, 9.0, ("it hung",), "b"), Counted(MIXED, Bulk(10, {"status_500": 4}, 0.2)))
    assert (found.sent, found.failed, found.failed_elsewhere, found.bulk_p99) == (17, 7, 1, 0.2)
    assert found.failed_by_kind == {"status_500": 6, "timeout": 1}
    assert found.brought == measurement.seen_of("b", MIXED, 9.0)
    assert found.problems == ("it hung",)


def started(folder: pathlib.Path, script: str) -> lab.Playbook:
    """Start a program that prints what a deployment would."""
    return lab.Playbook([sys.executable, "-u", "-c", script], {}, folder / "run.log")


def runs(process: int) -> bool:
    """Whether a process has not ended."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_playbook_is_killed_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    """At its mark, and not before."""
    script = "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print('PLAY [(1/2) FETCH: x]', child.pid); child.wait()"
    playbook = started(tmp_path, script)
    playbook.wait_for(scenarios.PHASES["fetch"])
    child = int((tmp_path / "run.log").read_text(encoding="utf-8").split()[-1])
    assert playbook.kill()
    deadline = time.monotonic() + 20
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(child)
    assert not playbook.kill()


def test_a_mark_that_never_comes_is_told(tmp_path: pathlib.Path) -> None:
    """A run that ended cannot be killed in a phase."""
    with pytest.raises(DrillFailed, match="before it came to"):
        started(tmp_path, "print('PLAY [(1/2) FETCH: x]')").wait_for(scenarios.PHASES["record"])
