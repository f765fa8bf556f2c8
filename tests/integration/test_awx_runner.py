# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every job template as AWX runs it: by ansible-runner, from a private data folder, with the answers of its survey as extra variables."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import typing as t

import ansible_runner
import awx_data
import playbooks
import pytest
from ansible_collections.mainstay.ops.plugins.filter.awx_survey import awx_survey

ROOT = playbooks.ROOT
GROUPS = ("lb", "app", "postgres", "dcs", "redis", "monitoring", "aws", "ecs")
# What somebody answers where a survey insists and has no default; and what he adds where an argument is no question.
ANSWERS = {
    "app_release_archive": "/builds/shop-2.tar.gz",
    "app_release_contract": "2",
    "component": "app",
    "confirm": "restore",
    "log_request_id": "5f0c1a7f3c8de01b2a9d4e6f7a8b9c0d",
    "maintenance": "on",
    "postgres_replication_giving_up": "main",
    "postgres_replication_leaving": "data3",
    "postgres_replication_reinit": "data2",
    "postgres_upgrade_step": "rehearse",
    "redis_sentinel_leaving": "data3",
    "remediate_action": "clean_caches",
    "remediate_alert": "DiskAlmostFull",
    "remediate_host": "app1",
    "reports_incident_around": "2026-11-28T07:30:00+00:00",
    "site_failover_from": "site_a",
    "site_failover_to": "site_b",
}
# What cannot be done without hosts, or without a server that is asked, is refused; with the words that say why.
REFUSED = {
    "capacity_report": "missing required arguments: reports_prometheus",
    "cost_report": "region",
    "dr_drill": "The inventory has no host in the group drill",
    "dr_drill_schedule": "The inventory has no host in the group drill",
    "dr_failback": "Give site_failover_from",
    "dr_failover": "Give site_failover_from",
    "dr_guard": "No host of the inventory has site_failover_guard",
}
FURTHER = {
    "features": {"features": {"new_checkout": True}},
    "postgres_upgrade": {"postgres_upgrade_source": {"login_host": "192.0.2.1"}},
}
STORE = {"backup_name": "shop", "backup_encryption": {"type": "none"}, "backup_record_file": "", "backup_parts": ["files"]}


@dataclasses.dataclass
class Job:
    """What a run has left: status and code, what it printed, its events, and what it handed over by ``set_stats``."""

    rc: int
    status: str
    stdout: str
    events: list[dict[str, t.Any]]

    @property
    def stats(self) -> dict[str, t.Any]:
        """What the playbook handed over, which AWX keeps as the job's artifacts."""
        return self.events[-1]["event_data"].get("artifact_data", {})


class Awx:
    """Makes private data folders, and runs jobs from them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.jobs = 0

    def __call__(self, playbook: str, extravars: dict[str, t.Any], *, hosts: dict[str, t.Any] | None = None, check: bool = False) -> Job:
        """Run a playbook.

        Args:
            playbook: its name.
            extravars: what AWX takes from the survey and from who starts the job.
            hosts: hosts beside the controller, with their variables; they are in no group of the stack.
            check: job type "check" instead of "run".
        """
        for name in ("env", "inventory"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not (self.folder / "project").exists():
            (self.folder / "project").symlink_to(ROOT)
        inventory = {"all": {"hosts": hosts or {}, "children": {group: {"hosts": {}} for group in GROUPS}}}
        (self.folder / "inventory/hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        (self.folder / "env/extravars").write_text(json.dumps(extravars), encoding="utf-8")
        (self.folder / "env/settings").write_text(json.dumps({"job_timeout": 300, "suppress_ansible_output": True}), encoding="utf-8")
        (self.folder / "env/cmdline").write_text("--check" if check else "", encoding="utf-8")
        self.jobs += 1
        run = ansible_runner.run(private_data_dir=str(self.folder), playbook=f"playbooks/{playbook}.yml", ident=f"job{self.jobs}", quiet=True)
        artifacts = self.folder / f"artifacts/job{self.jobs}"
        assert (artifacts / "rc").read_text(encoding="utf-8") == str(run.rc)
        assert (artifacts / "status").read_text(encoding="utf-8") == run.status
        events = [json.loads(path.read_text(encoding="utf-8")) for path in (artifacts / "job_events").glob("*.json")]
        return Job(run.rc, run.status, (artifacts / "stdout").read_text(encoding="utf-8"), sorted(events, key=lambda event: event["counter"]))


# Tests may run as root or not; what they change is theirs.
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}


@pytest.fixture
def awx(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Awx:
    """AWX, with a folder of its own."""
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    return Awx(tmp_path / "private")


def answers(template: dict[str, t.Any]) -> dict[str, t.Any]:
    """The extra variables that AWX makes of a survey that somebody sends as he finds it, with an answer to what has none."""
    if "survey" not in template:
        return FURTHER.get(template["playbook"], {})
    spec = awx_survey(playbooks.options(template["playbook"]), template["survey"], template.get("requires", []))["spec"]
    given = {}
    for question in spec:
        default = question.get("default", ANSWERS.get(question["variable"]))
        if default is not None:
            given[question["variable"]] = default.splitlines() if question["type"] == "multiselect" else default
        assert question["variable"] in given or not question["required"], f"the test has no answer for {question['variable']}"
    return given | FURTHER.get(template["playbook"], {})


@pytest.mark.parametrize("template", awx_data.of("job_templates"), ids=awx_data.names("job_templates"))
def test_every_template_runs_in_check_mode(awx: Awx, template: dict[str, t.Any]) -> None:
    """With all groups of an inventory, and no host in them yet: what AWX does is right up to the hosts."""
    extravars = answers(template)
    if template["playbook"] in ("backup", "restore", "verify_backups"):
        extravars |= STORE | {"backup_store": {"type": "local", "path": str(awx.folder)}}
    hosts = None
    if template["playbook"] in ("preflight", "postflight"):
        # They refuse an inventory without hosts, and say what is wrong with one.
        hosts, extravars = {"here": LOCAL}, extravars | {"preflight_parts": ["names"], "preflight_names": []}
    job = awx(template["playbook"], extravars, hosts=hosts, check=True)
    if words := REFUSED.get(template["playbook"]):
        assert job.rc != 0 and words in " ".join(job.stdout.split()), job.stdout
        return
    assert (job.rc, job.status) == (0, "successful"), job.stdout
    assert "PLAY" in job.stdout
    events = [event["event"] for event in job.events if event["event"] not in ("verbose", "warning")]
    assert (events[0], events[-1]) == ("playbook_on_start", "playbook_on_stats")


def test_backups_of_files_are_taken_listed_proven_and_restored(awx: Awx, tmp_path: pathlib.Path) -> None:
    """Real runs, each with the record that the next job of a workflow gets."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ledger.txt").write_text("one row", encoding="utf-8")
    variables = STORE | {"backup_store": {"type": "local", "path": str(tmp_path / "store")}, "backup_schedules": [], "backup_files_work_dir": str(tmp_path)}
    paths = {"backup_files_paths": [str(tmp_path / "data")], "backup_files_state_dir": str(tmp_path / "state")}
    hosts = {"files1": LOCAL | paths}
    planned = awx("backup", variables, hosts=hosts, check=True)
    assert planned.rc == 0, planned.stdout
    assert planned.stats["backup_record"]["check_mode"] is True and not (tmp_path / "store").exists()
    taken = awx("backup", variables, hosts=hosts)
    assert taken.rc == 0, taken.stdout
    record = taken.stats["backup_record"]
    assert (record["operation"], record["check_mode"], record["bytes_stored"] > 0, list(record["parts"])) == ("backup", False, True, ["files"])
    listed = awx("list_backups", variables, hosts=hosts)
    [manifest] = (tmp_path / "store").rglob("manifest.json")
    assert listed.rc == 0 and manifest.parent.name in listed.stdout, listed.stdout
    proven = awx("verify_backups", variables, hosts=hosts)
    assert (proven.rc, proven.stats["backup_record"]["operation"]) == (0, "verify_backups"), proven.stdout
    refused = awx("restore", variables, hosts=hosts)
    assert refused.rc != 0 and refused.status == "failed" and "confirm" in refused.stdout
    restored = awx("restore", variables | {"confirm": "restore", "backup_files_target_dir": str(tmp_path / "back")}, hosts=hosts)
    assert restored.rc == 0, restored.stdout
    assert (tmp_path / "back" / str(tmp_path / "data/ledger.txt").lstrip("/")).read_text(encoding="utf-8") == "one row"


def test_preflight_refuses_an_inventory_without_hosts(awx: Awx) -> None:
    """It would say that all is well."""
    job = awx("preflight", {})
    assert job.rc == 2 and "Nothing was looked at." in job.stdout


def test_preflight_hands_its_findings_over(awx: Awx, tmp_path: pathlib.Path) -> None:
    """What is wrong fails the job, whose artifacts say what it is; nothing of a secret is among them."""
    secret = "SecretOfTheTests"
    variables = {
        "preflight_parts": ["hosts", "secrets", "names"], "preflight_distributions": ["Debian 12", "Debian 13", "Ubuntu 22", "Ubuntu 24"],
        "preflight_min_free_mb": 1, "preflight_report_dir": str(tmp_path / "report"), "preflight_names": [], "redis_sentinel_admin_password": secret,
    }
    well = awx("preflight", variables, hosts={"here": LOCAL})
    assert (well.rc, well.stats["mainstay_preflight"]["status"]) == (0, "ok"), well.stdout
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert report["findings"] == well.stats["mainstay_preflight"]["findings"]
    assert {"login", "release", "redis_sentinel_admin_password"} <= {finding["check"] for finding in report["findings"]}
    gone = {"gone": LOCAL | {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}
    wrong = awx("preflight", variables | {"postgres_replication_superuser_password": "{{ lookup('file', '/nonexistent') }}"}, hosts={"here": LOCAL} | gone)
    assert (wrong.rc, wrong.status) == (2, "failed")
    failing = {(finding["host"], finding["check"]) for finding in wrong.stats["mainstay_preflight"]["findings"] if finding["status"] == "fail"}
    assert failing == {("gone", "login")} | {(host, "postgres_replication_superuser_password") for host in ("here", "gone")}
    assert secret not in json.dumps([well.events, wrong.events]) + well.stdout + wrong.stdout
