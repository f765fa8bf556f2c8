# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the security scan is made of: rules, what they hit, and the findings that come of it."""

from __future__ import annotations

import dataclasses
import typing as t

CRITICAL, HIGH, MEDIUM, LOW, INFO = "critical", "high", "medium", "low", "info"
SEVERITIES = (CRITICAL, HIGH, MEDIUM, LOW, INFO)
"""From the worst one. Critical: whoever finds it is in. High: one more mistake, and he is. Medium: a layer is missing. Low: hardening. Info: to be known."""

Facts = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Hit:
    """Something that a rule does not like.

    Attributes:
        subject: what it is about: a file, a port, a setting. It stays the same from scan to scan, for exceptions name it.
        evidence: what was seen, never a secret.
        severity: when it is not the rule's own.
    """

    subject: str
    evidence: str
    severity: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One thing that must not be.

    Attributes:
        id: its name, by which exceptions call it.
        severity: how bad it is, one of :data:`SEVERITIES`.
        problem: what is wrong, in a few words that follow the subject.
        why: why it counts, a sentence.
        mend: what to do, a sentence.
        source: who says so.
        find: looks at the facts of the rule's area.
    """

    id: str
    severity: str
    problem: str
    why: str
    mend: str
    source: str
    find: t.Callable[[t.Any], t.Iterable[Hit]]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A hit of a rule on a host. ``accepted`` is the reason of the exception that covers it, empty while it is open."""

    id: str
    area: str
    severity: str
    host: str
    subject: str
    problem: str
    evidence: str
    why: str
    mend: str
    source: str
    accepted: str = ""
    accepted_until: str = ""


def judge(rules: t.Iterable[Rule], facts: t.Any, host: str = "", area: str = "") -> list[Finding]:
    """Return what the rules find in the facts of a host."""
    return [
        Finding(rule.id, area, hit.severity or rule.severity, host, hit.subject, rule.problem, hit.evidence, rule.why, rule.mend, rule.source)
        for rule in rules
        for hit in rule.find(facts)
    ]


def rank(severity: str) -> int:
    """Return the place of a severity, 0 for the worst."""
    return SEVERITIES.index(severity)
