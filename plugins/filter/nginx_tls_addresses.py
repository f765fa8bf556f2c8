# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``nginx_tls_addresses``: addresses of clients as nginx writes them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def nginx_tls_addresses(addresses: t.Sequence[str]) -> list[str]:
    """Return the addresses in nginx's form; the argument is documented in ``nginx_tls_addresses.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._nginx.live import remote_address

    if isinstance(addresses, str) or not isinstance(addresses, t.Sequence):
        raise AnsibleFilterError("nginx_tls_addresses: the addresses must be a list")
    found = (remote_address(str(address)) for address in addresses)
    return [address for address in found if address]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"nginx_tls_addresses": nginx_tls_addresses}
