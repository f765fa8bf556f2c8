# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps an old primary from starting writable after a standby was promoted; systemd runs it as the user postgres before the server starts.

It reads this server's timeline from pg_control and asks every peer for its own. The server must not start as a primary if

- a peer is a primary on the same timeline or on a newer one,
- a peer is a standby on a newer one, since then somebody was promoted, even if that one does not answer now,
- a peer is a primary of another cluster, since then clients use that one.

A standby (there is a ``standby.signal``) may always start. So may a server without peers. If no peer says anything, it may start too, with a warning:
otherwise a site that lost its power could never start again. ``--when-alone refuse`` turns that round, and then somebody who knows better may leave the file
``--alone-once``, which counts for one start. A peer that starts at the same moment says nothing yet,
so it is asked again for ``--wait`` seconds. A peer that cannot be reached then may be reached later, so ``--watch`` goes on beside the server that runs,
and stops it as soon as something speaks against it: what was written in between is on the losing side, and nothing more is added to it.

Ends with 0 if the server may start, with 1 and one sentence if it must not, with 2 if it was called wrongly, with 3 if it has stopped the server. Needs
nothing but Python and PostgreSQL's own ``pg_controldata`` and ``psql``. It logs in to the peers as standbys do, with the password from the file that
``PGPASSFILE`` names. The peers have to be of PostgreSQL 14 or later.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t

CONNECT_SECONDS = 2
"""The least that libpq takes."""
ANSWER_SECONDS = 2
POLL_SECONDS = 1.0

CONNECTION = "dbname=replication replication=true"
"""The name of the database is what lines of a password file for standbys have."""
QUESTIONS = ("IDENTIFY_SYSTEM", "SHOW in_hot_standby")
"""Asked over the replication protocol: there alone a standby says which timeline it is on now, and not which one it was on at its last checkpoint."""


STOPPED = 3
"""Status of a guard that has stopped the server; any other end is a failure, after which systemd starts the guard again."""

STOP_SECONDS = 60
"""How long a server may take to stop in an orderly way; clients are gone at once, but standbys are waited for."""


class Unreadable(Exception):
    """The data directory cannot be read."""


@dataclasses.dataclass(frozen=True)
class Local:
    """This server: the cluster that it is a part of, its newest timeline, and whether it starts as a standby."""

    system_identifier: str
    timeline: int
    standby: bool


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another server of the cluster, by name."""

    name: str
    host: str
    port: str

    @property
    def label(self) -> str:
        """It in words."""
        return f"{self.name} ({self.host}:{self.port})"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a peer says of itself, or why it says nothing."""

    peer: Peer
    error: str = ""
    system_identifier: str = ""
    standby: bool = False
    timeline: int = 0


def peer(text: str) -> Peer:
    """Return the peer that an argument such as ``data2=10.0.0.12:5432`` names.

    Raises:
        argparse.ArgumentTypeError: it names none.
    """
    match = re.fullmatch(r"([^=]+)=\[?([^]]+?)]?:(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=HOST:PORT")
    return Peer(*match.groups())


def parse_control(text: str) -> tuple[str, int]:
    """Return system identifier and newest timeline from what pg_controldata says.

    A server that was promoted moments before its end has the new timeline only where it would have to recover to.

    Raises:
        Unreadable: something is missing.
    """
    names = ("Database system identifier", "Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
    found = [re.search(rf"^{re.escape(name)}:\s*(\d+)$", text, re.MULTILINE) for name in names]
    if not all(found):
        raise Unreadable("pg_controldata does not say which cluster and timeline it is of")
    identifier, checkpoint, recovery = (match[1] for match in found if match)
    return identifier, max(int(checkpoint), int(recovery))


def read_local(bin_dir: str, data_dir: pathlib.Path) -> Local:
    """Read what this server is.

    Raises:
        Unreadable: its data directory cannot be read.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run([f"{bin_dir}/pg_controldata", "-D", str(data_dir)], env=environment, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise Unreadable(" ".join(error.stderr.split())) from error
    except OSError as error:
        raise Unreadable(f"{bin_dir}/pg_controldata: {error.strerror}") from error
    return Local(*parse_control(done.stdout), (data_dir / "standby.signal").exists())


def ask(bin_dir: str, peer: Peer, login: t.Mapping[str, str]) -> Answer:
    """Ask one peer over the replication protocol; ``login`` are variables of libpq."""
    environment = {
        **os.environ,
        **login,
        "LC_ALL": "C",
        "PGHOST": peer.host,
        "PGPORT": peer.port,
        "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        "PGAPPNAME": "boot_guard",
    }
    command = [f"{bin_dir}/psql", "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--field-separator=|", f"--dbname={CONNECTION}"]
    command += [f"--command={question}" for question in QUESTIONS]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CONNECT_SECONDS + ANSWER_SECONDS, check=True
        )
        system, standby = done.stdout.split()
        identifier, timeline = system.split("|")[:2]
        return Answer(peer, "", identifier, standby == "on", int(timeline))
    except subprocess.TimeoutExpired:
        return Answer(peer, f"no answer within {CONNECT_SECONDS + ANSWER_SECONDS} seconds")
    except subprocess.CalledProcessError as error:
        return Answer(peer, " ".join(error.stderr.split()))
    except (OSError, ValueError) as error:
        return Answer(peer, str(error))


def objection(local: Local, answers: t.Sequence[Answer]) -> str:
    """Return why this server must not start as a primary; empty if nothing speaks against it.

    Args:
        local: this server.
        answers: what the peers say.
    """
    for answer in sorted(answers, key=lambda each: (each.standby, -each.timeline)):
        if answer.error:
            continue
        same = answer.system_identifier == local.system_identifier
        if not same and not answer.standby:
            return f"{answer.peer.label} is the primary of another cluster ({answer.system_identifier}, this one is {local.system_identifier})"
        if same and not answer.standby and answer.timeline >= local.timeline:
            return f"{answer.peer.label} is a primary on timeline {answer.timeline}, and this server was one on timeline {local.timeline}"
        if same and answer.standby and answer.timeline > local.timeline:
            return f"{answer.peer.label} is a standby on timeline {answer.timeline}, this server is on {local.timeline}, so another one was promoted"
    return ""


def doubts(local: Local, answers: t.Sequence[Answer]) -> list[str]:
    """Return what the journal should keep although the server may start."""
    found = [f"{each.peer.label} says nothing: {each.error}" for each in answers if each.error]
    for each in answers:
        if not each.error and each.system_identifier != local.system_identifier:
            found.append(f"{each.peer.label} is a standby of another cluster ({each.system_identifier})")
        elif not each.error and not each.standby:
            found.append(f"{each.peer.label} is a primary on the older timeline {each.timeline}; stop it and rejoin it")
    return found


def tell(level: int, words: str) -> None:
    """Write a line to the journal with its priority (4 is a warning, 3 an error), or plainly to a terminal."""
    priority = f"<{level}>" if "JOURNAL_STREAM" in os.environ else ""
    print(f"{priority}boot guard: {words}", file=sys.stderr)


def taken(permission: pathlib.Path | None) -> bool:
    """Remove the file that lets the server start alone once; tell whether it was there.

    It goes with any start, so that none is left for a later one.
    """
    if permission is None:
        return False
    try:
        permission.unlink()
    except FileNotFoundError:
        return False
    return True


def decide(local: Local, answers: t.Sequence[Answer], given: argparse.Namespace) -> int:
    """Say whether the server may start; return the exit status."""
    allowed = taken(given.alone_once) or given.when_alone == "allow"
    rejoin = f"rejoin it as a standby by pg_rewind or a new base backup, which leaves a standby.signal in {given.data_dir}"
    if reason := objection(local, answers):
        tell(3, f"this server must not start as a primary: {reason}; {rejoin}")
        return 1
    silent = answers and all(answer.error for answer in answers)
    if silent and not allowed:
        said = "; ".join(f"{answer.peer.label}: {answer.error}" for answer in answers)
        permit = f", or, if you know that none was, allow one start: touch {given.alone_once}" if given.alone_once else ""
        tell(3, f"this server must not start as a primary: no peer says whether another was promoted ({said}); start a peer{permit}")
        return 1
    for words in doubts(local, answers):
        tell(4, words)
    if silent:
        tell(4, "no peer says whether another was promoted; this server starts as a primary")
    return 0


def gather(bin_dir: str, peers: t.Sequence[Peer], login: t.Mapping[str, str]) -> list[Answer]:
    """Ask all peers at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(peers)) as pool:
        return list(pool.map(lambda each: ask(bin_dir, each, login), peers))


def stop(bin_dir: str, data_dir: pathlib.Path) -> None:
    """Stop the server that runs, by force if it does not stop in time."""
    for mode in ("fast", "immediate"):
        command = [f"{bin_dir}/pg_ctl", "-D", str(data_dir), "stop", "-m", mode, "-w", "-t", str(STOP_SECONDS)]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            return


def watch(given: argparse.Namespace, login: t.Mapping[str, str]) -> int:
    """Ask again and again beside a server that runs; stop it and return :data:`STOPPED` if it must not be a primary."""
    told: list[str] = []
    while True:
        time.sleep(given.watch)
        try:
            local = read_local(given.bin_dir, given.data_dir)
        except Unreadable as error:
            said = [f"could not read what this server is: {error}"]
        else:
            if local.standby or not (given.data_dir / "postmaster.pid").exists():
                continue
            answers = gather(given.bin_dir, given.peer, login)
            # A primary of another cluster speaks against a start, but not against a server that clients use.
            reason = objection(local, [each for each in answers if each.system_identifier == local.system_identifier])
            # One that is being promoted has its new timeline by now.
            if reason and local == read_local(given.bin_dir, given.data_dir):
                tell(3, f"this server must not go on as a primary, and is stopped: {reason}; rejoin it as a standby")
                stop(given.bin_dir, given.data_dir)
                return STOPPED
            # Whoever says nothing is said once, and again when it changes.
            said = [f"{each.peer.label} says nothing" for each in answers if each.error]
        for words in sorted(set(said) - set(told)):
            tell(4, words)
        told = said


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Keeps an old primary from starting writable after a standby was promoted.")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path, help="the server's data directory")
    parser.add_argument("--bin-dir", required=True, help="folder of pg_controldata and psql")
    parser.add_argument("--peer", action="append", default=[], type=peer, metavar="NAME=HOST:PORT", help="another server of the cluster; for each one")
    parser.add_argument("--user", required=True, help="role to log in to the peers as, the one of the standbys")
    parser.add_argument("--ssl-mode", default="prefer", help="as libpq's sslmode")
    parser.add_argument("--ca-cert", default="", help="CA certificates that the peers' certificates are checked against")
    parser.add_argument("--wait", type=float, default=10.0, metavar="SECONDS", help="ask again so long while no peer says anything (default: 10)")
    parser.add_argument("--when-alone", choices=["allow", "refuse"], default="allow", help="what to do if none does in the end (default: allow)")
    parser.add_argument("--alone-once", type=pathlib.Path, metavar="FILE", help="if it is there, remove it, and allow this start")
    watch = "go on beside the server that runs, ask so often, and stop it if it must not be a primary"
    parser.add_argument("--watch", type=float, metavar="SECONDS", help=watch)
    return parser


def main(argv: t.Sequence[str]) -> int:
    """Run it; return the exit status."""
    given = arguments().parse_args(argv)
    login = {"PGUSER": given.user, "PGSSLMODE": given.ssl_mode}
    if given.ca_cert:
        login["PGSSLROOTCERT"] = given.ca_cert
    if given.watch and given.peer:
        return watch(given, login)
    try:
        local = read_local(given.bin_dir, given.data_dir)
    except Unreadable as error:
        tell(3, f"could not read what this server is: {error}; look at {given.data_dir}")
        return 1
    if local.standby or not given.peer:
        return 0
    deadline = time.monotonic() + given.wait
    while True:
        answers = gather(given.bin_dir, given.peer, login)
        if any(not answer.error for answer in answers) or time.monotonic() + POLL_SECONDS > deadline:
            return decide(local, answers, given)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
