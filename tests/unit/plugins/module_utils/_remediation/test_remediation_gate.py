# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which remediations are admitted: every reason to refuse, and what is nearly one."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._remediation import alerts, run
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.catalogue import RULES, rule_for
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.gate import Policy, Request, Situation, decide
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.record import Entry, Record

NOW = 1_800_000_000.0
REQUEST = Request("restart_slot", "app1", "ApplicationSlotDown")
GOOD = Situation(NOW, peers={"app2": True})


def entry(ago: float, event: str, run_id: str = "a", target: str = "app1", action: str = "restart_slot", reason: str = "") -> Entry:
    """Something that happened so many seconds ago."""
    return Entry(NOW - ago, run_id, event, action, target, "ApplicationSlotDown", reason)


def past(ago: float, target: str = "app1", run_id: str = "a", action: str = "restart_slot") -> tuple[Entry, ...]:
    """A run that went well, so many seconds ago."""
    return entry(ago, "admitted", run_id, target, action), entry(ago - 5, "verified", run_id, target, action)


def day(count: int, target: str = "app1") -> tuple[Entry, ...]:
    """So many good runs within a day, far enough from each other."""
    return tuple(each for number in range(count, 0, -1) for each in past(number * 4000, target, f"{target}{number}"))


@pytest.mark.parametrize(("changes", "outcome", "words"), [
    ({}, "run", "fires for app1"),
    ({"off": "switched off by the file /x"}, "refused", "/x"),
    ({"firing": "ApplicationSlotDown is silenced"}, "refused", "silenced"),
    ({"locks": ("ops deploys ledger",)}, "refused", "deploys"),
    ({"peers": {}}, "refused", "none known"),
    ({"peers": {"app2": False, "app3": False}}, "refused", "of 2"),
    ({"peers": {"app2": False, "app3": True}}, "run", ""),
    ({"history": (entry(10, "admitted"),)}, "refused", "under way since 10 s"),
    ({"history": (entry(10, "admitted", target="lb1", action="clean_caches"),)}, "refused", "clean_caches on lb1 is under way"),
    ({"history": (entry(10, "admitted", target="lb1", action="clean_caches"), entry(5, "verified", target="lb1", action="clean_caches"))}, "run", ""),
    ({"history": past(599)}, "refused", "599 s ago, and 600 s"),
    ({"history": past(600)}, "run", ""),
    ({"history": past(599, "app2")}, "refused", "ran on app2"),
    ({"history": past(600, "app2")}, "run", ""),
    ({"history": (entry(3599, "admitted"),)}, "refused", "under way"),
    ({"history": (entry(3600, "admitted"),)}, "refused", "cut off"),
    ({"history": (entry(3600, "admitted"), entry(10, "cleared", ""))}, "run", ""),
    ({"history": (entry(5000, "admitted"), entry(4990, "failed", reason="no answer"))}, "refused", "no answer"),
    ({"history": (entry(5000, "admitted"), entry(4990, "failed"), entry(10, "cleared", ""))}, "run", ""),
    ({"history": (entry(900000, "admitted"), entry(899990, "failed"))}, "refused", "failed before"),
    ({"history": (entry(5000, "admitted", target="app2"), entry(4990, "failed", target="app2"))}, "run", ""),
    ({"history": day(2)}, "run", ""),
    ({"history": day(3)}, "refused", "3 times within 24 hours"),
    ({"history": (*past(86400, run_id="old"), *day(2))}, "run", ""),
    ({"history": (*past(86399, run_id="old"), *day(2))}, "refused", "3 times"),
    ({"history": tuple(each for number in range(10) for each in past(700 + number * 700, f"app{number + 2}", f"r{number}"))}, "refused", "all actions"),
    ({"history": (entry(5, "refused", ""),)}, "run", ""),
])
def test_decide(changes: dict[str, t.Any], outcome: str, words: str) -> None:
    """One reason at a time."""
    decision = decide(REQUEST, RULES["restart_slot"], dataclasses.replace(GOOD, **changes), Policy())
    assert decision.outcome == outcome, decision
    assert words in decision.reason
    assert any(check.wrong for check in decision.checks) is (outcome == "refused")


@pytest.mark.parametrize(("request_", "limits", "outcome", "words"), [
    (dataclasses.replace(REQUEST, alert="HostDown"), {}, "refused", "only ApplicationSlotDown"),
    (dataclasses.replace(REQUEST, alert=""), {}, "refused", "(none)"),
    (dataclasses.replace(REQUEST, alert="Mine"), {"alerts": ["Mine"]}, "run", ""),
    (REQUEST, {"enabled": False}, "refused", "switched off here"),
    (REQUEST, {"approval": True}, "refused", "agreement"),
    (dataclasses.replace(REQUEST, approved=True), {"approval": True}, "run", ""),
    (REQUEST, {"daily": 0}, "refused", "0 times"),
    (Request("reinit_replica", "app1", "PostgresReplicaBroken"), {}, "refused", "agreement"),
])
def test_limits(request_: Request, limits: dict[str, t.Any], outcome: str, words: str) -> None:
    """What is allowed is data."""
    rule = rule_for(request_.action, [{"action": request_.action, **limits}])
    decision = decide(request_, rule, GOOD, Policy())
    assert decision.outcome == outcome and words in decision.reason


def test_all_reasons_are_listed() -> None:
    """A person who reads a refusal sees everything that stands against it."""
    decision = decide(REQUEST, RULES["restart_slot"], Situation(NOW, off="off", firing="quiet", locks=("a", "b")), Policy())
    assert [check.name for check in decision.checks if check.wrong] == ["switch", "firing", "lock", "peers"]
    assert decision.reason == "off"


@pytest.mark.parametrize(("action", "limits", "words"), [
    ("promote_database", [], "not in the allow-list"),
    ("restart_slot", [{"action": "restart_slot", "daily": -1}], "daily is -1"),
    ("restart_slot", [{"action": "restart_slot"}, {"action": "restart_slot"}], "2 times"),
])
def test_refused_limits(action: str, limits: list[dict[str, t.Any]], words: str) -> None:
    """Before anything is looked at."""
    with pytest.raises(InvalidInput, match=words):
        rule_for(action, limits)


def test_the_allow_list_holds_nothing_that_cannot_be_taken_back() -> None:
    """No name of it promotes, fails over, drops or deletes; and nothing is without a limit."""
    assert set(RULES) == {"restart_slot", "drain_host", "reinit_replica", "clean_caches", "renew_certificate"}
    for rule in RULES.values():
        assert 0 < rule.daily <= 3 and rule.cooldown >= 600 and rule.alerts
    assert RULES["reinit_replica"].approval


def test_record(tmp_path: pathlib.Path) -> None:
    """It is written as a whole, is private, forgets what is old, and refuses to be read when it was damaged."""
    records = Record(str(tmp_path / "new"))
    with records.locked():
        assert records.read() == ()
        old = dataclasses.replace(entry(0, "refused"), at=NOW - 91 * 86400)
        records.add(old, ())
        records.add(entry(0, "admitted"), records.read())
    path = pathlib.Path(records.path)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["admitted"]
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["record.jsonl"]
    path.write_text(path.read_text()[:-20])
    with pytest.raises(MainstayError, match="move the file away"):
        records.read()


def test_a_run_that_ended_is_not_ended_again(tmp_path: pathlib.Path) -> None:
    """Neither is one that nobody admitted."""
    records = Record(str(tmp_path))
    admitted = run.admit(REQUEST, RULES["restart_slot"], Policy(), dataclasses.replace(GOOD), records, True)
    assert run.admit(REQUEST, RULES["restart_slot"], Policy(), dataclasses.replace(GOOD, now=NOW + 1), records, True).outcome == "refused"
    done = run.finish(admitted.entry.id, True, "", 1, lambda: "it is gone", records, True)
    assert (done.outcome, done.reason) == ("verified", "it is gone")
    for wrong, words in ((admitted.entry.id, "ended before"), ("", "never admitted")):
        with pytest.raises(InvalidInput, match=words):
            run.finish(wrong, True, "", 0, lambda: "", records, True)


def test_a_run_whose_alert_stays_has_failed(tmp_path: pathlib.Path) -> None:
    """And keeps the target from the next one, until a person has looked."""
    records = Record(str(tmp_path))
    admitted = run.admit(REQUEST, RULES["restart_slot"], Policy(), GOOD, records, True)
    done = run.finish(admitted.entry.id, True, "", 0.01, lambda: "", records, True)
    assert done.outcome == "failed" and "did not clear" in done.reason
    later = dataclasses.replace(GOOD, now=NOW + 10**6)
    assert "failed before" in run.admit(REQUEST, RULES["restart_slot"], Policy(), later, records, True).reason
    assert 'mainstay_remediation_blocked{action="restart_slot",target="app1"} 1' in run.figures(records.read(), "", NOW)
    assert run.clear(REQUEST, "mended", records, True) and run.clear(REQUEST, "again", records, True) is None
    assert run.admit(REQUEST, RULES["restart_slot"], Policy(), later, records, True).outcome == "run"


@pytest.mark.parametrize(("labels", "about"), [
    ({"instance": "app1:8000"}, True),
    ({"instance": "app1"}, True),
    ({"instance": "192.0.2.21:9100"}, True),
    ({"host": "app1"}, True),
    ({"instance": "app10:8000"}, False),
    ({"job": "app1"}, False),
    ({}, False),
])
def test_alert_is_about_the_host(labels: dict[str, str], about: bool) -> None:
    """By its name or its address, whole."""
    assert alerts.Alert(labels, "").about(["app1", "192.0.2.21"]) is about
