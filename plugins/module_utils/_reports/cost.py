# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Costs: what each resource costs a month by a table of prices, which of them nobody uses or are too large, and what could be saved."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import day

UNATTACHED, IDLE, OVERSIZED, OLD, OUTDATED, UNBOUNDED = "unattached", "idle", "oversized", "old", "outdated", "unbounded"
REASONS = (UNATTACHED, IDLE, OVERSIZED, OLD, OUTDATED, UNBOUNDED)
SIZES = ("nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge", "32xlarge")
"""Sizes of classes; each costs twice what the one before does."""
GB = 1e9
MANAGED_TAGS = ("aws:backup:source-resource", "aws:dlm:lifecycle-policy-id", "mainstay:retention")
"""A snapshot with one of these tags has somebody who removes it in time."""


@dataclasses.dataclass(frozen=True)
class Resource:
    """Something that is paid for.

    Attributes:
        kind: such as ``volume``, ``address``, ``database``.
        facts: what the API tells of it, as far as it is judged.
        usage: figures of the window by name; those that nobody measured are not in it.
    """

    kind: str
    id: str
    region: str
    name: str = ""
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    usage: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    created: float | None = None
    tags: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What could be saved. ``monthly`` is in the table's currency; None if there is no price."""

    reason: str
    kind: str
    id: str
    region: str
    name: str
    problem: str
    mend: str
    monthly: float | None


@dataclasses.dataclass(frozen=True)
class Limits:
    """From where on something counts as idle, too large, or old."""

    idle_cpu_percent: float = 3.0
    oversized_cpu_percent: float = 20.0
    oversized_memory_percent: float = 30.0
    snapshot_days: float = 90.0
    young_days: float = 7.0


class Prices:
    """A table of prices; what it lacks is remembered."""

    def __init__(self, table: t.Mapping[str, t.Any]) -> None:
        """Take the table.

        Raises:
            InvalidInput: it has no hours of a month or no currency.
        """
        for key in ("hours", "currency"):
            if key not in table:
                raise InvalidInput("reckon with the prices", f"the table lacks {key}", "take that of the role reports, and change what differs")
        self._table = table
        self.missing: set[str] = set()

    def of(self, key: str, inner: str = "") -> float | None:
        """Return a price; None if the table lacks it."""
        found = self._table.get(key)
        price = found.get(inner) if inner and isinstance(found, dict) else found if not inner else None
        if not isinstance(price, (int, float)):
            self.missing.add(f"{key} of {inner}" if inner else key)
            return None
        return float(price)

    def month(self, key: str, inner: str = "") -> float | None:
        """Return what something costs a month that is priced by the hour."""
        return times(float(self._table["hours"]), self.of(key, inner))

    def month_of_half(self, key: str, name: str) -> float | None:
        """Return what half of a class costs a month. Without a price it is taken for half, as sizes of a family are priced."""
        half = (self._table.get(key) or {}).get(smaller(name))
        return times(float(self._table["hours"]), float(half)) if half else times(0.5, self.month(key, name))


def times(amount: float, price: float | None) -> float | None:
    """Return what so much costs, None without a price."""
    return None if price is None else amount * price


def added(*parts: float | None) -> float | None:
    """Return a sum, None if a part is not known."""
    return None if None in parts else sum(part for part in parts if part is not None)


def monthly(resource: Resource, prices: Prices) -> float | None:
    """Return what a resource costs a month while it is there, without what depends on traffic."""
    facts = resource.facts
    if resource.kind == "volume":
        return times(facts["size_gb"], prices.of("volume_gb", facts["type"]))
    if resource.kind == "snapshot":
        return times(facts["size_gb"], prices.of("snapshot_gb"))
    if resource.kind == "database_snapshot":
        return times(facts["size_gb"], prices.of("database_snapshot_gb"))
    if resource.kind == "log_group":
        return times(facts["stored_bytes"] / GB, prices.of("logs_stored_gb"))
    if resource.kind == "database":
        copies = 2 if facts["multi_az"] else 1
        return times(copies, added(prices.month("database_hour", facts["class"]), times(facts["storage_gb"], prices.of("database_storage_gb"))))
    if resource.kind == "cache":
        share = prices.of("valkey_share") if facts["engine"] == "valkey" else 1.0
        return times(facts["nodes"] * (share or 1.0), prices.month("cache_hour", facts["class"]))
    if resource.kind == "service":
        hour = added(times(facts["vcpu"], prices.of("fargate_vcpu_hour")), times(facts["memory_gb"], prices.of("fargate_gb_hour")))
        return None if hour is None else facts["tasks"] * hour * (prices.of("hours") or 0.0)
    if resource.kind == "instance":
        return prices.month("instance_hour", facts["type"]) if facts["state"] == "running" else 0.0
    return prices.month({"address": "public_address_hour", "nat_gateway": "nat_hour", "balancer": "balancer_hour"}[resource.kind])


def smaller(name: str) -> str:
    """Return the class that is half as large, nothing if there is none: ``db.m6g.xlarge`` is followed by ``db.m6g.large``."""
    family, _dot, size = name.rpartition(".")
    place = SIZES.index(size) if size in SIZES else 0
    return f"{family}.{SIZES[place - 1]}" if place > 0 else ""


def judge(resource: Resource, prices: Prices, limits: Limits, now: float) -> Finding | None:
    """Return what could be saved with a resource, the largest part of it.

    Args:
        resource: what there is.
        prices: what it costs.
        limits: from where on something is a finding.
        now: Unix time.
    """
    cost = monthly(resource, prices)
    for rule in RULES.get(resource.kind, ()):
        found = rule(resource, cost, prices, limits, now)
        if found:
            reason, problem, mend, saved = found
            return Finding(reason, resource.kind, resource.id, resource.region, resource.name, problem, mend, None if saved is None else round(saved, 2))
    return None


Told = t.Optional[tuple[str, str, str, t.Optional[float]]]
Rule = t.Callable[[Resource, t.Optional[float], Prices, Limits, float], Told]


def _days(resource: Resource, now: float) -> float:
    """Return how old a resource is; one that does not tell counts as old."""
    return (now - resource.created) / 86400 if resource.created is not None else 1e6


def _young(resource: Resource, limits: Limits, now: float) -> bool:
    """What is new may only not be in use yet."""
    return _days(resource, now) < limits.young_days


def _date(moment: float | None) -> str:
    return "an unknown day" if moment is None else day(moment)


def _volume_free(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if resource.facts["attached"] or _young(resource, limits, now):
        return None
    problem = f"the volume of {resource.facts['size_gb']} GB is attached to nothing, since {_date(resource.created)} or later"
    return UNATTACHED, problem, "Take a snapshot if anybody may miss it, and delete it.", cost


def _volume_type(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if resource.facts["type"] != "gp2":
        return None
    new = times(resource.facts["size_gb"], prices.of("volume_gb", "gp3"))
    saved = None if cost is None or new is None else cost - new
    return OUTDATED, f"the volume of {resource.facts['size_gb']} GB is of type gp2", "Change it to gp3, which can be done while it is in use.", saved


def _address(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if resource.facts["associated"]:
        return None
    return UNATTACHED, "the address belongs to nothing", "Release it, unless somebody's firewall knows it.", cost


def _balancer(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if _young(resource, limits, now):
        return None
    if resource.facts["targets"] == 0:
        return UNATTACHED, "the load balancer has no targets", "Delete it, or find out where its targets went.", cost
    if resource.usage.get("requests") == 0:
        return IDLE, "nobody asked the load balancer for anything in the window", "Find out who needs it, and delete it.", cost
    return None


def _nat(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if resource.usage.get("bytes") != 0 or _young(resource, limits, now):
        return None
    return IDLE, "nothing went out through the NAT gateway in the window", "Delete it with its address, if nothing needs a way out.", cost


def _snapshot(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    days = _days(resource, now)
    if days < limits.snapshot_days or resource.facts.get("image") or any(tag in resource.tags for tag in MANAGED_TAGS):
        return None
    mend = "Delete it if a newer one does, or have a policy remove it in time; it may cost less than this, for only what differs is kept."
    return OLD, f"the snapshot of {resource.facts['size_gb']} GB was made on {_date(resource.created)}, and nothing removes it", mend, cost


def _instance(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    most = resource.usage.get("cpu_max_percent")
    if resource.facts["state"] == "stopped" and not _young(resource, limits, now):
        return IDLE, "the instance is stopped; its volumes cost as before", "Keep an image of it, and terminate it.", resource.facts.get("volumes_monthly")
    if resource.facts["state"] != "running" or most is None or _young(resource, limits, now):
        return None
    if most < limits.idle_cpu_percent:
        return IDLE, f"the instance never used more than {most:.1f} % of its CPU", "Find out what it is for, and terminate it.", cost
    # CloudWatch does not know the memory of an instance.
    return _halved(resource.facts["type"], most, cost, prices.month_of_half("instance_hour", resource.facts["type"]), limits, "See its memory first.")


def _database(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    most = resource.usage.get("cpu_max_percent")
    if _young(resource, limits, now):
        return None
    if resource.usage.get("connections_max") == 0:
        return IDLE, "nobody connected to the database in the window", "Take a last snapshot, and delete it.", cost
    if most is None:
        return None
    name, copies = resource.facts["class"], 2 if resource.facts["multi_az"] else 1
    now_and_then = times(copies, prices.month("database_hour", name)), times(copies, prices.month_of_half("database_hour", name))
    return _halved(name, most, *now_and_then, limits, "See its memory first.")


def _cache(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    most, memory = resource.usage.get("cpu_max_percent"), resource.usage.get("memory_max_percent")
    if most is None or memory is None or memory > limits.oversized_memory_percent or _young(resource, limits, now):
        return None
    return _halved(resource.facts["class"], most, cost, times(0.5, cost), limits, f"At most {memory:.0f} % of its memory was used.")


def _service(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    most, memory = resource.usage.get("cpu_max_percent"), resource.usage.get("memory_max_percent")
    if most is None or memory is None or not resource.facts["tasks"] or most > limits.oversized_cpu_percent or memory > limits.oversized_memory_percent:
        return None
    problem = f"its {resource.facts['tasks']} tasks never used more than {most:.0f} % of their CPU and {memory:.0f} % of their memory"
    return OVERSIZED, problem, "Give a task half as much, if its sizes allow that, or run fewer.", None if cost is None else cost / 2


def _halved(name: str, most: float, cost: float | None, half: float | None, limits: Limits, caution: str) -> Told:
    """Return that half of a class would do, if it would."""
    if most >= limits.oversized_cpu_percent or not smaller(name):
        return None
    saved = None if cost is None or half is None else cost - half
    return OVERSIZED, f"{name} never used more than {most:.0f} % of its CPU", f"{smaller(name)} would do. {caution}", saved


def _log_group(resource: Resource, cost: float | None, prices: Prices, limits: Limits, now: float) -> Told:
    if resource.facts["retention_days"]:
        return None
    return UNBOUNDED, f"the log group keeps its {resource.facts['stored_bytes'] / GB:.1f} GB for ever", "Give it a retention.", cost


RULES: dict[str, tuple[Rule, ...]] = {
    "volume": (_volume_free, _volume_type),
    "address": (_address,),
    "balancer": (_balancer,),
    "nat_gateway": (_nat,),
    "snapshot": (_snapshot,),
    "database_snapshot": (_snapshot,),
    "instance": (_instance,),
    "database": (_database,),
    "cache": (_cache,),
    "service": (_service,),
    "log_group": (_log_group,),
}
