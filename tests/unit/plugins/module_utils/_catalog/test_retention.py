# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: each rule against a definition of its own, each rail on its own, and all of them over random histories."""

from __future__ import annotations

import dataclasses
import datetime
import random
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Candidate, Decision, Policy, plan, refusals

NOW = datetime.datetime(2026, 11, 22, 18, 0, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
HISTORIES = 100_000
PARTS = 8
"""Pieces of the long test, which run beside each other."""

KEYS = {
    "hourly": lambda moment: (moment.date(), moment.hour),
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: moment.year,
}


def backup(name: str, age: datetime.timedelta = 10 * DAY, good: bool = True, verified: bool = False, **more: t.Any) -> Candidate:
    """A backup of a certain age."""
    return Candidate(name, NOW - age, good, verified, **more)


def series(count: int, step: datetime.timedelta = DAY, first: datetime.timedelta = 2 * DAY) -> list[Candidate]:
    """Good backups named b0 (the newest), b1, ..."""
    return [backup(f"b{number}", first + number * step) for number in range(count)]


def kept(decisions: t.Iterable[Decision]) -> set[str]:
    """The ids that stay."""
    return {item.id for item in decisions if item.keep}


def reasons(decisions: t.Iterable[Decision], name: str) -> tuple[str, ...]:
    """The reasons of one decision."""
    return next(item.reasons for item in decisions if item.id == name)


BARE = Policy(min_good=1, grace_seconds=0)


def test_what_a_restore_replaced() -> None:
    """It stays until somebody removes it, and takes no place of a backup that was asked for."""
    found = [backup("new", DAY, regular=False), backup("a", 2 * DAY), backup("b", 3 * DAY, verified=True), backup("c", 4 * DAY)]
    decisions = plan(Policy(keep_last=1, min_good=1, grace_seconds=0), found, NOW)
    assert kept(decisions) == {"new", "a", "b"}
    assert reasons(decisions, "new") == ("it is of data that a restore replaced",)
    assert "the newest good one" in reasons(decisions, "a")


class TestRules:
    @pytest.mark.parametrize(
        ("rules", "step", "expected"),
        [
            ({"keep_last": 3}, DAY, {0, 1, 2}),
            ({"keep_last": 99}, DAY, set(range(60))),
            ({"keep_within_seconds": 3 * 86400}, DAY, {0, 1, 2, 3}),
            ({"keep_hourly": 3}, HOUR / 4, {0, 1, 5}),
            ({"keep_daily": 3}, 6 * HOUR, {0, 4, 8}),
            ({"keep_daily": 2, "keep_last": 2}, 6 * HOUR, {0, 1, 4}),
            ({"keep_weekly": 2}, DAY, {0, 5}),
            ({"keep_monthly": 3}, DAY, {0, 20, 51}),
            ({"keep_yearly": 2}, DAY, {0}),
            ({"keep_yearly": 2}, 10 * DAY, {0, 33}),
        ],
    )
    def test_what_stays(self, rules: dict[str, int], step: datetime.timedelta, expected: set[int]) -> None:
        decisions = plan(dataclasses.replace(BARE, **rules), series(60, step), NOW)
        assert kept(decisions) == {f"b{number}" for number in expected}

    def test_the_words(self) -> None:
        policy = Policy(2, 86400, 1, 1, 1, 1, 1, min_good=1, grace_seconds=0)
        decisions = plan(policy, series(3, 20 * DAY), NOW)
        assert [item.id for item in decisions] == ["b2", "b1", "b0"]
        assert reasons(decisions, "b0") == (
            "keep_last 1 of 2",
            "keep_within 24h",
            "keep_hourly 2026-11-20T18",
            "keep_daily 2026-11-20",
            "keep_weekly 2026-W47",
            "keep_monthly 2026-11",
            "keep_yearly 2026",
            "the newest good one",
            "min_good 1 of 1",
        )
        assert reasons(decisions, "b1") == ("keep_last 2 of 2",)
        assert reasons(decisions, "b2") == ("no rule keeps it",)

    def test_days_are_those_of_utc(self) -> None:
        west = datetime.timezone(-8 * HOUR)
        found = [
            Candidate("late", datetime.datetime(2026, 11, 19, 17, tzinfo=west), True, False),
            Candidate("early", datetime.datetime(2026, 11, 19, 15, tzinfo=west), True, False),
        ]
        decisions = plan(dataclasses.replace(BARE, keep_daily=2), found, NOW)
        assert kept(decisions) == {"late", "early"}
        assert "keep_daily 2026-11-20" in reasons(decisions, "late")

    def test_the_last_days_of_a_year_are_in_the_week_of_the_next(self) -> None:
        found = [Candidate(f"d{day}", datetime.datetime(2024, 12, day, tzinfo=datetime.timezone.utc), True, False) for day in (28, 29, 30, 31)]
        decisions = plan(dataclasses.replace(BARE, keep_weekly=2), found, NOW)
        assert kept(decisions) == {"d31", "d29"}
        assert "keep_weekly 2025-W01" in reasons(decisions, "d31")

    def test_nothing_ages_away_when_no_new_ones_come(self) -> None:
        found = series(5, first=400 * DAY)
        assert kept(plan(dataclasses.replace(BARE, keep_within_seconds=2 * 86400), found, NOW)) == {"b0", "b1", "b2"}

    def test_a_backup_from_the_future_takes_no_room_from_the_others(self) -> None:
        found = [backup("future", -1000 * DAY), *series(3)]
        assert kept(plan(dataclasses.replace(BARE, keep_within_seconds=3 * 86400), found, NOW)) == {"future", "b0", "b1"}


ONE = Policy(keep_last=1, min_good=1, grace_seconds=0)


class TestRails:
    @pytest.mark.parametrize(
        ("policy", "found", "expected", "why"),
        [
            pytest.param(Policy(keep_yearly=1, min_good=1, grace_seconds=0), [backup("b", DAY), backup("a")], {"b"}, ("b", "the newest good one"), id="newest"),
            pytest.param(ONE, [backup("c", DAY), backup("b", verified=True), backup("a")], {"c", "b"}, ("b", "the newest verified one"), id="verified"),
            pytest.param(
                ONE,
                [backup("c", DAY), backup("b", 2 * DAY, verified=True), backup("a", verified=True)],
                {"c", "b"},
                ("a", "no rule keeps it"),
                id="older-verified",
            ),
            pytest.param(Policy(keep_last=1, grace_seconds=0), series(4), {"b0", "b1"}, ("b1", "min_good 2 of 2"), id="min-good"),
            pytest.param(
                Policy(keep_last=1, grace_seconds=0),
                [backup("i2", DAY, parents=("full",)), backup("i1", 2 * DAY, parents=("full",)), backup("full", 3 * DAY), backup("old", 9 * DAY), backup("x")],
                {"i2", "full", "old"},
                ("old", "min_good 2 of 2"),
                id="increments-do-not-count",
            ),
            pytest.param(
                ONE,
                [backup("i2", DAY, parents=("i1",)), backup("i1", 2 * DAY, parents=("full",)), backup("full", 3 * DAY), backup("x")],
                {"i2", "i1", "full"},
                ("i1", "i2 is based on it"),
                id="parents-stay-with-children",
            ),
            pytest.param(ONE, [backup("b", DAY), backup("a", good=False, in_progress=True)], {"a", "b"}, ("a", "it has no manifest"), id="in-progress"),
            pytest.param(ONE, [backup("b", DAY), backup("a", good=False, readable=False)], {"a", "b"}, ("a", "its manifest cannot be read"), id="unreadable"),
            pytest.param(
                ONE,
                [backup("c", DAY), backup("b", 2 * DAY, parents=("a",)), backup("a", good=False, readable=False)],
                {"a", "b", "c"},
                ("b", "it is based on a"),
                id="based-on-unreadable",
            ),
            pytest.param(
                Policy(keep_last=1, min_good=1), [backup("b", HOUR), backup("a", 23 * HOUR), backup("x")], {"a", "b"}, ("a", "younger than 24h"), id="grace"
            ),
            pytest.param(ONE, [backup("c", DAY), backup("b", -HOUR, good=False), backup("a")], {"c"}, ("b", "its newest verification failed"), id="no-grace"),
            pytest.param(
                Policy(keep_last=1, min_good=1),
                [backup("b", HOUR), backup("a", 2 * HOUR, good=False), backup("x", good=False)],
                {"a", "b"},
                ("x", "its newest verification failed"),
                id="failed-goes-after-grace",
            ),
            pytest.param(
                ONE, [backup("bad", DAY, good=False), backup("b", 2 * DAY), backup("a")], {"b"}, ("b", "keep_last 1 of 1"), id="failed-counts-for-no-rule"
            ),
            pytest.param(Policy(grace_seconds=0), series(5), {f"b{n}" for n in range(5)}, ("b4", "no keep rule is given"), id="no-rule"),
            pytest.param(
                ONE, [backup("a", good=False), backup("b", good=False)], {"a", "b"}, ("a", "nothing goes while there is no good backup"), id="no-good-one"
            ),
            pytest.param(
                ONE,
                [backup("c", DAY, parents=("gone",)), backup("b", 2 * DAY), backup("a")],
                {"b"},
                ("c", "a backup that it is based on is missing or at fault"),
                id="orphan-is-not-good",
            ),
            pytest.param(
                ONE,
                [backup("c", DAY, parents=("d",)), backup("d", DAY, parents=("c",)), backup("b", 2 * DAY), backup("a")],
                {"b"},
                ("b", "the newest good one"),
                id="a-circle-is-not-good",
            ),
        ],
    )
    def test_each(self, policy: Policy, found: list[Candidate], expected: set[str], why: tuple[str, str]) -> None:
        decisions = plan(policy, found, NOW)
        assert kept(decisions) == expected
        assert any(why[1] in reason for reason in reasons(decisions, why[0])), decisions

    def test_an_empty_catalogue(self) -> None:
        assert plan(ONE, [], NOW) == ()


class TestRefusals:
    FOUND = [
        backup("inc", DAY, parents=("d",)),
        backup("d", 2 * DAY),
        backup("c", 3 * DAY, verified=True),
        backup("bad", 4 * DAY, good=False),
        backup("b", 5 * DAY),
        backup("a", 6 * DAY),
    ]

    @pytest.mark.parametrize(
        ("name", "min_good", "expected"),
        [
            ("a", 2, ()),
            ("bad", 9, ()),
            ("b", 3, ()),
            ("b", 4, ("3 good ones would be left, min_good is 4",)),
            ("inc", 2, ("it is the newest good one",)),
            ("d", 2, ("inc is based on it",)),
            ("c", 2, ("it is the newest verified one",)),
        ],
    )
    def test_each(self, name: str, min_good: int, expected: tuple[str, ...]) -> None:
        assert refusals(self.FOUND, name, min_good) == expected

    def test_the_last_one(self) -> None:
        assert len(refusals([backup("a", verified=True)], "a", 1)) == 3


def sound(found: t.Sequence[Candidate]) -> list[Candidate]:
    """The backups that can be restored, newest first: by walking down from each, unlike the plan."""
    by_id = {item.id: item for item in found}

    def works(item: Candidate, depth: int = 0) -> bool:
        usable = item.good and item.readable and not item.in_progress and depth <= len(found)
        return usable and all(name in by_id and works(by_id[name], depth + 1) for name in item.parents)

    return sorted((item for item in found if works(item)), key=lambda item: (item.moment, item.id), reverse=True)


def random_policy(chance: random.Random) -> Policy:
    """Any policy; often with few rules."""
    rules = {f"keep_{name}": chance.choice((1, 2, 5)) for name in ("last", *KEYS) if chance.random() < 0.2}
    within = chance.choice((3600, 86400, 864000)) if chance.random() < 0.2 else None
    return Policy(**rules, keep_within_seconds=within, min_good=chance.choice((1, 2, 2, 4)), grace_seconds=chance.choice((0, 3600, 86400, 864000)))


def random_backups(chance: random.Random, start: int, earlier: t.Sequence[Candidate] = ()) -> list[Candidate]:
    """Backups with all that can be wrong with them, at ages between days and years; some are based on earlier ones, or on what is not there."""
    found = list(earlier)
    scale = chance.choice((3600, 86400, 864000))
    moments = sorted(chance.randrange(0, 12 * scale) for _unused in range(chance.randrange(8)))
    for number, moment in enumerate(moments, start):
        fate = chance.random()
        good = fate < 0.7
        parents = (chance.choice(found).id,) if found and chance.random() < 0.4 else ("lost",) if chance.random() < 0.03 else ()
        at = NOW - datetime.timedelta(seconds=12 * scale - moment)
        verified = good and chance.random() < 0.3
        found.append(Candidate(f"b{number}", at, good, verified, not 0.7 <= fate < 0.75, 0.75 <= fate < 0.8, parents))
    return found


def check(policy: Policy, found: list[Candidate], decisions: tuple[Decision, ...], now: datetime.datetime) -> list[Candidate]:
    """Assert what must always hold; return what stays."""
    names = kept(decisions)
    stays = [item for item in found if item.id in names]
    gone = [item for item in found if item.id not in names]
    assert len(decisions) == len(found) and all(item.reasons for item in decisions)
    before, after = sound(found), sound(stays)
    assert before[:1] == after[:1], "the newest good one"
    assert [item for item in before if item.verified][:1] == [item for item in after if item.verified][:1], "the newest verified one"
    alone = [item for item in before if not item.parents]
    assert [item for item in after if not item.parents][: policy.min_good] == alone[: policy.min_good], "min_good"
    there = {item.id for item in found}
    assert not any(there.intersection(item.parents) - names for item in stays), "what a kept one is based on"
    if gone:
        assert before and policy.has_rules
        for item in gone:
            assert item.readable and not item.in_progress and (now - item.moment).total_seconds() >= policy.grace_seconds
    return stays


@pytest.mark.parametrize("part", range(PARTS))
def test_a_restorable_set_remains_in_100000_random_histories(part: int) -> None:
    chance = random.Random(20261122 + part)
    removed = 0
    for _unused in range(HISTORIES // PARTS):
        policy, found = random_policy(chance), random_backups(chance, 0)
        stays = check(policy, found, plan(policy, found, NOW), NOW)
        removed += len(found) - len(stays)
        if chance.random() < 0.2:
            later, policy = NOW + chance.choice((HOUR, 9 * DAY)), random_policy(chance)
            more = random_backups(chance, 100, stays)
            check(policy, more, plan(policy, more, later), later)
    assert removed > HISTORIES / PARTS / 2, "too little was removed for the test to say anything"


def test_the_rules_are_what_their_definitions_say() -> None:
    chance = random.Random(42)
    for _unused in range(4_000):
        policy, found = random_policy(chance), random_backups(chance, 0)
        good = sound(found)
        decisions = plan(policy, found, NOW)
        for item in good:
            newer = [other for other in good if (other.moment, other.id) > (item.moment, item.id)]
            expected = {f"keep_last {len(newer) + 1} of {policy.keep_last}"} if policy.keep_last and len(newer) < policy.keep_last else set()
            if policy.keep_within_seconds and (min(good[0].moment, NOW) - item.moment).total_seconds() <= policy.keep_within_seconds:
                expected.add("keep_within")
            for name, key in KEYS.items():
                count = getattr(policy, f"keep_{name}") or 0
                mine, later = key(item.moment), {key(other.moment) for other in newer}
                if mine not in later and len(later) < count:
                    expected.add(f"keep_{name}")
            rules = {reason for reason in reasons(decisions, item.id) if reason.startswith("keep_")}
            assert {reason if "last" in reason else reason.split()[0] for reason in rules} == expected
