# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the records of a failover pair are and shall be. Nothing here asks AWS.

Route 53 Developer Guide, "How Amazon Route 53 chooses records when health checking is configured": of two failover records the primary is answered while it is
healthy, else the secondary, and the primary again if both are not. A pair that is pinned to one target holds this target in both records, so that no
health check ever moves it: there is no way back by itself.

A pair that hangs on a switch ("Standby takes over primary" of AWS's "Creating disaster recovery mechanisms using Amazon Route 53") has one check, the
primary's, which is inverted and looks for an object in a bucket: the object is there, the primary counts as ill, and the secondary is answered.
Its records stay as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

ABSENT, AUTO, PRIMARY, SECONDARY, UNKNOWN = "absent", "auto", "primary", "secondary", "unknown"
SWITCH = "switch"
"""What the marker says of a pair that hangs on a switch."""
MARKER_PREFIX = "_failover."
MARKER = re.compile(r'"?mainstay active=(?P<active>\w+) at=(?P<at>\d+) token=(?P<token>\w+)"?')
FULL_WEIGHT = 100
POLICY_KEYS = ("Weight", "Failover", "Region", "GeoLocation", "GeoProximityLocation", "CidrRoutingConfig", "MultiValueAnswer")


def absolute(name: str) -> str:
    """Return a name as Route 53 returns it: lower case, a dot at the end, ``*`` as ``\\052``."""
    name = name.lower().replace("*", "\\052")
    return name if name.endswith(".") else f"{name}."


def alias_name(name: str) -> str:
    """Return the name of an alias's target in a form that can be compared; ``dualstack.`` is put there by the console."""
    return absolute(name).removeprefix("dualstack.")


@dataclasses.dataclass(frozen=True)
class Alias:
    """An AWS resource that a record points at."""

    zone_id: str
    dns_name: str
    evaluate: bool = True

    @property
    def text(self) -> str:
        """In a form that can be compared."""
        return f"alias {self.zone_id} {alias_name(self.dns_name)} {'evaluated' if self.evaluate else 'not evaluated'}"


@dataclasses.dataclass(frozen=True)
class Target:
    """One of the two sides.

    Attributes:
        identifier: the SetIdentifier of its record.
        addresses: by record type.
        alias: an AWS resource instead of addresses.
        alias_types: the record types of the alias.
        health_check: identifier of its health check; empty without one.
    """

    identifier: str
    addresses: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    alias: Alias | None = None
    alias_types: tuple[str, ...] = ("A",)
    health_check: str = ""

    @property
    def types(self) -> tuple[str, ...]:
        """The record types that it has, in order."""
        return tuple(sorted(self.alias_types if self.alias else self.addresses))


def plan_target(role: str, options: t.Mapping[str, t.Any]) -> Target:
    """Return a side as its options describe it.

    Raises:
        InvalidInput: it has neither or both of addresses and alias, or an address is none.
    """
    doing = f"point records at the {role}"
    given, alias = options["addresses"] or [], options["alias"]
    if bool(given) == bool(alias):
        raise InvalidInput(doing, f"{role} needs addresses or an alias, and not both", "give one of them")
    if alias:
        place = Alias(alias["zone_id"], alias["dns_name"], alias["evaluate_target_health"])
        return Target(options["identifier"] or role, {}, place, tuple(sorted(set(alias["types"]))), options["health_check_id"] or "")
    found: dict[str, list[str]] = {}
    for text in given:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise InvalidInput(doing, error, "give IPv4 and IPv6 addresses") from error
        found.setdefault("A" if address.version == 4 else "AAAA", []).append(str(address))
    return Target(options["identifier"] or role, {kind: tuple(sorted(set(each))) for kind, each in found.items()}, None, (), options["health_check_id"] or "")


@dataclasses.dataclass(frozen=True)
class Pair:
    """What shall hold.

    Attributes:
        name: the record's name, absolute.
        method: ``failover``, ``weighted`` or ``s3_switch``.
        primary: one side. With ``s3_switch`` its health check is the switch's.
        secondary: the other one.
        ttl: seconds that an answer may be kept.
    """

    name: str
    method: str
    primary: Target
    secondary: Target
    ttl: int

    def check(self, active: str) -> None:
        """Refuse what Route 53 would refuse, or what would not do what it says.

        Raises:
            InvalidInput: with the reason.
        """
        doing = f"keep the records of {self.name}"
        if self.primary.types != self.secondary.types:
            kinds = f"the primary has {', '.join(self.primary.types)}, the secondary {', '.join(self.secondary.types)}"
            raise InvalidInput(doing, kinds, "give both the same types, so that no client is left on the old side")
        if self.primary.identifier == self.secondary.identifier:
            raise InvalidInput(doing, f"both sides are called {self.primary.identifier}", "give them different identifiers")
        if self.method == "weighted" and active == AUTO:
            raise InvalidInput(doing, "weighted records are not moved by health checks here, so active cannot be auto", "say primary or secondary")
        if self.method == "s3_switch":
            self._check_switched(doing, active)
        for role, target in ((PRIMARY, self.primary), (SECONDARY, self.secondary)):
            if self.method == "failover" and target.alias is None and not target.health_check:
                raise InvalidInput(doing, f"the {role} has no health check, which a failover record needs", f"give {role}.health_check or health_check_id")

    def _check_switched(self, doing: str, active: str) -> None:
        if active == AUTO:
            raise InvalidInput(doing, "with s3_switch an object decides and no health check of a side, so active cannot be auto", "say primary or secondary")
        for role, target in ((PRIMARY, self.primary), (SECONDARY, self.secondary)):
            if target.alias is not None and target.alias.evaluate:
                cause = f"the {role}'s evaluate_target_health would move the name beside the switch"
                raise InvalidInput(doing, cause, f"set {role}.alias.evaluate_target_health to false")

    def side(self, role: str) -> Target:
        """Return a side."""
        return self.primary if role == PRIMARY else self.secondary

    def records(self, active: str) -> list[dict[str, t.Any]]:
        """Return the records that make a side active, or health checks decide, as the API has them."""
        return [record for kind in self.primary.types for record in self._of(kind, active)]

    def _of(self, kind: str, active: str) -> list[dict[str, t.Any]]:
        if self.method == "weighted":
            weights = (FULL_WEIGHT, 0) if active == PRIMARY else (0, FULL_WEIGHT)
            return [self._record(kind, side, side, {"Weight": weight}) for side, weight in zip((self.primary, self.secondary), weights, strict=True)]
        moved_by_checks = active == AUTO or self.method == "s3_switch"
        first = self.primary if moved_by_checks else self.side(active)
        second = self.secondary if moved_by_checks else self.side(active)
        checks = (first.health_check, second.health_check if moved_by_checks else "")
        return [
            self._record(kind, self.primary, first, {"Failover": "PRIMARY"}, checks[0]),
            self._record(kind, self.secondary, second, {"Failover": "SECONDARY"}, checks[1]),
        ]

    def _record(self, kind: str, owner: Target, shown: Target, policy: dict[str, t.Any], check: str = "") -> dict[str, t.Any]:
        record: dict[str, t.Any] = {"Name": self.name, "Type": kind, "SetIdentifier": owner.identifier, **policy}
        if shown.alias:
            alias = shown.alias
            record["AliasTarget"] = {"HostedZoneId": alias.zone_id, "DNSName": absolute(alias.dns_name), "EvaluateTargetHealth": alias.evaluate}
        else:
            record |= {"TTL": self.ttl, "ResourceRecords": [{"Value": address} for address in shown.addresses[kind]]}
        return record | ({"HealthCheckId": check} if check else {})


def contents(record: t.Mapping[str, t.Any]) -> str:
    """Return what a record answers, in a form that can be compared."""
    if "AliasTarget" in record:
        alias = record["AliasTarget"]
        return Alias(alias["HostedZoneId"], alias["DNSName"], alias["EvaluateTargetHealth"]).text
    return " ".join(sorted(item["Value"] for item in record.get("ResourceRecords", [])))


def describe(record: t.Mapping[str, t.Any]) -> str:
    """Return a record in one line."""
    policy = " ".join(f"{key}={record[key]}" for key in ("SetIdentifier", *POLICY_KEYS) if key in record)
    ttl = f"TTL={record['TTL']}" if "TTL" in record else ""
    check = f"HealthCheckId={record['HealthCheckId']}" if "HealthCheckId" in record else ""
    return " ".join(part for part in (record["Name"], record["Type"], policy, ttl, check, contents(record)) if part)


def foreign(pair: Pair, live: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """Return the records at the name that this pair has not made, in one line each."""
    known = {pair.primary.identifier, pair.secondary.identifier}
    policy = "Weight" if pair.method == "weighted" else "Failover"
    strange = []
    for record in live:
        ours = record.get("SetIdentifier") in known and [key for key in POLICY_KEYS if key in record] == [policy]
        if record["Type"] in ("A", "AAAA", "CNAME") and not ours:
            strange.append(describe(record))
    return strange


@dataclasses.dataclass(frozen=True)
class Marker:
    """What the last switch has left: which side, when (Unix time), and a word that tells this batch from any other."""

    active: str
    at: int
    token: str

    @property
    def text(self) -> str:
        """In words, for a record or an object."""
        return f"mainstay active={self.active} at={self.at} token={self.token}"

    def record(self, name: str, ttl: int) -> dict[str, t.Any]:
        """Return the TXT record."""
        return {"Name": f"{MARKER_PREFIX}{name}", "Type": "TXT", "TTL": ttl, "ResourceRecords": [{"Value": f'"{self.text}"'}]}


def parse_marker(text: str) -> Marker | None:
    """Return what :attr:`Marker.text` says, or None for anything else."""
    match = MARKER.fullmatch(text.strip())
    return Marker(match["active"], int(match["at"]), match["token"]) if match else None


def read_marker(record: t.Mapping[str, t.Any] | None) -> Marker | None:
    """Return what a marker's record says, or None."""
    return parse_marker(record["ResourceRecords"][0]["Value"]) if record and record.get("ResourceRecords") else None


def classify(method: str, live: t.Sequence[t.Mapping[str, t.Any]], marker: Marker | None, pair: Pair | None = None) -> str:
    """Return which side is active: absent, auto, primary, secondary or unknown, as that of a pair that hangs on a switch, which is not asked here.

    Args:
        method: ``failover`` or ``weighted``.
        live: the records of the pair.
        marker: what the last switch has left.
        pair: the sides, if they are known; without them a pinned pair is what the marker says.
    """
    if not live:
        return ABSENT
    if marker is not None and marker.active == SWITCH:
        return UNKNOWN
    if method == "weighted":
        weights = {record["SetIdentifier"]: record.get("Weight", 0) > 0 for record in live}
        heavy = [identifier for identifier, carries in weights.items() if carries]
        names = {pair.primary.identifier: PRIMARY, pair.secondary.identifier: SECONDARY} if pair else {PRIMARY: PRIMARY, SECONDARY: SECONDARY}
        return names.get(heavy[0], UNKNOWN) if len(heavy) == 1 else UNKNOWN
    shown: dict[str, dict[str, str]] = {}
    for record in live:
        shown.setdefault(record["Type"], {})[record["Failover"]] = contents(record)
    if pair is not None:
        for active in (AUTO, PRIMARY, SECONDARY):
            wanted: dict[str, dict[str, str]] = {}
            for record in pair.records(active):
                wanted.setdefault(record["Type"], {})[record["Failover"]] = contents(record)
            if wanted == shown:
                return active
    if any(set(each) != {"PRIMARY", "SECONDARY"} for each in shown.values()):
        return UNKNOWN
    if all(each["PRIMARY"] != each["SECONDARY"] for each in shown.values()):
        return AUTO
    return marker.active if marker else UNKNOWN


def same(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    """Tell whether two records agree in everything that is set."""
    keys = ("Name", "Type", "SetIdentifier", "TTL", "HealthCheckId", *POLICY_KEYS)
    return contents(one) == contents(other) and all(one.get(key) == other.get(key) for key in keys)


def batch(live: t.Sequence[dict[str, t.Any]], wanted: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the changes that lead from some records to others; each DELETE carries what was read, and is refused if that is not there any more."""
    changes = [{"Action": "DELETE", "ResourceRecordSet": record} for record in live if not any(same(record, other) for other in wanted)]
    changes += [{"Action": "CREATE", "ResourceRecordSet": record} for record in wanted if not any(same(record, other) for other in live)]
    return changes


def fingerprint(records: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Return a short word for the state of records."""
    return hashlib.sha256(json.dumps(sorted(describe(record) for record in records)).encode()).hexdigest()[:16]
