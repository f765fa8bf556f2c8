# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to have the accounts that are listed."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._host.sudo import BY_PASSWORD, FREELY, NOT, OWN, Sudo, way_of
from ansible_collections.mainstay.ops.plugins.module_utils._host.users import Account, parse, plan

KEY, OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA one", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB two"


def account(**changes: t.Any) -> Account:
    """The account of ada as it is."""
    return Account(**{"name": "ada", "uid": 1001, "gid": 1001, "home": "/home/ada", "shell": "/bin/bash", "comment": "", "groups": (), "keys": (), **changes})


def texts(user: dict[str, t.Any], current: Account | None, login: str = "ops") -> list[str]:
    """The plan for one user, in words."""
    return [step.text for step in plan(parse([user]), {user["name"]: current}, {"adm"}, login)]


@pytest.mark.parametrize(
    "user, current, expected",
    [
        ({"name": "ada"}, None, ["make the user ada"]),
        ({"name": "ada"}, account(), []),
        ({"name": "ada", "groups": ["adm", "ops"], "keys": [KEY]}, None,
         ["make the group ops", "make the user ada", "write the keys of ada (1 added, 0 removed)"]),
        ({"name": "ada", "groups": ["adm"]}, account(groups=("adm",)), []),
        ({"name": "ada", "groups": []}, account(groups=("adm",)), ["change the user ada (groups)"]),
        ({"name": "ada", "shell": "/bin/sh", "comment": "Ada"}, account(), ["change the user ada (shell, comment)"]),
        ({"name": "ada", "keys": [KEY]}, account(keys=(KEY, OTHER)), ["write the keys of ada (0 added, 1 removed)"]),
        ({"name": "ada", "keys": [KEY]}, account(keys=(KEY,)), []),
        ({"name": "ada", "keys": []}, account(keys=(KEY,)), ["write the keys of ada (0 added, 1 removed)"]),
        ({"name": "ada", "state": "absent"}, account(), ["remove the user ada, and leave its home"]),
        ({"name": "ada", "state": "absent"}, None, []),
    ],
)
def test_plan(user: dict[str, t.Any], current: Account | None, expected: list[str]) -> None:
    """Only what differs is done, and what is not said stays."""
    assert texts(user, current) == expected


@pytest.mark.parametrize(
    "user, current, words",
    [
        ({"name": "ada", "state": "absent"}, account(), "it would be removed"),
        ({"name": "ada", "shell": "/usr/sbin/nologin"}, account(), "lets nobody in"),
        ({"name": "ada", "keys": [OTHER]}, account(keys=(KEY,)), "none of the keys that it has now would be left"),
        ({"name": "ada", "keys": []}, account(keys=(KEY,)), "none of the keys that it has now would be left"),
    ],
)
def test_who_came_in_is_never_locked_out(user: dict[str, t.Any], current: Account, words: str) -> None:
    """The same change to somebody else is made."""
    with pytest.raises(InvalidInput) as refused:
        texts(user, current, login="ada")
    assert words in str(refused.value)
    assert texts(user, current, login="ops")


def test_one_key_less_of_who_came_in() -> None:
    """A key that is left under another comment counts."""
    assert texts({"name": "ada", "keys": [KEY.replace("one", "desk"), OTHER]}, account(keys=(KEY,)), login="ada")


@pytest.mark.parametrize(
    "user, words",
    [
        ({"name": "root", "state": "absent"}, "it is an account of the system"),
        ({"name": "Ada Lovelace"}, "is no name of a user"),
        ({"name": "ada", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "no public key"),
        ({"name": "ada", "keys": ["ssh-ed25519"]}, "no public key"),
    ],
)
def test_what_is_refused(user: dict[str, t.Any], words: str) -> None:
    """Before anything is changed."""
    with pytest.raises(InvalidInput) as refused:
        texts(user, account(name=user["name"], uid=0))
    assert words in str(refused.value)


DEBIAN = {"/etc/sudoers": "Defaults\tenv_reset\nroot ALL=(ALL:ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"}
FREE = "ALL=(ALL) NOPASSWD: ALL"


@pytest.mark.parametrize(
    "text, groups, expected",
    [
        ("ada ALL=(ALL) NOPASSWD:ALL", (), FREELY),
        ("ada, ops ALL = NOPASSWD : SETENV: ALL # people", (), FREELY),
        ("ada ALL=(root) ALL", (), BY_PASSWORD),
        ("ALL ALL=(ALL:ALL) ALL", (), BY_PASSWORD),
        ("%adm ALL=(ALL) \\\n NOPASSWD: ALL", ("adm",), FREELY),
        ("%adm ALL=(ALL) NOPASSWD: ALL\nada ALL=(ALL) ALL", ("adm",), BY_PASSWORD),
        ("ada ALL=(ALL) NOPASSWD: /usr/bin/systemctl", (), NOT),
        ("ada ALL=(www-data) NOPASSWD: ALL", (), NOT),
        ("# ada ALL=(ALL) ALL\nUser_Alias ADMINS = ada\nDefaults:ada !requiretty", (), NOT),
    ],
)
def test_who_becomes_root(text: str, groups: tuple[str, ...], expected: int) -> None:
    """The last rule that fits and lets do everything counts."""
    assert way_of({"/etc/sudoers.d/x": text}, "ada", groups) == expected


@pytest.mark.parametrize(
    "groups, present, rules, words",
    [
        # Out of the group, with and without a rule that takes its place.
        (["docker"], {}, {}, "could not become root any more"),
        (["docker"], {}, {"ada": [FREE]}, ""),
        (["docker"], {}, {"ada": ["ALL=(ALL) /usr/bin/systemctl"]}, "could not become root any more"),
        (["docker"], {"/etc/sudoers.d/90-cloud": f"ada {FREE}\n"}, None, ""),
        (["sudo", "docker"], {}, {}, ""),
        (None, {}, {}, ""),
        # The last rule of its own goes: the group is left, but asks for a password.
        (None, {OWN: f"ada {FREE}\n"}, {}, "would be asked for a password"),
        (None, {OWN: f"ada {FREE}\n"}, {"ada": [FREE]}, ""),
        (None, {OWN: f"ada {FREE}\n"}, None, ""),
        (None, {OWN: f"ada {FREE}\n"}, {"eve": [FREE]}, "would be asked for a password"),
    ],
)
def test_who_came_in_stays_root(groups: list[str] | None, present: dict[str, str], rules: dict[str, list[str]] | None, words: str) -> None:
    """Before anything is changed, whether it is taken away by a group or by a rule."""
    users = parse([] if groups is None else [{"name": "ada", "groups": groups}])
    given = (users, {"ada": account(groups=("sudo",), primary="ada")}, {"sudo", "docker"})
    sudo = Sudo({**DEBIAN, **present}, rules)
    assert plan(*given, "ops", sudo) == plan(*given, "root", sudo)
    if not words:
        plan(*given, "ada", sudo)
        return
    with pytest.raises(InvalidInput) as refused:
        plan(*given, "ada", sudo)
    assert words in str(refused.value)


def test_a_rule_is_not_traded_for_a_group_in_one_run() -> None:
    """The rule goes first, and then there would be nobody to make the change of groups."""
    users = parse([{"name": "ada", "groups": ["sudo"]}])
    with pytest.raises(InvalidInput, match="could not become root any more"):
        plan(users, {"ada": account(primary="ada")}, {"sudo"}, "ada", Sudo({**DEBIAN, OWN: "ada ALL=(ALL) ALL\n"}, {}))
