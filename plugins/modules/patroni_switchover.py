#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Hand the lead of a Patroni cluster over to another member
version_added: "1.0.0"
description:
  - Switches a healthy cluster over to a standby, as planned work does, and proves it. The new leader accepts writes, the timeline grew by one, and the old
    leader streams from the new one.
  - Refuses a cluster that is paused, has a member that does not answer, stream or catch up, or a switchover that is scheduled already. What passes by itself,
    such as a member that is starting, is waited for.
  - In synchronous mode only a synchronous standby may lead next, so that no transaction is lost that a client was told is committed.
  - A run that was cut off is finished by the same task with O(candidate) or O(leader), or finds nothing left to do.
options:
  candidate:
    description:
      - Name of the member that is to lead. If it leads already, nothing is done.
      - Empty means the best standby, which is the one with the highest C(failover_priority) and then the least lag. If O(leader) is not given either,
        each run hands the lead on.
    type: str
    default: ''
  leader:
    description:
      - Name of the member that is not to lead any more, for example since its host is going to be restarted. If another one leads, nothing is done,
        or, with a O(candidate) that does not lead, the module fails.
      - Empty means whichever member leads.
    type: str
    default: ''
  max_lag_bytes:
    description:
      - So many bytes of the write-ahead log a standby may be behind, as measured during the run. Patroni's own C(maximum_lag_on_failover) holds as well.
    type: int
    default: 1048576
  wait_timeout:
    description:
      - Seconds that each of these may take, the wait for a cluster that is on its way to health, the switchover, and the old leader's return.
    type: int
    default: 300
seealso:
  - module: mainstay.ops.patroni_info
  - module: mainstay.ops.patroni_config
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.patroni
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Let data2 lead
  mainstay.ops.patroni_switchover:
    endpoints: [data1, data2, data3]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    ca_cert: /etc/ssl/private-ca.crt
    candidate: data2

- name: Take the lead away from a host that is going to be restarted
  mainstay.ops.patroni_switchover:
    endpoints: ["https://10.0.0.11:8008", "https://10.0.0.12:8008"]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    leader: "{{ inventory_hostname }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [switch over from data1 to data2]
from:
  description: Name of the member that led before.
  type: str
  returned: success
  sample: data1
to:
  description: Name of the member that leads now, or would in check mode.
  type: str
  returned: success
  sample: data2
timeline_before:
  description: Timeline of the leader before.
  type: int
  returned: success
timeline_after:
  description: Timeline of the leader now, or as it would be in check mode.
  type: int
  returned: success
members:
  description: The members as they are now, each as RV(mainstay.ops.patroni_info#module:members).
  type: list
  elements: dict
  returned: success
phases:
  description: Seconds of each phase. V(switch over) ends when the new leader accepts writes, V(rejoin) when the old one streams from it.
  type: dict
  returned: success
  sample: {"plan": 0.1, "switch over": 2.1, "rejoin": 3.4}
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: Leader and timeline, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import client_from, patroni_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.switchover import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **patroni_argument_spec(),
        "candidate": {"type": "str", "default": ""},
        "leader": {"type": "str", "default": ""},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "wait_timeout": {"type": "int", "default": 300},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result, warnings = run(client_from(module.params), module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
