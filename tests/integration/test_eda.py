# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a killed process to a healthy one without a person: Prometheus, Alertmanager, nginx, ansible-rulebook and the playbook ``remediate``, all of them real.

What stands in for systemd is a script of a few lines that starts and stops the process of one unit, because there is none on loopback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import jinja2
import playbooks
import pytest
import yaml
from ports import free_port, wait_until_listening
from test_nginx_tls import make_pair
from waiting import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(sys.executable).parent
RULEBOOK = ROOT / "extensions/eda/rulebooks/remediation.yml"
TOKEN = "SentinelEda4711"

APP = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"up_since 1\\n")
    def log_message(self, *_arguments): pass
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SYSTEMCTL = """#!/bin/sh
# One unit: the process whose number is in {pid}.
running() {{ kill -0 "$(cat {pid})" 2>/dev/null; }}
case "$*" in
  show*) running && state=active || state=failed
    printf 'Id=shop@blue.service\\nLoadState=loaded\\nActiveState=%s\\nSubState=running\\nUnitFileState=enabled\\nType=exec\\n' $state ;;
  *" restart "*|*" start "*) echo "$*" >>{calls}
    running && kill -9 "$(cat {pid})"
    setsid {python} {app} {port} {pid} </dev/null >/dev/null 2>&1 & ;;
  *reset-failed*) ;;
  *) exit 1 ;;
esac
"""


@dataclasses.dataclass
class Stack:
    """Two hosts of an application on loopback, with what watches them."""

    folder: pathlib.Path
    ports: dict[str, int]
    webhook: int
    tls: int
    alertmanager: int
    prometheus: int

    def pid(self, host: str) -> int:
        """The process of a host."""
        return int((self.folder / f"{host}.pid").read_text())

    def healthy(self, host: str) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.ports[host]}/health/ready", timeout=5) as answer:
            return answer.status == 200
        return False

    def record(self) -> list[dict[str, t.Any]]:
        """What was decided and done."""
        path = self.folder / "record/record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def restarts(self) -> int:
        """How many times the unit was started."""
        path = self.folder / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def firing(self) -> bool:
        """Whether Alertmanager has the alert."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.alertmanager}/api/v2/alerts", timeout=10) as answer:
            return bool(json.loads(answer.read()))

    def post(self, labels: dict[str, str], token: str = TOKEN, path: str = "/alerts", method: str = "POST") -> int:
        """Post an alert to nginx as Alertmanager does, and return the status of the answer."""
        body = json.dumps({"alerts": [{"status": "firing", "labels": labels}]}).encode()
        request = urllib.request.Request(f"https://localhost:{self.tls}{path}", body, {"Authorization": f"Bearer {token}"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cafile=f"{self.folder}/tls.crt")) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def environment(self) -> dict[str, str]:
        """The stand-in for systemctl first."""
        return {**os.environ, "PATH": f"{self.folder}/bin:{PROGRAMS}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "EDA_CONTROLLER_URL": ""}

    def play(self, *arguments: str) -> str:
        """Run the playbook as a person does, and return what it prints."""
        done = playbooks.run("remediate", *arguments, inventory=self.folder / "inventory.yml", **self.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def write_app(stack: Stack) -> None:
    """The application with its stand-in for systemd, and the record of a release that is live."""
    folder = stack.folder
    (folder / "app.py").write_text(APP)
    (folder / "bin").mkdir()
    facts = {"pid": folder / "app1.pid", "calls": folder / "calls", "python": sys.executable, "app": folder / "app.py", "port": stack.ports["app1"]}
    (folder / "bin/systemctl").write_text(SYSTEMCTL.format(**facts))
    (folder / "bin/systemctl").chmod(0o755)
    for host in stack.ports:
        (folder / host).mkdir()
        live = {"release": "1", "slot": "blue", "previous": "", "kind": "deploy", "time": "2026-11-22T18:00:00+00:00", "by": "tests"}
        (folder / host / "history.json").write_text(json.dumps({"records": [live]}))
    hosts = {host: {"app_host_root": str(folder / host), "app_host_slots": {"blue": port, "green": 1}} for host, port in stack.ports.items()}
    variables = {
        "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable,
        "app_host_name": "shop", "app_host_command": ["true"], "app_host_ready_timeout": 60, "app_host_ready_successes": 1,
        "remediate_alerts_url": f"http://127.0.0.1:{stack.alertmanager}", "remediate_record_dir": str(folder / "record"),
        "remediate_kill_switch": str(folder / "off"), "remediate_clear_timeout": 120,
    }
    inventory = {"all": {"children": {"app": {"hosts": hosts, "vars": variables}}}}
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))


def write_watchers(stack: Stack) -> None:
    """Prometheus asks every five seconds, and Alertmanager tells the rulebook at once."""
    folder, local = stack.folder, "127.0.0.1"
    targets = [{"targets": [f"{local}:{port}"], "labels": {"instance": f"{host}:8000"}} for host, port in stack.ports.items()]
    rule = {"alert": "ApplicationSlotDown", "expr": 'up{instance="app1:8000"} == 0', "labels": {"severity": "warning"}, "annotations": {"summary": "down"}}
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "app", "rules": [rule]}]}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump({
        # A process that is gone refuses at once; a busy machine is not taken for one.
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{local}:{stack.alertmanager}"]}]}]},
        "scrape_configs": [{"job_name": "app", "static_configs": targets}],
    }))
    login = {"authorization": {"credentials": TOKEN}, "tls_config": {"ca_file": "tls.crt"}}
    hook = {"url": f"https://localhost:{stack.tls}/alerts", "http_config": login}
    route = {"receiver": "rulebook", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h", "group_by": ["instance"]}
    receivers = [{"name": "rulebook", "webhook_configs": [hook]}]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": receivers}))
    (folder / "vars.yml").touch(0o600)
    (folder / "vars.yml").write_text(yaml.safe_dump({"eda_port": stack.webhook, "eda_token": TOKEN}))


def write_nginx(stack: Stack) -> None:
    """nginx with what the role ``eda`` writes for it."""
    pair = make_pair("localhost")
    (stack.folder / "tls.crt").write_text(pair["certificate"])
    (stack.folder / "tls.key").write_text(pair["key"])
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True).from_string(
        (ROOT / "roles/eda/templates/nginx.conf.j2").read_text()
    )
    given = {"eda_listen": f"127.0.0.1:{stack.tls}", "eda_port": stack.webhook, "eda_allow": ["127.0.0.0/8"], "__eda_dir": stack.folder}
    site = template.render(ansible_managed="a test", **given)
    paths = "".join(f"{name}_temp_path {stack.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = f"daemon off; pid {stack.folder}/nginx.pid; error_log stderr; events {{}} http {{ access_log off; {paths} {site} }}"
    (stack.folder / "nginx.conf").write_text(text)
    stack.folder.chmod(0o711)


@contextlib.contextmanager
def running(stack: Stack, name: str, argv: list[str], port: int) -> t.Iterator[None]:
    """A program with a log of its own, which listens."""
    log = stack.folder / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(argv, env=stack.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=stack.folder)
    try:
        wait_until_listening(port, process, log.read_text, 180)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


@pytest.fixture
def stack(tmp_path: pathlib.Path) -> t.Iterator[Stack]:
    """Everything, running and healthy."""
    found = Stack(tmp_path, {"app1": free_port(), "app2": free_port()}, free_port(), free_port(), free_port(), free_port())
    write_app(found)
    write_watchers(found)
    write_nginx(found)
    local = "127.0.0.1"
    programs = {
        "alertmanager": (["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address=",
                          f"--web.listen-address={local}:{found.alertmanager}"], found.alertmanager),
        "prometheus": (["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series", f"--web.listen-address={local}:{found.prometheus}"],
                       found.prometheus),
        "nginx": (["nginx", "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"], found.tls),
        "rulebook": ([f"{PROGRAMS}/ansible-rulebook", "--rulebook", str(RULEBOOK), "--inventory", "inventory.yml", "--vars", "vars.yml",
                      "--print-events"], found.webhook),
    }
    with contextlib.ExitStack() as everything:
        for host, port in found.ports.items():
            everything.enter_context(running(found, host, [sys.executable, "app.py", str(port), f"{host}.pid"], port))
        for name, (argv, port) in programs.items():
            everything.enter_context(running(found, name, argv, port))
        until(lambda: found.healthy("app1") and found.healthy("app2"), "the application is healthy")
        try:
            yield found
        finally:
            # What the stand-in has started is nobody's child.
            with contextlib.suppress(OSError):
                os.kill(found.pid("app1"), signal.SIGKILL)


@pytest.mark.long
def test_a_killed_slot_is_healthy_again_and_a_flapping_one_does_not_loop(stack: Stack) -> None:
    """The second fault comes within the cooldown: it is refused, with the reason, and stays for a person."""
    labels = {"alertname": "ApplicationSlotDown", "instance": "app1:8000"}
    assert stack.post(labels, token="wrong") == 401 and stack.post(labels, path="/else") == 404 and stack.post(labels, method="PUT") == 403
    # A label that would be run as a template, or that is no name of a host, leads to nothing.
    for instance in ("{{ lookup('pipe', 'touch " + str(stack.folder / "owned") + "') }}", "app1,app2", "all", ""):
        assert stack.post({"alertname": "ApplicationSlotDown", "instance": instance}) == 200

    killed = time.monotonic()
    os.kill(stack.pid("app1"), signal.SIGKILL)
    until(lambda: stack.restarts() == 1 and stack.healthy("app1"), "the slot is healthy again", 300)
    healthy = time.monotonic() - killed
    until(lambda: [line["event"] for line in stack.record() if line["target"] == "app1"] == ["admitted", "verified"], "the run is verified", 300)
    verified = stack.record()[-1]
    assert verified["seconds"] > 0 and verified["alert"] == "ApplicationSlotDown" and not stack.firing()
    print(f"killed to healthy: {healthy:.1f} s; admitted to verified: {verified['seconds']:.1f} s")
    assert not (stack.folder / "owned").exists() and TOKEN not in (stack.folder / "rulebook.log").read_text()

    os.kill(stack.pid("app1"), signal.SIGKILL)
    until(stack.firing, "the alert fires again", 120)
    said = stack.play("-e", "remediate_action=restart_slot", "-e", "remediate_host=app1", "-e", "remediate_alert=ApplicationSlotDown")
    assert "refused, restart_slot ran on app1" in said and "have to pass" in said and "changed=0" in said
    assert stack.record()[-1]["event"] == "refused" and stack.restarts() == 1 and not stack.healthy("app1")
