# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens while users ask, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import typing as t

from drills.deploy import hold
from drills.deploy.lab import Ended, LabPlace
from drills.deploy.release import GOOD
from drills.failure import DrillFailed

QUIET_SECONDS = 30
HOLD_SECONDS = 20
"""How long the connections are held once all of them are there."""

IDLE_CONNECTIONS = 10_000
SLOW_CONNECTIONS = {"headers": 1_000, "body": 200}

OPEN_SECONDS = 300
"""How long it may take until as many connections are held; they are opened at a rate."""

PHASE_SECONDS = 2.0
"""At most so long after the beginning of a phase the controller is killed: none is shorter."""

CUT_OFF_SECONDS = 3
"""How long the site is left to itself after the controller was killed."""

FULL_DISK = """mkdir -p /run/drill{folder}
mount -t tmpfs -o size=4m,mode=755 drill /run/drill{folder}
{fill}
dd if=/dev/zero of=/run/drill{folder}/drill-fill bs=4k 2>/dev/null || true
mount --bind /run/drill{folder} {folder}
{then}
"""
"""Let a folder lie on a disk that is full: at every moment there is one with all its files."""

ROOMY_DISK = """if mountpoint -q {folder}; then
    umount --lazy {folder}
    {then}
fi
if mountpoint -q /run/drill{folder}; then
    umount --lazy /run/drill{folder}
fi
"""

FULL_FOLDERS = {
    "/etc/nginx": {"fill": "cp -a /etc/nginx/. /run/drill/etc/nginx/", "then": "true"},
    "/var/log/nginx": {"fill": "install -o www-data -g adm -m 0640 /dev/null /run/drill/var/log/nginx/access.log", "then": "nginx -s reopen"},
}
"""What lies on the full disk, what of it has to be there, and what has to be done for it to be used."""

SOUND = """nginx -t -q
test "$(cat /run/nginx.pid)" = "$(cat /run/drill-nginx.pid)"
"""
"""Whether the files on the disk are good for the next start, and the server is the one of before."""


@dataclasses.dataclass(frozen=True)
class Deed:
    """What was done.

    Attributes:
        seconds: how long it took.
        problems: sentences about what did not go as it must.
        release: the release that was brought, empty if none was.
        begun: when it was begun, as Unix time.
    """

    seconds: float
    begun: float
    problems: tuple[str, ...] = ()
    release: str = ""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Something that happens under load.

    Attributes:
        key: its name on the command line.
        name: its name in the table.
        act: does it, and ends when it is over.
        prepare: what has to be done before the load begins.
        changes: whether another release serves afterwards.
        factor: how many times as long as in quiet time the 99th percentile may be, None if there is no limit.
        errors: whose errors are permitted: nobody's, those that the bad release answers with itself (``own``).
        back_within: seconds after its first answer in which the bad release may answer, None if it may never answer.
    """

    key: str
    name: str
    act: t.Callable[[LabPlace, random.Random], Deed]
    prepare: t.Callable[[LabPlace], None] = lambda place: None
    changes: bool = False
    factor: float | None = None
    errors: str = "none"
    back_within: float | None = None


def other_good(place: LabPlace) -> str:
    """Return the good release that does not serve."""
    return GOOD[1] if place.serving() == GOOD[0] else GOOD[0]


def ensure(place: LabPlace) -> None:
    """Put another good release into service, so that there is one to go back to.

    Raises:
        DrillFailed: it could not be done.
    """
    ended = place.deploy(other_good(place))
    if ended.status != 0:
        raise DrillFailed(f"a good release could not be deployed; the output is {ended.log}")


def serves(place: LabPlace, release: str) -> list[str]:
    """Return in a sentence if another release serves than should."""
    try:
        found = place.serving()
    except DrillFailed as error:
        return [str(error)]
    return [] if found == release else [f"{found} serves and not {release}"]


def nothing(_place: LabPlace, _choose: random.Random) -> Deed:
    """Let users ask."""
    begun = time.time()
    time.sleep(QUIET_SECONDS)
    return Deed(QUIET_SECONDS, begun)


def deploy_good(playbook: str, place: LabPlace, _choose: random.Random) -> Deed:
    """Put the other good release into service."""
    release, begun = other_good(place), time.time()
    ended = place.deploy(release, playbook)
    return Deed(ended.seconds, begun, (*ended.must_be(True), *serves(place, release)), release)


def deploy_again(place: LabPlace, _choose: random.Random) -> Deed:
    """Deploy what serves already: the work of a controller and of the hosts, without a change."""
    release, begun = place.serving(), time.time()
    ended = place.deploy(release)
    return Deed(ended.seconds, begun, (*ended.must_be(True), *serves(place, release)))


def deploy_bad(playbook: str, release: str, place: LabPlace, _choose: random.Random) -> Deed:
    """Try to put a bad release into service."""
    before, begun = place.serving(), time.time()
    ended = place.deploy(release, playbook)
    return Deed(ended.seconds, begun, (*ended.must_be(False), *serves(place, before)), release)


def go_back(place: LabPlace, _choose: random.Random) -> Deed:
    """Roll back to the release before."""
    release, begun = other_good(place), time.time()
    ended = place.rollback()
    return Deed(ended.seconds, begun, (*ended.must_be(True), *serves(place, release)), release)


def kill_controller(playbook: str, mark: str, place: LabPlace, choose: random.Random) -> Deed:
    """SIGKILL a deployment in a phase, leave the site to itself for a while, and run the same again."""
    release, begun, started = other_good(place), time.time(), time.monotonic()
    run = place.start_deploy(release, playbook)
    run.wait_for(mark)
    time.sleep(choose.uniform(0, PHASE_SECONDS))
    if not run.kill():
        raise DrillFailed(f"the run had ended when it was to be killed at {mark}")
    time.sleep(CUT_OFF_SECONDS)
    again = place.deploy(release, playbook)
    return Deed(round(time.monotonic() - started, 1), begun, (*again.must_be(True), *serves(place, release)), release)


@contextlib.contextmanager
def holding(place: LabPlace, kind: str, count: int) -> t.Iterator[t.Callable[[], dict[str, int]]]:
    """Hold connections of a kind while the block runs, which gets what tells their counts.

    Raises:
        DrillFailed: so many could not be opened.
    """
    argv = [sys.executable, hold.__file__, kind, "--address", place.site.address, "--port", str(place.site.port), "--name", place.site.name]
    with tempfile.NamedTemporaryFile("r", prefix="mainstay-drill-", encoding="utf-8") as said:

        def counts() -> dict[str, int]:
            lines = pathlib.Path(said.name).read_text(encoding="utf-8").rsplit("\n", 2)
            return json.loads(lines[-2]) if len(lines) > 1 else {"held": 0, "opened": 0, "closed": 0, "failed": 0}

        with pathlib.Path(said.name).open("w", encoding="utf-8") as stream:
            process = subprocess.Popen([*argv, "--count", str(count)], stdout=stream, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + OPEN_SECONDS
            # Some are closed by the server, and opened again, all the time.
            while counts()["held"] < count * 0.95:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DrillFailed(f"{count} connections ({kind}) could not be held: {counts()}")
                time.sleep(0.5)
            yield counts
        finally:
            process.terminate()
            process.wait(timeout=60)


def hold_connections(kinds: t.Mapping[str, int], place: LabPlace, _choose: random.Random) -> Deed:
    """Hold many connections that give nothing to do."""
    begun, started = time.time(), time.monotonic()
    with contextlib.ExitStack() as stack:
        tellers = {kind: stack.enter_context(holding(place, kind, count)) for kind, count in kinds.items()}
        time.sleep(HOLD_SECONDS)
        held = {kind: counts()["held"] for kind, counts in tellers.items()}
    # Of those that are idle all have to be there still: nobody closes them so early. Slow ones come and go.
    short = [f"only {held[kind]} of {count} connections ({kind}) were held" for kind, count in kinds.items() if held[kind] < count * 0.9]
    return Deed(round(time.monotonic() - started, 1), begun, tuple(short))


def wrong_certificate(place: LabPlace) -> Ended:
    """Converge the balancer with a certificate and the key of another one."""
    other = pathlib.Path(place.facts["other_key"]).read_text(encoding="utf-8")
    return place.balance(nginx_tls_sites=[{**site, "key": other} for site in place.facts["sites"]])


def wrong_value(place: LabPlace) -> Ended:
    """Converge the balancer with a value that nginx does not take."""
    return place.balance(nginx_tls_keepalive_timeout="soon")


def no_room(place: LabPlace) -> Ended:
    """Converge the balancer with a change while the disk of its files, and of its logs, is full."""
    with contextlib.ExitStack() as stack:
        for folder, what in FULL_FOLDERS.items():
            stack.callback(place.shell, ROOMY_DISK.format(folder=folder, **what))
            place.shell(FULL_DISK.format(folder=folder, **what))
        return place.balance(nginx_tls_gzip_types=["text/css"])


def break_balancer(attempt: t.Callable[[LabPlace], Ended], place: LabPlace, _choose: random.Random) -> Deed:
    """Try to converge the balancer in a way that must fail, look at what is left, and converge it as usual."""
    begun, started = time.time(), time.monotonic()
    place.shell("cp /run/nginx.pid /run/drill-nginx.pid")
    problems = attempt(place).must_be(False)
    try:
        place.shell(SOUND)
    except DrillFailed as error:
        problems.append(f"afterwards the files of nginx are not good for a start, or it is another server: {error}")
    problems += place.balance().must_be(True)
    return Deed(round(time.monotonic() - started, 1), begun, tuple(problems))


PHASES = {
    "preflight": r"^PLAY \[\(\d+/\d+\) PREFLIGHT",
    "fetch": r"^PLAY \[\(\d+/\d+\) FETCH",
    "migrate": r"^PLAY \[\(\d+/\d+\) MIGRATE",
    "start": r"^TASK \[.*: Start \| Start the slot",
    "soak": r"^TASK \[.*: Soak \| Ask",
    "canary": r"^TASK \[.*: Canary \| Judge",
    "switch": r"^TASK \[.*: Switch \| Send",
    "verify": r"^TASK \[.*: Verify \| ",
    "record": r"^PLAY \[\(\d+/\d+\) RECORD",
}
"""What a deployment prints when a phase begins."""

KILLED = {"canary": "canary"}
"""The playbook that is killed in a phase, if it is not ``deploy``."""

SCENARIOS = (
    Scenario("quiet", "nothing", nothing),
    Scenario("again", "`deploy` of the release that serves", deploy_again),
    Scenario("good", "`deploy` of a good release", functools.partial(deploy_good, "deploy"), changes=True, factor=2),
    Scenario("rollback", "`rollback`", go_back, prepare=ensure, changes=True),
    Scenario("crash", "`deploy` of a release that crashes", functools.partial(deploy_bad, "deploy", "bad-crash")),
    Scenario("unready", "... that never gets ready", functools.partial(deploy_bad, "deploy", "bad-unready")),
    Scenario("errors", "... that answers 500", functools.partial(deploy_bad, "deploy", "bad-errors")),
    Scenario("slow", "... that is slow", functools.partial(deploy_bad, "deploy", "bad-slow")),
    Scenario("later", "... that breaks after 20 s", functools.partial(deploy_bad, "deploy", "bad-later")),
    Scenario("hidden", "... whose errors only users can see", functools.partial(deploy_bad, "deploy", "bad-hidden"), errors="own", back_within=30),
    Scenario("canary", "`canary` of a good release", functools.partial(deploy_good, "canary"), changes=True),
    Scenario(
        "canary-hidden",
        "`canary` of a release whose errors only users can see",
        functools.partial(deploy_bad, "canary", "bad-hidden"),
        errors="own",
        back_within=120,
    ),
    *(
        Scenario(
            f"kill-{phase}",
            f"SIGKILL of the controller in the phase {phase}, and the same again",
            functools.partial(kill_controller, KILLED.get(phase, "deploy"), mark),
            changes=True,
        )
        for phase, mark in PHASES.items()
    ),
    Scenario("idle", f"{IDLE_CONNECTIONS:,} idle connections", functools.partial(hold_connections, {"idle": IDLE_CONNECTIONS})),
    Scenario(
        "slowloris",
        f"{SLOW_CONNECTIONS['headers']:,} connections with slow headers, {SLOW_CONNECTIONS['body']} with slow bodies",
        functools.partial(hold_connections, SLOW_CONNECTIONS),
    ),
    Scenario("certificate", "a certificate with another one's key", functools.partial(break_balancer, wrong_certificate)),
    Scenario("template", "a value that nginx does not take", functools.partial(break_balancer, wrong_value)),
    Scenario("disk", "a full disk of the balancer", functools.partial(break_balancer, no_room)),
)
