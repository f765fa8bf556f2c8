# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for packages: security updates that wait, what still runs old code, and whether anybody would notice.

The facts are ``updates`` (a list of ``name``, ``installed``, ``candidate``, ``security``), ``lists_age_seconds`` (None where there are no lists),
``unattended`` (whether security updates are installed by themselves), ``reboot_required`` (why, empty if not), ``exposed`` (packages whose programs listen
beyond the loopback interface) and ``stale`` (a list of ``process``, ``libraries`` that were replaced below it).
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import HIGH, LOW, MEDIUM, Facts, Hit, Rule

LISTS_DAYS = 7
"""Lists that are older tell nothing of new advisories; Debian publishes some each week."""
SHOWN = 12
"""So many packages are named."""

_CORE = re.compile(
    r"(libc6|libssl\d.*|libgnutls\d+.*|openssl|openssh-server|openssh-client|sudo|systemd|libsystemd0|libpam.*|login|linux-image.*|zlib1g|nginx.*)"
)
"""What other people's input reaches on nearly every host, or what guards the way to root."""


def _reached(facts: Facts, update: Facts) -> bool:
    return update["name"] in facts["exposed"] or bool(_CORE.fullmatch(update["name"]))


def _reached_updates(facts: Facts) -> t.Iterator[Hit]:
    for update in facts["updates"]:
        if update["security"] and _reached(facts, update):
            yield Hit(update["name"], f"{update['installed'] or 'nothing'} is installed, {update['candidate']} is the security update")


def _other_updates(facts: Facts) -> t.Iterator[Hit]:
    names = [update["name"] for update in facts["updates"] if update["security"] and not _reached(facts, update)]
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield Hit("other packages", f"security updates wait for {', '.join(names[:SHOWN])}{more}")


def _old_lists(facts: Facts) -> t.Iterator[Hit]:
    age = facts["lists_age_seconds"]
    if age is None:
        yield Hit("apt", "there are no package lists, so no advisory is known")
    elif age > LISTS_DAYS * 86400:
        yield Hit("apt", f"the package lists are {age / 86400:.0f} days old, so newer advisories are not known")


def _not_automatic(facts: Facts) -> t.Iterator[Hit]:
    if not facts["unattended"]:
        yield Hit("unattended-upgrades", "it is not installed, or APT::Periodic::Unattended-Upgrade is 0")


def _reboot(facts: Facts) -> t.Iterator[Hit]:
    if facts["reboot_required"]:
        yield Hit("reboot", facts["reboot_required"])


def _stale(facts: Facts) -> t.Iterator[Hit]:
    for entry in facts["stale"]:
        yield Hit(entry["process"], f"it has old copies of {', '.join(entry['libraries'])} in memory")


_APT = "Debian security advisories, by apt"

RULES = (
    Rule(
        "security_update", HIGH, "lacks a security update, and others reach it", "The hole is published, and so is often the way to use it.",
        "Run the playbook patch, or apt-get upgrade.", _APT, _reached_updates,
    ),
    Rule(
        "security_update_other", MEDIUM, "lack security updates", "A hole there makes the most of one elsewhere.",
        "Run the playbook patch, or apt-get upgrade.", _APT, _other_updates,
    ),
    Rule(
        "package_lists_old", MEDIUM, "does not know of new advisories", "What nobody looks for is not found.",
        "See that apt-daily.timer runs and that the host reaches its mirror, and run apt-get update.", _APT, _old_lists,
    ),
    Rule(
        "updates_not_automatic", LOW, "does not install security updates by itself", "A hole stays open until somebody has the time.",
        "Run the role base, or install unattended-upgrades, or patch by a schedule.", "CIS Debian Linux Benchmark, software updates", _not_automatic,
    ),
    Rule(
        "reboot_required", MEDIUM, "waits for a reboot", "The old kernel or library runs on until then.", "Run the playbook patch with patch_reboot=if_needed.",
        _APT, _reboot,
    ),
    Rule(
        "old_code_in_memory", MEDIUM, "runs with libraries that were replaced", "The update does not help before the process starts anew.",
        "Restart it, by the playbook restart where it serves.", "needrestart", _stale,
    ),
)  # fmt: skip
