# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are based on others: which of them are good, and what is verified, copied and kept with them."""

from __future__ import annotations

import datetime
import io
import json
import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import maintain, manifest, verify
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, BackupNotFound, Catalogue, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore

PLAIN = {"type": "none"}


def take(catalogue: Catalogue, hours: int, *parents: Backup) -> Backup:
    """Write a backup that is so many hours old."""
    moment = manifest.utc_now() - datetime.timedelta(hours=hours)
    with catalogue.draft(catalogues.new_id(moment)) as draft:
        record = draft.add("a", io.BytesIO(b"x" * 1000), (), 1)
        ids = tuple(parent.id for parent in parents)
        return draft.publish(
            manifest.Manifest(draft.id, "thing", "copy", "n", moment, moment, moment, moment, {}, {}, (record,), PLAIN, PLAIN, parents=ids)
        )


@pytest.fixture
def catalogue(tmp_path: pathlib.Path) -> Catalogue:
    """An empty catalogue in a folder."""
    return Catalogue(LocalStore(str(tmp_path / "store")), "thing", "n")


@pytest.fixture
def chain(catalogue: Catalogue) -> list[Backup]:
    """One that stands alone, and two that are based on it."""
    first = take(catalogue, 9)
    second = take(catalogue, 8, first)
    return [first, second, take(catalogue, 7, first, second)]


class Checks:
    """A kind whose content is whatever there is."""

    def content(self, backup: Backup, record: t.Any) -> t.Callable[[t.BinaryIO], object]:
        return lambda stream: stream.read()

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        return {}


def test_all_are_good_and_know_each_other(catalogue: Catalogue, chain: list[Backup]) -> None:
    assert [backup.id for backup in catalogue.lineage(chain[2])] == [backup.id for backup in chain]
    assert all(backup.good for backup in catalogue.backups()) and catalogue.choose("latest").id == chain[2].id
    assert catalogue.summary(chain[2])["parents"] == [chain[0].id, chain[1].id]


def test_one_that_is_missing_breaks_those_after_it(catalogue: Catalogue, chain: list[Backup]) -> None:
    catalogue.remove(chain[1])
    first, third = catalogue.backups()
    assert first.good and not third.good and catalogue.choose("latest").id == chain[0].id
    assert catalogue.summary(third)["problem"] == f"it is based on backup {chain[1].id}, which is missing"
    assert catalogue.choose(chain[2].id).broken and catalogue.look().find(chain[2].id) == third
    with pytest.raises(BackupNotFound, match=chain[1].id):
        catalogue.lineage(chain[2])


def test_one_that_failed_breaks_those_after_it(catalogue: Catalogue, chain: list[Backup]) -> None:
    catalogue.record_verification(chain[0], Verification(manifest.utc_now(), "checksum", "failed", 1.0, {}))
    assert [backup.good for backup in catalogue.backups()] == [False, False, False]
    assert [backup.intact for backup in catalogue.backups()] == [False, True, True]
    assert catalogue.overview()["latest"] is None


@pytest.mark.parametrize("level", ["list", "checksum", "content"])
def test_a_fault_is_recorded_where_it_is(catalogue: Catalogue, chain: list[Backup], tmp_path: pathlib.Path, level: str) -> None:
    path = tmp_path / "store" / catalogue.key(chain[0].id, "a")
    path.write_bytes(b"y" * (999 if level == "list" else 1000))
    with pytest.raises(verify.VerificationFailed, match=chain[0].id) as caught:
        verify.verify(catalogue, chain[2], level, Identity(), Checks())
    assert caught.value.details["verification"]["status"] == "failed"
    assert [backup.intact for backup in catalogue.backups()] == [False, True, False]


def test_the_others_are_verified_as_well(catalogue: Catalogue, chain: list[Backup]) -> None:
    assert verify.verify(catalogue, chain[2], "content", Identity(), Checks()).verifications[-1].status == "successful"


def test_a_copy_brings_the_whole_chain(catalogue: Catalogue, chain: list[Backup], tmp_path: pathlib.Path) -> None:
    params = {"copies": [{"type": "local", "path": str(tmp_path / "copy")}], "retention": None, "backup_id": chain[2].id}
    assert len(maintain.copied(params, catalogue, True).actions) == 3
    assert len(maintain.copied(params, catalogue, False).actions) == 3
    assert maintain.copied(params, catalogue, False).actions == []
    assert [backup.good for backup in Catalogue(LocalStore(str(tmp_path / "copy")), "thing", "n").backups()] == [True] * 3


def test_what_a_kept_one_is_based_on_stays(catalogue: Catalogue, chain: list[Backup]) -> None:
    rules = dict.fromkeys(("keep_within", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"))
    params = {"copies": [], "retention": {**rules, "keep_last": 1, "min_good": 1, "grace": "1h"}, "backup_id": chain[0].id, "force": False}
    assert maintain.pruned(params, catalogue, False).pruned == []
    with pytest.raises(Exception, match=f"{chain[1].id} is based on it"):
        maintain.absent(params, catalogue, False)
    take(catalogue, 6)
    assert maintain.pruned(params, catalogue, False).pruned == sorted(backup.id for backup in chain)


def test_a_manifest_from_before_there_were_parents(catalogue: Catalogue, chain: list[Backup]) -> None:
    plain = json.loads(chain[0].require_manifest().dump())
    del plain["parents"]
    assert manifest.load(json.dumps(plain).encode(), "here").parents == ()
