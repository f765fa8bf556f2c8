# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: what is read from a host's files, the rules, and what is put together of them."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._reports import endpoints, host_journal, host_state
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis import Limits, judge_host, judge_http, judge_redis
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis_page import render
from ansible_collections.mainstay.ops.plugins.module_utils._reports.diagnosis_report import bundle, combine
from ansible_collections.mainstay.ops.plugins.module_utils._reports.redis_state import slow_commands
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import limits_of, masked

END = 1795651200.0
GB = 10**9
QUIET: dict[str, t.Any] = {
    "load": {"averages": [0.5, 0.5, 0.5], "cpus": 2},
    "memory": {"total": 8 * GB, "available": 4 * GB, "swap_total": 0, "swap_free": 0},
    "pressure": {},
    "filesystems": [{"mount": "/", "type": "ext4", "size": 100 * GB, "available": 60 * GB, "inodes": 1000, "inodes_free": 900, "read_only": False}],
    "processes": [{"pid": 7, "program": "postgres", "bytes": GB}],
    "failed_units": [],
    "clock_synchronised": True,
    "reboot_required": False,
    "journal": {},
    "traffic": {},
    "changes": [],
    "not_judged": [],
}


def disk(**more: t.Any) -> dict[str, t.Any]:
    """The facts of a host with one disk."""
    return {"filesystems": [{**QUIET["filesystems"][0], **more}]}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        (disk(available=14 * GB), [("warning", "/ is 86 % full")]),
        (disk(available=4 * GB), [("critical", "/ is 96 % full")]),
        (disk(inodes_free=0), [("critical", "/ is 100 % full")]),
        (disk(inodes=0, inodes_free=0), []),
        (disk(read_only=True), [("warning", "/ is read-only")]),
        ({"memory": {**QUIET["memory"], "available": GB // 2}}, [("warning", "94 % of the memory is used")]),
        ({"memory": {**QUIET["memory"], "available": GB // 10}}, [("critical", "99 % of the memory is used")]),
        ({"memory": {**QUIET["memory"], "total": 0}}, []),
        ({"pressure": {"memory": {"some": 90.0, "full": 41.0}}}, [("critical", "work waits for memory")]),
        ({"pressure": {"io": {"some": 90.0, "full": 11.0}}}, [("warning", "work waits for disks")]),
        ({"pressure": {"cpu": {"some": 39.0, "full": 0.0}}}, []),
        ({"pressure": {"cpu": {"some": 41.0, "full": 0.0}}}, [("warning", "work waits for a CPU")]),
        ({"load": {"averages": [1.0, 4.0, 1.0], "cpus": 2}}, [("warning", "the load is 4")]),
        ({"load": {"averages": [1.0, 10.0, 1.0], "cpus": 2}}, [("critical", "the load is 10")]),
        ({"failed_units": ["shop.service"]}, [("warning", "the unit shop.service failed")]),
        ({"clock_synchronised": False}, [("warning", "the clock is not synchronised")]),
        ({"clock_synchronised": None}, []),
        ({"reboot_required": True}, [("info", "an update waits for a reboot")]),
        ({"journal": {"out_of_memory": 1, "groups": []}}, [("critical", "the kernel killed processes for lack of memory")]),
        ({"journal": {"groups": [{"unit": "a", "count": 9, "message": "m"}]}}, [("info", "a logged 9 errors of a kind")]),
        ({"journal": {"groups": [{"unit": "a", "count": 10, "message": "m"}]}}, [("warning", "a logged 10 errors of a kind")]),
    ],
)
def test_hosts(facts: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    assert [(found.severity, found.problem) for found in judge_host("a", {**QUIET, **facts}, Limits())] == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, []),
        ({"requests": 19, "errors": 19, "error_ratio": 1.0}, []),
        ({"errors": 1, "error_ratio": 0.01}, [("warning", "GET /: 1.0 % errors")]),
        ({"errors": 5, "error_ratio": 0.05}, [("critical", "GET /: 5.0 % errors")]),
        ({"p95": 1.5}, [("warning", "GET /: one request in twenty takes 1.5 s or more")]),
        ({"p95": 5.0}, [("critical", "GET /: one request in twenty takes 5 s or more")]),
        ({"p50": None, "p95": None, "p99": None}, []),
    ],
)
def test_http(told: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    quiet = {"endpoint": "GET /", "requests": 100, "errors": 0, "error_ratio": 0.0, "p50": 0.01, "p95": 0.02, "p99": 0.03}
    assert [(found.severity, found.problem) for found in judge_http("a", {"endpoints": [{**quiet, **told}]}, Limits())] == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        ({"loading": 1}, [("critical", "Redis is loading its data")]),
        ({"master_link_status": "down", "master_last_io_seconds_ago": 7}, [("critical", "the replica has no link to its master")]),
        ({"rdb_last_bgsave_status": "err"}, [("critical", "the last save of Redis failed")]),
        ({"rejected_connections": 3}, [("warning", "Redis turned clients away")]),
        ({"maxclients": 100, "connected_clients": 81}, [("warning", "Redis has almost as many clients as it takes")]),
        ({"maxmemory": 100, "used_memory": 91, "maxmemory_policy": "noeviction"}, [("critical", "91 % of maxmemory is used")]),
        ({"maxmemory": 100, "used_memory": 91, "maxmemory_policy": "allkeys-lru"}, [("info", "91 % of maxmemory is used")]),
        ({"evicted_keys": 5, "maxmemory_policy": "allkeys-lru"}, [("info", "Redis removes keys to make room")]),
        ({"used_memory": GB, "used_memory_rss": 2 * GB}, [("warning", "the memory of Redis is fragmented")]),
        ({"hit_percent": 50.0, "lookups": 999}, []),
        ({"hit_percent": 50.0, "lookups": 1000}, [("warning", "50 % of the lookups in Redis find a key")]),
        ({"slow": None}, []),
        (
            {"slow": {"commands": [{"command": "KEYS", "count": 2, "slowest_seconds": 1.0}]}},
            [("critical", "KEYS took 1 s in Redis, in which nothing else runs")],
        ),
    ],
)
def test_redis(facts: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    assert [(found.severity, found.problem) for found in judge_redis("a", {"hit_percent": None, "lookups": 0, **facts}, Limits())] == expected


@pytest.mark.parametrize(
    ("method", "uri", "expected"),
    [
        ("GET", "/", "GET /"),
        ("GET", "/users/42?token=Sentinel", "GET /users/:id"),
        ("POST", "/a/0b7e4e4c-1f6a-4c58-9f0d-2d3c4b5a6978/b", "POST /a/:id/b"),
        ("GET", "/reset/eyJhbGciOiJIUzI1NiJ9", "GET /reset/:id"),
        ("GET", "/static/application-styles", "GET /static/application-styles"),
        ("GET", "", "GET /"),
    ],
)
def test_endpoints(method: str, uri: str, expected: str) -> None:
    assert endpoints.endpoint(method, uri) == expected


def entry(**fields: t.Any) -> bytes:
    """A line of the access log."""
    told = {"msec": 1.0, "pool": "shop", "status": 200, "method": "GET", "uri": "/", "request_time": "0.010", "upstream_status": "200"}
    return json.dumps({**told, **fields}).encode()


def test_endpoints_are_counted() -> None:
    lines = [entry(uri=f"/item/{number}", status=500 if number == 3 else 200) for number in range(10)] + [entry(uri="/slow", request_time="7.5"), b"nonsense"]
    lines.append(entry(status=499))
    found = endpoints.count(lines)
    assert [told["endpoint"] for told in found["endpoints"]] == ["GET /slow", "GET /item/:id", "GET /"]
    assert found["endpoints"][1]["requests"] == 10 and found["endpoints"][1]["error_ratio"] == 0.1 and found["endpoints"][2]["aborted"] == 1
    assert found["all"]["requests"] == 12 and found["unreadable"] == 1


def test_a_scanner_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 3)
    found = endpoints.count(entry(uri=f"/page-{letter}") for letter in "abcdefgh")
    assert {told["endpoint"]: told["requests"] for told in found["endpoints"]} == {"others": 5, "GET /page-a": 1, "GET /page-b": 1, "GET /page-c": 1}


def test_errors_are_grouped_and_masked() -> None:
    """Numbers do not part what is of one kind; secrets go, and so do bytes that are no text."""
    lines = [
        {"MESSAGE": f"connection {number} failed: password=Sentinel{number}", "_SYSTEMD_UNIT": "shop.service", "__REALTIME_TIMESTAMP": str(number * 10**6)}
        for number in range(3)
    ]
    lines += [{"MESSAGE": list(b"bad \xff byte"), "SYSLOG_IDENTIFIER": "tool", "__REALTIME_TIMESTAMP": "1"}, {"MESSAGE": None, "__REALTIME_TIMESTAMP": "1"}]
    lines += [{"MESSAGE": "Out of memory: Killed process 7 (postgres)", "_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": "1"}]
    found = host_journal.group_errors("\n".join([*map(json.dumps, lines), "{broken", "[]"]))
    assert (found["total"], found["out_of_memory"], found["complete"]) == (6, 1, True)
    first = found["groups"][0]
    assert (first["unit"], first["count"], first["first"], first["last"]) == ("shop.service", 3, 0.0, 2.0)
    assert first["message"].startswith("connection 2 failed: password=***") and "Sentinel" not in json.dumps(found)
    assert {group["unit"] for group in found["groups"]} == {"shop.service", "tool", "kernel"}


def test_packages_of_one_run_are_one_change() -> None:
    log = (
        "2026-11-26 10:00:01 install a:amd64 <none> 1.0\n2026-11-26 10:00:02 install b:all <none> 2.0\n2026-11-26 10:00:02 status installed a:amd64 1.0\n"
        "2026-11-26 11:00:00 upgrade a:amd64 1.0 1.1\nnonsense\n2026-11-26 12:00:00 remove b:all 2.0 <none>\n"
    )
    found = host_journal.package_changes(log)
    assert [change["what"] for change in found] == ["installed a 1.0, b 2.0", "upgraded a 1.0 to 1.1", "removed b 2.0"]
    assert found[1]["time"] == time.mktime((2026, 11, 26, 11, 0, 0, 0, 0, -1))


def test_changes_of_configuration_and_releases(tmp_path: t.Any) -> None:
    trees, root = tmp_path / "trees", tmp_path / "shop"
    (trees / "nginx" / "generations" / "4").mkdir(parents=True)
    os.utime(trees / "nginx" / "generations" / "4", (END, END))
    root.mkdir()
    record = {"release": "7", "slot": "green", "previous": "6", "kind": "rollback", "time": "2026-11-26T00:00:01+00:00", "by": "jo"}
    (root / "history.json").write_text(json.dumps({"records": [record]}))
    found, unread = host_journal.changes(END - 60, str(trees), [str(root)])
    told = [(change["kind"], change["what"]) for change in found if change["kind"] not in ("packages", "boot")]
    assert told == [("rollback", "shop: release 7 in green, by jo"), ("configuration", "nginx: change 4")] and unread == []
    (root / "history.json").write_text("{")
    assert "history.json" in host_journal.changes(END, str(trees), [str(root)])[1][0]


def test_state_of_a_host(tmp_path: t.Any) -> None:
    (tmp_path / "io").write_text("some avg10=1.00 avg60=2.50 avg300=0.00 total=1\nfull avg10=1.00 avg60=1.25 avg300=0.00 total=1\n")
    assert host_state.pressure(str(tmp_path)) == {"io": {"some": 2.5, "full": 1.25}}
    assert host_state.memory("MemTotal:  100 kB\nMemAvailable:  40 kB\nHugePages_Total: 0\n") == {
        "total": 102400, "available": 40960, "swap_total": 0, "swap_free": 0,
    }
    (tmp_path / "authority.crt").touch()
    disks = host_state.filesystems(
        f"20 1 8:1 /crt {tmp_path}/authority.crt ro - ext4 /dev/a rw\n"  # one file of the disk, for a container
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw\n23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw\n"
        "24 22 8:1 /srv / ro - ext4 /dev/a ro\n25 22 8:2 / /gone rw - ext4 /dev/b rw\n"
    )
    assert [(found["mount"], found["read_only"]) for found in disks] == [("/", False)] and disks[0]["size"] > disks[0]["available"] > 0
    (tmp_path / "a b\u00e9").mkdir()
    [odd] = host_state.filesystems(f"26 22 8:3 /part {tmp_path}/a\\040b\u00e9 ro - ext4 /dev/c rw\n")
    assert (odd["mount"], odd["read_only"]) == (f"{tmp_path}/a b\u00e9", False)
    [broken] = host_state.filesystems(f"26 22 8:3 / {tmp_path} ro - ext4 /dev/c ro,errors=remount-ro\n")
    assert broken["read_only"]
    assert all(set(process) == {"pid", "program", "bytes"} for process in host_state.processes())
    assert host_state.failed_units(lambda argv: (0, "shop.service loaded failed failed Shop\n", "")) == (["shop.service"], "")
    assert host_state.failed_units(lambda argv: (1, "", "no bus"))[1] == "systemctl did not tell: no bus"
    assert [host_state.clock_synchronised(lambda argv, said=said: (0, said, "")) for said in ("yes\n", "no\n", "")] == [True, False, None]


def test_slow_commands_have_no_arguments() -> None:
    reply = [[2, 200, 150000, [b"SET", b"session:Sentinel", b"Sentinel"], b"127.0.0.1:5", b""], [1, 100, 900000, [b"KEYS", b"*"], b"", b""]]
    reply += [{"id": 3, "start_time": 210, "duration": 250000, "command": b"set session:Sentinel x"}]
    assert slow_commands(reply, 150) == {"count": 2, "commands": [{"command": "SET", "count": 2, "slowest_seconds": 0.25, "last": 210}]}


def whole(**limits: float) -> dict[str, t.Any]:
    """A report on three hosts, one of which does not answer."""
    advice = {"check": "locks", "severity": "warning", "database": "shop", "object": "session 7", "problem": "waits", "recommendation": "Look.", "sql": ""}
    worse = {**advice, "severity": "critical", "object": "session 8"}
    change = {"time": END - 600, "kind": "deploy", "what": "shop: release 7 in green, by jo"}
    old = {"time": END - 90000, "kind": "packages", "what": "installed a"}
    hosts = {
        "app1": {"host": {**QUIET, "changes": [change, old], "not_judged": [{"part": "failed units", "reason": "no bus"}], "invocation": {"secret": 1}}},
        "data1": {"postgres": {"findings": [worse, advice], "not_judged": [{"check": "bloat", "database": "shop", "reason": "no permission"}]}},
        "lb1": {"host": {"msg": "Failed to connect to the host via ssh: token=Sentinel", "unreachable": True}, "redis": None},
    }
    return combine(hosts, limits_of(Limits, limits, "judge"), END, 1.0)


def test_a_whole_report() -> None:
    report = whole()
    told = [(finding["severity"], finding["place"], finding["problem"]) for finding in report["findings"]]
    assert told == [
        ("critical", "lb1", "the host could not be looked at"),
        ("critical", "data1", "shop: session 8 waits"),
        ("warning", "data1", "shop: session 7 waits"),
        ("info", "app1", "deploy 10 min before: shop: release 7 in green, by jo"),
    ]
    assert report["findings_by_severity"] == {"critical": 2, "warning": 1, "info": 1}
    assert report["summary"] == "3 hosts; findings: 2 critical, 1 warning, 1 info. 2 parts could not be judged."
    assert "not judged: data1: bloat of shop: no permission" in report["lines"] and "not judged: app1: failed units: no bus" in report["lines"]
    assert [change["what"] for change in report["changes"]] == ["shop: release 7 in green, by jo", "installed a"]
    assert "invocation" not in report["hosts"]["app1"]["host"] and "redis" not in report["hosts"]["lb1"]


def test_nothing_is_found() -> None:
    report = combine({"a": {"host": QUIET}}, Limits(), END, 1.0)
    assert report["lines"] == ["nothing was found", "1 host; findings: 0 critical, 0 warning, 0 info."] and "Nothing was found" in render(report)


def test_a_bundle_has_everything_and_no_secret() -> None:
    report = masked(whole(), ["release 7"])
    packed = bundle(report, render(report), "diagnose-x")
    assert packed == bundle(report, render(report), "diagnose-x")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        contents = {member.name: t.cast(t.IO[bytes], archive.extractfile(member)).read().decode() for member in archive}
        assert {member.mode for member in archive} == {0o600}
    assert set(contents) == {
        f"diagnose-x/{name}" for name in ("report.html", "report.json", "findings.txt", "hosts/app1.json", "hosts/data1.json", "hosts/lb1.json")
    }
    for name, content in contents.items():
        assert "Sentinel" not in content and "release 7" not in content, name
    assert "********" in contents["diagnose-x/report.html"] and "token=" in contents["diagnose-x/hosts/lb1.json"]


def test_limits() -> None:
    assert limits_of(Limits, {"slow_warning_seconds": 0.5}, "judge").slow_warning_seconds == 0.5
    with pytest.raises(InvalidInput, match="the limit requests_least is negative"):
        limits_of(Limits, {"requests_least": -1}, "judge")
