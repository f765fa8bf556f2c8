# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen before and after a deployment is judged, and said in one report."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mainstay.ops.plugins.filter.preflight_report import preflight_report
from ansible_collections.mainstay.ops.plugins.module_utils._preflight.judge import (
    Limits,
    backups_findings,
    certificates_findings,
    controller_findings,
    hosts_findings,
    names_findings,
    secrets_findings,
    services_findings,
    words,
)

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
MOUNTS = [{"mount": "/", "size_available": 5 * 2**30}, {"mount": "/var", "size_available": 100 * 2**20}, {"mount": "/variable", "size_available": 1}]
WELL = {
    "login": {"clock": NOW + 1, "container": ""},
    "began": NOW,
    "ended": NOW + 2,
    "facts": {"ansible_distribution": "Debian", "ansible_distribution_major_version": "13", "ansible_mounts": MOUNTS},
    "units": {"rc": 0, "stdout": ""},
}


def said(findings: t.Iterable[t.Any]) -> dict[str, tuple[str, str]]:
    """Status and reason of each check."""
    return {finding.check: (finding.status, finding.reason) for finding in findings}


def test_a_host_that_is_well() -> None:
    """But for the little room on one of its disks."""
    assert said(hosts_findings("h1", WELL, Limits())) == {
        "login": ("ok", "reached, with sudo"),
        "release": ("ok", "Debian 13"),
        "clock": ("ok", "as that of the controller"),
        "space below /": ("ok", "5120 MiB are free"),
        "space below /var": ("fail", "100 MiB are free on /var, fewer than 1024"),
        "units": ("ok", "no unit has failed"),
    }


@pytest.mark.parametrize(("differs", "check", "status", "reason"), [
    ({"login": {"msg": "Connection  refused."}}, "login", "fail", "Connection refused"),
    ({"login": {}}, "login", "fail", "it was not looked at"),
    ({"facts": {"ansible_distribution": "Ubuntu", "ansible_distribution_major_version": "24"}}, "release", "fail", "it runs Ubuntu 24"),
    ({"facts": {}}, "release", "fail", "it runs an unknown system"),
    ({"facts": {}}, "space below /", "warn", "no file system was found that holds it"),
    ({"login": {"clock": NOW - 6}}, "clock", "fail", "6.0 s behind the controller"),
    ({"login": {"clock": NOW + 8}}, "clock", "fail", "6.0 s ahead of the controller"),
    ({"login": {"clock": NOW + 7}}, "clock", "ok", "5.0 s ahead of the controller"),
    ({"units": {"rc": 0, "stdout": "nginx.service loaded failed failed nginx\n"}}, "units", "warn", "failed: nginx.service"),
    ({"units": {"rc": 1, "stderr": "no systemd"}}, "units", "warn", "no systemd"),
])
def test_what_is_wrong_with_a_host(differs: dict[str, t.Any], check: str, status: str, reason: str) -> None:
    """One thing at a time."""
    assert said(hosts_findings("h1", {**WELL, **differs}, Limits()))[check] == (status, reason)


def test_a_container_has_the_clock_of_its_machine() -> None:
    """Nobody can set it there."""
    assert "clock" not in said(hosts_findings("h1", {**WELL, "login": {"clock": NOW - 99, "container": "podman"}}, Limits()))


def test_a_failed_unit_is_wrong_after_a_deployment() -> None:
    """Before it is to be known."""
    seen = {**WELL, "units": {"rc": 0, "stdout": "a.service loaded failed\nb.service loaded failed"}}
    assert said(hosts_findings("h1", seen, Limits(moment="after")))["units"] == ("fail", "failed: a.service, b.service")


@pytest.mark.parametrize(("state", "status"), [("ok", "ok"), ("empty", "fail"), ("placeholder", "fail"), ("short", "warn"), ("unreadable", "fail")])
def test_secrets(state: str, status: str) -> None:
    """By what was said of each; what is not well has a next step."""
    [finding] = secrets_findings("h1", {"secrets": [{"name": "x_password", "state": state, "reason": ""}]}, Limits())
    assert (finding.status, bool(finding.next_step)) == (status, status != "ok")


def about(
    not_before: str = "20260901000000Z", not_after: str = "20270901000000Z", names: tuple[str, ...] = ("DNS:shop.test", "DNS:*.shop.test")
) -> dict[str, t.Any]:
    """A certificate, as community.crypto tells of it."""
    return {"not_before": not_before, "not_after": not_after, "subject_alt_name": list(names)}


@pytest.mark.parametrize(("entry", "status", "reason"), [
    ({"about": about(), "names": ["shop.test", "www.shop.test", "SHOP.test"]}, "ok", "it has 344 days left"),
    ({"about": about(names=("IP:192.0.2.1",)), "names": ["192.0.2.1"]}, "ok", "it has 344 days left"),
    ({"about": about(), "names": ["a.b.shop.test", "other.test"]}, "fail", "it is not valid for a.b.shop.test, other.test"),
    ({"about": about(not_after="20260920000000Z")}, "fail", "it has expired 2 days ago"),
    ({"about": about(not_after="20261001000000Z")}, "warn", "it has 9 days left"),
    ({"about": about(not_before="20261001000000Z")}, "fail", "it is not valid yet"),
    ({"about": {}, "problem": "Unable to load PEM file."}, "fail", "it cannot be read: Unable to load PEM file"),
])
def test_certificates(entry: dict[str, t.Any], status: str, reason: str) -> None:
    """Readable, valid, and for the names of the site."""
    [finding] = certificates_findings("lb1", {"now": NOW, "certificates": [{"name": "site shop", **entry}]}, Limits())
    assert (finding.status, finding.reason) == (status, reason)


def test_names() -> None:
    """One that leads nowhere is wrong; they are looked up on the controller."""
    seen = {"names": [{"name": "shop.test", "addresses": ["192.0.2.1"]}, {"name": "www.shop.test", "addresses": []}]}
    found = names_findings("lb1", seen, Limits())
    assert said(found) == {"shop.test": ("ok", "leads to 192.0.2.1"), "www.shop.test": ("fail", "no address is known for it")}
    assert {finding.host for finding in found} == {"controller"}


BACKUPS = [{"id": "a", "finished": "2026-09-20T14:13:20Z"}, {"id": "b", "finished": "2026-09-21T13:13:20Z"}]


@pytest.mark.parametrize(("entry", "moment", "status", "reason"), [
    ({"backups": BACKUPS, "latest": "b"}, "before", "ok", "it is 1 hours old"),
    ({"backups": BACKUPS[:1], "latest": "a"}, "before", "ok", "it is 24 hours old"),
    ({"backups": [{"id": "c", "finished": "2026-09-19T14:13:20Z"}], "latest": "c"}, "before", "fail", "it is 48 hours old"),
    ({"backups": [], "latest": ""}, "after", "warn", "there is no good one"),
    ({"problem": "boto3 is missing"}, "before", "warn", "the store cannot be looked at: boto3 is missing"),
    ({"problem": "boto3 is missing"}, "after", "fail", "the store cannot be looked at: boto3 is missing"),
])
def test_backups(entry: dict[str, t.Any], moment: str, status: str, reason: str) -> None:
    """An old one is wrong; none is to be known, since there is a first deployment."""
    [finding] = backups_findings("data1", {"now": NOW, "backups": [{"kind": "postgres", **entry}]}, Limits(moment=moment))
    assert (finding.status, finding.reason) == (status, reason)


def test_the_controller() -> None:
    """An old ansible-core, and a library that is missing."""
    found = said(controller_findings({"ansible": "2.17.5", "libraries": {"boto3": True, "redis": False}}))
    assert found == {"ansible-core": ("fail", "it is 2.17.5"), "boto3": ("ok", "it is there"), "redis": ("fail", "it is not there")}
    assert said(controller_findings({"ansible": "2.18.0", "libraries": {}}))["ansible-core"] == ("ok", "2.18.0")


def test_services() -> None:
    """As the probe says of each; what could not be judged is wrong."""
    checks = [{"name": name, "status": name, "detail": "seen"} for name in ("healthy", "degraded", "unhealthy", "inconclusive")]
    assert [finding.status for finding in services_findings(checks)] == ["ok", "warn", "fail", "fail"]


def test_the_report() -> None:
    """What is wrong first; the same of several hosts on one line; a host that was lost is wrong."""
    secret = {"secrets": [{"name": "x_password", "state": "empty", "reason": ""}, {"name": "y_password", "state": "short", "reason": ""}]}
    report = preflight_report({"h1": {**WELL, **secret}, "h2": {**WELL, **secret}, "h3": {}}, parts=["secrets"], now="2026-09-21T14:13:20Z")
    assert report["lines"][:3] == [
        "fail  secrets       h1, h2: x_password: it is empty; give it a value, from a vault",
        "fail  hosts         h3: look: it was lost on the way; see the task that failed for it above",
        "warn  secrets       h1, h2: y_password: it is short; make a longer one, such as by: openssl rand -base64 24",
    ]
    assert report["findings_by_status"] == {"fail": 3, "warn": 2, "ok": 0}
    assert (report["status"], report["title"], report["finished"]) == ("failed", "Before the deployment", "2026-09-21T14:13:20Z")
    assert report["verdict"].startswith("3 things are not well (h1: x_password, h2: x_password, h3: look); ")
    assert {check["name"]: check["status"] for check in report["checks"]}["h1: y_password"] == "ok"
    assert report["findings"][0]["next_step"] == "give it a value, from a vault"


@pytest.mark.parametrize(("fail_on", "status"), [("fail", "ok"), ("warn", "failed"), ("never", "ok")])
def test_what_fails_the_run(fail_on: str, status: str) -> None:
    """A warning only where that was asked for."""
    seen = {"h1": {**WELL, "secrets": [{"name": "y_password", "state": "short", "reason": ""}]}}
    assert preflight_report(seen, parts=["secrets"], fail_on=fail_on)["status"] == status


@pytest.mark.parametrize(("moment", "checks"), [("before", []), ("after", ["app", "checks"])])
def test_services_are_looked_at_afterwards(moment: str, checks: list[str]) -> None:
    """Before the first deployment there are none. A probe that was refused is wrong."""
    found = []
    for services in ({"checks": [{"name": "app", "status": "healthy", "detail": "200"}]}, {"msg": "checks[0]: no url"}):
        report = preflight_report({}, parts=["services"], services=services, limits={"moment": moment})
        found += [finding["check"] for finding in report["findings"]]
    assert found == checks


@pytest.mark.parametrize(("given", "message"), [
    ({"fail_on": "info"}, "fail_on is info; it can be fail, warn or never"),
    ({"limits": {"disk": 1}}, "there is no limit disk; there are"),
    ({"limits": {"moment": "during"}}, "moment is during; it can be before or after"),
])
def test_what_cannot_be_judged_is_refused(given: dict[str, t.Any], message: str) -> None:
    """With the name of what is wrong."""
    with pytest.raises(AnsibleFilterError, match=message):
        preflight_report({}, parts=[], **given)


def test_a_message_is_one_line() -> None:
    """Without what ansible-core says before the reason."""
    text = "Task failed: Finalization of task args for 'ansible.builtin.set_fact' failed: Error while resolving value for 'x': no\n such file."
    assert words(text) == "no such file"
    assert len(words("a" * 1000)) == 300
