# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that work on services of Amazon ECS; their specification is in ``module_utils/_aws/deployment_guard.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Which services, and whose deployments they are kept away from."""

    DOCUMENTATION = r"""
options:
  cluster:
    description: Name or ARN of the cluster.
    type: str
    required: true
  services:
    description: Names of the services.
    type: list
    elements: str
    required: true
  name:
    description:
      - Name of the application, as O(mainstay.ops.ecs_bluegreen#module:name). By default what stands before C(-blue) and C(-green) in O(services).
      - Where the services have other names, give it or O(lock_name), or no deployment by M(mainstay.ops.ecs_bluegreen) is looked for.
    type: str
  lock_name:
    description: Name of the parameter of Systems Manager that is the lock of deployments, as O(mainstay.ops.ecs_bluegreen#module:lock_name).
    type: str
"""
