# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes that are joined, whose last words are kept, and that never outlive the module."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import types
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

STOP_SECONDS = 5.0
TAIL_LINES = 20
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that tell a program to end."""
KILLS = (*ENDING, signal.SIGKILL)
"""Signals that come from outside, such as from a kernel that lacks memory; by any other one a program ends itself."""

_live: set[Process] = set()


class Interrupted(BaseException):
    """The module was told to stop by a signal: who waits and tries again must not go on, so it is no error that somebody on the way may take for another.

    :func:`interruptible` turns it into the ``error`` that it holds.
    """

    def __init__(self, error: MainstayError) -> None:
        """Take what is to be said in the end."""
        super().__init__(str(error))
        self.error = error


class ProgramKilled(MainstayError):
    """A program was ended by a signal from outside, which says nothing of the data that it had."""

    def __init__(self, doing: str, cause: object) -> None:
        """Build the error; see :class:`MainstayError`."""
        super().__init__(doing, cause, "see whether the host lacks memory, and try again")


@dataclasses.dataclass(frozen=True)
class Command:
    """A program to run: never through a shell.

    Args:
        argv: the program and its arguments; never a secret, since every user of the host can read it.
        env: variables added to the module's own environment (``LC_ALL`` is always ``C``).
        user: name of the operating-system user to run as; empty keeps the current one.
        cwd: folder to run in; empty keeps the current one.
        pass_fds: file descriptors that the program inherits under the same numbers.
    """

    argv: tuple[str, ...]
    env: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    user: str = ""
    cwd: str = ""
    pass_fds: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The program's name without its folder."""
        return os.path.basename(self.argv[0])


class Process:
    """A running :class:`Command`, with the tail of what it wrote to standard error."""

    def __init__(self, command: Command, stdin: int | None = None, stdout: int | None = None, tail_lines: int = TAIL_LINES) -> None:
        """Start the program; an absent ``stdin`` or ``stdout`` is ``/dev/null``. So many of its last lines on standard error are kept.

        Raises:
            MainstayError: the program could not be started.
        """
        self.label = command.label
        self.stopped = False
        self._tail: collections.deque[str] = collections.deque(maxlen=tail_lines)
        try:
            # run_command comes back at the program's end only, with all that it wrote in memory.
            self._popen = subprocess.Popen(  # noqa: S603 # pylint: disable=ansible-bad-function
                list(command.argv),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.DEVNULL if stdout is None else stdout,
                stderr=subprocess.PIPE,
                env={**os.environ, **command.env, "LC_ALL": "C"},
                cwd=command.cwd or None,
                pass_fds=command.pass_fds,
                process_group=0,
                **_identity(command.user),
            )
        except OSError as error:
            raise MainstayError(f"start {command.argv[0]}", error.strerror or error, f"install {self.label} or check the user it runs as") from error
        _live.add(self)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        for line in self._popen.stderr or ():
            self._tail.append(line.decode(errors="replace").rstrip()[:500])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._popen.poll() is None

    def join(self) -> int:
        """Wait for the end; return the exit status, negative for a signal."""
        status = self._popen.wait()
        self._reader.join(STOP_SECONDS)
        _live.discard(self)
        return status

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the program and its children, if it still runs; its failure is then no cause of anything."""
        if self.running:
            self.stopped = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, grace: float = 0.0) -> int:
        """End the program (SIGTERM after ``grace`` seconds, SIGKILL 5 seconds later) and join it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        self.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        if self.running:
            self.signal(signal.SIGKILL)
        return self.join()

    @property
    def tail(self) -> str:
        """The last lines of standard error."""
        return "\n".join(line for line in self._tail if line and not line.startswith("age: report unexpected"))

    @property
    def failure(self) -> str:
        """Why the joined program failed, in words; empty if it ended with status 0."""
        status = self._popen.returncode
        if not status:
            return ""
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self.label} {how}" + (f": {self.tail}" if self.tail else "")

    @property
    def killed(self) -> bool:
        """Whether the joined program was ended by a signal that was not ours. PostgreSQL's programs handle SIGTERM themselves and then say so."""
        status = self._popen.returncode
        return not self.stopped and (-status in KILLS or bool(status and "terminated by user" in self.tail))

    @property
    def suffered(self) -> bool:
        """Whether the joined program failed only because the one after it in the pipe had gone, or because it was told to stop."""
        status = self._popen.returncode
        by_signal = status in (-signal.SIGPIPE, 128 + signal.SIGPIPE)
        return self.stopped or by_signal or bool(status and "roken pipe" in self.tail)


def _identity(user: str) -> dict[str, t.Any]:
    """Popen's arguments for running as another user, with that user's own groups only."""
    if not user:
        return {}
    import grp
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise MainstayError(f"run a program as {user}", "there is no such user on this host") from error
    groups = sorted({entry.pw_gid} | {group.gr_gid for group in grp.getgrall() if user in group.gr_mem})
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def run(command: Command, doing: str, next_step: str = "", stdin: int | None = None) -> str:
    """Run a program to its end and return its standard output; an absent ``stdin`` is ``/dev/null``.

    Raises:
        ProgramKilled: it was killed by somebody else.
        MainstayError: it did not end with status 0; the cause holds the tail of its standard error.
    """
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as output:
        try:
            process = Process(command, stdin=stdin, stdout=write_fd)
        finally:
            os.close(write_fd)
        try:
            text = output.read().decode(errors="replace")
        except BaseException:
            process.stop()
            raise
        if process.join():
            raise ProgramKilled(doing, process.failure) if process.killed else MainstayError(doing, process.failure, next_step)
    return text


def capture(argv: t.Sequence[str], timeout: float | None = None, env: t.Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its status and all that it wrote.

    Args:
        argv: the program and its arguments.
        timeout: seconds after which it is killed; None waits for as long as it takes. This is what run_command lacks.
        env: its whole environment; None gives it the module's own.

    Raises:
        OSError: it could not be started.
        subprocess.TimeoutExpired: it took too long.
    """
    return subprocess.run(  # noqa: S603 # pylint: disable=ansible-bad-function
        argv, capture_output=True, text=True, errors="replace", timeout=timeout, env=env, check=False, stdin=subprocess.DEVNULL
    )


def end_all() -> None:
    """Tell every child process to end; whoever waits for one sees its end, which counts as no cause of anything."""
    for process in list(_live):
        process.signal()


@contextlib.contextmanager
def interruptible(doing: str) -> t.Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP end every child process, then raise :class:`Interrupted` in the main thread.

    The children go first: whoever waits for their output then sees its end instead of waiting on.

    Raises:
        MainstayError: such a signal came.
    """

    def stop(number: int, frame: types.FrameType | None) -> None:
        end_all()
        raise Interrupted(MainstayError(doing, f"the module received {signal.Signals(number).name}"))

    before = {number: signal.signal(number, stop) for number in ENDING}
    try:
        yield
    except Interrupted as interrupted:
        raise interrupted.error from interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> t.Iterator[None]:
    """Put off signals that end the process while it would leave things half done. After an error they are forgotten: the process ends by that.

    Threads other than the main one are not interrupted anyway.
    """
    received: list[int] = []

    def put_off(number: int, frame: types.FrameType | None) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, put_off) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in received[:1]:
        signal.raise_signal(number)
