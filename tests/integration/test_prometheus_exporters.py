# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporters with what the role gives them, beside real servers: no rule asks for a figure that nobody tells."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import threading
import typing as t

import pytest
import requests
import yaml
from monitoring import arguments, daemon, environment, relocate
from prometheus_tree import write_rules, write_tree
from servers import SENTINEL, PostgresServer, free_port
from waiting import until

FAMILIES = ("node_", "pg_", "redis_", "nginx_", "probe_", "prometheus_", "alertmanager_", "haproxy_", "mainstay_postgres_")
#: What only another release or another topology than that of these tests tells of.
ELSEWHERE = {
    "pg_replication_lag_seconds": "Debian 13",
    "pg_replication_is_replica": "Debian 13",
    "mainstay_postgres_standby_lag_seconds": "a standby",
    "mainstay_postgres_standby_streaming": "a standby",
    "mainstay_postgres_findings": "pg_advisor_info",
    "mainstay_postgres_report_timestamp_seconds": "pg_advisor_info",
    "mainstay_postgres_report_late_after_seconds": "pg_advisor_info",
    "node_systemd_units": "a host with systemd",
    "node_nf_conntrack_entries": "a host with a firewall",
    "node_nf_conntrack_entries_limit": "a host with a firewall",
    "node_textfile_scrape_error": "a host with files of figures",
    "prometheus_remote_storage_queue_highest_sent_timestamp_seconds": "a remote write that has sent something",
}
#: Of the replicas and Sentinels.
CLUSTER = re.compile(r"redis_(connected_slave|master_link|sentinel|errors_total|config_maxclients)")
NGINX = """
pid {folder}/nginx.pid; error_log {folder}/error.log; events {{ }}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; location /stub_status {{ stub_status; }} }} }}
"""
HAPROXY = """
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend metrics
    bind 127.0.0.1:{port}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    use_backend postgres_write if {{ path /never }}
backend postgres_write
    server a 127.0.0.1:1
"""


def names(port: int, path: str = "/metrics") -> set[str]:
    """The names of what a server tells."""
    answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=30)
    assert answer.status_code == 200, answer.text
    return {match[1] for match in re.finditer(r"(?m)^([a-z_0-9]+)(?:\{.*\})? ", answer.text)}


def value(port: int, series: str) -> float:
    """One figure."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return float(next(line for line in text.splitlines() if line.startswith(f"{series} ")).split()[-1])


@pytest.fixture(scope="module")
def home(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[pathlib.Path, dict[str, int]]]:
    """What the role writes for exporters, and the ports of the servers that they look at."""
    folder = tmp_path_factory.mktemp("exporters")
    ports = {name: free_port() for name in ("redis", "nginx", "blackbox")}
    login = f"host={postgres_server.socket_dir} port={postgres_server.port} dbname=postgres user=watcher password={SENTINEL}"
    write_tree(
        folder, "exporters.yml.j2",
        prometheus_exporters=["node", "postgres", "redis", "nginx", "blackbox"],
        prometheus_exporter_postgres_dsn=login,
        prometheus_exporter_redis_address=f"redis://127.0.0.1:{ports['redis']}",
        prometheus_exporter_nginx_uri=f"http://127.0.0.1:{ports['nginx']}/stub_status",
        prometheus_exporter_blackbox_listen_address=f"127.0.0.1:{ports['blackbox']}",
    )
    relocate(folder)
    postgres_server.query(f"CREATE ROLE watcher LOGIN PASSWORD '{SENTINEL}' IN ROLE pg_monitor")
    try:
        yield folder, ports
    finally:
        postgres_server.query("DROP ROLE watcher")


@contextlib.contextmanager
def exporter(folder: pathlib.Path, name: str, flag: str = "--web.listen-address") -> t.Iterator[int]:
    """Run an exporter as the role does, on a free port."""
    port, service = free_port(), f"prometheus-{name}-exporter"
    given = environment(folder, service)
    given.pop("ARGS")
    with daemon(folder, port, [service, *arguments(folder, service), f"{flag}=127.0.0.1:{port}"], **given):
        yield port


@pytest.fixture(scope="module")
def postgres_figures(home: tuple[pathlib.Path, dict[str, int]], postgres_server: PostgresServer) -> t.Iterator[int]:
    """The exporter of PostgreSQL, of a server that somebody reads the log of."""
    folder, _port = home
    (folder / "log").mkdir()
    argv = [f"{postgres_server.bin_dir}/pg_receivewal", "-D", str(folder / "log"), "-h", str(postgres_server.socket_dir), "-p", str(postgres_server.port)]
    argv += ["-U", "postgres", "-S", "reader"]
    postgres_server.query("SELECT pg_create_physical_replication_slot('reader', true)")
    reader = subprocess.Popen(argv, env={"PGPASSWORD": SENTINEL, "PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL)
    try:
        until(lambda: postgres_server.query("SELECT 1 FROM pg_stat_replication"), "somebody reads the log")
        with exporter(folder, "postgres") as port:
            yield port
    finally:
        reader.terminate()
        reader.wait(30)
        until(lambda: not postgres_server.query("SELECT 1 FROM pg_replication_slots WHERE active"), "nobody reads it any more")
        postgres_server.query("SELECT pg_drop_replication_slot('reader')")


def test_what_the_exporter_of_postgresql_tells(postgres_figures: int, postgres_server: PostgresServer) -> None:
    """A member of pg_monitor reads everything; a slow statement and an idle transaction are seen; that of pg_dump is not one."""
    assert value(postgres_figures, "pg_up") == 1
    assert value(postgres_figures, "pg_exporter_last_scrape_error") == 0
    assert SENTINEL not in requests.get(f"http://127.0.0.1:{postgres_figures}/metrics", timeout=30).text
    labels = '{datname="postgres",server="' + f"{postgres_server.socket_dir}:{postgres_server.port}" + '",usename="postgres"}'
    with postgres_server.connect() as idle, postgres_server.connect(application_name="pg_dump") as dump, idle.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1")
        with running(dump, "SELECT pg_sleep(20)"):
            until(lambda: value(postgres_figures, f"mainstay_postgres_activity_longest_idle_transaction_seconds{labels}") >= 1, "it is seen to be idle")
            assert value(postgres_figures, f"mainstay_postgres_activity_longest_statement_seconds{labels}") == 0
        with postgres_server.connect() as slow, running(slow, "SELECT pg_sleep(20)"):
            until(lambda: value(postgres_figures, f"mainstay_postgres_activity_longest_statement_seconds{labels}") >= 1, "it is seen to be slow")


@contextlib.contextmanager
def running(connection: t.Any, statement: str) -> t.Iterator[None]:
    """Run a statement of PostgreSQL until the end of the block."""
    def run() -> None:
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute(statement)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        connection.cancel()
        thread.join(30)


def test_public_addresses(home: tuple[pathlib.Path, dict[str, int]]) -> None:
    """The checks that are there without being asked for."""
    folder, ports = home
    service = "prometheus-blackbox-exporter"
    check = subprocess.run([service, "--config.check", *arguments(folder, service)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    port = ports["blackbox"]
    with daemon(folder, port, [service, *arguments(folder, service)]):
        here, nowhere = f"127.0.0.1:{port}", "127.0.0.1:1"
        for module, target, success in (("http", here, 1), ("https", here, 0), ("tcp", here, 1), ("tcp", nowhere, 0)):
            answer = requests.get(f"http://127.0.0.1:{port}/probe", params={"module": module, "target": target}, timeout=30)
            assert f"\nprobe_success {success}\n" in answer.text, (module, target)


def test_every_figure_of_the_rules_is_told(home: tuple[pathlib.Path, dict[str, int]], postgres_figures: int, tmp_path: pathlib.Path) -> None:
    """By the exporters, Prometheus, Alertmanager and HAProxy of this release of Debian."""
    folder, ports = home
    asked = set()
    for path in write_rules(tmp_path / "rules"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            asked |= {name for rule in group["rules"] for name in re.findall(r"\b[a-z][a-z0-9_]+\b", rule["expr"]) if name.startswith(FAMILIES)}
    told = names(postgres_figures)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports["nginx"]), encoding="utf-8")
    nginx = ["nginx", "-g", "daemon off;", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/start.log"]
    with daemon(folder, ports["nginx"], nginx), exporter(folder, "nginx") as port:
        told |= names(port)
    redis = ["redis-server", "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with daemon(folder, ports["redis"], redis), exporter(folder, "redis", "-web.listen-address") as port:
        told |= names(port)
    with exporter(folder, "node") as port:
        told |= names(port)
    told |= of_the_blackbox_exporter(folder, ports["blackbox"]) | of_haproxy(tmp_path) | of_prometheus(tmp_path)
    missing = {name for name in asked if name not in told and name not in ELSEWHERE and not CLUSTER.match(name)}
    assert missing == set()
    assert len(asked) > 50, "the names are not found in the rules"


def of_the_blackbox_exporter(folder: pathlib.Path, port: int) -> set[str]:
    """What a check of a server with TLS tells, such as that of its certificate."""
    service = "prometheus-blackbox-exporter"
    with daemon(folder, port, [service, *arguments(folder, service)]):
        # probe_ssl_earliest_cert_expiry is told by whoever got as far as a handshake only; see test_health_probe for such servers.
        return names(port, f"/probe?module=http&target=127.0.0.1:{port}") | {"probe_ssl_earliest_cert_expiry"}


def of_haproxy(folder: pathlib.Path) -> set[str]:
    """What the proxy before PostgreSQL tells."""
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port), encoding="utf-8")
    with daemon(folder, port, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]):
        return names(port)


def of_prometheus(folder: pathlib.Path) -> set[str]:
    """What Prometheus and Alertmanager tell of themselves."""
    ports = [free_port(), free_port(), free_port()]
    remote = [{"url": "http://127.0.0.1:1/", "name": "far"}]
    alerting = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]}
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "vector(1)"}]}]}), encoding="utf-8")
    given = {"rule_files": ["rules.json"], "remote_write": remote, "alerting": alerting, "global": {"evaluation_interval": "1s"}}
    (folder / "prometheus.json").write_text(json.dumps(given), encoding="utf-8")
    (folder / "manager.json").write_text(json.dumps({"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}), encoding="utf-8")
    prometheus = ["prometheus", f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{ports[0]}"]
    manager = ["prometheus-alertmanager", f"--config.file={folder}/manager.json", f"--storage.path={folder}/am", f"--web.listen-address=127.0.0.1:{ports[1]}"]
    with daemon(folder, ports[0], prometheus), daemon(folder, ports[1], [*manager, f"--cluster.listen-address=127.0.0.1:{ports[2]}"]):
        until(lambda: "prometheus_notifications_errors_total" in names(ports[0]), "Prometheus knows the Alertmanager")
        return names(ports[0]) | names(ports[1])
