# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for certificates near their end, by the share of their lifetime that is left, so that one of six days is judged as one of a year.

The facts are ``now`` (Unix time), ``files`` and ``served``: lists of ``where``, ``name`` (of the subject), ``not_before``, ``not_after`` (Unix times).
"""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._report import duration
from ansible_collections.mainstay.ops.plugins.module_utils._security.model import CRITICAL, HIGH, MEDIUM, Facts, Hit, Rule

LATE_SHARE = 0.25
"""ACME clients renew when a third is left: with less than a quarter something has failed several times."""
URGENT_SHARE = 0.10
"""Nine days of ninety, and 14 hours of six days: somebody has to act today."""


def left(certificate: Facts, now: float) -> float:
    """Return the share of a certificate's lifetime that is left, 0 when it has ended."""
    life = certificate["not_after"] - certificate["not_before"]
    return max(0.0, (certificate["not_after"] - now) / life) if life > 0 else 0.0


def _ends(part: str, ended: str) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        for certificate in facts[part]:
            share = left(certificate, facts["now"])
            if share > LATE_SHARE:
                continue
            seconds = certificate["not_after"] - facts["now"]
            when = f"ends in {duration(seconds)}, with {share:.0%} of its lifetime left" if seconds > 0 else f"ended {duration(-seconds)} ago"
            severity = ended if share <= 0 else HIGH if share <= URGENT_SHARE else MEDIUM
            yield Hit(certificate["where"], f"the certificate of {certificate['name'] or 'nobody'} {when}", severity)

    return find


def _not_yet(facts: Facts) -> t.Iterator[Hit]:
    for certificate in facts["served"]:
        if certificate["not_before"] > facts["now"] + 60:
            begins = duration(certificate["not_before"] - facts["now"])
            yield Hit(certificate["where"], f"the certificate of {certificate['name'] or 'nobody'} begins in {begins}")


_RENEW = "Renew it, and find out why nobody did: see the timer and the journal of the renewal."
_SOURCE = "RFC 9773 (ACME renewal information), and the ACME clients' third"

RULES = (
    Rule("served_certificate_ends", MEDIUM, "serves a certificate that is near its end", "From its end on no client connects.", _RENEW, _SOURCE,
         _ends("served", CRITICAL)),
    Rule("certificate_file_ends", MEDIUM, "is a certificate near its end", "Whatever uses it fails from its end on.",
         _RENEW + " If nothing uses it, remove it.", _SOURCE, _ends("files", HIGH)),
    Rule("served_certificate_not_yet", HIGH, "serves a certificate that is not valid yet", "No client whose clock is right connects.",
         "Look at the clocks of the host and of the authority.", "RFC 5280", _not_yet),
)  # fmt: skip
