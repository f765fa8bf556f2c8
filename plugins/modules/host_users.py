#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts of people, and the SSH keys by which they come in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_users
version_added: "1.0.0"
short_description: Accounts of people, and the SSH keys by which they come in
description:
  - Makes, changes and removes accounts, their groups and their SSH keys, all in one call.
  - The keys of an account are exactly those that are listed. Links in a home are not followed.
  - The account that the run came in as is never locked out. It is not removed, keeps a shell, keeps one of its present keys, and stays able to become root
    by sudo as it does now.
  - Accounts of the system are never removed.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.host_users
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Users | Have the operators
  mainstay.ops.host_users:
    users:
      - name: ada
        comment: Ada Lovelace
        groups: [adm, systemd-journal]
        keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHFg1a2u8R1oCzmXo3VnJ0gq1sIhVvOq8N2v7l4XbNQe ada"]
      - {name: charles, state: absent}
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success
  type: list
  elements: str
  sample: [make the user ada, "write the keys of ada (1 added, 0 removed)"]
login_user:
  description: The account that the run came in as.
  returned: success
  type: str
  sample: ops
diff:
  description: What is done to each account, without its keys.
  returned: success
  type: dict
  sample: {before: "", after: "make the user ada\n"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host.users import apply, login_user, parse, survey, users_spec


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=users_spec(), supports_check_mode=True)
    try:
        steps = survey(parse(module.params["users"]), module.params["sudo"])
        if not module.check_mode:
            apply(steps, module.run_command)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    actions = [step.text for step in steps]
    module.exit_json(changed=bool(steps), actions=actions, login_user=login_user(), diff={"before": "", "after": "".join(f"{line}\n" for line in actions)})


if __name__ == "__main__":
    main()
