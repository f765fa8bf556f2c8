# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch of a failover pair, an object in a bucket. Nothing here asks AWS.

Route 53's checkers ask for the object without credentials, and their check is inverted: while the object is there, the primary counts as ill, and the name
servers answer with the secondary. So a failover needs the bucket's data plane and that of Route 53, and no control plane.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import failover_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http

OBJECT, STATE = "failover", "state"
PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
LONGEST_PATH = 255
"""Characters of a health check's path (Route 53 API reference, ``HealthCheckConfig``, ResourcePath)."""


@dataclasses.dataclass(frozen=True)
class Switch:
    """Where the switch is.

    Attributes:
        bucket: the bucket.
        prefix: of both objects, without a slash at its end.
        base: where the bucket answers without credentials, without a slash at its end.
        interval: seconds between two checks of one checker.
        threshold: so many checks in a row change the verdict.
    """

    bucket: str
    prefix: str
    base: str
    interval: int = 10
    threshold: int = 3

    @property
    def key(self) -> str:
        """The object that is there while the secondary is the active side."""
        return f"{self.prefix}/{OBJECT}"

    @property
    def state_key(self) -> str:
        """The object that is always there: it says when the last switch was, and shows that the checkers can read what lies beside it."""
        return f"{self.prefix}/{STATE}"

    @property
    def url(self) -> str:
        """What the checkers ask for."""
        return f"{self.base}/{self.key}"

    @property
    def state_url(self) -> str:
        """Where the state can be read without credentials."""
        return f"{self.base}/{self.state_key}"

    @property
    def seconds(self) -> int:
        """Seconds within which the checkers find that the object has come or gone."""
        return self.interval * self.threshold

    def shown(self, key: str) -> str:
        """Return how an object is called in messages."""
        return f"s3://{self.bucket}/{key}"

    def check(self) -> dict[str, t.Any]:
        """Return the switch's health check, as a side's option ``health_check``."""
        place = http.locate(self.url)
        try:
            endpoint = {"ip_address": str(ipaddress.ip_address(place.host))}
        except ValueError:
            endpoint = {"fqdn": place.host}
        path = {"port": place.port, "path": place.path}
        return {"type": place.scheme.upper(), **endpoint, **path, "interval": self.interval, "failure_threshold": self.threshold, "inverted": True}


def plan_switch(name: str, options: t.Mapping[str, t.Any] | None) -> Switch:
    """Return the switch as the option ``switch`` describes it.

    Args:
        name: the record's name, absolute.
        options: the option.

    Raises:
        InvalidInput: it is not given, or the checkers could not ask for it.
    """
    doing = f"keep the switch of {name}"
    if options is None:
        raise InvalidInput(doing, "s3_switch needs an object to look for", "give switch with the bucket and its region")
    prefix = options["prefix"] if options["prefix"] is not None else "mainstay/" + name.rstrip(".").replace("\\052", "_wildcard")
    base = (options["bucket_url"] or f"https://{options['bucket']}.s3.{options['region']}.amazonaws.com").rstrip("/")
    found = Switch(options["bucket"], prefix, base, options["interval"], options["failure_threshold"])
    if not PREFIX.fullmatch(prefix):
        cause = f"the prefix {prefix!r} is not of letters, digits, '.', '_', '-' and single slashes between them"
        raise InvalidInput(doing, cause, "give such a switch.prefix")
    if len(http.locate(found.url).path) > LONGEST_PATH:
        raise InvalidInput(doing, f"the path of {found.url} has more than {LONGEST_PATH} characters", "give a shorter switch.prefix")
    if not 1 <= found.threshold <= 10:
        raise InvalidInput(doing, f"switch.failure_threshold is {found.threshold}", "give 1 to 10")
    return found


def url_of_check(config: t.Mapping[str, t.Any]) -> str:
    """Return what a switch's health check asks for, from its configuration; empty if it is none."""
    if not config.get("Inverted") or config["Type"] not in ("HTTP", "HTTPS") or not config.get("ResourcePath", "").endswith(f"/{OBJECT}"):
        return ""
    return f"{config['Type'].lower()}://{config.get('FullyQualifiedDomainName') or config.get('IPAddress')}:{config['Port']}{config['ResourcePath']}"


def url_of_state(url: str) -> str:
    """Return where the state lies beside a switch's object."""
    return f"{url.removesuffix(OBJECT)}{STATE}"


@dataclasses.dataclass(frozen=True)
class Position:
    """How the switch stands.

    Attributes:
        thrown: whether the object is there.
        state: what the state object says; None if it is not there, or holds something else.
        state_etag: its version; empty if it is not there.
    """

    thrown: bool
    state: plans.Marker | None = None
    state_etag: str = ""

    @property
    def active(self) -> str:
        """The side that it makes active."""
        return plans.SECONDARY if self.thrown else plans.PRIMARY

    @property
    def fingerprint(self) -> str:
        """A short word for it."""
        return hashlib.sha256(f"{self.thrown} {self.state.text if self.state else ''}".encode()).hexdigest()[:16]

    def line(self, switch: Switch) -> str:
        """Return it in one line, as records are shown."""
        return f"{switch.shown(switch.key)} {'is there' if self.thrown else 'is not there'}"
