# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ecs_restart: show how far the module is."""

from __future__ import annotations

from ansible_collections.mainstay.ops.plugins.plugin_utils._progress_action import ProgressAction


class ActionModule(ProgressAction):
    """Run the module and show its progress."""
