#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_bluegreen
short_description: Deploy to Amazon ECS beside the running release, prove it, and move traffic step by step
version_added: "1.0.0"
description:
  - With O(engine=weighted), two ECS services and two target groups, blue and green, stand behind one rule of an application load balancer. The new release
    starts in the service that is idle, is proven, and gets traffic by weights, in steps with gates between them. The old one runs until the last bake is over.
  - With O(engine=native), ECS itself does this with one service; the module starts, watches, and stops it. With O(smoke_test) it gives the service a pause
    at C(POST_TEST_TRAFFIC_SHIFT), which it answers itself, and takes away with the next deployment that has no O(smoke_test).
  - The first release needs the service of the colour that the rule goes to, with its load balancer and 0 tasks, and O(desired_count). It gets all of the
    traffic at once, since nothing serves that could take it back. The other service is made like the first one.
  - Every failure before or during the move gives the old weights back and leaves the old release running. A run that was cut off is taken up or taken back
    by the next one.
  - Which colour is live is read from the rule's weights alone. The rule is read again before each change and at each look; if somebody else has changed it,
    the module fails with the reason V(conflict) and touches nothing more.
  - A parameter of Systems Manager is the lock of a deployment and the record by which the next run knows what was left.
options:
  name:
    description: Name of what is deployed. With O(engine=native) it is the service's name.
    type: str
    required: true
  engine:
    description: Who moves the traffic, this module or ECS.
    type: str
    choices: [weighted, native]
    default: weighted
  state:
    description:
      - V(deployed) has the wanted release serve all of the traffic.
      - V(promoted) goes on with a deployment that is paused or was cut off.
      - V(rolled_back) takes an unfinished deployment back; without one, it goes back to the release before, once.
      - V(aborted) takes an unfinished deployment back; without one, it does nothing.
    type: str
    choices: [deployed, promoted, rolled_back, aborted]
    default: deployed
  task_definition:
    description:
      - ARN, or family and revision, of the wanted task definition. One of this, O(images), O(environment) and O(task_definition_spec) is needed with
        O(state=deployed).
    type: str
  images:
    description: The image of containers by name. The rest of the task definition is that of the live release.
    type: dict
  environment:
    description:
      - Environment variables by container name, beside or without O(images). Variables that are not named stay; null removes one.
      - Anybody who may read task definitions reads them. Secrets belong into C(secrets) of the task definition.
    type: dict
  task_definition_spec:
    description: The whole task definition, with the keys of C(RegisterTaskDefinition). The family is by default that of the live release.
    type: dict
  production:
    description: ARN of the listener rule that production comes in by, or of the listener, if its default action is it. Needed with O(engine=weighted).
    type: str
  test:
    description: The same for tests of the new release. It forwards to the new release while a deployment goes on.
    type: str
  target_groups:
    description: ARNs of the two target groups. Needed with O(engine=weighted).
  services:
    description: Names of the two services, by default O(name) with C(-blue) and C(-green). If the idle one is missing, it is made like the live one.
  strategy:
    description:
      - V(blue_green) moves all of the traffic at once, V(canary) O(step_percent) first and then the rest, V(linear) O(step_percent) at a time, V(steps) as
        O(steps) says.
    type: str
    choices: [blue_green, canary, linear, steps]
    default: blue_green
  step_percent:
    description: Share of the traffic of a step, in per cent.
    type: int
    default: 10
  step_bake:
    description: Seconds that a step is watched before the next one.
    type: float
    default: 300
  steps:
    description: Steps one by one. If the last one has not all of the traffic, one that has is added, which bakes for O(bake).
    type: list
    elements: dict
    suboptions:
      weight:
        description: Share of the traffic in per cent.
        type: int
        required: true
      bake:
        description: Seconds that the step is watched.
        type: float
        default: 300
      pause:
        description: Whether the run ends after this step, until O(state=promoted) or O(state=aborted).
        type: bool
        default: false
  bake:
    description: Seconds that the new release is watched with all of the traffic, while the old one still runs.
    type: float
    default: 600
  settle:
    description: Seconds after a change of a rule until all nodes of the load balancer have it. AWS names no figure.
    type: float
    default: 30
  desired_count:
    description: Tasks of the new release. By default as many as the live one has or shall have, whichever is more. Needed if it has none.
    type: int
  healthy_percent:
    description: So many of the new release's tasks must be healthy targets.
    type: int
    default: 100
  healthy_polls:
    description: Looks in a row that must find it well before it gets traffic, or ill before traffic is taken away.
    type: int
    default: 3
  start_timeout:
    description: Seconds in which the new release has to be up.
    type: float
    default: 900
  max_failed_tasks:
    description: So many failed tasks end the deployment; V(0) never does.
    type: int
    default: 3
  smoke_test:
    description:
      - Options of M(mainstay.ops.health_probe), with which the new release is probed before it gets traffic, usually through the test listener.
        What is V(unhealthy) ends the deployment, unless C(fail_on) says V(degraded).
    type: dict
  step_test:
    description: The same for each look at a step, usually through the production listener.
    type: dict
  alarms:
    description: CloudWatch alarms that end the deployment when they ring.
    type: list
    elements: str
    default: []
  alarm_on_insufficient:
    description: Whether an alarm without data ends it too.
    type: str
    choices: [ignore, fail]
    default: ignore
  allow_preexisting_alarm:
    description: Begin although an alarm rings already; that one is then left out.
    type: bool
    default: false
  metrics:
    description:
      - Limits for what the load balancer counts of the new release's target group since the deployment began, with O(engine=weighted). Metrics come once a
        minute and some minutes late, so a bake should last five.
    type: dict
    suboptions:
      max_5xx_percent:
        description: Answers of 5xx and refused connections, in per cent of the requests.
        type: float
      max_response_seconds:
        description: Seconds of an answer, on average.
        type: float
      min_requests:
        description: Fewer requests are not judged while a step goes on, and are a failure at its end.
        type: int
        default: 20
  migration:
    description: A task of the new release that runs once before its service starts, such as a migration of the database. It must end with status 0.
    type: dict
    suboptions:
      container:
        description: The container that runs the command.
        type: str
        required: true
      command:
        description: The command, as a list.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds that it may take.
        type: float
        default: 1800
  keep_old:
    description: Tasks of the old release that go on running without traffic.
    type: int
    default: 0
  autoscaling:
    description: Whether scaling in of both services is suspended meanwhile. Afterwards the autoscaling is exactly as before.
    type: str
    choices: [suspend_scale_in, leave]
    default: suspend_scale_in
  on_interrupted:
    description:
      - What becomes of a deployment that was cut off. V(rollback) takes it back and then deploys. V(resume) goes on with it if it has the wanted release.
      - One that was only stopping the old release is always finished; so is one whose release a person has given all of the traffic since.
    type: str
    choices: [rollback, resume, fail]
    default: rollback
  lock_name:
    description: Name of the parameter of Systems Manager. By default C(/mainstay/bluegreen/CLUSTER/NAME).
    type: str
  lock_ttl:
    description: Seconds without a sign of life after which a run counts as dead. At least four times O(poll_interval).
    type: int
    default: 120
  rollback_timeout:
    description: Seconds in which the old weights have to be back, or the module says what to do by hand.
    type: float
    default: 600
  poll_interval:
    description: Seconds between two looks.
    type: float
    default: 5
  force:
    description: Deploy although the release serves already, or although the live one has no healthy target.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that a deployment by ECS may take before it is stopped and rolled back, with O(engine=native).
    type: float
    default: 7200
notes:
  - The controller has to live through the deployment with O(engine=weighted), or run the module again. For long bakes use C(async), or O(engine=native).
  - AWS has no compare-and-set for rules. A change that somebody makes in the moment between the last read and the write is overwritten.
  - Sticky sessions of a target group may hold clients on the old release.
  - 'Permissions: see the collection''s page about AWS, which lists them as a policy.'
seealso:
  - module: mainstay.ops.ecs_bluegreen_info
  - module: mainstay.ops.health_probe
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.ecs_pair
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Deploy a release by canary
  mainstay.ops.ecs_bluegreen:
    cluster: shop
    name: web
    images: {app: "registry.example.com/web:2.4.0"}
    production: "{{ production_rule_arn }}"
    test: "{{ test_rule_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}
    strategy: canary
    step_percent: 5
    smoke_test:
      checks: [{type: http, url: "https://test.shop.example.com/healthz"}]
      retries: 3
    alarms: [web-5xx, web-latency]
    migration: {container: app, command: [./manage.py, migrate]}

- name: Stop at a quarter of the traffic until somebody has looked
  mainstay.ops.ecs_bluegreen:
    cluster: shop
    name: web
    images: {app: "registry.example.com/web:2.5.0"}
    production: "{{ production_rule_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}
    strategy: steps
    steps: [{weight: 25, bake: 300, pause: true}]

- name: Go on
  mainstay.ops.ecs_bluegreen:
    cluster: shop
    name: web
    state: promoted
    production: "{{ production_rule_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}

- name: Go back to the release before
  mainstay.ops.ecs_bluegreen:
    cluster: shop
    name: web
    state: rolled_back
    production: "{{ production_rule_arn }}"
    target_groups: {blue: "{{ blue_arn }}", green: "{{ green_arn }}"}

- name: Have ECS move the traffic
  mainstay.ops.ecs_bluegreen:
    cluster: shop
    name: web
    engine: native
    images: {app: "registry.example.com/web:2.4.0"}
    strategy: linear
    step_percent: 20
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["start web-green with 3 tasks of the new revision", "give green 100 % of the traffic for 600 s", "stop web-blue"]
phase:
  description: V(unchanged), V(planned), V(finished), V(paused), or V(failed).
  type: str
  returned: always, once it was planned
live_color:
  description: The colour that serves now, or would in check mode. Empty with O(engine=native).
  type: str
  returned: always, once it was planned
previous_color:
  description: The colour that served before.
  type: str
  returned: always, once it was planned
task_definition:
  description: ARN of the task definition that serves now; in check mode of the one that would, empty if it is not registered yet.
  type: str
  returned: always, once it was planned
previous_task_definition:
  description: ARN of the one that served before.
  type: str
  returned: always, once it was planned
weights:
  description: The production rule's weights by colour, now.
  type: dict
  returned: always, once it was planned
steps:
  description: Each step that is through, with C(share), C(begun) (UTC) and C(seconds).
  type: list
  elements: dict
  returned: always, once it was planned
events:
  description: What has happened, one a line, with the time.
  type: list
  elements: str
  returned: always, once it was planned
rolled_back:
  description: Whether traffic, or what had been prepared, was taken back.
  type: bool
  returned: always, once it was planned
back_seconds:
  description:
    - Seconds from the decision to take traffic back until the old release had all of it on every node of the load balancer, O(settle) included; 0 if nothing
      was taken back, and with O(engine=native).
  type: float
  returned: always, once it was planned
rollback_reason:
  description: Why.
  type: str
  returned: if a deployment failed and was taken back
service_deployment_arn:
  description: The deployment by ECS, with O(engine=native); otherwise empty.
  type: str
  returned: always, once it was planned
api_calls:
  description: How often each operation of AWS was called, as C(service:Operation).
  type: dict
  returned: always
reason:
  description:
    - Why nothing was deployed. V(rolled_back) (a gate failed, or it did not start), V(conflict), V(locked), V(lost_lock), V(paused), V(interrupted),
      V(live_unhealthy), V(busy), V(alarm), V(rollback_failed).
  type: str
  returned: failure, in these cases
holder:
  description: Who runs, or ran, the other deployment.
  type: str
  returned: with the reasons V(locked), V(paused) and V(interrupted)
share:
  description: The share of the traffic that it has given its new release, in per cent.
  type: int
  returned: with the reasons V(locked), V(paused) and V(interrupted)
expected:
  description: The actions that the rule should have.
  type: list
  elements: dict
  returned: with the reason V(conflict) in the middle of a run
live:
  description: The actions that it has.
  type: raw
  returned: with the reason V(conflict) in the middle of a run
command:
  description: The command that gives the traffic back.
  type: str
  returned: with the reason V(rollback_failed)
diff:
  description: Colour, task definition and images before and after.
  type: dict
  returned: always, once it was planned
"""

import collections
import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen import BlueGreen
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_gates import Gates
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_moves import Cloud
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_native import NativeBlueGreen
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import refuse_numbers
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import LazyClient, client, count_calls
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import LoadBalancing
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import Lock, default_name
from ansible_collections.mainstay.ops.plugins.module_utils._aws.pair import pair_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Autoscaling, Watch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible


def gate_spec() -> dict[str, t.Any]:
    """Return the options of the gates."""
    metrics = {"max_5xx_percent": {"type": "float"}, "max_response_seconds": {"type": "float"}, "min_requests": {"type": "int", "default": 20}}
    return {
        "healthy_percent": {"type": "int", "default": 100},
        "healthy_polls": {"type": "int", "default": 3},
        "max_failed_tasks": {"type": "int", "default": 3},
        "smoke_test": {"type": "dict"},
        "step_test": {"type": "dict"},
        "alarms": {"type": "list", "elements": "str", "default": []},
        "alarm_on_insufficient": {"type": "str", "choices": ["ignore", "fail"], "default": "ignore"},
        "allow_preexisting_alarm": {"type": "bool", "default": False},
        "metrics": {"type": "dict", "options": metrics},
    }


def step_spec() -> dict[str, t.Any]:
    """Return the options of steps and waits."""
    step = {"weight": {"type": "int", "required": True}, "bake": {"type": "float", "default": 300}, "pause": {"type": "bool", "default": False}}
    return {
        "strategy": {"type": "str", "choices": ["blue_green", "canary", "linear", "steps"], "default": "blue_green"},
        "step_percent": {"type": "int", "default": 10},
        "step_bake": {"type": "float", "default": 300},
        "steps": {"type": "list", "elements": "dict", "options": step},
        "bake": {"type": "float", "default": 600},
        "settle": {"type": "float", "default": 30},
        "start_timeout": {"type": "float", "default": 900},
        "rollback_timeout": {"type": "float", "default": 600},
        "poll_interval": {"type": "float", "default": 5},
        "wait_timeout": {"type": "float", "default": 7200},
    }


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    command = {"type": "list", "elements": "str", "required": True}
    migration = {"container": {"type": "str", "required": True}, "command": command, "timeout": {"type": "float", "default": 1800}}
    return {
        **pair_argument_spec(),
        "name": {"type": "str", "required": True},
        "engine": {"type": "str", "choices": ["weighted", "native"], "default": "weighted"},
        "state": {"type": "str", "choices": ["deployed", "promoted", "rolled_back", "aborted"], "default": "deployed"},
        "task_definition": {"type": "str"},
        "images": {"type": "dict"},
        "environment": {"type": "dict"},
        "task_definition_spec": {"type": "dict"},
        "production": {"type": "str"},
        "test": {"type": "str"},
        **step_spec(),
        "desired_count": {"type": "int"},
        **gate_spec(),
        "migration": {"type": "dict", "options": migration},
        "keep_old": {"type": "int", "default": 0},
        "autoscaling": {"type": "str", "choices": ["suspend_scale_in", "leave"], "default": "suspend_scale_in"},
        "on_interrupted": {"type": "str", "choices": ["rollback", "resume", "fail"], "default": "rollback"},
        "lock_name": {"type": "str"},
        "lock_ttl": {"type": "int", "default": 120},
        "force": {"type": "bool", "default": False},
    }


def run(module: t.Any, calls: collections.Counter[str]) -> tuple[dict[str, t.Any], list[str]]:
    """Do it; return the result and warnings."""
    params = module.params
    refuse_numbers(params)

    def made(service: str) -> t.Any:
        return LazyClient(lambda: count_calls(client(module, service, "ThrottlingException"), calls))

    gates = Gates(Watch(made("cloudwatch")), params)
    module.no_log_values.update(gates.secrets)
    ecs, elb = Ecs(made("ecs"), params["cluster"]), LoadBalancing(made("elbv2"))
    if params["engine"] == "native":
        native = NativeBlueGreen(ecs, elb, gates, params, module.check_mode)
        return native.run(), native.warnings
    lock_name = params["lock_name"] or default_name(params["cluster"], params["name"])
    scaling = Autoscaling(made("application-autoscaling"), params["cluster"])
    whole = BlueGreen(Cloud(ecs, elb, scaling, Lock(made("ssm"), lock_name)), gates, params, module.check_mode)
    return whole.run(), whole.warnings


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[("task_definition", "images", "task_definition_spec"), ("task_definition", "environment"), ("task_definition_spec", "environment")],
        required_if=[
            ("state", "deployed", ("task_definition", "images", "task_definition_spec", "environment"), True),
            ("engine", "weighted", ("production", "target_groups")),
            ("strategy", "steps", ("steps",)),
        ],
    )
    calls: collections.Counter[str] = collections.Counter()
    try:
        with interruptible(f"deploy {module.params['name']}"):
            result, warnings = run(module, calls)
    except MainstayError as error:
        module.fail_json(msg=str(error), api_calls=dict(calls), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(api_calls=dict(calls), **result)


if __name__ == "__main__":
    main()
