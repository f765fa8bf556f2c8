#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ruleset of nftables that never locks out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_firewall
version_added: "1.0.0"
short_description: Load a ruleset of nftables, without ever locking oneself out
description:
  - Has nftables judge the rules first, sets a timer on the host that brings the former rules back, loads the new ones as one transaction,
    and then comes to the host over a new connection to stop the timer. A ruleset that lets nobody in is gone again after O(rollback_after) seconds.
  - Only what was confirmed so is loaded at the next boot, from C(/etc/mainstay/firewall.nft).
  - Owns the table C(inet mainstay) alone. The tables of containers, of fail2ban and of others stay as they are.
  - Notices when somebody has changed or removed its table, and loads it anew.
extends_documentation_fragment:
  - mainstay.ops.attributes
attributes:
  action:
    description: Has a part that works on the controller, which makes the new connection.
    support: full
author:
  - Mainstay Operations (@mainstay)
options:
  ruleset:
    description: The table C(inet mainstay) as C(nft) reads it; the filter P(mainstay.ops.firewall_ruleset#filter) makes it. Required with O(state=present).
    type: str
    default: ""
  state:
    description: V(absent) removes the table.
    type: str
    choices: [present, absent]
    default: present
  rollback_after:
    description: Seconds after which the former rules come back, unless the new ones were confirmed.
    type: int
    default: 30
  phase:
    description: Set by the module's controller side, never by a task.
    type: str
    choices: [load, confirm]
"""

EXAMPLES = r"""
- name: Firewall | Let in the declared flows alone
  mainstay.ops.host_firewall:
    ruleset: "{{ base_flows | mainstay.ops.firewall_ruleset }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success
  type: list
  elements: str
  sample: [load the rules, confirm them over a new connection]
diff:
  description: The table before and after.
  returned: success
  type: dict
  sample: {before: "", after: "table inet mainstay {\n}\n"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import firewall


def ensure_present(module: AnsibleModule, current: firewall.Current) -> list[str]:
    """Have the ruleset in the kernel. Without a phase nothing is loaded: the controller side names one."""
    ruleset, phase = module.params["ruleset"], module.params["phase"]
    firewall.refuse_what_cannot_be(current)
    if phase == "confirm":
        firewall.confirm(module.run_command, ruleset)
        return ["confirm them over a new connection"]
    if firewall.is_current(current, ruleset):
        return []
    if module.check_mode:
        if current.installed:
            firewall.check(module.run_command, ruleset)
    elif phase is None:
        raise InvalidInput("load the rules of the firewall", "nobody would confirm them", "run the module through its action plugin")
    else:
        firewall.load(module.run_command, current, ruleset, module.params["rollback_after"])
    return ["load the rules"]


def ensure_absent(module: AnsibleModule, current: firewall.Current) -> list[str]:
    """Have no table of ours."""
    if not current.table and not current.stored:
        return []
    if not module.check_mode:
        firewall.unload(module.run_command)
    return ["remove the rules"]


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    return {
        "ruleset": {"type": "str", "default": ""},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "rollback_after": {"type": "int", "default": 30},
        "phase": {"type": "str", "choices": ["load", "confirm"]},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), required_if=[("state", "present", ["ruleset"])], supports_check_mode=True)
    present = module.params["state"] == "present"
    try:
        current = firewall.read(module.run_command)
        actions = (ensure_present if present else ensure_absent)(module, current)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    diff = {"before": current.table, "after": module.params["ruleset"] if present else ""}
    module.exit_json(changed=bool(actions), actions=actions, diff=diff if actions else {"before": "", "after": ""})


if __name__ == "__main__":
    main()
