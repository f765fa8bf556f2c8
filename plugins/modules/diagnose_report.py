#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose_report
short_description: Say what is wrong with a stack, the worst first, and pack a bundle for a ticket
version_added: "1.0.0"
description:
  - Judges what M(mainstay.ops.diagnose_host_info), M(mainstay.ops.pg_advisor_info) and M(mainstay.ops.diagnose_redis_info) told of all hosts, ranks what is
    found, and puts what was changed lately beside it.
  - Writes a page, a JSON file, and a bundle to attach to a ticket with these and what each host told. Secrets are masked in all of them.
options:
  hosts:
    description:
      - By name of the host a dictionary with C(host), C(postgres) and C(redis), the results of the three modules, as far as they were asked for.
      - A host of which the result of a failed task is given is a critical finding.
    type: dict
    required: true
  hours:
    description: Length of the window that was looked at, for the page.
    type: float
    default: 1.0
  limits:
    description: From where on something is a finding. What is not named keeps its default.
    type: dict
    suboptions:
      disk_warning_percent:
        description: Share of a disk, or of its inodes, that is taken.
        type: float
        default: 85.0
      disk_critical_percent:
        description: The same.
        type: float
        default: 95.0
      memory_warning_percent:
        description: Share of the memory that is used, without caches.
        type: float
        default: 90.0
      memory_critical_percent:
        description: The same.
        type: float
        default: 97.0
      load_warning_per_cpu:
        description: Load over five minutes, for each CPU.
        type: float
        default: 2.0
      load_critical_per_cpu:
        description: The same.
        type: float
        default: 5.0
      stalled_warning_percent:
        description: Share of a minute in which all work waited for memory or disks. For CPUs, in which some did, it is four times as much.
        type: float
        default: 10.0
      stalled_critical_percent:
        description: The same; for CPUs it is twice as much.
        type: float
        default: 40.0
      slow_warning_seconds:
        description: The 95th percentile of the times of an endpoint.
        type: float
        default: 1.0
      slow_critical_seconds:
        description: The same.
        type: float
        default: 5.0
      errors_warning_percent:
        description: Share of an endpoint's requests that were answered with a status of 500 or more.
        type: float
        default: 1.0
      errors_critical_percent:
        description: The same.
        type: float
        default: 5.0
      requests_least:
        description: Endpoints with fewer requests are passed over.
        type: int
        default: 20
      redis_hits_warning_percent:
        description: Share of the lookups that find a key.
        type: float
        default: 80.0
      redis_command_warning_seconds:
        description: Time of a command of the slow log.
        type: float
        default: 0.1
      redis_command_critical_seconds:
        description: The same.
        type: float
        default: 1.0
  bundle:
    description: Whether to write the bundle, C(diagnose-TIME.tar.gz) in O(report_dir).
    type: bool
    default: true
  secrets:
    description: Secrets to mask, beside what is named or placed like one.
    type: list
    elements: str
    default: []
seealso:
  - module: mainstay.ops.diagnose_host_info
  - module: mainstay.ops.diagnose_redis_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.report
  - mainstay.ops.report.until
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Report | Say what is wrong
  mainstay.ops.diagnose_report:
    hosts:
      data1: {host: "{{ found_on_data1 }}", postgres: "{{ advice_for_data1 }}", redis: "{{ redis_of_data1.redis }}"}
      lb1: {host: "{{ found_on_lb1 }}"}
    report_dir: artifacts/diagnose
  delegate_to: localhost
"""

RETURN = r"""
report:
  description:
    - The report, with C(summary), C(findings_by_severity), C(findings) (each with C(severity), C(area), C(place), C(problem), C(evidence), C(mend) and
      C(weight), the worst first), C(changes), C(not_judged) and C(hosts), what each host told.
  type: dict
  returned: success
lines:
  description: The findings for a terminal.
  type: list
  elements: str
  returned: success
  sample: ["critical  data1: /var is 96 % full (4 GB of 100 GB are left). Find what grows with du -x"]
bundle:
  description: Path of the bundle, empty if none is written.
  type: str
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
import datetime
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis import Limits
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis_page import render
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis_report import bundle, combine
from ansible_collections.mainstay.ops.plugins.module_utils._reports.publish import end_of, publish, report_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import limits_of, masked


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    kinds = {"int": "int", "float": "float"}
    limits = {field.name: {"type": kinds[str(field.type)], "default": field.default} for field in dataclasses.fields(Limits)}
    return {
        **report_spec(),
        "end": {"type": "str"},
        "hosts": {"type": "dict", "required": True},
        "hours": {"type": "float", "default": 1.0},
        "limits": {"type": "dict", "apply_defaults": True, "options": limits},
        "bundle": {"type": "bool", "default": True},
        "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        end = end_of(params["end"])
        report = masked(combine(params["hosts"], limits_of(Limits, params["limits"], "judge what was found"), end, params["hours"]), params["secrets"])
        page = render(report)
        name = f"diagnose-{datetime.datetime.fromtimestamp(end, datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
        packed = {f"{name}.tar.gz": bundle(report, page, name)} if params["bundle"] else {}
        published = publish(params["report_dir"], report, {"report.html": page, **packed}, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    path = os.path.join(params["report_dir"], f"{name}.tar.gz") if params["report_dir"] and packed else ""
    module.exit_json(report=report, lines=report["lines"], bundle=path, **published.as_result(module._diff))


if __name__ == "__main__":
    main()
