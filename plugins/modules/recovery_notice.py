#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell people and programs how a recovery or a drill went."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_notice
version_added: "1.0.0"
short_description: Send a message about a recovery or a drill
description:
  - Sends a message to Slack, to any webhook, or by mail.
  - A message that cannot be sent never makes the module fail, since it must not stop a recovery. It is in RV(unsent), and a warning says so.
  - Neither addresses of webhooks nor passwords are shown.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  title:
    description: The message in one line.
    type: str
    required: true
  lines:
    description: The rest, a line each.
    type: list
    elements: str
    default: []
  success:
    description: Whether it is good news.
    type: bool
    required: true
  report:
    description: What a webhook gets beside that, such as RV(mainstay.ops.recovery_report#module:report).
    type: dict
    default: {}
  notices:
    description: Who is told.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description:
          - V(slack) is an incoming webhook of Slack, or of what takes the same.
          - V(webhook) gets a JSON document with C(title), C(lines), C(success) and C(report).
        type: str
        required: true
        choices: [slack, webhook, mail]
      url:
        description: Address of the webhook. It is treated as a secret.
        type: str
      headers:
        description: Further headers for V(webhook), such as one with a token. Their values are treated as secrets.
        type: dict
      host:
        description: The mail server.
        type: str
      port:
        description: Its port. The default is 587 for V(starttls), 465 for V(tls), 25 for V(none).
        type: int
      encryption:
        description: How the mail server is spoken to.
        type: str
        choices: [starttls, tls, none]
        default: starttls
      user:
        description: Whom to log in to it as. Without one nobody is.
        type: str
      password:
        description: The password.
        type: str
      sender:
        description: From whom the mail is.
        type: str
      to:
        description: To whom.
        type: list
        elements: str
      validate_certs:
        description: Whether certificates are checked.
        type: bool
        default: true
      ca_cert:
        description: Path of the authorities that they are checked against. The default is those of the system.
        type: path
      timeout:
        description: So many seconds the other side may take.
        type: int
        default: 10
seealso:
  - module: mainstay.ops.recovery_report
"""

EXAMPLES = r"""
- name: Tell how the drill went
  mainstay.ops.recovery_notice:
    title: Drill of ledger failed
    lines: "{{ report.problems }}"
    success: "{{ report.success }}"
    notices:
      - type: slack
        url: "{{ vault_slack_webhook }}"
      - type: mail
        host: mail.example.com
        user: drills
        password: "{{ vault_mail }}"
        sender: drills@example.com
        to: [operators@example.com]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [send slack at hooks.slack.com]
unsent:
  description: What could not be sent. Empty in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    place:
      description: Who was to be told.
      type: str
      returned: always
    cause:
      description: Why it could not be sent.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import notice


def argument_spec() -> dict[str, object]:
    """Return the module's options."""
    text = {"type": "str"}
    given = {
        "type": {"type": "str", "required": True, "choices": ["slack", "webhook", "mail"]},
        "url": {"type": "str", "no_log": True},
        "headers": {"type": "dict", "no_log": True},
        "host": text,
        "port": {"type": "int"},
        "encryption": {"type": "str", "choices": ["starttls", "tls", "none"], "default": "starttls"},
        "user": text,
        "password": {"type": "str", "no_log": True},
        "sender": text,
        "to": {"type": "list", "elements": "str"},
        "validate_certs": {"type": "bool", "default": True},
        "ca_cert": {"type": "path"},
        "timeout": {"type": "int", "default": 10},
    }
    required = [("type", "slack", ("url",)), ("type", "webhook", ("url",)), ("type", "mail", ("host", "sender", "to"))]
    return {
        "title": {"type": "str", "required": True},
        "lines": {"type": "list", "elements": "str", "default": []},
        "success": {"type": "bool", "required": True},
        "report": {"type": "dict", "default": {}},
        "notices": {"type": "list", "elements": "dict", "required": True, "options": given, "required_if": required},
    }


def tell(params: dict[str, object], check_mode: bool) -> dict[str, object]:
    """Send what can be sent."""
    notices = params["notices"]
    notice.check(notices)
    message = notice.Message(params["title"], tuple(params["lines"]), params["success"], params["report"])
    unsent = []
    for entry in notices if not check_mode else []:
        try:
            notice.send(entry, message)
        except MainstayError as error:
            unsent.append({"place": notice.place_of(entry), "cause": str(error)})
    return {"changed": bool(notices), "actions": [f"send {notice.place_of(entry)}" for entry in notices], "unsent": unsent}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = tell(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for entry in result["unsent"]:
        module.warn(entry["cause"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
