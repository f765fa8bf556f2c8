# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of a verification: what a recovery took and lost against its targets, and how long the next one should take."""

from __future__ import annotations

import datetime
import io
import pathlib
import signal
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import manifest as manifests
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import verify
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._process import KILLS, Command, ProgramKilled

AGE = datetime.timedelta(hours=2)


class Checks:
    """A kind whose restore takes as long as it says."""

    def __init__(self, phases: dict[str, float], details: dict[str, t.Any], fault: str = "") -> None:
        self.phases, self.details, self.fault = phases, details, fault

    def content(self, backup: t.Any, record: t.Any) -> t.Any:
        return lambda stream: stream.read()

    def restore(self, backup: t.Any, phases: dict[str, float]) -> dict[str, t.Any]:
        phases.update(self.phases)
        if self.fault:
            raise verify.VerificationFailed("check it", self.fault)
        return self.details


PHASES = {"prepare": 100.0, "globals": 1.0, "fetch": 2.0, "restore": 30.0, "check": 4.0, "analyze": 5.0, "remove": 100.0}


@pytest.fixture
def catalogue(tmp_path: pathlib.Path) -> catalogues.Catalogue:
    """An empty catalogue in a folder."""
    return catalogues.Catalogue(LocalStore(str(tmp_path / "store")), "thing", "n")


def make(catalogue: catalogues.Catalogue, data: bytes = b"x" * 1000) -> catalogues.Backup:
    """Write a backup of data that is two hours old."""
    moment = manifests.utc_now() - AGE
    with catalogue.draft(catalogues.new_id(moment)) as draft:
        record = draft.add("a", io.BytesIO(data), (), 1)
        plain = {"type": "none"}
        return draft.publish(manifests.Manifest(draft.id, "thing", "copy", "n", moment, moment, moment, moment, {}, {}, (record,), plain, plain))


class TestTargets:
    @pytest.mark.parametrize(
        ("rto", "rpo", "met", "warned"),
        [
            (None, None, (None, None), []),
            (42, 7300, (True, True), []),
            (41, 7300, (False, True), ["rto_target is missed: a restore takes 42 seconds, 41 are allowed"]),
            (None, 7100, (None, False), ["rpo_target is missed: the data is older than the verification by 7200 seconds, 7100 are allowed"]),
        ],
    )
    def test_are_judged(self, catalogue: catalogues.Catalogue, rto: int | None, rpo: int | None, met: tuple[bool | None, ...], warned: list[str]) -> None:
        backup = verify.verify(catalogue, make(catalogue), "restore", Identity(), Checks(PHASES, {"warnings": ["w"]}), verify.Targets(rto, rpo))
        details = backup.verifications[-1].details
        assert details["rto_seconds"] == 42.0 and details["rpo_seconds"] == pytest.approx(7200, abs=90)
        assert (details["rto_met"], details["rpo_met"]) == met and backup.good and backup.verified_at
        assert [text.replace(f"{details['rpo_seconds']:.0f}", "7200") for text in details["warnings"]] == ["w", *warned]

    def test_of_options(self) -> None:
        assert verify.Targets.of({"rto_target": "15m", "rpo_target": None}) == verify.Targets(900, None)
        with pytest.raises(InvalidInput, match="could not read the duration 'soon'"):
            verify.Targets.of({"rto_target": "soon", "rpo_target": None})

    def test_only_a_restore_that_succeeded_measures(self, catalogue: catalogues.Catalogue) -> None:
        backup = make(catalogue)
        assert verify.verify(catalogue, backup, "content", Identity(), Checks({}, {}), verify.Targets(1, 1)).verifications[-1].details == {}
        with pytest.raises(verify.VerificationFailed) as caught:
            verify.verify(catalogue, backup, "restore", Identity(), Checks(PHASES, {}, "it is bad"), verify.Targets(1, 1))
        assert caught.value.details["verification"]["details"] == {} and caught.value.details["verification"]["status"] == "failed"

    def test_a_kind_that_knows_better_is_believed(self, catalogue: catalogues.Catalogue) -> None:
        backup = verify.verify(catalogue, make(catalogue), "restore", Identity(), Checks(PHASES, {"rpo_seconds": 3.0}), verify.Targets(None, 5))
        assert backup.verifications[-1].details["rpo_seconds"] == 3.0 and backup.verifications[-1].details["rpo_met"] is True

    def test_data_from_the_future_is_of_now(self, catalogue: catalogues.Catalogue) -> None:
        backup = make(catalogue)
        assert verify.age_seconds(backup, backup.require_manifest().recoverable_to - AGE) == 0.0


class Reader(Checks):
    """A kind whose objects are read by a shell script."""

    def __init__(self, script: str) -> None:
        super().__init__({}, {})
        self.script = script

    def content(self, backup: t.Any, record: t.Any) -> t.Any:
        return Command(("sh", "-c", self.script))


class TestPrograms:
    @pytest.mark.parametrize("number", sorted(KILLS))
    def test_one_that_is_killed_says_nothing_of_the_backup(self, catalogue: catalogues.Catalogue, number: signal.Signals) -> None:
        backup = make(catalogue)
        with pytest.raises(ProgramKilled, match=f"sh was killed by {number.name}"):
            verify.verify(catalogue, backup, "content", Identity(), Reader(f"kill -{number:d} $$; sleep 60"))
        assert catalogue.choose(backup.id).good and catalogue.choose(backup.id).verifications == ()

    @pytest.mark.parametrize(("script", "cause"), [("exit 1", "sh ended with status 1"), ("kill -SEGV $$", "sh was killed by SIGSEGV")])
    def test_one_that_fails_does(self, catalogue: catalogues.Catalogue, script: str, cause: str) -> None:
        backup = make(catalogue)
        with pytest.raises(verify.VerificationFailed, match=cause):
            verify.verify(catalogue, backup, "content", Identity(), Reader(script))
        assert not catalogue.choose(backup.id).good


class TestExpectation:
    def test_goes_by_the_newest_restore_that_was_measured(self, catalogue: catalogues.Catalogue) -> None:
        first, second = make(catalogue), make(catalogue, b"x" * 500)
        assert verify.expected_seconds(catalogue, second, 500) is None
        first = verify.verify(catalogue, first, "restore", Identity(), Checks(PHASES, {}))
        first = verify.verify(catalogue, first, "list", Identity(), Checks({}, {}))
        assert verify.expected_seconds(catalogue, second, 500) == 21.0
        second = verify.verify(catalogue, second, "restore", Identity(), Checks({"restore": 5.0}, {}))
        assert verify.expected_seconds(catalogue, second, 500) == 5.0 and verify.expected_seconds(catalogue, first, 1000) == 42.0
