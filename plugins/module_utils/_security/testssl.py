# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""testssl.sh: how it is called, and what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.host import NotKnown, Run

FULL = ("--protocols", "--std", "--fs", "--server-defaults", "--server-preference", "--headers", "--vulnerable")
"""What testssl must run to give a grade. Left out are the simulated clients and the test of each cipher by itself, which take the most time."""
QUICK = ("--protocols", "--std")
SECONDS = 600
"""A site takes half a minute to two minutes; whoever takes longer answers no more."""
_TIMED_OUT = 124
_KEYS = ("id", "severity", "finding", "cve")
_FINDING = 300
"""So many characters of a finding are kept; longer ones are certificates."""


def argv(program: str, target: str, address: str, ca_cert: str, full: bool, json_file: str) -> list[str]:
    """Return the command; ``target`` is ``name:port``, and ``address`` is where that is; a name is none."""
    authority = ["--add-ca", ca_cert] if full and ca_cert else []
    common = [program, "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--connect-timeout", "10", "--openssl-timeout", "10"]
    # The system's own: testssl prefers one that it brings, and takes no name without a path.
    openssl = shutil.which("openssl") or "/usr/bin/openssl"
    return [*common, "--openssl", openssl, *authority, *(FULL if full else QUICK), "--ip", address, "--jsonfile", json_file, target]


def run_testssl(run: Run, program: str, target: str, address: str, ca_cert: str, full: bool) -> dict[str, t.Any]:
    """Return ``grade`` and ``tests`` of an endpoint.

    Raises:
        NotKnown: testssl did not come to its end, or wrote nothing that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="mainstay-testssl-") as folder:
        path = os.path.join(folder, "found.json")
        status, out, err = run(["timeout", "--foreground", str(SECONDS), *argv(program, target, address, ca_cert, full, path)])
        if status == _TIMED_OUT:
            raise NotKnown(f"testssl did not come to its end within {SECONDS} s")
        try:
            with open(path, encoding="utf-8") as file:
                written = json.load(file)
        except (OSError, ValueError) as exc:
            told = (err.strip() or out.strip()).splitlines()
            raise NotKnown(f"testssl ended with status {status}: {told[-1] if told else exc}") from exc
    fatal = [str(entry.get("finding")) for entry in written if entry.get("severity") == "FATAL"]
    if fatal:
        raise NotKnown(f"testssl says: {fatal[0]}")
    return parse(written)


def parse(written: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return the grade (empty if there is none) and the tests."""
    tests = [{key: str(entry.get(key, ""))[:_FINDING] for key in _KEYS} for entry in written if entry.get("id")]
    grade = next((test["finding"] for test in tests if test["id"] == "overall_grade"), "")
    return {"grade": grade, "tests": tests}
