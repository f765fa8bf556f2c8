#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose_redis_info
short_description: Collect what somebody on call looks at first on a Redis server
version_added: "1.0.0"
description:
  - Reads hit rate, memory, clients, persistence, replication and the slow log of a Redis or Valkey server. It is judged by
    M(mainstay.ops.diagnose_report).
  - Keys and arguments of commands are never returned.
options:
  hours:
    description: How far back slow commands count.
    type: float
    default: 1.0
notes:
  - The user needs C(+info), and C(+slowlog|get) for the slow log. The preset V(exporter) of the role P(mainstay.ops.redis_sentinel#role) has both.
seealso:
  - module: mainstay.ops.diagnose_report
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.redis
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Look | Collect what there is to see of Redis
  mainstay.ops.diagnose_redis_info:
    login_host: data1.example.com
    login_user: exporter
    login_password: "{{ redis_exporter_password }}"
  register: found
"""

RETURN = r"""
redis:
  description:
    - What the server tells. C(address), C(keys), C(lookups), C(hit_percent) (null without lookups), and fields of C(INFO) such as C(role), C(used_memory),
      C(maxmemory), C(maxmemory_policy), C(connected_clients) and C(evicted_keys).
    - C(slow) has C(count) and, for each of the C(commands), C(command), C(count), C(slowest_seconds) and C(last); null if it cannot be read.
    - C(not_judged) has what could not be read, with C(part) and C(reason).
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Server, login_from, redis_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.redis_state import look


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec={**redis_argument_spec(), "hours": {"type": "float", "default": 1.0}}, supports_check_mode=True)
    try:
        if module.params["hours"] <= 0:
            raise InvalidInput(f"look back {module.params['hours']:g} hours", "that is no time", "give hours above 0")
        with Server(login_from(module.params)) as server:
            result = look(server, time.time() - module.params["hours"] * 3600)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, redis=result)


if __name__ == "__main__":
    main()
