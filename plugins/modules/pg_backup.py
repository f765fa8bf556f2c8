#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup
short_description: Back up PostgreSQL, prove the backup by a restore, and restore it
version_added: "0.1.0"
description:
  - Takes backups of the databases and roles of a PostgreSQL server, streamed through compression and encryption into a folder or a bucket,
    without any local copy.
  - A backup exists once its manifest is published, which is the last thing that happens. Whatever fails before leaves nothing that looks like a backup.
  - Verifies a backup, up to a real restore into a throwaway server, and stores the result beside it.
  - Restores databases into new ones that take their places by renames in one transaction, so that a failure leaves the old databases as they were.
  - A stored dump opens by hand too, with C(age -d -i KEY FILE | zstd -d | pg_restore -l).
options:
  state:
    description:
      - V(present) means that a good backup not older than O(max_age) exists that holds all of O(databases). One is taken only if there is none.
      - V(verified) means that the backup O(backup_id) was verified at O(verify_level), or at a stronger one, not longer than O(max_age) ago,
        with all of O(verify_queries).
      - V(restored) puts the databases of the backup O(backup_id) in place on the server, or the whole cluster for O(method=physical).
      - V(copied) means that all of O(copies) hold the backup O(backup_id). For O(method=physical) each of them is a repository of its own, to which
        the server sends its log as well; it must hold a good backup that is no older, and a new one is taken into it otherwise.
      - V(pruned) means that no backup is there that O(retention) does not keep.
      - V(absent) means that there is no backup O(backup_id), in O(store) or in O(copies).
    type: str
    default: present
    choices: [present, verified, restored, copied, pruned, absent]
  method:
    description:
      - V(logical) uses C(pg_dump), in the custom format, and C(pg_dumpall --globals-only).
      - The programs must be of the server's major version or newer. The lowest such version that is installed is used.
      - V(physical) uses pgBackRest, which backs up the whole cluster with its write-ahead log and can bring back any moment since the oldest backup
        (see O(target)). Its repository lies in O(store) under C(pgbackrest/NAME). The server must send its log there.
    type: str
    default: logical
    choices: [logical, physical]
  backup_type:
    description:
      - For O(method=physical), what a new backup is based on. V(full) stands for itself, V(differential) needs the newest full one,
        V(incremental) the newest of any type.
      - For O(state=present), a backup of a stronger type counts as well.
    type: str
    default: full
    choices: [full, differential, incremental]
  data_dir:
    description: Data directory of the cluster, for O(method=physical). Required for O(state=restored), the default is that of the running server otherwise.
    type: path
  peers:
    description:
      - For O(method=physical), the other members of a replicating cluster, reached through pgBackRest's TLS server.
      - With them a backup can be taken on a standby, which reads nearly everything there and only needs the primary to begin and to end it.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Address of the member.
        type: str
        required: true
      port:
        description: Port of its pgBackRest server.
        type: int
        default: 8432
      data_dir:
        description: Its data directory. The default is O(data_dir).
        type: path
      postgres_port:
        description: Port of its PostgreSQL.
        type: int
        default: 5432
      socket_path:
        description: Folder of its PostgreSQL socket.
        type: path
        default: /var/run/postgresql
      ca_file:
        description: Authority of the certificates.
        type: path
        required: true
      cert_file:
        description: This host's certificate.
        type: path
        required: true
      key_file:
        description: Its private key.
        type: path
        required: true
  target:
    description:
      - For O(state=restored) and O(method=physical), the moment that is brought back.
      - A target that the repository cannot bring back is refused before anything is touched. It never falls back to another one.
    type: dict
    suboptions:
      type:
        description:
          - V(latest) is the end of the log that was archived, V(immediate) the end of the backup.
          - V(time), V(lsn), V(xid) and V(name) are what O(target.value) says. A name is that of a restore point.
        type: str
        default: latest
        choices: [latest, immediate, time, lsn, xid, name]
      value:
        description: The target. A time is in ISO 8601 with its zone, such as V(2026-11-22T17:42:00Z).
        type: str
      inclusive:
        description: Whether the target itself still comes back.
        type: bool
        default: true
      timeline:
        description: Timeline to follow, V(latest), V(current) (that of the backup) or a number.
        type: str
        default: latest
      action:
        description:
          - What the server does there. V(promote) opens it for writing, V(pause) lets it wait for queries that look, V(shutdown) stops it.
          - For V(promote) the module carries the recovery out itself, by a private socket, proves where it ended, and leaves the server stopped for its
            manager to start. Otherwise it leaves the recovery to the next start.
        type: str
        default: promote
        choices: [promote, pause, shutdown]
  delta:
    description: For O(state=restored) and O(method=physical), keep the files of O(data_dir) that are already right, which is much faster.
    type: bool
    default: true
  repository_passphrase:
    description:
      - For O(method=physical), what pgBackRest encrypts its repository with (AES-256 in CBC mode). It is one key for writing and reading.
      - Required unless O(encryption.type=none). It cannot be changed later.
    type: str
  pgbackrest_options:
    description:
      - Further options of pgBackRest as in its configuration file, such as V(process-max), V(repo1-bundle) or V(compress-level).
      - A restored cluster archives its new timeline into the same repository. For a clone of a cluster that goes on elsewhere, V(archive-mode=off) keeps it
        from doing so.
    type: dict
    default: {}
  databases:
    description:
      - Names of the databases.
      - For O(state=present) the default is all that allow connections, without templates, and without C(postgres) if that is empty.
      - For O(state=restored) the default is all that the backup holds.
    type: list
    elements: str
    default: []
  exclude_databases:
    description: Names of databases that are not backed up.
    type: list
    elements: str
    default: []
  include_globals:
    description:
      - Whether roles are backed up, with their passwords if O(login_user) may read them, and restored.
      - A restore makes the roles that do not exist. One that exists keeps its rights and its password. Tablespaces are not made. Where one is missing,
        what was in it goes to the default one, with a warning.
    type: bool
    default: true
  jobs:
    description:
      - How many databases are dumped at once, or how many processes pgBackRest uses.
      - Each dump has a connection, a snapshot and a pipe of programs of its own. The first that fails stops the others.
    type: int
    default: 1
  restore_jobs:
    description:
      - How many processes restore a database.
      - With more than one the opened dump lies in a private folder in O(work_dir) while it is restored, since C(pg_restore) must be able to seek in it.
        Whether there is room is checked before, and its hash before it is used. With one the dump is streamed.
      - It counts for O(state=restored) and for O(verify_level=restore).
    type: int
    default: 1
  force:
    description: For O(state=absent), remove the backup although it is the newest good one, the newest verified one or one of the last good ones.
    type: bool
    default: false
  target_database:
    description: For O(state=restored), the name under which the database is restored. Only for a single database.
    type: str
  on_existing:
    description:
      - For O(state=restored), what happens to a database that is there already.
      - A database without any relation, function or large object of a user counts as if it were not there, and is replaced.
      - V(fail) refuses before anything is touched.
      - V(rename) keeps the old database as C(DATABASE__before_ID).
      - V(replace) drops the old database once the restored one is in place.
      - For O(method=physical) the same holds of O(data_dir), unless it is empty. V(rename) keeps it as C(DATA_DIR__before_ID), which needs room for both.
        V(replace) with O(delta) restores in place, without it the old folder goes once the restored cluster has come up.
        V(replace) refuses the files of another cluster. Segments of the log in C(pg_wal) that were not archived are copied to C(DATA_DIR__pg_wal_before_ID)
        first.
    type: str
    default: fail
    choices: [fail, rename, replace]
  verify_queries:
    description: For O(verify_level=restore), queries that are put to the restored databases.
    type: list
    elements: dict
    default: []
    suboptions:
      database:
        description: Database of the backup in which the query runs.
        type: str
        required: true
      query:
        description: The query.
        type: str
        required: true
      expect:
        description:
          - What the first column of the first row must be, as text.
          - V(true) and V(false) stand for truth values, an empty text for NULL and for no row.
        type: str
        required: true
  pg_bin_dir:
    description: Folder of PostgreSQL's programs. By default the usual folders of Debian's and the PostgreSQL project's packages are searched, then the PATH.
    type: path
  work_dir:
    description:
      - Folder for the throwaway server of O(verify_level=restore), and for O(restore_jobs). It needs room for the databases in full.
      - The task fails before anything is begun if there is certainly too little.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.postgres
  - mainstay.ops.catalog
  - mainstay.ops.catalog.backup
  - mainstay.ops.catalog.retention
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
notes:
  - Run it on the database host as its user C(postgres) (by C(become)), or anywhere from where the server can be reached.
  - PostgreSQL does not run as root. When the module does, the throwaway server of a verification runs as the user C(postgres).
  - With O(method=physical) pgBackRest runs as the owner of O(data_dir) when the module runs as root. The log must reach the repository by
    C(archive_command), which is C(pgbackrest --stanza=NAME archive-push %p) with the configuration that P(mainstay.ops.pgbackrest_conf#filter) gives.
    O(verify_level=checksum) lets pgBackRest read every file of the repository and open it, V(content) also restores the files, V(restore) also runs
    a server on them.
  - What C(pg_restore) would run as C(psql) commands never gets near C(psql). Roles are restored statement by statement over the protocol.
  - A login that is no superuser needs the role C(pg_read_all_data), which may read the roles' passwords as well, C(BYPASSRLS) for tables with row-level
    security, and C(SELECT) on each large object. What it may not read fails the dump. What C(pg_dump) leaves out without a word (subscriptions, the options
    of user mappings, on a standby the rows of unlogged tables) becomes a warning in the manifest.
  - A standby is as good a source as the primary. If its replay cancels the dump, raise C(max_standby_streaming_delay) there.
  - The throwaway server loads those of the source's C(shared_preload_libraries) that extensions of the backed-up databases come from. Background workers
    do not run in it, so that no scheduled job of the restored database is carried out.
  - A warning says when C(pg_dump) or the server is older than the fixes of CVE-2024-7348, CVE-2025-8714 or CVE-2026-18408.
seealso:
  - module: mainstay.ops.pg_backup_info
  - plugin: mainstay.ops.pgbackrest_conf
    plugin_type: filter
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Have a backup that is younger than a day
  mainstay.ops.pg_backup:
    name: ledger
    databases: [ledger]
    max_age: 23h
    store:
      type: s3
      bucket: backups
      prefix: production
      region: eu-central-1
    encryption:
      recipients:
        - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
        - age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw
  become: true
  become_user: postgres

- name: Prove that the newest backup can be restored
  mainstay.ops.pg_backup:
    state: verified
    name: ledger
    store:
      type: local
      path: /srv/backups
    encryption:
      identity: "{{ lookup('ansible.builtin.file', '~/backup.key') }}"
    verify_queries:
      - database: ledger
        query: SELECT count(*) > 0 FROM entries
        expect: "true"

- name: Restore the newest backup that was verified, and keep the old database aside
  mainstay.ops.pg_backup:
    state: restored
    name: ledger
    backup_id: latest_verified
    on_existing: rename
    login_host: db1.example.com
    login_password: "{{ postgres_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/certs/internal-ca.pem
    store:
      type: local
      path: /srv/backups
    encryption:
      identity_file: /root/backup.key

- name: Have a physical backup, a full one or what was based on it, that is younger than a day
  mainstay.ops.pg_backup:
    name: ledger
    method: physical
    backup_type: incremental
    max_age: 23h
    jobs: 2
    repository_passphrase: "{{ backup_passphrase }}"
    store:
      type: s3
      bucket: backups
      region: eu-central-1
    retention:
      keep_daily: 7
      keep_weekly: 4
  become: true
  become_user: postgres

- name: Bring the whole cluster back to the moment before the mistake, in place
  mainstay.ops.pg_backup:
    state: restored
    name: ledger
    method: physical
    data_dir: /var/lib/postgresql/17/main
    on_existing: replace
    repository_passphrase: "{{ backup_passphrase }}"
    target:
      type: time
      value: "2026-11-22T17:42:00Z"
    store:
      type: s3
      bucket: backups
      region: eu-central-1
  become: true
  become_user: postgres
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: [dump the roles, dump the database ledger, publish the backup]
backup:
  description: The backup that exists, was taken, verified or restored. Empty if there is none yet, in check mode.
  type: dict
  returned: success
  contains:
    id:
      description: Time of its start in UTC, and random digits. Ids sort by time.
      type: str
      returned: always
      sample: 20261122T174200Z-1a2b3c4d
    kind:
      description: Always V(postgres).
      type: str
      returned: always
    method:
      description: How it was taken.
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
      description: The earliest moment that it can bring back.
      type: str
      returned: always
    recoverable_to:
      description: The latest moment that it can bring back. For V(logical) it is the moment of the oldest snapshot that was dumped.
      type: str
      returned: always
    bytes_stored:
      description: Bytes of its objects in the store.
      type: int
      returned: always
    bytes_plain:
      description: Bytes of the dumps before compression.
      type: int
      returned: always
    parents:
      description: Ids of the backups of the catalogue that it is based on; always none.
      type: list
      elements: str
      returned: always
    source:
      description: The server it comes from (host, server_version, server_version_num, role, system_identifier, timeline, lsn).
      type: dict
      returned: always
    contents:
      description:
        - The object with the roles (C(globals)) and the databases, each with its owner, encoding, collation, size_bytes, tables, estimated_rows,
          exact rows of its smaller tables (row_counts), extensions, roles, settings and grants.
      type: dict
      returned: always
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
    - The result of the verification, for O(state=verified); empty otherwise and in check mode.
    - It is returned as well when the backup was found at fault.
  type: dict
  returned: always
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
      description:
        - V(successful), or V(failed) if the backup is at fault.
        - A verification that could not be tried, for want of a key, a program or room, fails the task and is not recorded.
      type: str
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    phases:
      description:
        - Seconds of each phase.
        - For V(restore) of a logical backup these are V(list), V(prepare) (the throwaway server is made), V(globals) (the roles),
          V(fetch) (dumps are opened into O(work_dir), for O(restore_jobs) above 1), V(restore), V(check) (comparison with the manifest,
          C(pg_amcheck), O(verify_queries)), V(analyze) and V(remove).
      type: dict
      returned: always
    cause:
      description: Why it failed.
      type: str
      returned: always
    details:
      description:
        - For V(restore), the server's version, the databases with tables and rows counted, whether C(pg_amcheck) ran (C(amcheck)),
          the answers to O(verify_queries), and C(warnings).
        - C(rto_seconds) are the seconds of the phases that a recovery goes through too (not list, prepare and remove), C(rpo_seconds) those from the moment
          whose data the backup holds to the start of the verification. C(rto_met) and C(rpo_met) compare them with O(rto_target) and O(rpo_target),
          and are none without a target. A target that is missed is a warning. The backup is as good as before.
      type: dict
      returned: always
restored:
  description: What was restored.
  type: list
  elements: dict
  returned: success
  contains:
    data_dir:
      description: The folder that the cluster was restored into.
      type: str
      returned: when O(method=physical)
    backup_id:
      description: The backup that the recovery began from, chosen by O(target).
      type: str
      returned: when O(method=physical)
    label:
      description: pgBackRest's name of it.
      type: str
      returned: when O(method=physical)
    target:
      description: The target that was asked for (C(type), C(value), C(inclusive)).
      type: dict
      returned: when O(method=physical)
    target_reached:
      description:
        - Whether the recovery ended at the target, by the server's own words. Where the log ended before it, the task fails and returns V(false).
        - None where O(target.action) leaves the recovery to the next start.
      type: bool
      returned: when O(method=physical)
    stopped_by:
      description: The server's own words for why the recovery ended; empty at the end of the log.
      type: str
      returned: when O(method=physical)
      sample: before commit of transaction 741, time 2026-11-22 21:57:08.822297+00
    landed_at:
      description: Time of the last commit that came back, in UTC to the microsecond; the end of the backup if none came after it.
      type: str
      returned: when O(method=physical)
      sample: "2026-11-22T21:57:07.709403Z"
    landed_lsn:
      description: Position in the log up to which it was replayed.
      type: str
      returned: when O(method=physical)
    timeline:
      description: The timeline that the cluster is on now.
      type: int
      returned: when O(method=physical)
    pg_wal_saved:
      description: Folder with the segments of the old cluster's log that were not archived; empty if there were none, or if the old cluster was kept.
      type: str
      returned: when O(method=physical)
    database:
      description: Name under which it is in place.
      type: str
      returned: when O(method=logical)
    source_database:
      description: Its name in the backup.
      type: str
      returned: when O(method=logical)
    action:
      description: V(create), V(replace) or V(rename).
      type: str
      returned: always
    previous:
      description: Name under which the old database, or path under which the old data directory was kept; empty if none was.
      type: str
      returned: always
    tables:
      description: How many tables it has.
      type: int
      returned: when O(method=logical)
    rows_checked:
      description: How many rows were counted and compared with the manifest.
      type: int
      returned: when O(method=logical)
    seconds:
      description: How long it took, without the swap.
      type: float
      returned: always
expected_seconds:
  description:
    - For O(state=restored), how long the restore should take, also in check mode.
    - It goes by the newest verification that restored this backup, or else another one of the catalogue, and by the bytes. None if there was none,
      and only a guess where that was on another host.
  type: float
  returned: success
kept:
  description: The backups that stay, each with the rules that keep it. Empty without O(retention).
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
  description: Ids of the backups that were removed, or would be in check mode.
  type: list
  elements: str
  returned: success
phases:
  description: Seconds of each phase (dump_globals, dump, publish; list, checksum, content, prepare, globals, fetch, restore, check, analyze, remove; swap).
  type: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description:
    - The backups, the verifications or the databases, before and after.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import states
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import postgres_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.spec import pg_backup_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible


def argument_spec() -> dict[str, object]:
    """Return the module's options."""
    return {**postgres_argument_spec(), **spec.store_argument_spec(), **spec.backup_argument_spec(), **pg_backup_argument_spec()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(f"reach the state {module.params['state']} of the backups {module.params['name']}"):
            result, warnings = states.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
