# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release archives: checked member by member, unpacked as root's files, put in place by one rename."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tarfile
import typing as t
import zlib
from lzma import LZMAError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import STAMP

_CHUNK = 1 << 20


def file_sha256(path: str) -> str:
    """The SHA-256 of a file as hexadecimal digits.

    Raises:
        InvalidInput: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as exc:
        raise InvalidInput(f"read the release archive {path}", exc.strerror or exc, "build it, or correct the path") from exc
    return digest.hexdigest()


def member_path(member: tarfile.TarInfo, links: t.Collection[str]) -> str:
    """The path of a member below the release's folder, empty for the folder itself.

    Python's own ``filter="data"`` came with 3.11.4, after Debian 12's Python.

    Args:
        links: paths of the members that are symbolic links.

    Raises:
        MainstayError: the member would land outside the folder, or is no file, folder or symbolic link.
    """
    path = posixpath.normpath(member.name)
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise _refused(member, "its path leads out of the archive")
    if not (member.isfile() or member.isdir() or member.issym()):
        raise _refused(member, "it is no file, folder or symbolic link")
    if any("/".join(parts[:depth]) in links for depth in range(1, len(parts))):
        raise _refused(member, "it lies behind a symbolic link")
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
        if member.linkname.startswith("/") or target.split("/")[0] == "..":
            raise _refused(member, f"it links to {member.linkname}, which is outside of the archive")
    if path == STAMP:
        raise _refused(member, "the name is reserved")
    return "" if path == "." else path


def _refused(member: tarfile.TarInfo, cause: str) -> MainstayError:
    return MainstayError(f"unpack {member.name!r}", cause, "correct the archive")


def unpack(archive: str, folder: str) -> None:
    """Unpack a tar archive into a new folder; on failure nothing of it is left.

    Files become root's, with mode 0644 or, if they are executable, 0755; folders 0755.

    Raises:
        MainstayError: it is no archive, has a member that is refused, or does not fit.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
        with tarfile.open(archive, "r:*") as tar:
            members = tar.getmembers()
            links = {posixpath.normpath(member.name) for member in members if member.issym()}
            for member in members:
                _extract(tar, member, folder, member_path(member, links))
    except BaseException as exc:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(exc, (OSError, tarfile.TarError, EOFError, zlib.error, LZMAError)):
            raise MainstayError(f"unpack {os.path.basename(archive)} into {folder}", exc, "nothing of it was left there") from exc
        raise


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: str, path: str) -> None:
    target = os.path.join(folder, path)
    _make_folder(target if member.isdir() else os.path.dirname(target))
    if member.issym():
        os.symlink(member.linkname, target)
    elif member.isfile():
        with open(target, "xb") as stream:
            shutil.copyfileobj(t.cast("t.IO[bytes]", tar.extractfile(member)), stream, _CHUNK)
        os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)


def _make_folder(path: str) -> None:
    if not os.path.isdir(path):
        _make_folder(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)
