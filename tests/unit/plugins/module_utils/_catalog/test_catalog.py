# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: ids, manifests, which backup is meant, durations, and what the pipeline does when something in it fails."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils import _process
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import manifest as manifests
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import pipeline, spec, verify
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, Identity, reading_filters
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore, ObjectExists, ObjectMissing, check_key, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command

START = datetime.datetime(2026, 11, 22, 17, 42, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)
ZSTD = Compression().filters()


def make(catalogue: catalogues.Catalogue, moment: datetime.datetime = START, data: bytes = b"data") -> catalogues.Backup:
    """Write a backup with one object."""
    with catalogue.draft(catalogues.new_id(moment)) as draft:
        record = draft.add("a.zst", io.BytesIO(data), ZSTD, 1)
        stored = (Compression().describe(), Encryption("none").describe())
        manifest = manifests.Manifest(
            draft.id, "thing", "copy", "n", moment, moment, moment, moment, {"host": "h"}, {}, (record,), *stored, {}, {"a": "b"}, ("w",)
        )
        return draft.publish(manifest)


@pytest.fixture
def catalogue(tmp_path: pathlib.Path) -> catalogues.Catalogue:
    """An empty catalogue in a folder."""
    return catalogues.Catalogue(LocalStore(str(tmp_path / "store")), "thing", "n")


def result(level: str, status: str = "successful", at: datetime.datetime = START) -> verify.Verification:
    """A verification's result."""
    return verify.Verification(at, level, status, 1.0, {})


class TestManifest:
    def test_what_is_written_is_read(self, catalogue: catalogues.Catalogue) -> None:
        manifest = make(catalogue).require_manifest()
        assert manifests.load(manifest.dump(), "m") == manifest
        assert json.loads(manifest.dump())["format"] == manifests.FORMAT

    def test_unknown_keys_are_passed_over(self, catalogue: catalogues.Catalogue) -> None:
        manifest = make(catalogue).require_manifest()
        plain = {**json.loads(manifest.dump()), "later": 1}
        assert manifests.load(json.dumps(plain).encode(), "m") == manifest

    @pytest.mark.parametrize(
        "data", [b"", b"\xff", b"[]", b"7", b"{}", b'{"format": 2}', b'{"format": "1"}', b'{"format": 1}', b'{"format": 1, "objects": [1]}']
    )
    def test_anything_else_is_unreadable(self, data: bytes) -> None:
        with pytest.raises(manifests.UnreadableManifest):
            manifests.load(data, "m")

    @pytest.mark.parametrize("name", ["started", "objects", "recoverable_to", "encryption"])
    def test_nothing_may_be_missing(self, catalogue: catalogues.Catalogue, name: str) -> None:
        plain = json.loads(make(catalogue).require_manifest().dump())
        del plain[name]
        with pytest.raises(manifests.UnreadableManifest, match=name):
            manifests.load(json.dumps(plain).encode(), "m")


class TestChoice:
    def test_ids_sort_by_time(self) -> None:
        ids = [catalogues.new_id(START + n * HOUR) for n in (9, -400, 0, 30_000)]
        assert sorted(ids) == [ids[1], ids[2], ids[0], ids[3]]
        assert all(catalogues.ID_PATTERN.fullmatch(item) for item in ids) and catalogues.new_id(START) != catalogues.new_id(START)

    def test_latest_and_latest_verified(self, catalogue: catalogues.Catalogue) -> None:
        old, middle, new = (make(catalogue, START + n * HOUR) for n in range(3))
        assert [item.id for item in catalogue.backups()] == catalogue.ids() == [old.id, middle.id, new.id]
        assert catalogue.choose("latest").id == new.id and catalogue.choose(old.id).id == old.id
        with pytest.raises(catalogues.BackupNotFound, match="none of the 3 backups there is verified by a restore"):
            catalogue.choose("latest_verified")
        catalogue.record_verification(old, result("restore"))
        catalogue.record_verification(new, result("content"))
        assert catalogue.choose("latest_verified").id == old.id
        catalogue.record_verification(new, result("checksum", "failed"))
        assert catalogue.choose("latest").id == middle.id and catalogue.choose(new.id).good is False
        catalogue.record_verification(old, result("list", "failed"))
        assert catalogue.choose(old.id).verified_at is None, "a failure afterwards takes the mark away"

    def test_an_unreadable_manifest_is_a_backup_that_is_not_good(self, catalogue: catalogues.Catalogue, tmp_path: pathlib.Path) -> None:
        good = make(catalogue)
        bad = make(catalogue, START + HOUR)
        (tmp_path / "store" / "thing" / "n" / bad.id / "manifest.json").write_text("?")
        assert catalogue.choose("latest").id == good.id and [item.id for item in catalogue.backups()] == [good.id, bad.id]
        assert catalogue.backups()[1].problem and catalogue.summary(catalogue.backups()[1])["objects"] is None
        with pytest.raises(manifests.UnreadableManifest):
            catalogue.choose(bad.id).require_manifest()

    def test_without_a_manifest_there_is_no_backup(self, catalogue: catalogues.Catalogue, tmp_path: pathlib.Path) -> None:
        backup = make(catalogue)
        (tmp_path / "store" / "thing" / "n" / backup.id / "manifest.json").unlink()
        (tmp_path / "store" / "thing" / "n" / "someone elses folder").mkdir()
        assert catalogue.backups() == [] and catalogue.incomplete() == [backup.id] and catalogue.newest_good() is None
        with pytest.raises(catalogues.BackupNotFound, match="it is incomplete"):
            catalogue.choose(backup.id)

    @pytest.mark.parametrize(
        ("results", "level", "found"),
        [
            ([], "list", False),
            ([result("list")], "list", True),
            ([result("list")], "checksum", False),
            ([result("restore"), result("list")], "content", True),
            ([result("restore", "failed"), result("list")], "content", False),
            ([result("restore"), result("list", "failed")], "list", False),
            ([result("restore", at=START - 2 * HOUR)], "list", False),
            ([result("restore", at=START - 2 * HOUR), result("list")], "restore", False),
        ],
    )
    def test_recent(self, results: list[verify.Verification], level: str, found: bool) -> None:
        backup = catalogues.Backup("x", None, "", tuple(results))
        assert (verify.recent(backup, level, 3600, START) is not None) is found

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "ä", "a" * 101])
    def test_names(self, tmp_path: pathlib.Path, name: str) -> None:
        with pytest.raises(InvalidInput):
            catalogues.Catalogue(LocalStore(str(tmp_path)), "thing", name)


class TestDurations:
    @pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), (" 24h ", 86400), ("7d", 604800), ("2w", 1209600)])
    def test_read(self, text: str, seconds: int) -> None:
        assert spec.parse_duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "h", "-1", "1.5h", "1y", "1 h", "24H", "1h30m"])
    def test_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            spec.parse_duration(text)


class TestLocalStore:
    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a\nb"])
    def test_keys(self, key: str) -> None:
        with pytest.raises(InvalidInput):
            check_key(key)

    def test_objects_are_never_overwritten(self, tmp_path: pathlib.Path) -> None:
        store = LocalStore(str(tmp_path / "s"))
        store.put_new("a/b", b"1")
        with pytest.raises(ObjectExists):
            store.put_new("a/b", b"2")
        with pytest.raises(ObjectExists):
            store.write_stream("a/b", io.BytesIO(b"3"), 1)
        assert read_small(store, "a/b") == b"1" and sorted(os.listdir(tmp_path / "s" / "a")) == ["b"]

    def test_list_and_delete(self, tmp_path: pathlib.Path) -> None:
        store = LocalStore(str(tmp_path / "s"))
        assert store.list("") == []
        for key in ("a/b/c", "a/b2", "x"):
            store.put_new(key, key.encode())
        (tmp_path / "s" / "a" / ".b.tmp").write_bytes(b"half")
        assert [(item.key, item.bytes) for item in store.list("a/b")] == [("a/b/c", 5), ("a/b2", 4)]
        store.delete("a/b/c")
        store.delete("a/b/c")
        assert [item.key for item in store.list("")] == ["a/b2", "x"] and not (tmp_path / "s" / "a" / "b").exists()
        with pytest.raises(ObjectMissing):
            store.open_read("a/b/c")

    def test_an_error_of_the_stream_leaves_nothing(self, tmp_path: pathlib.Path) -> None:
        class Breaking:
            blocks: t.ClassVar[list[bytes]] = [b"x" * 100]

            def read(self, size: int) -> bytes:
                if not self.blocks:
                    raise ValueError("broken")
                return self.blocks.pop()

        with pytest.raises(ValueError, match="broken"):
            LocalStore(str(tmp_path / "s")).write_stream("a/b/c", Breaking(), 1)
        assert list((tmp_path / "s").rglob("*")) == []

    @pytest.mark.parametrize("path", ["relative", "/nowhere/at/all"])
    def test_paths(self, path: str) -> None:
        with pytest.raises(InvalidInput):
            LocalStore(path)


def shell(script: str) -> Command:
    """A program made for the test."""
    return Command(("sh", "-c", script))


def len_of(plain: t.BinaryIO) -> int:
    """A consumer that takes whatever comes."""
    return len(plain.read())


class TestPipeline:
    @pytest.mark.parametrize(
        ("source", "filters", "cause"),
        [
            (shell("echo x; exit 3"), ZSTD, "sh ended with status 3"),
            (shell("echo x; echo 'no more' >&2; exit 1"), ZSTD, "sh ended with status 1: no more"),
            (shell("true"), ZSTD, "the source produced 0 bytes, at least 1 are plausible"),
            (shell("cat /dev/zero"), (shell("head -c 100000 > /dev/null; echo full >&2; exit 4"), *ZSTD), "sh ended with status 4: full"),
            (shell("cat /dev/zero"), (Command(("cat",)), shell("head -c 100000; exit 5")), "sh ended with status 5"),
            (shell("echo x; sleep 60"), (shell("exit 6"),), "sh ended with status 6"),
            (shell("cat /dev/zero"), (shell("head -c 100000 > /dev/null"),), "was not read to its end"),
            (io.BytesIO(b"x" * (8 << 20)), (shell("exit 7"),), "sh ended with status 7"),
        ],
    )
    def test_whoever_fails_first_is_the_cause_and_nothing_is_stored(
        self, catalogue: catalogues.Catalogue, source: t.Any, filters: tuple[Command, ...], cause: str
    ) -> None:
        with pytest.raises(pipeline.PipelineError, match=cause):
            pipeline.write_object(catalogue.store, "a/b", source, filters, 1)
        assert catalogue.store.list("") == [] and not _process._live

    def test_a_source_that_is_killed(self, catalogue: catalogues.Catalogue) -> None:
        with pytest.raises(_process.ProgramKilled, match="sh was killed by SIGKILL"):
            pipeline.write_object(catalogue.store, "a/b", shell("echo x; kill -9 $$"), ZSTD, 1)
        assert catalogue.store.list("") == [] and not _process._live

    @pytest.mark.parametrize("number", sorted(_process.KILLS))
    @pytest.mark.parametrize("where", ["the first filter", "the last filter", "the consumer"])
    def test_a_reader_that_is_killed(self, catalogue: catalogues.Catalogue, number: signal.Signals, where: str) -> None:
        """Also where the consumer takes what is left for damage; a program that ends itself by a signal has failed."""
        written = pipeline.write_object(catalogue.store, "a", io.BytesIO(os.urandom(4 << 20)), (), 1)
        dies = shell(f"head -c 100000; kill -{number:d} $$; sleep 60")
        filters = {"the first filter": (dies, Command(("cat",))), "the last filter": (Command(("cat",)), dies)}.get(where, ())

        def judge(plain: t.BinaryIO) -> None:
            if len(plain.read()) != written.bytes:
                raise pipeline.DamagedObject("read it", "it is short")

        consumers: list[t.Any] = [judge, len_of, shell("cat > /dev/null")] if filters else [dies]
        for consumer in consumers:
            with pytest.raises(_process.ProgramKilled, match=f"could not read a from .*: sh was killed by {number.name}; see whether the host lacks memory"):
                pipeline.read_object(catalogue.store, "a", (written.bytes, written.sha256), filters, consumer)
        with pytest.raises(pipeline.PipelineError, match="sh was killed by SIGABRT"):
            pipeline.read_object(catalogue.store, "a", (written.bytes, written.sha256), (shell("kill -ABRT $$"),), len_of)
        assert not _process._live

    def test_a_program_that_is_not_there(self, catalogue: catalogues.Catalogue) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(MainstayError, match="could not start no-such-program: No such file or directory"):
            pipeline.write_object(catalogue.store, "a/b", shell("cat /dev/zero"), (Command(("no-such-program",)),), 1)
        assert catalogue.store.list("") == [] and not _process._live
        assert len(os.listdir("/proc/self/fd")) <= before + 3

    def test_sizes_and_hash(self, catalogue: catalogues.Catalogue, tmp_path: pathlib.Path) -> None:
        written = pipeline.write_object(catalogue.store, "a", shell("head -c 3000000 /dev/urandom"), ZSTD, 1)
        stored = (tmp_path / "store" / "a").stat()
        digest = subprocess.run(["sha256sum", str(tmp_path / "store" / "a")], capture_output=True, text=True, check=True).stdout.split()[0]
        assert (written.bytes, written.sha256, written.plain_bytes) == (stored.st_size, digest, 3_000_000)

    @pytest.mark.parametrize("blocks", [0, 1, 3])
    def test_the_last_block_is_held_back_until_the_hash_is_right(self, catalogue: catalogues.Catalogue, blocks: int) -> None:
        data = os.urandom(blocks * pipeline.BLOCK + 17)
        written = pipeline.write_object(catalogue.store, "a", io.BytesIO(data), (), 1)
        seen = io.BytesIO()
        assert pipeline.read_object(catalogue.store, "a", (written.bytes, written.sha256), (), lambda plain: plain.read()) == data
        with pytest.raises(pipeline.DamagedObject, match="SHA-256"):
            pipeline.read_object(catalogue.store, "a", (written.bytes, "0" * 64), (), lambda plain: seen.write(plain.read()))
        assert len(seen.getvalue()) < len(data)
        with pytest.raises(pipeline.DamagedObject, match="bytes, its manifest says 1"):
            pipeline.hash_object(catalogue.store, "a", (1, written.sha256))

    @pytest.mark.parametrize(
        ("filters", "consumer", "cause"),
        [
            ((), shell("head -c 10 > /dev/null; exit 3"), "sh ended with status 3"),
            ((shell("exit 4"),), shell("cat > /dev/null; exit 5"), "sh ended with status 4"),
            ((shell("head -c 10; exit 6"),), lambda plain: plain.read(), "sh ended with status 6"),
        ],
    )
    def test_reading_names_the_first_failure(self, catalogue: catalogues.Catalogue, filters: tuple[Command, ...], consumer: t.Any, cause: str) -> None:
        written = pipeline.write_object(catalogue.store, "a", io.BytesIO(os.urandom(4 << 20)), (), 1)
        with pytest.raises(pipeline.PipelineError, match=cause):
            pipeline.read_object(catalogue.store, "a", (written.bytes, written.sha256), filters, consumer)

    def test_an_error_of_the_consumer_passes(self, catalogue: catalogues.Catalogue) -> None:
        written = pipeline.write_object(catalogue.store, "a", io.BytesIO(os.urandom(4 << 20)), ZSTD, 1)

        def consumer(plain: t.BinaryIO) -> None:
            plain.read(1)
            raise KeyError("mine")

        filters = reading_filters({"type": "zstd"}, {"type": "none"}, Identity())
        with pytest.raises(KeyError, match="mine"):
            pipeline.read_object(catalogue.store, "a", (written.bytes, written.sha256), filters, consumer)
        assert not _process._live

    def test_a_backup_that_is_not_published_is_removed(self, catalogue: catalogues.Catalogue) -> None:
        with pytest.raises(ValueError, match="later"), catalogue.draft(catalogues.new_id(START)) as draft:
            draft.add("a", io.BytesIO(b"1"), (), 1)
            raise ValueError("later")
        assert catalogue.store.list("") == []

    def test_publishing_looks_at_the_store(self, catalogue: catalogues.Catalogue) -> None:
        backup = make(catalogue)
        manifest = backup.require_manifest()
        with pytest.raises(MainstayError, match="a.zst has 4 bytes in .* instead of"), catalogue.draft(catalogues.new_id(START)) as draft:
            draft.add("a.zst", io.BytesIO(b"1234"), (), 1)
            draft.publish(dataclasses.replace(manifest, id=draft.id))
        assert catalogue.ids() == [backup.id] and catalogue.incomplete() == []

    def test_memory_is_bounded(self, tmp_path: pathlib.Path) -> None:
        """128 MiB through the pipeline cost the process less than 40 MiB."""
        script = f"""
import resource
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import pipeline
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pipeline.write_object(LocalStore({str(tmp_path / "s")!r}), "a", Command(("head", "-c", str(128 << 20), "/dev/urandom")), (), 1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        used = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=True).stdout
        assert int(used) < 40 << 10


class TestEncryption:
    def test_clear_text_must_be_asked_for(self) -> None:
        with pytest.raises(InvalidInput, match="encryption.recipients is empty"):
            Encryption().filters()
        assert Encryption("none").filters() == () and Encryption("none").suffix == ""

    def test_a_wrong_recipient_is_found_early(self) -> None:
        with pytest.raises(InvalidInput, match="age1nonsense"):
            Encryption("age", ("age1nonsense",)).check()

    def test_the_key_is_on_no_command_line_and_on_no_disk(self) -> None:
        command = Identity("AGE-SECRET-KEY-1X").command()
        (descriptor,) = command.pass_fds
        assert not any("SECRET" in word for word in command.argv) and os.readlink(f"/proc/self/fd/{descriptor}").startswith("/memfd:")
        assert pathlib.Path(f"/proc/self/fd/{descriptor}").read_text() == "AGE-SECRET-KEY-1X\n"

    @pytest.mark.parametrize(("identity", "cause"), [(Identity(), "there is no private key"), (Identity(path="/nowhere"), "cannot be read")])
    def test_no_key(self, identity: Identity, cause: str) -> None:
        with pytest.raises(InvalidInput, match=cause):
            reading_filters({"type": "zstd"}, {"type": "age"}, identity)

    def test_unknown_types_are_refused(self) -> None:
        with pytest.raises(MainstayError, match="it uses 'lz9'"):
            reading_filters({"type": "lz9"}, {"type": "none"}, Identity())
