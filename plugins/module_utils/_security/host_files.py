# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search of folders for secrets that everybody on the host can read, for files that everybody can write, and for certificates. Reads only.

Only what others can reach is read: a folder that they cannot enter is passed over whole, so a search as root costs little, and reads no secret that is kept
well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pwd
import re
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.host import NotKnown, Run

READ_BYTES = 262144
"""So much of a file is read: settings are shorter."""
SKIPPED = frozenset({"/etc/ssl/certs", "/etc/alternatives", "/etc/ca-certificates"})
_SKIPPED_NAMES = frozenset({".git", "node_modules", "site-packages", "dist-packages", "__pycache__", ".venv", "venv"})
_SOURCES = frozenset(".py .js .mjs .ts .rb .go .php .java .sh .pl .c .h .rs .lua .html .j2 .sql".split())
_PROSE = frozenset(".md .rst .txt .css .svg .map .po .pot .mo .pyc .so .dist".split())
_ENVIRONMENT = re.compile(r"(^|\.)env$")

_KEY = r"[\w.-]*(?:password|passwd|passphrase|secret|secret_?key|api_?key|access_?key|auth_?token|token|pwd)"
_ASSIGNED = re.compile(rf"(?i)(?<![\w.-]){_KEY}[\"']?\s*(?:=>?|:)\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"'#;,]+)")
_WORD_AFTER = re.compile(r"(?i)^\s*(?:requirepass|masterauth|auth_pass|sentinel\s+auth-pass\s+\S+)\s+(?P<value>\S+)")
_NETRC = re.compile(r"(?i)\bpassword\s+(?P<value>\S+)")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@\"']*:(?P<value>[^\s/@\"']+)@")
_CLOUD = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bglpat-[\w-]{20}\b|\bxox[baprs]-[\w-]{10,}|\bsk_live_[A-Za-z0-9]{20,}")
_PRIVATE_KEY = re.compile(r"^-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----|^AGE-SECRET-KEY-1", re.MULTILINE)
_NO_SECRET = re.compile(r"(?i)^$|^(?:yes|no|true|false|on|off|none|null|files|systemd|required|optional|x+|\*+|\.+|\d{1,3})$")
_REFERENCE = re.compile(r"[${}<>()\[\]%]|^[/~@&!*]|^\w+://[^:@]*$|^SCRAM-SHA-256")


@dataclasses.dataclass(frozen=True)
class Search:
    """What to look through: folders, and how many files at most."""

    paths: tuple[str, ...]
    max_files: int = 50000


def find_exposed(run: Run, search: Search) -> list[dict[str, t.Any]]:
    """Return what others can read or write and should not, each with ``path``, ``kind``, ``line``, ``mode``, ``owner``.

    Raises:
        NotKnown: there are more files than ``max_files``.
    """
    found = [entry for path, info in _reachable(search) for entry in _judge(path, info)]
    shipped = _conffiles(run) if found else {}
    return [entry for entry in found if entry["kind"] == "world_writable" or not _as_shipped(entry["path"], shipped)]


def _reachable(search: Search) -> t.Iterator[tuple[str, os.stat_result]]:
    """Yield the files and folders that every user of the host can reach by their names."""
    count = 0
    for top in search.paths:
        if not _open_above(top):
            continue
        for folder, names, files in os.walk(top):
            names[:] = sorted(name for name in names if _enter(f"{folder.rstrip('/')}/{name}", name))
            for name in [*names, *sorted(files)]:
                info = _lstat(f"{folder.rstrip('/')}/{name}")
                if info is None:
                    continue
                count += 1
                if count > search.max_files:
                    raise NotKnown(f"there are more than {search.max_files} files below {', '.join(search.paths)}; name fewer folders")
                yield f"{folder.rstrip('/')}/{name}", info


def _open_above(top: str) -> bool:
    """Tell whether others can enter a folder and all that are above it."""
    parts = os.path.abspath(top).split("/")
    steps = ["/".join(parts[: count + 1]) or "/" for count in range(len(parts))]
    return all(os.path.isdir(step) and os.stat(step).st_mode & stat.S_IXOTH for step in steps)


def _enter(path: str, name: str) -> bool:
    info = _lstat(path)
    return info is not None and stat.S_ISDIR(info.st_mode) and bool(info.st_mode & stat.S_IXOTH) and name not in _SKIPPED_NAMES and path not in SKIPPED


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _judge(path: str, info: os.stat_result) -> t.Iterator[dict[str, t.Any]]:
    def entry(kind: str, line: int = 0) -> dict[str, t.Any]:
        return {"path": path, "kind": kind, "line": line, "mode": f"{stat.S_IMODE(info.st_mode):04o}", "owner": _owner(info.st_uid)}

    folder = stat.S_ISDIR(info.st_mode)
    if (folder or stat.S_ISREG(info.st_mode)) and info.st_mode & stat.S_IWOTH and not (folder and info.st_mode & stat.S_ISVTX):
        yield entry("world_writable")
    if not stat.S_ISREG(info.st_mode) or not info.st_mode & stat.S_IROTH:
        return
    name = os.path.basename(path)
    if path in ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-"):
        yield entry("shadow")
        return
    text = _head(path)
    if _PRIVATE_KEY.search(text):
        yield entry("private_key", text[: _PRIVATE_KEY.search(text).start()].count("\n") + 1)
    if _ENVIRONMENT.search(name):
        yield entry("environment_file")
    for kind, line in secrets_in(text, name):
        yield entry(kind, line)


def secrets_in(text: str, name: str) -> list[tuple[str, int]]:
    """Return the kinds of secrets in a file's text with their lines, one of a kind at most.

    In programs only what stands in quotes counts, for a name after ``password =`` is a variable there. In prose nothing counts but keys of services.
    """
    suffix = os.path.splitext(name)[1].lower()
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > 2000:
            continue
        for kind in _kinds_in(line, suffix, name):
            found.setdefault(kind, number)
    return sorted(found.items(), key=lambda entry: entry[1])


def _kinds_in(line: str, suffix: str, name: str) -> t.Iterator[str]:
    if _CLOUD.search(line):
        yield "cloud_key"
    if suffix in _PROSE or line.lstrip().startswith(("#", ";", "//", "<!--")):
        return
    url = _URL.search(line)
    if url and _is_secret(url["value"]):
        yield "source_password" if suffix in _SOURCES else "url_password"
    assigned = _ASSIGNED.search(line)
    if assigned and suffix in _SOURCES:
        if assigned["value"][0] in "\"'" and re.search(r"\d", assigned["value"]) and len(assigned["value"]) >= 10 and _is_secret(assigned["value"]):
            yield "source_password"
    elif assigned and _is_secret(assigned["value"]):
        yield "password"
    else:
        plain = _WORD_AFTER.search(line) or (_NETRC.search(line) if name in (".netrc", "netrc", "auth.conf") else None)
        if plain and _is_secret(plain["value"]):
            yield "password"


def _is_secret(value: str) -> bool:
    """Tell whether a value can be a secret: not a switch, a placeholder, a path, or a reference to what is kept elsewhere."""
    bare = value.strip("\"'")
    return len(bare) >= 4 and not _NO_SECRET.match(bare) and not _REFERENCE.search(bare) and " " not in bare


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _head(path: str) -> str:
    """Return the beginning of a file as text, empty for one that holds no text."""
    try:
        with open(path, "rb") as file:
            content = file.read(READ_BYTES)
    except OSError:
        return ""
    return "" if b"\0" in content else content.decode("utf-8", errors="replace")


def _conffiles(run: Run) -> dict[str, str]:
    """Return the settings that packages ship, with the MD5 that dpkg keeps of each."""
    _status, out, _err = run(["dpkg-query", "--show", "--showformat=${Conffiles}\\n"])
    return {words[0]: words[1] for words in (line.split() for line in out.splitlines()) if len(words) >= 2}


def _as_shipped(path: str, shipped: t.Mapping[str, str]) -> bool:
    """Tell whether a file is as its package brought it: what everybody can download is no secret."""
    if path not in shipped:
        return False
    try:
        with open(path, "rb") as file:
            return hashlib.md5(file.read(), usedforsecurity=False).hexdigest() == shipped[path]
    except OSError:
        return False
