# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done without a person: the allow-list, and the limits of each entry.

Everything in it can be taken back or be done twice. What promotes a database, moves a site or deletes data is not in it, and no option adds it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Rule:
    """One action that may be carried out, and its limits.

    Attributes:
        action: name of the action.
        does: what it does, as a verb phrase that a target's name can follow.
        alerts: names of the alerts that may ask for it.
        cooldown: seconds between two runs on one target.
        spread: seconds between runs on two targets.
        daily: runs on one target within 24 hours.
        min_peers: how many other members of the group must be healthy.
        approval: whether a person has to agree to each run.
        enabled: whether it is allowed here.
    """

    action: str
    does: str
    alerts: tuple[str, ...]
    cooldown: int = 600
    spread: int = 600
    daily: int = 3
    min_peers: int = 1
    approval: bool = False
    enabled: bool = True


#: The allow-list. The role ``remediate`` has a file of tasks for each name.
RULES = {
    rule.action: rule
    for rule in (
        Rule("restart_slot", "restart the live slot of the application on", ("ApplicationSlotDown",)),
        Rule("drain_host", "take out of the balancers", ("ApplicationHostSick",), cooldown=1800, spread=1800, daily=2),
        Rule("reinit_replica", "make the PostgreSQL standby anew on", ("PostgresReplicaBroken",), cooldown=21600, spread=3600, daily=1, approval=True),
        Rule("clean_caches", "clean known caches on", ("DiskAlmostFull",), cooldown=3600, spread=0, daily=2, min_peers=0),
        Rule("renew_certificate", "renew the certificates of", ("CertificateNotRenewed",), cooldown=3600, spread=60, daily=3, min_peers=0),
    )
}

#: Numbers that have to be at least this.
LEAST = {"cooldown": 0, "spread": 0, "daily": 0, "min_peers": 0}


def rule_for(action: str, limits: t.Sequence[t.Mapping[str, t.Any]]) -> Rule:
    """Return the rule of an action with the limits that are set for it here.

    Args:
        action: the action.
        limits: one mapping for each action that has other limits, with ``action`` and those fields of :class:`Rule` that are not None.

    Raises:
        InvalidInput: the action is not in the allow-list, or a limit cannot be.
    """
    if action not in RULES:
        raise InvalidInput(f"carry out {action}", "it is not in the allow-list", f"what can be done is {', '.join(RULES)}")
    given = [entry for entry in limits if entry["action"] == action]
    if len(given) > 1:
        raise InvalidInput(f"know the limits of {action}", f"they are given {len(given)} times", "give them once")
    changes = {name: setting for name, setting in (given[0] if given else {}).items() if name != "action" and setting is not None}
    for name, least in LEAST.items():
        if changes.get(name, least) < least:
            raise InvalidInput(f"know the limits of {action}", f"{name} is {changes[name]}", f"give {least} or more")
    if "alerts" in changes:
        changes["alerts"] = tuple(changes["alerts"])
    return dataclasses.replace(RULES[action], **changes)
