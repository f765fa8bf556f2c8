# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page, of a server that works, one that does not, and a Prometheus with a past."""

from __future__ import annotations

import json
import pathlib
import time
import typing as t

import pytest
from ports import free_port
from prometheus_server import Past, ask, prometheus
from servers import Runner
from waiting import until

MIDNIGHT = time.time() // 86400 * 86400
SECRET = "Sentinel4711"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """Two days of which the last one was half bad, and an alert."""
    past = Past(MIDNIGHT, 2)
    past.series("nginx_up", lambda day: float(day <= 1.5), instance="lb1:9113")
    config = json.dumps({"rule_files": ["rules.json"]})
    folder = tmp_path_factory.mktemp("prometheus")
    rule = {"alert": "ShopDown", "expr": "vector(1)", "labels": {"severity": "critical"}}
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "all", "interval": "1s", "rules": [rule]}]}))
    with prometheus(folder, past, config) as found:
        until(lambda: ask(found, 'ALERTS{alertstate="firing"}'), "the alert", ignoring=(OSError,))
        yield found


def options(folder: pathlib.Path, url: str, **more: t.Any) -> dict[str, t.Any]:
    """A page on Prometheus itself, and on a port where nobody listens."""
    checks = [
        {"name": "The shop", "type": "http", "url": f"{url}/-/ready"},
        {"name": "The <mail>", "type": "http", "url": f"http://127.0.0.1:{free_port()}/", "login_user": "jo", "login_password": SECRET},
    ]
    return {"path": str(folder / "index.html"), "checks": checks, "prometheus": {"url": url}, "retries": 0, **more}


def test_the_page(run_module: Runner, url: str, tmp_path: pathlib.Path) -> None:
    """What works and what does not; without details nothing of the inside is told."""
    history = [{"name": "Balancer", "query": "avg_over_time(nginx_up[1d])"}]
    wanted = options(tmp_path, url, histories=history, days=4, title="Our status", notice="Work on Sunday")
    planned = run_module("status_page", wanted, check=True, diff=True)
    assert planned["changed"] and planned["status"] == "unhealthy" and not list(tmp_path.iterdir())
    result = run_module("status_page", wanted)
    assert (result["actions"], result["unhealthy"], result["gaps"]) == (planned["actions"], ["The <mail>"], []), result
    page = (tmp_path / "index.html").read_text()
    assert (tmp_path / "index.html").stat().st_mode & 0o777 == 0o644 and len(list(tmp_path.iterdir())) == 1
    assert "Something is down" in page and "Our status" in page and "Work on Sunday" in page and 'http-equiv="refresh" content="60"' in page
    assert "The &lt;mail&gt;" in page and ">down<" in page and ">works<" in page and "<script" not in page
    assert "127.0.0.1" not in page and "ShopDown" not in page
    # One day that nobody knows, one of which the past begins at its end, one that was good, and one half of which was bad.
    bars = page[page.index("class=days"):].split("</div>")[0]
    assert [each.split(" ")[0] for each in bars.split("<i class=")[1:]] == ["quiet", "good", "good", "bad"], bars
    assert SECRET not in page and SECRET not in json.dumps(result)


def test_details(run_module: Runner, url: str, tmp_path: pathlib.Path) -> None:
    """For one's own people; names of alerts, and what the checks saw."""
    wanted = options(tmp_path, url, details=True, refresh=0)
    run_module("status_page", wanted)
    page = (tmp_path / "index.html").read_text()
    assert "ShopDown" in page and "answered 200" in page and "127.0.0.1" in page and "http-equiv" not in page and SECRET not in page


def test_a_prometheus_that_does_not_answer(run_module: Runner, url: str, tmp_path: pathlib.Path) -> None:
    """The page is written all the same, and says so."""
    wanted = options(tmp_path, url, prometheus={"url": "http://127.0.0.1:1"}, histories=[{"name": "Balancer", "query": "up"}], details=True)
    result = run_module("status_page", wanted)
    assert not result["failed"] and len(result["gaps"]) == 2
    page = (tmp_path / "index.html").read_text()
    assert "It is not known whether alerts are firing" in page and "the history of Balancer" in page
    without = {name: value for name, value in wanted.items() if name != "prometheus"}
    assert run_module("status_page", without)["gaps"] == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"checks": [{"type": "http"}]}, "could not read the checks"),
        ({"checks": []}, "checks is an empty list"),
        ({"days": 0}, "could not show 0 days"),
        ({"path": "/nonexistent/index.html"}, "could not write /nonexistent/index.html"),
    ],
)
def test_refused(run_module: Runner, url: str, tmp_path: pathlib.Path, more: dict[str, t.Any], words: str) -> None:
    result = run_module("status_page", options(tmp_path, url) | more)
    assert result["failed"] and words in result["msg"] and SECRET not in json.dumps(result), result
