# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that wait for AWS; each has defaults of its own. Their specification is in ``module_utils/_aws/patience.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How long and how often is looked."""

    DOCUMENTATION = r"""
options:
  wait_timeout:
    description:
      - Seconds for each thing that AWS does in its own time, such as a snapshot, a copy, the making or promotion of an instance, or the start of the tasks of
        one service.
      - What is not done by then goes on in AWS. Where it makes or promotes something, the next run waits for it.
    type: int
  poll_interval:
    description: Seconds between two looks.
    type: float
"""
