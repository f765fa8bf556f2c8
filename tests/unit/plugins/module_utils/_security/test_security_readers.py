# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the security scan reads: answers of programs, folders with secrets, ports of this machine; and the report that comes of it."""

from __future__ import annotations

import datetime
import hashlib
import json
import pathlib
import socket
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._report import render_html
from ansible_collections.mainstay.ops.plugins.module_utils._security import host, host_certificates, host_files, portscan, testssl, web
from ansible_collections.mainstay.ops.plugins.module_utils._security.report import combine

NOW = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.timezone.utc)


class TestAnswersOfPrograms:
    def test_sshd(self) -> None:
        """Keywords that come several times keep all their values."""
        found = host.parse_sshd("port 22\npermitrootlogin no\nacceptenv LANG\nacceptenv LC_*\n")
        assert found == {"port": "22", "permitrootlogin": "no", "acceptenv": "LANG LC_*"}

    def test_match_blocks(self, tmp_path: pathlib.Path) -> None:
        """Only what a block loosens counts, and a block for all is none."""
        (tmp_path / "sshd_config").write_text(
            "PasswordAuthentication yes\nMatch all\nPasswordAuthentication yes\n"
            "Match User x\n  X11Forwarding yes\n  # PermitRootLogin yes\n  PermitRootLogin=yes\n"
        )
        found = list(host._match_lines(str(tmp_path / "sshd_config")))
        assert found == [{"path": str(tmp_path / "sshd_config"), "line": 7, "keyword": "PermitRootLogin", "setting": "yes"}]

    def test_listeners(self) -> None:
        """Both families, with and without a process."""
        out = (
            'tcp LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))\n'
            "tcp LISTEN 0 128 [::1]:6379 [::]:*\nudp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\ntcp LISTEN 0 4096 *:9100 *:*\n"
        )
        found = [(entry["protocol"], entry["address"], entry["port"], entry["process"], entry["pid"]) for entry in host.parse_listeners(out)]
        assert found == [("tcp", "0.0.0.0", 443, "nginx", 7), ("tcp", "::1", 6379, "", 0), ("tcp", "::", 9100, "", 0), ("udp", "127.0.0.53", 53, "", 0)]

    def test_updates(self) -> None:
        """What is from the security archive is told from the rest."""
        out = (
            "Reading package lists...\nInst libssl3t64 [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])\n"
            "Inst tzdata [2025b-4] (2026a-1 Debian:13.2/stable [all])\nInst linux-image-6.12 (6.12.1-1 Debian-Security:13/stable-security [amd64]) []\n"
            "Conf libssl3t64 (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])\n"
        )
        found = [(entry["name"], entry["installed"], entry["candidate"], entry["security"]) for entry in host.parse_updates(out)]
        assert found == [
            ("libssl3t64", "3.5.1-1", "3.5.1-1+deb13u1", True),
            ("tzdata", "2025b-4", "2026a-1", False),
            ("linux-image-6.12", "", "6.12.1-1", True),
        ]

    def test_units(self) -> None:
        """A unit is ours by its file or by its name."""
        shown = "Id=app@1.service\nFragmentPath=/etc/systemd/system/app@.service\n\nId=cron.service\nFragmentPath=/usr/lib/systemd/system/cron.service\n"
        judged = [{"unit": "app@1.service", "exposure": "1.8"}, {"unit": "cron.service", "exposure": 9.6}, {"unit": "x.service", "exposure": 5.0}]
        answers = {"systemd-analyze": json.dumps(judged), "systemctl": shown}
        found = host.read_units(lambda argv: (0, answers[argv[0]], ""), ["x*"])
        assert [(entry["name"], entry["exposure"], entry["own"]) for entry in found] == [
            ("app@1.service", 1.8, True), ("cron.service", 9.6, False), ("x.service", 5.0, True)
        ]  # fmt: skip

    def test_a_program_that_fails_is_not_judged(self) -> None:
        """The reason is one line."""
        with pytest.raises(host.NotKnown, match="^systemd-analyze says: no bus$"):
            host.read_units(lambda argv: (1, "", "no bus\nmore\n"), [])

    def test_certificate(self) -> None:
        """The name and both ends, and none of what is no certificate."""
        out = "subject=O=Example, CN=site.example.com\nnotBefore=Jan  1 00:00:00 2026 GMT\nnotAfter=Dec 31 23:59:59 2026 GMT\n"
        assert host_certificates.parse_certificate(out) == {"name": "site.example.com", "not_before": 1767225600, "not_after": 1798761599}
        assert host_certificates.parse_certificate("Could not read certificate") is None

    def test_testssl(self) -> None:
        """The grade is found, and tests are cut."""
        found = testssl.parse([{"id": "cert", "severity": "INFO", "finding": "x" * 5000}, {"id": "overall_grade", "severity": "OK", "finding": "A+"}])
        assert found["grade"] == "A+"
        assert len(found["tests"][0]["finding"]) == 300 and found["tests"][1]["cve"] == ""

    def test_testssl_that_does_not_end(self) -> None:
        """What it had found until then is no result."""
        with pytest.raises(host.NotKnown, match="did not come to its end within 600 s"):
            testssl.run_testssl(lambda argv: (124, "", ""), "testssl", "site:443", "192.0.2.1", "", True)


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "text", "kinds"),
        [
            ("app.conf", "user = x\npassword = s3cr3tvalue\n", [("password", 2)]),
            ("env", "DB_PASSWORD=s3cr3tvalue\nAPI_KEY='abcdef'\n", [("password", 1)]),
            ("app.yml", "db:\n  passwd: s3cr3tvalue\n", [("password", 2)]),
            ("app.json", '{"client_secret": "s3cr3tvalue"}', [("password", 1)]),
            ("x.service", 'Environment="TOKEN=s3cr3tvalue"\n', [("password", 1)]),
            ("redis.conf", "requirepass s3cr3tvalue\n", [("password", 1)]),
            (".netrc", "machine x login y password s3cr3tvalue\n", [("password", 1)]),
            ("app.ini", "url = postgresql://app:s3cr3tvalue@db/app\n", [("url_password", 1)]),
            ("notes.md", "the key is AKIAABCDEFGHIJKLMNOP\n", [("cloud_key", 1)]),
            ("views.py", 'password = "s3cr3tvalue"\n', [("source_password", 1)]),
            ("views.py", "password = request.form.password\ntoken = make_token(password=given)\n", []),
            ("nsswitch.conf", "passwd: files systemd\n", []),
            ("app.conf", "# password = s3cr3tvalue\npassword_file = /etc/app/password\npassword = /run/secrets/x\n", []),
            ("app.conf", "password = $DB_PASSWORD\npassword: {{ vault }}\npassword = <here>\npassword = yes\npassword =\n", []),
            ("app.conf", "url = https://example.com:8443/path@x\npassword_encryption = scram-sha-256\n", []),
            ("readme.md", "password = s3cr3tvalue\n", []),
        ],
    )
    def test_secrets(self, name: str, text: str, kinds: list[tuple[str, int]]) -> None:
        """Kinds with their lines, and never the secret."""
        assert host_files.secrets_in(text, name) == kinds

    def test_only_what_others_reach_counts(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A closed folder keeps what is in it, and so does a closed file; what a package brought is no secret."""
        # The folders of tests are closed to others above the one that is made here.
        monkeypatch.setattr(host_files, "_open_above", lambda top: True)
        key = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
        for path, text, mode in [
            ("open/key.pem", key, 0o644), ("open/kept.pem", key, 0o640), ("closed/key.pem", key, 0o644), ("open/app.conf", "password=s3cr3tvalue\n", 0o644),
            ("open/shipped.conf", "password=s3cr3tvalue\n", 0o644), ("open/.env", "A=1\n", 0o644), ("open/anybody", "x\n", 0o666),
            ("open/binary", "\0password=s3cr3t", 0o644),
        ]:  # fmt: skip
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
            (tmp_path / path).chmod(mode)
        (tmp_path / "closed").chmod(0o700)
        (tmp_path / "open").chmod(0o755)
        (tmp_path / "link").symlink_to(tmp_path / "open")
        # What dpkg keeps is an MD5.
        digest = hashlib.new("md5", b"password=s3cr3tvalue\n", usedforsecurity=False).hexdigest()
        found = host_files.find_exposed(lambda argv: (0, f" {tmp_path}/open/shipped.conf {digest}\n", ""), host_files.Search((str(tmp_path),)))
        assert [(entry["path"].removeprefix(str(tmp_path)), entry["kind"], entry["line"]) for entry in found] == [
            ("/open/.env", "environment_file", 0), ("/open/anybody", "world_writable", 0), ("/open/app.conf", "password", 1),
            ("/open/key.pem", "private_key", 1),
        ]  # fmt: skip
        assert "s3cr3t" not in json.dumps(found)

    def test_too_many_files(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then nothing is judged, rather than a part."""
        monkeypatch.setattr(host_files, "_open_above", lambda top: True)
        for number in range(4):
            (tmp_path / str(number)).touch()
        with pytest.raises(host.NotKnown, match="more than 3 files"):
            host_files.find_exposed(lambda argv: (0, "", ""), host_files.Search((str(tmp_path),), 3))


class TestPorts:
    def test_numbers_and_ranges(self) -> None:
        """Each port once."""
        assert portscan.read_ports(["22", "80-82", "81"]) == [22, 80, 81, 82]

    @pytest.mark.parametrize("given", ["0", "70000", "9-1", "ssh", "1-"])
    def test_no_port(self, given: str) -> None:
        """It is named."""
        with pytest.raises(InvalidInput, match=f"{given} is no port"):
            portscan.read_ports([given])

    def test_a_port_of_this_machine(self) -> None:
        """Open while something listens, closed afterwards."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            found = portscan.scan("127.0.0.1", [str(port)], 5.0, 10)
        assert (found["open"], found["source"], found["closed_count"]) == ([port], "127.0.0.1", 0)
        found = portscan.scan("127.0.0.1", [str(port)], 5.0, 10)
        assert (found["open"], found["closed_count"]) == ([], 1)


def test_cookies_lose_their_values() -> None:
    """A session that is in a report could be taken over."""
    assert web._without_value("session=abc123; Path=/; Secure") == "session=...; Path=/; Secure"


def scanned(**inside: t.Any) -> dict[str, t.Any]:
    """What was found on a host whose SSH server takes passwords, and which serves nothing."""
    sshd = {"settings": {"passwordauthentication": "yes"}, "matches": []}
    reached = {"open": [22], "tried": ["1-65535"], "source": "192.0.2.1", "address": "192.0.2.2", "seconds": 1.0}
    web_found = {"endpoints": [], "served": [], "answers": [], "plain": [], "not_judged": [], "seconds": 1.0}
    return {"inside": {"sshd": sshd, "not_judged": [], "seconds": 1.0, **inside}, "ports": reached, "web": web_found, "flows": [{"port": 22}]}


def accept(**changed: t.Any) -> dict[str, t.Any]:
    """An exception for passwords on app1."""
    return {"id": "ssh_passwords", "host": "app1", "until": "2026-12-31", "reason": "until keys are out", **changed}


class TestReport:
    def test_an_open_finding_fails(self) -> None:
        """It stands in the table with what to do, and in the page."""
        report = combine({"app1": scanned()}, [], "high", NOW)
        assert (report["status"], report["findings_failing"], report["findings_by_severity"]["high"]) == ("failed", 1, 1)
        assert report["lines"][1].startswith("high      app1  passwordauthentication lets people log in with passwords")
        assert report["lines"][1].endswith("[ssh_passwords]")
        assert "Give everybody a key" in report["lines"][2]
        assert "lets people log in with passwords" in render_html(report)
        assert set(report["findings"][0]) >= {"host", "subject", "evidence", "why", "mend", "severity"}

    def test_below_the_limit(self) -> None:
        """It is told, and fails nothing."""
        report = combine({"app1": scanned()}, [], "critical", NOW)
        assert (report["status"], report["findings_failing"], len(report["findings"])) == ("ok", 0, 1)

    @pytest.mark.parametrize(
        ("exception", "open_findings"),
        [
            (accept(), 0), (accept(host="app*"), 0), (accept(until="2026-11-27"), 0), (accept(until=datetime.date(2026, 12, 1)), 0),
            (accept(until="2026-11-26"), 1), (accept(host="lb1"), 1), (accept(subject="other"), 1), (accept(id="ssh_x11"), 1),
        ],
    )  # fmt: skip
    def test_exceptions(self, exception: dict[str, t.Any], open_findings: int) -> None:
        """One holds for its host and subject, up to its day; a finding that is borne stays in the report."""
        report = combine({"app1": scanned()}, [exception], "high", NOW)
        assert (report["findings_failing"], len(report["findings"])) == (open_findings, 1)
        assert report["findings"][0]["accepted"] == ("" if open_findings else "until keys are out")

    def test_an_exception_that_nobody_needs(self) -> None:
        """It is named."""
        report = combine({"app1": scanned()}, [accept(host="lb1")], "high", NOW)
        assert "no finding needs the exception ssh_passwords of lb1 any more" in report["lines"]

    @pytest.mark.parametrize(
        ("exception", "words"),
        [(accept(id="ssh"), "no rule has that id"), (accept(reason=" "), "no reason"), (accept(until="soon"), "2027-03-31"), (accept(until=None), "until")],
    )
    def test_an_exception_that_cannot_be_read(self, exception: dict[str, t.Any], words: str) -> None:
        """It is refused, for one that is misspelt would cover nothing."""
        with pytest.raises(InvalidInput, match=words):
            combine({}, [exception], "high", NOW)

    def test_a_host_that_does_not_answer_fails(self) -> None:
        """Whoever was not looked at is not well."""
        report = combine({"app1": scanned(), "app2": {"inside": {"msg": "unreachable"}}}, [], "critical", NOW)
        assert report["status"] == "failed"
        assert report["gaps"]["app2 from inside"] == "unreachable"
        assert "app2 from inside could not be looked at (unreachable)" in report["verdict"]

    def test_a_part_that_is_not_there_does_not(self) -> None:
        """A host without an SSH server has nothing to judge."""
        entry = host.not_judged("sshd", host.NotThere("there is no SSH server"))
        report = combine({"app1": scanned(sshd=None, not_judged=[entry])}, [], "low", NOW)
        assert report["status"] == "ok"
        assert "app1: sshd was not judged: there is no SSH server" in report["lines"]

    @pytest.mark.parametrize("entry", [host.not_judged("packages", host.NotKnown("apt-get says: no")), {"part": "packages", "reason": "apt-get says: no"}])
    def test_a_part_that_could_not_be_judged_fails(self, entry: dict[str, t.Any]) -> None:
        """What nobody could look at may hold everything; it stands in the verdict and in the page."""
        report = combine({"app1": scanned(sshd=None, not_judged=[entry])}, [], "critical", NOW)
        assert (report["status"], report["findings_failing"]) == ("failed", 0)
        assert "packages of app1 could not be judged (apt-get says: no)" in report["verdict"]
        assert "app1: packages not judged" in render_html(report)

    @pytest.mark.parametrize(
        ("closed", "flows", "status"),
        [
            (0, None, "failed"), (0, [{"port": 22}], "failed"), (0, [{"port": 22, "from": ["192.0.2.0/24"]}], "failed"),
            (0, [{"port": 22, "from": ["198.51.100.7"]}], "ok"), (0, [{"port": 53, "protocol": "udp"}], "ok"), (0, [], "ok"), (65535, [{"port": 22}], "ok"),
        ],
    )  # fmt: skip
    def test_a_host_of_which_no_port_answers(self, closed: int, flows: t.Any, status: str) -> None:
        """It was not reached, unless nothing is declared to let the scanner in."""
        facts = scanned(sshd=None)
        facts["ports"].update({"open": [], "closed_count": closed})
        report = combine({"app1": {**facts, "flows": flows}}, [], "critical", NOW)
        assert report["status"] == status
        assert ("no port of 192.0.2.2 answered 192.0.2.1" in report["verdict"]) is (status == "failed")

    def test_flows_that_are_an_empty_text(self) -> None:
        """That is what a template that leads to none is for ansible-core 2.18; an empty list declares that nothing is let in."""
        found = [{finding["id"] for finding in combine({"app1": {**scanned(), "flows": flows}}, [], "high", NOW)["findings"]} for flows in ("", None, [])]
        assert found[0] == found[1] and "flows_not_declared" in found[0] and "port_undeclared" in found[2]
