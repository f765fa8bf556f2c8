# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be promoted, what is lost by it, and what is wrong with a replication, as tables."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

psycopg2 = pytest.importorskip("psycopg2")

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.promote import Wish, choose, plan_promotion, repointed
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.replication import (
    Follower,
    Member,
    Receiver,
    Rights,
    Seen,
    Slot,
    State,
    View,
    access_from,
    judge,
    lag_seconds,
    lsn,
    parse_lsn,
    sync_state,
    targets_of,
)

ALL = Rights(see_log=True, promote=True, checkpoint=True, make_slots=True, repoint=True)
STREAMING = Receiver("streaming", 20.0)


def state(**fields: t.Any) -> State:
    """A standby's state."""
    given: dict[str, t.Any] = {
        "version": "15.18",
        "in_recovery": True,
        "system_identifier": "7",
        "timeline": 1,
        "written": None,
        "received": 1000,
        "replayed": 1000,
        "paused": False,
        "last_commit": 90.0,
        "clock": 100.0,
        "settings": {"recovery_target_timeline": "latest"},
        "rights": ALL,
        "conninfo": "host=data1 port=5432 user=replicator",
        **fields,
    }
    return State(**given)


def standby(name: str, upstream: str = "data1", strangers: tuple[str, ...] = (), **fields: t.Any) -> Seen:
    """A standby that answers."""
    return Seen(Member(name, name, 5432), state(**fields), "", (upstream,) if upstream else (), strangers)


def several(name: str, sender: str) -> Seen:
    """A standby that is told to receive from whichever member takes writes, and receives from one."""
    seen = standby(name, receiver=Receiver("streaming", 0.4))
    return dataclasses.replace(seen, upstream=("data1", "data2", "data3"), sender=sender)


def primary(name: str, **fields: t.Any) -> Seen:
    """A member that takes writes."""
    return Seen(Member(name, name, 5432), state(**{"in_recovery": False, "written": 1000, "received": 0, "replayed": None, "conninfo": "", **fields}))


def dead(name: str) -> Seen:
    """A member that does not answer."""
    return Seen(Member(name, name, 5432), error="Connection refused")


FENCED = Wish(fenced="data1", accept_unknown_loss=True)


@pytest.mark.parametrize(
    ("seen", "wish", "words"),
    [
        ([primary("data1"), standby("data2")], Wish(target="data2"), "that is a switchover and no promotion"),
        ([primary("data1"), standby("data2")], Wish(fenced="data1"), "is declared to be fenced, and it answers and takes writes"),
        ([primary("data1"), primary("data2", timeline=2)], FENCED, "data1 (timeline 1) and data2 (timeline 2) take writes at the same time"),
        ([dead("data1"), standby("data2")], Wish(), "data1 does not answer, and may still take writes where nobody here sees it"),
        ([dead("data1"), standby("data2"), dead("data3")], Wish(fenced="data3"), "but the standbys follow data1"),
        ([standby("data1", "data2"), standby("data2")], Wish(fenced="data1"), "it answers as a standby"),
        ([standby("data2", "", ("10.0.0.9:5432",))], Wish(), "the standbys follow 10.0.0.9:5432, which is no member"),
        ([dead("data1"), standby("data2", receiver=Receiver("streaming", 0.4))], FENCED, "got a message from the old primary 0.4 seconds ago"),
        ([dead("data1"), several("data2", "data1"), standby("data3")], FENCED, "got a message from the old primary 0.4 seconds ago"),
        ([dead("data1"), standby("data2"), standby("data3", system_identifier="8")], FENCED, "belong to different clusters: data2 to 7, data3 to 8"),
        ([dead("data1"), dead("data2")], FENCED, "no member answers"),
        ([dead("data1"), standby("data2")], Wish(target="data9"), "target is data9, members has data1, data2"),
        ([dead("data1"), standby("data2")], Wish(target="data1", fenced="data1"), "target and fenced_member are both data1"),
        ([dead("data1"), standby("data2", paused=True)], FENCED, "data2: it has paused replaying"),
        ([dead("data1"), standby("data2", rights=Rights(True, False, True, True, True))], FENCED, "the login may not promote it"),
        ([dead("data1"), standby("data2", rights=Rights(False, True, True, True, True))], FENCED, "the login may not see its log"),
        ([dead("data1"), standby("data2"), standby("data3", timeline=2)], Wish("data2", "data1"), "it is on timeline 1, and there is a standby on 2"),
        ([dead("data1"), standby("data2", received=2000), standby("data3", timeline=2)], FENCED, "their histories have parted"),
        ([dead("data1"), standby("data2")], Wish(fenced="data1"), "nobody knows how much data1 wrote after 0/3E8, which data2 has"),
        ([dead("data1"), standby("data2")], Wish(fenced="data1"), "the commits of the last 10 seconds at most"),
        ([dead("data1"), standby("data2")], Wish(fenced="data1", primary_lsn=1500), "lacks 500 bytes of the log that data1 (primary_lsn) has, 0 may be lost"),
        ([dead("data1"), standby("data2")], Wish(fenced="data1", primary_lsn=1500, allow_loss=499), "499 may be lost"),
        ([dead("data1"), standby("data2"), standby("data3", received=1200)], Wish("data2", "data1", accept_unknown_loss=True), "lacks 200 bytes"),
        ([dead("data1"), standby("data2"), standby("data3", received=1200, paused=True)], FENCED, "it lacks 200 bytes of the log that data3 has"),
    ],
)
def test_what_is_refused(seen: list[Seen], wish: Wish, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        plan_promotion(View(tuple(seen)), wish)
    assert words in str(raised.value) and str(raised.value).endswith("nothing was changed")


@pytest.mark.parametrize(
    ("seen", "chosen"),
    [
        ([standby("data2", received=900), standby("data3")], "data3"),
        ([standby("data2"), standby("data3")], "data2"),
        ([standby("data2"), standby("data3", timeline=2, received=1001)], "data3"),
        ([standby("data2", received=1200, rights=Rights(True, False, True, True, True)), standby("data3")], "data3"),
    ],
)
def test_the_best_standby(seen: list[Seen], chosen: str) -> None:
    assert choose(View(tuple(seen))).name == chosen


@pytest.mark.parametrize(
    ("wish", "lost", "known", "seconds"),
    [
        (FENCED, 0, False, 10.0),
        (Wish(fenced="data1", primary_lsn=1200), 0, True, 0.0),
        (Wish(fenced="data1", primary_lsn=800), 0, True, 0.0),
        (Wish(fenced="data1", primary_lsn=1500, allow_loss=300), 300, True, 10.0),
        (Wish(fenced="data1", primary_lsn=1500, allow_loss=300, accept_unknown_loss=True), 300, False, 10.0),
        (Wish("data2", "data1", 200, True), 200, False, 10.0),
    ],
)
def test_what_is_lost(wish: Wish, lost: int, known: bool, seconds: float) -> None:
    plan = plan_promotion(View((dead("data1"), standby("data2"), standby("data3", received=1200))), wish)
    position = plan.state.received
    assert (plan.lost_bytes(position), plan.loss_known, plan.lost_seconds(position, plan.state.last_commit)) == (lost, known, seconds)
    assert plan.to_rejoin == (("data3", "data1") if plan.target.name == "data2" else ("data1",))
    assert plan.lost_seconds(position, None) == (0.0 if known and not lost else None)


def test_all_answer_as_standbys() -> None:
    """The old primary is one of them, so nothing can be hidden."""
    plan = plan_promotion(View((standby("data1", "", received=1300), standby("data2"))), Wish())
    assert plan.target.name == "data1" and plan.loss_known and plan.lost_bytes(1300) == 0 and plan.to_rejoin == ()


def test_the_others_follow() -> None:
    slot = {"primary_slot_name": "s3", "recovery_target_timeline": "latest"}
    view = View(
        (
            dead("data1"),
            standby("data2", received=2000),
            standby("data3", settings=slot),
            standby("data4", "data3"),
            standby("data5", conninfo=None),
            standby("data6", rights=Rights(True, True, True, True, False)),
            standby("data7", "", conninfo=""),
            standby("data8", settings={"recovery_target_timeline": "current"}, conninfo="host=data1 password=open"),
            dead("data9"),
        )
    )
    plan = plan_promotion(view, FENCED)
    assert plan.actions == [
        "make the replication slot s3 on data2",
        "promote data2",
        "write a checkpoint on data2",
        "have data3 follow data2",
        "have data8 follow data2",
    ]
    warned = " / ".join(plan.warnings)
    for words in (
        "data9 does not answer (Connection refused); it may have more of the log",
        "data5 could not be told to follow data2: the login may not see",
        "data6 could not be told to follow data2: the login may not change",
        "data7 could not be told to follow data2: it has no primary_conninfo",
        "data8 follows no new timeline before recovery_target_timeline is latest",
        "the primary_conninfo of data8 has a password",
    ):
        assert words in warned
    assert "open" not in repr(plan)
    assert plan_promotion(view, Wish(fenced="data1", accept_unknown_loss=True, repoint=False)).actions == ["promote data2", "write a checkpoint on data2"]


def test_a_standby_that_finds_the_primary_by_itself() -> None:
    plan = plan_promotion(View((dead("data1"), standby("data2", received=2000), several("data3", "data2"))), FENCED)
    assert plan.actions == ["promote data2", "write a checkpoint on data2"] and plan.old == "data1"
    warned = plan_promotion(View((dead("data1"), dataclasses.replace(standby("data2", receiver=STREAMING), sender="data1"))), FENCED).warnings
    assert warned == ("data2 takes itself for connected to the old primary, of which it heard 20 seconds ago",)


def test_what_is_left_after_a_run_that_was_cut_off() -> None:
    settings = {"primary_slot_name": "s3", "recovery_target_timeline": "latest"}
    new = primary("data2", timeline=2, slots=(Slot("s3", "physical", False, None, "reserved", 0),))
    plan = plan_promotion(View((dead("data1"), new, standby("data3", settings=settings))), FENCED)
    assert not plan.promotes and plan.actions == ["have data3 follow data2"] and plan.warnings == ()
    assert plan_promotion(View((dead("data1"), new, standby("data3", "data2"))), FENCED).actions == []


def test_nobody_was_asked_for() -> None:
    plan = plan_promotion(View((primary("data1"), standby("data2"))), Wish())
    assert plan.actions == [] and plan.warnings == ("data1 answers and takes writes, so nobody was promoted",)


@pytest.mark.parametrize(
    ("conninfo", "template", "expected"),
    [
        ("host=data1 port=5432 user=r passfile='/a b'", "", "user=r passfile='/a b' host=data2 port=5433"),
        ("hostaddr=10.0.0.1 host=data1 user=r", "", "user=r host=data2 port=5433"),
        ("host=data1", "host={host} port={port} application_name={name}", "host=data2 port=5433 application_name=data3"),
    ],
)
def test_connection_strings(conninfo: str, template: str, expected: str) -> None:
    parse = psycopg2.extensions.parse_dsn
    assert parse(repointed(conninfo, template, Member("data2", "data2", 5433), "data3")) == parse(expected)


def test_a_connection_string_that_is_none() -> None:
    with pytest.raises(InvalidInput) as raised:
        repointed("", "secret word", Member("data2", "data2", 5433), "data3")
    assert "primary_conninfo is no connection string" in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("conninfo", "expected"),
    [
        ("host=a,b port=1,2", [("a", 1), ("b", 2)]),
        ("host=a,b port=7", [("a", 7), ("b", 7)]),
        ("host=a hostaddr=10.0.0.1", [("10.0.0.1", 5432)]),
        ("user=x", []),
    ],
)
def test_whom_a_connection_string_names(conninfo: str, expected: list[tuple[str, int]]) -> None:
    assert targets_of(conninfo) == expected


@pytest.mark.parametrize(
    ("seen", "problems"),
    [
        ([primary("data1"), standby("data2", receiver=STREAMING)], []),
        ([primary("data1"), standby("data2")], ["data2 does not stream"]),
        ([primary("data1"), standby("data2", receiver=Receiver(None, None))], []),
        ([primary("data1", written=3000), standby("data2", receiver=STREAMING)], ["data2 is 2000 bytes behind data1, more than 1500"]),
        ([primary("data1", timeline=2), standby("data2", receiver=STREAMING)], ["data2 is on timeline 1, data1 on 2"]),
        ([primary("data1", timeline=2), standby("data2", receiver=STREAMING, rights=Rights(False, True, True, True, True))], []),
        (
            [primary("data1"), standby("data2", timeline=2, receiver=STREAMING)],
            ["data2 is on timeline 2, newer than that of data1 (1): another primary was promoted"],
        ),
        ([standby("data2", receiver=STREAMING, paused=True)], ["no member takes writes", "data2 has paused replaying"]),
        (
            [primary("data1", slots=(Slot("a", "physical", False, None, "extended", 5), Slot("b", "physical", True, 1, "lost", None)))],
            ["nobody uses the slot a of data1, which keeps 5 bytes of the log", "the slot b of data1 has lost what it kept (lost)"],
        ),
        (
            [primary("data1", settings={"synchronous_standby_names": "x", "default_transaction_read_only": "on"})],
            [
                "synchronous_standby_names of data1 is set and no standby is synchronous, so that commits wait",
                "default_transaction_read_only is on at data1, so that its clients cannot write",
            ],
        ),
        (
            [primary("data1"), primary("data2", timeline=2, system_identifier="8"), dead("data3")],
            [
                "data3 does not answer (Connection refused)",
                "the members belong to different clusters: data1 to 7, data2 to 8",
                "data1 (timeline 1) and data2 (timeline 2) take writes at the same time; stop the one that clients should not use, and rejoin it",
            ],
        ),
    ],
)
def test_problems(seen: list[Seen], problems: list[str]) -> None:
    assert judge(View(tuple(seen)), 1500) == problems


@pytest.mark.parametrize(
    ("followers", "slots", "expected"),
    [
        ((Follower(1, "data2", "sync"), Follower(2, "data3", "async")), (), "sync"),
        ((Follower(1, "walreceiver", "sync"), Follower(2, "walreceiver", "async")), (), ""),
        ((Follower(1, "x", "sync"), Follower(2, "x", "async")), (Slot("s2", "physical", True, 2, "reserved", 0),), "async"),
    ],
)
def test_what_the_primary_says_of_a_standby(followers: tuple[Follower, ...], slots: tuple[Slot, ...], expected: str) -> None:
    seen = standby("data2", settings={"cluster_name": "data2", "primary_slot_name": "s2"})
    assert sync_state(View((primary("data1", followers=followers, slots=slots), seen)), seen) == expected


def test_how_old_a_standby_is() -> None:
    seen = standby("data2")
    assert lag_seconds(View((primary("data1"), seen)), seen) == 0.0
    assert lag_seconds(View((primary("data1", written=1001), seen)), seen) == 10.0
    assert lag_seconds(View((dead("data1"), seen)), seen) is None


def test_positions() -> None:
    assert lsn(parse_lsn("2A/1F", "x")) == "2A/1F" and lsn(None) == ""
    with pytest.raises(InvalidInput):
        parse_lsn("0/XYZ", "x")


@pytest.mark.parametrize(
    ("members", "words"),
    [([], "members is empty"), (["a", "a"], "two members have the name a"), (["a=h", "b=h"], "two members have the address h:5432")],
)
def test_members_that_cannot_be_right(members: list[str], words: str) -> None:
    given = [{"name": text.split("=")[0], "host": text.partition("=")[2] or None, "port": 5432} for text in members]
    options = ("login_user", "login_password", "login_db", "ssl_mode", "ca_cert", "ssl_cert", "ssl_key")
    with pytest.raises(InvalidInput, match=words):
        access_from({**dict.fromkeys(options), "members": given})
