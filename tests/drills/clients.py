# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of a drill: a program that writes while something happens, and afterwards judges its log."""

from __future__ import annotations

import contextlib
import gzip
import json
import pathlib
import random
import shutil
import signal
import subprocess
import time
import typing as t

from drills.failure import DrillFailed

LEAD_SECONDS = 2.0
"""How long the clients write before anything can happen."""

PHASE_SECONDS = 5.0
"""At most so many seconds later it happens: daemons look at each other once in a few seconds, and a gap depends on when."""

WELL_SECONDS = 240
"""How long a cluster may take to be well again: a host has to boot, and its daemons have to find each other."""


def moment(choose: random.Random) -> float:
    """Return after how many seconds of writing it happens."""
    return LEAD_SECONDS + choose.uniform(0, PHASE_SECONDS)


@contextlib.contextmanager
def writing(argv: t.Sequence[str], environment: t.Mapping[str, str], log: pathlib.Path) -> t.Iterator[None]:
    """Let the clients write while the block runs.

    Raises:
        DrillFailed: they did not begin, or did not end well.
    """
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
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


def judged(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return what the judge finds."""
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        raise DrillFailed(f"the writes could not be judged: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def pack(log: pathlib.Path) -> None:
    """Compress a log."""
    with log.open("rb") as plain, gzip.open(f"{log}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    log.unlink()
