# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an alert fires at this moment, asked of Alertmanager or of Prometheus.

A message that an alert fires may be late, repeated or made up; what is done depends on what the server says now.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import CHECK_OPTIONS
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer

ALERTMANAGER, PROMETHEUS = "alertmanager", "prometheus"
#: How a server is reached and logged in to; they are those of the checks of ``health_probe``.
CONNECTION = ("bearer_token", "ca_cert", "client_cert", "client_key", "validate_certs")
#: Labels that can hold the name or the address of what an alert is about. A port is left out.
TARGET_LABELS = ("instance", "host", "target", "nodename")
TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True)
class Alert:
    """An alert as a server knows it: its labels, and why it does not count, empty if it fires."""

    labels: t.Mapping[str, str]
    quiet: str

    def about(self, names: t.Collection[str]) -> bool:
        """Whether it is about a host with one of these names or addresses."""
        return bool({self.labels.get(label, "").rpartition(":")[0] or self.labels.get(label, "") for label in TARGET_LABELS} & set(names))


def connection_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options for reaching a server."""
    return {name: CHECK_OPTIONS[name] for name in CONNECTION}


def quiet_reason(api: str, url: str, connection: t.Mapping[str, t.Any], alert: str, names: t.Collection[str]) -> str:
    """Return why an alert does not count as firing for a host, empty if it fires.

    Args:
        api: :data:`ALERTMANAGER` or :data:`PROMETHEUS`.
        url: the server's URL.
        connection: the options of :func:`connection_spec`.
        alert: name of the alert.
        names: name and addresses of the host.

    Raises:
        InvalidInput: the URL or a file is of no use.
        MainstayError: no answer came that could be understood. What cannot be seen does not fire, so the caller refuses.
    """
    found = [each for each in _read(api, _ask(api, url, connection, alert)) if each.labels.get("alertname") == alert and each.about(names)]
    if not found:
        return f"{alert} does not fire for {'/'.join(sorted(names))} any more"
    return "" if any(not each.quiet for each in found) else f"{alert} {found[0].quiet}"


def _ask(api: str, url: str, connection: t.Mapping[str, t.Any], alert: str) -> str:
    if urllib.parse.urlsplit(url).query:
        raise InvalidInput(f"ask {url}", "it holds a query string", "give the server's URL")
    path = "/api/v1/alerts" if api == PROMETHEUS else f"/api/v2/alerts?{urllib.parse.urlencode({'filter': f'alertname={json.dumps(alert)}'})}"
    defaults = {name: option.get("default") for name, option in CHECK_OPTIONS.items()}
    request = http.plan({**defaults, **connection, "url": url.rstrip("/") + path})
    doing, next_step = f"see at {url} whether {alert} fires", "nothing was done; check the URL, its certificate and the login"
    try:
        answer = http.ask(request, Budget.of(TIMEOUT))
    except NoAnswer as error:
        raise MainstayError(doing, error, next_step) from error
    if answer.status != 200:
        raise MainstayError(doing, f"it answered {answer.status}: {request.shown(answer.body)}", next_step)
    return answer.body


def _read(api: str, body: str) -> list[Alert]:
    """The alerts of an answer.

    Raises:
        MainstayError: it is none of the API's.
    """
    try:
        document = json.loads(body)
        if api == PROMETHEUS:
            return [Alert(each["labels"], "" if each["state"] == "firing" else f"is {each['state']}") for each in document["data"]["alerts"]]
        return [Alert(each["labels"], _suppressed(each["status"])) for each in document]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MainstayError(f"read what {api} answered", f"it is not what its API answers ({error!r})", "check that the URL is that of the server") from error


def _suppressed(status: t.Mapping[str, t.Any]) -> str:
    if status["state"] == "active":
        return ""
    return "is silenced" if status.get("silencedBy") else "is inhibited by another alert" if status.get("inhibitedBy") else f"is {status['state']}"
