# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done about releases: pure decisions on a state that was read before."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import HISTORY_LIMIT, Lock, Record, State


def plan_present(state: State, release: str, sha256: str) -> str:
    """Say what unpacking takes: ``unchanged``, ``unpack``, or ``replace`` (other content under the same name, which nothing uses).

    Args:
        sha256: hash of the archive; empty to accept whatever is installed.

    Raises:
        InvalidInput: the name is taken by other content that is live, or that a rollback leads to.
    """
    found = state.installed(release)
    if found is None:
        return "unpack"
    if sha256 in ("", found.sha256):
        return "unchanged"
    live = state.live
    if live is not None and release in (live.release, live.previous):
        use = "is live" if release == live.release else f"is what a rollback from {live.release} leads to"
        raise InvalidInput(f"unpack release {release}", f"a release of this name with other content {use}", "build the archive under a new name")
    return "replace"


def next_record(state: State, release: str, slot: str, kind: str) -> Record | None:
    """The record of a release that goes live, without time and person; None if there is nothing new to record.

    A deployment can be rolled back to what was live before it. A rollback leads back in time only: its ``previous`` is the one that the release had
    when it was deployed, so that a second rollback never brings back the release that was just left. After a contraction there is no way back.

    Raises:
        InvalidInput: the release is not unpacked.
    """
    if state.installed(release) is None:
        raise InvalidInput(f"record release {release} as live", "it is not unpacked on this host")
    live = state.live
    if kind == "contract":
        done = live is not None and (live.release, live.kind) == (release, kind)
        return None if done else Record(release, slot, "", kind)
    if live is not None and (live.release, live.slot) == (release, slot):
        return None
    if live is None:
        previous = ""
    elif live.release == release:
        previous = live.previous
    elif kind == "rollback":
        previous = next((record.previous for record in reversed(state.history) if record.release == release and record.kind != "rollback"), "")
    else:
        previous = live.release
    return Record(release, slot, previous, kind)


def plan_outdated(state: State) -> list[str]:
    """The known releases that the database has no room for since it was contracted, in the order in which they were unpacked; those removed since come last.

    Of a release that was never live, the time at which it was unpacked counts.
    """
    contracted = max((number for number, record in enumerate(state.history) if record.kind == "contract"), default=-1)
    if contracted < 0:
        return []
    newest = {record.release: number for number, record in enumerate(state.history)}
    since = state.history[contracted].time
    unpacked = {found.release: contracted if found.unpacked >= since else -1 for found in state.releases}
    return [release for release, number in {**unpacked, **newest}.items() if number < contracted]


def appended(history: t.Sequence[Record], record: Record) -> list[dict[str, str]]:
    """The history with a new record, as it is written."""
    return [dataclasses.asdict(old) for old in [*history, record][-HISTORY_LIMIT:]]


def plan_pruned(state: State, keep: int) -> list[str]:
    """The releases to remove, oldest first: all but the newest ``keep``, never one that is live, in a slot, or what a rollback leads to."""
    used = set(state.slots.values())
    if state.live is not None:
        used |= {state.live.release, state.live.previous}
    names = [found.release for found in state.releases]
    return [name for name in names[:max(len(names) - keep, 0)] if name not in used]


@dataclasses.dataclass(frozen=True)
class Taking:
    """What taking the lock means: whether it is taken now, rather than held already, and from which run that is gone."""

    needed: bool
    displaced: Lock | None = None


def plan_locked(lock: Lock | None, owner: str, now: float, timeout: float, gone: str = "", unknown: str = "", force: bool = False) -> Taking:
    """Say whether the lock can be taken.

    Args:
        lock: the lock as it is.
        owner: the run that wants it.
        now: seconds of the epoch.
        timeout: seconds without a sign of life after which the lock of a run that cannot be judged counts as left behind.
        gone: the owner of a run that is known to be gone.
        unknown: the owner of a run of which the controller cannot say whether it is alive.
        force: whether to take it from any run.

    Raises:
        MainstayError: another run holds it, and is not known to be gone.
    """
    if lock is None:
        return Taking(True)
    if lock.owner == owner:
        return Taking(False)
    left_behind = lock.owner == unknown and now - max(lock.since, lock.renewed) > timeout
    if left_behind or lock.owner == gone or force:
        return Taking(True, lock)
    raise MainstayError("take the lock for a deployment", _told(lock, now), "wait for that run to end; if it was killed, say so with app_release_unlock=true",
                        lock=dataclasses.asdict(lock))


def plan_renewed(lock: Lock | None, owner: str, now: float) -> Taking:
    """Say that a run goes on holding its lock.

    Raises:
        MainstayError: it does not hold it any more.
    """
    if lock is not None and lock.owner == owner:
        return Taking(False)
    raise MainstayError("go on with this run", "its lock is gone" if lock is None else f"it lost its lock: {_told(lock, now)}",
                        "see what serves now, and run again", lock=dataclasses.asdict(lock) if lock is not None else {})


def _told(lock: Lock, now: float) -> str:
    where = f" on {lock.controller['host']}" if lock.controller.get("host") else ""
    return f"{lock.by or 'somebody'} took it {now - lock.since:.0f} seconds ago{where} (run {lock.owner})"
