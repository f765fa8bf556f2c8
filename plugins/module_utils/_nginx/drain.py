# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking one server out of an upstream, and putting it back: a mark that outlives a run, and the word ``down`` in the configuration."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import posixpath
import re
import shutil
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.live import drained_mark
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.reload import Service
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.sockets import count_connections

_SERVER = re.compile(r"^(?P<start>\s*server (?P<address>\S+) max_fails=)(?P<fails>\d+)(?P<rest>[^;#]*?)(?P<down> down)?; # (?P<name>\S+)$")
_PAUSE = 0.2


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        upstream: the upstream.
        server: the server, by its name in the inventory.
        drained: whether it shall get no new requests.
        last: whether it may be the last one that does.
        owner: who takes it out. One who puts it back does so only with what the same one has taken out; without a name, with all.
    """

    upstream: str
    server: str
    drained: bool
    last: bool = False
    owner: str = ""


@dataclasses.dataclass(frozen=True)
class Text:
    """A file of an upstream, read: its servers, and which of them are drained."""

    lines: tuple[str, ...]

    @property
    def servers(self) -> dict[str, bool]:
        """The names of the servers, and whether each is drained."""
        found = (_SERVER.match(line) for line in self.lines)
        return {match["name"]: bool(match["down"]) for match in found if match}

    def ends_of(self, server: str) -> frozenset[tuple[str, int]]:
        """The addresses and ports of a server."""
        found = (_SERVER.match(line) for line in self.lines)
        return frozenset(_end(match["address"]) for match in found if match and match["name"] == server)

    def marked(self, server: str, drained: bool) -> str:
        """The text with a server drained or not. The only one that gets requests is always tried: left alone after some failures, it would serve nobody."""
        down = {**self.servers, server: drained}
        asked = [name for name in down if not down[name] or len(down) == 1]
        only = asked[0] if len(asked) == 1 else ""
        found = (_SERVER.match(line) for line in self.lines)
        fails = max((int(match["fails"]) for match in found if match), default=0)
        return "".join(f"{self._line(line, down, 0 if line.endswith(f' # {only}') else fails)}\n" for line in self.lines)

    @staticmethod
    def _line(line: str, down: t.Mapping[str, bool], fails: int) -> str:
        match = _SERVER.match(line)
        return line if not match else f"{match['start']}{fails}{match['rest']}{' down' if down[match['name']] else ''}; # {match['name']}"


def _end(text: str) -> tuple[str, int]:
    address, dummy, port = text.rpartition(":")
    bare = address.strip("[]")
    try:
        return str(ipaddress.ip_address(bare)), int(port)
    except ValueError:
        return bare, int(port)


def check(wish: Wish, text: Text) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidInput: the upstream does not have this server, or it is the last one that gets requests.
    """
    doing = f"{'drain' if wish.drained else 'put back'} {wish.server} in the upstream {wish.upstream}"
    servers = text.servers
    if wish.server not in servers:
        raise InvalidInput(doing, f"its servers are {', '.join(servers)}", "name one of these, as the inventory does")
    left = [name for name, drained in servers.items() if not drained and name != wish.server]
    if wish.drained and not left and not wish.last:
        raise InvalidInput(doing, "no other server gets requests", "put another one back first, or turn maintenance on and allow the last one to be drained")


class Files:
    """The two files that say that a server is drained: the upstream's configuration, and the mark."""

    def __init__(self, wish: Wish, config_dir: str, live_dir: str) -> None:
        """Find them."""
        self._wish = wish
        self._config = posixpath.join(config_dir, f"{wish.upstream}.conf")
        self._marks, self._name = posixpath.join(live_dir, wish.upstream), drained_mark(wish.server)
        self._mark = posixpath.join(self._marks, self._name)

    def read(self) -> tuple[Text, str | None]:
        """The upstream's configuration, and who has taken the server out: nobody without a mark, and one without a name if the mark says none.

        Raises:
            MainstayError: there is no such upstream.
        """
        try:
            with open(self._config, encoding="utf-8") as stream:
                text = Text(tuple(stream.read().splitlines()))
        except OSError as exc:
            raise MainstayError(f"read the upstream {self._wish.upstream}", exc, "bring the balancer to its state with site.yml first") from exc
        try:
            with open(self._mark, encoding="utf-8") as stream:
                return text, stream.read().strip()
        except FileNotFoundError:
            return text, None
        except OSError as exc:
            raise MainstayError(f"read {self._mark}", exc.strerror or exc, "run the task with become: true") from exc

    def write(self, text: str) -> None:
        """Write the upstream's configuration.

        Raises:
            MainstayError: it cannot be written.
        """
        new = posixpath.join(posixpath.dirname(self._config), f".{self._wish.upstream}.conf.new")
        try:
            with open(new, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            shutil.copymode(self._config, new)
            os.replace(new, self._config)
        except OSError as exc:
            raise MainstayError(f"write {self._config}", exc.strerror or exc, "nginx goes on as before") from exc

    def mark(self, owner: str | None) -> None:
        """Write who has taken the server out, or remove the mark, once nginx does what it says: a run that was killed before is done again by the next.

        Raises:
            MainstayError: it cannot be written.
        """
        new = posixpath.join(self._marks, f".{self._name}.new")
        try:
            if owner is not None:
                with open(new, "w", encoding="utf-8") as stream:
                    stream.write(f"{owner}\n")
                os.replace(new, self._mark)
            elif os.path.exists(self._mark):
                os.unlink(self._mark)
        except OSError as exc:
            raise MainstayError(f"write {self._mark}", exc.strerror or exc, "nginx does it, but the next run of site.yml will not know: run again") from exc


def _wait(pids: t.Iterable[int], ends: t.Collection[tuple[str, int]], timeout: float) -> int:
    """Wait until the processes have no connection to these addresses and ports any more.

    Returns:
        How many are left when the time is over.
    """
    waiting, deadline = tuple(pids), time.monotonic() + timeout
    while True:
        left = count_connections(waiting, ends)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_PAUSE)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was done, in words, the text before and after, who has taken the server out, and its requests that were still under way when the time was over."""

    actions: tuple[str, ...]
    before: str
    after: str
    owner: str = ""
    left: int = 0


def _go_back(files: Files, before: str, service: Service) -> str:
    """Put the former text back, and let nginx use it: a reload that did not end in time may have been made.

    Returns:
        What became of that, for the end of a sentence.
    """
    try:
        files.write(before)
        service.put_in_service()
    except MainstayError as exc:
        return f"going back did not end well either: {exc}"
    return "the files are as they were before, and nginx serves with them"


def ensure(wish: Wish, files: Files, service: Service, wait: float, check_mode: bool) -> Outcome:
    """Bring a server to its state, and wait until the requests that it has are done, also those that a run of before did not wait for.

    Raises:
        InvalidInput: the wish cannot be.
        MainstayError: nginx does not take it; all is as it was then.
    """
    text, owner = files.read()
    check(wish, text)
    before = text.marked(wish.server, text.servers[wish.server])
    after, ends = text.marked(wish.server, wish.drained), text.ends_of(wish.server)
    if not wish.drained and wish.owner and owner not in (None, wish.owner):
        return Outcome((), before, before, owner or "")
    if before == after and (owner is not None) == wish.drained:
        left = _wait(service.master.leaving(), ends, wait) if wish.drained and not check_mode else 0
        return Outcome((), before, after, owner or "", left)
    verb = "drain" if wish.drained else "put back"
    actions = (f"{verb} {wish.server} in the upstream {wish.upstream}", "reload nginx")
    holder = (wish.owner if owner is None else owner) if wish.drained else None
    if check_mode:
        return Outcome(actions, before, after, holder or "")
    files.write(after)
    try:
        workers = service.put_in_service()
    except MainstayError as exc:
        raise MainstayError(actions[0], exc, _go_back(files, before, service)) from exc
    files.mark(holder)
    left = _wait(workers, ends, wait) if wish.drained else 0
    return Outcome(actions, before, after, holder or "", left)
