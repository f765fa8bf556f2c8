# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters ``firewall_ruleset`` and ``firewall_lets_in``: rules of nftables from declared flows."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def firewall_ruleset(flows: t.Any, *, ssh_port: t.Any = 22, ssh_from: t.Any = ("any",), log_per_minute: t.Any = 10) -> str:
    """Return the table; the arguments are documented in ``firewall_ruleset.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._host.ruleset import ruleset

    try:
        return ruleset(list(flows), int(ssh_port), list(ssh_from), int(log_per_minute))
    except (MainstayError, ValueError, TypeError) as error:
        raise AnsibleFilterError(str(error)) from error


def firewall_lets_in(address: t.Any, ssh_from: t.Any) -> bool:
    """Return whether an address may use SSH; the arguments are documented in ``firewall_lets_in.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._host.ruleset import is_let_in

    try:
        return is_let_in(str(address or ""), list(ssh_from))
    except ValueError as error:
        raise AnsibleFilterError(f"firewall_lets_in: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"firewall_ruleset": firewall_ruleset, "firewall_lets_in": firewall_lets_in}
