# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook diagnose on this machine, with a real PostgreSQL, Redis and nginx that have troubles, and a host that does not answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import tarfile
import threading
import typing as t

import playbooks
import pytest
from redis_jobs import SECRET, RedisServer, free_port
from servers import SENTINEL, PostgresServer, Runner
from test_traffic_info import Balancer, balancer
from waiting import until

HIDDEN = "Hidden7f3a9"
"""A secret that users wrote where none belongs: in URLs, keys, statements and names."""
__all__ = ["balancer"]


@pytest.fixture
def redis_server(tmp_path: pathlib.Path) -> t.Iterator[RedisServer]:
    """A Redis whose slow log has a command with a secret."""
    server = RedisServer(tmp_path / "redis", free_port(), {"slowlog-log-slower-than": "100000"}).start()
    try:
        client = server.client()
        client.set(f"session:{HIDDEN}", "x")
        client.execute_command("DEBUG", "SLEEP", "0.15")
        # To a script of Redis 8 the time stands still, but not that of the processor, which Redis 7 does not tell.
        clock = "local os_ = rawget(_G, 'os') local function now() return os_ and os_.clock() or redis.call('TIME')[1] + 0 end"
        client.execute_command("EVAL", f"{clock} local until_ = now() + 2 while now() < until_ do end return '{HIDDEN}'", 0)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def waiting_for_a_lock(server: PostgresServer) -> t.Iterator[None]:
    """Have a session wait for a lock, with a secret in its statement."""
    server.query("CREATE TABLE IF NOT EXISTS contested (id int)")

    def wait() -> None:
        with contextlib.suppress(Exception), server.connect() as waiter, waiter.cursor() as cursor:
            cursor.execute(f"UPDATE contested SET id = 1 WHERE '{HIDDEN}' <> ''")

    with server.connect() as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE contested")
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), "a session that waits")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
            thread.join(30)
    server.query("DROP TABLE contested")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run printed, and what its bundle holds."""

    status: int
    output: str
    report: dict[str, t.Any]
    bundle: dict[str, str]


def run_playbook(folder: pathlib.Path, variables: dict[str, t.Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the playbook with hosts of its own."""
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    ghost = {"ansible_host": "127.0.0.1", "ansible_port": free_port(), "ansible_ssh_common_args": "-o ConnectTimeout=3"}
    groups = {"postgres": {"hosts": {"here": None}}, "redis": {"hosts": {"here": None}}}
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"here": here, "ghost": ghost}, "children": groups, "vars": variables}}))
    return playbooks.run("diagnose", "-vvv", *arguments, inventory=inventory, cwd=folder, PWD=str(folder))


def variables(postgres: PostgresServer, server: RedisServer, nginx: Balancer) -> dict[str, t.Any]:
    """What an inventory would say."""
    return {
        "reports_diagnose_access_log": str(nginx.log),
        "reports_diagnose_limits": {"requests_least": 5, "slow_warning_seconds": 0.2},
        "reports_diagnose_release_roots": [str(nginx.folder / "shop")],
        "reports_postgres_login": postgres.login,
        "reports_postgres_options": {"checks": ["locks"], "thresholds": {"lock_warning_seconds": 0.0}},
        "reports_redis_login": {"login_host": "127.0.0.1", "login_port": server.port, "login_password": server.password, "tls": False},
        "reports_diagnose_secrets": [HIDDEN],
    }


@pytest.fixture
def outcome(postgres_server: PostgresServer, redis_server: RedisServer, balancer: Balancer, tmp_path: pathlib.Path) -> Outcome:
    """What a run finds while all of them have their troubles."""
    balancer.ask("app_blue", status=500, times=6)
    balancer.ask("app_blue", seconds=0.3, times=6)
    balancer.logged(12)
    given = variables(postgres_server, redis_server, balancer)
    history = balancer.folder / "shop" / "history.json"
    history.parent.mkdir()
    history.write_text(json.dumps({"records": [{"release": "7", "slot": "green", "kind": "deploy", "time": "2999-01-01T00:00:00+00:00", "by": HIDDEN}]}))
    with waiting_for_a_lock(postgres_server):
        done = run_playbook(tmp_path, given)
    folder = tmp_path / "artifacts" / "diagnose"
    assert (folder / "report.json").exists(), done.stdout[-4000:] + done.stderr
    [path] = folder.glob("*.tar.gz")
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        contents = {member.name.partition("/")[2]: t.cast(t.IO[bytes], archive.extractfile(member)).read().decode() for member in archive}
    return Outcome(done.returncode, done.stdout + done.stderr, json.loads((folder / "report.json").read_text()), contents)


def test_everything_is_found_and_no_secret_is_told(outcome: Outcome) -> None:
    """One run, since the servers' troubles take a while to make."""
    report = outcome.report
    told = {(found["severity"], found["area"], found["place"]): found["problem"] for found in reversed(report["findings"])}
    assert told["critical", "host", "ghost"] == "the host could not be looked at"
    assert told["critical", "http", "here"] == "GET /:id/:id: 100.0 % errors"
    assert told["warning", "http", "here"].startswith("GET /:id/0.3: one request in twenty takes ")
    assert told["critical", "redis", "here"].startswith("EVAL took ") and told["warning", "redis", "here"].startswith("DEBUG took ")
    assert "has waited for" in told["warning", "postgres", "here"], told
    assert [change["kind"] for change in report["changes"]][0] == "deploy"
    assert report["findings"][0]["severity"] == "critical" and report["findings"][-1]["severity"] in ("warning", "info")
    assert set(outcome.bundle) == {"report.html", "report.json", "findings.txt", "hosts/here.json", "hosts/ghost.json"}
    for secret in (HIDDEN, SENTINEL, SECRET):
        for name, content in outcome.bundle.items():
            assert secret not in content, (secret, name)
        assert secret not in json.dumps(report)
    for secret in (SENTINEL, SECRET):
        assert secret not in outcome.output
    # A host that does not answer fails the run for Ansible, and is in the report all the same.
    assert "diagnose-" in outcome.output


def test_check_mode_writes_nothing(postgres_server: PostgresServer, redis_server: RedisServer, balancer: Balancer, tmp_path: pathlib.Path) -> None:
    """It looks and tells all the same; and a finding fails the run where that was asked for."""
    given = variables(postgres_server, redis_server, balancer)
    done = run_playbook(tmp_path, given, "--check", "-e", "reports_diagnose_fail_on=critical")
    assert not (tmp_path / "artifacts").exists()
    assert done.returncode != 0 and "the host could not be looked at" in done.stdout and "findings: " in done.stdout


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        ("diagnose_host_info", {"hours": 0.0}, "could not look back 0 hours"),
        ("diagnose_redis_info", {"hours": -1.0}, "could not look back -1 hours"),
        ("diagnose_redis_info", {"login_host": "127.0.0.1", "login_port": 1, "tls": False}, "check login_host"),
        ("diagnose_report", {"hosts": {}, "limits": {"disk_warning_percent": -1.0}}, "the limit disk_warning_percent is negative"),
        ("diagnose_report", {"hosts": {}, "end": "soon"}, "could not report until soon"),
    ],
)
def test_refused(run_module: Runner, module: str, options: dict[str, t.Any], words: str) -> None:
    result = run_module(module, options)
    assert result["failed"] and words in result["msg"], result


def test_the_same_time_makes_the_same_files(run_module: Runner, tmp_path: pathlib.Path) -> None:
    """A second run changes nothing; check mode told what the first would do."""
    options = {"hosts": {"a": {"host": {"msg": "no route"}}}, "report_dir": str(tmp_path / "out"), "end": "2026-11-26T00:00:00+00:00"}
    planned = run_module("diagnose_report", options, check=True)
    done = run_module("diagnose_report", options)
    assert (planned["changed"], planned["actions"]) == (True, done["actions"]) and done["changed"]
    assert done["bundle"] == str(tmp_path / "out" / "diagnose-20261126T000000Z.tar.gz") and pathlib.Path(done["bundle"]).exists()
    assert run_module("diagnose_report", options)["actions"] == []
    assert run_module("diagnose_report", {**options, "bundle": False, "report_dir": str(tmp_path / "two")})["bundle"] == ""
