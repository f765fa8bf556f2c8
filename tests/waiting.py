# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for what servers of the tests do in their own time."""

from __future__ import annotations

import time
import typing as t


def until(
    condition: t.Callable[[], t.Any], what: str, seconds: float = 60, *, ignoring: tuple[type[Exception], ...] = (), pause: float = 0.05
) -> t.Any:
    """Wait until something is true, and return it.

    Args:
        condition: what is looked at again and again.
        what: said when it does not happen.
        seconds: how long it may take.
        ignoring: errors of a look that mean "not yet".
        pause: seconds between two looks.

    Raises:
        AssertionError: the time is over; its cause is the error of the last look, if there was one.
    """
    deadline = time.monotonic() + seconds
    while True:
        last: Exception | None = None
        try:
            if found := condition():
                return found
        except ignoring as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not happen within {seconds} seconds") from last
        time.sleep(pause)
