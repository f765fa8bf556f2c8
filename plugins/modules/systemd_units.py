#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run, enable and mask several systemd units."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_units
version_added: "0.1.0"
short_description: Run, enable and mask several systemd units in one call
description:
  - Reads the state of all units with one C(systemctl show), compares, and does only what is missing.
  - Where nothing is missing, that is one short command on the host, which needs no Python there.
  - Reads the unit files again (C(daemon-reload)) by itself when a file on disk is newer than, or shadows, what systemd has loaded.
  - Everything that can be known to fail is found before the first unit is touched.
  - A unit that does not start fails the task with the last lines of its journal; values that look like passwords are left out.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  units:
    description:
      - The units, started and stopped in this order. What an entry does not say stays as it is.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the unit, with C(.service) added if there is no suffix. Instances such as C(app@1.service) and timers are units like any other.
          - In check mode a unit that does not exist yet is planned for; in a real run it fails the task.
        type: str
        required: true
      state:
        description:
          - V(started) and V(stopped) act only if needed. A unit that failed counts as stopped. A unit that does not exist is stopped.
          - V(restarted), V(reloaded) and V(reload_or_restarted) always act, on a unit that does not run by starting it.
        type: str
        choices: [started, stopped, restarted, reloaded, reload_or_restarted]
      enabled:
        description:
          - Whether the unit starts at boot, as C(systemctl is-enabled) understands it.
            A unit without an C([Install]) section is enabled as it is and cannot be disabled.
        type: bool
      masked:
        description:
          - Whether the unit can be started at all. Masking happens after stopping.
        type: bool
"""

EXAMPLES = r"""
- name: Service | Run nginx and the timer of its certificates
  mainstay.ops.systemd_units:
    units:
      - {name: nginx.service, state: started, enabled: true}
      - {name: certbot.timer, state: started, enabled: true}

- name: Service | Take the cluster that the package made out of the way
  mainstay.ops.systemd_units:
    units:
      - {name: postgresql.service, state: stopped, masked: true}

- name: Service | Restart one slot of the application
  mainstay.ops.systemd_units:
    units:
      - {name: app@blue.service, state: restarted}
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  returned: success
  type: list
  elements: str
  sample: [reload the unit files of systemd, enable nginx.service, start nginx.service]
units:
  description: The units as they are afterwards, or would be after a real run.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name with suffix.
      type: str
    active:
      description: Whether it runs. A oneshot unit that does not remain after it has run is not active.
      type: bool
    enabled:
      description: Whether it starts at boot.
      type: bool
    masked:
      description: Whether it is masked.
      type: bool
    changed:
      description: Whether something was done to it.
      type: bool
  sample: [{name: nginx.service, active: true, enabled: true, masked: false, changed: true}]
diff:
  description: Before and after for each unit that something is done to, preceded by the reload of systemd's unit files if there is one.
  returned: success
  type: list
  elements: dict
  sample: [{before_header: nginx.service, after_header: nginx.service, before: "inactive\ndisabled\n", after: "active\nenabled\n"}]
journal:
  description: The last lines of the journal of a unit that did not start.
  returned: when a unit fails
  type: list
  elements: str
unit:
  description: Name of the unit that did not start.
  returned: when a unit fails
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Systemctl, describe, diff_of, ensure_units, parse_wanted


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    unit: dict[str, t.Any] = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "stopped", "restarted", "reloaded", "reload_or_restarted"]},
        "enabled": {"type": "bool"},
        "masked": {"type": "bool"},
    }
    return {"units": {"type": "list", "elements": "dict", "required": True, "options": unit}}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        plan = ensure_units(parse_wanted(module.params["units"]), Systemctl(module.run_command), module.check_mode)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(
        changed=bool(plan.steps),
        actions=[str(step) for step in plan.steps],
        units=[describe(outcome) for outcome in plan.outcomes],
        diff=diff_of(plan),
    )


if __name__ == "__main__":
    main()
