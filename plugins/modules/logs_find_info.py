#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a request in all logs of a host by its id."""

from __future__ import annotations

DOCUMENTATION = r"""
module: logs_find_info
version_added: "1.0.0"
short_description: Find a request in all logs of a host by its id
description:
  - nginx gives each request an id, sends it to the application as C(X-Request-ID), and returns it to the client. The application writes it into its log and
    into each statement as a comment, so that it stands in the log of PostgreSQL beside whatever is logged of the statement.
  - Reads the journal, or the journals that a log host receives, and files with a JSON object for each line (nginx's access log, PostgreSQL's C(jsonlog)).
    Rotated files, packed ones too, are read as far as they are new enough.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  request_id:
    description: The id, 4 to 64 letters, digits, dots, underscores and hyphens.
    type: str
    required: true
  since:
    description: How far back to look, such as V(24h), V(90m) or V(7d).
    type: str
    default: 24h
  journal:
    description: Whether the journal of the host is read, with those of all namespaces.
    type: bool
    default: true
  journal_dir:
    description: Folder of journals to read instead, V(/var/log/journal/remote) on a log host.
    type: path
  files:
    description: Patterns of files to read. One that matches nothing is no error.
    type: list
    elements: str
    default: [/var/log/nginx/access.log*, /var/log/postgresql/*.json*, /var/lib/postgresql/*/*/log/*.json*]
  host:
    description: How this host is called in the result, for lines that do not say so themselves. The default is its host name.
    type: str
  limit:
    description: How many lines are returned at most, the oldest ones.
    type: int
    default: 1000
notes:
  - A statement that is logged may hold data of users. Who may read the result may read the logs.
"""

EXAMPLES = r"""
- name: Find | Look for a request on every host
  mainstay.ops.logs_find_info:
    request_id: 5f0c1a7f3c8de01b2a9d4e6f7a8b9c0d
    since: 2h
  register: found

- name: Find | Look for it in what the log host has received
  mainstay.ops.logs_find_info:
    request_id: 5f0c1a7f3c8de01b2a9d4e6f7a8b9c0d
    journal_dir: /var/log/journal/remote
    files: []
"""

RETURN = r"""
lines:
  description: What the logs say, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: Unix time.
      type: float
    at:
      description: The same in UTC, for people.
      type: str
    host:
      description: Which host wrote it.
      type: str
    source:
      description: V(nginx), V(application), V(postgresql), or the identifier that the journal has.
      type: str
    text:
      description: What it says.
      type: str
    status:
      description: HTTP status, 0 if it has none.
      type: int
    seconds:
      description: How long it took, 0 if it does not say.
      type: float
  sample: [{time: 1795370400.5, at: "2026-11-22T18:00:00.500Z", host: lb1, source: nginx, text: GET / from 192.0.2.9 answered 200, status: 200, seconds: 0.01}]
sources:
  description: Which of them have it.
  returned: success
  type: list
  elements: str
  sample: [application, nginx, postgresql]
searched:
  description: What was read.
  returned: success
  type: list
  elements: str
  sample: [the journal, /var/log/nginx/access.log]
more:
  description: How many lines were left out by O(limit).
  returned: success
  type: int
  sample: 0
"""

import dataclasses
import datetime
import socket
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._logs.find import Found, Search, check_id, find
from ansible_collections.mainstay.ops.plugins.module_utils._logs.lines import Line


def described(line: Line) -> dict[str, t.Any]:
    """A line as it is returned."""
    at = datetime.datetime.fromtimestamp(line.time, datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, **dataclasses.asdict(line)}


def look(module: AnsibleModule) -> Found:
    """Find what the module's parameters ask for."""
    params, now = module.params, time.time()
    search = Search(
        check_id(params["request_id"]), now - parse_duration(params["since"]), now, params["journal"], params["journal_dir"] or "",
        tuple(params["files"]), params["host"] or socket.gethostname(),
    )
    return find(search, module.run_command)


def main() -> None:
    """Entry point of the module."""
    files = ["/var/log/nginx/access.log*", "/var/log/postgresql/*.json*", "/var/lib/postgresql/*/*/log/*.json*"]
    module = AnsibleModule(
        argument_spec={
            "request_id": {"type": "str", "required": True},
            "since": {"type": "str", "default": "24h"},
            "journal": {"type": "bool", "default": True},
            "journal_dir": {"type": "path"},
            "files": {"type": "list", "elements": "str", "default": files},
            "host": {"type": "str"},
            "limit": {"type": "int", "default": 1000},
        },
        supports_check_mode=True,
    )
    try:
        found = look(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    lines = found.lines[: module.params["limit"]]
    module.exit_json(changed=False, lines=[described(line) for line in lines], sources=sorted({line.source for line in found.lines}),
                     searched=list(found.searched), more=len(found.lines) - len(lines))


if __name__ == "__main__":
    main()
