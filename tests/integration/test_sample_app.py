# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample application against real PostgreSQL and Redis servers, run by gunicorn from the release archive.

``LEDGER_TEST_PYTHON`` names another interpreter for the application, for example ``/usr/bin/python3`` with Debian's packages.
"""

from __future__ import annotations

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import http.client
import importlib.util
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t

import psycopg2
import pytest
import redis
from patroni_cluster import certificates
from ports import free_port

APP = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "app"
LOAD = APP.parent / "client" / "load.py"
PYTHON = os.environ.get("LEDGER_TEST_PYTHON", sys.executable)
PASSWORD = "p@ss:w/ord %41"  # what a URL would have to escape


def _load_build() -> t.Any:
    spec = importlib.util.spec_from_file_location("ledger_build", APP / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load_build()


def wait_for(what: str, check: t.Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until ``check`` returns true; an error of a connection counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, psycopg2.Error, redis.RedisError, http.client.HTTPException):
            if check():
                return
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


@dataclasses.dataclass
class Postgres:
    """A PostgreSQL server of its own, reached over loopback with a password."""

    binaries: pathlib.Path
    folder: pathlib.Path
    port: int
    user: str | None

    def url(self) -> str:
        """Return the URL without the password; the first host of the list is one where nothing listens."""
        return f"postgresql://ledger@127.0.0.1:1,127.0.0.1:{self.port}/ledger"

    def connect(self) -> t.Any:
        """Return a connection as the application's owner."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="ledger", password=PASSWORD, dbname="ledger")
        connection.autocommit = True
        return connection

    def run(self, *argv: str) -> None:
        """Run one of the server's programs as its user."""
        subprocess.run(
            [str(self.binaries / argv[0]), *argv[1:]],
            check=True,
            user=self.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=60"
        self.run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it."""
        self.run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.folder / "data"))


@pytest.fixture(scope="module")
def postgres() -> collections.abc.Iterator[Postgres]:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "no PostgreSQL server: apt-get install postgresql"
    user = "postgres" if os.geteuid() == 0 else None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ledger-pg-"))
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    server = Postgres(found[-1].parent, folder, free_port(), user)
    try:
        server.run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        (folder / "data" / "pg_hba.conf").write_text("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.start()
        with contextlib.closing(psycopg2.connect(host=str(folder), port=server.port, user="postgres", dbname="postgres")) as admin:
            admin.autocommit = True
            admin.cursor().execute("CREATE ROLE ledger LOGIN PASSWORD %s", (PASSWORD,))
            admin.cursor().execute("CREATE DATABASE ledger OWNER ledger")
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.stop("immediate")
        shutil.rmtree(folder)


class RedisServer:
    """A Redis server, or a Sentinel, of its own."""

    def __init__(self, folder: pathlib.Path, name: str, *settings: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self.sentinel = sentinel
        self.configuration = folder / f"{name}.conf"
        self.configuration.write_text("\n".join([f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", *settings]) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def client(self, **options: t.Any) -> t.Any:
        """Return a client of it."""
        return redis.Redis("127.0.0.1", self.port, socket_timeout=2, **options)

    def start(self, password: str | None = PASSWORD) -> None:
        """Start it and wait until it answers."""
        binary = shutil.which("redis-server")
        assert binary, "no Redis server: apt-get install redis-server"
        self.process = subprocess.Popen([binary, str(self.configuration), *(["--sentinel"] if self.sentinel else [])], stdout=subprocess.DEVNULL)
        wait_for("Redis", lambda: bool(self.client(password=password).ping()))

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis_server(tmp_path: pathlib.Path) -> collections.abc.Iterator[RedisServer]:
    server = RedisServer(tmp_path, "redis", 'save ""', f'requirepass "{PASSWORD}"')
    server.start()
    yield server
    server.stop()


def unpack(folder: pathlib.Path, release: str, broken: str | None = None) -> pathlib.Path:
    """Build a release and unpack it as a deployment would; return its folder."""
    facts = build.build(release, folder / "archives", broken)
    root = folder / "releases" / f"{release}-{broken or 'good'}"
    with tarfile.open(facts["path"]) as archive:
        # Python 3.11.2 of Debian 12 has no filters yet.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(root)
    return root


class Service:
    """The application under gunicorn."""

    def __init__(self, root: pathlib.Path, postgres: Postgres, **environment: str) -> None:
        self.root = root
        self.port = free_port()
        self.log = root / "service.log"
        # Nothing of the test's own environment: the service is configured by these alone. The folder for temporary files is looked at afterwards.
        self.scratch = root / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "PORT": str(self.port),
            "LEDGER_ADDRESS": "127.0.0.1",
            "LEDGER_DATABASE_URL": postgres.url(),
            "PGPASSWORD": PASSWORD,
            "TMPDIR": str(self.scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def migrate(self, *argv: str) -> str:
        """Run Alembic in the release and return what it printed."""
        result = subprocess.run(
            [PYTHON, "-m", "alembic", "-c", str(self.root / "alembic.ini"), *(argv or ("upgrade", "head"))],
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert PASSWORD not in result.stdout + result.stderr
        return result.stdout + result.stderr

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start gunicorn without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "gunicorn", "-c", str(self.root / "gunicorn.conf.py"), "ledger.wsgi:app"],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self.process

    def start(self) -> None:
        """Start gunicorn and wait until it answers."""
        self.spawn()
        wait_for("gunicorn", lambda: self.get("/health/live")[0] == 200)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def stop(self) -> None:
        """End it whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(120)

    def request(self, method: str, path: str, body: t.Any = None, connection: http.client.HTTPConnection | None = None) -> tuple[int, t.Any]:
        """Return the status and the body, parsed where it is JSON."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            own.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            response = own.getresponse()
            content = response.read()
            return response.status, json.loads(content) if response.headers.get_content_type() == "application/json" else content.decode()
        finally:
            if connection is None:
                own.close()

    def get(self, path: str) -> tuple[int, t.Any]:
        """GET a path."""
        return self.request("GET", path)

    def store(self, client: str, number: int, payload: str = "x", connection: http.client.HTTPConnection | None = None) -> tuple[int, t.Any]:
        """POST one row."""
        return self.request("POST", "/entries", {"client": client, "number": number, "payload": payload}, connection)


@pytest.fixture
def clean(postgres: Postgres) -> Postgres:
    """The server with an empty database."""
    with contextlib.closing(postgres.connect()) as connection:
        connection.cursor().execute("DROP TABLE IF EXISTS entries, alembic_version")
    return postgres


@pytest.fixture
def service(tmp_path: pathlib.Path, clean: Postgres, redis_server: RedisServer) -> collections.abc.Iterator[Service]:
    """Release 1, migrated and running."""
    running = Service(unpack(tmp_path, "1"), clean, LEDGER_REDIS_URL=f"redis://127.0.0.1:{redis_server.port}/0", LEDGER_REDIS_PASSWORD=PASSWORD)
    running.migrate()
    running.start()
    yield running
    running.stop()


def test_archive_is_reproducible_and_names_itself(tmp_path: pathlib.Path) -> None:
    first, again, second = (build.build(release, tmp_path / folder) for release, folder in (("1", "a"), ("1", "b"), ("2", "a")))
    assert pathlib.Path(first["path"]).read_bytes() == pathlib.Path(again["path"]).read_bytes()
    assert first["sha256"] == again["sha256"] != second["sha256"]
    assert (first["schema"], second["schema"]) == ("0001", "0002")
    with tarfile.open(first["path"]) as archive:
        facts = json.load(archive.extractfile("RELEASE"))  # type: ignore[arg-type]
        members = archive.getmembers()
    assert facts == {"application": "ledger", "release": "1", "revision": first["revision"], "schema": "0001"}
    assert all((member.uid, member.gid, member.mtime) == (0, 0, build.MTIME) and member.mode in (0o644, 0o755) for member in members)
    assert {"alembic.ini", "gunicorn.conf.py", "ledger/wsgi.py", "migrations/versions/0001_entries.py"} <= {member.name for member in members}


def test_sabotage_changes_the_revision(tmp_path: pathlib.Path) -> None:
    revisions = {build.build("3", tmp_path, broken)["revision"] for broken in (None, *build.BROKEN)}
    assert len(revisions) == len(build.BROKEN) + 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "neither LEDGER_DATABASE_URL nor PGHOST is set"),
        ({"LEDGER_DATABASE_URL": "postgresql://x/y"}, "neither LEDGER_REDIS_SENTINELS nor LEDGER_REDIS_URL is set"),
        ({"PGHOST": "x", "LEDGER_REDIS_SENTINELS": "data1"}, "'data1' is not HOST:PORT"),
        ({"PGHOST": "x", "LEDGER_REDIS_URL": "redis://x", "LEDGER_READY_TIMEOUT": "soon"}, "LEDGER_READY_TIMEOUT: 'soon' is not a number"),
    ],
)
def test_bad_configuration_ends_the_start_with_one_sentence(tmp_path: pathlib.Path, environment: dict[str, str], message: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    result = subprocess.run(
        [PYTHON, "-m", "gunicorn", "-b", "127.0.0.1:0", "ledger.wsgi:app"],
        cwd=unpack(tmp_path, "1"),
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(scratch), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert list(scratch.iterdir()) == []


def test_endpoints(service: Service) -> None:
    assert service.get("/health/live") == (200, {"status": "ok"})
    status, ready = service.get("/health/ready")
    assert (status, ready["status"], ready["failed"]) == (200, "ok", [])
    assert service.get("/health/startup") == (200, {"status": "ok", "schema": "0001", "wanted": "0001"})
    status, version = service.get("/version")
    assert (status, version["release"], version["schema"], version["host"]) == (200, "1", "0001", socket.gethostname())
    assert len(version["revision"]) == 12

    status, row = service.store("a", 1, "first")
    assert (status, row["client"], row["number"], row["payload"]) == (201, "a", 1, "first")
    assert service.store("a", 1, "first") == (200, row)
    status, conflict = service.store("a", 1, "other")
    assert (status, conflict["entry"]) == (409, row)
    for number in (2, 3, 7):
        assert service.store("a", number)[0] == 201
    assert service.store("b", 1)[0] == 201

    assert service.get("/entries?client=a") == (200, {"client": "a", "count": 4, "min": 1, "max": 7, "numbers": [1, 2, 3, 7], "next": None, "reads": 1})
    assert service.get("/entries?client=a&limit=2")[1]["next"] == 2
    page = service.get("/entries?client=a&limit=2&after=2")[1]
    assert (page["numbers"], page["next"], page["reads"]) == ([3, 7], None, 3)
    assert service.get("/entries?client=nobody")[1] == {"client": "nobody", "count": 0, "min": None, "max": None, "numbers": [], "next": None, "reads": 1}
    status, html = service.get("/")
    assert status == 200 and "<dd>5</dd>" in html and "<dd>2</dd>" in html
    service.store("c", 1)
    assert "<dd>5</dd>" in service.get("/")[1], "the totals were not cached"


def test_bad_rows_are_refused(service: Service) -> None:
    bodies: list[t.Any] = [
        None,
        [],
        {"client": "a"},
        {"client": "", "number": 1},
        {"client": "a", "number": "1"},
        {"client": "a", "number": -1},
        {"client": "a", "number": True},
        {"client": "a", "number": 2**63},
        {"client": "a", "number": 1, "payload": "\x00"},
        {"client": "a" * 101, "number": 1},
    ]
    for body in bodies:
        status, answer = service.request("POST", "/entries", body)
        assert status == 400 and answer["error"], body
    assert service.get("/entries?client=a")[1]["count"] == 0


def test_metrics_add_up_over_the_workers_and_leave_no_files(service: Service) -> None:
    for number in range(20):
        service.store("m", number)
    (folder,) = service.scratch.iterdir()
    (folder / "counter_1.db").touch()  # a worker has just begun to count
    text = service.get("/metrics")[1]
    assert "ledger_entries_created_total 20.0" in text
    assert 'ledger_requests_total{method="POST",route="/entries",status="201"} 20.0' in text
    assert 'ledger_build_info{release="1"' in text
    assert service.terminate() == 0
    assert list(service.scratch.iterdir()) == []


def test_logs_are_json_lines_without_the_password(service: Service) -> None:
    service.store("l", 1)
    service.terminate()
    text = service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    request = next(line for line in lines if line["message"] == "request" and line["path"] == "/entries")
    assert (request["method"], request["status"], request["level"]) == ("POST", 201, "info")
    assert not any(line.get("path", "").startswith("/health/") for line in lines)
    assert PASSWORD not in text


def test_release_2_expands_and_release_1_works_beside_it(tmp_path: pathlib.Path, service: Service) -> None:
    second = Service(unpack(tmp_path, "2"), Postgres(pathlib.Path(), pathlib.Path(), 0, None))
    second.environment.update({**service.environment, "PORT": str(second.port), "TMPDIR": str(second.scratch)})
    try:
        second.start()
        assert second.get("/health/startup") == (503, {"status": "failed", "schema": "0001", "wanted": "0002"})
        with concurrent.futures.ThreadPoolExecutor() as threads:  # two hosts that migrate at the same moment
            for future in [threads.submit(second.migrate) for _host in range(2)]:
                future.result()
        assert second.get("/health/startup")[0] == 200
        assert second.get("/version")[1]["release"] == "2"
        assert (second.store("x", 1)[0], service.store("x", 2)[0]) == (201, 201)
        assert service.get("/health/startup") == (200, {"status": "ok", "schema": "0002", "wanted": "0001"})
        assert second.get("/entries?client=x")[1]["count"] == 2
        # Release 1 leaves the schema of release 2 alone.
        assert "nothing to do" in service.migrate()
        assert service.get("/health/startup")[1]["schema"] == "0002"
    finally:
        second.stop()


def test_migration_2_goes_on_where_it_was_cut_off(tmp_path: pathlib.Path, clean: Postgres, redis_server: RedisServer) -> None:
    release = Service(unpack(tmp_path, "2"), clean, LEDGER_REDIS_URL=f"redis://127.0.0.1:{redis_server.port}")
    release.migrate("upgrade", "0001")
    with contextlib.closing(clean.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("ALTER TABLE entries ADD COLUMN accepted_by text")
        cursor.execute("CREATE INDEX entries_created_at ON entries (created_at)")
        release.migrate()
        cursor.execute("SELECT version_num, (SELECT indisvalid FROM pg_index WHERE indexrelid = 'entries_created_at'::regclass) FROM alembic_version")
        assert cursor.fetchall() == [("0002", True)]


def test_ready_says_what_failed_within_its_limit(service: Service, clean: Postgres, redis_server: RedisServer) -> None:
    redis_server.stop()
    status, answer = service.get("/health/ready")
    assert (status, answer["failed"]) == (503, ["redis"])
    assert service.get("/entries?client=a")[1]["reads"] is None, "reading rows must not need Redis"
    assert service.store("a", 1)[0] == 201
    clean.stop()
    try:
        started = time.monotonic()
        status, answer = service.get("/health/ready")
        assert (status, answer["failed"]) == (503, ["postgresql", "redis"])
        assert time.monotonic() - started < 8
        assert answer["checks"]["postgresql"]["error"]
        assert service.get("/health/live")[0] == 200
        assert service.store("a", 2)[0] == 503
    finally:
        clean.start()
    redis_server.start()
    wait_for("ready again", lambda: service.get("/health/ready")[0] == 200)
    with contextlib.closing(clean.connect()) as connection:
        connection.cursor().execute("ALTER DATABASE ledger SET default_transaction_read_only = on")
        try:
            wait_for("a read-only server is not ready", lambda: service.get("/health/ready")[0] == 503 or _drop_sessions(connection))
        finally:
            connection.cursor().execute("SET default_transaction_read_only = off; ALTER DATABASE ledger RESET default_transaction_read_only")


def _drop_sessions(connection: t.Any) -> bool:
    connection.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ledger@%'")
    return False


def test_hanging_dependency_does_not_hang_the_answer(service: Service, redis_server: RedisServer) -> None:
    service.stop()
    service.environment["LEDGER_READY_TIMEOUT"] = "0.5"
    service.start()
    wait_for("ready", lambda: service.get("/health/ready")[0] == 200)
    assert redis_server.process is not None
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        status, answer = service.get("/health/ready")
        assert (status, answer["failed"]) == (503, ["redis"])
        assert answer["checks"]["redis"]["error"] == "no answer within 0.5 s"
    finally:
        redis_server.process.send_signal(signal.SIGCONT)


def test_database_restart_is_survived(service: Service, clean: Postgres) -> None:
    """Connections that died in the pool cost no request once the server is back, and every acknowledged row is there."""
    acknowledged = []
    with concurrent.futures.ThreadPoolExecutor(8) as threads:  # fills the pools of both workers
        list(threads.map(lambda number: service.store("r", number), range(40)))
    acknowledged += range(40)
    clean.stop()
    clean.start()
    for number in range(40, 80):
        assert service.store("r", number)[0] == 201
        acknowledged.append(number)
    assert service.get("/entries?client=r")[1]["numbers"] == acknowledged


def test_connections_cut_under_load_lose_no_acknowledged_row(service: Service, clean: Postgres) -> None:
    """Every backend is killed again and again: writes that repeat an idempotent statement go through, and what was acknowledged is stored."""
    statuses: dict[int, int] = {}

    def write(worker: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
            for number in range(worker * 100, worker * 100 + 100):
                statuses[number] = service.store("k", number, connection=connection)[0]

    with concurrent.futures.ThreadPoolExecutor(4) as threads, contextlib.closing(clean.connect()) as admin:
        futures = [threads.submit(write, worker) for worker in range(4)]
        while not all(future.done() for future in futures):
            _drop_sessions(admin)
            time.sleep(0.1)
    for future in futures:
        future.result()
    assert set(statuses.values()) <= {200, 201, 503}
    stored = set(service.get("/entries?client=k&limit=10000")[1]["numbers"])
    assert {number for number, status in statuses.items() if status in (200, 201)} <= stored


def test_sigterm_finishes_what_is_in_flight(service: Service, clean: Postgres) -> None:
    """Rows that wait for a lock while SIGTERM arrives, and requests on open connections after it, are all answered."""
    idle = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    assert service.store("t", 0, connection=idle)[0] == 201
    with contextlib.closing(clean.connect()) as blocker, contextlib.closing(clean.connect()) as observer, concurrent.futures.ThreadPoolExecutor(10) as threads:
        cursor, watch = blocker.cursor(), observer.cursor()
        cursor.execute("BEGIN; LOCK TABLE entries IN EXCLUSIVE MODE")
        futures = [threads.submit(service.store, "t", number) for number in range(1, 7)]  # fewer than one worker has threads

        def all_wait() -> bool:
            watch.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'ledger@%'")
            return bool(watch.fetchone()[0] == 6)

        wait_for("six rows wait for the lock", all_wait)
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert service.request("GET", "/version", connection=idle)[0] == 200
        assert idle.sock is None, "the answer did not close the connection"
        time.sleep(2.5)
        assert not any(future.done() for future in futures)
        cursor.execute("COMMIT")
        assert [future.result()[0] for future in futures] == [201] * 6
    assert service.process.wait(120) == 0


def test_sigterm_under_load_cuts_no_request(service: Service) -> None:
    """A client with keep-alive connections sees complete answers until the service refuses new connections: never a cut one."""
    outcomes: list[str] = []

    def load(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        for number in range(worker * 100000, worker * 100000 + 100000):
            try:
                connection.connect() if connection.sock is None else None
            except ConnectionRefusedError:
                return
            try:
                outcomes.append(str(service.store("u", number, connection=connection)[0]))
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))
                connection.close()

    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(load, worker) for worker in range(6)]
        time.sleep(1.5)
        assert service.terminate() == 0
        for future in futures:
            future.result()
    assert set(outcomes) == {"201"} and len(outcomes) > 100


@pytest.mark.parametrize(
    ("broken", "expected"),
    [("unready", {"/health/ready": 503, "/entries?client=a": 200}), ("errors", {"/health/ready": 200, "/entries?client=a": 500, "/": 500})],
)
def test_sabotaged_releases_start_and_fail_as_named(tmp_path: pathlib.Path, service: Service, broken: str, expected: dict[str, int]) -> None:
    sabotaged = Service(unpack(tmp_path, "3", broken), Postgres(pathlib.Path(), pathlib.Path(), 0, None))
    sabotaged.environment.update({**service.environment, "PORT": str(sabotaged.port), "TMPDIR": str(sabotaged.scratch)})
    try:
        sabotaged.migrate()
        sabotaged.start()
        assert {path: sabotaged.get(path)[0] for path in expected} == expected
        assert sabotaged.get("/version")[1]["release"] == "3"
    finally:
        sabotaged.stop()


@pytest.mark.parametrize(("broken", "status"), [("slow", 200), ("later", 500)])
def test_sabotage_that_shows_with_time(tmp_path: pathlib.Path, service: Service, broken: str, status: int) -> None:
    sabotaged = Service(unpack(tmp_path, "3", broken), Postgres(pathlib.Path(), pathlib.Path(), 0, None))
    # One worker: each counts the seconds from its own start.
    own = {"PORT": str(sabotaged.port), "TMPDIR": str(sabotaged.scratch), "LEDGER_SABOTAGE_SECONDS": "1.5", "LEDGER_WORKERS": "1"}
    sabotaged.environment.update({**service.environment, **own})
    try:
        sabotaged.migrate()
        sabotaged.start()
        deadline = time.monotonic() + 60
        while sabotaged.get("/entries?client=a")[0] != status and time.monotonic() < deadline:
            time.sleep(0.2)
        begun = time.monotonic()
        assert sabotaged.get("/entries?client=a")[0] == status
        assert (time.monotonic() - begun >= 1.5) == (broken == "slow")
        assert sabotaged.get("/health/ready")[0] == 200
    finally:
        sabotaged.stop()


def test_crashing_release_does_not_start(tmp_path: pathlib.Path, clean: Postgres) -> None:
    sabotaged = Service(unpack(tmp_path, "3", "crash"), clean, LEDGER_REDIS_URL="redis://127.0.0.1:1")
    assert sabotaged.spawn().wait(120) != 0
    assert "built to crash on start" in sabotaged.log.read_text()


def test_redis_through_sentinel_follows_a_failover(tmp_path: pathlib.Path, clean: Postgres) -> None:
    master = RedisServer(tmp_path, "master", 'save ""', f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"')
    replica = RedisServer(tmp_path, "replica", 'save ""', f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"', f"replicaof 127.0.0.1 {master.port}")
    sentinel = RedisServer(
        tmp_path,
        "sentinel",
        f"sentinel monitor main 127.0.0.1 {master.port} 1",
        f'sentinel auth-pass main "{PASSWORD}"',
        "sentinel down-after-milliseconds main 500",
        'requirepass "sentinel secret"',
        sentinel=True,
    )
    running = Service(
        unpack(tmp_path, "1"),
        clean,
        LEDGER_REDIS_SENTINELS=f"127.0.0.1:1,127.0.0.1:{sentinel.port}",
        LEDGER_REDIS_SENTINEL_MASTER="main",
        LEDGER_REDIS_PASSWORD=PASSWORD,
        LEDGER_REDIS_SENTINEL_PASSWORD="sentinel secret",
    )
    running.migrate()
    try:
        master.start()
        replica.start()
        sentinel.start("sentinel secret")
        wait_for("the replica follows", lambda: replica.client(password=PASSWORD).info("replication")["master_link_status"] == "up")
        wait_for("the Sentinel knows the replica", lambda: len(sentinel.client(password="sentinel secret").sentinel_slaves("main")) == 1)
        running.start()
        assert running.get("/health/ready")[0] == 200
        assert running.get("/entries?client=a")[1]["reads"] == 1
        wait_for("the replica has the counter", lambda: replica.client(password=PASSWORD).get("ledger:reads:a") == b"1")
        master.stop()
        wait_for("ready on the new master", lambda: running.get("/health/ready")[0] == 200)
        wait_for("counting goes on", lambda: running.get("/entries?client=a")[1]["reads"] is not None)
        assert int(replica.client(password=PASSWORD).get("ledger:reads:a")) >= 2
    finally:
        running.stop()
        for server in (sentinel, replica, master):
            server.stop()


def test_load_client_proves_what_a_database_restart_cost(tmp_path: pathlib.Path, service: Service, clean: Postgres) -> None:
    """Rows acknowledged before, during and after an outage are all found; a row that is deleted behind the service's back is named."""
    log, url = tmp_path / "acks", f"http://127.0.0.1:{service.port}"
    argv = [sys.executable, str(LOAD), "run", "--url", url, "--client", "proof", "--rate", "60", "--ack-log", str(log)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        wait_for("rows before the outage", lambda: log.exists() and log.read_text().count("\n") > 60)
        clean.stop()
        time.sleep(0.5)
        clean.start()
        before = log.read_text().count("\n")
        wait_for("rows after the outage", lambda: log.read_text().count("\n") > before + 60)
        client.send_signal(signal.SIGTERM)
        summary = json.loads(client.communicate(timeout=120)[0])
    assert set(summary["failed_by_kind"]) == {"status_503"}, "the outage must be seen, and nothing else"
    assert 0.4 < summary["longest_gap_seconds"] < summary["seconds"] - 1
    assert summary["started"] < summary["first_failure"] <= summary["last_failure"] < summary["finished"]
    verify = [sys.executable, str(LOAD), "verify", "--url", url, "--client", "proof", "--ack-log", str(log)]
    result = json.loads(subprocess.run(verify, stdout=subprocess.PIPE, check=True).stdout)
    assert result["rows_found"] == result["rows_acknowledged"] == summary["acknowledged"] > 100
    with contextlib.closing(clean.connect()) as connection:
        connection.cursor().execute("DELETE FROM entries WHERE client = 'proof' AND number = 5")
    found = subprocess.run(verify, stdout=subprocess.PIPE, check=False)
    assert (found.returncode, json.loads(found.stdout)["rows_lost_first"]) == (1, [5])


class Worker:
    """A process of Celery beside the service, with its environment."""

    def __init__(self, service: Service, name: str, *arguments: str, **environment: str) -> None:
        self.log = service.root / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "celery", "--app", "ledger.tasks", *arguments],
                cwd=service.root,
                env={**service.environment, **environment},
                stdout=log,
                stderr=log,
            )

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status, once it has finished its task."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def kill(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


WORKER = ("worker", "--concurrency=2", "--without-gossip", "--without-mingle", "--without-heartbeat")


def test_no_task_is_lost_when_workers_are_replaced(service: Service) -> None:
    """The old worker finishes what it does and gives back what it had only reserved; the new one does the rest."""
    workers = [Worker(service, "old", *WORKER)]
    try:
        for number in range(30):
            status, _answer = service.request("POST", "/entries/later", {"client": "later", "number": number, "payload": "x", "seconds": 0.2})
            assert status == 202
            if number == 10:
                wait_for("the first row", lambda: service.get("/entries?client=later")[1]["count"] > 0)
                workers.append(Worker(service, "new", *WORKER))
                assert workers[0].terminate() == 0
        wait_for("all rows", lambda: service.get("/entries?client=later")[1]["count"] == 30)
        assert service.get("/entries?client=later")[1]["numbers"] == list(range(30))
        assert workers[1].terminate() == 0
        text = "".join(worker.log.read_text() for worker in workers)
        assert PASSWORD not in text and all(json.loads(line)["time"] for line in text.splitlines() if line.startswith("{"))
    finally:
        for worker in workers:
            worker.kill()


class TlsRedisServer(RedisServer):
    """A server that speaks TLS only."""

    def __init__(self, folder: pathlib.Path, name: str, *settings: str, sentinel: bool = False) -> None:
        super().__init__(folder, name, *settings, sentinel=sentinel)
        self.authority = str(folder / "ca.crt")
        files = [f"tls-cert-file {folder}/member.crt", f"tls-key-file {folder}/member.key", f"tls-ca-cert-file {self.authority}"]
        tls = ["port 0", f"tls-port {self.port}", "tls-auth-clients no", "tls-replication yes", *files]
        self.configuration.write_text(self.configuration.read_text() + "\n".join(tls) + "\n")

    def client(self, **options: t.Any) -> t.Any:
        """Return a client of it."""
        return super().client(ssl=True, ssl_ca_certs=self.authority, **options)


def test_the_queue_behind_sentinels_with_tls_and_users(tmp_path: pathlib.Path, clean: Postgres) -> None:
    """As in production: TLS everywhere, a user who may do what an application needs, and another password for the Sentinels."""
    certificates(tmp_path)
    user = f'user ledger on ">{PASSWORD}" ~* &* +@all -@admin -@dangerous +info +role +wait'
    master = TlsRedisServer(tmp_path, "master", 'save ""', 'requirepass "admin"', user)
    watch = [f"sentinel monitor main 127.0.0.1 {master.port} 1", "sentinel auth-pass main admin", 'requirepass "sentinel secret"']
    sentinel = TlsRedisServer(tmp_path, "sentinel", *watch, sentinel=True)
    running = Service(
        unpack(tmp_path, "1"),
        clean,
        LEDGER_REDIS_SENTINELS=f"127.0.0.1:1,127.0.0.1:{sentinel.port}",
        LEDGER_REDIS_SENTINEL_MASTER="main",
        LEDGER_REDIS_USERNAME="ledger",
        LEDGER_REDIS_PASSWORD=PASSWORD,
        LEDGER_REDIS_SENTINEL_PASSWORD="sentinel secret",
        LEDGER_REDIS_TLS="true",
        LEDGER_REDIS_CA_FILE=str(tmp_path / "ca.crt"),
    )
    running.migrate()
    workers = []
    try:
        master.start("admin")
        sentinel.start("sentinel secret")
        running.start()
        workers.append(Worker(running, "worker", *WORKER))
        assert running.request("POST", "/entries/later", {"client": "tls", "number": 1, "payload": "x"})[0] == 202
        wait_for("the row", lambda: running.get("/entries?client=tls")[1]["count"] == 1)
        assert workers[0].terminate() == 0
        assert PASSWORD not in workers[0].log.read_text()
    finally:
        running.stop()
        for worker in workers:
            worker.kill()
        for server in (sentinel, master):
            server.stop()


def test_the_clock_ticks(service: Service) -> None:
    """Rows of the client "tick", one for each interval."""
    schedule = service.scratch / "schedule"
    workers = [Worker(service, "worker", *WORKER), Worker(service, "beat", "beat", f"--schedule={schedule}", LEDGER_TICK_SECONDS="2")]
    try:
        wait_for("three ticks", lambda: service.get("/entries?client=tick")[1]["count"] >= 3)
    finally:
        for worker in workers:
            worker.kill()


def test_a_queue_that_is_away_is_said(service: Service, redis_server: RedisServer) -> None:
    """The client gets 503 and may come again; a bad request gets 400."""
    assert service.request("POST", "/entries/later", {"client": "q", "number": 1, "seconds": 61})[0] == 400
    redis_server.stop()
    assert service.request("POST", "/entries/later", {"client": "q", "number": 1})[0] == 503


def test_switches_of_features_are_read_anew(service: Service, tmp_path: pathlib.Path) -> None:
    """A changed file counts at once and without a restart, and one that is broken changes nothing."""
    service.stop()
    switches = tmp_path / "features.json"
    service.environment["FEATURES_FILE"] = str(switches)
    service.start()
    assert service.get("/features") == (200, {})
    assert service.get("/entries?client=f")[1]["reads"] == 1
    for content, seen in (('{"count_reads": false}', {"count_reads": False}), ("{}", {})):
        replace(switches, content)
        # Each of gunicorn's workers reads it for itself.
        assert all(service.get("/features") == (200, seen) for _request in range(8))
        assert (service.get("/entries?client=f")[1]["reads"] is None) == (seen != {})
    replace(switches, "{broken")
    assert service.get("/features") == (200, {})


def replace(path: pathlib.Path, content: str) -> None:
    """Put a file in place as a deployment does."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(content)
    beside.rename(path)
