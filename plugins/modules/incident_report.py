#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: incident_report
short_description: Put together what happened around a time, with the skeleton of a post-mortem
version_added: "1.0.0"
description:
  - Puts alerts, targets that did not answer, failovers and reboots from Prometheus, the reports that playbooks left on the controller (deployments, rollbacks,
    backups, patches), and what people add, into one timeline.
  - Tells when it began and ended by the alerts, and which changes came in the hour before.
  - Writes a page, a JSON file, and C(postmortem.md), in which what only people know is asked for. A C(postmortem.md) that is there is never touched.
options:
  prometheus:
    description: The Prometheus that is asked, or anything that speaks its HTTP API, if there is one.
    type: dict
    required: false
  around:
    description: A time at which it was going on, as ISO 8601 with its zone.
    type: str
    required: true
  before:
    description: How far to look back from there, in seconds or with one of the units V(s), V(m), V(h), V(d).
    type: str
    default: 1h
  after:
    description: How far to look on, at most until now.
    type: str
    default: 2h
  title:
    description: What it is called. The default has the time in it.
    type: str
  artefacts:
    description: Folder with the reports of runs. Other JSON files in it do no harm.
    type: path
    default: artifacts
  events:
    description: Further events that people know of.
    type: list
    elements: dict
    default: []
    suboptions:
      time:
        description: When, as ISO 8601 with its zone.
        type: str
        required: true
      until:
        description: When it ended.
        type: str
      what:
        description: What happened.
        type: str
        required: true
      kind:
        description: What kind of event it is.
        type: str
        choices: [note, change, outage, failover]
        default: note
  charts:
    description: Figures to draw. Without any these are firing alerts, targets that do not answer, and requests to nginx.
    type: list
    elements: dict
    default: []
    suboptions:
      title:
        description: What it shows.
        type: str
        required: true
      query:
        description: PromQL. Six of its series are drawn at most.
        type: str
        required: true
      unit:
        description: Unit of the values.
        type: str
        default: ""
notes:
  - Without O(prometheus) the timeline has only what runs and people told, which is said in C(gaps) of RV(report).
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.prometheus
  - mainstay.ops.report
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Put together what happened this morning
  mainstay.ops.incident_report:
    prometheus:
      url: http://prometheus.example.com:9090
    around: "2026-11-28T07:30:00+01:00"
    report_dir: artifacts/incident/2026-11-28
    events:
      - time: "2026-11-28T07:41:00+01:00"
        what: The first customer called
  delegate_to: localhost
"""

RETURN = r"""
report:
  description:
    - The report. C(began), C(ended) and C(duration_seconds) by the alerts (null if not known), C(timeline) with C(at), C(until) (null if it had not ended),
      C(seconds), C(kind), C(what), C(severity) and C(source), C(suspects), C(events_by_kind), C(charts), C(summary), and C(gaps), what could not be found out.
  type: dict
  returned: success
lines:
  description: The timeline for a terminal.
  type: list
  elements: str
  returned: success
  sample: ["2026-11-28T06:31:15Z  alert    PostgresDown on data1:9187 for 3 min 15 s"]
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

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._report import moment
from ansible_collections.mainstay.ops.plugins.module_utils._reports.incident_page import postmortem, render
from ansible_collections.mainstay.ops.plugins.module_utils._reports.incident_report import make, window_of
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus, prometheus_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.publish import publish, report_spec

SKELETON = "postmortem.md"


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    text = {"type": "str", "required": True}
    event = {
        "time": text,
        "until": {"type": "str"},
        "what": text,
        "kind": {"type": "str", "choices": ["note", "change", "outage", "failover"], "default": "note"},
    }
    chart = {"title": text, "query": text, "unit": {"type": "str", "default": ""}}
    return {
        **prometheus_spec(required=False),
        **report_spec(),
        "around": text,
        "before": {"type": "str", "default": "1h"},
        "after": {"type": "str", "default": "2h"},
        "title": {"type": "str"},
        "artefacts": {"type": "path", "default": "artifacts"},
        "events": {"type": "list", "elements": "dict", "default": [], "options": event},
        "charts": {"type": "list", "elements": "dict", "default": [], "options": chart},
    }


def report_on(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the report.

    Raises:
        MainstayError: an option is of no use, or Prometheus does not answer.
    """
    around = moment(params["around"])
    if around is None:
        raise InvalidInput(f"report on what happened around {params['around']}", "that is no time", "write it as 2026-11-28T07:30:00+00:00")
    window = window_of(around.timestamp(), parse_duration(params["before"]), parse_duration(params["after"]), time.time())
    return make(Prometheus(params["prometheus"]) if params["prometheus"] else None, params, window, around.timestamp())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    folder = module.params["report_dir"]
    try:
        report = report_on(module.params)
        contents = {"report.html": render(report)}
        # What people wrote into it stays.
        if folder and not os.path.lexists(os.path.join(folder, SKELETON)):
            contents[SKELETON] = postmortem(report)
        published = publish(folder, report, contents, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(report=report, lines=report["lines"], **published.as_result(module._diff))


if __name__ == "__main__":
    main()
