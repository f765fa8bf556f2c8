# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What config_tree is asked for: every mistake has one sentence that names the file, and what is sent arrives."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree import request
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

FILE = {"content": "x", "dest": "/etc/a"}


def test_defaults_of_a_file() -> None:
    """What an entry leaves out."""
    (found,) = request.parse_files([{"src": "a.j2", "dest": "/etc/a"}])
    assert (found.src, found.text, dict(found.variables)) == ("a.j2", None, {})
    assert found.entry == request.Entry("/etc/a", "file", "root", "root", 0o644)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"dest": "/d", "state": "directory"}, {"state": "directory", "mode": 0o755}),
        ({"dest": "/d", "state": "directory", "mode": "02750", "owner": "www", "group": "adm"}, {"mode": 0o2750, "owner": "www", "group": "adm"}),
        ({"dest": "/l", "state": "link", "target": "releases/1"}, {"state": "link", "target": "releases/1"}),
        ({"dest": "/x", "state": "absent", "notify": "reload"}, {"state": "absent", "notify": ("reload",)}),
        ({**FILE, "mode": "640", "sensitive": True, "notify": ["a", "b"]}, {"mode": 0o640, "sensitive": True, "notify": ("a", "b")}),
        ({**FILE, "owner": None, "mode": None, "src": None}, {"owner": "root", "mode": 0o644}),
    ],
)
def test_entries(raw: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    """Options of each state; what is null counts as left out."""
    (found,) = request.parse_files([raw])
    assert {key: getattr(found.entry, key) for key in expected} == expected


@pytest.mark.parametrize(("content", "text"), [("a\n", "a\n"), ("", ""), (5432, "5432"), (1.5, "1.5")])
def test_text(content: t.Any, text: str) -> None:
    """Numbers are text; an empty file is a file."""
    assert request.parse_files([{"dest": "/a", "content": content}])[0].text == text


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("abc", ["files", "str", "list"]),
        ([7], ["entry 1", "int", "dictionary"]),
        ([FILE, {"content": "x"}], ["entry 2", "dest is missing"]),
        ([{**FILE, "dest": "etc/a"}], ["etc/a", "absolute"]),
        ([{**FILE, "dest": "/etc/../a"}], ["/etc/../a", "normal"]),
        ([{**FILE, "dest": "/etc/a/"}], ["/etc/a/", "normal"]),
        ([{**FILE, "dest": "//etc/a"}], ["//etc/a", "normal"]),
        ([{**FILE, "dest": "/"}], ["normal"]),
        ([{**FILE, "contnet": "x"}], ["/etc/a", "unknown key contnet"]),
        ([{**FILE, "state": "present"}], ["/etc/a", "present", "absent"]),
        ([{"dest": "/etc/a"}], ["/etc/a", "neither src nor content"]),
        ([{**FILE, "src": "a.j2"}], ["/etc/a", "exclude"]),
        ([{**FILE, "mode": 420}], ["/etc/a", "420", '"0644"']),
        ([{**FILE, "mode": "u=rw"}], ["/etc/a", "u=rw"]),
        ([{**FILE, "mode": "0888"}], ["/etc/a", "0888"]),
        ([{**FILE, "mode": "44"}], ["/etc/a", "'44'"]),
        ([{**FILE, "sensitive": "maybe"}], ["/etc/a", "sensitive", "maybe"]),
        ([{**FILE, "owner": 0}], ["/etc/a", "owner"]),
        ([{**FILE, "group": ""}], ["/etc/a", "group"]),
        ([{**FILE, "notify": [1]}], ["/etc/a", "notify"]),
        ([{**FILE, "content": {"a": 1}}], ["/etc/a", "dict", "to_nice_json"]),
        ([{**FILE, "content": True}], ["/etc/a", "bool"]),
        ([{**FILE, "vars": ["x"]}], ["/etc/a", "vars"]),
        ([{"dest": "/l", "state": "link"}], ["/l", "target"]),
        ([{"dest": "/l", "state": "link", "target": "a", "mode": "0644"}], ["/l", "mode", "link"]),
        ([{"dest": "/d", "state": "directory", "content": "x"}], ["/d", "content", "directory"]),
        ([{"dest": "/x", "state": "absent", "src": "x.j2"}], ["/x", "src", "absent"]),
        ([FILE, FILE], ["/etc/a", "twice"]),
        ([FILE, {"dest": "/etc/a/b", "content": ""}], ["/etc/a/b", "below /etc/a", "file"]),
        ([{"dest": "/d", "state": "absent"}, {"dest": "/d/b", "content": ""}], ["/d/b", "below /d", "absent"]),
    ],
)
def test_mistakes_in_files(files: t.Any, words: list[str]) -> None:
    """Each mistake is named together with the file it is about."""
    with pytest.raises(InvalidInput) as caught:
        request.parse_files(files)
    for word in words:
        assert word in str(caught.value)


def test_an_absent_path_may_lie_below_an_absent_folder() -> None:
    """So that a folder and what is in it can go together."""
    assert len(request.parse_files([{"dest": "/d", "state": "absent"}, {"dest": "/d/b", "state": "absent"}])) == 2


def test_validators() -> None:
    """Numbers in argv are words; without patterns any change counts."""
    third = {"argv": ["c"], "when_changed": None, "name": "the third"}
    found = request.parse_validators([{"argv": ["a", "-n", 5]}, {"argv": ["b"], "when_changed": ["/etc/b/*"]}, third])
    assert found == (request.Validator(("a", "-n", "5")), request.Validator(("b",), ("/etc/b/*",)), request.Validator(("c",), name="the third"))
    assert request.parse_validators(None) == ()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("nginx -t", ["validators", "list"]),
        (["nginx -t"], ["validator 1", "dictionary"]),
        ([{"argv": ["a"]}, {"argv": "nginx -t"}], ["validator 2", "argv"]),
        ([{"argv": []}], ["validator 1", "argv"]),
        ([{"argv": ["a"], "when": "x"}], ["validator 1", "unknown key when"]),
        ([{"argv": ["a"], "when_changed": [1]}], ["validator 1", "when_changed"]),
    ],
)
def test_mistakes_in_validators(raw: t.Any, words: list[str]) -> None:
    """Each mistake is named together with the validator it is about."""
    with pytest.raises(InvalidInput) as caught:
        request.parse_validators(raw)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_of_trees_are_folder_names(name: str) -> None:
    """A name cannot leave the folder of the generations."""
    with pytest.raises(InvalidInput):
        request.check_name(name)
    assert request.check_name("nginx-1.x_y") == "nginx-1.x_y"


ENTRIES = (
    request.Entry("/etc/a", mode=0o600, owner="www", group="adm", sensitive=True, notify=("x", "y"), content=b"TopSecretWord\n\xc3\xa9\n"),
    request.Entry("/etc/d", "directory", mode=0o2755),
    request.Entry("/etc/l", "link", target="a"),
    request.Entry("/etc/b", content=b""),
    request.Entry("/etc/gone", "absent"),
)


def as_module_sees(files: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The list with the keys that ansible-core adds for what an entry leaves out."""
    empty = {key: None for key in ("src", "content", "vars", "owner", "group", "mode", "target")}
    return [{**empty, "sensitive": False, **item} for item in files]


def test_what_is_packed_arrives() -> None:
    """The controller's entries are the host's entries."""
    files, payload = request.pack(ENTRIES)
    assert request.unpack(as_module_sees(files), payload) == ENTRIES


def test_contents_are_only_in_the_payload() -> None:
    """The list that is shown in a task's invocation holds no content, and the payload cannot be read by eye."""
    files, payload = request.pack(ENTRIES)
    assert "TopSecretWord" not in str(files) + payload
    assert not {"content", "src", "vars"} & {key for item in files for key in item}


@pytest.mark.parametrize("payload", [None, "", "AAAA", "not base64!", request.pack(ENTRIES[:1])[1]])
def test_a_payload_that_does_not_fit_is_refused(payload: str | None) -> None:
    """Nothing is written from a list without its contents."""
    files, _payload = request.pack(ENTRIES)
    with pytest.raises(InvalidInput, match="action plugin"):
        request.unpack(as_module_sees(files), payload)


def test_contents_are_not_in_the_text_of_an_entry() -> None:
    """A traceback or an assertion cannot show a secret."""
    assert "TopSecretWord" not in repr(ENTRIES[0]) + repr(request.Request(ENTRIES[0], text="TopSecretWord", variables={"a": "TopSecretWord"}))
    assert dataclasses.replace(ENTRIES[0], content=b"") != ENTRIES[0]
