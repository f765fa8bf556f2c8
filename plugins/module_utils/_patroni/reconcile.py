# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the dynamic configuration hold what is asked for, see that every member has acted on it, and restart those that need it."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni import config, restart
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import Answer, Client, Endpoint, Refused
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.secrecy import mask
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.topology import Patience, Phases, View, look

CONFLICT = 409
ATTEMPTS = 3
"""So often a change is planned anew when somebody else changed the configuration at the same moment."""

POLL_SECONDS = 0.3
UNKNOWN_REASON = "a parameter that PostgreSQL reads at its start (this release of Patroni does not say which)"


@dataclasses.dataclass
class Outcome:
    """What a run found and did."""

    before: t.Mapping[str, t.Any]
    changes: tuple[config.Change, ...] = ()
    steps: list[restart.Step] = dataclasses.field(default_factory=list)
    waiting: dict[str, str] = dataclasses.field(default_factory=dict)
    restarted: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the module's options ask for."""

    settings: t.Mapping[str, t.Any]
    purge_parameters: bool
    restart_pending: bool
    leader: str
    patience: Patience

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Wish:
        """Build it from the module's parameters.

        Raises:
            InvalidInput: an option that cannot be right.
        """
        settings = params["settings"]
        if params["wait_timeout"] < 1 or params["max_lag_bytes"] < 0:
            raise InvalidInput(config.DOING, "wait_timeout must be at least 1, and max_lag_bytes not negative")
        postgresql = settings.get("postgresql")
        if params["purge_parameters"] and not (isinstance(postgresql, dict) and isinstance(postgresql.get("parameters"), dict)):
            raise InvalidInput(config.DOING, "purge_parameters is given without settings.postgresql.parameters", "name the parameters that stay")
        patience = Patience(float(params["wait_timeout"]), params["max_lag_bytes"])
        return cls(settings, params["purge_parameters"], params["restart_pending"], params["leader"], patience)


def run(client: Client, params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about what the module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    wish, phases, started = Wish.of(params), Phases(), time.monotonic()
    with phases("plan"):
        view = look(client)
        outcome = plan(view, wish)
        if outcome.steps:
            restart.preflight(client, outcome.steps, wish.patience)
        elif outcome.changes:
            client.prove_login(client.endpoints[0])
    if not check_mode:
        view = apply(client, view, wish, outcome, phases)
    return _result(view, outcome, phases, time.monotonic() - started), outcome.warnings


def plan(view: View, wish: Wish) -> Outcome:
    """Say what has to change, who will wait for a restart, and which restarts there will be.

    Raises:
        InvalidInput: a wish that cannot be right.
    """
    wanted = config.wanted_from(wish.settings, (member.version for member in view.members))
    outcome = Outcome(view.config, config.differences(view.config, wanted, wish.purge_parameters))
    config.check_timing(config.applied(view.config, outcome.changes), wanted)
    names = config.start_parameters(outcome.changes)
    outcome.waiting = _waiting(view, names)
    if names:
        outcome.waiting |= {member.name: outcome.waiting.get(member.name) or ", ".join(names) for member in view.members}
    if wish.restart_pending:
        outcome.steps = restart.order(view, outcome.waiting, wish.leader, _needs(view, outcome))
        outcome.restarted = list(dict.fromkeys(step.member for step in outcome.steps if not step.hands_over))
        outcome.waiting = {name: reason for name, reason in outcome.waiting.items() if name not in outcome.restarted}
    return outcome


def _needs(view: View, outcome: Outcome) -> config.Needs:
    return config.needs_of(outcome.changes, (member.pending_reason for member in view.members))


def _waiting(view: View, names: t.Sequence[str]) -> dict[str, str]:
    """Return the members that wait for a restart, each with the reason."""
    found = {}
    for member in view.members:
        if member.pending_restart:
            said = [f"{name}: {mask(values.get('old_value'), name)} -> {mask(values.get('new_value'), name)}" for name, values in member.pending_reason.items()]
            found[member.name] = ", ".join(said or names) or UNKNOWN_REASON
    return found


def apply(client: Client, view: View, wish: Wish, outcome: Outcome, phases: Phases) -> View:
    """Do what was planned, and fill in what came of it.

    Raises:
        MainstayError: it could not be done.
    """
    if outcome.changes:
        with phases("change the settings"):
            view = change(client, view, wish, outcome)
        if any(change.path[0] == "postgresql" for change in outcome.changes):
            with phases("see every member act on them"):
                await_acted(client, view, max(view.loop_wait(), int(outcome.before.get("loop_wait", 10))), wish.patience.seconds)
                view = look(client)
    names = config.start_parameters(outcome.changes)
    if wish.restart_pending:
        view = _restart(client, view, wish, outcome, phases)
    outcome.waiting = _waiting(view, names)
    if wish.restart_pending and wish.leader != "leave" and outcome.waiting:
        names_left = ", ".join(outcome.waiting)
        outcome.warnings.append(f"These members still wait for a restart: {names_left}; if there is to be less of a parameter, use leader=restart")
    return view


def _restart(client: Client, view: View, wish: Wish, outcome: Outcome, phases: Phases) -> View:
    """Restart the members that really wait for it."""
    leader = view.leader.name if view.leader else ""
    outcome.steps = restart.order(view, _waiting(view, ()), wish.leader, _needs(view, outcome))
    outcome.restarted = []
    if not outcome.steps:
        return view
    # Again, since a parameter of an extension may wait that no plan knew of.
    restart.preflight(client, outcome.steps, wish.patience)
    done = restart.carry_out(client, outcome.steps, wish.patience, phases)
    view = look(client)
    if leader in done:
        # Without a reason from Patroni nobody knew that there was to be less of something, which standbys take over after their leader alone.
        again = restart.order(view, _waiting(view, ()), "leave", config.Needs())
        outcome.steps += again
        done += restart.carry_out(client, again, wish.patience, phases)
        view = look(client) if again else view
    outcome.restarted = list(dict.fromkeys(done))
    return view


def change(client: Client, view: View, wish: Wish, outcome: Outcome) -> View:
    """Send the changes, planned anew if somebody else was faster, and read them back.

    Raises:
        Refused: Patroni did not take them, or they are not there afterwards.
    """
    doing = "change the dynamic configuration"
    for attempt in range(ATTEMPTS):
        if attempt:
            view = look(client)
            fresh = plan(view, wish)
            outcome.before, outcome.changes = fresh.before, fresh.changes
            if not outcome.changes:
                return view
        answer = client.send(client.endpoints[0], "PATCH", "/config", config.patch_of(outcome.changes), wish.patience.seconds, doing)
        if answer.status != CONFLICT:
            break
    if answer.status != 200:
        raise Refused(doing, f"it answered {answer.status}", "look at the log of Patroni on the member that was asked")
    view = look(client)
    left = plan(view, wish).changes
    if left:
        raise Refused(doing, f"it was accepted, but afterwards there was left to do: {'; '.join(map(str, left))}", "see who else changes it")
    return view


def await_acted(client: Client, view: View, loop_wait: int, seconds: float) -> None:
    """Wait until each member that answers has acted on a change of the settings.

    A member reads them at the start of a round and has acted on them at its end, so that it has when it began a round more than ``loop_wait`` seconds later.

    Raises:
        MainstayError: a member did not within the time.
    """
    places = {member.name: member.api for member in view.members if not member.unreachable}
    marks = _last_seen(client, places)
    deadline = time.monotonic() + seconds
    while True:
        now = _last_seen(client, {name: places[name] for name in marks})
        late = [name for name, mark in marks.items() if now.get(name, 0) <= mark + loop_wait]
        if not late:
            return
        if time.monotonic() > deadline:
            cause = f"within {seconds:g} seconds there was no new round of Patroni on {', '.join(late)}"
            raise MainstayError("see every member act on the settings", cause, "look at the logs of Patroni there")
        time.sleep(POLL_SECONDS)


def _last_seen(client: Client, places: t.Mapping[str, Endpoint]) -> dict[str, int]:
    """Return when each member read the store last, by its own clock. ``/cluster`` would make it read it."""
    answers = zip(places, client.get_all([(place, "/patroni") for place in places.values()]))
    return {name: answer.document().get("dcs_last_seen", 0) for name, answer in answers if isinstance(answer, Answer)}


def _result(view: View, outcome: Outcome, phases: Phases, seconds: float) -> dict[str, t.Any]:
    before = mask(dict(outcome.before))
    after = config.applied(before, (_visible(change) for change in outcome.changes))
    return {
        "changed": bool(outcome.changes or outcome.steps),
        "actions": [*map(str, outcome.changes), *map(str, outcome.steps)],
        "config": mask(config.applied(outcome.before, outcome.changes)),
        "pending_restart": [{"name": name, "reason": reason} for name, reason in sorted(outcome.waiting.items())],
        "restarted": outcome.restarted,
        "leader": view.leader.name if view.leader else "",
        "phases": phases.seconds,
        "seconds": round(seconds, 3),
        "diff": {"before": before, "after": after},
    }


def _visible(change: config.Change) -> config.Change:
    """Return a change without secrets that still shows that there is one."""
    before, after = mask(change.before, change.path[-1]), mask(change.after, change.path[-1])
    return dataclasses.replace(change, before=before, after=f"{after} (another one)" if before == after and after is not None else after)
