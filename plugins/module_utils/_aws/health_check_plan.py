# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health checks that belong to a failover pair. Nothing here asks AWS.

Route 53 API reference, ``CreateHealthCheck``: a caller reference belongs to one health check, for some days even after its end; the type and the
interval of a check cannot change. So a reference here is made of what the check is for and a generation, and a change of type or interval makes the next
one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

SWITCHED = "switch of the name"
"""Stands for the identifier of a side in the references of a switch's checks."""
UNCHANGEABLE = ("Type", "RequestInterval")
NAMES = {
    "type": "Type",
    "ip_address": "IPAddress",
    "port": "Port",
    "path": "ResourcePath",
    "fqdn": "FullyQualifiedDomainName",
    "search_string": "SearchString",
    "interval": "RequestInterval",
    "failure_threshold": "FailureThreshold",
    "inverted": "Inverted",
}


def prefix(zone: str, name: str, identifier: str) -> str:
    """Return how the caller references of one side's checks begin."""
    return "mainstay-" + hashlib.sha256(f"{zone} {name} {identifier}".encode()).hexdigest()[:32] + "-"


def configuration(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the API's form of a side's option ``health_check``."""
    found = {api: options[name] for name, api in NAMES.items() if options.get(name) is not None}
    if options["type"].startswith("HTTPS"):
        found["EnableSNI"] = True
    return found


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done for one side's health check.

    Attributes:
        action: ``keep``, ``create`` or ``update``.
        config: what the check shall be.
        reference: the caller reference of a new one.
        identifier: of the one that is there.
        version: of the one that is there.
        obsolete: identifiers of older generations, which go when the records have moved.
    """

    action: str
    config: t.Mapping[str, t.Any]
    reference: str = ""
    identifier: str = ""
    version: int = 0
    obsolete: tuple[str, ...] = ()


def generation(check: t.Mapping[str, t.Any]) -> int:
    """Return the generation of one of our checks."""
    match = re.search(r"-(\d+)$", check["CallerReference"])
    return int(match[1]) if match else 0


def own(start: str, checks: t.Iterable[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    """Return one side's checks, the newest generation last."""
    return sorted((check for check in checks if check["CallerReference"].startswith(start)), key=generation)


def obsolete(start: str, checks: t.Iterable[t.Mapping[str, t.Any]]) -> Step:
    """Return what is to be done with one side's checks if it shall have none: they go when the records have moved."""
    return Step("keep", {}, obsolete=tuple(check["Id"] for check in own(start, checks)))


def plan(start: str, config: t.Mapping[str, t.Any], checks: t.Iterable[t.Mapping[str, t.Any]]) -> Step:
    """Return what is to be done so that a side has its health check.

    Args:
        start: how the caller references begin.
        config: what the check shall be.
        checks: all health checks of the account.
    """
    found = own(start, checks)
    if not found:
        return Step("create", config, f"{start}1")
    newest, older = found[-1], tuple(check["Id"] for check in found[:-1])
    live = newest["HealthCheckConfig"]
    if any(live.get(key) != config.get(key) for key in UNCHANGEABLE):
        return Step("create", config, f"{start}{generation(newest) + 1}", obsolete=(*older, newest["Id"]))
    differs = any(live.get(key) != value for key, value in config.items())
    return Step("update" if differs else "keep", config, "", newest["Id"], int(newest["HealthCheckVersion"]), older)


def healthy(observations: t.Sequence[t.Mapping[str, t.Any]]) -> bool | None:
    """Tell whether more than 18 % of the checkers find an endpoint well, as Route 53 decides; None if none has looked yet."""
    words = [row["StatusReport"]["Status"] for row in observations]
    return sum(text.startswith("Success") for text in words) / len(words) > 0.18 if words else None
