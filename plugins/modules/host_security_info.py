#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_security_info
short_description: Say how a host is guarded, from inside
version_added: "1.0.0"
description:
  - Reads the settings of the SSH server, kernel settings, what listens, updates that wait, secrets that every user can read, the exposure of units, and
    certificates, in one go.
  - Only reads, and judges nothing. The filter P(mainstay.ops.security_report#filter) judges what it returns.
  - No secret is returned, only where it is and of what kind.
options:
  parts:
    description: What to look at. Empty means everything.
    type: list
    elements: str
    default: []
    choices: [sshd, kernel, listeners, packages, files, units, certificates]
  paths:
    description:
      - Folders to search for secrets that every user can read, and for files that every user can write.
      - What others cannot enter is passed over, as are links, version control, and modules of Python and Node.
    type: list
    elements: path
    default: [/etc, /home, /opt, /root, /srv, /usr/local, /var/backups, /var/www]
  max_files:
    description: So many files are looked at below O(paths). With more of them this part is not judged.
    type: int
    default: 50000
  certificate_paths:
    description: Folders to search for certificates. C(/etc/ssl/certs) is passed over.
    type: list
    elements: path
    default: [/etc]
  own_units:
    description: Patterns of names of units that count as our own, beside those whose files lie in C(/etc/systemd/system).
    type: list
    elements: str
    default: []
notes:
  - Run it as root. What cannot be looked at is said in RV(not_judged), and does not fail the module.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
seealso:
  - module: mainstay.ops.port_scan_info
  - module: mainstay.ops.web_security_info
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Scan | Look at the host from inside
  mainstay.ops.host_security_info:
    own_units: ["ledger*"]
  become: true
  register: inside

- name: Scan | Look for secrets alone
  mainstay.ops.host_security_info:
    parts: [files]
    paths: [/srv/ledger]
  become: true
  register: inside
  failed_when: inside.files.exposed | length > 0
"""

RETURN = r"""
sshd:
  description: The SSH server, with C(settings) as C(sshd -T) prints them, and C(matches), the lines of C(Match) blocks that loosen them.
  type: dict
  returned: success
kernel:
  description: Kernel settings that the rules know, with C(settings), and C(container) (its kind, empty on a machine of its own).
  type: dict
  returned: success
listeners:
  description: What listens, each with C(protocol), C(address), C(port), C(process) and C(pid).
  type: list
  elements: dict
  returned: success
packages:
  description: C(updates), C(lists_age_seconds), C(unattended), C(reboot_required), C(exposed) and C(stale).
  type: dict
  returned: success
files:
  description: C(exposed), what every user can read or write and should not, each with C(path), C(kind), C(line), C(mode) and C(owner).
  type: dict
  returned: success
  sample: {"exposed": [{"path": "/srv/shop/.env", "kind": "password", "line": 3, "mode": "0644", "owner": "shop"}]}
units:
  description: C(units), each with C(name), C(exposure) (0 to 10) and C(own).
  type: dict
  returned: success
certificates:
  description: Certificates in files, each with C(where), C(name), C(not_before) and C(not_after) (Unix times).
  type: list
  elements: dict
  returned: success
not_judged:
  description: What was not looked at, each with C(part), C(reason) and C(failed), false for what the host does not have. That part is none then.
  type: list
  elements: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._security.host_facts import argument_spec, gather


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C", "SYSTEMD_COLORS": "0"}
    module.exit_json(changed=False, **gather(module.run_command, module.params))


if __name__ == "__main__":
    main()
