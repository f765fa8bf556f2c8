# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specification of what ``pg_backup`` alone knows."""

from __future__ import annotations

import typing as t

KIND = "postgres"
"""What these backups are called in a catalogue."""


def pg_backup_argument_spec() -> dict[str, t.Any]:
    """Return the options of ``pg_backup`` beside those of the connection and of the catalogue."""
    text, path = {"type": "str"}, {"type": "path"}
    query = {name: {"type": "str", "required": True} for name in ("database", "query", "expect")}
    return {
        "state": {"type": "str", "default": "present", "choices": ["present", "verified", "restored", "copied", "pruned", "absent"]},
        "method": {"type": "str", "default": "logical", "choices": ["logical", "physical"]},
        "backup_type": {"type": "str", "default": "full", "choices": ["full", "differential", "incremental"]},
        "data_dir": path,
        "peers": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "default": 8432},
                "data_dir": path,
                "postgres_port": {"type": "int", "default": 5432},
                "socket_path": {"type": "path", "default": "/var/run/postgresql"},
                **{name: {"type": "path", "required": True} for name in ("ca_file", "cert_file", "key_file")},
            },
        },
        "target": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "default": "latest", "choices": ["latest", "immediate", "time", "lsn", "xid", "name"]},
                "value": text,
                "inclusive": {"type": "bool", "default": True},
                "timeline": {"type": "str", "default": "latest"},
                "action": {"type": "str", "default": "promote", "choices": ["promote", "pause", "shutdown"]},
            },
            "required_if": [("type", name, ("value",)) for name in ("time", "lsn", "xid", "name")],
        },
        "delta": {"type": "bool", "default": True},
        "repository_passphrase": {"type": "str", "no_log": True},
        "pgbackrest_options": {"type": "dict", "default": {}},
        "jobs": {"type": "int", "default": 1},
        "restore_jobs": {"type": "int", "default": 1},
        "force": {"type": "bool", "default": False},
        "databases": {"type": "list", "elements": "str", "default": []},
        "exclude_databases": {"type": "list", "elements": "str", "default": []},
        "include_globals": {"type": "bool", "default": True},
        "target_database": {"type": "str"},
        "on_existing": {"type": "str", "default": "fail", "choices": ["fail", "rename", "replace"]},
        "verify_queries": {"type": "list", "elements": "dict", "default": [], "options": query},
        "pg_bin_dir": {"type": "path"},
        "work_dir": {"type": "path", "default": "/var/tmp"},
    }
