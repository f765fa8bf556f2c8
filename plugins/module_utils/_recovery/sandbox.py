# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill: everything is restored into a private folder, the application is started on it, asked whether it works, and all of it is removed."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import shutil
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import BackupNotFound
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.workspace import private_folder
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import server_user
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check, Policy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.runner import run as probe
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import remains
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.subjects import Places, Restored, Subject
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import SOCKET_PATH_LIMIT, free_port

PREFIX = "mainstay-drill-"
LONGEST = f"/{PREFIX}12345678/99-9/mainstay-verify-12345678/.s.PGSQL.5432"
"""What the path of a server's socket has after that of the work folder, at most."""
POLL_SECONDS = 1.0
"""Between two rounds of checks while the application starts."""


@dataclasses.dataclass(frozen=True)
class Application:
    """What is started on the restored data.

    Args:
        argv: the command; it runs in a folder of its own, as the user of the throwaway servers.
        environment: its variables. Both may hold names such as ``{database_host}``.
        seconds: how long it may take until all checks are healthy.
    """

    argv: tuple[str, ...]
    environment: t.Mapping[str, str]
    seconds: float


@dataclasses.dataclass
class Diary:
    """What a drill did and saw, in the form of a record."""

    phases: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    measured: dict[str, float] = dataclasses.field(default_factory=dict)
    evidence: list[dict[str, str]] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    backups: dict[str, str] = dataclasses.field(default_factory=dict)
    places: Places = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> t.Iterator[None]:
        """Note how long something takes, also if it fails."""
        started, clock, outcome = time.time(), time.monotonic(), "failed"
        try:
            yield
            outcome = "ok"
        finally:
            self.phases.append({"name": name, "started": started, "seconds": round(time.monotonic() - clock, 3), "outcome": outcome})

    def saw(self, name: str, held: bool, seen: str) -> None:
        """Note what was checked."""
        self.evidence.append({"name": name, "outcome": "ok" if held else "failed", "seen": seen})


@dataclasses.dataclass(frozen=True)
class Drill:
    """What is rehearsed.

    Args:
        level: ``verify`` or ``restore``.
        subjects: what is restored, in this order.
        application: what is started on it; None for nothing.
        checks: makes the smoke tests, from how the restored things are reached.
        attempts: so many backups of a catalogue are tried, the newest first.
        work_dir: folder with room for all of it.
    """

    level: str
    subjects: tuple[Subject, ...]
    application: Application | None
    checks: t.Callable[[Places], list[Check]]
    attempts: int
    work_dir: str

    def actions(self) -> list[str]:
        """Say what is done, in words and in order."""
        verb = "restore" if self.level == "restore" else "open"
        return [
            *(f"remove {path}, which a drill that was killed has left" for path in remains.left_behind(self.work_dir, PREFIX)),
            *(f"{verb} the newest good backup of {subject.words}" for subject in self.subjects),
            *([f"start {self.application.argv[0]} on what was restored, and test it", "remove everything"] if self.application else []),
        ]


def rehearse(drill: Drill) -> Diary:
    """Do it. That something did not work is in the diary; everything is removed in any case.

    Raises:
        InvalidInput: the drill cannot be right.
        MainstayError: it could not be tried, for want of room, a program or a key.
    """
    diary, began = Diary(), time.monotonic()
    with diary.phase("prepare"):
        for path in remains.left_behind(drill.work_dir, PREFIX):
            remains.end_processes(path)
    with contextlib.ExitStack() as outer:
        folder = outer.enter_context(private_folder(drill.work_dir, PREFIX))
        os.chmod(folder, 0o711)  # servers run as other users, in folders of theirs below it
        outer.callback(remains.end_processes, folder)
        with contextlib.ExitStack() as keep:
            # Each is tried, whatever became of those before it.
            outcomes = [_restore(drill, subject, f"{folder}/{number}", keep, diary) for number, subject in enumerate(drill.subjects)]
            restored = all(outcomes)
            if drill.application and restored:
                _try_application(drill, folder, keep, diary, began)
            elif drill.application:
                diary.saw("application", False, "it was not started, since not everything could be restored")
            removing = time.time(), time.monotonic()
        diary.phases.append({"name": "remove", "started": removing[0], "seconds": round(time.monotonic() - removing[1], 3), "outcome": "ok"})
    left = remains.left_behind(drill.work_dir, PREFIX)
    diary.saw("everything was removed", not left, ", ".join(left) or f"nothing is left in {drill.work_dir}")
    return diary


def _own_folder(path: str) -> str:
    """Make a folder for the user that the throwaway servers run as."""
    os.mkdir(path, 0o711)
    if user := server_user():
        shutil.chown(path, user)
    return path


def _restore(drill: Drill, subject: Subject, path: str, keep: contextlib.ExitStack, diary: Diary) -> bool:
    """Restore a subject from its newest good backup, or from one before where that is at fault; return whether one was found that is sound."""
    verb = "restore" if drill.level == "restore" else "open"
    _judge_newest(subject, diary)
    for attempt in range(1, drill.attempts + 1):
        began = datetime.datetime.now(datetime.timezone.utc)
        name = f"{verb} {subject.words}" + (f", attempt {attempt}" if attempt > 1 else "")
        try:
            with diary.phase(name):
                found = subject.restore(drill.level, _own_folder(f"{path}-{attempt}"), keep)
        except VerificationFailed as error:
            diary.saw(f"{subject.words}: its backup is sound", False, str(error))
        except BackupNotFound as error:
            diary.saw(f"{subject.words}: there is a good backup", False, str(error))
            return False
        else:
            _note(subject, found, began, drill.level, diary)
            return True
    return False


def _judge_newest(subject: Subject, diary: Diary) -> None:
    """Say so if the newest backup was found at fault before: what is drilled is then an older one."""
    if subject.is_physical:
        return
    newest = next((backup for backup in subject.catalogue().look().newest_first() if backup.regular), None)
    if newest is not None and not newest.good:
        failed = next((result.cause for result in reversed(newest.verifications) if result.status != "successful"), "")
        seen = f"the newest backup, {newest.id}, is at fault: {newest.problem or newest.broken or failed}"
        diary.saw(f"{subject.words}: its newest backup is good", False, seen)


def _note(subject: Subject, found: Restored, began: datetime.datetime, level: str, diary: Diary) -> None:
    """Write down what a restore measured. Of several catalogues of a part, times add up, and the oldest data counts."""
    point = max(0.0, round((began - found.recoverable_to).total_seconds(), 3))
    diary.measured[f"{subject.part}_rpo_seconds"] = max(point, diary.measured.get(f"{subject.part}_rpo_seconds", 0.0))
    if level == "restore":
        key = f"{subject.part}_rto_seconds"
        diary.measured[key] = round(found.result.details["rto_seconds"] + diary.measured.get(key, 0.0), 3)
    if point:
        diary.lost.append(f"{subject.words}: what was written after {to_text(found.recoverable_to)}, {point:.0f} s before the drill")
    landed = f", at the moment {found.landed_at}" if found.landed_at else ""
    verb = "restored and checked" if level == "restore" else "opened in full"
    diary.saw(f"{subject.words}: its backup is sound", True, f"backup {found.backup_id} was {verb} in {found.result.seconds:.1f} s{landed}")
    diary.backups[f"{subject.part} {subject.name}"] = found.backup_id
    for name, text in found.places.items():
        diary.places.setdefault(f"{subject.part}_{name}", text)


def fill(text: str, places: Places) -> str:
    """Put in how the restored things are reached; other braces stay as they are."""
    for name, given in places.items():
        text = text.replace("{" + name + "}", given)
    return text


def _try_application(drill: Drill, folder: str, keep: contextlib.ExitStack, diary: Diary, began: float) -> None:
    """Start the application, and wait until all checks are healthy, it ends, or its time is over."""
    application = t.cast(Application, drill.application)
    places = {**diary.places, "port": str(free_port())}
    argv = tuple(fill(word, places) for word in application.argv)
    environment = {name: fill(text, places) for name, text in application.environment.items()}
    checks = drill.checks(places)
    with contextlib.suppress(_Unhealthy), diary.phase("start the application, and test it"):
        process = Process(Command(argv, environment, user=server_user(), cwd=_own_folder(f"{folder}/application")))
        keep.callback(process.stop)
        deadline = time.monotonic() + application.seconds
        while True:
            outcomes, _unused = probe(checks, Policy(deadline=application.seconds))
            healthy = all(outcome.status == "healthy" for outcome in outcomes)
            if healthy or not process.running or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        for outcome in outcomes:
            diary.saw(f"smoke test {outcome.name}", outcome.status == "healthy", outcome.detail or outcome.status)
        if not process.running:
            process.join()
            diary.saw("the application runs", False, process.failure or "it ended by itself")
        if not healthy or not process.running:
            raise _Unhealthy
        diary.measured["application_rto_seconds"] = round(time.monotonic() - began, 3)
        diary.measured["application_rpo_seconds"] = max(seconds for name, seconds in diary.measured.items() if name.endswith("_rpo_seconds"))


class _Unhealthy(Exception):
    """The application does not work; the diary says why."""


def check_drill(drill: Drill) -> None:
    """Find out whether a drill can be right, before anything is done.

    Raises:
        InvalidInput: it cannot.
    """
    if not drill.subjects:
        raise InvalidInput("drill", "parts is empty", "name what is to be restored")
    if drill.attempts < 1:
        raise InvalidInput("drill", f"attempts is {drill.attempts}", "give at least 1")
    if not os.path.isdir(drill.work_dir):
        raise InvalidInput(f"use work_dir {drill.work_dir}", "there is no such folder", "make it, or name another one")
    if len(os.fsencode(drill.work_dir)) + len(LONGEST) > SOCKET_PATH_LIMIT:
        raise InvalidInput(
            f"use work_dir {drill.work_dir}", f"with it the path of a Unix socket is longer than {SOCKET_PATH_LIMIT} bytes", "use a shorter path",
        )
    if drill.application and drill.level != "restore":
        raise InvalidInput("start the application", f"the level {drill.level} restores nothing", "ask for level=restore")
    for subject in drill.subjects:
        try:
            subject.catalogue()
        except MainstayError as error:
            raise InvalidInput(f"drill {subject.words}", error) from error
