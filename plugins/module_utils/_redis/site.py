# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the Redis of one site follow another site's, or take over from it.

Sentinels know one site only. While a site follows, its Sentinels watch nobody, since they would promote a replica as soon as the other site is silent; and
before a planned change the other site's watch nobody either, since they would take the held master for down.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Refused, Server, Unreachable, login_from, redis_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.site_plan import DOING, FOLLOWING, PROMOTED, UNCHANGED, Plan, Site, Wish, plan
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import LOOK_SECONDS, Access, Address, ask, read_server

POLL_SECONDS = 0.01
SETTLE_POLL_SECONDS = 0.2
_NOT_OF_A_SITE = ("login_host", "login_port", "login_unix_socket")


def site_argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    server: dict[str, t.Any] = {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 6379}}
    source = {
        "servers": {"type": "list", "elements": "dict", "required": True, "options": server},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
    }
    return {
        **{name: option for name, option in redis_argument_spec().items() if name not in _NOT_OF_A_SITE},
        "state": {"type": "str", "choices": [FOLLOWING, PROMOTED], "required": True},
        "servers": {"type": "list", "elements": "dict", "required": True, "options": server},
        "source": {"type": "dict", "required": True, "options": source},
        "sentinels": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 26379}},
        },
        "sentinel_user": {"type": "str"},
        "sentinel_password": {"type": "str", "no_log": True},
        "master_name": {"type": "str", "default": "main"},
        "planned": {"type": "bool", "default": False},
        "fenced": {"type": "bool", "default": False},
        "discard": {"type": "bool", "default": False},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "max_lost_bytes": {"type": "int"},
        "max_lost_seconds": {"type": "float"},
        "max_pause": {"type": "int", "default": 10},
        "wait_timeout": {"type": "int", "default": 60},
    }


@dataclasses.dataclass(frozen=True)
class Sites:
    """Both sites, each as an access that knows how its servers are logged in to."""

    here: Access
    there: Access
    servers: tuple[Address, ...]
    source: tuple[Address, ...]

    def look(self, known: Site | None = None) -> tuple[Site, Site]:
        """Ask all servers at once; one that does not answer is part of the result.

        Args:
            known: the source as it was seen before; if none of its servers answered then, it is not asked again, which would cost a timeout.
        """
        asked = [(self.here, address) for address in self.servers]
        if known is None or known.answering:
            known = None
            asked += [(self.there, address) for address in self.source]
        with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
            views = list(pool.map(lambda each: read_server(*each), asked))
        return Site(tuple(views[: len(self.servers)])), known or Site(tuple(views[len(self.servers) :]))

    def server(self, address: Address, timeout: float = LOOK_SECONDS) -> Server:
        """Return a connection to a server of either site."""
        return (self.here if address in self.servers else self.there).server(address, timeout)


def sites_from(params: t.Mapping[str, t.Any]) -> Sites:
    """Build the access to both sites from the module's options.

    Raises:
        InvalidInput: no server is named, or options that exclude each other.
    """
    source = params["source"]
    if not params["servers"] or not source["servers"]:
        raise InvalidInput(DOING[params["state"]], "servers or source.servers is empty", "name all servers of both sites")
    if params["planned"] and (params["fenced"] or params["state"] != PROMOTED):
        raise InvalidInput(DOING[params["state"]], "planned goes with state=promoted, and without fenced", "take one of them away")
    login = login_from({**params, "login_host": "", "login_port": 0, "login_unix_socket": None})
    if login.tls:
        login.context()
    other = dataclasses.replace(login, user=source["login_user"] or login.user, password=source["login_password"] or login.password)
    return Sites(_access(params, login), _access(params, other), _addresses(params["servers"]), _addresses(source["servers"]))


def _access(params: t.Mapping[str, t.Any], login: Login) -> Access:
    sentinel = dataclasses.replace(login, user=params["sentinel_user"], password=params["sentinel_password"])
    return Access(_addresses(params["sentinels"]), params["master_name"], sentinel, login)


def _addresses(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(Address(entry["host"], entry["port"]) for entry in entries))


def check_sentinels(access: Access, doing: str) -> None:
    """Refuse to go on while a Sentinel watches: it would promote somebody by itself.

    Raises:
        MainstayError: one does, or does not say whether it does.
    """
    for address in access.sentinels:
        try:
            with access.sentinel(address) as sentinel:
                ask(sentinel, "MASTER", access.master_name)
        except Unreachable:
            continue  # it is stopped
        except Refused as error:
            if "No such master" in error.cause:
                continue
            raise
        cause = f"the Sentinel at {address} watches {access.master_name}, and would act by itself"
        raise MainstayError(doing, cause, f"stop it, or have it forget the master (SENTINEL REMOVE {access.master_name}); {UNCHANGED}")


class _Move:
    """Carries a plan out."""

    def __init__(self, sites: Sites, planned: Plan, doing: str, max_pause: float, wait_timeout: float) -> None:
        self._sites, self._plan, self._doing = sites, planned, doing
        self._max_pause, self._wait_timeout = max_pause, wait_timeout
        self.paused_seconds = 0.0

    def run(self) -> list[str]:
        """Do it all; return warnings."""
        steps = self._plan
        with uninterrupted(), contextlib.ExitStack() as stack:
            if steps.hold is not None and steps.promote is not None:
                old, target = (stack.enter_context(self._sites.server(address)) for address in (steps.hold, steps.promote))
                started = time.monotonic()
                self._hand_over(old, target, started)
                self._promote(target)
                self.paused_seconds = round(time.monotonic() - started, 3)
                self._release(old)
            elif steps.promote is not None:
                self._promote(stack.enter_context(self._sites.server(steps.promote)))
            for address, master in steps.follow:
                with self._sites.server(address) as server:
                    server.command("REPLICAOF", master.host, master.port, doing=f"make {address} a replica of {master}")
        changed = [address for address in (steps.hold, steps.promote) if address is not None] + [address for address, _master in steps.follow]
        warnings = self._save(changed)
        self._settle()
        return warnings

    def _hand_over(self, old: Server, target: Server, started: float) -> None:
        """Hold the old master's writes until the target has them all, and make it a replica; take everything back if that fails."""
        for server in (old, target):  # no write should wait for a TLS handshake
            read_facts(server)
        old.command("CLIENT", "PAUSE", int(self._max_pause * 1000), "WRITE", doing="hold the writes")
        try:
            self._await_level(old, target, started + self._max_pause)
            old.command("REPLICAOF", *self._address(self._plan.promote), doing="make it a replica")
            # A process that was stopped can outlive the pause: what was written then would be lost from here on.
            if not _level(read_facts(old), read_facts(target)):
                raise MainstayError(self._doing, "it was written to while it was made a replica", "raise max_pause, or try again")
        except MainstayError:
            with contextlib.suppress(MainstayError):
                old.command("REPLICAOF", "NO", "ONE", doing="let it take writes again")
                old.command("CLIENT", "UNPAUSE", doing="release the writes")
            raise

    def _await_level(self, old: Server, target: Server, deadline: float) -> None:
        while True:
            ours, theirs = read_facts(old), read_facts(target)
            if _level(ours, theirs):
                return
            if time.monotonic() > deadline:
                cause = f"{self._plan.promote} has {theirs.offset} of {ours.offset} bytes after {self._max_pause:g} seconds"
                raise MainstayError(self._doing, cause, f"try again when less is written; {self._plan.hold} is still the master")
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _address(address: Address | None) -> tuple[str, int]:
        return t.cast(Address, address).host, t.cast(Address, address).port

    def _promote(self, target: Server) -> None:
        target.command("REPLICAOF", "NO", "ONE", doing="make it a master")
        if read_facts(target).role != "master":
            raise MainstayError(self._doing, f"{self._plan.promote} is no master after REPLICAOF NO ONE", "look at its log", changed=True)

    def _release(self, old: Server) -> None:
        """Drop the clients that wait at the old master, so that they look for the new one."""
        with contextlib.suppress(MainstayError):
            for kind in ("normal", "pubsub"):
                old.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes", doing="drop its clients")
            old.command("CLIENT", "UNPAUSE", doing="let it go on")

    def _save(self, changed: t.Iterable[Address]) -> list[str]:
        """Have the roles survive a restart; return a sentence for each that may not."""
        warnings = []
        for address in changed:
            try:
                with self._sites.server(address) as server:
                    server.command("CONFIG", "REWRITE", doing="save the role")
            except (Refused, Unreachable) as error:
                warnings.append(f"{address} may have another role after a restart: {error.cause}")
        return warnings

    def _settle(self) -> None:
        """Wait until everybody who was told follows.

        Raises:
            MainstayError: somebody does not in time.
        """
        deadline, waiting = time.monotonic() + self._wait_timeout, [address for address, _master in self._plan.follow]
        while waiting:
            views = {address: read_server(self._sites.here, address) for address in waiting}
            waiting = [address for address, view in views.items() if not view.is_linked]
            if waiting and time.monotonic() > deadline:
                cause = f"{waiting[0]} does not follow after {self._wait_timeout:g} seconds ({_state(views[waiting[0]].facts)})"
                next_step = "look at its log, and check masteruser and masterauth; run it again, it goes on"
                raise MainstayError(self._doing, cause, next_step, changed=True)
            time.sleep(SETTLE_POLL_SECONDS if waiting else 0)


def _level(ours: ServerFacts, theirs: ServerFacts) -> bool:
    return ours.offset == theirs.offset and ours.replication_id == theirs.replication_id


def _state(facts: ServerFacts | None) -> str:
    return "it does not answer" if facts is None else f"link {facts.link_status or 'none'}, {'being synchronised' if facts.sync_in_progress else 'idle'}"


def describe(here: Site, there: Site) -> list[dict[str, t.Any]]:
    """Return what is known of this site's servers; a lag of -1 is one that nobody knows."""
    writers = [view.facts.offset for view in (*here.masters, *there.masters) if view.facts is not None]
    found = []
    for view in here.servers:
        facts = view.facts
        lag = max(0, writers[0] - facts.offset) if facts is not None and len(writers) == 1 else -1
        found.append(
            {
                "address": str(view.address),
                "role": facts.role if facts else "",
                "master": facts.master if facts else "",
                "link_up": view.is_linked,
                "offset": facts.offset if facts else -1,
                "lag_bytes": lag,
                "error": view.error,
            }
        )
    return found


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about what the module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    sites, doing, started = sites_from(params), DOING[params["state"]], time.monotonic()
    wish = Wish(**{field.name: params[field.name] for field in dataclasses.fields(Wish)})
    here, there = sites.look()
    steps = plan(here, there, wish)
    if steps.actions and (wish.planned or wish.state == FOLLOWING):
        check_sentinels(sites.here, doing)
    warnings, after, source, paused = list(steps.warnings), here, there, 0.0
    if steps.actions and not check_mode:
        move = _Move(sites, steps, doing, params["max_pause"], params["wait_timeout"])
        warnings += move.run()
        paused = move.paused_seconds
        after, source = sites.look(known=there)
    result = {
        "changed": bool(steps.actions),
        "actions": steps.actions,
        "master": str(steps.master) if steps.master else "",
        "servers": describe(after, source),
        "source_reachable": bool(there.answering),
        "lost_bytes": steps.lost_bytes,
        "lost_seconds": steps.lost_seconds,
        "paused_seconds": paused,
        "seconds": round(time.monotonic() - started, 3),
        "diff": _diff(here, steps),
    }
    return result, warnings


def _diff(here: Site, steps: Plan) -> dict[str, str]:
    roles = {str(view.address): f"replica of {view.facts.master}" if view.facts.master else "master" for view in here.servers if view.facts is not None}
    moved = {str(server): f"replica of {master}" for server, master in steps.follow}
    later = {**roles, **moved, **({str(steps.promote): "master"} if steps.promote else {})}
    return {side: "".join(f"{name}: {role}\n" for name, role in part.items()) for side, part in (("before", roles), ("after", later))}
