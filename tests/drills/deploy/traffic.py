# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of a drill: ``hey`` for the bulk of it, and a client that counts each answer; and what both of them counted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import typing as t

from fixtures.client import load

from drills.clients import writing
from drills.failure import DrillFailed

HEY_RATE, HEY_WORKERS = 100, 8
"""Requests a second of ``hey``, over as many connections as it has workers."""

CLIENT_RATE, CLIENT_CONNECTIONS, PER_CONNECTION, READ_SHARE = 100, 8, 10, 0.5
"""Requests a second of the counting client: half of them POST, and each tenth of a connection is its last."""

TIMEOUT = 10
"""Seconds that both wait for an answer."""


@dataclasses.dataclass(frozen=True)
class Site:
    """What is asked: its name, the address of a balancer, and the file of the authority that it has its certificate from."""

    name: str
    address: str
    ca_file: str
    port: int = 443

    @property
    def url(self) -> str:
        """Its address as a URL."""
        return f"https://{self.name}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of one request of the counting client: when it was sent, how long it took, the kind of a failure, and which release answered."""

    sent: float
    seconds: float
    kind: str | None
    release: str | None

    @property
    def ended(self) -> float:
        """When it was over, as Unix time."""
        return self.sent + self.seconds


@dataclasses.dataclass(frozen=True)
class Bulk:
    """What ``hey`` counted: requests, those that failed by kind, and the 99th percentile in seconds."""

    sent: int
    failed_by_kind: dict[str, int]
    p99: float

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(self.failed_by_kind.values())


@dataclasses.dataclass(frozen=True)
class Counted:
    """What both counted."""

    answers: tuple[Answer, ...]
    bulk: Bulk

    @property
    def sent(self) -> int:
        """All requests."""
        return len(self.answers) + self.bulk.sent

    @property
    def failed(self) -> int:
        """All that failed."""
        return sum(answer.kind is not None for answer in self.answers) + self.bulk.failed

    @property
    def failed_by_kind(self) -> dict[str, int]:
        """Those that failed, by kind."""
        kinds = dict(self.bulk.failed_by_kind)
        for answer in self.answers:
            if answer.kind is not None:
                kinds[answer.kind] = kinds.get(answer.kind, 0) + 1
        return kinds

    @property
    def p99(self) -> float:
        """The 99th percentile of the counting client's answers, in seconds."""
        return load.percentile([answer.seconds for answer in self.answers if answer.kind is None], 99) or 0.0

    def by(self, release: str) -> list[Answer]:
        """Return the answers of a release."""
        return [answer for answer in self.answers if answer.release == release]


def read_answers(log: pathlib.Path) -> tuple[Answer, ...]:
    """Read the counting client's log, in the order of sending."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return tuple(sorted((Answer(line["sent"], line["seconds"], line["kind"], line["release"]) for line in lines), key=lambda answer: answer.sent))


def read_bulk(printed: str) -> Bulk:
    """Read what ``hey`` prints at its end.

    Raises:
        DrillFailed: it counted no answer and no error.
    """
    statuses = {code: int(count) for code, count in re.findall(r"^\s+\[(\d{3})\]\t(\d+) responses$", printed, re.MULTILINE)}
    _head, _marker, errors = printed.partition("Error distribution:")
    failed = {f"status_{code}": count for code, count in statuses.items() if code != "200"}
    for count, message in re.findall(r"^\s+\[(\d+)\]\t(.*)$", errors, re.MULTILINE):
        kind = "hey: " + message.rsplit(": ", 1)[-1]
        failed[kind] = failed.get(kind, 0) + int(count)
    sent = statuses.get("200", 0) + sum(failed.values())
    if not sent:
        raise DrillFailed(f"hey counted nothing: {printed.strip()[-500:]}")
    latency = re.search(r"^\s+99% in ([\d.]+) secs$", printed, re.MULTILINE)
    return Bulk(sent, failed, float(latency[1]) if latency else 0.0)


def client_argv(site: Site, run: str, log: pathlib.Path) -> list[str]:
    """Return the command line of the counting client."""
    argv = [sys.executable, load.__file__, "run", "--url", site.url, "--connect", site.address, "--ca-file", site.ca_file, "--client", run]
    argv += ["--rate", str(CLIENT_RATE), "--connections", str(CLIENT_CONNECTIONS), "--requests-per-connection", str(PER_CONNECTION)]
    return [*argv, "--read-share", str(READ_SHARE), "--timeout", str(TIMEOUT), "--outcome-log", str(log)]


def hey_argv(site: Site) -> list[str]:
    """Return the command line of ``hey``, which goes on until it is told to end."""
    argv = ["hey", "-z", "24h", "-c", str(HEY_WORKERS), "-q", str(HEY_RATE / HEY_WORKERS), "-t", str(TIMEOUT), "-host", site.name]
    return [*argv, f"https://{site.address}:{site.port}/entries"]


@contextlib.contextmanager
def traffic(site: Site, run: str, folder: pathlib.Path) -> t.Iterator[list[Counted]]:
    """Send requests while the block runs; what was counted is in the list afterwards.

    Raises:
        DrillFailed: a client did not begin, or did not end well.
    """
    log, found = folder / f"{run}.jsonl", list[Counted]()
    with (folder / f"{run}.hey").open("w+", encoding="utf-8") as printed:
        with writing(client_argv(site, run, log), os.environ, log):
            hey = subprocess.Popen(hey_argv(site), stdout=printed, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            try:
                yield found
            finally:
                hey.send_signal(signal.SIGINT)
                hey.wait(timeout=2 * TIMEOUT)
        printed.seek(0)
        found.append(Counted(read_answers(log), read_bulk(printed.read())))
