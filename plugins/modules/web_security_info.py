#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: web_security_info
short_description: Say what the TLS and the web sites of a host look like from outside
version_added: "1.0.0"
description:
  - Runs testssl.sh on each site, reads its headers, and looks at what plain HTTP answers.
  - Looks which other ports speak TLS, and tests their protocols and ciphers, but not whether their certificates are trusted.
  - Only reads, and judges nothing. The filter P(mainstay.ops.security_report#filter) judges what it returns.
  - It runs where the module runs, so delegate it to another host than the one that is scanned.
options:
  address:
    description: Address of the host, or a name that leads to it.
    type: str
    required: true
  sites:
    description: Sites that are tested in full, which takes up to two minutes for each.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name that is asked for.
        type: str
        required: true
      port:
        description: Its port with TLS.
        type: int
        default: 443
      plain_port:
        description: Its port without TLS.
        type: int
        default: 80
      paths:
        description: Paths whose headers are read.
        type: list
        elements: str
        default: [/]
  ports:
    description: Other open ports, of which those that speak TLS are tested in brief. A server that speaks first, such as SSH, is left alone.
    type: list
    elements: int
    default: []
  ca_cert:
    description: Certificate of an authority to trust beside the public ones.
    type: path
  testssl:
    description: The program testssl.sh. Empty leaves its tests out. It is named C(testssl) by Debian, and gives a grade from version 3.2 on.
    type: str
    default: testssl
notes:
  - Cookies are returned without their values.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
seealso:
  - module: mainstay.ops.port_scan_info
  - name: testssl.sh
    description: What tests TLS.
    link: https://testssl.sh/
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Scan | Test a site from the controller
  mainstay.ops.web_security_info:
    address: "{{ ansible_host }}"
    sites:
      - name: shop.example.com
        paths: [/, /login]
    ca_cert: /etc/ssl/private-ca.crt
  delegate_to: localhost
  register: web
  failed_when: web.endpoints[0].grade not in ['A', 'A+']
"""

RETURN = r"""
endpoints:
  description: Ports that speak TLS, each with C(where), C(full), C(grade) (empty if testssl gave none) and C(tests), each with C(id), C(severity),
    C(finding) and C(cve).
  type: list
  elements: dict
  returned: success
served:
  description: The certificates that are served, each with C(where), C(name), C(not_before) and C(not_after) (Unix times).
  type: list
  elements: dict
  returned: success
answers:
  description: What the sites answered, each with C(url), C(status) (0 without an answer), C(headers), C(location) and C(error).
  type: list
  elements: dict
  returned: success
plain:
  description: The same without TLS.
  type: list
  elements: dict
  returned: success
not_judged:
  description: What could not be tested, each with C(part), C(reason) and C(failed). A site that does not complete TLS is among it.
  type: list
  elements: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._security.web import Look, argument_spec, examine


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C"}
    try:
        result = examine(module.run_command, Look.from_params(module.params))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
