# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: two clients write, something happens to the master at a random moment, and the clients' log is judged by what the final master has."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import typing as t

from fixtures.client import redis_writer
from fixtures.client.redis_writer import Access

from drills.redis.scenarios import Place, Scenario
from drills.redis.topology import DrillFailed, Member, wait_until_well

LEAD_SECONDS = 2.0
"""How long the clients write before anything can happen."""

PHASE_SECONDS = 5.0
"""At most so many seconds later it happens: Sentinels ping once a second and replicas acknowledge once a second, and a gap depends on when."""

WAIT_MS = 500
"""Patience of ``WAIT``."""

WELL_SECONDS = 240
"""How long a cluster may take to be well again: Sentinel asks replicas only every 10 s, and a host has to boot."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run measured.

    Attributes:
        scenario: key of the scenario.
        waited: whether each write was followed by ``WAIT``.
        before: the member that was the master.
        after: the member that is it at the end.
        phase_seconds: how long the clients had written when it happened.
        well_seconds: how long the cluster needed, after the clients had ended, until nothing was wrong.
        judged: what the judge of the clients' log printed.
    """

    scenario: str
    waited: bool
    before: str
    after: str
    phase_seconds: float
    well_seconds: float
    judged: dict[str, t.Any]

    @property
    def gap(self) -> float:
        """Longest interval without an acknowledged write of the application, in seconds."""
        return self.judged["gap_seconds"]

    @property
    def errors(self) -> dict[str, int]:
        """Failed writes of the application by their kind."""
        return self.judged["clients"][redis_writer.APPLICATION]["failed_by_kind"]


def command(name: str, access: Access, run: str, log: pathlib.Path, sentinels: t.Iterable[tuple[str, int]]) -> list[str]:
    """Return the writer's command line, without the passwords."""
    argv = [sys.executable, redis_writer.__file__, name, "--master-name", access.master_name, "--run", run, "--log", str(log), "--timeout", str(access.timeout)]
    for host, port in sentinels:
        argv += ["--sentinel", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    for option, value in (("--user", access.user), ("--sentinel-user", access.sentinel_user), ("--ca-file", access.ca_file)):
        if value:
            argv += [option, value]
    return argv


def environment(access: Access) -> dict[str, str]:
    """Return the writer's environment, with the passwords."""
    passwords = {redis_writer.PASSWORD: access.password, redis_writer.SENTINEL_PASSWORD: access.sentinel_password}
    return {**os.environ, **{name: value for name, value in passwords.items() if value}}


@contextlib.contextmanager
def writing(argv: t.Sequence[str], access: Access, log: pathlib.Path) -> t.Iterator[None]:
    """Let the clients write while the block runs.

    Raises:
        DrillFailed: they did not begin, or did not end well.
    """
    process = subprocess.Popen(argv, env=environment(access), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while not (log.exists() and log.stat().st_size):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DrillFailed("the clients wrote nothing")
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        _output, errors = process.communicate(timeout=60)
    if process.returncode != 0:
        raise DrillFailed(f"the clients ended with status {process.returncode}: {errors.strip()[-500:]}")


def judge(place: Place, run: str, log: pathlib.Path) -> dict[str, t.Any]:
    """Return what the judge finds, and delete the entries."""
    access = place.cluster.application
    argv = [*command("judge", access, run, log, access.sentinels), "--delete"]
    done = subprocess.run(argv, env=environment(access), capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        raise DrillFailed(f"the writes could not be judged: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def sentinels_for(place: Place, scenario: Scenario, master: Member, choose: random.Random) -> list[tuple[str, int]]:
    """Return the Sentinels that the clients ask, in any order."""
    asked = [member for member in place.cluster.members if not (scenario.aside and member == master)]
    return [(member.address, member.sentinel_port) for member in choose.sample(asked, len(asked))]


def measure(place: Place, scenario: Scenario, waited: bool, run: str, folder: pathlib.Path, choose: random.Random) -> Outcome:
    """Run a scenario once.

    Args:
        place: where.
        scenario: what happens.
        waited: whether each write is followed by ``WAIT``.
        run: name of the run, used once only.
        folder: for the clients' log, which is compressed at the end.
        choose: source of the random moment.

    Raises:
        DrillFailed: the cluster is not well before or does not become so afterwards, or something could not be done.
    """
    master = wait_until_well(place.cluster, WELL_SECONDS)
    access, log = place.cluster.application, folder / f"{run}.jsonl"
    argv = command("run", access, run, log, sentinels_for(place, scenario, master, choose))
    phase = LEAD_SECONDS + choose.uniform(0, PHASE_SECONDS)
    with writing([*argv, "--wait", str(WAIT_MS)] if waited else argv, access, log):
        time.sleep(phase)
        scenario.act(place, master)
        time.sleep(scenario.after)
    begun = time.monotonic()
    after = wait_until_well(place.cluster, WELL_SECONDS)
    seconds = time.monotonic() - begun
    judged = judge(place, run, log)
    _pack(log)
    return Outcome(scenario.key, waited, master.name, after.name, round(phase, 3), round(seconds, 1), judged)


def _pack(log: pathlib.Path) -> None:
    with log.open("rb") as plain, gzip.open(f"{log}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    log.unlink()
