# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications of the catalogue's options (doc fragment ``mainstay.ops.catalog``) and what the options mean."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import LEVELS, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Policy
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore, Store
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_S3_OPTIONS = ("bucket", "prefix", "region", "endpoint_url", "access_key", "secret_key", "session_token", "profile", "validate_certs", "aws_ca_bundle")


_STORE: dict[str, t.Any] = {
    "options": {
        "type": {"type": "str", "required": True, "choices": ["local", "s3"]},
        "path": {"type": "path"},
        "bucket": {"type": "str"},
        "prefix": {"type": "str", "default": ""},
        "region": {"type": "str"},
        "endpoint_url": {"type": "str"},
        "access_key": {"type": "str", "no_log": False},
        "secret_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "profile": {"type": "str"},
        "validate_certs": {"type": "bool", "default": True},
        "aws_ca_bundle": {"type": "path"},
    },
    "required_if": [("type", "local", ("path",)), ("type", "s3", ("bucket",))],
    "required_together": [("access_key", "secret_key")],
    "required_by": {"session_token": ("access_key",)},
}


def store_argument_spec() -> dict[str, t.Any]:
    """Return the options that say which catalogue is meant: ``name`` and ``store`` (fragment ``mainstay.ops.catalog``)."""
    return {"name": {"type": "str", "required": True}, "store": {"type": "dict", "required": True, **_STORE}}


def backup_argument_spec() -> dict[str, t.Any]:
    """Return the options of a module that makes, verifies and restores backups (fragment ``mainstay.ops.catalog.backup``)."""
    return {
        "backup_id": {"type": "str", "default": "latest"},
        "max_age": {"type": "str", "default": "24h"},
        "verify_level": {"type": "str", "default": "restore", "choices": list(LEVELS)},
        "rto_target": {"type": "str"},
        "rpo_target": {"type": "str"},
        "labels": {"type": "dict", "default": {}},
        "copies": {"type": "list", "elements": "dict", "default": [], **_STORE},
        "retention": {
            "type": "dict",
            "options": {
                **{f"keep_{name}": {"type": "int"} for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")},
                "keep_within": {"type": "str"},
                "min_good": {"type": "int", "default": 2},
                "grace": {"type": "str", "default": "24h"},
            },
        },
        "compression": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "default": "zstd", "choices": ["zstd", "none"]},
                "level": {"type": "int", "default": 3},
                "threads": {"type": "int", "default": 2},
            },
            "apply_defaults": True,
        },
        "encryption": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "default": "age", "choices": ["age", "gpg", "none"]},
                "recipients": {"type": "list", "elements": "str", "default": []},
                "identity": {"type": "str", "no_log": True},
                "identity_file": {"type": "path"},
            },
            "mutually_exclusive": [("identity", "identity_file")],
            "apply_defaults": True,
        },
    }


def open_store(options: t.Mapping[str, t.Any]) -> Store:
    """Return the store that the option ``store`` describes."""
    if options["type"] == "local":
        return LocalStore(options["path"])
    from ansible_collections.mainstay.ops.plugins.module_utils._catalog.s3 import S3Options, S3Store  # boto3 takes a third of a second to load

    return S3Store(S3Options(**{name: options[name] for name in _S3_OPTIONS}))


def open_catalogue(params: t.Mapping[str, t.Any], kind: str, methods: t.Collection[str] = ()) -> Catalogue:
    """Return the catalogue that the options ``store`` and ``name`` describe, for one kind of backup, and for some methods if they are named."""
    return Catalogue(open_store(params["store"]), kind, params["name"], methods)


def open_copies(params: t.Mapping[str, t.Any], catalogue: Catalogue) -> tuple[Catalogue, ...]:
    """Return the catalogues of the same kind and name in the stores that the option ``copies`` describes.

    Raises:
        InvalidInput: a store is named twice, which is no copy.
    """
    copies = tuple(Catalogue(open_store(options), catalogue.kind, catalogue.name, catalogue.methods) for options in params["copies"])
    places = [catalogue.store.describe(), *(copy.store.describe() for copy in copies)]
    for place in places:
        if places.count(place) > 1:
            raise InvalidInput("use the stores in copies", f"{place} is named twice", "name other stores than store, each once")
    return copies


def policy_of(params: t.Mapping[str, t.Any]) -> Policy | None:
    """Return what the option ``retention`` asks for; None if it is not given.

    Raises:
        InvalidInput: a number is negative, or ``min_good`` is 0.
    """
    options = params["retention"]
    if options is None:
        return None
    counts = {name: options[name] for name in options if name.startswith("keep_") and name != "keep_within"}
    for name, count in counts.items():
        if (count or 0) < 0:
            raise InvalidInput("read retention", f"{name} is {count}", "leave it out to have no such rule")
    if options["min_good"] < 1:
        raise InvalidInput("read retention", f"min_good is {options['min_good']}, it must be at least 1")
    within = parse_duration(options["keep_within"]) if options["keep_within"] else None
    return Policy(**counts, keep_within_seconds=within, min_good=options["min_good"], grace_seconds=parse_duration(options["grace"]))


def compression_of(params: t.Mapping[str, t.Any]) -> Compression:
    """Return what the option ``compression`` asks for.

    Raises:
        InvalidInput: the level is not between 1 and 22, or the threads are negative.
    """
    options = params["compression"]
    if not 1 <= options["level"] <= 22 or options["threads"] < 0:
        raise InvalidInput("compress a backup", "compression.level must be between 1 and 22, compression.threads 0 (all cores) or more")
    return Compression(options["type"], options["level"], options["threads"])


def encryption_of(params: t.Mapping[str, t.Any]) -> Encryption:
    """Return what the option ``encryption`` asks for, for new backups."""
    return Encryption(params["encryption"]["type"], tuple(params["encryption"]["recipients"]))


def identity_of(params: t.Mapping[str, t.Any]) -> Identity:
    """Return the private key of the option ``encryption``, for opening backups."""
    return Identity(params["encryption"]["identity"], params["encryption"]["identity_file"])


def labels_of(params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the option ``labels`` as text."""
    return {str(name): str(value) for name, value in params["labels"].items()}


def parse_duration(text: str) -> int:
    """Return the seconds that ``90``, ``15m``, ``24h``, ``7d`` or ``2w`` mean.

    Raises:
        InvalidInput: it is nothing of the kind.
    """
    match = re.fullmatch(r"(\d+)([smhdw]?)", text.strip())
    if match is None:
        raise InvalidInput(f"read the duration {text!r}", "it is no number of seconds and no number with one of the units s, m, h, d, w")
    return int(match[1]) * _UNITS[match[2]]
