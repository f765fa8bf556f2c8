#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cost_report
short_description: Say what an account on AWS pays for and does not use
version_added: "1.0.0"
description:
  - Lists volumes, snapshots, addresses, NAT gateways, instances, load balancers, databases, caches, services on Fargate and log groups, reads from CloudWatch
    how much of them was used, and reckons with a table of prices what each costs, and what could be saved.
  - Finds what is attached to nothing (volumes, addresses, load balancers without targets), idle, too large, old (snapshots that nothing removes), of an old
    kind (gp2), or without an end (log groups without retention). Nothing is changed.
  - What is younger than C(young_days) is not judged by its use. What CloudWatch has no points of is not judged by it either, except the requests of an
    Application Load Balancer, of which AWS reports only what is not zero.
options:
  regions:
    description: Regions to look at. The default is O(region).
    type: list
    elements: str
    default: []
  days:
    description: How many days of usage are read.
    type: int
    default: 14
  prices:
    description:
      - The table of prices. It has C(hours) of a month, C(currency), C(region), C(as_of) and C(source); prices of an hour in C(public_address_hour),
        C(nat_hour), C(balancer_hour), C(fargate_vcpu_hour) and C(fargate_gb_hour), and by class in C(database_hour), C(cache_hour) and C(instance_hour); prices
        of a GB a month in C(volume_gb) (by type), C(snapshot_gb), C(database_storage_gb), C(database_snapshot_gb) and C(logs_stored_gb); and C(valkey_share).
      - What it lacks is said in C(prices_missing) of RV(report), and never guessed. The role P(mainstay.ops.reports#role) has a table.
    type: dict
    required: true
  limits:
    description: From where on something is a finding. What is not named keeps its default; the defaults are conventions.
    type: dict
    suboptions:
      idle_cpu_percent:
        description: An instance that never used so much of its CPU is idle.
        type: float
        default: 3.0
      oversized_cpu_percent:
        description: What never used so much of its CPU is too large.
        type: float
        default: 20.0
      oversized_memory_percent:
        description: The same of memory, for caches and services, which need to be below both.
        type: float
        default: 30.0
      snapshot_days:
        description: Snapshots that are older count as old, unless an image is made of them, or AWS Backup, a lifecycle policy or the tag
          C(mainstay:retention) says that somebody removes them.
        type: float
        default: 90.0
      young_days:
        description: What is younger may only not be in use yet.
        type: float
        default: 7.0
notes:
  - The role needs C(ec2:Describe*), C(elasticloadbalancing:Describe*), C(rds:Describe*), C(elasticache:Describe*), C(ecs:List*), C(ecs:Describe*),
    C(logs:DescribeLogGroups) and C(cloudwatch:GetMetricData). What is not permitted is said in C(gaps) of RV(report).
  - CloudWatch charges for each metric that is asked for.
seealso:
  - module: mainstay.ops.aws_platform_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.report
  - mainstay.ops.report.until
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See what could be saved
  mainstay.ops.cost_report:
    regions: [eu-central-1, eu-west-1]
    prices: "{{ prices }}"
    report_dir: artifacts/cost
  delegate_to: localhost
  register: costs
"""

RETURN = r"""
report:
  description:
    - The report. C(monthly) and C(savings) in C(currency), C(savings_by_reason), C(kinds) (C(count), C(monthly) and C(without_price) of each), C(findings) with
      C(reason), C(kind), C(id), C(region), C(name), C(problem), C(mend) and C(monthly) (null if there is no price), what saves most first, C(resources),
      C(prices_missing), and C(gaps), what could not be read.
  type: dict
  returned: success
lines:
  description: The findings for a terminal.
  type: list
  elements: str
  returned: success
files:
  description: The files of the report.
  type: list
  elements: str
  returned: success
actions:
  description: What was written, or would be in check mode.
  type: list
  elements: str
  returned: success
"""

import dataclasses
import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost import Limits
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost_report import Wanted, make, render
from ansible_collections.mainstay.ops.plugins.module_utils._reports.publish import end_of, publish, report_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import limits_of


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    limits = {field.name: {"type": "float", "default": field.default} for field in dataclasses.fields(Limits)}
    return {
        **report_spec(),
        "end": {"type": "str"},
        "regions": {"type": "list", "elements": "str", "default": []},
        "days": {"type": "int", "default": 14},
        "prices": {"type": "dict", "required": True},
        "limits": {"type": "dict", "apply_defaults": True, "options": limits},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    regions = params["regions"] or ([module.region] if module.region else [])
    try:
        wanted = Wanted.of(regions, params["days"], end_of(params["end"]), limits_of(Limits, params["limits"], "judge the costs"))
        report = make(lambda service, region: client(module, service, region=region), params["prices"], wanted)
        published = publish(params["report_dir"], report, {"report.html": render(report)}, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(report=report, lines=report["lines"], **published.as_result(module._diff))


if __name__ == "__main__":
    main()
