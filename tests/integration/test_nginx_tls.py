# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role nginx_tls with a real nginx on loopback, which sees folders of the test as /etc/nginx, /run and so on."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.drain import Files, Outcome, Wish, ensure
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.process import Master
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.proof import Site, ask
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.reload import Service
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_port
from waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

FOLDERS = {"etc": "/etc/nginx", "log": "/var/log/nginx", "run": "/run", "lib": "/var/lib/mainstay", "units": "/etc/systemd/system"}
STATE = "/var/lib/mainstay"


def make_pair(*names: str, days: int = 30) -> dict[str, str]:
    """A self-signed certificate for names, and its key; with negative days it is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), end - datetime.timedelta(days=90), end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(), "key": key.private_bytes(*form).decode()}


class App(http.server.ThreadingHTTPServer):
    """An application in one slot of one server: it says who it is, and how it was asked; below /slow it takes its time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str, address: str, port: int) -> None:
        """Listen."""
        self.name = name
        self.go_on = threading.Event()
        super().__init__((address, port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_args: t.Any) -> None:
        """Say nothing about a balancer that does not wait any more."""


class Handler(http.server.BaseHTTPRequestHandler):
    """What :class:`App` answers."""

    protocol_version = "HTTP/1.1"
    server: App

    def do_GET(self) -> None:
        """Answer."""
        if self.path.startswith("/slow"):
            self.server.go_on.wait(30)
        body = json.dumps({"app": self.server.name, "headers": dict(self.headers), "padding": "x" * 2000}).encode()
        self.send_response(503 if self.path == "/ill" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Powered-By", "a secret of the house")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take the body, then answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""


class Answer(t.NamedTuple):
    """An answer: its status, its headers in lower case, and its body."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def app(self) -> str:
        """Which application it is from."""
        return json.loads(self.body)["app"]


class Balancer:
    """An nginx with its own view of the folders that the role writes, and the role, run by ansible-playbook in the same view."""

    folders = FOLDERS

    def __init__(self, folder: pathlib.Path) -> None:
        """Make the folders and the name space, and start nginx with next to nothing."""
        self.folder = folder
        self.https, self.http, self.status = free_port(), free_port(), free_port()
        self.slots = {"blue": free_port(), "green": free_port()}
        self.apps: list[App] = []
        self.odd = False
        self.pair = make_pair("shop.test", "*.shop.test")
        for name in self.folders:
            (folder / name).mkdir()
        shutil.copy("/etc/nginx/mime.types", folder / "etc/mime.types")
        (folder / "etc/nginx.conf").write_text("pid /run/nginx.pid; error_log /var/log/nginx/error.log; events {}\n")
        mounts = " && ".join(f"mount --bind {folder / name} {target}" for name, target in self.folders.items())
        script = f"mkdir -p {' '.join(self.folders.values())} && {mounts} && echo ready && exec sleep 900"
        self._holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout and self._holder.stdout.readline() == "ready\n"
        self.inside("nginx")
        self.variables: dict[str, t.Any] = {
            "ansible_python_interpreter": sys.executable,
            "nginx_tls_ipv6": False,
            "nginx_tls_http_port": self.http,
            "nginx_tls_https_port": self.https,
            "nginx_tls_status_port": self.status,
            "nginx_tls_verify": False,
            "nginx_tls_worker_connections": 512,
            "nginx_tls_upstreams": [self.upstream()],
            "nginx_tls_sites": [self.site("shop", upstream="shop")],
        }

    def stop(self) -> None:
        """Stop nginx and leave the name space."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.master, signal.SIGTERM)
        self._holder.kill()
        self._holder.wait()

    def upstream(self, **more: t.Any) -> dict[str, t.Any]:
        """The upstream ``shop`` with two servers."""
        return {"name": "shop", "servers": [{"name": "app1", "address": "127.0.0.1"}, {"name": "app2", "address": "127.0.0.2"}], "slots": self.slots, **more}

    def site(self, name: str, **more: t.Any) -> dict[str, t.Any]:
        """A site with a certificate for its name."""
        return {"name": name, "server_names": ["shop.test" if name == "shop" else f"{name}.shop.test"], **self.pair, **more}

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program in nginx's view."""
        view = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={self.folder}"]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_DEPRECATION_WARNINGS": "1"}
        return subprocess.run([*view, *argv], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)

    def play(self, *tasks: str, check: bool = False, **variables: t.Any) -> dict[str, t.Any]:
        """Run entry points of the role, and return the results of their tasks by name; ``failed`` is the message of the one that failed."""
        steps = [{"name": name, "ansible.builtin.include_role": {"name": "mainstay.ops.nginx_tls", "tasks_from": name}} for name in tasks]
        play = {"name": "Play", "hosts": "localhost", "connection": "local", "gather_facts": True, "gather_subset": ["!all", "min"], "tasks": steps}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        (self.folder / "vars.json").write_text(json.dumps({**self.variables, **variables}))
        program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
        done = self.inside(program, "-i", "localhost,", "-e", f"@{self.folder}/vars.json", *(["--check"] if check else []), f"{self.folder}/play.yml")
        assert "{" in done.stdout and "DEPRECATION" not in done.stderr, done.stdout + done.stderr
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        found = json.loads(done.stdout[done.stdout.index("{") :])
        results = {task["task"]["name"].removeprefix("mainstay.ops.nginx_tls : "): task["hosts"]["localhost"] for p in found["plays"] for task in p["tasks"]}
        results["failed"] = next((result.get("msg", "?") for result in results.values() if result.get("failed")), "")
        results["changed"] = found["stats"]["localhost"]["changed"]
        assert done.returncode == (2 if results["failed"] else 0), done.stdout
        return results

    def site_run(self, check: bool = False, **variables: t.Any) -> dict[str, t.Any]:
        """All of the role that needs neither packages nor systemd."""
        return self.play("look", "assert", "configure", "reload", check=check, **variables)

    @property
    def master(self) -> int:
        """The process id of nginx."""
        return int((self.folder / "run/nginx.pid").read_text())

    @property
    def workers(self) -> set[int]:
        """The workers that accept connections, once there is one for each core: during a reload the former ones are there too."""

        def settled() -> set[int]:
            titles = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(self.master)], capture_output=True, text=True, check=False).stdout
            found = {int(line.split()[0]) for line in titles.splitlines() if "worker process" in line and "shutting down" not in line}
            return found if len(found) == os.sysconf("SC_NPROCESSORS_ONLN") else set()

        return until(settled, "the end of a reload", 15)

    @property
    def live(self) -> pathlib.Path:
        """The folder with the state of the upstream."""
        return self.folder / "etc/live/shop"

    def state(self) -> tuple[dict[str, bytes], int, set[int]]:
        """Every file of the configuration, and the processes."""
        files = {str(path): path.read_bytes() for path in sorted((self.folder / "etc").rglob("*")) if path.is_file()}
        return files, self.master, self.workers

    def connect(self, name: str = "shop.test", preface: bytes = b"") -> http.client.HTTPSConnection:
        """A connection, as a client has it that does not look at certificates."""
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(name, self.https, timeout=40, context=context)
        plain = socket.create_connection(("127.0.0.1", self.https), timeout=40)
        plain.sendall(preface)
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        return connection

    def ask(self, path: str = "/", name: str = "shop.test", method: str = "GET", preface: bytes = b"", body: bytes | None = None, **headers: str) -> Answer:
        """Ask for a path over TLS."""
        connection = self.connect(name, preface)
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, text)

    def log(self) -> list[dict[str, t.Any]]:
        """The access log."""
        return [json.loads(line) for line in (self.folder / "log/access.log").read_text().splitlines()]


def release(balancer: Balancer) -> None:
    """Let slow requests end, those that come later too."""
    for app in balancer.apps:
        app.go_on.set()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Balancer]:
    """A balancer with two servers in two slots."""
    balancer = Balancer(tmp_path_factory.mktemp("nginx"))
    servers = balancer.upstream()["servers"]
    balancer.apps = apps = [App(f"{slot}-{one['name']}", one["address"], port) for slot, port in balancer.slots.items() for one in servers]
    try:
        assert not balancer.site_run()["failed"]
        yield balancer
    finally:
        balancer.stop()
        for app in apps:
            app.shutdown()
            app.server_close()


@pytest.fixture
def balancer(running: Balancer) -> Balancer:
    """The same, with the slot blue live, and with its first configuration again if the test before left an odd one."""
    if running.odd:
        assert not running.site_run()["failed"]
        running.odd = False
    for file in running.live.iterdir():
        file.unlink()
    (running.live / "blue").touch()
    return running


def shares(balancer: Balancer, count: int = 400) -> dict[str, int]:
    """How many of many requests each slot got."""
    connection = balancer.connect()
    found: dict[str, int] = {}
    for dummy in range(count):
        connection.request("GET", "/")
        slot = json.loads(connection.getresponse().read())["app"].partition("-")[0]
        found[slot] = found.get(slot, 0) + 1
    connection.close()
    return found


def test_shares_and_a_switch(balancer: Balancer) -> None:
    """Without a reload the canary gets its share, one after the other of the sizes, and a switch ends it."""
    workers = balancer.workers
    for percent, files, least, most in [(25, 3, 60, 140), (100, 5, 400, 400), (10, 2, 15, 75)]:
        wanted = {"upstream": "shop", "slot": "green", "percent": percent, "balancers": ["localhost"]}
        variables = {f"nginx_tls_share_{key}": value for key, value in wanted.items()}
        assert balancer.play("share", **variables)["changed"] == 1
        assert len(list(balancer.live.glob("canary-green-*"))) == files
        assert least <= shares(balancer).get("green", 0) <= most, percent
    assert balancer.play("share", "look", "assert", "configure", "reload", **variables)["changed"] == 0
    switch = {"nginx_tls_switch_upstream": "shop", "nginx_tls_switch_slot": "green", "nginx_tls_switch_balancers": ["localhost"]}
    balancer.play("switch", **switch)
    assert [path.name for path in balancer.live.iterdir()] == ["green"]
    assert shares(balancer, 20) == {"green": 20}
    for wrong in ({"nginx_tls_switch_slot": "purple"}, {"nginx_tls_switch_upstream": ""}):
        assert "name the upstream and one of these" in balancer.play("switch", **{**switch, **wrong})["failed"]
    assert [path.name for path in balancer.live.iterdir()] == ["green"]
    assert balancer.workers == workers


def test_maintenance(balancer: Balancer) -> None:
    """A page for browsers, JSON for programs, a time to come back, and a way in for some; without a reload."""
    workers = balancer.workers
    on = {"nginx_tls_maintenance_state": "on"}
    assert balancer.play("maintenance", **on)["changed"] == 1
    page = balancer.ask(Accept="text/html,*/*")
    assert (page.status, page.headers["retry-after"], page.headers["content-type"]) == (503, "300", "text/html")
    assert "Down for maintenance" in page.body and page.headers["cache-control"] == "no-store" and page.headers["x-frame-options"] == "DENY"
    posted = balancer.ask("/api", method="POST", body=b"{}", Accept="application/json")
    assert posted.status == 503 and json.loads(posted.body)["error"] == "maintenance" and posted.headers["content-type"] == "application/json"
    assert balancer.play("maintenance", **on, nginx_tls_maintenance_addresses=["127.0.0.1"])["changed"] == 1
    assert balancer.ask().app.startswith("blue")
    assert "named by single, full addresses" in balancer.play("maintenance", **on, nginx_tls_maintenance_addresses=["127.0"])["failed"]
    assert balancer.play("maintenance", **on, nginx_tls_maintenance_addresses=["127.0.0.1", "2001:DB8:0:0:0:0:0:1"])["changed"] == 1
    assert (balancer.live / "maintenance-allow-2001:db8::1").exists()
    there = {"nginx_tls_maintenance_addresses": ["192.0.2.1"]}
    assert balancer.play("maintenance", "look", "assert", "configure", "reload", **on, **there)["changed"] == 1
    assert balancer.ask().status == 503
    assert balancer.play("maintenance", nginx_tls_maintenance_state="off")["changed"] == 1
    assert balancer.ask().status == 200 and [path.name for path in balancer.live.iterdir()] == ["blue"]
    assert balancer.workers == workers


def release_late(balancer: Balancer, released: list[float]) -> None:
    """Let slow requests end some time after nginx was reloaded, and note when."""
    workers = balancer.workers
    while balancer.workers & workers:
        time.sleep(0.1)
    time.sleep(5)
    released.append(time.monotonic())
    release(balancer)


def test_a_drain_waits_for_requests_and_outlives_the_role(balancer: Balancer) -> None:
    """The server gets no new request, finishes those that it has, and stays out until it is put back."""
    wanted = {"nginx_tls_drain_upstream": "shop", "nginx_tls_drain_server": "app1", "nginx_tls_drain_balancers": ["localhost"]}
    slow = [balancer.connect() for dummy in range(2)]
    for connection in slow:
        connection.request("GET", "/slow")
    released: list[float] = []
    threading.Thread(target=release_late, args=(balancer, released), daemon=True).start()
    done = balancer.play("drain", **wanted)
    assert not done["failed"] and released and time.monotonic() > released[0]
    result = done["Drain | Take the server out, or put it back"]["results"][0]
    assert result["requests_left"] == 0 and result["actions"] == ["drain app1 in the upstream shop", "reload nginx"]
    assert [connection.getresponse().status for connection in slow] == [200, 200]
    assert {balancer.ask().app for dummy in range(12)} == {"blue-app2"}
    assert balancer.play("drain", "look", "assert", "configure", "reload", **wanted)["changed"] == 0
    assert balancer.site_run(nginx_tls_read_timeout="59s")["changed"] == 2
    assert {balancer.ask().app for dummy in range(12)} == {"blue-app2"}
    last = balancer.play("drain", **{**wanted, "nginx_tls_drain_server": "app2"})
    assert "could not drain app2 in the upstream shop: no other server gets requests" in str(last)
    assert balancer.play("drain", **wanted, nginx_tls_drain_state="active")["changed"] == 1
    assert {balancer.ask().app for dummy in range(12)} == {"blue-app1", "blue-app2"}
    assert not list(balancer.live.glob("drained-*"))


def drain(balancer: Balancer, server: str, drained: bool = True, timeout: float = 15, owner: str = "") -> Outcome:
    """What the module nginx_drain does, with a short wait for requests."""

    def run(argv: list[str]) -> tuple[int, str, str]:
        done = balancer.inside(*argv)
        return done.returncode, done.stdout, done.stderr

    wish, folder = Wish("shop", server, drained, owner=owner), balancer.folder
    service = Service(Master(f"{folder}/run/nginx.pid", f"{folder}/log/error.log"), (), "/etc/nginx/nginx.conf", timeout, run)
    return ensure(wish, Files(wish, f"{folder}/etc/upstreams", f"{folder}/etc/live"), service, 1, check_mode=False)


def test_a_drain_waits_for_what_earlier_reloads_left_behind(balancer: Balancer) -> None:
    """Workers from before the last reload but one have requests too, and a run that finds the server out already waits for them as well."""
    for app in balancer.apps:
        app.go_on.clear()
    slow = [balancer.connect() for dummy in range(2)]
    for connection in slow:
        connection.request("GET", "/slow")
    assert drain(balancer, "app1").left == 1
    drain(balancer, "app1", drained=False)
    assert drain(balancer, "app2").left == 1
    again = drain(balancer, "app2")
    assert again.left == 1 and not again.actions
    release(balancer)
    assert [connection.getresponse().status for connection in slow] == [200, 200]
    assert drain(balancer, "app2").left == 0
    drain(balancer, "app2", drained=False)


def test_only_who_took_a_server_out_puts_it_back(balancer: Balancer) -> None:
    """The mark outlives the run; whoever names no owner means it in any case."""
    assert drain(balancer, "app1", owner="patch").owner == "patch"
    assert drain(balancer, "app1", owner="restart").owner == "patch"
    other = drain(balancer, "app1", drained=False, owner="restart")
    assert other.owner == "patch" and not other.actions
    assert {balancer.ask().app for dummy in range(12)} == {"blue-app2"}
    own = drain(balancer, "app1", drained=False, owner="patch")
    assert own.owner == "" and own.actions
    by_hand = {"nginx_tls_drain_upstream": "shop", "nginx_tls_drain_server": "app1", "nginx_tls_drain_balancers": ["localhost"]}
    assert balancer.play("drain", **by_hand)["changed"] == 1
    put_back = {**by_hand, "nginx_tls_drain_state": "active"}
    assert balancer.play("drain", **put_back, nginx_tls_drain_owner="patch")["changed"] == 0
    assert balancer.play("drain", **put_back)["changed"] == 1
    assert {balancer.ask().app for dummy in range(12)} == {"blue-app1", "blue-app2"}


def test_a_drain_that_does_not_end_in_time_is_undone(balancer: Balancer) -> None:
    """nginx may have taken the configuration all the same, so it is reloaded with the former one."""
    with pytest.raises(MainstayError, match="could not drain app1 in the upstream shop: .*going back did not end well either"):
        drain(balancer, "app1", timeout=0)
    deadline = time.monotonic() + 30
    while {balancer.ask().app for dummy in range(12)} != {"blue-app1", "blue-app2"}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert " down;" not in (balancer.folder / "etc/upstreams/shop.conf").read_text() and not list(balancer.live.glob("*drained-*"))
    # Nobody waited for the two reloads; one that is waited for comes after them.
    Master(f"{balancer.folder}/run/nginx.pid").reload(15)


def test_variables_are_refused_before_anything_changes(balancer: Balancer) -> None:
    """In a sentence each; a certificate that is over, of another key, or for another name never gets to the host."""
    before = balancer.state()
    over, other = make_pair("shop.test", days=-1), make_pair("other.test")
    sites = [
        balancer.site("shop", upstream="shop", **over),
        balancer.site("a", upstream="shop", key=other["key"]),
        balancer.site("b", upstream="shop", **other),
        balancer.site("c", upstream="shop", certificate="/etc/c.crt"),
    ]
    message = balancer.site_run(nginx_tls_sites=sites)["failed"]
    for sentence in (
        "Nothing was changed. ",
        "the certificate of the site shop was valid until ",
        "the certificate of the site a does not belong to its key",
        "the certificate of the site b is not for b.shop.test",
        "the certificate of the site c is no certificate in PEM",
    ):
        assert sentence in message
    assert balancer.state() == before


def test_what_nginx_refuses_never_reaches_it(balancer: Balancer) -> None:
    """A value that it does not know, and a disk that is full."""
    before = balancer.state()
    message = balancer.site_run(check=True, nginx_tls_send_timeout="a while")["failed"]
    assert 'invalid number of arguments in "send_timeout"' in message and "nothing on the host was changed" in message
    lib = f"{STATE}/config_tree"
    assert balancer.inside("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", lib).returncode == 0
    try:
        balancer.inside("sh", "-c", f"head -c 100000 /dev/zero > {lib}/ballast")
        message = balancer.site_run(nginx_tls_send_timeout="29s")["failed"]
        assert "No space left on device" in message and "nothing was changed; make room" in message, message
    finally:
        balancer.inside("umount", lib)
    assert balancer.state() == before
    assert balancer.ask().status == 200


def test_a_reload_that_does_not_hold_is_undone(balancer: Balancer) -> None:
    """A port that another program has, which nginx finds out only then, and a site that shows another certificate than it shall."""
    files, master, dummy = balancer.state()
    with socket.create_server(("127.0.0.1", 0)) as other:
        message = balancer.site_run(nginx_tls_status_port=other.getsockname()[1])["failed"]
        port = other.getsockname()[1]
    assert f"bind() to 127.0.0.1:{port} failed (98: Address already in use)" in message
    assert "the former configuration is back and serves" in message
    assert balancer.state()[:2] == (files, master)
    assert balancer.ask().status == 200


def test_what_a_proof_asks(balancer: Balancer, tmp_path: pathlib.Path) -> None:
    """An answer over HTTP, with the certificate of the file."""
    site = Site("shop", "shop.test", balancer.https, str(balancer.folder / "etc/tls/shop.crt"))
    assert ask(site, 20) == ""
    (tmp_path / "other.crt").write_text(make_pair("shop.test")["certificate"])
    assert "it shows another certificate than the one in " in ask(dataclasses.replace(site, certificate=str(tmp_path / "other.crt")), 20)
    assert "holds no certificate" in ask(dataclasses.replace(site, certificate=str(balancer.folder / "etc/nginx.conf")), 20)
    assert "refused" in ask(dataclasses.replace(site, port=free_port()), 20)
    assert ask(dataclasses.replace(site, port=balancer.http), 20)


def test_a_run_that_was_killed_is_finished_by_the_next(balancer: Balancer) -> None:
    """The files were changed, and nginx was not reloaded."""
    workers = balancer.workers
    balancer.play("look", "assert", "configure", nginx_tls_send_timeout="28s")
    assert balancer.workers == workers
    run = balancer.site_run(nginx_tls_send_timeout="28s")
    assert run["changed"] == 1 and not balancer.workers & workers


def test_a_site_of_each_kind(balancer: Balancer) -> None:
    """An upstream, files, a redirect, each with its name and certificate; a site that is not listed any more leaves nothing."""
    balancer.odd = True
    files = balancer.folder / "lib/files"
    files.mkdir()
    (files / "index.html").write_text("files " + "x" * 2000)
    (files / ".git").write_text("not for everybody")
    sites = [
        balancer.site("shop", upstream="shop", private_paths=["/metrics"], headers={"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": ""}),
        balancer.site("docs", root=f"{STATE}/files", fallback="/index.html"),
        balancer.site("old", redirect="https://shop.test/new"),
    ]
    check = balancer.site_run(check=True, nginx_tls_sites=sites)
    real = balancer.site_run(nginx_tls_sites=sites)
    assert check["Configure | Write the configuration"]["actions"] == real["Configure | Write the configuration"]["actions"]
    assert check["changed"] == real["changed"] == 2
    shop = balancer.ask(Accept_Encoding="gzip")
    assert (shop.status, shop.app[:4]) == (200, "blue")
    assert shop.headers["content-security-policy"] == "default-src 'self'"
    assert "x-frame-options" not in shop.headers and "x-powered-by" not in shop.headers and "content-encoding" not in shop.headers
    assert shop.headers["strict-transport-security"] == "max-age=63072000" and shop.headers["server"] == "nginx"
    assert balancer.ask("/metrics").status == 404
    docs = balancer.ask("/some/view", "docs.shop.test", Accept_Encoding="gzip")
    assert docs.status == 200 and docs.headers["content-encoding"] == "gzip" and docs.headers["x-frame-options"] == "DENY"
    assert balancer.ask("/.git", "docs.shop.test").status == 404
    old = balancer.ask("/a?b=c", "old.shop.test")
    assert (old.status, old.headers["location"]) == (308, "https://shop.test/new/a?b=c")
    assert balancer.site_run(nginx_tls_sites=sites)["changed"] == 0
    assert not balancer.site_run()["failed"]
    assert sorted(path.name for path in (balancer.folder / "etc/tls").iterdir()) == ["shop.crt", "shop.key"]
    assert sorted(path.name for path in (balancer.folder / "etc/sites").iterdir()) == ["shop.conf", "shop.headers.conf"]


def test_limits_and_pages(balancer: Balancer) -> None:
    """Too many, too large, too long, out of service: each with its page, and as JSON for programs; the log says which."""
    balancer.odd = True
    zones = {"login": {"rate": "1r/m", "burst": 2}, "api": {"rate": "100r/s", "burst": 100, "key": "$http_x_key"}}
    routes = [
        {"path": "/login", "exact": True, "limit": "login"},
        {"path": "/api/", "limit": "api", "client_max_body_size": "1k", "gzip": True},
        {"path": "/slow/", "read_timeout": "1s"},
    ]
    pages = {"limited": "<h1>our own page</h1>"}
    site = balancer.site("shop", upstream="shop", routes=routes)
    for app in balancer.apps:
        app.go_on.clear()
    changed = {"nginx_tls_limit_zones": zones, "nginx_tls_sites": [site], "nginx_tls_error_pages": pages, "nginx_tls_limit_retry_after": 7}
    assert not balancer.site_run(**changed, nginx_tls_header_buffers="2 1k", nginx_tls_connections_per_address=4)["failed"]
    assert [balancer.ask("/login").status for dummy in range(5)] == [200, 200, 200, 429, 429]
    limited = balancer.ask("/login", Accept="text/html")
    assert limited.body == "<h1>our own page</h1>\n" and limited.headers["retry-after"] == "7"
    assert balancer.ask("/login/other").status == 200
    assert json.loads(balancer.ask("/login", Accept="application/problem+json").body)["error"] == "limited"
    large = balancer.ask("/api/x", method="POST", body=b"x" * 2000, Accept="application/json")
    assert large.status == 413 and json.loads(large.body)["error"] == "too_large"
    assert balancer.ask("/x", method="POST", body=b"x" * 2000).status == 200
    assert balancer.ask("/api/x", Accept_Encoding="gzip").headers["content-encoding"] == "gzip"
    assert balancer.ask("/", Cookie="x" * 1500).status == 400
    late = balancer.ask("/slow", Accept="application/json")
    assert late.status == 504 and json.loads(late.body)["error"] == "timeout"
    assert balancer.ask("/ill").status == 503 and balancer.ask("/ill").app.startswith("blue")
    slow = [balancer.connect() for dummy in range(6)]
    for connection in slow:
        connection.request("GET", "/slowly")
    time.sleep(1)
    release(balancer)
    assert sorted(connection.getresponse().status for connection in slow) == [200] * 4 + [429] * 2
    (balancer.live / "blue").unlink()
    nothing = balancer.ask(Accept="application/json")
    assert nothing.status == 503 and json.loads(nothing.body)["error"] == "unavailable" and "retry-after" in nothing.headers
    assert "limiting requests, excess: " in (balancer.folder / "log/error.log").read_text()
    lines = balancer.log()
    assert {line["limited"] for line in lines if line["uri"] == "/login"} == {"PASSED", "REJECTED"}
    assert {line["pool"] for line in lines if line["uri"] in ("/ill", "/slow")} == {"shop_blue"}
    assert {line["pool"] for line in lines if line["status"] == 503 and line["uri"] == "/"} == {""}
    assert all(abs(line["msec"] - time.time()) < 3600 and line["site"] == "shop.test" for line in lines if line["uri"] == "/login")


def test_a_dead_server_is_left_alone(balancer: Balancer) -> None:
    """Requests go to the other one, and to the other slot where a slot has none; nobody sees an error."""
    balancer.odd = True
    dead = free_port()
    upstreams = [balancer.upstream(servers=[{"name": "app1", "address": "127.0.0.1"}, {"name": "app2", "address": "127.0.0.2"}], balance="least_conn")]
    upstreams[0]["slots"] = {"blue": dead, "green": balancer.slots["green"]}
    assert not balancer.site_run(nginx_tls_upstreams=upstreams)["failed"]
    assert {balancer.ask().app for dummy in range(10)} == {"green-app1", "green-app2"}


def test_the_last_server_is_asked_again_at_once(balancer: Balancer) -> None:
    """While the other one is drained it is not left alone after failures: the first request after it is back is answered."""
    balancer.odd = True
    upstream = balancer.upstream()
    upstream["slots"] = {"blue": free_port(), "green": free_port()}
    assert not balancer.site_run(nginx_tls_upstreams=[upstream])["failed"]
    assert drain(balancer, "app2").actions
    written = (balancer.folder / "etc/upstreams/shop.conf").read_text()
    assert {balancer.ask().status for dummy in range(8)} == {502}
    late = App("late", "127.0.0.1", upstream["slots"]["blue"])
    try:
        assert balancer.ask().app == "late"
    finally:
        late.shutdown()
        late.server_close()
    assert balancer.site_run(nginx_tls_upstreams=[upstream])["changed"] == 0
    drain(balancer, "app2", drained=False)
    assert written.count("max_fails=0 ") == 4 and "max_fails=0 " not in (balancer.folder / "etc/upstreams/shop.conf").read_text()


def test_another_balancer_in_front(balancer: Balancer) -> None:
    """Its word about the client is taken if it is one of those that were named, from a header or from the PROXY protocol."""
    balancer.odd = True
    balancer.site_run(nginx_tls_real_ip_from=["127.0.0.0/8"])
    seen = json.loads(balancer.ask(X_Forwarded_For="203.0.113.9, 127.0.0.7").body)["headers"]
    assert (seen["X-Real-IP"], seen["X-Forwarded-For"]) == ("203.0.113.9", "203.0.113.9")
    balancer.site_run(nginx_tls_real_ip_from=["192.0.2.1"])
    assert json.loads(balancer.ask(X_Forwarded_For="203.0.113.9").body)["headers"]["X-Real-IP"] == "127.0.0.1"
    done = balancer.site_run(nginx_tls_real_ip_from=["127.0.0.1"], nginx_tls_proxy_protocol=True)
    assert not done["failed"]
    preface = b"PROXY TCP4 203.0.113.10 127.0.0.1 1234 443\r\n"
    assert json.loads(balancer.ask(preface=preface).body)["headers"]["X-Real-IP"] == "203.0.113.10"
    until(lambda: balancer.log()[-1]["remote_addr"] == "203.0.113.10", "the line in the log, which is written after the answer", 15)
