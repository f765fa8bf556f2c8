# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters ``aws_platform_costs`` and ``aws_platform_plan``: what a platform costs a month, and what a run would do to one of its stacks."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def aws_platform_costs(
    sizes: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any], *, engine: str = "valkey", distribution: bool = False, standby: bool = False
) -> dict[str, t.Any]:
    """Return the costs of each size; the arguments are documented in ``aws_platform_costs.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._aws.costs import Wishes, estimate, total

    wishes = Wishes(str(engine), bool(distribution), bool(standby))
    found = {}
    for name, size in sizes.items():
        try:
            lines = estimate(size, prices, wishes)
        except MainstayError as error:
            raise AnsibleFilterError(f"aws_platform_costs: {name}: {error}") from error
        found[str(name)] = {"monthly": total(lines), "lines": [dataclasses.asdict(line) for line in lines]}
    return found


def aws_platform_plan(applied: t.Mapping[str, t.Any], stack: str, template: t.Mapping[str, t.Any], *, exists: bool) -> list[str]:
    """Return what would be done; the arguments are documented in ``aws_platform_plan.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._aws.changes import words_for_changes, words_for_new

    if not exists:
        return words_for_new(stack, template)
    changes = applied.get("meta")
    return words_for_changes(stack, changes) if isinstance(changes, list) else []


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"aws_platform_costs": aws_platform_costs, "aws_platform_plan": aws_platform_plan}
