#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticache_backup
short_description: Keep snapshots of a cache in Amazon ElastiCache
version_added: "0.1.0"
description:
  - Takes manual snapshots of a replication group of ElastiCache (Valkey or Redis OSS), and removes those that no rule keeps.
  - Their tags are the catalogue, so that snapshots that others have made are never touched.
options:
  state:
    description:
      - V(present) means that a good snapshot not older than O(max_age) exists. One is taken only if there is none.
      - V(pruned) means that no snapshot is there that O(retention) does not keep.
      - V(absent) means that there is no snapshot O(backup_id).
    type: str
    default: present
    choices: [present, pruned, absent]
  replication_group_id:
    description: Identifier of the replication group whose snapshots these are. It need not exist any more, except for a new snapshot.
    type: str
    required: true
  backup_id:
    description: For O(state=absent), the name of the snapshot that is removed.
  max_age:
    description:
      - For O(state=present), how old the newest good snapshot may be, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w). V(0) always takes a
        new one. One that is in progress, since an earlier run was cut off, is waited for.
      - A job that runs daily should ask for somewhat less than a day, since yesterday's snapshot is else just young enough now and then.
  retention:
    description:
      - Which snapshots stay. With O(state=present) the others are removed after the snapshot, and only if it succeeded. Required for O(state=pruned).
      - A snapshot stays if any of the rules keeps it. Without a rule that keeps something nothing is removed.
      - Whatever the rules say, the newest good snapshot stays, the newest O(retention.min_good) good ones, and whatever is in progress or younger than
        O(retention.grace).
      - Only snapshots with this collection's tags count, and only those are ever removed.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.aws_snapshots.keep
  - mainstay.ops.aws_waits
  - mainstay.ops.catalog.retention
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
notes:
  - The user data of a cache is in its snapshots, its users and parameters are not.
  - A snapshot forks the server's process, which needs memory of its own (parameter C(reserved-memory-percent)). Where there is too little, ElastiCache takes it
    without a fork, and slower (ElastiCache User Guide, "Ensuring that you have enough memory to make a Valkey or Redis OSS snapshot").
  - ElastiCache copies snapshots within a region only. Data that must outlive a region is saved by M(mainstay.ops.redis_snapshot), which reads it over the
    replication protocol where the server allows that, or exported to a bucket by hand.
seealso:
  - module: mainstay.ops.elasticache_backup_info
  - module: mainstay.ops.rds_backup
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Have a snapshot that is younger than a day
  mainstay.ops.elasticache_backup:
    replication_group_id: shop
    max_age: 23h
    retention:
      keep_daily: 7
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["take a snapshot of shop"]
backup:
  description:
    - The snapshot as RV(mainstay.ops.rds_backup#module:backup), with C(group), C(engine), C(engine_version), C(node_type) and C(shards) of its own.
    - Empty where there is none, and in check mode for one that would be the first.
  type: dict
  returned: success
recoverable_from:
  description: The moment whose data the snapshot holds (UTC), of the oldest shard.
  type: str
  returned: success
recoverable_to:
  description: The same moment. A snapshot brings back that one only.
  type: str
  returned: success
kept:
  description: The snapshots that stay, each with C(id) and C(reasons), where O(retention) worked.
  type: list
  elements: dict
  returned: success
pruned:
  description: The names of the snapshots that were removed, or would be.
  type: list
  elements: str
  returned: success
phases:
  description: Seconds by phase.
  type: dict
  returned: success
seconds:
  description: Seconds of the whole run.
  type: float
  returned: success
diff:
  description: The snapshots before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import ElastiCache
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_backup import Job
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import refuse_waits
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_spec import keep_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

RESULTS = ("changed", "actions", "backup", "recoverable_from", "recoverable_to", "kept", "pruned", "phases", "seconds", "diff")


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **keep_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "pruned", "absent"]},
        "replication_group_id": {"type": "str", "required": True},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True, required_if=[("state", "pruned", ("retention",))])
    try:
        refuse_waits(module.params)
        here = client(module, "elasticache")
        result, warnings = Job(ElastiCache(here, here.meta.region_name), module.params, module.check_mode).run()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**{name: result[name] for name in RESULTS})


if __name__ == "__main__":
    main()
