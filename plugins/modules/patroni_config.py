#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_config
short_description: Keep the dynamic configuration of a Patroni cluster, and restart what waits for it
version_added: "1.0.0"
description:
  - Makes the settings that all members share, which live in the configuration store, hold what is asked for. It compares what is meant
    (V(64MB) is V(65536kB), V(on) is V(true), V("100") is V(100)), sends only what differs, and reads it back.
  - Waits until every member has acted on changed settings of PostgreSQL, and says which members wait for a restart now.
  - Restarts them if O(restart_pending) says so, one at a time, standbys first, each for a cluster that is healthy again.
    Less of a parameter of shared memory, such as C(max_connections), goes the other way round, since standbys can follow their leader only.
  - Refuses settings that Patroni would pass over in silence, because they belong to each member's own file, are unknown to the release, or below its limits.
options:
  settings:
    description:
      - Settings as Patroni's dynamic configuration has them, such as C(ttl), C(synchronous_mode) or C(postgresql) with C(parameters).
      - What is not named stays as it is. V(null) takes a setting away. Lists are replaced as a whole.
      - C(master_start_timeout) and C(master_stop_timeout) mean C(primary_start_timeout) and C(primary_stop_timeout).
      - Below C(mainstay) anything may be noted; Patroni keeps it and pays no heed to it.
    type: dict
    default: {}
  purge_parameters:
    description: Whether parameters in C(postgresql.parameters) that O(settings) does not name are taken away. Nothing else is, C(slots) neither.
    type: bool
    default: false
  restart_pending:
    description:
      - Whether members that wait for a restart are restarted, also if they have waited since before this run.
      - Nobody is restarted while the cluster is paused or not healthy, or, in synchronous mode, if the leader would be without another synchronous standby.
        That is found out before the settings are changed.
    type: bool
    default: false
  leader:
    description:
      - What is done with a leader that waits for a restart, after the standbys.
      - V(restart) restarts it in place; clients wait or are turned away for some seconds.
      - V(switchover) hands the lead over to the best standby first, as M(mainstay.ops.patroni_switchover) does, and restarts the old leader as a standby.
      - V(leave) lets it wait.
    type: str
    default: restart
    choices: [restart, switchover, leave]
  max_lag_bytes:
    description: So many bytes of the write-ahead log a standby may be behind for the cluster to count as healthy.
    type: int
    default: 1048576
  wait_timeout:
    description: Seconds that each wait may take, such as the one for a member to stream again after its restart.
    type: int
    default: 300
seealso:
  - module: mainstay.ops.patroni_info
  - module: mainstay.ops.patroni_switchover
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.patroni
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Keep the settings that all members share
  mainstay.ops.patroni_config:
    endpoints: [data1, data2, data3]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    ca_cert: /etc/ssl/private-ca.crt
    settings:
      ttl: 30
      loop_wait: 5
      retry_timeout: 10
      synchronous_mode: true
      postgresql:
        use_pg_rewind: true
        parameters:
          work_mem: 64MB
          max_connections: 200
          log_min_duration_statement: null

- name: Put into force what waits for a restart, without a restart of the leader while it leads
  mainstay.ops.patroni_config:
    endpoints: ["https://10.0.0.11:8008", "https://10.0.0.12:8008"]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    restart_pending: true
    leader: switchover
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order. Secrets are masked.
  type: list
  elements: str
  returned: success
  sample: ["set postgresql.parameters.max_connections to 200 (it was 100)", restart PostgreSQL on data2]
config:
  description: The dynamic configuration as it is now, or would be in check mode, with secrets masked.
  type: dict
  returned: success
pending_restart:
  description:
    - The members that wait for a restart now. In check mode, those that would wait, as far as that can be known without the members.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the member.
      type: str
      returned: always
    reason:
      description: The parameters that it waits for, with the old and the new value where Patroni says them, which it does since 4.0.
      type: str
      returned: always
  sample: [{"name": "data1", "reason": "max_connections"}]
restarted:
  description: Names of the members that were restarted, or would be in check mode, in order.
  type: list
  elements: str
  returned: success
leader:
  description: Name of the member that leads now; empty if there is none.
  type: str
  returned: success
phases:
  description: Seconds of each phase.
  type: dict
  returned: success
  sample: {"plan": 0.1, "change the settings": 0.2, "see every member act on them": 9.8, "restart PostgreSQL on data2": 3.1}
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: The dynamic configuration before and after, with secrets masked.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import client_from, patroni_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.reconcile import run
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.secrecy import secrets_in


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **patroni_argument_spec(),
        "settings": {"type": "dict", "default": {}},
        "purge_parameters": {"type": "bool", "default": False},
        "restart_pending": {"type": "bool", "default": False},
        "leader": {"type": "str", "default": "restart", "choices": ["restart", "switchover", "leave"]},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "wait_timeout": {"type": "int", "default": 300},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    # Not the whole option: its words, such as "on", would be masked wherever they occur.
    module.no_log_values |= secrets_in(module.params["settings"])
    try:
        result, warnings = run(client_from(module.params), module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
