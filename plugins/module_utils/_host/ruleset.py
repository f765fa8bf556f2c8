# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ruleset of nftables that lets in what was declared, and nothing else. Pure: no host is asked."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

TABLE = "mainstay"
ANY = "any"
PORT_PROTOCOLS = ("tcp", "udp")
# Protocols without ports, by their number at https://www.iana.org/assignments/protocol-numbers/.
OTHER_PROTOCOLS = {"vrrp": 112, "esp": 50, "gre": 47}
_KEYS = {"ports", "port", "protocol", "from", "what"}
# What may stand in a comment of a rule; nftables takes up to 128 bytes.
_NOT_IN_COMMENTS = re.compile(r"[^A-Za-z0-9 ,.:()/_+-]")
_DOING = "make the rules of the firewall"

# RFC 4890 names what IPv6 cannot live without; for IPv4 what tells of errors, and ping.
_ICMP = ("destination-unreachable", "time-exceeded", "parameter-problem", "echo-request")
_ICMP6 = (
    "destination-unreachable",
    "packet-too-big",
    "time-exceeded",
    "parameter-problem",
    "echo-request",
    "nd-router-solicit",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "mld-listener-query",
)


@dataclass(frozen=True)
class Flow:
    """Who may come in: ports of a protocol (none for one without ports), from addresses and networks; no sources stand for everyone."""

    protocol: str
    ports: tuple[str, ...]
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    everyone: bool
    what: str


def parse_port(given: t.Any) -> str:
    """A port or a range of ports as nftables writes it.

    Raises:
        InvalidInput: it is neither.
    """
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(given))
    if match and not isinstance(given, bool):
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last <= 65535:
            return str(first) if first == last else f"{first}-{last}"
    raise InvalidInput(_DOING, f"{given!r} is no port", "give a number from 1 to 65535, or two with a hyphen")


def parse_sources(given: t.Any) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Networks of IPv4 and of IPv6 without those that others contain, and whether everyone is meant.

    Raises:
        InvalidInput: one is neither ``any`` nor an address or a network.
    """
    if not isinstance(given, (list, tuple)):
        raise InvalidInput(_DOING, f"{given!r} is no list of addresses", "give a list, of V(any) alone for everyone")
    if ANY in given:
        return (), (), True
    networks: dict[int, list[t.Any]] = {4: [], 6: []}
    for source in given:
        try:
            network = ipaddress.ip_network(str(source), strict=False)
        except ValueError as error:
            raise InvalidInput(_DOING, f"{source!r} is neither an address nor a network", "give addresses and networks (CIDR), or any for everyone") from error
        networks[network.version].append(network)
    four, six = (tuple(_short(network) for network in ipaddress.collapse_addresses(networks[version])) for version in (4, 6))
    return four, six, False


def _short(network: t.Any) -> str:
    """A network as text; a single address without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def parse_flow(given: t.Mapping[str, t.Any]) -> Flow:
    """One declared flow.

    Raises:
        InvalidInput: it cannot be understood.
    """
    if not isinstance(given, t.Mapping) or set(given) - _KEYS or "from" not in given:
        raise InvalidInput(_DOING, f"{given!r} is no flow", "a flow has ports (or port), protocol, from and what")
    protocol = str(given.get("protocol", "tcp")).lower()
    listed = given.get("ports", given.get("port"))
    ports = tuple(parse_port(port) for port in (listed if isinstance(listed, (list, tuple)) else [listed])) if listed is not None else ()
    if protocol in PORT_PROTOCOLS and not ports or protocol in OTHER_PROTOCOLS and ports:
        raise InvalidInput(_DOING, f"{protocol} {'without' if not ports else 'with'} ports is no flow", f"{', '.join(PORT_PROTOCOLS)} need ports")
    if protocol not in (*PORT_PROTOCOLS, *OTHER_PROTOCOLS):
        raise InvalidInput(_DOING, f"there is no protocol {protocol}", f"use {', '.join((*PORT_PROTOCOLS, *OTHER_PROTOCOLS))}")
    ipv4, ipv6, everyone = parse_sources(given["from"])
    return Flow(protocol, ports, ipv4, ipv6, everyone, _NOT_IN_COMMENTS.sub(" ", str(given.get("what", "")))[:100].strip())


def _set(items: t.Sequence[str]) -> str:
    """One value, or an anonymous set of them."""
    return items[0] if len(items) == 1 else f"{{ {', '.join(items)} }}"


def _rules(flow: Flow, published: bool) -> list[str]:
    """The rules of a flow: for what ends on the host, or for ports that the host forwards to its containers (``published``)."""
    if flow.protocol in OTHER_PROTOCOLS:
        if published:
            return []
        match = f"meta l4proto {OTHER_PROTOCOLS[flow.protocol]}"
    elif published:
        match = f"meta l4proto {flow.protocol} ct original proto-dst {_set(flow.ports)}"
    else:
        match = f"{flow.protocol} dport {_set(flow.ports)}"
    direction = "ct original " if published else ""
    sources = [""] if flow.everyone else []
    sources += [f"{direction}ip saddr {_set(flow.ipv4)} "] if flow.ipv4 else []
    sources += [f"{direction}ip6 saddr {_set(flow.ipv6)} "] if flow.ipv6 else []
    comment = f' comment "{flow.what}"' if flow.what else ""
    return [f"{source}{match} accept{comment}" for source in sources]


def ruleset(flows: t.Sequence[t.Mapping[str, t.Any]], ssh_port: int = 22, ssh_from: t.Sequence[str] = (ANY,), log_per_minute: int = 10) -> str:
    """The table that lets in SSH, the declared flows, answers, and what the network itself needs.

    Args:
        flows: what was declared.
        ssh_port: port of SSH, which is let in whatever the flows say.
        ssh_from: who may use SSH.
        log_per_minute: how many refused packets are logged per minute; 0 logs none.

    Raises:
        InvalidInput: a flow cannot be understood, or nobody could use SSH.
    """
    ssh = parse_flow({"ports": [ssh_port], "from": list(ssh_from), "what": "SSH"})
    if not _rules(ssh, False):
        raise InvalidInput(_DOING, "nobody could log in by SSH", "name the addresses of the controllers, or any")
    declared = [ssh, *(parse_flow(flow) for flow in flows)]
    lines = [
        f"table inet {TABLE} {{",
        "\tchain input {",
        "\t\ttype filter hook input priority filter; policy drop;",
        "\t\tct state vmap { established : accept, related : accept, invalid : drop }",
        '\t\tiifname "lo" accept',
        f"\t\ticmp type {_set(_ICMP)} accept",
        f"\t\ticmpv6 type {_set(_ICMP6)} accept",
        "\t\tip6 saddr fe80::/10 udp dport 546 accept comment \"answers of DHCPv6\"",
        '\t\tiifname "podman*" meta l4proto { tcp, udp } th dport 53 accept comment "names of containers"',
        *(f"\t\t{rule}" for flow in declared for rule in _rules(flow, False)),
        *([f'\t\tlimit rate {log_per_minute}/minute burst 20 packets log prefix "mainstay refused: " level info'] if log_per_minute > 0 else []),
        "\t}",
        "",
        # What a container publishes never passes the chain of input: its packets are forwarded, with another address.
        "\tchain published {",
        "\t\ttype filter hook forward priority filter; policy accept;",
        "\t\tct state established,related accept",
        *(f"\t\tct status dnat {rule}" for flow in declared[1:] for rule in _rules(flow, True)),
        "\t\tct status dnat drop",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def is_let_in(address: str, ssh_from: t.Sequence[str]) -> bool:
    """Whether an address may use SSH; one that is not known may."""
    if ANY in ssh_from or not address:
        return True
    asked = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = getattr(asked, "ipv4_mapped", None)
    return any((mapped or asked) in ipaddress.ip_network(str(source), strict=False) for source in ssh_from)
