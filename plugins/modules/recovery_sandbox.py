#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearse a recovery in a sandbox, and remove it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_sandbox
version_added: "1.0.0"
short_description: Rehearse a recovery from the newest backups, without touching what serves
description:
  - Restores the newest good backups into throwaway servers and folders below O(work_dir), checks them, starts the application on them, asks it whether it
    works, measures all of that, and removes everything, whatever came of it. Servers listen on private sockets, or on the loopback interface with a
    password.
  - A backup that turns out to be at fault is named and is not good any more, which is noted beside it. The one before is tried then. The drill is none
    that succeeded. RV(evidence) says so.
  - What a drill that was killed has left is removed by the next one on that host, with the processes that still work in it.
  - The module succeeds if it could rehearse. M(mainstay.ops.recovery_report) judges what it saw.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.catalog
author:
  - Mainstay Operations (@mainstay)
options:
  name:
    description: Name of the catalogues of parts that have no O(parts[].name).
    type: str
    required: true
  level:
    description: With V(verify) backups are decrypted, decompressed and parsed in full. With V(restore) they are restored and used.
    type: str
    choices: [verify, restore]
    default: restore
  parts:
    description: What is restored, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      part:
        description: The part of the policy. Figures and evidence are named after it.
        type: str
        required: true
        choices: [application, database, cache, files, monitoring]
      kind:
        description: Of what its backups are. The default is V(postgres) for a database, V(redis) for a cache, V(files) otherwise.
        type: str
        choices: [postgres, redis, files]
      name:
        description: Name of the catalogue. The default is O(name).
        type: str
      method:
        description: For V(postgres), which backups.
        type: str
        choices: [logical, physical]
        default: logical
      point:
        description:
          - For O(parts[].method=physical), to which moment. V(random) is any between the end of the newest backup and the last commit that was archived,
            V(backup) the end of the backup.
        type: str
        choices: [random, backup]
        default: random
      queries:
        description: For V(postgres), queries whose answer is known.
        type: list
        elements: dict
        default: []
        suboptions:
          database:
            description: Database.
            type: str
            required: true
          query:
            description: The query.
            type: str
            required: true
          expect:
            description: What the first column of its first row must be, as text.
            type: str
            required: true
      repository_passphrase:
        description: As O(mainstay.ops.pg_backup#module:repository_passphrase).
        type: str
      pgbackrest_options:
        description: As O(mainstay.ops.pg_backup#module:pgbackrest_options).
        type: dict
        default: {}
  encryption:
    description: How backups are opened.
    type: dict
    default: {}
    suboptions:
      type:
        description: As O(mainstay.ops.pg_backup#module:encryption.type). V(none) if they are not encrypted.
        type: str
        choices: [age, gpg, none]
        default: age
      recipients:
        description: Not used, and taken so that the same dictionary serves for backups and drills.
        type: list
        elements: str
        default: []
      identity:
        description: The private key as text.
        type: str
      identity_file:
        description: Path of the private key on the host.
        type: path
  application:
    description: What is started on the restored data. Without it nothing is.
    type: dict
    suboptions:
      argv:
        description:
          - The command. It runs in a folder of its own, which is removed as well, as the user C(postgres) if the module runs as root.
          - In it, in O(application.environment) and in the URLs of O(checks), names in braces are replaced. V({port}) is a free port for the application;
            V({database_host}) (the folder of a Unix socket), V({database_port}) and V({database_user}), V({cache_host}), V({cache_port}) and
            V({cache_password}), V({files_dir}), and the like for other parts, say how what was restored is reached.
        type: list
        elements: str
        required: true
      environment:
        description: Its environment variables. Put secrets here, not into O(application.argv), which every user of the host can read.
        type: dict
        default: {}
      timeout:
        description: So many seconds it may take until all O(checks) are healthy.
        type: float
        default: 120.0
  checks:
    description: The smoke tests, as O(mainstay.ops.health_probe#module:checks). At least one is needed with O(application).
    type: list
    elements: dict
    default: []
  attempts:
    description: So many backups of a part are tried, the newest first.
    type: int
    default: 3
  load_timeout:
    description: So many seconds a snapshot of Redis may take to load.
    type: int
    default: 3600
  work_dir:
    description: Folder on the host with room for everything.
    type: path
    default: /var/tmp
seealso:
  - module: mainstay.ops.recovery_report
  - module: mainstay.ops.health_probe
"""

EXAMPLES = r"""
- name: Rehearse the recovery of the service
  mainstay.ops.recovery_sandbox:
    name: ledger
    store:
      type: local
      path: /srv/backups
    encryption:
      identity_file: /root/operators.key
    parts:
      - part: database
        queries:
          - {database: ledger, query: "SELECT count(*) > 0 FROM entries", expect: "true"}
      - part: cache
    application:
      argv: [/opt/ledger/bin/serve, --port, "{port}"]
      environment:
        DATABASE_URL: "postgresql://{database_user}@/ledger?host={database_host}&port={database_port}"
        REDIS_URL: "redis://:{cache_password}@{cache_host}:{cache_port}/0"
    checks:
      - {name: health, type: http, url: "http://127.0.0.1:{port}/healthz"}
  register: drill
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["restore the newest good backup of database (postgres ledger)"]
started:
  description: When it began, as a Unix time.
  returned: success
  type: float
finished:
  description: When it ended.
  returned: success
  type: float
phases:
  description: What it went through, as O(mainstay.ops.recovery_report#module:phases). Empty in check mode, as all that follows.
  returned: success
  type: list
  elements: dict
measured:
  description:
    - For each part C(PART_rto_seconds) (at the level V(restore)) and C(PART_rpo_seconds), and with an application that works
      C(application_rto_seconds), from the beginning of the drill, and C(application_rpo_seconds).
  returned: success
  type: dict
  sample: {database_rto_seconds: 201.4, database_rpo_seconds: 48.1}
evidence:
  description: What was checked, as O(mainstay.ops.recovery_report#module:evidence).
  returned: success
  type: list
  elements: dict
lost:
  description: What would have been lost, a sentence each.
  returned: success
  type: list
  elements: str
backups:
  description: The ids of the backups that were sound, by part and name.
  returned: success
  type: dict
  sample: {"database ledger": "20261122T174200Z-1a2b3c4d"}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import store_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import sandbox
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.smoke import smoke_tests
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.subjects import Subject

KINDS = {"database": "postgres", "cache": "redis"}


def argument_spec() -> dict[str, object]:
    """Return the module's options."""
    text, store = {"type": "str"}, store_argument_spec()
    query = {name: {"type": "str", "required": True} for name in ("database", "query", "expect")}
    part = {
        "part": {"type": "str", "required": True, "choices": ["application", "database", "cache", "files", "monitoring"]},
        "kind": {"type": "str", "choices": ["postgres", "redis", "files"]},
        "name": text,
        "method": {"type": "str", "choices": ["logical", "physical"], "default": "logical"},
        "point": {"type": "str", "choices": ["random", "backup"], "default": "random"},
        "queries": {"type": "list", "elements": "dict", "default": [], "options": query},
        "repository_passphrase": {"type": "str", "no_log": True},
        "pgbackrest_options": {"type": "dict", "default": {}},
    }
    encryption = {
        "type": {"type": "str", "choices": ["age", "gpg", "none"], "default": "age"},
        "recipients": {"type": "list", "elements": "str", "default": []},
        "identity": {"type": "str", "no_log": True},
        "identity_file": {"type": "path"},
    }
    application = {
        "argv": {"type": "list", "elements": "str", "required": True},
        "environment": {"type": "dict", "default": {}},
        "timeout": {"type": "float", "default": 120.0},
    }
    return {
        **store,
        "level": {"type": "str", "choices": ["verify", "restore"], "default": "restore"},
        "parts": {"type": "list", "elements": "dict", "required": True, "options": part},
        "encryption": {
            "type": "dict", "default": {}, "options": encryption, "apply_defaults": True, "mutually_exclusive": [("identity", "identity_file")],
        },
        "application": {"type": "dict", "options": application},
        "checks": {"type": "list", "elements": "dict", "default": []},
        "attempts": {"type": "int", "default": 3},
        "load_timeout": {"type": "int", "default": 3600},
        "work_dir": {"type": "path", "default": "/var/tmp"},
    }


def drill_of(params: dict[str, object]) -> sandbox.Drill:
    """Return what is rehearsed.

    Raises:
        InvalidInput: it cannot be.
    """
    subjects = []
    for given in params["parts"]:
        options = {**given, "store": params["store"], "encryption": params["encryption"], "wait_timeout": params["load_timeout"]}
        kind = given["kind"] or KINDS.get(given["part"], "files")
        subjects.append(Subject(given["part"], kind, given["name"] or params["name"], options))
    application = None
    if params["application"]:
        given = params["application"]
        if not params["checks"] or not given["argv"]:
            raise InvalidInput("start the application", "checks or application.argv is empty", "say what is started, and how one sees that it works")
        application = sandbox.Application(tuple(given["argv"]), {key: str(text) for key, text in given["environment"].items()}, given["timeout"])
    tests = smoke_tests(params["checks"])
    drill = sandbox.Drill(params["level"], tuple(subjects), application, tests, params["attempts"], params["work_dir"])
    sandbox.check_drill(drill)
    return drill


def rehearse(params: dict[str, object], check_mode: bool) -> dict[str, object]:
    """Rehearse, or in check mode say what would be done."""
    drill = drill_of(params)
    result = {"changed": True, "actions": drill.actions(), "started": time.time()}
    diary = sandbox.Diary()
    if not check_mode:
        with interruptible("rehearse the recovery"):
            diary = sandbox.rehearse(drill)
    return {
        **result,
        "finished": time.time(),
        "phases": diary.phases,
        "measured": diary.measured,
        "evidence": diary.evidence,
        "lost": diary.lost,
        "backups": diary.backups,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.no_log_values.update(str(text) for text in (module.params["application"] or {}).get("environment", {}).values() if len(str(text)) > 7)
    try:
        module.exit_json(**rehearse(module.params, module.check_mode))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
