# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of the drills on real servers and Sentinels: what it counts through a crash and a failover that loses writes, and that its judge sees losses."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
import redis_cluster
from redis_cluster import HOST, MASTER_NAME, Cluster, until

WRITER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/client/redis_writer.py"

APPLICATION_RULES = "~drill:* -@all +@connection +hset +hkeys +unlink +wait +role"
SENTINEL_RULES = "resetkeys resetchannels -@all +@connection +sentinel|masters +sentinel|get-master-addr-by-name"
"""All that the writer needs."""

DOWN_AFTER = 1.0
SETTINGS = {"appendonly": "yes", "min-replicas-to-write": "1", "min-replicas-max-lag": "3"}


@dataclasses.dataclass
class Client:
    """The writer at a cluster, as a user who may do no more than it needs.

    ``said`` is everything that it printed.
    """

    cluster: Cluster
    folder: pathlib.Path
    said: list[str] = dataclasses.field(default_factory=list)

    def command(self, name: str, run: str, *more: object) -> list[str]:
        """Return its command line."""
        argv = [sys.executable, str(WRITER), name, "--master-name", MASTER_NAME, "--user", "app", "--sentinel-user", "app", "--run", run]
        for sentinel in self.cluster.sentinels:
            argv += ["--sentinel", sentinel.address]
        if self.cluster.tls:
            certificate, key = str(self.cluster.folder / "tls.crt"), str(self.cluster.folder / "tls.key")
            argv += ["--ca-file", certificate, "--cert-file", certificate, "--key-file", key]
        return [*argv, "--log", str(self.log(run)), *map(str, more)]

    def log(self, run: str) -> pathlib.Path:
        """Return the path of a run's log."""
        return self.folder / f"{run}.jsonl"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment, with the passwords."""
        return {**os.environ, "REDIS_WRITER_PASSWORD": self.cluster.password, "REDIS_WRITER_SENTINEL_PASSWORD": self.cluster.sentinel_password}

    @contextlib.contextmanager
    def writing(self, run: str, *more: object, by_file: bool = False) -> t.Iterator[dict[str, t.Any]]:
        """Write while the block runs, then stop by a signal or by a file; what the writer printed is in the dictionary afterwards."""
        summary: dict[str, t.Any] = {}
        stop = self.folder / "stop"
        argv = self.command("run", run, *(("--stop-file", stop) if by_file else ()), *more)
        process = subprocess.Popen(argv, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until(lambda: len(self.attempts(run)) > 50, "the first writes")
            shown = pathlib.Path(f"/proc/{process.pid}/cmdline").read_text()
            assert "--master-name" in shown and self.cluster.password not in shown and self.cluster.sentinel_password not in shown
            yield summary
        finally:
            stop.touch() if by_file else process.terminate()
            output, _errors = process.communicate(timeout=60)
            self.said.append(output)
        assert process.returncode == 0, output
        summary.update(json.loads(output))

    def attempts(self, run: str) -> list[dict[str, t.Any]]:
        """Return the log, line by line, read without the writer's help."""
        path = self.log(run)
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def judge(self, run: str, *more: object, expect: int = 0, **environment: str) -> t.Any:
        """Judge a run; return what was printed."""
        given = {**self.environment, **environment}
        done = subprocess.run(self.command("judge", run, *more), env=given, capture_output=True, text=True, timeout=120, check=False)
        self.said += [done.stdout, done.stderr]
        assert done.returncode == expect, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def close(self) -> None:
        """See that no password was printed or logged."""
        seen = "".join([*self.said, *(path.read_text() for path in self.folder.iterdir() if path.is_file())])
        assert self.cluster.password not in seen and self.cluster.sentinel_password not in seen


@pytest.fixture
def start(tmp_path: pathlib.Path) -> collections.abc.Iterator[t.Callable[..., Client]]:
    """Start clusters with a user for the writer."""
    with contextlib.ExitStack() as stack:

        def run(**options: t.Any) -> Client:
            cluster = stack.enter_context(redis_cluster.running(tmp_path / "cluster", down_after=DOWN_AFTER, settings=SETTINGS, **options))
            for daemon, password, rules in [
                *((server, cluster.password, APPLICATION_RULES) for server in cluster.servers),
                *((sentinel, cluster.sentinel_password, SENTINEL_RULES) for sentinel in cluster.sentinels),
            ]:
                cluster.client(daemon).execute_command("ACL", "SETUSER", "app", "on", f">{password}", *rules.split())
            client = Client(cluster, tmp_path / "logs")
            client.folder.mkdir()
            stack.callback(client.close)
            return client

        yield run


def spent(attempts: t.Sequence[dict[str, t.Any]], client: str) -> list[dict[str, t.Any]]:
    """Return the acknowledged attempts of one client."""
    return [attempt for attempt in attempts if attempt["client"] == client and "error" not in attempt]


def test_crash_of_the_master(start: t.Callable[..., Client]) -> None:
    """Over TLS: nothing is lost, the application finds the new master, the sticky client stays where it was, and the judge sees what is missing."""
    client = start(tls=True)
    cluster = client.cluster
    old = cluster.master
    with client.writing("crash", "--rate", 200, "--wait", 400) as summary:
        time.sleep(0.5)
        killed = time.time()
        old.stop()
        new = until(lambda: cluster.named() if cluster.named() is not old else None, "the failover")
        elected = time.time()
        until(lambda: spent(client.attempts("crash"), "application")[-1]["sent"] > killed + DOWN_AFTER, "the application's next write")
        time.sleep(0.3)
    attempts = client.attempts("crash")
    for name in ("application", "sticky"):
        numbers = [attempt["number"] for attempt in attempts if attempt["client"] == name]
        assert numbers == list(range(1, len(numbers) + 1)), "a number was used twice, or left out"
    assert summary["master"] == old.address and summary["run"] == "crash"

    until(lambda: all(cluster.states(sentinel)["port"] == str(new.port) for sentinel in cluster.sentinels), "the Sentinels' agreement")
    judged = client.judge("crash")
    application, sticky = judged["clients"]["application"], judged["clients"]["sticky"]
    assert judged["master"] == new.address and judged["lost_confirmed"] == 0
    for name, found in (("application", application), ("sticky", sticky)):
        done = spent(attempts, name)
        assert found["acknowledged"] == len(done) == summary["clients"][name]["acknowledged"]
        assert found["confirmed"] == sum(attempt["replicas"] > 0 for attempt in done) > 20
        assert found["sent"] == found["acknowledged"] + found["failed"] and found["failed"] == sum(found["failed_by_kind"].values())
        assert found["last_acknowledged"] == done[-1]["ended"]
    assert sticky["last_acknowledged"] < elected and killed + DOWN_AFTER < application["last_acknowledged"]
    assert set(sticky["failed_by_kind"]) <= {"connection"} and application["failed"] >= 1
    moments = [attempt["ended"] for attempt in spent(attempts, "application")]
    gap = max(later - earlier for earlier, later in zip(moments, moments[1:]))
    assert judged["gap_seconds"] == application["longest_gap_seconds"] == pytest.approx(gap, abs=0.001)
    assert DOWN_AFTER * 0.8 < gap < 60 and killed - 1 < application["longest_gap_started"] < elected

    server = cluster.client(new)
    key = "drill:crash:application"
    stored = {int(number) for number in server.hkeys(key)}
    assert {attempt["number"] for attempt in spent(attempts, "application")} - stored == set() and application["stored"] == len(stored)
    gone = sorted(stored)[3:6]
    server.hdel(key, *gone)
    judged = client.judge("crash", "--delete", expect=1)
    lost = [attempt for attempt in spent(attempts, "application") if attempt["number"] in gone]
    assert judged["lost"] == len(lost) == 3 and judged["clients"]["application"]["lost_numbers"] == gone
    assert judged["lost_confirmed"] == sum(attempt["replicas"] > 0 for attempt in lost)
    assert judged["lost_span_seconds"] == pytest.approx(lost[-1]["ended"] - lost[0]["ended"], abs=0.001)
    assert server.exists(key, "drill:crash:sticky") == 0

    assert "AuthenticationError" in client.judge("crash", expect=2, REDIS_WRITER_PASSWORD="wrong")
    client.log("crash").write_text('nothing of the kind\n{"client": "application"}\n')
    assert "line 1 is not an attempt" in client.judge("crash", expect=2)


def quiet_run_loses_nothing(client: Client, folder: pathlib.Path) -> None:
    """See that a run ends by itself and keeps its rate, and that passwords from files go before those of the environment."""
    options: list[object] = ["--prefix", "drill:mine:"]
    for name, password in (("password", client.cluster.password), ("sentinel-password", client.cluster.sentinel_password)):
        path = folder / name
        path.touch(0o600)
        path.write_text(f"{password}\n")
        options += [f"--{name}-file", path]
    wrong = {"REDIS_WRITER_PASSWORD": "wrong", "REDIS_WRITER_SENTINEL_PASSWORD": "wrong"}
    argv = client.command("run", "quiet", "--seconds", 1, "--rate", 100, *options)
    done = subprocess.run(argv, env={**client.environment, **wrong}, capture_output=True, text=True, timeout=120, check=False)
    client.said.append(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr
    judged = client.judge("quiet", *options, **wrong)
    assert (judged["lost"], judged["failed"], judged["confirmed"], judged["lost_span_seconds"]) == (0, 0, 0, 0)
    assert 20 < judged["acknowledged"] <= 2 * 120 and judged["gap_seconds"] < 5
    assert client.cluster.client(client.cluster.master).hlen("drill:mine:quiet:application") == judged["clients"]["application"]["stored"]
    assert "FileExistsError" in subprocess.run(argv, env=client.environment, capture_output=True, text=True, timeout=120, check=False).stderr


def test_failover_by_sentinel_alone_loses_writes(start: t.Callable[..., Client], tmp_path: pathlib.Path) -> None:
    """The master that is replaced goes on acknowledging, and what it acknowledges is gone: the writer is able to see a loss, and sees none before that."""
    client = start()
    cluster = client.cluster
    quiet_run_loses_nothing(client, tmp_path)
    old = cluster.master
    with client.writing("plain", by_file=True) as summary:
        asked = time.time()
        cluster.client(cluster.sentinels[0]).execute_command("SENTINEL", "FAILOVER", MASTER_NAME)
        until(lambda: all(cluster.named(last) is not old for last in (False, True)), "the failover")
        time.sleep(1.5)
    judged = client.judge("plain", expect=1)
    sticky = judged["clients"]["sticky"]
    assert judged["lost"] >= 50 and sticky["lost"] >= 20 and judged["confirmed"] == 0
    assert asked < sticky["lost_first"] <= sticky["lost_last"] <= sticky["last_acknowledged"]
    stored = {int(number) for number in cluster.client(cluster.named()).hkeys("drill:plain:sticky")}
    absent = [attempt["number"] for attempt in spent(client.attempts("plain"), "sticky") if attempt["number"] not in stored]
    assert sticky["lost"] == len(absent) and sticky["lost_numbers"] == absent[:20]
    assert summary["clients"]["sticky"]["acknowledged"] == sticky["acknowledged"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--rate", "0"), "must be above 0"),
        (("--wait", "0"), "must be above 0"),
        (("--password-file", "/nonexistent"), "No such file"),
        ((), "MasterNotFoundError"),
    ],
)
def test_bad_arguments_end_with_one_sentence(argv: tuple[str, ...], message: str, closed_port: int, tmp_path: pathlib.Path) -> None:
    """Nothing is written, and no traceback is shown."""
    common = [sys.executable, str(WRITER), "run", "--sentinel", f"{HOST}:{closed_port}", "--master-name", "m", "--run", "r", "--log", str(tmp_path / "log")]
    done = subprocess.run([*common, *argv], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr and not (tmp_path / "log").exists()
