# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of this collection that a host needs to run its modules, as one file that is the same for the same content."""

from __future__ import annotations

import hashlib
import io
import os
import typing as t
import zipfile

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

FOLDERS = ("plugins", "roles/recovery_drill")
"""The modules, and the role that a host drills with by itself."""
FILES = ("meta/runtime.yml",)
ENDINGS = (".py", ".yml")
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The earliest time that the format knows: when a file was written does not make another bundle."""


def build(root: str) -> bytes:
    """Return the bundle of the collection.

    Args:
        root: folder of the collection, as a checkout or installed.

    Raises:
        MainstayError: a file cannot be read.
    """
    target = io.BytesIO()
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(_names(root)):
                with open(os.path.join(root, name), "rb") as stream:
                    archive.writestr(zipfile.ZipInfo(name, _MOMENT), stream.read(), zipfile.ZIP_DEFLATED)
    except OSError as exc:
        raise MainstayError(f"bundle the collection in {root}", exc) from exc
    return target.getvalue()


def digest(root: str) -> str:
    """Return the SHA-256 of names and contents; it does not depend on how they are compressed.

    Args:
        root: folder of the collection, as a checkout or installed.

    Raises:
        MainstayError: a file cannot be read.
    """
    total = hashlib.sha256()
    try:
        for name in sorted(_names(root)):
            with open(os.path.join(root, name), "rb") as stream:
                content = hashlib.sha256(stream.read()).hexdigest()
            total.update(f"{content}  {name}\n".encode())
    except OSError as exc:
        raise MainstayError(f"read the collection in {root}", exc) from exc
    return total.hexdigest()


def _names(root: str) -> t.Iterator[str]:
    """Paths of the files that belong into the bundle, below the collection's folder."""
    for folder in FOLDERS:
        for path, _unused, files in os.walk(os.path.join(root, folder)):
            if os.path.basename(path) != "__pycache__":
                yield from (os.path.relpath(os.path.join(path, name), root) for name in files if name.endswith(ENDINGS))
    yield from FILES
