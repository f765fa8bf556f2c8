#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say that drills are expected."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_metrics
version_added: "1.0.0"
short_description: Say for Prometheus that drills are expected from now on
description:
  - Adds to the figures of M(mainstay.ops.recovery_report) since when drills of a level are expected, and how long ago the last success may be, so that
    one that never comes raises an alert.
  - What the figures say of drills that were run stays. A second run changes nothing.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  path:
    description: The file, as O(mainstay.ops.recovery_report#module:metrics). It must end in C(.prom), and its folder must exist.
    type: path
    required: true
  name:
    description: What is recovered, as O(mainstay.ops.recovery_report#module:name).
    type: str
    required: true
  level:
    description: How much the drills prove, as O(mainstay.ops.recovery_report#module:level).
    type: str
    choices: [verify, restore, site]
    default: restore
  late_after:
    description: How long ago the last success may be. Seconds, or with one of the units V(s), V(m), V(h), V(d), V(w).
    type: str
    required: true
seealso:
  - module: mainstay.ops.recovery_report
"""

EXAMPLES = r"""
- name: Expect a drill each week
  mainstay.ops.recovery_metrics:
    path: /var/lib/prometheus/node-exporter/mainstay-drill.prom
    name: ledger
    late_after: 8d
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [write /var/lib/prometheus/node-exporter/mainstay-drill.prom]
diff:
  description: The figures before and after.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import leave, record


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "level": {"type": "str", "choices": list(record.LEVELS), "default": "restore"},
            "late_after": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        left = leave.announce(params["path"], params["name"], params["level"], parse_duration(params["late_after"]), module.check_mode)
        module.exit_json(changed=bool(left.actions), actions=left.actions, diff=left.diff())
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
