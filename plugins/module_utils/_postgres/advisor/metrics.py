# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a report for Prometheus, in the text format that the node exporter's textfile collector reads."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import SEVERITIES

PREFIX = "mainstay_postgres_"


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a report found.

    Attributes:
        port: the server's, which tells servers of one host apart.
        counts: how many findings, by check and severity.
        judged: the checks that were judged; what they did not find is 0.
        not_judged: how many questions had no answer.
        seconds: how long the report took.
        late_after: seconds until the next report should be there; None if nobody expects one.
    """

    port: int
    counts: t.Mapping[tuple[str, str], int]
    judged: tuple[str, ...]
    not_judged: int
    seconds: float
    late_after: int | None


def render(figures: Figures, now: float) -> str:
    """Return the figures as text; ``now`` is the Unix time."""
    port = f'port="{figures.port}"'
    findings = [
        (f'check="{check}",severity="{severity}",{port}', figures.counts.get((check, severity), 0)) for check in figures.judged for severity in SEVERITIES
    ]
    series: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("findings", "Findings of the last report, by check and severity.", findings),
        ("report_not_judged", "Questions of the last report that had no answer.", [(port, figures.not_judged)]),
        ("report_timestamp_seconds", "When the last report was made.", [(port, now)]),
        ("report_duration_seconds", "How long it took.", [(port, figures.seconds)]),
    ]
    if figures.late_after is not None:
        series.append(("report_late_after_seconds", "How old the last report may become.", [(port, figures.late_after)]))
    lines: list[str] = []
    for name, text, samples in series:
        if samples:
            lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} gauge"]
            lines += [f"{PREFIX}{name}{{{labels}}} {number}" for labels, number in samples]
    return "\n".join(lines) + "\n"
