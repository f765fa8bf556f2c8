# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site of as many hosts as are wanted: three with the data, one balancer that also watches, and the rest with the application."""

from __future__ import annotations

import json
import pathlib
import typing as t

from document import PAGE

ROOT = PAGE.parents[1]
FOLDER = ROOT / "artifacts/bench-scale"
"""Two levels below the checkout, as the inventories are: variables of the lab name files by their way from there."""
DATA = ("data1", "data2", "data3")
LEAST = 5
MOST = 150
"""Addresses of the application's hosts end with 101 and up."""


def groups(size: int) -> dict[str, dict[str, int | None]]:
    """Return the hosts of each group of a site, with the last number of their address where a group is the first to name them.

    Args:
        size: hosts of the site; the one with the simulator of AWS comes on top.

    Raises:
        ValueError: a site of this size cannot be made.
    """
    if not LEAST <= size <= MOST:
        raise ValueError(f"a site of {size} hosts cannot be made; give a size from {LEAST} to {MOST}")
    application = {f"app{number}": 100 + number for number in range(1, size - len(DATA))}
    data = {name: 31 + number for number, name in enumerate(DATA)}
    again = dict.fromkeys(DATA)
    return {"lb": {"lb1": 11}, "app": application, "postgres": data, "dcs": again, "redis": again, "monitoring": {"lb1": None}}


def inventory(size: int) -> dict[str, t.Any]:
    """Return the inventory of a site of the lab, in the shape of ``inventories/lab``."""
    children = {
        group: {"hosts": {host: {"lab_number": number} if number else None for host, number in hosts.items()}} for group, hosts in groups(size).items()
    }
    lab = {"site_a": {"children": children}, "site_b": {"hosts": {}}, "cloud": {"hosts": {"cloud1": {"lab_number": 61}}}}
    return {"all": {"children": {"lab": {"children": lab}, "aws": {"hosts": {}}, "ecs": {"hosts": {}}}}}


def write_inventory(size: int, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    """Write the inventory with the variables of the lab, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("group_vars", "lab_constructed.yml"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ROOT / "inventories/lab" / name)
    (folder / "hosts.yml").write_text(json.dumps(inventory(size), indent=2) + "\n", encoding="utf-8")
    return folder
