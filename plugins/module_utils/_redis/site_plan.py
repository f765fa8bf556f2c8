# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to have the Redis of one site follow another site's, or take over from it. Nothing here talks to a server."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import Address, ServerView, join

FOLLOWING, PROMOTED = "following", "promoted"
DOING = {FOLLOWING: "have this site's Redis follow the other site's", PROMOTED: "let this site's Redis take writes"}
UNCHANGED = "nothing was changed"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the module's options ask for; ``None`` is no limit."""

    state: str
    planned: bool = False
    fenced: bool = False
    discard: bool = False
    max_lag_bytes: int = 1 << 20
    max_lost_bytes: int | None = None
    max_lost_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Site:
    """The servers of one site at one moment, in the order in which they were named."""

    servers: tuple[ServerView, ...] = ()

    @property
    def answering(self) -> tuple[ServerView, ...]:
        """Those that answer."""
        return tuple(view for view in self.servers if view.facts is not None)

    @property
    def masters(self) -> tuple[ServerView, ...]:
        """Those that say that they are masters."""
        return tuple(view for view in self.servers if view.is_master)

    @property
    def names(self) -> frozenset[str]:
        """Their addresses, as a replica names its master."""
        return frozenset(_name(view.address) for view in self.servers)

    @property
    def silence(self) -> str:
        """Why servers do not answer, in words."""
        return "; ".join(f"{view.address}: {view.error}" for view in self.servers if view.facts is None)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done, in this order, and what is known of it.

    Attributes:
        hold: the source's master, whose writes are held and which follows afterwards.
        promote: the server that becomes a master.
        follow: servers and whom they are to follow.
        master: the server that takes writes then.
        lost_bytes: what the source has more; none if nobody knows.
        lost_seconds: how long ago the source was heard of the last time; none if it never was.
        warnings: what is not as it should be and does not keep it from happening.
    """

    hold: Address | None = None
    promote: Address | None = None
    follow: tuple[tuple[Address, Address], ...] = ()
    master: Address | None = None
    lost_bytes: int | None = 0
    lost_seconds: float | None = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def actions(self) -> list[str]:
        """What it does, in words and in order."""
        held = [f"hold the writes to {self.hold} until {self.promote} has all of them", f"make {self.hold} a replica of {self.promote}"] if self.hold else []
        promoted = [f"make {self.promote} a master"] if self.promote else []
        return [*held, *promoted, *(f"make {server} a replica of {master}" for server, master in self.follow)]


def plan(here: Site, there: Site, wish: Wish) -> Plan:
    """Judge what was seen, and say what to do.

    Raises:
        MainstayError: it cannot be done, or would lose what nobody has given up.
    """
    if here.names & there.names:
        raise InvalidInput(DOING[wish.state], f"{', '.join(sorted(here.names & there.names))} is named for both sites", "give each server to one site")
    if not here.answering:
        raise MainstayError(DOING[wish.state], f"none of its servers answers ({here.silence})", "start them, and check login_user, login_password and tls")
    made = plan_following(here, there, wish) if wish.state == FOLLOWING else plan_promotion(here, there, wish)
    silent = (f"{view.address} does not answer ({view.error}) and was left as it is" for view in here.servers if view.facts is None)
    return dataclasses.replace(made, warnings=(*made.warnings, *silent))


def plan_following(here: Site, there: Site, wish: Wish) -> Plan:
    """Have one server follow the other site's master, and the others that one: the data cross the line between the sites once.

    Raises:
        MainstayError: the other site has not exactly one master, or a server's own data would be given up without leave.
    """
    doing = DOING[FOLLOWING]
    if not there.answering and _follows(here, there):
        return Plan(warnings=(f"no server of the other site answers ({there.silence})",))
    master = _source_master(there, doing)
    head = _head(here, master)
    wanted = ((view, master.address if view is head else head.address) for view in here.answering)
    moves = tuple((view.address, target) for view, target in wanted if _facts(view).master != _name(target))
    kept = [view for view in here.masters if _facts(view).key_count and any(view.address == server for server, _master in moves)]
    if kept and not wish.discard:
        cause = f"{join(view.address for view in kept)} is a master with keys of its own, which would be given up"
        raise MainstayError(doing, cause, "save what is wanted of them, and say so by discard=true")
    return Plan(follow=moves, master=master.address)


def _follows(here: Site, there: Site) -> bool:
    """Whether every server follows the other site, or one of its own that does."""
    followed = there.names | here.names
    return any(_facts(view).master in there.names for view in here.answering) and all(_facts(view).master in followed for view in here.answering)


def _head(here: Site, master: ServerView) -> ServerView:
    """Return the server that follows the other site's master: the one that does already, else the one that the others follow, else the first one."""
    known = [view for view in here.answering if _facts(view).master == _name(master.address)]
    followed = {_facts(view).master for view in here.answering}
    return next(iter([*known, *(view for view in here.answering if _name(view.address) in followed), *here.answering]))


def _source_master(there: Site, doing: str) -> ServerView:
    if not there.answering:
        raise MainstayError(doing, f"no server of the other site answers ({there.silence})", f"see that it runs and can be reached from here; {UNCHANGED}")
    if len(there.masters) == 1:
        return there.masters[0]
    cause = f"{join(view.address for view in there.masters) or 'none'} of the other site's servers say that they are masters, where one must be"
    raise MainstayError(doing, cause, f"wait until its failover has ended, and name all of its servers; {UNCHANGED}")


def plan_promotion(here: Site, there: Site, wish: Wish) -> Plan:
    """Make the server that is furthest ahead the master, and have the others follow it.

    Raises:
        MainstayError: no server can be promoted, or acknowledged writes could be lost without leave.
    """
    doing = DOING[PROMOTED]
    if len(here.masters) > 1:
        cause = f"{join(view.address for view in here.masters)} are masters already"
        raise MainstayError(doing, cause, "make one a replica of the other; see which has the data")
    writer = next(iter(there.masters), None)
    if here.masters:
        return _promoted(here.masters[0], here, writer, wish)
    target = _candidate(here, writer if wish.planned else None, doing)
    follow = tuple((view.address, target.address) for view in here.answering if view is not target)
    handed = [view for view in there.answering if _facts(view).master in here.names]
    if handed and writer is None:
        # An earlier run was cut off between the source's becoming a replica and the promotion: nobody can have written since.
        rest = max(0, max(_facts(view).offset for view in handed) - _facts(target).offset)
        _check_rest(rest, handed[0], wish)
        return Plan(promote=target.address, follow=follow, master=target.address, lost_bytes=rest)
    lost_bytes, lost_seconds = loss(target, writer)
    if wish.planned:
        held = _planned(target, there, wish, lost_bytes)
        return Plan(hold=held.address, promote=target.address, follow=follow, master=target.address)
    _check_fenced(writer, there, wish)
    _check_loss(lost_bytes, lost_seconds, wish)
    warnings = (f"{writer.address} still answers as a master; see that no client reaches it",) if writer is not None else ()
    return Plan(None, target.address, follow, target.address, lost_bytes, lost_seconds, warnings)


def _promoted(master: ServerView, here: Site, writer: ServerView | None, wish: Wish) -> Plan:
    if writer is not None and not wish.fenced:
        cause = f"{master.address} is a master already, and so is {writer.address} of the other site"
        raise MainstayError(DOING[PROMOTED], cause, "fence the other site, and say so by fenced=true")
    follow = tuple((view.address, master.address) for view in here.answering if view is not master and _facts(view).master != _name(master.address))
    return Plan(follow=follow, master=master.address)


def _candidate(here: Site, writer: ServerView | None, doing: str) -> ServerView:
    """Return the server to promote: the one that follows the writer whose writes will be held, so that the others need not change; else the furthest."""
    ready = [view for view in here.answering if not _facts(view).loading and not _facts(view).sync_in_progress]
    if not ready:
        raise MainstayError(doing, "every server that answers is being synchronised or loads its data, and has none to offer", "wait, then try again")
    follows = None if writer is None else _name(writer.address)
    return max(ready, key=lambda view: (follows is not None and view.is_linked and _facts(view).master == follows, _facts(view).offset))


def loss(target: ServerView, writer: ServerView | None) -> tuple[int | None, float | None]:
    """Return what the other site may have acknowledged and the target lacks: bytes, and the seconds since it was heard of the last time."""
    facts = _facts(target)
    size = max(0, _facts(writer).offset - facts.offset) if writer is not None else None
    ages = [age for age in (facts.link_age if facts.link_status == "up" else facts.link_down,) if age >= 0]
    return size, float(ages[0]) if ages else None


def _planned(target: ServerView, there: Site, wish: Wish, lag: int | None) -> ServerView:
    """Return the source's master, if it can take part."""
    doing = DOING[PROMOTED]
    master = _source_master(there, doing)
    facts = _facts(target)
    if facts.link_status != "up" or facts.replication_id != _facts(master).replication_id:
        cause = f"it is planned, and {target.address} has no link to the data of {master.address} (link {facts.link_status or 'none'})"
        raise MainstayError(doing, cause, f"wait until it follows; if the other site is lost, fence it and use fenced=true; {UNCHANGED}")
    if lag is None or lag > wish.max_lag_bytes:
        raise MainstayError(doing, f"{target.address} is {lag} bytes behind, more than {wish.max_lag_bytes}", f"wait, or raise max_lag_bytes; {UNCHANGED}")
    return master


def _check_fenced(writer: ServerView | None, there: Site, wish: Wish) -> None:
    if wish.fenced:
        return
    if writer is not None:
        next_step = "use planned=true, which loses nothing; or fence it first, and say so by fenced=true"
        raise MainstayError(DOING[PROMOTED], f"{writer.address} of the other site still takes writes", f"{next_step}; {UNCHANGED}")
    cause = f"the other site's master cannot be seen ({there.silence or 'none of its servers is one'}), and whoever does not answer may still take writes"
    raise MainstayError(DOING[PROMOTED], cause, f"fence it (stop it, or cut it off from its clients), and say so by fenced=true; {UNCHANGED}")


def _check_rest(rest: int, handed: ServerView, wish: Wish) -> None:
    if rest and not wish.fenced:
        cause = f"{handed.address} of the other site was made a replica by a run that was cut off, and has {rest} bytes more than this site"
        raise MainstayError(DOING[PROMOTED], cause, f"make it a master again (REPLICAOF NO ONE), or give them up by fenced=true; {UNCHANGED}")


def _check_loss(lost_bytes: int | None, lost_seconds: float | None, wish: Wish) -> None:
    for what, lost, limit in (("bytes", lost_bytes, wish.max_lost_bytes), ("seconds", lost_seconds, wish.max_lost_seconds)):
        if limit is None or (lost is not None and lost <= limit):
            continue
        known = f"up to {lost:g} {what} would be lost" if lost is not None else f"nobody knows how many {what} would be lost"
        raise MainstayError(DOING[PROMOTED], f"{known}, and max_lost_{what} is {limit:g}", f"raise max_lost_{what} to accept it; {UNCHANGED}")


def _facts(view: ServerView) -> ServerFacts:
    return t.cast(ServerFacts, view.facts)


def _name(address: Address) -> str:
    """Return an address as ``INFO`` has that of a master."""
    return f"{address.host}:{address.port}"
