#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of sshd that never lock out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_sshd
version_added: "1.0.0"
short_description: Change settings of sshd, without ever locking oneself out
description:
  - Has sshd judge the settings together with the rest of its configuration, sets a timer on the host that brings the former ones back, writes them as the
    drop-in C(/etc/ssh/sshd_config.d/10-mainstay.conf), reloads sshd, and then comes to the host over a new connection to stop the timer. Settings that let
    nobody in are gone again after O(rollback_after) seconds.
  - Fails, with the former settings back, where the drop-in would not lead to what it says, because C(sshd_config) does not include it or sets the same before.
  - Notices what was not confirmed over a new connection, by a run that was killed, and any change by hand that leads to other settings.
extends_documentation_fragment:
  - mainstay.ops.attributes
attributes:
  action:
    description: Has a part that works on the controller, which makes the new connection.
    support: full
author:
  - Mainstay Operations (@mainstay)
options:
  settings:
    description: The drop-in, as C(sshd_config) is written. Empty removes it.
    type: str
    required: true
  rollback_after:
    description: Seconds after which the former settings come back, unless the new ones were confirmed.
    type: int
    default: 30
  phase:
    description: Set by the module's controller side, never by a task.
    type: str
    choices: [load, confirm]
seealso:
  - module: mainstay.ops.host_firewall
"""

EXAMPLES = r"""
- name: Ssh | Take no passwords
  mainstay.ops.host_sshd:
    settings: |
      PasswordAuthentication no
      KbdInteractiveAuthentication no
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success
  type: list
  elements: str
  sample: [have sshd read the settings, confirm them over a new connection]
diff:
  description: The drop-in before and after.
  returned: success
  type: dict
  sample: {before: "", after: "PasswordAuthentication no\n"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import sshd


def ensure_settings(module: AnsibleModule, current: sshd.Current) -> list[str]:
    """Have the settings in service. Without a phase nothing is loaded: the controller side names one."""
    wanted, phase = module.params["settings"], module.params["phase"]
    if phase == "confirm":
        sshd.confirm(module.run_command, wanted)
        return ["confirm them over a new connection"]
    if sshd.is_current(current, wanted):
        return []
    if module.check_mode:
        if current.installed:
            sshd.try_out(module.run_command, wanted)
    elif phase is None:
        raise InvalidInput("change the settings of sshd", "nobody would confirm them", "run the module through its action plugin")
    else:
        sshd.load(module.run_command, current, wanted, module.params["rollback_after"])
    return ["have sshd read the settings"]


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    return {
        "settings": {"type": "str", "required": True},
        "rollback_after": {"type": "int", "default": 30},
        "phase": {"type": "str", "choices": ["load", "confirm"]},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        current = sshd.read(module.run_command)
        actions = ensure_settings(module, current)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    diff = {"before": current.text or "", "after": module.params["settings"]}
    module.exit_json(changed=bool(actions), actions=actions, diff=diff if actions else {"before": "", "after": ""})


if __name__ == "__main__":
    main()
