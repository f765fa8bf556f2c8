# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of host_firewall: load the rules, then prove over a new connection that they let us in."""

from __future__ import annotations

from ansible_collections.mainstay.ops.plugins.plugin_utils._new_connection import ProvenAction


class ActionModule(ProvenAction):
    """Load rules, and prove them."""

    MODULE = "mainstay.ops.host_firewall"
    SHUT_OUT = (
        "could not load the rules of the firewall: no new connection got through in time, and the host has brought the former rules back "
        "after {seconds} s; let the controller in by base_firewall_ssh_from"
    )
