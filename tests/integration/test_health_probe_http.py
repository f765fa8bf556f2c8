# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``health_probe`` against nginx: names, logins, redirects, what it shows of a failing answer; and through proxies."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import typing as t

import pytest
from servers import free_port
from test_health_probe import PASSWORD, Authority, Issued, authority, only, probe, refused, server_context, wait_for

__all__ = ["authority"]

TOKEN = "t0ken.Wb7-Kq_2"
PAIR = base64.b64encode(f"jo:{PASSWORD}".encode()).decode()
CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  default_type text/plain;
  map $http_authorization $user {{ default nobody; "Bearer {token}" app; "Basic {pair}" jo; }}
  server {{
    listen 127.0.0.1:{plain};
    location / {{ return 200 "fine"; }}
    location /whoami {{ if ($user = nobody) {{ return 401 "go away"; }} return 200 "you are $user"; }}
    location /echo {{ return 500 '$echoed'; }}
    location /one {{ return 301 /two; }}
    location /two {{ return 302 /three?token=in-a-location-Xy8; }}
    location /three {{ return 307 /; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl; listen [::1]:{tls} ssl;
    server_name shop.example;
    ssl_certificate {shop.cert}; ssl_certificate_key {shop.key};
    location / {{ return 200 "shop, asked as $host"; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    server_name blog.example;
    ssl_certificate {blog.cert}; ssl_certificate_key {blog.key};
    location / {{ return 200 "blog, asked as $host"; }}
  }}
  map $host $echoed {{
    default '{{"error": "login failed", "sent": "$http_authorization", "header": "$http_x_token", "password": "hunter2 is \\\\"it\\\\"", "db":
    "postgresql://app:pgpass-Lm3@db/shop", "n": 7}}';
  }}
}}
"""


@dataclasses.dataclass(frozen=True)
class Nginx:
    """A server with a plain port, and one over TLS with two sites."""

    plain: int
    tls: int


@pytest.fixture(scope="module")
def nginx(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Nginx]:
    """nginx in the foreground, with everything in a folder of its own."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert program, "nginx is not installed: apt-get install nginx-light"
    folder = tmp_path_factory.mktemp("nginx")
    pair = Nginx(free_port(), free_port())
    configuration = CONFIGURATION.format(
        folder=folder, plain=pair.plain, tls=pair.tls, token=TOKEN, pair=PAIR, shop=authority.issue("shop.example"), blog=authority.issue("blog.example"),
        user="user root;" if os.geteuid() == 0 else "",
    )
    (folder / "nginx.conf").write_text(configuration, encoding="utf-8")
    server = subprocess.Popen([program, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.create_connection(("127.0.0.1", pair.tls)):
            return True

    try:
        wait_for("nginx", listens)
        yield pair
    finally:
        server.terminate()
        server.wait(10)


def test_each_name_has_its_certificate_and_its_site(capsys: pytest.CaptureFixture[str], nginx: Nginx, authority: Authority) -> None:
    common = {"type": "http", "ca_cert": authority.cert, "connect_to": f"127.0.0.1:{nginx.tls}"}
    for name in ("shop", "blog"):
        right = {**common, "url": f"https://{name}.example/", "body_regex": f"^{name}, asked as {name}.example$"}
        assert only(probe(capsys, right))["status"] == "healthy"
    # The certificate of one site, the Host header of the other.
    other = {**common, "url": "https://shop.example/", "server_hostname": "blog.example", "body_regex": "^blog, asked as shop"}
    assert "does not match" in only(probe(capsys, other))["detail"]
    assert only(probe(capsys, {**other, "body_regex": "^shop, asked as shop"}))["status"] == "healthy"
    over_six = {**common, "url": "https://shop.example/", "connect_to": f"[::1]:{nginx.tls}"}
    assert only(probe(capsys, over_six))["observed"]["address"] == f"[::1]:{nginx.tls}"


def test_logins(capsys: pytest.CaptureFixture[str], nginx: Nginx) -> None:
    check = {"type": "http", "url": f"http://127.0.0.1:{nginx.plain}/whoami"}
    nobody = only(probe(capsys, check))
    assert (nobody["status"], nobody["observed"]["http_status"], nobody["observed"]["body_start"]) == ("unhealthy", 401, "go away")
    assert only(probe(capsys, {**check, "bearer_token": TOKEN, "body_regex": "you are app"}))["status"] == "healthy"
    assert only(probe(capsys, {**check, "login_user": "jo", "login_password": PASSWORD, "body_regex": "you are jo"}))["status"] == "healthy"
    assert only(probe(capsys, {**check, "secret_headers": {"authorization": f"Bearer {TOKEN}"}, "body_regex": "you are app"}))["status"] == "healthy"


@pytest.mark.parametrize(
    "login",
    [
        {"bearer_token": TOKEN},
        {"login_user": "jo", "login_password": PASSWORD},
        {"secret_headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"secret_headers": {"X-Token": TOKEN}},
    ],
)
def test_a_failing_answer_is_shown_without_secrets(capsys: pytest.CaptureFixture[str], nginx: Nginx, login: dict[str, t.Any]) -> None:
    check = {"name": "web", "type": "http", "url": f"http://127.0.0.1:{nginx.plain}/echo", "assertions": ["sent"], **login}
    result = probe(capsys, check, fail_on="unhealthy")
    shown = only(result)["observed"]["body_start"]
    assert result["failed"] and "answered 500, expected 200" in result["msg"] and "login failed" in shown and '"db"' in shown
    for secret in (TOKEN, PASSWORD, PAIR, "hunter2", "pgpass-Lm3"):
        assert secret not in json.dumps(result), secret
    assert '"password": ********' in shown and "://app:********@db" in shown


def test_a_limit_of_redirects(capsys: pytest.CaptureFixture[str], nginx: Nginx) -> None:
    check = {"type": "http", "url": f"http://127.0.0.1:{nginx.plain}/one"}
    first = only(probe(capsys, {**check, "status": [301]}))
    assert (first["status"], first["observed"]["location"]) == ("healthy", f"http://127.0.0.1:{nginx.plain}/two")
    followed = only(probe(capsys, {**check, "follow_redirects": True, "max_redirects": 3, "body_regex": "^fine$"}))
    assert (followed["status"], followed["observed"]["url"]) == ("healthy", f"http://127.0.0.1:{nginx.plain}/")
    stopped = only(probe(capsys, {**check, "follow_redirects": True, "max_redirects": 1}))
    assert stopped["status"] == "unhealthy" and stopped["detail"].startswith("more than 1 redirects, the last one to ")
    assert "in-a-location-Xy8" not in json.dumps(stopped)


# Proxies


class ProxyHandler(socketserver.StreamRequestHandler):
    """Passes on what it is asked for by an absolute URL, and opens tunnels; it keeps the lines and headers of what it was asked."""

    server: Proxy
    timeout = 10

    def setup(self) -> None:
        """Do the TLS handshake, if there is to be one, in the connection's own thread."""
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        """Serve one connection."""
        line = self.rfile.readline().decode().strip()
        headers = {}
        while text := self.rfile.readline().decode().strip():
            name, unused, content = text.partition(":")
            headers[name.lower()] = content.strip()
        self.server.asked.append((line, headers))
        if self.server.wanted and headers.get("proxy-authorization") != self.server.wanted:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, unused_version = line.split()
        place = target if method == "CONNECT" else target.split("/")[2]
        host, unused, port = self.server.names.get(place.rpartition(":")[0], place.rpartition(":")[0]), "", place.rpartition(":")[2]
        try:
            upstream = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            else:
                kept = "".join(f"{name}: {content}\r\n" for name, content in headers.items() if not name.startswith("proxy-"))
                path = "/" + target.split("/", 3)[3]
                upstream.sendall(f"{method} {path} HTTP/1.1\r\n{kept}\r\n".encode())
            self.relay(upstream)

    def relay(self, upstream: socket.socket) -> None:
        """Carry bytes in both directions until one side is done."""
        while True:
            pending = isinstance(self.request, ssl.SSLSocket) and self.request.pending()
            ready = [self.request] if pending else select.select([self.request, upstream], [], [], 10)[0]
            if not ready:
                return
            for source, sink in ((self.request, upstream), (upstream, self.request)):
                if source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy on a free port, over TLS with a context; ``wanted`` is the login it insists on, and ``names`` the names that it alone can resolve."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None, wanted: str = "", names: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.context, self.wanted, self.names = context, wanted, names or {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, *unused: t.Any) -> None:
        """Say nothing of clients that went away."""

    @property
    def url(self) -> str:
        """The proxy's URL."""
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.server_address[1]}"

    @property
    def lines(self) -> list[str]:
        """The first lines of what it was asked."""
        return [line for line, unused in self.asked]


@contextlib.contextmanager
def proxying(server: Proxy) -> t.Iterator[Proxy]:
    """Serve in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def proxy_certificate(authority: Authority) -> Issued:
    """A certificate for a proxy on 127.0.0.1."""
    return authority.issue("proxy.example")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(capsys: pytest.CaptureFixture[str], nginx: Nginx, authority: Authority, proxy_certificate: Issued, scheme: str) -> None:
    context = server_context(proxy_certificate) if scheme == "https" else None
    with proxying(Proxy(context, names={"shop.example": "127.0.0.1"})) as proxy:
        plain = {"type": "http", "url": f"http://127.0.0.1:{nginx.plain}/whoami", "proxy": proxy.url, "ca_cert": authority.cert, "bearer_token": TOKEN}
        found = only(probe(capsys, {**plain, "body_regex": "you are app"}))
        assert (found["status"], found["observed"]["address"]) == ("healthy", proxy.url.partition("//")[2])
        assert proxy.lines == [f"GET http://127.0.0.1:{nginx.plain}/whoami HTTP/1.1"]
        # Only the proxy knows where shop.example is, and TLS is verified end to end.
        tunnelled = {"type": "http", "url": f"https://shop.example:{nginx.tls}/", "proxy": proxy.url, "ca_cert": authority.cert, "bearer_token": TOKEN}
        assert only(probe(capsys, {**tunnelled, "body_regex": "asked as shop.example$"}))["status"] == "healthy"
        line, headers = proxy.asked[-1]
        assert line == f"CONNECT shop.example:{nginx.tls} HTTP/1.1" and "authorization" not in headers
        wrong = only(probe(capsys, {**tunnelled, "server_hostname": "elsewhere.example"}))
        assert "does not verify as elsewhere.example" in wrong["detail"]
        moved = {**tunnelled, "url": "https://blog.example/", "connect_to": f"127.0.0.1:{nginx.tls}", "body_regex": "^blog"}
        assert only(probe(capsys, moved))["status"] == "healthy" and proxy.lines[-1] == f"CONNECT 127.0.0.1:{nginx.tls} HTTP/1.1"
        plain_moved = {**plain, "url": "http://nowhere.example/", "connect_to": f"127.0.0.1:{nginx.plain}", "body_regex": "^fine$"}
        assert only(probe(capsys, plain_moved))["status"] == "healthy" and proxy.lines[-1] == f"CONNECT 127.0.0.1:{nginx.plain} HTTP/1.1"


def test_a_long_answer_through_two_layers_of_tls(
    capsys: pytest.CaptureFixture[str], authority: Authority, proxy_certificate: Issued, tmp_path: pathlib.Path,
) -> None:
    long = tmp_path / "long"
    long.write_text("x" * 900_000 + "end", encoding="utf-8")
    port, issued = free_port(), authority.issue("www.example")
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", issued.cert, "-key", issued.key, "-WWW", "-quiet"]
    server = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with proxying(Proxy(server_context(proxy_certificate))) as proxy:
            check = {"type": "http", "url": f"https://127.0.0.1:{port}/long", "proxy": proxy.url, "ca_cert": authority.cert, "body_regex": "^x{900000}end"}
            found = only(probe(capsys, check, retries=20, delay=0.1))
            assert (found["status"], found["detail"]) == ("healthy", "answered 200")
    finally:
        server.terminate()
        server.wait(10)


def test_proxy_login(capsys: pytest.CaptureFixture[str], nginx: Nginx, authority: Authority) -> None:
    with proxying(Proxy(wanted=f"Basic {PAIR}")) as proxy:
        common = {"type": "http", "proxy": proxy.url, "ca_cert": authority.cert}
        plain, tunnelled = ({**common, "url": f"http://127.0.0.1:{nginx.plain}/"}, {**common, "url": f"https://127.0.0.1:{nginx.tls}/"})
        assert "answered 407, expected 200" in only(probe(capsys, plain))["detail"]
        denied = only(probe(capsys, tunnelled))
        assert denied["detail"] == f"proxy {proxy.url[7:]} answered 407 Proxy Authentication Required to CONNECT 127.0.0.1:{nginx.tls}"
        for check in (plain, tunnelled):
            result = probe(capsys, {**check, "proxy_user": "jo", "proxy_password": PASSWORD})
            assert only(result)["status"] == "healthy" and PAIR not in json.dumps(result)


@pytest.mark.parametrize(
    ("exempt", "asked"),
    [([], True), (["127.0.0.1"], False), (["127.0.0.0/8"], False), (["*"], False), (["127.0.0.1:1"], True), (["example.com", "10.0.0.0/8"], True)],
)
def test_no_proxy(capsys: pytest.CaptureFixture[str], nginx: Nginx, exempt: list[str], asked: bool) -> None:
    with proxying(Proxy()) as proxy:
        found = only(probe(capsys, {"type": "http", "url": f"http://127.0.0.1:{nginx.plain}/", "proxy": proxy.url, "no_proxy": exempt}))
        assert found["status"] == "healthy" and bool(proxy.asked) is asked


def test_proxies_of_the_environment_are_ignored(capsys: pytest.CaptureFixture[str], nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert only(probe(capsys, {"type": "http", "url": f"http://127.0.0.1:{nginx.plain}/"}))["status"] == "healthy"


def test_proxies_that_do_not_serve(capsys: pytest.CaptureFixture[str], nginx: Nginx, authority: Authority, proxy_certificate: Issued) -> None:
    tunnelled = {"type": "http", "url": f"https://127.0.0.1:{nginx.tls}/", "timeout": 3}
    dead = free_port()
    gone = only(probe(capsys, {**tunnelled, "proxy": f"http://127.0.0.1:{dead}"}))
    assert gone["detail"] == f"proxy: no connection to 127.0.0.1:{dead}: Connection refused"
    with proxying(Proxy(server_context(proxy_certificate))) as proxy:
        untrusted = only(probe(capsys, {**tunnelled, "proxy": proxy.url}))
        assert untrusted["detail"].startswith("proxy: the certificate of 127.0.0.1:")
        lost = only(probe(capsys, {**tunnelled, "url": f"https://127.0.0.1:{dead}/", "ca_cert": authority.cert, "proxy": proxy.url}))
        assert lost["detail"].endswith(f"answered 502 Bad Gateway to CONNECT 127.0.0.1:{dead}")
    not_one = only(probe(capsys, {**tunnelled, "proxy": f"http://127.0.0.1:{nginx.plain}"}))
    # Newer nginx says 405.
    assert re.fullmatch(rf"proxy 127.0.0.1:{nginx.plain} answered 40[05] [\w ]+ to CONNECT 127.0.0.1:{nginx.tls}", not_one["detail"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"proxy": "http://jo:secret@a:3128"}, "could not understand proxy: it holds credentials"),
        ({"proxy": "socks5://a:1080"}, "it is not http://HOST:PORT or https://HOST:PORT"),
        ({"proxy": "http://a", "no_proxy": ["10.0.0.0/99"]}, "could not understand no_proxy 10.0.0.0/99"),
        ({"proxy": "http://a", "proxy_password": "secret"}, "proxy_password is given without proxy_user"),
        ({"no_proxy": ["a"]}, "could not use no_proxy: proxy is not given"),
        ({"login_user": "jo", "bearer_token": "secret"}, "login_user and bearer_token exclude each other"),
        ({"max_redirects": 0}, "could not use max_redirects 0"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], more: dict[str, t.Any], message: str) -> None:
    said = refused(probe(capsys, {"type": "http", "url": "http://a", **more}))
    assert message in said and ":secret@" not in said
