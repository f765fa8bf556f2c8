#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rds_promote
short_description: Promote a read replica in Amazon RDS, and see that it takes writes
version_added: "1.0.0"
description:
  - Promotes a read replica of PostgreSQL to an instance of its own, such as the one in the second region when the first one is lost.
  - Refuses an instance that is no replica, one that does not follow its source, and one that is too far behind.
  - Waits until the replica follows nobody any more, and writes to it.
  - An instance that this module has promoted is left alone, so that a second run changes nothing.
options:
  db_instance_identifier:
    description: Identifier of the replica.
    type: str
    required: true
  max_lag:
    description: How many seconds the replica may be behind its source, by the metric C(ReplicaLag).
    type: float
    default: 60
  force:
    description:
      - Promote the replica although it is further behind, does not follow, or nothing says how far behind it is. A warning says what speaks against it.
      - It is meant for a source that is lost. What the replica has not received is lost with it.
    type: bool
    default: false
  backup_retention_period:
    description:
      - For how many days RDS keeps its own backups of the promoted instance; V(0) keeps none. Without it the replica's setting stays.
      - A replica has none unless it was set so, and then nothing saves the new primary.
    type: int
  login_user:
    description: As whom it is seen whether the instance takes writes. The default is the master user.
    type: str
  login_password:
    description: The password. Without it a warning says that this was not seen. It is that of the source.
    type: str
  login_db:
    description: Database that is connected to.
    type: str
    default: postgres
  ssl_mode:
    description: How far the connection is protected, as libpq has it.
    type: str
    default: require
    choices: [require, verify-ca, verify-full]
  ca_cert:
    description: File with AWS's certificate authorities for O(ssl_mode=verify-ca) and O(ssl_mode=verify-full).
    type: path
  wait_timeout:
    default: 3600
  poll_interval:
    default: 15
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.aws_waits
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
notes:
  - A promotion cannot be taken back. The source, if it lives, goes on as a primary of its own, so stop whatever writes to it first.
  - The tag C(mainstay:promoted-from) holds the source, from before the promotion on.
seealso:
  - module: mainstay.ops.rds_backup
  - module: mainstay.ops.route53_failover
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Let the replica in the second region take over
  mainstay.ops.rds_promote:
    db_instance_identifier: shop-replica
    backup_retention_period: 7
    login_password: "{{ database_password }}"

- name: The same when the first region is lost
  mainstay.ops.rds_promote:
    db_instance_identifier: shop-replica
    force: true
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["promote the replica shop-replica of shop"]
instance:
  description: The instance with C(name), C(arn), C(status), C(address), C(port), C(class) and C(multi_az).
  type: dict
  returned: success
source:
  description: What the replica follows, or has followed.
  type: str
  returned: success
lag_seconds:
  description: How many seconds it was behind before the promotion; empty if nothing said so, and where nothing was to do.
  type: float
  returned: success
writable:
  description: Whether it takes writes; empty in check mode and without O(login_password).
  type: bool
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
  description: The role before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_promote import Promoter, Promotion
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import refuse_waits, wait_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Watch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "db_instance_identifier": {"type": "str", "required": True},
        "max_lag": {"type": "float", "default": 60},
        "force": {"type": "bool", "default": False},
        "backup_retention_period": {"type": "int"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_db": {"type": "str", "default": "postgres"},
        "ssl_mode": {"type": "str", "default": "require", "choices": ["require", "verify-ca", "verify-full"]},
        "ca_cert": {"type": "path"},
        **wait_argument_spec(3600, 15),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        refuse_waits(module.params)
        here = client(module, "rds")
        rds, watch = Rds(here, here.meta.region_name), Watch(client(module, "cloudwatch"))
        result, warnings = Promoter(rds, Promotion(here), watch, module.params, module.check_mode).run()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
