# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release archives and the folder of an application, on a real file system."""

from __future__ import annotations

import concurrent.futures
import io
import json
import os
import pathlib
import tarfile
import time

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release import apply
from ansible_collections.mainstay.ops.plugins.module_utils._release.archive import file_sha256, unpack
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home, Lock, Record
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import Taking, plan_locked, plan_renewed


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """One member of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def write(path: pathlib.Path, *members: tarfile.TarInfo, content: bytes = b"text\n") -> str:
    """An archive with these members."""
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            if info.isfile():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if info.isfile() else None)
    return str(path)


@pytest.fixture
def home(tmp_path: pathlib.Path) -> Home:
    """An application's folder as the role makes it."""
    root = tmp_path / "app"
    (root / "releases").mkdir(parents=True)
    (root / "slots").mkdir()
    return Home(str(root))


def take(home: Home, wanted: Lock, check_mode: bool, gone: str = "") -> Taking:
    """Take the lock, or what belongs to a run that is gone."""
    return apply.take_lock(home, wanted, lambda lock, now: plan_locked(lock, wanted.owner, now, 60, gone), check_mode)


def test_unpack(tmp_path: pathlib.Path) -> None:
    """Files, folders that are not listed, links, and what is executable."""
    members = [member("./pkg/mod.py"), member("run", mode=0o6755), member("secret", mode=0o600), member("l", tarfile.SYMTYPE, "pkg/mod.py")]
    archive = write(tmp_path / "a.tar.gz", *members)
    unpack(archive, str(tmp_path / "out"))
    out = tmp_path / "out"
    assert (out / "pkg/mod.py").read_text() == (out / "l").read_text() == "text\n"
    assert oct((out / "run").stat().st_mode & 0o7777) == "0o755"
    assert oct((out / "secret").stat().st_mode & 0o7777) == "0o644"
    assert oct((out / "pkg").stat().st_mode & 0o7777) == "0o755"


@pytest.mark.parametrize(("bad", "words"), [
    (member("../x"), "leads out"),
    (member("a/../../x"), "leads out"),
    (member("/etc/x"), "leads out"),
    (member("l", tarfile.SYMTYPE, "/etc"), "outside"),
    (member("a/l", tarfile.SYMTYPE, "../../x"), "outside"),
    (member("l", tarfile.LNKTYPE, "ok"), "no file"),
    (member("p", tarfile.FIFOTYPE), "no file"),
    (member("d", tarfile.CHRTYPE), "no file"),
    (member(".mainstay-release.json"), "reserved"),
])
def test_members_that_are_refused(tmp_path: pathlib.Path, bad: tarfile.TarInfo, words: str) -> None:
    """Nothing lands outside of the folder, and nothing is left of an archive that was refused."""
    archive = write(tmp_path / "a.tar.gz", member("ok"), bad)
    with pytest.raises(MainstayError, match=words):
        unpack(archive, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_member_behind_a_link_is_refused(tmp_path: pathlib.Path) -> None:
    """A link within the archive cannot be written through."""
    archive = write(tmp_path / "a.tar.gz", member("d", tarfile.SYMTYPE, "e"), member("d/x"))
    with pytest.raises(MainstayError, match="behind a symbolic link"):
        unpack(archive, str(tmp_path / "out"))


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_an_archive_that_was_cut_short(tmp_path: pathlib.Path, cut: int) -> None:
    """It fails in words, and leaves nothing."""
    archive = pathlib.Path(write(tmp_path / "a.tar.gz", member("a"), content=os.urandom(4096)))
    archive.write_bytes(archive.read_bytes()[:cut or 0])
    with pytest.raises(MainstayError, match="could not unpack"):
        unpack(str(archive), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_release_is_stamped_recorded_and_removed(tmp_path: pathlib.Path, home: Home) -> None:
    """The life of a release on a host."""
    archive = write(tmp_path / "a.tar.gz", member("a"))
    apply.unpack(home, "1", archive, file_sha256(archive))
    os.symlink("../releases/1", os.path.join(home.slots, "blue"))
    state = home.read()
    assert [(found.release, found.sha256) for found in state.releases] == [("1", file_sha256(archive))]
    assert state.slots == {"blue": "1"}
    apply.record(home, state, Record("1", "blue"), "ops@ctl")
    live = home.read().live
    assert live is not None
    assert (live.release, live.slot, live.by) == ("1", "blue", "ops@ctl")
    assert live.time
    apply.remove(home, ["1"])
    assert home.read().releases == ()


def test_other_content_takes_the_place_of_a_release(tmp_path: pathlib.Path, home: Home) -> None:
    """Replaced as a whole: nothing of the old one stays."""
    apply.unpack(home, "1", write(tmp_path / "a.tar.gz", member("old")), "")
    apply.unpack(home, "1", write(tmp_path / "b.tar.gz", member("new")), "")
    assert sorted(os.listdir(home.release("1"))) == [".mainstay-release.json", "new"]
    assert os.listdir(home.releases) == ["1"]


def test_an_archive_that_is_not_the_one_that_was_meant(tmp_path: pathlib.Path, home: Home) -> None:
    """The hash is compared on the host, after the transfer."""
    with pytest.raises(MainstayError, match="SHA-256"):
        apply.unpack(home, "1", write(tmp_path / "a.tar.gz", member("a")), "0" * 64)
    assert os.listdir(home.releases) == []


def test_nothing_is_made_where_no_application_is(tmp_path: pathlib.Path) -> None:
    """A host that the role has not prepared is named as such, and reads as empty."""
    home = Home(str(tmp_path / "none" / "app"))
    state = home.read()
    assert (state.releases, dict(state.slots), state.history, state.live, state.lock) == ((), {}, (), None, None)
    assert home.free_bytes() > 0
    with pytest.raises(MainstayError, match="app_host"):
        take(home, Lock("me", "ops", 0.0), False)


def test_lock(home: Home) -> None:
    """Taken once, kept from others, given back by its owner alone or by force."""
    me, other = Lock("me", "ops@ctl", 0.0, controller={"host": "ctl", "pid": 4711}), Lock("other", "x", 0.0)
    assert take(home, me, True).needed
    assert home.read_lock() is None
    assert take(home, me, False).needed
    taken = home.read_lock()
    assert not take(home, me, False).needed
    alive = home.read_lock()
    assert taken is not None
    assert alive is not None
    assert (alive.since, alive.controller) == (taken.since, {"host": "ctl", "pid": 4711})
    assert alive.renewed > taken.renewed
    with pytest.raises(MainstayError, match="ops@ctl took it"):
        take(home, other, False)
    assert apply.release_lock(home, "other", False) is False
    assert apply.release_lock(home, "me", True) is True
    assert home.read_lock() is not None
    assert apply.release_lock(home, "me", False) is True
    assert take(home, other, False).needed
    displaced = take(home, me, False, gone="other").displaced
    assert displaced is not None
    assert displaced.owner == "other"
    assert apply.release_lock(home, "", False) is True
    assert home.read_lock() is None


def test_a_lock_that_was_lost_is_not_taken_again(home: Home) -> None:
    """Who only renews it leaves it as it is, free or another's."""
    me, other = Lock("me", "ops", 0.0), Lock("other", "x", 0.0)

    def renew(lock: Lock | None, now: float) -> Taking:
        return plan_renewed(lock, "me", now)

    with pytest.raises(MainstayError, match="its lock is gone"):
        apply.take_lock(home, me, renew, False)
    assert home.read_lock() is None
    take(home, other, False)
    with pytest.raises(MainstayError, match="run other"):
        apply.take_lock(home, me, renew, False)
    assert apply.release_lock(home, "other", False) is True
    take(home, me, False)
    assert not apply.take_lock(home, me, renew, False).needed


def test_a_lock_is_not_given_back_between_a_look_and_a_step(home: Home) -> None:
    """Who gives it back waits for whoever is about to take it over, and then finds that it is another's."""
    take(home, Lock("me", "ops", 0.0), False)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with apply.alone(home.root):
            giving = threads.submit(apply.release_lock, home, "me", False)
            with pytest.raises(concurrent.futures.TimeoutError):
                giving.result(timeout=0.3)
            pathlib.Path(home.lock).write_text('{"owner": "other"}', encoding="utf-8")
        assert giving.result(timeout=20) is False
    assert home.read_lock() is not None


def test_two_at_once_unpack_a_release_once(tmp_path: pathlib.Path, home: Home) -> None:
    """The second one waits, and finds it there."""
    archive = write(tmp_path / "a.tar.gz", member("a"))
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with apply.alone(home.releases):
            both = [threads.submit(apply.unpack, home, "1", archive, "") for _number in range(2)]
            time.sleep(0.3)
            assert os.listdir(home.releases) == []
        for one in both:
            one.result(timeout=20)
    assert os.listdir(home.releases) == ["1"]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_history_that_is_broken_is_named(home: Home, content: str) -> None:
    """It is never taken for an empty one."""
    pathlib.Path(home.history).write_text(content, encoding="utf-8")
    with pytest.raises(MainstayError, match=r"history\.json"):
        home.read()


def test_the_history_is_json_that_others_can_read(tmp_path: pathlib.Path, home: Home) -> None:
    """Its shape is part of the interface."""
    apply.unpack(home, "1", write(tmp_path / "a.tar.gz", member("a")), "")
    apply.record(home, home.read(), Record("1", "blue"), "ops")
    with open(home.history, encoding="utf-8") as stream:
        records = json.load(stream)["records"]
    assert set(records[0]) == {"release", "slot", "previous", "kind", "time", "by"}


def test_a_full_disk_is_told_and_leaves_the_old_file(home: Home) -> None:
    me = Lock("me", "me@ctl", 0.0)
    take(home, me, False)
    before = pathlib.Path(home.lock).read_text()
    for path in (home.lock, home.history):
        os.symlink("/dev/full", f"{path}.new")
    with pytest.raises(MainstayError, match="could not write .*deploy.lock: .*No space left.*make room"):
        take(home, me, False)
    with pytest.raises(MainstayError, match="could not write .*history.json: .*No space left"):
        apply.record(home, home.read(), Record("1", "blue"), "ops")
    assert pathlib.Path(home.lock).read_text() == before and not os.path.exists(home.history)
