# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers with an archive of the server's log: pgBackRest alone, this collection's module with it, and barman."""

from __future__ import annotations

import json
import shutil
import typing as t
import venv

from backup.measure import Job, JobFailed, run
from backup.peers import BARMAN, LEVEL, THREADS, Bench, Logical, Peer, module_job, module_result
from backup.servers import PORT, SERVER_USER, Server

STANZA = "bench"
COMMON = {"process-max": str(THREADS), "compress-type": "zst", "compress-level": str(LEVEL), "start-fast": "y"}
"""Settings of pgBackRest, the same for both peers that use it."""


class PgBackRest(Peer):
    """pgBackRest with a configuration file of its own."""

    name, key = "pgBackRest alone", "pgbackrest"
    what = (
        f"zstd at level {LEVEL}, {THREADS} processes, AES-256, the same settings as by the module, fsync of each file; restored by `pgbackrest restore` "
        f"by {THREADS} processes"
    )
    physical = True

    def install(self) -> None:
        """See :meth:`Peer.install`."""
        if shutil.which("pgbackrest") is None:
            raise JobFailed("pgbackrest is not installed")

    def command(self, *arguments: str, data: str | None = None) -> Job:
        """Return a run of pgBackRest."""
        place = (f"--pg1-path={data}",) if data else ()
        return Job(("pgbackrest", f"--config={self.destination}/pgbackrest.conf", f"--stanza={STANZA}", *place, *arguments), user=SERVER_USER)

    def prepare(self) -> None:
        """See :meth:`Peer.prepare`."""
        super().prepare()
        at = self.destination
        settings = {
            **COMMON,
            "repo1-path": f"{at}/repo",
            "repo1-cipher-type": "aes-256-cbc",
            "repo1-cipher-pass": self.bench.passphrase,
            "log-path": str(at),
            "lock-path": f"{at}/lock",
            "log-level-file": "off",
            "log-level-console": "warn",
        }
        cluster = {"pg1-path": self.server.data, "pg1-socket-path": self.server.folder, "pg1-port": PORT, "pg1-user": "postgres"}
        lines = ["[global]", *(f"{name}={text}" for name, text in settings.items()), f"[{STANZA}]", *(f"{name}={text}" for name, text in cluster.items())]
        file = at / "pgbackrest.conf"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if SERVER_USER:
            shutil.chown(file, SERVER_USER, SERVER_USER)
        run(self.command("stanza-create"))
        self.server.archive_with(f"pgbackrest --config={file} --stanza={STANZA} archive-push %p")

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self.command("--type=full", "--repo1-retention-full=9", "backup")

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        run(self.command("restore", data=str(target.data)))
        target.start()


class Physical(Logical):
    """This collection's module, by pgBackRest."""

    name, key = "**`pg_backup`**, `method: physical`", "pg-backup-physical"
    what = "this collection with pgBackRest as its engine; restored by `state: restored`"
    physical = True

    def install(self) -> None:
        """See :meth:`Peer.install`."""
        if shutil.which("pgbackrest") is None:
            raise JobFailed("pgbackrest is not installed")

    def options(self, server: Server | None = None, **more: t.Any) -> dict[str, t.Any]:
        """See :meth:`Logical.options`."""
        given = super().options(server, method="physical", data_dir=str((server or self.server).data), jobs=THREADS, **more)
        return {**given, "databases": [], "repository_passphrase": self.bench.passphrase}

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        module_result(run(module_job("pg_backup", self.options(target, state="restored"))))
        target.start()


class Barman(Peer):
    """barman-cloud-backup, from a virtual environment of its own."""

    name, key = "`barman-cloud-backup`", "barman"
    what = (
        "lz4 (the fastest that it has), not encrypted (it leaves that to the bucket), to the S3 endpoint on loopback; the log is archived beside it by `cp`; "
        "restored by `barman-cloud-restore`"
    )
    physical = True

    def __init__(self, bench: Bench) -> None:
        """Take what all share."""
        super().__init__(bench)
        self._programs = bench.work / "bench-barman" / "bin"

    def install(self) -> None:
        """See :meth:`Peer.install`: from the package index, once."""
        if (self._programs / "barman-cloud-backup").exists():
            return
        venv.create(self._programs.parent, clear=True, with_pip=True)
        run(Job((str(self._programs / "pip"), "install", "--quiet", "--disable-pip-version-check", BARMAN, "psycopg2-binary", "lz4")))

    def prepare(self) -> None:
        """See :meth:`Peer.prepare`."""
        super().prepare()
        self.bench.s3.new_bucket(self.key)
        self.server.archive_with(f"cp %p {self.destination}/%f")

    def _job(self, program: str, *arguments: str) -> Job:
        endpoint = ("--endpoint-url", self.bench.s3.url, "--addressing-style", "path")
        return Job((str(self._programs / program), *endpoint, *arguments), {**self.bench.s3.environment, **self.server.environment})

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        login = ("-h", str(self.server.folder), "-p", str(PORT), "-U", "postgres", "-d", "postgres")
        return self._job("barman-cloud-backup", "--lz4", "--immediate-checkpoint", "--jobs", str(THREADS), *login, f"s3://{self.key}", STANZA)

    def stored(self) -> int:
        """See :meth:`Peer.stored`."""
        return self.bench.s3.bytes_in(self.key) + super().stored()

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        listing = json.loads(run(self._job("barman-cloud-backup-list", "--format", "json", f"s3://{self.key}", STANZA)))
        run(self._job("barman-cloud-restore", f"s3://{self.key}", STANZA, listing["backups_list"][-1]["backup_id"], str(target.data)))
        (target.data / "recovery.signal").touch(mode=0o600)
        if SERVER_USER:
            run(Job(("chown", "-R", f"{SERVER_USER}:{SERVER_USER}", str(target.data))))
        run(Job(("chmod", "0700", str(target.data))))
        target.start(restore_command=f"cp {self.destination}/%f %p")
