# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a snapshot: from the chosen server, through the pipeline, into the catalogue."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, new_id
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, require_programs, tool_versions
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import KeyBounds, key_bounds, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import MINIMUM_BYTES
from ansible_collections.mainstay.ops.plugins.module_utils._redis.replication import SnapshotStream
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import SavedFile, SourcePlan

KIND = "redis"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a snapshot is written. ``idle_timeout`` and ``wait_timeout`` are seconds: without a byte, and until the server begins to send."""

    compression: Compression
    encryption: Encryption
    labels: t.Mapping[str, str]
    idle_timeout: float
    wait_timeout: float

    def check(self) -> None:
        """Find out that nothing can be written before anything is read.

        Raises:
            InvalidInput: the recipients cannot be encrypted to.
            MainstayError: a program is missing.
        """
        require_programs((*self.compression.filters(), *self.encryption.filters()))
        self.encryption.check()


def due(newest: Backup | None, max_age: int, now: datetime.datetime) -> bool:
    """Say whether a backup has to be taken: there is no good one, or the newest is older than ``max_age`` seconds; 0 always takes one."""
    return newest is None or not max_age or (now - newest.require_manifest().recoverable_to).total_seconds() > max_age


def take(catalogue: Catalogue, plan: SourcePlan, settings: Settings, phases: dict[str, float]) -> Backup:
    """Take a snapshot and publish it as a backup; after any error nothing of it is left.

    Args:
        catalogue: where it goes.
        plan: where it comes from.
        settings: how it is written.
        phases: filled with seconds: ``wait`` (until the server sends), ``stream``, ``publish``.

    Raises:
        MainstayError: the server, a program or the store failed.
    """
    filters = (*settings.compression.filters(), *settings.encryption.filters())
    tools, started = tool_versions(filters), utc_now()
    with catalogue.draft(new_id(started)) as draft:
        with timed(phases, "wait"), current().phase("wait for the snapshot"):
            begun = _begin(plan, settings)
        with begun.source:
            with timed(phases, "stream"), current().phase("stream the snapshot", _expected_bytes(catalogue, plan) if current().wanted else None):
                name = f"dump.rdb{settings.compression.suffix}{settings.encryption.suffix}"
                draft.add(name, begun.source, filters, plan.facts.used_memory, MINIMUM_BYTES)
            with timed(phases, "publish"):
                manifest = Manifest(
                    id=draft.id,
                    kind=KIND,
                    method=plan.method,
                    name=catalogue.name,
                    started=started,
                    finished=utc_now(),
                    recoverable_from=begun.moment,
                    recoverable_to=begun.moment,
                    source=_describe(plan, begun.source),
                    contents=begun.bounds.as_dict(),
                    objects=tuple(draft.records),
                    compression=settings.compression.describe(),
                    encryption=settings.encryption.describe(),
                    tools=tools,
                    labels=dict(settings.labels),
                    warnings=plan.warnings,
                )
                return draft.publish(manifest)


def _expected_bytes(catalogue: Catalogue, plan: SourcePlan) -> int:
    """Estimate a snapshot's size from that of the newest backup and the memory used then and now; an RDB file is far more compact than memory."""
    now, newest = plan.facts.used_memory, catalogue.newest_good()
    if newest is None:
        return now
    manifest = newest.require_manifest()
    then = int(manifest.source.get("used_memory", 0))
    size = sum(record.plain_bytes for record in manifest.objects)
    return size * now // then if size > 0 and then > 0 and now > 0 else now


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A source that sends, the moment whose data it holds, and the keys around that moment."""

    source: SnapshotStream | SavedFile
    moment: datetime.datetime
    bounds: KeyBounds


def _begin(plan: SourcePlan, settings: Settings) -> _Begun:
    """Let the server fork, and wait until it sends."""
    with Server(plan.login) as server:
        before = read_facts(server)
        source = SnapshotStream(plan.login, settings.idle_timeout) if plan.method == "psync" else SavedFile(plan.login)
        try:
            if not source.forked:
                source.wait_started(settings.wait_timeout)
            moment = utc_now()
            bounds = key_bounds(before, read_facts(server))
            source.wait_started(settings.wait_timeout)
        except BaseException:
            source.close()
            raise
    return _Begun(source, moment, dataclasses.replace(bounds, exact=bounds.exact and source.forked))


def _describe(plan: SourcePlan, source: SnapshotStream | SavedFile) -> dict[str, t.Any]:
    """Return what the manifest says of the server."""
    facts = plan.facts
    return {
        "host": platform.node(),
        "address": plan.login.address,
        "product": facts.product,
        "version": facts.version,
        "mode": facts.mode,
        "role": facts.role,
        "run_id": facts.run_id,
        "replication_id": facts.replication_id,
        "replication_offset": facts.offset,
        "used_memory": facts.used_memory,
        "rdb_magic": source.observer.magic_text,
        "has_checksum": source.observer.has_checksum,
        **source.describe(),
    }
