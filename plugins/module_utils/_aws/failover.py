# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move the records of a name from one side to the other: plan, refuse what is unsafe, one batch, wait, look at what clients get."""

from __future__ import annotations

import dataclasses
import functools
import re
import secrets
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws import health_check_plan as checks
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply
from ansible_collections.mainstay.ops.plugins.module_utils._aws.route53 import Route53
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe import dns, http
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer, split_address, tls_context

SENDS = 3
"""How often a batch is sent whose answer was lost and that has not been made."""
PROBE_PAUSE = 1.0
VERIFY_SECONDS = 30
"""Seconds in which the name servers have to answer rightly after INSYNC."""
TO_BE_MADE = "(to be made)"
ROLES = (plans.PRIMARY, plans.SECONDARY)


@dataclasses.dataclass(frozen=True)
class Live:
    """What Route 53 has."""

    records: list[dict[str, t.Any]]
    marker_records: list[dict[str, t.Any]]

    @property
    def marker(self) -> plans.Marker | None:
        """What the last switch has left."""
        return next((found for found in map(plans.read_marker, self.marker_records) if found), None)

    @property
    def all(self) -> list[dict[str, t.Any]]:
        """The records and the marker's."""
        return [*self.records, *self.marker_records]


def read(api: Route53, zone_id: str, name: str) -> Live:
    """Return the records of a name, and those of its marker."""
    pair = [record for record in api.records(zone_id, name) if record["Type"] in ("A", "AAAA", "CNAME")]
    marker = [record for record in api.records(zone_id, f"{plans.MARKER_PREFIX}{name}") if record["Type"] == "TXT"]
    return Live(pair, marker)


class Failover:
    """One run."""

    verify_seconds: float = VERIFY_SECONDS

    def __init__(self, api: Route53, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        """Take a client and the module's options."""
        self._api, self._params, self._check = api, params, check_mode
        self.actions: list[str] = []
        self.warnings: list[str] = []
        self._name = plans.absolute(params["name"])
        self._steps: dict[str, checks.Step] = {}
        self._health: dict[str, t.Any] = {}

    @functools.cached_property
    def _zone(self) -> str:
        return self._params["hosted_zone_id"] or self._api.zone_id(self._params["zone"], self._params["private_zone"])

    def run(self) -> dict[str, t.Any]:
        """Do what the options say and return the module's result.

        Raises:
            MainstayError: it was refused or failed; its ``reason`` says which case it is.
        """
        live = read(self._api, self._zone, self._name)
        if self._params["state"] == "absent":
            return self._remove(live)
        active = self._params["active"]
        pair = self._pair()
        pair.check(active)
        before = plans.classify(pair.method, live.records, live.marker, pair)
        self._refuse_foreign(pair, live)
        self._refuse_stale(before, plans.fingerprint(live.all), live)
        self._leave_switch(live)
        changes = plans.batch(live.records, pair.records(active))
        switch = before not in (plans.ABSENT, active)
        if switch:
            self._refuse_flapping(live.marker)
            self._refuse_unfit(pair, active)
        self._make_checks()
        if not self._check:
            pair = self._pair()  # with the identifiers of the checks that have just been made
            changes = plans.batch(live.records, pair.records(active))
        return self._apply(pair, live, before, active, changes)

    def _pair(self) -> plans.Pair:
        owned = any(self._params[role]["health_check"] for role in ROLES)
        known = self._api.health_checks() if owned else []
        sides = {role: self._side(role, known) for role in ROLES}
        return plans.Pair(self._name, self._params["method"], sides[plans.PRIMARY], sides[plans.SECONDARY], self._params["ttl"])

    def _side(self, role: str, known: list[dict[str, t.Any]]) -> plans.Target:
        options = self._params[role]
        target = plans.plan_target(role, options)
        if options["health_check"] is None:
            return target
        if target.health_check:
            raise InvalidInput(f"give the {role} a health check", "it has health_check and health_check_id", "give one of them")
        start = checks.prefix(self._zone, self._name, target.identifier)
        step = checks.plan(start, checks.configuration(options["health_check"]), known)
        self._steps[role] = step
        return dataclasses.replace(target, health_check=TO_BE_MADE if step.action == "create" else step.identifier)

    def _refuse_foreign(self, pair: plans.Pair, live: Live) -> None:
        strange = plans.foreign(pair, live.records)
        strange += [plans.describe(record) for record in live.marker_records if plans.read_marker(record) is None]
        if strange:
            cause = f"there are records that it has not made: {'; '.join(strange)}"
            raise MainstayError(f"keep the records of {self._name}", cause, "remove them, or choose another name", reason="foreign", records=strange)

    def _leave_switch(self, live: Live) -> None:
        """Drop the check of the switch that the pair hangs on, once its records have moved."""
        if live.marker is not None and live.marker.active == plans.SWITCH:
            self._steps[plans.SWITCH] = checks.obsolete(checks.prefix(self._zone, self._name, checks.SWITCHED), self._api.health_checks())
            self.warnings.append("the pair hung on a switch; its objects stay in the bucket, where nothing looks for them any more")

    def _refuse_stale(self, before: str, seen: str, live: Live) -> None:
        expected, word = self._params["expect_active"], self._params["expect_fingerprint"]
        if (expected and expected != before) or (word and word != seen):
            wanted = expected if expected and expected != before else word
            cause = f"{wanted} was expected, and live is {before} with the fingerprint {seen}"
            step = "look at the live records, then decide again"
            raise MainstayError(f"switch {self._name}", cause, step, reason="stale_expectation", **self._state(live, before, seen))

    def _refuse_flapping(self, marker: plans.Marker | None) -> None:
        waited = time.time() - marker.at if marker else None
        least = self._params["min_interval"]
        if waited is not None and waited < least and not self._params["force"]:
            cause = f"the last switch was {waited:.0f} s ago, less than min_interval, {least} s"
            raise MainstayError(f"switch {self._name}", cause, "wait, or use force with force_reason", reason="flap_guard")

    def _refuse_unfit(self, pair: plans.Pair, active: str) -> None:
        role = plans.PRIMARY if active == plans.AUTO else active
        other = next(each for each in ROLES if each != role)
        problem = self._unfit(pair, role)
        if not problem or not self._params["require_healthy"]:
            return
        if self._params["force"]:
            self.warnings.append(f"the {role} is not fit ({problem}); switched by force: {self._params['force_reason']}")
            return
        if self._unfit(pair, other):
            cause = f"neither side is fit: {role}: {problem}; {other}: {self._health[other]['problem']}"
            step = "a switch would help nobody: repair one side"
            raise MainstayError(f"switch {self._name} to {active}", cause, step, reason="both_unhealthy", health=self._health)
        step = f"repair the {role}, or use force with force_reason"
        raise MainstayError(f"switch {self._name} to {active}", f"the {role} is not fit: {problem}", step, reason="target_unhealthy", health=self._health)

    def _unfit(self, pair: plans.Pair, role: str) -> str:
        """Return why a side is not fit, or nothing. One look at the health check's status, which is meant for people, and probes from here."""
        check, probe = pair.side(role).health_check, self._params[role]["probe"]
        known = checks.healthy(self._api.observations(check)) if check not in ("", TO_BE_MADE) else None
        problem = "its health check fails" if known is False else self._probe(probe) if probe else ""
        if known is None and not probe:
            ways = f"{role}.probe" if self._params["method"] == "s3_switch" else f"{role}.probe or {role}.health_check"
            problem = f"nothing says whether it is; give {ways}, or set require_healthy to false"
        self._health[role] = {"health_check": known, "probed": bool(probe), "problem": problem}
        return problem

    def _probe(self, options: t.Mapping[str, t.Any]) -> str:
        """Probe a side as often as is asked for; return the first problem, or nothing."""
        place = http.locate(options["url"])
        context = tls_context(options["validate_certs"], options["ca_cert"], None, None) if place.scheme == "https" else None
        body = re.compile(options["body_regex"]) if options["body_regex"] else None
        connect_to = split_address(options["connect_to"]) if options["connect_to"] else None
        target = http.Target(options["url"], status=tuple(options["status"]), body_regex=body, connect_to=connect_to, context=context)
        for number in range(self._params["probes"]):
            if number:
                time.sleep(PROBE_PAUSE)
            try:
                finding = http.probe(target, Budget.of(self._params["probe_timeout"]))
            except NoAnswer as error:
                return f"{options['url']}: {error}"
            if finding.problems:
                return f"{options['url']}: {'; '.join(finding.problems)}"
        return ""

    def _make_checks(self) -> None:
        for role, step in self._steps.items():
            name = f"{self._name} {role}"
            if step.action == "create":
                self.actions.append(f"make a health check for the {role}")
                if not self._check:
                    self._api.create_check(step.reference, step.config, name)
            elif step.action == "update":
                self.actions.append(f"change the health check of the {role}")
                if not self._check:
                    self._api.update_check(step.identifier, step.version, step.config)

    def _drop_old_checks(self) -> None:
        for role, step in self._steps.items():
            for identifier in step.obsolete:
                self.actions.append(f"remove an old health check of the {role}")
                if not self._check:
                    self._api.delete_check(identifier)

    def _apply(self, pair: plans.Pair, live: Live, before: str, active: str, changes: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        sent = ("", "unchanged")
        wanted = live.all
        if changes:
            marker = plans.Marker(active, int(time.time()), secrets.token_hex(8)).record(self._name, self._params["ttl"])
            wanted = [*pair.records(active), marker]
            whole = plans.batch(live.all, wanted)
            words = f"make {active} the active side of {self._name} (it was {before})"
            self.actions.append(words if before != active else f"change the records of {self._name}")
            sent = ("", "planned") if self._check else self._send(live, wanted, whole)
        self._drop_old_checks()
        if changes and not self._check:
            self._look(pair, active, live)
        return self._result(live, before, active, wanted, sent)

    def _send(self, live: Live, wanted: list[dict[str, t.Any]], changes: list[dict[str, t.Any]]) -> tuple[str, str]:
        """Send a batch; return the identifier and the status of the change.

        Its DELETEs carry what was read, so it is refused if somebody else has written meanwhile. The answer may be lost on its way, to boto3 too, which then
        sends again and is refused: what is live says which of these it was.
        """
        change = ""
        for unused in range(SENDS):
            try:
                change = self._api.change(self._zone, changes, f"mainstay.ops.route53_failover {self._name}")
                break
            except NoReply:
                now = read(self._api, self._zone, self._name)
            except AwsError as error:
                if error.code != "InvalidChangeBatch":
                    raise
                now = read(self._api, self._zone, self._name)
                if not equal(now.all, wanted):
                    raise self._conflict(live, now, error) from error
            if equal(now.all, wanted):
                self.warnings.append("the answer to the change was lost; it was made, as the records show")
                return "", "UNKNOWN"
            if not equal(now.all, live.all):
                raise self._conflict(live, now, "the answer was lost, and the records are neither the old nor the new ones")
        else:
            raise MainstayError(f"switch {self._name}", f"{SENDS} answers were lost, and nothing was changed", "try again", reason="no_reply")
        if not self._params["wait"]:
            return change, "PENDING"
        status = self._api.wait(change, self._params["wait_timeout"])
        if status != "INSYNC":
            cause = f"the change is accepted, but not on all name servers after {self._params['wait_timeout']} s"
            step = "it goes on by itself; look at it with GetChange"
            raise MainstayError(f"wait for the change {change}", cause, step, reason="not_in_sync", changed=True, change_id=change)
        return change, status

    def _conflict(self, live: Live, now: Live, cause: object) -> MainstayError:
        expected, found = ([plans.describe(record) for record in each.all] for each in (live, now))
        return MainstayError(
            f"switch {self._name}",
            f"somebody else has changed the records meanwhile, and nothing was overwritten ({cause})",
            "look at both versions, then decide again",
            reason="conflict",
            expected=expected,
            live=found,
        )

    def _look(self, pair: plans.Pair, active: str, live: Live) -> None:
        if self._params["wait_ttl"]:
            time.sleep(self._old_seconds(live))
        if self._params["verify"] == "none" or not self._params["wait"]:
            return
        roles = ROLES if active == plans.AUTO else (active,)
        for kind in pair.primary.types:
            allowed = [sorted(pair.side(role).addresses.get(kind, ())) for role in roles]
            if [] in allowed:
                self.warnings.append(f"the answer to {kind} is not verified, since an alias has no address of its own")
                continue
            self._verify(kind, allowed)

    def _old_seconds(self, live: Live) -> int:
        """Return for how many seconds clients may get the old answer."""
        return longest_ttl(live.records)

    def _verify(self, kind: str, allowed: list[list[str]]) -> None:
        end = time.monotonic() + self.verify_seconds
        while wrong := self._wrong_answers(kind, allowed):
            if time.monotonic() >= end:
                step = "there is no way back by itself: look at the records, then decide"
                raise MainstayError(f"verify {self._name} {kind}", "; ".join(wrong), step, reason="not_verified", changed=True)
            time.sleep(1)

    def _wrong_answers(self, kind: str, allowed: list[list[str]]) -> list[str]:
        if self._params["verify"] == "testdns":
            found = sorted(self._api.test_answer(self._zone, self._name, kind))
            return [] if found in allowed else [f"Route 53 answers {', '.join(found) or 'nothing'}"]
        wrong = []
        for server in self._params["name_servers"] or self._api.name_servers(self._zone):
            host, port = split_address(server)
            try:
                finding = dns.probe(dns.Target(host, port or 53, self._name.rstrip("."), kind), Budget.of(5.0))
                found = sorted(finding.observed["answers"])
            except NoAnswer as error:
                wrong.append(f"{server}: {error}")
                continue
            if found not in allowed:
                wrong.append(f"{server} answers {', '.join(found) or 'nothing'}")
        return wrong

    def _remove(self, live: Live) -> dict[str, t.Any]:
        pair = self._pair()
        before = plans.classify(pair.method, live.records, live.marker, pair)
        self._refuse_foreign(pair, live)
        self._refuse_stale(before, plans.fingerprint(live.all), live)
        self._leave_switch(live)
        sent = self._remove_records(live)
        return self._result(live, before, plans.ABSENT, [], sent)

    def _remove_records(self, live: Live) -> tuple[str, str]:
        sent = ("", "unchanged")
        if live.all:
            self.actions.append(f"remove the records of {self._name}")
            sent = ("", "planned") if self._check else self._send(live, [], plans.batch(live.all, []))
        for role, step in self._steps.items():
            for identifier in (*step.obsolete, *([step.identifier] if step.identifier else [])):
                self.actions.append(f"remove the health check of the {role}")
                if not self._check:
                    self._api.delete_check(identifier)
        return sent

    @staticmethod
    def _state(live: Live, before: str, seen: str) -> dict[str, t.Any]:
        return {"active": before, "fingerprint": seen, "records": [plans.describe(record) for record in live.all]}

    def _result(self, live: Live, before: str, active: str, wanted: list[dict[str, t.Any]], sent: tuple[str, str]) -> dict[str, t.Any]:
        texts = [sorted(plans.describe(record) for record in each) for each in (live.all, wanted)]
        ttl = longest_ttl(live.records)
        changed_records = sent[1] != "unchanged"
        return {
            "changed": bool(self.actions),
            "actions": self.actions,
            "active": active,
            "previous_active": before,
            "method": self._params["method"],
            "zone_id": self._zone,
            "records": {"before": texts[0], "after": texts[1]},
            "fingerprint": plans.fingerprint(wanted),
            "change_id": sent[0],
            "change_status": sent[1],
            "health": self._health,
            "old_ttl": ttl,
            "effective_after": in_utc(time.time() + ttl) if changed_records else "",
            "switch": {},
            "forced": bool(self._params["force"]),
            "force_reason": self._params["force_reason"] if self._params["force"] else "",
            "diff": {"before": "".join(f"{line}\n" for line in texts[0]), "after": "".join(f"{line}\n" for line in texts[1])},
        }


def equal(one: t.Sequence[t.Mapping[str, t.Any]], other: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Tell whether two sets of records are the same."""
    return plans.fingerprint(one) == plans.fingerprint(other)


def longest_ttl(records: t.Iterable[t.Mapping[str, t.Any]]) -> int:
    """Return how many seconds answers of records may be kept; an alias of a resource has 60."""
    return max((record.get("TTL", 60) for record in records), default=0)


def in_utc(moment: float) -> str:
    """Return a moment of Unix time in words."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
