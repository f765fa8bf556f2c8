# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``health_probe`` against real HTTP, TLS, PostgreSQL and Redis servers on loopback.

The module's ``main`` runs within this process, which spares each test the start of Ansible; the last tests run it through ``ansible``.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import typing as t

import playbooks
import psycopg2
import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ports import free_port

from ansible_collections.mainstay.ops.plugins.modules import health_probe

PASSWORD = "sesame-Qm4 opens"
Result = dict[str, t.Any]


def probe(capsys: pytest.CaptureFixture[str], *checks: dict[str, t.Any], check_mode: bool = False, **options: t.Any) -> Result:
    """Run the module; what it returns, whether it fails or not."""
    capsys.readouterr()
    with patch_module_args({"checks": list(checks), **options, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
        health_probe.main()
    printed = capsys.readouterr().out
    assert PASSWORD not in printed.replace("\\", "")
    result = json.loads(printed)
    assert result.get("changed", False) is False
    # What AnsibleModule itself refuses has a message alone.
    assert "checks" not in result or result["actions"] == []
    return result


def only(result: Result) -> Result:
    """The single check of a result."""
    assert len(result["checks"]) == 1, result
    return result["checks"][0]


def refused(result: Result) -> str:
    """The message of a run that was refused before anything was probed."""
    assert result["failed"] and "checks" not in result
    return result["msg"]


# Certificates


@dataclasses.dataclass(frozen=True)
class Issued:
    """A certificate and its key, as paths."""

    cert: str
    key: str


class Authority:
    """A throwaway CA."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Throwaway CA")])
        certificate = self._builder(self.name, self.key, -1, 3650).add_extension(x509.BasicConstraints(True, None), True).add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), True,
        ).sign(self.key, hashes.SHA256())
        self.cert = str(folder / "ca.crt")
        pathlib.Path(self.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, starts: float, ends: float) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now + datetime.timedelta(days=starts)).not_valid_after(now + datetime.timedelta(days=ends))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)

    def issue(self, name: str, starts: float = -10.0, ends: float = 30.0) -> Issued:
        """A certificate for a name and for 127.0.0.1, valid between two days counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Shop")])
        certificate = self._builder(subject, key, starts, ends).add_extension(x509.SubjectAlternativeName(names), False).sign(self.key, hashes.SHA256())
        stem = f"{name}.{starts:g}.{ends:g}"
        issued = Issued(str(self.folder / f"{stem}.crt"), str(self.folder / f"{stem}.key"))
        pathlib.Path(issued.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pathlib.Path(issued.key).touch(0o600)
        pathlib.Path(issued.key).write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )
        return issued


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that all servers here have their certificates from."""
    return Authority(tmp_path_factory.mktemp("pki"))


# HTTP servers


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Web

    def setup(self) -> None:
        """Do the TLS handshake in the connection's own thread."""
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *unused: t.Any) -> None:
        """Say nothing."""

    def answer(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.seen.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body})
            number = sum(request["path"] == self.path for request in self.server.seen)
        status, text, headers = 200, "fine", {}
        word, unused, argument = self.path.lstrip("/").partition("/")
        if word == "status":
            status, text = int(argument), f"status {argument} " + "x" * 300
        elif word == "json":
            text = json.dumps({"status": "ok", "db": {"connected": True, "lag": 3}})
        elif word == "slow":
            time.sleep(float(argument))
        elif word == "flaky":  # wrong until asked this often
            status = 200 if number > int(argument) else 503
        elif word == "third":  # every third request is wrong
            status = 500 if number % 3 == 0 else 200
        elif word == "to":
            status, headers = 302, {"Location": "/" + argument}
        elif word == "away":
            status, headers = 302, {"Location": f"http://127.0.0.1:{argument}/landed"}
        elif word == "loop":
            status, headers = 302, {"Location": "/loop"}
        elif word == "short":
            headers = {"Content-Length": "100"}
        payload = text.encode()
        self.send_response(status)
        for name, content in {"Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name, content)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.close_connection = word == "short"

    do_GET = do_POST = do_HEAD = answer


class Web(http.server.ThreadingHTTPServer):
    """An HTTP or HTTPS server on a free port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), Handler)
        self.context = context
        self.lock = threading.Lock()
        self.seen: list[dict[str, t.Any]] = []
        self.names: list[str] = []
        if context is not None:
            context.sni_callback = lambda sock, name, unused: self.names.append(name)

    def handle_error(self, *unused: t.Any) -> None:
        """Say nothing of clients that went away."""

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self.server_address[1]

    def url(self, path: str = "/") -> str:
        """A URL of this server by its address."""
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def serving(server: Web) -> t.Iterator[Web]:
    """Serve in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def server_context(issued: Issued, client_ca: str | None = None) -> ssl.SSLContext:
    """A server's TLS context; with a CA, clients need a certificate from it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    if client_ca:
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # where a missing client certificate fails the handshake itself
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def web() -> t.Iterator[Web]:
    """An HTTP server."""
    with serving(Web()) as server:
        yield server


@pytest.fixture
def secure(authority: Authority) -> t.Iterator[Web]:
    """An HTTPS server for shop.example, valid for 30 more days."""
    with serving(Web(server_context(authority.issue("shop.example")))) as server:
        yield server


@contextlib.contextmanager
def trap(drip: bytes = b"") -> t.Iterator[int]:
    """A port that takes connections and never answers, or drips one byte each 50 ms for ever."""
    stop = threading.Event()
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.settimeout(0.05)

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    held.append(listener.accept()[0])
                for sock in held if drip else []:
                    with contextlib.suppress(OSError):
                        sock.sendall(drip)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()
            for sock in held:
                sock.close()


def wait_for(what: str, holds: t.Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds; an error of a connection counts as not yet."""
    limit = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, psycopg2.Error, subprocess.CalledProcessError):
            if holds():
                return
        assert time.monotonic() < limit, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


# http


def test_http_healthy(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    result = probe(capsys, {"name": "web", "type": "http", "url": web.url("/json")})
    found = only(result)
    assert (found["name"], found["type"], found["status"], found["attempts"], found["detail"]) == ("web", "http", "healthy", 1, "answered 200")
    assert 0 < found["seconds"] < 1
    assert found["observed"] == {"address": f"127.0.0.1:{web.port}", "url": web.url("/json"), "http_status": 200, "location": None, "body_start": None}
    assert (result["status"], result["healthy"], result["degraded"], result["unhealthy"], result["inconclusive"]) == ("healthy", 1, 0, 0, 0)
    assert result["counts"] == {"healthy": 1, "degraded": 0, "unhealthy": 0, "inconclusive": 0, "total": 1}
    assert (result["samples"]["count"], result["samples"]["errors"], result["samples"]["error_rate"]) == (1, 0, 0.0)
    assert found["seconds"] - 0.001 <= result["seconds"] < 2
    assert result["samples"]["p50"] == result["samples"]["p95"] == result["samples"]["p99"] == found["seconds"]
    assert found["samples"] == result["samples"]


def test_http_failure_shows_status_and_the_start_of_the_body(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    result = probe(capsys, {"name": "web", "type": "http", "url": web.url("/status/503")}, fail_on="unhealthy")
    found = only(result)
    start = "status 503 " + "x" * 189
    assert (found["status"], found["observed"]["http_status"], found["observed"]["body_start"]) == ("unhealthy", 503, start)
    assert result["failed"] and result["status"] == "unhealthy" and result["unhealthy"] == 1
    assert result["msg"] == (
        "could not pass the health gate (fail_on=unhealthy): unhealthy, 1 of 1 checks are not healthy: "
        f"web (http) is unhealthy: answered 503, expected 200; body starts with '{start}'"
    )


def test_http_request_is_sent_as_asked(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    check = {
        "type": "http", "url": web.url("/status/201?q=a b"), "method": "post", "headers": {"X-Trace": 7}, "secret_headers": {"X-Token": PASSWORD},
        "body": {"deep": [1, True]}, "status": [200, 201], "login_user": "jo", "login_password": PASSWORD,
    }
    web.seen.clear()
    assert only(probe(capsys, {**check, "url": web.url("/json?q=a b")}))["status"] == "healthy"
    seen = web.seen[0]
    assert (seen["method"], seen["path"], json.loads(seen["body"])) == ("POST", "/json?q=a%20b", {"deep": [1, True]})
    assert seen["headers"]["Authorization"] == "Basic am86c2VzYW1lLVFtNCBvcGVucw=="
    assert (seen["headers"]["X-Trace"], seen["headers"]["X-Token"], seen["headers"]["Content-Type"]) == ("7", PASSWORD, "application/json")
    assert seen["headers"]["Host"] == f"127.0.0.1:{web.port}"
    assert only(probe(capsys, {**check, "url": web.url("/status/201"), "body": "plain"}))["status"] == "healthy"
    assert web.seen[-1]["body"] == b"plain" and "Content-Type" not in web.seen[-1]["headers"]
    assert only(probe(capsys, {"type": "http", "url": web.url("/status/201"), "method": "HEAD", "status": [201]}))["status"] == "healthy"


def test_http_body(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    good = {"type": "http", "url": web.url("/json"), "body_regex": '"ok"', "assertions": ["status == 'ok'", "db.connected", "db.lag < `5`"]}
    assert only(probe(capsys, good))["status"] == "healthy"
    bad = only(probe(capsys, {**good, "body_regex": '"ko"', "assertions": ["db.connected", "db.lag < `2`"]}))
    assert bad["status"] == "unhealthy"
    assert bad["detail"].startswith("body does not match '\"ko\"'; assertion 'db.lag < `2`' is false, not true; body starts with '{\"status\"")


@pytest.mark.parametrize(("limits", "status"), [({"degraded_above": 0.1}, "degraded"), ({"degraded_above": 0.05, "unhealthy_above": 0.1}, "unhealthy")])
def test_http_latency(capsys: pytest.CaptureFixture[str], web: Web, limits: dict[str, float], status: str) -> None:
    result = probe(capsys, {"type": "http", "url": web.url("/slow/0.15"), **limits})
    assert (only(result)["status"], result["status"], result[status]) == (status, status, 1)
    assert "more than 0.1 s" in only(result)["detail"]


def test_http_redirects(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    stopped = only(probe(capsys, {"type": "http", "url": web.url("/to/json")}))
    assert (stopped["status"], stopped["observed"]["location"]) == ("unhealthy", "/json")
    assert stopped["detail"].startswith("answered 302 to /json, expected 200")
    followed = only(probe(capsys, {"type": "http", "url": web.url("/to/to/json"), "follow_redirects": True, "assertions": ["db.connected"]}))
    assert (followed["status"], followed["observed"]["url"]) == ("healthy", web.url("/json"))
    looped = only(probe(capsys, {"type": "http", "url": web.url("/loop"), "follow_redirects": True}))
    assert (looped["status"], looped["detail"]) == ("unhealthy", "more than 5 redirects, the last one to /loop")


def test_http_credentials_stay_with_their_host(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    with serving(Web()) as other:
        check = {"type": "http", "url": f"http://shop.example:{web.port}/away/{other.port}", "connect_to": f"127.0.0.1:{web.port}"}
        found = only(probe(capsys, {**check, "follow_redirects": True, "login_user": "jo", "login_password": PASSWORD, "secret_headers": {"X-Token": "t0ken"}}))
        assert found["status"] == "healthy" and found["observed"]["address"] == f"127.0.0.1:{other.port}"
        assert {"Authorization", "X-Token"} <= set(web.seen[0]["headers"]) and not {"Authorization", "X-Token"} & set(other.seen[0]["headers"])


def test_http_over_ipv6(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Web(host="::1")) as server:
        found = only(probe(capsys, {"type": "http", "url": f"http://[::1]:{server.port}/"}))
        assert (found["status"], found["observed"]["address"]) == ("healthy", f"[::1]:{server.port}")
        assert server.seen[0]["headers"]["Host"] == f"[::1]:{server.port}"


def test_http_answers_that_are_none(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    port = free_port()
    with trap() as silent, trap(b"S") as dripping:
        result = probe(
            capsys,
            {"name": "refused", "type": "http", "url": f"http://127.0.0.1:{port}/"},
            {"name": "short", "type": "http", "url": web.url("/short")},
            {"name": "silent", "type": "http", "url": f"http://127.0.0.1:{silent}/", "timeout": 0.4},
            {"name": "dripping", "type": "http", "url": f"http://127.0.0.1:{dripping}/", "timeout": 0.4},
            {"name": "nameless", "type": "http", "url": "http://nobody.invalid/"},
            {"name": "not tls", "type": "http", "url": f"https://127.0.0.1:{web.port}/", "timeout": 2},
        )
    details = {found["name"]: found["detail"] for found in result["checks"]}
    assert result["unhealthy"] == 6
    assert details["refused"] == f"no connection to 127.0.0.1:{port}: Connection refused"
    assert details["short"] == f"the answer 200 of 127.0.0.1:{web.port} was cut short: 96 bytes are missing"
    assert details["silent"] == f"no answer from 127.0.0.1:{silent} within 0.4 s"
    assert details["dripping"] == f"no answer from 127.0.0.1:{dripping} within 0.4 s"
    assert details["nameless"].startswith("no address for nobody.invalid: ")
    assert details["not tls"].startswith(f"TLS handshake with 127.0.0.1:{web.port} failed: ")
    assert result["checks"][2]["observed"] == dict.fromkeys(["address", "url", "http_status", "location", "body_start"])
    assert 0.38 < result["checks"][2]["seconds"] < 1.5 and 0.38 < result["checks"][3]["seconds"] < 1.5


# https


def test_https_keeps_name_and_host_when_connected_elsewhere(capsys: pytest.CaptureFixture[str], secure: Web, authority: Authority) -> None:
    check = {"type": "http", "url": "https://shop.example/json", "connect_to": f"127.0.0.1:{secure.port}", "ca_cert": authority.cert}
    found = only(probe(capsys, check))
    assert (found["status"], found["observed"]["address"]) == ("healthy", f"127.0.0.1:{secure.port}")
    assert (secure.names[-1], secure.seen[-1]["headers"]["Host"]) == ("shop.example", "shop.example")
    by_port = {**check, "url": f"https://shop.example:{secure.port}/json", "connect_to": "127.0.0.1"}
    assert only(probe(capsys, by_port))["status"] == "healthy"


def test_https_server_hostname(capsys: pytest.CaptureFixture[str], secure: Web, authority: Authority) -> None:
    check = {"type": "http", "url": f"https://localhost:{secure.port}/", "ca_certs": authority.cert}
    wrong = only(probe(capsys, check))
    assert wrong["status"] == "unhealthy" and "does not verify as localhost: Hostname mismatch" in wrong["detail"]
    assert only(probe(capsys, {**check, "server_hostname": "shop.example"}))["status"] == "healthy"
    assert (secure.names[-1], secure.seen[-1]["headers"]["Host"]) == ("shop.example", f"localhost:{secure.port}")


def test_https_chain_is_verified_unless_told_not_to(capsys: pytest.CaptureFixture[str], secure: Web) -> None:
    unknown = only(probe(capsys, {"type": "http", "url": secure.url()}))
    assert unknown["status"] == "unhealthy" and "unable to get local issuer certificate" in unknown["detail"]
    assert only(probe(capsys, {"type": "http", "url": secure.url(), "validate_certs": False}))["status"] == "healthy"


def test_https_client_certificate(capsys: pytest.CaptureFixture[str], authority: Authority) -> None:
    client = authority.issue("client")
    with serving(Web(server_context(authority.issue("mutual.example"), authority.cert))) as server:
        check = {"type": "http", "url": server.url(), "ca_cert": authority.cert}
        assert only(probe(capsys, check))["status"] == "unhealthy"
        assert only(probe(capsys, {**check, "client_cert": client.cert, "client_key": client.key}))["status"] == "healthy"


def test_encrypted_client_key_is_refused_before_anything_is_probed(
    capsys: pytest.CaptureFixture[str], web: Web, authority: Authority, tmp_path: pathlib.Path,
) -> None:
    client = authority.issue("client")
    key = serialization.load_pem_private_key(pathlib.Path(client.key).read_bytes(), None)
    encrypted = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"passphrase"))
    (tmp_path / "key.pem").write_bytes(encrypted)
    check = {"type": "http", "url": "https://a", "client_cert": client.cert, "client_key": str(tmp_path / "key.pem")}
    message = refused(probe(capsys, {"type": "http", "url": web.url()}, check))
    assert "could not load client_cert and client_key" in message and "keys without a passphrase" in message
    assert not web.seen


# tcp and tls


def test_tcp(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    closed = free_port()
    result = probe(capsys, {"type": "tcp", "host": "localhost", "port": web.port}, {"type": "tcp", "host": "127.0.0.1", "port": closed})
    good, bad = result["checks"]
    assert (good["status"], good["observed"], good["name"]) == ("healthy", {"address": f"127.0.0.1:{web.port}"}, f"tcp localhost:{web.port}")
    assert (bad["status"], bad["detail"]) == ("unhealthy", f"no connection to 127.0.0.1:{closed}: Connection refused")
    assert (result["status"], result["healthy"], result["unhealthy"]) == ("unhealthy", 1, 1)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({}, "healthy"),
        ({"degraded_days_left": 29}, "healthy"),
        ({"degraded_days_left": 31}, "degraded"),
        ({"degraded_days_left": 40, "unhealthy_days_left": 31}, "unhealthy"),
    ],
)
@pytest.mark.parametrize("validate", [True, False])
def test_tls_days_left(
    capsys: pytest.CaptureFixture[str], secure: Web, authority: Authority, limits: dict[str, float], status: str, validate: bool,
) -> None:
    check = {"type": "tls", "host": "shop.example", "connect_to": f"127.0.0.1:{secure.port}", "ca_cert": authority.cert, "validate_certs": validate}
    found = only(probe(capsys, {**check, **limits}))
    seen = found["observed"]
    assert found["status"] == status and re.search(r"\b(29\.9|30\.0)\b", found["detail"])
    assert (seen["address"], seen["tls_version"]) == (f"127.0.0.1:{secure.port}", "TLSv1.3")
    assert (seen["subject"], seen["issuer"]) == ("O=Shop,CN=shop.example", "CN=Throwaway CA")
    assert 29.9 < seen["days_left"] <= 30 and 0.74 < seen["lifetime_left"] <= 0.75
    assert datetime.datetime.fromisoformat(seen["not_after"]) - datetime.datetime.fromisoformat(seen["not_before"]) == datetime.timedelta(days=40)


def test_tls_name_chain_and_client_certificate(capsys: pytest.CaptureFixture[str], secure: Web, authority: Authority) -> None:
    check = {"type": "tls", "host": "127.0.0.1", "port": secure.port, "ca_cert": authority.cert}
    assert only(probe(capsys, check))["status"] == "healthy"
    other = only(probe(capsys, {**check, "server_hostname": "other.example"}))
    assert other["status"] == "unhealthy" and "does not verify as other.example: Hostname mismatch" in other["detail"]
    untrusted = only(probe(capsys, {"type": "tls", "host": "127.0.0.1", "port": secure.port}))
    assert untrusted["status"] == "unhealthy" and "unable to get local issuer certificate" in untrusted["detail"]
    client = authority.issue("client")
    with serving(Web(server_context(authority.issue("mutual.example"), authority.cert))) as mutual:
        assert only(probe(capsys, {**check, "port": mutual.port}))["status"] == "unhealthy"
        assert only(probe(capsys, {**check, "port": mutual.port, "client_cert": client.cert, "client_key": client.key}))["status"] == "healthy"


@pytest.mark.parametrize("validate", [True, False])
def test_tls_expired(capsys: pytest.CaptureFixture[str], authority: Authority, validate: bool) -> None:
    with serving(Web(server_context(authority.issue("old.example", -10, -2)))) as server:
        found = only(probe(capsys, {"type": "tls", "host": "127.0.0.1", "port": server.port, "ca_cert": authority.cert, "validate_certs": validate}))
        assert found["status"] == "unhealthy"
        assert ("certificate has expired" if validate else "certificate expired 2.0 days ago") in found["detail"]


# Tries, deadline, quorum


def test_retries_until_it_answers(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    found = only(probe(capsys, {"type": "http", "url": web.url("/flaky/2")}, retries=5, delay=0.02))
    assert (found["status"], found["attempts"], found["samples"]["errors"]) == ("healthy", 3, 2)
    given_up = only(probe(capsys, {"type": "http", "url": web.url("/flaky/9")}, retries=2, delay=0.02))
    assert (given_up["status"], given_up["attempts"]) == ("unhealthy", 3)


def test_successes_in_a_row(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    found = only(probe(capsys, {"type": "http", "url": web.url("/flaky/1")}, successes=3, retries=2, delay=0.15))
    assert (found["status"], found["attempts"]) == ("healthy", 4)
    assert found["samples"]["count"] == 4
    broken = only(probe(capsys, {"type": "http", "url": web.url("/third/a")}, successes=3, retries=3, delay=0.01))
    assert (broken["status"], broken["attempts"]) == ("unhealthy", 6)


def test_deadline_holds_with_hanging_endpoints(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    with trap() as silent:
        hanging = [
            {"name": "http", "type": "http", "url": f"http://127.0.0.1:{silent}/", "timeout": 60},
            {"name": "https", "type": "http", "url": f"https://127.0.0.1:{silent}/", "timeout": 60},
            {"name": "tls", "type": "tls", "host": "127.0.0.1", "port": silent, "timeout": 60},
            {"name": "postgres", "type": "postgres", "login_host": "127.0.0.1", "login_port": silent, "timeout": 60},
            {"name": "redis", "type": "redis", "login_host": "127.0.0.1", "login_port": silent, "timeout": 60},
        ]
        began = time.monotonic()
        result = probe(capsys, {"name": "good", "type": "http", "url": web.url()}, *hanging, deadline=1, retries=3, fail_on="unhealthy")
        took = time.monotonic() - began
    assert 0.85 < took < 10
    assert result["failed"] and [found["status"] for found in result["checks"]] == ["healthy"] + ["unhealthy"] * 5
    for found in result["checks"][1:]:
        assert re.search(r"within 0\.\d+ s; the deadline of 1 s passed$", found["detail"]), found


def test_concurrency(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    checks = [{"name": str(number), "type": "http", "url": web.url(f"/slow/0.{number + 40}")} for number in range(4)]
    began = time.monotonic()
    assert probe(capsys, *checks)["healthy"] == 4
    at_once = time.monotonic() - began
    began = time.monotonic()
    assert probe(capsys, *checks, concurrency=1)["healthy"] == 4
    one_by_one = time.monotonic() - began
    assert one_by_one > 1.6 and at_once < 0.8 * one_by_one


def test_quorum_and_gate(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    good = [{"name": f"good{number}", "type": "http", "url": web.url()} for number in range(2)]
    dead = {"name": "dead", "type": "tcp", "host": "127.0.0.1", "port": free_port()}
    met = probe(capsys, *good, dead, min_healthy=2, fail_on="unhealthy")
    assert not met.get("failed") and (met["status"], met["healthy"], met["unhealthy"]) == ("degraded", 2, 1)
    strict = probe(capsys, *good, dead, min_healthy=2, fail_on="degraded")
    assert strict["failed"] and "dead (tcp) is unhealthy: no connection to" in strict["msg"] and "good0" not in strict["msg"]
    missed = probe(capsys, *good, dead, min_healthy=3, fail_on="unhealthy")
    assert missed["failed"] and missed["status"] == "unhealthy"
    never = probe(capsys, *good, dead)
    assert not never.get("failed") and never["status"] == "unhealthy"


def test_retries_go_on_while_degraded_only_if_that_fails(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    check = {"type": "http", "url": web.url("/slow/0.05"), "degraded_above": 0.01}
    assert only(probe(capsys, check, retries=2, delay=0.01, fail_on="unhealthy"))["attempts"] == 1
    failed = probe(capsys, check, retries=2, delay=0.01, fail_on="degraded")
    assert failed["failed"] and (only(failed)["attempts"], only(failed)["status"], failed["degraded"]) == (3, "degraded", 1)


# Sampling


def test_samples(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    gate = {"samples": 9, "interval": 0.01, "fail_on": "unhealthy"}
    bad = probe(capsys, {"name": "canary", "type": "http", "url": web.url("/third/b")}, **gate)
    assert bad["failed"] and bad["samples"] | {"p50": 0, "p95": 0, "p99": 0} == {
        "count": 9, "errors": 3, "error_rate": 0.333333, "p50": 0, "p95": 0, "p99": 0,
    }
    assert "canary (http) is unhealthy: error rate 0.333333 is above 0 (3 of 9 samples); last failure: answered 500" in bad["msg"]
    allowed = probe(capsys, {"type": "http", "url": web.url("/third/c")}, max_error_rate=0.34, **gate)
    assert not allowed.get("failed") and allowed["status"] == "healthy"


@pytest.mark.parametrize("limit", ["max_p50", "max_p95", "max_p99"])
def test_latency_limits(capsys: pytest.CaptureFixture[str], web: Web, limit: str) -> None:
    check = {"type": "http", "url": web.url("/slow/0.03")}
    over = probe(capsys, check, samples=4, interval=0, **{limit: 0.02})
    assert over["status"] == "unhealthy" and re.search(rf"{limit[4:]} [\d.]+ s is above 0\.02 s", only(over)["detail"]), over
    assert over["samples"][limit[4:]] >= 0.03
    assert probe(capsys, check, samples=4, interval=0, **{limit: 10.0})["status"] == "healthy"


def test_duration_and_interval(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    began = time.monotonic()
    result = probe(capsys, {"name": "a", "type": "http", "url": web.url("/a")}, {"name": "b", "type": "http", "url": web.url("/b")}, duration=1.5, interval=0.5)
    assert 0.5 < time.monotonic() - began < 10
    counts = [found["samples"]["count"] for found in result["checks"]]
    assert all(2 <= count <= 3 for count in counts) and result["samples"]["count"] == sum(counts)


def test_too_few_samples_are_inconclusive_and_never_pass(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    gate = {"duration": 0.3, "interval": 0.1, "min_samples": 50}
    held = probe(capsys, {"name": "canary", "type": "http", "url": web.url()}, fail_on="unhealthy", **gate)
    assert held["failed"] and (held["status"], held["inconclusive"], held["healthy"]) == ("inconclusive", 1, 0)
    assert re.search(r"canary \(http\) is inconclusive: [1-3] samples, at least 50 are needed to judge", held["msg"])
    assert not probe(capsys, {"type": "http", "url": web.url()}, **gate).get("failed")
    cut = probe(capsys, {"type": "http", "url": web.url()}, samples=100, interval=0.1, deadline=0.4)
    assert cut["status"] == "inconclusive" and "at least 100 are needed to judge; the deadline of 0.4 s passed" in only(cut)["detail"]


# PostgreSQL


@dataclasses.dataclass(frozen=True)
class Postgres:
    """A primary and a standby."""

    folder: pathlib.Path
    primary: int
    standby: int

    def check(self, **more: t.Any) -> dict[str, t.Any]:
        """A check that logs in to the primary."""
        login = {"login_host": "127.0.0.1", "login_port": self.primary, "login_user": "monitor", "login_password": PASSWORD}
        return {"name": "db", "type": "postgres", **login, **more}

    def sql(self, port: int, *statements: str) -> list[t.Any]:
        """Run statements as the superuser, each by itself; the rows of the last one."""
        connection = psycopg2.connect(host=str(self.folder), port=port, user="postgres", dbname="postgres", password=PASSWORD)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="module")
def postgres(authority: Authority) -> t.Iterator[Postgres]:
    """Servers with TLS and SCRAM passwords, and an account without rights."""
    binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert binaries, "PostgreSQL's server is not installed: apt-get install postgresql"
    programs = binaries[-1].parent
    as_user: dict[str, t.Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="probe-pg-"))
    servers: list[subprocess.Popen[bytes]] = []

    def call(*argv: t.Any, **environment: str) -> None:
        done = subprocess.run([*map(str, argv)], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, **as_user)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(data: pathlib.Path, port: int) -> None:
        log = open(folder / f"{data.name}.log", "wb")
        servers.append(subprocess.Popen([programs / "postgres", "-D", data, "-p", str(port)], cwd=folder, stdout=log, stderr=log, **as_user))
        log.close()

    try:
        issued = authority.issue("db.example")
        for name, source in (("server.crt", issued.cert), ("server.key", issued.key)):
            shutil.copy(source, folder / name)
        (folder / "server.key").chmod(0o600)
        (folder / "pw").write_text(PASSWORD, encoding="utf-8")
        if as_user:
            for path in [folder, *folder.iterdir()]:
                shutil.chown(path, "postgres", "postgres")
        pair = Postgres(folder, free_port(), free_port())
        call(programs / "initdb", "-D", folder / "one", "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={folder / 'pw'}", "--no-sync", "-E", "UTF8")
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "autovacuum": "off", "fsync": "off", "shared_buffers": "16MB", "ssl": "on",
            "ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key", "ssl_ca_file": folder / "server.crt", "wal_level": "replica",
        }
        with open(folder / "one/postgresql.conf", "a", encoding="utf-8") as configuration:
            configuration.writelines(f"{name} = '{setting}'\n" for name, setting in settings.items())
        start(folder / "one", pair.primary)
        wait_for("the primary", lambda: bool(pair.sql(pair.primary, "SELECT 1")))
        pair.sql(pair.primary, f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}'", "CREATE TABLE rows (n int)", "GRANT ALL ON rows TO monitor",
                 "CREATE DATABASE shop")
        call(programs / "pg_basebackup", "-D", folder / "two", "-R", "-c", "fast", "-h", folder, "-p", pair.primary, "-U", "postgres", PGPASSWORD=PASSWORD)
        start(folder / "two", pair.standby)
        wait_for("the standby", lambda: bool(pair.sql(pair.standby, "SELECT pid FROM pg_stat_wal_receiver")))
        yield pair
    finally:
        for server in reversed(servers):
            server.send_signal(signal.SIGINT)  # fast: does not wait for clients
            server.wait(20)
        shutil.rmtree(folder)


def test_postgres_facts(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    found = only(probe(capsys, postgres.check(query="SELECT count(*) = 0 FROM rows", expect=True)))
    version = postgres.sql(postgres.primary, "SHOW server_version")[0][0]
    assert (found["status"], found["detail"]) == ("healthy", f"primary, version {version}")
    assert found["observed"] == {
        "address": f"127.0.0.1:{postgres.primary}", "server_version": version, "role": "primary", "lag_seconds": None, "query_result": "true",
    }


@pytest.mark.parametrize(("role", "primary", "standby"), [("primary", True, False), ("master", True, False), ("replica", False, True), ("slave", False, True)])
def test_postgres_role(capsys: pytest.CaptureFixture[str], postgres: Postgres, role: str, primary: bool, standby: bool) -> None:
    result = probe(capsys, postgres.check(name="one", role=role), postgres.check(name="two", role=role, login_port=postgres.standby))
    assert [found["status"] == "healthy" for found in result["checks"]] == [primary, standby]
    assert [found["observed"]["role"] for found in result["checks"]] == ["primary", "replica"]
    wrong = result["checks"][1 if primary else 0]
    assert wrong["detail"].startswith("role is ") and f"expected {'primary' if primary else 'replica'}" in wrong["detail"]


def test_postgres_lag(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    check = postgres.check(login_port=postgres.standby, max_lag=0.5)

    def fall_behind() -> Result:
        """Stop the replay, write, and wait until the standby is seen to be behind."""
        postgres.sql(postgres.standby, "SELECT pg_wal_replay_pause()")
        wait_for("the pause", lambda: postgres.sql(postgres.standby, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
        postgres.sql(postgres.primary, "INSERT INTO rows VALUES (1)", "DELETE FROM rows")
        wait_for("the standby to fall behind", lambda: only(probe(capsys, check))["status"] == "unhealthy")
        return only(probe(capsys, check))

    assert only(probe(capsys, check))["observed"]["lag_seconds"] == 0.0
    try:
        never_replayed = fall_behind()
        assert never_replayed["detail"] == "lag is not known, at most 0.5 s are allowed" and never_replayed["observed"]["lag_seconds"] is None
        postgres.sql(postgres.standby, "SELECT pg_wal_replay_resume()")
        assert only(probe(capsys, check, retries=50, delay=0.1))["observed"]["lag_seconds"] == 0.0
        behind = fall_behind()
        assert behind["observed"]["lag_seconds"] > 0.5 and "more than 0.5 s" in behind["detail"]
        assert only(probe(capsys, {**check, "max_lag": 600}))["status"] == "healthy"
    finally:
        postgres.sql(postgres.standby, "SELECT pg_wal_replay_resume()")


def test_postgres_query(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    wrong = only(probe(capsys, postgres.check(query="SELECT 41", expect="42")))
    assert (wrong["status"], wrong["detail"], wrong["observed"]["query_result"]) == ("unhealthy", "query returned '41', expected '42'", "41")
    missing = only(probe(capsys, postgres.check(query="SELECT * FROM nowhere")))
    assert missing["status"] == "unhealthy" and 'query failed: relation "nowhere" does not exist' in missing["detail"]
    writing = only(probe(capsys, postgres.check(query="INSERT INTO rows VALUES (7)")))
    assert writing["status"] == "unhealthy" and "read-only transaction" in writing["detail"]
    began = time.monotonic()
    slow = only(probe(capsys, postgres.check(query="SELECT pg_sleep(20)", timeout=0.5)))
    assert slow["status"] == "unhealthy" and time.monotonic() - began < 10
    still = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    wait_for("the server's own limit", lambda: postgres.sql(postgres.primary, still) == [(0,)], 10)


def test_postgres_login(capsys: pytest.CaptureFixture[str], postgres: Postgres) -> None:
    denied = only(probe(capsys, postgres.check(login_password="wrong-one")))
    assert denied["status"] == "unhealthy" and "password authentication failed for user" in denied["detail"] and "wrong-one" not in denied["detail"]
    database = only(probe(capsys, postgres.check(login_db="shop", query="SELECT current_database()", expect="shop")))
    assert database["status"] == "healthy"
    over_socket = postgres.check(login_unix_socket=str(postgres.folder), query="SELECT inet_client_addr() IS NULL", expect="true")
    del over_socket["login_host"]
    assert only(probe(capsys, over_socket))["status"] == "healthy"


def test_postgres_tls(capsys: pytest.CaptureFixture[str], postgres: Postgres, authority: Authority) -> None:
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert only(probe(capsys, postgres.check(ssl_mode="disable", query=encrypted, expect="false")))["status"] == "healthy"
    assert only(probe(capsys, postgres.check(ssl_mode="require", query=encrypted, expect="true")))["status"] == "healthy"
    full = postgres.check(ssl_mode="verify-full", ca_cert=authority.cert, login_host="db.example", connect_to="127.0.0.1")
    assert only(probe(capsys, full))["status"] == "healthy"
    wrong = only(probe(capsys, {**full, "login_host": "other.example"}))
    assert wrong["status"] == "unhealthy" and 'does not match host name "other.example"' in wrong["detail"]
    client = authority.issue("client")
    asked = {"query": "SELECT client_dn IS NOT NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "expect": "true"}
    # The server trusts no client's CA, so that it refuses one that shows a certificate.
    shown = only(probe(capsys, {**full, **asked, "client_cert": client.cert, "client_key": client.key}))
    assert shown["status"] == "unhealthy" and "unknown ca" in shown["detail"]


# Redis


@dataclasses.dataclass(frozen=True)
class Redis:
    """A master, a replica, and a replica that has lost its master."""

    folder: pathlib.Path
    master: int
    master_tls: int
    replica: int
    orphan: int

    def check(self, **more: t.Any) -> dict[str, t.Any]:
        """A check that logs in to the master."""
        return {"name": "cache", "type": "redis", "login_host": "127.0.0.1", "login_port": self.master, "login_password": PASSWORD, **more}


@pytest.fixture(scope="module")
def redis(authority: Authority) -> t.Iterator[Redis]:
    """Servers with a password, TLS beside it on the master, and an account that may PING alone."""
    assert shutil.which("redis-server"), "Redis is not installed: apt-get install redis-server"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="probe-redis-"))
    servers: list[subprocess.Popen[bytes]] = []
    trio = Redis(folder, free_port(), free_port(), free_port(), free_port())
    issued = authority.issue("cache.example")

    def start(name: str, port: int, *more: str) -> None:
        lines = [
            "bind 127.0.0.1", f"port {port}", f"dir {folder}", f"dbfilename {name}.rdb", 'save ""', f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"',
            "repl-diskless-sync-delay 0", f"logfile {folder / name}.log", *more,
        ]
        (folder / f"{name}.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        servers.append(subprocess.Popen(["redis-server", folder / f"{name}.conf"], stdout=subprocess.DEVNULL))

    def info(port: int) -> str:
        argv = ["redis-cli", "-p", str(port), "INFO", "replication"]
        return subprocess.run(argv, env={**os.environ, "REDISCLI_AUTH": PASSWORD}, capture_output=True, text=True, check=True).stdout

    try:
        start(
            "master", trio.master, f"tls-port {trio.master_tls}", f"tls-cert-file {issued.cert}", f"tls-key-file {issued.key}",
            f"tls-ca-cert-file {authority.cert}", "tls-auth-clients optional", f"unixsocket {folder}/master.sock",
            "user pinger on >pingpass resetkeys -@all +ping",
        )
        start("replica", trio.replica, f"replicaof 127.0.0.1 {trio.master}")
        start("orphan", trio.orphan, f"replicaof 127.0.0.1 {free_port()}")
        wait_for("the replica", lambda: "master_link_status:up" in info(trio.replica))
        wait_for("the orphan", lambda: "master_link_status:down" in info(trio.orphan))
        yield trio
    finally:
        for server in servers:
            server.terminate()
            server.wait(20)
        shutil.rmtree(folder)


def test_redis_facts(capsys: pytest.CaptureFixture[str], redis: Redis) -> None:
    result = probe(capsys, redis.check(role="primary"), redis.check(name="copy", login_port=redis.replica, role="replica", max_lag=60))
    master, replica = result["checks"]
    version = master["observed"].pop("server_version")
    assert version in subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    assert (result["status"], master["detail"]) == ("healthy", f"primary, version {version}")
    assert master["observed"] == {"address": f"127.0.0.1:{redis.master}", "role": "primary", "link_up": None, "lag_seconds": None, "master": None,
                                  "quorum_reached": None}
    assert replica["observed"]["role"] == "replica" and replica["observed"]["link_up"] is True and 0 <= replica["observed"]["lag_seconds"] < 60


@pytest.mark.parametrize(("role", "master", "replica"), [("primary", True, False), ("master", True, False), ("replica", False, True), ("slave", False, True)])
def test_redis_role(capsys: pytest.CaptureFixture[str], redis: Redis, role: str, master: bool, replica: bool) -> None:
    result = probe(capsys, redis.check(name="one", role=role), redis.check(name="two", role=role, login_port=redis.replica))
    assert [found["status"] == "healthy" for found in result["checks"]] == [master, replica]
    assert result["checks"][1 if master else 0]["detail"].startswith("role is ")


def test_redis_replica_without_its_master(capsys: pytest.CaptureFixture[str], redis: Redis) -> None:
    found = only(probe(capsys, redis.check(login_port=redis.orphan)))
    assert found["status"] == "degraded" and found["detail"].startswith("link to the master is down") and found["observed"]["link_up"] is False
    assert only(probe(capsys, redis.check(login_port=redis.orphan, max_lag=60)))["status"] == "unhealthy"


def test_redis_login(capsys: pytest.CaptureFixture[str], redis: Redis, web: Web) -> None:
    unnamed = {"type": "redis", "login_host": "127.0.0.1", "login_port": redis.master}
    assert only(probe(capsys, unnamed))["detail"] == "answered NOAUTH Authentication required."
    assert "answered WRONGPASS" in only(probe(capsys, redis.check(login_password="wrong-one")))["detail"]
    pinger = redis.check(login_user="pinger", login_password="pingpass")
    allowed = only(probe(capsys, pinger))
    assert (allowed["status"], allowed["detail"], allowed["observed"]["role"]) == ("healthy", "answers PING", None)
    assert "INFO answered NOPERM" in only(probe(capsys, {**pinger, "role": "primary"}))["detail"]
    socket_only = redis.check(login_unix_socket=f"{redis.folder}/master.sock")
    del socket_only["login_host"], socket_only["login_port"]
    over_socket = only(probe(capsys, socket_only))
    assert (over_socket["status"], over_socket["observed"]["address"]) == ("healthy", f"{redis.folder}/master.sock")
    other = only(probe(capsys, redis.check(login_port=web.port, timeout=1)))
    assert other["status"] == "unhealthy" and f"127.0.0.1:{web.port}" in other["detail"]


def test_redis_tls(capsys: pytest.CaptureFixture[str], redis: Redis, authority: Authority) -> None:
    check = redis.check(login_port=redis.master_tls, tls=True, ca_cert=authority.cert)
    client = authority.issue("client")
    assert only(probe(capsys, check))["status"] == "healthy"
    assert only(probe(capsys, {**check, "client_cert": client.cert, "client_key": client.key}))["status"] == "healthy"
    assert only(probe(capsys, {**check, "server_hostname": "cache.example"}))["status"] == "healthy"
    assert "Hostname mismatch" in only(probe(capsys, {**check, "server_hostname": "other.example"}))["detail"]
    assert only(probe(capsys, {**check, "login_host": "cache.example", "connect_to": "127.0.0.1"}))["status"] == "healthy"
    del check["ca_cert"]
    assert "self-signed certificate in certificate chain" in only(probe(capsys, check))["detail"]
    assert only(probe(capsys, {**check, "validate_certs": False}))["status"] == "healthy"


@pytest.fixture(scope="module")
def sentinel(redis: Redis) -> t.Iterator[int]:
    """A Sentinel with a password that watches the master twice, once with a quorum that one Sentinel cannot reach, and a master that is gone; its port."""
    port = free_port()
    watched = {"shop": (redis.master, 1), "lonely": (redis.master, 2), "gone": (free_port(), 1)}
    lines = ["bind 127.0.0.1", f"port {port}", f"dir {redis.folder}", f'requirepass "{PASSWORD}"', f"logfile {redis.folder}/sentinel.log"]
    for name, (master, quorum) in watched.items():
        lines += [f"sentinel monitor {name} 127.0.0.1 {master} {quorum}", f"sentinel down-after-milliseconds {name} 500"]
        lines.append(f'sentinel auth-pass {name} "{PASSWORD}"')
    (redis.folder / "sentinel.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    server = subprocess.Popen(["redis-server", redis.folder / "sentinel.conf", "--sentinel"], stdout=subprocess.DEVNULL)

    def said() -> str:
        argv = ["redis-cli", "-p", str(port), "INFO", "sentinel"]
        return subprocess.run(argv, env={**os.environ, "REDISCLI_AUTH": PASSWORD}, capture_output=True, text=True, check=True).stdout

    try:
        wait_for("the Sentinel", lambda: "name=gone,status=odown" in said() and "name=shop,status=ok" in said())
        yield port
    finally:
        server.terminate()
        server.wait(20)


def test_sentinel(capsys: pytest.CaptureFixture[str], redis: Redis, sentinel: int) -> None:
    check = redis.check(login_port=sentinel, role="sentinel")
    assert only(probe(capsys, check))["observed"]["role"] == "sentinel"
    master = f"127.0.0.1:{redis.master}"
    found = only(probe(capsys, {**check, "master_name": "shop"}))
    assert (found["status"], found["observed"]["master"], found["observed"]["quorum_reached"]) == ("healthy", master, True)
    assert found["detail"].startswith(f"master shop is {master}; OK 1 usable Sentinels")
    lonely = only(probe(capsys, {**check, "master_name": "lonely"}))
    assert (lonely["status"], lonely["observed"]["quorum_reached"]) == ("unhealthy", False) and lonely["detail"].startswith("NOQUORUM 1 usable Sentinels")
    gone = only(probe(capsys, {**check, "master_name": "gone"}))
    assert gone["status"] == "unhealthy" and re.match(r"master gone at 127.0.0.1:\d+ is odown", gone["detail"])
    assert only(probe(capsys, {**check, "master_name": "nobody"}))["detail"] == "it does not watch a master nobody"


def test_sentinel_and_server_are_told_apart(capsys: pytest.CaptureFixture[str], redis: Redis, sentinel: int) -> None:
    server = only(probe(capsys, redis.check(role="sentinel", master_name="shop")))
    assert (server["status"], server["detail"], server["observed"]["master"]) == ("unhealthy", "role is primary, expected sentinel", None)
    assert only(probe(capsys, redis.check(login_port=sentinel, role="master")))["detail"] == "role is sentinel, expected primary"
    assert "role is not sentinel" in refused(probe(capsys, redis.check(master_name="shop")))
    assert "a Sentinel has none" in refused(probe(capsys, redis.check(role="sentinel", max_lag=1)))
    assert "could not use role sentinel" in refused(probe(capsys, {"type": "postgres", "role": "sentinel"}))


# What is refused, check mode, secrets


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"type": "gopher"}, "value of type must be one of: http, tcp, tls, postgres, redis, prometheus, dns, got: gopher found in checks"),
        ({"type": "http"}, "type is http but all of the following are missing: url found in checks"),
        ({"type": "tcp", "host": "a"}, "type is tcp but all of the following are missing: port found in checks"),
        ({"type": "tls"}, "type is tls but all of the following are missing: host found in checks"),
        ({"type": "prometheus", "url": "http://a"}, "type is prometheus but all of the following are missing: query found in checks"),
        ({"type": "dns", "host": "a"}, "type is dns but all of the following are missing: record found in checks"),
        ({"url": "http://a"}, "missing required arguments: type found in checks"),
        ({"type": "http", "url": "http://a", "urls": "x"}, "Unsupported parameters"),
        ({"type": "http", "url": "http://a", "body_regex": "("}, "could not understand body_regex '('"),
        ({"type": "http", "url": "http://a", "assertions": ["a b"]}, "could not understand the assertion 'a b'"),
    ],
)
def test_refused_before_anything_is_probed(capsys: pytest.CaptureFixture[str], web: Web, check: dict[str, t.Any], message: str) -> None:
    assert message in refused(probe(capsys, {"name": "good", "type": "http", "url": web.url()}, check))
    assert not web.seen


def test_options_that_exclude_each_other(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    check = {"type": "http", "url": web.url()}
    assert "mutually exclusive: samples|duration" in refused(probe(capsys, check, samples=1, duration=1))
    assert "it needs samples or duration" in refused(probe(capsys, check, max_p50=1))
    assert not web.seen


def test_check_mode_probes_for_real(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    check = {"name": "web", "type": "http", "url": web.url("/status/503")}
    dry, real = (probe(capsys, check, check_mode=mode, fail_on="unhealthy") for mode in (True, False))
    assert len(web.seen) == 2
    assert dry["failed"] and dry["msg"] == real["msg"] and set(dry) == set(real)
    assert (dry["status"], dry["checks"][0]["observed"]) == (real["status"], real["checks"][0]["observed"])


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_through_ansible_no_secret_is_shown_and_a_hang_does_not_keep_it(web: Web, mode: list[str]) -> None:
    tokens = ["t0ken-Zz9", "b3arer-Yx8", "pr0xy-Vt7"]
    pair = base64.b64encode(f"jo:{PASSWORD}".encode()).decode()
    with trap() as silent:
        checks = [
            {"name": "web", "type": "http", "url": web.url(), "login_user": "jo", "login_password": PASSWORD, "secret_headers": {"X-Token": tokens[0]}},
            {"name": "bearer", "type": "http", "url": web.url("/status/500"), "bearer_token": tokens[1]},
            {"name": "proxied", "type": "http", "url": "http://a/", "proxy": web.url(), "proxy_user": "jo", "proxy_password": tokens[2]},
            {"name": "rule", "type": "prometheus", "url": web.url(), "query": "up", "login_user": "jo", "login_password": PASSWORD},
            {"name": "db", "type": "postgres", "login_host": "127.0.0.1", "login_port": silent, "login_password": PASSWORD, "timeout": 60},
        ]
        arguments = {"checks": checks, "deadline": 1, "fail_on": "unhealthy"}
        began = time.monotonic()
        done = subprocess.run(
            ["ansible", "localhost", "-vvv", "-m", "mainstay.ops.health_probe", "-a", json.dumps(arguments), *mode],
            capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        )
    printed = done.stdout + done.stderr
    assert done.returncode == 2 and "db (postgres) is unhealthy: no login at 127.0.0.1" in printed, printed
    assert '"inconclusive": 0' in printed and '"unhealthy": 3' in printed
    for secret in [PASSWORD, pair, *tokens]:
        assert secret not in printed, secret
    assert time.monotonic() - began < 60


def test_progress_is_shown_of_what_takes_long(web: Web) -> None:
    checks = [{"type": "http", "url": web.url()}, {"type": "http", "url": web.url("/status/503")}]
    task = {"name": "Probe", "mainstay.ops.health_probe": {"checks": checks, "retries": 90, "delay": 0.2, "deadline": 8}, "register": "seen"}
    expect = {"name": "See", "ansible.builtin.assert": {"that": ["seen.counts.healthy == 1", "seen.counts.unhealthy == 1", "seen is not changed"]}}
    with tempfile.TemporaryDirectory() as folder:
        play = {"name": "Probe", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task, expect]}
        (pathlib.Path(folder) / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
        environment = {"MAINSTAY_PROGRESS_INTERVAL": "0.3", "ANSIBLE_LOCALHOST_WARNING": "false"}
        done = playbooks.run(pathlib.Path(folder) / "play.yml", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = [line.partition("] ")[2] for line in done.stdout.splitlines() if line.startswith("[localhost] ")]
    for wanted in (r"probe: 1 of 2 checks \(50 %\).*", r"probe: 1 checks in [\d.]+ s .*"):
        assert any(re.fullmatch(wanted, line) for line in printed), printed
