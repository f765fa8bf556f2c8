#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: port_scan_info
short_description: Say which TCP ports of an address answer
version_added: "1.0.0"
description:
  - Connects to each port and hangs up. It needs no privilege and no program, and runs where the module runs, so delegate it to another host than the one that
    is scanned.
options:
  address:
    description: Name or address.
    type: str
    required: true
  ports:
    description: Ports to try, as numbers and ranges.
    type: list
    elements: str
    default: ["1-65535"]
  timeout:
    description: Seconds after which a port counts as filtered.
    type: float
    default: 1.0
  parallel:
    description: How many ports to try at a time. A firewall that drops makes 65535 ports take 65535 divided by this, times O(timeout).
    type: int
    default: 2000
notes:
  - With at most 1000 silent ports these are tried a second time.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
seealso:
  - module: mainstay.ops.host_security_info
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Scan | Try all ports of a host from the controller
  mainstay.ops.port_scan_info:
    address: "{{ ansible_host }}"
  delegate_to: localhost
  register: scan
  failed_when: scan.open | difference([22, 443]) | length > 0
"""

RETURN = r"""
address:
  description: What was scanned.
  type: str
  returned: success
source:
  description: The address that it was scanned from.
  type: str
  returned: success
tried:
  description: The ports that were tried.
  type: list
  elements: str
  returned: success
open:
  description: Ports that took the connection.
  type: list
  elements: int
  returned: success
  sample: [22, 80, 443]
closed_count:
  description: How many refused it.
  type: int
  returned: success
filtered_count:
  description: How many said nothing, or could not be reached.
  type: int
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._security.portscan import argument_spec, scan


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = scan(**module.params)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
