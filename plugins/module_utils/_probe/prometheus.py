# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what a PromQL query returns, asked of Prometheus or of anything that speaks its HTTP API (Thanos, Mimir, VictoriaMetrics)."""

from __future__ import annotations

import dataclasses
import json
import math
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget

OPTIONS = http.REQUEST_OPTIONS | {"query", "assertions", "min_value", "max_value", "equals", "on_empty"}
OBSERVED = ("address", "http_status", "body_start", "series", "lowest", "highest")
#: How many series that are out of bounds a message names.
MESSAGE_SERIES = 3


@dataclasses.dataclass(frozen=True)
class Target:
    """A query, and what every value that it returns has to be."""

    url: str
    request: http.Target
    query: str
    min_value: float | None = None
    max_value: float | None = None
    equals: float | None = None
    on_empty: str = "unhealthy"

    def __str__(self) -> str:
        """How the target is called."""
        return f"{self.url} {self.query}"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A value, and the labels of its series as PromQL writes them."""

    labels: str
    value: float


def plan(options: dict[str, t.Any]) -> Target:
    """The query that the check's options describe.

    Raises:
        InvalidInput: the URL, a bound or a file is of no use, or bounds contradict each other.
    """
    least, most, equals = options["min_value"], options["max_value"], options["equals"]
    if equals is not None and (least is not None or most is not None):
        raise InvalidInput("judge the values", "equals excludes min_value and max_value")
    if least is not None and most is not None and least > most:
        raise InvalidInput("judge the values", f"min_value {least:g} is above max_value {most:g}")
    if urllib.parse.urlsplit(options["url"]).query:
        raise InvalidInput(f"understand the URL {options['url']}", "it holds a query string", "give the server's URL, and the PromQL as query")
    url = f"{options['url'].rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': options['query']})}"
    request = http.plan({**options, "url": url, "method": "GET", "body": None, "status": [200], "body_regex": None})
    return Target(options["url"], request, options["query"], least, most, equals, options["on_empty"])


def probe(target: Target, budget: Budget) -> Finding:
    """Ask the query and judge its values.

    Raises:
        NoAnswer: no complete answer came.
    """
    answer = http.ask(target.request, budget)
    finding = http.judge_answer(target.request, answer)
    observed = {name: finding.observed[name] for name in ("address", "http_status", "body_start")}
    if answer.status != 200:
        return dataclasses.replace(finding, observed=observed)
    try:
        samples = read_samples(answer.body)
    except ValueError as error:
        start = target.request.shown(answer.body)
        return Finding("", (f"{error}; body starts with {start!r}",), (), {**observed, "body_start": start})
    judged = judge_samples(target, samples)
    return Finding(judged.summary, finding.problems + judged.problems, judged.warnings, {**observed, **judged.observed})


def read_samples(body: str) -> list[Sample]:
    """The values of an instant query's answer, a scalar's among them.

    Raises:
        ValueError: it is none, says so in a sentence.
    """
    try:
        document = json.loads(body)
        data = document["data"]
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            return [Sample("scalar", float(result[1]))]
        if kind == "vector":
            return [Sample(_labels(series["metric"]), float(series["value"][1])) for series in result]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError("the answer is not one of Prometheus's HTTP API") from error
    raise ValueError(f"the query returns a {kind}, not an instant vector or a scalar")


def judge_samples(target: Target, samples: t.Sequence[Sample]) -> Finding:
    """Hold every value against the bounds; NaN is within none."""
    values = [sample.value for sample in samples if math.isfinite(sample.value)]
    observed = {"series": len(samples), "lowest": min(values, default=None), "highest": max(values, default=None)}
    if not samples:
        said = ("the query returned no series",)
        problems, warnings = (said if target.on_empty == status else () for status in ("unhealthy", "degraded"))
        return Finding(said[0], problems, warnings, observed)
    wrong = [f"{sample.labels} is {sample.value:g}, {fault}" for sample in samples if (fault := _fault(target, sample.value))]
    if len(wrong) > MESSAGE_SERIES:
        wrong[MESSAGE_SERIES:] = [f"and {len(wrong) - MESSAGE_SERIES} more of {len(samples)} series"]
    only = f"{samples[0].value:g}" if len(samples) == 1 else f"{len(samples)} series"
    return Finding(f"returned {only}", tuple(wrong), (), observed)


def _fault(target: Target, value: float) -> str:
    if target.equals is not None and value != target.equals:
        return f"expected {target.equals:g}"
    if target.min_value is not None and not value >= target.min_value:
        return f"less than {target.min_value:g}" if value < target.min_value else f"not at least {target.min_value:g}"
    if target.max_value is not None and not value <= target.max_value:
        return f"more than {target.max_value:g}" if value > target.max_value else f"not at most {target.max_value:g}"
    return ""


def _labels(metric: dict[str, str]) -> str:
    name = metric.get("__name__", "")
    others = ", ".join(f"{label}={json.dumps(content)}" for label, content in sorted(metric.items()) if label != "__name__")
    return name + (f"{{{others}}}" if others or not name else "")
