#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_bluegreen_pair
short_description: Make the two ECS services and the listener rules that blue/green deployments move traffic between
version_added: "1.0.0"
description:
  - Makes what M(mainstay.ops.ecs_bluegreen) needs with C(engine=weighted), where it is missing. A rule of the production listener with all weight on blue, one
    of the test listener, the service blue with the first release, the service green with no task, and the autoscaling of both.
  - What is there stays as it is. Weights, task definitions and desired counts belong to the deployments; a second run after any number of them changes nothing.
    Only the bounds and the target of the autoscaling are set to what the options say, and what is suspended of it stays suspended.
  - Services run on Fargate in the given subnets, without public addresses.
options:
  name:
    description: Name of what is deployed, as in M(mainstay.ops.ecs_bluegreen).
    type: str
    required: true
  state:
    description: Whether services, rules and autoscaling shall be there. With V(absent) running tasks are stopped.
    type: str
    choices: [present, absent]
    default: present
  target_groups:
    required: true
  listener:
    description: ARN of the listener that production comes in by.
    type: str
    required: true
  test_listener:
    description: ARN of the listener that a new release is tested by.
    type: str
  priority:
    description: Priority of the rules that are made.
    type: int
    default: 100
  task_definition_spec:
    description: The first release, with the keys of C(RegisterTaskDefinition). Needed as long as there is no service, and not looked at afterwards.
    type: dict
  container_name:
    description: The container that gets the traffic. Needed with O(state=present).
    type: str
  container_port:
    description: Its port. Needed with O(state=present).
    type: int
  subnets:
    description: Subnets of the tasks. Needed with O(state=present).
    type: list
    elements: str
    default: []
  security_groups:
    description: Security groups of the tasks. Needed with O(state=present).
    type: list
    elements: str
    default: []
  desired_count:
    description: Tasks of the first release.
    type: int
    default: 2
  min_count:
    description: Least number of tasks that the autoscaling leaves of the colour that serves.
    type: int
    default: 2
  max_count:
    description: Greatest number of tasks.
    type: int
    default: 10
  cpu_target:
    description: Per cent of the tasks' processors that the autoscaling aims for.
    type: float
    default: 60
  grace_period:
    description: Seconds in which a task that is starting may be unhealthy.
    type: int
    default: 120
  tags:
    description: Tags of the services that are made, which their tasks get too.
    type: dict
  wait_timeout:
    description: Seconds that a service which is removed may take to drain.
    type: float
    default: 900
  poll_interval:
    description: Seconds between two looks.
    type: float
    default: 5
notes:
  - The idle colour has no tasks, hence no figures, hence nothing that would scale it out to O(min_count).
  - 'Permissions: see the collection''s page about AWS, which lists them as a policy.'
seealso:
  - module: mainstay.ops.ecs_bluegreen
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.ecs_pair
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Make what deployments move traffic between
  mainstay.ops.ecs_bluegreen_pair:
    cluster: shop
    name: web
    listener: "{{ production_listener_arn }}"
    test_listener: "{{ test_listener_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}
    container_name: app
    container_port: 8080
    subnets: "{{ subnet_ids }}"
    security_groups: ["{{ group_id }}"]
    task_definition_spec: "{{ first_release }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["make the rule of production, with all weight on blue", "make the service web-blue with 2 tasks"]
production_rule:
  description: ARN of the rule that production comes in by; in check mode empty if it is not made yet.
  type: str
  returned: success
test_rule:
  description: The same of the test listener; empty without one.
  type: str
  returned: success
services:
  description: Names of the services by colour, empty with O(state=absent).
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.pair import Pair, pair_argument_spec, run
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **pair_argument_spec(required=True),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "listener": {"type": "str", "required": True},
        "test_listener": {"type": "str"},
        "priority": {"type": "int", "default": 100},
        "task_definition_spec": {"type": "dict"},
        "container_name": {"type": "str"},
        "container_port": {"type": "int"},
        "subnets": {"type": "list", "elements": "str", "default": []},
        "security_groups": {"type": "list", "elements": "str", "default": []},
        "desired_count": {"type": "int", "default": 2},
        "min_count": {"type": "int", "default": 2},
        "max_count": {"type": "int", "default": 10},
        "cpu_target": {"type": "float", "default": 60},
        "grace_period": {"type": "int", "default": 120},
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "float", "default": 900},
        "poll_interval": {"type": "float", "default": 5},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "present", ["container_name", "container_port", "subnets", "security_groups"])],
    )
    params = module.params
    try:
        containers, scaling = (client(module, service, "ThrottlingException") for service in ("ecs", "application-autoscaling"))
        pair = Pair(containers, client(module, "elbv2"), scaling, params)
        result = run(pair, params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
