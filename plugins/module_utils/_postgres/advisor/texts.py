# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings as lines for a terminal."""

from __future__ import annotations

import typing as t

Told = t.Mapping[str, t.Any]


def where(finding: Told) -> str:
    """Return the database of a finding as the beginning of a sentence, unless the finding is about the database."""
    return f"{finding['database']}: " if finding["database"] and finding["database"] != finding["object"] else ""


def sentences(findings: t.Iterable[Told], say: t.Callable[[Told], str]) -> list[str]:
    """Return a line for each finding; what to do stands below the first one of a kind."""
    lines: list[str] = []
    told = set()
    for finding in findings:
        lines.append(f"{finding['severity']:8}  {say(finding)}")
        if finding["recommendation"] not in told:
            lines.append(f"{'':8}    {finding['recommendation']}")
            told.add(finding["recommendation"])
    return lines
