# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People's accounts: who there is, in which groups, and by which SSH keys they come in."""

from __future__ import annotations

import grp
import os
import pwd
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host.sudo import Sudo, read_files, refuse_loss

# Debian's adduser gives people numbers from here on (FIRST_UID in adduser.conf), up to that of nobody.
FIRST_UID, NOBODY = 1000, 65534
NO_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")

Run = t.Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class User:
    """An account as it should be; ``None`` leaves a property alone. ``keys`` are all keys that may log in."""

    name: str
    present: bool
    groups: tuple[str, ...] | None
    keys: tuple[str, ...] | None
    shell: str | None
    comment: str | None


@dataclass(frozen=True)
class Account:
    """An account as it is; ``primary`` is the name of the group of its own."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    comment: str
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    primary: str = ""


@dataclass(frozen=True)
class Step:
    """What is done: a command to run, or the keys to write."""

    text: str
    argv: tuple[str, ...] = ()
    keys_of: User | None = None


def users_spec() -> dict[str, t.Any]:
    """The options that are about users."""
    return {"users": {"type": "list", "elements": "dict", "default": [], "options": _user_options()}, "sudo": {"type": "dict"}}


def _user_options() -> dict[str, t.Any]:
    """The argument spec of one user."""
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "groups": {"type": "list", "elements": "str"},
        "keys": {"type": "list", "elements": "str", "no_log": False},
        "shell": {"type": "path"},
        "comment": {"type": "str"},
    }


def parse(given: t.Sequence[t.Mapping[str, t.Any]]) -> list[User]:
    """The users of a module's parameter.

    Raises:
        InvalidInput: a name or a key cannot be one, or a user is there twice.
    """
    users = []
    for entry in given:
        name = entry["name"]
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
            raise InvalidInput(f"have the user {name!r}", "that is no name of a user", "use small letters, digits, hyphens and underscores")
        if name in [user.name for user in users]:
            raise InvalidInput(f"have the user {name}", "it is listed twice", "list it once")
        keys = None if entry.get("keys") is None else tuple(check_key(name, key) for key in entry["keys"])
        groups = None if entry.get("groups") is None else tuple(sorted(set(entry["groups"])))
        users.append(User(name, entry.get("state", "present") != "absent", groups, keys, entry.get("shell"), entry.get("comment")))
    return users


def check_key(name: str, key: str) -> str:
    """A line of authorized_keys.

    Raises:
        InvalidInput: it does not look like a public key.
    """
    line = key.strip()
    if "PRIVATE KEY" in line or "\n" in line or not re.search(r"(^|\s)(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+\s+AAAA[A-Za-z0-9+/]+=*(\s|$)", line):
        raise InvalidInput(f"give the user {name} its keys", "one of them is no public key of SSH", "take the line from a file that ends with .pub")
    return line


def material(key: str) -> str:
    """The key itself, without options and comment."""
    match = re.search(r"AAAA[A-Za-z0-9+/]+=*", key)
    return match[0] if match else key


def login_user() -> str:
    """Who came in to run this, before becoming root."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def groups_of(name: str) -> tuple[str, ...]:
    """The groups that a user is in, besides the one of its own."""
    return tuple(sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem))


def read(name: str) -> Account | None:
    """The account of a user, if there is one."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    comment = entry.pw_gecos.split(",", maxsplit=1)[0]
    primary = next((group.gr_name for group in grp.getgrall() if group.gr_gid == entry.pw_gid), "")
    return Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, comment, groups_of(name), read_keys(entry.pw_dir), primary)


def read_keys(home: str) -> tuple[str, ...]:
    """The keys in a home; links are not followed."""
    try:
        handle = os.open(f"{home}/.ssh/authorized_keys", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ()
    with open(handle, encoding="utf-8", errors="surrogateescape") as stream:
        return tuple(line.strip() for line in stream if line.strip() and not line.startswith("#"))


def plan(
    users: t.Sequence[User], accounts: t.Mapping[str, Account | None], existing_groups: t.Collection[str], login: str, sudo: Sudo | None = None
) -> list[Step]:
    """What it takes.

    Args:
        users: as they should be.
        accounts: as they are, by name, with that of ``login``.
        existing_groups: the names of the groups there are.
        login: who came in to run this; it is never locked out.
        sudo: the rules of sudo; ``None`` where nobody asks how that user becomes root.

    Raises:
        InvalidInput: that user would be locked out, or an account of the system would be removed.
    """
    steps = []
    current = accounts.get(login)
    if sudo is not None and current is not None and login != "root":
        wanted = next((user.groups for user in users if user.name == login and user.groups is not None), current.groups)
        refuse_loss(sudo, login, {*current.groups, current.primary}, {*wanted, current.primary})
    missing = sorted({group for user in users if user.present for group in user.groups or ()} - set(existing_groups))
    steps += [Step(f"make the group {group}", ("groupadd", group)) for group in missing]
    for user in users:
        account = accounts.get(user.name)
        refuse_lockout(user, account, login)
        steps += plan_user(user, account)
    return steps


def refuse_lockout(user: User, account: Account | None, login: str) -> None:
    """Stop where the person who runs this could not come back, or the system would break.

    Raises:
        InvalidInput: so it is.
    """
    if not user.present and account and not FIRST_UID <= account.uid < NOBODY:
        raise InvalidInput(f"remove the user {user.name}", f"it is an account of the system (number {account.uid})", "leave it alone")
    if user.name != login:
        return
    doing, next_step = f"change the user {user.name}", "log in as somebody else to do that"
    if not user.present:
        raise InvalidInput(doing, "it is the one that this run came in as, and it would be removed", next_step)
    if user.shell in NO_SHELLS:
        raise InvalidInput(doing, f"it is the one that this run came in as, and {user.shell} lets nobody in", next_step)
    if user.keys is not None and account and account.keys:
        if not {material(key) for key in user.keys} & {material(key) for key in account.keys}:
            cause = "it is the one that this run came in as, and none of the keys that it has now would be left"
            raise InvalidInput(doing, cause, "list one of the present keys too, and take it out after the next login")


def plan_user(user: User, account: Account | None) -> list[Step]:
    """What it takes for one user."""
    name = user.name
    if not user.present:
        return [] if account is None else [Step(f"remove the user {name}, and leave its home", ("userdel", name))]
    steps = []
    options: list[str] = []
    if user.shell is not None and (account is None or account.shell != user.shell):
        options += ["--shell", user.shell]
    if user.comment is not None and (account is None or account.comment != user.comment):
        options += ["--comment", user.comment]
    if user.groups is not None and (account is None and user.groups or account is not None and account.groups != user.groups):
        options += ["--groups", ",".join(user.groups)]
    if account is None:
        shell = [] if user.shell is not None else ["--shell", "/bin/bash"]
        steps.append(Step(f"make the user {name}", ("useradd", "--create-home", *shell, *options, name)))
    elif options:
        steps.append(Step(f"change the user {name} ({', '.join(option[2:] for option in options[::2])})", ("usermod", *options, name)))
    before = account.keys if account else ()
    if user.keys is not None and user.keys != before:
        added, removed = len(set(user.keys) - set(before)), len(set(before) - set(user.keys))
        steps.append(Step(f"write the keys of {name} ({added} added, {removed} removed)", keys_of=user))
    return steps


def survey(users: t.Sequence[User], sudo_rules: t.Mapping[str, t.Sequence[str]] | None) -> list[Step]:
    """Read the host and plan.

    Args:
        users: as they should be.
        sudo_rules: all rules that the role's own file of sudoers will have, by user; ``None`` where it stays.
    """
    login = login_user()
    accounts = {name: read(name) for name in {login, *(user.name for user in users)}}
    return plan(users, accounts, {group.gr_name for group in grp.getgrall()}, login, Sudo(read_files(), sudo_rules))


def apply(steps: t.Sequence[Step], run: Run) -> None:
    """Do what was planned.

    Raises:
        MainstayError: a program failed.
    """
    for step in steps:
        if step.keys_of is not None:
            write_keys(step.keys_of)
            continue
        code, _output, errors = run(list(step.argv))
        if code != 0:
            raise MainstayError(step.text, f"{step.argv[0]}: {errors.strip() or f'status {code}'}", "put that right and run it again")


def write_keys(user: User) -> None:
    """Write all keys of a user. The home belongs to the user, who may have put links there: they are never followed.

    Raises:
        MainstayError: the home is not there, or something in it is in the way.
    """
    entry = pwd.getpwnam(user.name)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        home = os.open(entry.pw_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                os.mkdir(".ssh", 0o700, dir_fd=home)
                os.chown(".ssh", entry.pw_uid, entry.pw_gid, dir_fd=home, follow_symlinks=False)
            except FileExistsError:
                pass
            folder = os.open(".ssh", flags, dir_fd=home)
        finally:
            os.close(home)
        try:
            _replace(folder, "".join(f"{key}\n" for key in user.keys or ()), entry.pw_uid, entry.pw_gid)
        finally:
            os.close(folder)
    except OSError as error:
        raise MainstayError(f"write the keys of {user.name}", error, f"look at {entry.pw_dir}/.ssh") from error


def _replace(folder: int, text: str, uid: int, gid: int) -> None:
    """Put a new file in the place of the old one, whole or not at all."""
    name = ".authorized_keys.mainstay"
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
        os.fchown(stream.fileno(), uid, gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(name, "authorized_keys", src_dir_fd=folder, dst_dir_fd=folder)
