# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab as the place of a drill: playbooks that can be watched and killed while they run, and what the site answers."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import time
import typing as t

from fixtures.client import load
from processes import kill_tree

from drills.deploy.release import GOOD, build
from drills.deploy.traffic import Site
from drills.failure import DrillFailed
from drills.lab import INVENTORY, LAB_DOWN, LAB_UP, ROOT, Lab, environment, read_facts

BALANCER = "lb1"
HOSTS = f"{BALANCER},app1,app2"

HERE = "tests/drills/deploy"
CONVERGE = f"{HERE}/converge.yml"
VARS = f"{HERE}/vars.yml"

RUN_SECONDS = 900
"""Longer than any playbook of a drill takes, on a slow machine too."""

QUESTIONS = 8
"""How often the site is asked which release it is: enough to meet each of its hosts."""

FACTS = {
    "name": "nginx_tls_sites[0].server_names[0]",
    "address": "lab_address",
    "ca_file": "lab_pki_dir ~ '/ca.crt'",
    "image": "lab_image",
    "sites": "nginx_tls_sites",
    "other_key": "lab_pki_dir ~ '/app1.key'",
}
"""What the drill needs of the inventory, as expressions for the balancer."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A playbook that has ended: its status, how long it took, what it printed and where that is."""

    status: int
    seconds: float
    output: str
    log: pathlib.Path

    def must_be(self, good: bool) -> list[str]:
        """Return in sentences what is wrong with its status."""
        if (self.status == 0) == good:
            return []
        return [f"a run {'ended with status ' + str(self.status) if good else 'ended well'} ({self.log.name})"]


class Playbook:
    """A playbook that runs in a session of its own; it writes into a file."""

    def __init__(self, argv: t.Sequence[str], variables: t.Mapping[str, str], log: pathlib.Path) -> None:
        """Start it."""
        self._log = log
        self._begun = time.monotonic()
        with log.open("w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                argv, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables, cwd=ROOT, start_new_session=True
            )

    def wait(self) -> Ended:
        """Wait for its end; raises TimeoutExpired after a time that is too long for any."""
        try:
            self._process.wait(timeout=RUN_SECONDS)
        finally:
            self.kill()
        return Ended(self._process.returncode, round(time.monotonic() - self._begun, 1), self._log.read_text(encoding="utf-8"), self._log)

    def wait_for(self, mark: str) -> None:
        """Wait until a line matches an expression.

        Raises:
            DrillFailed: it ended without one.
        """
        while not re.search(mark, self._log.read_text(encoding="utf-8"), re.MULTILINE):
            if self._process.poll() is not None or time.monotonic() - self._begun > RUN_SECONDS:
                raise DrillFailed(f"a run ended or hung before it came to {mark}; its output is {self._log}")
            time.sleep(0.02)

    def kill(self) -> bool:
        """SIGKILL it and all that it started here; return whether it was still running."""
        running = self._process.poll() is None
        if running:
            kill_tree(self._process.pid)
            self._process.wait()
        return running


class LabPlace:
    """A balancer and two hosts of the application."""

    impossible: t.ClassVar[frozenset[str]] = frozenset()

    def __init__(self, lab: str, log: pathlib.Path) -> None:
        """Use the lab of this name; what each playbook prints is in a file beside the log."""
        self._lab = Lab(lab, log, HOSTS)
        self._folder = log.parent
        self._numbers = itertools.count(1)

    @functools.cached_property
    def facts(self) -> dict[str, t.Any]:
        """What the inventory says, by the names of ``FACTS``."""
        return read_facts(self._lab.name, FACTS, HOSTS)

    @property
    def about(self) -> str:
        """Say in words what this place is."""
        return f"three hosts of the lab ({self.facts['image']}), one balancer and two for the application"

    @property
    def site(self) -> Site:
        """What the users ask."""
        return Site(self.facts["name"], self.facts["address"], self.facts["ca_file"])

    def rise(self) -> None:
        """Make the hosts, converge them, and put two good releases into service, one after the other: there is a way back then."""
        self._lab.playbook(LAB_UP)
        self._lab.playbook(CONVERGE, "-e", f"@{ROOT / VARS}")
        for release in GOOD:
            ended = self.deploy(release)
            if ended.status != 0:
                raise DrillFailed(f"the good release {release} could not be deployed; the output is {ended.log}")

    def fall(self) -> None:
        """Remove the hosts."""
        self._lab.playbook(LAB_DOWN)

    def start(self, path: str, *args: str) -> Playbook:
        """Start a playbook with the variables of the drills' application."""
        argv = ["nice", "-n", "19", "ansible-playbook", "-i", str(INVENTORY), str(ROOT / path), "-e", f"@{ROOT / VARS}"]
        argv += ["-e", f"app_host_report_dir={self._folder / 'reports'}", *args]
        variables = {**environment(self._lab.name, HOSTS), "PYTHONUNBUFFERED": "1"}
        return Playbook(argv, variables, self._folder / f"{next(self._numbers):03d}-{pathlib.Path(path).stem}.log")

    def start_deploy(self, release: str, playbook: str = "deploy", *args: str) -> Playbook:
        """Start to put a release into service."""
        return self.start(f"playbooks/{playbook}.yml", "-e", f"app_release_archive={build(release, self._folder / 'releases')}", *args)

    def deploy(self, release: str, playbook: str = "deploy") -> Ended:
        """Put a release into service."""
        return self.start_deploy(release, playbook).wait()

    def rollback(self) -> Ended:
        """Go back to the release before."""
        return self.start("playbooks/rollback.yml").wait()

    def balance(self, **variables: t.Any) -> Ended:
        """Converge the balancer, with these variables in place of the inventory's."""
        with tempfile.NamedTemporaryFile("w", prefix="mainstay-drill-", suffix=".json", encoding="utf-8") as given:
            # Of the owner alone: a key may be among them.
            json.dump(variables, given)
            given.flush()
            return self.start(CONVERGE, "--limit", BALANCER, "-e", f"@{given.name}").wait()

    def serving(self) -> str:
        """Return the release that serves.

        Raises:
            DrillFailed: the site does not answer, or more than one release does.
        """
        site, found = self.site, set()
        where = load.target(site.url, site.address, site.ca_file, 10)
        for _number in range(QUESTIONS):
            connection = load.Connection(where)
            try:
                connection.connect()
                connection.request("GET", "/version")
                response = connection.getresponse()
                found.add(json.loads(response.read())["release"] if response.status == 200 else f"status {response.status}")
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                raise DrillFailed(f"{site.name} does not say which release it is: {type(error).__name__}: {error}") from error
            finally:
                connection.close()
        if len(found) != 1:
            raise DrillFailed(f"{site.name} is {' and '.join(sorted(found))}")
        return found.pop()

    def shell(self, script: str) -> None:
        """Run a script as root of the balancer."""
        self._lab.shell(BALANCER, script)
