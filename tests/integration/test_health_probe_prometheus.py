# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``health_probe`` against Prometheus over TLS, with logins and a series of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import typing as t

import pytest
from servers import free_port
from test_health_probe import PASSWORD, Authority, Web, authority, only, probe, refused, serving, wait_for

__all__ = ["authority"]

#: The password of the tests by bcrypt, as Prometheus wants it.
HASHED = "$2b$04$Kq3hT7sWvX9zLpR2mN5bYeqwPWdbKFj2PT00w/iwsq9MqYJ8lbvo2"
RULES = """
groups:
  - name: values
    interval: 1s
    rules:
      - {record: shop_queue, expr: vector(3), labels: {queue: mail}}
      - {record: shop_queue, expr: vector(8), labels: {queue: orders}}
      - {alert: ShopDown, expr: vector(1), labels: {severity: critical}}
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """A Prometheus, and its CA."""

    url: str
    ca_cert: str

    def check(self, query: str, **more: t.Any) -> dict[str, t.Any]:
        """A check of one query, logged in."""
        login = {"login_user": "jo", "login_password": PASSWORD, "ca_cert": self.ca_cert}
        return {"name": "rule", "type": "prometheus", "url": self.url, "query": query, **login, **more}


def asked(server: Server, query: str) -> list[t.Any]:
    """The series of a query, by curl; it fails while Prometheus is not ready."""
    argv = ["curl", "-sSf", "--cacert", server.ca_cert, "-u", f"jo:{PASSWORD}", "--data-urlencode", f"query={query}", f"{server.url}/api/v1/query"]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["data"]["result"]


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """Prometheus with three rules, over TLS, for one user."""
    assert shutil.which("prometheus"), "Prometheus is not installed: apt-get install prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    issued = authority.issue("prometheus.example")
    port = free_port()
    (folder / "rules.yml").write_text(RULES, encoding="utf-8")
    (folder / "prometheus.yml").write_text("rule_files: [rules.yml]\n", encoding="utf-8")
    web = {"tls_server_config": {"cert_file": issued.cert, "key_file": issued.key}, "basic_auth_users": {"jo": HASHED}}
    (folder / "web.yml").write_text(json.dumps(web), encoding="utf-8")
    argv = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--web.config.file={folder}/web.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        found = Server(f"https://127.0.0.1:{port}", authority.cert)
        wait_for("the rules", lambda: len(asked(found, "shop_queue or ALERTS")) == 3, 30)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def test_one_value(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    found = only(probe(capsys, server.check('shop_queue{queue="mail"}', equals=3)))
    assert (found["status"], found["detail"]) == ("healthy", "returned 3")
    observed = {"address": server.url[8:], "http_status": 200, "body_start": None}
    assert found["observed"] == {**observed, "series": 1, "lowest": 3.0, "highest": 3.0}


@pytest.mark.parametrize(
    ("query", "bounds", "detail"),
    [
        ("shop_queue", {"min_value": 3, "max_value": 8}, ""),
        ("shop_queue", {"max_value": 7}, 'shop_queue{queue="orders"} is 8, more than 7'),
        ("shop_queue", {"min_value": 4}, 'shop_queue{queue="mail"} is 3, less than 4'),
        ("shop_queue", {"equals": 3}, 'shop_queue{queue="orders"} is 8, expected 3'),
        ("sum(shop_queue)", {"equals": 11}, ""),
        ("sum(shop_queue)", {"max_value": 10.5}, "{} is 11, more than 10.5"),
        ("scalar(sum(shop_queue))", {"min_value": 11.5}, "scalar is 11, less than 11.5"),
        ("vector(0) / 0", {"max_value": 1}, "{} is nan, not at most 1"),
        ("vector(1) / 0", {"max_value": 1}, "{} is inf, more than 1"),
        ("vector(1) / 0", {"min_value": 1}, ""),
    ],
)
def test_bounds(capsys: pytest.CaptureFixture[str], server: Server, query: str, bounds: dict[str, float], detail: str) -> None:
    found = only(probe(capsys, server.check(query, **bounds)))
    assert found["status"] == ("unhealthy" if detail else "healthy") and (not detail or found["detail"] == detail)


@pytest.mark.parametrize("on_empty", ["unhealthy", "degraded", "healthy"])
def test_no_series(capsys: pytest.CaptureFixture[str], server: Server, on_empty: str) -> None:
    found = only(probe(capsys, server.check("nobody_exports_this", max_value=0, on_empty=on_empty)))
    assert (found["status"], found["detail"]) == (on_empty, "the query returned no series")
    assert (found["observed"]["series"], found["observed"]["lowest"], found["observed"]["highest"]) == (0, None, None)
    firing = only(probe(capsys, server.check('ALERTS{alertstate="firing"}', max_value=0, on_empty=on_empty)))
    assert firing["status"] == "unhealthy" and 'ALERTS{alertname="ShopDown"' in firing["detail"]


def test_no_series_is_unhealthy_unless_said_otherwise(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    assert only(probe(capsys, server.check("nobody_exports_this")))["status"] == "unhealthy"


def test_assertions(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    right = ["status == 'success'", "length(data.result) == `2`", "contains(data.result[].metric.queue, 'orders')"]
    assert only(probe(capsys, server.check("shop_queue", assertions=right)))["status"] == "healthy"
    wrong = only(probe(capsys, server.check("shop_queue", assertions=["length(data.result) == `1`"])))
    assert wrong["detail"].startswith("assertion 'length(data.result) == `1`' is false, not true; body starts with '{\"status\":\"success\"")


def test_queries_that_return_no_vector(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    broken = only(probe(capsys, server.check("sum(")))
    assert (broken["status"], broken["observed"]["http_status"]) == ("unhealthy", 400)
    assert broken["detail"].startswith("answered 400, expected 200; body starts with '{\"status\":\"error\"") and "parse error" in broken["detail"]
    assert "the query returns a matrix, not an instant vector or a scalar" in only(probe(capsys, server.check("shop_queue[1m]")))["detail"]


def test_login_and_tls(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    check = server.check("vector(1)")
    denied = only(probe(capsys, {**check, "login_password": "wrong-one"}))
    assert denied["status"] == "unhealthy" and denied["detail"].startswith("answered 401, expected 200")
    assert only(probe(capsys, {**check, "url": "https://prometheus.example/", "connect_to": server.url[8:]}))["status"] == "healthy"
    assert "does not verify as other.example" in only(probe(capsys, {**check, "server_hostname": "other.example"}))["detail"]
    untrusted = dict(check)
    del untrusted["ca_cert"]
    assert "unable to get local issuer certificate" in only(probe(capsys, untrusted))["detail"]
    assert only(probe(capsys, {**untrusted, "validate_certs": False}))["status"] == "healthy"


def test_what_is_no_prometheus(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Web()) as web:
        check = {"type": "prometheus", "query": "up", "url": web.url("/prefix/"), "bearer_token": "t0ken-Zz9", "headers": {"X-Scope-OrgID": "shop"}}
        found = only(probe(capsys, check))
        assert (found["status"], found["detail"]) == ("unhealthy", "the answer is not one of Prometheus's HTTP API; body starts with 'fine'")
        assert web.seen[0]["path"] == "/prefix/api/v1/query?query=up"
        assert (web.seen[0]["headers"]["Authorization"], web.seen[0]["headers"]["X-Scope-Orgid"]) == ("Bearer t0ken-Zz9", "shop")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"equals": 1, "max_value": 2}, "equals excludes min_value and max_value"),
        ({"min_value": 2, "max_value": 1}, "min_value 2 is above max_value 1"),
        ({"url": "http://a/?query=up"}, "it holds a query string"),
        ({"expect": "1"}, "option expect means nothing to this type of check"),
        ({"assertions": ["a b"]}, "could not understand the assertion 'a b'"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], more: dict[str, t.Any], message: str) -> None:
    assert message in refused(probe(capsys, {"type": "prometheus", "url": "http://a", "query": "up", **more}))
