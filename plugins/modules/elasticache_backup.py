#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: elasticache_backup
short_description: Keep snapshots of a cache in Amazon ElastiCache, prove them by a restore, and export them to buckets
version_added: "1.0.0"
description:
  - Takes manual snapshots of a replication group of ElastiCache (Valkey or Redis OSS). Their tags are the catalogue, so that snapshots that others have made
    are never touched.
  - Proves a snapshot by a restore to a group for trial, in which every key is read. The group is removed whatever happens, and the result is kept in the
    snapshot's tags.
  - Exports snapshots to buckets, and removes those that no rule keeps.
options:
  state:
    description:
      - V(present) means that a good snapshot not older than O(max_age) exists, and that all of O(copies) hold it. One is taken only if there is none.
      - V(verified) means that the snapshot O(backup_id) was restored for trial, with O(min_keys) and O(verify_keys), not longer than O(max_age) ago.
      - V(copied) means that all of O(copies) hold the snapshot O(backup_id).
      - V(pruned) means that no snapshot is there that O(retention) does not keep.
      - V(absent) means that there is no snapshot O(backup_id), in the region or in O(copies).
    type: str
    default: present
    choices: [present, verified, copied, pruned, absent]
  replication_group_id:
    description: Identifier of the replication group whose snapshots these are. It need not exist any more, except for a new snapshot.
    type: str
    required: true
  copies:
    description:
      - Buckets that hold the data of every snapshot as well, as files C(ID.rdb) or C(ID-0001.rdb), one for each shard.
      - For O(state=present) the task fails unless the snapshot is in all of them. O(state=copied) brings there what they lack.
      - O(retention) and O(state=absent) work on them too, each by what it holds itself. Files that are not named so are never touched.
    type: list
    elements: dict
    default: []
    suboptions:
      bucket:
        description: The bucket. It must be in the region of the group, and its policy must let ElastiCache write there.
        type: str
        required: true
  cache_node_type:
    description: Type of the nodes of the group for trial. The default is that of the snapshot, as for the options that follow.
    type: str
  cache_subnet_group_name:
    description: Its subnet group.
    type: str
  cache_parameter_group_name:
    description: Its parameter group.
    type: str
  security_group_ids:
    description: Its security groups. The default is those of the replication group, so that they are needed where it is gone.
    type: list
    elements: str
    default: []
  min_keys:
    description: For O(state=verified), how many keys there must be at least. With V(0) a snapshot of an empty cache is no failure.
    type: int
    default: 1
  verify_keys:
    description: For O(state=verified), keys of database 0 that must be there.
    type: list
    elements: str
    default: []
  check_timeout:
    description: For O(state=verified), how many seconds a node may take for an answer.
    type: int
    default: 60
  validate_certs:
    description: For O(state=verified), whether the certificate of the group for trial must be valid.
    type: bool
    default: true
  ca_cert:
    description: File with other certificate authorities than those of this host.
    type: path
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.aws_snapshots
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
  - ElastiCache has no call that brings a snapshot into another region. Export it to a bucket by O(copies), let S3 replicate that to a bucket in the other
    region, and have ElastiCache make a new group of the files there (C(SnapshotArns) of C(CreateReplicationGroup)). What is exported is as readable as the
    bucket lets it be. Groups with data tiering cannot be exported (ElastiCache User Guide, "Exporting a backup"). M(mainstay.ops.redis_snapshot) saves a
    cache over the replication protocol where the server allows that.
  - O(state=verified) must run where the subnets of the cache can be reached, such as a host in the VPC, and needs the Python library redis there. It needs
    no password, since the group for trial gets a random one.
  - The group for trial is in the subnet group and the security groups of the source, and has one node for each shard. It costs what such nodes cost, for as
    long as the verification takes. It says by the tag C(mainstay:trial-until) until when a run is at it. One whose time is over was left by a run that was
    cut off, and the next verification removes it.
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

- name: Have it in a bucket as well, which S3 replicates to the second region
  mainstay.ops.elasticache_backup:
    replication_group_id: shop
    max_age: 23h
    copies:
      - bucket: shop-cache-exports

- name: Prove that the newest snapshot can be restored
  mainstay.ops.elasticache_backup:
    state: verified
    replication_group_id: shop
    max_age: 7d
    verify_keys: [catalogue]
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
    - The snapshot as RV(mainstay.ops.rds_backup#module:backup), with C(group), C(engine), C(engine_version), C(node_type), C(shards),
      C(subnet_group), C(parameter_group) and C(data_tiering) of its own.
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
verification:
  description:
    - The result of the verification, with C(at), C(level), C(status), C(seconds), C(phases), C(cause) and C(details). Empty with other states.
    - The details are C(rto_seconds), C(rpo_seconds), C(rto_met), C(rpo_met), C(keys), C(types) (keys by type), C(shards) and C(server_versions). A
      verification that was young enough has the first only.
  type: dict
  returned: success, and failure of the snapshot
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
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_bucket import BucketShelf
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_groups import Groups
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import refuse_waits
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_spec import snapshot_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible

RESULTS = ("changed", "actions", "backup", "recoverable_from", "recoverable_to", "verification", "kept", "pruned", "phases", "seconds", "diff")


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **snapshot_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "verified", "copied", "pruned", "absent"]},
        "replication_group_id": {"type": "str", "required": True},
        "copies": {"type": "list", "elements": "dict", "default": [], "options": {"bucket": {"type": "str", "required": True}}},
        "cache_node_type": {"type": "str"},
        "cache_subnet_group_name": {"type": "str"},
        "cache_parameter_group_name": {"type": "str"},
        "security_group_ids": {"type": "list", "elements": "str", "default": []},
        "min_keys": {"type": "int", "default": 1, "no_log": False},
        "verify_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "check_timeout": {"type": "int", "default": 60},
        "validate_certs": {"type": "bool", "default": True},
        "ca_cert": {"type": "path"},
    }


def run(module: t.Any) -> tuple[dict[str, t.Any], list[str]]:
    """Do it; return the result and warnings."""
    refuse_waits(module.params)
    here = client(module, "elasticache")
    cache = ElastiCache(here, here.meta.region_name)
    store = client(module, "s3") if module.params["copies"] else None
    buckets = tuple(BucketShelf(store, cache, row["bucket"]) for row in module.params["copies"])
    return Job(cache, Groups(here), buckets, module.params, module.check_mode).run()


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True, required_if=[("state", "pruned", ("retention",))])
    try:
        with interruptible(f"work on the snapshots of {module.params['replication_group_id']}"):
            result, warnings = run(module)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**{name: result[name] for name in RESULTS})


if __name__ == "__main__":
    main()
