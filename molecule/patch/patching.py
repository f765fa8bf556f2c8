# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches, restarts and closes a small stack through the playbooks while clients ask all the time, and kills some of the runs. Fails when a request is lost."""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import pathlib
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "deploy"))

# pylint: disable=wrong-import-position
from trial import NAME, Failed, Trial, build, require  # noqa: E402

CLIENTS, INTERVAL = 4, 0.1
LIMIT = ("--limit", "lb1,app1,app2")


class Clients:
    """They ask all the time, each request on a connection of its own, because nginx closes those that are idle when it is reloaded."""

    def __init__(self, address: str, authority: str) -> None:
        """Start them."""
        self._address, self._tls = address, ssl.create_default_context(cafile=authority)
        self.answers: collections.Counter[str] = collections.Counter()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def ask(self) -> str:
        """The status of an answer, or what went wrong."""
        try:
            with self._tls.wrap_socket(socket.create_connection((self._address, 443), timeout=30), server_hostname=NAME) as stream:
                stream.sendall(f"GET /work HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode("ascii"))
                return stream.makefile("rb").readline().split()[1].decode("ascii")
        except (OSError, IndexError) as exc:
            return type(exc).__name__

    def _go_on(self) -> None:
        while not self._over.is_set():
            found = self.ask()
            with self._lock:
                self.answers[found] += 1
            time.sleep(INTERVAL)

    def stop(self) -> dict[str, int]:
        """Stop them, and return what they counted."""
        self._over.set()
        for thread in self._threads:
            thread.join(40)
        return dict(self.answers)


class Patching(Trial):
    """The playbooks of operation, and what the clients got meanwhile."""

    def argv(self, playbook: str, release: str, *more: str) -> list[str]:
        """The command line of a playbook: with the checks of this small stack and a folder for reports."""
        there = {"connect_to": f"{self._given.address}:443", "ca_cert": self._given.authority}
        check = {"name": "release", "type": "http", "url": f"https://{NAME}/version", **there}
        return [*super().argv(playbook, release), "-e", json.dumps({"patch_checks": [check], "base_patch_report_dir": f"{self._folder}/patch"}), *more]

    @contextlib.contextmanager
    def asking(self, what: str) -> t.Iterator[None]:
        """Ask all the time while the block runs.

        Raises:
            Failed: a request was lost.
        """
        clients, began = Clients(self._given.address, self._given.authority), time.monotonic()
        try:
            yield
        finally:
            answers = clients.stop()
        print(f"{what}: {time.monotonic() - began:.0f} s, answers: {answers}", flush=True)
        require(set(answers) == {"200"}, f"{what}: requests were lost: {answers}")

    def status(self) -> str:
        """What one request gets now."""
        clients = Clients(self._given.address, self._given.authority)
        clients.stop()
        return clients.ask()

    def hosts(self) -> dict[str, t.Any]:
        """The hosts of the newest report of a patch."""
        newest = max((self._folder / "patch").glob("*.json"), key=lambda path: path.stat().st_mtime)
        return json.loads(newest.read_text(encoding="utf-8"))["hosts"]


def updates(patching: Patching) -> None:
    """A plan, then all hosts, one after the other."""
    patching.run("../molecule/patch/newer", "", "-e", "newer_revision=1")
    patching.run("patch", "", *LIMIT, "-e", '{"patch_checks": []}', ends=2, says="Nothing was changed. Neither patch_checks nor site_checks say how")
    patching.run("patch", "", *LIMIT, "--check", says=r"hostname \S+ \S+[+]mainstay1")
    with patching.asking("a patch"):
        patching.run("patch", "", *LIMIT, says="Let a new nginx take over.*Restart the live slot")
    hosts = patching.hosts()
    require(set(hosts) == {"lb1", "app1", "app2"}, f"the report has the hosts {sorted(hosts)}")
    require(all(host["state"] == "done" and host["updated"] for host in hosts.values()), f"the report says {hosts}")


def a_killed_patch(patching: Patching) -> None:
    """Killed when the host is out of the balancer and its packages are new: nothing waits any more, and the same command finishes it all the same."""
    patching.run("../molecule/patch/newer", "", "-e", "newer_revision=2", "--limit", "app1")
    with patching.asking("a patch that is killed, and the next one"):
        patching.kill("patch", "", "Restart | Read what is live", *LIMIT)
        require(patching.hosts()["app1"]["state"] == "begun", f"the report says {patching.hosts()}")
        patching.run("patch", "", *LIMIT, says=r"nothing to update; a run before was not finished.*Restart the live slot\] \*+ changed: \[app1\]")
    require(patching.hosts()["app1"]["state"] == "done", f"the report says {patching.hosts()}")
    again = patching.run("patch", "", *LIMIT)
    require(not re.search(r"changed=[1-9]", again), "a patch without anything to do changed something", again)


def restarts(patching: Patching) -> None:
    """Of the application, killed and done again, and of nginx."""
    patching.run("restart", "", "--limit", "app1", "-e", "component=ngnix", ends=2, says="Nothing was restarted. component is ngnix")
    with patching.asking("a restart that is killed, and the next one"):
        patching.kill("restart", "", "Restart | Restart the live slot", *LIMIT, "-e", "component=app")
        patching.run("restart", "", *LIMIT, "-e", "component=app", says="Restart the live slot")
    with patching.asking("a restart of nginx"):
        patching.run("restart", "", *LIMIT, "-e", "component=nginx")


def maintenance(patching: Patching) -> None:
    """On and off, and a word that is neither, which leaves everything as it is."""
    patching.run("maintenance", "", "--limit", "lb1", "-e", "maintenance=on")
    require(patching.status() == "503", "maintenance does not answer 503")
    patching.run("maintenance", "", "--limit", "lb1", "-e", "maintenance=yes", ends=2, says="Nothing was changed. maintenance is yes")
    require(patching.status() == "503", "a wrong word ended the maintenance")
    patching.run("maintenance", "", "--limit", "lb1", "-e", "maintenance=off")
    require(patching.status() == "200", "maintenance did not end")


def main() -> int:
    """Run everything; 0 if it was as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("inventory", "address", "authority"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainstay-patching-") as name:
        folder = pathlib.Path(name)
        build(folder)
        patching = Patching(arguments, folder)
        try:
            patching.run("deploy", "1")
            for step in (updates, a_killed_patch, restarts, maintenance):
                step(patching)
        except Failed as exc:
            print(exc, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
