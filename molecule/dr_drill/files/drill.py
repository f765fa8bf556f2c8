# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loses a site under a client's load: cut off from everybody, killed, and killed when PostgreSQL of the other one is lost already, so that it is restored from
its backup. Each time the other site takes over, and the first one comes home.

What the run of the playbook has measured is held against the client's own log: the recovery time and the recovery point may differ by two seconds.

    PYTHONPATH=tests python drill.py LAB NETWORK ARTIFACTS
"""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import waiting
from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import find_runtime
from drills.lab import ROOT, Lab, environment

HERE = pathlib.Path(__file__).resolve().parent
SITES = {"site_a": ("a1", "a2", "a3"), "site_b": ("b1", "b2", "b3")}
A, B = SITES["site_a"], SITES["site_b"]
RTO_SECONDS, RPO_SECONDS, AGREE_SECONDS = 90.0, 5.0, 2.0
RESTORE_SECONDS = 300.0
"""For a site that is restored from backups."""
RESTORED = "restored"
until = functools.partial(waiting.until, seconds=180, pause=0.5)


class Drill:
    """The sites, and the client."""

    def __init__(self, name: str, network: str, artifacts: pathlib.Path) -> None:
        """Use the lab of this name."""
        self.artifacts, self.network = artifacts, network
        self.lab = Lab(name, artifacts / "lab.log", ",".join((*A, *B, "cloud1")))
        artifacts.mkdir(parents=True, exist_ok=True)
        self.log = artifacts / "client.jsonl"
        self.log.unlink(missing_ok=True)
        self.missed: list[str] = []

    def address(self, host: str) -> str:
        """Return a host's address."""
        return f"{self.network}.{61 if host == 'cloud1' else (30 if host in A else 50) + int(host[1])}"

    def inventory(self, site: str) -> pathlib.Path:
        """Return the inventory of one site alone; the hosts of the other one are in no group that anything is done with."""
        folder = self.artifacts / "inventories" / site
        folder.mkdir(parents=True, exist_ok=True)
        numbers = {host: {"lab_number": int(self.address(host).rpartition(".")[2])} for host in (*A, *B, "cloud1")}
        members = {"children": {site: {}}}
        children: dict[str, t.Any] = {"sites": {"children": {name: {"hosts": dict.fromkeys(hosts, {})} for name, hosts in SITES.items()}}}
        children |= {**dict.fromkeys(("postgres", "dcs", "redis"), members), **{group: {"hosts": {}} for group in ("lb", "app", "monitoring")}}
        children["cloud"] = {"hosts": {"cloud1": {}}}
        empty = {group: {"hosts": {}} for group in ("aws", "ecs")}
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": numbers, "children": {"lab": {"children": children}, **empty}}}, indent=2))
        if not (folder / "group_vars").is_symlink():
            (folder / "group_vars").symlink_to(ROOT / "inventories/lab_dr/group_vars")
        return folder

    def playbook(self, path: str, *arguments: str, inventory: pathlib.Path = ROOT / "inventories/lab_dr") -> str:
        """Run a playbook; return what it printed.

        Raises:
            AssertionError: it failed.
        """
        argv = ["ansible-playbook", "-i", str(inventory), str(ROOT / path), *arguments]
        variables = environment(self.lab.name, self.lab.hosts)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=ROOT, env=variables)
        with (self.artifacts / "playbooks.log").open("a", encoding="utf-8") as file:
            file.write(f"{' '.join(argv)}\n{done.stdout}{done.stderr}\n")
        assert done.returncode == 0, f"{path}: {done.stdout[-3000:]}"
        return done.stdout

    def sql(self, site: t.Sequence[str], text: str) -> str:
        """Run SQL at the leader of a site."""
        script = (
            f"for host in {' '.join(self.address(host) for host in site)}; do "
            "if curl -ks -o /dev/null -w '%{http_code}' https://$host:8008/primary | grep -q 200; then leader=$host; fi; done; echo $leader"
        )
        leader = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        host = next(host for host in site if self.address(host) == leader)
        psql = ["runuser", "-u", "postgres", "--", "psql", "-AtX", "-v", "ON_ERROR_STOP=1", "ledger"]
        argv = find_runtime().command("exec", "--interactive", f"{self.lab.name}-{host}", *psql)
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout

    def acknowledged(self) -> list[dict[str, t.Any]]:
        """Return the rows that the client was told are written."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @contextlib.contextmanager
    def client(self) -> t.Iterator[None]:
        """Run the client meanwhile."""
        first = len(self.acknowledged())
        argv = [sys.executable, str(HERE / "client.py"), f"{self.network}.61", "53", "numbered.dr.test", str(self.log)]
        process = subprocess.Popen(argv)
        try:
            until(lambda: len(self.acknowledged()) > first + 100, "the client's first rows")
            yield
        finally:
            process.terminate()
            process.wait(30)

    def refused(self, host: str) -> bool:
        """Whether a row that is sent to a host past the name is not acknowledged."""
        request = urllib.request.Request(f"http://{self.address(host)}:8080/{time.time_ns()}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return answer.status != 200
        except (urllib.error.URLError, OSError):
            return True

    def takes_writes(self, host: str) -> bool:
        """Whether a host that was fenced takes a row or a key after somebody has started its servers, as an operator would who knows of nothing."""
        script = (
            "systemctl start patroni.service redis-server.service numbered.service || true; sleep 5; "
            "runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 -c 'INSERT INTO numbered VALUES (-1)' ledger || "
            "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 6379), 3)'"
        )
        argv = find_runtime().command("exec", f"{self.lab.name}-{host}", "sh", "-c", script)
        return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0

    def back_up(self) -> None:
        """Take a backup of PostgreSQL at site a."""
        self.playbook("playbooks/backup.yml", "-e", json.dumps({"backup_parts": ["postgres"], "backup_max_age": "0"}), inventory=self.inventory("site_a"))

    def lose_standby(self) -> None:
        """Have PostgreSQL at site b lose its data."""
        for host in B:
            command = "systemctl stop patroni.service && rm -r /var/lib/postgresql/*/ledger"
            subprocess.run(find_runtime().command("exec", f"{self.lab.name}-{host}", "sh", "-c", command), capture_output=True, check=True)

    def lose(self, how: str) -> None:
        """Cut site a off from everybody, or kill it."""
        for host in A:
            if how == "cut off":
                self.lab.cut(host, [f"{self.network}.1", self.address("cloud1"), *map(self.address, B)])
            else:
                self.lab.kill(host)

    def takeover(self, how: str, lost_at: float) -> list[str]:
        """Return the arguments of the failover."""
        asked: dict[str, t.Any] = {"site_failover_report_dir": str(self.artifacts / how.replace(" ", "_"))}
        if how == RESTORED:
            # Nobody else knows when clients got their last answer, and the age of what is restored counts from then.
            asked |= {"site_failover_postgres": {}, "site_failover_outage_since": lost_at, "site_failover_rto_target": RESTORE_SECONDS}
            within = {"backup_parts": ["postgres"], "postgres_replication_standby_of": {}, "postgres_replication_site_slots": ["site_a"]}
            asked["site_failover_restore"] = {"inventories": [str(self.inventory("site_b"))], "arguments": ["-e", json.dumps(within)]}
        return [*_direction("site_a", "site_b"), "-e", json.dumps(asked)]

    def bring_back(self, how: str) -> None:
        """Let site a have its network or its power again."""
        for host in A:
            if how == "cut off":
                self.lab.mend(host)
            else:
                self.lab.boot(host)

    def round(self, how: str) -> dict[str, t.Any]:
        """Lose site a, fail over, hold the figures against the client's, see that site a is fenced, and bring it home."""
        self.sql(A, "DROP TABLE IF EXISTS numbered; CREATE TABLE numbered (number bigint PRIMARY KEY); ALTER TABLE numbered OWNER TO ledger;")
        self.log.unlink(missing_ok=True)
        with self.client():
            if how == RESTORED:
                self.back_up()
                self.lose_standby()
            time.sleep(5)
            self.lose(how)
            lost_at = time.time()
            self.playbook("playbooks/dr_failover.yml", *self.takeover(how, lost_at))
            until(lambda: self.acknowledged()[-1]["site"] == "site_b", "the client's first row at site b")
            figures = self.compare(how, lost_at)
            self.bring_back(how)
            until(lambda: all(self.refused(host) for host in A), "the fence")
            time.sleep(15)
            assert all(self.refused(host) for host in A), "site a takes rows"
            assert not [host for host in A if self.takes_writes(host)], "site a takes writes when it is started by hand"
            self.playbook("playbooks/dr_failback.yml", *_direction("site_b", "site_a"))
            until(lambda: self.acknowledged()[-1]["site"] == "site_a", "the client's first row back at site a")
        rows = {int(line) for line in self.sql(A, "SELECT number FROM numbered").split()}
        later = {entry["number"] for entry in self.acknowledged() if entry["at"] > figures["first_at_b"]}
        assert later <= rows, f"{len(later - rows)} rows that site b acknowledged are lost"
        return figures

    def compare(self, how: str, lost_at: float) -> dict[str, t.Any]:
        """Hold the report against the client's log; a target that is missed ends the drill when all else was seen."""
        entries = self.acknowledged()
        report = json.loads((self.artifacts / how.replace(" ", "_") / "report.json").read_text())
        rows = {int(line) for line in self.sql(B, "SELECT number FROM numbered").split()}
        last_a = max(entry["at"] for entry in entries if entry["site"] == "site_a")
        first_b = min(entry["at"] for entry in entries if entry["site"] == "site_b")
        lost = [entry for entry in entries if entry["site"] == "site_a" and entry["number"] not in rows]
        kept = max(entry["at"] for entry in entries if entry["site"] == "site_a" and entry["number"] in rows)
        assert not [entry for entry in lost if entry["at"] < kept], "rows are lost that are older than some that are kept"
        figures = {
            **{"how": how, "rto_seconds": round(first_b - last_a, 1), "rpo_seconds": round(last_a - kept, 1), "rows_lost": len(lost), "first_at_b": first_b},
            **{"reported_rto_seconds": report["rto_seconds"], "reported_rpo_seconds": report["rpo_seconds"], "lost_at": lost_at},
            **{"phases": {phase["name"]: round(phase["seconds"], 1) for phase in report["phases"]}},
        }
        (self.artifacts / f"{how.replace(' ', '_')}.json").write_text(json.dumps(figures, indent=2))
        print(json.dumps(figures), flush=True)
        # Of a restore the recovery point is as old as the backup.
        limits = {"rto_seconds": RESTORE_SECONDS, "rpo_seconds": None} if how == RESTORED else {"rto_seconds": RTO_SECONDS, "rpo_seconds": RPO_SECONDS}
        for name, limit in limits.items():
            if limit is not None and figures[name] > limit:
                self.missed.append(f"{how}: {name} is {figures[name]}, more than {limit:g}")
            if abs(figures[name] - figures[f"reported_{name}"]) > AGREE_SECONDS:
                self.missed.append(f"{how}: {name} is {figures[name]} by the client's log and {figures[f'reported_{name}']} by the report")
        return figures


def _direction(old: str, new: str) -> tuple[str, ...]:
    return tuple(word for name, site in (("from", old), ("to", new), ("confirm", new)) for word in ("-e", f"site_failover_{name}={site}"))


def main() -> None:
    """Run them all."""
    name, network, artifacts = sys.argv[1:]
    drill = Drill(name, network, pathlib.Path(artifacts))
    drill.back_up()
    drill.playbook("playbooks/verify_backups.yml", "-e", json.dumps({"backup_parts": ["postgres"]}), inventory=drill.inventory("site_a"))
    for how in ("cut off", "killed", RESTORED):
        drill.round(how)
    again = drill.playbook("molecule/dr_drill/converge.yml")
    assert not drill.missed, drill.missed
    assert "changed=0" in again and not [line for line in again.splitlines() if "changed=" in line and "changed=0" not in line], again[-2000:]


main()
