# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a host of a site that was failed over from taking writes; runs as root on each host that serves.

The record of who took over is in the cluster of PostgreSQL at the other site: its REST API says without a login whether it takes writes, and when it was
promoted or restored. This site stands down if the other one takes writes and took over later than this one, unless it follows the other one already.
What this site is itself is kept in a file, for a boot at which its own cluster does not answer yet.

``check``    ends with 0 if the units may start, with 1 and a sentence if not. systemd runs it before each of them.
``watch``    looks every few seconds, and stops the units as soon as something speaks against them. With witnesses it also stops them when neither the other
             site nor any witness has answered for a while: a site that is cut off from everybody has no clients, and the others may have gone on without it.
             It starts them again when somebody answers and the other site has not taken over.
``fence``    stops the units until ``release``, also across a boot.
``release``  takes that back; it starts nothing. With ``--follows`` this site follows the other one from now on.
``status``   prints what is known, as JSON.

The settings are in a JSON file: ``other`` and ``own`` (REST APIs of both sites), ``ca`` (path), ``units`` (told to stop in this order, each at once),
``witnesses`` (``host:port``), ``interval_seconds``, ``isolation_seconds``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

ANSWER_SECONDS = 2.0
STOP_SECONDS = 90
LEADER_SECONDS, LOOK_SECONDS = 5.0, 0.2
"""At most so long the leader of PostgreSQL waits for the others to be stopped: one that is still there would be elected, and begin a timeline of its own."""
FAILED_OVER, ISOLATED = "failed over", "isolated"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the file says; times are seconds."""

    other: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    ca: str = ""
    units: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    interval_seconds: float = 2.0
    isolation_seconds: float = 15.0
    marker: str = "/var/lib/mainstay/site_guard/fenced.json"

    @classmethod
    def read(cls, path: str) -> Settings:
        """Read the file; what it does not say has its default.

        Raises:
            OSError, ValueError, TypeError: it cannot be read, or is no settings.
        """
        found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a site says of itself: whether anybody answers, takes writes, follows another site, and when it took over (seconds since 1970; 0: never)."""

    answers: bool = False
    writes: bool = False
    follows: bool = False
    took_over_at: int = 0


def speaks_against(own: Seen, other: Seen) -> str:
    """Return why this site must not take writes; empty if nothing speaks against it."""
    if other.writes and not own.follows and other.took_over_at > own.took_over_at:
        return f"the other site takes writes, and took over at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(other.took_over_at))}"
    return ""


class Looker:
    """Asks REST APIs and witnesses."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is asked yet."""
        self._settings = settings
        self._trust = ssl.create_default_context(cafile=settings.ca or None)

    def _get(self, url: str) -> tuple[int, bytes]:
        """Return status and body; 0 if nobody answers."""
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS, context=self._trust) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except (OSError, ValueError):
            return 0, b""

    def _one(self, api: str) -> Seen:
        status, _body = self._get(f"{api}/primary")
        if not status:
            return Seen()
        _status, body = self._get(f"{api}/config")
        try:
            config = json.loads(body)
            return Seen(True, status == 200, bool(config.get("standby_cluster")), int((config.get("mainstay") or {}).get("took_over_at") or 0))
        except (ValueError, AttributeError, TypeError):
            return Seen()

    def site(self, apis: t.Sequence[str]) -> Seen:
        """Ask all members of a site at once."""
        if not apis:
            return Seen()
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(apis)) as pool:
            seen = list(pool.map(self._one, apis))
        return Seen(*(max(getattr(each, field.name) for each in seen) for field in dataclasses.fields(Seen)))

    def alone(self) -> bool:
        """Whether no witness answers; without witnesses nobody can tell."""
        witnesses = self._settings.witnesses
        if not witnesses:
            return False
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(witnesses)) as pool:
            return not any(pool.map(_connects, witnesses))

    def leads(self) -> bool:
        """Whether PostgreSQL of this host leads its cluster."""
        return any(self._get(f"{api}/primary")[0] == 200 for api in self._settings.own if _is_own(api))

    def await_others(self) -> None:
        """Wait until no other member of this site answers; Patroni closes its REST API before it stops PostgreSQL, and promotes nobody from then on."""
        others = [api for api in self._settings.own if not _is_own(api)]
        deadline = time.monotonic() + LEADER_SECONDS
        while self.site(others).answers and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


def _connects(witness: str) -> bool:
    host, _colon, port = witness.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _is_own(api: str) -> bool:
    host = api.split("://", 1)[-1].rpartition(":")[0].strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            return True
    except OSError:
        return False


class Guard:
    """The units of this host, and the file that says that they are to stay stopped."""

    def __init__(self, settings: Settings, looker: Looker) -> None:
        """Guard the units that the settings name."""
        self._settings, self._looker = settings, looker
        self._marker = pathlib.Path(settings.marker)
        self._known = self._marker.with_name("own.json")

    def own(self) -> Seen:
        """Return what this site is: as it says, or as it said the last time."""
        seen = self._looker.site(self._settings.own)
        if seen.answers:
            self._write(self._known, dataclasses.asdict(seen))
            return seen
        try:
            return dataclasses.replace(Seen(**json.loads(self._known.read_text(encoding="utf-8"))), answers=False, writes=False)
        except (OSError, ValueError, TypeError):
            return Seen()

    @property
    def fenced(self) -> dict[str, t.Any]:
        """Why the units are stopped, since when, and which of them ran; empty if they are not."""
        try:
            return json.loads(self._marker.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return {"kind": FAILED_OVER, "reason": f"{self._marker} cannot be read", "units": []}

    def _write(self, path: pathlib.Path, content: dict[str, t.Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def fence(self, kind: str, reason: str) -> list[str]:
        """Note it, then stop the units; return those that ran."""
        before = self.fenced
        ran = [unit for unit in self._settings.units if _systemctl("is-active", "--quiet", unit) == 0]
        if before.get("kind") != FAILED_OVER:
            # The note comes first: a host that loses its power meanwhile starts nothing.
            units = sorted({*before.get("units", []), *ran}, key=self._settings.units.index)
            self._write(self._marker, {"kind": kind, "reason": reason, "since": before.get("since", time.time()), "units": units})
        leads = bool(ran) and self._looker.leads()
        # One that takes its time, as Redis does for its replicas, must not keep the others from being told.
        for unit in sorted(ran, key=lambda unit: leads and unit.startswith("patroni")):
            if leads and unit.startswith("patroni"):
                self._looker.await_others()
            _systemctl("stop", "--no-block", unit)
        for unit in ran:
            _systemctl("stop", unit)
        return ran

    def release(self, start: bool = False, follows: bool = False) -> bool:
        """Let the units start; with ``start`` start those that ran. Return whether anything was fenced."""
        before = self.fenced
        if follows:
            self._write(self._known, dataclasses.asdict(Seen(follows=True)))
        self._marker.unlink(missing_ok=True)
        if start:
            for unit in reversed(before.get("units", [])):
                _systemctl("start", "--no-block", unit)
        return bool(before)

    def check(self) -> str:
        """Return why the units must not start now; empty if they may."""
        if fenced := self.fenced:
            return f"this host was fenced: {fenced['reason']}"
        other = self._looker.site(self._settings.other)
        if reason := speaks_against(self.own(), other):
            return reason
        return "neither the other site nor any witness answers" if not other.answers and self._looker.alone() else ""

    def watch(self) -> None:
        """Look again and again, and act."""
        lonely_since: float | None = None
        while True:
            other, fenced = self._looker.site(self._settings.other), self.fenced
            reason = speaks_against(self.own(), other)
            alone = not reason and not other.answers and self._looker.alone()
            lonely_since = (lonely_since or time.monotonic()) if alone else None
            if reason and fenced.get("kind") != FAILED_OVER:
                _say(f"stops its units: {reason}")
                self.fence(FAILED_OVER, reason)
            elif alone and not fenced and time.monotonic() - t.cast(float, lonely_since) >= self._settings.isolation_seconds:
                reason = f"neither the other site nor any witness has answered for {self._settings.isolation_seconds:g} seconds"
                _say(f"stops its units: {reason}")
                self.fence(ISOLATED, reason)
            elif fenced.get("kind") == ISOLATED and not alone and not reason:
                _say("starts its units again: somebody answers, and the other site has not taken over")
                self.release(start=True)
            time.sleep(self._settings.interval_seconds)


def _systemctl(*arguments: str) -> int:
    try:
        return subprocess.run(["systemctl", *arguments], check=False, timeout=STOP_SECONDS, stdin=subprocess.DEVNULL).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(f"systemctl {' '.join(arguments)}: {error}")
        return 1


def _say(sentence: str) -> None:
    print(f"site guard: {sentence}", file=sys.stderr, flush=True)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Keep a host of a site that was failed over from taking writes.")
    parser.add_argument("command", choices=["check", "watch", "fence", "release", "status"])
    parser.add_argument("--settings", default="/etc/mainstay/site_guard.json")
    parser.add_argument("--reason", default="an operator has asked for it")
    parser.add_argument("--start", action="store_true", help="with release, start what ran")
    parser.add_argument("--follows", action="store_true", help="with release, this site follows the other one from now on")
    given = parser.parse_args(arguments)
    settings = Settings.read(given.settings)
    guard = Guard(settings, Looker(settings))
    if given.command == "watch":
        guard.watch()
    elif given.command == "check":
        if reason := guard.check():
            _say(f"does not let it start: {reason}")
            return 1
    elif given.command == "fence":
        print(json.dumps({"changed": guard.fenced.get("kind") != FAILED_OVER, "stopped": guard.fence(FAILED_OVER, given.reason)}))
    elif given.command == "release":
        print(json.dumps({"changed": guard.release(given.start, given.follows)}))
    else:
        print(json.dumps({"fenced": guard.fenced, "refuses": guard.check()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
