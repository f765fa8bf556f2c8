#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_advisor_info
short_description: Report what a PostgreSQL server suffers from, or soon will, and what to do about it
version_added: "1.0.0"
description:
  - Looks at a server and at each of its databases, measures what is found against thresholds, and recommends what to do, with SQL where that is safe to give.
    The SQL is never run.
  - Looks at statements, connections, locks, transactions, replication, slots, wraparound, checkpoints, the cache, temporary files, checksums, settings,
    the archive, indexes, bloat, autovacuum, sequences and primary keys.
  - Reads only, in sessions that can write nothing, that wait for no lock longer than a second, and for no answer longer than O(statement_timeout).
  - What cannot be judged is said in RV(not_judged) and is no failure, nor is a database that cannot be connected to.
    The module fails only if the server itself cannot be reached.
options:
  databases:
    description: Databases to look at. Empty means all but the templates.
    type: list
    elements: str
    default: []
  exclude_databases:
    description: Databases not to look at.
    type: list
    elements: str
    default: []
  checks:
    description: What to look at. Empty means everything.
    type: list
    elements: str
    default: []
    choices:
      - statements
      - connections
      - idle_in_transaction
      - locks
      - transactions
      - prepared_transactions
      - replication
      - slots
      - wraparound
      - checkpoints
      - cache
      - temp_files
      - checksums
      - settings
      - archiver
      - unused_indexes
      - duplicate_indexes
      - missing_indexes
      - foreign_keys
      - invalid_indexes
      - vacuum
      - sequences
      - primary_keys
      - bloat
  thresholds:
    description:
      - From where on something is a finding. What is not named keeps its default.
      - Where no source is named, the default is a convention of this collection.
    type: dict
    suboptions:
      statement_mean_seconds:
        description: Time of a statement, on average.
        type: float
        default: 1.0
      statement_share_percent:
        description: Share of a statement in the time of all.
        type: float
        default: 25.0
      statement_calls:
        description: Statements that were run less often are passed over.
        type: int
        default: 10
      connections_warning_percent:
        description: Share of the connections that is taken, without those that are reserved for superusers. The default is that of check_postgres.
        type: float
        default: 90.0
      connections_critical_percent:
        description: The same. The default is that of check_postgres.
        type: float
        default: 95.0
      idle_in_transaction_seconds:
        description: How long a session may do nothing in a transaction.
        type: float
        default: 300.0
      lock_warning_seconds:
        description: How long a session may wait for a lock.
        type: float
        default: 30.0
      lock_critical_seconds:
        description: The same.
        type: float
        default: 300.0
      transaction_warning_seconds:
        description: How long a transaction may work.
        type: float
        default: 1800.0
      transaction_critical_seconds:
        description: The same.
        type: float
        default: 21600.0
      prepared_warning_seconds:
        description: How long a transaction may stay prepared.
        type: float
        default: 300.0
      prepared_critical_seconds:
        description: The same.
        type: float
        default: 3600.0
      lag_warning_seconds:
        description: How far behind a standby may be. The default is that of the alert C(PostgresReplicationLag) of the role C(prometheus).
        type: float
        default: 60.0
      lag_critical_seconds:
        description: The same.
        type: float
        default: 600.0
      lag_bytes:
        description: How many bytes of the log a standby may lack, however old they are. The default is 16 segments of the log.
        type: int
        default: 268435456
      slot_warning_bytes:
        description: How much of the log a slot may keep. The default is that of C(max_wal_size), up to which the log grows without slots.
        type: int
        default: 1073741824
      slot_critical_bytes:
        description: The same.
        type: int
        default: 10737418240
      wraparound_late_factor:
        description: How many times C(autovacuum_freeze_max_age) a database may be old. At once it autovacuum begins to freeze even if it is switched off.
        type: float
        default: 1.5
      wraparound_critical_percent:
        description:
          - Share of the two thousand million transactions after which the server refuses writes.
          - The default is 1.4 thousand million, which is that of check_postgres.
        type: float
        default: 65.0
      checkpoints_requested_percent:
        description: Share of the checkpoints that did not begin by time. Less than ten of them are passed over.
        type: float
        default: 50.0
      temp_bytes_per_day:
        description: Bytes of temporary files of a database in a day.
        type: int
        default: 10737418240
      cache_hit_percent:
        description: Share of the pages that a database finds in C(shared_buffers).
        type: float
        default: 90.0
      cache_blocks:
        description: Databases that asked for less pages are passed over.
        type: int
        default: 100000
      unused_index_bytes:
        description: Unused indexes that are smaller are passed over.
        type: int
        default: 1048576
      unused_index_days:
        description: How long nobody used an index for it to be a warning; before that it is an information. The default covers what runs once a month.
        type: float
        default: 30.0
      scan_rows:
        description: How many rows a table's sequential scans read on average.
        type: int
        default: 10000
      scan_count:
        description: How many of them there were.
        type: int
        default: 100
      referencing_rows:
        description: Rows of a table from where on its foreign keys should have indexes.
        type: int
        default: 10000
      bloat_percent:
        description: Share of a table or index that is empty or dead. Less is what an estimate may be wrong by, or what a busy table needs.
        type: float
        default: 50.0
      bloat_warning_bytes:
        description: Bytes of it that are. The default is that of check_postgres.
        type: int
        default: 1073741824
      bloat_critical_bytes:
        description: The same. The default is that of check_postgres.
        type: int
        default: 5368709120
      vacuum_late_factor:
        description: How many times the dead or changed rows of a table may be what autovacuum waits for. At once it autovacuum should begin.
        type: float
        default: 2.0
      vacuum_rows:
        description: Less dead or changed rows are passed over.
        type: int
        default: 10000
      sequence_warning_percent:
        description: Share of a sequence's numbers that is used. The default is that of check_postgres.
        type: float
        default: 85.0
      sequence_critical_percent:
        description: The same. The default is that of check_postgres.
        type: float
        default: 95.0
  limit:
    description: How many findings of a check are returned for a database, the worst ones. The others are counted in RV(omitted).
    type: int
    default: 20
  min_age:
    description:
      - How old counters must be for what rests on them to be judged, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w).
      - That concerns O(checks=statements), O(checks=checkpoints), O(checks=cache), O(checks=temp_files), O(checks=unused_indexes) and
        O(checks=missing_indexes). For O(checks=statements) the age is known since PostgreSQL 14.
      - Counters begin anew when somebody resets them, after a crash, and on a standby with its first start.
    type: str
    default: 1d
  mask_statements:
    description:
      - Whether literals and comments are taken out of the statements that are shown, for they may hold secrets.
      - C(pg_stat_activity) has statements as they were sent. In C(pg_stat_statements) constants are replaced, but not in all kinds of statements.
    type: bool
    default: true
  bloat_method:
    description:
      - How empty space in tables is found.
      - V(estimate) reads statistics only, takes little time, and is right to some 10 to 20 per cent for tables of simple types.
      - V(pgstattuple) has the extension of that name look at the O(limit) largest tables of each database, which reads all of their pages that may have
        dead rows. Indexes are estimated all the same.
    type: str
    default: estimate
    choices: [estimate, pgstattuple]
  statement_timeout:
    description: Seconds after which the answer to one question is given up.
    type: int
    default: 30
  timeout:
    description: Seconds after which no further question is asked. What was not asked then is in RV(not_judged).
    type: int
    default: 300
  metrics_file:
    description:
      - File to write RV(metrics) to, for the textfile collector of the node exporter. It must end in C(.prom), and its folder must exist.
      - It is replaced in one step, on the host where the module runs. It is not written in check mode.
    type: path
  late_after:
    description: How old the report may become before Prometheus warns, as O(min_age). Without it nobody expects another one.
    type: str
attributes:
  check_mode:
    description: Can run in C(check_mode) and returns the same as without it.
    support: full
    details: Only O(metrics_file) is not written.
  diff_mode:
    description: The module only reads, so there is never a difference to show.
    support: N/A
notes:
  - The role C(pg_monitor) is enough for nearly everything. To estimate bloat and to read sequences the login needs C(pg_read_all_data), which there is
    since PostgreSQL 14, or C(SELECT) on the tables and sequences. What is missing is named in RV(not_judged).
  - Connect to the server itself, and not through a pooler that shares sessions.
  - Every member of a cluster counts by itself. An index that the primary does not use may be what a standby lives by, so ask all of them, as the playbook
    C(postgres_report) does.
  - Of a check and a database at most 1000 objects are read, the largest ones first (10000 sequences, 20000 indexes that are compared with each other).
  - Sizes of tables and indexes are those of their last C(VACUUM) or C(ANALYZE), so that no lock is waited for.
seealso:
  - module: mainstay.ops.pg_replication_info
  - name: check_postgres
    description: Where several of the thresholds are from.
    link: https://bucardo.org/check_postgres/
extends_documentation_fragment:
  - mainstay.ops.postgres
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Look at everything
  mainstay.ops.pg_advisor_info:
    login_host: data1.example.com
    login_user: monitoring
    login_password: "{{ monitoring_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/private-ca.crt
  register: report

- name: Show it
  ansible.builtin.debug:
    var: report.lines

- name: Stop a release while somebody waits for a lock, or the database is near its end
  mainstay.ops.pg_advisor_info:
    login_unix_socket: /run/postgresql
    databases: [ledger]
    checks: [locks, transactions, wraparound, sequences]
    thresholds:
      lock_warning_seconds: 5
  register: report
  failed_when: report.worst == 'critical'

- name: Leave figures for Prometheus
  mainstay.ops.pg_advisor_info:
    login_unix_socket: /run/postgresql
    metrics_file: /var/lib/prometheus/node-exporter/postgres-report.prom
    late_after: 26h
"""

RETURN = r"""
findings:
  description: What was found, the worst first.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: What kind of finding it is.
      type: str
      returned: always
      sample: unused_index
    check:
      description: The check that found it, one of O(checks).
      type: str
      returned: always
      sample: unused_indexes
    severity:
      description: V(critical), V(warning) or V(info).
      type: str
      returned: always
    database:
      description: The database that it is in. Empty for the whole server.
      type: str
      returned: always
    object:
      description: What it is about.
      type: str
      returned: always
      sample: public.entries_note
    problem:
      description: What is wrong, to be read after RV(findings[].object).
      type: str
      returned: always
      sample: holds 1.2 GB for public.entries and was not used on this primary for 912 h
    measured:
      description: What was measured.
      type: float
      returned: always
    unit:
      description: Its unit.
      type: str
      returned: always
      sample: bytes
    threshold:
      description: What it was compared with, in the same unit. None if there is nothing to compare with.
      type: float
      returned: always
    recommendation:
      description: What to do.
      type: str
      returned: always
    sql:
      description: A statement that does it, for somebody to read and run. Empty where none is safe to give.
      type: str
      returned: always
      sample: DROP INDEX CONCURRENTLY "public"."entries_note";
    details:
      description: Further figures, which depend on the kind. Their names end with the unit.
      type: dict
      returned: always
summary:
  description: How many findings there are, C(critical), C(warning) and C(info), with those that O(limit) left out.
  type: dict
  returned: success
  sample: {"critical": 0, "warning": 3, "info": 1}
worst:
  description: The worst severity of all. Empty if nothing was found.
  type: str
  returned: success
  sample: warning
omitted:
  description: How many findings O(limit) left out, by check.
  type: dict
  returned: success
  sample: {"unused_indexes": 12}
not_judged:
  description: What could not be judged, each with C(check), C(database) (empty for the whole server) and C(reason).
  type: list
  elements: dict
  returned: success
  sample: [{"check": "unused_indexes", "database": "ledger", "reason": "its counters are 3 min old, which is less than min_age"}]
lines:
  description: The findings as sentences, each with what to do below the first of its kind.
  type: list
  elements: str
  returned: success
  sample: ["warning   ledger: public.entries has 412,000 dead rows, beside 500,000 rows; the last vacuum was never"]
server:
  description: What was looked at.
  type: dict
  returned: success
  contains:
    version:
      description: Version of its PostgreSQL.
      type: str
      returned: always
    version_num:
      description: The same as a number.
      type: int
      returned: always
      sample: 170010
    role:
      description: V(primary) or V(standby).
      type: str
      returned: always
    uptime_seconds:
      description: How long it has run.
      type: float
      returned: always
    counters_seconds:
      description: Age of its counters.
      type: float
      returned: always
    sees_all:
      description: Whether the login may see other sessions.
      type: bool
      returned: always
databases:
  description: The databases, each with C(name), C(bytes) (None if the login may not know), C(counters_seconds), and why it was not looked at (C(refusal)).
  type: list
  elements: dict
  returned: success
metrics:
  description: The number of findings by check and severity in the text format of Prometheus.
  type: str
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.run import argument_spec, run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result, warnings = run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
