# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that knows a blue/green pair on Amazon ECS; their specification is in ``module_utils/_aws/pair.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """What the pair consists of."""

    DOCUMENTATION = r"""
options:
  cluster:
    description: Name or ARN of the cluster.
    type: str
    required: true
  target_groups:
    description: ARNs of the two target groups.
    type: dict
    suboptions:
      blue:
        description: That of the service blue.
        type: str
        required: true
      green:
        description: That of the service green.
        type: str
        required: true
  services:
    description: Names of the two services, by default O(name) with C(-blue) and C(-green).
    type: dict
    suboptions:
      blue:
        description: The service blue.
        type: str
        required: true
      green:
        description: The service green.
        type: str
        required: true
"""
