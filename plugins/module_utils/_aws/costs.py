# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform of some size costs a month, from a table of prices."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

FIREWALL_RULES = 5
ALARMS = 6
SECRETS = 3


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is chosen beside the size.

    Args:
        engine: of the cache, ``valkey`` or ``redis``.
        distribution: whether there is a distribution with a firewall of its own.
        standby: whether there is a second region with a replica of the database and copies of the backups.
    """

    engine: str = "valkey"
    distribution: bool = False
    standby: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """What one thing costs a month, in the table's currency."""

    what: str
    monthly: float


def estimate(size: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any], wishes: Wishes) -> list[Line]:
    """Return what each part costs a month.

    Args:
        size: one of the sizes of the role aws_platform, with its traffic.
        prices: unit prices: an hour, a GB a month, a million requests, a piece a month.
        wishes: what is chosen beside the size.

    Raises:
        InvalidInput: there is no price for something.
    """
    try:
        lines = [*_application(size, prices), *_data(size, prices, wishes), *_front(size, prices, wishes), *_watching(size, prices, wishes)]
    except KeyError as error:
        raise InvalidInput("estimate the costs", f"the size or the table of prices lacks {error}", "add it to the table") from error
    return [Line(line.what, round(line.monthly, 2)) for line in lines]


def total(lines: t.Iterable[Line]) -> float:
    """Return the sum of a month."""
    return round(sum(line.monthly for line in lines), 2)


def _application(size: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any]) -> list[Line]:
    hours, task, nats = prices["hours"], size["task"], size["nat_gateways"]
    hourly = task["vcpu"] * prices["fargate_vcpu_hour"] + task["memory_gb"] * prices["fargate_gb_hour"]
    tasks = f"{task['count']} tasks of {task['vcpu']} vCPU and {task['memory_gb']} GB"
    nat = nats * (prices["nat_hour"] + prices["public_address_hour"]) * hours + size["traffic"]["nat_gb"] * prices["nat_gb"]
    return [Line(tasks, task["count"] * hourly * hours), Line(f"{nats} NAT gateway{'s' if nats > 1 else ''}", nat)]


def _data(size: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any], wishes: Wishes) -> list[Line]:
    hours, database, cache = prices["hours"], size["database"], size["cache"]
    single = prices["database_hour"][database["class"]] * hours + database["storage_gb"] * prices["database_storage_gb"]
    node = prices["cache_hour"][cache["class"]] * (prices["valkey_share"] if wishes.engine == "valkey" else 1)
    stored = size["traffic"]["stored_gb"] * prices["object_storage_gb"]
    lines = [
        # Two machines and two volumes, at twice the price of one.
        Line(f"database {database['class']} in two zones with {database['storage_gb']} GB", 2 * single),
        Line(f"cache of {cache['nodes']} {cache['class']}", cache["nodes"] * node * hours),
        Line(f"{size['traffic']['stored_gb']} GB in buckets", stored),
    ]
    if wishes.standby:
        lines.append(Line("second region: replica of the database, copies, key", single + stored + prices["key"]))
    return lines


def _front(size: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any], wishes: Wishes) -> list[Line]:
    hours, traffic = prices["hours"], size["traffic"]
    # A load balancer has a public address in each of three zones.
    balancer = prices["balancer_hour"] + traffic["capacity_units"] * prices["balancer_capacity_unit_hour"] + 3 * prices["public_address_hour"]
    firewall = prices["firewall"] + FIREWALL_RULES * prices["firewall_rule"] + traffic["requests_millions"] * prices["firewall_requests_million"]
    lines = [Line("load balancer", balancer * hours), Line("firewall", firewall)]
    if wishes.distribution:
        lines.append(Line("firewall of the distribution", firewall - prices["firewall_rule"]))
        delivered = traffic["egress_gb"] * prices["distribution_gb"] + traffic["requests_millions"] * prices["distribution_requests_million"]
        lines.append(Line(f"distribution of {traffic['egress_gb']} GB", delivered))
    else:
        lines.append(Line(f"{traffic['egress_gb']} GB to clients", traffic["egress_gb"] * prices["egress_gb"]))
    return lines


def _watching(size: t.Mapping[str, t.Any], prices: t.Mapping[str, t.Any], wishes: Wishes) -> list[Line]:
    logs = size["traffic"]["logs_gb"] * prices["logs_gb"]
    return [Line("logs, alarms, secrets, key", logs + ALARMS * prices["alarm"] + SECRETS * prices["secret"] + prices["key"])]
