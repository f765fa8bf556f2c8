# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the drills of releases count, against what nginx writes down: a failure that a client sees is counted, and none that it does not see."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import typing as t

import pytest
from certificates import make_self_signed
from ports import free_port

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# pylint: disable=wrong-import-position
from drills.deploy import hold  # noqa: E402
from drills.deploy.measurement import elsewhere, seen_of  # noqa: E402
from drills.deploy.release import build  # noqa: E402
from drills.deploy.traffic import Counted, Site, traffic  # noqa: E402

pytestmark = [
    pytest.mark.skipif(shutil.which("hey") is None, reason="hey is not installed"),
    # The rate that the clients keep depends on the machine.
    pytest.mark.alone,
]

NAME = "ledger.lab.test"

CONFIGURATION = """daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format short '$status $request_time $upstream_http_x_release';
    access_log {folder}/status.log short;
    client_header_timeout 4s;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/tls.crt;
        ssl_certificate_key {folder}/tls.key;
        set $slot {old};
        if (-f {folder}/switch) {{
            set $slot {new};
        }}
        location / {{
            proxy_pass http://127.0.0.1:$slot;
        }}
    }}
}}
"""


class Stage:
    """An nginx with TLS in front of two releases; the file ``switch`` sends requests to the second one."""

    def __init__(self, folder: pathlib.Path, second: str) -> None:
        """Prepare both."""
        self.folder = folder
        self.ports = {"good-a": free_port(), second: free_port()}
        self.site = Site(NAME, "127.0.0.1", str(folder / "tls.crt"), free_port())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        make_self_signed(folder / "tls.key", folder / "tls.crt", NAME, f"DNS:{NAME}")
        old, new = self.ports.values()
        (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=self.site.port, old=old, new=new), encoding="utf-8")

    def start(self) -> None:
        """Start the releases and nginx, and wait for an answer."""
        for release, port in self.ports.items():
            home = self.folder / release
            with tarfile.open(build(release, self.folder)) as archive:
                archive.extractall(home, filter="data")
            self.processes[release] = subprocess.Popen([sys.executable, str(home / "server.py")], env={**os.environ, "PORT": str(port)})
        self.processes["nginx"] = subprocess.Popen(["nginx", "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")])
        ask = ["curl", "--silent", "--fail", "--insecure", "--noproxy", "*", "--retry", "100", "--retry-delay", "1", "--retry-all-errors"]
        subprocess.run([*ask, f"https://127.0.0.1:{self.site.port}/version"], check=True, capture_output=True, timeout=120)
        (self.folder / "status.log").write_text("", encoding="utf-8")

    def stop(self) -> None:
        """End all."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=30)

    @property
    def switch(self) -> pathlib.Path:
        """The file that sends requests to the second release."""
        return self.folder / "switch"

    def written(self) -> list[list[str]]:
        """Status, seconds and release of each answer, as nginx wrote them down."""
        return [line.split() for line in (self.folder / "status.log").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> t.Iterator[t.Callable[[str], Stage]]:
    with contextlib.ExitStack() as stack:

        def make(second: str) -> Stage:
            found = Stage(tmp_path, second)
            stack.callback(found.stop)
            found.start()
            return found

        yield make


def counted_by(stage: Stage, deeds: t.Callable[[], None]) -> Counted:
    with traffic(stage.site, "run", stage.folder) as found:
        time.sleep(1)
        deeds()
        time.sleep(1)
    return found[0]


def test_good_releases_are_counted_as_good(stage: t.Callable[[str], Stage]) -> None:
    place = stage("good-b")
    begun = time.time()
    counted = counted_by(place, place.switch.touch)
    assert (counted.failed, counted.failed_by_kind) == (0, {})
    written = place.written()
    assert counted.sent == len(written) > 100
    assert {status for status, _seconds, _release in written} == {"200", "201"}
    assert 0 < counted.p99 < 10
    assert 0 < counted.bulk.p99 < 10
    brought = seen_of("good-b", counted.answers, begun)
    assert brought.answers > 10
    assert brought.failed == 0
    assert brought.first is not None
    assert brought.first >= 1
    assert brought.last_other is not None
    # A switch by a file is at once: both releases answer beside each other for no longer than an answer takes.
    assert brought.last_other - brought.first < 1


def test_errors_of_a_release_are_counted_as_its_own(stage: t.Callable[[str], Stage]) -> None:
    place = stage("bad-hidden")
    begun = time.time()

    def there_and_back() -> None:
        place.switch.touch()
        time.sleep(1)
        place.switch.unlink()

    counted = counted_by(place, there_and_back)
    failed = [line for line in place.written() if line[0] == "500"]
    assert counted.failed == len(failed) > 20
    assert counted.failed_by_kind == {"status_500": len(failed)}
    assert {release for _status, _seconds, release in failed} == {"bad-hidden"}
    assert elsewhere(counted, "bad-hidden") == 0
    assert elsewhere(counted, "") == len(failed)
    brought = seen_of("bad-hidden", counted.answers, begun)
    assert brought.failed == brought.answers == counted.failed - counted.bulk.failed
    assert 0.5 < brought.seconds < 5
    assert brought.share > 0.9


def test_a_server_that_dies_is_seen(stage: t.Callable[[str], Stage]) -> None:
    place = stage("good-b")
    counted = counted_by(place, lambda: place.processes["good-a"].send_signal(signal.SIGKILL))
    failed = [line for line in place.written() if line[0] == "502"]
    assert counted.failed == len(failed) > 20
    assert counted.failed_by_kind == {"status_502": len(failed)}
    assert elsewhere(counted, "good-b") == counted.failed


def test_a_balancer_that_dies_is_seen(stage: t.Callable[[str], Stage]) -> None:
    place = stage("good-b")
    counted = counted_by(place, lambda: place.processes["nginx"].send_signal(signal.SIGTERM))
    assert counted.failed > 20
    assert counted.failed_by_kind["connect_refused"] > 0
    assert counted.failed_by_kind["hey: connection refused"] > 0


@pytest.mark.parametrize(("kind", "comes_and_goes"), [("idle", False), ("headers", True)])
def test_connections_are_held_and_their_end_is_seen(stage: t.Callable[[str], Stage], kind: str, comes_and_goes: bool) -> None:
    place = stage("good-b")
    argv = [sys.executable, hold.__file__, kind, "--address", "127.0.0.1", "--port", str(place.site.port), "--name", NAME, "--count", "40", "--rate", "100"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        said: list[dict[str, int]] = []

        def until(found: t.Callable[[dict[str, int]], bool]) -> None:
            for line in process.stdout:
                said.append(json.loads(line))
                if found(said[-1]) or len(said) > 60:
                    return

        try:
            until(lambda counts: counts["held"] == 40)
            assert said[-1]["held"] == 40
            if comes_and_goes:
                # nginx gives a header four seconds here.
                until(lambda counts: counts["closed"] >= 40)
                assert said[-1]["opened"] >= 40 + said[-1]["closed"] - 40
            else:
                assert said[-1] == {"held": 40, "opened": 40, "closed": 0, "failed": 0}
            place.processes["nginx"].terminate()
            until(lambda counts: counts["held"] == 0 and counts["failed"] > 0)
            assert said[-1]["held"] == 0
            assert said[-1]["failed"] > 0
        finally:
            process.terminate()
