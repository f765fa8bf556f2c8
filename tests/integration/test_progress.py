# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of long-running modules, through ansible-playbook and with a real Redis: what is shown, what comes back, what is left when it is interrupted."""

from __future__ import annotations

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import typing as t

import pytest
import redis

from conftest import Runner, free_port

SECRET = "Sentinel" + secrets.token_hex(8)
pytestmark = pytest.mark.long
DATA_BYTES = 12 << 20
VARYING = {"id", "started", "finished", "seconds", "phases", "before", "after", "recoverable_from", "recoverable_to", "host", "objects", "bytes_stored"} | {
    *("location", "used_memory", "replication_id", "replication_offset"),
}
SLOW_ZSTD = """#!{python}
import os, subprocess, sys, time
if "--version" in sys.argv:
    os.execv("{zstd}", sys.argv)
with subprocess.Popen(["{zstd}", *sys.argv[1:]], stdin=subprocess.PIPE) as real:
    while block := sys.stdin.buffer.read(1 << 18):
        real.stdin.write(block)
        time.sleep(0.1)
    real.stdin.close()
sys.exit(real.returncode)
"""


class Bench:
    """A Redis server with data that does not compress, a store, and a temporary folder of Ansible's that is looked at."""

    def __init__(self, folder: pathlib.Path, run_module: Runner) -> None:
        """Start the server."""
        self.run, self.folder = run_module, folder
        self.port, self.store, self.temporary = free_port(), folder / "store", folder / "remote"
        self.temporary.mkdir(mode=0o700)
        slow = folder / "slow"
        slow.mkdir()
        zstd, server = shutil.which("zstd"), shutil.which("redis-server")
        assert zstd and server, "install the packages zstd and redis-server"
        (slow / "zstd").write_text(SLOW_ZSTD.format(python=sys.executable, zstd=zstd))
        (slow / "zstd").chmod(0o755)
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--repl-diskless-sync-delay", "0"]
        secret = ("-", f"requirepass {SECRET}\n")
        self.server = subprocess.Popen([server, *secret[:1], *settings], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self.server.stdin
        self.server.stdin.write(secret[1])
        self.server.stdin.close()
        client = redis.Redis(port=self.port, password=SECRET)
        deadline = time.monotonic() + 60
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.1)
        for number in range(DATA_BYTES >> 20):
            client.set(f"key{number}", secrets.token_bytes(1 << 20))

    def stop(self) -> None:
        """End the server."""
        self.server.terminate()
        self.server.wait(20)

    def task(self, **options: t.Any) -> dict[str, t.Any]:
        """Return a task that takes a snapshot."""
        keywords = {name: options.pop(name) for name in ("no_log", "become", "timeout", "async", "poll", "check_mode") if name in options}
        given = {"name": "cache", "login_host": "127.0.0.1", "login_port": self.port, "login_password": SECRET, "tls": False, "max_age": "0"}
        where = {"store": {"type": "local", "path": str(self.store)}, "encryption": {"type": "none"}}
        return {"mainstay.ops.redis_snapshot": {**given, **where, **options}, **keywords}

    def environment(self, interval: str = "0.2", slow: bool = True) -> dict[str, str]:
        """Return the environment of a run whose compression takes about five seconds."""
        given = {"ANSIBLE_REMOTE_TEMP": str(self.temporary), "MAINSTAY_PROGRESS_INTERVAL": interval, "ANSIBLE_LOCALHOST_WARNING": "false"}
        return {**given, **({"PATH_FIRST": str(self.folder / "slow")} if slow else {})}

    def start(self, task: dict[str, t.Any], *arguments: str) -> subprocess.Popen[str]:
        """Start ansible-playbook as a terminal would."""
        command = self.run.command([task], *arguments)
        # ansible-core leaves it to the system when a pipe gets what was displayed.
        environment = {**self.run.environment(**self.environment()), "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True, process_group=0)

    def objects(self) -> list[str]:
        """Return the files of the store."""
        return [str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file()]

    def working(self) -> list[str]:
        """Return the command lines of processes that work for a job of ours."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (path / "environ").read_bytes(), (path / "cmdline").read_bytes()
            except OSError:
                continue
            if f"ANSIBLE_REMOTE_TEMP={self.temporary}".encode() in environment and b"ansible-playbook" not in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def assert_nothing_left(self) -> None:
        """No process and no file of a job."""
        deadline = time.monotonic() + 60
        while (found := [*self.working(), *(str(path) for path in self.temporary.glob("ansible-mainstay-*"))]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, run_module: Runner) -> t.Iterator[Bench]:
    """One server for all tests."""
    bench = Bench(tmp_path_factory.mktemp("progress"), run_module)
    try:
        yield bench
    finally:
        bench.stop()


@pytest.fixture(autouse=True)
def clean(bench: Bench) -> t.Iterator[None]:
    """Each test begins with an empty store and leaves nothing."""
    shutil.rmtree(bench.store, ignore_errors=True)
    yield
    bench.assert_nothing_left()


def shape(value: t.Any) -> t.Any:
    """Return a result without what differs from run to run."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items() if key not in VARYING}
    return [shape(each) for each in value] if isinstance(value, list) else value


def amounts(output: str) -> list[float]:
    """Return the MiB that lines of the streaming phase tell, in order."""
    return [float(found) for found in re.findall(r"\] stream the snapshot: ([0-9.]+) MiB of about", output)]


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read a run's output until the words appear."""
    seen = ""
    assert process.stdout
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(seen)


def test_a_slow_backup_shows_growing_numbers_and_the_same_result(bench: Bench) -> None:
    """Amount, total, share, rate, time left while it works; no secret, even at -vvv; the result is the one without the plugin."""
    shown = bench.run.tasks([bench.task()], "-vvv", **bench.environment())
    assert shown.status == 0, shown.output
    assert SECRET not in shown.output
    seen = amounts(shown.output)
    assert len(seen) >= 4 and seen == sorted(seen) and seen[0] < seen[-1], shown.output
    assert re.search(r"\[localhost\] stream the snapshot: [0-9.]+ MiB of about [0-9.]+ MiB \(\d+ %\), [0-9.]+ [KM]iB/s, [0-9.]+ s left", shown.output)
    assert re.search(r"\[localhost\] stream the snapshot: 12.0 MiB in [0-9.]+ s", shown.output)
    shutil.rmtree(bench.store)
    plain = bench.run.tasks([bench.task()], **bench.environment("0", slow=False))
    assert plain.status == 0 and "stream the snapshot" not in plain.output
    assert json.dumps(shape(shown.result), indent=1, sort_keys=True).splitlines() == json.dumps(shape(plain.result), indent=1, sort_keys=True).splitlines()
    assert shown.result["invocation"]["module_args"]["login_password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_both_ways_to_send_a_module(bench: Bench, pipelining: str) -> None:
    """By standard input and as a file; Ansible's own folder is removed as well."""
    done = bench.run.tasks([bench.task()], **bench.environment(), ANSIBLE_PIPELINING=pipelining)
    assert done.status == 0 and done.result["changed"], done.output
    assert len(amounts(done.output)) >= 2, done.output
    assert list(bench.temporary.iterdir()) == []


def test_short_work_shows_nothing(bench: Bench) -> None:
    """What is there already needs no line, and one execution alone."""
    first = bench.run.tasks([bench.task()], **bench.environment(slow=False))
    assert first.result["changed"]
    again = bench.run.tasks([bench.task(max_age="1d")], "-vvv", **bench.environment(slow=False), ANSIBLE_PIPELINING="true")
    assert again.status == 0 and not again.result["changed"]
    assert "[localhost]" not in again.output


def test_a_failure_comes_through(bench: Bench) -> None:
    """With its message; at once, and after a while of work."""
    early = bench.run.tasks([bench.task(login_port=1)], **bench.environment())
    assert early.status == 2 and early.result["failed"] and "could not " in early.result["msg"]
    (bench.folder / "broken").mkdir(exist_ok=True)
    (bench.folder / "broken" / "zstd").write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo v1.5.0 && exit\nsleep 3; echo 'out of order' >&2; exit 4\n")
    (bench.folder / "broken" / "zstd").chmod(0o755)
    late = bench.run.tasks([bench.task()], **{**bench.environment(), "PATH_FIRST": str(bench.folder / "broken")})
    assert late.status == 2, late.output
    assert "zstd ended with status 4: out of order" in late.result["msg"]
    assert "[localhost] stream the snapshot: failed after" in late.output
    assert SECRET not in early.output + late.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_module(bench: Bench, number: signal.Signals) -> None:
    """Ctrl-C, or the end of a job: the module cleans up after itself, nothing goes on, nothing is left."""
    process = bench.start(bench.task())
    wait_for(process, "MiB of about")
    deadline = time.monotonic() + 10
    while not any("zstd" in command for command in bench.working()):
        assert time.monotonic() < deadline and process.poll() is None, bench.working()
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    bench.assert_nothing_left()
    assert not [name for name in bench.objects() if "manifest" in name or "dump" in name]


def test_an_interrupt_before_the_first_look(bench: Bench) -> None:
    """The module has been sent, and has not answered yet."""
    process = bench.start(bench.task(), "-vvv")
    wait_for(process, "EXEC /bin/sh -c")
    time.sleep(0.6)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    bench.assert_nothing_left()


def test_the_keyword_timeout_ends_the_module(bench: Bench) -> None:
    """As it ends the task."""
    done = bench.run.tasks([bench.task(timeout=3)], **bench.environment())
    assert done.status == 2 and "imed out" in json.dumps(done.result) + done.output, done.output
    bench.assert_nothing_left()
    assert not [name for name in bench.objects() if "manifest" in name]


def test_asynchronous_tasks_and_check_mode_are_ansible_s_own(bench: Bench) -> None:
    """``async`` with and without ``poll`` keeps its meaning; a plan is made at once."""
    environment = {**bench.environment(), "ANSIBLE_ASYNC_DIR": str(bench.folder / "async")}
    fired = bench.run.tasks([bench.task(**{"async": 60, "poll": 0})], **environment)
    assert fired.status == 0 and fired.result["ansible_job_id"] and not amounts(fired.output), fired.output
    deadline = time.monotonic() + 60
    while not any("manifest.json" in name for name in bench.objects()):
        assert time.monotonic() < deadline, "the job in the background has taken its backup"
        time.sleep(0.2)
    polled = bench.run.tasks([bench.task(**{"async": 60, "poll": 1})], **environment)
    assert polled.status == 0 and polled.result["finished"] and polled.result["changed"] and not amounts(polled.output)
    planned = bench.run.tasks([bench.task(check_mode=True)], **bench.environment())
    assert planned.result["changed"] and len(planned.result["actions"]) == 2 and not amounts(planned.output)


def test_no_log_shows_phases_and_no_values(bench: Bench) -> None:
    """Names of phases are no secrets; everything else of the task is."""
    done = bench.run.tasks([bench.task(no_log=True)], "-vvv", **bench.environment())
    assert len(amounts(done.output)) >= 2 and SECRET not in done.output
    assert "censored" in done.result and "backup" not in done.result


def test_a_job_log_has_few_lines(bench: Bench) -> None:
    """Without a terminal and without a wish, work of some seconds has its begins and ends."""
    environment = {name: value for name, value in bench.environment().items() if name != "MAINSTAY_PROGRESS_INTERVAL"}
    done = bench.run.tasks([bench.task()], **environment)
    assert 1 <= done.output.count("[localhost] ") <= 5, done.output


def test_the_variable_wins_and_is_checked(bench: Bench) -> None:
    """A variable of the play goes before the environment; nonsense is refused before anything is done."""
    task = {**bench.task(), "vars": {"mainstay_progress_interval": "{{ 0 }}"}}
    silent = bench.run.tasks([task], **bench.environment(slow=False))
    assert silent.status == 0 and "[localhost] " not in silent.output
    wrong = bench.run.tasks([{**bench.task(), "vars": {"mainstay_progress_interval": "often"}}], **bench.environment())
    assert wrong.status == 2 and "mainstay_progress_interval is 'often'" in wrong.result["msg"]
