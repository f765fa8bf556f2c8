# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys releases of every kind through the playbooks while a client asks all the time, and kills some of the runs. Fails when a request is lost."""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
PLAYBOOKS = HERE.parents[1] / "playbooks"
NAME = "ledger.lab.test"
CLIENTS, INTERVAL = 6, 0.1
"""Clients with a connection of their own, and the seconds between two requests of each: sixty a second together."""

FAULTS = {
    "crash": "crash", "unready": "unready", "errors": "errors", "slow": "slow 1.5", "late": "late 8", "hidden": "hidden", "hidden2": "hidden",
    **dict.fromkeys("1234567", "none"), "unmigrated": "none",
}
"""The releases and what is wrong with each, as server.py understands it."""


class Failed(Exception):
    """Something was not as it must be."""


def require(condition: object, what: str, output: str = "") -> None:
    """Fail with the end of a run's output."""
    if not condition:
        raise Failed(f"{what}\n{output[-6000:]}")


def timeless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same content makes the same archive."""
    member.mtime = 0
    return member


def build(folder: pathlib.Path) -> None:
    """Pack all releases."""
    for release, fault in FAULTS.items():
        source = folder / release
        source.mkdir()
        (source / "RELEASE").write_text(f"{release}\n", encoding="utf-8")
        (source / "FAULT").write_text(f"{fault}\n", encoding="utf-8")
        (source / "server.py").write_bytes((HERE / "release/server.py").read_bytes())
        if release == "unmigrated":
            (source / "FAIL").touch()
        with tarfile.open(folder / f"trial-{release}.tar", "w") as archive:
            archive.add(source, ".", filter=timeless)


class Load:
    """Clients that ask all the time; a request counts by its status and the release that answered, or by what went wrong."""

    def __init__(self, address: str, authority: str) -> None:
        """Start the clients."""
        self._address, self._tls = address, ssl.create_default_context(cafile=authority)
        self.answers: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(NAME, timeout=15)
        connection.sock = self._tls.wrap_socket(socket.create_connection((self._address, 443), timeout=15), server_hostname=NAME)
        return connection

    def _ask(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            began = time.monotonic()
            try:
                connection = connection or self._connect()
                connection.request("GET", "/work", headers={"Host": NAME})
                answer = connection.getresponse()
                found = (str(answer.status), str(json.loads(answer.read()).get("release")) if answer.status in (200, 500) else "")
                if answer.will_close:
                    connection = None
            except (OSError, http.client.HTTPException, ValueError) as exc:
                found, connection = (type(exc).__name__, ""), None
            with self._lock:
                self.answers[found] += 1
            time.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))

    def stop(self) -> dict[tuple[str, str], int]:
        """Stop the clients and return what they counted."""
        self._over.set()
        for thread in self._threads:
            thread.join(20)
        return dict(self.answers)


class Trial:
    """The playbooks, and what the clients got meanwhile."""

    def __init__(self, arguments: argparse.Namespace, folder: pathlib.Path) -> None:
        """Keep where everything is."""
        self._given, self._folder = arguments, folder

    def argv(self, playbook: str, release: str, *more: str) -> list[str]:
        """The command line of a playbook."""
        argv = ["ansible-playbook", f"--inventory={self._given.inventory}", f"--extra-vars=@{HERE}/vars/trial.yml", str(PLAYBOOKS / f"{playbook}.yml")]
        argv += ["-e", f"app_host_report_dir={self._folder}"]
        argv += ["-e", f"app_release_archive={self._folder}/trial-{release}.tar"] if release else []
        return [*argv, *more]

    def run(self, playbook: str, release: str, *more: str, ends: int = 0, says: str = "") -> str:
        """Run a playbook, which must end with this status and say something.

        Raises:
            Failed: it did not.
        """
        began = time.monotonic()
        done = subprocess.run(self.argv(playbook, release, *more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=900)
        print(f"{playbook} {release}: {time.monotonic() - began:.0f} s, status {done.returncode}", flush=True)
        words = re.sub(r"\s+", " ", done.stdout)
        require(done.returncode == ends, f"{playbook} of {release or 'the release before'} ended with {done.returncode}, not {ends}", done.stdout)
        require(re.search(says, words), f"{playbook} of {release} did not say {says!r}", done.stdout)
        warnings = re.findall(r".*(?:\[WARNING\]|DEPRECAT).*", done.stdout)
        require(not warnings, f"{playbook} of {release or 'the release before'} warned: {'; '.join(warnings)}", done.stdout)
        return words

    @contextlib.contextmanager
    def load(self, what: str, *releases: str, errors: t.Collection[str] = ()) -> t.Iterator[None]:
        """Ask all the time while the block runs: these releases answer, and no other; errors come from some of them alone.

        Raises:
            Failed: a request was lost, or answered by a release that must not be seen.
        """
        clients = Load(self._given.address, self._given.authority)
        began = time.monotonic()
        try:
            yield
        finally:
            answers = clients.stop()
        print(f"{what}: {time.monotonic() - began:.0f} s, {sum(answers.values())} requests:",
              ", ".join(f"{count} {status} {release}".strip() for (status, release), count in sorted(answers.items())), flush=True)
        bad = {found: count for found, count in answers.items() if found[0] != "200" and not (found[0] == "500" and found[1] in errors)}
        require(not bad, f"{what}: requests were lost: {bad}")
        seen = {release for _status, release in answers}
        require(seen == set(releases), f"{what}: {sorted(seen)} answered, not {sorted(releases)}")

    def kill(self, playbook: str, release: str, task: str, *more: str) -> None:
        """Start a playbook and kill its process when it begins a task.

        Raises:
            Failed: it never came there.
        """
        log = self._folder / "killed.log"
        with log.open("w") as stream:
            run = subprocess.Popen(self.argv(playbook, release, *more), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 600
        try:
            while not re.search(rf"^TASK \[.*{re.escape(task)}", log.read_text(encoding="utf-8"), re.MULTILINE):
                require(run.poll() is None and time.monotonic() < deadline, f"{playbook} of {release} never came to {task!r}", log.read_text(encoding="utf-8"))
                time.sleep(0.1)
            time.sleep(0.3)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()

    def report(self) -> dict[str, t.Any]:
        """The newest report."""
        newest = max(self._folder.glob("*-trial-*.json"), key=lambda path: path.stat().st_mtime)
        return json.loads(newest.read_text(encoding="utf-8"))


AT_ONCE = ["-e", '{"app_host_batches": ["100%"], "app_host_soak_seconds": 2}']
"""Both hosts together, where the order is not what is tried."""

RESTORED = [*AT_ONCE, "-e", "app_release_restored=true"]
"""As if the database were of the time before the contraction: what a release that never touches it needs to be deployed after one."""

UNCHANGED = re.compile(r"changed=[1-9]")


def good_releases(trial: Trial) -> None:
    """The first one, the same again, the next one under load, and back."""
    trial.run("deploy", "1", "--check", says="start it in slot (blue|green) of app1, then app2")
    trial.run("deploy", "1", *AT_ONCE)
    require(not UNCHANGED.search(trial.run("deploy", "1")), "the same release again changed something")
    with trial.load("a good release", "1", "2"):
        trial.run("deploy", "2", says="after the switch after .* s: pass")
    gates = trial.report()["gates"]
    require([gate["name"] for gate in gates] == ["soak on app1", "soak on app2", "after the switch"], f"the report has the gates {gates}")
    require(all(gate["result"] == "pass" and gate["canary"]["requests"] and gate["baseline"]["requests"] for gate in gates), f"a gate saw nothing: {gates}")
    with trial.load("a rollback", "1", "2"):
        trial.run("rollback", "")


def bad_releases(trial: Trial) -> None:
    """One that breaks after a while gets no request, one that only users find out goes back, and a migration that fails changes nothing."""
    with trial.load("a release that breaks after a while", "1"):
        trial.run("deploy", "late", *AT_ONCE, "-e", "app_host_soak_seconds=12", ends=2,
                  says="(late was no good beside the release that serves|health gate).*no request went to late")
    with trial.load("a release that only users find out", "1", "hidden", errors=["hidden"]):
        trial.run("deploy", "hidden", *AT_ONCE, ends=2,
                  says="after the switch: .* answered with an error.*1 goes on serving in slot .* got all requests back")
    seconds = trial.report()["back_seconds"]
    print(f"going back took {seconds} s", flush=True)
    require(0 < seconds < 5, f"going back took {seconds} s")
    trial.run("deploy", "unmigrated", *AT_ONCE, ends=2,
              says=r"the migration ended with status 1 .*lock_timeout=5s -c statement_timeout=300s.*1 goes on serving")


def canaries(trial: Trial) -> None:
    """One that is promoted, and one that goes back."""
    with trial.load("a canary", "1", "3"):
        trial.run("canary", "3", *AT_ONCE, says="canary 10 % after .*: pass.*canary 100 % after .*: pass.*after the switch")
    with trial.load("a canary that fails", "3", "hidden2", errors=["hidden2"]):
        trial.run("canary", "hidden2", *AT_ONCE, ends=2, says="canary 10 %: .* answered with an error.*3 goes on serving")
    report = trial.report()
    errors, all_requests = report["gates"][-1]["canary"]["errors"], report["gates"][-1]["baseline"]["requests"]
    require(report["operation"] == "canary" and report["result"] == "failed", f"the report says {report['operation']} {report['result']}")
    require(errors < all_requests / 2, f"too much went to the canary: {report['gates'][-1]}")


def killed_runs(trial: Trial) -> None:
    """SIGKILL of the controller between the switch and the record, and before the switch; the next run undoes it, without being told."""
    with trial.load("a deployment that is killed in its gate", "3", "4"):
        trial.kill("deploy", "4", "Gate | Let requests come", *AT_ONCE)
        trial.run("rollback", "", says="was cut off.*the hosts have recorded.*had not proven its release, and 3 serves as before")
    with trial.load("a deployment that is killed in its soak", "3", "5"):
        trial.kill("deploy", "4", "Soak | Ask both releases", *AT_ONCE)
        trial.run("deploy", "5", *AT_ONCE, says=r"was cut off.*no request is concerned.*from slot (blue|green) \(3\)")


def contraction(trial: Trial) -> None:
    """Without a way back from the moment it begins."""
    with trial.load("a contraction that is killed, and a second one", "5"):
        trial.kill("contract", "", "Attempt | Migrate", "-e", "app_release_contract=5")
        trial.run("rollback", "", "-e", "app_release=3", ends=2, says="release 3 is older than the last contraction")
        trial.run("deploy", "3", *AT_ONCE, ends=2, says="release 3 is older than the last contraction.*app_release_restored=true")
        trial.run("contract", "", "-e", "app_release_contract=5")
    trial.run("rollback", "", ends=2, says="no release was live before 5")


def more_bad_releases(trial: Trial) -> None:
    """Those that never get a request."""
    trial.run("deploy", "1", *RESTORED)
    for release, words in {
        "crash": r"could not start trial@\w+.service", "unready": "answered 503", "errors": "answered 500",
        "slow": "was no good beside the release .* p95 is [1-9]",
    }.items():
        with trial.load(f"a release with {release}", "1"):
            trial.run("deploy", release, *RESTORED, "-e", "app_host_soak_seconds=4", ends=2,
                      says=f"{words}.*1 goes on serving in slot \\w+, and no request went to {release}")


def unseen_canary(trial: Trial) -> None:
    """One that never gets a request is never promoted."""
    trial.run("deploy", "3", *RESTORED)
    trial.run("canary", "4", *RESTORED, ends=2, says="canary 10 % stayed inconclusive for .* 0 requests were answered.*3 goes on serving")


def more_killed_runs(trial: Trial) -> None:
    """SIGKILL of the controller in one phase after the other."""
    trial.run("deploy", "3", *RESTORED)
    for playbook, task, answering, words in [
        ("deploy", "Plan | Preflight", ["3"], "was cut off"),
        ("canary", "Canary | Note where", ["3", "4"], "was cut off.*lb1 sends a share of the requests elsewhere"),
        ("deploy", "Gate | Let requests come", ["3", "4"], r"was cut off.*send requests to (blue|green) \(lb1\), and the hosts have recorded"),
    ]:
        with trial.load(f"a {playbook} that is killed at {task!r}", *answering):
            trial.kill(playbook, "4", task, *RESTORED)
            trial.run("rollback", "", "-e", "app_release=3", says=words)
    with trial.load("a deploy that is killed at its record", "3", "4", "5"):
        trial.kill("deploy", "4", "Record | Remove old releases", *RESTORED)
        trial.run("deploy", "5", *RESTORED, says=r"was cut off.*from slot (blue|green) \(4\)")


STEPS = (good_releases, bad_releases, canaries, killed_runs, contraction)
"""What is tried in this order; each step goes on from where the one before ended."""

MORE_STEPS = (more_bad_releases, unseen_canary, more_killed_runs)
"""What is tried only when it is asked for: the drills of releases have it as well."""


def main() -> int:
    """Run the trial; 0 if everything was as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("inventory", "address", "authority"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--only", choices=[step.__name__ for step in STEPS + MORE_STEPS], help="one step, which goes on from where the one before ended")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainstay-trial-") as name:
        folder = pathlib.Path(name)
        build(folder)
        trial = Trial(arguments, folder)
        try:
            for step in STEPS + MORE_STEPS:
                if arguments.only == step.__name__ or not arguments.only and step in STEPS:
                    step(trial)
        except Failed as exc:
            print(exc, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
