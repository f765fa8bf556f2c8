# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule of the security scan fires on what it is about, with its severity, and keeps quiet on what is well."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._security import kernel, ports
from ansible_collections.mainstay.ops.plugins.module_utils._security.model import SEVERITIES, judge
from ansible_collections.mainstay.ops.plugins.module_utils._security.report import AREAS, RULE_IDS

DAY = 86400
NOW = 1_800_000_000


def sshd(*matches: dict[str, t.Any], **settings: str) -> dict[str, t.Any]:
    """Facts of an SSH server; one that is well unless something else is given."""
    well = {
        "passwordauthentication": "no", "kbdinteractiveauthentication": "no", "permitemptypasswords": "no", "permitrootlogin": "no",
        "hostbasedauthentication": "no", "permituserenvironment": "no",
        "strictmodes": "yes", "x11forwarding": "no", "maxauthtries": "4", "logingracetime": "60",
        "loglevel": "VERBOSE",
        "ciphers": "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr",
        "kexalgorithms": "mlkem768x25519-sha256,sntrup761x25519-sha512,curve25519-sha256,diffie-hellman-group16-sha512,diffie-hellman-group-exchange-sha256",
        "macs": "umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512",
    }  # fmt: skip
    return {"settings": {**well, **settings}, "matches": list(matches)}


def settings(container: str = "", **changed: str) -> dict[str, t.Any]:
    """Facts of a kernel; dots of names are written as two underscores."""
    well = {name: setting.good[0] for setting in kernel.SETTINGS for name in setting.names}
    return {"settings": {**well, **{name.replace("__", "."): value for name, value in changed.items()}}, "container": container}


def packages(**changed: t.Any) -> dict[str, t.Any]:
    """Facts of packages."""
    return {"updates": [], "lists_age_seconds": 3600.0, "unattended": True, "reboot_required": "", "exposed": ["nginx"], "stale": [], **changed}


def update(name: str, security: bool = True) -> dict[str, t.Any]:
    """An update that waits."""
    return {"name": name, "installed": "1.0", "candidate": "1.1", "security": security}


def exposed(kind: str, line: int = 0) -> dict[str, t.Any]:
    """Facts of files with one that is open."""
    return {"exposed": [{"path": "/srv/app/file", "kind": kind, "line": line, "mode": "0644", "owner": "app"}]}


def unit(exposure: float, own: bool) -> dict[str, t.Any]:
    """Facts of units with one."""
    return {"units": [{"name": "app.service", "exposure": exposure, "own": own}]}


def certificate(part: str, begun: float, ends: float) -> dict[str, t.Any]:
    """Facts of certificates with one whose begin and end are so many days from now."""
    found = {"where": "site.example.com:443", "name": "site.example.com", "not_before": NOW + begun * DAY, "not_after": NOW + ends * DAY}
    return {"now": NOW, "files": [], "served": [], part: [found]}


def reached(*opened: int, flows: t.Any = ({"port": 443}, {"ports": ["8000-8010"], "from": ["10.0.0.0/8"]}), listeners: t.Any = ()) -> dict[str, t.Any]:
    """Facts of ports."""
    listening = [{"protocol": protocol, "address": address, "port": port, "process": "app"} for protocol, address, port in listeners]
    declared = None if flows is None else ports.read_flows(flows)
    return {"open": list(opened), "tried": ["1-65535"], "address": "192.0.2.10", "source": "192.0.2.1", "listeners": listening, "flows": declared}


def tls(*tests: tuple[str, ...], grade: str = "", full: bool = True) -> dict[str, t.Any]:
    """Facts of an endpoint with TLS; each test is an id, what testssl found, and its severity."""
    told = [{"id": test[0], "finding": test[1], "severity": test[2] if len(test) > 2 else "OK", "cve": ""} for test in (("TLS1_2", "offered"), *tests)]
    return {"endpoints": [{"where": "site:443", "full": full, "grade": grade, "tests": told}]}


def site(**changed: str | None) -> dict[str, t.Any]:
    """Facts of a site; underscores in names of headers are hyphens, and None takes one away."""
    well = {
        "strict-transport-security": "max-age=63072000", "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "strict-origin-when-cross-origin", "server": "nginx",
    }  # fmt: skip
    headers = {**well, **{name.replace("_", "-"): value for name, value in changed.items()}}
    listed = {name: [value] for name, value in headers.items() if value is not None}
    return {"answers": [{"url": "https://site/", "status": 200, "headers": listed, "location": "", "error": ""}], "plain": []}


def plain(status: int, location: str = "") -> dict[str, t.Any]:
    """Facts of a site's address without TLS."""
    return {"answers": [], "plain": [{"url": "http://site/", "status": status, "headers": {}, "location": location, "error": ""}]}


MATCH = {"path": "/etc/ssh/sshd_config", "line": 9, "keyword": "PasswordAuthentication", "setting": "yes"}
SILENT = {"answers": [{"url": "https://site/", "status": 0, "headers": {}, "location": "", "error": "timed out"}], "plain": []}

# A rule, facts on which it fires, the severity that it gives, and facts on which it keeps quiet.
CASES: list[tuple[str, str, t.Any, str, t.Any]] = [
    ("sshd", "ssh_passwords", sshd(passwordauthentication="yes"), "high", sshd()),
    ("sshd", "ssh_keyboard_interactive", sshd(kbdinteractiveauthentication="yes"), "high", sshd()),
    ("sshd", "ssh_empty_passwords", sshd(permitemptypasswords="yes"), "critical", sshd()),
    ("sshd", "ssh_root", sshd(permitrootlogin="yes", passwordauthentication="yes"), "high", sshd(permitrootlogin="without-password")),
    ("sshd", "ssh_root", sshd(permitrootlogin="yes"), "medium", sshd(permitrootlogin="forced-commands-only")),
    ("sshd", "ssh_root_by_key", sshd(permitrootlogin="without-password"), "low", sshd()),
    ("sshd", "ssh_match_block", sshd(MATCH), "high", sshd({**MATCH, "setting": "no"})),
    ("sshd", "ssh_host_based", sshd(hostbasedauthentication="yes"), "high", sshd()),
    ("sshd", "ssh_user_environment", sshd(permituserenvironment="yes"), "medium", sshd()),
    ("sshd", "ssh_strict_modes", sshd(strictmodes="no"), "medium", sshd()),
    ("sshd", "ssh_ciphers", sshd(ciphers="aes256-ctr,3des-cbc"), "medium", sshd()),
    ("sshd", "ssh_key_exchange", sshd(kexalgorithms="diffie-hellman-group14-sha1"), "medium", sshd(kexalgorithms="diffie-hellman-group14-sha256")),
    ("sshd", "ssh_macs", sshd(macs="hmac-sha2-256,hmac-sha1"), "low", sshd()),
    ("sshd", "ssh_x11", sshd(x11forwarding="yes"), "low", sshd()),
    ("sshd", "ssh_tries", sshd(maxauthtries="6"), "low", sshd(maxauthtries="3")),
    ("sshd", "ssh_grace", sshd(logingracetime="120"), "low", sshd(logingracetime="30")),
    ("sshd", "ssh_grace", sshd(logingracetime="0"), "low", sshd()),
    ("sshd", "ssh_log", sshd(loglevel="QUIET"), "medium", sshd(loglevel="INFO")),
    ("kernel", "kernel_aslr", settings(kernel__randomize_va_space="0"), "high", settings()),
    ("kernel", "kernel_aslr", settings("podman", kernel__randomize_va_space="0"), "info", settings("podman")),
    ("kernel", "kernel_symlinks", settings(fs__protected_symlinks="0"), "medium", settings()),
    ("kernel", "kernel_fifos", settings(fs__protected_fifos="0"), "low", settings(fs__protected_fifos="2")),
    ("kernel", "kernel_core_dumps", settings(fs__suid_dumpable="1"), "medium", settings(fs__suid_dumpable="2")),
    ("kernel", "kernel_ptrace", settings(kernel__yama__ptrace_scope="0"), "low", settings()),
    ("kernel", "kernel_pointers", settings(kernel__kptr_restrict="0"), "low", settings()),
    ("kernel", "kernel_messages", settings(kernel__dmesg_restrict="0"), "low", settings()),
    ("kernel", "kernel_bpf", settings(kernel__unprivileged_bpf_disabled="0"), "medium", settings(kernel__unprivileged_bpf_disabled="2")),
    ("kernel", "net_redirects", settings("podman", net__ipv4__conf__all__accept_redirects="1"), "medium", settings()),
    ("kernel", "net_send_redirects", settings(net__ipv4__conf__default__send_redirects="1"), "low", settings()),
    ("kernel", "net_source_route", settings(net__ipv6__conf__all__accept_source_route="1"), "medium", settings()),
    ("kernel", "net_reverse_path", settings(net__ipv4__conf__default__rp_filter="0"), "low", settings(net__ipv4__conf__default__rp_filter="2")),
    ("kernel", "net_syncookies", settings(net__ipv4__tcp_syncookies="0"), "medium", settings()),
    ("kernel", "net_broadcasts", settings(net__ipv4__icmp_echo_ignore_broadcasts="0"), "low", settings()),
    ("packages", "security_update", packages(updates=[update("nginx")]), "high", packages(updates=[update("nginx", security=False)])),
    ("packages", "security_update", packages(updates=[update("libssl3t64")], exposed=[]), "high", packages(updates=[update("jq")])),
    ("packages", "security_update_other", packages(updates=[update("jq")]), "medium", packages(updates=[update("jq", security=False)])),
    ("packages", "package_lists_old", packages(lists_age_seconds=8.0 * DAY), "medium", packages(lists_age_seconds=6.0 * DAY)),
    ("packages", "package_lists_old", packages(lists_age_seconds=None), "medium", packages()),
    ("packages", "updates_not_automatic", packages(unattended=False), "low", packages()),
    ("packages", "reboot_required", packages(reboot_required="asked for by linux-image"), "medium", packages()),
    ("packages", "old_code_in_memory", packages(stale=[{"process": "nginx", "libraries": ["libssl.so.3"]}]), "medium", packages()),
    ("files", "private_key_readable", exposed("private_key", 1), "critical", {"exposed": []}),
    ("files", "password_hashes_readable", exposed("shadow"), "critical", {"exposed": []}),
    ("files", "secret_readable", exposed("password", 3), "high", exposed("source_password", 3)),
    ("files", "secret_readable", exposed("url_password", 3), "high", {"exposed": []}),
    ("files", "secret_readable", exposed("cloud_key", 3), "high", {"exposed": []}),
    ("files", "secret_in_source", exposed("source_password", 3), "medium", {"exposed": []}),
    ("files", "environment_file_readable", exposed("environment_file"), "medium", {"exposed": []}),
    ("files", "world_writable", exposed("world_writable"), "high", {"exposed": []}),
    ("units", "unit_not_hardened", unit(9.6, True), "high", unit(2.5, True)),
    ("units", "unit_not_hardened", unit(2.6, True), "medium", unit(9.6, False)),
    ("units", "package_units_not_hardened", unit(9.6, False), "low", unit(6.9, False)),
    ("certificates", "served_certificate_ends", certificate("served", -90, -1), "critical", certificate("served", -60, 30)),
    ("certificates", "served_certificate_ends", certificate("served", -89, 1), "high", certificate("served", -4, 2)),
    ("certificates", "served_certificate_ends", certificate("served", -70, 20), "medium", certificate("files", -70, 20)),
    ("certificates", "certificate_file_ends", certificate("files", -90, -1), "high", certificate("files", -60, 30)),
    ("certificates", "certificate_file_ends", certificate("files", -70, 20), "medium", certificate("served", -70, 20)),
    ("certificates", "served_certificate_not_yet", certificate("served", 1, 90), "high", certificate("served", 0, 90)),
    ("ports", "port_undeclared", reached(443, 4444), "high", reached(443)),
    ("ports", "port_undeclared", reached(443, flows=[]), "high", reached(443, flows=None)),
    ("ports", "port_open_to_others", reached(443, 8005), "medium", reached(443)),
    ("ports", "port_open_to_others", reached(443, flows=[{"port": 443, "from": []}]), "medium", reached(443, flows=[{"port": 443, "from": ["any"]}])),
    ("ports", "port_udp_undeclared", reached(listeners=[("udp", "0.0.0.0", 53)]), "low", reached(listeners=[("udp", "127.0.0.53", 53)])),
    ("ports", "port_udp_undeclared", reached(listeners=[("udp", "0.0.0.0", 443)]), "low",
     reached(listeners=[("udp", "0.0.0.0", 443)], flows=[{"port": 443, "protocol": ["tcp", "udp"]}])),
    ("ports", "port_kept_by_firewall", reached(listeners=[("tcp", "0.0.0.0", 9000)]), "info", reached(listeners=[("tcp", "127.0.0.1", 9000)])),
    ("ports", "flows_not_declared", reached(22, flows=None), "info", reached(flows=None)),
    ("tls", "tls_protocol", tls(("TLS1", "offered (deprecated)")), "high", tls(("TLS1", "not offered"))),
    ("tls", "tls_protocol", tls(("SSLv3", "offered")), "critical", tls(("SSLv3", "not offered"))),
    ("tls", "tls_newest", tls(("TLS1_3", "not offered + downgraded to weaker protocol")), "low", tls(("TLS1_3", "offered with final"))),
    ("tls", "tls_cipher", tls(("cipherlist_aNULL", "offered")), "critical", tls(("cipherlist_aNULL", "not offered"))),
    ("tls", "tls_cipher", tls(("cipherlist_OBSOLETED", "offered")), "medium", tls(("cipherlist_STRONG_FS", "offered"))),
    ("tls", "tls_hole", tls(("heartbleed", "VULNERABLE", "CRITICAL")), "critical", tls(("heartbleed", "not vulnerable"))),
    ("tls", "tls_hole", tls(("BREACH", "potentially VULNERABLE", "MEDIUM")), "medium", tls(("cert_revocation", "neither CRL nor OCSP", "HIGH"))),
    ("tls", "tls_trust", tls(("cert_chain_of_trust", "failed (self signed)", "CRITICAL")), "high", tls(("cert_chain_of_trust", "passed."))),
    ("tls", "tls_trust", tls(("cert_trust", "does not match", "HIGH")), "high", tls(("cert_trust", "does not match", "HIGH"), full=False)),
    ("tls", "tls_certificate_weak", tls(("cert_keySize", "RSA 1024 bits", "HIGH")), "high", tls(("cert_keySize", "EC 256 bits"))),
    ("tls", "tls_forward_secrecy", tls(("FS", "not offered")), "medium", tls(("FS", "offered"))),
    ("tls", "tls_grade", tls(grade="B"), "medium", tls(grade="A+")),
    ("tls", "tls_grade", tls(grade="T"), "high", tls(grade="")),
    ("tls", "tls_not_tested", {"endpoints": [{"where": "site:443", "full": True, "grade": "", "tests": []}]}, "medium", tls()),
    ("headers", "header_hsts", site(strict_transport_security=None), "medium", site()),
    ("headers", "header_hsts", site(strict_transport_security="max-age=300"), "low", site()),
    ("headers", "header_csp", site(content_security_policy=None), "medium", site()),
    ("headers", "header_csp", site(content_security_policy="script-src 'self' 'unsafe-inline'"), "low",
     site(content_security_policy="style-src 'unsafe-inline'")),
    ("headers", "header_frames", site(content_security_policy=None, x_frame_options=None), "medium", site(content_security_policy=None)),
    ("headers", "header_sniffing", site(x_content_type_options=None), "low", site()),
    ("headers", "header_referrer", site(referrer_policy="unsafe-url"), "low", site(referrer_policy="no-referrer, strict-origin")),
    ("headers", "header_version", site(server="nginx/1.26.3"), "low", site()),
    ("headers", "header_version", site(x_powered_by="PHP"), "low", site()),
    ("headers", "header_outdated", site(x_xss_protection="1; mode=block"), "low", site(x_xss_protection="0")),
    ("headers", "header_origins", site(access_control_allow_origin="*", access_control_allow_credentials="true"), "high",
     site(access_control_allow_origin="*")),
    ("headers", "cookie_flags", site(set_cookie="session=...; Path=/; HttpOnly"), "medium", site(set_cookie="s=...; Secure; HttpOnly; SameSite=Lax")),
    ("headers", "cookie_flags", site(set_cookie="session=...; Secure"), "low", site()),
    ("headers", "plain_http", plain(200), "high", plain(308, "https://site/")),
    ("headers", "site_silent", SILENT, "info", site()),
]  # fmt: skip


@pytest.mark.parametrize(("area", "rule", "facts", "severity", "well"), CASES, ids=[case[1] for case in CASES])
def test_a_rule_fires_and_keeps_quiet(area: str, rule: str, facts: t.Any, severity: str, well: t.Any) -> None:
    """Once with the severity, once not at all; other rules may have something to say."""
    assert {finding.severity for finding in judge(AREAS[area], facts) if finding.id == rule} == {severity}
    assert [finding for finding in judge(AREAS[area], well) if finding.id == rule] == []


def test_every_rule_is_tried() -> None:
    """A rule that nobody tries may never fire."""
    assert {case[1] for case in CASES} == RULE_IDS


@pytest.mark.parametrize("area", AREAS)
def test_rules_are_complete(area: str) -> None:
    """Each says in sentences why it counts and what to do, and who says so."""
    for rule in AREAS[area]:
        assert rule.severity in SEVERITIES
        assert rule.why.endswith(".") and rule.mend.endswith(".")
        assert rule.source and not rule.problem.endswith(".")


def test_a_well_host_has_no_finding() -> None:
    """Nothing is found where nothing is."""
    well = {"sshd": sshd(), "kernel": settings(), "packages": packages(), "headers": site(), "tls": tls(grade="A+")}
    assert [finding.id for area, facts in well.items() for finding in judge(AREAS[area], facts)] == []


@pytest.mark.parametrize(
    ("flow", "words"),
    [({"port": "https"}, "https is no port"), ({"port": 22, "from": ["app1"], "what": "ssh"}, "'app1'.*ssh"), ({"ports": ["1-x"]}, "1-x is no port")],
)
def test_a_flow_that_cannot_be_read(flow: dict[str, t.Any], words: str) -> None:
    """It is named."""
    with pytest.raises(InvalidInput, match=words):
        ports.read_flows([flow])
