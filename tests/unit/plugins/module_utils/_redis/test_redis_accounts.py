# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup holds beside the data, and what a restore does with it and with the files of a folder."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.accounts import SECRET_SETTING, User, parse_acl, parse_config, plan_users, require_users
from ansible_collections.mainstay.ops.plugins.module_utils._redis.content import _other_types
from ansible_collections.mainstay.ops.plugins.module_utils._redis.files import FilesPlan, Layout, _swap, layout_of
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import quoted

ALICE = User("alice", "on #aa ~app:* resetchannels -@all +get")
ACL = b"user alice on #aa ~app:* resetchannels -@all +get\nuser default on nopass ~* &* +@all\n"
OPTIONS = {"data_dir": "/data", "appendonly": True, "appenddirname": "appendonlydir", "appendfilename": "appendonly.aof", "dbfilename": "dump.rdb"}


def test_users_are_read_and_their_rules_never_shown() -> None:
    assert parse_acl(ACL) == (ALICE, User("default", "on nopass ~* &* +@all"))
    assert "#aa" not in repr(ALICE)
    assert require_users(ACL, "restore") == parse_acl(ACL)


@pytest.mark.parametrize("content", [b"", b"alice on\n", b"user\n", ACL + b"\n"])
def test_what_is_no_list_of_users(content: bytes) -> None:
    with pytest.raises(ValueError, match="line|no user"):
        parse_acl(content)


def test_a_backup_without_users() -> None:
    with pytest.raises(InvalidInput, match="holds no ACL users"):
        require_users(None, "restore")


@pytest.mark.parametrize(
    ("present", "own", "expected"),
    [((), "default", ["alice"]), ((ALICE,), "default", []), ((User("alice", "off"),), "default", ["alice"]), ((), "alice", [])],
)
def test_users_that_a_restore_sets(present: tuple[User, ...], own: str, expected: list[str]) -> None:
    assert [user.name for user in plan_users(parse_acl(ACL), present, own)] == expected


@pytest.mark.parametrize("name", ["requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass", "module.api-token"])
def test_settings_that_are_left_out(name: str) -> None:
    assert SECRET_SETTING.search(name)


@pytest.mark.parametrize("name", ["tls-auth-clients", "masteruser", "aclfile", "acllog-max-len", "tls-key-file"])
def test_settings_that_stay(name: str) -> None:
    assert not SECRET_SETTING.search(name)


@pytest.mark.parametrize("value", ["", "3600 1", 'a "b"', "back\\slash", "two\nlines"])
def test_settings_are_read_again(value: str) -> None:
    assert parse_config(f"save {quoted(value)}\n".encode()) == 1


@pytest.mark.parametrize("content", [b"save\n", b"save 3600\n", b'save "x\n'])
def test_what_is_no_setting(content: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse_config(content)


@pytest.mark.parametrize(
    ("types", "after", "words"),
    [
        ({"string": 5}, {"string": 5}, ""),
        ({"string": 4}, {"string": 3}, ""),
        ({"string": 2}, {"string": 3}, "2 keys of the type string"),
        ({"string": 6}, {"string": 3}, "6 keys of the type string"),
        ({"string": 5, "list": 1}, {"string": 5}, "1 keys of the type list, the backup 0"),
        ({}, {"string": 5}, "0 keys of the type string"),
    ],
)
def test_types_differ_only_by_keys_that_expire(types: dict[str, int], after: dict[str, int], words: str) -> None:
    found = _other_types({"string": 5}, types, after)
    assert words in found and bool(found) == bool(words)


def test_layout() -> None:
    assert layout_of(OPTIONS) == Layout("/data", True)
    assert layout_of({**OPTIONS, "appendonly": False}).new == "dump.rdb"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data_dir": None}, "needs data_dir and appendonly"),
        ({"appendonly": None}, "needs data_dir and appendonly"),
        ({"dbfilename": "../dump.rdb"}, "no name of a file"),
        ({"appenddirname": ""}, "no name of a file"),
        ({"appendfilename": "dump.rdb"}, "must differ"),
    ],
)
def test_what_is_no_layout(options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        layout_of({**OPTIONS, **options})


def test_data_that_is_there(tmp_path: pathlib.Path) -> None:
    layout = Layout(str(tmp_path), appendonly=True)
    (tmp_path / "appendonlydir").mkdir()
    assert layout.present() == (), "an empty folder is no data"
    (tmp_path / "appendonlydir/x").touch()
    (tmp_path / "dump.rdb").touch()
    (tmp_path / "other").touch()
    assert layout.present() == ("appendonlydir", "dump.rdb")


def test_old_files_come_back_if_the_new_one_cannot_be_put_in_place(tmp_path: pathlib.Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"old")
    (tmp_path / "appendonly.aof").write_bytes(b"older")
    aside = {"appendonly.aof": "appendonly.aof.before", "dump.rdb": "dump.rdb.before"}
    with pytest.raises(FileNotFoundError):
        _swap(FilesPlan(Layout(str(tmp_path), appendonly=False), 0, 0, 0o700, aside), str(tmp_path / "missing"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"dump.rdb": b"old", "appendonly.aof": b"older"}
