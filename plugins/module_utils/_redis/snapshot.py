# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a snapshot: from the chosen server, through the pipeline, into the catalogue."""

from __future__ import annotations

import dataclasses
import datetime
import io
import platform
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, new_id
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, require_programs, tool_versions
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current
from ansible_collections.mainstay.ops.plugins.module_utils._redis.accounts import ACL_NAME, CONFIG_NAME, read_accounts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import CONNECT_SECONDS, Refused, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import KeyBounds, data_digest, key_bounds, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import MINIMUM_BYTES
from ansible_collections.mainstay.ops.plugins.module_utils._redis.replication import SnapshotStream
from ansible_collections.mainstay.ops.plugins.module_utils._redis.scan import ScanStream
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import SavedFile, SourcePlan

KIND = "redis"
Source = t.Union[SnapshotStream, SavedFile, ScanStream]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a snapshot is written.

    Args:
        compression: how it is compressed.
        encryption: how it is encrypted.
        labels: words for the manifest.
        idle_timeout: seconds without a byte.
        wait_timeout: seconds until the server begins to send.
        work_dir: folder where a scan notes the keys that it has read.
        digest: whether the digest of the server's data is kept.
    """

    compression: Compression
    encryption: Encryption
    labels: t.Mapping[str, str]
    idle_timeout: float
    wait_timeout: float
    work_dir: str
    digest: bool = False

    def check(self) -> None:
        """Find out that nothing can be written before anything is read.

        Raises:
            InvalidInput: the recipients cannot be encrypted to.
            MainstayError: a program is missing.
        """
        require_programs((*self.compression.filters(), *self.encryption.filters()))
        self.encryption.check()


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
            with Server(plan.given) as server:
                accounts, missing = read_accounts(server)
            begun = _begin(plan, settings)
        with begun.source:
            suffix = f"{settings.compression.suffix}{settings.encryption.suffix}"
            with timed(phases, "stream"), current().phase("stream the snapshot", _expected_bytes(catalogue, plan) if current().wanted else None):
                draft.add(f"dump.rdb{suffix}", begun.source, filters, plan.facts.used_memory, MINIMUM_BYTES)
            seen = _seen(begun)
            with timed(phases, "publish"):
                for name, content in accounts.items():
                    draft.add(f"{name}{suffix}", io.BytesIO(content), filters, len(content))
                manifest = Manifest(
                    id=draft.id,
                    kind=KIND,
                    method=plan.method,
                    name=catalogue.name,
                    started=started,
                    finished=utc_now(),
                    recoverable_from=begun.moment,
                    recoverable_to=seen.until,
                    source=_describe(plan, begun.source),
                    contents={**seen.contents, "acl_users": ACL_NAME in accounts, "configuration": CONFIG_NAME in accounts},
                    objects=tuple(draft.records),
                    compression=settings.compression.describe(),
                    encryption=settings.encryption.describe(),
                    tools=tools,
                    labels=dict(settings.labels),
                    warnings=(*plan.warnings, *seen.warnings, *missing),
                )
                return draft.publish(manifest)


def _expected_bytes(catalogue: Catalogue, plan: SourcePlan) -> int:
    """Estimate a snapshot's size from that of the newest backup and the memory used then and now; an RDB file is far more compact than memory."""
    now, newest = plan.facts.used_memory, catalogue.newest_good()
    if newest is None:
        return now
    manifest = newest.require_manifest()
    then = int(manifest.source.get("used_memory", 0))
    size = next((record.plain_bytes for record in manifest.objects if record.name.startswith("dump.rdb")), 0)
    return size * now // then if size > 0 and then > 0 and now > 0 else now


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A source that sends, the moment whose data it holds, and the keys around that moment.

    ``digest`` is that of all data from the same look, empty if there is none, with the reason in ``undigested`` if one was asked for.
    """

    source: Source
    moment: datetime.datetime
    bounds: KeyBounds
    digest: str
    undigested: str


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What is known of a snapshot's content when it has been read in full."""

    until: datetime.datetime
    contents: dict[str, t.Any]
    warnings: tuple[str, ...]


def _begin(plan: SourcePlan, settings: Settings) -> _Begun:
    """Let the server fork, and wait until it sends."""
    with Server(plan.login, timeout=settings.wait_timeout if settings.digest else CONNECT_SECONDS) as server:
        before = read_facts(server)
        digest, undigested = _digest(server, plan) if settings.digest else ("", "")
        source = _open(plan, settings)
        try:
            if not source.forked:
                source.wait_started(settings.wait_timeout)
            moment = utc_now()
            bounds = key_bounds(before, read_facts(server))
            source.wait_started(settings.wait_timeout)
        except BaseException:
            source.close()
            raise
    bounds = dataclasses.replace(bounds, exact=bounds.exact and source.forked)
    if digest and not bounds.exact:
        digest, undigested = "", "the server was written to while the snapshot began"
    return _Begun(source, moment, bounds, digest, undigested)


def _open(plan: SourcePlan, settings: Settings) -> Source:
    """Begin to read by the method of the plan."""
    if plan.method == "psync":
        return SnapshotStream(plan.login, settings.idle_timeout)
    return SavedFile(plan.login) if plan.method == "bgsave" else ScanStream(plan.login, plan.facts, settings.work_dir, settings.idle_timeout)


def _digest(server: Server, plan: SourcePlan) -> tuple[str, str]:
    """Return the digest of all data of a server, or why there is none."""
    if plan.method == "scan":
        return "", "a scan is not of one instant"
    try:
        return data_digest(server), ""
    except Refused as error:
        return "", error.cause


def _seen(begun: _Begun) -> _Seen:
    """Say what was read; a scan has counted the keys itself, and took until now."""
    until, bounds, consistency = begun.moment, begun.bounds, "instant"
    warnings: tuple[str, ...] = (f"the digest of the data is not kept: {begun.undigested}",) if begun.undigested else ()
    if isinstance(begun.source, ScanStream):
        until, consistency, warnings = utc_now(), "fuzzy", (*warnings, *begun.source.warnings)
        bounds = KeyBounds({name: (count, count) for name, count in begun.source.counts.items() if count}, exact=True)
    return _Seen(until, {**bounds.as_dict(), "consistency": consistency, "digest": begun.digest}, warnings)


def _describe(plan: SourcePlan, source: Source) -> dict[str, t.Any]:
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
