#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_scale
short_description: Change how many tasks a service on Amazon ECS has
version_added: "1.0.0"
description:
  - Sets the number of tasks of the service that runs, and the bounds of its autoscaling, and waits until as many tasks run.
  - Refuses a number that the autoscaling would put back.
  - Refuses to work while a deployment is not through, by M(mainstay.ops.ecs_bluegreen) or by ECS, and says who deploys and since when.
options:
  services:
    description:
      - Names of the services, of which one has tasks, such as both colours of a blue/green pair. The idle one stays as it is.
      - With tasks in more than one it is refused, since a deployment goes on then.
  desired_count:
    description: How many tasks there are to be.
    type: int
  min_capacity:
    description: The least tasks that the autoscaling keeps. Fewer are raised to it.
    type: int
  max_capacity:
    description: The most tasks that the autoscaling starts. More are lowered to it.
    type: int
  wait_timeout:
    default: 1800
  poll_interval:
    default: 10
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.aws_waits
  - mainstay.ops.ecs_services
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
seealso:
  - module: mainstay.ops.ecs_bluegreen
  - module: mainstay.ops.ecs_restart
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Be ready for the sale
  mainstay.ops.ecs_scale:
    cluster: shop
    services: [shop-blue, shop-green]
    desired_count: 8
    min_capacity: 8
    max_capacity: 40
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["scale shop-blue from 3 to 8 tasks"]
service:
  description: The service with C(name), C(tasks), and C(least) and C(most) of its autoscaling, which are empty without one.
  type: dict
  returned: success
reason:
  description:
    - Why nothing was done. V(locked) (a deployment by M(mainstay.ops.ecs_bluegreen) goes on), V(paused) or V(interrupted) (one is not finished).
  type: str
  returned: failure, where a deployment is in the way
holder:
  description: Who deploys.
  type: str
  returned: with RV(reason)
since:
  description: When that deployment began (UTC); empty if that was not kept.
  type: str
  returned: with RV(reason)
seconds:
  description: Seconds of the whole run.
  type: float
  returned: success
diff:
  description: Tasks and bounds before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import LazyClient, client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.deployment_guard import Guard, guard_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs_operations import Operations
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import refuse_waits, wait_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Autoscaling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **guard_argument_spec(),
        "desired_count": {"type": "int"},
        "min_capacity": {"type": "int"},
        "max_capacity": {"type": "int"},
        **wait_argument_spec(1800, 10),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True, required_one_of=[("desired_count", "min_capacity", "max_capacity")])
    cluster = module.params["cluster"]
    try:
        refuse_waits(module.params)
        ecs = Ecs(client(module, "ecs", "ThrottlingException"), cluster)
        scaling = Autoscaling(LazyClient(lambda: client(module, "application-autoscaling", "ThrottlingException")), cluster)
        guard = Guard(LazyClient(lambda: client(module, "ssm", "ThrottlingException")), module.params)
        result = Operations(ecs, scaling, guard, module.params, module.check_mode).scale()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
