# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staged copy of a tree, and the programs that judge it before anything is swapped in."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, Validator
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

Run = t.Callable[[list[str]], tuple[int, str, str]]
"""Runs an argv and returns its exit status, standard output and standard error."""

STAGE_PREFIX = "mainstay-stage-"
_TAIL_LINES = 20
_SECRET_LENGTH = 6
"""Characters below which a word is too common to be hidden everywhere, and too short to be a password."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a validator: ``passed``, or ``not_installed`` where check mode could not run it."""

    validator: Validator
    result: str


@contextlib.contextmanager
def staged(entries: t.Sequence[Entry], folder: str | None) -> t.Iterator[str]:
    """A private copy of all files, folders and links of the tree under their full paths, removed at the end.

    Args:
        entries: the tree.
        folder: where the copy is made; None for the system's folder for temporary files.
    """
    root = tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=folder)
    try:
        for entry in entries:
            path = root + entry.dest
            if entry.state == "absent":
                continue
            os.makedirs(path if entry.state == "directory" else os.path.dirname(path), exist_ok=True)
            if entry.state == "link":
                os.symlink(entry.target, path)
            elif entry.state == "file":
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                    os.fchmod(stream.fileno(), entry.mode)
                    stream.write(entry.content)
        yield root
    finally:
        shutil.rmtree(root)


def _secrets(entries: t.Sequence[Entry]) -> list[str]:
    """What of sensitive files must not be seen: whole lines, and the words in them but for the first, which names a setting; longest first."""
    lines = [line.strip() for entry in entries if entry.sensitive for line in entry.content.decode("utf-8", "replace").splitlines()]
    words = [word.strip("\"',;") for line in lines for word in re.split(r"[\s=:]+", line)[1:]]
    return sorted((text for text in {*lines, *words} if len(text) >= _SECRET_LENGTH), key=len, reverse=True)


def _tail(output: str, stage: str, entries: t.Sequence[Entry]) -> str:
    """The end of a validator's output, with paths as they will be and without anything from sensitive files."""
    for secret in _secrets(entries):
        output = output.replace(secret, "********")
    return "\n".join(output.replace(stage, "").strip().splitlines()[-_TAIL_LINES:])


def validate(validators: t.Sequence[Validator], entries: t.Sequence[Entry], stage: str, run: Run, check_mode: bool) -> list[Verdict]:
    """Run the validators in order on the staged tree.

    Args:
        validators: those that a change concerns.
        entries: the tree, for what must not appear in messages.
        stage: the folder of the staged copy, put in the place of ``{stage}``.
        run: runs a program.
        check_mode: whether a program that is not installed is only noted.

    Raises:
        MainstayError: one fails or, outside check mode, is not installed.
    """
    verdicts = []
    for validator in validators:
        argv = [word.replace("{stage}", stage) for word in validator.argv]
        program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
        if program is None and check_mode:
            verdicts.append(Verdict(validator, "not_installed"))
            continue
        if program is None:
            cause = f"the program {validator.argv[0]} is not installed"
            raise MainstayError(f"validate with {validator.shown}", cause, "install it before this task", argv=list(validator.argv))
        rc, out, err = run([program, *argv[1:]])
        if rc != 0:
            tail = _tail(err.strip() or out, stage, entries)
            raise MainstayError(
                f"accept the new files: {validator.shown} ended with status {rc}",
                tail or "it printed nothing",
                "nothing on the host was changed",
                argv=list(validator.argv),
                rc=rc,
                stderr=tail,
            )
        verdicts.append(Verdict(validator, "passed"))
    return verdicts
