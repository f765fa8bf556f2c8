# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what the tutorials say, command after command, and fails where it does not go as they say: ``make tutorial``.

What a reader puts in the place of ADDRESS and LEADER is read from what the commands print. The checkout and its tools are those that run this.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from documents import FENCE, ROOT, lines_of

TUTORIALS = [ROOT / "docs/tutorial" / name for name in ("restore.md", "failover.md")]
OWN = ("git clone ", "cd ", "export MAINSTAY_WORK=", ". ~/")
"""How a reader comes to a checkout and its tools."""
LATER = ("make lab-down", "make bench-")
"""What is done at the end, and drills on hosts of their own, which have targets of their own."""
CONVERGE = "ansible-playbook -i inventories/lab playbooks/site.yml"
LEADER = re.compile(r"\|\s*(\w+)\s*\|[^|]*\|\s*Leader\s*\|")
STREAMS = re.compile(r"\|\s*(Sync Standby|Replica)\s*\|\s*streaming\s*\|")
MEMBERS = 3
WELL_SECONDS = 180


class Failed(Exception):
    """A command did not go as the tutorial says."""


class Reader:
    """Somebody who follows the tutorials."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._found: dict[str, str] = {}
        self._look = ""
        self._converged = False
        self._beside: list[subprocess.Popen[bytes]] = []
        self.commands = 0
        programs = pathlib.Path(sys.executable).parent
        self._environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}

    def follow(self, path: pathlib.Path) -> None:
        """Do what a tutorial says.

        Raises:
            Failed: a command did not go as it says.
        """
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match["language"] != "console":
                continue
            before = text[: match.start()].rstrip().rpartition("\n\n")[2]
            for line in lines_of(match["text"]):
                if not line.startswith(OWN + LATER):
                    self._do(line, beside="second terminal" in before)

    def close(self) -> None:
        """End what runs beside."""
        for process in self._beside:
            process.kill()
            process.wait()

    def _do(self, line: str, beside: bool) -> None:
        """Do a line, and what the words around it ask for."""
        if "podman kill" in line:
            self._run(self._look)  # a reader looks once more who leads now
        if "load.py verify" in line:
            while self._beside:
                self._beside.pop().wait()
        if beside and "load.py run" in line:
            print(f"$ {self._filled(line)} &", flush=True)
            self._beside.append(subprocess.Popen(["bash", "-ec", self._filled(line)], cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL))
            self.commands += 1
            return
        output = self._run(line)
        if line == CONVERGE:
            if self._converged and re.search(r"changed=[1-9]", output):
                raise Failed(f"{line}: it changed something\n{output[-4000:]}")
            self._converged = True
        if "patronictl" in line:
            self._look = line
        if "podman start" in line:
            self._wait_until_all_stream()

    def _filled(self, line: str) -> str:
        """Put in what a reader has found out; without sudo he is root."""
        for name, value in self._found.items():
            line = line.replace(name, value)
        return line if shutil.which("sudo") else line.removeprefix("sudo ")

    def _run(self, line: str) -> str:
        """Run a command that has to end well, and return what it printed."""
        status, output = self._try(line)
        if status:
            raise Failed(f"{self._filled(line)}: status {status}\n{output[-6000:]}")
        return output

    def _try(self, line: str) -> tuple[int, str]:
        """Run a command; return its status and what it printed, and keep what a reader learns from it."""
        line, begun = self._filled(line), time.monotonic()
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            ["bash", "-ec", line], cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )
        self.commands += 1
        print(f"  [{time.monotonic() - begun:.0f} s]", flush=True)
        if address := re.search(r'\blab_address"?: "?([\d.]+)', done.stdout):
            self._found["ADDRESS"] = address[1]
        if leader := LEADER.search(done.stdout):
            self._found["LEADER"] = leader[1]
        return done.returncode, done.stdout

    def _wait_until_all_stream(self) -> None:
        """Look at the members until all of them are there. The host that boots may be the one where a reader looks, so that a look may fail."""
        lost, deadline = self._found["LEADER"], time.monotonic() + WELL_SECONDS
        while len(STREAMS.findall(self._try(self._look)[1])) < MEMBERS - 1:
            if time.monotonic() > deadline:
                raise Failed(f"{lost} does not stream {WELL_SECONDS} s after its start")
            time.sleep(5)


def main() -> int:
    """Follow the tutorials; remove the hosts in any case."""
    reader, begun = Reader(), time.monotonic()
    try:
        for path in TUTORIALS:
            print(f"== {path.relative_to(ROOT)}", flush=True)
            reader.follow(path)
    except Failed as error:
        print(f"tutorial: {error}", file=sys.stderr)
        return 1
    finally:
        reader.close()
        subprocess.run(["make", "--no-print-directory", "lab-down"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    print(f"{reader.commands} commands went as the tutorials say, in {time.monotonic() - begun:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
