# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green between two services: read what is there, refuse what cannot be done, plan, and have the moves made."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_gates import Gates
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_moves import Cloud, Move, Mover, Site
from ansible_collections.mainstay.ops.plugins.module_utils._aws.definitions import Definitions, Wanted
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import Actions
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import LostLock
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Interrupted

LEFT = 1.0
"""The last sign of life (Unix time) of a run that says that it does not go on."""

FAILED, PAUSED, FINISHED, UNCHANGED, PLANNED = "failed", "paused", "finished", "unchanged", "planned"


@dataclasses.dataclass(frozen=True)
class World:
    """What is there.

    Attributes:
        services: the services that exist, by colour.
        rules: the actions of the production and the test rule, by ARN.
        record: what another run has left.
    """

    services: t.Mapping[str, dict[str, t.Any]]
    rules: t.Mapping[str, Actions]
    record: plans.Record | None

    @property
    def text(self) -> str:
        """In a form that is the same while nothing that a plan depends on has changed."""
        services = {colour: (row["taskDefinition"], plans.primary(row).get("id")) for colour, row in self.services.items()}
        rules = {arn: plans.comparable(actions) for arn, actions in self.rules.items()}
        return repr((sorted(services.items()), sorted(rules.items()), self.record and (self.record.token, self.record.share, self.record.phase)))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done: first to end what another run has left, then to deploy.

    Attributes:
        first: ``nothing``, ``back``, ``finish`` or ``resume``.
        old: the deployment that another run has left, as a move.
        move: what is to be deployed, or None.
        live: the colour that is live now; of a deployment that is not finished, the one that was.
        end: the colour that is live in the end.
        actions: all of it in words.
        definition: the ARN of the task definition that serves in the end; empty if it is not registered yet.
        old_definition: that of the live colour.
        images: of the containers before and after.
    """

    first: str
    old: Move | None
    move: Move | None
    live: str
    end: str
    actions: tuple[str, ...]
    definition: str
    old_definition: str
    images: tuple[t.Mapping[str, str], t.Mapping[str, str]]


def refuse_site(site: Site) -> None:
    """Refuse the same thing for both colours, or for production and test.

    Raises:
        InvalidInput: with what is the same.
    """
    for option, pair in (("target_groups", site.groups), ("services", site.names)):
        if pair[plans.BLUE] == pair[plans.GREEN]:
            raise InvalidInput(f"use {option}", f"{pair[plans.BLUE]} is given as blue and as green", "give two")
    if site.test == site.production:
        raise InvalidInput("use test", "it is the production rule", "give the rule of another listener, or none")


class BlueGreen:
    """One run."""

    def __init__(self, cloud: Cloud, gates: Gates, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        """Take clients, gates and the module's options."""
        self._cloud, self._gates, self._params, self._check = cloud, gates, params, check_mode
        self._site = Site(plans.service_names(params), params["target_groups"], params["production"], params["test"] or "")
        refuse_site(self._site)
        self._steps = plans.plan_steps(params)
        self._definitions = Definitions(cloud.ecs, params)
        self._mover: Mover | None = None
        self._sticky = False

    def run(self) -> dict[str, t.Any]:
        """Do what the options say and return the module's result.

        Raises:
            MainstayError: it was refused or failed; its ``reason`` says which case it is.
        """
        world = self.read()
        plan = self._plan(world)
        if not plan.actions:
            return self._result(world, plan, UNCHANGED)
        self._preflight(world, plan)
        if self._check:
            return self._result(world, plan, PLANNED)
        try:
            move = self._registered(plan.move)
            self._mover = self._take(world, move)
            phase = self._apply(self._mover, plan, move)
        except Interrupted:
            self._leave()
            raise
        except MainstayError as error:
            if not isinstance(error, LostLock):
                self._leave()
            result = self._result(self._read_again(world), plan, FAILED)
            error.details = {**result, **error.details}
            raise
        return self._result(self._read_again(world), plan, phase)

    def _registered(self, move: Move | None) -> Move | None:
        """Return a move with a task definition that is registered; one that is left unused by a failure is found again by the next run."""
        if move is None or move.definition:
            return move
        return dataclasses.replace(move, definition=self._cloud.ecs.register(move.content))

    def _leave(self) -> None:
        """Let the next run know at once that this one does not go on."""
        record = self._cloud.lock.record
        if record is not None and not record.paused:
            with contextlib.suppress(MainstayError):
                self._cloud.lock.write(beat=LEFT)

    def read(self) -> World:
        """Return what is there."""
        world, record = self._read_colours(), self._cloud.lock.read()
        if record is not None:
            record = plans.as_found(record, plans.traffic_of(world.rules[self._site.production], self._site.groups).share(record.target))
        return dataclasses.replace(world, record=record)

    def _read_again(self, world: World) -> World:
        """Return what is there in the end; if that cannot be read, what was there in the beginning."""
        try:
            return self.read()
        except MainstayError:
            return world

    # The plan

    def _plan(self, world: World) -> Plan:
        traffic = plans.read_traffic(world.rules[self._site.production], self._site.groups)
        if self._site.test and world.record is None:
            plans.read_traffic(world.rules[self._site.test], self._site.groups, "test rule")
        self._sticky = plans.is_sticky(world.rules[self._site.production])
        record = world.record
        live = record.source if record else traffic.live
        if not live:
            weights = plans.describe_weights(plans.forward_weights(world.rules[self._site.production]), self._site.groups)
            cause = f"both colours get traffic ({weights}), and no deployment is known that has left it so"
            raise MainstayError("see which colour is live", cause, "give one colour all of it by hand", reason="conflict")
        self._refuse_services(world, live)
        wanted = self._wanted(world, live, record) if self._params["state"] == "deployed" else ("", {})
        same = record is not None and (wanted[0] == record.definition or self._definitions.same(wanted[1], record.definition))
        choice = plans.choose(self._params["state"], record, time.time(), self._params["on_interrupted"], same)
        if record is not None:
            self._refuse_foreign_weights(world, record)
        return self._describe(world, choice, live, wanted)

    def _refuse_services(self, world: World, live: str) -> None:
        for colour, service in world.services.items():
            plans.refuse_service(self._site.names[colour], service, self._site.groups[colour])
        if live not in world.services:
            doing = f"deploy {self._params['name']}"
            cause = f"the production rule goes to {live}, and there is no service {self._site.names[live]} in the cluster {self._params['cluster']}"
            step = "make that service with its load balancer, 0 tasks are enough, and give desired_count; the other service is made like it"
            raise InvalidInput(doing, cause, step)

    def _refuse_foreign_weights(self, world: World, record: plans.Record) -> None:
        traffic = plans.read_traffic(world.rules[self._site.production], self._site.groups)
        share = traffic.share(record.target)
        if share in (0, plans.FULL, *(each for each in record.shares if each <= record.share)):
            return
        weights = plans.describe_weights(plans.forward_weights(world.rules[self._site.production]), self._site.groups)
        cause = f"the production rule has weights that the deployment of {record.holder} never gave it ({weights})"
        raise MainstayError("end that deployment", cause, "give one colour all of the traffic by hand", reason="conflict", live=weights)

    def _wanted(self, world: World, live: str, record: plans.Record | None) -> Wanted:
        """Return the task definition that shall serve."""
        base = record.old_definition if record else world.services[live]["taskDefinition"]
        idle = world.services.get(plans.other(live))
        return self._definitions.wanted(base, *([idle["taskDefinition"]] if idle else []))

    def _describe(self, world: World, choice: str, live: str, wanted: Wanted) -> Plan:
        record, words = world.record, []
        first = {plans.RESUME: "resume", plans.BACK: "back", plans.BACK_AND_DEPLOY: "back", plans.FINISH_AND_DEPLOY: "finish"}.get(choice, "nothing")
        old_arn = record.old_definition if record else world.services[live]["taskDefinition"]
        end, definition = live, old_arn
        old = None
        if record is not None:
            steps = tuple(self._left_steps(record))
            old = Move(record.source, record.target, record.definition, {}, record.old_definition, steps, record.count, record.old_count, record.back)
            if first == "back":
                words.append(f"take the deployment that {record.holder} has left back to {record.source}")
            else:
                words.append(f"go on with the deployment to {record.target} that {record.holder} has left at {record.share} %")
                end, definition = record.target, record.definition
        move = None
        if choice in (plans.DEPLOY, plans.BACK_AND_DEPLOY, plans.FINISH_AND_DEPLOY):
            move = self._move(world, end, definition, wanted)
        if move is not None:
            words += self._move_words(world, move)
            end, definition = move.target, move.definition
        after = plans.images_of(move.content) if move is not None and move.content else self._definitions.images(definition)
        return Plan(first, old, move, live, end, tuple(words), definition, old_arn, (self._definitions.images(old_arn), after))

    def _left_steps(self, record: plans.Record) -> t.Iterator[plans.Step]:
        """The steps that are left of a deployment that is taken up again: its own shares, with the bakes that are asked for now."""
        given = {step.share: step for step in self._steps}
        for share in record.shares:
            step = given.get(share, plans.Step(share, self._params["bake"] if share == plans.FULL else self._params["step_bake"]))
            begun = share <= record.share
            if not (begun and record.paused):
                yield dataclasses.replace(step, pause=step.pause and not (begun and self._params["state"] == "promoted"))

    def _move(self, world: World, live: str, live_definition: str, wanted: Wanted) -> Move | None:
        """Return the deployment that is needed from a live colour, or None."""
        target = plans.other(live)
        old_count = max(int(world.services[live][field]) for field in ("runningCount", "desiredCount"))
        count = self._params["desired_count"] or old_count
        if self._params["state"] == "rolled_back":
            idle = world.services.get(target)
            if idle is None:
                raise MainstayError("go back", f"there is no service {self._site.names[target]} with an older release", "deploy that release instead")
            if plans.mark_of(idle) == idle["taskDefinition"]:
                return None  # traffic was taken back from that one: the release before it serves already
            self._refuse_no_tasks(live, count)
            return Move(live, target, idle["taskDefinition"], {}, live_definition, (self._whole_step,), count, old_count, True)
        definition, content = wanted
        serves = bool(old_count) or bool(plans.healthy(self._cloud.elb.health(self._site.groups[live])))
        if serves and (definition == live_definition or self._definitions.same(content, live_definition)) and not self._params["force"]:
            return None
        self._refuse_no_tasks(live, count)
        plans.refuse_containers(content, plans.balancer_of(world.services[live], self._site.groups[live]) or {}, self._params["migration"])
        if target not in world.services:
            plans.refuse_copy(self._site.names[live], world.services[live])
        return Move(live, target, definition, content, live_definition, self._steps if serves else (self._whole_step,), count, old_count)

    @property
    def _whole_step(self) -> plans.Step:
        """All of the traffic at once."""
        return plans.Step(plans.FULL, self._params["bake"])

    def _refuse_no_tasks(self, live: str, count: int) -> None:
        if not count:
            cause = f"the live service {self._site.names[live]} has no task, so that nothing says how many the new release shall have"
            raise InvalidInput(f"deploy {self._params['name']}", cause, "give desired_count")

    def _move_words(self, world: World, move: Move) -> list[str]:
        name = self._site.names[move.target]
        words = [] if move.old_count else [f"deploy the first release: {self._site.names[move.source]} has no task to go back to"]
        if not move.definition:
            words.append(f"register a revision of {move.content['family']}")
        if plans.read_traffic(world.rules[self._site.production], self._site.groups).weight(move.target) is None:
            words.append(f"attach the target group of {move.target} at weight 0")
        if self._params["migration"] and not move.back:
            words.append(f"migrate: {' '.join(self._params['migration']['command'])}")
        words.append(f"{'start' if move.target in world.services else 'make'} {name} with {move.count} tasks of {move.definition or 'the new revision'}")
        if self._params["smoke_test"]:
            words.append(f"probe {move.target} before it gets traffic")
        words += [f"give {move.target} {step.share} % of the traffic{' and pause' if step.pause else f' for {step.bake:g} s'}" for step in move.steps]
        keep = self._params["keep_old"]
        return [*words, f"leave {keep} tasks in {self._site.names[move.source]}" if keep else f"stop {self._site.names[move.source]}"]

    # Before anything is changed

    def _preflight(self, world: World, plan: Plan) -> None:
        groups = self._cloud.elb.groups([self._site.groups[colour] for colour in plans.COLOURS])
        plans.refuse_pair([groups[self._site.groups[colour]] for colour in plans.COLOURS])
        if plan.move is None and plan.first == "back":  # whatever rings or is missing
            return
        self._gates.preflight(begins=plan.first == "nothing")
        if plan.first != "nothing":
            return
        health = self._cloud.elb.health(self._site.groups[plan.live])
        if plan.move is not None and plan.move.old_count and not plan.move.back and not plans.healthy(health) and not self._params["force"]:
            cause = f"{plan.live} is live and has no healthy target ({plans.states(health)}), so there would be no way back"
            raise MainstayError(f"deploy {self._params['name']}", cause, "repair it, or deploy with force", reason="live_unhealthy")
        idle = world.services.get(plans.other(plan.live))
        newest = plans.primary(idle) if idle else {}
        if newest.get("rolloutState") == "IN_PROGRESS" and int(newest.get("desiredCount", 0)):
            cause = f"{self._site.names[plans.other(plan.live)]} has a deployment that is not finished, which this module has not begun"
            raise MainstayError(f"deploy {self._params['name']}", cause, "wait for its end", reason="busy")

    # The moves

    def _take(self, world: World, move: Move | None) -> Mover:
        """Take the lock, and return what makes the moves; what the plan was made on must still be there.

        Raises:
            MainstayError: something has changed meanwhile.
        """
        if world.record is not None:
            self._cloud.lock.take(dataclasses.replace(world.record, **self._identity()))
        elif move is not None:
            self._cloud.lock.take(self._new_record(world, move))
        again = dataclasses.replace(self._read_colours(), record=world.record)
        if again.text != world.text:
            if world.record is None:
                self._cloud.lock.drop()
            else:
                self._cloud.lock.write(beat=world.record.beat)
            cause = "the rule or a service has changed since the plan was made"
            raise MainstayError(f"deploy {self._params['name']}", cause, "nothing was changed; run it again", reason="conflict")
        return Mover(self._cloud, self._site, self._gates, self._params, again.rules)

    def _read_colours(self) -> World:
        """Return what is there without reading the lock, which is held."""
        names = {name: colour for colour, name in self._site.names.items()}
        found = self._cloud.ecs.services(list(names))
        return World({names[name]: row for name, row in found.items()}, self._cloud.elb.actions(self._site.rules), None)

    def _identity(self) -> dict[str, t.Any]:
        """Return what tells this run from any other, in its record."""
        return {"token": secrets.token_hex(8), "holder": f"{socket.gethostname()} (process {os.getpid()})", "ttl": float(self._params["lock_ttl"])}

    def _new_record(self, world: World, move: Move) -> plans.Record:
        """Return the record that a deployment begins with."""
        test = None
        if self._site.test:
            weights = plans.forward_weights(world.rules[self._site.test])
            test = {colour: weights[arn] for colour, arn in self._site.groups.items() if arn in weights} or None
        shares = tuple(step.share for step in move.steps)
        return plans.Record(
            job=secrets.token_hex(8),
            beat=0.0,
            phase=plans.BEGUN,
            source=move.source,
            target=move.target,
            definition=move.definition,
            old_definition=move.old_definition,
            shares=shares,
            count=move.count,
            old_count=move.old_count,
            test=test,
            back=move.back,
            began=time.time(),
            **self._identity(),
        )

    def _apply(self, mover: Mover, plan: Plan, move: Move | None) -> str:
        record = self._cloud.lock.own
        if plan.first == "back":
            mover.back("another run has left it unfinished" if move else f"state {self._params['state']} was asked for")
        elif plan.first != "nothing" and plan.old is not None:
            if record.phase == plans.RETIRING:
                mover.finish(plan.old)
            elif not mover.deploy(plan.old, record):
                return PAUSED
        if move is None:
            return FINISHED
        if plan.first != "nothing":
            self._gates.preflight()
            left = self._cloud.lock.record  # there still, if something could not be put back
            record = self._new_record(self._read_colours(), move)
            self._cloud.lock.take(dataclasses.replace(record, scaling=left.scaling if left else {}))
        return FINISHED if mover.deploy(move, self._cloud.lock.own) else PAUSED

    # The result

    def _result(self, world: World, plan: Plan, phase: str) -> dict[str, t.Any]:
        traffic = plans.traffic_of(world.rules[self._site.production], self._site.groups)
        weights = {colour: traffic.weight(colour) or 0 for colour in plans.COLOURS}
        mover, planned = self._mover, phase == PLANNED
        live = plan.end if planned else traffic.live or plan.live
        before = {"definition": plan.old_definition, "images": dict(plan.images[0]), "live": plan.live}
        after = {"definition": plan.definition or "(to be registered)", "images": dict(plan.images[1]), "live": plan.end}
        return {
            "changed": bool(plan.actions) and (phase != FAILED or mover is not None),
            "actions": list(plan.actions),
            "phase": phase,
            "live_color": live,
            "previous_color": plan.live,
            "task_definition": plan.definition if planned else world.services.get(live, {}).get("taskDefinition", ""),
            "previous_task_definition": plan.old_definition,
            "weights": weights,
            "steps": mover.steps if mover else [],
            "events": mover.events if mover else [],
            "rolled_back": bool(mover and mover.rolled_back),
            "back_seconds": mover.back_seconds if mover else 0.0,
            "service_deployment_arn": "",
            "diff": {"before": before, "after": after if planned or phase != FAILED else before},
        }

    @property
    def warnings(self) -> list[str]:
        """What went wrong beside the work, and what may."""
        sticky = ["target group stickiness is on: clients may stay on the old release as long as it lasts"] if self._sticky else []
        return [*sticky, *(self._mover.warnings if self._mover else [])]
