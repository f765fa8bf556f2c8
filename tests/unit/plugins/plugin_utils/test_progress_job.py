# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of a job, run as it is on a host: real processes, real signals, real folders."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.plugin_utils import _progress_job as job

SOURCE = pathlib.Path(job.__file__).read_text()
STUBBORN = "import signal, subprocess, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '300'], process_group=0)\n"
CLEAN = """
import os, pathlib, signal, sys, time
def stop(*unused):
    time.sleep(0.5)
    pathlib.Path(os.environ["CLEANED"]).touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
"""
REPORT = "import os, time\nreport = open(os.environ['MAINSTAY_PROGRESS_FILE'], 'a', buffering=1)\n"


class Host:
    """Starts modules as the action plugin does."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Use a folder as the remote temporary one."""
        self.temporary = folder
        self.environment = {"PATH": "/usr/bin:/bin", "CLEANED": str(folder / "cleaned")}

    def start(
        self, module: str, patience: float = 0.3, silence: float = 0, lease: float = 60, grace: float = 10, **options: t.Any
    ) -> subprocess.CompletedProcess[str]:
        """Start a module; it is sent by standard input."""
        seconds = {"patience": patience, "silence": max(patience, silence), "lease": lease, "grace": grace}
        given = {"name": "job", "temporary": str(self.temporary), **seconds}
        text = f"{SOURCE}\n\nsys.exit(start({given!r}, {module.encode()!r}, {SOURCE!r}))\n"
        keywords: dict[str, t.Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.run([sys.executable], input=text, text=True, env=self.environment, timeout=30, check=False, **keywords)

    def call(self, *arguments: str) -> dict[str, t.Any]:
        """Run a command of the job; return its answer."""
        argv = [sys.executable, "-IS", str(self.temporary / "job" / "job.py"), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        return answer_of(done.stdout) if done.stdout else {}

    def process(self) -> int:
        """Return the module's process id."""
        return int(json.loads((self.temporary / "job" / "job.json").read_text())["module"])

    def left(self) -> list[str]:
        """Return what lies in the temporary folder."""
        return sorted(path.name for path in self.temporary.iterdir())


def answer_of(output: str) -> dict[str, t.Any]:
    """Return the answer in a command's output."""
    assert output.startswith(job.MARK), output
    return json.loads(output.removeprefix(job.MARK))


def session(leader: int) -> list[str]:
    """Return the state of each process that lives in a session."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(fields[0])
    return found


def until(condition: t.Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that has to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    """A host with an empty temporary folder."""
    return Host(tmp_path)


def test_a_short_module_is_as_if_alone(host: Host) -> None:
    """Output, errors and status are passed on, byte for byte, and nothing is left."""
    module = "import sys\nsys.stdout.buffer.write(b'{}\\xff\\n')\nsys.stderr.write('oh')\nsys.exit(7)\n"
    done = host.start(module, patience=10, encoding="utf-8", errors="surrogateescape")
    assert (done.stdout, done.stderr, done.returncode) == ("{}\udcff\n", "oh", 7)
    assert host.left() == []


def test_a_module_that_is_killed_has_the_status_of_a_shell(host: Host) -> None:
    """As without the launcher."""
    assert host.start("import os\nos.kill(os.getpid(), 9)\n", patience=10).returncode == 137


def test_a_long_module_is_followed_to_its_end(host: Host) -> None:
    """Reports come from where the last look ended, whole lines only; the end comes at once, with the output."""
    module = REPORT + "report.write('one\\ntw')\ntime.sleep(2)\nreport.write('o\\n')\ntime.sleep(0.5)\nprint('result')\nraise SystemExit(3)\n"
    answer = answer_of(host.start(module).stdout)
    assert answer == {"folder": str(host.temporary / "job"), "python": sys.executable}
    assert {path.name: path.stat().st_mode & 0o777 for path in (host.temporary / "job").iterdir()}.items() >= {("stdout", 0o600), ("progress", 0o600)}
    assert (host.temporary / "job").stat().st_mode & 0o777 == 0o700
    first = host.call("follow", "0", "0.1")
    assert (first["state"], first["progress"], first["offset"]) == ("running", "one\n", 4)
    began = time.monotonic()
    last = host.call("follow", "4", "20")
    assert (last["state"], last["progress"], last["status"], base64.b64decode(last["stdout"])) == ("ended", "two\n", 3, b"result\n")
    assert time.monotonic() - began < 10
    assert host.call("follow", "8", "1")["status"] == 3, "an answer that was lost on its way can be had again"
    host.call("end")
    assert host.left() == []


def test_a_module_that_shows_nothing_has_more_time(host: Host) -> None:
    """A slow look at what is there is over in one execution; the first phase ends the wait."""
    assert host.start("import time\ntime.sleep(1.5)\nprint('{}')\n", silence=20).stdout == "{}\n"
    assert host.left() == []
    began = time.monotonic()
    answer_of(host.start(REPORT + "time.sleep(1)\nreport.write('one\\n')\ntime.sleep(300)\n", silence=20).stdout)
    assert time.monotonic() - began < 15
    host.call("end")


def test_a_report_that_began_anew_is_read_from_its_begin(host: Host) -> None:
    """The module cuts the file when it is large."""
    host.start(REPORT + "report.write('x' * 50 + '\\n')\nreport.truncate(0)\nreport.write('new\\n')\ntime.sleep(30)\n")
    assert host.call("follow", "51", "0.1")["progress"] == "new\n"
    host.call("end")


def test_the_end_lets_the_module_clean_up(host: Host) -> None:
    """SIGTERM, and time for what it does then."""
    host.start(CLEAN + REPORT + "report.write('ready\\n')\ntime.sleep(300)\n")
    leader = host.process()
    until(lambda: host.call("follow", "0", "0.1")["progress"] == "ready\n", "the module is ready")
    host.call("end")
    assert host.left() == ["cleaned"]
    until(lambda: not session(leader), "all processes end")


def test_the_end_ends_the_stubborn_and_their_children(host: Host) -> None:
    """SIGKILL after the grace, to every process group of the session."""
    host.start(STUBBORN + "time.sleep(300)\n", grace=0.5)
    leader = host.process()
    until(lambda: len(session(leader)) == 2, "the module has its child")
    host.call("end")
    until(lambda: not session(leader), "all processes end")
    assert host.left() == []


def test_a_slow_host_says_nothing_before_the_job_can_be_followed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor is held up between the module's start and its own note of it, and the module has long reported."""
    slow = SOURCE.replace('    known = {"supervisor"', '    time.sleep(1)\n    known = {"supervisor"')
    assert slow != SOURCE
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", slow)
    host.start(CLEAN + "time.sleep(300)\n")
    assert host.call("follow", "0", "0")["state"] == "running"
    host.call("end")


def test_whom_nobody_follows_ends(host: Host) -> None:
    """The controller is gone without a word; as long as it looks, the module lives."""
    host.start(CLEAN + "time.sleep(300)\n", lease=2)
    leader = host.process()
    for _look in range(4):
        assert host.call("follow", "0", "1")["state"] == "running"
    until(lambda: not session(leader), "the module ends")
    until(lambda: host.left() == ["cleaned"], "the folder is removed")


def test_a_lost_supervisor_is_told(host: Host) -> None:
    """Nobody would ever write the end; the module is ended all the same."""
    host.start("import time\ntime.sleep(300)\n")
    leader = host.process()
    supervisor = json.loads((host.temporary / "job" / "job.json").read_text())["supervisor"]
    subprocess.run(["kill", "-9", str(supervisor)], check=True)
    until(lambda: host.call("follow", "0", "0.1")["state"] == "lost", "the loss is seen")
    host.call("end")
    until(lambda: not session(leader), "all processes end")
    assert host.left() == []


def test_a_launcher_whose_controller_has_gone_ends_the_job(host: Host) -> None:
    """Its line finds a closed pipe: nobody knows of the job, so there must be none."""
    module = "import os, pathlib, time\npathlib.Path(os.environ['CLEANED']).write_text(str(os.getpid()))\ntime.sleep(300)\n"
    given = {"name": "job", "temporary": str(host.temporary), "patience": 1.0, "silence": 1.0, "lease": 60, "grace": 5}
    text = f"{SOURCE}\n\nsys.exit(start({given!r}, {module.encode()!r}, {SOURCE!r}))\n"
    process = subprocess.Popen([sys.executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=host.environment)
    assert process.stdin and process.stdout
    process.stdout.close()
    process.stdin.write(text)
    process.stdin.close()
    assert process.wait(30) != 0
    assert host.left() == ["cleaned"]
    assert session(int((host.temporary / "cleaned").read_text())) == []


def test_a_temporary_folder_that_is_missing(host: Host) -> None:
    """Then /tmp has to do, as for Ansible's modules."""
    host.temporary = host.temporary / "missing"
    assert host.start("print('{}')\n", patience=10).stdout == "{}\n"
    assert not host.temporary.exists()
