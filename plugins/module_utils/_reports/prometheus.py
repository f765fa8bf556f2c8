# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus, or anything that speaks its HTTP API, for series over time."""

from __future__ import annotations

import dataclasses
import json
import math
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http, proxy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import CHECK_OPTIONS
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer

LOGIN = ("headers", "secret_headers", "login_user", "login_password", "bearer_token", "connect_to", "server_hostname", "ca_cert", "client_cert", "client_key",
         "validate_certs")
MOST_BYTES = 64 << 20
"""Bytes of an answer that are read: some thousand series of a month by the hour."""
MOST_POINTS = 11000
"""Points of one series that Prometheus returns at most; it refuses more."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One series: its labels, and its points as Unix time and value. What is not a finite number is left out."""

    labels: t.Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


def prometheus_spec(required: bool = True) -> dict[str, t.Any]:
    """Return the option ``prometheus``; the documentation is the fragment of that name."""
    options = {"url": {"type": "str", "required": True}, "timeout": {"type": "float", "default": 30.0}, **{name: CHECK_OPTIONS[name] for name in LOGIN}}
    return {"prometheus": {"type": "dict", "required": required, "options": options}}


class Prometheus:
    """A server that is asked."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        """Take the option ``prometheus``.

        Raises:
            InvalidInput: the URL, a header or a file is of no use.
        """
        if options["timeout"] <= 0:
            raise InvalidInput(f"ask Prometheus for {options['timeout']:g} s", "that is no time", "give timeout in seconds, above 0")
        if urllib.parse.urlsplit(options["url"]).query:
            raise InvalidInput(f"understand the URL {options['url']}", "it holds a query string", "give the server's URL")
        self.url, self._timeout = options["url"].rstrip("/"), options["timeout"]
        unset = dict.fromkeys(("body", "body_regex", "assertions", "follow_redirects", "max_redirects", *proxy.OPTIONS))
        self._request = dataclasses.replace(http.plan({**unset, **options, "method": "GET", "status": [200]}), max_body=MOST_BYTES)

    def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return the series of a query between two Unix times, one point every ``step`` seconds.

        Raises:
            MainstayError: there is no answer, or it is none.
        """
        if (end - start) / step >= MOST_POINTS:
            raise InvalidInput(f"read {(end - start) / 86400:g} days in steps of {step:g} s", f"these are more than {MOST_POINTS} points", "take longer steps")
        return self._series("query_range", "values", query, {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"})

    def instant(self, query: str, at: float) -> list[Series]:
        """Return the series of a query at a Unix time, each with one point.

        Raises:
            MainstayError: there is no answer, or it is none.
        """
        return self._series("query", "value", query, {"time": f"{at:.3f}"})

    def _series(self, call: str, key: str, query: str, arguments: t.Mapping[str, str]) -> list[Series]:
        """Ask, and return the series that have a point."""
        found = []
        try:
            for series in self._ask(call, query, arguments)["result"]:
                points = series[key] if key == "values" else [series[key]]
                finite = tuple((float(at), float(value)) for at, value in points if math.isfinite(float(value)))
                if finite:
                    found.append(Series(series["metric"], finite))
        except (ValueError, TypeError, KeyError) as error:
            raise MainstayError(self._doing(query), "the answer holds no series", "see whether the query returns an instant vector") from error
        return found

    def _doing(self, query: str) -> str:
        return f"ask Prometheus at {self.url} for {query}"

    def _ask(self, call: str, query: str, arguments: t.Mapping[str, str]) -> t.Any:
        """Return the data of an answer."""
        url = f"{self.url}/api/v1/{call}?{urllib.parse.urlencode({'query': query, **arguments})}"
        try:
            answer = http.ask(dataclasses.replace(self._request, url=url), Budget.of(self._timeout))
        except NoAnswer as error:
            raise MainstayError(self._doing(query), error, "see whether the URL is right and the server runs") from error
        if len(answer.body) >= MOST_BYTES:
            raise MainstayError(self._doing(query), f"the answer has more than {MOST_BYTES >> 20} MiB", "take longer steps, or fewer series")
        try:
            parsed = json.loads(answer.body)
            if parsed["status"] == "success":
                return parsed["data"]
            cause = f"{parsed.get('errorType')}: {parsed.get('error')}"
        except (ValueError, TypeError, KeyError) as error:
            start = self._request.shown(answer.body)
            raise MainstayError(self._doing(query), f"it answered {answer.status}, starting with {start!r}", "see whether this is Prometheus") from error
        raise MainstayError(self._doing(query), self._request.shown(cause), "correct the query, or read fewer days")
