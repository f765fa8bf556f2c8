# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster looks like and what is wrong with it, who may lead next, who is restarted in which order, and endpoints."""

from __future__ import annotations

import dataclasses
import json
import threading
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni import reconcile, restart, switchover
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import (
    Answer,
    Client,
    Endpoint,
    Unreachable,
    client_from,
    parse_endpoint,
)
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.config import Needs
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.overview import Witness, compare, lacks
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import Member, Problem, View, build, first, join, judge

PLACE = Endpoint("127.0.0.1", 8008, True)
LEADER = Member("data1", "leader", "running", PLACE, timeline=3, system_identifier="1")
SYNC = Member("data2", "sync_standby", "running", PLACE, timeline=3, lag_bytes=0, streams=True, system_identifier="1")
ASYNC = Member("data3", "replica", "running", PLACE, timeline=3, lag_bytes=10, streams=True)
CLUSTER = View((LEADER, SYNC, ASYNC), {"synchronous_mode": True, "loop_wait": 5}, "ledger")
WITHOUT_SYNC = dataclasses.replace(CLUSTER, config={})


def with_member(view: View, name: str, **fields: t.Any) -> View:
    """Return a view with one member changed."""
    return dataclasses.replace(view, members=tuple(dataclasses.replace(member, **fields) if member.name == name else member for member in view.members))


def answer(**document: t.Any) -> Answer:
    """Return what a member says of itself."""
    return Answer(PLACE, 200, json.dumps(document))


def entry(name: str, role: str, **fields: t.Any) -> dict[str, t.Any]:
    """Return what the store says of a member."""
    return {"name": name, "role": role, "state": "running", "api_url": f"https://{name}:8008/patroni", "host": name, "port": 5432, "timeline": 3, **fields}


def test_a_view_of_an_old_and_a_new_patroni() -> None:
    cluster = {
        "members": [
            entry("data1", "leader"),
            entry("data2", "sync_standby", lag=77),
            entry("data3", "replica", lag=16, state="streaming", tags={"nosync": True}),
            entry("data4", "replica", lag="unknown", state="stopped"),
            {"name": "data5", "role": "replica", "state": "creating replica", "lag": 5},
        ],
        "pause": True,
        "scheduled_switchover": {"at": "tomorrow"},
    }
    rows = [{"application_name": "data2", "state": "streaming"}, {"application_name": "data4", "state": "catchup"}]
    own = {"version": "3.0.2", "scope": "ledger"}
    new = {"pending_restart": True, "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "90"}}}
    statuses = [
        answer(state="running", xlog={"location": 1000}, replication=rows, patroni=own, timeline=3, server_version=150018),
        answer(state="running", xlog={"replayed_location": 990}, patroni=own, timeline=3, pending_restart=True),
        answer(state="running", xlog={"replayed_location": 1010}, replication_state="streaming", patroni={**own, "version": "4.0.7"}, **new),
        Unreachable("read", "no route to host"),
    ]
    view = build(cluster, {"synchronous_mode": "on"}, statuses)
    assert view.leader is not None and view.leader.name == "data1" and view.leader.postgres_version == "15.18"
    assert view.scope == "ledger" and view.paused and view.scheduled_switchover == {"at": "tomorrow"}
    assert [member.lag_bytes for member in view.members] == [None, 10, 0, None, 5]
    assert [member.streams for member in view.members] == [None, True, True, False, False]
    assert [member.pending_restart for member in view.members] == [False, True, True, False, False]
    assert view.member("data3").pending_reason == new["pending_restart_reason"] and view.member("data3").version == "4.0.7"
    assert view.member("data4").unreachable == "no route to host" and "has not told" in view.member("data5").unreachable
    assert [member.name for member in view.synchronous_standbys] == ["data2"] and view.member("data3").tags == {"nosync": True}
    assert view.member("data2").plain()["api_url"] == "https://data2:8008"
    with pytest.raises(MainstayError, match="find the member data9: the cluster has data1, data2"):
        view.member("data9")


@pytest.mark.parametrize(
    ("mode", "expected"), [(None, "off"), (False, "off"), ("off", "off"), (True, "on"), ("on", "on"), ("quorum", "quorum"), ("Quorum", "quorum")]
)
def test_synchronous_mode(mode: t.Any, expected: str) -> None:
    view = dataclasses.replace(CLUSTER, config={"synchronous_mode": mode})
    assert view.synchronous_mode == expected
    assert bool(view.synchronous_standbys) is (expected != "off")


@pytest.mark.parametrize(
    ("view", "words", "passing"),
    [
        (CLUSTER, "", True),
        (dataclasses.replace(CLUSTER, paused=True), "the cluster is paused", False),
        (with_member(CLUSTER, "data1", role="replica", streams=True, lag_bytes=0), "there is no leader", True),
        (with_member(CLUSTER, "data1", state="starting"), "PostgreSQL on data1 is starting", True),
        (with_member(CLUSTER, "data2", state="start failed"), "PostgreSQL on data2 is start failed", False),
        (with_member(CLUSTER, "data2", state=""), "PostgreSQL on data2 is in an unknown state", True),
        (with_member(CLUSTER, "data2", unreachable="refused"), "data2 does not answer (refused)", False),
        (with_member(CLUSTER, "data2", streams=False), "data2 does not stream", True),
        (with_member(CLUSTER, "data2", timeline=2), "data2 is on timeline 2, the leader on 3", True),
        (with_member(CLUSTER, "data2", lag_bytes=None), "it is not known how far data2 is behind", True),
        (with_member(CLUSTER, "data2", lag_bytes=1001), "data2 is 1001 bytes behind, more than 1000", True),
        (with_member(CLUSTER, "data2", role="replica"), "synchronous mode is on and no standby is synchronous", True),
        (with_member(WITHOUT_SYNC, "data2", role="replica"), "", True),
        (with_member(CLUSTER, "data2", sees_leader=False), "data2 sees no leader", True),
        (with_member(CLUSTER, "data1", failsafe=True, sees_leader=False), "data1 cannot reach the configuration store", False),
        (with_member(CLUSTER, "data2", system_identifier="2"), "data of different clusters", False),
    ],
)
def test_judge(view: View, words: str, passing: bool) -> None:
    problems = judge(view, 1000)
    assert bool(problems) is bool(words) and words in join(problems)
    assert all(problem.passing for problem in problems) is passing


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"role": "leader"}, "it leads"),
        ({"unreachable": "refused"}, "it does not answer (refused)"),
        ({"tags": {"nofailover": True}}, "nofailover"),
        ({"tags": {"failover_priority": 0}}, "nofailover"),
        ({"streams": False}, "it does not stream"),
        ({"state": "starting"}, "it does not stream (PostgreSQL is starting)"),
        ({"role": "replica"}, "it is not synchronous and may lack committed transactions (synchronous: none)"),
        ({"lag_bytes": None}, "it is not known how far it is behind"),
        ({"lag_bytes": 2001}, "it is 2001 bytes behind, more than 2000"),
    ],
)
def test_who_may_lead_next(fields: dict[str, t.Any], words: str) -> None:
    view = with_member(CLUSTER, "data2", **fields)
    reason = switchover.unfit(view, view.member("data2"), 2000)
    assert words in reason and bool(reason) is bool(words)


def test_patronis_own_limit_of_lag_holds_too() -> None:
    view = dataclasses.replace(WITHOUT_SYNC, config={"maximum_lag_on_failover": 5})
    assert switchover.unfit(view, ASYNC, 2000) == "it is 10 bytes behind, more than 5"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (CLUSTER, "data2"),
        (WITHOUT_SYNC, "data2"),
        (with_member(WITHOUT_SYNC, "data2", lag_bytes=11), "data3"),
        (with_member(WITHOUT_SYNC, "data3", tags={"failover_priority": "2"}), "data3"),
        (with_member(WITHOUT_SYNC, "data3", lag_bytes=0), "data2"),
    ],
)
def test_the_best_standby(view: View, expected: str) -> None:
    assert switchover.choose(view, 2000).name == expected


def test_no_standby_can_lead() -> None:
    with pytest.raises(MainstayError, match="data2: it does not stream .*; data3: it is not synchronous"):
        switchover.choose(with_member(CLUSTER, "data2", streams=False), 2000)
    with pytest.raises(MainstayError, match="there is no standby"):
        switchover.choose(dataclasses.replace(CLUSTER, members=(LEADER,)), 2000)


def test_plan_of_a_switchover() -> None:
    assert switchover.plan(CLUSTER, "", "", 2000) == switchover.Handover("data1", "data2", 3)
    assert switchover.plan(CLUSTER, "data2", "data1", 2000) == switchover.Handover("data1", "data2", 3)
    assert switchover.plan(CLUSTER, "data1", "", 2000) is None
    assert switchover.plan(CLUSTER, "data1", "data3", 2000) is None
    assert switchover.plan(CLUSTER, "", "data3", 2000) is None
    for candidate, leader, words in (
        ("data9", "", "there is no member data9"),
        ("data3", "data3", "both data3"),
        ("data2", "data3", "data1 leads and not data3"),
    ):
        with pytest.raises(InvalidInput, match=words):
            switchover.plan(CLUSTER, candidate, leader, 2000)
    with pytest.raises(InvalidInput, match="it is a standby cluster"):
        switchover.plan(dataclasses.replace(CLUSTER, config={"standby_cluster": {"host": "a"}}), "", "", 2000)
    with pytest.raises(MainstayError, match="there is no leader"):
        switchover.plan(with_member(CLUSTER, "data1", role="replica"), "data2", "", 2000)


ALL = ("data1", "data2", "data3")
LESS, MORE = ("max_connections",), ("shared_buffers",)


@pytest.mark.parametrize(
    ("waiting", "leader", "needs", "expected"),
    [
        ((), "restart", Needs(), []),
        (ALL, "restart", Needs((), MORE), ["data3", "data2", "data1"]),
        (ALL, "restart", Needs(), ["data3", "data2", "data1"]),
        (("data1",), "restart", Needs((), MORE), ["data1"]),
        (("data2",), "switchover", Needs((), MORE), ["data2"]),
        (("data2",), "switchover", Needs(LESS), ["data2"]),
        (ALL, "switchover", Needs((), MORE), ["data3", "data2", ">data1", "data1"]),
        (ALL, "leave", Needs((), MORE), ["data3", "data2"]),
        (ALL, "leave", Needs(), ["data3", "data2"]),
        (ALL, "leave", Needs(LESS), []),
        (ALL, "leave", Needs(LESS, MORE), ["data3", "data2"]),
        (ALL, "restart", Needs(LESS), ["data1", "data3", "data2"]),
        (ALL, "restart", Needs(LESS, MORE), ["data3", "data2", "data1", "data3", "data2"]),
    ],
)
def test_order_of_restarts(waiting: tuple[str, ...], leader: str, needs: Needs, expected: list[str]) -> None:
    assert [(">" if step.hands_over else "") + step.member for step in restart.order(CLUSTER, waiting, leader, needs)] == expected


def test_a_switchover_cannot_bring_less() -> None:
    with pytest.raises(InvalidInput, match="there is to be less max_connections"):
        restart.order(CLUSTER, ALL, "switchover", Needs(LESS, MORE))


@pytest.mark.parametrize(
    ("view", "name", "expected"),
    [
        (CLUSTER, "data2", False),
        (CLUSTER, "data1", False),
        (with_member(CLUSTER, "data3", streams=False), "data2", True),
        (with_member(CLUSTER, "data3", tags={"nosync": True}), "data2", True),
        (with_member(WITHOUT_SYNC, "data3", streams=False), "data2", False),
        (dataclasses.replace(CLUSTER, members=(LEADER, SYNC)), "data2", True),
        (dataclasses.replace(CLUSTER, members=(LEADER, SYNC)), "data1", False),
    ],
)
def test_who_would_be_missed(view: View, name: str, expected: bool) -> None:
    assert bool(restart.missed(view, name)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data1", "https://data1:8008"),
        ("data1:9", "https://data1:9"),
        ("[fd00::1]:9", "https://[fd00::1]:9"),
        ("http://10.0.0.1", "http://10.0.0.1:8008"),
        ("https://data1:8009/patroni", "https://data1:8009"),
    ],
)
def test_endpoints(text: str, expected: str) -> None:
    assert str(parse_endpoint(text)) == expected


@pytest.mark.parametrize("text", ["", "data1:x", "ftp://data1", "https://", "https://u:p@data1", "https://data1:99999"])
def test_endpoints_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_endpoint(text)
    assert "u:p" not in str(refused.value)


def test_the_password_is_not_sent_without_tls() -> None:
    client = Client([PLACE], "admin", "hush", None, 1.0)
    with pytest.raises(InvalidInput, match="would get the password without TLS"):
        client.send(Endpoint("127.0.0.1", 1, False), "POST", "/restart", {}, 1.0, "restart")
    assert "hush" not in repr(client.__dict__)


def test_options_of_the_client() -> None:
    given = {"endpoints": ["data1"], "api_user": None, "api_password": None, "connect_timeout": 5, "validate_certs": True}
    given |= {"ca_cert": None, "client_cert": None, "client_key": None}
    assert client_from(given).endpoints == (Endpoint("data1", 8008, True),) and not client_from(given).has_login
    for change in ({"endpoints": []}, {"connect_timeout": 0}, {"api_user": "a"}, {"api_password": "a"}, {"ca_cert": "/nowhere"}):
        with pytest.raises(InvalidInput):
            client_from({**given, **change})


def test_endpoints_that_differ() -> None:
    one, other = Witness(PLACE, leader="data1"), Witness(Endpoint("b", 1, True), leader="data2")
    assert compare([one, dataclasses.replace(other, leader="data1")], CLUSTER, ALL) == []
    differing = join(compare([one, other], CLUSTER, ALL))
    assert differing.startswith("the endpoints do not agree on who leads: https://127.0.0.1:8008 sees data1, https://b:1 sees data2")
    assert "https://b:1 cannot be used (x)" in join(compare([one, dataclasses.replace(other, refused="x")], CLUSTER, ALL))
    assert "https://b:1 cannot be used (y)" in join(compare([dataclasses.replace(other, unreachable="y")], CLUSTER, ALL))
    # A member that does not answer is told as such.
    assert compare([dataclasses.replace(one, unreachable="y")], CLUSTER, ALL) == []
    assert join(compare([], CLUSTER, ["data1", "data7"])) == "data7 is not a member of the cluster"


def test_what_is_waited_for() -> None:
    wrong = [Problem("data3 does not stream")]
    assert lacks(CLUSTER, wrong, "none") == lacks(CLUSTER, wrong, "leader") == lacks(CLUSTER, [], "healthy") == ""
    assert lacks(CLUSTER, wrong, "healthy") == "data3 does not stream"
    assert lacks(with_member(CLUSTER, "data1", state="starting"), [], "leader") == "there is no leader"
    assert lacks(dataclasses.replace(CLUSTER, members=()), wrong, "leader") == "data3 does not stream"


class Rounds(Client):
    """A client of two members that say in turn when they began their newest round."""

    def __init__(self, *rounds: tuple[int, int]) -> None:
        """Take what the members say, one pair a question; the last one is repeated."""
        super().__init__([PLACE], None, None, None, 1.0)
        self.rounds = list(rounds)

    def get_all(self, wishes: t.Sequence[tuple[Endpoint, str]]) -> list[Answer | Unreachable]:
        """Return the next pair; a member that says 0 does not answer."""
        now = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        return [answer(dcs_last_seen=moment) if moment else Unreachable("read", "refused") for moment in now[: len(wishes)]]


def test_members_are_waited_for_until_they_have_acted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "POLL_SECONDS", 0.001)
    two = dataclasses.replace(CLUSTER, members=(LEADER, SYNC))
    client = Rounds((100, 100), (105, 106), (106, 105), (106, 0), (106, 106), (999, 999))
    reconcile.await_acted(client, two, 5, 10)
    assert client.rounds == [(999, 999)]
    with pytest.raises(MainstayError, match="there was no new round of Patroni on data2"):
        reconcile.await_acted(Rounds((100, 100), (106, 105)), two, 5, 0.05)
    # One that does not answer is no reason to wait.
    reconcile.await_acted(Rounds((100, 100), (106, 100)), with_member(two, "data2", unreachable="refused"), 5, 0)


class Silent(Client):
    """A client whose endpoints but the last one do not answer; all but the first are answered for only once they are asked at the same time."""

    def __init__(self, *ports: int) -> None:
        """Prepare it for endpoints of these ports."""
        super().__init__([Endpoint("127.0.0.1", port, True) for port in ports], None, None, None, 1.0)
        self.asked, self.together = list[int](), threading.Barrier(len(ports) - 1)

    def get(self, endpoint: Endpoint, path: str) -> Answer:
        """Return the last one's answer."""
        self.asked.append(endpoint.port)
        if len(self.asked) > 1:
            self.together.wait(10)
        if endpoint != self.endpoints[-1]:
            raise Unreachable(f"read {path}", f"{endpoint.port} is silent")
        return Answer(endpoint, 200, "{}")


class Dark(Silent):
    """A client of whose endpoints none answers."""

    def get(self, endpoint: Endpoint, path: str) -> Answer:
        """Refuse."""
        raise Unreachable(f"read {path}", f"{endpoint.port} is silent")


def test_a_silent_endpoint_is_waited_for_once() -> None:
    client = Silent(1, 2, 3)
    assert first(client, "/cluster").endpoint.port == 3
    assert [endpoint.port for endpoint in client.endpoints] == [3, 1, 2] and client.asked[0] == 1
    with pytest.raises(Unreachable, match="1 is silent; 2 is silent"):
        first(Dark(1, 2), "/cluster")
