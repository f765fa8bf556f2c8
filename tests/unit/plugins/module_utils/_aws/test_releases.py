# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went live on ECS, as a ledger of one parameter."""

from __future__ import annotations

import functools

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws.releases import MOST_CHARACTERS, Ledger, default_name, plan_live, read_ledger, serving
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

ARN = "arn:aws:ecs:eu-central-1:123456789012:task-definition/shop:{}"
COLOURS = ("blue", "green")


def after(*steps: tuple[str, str]) -> Ledger:
    """The ledger after releases of these names and kinds, each in the next colour; a release has the task definition of its number."""

    def went(ledger: Ledger, numbered: tuple[int, tuple[str, str]]) -> Ledger:
        number, (release, kind) = numbered
        return plan_live(ledger, release, COLOURS[number % 2], ARN.format(release), kind, "2026-01-01T00:00:00Z", "ops@here")

    return functools.reduce(went, enumerate(steps), Ledger())


@pytest.mark.parametrize(
    ("steps", "previous"),
    [
        ([("1", "deploy")], ""),
        ([("1", "deploy"), ("2", "canary")], "1"),
        ([("1", "deploy"), ("2", "deploy"), ("1", "rollback")], ""),
        ([("1", "deploy"), ("2", "deploy"), ("3", "deploy"), ("2", "rollback")], "1"),
        ([("1", "deploy"), ("2", "deploy"), ("1", "rollback"), ("3", "deploy")], "1"),
    ],
)
def test_a_rollback_leads_back_in_time_only(steps: list[tuple[str, str]], previous: str) -> None:
    """As on a host, whose rule it is."""
    ledger = after(*steps)
    assert serving(ledger, ARN.format(steps[-1][0])) == (steps[-1][0], previous)


def test_what_is_recorded_is_not_recorded_again() -> None:
    """Whoever does it, and whenever."""
    ledger = after(("1", "deploy"), ("2", "deploy"))
    assert plan_live(ledger, "2", "green", ARN.format("2"), "deploy", "later", "another") == ledger
    moved = plan_live(ledger, "2", "blue", ARN.format("7"), "deploy", "later", "another")
    assert (serving(moved, ARN.format("7")), len(moved.history)) == (("2", "1"), 3)


def test_a_release_that_somebody_else_has_deployed_is_not_known() -> None:
    """One that is known but not the newest leads where it led."""
    ledger = after(("1", "deploy"), ("2", "deploy"), ("3", "deploy"))
    assert serving(ledger, ARN.format("9")) == ("", "")
    assert serving(ledger, ARN.format("2")) == ("2", "1")
    assert serving(Ledger(), ARN.format("9")) == ("", "")


def test_it_is_read_as_it_was_written() -> None:
    """And what was not written by us is refused."""
    ledger = after(("1", "deploy"), ("2", "deploy"))
    assert read_ledger(ledger.text) == ledger
    for text in ("", "[]", "{}", '{"history": [{"colour": "red"}], "definitions": {}}', '{"history": [], "definitions": []}'):
        with pytest.raises(MainstayError, match="the parameter holds something else"):
            read_ledger(text)


def test_a_long_history_is_cut_to_what_a_parameter_holds() -> None:
    """The newest stay, with the releases that they name."""
    text = after(*((f"{number}-{'x' * 40}", "deploy") for number in range(60))).text
    kept = read_ledger(text)
    assert MOST_CHARACTERS * 0.8 < len(text) <= MOST_CHARACTERS
    assert kept.live is not None and kept.live.release.startswith("59-")
    assert set(kept.definitions) == {name for record in kept.history for name in (record.release, record.previous)}


def test_the_name_of_the_parameter() -> None:
    """The cluster by its name or its ARN."""
    assert default_name("arn:aws:ecs:eu-central-1:123456789012:cluster/main", "shop") == default_name("main", "shop") == "/mainstay/releases/main/shop"
