#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether an alert may be answered by a remediation now, and keep the record."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation
version_added: "1.0.0"
short_description: Decide whether an alert may be answered by a remediation now, and keep the record
description:
  - Stands between an alert and what is done about it. It does nothing to a host itself; the role C(remediate) does what was admitted.
  - A run is admitted if its action is in the allow-list, the alert fires at this moment by the server that knows, nothing is under way that must not be
    disturbed, enough peers are healthy, no other run is under way, the last one on the target did not fail, the cooldown is over, and the budget is not spent.
    Otherwise it is refused, with the reason, which is no failure.
  - Every decision and every end is a line of C(record.jsonl) in O(record_dir), written before anything is done. A run that dies still counts.
  - A run that failed or was cut off keeps its target from being remedied until a person has looked, and says so by O(state=cleared).
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  state:
    description:
      - V(admitted) asks for a run.
      - V(finished) writes down how it ended. One that went well is verified only when its alert has cleared.
      - V(cleared) lets a target be remedied again after a failed run.
    type: str
    choices: [admitted, finished, cleared]
    default: admitted
  action:
    description: What is to be done, by its name in the allow-list.
    type: str
    choices: [restart_slot, drain_host, reinit_replica, clean_caches, renew_certificate]
  target:
    description: The host, by its name in the inventory.
    type: str
  aliases:
    description: Addresses and further names by which alerts call the host in their labels C(instance), C(host), C(target) or C(nodename).
    type: list
    elements: str
    default: []
  alert:
    description: Name of the alert that asks for it.
    type: str
  id:
    description: With O(state=finished), RV(id) of the run.
    type: str
  success:
    description: With O(state=finished), whether what was done went well.
    type: bool
    default: true
  reason:
    description: What the record says about how it ended, or about why it was cleared. Never a secret.
    type: str
    default: ""
  wait:
    description:
      - With O(state=finished), seconds that the alert may take to clear; when they are over, the run has failed.
      - V(0) does not look.
    type: float
    default: 0
  alerts_url:
    description: URL of the server that knows what fires. Without it an alert never fires, so everything is refused.
    type: str
  alerts_api:
    description: What that server is. Alertmanager also knows what is silenced, which is not answered.
    type: str
    choices: [alertmanager, prometheus]
    default: alertmanager
  bearer_token:
    description: Token to log in there.
    type: str
  ca_cert:
    description: Path of the only CA certificates that the server's certificate is checked against. Without it the host's own ones are used.
    type: path
    aliases: [ca_certs]
  client_cert:
    description: Path of a client's certificate.
    type: path
  client_key:
    description: Path of the private key of O(client_cert), without a passphrase.
    type: path
  validate_certs:
    description: Whether the server's certificate and its name are checked.
    type: bool
    default: true
  locks:
    description: What is under way that must not be disturbed, in words. Empty if nothing is.
    type: list
    elements: str
    default: []
  peers:
    description: The other members of the target's group.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      healthy:
        description: Whether it can do the target's work meanwhile.
        type: bool
        required: true
  limits:
    description: Other limits than those of the allow-list. They cannot add an action.
    type: list
    elements: dict
    default: []
    suboptions:
      action:
        description: The action.
        type: str
        choices: [restart_slot, drain_host, reinit_replica, clean_caches, renew_certificate]
        required: true
      alerts:
        description: Names of the alerts that may ask for it.
        type: list
        elements: str
      cooldown:
        description: Seconds between two runs on one target.
        type: int
      spread:
        description: Seconds between runs on two targets.
        type: int
      daily:
        description: Runs on one target within 24 hours.
        type: int
      min_peers:
        description: How many peers must be healthy.
        type: int
      approval:
        description: Whether a person has to agree to each run.
        type: bool
      enabled:
        description: Whether it is allowed here.
        type: bool
  budget:
    description: Runs of all actions together within 24 hours.
    type: int
    default: 10
  lease:
    description: Seconds after which a run without an end counts as cut off.
    type: int
    default: 3600
  approved:
    description: Whether a person has agreed to this run, for an action that needs that.
    type: bool
    default: false
  enabled:
    description: Whether anything is done at all.
    type: bool
    default: true
  kill_switch:
    description: While this file is there, nothing is done.
    type: path
    default: /etc/mainstay/remediation.off
  record_dir:
    description: Folder of the record, which only its owner can enter.
    type: path
    default: /var/lib/mainstay/remediation
  metrics_file:
    description: File for the figures of the record, in a folder that the node exporter's textfile collector reads. Without it there are none.
    type: path
notes:
  - The allow-list is O(action). What promotes a database, moves a site or deletes data is not in it.
"""

EXAMPLES = r"""
- name: Gate | Ask whether the slot may be restarted
  mainstay.ops.remediation:
    action: restart_slot
    target: app1
    aliases: [192.0.2.21]
    alert: ApplicationSlotDown
    alerts_url: https://mon1:9093
    ca_cert: /etc/mainstay/ca.crt
    peers: [{name: app2, healthy: true}]
  delegate_to: localhost
  register: gate

- name: Record | Write down that it went well, once the alert has cleared
  mainstay.ops.remediation:
    state: finished
    id: "{{ gate.id }}"
    action: restart_slot
    target: app1
    alert: ApplicationSlotDown
    alerts_url: https://mon1:9093
    wait: 120
  delegate_to: localhost

- name: Clear | Let the host be remedied again
  mainstay.ops.remediation:
    state: cleared
    action: restart_slot
    target: app1
    reason: the disk was replaced
  delegate_to: localhost
"""

RETURN = r"""
outcome:
  description:
    - V(run) or V(refused) for O(state=admitted), V(verified) or V(failed) for O(state=finished), V(cleared) for O(state=cleared).
    - In check mode what it would be, without a wait for the alert.
  returned: success
  type: str
  sample: refused
reason:
  description: Why.
  returned: success
  type: str
  sample: restart_slot ran on app1 42 s ago, and 600 s have to pass
id:
  description: The run, to finish it; empty if none was admitted, and in check mode.
  returned: success
  type: str
  sample: 9f1c2ab0d3e4
checks:
  description: Everything that was looked at for a decision, also after the first reason to refuse.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What was looked at.
      type: str
    passed:
      description: Whether it speaks for a run.
      type: bool
    said:
      description: What was found.
      type: str
  sample: [{name: peers, passed: true, said: "healthy peers: app2"}]
seconds:
  description: How long a run took from its admission to its end, 0 otherwise.
  returned: success
  type: float
  sample: 12.4
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["record that restart_slot on app1 is admitted: ApplicationSlotDown fires for app1"]
diff:
  description: The last line of the record before and after.
  returned: success
  type: dict
"""

import functools
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._remediation import alerts, record, run
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.catalogue import RULES, rule_for
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.gate import Policy, Request, Situation
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.record import Record


NEEDED = {"admitted": ["action", "target", "alert"], "finished": ["id", "target", "alert"], "cleared": ["action", "target"]}
"""What has to be said, by state."""


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    limits = {"action": {"type": "str", "choices": list(RULES), "required": True}, "alerts": {"type": "list", "elements": "str"}}
    limits.update({name: {"type": "int"} for name in ("cooldown", "spread", "daily", "min_peers")})
    limits.update({name: {"type": "bool"} for name in ("approval", "enabled")})
    peer = {"name": {"type": "str", "required": True}, "healthy": {"type": "bool", "required": True}}
    return {
        "state": {"type": "str", "choices": ["admitted", "finished", "cleared"], "default": "admitted"},
        "action": {"type": "str", "choices": list(RULES)},
        "target": {"type": "str"},
        "aliases": {"type": "list", "elements": "str", "default": []},
        "alert": {"type": "str"},
        "id": {"type": "str"},
        "success": {"type": "bool", "default": True},
        "reason": {"type": "str", "default": ""},
        "wait": {"type": "float", "default": 0},
        "alerts_url": {"type": "str"},
        "alerts_api": {"type": "str", "choices": [alerts.ALERTMANAGER, alerts.PROMETHEUS], "default": alerts.ALERTMANAGER},
        **alerts.connection_spec(),
        "locks": {"type": "list", "elements": "str", "default": []},
        "peers": {"type": "list", "elements": "dict", "options": peer, "default": []},
        "limits": {"type": "list", "elements": "dict", "options": limits, "default": []},
        "budget": {"type": "int", "default": 10},
        "lease": {"type": "int", "default": 3600},
        "approved": {"type": "bool", "default": False},
        "enabled": {"type": "bool", "default": True},
        "kill_switch": {"type": "path", "default": "/etc/mainstay/remediation.off"},
        "record_dir": {"type": "path", "default": "/var/lib/mainstay/remediation"},
        "metrics_file": {"type": "path"},
    }


def look(params: dict[str, t.Any]) -> str:
    """Return why the alert does not fire, empty if it does."""
    if not params["alerts_url"]:
        return "nobody was named who knows what fires; give alerts_url"
    connection = {name: params[name] for name in alerts.CONNECTION}
    return alerts.quiet_reason(params["alerts_api"], params["alerts_url"], connection, params["alert"], [params["target"], *params["aliases"]])


def admit(params: dict[str, t.Any], request: Request, records: Record, write: bool) -> run.Outcome:
    """Look at everything, and decide."""
    rule = rule_for(request.action, params["limits"])
    off = run.switched_off(params["enabled"], params["kill_switch"])
    try:
        firing = look(params)
    except InvalidInput:
        raise
    except MainstayError as error:
        # What cannot be seen does not fire: the record shall say so.
        firing = str(error)
    peers = {peer["name"]: peer["healthy"] for peer in params["peers"] if peer["name"] != request.target}
    situation = Situation(time.time(), off, firing, tuple(params["locks"]), peers)
    return run.admit(request, rule, Policy(params["budget"], params["lease"]), situation, records, write)


def bring_to_state(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Do what the module's parameters ask for.

    Raises:
        InvalidInput: something that has to be said is empty.
    """
    # A value of null or nothing at all passes the argument spec.
    if empty := [name for name in NEEDED[params["state"]] if not params[name]]:
        raise InvalidInput(f"answer an alert by state={params['state']}", f"{', '.join(empty)} is empty", "say it")
    request = Request(params["action"], params["target"], params["alert"] or "", params["approved"])
    records, write = Record(params["record_dir"]), not check_mode
    if params["state"] == "admitted":
        outcome: run.Outcome | None = admit(params, request, records, write)
    elif params["state"] == "finished":
        outcome = run.finish(params["id"], params["success"], params["reason"], params["wait"], functools.partial(look, params), records, write)
    else:
        outcome = run.clear(request, params["reason"], records, write)
    if outcome is not None and write and params["metrics_file"]:
        run.write_figures(params["metrics_file"], (*outcome.known, outcome.entry), run.switched_off(params["enabled"], params["kill_switch"]))
    return result_of(outcome, check_mode)


def result_of(outcome: run.Outcome | None, check_mode: bool) -> dict[str, t.Any]:
    """What the module returns. A refusal is written down, and counts as no change, since none follows from it."""
    if outcome is None:
        return {"changed": False, "outcome": record.CLEARED, "reason": "nothing was in the way", "id": "", "checks": [], "seconds": 0.0, "actions": [],
                "diff": {"before": "", "after": ""}}
    entry = outcome.entry
    return {
        "changed": entry.event != record.REFUSED,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "id": "" if check_mode else entry.id,
        "checks": [{"name": check.name, "passed": not check.wrong, "said": check.wrong or check.found} for check in outcome.checks],
        "seconds": entry.seconds,
        "actions": [f"record that {entry.action} on {entry.target} is {entry.event}: {outcome.reason or 'no reason was given'}"],
        "diff": {"before": outcome.known[-1].line() if outcome.known else "", "after": entry.line()},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("state", state, needed) for state, needed in NEEDED.items()],
        supports_check_mode=True,
    )
    try:
        result = bring_to_state(module.params, module.check_mode)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
