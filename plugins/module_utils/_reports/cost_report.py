# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost report: the account read, judged, put together, and its page."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._reports import page
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost import (
    IDLE,
    OLD,
    OUTDATED,
    OVERSIZED,
    REASONS,
    UNATTACHED,
    UNBOUNDED,
    Finding,
    Limits,
    Prices,
    Resource,
    judge,
    monthly,
)
from ansible_collections.mainstay.ops.plugins.module_utils._reports.cost_inventory import survey, with_usage
from ansible_collections.mainstay.ops.plugins.module_utils._reports.texts import iso

WORDS = {UNATTACHED: "unattached", IDLE: "idle", OVERSIZED: "too large", OLD: "old", OUTDATED: "of an old kind", UNBOUNDED: "without an end"}
KINDS = {
    "volume": "volumes",
    "snapshot": "snapshots",
    "database_snapshot": "snapshots of databases",
    "address": "addresses",
    "nat_gateway": "NAT gateways",
    "instance": "instances",
    "balancer": "load balancers",
    "database": "databases",
    "cache": "caches",
    "service": "services on Fargate",
    "log_group": "log groups",
}
ClientFor = t.Callable[[str, str], t.Any]
Fact = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for: regions, how many days of usage are read until a Unix time, and from where on something is a finding."""

    regions: tuple[str, ...]
    days: int
    end: float
    limits: Limits

    @classmethod
    def of(cls, regions: t.Sequence[str], days: int, end: float, limits: Limits) -> Wanted:
        """Check what is asked for.

        Raises:
            InvalidInput: there is no region, or no day.
        """
        if not regions:
            raise InvalidInput("report costs", "there is no region", "give region or regions, or set AWS_REGION")
        if not 1 <= days <= 400:
            raise InvalidInput(f"read {days} days of usage", "CloudWatch keeps hours for 455 days", "give between 1 and 400 days")
        return cls(tuple(dict.fromkeys(regions)), days, end, limits)


def make(client_for: ClientFor, table: Fact, wanted: Wanted) -> dict[str, t.Any]:
    """Return the report.

    Args:
        client_for: makes the client of a service in a region.
        table: the prices.
        wanted: what is asked for.

    Raises:
        MainstayError: AWS does not answer, or the table of prices is of no use.
    """
    prices = Prices(table)
    resources: list[Resource] = []
    gaps: list[str] = []
    for region in wanted.regions:
        found, refused = survey(lambda service, region=region: client_for(service, region), region)
        gaps += refused
        try:
            found = with_usage(client_for("cloudwatch", region), found, wanted.end - wanted.days * 86400, wanted.end)
        except MainstayError as error:
            gaps.append(f"{error}; nothing in {region} is judged by its usage")
        resources += _with_volumes(found, prices)
    return _report(resources, prices, wanted, gaps, table)


def _with_volumes(resources: list[Resource], prices: Prices) -> list[Resource]:
    """Return the resources, instances with what their volumes cost."""
    cost: dict[str, float] = collections.defaultdict(float)
    for resource in resources:
        if resource.kind == "volume":
            for instance in resource.facts["instances"]:
                cost[instance] += monthly(resource, prices) or 0.0
    return [
        dataclasses.replace(resource, facts={**resource.facts, "volumes_monthly": round(cost[resource.id], 2)}) if resource.kind == "instance" else resource
        for resource in resources
    ]


def _report(resources: list[Resource], prices: Prices, wanted: Wanted, gaps: list[str], table: Fact) -> dict[str, t.Any]:
    costs = [(resource, monthly(resource, prices)) for resource in resources]
    findings = [found for resource in resources if (found := judge(resource, prices, wanted.limits, wanted.end))]
    findings.sort(key=lambda found: (-(found.monthly or 0.0), REASONS.index(found.reason), found.kind, found.id))
    kinds = {
        kind: {"count": len(own), "monthly": _sum(own), "without_price": sum(cost is None for cost in own)}
        for kind in KINDS
        if (own := [cost for resource, cost in costs if resource.kind == kind])
    }
    savings = {
        reason: _sum([found.monthly for found in findings if found.reason == reason]) for reason in REASONS if any(found.reason == reason for found in findings)
    }
    report: dict[str, t.Any] = {
        "title": "Costs",
        "finished": iso(wanted.end),
        "regions": list(wanted.regions),
        "days": wanted.days,
        "currency": table["currency"],
        "prices": {key: table.get(key, "") for key in ("region", "as_of", "source")},
        "monthly": _sum([cost for _resource, cost in costs]),
        "savings": _sum([found.monthly for found in findings]),
        "savings_by_reason": savings,
        "kinds": kinds,
        "findings": [dataclasses.asdict(found) for found in findings],
        "resources": [_told(resource, cost) for resource, cost in costs],
        "prices_missing": sorted(prices.missing),
        "gaps": gaps,
    }
    report["summary"] = _summary(report, findings)
    return report | {"lines": _lines(report, findings)}


def _sum(costs: t.Iterable[float | None]) -> float:
    return round(sum(cost for cost in costs if cost is not None), 2)


def _told(resource: Resource, cost: float | None) -> dict[str, t.Any]:
    told = dataclasses.asdict(resource)
    created = resource.created
    told["created"] = None if created is None else iso(created)
    return told | {"monthly": None if cost is None else round(cost, 2)}


def _summary(report: Fact, findings: t.Sequence[Finding]) -> str:
    currency = report["currency"]
    said = f"{len(report['resources'])} resources cost {report['monthly']:,.2f} {currency} a month by the list, without traffic;"
    said += f" {report['savings']:,.2f} could be saved."
    unknown = sum(kind["without_price"] for kind in report["kinds"].values())
    if unknown:
        said += f" Of {unknown} the price is not known."
    unpriced = sum(found.monthly is None for found in findings)
    return said + (f" {unpriced} findings have no price." if unpriced else "")


def _lines(report: Fact, findings: t.Iterable[Finding]) -> list[str]:
    lines = []
    for found in findings:
        saved = "price not known" if found.monthly is None else f"{found.monthly:,.2f} {report['currency']}"
        lines.append(f"{saved:>16} a month  {found.region}  {_name(dataclasses.asdict(found))}: {found.problem}. {found.mend}")
    lines += [f"not known: {gap}" for gap in report["gaps"]] + [f"no price: {key}" for key in report["prices_missing"]]
    return [*lines, report["summary"]]


def _name(found: Fact) -> str:
    short = found["id"].rpartition("/")[2] if found["id"].startswith("arn:") else found["id"]
    kind = found["kind"].replace("_", " ").replace("nat", "NAT")
    return f"{kind} {found['name']}" + (f" ({short})" if found["name"] and short != found["name"] else "" if found["name"] else short)


def render(report: Fact) -> str:
    """Return the page."""
    currency, findings = report["currency"], report["findings"]
    tone = page.WAIT if findings or report["gaps"] else page.GOOD
    words = "Something can be saved" if findings else "Not everything could be read" if report["gaps"] else "Nothing to save was found"
    facts = [", ".join(report["regions"]), f"usage of {report['days']} days until {report['finished'][:10]}"]
    rows: list[list[page.Cell]] = [
        [_name(found), found["region"], page.badge(page.WAIT, WORDS[found["reason"]]), f"{found['problem'][:1].upper()}{found['problem'][1:]}. {found['mend']}",
         "–" if found["monthly"] is None else f"{found['monthly']:,.2f}"]
        for found in findings
    ]
    table = report["prices"]
    note = f"Prices of {table['region']}, {table['as_of']}: {table['source']}. Traffic, requests and discounts are not in them."
    return page.document(
        report["title"],
        [
            page.header(report["title"], tone, words, facts, report["summary"]),
            page.tiles(_tiles(report)),
            page.section("What could be saved", _bars({WORDS[reason]: amount for reason, amount in report["savings_by_reason"].items()}, currency)),
            page.section("Findings, the dearest first", page.table(["What", "Region", "Why", "What to do", f"#{currency} a month"], rows)),
            page.section(
                "What there is", _bars({f"{kind['count']} {KINDS[name]}": kind["monthly"] for name, kind in report["kinds"].items()}, currency), note=note
            ),
            page.section("Not known", page.bullets([*report["gaps"], *(f"there is no price for {key}" for key in report["prices_missing"])])),
        ],
    )


def _tiles(report: Fact) -> list[page.Tile]:
    currency = report["currency"]
    share = f"{100 * report['savings'] / report['monthly']:.0f} % of it" if report["monthly"] else ""
    return [
        page.Tile("Costs a month", f"{report['monthly']:,.0f} {currency}", "by the list, without traffic"),
        page.Tile("Could be saved", f"{report['savings']:,.0f} {currency}", share, page.WAIT if report["savings"] else page.GOOD),
        page.Tile("Findings", str(len(report["findings"])), f"of {len(report['resources'])} resources"),
    ]


def _bars(amounts: t.Mapping[str, float], currency: str) -> str:
    """Return amounts as bars, the largest first."""
    most = max(amounts.values(), default=0.0) or 1.0
    rows = "".join(
        f"<li><span class=what>{page.escaped(name)}</span><span class=track><span class=fill style=\"width:{amount / most:.2%}\"></span></span>"
        f"<span class=result><b>{amount:,.2f} {page.escaped(currency)}</b></span></li>"
        for name, amount in sorted(amounts.items(), key=lambda item: -item[1])
    )
    return f"<ul class=bars>{rows}</ul>" if rows else ""
