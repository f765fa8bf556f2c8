# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something may be done now: a decision that depends on nothing but its arguments."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._remediation import record
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.catalogue import Rule
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.record import Entry

RUN, REFUSED = "run", "refused"
DAY = 86400


@dataclasses.dataclass(frozen=True)
class Request:
    """Who asks for what: an alert, about a target. ``approved`` says that a person has agreed to this run."""

    action: str
    target: str
    alert: str
    approved: bool = False


@dataclasses.dataclass(frozen=True)
class Situation:
    """What was found out.

    Attributes:
        now: Unix time.
        off: why nothing at all may be done; empty if something may.
        firing: why the alert does not count as firing; empty if it fires.
        locks: what is under way that must not be disturbed, in words, such as ``"ops@controller deploys ledger"``.
        peers: the other members of the target's group, and whether each is healthy.
        history: what was decided and done before, oldest first.
    """

    now: float
    off: str = ""
    firing: str = ""
    locks: tuple[str, ...] = ()
    peers: t.Mapping[str, bool] = dataclasses.field(default_factory=dict)
    history: tuple[Entry, ...] = ()


@dataclasses.dataclass(frozen=True)
class Policy:
    """Limits for all actions together: ``budget`` runs within 24 hours, and ``lease`` seconds after which a run without an end counts as cut off."""

    budget: int = 10
    lease: int = 3600


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, what is wrong (empty if nothing is), and otherwise what was found."""

    name: str
    wrong: str
    found: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """:data:`RUN` or :data:`REFUSED`, why, and all that was looked at."""

    outcome: str
    reason: str
    checks: tuple[Check, ...]


def decide(request: Request, rule: Rule, situation: Situation, policy: Policy) -> Decision:
    """Return what may be done. Everything is looked at, also after the first reason to refuse, so that a person sees all of them."""
    checks = (
        Check("switch", situation.off, "remediation is on"),
        Check("allowed", _not_allowed(request, rule), f"{request.alert} may ask for {request.action}"),
        Check("firing", situation.firing, f"{request.alert} fires for {request.target}"),
        Check("lock", "; ".join(situation.locks), "nothing is under way that must not be disturbed"),
        Check("peers", _too_few_peers(rule, situation.peers), f"healthy peers: {', '.join(healthy_peers(situation.peers)) or 'none needed'}"),
        Check("one at a time", _under_way(situation, policy), "no other run is under way"),
        Check("failed before", blocked(request, situation.history, situation.now, policy.lease), "the last run on the target did not fail"),
        Check("cooldown", _too_soon(request, rule, situation), "the last run is long enough ago"),
        Check("budget", _spent(request, rule, situation, policy), _budget_left(request, rule, situation)),
    )
    wrong = [check.wrong for check in checks if check.wrong]
    return Decision(REFUSED if wrong else RUN, wrong[0] if wrong else f"{request.alert} fires for {request.target}", checks)


def healthy_peers(peers: t.Mapping[str, bool]) -> list[str]:
    """The names of those that are healthy."""
    return sorted(name for name, healthy in peers.items() if healthy)


def ended(history: t.Sequence[Entry]) -> set[str]:
    """The runs that have ended."""
    return {entry.id for entry in history if entry.event in (record.VERIFIED, record.FAILED)}


def blocked(request: Request, history: t.Sequence[Entry], now: float, lease: float) -> str:
    """Return why a target waits for a person: its last run failed or was cut off; empty if it does not.

    Args:
        request: the action and the target.
        history: what was decided and done, oldest first.
        now: Unix time.
        lease: seconds after which a run without an end counts as cut off.
    """
    mine = [entry for entry in history if (entry.action, entry.target) == (request.action, request.target)]
    done, why = ended(mine), ""
    for entry in mine:
        if entry.event == record.FAILED:
            why = f"{entry.action} on {entry.target} failed before ({entry.reason or 'no reason was given'}); mend it, then clear it by state=cleared"
        elif entry.event == record.ADMITTED and entry.id not in done and now - entry.at >= lease:
            why = f"{entry.action} on {entry.target} was cut off before; look at the host, then clear it by state=cleared"
        elif entry.event in (record.CLEARED, record.VERIFIED):
            why = ""
    return why


def _not_allowed(request: Request, rule: Rule) -> str:
    if not rule.enabled:
        return f"{request.action} is switched off here"
    if request.alert not in rule.alerts:
        return f"the alert {request.alert or '(none)'} may not ask for {request.action}, only {', '.join(rule.alerts) or 'none'} may"
    if rule.approval and not request.approved:
        return f"{request.action} needs the agreement of a person"
    return ""


def _too_few_peers(rule: Rule, peers: t.Mapping[str, bool]) -> str:
    healthy = healthy_peers(peers)
    if len(healthy) >= rule.min_peers:
        return ""
    return f"{rule.min_peers} healthy peers are needed, and of {len(peers)} ({', '.join(sorted(peers)) or 'none known'}) {len(healthy)} are healthy"


def _under_way(situation: Situation, policy: Policy) -> str:
    running: dict[str, Entry] = {}
    for entry in situation.history:
        if entry.event == record.ADMITTED and situation.now - entry.at < policy.lease:
            running[entry.id] = entry
        elif entry.event in (record.VERIFIED, record.FAILED):
            running.pop(entry.id, None)
        elif entry.event == record.CLEARED:
            running = {run: begun for run, begun in running.items() if (begun.action, begun.target) != (entry.action, entry.target)}
    return "; ".join(f"{begun.action} on {begun.target} is under way since {situation.now - begun.at:.0f} s" for begun in running.values())


def _too_soon(request: Request, rule: Rule, situation: Situation) -> str:
    for entry in reversed(situation.history):
        if entry.event != record.ADMITTED or entry.action != request.action:
            continue
        ago, wait = situation.now - entry.at, rule.cooldown if entry.target == request.target else rule.spread
        if ago < wait:
            return f"{entry.action} ran on {entry.target} {ago:.0f} s ago, and {wait} s have to pass"
    return ""


def _today(history: t.Sequence[Entry], now: float) -> list[Entry]:
    return [entry for entry in history if entry.event == record.ADMITTED and now - entry.at < DAY]


def _runs_on_target(request: Request, situation: Situation) -> int:
    return sum((entry.action, entry.target) == (request.action, request.target) for entry in _today(situation.history, situation.now))


def _spent(request: Request, rule: Rule, situation: Situation, policy: Policy) -> str:
    here, everywhere = _runs_on_target(request, situation), len(_today(situation.history, situation.now))
    if here >= rule.daily:
        return f"{request.action} ran on {request.target} {here} times within 24 hours, and the budget is {rule.daily}: a person has to look"
    if everywhere >= policy.budget:
        return f"{everywhere} runs within 24 hours are the budget of all actions together ({policy.budget}): a person has to look"
    return ""


def _budget_left(request: Request, rule: Rule, situation: Situation) -> str:
    return f"{_runs_on_target(request, situation)} of {rule.daily} runs within 24 hours"
