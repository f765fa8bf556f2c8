# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the drills of Redis: what counts as lost, what a gap is, when a cluster is well, and when a target is met."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

# pylint: disable=wrong-import-position
from drills import figures  # noqa: E402
from drills.lab import CUT  # noqa: E402
from drills.redis import lab, measurement, report, topology  # noqa: E402
from drills.redis.measurement import Outcome  # noqa: E402
from drills.redis.scenarios import SCENARIOS, Scenario  # noqa: E402
from drills.redis.topology import Cluster, Member, Opinion, Settings, State, View  # noqa: E402
from fixtures.client import counting, redis_writer  # noqa: E402
from fixtures.client.redis_writer import Access, Attempt  # noqa: E402
from redis import exceptions  # noqa: E402
from redis.sentinel import MasterNotFoundError  # noqa: E402

PASSWORD = "a word that must not be seen"


def acknowledged(number: int, at: float, client: str = "application", replicas: int | None = None) -> Attempt:
    """An entry that was acknowledged a millisecond after it was sent."""
    return Attempt(client, number, at - 0.001, at, replicas=replicas)


def failed(number: int, at: float, kind: str = "timeout", client: str = "application") -> Attempt:
    """An entry that was not."""
    return Attempt(client, number, at - 1, at, kind, "as it was told")


@pytest.mark.parametrize(
    ("attempts", "gap", "began"),
    [
        ([], 0.0, 0.0),
        ([acknowledged(1, 10.0), acknowledged(2, 10.5), acknowledged(3, 13.0), acknowledged(4, 13.1)], 2.5, 10.5),
        ([acknowledged(1, 10.0), failed(2, 11.5), failed(3, 13.0)], 3.0, 10.0),
        ([failed(1, 11.0), acknowledged(2, 12.0)], 2.0, 10.0),
    ],
    ids=["nothing sent", "between two", "none until the end", "none from the start"],
)
def test_gap(attempts: list[Attempt], gap: float, began: float) -> None:
    """The longest interval without an acknowledgement, the ends of the run counted."""
    assert counting.longest_gap(attempts) == (pytest.approx(gap), pytest.approx(began))


def test_lost_is_what_was_acknowledged_and_is_absent() -> None:
    """Neither a failed write that is absent nor one that is there is a loss."""
    attempts = [
        acknowledged(1, 1.0, replicas=1),
        acknowledged(2, 2.0, replicas=1),
        acknowledged(3, 2.5, replicas=0),
        failed(4, 3.0),
        failed(5, 4.0),
        acknowledged(6, 5.0, replicas=2),
    ]
    found = redis_writer.losses(attempts, {1, 5, 6})
    assert (found["lost"], found["lost_confirmed"], found["lost_numbers"]) == (2, 1, [2, 3])
    assert (found["lost_first"], found["lost_last"], found["lost_span_seconds"]) == (2.0, 2.5, 0.5)
    assert (found["stored"], found["stored_unacknowledged"]) == (3, 1)
    whole = redis_writer.losses(attempts, {1, 2, 3, 6})
    assert (whole["lost"], whole["lost_first"], whole["lost_span_seconds"]) == (0, None, 0.0)


def test_verdict_sums_the_clients_up_and_takes_the_gap_of_the_application() -> None:
    """A sticky client that is refused for a long time says nothing about the application."""
    attempts = [acknowledged(number, float(number)) for number in range(1, 6)]
    attempts += [acknowledged(1, 1.0, "sticky", 1), acknowledged(2, 2.0, "sticky", 1), failed(3, 9.0, "readonly", "sticky")]
    found = redis_writer.verdict(attempts, {"application": {1, 2, 3, 4}, "sticky": {1}})
    assert (found["acknowledged"], found["confirmed"], found["failed"], found["lost"], found["lost_confirmed"]) == (7, 2, 1, 2, 1)
    assert found["gap_seconds"] == 1.0 and found["lost_span_seconds"] == 3.0
    assert found["clients"]["sticky"]["failed_by_kind"] == {"readonly": 1} and found["clients"]["sticky"]["last_acknowledged"] == 2.0


def test_log_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    """Also one whose last line was cut off; any other bad line is an error."""
    path = tmp_path / "log"
    attempts = [acknowledged(1, 1.5), acknowledged(2, 2.5, replicas=0), failed(3, 4.0)]
    with path.open("w") as stream:
        log: counting.Log[Attempt] = counting.Log(stream)
        for attempt in attempts:
            log.add(attempt)
            assert len(path.read_text().splitlines()) == attempt.number, "a line was not written out at once"
    assert counting.read_log(path, Attempt) == attempts
    path.write_text(path.read_text() + '{"client": "appl')
    assert counting.read_log(path, Attempt) == attempts
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ValueError, match="line 4 is not an attempt"):
        counting.read_log(path, Attempt)


def demoted() -> Exception:
    """What the library makes of READONLY."""
    try:
        try:
            raise exceptions.ReadOnlyError("You can't write against a read only replica.")
        except exceptions.ReadOnlyError:
            raise exceptions.ConnectionError("The previous master is now a slave")  # noqa: B904  pylint: disable=raise-missing-from
    except exceptions.ConnectionError as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MasterNotFoundError("No master found"), "no_master"),
        (exceptions.TimeoutError("Timeout reading from socket"), "timeout"),
        (exceptions.ReadOnlyError("You can't write"), "readonly"),
        (demoted(), "readonly"),
        (exceptions.BusyLoadingError("Redis is loading"), "loading"),
        (exceptions.AuthenticationError("invalid username-password pair"), "login"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "noreplicas"),
        (exceptions.ResponseError("unknown command"), "refused"),
        (exceptions.ConnectionError("Connection refused"), "connection"),
        (ConnectionResetError(), "connection"),
    ],
)
def test_kinds_of_errors(error: Exception, kind: str) -> None:
    """Each has one name."""
    assert redis_writer.kind_of(error) == kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", ("a", 26379)), ("10.0.0.1:5000", ("10.0.0.1", 5000)), ("[fd00::1]:5000", ("fd00::1", 5000)), ("[fd00::a]", ("fd00::a", 26379))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    """A host, with its port or without."""
    assert counting.address(text, 26379) == expected


MEMBERS = tuple(Member(f"data{number}", f"10.0.0.{number}", 6379, 26379) for number in (1, 2, 3))
ADDRESSES = [(member.address, member.port) for member in MEMBERS]
GOOD_QUORUM = "OK 3 usable Sentinels. Quorum and failover authorization can be reached"


def opinion(name: str, **given: t.Any) -> Opinion:
    """What a Sentinel thinks that has no doubts."""
    usual = {"master": ADDRESSES[0], "flags": "master", "others": 2, "replicas": (("slave", "ok"), ("slave", "ok")), "quorum": GOOD_QUORUM}
    return Opinion(name=name, **{**usual, **given})


def well() -> View:
    """A cluster with nothing wrong."""
    opinions = tuple(opinion(member.name) for member in MEMBERS)
    master = State("data1", ADDRESSES[0], "master", None, "", (("online", 0), ("online", 1)))
    replicas = [State(member.name, (member.address, member.port), "slave", ADDRESSES[0], "up", ()) for member in MEMBERS[1:]]
    return View(opinions, (master, *replicas))


def changed(view: View, position: int, **given: t.Any) -> View:
    """The view with one server that says something else."""
    states = list(view.states)
    states[position] = dataclasses.replace(states[position], **given)
    return dataclasses.replace(view, states=tuple(states))


def thinking(view: View, **given: t.Any) -> View:
    """The view with a third Sentinel that thinks something else."""
    return dataclasses.replace(view, opinions=(*view.opinions[:2], opinion("data3", **given)))


def test_well_cluster_has_no_problem() -> None:
    """One master, two replicas in step, three Sentinels of one mind."""
    assert not topology.problems(well(), 3)


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        (dataclasses.replace(well(), silent=("data2 does not answer: timeout",)), "data2 does not answer"),
        (thinking(well(), master=ADDRESSES[1]), "the Sentinels name 2 masters"),
        (thinking(well(), flags="master,o_down"), "data3 says of the master: master,o_down"),
        (thinking(well(), others=1), "data3 knows 1 others"),
        (thinking(well(), replicas=(("slave", "ok"),)), "data3 knows 1 replicas"),
        (thinking(well(), replicas=(("slave", "ok"), ("slave,s_down", "ok"))), "data3 says of a replica: slave,s_down, link ok"),
        (thinking(well(), replicas=(("slave", "ok"), ("slave", "err"))), "link err"),
        (thinking(well(), quorum="NOQUORUM 1 usable Sentinels"), "data3 has no quorum"),
        (changed(well(), 0, role="slave"), "data1 should be the master and is a slave"),
        (changed(well(), 0, replicas=(("online", 0), ("online", 2))), "data1 has 1 replicas in step"),
        (changed(well(), 0, replicas=(("online", 0), ("wait_bgsave", 0))), "data1 has 1 replicas in step"),
        (changed(well(), 1, role="master"), "data2 should be a replica and is a master"),
        (changed(well(), 1, link="down"), "data2 follows"),
        (changed(well(), 2, master=ADDRESSES[1]), "data3 follows ('10.0.0.2', 6379)"),
    ],
)
def test_each_problem_is_named(view: View, problem: str) -> None:
    """What is wrong is told, and nothing else is."""
    found = topology.problems(view, 3)
    assert len([sentence for sentence in found if problem in sentence]) == 1, found


def outcome(key: str, waited: bool = False, gap: float = 1.0, **judged: t.Any) -> Outcome:
    """What a run found."""
    clients = {"application": {"failed_by_kind": {"timeout": 2}}, "sticky": {"failed_by_kind": {"timeout": 1, "readonly": 40}}}
    usual = {"acknowledged": 1000, "confirmed": 900 if waited else 0, "lost": 0, "lost_confirmed": 0, "lost_span_seconds": 0.0, "clients": clients}
    return Outcome(key, waited, "data1", "data2", 3.2, 5.0, {**usual, "gap_seconds": gap, **judged})


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (outcome("planned", gap=2.0), ""),
        (outcome("planned", gap=2.01), "planned: gap at most 2 s, but 2.01 s"),
        (outcome("planned", lost=1), "planned: nothing lost, but 1 lost"),
        (outcome("kill", gap=7.9, lost=12), ""),
        (outcome("kill", gap=8.1), "kill: gap at most 8 s, but 8.10 s"),
        (outcome("kill-for-good", gap=8.1), "kill-for-good: gap at most 8 s"),
        (outcome("kill-for-good", waited=True, lost=5, lost_confirmed=1), "kill-for-good with WAIT: nothing lost that was confirmed, but 1 lost"),
        (outcome("host", gap=8.1), "host: gap at most 8 s"),
        (outcome("stop", gap=9, lost=3, lost_span_seconds=4.0), ""),
        (outcome("stop", lost=3, lost_span_seconds=5.1), "stop: losses within 5 s, but 5.10 s"),
        (outcome("partition", lost=900, lost_span_seconds=3.9), ""),
        (outcome("partition", lost=900, lost_span_seconds=10.3), "partition: losses within 5 s, but 10.30 s"),
        (outcome("partition", waited=True, lost=900, lost_span_seconds=3.0), ""),
        (outcome("partition", waited=True, lost=9, lost_confirmed=2), "partition with WAIT: nothing lost that was confirmed, but 2 lost"),
        (outcome("plain", lost=4568, lost_span_seconds=10.0), ""),
        (outcome("plain", waited=True, lost=400, lost_confirmed=300), ""),
    ],
)
def test_targets(run: Outcome, problem: str) -> None:
    """Each limit holds for the worst run of its row, also beside good ones."""
    good = outcome(run.scenario, run.waited, gap=0.1)
    found = report.missed([good, run, good], max_lag=3)
    assert (problem in found[0] if problem else found == []) and len(found) == bool(problem), found


def test_slack() -> None:
    """A busy machine may take longer, but not lose anything."""
    assert report.missed([outcome("host", gap=15.9)], 3, slack=2) == []
    assert report.missed([outcome("host", gap=16.1)], 3, slack=2) == ["host: gap at most 16 s, but 16.10 s"]
    assert report.missed([outcome("planned", lost=1)], 3, slack=2) == ["planned: nothing lost, but 1 lost"]


def test_three() -> None:
    """Minimum, median, maximum; once if there is but one."""
    assert figures.three([3, 1, 2]) == "1 / 2 / 3"
    assert figures.three([0.5, 1.25], 2) == "0.50 / 0.88 / 1.25"
    assert figures.three([0, 0, 0]) == "0"


SETTINGS = Settings("Redis 8.0.2", "appendonly yes, appendfsync everysec", 1, 3, 5000, 60000, 2, True)


def test_page() -> None:
    """A line for each scenario that was run, without and with WAIT, and what is missed in bold."""
    runs = [outcome("planned", gap=1.1), outcome("planned", gap=3.0), outcome("plain", lost=7, lost_span_seconds=0.9)]
    runs.append(outcome("plain", waited=True, lost=6, lost_confirmed=5))
    text = report.page(runs, SETTINGS, "three hosts", 500, 1.0)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 4
    assert "| 1.10 / 2.05 / 3.00 | 2000 | 0 | 0.00 |" in lines[1] and "gap at most 2 s: **missed** (3.00 s); nothing lost: met" in lines[1]
    assert "| timeout 4 |" in lines[1] and lines[2].endswith("| timeout 2 | none |")
    assert "with `WAIT`" in lines[3] and "| 6 | 0.00 | 5 |" in lines[3]
    assert "Redis 8.0.2, TLS everywhere, `appendonly yes`, `appendfsync everysec`, `min-replicas-to-write 1`" in text and "RUNS=2" in text
    assert "Not judged: stop-3: not well." in report.page(runs, SETTINGS, "three hosts", 500, 1.0, ["stop-3: not well"]) and "Not judged" not in text
    saved = json.loads(json.dumps(report.as_json(runs, SETTINGS, 7, ["stop-3: not well"])))
    assert saved["problems"] == ["stop-3: not well"]
    assert saved["seed"] == 7 and saved["missed"] == ["planned: gap at most 2 s, but 3.00 s"] and len(saved["outcomes"]) == 4
    assert "2 of" not in report.describe(runs[0]) and "5 of 900 confirmed" in report.describe(runs[3])


FACTS = {
    "master_name": "ledger",
    "members": [{"name": member.name, "address": member.address} for member in MEMBERS],
    "port": 6379,
    "sentinel_port": "26379",
    "product": "valkey",
    "image": "debian13",
    "admin_password": PASSWORD,
    "user": "app",
    "password": PASSWORD,
    "ca_file": "/pki/ca.crt",
}


def test_facts_become_a_cluster() -> None:
    """The application's user writes, the admin looks after the servers, and no password shows."""
    found = lab.found_in(FACTS)
    assert (found.unit, found.cluster.members) == ("valkey-server.service", MEMBERS)
    assert (found.cluster.application.user, found.cluster.admin.user) == ("app", "admin")
    assert found.cluster.at("10.0.0.2", 6379) == MEMBERS[1] and found.cluster.at("10.0.0.2", 6380) is None
    assert PASSWORD not in repr(found)


def test_command_has_no_password() -> None:
    """They are in the environment alone, where only the same user and root can look."""
    access = lab.found_in(FACTS).cluster.application
    argv = measurement.command("run", access, "name", pathlib.Path("log"), [("10.0.0.1", 26379), ("fd00::1", 5000)])
    assert PASSWORD not in " ".join(argv) and argv[-6:] == ["--user", "app", "--sentinel-user", "app", "--ca-file", "/pki/ca.crt"]
    assert redis_writer.arguments().parse_args(argv[2:]).sentinel == [("10.0.0.1", 26379), ("fd00::1", 5000)]
    assert measurement.environment(access)[redis_writer.PASSWORD] == PASSWORD


class Still:
    """A place where nothing happens."""

    cluster = Cluster(MEMBERS, Access((), "main"), Access((), "main"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_clients_ask_the_sentinels_on_their_side(scenario: Scenario) -> None:
    """All of them, in an order that chance gives, except the one that is cut off."""
    choose = random.Random(7)  # noqa: S311
    orders = {tuple(measurement.sentinels_for(Still(), scenario, MEMBERS[0], choose)) for _number in range(50)}
    expected = {(member.address, 26379) for member in MEMBERS[1 if scenario.key == "partition" else 0 :]}
    assert all(set(order) == expected for order in orders) and len(orders) > 1


def test_rules_of_a_cut_name_the_others_alone() -> None:
    """The clients and SSH still reach the host."""
    rules = CUT.format(others="10.0.0.2, 10.0.0.3")
    assert rules.count("10.0.0.2, 10.0.0.3") == 2 and "policy drop" not in rules and "10.0.0.1" not in rules
