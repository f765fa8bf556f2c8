# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site without a standby takes over: what the lost one had comes from its backups. Here that is files that a web server serves."""

from __future__ import annotations

import functools
import http.server
import json
import pathlib
import sys
import threading
import time
import typing as t

import playbooks
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
GROUPS = ("postgres", "redis", "app", "lb", "dcs", "monitoring", "aws", "ecs")
OLD_SECONDS = 3


class Sites:
    """Two sites on this machine: what one had, and where the other one is to have it."""

    def __init__(self, folder: pathlib.Path, url: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        common = {
            **LOCAL,
            **{"backup_name": "shop", "backup_store": {"type": "local", "path": str(folder / "store")}, "backup_encryption": {"type": "none"}},
            **{"backup_parts": ["files"], "backup_schedules": [], "backup_files_work_dir": str(folder), "backup_files_paths": [str(self.data)]},
            # A host of site b restores what one of site a had.
            "backup_files_name": "shop-a1",
            "site_failover_restore": {"inventories": [str(folder / "b.json")]},
            "site_failover_backup": {"name": "shop", "store": {"type": "local", "path": str(folder / "store")}},
            "site_failover_forced_reason": "nobody has verified the backups of this test",
            "site_failover_checks": [{"name": "the ledger", "type": "http", "url": url}],
            "site_failover_verify_checks": [{"name": "the ledger as a client sees it", "type": "http", "url": url}],
            "site_failover_record_dir": str(folder / "record"),
            "site_failover_report_dir": str(folder / "report"),
            "site_failover_rpo_target": 600,
        }
        for name, hosts in (("a", ("a1",)), ("b", ("b1",)), ("both", ("a1", "b1"))):
            described = {host: {"backup_files_state_dir": str(folder / f"state-{host}")} for host in hosts}
            children: dict[str, t.Any] = {group: {"hosts": {}} for group in GROUPS}
            children.update({f"site_{host[0]}": {"hosts": {host: {}}} for host in hosts})
            content = {"all": {"hosts": described, "vars": common, "children": children}}
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def __call__(self, inventory: str, playbook: str, *arguments: str) -> tuple[int, str]:
        """Run a playbook; return its status and what it said, without line breaks."""
        environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PWD": str(self.folder)}
        done = playbooks.run(playbook, *arguments, inventory=self.folder / f"{inventory}.json", cwd=self.folder, **environment)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def fail_over(self, *arguments: str) -> tuple[int, str]:
        """Let site b take over."""
        return self("both", "dr_failover", "-e", "site_failover_from=site_a", "-e", "site_failover_to=site_b", *arguments)


@pytest.fixture
def sites(tmp_path: pathlib.Path) -> t.Iterator[Sites]:
    """Site a had a file, which was backed up and lost; the server of site b serves it when it is there."""
    (tmp_path / "data").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "data"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Sites(tmp_path, f"http://127.0.0.1:{server.server_address[1]}/ledger.txt")
    finally:
        server.shutdown()
        server.server_close()


def test_a_site_without_a_standby_is_restored_and_takes_over(sites: Sites) -> None:
    """The plan changes nothing; the run restores, serves, and measures what is lost by the age of the backup."""
    ledger = sites.data / "ledger.txt"
    ledger.write_text("one row", encoding="utf-8")
    status, output = sites("a", "backup")
    assert status == 0, output
    backed_up = time.time()
    time.sleep(OLD_SECONDS)
    ledger.unlink()
    lost_at = time.time()
    known = ("-e", f"site_failover_outage_since={lost_at}")
    status, output = sites.fail_over("--check", *known)
    assert status == 0 and "Plans the restore" in output, output[-3000:]
    assert not ledger.exists() and not (sites.folder / "record").exists()
    assert "RECORD: leave a record of the run" in (sites.folder / "report/restore.log").read_text(encoding="utf-8")
    status, output = sites.fail_over("-e", "site_failover_confirm=site_b", *known)
    assert status == 0, output
    assert ledger.read_text(encoding="utf-8") == "one row"
    report = json.loads((sites.folder / "report/report.json").read_text(encoding="utf-8"))
    assert report["success"] and "restored from the backups of site_a" in [check["name"] for check in report["checks"]]
    assert OLD_SECONDS <= report["rpo_seconds"] <= lost_at - backed_up + 60 and report["rto_seconds"] > 0
    [line] = (sites.folder / "store/drills/shop").glob("*.json")
    kept = json.loads(line.read_text(encoding="utf-8"))
    assert (kept["operation"], kept["level"], kept["measured"]["rpo_seconds"]) == ("failover", "site", report["rpo_seconds"])


def test_a_restore_that_fails_ends_the_phase_and_is_tried_again(sites: Sites) -> None:
    """Without a backup nothing is called done; with one the same command goes on."""
    ledger = sites.data / "ledger.txt"
    status, output = sites.fail_over("-e", "site_failover_confirm=site_b")
    assert status != 0 and "The restore failed: " in output and "The phase promote failed" in output, output[-3000:]
    assert "none of the 0 backups there is good" in output
    record = json.loads((sites.folder / "record/record.json").read_text(encoding="utf-8"))
    assert {phase["name"]: phase["outcome"] for phase in record["phases"]} == {"look": "done", "fence": "done", "promote": "failed"}
    ledger.write_text("one row", encoding="utf-8")
    status, output = sites("a", "backup")
    assert status == 0, output
    ledger.unlink()
    status, output = sites.fail_over("-e", "site_failover_confirm=site_b")
    assert status == 0 and "Done already: look, fence" in output and ledger.exists(), output


def test_a_restore_is_not_for_a_planned_change(sites: Sites) -> None:
    """The old site has what there is."""
    status, output = sites.fail_over("-e", "site_failover_planned=true", "-e", "site_failover_confirm=site_b")
    assert status != 0 and "both are for a site that is lost, not for a planned change" in output and not (sites.folder / "record").exists(), output
