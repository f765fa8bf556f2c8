# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as a catalogue: which one counts, which goes, and what tags say."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot, Trial
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Policy
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.timezone.utc)
DAY = 86400


def made(name: str, days: float, status: str = "available", trial: str = "", **tags: str) -> Snapshot:
    """A snapshot that is so many days old."""
    result = {snapshots.TRIAL: f"{trial} 2026-11-27T00:00:00Z 61.5 {snapshots.digest([])}"} if trial else {}
    moment = NOW - datetime.timedelta(days=days)
    return Snapshot(name, f"arn:{name}", "eu-central-1", moment, status, 40, {snapshots.OWNER: "shop", **result, **tags})


@pytest.mark.parametrize(
    ("found", "max_age", "chosen", "due"),
    [
        ([], DAY, None, True),
        ([made("old", 2)], DAY, "old", True),
        ([made("young", 0.5)], DAY, "young", False),
        ([made("young", 0.5)], 0, "young", True),
        ([made("young", 0.5, trial="failed")], DAY, None, True),
        ([made("old", 2), made("begun", 0.1, "creating")], DAY, "begun", False),
        ([made("good", 0.5), made("begun", 0.1, "creating")], DAY, "good", False),
        ([made("good", 0.5), made("begun", 0.1, "creating")], 0, "good", True),
        ([made("broken", 0.1, "failed")], DAY, None, True),
    ],
)
def test_a_snapshot_is_due(found: list[Snapshot], max_age: int, chosen: str | None, due: bool) -> None:
    snapshot, needed = snapshots.due(found, max_age, NOW)
    assert (snapshot.id if snapshot else None, needed) == (chosen, due)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("latest", "c"),
        ("latest_verified", "b"),
        ("a", "a"),
        ("d", "the snapshot d is failed"),
        ("e", "is creating"),
        ("nobody", "there is no snapshot nobody"),
    ],
)
def test_a_snapshot_is_chosen(selector: str, expected: str) -> None:
    found = [made("a", 4, trial="failed"), made("b", 3, trial="successful"), made("c", 2), made("d", 1, "failed"), made("e", 0, "creating")]
    if len(expected) == 1:
        assert snapshots.choose(found, selector, "restore").id == expected
        return
    with pytest.raises(InvalidInput, match=expected):
        snapshots.choose(found, selector, "restore")


def test_without_a_good_one_there_is_none_to_choose() -> None:
    with pytest.raises(InvalidInput, match="could not restore: there is no verified snapshot among 1 of ours; take one"):
        snapshots.choose([made("a", 1)], "latest_verified", "restore")


def test_retention_keeps_its_rails_and_what_stays_elsewhere() -> None:
    """The newest good one, the newest verified one, what is in progress; a failed one goes; a copy stays as long as its source."""
    found = [made("a", 9), made("b", 8, trial="successful"), made("c", 7), made("d", 6, "failed"), made("e", 5, "creating"), made("f", 4)]
    policy = Policy(keep_last=1, min_good=1)
    decisions = {each.id: each for each in snapshots.decide(policy, found, NOW, planned=False)}
    assert {name: each.keep for name, each in decisions.items()} == {"a": False, "b": True, "c": False, "d": False, "e": True, "f": True}
    assert decisions["b"].reasons == ("the newest verified one",)
    elsewhere = {each.id: each for each in snapshots.decide(policy, found, NOW, planned=False, kept={"c"}, place="eu-central-1")}
    assert (elsewhere["c"].keep, elsewhere["c"].reasons, elsewhere["a"].keep) == (True, ("it stays in eu-central-1",), False)


def test_a_planned_snapshot_counts_and_is_no_decision() -> None:
    found = [made("a", 9), made("b", 8)]
    decisions = snapshots.decide(Policy(keep_last=1, min_good=1), found, NOW, planned=True)
    assert [(each.id, each.keep) for each in decisions] == [("a", False), ("b", False)]


@pytest.mark.parametrize(
    ("name", "against"),
    [("a", ()), ("b", ("it is the newest verified one", "1 good ones would be left, min_good is 2")), ("c", ("it is in progress",)), ("d", ())],
)
def test_the_rails_speak_against_a_removal(name: str, against: tuple[str, ...]) -> None:
    found = [made("a", 9, trial="failed"), made("b", 8, trial="successful"), made("c", 7, "creating"), made("d", 6, "failed"), made("e", 5)]
    assert snapshots.against_removal(found, name, 2) == against


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (Trial("successful", NOW, 61.49, "abc").text, "successful"),
        (Trial("failed", NOW, 0, "abc").text, "failed"),
        ("successful", None),
        ("great 2026-11-28T12:00:00Z 1 abc", None),
        ("successful yesterday 1 abc", None),
        ("", None),
    ],
)
def test_only_what_was_written_as_a_trial_is_one(text: str, status: str | None) -> None:
    found = snapshots.read_trial(text)
    assert (found.status if found else None) == status
    assert snapshots.TAG_TEXT.fullmatch(text)


def test_a_trial_is_read_as_it_was_written() -> None:
    trial = Trial("successful", NOW, 61.5, snapshots.digest([{"database": "shop", "query": "SELECT 1", "expect": "1"}]))
    assert snapshots.read_trial(trial.text) == trial
    assert trial.asked != snapshots.digest([])


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        ({"why": "release 3.1"}, ""),
        ({"why": "it, costs"}, "the label why cannot be a tag"),
        ({"a b": "x"}, "the label a b cannot be a tag"),
        ({f"n{number}": "x" for number in range(41)}, "there are 41 labels"),
    ],
)
def test_labels_become_tags_or_are_refused(labels: dict[str, t.Any], cause: str) -> None:
    if not cause:
        assert snapshots.new_tags("shop", labels, NOW) == {
            "mainstay:backup": "shop",
            "mainstay:moment": "2026-11-28T12:00:00Z",
            "mainstay:label:why": "release 3.1",
        }
        return
    with pytest.raises(InvalidInput, match=cause):
        snapshots.new_tags("shop", labels, NOW)


def test_identifiers_are_ones_that_aws_takes() -> None:
    """RDS API reference, CreateDBSnapshot: letters, digits and single hyphens, a letter first, none at the end, at most 255."""
    for name in ("Shop", "s" * 250, "shop" + "-x" * 120):
        found = snapshots.new_id(name, NOW)
        assert len(found) <= 255 and "--" not in found and found[0].isalpha() and found.replace("-", "").isalnum() and found == found.lower()


def test_what_modules_return() -> None:
    plain = made("b", 1, trial="successful", **{"mainstay:label:why": "x"}).plain()
    assert (plain["verified"], plain["verified_at"], plain["restore_seconds"], plain["labels"]) == (True, "2026-11-27T00:00:00Z", 61.5, {"why": "x"})
    assert (plain["good"], plain["problem"], plain["recoverable_to"], plain["name"]) == (True, "", "2026-11-27T12:00:00Z", "shop")
    assert made("e", 0, "creating").plain()["problem"] == "it is creating, 40 % done"
    assert made("a", 0, trial="failed").plain()["problem"] == "its newest verification failed"
