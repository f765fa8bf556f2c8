#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rds_backup
short_description: Keep snapshots of a database in Amazon RDS, prove them by a restore, copy and restore them
version_added: "1.0.0"
description:
  - Takes manual snapshots of an instance of RDS. Their tags are the catalogue, so that snapshots that others have made are never touched.
  - Proves a snapshot by a restore to an instance for trial, in which every row is read, every foreign key is followed and queries of your own are put. The
    instance is removed whatever happens, and the result is kept in the snapshot's tags.
  - Restores a snapshot to a new instance, copies snapshots to other regions, and removes those that no rule keeps.
options:
  state:
    description:
      - V(present) means that a good snapshot not older than O(max_age) exists, in the region and in all of O(copies). One is taken only if there is none.
      - V(verified) means that the snapshot O(backup_id) was restored for trial, with all of O(verify_queries), not longer than O(max_age) ago.
      - V(restored) means that there is an instance O(target_db_instance_identifier) that was made of the snapshot O(backup_id).
      - V(copied) means that all of O(copies) hold the snapshot O(backup_id).
      - V(pruned) means that no snapshot is there that O(retention) does not keep.
      - V(absent) means that there is no snapshot O(backup_id), in the region or in O(copies).
    type: str
    default: present
    choices: [present, verified, restored, copied, pruned, absent]
  db_instance_identifier:
    description:
      - Identifier of the instance whose snapshots these are. It need not exist any more, except for a new snapshot.
      - An instance that belongs to an Aurora cluster or a Multi-AZ cluster is refused, since snapshots of clusters are of another kind.
    type: str
    required: true
  copies:
    description:
      - Further regions that hold every snapshot as well.
      - For O(state=present) the task fails unless the snapshot is in all of them. O(state=copied) brings there what they lack.
      - O(retention) and O(state=absent) work on them too, each by what it holds itself.
    type: list
    elements: dict
    default: []
    suboptions:
      region:
        description: The region.
        type: str
        required: true
      kms_key_id:
        description: Key of KMS in that region, by its ARN. Needed if the database is encrypted, since a key is in one region only.
        type: str
  target_db_instance_identifier:
    description: For O(state=restored), the name of the instance that is made.
    type: str
  on_existing:
    description:
      - For O(state=restored), what happens to an instance that has the name already and was not made of this snapshot.
      - V(fail) refuses before anything is changed.
      - V(rename) makes the new instance beside it. Once that serves, the old one is renamed to C(TARGET-before-WORD) and the new one gets its name, and with
        it the name of its endpoint. The old instance goes on, with its data and its costs.
    type: str
    default: fail
    choices: [fail, rename]
  db_instance_class:
    description: Class of the instance that is made, for trial or to stay. The default is that of the source instance, as for the options that follow.
    type: str
  db_subnet_group_name:
    description: Its subnet group.
    type: str
  vpc_security_group_ids:
    description: Its security groups.
    type: list
    elements: str
    default: []
  db_parameter_group_name:
    description: Its parameter group.
    type: str
  multi_az:
    description: For O(state=restored), whether it has a standby in a second zone.
    type: bool
  deletion_protection:
    description: For O(state=restored), whether it refuses to be removed.
    type: bool
  verify_queries:
    description: For O(state=verified), queries that are put to the restored databases.
    type: list
    elements: dict
    default: []
    suboptions:
      database:
        description: Database in which the query runs.
        type: str
        required: true
      query:
        description: The query.
        type: str
        required: true
      expect:
        description:
          - What the first column of the first row must be, as text.
          - V(true) and V(false) stand for truth values, an empty text for NULL and for no row.
        type: str
        required: true
  check_timeout:
    description: For O(state=verified), how many seconds one statement of the check may take.
    type: int
    default: 3600
  ssl_mode:
    description: For O(state=verified), how far the connection to the instance for trial is protected, as libpq has it.
    type: str
    default: require
    choices: [require, verify-ca, verify-full]
  ca_cert:
    description: File with AWS's certificate authorities for O(ssl_mode=verify-ca) and O(ssl_mode=verify-full).
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
  - A snapshot of an instance in one availability zone suspends its disk for a moment (Amazon RDS User Guide, "Creating a DB snapshot"). With two zones it is
    taken from the standby.
  - O(state=verified) must run where the subnets of the database can be reached, such as a host in the VPC, and needs psycopg2 there. It needs no password,
    since the instance for trial gets a random one.
  - The instance for trial is in the subnet group and the security groups of the source, has no public address and one zone only. It costs what an instance of
    its class costs, for as long as the verification takes. It says by the tag C(mainstay:trial-until) until when a run is at it. One whose time is over was
    left by a run that was cut off, and the next verification removes it.
  - A restored instance has the master password of the source. It is no part of the stack that made the source, and reads its blocks from S3 at their first
    use, so that it is slow at first (Amazon RDS User Guide, "Restoring to a DB instance").
  - Snapshots cost by their size, in each region, until they are removed. RDS does not remove manual snapshots by itself.
seealso:
  - module: mainstay.ops.rds_backup_info
  - module: mainstay.ops.pg_backup
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Have a snapshot that is younger than a day, here and in the second region
  mainstay.ops.rds_backup:
    db_instance_identifier: shop
    max_age: 23h
    copies:
      - region: eu-west-1
        kms_key_id: "{{ standby_key_arn }}"
    retention:
      keep_daily: 7
      keep_weekly: 4

- name: Prove that the newest snapshot can be restored
  mainstay.ops.rds_backup:
    state: verified
    db_instance_identifier: shop
    max_age: 7d
    rto_target: 1h
    verify_queries:
      - database: shop
        query: SELECT count(*) > 0 FROM orders
        expect: "true"

- name: Restore the newest snapshot that was verified in place of the instance, which is kept aside
  mainstay.ops.rds_backup:
    state: restored
    db_instance_identifier: shop
    backup_id: latest_verified
    target_db_instance_identifier: shop
    on_existing: rename

- name: Remove a snapshot by its identifier
  mainstay.ops.rds_backup:
    state: absent
    db_instance_identifier: shop
    backup_id: shop-20261122174200-1a2b3c
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["take a snapshot of shop", "copy the new snapshot to eu-west-1"]
backup:
  description:
    - The snapshot, with C(id), C(arn), C(region), C(name), C(method), C(status), C(progress) (per cent), C(good), C(problem), C(recoverable_from),
      C(recoverable_to), C(verified), C(verified_at), C(restore_seconds) (of the newest verification), C(labels), C(instance), C(engine), C(engine_version),
      C(allocated_gib), C(encrypted) and C(master_user). C(bytes_stored) is always null, since AWS does not tell.
    - Empty where there is none, and in check mode for one that would be the first.
  type: dict
  returned: success
recoverable_from:
  description: The moment whose data the snapshot holds (UTC).
  type: str
  returned: success
recoverable_to:
  description: The same moment. A snapshot brings back that one only.
  type: str
  returned: success
verification:
  description:
    - The result of the verification, with C(at), C(level), C(status), C(seconds), C(phases), C(cause) and C(details). Empty with other states.
    - The details are C(rto_seconds), C(rpo_seconds), C(rto_met), C(rpo_met), C(server_version), C(databases) (each with C(name), C(tables), C(rows),
      C(row_counts) by table, and C(foreign_keys)), and C(verify_queries) with what was C(found). A verification that was young enough has the first only.
  type: dict
  returned: success, and failure of the snapshot
restored:
  description: What was restored, with C(instance), C(snapshot), C(aside) (the new name of the old instance), C(address) and C(port). Empty in check mode.
  type: list
  elements: dict
  returned: success
expected_seconds:
  description: How long a restore should take, by the newest verification of the snapshot.
  type: float
  returned: success
kept:
  description: The snapshots that stay, each with C(id) and C(reasons), where O(retention) worked.
  type: list
  elements: dict
  returned: success
pruned:
  description: The identifiers of the snapshots that were removed, or would be.
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
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import refuse_waits
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_backup import Job
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_spec import snapshot_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Copy
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    query = {name: {"type": "str", "required": True} for name in ("database", "query", "expect")}
    copy = {"region": {"type": "str", "required": True}, "kms_key_id": {"type": "str"}}
    return {
        **snapshot_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "verified", "restored", "copied", "pruned", "absent"]},
        "db_instance_identifier": {"type": "str", "required": True},
        "copies": {"type": "list", "elements": "dict", "default": [], "options": copy},
        "target_db_instance_identifier": {"type": "str"},
        "on_existing": {"type": "str", "default": "fail", "choices": ["fail", "rename"]},
        "db_instance_class": {"type": "str"},
        "db_subnet_group_name": {"type": "str"},
        "vpc_security_group_ids": {"type": "list", "elements": "str", "default": []},
        "db_parameter_group_name": {"type": "str"},
        "multi_az": {"type": "bool"},
        "deletion_protection": {"type": "bool"},
        "verify_queries": {"type": "list", "elements": "dict", "default": [], "options": query},
        "check_timeout": {"type": "int", "default": 3600},
        "ssl_mode": {"type": "str", "default": "require", "choices": ["require", "verify-ca", "verify-full"]},
        "ca_cert": {"type": "path"},
    }


def run(module: t.Any) -> tuple[dict[str, t.Any], list[str]]:
    """Do it; return the result and warnings."""
    params = module.params
    refuse_waits(params)
    here = client(module, "rds")
    region = here.meta.region_name
    copies = tuple(Copy(Rds(client(module, "rds", region=row["region"]), row["region"]), row["kms_key_id"]) for row in params["copies"])
    return Job(Rds(here, region), Instances(here, region), copies, params, module.check_mode).run()


def main() -> None:
    """Run the module."""
    needed = [("state", "pruned", ("retention",)), ("state", "restored", ("target_db_instance_identifier",))]
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True, required_if=needed)
    try:
        with interruptible(f"work on the snapshots of {module.params['db_instance_identifier']}"):
            result, warnings = run(module)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
