# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back: what a generation replaced is put in place again."""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.apply import Store, Swap
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.plan import plan_tree
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.state import read_host
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def _entry(record: t.Mapping[str, t.Any], folder: str) -> Entry | None:
    """The entry that undoes one change; None for a folder that was made, which may hold what is not ours and does no harm."""
    dest, before = record["dest"], record["before"]
    if before == "link":
        return Entry(dest, "link", target=record["target"])
    if before == "absent":
        return None if os.path.isdir(dest) and not os.path.islink(dest) else Entry(dest, "absent")
    attributes = {"owner": record["owner"], "group": record["group"], "mode": int(record["mode"], 8)}
    if before == "directory":
        return Entry(dest, "directory", **attributes)
    with open(posixpath.join(folder, "files") + dest, "rb") as stream:
        return Entry(dest, "file", **attributes, sensitive=True, content=stream.read())


def restore_generation(store: Store, number: int) -> list[str]:
    """Put back what the newest generation of a tree replaced, and forget that generation.

    Args:
        store: the tree.
        number: the generation, which must be the newest one.

    Returns:
        The paths that changed.

    Raises:
        MainstayError: it is not kept any more, or something is in the way; all files are as they were before then.
    """
    folder = store.generation(number)
    doing = f"put back what generation {number} of {posixpath.basename(store.root)} replaced"
    if number != store.latest():
        raise MainstayError(doing, f"the newest generation that is kept is {store.latest()}", f"look for the files in {store.generations}")
    with store.locked():
        swap = Swap()
        try:
            with open(posixpath.join(folder, "generation.json"), encoding="utf-8") as stream:
                records = json.load(stream)["changes"]
            entries = [entry for entry in (_entry(record, folder) for record in records) if entry]
            plan = plan_tree(entries, (), read_host(entries), parents=False)
            swap.run(plan)
        except (OSError, ValueError, KeyError) as exc:
            swap.roll_back()
            raise MainstayError(doing, exc, f"the files are in {folder}") from exc
        swap.clean()
        shutil.rmtree(folder)
        return plan.changed_files
