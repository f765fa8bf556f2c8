# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_tree on a real file system: all or nothing, and nothing left over."""

from __future__ import annotations

import dataclasses
import errno
import grp
import json
import os
import pathlib
import pwd
import stat
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree import apply, stage
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.plan import Plan, plan_tree
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, Validator
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.state import read_host
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}


def no_run(argv: list[str]) -> tuple[int, str, str]:
    """A tree without validators starts no program."""
    raise AssertionError(argv)


@dataclasses.dataclass
class Tree:
    """A folder that stands for the host, with one tree's store beside it."""

    root: pathlib.Path
    store: apply.Store
    keep: int = 5

    def entry(self, name: str, content: bytes = b"", **options: t.Any) -> Entry:
        """An entry below the folder, owned by whoever runs the tests."""
        return Entry(f"{self.root}/{name}", content=content, **{**ME, **options})

    def plan(self, *entries: Entry, validators: tuple[Validator, ...] = (), parents: bool = False) -> Plan:
        """Plan for what is there now."""
        return plan_tree(entries, validators, read_host(entries), parents)

    def put(self, *entries: Entry, run: stage.Run = no_run, check_mode: bool = False, **options: t.Any) -> tuple[list[stage.Verdict], int]:
        """Plan and carry out."""
        return apply.carry_out(self.plan(*entries, **options), self.store, run, check_mode, self.keep)

    def look(self) -> dict[str, t.Any]:
        """Everything that is there, hidden names too: kind, mode and content of each path."""
        found: dict[str, t.Any] = {}
        for path in sorted(self.root.rglob("*")):
            kind = "link" if path.is_symlink() else "dir" if path.is_dir() else "file"
            what = os.readlink(path) if kind == "link" else None if kind == "dir" else path.read_bytes()
            found[str(path.relative_to(self.root))] = (kind, None if kind == "link" else stat.S_IMODE(path.lstat().st_mode), what)
        return found


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> Tree:
    """An empty host."""
    (tmp_path / "host").mkdir()
    return Tree(tmp_path / "host", apply.Store(f"{tmp_path}/state/t"))


def every_kind(tree: Tree, version: str) -> list[Entry]:
    """A tree in which every kind of change happens from version 1 to version 2."""
    second = version == "2"
    return [
        tree.entry("same", b"same"),
        tree.entry("text", f"text {version}".encode(), sensitive=True, mode=0o600),
        tree.entry("mode", b"mode", mode=0o600 if second else 0o644),
        tree.entry("folder", state="directory", mode=0o700 if second else 0o755),
        tree.entry("link", state="link", target=f"target{version}"),
        tree.entry("was_link", b"file now") if second else tree.entry("was_link", state="link", target="text"),
        tree.entry("was_file", state="link", target="text") if second else tree.entry("was_file", b"file"),
        tree.entry("gone", state="absent") if second else tree.entry("gone", b"here", mode=0o640),
        tree.entry("gone_link", state="absent") if second else tree.entry("gone_link", state="link", target="nowhere"),
        tree.entry("gone_folder", state="absent") if second else tree.entry("gone_folder", state="directory", mode=0o750),
        tree.entry("gone_folder/inner", state="absent") if second else tree.entry("gone_folder/inner", b"inner"),
        *(
            [tree.entry("new/deep/file", b"deep"), tree.entry("new/deep", state="directory", mode=0o750), tree.entry("new", state="directory", mode=0o711)]
            if second
            else []
        ),
    ]


AFTER_1 = {
    "same": ("file", 0o644, b"same"),
    "text": ("file", 0o600, b"text 1"),
    "mode": ("file", 0o644, b"mode"),
    "folder": ("dir", 0o755, None),
    "link": ("link", None, "target1"),
    "was_link": ("link", None, "text"),
    "was_file": ("file", 0o644, b"file"),
    "gone": ("file", 0o640, b"here"),
    "gone_link": ("link", None, "nowhere"),
    "gone_folder": ("dir", 0o750, None),
    "gone_folder/inner": ("file", 0o644, b"inner"),
}
AFTER_2 = {
    "same": ("file", 0o644, b"same"),
    "text": ("file", 0o600, b"text 2"),
    "mode": ("file", 0o600, b"mode"),
    "folder": ("dir", 0o700, None),
    "link": ("link", None, "target2"),
    "was_link": ("file", 0o644, b"file now"),
    "was_file": ("link", None, "text"),
    "new": ("dir", 0o711, None),
    "new/deep": ("dir", 0o750, None),
    "new/deep/file": ("file", 0o644, b"deep"),
}


def test_every_kind_of_change_and_none(tree: Tree) -> None:
    """Create, modify, replace, remove; the second time there is nothing to do; no helper file stays."""
    assert tree.put(*every_kind(tree, "1")) == ([], 1)
    assert tree.look() == AFTER_1
    assert tree.put(*every_kind(tree, "1")) == ([], 1)
    assert tree.put(*every_kind(tree, "2")) == ([], 2)
    assert tree.look() == AFTER_2
    assert not tree.plan(*every_kind(tree, "2")).changed


def test_check_mode_changes_nothing(tree: Tree) -> None:
    """Not even the store is made."""
    assert tree.put(*every_kind(tree, "1"), check_mode=True) == ([], 1)
    assert tree.look() == {}
    assert not os.path.exists(tree.store.root)


def steps_of(tree: Tree, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> int:
    """Carry out version 2, with the given call that changes a path failing as on a full disk.

    Returns:
        How many calls there were.
    """
    count = 0
    with monkeypatch.context() as patch:

        def counted(name: str) -> t.Callable[..., t.Any]:
            real = getattr(os, name)

            def call(*args: t.Any, **options: t.Any) -> t.Any:
                nonlocal count
                if name == "mkdir" and os.path.isdir(args[0]):  # makedirs tries, and looks afterwards
                    return real(*args, **options)
                count += 1
                if count == fail_at:
                    patch.undo()
                    raise OSError(errno.ENOSPC, "No space left on device", str(args[0]))
                return real(*args, **options)

            return call

        for name in ("rename", "mkdir", "rmdir", "symlink", "fchmod", "fchown", "fsync"):
            patch.setattr(os, name, counted(name))
        tree.put(*every_kind(tree, "2"))
    return count


def test_whichever_step_fails_all_is_put_back(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the swap fails once; afterwards every path, mode and content is as before, and no generation is left of the attempt."""
    for fail_at in range(1, 100):
        tree.put(*every_kind(tree, "1"))
        before = tree.store.numbers()
        try:
            count = steps_of(tree, monkeypatch, fail_at)
        except MainstayError as exc:
            assert "No space left on device" in str(exc)
            assert "as they were before" in str(exc) or "nothing was changed" in str(exc)
            assert tree.look() == AFTER_1, f"call {fail_at}"
            assert tree.store.numbers() == before
        else:
            assert fail_at == count + 1
            assert tree.look() == AFTER_2
            break
    else:
        raise AssertionError("the swap never succeeded")
    assert fail_at > 25


def test_a_failed_way_back_says_where_the_files_are(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation stays, since it is the only copy."""
    tree.put(tree.entry("a", b"1"), tree.entry("b", b"1"))
    real, calls = os.rename, []

    def broken(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "Input/output error", target)
        real(source, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(MainstayError, match="not everything could be undone.*generations/2"):
        tree.put(tree.entry("a", b"2"), tree.entry("b", b"2"))
    assert pathlib.Path(f"{tree.store.generation(2)}/files{tree.root}/a").read_bytes() == b"1"


def test_generations_hold_what_was_replaced(tree: Tree) -> None:
    """Contents for root only, and a summary with what is needed to put them back."""
    tree.put(*every_kind(tree, "1"))
    tree.put(*every_kind(tree, "2"))
    folder = pathlib.Path(tree.store.generation(2))
    summary = json.loads((folder / "generation.json").read_text())
    assert summary["generation"] == 2
    records = {os.path.relpath(record["dest"], tree.root): record for record in summary["changes"]}
    assert "same" not in records
    assert records["text"] == {"dest": f"{tree.root}/text", "change": "modified", "before": "file", "mode": "0600", **ME}
    assert records["gone"] == {"dest": f"{tree.root}/gone", "change": "removed", "before": "file", "mode": "0640", **ME}
    assert records["link"] == {"dest": f"{tree.root}/link", "change": "modified", "before": "link", "target": "target1"}
    assert records["new"] == {"dest": f"{tree.root}/new", "change": "created", "before": "absent"}
    kept = {os.path.relpath(path, f"{folder}/files{tree.root}"): path for path in folder.rglob("*") if path.is_file() and "files" in path.parts}
    assert {name: path.read_bytes() for name, path in kept.items()} == {
        "text": b"text 1",
        "mode": b"mode",
        "was_file": b"file",
        "gone": b"here",
        "gone_folder/inner": b"inner",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.values()} == {0o600}
    assert stat.S_IMODE(os.stat(tree.store.root).st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("keep", "kept"), [(0, []), (1, [7]), (3, [5, 6, 7]), (50, [1, 2, 3, 4, 5, 6, 7])])
def test_old_generations_go(tree: Tree, keep: int, kept: list[int]) -> None:
    """Only the newest stay."""
    tree.keep = 50
    for number in range(1, 7):
        assert tree.put(tree.entry("a", str(number).encode()))[1] == number
    tree.keep = keep
    assert tree.put(tree.entry("a", b"7"))[1] == 7
    assert tree.store.numbers() == kept


def test_a_link_is_replaced_not_followed(tree: Tree) -> None:
    """What it pointed to stays as it was."""
    (tree.root / "outside").write_bytes(b"precious")
    (tree.root / "a").symlink_to("outside")
    tree.put(tree.entry("a", b"mine"))
    assert (tree.root / "outside").read_bytes() == b"precious"
    assert not (tree.root / "a").is_symlink()


def test_leftovers_of_a_killed_run_are_swept(tree: Tree) -> None:
    """The stage with its secrets, and a prepared file beside its destination."""
    tree.put(tree.entry("a", b"1"))
    left = pathlib.Path(tree.store.root) / f"{stage.STAGE_PREFIX}dead"
    left.mkdir()
    (left / "secret").write_text("x")
    pathlib.Path(apply._beside(f"{tree.root}/a", "new")).write_text("half")
    tree.put(tree.entry("a", b"2"))
    assert not left.exists()
    assert tree.look() == {"a": ("file", 0o644, b"2")}


def test_blockers_stop_a_real_run_before_anything(tree: Tree) -> None:
    """A missing account or folder is found before the first byte is written; check mode plans on."""
    entries = [tree.entry("ok", b"x"), tree.entry("a", b"x", owner="no-such-user"), tree.entry("deep/b", b"x")]
    with pytest.raises(MainstayError, match="user no-such-user of .*/a does not exist; the folder .*/deep of"):
        tree.put(*entries)
    assert tree.look() == {}
    assert tree.put(*entries, check_mode=True) == ([], 1)


def test_parents_are_made(tree: Tree) -> None:
    """With mode 0755 whatever the umask."""
    before = os.umask(0o077)
    try:
        tree.put(tree.entry("p/q/a", b"x"), parents=True)
    finally:
        os.umask(before)
    assert tree.look() == {"p": ("dir", 0o755, None), "p/q": ("dir", 0o755, None), "p/q/a": ("file", 0o644, b"x")}


class Judge:
    """Stands in for running a program: keeps what a validator would see."""

    def __init__(self, rc: int = 0, out: str = "", err: str = "") -> None:
        """Answer with this."""
        self.answer = (rc, out, err)
        self.argv: list[list[str]] = []
        self.seen: dict[str, bytes] = {}
        self.modes: list[int] = []

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        """Look at the stage that the last word names."""
        self.argv.append(argv)
        folder = pathlib.Path(argv[-1])
        self.seen = {str(path)[len(argv[-1]) :]: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
        self.modes.append(stat.S_IMODE(folder.stat().st_mode))
        rc, out, err = self.answer
        return rc, out.replace("STAGE", argv[-1]), err.replace("STAGE", argv[-1])


ANY = (Validator(("true", "{stage}")),)


@pytest.mark.parametrize("check_mode", [False, True])
def test_validators_see_the_whole_tree(tree: Tree, check_mode: bool) -> None:
    """Files that do not change too, each under its full path, in a private folder that is gone afterwards."""
    tree.put(tree.entry("same", b"same"), tree.entry("text", b"old"))
    judge = Judge()
    verdicts, _number = tree.put(
        tree.entry("same", b"same"), tree.entry("text", b"new"), tree.entry("gone", state="absent"), validators=ANY, run=judge, check_mode=check_mode
    )
    assert [verdict.result for verdict in verdicts] == ["passed"]
    assert judge.seen == {f"{tree.root}/same": b"same", f"{tree.root}/text": b"new"}
    assert judge.modes == [0o700]
    assert os.path.isabs(judge.argv[0][0])
    assert not os.path.exists(judge.argv[0][-1])
    assert tree.look()["text"][2] == (b"old" if check_mode else b"new")


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_validator_that_refuses_leaves_all_as_it_was(tree: Tree, check_mode: bool) -> None:
    """One sentence with the command, its status and the end of what it said, without the stage's path and without secrets."""
    tree.put(tree.entry("a", b"old"))
    judge = Judge(3, err="STAGE/etc/a:1: bad setting requirepass, near 'hunter2hunter2' in 'requirepass hunter2hunter2'\n")
    secret = tree.entry("key", b"requirepass hunter2hunter2\nport 1\n", sensitive=True)
    with pytest.raises(MainstayError) as caught:
        tree.put(tree.entry("a", b"new"), secret, validators=ANY, run=judge, check_mode=check_mode)
    said = "/etc/a:1: bad setting requirepass, near '********' in '********'"
    assert str(caught.value) == f"could not accept the new files: true '{{stage}}' ended with status 3: {said}; nothing on the host was changed"
    assert caught.value.details == {"argv": ["true", "{stage}"], "rc": 3, "stderr": said}
    assert tree.look() == {"a": ("file", 0o644, b"old")}
    assert not os.path.exists(judge.argv[0][-1])
    assert tree.store.numbers() == [1]


def test_only_the_end_of_a_long_complaint_is_shown(tree: Tree) -> None:
    """Twenty lines, from standard output if nothing else was said."""
    with pytest.raises(MainstayError) as caught:
        tree.put(tree.entry("a", b"x"), validators=ANY, run=Judge(1, out="\n".join(f"line {number}" for number in range(100))))
    assert caught.value.details["stderr"].splitlines() == [f"line {number}" for number in range(80, 100)]


def test_a_missing_validator(tree: Tree) -> None:
    """Check mode on a bare host notes it; a real run fails before anything is written."""
    missing = (Validator(("no-such-program", "{stage}")),)
    verdicts, _number = tree.put(tree.entry("a", b"x"), validators=missing, check_mode=True)
    assert [verdict.result for verdict in verdicts] == ["not_installed"]
    with pytest.raises(MainstayError, match="no-such-program is not installed"):
        tree.put(tree.entry("a", b"x"), validators=missing)
    assert tree.look() == {}
