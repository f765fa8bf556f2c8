# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No panel is dead: each metric is one that somebody serves, and each panel returns data from a Prometheus that scrapes the real exporters."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import re
import sys
import threading
import time
import typing as t

import playbooks
import pytest
from exporters import exporter, metrics, nginx, scrape
from prometheus_server import ask, prometheus
from redis_jobs import RedisServer, free_port
from servers import PostgresServer
from waiting import until

from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor import metrics as advisor
from ansible_collections.mainstay.ops.plugins.module_utils._release import figures as deploys
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Record, Run
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import metrics as backups

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUERIES = ROOT / "roles/prometheus/files/postgres_queries.yml"
PATHS = sorted((ROOT / "roles/grafana/files/dashboards").glob("*.json"))
WORDS = frozenset(
    "sum avg min max count by on and or unless ignoring group_left group_right without offset bool rate increase changes histogram_quantile topk clamp_min"
    " scalar vector time abs le inf nan".split()
)


class Served:
    """What the sample application, Patroni and the collection's own timers would tell, with counters that grow."""

    def __init__(self) -> None:
        """Serve it on a port of its own."""
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers with the metrics."""

            def do_GET(self) -> None:
                """Answer."""
                content = served.text().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self._count = 0

    def text(self) -> str:
        """The next sample."""
        self._count += 10
        own = {"kind": "postgres", "name": "ledger", "method": "logical", "schedule": "nightly", "operation": "backup"}
        backup = ",".join(f'{name}="{content}"' for name, content in own.items())
        lines = [f"{name}{{{backup}}} {time.time() - 60:.0f}" for name in BACKUP_TIMES] + [f"{name}{{{backup}}} 86400" for name in BACKUP_NUMBERS]
        lines += [f'ledger_requests_total{{method="GET",route="/",status="{status}"}} {self._count}' for status in (200, 500)]
        lines += [f'ledger_request_seconds_bucket{{route="/",le="{le}"}} {self._count}' for le in ("0.1", "1", "+Inf")]
        lines += [f"{name} {self._count}" for name in APPLICATION_COUNTERS] + ['ledger_build_info{release="7",revision="a",schema="b"} 1']
        lines += [f"{name} 1" for name in PATRONI] + ["process_start_time_seconds 1", 'mainstay_postgres_findings{severity="warning",check="locks"} 1']
        lines.append(deploys.render(DEPLOYED, Record("7", "blue"), Run(time.time() - 60, "deploy", "7", True, 93.4), None))
        return "".join(f"{line}\n" for line in lines) + f'mainstay_acme_certificate_not_after_timestamp_seconds{{site="shop"}} {time.time() + 9e6:.0f}\n'


BACKUP_TIMES = (
    "mainstay_backup_newest_good_timestamp_seconds",
    "mainstay_backup_newest_verified_timestamp_seconds",
    "mainstay_backup_metrics_timestamp_seconds",
)
BACKUP_NUMBERS = (
    "mainstay_backup_late_after_seconds", "mainstay_backup_last_run_success", "mainstay_backup_store_readable", "mainstay_backup_plain_bytes",
    "mainstay_backup_usual_plain_bytes",
)
DEPLOYED = deploys.Place("deploys.prom", "ledger", {"blue": 8000})
APPLICATION_COUNTERS = ("ledger_database_broken_total", "ledger_cache_errors_total", "ledger_database_connects_total")
PATRONI = ("patroni_primary", "patroni_master", "patroni_xlog_location", "patroni_xlog_replayed_location")


def names_in(folder: pathlib.Path, pattern: str) -> set[str]:
    """Names in the sources of what serves them."""
    return {name for path in folder.rglob("*.py") for name in re.findall(pattern, path.read_text(encoding="utf-8"))}


@dataclasses.dataclass(frozen=True)
class Stack:
    """What is scraped, and who scrapes it."""

    url: str
    served: frozenset[str]


@pytest.fixture(scope="module")
def stack(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Stack]:
    """The exporters of this Debian, asked every second."""
    folder = tmp_path_factory.mktemp("panels")
    for name in ("nginx", "prometheus"):
        (folder / name).mkdir()
    with contextlib.ExitStack() as cleanup:
        redis = RedisServer(folder / "redis", free_port(), {}).start()
        cleanup.callback(redis.stop)
        status = cleanup.enter_context(nginx(folder / "nginx"))
        source = f"host={postgres_server.socket_dir} port={postgres_server.port} user=postgres password={postgres_server.password} dbname=postgres"
        ports = {
            "node": cleanup.enter_context(exporter("node")),
            "nginx": cleanup.enter_context(exporter("nginx", [f"--nginx.scrape-uri={status}"])),
            "redis": cleanup.enter_context(exporter("redis", [], {"REDIS_ADDR": f"redis://127.0.0.1:{redis.port}", "REDIS_PASSWORD": redis.password})),
            "postgres": cleanup.enter_context(exporter("postgres", [f"--extend.query-path={QUERIES}"], {"DATA_SOURCE_NAME": source})),
        }
        redis.client().set("a", "b")
        own = Served()
        cleanup.callback(own.server.shutdown)
        jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in {**ports, "app": own.port}.items()]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        url = cleanup.enter_context(prometheus(folder / "prometheus", config=json.dumps(config)))
        # Two points of each make a rate.
        until(
            lambda: len(ask(url, "sum by (job) (count_over_time(up[1m])) >= 4 and sum by (job) (up) == 1")) == len(jobs),
            "four scrapes of all targets",
            120,
            pause=1,
        )
        redis.client().get("a")
        served = set().union(*(metrics(scrape(f"http://127.0.0.1:{port}/metrics")) for port in ports.values()))
        yield Stack(url, frozenset(served))


def panels() -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Every panel with its name."""
    for path in PATHS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            if panel["type"] != "row":
                yield f"{path.stem}: {panel['title']}", panel


def metrics_of(expression: str) -> set[str]:
    """The names of metrics in PromQL: what is neither in braces or brackets, nor a label, a function or a number."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    return {word for word in re.findall(r"(?<![\w.])[A-Za-z_:][\w:]*", bare) if word not in WORDS}


def own_metrics() -> set[str]:
    """The metrics that the backups, deployments, the report on PostgreSQL and the renewal of certificates leave for the node exporter."""
    report = advisor.render(advisor.Figures(5432, {}, ("locks",), 0, 1.0, 60), 1.0)
    certificates = re.findall(r"(\w+_timestamp_seconds)=certificate", (ROOT / "roles/nginx_tls/files/nginx_acme.py").read_text(encoding="utf-8"))
    timers = {f"{backups.PREFIX}{name}" for name in backups.HELP} | {f"{deploys.PREFIX}{name}" for name in deploys.HELP}
    return timers | metrics(report) | {f"mainstay_acme_certificate_{name}" for name in certificates}


def test_the_names_of_metrics_are_found() -> None:
    """The test's own eye."""
    expression = 'sum by (le) (rate(a_bucket{b="c"}[5m])) / on (d) group_left (e) f_info or vector(0) - time() > 1e3'
    assert metrics_of(expression) == {"a_bucket", "f_info"}


def test_each_metric_is_served(stack: Stack) -> None:
    """By the exporters, by Prometheus itself, by Patroni, by the sample application, or by a part of this collection."""
    known = set(stack.served) | {"up", "ALERTS", "process_start_time_seconds"}
    known |= own_metrics()
    application = names_in(ROOT / "tests/fixtures/app/src", r"\"(ledger_[a-z_]+)\"")
    known |= application | {f"{name}_bucket" for name in application}
    # Patroni 4 calls patroni_primary what was patroni_master as well before.
    known |= names_in(pathlib.Path("/usr/lib/python3/dist-packages/patroni"), r"\bpatroni_[a-z_]+\b") | {"patroni_master"}
    missing = {
        (where, metric) for where, panel in panels() for target in panel["targets"] for metric in metrics_of(target["expr"]) if metric not in known
    }
    assert not missing


def test_each_panel_returns_data(stack: Stack) -> None:
    """Each query of it; one that may be empty says what that means."""
    dead = []
    for where, panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".+")
            found = ask(stack.url, expression)
            if not found and panel["fieldConfig"]["defaults"]["noValue"] == "no data":
                dead.append((where, target["expr"]))
    assert not dead


def test_the_role_writes_them(tmp_path: pathlib.Path) -> None:
    """Where Grafana cannot be installed the files are made all the same; a second run changes nothing, and check mode on a bare host writes nothing."""
    given = {
        "grafana_config_dir": str(tmp_path / "etc"), "grafana_dashboards_dir": str(tmp_path / "dashboards"), "grafana_prometheus_url": "http://mon1:9090",
        "grafana_prometheus_user": "jo", "grafana_prometheus_password": "Sentinel$4",
    }
    tasks = [{"ansible.builtin.import_role": {"name": "mainstay.ops.grafana"}}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {**given, "ansible_python_interpreter": sys.executable},
            "module_defaults": {"mainstay.ops.config_tree": {"state_dir": str(tmp_path / "state")}}, "tasks": tasks}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    runs = [playbooks.run(tmp_path / "play.json", "-vv", "--diff", *more) for more in (["--check"], [], [])]
    assert [run.returncode for run in runs] == [0, 0, 0], runs[0].stdout + runs[1].stdout
    assert [re.search(r"changed=(\d+)", run.stdout)[1] for run in runs] == ["1", "1", "0"]  # type: ignore[index]
    assert all("Sentinel$" not in run.stdout for run in runs)
    assert {path.name for path in (tmp_path / "dashboards").iterdir()} == {path.name for path in PATHS}
    source = tmp_path / "etc" / "provisioning" / "datasources" / "mainstay.yaml"
    assert "http://mon1:9090" in source.read_text() and "Sentinel$$4" in source.read_text() and source.stat().st_mode & 0o007 == 0
    assert str(tmp_path / "dashboards") in (tmp_path / "etc" / "provisioning" / "dashboards" / "mainstay.yaml").read_text()
