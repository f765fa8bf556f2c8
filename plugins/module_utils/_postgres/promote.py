# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promote a standby where no consensus decides: whether that is safe, what is lost by it, and the way of the other standbys to the new primary.

Nobody here can know that a primary which does not answer is gone. So a person has to say that it is fenced, and whatever speaks against that refuses.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import connect, execute, rows, silence, sql, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.replication import (
    Access,
    Member,
    Seen,
    State,
    View,
    access_from,
    look,
    look_at,
    lsn,
    moment,
    parse_lsn,
    read_state,
)
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

DOING = "promote a standby"
UNCHANGED = "nothing was changed"
HEARD_SECONDS = 5.0
"""A standby that got a message from its primary so recently hears from one that lives. A primary whose host lost its power is silent for longer soon."""
POLL_SECONDS = 0.1
FOLLOW_POLL_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        target: name of the standby; empty for the one that has most of the log.
        fenced: name of the old primary, if it is declared to be fenced.
        allow_loss: bytes of the log that may be lost, of those that are known.
        accept_unknown_loss: whether more may be lost than is known.
        primary_lsn: the last position of the old primary's log that the user knows.
        repoint: whether the other standbys are told their new primary.
        conninfo: what they are told, with ``{host}``, ``{port}`` and ``{name}``; empty keeps theirs but for host and port.
    """

    target: str = ""
    fenced: str = ""
    allow_loss: int = 0
    accept_unknown_loss: bool = False
    primary_lsn: int | None = None
    repoint: bool = True
    conninfo: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Repoint:
    """A standby that is told its new primary; ``before`` says whom it followed."""

    name: str
    before: str
    conninfo: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        target: the member that is to be the primary, or is it already.
        promotes: whether it has to be promoted.
        old: name of the primary before; empty if it is not known.
        end: the furthest position of the old log that anybody tells of.
        loss_known: whether nothing can be lost beyond that.
        slots: replication slots that the target needs for the others.
        repoints: standbys that are told their new primary.
        to_rejoin: names of members that cannot follow the target as they are.
        warnings: what the user should know.
    """

    target: Seen
    promotes: bool
    old: str
    end: int = 0
    loss_known: bool = True
    slots: tuple[str, ...] = ()
    repoints: tuple[Repoint, ...] = ()
    to_rejoin: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """The target's state before."""
        return t.cast(State, self.target.state)

    @property
    def checkpoints(self) -> bool:
        """Whether a checkpoint is written after the promotion, so that the new timeline is in pg_control, from which pg_rewind reads it."""
        return self.promotes and self.state.rights.checkpoint

    @property
    def actions(self) -> list[str]:
        """What it does, in words and in order."""
        name = self.target.name
        slots = [f"make the replication slot {slot} on {name}" for slot in self.slots]
        promotion = [f"promote {name}"] if self.promotes else []
        checkpoint = [f"write a checkpoint on {name}"] if self.checkpoints else []
        return [*slots, *promotion, *checkpoint, *(f"have {repoint.name} follow {name}" for repoint in self.repoints)]

    def lost_bytes(self, position: int) -> int:
        """Return how much of the old log is lost, as far as is known, if the new timeline begins at a position."""
        return max(0, self.end - position) if self.promotes else 0

    def lost_seconds(self, position: int, last_commit: float | None) -> float | None:
        """Return the most seconds of commits that can be lost: from the last one that the target has to the moment that it was looked at."""
        if self.loss_known and not self.lost_bytes(position):
            return 0.0
        return None if last_commit is None else round(max(0.0, self.state.clock - last_commit), 3)


def plan_promotion(view: View, wish: Wish) -> Plan:
    """Judge what was seen, and choose the target.

    Raises:
        InvalidInput: it is not safe, or not allowed to lose so much; nothing was changed.
    """
    for option, name in (("target", wish.target), ("fenced_member", wish.fenced)):
        if name and view.find(name) is None:
            raise InvalidInput(DOING, f"{option} is {name}, members has {', '.join(each.name for each in view.seen)}", UNCHANGED)
    if wish.target and wish.target == wish.fenced:
        raise InvalidInput(DOING, f"target and fenced_member are both {wish.target}", UNCHANGED)
    _require_one_cluster(view)
    if len(view.primaries) > 1:
        said = " and ".join(f"{each.name} (timeline {each.state.timeline})" for each in view.primaries if each.state)
        raise InvalidInput(DOING, f"{said} take writes at the same time", f"stop the one that clients should not use, and rejoin it; {UNCHANGED}")
    if view.primary is not None:
        return _plan_followers(view, wish, _settled(view.primary, wish))
    _require_fence(view, wish)
    target = _named(view, wish.target) if wish.target else choose(view)
    return _plan_followers(view, wish, _weigh(view, wish, target))


def _require_one_cluster(view: View) -> None:
    systems = view.systems()
    if not systems:
        causes = "; ".join(f"{each.name}: {each.error}" for each in view.silent)
        raise InvalidInput(DOING, f"no member answers ({causes})", f"start one, or check login_user, login_password and pg_hba.conf; {UNCHANGED}")
    if len(systems) > 1:
        said = ", ".join(f"{' and '.join(names)} to {identifier}" for identifier, names in systems.items())
        raise InvalidInput(DOING, f"the members belong to different clusters: {said}", f"name those of one; {UNCHANGED}")


def _settled(primary: Seen, wish: Wish) -> Plan:
    """Return the plan where a member takes writes: there is nothing to promote, or something is wrong with the wish."""
    stop = f"stop it and keep it stopped (systemctl mask), see that {wish.target or 'a standby'} has all of its log, and run this with fenced_member"
    if wish.fenced == primary.name:
        raise InvalidInput(DOING, f"{primary.name} is declared to be fenced, and it answers and takes writes", f"{stop}; {UNCHANGED}")
    if wish.target and wish.target != primary.name:
        cause = f"{primary.name} answers and takes writes: that is a switchover and no promotion"
        raise InvalidInput(f"promote {wish.target}", cause, f"{stop}; {UNCHANGED}")
    warned = () if wish.target or wish.fenced else (f"{primary.name} answers and takes writes, so nobody was promoted",)
    return Plan(primary, False, primary.name, warnings=warned)


def _require_fence(view: View, wish: Wish) -> None:
    """Refuse unless the old primary is accounted for, and nothing speaks against that."""
    silent = [each.name for each in view.silent]
    answering = [each.name for each in view.standbys]
    followed = sorted({name for each in view.standbys for name in each.upstream if name in silent})
    for each in view.standbys:
        heard = each.state.receiver.heard_seconds if each.state and each.state.streams and each.state.receiver else None
        if heard is not None and heard < HEARD_SECONDS and each.sender not in answering:
            cause = f"{each.name} got a message from the old primary {heard:.1f} seconds ago, so that one lives"
            raise InvalidInput(DOING, cause, f"fence it, wait {HEARD_SECONDS:g} seconds, and try again; {UNCHANGED}")
    if wish.fenced and wish.fenced not in silent:
        cause = f"{wish.fenced} is declared to be fenced, and it answers as a standby"
        raise InvalidInput(DOING, cause, f"name the old primary in fenced_member, or nobody if it is among the standbys; {UNCHANGED}")
    if wish.fenced and followed and wish.fenced not in followed:
        cause = f"{wish.fenced} is declared to be fenced, but the standbys follow {' and '.join(followed)}"
        raise InvalidInput(DOING, cause, f"fence that one, and name it in fenced_member; {UNCHANGED}")
    if silent and not wish.fenced:
        suspect = " and ".join(followed or silent)
        cause = f"{suspect} does not answer, and may still take writes where nobody here sees it"
        raise InvalidInput(DOING, cause, f"cut it off (power, network, or systemctl mask), and say so by fenced_member: {(followed or silent)[0]}; {UNCHANGED}")
    strangers = sorted({address for each in view.standbys for address in each.strangers})
    if strangers and not wish.fenced:
        cause = f"the standbys follow {' and '.join(strangers)}, which is no member"
        raise InvalidInput(DOING, cause, f"put the old primary into members, by the host that the standbys know it by, and see that it is fenced; {UNCHANGED}")


def unfit(view: View, seen: Seen) -> str:
    """Return why a standby cannot be promoted; empty if it can."""
    state = seen.state
    if state is None:
        return f"it does not answer ({seen.error})"
    if not state.rights.see_log:
        return "the login may not see its log, and so not its timeline (GRANT pg_monitor)"
    newest = max(each.state.timeline for each in view.standbys if each.state)
    if state.timeline < newest:
        return f"it is on timeline {state.timeline}, and there is a standby on {newest}"
    if state.paused:
        return "it has paused replaying (SELECT pg_wal_replay_resume() lets it go on)"
    if not state.rights.promote:
        return "the login may not promote it (GRANT EXECUTE ON FUNCTION pg_promote)"
    return ""


def choose(view: View) -> Seen:
    """Return the standby that has received most of the log, of those on the newest timeline.

    Raises:
        InvalidInput: none can be promoted, or it is not plain which one has more.
    """
    fit = [each for each in view.standbys if not unfit(view, each)]
    if not fit:
        said = "; ".join(f"{each.name}: {unfit(view, each)}" for each in view.standbys)
        raise InvalidInput(DOING, said or "there is no standby", UNCHANGED)
    best = max(fit, key=lambda each: each.state.received if each.state else 0)
    mine = t.cast(State, best.state)
    for each in view.standbys:
        if each.state and each.state.timeline < mine.timeline and each.state.received > mine.received:
            cause = f"{best.name} is on timeline {mine.timeline} at {lsn(mine.received)}, {each.name} on {each.state.timeline} at {lsn(each.state.received)}"
            raise InvalidInput(DOING, f"their histories have parted: {cause}", f"look which one has the data, and name it in target; {UNCHANGED}")
    return best


def _named(view: View, name: str) -> Seen:
    target = t.cast(Seen, view.find(name))
    if reason := unfit(view, target):
        raise InvalidInput(f"promote {name}", reason, UNCHANGED)
    return target


def _weigh(view: View, wish: Wish, target: Seen) -> Plan:
    """Return the plan, unless more would be lost than is allowed."""
    state, doing = t.cast(State, target.state), f"promote {target.name}"
    others = [each for each in view.standbys if each is not target and each.state and each.state.timeline == state.timeline]
    ahead = [each for each in others if each.state and each.state.received > state.received]
    end = max([state.received, wish.primary_lsn or 0, *(each.state.received for each in others if each.state)])
    known = not wish.accept_unknown_loss and (wish.primary_lsn is not None or not view.silent)
    rejoin = (*(each.name for each in ahead), *((wish.fenced,) if wish.fenced else ()))
    warnings = [f"{each.name} has {each.state.received - state.received} bytes more and has to be rewound" for each in ahead if each.state]
    warnings += [f"{each.name} does not answer ({each.error}); it may have more of the log" for each in view.silent if each.name != wish.fenced]
    warnings += [
        f"{each.name} takes itself for connected to the old primary, of which it heard {each.state.receiver.heard_seconds:.0f} seconds ago"
        for each in view.standbys
        if each.state and each.state.streams and each.state.receiver and each.state.receiver.heard_seconds is not None and each.sender == wish.fenced
    ]
    if not state.rights.checkpoint:
        warnings.append(f"the login may not write a checkpoint on {target.name}; wait for its own before pg_rewind")
    old = wish.fenced or (target.upstream[0] if len(target.upstream) == 1 else "")
    plan = Plan(target, True, old, end, known, to_rejoin=rejoin, warnings=tuple(warnings))
    lost, seconds = plan.lost_bytes(state.received), plan.lost_seconds(state.received, state.last_commit)
    if lost > wish.allow_loss:
        source = " and ".join(each.name for each in ahead) or f"{old or 'the old primary'} (primary_lsn)"
        cause = f"it lacks {lost} bytes of the log that {source} has, {wish.allow_loss} may be lost"
        raise InvalidInput(doing, cause, f"promote the one that has most, or allow it by allow_loss: {lost}; {UNCHANGED}")
    if not known and not wish.accept_unknown_loss:
        since = f"the commits of the last {seconds:.0f} seconds at most" if seconds is not None else "an unknown time"
        cause = f"nobody knows how much {wish.fenced or 'the old primary'} wrote after {lsn(end)}, which {target.name} has: {since}"
        next_step = "give its last position by primary_lsn (from pg_controldata on its host), or accept the loss by accept_unknown_loss: true"
        raise InvalidInput(doing, cause, f"{next_step}; {UNCHANGED}", lost_bytes=lost, lost_seconds=seconds, candidates=candidates(view, end))
    return plan


def _plan_followers(view: View, wish: Wish, plan: Plan) -> Plan:
    """Add what the other standbys need."""
    if not wish.repoint:
        return plan
    repoints, slots, warnings = list[Repoint](), list[str](), list[str]()
    present = {slot.name for slot in plan.state.slots}
    standbys = {each.name for each in view.standbys} | {plan.target.name}
    for each in view.standbys:
        if each is plan.target or set(each.upstream) & standbys:  # one that follows a standby goes with it
            continue
        state = t.cast(State, each.state)
        if reason := _cannot_repoint(state, wish):
            warnings.append(f"{each.name} could not be told to follow {plan.target.name}: {reason}")
            continue
        conninfo = repointed(state.conninfo or "", wish.conninfo, plan.target.member, each.name)
        repoints.append(Repoint(each.name, " or ".join((*each.upstream, *each.strangers)) or "nobody", conninfo))
        warnings += _warnings_of(each.name, state, conninfo)
        slot = state.settings.get("primary_slot_name", "")
        if slot and slot not in present and plan.state.rights.make_slots:
            slots.append(slot)
        elif slot and slot not in present:
            warnings.append(f"{each.name} needs the replication slot {slot}, which the login may not make on {plan.target.name}")
    return dataclasses.replace(plan, repoints=tuple(repoints), slots=tuple(slots), warnings=(*plan.warnings, *warnings))


def _cannot_repoint(state: State, wish: Wish) -> str:
    if state.conninfo is None:
        return "the login may not see its primary_conninfo (GRANT pg_read_all_settings)"
    if not state.rights.repoint:
        return "the login may not change its primary_conninfo"
    if not (state.conninfo or wish.conninfo):
        return "it has no primary_conninfo, and none is given"
    return ""


def _warnings_of(name: str, state: State, conninfo: str) -> t.Iterator[str]:
    from psycopg2.extensions import parse_dsn

    if state.settings.get("recovery_target_timeline") != "latest":
        yield f"{name} follows no new timeline before recovery_target_timeline is latest and it was restarted"
    if "password" in parse_dsn(conninfo):
        yield f"the primary_conninfo of {name} has a password, which PostgreSQL writes into its own log when it changes; a passfile is better"


def repointed(conninfo: str, template: str, target: Member, name: str) -> str:
    """Return the connection string by which a standby reaches a new primary.

    Args:
        conninfo: the one that it has.
        template: the one that it should have, with ``{host}``, ``{port}`` and ``{name}`` (the standby's own); empty keeps ``conninfo`` but for the address.
        target: the new primary.
        name: the standby.

    Raises:
        InvalidInput: the template makes no connection string.
    """
    import psycopg2
    from psycopg2.extensions import make_dsn, parse_dsn

    if not template:
        kept = {key: text for key, text in parse_dsn(conninfo).items() if key != "hostaddr"}
        return str(make_dsn(**{**kept, "host": target.host, "port": target.port}))
    filled = template.replace("{host}", target.host).replace("{port}", str(target.port)).replace("{name}", name)
    try:
        parse_dsn(filled)
    except psycopg2.Error:
        raise InvalidInput(DOING, "primary_conninfo is no connection string", f"write it as host={{host}} port={{port}} user=...; {UNCHANGED}") from None
    return filled


def candidates(view: View, end: int) -> list[dict[str, t.Any]]:
    """Return the standbys as they were weighed, the best first; ``end`` is the furthest position that is known."""
    found = [
        {
            "name": each.name,
            "timeline": each.state.timeline,
            "received_lsn": lsn(each.state.received),
            "replayed_lsn": lsn(each.state.replayed),
            "last_commit": moment(each.state.last_commit),
            "behind_bytes": max(0, end - each.state.received),
            "problem": unfit(view, each),
        }
        for each in view.standbys
        if each.state
    ]
    return sorted(found, key=lambda each: (-each["timeline"], each["behind_bytes"], each["name"]))


@dataclasses.dataclass
class Outcome:
    """What a run did, in the making; as it would be, until then.

    Attributes:
        timeline: of the new primary.
        position: where its timeline begins; 0 if it was restarted since, and that is not known any more.
        last_commit: time of the last commit that it has of the old one.
        following: names of the standbys that stream from it.
        to_rejoin: names of members that cannot follow it as they are.
    """

    timeline: int
    position: int
    last_commit: float | None
    following: list[str]
    to_rejoin: list[str]
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)


class _Promotion:
    """One promotion on its way. What is raised says whether the target was promoted."""

    def __init__(self, access: Access, plan: Plan, outcome: Outcome, wait_timeout: float) -> None:
        self._access, self._plan, self._outcome, self._wait_timeout = access, plan, outcome, wait_timeout
        self._target, self._login = plan.target.name, access.at(plan.target.member)

    def run(self, others: t.Sequence[str]) -> None:
        """Do it all; ``others`` are the names of the standbys that should follow."""
        phases = self._outcome.phases
        self._make_slots()
        if self._plan.promotes:
            with timed(phases, "promote"), current().phase(f"promote {self._target}"):
                self._promote()
        if self._plan.checkpoints:
            with timed(phases, "checkpoint"), current().phase(f"write a checkpoint on {self._target}"), connect(self._login) as connection:
                execute(connection, "CHECKPOINT")
        with timed(phases, "follow"), current().phase(f"wait until the standbys follow {self._target}"):
            for repoint in self._plan.repoints:
                self._repoint(repoint)
            self._await_followers(others)

    def _make_slots(self) -> None:
        """Make the slots before the promotion, so that they keep all that the others can lack."""
        for slot in self._plan.slots:
            try:
                with connect(self._login) as connection:
                    rows(connection, "SELECT pg_create_physical_replication_slot(%s, true)", [slot])
            except MainstayError as error:
                self._outcome.warnings.append(f"the replication slot {slot} could not be made: {error.cause}")

    def _promote(self) -> None:
        doing, before = f"promote {self._target}", self._plan.state.timeline
        try:
            with connect(self._login) as connection:
                self._end_recovery(connection)
                value(connection, "SELECT txid_current()")  # fails unless it takes writes
                state = read_state(connection)
        except MainstayError as error:
            next_step = "it was told, and may become the primary yet: leave the old one fenced, look at the log, and run this again"
            raise MainstayError(doing, error.cause, next_step, changed=True) from error
        if state.timeline <= before:
            raise MainstayError(doing, f"it takes writes, but its timeline is {state.timeline} after {before}", "look at its log", changed=True)
        if state.timeline > before + 1:
            self._outcome.warnings.append(f"the timeline went from {before} to {state.timeline}: another server was promoted too, look for it")
        if state.settings.get("default_transaction_read_only") == "on":
            self._outcome.warnings.append(f"default_transaction_read_only is on at {self._target}, so that its clients cannot write")
        self._outcome.timeline, self._outcome.last_commit = state.timeline, state.last_commit
        self._outcome.position = self._outcome.position if state.replayed is None else state.replayed

    def _end_recovery(self, connection: t.Any) -> None:
        deadline = time.monotonic() + self._wait_timeout
        value(connection, "SELECT pg_promote(false)")
        while value(connection, "SELECT pg_is_in_recovery()"):
            if time.monotonic() > deadline:
                raise MainstayError(f"promote {self._target}", f"it is still in recovery after {self._wait_timeout:g} seconds")
            time.sleep(POLL_SECONDS)

    def _repoint(self, repoint: Repoint) -> None:
        try:
            with connect(self._access.at(self._access.find(repoint.name))) as connection:
                silence(connection)
                execute(connection, sql.SQL("ALTER SYSTEM SET primary_conninfo = {}").format(sql.Literal(repoint.conninfo)))
                value(connection, "SELECT pg_reload_conf()")
        except MainstayError as error:
            self._outcome.warnings.append(f"{repoint.name} could not be told to follow {self._target}: {error.cause}")

    def _await_followers(self, others: t.Sequence[str]) -> None:
        """Wait until the others stream from the new timeline; say of those that do not why, as far as that is plain."""
        deadline, late = time.monotonic() + self._wait_timeout, list(others)
        while late:
            seen = {name: look_at(self._access, self._access.find(name)) for name in late}
            self._outcome.following += [name for name in late if self._follows(seen[name])]
            parted = [name for name in late if self._has_parted(seen[name])]
            self._outcome.to_rejoin += [name for name in parted if name not in self._outcome.to_rejoin]
            late = [name for name in late if name not in (*self._outcome.following, *parted)]
            if late and time.monotonic() > deadline:
                words = [f"{name} ({seen[name].error or 'it does not stream, see its log'})" for name in late]
                self._outcome.warnings.append(f"after {self._wait_timeout:g} seconds these do not follow {self._target}: {', '.join(words)}")
                break
            time.sleep(FOLLOW_POLL_SECONDS if late else 0)
        for name in [name for name in self._outcome.to_rejoin if name in others]:
            self._outcome.warnings.append(f"{name} has applied what {self._target} does not have, and needs pg_rewind or a new base backup")

    def _follows(self, seen: Seen) -> bool:
        """Tell whether a standby has something of the new timeline; its receiver says that it streams before the new primary has let it in."""
        state, outcome = seen.state, self._outcome
        return state is not None and bool(state.streams) and state.timeline >= outcome.timeline and state.received > outcome.position

    def _has_parted(self, seen: Seen) -> bool:
        """Tell whether a standby has applied more of the old timeline than the new one has of it, so that it never follows by itself."""
        state = seen.state
        return state is not None and state.timeline < self._outcome.timeline and (state.replayed or 0) > self._outcome.position > 0


def _expected(view: View, plan: Plan) -> list[str]:
    """Return the standbys that should follow in the end: those that are told, and those that receive from the target or from one that does."""
    told = {repoint.name for repoint in plan.repoints}
    answering = {each.name for each in view.standbys} | {plan.target.name}
    return [each.name for each in view.standbys if each is not plan.target and (each.name in told or set(each.upstream) & answering)]


def _wish_from(params: t.Mapping[str, t.Any]) -> Wish:
    """Read a module's options.

    Raises:
        InvalidInput: one cannot be right.
    """
    for name, least in (("allow_loss", 0), ("wait_timeout", 1)):
        if params[name] < least:
            raise InvalidInput(DOING, f"{name} is {params[name]}, it must be at least {least}")
    return Wish(
        target=params["target"],
        fenced=params["fenced_member"],
        allow_loss=params["allow_loss"],
        accept_unknown_loss=params["accept_unknown_loss"],
        primary_lsn=parse_lsn(params["primary_lsn"], DOING) if params["primary_lsn"] else None,
        repoint=params["repoint"],
        conninfo=params["primary_conninfo"] or "",
    )


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about what a module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done; the message says whether anything was changed.
    """
    started, phases = time.monotonic(), dict[str, float]()
    wish, access = _wish_from(params), access_from(params)
    with timed(phases, "plan"):
        view = look(access)
        plan = plan_promotion(view, wish)
    state, others = plan.state, _expected(view, plan)
    position = state.received if plan.promotes else state.replayed or 0
    timeline = state.timeline + 1 if plan.promotes else state.timeline
    following = [name for name in others if name not in plan.to_rejoin]
    outcome = Outcome(timeline, position, state.last_commit, following, list(plan.to_rejoin), phases, list(plan.warnings))
    if not check_mode:
        outcome.following = []
        _Promotion(access, plan, outcome, params["wait_timeout"]).run(others)
    return _result(view, plan, outcome, time.monotonic() - started), outcome.warnings


def _result(view: View, plan: Plan, outcome: Outcome, seconds: float) -> dict[str, t.Any]:
    before = [f"primary: {plan.old or 'unknown'}", f"timeline: {plan.state.timeline}", *(f"{each.name} follows: {each.before}" for each in plan.repoints)]
    grown = plan.state.timeline + 1 if plan.promotes else plan.state.timeline
    after = [f"primary: {plan.target.name}", f"timeline: {grown}", *(f"{each.name} follows: {plan.target.name}" for each in plan.repoints)]
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "promoted": plan.target.name if plan.promotes else "",
        "primary": plan.target.name,
        "old_primary": plan.old,
        "timeline_before": plan.state.timeline,
        "timeline_after": outcome.timeline,
        "lsn": lsn(outcome.position or None),
        "lost_bytes": plan.lost_bytes(outcome.position),
        "lost_seconds": plan.lost_seconds(outcome.position, outcome.last_commit) if plan.promotes else 0.0,
        "loss_known": plan.loss_known,
        "candidates": candidates(view, plan.end),
        "following": sorted(outcome.following),
        "to_rejoin": sorted(outcome.to_rejoin),
        "phases": outcome.phases,
        "seconds": round(seconds, 3),
        "diff": {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)},
    }
