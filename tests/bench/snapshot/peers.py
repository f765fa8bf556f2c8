# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: each peer says how it takes a snapshot, and how what it stored becomes a server that answers."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import subprocess
import typing as t

from contest import Peer as AnyPeer
from endpoint import S3Endpoint
from measure import Job, JobFailed, run
from modules import module_job, module_result

from snapshot.servers import Server

LEVEL = 3
THREADS = 2
ZSTD = f"zstd -q -{LEVEL} -T{THREADS}"
MODULE = "mainstay.ops.redis_snapshot"
PROGRAMS = ("redis-server", "redis-cli", "zstd", "age", "age-keygen")


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all peers share.

    Attributes:
        server: the server with the data. Its folder lies below the temporary one, so that what it saves counts as staged.
        s3: the endpoint on loopback.
        folder: holds everything.
    """

    server: Server
    s3: S3Endpoint
    folder: pathlib.Path

    @property
    def scratch(self) -> pathlib.Path:
        """Temporary folder and home of what is measured."""
        return self.folder / "scratch"

    @property
    def keys(self) -> pathlib.Path:
        """Folder with the keys."""
        return self.folder / "keys"

    @property
    def server_pid(self) -> int:
        """The id of the server's process."""
        return self.server.pid

    @property
    def recipient(self) -> str:
        """The public key for age."""
        argv = ["age-keygen", "-y", str(self.keys / "age.key")]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def make(self) -> None:
        """Make the folders and the keys.

        Raises:
            JobFailed: a program is missing.
        """
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise JobFailed(f"{', '.join(missing)} are not installed")
        for path in (self.scratch, self.keys, self.folder / "stored"):
            path.mkdir(mode=0o700)
        subprocess.run(["age-keygen", "-o", str(self.keys / "age.key")], check=True, capture_output=True)


class Peer(AnyPeer):
    """One way to take a snapshot of Redis."""

    bench: Bench

    def restore(self, target: Server) -> None:
        """Bring the data back as the server ``target``, which has an empty folder and does not run yet, and wait until it answers."""
        raise NotImplementedError


class Script(Peer):
    """A line of shell, as scripts have it.

    In both scripts ``{to}`` is the folder it stores into, ``{redis}`` redis-cli for the server, ``{dump}`` the server's own file, ``{key}`` age's private key.
    What opens the stored snapshot becomes the file that the restored server loads.
    """

    backup_script = ""
    opening_script = ""

    def _fill(self, script: str) -> str:
        bench = self.bench
        places = {"to": self.destination, "redis": f"redis-cli -s {bench.server.socket}", "dump": bench.server.dump, "key": bench.keys / "age.key"}
        return script.format(zstd=ZSTD, recipient=bench.recipient, **places)

    def prepare(self) -> None:
        """See :meth:`contest.Peer.prepare`; the server's own file goes as well."""
        super().prepare()
        self.bench.server.dump.unlink(missing_ok=True)

    def backup(self) -> Job:
        """See :meth:`contest.Peer.backup`."""
        return Job.shell(self._fill(self.backup_script))

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        run(Job.shell(f"{self._fill(self.opening_script)} > {target.dump}"))
        target.start()


class Stream(Script):
    """redis-cli into a pipe.

    ``--rdb -`` is the form that ends with status 0 when it writes into a pipe (7.0.15); ``--rdb /dev/stdout`` ends with status 1 there, as it cannot
    truncate and sync a pipe. Either way 40 bytes of the replication stream's end mark stand behind the snapshot, which a server that loads it passes over.
    """

    name, key = "`redis-cli --rdb - \\| zstd`", "redis-cli"
    what = (
        f"zstd at level {LEVEL} with {THREADS} threads, not encrypted, no fsync; leaves 40 bytes behind the end of the snapshot; "
        "restored by `zstd -d` into the folder of a server that is started then"
    )
    one_stream = True
    backup_script = "{redis} --rdb - 2>/dev/null | {zstd} > {to}/dump.rdb.zst"
    opening_script = "zstd -q -d -c {to}/dump.rdb.zst"


class EncryptedStream(Script):
    """The same, encrypted."""

    name, key = "`redis-cli --rdb - \\| zstd \\| age`", "redis-cli-age"
    what = "the same, encrypted for a public key; restored by `age -d | zstd -d`"
    one_stream = True
    backup_script = "{redis} --rdb - 2>/dev/null | {zstd} | age -r {recipient} > {to}/dump.rdb.zst.age"
    opening_script = "age -d -i {key} {to}/dump.rdb.zst.age | zstd -q -d -c"


class File(Script):
    """redis-cli into a file, as its manual has it."""

    name, key = "`redis-cli --rdb FILE`, then `zstd`", "redis-cli-file"
    what = "the whole snapshot as a file (which every user of the host may read), with fsync, then compressed and removed; not encrypted"
    backup_script = "{redis} --rdb $TMPDIR/dump.rdb > /dev/null 2>&1; {zstd} --rm $TMPDIR/dump.rdb -o {to}/dump.rdb.zst"
    opening_script = Stream.opening_script


class Saved(Script):
    """The recipe of most scripts."""

    name, key = "`BGSAVE`, `cp`, `zstd`", "bgsave"
    what = "the server saves its file, with fsync, the script waits for it (ten looks a second), copies it and compresses the copy; not encrypted"
    backup_script = (
        "{redis} BGSAVE > /dev/null; until {redis} INFO persistence | grep -q rdb_bgsave_in_progress:0; do sleep 0.1; done; "
        "{redis} INFO persistence | grep -q rdb_last_bgsave_status:ok; cp {dump} $TMPDIR/copy.rdb; {zstd} --rm $TMPDIR/copy.rdb -o {to}/dump.rdb.zst"
    )
    opening_script = Stream.opening_script


class Snapshot(Peer):
    """This collection's module."""

    name, key = "**`redis_snapshot`**", "redis-snapshot"
    what = (
        f"this collection: `method: psync`, zstd at level {LEVEL} with {THREADS} threads and age, keys counted, fsync; restored by `state: restored` "
        "(`restore_method: replicate`) into a server that runs and is empty; the module's own process, without Ansible's start"
    )
    ours = True

    def store(self) -> dict[str, t.Any]:
        """Return the option ``store``."""
        return {"type": "local", "path": str(self.destination)}

    def options(self, server: Server | None = None, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options."""
        return {
            "name": "bench",
            "method": "psync",
            "store": self.store(),
            "compression": {"type": "zstd", "level": LEVEL, "threads": THREADS},
            "encryption": {"type": "age", "recipients": [self.bench.recipient], "identity_file": str(self.bench.keys / "age.key")},
            "login_unix_socket": str((server or self.bench.server).socket),
            "max_age": "0",
            **more,
        }

    def module(self, **more: t.Any) -> Job:
        """See :meth:`contest.Peer.module`."""
        return module_job("redis_snapshot", self.options(**more))

    def backup(self) -> Job:
        """See :meth:`contest.Peer.backup`."""
        return self.module()

    def check(self, output: str) -> None:
        """See :meth:`contest.Peer.check`."""
        module_result(output)

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.start()
        module_result(run(module_job("redis_snapshot", self.options(target, state="restored", work_dir=str(self.bench.scratch)))))


class PlainSnapshot(Snapshot):
    """The same as most scripts do it."""

    name, key = "**`redis_snapshot`**, `encryption.type: none`", "redis-snapshot-plain"
    what = "the same without encryption"

    def options(self, server: Server | None = None, **more: t.Any) -> dict[str, t.Any]:
        """See :meth:`Snapshot.options`."""
        return super().options(server, encryption={"type": "none"}, **more)


class SnapshotS3(Snapshot):
    """The same into a bucket."""

    name, key = "**`redis_snapshot`** to S3", "redis-snapshot-s3"
    what = "the same into a bucket of an S3 endpoint on loopback (moto, whose own work is not counted but shares the cores)"

    def prepare(self) -> None:
        """See :meth:`contest.Peer.prepare`."""
        self.bench.s3.new_bucket(self.key)

    def store(self) -> dict[str, t.Any]:
        """See :meth:`Snapshot.store`."""
        return self.bench.s3.store(self.key)

    def stored(self) -> int:
        """See :meth:`contest.Peer.stored`."""
        return self.bench.s3.bytes_in(self.key)
