# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promotion of a standby cluster: with the source's help, so that nothing is lost and it follows afterwards, or without it.

As planned, the source is told to take no new writes, then to be a standby cluster itself, which Patroni does by stopping its leader at once. What the leader
still has more in its log than this cluster is fetched from it. Only when both have the same does this cluster begin to take writes. Until then each step can
be taken back, and is if one fails; at no moment do both take writes. What is to be done is read from the two clusters alone, so that a run that was cut off
is finished by the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Client, Refused, Unreachable
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.config import NOTES
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.source import (
    HANDOVER,
    PROMOTED_FROM,
    TOOK_OVER_AT,
    Loss,
    Source,
    loss_of,
    see_source,
    source_client,
)
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import WORKING, Member, Patience, Phases, Problem, View, look

DOING = "promote the standby cluster"
READ_ONLY = "default_transaction_read_only"
POLL_SECONDS = 0.2
LOGS = "look at the logs of Patroni on the members"

Settings = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What has to be done, in order.

    Args:
        hold: hold the source's writes.
        turn: make the source a standby cluster.
        promote: let this cluster take writes.
        release: take the hold off the source.
    """

    hold: bool = False
    turn: bool = False
    promote: bool = False
    release: bool = False

    def actions(self, here: str, there: str) -> list[str]:
        """Return it in words."""
        words = {
            "hold": f"hold the writes of the source {there}",
            "turn": f"make the source {there} a standby cluster",
            "promote": f"promote the standby cluster {here}",
            "release": f"take the hold off the source {there}, which follows now",
        }
        return [words[field.name] for field in dataclasses.fields(self) if getattr(self, field.name)]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the module's options ask for."""

    planned: bool
    fenced: bool
    follow: Settings
    slots: tuple[str, ...]
    max_lost_bytes: int | None
    max_lost_seconds: float | None
    patience: Patience

    @classmethod
    def of(cls, params: Settings) -> Wish:
        """Build it from the module's parameters.

        Raises:
            InvalidInput: options that do not fit together.
        """
        if params["wait_timeout"] < 1 or params["max_lag_bytes"] < 0:
            raise InvalidInput(DOING, "wait_timeout must be at least 1, and max_lag_bytes not negative")
        if params["planned"] and params["fenced"]:
            raise InvalidInput(DOING, "planned and fenced are both true", "a source that is fenced cannot be asked for anything; leave one of them out")
        if params["planned"] and not (params["source"] and params["follow"]):
            raise InvalidInput(DOING, "a planned promotion needs source and follow", "say how the source is reached, and how it reaches this cluster")
        follow = {name: content for name, content in (params["follow"] or {}).items() if content is not None}
        if params["planned"] and not follow.get("host"):
            raise InvalidInput(DOING, "follow has no host", "name the servers of this cluster, with commas between them")
        slots = tuple(dict.fromkeys([*params["slots"], *filter(None, [follow.get("primary_slot_name")])]))
        patience = Patience(float(params["wait_timeout"]), params["max_lag_bytes"])
        return cls(params["planned"], params["fenced"], follow, slots, params["max_lost_bytes"], params["max_lost_seconds"], patience)


def plan(here: View, source: Source, wish: Wish, now: datetime.datetime) -> tuple[Plan, Loss]:
    """Return what has to be done and what is lost by it, or refuse.

    Args:
        here: the cluster that is to take writes.
        source: the one that it follows.
        wish: what is asked for.
        now: the time, with its zone.

    Raises:
        InvalidInput: the wish does not fit what is there.
        MainstayError: it would be unsafe, or cannot be done now.
    """
    there = source.view.scope if source.view else ""
    if source.view is not None:
        check_kinship(here, source.view)
    if not here.is_standby_cluster:
        if here.leader is None:
            raise MainstayError(DOING, f"{here.scope} is no standby cluster and has no leader", LOGS)
        if source.writer is not None:
            cause = f"both take writes: {here.leader.name} here and {source.writer.name} in the source"
            raise MainstayError(DOING, cause, "fence one of them at once, and make it follow the other")
        return Plan(release=source.held), Loss(0, 0.0)
    leader = fit_leader(here)
    if more := source.lacks(leader):
        cause = f"this cluster has {more} bytes of timeline {leader.timeline} that {there} lacks, so they have parted and it does not follow"
        if not wish.fenced:
            raise MainstayError(DOING, cause, "make it follow anew (playbooks/postgres_site_follow.yml)")
    loss = loss_of(leader, source, now)
    if wish.planned:
        check_planned(leader, source, loss, wish.patience.max_lag_bytes)
        return Plan(hold=not source.held and not source.follows, turn=not source.follows, promote=True, release=True), Loss(0, 0.0)
    if source.writer is not None and not wish.fenced:
        cause = f"{source.writer.name} in {there} answers and takes writes, and two writers would part the data"
        raise MainstayError(DOING, cause, "use planned=true, or fence it and say so by fenced=true")
    if source.view is None and not wish.fenced:
        cause = f"the source cannot be seen ({source.why}), and whoever does not answer may still take writes"
        raise MainstayError(DOING, cause, "fence it (stop it, or cut it off from its clients), and say so by fenced=true")
    if loss.size != 0 and not wish.fenced:
        cause = f"the source takes no writes, and has {'an unknown number of' if loss.size is None else loss.size} bytes of the log more than this cluster"
        raise MainstayError(DOING, cause, "use planned=true, which fetches them, or give them up by fenced=true")
    check_loss(loss, wish)
    return Plan(promote=True), loss


def check_kinship(here: View, there: View) -> None:
    """Refuse a source that is another cluster.

    Raises:
        InvalidInput: the system identifiers differ, or it is this cluster.
    """
    mine, other = ({member.system_identifier for member in view.members} - {""} for view in (here, there))
    if mine and other and mine != other:
        raise InvalidInput(DOING, "source holds data of another cluster (system identifiers differ)", "name the cluster that this one follows")
    if {member.endpoint for member in here.members} & {member.endpoint for member in there.members}:
        raise InvalidInput(DOING, "endpoints and source are the same cluster", "name the cluster that this one follows")


def fit_leader(here: View) -> Member:
    """Return the leader of a standby cluster that can be promoted.

    Raises:
        MainstayError: there is none.
    """
    leader = here.leader
    if here.paused:
        raise MainstayError(DOING, "the cluster is paused, and Patroni promotes nobody", "resume it first (patronictl resume)")
    if leader is None:
        raise MainstayError(DOING, "it has no leader", LOGS)
    if leader.unreachable or leader.state not in WORKING:
        raise MainstayError(DOING, f"its leader {leader.name} is not in order ({leader.unreachable or leader.state})", LOGS)
    return leader


def check_planned(here: Member, source: Source, loss: Loss, max_lag_bytes: int) -> None:
    """Refuse a planned promotion that the source cannot take part in, or for which its writes would be held long.

    Raises:
        MainstayError: it cannot.
    """
    if source.view is None:
        cause = f"it is planned, and the source cannot be seen ({source.why})"
        raise MainstayError(DOING, cause, "put that right; if the source is lost, fence it and use fenced=true")
    if source.view.paused:
        raise MainstayError(DOING, f"{source.view.scope} is paused", "resume it first (patronictl resume)")
    if source.view.leader is None or source.view.leader.unreachable:
        raise MainstayError(DOING, f"{source.view.scope} has no leader that answers", LOGS)
    if source.follows and not source.held:
        cause = f"{source.view.scope} follows another cluster itself, and not because of a promotion that was cut off"
        raise MainstayError(DOING, cause, "promote without planned, or begin with the cluster that takes writes")
    if source.held:
        return
    if not source.sends_to(here):
        cause = f"{source.view.leader.name} does not stream to {here.name}"
        raise MainstayError(DOING, cause, "see why in the logs of PostgreSQL on both, and wait until it does")
    if loss.size is not None and loss.size <= max_lag_bytes:
        return
    behind = "it is not known how far" if loss.size is None else f"{loss.size} bytes, more than {max_lag_bytes},"
    raise MainstayError(DOING, f"{behind} this cluster is behind", "wait until it has caught up; see that it streams from the source")


def check_loss(loss: Loss, wish: Wish) -> None:
    """Hold the loss against what is permitted.

    Raises:
        MainstayError: it is more, or nobody knows it.
    """
    for what, is_lost, limit in (("bytes", loss.size, wish.max_lost_bytes), ("seconds", loss.seconds, wish.max_lost_seconds)):
        if limit is None or (is_lost is not None and is_lost <= limit):
            continue
        known = f"up to {is_lost:g} {what} would be lost" if is_lost is not None else f"nobody knows how many {what} would be lost"
        raise MainstayError(DOING, f"{known}, and max_lost_{what} is {limit:g}", f"wait until more has arrived, or raise max_lost_{what}")


def takeover_time(now: float, *views: View | None) -> int:
    """Return the time to note for a promotion, in seconds since 1970: later than every one that is known, although a controller's clock may be behind."""
    known = [int((view.config.get(NOTES) or {}).get(TOOK_OVER_AT) or 0) for view in views if view]
    return max(int(now), *(moment + 1 for moment in known))


class Promotion:
    """Carries a plan out."""

    def __init__(self, client: Client, wish: Wish, phases: Phases) -> None:
        """Prepare; nothing is sent yet."""
        self._client, self._wish, self._phases = client, wish, phases
        self.held_at: float | None = None

    def patch(self, client: Client, view: View, settings: dict[str, t.Any], doing: str) -> None:
        """Change settings through a cluster's leader, which acts on them at once.

        Raises:
            MainstayError: they were not taken.
        """
        target = view.leader.api if view.leader else client.endpoints[0]
        answer = client.send(target, "PATCH", "/config", settings, self._wish.patience.seconds, doing)
        if answer.status != 200:
            raise Refused(doing, answer.words(), LOGS)

    def await_that(self, what: str, condition: t.Callable[[], t.Any]) -> t.Any:
        """Wait until something holds, and return it.

        Raises:
            MainstayError: it did not within the time.
        """
        deadline, last = time.monotonic() + self._wish.patience.seconds, ""
        while True:
            try:
                if found := condition():
                    return found
            except (Unreachable, Refused) as error:
                last = f" ({error.cause})"
            if time.monotonic() > deadline:
                raise MainstayError(DOING, f"{what} did not happen within {self._wish.patience.seconds:g} seconds{last}", LOGS)
            time.sleep(POLL_SECONDS)

    def prepare(self, source: Client, steps: Plan, here: View, there: View) -> None:
        """Bring the source to where it takes no writes and this cluster has all that it has; take everything back if that fails."""
        try:
            if steps.hold:
                self.hold(source, there)
            if steps.turn:
                with self._phases("catch up"):
                    self.await_that("the arrival of all that the source wrote", lambda: self._behind(source) <= 0)
                with self._phases("turn the source"):
                    self.patch(source, there, {"standby_cluster": dict(self._wish.follow)}, f"make {there.scope} a standby cluster")
            with self._phases("see the source take no writes"):
                former = self.await_that("the end of writes in the source", lambda: self._in_recovery(source))
            with self._phases("fetch the rest"):
                self.fetch_rest(source, former)
        except MainstayError:
            with contextlib.suppress(MainstayError):
                self.take_back(source, here, there)
            raise

    def hold(self, source: Client, there: View) -> None:
        """Have the source's transactions begin read-only; those that run may end."""
        self.held_at = time.monotonic()
        with self._phases("hold the writes"):
            self.patch(source, there, {**_parameter("on"), NOTES: {HANDOVER: True}}, f"hold the writes of {there.scope}")
            # Patroni acts on its settings at the end of a round.
            time.sleep(POLL_SECONDS)

    def _behind(self, source: Client) -> int:
        """Return how many bytes of the source's log are missing here."""
        there, here = look(source).leader, look(self._client).leader
        if there is None or here is None or there.position is None or here.position is None:
            return 1
        return there.position - here.position

    def _in_recovery(self, source: Client) -> Member | None:
        leader = look(source).leader
        return leader if leader is not None and leader.replayed is not None and leader.state in WORKING else None

    def fetch_rest(self, source: Client, former: Member) -> None:
        """Receive what the source's former leader has more, straight from it: as a standby itself, it serves whoever does not ask for a primary."""
        if self._behind(source) <= 0:
            return
        straight = {"host": former.host, "port": former.port, "primary_slot_name": None}
        self.patch(self._client, look(self._client), {"standby_cluster": straight}, f"fetch the rest from {former.name}")
        self.await_that(f"the arrival of the rest from {former.name}", lambda: self._behind(source) <= 0)

    def take_back(self, source: Client, here: View, there: View) -> None:
        """Let the source lead as before."""
        follows = {"host": None, "port": None, "primary_slot_name": None, **here.config["standby_cluster"]}
        self.patch(self._client, look(self._client), {"standby_cluster": follows}, f"have {here.scope} follow {there.scope} as before")
        self.release(source, {"standby_cluster": None}, {})

    def release(self, source: Client, settings: dict[str, t.Any], notes: dict[str, t.Any]) -> None:
        """Take the hold off the source, with further settings and notes."""
        self.patch(source, look(source), {**_parameter(None), NOTES: {HANDOVER: None, **notes}, **settings}, "release the writes of the source")

    def promote(self, here: View, there: View | None) -> View:
        """Let this cluster take writes, and wait until it does."""
        with self._phases("promote"):
            timeline = here.leader.timeline if here.leader else None
            notes = {PROMOTED_FROM: timeline, TOOK_OVER_AT: takeover_time(time.time(), here, there)}
            settings: dict[str, t.Any] = {"standby_cluster": None, NOTES: notes}
            if self._wish.slots:
                settings["slots"] = {name: {"type": "physical"} for name in self._wish.slots}
            self.patch(self._client, look(self._client), settings, f"promote {here.scope}")
            return self.await_that("the first write", self._writable)

    def _writable(self) -> View | None:
        view = look(self._client)
        leader = view.leader
        if leader is None or view.is_standby_cluster or self._client.get(leader.api, "/primary").status != 200:
            return None
        return view if leader.replayed is None and leader.position is not None else None

    def await_follower(self, source: Client, timeline: int) -> View:
        """Wait until the source follows."""
        with self._phases("see the source follow"):
            return self._wish.patience.wait(source, "see the source follow", lambda view: self._not_following(view, timeline))

    def _not_following(self, view: View, timeline: int) -> t.Iterator[Problem]:
        here = Source(look(self._client))
        if view.leader is not None and view.leader.timeline != timeline:
            yield Problem(f"{view.leader.name} is on timeline {view.leader.timeline}, not yet on {timeline}")
        elif not here.sends_to(view.leader):
            yield Problem("the new leader does not stream to the source")


def _parameter(content: str | None) -> dict[str, t.Any]:
    return {"postgresql": {"parameters": {READ_ONLY: content}}}


def run(client: Client, params: Settings, check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about what the module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    wish, phases, started, warnings = Wish.of(params), Phases(), time.monotonic(), []
    other = source_client(params)
    with phases("plan"):
        here, source = look(client), see_source(other)
        steps, loss = plan(here, source, wish, datetime.datetime.now(datetime.timezone.utc))
        if steps.promote and here.leader is not None:
            client.prove_login(here.leader.api)
        if other is not None and source.view is not None and (steps.turn or steps.release):
            other.prove_login(other.endpoints[0])
    if steps.promote and source.writer is not None and wish.fenced:
        warnings.append(f"{source.writer.name} of the source still answers and says that it takes writes; see that no client reaches it")
    work, view = Promotion(client, wish, phases), here
    unwritable = None
    if not check_mode:
        view, unwritable = carry_out(work, steps, here, source, other, warnings)
    return _result(here, view, source, steps, loss, {"unwritable": unwritable, "phases": phases.seconds, "started": started}), warnings


def carry_out(work: Promotion, steps: Plan, here: View, source: Source, other: Client | None, warnings: list[str]) -> tuple[View, float | None]:
    """Do what was planned; return the cluster as it is then, and the seconds from the hold to the first write that was possible.

    Raises:
        MainstayError: it could not be done.
    """
    view, unwritable = here, None
    planned = other is not None and source.view is not None and steps.release
    if planned and steps.promote:
        work.prepare(other, steps, here, source.view)
    if steps.promote:
        view = work.promote(here, source.view)
        unwritable = round(time.monotonic() - work.held_at, 3) if work.held_at is not None else None
    if planned:
        slot = (here.config.get("standby_cluster") or {}).get("primary_slot_name")
        try:
            # Nobody reads from that slot any more, and it would keep the log for ever.
            work.release(other, {"slots": {slot: None}} if slot else {}, {PROMOTED_FROM: None})
            work.await_follower(other, view.leader.timeline if view.leader and view.leader.timeline else 0)
        except MainstayError as error:
            warnings.append(f"{error}. {view.scope} takes writes; run it again, so that the source is seen to")
    return view, unwritable


def _result(before: View, after: View, source: Source, steps: Plan, loss: Loss, times: dict[str, t.Any]) -> dict[str, t.Any]:
    timeline = before.leader.timeline if before.leader and before.leader.timeline else 0
    now = after.leader.timeline if after.leader and after.leader.timeline else 0
    if steps.promote and after is before:
        now = timeline + 1
    there = source.view.scope if source.view else ""
    role = "follows another cluster" if before.is_standby_cluster else "takes writes"
    return {
        "changed": any(dataclasses.astuple(steps)),
        "actions": steps.actions(before.scope, there),
        "promoted": steps.promote,
        "leader": after.leader.name if after.leader else "",
        "timeline_before": timeline,
        "timeline_after": now,
        "lost_bytes": loss.size,
        "lost_seconds": loss.seconds,
        "source_reachable": source.view is not None,
        "unwritable_seconds": times["unwritable"],
        "phases": times["phases"],
        "seconds": round(time.monotonic() - times["started"], 3),
        "diff": {
            "before": f"{before.scope}: {role}\ntimeline: {timeline}\n",
            "after": f"{before.scope}: takes writes\ntimeline: {now}\n",
        },
    }
