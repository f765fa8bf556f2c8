# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: bring up the stack on lab hosts, deploy under load, lose the database, recover it, and report what was measured.

Run by ``make demo``. Every figure is measured in this run: by the clock of the controller, by the load client, or by what the modules return.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.mainstay.ops.plugins.module_utils._report import render_html

ROOT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab"
CLIENT = ROOT / "tests/fixtures/client/load.py"
BUILD = ROOT / "tests/fixtures/app/build.py"
SERVICE = "ledger.lab.test"

STATS = re.compile(r"^\tRUN: +(\{.*\})$", re.MULTILINE)
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)

# What the figures must not exceed.
TARGETS = {"requests_failed": 0, "rows_lost": 0, "requests_failed_after_restore": 0, "noop_changed": 0, "ssh_executions_per_host": 20}

WRITE_SECONDS = 15
WRITE_RATE = 40
DEPLOY_RATE = 60
AFTER_SECONDS = 5


class DemoFailed(Exception):
    """A step of the demo that did not end well."""


@dataclass
class Phase:
    """A step of the demo with its time: ``start`` in seconds after the demo began."""

    name: str
    start: float
    seconds: float = 0.0
    status: str = "running"


@dataclass(frozen=True)
class Run:
    """What a playbook reported: changes on each host, and its ``set_stats``."""

    changed: dict[str, int]
    stats: dict[str, t.Any]


@dataclass
class Demo:
    """One run of the demo.

    Attributes:
        artifacts: where logs and the report go.
        lab: name of the lab whose hosts are used.
    """

    artifacts: pathlib.Path
    lab: str
    began: float = field(default_factory=time.monotonic)
    started: str = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
    phases: list[Phase] = field(default_factory=list)
    figures: dict[str, t.Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> t.Iterator[Phase]:
        """Time one step and say what it is."""
        phase = Phase(name, time.monotonic() - self.began)
        self.phases.append(phase)
        print(f"\n[{phase.start:6.1f} s] {len(self.phases)}. {name}", flush=True)
        started = time.monotonic()
        try:
            yield phase
        except BaseException:
            phase.status = "failed"
            raise
        else:
            phase.status = "ok"
        finally:
            phase.seconds = round(time.monotonic() - started, 2)
            print(f"[{time.monotonic() - self.began:6.1f} s]    {phase.status} after {phase.seconds} s", flush=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Ansible's commands."""
        return {
            **os.environ,
            "MAINSTAY_LAB": self.lab,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            # The output is read by this program; Molecule forces colours.
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
            # The playbooks leave their records below the folder that they are run in.
            "PWD": str(ROOT),
        }

    def playbook(self, path: str, *args: str, count_ssh: pathlib.Path | None = None) -> Run:
        """Run a playbook, show its plays while they run, and keep its whole output in a log."""
        environment = self.environment
        if count_ssh is not None:
            environment.update(ANSIBLE_SSH_EXECUTABLE=str(ROOT / "tests/demo/count-ssh"), SSH_COUNT_FILE=str(count_ssh))
        name = f"{len(self.phases):02d}-{pathlib.Path(path).stem}"
        log = self.artifacts / "logs" / f"{name}.log"
        argv = ["ansible-playbook", "-i", str(INVENTORY), str(ROOT / path), *args]
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
            for line in process.stdout:
                stream.write(line)
                if line.startswith("PLAY [("):
                    print(f"           {line.removeprefix('PLAY [').split(']')[0]}", flush=True)
        output = log.read_text(encoding="utf-8")
        if process.wait() != 0:
            print(output[-6000:], flush=True)
            raise DemoFailed(f"{path} ended with status {process.returncode}; its output is {log}")
        changed = {match[1]: int(match[3]) for match in RECAP.finditer(output)}
        if not changed:
            raise DemoFailed(f"{path} ended without a recap; its output is {log}")
        stats = STATS.search(output)
        return Run(changed, json.loads(stats[1]) if stats else {})

    def variables(self, host: str, *names: str) -> list[str]:
        """Values of inventory variables of a host."""
        message = "|".join(f"{{{{ {name} }}}}" for name in names)
        argv = ["ansible", "-i", str(INVENTORY), host, "-o", "-m", "ansible.builtin.debug", "-a", f"msg='{message}'"]
        output = subprocess.run(argv, capture_output=True, text=True, check=True, env=self.environment, cwd=ROOT).stdout
        return json.loads(output[output.index("{") :])["msg"].split("|")

    def deploy(self, number: int) -> None:
        """Build a release of the sample application and deploy it."""
        folder = self.artifacts / "releases"
        built = subprocess.run(
            [sys.executable, str(BUILD), "--release", str(number), "--output", str(folder)], check=True, capture_output=True, text=True
        ).stdout
        self.playbook("playbooks/deploy.yml", "-e", f"app_release_archive={json.loads(built)['path']}")

    def client(self, command: str, name: str, *args: str) -> list[str]:
        """The argv of the load client."""
        balancer, state = self.variables("lb1", "lab_address", "lab_state_dir")
        where = ["--url", f"https://{SERVICE}", "--connect", balancer, "--ca-file", f"{state}/pki/ca.crt"]
        # The name is of this run alone: rows of an earlier one prove nothing.
        client = f"{name}-{self.started}"
        return [sys.executable, str(CLIENT), command, *where, "--client", client, "--ack-log", str(self.artifacts / f"acks-{name}.jsonl"), *args]

    @contextlib.contextmanager
    def load(self, name: str, rate: int) -> t.Iterator[dict[str, t.Any]]:
        """Send numbered rows while the block runs; what the client counted is in the dictionary afterwards."""
        counted: dict[str, t.Any] = {}
        summary = self.artifacts / f"load-{name}.json"
        with subprocess.Popen(self.client("run", name, "--rate", str(rate), "--summary", str(summary)), stdout=subprocess.DEVNULL) as process:
            try:
                yield counted
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
        counted.update(json.loads(summary.read_text(encoding="utf-8")))

    def verify(self, name: str) -> dict[str, t.Any]:
        """Ask the application for the rows that it acknowledged."""
        result = subprocess.run(self.client("verify", name), capture_output=True, text=True, check=False)
        if result.returncode not in (0, 1):
            raise DemoFailed(f"the rows of {name} could not be asked for: {result.stderr.strip()[-500:]}")
        return json.loads(result.stdout)

    def rise(self) -> None:
        """Make the hosts and converge them."""
        with self.phase("make the hosts of the lab"):
            self.playbook("playbooks/lab_up.yml")
        with self.phase("site: bring up the stack from bare hosts") as phase:
            self.playbook("playbooks/site.yml")
        self.figures["site_seconds"] = phase.seconds

    def settle(self) -> None:
        """Deploy release 1, and converge again to see that nothing changes."""
        with self.phase("deploy release 1"):
            self.deploy(1)
        count = self.artifacts / "ssh-executions"
        count.unlink(missing_ok=True)
        with self.phase("site again: nothing to change") as phase:
            run = self.playbook("playbooks/site.yml", count_ssh=count)
        executions = collections.Counter(count.read_text(encoding="utf-8").split())
        self.figures["noop_seconds"] = phase.seconds
        self.figures["noop_changed"] = sum(run.changed.values())
        self.figures["ssh_executions_per_host"] = max(executions.values())
        self.figures["ssh_executions"] = dict(sorted(executions.items()))

    def journey(self) -> None:
        """Write rows, back up, deploy under load, lose the database, recover it, and look for the rows."""
        with self.phase("write numbered rows through the balancer"), self.load("before", WRITE_RATE) as before:
            time.sleep(WRITE_SECONDS)
        if before["failed"]:
            raise DemoFailed(f"{before['failed']} of {before['sent']} requests failed before anything had happened: {before['failed_by_kind']}")
        with self.phase("back up PostgreSQL and Redis to S3, encrypted") as phase:
            run = self.playbook("playbooks/backup.yml", "-e", "backup_max_age=0")
        self.figures["backup_seconds"] = phase.seconds
        self.figures["backup_bytes"] = run.stats["backup_record"]["bytes_stored"]
        self.figures["backup"] = run.stats["backup_record"]["parts"]
        with self.phase("verify both backups by restoring them"):
            self.figures["verification"] = self.playbook("playbooks/verify_backups.yml").stats["backup_record"]["parts"]
        with self.phase("deploy release 2 under load"), self.load("during", DEPLOY_RATE) as during:
            time.sleep(2)
            self.deploy(2)
            time.sleep(2)
        self.figures["requests_sent"] = during["sent"]
        self.figures["requests_failed"] = during["failed"]
        self.figures["requests_failed_by_kind"] = during["failed_by_kind"]
        self.figures["request_p99_seconds"] = during["p99_seconds"]
        with self.phase("lose the database: kill PostgreSQL everywhere, delete its data"):
            self.playbook("tests/demo/disaster.yml", "-e", "confirm='lose the database'")
        with self.phase("restore the database from the backup") as phase:
            run = self.playbook("playbooks/restore.yml", "-e", "confirm=restore", "-e", '{"backup_parts": ["postgres"]}')
        self.figures["restore_seconds"] = phase.seconds
        self.figures["restore"] = run.stats["backup_record"]["parts"]
        with self.phase("look for every row acknowledged before the backup"):
            found = self.verify("before")
            later = self.verify("during")
        for key in ("rows_acknowledged", "rows_found", "rows_lost"):
            self.figures[key] = found[key]
        # The backup was taken under release 1, so the schema that came back is older than the release that serves.
        with self.phase("deploy release 2 again: migrate the restored database"):
            self.deploy(2)
        with self.phase("write rows again"), self.load("after", WRITE_RATE) as after:
            time.sleep(AFTER_SECONDS)
        self.figures["requests_sent_after_restore"] = after["sent"]
        self.figures["requests_failed_after_restore"] = after["failed"]
        self.figures["rows_after_backup"] = {key: later[key] for key in ("rows_acknowledged", "rows_found", "rows_lost")}

    def report(self) -> None:
        """Write report.json and report.html, and print the summary."""
        report = {
            "title": "mainstay.ops demo",
            "summary": "The stack came up on lab hosts, served an application, lost its database, and got it back. Every figure was measured in this run.",
            "started": self.started,
            "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **self.figures,
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "checks": self.checks(),
            "targets": TARGETS,
        }
        (self.artifacts / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (self.artifacts / "report.html").write_text(render_html(report), encoding="utf-8")

    def checks(self) -> list[dict[str, str]]:
        """What the demo promises, each with whether it held and the evidence."""
        figures = self.figures
        promises = [
            (
                "a second run of site changes nothing",
                figures.get("noop_changed") == 0,
                f"{figures.get('noop_changed')} changes in {figures.get('noop_seconds')} s",
            ),
            (
                "a run that changes nothing costs at most 20 SSH executions a host",
                "ssh_executions_per_host" in figures and figures["ssh_executions_per_host"] <= TARGETS["ssh_executions_per_host"],
                f"at most {figures.get('ssh_executions_per_host')}",
            ),
            (
                "no request is lost while a release is deployed",
                figures.get("requests_failed") == 0,
                f"{figures.get('requests_failed')} of {figures.get('requests_sent')} failed",
            ),
            (
                "every row acknowledged before the backup is there after the disaster",
                figures.get("rows_lost") == 0 and figures.get("rows_acknowledged", 0) > 0,
                f"{figures.get('rows_found')} of {figures.get('rows_acknowledged')} found",
            ),
            (
                "the application takes writes again",
                figures.get("requests_failed_after_restore") == 0 and figures.get("requests_sent_after_restore", 0) > 0,
                f"{figures.get('requests_failed_after_restore')} of {figures.get('requests_sent_after_restore')} requests failed",
            ),
        ]
        return [{"name": name, "status": "ok" if held else "failed", "evidence": evidence} for name, held, evidence in promises]

    def summary(self) -> str:
        """The last words on the terminal."""
        figures = self.figures
        return "\n".join(
            [
                "",
                f"site from bare hosts     {figures.get('site_seconds', '-')} s; again: {figures['noop_seconds']} s, {figures['noop_changed']} changes, "
                f"at most {figures['ssh_executions_per_host']} SSH executions a host",
                f"requests in the deploy   {figures['requests_sent']} sent, {figures['requests_failed']} failed",
                f"backup                   {figures['backup_bytes']} bytes in {figures['backup_seconds']} s",
                f"restore                  {figures['restore_seconds']} s",
                f"rows before the backup   {figures['rows_acknowledged']} expected, {figures['rows_found']} found, {figures['rows_lost']} lost",
                f"requests afterwards      {figures['requests_sent_after_restore']} sent, {figures['requests_failed_after_restore']} failed",
                f"report                   {self.artifacts / 'report.html'}",
            ]
        )


def main() -> int:
    """Run the demo; the exit status is 0 only if every check held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", default=os.environ.get("MAINSTAY_LAB", "lab"), help="name of the lab (default: lab)")
    parser.add_argument("--artifacts", type=pathlib.Path, default=ROOT / "artifacts/demo", help="folder for the report and the logs")
    parser.add_argument("--converged", action="store_true", help="the hosts are up and converged: start with the first deployment")
    options = parser.parse_args()
    shutil.rmtree(options.artifacts, ignore_errors=True)
    (options.artifacts / "logs").mkdir(parents=True)
    demo = Demo(options.artifacts, options.lab)
    try:
        if not options.converged:
            demo.rise()
        demo.settle()
        demo.journey()
    except (DemoFailed, subprocess.SubprocessError) as error:
        print(f"\nthe demo stopped: {error}", file=sys.stderr)
        return 1
    finally:
        demo.report()
    failed = [check for check in demo.checks() if check["status"] != "ok"]
    for check in failed:
        print(f"\ndid not hold: {check['name']}: {check['evidence']}", file=sys.stderr)
    print(demo.summary())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
