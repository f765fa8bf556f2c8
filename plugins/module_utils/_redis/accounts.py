# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snapshot lacks and a backup holds beside it: the ACL users, and the configuration to read by hand.

``acl.txt`` has the lines of ``ACL LIST`` (``user NAME RULES``, passwords as SHA-256), ``config.txt`` those of ``CONFIG GET *`` as a configuration file
has them (``NAME "VALUE"``), without whatever can be a password.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import LoginFailed, Refused, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import quoted

ACL_NAME, CONFIG_NAME = "acl.txt", "config.txt"
SECRET_SETTING = re.compile(r"(pass|auth|password|secret|token)$")
"""Settings that are left out: requirepass, masterauth, primaryauth, tls-key-file-pass, tls-client-key-file-pass, and what modules call alike."""

_HASH = re.compile(r"[#!][0-9a-f]{64}")
_LINE = re.compile(r"user (\S+)( \S.*)?")
_SETTING = re.compile(r'\S+ "(?:[^"\\]|\\.)*"')


@dataclasses.dataclass(frozen=True)
class User:
    """An ACL user: the name, and the rules as ``ACL LIST`` gives them. The rules hold hashes of passwords and never show."""

    name: str
    rules: str = dataclasses.field(repr=False)


def read_accounts(server: Server) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Read what a backup holds beside the snapshot.

    Returns:
        The content of each object by its name without endings, and a warning for each that the user may not read.

    Raises:
        MainstayError: the server could not be reached.
    """
    found: dict[str, bytes] = {}
    warnings = []
    for name, what, read in ((ACL_NAME, "the ACL users are", read_acl), (CONFIG_NAME, "the configuration is", _config)):
        try:
            found[name] = read(server)
        except LoginFailed:
            raise
        except Refused as error:
            warnings.append(f"{what} not in the backup: {error.cause}")
    return found, tuple(warnings)


def read_acl(server: Server) -> bytes:
    """Return the lines of ``ACL LIST``.

    Raises:
        Refused: the user may not read them, or the server knows no users (before Redis 6).
    """
    reply = server.command("ACL LIST", doing="read the ACL users")
    return b"".join(line + b"\n" for line in sorted(reply))


def _config(server: Server) -> bytes:
    settings = {name: value for name, value in server.config("*").items() if not SECRET_SETTING.search(name)}
    return "".join(f"{name} {quoted(value)}\n" for name, value in sorted(settings.items())).encode()


def parse_acl(content: bytes) -> tuple[User, ...]:
    """Return the users of ``acl.txt``.

    Raises:
        ValueError: a line is none of ``ACL LIST``.
    """
    users = []
    for line in content.decode(errors="surrogateescape").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {len(users) + 1} is no line of ACL LIST")
        users.append(User(match[1], (match[2] or "").strip()))
    if not users:
        raise ValueError("it names no user")
    return tuple(users)


def parse_config(content: bytes) -> int:
    """Return how many settings ``config.txt`` holds.

    Raises:
        ValueError: a line is no setting.
    """
    lines = content.decode(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not _SETTING.fullmatch(line):
            raise ValueError(f"line {number} is no setting")
    return len(lines)


def plan_users(saved: t.Sequence[User], present: t.Sequence[User], own: str) -> tuple[User, ...]:
    """Return the users that a restore has to set: those that are missing or have other rules.

    ``default`` and the user that we are logged in as are never among them: a restore must not lock out whoever runs it.

    Args:
        saved: of the backup.
        present: of the server.
        own: name of the user that we are logged in as.
    """
    return tuple(user for user in saved if user.name not in ("default", own) and user not in present)


def set_users(server: Server, users: t.Sequence[User]) -> str:
    """Set users, each exactly as it was saved, and save them where the server has a file for them.

    Returns:
        A warning; empty if there is none.

    Raises:
        MainstayError: the server refuses one of them.
    """
    for user in users:
        set_user(server, user.name, user)
    if not users:
        return ""
    try:
        if server.config("aclfile").get("aclfile"):
            server.command("ACL SAVE", doing="save the ACL users")
            return ""
    except Refused as error:
        return f"the ACL users were set but not saved in the server's files: {error.cause}"
    return "the ACL users last until the server restarts, as it has no aclfile; CONFIG REWRITE writes them into its configuration"


def set_user(server: Server, name: str, user: User) -> None:
    """Set one user under a name.

    Raises:
        Refused: the server does not take the rules; the error names none of the hashes.
    """
    doing = f"set the ACL user {name}"
    try:
        server.command("ACL SETUSER", name, "reset", *user.rules.split(), doing=doing)
    except Refused as error:
        raise Refused(doing, _HASH.sub("(a password)", error.cause), error.next_step) from None


def own_name(server: Server) -> str:
    """Return the name of the user that we are logged in as."""
    return server.login.user or "default"


def require_users(content: bytes | None, doing: str) -> tuple[User, ...]:
    """Return the users that a backup holds.

    Raises:
        InvalidInput: it holds none.
        MainstayError: they cannot be read.
    """
    if content is None:
        raise InvalidInput(doing, "the backup holds no ACL users", "set restore_users=false")
    try:
        return parse_acl(content)
    except ValueError as error:
        raise MainstayError(doing, f"{ACL_NAME}: {error}") from error
