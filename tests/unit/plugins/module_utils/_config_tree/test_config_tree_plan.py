# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What config_tree plans: a table of what is there against what is asked for."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.plan import Plan, plan_tree
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, Validator
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.state import DIFF_LIMIT, Current, Host
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

FILE = Entry("/etc/a", notify=("n",), content=b"new\n")
FOLDER = Entry("/etc/d", "directory", mode=0o755, notify=("n",))
LINK = Entry("/etc/l", "link", target="a", notify=("n",))
GONE = Entry("/etc/x", "absent", notify=("n",))
IS_FILE = Current("file", mode=0o644, size=4, content=b"new\n")
IS_FOLDER = Current("directory", mode=0o755)
IS_LINK = Current("link", mode=0o777, target="a")
ABSENT = Current()


def plan(
    *pairs: tuple[Entry, Current], validators: tuple[Validator, ...] = (), parents: bool = False, folders: t.Mapping[str, str] | None = None, **changes: t.Any
) -> Plan:
    """Plan on a host that has /etc and a few accounts; ``folders`` adds to the former."""
    host = Host({entry.dest: current for entry, current in pairs}, {"/etc": "directory", **(folders or {})}, {"root": 0, "www": 33}, {"root": 0, "adm": 4})
    return plan_tree([entry for entry, _current in pairs], validators, dataclasses.replace(host, **changes), parents)


@pytest.mark.parametrize(
    ("entry", "current", "change", "action"),
    [
        (FILE, ABSENT, "created", "create file /etc/a with owner root, group root, mode 0644"),
        (FILE, IS_FILE, "unchanged", None),
        (FILE, dataclasses.replace(IS_FILE, content=b"old\n"), "modified", "update file /etc/a"),
        (FILE, dataclasses.replace(IS_FILE, content=None, size=10**9), "modified", "update file /etc/a"),
        (FILE, dataclasses.replace(IS_FILE, content=b"old\n", mode=0o600), "modified", "update file /etc/a with owner root, group root, mode 0644"),
        (FILE, dataclasses.replace(IS_FILE, mode=0o600), "mode", "set owner root, group root, mode 0644 on file /etc/a"),
        (FILE, dataclasses.replace(IS_FILE, uid=33), "mode", "set owner root, group root, mode 0644 on file /etc/a"),
        (FILE, dataclasses.replace(IS_FILE, gid=4), "mode", "set owner root, group root, mode 0644 on file /etc/a"),
        (FILE, IS_LINK, "modified", "update file /etc/a with owner root, group root, mode 0644"),
        (dataclasses.replace(FILE, owner="www", group="adm"), dataclasses.replace(IS_FILE, uid=33, gid=4), "unchanged", None),
        (FOLDER, ABSENT, "created", "create folder /etc/d with owner root, group root, mode 0755"),
        (FOLDER, IS_FOLDER, "unchanged", None),
        (FOLDER, dataclasses.replace(IS_FOLDER, mode=0o700), "mode", "set owner root, group root, mode 0755 on folder /etc/d"),
        (LINK, ABSENT, "created", "link /etc/l to a"),
        (LINK, IS_LINK, "unchanged", None),
        (LINK, dataclasses.replace(IS_LINK, target="b"), "modified", "link /etc/l to a"),
        (LINK, IS_FILE, "modified", "link /etc/l to a"),
        (GONE, ABSENT, "unchanged", None),
        (GONE, IS_FILE, "removed", "remove /etc/x"),
        (GONE, IS_LINK, "removed", "remove /etc/x"),
        (GONE, IS_FOLDER, "removed", "remove /etc/x"),
    ],
)
def test_changes(entry: Entry, current: Current, change: str, action: str | None) -> None:
    """Each pair of wish and reality has one word, one action and its topic, or nothing at all."""
    found = plan((entry, current))
    assert found.changes[0].change == change
    assert found.actions == ([action] if action else [])
    assert found.notify == (["n"] if action else [])
    assert found.changed_files == ([entry.dest] if action else [])
    assert found.changed is bool(action)
    assert bool(found.diff) is bool(action)
    assert not found.blockers


@pytest.mark.parametrize(
    ("entry", "current", "words"),
    [
        (FILE, IS_FOLDER, ["/etc/a", "a directory is there"]),
        (FILE, Current("other"), ["/etc/a", "special file"]),
        (FOLDER, IS_FILE, ["/etc/d", "a file is there"]),
        (FOLDER, IS_LINK, ["/etc/d", "symbolic link"]),
        (LINK, IS_FOLDER, ["/etc/l", "folder"]),
        (LINK, Current("other"), ["/etc/l", "special file"]),
        (GONE, Current("other"), ["/etc/x", "special file"]),
        (GONE, dataclasses.replace(IS_FOLDER, children=("b", "c", "d", "e")), ["/etc/x", "not empty", "b, c, d, ..."]),
    ],
)
def test_what_is_in_the_way(entry: Entry, current: Current, words: list[str]) -> None:
    """Nothing is replaced that was not meant."""
    with pytest.raises(MainstayError) as caught:
        plan((entry, current))
    for word in words:
        assert word in str(caught.value)


def test_a_folder_goes_with_all_that_is_listed_in_it() -> None:
    """A folder counts as empty if all that is in it goes too."""
    folder, inner = Entry("/etc/x", "absent"), Entry("/etc/x/b", "absent")
    assert plan((folder, dataclasses.replace(IS_FOLDER, children=("b",))), (inner, IS_FILE)).changed_files == ["/etc/x", "/etc/x/b"]
    with pytest.raises(MainstayError, match="not empty: c"):
        plan((folder, dataclasses.replace(IS_FOLDER, children=("b", "c"))), (inner, IS_FILE))


def test_missing_accounts_block_a_real_run_only() -> None:
    """The plan is complete all the same, for check mode on a host where nothing is installed."""
    entry = dataclasses.replace(FILE, owner="nginx", group="ssl")
    found = plan((entry, ABSENT), uids={"nginx": None}, gids={"ssl": None})
    assert found.changed_files == ["/etc/a"]
    assert found.blockers == ("the user nginx of /etc/a does not exist", "the group ssl of /etc/a does not exist")
    assert plan((entry, IS_FILE), uids={"nginx": None}, gids={"ssl": None}).changes[0].change == "mode"


DEEP = Entry("/etc/p/q/a", content=b"x")


def test_missing_folders_block_or_are_made() -> None:
    """Without ``parents`` a missing folder blocks a real run; with it the outermost is made first."""
    found = plan((DEEP, ABSENT))
    assert found.blockers == ("the folder /etc/p of /etc/p/q/a does not exist", "the folder /etc/p/q of /etc/p/q/a does not exist")
    assert found.parents == ()
    made = plan((DEEP, ABSENT), parents=True)
    assert made.parents == ("/etc/p", "/etc/p/q")
    assert not made.blockers
    assert made.actions[:2] == ["create folder /etc/p with mode 0755", "create folder /etc/p/q with mode 0755"]


def test_listed_folders_need_no_parents() -> None:
    """Folders of the tree itself count as there, whatever their place in the list."""
    found = plan((DEEP, ABSENT), (Entry("/etc/p/q", "directory", mode=0o750), ABSENT), (Entry("/etc/p", "directory"), ABSENT))
    assert not found.blockers
    assert not found.parents


def test_a_parent_that_is_a_file_is_refused() -> None:
    """In check mode too: no later task can repair it."""
    with pytest.raises(MainstayError, match="/etc/p is not a folder"):
        plan((DEEP, ABSENT), folders={"/etc/p": "file"})


def test_an_absent_path_needs_no_folder() -> None:
    """What is not there is gone already."""
    assert not plan((Entry("/etc/no/such", "absent"), ABSENT)).blockers


@pytest.mark.parametrize(
    ("globs", "concerned"),
    [(("*",), True), (("/etc/*",), True), (("/etc/a",), True), (("/etc/l",), False), (("/usr/*",), False), (("/usr/*", "/etc/?"), True), ((), False)],
)
def test_validators_run_for_what_concerns_them(globs: tuple[str, ...], concerned: bool) -> None:
    """Patterns are held against the paths that change, not against all."""
    validator = Validator(("check", "it's"), globs)
    found = plan((FILE, ABSENT), (LINK, IS_LINK), validators=(validator,))
    assert found.validators == ((validator,) if concerned else ())
    assert (found.actions[0] == """validate with check 'it'"'"'s'""") is concerned
    assert plan((FILE, IS_FILE), validators=(validator,)).validators == ()
    named = dataclasses.replace(validator, name="the judge")
    assert (plan((FILE, ABSENT), (LINK, IS_LINK), validators=(named,)).actions[0] == "validate with the judge") is concerned


def test_topics_come_once_and_in_order() -> None:
    """Only entries that changed notify."""
    pairs = [
        (dataclasses.replace(FILE, dest=f"/etc/{number}", notify=topics), current)
        for number, (topics, current) in enumerate([(("b", "a"), ABSENT), (("c",), IS_FILE), (("a", "d"), ABSENT)])
    ]
    assert plan(*pairs).notify == ["b", "a", "d"]


def test_diff_of_a_file() -> None:
    """Content and attributes are parts of their own."""
    assert plan((FILE, dataclasses.replace(IS_FILE, content=b"old\n", mode=0o600))).diff == [
        {"before_header": "/etc/a", "after_header": "/etc/a", "before": "old\n", "after": "new\n"},
        {
            "before_header": "/etc/a (attributes)",
            "after_header": "/etc/a (attributes)",
            "before": "owner root, group root, mode 0600\n",
            "after": "owner root, group root, mode 0644\n",
        },
    ]


@pytest.mark.parametrize(
    "current", [ABSENT, dataclasses.replace(IS_FILE, content=b"OldSecret"), dataclasses.replace(IS_FILE, content=b"OldSecret", mode=0o600)]
)
def test_diff_of_a_sensitive_file(current: Current) -> None:
    """That it changed is shown, its contents are not, in no direction."""
    found = plan((dataclasses.replace(FILE, sensitive=True, content=b"NewSecret"), current))
    assert found.diff[0]["before"] != found.diff[0]["after"]
    assert "Secret" not in str(found.diff) + str(found.actions) + repr(found)


def test_diff_of_a_removed_file_hides_its_content() -> None:
    """An entry that removes a file cannot say that it was sensitive."""
    assert "OldSecret" not in str(plan((GONE, dataclasses.replace(IS_FILE, content=b"OldSecret"))).diff)


@pytest.mark.parametrize(
    ("content", "shown"),
    [(b"\xff\xfe", "(not text: 2 bytes)\n"), (b"a\0b", "(not text: 3 bytes)\n"), (b"x" * (DIFF_LIMIT + 1), f"(too large to show: {DIFF_LIMIT + 1} bytes)\n")],
)
def test_diff_of_what_cannot_be_shown(content: bytes, shown: str) -> None:
    """A note stands for it."""
    assert plan((dataclasses.replace(FILE, content=content), ABSENT)).diff[0]["after"] == shown


def test_what_a_unit_has_not_read_yet_is_announced_again() -> None:
    """Of a file that is as it shall be; one that changes is announced anyway, and is no reader's business before it is written."""
    read, other, new = (dataclasses.replace(FILE, dest=f"/etc/{name}", readers=("a.service", "b.service"), notify=(name,)) for name in ("read", "other", "new"))
    other = dataclasses.replace(other, readers=("c.service",))
    found = plan((read, IS_FILE), (other, IS_FILE), (new, ABSENT))
    assert found.readers == {"a.service": ["/etc/read"], "b.service": ["/etc/read"], "c.service": ["/etc/other"]}
    late = dataclasses.replace(plan((read, IS_FILE), (other, IS_FILE)), late=frozenset({"b.service"}))
    assert (late.changed, late.writes, late.changed_files, late.notify, late.actions) == (True, False, [], ["read"], ["have b.service read /etc/read"])
    assert not plan((read, IS_FILE)).changed
