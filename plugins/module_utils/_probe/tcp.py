# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a port accepts connections."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, connect, join_address

OPTIONS = frozenset({"host", "port"})
OBSERVED = ("address",)


@dataclasses.dataclass(frozen=True)
class Target:
    """A port of a host."""

    host: str
    port: int

    def __str__(self) -> str:
        """How the target is called."""
        return join_address(self.host, self.port)


def plan(options: dict[str, t.Any]) -> Target:
    """The target that the check's options describe."""
    return Target(options["host"], options["port"])


def probe(target: Target, budget: Budget) -> Finding:
    """Connect and hang up.

    Raises:
        NoAnswer: the port did not accept the connection.
    """
    with connect(target.host, target.port, budget) as wire:
        return Finding(summary=f"{wire.address} accepts connections", observed={"address": wire.address})
