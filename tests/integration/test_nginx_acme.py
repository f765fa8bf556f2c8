# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates by ACME: pebble as the authority, BIND as the DNS, nginx with the role's configuration, and lego. Only systemd is not there: Molecule has it."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import secrets
import shutil
import ssl
import subprocess
import threading
import time
import typing as t
import urllib.request

import pytest
from ports import free_port, wait_until_listening
from test_nginx_tls import FOLDERS, Balancer, make_pair, pytestmark as needs_root
from waiting import until

pytestmark = [needs_root, pytest.mark.skipif(not all(map(shutil.which, ("pebble", "lego", "named"))), reason="needs pebble, lego and bind9")]

LIFETIME = 90
SHARE = 0.7
SENTINEL = base64.b64encode(f"Sentinel{secrets.token_hex(16)}".encode()).decode()


class Daemon:
    """A server of the test."""

    def __init__(self, folder: pathlib.Path, port: int, *argv: str, **environment: str) -> None:
        """Keep how it is started."""
        self.log, self.port, self.argv, self.environment = folder / f"{argv[0]}.log", port, argv, environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment})
        wait_until_listening(self.port, self.process, self.log.read_text)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def make_dns(folder: pathlib.Path) -> Daemon:
    """A DNS server for acme.test: each name below it is this host, and who has the key may add records."""
    port = free_port()
    (folder / "acme.zone").write_text("$TTL 1\n@ SOA ns hostmaster 1 60 60 60 1\n@ NS ns\n@ A 127.0.0.1\n* A 127.0.0.1\nns A 127.0.0.1\n")
    (folder / "named.conf").write_text(
        f'key "lego." {{ algorithm hmac-sha256; secret "{SENTINEL}"; }};\n'
        f'options {{ directory "{folder}"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;'
        f' session-keyfile "{folder}/session.key"; dnssec-validation no; }};\n'
        'controls { };\nzone "acme.test" { type primary; file "acme.zone"; allow-update { key "lego."; }; };\n'
    )
    return Daemon(folder, port, "named", "-f", "-n", "1", "-c", str(folder / "named.conf"))


class Authority(Balancer):
    """A balancer with an authority that issues certificates of a minute and a half, and the DNS that the authority asks."""

    folders = {**FOLDERS, "sbin": "/usr/local/sbin", "acme": "/etc/nginx-acme", "acme_state": "/var/lib/nginx-acme"}

    def __init__(self, folder: pathlib.Path) -> None:
        """Start all of them."""
        super().__init__(folder)
        self.dns = make_dns(folder)
        self.dns.start()
        own = make_pair("localhost")
        (folder / "pebble.crt").write_text(own["certificate"])
        (folder / "pebble.key").write_text(own["key"])
        port, manage = free_port(), free_port()
        settings = {"listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{manage}", "certificate": str(folder / "pebble.crt"),
                    "privateKey": str(folder / "pebble.key"), "httpPort": self.http, "tlsPort": self.https, "certificateValidityPeriod": LIFETIME}
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        argv = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self.dns.port}"]
        self.pebble = Daemon(folder, port, *argv, PEBBLE_VA_NOSLEEP="1", PEBBLE_AUTHZREUSE="0")
        self.pebble.start()
        with urllib.request.urlopen(f"https://127.0.0.1:{manage}/roots/0", context=ssl._create_unverified_context()) as answer:
            self.root = answer.read().decode()
        (folder / "root.pem").write_text(self.root)
        (folder / "figures").mkdir()
        self.variables.update(
            nginx_tls_acme_server=f"https://localhost:{port}/dir", nginx_tls_acme_server_ca=own["certificate"], nginx_tls_acme_roots=self.root,
            nginx_tls_acme_email="ops@acme.test", nginx_tls_acme_renew_share=SHARE, nginx_tls_acme_textfile_dir=str(folder / "figures"),
            nginx_tls_acme_dns_resolvers=[f"127.0.0.1:{self.dns.port}"], nginx_tls_acme_dns_wait=False, nginx_tls_sites=[self.acme("shop")],
        )

    def stop(self) -> None:
        """Stop all of them."""
        self.pebble.stop()
        self.dns.stop()
        super().stop()

    def acme(self, name: str, *names: str) -> dict[str, t.Any]:
        """A site that orders its certificate."""
        return {"name": name, "server_names": [*names] or [f"{name}.acme.test"], "redirect": "https://elsewhere.test", "acme": True}

    def role(self, check: bool = False, **variables: t.Any) -> dict[str, t.Any]:
        """The role without packages and systemd."""
        sites = variables.get("nginx_tls_sites", self.variables["nginx_tls_sites"])
        bare = [site["name"] for site in sites if not (self.folder / f"etc/acme/{site['name']}.pem").exists()]
        return self.play("look", "assert", *(["acme_stand_in"] if bare else []), "configure", "reload", check=check, **variables)

    def set(self, **settings: t.Any) -> None:
        """Change settings of the program, as a run of the role would."""
        path = self.folder / "acme/config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    def keep(self, *arguments: str) -> tuple[int, str]:
        """Run the program of the timer, in the view of nginx, with its secrets as systemd gives them; return status and output."""
        script = f"set -a; . /etc/nginx-acme/secret.env; exec /usr/local/sbin/nginx-acme {' '.join(arguments)}"
        done = self.inside("sh", "-c", script)
        assert SENTINEL not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def shown(self, name: str = "shop.acme.test") -> tuple[str, str]:
        """From outside: the serial number of the certificate that is shown for a name, and what openssl thinks of it."""
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.https}", "-servername", name, "-verify_hostname", name]
        argv += ["-CAfile", f"{self.folder}/root.pem"]
        seen = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False).stdout
        serial = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=seen, capture_output=True, text=True, check=True).stdout
        verdict = re.search(r"Verify return code: \d+ \((.+)\)", seen)
        return serial.strip().partition("=")[2], verdict[1] if verdict else "?"

    def shows(self, verdict: str = "ok", name: str = "shop.acme.test", serial: str | None = None) -> str:
        """Wait until a certificate is shown, and return its serial number: while nginx takes a new one, its former workers still answer for a moment."""

        def seen() -> str:
            number, thought = self.shown(name)
            return number if thought == verdict and serial in (None, number) else ""

        return t.cast(str, until(seen, f"a certificate for {name}: {verdict}"))

    def issued_serial(self, site: str = "shop") -> str:
        """Wait until the certificate that was issued for a site is shown, and return its serial number."""
        argv = ["openssl", "x509", "-noout", "-serial", "-in", f"{self.folder}/etc/acme/{site}.pem"]
        serial = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
        return self.shows(name=f"{site}.acme.test", serial=serial)

    def figures(self, site: str = "shop") -> dict[str, float]:
        """What the exporter would read."""
        text = (self.folder / "figures/mainstay-acme.prom").read_text()
        return {key: float(value) for key, value in re.findall(rf'^mainstay_acme_certificate_(\w+){{site="{site}"}} (\S+)$', text, re.MULTILINE)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Authority]:
    """A balancer with an authority."""
    authority = Authority(tmp_path_factory.mktemp("acme"))
    try:
        yield authority
    finally:
        authority.stop()


@pytest.fixture(name="issued")
def issued_site(site: Authority) -> Authority:
    """The same, with the role's files, whichever test comes first."""
    if not (site.folder / "acme/config.json").exists():
        assert not site.role()["failed"]
    return site


def test_the_first_certificate_by_http(site: Authority) -> None:
    """A stand-in first, then one that is trusted; a second run of role and program changes nothing."""
    planned = site.role(check=True)
    assert not planned["failed"] and planned["changed"] and not (site.folder / "etc/acme").exists()
    assert not site.role()["failed"]
    site.shows("hostname mismatch")
    assert site.role()["changed"] == 0
    status, output = site.keep()
    assert status == 0 and "because the one that it has was not issued for it" in output, output
    serial = site.issued_serial()
    assert site.keep() == (0, "shop: its certificate is good\n")
    assert site.role()["changed"] == 0 and site.shown() == (serial, "ok")
    figures = site.figures()
    assert figures["stand_in"] == figures["failures"] == 0 and figures["last_success_timestamp_seconds"] > time.time() - 300
    assert abs(figures["not_after_timestamp_seconds"] - figures["not_before_timestamp_seconds"] - LIFETIME) < 3
    assert (site.folder / "etc/acme/shop.pem").stat().st_mode & 0o777 == 0o600
    assert not list((site.folder / "acme_state").rglob("*.key.pem")) and not (site.folder / "acme_state/lego/certificates").exists()


def test_a_renewal_by_the_share_that_is_left(issued: Authority) -> None:
    """While more is left nothing happens, then there is a new one; a client that asks all the time gets an answer each time."""
    assert issued.keep("--now")[0] == 0
    serial, lost, over = issued.issued_serial(), [], threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                issued.ask(name="shop.acme.test")
            except OSError as exc:
                lost.append(exc)
            time.sleep(0.02)

    client = threading.Thread(target=ask)
    client.start()
    try:
        end = issued.figures()["not_after_timestamp_seconds"]
        while issued.shown()[0] == serial:
            assert time.time() < end, "it was not renewed"
            before = end - time.time()
            assert issued.keep()[0] == 0
            time.sleep(1)
    finally:
        over.set()
        client.join()
    assert before < LIFETIME * SHARE + 3 and not lost
    issued.shows()
    accounts = list((issued.folder / "acme_state/lego/accounts").rglob("*.key"))
    assert len(accounts) == 1


def test_a_renewal_that_fails_keeps_the_certificate_and_waits(issued: Authority) -> None:
    """The authority does not find the name: the run is red, the former certificate stays, and the next run asks nobody."""
    assert issued.keep("--now")[0] == 0
    serial = issued.issued_serial()
    issued.dns.stop()
    try:
        issued.set(key_type="ec384")
        status, output = issued.keep()
        assert status == 1 and "could not get a certificate for shop.acme.test" in output, output
        orders = issued.pebble.log.read_text().count("authz")
        status, output = issued.keep()
        assert status == 1 and "The next try is made after" in output and issued.pebble.log.read_text().count("authz") == orders
        assert issued.shown()[0] == serial and issued.figures()["failures"] == 1
    finally:
        issued.dns.start()
    status, output = issued.keep("--now")
    assert status == 0 and "it is ordered in another way now" in output
    assert issued.issued_serial() != serial and issued.figures()["failures"] == 0


def test_what_cannot_serve_is_not_used(issued: Authority) -> None:
    """A certificate of another authority, of another key, or for other names never reaches nginx."""
    assert issued.keep("--now")[0] == 0
    serial = issued.issued_serial()
    good, other, strange = make_pair("shop.acme.test", days=2), make_pair("shop.acme.test", days=2), make_pair("strange.test", days=2)
    for certificate, key, reason in [(good, good, "verify the chain"), (good, other, "does not belong to its key"), (strange, strange, "is not for shop")]:
        fake = issued.folder / "fake-lego"
        (issued.folder / "fake.crt").write_text(certificate["certificate"])
        (issued.folder / "fake.key").write_text(key["key"])
        fake.write_text(f"#!/bin/sh\nmkdir -p /var/lib/nginx-acme/lego/certificates\ncp {issued.folder}/fake.* /var/lib/nginx-acme/lego/certificates\n")
        fake.chmod(0o755)
        issued.set(lego=str(fake), key_type="rsa2048")
        status, output = issued.keep("--now")
        assert status == 1 and reason in output, output
        assert issued.shown()[0] == serial
    issued.set(lego="/usr/bin/lego", key_type="ec256")


def test_one_that_nginx_does_not_show_is_not_ordered_again(issued: Authority) -> None:
    """The certificate is there and counts as issued; the next look tries the reload anew, and asks the authority for nothing."""
    assert issued.keep("--now")[0] == 0
    program = issued.folder / "sbin/nginx-acme"
    text = program.read_text()
    program.write_text(text.replace("PROOF_SECONDS = 30", "PROOF_SECONDS = 1"))
    issued.set(key_type="ec384", https_port=free_port())
    try:
        status, output = issued.keep("--now")
        assert status == 1 and "nginx was reloaded but does not show the new certificate" in output, output
        orders = issued.pebble.log.read_text().count("authz")
        status, output = issued.keep("--now")
        assert status == 1 and "does not show" in output and issued.figures()["failures"] == 2 and issued.figures()["stand_in"] == 0
    finally:
        issued.set(https_port=issued.https)
        program.write_text(text)
    status, output = issued.keep("--now")
    assert status == 0 and "which nginx had not shown before, is shown" in output, output
    assert issued.pebble.log.read_text().count("authz") == orders and issued.shows() and issued.figures()["failures"] == 0
    issued.set(key_type="ec256")


def test_one_site_does_not_keep_the_others_from_their_turn(issued: Authority) -> None:
    """Whatever goes wrong, here a client whose output is no text."""
    fake = issued.folder / "odd-lego"
    fake.write_text("#!/bin/sh\nprintf '\\377\\n'\nexit 1\n")
    fake.chmod(0o755)
    wanted = json.loads((issued.folder / "acme/config.json").read_text())
    issued.set(lego=str(fake), key_type="rsa2048", sites=[*wanted["sites"], {"name": "shop2", "names": ["shop2.acme.test"]}])
    try:
        status, output = issued.keep("--now")
        assert status == 1 and "shop: UnicodeDecodeError" in output and "shop2: nginx does not serve" in output, output
        assert issued.figures("shop")["failures"] == 1
    finally:
        (issued.folder / "acme/config.json").write_text(json.dumps(wanted))


def test_a_wildcard_by_dns_and_other_names(issued: Authority) -> None:
    """BIND takes the record by the key; the key is in one private file only; other names order anew."""
    dns = {"RFC2136_NAMESERVER": f"127.0.0.1:{issued.dns.port}", "RFC2136_TSIG_KEY": "lego.", "RFC2136_TSIG_SECRET": SENTINEL,
           "RFC2136_TSIG_ALGORITHM": "hmac-sha256.", "RFC2136_SEQUENCE_INTERVAL": "1"}
    wanted = {"nginx_tls_acme_challenge": "dns-01", "nginx_tls_acme_dns_provider": "rfc2136", "nginx_tls_acme_dns_environment": dns}
    wildcard = issued.role(**wanted | {"nginx_tls_acme_challenge": "http-01"}, nginx_tls_sites=[issued.acme("shop", "*.acme.test")])
    assert "the site shop has the wildcard *.acme.test, which HTTP-01 cannot prove" in wildcard["failed"]
    planned = issued.role(check=True, **wanted, nginx_tls_sites=[issued.acme("shop", "shop.acme.test", "*.shop.acme.test"), issued.acme("new")])
    assert not planned["failed"] and planned["changed"]
    assert not issued.role(**wanted, nginx_tls_sites=[issued.acme("shop", "shop.acme.test", "*.shop.acme.test")])["failed"]
    status, output = issued.keep("--now")
    assert status == 0 and "because its names are other ones now" in output, output
    assert issued.shows(name="any.shop.acme.test") == issued.shows()
    holders = [path for path in issued.folder.rglob("*") if path.is_file() and SENTINEL.encode() in path.read_bytes()]
    assert {path.name for path in holders} <= {"secret.env", "named.conf", "vars.json"}
    assert (issued.folder / "acme/secret.env").stat().st_mode & 0o777 == 0o600


def test_an_answer_that_only_a_peer_could_have(issued: Authority) -> None:
    """A balancer asks the others, and nobody asks on and on."""
    peers = [{"name": "localhost", "address": "127.0.0.1"}, {"name": "other", "address": "127.0.0.1"}]
    assert not issued.role(nginx_tls_balancers=peers)["failed"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{issued.http}/.well-known/acme-challenge/x", headers={"Host": "shop.acme.test"}))
    assert refused.value.code == 404

    def lines() -> list[str]:
        return sorted(line["upstream_status"] for line in issued.log() if line["uri"] == "/.well-known/acme-challenge/x")

    # Each request's line is written after its answer.
    until(lambda: len(lines()) > 1, "the line of the balancer that was asked by the other one")
    assert lines() == ["", "404"]


def test_a_certificate_that_was_given_stays_until_the_first_one_is_issued(issued: Authority) -> None:
    """Going from one kind to the other and back, no stand-in is shown in between."""
    pair = make_pair("moved.acme.test")
    moved = issued.acme("moved")
    assert not issued.role(nginx_tls_sites=[{**moved, "acme": False, **pair}])["failed"]
    serial = issued.shown("moved.acme.test")[0]
    assert not issued.role(nginx_tls_sites=[moved])["failed"]
    assert issued.shown("moved.acme.test")[0] == serial and not list((issued.folder / "etc/tls").iterdir())
    assert issued.keep()[0] == 0
    issued.issued_serial("moved")
    assert not issued.role(nginx_tls_sites=[{**moved, "acme": False, **pair}])["failed"]
    until(lambda: issued.shown("moved.acme.test")[0] == serial, "the certificate that was given")
    assert not list((issued.folder / "etc/acme").glob("*.pem"))
    assert not (issued.folder / "acme/secret.env").exists() and not (issued.folder / "etc/acme_challenge.conf").exists()
