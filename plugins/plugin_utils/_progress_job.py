# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of a job that is followed: this file is sent to the host, and uses the standard library alone.

:func:`start` runs in the place of a module. A module that ends soon leaves nothing behind: its output and status are simply passed on. One that goes on
is left to a supervisor, and a line beginning with :data:`MARK` says where its folder is. :func:`follow` then returns what the module has reported since,
and in the end its output and status; :func:`end` stops it if it still runs and removes the folder. If nobody follows any more for ``lease`` seconds, the
supervisor does the same.

The folder (mode 0700) holds ``job.py`` (this file), ``job.json`` (whom to signal), ``progress``, ``lease`` (touched by whoever follows), ``stdout``,
``stderr`` and ``status``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import typing as t

MARK = "MAINSTAY-JOB "
FILE_VARIABLE = "MAINSTAY_PROGRESS_FILE"
POLL_SECONDS = 0.1
PROGRESS_BYTES = 128 * 1024
"""At most so much is read of the reports at once; what lies before is stale."""


def start(options: dict[str, t.Any], module: bytes, source: str) -> int:
    """Run a module for a while, and leave it to its supervisor if it does not end.

    Args:
        options: ``name`` of the folder, ``temporary`` (where it goes if that can be written to), and in seconds ``patience`` (how long to wait for the end of
            a module that has something to show), ``silence`` (the same of one that has not), ``lease`` and ``grace``.
        module: the module as Ansible would give it to the interpreter.
        source: the text of this file.

    Returns:
        The exit status.
    """
    import select

    folder = _make_folder(options)
    for name, text in (("job.py", source), ("progress", ""), ("lease", ""), ("stdout", ""), ("stderr", "")):
        with open(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    ended, notify = os.pipe()
    supervisor = os.fork()
    if not supervisor:
        try:
            os.close(ended)
            _supervise(folder, options, module, notify)
        finally:
            os._exit(0)
    os.close(notify)
    began = time.monotonic()
    while not (over := select.select([ended], [], [], POLL_SECONDS)[0]):
        waited = time.monotonic() - began
        # Whoever follows needs job.json, which on a busy host is later than the module's first report.
        if (waited >= options["silence"] or (waited >= options["patience"] and os.path.getsize(f"{folder}/progress"))) and os.path.exists(f"{folder}/job.json"):
            break
    if not over:
        try:
            say({"folder": folder, "python": sys.executable})
        except OSError:  # nobody is there to follow it
            end(folder)
            return 1
        return 0
    status = _status(folder)
    for name, target in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        target.buffer.write(_read(f"{folder}/{name}"))
        target.flush()
    end(folder)
    return 1 if status is None else status


def _make_folder(options: dict[str, t.Any]) -> str:
    """Make the job's private folder in the remote temporary folder, or else in ``/tmp``."""
    base = os.path.expanduser(options["temporary"])
    if not (os.path.isdir(base) and os.access(base, os.W_OK)):
        base = "/tmp"
    os.mkdir(f"{base}/{options['name']}", 0o700)
    return f"{base}/{options['name']}"


def _supervise(folder: str, options: dict[str, t.Any], module: bytes, notify: int) -> None:
    """Run the module in a session of its own; keep its output until somebody has read it, or nobody wants it any more."""
    import shutil
    import signal
    import subprocess

    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    feed = os.memfd_create("module")
    with os.fdopen(feed, "wb", closefd=False) as stream:
        stream.write(module)
    os.lseek(feed, 0, os.SEEK_SET)
    environment = {**os.environ, FILE_VARIABLE: f"{folder}/progress"}
    with open(f"{folder}/stdout", "wb") as output, open(f"{folder}/stderr", "wb") as errors:
        process = subprocess.Popen([sys.executable], stdin=feed, stdout=output, stderr=errors, env=environment, start_new_session=True)
    os.close(feed)
    waited = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    known = {"supervisor": os.getpid(), "module": process.pid, "grace": options["grace"]}
    _write(f"{folder}/job.json", json.dumps({**known, "supervisor_start": _start_of(os.getpid()), "module_start": _start_of(process.pid)}))
    lease, renewed = -1.0, time.monotonic()
    while True:
        if notify >= 0 and process.poll() is not None:
            code = process.returncode
            _write(f"{folder}/status", str(code if code >= 0 else 128 - code))
            os.close(notify)
            notify = -1
        got = signal.sigtimedwait(waited, min(5.0, options["lease"] / 4))
        if got is not None and got.si_signo != signal.SIGCHLD:
            break
        touched = os.stat(f"{folder}/lease").st_mtime
        if touched != lease:
            lease, renewed = touched, time.monotonic()
        if time.monotonic() - renewed > options["lease"]:
            break
    if process.poll() is None:
        _stop_session(process.pid, lambda: process.poll() is None, options["grace"])
    shutil.rmtree(folder, ignore_errors=True)


def _stop_session(leader: int, running: t.Callable[[], bool], grace: float) -> None:
    """End a session: SIGTERM to the leader's process group, which may then clean up, and SIGKILL to all that is left."""
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while running() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if (fields := _stat(pid)) and int(fields[3]) == leader:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on (proc(5) counts it as field 3); empty if there is no such process, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def _start_of(pid: int) -> str:
    """Return when a process started, in clock ticks, which tells it from a later one with its number."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def _alive(job: dict[str, t.Any], who: str) -> bool:
    return bool(job[f"{who}_start"]) and _start_of(job[who]) == job[f"{who}_start"]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    """Write a file that is seen whole or not at all."""
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def _status(folder: str) -> int | None:
    """Return the module's exit status as a shell gives it, or ``None``."""
    try:
        return int(_read(f"{folder}/status"))
    except OSError:
        return None


def say(answer: dict[str, t.Any]) -> None:
    """Write one line for the controller."""
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()


def follow(folder: str, offset: int, seconds: float) -> None:
    """Wait for the module's end for some seconds, and say what has happened.

    The answer has ``progress`` (lines), ``offset`` (where to go on), and ``state``: ``running``, ``ended``, or ``lost`` if its supervisor is gone; with the
    last two, ``status``, ``stdout`` and ``stderr`` (base64) as well.
    """
    os.utime(f"{folder}/lease")
    job = json.loads(_read(f"{folder}/job.json"))
    deadline = time.monotonic() + seconds
    while (status := _status(folder)) is None and _alive(job, "supervisor") and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    state = "ended" if status is not None else "running" if _alive(job, "supervisor") else "lost"
    with open(f"{folder}/progress", "rb") as file:
        size = file.seek(0, os.SEEK_END)
        offset = 0 if offset > size else max(offset, size - PROGRESS_BYTES)
        file.seek(offset)
        lines = file.read()
    lines = lines[: lines.rfind(b"\n") + 1]
    answer = {"state": state, "progress": lines.decode(errors="replace"), "offset": offset + len(lines)}
    if state != "running":
        import base64

        answer.update(status=137 if status is None else status)
        answer.update({name: base64.b64encode(_read(f"{folder}/{name}")).decode() for name in ("stdout", "stderr")})
    say(answer)


def end(folder: str) -> None:
    """Stop the module if it still runs, and remove the folder."""
    import contextlib
    import shutil
    import signal

    with contextlib.suppress(OSError, ValueError):
        deadline = time.monotonic() + 1.0
        while not os.path.exists(f"{folder}/job.json") and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 10)
        job = json.loads(_read(f"{folder}/job.json"))
        if _alive(job, "supervisor"):
            os.kill(job["supervisor"], signal.SIGTERM)
            deadline = time.monotonic() + job["grace"] + 5.0
            while os.path.exists(folder) and _alive(job, "supervisor") and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS / 10)
        if _alive(job, "module"):
            _stop_session(job["module"], lambda: _alive(job, "module"), 0.0)
    shutil.rmtree(folder, ignore_errors=True)


def main(arguments: t.Sequence[str]) -> None:
    """``job.py follow OFFSET SECONDS`` or ``job.py end``, in its folder."""
    folder = os.path.dirname(os.path.abspath(__file__))
    if arguments[0] == "follow":
        follow(folder, int(arguments[1]), float(arguments[2]))
    else:
        end(folder)


if __name__ == "__main__" and "__file__" in globals() and os.path.basename(__file__) == "job.py":
    main(sys.argv[1:])
