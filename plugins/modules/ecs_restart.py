#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_restart
short_description: Replace the tasks of services on Amazon ECS by new ones
version_added: "1.0.0"
description:
  - Has ECS start new tasks of the same task definition in place of those that run, one service after the other, and waits until they are healthy.
  - A service goes on serving meanwhile, as far as its own deployment configuration lets it.
  - Fails if the new tasks do not come up.
  - Refuses to work while a deployment is not through, by M(mainstay.ops.ecs_bluegreen) or by ECS, and says who deploys and since when.
options:
  services:
    description:
      - Names of the services. Those without tasks, such as the idle colour of a blue/green pair, stay as they are.
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
  - module: mainstay.ops.ecs_scale
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Restart the live colour of the application
  mainstay.ops.ecs_restart:
    cluster: shop
    services: [shop-blue, shop-green]
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["replace the 3 tasks of shop-blue"]
services:
  description: Each service that was restarted with C(deployment) (its id; in check mode that of the running one) and C(tasks).
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
  description: Old and new tasks by service.
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
        **wait_argument_spec(1800, 10),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    cluster = module.params["cluster"]
    try:
        refuse_waits(module.params)
        ecs = Ecs(client(module, "ecs", "ThrottlingException"), cluster)
        scaling = Autoscaling(LazyClient(lambda: client(module, "application-autoscaling", "ThrottlingException")), cluster)
        guard = Guard(LazyClient(lambda: client(module, "ssm", "ThrottlingException")), module.params)
        result = Operations(ecs, scaling, guard, module.params, module.check_mode).restart()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
