# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both methods' backups in one list, for ``pg_backup_info``."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, BackupNotFound, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import ObjectMissing, read_small
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.logical import KIND
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import owner_of
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import describe_repository
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import open_engine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Holdings, summary
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import read_repository
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.states import settings_of

Params = t.Mapping[str, t.Any]
_ENCRYPTED = b"Salted__"
"""What every file begins with that pgBackRest (as OpenSSL) encrypted with a passphrase."""


class Listed(t.NamedTuple):
    """A backup as the catalogue knows it, and as modules return it."""

    backup: Backup
    summary: dict[str, t.Any]


def overview(params: Params) -> dict[str, t.Any]:
    """Return what ``pg_backup_info`` returns.

    Raises:
        MainstayError: the store, or the repository in it, cannot be read.
    """
    catalogue = spec.open_catalogue(params, KIND, ("logical",))
    listed: list[Listed] = []
    incomplete: list[str] = []
    selector, method = params["backup_id"], params["method"]
    if method in ("all", "logical"):
        view = catalogue.look()
        listed += [Listed(backup, catalogue.summary(backup)) for backup in view.backups()]
        incomplete = view.incomplete
    if method in ("all", "physical"):
        found = _physical(params, catalogue)
        listed += found
        known = {item.backup.id for item in found}
        incomplete = [backup_id for backup_id in incomplete if backup_id not in known]
    listed.sort(key=lambda item: item.backup.id)
    if selector:
        listed, incomplete = [_choose(listed, selector, catalogue)], []
    good = [item.backup for item in listed if item.backup.good]
    verified = [item.backup.id for item in listed if item.backup.verified_at]
    moments = [(backup.require_manifest().recoverable_from, backup.require_manifest().recoverable_to) for backup in good]
    return {
        "backups": [item.summary for item in listed],
        "incomplete": incomplete,
        "latest": good[-1].id if good else None,
        "latest_verified": verified[-1] if verified else None,
        "recoverable_from": to_text(min(start for start, _unused in moments)) if moments else None,
        "recoverable_to": to_text(max(end for _unused, end in moments)) if moments else None,
    }


def _choose(listed: t.Sequence[Listed], selector: str, catalogue: Catalogue) -> Listed:
    wanted: dict[str, t.Callable[[Backup], bool]] = {"latest": lambda backup: backup.good, "latest_verified": lambda backup: backup.verified_at is not None}
    fits = wanted.get(selector, lambda backup: backup.id == selector)
    for item in reversed(listed):
        if fits(item.backup):
            return item
    raise BackupNotFound(f"find backup {selector} of {catalogue.kind} {catalogue.name} in {catalogue.store.describe()}", "there is no such backup")


def _physical(params: Params, catalogue: Catalogue) -> list[Listed]:
    """List what pgBackRest's repository holds; nothing if the store has none."""
    name = catalogue.name
    key = f"pgbackrest/{name}/backup/{name}/backup.info"
    try:
        begins = read_small(catalogue.store, key)[: len(_ENCRYPTED)]
    except ObjectMissing:
        if params["method"] == "physical":
            place = describe_repository(params["store"], name)
            raise BackupNotFound(f"list the physical backups of {name}", f"{place} holds no repository of pgBackRest", "check store and name") from None
        return []
    if begins == _ENCRYPTED and not params["repository_passphrase"]:
        cause = "its pgBackRest repository is encrypted"
        raise InvalidInput(f"list the physical backups of {name}", cause, "give repository_passphrase, or ask for method=logical only")
    passphrase = params["repository_passphrase"] if begins == _ENCRYPTED else None
    settings = settings_of({**params, "repository_passphrase": passphrase, "encryption": {"type": "age" if passphrase else "none"}})

    user = owner_of(f"{params['store']['path']}/pgbackrest/{name}" if params["store"]["type"] == "local" else None)
    with open_engine(settings, user) as engine:
        holdings = Holdings(engine, catalogue, read_repository(engine, 1))
        return [Listed(backup, summary(catalogue, engine, 1, backup)) for backup in holdings.backups]
