# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a drill."""

from __future__ import annotations


class DrillFailed(Exception):
    """The drill cannot go on: what it needs is missing, or a member does not come back."""
