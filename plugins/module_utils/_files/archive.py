# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream between a tree and the pipeline: GNU tar reads and writes files, and every byte of a stream is hashed as it passes.

Why GNU tar. It is on every host, it keeps what there is to keep (owners by name and number, modes, ACLs, extended attributes such as capabilities, hard
links, holes, times in nanoseconds), it is one program in the pipe like ``pg_dump``, and what it wrote opens by hand: ``age -d | zstd -d | tar -x``. Restic
and borg find changes as well and store them better, but only in repositories of their own, with a key that the host must hold; neither can be a part of this
catalogue, of its retention, of its verifications. Python's ``tarfile`` writes neither holes nor ACLs; here it only reads the stream, for the hashes.

What of GNU tar is not used. ``--listed-incremental`` decides by times and device numbers (a restart that renumbers devices makes everything new), takes
the whole content of a folder that was renamed, keeps no hash, and, restoring, deletes what the archive's own lists do not name. What changed is therefore
decided by :mod:`.index`, and tar is given the names. Its exit status cannot be relied on either: it is 1 for a file that changed while it was read, whatever
became of it, and 2 for one that vanished. So every file is looked at again after it was read, and the status only says whether anything else went wrong.

Archives hold files by their whole paths without the leading slash. Those of files hold files and hard links only, the one of folders and links nothing else:
an archive is extracted where there is no link, so that it cannot lead out of the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import tarfile
import threading
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import BLOCK, wide_pipe
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files.scan import xattrs_digest
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process, ProgramKilled

STDERR_LINES = 100_000
"""All that tar says is read: it says a line or two for each file that changes or vanishes."""
KEEPING = ("--acls", "--xattrs", "--xattrs-include=*")
EXPECTED = re.compile(
    r": (?:file changed as we read it|File removed before we read it|Cannot (?:stat|open): No such file or directory"
    r"|File shrank by \d+ bytes?; padding with zeros|Exiting with failure status due to previous errors)$"
)
"""What tar says of files that change or vanish, which is found out otherwise (messages of tar 1.34 and 1.35, ``src/create.c``)."""
_XATTR = "SCHILY.xattr."


class BadArchive(MainstayError):
    """A stream that is no whole archive, or holds what an archive of ours cannot."""


@dataclasses.dataclass(frozen=True)
class Member:
    """What a stream holds of one file, folder or link; see :class:`.index.Entry` for the fields."""

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime: int
    size: int
    sha256: str
    target: str
    xattrs: str


def names_file(names: t.Iterable[str]) -> int:
    """Return the descriptor of an anonymous file with the paths that tar is to take; whoever gets it closes it."""
    descriptor = os.memfd_create("names", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as target:
        for name in names:
            target.write(os.fsencode(name.lstrip("/")) + b"\0")
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def create_command(names: int) -> Command:
    """Return the program that writes an archive of some paths, each by itself, to standard output.

    Args:
        names: a descriptor as of :func:`names_file`.
    """
    options = ("--format=posix", "--pax-option=delete=atime,delete=ctime", "--sparse", *KEEPING)
    selection = ("--directory=/", "--no-recursion", "--null", "--verbatim-files-from", f"--files-from=/proc/self/fd/{names}")
    return Command(("tar", "--create", *options, *selection, "--file=-"), pass_fds=(names,))


def extract_command(folder: str, as_root: bool, numeric: bool, names: int | None = None) -> Command:
    """Return the program that extracts an archive from standard input into a folder.

    Args:
        folder: where it goes.
        as_root: whether owners are restored.
        numeric: whether the numbers of owners count rather than their names.
        names: a descriptor as of :func:`names_file` with what is wanted; None for everything.
    """
    owners = ("--same-owner", *(["--numeric-owner"] if numeric else [])) if as_root else ("--no-same-owner",)
    selection = () if names is None else ("--null", "--verbatim-files-from", "--no-wildcards", f"--files-from=/proc/self/fd/{names}")
    argv = ("tar", "--extract", "--preserve-permissions", *owners, *KEEPING, "--delay-directory-restore", f"--directory={folder}", *selection, "--file=-")
    return Command(argv, pass_fds=() if names is None else (names,))


class TreeStream:
    """An archive of some paths as a source of the pipeline, which is read on the way: afterwards :attr:`members` says what it held.

    A context; tar runs from its begin.
    """

    def __init__(self, names: t.Sequence[str]) -> None:
        """Take the paths of files, or of folders and links."""
        self.members: dict[str, Member] = {}
        self._names = names
        self._process: Process | None = None
        self._parsed: threading.Thread | None = None
        self._problem: BaseException | None = None
        self._output = self._feed = -1

    def __enter__(self) -> TreeStream:
        names = names_file(self._names)
        try:
            self._output, write_fd = wide_pipe()
            try:
                self._process = Process(create_command(names), stdout=write_fd, tail_lines=STDERR_LINES)
            finally:
                os.close(write_fd)
        finally:
            os.close(names)
        parser_fd, self._feed = wide_pipe()
        self._parsed = threading.Thread(target=self._parse, args=(parser_fd,), daemon=True)
        self._parsed.start()
        return self

    def _parse(self, descriptor: int) -> None:
        try:
            with open(descriptor, "rb", buffering=BLOCK) as stream:
                for member in read_members(stream, "read what tar writes"):
                    self.members[member.path] = member
        except Exception as error:  # handed on to whoever reads the stream
            self._problem = error

    def read(self, size: int, /) -> bytes:
        """Return the next bytes.

        Raises:
            MainstayError: tar failed for another reason than files that changed or vanished.
        """
        block = os.read(self._output, size)
        view = memoryview(block)
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[os.write(self._feed, view) :]
        if not block:
            self._finish()
        return block

    def _finish(self) -> None:
        if self._process is None or self._parsed is None:
            raise RuntimeError("the end of an archive that was not begun")
        self._close_feed()
        self._parsed.join()
        status = self._process.join()
        if self._process.killed:
            raise ProgramKilled("read the files", self._process.failure)
        said = [line for line in self._process.tail.splitlines() if not EXPECTED.search(line)]
        if status not in (0, 1, 2) or (status and said):
            raise MainstayError("read the files", "; ".join(said[:20]) or self._process.failure, "see whether the disk is in order")
        if self._problem is not None:
            raise self._problem

    def _close_feed(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1

    def __exit__(self, *unused: object) -> None:
        self._close_feed()
        if self._process is not None:
            self._process.stop()
        if self._parsed is not None:
            self._parsed.join()
        os.close(self._output)


def read_members(stream: t.BinaryIO, doing: str) -> t.Iterator[Member]:
    """Yield what an archive holds, reading it once from its beginning to its end.

    Raises:
        BadArchive: it is no whole archive, or holds something else than files, folders and links.
    """
    digests: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, encoding="utf-8", errors="surrogateescape") as archive:
            for item in archive:
                member = _member(archive, item, digests, doing)
                if member.type == "file":
                    digests[member.path] = member
                yield member
                t.cast(t.Any, archive).members = []  # tarfile keeps all that it has seen
            while stream.read(BLOCK):
                pass  # the padding after the end, so that whoever writes does not fail
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadArchive(doing, f"it is no whole archive ({error})", "use another backup") from error


def _member(archive: tarfile.TarFile, item: tarfile.TarInfo, files: t.Mapping[str, Member], doing: str) -> Member:
    path = f"/{item.name}"
    if item.isfile():
        size, sha256, target = item.size, _digest(archive, item), ""
    elif item.islnk() and (linked := files.get(f"/{item.linkname}")) is not None:
        return dataclasses.replace(linked, path=path, target=linked.path)
    elif item.isdir() or item.issym():
        size, sha256, target = 0, "", item.linkname if item.issym() else ""
    else:
        raise BadArchive(doing, f"it holds {path!r} of the type {item.type!r}", "use another backup")
    return Member(
        path=path,
        type="file" if item.isfile() else "folder" if item.isdir() else "link",
        mode=item.mode & 0o7777,
        uid=item.uid,
        gid=item.gid,
        user=item.uname,
        group=item.gname,
        mtime=_nanoseconds(item),
        size=size,
        sha256=sha256,
        target=target,
        xattrs=xattrs_digest(_xattrs(item)),
    )


def _digest(archive: tarfile.TarFile, item: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    content = archive.extractfile(item)
    count = 0
    while content is not None and (block := content.read(BLOCK)):
        digest.update(block)
        count += len(block)
    if count != item.size:
        raise tarfile.ReadError(f"{item.name} has {count} bytes of {item.size}")
    return digest.hexdigest()


def _nanoseconds(item: tarfile.TarInfo) -> int:
    """Return the time of the content; where it is no whole second, the extended header has it as text."""
    text = item.pax_headers.get("mtime")
    if text is None:
        return int(item.mtime) * 1_000_000_000
    whole, _unused, fraction = text.partition(".")
    parts = int(fraction[:9].ljust(9, "0")) if fraction else 0
    return int(whole) * 1_000_000_000 + (-parts if whole.startswith("-") else parts)


def _xattrs(item: tarfile.TarInfo) -> dict[str, bytes]:
    """Return the extended attributes that the extended header holds; in their names tar writes ``=`` and ``%`` by their numbers."""
    return {
        name.removeprefix(_XATTR).replace("%3D", "=").replace("%25", "%"): value.encode("utf-8", "surrogateescape")
        for name, value in item.pax_headers.items()
        if name.startswith(_XATTR)
    }
