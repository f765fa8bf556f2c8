# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``health_probe``: their specification, and the plan that is made of them before anything is probed."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.dns_message import RCODES
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check, Policy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.runner import KINDS

#: Options that every kind of check has.
COMMON = frozenset({"name", "type", "timeout", "degraded_above", "unhealthy_above"})
#: Options that mean something only while sampling, and those that mean something only otherwise.
ONLY_SAMPLING = ("interval", "max_error_rate", "max_p50", "max_p95", "max_p99", "min_samples")
ONLY_TRYING = ("retries", "delay", "successes")

#: The least that a check's number may be.
LEAST = {
    "timeout": 0.001, "degraded_above": 0, "unhealthy_above": 0, "max_lag": 0, "degraded_days_left": 0, "unhealthy_days_left": 0, "max_redirects": 1,
    "min_ttl": 0, "max_ttl": 0,
}

CHECK_OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str"},
    "type": {"type": "str", "required": True, "choices": ["http", "tcp", "tls", "postgres", "redis", "prometheus", "dns"]},
    "timeout": {"type": "float", "default": 5.0},
    "degraded_above": {"type": "float"},
    "unhealthy_above": {"type": "float"},
    "url": {"type": "str"},
    "method": {"type": "str", "default": "GET"},
    "headers": {"type": "dict"},
    "secret_headers": {"type": "dict", "no_log": True},
    "body": {"type": "raw"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "body_regex": {"type": "str"},
    "assertions": {"type": "list", "elements": "str"},
    "follow_redirects": {"type": "bool", "default": False},
    "max_redirects": {"type": "int", "default": 5},
    "bearer_token": {"type": "str", "no_log": True},
    "proxy": {"type": "str"},
    "proxy_user": {"type": "str"},
    "proxy_password": {"type": "str", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str"},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "connect_to": {"type": "str"},
    "server_hostname": {"type": "str"},
    "ca_cert": {"type": "path", "aliases": ["ca_certs"]},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "validate_certs": {"type": "bool", "default": True},
    "degraded_days_left": {"type": "float"},
    "unhealthy_days_left": {"type": "float"},
    "login_host": {"type": "str"},
    "login_port": {"type": "int"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_unix_socket": {"type": "path"},
    "login_db": {"type": "str"},
    "ssl_mode": {"type": "str", "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"]},
    "tls": {"type": "bool", "default": False},
    "role": {"type": "str", "choices": ["primary", "replica", "master", "slave", "sentinel"]},
    "max_lag": {"type": "float"},
    "master_name": {"type": "str"},
    "query": {"type": "str"},
    "expect": {"type": "str"},
    "min_value": {"type": "float"},
    "max_value": {"type": "float"},
    "equals": {"type": "float"},
    "on_empty": {"type": "str", "choices": ["unhealthy", "degraded", "healthy"], "default": "unhealthy"},
    "record": {"type": "str"},
    "record_type": {"type": "str", "choices": ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"], "default": "A"},
    "answers": {"type": "list", "elements": "str"},
    "answers_match": {"type": "str", "choices": ["all", "any", "exact"], "default": "all"},
    "rcode": {"type": "str", "choices": list(RCODES), "default": "NOERROR"},
    "min_ttl": {"type": "int"},
    "max_ttl": {"type": "int"},
}

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "checks": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": CHECK_OPTIONS,
        "required_if": [
            ("type", "http", ["url"]),
            ("type", "tcp", ["host", "port"]),
            ("type", "tls", ["host"]),
            ("type", "prometheus", ["url", "query"]),
            ("type", "dns", ["host", "record"]),
        ],
    },
    "retries": {"type": "int", "default": 0},
    "delay": {"type": "float", "default": 1.0},
    "successes": {"type": "int", "default": 1},
    "deadline": {"type": "float"},
    "min_healthy": {"type": "int"},
    "concurrency": {"type": "int", "default": 256},
    "fail_on": {"type": "str", "choices": ["never", "unhealthy", "degraded"], "default": "never"},
    "samples": {"type": "int"},
    "duration": {"type": "float"},
    "interval": {"type": "float", "default": 1.0},
    "max_error_rate": {"type": "float"},
    "max_p50": {"type": "float"},
    "max_p95": {"type": "float"},
    "max_p99": {"type": "float"},
    "min_samples": {"type": "int"},
}


def plan_checks(entries: t.Sequence[dict[str, t.Any]]) -> list[Check]:
    """The checks that the options describe, each named.

    Raises:
        InvalidInput: an option is of no use, or belongs to another type of check; a library or a file is missing; two checks have one name.
    """
    if not entries:
        raise InvalidInput("probe", "checks is an empty list")
    checks = [_plan_check(number, entry) for number, entry in enumerate(entries, start=1)]
    twice = [name for name, count in collections.Counter(check.name for check in checks).items() if count > 1]
    if twice:
        raise InvalidInput("tell the checks apart", f"{len(twice)} names are used more than once, first {twice[0]!r}", "give each check a name of its own")
    return checks


def _plan_check(number: int, entry: dict[str, t.Any]) -> Check:
    called = f"check {entry['name'] or number} ({entry['type']})"
    kind = KINDS[entry["type"]]
    for option, value in entry.items():
        known = CHECK_OPTIONS.get(option)
        if known is not None and option not in kind.OPTIONS | COMMON and value != known.get("default"):
            raise InvalidInput(f"plan {called}", f"option {option} means nothing to this type of check", f"it takes {', '.join(sorted(kind.OPTIONS))}")
    try:
        for option in ("port", "login_port"):
            if entry[option] is not None and not 0 < entry[option] < 65536:
                raise InvalidInput(f"use {option} {entry[option]}", "it is not between 1 and 65535")
        _check_least(entry, LEAST)
        degraded, unhealthy = entry["degraded_above"], entry["unhealthy_above"]
        if degraded is not None and unhealthy is not None and degraded > unhealthy:
            raise InvalidInput("judge the latency", f"degraded_above {degraded:g} is above unhealthy_above {unhealthy:g}, so it would never be seen")
        target = kind.plan(entry)
    except InvalidInput as error:
        raise InvalidInput(f"plan {called}", error) from error
    name = entry["name"] or f"{entry['type']} {target}"
    return Check(name, entry["type"], target, entry["timeout"], degraded, unhealthy, kind.OBSERVED)


def plan_policy(options: dict[str, t.Any], checks: int) -> Policy:
    """How often to probe, and what is good enough.

    Args:
        options: the module's options.
        checks: how many checks there are.

    Raises:
        InvalidInput: a number is out of its range, or options contradict each other.
    """
    least = {"retries": 0, "delay": 0, "successes": 1, "deadline": 0.001, "min_healthy": 1, "concurrency": 1, "samples": 1, "duration": 0.001}
    _check_least(options, {**least, "interval": 0, "max_error_rate": 0, "max_p50": 0, "max_p95": 0, "max_p99": 0, "min_samples": 1})
    sampling = options["samples"] is not None or options["duration"] is not None
    for option in ONLY_TRYING if sampling else ONLY_SAMPLING:
        if options[option] != ARGUMENT_SPEC[option].get("default"):
            raise InvalidInput(f"use {option}", "it means nothing with samples or duration" if sampling else "it needs samples or duration")
    if (options["max_error_rate"] or 0) > 1:
        raise InvalidInput(f"use max_error_rate {options['max_error_rate']:g}", "it is above 1", "a rate of one per cent is 0.01")
    if options["min_healthy"] is not None and options["min_healthy"] > checks:
        raise InvalidInput(f"use min_healthy {options['min_healthy']}", f"there are only {checks} checks")
    if options["samples"] is not None and (options["min_samples"] or 0) > options["samples"]:
        raise InvalidInput(f"use min_samples {options['min_samples']}", f"only {options['samples']} samples are taken")
    given = {name: options[name] for name in ARGUMENT_SPEC if name != "checks" and options[name] is not None}
    return Policy(**{"min_samples": options["samples"] or 1, **given})


def _check_least(options: dict[str, t.Any], least: dict[str, float]) -> None:
    for option, minimum in least.items():
        value = options[option]
        if value is not None and not minimum <= value < float("inf"):
            raise InvalidInput(f"use {option} {value:g}", f"it must be at least {minimum:g}")
