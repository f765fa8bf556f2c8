# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What blocks a move to another server, and what is only to be known."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.upgrade_rules import (
    BLOCKS,
    Database,
    Finding,
    Server,
    blockers,
    differences,
    dropped_slots,
    judge,
    judge_way_back,
    listed,
)

FREE = {"slots": 9, "senders": 9, "workers": 4, "origins": 10}
OLD = Server(150018, False, "1", True, "logical", FREE, databases=frozenset({"ledger"}))
NEW = Server(170006, False, "2", True, "replica", FREE, extensions={"pg_trgm": "1.6", "plpgsql": "1.0"}, settings=frozenset({"work_mem"}))
PLAIN = Database("ledger", extensions={"plpgsql": "1.0"}, set_parameters=("work_mem",))


def test_nothing_stands_in_the_way() -> None:
    assert judge(OLD, NEW, [PLAIN]) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"in_recovery": True}, {}, "the old server is a standby"),
        ({}, {"in_recovery": True}, "the new server is a standby"),
        ({}, {"system_identifier": "1"}, "both are the same cluster"),
        ({}, {"version_num": 140020}, "the new server has PostgreSQL 14, the old one 15"),
        ({"version_num": 120022}, {}, "the old server has PostgreSQL 12, and at least 13 is needed"),
        ({"superuser": False}, {}, "the login on the old server is no superuser"),
        ({}, {"superuser": False}, "the login on the new server is no superuser"),
        ({"wal_level": "replica"}, {}, "wal_level of the old server is replica; set wal_level to logical"),
        ({"free": {**FREE, "slots": 2}}, {}, "the old server has 2 slots free, and 3 are needed; raise max_replication_slots"),
        ({"free": {**FREE, "senders": 0}}, {}, "the old server has 0 senders free"),
        ({}, {"free": {**FREE, "workers": 2}}, "the new server has 2 workers free"),
        ({}, {"free": {**FREE, "origins": 2}}, "the new server has 2 origins free"),
        ({}, {"databases": frozenset({"ledger"})}, "ledger: the new server has a database of this name"),
    ],
)
def test_servers_that_block(old: dict[str, t.Any], new: dict[str, t.Any], words: str) -> None:
    found = blockers(judge(dataclasses.replace(OLD, **old), dataclasses.replace(NEW, **new), [PLAIN]))
    assert len(found) == 1 and words in str(found[0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"without_identity": ("public.loose",)}, "rows of public.loose cannot be told apart"),
        ({"large_objects": 3}, "3 large objects are not replicated"),
        ({"extensions": {"postgis": "3.3"}}, "the new server lacks the extensions postgis; install their packages"),
        ({"set_parameters": ("vacuum_defer_cleanup_age",)}, "the new server knows no vacuum_defer_cleanup_age"),
    ],
)
def test_databases_that_block(more: dict[str, t.Any], words: str) -> None:
    found = blockers(judge(OLD, NEW, [dataclasses.replace(PLAIN, **more)]))
    assert len(found) == 1 and found[0].database == "ledger" and words in str(found[0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"unlogged": ("public.cache",)}, "rows of the unlogged tables public.cache are not moved"),
        ({"foreign": ("public.far",)}, "foreign tables public.far keep their servers"),
        ({"eager_triggers": ("audit on entry",)}, "the triggers audit on entry fire for replicated rows too"),
        ({"event_triggers": ("guard",)}, "the event triggers guard fire"),
        ({"publications": ("feed",)}, "the publications feed are not moved"),
        ({"subscriptions": ("feed",)}, "the subscriptions feed are not moved"),
        ({"materialized": ("public.total",)}, "the materialized views public.total are filled anew"),
        ({"extensions": {"pg_trgm": "1.5"}}, "the extension pg_trgm goes from 1.5 to 1.6"),
        ({"collations": ("the collation of the database has another version",)}, "indexes are built anew"),
    ],
)
def test_what_is_only_to_be_known(more: dict[str, t.Any], words: str) -> None:
    found = judge(OLD, NEW, [dataclasses.replace(PLAIN, **more)])
    assert len(found) == 1 and not blockers(found) and words in str(found[0])


def test_servers_are_warned_of() -> None:
    found = judge(dataclasses.replace(OLD, prepared=2, consumers=("feed",)), NEW, [PLAIN])
    assert [finding.weight for finding in found] == ["warns", "warns"] and "2 prepared transactions" in found[0].text and "slots feed" in found[1].text


def test_slots_that_patroni_would_drop_block() -> None:
    slots = {"move_1": "ledger", "move_2": "audit"}
    assert dropped_slots("old", OLD, slots) == []
    for entries, names in (
        ((), "move_1, move_2"),
        (({"type": "physical"}, {"plugin": "wal2json", "type": "logical"}), "move_1, move_2"),
        (({"name": "move_1", "database": "ledger"},), "move_2"),
        (({"database": "audit", "type": "logical"},), "move_1"),
    ):
        found = dropped_slots("old", dataclasses.replace(OLD, ignored_slots=entries), slots)
        assert len(blockers(found)) == 1 and f"the old server is under Patroni, whose ignore_slots does not name the slots {names}, " in found[0].text
    kept = ({"type": "logical", "plugin": "pgoutput"},)
    assert dropped_slots("old", dataclasses.replace(OLD, ignored_slots=kept), slots) == []
    assert dropped_slots("old", dataclasses.replace(OLD, ignored_slots=()), {}) == []


def test_what_blocks_the_way_back() -> None:
    found = judge_way_back(dataclasses.replace(NEW, ignored_slots=()), {"move_back_1": "ledger"})
    assert len(blockers(found)) == 2 and "the new server is under Patroni" in found[0].text and "wal_level of the new server is replica" in found[1].text
    assert judge_way_back(dataclasses.replace(NEW, wal_level="logical"), {"move_back_1": "ledger"}) == []


def test_what_an_earlier_run_made_does_not_block() -> None:
    used = {"slots": 0, "senders": 0, "workers": 0, "origins": 0}
    old, new = dataclasses.replace(OLD, free=used), dataclasses.replace(NEW, free=used, databases=frozenset({"ledger"}))
    assert judge(old, new, [PLAIN], made=["ledger"]) == []
    assert len(blockers(judge(old, new, [PLAIN, Database("audit")], made=["ledger"]))) == 4
    assert judge(OLD, dataclasses.replace(NEW, databases=frozenset({"ledger"})), [PLAIN], vacant=["ledger"]) == []


def test_words() -> None:
    assert Finding(BLOCKS, "ledger", "it is so", "do that").plain() == {"weight": "blocks", "database": "ledger", "text": "it is so", "next_step": "do that"}
    assert str(Finding(BLOCKS, "", "it is so")) == "it is so"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 2}) == []
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == [
        "a is missing on the new server",
        "b is 2 on the old server and 3 on the new one",
        "c is on the new server alone",
    ]
    assert differences(dict.fromkeys("abc", 1), {}, most=2)[-1] == "and 1 more"
