# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of etcd below a prefix: which there are, and their removal."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import Client, decode, encode, prefix_end

AT_ONCE = 100
"""etcd takes 128 operations in one transaction (``max-txn-ops``)."""


def run(client: Client, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Remove the keys below a prefix, apart from those that are kept, and return the module's result.

    Raises:
        MainstayError: it could not be done.
    """
    prefix, kept = params["prefix"], {params["prefix"] + name for name in params["keep"]}
    doing = f"remove the keys below {prefix} from etcd"
    if not prefix:
        raise InvalidInput(doing, "prefix is empty, which would be every key", "name the keys that go")
    if bool(params["login_user"]) != bool(params["login_password"]):
        raise InvalidInput(doing, "login_user and login_password are needed together")
    if params["login_user"]:
        client.login(params["login_user"], params["login_password"])
    answer = client.call("/v3/kv/range", {"key": encode(prefix), "range_end": encode(prefix_end(prefix)), "keys_only": True}, doing)
    there = sorted(decode(entry["key"]) for entry in answer.get("kvs", []))
    removed = [name for name in there if name not in kept]
    if not check_mode:
        for start in range(0, len(removed), AT_ONCE):
            client.call("/v3/kv/txn", {"success": [{"request_delete_range": {"key": encode(name)}} for name in removed[start : start + AT_ONCE]]}, doing)
    return {
        "changed": bool(removed),
        "actions": [f"remove {name}" for name in removed],
        "removed": removed,
        "diff": {"before": {"keys": there}, "after": {"keys": [name for name in there if name in kept]}},
    }
