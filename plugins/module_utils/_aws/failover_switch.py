# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a name by an object in a bucket: its records hang on a switch and stay as they are.

Once the records are there, a move is two writes to S3: the state, on the condition that it is the one that was read (so one of two runs at a time is refused),
and then the object that the checkers look for. Route 53's API is asked what is live, and a move goes on without it if it does not answer.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws import health_check_plan as checks
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply, unanswered
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover import (
    ROLES,
    SENDS,
    TO_BE_MADE,
    VERIFY_SECONDS,
    Failover,
    Live,
    in_utc,
    longest_ttl,
    read,
)
from ansible_collections.mainstay.ops.plugins.module_utils._aws.route53 import Route53
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_object import REFUSED, SwitchObject, ask
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_plan import Position
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import NoAnswer

LOOK_PAUSE = 1.0
"""Seconds between two looks at what the checkers of a new check have seen."""


class SwitchedFailover(Failover):
    """One run."""

    def __init__(self, api: Route53, quick: Route53, storage: SwitchObject, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        """Take clients and the module's options. ``quick`` gives up soon: what it reads can be done without."""
        super().__init__(api, params, check_mode)
        self._quick, self._storage, self._switch = quick, storage, storage.switch
        self._answers = True
        self._known: list[dict[str, t.Any]] = []
        self._marker = plans.Marker(params["active"], int(time.time()), secrets.token_hex(8))
        self.verify_seconds = self._switch.seconds + params["ttl"] + VERIFY_SECONDS

    def run(self) -> dict[str, t.Any]:
        """Do what the options say and return the module's result.

        Raises:
            MainstayError: it was refused or failed; its ``reason`` says which case it is.
        """
        removing = self._params["state"] == "absent"
        self._check_options()
        position = self._storage.read()
        live = self._read_records(position, must=removing)
        pair, active = self._pair(), self._params["active"]
        before = self._before(pair, live, position)
        self._refuse_foreign(pair, live)
        self._refuse_stale(before, position.fingerprint, live)
        if removing:
            return self._remove_all(live, before, position)
        pair.check(active)
        if before not in (plans.ABSENT, active):
            self._refuse_flapping(position.state or live.marker)
            self._refuse_unfit(dataclasses.replace(pair, primary=dataclasses.replace(pair.primary, health_check="")), active)
        if position.state is not None:
            self._refuse_unreadable(active)
        now = self._move(position, active)
        hung = self._hang(pair, live, before, position != now)
        if self.actions and not self._check:
            self._look(pair, active, live)
        return self._told(live, before, active, hung, position, now)

    def _check_options(self) -> None:
        doing = f"keep the records of {self._name}"
        for role in ROLES:
            if self._params[role]["health_check"] or self._params[role]["health_check_id"]:
                raise InvalidInput(doing, f"the {role} has a health check, which would move the name beside the switch", f"give {role}.probe instead")
        if self._params["verify"] == "testdns":
            raise InvalidInput(doing, "testdns asks Route 53's control plane, which s3_switch does without", "verify by authoritative")
        if self._params["verify"] == "authoritative" and not self._params["name_servers"]:
            cause = "the name servers must be known without Route 53's control plane"
            raise InvalidInput(doing, cause, "give name_servers; the info of the hosted zone lists them")
        self._storage.check_client()

    def _read_records(self, position: Position, must: bool) -> Live:
        """Return what Route 53 has, or nothing if its API does not answer and the switch is known to be there."""
        api = self._api if must else self._quick
        try:
            self._zone = self._params["hosted_zone_id"] or api.zone_id(self._params["zone"], self._params["private_zone"])
            live = read(api, self._zone, self._name)
            self._known = api.health_checks()
        except MainstayError as error:
            if must or not unanswered(error):
                raise
            if position.state is None:
                shown = self._switch.shown(self._switch.state_key)
                cause = f"Route 53's control plane does not answer, and {shown} does not say that there is a switch ({error})"
                raise MainstayError(f"switch {self._name}", cause, "move the name by other means, or try again", reason="no_switch") from error
            self._answers, self._zone = False, self._params["hosted_zone_id"] or ""
            self.warnings.append(f"Route 53's control plane does not answer, so the records were not looked at and the switch alone was moved: {error}")
            return Live([], [])
        return live

    def _pair(self) -> plans.Pair:
        sides = {role: plans.plan_target(role, self._params[role]) for role in ROLES}
        check = ""
        if self._answers:
            for role, side in sides.items():  # of another method, before
                self._steps[role] = checks.obsolete(checks.prefix(self._zone, self._name, side.identifier), self._known)
            start = checks.prefix(self._zone, self._name, checks.SWITCHED)
            step = self._steps[plans.SWITCH] = checks.plan(start, checks.configuration(self._switch.check()), self._known)
            check = TO_BE_MADE if step.action == "create" else step.identifier
        primary = dataclasses.replace(sides[plans.PRIMARY], health_check=check)
        return plans.Pair(self._name, "s3_switch", primary, sides[plans.SECONDARY], self._params["ttl"])

    def _before(self, pair: plans.Pair, live: Live, position: Position) -> str:
        if not self._answers:
            return position.active
        if not live.records:
            return plans.ABSENT
        if live.marker is not None and live.marker.active == plans.SWITCH:
            return position.active
        return plans.classify("failover", live.records, live.marker, dataclasses.replace(pair, method="failover"))

    def _refuse_unreadable(self, active: str) -> None:
        """Fail if the checkers cannot see the state object, and so would not see the other one: the secondary would not be answered."""
        if not self._params["switch"]["check_readable"]:
            return
        try:
            answer = ask(self._switch.state_url)
            problem = "" if answer.status == 200 else f"{self._switch.state_url} answers {answer.status} without credentials"
        except NoAnswer as error:
            problem = f"{self._switch.state_url}: {error}"
        if not problem:
            return
        if active == plans.PRIMARY and self._answers:
            self.warnings.append(f"the switch would not work, since {problem}")
        elif active == plans.SECONDARY:
            step = f"let everybody read {self._switch.shown(self._switch.prefix)}/*, or set switch.check_readable to false if only Route 53's checkers may"
            raise MainstayError(f"switch {self._name} to {active}", f"the checkers would not see the object: {problem}", step, reason="switch_unreadable")

    def _move(self, position: Position, active: str) -> Position:
        """Put the switch where it has to be, and return how it stands then."""
        thrown = active == plans.SECONDARY
        if position.state is not None and position.thrown == thrown:
            return position
        shown = self._switch.shown(self._switch.key)
        if position.state is None:
            self.actions.append(f"put {self._switch.shown(self._switch.state_key)}, which says how the switch stands")
        if position.thrown != thrown:
            self.actions.append(f"put {shown}, which makes the secondary active" if thrown else f"remove {shown}, which makes the primary active")
        if self._check:
            return dataclasses.replace(position, thrown=thrown, state=self._marker)
        self._write(functools.partial(self._storage.claim, self._marker, position.state_etag), lambda now: now.state == self._marker, position)
        if position.state is None:
            self._refuse_unreadable(active)
        if thrown and not position.thrown:
            self._write(functools.partial(self._storage.throw, self._marker), lambda now: now.thrown, position)
        elif position.thrown and not thrown:
            self._write(functools.partial(self._storage.remove, self._switch.key), lambda now: not now.thrown, position)
        now = self._storage.read()
        if now.thrown != thrown or now.state != self._marker:
            raise self._moved_meanwhile(position, now, "its objects are not what was just written", changed=True)
        return now

    def _write(self, write: t.Callable[[], None], done: t.Callable[[Position], bool], position: Position) -> None:
        """Write once. If the answer is lost, or boto3 sent again after that and was refused, what is there says whether it was done."""
        for unused in range(SENDS):
            try:
                write()
                return
            except NoReply:
                now = self._storage.read()
            except AwsError as error:
                if error.code not in REFUSED:
                    raise
                now = self._storage.read()
                if not done(now):
                    raise self._moved_meanwhile(position, now, error) from error
            if done(now):
                self.warnings.append("the answer to a write was lost; it was done, as the bucket shows")
                return
        raise MainstayError(f"switch {self._name}", f"{SENDS} answers of the bucket were lost", "try again", reason="no_reply")

    def _moved_meanwhile(self, position: Position, now: Position, cause: object, **details: t.Any) -> MainstayError:
        words = [[each.line(self._switch), each.state.text if each.state else "no state"] for each in (position, now)]
        text = f"somebody else has moved the switch meanwhile ({cause})"
        step = "look at both versions, then decide again"
        return MainstayError(f"switch {self._name}", text, step, reason="conflict", expected=words[0], live=words[1], **details)

    def _wanted(self, pair: plans.Pair, live: Live) -> list[dict[str, t.Any]]:
        """Return the records and the marker's, as they have to be; the marker stays if it says so already."""
        hangs = live.marker is not None and live.marker.active == plans.SWITCH
        marker = live.marker_records if hangs else [dataclasses.replace(self._marker, active=plans.SWITCH).record(self._name, self._params["ttl"])]
        return [*pair.records(self._params["active"]), *marker]

    def _hang(self, pair: plans.Pair, live: Live, before: str, moved: bool) -> tuple[list[dict[str, t.Any]], tuple[str, str]]:
        """Make the records hang on the switch, if Route 53's API answers and they do not yet; return what there is then, and what was sent."""
        if not self._answers:
            return [], ("", "unchanged")
        try:
            return self._hang_records(pair, live, before)
        except MainstayError as error:
            if self._check or not moved or "changed" in error.details:
                raise
            raise MainstayError(error.doing, f"the switch was moved, and then: {error.cause}", error.next_step, **error.details, changed=True) from error

    def _hang_records(self, pair: plans.Pair, live: Live, before: str) -> tuple[list[dict[str, t.Any]], tuple[str, str]]:
        self._make_checks()
        if not self._check and self._steps[plans.SWITCH].action == "create":
            self._known = self._api.health_checks()
            pair = self._pair()
        wanted, sent = self._wanted(pair, live), ("", "unchanged")
        changes = plans.batch(live.all, wanted)
        if changes:
            self.actions.append(f"{'make' if before == plans.ABSENT else 'change'} the records of {self._name}, which hang on the switch")
            check = pair.primary.health_check
            if not self._check and check not in [record.get("HealthCheckId") for record in live.records]:
                self._await_check(check)
            sent = ("", "planned") if self._check else self._send(live, wanted, changes)
        self._drop_old_checks()
        return wanted, sent

    def _await_check(self, check: str) -> None:
        """Wait until a new check knows the object. Until then an inverted one counts as ill, and the name would move to the secondary for a while."""
        end = time.monotonic() + self._params["wait_timeout"]
        while not self._api.observations(check):
            if time.monotonic() >= end:
                cause = f"no checker of the new health check {check} has looked for {self._switch.url} after {self._params['wait_timeout']} s"
                raise MainstayError(f"change the records of {self._name}", cause, "run it again, the records are as they were", reason="not_checked")
            time.sleep(LOOK_PAUSE)
        time.sleep(self._switch.seconds - self._switch.interval)

    def _remove_all(self, live: Live, before: str, position: Position) -> dict[str, t.Any]:
        """Remove the records first: without the object they would move."""
        sent = self._remove_records(live)
        for key, there in ((self._switch.key, position.thrown), (self._switch.state_key, bool(position.state_etag))):
            if there:
                self.actions.append(f"remove {self._switch.shown(key)}")
                if not self._check:
                    self._storage.remove(key)
        return self._told(live, before, plans.ABSENT, ([], sent), position, Position(False))

    def _old_seconds(self, live: Live) -> int:
        return self._switch.seconds + (longest_ttl(live.records) or self._params["ttl"])

    def _told(
        self, live: Live, before: str, active: str, hung: tuple[list[dict[str, t.Any]], tuple[str, str]], position: Position, now: Position
    ) -> dict[str, t.Any]:
        """Return the module's result: that of the records, with the switch."""
        found = self._result(live, before, active, *hung)
        moved = position.thrown != now.thrown
        switch = {"bucket": self._switch.bucket, "key": self._switch.key, "url": self._switch.url, "thrown": now.thrown, "control_plane": self._answers}
        found |= {"fingerprint": now.fingerprint, "switch": switch}
        found["diff"] = {name: f"{each.line(self._switch)}\n{found['diff'][name]}" for name, each in (("before", position), ("after", now))}
        if moved:
            seconds = self._old_seconds(live)
            found |= {"old_ttl": seconds - self._switch.seconds, "effective_after": in_utc(time.time() + seconds)}
        return found
