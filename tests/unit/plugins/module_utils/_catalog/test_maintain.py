# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies, retention and removal over folders: what is planned is what is done, what is cut off is finished by the next run, what is unknown stays."""

from __future__ import annotations

import datetime
import io
import json
import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import DamagedObject
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.states import Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

DAY = datetime.timedelta(days=1)
RULES = ("keep_last", "keep_within", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
State = t.Callable[[dict[str, t.Any], Catalogue, bool], Outcome]


def take(catalogue: Catalogue, age: datetime.timedelta = 5 * DAY, method: str = "copy", data: bytes = b"data" * 1000) -> Backup:
    """Write a backup with two objects."""
    moment = utc_now() - age
    with catalogue.draft(catalogues.new_id(moment)) as draft:
        for name in ("a.zst", "b/c.zst"):
            draft.add(name, io.BytesIO(data), Compression().filters(), 1)
        described = (Compression().describe(), Encryption("none").describe())
        return draft.publish(
            Manifest(draft.id, catalogue.kind, method, catalogue.name, moment, moment, moment, moment, {}, {}, tuple(draft.records), *described)
        )


def judge(catalogue: Catalogue, backup: Backup, status: str = "successful") -> Backup:
    """Record a verification."""
    return catalogue.record_verification(backup, Verification(utc_now(), "restore", status, 1.0, {}))


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Halt(Exception):
    """The process was killed."""


class Place:
    """A catalogue with two copies, and the options that name them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.first, self.second = folder / "store", folder / "first", folder / "second"
        self.catalogue = Catalogue(LocalStore(str(self.folder)), "thing", "n")

    def params(self, copies: t.Sequence[pathlib.Path] = (), backup_id: str = "latest", force: bool = False, **retention: t.Any) -> dict[str, t.Any]:
        """Return a module's options."""
        given = {**dict.fromkeys(RULES), "min_good": 1, "grace": "1h", **retention} if retention else None
        stores = [{"type": "local", "path": str(path)} for path in copies]
        return {"copies": stores, "retention": given, "backup_id": backup_id, "force": force}

    def both(self, state: State, params: dict[str, t.Any]) -> Outcome:
        """Run a state in check mode, which changes nothing, then really, which does the same, then again, which does nothing."""
        before = tree(self.folder.parent)
        planned = state(params, self.catalogue, True)
        assert tree(self.folder.parent) == before
        done = state(params, self.catalogue, False)
        assert (planned.actions, planned.before, planned.after, planned.kept, planned.pruned) == (
            done.actions,
            done.before,
            done.after,
            done.kept,
            done.pruned,
        )
        again = state(params, self.catalogue, False)
        assert (again.actions, again.pruned) == ([], []) and again.before == again.after
        return done


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """An empty catalogue."""
    return Place(tmp_path)


class TestCopied:
    def test_everything_arrives(self, place: Place) -> None:
        backup = judge(place.catalogue, take(place.catalogue))
        done = place.both(maintain.copied, place.params([place.first, place.second]))
        assert done.backup is not None and done.backup.id == backup.id
        assert done.actions == [f"copy backup {backup.id} to {path}" for path in (place.first, place.second)]
        assert done.before == [] and done.after == [f"{path}: {backup.id}" for path in (place.first, place.second)]
        assert tree(place.first) == tree(place.second) == tree(place.folder)
        assert place.first.stat().st_mode & 0o777 == 0o700

    def test_later_verifications_follow(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        judge(place.catalogue, backup)
        assert place.both(maintain.copied, params).actions == [f"copy 1 verifications of backup {backup.id} to {place.first}"]
        assert tree(place.first) == tree(place.folder)

    def test_an_older_one_by_its_id(self, place: Place) -> None:
        old = take(place.catalogue, 9 * DAY)
        take(place.catalogue)
        place.both(maintain.copied, place.params([place.first], old.id))
        assert {path.split("/")[2] for path in tree(place.first)} == {old.id}

    def test_a_copy_that_was_cut_off_is_finished(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        base = place.first / "thing/n" / backup.id
        (base / "manifest.json").unlink()
        (base / "a.zst").unlink()
        kept = (base / "b/c.zst").stat().st_ino
        assert Catalogue(LocalStore(str(place.first)), "thing", "n").incomplete() == [backup.id]
        place.both(maintain.copied, params)
        assert tree(place.first) == tree(place.folder)
        assert (base / "b/c.zst").stat().st_ino == kept

    def test_an_object_of_another_size_is_replaced(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        (place.first / "thing/n" / backup.id / "a.zst").write_bytes(b"short")
        place.both(maintain.copied, params)
        assert tree(place.first) == tree(place.folder)

    def test_a_copy_that_is_being_repaired_is_no_backup(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        (place.first / "thing/n" / backup.id / "a.zst").write_bytes(b"short")

        def stop(store: LocalStore, key: str, *_unused: t.Any) -> None:
            raise Halt

        monkeypatch.setattr(LocalStore, "write_stream", stop)
        with pytest.raises(Halt):
            maintain.copied(params, place.catalogue, False)
        monkeypatch.undo()
        copy = Catalogue(LocalStore(str(place.first)), "thing", "n")
        assert copy.ids() == [] and copy.incomplete() == [backup.id]
        place.both(maintain.copied, params)
        assert tree(place.first) == tree(place.folder)

    def test_a_damaged_source_spoils_no_copy(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        (place.first / "thing/n" / backup.id / "a.zst").unlink()
        there = tree(place.first)
        path = place.folder / "thing/n" / backup.id / "a.zst"
        content = bytearray(path.read_bytes())
        content[5] ^= 1
        path.write_bytes(content)
        with pytest.raises(MainstayError, match="SHA-256"):
            maintain.copied(params, place.catalogue, False)
        assert tree(place.first) == there
        with pytest.raises(MainstayError, match=rf"{place.second}: .*SHA-256"):
            maintain.copied(place.params([place.second]), place.catalogue, False)
        assert tree(place.second) == {}

    def test_one_flipped_byte_never_becomes_an_object(self, place: Place) -> None:
        from ansible_collections.mainstay.ops.plugins.module_utils._catalog.copying import copy, plan_copy

        backup = take(place.catalogue)
        path = place.folder / "thing/n" / backup.id / "b/c.zst"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        target = Catalogue(LocalStore(str(place.first)), "thing", "n")
        with pytest.raises(DamagedObject, match="b/c.zst"):
            copy(place.catalogue, plan_copy(place.catalogue, backup, target))
        assert [name for name in tree(place.first) if "c.zst" in name or "manifest" in name] == []

    def test_each_store_that_fails_is_named_and_the_others_succeed(self, place: Place) -> None:
        take(place.catalogue)
        place.first.write_text("no folder")
        with pytest.raises(MainstayError, match=rf"{place.first}: could not") as caught:
            maintain.copied(place.params([place.first, place.second]), place.catalogue, False)
        assert str(place.second) not in str(caught.value)
        assert tree(place.second) == tree(place.folder)

    def test_another_manifest_under_the_id_is_no_copy(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first])
        maintain.copied(params, place.catalogue, False)
        (place.first / "thing/n" / backup.id / "manifest.json").write_text("{}")
        with pytest.raises(MainstayError, match="another manifest"):
            maintain.copied(params, place.catalogue, False)

    @pytest.mark.parametrize("copies", [[], ["store"], ["first", "first"]])
    def test_what_cannot_be_right(self, place: Place, copies: list[str]) -> None:
        take(place.catalogue)
        with pytest.raises(InvalidInput):
            maintain.copied(place.params([place.folder.parent / name for name in copies]), place.catalogue, False)


class TestPruned:
    def test_the_rules_decide(self, place: Place) -> None:
        ids = [take(place.catalogue, age * DAY).id for age in (9, 7, 5, 3)]
        done = place.both(maintain.pruned, place.params(keep_last=2))
        assert done.actions == [f"remove backup {ids[1]}", f"remove backup {ids[0]}"]
        assert done.pruned == ids[:2] and done.backup is None
        assert done.kept == [
            {"id": ids[2], "reasons": ["keep_last 2 of 2"]},
            {"id": ids[3], "reasons": ["keep_last 1 of 2", "the newest good one", "min_good 1 of 1"]},
        ]
        assert done.before[:2] == [f"{backup_id}: no rule keeps it" for backup_id in ids[:2]] and done.before[2:] == done.after
        assert done.after[0] == f"{ids[2]}: keep_last 2 of 2"
        assert place.catalogue.ids() == ids[2:] and place.catalogue.incomplete() == []
        assert {path.split("/")[2] for path in tree(place.folder)} == set(ids[2:])

    def test_copies_are_pruned_by_what_they_hold(self, place: Place) -> None:
        backups = [take(place.catalogue, age * DAY) for age in (9, 7, 5, 3)]
        for backup in backups[:2]:
            maintain.copied(place.params([place.first], backup.id), place.catalogue, False)
        maintain.copied(place.params([place.second], backups[3].id), place.catalogue, False)
        done = place.both(maintain.pruned, place.params([place.first, place.second], keep_last=1))
        assert done.actions == [
            *(f"remove backup {backup.id}" for backup in reversed(backups[:3])),
            f"remove backup {backups[0].id} from {place.first}",
        ]
        assert done.pruned == [backup.id for backup in backups[:3]]
        assert {path.split("/")[2] for path in tree(place.first)} == {backups[1].id}

    def test_what_stays_in_the_store_stays_in_its_copies(self, place: Place) -> None:
        backups = [take(place.catalogue, age * DAY) for age in (9, 7)]
        for backup in backups:
            maintain.copied(place.params([place.first], backup.id), place.catalogue, False)
        judge(place.catalogue, backups[0])
        done = place.both(maintain.pruned, place.params([place.first], keep_last=1))
        assert done.actions == []
        assert f"{place.first}: {backups[0].id}: it stays in {place.folder}" in done.after

    def test_what_is_unknown_is_not_touched(self, place: Place) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        base = place.folder / "thing/n"
        strangers = [
            base / old.id / "note.txt",
            base / old.id / "verify/note.txt",
            base / "README",
            base / "20200101T000000Z-00000000/a.zst",
            place.folder / "x/y",
        ]
        for path in strangers:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine")
        judge(place.catalogue, old, "failed")
        done = maintain.pruned(place.params(keep_last=1), place.catalogue, False)
        assert done.pruned == [old.id]
        assert all(path.read_text() == "mine" for path in strangers)
        assert not (base / old.id / "a.zst").exists() and len(list((base / old.id).rglob("*.json"))) == 0
        assert {item["id"] for item in done.kept} >= {"20200101T000000Z-00000000"}

    def test_one_that_another_run_just_removed(self, place: Place) -> None:
        old, new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        view = place.catalogue.look()
        place.catalogue.remove(old)
        assert [backup.id for backup in view.backups()] == [backup.id for backup in view.newest_first()] == [new.id]

    @pytest.mark.parametrize("content", ["", "{", '{"format": 99}'])
    def test_an_unreadable_one_stays(self, place: Place, content: str) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        (place.folder / "thing/n" / old.id / "manifest.json").write_text(content)
        done = place.both(maintain.pruned, place.params(keep_last=1))
        assert done.pruned == [] and done.kept[0] == {"id": old.id, "reasons": ["its manifest cannot be read"]}

    def test_a_manifest_in_the_wrong_folder_is_unreadable(self, place: Place) -> None:
        old, new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        base = place.folder / "thing/n"
        (base / old.id / "manifest.json").write_bytes((base / new.id / "manifest.json").read_bytes())
        assert place.both(maintain.pruned, place.params(keep_last=1)).pruned == []

    def test_other_methods_are_not_seen(self, place: Place) -> None:
        other = take(place.catalogue, DAY, method="other")
        mine = [take(place.catalogue, age * DAY) for age in (9, 7)]
        place.catalogue = Catalogue(place.catalogue.store, "thing", "n", ("copy",))
        assert (place.catalogue.newest_good() or other).id == mine[1].id
        done = place.both(maintain.pruned, place.params(keep_last=1))
        assert done.pruned == [mine[0].id] and [item["id"] for item in done.kept] == [mine[1].id]
        with pytest.raises(InvalidInput, match="its method is other"):
            place.catalogue.choose(other.id)

    def test_clocks_apart(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        for age in (9, 7):
            take(place.catalogue, age * DAY)
        before = tree(place.folder)
        for seconds, fits in ((-301, False), (301, False), (290, True)):
            shown = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
            monkeypatch.setattr(LocalStore, "clock", lambda store, shown=shown: shown)
            if fits:
                assert maintain.pruned(place.params(keep_last=1), place.catalogue, True).pruned
            else:
                with pytest.raises(MainstayError, match="30. seconds apart"):
                    maintain.pruned(place.params(keep_last=1), place.catalogue, False)
        assert tree(place.folder) == before

    @pytest.mark.parametrize("retention", [{}, {"keep_last": -1}, {"keep_last": 1, "min_good": 0}, {"keep_within": "soon"}, {"keep_last": 1, "grace": "-1"}])
    def test_what_cannot_be_right(self, place: Place, retention: dict[str, t.Any]) -> None:
        with pytest.raises(InvalidInput):
            maintain.pruned(place.params(**retention), place.catalogue, False)

    def test_no_rule(self, place: Place) -> None:
        take(place.catalogue, 900 * DAY), take(place.catalogue)
        done = place.both(maintain.pruned, place.params(min_good=1))
        assert done.kept[0]["reasons"] == ["no keep rule is given"] and "no rule" in done.warnings[0]


class TestRemovalThatIsCutOff:
    @pytest.mark.parametrize("deletions", range(6))
    def test_never_half_a_backup(self, place: Place, monkeypatch: pytest.MonkeyPatch, deletions: int) -> None:
        old = judge(place.catalogue, take(place.catalogue, 9 * DAY))
        judge(place.catalogue, take(place.catalogue))
        real, left = LocalStore.delete, [deletions]

        def delete(store: LocalStore, key: str) -> None:
            if not left[0]:
                raise Halt
            left[0] -= 1
            real(store, key)

        monkeypatch.setattr(LocalStore, "delete", delete)
        params = place.params(keep_last=1)
        if deletions < 5:
            with pytest.raises(Halt):
                maintain.pruned(params, place.catalogue, False)
        else:
            maintain.pruned(params, place.catalogue, False)
        monkeypatch.undo()
        if old.id in place.catalogue.ids():
            place.catalogue.check_hashes(place.catalogue.choose(old.id))
        elif deletions < 5:
            assert place.catalogue.incomplete() == [old.id]
            done = place.both(maintain.pruned, params)
            assert done.actions == [f"bring the removal of backup {old.id} to its end"]
        maintain.pruned(params, place.catalogue, False)
        assert not (place.folder / "thing/n" / old.id).exists() and len(place.catalogue.ids()) == 1

    def test_absent_finishes_it_too(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        monkeypatch.setattr(Catalogue, "finish_removal", lambda catalogue, backup_id: None)
        maintain.pruned(place.params(keep_last=1), place.catalogue, False)
        monkeypatch.undo()
        assert place.catalogue.incomplete() == [old.id]
        assert place.both(maintain.absent, place.params(backup_id=old.id)).actions == [f"bring the removal of backup {old.id} to its end"]
        assert place.catalogue.incomplete() == []

    def test_a_tombstone_beside_a_manifest_says_nothing(self, place: Place) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        place.catalogue.store.put_new(f"thing/n/{old.id}/removed.json", b"{}")
        assert place.both(maintain.pruned, place.params(keep_last=2)).actions == []
        assert len(place.catalogue.ids()) == 2

    @pytest.mark.parametrize("name", ["../../../outside", "/outside", "a/../../b", ".hidden"])
    def test_a_manifest_cannot_name_what_is_not_its_own(self, place: Place, name: str) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        outside = place.folder / "outside"
        outside.write_text("mine")
        path = place.folder / "thing/n" / old.id / "manifest.json"
        plain = json.loads(path.read_text())
        plain["objects"][0]["name"] = name
        path.write_text(json.dumps(plain))
        with pytest.raises(MainstayError, match="plain names"):
            maintain.pruned(place.params(keep_last=1), place.catalogue, False)
        assert outside.read_text() == "mine"


class TestAbsent:
    def test_one_goes_everywhere(self, place: Place) -> None:
        backups = [take(place.catalogue, age * DAY) for age in (9, 8, 7, 5)]
        for backup in backups:
            maintain.copied(place.params([place.first], backup.id), place.catalogue, False)
        params = place.params([place.first], backups[0].id)
        done = place.both(maintain.absent, params)
        assert done.actions == [f"remove backup {backups[0].id}", f"remove backup {backups[0].id} from {place.first}"]
        assert done.before == [backups[0].id, f"{place.first}: {backups[0].id}"] and done.after == []
        assert done.pruned == [backups[0].id] and done.backup is not None and done.backup.id == backups[0].id
        assert tree(place.first) == tree(place.folder)
        assert {path.split("/")[2] for path in tree(place.folder)} == {backup.id for backup in backups[1:]}

    @pytest.mark.parametrize(
        ("which", "verified", "cause"),
        [(3, None, "newest good one"), (1, 1, "newest verified one"), (0, None, None), (2, 2, "newest verified one"), (3, 3, "newest verified one")],
    )
    def test_the_rails(self, place: Place, which: int, verified: int | None, cause: str | None) -> None:
        backups = [take(place.catalogue, age * DAY) for age in (9, 8, 7, 5)]
        if verified is not None:
            judge(place.catalogue, backups[verified])
        params = place.params(backup_id=backups[which].id)
        if cause:
            with pytest.raises(InvalidInput, match=cause):
                maintain.absent(params, place.catalogue, True)
            with pytest.raises(InvalidInput, match=f"{cause}.*force"):
                maintain.absent(params, place.catalogue, False)
            assert len(place.catalogue.ids()) == 4
            params["force"] = True
        place.both(maintain.absent, params)
        assert len(place.catalogue.ids()) == 3

    def test_two_good_ones_are_left(self, place: Place) -> None:
        backups = [take(place.catalogue, age * DAY) for age in (9, 8)]
        with pytest.raises(InvalidInput, match="1 good ones would be left, min_good is 2"):
            maintain.absent(place.params(backup_id=backups[0].id), place.catalogue, False)
        maintain.absent(place.params(backup_id=backups[0].id, min_good=1), place.catalogue, False)
        assert place.catalogue.ids() == [backups[1].id]

    def test_a_failed_one_may_go(self, place: Place) -> None:
        take(place.catalogue, 9 * DAY)
        bad = judge(place.catalogue, take(place.catalogue), "failed")
        assert place.both(maintain.absent, place.params(backup_id=bad.id)).pruned == [bad.id]

    def test_an_unreadable_one_stays_even_by_force(self, place: Place) -> None:
        old, _new = take(place.catalogue, 9 * DAY), take(place.catalogue)
        (place.folder / "thing/n" / old.id / "manifest.json").write_text("{}")
        with pytest.raises(MainstayError, match="no manifest"):
            maintain.absent(place.params(backup_id=old.id, force=True), place.catalogue, False)

    def test_one_in_progress_is_left_alone(self, place: Place) -> None:
        with place.catalogue.draft(catalogues.new_id(utc_now())) as draft:
            draft.add("a.zst", io.BytesIO(b"x"), (), 1)
            before = tree(place.folder)
            for force in (False, True):
                done = maintain.absent(place.params(backup_id=draft.id, force=force), place.catalogue, False)
                assert done.actions == [] and "left alone" in done.warnings[0]
            assert tree(place.folder) == before

    @pytest.mark.parametrize("selector", ["latest", "latest_verified", "../x", ""])
    def test_only_by_an_id(self, place: Place, selector: str) -> None:
        with pytest.raises(InvalidInput, match="named by its id"):
            maintain.absent(place.params(backup_id=selector, force=True), place.catalogue, False)


class TestAfterABackup:
    def run(self, place: Place, params: dict[str, t.Any], check: bool, due: bool = True) -> Outcome:
        """Do what a state present does."""
        view = place.catalogue.look()
        outcome = Outcome(backup=view.newest_good(), before=view.ids, after=view.ids)
        if due:
            outcome.actions, outcome.after = ["take it"], [*view.ids, maintain.NEW]
            if not check:
                outcome.backup = take(place.catalogue, datetime.timedelta())
        return maintain.complete(maintain.Upkeep.of(params, place.catalogue), outcome, check)

    def test_copies_and_retention(self, place: Place) -> None:
        ids = [take(place.catalogue, age * DAY).id for age in (9, 7, 5)]
        params = place.params([place.first], keep_last=2)
        planned, before = self.run(place, params, True), tree(place.folder)
        assert tree(place.folder) == before and not place.first.exists()
        done = self.run(place, params, False)
        assert planned.actions == done.actions == ["take it", f"copy the new backup to {place.first}", f"remove backup {ids[1]}", f"remove backup {ids[0]}"]
        assert (planned.before, planned.after, planned.pruned) == (done.before, done.after, done.pruned)
        assert done.after[-2].startswith(f"{maintain.NEW}: keep_last 1 of 2, the newest good one")
        assert done.after[-1].startswith(f"{place.first}: {maintain.NEW}: keep_last 1 of 2")
        assert done.backup is not None and [item["id"] for item in done.kept] == [ids[2], done.backup.id]
        assert [item["id"] for item in planned.kept] == [ids[2]]
        assert set(done.phases) == {"copy", "prune"}
        assert {path.split("/")[2] for path in tree(place.first)} == {done.backup.id}

    def test_without_either(self, place: Place) -> None:
        done = self.run(place, place.params(), False)
        assert done.actions == ["take it"] and done.after == [maintain.NEW] and done.phases == {}

    def test_nothing_goes_when_a_copy_failed(self, place: Place) -> None:
        ids = [take(place.catalogue, age * DAY).id for age in (9, 7, 5)]
        place.first.write_text("no folder")
        with pytest.raises(MainstayError, match=str(place.first)):
            self.run(place, place.params([place.first], keep_last=1), False)
        assert place.catalogue.ids()[:3] == ids and len(place.catalogue.ids()) == 4

    def test_a_missing_copy_is_made_when_no_backup_is_due(self, place: Place) -> None:
        backup, params = take(place.catalogue), place.params([place.first], keep_last=1)
        take(place.catalogue, 9 * DAY)
        planned, done = self.run(place, params, True, due=False), self.run(place, params, False, due=False)
        assert planned.actions == done.actions == [f"copy backup {backup.id} to {place.first}"]
        assert (planned.before, planned.after) == (done.before, done.after)
        assert self.run(place, params, False, due=False).actions == []
        assert len(place.catalogue.ids()) == 2

    def test_the_unchanged_run_lists_once(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        for age in (9, 7, 5):
            take(place.catalogue, age * DAY)
        calls: list[str] = []
        for name in ("list", "open_read", "clock"):
            real = getattr(LocalStore, name)
            monkeypatch.setattr(LocalStore, name, lambda store, *given, name=name, real=real: (calls.append(name), real(store, *given))[1])
        self.run(place, place.params(keep_last=1), False, due=False)
        assert calls == ["list", "open_read"]


class TestPolicy:
    def test_the_option(self) -> None:
        given = {**dict.fromkeys(RULES), "keep_last": 3, "keep_within": "2d", "keep_yearly": 0, "min_good": 2, "grace": "12h"}
        policy = spec.policy_of({"retention": given})
        assert policy is not None and (policy.keep_last, policy.keep_within_seconds, policy.min_good, policy.grace_seconds) == (3, 172800, 2, 43200)
        assert policy.has_rules
        given.update(keep_last=None, keep_within=None)
        assert not (spec.policy_of({"retention": given}) or policy).has_rules
        assert spec.policy_of({"retention": None}) is None
