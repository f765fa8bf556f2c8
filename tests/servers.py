# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on loopback and private sockets for the tests, and a way to run modules as Ansible does. The folders' ``conftest.py`` bring it in."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import typing as t

import boto3
import psycopg2
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "fixtures" / "hostile_s3"))
import playbooks
from hostile_s3 import HostileS3
from ports import free_port, wait_until_listening

SENTINEL = "Sentinel" + secrets.token_hex(8)
"""The superuser's password: a word that must never be seen outside the places made for it."""


def newest_postgresql() -> str:
    """Return the folder of the newest server programs that are installed."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    folders = [folder for folder in folders if os.access(f"{folder}/initdb", os.X_OK)]
    assert folders, "no PostgreSQL server below /usr/lib/postgresql; install the package postgresql"
    return folders[-1]


@pytest.fixture
def closed_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    return free_port()


def as_server_user(argv: t.Sequence[str]) -> list[str]:
    """Return the command that runs a program as the user ``postgres`` if we are root (its servers refuse root), else as it is."""
    return ["runuser", "-u", "postgres", "--", *argv] if os.geteuid() == 0 else list(argv)


@pytest.fixture(scope="session")
def server_root() -> t.Iterator[pathlib.Path]:
    """A folder for servers' files that any user may enter (pytest's own folders are private); removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mainstay-test-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o711)
        yield path


@dataclasses.dataclass
class PostgresServer:
    """A running PostgreSQL server on a private socket and a loopback port, superuser ``postgres`` with the sentinel password."""

    bin_dir: str
    data_dir: pathlib.Path
    socket_dir: pathlib.Path
    port: int
    password: str = SENTINEL

    @property
    def login(self) -> dict[str, t.Any]:
        """The modules' connection options."""
        return {"login_unix_socket": str(self.socket_dir), "login_port": self.port, "login_user": "postgres", "login_password": self.password}

    @contextlib.contextmanager
    def connect(self, database: str = "postgres", **options: t.Any) -> t.Iterator[t.Any]:
        """Yield an autocommit connection."""
        given = {"user": "postgres", "password": self.password, **options}
        connection = psycopg2.connect(host=str(self.socket_dir), port=self.port, dbname=database, **given)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, sql: str, database: str = "postgres") -> list[tuple[t.Any, ...]]:
        """Run statements; return the rows of the last one, or nothing."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def databases(self) -> set[str]:
        """Return the names of all databases except the templates and ``postgres``."""
        return {row[0] for row in self.query("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")}

    def drop(self, *names: str) -> None:
        """Drop databases, with whoever is connected to them."""
        for name in names:
            self.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def control(self, *arguments: str) -> None:
        """Run pg_ctl and wait for it."""
        argv = [f"{self.bin_dir}/pg_ctl", "-D", str(self.data_dir), "-l", f"{self.data_dir}.log", "-w", "-s", *arguments]
        subprocess.run(as_server_user(argv), check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)


@contextlib.contextmanager
def postgresql(folder: pathlib.Path, *initdb: str, **settings: t.Any) -> t.Iterator[PostgresServer]:
    """Yield the newest installed PostgreSQL, running.

    Args:
        folder: a new folder for its files, which any user may enter.
        initdb: further arguments of initdb.
        settings: further settings.
    """
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgresServer(newest_postgresql(), folder / "data", folder, free_port())
    password_file = folder / "password"
    password_file.write_text(SENTINEL)
    if os.geteuid() == 0:
        shutil.chown(password_file, "postgres", "postgres")
    argv = [f"{server.bin_dir}/initdb", "-N", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={password_file}"]
    subprocess.run(as_server_user([*argv, *initdb, "-D", str(server.data_dir)]), check=True, cwd="/", stdout=subprocess.DEVNULL)
    password_file.unlink()
    given = {"port": server.port, "unix_socket_directories": folder, "listen_addresses": "127.0.0.1", "fsync": "off", **settings}
    with (server.data_dir / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in given.items())
    server.control("start")
    try:
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.control("-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgres_server(server_root: pathlib.Path) -> t.Iterator[PostgresServer]:
    """The newest installed PostgreSQL, started once for the session."""
    with postgresql(server_root / "postgres") as server:
        yield server


@dataclasses.dataclass
class S3Server:
    """A running S3 endpoint (moto's server) on loopback."""

    endpoint_url: str
    access_key: str = "AKIATEST"
    secret_key: str = "Sentinel" + "S3" + secrets.token_hex(8)

    def client(self) -> t.Any:
        """Return a boto3 client."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint_url, aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name="us-east-1"
        )

    def new_bucket(self) -> str:
        """Make a bucket with a name of its own and return the name."""
        name = f"backups-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name

    def store(self, bucket: str, prefix: str = "") -> dict[str, t.Any]:
        """Return the modules' option ``store``."""
        return {
            "type": "s3",
            "bucket": bucket,
            "prefix": prefix,
            "region": "us-east-1",
            "endpoint_url": self.endpoint_url,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of all objects."""
        return [item["Key"] for item in self.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture(scope="session")
def s3_server() -> t.Iterator[S3Server]:
    """moto's server, started once for the session."""
    port = free_port()
    program = pathlib.Path(sys.executable).parent / "moto_server"
    assert program.exists(), f"{program} is missing; install moto[server]"
    process = subprocess.Popen([str(program), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_listening(port, process, lambda: "moto's server did not start")
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[HostileS3]:
    """The S3 that misbehaves, keeping its objects in a folder."""
    with HostileS3(tmp_path_factory.mktemp("hostile")) as server:
        yield server


@pytest.fixture
def hostile(hostile_server: HostileS3) -> HostileS3:
    """The S3 that misbehaves, in order and empty but for the bucket ``backups``."""
    hostile_server.behave()
    hostile_server.buckets, hostile_server.uploads, hostile_server.requests = {"backups": {}}, {}, []
    return hostile_server


@dataclasses.dataclass(frozen=True)
class AgeKey:
    """A pair of age keys: the public one, the private one as text, and the file that holds it."""

    public: str
    private: str
    path: str


@dataclasses.dataclass(frozen=True)
class AgeKeys:
    """The keys of the operators, the break-glass key, and one that belongs to nobody."""

    operators: AgeKey
    break_glass: AgeKey
    stranger: AgeKey


@pytest.fixture(scope="session")
def age_keys(tmp_path_factory: pytest.TempPathFactory) -> AgeKeys:
    """Three pairs of age keys."""
    folder = tmp_path_factory.mktemp("age")

    def make(name: str) -> AgeKey:
        path = folder / f"{name}.key"
        subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
        text = path.read_text()
        public = next(line.split()[-1] for line in text.splitlines() if line.startswith("# public key:"))
        return AgeKey(public, next(line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")), str(path))

    return AgeKeys(*(make(name) for name in ("operators", "break_glass", "stranger")))


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run of a playbook."""

    status: int
    results: list[dict[str, t.Any]]
    output: str

    @property
    def result(self) -> dict[str, t.Any]:
        """The only task's result."""
        assert len(self.results) == 1, self.output
        return self.results[0]


class Runner:
    """Runs modules of the collection on this host; arguments travel by standard input or in a private file, never on a command line.

    Calling it starts the module's own process as Ansible does (arguments in, JSON out). :meth:`tasks` goes the whole way through ``ansible-playbook``,
    which takes seconds more: for what depends on it.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Keep playbooks in ``folder``."""
        self._folder = folder

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of a run; see :func:`playbooks.environment`."""
        return playbooks.environment(**extra)

    def start(self, module: str, options: dict[str, t.Any], check: bool = False, diff: bool = False, **environment: str) -> subprocess.Popen[str]:
        """Start one module in the background; :meth:`finish` returns its result."""
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_socket": None}
        argv = [sys.executable, "-m", f"ansible_collections.mainstay.ops.plugins.modules.{module}"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, env=self.environment(**environment), stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd="/")
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: subprocess.Popen[str], timeout: float = 120) -> dict[str, t.Any]:
        """Wait for a module and return its result (``failed`` is true in it if it failed); one that takes longer is killed."""
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert output.strip().startswith("{"), output + errors
        return {"failed": False, "changed": False, **json.loads(output)}

    def __call__(self, module: str, options: dict[str, t.Any], check: bool = False, diff: bool = False, **environment: str) -> dict[str, t.Any]:
        """Run one module and return its result."""
        return self.finish(self.start(module, options, check, diff, **environment))

    def command(self, tasks: t.Sequence[dict[str, t.Any]], *arguments: str) -> list[str]:
        """Write a playbook of the tasks; return the command that runs it."""
        path = self._folder / f"play-{secrets.token_hex(4)}.json"
        play = {
            "name": "Run modules",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": list(tasks),
        }
        path.touch(0o600)
        path.write_text(json.dumps([play]))
        return [f"{playbooks.PROGRAMS}/ansible-playbook", "-i", "localhost,", *arguments, str(path)]

    def tasks(self, tasks: t.Sequence[dict[str, t.Any]], *arguments: str, **environment: str) -> Run:
        """Run tasks in one playbook through ``ansible-playbook``."""
        given = self.environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", **environment)
        command = self.command(tasks, *arguments)
        done = subprocess.run(command, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        results = []
        with contextlib.suppress(ValueError, IndexError):
            plays = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
            results = [{"failed": False, "changed": False, **host} for play in plays for task in play["tasks"] for host in task["hosts"].values()]
        return Run(done.returncode, results, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def run_module(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Run a module: ``run_module("pg_backup", {...}, check=True)["changed"]``; see :class:`Runner`."""
    return Runner(tmp_path_factory.mktemp("plays"))
