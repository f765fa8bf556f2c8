# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A timer on the host that takes a change back, unless somebody who came in over a new connection has stopped it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

Run = t.Callable[..., tuple[int, str, str]]


def arm(run: Run, timer: str, seconds: int, argv: t.Sequence[str], doing: str) -> None:
    """Set a timer, in the place of one that is set already.

    Args:
        run: runs a program.
        timer: its name, without a suffix.
        seconds: when it fires.
        argv: the program that it runs then.
        doing: what is about to be done, for the error.

    Raises:
        MainstayError: it could not be set.
    """
    disarm(run, timer)
    code, _output, errors = run(
        ["systemd-run", "--quiet", "--collect", f"--unit={timer}", f"--on-active={seconds}", "--timer-property=AccuracySec=1s", *argv]
    )
    if code != 0:
        raise MainstayError(doing, f"systemd-run: {errors.strip()}", "without a way back nothing was loaded; see whether systemd runs on the host")


def disarm(run: Run, timer: str) -> bool:
    """Stop a timer; whether there was one that had not fired yet."""
    code, _output, _errors = run(["systemctl", "is-active", "--quiet", f"{timer}.timer"])
    run(["systemctl", "stop", f"{timer}.timer"])
    return code == 0


def write(path: str, text: str) -> None:
    """Write a file that only root reads, whole or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(f"{path}.new", path)


def read(path: str) -> str | None:
    """What a file holds, ``None`` if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def remove(*paths: str) -> None:
    """Remove files that may be there."""
    for path in paths:
        try:
            os.remove(path)
        except FileNotFoundError:
            pass
