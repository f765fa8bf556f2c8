# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of files: patterns, the index, and what counts as a change."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._files import index as indexes
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import BadIndex, Entry, Index, as_read, as_restored, compare, read_index
from ansible_collections.mainstay.ops.plugins.module_utils._files.patterns import Patterns


def entry(path: str, type_: str = "file", **more: t.Any) -> Entry:
    """An entry of root's."""
    return Entry(**{"path": path, "type": type_, "mode": 0o644, "uid": 0, "gid": 0, "user": "root", "group": "root", "mtime": 1, **more})


def tree(*entries: Entry) -> dict[str, Entry]:
    """Entries by path."""
    return {each.path: each for each in entries}


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "fits"),
    [
        ("*.tmp", "/a/b.tmp", False, True),
        ("*.tmp", "/a/b.tmp.c", False, False),
        ("*.env", "/srv/.env", False, True),
        ("*.tmp", "/a.tmp/b", False, False),
        ("cache/", "/srv/cache", True, True),
        ("cache/", "/srv/cache", False, False),
        ("cache", "/srv/cache", False, True),
        ("/srv/cache", "/srv/cache", True, True),
        ("/srv/cache", "/x/srv/cache", True, False),
        ("app/cache", "/srv/app/cache", True, True),
        ("app/cache", "/srv/myapp/cache", True, False),
        ("/srv/*/cache", "/srv/a/cache", True, True),
        ("/srv/*/cache", "/srv/a/b/cache", True, False),
        ("/srv/**/cache", "/srv/a/b/cache", True, True),
        ("/srv/**/cache", "/srv/cache", True, True),
        ("/srv/**", "/srv/a/b", False, True),
        ("file?", "/a/file1", False, True),
        ("file?", "/a/file/", True, False),
        ("[ab].log", "/x/a.log", False, True),
        ("[!ab].log", "/x/a.log", False, False),
        ("[!ab].log", "/x/c.log", False, True),
        ("a.b", "/a.b", False, True),
        ("a.b", "/axb", False, False),
        ("a\nb", "/x/a\nb", False, True),
        ("*", "/x/a\nb", False, True),
        ("(a|b)+", "/(a|b)+", False, True),
    ],
)
def test_what_a_pattern_fits(pattern: str, path: str, is_folder: bool, fits: bool) -> None:
    assert Patterns([pattern], "exclude").fit(path.rstrip("/"), is_folder) is fits
    assert Patterns(["never", pattern], "exclude").fit(path.rstrip("/"), is_folder) is fits


@pytest.mark.parametrize("pattern", ["", "/", "//", "a\0b", "[z-a]"])
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="exclude"):
        Patterns([pattern], "exclude")


def test_no_pattern_fits_nothing() -> None:
    assert not Patterns([], "exclude").fit("/a")


def some_index() -> Index:
    """An index with one of each, and names that need care."""
    entries = tree(
        entry("/srv", "folder"),
        entry("/srv/a", size=3, disk=4096, ctime=9, inode=7, sha256="aa", layer=1, part=2),
        entry("/srv/a-", "folder"),
        entry("/srv/b", "folder"),
        entry("/srv/b/odd \udcff\n\"name\"", target="/srv/a", sha256="aa", xattrs="cc"),
        entry("/srv/c", "link", target="../etc"),
    )
    return Index("20261122T174200Z-00000001", ("20261122T164200Z-00000000", "20261122T174200Z-00000001"), ("/srv",), entries)


def test_an_index_is_read_as_it_was_written() -> None:
    written = some_index()
    assert read_index(written.lines(), "read it") == written
    assert [json.loads(line)["path"] for line in list(written.lines())[1:]] == list(written.entries), "the order of the tree"


def changed_line(number: int, **changes: t.Any) -> list[bytes]:
    """The index with one line changed."""
    lines = [json.loads(line) for line in some_index().lines()]
    lines[number].update(changes)
    return [json.dumps(line).encode() for line in lines]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "cannot be read"),
        ([b"nonsense"], "cannot be read"),
        (changed_line(0, format=2), "the format of its index is 2"),
        (list(some_index().lines())[:-1], "has 5 entries of 6"),
        (changed_line(2, path="/srv/../etc/passwd"), "cannot be"),
        (changed_line(2, path="etc/passwd"), "cannot be"),
        (changed_line(2, path="//srv/a"), "cannot be"),
        (changed_line(2, path="/etc/passwd"), "cannot be"),
        (changed_line(2, path="/srv"), "cannot be"),
        (changed_line(2, type="device"), "cannot be"),
        (changed_line(2, layer=2), "cannot be"),
        (changed_line(2, mode=0o100644), "cannot be"),
        (changed_line(4, type="link"), "cannot be"),
        (changed_line(2, colour="red"), "cannot be read"),
    ],
)
def test_an_index_that_no_run_has_written(lines: list[bytes], words: str) -> None:
    with pytest.raises(BadIndex, match=words):
        read_index(lines, "read it")


@pytest.mark.parametrize("field", ["size", "mtime", "ctime", "inode"])
def test_by_what_a_changed_file_is_known(field: str) -> None:
    before = entry("/a", size=1, ctime=2, inode=3)
    assert as_read(before, dataclasses.replace(before, sha256="other", layer=5))
    assert not as_read(before, dataclasses.replace(before, **{field: 99}))


@pytest.mark.parametrize("change", [{"mode": 0o600}, {"uid": 5}, {"gid": 5}, {"mtime": 5}, {"size": 5}, {"xattrs": "x"}, {"sha256": "other"}, {"type": "link"}])
def test_by_what_a_restored_file_is_known(change: dict[str, t.Any]) -> None:
    wanted = entry("/a", size=1, sha256="one", ctime=7, inode=8)
    assert as_restored(wanted, dataclasses.replace(wanted, ctime=1, inode=1, sha256=""))
    assert not as_restored(wanted, dataclasses.replace(wanted, **change))


def test_changes() -> None:
    before = tree(entry("/a"), entry("/b"), entry("/d"))
    after = tree(entry("/a"), entry("/b", mtime=5), entry("/c"))
    found = compare(before, after, as_read)
    assert (found.created, found.changed, found.deleted) == (("/c",), ("/b",), ("/d",))
    assert found.any and found.words == "1 created, 1 changed, 1 deleted" and found.plain(0) == {"created": [], "changed": [], "deleted": []}
    assert not compare(before, before, as_read).any


def test_bytes_that_have_to_be_moved() -> None:
    assert entry("/a", size=100, disk=4096).moved_bytes == 100
    assert entry("/a", size=1 << 40, disk=4096).moved_bytes == 4096
    assert entry("/a", size=100, disk=4096, target="/b").moved_bytes == 0
    assert entry("/a", "folder").moved_bytes == 0


def test_order_keeps_a_folder_together() -> None:
    assert sorted(["/a-b", "/a/b", "/a", "/a.c"], key=indexes.order) == ["/a", "/a/b", "/a-b", "/a.c"]
