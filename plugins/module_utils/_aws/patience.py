# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what AWS does in its own time."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _progress
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

T = t.TypeVar("T")


def wait_argument_spec(timeout: int, interval: float) -> dict[str, t.Any]:
    """Return the options of the fragment ``mainstay.ops.aws_waits`` with a module's defaults, in seconds."""
    return {"wait_timeout": {"type": "int", "default": timeout}, "poll_interval": {"type": "float", "default": interval}}


def refuse_waits(params: t.Mapping[str, t.Any]) -> None:
    """Refuse numbers that cannot be waited by.

    Raises:
        InvalidInput: so.
    """
    for name in ("wait_timeout", "poll_interval"):
        if params[name] <= 0:
            raise InvalidInput("wait for AWS", f"{name} is {params[name]}", "give more than 0 seconds")


class Patience:
    """How long and how often is looked; what it waits for shows in the progress."""

    def __init__(self, seconds: float, interval: float, beat: t.Callable[[], None] | None = None) -> None:
        """Wait for so many seconds from now, with looks so many seconds apart; ``beat`` is called before each look."""
        self._end, self._seconds, self._interval, self._beat = time.monotonic() + seconds, seconds, interval, beat

    def wait(self, doing: str, look: t.Callable[[], T], pending: t.Callable[[T], str], percent: t.Callable[[T], int] | None = None) -> T:
        """Wait until something has happened.

        Args:
            doing: what is waited for, as a verb phrase with its object, such as ``wait for the snapshot NAME``.
            look: reads what there is.
            pending: says of that what it still is, and nothing when it is as it should be; it raises where that can never come.
            percent: how much of it is done.

        Returns:
            What was seen last.

        Raises:
            MainstayError: the time is over, or it can never come.
        """
        with _progress.current().phase(doing, 100 if percent else None, "per cent", exact=True) as phase:
            while True:
                if self._beat is not None:
                    self._beat()
                found = look()
                if percent is not None:
                    phase.reach(percent(found))
                state = pending(found)
                if not state:
                    return found
                if time.monotonic() >= self._end:
                    cause = f"{state} after {self._seconds:g} s"
                    raise MainstayError(doing, cause, "it goes on in AWS; run it again, with a longer wait_timeout where this one is too short")
                time.sleep(min(self._interval, max(0.0, self._end - time.monotonic())))
