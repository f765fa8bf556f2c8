# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers with an archive of the server's log: pgBackRest alone, this collection's module with it, and barman."""

from __future__ import annotations

import json
import pathlib
import shutil
import typing as t
import venv

from ansible_collections.mainstay.ops.plugins.filter.pgbackrest_conf import pgbackrest_conf
from measure import Job, JobFailed, run
from modules import module_job, module_result

from backup.peers import BARMAN, LEVEL, THREADS, Bench, Peer
from backup.servers import PORT, SERVER_USER, Server

STANZA = "bench"


class _Archived(Peer):
    """A backup by pgBackRest, whose repository is made, and takes the server's log, before it is measured."""

    physical = True

    @property
    def config(self) -> str:
        """The path of the configuration that the server archives with."""
        return f"{self.bench.folder}/{self.key}.conf"

    @property
    def store(self) -> dict[str, t.Any]:
        """The module's option ``store``."""
        return {"type": "local", "path": str(self.destination)}

    def install(self) -> None:
        """See :meth:`Peer.install`."""
        if shutil.which("pgbackrest") is None:
            raise JobFailed("pgbackrest is not installed")

    def command(self, *arguments: str) -> Job:
        """Return a run of pgBackRest."""
        return Job(("pgbackrest", f"--config={self.config}", f"--stanza={STANZA}", *arguments), user=SERVER_USER)

    def prepare(self) -> None:
        """See :meth:`Peer.prepare`."""
        super().prepare()
        text = pgbackrest_conf(
            self.store,
            STANZA,
            data_dir=str(self.server.data),
            repository_passphrase=self.bench.passphrase,
            login_unix_socket=str(self.server.folder),
            login_port=PORT,
            login_user="postgres",
            jobs=THREADS,
            compression={"type": "zstd", "level": LEVEL},
            pgbackrest_options={"log-level-file": "off", "log-level-console": "warn"},
            version=run(Job(("pgbackrest", "version"))).split()[1],
        )
        file = pathlib.Path(self.config)
        file.touch(0o600)
        file.write_text(text, encoding="utf-8")
        if SERVER_USER:
            shutil.chown(file, SERVER_USER, SERVER_USER)
        run(self.command("stanza-create"))
        self.server.archive_with(f"pgbackrest --config={file} --stanza={STANZA} archive-push %p")


class PgBackRest(_Archived):
    """pgBackRest with a configuration file of its own."""

    name, key = "pgBackRest alone", "pgbackrest"
    what = (
        f"zstd at level {LEVEL}, {THREADS} processes, AES-256, small files bundled: the same settings as by the module; fsync of each file; "
        "restored by `pgbackrest restore`"
    )

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self.command("--type=full", "--repo1-retention-full=9", "backup")

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        run(self.command(f"--pg1-path={target.data}", "restore"))
        target.start()


class Physical(_Archived):
    """This collection's module, by pgBackRest."""

    name, key = "**`pg_backup`**, `method: physical`", "pg-backup-physical"
    what = (
        "this collection with pgBackRest as its engine; it also reads what the repository holds before and after, and notes the backup in the catalogue; "
        "restored by `state: restored`, which recovers, "
        "promotes and stops the server, and by its next start; the module's own process, without Ansible's start"
    )
    ours = True

    def options(self, data: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options for a data directory."""
        return {
            "name": STANZA,
            "method": "physical",
            "store": self.store,
            "repository_passphrase": self.bench.passphrase,
            "compression": {"type": "zstd", "level": LEVEL},
            "jobs": THREADS,
            "data_dir": str(data),
            "login_unix_socket": str(self.server.folder),
            "login_port": PORT,
            "login_user": "postgres",
            "max_age": "0",
            **more,
        }

    def module(self, **more: t.Any) -> Job:
        """Return the module's process, with further options."""
        return module_job("pg_backup", self.options(self.server.data, **more))

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self.module()

    def check(self, output: str) -> None:
        """See :meth:`Peer.check`."""
        module_result(output)

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        given = self.options(target.data, state="restored", pgbackrest_options={"archive-mode": "off"})
        module_result(run(module_job("pg_backup", given)))
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
