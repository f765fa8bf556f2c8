# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a move, cut off after each thing that they do to a server, by a signal or by a kill: no row is lost, and never are both servers open.

Two servers would have to be set up anew for each of these places, so they are played here: clients write to whichever lets them in after each operation.
The operations themselves are tested on real servers (tests/integration/test_pg_major_upgrade.py).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import upgrade, upgrade_link
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.upgrade_link import HELD, PREPARED, STAGE, SWITCHED, VERIFIED, Side, Stream

NAMES = ("audit", "ledger")
LIMIT = 50
Step = t.Callable[[upgrade.Move, bool], None]


class CutOffError(BaseException):
    """The run ends here."""


@dataclasses.dataclass
class Servers:
    """Two servers with the same databases, ``old`` and ``new``."""

    limits: dict[tuple[str, str], int] = dataclasses.field(default_factory=lambda: {("old", n): LIMIT for n in NAMES} | {("new", n): 0 for n in NAMES})
    marks: dict[tuple[str, str, str], str] = dataclasses.field(default_factory=lambda: {("new", n, STAGE): PREPARED for n in NAMES})
    rows: dict[tuple[str, str], set[int]] = dataclasses.field(default_factory=lambda: {(side, n): set() for side in ("old", "new") for n in NAMES})
    streams: set[tuple[str, str]] = dataclasses.field(default_factory=lambda: {("old", n) for n in NAMES})
    unfilled: set[str] = dataclasses.field(default_factory=lambda: set(NAMES))
    written: dict[str, set[int]] = dataclasses.field(default_factory=lambda: {name: set() for name in NAMES})

    def open(self, name: str) -> list[str]:
        """Return which servers let clients into a database."""
        return [side for side in ("old", "new") if self.limits.get((side, name))]

    def marked(self, side: str, mark: str) -> dict[str, str]:
        """Return what a mark says, by database."""
        return {name: self.marks[side, name, mark] for name in NAMES if (side, name, mark) in self.marks}

    def let_clients_write(self) -> None:
        """Write a row to each database, wherever its clients get in."""
        for name in NAMES:
            assert len(self.open(name)) < 2, f"both servers take writes to {name}"
            for side in self.open(name):
                number = len(self.written[name])
                self.written[name].add(number)
                self.rows[side, name].add(number)

    def serves(self, side: str, names: t.Iterable[str] = NAMES) -> bool:
        """Whether a server alone takes writes to databases, as many as ever, and has each row that was written to them."""
        return all(self.open(name) == [side] and self.limits[side, name] == LIMIT and self.rows[side, name] == self.written[name] for name in names)


class Play:
    """Does to :class:`Servers` what the steps do, up to the place where a run is cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.servers = Servers()
        self._left, self._killed = -1, False
        for name in ("mark", "hold", "release", "open_up", "drop"):
            monkeypatch.setattr(upgrade_link, name, getattr(self, name))
        for name in ("publish", "unpublish", "try_out"):
            monkeypatch.setattr(Stream, name, lambda *unused: None)
        monkeypatch.setattr(Stream, "exists", lambda stream: self._key(stream) in self.servers.streams)
        monkeypatch.setattr(Stream, "subscribe", lambda stream, copy: self._did(lambda: self.servers.streams.add(self._key(stream))))
        monkeypatch.setattr(Stream, "unsubscribe", lambda stream: self._did(lambda: self.servers.streams.discard(self._key(stream))))
        monkeypatch.setattr(Stream, "await_end", lambda stream, seconds: self._arrive(stream))
        monkeypatch.setattr(upgrade, "_check_ready", self._check_ready)
        monkeypatch.setattr(upgrade, "_take_state", self._compare)
        monkeypatch.setattr(upgrade, "_unfilled", lambda move, name: ["total"] if name in self.servers.unfilled else [])
        monkeypatch.setattr(upgrade, "_refresh", lambda move, name, views: self._did(lambda: self.servers.unfilled.discard(name)))

    def run(self, step: Step, way_back: bool = True, accept_loss: bool = False, left: int = -1, killed: bool = False) -> bool:
        """Run a step; return whether it was cut off.

        Args:
            step: which one.
            way_back: as the module's option.
            accept_loss: as the module's option.
            left: so many operations are done; all if it is negative.
            killed: whether nothing can be done any more then, not even for cleaning up.
        """
        self._left, self._killed = left, killed
        try:
            step(self._look(way_back, accept_loss), False)
        except CutOffError:
            return True
        finally:
            self._left = -1
        return False

    def _look(self, way_back: bool, accept_loss: bool) -> upgrade.Move:
        servers = self.servers
        described = {name: {"name": name, "oid": number, "connection_limit": servers.limits["old", name]} for number, name in enumerate(NAMES)}
        return upgrade.Move(
            wish=upgrade.Wish("move", NAMES, way_back, accept_loss, 1, 0, 1.0, 1.0, None),
            source=Side(Login("old"), 15),
            target=Side(Login("new"), 17),
            described=described,
            findings=[],
            stages=servers.marked("new", STAGE),
            held=servers.marked("old", HELD),
            returned=servers.marked("new", HELD),
            limits={name: servers.limits["new", name] for name in NAMES if ("new", name) in servers.limits},
            phases={},
            target_server=t.cast(t.Any, None),
        )

    def _did(self, operation: t.Callable[[], object]) -> None:
        if self._left == 0:
            self._left = 0 if self._killed else -1
            raise CutOffError
        self._left -= 1
        operation()
        self.servers.let_clients_write()

    @staticmethod
    def _key(stream: Stream) -> tuple[str, str]:
        return stream.origin.login.host, stream.database

    def mark(self, login: Login, database: str, name: str, text: str | None) -> None:
        key = (login.host, database, name)
        self._did(lambda: self.servers.marks.pop(key, None) if text is None else self.servers.marks.update({key: text}))

    def hold(self, login: Login, database: str, seconds: float) -> None:
        key = (login.host, database)
        if (*key, HELD) not in self.servers.marks:
            self.mark(login, database, HELD, str(self.servers.limits[key]))
        self._did(lambda: self.servers.limits.update({key: 0}))

    def release(self, login: Login, database: str) -> None:
        def together() -> None:
            limit = self.servers.marks.pop((login.host, database, HELD), None)
            if limit is not None:
                self.servers.limits[login.host, database] = int(limit)

        self._did(together)

    def open_up(self, login: Login, database: str, limit: int) -> None:
        self._did(lambda: self.servers.limits.update({(login.host, database): limit}))

    def drop(self, login: Login, database: str) -> None:
        def together() -> None:
            self.servers.limits.pop((login.host, database), None)
            self.servers.rows.pop((login.host, database), None)
            for mark in (HELD, STAGE):
                self.servers.marks.pop((login.host, database, mark), None)

        self._did(together)

    def _arrive(self, stream: Stream) -> None:
        rows, there = self.servers.rows, (stream.destination.login.host, stream.database)
        assert self._key(stream) in self.servers.streams
        self._did(lambda: rows.update({there: rows[there] | rows[self._key(stream)]}))

    def _check_ready(self, move: upgrade.Move, name: str) -> None:
        if ("old", name) not in self.servers.streams:
            raise MainstayError(f"cut {name} over", "replication has ended")

    def _compare(self, source: Side, target: Side, name: str, sample: int) -> None:
        assert self.servers.rows[source.login.host, name] == self.servers.rows[target.login.host, name]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Two servers that have been prepared."""
    return Play(monkeypatch)


def places(play: Play, step: Step, killed: bool, **options: t.Any) -> t.Iterator[int]:
    """Cut a step off at each place, one after the other, on servers as they are now."""
    before = play.servers
    for number in itertools.count():
        play.servers = copy.deepcopy(before)
        if not play.run(step, left=number, killed=killed, **options):
            assert number > len(NAMES)
            return
        yield number


def is_back(servers: Servers) -> bool:
    """Whether everything is on the old server, and nothing on the new one."""
    return servers.serves("old") and not servers.marks and all(("new", name) not in servers.limits for name in NAMES)


@pytest.mark.parametrize("way_back", [True, False])
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_a_cutover_that_was_cut_off_is_finished(play: Play, killed: bool, way_back: bool) -> None:
    for unused in places(play, upgrade.cut_over, killed, way_back=way_back):
        play.servers.let_clients_write()
        play.run(upgrade.cut_over, way_back=way_back)
        assert play.servers.serves("new") and not play.servers.unfilled
        assert all(play.servers.marks["new", name, STAGE] == SWITCHED for name in NAMES)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_a_cutover_that_was_cut_off_is_abandoned(play: Play, killed: bool) -> None:
    for unused in places(play, upgrade.cut_over, killed):
        play.run(upgrade.abandon)
        assert is_back(play.servers)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_without_a_way_back_nothing_is_given_up_unasked(play: Play, killed: bool) -> None:
    refused = 0
    for unused in places(play, upgrade.cut_over, killed, way_back=False):
        there = any("new" in play.servers.open(name) for name in NAMES)
        try:
            play.run(upgrade.abandon)
            assert is_back(play.servers) and not there
        except MainstayError as error:
            assert there and "would be lost" in str(error)
            refused += 1
    assert refused


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_going_back_that_was_cut_off_is_finished_and_nothing_else(play: Play, killed: bool) -> None:
    play.run(upgrade.cut_over)
    for unused in places(play, upgrade.abandon, killed):
        cut_off = copy.deepcopy(play.servers)
        for other in (upgrade.cut_over, upgrade.finish):
            play.servers = copy.deepcopy(cut_off)
            try:
                play.run(other)
                assert all(play.servers.serves("old", [name]) or play.servers.serves("new", [name]) for name in NAMES)
            except MainstayError:
                assert play.servers == cut_off
        play.servers = cut_off
        play.run(upgrade.abandon)
        assert is_back(play.servers)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_what_was_being_finished_does_not_open_the_old_server(play: Play, killed: bool) -> None:
    play.run(upgrade.cut_over)
    for unused in places(play, upgrade.finish, killed):
        cut_off = copy.deepcopy(play.servers)
        with contextlib.suppress(MainstayError):
            play.run(upgrade.abandon)
        assert all(play.servers.serves("old", [name]) or play.servers.serves("new", [name]) for name in NAMES)
        play.servers = cut_off
        play.run(upgrade.finish)
        assert not play.servers.marks and play.servers.serves("new")


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
def test_what_was_verified_and_has_been_released_is_compared_anew(play: Play, killed: bool) -> None:
    play.servers.marks["new", "audit", STAGE] = VERIFIED
    play.servers.let_clients_write()
    for unused in places(play, upgrade.cut_over, killed):
        play.run(upgrade.cut_over)
        assert play.servers.serves("new")


def test_a_signal_before_anything_is_opened_gives_the_old_server_back(play: Play) -> None:
    for unused in places(play, upgrade.cut_over, killed=False):
        for name in NAMES:
            assert (play.servers.marks["new", name, STAGE] == PREPARED) == (play.servers.open(name) == ["old"])


def test_views_that_were_not_filled_are_filled_later(play: Play) -> None:
    play.run(upgrade.cut_over)
    play.servers.unfilled = {"ledger"}
    play.run(upgrade.cut_over)
    assert not play.servers.unfilled
