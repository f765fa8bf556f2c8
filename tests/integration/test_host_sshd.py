# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a real sshd on loopback, with logins over new connections. The timer is only noted: this machine need not run systemd."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import time
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import sshd, way_back
from ports import free_port
from servers import Runner

MAIN = """
Include {folder}/sshd_config.d/*.conf
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/id.pub
StrictModes no
UsePAM no
X11Forwarding yes
AcceptEnv LANG LC_*
"""
GOOD = "X11Forwarding no\nPermitRootLogin prohibit-password\nAcceptEnv TZ\nMaxAuthTries 4\n"
SHUT = "PermitRootLogin no\n"


class Host:
    """A host with an sshd, and what was asked of its systemd."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        """Keep its files in a folder."""
        self.config, self.drop_in = folder / "sshd_config", folder / "sshd_config.d/10-mainstay.conf"
        self._folder, self._port = folder, port
        self.timers: list[list[str]] = []

    def run(self, argv: list[str], data: str | None = None) -> tuple[int, str, str]:
        """Run a program as a module does."""
        if argv[0] == "systemd-run":
            self.timers.append(argv)
        if argv[0] in ("systemd-run", "systemctl"):
            return 0, "", ""
        done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def comes_in(self) -> bool:
        """Log in over a new connection; while sshd starts anew nobody listens."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR")
        argv = ["ssh", "-F", "none", *(f"-o{option}" for option in options), "-i", str(self._folder / "id"), "-p", str(self._port), "root@127.0.0.1", "true"]
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if "refused" not in done.stderr or time.monotonic() > deadline:
                return done.returncode == 0
            time.sleep(0.1)

    def load(self, text: str) -> None:
        """What the module does first."""
        sshd.load(self.run, sshd.read(self.run), text, 30)

    def fire(self) -> None:
        """What the timer would do."""
        argv = self.timers[-1]
        assert self.run(argv[argv.index("/bin/sh") :])[0] == 0
        time.sleep(1)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Host]:
    """A host that root comes into by a key, whose configuration lies in a folder of the test."""
    if os.geteuid() != 0 or not os.path.exists(sshd.SSHD) or shutil.which("ssh") is None:
        pytest.skip("an sshd is run by root, from openssh-server")
    # That a package would make when its service starts.
    pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    made = Host(tmp_path, port := free_port())
    made.drop_in.parent.mkdir()
    made.config.write_text(MAIN.format(folder=tmp_path, port=port))
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True, stdin=subprocess.DEVNULL)
    with subprocess.Popen([sshd.SSHD, "-D", "-f", made.config], stderr=subprocess.PIPE) as server:
        monkeypatch.setattr(sshd, "CONFIG", str(made.config))
        monkeypatch.setattr(sshd, "DROP_IN", str(made.drop_in))
        monkeypatch.setattr(sshd, "STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setattr(sshd, "RELOAD", ("sh", "-c", f"kill -HUP {server.pid}"))
        assert made.comes_in()
        yield made
        server.kill()


def test_settings_are_proven(host: Host) -> None:
    """Then they are known, until anything that sshd would read differs."""
    host.load(GOOD)
    assert not sshd.is_current(sshd.read(host.run), GOOD)
    assert host.comes_in()
    sshd.confirm(host.run, GOOD)
    assert sshd.is_current(sshd.read(host.run), GOOD)
    assert (host.drop_in.stat().st_mode & 0o777, host.drop_in.read_text()) == (0o600, GOOD)
    host.config.write_text("LogLevel QUIET\n" + host.config.read_text())
    assert not sshd.is_current(sshd.read(host.run), GOOD)


def test_the_timer_brings_the_former_ones_back(host: Host) -> None:
    """After settings that let nobody in; those that were there before are in force, and known."""
    host.load(GOOD)
    sshd.confirm(host.run, GOOD)
    host.load(SHUT)
    assert not host.comes_in()
    host.fire()
    assert host.comes_in()
    assert sshd.is_current(sshd.read(host.run), GOOD)


def test_a_run_that_was_killed_is_taken_up(host: Host) -> None:
    """The way back stays the one that was proven, and without one there is no drop-in."""
    host.load(SHUT)
    assert not sshd.is_current(sshd.read(host.run), SHUT)
    host.load(SHUT)
    host.fire()
    assert host.comes_in() and not host.drop_in.exists()


def test_to_confirm_what_is_not_there_any_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes in after the timer has fired comes in by the former settings."""
    host.load(GOOD)
    host.fire()
    with pytest.raises(MainstayError, match="has brought the former ones back"):
        sshd.confirm(host.run, GOOD)
    host.load(GOOD)
    monkeypatch.setattr(way_back, "disarm", lambda run, timer: False)
    with pytest.raises(MainstayError, match="has brought the former ones back"):
        sshd.confirm(host.run, GOOD)


@pytest.mark.parametrize("main", ["without", "before"])
def test_a_drop_in_without_effect(host: Host, main: str) -> None:
    """Where sshd_config does not include it, or sets the same before, it is named what would not be so, and nothing changes."""
    text = host.config.read_text()
    host.config.write_text(text.replace("Include", "#Include") if main == "without" else f"X11Forwarding yes\n{text}")
    with pytest.raises(MainstayError, match="would not lead to: .*x11forwarding no.*have .*sshd_config begin with: Include") as refused:
        host.load(GOOD)
    assert ("maxauthtries 4" in str(refused.value)) is (main == "without")
    assert not host.drop_in.exists() and host.comes_in()


def test_what_sshd_does_not_take(host: Host) -> None:
    """Nothing is written, and no timer is set."""
    with pytest.raises(MainstayError, match="NoSuchSetting"):
        host.load("NoSuchSetting yes\n")
    assert not host.drop_in.exists() and not host.timers


def test_to_remove_the_drop_in(host: Host) -> None:
    """What is in force then is proven too."""
    assert sshd.is_current(sshd.read(host.run), "")
    host.load(GOOD)
    sshd.confirm(host.run, GOOD)
    assert not sshd.is_current(sshd.read(host.run), "")
    host.load("")
    assert host.comes_in()
    sshd.confirm(host.run, "")
    assert sshd.is_current(sshd.read(host.run), "") and not host.drop_in.exists()


@pytest.mark.parametrize("check", [True, False])
def test_the_module_alone_loads_nothing(run_module: Runner, check: bool) -> None:
    """It says what it would do, and needs its controller side to do it."""
    if os.geteuid() != 0 or not os.path.exists(sshd.SSHD):
        pytest.skip("an sshd is judged by root, from openssh-server")
    found = run_module("host_sshd", {"settings": "MaxAuthTries 3\n", "rollback_after": 5}, check=check)
    if check:
        assert (found["changed"], found["actions"]) == (True, ["have sshd read the settings"])
        assert found["diff"]["after"] == "MaxAuthTries 3\n"
    else:
        assert "nobody would confirm them" in found["msg"]
