# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that utils raise and a module's ``main`` turns into one ``fail_json``."""

from __future__ import annotations

import typing as t


class MainstayError(Exception):
    """An operation that could not be done, in words for the person who ran it.

    The sentence names the thing, the cause and the next step: ``could not VERB OBJECT: CAUSE; NEXT STEP``.
    """

    def __init__(self, doing: str, cause: object, next_step: str = "", **details: t.Any) -> None:
        """Build the error.

        Args:
            doing: what was attempted, as a verb phrase with its object, for example ``"read manifest 2026..."``.
            cause: why it failed: an exception or a sentence without a final stop.
            next_step: what the reader can do about it, as a sentence without a final stop.
            details: values that ``fail_json`` returns beside the message; never a secret.
        """
        self.doing = doing
        self.cause = str(cause).strip()
        self.next_step = next_step
        self.details = details
        message = f"could not {doing}: {self.cause}"
        if next_step:
            message = f"{message}; {next_step}"
        super().__init__(message)


class InvalidInput(MainstayError):
    """A request that cannot be right, found before anything was changed."""
