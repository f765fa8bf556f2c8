# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a figure of an exporter to a message: Prometheus and two Alertmanagers with the role's configuration, over TLS and with a login."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import ssl
import typing as t

import pytest
import requests
from monitoring import Receiver, arguments, daemon, receiving, relocate
from prometheus_tree import write_tree
from servers import free_port
from test_health_probe import PASSWORD, Authority, authority
from test_health_probe_prometheus import HASHED
from waiting import until

__all__ = ["authority"]

TOKEN = "t0ken-Of-The-Pager"
KEY = "routing-key-Of-The-Pager"
RUNBOOK = "https://runbooks.example/shop#fault"
RULES = [
    {"alert": "HostDown", "expr": 'up{job="node"} == 0', "labels": {"severity": "critical"}, "annotations": {"summary": "gone", "description": "gone"}},
    {
        "alert": "ShopFault",
        "expr": "shop_fault > 0",
        "labels": {"severity": "warning"},
        "annotations": {"summary": "a fault", "description": "It is at fault.", "runbook_url": RUNBOOK},
    },
    {"alert": "ShopNoise", "expr": "vector(1)", "labels": {"severity": "critical"}, "annotations": {"summary": "noise", "description": "noise"}},
]


@dataclasses.dataclass
class Node:
    """A node exporter with a folder of figures."""

    folder: pathlib.Path
    port: int

    @property
    def argv(self) -> list[str]:
        """How it is run; without the collectors of the real host, which cost time."""
        return [
            "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.port}", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={self.folder}/figures",
        ]

    def say(self, *parts: str) -> None:
        """Tell of a fault of each of these parts, and of no other."""
        path = self.folder / "figures/shop.prom"
        path.with_suffix(".new").write_text("".join(f'shop_fault{{part="{part}"}} 1\n' for part in parts), encoding="utf-8")
        path.with_suffix(".new").rename(path)


@dataclasses.dataclass
class Stack:
    """What runs."""

    prometheus: int
    managers: list[int]
    far: int
    ca: str
    messages: Receiver
    pager: Receiver
    """By TLS, with a certificate of ``ca``."""
    node: Node
    other: Node
    running: contextlib.ExitStack
    """Of the first node exporter, so that a test can end it."""

    def get(self, port: int, path: str, **more: t.Any) -> t.Any:
        """What a server answers to somebody who is logged in."""
        answer = requests.get(f"https://127.0.0.1:{port}{path}", auth=("jo", PASSWORD), verify=self.ca, timeout=20, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def query(self, port: int, query: str) -> list[t.Any]:
        """The series of a query."""
        return self.get(port, "/api/v1/query", params={"query": query})["data"]["result"]

    def alert(self, manager: int, **labels: str) -> list[dict[str, t.Any]]:
        """What an Alertmanager knows of alerts with these labels."""
        return [alert for alert in self.get(manager, "/api/v2/alerts") if labels.items() <= alert["labels"].items()]

    def suppressed(self, by: str, **labels: str) -> int:
        """How many Alertmanagers keep an alert back, for a reason that ``by`` names."""
        alerts = [alert["status"] for port in self.managers for alert in self.alert(port, **labels)]
        return sum(status["state"] == "suppressed" and bool(status[by]) for status in alerts)

    def wait_a_group(self) -> None:
        """Wait for longer than a group of alerts waits for its message, which the calls of the dead-man's switch count."""
        begun = len(self.messages.received("heartbeat"))
        until(lambda: len(self.messages.received("heartbeat")) >= begun + 5, "five more calls")


def variables(stack: Stack, peer: int, own: int, certificates: Authority) -> dict[str, t.Any]:
    """The role's variables, for the Alertmanager ``own`` of which the other one is ``peer``."""
    issued = certificates.issue("monitoring.example")
    ca = pathlib.Path(stack.ca).read_text(encoding="utf-8")
    return {
        "prometheus_listen_address": f"127.0.0.1:{stack.prometheus}",
        "prometheus_scrape_interval": "1s",
        "prometheus_evaluation_interval": "1s",
        "prometheus_external_labels": {"site": "a"},
        "prometheus_tls_ca": ca,
        "prometheus_web_tls_certificate": pathlib.Path(issued.cert).read_text(encoding="utf-8"),
        "prometheus_web_tls_key": pathlib.Path(issued.key).read_text(encoding="utf-8"),
        "prometheus_web_users": {"jo": HASHED},
        "prometheus_web_login": {"username": "jo", "password": PASSWORD},
        "prometheus_scrape_jobs": [
            {"name": "node", "targets": [f"127.0.0.1:{stack.node.port}"]},
            {"name": "other", "targets": [f"127.0.0.1:{stack.other.port}"]},
            {"name": "alertmanager", "scheme": "https", "targets": [f"127.0.0.1:{port}" for port in stack.managers], "username": "jo", "password": PASSWORD},
        ],
        "prometheus_rules": ["prometheus", "application", "slo", "postgres", "redis", "nginx", "endpoints", "backup"],
        "prometheus_own_rules": [{"name": "shop", "groups": [{"name": "shop", "rules": RULES}]}],
        "prometheus_alertmanagers": [f"127.0.0.1:{port}" for port in stack.managers],
        "prometheus_teams": [{"name": "everybody", "alerts": ".*"}, {"name": "shop", "alerts": "Shop.*"}],
        "prometheus_alerts_off": ["ShopNoise"],
        "prometheus_remote_write": [{"name": "far", "url": f"https://127.0.0.1:{stack.far}/api/v1/write", "username": "jo", "password": PASSWORD, "ca": True}],
        "prometheus_alertmanager_listen_address": f"127.0.0.1:{own}",
        "prometheus_alertmanager_cluster_address": f"127.0.0.1:{own + 1}",
        "prometheus_alertmanager_peers": [f"127.0.0.1:{peer + 1}"],
        "prometheus_alertmanager_receivers": [
            {"name": "tickets", "webhook": [{"url": stack.messages.url("tickets")}]},
            {"name": "pager", "webhook": [{"url": stack.pager.url("pager"), "token": TOKEN, "tls_ca": ca}]},
            {
                "name": "chat",
                "slack": [{"url": stack.messages.url("slack"), "channel": "#alerts"}],
                "pagerduty": [{"url": stack.messages.url("pagerduty"), "routing_key": KEY}],
            },
        ],
        "prometheus_alertmanager_routes": [
            {"receiver": "pager", "severities": ["critical"]},
            {"receiver": "chat", "teams": ["shop"], "continue": True},
            {"receiver": "tickets", "severities": ["warning"], "teams": ["shop"]},
            {"receiver": "nobody"},
        ],
        "prometheus_alertmanager_group_wait": "2s",
        "prometheus_alertmanager_group_interval": "2s",
        "prometheus_alertmanager_heartbeat": {"url": stack.messages.url("heartbeat"), "interval": "1s"},
    }


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Stack]:
    """Everything, running."""
    folder = tmp_path_factory.mktemp("monitoring")
    nodes = [Node(folder / name, free_port()) for name in ("node", "other")]
    for node in nodes:
        (node.folder / "figures").mkdir(parents=True)
    first = free_port()
    with contextlib.ExitStack() as running, contextlib.ExitStack() as node_running:
        messages = running.enter_context(receiving())
        issued = authority.issue("pager.example")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(issued.cert, issued.key)
        pager = running.enter_context(receiving(tls))
        found = Stack(free_port(), [first, first + 2], free_port(), authority.cert, messages, pager, nodes[0], nodes[1], node_running)
        running.enter_context(daemon(folder, nodes[1].port, nodes[1].argv))
        node_running.enter_context(daemon(folder, nodes[0].port, nodes[0].argv))
        start_managers(found, authority, folder, running)
        start_prometheus(found, folder, running)
        yield found


def start_managers(stack: Stack, authority: Authority, folder: pathlib.Path, running: contextlib.ExitStack) -> None:
    """Start both Alertmanagers, and lay out the files of Prometheus, which needs them."""
    for own, peer in (stack.managers, stack.managers[::-1]):
        given = variables(stack, peer, own, authority)
        home = folder / f"manager-{own}"
        write_tree(home, "alertmanager_tree.yml.j2", **given)
        if own == stack.managers[0]:
            write_tree(folder / "prometheus", **given)
        relocate(home)
        argv = ["prometheus-alertmanager", *arguments(home, "prometheus-alertmanager"), f"--config.file={home}/etc/prometheus/alertmanager.yml"]
        # How long the second one waits to see whether the first one has sent the message.
        running.enter_context(daemon(home, own, [*argv, f"--storage.path={home}/data", "--cluster.peer-timeout=3s", "--cluster.settle-timeout=1s"]))


def start_prometheus(stack: Stack, folder: pathlib.Path, running: contextlib.ExitStack) -> None:
    """Start the Prometheus of the role, and one far away that it writes to."""
    home = folder / "prometheus"
    relocate(home)
    web = f"--web.config.file={home}/etc/prometheus/web.yml"
    (folder / "far.yml").write_text("{}\n", encoding="utf-8")
    far = ["prometheus", f"--config.file={folder}/far.yml", web, f"--web.listen-address=127.0.0.1:{stack.far}", "--web.enable-remote-write-receiver"]
    running.enter_context(daemon(folder, stack.far, [*far, f"--storage.tsdb.path={folder}/far"]))
    argv = ["prometheus", *arguments(home, "prometheus"), f"--config.file={home}/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    # What it sends before it knows of the Alertmanagers is lost, and would come again after a minute.
    running.enter_context(daemon(home, stack.prometheus, [*argv, "--rules.alert.resend-delay=2s"]))


def test_nobody_gets_in_without_the_password(stack: Stack) -> None:
    for port in (stack.prometheus, *stack.managers):
        assert requests.get(f"https://127.0.0.1:{port}/", verify=stack.ca, timeout=20).status_code == 401
        assert requests.get(f"https://127.0.0.1:{port}/", auth=("jo", "wrong"), verify=stack.ca, timeout=20).status_code == 401
        assert requests.get(f"http://127.0.0.1:{port}/", auth=("jo", PASSWORD), timeout=20).status_code == 400


def test_prometheus_reads_all_and_every_rule_works(stack: Stack) -> None:
    until(lambda: len(stack.query(stack.prometheus, "up == 1")) == 5, "every target answers")
    groups = until(
        lambda: [group for group in stack.get(stack.prometheus, "/api/v1/rules")["data"]["groups"] if group["name"] != "slo"], "there are rules",
    )
    until(lambda: all(rule["health"] == "ok" for rule in rules_of(stack)), "every rule is evaluated", 120)
    assert {rule["name"] for group in groups for rule in group["rules"]} >= {"Watchdog", "ShopFault", "BackupLate", "RedisDown"}


def rules_of(stack: Stack) -> list[dict[str, t.Any]]:
    """All rules but those that are evaluated once in a minute."""
    groups = stack.get(stack.prometheus, "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups if group["name"] != "slo" for rule in group["rules"]]
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    return rules


def test_samples_are_written_far_away(stack: Stack) -> None:
    sample = until(lambda: stack.query(stack.far, 'up{job="node"}'), "a sample arrives there")
    assert sample[0]["metric"]["site"] == "a"


def test_the_dead_mans_switch_is_held_down(stack: Stack) -> None:
    until(lambda: len(stack.messages.received("heartbeat", alertname="Watchdog")) >= 3, "it is called again and again")
    assert stack.pager.received("pager", alertname="Watchdog") == stack.messages.received("tickets", alertname="Watchdog") == []
    assert all(alert["labels"]["alertname"] == "Watchdog" for body in stack.messages.received("heartbeat") for alert in body["alerts"])


def test_alerts_of_a_group_come_in_one_message_once_and_so_does_their_end(stack: Stack) -> None:
    until(lambda: all(stack.get(port, "/api/v2/status")["cluster"]["status"] == "ready" for port in stack.managers), "the cluster is ready")
    assert [len(stack.get(port, "/api/v2/status")["cluster"]["peers"]) for port in stack.managers] == [2, 2]
    stack.node.say("mail", "orders")
    first = until(lambda: stack.messages.received("tickets", alertname="ShopFault"), "the message arrives")[0]
    assert first["status"] == "firing"
    assert sorted(alert["labels"]["part"] for alert in first["alerts"]) == ["mail", "orders"]
    expected = {"alertname": "ShopFault", "severity": "warning", "site": "a", "team": "shop", "host": "127.0.0.1", "job": "node"}
    assert expected.items() <= first["commonLabels"].items()
    until(lambda: all(len(stack.alert(port, alertname="ShopFault")) == 2 for port in stack.managers), "both Alertmanagers know")
    stack.node.say()
    until(lambda: [body for body in stack.messages.received("tickets", alertname="ShopFault") if body["status"] == "resolved"], "the end is told")
    until(lambda: not any(stack.alert(port, alertname="ShopFault") for port in stack.managers), "both forget it")
    assert [body["status"] for body in stack.messages.received("tickets", alertname="ShopFault")] == ["firing", "resolved"]


def test_slack_and_pagerduty_get_what_somebody_needs(stack: Stack) -> None:
    """After the test before, in which an alert came and went."""
    slack = until(lambda: len(stack.messages.posted("slack")) == 2 and stack.messages.posted("slack"), "Slack gets both messages")
    assert [message["attachments"][0]["title"] for message in slack] == ["FIRING: ShopFault (2)", "RESOLVED: ShopFault (2)"]
    assert slack[0]["channel"] == "#alerts"
    assert f"a fault It is at fault. {RUNBOOK}" in slack[0]["attachments"][0]["text"]
    events = until(lambda: len(stack.messages.posted("pagerduty")) == 2 and stack.messages.posted("pagerduty"), "PagerDuty gets both events")
    assert [(event["event_action"], event["routing_key"]) for event in events] == [("trigger", KEY), ("resolve", KEY)]
    assert events[0]["payload"]["custom_details"]["runbook"] == RUNBOOK


def test_what_is_switched_off_is_told_to_nobody(stack: Stack) -> None:
    until(lambda: stack.query(stack.prometheus, 'ALERTS{alertname="ShopNoise", alertstate="firing"}'), "it fires")
    assert stack.alert(stack.managers[0], alertname="Watchdog")
    assert stack.alert(stack.managers[0], alertname="ShopNoise") == []


def test_what_follows_from_a_host_that_is_down_is_not_told(stack: Stack) -> None:
    """Both exporters are of one host. When the first one is back, the alert of the second one is told of."""
    stack.running.close()
    page = until(lambda: stack.pager.received("pager", alertname="HostDown"), "the pager rings")[0]
    assert page["status"] == "firing"
    assert {token for _path, token, _body in stack.pager.messages} == {f"Bearer {TOKEN}"}
    stack.other.say("disk")
    until(lambda: stack.suppressed("inhibitedBy", part="disk") == len(stack.managers), "both Alertmanagers keep the fault back")
    stack.wait_a_group()
    assert stack.messages.received("tickets", part="disk") == []
    with daemon(stack.node.folder, stack.node.port, stack.node.argv):
        until(lambda: stack.pager.received("pager", alertname="HostDown")[-1]["status"] == "resolved", "the end is told")
        assert [body["status"] for body in stack.pager.received("pager", alertname="HostDown")] == ["firing", "resolved"]
        until(lambda: stack.messages.received("tickets", part="disk"), "now the fault is told")
    stack.other.say()


def test_a_silence_of_one_holds_at_the_other_too(stack: Stack) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    silence = {
        "matchers": [{"name": "part", "value": "queue", "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + datetime.timedelta(hours=1)).isoformat(),
        "createdBy": "jo",
        "comment": "known",
    }
    answer = requests.post(
        f"https://127.0.0.1:{stack.managers[0]}/api/v2/silences", json=silence, auth=("jo", PASSWORD), verify=stack.ca, timeout=20,
    )
    assert answer.status_code == 200, answer.text
    until(lambda: stack.get(stack.managers[1], "/api/v2/silences"), "the other one knows of the silence")
    stack.other.say("queue")
    until(lambda: stack.suppressed("silencedBy", part="queue") == len(stack.managers), "both Alertmanagers keep the fault back")
    stack.wait_a_group()
    assert stack.messages.received("tickets", part="queue") == []


def test_no_secret_is_in_what_is_shown(stack: Stack) -> None:
    for port, path in ((stack.prometheus, "/api/v1/status/config"), (stack.managers[0], "/api/v2/status")):
        text = str(stack.get(port, path))
        assert "secrets" in text
        assert PASSWORD not in text
        assert TOKEN not in text
        assert KEY not in text
