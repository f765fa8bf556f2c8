# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of requests and of their times, which can be added up over balancers before a percentile is taken."""

from __future__ import annotations

import collections
import dataclasses
import math
import typing as t

EXACT_BELOW = 1000
"""Milliseconds below which a time is kept as nginx logs it. Above, it is rounded up to three digits, which is at most one percent too much."""


def bucket(seconds: float) -> int:
    """The bucket of a time, in milliseconds."""
    milliseconds = max(round(seconds * 1000), 0)
    if milliseconds < EXACT_BELOW:
        return milliseconds
    step = 10 ** (len(str(milliseconds)) - 3)
    return -(-milliseconds // step) * step


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is said of a release in a window. Percentiles are in seconds, None without a time.

    Attributes:
        requests: all that were answered or given up.
        errors: answered with a status of 500 or more.
        aborted: given up by the client (nginx calls that 499), and no error.
        retried: answered well in the end, after a server of the pool had failed.
    """

    requests: int
    errors: int
    aborted: int = 0
    retried: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @property
    def error_ratio(self) -> float:
        """Errors among the requests that were answered, 0 without one."""
        answered = self.requests - self.aborted
        return round(self.errors / answered, 6) if answered > 0 else 0.0

    def as_dict(self) -> dict[str, t.Any]:
        """The figures as a module returns them."""
        return {**dataclasses.asdict(self), "error_ratio": self.error_ratio}


@dataclasses.dataclass
class Figures:
    """The requests of one pool, counted; ``times`` has how many took so many milliseconds (:func:`bucket`)."""

    requests: int = 0
    errors: int = 0
    aborted: int = 0
    retried: int = 0
    times: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)

    @classmethod
    def of(cls, pool: t.Mapping[str, t.Any]) -> Figures:
        """The figures that :meth:`as_dict` was made of."""
        times = collections.Counter({int(milliseconds): int(count) for milliseconds, count in pool["times"]})
        return cls(int(pool["requests"]), int(pool["errors"]), int(pool["aborted"]), int(pool["retried"]), times)

    def add(self, other: Figures) -> None:
        """Add the figures of the same pool, such as those of another balancer."""
        self.requests += other.requests
        self.errors += other.errors
        self.aborted += other.aborted
        self.retried += other.retried
        self.times.update(other.times)

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile in seconds."""
        rank = max(math.ceil(percent / 100 * sum(self.times.values())), 1)
        for milliseconds in sorted(self.times):
            rank -= self.times[milliseconds]
            if rank <= 0:
                return milliseconds / 1000
        return None

    def summary(self) -> Summary:
        """The figures in short."""
        return Summary(self.requests, self.errors, self.aborted, self.retried, *(self.percentile(percent) for percent in (50, 95, 99)))

    def as_dict(self) -> dict[str, t.Any]:
        """The figures with all times, as lists of milliseconds and a count."""
        return {**self.summary().as_dict(), "times": [[milliseconds, self.times[milliseconds]] for milliseconds in sorted(self.times)]}
