#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_snapshot
short_description: Back up a Redis or Valkey server, verify the backup, restore it
version_added: "0.1.0"
description:
  - Reads a snapshot over the replication protocol, without a file on any host, and streams it through compression and encryption into a catalogue of backups.
  - A backup counts only when its manifest has been published, which is done last. Whatever fails before that leaves nothing behind.
  - A backup opens by hand with the stock programs, C(age -d -i KEY FILE | zstd -d > dump.rdb).
options:
  state:
    description:
      - V(present) makes sure of a good backup that is not older than O(max_age), and takes one only if there is none.
      - V(verified) verifies the backup that O(backup_id) names, to the level O(verify_level), and stores the result beside it. The server is not contacted.
      - V(restored) replaces the data of the server by that of the backup.
    type: str
    default: present
    choices: [present, verified, restored]
  method:
    description:
      - How the snapshot is read.
      - V(psync) reads it over the replication protocol. The user needs C(+psync), C(+replconf), C(+ping) and C(+info).
      - V(bgsave) lets the server save in the background and reads its file. The module must run on the host of the server, as a user who may read the file.
      - V(auto) is V(psync), or V(bgsave) where a local server does not have the command C(PSYNC).
    type: str
    default: auto
    choices: [auto, psync, bgsave]
  prefer_replica:
    description:
      - Whether a snapshot of a master is read from one of its replicas, which spares the master the fork.
      - A replica is used if it can be reached with the same credentials at the address that the master knows, follows this master, and has caught up.
        If there is none, the master is used, with a warning.
    type: bool
    default: true
  max_replica_lag:
    description:
      - How many seconds a replica may be behind its master to be read from. A replica whose link to the master is down is never read from.
    type: int
    default: 30
  restore_method:
    description:
      - V(replicate) loads the backup into a throwaway server on loopback, and lets the server replicate from that.
        The old data is served until the new data is there in full; an AOF is rewritten; replicas follow. Clients cannot write meanwhile.
      - Needs C(redis-server) or C(valkey-server) on the host, which is the one that O(login_host) runs on, and memory for the data twice.
    type: str
    default: replicate
    choices: [replicate]
  force:
    description: Whether O(state=restored) may replace a server's data, if it has any.
    type: bool
    default: false
  work_dir:
    description: Folder on the host where the private folder of a throwaway server is made. It needs room for the data.
    type: path
    default: /var/tmp
  idle_timeout:
    description: Seconds without a byte after which the stream from the server counts as broken.
    type: int
    default: 60
  wait_timeout:
    description: Seconds that each of these may take, the server's preparation of a snapshot, loading a backup, and replicating it.
    type: int
    default: 3600
notes:
  - Server-side settings that a restore changes for its time are C(masteruser), C(masterauth) and C(repl-diskless-load). They are put back, also after an error.
  - A server that Sentinel watches must be the current master to be restored into. Sentinel takes a master that says it is a replica for failed after
    C(down-after-milliseconds) and 20 seconds, so data that takes longer to send should be restored with Sentinel stopped.
  - A snapshot holds the data of all databases and functions. It holds no configuration and no ACL users.
  - With C(repl-diskless-sync-delay) at its default a server waits 5 seconds before it sends.
seealso:
  - module: mainstay.ops.redis_snapshot_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.catalog
  - mainstay.ops.catalog.backup
  - mainstay.ops.redis
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Back up Redis once a day to a bucket
  mainstay.ops.redis_snapshot:
    name: ledger
    login_password: "{{ redis_password }}"
    tls: false
    max_age: 20h
    store:
      type: s3
      bucket: backups
      prefix: production
      region: eu-central-1
    encryption:
      recipients:
        - "{{ backup_public_key }}"
        - "{{ break_glass_public_key }}"

- name: Prove that the newest backup can be restored
  mainstay.ops.redis_snapshot:
    name: ledger
    state: verified
    store:
      type: s3
      bucket: backups
      prefix: production
    encryption:
      identity: "{{ backup_private_key }}"

- name: Bring back the newest backup that was proven
  mainstay.ops.redis_snapshot:
    name: ledger
    state: restored
    backup_id: latest_verified
    force: true
    login_password: "{{ redis_password }}"
    tls: false
    store:
      type: local
      path: /var/backups/mainstay
    encryption:
      identity_file: /root/backup.key
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: always
  type: list
  elements: str
  sample: ["take a snapshot of Redis 7.0.15 at 127.0.0.1:6379 (replica) by psync into s3://backups/production"]
backup:
  description:
    - The backup that was taken, found, verified or restored. Null in check mode where one would be taken.
    - See RV(mainstay.ops.redis_snapshot_info#module:backups) for its keys.
  returned: success
  type: dict
bytes_plain:
  description: Bytes of the backup's data when opened.
  returned: success
  type: int
bytes_stored:
  description: Bytes of the backup in the store.
  returned: success
  type: int
keys_restored:
  description: Keys per database that the server has after O(state=restored), empty otherwise and in check mode.
  returned: success
  type: dict
  sample: {"db0": 1204}
phases:
  description: Seconds by the name of the phase.
  returned: success
  type: dict
  sample: {"plan": 0.02, "publish": 0.01, "stream": 3.2, "wait": 5.1}
seconds:
  description: Seconds that all of it took.
  returned: success
  type: float
verification:
  description: The result of O(state=verified), null otherwise. Returned on failure too if the backup is at fault.
  returned: success
  type: dict
  contains:
    at:
      description: When it ended.
      type: str
      returned: always
    level:
      description: How far it went.
      type: str
      returned: always
    status:
      description: V(successful) or V(failed).
      type: str
      returned: always
    cause:
      description: Why it failed, empty if it did not.
      type: str
      returned: always
    seconds:
      description: Seconds that it took.
      type: float
      returned: always
    phases:
      description: Seconds by the name of the phase.
      type: dict
      returned: always
    details:
      description: What was seen, at the level V(restore) the keys per database among it.
      type: dict
      returned: always
"""

import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity, reading_filters, require_programs
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed, verify
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import login_from, redis_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import bounds_from
from ansible_collections.mainstay.ops.plugins.module_utils._redis.restore import check_target, look_at, restore
from ansible_collections.mainstay.ops.plugins.module_utils._redis.snapshot import KIND, Settings, due, take
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import METHODS, plan_source
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import find_program
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import RedisChecks, loaded_keys

Params = t.Mapping[str, t.Any]


@dataclasses.dataclass
class Outcome:
    """What is returned, filled on the way."""

    backup: Backup | None = None
    actions: list[str] = dataclasses.field(default_factory=list)
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    keys_restored: dict[str, int] = dataclasses.field(default_factory=dict)
    verification: dict[str, t.Any] | None = None
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def result(self, catalogue: Catalogue, seconds: float) -> dict[str, t.Any]:
        """Return the module's result."""
        summary = None if self.backup is None else catalogue.summary(self.backup)
        return {
            "changed": bool(self.actions),
            "actions": self.actions,
            "backup": summary,
            "bytes_plain": summary["bytes_plain"] if summary else 0,
            "bytes_stored": summary["bytes_stored"] if summary else 0,
            "keys_restored": self.keys_restored,
            "phases": self.phases,
            "seconds": round(seconds, 3),
            "verification": self.verification,
            "diff": {"before": self.before, "after": self.after},
        }


def ensure_present(params: Params, catalogue: Catalogue, outcome: Outcome, check_mode: bool) -> None:
    """Take a backup if the newest good one is too old."""
    settings = Settings(
        spec.compression_of(params), spec.encryption_of(params), spec.labels_of(params), float(params["idle_timeout"]), float(params["wait_timeout"])
    )
    newest = catalogue.newest_good()
    outcome.before = outcome.after = {"newest_backup": newest.id if newest else None}
    if not due(newest, spec.parse_duration(params["max_age"]), utc_now()):
        outcome.backup = newest
        return
    with timed(outcome.phases, "plan"):
        settings.check()
        plan = plan_source(login_from(params), params["method"], params["prefer_replica"], params["max_replica_lag"])
    outcome.warnings += plan.warnings
    outcome.actions.append(f"take a snapshot of {plan.words} into {catalogue.store.describe()}")
    outcome.after = {"newest_backup": "a new one"}
    if not check_mode:
        outcome.backup = take(catalogue, plan, settings, outcome.phases)


def require_opening(backup: Backup, identity: Identity) -> None:
    """Find out that a backup can be decrypted and decompressed here before anything is begun."""
    manifest = backup.require_manifest()
    require_programs(reading_filters(manifest.compression, manifest.encryption, identity))


def ensure_verified(params: Params, catalogue: Catalogue, outcome: Outcome, check_mode: bool) -> None:
    """Verify the chosen backup."""
    backup, level, identity = catalogue.choose(params["backup_id"]), params["verify_level"], spec.identity_of(params)
    backup.require_manifest()
    if level in ("content", "restore"):
        require_opening(backup, identity)
    if level == "restore":
        find_program()
    outcome.actions.append(f"verify backup {backup.id} at the level {level}")
    outcome.before, outcome.after = {"verified": backup.verified_at is not None}, {"verified": backup.verified_at is not None or level == "restore"}
    outcome.backup = backup
    if not check_mode:
        checks = RedisChecks(catalogue, identity, params["work_dir"], float(params["wait_timeout"]))
        outcome.backup = verify(catalogue, backup, level, identity, checks)
        result = outcome.backup.verifications[-1]
        outcome.verification, outcome.phases = result.plain(), result.phases
        outcome.warnings += result.details.get("warnings", [])


def ensure_restored(params: Params, catalogue: Catalogue, outcome: Outcome, check_mode: bool) -> None:
    """Replace the server's data by that of the chosen backup."""
    login, identity = login_from(params), spec.identity_of(params)
    outcome.backup = backup = catalogue.choose(params["backup_id"])
    manifest = backup.require_manifest()
    with timed(outcome.phases, "plan"):
        require_opening(backup, identity)
        find_program()
        target = look_at(login)
        check_target(target, manifest, params["force"])
    outcome.actions.append(f"replace the {target.facts.key_count} keys of {target.facts.name} at {login.address} by those of backup {backup.id}")
    expected = {name: high for name, (_low, high) in bounds_from(manifest.contents).databases.items()}
    outcome.before, outcome.after = {"keys": loaded_keys(target.facts)}, {"backup": backup.id, "keys": expected}
    if target.watched:
        outcome.warnings.append("Sentinel watches the server; if sending the data takes longer than its patience, it moves the master")
    if not check_mode:
        outcome.keys_restored = restore(login, target, catalogue, backup, identity, params["work_dir"], float(params["wait_timeout"]), outcome.phases)


ENSURE = {"present": ensure_present, "verified": ensure_verified, "restored": ensure_restored}


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **spec.store_argument_spec(),
        **spec.backup_argument_spec(),
        **redis_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": list(ENSURE)},
        "method": {"type": "str", "default": "auto", "choices": list(METHODS)},
        "prefer_replica": {"type": "bool", "default": True},
        "max_replica_lag": {"type": "int", "default": 30},
        "restore_method": {"type": "str", "default": "replicate", "choices": ["replicate"]},
        "force": {"type": "bool", "default": False},
        "work_dir": {"type": "path", "default": "/var/tmp"},
        "idle_timeout": {"type": "int", "default": 60},
        "wait_timeout": {"type": "int", "default": 3600},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params, outcome, started = module.params, Outcome(), time.monotonic()
    try:
        for name in ("max_replica_lag", "idle_timeout", "wait_timeout"):
            if params[name] < 1:
                raise InvalidInput("run redis_snapshot", f"{name} is {params[name]}, it must be at least 1")
        catalogue = spec.open_catalogue(params, KIND)
        with interruptible(f"finish state={params['state']}"):
            ENSURE[params["state"]](params, catalogue, outcome, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), actions=outcome.actions, **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**outcome.result(catalogue, time.monotonic() - started))


if __name__ == "__main__":
    main()
