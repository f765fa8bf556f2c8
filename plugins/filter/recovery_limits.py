# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``recovery_limits``: what a drill may measure by the recovery policy."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def recovery_limits(policy: dict[str, t.Any], parts: list[str], level: str = "restore") -> dict[str, int]:
    """Return the limits; its form is documented in ``recovery_limits.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._recovery.policy import limits

    if not isinstance(policy, dict):
        raise AnsibleFilterError(f"recovery_limits: the policy must be a dictionary, not {type(policy).__name__}")
    try:
        return limits(policy, parts, level)
    except MainstayError as error:
        raise AnsibleFilterError(f"recovery_limits: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"recovery_limits": recovery_limits}
