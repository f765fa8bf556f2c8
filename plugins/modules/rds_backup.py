#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rds_backup
short_description: Keep snapshots of a database in Amazon RDS and copy them to other regions
version_added: "0.1.0"
description:
  - Takes manual snapshots of an instance of RDS. Their tags are the catalogue, so that snapshots that others have made are never touched.
  - Copies them to other regions and removes those that no rule keeps.
options:
  state:
    description:
      - V(present) means that a good snapshot not older than O(max_age) exists, in the region and in all of O(copies). One is taken only if there is none.
      - V(copied) means that all of O(copies) hold the snapshot O(backup_id).
      - V(pruned) means that no snapshot is there that O(retention) does not keep.
      - V(absent) means that there is no snapshot O(backup_id), in the region or in O(copies).
    type: str
    default: present
    choices: [present, copied, pruned, absent]
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
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.aws_snapshots
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
    region: eu-central-1
    max_age: 23h
    copies:
      - region: eu-west-1
        kms_key_id: "{{ standby_key_arn }}"
    retention:
      keep_daily: 7
      keep_weekly: 4

- name: Remove a snapshot by its identifier
  mainstay.ops.rds_backup:
    state: absent
    db_instance_identifier: shop
    region: eu-central-1
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
  description: The result of the verification, with O(state=verified).
  type: dict
  returned: success
restored:
  description: What was restored, with O(state=restored).
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
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_backup import Job
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_spec import refuse_waits, snapshot_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Copy
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    copy = {"region": {"type": "str", "required": True}, "kms_key_id": {"type": "str"}}
    return {
        **snapshot_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "copied", "pruned", "absent"]},
        "db_instance_identifier": {"type": "str", "required": True},
        "copies": {"type": "list", "elements": "dict", "default": [], "options": copy},
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
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True, required_if=[("state", "pruned", ("retention",))])
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
