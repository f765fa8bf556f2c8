# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for units: how much a service could do if it were taken over, as ``systemd-analyze security`` counts it (0 is best, 10 is worst).

The facts are ``units``, a list of ``name``, ``exposure``, ``own`` (whether the unit is ours to write, and not a package's).
"""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import HIGH, LOW, MEDIUM, Facts, Hit, Rule

OWN_LIMIT = 2.5
"""What our own units must keep to."""
EXPOSED = 7.0
"""From here on systemd-analyze calls a unit exposed, and from 9 on unsafe."""
SHOWN = 12
"""So many units are named."""


def _own(facts: Facts) -> t.Iterator[Hit]:
    for unit in facts["units"]:
        if unit["own"] and unit["exposure"] > OWN_LIMIT:
            yield Hit(unit["name"], f"its exposure is {unit['exposure']:.1f}, above {OWN_LIMIT}", HIGH if unit["exposure"] >= EXPOSED else MEDIUM)


def _others(facts: Facts) -> t.Iterator[Hit]:
    exposed = sorted((unit for unit in facts["units"] if not unit["own"] and unit["exposure"] >= EXPOSED), key=lambda unit: (-unit["exposure"], unit["name"]))
    if exposed:
        named = ", ".join(f"{unit['name'].removesuffix('.service')} {unit['exposure']:.1f}" for unit in exposed[:SHOWN])
        more = f" and {len(exposed) - SHOWN} more" if len(exposed) > SHOWN else ""
        yield Hit("units of packages", f"{named}{more}")


_SYSTEMD = "systemd-analyze security"

RULES = (
    Rule(
        "unit_not_hardened", MEDIUM, "may do more than it needs", "Whoever takes the service over can do all that the unit may.",
        "Add NoNewPrivileges, ProtectSystem=strict, ProtectHome, PrivateTmp, PrivateDevices, CapabilityBoundingSet, SystemCallFilter and the like, until "
        "systemd-analyze security UNIT is content.", _SYSTEMD, _own,
    ),
    Rule(
        "package_units_not_hardened", LOW, "are not hardened by their packages", "Whoever takes one over can do nearly all that its user may.",
        "Give those that listen to others a drop-in, and mask those that nobody needs.", _SYSTEMD, _others,
    ),
)  # fmt: skip
