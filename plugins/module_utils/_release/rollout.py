# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order and the place of a deployment: which hosts take a release first, and which slot serves. Pure decisions."""

from __future__ import annotations

import dataclasses
import datetime
import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput


def batches(hosts: t.Sequence[str], sizes: t.Sequence[int | str]) -> list[list[str]]:
    """Split hosts into batches.

    Args:
        hosts: the hosts in their order.
        sizes: hosts for each batch, as numbers or percentages of all hosts (at least one); the last size is repeated until no host is left.

    Raises:
        InvalidInput: a size is none, or there is no size.
    """
    counts = [_size(size, len(hosts)) for size in sizes]
    if not counts:
        raise InvalidInput("split the hosts into batches", "there is no size", 'give for example [1, "25%", "100%"]')
    found, begin = [], 0
    while begin < len(hosts):
        number = counts[min(len(found), len(counts) - 1)]
        found.append(list(hosts[begin:begin + number]))
        begin += number
    return found


def _size(size: int | str, hosts: int) -> int:
    text = str(size).strip()
    try:
        number = math.ceil(float(text[:-1]) / 100 * hosts) if text.endswith("%") else int(text)
    except ValueError:
        number = -1
    if number < 0 or text in ("0", "0%"):
        raise InvalidInput("split the hosts into batches", f"{size!r} is no number of hosts and no percentage", 'give for example [1, "25%", "100%"]')
    return max(number, 1)


@dataclasses.dataclass(frozen=True)
class Serving:
    """The slot that serves, empty if none does, and what has to be put in order first.

    Attributes:
        slot: its name.
        settle: whether balancers have to be sent to it, or a share of the requests has to be taken back.
        reason: why, in words; empty if nothing is to be put in order.
    """

    slot: str
    settle: bool = False
    reason: str = ""


def serving(slots: t.Sequence[str], balancers: t.Mapping[str, t.Collection[str]], recorded: t.Sequence[str], interrupted: bool) -> Serving:
    """Say which slot serves, and what a run that was cut off has left on the balancers.

    A run writes the record on the application's hosts after its last gate. What balancers do that no host has recorded, a run that was cut off
    had not proven yet, so it is undone; what one host has recorded, is finished.

    Args:
        slots: names of the slots.
        balancers: for each balancer the names of the files that decide: those of slots, and those that send a share elsewhere (``canary-...``).
        recorded: the slots that hosts have recorded as live, the newest record first.
        interrupted: whether a run was cut off.
    """
    marks = {name: [slot for slot in slots if slot in files] for name, files in balancers.items()}
    shared = sorted(name for name, files in balancers.items() if any(file.startswith("canary-") for file in files))
    known = [slot for slot in recorded if slot in slots]
    chosen = {tuple(found) for found in marks.values()}
    agreed = next(iter(chosen))[0] if len(chosen) == 1 and len(next(iter(chosen))) == 1 else ""
    if agreed and (not interrupted or not known or agreed in known):
        slot, reason = agreed, ""
    elif not any(chosen) or not balancers:
        slot, reason = (known or [""])[0], ""
        if slot and balancers:
            reason = f"no balancer sends requests anywhere, and the hosts have recorded {slot}"
    elif known:
        slot = known[0]
        reason = f"the balancers send requests to {_told(marks)}, and the hosts have recorded {slot}"
    else:
        slot = next(found[-1] for found in marks.values() if found)
        reason = f"the balancers send requests to {_told(marks)}, and nothing is recorded"
    if shared:
        reason = "; ".join(part for part in (reason, f"{', '.join(shared)} sends a share of the requests elsewhere") if part)
    return Serving(slot, bool(reason), reason)


def unproven(hosts: t.Sequence[tuple[t.Mapping[str, t.Any], t.Mapping[str, t.Any]]]) -> bool:
    """Say whether a deployment was cut off that no host has recorded: what it brought is taken back, so there is nothing more to roll back.

    Args:
        hosts: for each host the lock that was taken from a run that was cut off, and the newest record; each may be empty.
    """
    begun = [(lock, record) for lock, record in hosts if str(lock.get("owner", "")).startswith("deploy-")]
    return bool(begun) and not any(_recorded_since(record, float(lock.get("since", 0))) for lock, record in begun)


def _recorded_since(record: t.Mapping[str, t.Any], since: float) -> bool:
    """Whether a record was written by the run that took its lock at this time. Records have whole seconds."""
    try:
        return datetime.datetime.fromisoformat(str(record.get("time", ""))).timestamp() >= math.floor(since)
    except ValueError:
        return False


def _told(marks: t.Mapping[str, t.Sequence[str]]) -> str:
    return ", ".join(f"{' and '.join(found) or 'nothing'} ({name})" for name, found in sorted(marks.items()))
