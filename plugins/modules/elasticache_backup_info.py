#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticache_backup_info
short_description: List the snapshots of a cache in Amazon ElastiCache, and what they can bring back
version_added: "1.0.0"
description:
  - Lists the snapshots that M(mainstay.ops.elasticache_backup) has taken. Changes nothing.
  - The group need not exist any more.
options:
  replication_group_id:
    description: Identifier of the replication group whose snapshots these are.
    type: str
    required: true
  backup_id:
    description:
      - Lists only the snapshot that is meant, which must exist.
      - V(latest) is the newest good one, V(latest_verified) the newest one that was restored for trial with success; anything else is a name.
    type: str
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
seealso:
  - module: mainstay.ops.elasticache_backup
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: List the snapshots
  mainstay.ops.elasticache_backup_info:
    replication_group_id: shop
  register: found

- name: Say what can be brought back
  ansible.builtin.debug:
    msg: "{{ found.backups | length }} snapshots, the newest of {{ found.recoverable_to }}"
"""

RETURN = r"""
backups:
  description: The snapshots, oldest first, each as RV(mainstay.ops.elasticache_backup#module:backup).
  type: list
  elements: dict
  returned: success
incomplete:
  description: Identifiers of those in progress.
  type: list
  elements: str
  returned: success
latest:
  description: Identifier of the newest good snapshot; empty if there is none.
  type: str
  returned: success
latest_verified:
  description: Identifier of the newest one that was restored for trial with success; empty if there is none.
  type: str
  returned: success
recoverable_from:
  description: The moment of the oldest good snapshot (UTC).
  type: str
  returned: success
recoverable_to:
  description: The moment of the newest good snapshot (UTC).
  type: str
  returned: success
group_status:
  description: What AWS says of the group; empty if there is none in this region.
  type: str
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import ElastiCache
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_backup import overview
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {"replication_group_id": {"type": "str", "required": True}, "backup_id": {"type": "str"}}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    here = client(module, "elasticache")
    try:
        found = overview(ElastiCache(here, here.meta.region_name), module.params["replication_group_id"].lower(), module.params["backup_id"])
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
