# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts come first, and which slot serves after a run that was cut off."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._release.rollout import batches, serving, unproven

SLOTS = ("blue", "green")


@pytest.mark.parametrize(("hosts", "sizes", "expected"), [
    (1, [1, "25%", "100%"], [1]),
    (2, [1, "25%", "100%"], [1, 1]),
    (10, [1, "25%", "100%"], [1, 3, 6]),
    (40, [1, "25%", "100%"], [1, 10, 29]),
    (5, [2], [2, 2, 1]),
    (5, ["100%"], [5]),
    (0, [1], []),
])
def test_batches(hosts: int, sizes: list[int | str], expected: list[int]) -> None:
    """Every host once, in order."""
    names = [f"app{number}" for number in range(hosts)]
    found = batches(names, sizes)
    assert [len(batch) for batch in found] == expected
    assert [name for batch in found for name in batch] == names


@pytest.mark.parametrize("sizes", [[], [0], ["0%"], ["many"], ["x%"], [-1]])
def test_sizes_that_are_none(sizes: list[int | str]) -> None:
    """Refused in words."""
    with pytest.raises(InvalidInput, match="split the hosts"):
        batches(["app1"], sizes)


@pytest.mark.parametrize(("balancers", "recorded", "interrupted", "slot", "settle", "words"), [
    ({"lb1": ["blue"], "lb2": ["blue"]}, ["blue", "blue"], False, "blue", False, ""),
    ({}, ["blue"], True, "blue", False, ""),
    ({"lb1": []}, [], True, "", False, ""),
    ({}, [], False, "", False, ""),
    # Somebody has switched by hand: the balancers know.
    ({"lb1": ["green"]}, ["blue"], False, "green", False, ""),
    # A run was cut off after its switch and before its last gate: undone.
    ({"lb1": ["green"]}, ["blue", "blue"], True, "blue", True, "green (lb1)"),
    # It had recorded it on one host: finished.
    ({"lb1": ["green"], "lb2": ["green"]}, ["green", "blue"], True, "green", False, ""),
    # Within its switch.
    ({"lb1": ["green"], "lb2": ["blue"]}, ["blue", "blue"], True, "blue", True, "green (lb1), blue (lb2)"),
    ({"lb1": ["blue", "green"], "lb2": ["blue"]}, ["blue"], True, "blue", True, "blue and green (lb1)"),
    ({"lb1": ["green"], "lb2": ["blue"]}, ["blue"], False, "blue", True, ""),
    # The first release of all: there is nothing to go back to.
    ({"lb1": ["green"], "lb2": []}, [], True, "green", True, "nothing is recorded"),
    ({"lb1": ["green"], "lb2": ["green"]}, [], True, "green", False, ""),
    ({"lb1": [], "lb2": []}, ["green"], False, "green", True, "no balancer"),
    # A canary.
    ({"lb1": ["blue", "canary-green-1"], "lb2": ["blue"]}, ["blue"], True, "blue", True, "lb1 sends a share"),
    ({"lb1": ["blue", "canary-green-1", "canary-green-10"]}, ["blue"], False, "blue", True, "lb1 sends a share"),
    ({"lb1": ["green", "canary-green-1"]}, ["blue"], True, "blue", True, "; lb1 sends a share"),
    # A file that means something else.
    ({"lb1": ["blue", "maintenance"]}, ["blue"], True, "blue", False, ""),
])
def test_serving(balancers: dict[str, list[str]], recorded: list[str], interrupted: bool, slot: str, settle: bool, words: str) -> None:
    """What serves, and whether something has to be put in order."""
    found = serving(SLOTS, balancers, recorded, interrupted)
    assert (found.slot, found.settle) == (slot, settle)
    assert words in found.reason
    assert bool(found.reason) is settle


def test_every_state_of_two_balancers_is_decided() -> None:
    """Where something is recorded or marked, something serves; where balancers do not agree on it, they are put in order."""
    marks: list[list[str]] = [[], ["blue"], ["green"], ["blue", "green"]]
    records: list[list[str]] = [[], ["blue"], ["green"], ["blue", "green"]]
    states: t.Iterator[tuple[list[str], list[str], list[str], bool]] = (
        (first, second, recorded, interrupted) for first in marks for second in marks for recorded in records for interrupted in (False, True)
    )
    for first, second, recorded, interrupted in states:
        found = serving(SLOTS, {"lb1": first, "lb2": second}, recorded, interrupted)
        assert bool(found.slot) == bool(first or second or recorded)
        assert found.settle or first == second == ([found.slot] if found.slot else [])


DEPLOY = {"owner": "deploy-shop-20260102T120000Z-1", "since": 1767355200.5}
"""A lock that was taken at noon of 2026-01-02."""

BEFORE, SINCE = {"release": "1", "time": "2026-01-02T11:59:59+00:00"}, {"release": "2", "time": "2026-01-02T12:00:00+00:00"}


@pytest.mark.parametrize(("hosts", "expected"), [
    ([({}, BEFORE), ({}, BEFORE)], False),
    ([(DEPLOY, BEFORE), (DEPLOY, BEFORE)], True),
    # Cut off while it took its locks, or of the first release of all.
    ([(DEPLOY, BEFORE), ({}, BEFORE)], True),
    ([(DEPLOY, {})], True),
    # One host has recorded it: that run is finished, and can be rolled back.
    ([(DEPLOY, BEFORE), (DEPLOY, SINCE)], False),
    # A rollback that was cut off is what somebody wants to do again.
    ([({**DEPLOY, "owner": "rollback-shop-1"}, BEFORE)], False),
    ([({**DEPLOY, "owner": "contract-shop-1"}, BEFORE)], False),
])
def test_unproven(hosts: list[tuple[dict[str, t.Any], dict[str, t.Any]]], expected: bool) -> None:
    """Whether what was cut off is taken back anyway."""
    assert unproven(hosts) is expected
