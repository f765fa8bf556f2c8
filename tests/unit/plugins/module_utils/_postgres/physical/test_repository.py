# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository can bring back, which target is reached from which backup, and what is said: the parts that need no server."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import types
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import prune, recovery, restore, take, verify
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import copied_bytes
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import (
    Archive,
    BackupSet,
    Chain,
    Repository,
    chain,
    id_of,
    lsn_text,
    parse_archive,
    parse_history,
    parse_info,
    parse_lsn,
    segment_size,
)

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=UTC)
SIZE = 16 << 20


def at(minutes: float) -> datetime.datetime:
    """Return a moment after noon."""
    return NOON + datetime.timedelta(minutes=minutes)


def backup_set(label: str, segment: int, stopped: datetime.datetime, timeline: int = 1, **more: t.Any) -> BackupSet:
    """Return a backup that needs one segment of the log."""
    name = Archive().name(timeline, segment)
    kind = {"F": "full", "D": "diff", "I": "incr"}[label[-1]]
    given = dict(
        label=label, type=kind, started=stopped, stopped=stopped, wal_start=name, wal_stop=name, lsn_start=segment * SIZE + 40, lsn_stop=segment * SIZE + 256,
        references=(), page_errors=False, bytes_plain=1000, bytes_stored=100, bytes_needed=100, archive_id="17-1", system_identifier="7", server_version="17",
        engine_version="2.55", annotations={},
    )
    return BackupSet(**{**given, **more})


def archive(*names: str, **histories: tuple[tuple[int, int], ...]) -> Archive:
    """Return an archive of segments, each given as ``TIMELINE:NUMBER``; histories by ``tN``."""
    found = {}
    for name in names:
        timeline, number = (int(part) for part in name.split(":"))
        found[Archive().name(timeline, number)] = (f"17-1/{name}", at(number))
    return Archive(found, {int(key[1:]): ancestors for key, ancestors in histories.items()})


FULL = backup_set("20261122-120000F", 2, at(2))
LATER = backup_set("20261122-120500F", 5, at(5))
INCR = backup_set("20261122-120500F_20261122-120700I", 7, at(7), references=("20261122-120500F",))


def test_ids() -> None:
    """An id is the label's last time and digits of its hash, always the same."""
    assert id_of("20261122-120000F") == id_of("20261122-120000F") != id_of("20261122-120000F_20261122-120000I")
    assert INCR.id.startswith("20261122T120700Z-") and len(INCR.id) == 25
    with pytest.raises(ValueError, match="no label"):
        id_of("latest")


def test_positions() -> None:
    """Positions and segment names, also where segments have another size."""
    assert parse_lsn("1/A000028") == (1 << 32) + 0xA000028 and lsn_text(parse_lsn("1/A000028")) == "1/A000028"
    for wrong in ("", "1", "1/", "g/1", "1/123456789", "1/ 2"):
        with pytest.raises(ValueError, match="no position"):
            parse_lsn(wrong)
    assert Archive().name(3, 0x1FF) == "0000000300000001000000FF" and Archive().number("0000000300000001000000FF") == 0x1FF
    large = dataclasses.replace(FULL, wal_start="000000010000000000000003", lsn_start=3 * (64 << 20) + 40)
    assert segment_size([large]) == 64 << 20 and segment_size([FULL]) == SIZE and segment_size([]) == SIZE


def test_chain_ends_at_the_first_gap() -> None:
    """What comes after a missing segment cannot be reached; the missing one is named only if there is more, or if the backup needs it."""
    whole = chain(archive("1:2", "1:3", "1:4"), FULL, 1)
    assert (len(whole.names), whole.consistent, whole.missing, whole.arrived, whole.end) == (3, True, "", at(4), 5 * SIZE)
    torn = chain(archive("1:2", "1:3", "1:5"), FULL, 1)
    assert (len(torn.names), torn.consistent, torn.missing[-1], torn.arrived) == (2, True, "4", at(3))
    broken = chain(archive("1:3"), FULL, 1)
    assert not broken.consistent and broken.missing.endswith("2") and broken.names == () and broken.arrived is None
    empty = chain(archive(), FULL, 1)
    assert not empty.consistent and empty.missing.endswith("2")


def test_chain_follows_the_timelines() -> None:
    """The segment of a switch is the child's; what the parent wrote after it belongs to a way that was left."""
    held = archive("1:2", "1:3", "1:4", "1:5", "2:4", "2:5", "2:6", t2=((1, 4 * SIZE + 100),))
    followed = chain(held, FULL, 2)
    assert [name[:8] + name[-1] for name in followed.names] == ["000000012", "000000013", "000000024", "000000025", "000000026"] and followed.timeline == 2
    assert [name[-1] for name in chain(held, FULL, 1).names] == ["2", "3", "4", "5"]
    assert held.newest_timeline(1) == 2 and held.reaches(FULL, 2) and not held.reaches(LATER, 2)
    child = backup_set("20261122-120600F", 5, at(6), timeline=2)
    assert [name[:8] for name in chain(held, child, 2).names] == ["00000002"] * 2 and not held.reaches(child, 1)
    repository = Repository(1, (FULL, LATER, child), {"17-1": held}, "7", True)
    assert (repository.timeline(FULL), repository.timeline(LATER), repository.timeline(FULL, "current"), repository.timeline(FULL, "9")) == (2, 1, 1, 9)


def test_faults() -> None:
    """Wrong pages, a lost parent and lost log speak against a backup."""
    held = {"17-1": archive("1:2", "1:5", "1:7")}
    repository = Repository(1, (FULL, LATER, INCR), held, "7", True)
    assert not any(repository.fault(item) for item in (FULL, LATER, INCR)) and repository.children(LATER) == [INCR]
    assert "which it is based on, is not there" in Repository(1, (INCR,), held).fault(INCR)
    assert "wrong checksums when it was taken" in repository.fault(dataclasses.replace(FULL, page_errors=True))
    damaged = Repository(1, (dataclasses.replace(LATER, page_errors=True), INCR), held)
    assert "had wrong checksums" in damaged.fault(INCR)
    assert "000000010000000000000002" in Repository(1, (FULL,), {}).fault(FULL)
    assert "stopped" in repository.fault(dataclasses.replace(FULL, wal_start="", wal_stop=""))


def test_histories_and_listing() -> None:
    """A history's lines, and the files of an archive's listing; what is something else is passed over."""
    assert parse_history("1\t0/A000050\tno recovery target\n\n2\t1/0\tx\n# a word\n") == ((1, 0xA000050), (2, 1 << 32))
    name = f"17-1/0000000100000000/000000010000000000000002-{'a' * 40}.zst"
    listing = {
        name: {"type": "file", "time": 1},
        "17-1/00000002.history": {"type": "file", "time": 2},
        f"17-1/0000000100000000/000000010000000000000003.partial-{'a' * 40}.zst": {"type": "file", "time": 3},
        "17-1/0000000100000000/000000010000000000000002.00000028.backup": {"type": "file", "time": 3},
        "archive.info": {"type": "file", "time": 3},
        "17-1": {"type": "path"},
    }
    archives, histories = parse_archive(listing, [FULL])
    assert list(archives["17-1"].segments) == ["000000010000000000000002"] and histories == {("17-1", 2): "17-1/00000002.history"}


def info(code: int, message: str = "ok") -> list[dict[str, t.Any]]:
    """Return what ``pgbackrest info`` answers without backups."""
    repository = {"key": 1, "status": {"code": code, "message": message}}
    return [{"name": "ledger", "archive": [], "backup": [], "db": [], "repo": [repository], "status": {"code": code}}]


def test_info() -> None:
    """No stanza is no error, a passphrase that does not fit is one, and shows no rubbish."""
    assert not parse_info(info(1), 1, "ledger", "here").exists and not parse_info([], 1, "ledger", "here").exists
    assert parse_info(info(2), 1, "ledger", "here").exists
    with pytest.raises(MainstayError, match="the passphrase does not open it") as caught:
        parse_info(info(99, "[FormatError] unable to load \x00\xff"), 1, "ledger", "here")
    assert str(caught.value).isprintable()
    with pytest.raises(MainstayError, match="unable to set user-defined CA certificate location"):
        parse_info(info(99, "[CryptoError] unable to set user-defined CA certificate location: No such file or directory"), 1, "ledger", "here")
    with pytest.raises(MainstayError, match="HostConnectError"):
        parse_info(info(99, "[HostConnectError] unable to connect"), 1, "ledger", "here")


@dataclasses.dataclass
class Held:
    """As much of a repository's holdings as the choice of a backup looks at; the log's last commit is 30 seconds before its end."""

    repository: Repository
    bad: tuple[str, ...] = ()

    @property
    def entries(self) -> list[t.Any]:
        """The backups."""
        return [
            types.SimpleNamespace(set=item, backup=types.SimpleNamespace(id=item.id, good=item.label not in self.bad, verified_at=None, problem=""))
            for item in self.repository.sets
        ]

    def choose(self, selector: str) -> t.Any:
        """Return the newest one, or the one that is named."""
        return self.entries[-1] if selector.startswith("latest") else next(item for item in self.entries if item.backup.id == selector)

    def recoverable_to(self, item: BackupSet, found: Chain) -> datetime.datetime:
        """Return the last commit."""
        return (found.arrived or item.stopped) - datetime.timedelta(seconds=30)


GAPLESS = Repository(1, (FULL, LATER, INCR), {"17-1": archive(*(f"1:{number}" for number in range(2, 11)))}, "7", True)


def target(**options: t.Any) -> restore.Target:
    """Return a target from the option's fields."""
    return restore.Target.from_params({"type": "latest", "value": None, "inclusive": True, "timeline": "latest", "action": "promote", **options})


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(2, FULL), (4.99, FULL), (5, LATER), (6.9, LATER), (7, INCR), (9.49, INCR)],
)
def test_the_newest_backup_before_a_time(minutes: float, expected: BackupSet) -> None:
    """It is the newest that ended no later than the target, up to the last commit."""
    choice = restore.choose(t.cast(t.Any, Held(GAPLESS)), "latest", target(type="time", value=at(minutes).isoformat()))
    assert choice.entry.set is expected
    assert f"--target={at(minutes):%Y-%m-%d %H:%M:%S.%f}+00" in choice.options("x") and "--target-timeline=current" in choice.options("x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "time", "value": at(1.99).isoformat()}, "earliest that can be brought back is 2026-11-22T12:02:00Z"),
        ({"type": "time", "value": at(9.5).isoformat()}, "latest that can be brought back is 2026-11-22T12:09:30"),
        ({"type": "lsn", "value": "0/1"}, "earliest that can be brought back is 0/2000100"),
        ({"type": "lsn", "value": "0/B000000"}, "the log in the archive ends at 0/B000000"),
        ({"timeline": "2"}, "no backup lies on the way to the timeline 2"),
    ],
)
def test_out_of_reach(options: dict[str, t.Any], words: str) -> None:
    """What cannot be brought back is refused with the nearest that can."""
    with pytest.raises(InvalidInput, match=words):
        restore.choose(t.cast(t.Any, Held(GAPLESS)), "latest", target(**options))


def test_a_gap_before_the_target_sends_back_to_another_backup() -> None:
    """Behind a gap only a backup that was taken after it helps; without one, the gap is named."""
    gap = Repository(1, (FULL, LATER), {"17-1": archive("1:2", "1:3", "1:5", "1:6", "1:7", "1:9")}, "7", True)
    held = t.cast(t.Any, Held(gap))
    assert restore.choose(held, "latest", target(type="time", value=at(2.2).isoformat())).entry.set is FULL
    assert restore.choose(held, "latest", target(type="time", value=at(6).isoformat())).entry.set is LATER
    with pytest.raises(InvalidInput, match="after which segment 000000010000000000000004 of the log is missing"):
        restore.choose(held, "latest", target(type="time", value=at(4).isoformat()))
    assert "000000010000000000000008" in restore.choose(held, "latest", target()).warnings[0]
    bad = t.cast(t.Any, Held(gap, bad=(LATER.label,)))
    assert restore.choose(bad, "latest", target()).entry.set is FULL


def test_choices_on_timelines() -> None:
    """The newest timeline is followed unless another one is named; backups on a way that was left do not lead there."""
    held = archive("1:2", "1:3", "1:4", "1:5", "1:6", "2:4", "2:5", "2:6", "2:7", t2=((1, 4 * SIZE + 100),))
    repository = Repository(1, (FULL, LATER), {"17-1": held}, "7", True)
    newest = restore.choose(t.cast(t.Any, Held(repository)), "latest", target())
    assert newest.entry.set is FULL and newest.chain.timeline == 2 and "--target-timeline=2" in newest.options("x")
    left = restore.choose(t.cast(t.Any, Held(repository)), "latest", target(timeline="current"))
    assert left.entry.set is LATER and "--target-timeline=current" in left.options("x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "time", "value": "2026-11-22T12:00:00"}, "no zone"),
        ({"type": "time", "value": "noon"}, "ISO 8601"),
        ({"type": "lsn", "value": "x"}, "no position"),
        ({"type": "xid", "value": "7;"}, "is a number"),
        ({"type": "name", "value": "a\nb"}, "line break"),
        ({"type": "immediate", "value": "x"}, "takes no target.value"),
        ({"timeline": "x"}, "latest, current or a number"),
        ({"action": "pause"}, "only be promoted"),
    ],
)
def test_targets_that_cannot_be_right(options: dict[str, t.Any], words: str) -> None:
    """They are refused before anything is read."""
    with pytest.raises(InvalidInput, match=words):
        target(**options)


def test_options_of_a_target() -> None:
    """What pgBackRest is told of each type."""

    def choose(**options: t.Any) -> list[str]:
        return restore.choose(t.cast(t.Any, Held(GAPLESS)), "latest", target(**options)).options("get %f")

    assert choose() == ["--type=default", "--recovery-option=restore_command=get %f", "--target-timeline=current"]
    assert choose(type="immediate", action="pause") == ["--type=immediate", "--recovery-option=restore_command=get %f", "--target-action=pause"]
    assert choose(type="lsn", value="0/7000200", inclusive=False)[-3:] == ["--target=0/7000200", "--target-exclusive", "--target-action=promote"]
    assert "--target-exclusive" not in choose(type="name", value="half", inclusive=False)


def test_which_type_is_taken() -> None:
    """What has nothing good to stand on becomes a full backup; a stronger type counts where a weaker one is wanted."""

    def held(*sets: t.Any, **more: t.Any) -> t.Any:
        return Held(Repository(1, sets, {}, "7", True), **more)

    assert take.type_to_take(held(), "incremental")[0] == "full" and take.type_to_take(held(FULL), "full") == ("full", "")
    assert take.type_to_take(held(FULL), "incremental") == ("incr", "") and take.type_to_take(held(LATER, INCR), "differential") == ("diff", "")
    assert "is not good" in take.type_to_take(held(LATER, INCR, bad=(INCR.label,)), "incremental")[1]
    assert take.type_to_take(held(LATER, INCR, bad=(INCR.label,)), "differential") == ("diff", "")
    newest = take.newest_enough
    assert newest(held(LATER, INCR), "incremental", 600, at(8)).set is INCR and newest(held(LATER, INCR), "full", 600, at(8)).set is LATER
    assert newest(held(LATER, INCR), "full", 120, at(8)) is None and newest(held(LATER), "full", 0, at(5)) is None
    assert newest(held(LATER, INCR, bad=(INCR.label,)), "incremental", 600, at(8)).set is LATER


@pytest.mark.parametrize(
    ("mode", "command", "words"),
    [
        ("on", "pgbackrest --stanza=ledger archive-push %p", ""),
        ("always", "/usr/bin/pgbackrest --config=/x --stanza ledger archive-push %p", ""),
        ("on", "pgbackrest archive-push %p", ""),
        ("off", "(disabled)", "archive_mode is off"),
        ("on", "/bin/true", "does not hand the log"),
        ("on", "pgbackrest --stanza=other archive-push %p", "stanza other"),
    ],
)
def test_archiving(mode: str, command: str, words: str) -> None:
    """A server that does not send its log to the repository is refused with the next step."""
    running = t.cast(t.Any, types.SimpleNamespace(archive_mode=mode, archive_command=command))
    if not words:
        take.check_archiving(running, "ledger")
        return
    with pytest.raises(InvalidInput, match=words) as caught:
        take.check_archiving(running, "ledger")
    assert "pgbackrest --stanza=ledger archive-push %p" in str(caught.value)


OLD = """P01   INFO: invalid checksum '20261122-120500F/pg_data/base/1/2609.zst'
P01   INFO: file missing '20261122-120000F/pg_data/base/5/1247.zst'
P01   INFO: invalid result 17-1/0000000100000000/00000001000000000000000A-1b18c6.zst: [29] raised from local-1 protocol: zst error
  archiveId: 17-1, total WAL checked: 9, total valid WAL: 7
  backup: 20261122-120500F, status: invalid, total files checked: 964, total valid files: 963
  backup: 20261122-120700F, status: valid, total files checked: 964, total valid files: 964
"""


def test_what_verify_says() -> None:
    """Every file at fault is named, those of other backups apart; a fault that is not named is not passed over."""
    files, backups = verify.bad_files(OLD)
    assert backups == {"20261122-120500F": "invalid"} and len(files) == 3
    entry = t.cast(t.Any, types.SimpleNamespace(set=INCR))
    assert verify.relevant(files, entry) == [files[0], files[2]]
    assert "00000001000000000000000A" in files[2] and files[0].endswith("2609.zst (invalid checksum)")
    assert verify.relevant(files, t.cast(t.Any, types.SimpleNamespace(set=dataclasses.replace(INCR, wal_start="00000001000000000000000B")))) == files[:1]
    assert verify.unnamed_segments(OLD, files) == 1 and verify.unnamed_segments(OLD.replace("valid WAL: 7", "valid WAL: 8"), files) == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("P01 DETAIL: backup file /data/base/5/2610 (bundle 2/100272, 32KB, 96.29%) checksum 40a8", 32768),
        ("P01 DETAIL: backup file /data/base/5/1 (1.2GB, 96.29%) checksum 40a8", int(1.2 * (1 << 30))),
        ("P01 DETAIL: restore file /data/a (b)/5/1 (16MB, 1.00%) checksum 40a8", 16 << 20),
        ("P00   INFO: full backup size = 35MB, file total = 967", 0),
    ],
)
def test_progress(line: str, expected: int) -> None:
    """The log's lines say how many bytes were copied."""
    assert copied_bytes(line) == expected


def test_the_last_full_backup_stays() -> None:
    """pgBackRest would refuse to remove it, so it is not planned."""
    held = t.cast(t.Any, Held(Repository(1, (FULL, LATER), {}, "7", True)))
    gone = [prune.Decision(item.id, False, ("no rule keeps it",)) for item in (FULL, LATER)]
    assert [item.keep for item in prune._one_full(held, gone)] == [False, True]
    kept = [dataclasses.replace(gone[0], keep=True), gone[1]]
    assert prune._one_full(held, kept) == kept


def test_spare_segments(tmp_path: pathlib.Path) -> None:
    """A segment that was only renamed for later use holds an older address in its first page."""
    page = tmp_path / "000000010000000000000002"
    page.write_bytes(bytes(8) + (2 * SIZE).to_bytes(8, "little") + bytes(100))
    assert not restore.is_spare(str(page), 2 * SIZE) and restore.is_spare(str(page), 3 * SIZE)
    page.write_bytes(b"")
    assert restore.is_spare(str(page), 2 * SIZE)


def test_pid_files(tmp_path: pathlib.Path) -> None:
    """Only a live process that works in the folder counts as its server."""
    assert recovery.postmaster_pid(str(tmp_path)) == 0
    file = tmp_path / "postmaster.pid"
    for text, expected in (("", 0), ("x\n", 0), ("4194303\n", 0), (f"{os.getpid()}\n", 0)):
        file.write_text(text)
        assert recovery.postmaster_pid(str(tmp_path)) == expected, text
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert recovery.postmaster_pid(str(tmp_path)) == os.getpid()
    finally:
        os.chdir(before)


def test_the_target_leaves_no_trace(tmp_path: pathlib.Path) -> None:
    """A recovered server that later becomes a standby must not stop at the old target."""
    path = tmp_path / "postgresql.auto.conf"
    path.write_text("work_mem = '1MB'\nrestore_command = 'x'\nrecovery_target_time = 'y'\nrecovery_target_action = 'promote'\n")
    restore._forget_target(str(tmp_path))
    assert path.read_text() == "work_mem = '1MB'\nrestore_command = 'x'\n" and list(tmp_path.iterdir()) == [path]
    restore._forget_target(str(tmp_path / "missing"))


def test_settings_of_a_recovering_server(tmp_path: pathlib.Path) -> None:
    """They are those that the log demands, and nothing of it can be reached from outside."""
    control = {"max_connections setting": "37", "max_prepared_xacts setting": "5", "wal_level setting": "logical"}
    given = recovery.settings_for(control, "/private", {"archive_mode": "off"})
    assert given["max_connections"] == "37" and given["max_prepared_transactions"] == "5" and given["wal_level"] == "logical" and given["archive_mode"] == "off"
    assert given["listen_addresses"] == "" and given["unix_socket_directories"] == "/private" and given["unix_socket_permissions"] == "0700"
    (tmp_path / "postgresql.conf").write_text("shared_preload_libraries = 'a'\n#shared_preload_libraries = 'b'\n")
    assert recovery.preloaded(str(tmp_path)) == "a" and recovery.preloaded("/nowhere") == ""
