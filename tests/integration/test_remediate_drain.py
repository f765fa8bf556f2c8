# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``remediate`` takes a sick host out of a real nginx, although nobody can log in to the host."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest
import yaml
from ports import free_port
from test_nginx_tls import App, Balancer
from test_nginx_tls import pytestmark as needs_root
from test_remediation import Alertmanager, alertmanager

__all__ = ["alertmanager"]
pytestmark = needs_root
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def balancer(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Balancer]:
    """nginx with two servers, of which both answer."""
    found = Balancer(tmp_path_factory.mktemp("nginx"))
    servers = found.upstream()["servers"]
    found.apps = [App(one["name"], one["address"], found.slots["blue"]) for one in servers]
    try:
        assert not found.site_run()["failed"]
        (found.live / "blue").touch()
        yield found
    finally:
        found.stop()
        for app in found.apps:
            app.shutdown()
            app.server_close()


def write_inventory(balancer: Balancer, url: str) -> pathlib.Path:
    """app1 cannot be reached, app2 and the balancer are here."""
    folder = balancer.folder
    (folder / "app2").mkdir()
    live = {"release": "1", "slot": "blue", "previous": "", "kind": "deploy", "time": "2026-11-22T18:00:00+00:00", "by": "tests"}
    (folder / "app2/history.json").write_text(json.dumps({"records": [live]}))
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    variables = {
        "app_host_name": "shop", "app_host_command": ["true"], "app_host_slots": balancer.slots, "app_host_root": str(folder / "app2"),
        "app_host_balancers": ["lb1"], "remediate_alerts_url": url,
        "remediate_record_dir": str(folder / "record"), "remediate_kill_switch": str(folder / "off"),
    }
    away = {"ansible_host": "127.0.0.1", "ansible_port": free_port(), "ansible_become": False, "remediate_aliases": []}
    groups = {"lb": {"hosts": {"lb1": local}}, "app": {"hosts": {"app1": away, "app2": local}, "vars": variables}}
    path = folder / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups}}))
    return path


def test_a_sick_host_that_nobody_can_log_in_to_is_drained(balancer: Balancer, alertmanager: Alertmanager) -> None:
    """Check mode says so and does nothing; the host is out; the next run is refused; a name that is a pattern is refused before."""
    inventory = write_inventory(balancer, alertmanager.url)
    alertmanager.fire(alertname="ApplicationHostSick", instance="app1:9100")
    record = balancer.folder / "record/record.jsonl"

    def play(*arguments: str, host: str = "app1") -> tuple[int, str]:
        given = json.dumps({"remediate_action": "drain_host", "remediate_host": host, "remediate_alert": "ApplicationHostSick"})
        program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
        done = balancer.inside(program, "-i", str(inventory), "-e", given, *arguments, str(ROOT / "playbooks/remediate.yml"))
        return done.returncode, done.stdout + done.stderr

    def answering() -> set[str]:
        return {balancer.ask("/").app for dummy in range(20)}

    for pattern in ("all", "app*", "app1,app2", "lb1"):
        status, said = play(host=pattern)
        assert status != 0 and "Nothing was done. remediate_host is" in said, pattern
    status, said = play("--check")
    assert status == 0 and "drain_host on app1: run, ApplicationHostSick fires for app1" in said and "drain app1 in the upstream shop" in said
    assert answering() == {"app1", "app2"} and not record.exists()

    status, said = play()
    assert status == 0 and "drain_host on app1: verified" in said, said
    assert answering() == {"app2"}
    assert [json.loads(line)["event"] for line in record.read_text().splitlines()] == ["admitted", "verified"]

    status, said = play()
    assert status == 0 and "drain_host on app1: refused, drain_host ran on app1" in said and '"changed": true' not in said
