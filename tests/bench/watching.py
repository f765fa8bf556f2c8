# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the memory that Prometheus needs for many hosts with what the role writes, and write the section of docs/benchmarks.md.

The targets are simulated: each is an address of its own on loopback, and tells what a real node exporter told, with values that go on as they did there.
Prometheus keeps the last two to three hours in memory, so that it is asked to look as often within minutes as it would within three hours.
"""

from __future__ import annotations

import argparse
import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

from document import PAGE, machine, table, write_section

sys.path.insert(0, str(PAGE.parents[1] / "tests"))
from exporters import exporter, scrape
from monitoring import arguments, daemon, relocate
from ports import free_port
from prometheus_server import ask
from prometheus_tree import variables_of_tests, write_tree

LIMIT = 500 << 20
USUAL_INTERVAL = 15
HEAD_SECONDS = 3 * 3600
"""What Prometheus keeps in memory at most: a block is made of two hours when three are there (Prometheus documentation, "Storage")."""
APART = 10
"""Seconds between the two looks at the real exporter."""
_SAMPLE = re.compile(r"^([a-zA-Z_:][^ ]*) ([0-9.e+-]+)$")

TEMPLATE = """
## Memory of Prometheus

Made by `make bench-prometheus` on {machine}; {version}, with all rules of the role `prometheus`.
{targets} simulated hosts, each with {series} series as a real node exporter tells them ({all_series} in all), looked at {looks} times, every {interval} s:
as often as within {hours:.1f} hours at the usual {usual} s.

{table}

- *at the end*, *highest*: resident memory of the process, read each second.
- The hosts are simulated: one program answers for all of them, each at an address of its own. {moving} values of each go on as those of this machine did
  between two looks {apart} s apart, at the pace of the usual interval.
"""


class Hosts(http.server.ThreadingHTTPServer):
    """Answers for all hosts, with what a real exporter told and values that move on."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, first: str, second: str, pace: float) -> None:
        """Take two answers of an exporter, :data:`APART` seconds apart, and how much faster time passes here."""
        super().__init__(("0.0.0.0", 0), Host)
        self._began, self._pace = time.monotonic(), pace
        later = {found[1]: found[2] for found in map(_SAMPLE.match, second.splitlines()) if found}
        self._lines: list[str] = []
        self._moving: list[tuple[str, float, float, int]] = []
        for found in filter(None, map(_SAMPLE.match, first.splitlines())):
            name, value, then = found[1], found[2], later.get(found[1], found[2])
            if value == then:
                self._lines.append(f"{name} {value}\n")
            else:
                decimals = 0 if "e" in then else len(then.partition(".")[2])
                self._moving.append((name, float(value), (float(then) - float(value)) / APART, decimals))

    @property
    def moving(self) -> int:
        """How many values go on."""
        return len(self._moving)

    def text(self) -> bytes:
        """The next answer of a host."""
        passed = (time.monotonic() - self._began) * self._pace
        return "".join([*self._lines, *(f"{name} {value + rate * passed:.{decimals}f}\n" for name, value, rate, decimals in self._moving)]).encode()


class Host(http.server.BaseHTTPRequestHandler):
    """One look at a host."""

    server: Hosts
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        content = self.server.text()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(folder: pathlib.Path, targets: int, interval: int, looks: int) -> dict[str, t.Any]:
    """Run Prometheus until it has looked at all hosts so many times; return what was seen."""
    with exporter("node") as port:
        first = scrape(f"http://127.0.0.1:{port}/metrics")
        time.sleep(APART)
        hosts = Hosts(first, scrape(f"http://127.0.0.1:{port}/metrics"), USUAL_INTERVAL / interval)
    threading.Thread(target=hosts.serve_forever, daemon=True).start()
    listening = free_port()
    addresses = [f"127.0.{number // 250 + 1}.{number % 250 + 1}:{hosts.server_address[1]}" for number in range(targets)]
    write_tree(folder, **{
        **variables_of_tests(),
        "prometheus_listen_address": f"127.0.0.1:{listening}",
        "prometheus_scrape_interval": f"{interval}s",
        "prometheus_scrape_jobs": [{"name": "node", "targets": addresses}],
    })
    relocate(folder)
    argv = ["prometheus", *arguments(folder, "prometheus"), f"--config.file={folder}/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    seen: list[int] = []
    with daemon(folder, listening, argv) as process:
        url, end = f"http://127.0.0.1:{listening}", time.monotonic() + looks * interval
        while time.monotonic() < end:
            time.sleep(1)
            seen.append(resident(process.pid))
            if len(seen) % 60 == 0:
                print(f"{len(seen)} s: {seen[-1] >> 20} MiB", flush=True)
        figures = {
            "up": int(ask(url, "sum(up{job='node'})")[0]["value"][1]),
            "all_series": int(ask(url, "count({job='node'})")[0]["value"][1]),
            "moving": hosts.moving,
            "last": seen[-1],
            "highest": max(seen),
        }
    hosts.shutdown()
    if figures["up"] != targets:
        raise SystemExit(f"only {figures['up']} of {targets} hosts were seen")
    return figures


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="watching", description=__doc__)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--interval", type=int, default=1, help="seconds between two looks")
    arguments_given = parser.parse_args()
    looks = HEAD_SECONDS // USUAL_INTERVAL
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as name:
        figures = measure(pathlib.Path(name), arguments_given.targets, arguments_given.interval, looks)
    version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True).stdout.split(" (")[0]
    row = [f"{figures['last'] >> 20}", f"{figures['highest'] >> 20}", f"{LIMIT >> 20}", "met" if figures["highest"] < LIMIT else "**not met**"]
    section = TEMPLATE.format(
        machine=machine(), version=version, targets=arguments_given.targets, series=figures["all_series"] // arguments_given.targets,
        all_series=figures["all_series"], looks=looks, interval=arguments_given.interval, hours=looks * USUAL_INTERVAL / 3600, usual=USUAL_INTERVAL,
        moving=figures["moving"], apart=APART, table=table(["at the end, MiB", "highest, MiB", "target, MiB", ""], [row]),
    )
    write_section("memory of Prometheus", section)
    print(section)


if __name__ == "__main__":
    main()
