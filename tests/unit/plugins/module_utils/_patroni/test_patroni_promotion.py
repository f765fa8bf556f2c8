# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to promote a standby cluster, and what is refused, by what the two clusters look like."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Endpoint
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.promotion import Plan, Wish, plan
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.source import Loss, Source, loss_of
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import Member, Patience, View

NOW = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.timezone.utc)
FOLLOWS = {"standby_cluster": {"host": "data1", "port": 5432}}
HELD = {"mainstay": {"handover": True}}


def site(name: str, role: str, position: int | None, recovery: bool, **more: t.Any) -> View:
    """Return a cluster of one member."""
    given: dict[str, t.Any] = {"state": "running", "system_identifier": "7", "last_commit": "2026-11-27 11:59:58+00:00" if recovery else ""}
    given |= {"timeline": 3, "followers": ("dr1",) if role == "leader" else ()}
    given |= {name: more.pop(name) for name in list(more) if name in ("state", "system_identifier", "unreachable", "last_commit", "timeline", "followers")}
    member = Member(f"{name}1", role, endpoint=Endpoint(name, 8008, True), position=position, replayed=position if recovery else None, **given)
    return View((member,), more.pop("config", {}), name, **more)


STANDBY = site("dr", "standby_leader", 900, True, config=FOLLOWS)
WRITER = Source(site("main", "leader", 1000, False))
HELD_WRITER = Source(site("main", "leader", 1000, False, config=HELD))
TURNED = Source(site("main", "standby_leader", 1000, True, config={**FOLLOWS, **HELD}))
GONE = Source(None, "it is dark")
PROMOTED = site("dr", "leader", 1100, False)


def wish(**given: t.Any) -> Wish:
    """Return what is asked for."""
    unset = {"planned": False, "fenced": False, "follow": {}, "slots": (), "max_lost_bytes": None, "max_lost_seconds": None}
    return Wish(**{**unset, **given}, patience=Patience(1, 500))


@pytest.mark.parametrize(
    ("here", "source", "asked", "steps", "loss"),
    [
        (STANDBY, WRITER, {"planned": True}, Plan(hold=True, turn=True, promote=True, release=True), Loss(0, 0.0)),
        (STANDBY, HELD_WRITER, {"planned": True}, Plan(turn=True, promote=True, release=True), Loss(0, 0.0)),
        (STANDBY, TURNED, {"planned": True}, Plan(promote=True, release=True), Loss(0, 0.0)),
        (PROMOTED, TURNED, {"planned": True}, Plan(release=True), Loss(0, 0.0)),
        (PROMOTED, GONE, {"fenced": True}, Plan(), Loss(0, 0.0)),
        (STANDBY, GONE, {"fenced": True}, Plan(promote=True), Loss(None, 2.0)),
        (STANDBY, Source(site("main", "leader", 890, False)), {"fenced": True}, Plan(promote=True), Loss(0, 0.0)),
        (STANDBY, Source(site("main", "leader", 1000, False, timeline=4)), {"planned": True}, Plan(True, True, True, True), Loss(0, 0.0)),
        (STANDBY, WRITER, {"fenced": True}, Plan(promote=True), Loss(100, 2.0)),
        (STANDBY, WRITER, {"fenced": True, "max_lost_bytes": 100, "max_lost_seconds": 2.0}, Plan(promote=True), Loss(100, 2.0)),
        (STANDBY, Source(site("main", "standby_leader", 900, True, config=FOLLOWS)), {}, Plan(promote=True), Loss(0, 0.0)),
    ],
)
def test_plan(here: View, source: Source, asked: dict[str, t.Any], steps: Plan, loss: Loss) -> None:
    assert plan(here, source, wish(**asked), NOW) == (steps, loss)


@pytest.mark.parametrize(
    ("here", "source", "asked", "words"),
    [
        (STANDBY, WRITER, {}, "main1 in main answers and takes writes"),
        (STANDBY, GONE, {}, "the source cannot be seen (it is dark)"),
        (STANDBY, TURNED, {}, "the source takes no writes, and has 100 bytes of the log more"),
        (STANDBY, GONE, {"planned": True}, "it is planned, and the source cannot be seen"),
        (STANDBY, GONE, {"fenced": True, "max_lost_bytes": 10}, "nobody knows how many bytes would be lost"),
        (STANDBY, WRITER, {"fenced": True, "max_lost_bytes": 99}, "up to 100 bytes would be lost"),
        (STANDBY, GONE, {"fenced": True, "max_lost_seconds": 1.5}, "up to 2 seconds would be lost"),
        (STANDBY, Source(site("main", "leader", 2000, False)), {"planned": True}, "1100 bytes, more than 500, this cluster is behind"),
        (STANDBY, Source(site("main", "leader", 890, False)), {"planned": True}, "has 10 bytes of timeline 3 that main lacks, so they have parted"),
        (STANDBY, Source(site("main", "leader", 1000, False, followers=())), {"planned": True}, "main1 does not stream to dr1"),
        (STANDBY, Source(site("main", "leader", 1000, False, paused=True)), {"planned": True}, "main is paused"),
        (STANDBY, Source(site("main", "standby_leader", 950, True, config=FOLLOWS)), {"planned": True}, "main follows another cluster itself"),
        (STANDBY, Source(site("main", "replica", 1000, True)), {"planned": True}, "main has no leader that answers"),
        (STANDBY, Source(site("main", "leader", 1000, False, system_identifier="8")), {"planned": True}, "data of another cluster"),
        (STANDBY, Source(STANDBY), {"planned": True}, "are the same cluster"),
        (PROMOTED, WRITER, {"fenced": True}, "both take writes: dr1 here and main1 in the source"),
        (site("dr", "replica", 900, True, config=FOLLOWS), WRITER, {"planned": True}, "it has no leader"),
        (site("dr", "standby_leader", 900, True, config=FOLLOWS, paused=True), WRITER, {"planned": True}, "the cluster is paused"),
        (site("dr", "standby_leader", 900, True, config=FOLLOWS, state="crashed"), GONE, {"fenced": True}, "its leader dr1 is not in order (crashed)"),
        (site("dr", "replica", 900, True), GONE, {"fenced": True}, "dr is no standby cluster and has no leader"),
    ],
)
def test_what_is_refused(here: View, source: Source, asked: dict[str, t.Any], words: str) -> None:
    with pytest.raises(MainstayError, match="could not promote the standby cluster: ") as refused:
        plan(here, source, wish(**asked), NOW)
    assert words in str(refused.value)


def test_loss_is_not_known_without_a_commit() -> None:
    leader = site("dr", "standby_leader", 900, True, last_commit="").members[0]
    assert loss_of(leader, GONE, NOW) == Loss(None, None)
    assert loss_of(leader, Source(site("main", "leader", 900, False)), NOW) == Loss(0, 0.0)
