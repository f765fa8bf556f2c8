# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions about releases, as tables."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import HISTORY_LIMIT, Installed, Lock, Record, State, check_name
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import (
    Taking, appended, next_record, plan_locked, plan_outdated, plan_present, plan_pruned, plan_renewed,
)


def state(releases: str = "", history: tuple[Record, ...] = (), **slots: str) -> State:
    """A host with these releases, unpacked in this order, each with its name as hash."""
    installed = tuple(Installed(name, f"sha-{name}", f"2026-01-{day:02d}") for day, name in enumerate(releases.split(), start=1))
    return State(installed, slots, history)


ONE = (Record("1", "blue"),)
TWO = (*ONE, Record("2", "green", "1"))
OTHER = Lock("other", "ops@ctl", 1000)
RENEWED = Lock("other", "ops@ctl", 1000, 4990, {"host": "ctl"})
BACK = (*TWO, Record("1", "blue", "", "rollback"))


@pytest.mark.parametrize(("host", "release", "sha256", "expected"), [
    (state(), "1", "sha-1", "unpack"),
    (state("1"), "2", "sha-2", "unpack"),
    (state("1"), "1", "sha-1", "unchanged"),
    (state("1"), "1", "", "unchanged"),
    (state("1"), "1", "other", "replace"),
    (state("1 2 3", TWO, blue="3", green="2"), "3", "other", "replace"),
])
def test_present(host: State, release: str, sha256: str, expected: str) -> None:
    """What unpacking takes."""
    assert plan_present(host, release, sha256) == expected


@pytest.mark.parametrize(("release", "words"), [("2", "is live"), ("1", "a rollback from 2 leads to")])
def test_a_release_in_use_is_not_replaced(release: str, words: str) -> None:
    """Other content under the name of what serves, or of the way back, is refused."""
    with pytest.raises(InvalidInput, match=words):
        plan_present(state("1 2", TWO), release, "other")


@pytest.mark.parametrize(("history", "release", "slot", "kind", "expected"), [
    ((), "1", "blue", "deploy", Record("1", "blue", "")),
    (ONE, "1", "blue", "deploy", None),
    (ONE, "2", "green", "deploy", Record("2", "green", "1")),
    (ONE, "1", "green", "deploy", Record("1", "green", "")),
    (TWO, "3", "blue", "deploy", Record("3", "blue", "2")),
    (TWO, "2", "blue", "deploy", Record("2", "blue", "1")),
    (TWO, "1", "blue", "rollback", Record("1", "blue", "", "rollback")),
    # Deployed again after a rollback, the release leads back to the one that replaced it.
    (BACK, "2", "green", "deploy", Record("2", "green", "1")),
    # Further back than one: what was before that release, not the one that was left.
    ((*TWO, Record("3", "blue", "2")), "2", "green", "rollback", Record("2", "green", "1", "rollback")),
    ((*TWO, Record("3", "blue", "2")), "1", "green", "rollback", Record("1", "green", "", "rollback")),
])
def test_record(history: tuple[Record, ...], release: str, slot: str, kind: str, expected: Record | None) -> None:
    """What is written down, and where a rollback leads from there."""
    assert next_record(state("1 2 3", history), release, slot, kind) == expected


def test_a_release_that_is_not_unpacked_cannot_be_live() -> None:
    """The record never names what is not there."""
    with pytest.raises(InvalidInput, match="not unpacked"):
        next_record(state("1"), "2", "blue", "deploy")


def test_history_is_bounded() -> None:
    """The oldest records are forgotten."""
    history = [Record(str(number), "blue") for number in range(HISTORY_LIMIT)]
    kept = appended(history, Record("new", "green"))
    assert len(kept) == HISTORY_LIMIT
    assert kept[-1]["release"] == "new"
    assert kept[0]["release"] == "1"


@pytest.mark.parametrize(("host", "keep", "expected"), [
    (state(), 1, []),
    (state("1 2 3"), 3, []),
    (state("1 2 3 4"), 2, ["1", "2"]),
    (state("1 2 3 4", (Record("1", "blue"),)), 1, ["2", "3"]),
    (state("1 2 3 4", TWO), 1, ["3"]),
    (state("1 2 3 4", TWO, blue="3"), 1, []),
])
def test_pruned(host: State, keep: int, expected: list[str]) -> None:
    """Old releases go, but none that is live, in a slot, or the way back."""
    assert plan_pruned(host, keep) == expected


@pytest.mark.parametrize(("lock", "given", "expected"), [
    (None, {}, Taking(True)),
    (Lock("me", "ops", 1000), {}, Taking(False)),
    (OTHER, {"unknown": "other"}, Taking(True, OTHER)),
    (RENEWED, {"gone": "other"}, Taking(True, RENEWED)),
    (RENEWED, {"force": True}, Taking(True, RENEWED)),
])
def test_lock_that_is_free_own_or_left_behind(lock: Lock | None, given: dict[str, t.Any], expected: Taking) -> None:
    """It can be had: from a run that cannot be judged after an hour without a sign of life, from a run that is gone, or by force."""
    assert plan_locked(lock, "me", 5000, 3600, **given) == expected


@pytest.mark.parametrize(("lock", "given"), [
    (RENEWED, {}),
    (RENEWED, {"gone": "somebody else"}),
    (RENEWED, {"unknown": "other"}),
    # However old it is: it may be alive.
    (dataclasses.replace(RENEWED, renewed=1000), {}),
    (dataclasses.replace(RENEWED, renewed=1000), {"unknown": "somebody else"}),
])
def test_lock_of_another_run(lock: Lock, given: dict[str, str]) -> None:
    """The message says whose it is, since when, and what to do; who asks gets the lock to judge its owner."""
    with pytest.raises(MainstayError, match="ops@ctl took it 4000 seconds ago on ctl .run other.; wait for that run .* app_release_unlock=true") as caught:
        plan_locked(lock, "me", 5000, 3600, **given)
    assert caught.value.details["lock"]["controller"] == {"host": "ctl"}


def test_a_lock_is_renewed_by_its_owner_alone() -> None:
    """Who has lost it learns so, and takes it neither from nobody nor from another run."""
    assert plan_renewed(Lock("me", "ops", 1000), "me", 5000) == Taking(False)
    with pytest.raises(MainstayError, match="its lock is gone; see what serves now") as caught:
        plan_renewed(None, "me", 5000)
    assert caught.value.details["lock"] == {}
    with pytest.raises(MainstayError, match="it lost its lock: ops@ctl took it 4000 seconds ago on ctl .run other.") as caught:
        plan_renewed(RENEWED, "me", 5000)
    assert caught.value.details["lock"]["owner"] == "other"


def test_a_contraction_ends_the_way_back() -> None:
    """It is recorded once, of the live release, and a later one can be rolled back to it."""
    contracted = Record("2", "green", "", "contract")
    assert next_record(state("1 2 3", TWO), "2", "green", "contract") == contracted
    assert next_record(state("1 2 3", (*TWO, contracted)), "2", "green", "contract") is None
    # Also where nothing was live before: what comes later has to know of it.
    assert next_record(state("1", ONE), "1", "blue", "contract") == Record("1", "blue", "", "contract")
    third = next_record(state("1 2 3", (*TWO, contracted)), "3", "blue", "canary")
    assert third == Record("3", "blue", "2", "canary")
    assert next_record(state("1 2 3", (*TWO, contracted, third)), "2", "green", "rollback") == Record("2", "green", "", "rollback")


CONTRACTED = Record("2", "green", "", "contract", "2026-01-02T12:00:00+00:00")


@pytest.mark.parametrize(("history", "expected"), [
    ((), []),
    (TWO, []),
    # 3 was never live; it was unpacked after the contraction, as 4 was, and 0 before.
    ((*TWO, CONTRACTED), ["0", "1"]),
    ((*TWO, CONTRACTED, Record("3", "blue", "2"), Record("2", "green", "", "rollback")), ["0", "1"]),
    # Removed since, it is known still.
    ((Record("old", "blue"), *TWO, CONTRACTED), ["0", "1", "old"]),
    # Deployed again after it, the release is one that the database has room for.
    ((*TWO, CONTRACTED, Record("1", "blue", "2")), ["0"]),
    ((*TWO, CONTRACTED, Record("3", "blue", "2"), Record("3", "blue", "", "contract", "2026-01-04T12:00:00+00:00")), ["0", "1", "2"]),
])
def test_outdated(history: tuple[Record, ...], expected: list[str]) -> None:
    """What neither a rollback nor a deployment must lead to after a contraction."""
    assert plan_outdated(state("0 1 2 3 4", history)) == expected


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", ".hidden", "a b", "x" * 65])
def test_names_that_are_no_file_names(name: str) -> None:
    """A name becomes a folder, and nothing else."""
    with pytest.raises(InvalidInput):
        check_name("release", name)
