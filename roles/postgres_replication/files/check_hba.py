# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says whether PostgreSQL takes a ``pg_hba.conf``, before it is put into its place.

A running server refuses a bad one at a reload and goes on with the old one, and does not start the next time. Only a server can read the file as a server does,
so an empty one is made in a folder of its own, without a port, started with the file, and removed again.

Ends with 0 if the file is taken, or if there is no server to ask yet; with 1 and what the server says otherwise. Runs as root or as any other user.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t

START_SECONDS = 120


def server_user() -> str | None:
    """Return whom the server runs as: it refuses root."""
    return "postgres" if os.geteuid() == 0 else None


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the server's user."""
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    return subprocess.run(argv, user=server_user(), env=environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def complaints(log: str) -> list[str]:
    """Return what a server's log says against the file."""
    found = []
    for said, context in itertools.pairwise(log.splitlines()):
        place, cause = re.search(r"CONTEXT:\s+(line \d+) of configuration file", context), said.partition("LOG:")[2].strip()
        if place and cause:
            found.append(f"{place[1]}: {cause}")
    return found


def check(bin_dir: str, hba: pathlib.Path, folder: pathlib.Path) -> str:
    """Return what is wrong with the file; empty if nothing is."""
    data, copy, log = folder / "data", folder / "pg_hba.conf", folder / "log"
    made = run(f"{bin_dir}/initdb", f"--pgdata={data}", "--no-sync", "--auth=reject", "--no-locale")
    if made.returncode:
        return f"could not make a server to try it with: {made.stderr.strip()}"
    copy.write_bytes(hba.read_bytes())
    if user := server_user():
        shutil.chown(copy, user)
    options = f"-c hba_file={copy} -c listen_addresses= -c unix_socket_directories={folder} -c shared_buffers=1MB -c fsync=off"
    started = run(f"{bin_dir}/pg_ctl", f"--pgdata={data}", f"--log={log}", f"--options={options}", "--wait", f"--timeout={START_SECONDS}", "start")
    run(f"{bin_dir}/pg_ctl", f"--pgdata={data}", "--mode=immediate", "stop")
    if started.returncode == 0:
        return ""
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else started.stderr
    return "; ".join(complaints(said)) or said.strip()


def main(argv: t.Sequence[str]) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description="Says whether PostgreSQL takes a pg_hba.conf.")
    parser.add_argument("--bin-dir", required=True, help="folder of PostgreSQL's programs")
    parser.add_argument("hba", type=pathlib.Path, help="the file")
    given = parser.parse_args(argv)
    if not os.path.exists(f"{given.bin_dir}/initdb"):
        return 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="check-hba-"))
    try:
        if user := server_user():
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        if wrong := check(given.bin_dir, given.hba, folder):
            print(wrong, file=sys.stderr)
            return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
