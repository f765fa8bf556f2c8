# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the drills of PostgreSQL: what counts as lost and as a second writer, when a cluster is well, and when a target is met."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import typing as t

import psycopg2
import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

# pylint: disable=wrong-import-position
from drills.lab import CUT, ROOT  # noqa: E402
from drills.postgres import lab, measurement, report, scenarios, topology  # noqa: E402
from drills.postgres.loopback import PROFILES  # noqa: E402
from drills.postgres.loopback import SETTINGS as LOOPBACK_SETTINGS  # noqa: E402
from drills.postgres.measurement import Outcome  # noqa: E402
from drills.postgres.scenarios import SCENARIOS, Scenario  # noqa: E402
from drills.postgres.topology import Cluster, Member, Opinion, Settings, State, View  # noqa: E402
from fixtures.client import counting, postgres_writer  # noqa: E402
from fixtures.client.postgres_writer import Access, Attempt, Observation  # noqa: E402

PASSWORD = "a word that must not be seen"


def acknowledged(number: int, at: float, timeline: int = 1, client: str = "application") -> Attempt:
    """A row that was acknowledged a millisecond after it was sent."""
    return Attempt(client, number, at - 0.001, at, timeline=timeline)


def failed(number: int, at: float, kind: str = "closed", client: str = "application") -> Attempt:
    """A row that was not."""
    return Attempt(client, number, at - 1, at, kind, "as it was told")


@pytest.mark.parametrize(
    ("entries", "count", "span"),
    [
        ([], 0, 0.0),
        ([acknowledged(1, 1.0), acknowledged(2, 2.0), acknowledged(3, 3.0, 2)], 0, 0.0),
        ([acknowledged(1, 1.0), acknowledged(2, 3.0, 2), acknowledged(3, 2.999, 1)], 0, 0.0),
        ([acknowledged(1, 1.0), acknowledged(2, 3.0, 2), Attempt("sticky", 3, 2.5, 9.0, timeline=1)], 0, 0.0),
        ([acknowledged(1, 3.0, 2), acknowledged(2, 4.0, 1), acknowledged(3, 5.5, 1)], 2, 1.501),
        ([acknowledged(1, 3.0, 3), acknowledged(2, 4.0, 1), acknowledged(3, 5.0, 2)], 2, 1.001),
        ([Observation("a", 1.0, 1.1, 1), Observation("b", 1.0, 1.1, 0), Observation("b", 2.0, 2.1, 2), Observation("a", 2.2, 2.3, 0)], 0, 0.0),
        ([Observation("b", 2.0, 2.1, 2), Observation("a", 2.2, 2.3, 1), Observation("a", 3.0, 3.1, 0)], 1, 0.1),
    ],
    ids=["nothing", "one after the other", "sent before", "on its way meanwhile", "two at once", "three timelines", "replaced", "two say it"],
)
def test_second_writers(entries: list[t.Any], count: int, span: float) -> None:
    """An older timeline that answers what was sent when a newer one had answered already; not what was on its way."""
    found = postgres_writer.second_writers(entries)
    assert (found["count"], found["span_seconds"]) == (count, pytest.approx(span))


def test_verdict() -> None:
    """Lost rows of both clients, those of a second writer, the gap of the application alone; a failed row is none of them, present or not."""
    attempts = [acknowledged(number, float(number)) for number in range(1, 5)]
    attempts += [failed(5, 7.0), acknowledged(6, 7.5, 2)]
    attempts += [acknowledged(1, 2.0, 1, "sticky"), acknowledged(2, 9.0, 1, "sticky"), failed(3, 20.0, client="sticky")]
    observations = [Observation("b", 7.0, 7.1, 2), Observation("a", 8.0, 8.5, 1)]
    found = postgres_writer.verdict(attempts, {"application": {1, 2, 4, 5, 6}, "sticky": {1}}, observations)
    assert (found["acknowledged"], found["failed"], found["lost"], found["gap_seconds"], found["lost_span_seconds"]) == (7, 2, 2, 3.5, 6.0)
    assert (found["second_writer_rows"], found["second_primary_seconds"], found["timelines"]) == (1, 0.5, [1, 2])
    assert found["clients"]["application"]["lost_numbers"] == [3] and found["clients"]["application"]["stored_unacknowledged"] == 1
    whole = postgres_writer.verdict(attempts, {"application": {1, 2, 3, 4, 6}, "sticky": {1, 2}}, [])
    assert (whole["lost"], whole["second_writer_rows"], whole["second_primary_seconds"]) == (0, 1, 0.0)


def test_log_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    """Also one whose last line was cut off."""
    path = tmp_path / "log"
    attempts = [acknowledged(1, 1.5), failed(2, 4.0), acknowledged(3, 5.0, 2)]
    with path.open("w") as stream:
        log: counting.Log[Attempt] = counting.Log(stream)
        for attempt in attempts:
            log.add(attempt)
            assert len(path.read_text().splitlines()) == attempt.number, "a line was not written out at once"
    path.write_text(path.read_text() + '{"client": "appl')
    assert counting.read_log(path, Attempt) == attempts


SEVERAL = """connection to server at "10.0.0.1", port 5432 failed: timeout expired
connection to server at "10.0.0.2", port 5432 failed: session is read-only
"""


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (SEVERAL, "no_primary"),
        ("FATAL:  the database system is starting up", "starting"),
        ("connection failed: timeout expired", "connect_timeout"),
        ('FATAL:  password authentication failed for user "app"', "login"),
        ("Connection refused", "connect"),
    ],
)
def test_kinds_of_failures_to_connect(message: str, kind: str) -> None:
    """The sentence that says most gives the kind."""
    assert postgres_writer.connect_failure(psycopg2.OperationalError(message)) == kind


MEMBERS = tuple(Member(f"data{number}", f"10.0.0.{number}", 5432, f"https://10.0.0.{number}:8008", f"https://10.0.0.{number}:2379") for number in (1, 2, 3))
ROLES = {"data1": ("leader", "running"), "data2": ("sync_standby", "running"), "data3": ("replica", "streaming")}


def well() -> View:
    """A cluster with nothing wrong."""
    opinions = tuple(Opinion(member.name, ROLES, True) for member in MEMBERS)
    return View(opinions, tuple(State(member.name, member.name != "data1", 10**6) for member in MEMBERS))


def thinking(synchronous: bool = True, **roles: tuple[str, str] | None) -> View:
    """The view with a third Patroni that thinks something else."""
    view = well()
    known = {name: role for name, role in {**ROLES, **roles}.items() if role}
    return dataclasses.replace(view, opinions=(*view.opinions[:2], Opinion("data3", known, synchronous)))


def changed(number: int, **given: t.Any) -> View:
    """The view with one server that says something else."""
    states = list(well().states)
    states[number] = dataclasses.replace(states[number], **given)
    return dataclasses.replace(well(), states=tuple(states))


@pytest.mark.parametrize("view", [well(), thinking(synchronous=False, data2=("replica", "running")), thinking(data2=("quorum_standby", "streaming"))])
def test_well_cluster_has_no_problem(view: View) -> None:
    """One leader, standbys in step, one of them synchronous if that is asked for."""
    assert not topology.problems(view, 3)


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        (dataclasses.replace(well(), silent=("data2 does not answer (etcd): timeout",)), "data2 does not answer (etcd)"),
        (thinking(data1=("replica", "running")), "same single leader"),
        (thinking(data1=("replica", "running"), data3=("leader", "running")), "same single leader"),
        (thinking(data2=("replica", "running")), "data3 knows no synchronous standby"),
        (thinking(data3=None), "data3 knows 2 members"),
        (thinking(data3=("replica", "starting")), "data3 says of data3: replica, starting"),
        (thinking(data1=("leader", "streaming")), "data3 says of data1: leader, streaming"),
        (changed(0, standby=True), "data1 should be the primary"),
        (changed(2, standby=False), "data3 is a primary and should be a standby"),
        (changed(1, position=10**6 - 70000), "data2 is 70000 bytes behind"),
    ],
)
def test_each_problem_is_named(view: View, problem: str) -> None:
    """What is wrong is told, and nothing else is."""
    found = topology.problems(view, 3)
    assert len(found) == 1 and problem in found[0], found


def outcome(key: str, gap: float = 1.0, after: str = "data1", **judged: t.Any) -> Outcome:
    """What a run found."""
    clients = {"application": {"failed_by_kind": {"closed": 2}}, "sticky": {"failed_by_kind": {"connect": 40}}}
    usual = {"acknowledged": 1000, "lost": 0, "second_writer_rows": 0, "second_primary_seconds": 0.4, "clients": clients}
    return Outcome(key, "data1", after, 3.2, 5.0, {**usual, "gap_seconds": gap, **judged})


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (outcome("planned", gap=3.0, after="data2"), ""),
        (outcome("planned", gap=3.01), "planned: gap at most 3 s, but 3.01 s"),
        (outcome("kill", gap=5.1), "kill: gap at most 5 s, but 5.10 s"),
        (outcome("kill", after="data2"), "kill: the leader stays, but 1 run or more with another one"),
        (outcome("host", gap=24.9, after="data2"), ""),
        (outcome("host", gap=25.1), "host: gap at most 25 s, but 25.10 s"),
        (outcome("stop", gap=60.0, lost=1), "stop: nothing lost, but 1 lost"),
        (outcome("stop", gap=60.0, second_primary_seconds=9.0, after="data2"), ""),
        (outcome("partition", second_writer_rows=7), "partition: one writer, but 7 rows taken by a second one"),
        (outcome("voter", gap=2.1), "voter: gap at most 2 s, but 2.10 s"),
        (outcome("quorum", after="data3"), "quorum: the leader stays"),
    ],
)
def test_targets(run: Outcome, problem: str) -> None:
    """Each limit holds for the worst run of its row, also beside good ones."""
    good = outcome(run.scenario, gap=0.1)
    found = report.missed([good, run, good])
    assert (problem in found[0] if problem else found == []) and len(found) == bool(problem), found


def test_every_scenario_loses_nothing_and_has_one_writer() -> None:
    """No scenario is exempt, and a busy machine only makes gaps longer."""
    for scenario in SCENARIOS:
        found = report.missed([outcome(scenario.key, lost=1, second_writer_rows=1)], slack=99)
        assert [problem.split(": ")[1].split(",")[0] for problem in found] == ["nothing lost", "one writer"], scenario.key
    assert report.missed([outcome("host", gap=49.9)], slack=2) == []


SETTINGS = Settings("17.6", "4.0.6", 20, 5, 5, 30, "on", True, True)


def test_page() -> None:
    """A line for each scenario that was run, and what is missed in bold."""
    runs = [outcome("planned", gap=1.1), outcome("planned", gap=3.5), outcome("host", gap=20.0, lost=7)]
    text = report.page(runs, SETTINGS, "three hosts", 200, Access((), "ledger", "ledger"))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 3
    assert "| 1.10 / 2.30 / 3.50 | 2000 | 0 | 0 | 0.4 | closed 4 |" in lines[1] and "gap at most 3 s: **missed** (3.50 s); nothing lost: met" in lines[1]
    assert "nothing lost: **missed** (7 lost)" in lines[2]
    assert "PostgreSQL 17.6, Patroni 4.0.6, TLS everywhere,\n`ttl` 20" in text and "RUNS=2" in text and "Not judged" not in text
    saved = json.loads(json.dumps(report.as_json(runs, SETTINGS, 7, ["stop-3: not well"])))
    assert saved["seed"] == 7 and saved["problems"] == ["stop-3: not well"] and len(saved["missed"]) == 2 and len(saved["outcomes"]) == 3
    proxied = Access((), "ledger", "ledger", through=("name", "10.0.0.9", 5000))
    assert "Not judged: stop-3: not well." in report.page(runs, SETTINGS, "three hosts", 200, proxied, ["stop-3: not well"])
    assert "7 of 1000 acknowledged rows lost" in report.describe(runs[2])


FACTS = {
    "image": "debian13",
    "cluster": "ledger",
    "members": [{"name": member.name, "address": member.address} for member in MEMBERS],
    "port": 5432,
    "api_port": "8008",
    "database": "ledger",
    "user": "ledger",
    "password": PASSWORD,
    "pki": "/pki",
    "proxy": "10.0.0.9",
}


def test_facts_become_a_cluster() -> None:
    """The application's user writes, and no password shows, neither in words nor in a command line."""
    found = lab.found_in(FACTS)
    assert (found.scope, found.cluster.members, found.cluster.etcd_pair) == ("ledger", MEMBERS, ("/pki/data1.crt", "/pki/data1.key"))
    assert PASSWORD not in repr(found)
    access = found.cluster.application
    argv = measurement.command("run", access, "name", pathlib.Path("logs"))
    assert PASSWORD not in " ".join(argv) and measurement.environment(access)[postgres_writer.PASSWORD] == PASSWORD
    options = postgres_writer.arguments().parse_args(argv[2:])
    assert (options.host, options.ca_file, options.timeout) == ([(f"10.0.0.{number}", 5432) for number in (1, 2, 3)], "/pki/ca.crt", 2)
    assert access.options(access.hosts, "read-write")["sslmode"] == "verify-full" and access.application()["host"] == "10.0.0.1,10.0.0.2,10.0.0.3"
    proxied = dataclasses.replace(access, through=("postgres.lab.test", found.proxy, 5000))
    options = postgres_writer.arguments().parse_args(measurement.command("run", proxied, "name", pathlib.Path("logs"))[2:])
    assert options.through == proxied.through
    assert {"host": "postgres.lab.test", "hostaddr": "10.0.0.9", "port": "5000"}.items() <= proxied.application().items()


class Noting:
    """A place that notes what is done to it."""

    cluster = Cluster(MEMBERS, Access((), "ledger", "ledger"), "/pki/ca.crt")

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> t.Callable[..., None]:
        return lambda *members: self.done.append((name, *(member.name for member in members)))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_what_is_hurt_is_healed(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault ends, also if the drill is interrupted meanwhile."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    healers = {"kill_host": "start_host", "halt": "resume", "cut": "mend", "kill_voter": "start_voter"}
    for sleep in (lambda _seconds: None, interrupt):
        monkeypatch.setattr(scenarios.time, "sleep", sleep)
        place = Noting()
        try:
            scenario.act(t.cast(scenarios.Place, place), MEMBERS[1])
        except KeyboardInterrupt:
            pass
        hurt = [(healers[name], *members) for name, *members in place.done if name in healers]
        assert [done for done in place.done if done[0] in healers.values()] == hurt
        assert len(place.done) == 2 * len(hurt) or scenario.key in ("planned", "kill")
        if scenario.key == "quorum":
            assert [members for _healer, *members in hurt] == [["data2"], ["data1"]], "two of three, the leader's own first"


def test_settings_are_those_of_the_role() -> None:
    """The members on loopback have what the role sets, and the rules of a cut name the others alone."""
    settings = yaml.safe_load((ROOT / "roles/postgres_replication/vars/main/patroni.yml").read_text())["__postgres_replication_common_settings"]
    for name, value in LOOPBACK_SETTINGS.items():
        assert value == settings[name] or name in ("synchronous_mode", "postgresql"), name
    assert next(iter(PROFILES)) == "fast" and {name: timing["ttl"] for name, timing in PROFILES.items()} == {"fast": 20, "normal": 30, "wan": 60}
    rules = CUT.format(others="10.0.0.2, 10.0.0.3")
    assert rules.count("10.0.0.2, 10.0.0.3") == 2 and "policy drop" not in rules
