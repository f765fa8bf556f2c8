# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: each peer says how it is prepared, how it backs up, and how what it stored becomes a server that answers."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import secrets
import shutil
import subprocess
import typing as t

from contest import Peer as AnyPeer
from endpoint import S3Endpoint
from measure import Job, run
from modules import module_job, module_result

from backup.servers import PORT, SERVER_USER, Server

DATABASE = "bench"
BUCKET = "bench"
LEVEL = 3
THREADS = 2
BARMAN = "barman[cloud]==3.19.1"


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all peers share.

    Attributes:
        server: the server with the data.
        s3: the endpoint on loopback.
        folder: holds everything.
        work: folder that outlives a run, for what is installed.
        passphrase: what symmetric encryption is done with.
    """

    server: Server
    s3: S3Endpoint
    folder: pathlib.Path
    work: pathlib.Path
    passphrase: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))

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
        """The id of the server's first process."""
        return self.server.pid

    @property
    def recipient(self) -> str:
        """The public key for age."""
        argv = ["age-keygen", "-y", str(self.keys / "age.key")]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def make(self) -> None:
        """Make the folders and the keys."""
        for path in (self.scratch, self.keys, self.folder / "stored"):
            path.mkdir()
            if SERVER_USER:
                shutil.chown(path, SERVER_USER, SERVER_USER)
        self.scratch.chmod(0o1777)
        subprocess.run(["age-keygen", "-o", str(self.keys / "age.key")], check=True, capture_output=True)
        (self.keys / "passphrase").write_text(self.passphrase, encoding="utf-8")
        (self.keys / "gnupg").mkdir(mode=0o700)
        if SERVER_USER:
            for name in ("passphrase", "gnupg"):
                shutil.chown(self.keys / name, SERVER_USER, SERVER_USER)
        self.work.mkdir(parents=True, exist_ok=True)


class Peer(AnyPeer):
    """One way to back PostgreSQL up.

    Attributes:
        physical: whether it copies the cluster's files rather than the database's contents.
    """

    bench: Bench
    physical = False

    @property
    def server(self) -> Server:
        """The server with the data."""
        return self.bench.server

    def prepare(self) -> None:
        """Remove what an earlier run stored, and make the server ready."""
        super().prepare()
        if SERVER_USER:
            shutil.chown(self.destination, SERVER_USER, SERVER_USER)

    def restore(self, target: Server) -> None:
        """Bring the data back: into the running, empty server ``target``, or for a physical one as the server ``target``, which is then started."""
        raise NotImplementedError

    def tool(self, script: str, server: Server | None = None) -> Job:
        """Return a line of shell that runs as the server's user, with PostgreSQL's programs first on the path."""
        at = server or self.server
        return Job.shell(script, env={**at.environment, "PATH": f"{at.bin_dir}:{os.environ['PATH']}"}, user=SERVER_USER)


class Script(Peer):
    """A line of shell, as scripts have it; ``{to}`` is the folder it stores into, ``{keys}`` that of the keys."""

    backup_script = ""
    restore_script = ""

    def _fill(self, script: str) -> str:
        gpg = f"gpg --homedir {self.bench.keys}/gnupg --batch --quiet --pinentry-mode loopback --passphrase-file {self.bench.keys}/passphrase"
        return script.format(to=self.destination, gpg=gpg, database=DATABASE)

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self.tool(self._fill(self.backup_script))

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        run(self.tool(f"createdb {DATABASE}; " + self._fill(self.restore_script), target))


class GzipGpg(Script):
    """The recipe of most scripts and playbooks."""

    name, key = "`pg_dump \\| gzip \\| gpg -c`", "gzip-gpg"
    what = "the recipe of most scripts; restored by `gpg -d | gunzip | psql`; does not wait for the disk (no fsync)"
    one_stream = True
    backup_script = "pg_dump {database} | gzip | {gpg} -c > {to}/dump.sql.gz.gpg"
    restore_script = "{gpg} -d {to}/dump.sql.gz.gpg | gunzip | psql -q -X -v ON_ERROR_STOP=1 {database}"


class CustomFormat(Script):
    """PostgreSQL's own archive."""

    name, key = "`pg_dump -Fc`", "custom"
    what = "zlib at its default level, not encrypted, fsync at the end; restored by `pg_restore -j2`"
    one_stream = True
    backup_script = "pg_dump -Fc -f {to}/dump {database}"
    restore_script = "pg_restore -j2 -d {database} {to}/dump"


class DirectoryFormat(Script):
    """PostgreSQL's own archive, by two processes."""

    name, key = "`pg_dump -Fd -j2`", "directory"
    what = "the same into a folder, by two processes; restored by `pg_restore -j2`"
    backup_script = "pg_dump -Fd -j2 -f {to}/dump {database}"
    restore_script = "pg_restore -j2 -d {database} {to}/dump"


class BaseBackup(Script):
    """PostgreSQL's own copy of the files."""

    name, key = "`pg_basebackup -Ft -z`", "basebackup"
    what = "gzip at its default level, not encrypted, fsync at the end, the log of its duration beside it; restored by `tar -x`"
    physical = True
    backup_script = "pg_basebackup -Ft -z --checkpoint=fast -D {to}/base"

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        target.make_folder()
        base = self.destination / "base"
        run(self.tool(f"mkdir -m 0700 {target.data}; tar -xzf {base}/base.tar.gz -C {target.data}; tar -xzf {base}/pg_wal.tar.gz -C {target.data}/pg_wal"))
        target.start()


class PostgresqlDb(Peer):
    """The dump of the collection that most playbooks use."""

    name, key = "`community.postgresql.postgresql_db`", "postgresql-db"
    what = (
        "`state: dump` into `.sql.gz`: pg_dump through gzip, not encrypted, no fsync; restored by `state: restore` (psql); the module's own process, "
        "without Ansible's start"
    )
    one_stream = True

    def _job(self, server: Server, **options: t.Any) -> Job:
        login = {"login_unix_socket": str(server.folder), "login_port": PORT, "login_user": "postgres", "name": DATABASE}
        environment = {**server.environment, "PATH": f"{server.bin_dir}:{os.environ['PATH']}"}
        return module_job("postgresql_db", {**login, **options}, "community.postgresql", **environment)

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self._job(self.server, state="dump", target=f"{self.destination}/dump.sql.gz")

    def check(self, output: str) -> None:
        """See :meth:`Peer.check`."""
        module_result(output)

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        module_result(run(self._job(target, state="present")))
        module_result(run(self._job(target, state="restore", target=f"{self.destination}/dump.sql.gz")))


class Logical(Peer):
    """This collection's module, by ``pg_dump``."""

    name, key = "**`pg_backup`**, `method: logical`", "pg-backup-logical"
    what = (
        f"this collection: zstd at level {LEVEL} with {THREADS} threads and age, roles with their passwords, rows counted, fsync; restored by "
        "`state: restored` with `restore_jobs: 2`, which also checks the rows and runs ANALYZE; the module's own process, without Ansible's start"
    )
    ours = True

    def store(self) -> dict[str, t.Any]:
        """Return the option ``store``."""
        return {"type": "local", "path": str(self.destination)}

    def options(self, server: Server | None = None, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options."""
        return {
            "name": "bench",
            "databases": [DATABASE],
            "store": self.store(),
            "compression": {"type": "zstd", "level": LEVEL, "threads": THREADS},
            "encryption": {"type": "age", "recipients": [self.bench.recipient], "identity_file": str(self.bench.keys / "age.key")},
            "login_unix_socket": str((server or self.server).folder),
            "login_port": PORT,
            "login_user": "postgres",
            "max_age": "0",
            **more,
        }

    def module(self, **more: t.Any) -> Job:
        """Return the module's process, with further options."""
        return module_job("pg_backup", self.options(**more))

    def backup(self) -> Job:
        """See :meth:`Peer.backup`."""
        return self.module()

    def check(self, output: str) -> None:
        """See :meth:`Peer.check`."""
        module_result(output)

    def restore(self, target: Server) -> None:
        """See :meth:`Peer.restore`."""
        more = {"state": "restored", "restore_jobs": 2, "work_dir": str(self.bench.scratch)}
        module_result(run(module_job("pg_backup", self.options(target, **more))))


class LogicalS3(Logical):
    """The same into a bucket."""

    name, key = "**`pg_backup`**, logical, to S3", "pg-backup-logical-s3"
    what = "the same into a bucket of an S3 endpoint on loopback (moto, whose own work is not counted but shares the cores)"

    def prepare(self) -> None:
        """See :meth:`Peer.prepare`."""
        self.bench.s3.new_bucket(self.key)

    def store(self) -> dict[str, t.Any]:
        """See :meth:`Logical.store`."""
        return self.bench.s3.store(self.key)

    def stored(self) -> int:
        """See :meth:`Peer.stored`."""
        return self.bench.s3.bytes_in(self.key)
