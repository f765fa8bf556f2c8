#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_bluegreen_info
short_description: Tell which colour of a blue/green pair on Amazon ECS serves, and what is left of a deployment
version_added: "1.0.0"
description:
  - Reads the production rule, both services, their targets, and the record of a deployment that is not finished. Changes nothing.
  - With O(engine=native), it reads the one service and its deployment by ECS.
options:
  name:
    description: Name of what is deployed, as M(mainstay.ops.ecs_bluegreen) has it.
    type: str
    required: true
  engine:
    description: Who moves the traffic, M(mainstay.ops.ecs_bluegreen) or ECS.
    type: str
    choices: [weighted, native]
    default: weighted
  production:
    description: ARN of the listener rule that production comes in by, or of the listener. Needed with O(engine=weighted).
    type: str
  target_groups:
    description: ARNs of the two target groups. Needed with O(engine=weighted).
  lock_name:
    description: Name of the parameter of Systems Manager. By default C(/mainstay/bluegreen/CLUSTER/NAME).
    type: str
seealso:
  - module: mainstay.ops.ecs_bluegreen
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.ecs_pair
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See which colour serves
  mainstay.ops.ecs_bluegreen_info:
    cluster: shop
    name: web
    production: "{{ production_rule_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}
  register: web
"""

RETURN = r"""
live_color:
  description: The colour that has all of the traffic; empty if both have some, and with O(engine=native).
  type: str
  returned: success
weights:
  description: The production rule's weights by colour.
  type: dict
  returned: success
task_definition:
  description: ARN of the task definition of the live colour; with O(engine=native) of the one that serves until a deployment is finished.
  type: str
  returned: success
images:
  description: The image of each of its containers.
  type: dict
  returned: success
services:
  description:
    - For each colour C(exists), C(name), C(task_definition), C(images), C(desired), C(running), C(healthy), C(targets) in words, and C(rolled_back) if
      traffic was taken back from its release.
  type: dict
  returned: success
deployment:
  description:
    - The deployment that is not finished, with C(state) (V(running), V(paused), V(interrupted)), C(holder), C(source), C(target), C(share) and
      C(definition). Empty if there is none.
    - With O(engine=native), C(source) is the task definition that served before and C(target) the new revision of the service; beside them are C(stage) and
      C(arn).
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_info import inspect, inspect_native
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import LoadBalancing
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import Lock, default_name
from ansible_collections.mainstay.ops.plugins.module_utils._aws.pair import pair_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **pair_argument_spec(),
        "name": {"type": "str", "required": True},
        "engine": {"type": "str", "choices": ["weighted", "native"], "default": "weighted"},
        "production": {"type": "str"},
        "lock_name": {"type": "str"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=argument_spec(), supports_check_mode=True, required_if=[("engine", "weighted", ("production", "target_groups"))]
    )
    params = module.params
    try:
        ecs = Ecs(client(module, "ecs", "ThrottlingException"), params["cluster"])
        if params["engine"] == "native":
            module.exit_json(**inspect_native(ecs, params))
        lock = Lock(client(module, "ssm", "ThrottlingException"), params["lock_name"] or default_name(params["cluster"], params["name"]))
        module.exit_json(**inspect(ecs, LoadBalancing(client(module, "elbv2")), lock, params))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
