# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that the scan wants to know of a host from inside, in one go."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security import host, host_certificates, host_files
from ansible_collections.mainstay.ops.plugins.module_utils._security.host import NotKnown

PARTS = ("sshd", "kernel", "listeners", "packages", "files", "units", "certificates")


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "parts": {"type": "list", "elements": "str", "default": [], "choices": list(PARTS)},
        "paths": {"type": "list", "elements": "path", "default": ["/etc", "/home", "/opt", "/root", "/srv", "/usr/local", "/var/backups", "/var/www"]},
        "max_files": {"type": "int", "default": 50000},
        "certificate_paths": {"type": "list", "elements": "path", "default": ["/etc"]},
        "own_units": {"type": "list", "elements": "str", "default": []},
    }


def gather(run: host.Run, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts of each part, None for one that was not asked for or could not be looked at, with the reasons in ``not_judged``."""
    began = time.monotonic()
    asked = params["parts"] or PARTS
    readers: dict[str, t.Callable[[], t.Any]] = {
        "sshd": lambda: host.read_sshd(run),
        "kernel": lambda: host.read_kernel(run),
        "listeners": lambda: host.read_listeners(run),
        "packages": lambda: host.read_packages(run, found["listeners"] or ()),
        "files": lambda: {"exposed": host_files.find_exposed(run, host_files.Search(tuple(params["paths"]), params["max_files"]))},
        "units": lambda: {"units": host.read_units(run, params["own_units"])},
        "certificates": lambda: host_certificates.find_certificates(run, params["certificate_paths"]),
    }
    found: dict[str, t.Any] = dict.fromkeys(PARTS)
    missing = []
    for part in PARTS:
        if part in asked:
            try:
                found[part] = readers[part]()
            except NotKnown as exc:
                missing.append(host.not_judged(part, exc))
    return {**found, "not_judged": missing, "seconds": round(time.monotonic() - began, 3)}
