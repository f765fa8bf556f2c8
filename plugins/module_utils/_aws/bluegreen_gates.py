# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of a deployment: probes from here, CloudWatch alarms, and what the load balancer counts."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Watch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check, Policy, failure_text, gate_fails, overall
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import ARGUMENT_SPEC, plan_checks, plan_policy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.runner import run

PROBES = ("smoke_test", "step_test")


class GateFailed(MainstayError):
    """The release is not good enough."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """Checks of health_probe, and what is good enough."""

    checks: tuple[Check, ...]
    policy: Policy

    def problem(self) -> str:
        """Probe; return what is wrong, or nothing."""
        outcomes, unused = run(self.checks, self.policy)
        status = overall([outcome.status for outcome in outcomes], self.policy.min_healthy)
        return failure_text(status, outcomes) if gate_fails(status, self.policy.fail_on) else ""


def plan_probe(option: str, given: t.Mapping[str, t.Any] | None) -> tuple[Probe | None, set[str]]:
    """Return the probe that an option describes, and the secrets in it.

    Args:
        option: its name.
        given: options of the module health_probe.

    Raises:
        InvalidInput: an option is wrong.
    """
    if given is None:
        return None, set()
    result = ArgumentSpecValidator(ARGUMENT_SPEC, mutually_exclusive=[("samples", "duration")]).validate(dict(given))
    doing = f"plan {option}"
    if result.error_messages:
        raise InvalidInput(doing, "; ".join(result.error_messages), "it takes the options of the module health_probe")
    options = result.validated_parameters
    try:
        checks = plan_checks(options["checks"])
        policy = plan_policy(options, len(checks))
    except InvalidInput as error:
        raise InvalidInput(doing, error) from error
    if policy.fail_on == "never":
        policy = dataclasses.replace(policy, fail_on="unhealthy")
    return Probe(tuple(checks), policy), set(result._no_log_values)


@dataclasses.dataclass(frozen=True)
class Counted:
    """What had been counted when a deployment began, and since when."""

    since: datetime.datetime
    before: t.Mapping[str, float]


class Gates:
    """All gates of one deployment."""

    def __init__(self, watch: Watch, params: t.Mapping[str, t.Any]) -> None:
        """Plan the gates.

        Raises:
            InvalidInput: an option is wrong.
        """
        self._watch, self._params = watch, params
        self.secrets: set[str] = set()
        self._probes: dict[str, Probe | None] = {}
        for option in PROBES:
            self._probes[option], secrets = plan_probe(option, params[option])
            self.secrets |= secrets
        given = params["metrics"]
        self._limits = plans.Limits(given["max_5xx_percent"], given["max_response_seconds"], given["min_requests"]) if given else None
        if self._limits is not None and self._limits.errors is None and self._limits.seconds is None:
            raise InvalidInput("plan the gate metrics", "it has no limit", "give max_5xx_percent or max_response_seconds")
        self._ignored: set[str] = set()
        self._counted: Counted | None = None

    def preflight(self, begins: bool = True) -> None:
        """Refuse alarms that do not exist, or that ring already.

        Args:
            begins: whether a deployment begins; one that goes on is taken back if an alarm rings.

        Raises:
            InvalidInput: there is no such alarm.
            MainstayError: one of them is in ALARM.
        """
        found = self._alarms()
        missing = sorted(set(self._params["alarms"]) - set(found))
        if missing:
            raise InvalidInput("watch the alarms", f"there is no alarm {', '.join(missing)}", "give names of alarms of this region")
        ringing = sorted(name for name, state in found.items() if state == "ALARM")
        if ringing and begins and not self._params["allow_preexisting_alarm"]:
            step = "see to them first, or set allow_preexisting_alarm to leave them out"
            raise MainstayError("begin a deployment", f"these alarms ring already: {', '.join(ringing)}", step, reason="alarm")
        self._ignored = set(ringing) if self._params["allow_preexisting_alarm"] else set()

    def begin(self, group: str, balancer: str) -> None:
        """Remember what has been counted of the target group until now."""
        if self._limits is not None:
            now = datetime.datetime.now(datetime.timezone.utc)
            self._counted = Counted(now, self._watch.counts(group, balancer, now))

    def probe(self, option: str) -> None:
        """Probe from here.

        Raises:
            GateFailed: with the last observation of each check.
        """
        probe = self._probes[option]
        problem = probe.problem() if probe else ""
        if problem:
            raise GateFailed(f"pass {option}", problem)

    def look(self, group: str, balancer: str, last: bool) -> None:
        """Look at alarms and metrics.

        Args:
            group: the new release's target group.
            balancer: the load balancer.
            last: whether this is the last look of a step, so that too few requests are a failure.

        Raises:
            GateFailed: a limit is passed.
        """
        problem = plans.judge_alarms(self._alarms(), self._ignored, self._params["alarm_on_insufficient"] == "fail")
        if problem:
            raise GateFailed("keep the release in service", problem)
        if self._limits is not None and self._counted is not None:
            found = plans.judge_metrics(self._limits, self._watch.counts(group, balancer, self._counted.since), self._counted.before)
            if found.bad or (last and not found.good):
                raise GateFailed("keep the release in service", found.why)

    def _alarms(self) -> dict[str, str]:
        return self._watch.alarms(self._params["alarms"]) if self._params["alarms"] else {}
