# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a standby of a member whose server does not run; the role runs it as the user postgres with the engine ``manual``.

- Without data it takes a base backup.
- The data of a former primary is brought to the primary's history by ``pg_rewind``. Where that fails, it is moved aside, and a base backup is taken.
- A standby's data stays as it is, but for what ``pg_rewind`` has to take back.

Nothing is deleted: what is in the way is moved to ``NAME.lost-TIME``. Data of another cluster is moved only with ``--replace``, and data on a newer timeline
than the primary's never, since then it is the primary that is out of date.

The standby's slot is made on the primary, and whom it follows is written to ``postgresql.auto.conf``, where ``pg_promote`` changes it later.
Ends with 0 and a JSON list of what was done, or with 1 and one sentence. Passwords come from the file that ``--passfile`` names.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t

OWN_SETTINGS = re.compile(r"^\s*(primary_conninfo|primary_slot_name|recovery_target\w*)\b")
"""Lines of ``postgresql.auto.conf`` that say whom a server follows, and how far."""


class Refused(Exception):
    """It cannot be done; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Control:
    """What pg_control says: the cluster, the newest timeline, and how the server ended."""

    system_identifier: str
    timeline: int
    state: str


@dataclasses.dataclass(frozen=True)
class Primary:
    """The server to follow, and how to log in there."""

    name: str
    host: str
    port: str
    passfile: str
    ssl_mode: str
    ca_cert: str

    def conninfo(self, user: str, application: str) -> str:
        """Return the connection string of a role, without a password."""
        authority = f" sslrootcert={self.ca_cert}" if self.ca_cert else ""
        return f"host={self.host} port={self.port} user={user} application_name={application} passfile={self.passfile} sslmode={self.ssl_mode}{authority}"


def quoted(text: str) -> str:
    """Return a text as a value in a configuration file of PostgreSQL."""
    return "'" + text.replace("'", "''") + "'"


def settings_text(before: str, settings: t.Mapping[str, str]) -> str:
    """Return the text of ``postgresql.auto.conf`` with other settings in place of those that say whom a server follows."""
    kept = [line for line in before.splitlines() if not OWN_SETTINGS.match(line)]
    return "\n".join([*kept, *(f"{name} = {quoted(value)}" for name, value in settings.items())]) + "\n"


def parse_control(text: str) -> Control:
    """Return what pg_controldata says.

    Raises:
        Refused: something is missing.
    """
    names = ("Database system identifier", "Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline", "Database cluster state")
    found = [re.search(rf"^{re.escape(name)}:\s*(.+)$", text, re.MULTILINE) for name in names]
    if not all(found):
        raise Refused("pg_controldata does not say which cluster and timeline the data is of; look at it by hand")
    identifier, checkpoint, recovery, state = (match[1] for match in found if match)
    return Control(identifier, max(int(checkpoint), int(recovery)), state)


class Member:
    """The member that is to be a standby."""

    def __init__(self, given: argparse.Namespace) -> None:
        """Take the arguments of the command line."""
        self.data_dir: pathlib.Path = given.data_dir
        self.bin_dir: str = given.bin_dir
        self.config_file: str = given.config_file
        self.name: str = given.name
        self.slot: str = given.slot
        self.user: str = given.user
        self.rewind_user: str = given.rewind_user
        self.replace: bool = given.replace
        name, host, port = given.primary
        self.primary = Primary(name, host, port, given.passfile, given.ssl_mode, given.ca_cert)
        self.actions: list[str] = []

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs."""
        environment = {**os.environ, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
        return subprocess.run(
            [f"{self.bin_dir}/{program}", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def must(self, doing: str, program: str, *arguments: str) -> str:
        """Run a program that has to succeed, and return its output.

        Raises:
            Refused: it fails.
        """
        done = self.run(program, *arguments)
        if done.returncode:
            raise Refused(f"could not {doing}: {' '.join((done.stderr or done.stdout).split())}")
        return done.stdout

    def ask(self, command: str) -> list[str]:
        """Return the fields that the primary answers to a command of the replication protocol."""
        conninfo = f"{self.primary.conninfo(self.user, self.name)} dbname=replication replication=true"
        arguments = ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--field-separator=|", f"--dbname={conninfo}", f"--command={command}"]
        return self.must(f"ask {self.primary.name} ({self.primary.host}:{self.primary.port})", "psql", *arguments).strip().split("|")

    def runs(self) -> bool:
        """Tell whether a server runs on the data directory."""
        return self.run("pg_ctl", "-D", str(self.data_dir), "status").returncode == 0

    def control(self) -> Control | None:
        """Return what pg_control says; None without one."""
        if not (self.data_dir / "global/pg_control").exists():
            return None
        return parse_control(self.must(f"read {self.data_dir}", "pg_controldata", "-D", str(self.data_dir)))

    def ensure_slot(self) -> None:
        """Have the primary keep the log for this standby."""
        if not self.ask(f'READ_REPLICATION_SLOT "{self.slot}"')[0]:
            self.ask(f'CREATE_REPLICATION_SLOT "{self.slot}" PHYSICAL RESERVE_WAL')
            self.actions.append(f"make the slot {self.slot} on {self.primary.name}")

    def move_aside(self) -> None:
        """Keep what is in the way under another name."""
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            aside = self.data_dir.with_name(f"{self.data_dir.name}.lost-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            self.data_dir.rename(aside)
            self.actions.append(f"move {self.data_dir} aside to {aside}")

    def take_base_backup(self) -> None:
        """Copy the primary.

        Raises:
            Refused: it fails.
        """
        self.move_aside()
        arguments = [f"--pgdata={self.data_dir}", f"--dbname={self.primary.conninfo(self.user, self.name)}", "--no-password"]
        arguments += ["--checkpoint=fast", "--wal-method=stream", f"--slot={self.slot}", f"--label={self.name}"]
        self.must(f"take a base backup of {self.primary.name}", "pg_basebackup", *arguments)
        self.actions.append(f"take a base backup of {self.primary.name}")

    def rewind(self) -> bool:
        """Bring the data to the primary's history; tell whether that is done."""
        arguments = [f"--target-pgdata={self.data_dir}", f"--source-server={self.primary.conninfo(self.rewind_user, self.name)} dbname=postgres"]
        arguments += [f"--config-file={self.config_file}"] if self.config_file else []
        done = self.run("pg_rewind", *arguments)
        words = " ".join((done.stdout + done.stderr).split())
        if done.returncode:
            self.actions.append(f"find that pg_rewind cannot help: {words}")
            return False
        if "no rewind required" not in words:
            parted = re.search(r"diverged at WAL location (\S+) on timeline (\d+)", words)
            since = f" to {parted[1]} on timeline {parted[2]}, where its history parted from that of {self.primary.name}" if parted else ""
            self.actions.append(f"rewind{since}")
        return True

    def follow(self) -> None:
        """Write whom the server follows."""
        path = self.data_dir / "postgresql.auto.conf"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        settings = {"primary_conninfo": self.primary.conninfo(self.user, self.name), "primary_slot_name": self.slot}
        after = settings_text(before, settings)
        if sorted(before.splitlines()) == sorted(after.splitlines()) and (self.data_dir / "standby.signal").exists():
            return
        staged = path.with_name("postgresql.auto.conf.new")
        with staged.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        # The signal goes first: a server with it and the old settings is a standby of nobody new, one without it is a primary.
        (self.data_dir / "standby.signal").touch(0o600)
        staged.replace(path)
        folder = os.open(self.data_dir, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.actions.append(f"follow {self.primary.name}")

    def make_standby(self) -> None:
        """Do it.

        Raises:
            Refused: it cannot be done.
        """
        if self.runs():
            raise Refused(f"a server runs on {self.data_dir}; stop it first")
        identifier, timeline = self.ask("IDENTIFY_SYSTEM")[:2]
        if self.ask("SHOW in_hot_standby")[0] != "off":
            raise Refused(f"{self.primary.name} is a standby itself; name the member that takes writes")
        control = self.control()
        if control and control.system_identifier != identifier and not self.replace:
            raise Refused(
                f"{self.data_dir} is of another cluster ({control.system_identifier}, {self.primary.name} has {identifier}); "
                f"save what is in it, and have it moved aside by postgres_replication_rejoin={self.name}"
            )
        if control and control.system_identifier == identifier and control.timeline > int(timeline):
            raise Refused(
                f"{self.data_dir} is on timeline {control.timeline}, and {self.primary.name} is on the older timeline {timeline}; "
                f"so {self.primary.name} may be the one that is out of date: compare the data of both, and stop {self.primary.name} if so"
            )
        self.ensure_slot()
        if control is None or control.system_identifier != identifier:
            self.take_base_backup()
        elif not self.followed_and_crashed(control) and not self.rewind():
            self.take_base_backup()
        self.follow()

    def followed_and_crashed(self, control: Control) -> bool:
        """Tell whether this is a standby that did not end by itself: pg_rewind cannot take it, and it can go on as it is."""
        return (self.data_dir / "standby.signal").exists() and not control.state.startswith("shut down")


def member(text: str) -> tuple[str, str, str]:
    """Return name, host and port of an argument such as ``data2=10.0.0.12:5432``.

    Raises:
        argparse.ArgumentTypeError: it has none.
    """
    match = re.fullmatch(r"([^=]+)=\[?([^]]+?)]?:(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=HOST:PORT")
    return match[1], match[2], match[3]


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Makes a standby of a member whose server does not run.")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path, help="its data directory")
    parser.add_argument("--bin-dir", required=True, help="folder of PostgreSQL's programs")
    parser.add_argument("--config-file", default="", help="its postgresql.conf, where that is not in the data directory")
    parser.add_argument("--name", required=True, help="its name, by which the primary knows it")
    parser.add_argument("--slot", required=True, help="name of its replication slot on the primary")
    parser.add_argument("--primary", required=True, type=member, metavar="NAME=HOST:PORT", help="the member to follow")
    parser.add_argument("--user", required=True, help="role of standbys")
    parser.add_argument("--rewind-user", required=True, help="role that may read the primary's files")
    parser.add_argument("--passfile", required=True, help="file with the passwords of both")
    parser.add_argument("--ssl-mode", default="prefer", help="as libpq's sslmode")
    parser.add_argument("--ca-cert", default="", help="CA certificates that the primary's certificate is checked against")
    parser.add_argument("--replace", action="store_true", help="move data of another cluster aside")
    return parser


def main(argv: t.Sequence[str]) -> int:
    """Run it; return the exit status."""
    one = Member(arguments().parse_args(argv))
    try:
        one.make_standby()
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        print(json.dumps(one.actions))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
