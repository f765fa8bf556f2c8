# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role app_host refuses, and when it changes its mind: its own tasks through ansible-playbook, with commands that say what is wanted."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import threading
import time
import typing as t

import yaml
from ports import free_port
from servers import SENTINEL, Runner

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "app_host"


def variables(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """Those of the role, for an application whose commands run as they are."""
    return {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        **yaml.safe_load((ROLE / "vars/main.yml").read_text()),
        "app_host_name": "shop",
        "app_host_root": str(tmp_path / "shop"),
        "app_host_config_dir": str(tmp_path / "etc"),
        "app_host_textfile_dir": str(tmp_path / "figures"),
        "app_host_environment": {"SHOP_PASSWORD": SENTINEL},
        "__app_host_runner": [],
        "__app_host_migrator": [],
    }


def tried(name: str, file: str, given: dict[str, t.Any], told: str = "nothing was refused") -> dict[str, t.Any]:
    """Tasks of the role with some variables; what they refuse, or else ``told``, is the message of the task ``name``."""
    return {
        "name": f"Try {name}",
        "vars": given,
        "block": [
            {"name": "Include", "ansible.builtin.include_tasks": str(ROLE / "tasks" / file)},
            {"name": name, "ansible.builtin.debug": {"msg": told}},
        ],
        "rescue": [{"name": name, "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
    }


def outcomes(tmp_path: pathlib.Path, tasks: list[dict[str, t.Any]]) -> list[str]:
    """What each of them came to."""
    everything = variables(tmp_path)
    done = Runner(tmp_path).tasks([{**task, "vars": {**everything, **task["vars"]}} for task in tasks])
    names = {entry["name"] for task in tasks for entry in task["rescue"]}
    document, _end = json.JSONDecoder().raw_decode(done.output, done.output.index("{"))
    answers = {entry["task"]["name"]: entry["hosts"]["localhost"].get("msg") for play in document["plays"] for entry in play["tasks"]
               if entry["task"]["name"] in names and not entry["hosts"]["localhost"].get("skipped")}
    return [answers[task["rescue"][0]["name"]] for task in tasks]


def test_a_database_is_settled_when_each_of_its_branches_is(tmp_path: pathlib.Path) -> None:
    """One head is not enough where there are two; an empty database has none; a question that fails is no answer, and its message has no secret."""
    def asked(name: str, *lines: str) -> dict[str, t.Any]:
        given = {"app_host_migrate_command": ["true"], "app_host_migrate_pending_command": ["printf", r"%s\n", *lines]}
        return tried(name, "pending.yml", given, "{{ __app_host_pending }}")

    broken = {"app_host_migrate_command": ["true"], "app_host_migrate_pending_command": ["sh", "-c", f"echo cannot log in with {SENTINEL}; exit 3"]}
    found = outcomes(tmp_path, [
        asked("one head", "1a (head)"), asked("behind", "1a"), asked("two heads", "1a (head)", "2b (head)"), asked("one of two", "1a (head)", "2b"),
        asked("empty", ""), tried("broken", "pending.yml", broken),
    ])
    assert found[:5] == [False, True, False, True, True]
    assert "ended with status 3: cannot log in with ********" in found[5]


def test_nothing_changes_the_database_without_the_backup_that_was_asked_for(tmp_path: pathlib.Path) -> None:
    """Only one that says which it is counts; no failure is not enough."""
    wanted = {"app_host_backup_before_migration": True}
    found = outcomes(tmp_path, [
        tried("not wanted", "backup.yml", {}),
        tried("there", "backup.yml", {**wanted, "app_host_backup_id": "20261127T180000Z"}),
        tried("never taken", "backup.yml", wanted),
        tried("failed", "backup.yml", {**wanted, "app_host_backup_id": "1", "app_host_backup_failure": "the disk is full"}),
        tried("never taken before a contraction", "backup.yml", {**wanted, "app_host_kind": "contract"}),
    ])
    assert found[:2] == ["nothing was refused"] * 2
    assert "the backup before the migration was not taken: no host of PostgreSQL took part" in found[2]
    assert "the backup before the migration failed: the disk is full; the database is as it was" in found[3]
    assert "the backup before the contraction was not taken" in found[4]


def test_a_rollback_does_not_lead_past_a_contraction(tmp_path: pathlib.Path) -> None:
    """Neither to what was live before it, nor where the hosts know different ways."""
    info = {"releases": [{"release": "1"}, {"release": "2"}], "outdated": ["1"], "environment": [], "platform": {}, "free_bytes": 0}
    marks = {"results": []}
    common = {"app_host_kind": "rollback", "__app_host_info": info, "__app_host_marks": marks, "__app_host_needed": True, "__app_host_old_release": "3"}
    found = outcomes(tmp_path, [
        tried("past it", "preflight.yml", {**common, "app_host_release": "1"}),
        tried("not past it", "preflight.yml", {**common, "app_host_release": "2"}),
        tried("not there", "preflight.yml", {**common, "app_host_release": "9"}),
    ])
    assert "release 1 is older than the last contraction" in found[0]
    assert found[1] == "nothing was refused"
    assert "release 9 is not unpacked" in found[2]


def test_a_deployment_does_not_lead_past_a_contraction(tmp_path: pathlib.Path) -> None:
    """Unless the database was restored, which only a person can say; what comes next in the file then is another matter."""
    info = {"releases": [], "outdated": ["1"], "environment": [], "platform": {}, "free_bytes": 0}
    common = {"app_host_kind": "deploy", "__app_host_info": info, "__app_host_archive": {"stat": {"size": 0}}, "app_host_min_free_mb": 1}
    found = outcomes(tmp_path, [
        tried("past it", "preflight.yml", {**common, "app_host_release": "1"}),
        tried("restored", "preflight.yml", {**common, "app_host_release": "1", "app_host_restored": True}),
        tried("newer", "preflight.yml", {**common, "app_host_release": "2"}),
    ])
    assert "release 1 is older than the last contraction" in found[0] and "-e app_release_restored=true" in found[0]
    assert all("has 0 MiB left" in answer for answer in found[1:])


def test_wrong_values_are_refused_before_anything_is_done(tmp_path: pathlib.Path) -> None:
    """Each would only be noticed when the release gets requests, or is live."""
    common = {"app_host_kind": "rollback", "app_host_release": "1"}
    found = outcomes(tmp_path, [
        tried("steps", "plan.yml", {**common, "app_host_canary_steps": [5, 30]}),
        tried("keep", "plan.yml", {**common, "app_host_keep_releases": 0}),
        tried("batches", "plan.yml", {**common, "app_host_batches": ["many"]}),
        tried("archive", "plan.yml", {"app_host_kind": "deploy"}),
    ])
    assert "app_host_canary_steps is 5, 30, and takes one or more of 1, 10, 25, 50, 100" in found[0]
    assert "app_host_keep_releases is 0" in found[1]
    assert "'many' is no number of hosts" in found[2]
    assert "a deployment needs the path of a release archive" in found[3]


def test_a_run_that_lost_its_lock_takes_nothing_back(tmp_path: pathlib.Path) -> None:
    """Another run has it: neither a balancer nor a slot is touched, the lock stays where it is, and the report says why."""
    (tmp_path / "shop/releases").mkdir(parents=True)
    lock = tmp_path / "shop/deploy.lock"
    lock.write_text(json.dumps({"owner": "deploy-shop-other", "by": "ops@ctl", "since": 1, "renewed": 1}))
    found = outcomes(tmp_path, [tried("lost", "phase.yml", {
        "app_host_phase": "switch", "app_host_release": "2", "app_host_report_dir": str(tmp_path / "reports"), "__app_host_run": "deploy-shop-mine",
        "__app_host_started": True, "__app_host_settled": False, "__app_host_needed": True, "__app_host_old_slot": "blue", "__app_host_new_slot": "green",
        "__app_host_bound_slot": "blue", "__app_host_old_release": "1", "__app_host_by": "me@ctl",
    })])
    assert "could not deploy shop 2: switch: localhost: could not go on with this run: it lost its lock: ops@ctl took it" in found[0]
    assert "nothing was taken back, since could not go on with this run" in found[0]
    assert json.loads(lock.read_text())["owner"] == "deploy-shop-other"
    report = json.loads((tmp_path / "reports/deploy-shop-mine.json").read_text())
    assert (report["result"], report["back_seconds"]) == ("failed", 0)


class Answers(http.server.BaseHTTPRequestHandler):
    """The old release, which is still warm: it answers after as long as the machine needs."""

    seconds = 0.0

    def do_GET(self) -> None:
        """Answer after a while."""
        time.sleep(self.seconds)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_unused: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def old_release() -> t.Iterator[tuple[int, type[Answers]]]:
    """Serve on a port; it is as slow as the class says."""
    handler = type("Handler", (Answers,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, handler
        finally:
            server.shutdown()
            thread.join()


def test_a_machine_that_became_slow_is_no_reason_to_go_back(tmp_path: pathlib.Path) -> None:
    """The old release is asked what it was asked before: when it is as fast as it was, the verdict stands; when it is slow too, the gate begins anew."""
    verdict = {"result": "fail", "reasons": ["p95 is 1 s"], "slow_only": True}
    with old_release() as (port, release):
        given = {
            "app_host_slots": {"blue": port, "green": port}, "__app_host_old_slot": "blue", "__app_host_new_slot": "green", "__app_host_old_release": "1",
            "app_host_release": "2", "app_host_soak_seconds": 2, "app_host_soak_interval": 0.1, "app_host_smoke_paths": [], "app_host_version_path": "",
            "app_host_slow_above": 0.4, "__app_host_my_balancers": [], "__app_host_excuses": 0, "__app_host_verdict": verdict,
        }
        (soak,) = outcomes(tmp_path, [tried("soak", "soak.yml", given, "{{ __app_host_soak | to_json }}")])
        known = {**given, "__app_host_soak": json.loads(soak) if isinstance(soak, str) else soak}
        told = "{{ __app_host_verdict.result }} after {{ __app_host_excuses }} excuses: {{ __app_host_verdict.reasons | join('; ') }}"
        (same,) = outcomes(tmp_path, [tried("as fast as before", "control.yml", known, told)])
        release.seconds = 0.8
        (slower,) = outcomes(tmp_path, [tried("slow as well", "control.yml", known, told)])
    assert same == "fail after 0 excuses: p95 is 1 s"
    assert slower.startswith("inconclusive after 1 excuses: p95 is 1 s; the old release on localhost too: ")
