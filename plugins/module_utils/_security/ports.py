# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for ports: what answers from outside against the flows that the inventory declares.

The facts are ``open`` (TCP ports that answered), ``tried`` (numbers and ranges), ``address`` and ``source`` (where they were tried, and from where),
``listeners`` (what the host itself says: ``protocol``, ``address``, ``port``, ``process``) and ``flows`` (as :func:`read_flows` returns them, None if none
are declared).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._security.model import HIGH, INFO, LOW, MEDIUM, Facts, Hit, Rule
from ansible_collections.mainstay.ops.plugins.module_utils._security.portscan import read_ports

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclasses.dataclass(frozen=True)
class Flow:
    """Ports from ``first`` to ``last`` that may be reached; from everywhere when ``sources`` is None, else from these networks."""

    protocol: str
    first: int
    last: int
    sources: tuple[Network, ...] | None
    what: str

    def covers(self, protocol: str, port: int) -> bool:
        """Tell whether a port is one of the flow's."""
        return self.protocol == protocol and self.first <= port <= self.last

    def lets_in(self, address: str) -> bool:
        """Tell whether an address may use the flow."""
        return self.sources is None or any(ipaddress.ip_address(address) in network for network in self.sources)


def read_flows(declared: t.Iterable[Facts]) -> list[Flow]:
    """Read flows: each has ``port`` or ``ports`` (numbers, or ranges as ``8000-8010``), ``protocol`` (tcp), ``what``, and ``from``
    (addresses and networks; any if it is left out, and nobody if it is empty).

    Raises:
        InvalidInput: a port or an address is none.
    """
    flows = []
    for entry in declared:
        ports = _as_list(entry.get("ports", entry.get("port")))
        what = str(entry.get("what", ""))
        sources = _sources(_as_list(entry.get("from", "any")), what)
        protocols = [str(protocol).lower() for protocol in _as_list(entry.get("protocol")) or ["tcp"]]
        for port in ports:
            first, dash, last = str(port).partition("-")
            if not first.isdigit() or (dash and not last.isdigit()):
                raise InvalidInput("read the declared flows", f"{port} is no port ({what or 'no description'})", "write a number, or a range such as 8000-8010")
            flows += [Flow(protocol, int(first), int(last or first), sources, what) for protocol in protocols]
    return flows


def is_unreached(facts: Facts) -> bool:
    """Tell whether a scan reached nobody: no port answered, though one of those that were tried may be reached from there. Where no flow lets the scanner in,
    silence is what was declared.
    """
    if facts["open"] or facts.get("closed_count", 1):
        return False
    if facts["flows"] is None:
        return True
    tried = set(read_ports(facts["tried"]))
    declared = [flow for flow in facts["flows"] if flow.protocol == "tcp" and flow.lets_in(facts["source"])]
    return any(tried.intersection(range(flow.first, flow.last + 1)) for flow in declared)


def _as_list(given: t.Any) -> list[t.Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _sources(given: list[t.Any], what: str) -> tuple[Network, ...] | None:
    if "any" in given:
        return None
    try:
        return tuple(ipaddress.ip_network(str(source), strict=False) for source in given)
    except ValueError as exc:
        raise InvalidInput("read the declared flows", f"{exc} ({what or 'no description'})", "write addresses or networks in from") from exc


def _listener(facts: Facts, port: int) -> str:
    found = [entry for entry in facts["listeners"] if entry["protocol"] == "tcp" and entry["port"] == port]
    return f"; {found[0]['process'] or 'a process'} listens on {found[0]['address']}" if found else ""


def _declared(facts: Facts, protocol: str, port: int) -> list[Flow]:
    return [flow for flow in facts["flows"] or [] if flow.covers(protocol, port)]


def _undeclared(facts: Facts) -> t.Iterator[Hit]:
    if facts["flows"] is None:
        return
    for port in facts["open"]:
        if not _declared(facts, "tcp", port):
            yield Hit(f"tcp/{port}", f"it is open from {facts['source']}{_listener(facts, port)}")


def _wider(facts: Facts) -> t.Iterator[Hit]:
    for port in facts["open"]:
        flows = _declared(facts, "tcp", port)
        if flows and facts["source"] and not any(flow.lets_in(facts["source"]) for flow in flows):
            named = ", ".join(sorted({flow.what for flow in flows if flow.what})) or "a flow"
            yield Hit(f"tcp/{port}", f"it is open from {facts['source']}, which is none of the sources of: {named}")


def _no_flows(facts: Facts) -> t.Iterator[Hit]:
    if facts["flows"] is None and facts["open"]:
        yield Hit("flows", f"open from {facts['source']}: {', '.join(str(port) for port in facts['open'])}")


def _beyond_loopback(entry: Facts) -> bool:
    try:
        return not ipaddress.ip_address(entry["address"]).is_loopback
    except ValueError:
        return True


def _kept_by_firewall(facts: Facts) -> t.Iterator[Hit]:
    if facts["flows"] is None:
        return
    silent = set(read_ports(facts["tried"])) - set(facts["open"])
    for entry in facts["listeners"]:
        here = entry["protocol"] == "tcp" and entry["address"] in ("0.0.0.0", "::", facts["address"])
        if here and entry["port"] in silent and not _declared(facts, "tcp", entry["port"]):
            silent.discard(entry["port"])
            yield Hit(f"tcp/{entry['port']}", f"{entry['process'] or 'a process'} listens on {entry['address']}, and only the firewall keeps others away")


def _datagrams(facts: Facts) -> t.Iterator[Hit]:
    if facts["flows"] is None:
        return
    seen = set()
    for entry in facts["listeners"]:
        port = entry["port"]
        if entry["protocol"] == "udp" and _beyond_loopback(entry) and port not in seen and not _declared(facts, "udp", port):
            seen.add(port)
            yield Hit(f"udp/{port}", f"{entry['process'] or 'a process'} takes datagrams on {entry['address']}")


_CLOSE = "Stop what listens, or bind it to 127.0.0.1; if it is meant to be reached, declare it in base_flows."

RULES = (
    Rule("port_undeclared", HIGH, "is open, and nobody declared it", "What nobody knows of is patched, watched and guarded by nobody.", _CLOSE,
         "the inventory's base_flows", _undeclared),
    Rule("port_open_to_others", MEDIUM, "is open to more than those it is declared for", "One host that was broken into reaches all the others.",
         "Run the role base with its firewall, or add the source to the flow in base_flows.", "the inventory's base_flows", _wider),
    Rule("port_udp_undeclared", LOW, "takes datagrams, and nobody declared it",
         "It can be reached where no firewall is, and its answers may be used against others.", _CLOSE, "the inventory's base_flows", _datagrams),
    Rule("port_kept_by_firewall", INFO, "is kept from others by the firewall alone", "One mistake in the rules opens it.", _CLOSE,
         "the inventory's base_flows", _kept_by_firewall),
    Rule("flows_not_declared", INFO, "are not declared, so open ports cannot be judged", "Nobody can say which of them should be open.",
         "Declare them in base_flows, a list of ports, protocol, from and what.", "the inventory's base_flows", _no_flows),
)  # fmt: skip
