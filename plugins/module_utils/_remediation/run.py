# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Admit a remediation, write down how it ended, or clear what keeps a target from being remedied; and the figures of the record for Prometheus."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import time
import typing as t
import uuid

from ansible_collections.mainstay.ops.plugins.module_utils._disk import replace_file
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._remediation import gate, record
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.catalogue import Rule
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.gate import Decision, Policy, Request, Situation
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.record import Entry, Record

#: Seconds between two looks at whether an alert has cleared.
INTERVAL = 2.0

#: Returns why an alert does not fire, empty if it does.
Look = t.Callable[[], str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it: ``outcome`` is one of :data:`record.EVENTS` but ``admitted``, which is :data:`gate.RUN` to the caller."""

    outcome: str
    reason: str
    entry: Entry
    known: tuple[Entry, ...]
    checks: tuple[gate.Check, ...] = ()


def switched_off(enabled: bool, kill_switch: str) -> str:
    """Return why nothing may be done, empty if something may."""
    if not enabled:
        return "remediation is switched off (enabled is false)"
    return f"remediation is switched off by the file {kill_switch}" if os.path.lexists(kill_switch) else ""


def admit(request: Request, rule: Rule, policy: Policy, situation: Situation, records: Record, write: bool) -> Outcome:
    """Decide, and write the decision down before anything is done, in one step: a run that dies still counts.

    Args:
        request: what is asked for.
        rule: the action's limits.
        policy: the limits of all actions.
        situation: what was found out; its history is read here, under the lock.
        records: where decisions are kept.
        write: whether to write; false in check mode.
    """
    with records.locked() if write else contextlib.nullcontext():
        known = records.read()
        decision = gate.decide(request, rule, dataclasses.replace(situation, history=known), policy)
        entry = _entry(request, decision, situation.now)
        if write:
            records.add(entry, known)
    return Outcome(decision.outcome, decision.reason, entry, known, decision.checks)


def finish(run: str, success: bool, reason: str, wait: float, look: Look, records: Record, write: bool) -> Outcome:
    """Write down how a run ended. One that went well has still to make its alert go away.

    Args:
        run: its id.
        success: whether what was done went well.
        reason: what is to be said about it.
        wait: seconds that the alert may take to clear; 0 leaves it unread.
        look: tells why the alert does not fire, empty if it does.
        records: where decisions are kept.
        write: whether to wait and write; false in check mode.

    Raises:
        InvalidInput: there is no such run, or it has ended.
    """
    begun = next((entry for entry in records.read() if (entry.id, entry.event) == (run, record.ADMITTED)), None)
    if begun is None:
        raise InvalidInput(f"end the run {run or '(none)'}", "it was never admitted", "give the id that state=admitted has returned")
    if success and wait and write:
        success, reason = _wait_until_clear(wait, look, reason)
    with records.locked() if write else contextlib.nullcontext():
        known = records.read()
        if run in gate.ended(known):
            raise InvalidInput(f"end the run {run}", "it has ended before", "a run ends once")
        now = time.time()
        event = record.VERIFIED if success else record.FAILED
        entry = dataclasses.replace(begun, at=now, event=event, reason=reason, seconds=round(now - begun.at, 3))
        if write:
            records.add(entry, known)
    return Outcome(event, reason, entry, known)


def clear(request: Request, reason: str, records: Record, write: bool) -> Outcome | None:
    """Let a target be remedied again after a failed run; None if nothing keeps it from that."""
    with records.locked() if write else contextlib.nullcontext():
        known = records.read()
        now = time.time()
        # A lease of 0: a person who clears has looked, so a run without an end is cut off.
        if not gate.blocked(request, known, now, 0):
            return None
        entry = Entry(now, "", record.CLEARED, request.action, request.target, "", reason)
        if write:
            records.add(entry, known)
    return Outcome(record.CLEARED, reason, entry, known)


def figures(entries: t.Sequence[Entry], off: str, now: float) -> str:
    """Return the record as figures in Prometheus's text format."""
    counts = collections.Counter((entry.action, entry.event) for entry in entries)
    targets = sorted({(entry.action, entry.target) for entry in entries})
    blocked = [(*pair, int(bool(gate.blocked(Request(*pair, ""), entries, now, Policy().lease)))) for pair in targets]
    prefix = "mainstay_remediation"
    return "".join([
        f"# HELP {prefix}_events What was decided and how it ended, within 90 days.\n# TYPE {prefix}_events gauge\n",
        *(f'{prefix}_events{{action="{action}",event="{event}"}} {count}\n' for (action, event), count in sorted(counts.items())),
        f"# HELP {prefix}_blocked Whether a failed run keeps a target from being remedied until a person has looked.\n# TYPE {prefix}_blocked gauge\n",
        *(f'{prefix}_blocked{{action="{action}",target="{target}"}} {number}\n' for action, target, number in blocked),
        f"# HELP {prefix}_off Whether remediation is switched off.\n# TYPE {prefix}_off gauge\n{prefix}_off {int(bool(off))}\n",
    ])


def write_figures(path: str, entries: t.Sequence[Entry], off: str) -> None:
    """Write the figures for the node exporter, which runs as somebody else."""
    replace_file(path, figures(entries, off, time.time()), 0o644)


def _entry(request: Request, decision: Decision, now: float) -> Entry:
    if decision.outcome == gate.RUN:
        return Entry(now, uuid.uuid4().hex[:12], record.ADMITTED, request.action, request.target, request.alert, decision.reason)
    return Entry(now, "", record.REFUSED, request.action, request.target, request.alert, decision.reason)


def _wait_until_clear(wait: float, look: Look, reason: str) -> tuple[bool, str]:
    deadline, seen = time.monotonic() + wait, "it still fires"
    while True:
        try:
            if quiet := look():
                return True, reason or quiet
            seen = "it still fires"
        except MainstayError as error:
            seen = str(error)
        if time.monotonic() >= deadline:
            return False, f"the alert did not clear within {wait:g} s: {seen}"
        time.sleep(min(INTERVAL, max(0.0, deadline - time.monotonic())))
