# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack of CloudFormation would do, in words."""

from __future__ import annotations

import typing as t

VERBS = {"Add": "make", "Modify": "change", "Remove": "remove", "Import": "import", "Dynamic": "perhaps change"}
REPLACED = {"True": ", replacing it", "Conditional": ", perhaps replacing it"}


def words_for_new(stack: str, template: t.Mapping[str, t.Any]) -> list[str]:
    """Return what a stack that is not there yet would make; what its conditions leave out is named all the same.

    Args:
        stack: its name.
        template: the template as data.
    """
    return [f"{stack}: make {name} ({row['Type']})" + (f", if {row['Condition']}" if "Condition" in row else "") for name, row in template["Resources"].items()]


def words_for_changes(stack: str, changes: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """Return what a change set would do to a stack.

    Args:
        stack: its name.
        changes: the member Changes of the answer of DescribeChangeSet.
    """
    rows = [change["ResourceChange"] for change in changes if "ResourceChange" in change]
    return [
        f"{stack}: {VERBS.get(row['Action'], row['Action'])} {row['LogicalResourceId']} ({row['ResourceType']}){REPLACED.get(row.get('Replacement', ''), '')}"
        for row in rows
    ]
