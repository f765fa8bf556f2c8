# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications of the doc fragments ``mainstay.ops.aws_snapshots``."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import wait_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import backup_argument_spec


def keep_argument_spec() -> dict[str, t.Any]:
    """Return the options of the fragment ``mainstay.ops.aws_snapshots.keep``; most of them mean the same as for backups in a store."""
    known = backup_argument_spec()
    return {
        **{name: known[name] for name in ("backup_id", "max_age", "retention", "labels")},
        "force": {"type": "bool", "default": False},
        **wait_argument_spec(7200, 15),
    }


def snapshot_argument_spec() -> dict[str, t.Any]:
    """Return those, and the options of the fragment ``mainstay.ops.aws_snapshots``."""
    known = backup_argument_spec()
    return {**keep_argument_spec(), **{name: known[name] for name in ("rto_target", "rpo_target")}}
