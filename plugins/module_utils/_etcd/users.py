# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of etcd with what they may touch: plan what differs, then apply it. Who logs in as nobody may do nothing any more once there are users."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import Client, decode, encode, prefix_end

ROOT = "root"
"""The name that etcd gives to the user and to the role that may do everything."""

DOING = "plan the users of etcd"


@dataclasses.dataclass(frozen=True)
class User:
    """A user that is asked for; its role has the same name."""

    name: str
    password: str = dataclasses.field(repr=False)
    prefixes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is.

    Args:
        enabled: whether etcd asks for a login.
        users: their roles.
        roles: the prefixes that each may touch.
        accepted: users whose password is the one that is asked for; nobody's can be known while etcd asks for none.
    """

    enabled: bool
    users: t.Mapping[str, t.Collection[str]]
    roles: t.Mapping[str, t.Collection[str]]
    accepted: t.Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Step:
    """One request that changes something, with its words."""

    words: str
    path: str
    body: t.Mapping[str, t.Any] = dataclasses.field(repr=False)


def wanted_from(root_password: str, users: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[User, ...]:
    """Check what is asked for, and return all users, root first.

    Raises:
        InvalidInput: it cannot be right.
    """
    found = [User(ROOT, root_password), *(User(user["name"], user["password"], tuple(user["prefixes"])) for user in users)]
    names = [user.name for user in found]
    for user in found:
        if not user.password:
            raise InvalidInput(DOING, f"{user.name or 'a user'} has no password", "give it one")
        if not user.name or names.count(user.name) > 1:
            raise InvalidInput(DOING, f"{user.name or 'a user without a name'} is there {names.count(user.name)} times", "give each user a name of its own")
        if user.name != ROOT and not all(user.prefixes):
            raise InvalidInput(DOING, f"{user.name} has an empty prefix, which would be every key", "name the keys that it needs")
    return tuple(found)


def look(client: Client, wanted: t.Sequence[User]) -> Found:
    """Log in as root, and see which users and roles there are.

    Raises:
        Refused: root has another password.
        MainstayError: no endpoint answered.
    """
    enabled = client.login(ROOT, wanted[0].password)
    doing = "read the users of etcd"
    names = client.call("/v3/auth/user/list", {}, doing).get("users", [])
    users = {name: client.call("/v3/auth/user/get", {"name": name}, doing).get("roles", []) for name in names}
    roles = {}
    for name in client.call("/v3/auth/role/list", {}, doing).get("roles", []):
        granted = client.call("/v3/auth/role/get", {"role": name}, doing).get("perm", [])
        roles[name] = [decode(part["key"]) for part in granted if _whole(part)]
    accepted = [user.name for user in wanted if enabled and user.name in users and client.accepts(user.name, user.password)]
    return Found(enabled, users, roles, accepted)


def _whole(permission: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a permission is for reading and writing all keys with a prefix; the role of root has no key in its own."""
    key = decode(permission.get("key", ""))
    return bool(key) and permission.get("permType") == "READWRITE" and permission.get("range_end") == encode(prefix_end(key))


def plan(found: Found, wanted: t.Sequence[User]) -> list[Step]:
    """Return the steps that are missing, the login that is then asked for last."""
    steps: list[Step] = []
    for user in wanted:
        if user.name not in found.roles:
            steps.append(Step(f"make the role {user.name}", "/v3/auth/role/add", {"name": user.name}))
        for prefix in user.prefixes:
            if prefix not in found.roles.get(user.name, ()):
                grant = {"permType": "READWRITE", "key": encode(prefix), "range_end": encode(prefix_end(prefix))}
                steps.append(Step(f"let the role {user.name} read and write {prefix}*", "/v3/auth/role/grant", {"name": user.name, "perm": grant}))
        for prefix in sorted(set(found.roles.get(user.name, ())) - set(user.prefixes)):
            revoked = {"role": user.name, "key": encode(prefix), "range_end": encode(prefix_end(prefix))}
            steps.append(Step(f"take {prefix}* from the role {user.name}", "/v3/auth/role/revoke", revoked))
        login = {"name": user.name, "password": user.password}
        if user.name not in found.users:
            steps.append(Step(f"make the user {user.name}", "/v3/auth/user/add", login))
        elif user.name not in found.accepted:
            steps.append(Step(f"set the password of {user.name}", "/v3/auth/user/changepw", login))
        if user.name not in found.users.get(user.name, ()):
            steps.append(Step(f"give {user.name} its role", "/v3/auth/user/grant", {"user": user.name, "role": user.name}))
    if not found.enabled:
        steps.append(Step("ask everybody for a login", "/v3/auth/enable", {}))
    return steps


def run(client: Client, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring about what the module's options ask for, and return the module's result.

    Raises:
        MainstayError: it could not be done.
    """
    wanted = wanted_from(params["root_password"], params["users"])
    found = look(client, wanted)
    steps = plan(found, wanted)
    if not check_mode:
        for step in steps:
            client.call(step.path, step.body, f"{step.words} in etcd")
    return {
        "changed": bool(steps),
        "actions": [step.words for step in steps],
        "enabled": True,
        "users": sorted({*found.users, *(user.name for user in wanted)}),
        "diff": {"before": _shown(found), "after": _shown(_applied(found, wanted))},
    }


def _applied(found: Found, wanted: t.Sequence[User]) -> Found:
    users = {**found.users, **{user.name: sorted({*found.users.get(user.name, ()), user.name}) for user in wanted}}
    roles = {**found.roles, **{user.name: user.prefixes for user in wanted}}
    return Found(True, users, roles, [user.name for user in wanted])


def _shown(found: Found) -> dict[str, t.Any]:
    passwords = {name: "as asked for" if name in found.accepted else "not known" for name in found.users}
    return {
        "enabled": found.enabled,
        "users": {name: {"roles": sorted(roles), "password": passwords[name]} for name, roles in sorted(found.users.items())},
        "roles": {name: sorted(prefixes) for name, prefixes in sorted(found.roles.items())},
    }
