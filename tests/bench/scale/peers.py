# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Well-known roles of a single purpose each, fetched by git at a tag when they are measured; nothing of them is kept."""

from __future__ import annotations

import json
import pathlib
import subprocess

SOURCE = "https://github.com/geerlingguy/ansible-role-{name}"
TAGS = {"postgresql": "4.0.3", "redis": "1.9.1", "nginx": "3.2.0"}
SETTINGS = {
    # They read facts by the names that ansible-core injects, and more of them than our own roles do.
    "ANSIBLE_INJECT_FACT_VARS": "true",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    # Written for ansible-core before 2.19, which conditions must suit.
    "ANSIBLE_ALLOW_BROKEN_CONDITIONALS": "true",
}
FETCH_SECONDS = 120
PLACES = {"postgres": ("postgresql", "redis"), "lb:app": ("nginx",)}
"""The roles of each group, with their defaults: where our own roles put the same servers."""


class Unavailable(Exception):
    """The roles could not be had."""


def fetch(folder: pathlib.Path, source: str = SOURCE) -> pathlib.Path:
    """Fetch the roles into a folder and return it.

    Args:
        folder: where to put them.
        source: their repository, with ``{name}`` in the place of the role's name.

    Raises:
        Unavailable: git could not fetch one of them.
    """
    for name, tag in TAGS.items():
        argv = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--branch", tag]
        argv += [source.format(name=name), str(folder / f"geerlingguy.{name}")]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{source.format(name=name)} did not answer within {FETCH_SECONDS} s") from error
        if done.returncode != 0:
            raise Unavailable(f"git could not fetch {source.format(name=name)} at {tag}: {done.stderr.strip()[-300:]}")
    return folder


def write_playbook(folder: pathlib.Path) -> pathlib.Path:
    """Write the playbook of the roles beside them, where Ansible looks for roles, and return its file."""
    plays = [
        {
            "name": f"Run {' and '.join(roles)}",
            "hosts": hosts,
            "become": True,
            "gather_facts": True,
            "gather_subset": ["all"],
            "roles": [f"geerlingguy.{role}" for role in roles],
        }
        for hosts, roles in PLACES.items()
    ]
    path = folder / "peers.yml"
    path.write_text(json.dumps(plays, indent=2) + "\n", encoding="utf-8")
    return path
