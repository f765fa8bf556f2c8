# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small production on loopback, watched by what the role ``prometheus`` writes.

There are two hosts of an application, two balancers, PostgreSQL with a standby and Redis with a replica. All is real but the application, which is a few
lines, and the host names, which are labels. The rules are the role's, with each of their durations divided by :data:`PACE`, so that a fault that has to last
for five minutes is told after half a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import typing as t
import urllib.error
import urllib.request

import redis
import yaml
from monitoring import Receiver, arguments, environment, receiving, relocate
from certificates import make_self_signed
from ports import free_port, wait_until_listening
from postgres_cluster import Cluster, streaming_cluster
from prometheus_tree import write_tree
from servers import SENTINEL
from waiting import until

PACE = float(os.environ.get("MAINSTAY_ALERT_PACE", "10"))
"""The rules' durations are divided by this."""
SCRAPE = 3
"""Seconds between two looks at a target."""
LEAST_RANGE = 4 * SCRAPE
"""A shorter range may hold too few samples for a rate."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

APP = r"""
import http.server, json, pathlib, sys, threading, time
host, port, mood = "127.0.0.1", int(sys.argv[1]), pathlib.Path(sys.argv[2])
lock, answers, times = threading.Lock(), {200: 0, 500: 0}, []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status, body = (200, metrics()) if self.path == "/metrics" else self.work()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def work(self):
        began, told = time.monotonic(), json.loads(mood.read_text())
        time.sleep(told.get("delay", 0))
        with lock:
            every = told.get("broken_every", 0)
            status = 500 if every and sum(answers.values()) % every == 0 else 200
            answers[status] += 1
            times.append(time.monotonic() - began)
        return status, b"hello\n"
    def log_message(self, *_arguments): pass
def metrics():
    with lock:
        lines = [f'http_requests_total{{status="{status}"}} {count}' for status, count in answers.items()]
        lines += [f'http_request_duration_seconds_bucket{{le="{edge}"}} {sum(taken <= float(edge) for taken in times)}' for edge in ("0.5", "1", "2.5", "+Inf")]
        lines += [f"http_request_duration_seconds_count {len(times)}", f"http_request_duration_seconds_sum {sum(times)}"]
    return "".join(f"{line}\n" for line in lines).encode()
http.server.ThreadingHTTPServer((host, port), Handler).serve_forever()
"""
BALANCER = """
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  access_log off; keepalive_timeout 300s; client_header_timeout 600s;
  upstream app {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; }}
  server {{ listen 127.0.0.1:{status}; location /stub_status {{ stub_status; }} }}
  server {{
    listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
    location / {{ proxy_pass http://app; }}
  }}
}}
"""


def seconds_of(duration: str) -> float:
    """What Prometheus means by a duration of one unit."""
    return float(duration[:-1]) * SECONDS[duration[-1]]


def hurried(text: str) -> str:
    """Return a file of rules with all durations divided by :data:`PACE`; a range is never too short for a rate."""
    def shorter(duration: str, least: float = 0) -> str:
        return f"{max(round(seconds_of(duration) / PACE), least, 1):.0f}s"

    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\d+[smhdw])\]", lambda found: f"[{shorter(found[1], LEAST_RANGE)}]", rule["expr"])
            rule["expr"] = re.sub(r"\boffset (\d+[smhdw])", lambda found: f"offset {shorter(found[1])}", rule["expr"])
            if "for" in rule:
                rule["for"] = shorter(rule["for"])
    return yaml.safe_dump(rules, width=1000)


class Service:
    """A process that listens on a port of loopback, and can be killed and brought back."""

    def __init__(self, log: pathlib.Path, port: int, argv: t.Sequence[str], more: t.Mapping[str, str] | None = None) -> None:
        """Start it."""
        self._log, self.port, self._argv, self._more = log, port, list(argv), more or {}
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as stream:
            self.process = subprocess.Popen(
                self._argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._more}, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )
        wait_until_listening(self.port, self.process, lambda: self._log.read_text(encoding="utf-8", errors="replace"))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        self.process.send_signal(number)
        self.process.wait(30)

    def stop(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            try:
                self.kill(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self.kill()

    @contextlib.contextmanager
    def gone(self, number: int = signal.SIGKILL) -> t.Iterator[None]:
        """Have it killed while the block runs; what has children is ended by SIGTERM, or these would run on."""
        self.kill(number)
        try:
            yield
        finally:
            self.start()


class Stack:
    """What runs."""

    def __init__(self, folder: pathlib.Path, running: contextlib.ExitStack) -> None:
        """Start all of it; ``running`` ends it.

        Args:
            folder: a folder that any user may enter.
            running: what ends it.
        """
        self.folder, self._running = folder, running
        self.services: dict[str, Service] = {}
        self.targets: dict[str, list[tuple[str, int]]] = {}
        self.messages: Receiver = running.enter_context(receiving())
        self._start_application()
        self._start_hosts()
        self.postgres: Cluster = running.enter_context(streaming_cluster(
            folder / "postgres", ("data2",), archive_mode="on", archive_command="true", max_connections=24, deadlock_timeout="100ms",
            max_wal_size="128MB", wal_keep_size="16MB",
        ))
        self._start_exporters_of_postgres()
        self._start_redis()
        self._start_monitoring()

    def serve(self, name: str, port: int, argv: t.Sequence[str], **more: str) -> Service:
        """Start a service that is ended with the rest."""
        service = self.services[name] = Service(self.folder / f"{name}.log", port, argv, more)
        self._running.callback(service.stop)
        return service

    def watch(self, job: str, instance: str, port: int) -> None:
        """Have Prometheus look at a target."""
        self.targets.setdefault(job, []).append((instance, port))

    # The application and its balancers

    def mood(self, name: str, **how: float) -> None:
        """Say how a process of the application answers: ``delay`` seconds, ``broken_every`` so many requests."""
        path = self.folder / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(how), encoding="utf-8")
        path.with_suffix(".new").rename(path)

    def _start_application(self) -> None:
        (self.folder / "app.py").write_text(APP, encoding="utf-8")
        for name in ("app1-blue", "app1-green", "app2-blue", "app2-green", "shop"):
            self.mood(name)
            port = free_port()
            self.serve(name, port, [sys.executable, str(self.folder / "app.py"), str(port), str(self.folder / f"{name}.json")])
            host, unused_dash, slot = name.partition("-")
            if slot:
                self.watch("app", f"{host}:{8000 if slot == 'blue' else 8001}", port)
        self.site = free_port()
        for name in ("lb1", "lb2"):
            (self.folder / name).mkdir()
            self.certify(name, 90)
            status = free_port()
            # The second balancer serves nobody: what happens to it alone is not seen from outside.
            self._write_balancer(name, status, self.site if name == "lb1" else free_port())
            self.serve(name, status, ["nginx", "-g", "daemon off;", "-c", f"{self.folder}/{name}/nginx.conf", "-e", f"{self.folder}/{name}/start.log"])
            port = free_port()
            argv = ["prometheus-nginx-exporter", f"--nginx.scrape-uri=http://127.0.0.1:{status}/stub_status", f"--web.listen-address=127.0.0.1:{port}"]
            self.serve(f"{name}-exporter", port, argv)
            self.watch("nginx", f"{name}:9113", port)
        self._asking = threading.Event()
        askers = [threading.Thread(target=self._ask, daemon=True) for _number in range(4)]
        for asker in askers:
            asker.start()
        self._running.callback(self._asking.set)

    def _write_balancer(self, name: str, status: int, tls: int, connections: int = 256) -> None:
        ports = {"one": self.services["app1-blue"].port, "two": self.services["app2-blue"].port}
        text = BALANCER.format(folder=self.folder / name, connections=connections, status=status, tls=tls, **ports)
        (self.folder / name / "nginx.conf").write_text(text, encoding="utf-8")

    def certify(self, name: str, days: int) -> None:
        """Give a balancer a certificate that is valid for so many days from now."""
        make_self_signed(self.folder / name / "tls.key", self.folder / name / "tls.crt", "localhost", "IP:127.0.0.1", days)

    def _ask(self) -> None:
        while not self._asking.wait(0.4):
            with contextlib.suppress(OSError):
                status_of(f"https://127.0.0.1:{self.site}/")

    # The hosts

    def figures(self, host: str, name: str, *lines: str) -> None:
        """Write a file of figures of a host; without lines it is removed."""
        path = self.folder / f"{host}-figures/{name}.prom"
        if not lines:
            path.unlink(missing_ok=True)
            return
        path.with_suffix(".new").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        path.with_suffix(".new").rename(path)

    def _start_hosts(self) -> None:
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        image = self.folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(32 << 20)
        # No blocks are kept for root, so that what is free is what can be written.
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-N", "256", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.disk)], check=True)
        self._running.callback(lambda: subprocess.run(["umount", "--lazy", str(self.disk)], check=True))
        for host in ("app1", "app2", "data1", "lb1"):
            (self.folder / f"{host}-figures").mkdir()
            port = free_port()
            argv = [
                "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={self.folder}/{host}-figures",
            ]
            # Of the machine that this runs on nothing is told but that disk.
            if host == "data1":
                argv += ["--collector.filesystem", r"--collector.filesystem.mount-points-exclude=^/$|^/[^t].*|^/tmp/?$|.*/(postgres|mnt|run)/.*"]
            self.serve(f"{host}-node", port, argv)
            self.watch("node", f"{host}:9100", port)
        for host in ("app1", "app2"):
            self.deployed(host, "7")

    def deployed(self, host: str, release: str, *more: str) -> None:
        """Tell what a deployment has left on a host."""
        live = f'mainstay_deploy_live{{application="ledger",release="{release}",slot="blue",port="8000"}} 1'
        self.figures(host, "mainstay-deploy-ledger", live, *more)

    # The data

    def _start_exporters_of_postgres(self) -> None:
        self.postgres["data1"].query(f"CREATE ROLE watcher LOGIN PASSWORD '{SENTINEL}' IN ROLE pg_monitor")
        self.postgres["data1"].query("CREATE TABLE ballast (text text)")
        self.postgres["data1"].query("CREATE TABLE pairs (id int PRIMARY KEY, n int); INSERT INTO pairs VALUES (1, 0), (2, 0)")
        self.postgres.settle("data1", "data2")
        write_tree(self.folder / "exporters", "exporters.yml.j2", prometheus_exporters=["postgres", "blackbox"])
        relocate(self.folder / "exporters")
        for name in ("data1", "data2"):
            port, server = free_port(), self.postgres[name]
            given = environment(self.folder / "exporters", "prometheus-postgres-exporter")
            given.pop("ARGS")
            given["DATA_SOURCE_NAME"] = f"host={server.socket_dir} port={server.port} dbname=postgres user=watcher password={SENTINEL}"
            argv = ["prometheus-postgres-exporter", *arguments(self.folder / "exporters", "prometheus-postgres-exporter")]
            self.serve(f"{name}-postgres", port, [*argv, f"--web.listen-address=127.0.0.1:{port}"], **given)
            self.watch("postgres", f"{name}:9187", port)

    def redis(self, name: str) -> t.Any:
        """A client of a Redis server."""
        return redis.Redis(port=self.services[f"{name}-redis"].port, decode_responses=True)

    def _start_redis(self) -> None:
        first = free_port()
        for name, port in (("data1", first), ("data2", free_port())):
            where = self.folder / f"{name}-redis"
            where.mkdir()
            argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(where), "--save", ""]
            # So that a test may say where it writes its data.
            argv += ["--repl-diskless-sync-delay", "0", "--enable-protected-configs", "yes"]
            argv += ["--replicaof", f"127.0.0.1 {first}"] if port != first else []
            self.serve(f"{name}-redis", port, argv)
            told = free_port()
            argv = ["prometheus-redis-exporter", f"-web.listen-address=127.0.0.1:{told}", f"-redis.addr=redis://127.0.0.1:{port}"]
            self.serve(f"{name}-redis-exporter", told, argv)
            self.watch("redis", f"{name}:9121", told)

    # What watches

    def _start_monitoring(self) -> None:
        home, self.prometheus, self.manager, blackbox, self.mail = self.folder / "monitoring", free_port(), free_port(), free_port(), free_port()
        self.serve("mail", self.mail, [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self.mail)])
        self.serve("custom", (custom := free_port()), ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{custom}", "--collector.disable-defaults"])
        self.watch("custom", "custom:9999", custom)
        self._write_monitoring(home, blackbox)
        modules = {
            "site": {"prober": "http", "http": {"fail_if_not_ssl": True, "preferred_ip_protocol": "ip4", "tls_config": {"insecure_skip_verify": True}}},
            "http": {"prober": "http", "http": {"preferred_ip_protocol": "ip4"}}, "tcp": {"prober": "tcp"},
        }
        (home / "blackbox.yml").write_text(yaml.safe_dump({"modules": modules}), encoding="utf-8")
        argv = ["prometheus-blackbox-exporter", f"--config.file={home}/blackbox.yml", f"--web.listen-address=127.0.0.1:{blackbox}", "--timeout-offset=0.3"]
        self.serve("blackbox", blackbox, argv)
        argv = ["prometheus-alertmanager", *arguments(home, "prometheus-alertmanager"), f"--config.file={home}/etc/prometheus/alertmanager.yml"]
        self.serve("alertmanager", self.manager, [*argv, f"--storage.path={home}/manager"])
        argv = ["prometheus", *arguments(home, "prometheus"), f"--config.file={home}/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={home}/data"]
        self.serve("prometheus", self.prometheus, argv)

    def _write_monitoring(self, home: pathlib.Path, blackbox: int) -> None:
        """The role's own files, in haste, with a name for each target."""
        jobs = [{"name": job, "targets": [f"127.0.0.1:{port}" for _instance, port in targets]} for job, targets in self.targets.items()]
        given = {
            "prometheus_listen_address": f"127.0.0.1:{self.prometheus}",
            "prometheus_scrape_interval": f"{SCRAPE}s",
            "prometheus_evaluation_interval": "1s",
            "prometheus_external_labels": {"site": "a"},
            "prometheus_scrape_jobs": jobs,
            # Burn rates look back for days, and are still above their limit when the fault is over.
            "prometheus_rules": ["hosts", "application", "postgres", "redis", "nginx", "endpoints", "backup", "security", "prometheus"],
            "prometheus_probes": [
                {"module": "site", "targets": [f"https://127.0.0.1:{self.site}/"]},
                {"module": "http", "targets": [f"http://127.0.0.1:{self.services['shop'].port}/"]},
                {"module": "tcp", "targets": [f"127.0.0.1:{self.mail}"]},
            ],
            "prometheus_blackbox_address": f"127.0.0.1:{blackbox}",
            "prometheus_thresholds": {
                "deploy_silent_seconds": 5, "postgres_lag_seconds": 5, "postgres_behind_bytes": 8 << 20, "postgres_slot_bytes": 24 << 20,
                "postgres_statement_seconds": 5, "postgres_idle_transaction_seconds": 5, "nginx_connections": 60, "endpoint_seconds": 1,
            },
            "prometheus_alertmanagers": [f"127.0.0.1:{self.manager}"],
            "prometheus_alertmanager_listen_address": f"127.0.0.1:{self.manager}",
            "prometheus_alertmanager_receivers": [
                {"name": "desk", "webhook": [{"url": self.messages.url("desk")}]},
                {"name": "pager", "webhook": [{"url": self.messages.url("pager")}]},
            ],
            "prometheus_alertmanager_routes": [{"receiver": "pager", "severities": ["critical"]}],
            "prometheus_alertmanager_group_wait": "1s",
            "prometheus_alertmanager_group_interval": "2s",
        }
        write_tree(home, **given)
        write_tree(home, "alertmanager_tree.yml.j2", **given)
        relocate(home)
        self.rules: dict[str, dict[str, t.Any]] = {}
        for path in (home / "etc/prometheus/rules").glob("*.yml"):
            text = path.read_text(encoding="utf-8")
            self.rules |= {rule["alert"]: rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule}
            path.write_text(hurried(text), encoding="utf-8")
        for job, targets in self.targets.items():
            entries = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}} for instance, port in targets]
            (home / f"etc/prometheus/targets/{job}.json").write_text(json.dumps(entries), encoding="utf-8")

    def alerts(self) -> list[dict[str, str]]:
        """The labels of the alerts that fire, but for the one that always does."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus}/api/v1/alerts", timeout=30) as answer:
            found = json.load(answer)["data"]["alerts"]
        return [alert["labels"] for alert in found if alert["state"] == "firing" and alert["labels"]["alertname"] != "Watchdog"]

    def calm(self, seconds: float = 4, patience: float = 300) -> None:
        """Wait until nothing has fired for a time."""
        quiet = time.monotonic()

        def still() -> bool:
            nonlocal quiet
            if self.alerts():
                quiet = time.monotonic()
            return time.monotonic() - quiet >= seconds

        try:
            until(still, "calm", patience, ignoring=(OSError,), pause=0.5)
        except AssertionError as error:
            raise AssertionError(f"these do not end: {self.alerts()}") from error

    def told(self, alert: str, status: str, since: int) -> list[dict[str, t.Any]]:
        """The messages about an alert from a number of messages on, that it fires (``firing``) or has ended (``resolved``)."""
        found = [(path, body) for path, _token, body in self.messages.messages[since:] if body["groupLabels"].get("alertname") == alert]
        severity = "pager" if self.rules[alert]["labels"]["severity"] == "critical" else "desk"
        assert all(path == f"/{severity}" for path, _body in found), f"{alert} went to {[path for path, _body in found]}"
        return [body for _path, body in found if body["status"] == status]

    def pages(self, since: int) -> set[str]:
        """The names of the alerts that somebody was called for."""
        return {body["groupLabels"]["alertname"] for path, _token, body in self.messages.messages[since:] if path == "/pager" and body["status"] == "firing"}

    def notes(self, since: int) -> set[str]:
        """The names of the alerts that somebody was written about."""
        return {body["groupLabels"]["alertname"] for path, _token, body in self.messages.messages[since:] if path == "/desk" and body["status"] == "firing"}


def status_of(url: str) -> int:
    """Ask a server, whatever its certificate is, and return the status of its answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def production(folder: pathlib.Path) -> t.Iterator[Stack]:
    """Yield all of it, running; without root there is no disk to fill."""
    assert os.geteuid() == 0, "mounting a disk needs root"
    for name in ("prometheus", "prometheus-alertmanager", "mke2fs", "openssl"):
        assert shutil.which(name), f"{name} is missing"
    with contextlib.ExitStack() as running:
        yield Stack(folder, running)
