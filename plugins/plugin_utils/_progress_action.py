# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every long-running module: it shows how far the module is, and ends it on the host when the user interrupts.

The module is sent with a small launcher around it (``_progress_job.py``) and otherwise executed, and its result read, by Ansible's own code. A module that ends
before it has anything to show costs not one SSH execution more than without; one that goes on is looked at by one execution per look.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import secrets
import shlex
import signal
import threading
import time
import types
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display

from ansible_collections.mainstay.ops.plugins.plugin_utils import _progress_job as job
from ansible_collections.mainstay.ops.plugins.plugin_utils._progress_lines import Lines, parse, poll_seconds

INTERVAL_VARIABLE = "mainstay_progress_interval"
INTERVAL_ENVIRONMENT = "MAINSTAY_PROGRESS_INTERVAL"

PATIENCE_SECONDS = 1.0
"""So long the first execution waits for the end of a module that has begun a phase, before it is looked at from time to time."""

SILENCE_SECONDS = 20.0
"""The same for one that has begun none: it only reads what is there, and that takes one execution on a slow host as well."""

RECONNECT_SECONDS = 240.0
"""So long a lost connection is tried again; then the task ends as unreachable."""

LEASE_SECONDS = 300.0
"""A module that nobody has looked at for so long is ended: the controller is gone. More than RECONNECT_SECONDS."""

GRACE_SECONDS = 20.0
"""Time for a module to clean up after SIGTERM, before SIGKILL; its own programs get up to 5 seconds, one after another."""

IS_TERMINAL = os.isatty(1)
"""Whether a person watches; found out when ansible-core loads the plugin, since its worker processes have no terminal."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

display = Display()


class Interrupted(BaseException):
    """A signal that ends this process; no ``except Exception`` on the way may keep it."""

    def __init__(self, number: int) -> None:
        """Remember the signal's number."""
        super().__init__(number)
        self.number = number


class ProgressAction(NormalAction):
    """Runs the module of the same name, with its result as it is, and shows its progress."""

    _job: _Job | None = None

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task; see ``ActionBase.run``."""
        variables = task_vars or {}
        interval = self._interval(variables)
        if not self._can_follow() or interval == 0:
            return super().run(tmp, task_vars)
        temporary = self.get_shell_option("remote_tmp", default="~/.ansible/tmp")
        self._job = _Job(self._label(variables), temporary, Lines(IS_TERMINAL, interval))
        with _signals_raise():
            try:
                return super().run(tmp, task_vars)
            except AnsibleConnectionFailure:
                raise  # the host cannot be reached: if the module runs there, its supervisor ends it
            except BaseException as error:
                with _signals_wait():
                    self._end_job()
                if isinstance(error, Interrupted):
                    error.__traceback__ = None
                raise
            finally:
                self._job = None

    def _can_follow(self) -> bool:
        """Say whether there is anything to follow, and a way to; the keyword ``async`` has its own."""
        shell = getattr(self._connection, "_shell", None)
        return not (self._task.check_mode or self._task.async_val or getattr(shell, "SHELL_FAMILY", "") != "sh" or self._connection.always_pipeline_modules)

    def _interval(self, variables: dict[str, t.Any]) -> float | None:
        """Return the seconds between two lines that the user wants.

        Raises:
            AnsibleActionFail: it is no such number.
        """
        given = variables.get(INTERVAL_VARIABLE)
        if given is not None:
            given = self._templar.template(given)
        if given is None or given == "":
            given = os.environ.get(INTERVAL_ENVIRONMENT) or None
        try:
            interval = None if given is None else float(given)
            if interval is not None and not 0 <= interval < float("inf"):
                raise ValueError
        except (TypeError, ValueError):
            raise AnsibleActionFail(f"{INTERVAL_VARIABLE} is {given!r}; it must be seconds, or 0 for no lines") from None
        return interval

    def _label(self, variables: dict[str, t.Any]) -> str:
        """Return the host, as callbacks name it."""
        host, delegate = variables.get("inventory_hostname", ""), self._task.delegate_to
        return f"{host} -> {delegate}" if delegate else str(host)

    def _transfer_data(self, remote_path: str, data: t.Any) -> str:
        """Send the module with its launcher, where it goes as a file."""
        if self._job is not None and os.path.basename(remote_path).startswith("AnsiballZ_"):
            data = self._job.launcher(to_bytes(data))
        return super()._transfer_data(remote_path, data)

    def _low_level_execute_command(self, cmd: str, sudoable: bool = True, in_data: t.Any = None, **options: t.Any) -> dict[str, t.Any]:
        """Execute a command; if it is the module, and it goes on, follow it to its end."""
        if self._job is None:
            return super()._low_level_execute_command(cmd, sudoable=sudoable, in_data=in_data, **options)
        if in_data and sudoable:  # finding an interpreter sends data as well, and never with become
            in_data = self._job.launcher(to_bytes(in_data))
        result = super()._low_level_execute_command(cmd, sudoable=sudoable, in_data=in_data, **options)
        if (answer := self._job.answer(result)) is None:
            return result
        running, self._job.folder, self._job.python = self._job, answer["folder"], answer["python"]
        return self._follow(running)

    def _follow(self, running: _Job) -> dict[str, t.Any]:
        """Look at the job until its end; return what the module's execution would have returned.

        Raises:
            AnsibleConnectionFailure: the host could not be reached any more.
        """
        started = heard = time.monotonic()
        while True:
            answer = self._look(running, poll_seconds(time.monotonic() - started))
            now = time.monotonic()
            if isinstance(answer, str):
                if now - heard > RECONNECT_SECONDS:
                    next_step = f"the module ends by itself {LEASE_SECONDS:g} seconds after it was last seen"
                    raise AnsibleConnectionFailure(f"could not follow the module on the host for {now - heard:.0f} seconds: {answer}; {next_step}")
                running.show(f"connection lost, trying again ({now - heard:.0f} s)")
                time.sleep(min(10.0, 1.0 + (now - heard) / 4))
                with contextlib.suppress(AnsibleError, AttributeError, NotImplementedError):
                    self._connection.reset()
                continue
            heard = now
            running.offset = answer["offset"]
            for line in running.lines.see(parse(answer["progress"]), now):
                running.show(line)
            if answer["state"] != "running":
                break
        self._end_job()
        output, errors = (to_text(base64.b64decode(answer[name]), errors="surrogate_then_replace") for name in ("stdout", "stderr"))
        return {"rc": answer["status"], "stdout": output, "stdout_lines": output.splitlines(), "stderr": errors, "stderr_lines": errors.splitlines()}

    def _look(self, running: _Job, seconds: float) -> dict[str, t.Any] | str:
        """Look at the job once, for so many seconds or until its end; return the answer, or why there is none."""
        command = shlex.join([running.python, "-IS", f"{running.folder}/job.py", "follow", str(running.offset), f"{seconds:g}"])
        try:
            result = super()._low_level_execute_command(command)
        except AnsibleConnectionFailure as error:
            return to_text(error)
        answer = running.answer(result)
        return f"status {result['rc']}: {(result['stderr'] or result['stdout']).strip()[-300:]}" if answer is None else answer

    def _end_job(self) -> None:
        """Stop the module if it still runs, and remove the job's files; a host that does not answer does it by itself."""
        running = self._job
        if running is None or not running.sent:
            return
        if running.folder:
            command = shlex.join([running.python, "-IS", f"{running.folder}/job.py", "end"])
        else:  # interrupted before the first answer
            python = (self._used_interpreter or "").lstrip("#!").strip() or "python3"
            places = " ".join(dict.fromkeys((f"{running.temporary}/{running.name}", f"/tmp/{running.name}")))
            command = f'for job in {places}; do if [ -f "$job/job.py" ]; then {python} -IS "$job/job.py" end; fi; done'
        with contextlib.suppress(AnsibleError):
            super()._low_level_execute_command(command)
        self._job = None


class _Job:
    """One execution of a module that is followed."""

    def __init__(self, label: str, temporary: str, lines: Lines) -> None:
        """Take what does not change: the host's name, its temporary folder, who chooses the lines."""
        self.temporary, self.lines = temporary.rstrip("/"), lines
        self.name = f"ansible-mainstay-{secrets.token_hex(16)}"
        self.folder = self.python = ""
        self.offset = 0
        self.sent = False
        self._label = label

    def launcher(self, module: bytes) -> bytes:
        """Return the module with the launcher around it."""
        self.sent = True
        source = pathlib.Path(job.__file__).read_text(encoding="utf-8")
        seconds = {"patience": PATIENCE_SECONDS, "silence": SILENCE_SECONDS, "lease": LEASE_SECONDS, "grace": GRACE_SECONDS}
        options = {"name": self.name, "temporary": self.temporary, **seconds}
        return to_bytes(f"{source}\n\nsys.exit(start({options!r}, {module!r}, {source!r}))\n")

    def answer(self, result: dict[str, t.Any]) -> dict[str, t.Any] | None:
        """Return what the host's side of the job says, if it says anything."""
        for line in result["stdout"].splitlines():
            if line.startswith(job.MARK):
                with contextlib.suppress(ValueError):
                    return json.loads(line.removeprefix(job.MARK))
        return None

    def show(self, line: str) -> None:
        """Show a line; beside a callback that writes JSON, on standard error."""
        machine = str(C.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in ("json", "jsonl")
        display.display(f"[{self._label}] {line}", color=C.COLOR_VERBOSE, stderr=machine)


@contextlib.contextmanager
def _signals_raise() -> t.Iterator[None]:
    """Turn the signals that end this process into :class:`Interrupted`; on the way out, hand that to whoever handled them before."""

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        for each in ENDING:  # ansible-core sends SIGTERM right after the user's SIGINT; the host has to be told in spite of it
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    except Interrupted as error:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.kill(os.getpid(), error.number)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_wait() -> t.Iterator[None]:
    """Ignore the signals that end this process: it is ending, and has to tell the host first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
