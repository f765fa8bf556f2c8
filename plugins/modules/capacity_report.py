#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_report
short_description: Say what grows, when it is full, and what size it should have
version_added: "1.0.0"
description:
  - Asks Prometheus how much CPU, memory, disk, connections and requests were used each day, draws a line through the peaks of the days, and says when each
    host and service is full, what becomes of that if more comes, and which sizes to choose.
  - The line is the one of Theil and Sen, which single odd days do not bend. It counts as a trend only if the test of Mann and Kendall says that it is more
    than chance; else what is used counts as steady.
  - What there is no data for is said in C(missing) of RV(report) and in the C(notes) of each subject, and never guessed.
options:
  days:
    description: How many days are read.
    type: int
    default: 30
  step:
    description: Time between two points, in seconds or with one of the units V(m), V(h). Rates are averages over it.
    type: str
    default: 1h
  least_days:
    description: With fewer whole days of data nothing is said of a trend. At least 3.
    type: int
    default: 7
  horizon_days:
    description: For how many days from then on a recommended size has to do.
    type: int
    default: 90
  peak:
    description: Which share of a day's points is below what counts as the peak of the day.
    type: float
    default: 0.95
  resources:
    description:
      - What to change about the resources that are looked at, or further ones.
      - Known are V(cpu), V(memory), V(disk), V(postgres_connections), V(redis_memory), V(http_connections) and V(http_requests). Nobody measures how much there
        is of the last two; give C(fixed_size), from a load test, for them to be judged.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name of the resource, a known one or a new one.
        type: str
        required: true
      title:
        description: What it is called in the report.
        type: str
      usage:
        description: PromQL of what is used. Each series of it is a subject. C(STEP) in it becomes the step. A new resource needs it.
        type: str
      size:
        description: PromQL of how much there is, with the same labels as C(usage).
        type: str
      fixed_size:
        description: How much there is, where no query tells it.
        type: float
      unit:
        description: What it is measured in.
        type: str
        choices: [cores, bytes, count, per_second]
      limit:
        description: Share of the size from which on it counts as full.
        type: float
      target:
        description: Share of the size that should be used at most at the end of O(horizon_days).
        type: float
      follows_load:
        description: Whether twice the traffic takes twice as much of it.
        type: bool
      shrinks:
        description: Whether a smaller one can be had.
        type: bool
  exclude:
    description: Resources not to look at.
    type: list
    elements: str
    default: []
  scenarios:
    description:
      - What may happen. The first one is what is sized for.
      - Without any these are "as until now", "growth doubles" and "half as much traffic again".
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      load:
        description: How many times as much traffic there is at once. Resources that do not follow the load stay as they are.
        type: float
        default: 1.0
      growth:
        description: How many times as fast it grows.
        type: float
        default: 1.0
notes:
  - Only Prometheus is asked, so run it where that can be reached, such as the controller.
  - Prometheus keeps 15 days unless it is told otherwise. Seven whole days are needed for a trend, and a month tells more.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.prometheus
  - mainstay.ops.report
  - mainstay.ops.report.until
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See what is full soon
  mainstay.ops.capacity_report:
    prometheus:
      url: https://prometheus.example.com
      bearer_token: "{{ prometheus_token }}"
    report_dir: artifacts/capacity
  delegate_to: localhost
  register: capacity

- name: Reckon with a campaign, and with what the load test measured
  mainstay.ops.capacity_report:
    prometheus:
      url: http://prometheus.example.com:9090
    resources:
      - id: http_requests
        fixed_size: 850
    scenarios:
      - name: as until now
      - name: the campaign in spring
        load: 2.5
        growth: 1.5
  delegate_to: localhost
"""

RETURN = r"""
report:
  description:
    - The report. C(subjects) has an entry for each host and service, what is full first at the beginning, with C(used), C(size), C(used_percent), C(limit),
      C(trend) (V(rising), V(steady), V(falling) or V(unknown)), C(growth_per_day), C(days_until_full) (null if that is not in sight or not known), C(full_on),
      C(scenarios), C(recommendation) (V(enlarge), V(shrink), V(keep) or V(unknown)), C(recommended_size), C(notes) and C(daily_peaks).
    - C(missing) has the resources without data, with the reason.
  type: dict
  returned: success
lines:
  description: The report for a terminal.
  type: list
  elements: str
  returned: success
  sample: ["Disk of data1:9100, /var: 71 % of 100 GiB, rising, full: 38 days, enlarge to 150 GiB"]
soonest_days:
  description: Days until the first subject is full; null if none is in sight.
  type: float
  returned: success
  sample: 38.2
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
  sample: [write artifacts/capacity/report.html]
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._reports import capacity
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity_page import render
from ansible_collections.mainstay.ops.plugins.module_utils._reports.capacity_report import make
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus, prometheus_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.publish import end_of, publish, report_spec


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    kinds = {"str": "str", "float": "float", "float | None": "float", "bool": "bool"}
    resource = {field.name: {"type": kinds[str(field.type)]} for field in dataclasses.fields(capacity.Resource)}
    resource["id"]["required"] = True
    resource["unit"]["choices"] = ["cores", "bytes", "count", "per_second"]
    factor = {"type": "float", "default": 1.0}
    return {
        **prometheus_spec(),
        **report_spec(),
        "end": {"type": "str"},
        "days": {"type": "int", "default": 30},
        "step": {"type": "str", "default": "1h"},
        "least_days": {"type": "int", "default": 7},
        "horizon_days": {"type": "int", "default": 90},
        "peak": {"type": "float", "default": 0.95},
        "resources": {"type": "list", "elements": "dict", "default": [], "options": resource},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "scenarios": {
            "type": "list", "elements": "dict", "default": [], "options": {"name": {"type": "str", "required": True}, "load": factor, "growth": factor},
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        step = float(parse_duration(params["step"]))
        given = capacity.Window(end_of(params["end"]), params["days"], step, params["least_days"], params["horizon_days"], params["peak"])
        window = capacity.check_window(given)
        resources = capacity.read_resources(params["resources"], params["exclude"])
        report = make(Prometheus(params["prometheus"]), resources, capacity.read_scenarios(params["scenarios"]), window)
        published = publish(params["report_dir"], report, {"report.html": render(report)}, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(report=report, lines=report["lines"], soonest_days=report["soonest_days"], **published.as_result(module._diff))


if __name__ == "__main__":
    main()
