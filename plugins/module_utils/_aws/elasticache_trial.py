# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replication group of ElastiCache that ``elasticache_backup`` restores a snapshot to for trial, and looks through.

It gets a random password of its own, so that no secret of the source is needed, and takes TLS connections only. Tags cannot be set while a group is being made
(API reference, ``AddTagsToResource``: InvalidReplicationGroupState), so that its time is long enough from the beginning.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import secrets
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import ElastiCache
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_groups import Groups, wait_available
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._aws.trial import LEASE, OF, REMOVAL, UNTIL, Lodger, lease, remove
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Refused, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.content import count_types
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import read_facts

OPTIONS = {
    "CacheNodeType": ("cache_node_type", "node_type"),
    "CacheSubnetGroupName": ("cache_subnet_group_name", "subnet_group"),
    "CacheParameterGroupName": ("cache_parameter_group_name", "parameter_group"),
}
"""Members of CreateReplicationGroup, each with the option that sets it and what is told of a snapshot."""


def short_version(version: str) -> str:
    """Return the version of an engine as CreateReplicationGroup takes it: from 6 on without the last part (ElastiCache User Guide, "Supported engines")."""
    found = re.match(r"(\d+)\.\w+", version)
    return found[0] if found and int(found[1]) >= 6 else version


def plan_trial(params: t.Mapping[str, t.Any], snapshot: Snapshot, source: Row | None, nodes: t.Sequence[Row], doing: str) -> dict[str, t.Any]:
    """Return how a group for trial is set: in the network of the source, with its shards, and without replicas.

    Args:
        params: the module's options.
        snapshot: what it is made of.
        source: the group that the snapshot is of; None if it is gone.
        nodes: its nodes.
        doing: what for, as a verb phrase.

    Raises:
        InvalidInput: the source is gone, and an option is missing.
    """
    facts = snapshot.facts
    found = {member: params[option] or facts.get(fact) for member, (option, fact) in OPTIONS.items()}
    groups = params["security_group_ids"] or sorted({row["SecurityGroupId"] for node in nodes for row in node.get("SecurityGroups") or []})
    missing = [option for member, (option, fact) in OPTIONS.items() if not found[member] and option != "cache_parameter_group_name"]
    missing += [] if groups else ["security_group_ids"]
    if missing:
        cause = "its group is gone, and the snapshot does not tell" if source is None else "neither its group nor the snapshot tells"
        raise InvalidInput(doing, f"{cause} where the group for trial is to be", f"give {', '.join(missing)}")
    shards = int(facts.get("shards") or 1)
    clustered = shards > 1 or bool(source and source.get("ClusterEnabled")) or ".cluster.on" in str(found["CacheParameterGroupName"])
    settings = {
        **{member: content for member, content in found.items() if content},
        "Engine": facts["engine"],
        "SecurityGroupIds": groups,
        "NumNodeGroups": shards,
        "ReplicasPerNodeGroup": 0,
        "AutomaticFailoverEnabled": clustered,
        "TransitEncryptionEnabled": True,
        "AtRestEncryptionEnabled": True,
        "SnapshotRetentionLimit": 0,
        "AutoMinorVersionUpgrade": False,
    }
    if facts.get("engine_version"):
        settings["EngineVersion"] = short_version(facts["engine_version"])
    if facts.get("data_tiering"):
        settings["DataTieringEnabled"] = True
    return settings


@dataclasses.dataclass(frozen=True)
class GroupBed:
    """A replication group for trial; see ``trial.Bed``.

    Args:
        source: the group that snapshots are of.
        cache: the calls that tell of groups and snapshots, and tag.
        groups: the calls that make and remove groups.
        params: the module's options.
    """

    source: str
    cache: ElastiCache
    groups: Groups
    params: t.Mapping[str, t.Any]

    noun: t.ClassVar[str] = "replication group"
    name_characters: t.ClassVar[int] = 25
    """A group's identifier has at most 40 (API reference, ``CreateReplicationGroup``)."""

    @property
    def asked(self) -> str:
        """A word for what is asked of the keys."""
        return snapshots.digest([{name: self.params[name] for name in ("min_keys", "verify_keys")}])

    def lodgers(self) -> list[Lodger]:
        """Return the groups that may be for trial. One that is being made cannot be asked for its tags, nor removed; a run is at it."""
        prefix = f"{self.source[: self.name_characters].rstrip('-')}-trial-"
        rows = [row for row in self.groups.beginning(prefix) if row["Status"] not in ("creating", "deleting")]
        return [Lodger(row["ReplicationGroupId"], self.cache.tags(row["ARN"])) for row in rows]

    def plan(self, snapshot: Snapshot, doing: str) -> dict[str, t.Any]:
        """Return how it is made; see :func:`plan_trial`."""
        source = self.cache.group(self.source)
        return plan_trial(self.params, snapshot, source, self.groups.nodes(source) if source else [], doing)

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags."""
        self.cache.tag(arn, tags)

    def _patience(self) -> Patience:
        return Patience(self.params["wait_timeout"], self.params["poll_interval"])

    def look(self, snapshot: Snapshot, name: str, settings: t.Mapping[str, t.Any], phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore to a group and look through it: each shard serves, all keys are read, and those that must be there are."""
        password = secrets.token_urlsafe(32)
        until = lease(2 * self.params["wait_timeout"] + self.params["check_timeout"] + LEASE)
        with timed(phases, "restore"):
            self.groups.restore(snapshot.id, name, {OF: self.source, UNTIL: until}, AuthToken=password, **settings)
            group = wait_available(self.cache, name, self._patience())
        with timed(phases, "connect"):
            logins = [self._login(node, password) for node in self.groups.nodes(group)]
            for login in logins:
                self._wait_login(login, name)
        with timed(phases, "check"):
            return self._examine(logins, int(settings["NumNodeGroups"]), f"check the data of {snapshot.id}")

    def _login(self, node: Row, password: str) -> Login:
        endpoint = node["CacheNodes"][0]["Endpoint"]
        protection = {"validate_certs": self.params["validate_certs"], "ca_certs": self.params["ca_cert"]}
        return Login(endpoint["Address"], endpoint["Port"], None, password, None, True, **protection)

    def _wait_login(self, login: Login, name: str) -> None:
        """Wait until a node answers.

        Raises:
            MainstayError: it did not until the time was over.
        """

        def attempt() -> str:
            try:
                with Server(login) as server:
                    server.command("PING")
                return ""
            except MainstayError as error:
                return error.cause

        doing = f"log in to the replication group {name}"
        try:
            self._patience().wait(doing, attempt, lambda problem: problem)
        except MainstayError as error:
            step = "run it where the cache's subnets can be reached, such as a host in the VPC, and see the security groups"
            raise MainstayError(doing, error.cause, step) from error

    def _examine(self, logins: t.Sequence[Login], shards: int, doing: str) -> dict[str, t.Any]:
        """Read all keys; return what was seen.

        Raises:
            VerificationFailed: there are fewer than there must be, one is missing, or a shard is.
        """
        if len(logins) < shards:
            raise VerificationFailed(doing, f"{len(logins)} of {shards} shards were restored")
        types: collections.Counter[str] = collections.Counter()
        versions, missing = set(), set(self.params["verify_keys"])
        for login in logins:
            with Server(login, timeout=self.params["check_timeout"]) as server:
                versions.add(read_facts(server).version)
                missing -= {key for key in missing if has(server, key)}
            types.update(count_types(login, self.params["check_timeout"]))
        if missing:
            raise VerificationFailed(doing, f"the keys {', '.join(sorted(missing))} are missing")
        if types.total() < self.params["min_keys"]:
            raise VerificationFailed(doing, f"it holds {types.total()} keys, and min_keys is {self.params['min_keys']}")
        return {"keys": types.total(), "types": dict(sorted(types.items())), "shards": len(logins), "server_versions": sorted(versions)}

    def remove(self, name: str) -> None:
        """Remove a group for trial and wait until it is gone."""

        def status() -> str | None:
            row = self.cache.group(name)
            return str(row["Status"]) if row else None

        patience = Patience(max(REMOVAL, self.params["wait_timeout"]), self.params["poll_interval"])
        by_hand = f"aws elasticache delete-replication-group --replication-group-id {name}"
        remove(status, lambda: self.groups.remove(name), "InvalidReplicationGroupState", patience, f"remove the replication group {name}", by_hand)


def has(server: Server, key: str) -> bool:
    """Tell whether a shard has a key of database 0; another shard's is refused by it."""
    try:
        return bool(server.command("EXISTS", key))
    except Refused as error:
        if "MOVED" in error.cause:
            return False
        raise
