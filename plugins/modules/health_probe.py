#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe many endpoints at once and say whether the whole is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_probe
short_description: Probe HTTP, TCP, TLS, PostgreSQL, Redis, Prometheus and DNS endpoints at once
version_added: "0.1.0"
description:
  - Runs many checks at the same time and says of each one, and of the whole, whether it is V(healthy), V(degraded) or V(unhealthy).
  - Checks can be tried again until they pass a number of times in a row, within a deadline that holds whatever hangs.
  - With O(samples) or O(duration) it is a gate for a release or a canary. Error rate and latency percentiles of each check are held against limits.
  - It only reads, and fails only if asked to by O(fail_on).
author:
  - Mainstay Operations (@mainstay)
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
requirements:
  - jmespath, where O(checks[].assertions) is used
  - psycopg2, where O(checks[].type=postgres) is used
  - cryptography, where O(checks[].type=tls) is used with O(checks[].validate_certs=false)
options:
  checks:
    description:
      - What to probe.
      - An option that means nothing to a check's type is an error.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - What the check is called in messages and results. Each name is used once.
          - Unset, it is the type and the target, for example V(tcp db1:5432).
        type: str
      type:
        description: What kind of endpoint it is.
        type: str
        required: true
        choices: [http, tcp, tls, postgres, redis, prometheus, dns]
      timeout:
        description: Seconds that one attempt may take in all, from name resolution to the end of the answer.
        type: float
        default: 5.0
      degraded_above:
        description: An attempt that takes more seconds than this is degraded.
        type: float
      unhealthy_above:
        description: An attempt that takes more seconds than this is unhealthy.
        type: float
      url:
        description:
          - C(http) and C(prometheus) only, and required for them. The URL to ask, without credentials.
          - For C(prometheus) it is the server's, to which C(/api/v1/query) is added.
          - Environment variables for proxies are ignored; a probe goes to the endpoint itself, or through O(checks[].proxy).
        type: str
      method:
        description: C(http) only. The request's method.
        type: str
        default: GET
      headers:
        description:
          - C(http) and C(prometheus) only. Headers of the request.
          - C(Authorization), C(Cookie) and C(Proxy-Authorization) are refused here, because module options are logged. Use O(checks[].secret_headers).
        type: dict
      secret_headers:
        description:
          - C(http) and C(prometheus) only. Headers whose contents are secrets, such as C(Authorization).
          - They are not sent to another host that a redirect leads to.
        type: dict
      body:
        description:
          - C(http) only. The request's body. A list or a dictionary is sent as JSON, with its content type.
          - It is logged like any option that is not a secret.
        type: raw
      status:
        description: C(http) only. The status codes that are right.
        type: list
        elements: int
        default: [200]
      body_regex:
        description: C(http) only. A Python regular expression that must be found in the body, of which the first MiB is read.
        type: str
      assertions:
        description:
          - C(http) and C(prometheus) only. JMESPath expressions on the JSON body, each of which must be V(true).
          - For C(prometheus) the body is the whole answer of the API, with the keys C(status) and C(data).
        type: list
        elements: str
      follow_redirects:
        description:
          - C(http) and C(prometheus) only. Whether to follow redirects, and judge the last answer instead of the first.
          - O(checks[].connect_to), O(checks[].server_hostname) and credentials are not taken along to another host.
        type: bool
        default: false
      max_redirects:
        description: C(http) and C(prometheus) only. How many redirects are followed at most, with O(checks[].follow_redirects).
        type: int
        default: 5
      bearer_token:
        description: C(http) and C(prometheus) only. A token that is sent as C(Authorization), with the scheme C(Bearer).
        type: str
      proxy:
        description:
          - C(http) and C(prometheus) only. An HTTP proxy to ask through, as V(http://host:port) or V(https://host:port), without credentials.
          - HTTPS endpoints, and those with O(checks[].connect_to), are asked through a tunnel (C(CONNECT)), so that TLS is verified as without a proxy.
          - The certificate of an V(https) proxy is verified by the same options as the endpoint's.
        type: str
      proxy_user:
        description: C(http) and C(prometheus) only. The user to log in to the proxy as, by Basic authentication.
        type: str
      proxy_password:
        description: C(http) and C(prometheus) only. This user's password.
        type: str
      no_proxy:
        description:
          - C(http) and C(prometheus) only. What is asked directly in spite of O(checks[].proxy), after redirects too.
          - Each is a host, a domain with all its hosts, an address, a network such as V(10.0.0.0/8), or V(*). All but networks may have a port.
          - They are compared with where the connection leads, which is O(checks[].connect_to) if that is given.
        type: list
        elements: str
      host:
        description:
          - C(tcp), C(tls) and C(dns) only, and required for them. The host to connect to.
          - For C(tls) it is also the name that its certificate must be valid for. For C(dns) it is the server that is asked.
        type: str
      port:
        description: C(tcp), C(tls) and C(dns) only, and required for C(tcp). The port to connect to; 443 for C(tls) and 53 for C(dns) if unset.
        type: int
      connect_to:
        description:
          - C(http), C(prometheus), C(tls), C(postgres) and C(redis) only. Connect to this V(host), V(host:port) or V([address]:port) instead of the endpoint's
            own, and leave the C(Host) header, SNI and the name to verify as they are.
          - It is how one host behind a load balancer, or a service before its DNS record points to it, is probed.
        type: str
      server_hostname:
        description: C(http), C(prometheus), C(tls) and C(redis) only. The name for SNI and verification, if it is not the endpoint's host.
        type: str
      ca_cert:
        description: C(http), C(prometheus), C(tls), C(postgres) and C(redis) only. A PEM file with the CAs to trust, instead of the system's.
        type: path
        aliases: [ca_certs]
      client_cert:
        description: C(http), C(prometheus), C(tls), C(postgres) and C(redis) only. A PEM file with the client's certificate.
        type: path
      client_key:
        description: C(http), C(prometheus), C(tls), C(postgres) and C(redis) only. A PEM file with the client's key, without a passphrase.
        type: path
      validate_certs:
        description: C(http), C(prometheus), C(tls) and C(redis) only. Whether the certificate's chain and name are verified.
        type: bool
        default: true
      degraded_days_left:
        description: C(tls) only. A certificate with fewer days left than this is degraded.
        type: float
      unhealthy_days_left:
        description: C(tls) only. A certificate with fewer days left than this is unhealthy. One that has expired always is.
        type: float
      login_host:
        description: C(postgres) and C(redis) only. The server's host; V(localhost) if unset.
        type: str
      login_port:
        description: C(postgres) and C(redis) only. The server's port; 5432 for C(postgres) and 6379 for C(redis) if unset.
        type: int
      login_user:
        description:
          - C(http), C(prometheus), C(postgres) and C(redis) only. The user to log in as.
          - For C(http) and C(prometheus) it is sent by Basic authentication. For C(postgres) it is V(postgres) if unset.
        type: str
      login_password:
        description: C(http), C(prometheus), C(postgres) and C(redis) only. The user's password.
        type: str
      login_unix_socket:
        description:
          - C(postgres) and C(redis) only. The UNIX socket to connect to instead of a host.
          - For C(postgres) it is the folder that holds the socket.
        type: path
      login_db:
        description: C(postgres) only. The database to connect to; V(postgres) if unset.
        type: str
      ssl_mode:
        description: C(postgres) only. How TLS is used, as libpq's C(sslmode) says; V(prefer) if unset.
        type: str
        choices: [allow, disable, prefer, require, verify-ca, verify-full]
      tls:
        description: C(redis) only. Whether to connect over TLS.
        type: bool
        default: false
      role:
        description:
          - C(postgres) and C(redis) only. The part in replication that the server must have.
          - V(master) is the same as V(primary), and V(slave) as V(replica).
          - V(sentinel), for C(redis) only, is a Sentinel.
        type: str
        choices: [primary, replica, master, slave, sentinel]
      max_lag:
        description:
          - C(postgres) and C(redis) only. A replica that is more seconds behind than this, or does not know how far, is unhealthy.
            It is not judged on a primary.
          - The lag of a PostgreSQL standby that has replayed all it received, and still receives, is 0. Otherwise it is the age of the last transaction that
            it replayed, which just after a quiet time is more than the delay, so give O(retries).
          - A Redis replica's lag is the time since it last heard of its master, which on a quiet link is up to C(repl-ping-replica-period), 10 seconds by
            default. One whose link is down is unhealthy with this option, and degraded without it.
        type: float
      master_name:
        description:
          - C(redis) only, with O(checks[].role=sentinel). The name of a master that the Sentinel must watch and find up.
          - Enough Sentinels must be reachable to agree to a failover and to carry it out, as C(SENTINEL CKQUORUM) says.
        type: str
      query:
        description:
          - C(postgres) and C(prometheus) only, and required for C(prometheus).
          - For C(postgres) it is SQL that must succeed, in a read-only transaction.
          - For C(prometheus) it is PromQL that returns an instant vector or a scalar. Each of its values is held against the bounds.
        type: str
      expect:
        description:
          - C(postgres) only. What the first column of the first row that O(checks[].query) returns must be, as text.
          - Booleans are V(true) and V(false).
        type: str
      min_value:
        description: C(prometheus) only. The least that each value may be. NaN is within no bounds.
        type: float
      max_value:
        description: C(prometheus) only. The greatest that each value may be.
        type: float
      equals:
        description: C(prometheus) only. What each value must be.
        type: float
      on_empty:
        description: C(prometheus) only. What it means that the query returns no series, as with an alert that does not fire, or a metric that nobody exports.
        type: str
        choices: [unhealthy, degraded, healthy]
        default: unhealthy
      record:
        description: C(dns) only, and required for it. The name that the server is asked for; nothing is appended to it.
        type: str
      record_type:
        description: C(dns) only. The type of record that it is asked for.
        type: str
        choices: [A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT]
        default: A
      answers:
        description:
          - C(dns) only. The records that are right, each as a zone file has it, for example V(10 mail.example.com) for C(MX), and the bare text for C(TXT).
          - The case of names, a dot at their end and the spelling of IPv6 addresses do not matter.
          - Unset, one record of the type must be there. An empty list, with O(checks[].answers_match=exact), means that there must be none.
        type: list
        elements: str
      answers_match:
        description: C(dns) only. Whether V(all) of O(checks[].answers) must be there, V(any) of them, or V(exact) these and no other.
        type: str
        choices: [all, any, exact]
        default: all
      rcode:
        description: C(dns) only. The response code that is right.
        type: str
        choices: [NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED]
        default: NOERROR
      min_ttl:
        description: C(dns) only. The fewest seconds that each record may live in a cache.
        type: int
      max_ttl:
        description: C(dns) only. The most seconds that each record may live in a cache, for example before an address is moved.
        type: int
  retries:
    description: How many more attempts a check has than the O(successes) that it needs.
    type: int
    default: 0
  delay:
    description: Seconds between the end of an attempt and the next one at the same check.
    type: float
    default: 1.0
  successes:
    description:
      - How many times in a row a check must pass.
      - A degraded attempt passes, unless O(fail_on=degraded).
    type: int
    default: 1
  deadline:
    description:
      - Seconds after which the module is done, whatever hangs. Checks that have not passed by then are unhealthy; samples taken until then are judged.
      - Unset, it is done when all checks have passed or used up their attempts.
    type: float
  min_healthy:
    description:
      - A quorum. The whole is not unhealthy while at least this many checks are healthy or degraded.
      - With the quorum met, the whole is healthy if all checks are, and degraded otherwise.
      - Unset, the whole is as healthy as its worst check.
    type: int
  concurrency:
    description:
      - How many attempts are made at the same time at most.
      - Endpoints that hang keep a place each until their O(checks[].timeout), so that with fewer places than of these the others wait.
      - At most 32 of them are in their first tenth of a second, so that attempts do not slow each other down.
    type: int
    default: 256
  fail_on:
    description:
      - Whether the task fails when the whole is unhealthy, or also when it is degraded. The message names the checks, and what was last seen of each.
      - An inconclusive gate fails unless this is V(never).
    type: str
    choices: [never, unhealthy, degraded]
    default: never
  samples:
    description:
      - Take this many samples of each check, one after the other, and hold their statistics against the limits.
      - Mutually exclusive with O(duration); O(retries), O(delay) and O(successes) are not used then.
    type: int
  duration:
    description: Take samples of each check for this many seconds. See O(samples).
    type: float
  interval:
    description: Seconds between the beginnings of two samples of a check.
    type: float
    default: 1.0
  max_error_rate:
    description:
      - The share of unhealthy samples, from 0 to 1, above which a check is unhealthy. Unset, it is 0 while sampling.
      - Above the same share of unhealthy and degraded samples together, it is degraded.
    type: float
  max_p50:
    description: The median of the seconds above which a check is unhealthy. Attempts without an answer are errors, and not part of any percentile.
    type: float
  max_p95:
    description: The 95th percentile of the seconds above which a check is unhealthy.
    type: float
  max_p99:
    description: The 99th percentile of the seconds above which a check is unhealthy.
    type: float
  min_samples:
    description: With fewer samples a check is inconclusive. Unset, it is O(samples), or 1 with O(duration).
    type: int
notes:
  - In check mode the checks are run as well, because they only read.
seealso:
  - module: ansible.builtin.uri
  - module: ansible.builtin.wait_for
"""

EXAMPLES = r"""
- name: Wait until both application hosts answer three times in a row
  mainstay.ops.health_probe:
    checks:
      - name: app1
        type: http
        url: https://shop.example.com/health/ready
        connect_to: 192.0.2.11:8443
        ca_cert: /etc/ssl/private-ca.crt
        assertions:
          - status == 'ok'
          - database.connected
        degraded_above: 0.5
        unhealthy_above: 2
      - name: app2
        type: http
        url: https://shop.example.com/health/ready
        connect_to: 192.0.2.12:8443
        ca_cert: /etc/ssl/private-ca.crt
    successes: 3
    retries: 30
    deadline: 60
    fail_on: unhealthy
  delegate_to: localhost

- name: See that the data tier is in order, with two of three database hosts
  mainstay.ops.health_probe:
    checks:
      - name: db1
        type: postgres
        login_host: db1
        login_user: monitor
        login_password: "{{ monitor_password }}"
        ssl_mode: verify-full
        ca_cert: /etc/ssl/private-ca.crt
        role: primary
        query: SELECT count(*) > 0 FROM orders
        expect: "true"
      - name: db2
        type: postgres
        login_host: db2
        login_user: monitor
        login_password: "{{ monitor_password }}"
        role: replica
        max_lag: 30
      - name: cache
        type: redis
        login_host: cache1
        login_password: "{{ cache_password }}"
        tls: true
        role: master
    min_healthy: 2
    fail_on: unhealthy

- name: Watch a canary for five minutes
  mainstay.ops.health_probe:
    checks:
      - name: canary
        type: http
        url: https://canary.example.com/
    duration: 300
    interval: 0.5
    min_samples: 400
    max_error_rate: 0.01
    max_p99: 0.8
    fail_on: unhealthy

- name: See that monitoring is quiet, and that the name points to the new site
  mainstay.ops.health_probe:
    checks:
      - name: no alert
        type: prometheus
        url: https://prometheus.example.com
        query: count(ALERTS{alertstate="firing", severity="critical"})
        max_value: 0
        on_empty: healthy
        bearer_token: "{{ prometheus_token }}"
        proxy: http://proxy.example.com:3128
        no_proxy: [10.0.0.0/8]
      - name: record
        type: dns
        host: ns1.example.com
        record: shop.example.com
        answers: [192.0.2.11, 192.0.2.12]
        answers_match: exact
        max_ttl: 60
      - name: sentinel
        type: redis
        login_host: cache1
        login_port: 26379
        role: sentinel
        master_name: shop
    fail_on: unhealthy

- name: Look at the certificate and the SSH port without failing
  mainstay.ops.health_probe:
    checks:
      - name: certificate
        type: tls
        host: www.example.com
        degraded_days_left: 20
        unhealthy_days_left: 7
      - name: ssh
        type: tcp
        host: www.example.com
        port: 22
  register: probe
"""

RETURN = r"""
status:
  description: How the whole is. V(inconclusive) is possible only while sampling, and means that there were too few samples to judge.
  type: str
  returned: when the checks were run
  sample: degraded
checks:
  description: What became of each check, in the order they were given.
  type: list
  elements: dict
  returned: when the checks were run
  contains:
    name:
      description: The check's name.
      type: str
      sample: app1
    type:
      description: The check's type.
      type: str
      sample: http
    status:
      description: V(healthy), V(degraded), V(unhealthy) or V(inconclusive).
      type: str
      sample: unhealthy
    seconds:
      description: How long the attempt took that is told of; null if there was none.
      type: float
      sample: 0.0123
    attempts:
      description: How many attempts were finished.
      type: int
      sample: 3
    detail:
      description: What was last seen, and why it is not healthy if it is not.
      type: str
      sample: "answered 503, expected 200; body starts with '{\"status\": \"starting\"}'"
    observed:
      description: The values that were seen in the attempt that is told of. All keys of the check's type are there; null if nothing was seen.
      type: dict
      contains:
        address:
          description: The address that was connected to.
          type: str
          sample: 192.0.2.11:8443
        url:
          description: C(http) only. The URL that answered, after redirects.
          type: str
          sample: https://shop.example.com/health/ready
        http_status:
          description: C(http) and C(prometheus) only. The answer's status code.
          type: int
          sample: 503
        location:
          description: C(http) only. Where a redirect leads to.
          type: str
          sample: https://shop.example.com/
        body_start:
          description: C(http) and C(prometheus) only. The first 200 characters of the body of an answer that was not right, with asterisks for secrets.
          type: str
          sample: '{"status": "starting"}'
        tls_version:
          description: C(tls) only. The protocol version that was negotiated.
          type: str
          sample: TLSv1.3
        subject:
          description: C(tls) only. Whom the certificate is for.
          type: str
          sample: CN=www.example.com
        issuer:
          description: C(tls) only. Who issued the certificate.
          type: str
          sample: CN=R11,O=Let's Encrypt,C=US
        not_before:
          description: C(tls) only. When the certificate becomes valid, in UTC.
          type: str
          sample: "2026-10-01T00:00:00Z"
        not_after:
          description: C(tls) only. When the certificate expires, in UTC.
          type: str
          sample: "2026-12-30T00:00:00Z"
        days_left:
          description: C(tls) only. The days until the certificate expires.
          type: float
          sample: 38.25
        lifetime_left:
          description: C(tls) only. The share of the certificate's lifetime that is left.
          type: float
          sample: 0.425
        server_version:
          description: C(postgres) and C(redis) only. The server's version.
          type: str
          sample: "17.6"
        role:
          description: C(postgres) and C(redis) only. V(primary), V(replica) or V(sentinel).
          type: str
          sample: replica
        lag_seconds:
          description: C(postgres) and C(redis) only. How far a replica is behind; null on a primary, or if not known.
          type: float
          sample: 0.4
        link_up:
          description: C(redis) only. Whether a replica's link to its master is up; null on a primary.
          type: bool
          sample: true
        master:
          description: C(redis) only. Where a Sentinel finds the master; null unless asked.
          type: str
          sample: 192.0.2.21:6379
        quorum_reached:
          description: C(redis) only. Whether enough Sentinels could fail it over; null unless asked.
          type: bool
          sample: true
        query_result:
          description: C(postgres) only. What the query returned first, as text.
          type: str
          sample: "true"
        series:
          description: C(prometheus) only. How many series the query returned.
          type: int
          sample: 3
        lowest:
          description: C(prometheus) only. The lowest finite value; null if there is none.
          type: float
          sample: 0.0
        highest:
          description: C(prometheus) only. The highest finite value; null if there is none.
          type: float
          sample: 1.0
        transport:
          description: C(dns) only. Over what the answer came, V(udp) or V(tcp).
          type: str
          sample: udp
        rcode:
          description: C(dns) only. The response code.
          type: str
          sample: NOERROR
        authoritative:
          description: C(dns) only. Whether the server answers for the zone itself.
          type: bool
          sample: true
        answers:
          description: C(dns) only. The records of the type that was asked for, sorted.
          type: list
          elements: str
          sample: [192.0.2.11, 192.0.2.12]
        ttl:
          description: C(dns) only. The fewest seconds that one of them may live in a cache.
          type: int
          sample: 60
    samples:
      description: The statistics of this check's attempts, as in RV(samples).
      type: dict
seconds:
  description: How long the checks took in all.
  type: float
  returned: when the checks were run
  sample: 3.214
ended:
  description: When the last answer was judged, in seconds since 1970; for a probe that waits, when what it waits for was seen.
  type: float
  returned: when the checks were run
  sample: 1795865727.244
counts:
  description: How many checks there are of each status, and in all.
  type: dict
  returned: when the checks were run
  contains:
    healthy:
      description: How many checks are healthy.
      type: int
      sample: 4
    degraded:
      description: How many checks are degraded.
      type: int
      sample: 1
    unhealthy:
      description: How many checks are unhealthy.
      type: int
      sample: 0
    inconclusive:
      description: How many checks had too few samples to judge.
      type: int
      sample: 0
    total:
      description: How many checks there are.
      type: int
      sample: 5
healthy:
  description: The same as RV(counts.healthy).
  type: int
  returned: when the checks were run
  sample: 4
degraded:
  description: The same as RV(counts.degraded).
  type: int
  returned: when the checks were run
  sample: 1
unhealthy:
  description: The same as RV(counts.unhealthy).
  type: int
  returned: when the checks were run
  sample: 0
inconclusive:
  description: The same as RV(counts.inconclusive).
  type: int
  returned: when the checks were run
  sample: 0
samples:
  description: Statistics over all attempts at all checks, whether sampling or not. Limits are held against each check's own.
  type: dict
  returned: when the checks were run
  contains:
    count:
      description: How many attempts were finished.
      type: int
      sample: 600
    errors:
      description: How many of them were unhealthy.
      type: int
      sample: 3
    error_rate:
      description: The share of them that were unhealthy.
      type: float
      sample: 0.005
    p50:
      description: The median of the seconds of those that got an answer; null if none did.
      type: float
      sample: 0.011
    p95:
      description: The 95th percentile.
      type: float
      sample: 0.034
    p99:
      description: The 99th percentile.
      type: float
      sample: 0.12
actions:
  description: Always empty; nothing is changed.
  type: list
  elements: str
  returned: always
  sample: []
"""

import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import SEVERITY, Outcome, Statistics, failure_text, gate_fails, overall
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import ARGUMENT_SPEC, plan_checks, plan_policy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.runner import run


def result_of(status: str, outcomes: list[Outcome], totals: Statistics, seconds: float) -> dict[str, t.Any]:
    """The module's return values."""
    counts = {name: sum(outcome.status == name for outcome in outcomes) for name in SEVERITY}
    return {
        "status": status,
        "checks": [dataclasses.asdict(outcome) for outcome in outcomes],
        "samples": dataclasses.asdict(totals),
        "seconds": round(seconds, 3),
        "ended": round(time.time(), 3),
        "counts": {**counts, "total": len(outcomes)},
        **counts,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, mutually_exclusive=[("samples", "duration")], supports_check_mode=True)
    try:
        checks = plan_checks(module.params["checks"])
        policy = plan_policy(module.params, len(checks))
        begun = time.monotonic()
        outcomes, totals = run(checks, policy)
        seconds = time.monotonic() - begun
        status = overall([outcome.status for outcome in outcomes], policy.min_healthy)
        result = result_of(status, outcomes, totals, seconds)
        if gate_fails(status, policy.fail_on):
            raise MainstayError(f"pass the health gate (fail_on={policy.fail_on})", failure_text(status, outcomes), **result)
    except MainstayError as error:
        module.fail_json(msg=str(error), changed=False, actions=[], **error.details)
    module.exit_json(changed=False, actions=[], **result)


if __name__ == "__main__":
    main()
