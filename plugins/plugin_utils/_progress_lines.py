# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module reports (see ``module_utils/_progress.py``), in lines for people: pure."""

from __future__ import annotations

import collections
import dataclasses
import json
import typing as t

RATE_SECONDS = 15.0
"""The rate is that of the last seconds, so that it follows a change and does not jump."""

MEASURED_SECONDS = 1.5
"""A rate over less time is not worth telling."""

SILENT_SECONDS = 20.0
"""A phase that counted, and then for so long no more, is said to stand still."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def bytes_text(amount: float) -> str:
    """Return bytes in words: ``312.4 MiB``."""
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def amount_text(amount: float, unit: str) -> str:
    """Return an amount with its unit: ``312.4 MiB``, ``12 databases``."""
    return bytes_text(amount) if unit == "bytes" else f"{amount:.0f} {unit}"


def seconds_text(seconds: float) -> str:
    """Return a duration in words: ``3.2 s``, ``11 s``, ``4 min 05 s``, ``2 h 07 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clean(name: str) -> str:
    """Return a name without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in name)


@dataclasses.dataclass(frozen=True)
class Record:
    """One line of a report: how far a phase was, ``seconds`` after its begin."""

    number: int
    phase: str
    state: str
    done: float
    total: float | None
    unit: str
    exact: bool
    seconds: float


def parse(text: str) -> list[Record]:
    """Read the lines of a report; what is not one is left out."""
    records = []
    for line in text.splitlines():
        try:
            fields = json.loads(line)
            total = fields["total"]
            records.append(
                Record(
                    number=int(fields["number"]),
                    phase=clean(str(fields["phase"])),
                    state=str(fields["state"]),
                    done=float(fields["done"]),
                    total=None if total is None else float(total),
                    unit=clean(str(fields["unit"])),
                    exact=bool(fields["exact"]),
                    seconds=float(fields["seconds"]),
                )
            )
        except (ValueError, KeyError, TypeError):
            continue
    return records


class _Shown:
    """A phase as it was last seen; ``at`` are seconds of the one who looks."""

    def __init__(self, record: Record, now: float) -> None:
        self.record, self.at = record, now
        self.said_begin = False
        self.grown_at = now
        self._samples: collections.deque[tuple[float, float]] = collections.deque([(0.0, 0.0)])

    def see(self, record: Record, now: float) -> None:
        if record.done != self.record.done:
            self.grown_at = now
        self.record, self.at = record, now
        self._samples.append((record.seconds, record.done))
        while len(self._samples) > 2 and self._samples[1][0] <= record.seconds - RATE_SECONDS:
            self._samples.popleft()

    def rate(self, now: float) -> float:
        """The amount per second of late, 0 while that is too soon to say; time without a report counts as time without progress."""
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        seconds = end - begin + now - self.at
        return (after - before) / seconds if seconds >= MEASURED_SECONDS else 0.0

    def seconds(self, now: float) -> float:
        """How long the phase has lasted."""
        return self.record.seconds + (now - self.at)

    def begun(self) -> str:
        """The line for its begin."""
        record = self.record
        return record.phase if record.total is None else f"{record.phase}: {_of(record)}"

    def running(self, now: float) -> str:
        """The line for how far it is."""
        record, rate = self.record, self.rate(now)
        if not record.done:
            return f"{record.phase}: {seconds_text(self.seconds(now))} so far"
        words = amount_text(record.done, record.unit)
        known = record.total is not None and record.done <= record.total and record.total > 0
        if known:
            words = f"{words if record.unit == 'bytes' else f'{record.done:.0f}'} of {_of(record)} ({100 * record.done / t.cast(float, record.total):.0f} %)"
        if now - self.grown_at >= SILENT_SECONDS:
            return f"{record.phase}: {words}, nothing new for {seconds_text(now - self.grown_at)}"
        if rate > 0:
            words += f", {_rate(rate, record.unit)}"
            if known:
                words += f", {seconds_text((t.cast(float, record.total) - record.done) / rate)} left"
        return f"{record.phase}: {words}"

    def over(self) -> str:
        """The line for its end."""
        record = self.record
        words = seconds_text(record.seconds)
        if record.state == "failed":
            return f"{record.phase}: failed after {words}" + (f" and {amount_text(record.done, record.unit)}" if record.done else "")
        if not record.done:
            return f"{record.phase}: {words}"
        rate = f" ({_rate(record.done / record.seconds, record.unit)})" if record.seconds >= 0.1 else ""
        return f"{record.phase}: {amount_text(record.done, record.unit)} in {words}{rate}"


def _of(record: Record) -> str:
    """A phase's total in words."""
    words = amount_text(record.total or 0, record.unit)
    return words if record.exact else f"about {words}"


def _rate(rate: float, unit: str) -> str:
    return f"{bytes_text(rate)}/s" if unit == "bytes" else f"{rate:.1f} {unit}/s"


def default_interval(elapsed: float, terminal: bool) -> float:
    """Return the seconds between two lines about a phase: 10 in a job log; in a terminal fewer at first, when somebody watches."""
    if not terminal or elapsed >= 120:
        return 10.0
    return 1.0 if elapsed < 10 else 5.0


def poll_seconds(elapsed: float) -> float:
    """Return how long one look at the host may wait for the job's end: short at first, so that short work is seen, then 2 and 5 seconds."""
    return 0.5 if elapsed < 3 else 1.0 if elapsed < 10 else 2.0 if elapsed < 60 else 5.0


class Lines:
    """Chooses what is worth a line: each begin and end, and between them one line in ``interval`` seconds."""

    def __init__(self, terminal: bool, interval: float | None = None) -> None:
        """Build the chooser.

        Args:
            terminal: a person watches.
            interval: seconds between two lines about a phase; ``None`` for :func:`default_interval`.
        """
        self._terminal, self._interval = terminal, interval
        self._phases: dict[int, _Shown] = {}
        self._started: float | None = None
        self._said_at = float("-inf")

    def see(self, records: t.Iterable[Record], now: float) -> list[str]:
        """Take in what was reported since the last call; return the lines to show now."""
        if self._started is None:
            self._started = self._said_at = now
        lines = []
        for record in records:
            shown = self._phases.setdefault(record.number, _Shown(record, now))
            shown.see(record, now)
            if record.state in ("ended", "failed"):
                lines.append(shown.over())
                del self._phases[record.number]
        for shown in self._phases.values():
            if not shown.said_begin and not shown.record.done:
                lines.append(shown.begun())
                self._said_at = now
            shown.said_begin = True
        interval = default_interval(now - self._started, self._terminal) if self._interval is None else self._interval
        if now - self._said_at >= interval:
            self._said_at = now
            lines += [shown.running(now) for shown in self._phases.values()]
        return lines
