# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moves of a deployment between two services: start, prove, shift step by step, retire; and the way back from any of these.

Every move can be made again, so that a run that was cut off is taken up where it was. Before each change of a rule it is read: if it is not what was read or
written last, it belongs to somebody else, and nothing more is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_gates import GateFailed, Gates
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply
from ansible_collections.mainstay.ops.plugins.module_utils._aws.definitions import run_once
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elbv2 import Actions, LoadBalancing, is_listener
from ansible_collections.mainstay.ops.plugins.module_utils._aws.lock import Lock, LostLock
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import SUSPENDABLE, Autoscaling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Interrupted, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

WRITES = 3
"""How often a rule is written that does not show what was written."""
MOST_BLIND = 60.0
"""Seconds without an answer of AWS in which a release is left in service."""
RETIRE_SECONDS = 300.0
"""Seconds beyond the deregistration delay in which tasks that are stopped have to be gone; StopTimeout is at most 120."""
SHOWN_TASKS = 3


class LostOwnership(MainstayError):
    """Somebody else has changed the rule."""


@dataclasses.dataclass(frozen=True)
class Cloud:
    """The clients."""

    ecs: Ecs
    elb: LoadBalancing
    scaling: Autoscaling
    lock: Lock


@dataclasses.dataclass(frozen=True)
class Site:
    """What is deployed to.

    Attributes:
        names: the service of each colour.
        groups: the target group of each colour.
        production: ARN of the rule, or of the listener.
        test: the same for tests; empty without one.
    """

    names: t.Mapping[str, str]
    groups: t.Mapping[str, str]
    production: str
    test: str

    @property
    def balancer(self) -> str:
        """The load balancer as metrics name it; it is a part of the ARN of its listeners and their rules."""
        return "/".join(self.production.split("/")[1:4])

    @property
    def rules(self) -> list[str]:
        """The rules' ARNs."""
        return [self.production, *([self.test] if self.test else [])]


@dataclasses.dataclass(frozen=True)
class Move:
    """A deployment.

    Attributes:
        source: the colour that is live.
        target: the other one.
        definition: the task definition's ARN; empty in a plan if it has yet to be registered.
        content: what is to be registered then.
        old_definition: that of the source.
        steps: shares of traffic.
        count: tasks.
        old_count: tasks that the source has; 0 if nothing serves yet.
        back: whether this goes back to an older release, so that nothing is migrated and the source is marked.
    """

    source: str
    target: str
    definition: str
    content: t.Mapping[str, t.Any]
    old_definition: str
    steps: tuple[plans.Step, ...]
    count: int
    old_count: int
    back: bool = False


class Mover:
    """Makes the moves of one run."""

    def __init__(self, cloud: Cloud, site: Site, gates: Gates, params: t.Mapping[str, t.Any], rules: t.Mapping[str, Actions]) -> None:
        """Work on a site whose rules were read as they are given here."""
        self._cloud, self._site, self._gates, self._params = cloud, site, gates, params
        self._own = dict(rules)
        self._written: dict[str, Actions] = {}
        self._deployment = ""
        self._ill = 0
        self._settled_at = 0.0
        self._seen = time.monotonic()
        self.events: list[str] = []
        self.steps: list[dict[str, t.Any]] = []
        self.warnings: list[str] = []
        self.rolled_back = False
        self.back_seconds = 0.0

    # The way forward

    def deploy(self, move: Move, record: plans.Record) -> bool:
        """Deploy; the lock is held with this record. Return whether it is finished, and not paused.

        Raises:
            MainstayError: it could not be done, and everything is as before.
            LostOwnership: somebody else has changed the rule; nothing more was touched.
            LostLock: somebody else deploys.
        """
        try:
            self._prepare(move, record)
            if not move.back:
                self._migrate(move)
            self._start(move)
            self._wait(self._settled_at - time.monotonic())
            self._probe("smoke_test")
            if not self._shift(move):
                return False
        except (LostOwnership, LostLock):
            raise
        except (MainstayError, Interrupted) as error:
            with uninterrupted():
                self._fail(error.error if isinstance(error, Interrupted) else error)
        self.finish(move)
        return True

    def _prepare(self, move: Move, record: plans.Record) -> None:
        production = plans.read_traffic(self._own[self._site.production], self._site.groups)
        if production.weight(move.target) is None:
            self._set(self._site.production, plans.shared(self._site.groups, move.target, 0))
            self._event(f"attached the target group of {move.target} at weight 0")
        if self._site.test:
            self._set(self._site.test, plans.shared(self._site.groups, move.target, plans.FULL))
        if self._params["autoscaling"] == "suspend_scale_in":
            self._suspend(record)

    def _suspend(self, record: plans.Record) -> None:
        found = self._cloud.scaling.read(list(self._site.names.values()))
        if not found:
            return
        self._cloud.lock.write(scaling={**found, **record.scaling})
        for service, state in found.items():
            if not state[SUSPENDABLE[0]]:
                self._cloud.scaling.write(service, {**state, SUSPENDABLE[0]: True})
                self._event(f"suspended the scaling in of {service}")

    def _migrate(self, move: Move) -> None:
        record = self._record
        if self._params["migration"] and not record.migrated:
            run_once(self._cloud.ecs, self._service(move.source), record.definition, record.job, self._params["migration"], self._pause)
            self._cloud.lock.write(migrated=True)
            self._event("migrated")

    def _start(self, move: Move) -> None:
        name, count, definition = self._site.names[move.target], move.count, self._record.definition
        with current().phase(f"start {move.target}", count, "tasks", exact=True) as phase:
            service = self._services().get(name)
            if service is None:
                like = plans.copy_of(self._service(move.source), self._site.groups[move.source], self._site.groups[move.target])
                service = self._cloud.ecs.create(name, taskDefinition=definition, desiredCount=count, **like)
                self._event(f"made the service {name}")
            elif plans.must_start(service, self._record):
                # A deployment of its own: the last one of the same task definition may have counted failed tasks already.
                fresh = not move.back and plans.primary(service).get("id") != self._record.deployment
                service = self._cloud.ecs.update(name, taskDefinition=definition, desiredCount=count, forceNewDeployment=fresh)
                self._event(f"started {count} tasks of {definition.rpartition('/')[2]} in {name}")
            self._deployment = str(plans.primary(service)["id"])
            if self._record.deployment != self._deployment:
                self._cloud.lock.write(deployment=self._deployment)

            shown: set[str] = set()

            def look() -> plans.Verdict:
                health = self._cloud.elb.health(self._site.groups[move.target])
                phase.reach(min(count, plans.healthy(health)))
                limits, seen = (self._params["healthy_percent"], self._params["max_failed_tasks"]), self._service(move.target)
                if not shown and plans.primary(seen).get("id") != self._deployment:  # ECS may answer what was before the change for a moment
                    return plans.Verdict(why="ECS does not show the new deployment yet")
                shown.add(self._deployment)
                return plans.judge_start(seen, self._deployment, health, *limits)

            try:
                self._until(f"start {name}", look, self._params["start_timeout"], self._params["healthy_polls"])
            except GateFailed as error:
                raise GateFailed(f"start {name}", f"{error.cause}{self._stopped(name)}", "see the tasks' logs") from error
        self._event(f"{move.target} is up: {count} tasks")

    def _stopped(self, service: str) -> str:
        """Return why tasks of a service have stopped, in words."""
        with contextlib.suppress(AwsError, NoReply):
            tasks = [task for task in self._cloud.ecs.stopped_tasks(service) if task.get("startedBy") == self._deployment]
            words = [plans.stop_reason(task) for task in tasks]
            shown = list(dict.fromkeys(word for word in words if word))[:SHOWN_TASKS]
            return f"; stopped tasks: {'; '.join(shown)}" if shown else ""
        return ""

    def _shift(self, move: Move) -> bool:
        """Go through the steps that are left; return False if one of them pauses."""
        group = self._site.groups[move.target]
        self._gates.begin(group, self._site.balancer)
        share = plans.read_traffic(self._own[self._site.production], self._site.groups).share(move.target)
        for number, step in enumerate(move.steps, start=1):
            if step.share < share:
                continue
            seconds = self._params["settle"] + step.bake
            name = f"step {number} of {len(move.steps)}: {step.share} % to {move.target}"
            with current().phase(name, int(seconds), "seconds", exact=True) as phase:
                begun, begun_at = time.monotonic(), stamp()
                self._cloud.lock.write(phase=plans.MOVED, share=step.share)
                self._set(self._site.production, plans.shared(self._site.groups, move.target, step.share))
                self._event(f"{step.share} % of the traffic goes to {move.target}")
                self._bake(move, seconds, phase.reach)
            self.steps.append({"share": step.share, "begun": begun_at, "seconds": round(time.monotonic() - begun, 1)})
            if step.pause:
                self._cloud.lock.write(beat=0.0)
                self._event("paused until it is promoted")
                return False
        return True

    def _bake(self, move: Move, seconds: float, reach: t.Callable[[int], None]) -> None:
        begun, self._ill, self._seen = time.monotonic(), 0, time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            self._look(move, last=False)
            reach(int(min(passed, seconds)))
            self._pause(max(0.0, seconds - (time.monotonic() - begun)))
        self._look(move, last=True)
        reach(int(seconds))

    def _look(self, move: Move, last: bool) -> None:
        """Look at everything once.

        Raises:
            GateFailed: the release must not stay in service.
        """
        group = self._site.groups[move.target]
        try:
            self._check_owner(self._site.production)
            service, health = self._service(move.target), self._cloud.elb.health(group)
            self._gates.look(group, self._site.balancer, last)
        except NoReply as error:
            self._refuse_blind(self._seen, error)
            return
        self._seen = time.monotonic()
        found = plans.judge_running(service, self._deployment, health, self._params["healthy_percent"], self._params["max_failed_tasks"])
        self._ill = 0 if found.good else self._ill + 1
        if found.bad or self._ill >= self._params["healthy_polls"]:
            raise GateFailed(f"keep {move.target} in service", f"{found.why}{self._stopped(self._site.names[move.target])}")
        self._probe("step_test")

    def _probe(self, option: str) -> None:
        """Probe; that may take longer than the lock lives without a sign."""
        if self._params[option]:
            with self._cloud.lock.kept():
                self._gates.probe(option)

    def finish(self, move: Move) -> None:
        """Stop the old release; the lock is held. Users are on the new one, so that what goes wrong from here on is a warning."""
        try:
            self._cloud.lock.write(phase=plans.RETIRING)
        except (AwsError, NoReply) as error:
            step = "the new release serves and the old one runs still; run the same again with on_interrupted resume"
            raise MainstayError(f"retire {move.source}", error, step) from error
        keep, name = self._params["keep_old"], self._site.names[move.source]
        try:
            with current().phase(f"retire {move.source}"):
                self._stop(move.source, keep)
        except (AwsError, NoReply, GateFailed) as error:
            self.warnings.append(f"the old release is not stopped: {error}")
        else:
            self._event(f"stopped {name}" if keep == 0 else f"left {keep} tasks in {name}")
        with self._as_warning("mark the releases"):
            never_again = move.back or not self._record.old_count  # what has never served is no release to go back to
            marked, mine = (move.source, move.old_definition) if never_again else (move.target, "-")
            if never_again or plans.mark_of(self._service(move.target)) == self._record.definition:
                self._cloud.ecs.tag(self._service(marked)["serviceArn"], {plans.MARK: mine})
        self._close()

    def _stop(self, colour: str, keep: int) -> None:
        """Let a service have so many tasks, and wait until the others have drained and are gone.

        Raises:
            LostOwnership: the colour has traffic, which somebody else has given it.
        """
        name, group = self._site.names[colour], self._site.groups[colour]
        self._check_owner(self._site.production)
        if plans.read_traffic(self._own[self._site.production], self._site.groups).weight(colour):
            cause = f"the production rule gives {colour} traffic again, which this deployment has not done"
            raise LostOwnership(f"stop {name}", cause, "give the colour that shall serve all of it by hand", reason="conflict")
        if self._service(colour)["desiredCount"] > keep:
            self._cloud.ecs.update(name, desiredCount=keep)

        def look() -> plans.Verdict:
            rows, running = self._cloud.elb.health(group), int(self._service(colour)["runningCount"])
            return plans.Verdict(good=len(rows) <= keep and running <= keep, why=f"{running} tasks run; targets: {plans.states(rows)}")

        self._until(f"stop {name}", look, self._cloud.elb.drain_seconds(group) + RETIRE_SECONDS)

    def _close(self) -> None:
        """Restore the autoscaling and give the lock back; what cannot be done stays in the record for the next run."""
        with self._as_warning("restore the autoscaling") as done:
            for service, state in self._record.scaling.items():
                self._cloud.scaling.write(service, state)
        if done:
            with self._as_warning("give the lock back"):
                self._cloud.lock.drop()

    @contextlib.contextmanager
    def _as_warning(self, doing: str) -> t.Iterator[list[bool]]:
        done: list[bool] = []
        try:
            yield done
            done.append(True)
        except (AwsError, NoReply, GateFailed) as error:
            self.warnings.append(f"could not {doing}: {error}; the next run tries again")

    # The way back

    def back(self, why: str) -> None:
        """Give all of the traffic back to the colour that was live before, and stop the other one; the lock is held.

        Raises:
            MainstayError: with the reason ``rollback_failed``: what is to be done by hand.
        """
        record, begun = self._record, time.monotonic()
        self._event(f"go back to {record.source}: {why}")
        with current().phase(f"go back to {record.source}"):
            self._restore(record)
            if record.phase != plans.BEGUN:  # some nodes may send requests to the target still, whichever run has taken the weight away
                self._wait(self._params["settle"])
        self.rolled_back, self.back_seconds = True, round(time.monotonic() - begun, 2)
        if self._site.test and record.test is not None and plans.forward_weights(self._own[self._site.test]):
            with self._as_warning("restore the test rule"):
                self._set(self._site.test, {self._site.groups[colour]: weight for colour, weight in record.test.items()})
        if self._site.names[record.target] in self._services():
            try:
                with current().phase(f"stop {record.target}"):
                    self._stop(record.target, 0)
            except (AwsError, NoReply, GateFailed) as error:
                self.warnings.append(f"the release that was taken back is not stopped: {error}")
            with self._as_warning("mark the release"):
                service = self._service(record.target)
                if service["taskDefinition"] == record.definition and not record.back:
                    self._cloud.ecs.tag(service["serviceArn"], {plans.MARK: record.definition})
        self._close()

    def _restore(self, record: plans.Record) -> None:
        """Put the weights back, again and again until ``rollback_timeout``."""
        end = time.monotonic() + self._params["rollback_timeout"]
        while True:
            try:
                self._check_owner(self._site.production)
                if plans.read_traffic(self._own[self._site.production], self._site.groups).weight(record.target):
                    self._revive(record)
                    self._set(self._site.production, plans.shared(self._site.groups, record.target, 0))
                    self._event(f"all of the traffic goes to {record.source}")
                return
            except (LostOwnership, LostLock):
                raise
            except MainstayError as error:
                if time.monotonic() >= end:
                    raise self._rollback_failed(record, error) from error
                with contextlib.suppress(AwsError, NoReply):
                    self._cloud.lock.beat()
                time.sleep(self._params["poll_interval"])

    def _revive(self, record: plans.Record) -> None:
        """See that the old release can take the traffic; start it if it has been stopped already.

        Raises:
            GateFailed: it cannot.
        """
        group, name = self._site.groups[record.source], self._site.names[record.source]
        if not record.old_count:
            return
        service = self._service(record.source)
        if service["desiredCount"] >= record.old_count and plans.healthy(self._cloud.elb.health(group)):
            return
        if service["desiredCount"] < record.old_count:
            self._cloud.ecs.update(name, taskDefinition=record.old_definition, desiredCount=record.old_count)
            self._event(f"started {record.old_count} tasks in {name} again")
        least = plans.needed(record.old_count, self._params["healthy_percent"])

        def look() -> plans.Verdict:
            health = self._cloud.elb.health(group)
            return plans.Verdict(good=plans.healthy(health) >= least, why=plans.states(health))

        self._until(f"start {name} again", look, self._params["start_timeout"], self._params["healthy_polls"])

    def _rollback_failed(self, record: plans.Record, error: MainstayError) -> MainstayError:
        weights = plans.shared(self._site.groups, record.target, 0)
        actions = json.dumps(plans.with_weights(self._own[self._site.production], weights))
        arn = self._site.production
        command = f"aws elbv2 modify-rule --rule-arn {arn} --actions '{actions}'"
        if is_listener(arn):
            command = f"aws elbv2 modify-listener --listener-arn {arn} --default-actions '{actions}'"
        step = f"do it by hand: {command}"
        return MainstayError(f"give the traffic back to {record.source}", error, step, reason="rollback_failed", command=command)

    def _fail(self, error: MainstayError) -> t.NoReturn:
        """Go back after an error, then tell both."""
        record = self._record
        try:
            self.back(str(error))
        except MainstayError as second:
            raise MainstayError("go back after a failure", f"{second} (the failure: {error})", "", **second.details) from error
        details = {"rollback_reason": str(error), "reason": error.details.get("reason", "rolled_back")}
        serves = "the old release serves" if record.old_count else "no release serves yet"
        raise MainstayError(error.doing, error.cause, error.next_step or f"{serves}; see what was wrong with the new one", **details) from error

    # Small steps of both

    @property
    def _record(self) -> plans.Record:
        return self._cloud.lock.own

    def _event(self, words: str) -> None:
        self.events.append(f"{stamp()} {words}")

    def _services(self) -> dict[str, dict[str, t.Any]]:
        return self._cloud.ecs.services(list(self._site.names.values()))

    def _service(self, colour: str) -> dict[str, t.Any]:
        name = self._site.names[colour]
        found = self._services().get(name)
        if found is None:
            raise GateFailed(f"read the service {name}", "it is gone")
        return found

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._pause(left)

    def _pause(self, most: float) -> None:
        self._cloud.lock.beat()
        time.sleep(min(self._params["poll_interval"], most))

    def _until(self, doing: str, look: t.Callable[[], plans.Verdict], seconds: float, times: int = 1) -> None:
        """Look again and again until what is seen is good so many times in a row.

        Raises:
            GateFailed: it is bad, or the time is over, or AWS does not answer.
        """
        seen, good = time.monotonic(), 0
        end = seen + seconds
        while True:
            try:
                found = look()
                seen = time.monotonic()
            except NoReply as error:
                self._refuse_blind(seen, error)
                found = plans.Verdict(why=str(error))
            good = good + 1 if found.good else 0
            if good >= times:
                return
            if found.bad:
                raise GateFailed(doing, found.why)
            if time.monotonic() >= end:
                raise GateFailed(doing, f"it was not done within {seconds:.0f} s; last seen: {found.why}")
            self._pause(seconds)

    @staticmethod
    def _refuse_blind(seen: float, error: NoReply) -> None:
        """Go on without an answer of AWS for a while.

        Raises:
            GateFailed: it has been too long since it was seen last.
        """
        if time.monotonic() - seen > MOST_BLIND:
            raise GateFailed("watch the release", f"AWS has not answered for {MOST_BLIND:.0f} s ({error})") from error

    def _check_owner(self, arn: str) -> None:
        """Read a rule.

        Raises:
            LostOwnership: it is not what was read or written last.
        """
        self._compare(arn, self._cloud.elb.actions([arn])[arn])

    def _compare(self, arn: str, live: Actions) -> None:
        if plans.comparable(live) == plans.comparable(self._own[arn]):
            return
        if arn in self._written and plans.comparable(live) == plans.comparable(self._written[arn]):
            self._take_over(arn, live)  # written by this run, which was stopped, or got no answer, before it could read it
            return
        own = self._written.get(arn, self._own[arn])  # what was written just now and could not be read, since the change came in between
        expected, found = (plans.describe_weights(plans.forward_weights(each), self._site.groups) for each in (own, live))
        raise LostOwnership(
            f"change {arn}",
            f"somebody else has changed it meanwhile, and nothing was overwritten (expected: {expected}; live: {found})",
            "look at both versions; when the rule has one colour only, the next run puts the rest in order",
            reason="conflict",
            expected=own,
            live=live,
        )

    def _take_over(self, arn: str, live: Actions) -> None:
        """Know a rule as what this run has made of it, from now on."""
        self._own[arn], self._settled_at = live, time.monotonic() + self._params["settle"]
        self._written.pop(arn, None)

    def _set(self, arn: str, weights: t.Mapping[str, int]) -> None:
        """Give a rule other weights, if nobody else has changed it; a lost answer is looked up."""
        self._check_owner(arn)
        wanted = plans.with_weights(self._own[arn], weights)
        if plans.comparable(wanted) == plans.comparable(self._own[arn]):
            return
        self._written[arn] = wanted
        for unused in range(WRITES):
            with contextlib.suppress(NoReply):
                self._cloud.elb.write(arn, wanted)
            live = self._cloud.elb.actions([arn])[arn]
            if plans.comparable(live) == plans.comparable(wanted):
                self._take_over(arn, live)
                return
            self._compare(arn, live)
        raise GateFailed(f"change {arn}", f"it does not show what was written {WRITES} times", "try again later")


def stamp() -> str:
    """Return the time now, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
