# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module shows its work while it runs: phases, each with an amount done and, where it is known, a total.

Without effect unless :data:`FILE_VARIABLE` names a file in the environment: the action plugin of a long-running module sets it, and turns the file's JSON lines
into lines for people. ::

    with current().phase("dump ledger", total=1_200_000_000):
        current().advance(len(block))  # from any thread
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import threading
import time
import types
import typing as t

FILE_VARIABLE = "MAINSTAY_PROGRESS_FILE"
"""Names the file that the lines go to. It must exist; it is the action plugin's, in a private folder."""

LINES_PER_SECOND = 2.0
BURST_LINES = 20
"""So many lines may be written at once: enough for the phases of a short run."""

MAXIMUM_BYTES = 256 * 1024
"""The file starts anew when it is larger. Every line stands for itself, and a reader looks far more often than the file fills."""

NAME_CHARACTERS = 200
CLOCK = time.monotonic


class Phase:
    """A part of the work that somebody waiting wants to know about.

    It ends with its ``with`` block, or when the same thread begins the next one. One without ``with`` does not stay beside others: the main thread's ends
    when any thread begins one, and that of another thread when the main thread goes on to its next.
    """

    def __init__(self, reporter: Reporter, number: int, name: str, total: int | None, unit: str, exact: bool) -> None:
        """Begin the phase; made by :meth:`Reporter.phase` only."""
        self._reporter = reporter
        self.number, self.name, self.total, self.unit, self.exact = number, name[:NAME_CHARACTERS], total, unit, exact
        self.done = 0
        self.shown = self.ended = self.changed = self.entered = False
        self.of_main = threading.current_thread() is threading.main_thread()
        self.started = CLOCK()

    def __enter__(self) -> Phase:
        self.entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self.end("failed" if error is not None else "ended")

    def advance(self, amount: int) -> None:
        """Add to what is done; thread-safe."""
        self._reporter.count(self, amount)

    def reach(self, done: int) -> None:
        """Set what is done altogether, for work that is counted elsewhere; thread-safe."""
        self._reporter.count(self, done - self.done)

    def end(self, state: str = "ended") -> None:
        """End the phase (state ``ended`` or ``failed``); a second call does nothing."""
        self._reporter.end(self, state)


class Reporter:
    """Writes the phases of this process to a file, at most about two lines a second, or nowhere."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Build a reporter.

        Args:
            descriptor: an open file that is appended to; ``None`` writes nothing.
        """
        self._descriptor = descriptor
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._of_thread = threading.local()
        self._newest: Phase | None = None
        self._open: list[Phase] = []
        self._allowance, self._allowed_at = float(BURST_LINES), CLOCK()
        self._ticker: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody looks: what is only read to be shown, such as a total, need not be read otherwise."""
        return self._descriptor is not None

    def phase(self, name: str, total: int | None = None, unit: str = "bytes", exact: bool = False) -> Phase:
        """Begin a phase; the one that the same thread began before ends. Thread-safe.

        Args:
            name: what is done, with its object, such as ``dump ledger``; never a secret.
            total: how much there is to do, if that is known.
            unit: what is counted: ``bytes``, or a plural such as ``databases``.
            exact: the total is known exactly; otherwise it is called an estimate.

        Returns:
            The phase, for ``with``; what goes on in other threads is counted through its own ``advance``.
        """
        with self._lock:
            before: Phase | None = getattr(self._of_thread, "phase", None)
            if before is not None:
                before.end()
            is_main = threading.current_thread() is threading.main_thread()
            for other in [other for other in self._open if not other.entered and other.of_main is not is_main]:
                other.end()
            self._of_thread.phase = self._newest = phase = Phase(self, next(self._numbers), name, total, unit, exact)
            self._open.append(phase)
            if self._may_write():
                phase.shown = True
                self._write(phase, "begun")
            return phase

    def active(self) -> Phase | None:
        """Return the phase that this thread began last, or else the newest one of any thread."""
        return getattr(self._of_thread, "phase", None) or self._newest

    def advance(self, amount: int) -> None:
        """Add to what is done of the active phase; without one, nothing happens. Thread-safe."""
        if self._descriptor is not None and (phase := self.active()) is not None:
            self.count(phase, amount)

    def counter(self) -> t.Callable[[int], None]:
        """Return what adds to the phase that is active now, for a thread that works for this one."""
        phase = self.active() if self.wanted else None
        return _ignore if phase is None else phase.advance

    def count(self, phase: Phase, amount: int) -> None:
        """Add to what is done of a phase."""
        if self._descriptor is None:
            return
        with self._lock:
            phase.done += amount
            phase.changed = True

    def tick(self) -> None:
        """Write how far the phases are that have moved, as many as the allowance lets; the longest unwritten first."""
        with self._lock:
            for phase in [phase for phase in self._open if phase.changed]:
                if not self._may_write():
                    break
                phase.shown, phase.changed = True, False
                self._write(phase, "running")
                self._open.remove(phase)
                self._open.append(phase)

    def start(self) -> Reporter:
        """Tick from now on, as long as the process lives; what was counted shows even if nothing more is counted after it."""

        def tick_on() -> None:
            while self.wanted:
                time.sleep(1.0 / LINES_PER_SECOND)
                self.tick()

        if self.wanted and self._ticker is None:
            self._ticker = threading.Thread(target=tick_on, name="progress", daemon=True)
            self._ticker.start()
        return self

    def end(self, phase: Phase, state: str) -> None:
        """End a phase: what was shown as begun is always shown as ended."""
        with self._lock:
            if phase.ended:
                return
            phase.ended = True
            self._open.remove(phase)
            if getattr(self._of_thread, "phase", None) is phase:
                self._of_thread.phase = None
            if self._newest is phase:
                self._newest = None
            if phase.shown or self._may_write():
                self._write(phase, state)

    def _may_write(self) -> bool:
        """Take a line from the allowance, which grows with time, if there is one."""
        if self._descriptor is None:
            return False
        now = CLOCK()
        self._allowance = min(BURST_LINES, self._allowance + (now - self._allowed_at) * LINES_PER_SECOND)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _write(self, phase: Phase, state: str) -> None:
        """Append a line; whoever cannot write goes on without."""
        if self._descriptor is None:
            return
        record = {
            "number": phase.number,
            "phase": phase.name,
            "state": state,
            "done": phase.done,
            "total": phase.total,
            "unit": phase.unit,
            "exact": phase.exact,
            "seconds": round(CLOCK() - phase.started, 3),
        }
        try:
            if os.fstat(self._descriptor).st_size > MAXIMUM_BYTES:
                os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, json.dumps(record).encode() + b"\n")
        except OSError:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def _ignore(amount: int) -> None:
    """Count nothing."""


@functools.lru_cache(maxsize=1)
def current() -> Reporter:
    """Return this process's reporter; programs that it starts do not inherit the wish for progress."""
    path = os.environ.pop(FILE_VARIABLE, "")
    if not path:
        return Reporter()
    try:
        return Reporter(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)).start()
    except OSError:
        return Reporter()
