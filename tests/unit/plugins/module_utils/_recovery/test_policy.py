# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What meets a policy, and what does not."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.filter.recovery_limits import recovery_limits
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import policy

NOW = 1_800_000_000.0


def ago(seconds: float) -> str:
    """The moment so many seconds ago."""
    return datetime.datetime.fromtimestamp(NOW - seconds, datetime.timezone.utc).isoformat()


def backup(number: int = 1, age: float = 60, **given: t.Any) -> dict[str, t.Any]:
    """A good backup, as it is listed."""
    return {
        "id": f"b{number}", "good": True, "started": ago(age + 1), "recoverable_to": ago(age), "encryption": {"type": "age"}, "labels": {}, "verified": True,
        **given,
    }


def drill(age: float = 3600, **given: t.Any) -> dict[str, t.Any]:
    """A line of a drill that went well."""
    return {"level": "restore", "success": True, "finished": ago(age), "measured": {"database_rto_seconds": 100}, "problems": [], **given}


def store(*backups: dict[str, t.Any], copy: bool = False) -> policy.Found:
    """What a store holds."""
    return policy.Found("database", "/copies" if copy else "/srv", copy, backups)


TWO = (backup(1, 86000), backup(2, 60))
HELD = [store(*TWO), store(*TWO, copy=True)]


@pytest.mark.parametrize(
    ("given", "found", "history", "said"),
    [
        ({}, HELD, [drill()], []),
        ({"frequency": "1d"}, HELD, [drill()], []),
        ({}, [], [drill()], ["nobody has looked at its backups"]),
        ({"copies": 0}, [policy.Found("database", "/srv", False, None, "gone")], [drill()], ["/srv cannot be read: gone"]),
        ({"copies": 0}, [store()], [drill()], ["/srv holds no good backup"]),
        ({"copies": 0}, [store(backup(good=False))], [drill()], ["/srv holds no good backup"]),
        ({"copies": 0}, [store(backup(labels={"before_restore": "x"}))], [drill()], ["/srv holds no good backup"]),
        ({"copies": 0}, [store(backup(1, 5000), backup(2, 901))], [drill()], ["what was written in the last 15 min 1 s is in no backup of /srv"]),
        ({"copies": 0, "recovery_point": "16m"}, [store(backup(1, 5000), backup(2, 901))], [drill()], []),
        # The log reaches to a minute ago, but the last backup is old.
        ({"copies": 0, "frequency": "1h"}, [store(backup(1, 60, started=ago(9000)), backup(2, 60, started=ago(4700)))], [drill()],
         ["the newest good backup of /srv, b2, is 1 h 18 min old"]),
        ({"copies": 0}, [store(backup(1), backup(2, encryption={"type": "none"}))], [drill()], ["backup b2 in /srv is not encrypted"]),
        ({"copies": 0, "encryption": False}, [store(backup(1), backup(2, encryption={"type": "none"}))], [drill()], []),
        ({"copies": 0}, [store(backup())], [drill()], ["/srv holds 1 good backup(s)"]),
        ({"copies": 0, "retention": {"min_good": 1}}, [store(backup())], [drill()], []),
        ({"copies": 0}, [store(backup(1, verified=False), backup(2, verified=False))], [drill()], ["no backup of /srv was ever restored for trial"]),
        ({}, [store(*TWO)], [drill()], ["the newest backup, b2, is in 0 further stores"]),
        ({}, [store(*TWO), store(TWO[0], copy=True)], [drill()], ["the newest backup, b2, is in 0 further stores"]),
        ({"copies": 2}, HELD, [drill()], ["the newest backup, b2, is in 1 further stores"]),
        ({"copies": 2}, [*HELD, store(*TWO, copy=True)], [drill()], ["the newest backup, b2, is in 1 further stores"]),
        ({}, [*HELD, policy.Found("database", "/far", True, None, "refused")], [drill()], ["the copy in /far cannot be read: refused"]),
        ({}, HELD, [], ["it was never drilled at the level restore"]),
        ({"drill_every": 0}, HELD, [], []),
        ({}, HELD, [drill(level="verify")], ["it was never drilled at the level restore"]),
        ({"drill_level": "verify"}, HELD, [drill(level="site")], []),
        ({}, HELD, [drill(success=False)], ["no drill at the level restore has ever succeeded"]),
        ({}, HELD, [drill(8 * 86400 + 60)], ["the last successful drill was 192 h 1 min ago"]),
        ({}, HELD, [drill(7200), drill(success=False, problems=["broken"])], ["the last drill failed: broken"]),
        ({}, HELD, [drill(measured={"database_rto_seconds": 1801})], ["its recovery took 30 min 1 s in the last successful drill"]),
        ({}, HELD, [drill(measured={})], ["the last successful drill did not measure its recovery time"]),
    ],
)
def test_check(given: dict[str, t.Any], found: list[policy.Found], history: list[dict[str, t.Any]], said: list[str]) -> None:
    """One cause, one finding, with what, why and what to do."""
    findings = policy.check(policy.read({"database": given}), found, history, NOW)
    assert [finding.what for finding in findings] == said
    for finding in findings:
        assert finding.part == "database" and finding.why and finding.next_step
        softer = ("good backup(s)", "restored for trial", "did not measure")
        assert finding.severity == ("warning" if any(words in finding.what for words in softer) else "error")


def test_each_part_is_judged_by_what_is_its_own() -> None:
    """What is found of one part says nothing of another."""
    findings = policy.check(policy.read({"database": {}, "files": {"drill_every": 0}}), HELD, [drill()], NOW)
    assert [(finding.part, finding.what) for finding in findings] == [("files", "nobody has looked at its backups")]


def test_a_part_without_backups_of_its_own() -> None:
    """Nobody looks for any; its drills count all the same."""
    given = {"backups": False, "drill_every": "1d"}
    assert [finding.what for finding in policy.check(policy.read({"database": given}), [], [], NOW)] == ["it was never drilled at the level restore"]
    assert policy.check(policy.read({"database": given}), [], [drill()], NOW) == []


@pytest.mark.parametrize(
    ("given", "parts", "level", "limits"),
    [
        ({}, ["cache"], "restore", {"cache_rpo_seconds": 60, "cache_rto_seconds": 300}),
        ({"cache": None}, ["cache"], "site", {"cache_rpo_seconds": 60, "cache_rto_seconds": 300}),
        ({"cache": {"recovery_point": "2h"}}, ["cache", "cache"], "verify", {"cache_rpo_seconds": 7200}),
        ({"database": {"recovery_time": 90}}, ["database", "files"], "restore",
         {"database_rpo_seconds": 900, "database_rto_seconds": 90, "files_rpo_seconds": 3600, "files_rto_seconds": 600}),
        ({"database": {}}, [], "restore", {}),
    ],
)
def test_limits_of_a_drill(given: dict[str, t.Any], parts: list[str], level: str, limits: dict[str, int]) -> None:
    """Of what is drilled, by the policy where it says something."""
    assert recovery_limits(given, parts, level) == policy.limits(given, parts, level) == limits


@pytest.mark.parametrize(
    ("given", "parts", "words"),
    [([], ["cache"], "recovery_limits: the policy must be a dictionary, not list"), ({}, ["caches"], "there is no such part"),
     ({"cache": {"recovery_time": "soon"}}, ["cache"], "recovery_time: it is no number of seconds")],
)
def test_limits_that_are_none(given: t.Any, parts: list[str], words: str) -> None:
    """A play says what is wrong with the policy."""
    with pytest.raises(AnsibleFilterError, match=words):
        recovery_limits(given, parts)


@pytest.mark.parametrize(
    ("name", "time", "point"),
    [("application", 900, 300), ("database", 1800, 900), ("cache", 300, 60), ("files", 600, 3600), ("monitoring", 1200, 1800)],
)
def test_targets(name: str, time: int, point: int) -> None:
    """What is promised where the policy says nothing else."""
    part = policy.read({name: None})[0]
    assert (part.recovery_time, part.recovery_point) == (time, point)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "it names no part"),
        ({"databases": {}}, "could not read the part databases of the policy: there is no such part"),
        ({"database": {"rto": "5m"}}, "there is no rto"),
        ({"database": {"recovery_time": "soon"}}, "recovery_time: it is no number of seconds"),
        ({"database": {"copies": "many"}}, "invalid literal"),
        ({"database": {"encryption": "perhaps"}}, "encryption is perhaps"),
        ({"database": {"backups": "some"}}, "backups is some, it must be true or false"),
        ({"database": {"drill_level": "full"}}, "there is no level full"),
        ({"database": [1]}, "it is no dictionary"),
        ({"database": {"retention": [1]}}, "could not read the part database"),
    ],
)
def test_refusals(given: dict[str, t.Any], words: str) -> None:
    """A policy that says nothing clear is refused."""
    with pytest.raises(InvalidInput) as caught:
        policy.read(given)
    assert words in str(caught.value)
