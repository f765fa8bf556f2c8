# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dynamic configuration: what is the same, what differs, what is refused, what needs a restart, and what is a secret."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.config import (
    Change,
    Needs,
    applied,
    check_timing,
    differences,
    needs_of,
    patch_of,
    same,
    start_parameters,
    wanted_from,
)
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.secrecy import MASK, mask, secrets_in

Settings = dict[str, t.Any]


def parameters(**wanted: t.Any) -> Settings:
    """Return settings that hold parameters of PostgreSQL."""
    return {"postgresql": {"parameters": wanted}}


def change(name: str, before: t.Any, after: t.Any) -> Change:
    """Return a change of a parameter."""
    return Change(("postgresql", "parameters", name), before, after)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("100", 100, True),
        (0.9, "0.90", True),
        (100, 101, False),
        (True, "on", True),
        ("off", "false", True),
        ("yes", "no", False),
        (1, True, False),
        ("64MB", "65536kB", True),
        ("1GB", "1024 MB", True),
        ("64MB", "64mb", False),
        ("90s", "1.5min", True),
        ("1d", "24h", True),
        ("64MB", 65536, False),
        ("1s", "1kB", False),
        (["a", "1"], ["a", 1], True),
        (["a"], ["a", "b"], False),
        ({"type": "physical"}, {"type": "physical"}, True),
        ("replica", "replica", True),
        ("", 0, False),
        ("nan", "NaN", False),
    ],
)
def test_same(one: t.Any, other: t.Any, expected: bool) -> None:
    assert same(one, other) is expected
    assert same(one=other, other=one) is expected


@pytest.mark.parametrize(
    ("current", "wanted", "purge", "patch"),
    [
        ({"ttl": 30}, {"ttl": 30}, False, {}),
        ({"ttl": 30}, {"ttl": 40}, False, {"ttl": 40}),
        ({}, {"ttl": 40}, False, {"ttl": 40}),
        ({"ttl": 30}, {"ttl": None}, False, {"ttl": None}),
        ({}, {"ttl": None, "slots": {"a": None}}, False, {}),
        ({}, parameters(work_mem="4MB", lock_timeout=None), False, parameters(work_mem="4MB")),
        (parameters(work_mem="4096kB", jit="off"), parameters(work_mem="4MB"), False, {}),
        (parameters(work_mem="4MB", jit="off"), parameters(work_mem="4MB"), True, parameters(jit=None)),
        (parameters(work_mem="4MB"), parameters(), True, parameters(work_mem=None)),
        ({"slots": {"a": {"type": "physical"}}}, {"slots": {"b": {"type": "physical"}}}, True, {"slots": {"b": {"type": "physical"}}}),
        ({"slots": "broken"}, {"slots": {"b": {"type": "physical"}}}, False, {"slots": {"b": {"type": "physical"}}}),
        ({"postgresql": {"pg_hba": ["a"]}}, {"postgresql": {"pg_hba": ["a", "b"]}}, False, {"postgresql": {"pg_hba": ["a", "b"]}}),
        ({"master_start_timeout": 9}, {"primary_start_timeout": 9}, False, {"primary_start_timeout": 9, "master_start_timeout": None}),
        ({"postgresql": None}, parameters(work_mem="4MB"), False, parameters(work_mem="4MB")),
    ],
)
def test_differences(current: Settings, wanted: Settings, purge: bool, patch: Settings) -> None:
    changes = differences(current, wanted, purge)
    assert patch_of(changes) == patch
    after = applied(current, changes)
    assert differences(after, wanted, purge) == ()
    assert bool(changes) is bool(patch)


def test_applying_changes_leaves_the_original() -> None:
    current = parameters(work_mem="4MB")
    assert applied(current, [change("work_mem", "4MB", None), change("jit", None, "off")]) == parameters(jit="off")
    assert current == parameters(work_mem="4MB")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"ttl": "30", "failsafe_mode": "on", "synchronous_mode": "true"}, {"ttl": 30, "failsafe_mode": True, "synchronous_mode": True}),
        ({"master_start_timeout": 5}, {"primary_start_timeout": 5}),
        (parameters(ssl=True, jit=False, work_mem="4MB", lock_timeout=None), parameters(ssl="on", jit="off", work_mem="4MB", lock_timeout=None)),
        ({"postgresql": {"parameters": None, "use_slots": True}}, {"postgresql": {"parameters": None, "use_slots": True}}),
        ({"mainstay": {"wishes": "abc"}, "pause": None}, {"mainstay": {"wishes": "abc"}, "pause": None}),
        ({"standby_cluster": None, "slots": None, "ignore_slots": [{"name": "a"}]}, {"standby_cluster": None, "slots": None, "ignore_slots": [{"name": "a"}]}),
    ],
)
def test_what_goes_into_the_store(settings: Settings, wanted: Settings) -> None:
    assert wanted_from(settings, ["3.0.2"]) == wanted


def test_what_a_newer_release_knows() -> None:
    settings = {"synchronous_mode": "quorum", "member_slots_ttl": "30min"}
    assert wanted_from(settings, ["4.0.7", "", "4.1.0"]) == settings == wanted_from(settings, [])
    with pytest.raises(InvalidInput, match="synchronous_mode quorum needs Patroni 4.0, and a member has 3.0"):
        wanted_from({"synchronous_mode": "quorum"}, ["4.0.7", "3.0.2"])
    with pytest.raises(InvalidInput, match="member_slots_ttl needs Patroni 4.0"):
        wanted_from({"member_slots_ttl": 60}, ["3.3.8"])
    assert wanted_from({"member_slots_ttl": None}, ["3.0.2"]) == {"member_slots_ttl": None}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"restapi": {}}, "restapi belongs to each member's own configuration file"),
        ({"tags": {"nofailover": True}}, "tags belongs to"),
        ({"postgresql": {"data_dir": "/data"}}, "postgresql.data_dir belongs to"),
        ({"postgresql": {"authentication": {}}}, "postgresql.authentication belongs to"),
        (parameters(port=1), "the parameter port is set by Patroni itself and passed over here; it comes from postgresql.listen"),
        (parameters(data_directory="/data"), "it comes from postgresql.data_dir"),
        (parameters(hot_standby="off"), "the parameter hot_standby is set by Patroni itself and passed over here; leave it out"),
        (parameters(work_mem=["4MB"]), "must be one value"),
        (parameters(max_connections=24), "below 25"),
        (parameters(wal_level="minimal"), "wal_level is minimal"),
        ({"work_mem": "4MB"}, "Patroni knows no dynamic setting work_mem"),
        ({"ttl": "1.5"}, "ttl is '1.5', it must be a whole number"),
        ({"loop_wait": "10s"}, "it must be a whole number"),
        ({"synchronous_mode": "strict"}, "it must be true or false, or quorum"),
        ({"failsafe_mode": "perhaps"}, "failsafe_mode is 'perhaps', it must be true or false"),
        ({"slots": ["a"]}, "it must be a dictionary"),
        ({"ignore_slots": {}}, "it must be a list"),
        ({"postgresql": {"parameters": "x"}}, "postgresql.parameters must be a dictionary"),
        ({"primary_stop_timeout": 1, "master_stop_timeout": 1}, "master_stop_timeout and primary_stop_timeout are the same setting"),
    ],
)
def test_what_is_refused(settings: Settings, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        wanted_from(settings, ["3.0.2"])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("after", "wanted", "words"),
    [
        ({}, {"ttl": 30}, ""),
        ({"ttl": 20, "loop_wait": 5, "retry_timeout": 5}, {"ttl": 20}, ""),
        ({"ttl": 20}, {"loop_wait": 10}, "loop_wait 10 + 2 * retry_timeout 10 is more than ttl 20"),
        ({"ttl": 20}, {"failsafe_mode": True}, ""),
        ({"ttl": 19, "loop_wait": 1, "retry_timeout": 3}, {"ttl": 19}, "ttl is 19, and Patroni permits no less than 20"),
        ({"ttl": 20, "loop_wait": 1, "retry_timeout": 2}, {"ttl": 20}, "retry_timeout is 2"),
    ],
)
def test_timing(after: Settings, wanted: Settings, words: str) -> None:
    if not words:
        check_timing(after, wanted)
        return
    with pytest.raises(InvalidInput) as refused:
        check_timing(after, wanted)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "reasons", "needs"),
    [
        ([], [], Needs()),
        ([change("work_mem", "4MB", "8MB")], [], Needs()),
        ([change("max_connections", 100, 120), change("shared_buffers", "1GB", "500MB")], [], Needs((), ("max_connections", "shared_buffers"))),
        ([change("max_connections", None, 50)], [], Needs(("max_connections",))),
        ([change("max_connections", "200", None), change("wal_level", "logical", "replica")], [], Needs(("max_connections",), ("wal_level",))),
        ([], [{"max_wal_senders": {"old_value": "10", "new_value": "5"}}], Needs(("max_wal_senders",))),
        ([], [{"max_wal_senders": {"old_value": "5", "new_value": "10"}}, {}], Needs((), ("max_wal_senders",))),
        ([change("max_connections", "many", 50)], [], Needs((), ("max_connections",))),
    ],
)
def test_needs(changes: list[Change], reasons: list[Settings], needs: Needs) -> None:
    assert needs_of(changes, reasons) == needs


def test_parameters_that_are_read_at_the_start() -> None:
    changes = [change("max_connections", 1, 2), change("work_mem", 1, 2), Change(("ttl",), 1, 2), Change(("postgresql", "use_slots"), True, False)]
    assert start_parameters(changes) == ["max_connections"]


def test_a_change_in_words_has_no_secret() -> None:
    assert str(Change(("ttl",), 30, 40)) == "set ttl to 40 (it was 30)"
    assert str(Change(("ttl",), None, 40)) == "set ttl to 40 (it was not set)"
    assert str(Change(("slots", "a"), {"type": "physical"}, None)) == 'remove slots.a (it was {"type": "physical"})'
    assert str(Change(("mainstay", "api_token"), "hush", "hash")) == f"set mainstay.api_token to {MASK} (it was {MASK})"
    assert "hush" not in str(Change(("slots", "a"), None, {"password": "hush"}))


@pytest.mark.parametrize(
    ("content", "masked", "secrets"),
    [
        ("host=a password=hush user=b", f"host=a password={MASK} user=b", {"hush"}),
        ("host=a password='hu sh' user=b", f"host=a password={MASK} user=b", {"hu sh"}),
        ("host=a sslpassword = hush", f"host=a sslpassword = {MASK}", {"hush"}),
        ("postgres://user:hush@host/db?sslmode=require", f"postgres://user:{MASK}@host/db?sslmode=require", {"hush"}),
        ("postgres://host/db?user=a&password=hush&x=1", f"postgres://host/db?user=a&password={MASK}&x=1", {"hush"}),
        ("env PGPASSWORD=hush cp %p /x", f"env PGPASSWORD={MASK} cp %p /x", {"hush"}),
        ("push --repo1-cipher-pass=hush --secret hash %p", f"push --repo1-cipher-pass={MASK} --secret {MASK} %p", {"hush", "hash"}),
        ("AWS_SECRET_ACCESS_KEY=hush aws s3 cp", f"AWS_SECRET_ACCESS_KEY={MASK} aws s3 cp", {"hush"}),
        ("pgbackrest --stanza=main archive-push %p", "pgbackrest --stanza=main archive-push %p", set()),
        ({"password": "hush", "n": 1, "list": ["token=hash"]}, {"password": MASK, "n": 1, "list": [f"token={MASK}"]}, {"hush", "hash"}),
        ({"api_token": 12345, "password": None}, {"api_token": MASK, "password": None}, {"12345"}),
        ({"password_encryption": "scram-sha-256", "ssl": True}, {"password_encryption": "scram-sha-256", "ssl": True}, set()),
    ],
)
def test_secrets_are_masked(content: t.Any, masked: t.Any, secrets: set[str]) -> None:
    assert mask(content) == masked
    assert secrets_in(content) == secrets
