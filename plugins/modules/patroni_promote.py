#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_promote
short_description: Let a standby cluster of Patroni take writes, with or without the site that it follows
version_added: "1.0.0"
description:
  - Promotes a standby cluster, a Patroni cluster that follows another one at another site, and waits until its leader takes writes on a new timeline.
  - With O(planned) the source takes part and nothing is lost. Its writes are held (C(default_transaction_read_only)), it is made a standby cluster itself, what
    its leader has more is fetched from it, and only then does this cluster take writes. At no moment do both. The source follows afterwards.
  - If a step before the promotion fails, the source gets its writes back. A run that was cut off is finished by the same task.
  - Without O(planned) a source that takes writes makes the module refuse, and so does one that cannot be seen, since two sites cannot tell a dead peer
    from a cut cable. A person says by O(fenced) that the source cannot take writes any more.
  - A cluster that takes writes already is left alone. If the source takes writes too, that is an error.
options:
  source:
    description: The cluster that is followed. Its REST APIs are asked what it has, and with O(planned) are told what to do.
    type: dict
    suboptions:
      endpoints:
        description: REST APIs of its members, as O(endpoints).
        type: list
        elements: str
        required: true
      api_user:
        description: User for requests that change something there. The default is O(api_user).
        type: str
      api_password:
        description: Password of that user. The default is O(api_password).
        type: str
      ca_cert:
        description: Path of the CA certificates that the source's certificates are checked against. The default is O(ca_cert).
        type: path
  planned:
    description: Whether the source takes part. Needs O(source) and O(follow).
    type: bool
    default: false
  follow:
    description: How the source follows this cluster afterwards, as Patroni's C(standby_cluster) has it.
    type: dict
    suboptions:
      host:
        description: Hosts of this cluster's servers, with commas between them. The one that takes writes is found.
        type: str
        required: true
      port:
        description: Port of all of them.
        type: int
        default: 5432
      primary_slot_name:
        description: Replication slot for the source, which is made on this cluster. Without one the source may be left behind when it is away for long.
        type: str
      restore_command:
        description: Command that fetches segments of the log from this cluster's archive.
        type: str
  slots:
    description: Further permanent replication slots that this cluster has from the promotion on, for other clusters that are to follow it.
    type: list
    elements: str
    default: []
  fenced:
    description:
      - The operator declares that the source cannot take writes from any client, and will not when its hosts come back.
      - A leader of the source that still answers is a warning then.
    type: bool
    default: false
  max_lost_bytes:
    description: Without O(planned), refuse if more bytes of the source's log would be lost, or if nobody knows how many.
    type: int
  max_lost_seconds:
    description:
      - Without O(planned), refuse if the last commit that has arrived is older. It counts against the clock of the host where the module runs.
      - A source on which nobody wrote for a while looks as if it had lost that while.
    type: float
  max_lag_bytes:
    description: With O(planned), refuse to begin if this cluster is more bytes behind, since writes are held until it has caught up.
    type: int
    default: 1048576
  wait_timeout:
    description: Seconds that each step may take.
    type: int
    default: 120
notes:
  - The sites need each other's replication users, which are the same, because the data are. C(pg_hba) of each site admits the other, and each trusts
    the other's authority.
  - Programs that set C(transaction_read_only) themselves are not held. What they commit is not lost either, because the source's leader is stopped before the
    rest is fetched.
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
- name: Change the site as planned
  mainstay.ops.patroni_promote:
    endpoints: [dr1, dr2]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    ca_cert: /etc/ssl/private-ca.crt
    source:
      endpoints: [data1, data2, data3]
    planned: true
    follow:
      host: dr1,dr2
      primary_slot_name: site_a

- name: Take over from a site that is lost
  mainstay.ops.patroni_promote:
    endpoints: ["https://10.1.0.11:8008", "https://10.1.0.12:8008"]
    api_user: patroni
    api_password: "{{ patroni_api_password }}"
    source:
      endpoints: ["https://10.0.0.11:8008", "https://10.0.0.12:8008"]
    fenced: true
    max_lost_seconds: 300
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample:
    - hold the writes of the source main
    - make the source main a standby cluster
    - promote the standby cluster main
    - take the hold off the source main, which follows now
promoted:
  description: Whether the cluster was promoted by this run, or would be in check mode.
  type: bool
  returned: success
leader:
  description: Name of the member that leads now.
  type: str
  returned: success
  sample: dr1
timeline_before:
  description: Timeline of the leader before.
  type: int
  returned: success
timeline_after:
  description: Timeline of the leader now, or as it would be in check mode.
  type: int
  returned: success
lost_bytes:
  description: Bytes of the source's log that were not here when the module looked. V(0) if planned, none if the source does not answer.
  type: int
  returned: success
lost_seconds:
  description: The most seconds of commits that can be lost, from the last one that has arrived. None if no commit has arrived since the standby's start.
  type: float
  returned: success
source_reachable:
  description: Whether the source answered.
  type: bool
  returned: success
unwritable_seconds:
  description: With O(planned), seconds from the hold of the source's writes to the first moment that this cluster took some. None otherwise.
  type: float
  returned: success
phases:
  description: Seconds of each phase.
  type: dict
  returned: success
  sample: {"plan": 0.1, "hold the writes": 0.3, "catch up": 0.1, "see the source take no writes": 2.4, "promote": 0.3}
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: What the cluster does and its timeline, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import client_from, patroni_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.promotion import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    source = {
        "endpoints": {"type": "list", "elements": "str", "required": True},
        "api_user": {"type": "str"},
        "api_password": {"type": "str", "no_log": True},
        "ca_cert": {"type": "path"},
    }
    follow = {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 5432},
        "primary_slot_name": {"type": "str"},
        "restore_command": {"type": "str"},
    }
    return {
        **patroni_argument_spec(),
        "source": {"type": "dict", "options": source},
        "planned": {"type": "bool", "default": False},
        "follow": {"type": "dict", "options": follow},
        "slots": {"type": "list", "elements": "str", "default": []},
        "fenced": {"type": "bool", "default": False},
        "max_lost_bytes": {"type": "int"},
        "max_lost_seconds": {"type": "float"},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "wait_timeout": {"type": "int", "default": 120},
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
