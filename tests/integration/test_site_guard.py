# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of a site against REST APIs that say what Patroni's do: what stops the units, what does not, and what starts them again.

The units are processes here, and ``systemctl`` a script that knows how to start and to end them; the scenario dr_drill has the real ones.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import threading
import types
import typing as t

import pytest
from ports import free_port
from waiting import until

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "roles/site_failover/files/site_guard.py"
EARLIER, LATER = 1767182400, 1767268800
"""A day apart, in seconds since 1970."""

SYSTEMCTL = """#!/bin/sh
# is-active, start and stop of units that are files.
for unit; do :; done
case $1 in
  is-active) test -e "$UNITS/$unit" ;;
  start) touch "$UNITS/$unit" ;;
  stop) rm -f "$UNITS/$unit" ;;
esac
"""


def load() -> types.ModuleType:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("site_guard", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["site_guard"] = module
    spec.loader.exec_module(module)
    return module


guard = load()


class Api:
    """A REST API that says what it is told to."""

    def __init__(self) -> None:
        """Listen on a free port; it says that the cluster is a standby."""
        self.writes, self.config, self.port = False, dict[str, t.Any](), free_port()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers as Patroni does."""

            def do_GET(self) -> None:  # noqa: N802
                """Say whether it takes writes, or what its settings are."""
                body = json.dumps(api.config).encode()
                self.send_response(200 if self.path == "/config" or api.writes else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused: object) -> None:
                """Say nothing."""

        self._handler = Handler
        self._server: http.server.ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def took_over(self, at: int) -> None:
        """Take writes since a time."""
        self.writes, self.config = True, {"mainstay": {"took_over_at": at}}


class Host:
    """A host with a guard."""

    def __init__(self, folder: pathlib.Path, other: Api, own: Api) -> None:
        """Write the settings; its units run."""
        self.folder, self.units = folder, folder / "units"
        self.units.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/systemctl").write_text(SYSTEMCTL)
        (folder / "bin/systemctl").chmod(0o755)
        self.settings: dict[str, t.Any] = {
            **{"other": [other.url], "own": [own.url], "units": ["ledger.target", "patroni.service"], "marker": str(folder / "state/fenced.json")},
            **{"witnesses": [], "interval_seconds": 0.1, "isolation_seconds": 1.0},
        }
        for unit in self.settings["units"]:
            (self.units / unit).touch()

    @property
    def running(self) -> list[str]:
        """The units that run."""
        return sorted(path.name for path in self.units.iterdir())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the program."""
        path = self.folder / "settings.json"
        path.write_text(json.dumps(self.settings))
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "UNITS": str(self.units)}
        argv = [sys.executable, str(PROGRAM), *arguments, "--settings", str(path)]
        return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run it to its end; return its status and what it said."""
        process = self.start(*arguments)
        said = process.communicate(timeout=60)
        return process.returncode, "".join(said)

    @contextlib.contextmanager
    def watched(self) -> t.Iterator[None]:
        """Run the watch meanwhile."""
        process = self.start("watch")
        try:
            yield
            assert process.poll() is None, process.communicate()
        finally:
            process.kill()
            process.communicate(timeout=10)


@pytest.fixture
def apis() -> t.Iterator[tuple[Api, Api]]:
    """The other site's API, which follows, and this site's, which takes writes."""
    other, own = Api(), Api()
    other.config, own.writes = {"standby_cluster": {"host": "a"}}, True
    yield other, own
    other.stop()
    own.stop()


@pytest.fixture
def host(tmp_path: pathlib.Path, apis: tuple[Api, Api]) -> Host:
    """A host of the site that takes writes."""
    return Host(tmp_path, *apis)


@pytest.mark.parametrize(
    ("own", "other", "against"),
    [
        ((True, True, False, 0), (True, False, True, 0), False),
        ((True, True, False, 0), (True, True, False, LATER), True),
        ((False, False, False, 0), (True, True, False, LATER), True),
        ((True, True, False, EARLIER), (True, True, False, LATER), True),
        # A site that follows may run; it takes no writes.
        ((True, False, True, 0), (True, True, False, LATER), False),
        # This one took over later, or neither did.
        ((True, True, False, LATER), (True, True, False, EARLIER), False),
        ((True, True, False, 0), (True, True, False, 0), False),
        ((True, True, False, 0), (False, False, False, 0), False),
    ],
)
def test_what_speaks_against_it(own: tuple[t.Any, ...], other: tuple[t.Any, ...], against: bool) -> None:
    assert bool(guard.speaks_against(guard.Seen(*own), guard.Seen(*other))) is against


def test_a_promotion_elsewhere_stops_the_units_for_good(host: Host, apis: tuple[Api, Api]) -> None:
    """Until somebody releases it: also when the other site is silent afterwards, and at a start by hand."""
    other, own = apis
    assert host.run("check") == (0, "")
    with host.watched():
        assert until((host.folder / "state/own.json").exists, "the first look")
        other.took_over(LATER)
        until(lambda: host.running == [], "the end of the units")
    own.stop()
    other.stop()
    status, said = host.run("check")
    assert status == 1 and "was fenced: the other site takes writes, and took over at 2026-01-01T12:00:00Z" in said
    assert json.loads(host.run("status")[1])["fenced"]["units"] == ["ledger.target", "patroni.service"]
    assert json.loads(host.run("release", "--follows")[1]) == {"changed": True}
    other.start()
    assert host.run("check") == (0, ""), "it follows now"


def test_a_host_that_was_off_meanwhile_does_not_start(host: Host, apis: tuple[Api, Api]) -> None:
    """Nothing of its own cluster runs yet, and it has no note: the other site's word is enough."""
    other, own = apis
    own.stop()
    other.took_over(LATER)
    status, said = host.run("check")
    assert status == 1 and "took over at 2026-01-01T12:00:00Z" in said
    other.stop()
    assert host.run("check") == (0, ""), "without a witness a silent site is no reason to stay down"


def test_a_site_that_is_cut_off_stops_itself_and_comes_back(host: Host, apis: tuple[Api, Api]) -> None:
    """Neither the other site nor a witness answers; when they do again, it depends on who took over."""
    other, _own = apis
    witness = Api()
    host.settings["witnesses"] = [f"127.0.0.1:{witness.port}"]
    with host.watched():
        other.stop()
        until((host.folder / "state/own.json").exists, "the first look")
        assert host.running == ["ledger.target", "patroni.service"]
        witness.stop()
        until(lambda: host.running == [], "the end of the units")
        assert host.run("check")[0] == 1
        witness.start()
        until(lambda: host.running == ["ledger.target", "patroni.service"], "the start of the units")
        witness.stop()
        until(lambda: host.running == [], "the end of the units again")
        other.took_over(LATER)
        other.start()
        until(lambda: "took over" in json.loads(host.run("status")[1])["fenced"].get("reason", ""), "the word of the other site")
        assert host.running == []
    witness.stop()


def test_an_operator_fences_and_a_second_time_changes_nothing(host: Host) -> None:
    first, again = (json.loads(host.run("fence", "--reason", "a drill")[1]) for _time in range(2))
    assert first == {"changed": True, "stopped": ["ledger.target", "patroni.service"]} and again == {"changed": False, "stopped": []}
    assert host.running == [] and host.run("check") == (1, "site guard: does not let it start: this host was fenced: a drill\n")


def test_the_leader_is_stopped_after_the_others(host: Host, apis: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby that still ran would be elected; what takes long to stop keeps nothing else waiting."""
    _other, own = apis
    standby = Api()
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(guard, "_is_own", lambda api: api == own.url)
    monkeypatch.setattr(guard, "_systemctl", lambda *arguments: told.append(arguments) or 0)
    settings = guard.Settings(own=(own.url, standby.url), units=("patroni.service", "ledger.service"), marker=host.settings["marker"])
    fencing = threading.Thread(target=guard.Guard(settings, guard.Looker(settings)).fence, args=(guard.FAILED_OVER, "a drill"))
    fencing.start()
    until(lambda: ("stop", "--no-block", "ledger.service") in told, "the word to the other unit")
    fencing.join(guard.LEADER_SECONDS / 5)
    assert ("stop", "--no-block", "patroni.service") not in told
    standby.stop()
    fencing.join(10)
    assert [unit for verb, *_flag, unit in told if verb == "stop"] == ["ledger.service", "patroni.service", "patroni.service", "ledger.service"]
