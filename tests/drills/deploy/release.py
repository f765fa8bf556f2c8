# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of releases of the drills' application."""

from __future__ import annotations

import gzip
import io
import pathlib
import tarfile

SOURCE = pathlib.Path(__file__).resolve().parent / "app/server.py"

GOOD = ("good-a", "good-b")
"""The two good releases, which take turns."""

LATER_SECONDS = 20
"""How long after its start the release ``bad-later`` breaks."""

FAULTS = {
    "bad-crash": "crash",
    "bad-unready": "unready",
    "bad-errors": "errors",
    "bad-hidden": "hidden",
    "bad-slow": "slow 1.5",
    "bad-later": f"later {LATER_SECONDS}",
}
"""The bad releases, and what is wrong with each."""


def build(release: str, folder: pathlib.Path) -> pathlib.Path:
    """Write the archive of a release into a folder, unless it is there, and return its path: the same release is the same bytes."""
    path = folder / f"drill-{release}.tar.gz"
    if path.exists():
        return path
    files = {"server.py": SOURCE.read_bytes(), "RELEASE": f"{release}\n".encode(), "FAULT": f"{FAULTS.get(release, '')}\n".encode()}
    folder.mkdir(parents=True, exist_ok=True)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(raw.getvalue(), mtime=0))
    return path
