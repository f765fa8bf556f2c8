# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was decided and done, one JSON object a line. The file is replaced as a whole, so it is never found half written."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._disk import replace_file
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

ADMITTED, REFUSED, VERIFIED, FAILED, CLEARED = "admitted", "refused", "verified", "failed", "cleared"
EVENTS = (ADMITTED, REFUSED, VERIFIED, FAILED, CLEARED)
KEEP_SECONDS = 90 * 86400
"""Entries that are older are forgotten when the next one is written."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One thing that was decided or has ended.

    Attributes:
        at: Unix time.
        id: the run; empty for what was refused or cleared.
        event: one of :data:`EVENTS`.
        action: the action.
        target: the host it is about.
        alert: the alert that asked for it.
        reason: why, in words.
        seconds: how long the run took, for one that has ended.
    """

    at: float
    id: str
    event: str
    action: str
    target: str
    alert: str = ""
    reason: str = ""
    seconds: float = 0.0

    def line(self) -> str:
        """The line of the file, with the time for people too."""
        moment = datetime.datetime.fromtimestamp(self.at, datetime.timezone.utc).isoformat(timespec="seconds")
        return json.dumps({"time": moment, **dataclasses.asdict(self)}) + "\n"


class Record:
    """The file ``record.jsonl`` in a folder that only its owner can enter."""

    def __init__(self, folder: str) -> None:
        """Keep the folder, which need not exist yet."""
        self.folder = folder
        self.path = os.path.join(folder, "record.jsonl")

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Keep others from deciding at the same time: of two alerts that come together, the second one sees what the first one has led to.

        Raises:
            MainstayError: the folder cannot be made or opened.
        """
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise MainstayError(f"keep the record in {self.folder}", error.strerror or error, "name a folder that this user can write") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first; none if there is no file.

        Raises:
            MainstayError: it cannot be read or understood. Nothing may be decided then, since limits could be passed over.
        """
        fields = [field.name for field in dataclasses.fields(Entry)]
        try:
            with open(self.path, encoding="utf-8") as stream:
                return tuple(Entry(**{name: content[name] for name in fields}) for content in map(json.loads, stream))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise MainstayError(f"read {self.path}", error.strerror or error, "run as the user that owns it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise MainstayError(f"read {self.path}", f"a line is not what was written: {error}", "move the file away once you know why") from error

    def add(self, entry: Entry, known: t.Sequence[Entry]) -> None:
        """Write the entry after those that are known.

        Raises:
            MainstayError: it cannot be written; the file is as it was.
        """
        kept = [earlier for earlier in known if earlier.at > entry.at - KEEP_SECONDS]
        replace_file(self.path, "".join(each.line() for each in (*kept, entry)))
