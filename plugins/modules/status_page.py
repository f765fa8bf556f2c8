#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status_page
short_description: Write a page that says whether the services work
version_added: "1.0.0"
description:
  - Runs checks as M(mainstay.ops.health_probe) does, asks Prometheus what is firing and how it was on the days before, and writes one HTML file, in one step.
    It has no script, and loads nothing from elsewhere.
  - What is down is told on the page and in RV(status), and is no failure of the module. A Prometheus that does not answer is told on the page too.
options:
  path:
    description: The file. Its folder must exist.
    type: path
    required: true
  title:
    description: Title of the page.
    type: str
    default: Status
  checks:
    description: What to look at, as the option O(mainstay.ops.health_probe#module:checks) of M(mainstay.ops.health_probe). Their names are shown.
    type: list
    elements: dict
    required: true
  retries:
    description: How often to try again what is unhealthy.
    type: int
    default: 1
  prometheus:
    description: The Prometheus that is asked, or anything that speaks its HTTP API, if there is one.
    type: dict
    required: false
  histories:
    description: What is shown for each of the days before.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      query:
        description: PromQL of the share of the last day in which it worked, between 0 and 1. Of several series the worst one counts.
        type: str
        required: true
  days:
    description: How many days.
    type: int
    default: 30
  notice:
    description: What people want to say, such as a planned maintenance.
    type: str
    default: ""
  details:
    description: Whether to show what the checks saw, and the names of alerts. Leave them out where strangers read the page.
    type: bool
    default: false
  refresh:
    description: Seconds after which a browser loads the page again; V(0) for never.
    type: int
    default: 60
notes:
  - The page has the time in it, so that each run writes it anew.
seealso:
  - module: mainstay.ops.health_probe
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.prometheus
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Say whether the shop works
  mainstay.ops.status_page:
    path: /var/www/status/index.html
    title: Status of the shop
    checks:
      - {name: The shop, type: http, url: https://shop.example.com/health}
    prometheus:
      url: http://localhost:9090
    histories:
      - {name: The shop, query: "avg_over_time(nginx_up[1d])"}
"""

RETURN = r"""
status:
  description: V(healthy), V(degraded) or V(unhealthy), the worst of the checks.
  type: str
  returned: success
unhealthy:
  description: Names of the checks that are not healthy.
  type: list
  elements: str
  returned: success
gaps:
  description: What could not be found out.
  type: list
  elements: str
  returned: success
actions:
  description: What was written, or would be in check mode.
  type: list
  elements: str
  returned: success
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import HEALTHY
from ansible_collections.mainstay.ops.plugins.module_utils._probe.runner import run
from ansible_collections.mainstay.ops.plugins.module_utils._reports.prometheus import Prometheus, prometheus_spec
from ansible_collections.mainstay.ops.plugins.module_utils._reports.status import Status, ask, plan, render
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.metrics import write


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    text = {"type": "str", "required": True}
    return {
        **prometheus_spec(required=False),
        "path": {"type": "path", "required": True},
        "title": {"type": "str", "default": "Status"},
        "checks": {"type": "list", "elements": "dict", "required": True},
        "retries": {"type": "int", "default": 1},
        "histories": {"type": "list", "elements": "dict", "default": [], "options": {"name": text, "query": text}},
        "days": {"type": "int", "default": 30},
        "notice": {"type": "str", "default": ""},
        "details": {"type": "bool", "default": False},
        "refresh": {"type": "int", "default": 60},
    }


def look(module: AnsibleModule) -> Status:
    """Look at everything.

    Raises:
        InvalidInput: an option is of no use.
    """
    params = module.params
    # First of all: until then nobody knows which options of the checks are secret.
    checks, policy = plan(params["checks"], params["retries"], module.no_log_values.update)
    if not 1 <= params["days"] <= 366:
        raise InvalidInput(f"show {params['days']} days", "that is none, or more than a year", "give days between 1 and 366")
    server = Prometheus(params["prometheus"]) if params["prometheus"] else None
    outcomes = tuple(run(checks, policy)[0])
    now = time.time()
    if server is None:
        return Status(now, outcomes, (), {})
    alerts, histories, gaps = ask(server, params["histories"], params["days"], now)
    return Status(now, outcomes, alerts, histories, tuple(gaps))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        status = look(module)
        content = render(status, params["title"], params["notice"], params["details"], params["refresh"])
        if not module.check_mode:
            write(params["path"], content)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    unhealthy = [outcome.name for outcome in status.outcomes if outcome.status != HEALTHY]
    result = {"status": status.overall, "unhealthy": unhealthy, "gaps": list(status.gaps), "actions": [f"write {params['path']}"]}
    if module._diff:
        result["diff"] = {"before": "", "after": f"{status.overall}\n", "after_header": params["path"]}
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
