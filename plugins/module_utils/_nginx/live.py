# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the requests of an upstream go: files without content in a folder for each upstream, which nginx looks for at each request."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import posixpath
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

LIVE_DIR = "/etc/nginx/live"
"""The folder that the templates of the role name."""

MAINTENANCE = "maintenance"
_ALLOW = f"{MAINTENANCE}-allow-"
_CANARY = "canary-"
_DRAINED = "drained-"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """What the files of one upstream say.

    Attributes:
        name: the upstream.
        live: the slots that get the requests: one; none before the first release; two for the moment of a switch.
        canary_slot: the slot that gets a share of the requests whatever is live, empty if there is none.
        canary_percent: that share.
        maintenance: whether requests are answered with the page of maintenance.
        maintenance_allow: the addresses that get through then.
        drained: the servers that get no new request, by their names in the inventory.
    """

    name: str
    live: tuple[str, ...] = ()
    canary_slot: str = ""
    canary_percent: int = 0
    maintenance: bool = False
    maintenance_allow: tuple[str, ...] = ()
    drained: tuple[str, ...] = ()


def remote_address(text: str) -> str:
    """An address of a client in the one form in which nginx writes it in ``$remote_addr``, empty if the text is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address).partition("%")[0]


def drained_mark(server: str) -> str:
    """The name of the file that says that a server is drained."""
    return _DRAINED + server


def parse_marks(name: str, files: t.Iterable[str]) -> Upstream:
    """What the names of an upstream's files mean; hidden files, such as those of a swap that is under way, mean nothing."""
    shown = sorted(file for file in files if not file.startswith("."))
    canary = [file.removeprefix(_CANARY).rpartition("-") for file in shown if file.startswith(_CANARY)]
    shares = [(int(percent), slot) for slot, dummy, percent in canary if percent.isdecimal()]
    percent, slot = max(shares, default=(0, ""))
    others = (MAINTENANCE, _CANARY, _DRAINED)
    return Upstream(
        name,
        tuple(file for file in shown if not file.startswith(others)),
        slot,
        percent,
        MAINTENANCE in shown,
        tuple(file.removeprefix(_ALLOW) for file in shown if file.startswith(_ALLOW)),
        tuple(file.removeprefix(_DRAINED) for file in shown if file.startswith(_DRAINED)),
    )


def read_upstreams(folder: str) -> tuple[Upstream, ...]:
    """All upstreams of a balancer, by name; none where the folder does not exist.

    Raises:
        MainstayError: the folder cannot be read.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        return tuple(parse_marks(name, os.listdir(posixpath.join(folder, name))) for name in names)
    except FileNotFoundError:
        return ()
    except OSError as exc:
        raise MainstayError(f"read {folder}", exc.strerror or exc, "run the task with become: true") from exc
