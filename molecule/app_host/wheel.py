# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the files of a folder into a wheel: ``python3 wheel.py FOLDER NAME VERSION``; the wheel lies beside the folder."""

from __future__ import annotations

import pathlib
import sys
import zipfile


def main(folder: pathlib.Path, name: str, version: str) -> None:
    """Write the wheel."""
    information = f"{name}-{version}.dist-info"
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
    files[f"{information}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{information}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: trial\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{information}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{information}/RECORD"])
    with zipfile.ZipFile(folder.with_name(f"{name}-{version}-py3-none-any.whl"), "w") as wheel:
        for path, content in files.items():
            wheel.writestr(zipfile.ZipInfo(path), content)


main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3])
