# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate with a real Alertmanager: an alert that fires, one that is silenced, one that is gone; the record, the kill switch, and what it says of itself."""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import typing as t
import urllib.request

import pytest
from ports import free_port, wait_until_listening
from servers import SENTINEL, Runner
from waiting import until

ASKED = {
    "action": "restart_slot", "target": "app1", "alert": "ApplicationSlotDown",
    "peers": [{"name": "app1", "healthy": False}, {"name": "app2", "healthy": True}],
}


class Alertmanager:
    """A running Alertmanager on loopback."""

    def __init__(self, url: str) -> None:
        """Keep its URL."""
        self.url = url

    def ask(self, path: str, body: t.Any = None) -> t.Any:
        """Ask its API, and return what it answers."""
        request = urllib.request.Request(f"{self.url}{path}", None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def fire(self, fires: bool = True, **labels: str) -> None:
        """Let an alert fire, or end it."""
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1 if fires else -1)
        begin = end - datetime.timedelta(hours=3)
        self.ask("/api/v2/alerts", [{"labels": labels, "startsAt": begin.isoformat(), "endsAt": end.isoformat()}])
        until(lambda: bool(self.known(**labels)) == fires, f"the alert {'fires' if fires else 'is gone'}", ignoring=(OSError,))

    def known(self, **labels: str) -> list[t.Any]:
        """Its alerts with these labels."""
        return [each for each in self.ask("/api/v2/alerts") if labels.items() <= each["labels"].items()]

    def silence(self, **labels: str) -> None:
        """Silence what has these labels."""
        now = datetime.datetime.now(datetime.timezone.utc)
        matchers = [{"name": name, "value": text, "isRegex": False} for name, text in labels.items()]
        times = {"startsAt": now.isoformat(), "endsAt": (now + datetime.timedelta(hours=1)).isoformat()}
        self.ask("/api/v2/silences", {"matchers": matchers, "createdBy": "tests", "comment": "tests", **times})
        until(lambda: all(each["status"]["state"] == "suppressed" for each in self.known(**labels)), "the alert is silenced")


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Alertmanager]:
    """One that tells nobody."""
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    argv = ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data", "--cluster.listen-address="]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        wait_until_listening(port, process, (folder / "log").read_text)
        yield Alertmanager(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def asked(alertmanager: Alertmanager, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """What asks for a restart of app1, with a record of its own."""
    return {**ASKED, "alerts_url": alertmanager.url, "record_dir": str(tmp_path / "record"), "kill_switch": str(tmp_path / "off")}


def lines(asked: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """The record."""
    path = pathlib.Path(asked["record_dir"]) / "record.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_from_admission_to_its_end(run_module: Runner, alertmanager: Alertmanager, asked: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    """Check mode decides the same and writes nothing; the end waits for the alert; a second run is refused, and is no change."""
    alertmanager.fire(alertname="ApplicationSlotDown", instance="app1:8000")
    asked["metrics_file"] = str(tmp_path / "remediation.prom")
    planned = run_module("remediation", asked, check=True)
    assert planned["changed"] and planned["outcome"] == "run" and planned["id"] == "" and not lines(asked)
    admitted = run_module("remediation", asked)
    for key in ("changed", "outcome", "reason", "checks", "actions"):
        assert admitted[key] == planned[key], key
    assert admitted["actions"] == ["record that restart_slot on app1 is admitted: ApplicationSlotDown fires for app1"]
    assert {check["name"] for check in admitted["checks"]} >= {"switch", "allowed", "firing", "lock", "peers", "cooldown", "budget"}
    assert admitted["diff"]["before"] == "" and json.loads(admitted["diff"]["after"])["event"] == "admitted"

    again = run_module("remediation", asked)
    assert (again["changed"], again["outcome"]) == (False, "refused") and "is under way" in again["reason"]

    end = {**asked, "state": "finished", "id": admitted["id"], "wait": 60}
    process = run_module.start("remediation", end)
    alertmanager.fire(False, alertname="ApplicationSlotDown", instance="app1:8000")
    finished = run_module.finish(process)
    assert (finished["changed"], finished["outcome"]) == (True, "verified") and 0 < finished["seconds"] < 120
    assert [line["event"] for line in lines(asked)] == ["admitted", "refused", "verified"]
    figures = (tmp_path / "remediation.prom").read_text()
    assert 'mainstay_remediation_events{action="restart_slot",event="verified"} 1' in figures and "mainstay_remediation_off 0" in figures
    assert subprocess.run(["promtool", "check", "metrics"], input=figures, text=True, capture_output=True, check=False).returncode == 0

    alertmanager.fire(alertname="ApplicationSlotDown", instance="app1:8000")
    flapping = run_module("remediation", asked)
    assert flapping["outcome"] == "refused" and "have to pass" in flapping["reason"]


def test_what_does_not_fire_is_not_remedied(run_module: Runner, alertmanager: Alertmanager, asked: dict[str, t.Any]) -> None:
    """Not there, for another host, silenced, or not to be seen."""
    asked["target"], asked["peers"] = "app7", [{"name": "app2", "healthy": True}]
    labels = {"alertname": "ApplicationSlotDown", "instance": "192.0.2.77:8000"}
    assert "does not fire" in run_module("remediation", asked)["reason"]
    alertmanager.fire(**labels)
    assert "does not fire" in run_module("remediation", asked)["reason"]
    assert run_module("remediation", {**asked, "aliases": ["192.0.2.77"]}, check=True)["outcome"] == "run"
    alertmanager.silence(**labels)
    assert run_module("remediation", {**asked, "aliases": ["192.0.2.77"]})["reason"] == "ApplicationSlotDown is silenced"
    assert "nobody was named" in run_module("remediation", {**asked, "alerts_url": None})["reason"]


def test_a_server_that_does_not_answer_is_a_reason_to_refuse(run_module: Runner, asked: dict[str, t.Any], closed_port: int) -> None:
    """The record says so, and no token is in it."""
    refused = run_module("remediation", {**asked, "alerts_url": f"http://127.0.0.1:{closed_port}", "bearer_token": SENTINEL})
    assert refused["outcome"] == "refused" and "see at http://127.0.0.1" in refused["reason"] and not refused["changed"]
    assert SENTINEL not in json.dumps(refused["reason"]) + json.dumps(lines(asked))
    assert [line["event"] for line in lines(asked)] == ["refused"]


def test_the_kill_switch(run_module: Runner, alertmanager: Alertmanager, asked: dict[str, t.Any]) -> None:
    """One file, or one variable, whatever fires."""
    alertmanager.fire(alertname="ApplicationSlotDown", instance="app1:8000")
    pathlib.Path(asked["kill_switch"]).touch()
    assert run_module("remediation", asked)["reason"].endswith(f"by the file {asked['kill_switch']}")
    pathlib.Path(asked["kill_switch"]).unlink()
    assert "enabled is false" in run_module("remediation", {**asked, "enabled": False})["reason"]
    assert run_module("remediation", asked)["outcome"] == "run"


def test_a_failed_run_waits_for_a_person(run_module: Runner, alertmanager: Alertmanager, asked: dict[str, t.Any]) -> None:
    """Even when all limits are off; clearing is a change once."""
    alertmanager.fire(alertname="ApplicationSlotDown", instance="app1:8000")
    asked["limits"] = [{"action": "restart_slot", "cooldown": 0, "spread": 0, "daily": 9}]
    admitted = run_module("remediation", asked)
    failed = run_module("remediation", {**asked, "state": "finished", "id": admitted["id"], "success": False, "reason": "the slot did not start"})
    assert (failed["outcome"], failed["reason"]) == ("failed", "the slot did not start")
    assert "did not start" in run_module("remediation", asked)["reason"]
    clear = {**asked, "state": "cleared", "reason": "a disk was replaced"}
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        cleared = run_module("remediation", clear, check=check)
        assert (cleared["changed"], cleared["outcome"]) == (changed, "cleared")
    assert run_module("remediation", asked)["outcome"] == "run"


@pytest.mark.parametrize(("options", "words"), [
    ({"action": "promote"}, "value of action must be one of"),
    ({"alert": ""}, "alert is empty"),
    ({"target": None}, "target is empty"),
    ({"limits": [{"action": "restart_slot", "daily": -1}]}, "give 0 or more"),
    ({"alerts_url": "http://localhost/?a=b"}, "query string"),
    ({"state": "finished", "id": "nope"}, "was never admitted"),
])
def test_bad_input(run_module: Runner, asked: dict[str, t.Any], options: dict[str, t.Any], words: str) -> None:
    """One error that names it, and nothing in the record."""
    refused = run_module("remediation", {**asked, **options})
    assert refused["failed"] and words in refused["msg"]
    assert not lines(asked)
