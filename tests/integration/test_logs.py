# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request through nginx, the application, PgBouncer and PostgreSQL, found in all of their logs by the id that the client got."""

from __future__ import annotations

import collections.abc
import contextlib
import gzip
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request

import playbooks
import psycopg2
import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._logs.lines import read_line
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from ports import free_port, wait_until_listening
from servers import Runner
from test_nginx_tls import Balancer
from test_nginx_tls import pytestmark as needs_root
from test_sample_app import PASSWORD, Postgres, RedisServer, Service, postgres, redis_server, unpack
from waiting import until

__all__ = ["postgres", "redis_server"]
pytestmark = needs_root
ROOT = pathlib.Path(__file__).resolve().parents[2]
JOURNAL_REMOTE = shutil.which("systemd-journal-remote", path=f"{os.environ['PATH']}:/usr/lib/systemd:/lib/systemd")


def log_as_json(postgres: Postgres) -> None:
    """Let it log every statement as JSON, as docs/logs.md says."""
    with contextlib.closing(psycopg2.connect(host=str(postgres.folder), port=postgres.port, user="postgres", dbname="postgres")) as admin:
        admin.autocommit = True
        for name, content in {"logging_collector": "on", "log_destination": "jsonlog", "log_min_duration_statement": "0", "log_timezone": "UTC"}.items():
            admin.cursor().execute(f"ALTER SYSTEM SET {name} = '{content}'")
    postgres.stop()
    postgres.start()


@pytest.fixture
def pooler(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[int]:
    """The port of a PgBouncer in transaction mode, with one connection to the server, so that all clients share it."""
    folder, port = tmp_path_factory.mktemp("pooler"), free_port()
    folder.parent.chmod(0o711)
    folder.parent.parent.chmod(0o711)
    (folder / "users").write_text(f'"ledger" "{PASSWORD}"\n')
    (folder / "pooler.ini").write_text(
        f"[databases]\nledger = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 1\nignore_startup_parameters = options\n"
    )
    log = folder / "log"
    with log.open("w") as output:
        argv = ["pgbouncer", *(["-u", "postgres"] if os.geteuid() == 0 else []), str(folder / "pooler.ini")]
        for path in (folder, folder / "users", folder / "pooler.ini"):
            shutil.chown(path, "postgres")
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        wait_until_listening(port, process, log.read_text)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def environment(redis_server: RedisServer) -> dict[str, str]:
    """The application's, but for its database. nginx keeps connections open, which would hold up its end."""
    return {"LEDGER_REDIS_URL": f"redis://127.0.0.1:{redis_server.port}/0", "LEDGER_REDIS_PASSWORD": PASSWORD, "LEDGER_GRACEFUL_TIMEOUT": "2"}


@pytest.fixture
def service(postgres: Postgres, pooler: int, redis_server: RedisServer, tmp_path: pathlib.Path) -> collections.abc.Iterator[Service]:
    """The application, behind the pooler."""
    log_as_json(postgres)
    found = Service(unpack(tmp_path, "2"), postgres, **environment(redis_server))
    found.migrate()
    found.environment["LEDGER_DATABASE_URL"] = f"postgresql://ledger@127.0.0.1:{pooler}/ledger"
    found.start()
    yield found
    found.stop()


@pytest.fixture
def balancer(service: Service, tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Balancer]:
    """nginx as the role configures it, in front of the application."""
    found = Balancer(tmp_path_factory.mktemp("nginx"))
    found.slots = {"blue": service.port, "green": free_port()}
    found.variables["nginx_tls_upstreams"] = [{"name": "shop", "servers": [{"name": "app1", "address": "127.0.0.1"}], "slots": found.slots}]
    try:
        assert not found.site_run()["failed"]
        (found.live / "blue").touch()
        yield found
    finally:
        found.stop()


def patterns(balancer: Balancer, service: Service, postgres: Postgres) -> list[str]:
    """Where the three write."""
    return [f"{balancer.folder}/log/access.log*", f"{service.log}*", f"{postgres.folder}/data/log/*.json"]


def test_one_request_in_all_logs(
    run_module: Runner, balancer: Balancer, service: Service, postgres: Postgres, tmp_path: pathlib.Path
) -> None:
    """The id comes from nginx, whatever a client says; two requests on one connection of the pooler are told apart; rotated and packed files are read."""
    body = json.dumps({"client": "logs", "number": 1, "payload": "x"}).encode()
    answers = [
        balancer.ask("/entries", method="POST", body=body, Content_Type="application/json", X_Request_ID="of-the-client"),
        balancer.ask("/entries?client=logs"),
    ]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert [answer.status for answer in answers] == [201, 200] and len(first) == 32 and first != second

    wanted = {"request_id": first, "journal": False, "files": patterns(balancer, service, postgres), "host": "here"}
    found = until(lambda: len((said := run_module("logs_find_info", wanted))["sources"]) == 3 and said, "all three have written it")
    assert found["sources"] == ["application", "nginx", "postgresql"] and not found["changed"] and found["more"] == 0
    assert len(found["searched"]) >= 3
    texts = {line["source"]: line["text"] for line in found["lines"]}
    assert texts["nginx"].startswith("POST /entries from 127.0.0.1 answered 201 by 127.0.0.1:") and texts["application"].startswith("POST /entries")
    assert "INSERT INTO entries" in texts["postgresql"] and f"/* request_id={first} */" in texts["postgresql"] and second not in json.dumps(found)
    assert [line["time"] for line in found["lines"]] == sorted(line["time"] for line in found["lines"])
    assert {line["host"] for line in found["lines"] if line["source"] != "application"} == {"here"}
    assert len(run_module("logs_find_info", {**wanted, "limit": 1})["lines"]) == 1

    log = balancer.folder / "log/access.log"
    with gzip.open(f"{log}.2.gz", "wt") as packed:
        packed.write(log.read_text())
    log.write_text("")
    assert f"{log}.2.gz" in (rotated := run_module("logs_find_info", wanted))["searched"] and rotated["sources"] == found["sources"]

    # The whole way, as a person goes it.
    given = {"log_request_id": first, "log_files": wanted["files"], "log_journal": False}
    said = play(tmp_path, given)
    assert said.returncode == 0 and "postgresql: LOG: duration" in said.stdout and "changed=0" in said.stdout
    missing = play(tmp_path, {**given, "log_request_id": "0" * 32})
    assert missing.returncode == 2 and "No line about" in missing.stdout
    assert "Give the id of a request" in play(tmp_path, {}).stdout


def play(folder: pathlib.Path, variables: dict[str, t.Any]) -> subprocess.CompletedProcess[str]:
    """Run the playbook on this host."""
    local = {"ansible_become": False, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "vars.json").write_text(json.dumps({**local, **variables}))
    return playbooks.run("find_logs", "-e", f"@{folder}/vars.json", inventory="here,")


class Collector(http.server.ThreadingHTTPServer):
    """A small receiver of OTLP over HTTP, which keeps what it gets."""

    def __init__(self) -> None:
        """Listen."""
        self.spans: list[t.Any] = []
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class CollectorHandler(http.server.BaseHTTPRequestHandler):
    """What :class:`Collector` answers."""

    server: Collector

    def do_POST(self) -> None:
        """Take spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        for resource in request.resource_spans:
            self.server.services.update(pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name")
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> collections.abc.Iterator[Collector]:
    """A collector on loopback."""
    with Collector() as found:
        yield found
        found.shutdown()


def attributes(span: t.Any) -> dict[str, t.Any]:
    """Those of a span."""
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_traces_go_to_a_collector_that_is_named(
    postgres: Postgres, redis_server: RedisServer, collector: Collector, closed_port: int, tmp_path: pathlib.Path
) -> None:
    """A trace that a client has begun goes on in the request and in its statement; without a collector, or with one that is away, requests go on."""
    base = {**environment(redis_server), "OTEL_BSP_SCHEDULE_DELAY": "100"}
    root, trace = unpack(tmp_path, "2"), "4bf92f3577b34da6a3ce929d0e0e4736"
    Service(root, postgres, **base).migrate()
    for number, endpoint in enumerate(["", f"http://127.0.0.1:{closed_port}", f"http://127.0.0.1:{collector.server_port}"]):
        service = Service(root, postgres, **base, **({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else {}))
        service.start()
        try:
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Content-Type": "application/json", "X-Request-ID": f"traced-{number}"}
            request = urllib.request.Request(f"http://127.0.0.1:{service.port}/entries", json.dumps({"client": "traces", "number": number}).encode(), headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == 201
            if number == 2:
                until(lambda: len(collector.spans) >= 2, "the collector has the spans")
        finally:
            service.stop()
    server, *_more = [span for span in collector.spans if span.name == "POST /entries"]
    (insert,) = [span for span in collector.spans if span.name == "INSERT"]
    assert len(collector.spans) == 2 and collector.services == {"ledger"}
    assert server.trace_id.hex() == insert.trace_id.hex() == trace
    assert insert.parent_span_id == server.span_id and server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert attributes(server) == {"http.request.method": "POST", "http.route": "/entries", "request_id": "traced-2", "http.response.status_code": 201}
    assert attributes(insert)["db.query.text"].startswith("INSERT INTO entries") and "traces" not in attributes(insert)["db.query.text"]
    lines = [json.loads(line) for line in (root / "service.log").read_text().splitlines() if "traced-" in line]
    assert [line.get("trace_id") for line in lines] == [None, trace, trace]


def test_an_error_page_of_nginx_has_the_id_too(balancer: Balancer, service: Service) -> None:
    """Where nobody answers, it is all that a client can tell; and the line goes to syslog's socket as well, if that is wanted."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as syslog:
        # Paths of sockets are short, and nginx's workers have to reach it.
        path = balancer.folder / "run/log"
        syslog.bind(str(path))
        path.chmod(0o666)
        syslog.settimeout(60)
        assert not balancer.site_run(nginx_tls_log_socket="/run/log")["failed"]
        service.stop()
        answer = balancer.ask("/")
        assert answer.status in (502, 503) and len(answer.headers["x-request-id"]) == 32
        until(lambda: any(line["request_id"] == answer.headers["x-request-id"] for line in balancer.log()), "nginx has logged it")
        # What the role asks after a reload is in it too.
        texts = iter(lambda: syslog.recv(65536).decode(), "")
        header, _brace, body = next(text for text in texts if answer.headers["x-request-id"] in text).partition("{")
        assert header.startswith("<190>") and header.endswith(" nginx: "), header
        line = read_line("{" + body, answer.headers["x-request-id"], "lb1")
        assert line is not None and line.status == answer.status


@pytest.mark.parametrize(("options", "words"), [
    ({"request_id": "a b"}, "4 to 64"), ({"request_id": "abcd", "since": "soon"}, "read the duration"),
    ({"request_id": "abcd", "journal_dir": "/nowhere/at/all"}, "read /nowhere/at/all"),
])
def test_bad_input(run_module: Runner, options: dict[str, t.Any], words: str) -> None:
    """One error that names it."""
    refused = run_module("logs_find_info", {"journal": False, "files": [], **options})
    assert refused["failed"] and words in refused["msg"]


def write_journal(folder: pathlib.Path, host: str, entries: t.Sequence[tuple[str, str]], first: int = 1) -> None:
    """Write entries (identifier, message) into the journal that a log host has of another host, with the program that receives them."""
    assert JOURNAL_REMOTE, "systemd-journal-remote is not installed: apt-get install systemd-journal-remote"
    folder.mkdir(exist_ok=True)
    now = int(time.time() * 1e6)
    texts = [
        f"__CURSOR=s={host};i={number}\n__REALTIME_TIMESTAMP={now + number}\n__MONOTONIC_TIMESTAMP={now + number}\n_BOOT_ID={'a' * 32}\n_HOSTNAME={host}\n"
        f"_PID={number}\nSYSLOG_IDENTIFIER={source}\nMESSAGE={message}\n\n"
        for number, (source, message) in enumerate(entries, start=first)
    ]
    subprocess.run([JOURNAL_REMOTE, f"--output={folder}/remote-{host}.journal", "-"], input="".join(texts), text=True, check=True, capture_output=True)


def test_a_journal_of_another_host(run_module: Runner, tmp_path: pathlib.Path) -> None:
    """As a log host has received it."""
    wanted, folder = "ab12cd34ef56", tmp_path / "remote"
    access = {"msec": time.time(), "request_id": wanted, "method": "GET", "uri": "/", "remote_addr": "192.0.2.9", "status": 502, "request_time": 1}
    write_journal(folder, "lb1", [
        ("nginx_access", json.dumps(access)),
        ("postgres", f"2026 LOG:  duration: 2 ms  statement: SELECT 1 /* request_id={wanted} */"),
        ("sshd", f"nothing of {wanted}0"),
    ])
    found = run_module("logs_find_info", {"request_id": wanted, "journal_dir": str(folder), "files": []})
    assert [(line["host"], line["source"]) for line in found["lines"]] == [("lb1", "nginx"), ("lb1", "postgresql")]
    assert found["searched"] == [str(folder)]


def test_security_events_of_a_log_host(tmp_path: pathlib.Path) -> None:
    """What was there before is not counted; what comes is, once, by its host."""
    folder, state = tmp_path / "remote", tmp_path / "state"
    state.mkdir()

    def counted() -> dict[str, str]:
        argv = [sys.executable, str(ROOT / "roles/log_host/files/security_events.py"), f"--state-dir={state}", f"--directory={folder}", "--host=app2"]
        subprocess.run(argv, check=True, timeout=60)
        lines = (state / "security-events.prom").read_text().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    def name(host: str, event: str) -> str:
        return f'mainstay_security_events_total{{host="{host}",event="{event}"}}'

    failed, banned = ("sshd", "Failed password for root from 192.0.2.9 port 1 ssh2"), ("fail2ban-server", "NOTICE [sshd] Ban 192.0.2.9")
    write_journal(folder, "app1", [failed, failed])
    assert counted()[name("app2", "ban")] == "0" and name("app1", "ban") not in counted()
    write_journal(folder, "app1", [failed, ("ledger", "nothing"), banned], first=10)
    refused, changed = ("sudo", " bob : user NOT in sudoers ; COMMAND=/bin/id"), ("postgres", "LOG:  statement: ALTER ROLE x PASSWORD 'SentinelPw'")
    write_journal(folder, "app2", [refused, changed], first=20)
    for dummy in range(2):
        found = counted()
        assert (found[name("app1", "login_failed")], found[name("app1", "ban")]) == ("1", "1")
        assert (found[name("app2", "sudo_failed")], found[name("app2", "role_change")], found[name("app2", "login")]) == ("1", "1", "0")
    assert (state / "security-events.prom").stat().st_mode & 0o777 == 0o644
    assert "SentinelPw" not in "".join(path.read_text() for path in state.iterdir())
