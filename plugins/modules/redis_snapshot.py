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
  - ACL users and configuration are kept beside it, as far as the user may read them.
  - A backup counts only when its manifest has been published, which is done last. Whatever fails before that leaves nothing behind.
  - A backup opens by hand with the stock programs, C(age -d -i KEY FILE | zstd -d > dump.rdb).
options:
  state:
    description:
      - V(present) makes sure of a good backup that is not older than O(max_age), and takes one only if there is none.
      - V(verified) means that the backup O(backup_id) was verified at O(verify_level), or at a stronger one, not longer than O(max_age) ago.
        The result is stored beside the backup. The server is not contacted.
      - V(restored) replaces the data of the server by that of the backup. See O(restore_method).
      - V(copied) means that all of O(copies) hold the backup O(backup_id). The server is not contacted.
      - V(pruned) means that no backup is there that O(retention) does not keep. The server is not contacted.
      - V(absent) means that there is no backup O(backup_id), in O(store) or in O(copies). The server is not contacted.
    type: str
    default: present
    choices: [present, verified, restored, copied, pruned, absent]
  method:
    description:
      - How the snapshot is read.
      - V(psync) reads it over the replication protocol. The user needs C(+psync), C(+replconf), C(+ping) and C(+info).
      - V(bgsave) lets the server save in the background and reads its file. The module must run on the host of the server, as a user who may read the file.
        The user of the server needs C(+bgsave), C(+info) and C(+config|get).
      - V(scan) reads key by key (C(SCAN), then C(PTTL) and C(DUMP) in one transaction for each), for managed servers that allow neither of the others.
        The user needs C(+info), C(+select), C(+scan), C(+time), C(+multi), C(+exec), C(+pttl), C(+dump) and C(~*), and should have C(+function|dump), without
        which functions are left out, and C(+memory|usage), without which few keys are asked for at once.
      - A snapshot by V(scan) is an RDB file as well, but not of one instant. Each key is whole, but of what was written while it was read, some is in it and
        some is not. Its manifest says so, and a warning. Times to live are kept to within a second. How often and how recently keys were used (LFU, LRU) is
        lost.
      - V(auto) is V(psync), or V(bgsave) where a local server does not have or does not permit C(PSYNC), or else V(scan). A warning says why.
    type: str
    default: auto
    choices: [auto, psync, bgsave, scan]
  digest:
    description:
      - Whether the digest of the server's data (C(DEBUG DIGEST)) is kept with a new backup. A verification by a restore into the same version then compares it.
      - The server does nothing else while it makes the digest, about 4 seconds for a million small keys, so this is for small ones.
      - The server must permit it (C(enable-debug-command)), and nothing may be written while the snapshot begins. Otherwise there is a warning and no digest.
    type: bool
    default: false
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
        The old data stays until the new data is there in full. While the server loads it, clients get C(LOADING), also for reads. They cannot write meanwhile.
        An AOF is rewritten, and replicas follow.
      - It needs C(redis-server) or C(valkey-server) on the host, which is the one that O(login_host) runs on, and memory for the data twice. The user needs
        C(+info), C(+config|get), C(+config|set), C(+replicaof) and C(+bgsave), and should have C(+client|list), which shows Sentinel.
      - Before the server becomes a master again, its data is compared with that of the throwaway server, and the task fails if it differs. These are the keys
        per database; the keys per type if the user has C(+select), C(+scan), C(+type) and C(~*), up to 5 million keys; and the digest of everything if the
        server permits C(DEBUG DIGEST), up to 500 thousand keys. Keys whose time to live ends meanwhile are no difference.
      - V(files) writes into O(data_dir) what a server loads when it starts. It is for a server that does not run, such as one on a new host, and is refused
        while one runs on that folder. The options O(login_host), O(login_port) and so on only help to find that out.
        The server that will load it must be installed on the host.
    type: str
    default: replicate
    choices: [replicate, files]
  snapshot_before:
    description:
      - Whether O(state=restored) with O(restore_method=replicate) first takes a snapshot of what the server holds, if it holds anything, by O(method) into
        O(store). Nothing is changed if that fails. It needs O(encryption.recipients), or O(encryption.type=none).
      - The snapshot has the label C(before_restore) with the id of the backup that is restored. To bring it back, name its id. V(latest) and
        V(latest_verified) pass over it, and O(state=present) does not count it.
    type: bool
    default: true
  restore_users:
    description:
      - Whether O(state=restored) also sets the ACL users that the backup holds, each exactly as it was, in this server only.
        The user C(default), the user that the module logs in as, and users that the backup does not hold stay as they are.
      - The user needs C(+acl). Users are saved in the server's C(aclfile); without one they last until it restarts.
      - The configuration of the server is in the backup too, to be read by hand. It is never restored.
    type: bool
    default: false
  data_dir:
    description:
      - For O(restore_method=files), the folder that the server keeps its data in (its setting C(dir)). New files get its owner, and its mode as far as it fits.
      - If it holds data, that is renamed with O(force), with C(.before-) and the id of the backup after the names. It is never removed.
    type: path
  appendonly:
    description:
      - For O(restore_method=files), whether the server is configured with C(appendonly yes). Required there, since such a server does not load a snapshot.
      - For it an AOF is written that consists of the snapshot. Servers before Redis 7 have none that can be written. For them say V(false), start the
        server with C(appendonly no), and then set it to C(yes) by C(CONFIG SET).
    type: bool
  appenddirname:
    description: For O(restore_method=files), the server's setting of that name.
    type: str
    default: appendonlydir
  appendfilename:
    description: For O(restore_method=files), the server's setting of that name.
    type: str
    default: appendonly.aof
  dbfilename:
    description: For O(restore_method=files), the server's setting of that name.
    type: str
    default: dump.rdb
  force:
    description:
      - Whether O(state=restored) may replace a server's data, or rename the files in O(data_dir), if there are any.
      - Whether O(state=absent) may remove the newest good backup, the newest verified one, or one of the last good ones.
    type: bool
    default: false
  work_dir:
    description:
      - Folder on the host where the private folder of a throwaway server is made. It needs room for the data.
      - O(method=scan) notes there which keys it has read, in about 40 bytes for each.
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
  - Server-side settings that a restore changes for its time are C(repl-diskless-load), C(replica-read-only), and, where C(masterauth) is empty,
    C(masteruser) and C(masterauth). They are put back, also after an error. If the module is killed meanwhile, the next restore with the same O(work_dir)
    makes the server a master again and puts them back.
  - A server that Sentinel watches must be the current master to be restored into. Sentinel takes a master that says it is a replica for failed after
    C(down-after-milliseconds) and 20 seconds, so data that takes longer to send should be restored with Sentinel stopped.
  - A snapshot holds the data of all databases and functions.
  - Beside it lie the ACL users (C(acl.txt), as of C(ACL LIST), with hashes of passwords) if the user has C(+acl|list), and the configuration (C(config.txt),
    as of C(CONFIG GET *)) if the user has C(+config|get). Settings whose names end in C(pass), C(auth), C(password), C(secret) or C(token) are left out.
  - With C(repl-diskless-sync-delay) at its default a server waits 5 seconds before it sends.
seealso:
  - module: mainstay.ops.redis_snapshot_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.catalog
  - mainstay.ops.catalog.backup
  - mainstay.ops.catalog.retention
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

- name: Back up, copy to another region, and keep a week of days and a year of months
  mainstay.ops.redis_snapshot:
    name: ledger
    login_password: "{{ redis_password }}"
    tls: false
    max_age: 20h
    store:
      type: s3
      bucket: backups
      region: eu-central-1
    copies:
      - type: s3
        bucket: backups-elsewhere
        region: eu-north-1
    retention:
      keep_daily: 7
      keep_monthly: 12
    encryption:
      recipients:
        - "{{ backup_public_key }}"

- name: Show what retention would remove (with --check --diff), or remove it
  mainstay.ops.redis_snapshot:
    name: ledger
    state: pruned
    store:
      type: local
      path: /var/backups/mainstay
    retention:
      keep_within: 7d
      keep_weekly: 8

- name: Remove one backup that is no longer wanted
  mainstay.ops.redis_snapshot:
    name: ledger
    state: absent
    backup_id: 20261122T174200Z-1a2b3c4d
    store:
      type: local
      path: /var/backups/mainstay

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
      recipients:
        - "{{ backup_public_key }}"
      identity_file: /root/backup.key

- name: Back up a managed server that allows no replication
  mainstay.ops.redis_snapshot:
    name: sessions
    method: scan
    login_host: sessions.example.com
    login_user: backup
    login_password: "{{ sessions_password }}"
    store:
      type: s3
      bucket: backups
    encryption:
      recipients:
        - "{{ backup_public_key }}"

- name: Bring the data back to a new host, before Redis is started there
  mainstay.ops.redis_snapshot:
    name: ledger
    state: restored
    restore_method: files
    data_dir: /var/lib/redis
    appendonly: true
    store:
      type: s3
      bucket: backups
    encryption:
      identity: "{{ backup_private_key }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["take a snapshot of Redis 7.0.15 at 127.0.0.1:6379 (replica) by psync", publish the backup]
backup:
  description: The backup that exists, was taken, verified, restored, copied or removed. Empty if there is none (yet), and for O(state=pruned).
  type: dict
  returned: success
  contains:
    id:
      description: Time of its start in UTC, and random digits. Ids sort by time.
      type: str
      returned: always
      sample: 20261122T174200Z-1a2b3c4d
    kind:
      description: Always V(redis).
      type: str
      returned: always
    method:
      description: How it was read, V(psync), V(bgsave) or V(scan).
      type: str
      returned: always
    name:
      description: Name of the catalogue.
      type: str
      returned: always
    location:
      description: Where its objects are.
      type: str
      returned: always
    good:
      description: Whether its manifest can be read and its newest verification, if there is any, did not fail.
      type: bool
      returned: always
    problem:
      description: Why its manifest cannot be read; empty if it can.
      type: str
      returned: always
    started:
      description: When the run began.
      type: str
      returned: always
    finished:
      description: When the last object was stored.
      type: str
      returned: always
    recoverable_from:
      description: The moment whose data it holds, which is when the server forked. For V(scan), its begin. What was written before that is in it.
      type: str
      returned: always
    recoverable_to:
      description: The same moment. For V(scan), its end. What was written after that is not in it.
      type: str
      returned: always
    bytes_stored:
      description: Bytes of its objects in the store.
      type: int
      returned: always
    bytes_plain:
      description: Bytes of the snapshot before compression.
      type: int
      returned: always
    parents:
      description: Ids of the backups of the catalogue that it is based on; always none.
      type: list
      elements: str
      returned: always
    source:
      description:
        - The server it comes from (host, address, product, version, mode, role, run_id, replication_id, replication_offset, used_memory).
        - The RDB magic, and whether the snapshot ends with a checksum (has_checksum).
        - For V(psync) the framing of the stream, and whether the server sent no commands after it (rdb_only).
      type: dict
      returned: always
    contents:
      description:
        - Keys per database, as the lower and the higher of the counts before and after the server forked.
        - Whether nothing was written, expired or evicted between the two, or the keys were counted (keys_exact), so that any other number in the backup is an
          error.
        - Whether it is of one instant (consistency), V(instant) or V(fuzzy), the latter for O(method=scan).
        - The digest of the data, if O(digest) was set and it could be made; otherwise empty.
        - Whether the backup holds the ACL users (acl_users) and the configuration (configuration).
        - Older backups have only the first two.
      type: dict
      returned: always
      sample:
        keys: {"db0": {"min": 1204, "max": 1204}}
        keys_exact: true
        consistency: instant
        digest: ""
        acl_users: true
        configuration: true
    objects:
      description: Its objects, each with name, bytes, sha256 and plain_bytes.
      type: list
      elements: dict
      returned: always
    compression:
      description: How it is compressed.
      type: dict
      returned: always
    encryption:
      description: How it is encrypted, with the recipients' public keys.
      type: dict
      returned: always
    tools:
      description: Versions of the programs that made it.
      type: dict
      returned: always
    labels:
      description: The words given in O(labels).
      type: dict
      returned: always
    warnings:
      description: What whoever restores it should know.
      type: list
      elements: str
      returned: always
    verified:
      description: Whether it was restored for trial with success, and no verification failed after that.
      type: bool
      returned: always
    verified_at:
      description: When that was.
      type: str
      returned: always
    verifications:
      description: The results of all verifications, oldest first; see RV(verification).
      type: list
      elements: dict
      returned: always
bytes_stored:
  description: Bytes of the backup in the store.
  type: int
  returned: success
bytes_plain:
  description: Bytes of the backup before compression.
  type: int
  returned: success
recoverable_from:
  description: The earliest moment that the backup can bring back, in UTC.
  type: str
  returned: success
  sample: "2026-11-22T17:42:00Z"
recoverable_to:
  description: The latest moment that the backup can bring back, in UTC.
  type: str
  returned: success
  sample: "2026-11-22T17:42:00Z"
verification:
  description:
    - The result of the verification, for O(state=verified); empty otherwise, and in check mode where one would be made.
    - It is returned as well when the backup was found at fault.
  type: dict
  returned: success
  contains:
    at:
      description: When it ended.
      type: str
      returned: always
    level:
      description: See O(verify_level).
      type: str
      returned: always
    status:
      description: V(successful), or V(failed) if the backup is at fault.
      type: str
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    phases:
      description: Seconds of each phase.
      type: dict
      returned: always
    cause:
      description: Why it failed.
      type: str
      returned: always
    details:
      description:
        - For V(restore), the server that loaded it, the RDB magic, bytes, whether there is a checksum, the keys per database (C(keys)), whether these were
          compared exactly or with bounds (C(keys_compared)), and warnings.
        - C(types), the keys per type, without those whose time to live is over, and C(digest), that of all data loaded. The digest is compared with that of
          the source where the backup has one and both are of one version (C(digest_compared)). Digests of two verifications of a backup are equal.
        - C(acl_users) and C(settings), how many ACL users and settings the backup holds. The users were set in the throwaway server.
        - C(rto_seconds) are the seconds of the phases that a recovery goes through too, C(rpo_seconds) those from the moment whose data the backup holds
          to the start of the verification. C(rto_met) and C(rpo_met) compare them with O(rto_target) and O(rpo_target), and are none without a target.
      type: dict
      returned: always
restored:
  description:
    - The databases that the server has after O(state=restored); empty in check mode.
    - For O(restore_method=files), those that the backup has, with the higher count where it has bounds.
  type: list
  elements: dict
  returned: success
  contains:
    database:
      description: Name of the database, such as V(db0).
      type: str
      returned: always
    keys_count:
      description: How many keys it has.
      type: int
      returned: always
compared:
  description:
    - For O(state=restored) with O(restore_method=replicate), what was found to be the same in the server as in the backup, beside the keys per database.
    - Empty otherwise, and in check mode.
  type: dict
  returned: success
  contains:
    types:
      description: Keys per type; empty if they were not compared.
      type: dict
      returned: when restored by replication
      sample: {"string": 1203, "hash": 1}
    digest:
      description: The digest of all data; empty if it was not compared.
      type: str
      returned: when restored by replication
snapshot_before:
  description:
    - The backup of what O(state=restored) has replaced, as RV(backup). Empty if there was none, and in check mode.
    - RV(phases) has its seconds under the same name.
  type: dict
  returned: success
files_kept:
  description: Paths of the old files that O(restore_method=files) has renamed; empty in check mode.
  type: list
  elements: str
  returned: success
users:
  description: Names of the ACL users that O(restore_users) has set; empty in check mode.
  type: list
  elements: str
  returned: success
expected_seconds:
  description:
    - For O(state=restored), how long the restore should take, also in check mode, going by the newest verification that restored this backup,
      or else another one of the catalogue, and by the bytes. None if there was none.
  type: float
  returned: success
kept:
  description: The backups of O(store) that stay, each with the rules that keep it. Empty where O(retention) did not work.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its id.
      type: str
      returned: always
    reasons:
      description: The rules that keep it, such as V(keep_daily 2026-11-22) or V(the newest verified one).
      type: list
      elements: str
      returned: always
pruned:
  description: Ids of the backups that were removed from O(store) or O(copies), or would be in check mode.
  type: list
  elements: str
  returned: success
phases:
  description:
    - Seconds of each phase (plan, wait, stream, publish; list, checksum, content, fetch, load, check, survey; snapshot_before, replicate and in it compare,
      persist, replicas; swap; copy, prune, remove).
  type: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: The backups (with the rule that keeps each where O(retention) works), the verifications or the keys, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._redis import states
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import redis_argument_spec


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **spec.store_argument_spec(),
        **spec.backup_argument_spec(),
        **redis_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "verified", "restored", "copied", "pruned", "absent"]},
        "method": {"type": "str", "default": "auto", "choices": ["auto", "psync", "bgsave", "scan"]},
        "digest": {"type": "bool", "default": False},
        "prefer_replica": {"type": "bool", "default": True},
        "max_replica_lag": {"type": "int", "default": 30},
        "restore_method": {"type": "str", "default": "replicate", "choices": ["replicate", "files"]},
        "snapshot_before": {"type": "bool", "default": True},
        "restore_users": {"type": "bool", "default": False},
        "data_dir": {"type": "path"},
        "appendonly": {"type": "bool"},
        "appenddirname": {"type": "str", "default": "appendonlydir"},
        "appendfilename": {"type": "str", "default": "appendonly.aof"},
        "dbfilename": {"type": "str", "default": "dump.rdb"},
        "force": {"type": "bool", "default": False},
        "work_dir": {"type": "path", "default": "/var/tmp"},
        "idle_timeout": {"type": "int", "default": 60},
        "wait_timeout": {"type": "int", "default": 3600},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(f"reach the state {module.params['state']} of the snapshots {module.params['name']}"):
            result, warnings = states.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
