# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the security scan with a real nginx, a real testssl and this host."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._security.report import combine
from certificates import make_self_signed
from ports import free_port, wait_until_listening
from servers import Runner

NOW = datetime.datetime.now(datetime.timezone.utc)
NGINX = """
daemon off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    server_tokens off;
    ssl_certificate site.crt;
    ssl_certificate_key site.key;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
    server {{
        listen 127.0.0.1:{weak} ssl;
        ssl_protocols TLSv1 TLSv1.1 TLSv1.2;
        ssl_ciphers ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0;
        add_header Set-Cookie "session=sentinel4711; Path=/";
        location / {{ return 200 "weak"; }}
        location /strict {{ add_header Strict-Transport-Security max-age=63072000; return 200; }}
    }}
    server {{
        listen 127.0.0.1:{plain};
        location / {{ return 200 "plain"; }}
    }}
}}
"""


@dataclasses.dataclass(frozen=True)
class Site:
    """A weak site: its ports with and without TLS, and its certificate."""

    weak: int
    plain: int
    certificate: pathlib.Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    """A site with TLS 1.0 and without headers."""
    folder = tmp_path_factory.mktemp("nginx")
    made = Site(free_port(), free_port(), folder / "site.crt")
    make_self_signed(folder / "site.key", made.certificate, "site.test", "DNS:site.test", 90)
    (folder / "nginx.conf").write_text(NGINX.format(weak=made.weak, plain=made.plain))
    with subprocess.Popen(["nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log"], cwd=folder, stderr=subprocess.PIPE) as server:
        try:
            for port in (made.weak, made.plain):
                wait_until_listening(port, server, (folder / "error.log").read_text)
            yield made
        finally:
            server.terminate()


@pytest.mark.parametrize("check", [True, False])
def test_ports(run_module: Runner, site: Site, check: bool) -> None:
    """Those that listen are open, the rest is closed."""
    closed = free_port()
    options = {"address": "127.0.0.1", "ports": [str(site.weak), str(site.plain), str(closed)], "timeout": 20.0, "parallel": 2}
    found = run_module("port_scan_info", options, check=check)
    assert found["open"] == sorted([site.weak, site.plain])
    assert (found["changed"], found["closed_count"], found["filtered_count"], found["source"]) == (False, 1, 0, "127.0.0.1")
    assert (found["address"], found["tried"]) == ("127.0.0.1", options["ports"])
    assert found["seconds"] >= 0


def test_ports_that_are_none(run_module: Runner) -> None:
    """A range that cannot be is refused in a sentence."""
    found = run_module("port_scan_info", {"address": "127.0.0.1", "ports": ["9-1"]})
    assert found["failed"] and "9-1 is no port and no range" in found["msg"]


def test_a_weak_site(run_module: Runner, site: Site) -> None:
    """Headers and plain HTTP are read without testssl; the cookie comes without its value."""
    asked = {"name": "site.test", "port": site.weak, "plain_port": site.plain, "paths": ["/", "/strict"]}
    found = run_module("web_security_info", {"address": "127.0.0.1", "sites": [asked], "testssl": ""})
    assert "sentinel4711" not in json.dumps(found)
    assert [answer["url"] for answer in found["answers"]] == [f"https://site.test:{site.weak}/", f"https://site.test:{site.weak}/strict"]
    assert found["answers"][0]["headers"]["set-cookie"] == ["session=...; Path=/"]
    assert found["plain"][0]["status"] == 200
    assert [certificate["name"] for certificate in found["served"]] == ["site.test"]
    assert (found["endpoints"], found["not_judged"]) == ([], [])
    report = combine({"host": {"web": found}}, [], "high", NOW)
    judged = {(finding["id"], finding["subject"]) for finding in report["findings"]}
    assert ("header_hsts", f"https://site.test:{site.weak}/") in judged
    assert ("header_hsts", f"https://site.test:{site.weak}/strict") not in judged
    assert {rule for rule, _subject in judged} >= {"plain_http", "cookie_flags", "header_csp", "header_frames"}


@pytest.mark.parametrize("port", ["plain", "closed"])
def test_a_site_that_is_not_reached(run_module: Runner, site: Site, port: str) -> None:
    """Nothing of it is known, so the scan fails."""
    asked = {"name": "site.test", "port": site.plain if port == "plain" else free_port(), "plain_port": site.plain}
    found = run_module("web_security_info", {"address": "127.0.0.1", "sites": [asked], "testssl": ""})
    assert [(entry["part"], entry["failed"]) for entry in found["not_judged"]] == [(f"TLS of site.test:{asked['port']}", True)]
    assert "no TLS was spoken: " in found["not_judged"][0]["reason"]
    report = combine({"host": {"web": found}}, [], "critical", NOW)
    assert f"TLS of site.test:{asked['port']} of host could not be judged" in report["verdict"]


@pytest.mark.skipif(shutil.which("testssl") is None, reason="testssl.sh is not installed")
def test_tls_by_testssl(run_module: Runner, site: Site) -> None:
    """A port beside the sites is tested in brief if it speaks TLS, and left alone if not."""
    # By a name, which testssl takes for no address.
    found = run_module("web_security_info", {"address": "localhost", "ports": [site.weak, site.plain], "ca_cert": str(site.certificate)})
    assert found["not_judged"] == []
    assert [(endpoint["where"], endpoint["full"], endpoint["grade"]) for endpoint in found["endpoints"]] == [(f"tcp/{site.weak}", False, "")]
    report = combine({"host": {"web": found}}, [], "high", NOW)
    judged = {(finding["id"], finding["severity"]) for finding in report["findings"] if finding["subject"] == f"tcp/{site.weak}"}
    assert ("tls_protocol", "high") in judged
    assert found["seconds"] >= 0


def test_testssl_that_is_not_there(run_module: Runner) -> None:
    """The next step is said."""
    found = run_module("web_security_info", {"address": "127.0.0.1", "testssl": "no-such-testssl"})
    assert found["failed"] and "there is no program no-such-testssl; install the package testssl.sh" in found["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="others must be kept out of folders by a mode, which needs root to matter")
def test_this_host(run_module: Runner, site: Site) -> None:
    """What a host says of itself, with a key and a password in the open; the password is nowhere in it."""
    folder = pathlib.Path("/srv") / f"mainstay-scan-{free_port()}"
    folder.mkdir(mode=0o755)
    try:
        shutil.copy(site.certificate, folder / "site.crt")
        (folder / "app.env").write_text("A=1\nDB_PASSWORD=sentinel4711\n")
        (folder / "app.env").chmod(0o644)
        options = {"paths": [str(folder)], "max_files": 100, "certificate_paths": [str(folder)], "own_units": ["x*"]}
        found = run_module("host_security_info", options)
        few = run_module("host_security_info", {"parts": ["kernel"]})
    finally:
        shutil.rmtree(folder)
    assert "sentinel4711" not in json.dumps(found)
    assert [(entry["kind"], entry["line"], entry["mode"]) for entry in found["files"]["exposed"]] == [("environment_file", 0, "0644"), ("password", 2, "0644")]
    assert [(certificate["where"], certificate["name"]) for certificate in found["certificates"]] == [(str(folder / "site.crt"), "site.test")]
    assert {entry["port"] for entry in found["listeners"]} >= {site.weak, site.plain}
    assert found["kernel"]["settings"]["kernel.randomize_va_space"] in ("0", "1", "2")
    assert found["packages"] is None or set(found["packages"]) == {"updates", "lists_age_seconds", "unattended", "reboot_required", "exposed", "stale"}
    missing = {entry["part"] for entry in found["not_judged"]}
    assert all(entry["failed"] is not ("there is no SSH server" in entry["reason"]) for entry in found["not_judged"])
    assert missing == {part for part in ("sshd", "packages", "units") if found[part] is None}
    assert few["kernel"] and few["seconds"] >= 0 and [few[part] for part in ("sshd", "listeners", "packages", "files", "units", "certificates")] == [None] * 6
