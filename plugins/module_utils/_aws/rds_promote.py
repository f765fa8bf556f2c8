# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotes a read replica of RDS: it must be one, near enough to its source, and is looked at until it stands for itself and takes writes.

Amazon RDS User Guide, "Promoting a read replica to be a standalone DB instance": the replica restarts, its replication ends for good, and what the source had
not sent is lost. After the call the state stays ``available`` for a while, so that it alone says nothing: what counts is that the instance has no source any
more.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply, calling
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, Row, refuse_missing, tags_of
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import pending, refuse_unready, wait_serving
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_login import login_to, wait_login
from ansible_collections.mainstay.ops.plugins.module_utils._aws.watch import Watch
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import value

FROM = "mainstay:promoted-from"
"""The tag that is set before a promotion: by it a replica that was promoted is told from an instance that never was one."""
FRESH = 300
"""Seconds: an older figure of the lag says nothing of now."""
WRITABLE = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AND txid_current() > 0"
"""True only where a transaction of its own gets a number, which no standby gives out."""


def source_of(instance: Row) -> str:
    """Return the source that a replica follows; empty for an instance that follows none."""
    return str(instance.get("ReadReplicaSourceDBInstanceIdentifier") or "")


def judge(instance: Row, lag: float | None, max_lag: float) -> list[str]:
    """Return what speaks against promoting a replica now.

    Args:
        instance: the replica.
        lag: how many seconds it is behind; None if nothing fresh says so, -1 if it does not follow (the metric's own meaning).
        max_lag: how many are let pass.
    """
    against = [
        f"its {row['StatusType']} is {row['Status']}" + (f" ({row['Message']})" if row.get("Message") else "")
        for row in instance.get("StatusInfos") or []
        if not row.get("Normal")
    ]
    if lag is None:
        against.append("nothing says how far it is behind its source (the metric ReplicaLag has no figure of the last five minutes)")
    elif lag < 0:
        against.append("it does not follow its source now (ReplicaLag is -1)")
    elif lag > max_lag:
        against.append(f"it is {lag:.0f} s behind its source, more than max_lag, {max_lag:g} s")
    return against


class Promotion:
    """The call."""

    def __init__(self, client: t.Any) -> None:
        """Use a boto3 client with retries."""
        self._client = client

    def promote(self, name: str, **settings: t.Any) -> None:
        """Begin to promote a replica."""
        with calling(f"promote the replica {name}"):
            self._client.promote_read_replica(DBInstanceIdentifier=name, aws_retry=True, **settings)


@dataclasses.dataclass(frozen=True)
class Promoter:
    """One run.

    Args:
        rds: the calls that tell of instances, and tag.
        promotion: the call that promotes.
        watch: tells the lag.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    rds: Rds
    promotion: Promotion
    watch: Watch
    params: t.Mapping[str, t.Any]
    check_mode: bool

    @property
    def name(self) -> str:
        """The replica."""
        return str(self.params["db_instance_identifier"]).lower()

    def run(self) -> tuple[dict[str, t.Any], list[str]]:
        """Promote, or find that it is done; return the module's result and warnings.

        Raises:
            MainstayError: it is no replica, is not fit, or was not promoted.
        """
        began, phases, warnings = time.monotonic(), dict[str, float](), list[str]()
        doing = f"promote the replica {self.name}"
        instance = refuse_missing(self.rds.instance(self.name), self.name, self.rds.region, doing)
        source, promoted_from = source_of(instance), tags_of(instance).get(FROM, "")
        if not source and not promoted_from:
            cause = f"{self.name} follows no source, so it is no replica, and was not promoted by this module"
            raise InvalidInput(doing, cause, "name the replica; one that was promoted by hand needs nothing more")
        lag, actions = None, []
        if source:
            refuse_unready(instance, doing)
            lag = self.watch.newest("AWS/RDS", "ReplicaLag", ("DBInstanceIdentifier", self.name), FRESH)
            self._refuse_unfit(instance, lag, doing, bool(promoted_from), warnings)
            actions = [f"promote the replica {self.name} of {source}"]
        writable = None
        if not self.check_mode:
            if source:
                instance = self._promote(instance, source, phases)
            writable = self._see_writable(instance, phases, warnings)
        result = {
            "changed": bool(actions),
            "actions": actions,
            "instance": describe(instance),
            "source": source or promoted_from,
            "lag_seconds": lag,
            "writable": writable,
            "phases": phases,
            "seconds": round(time.monotonic() - began, 3),
            "diff": {"before": {"role": "replica" if source else "primary"}, "after": {"role": "primary"}},
        }
        return result, warnings

    def _refuse_unfit(self, instance: Row, lag: float | None, doing: str, begun: bool, warnings: list[str]) -> None:
        """Refuse a replica that would lose more than is let pass, unless its promotion has begun, after which nothing leads back."""
        against = judge(instance, lag, self.params["max_lag"])
        if not against or begun:
            return
        if not self.params["force"]:
            raise InvalidInput(doing, "; ".join(against), "let it catch up, or, where the source is lost, add force=true: what it lacks is lost then")
        warnings.append(f"promoted by force: {'; '.join(against)}")

    def _promote(self, instance: Row, source: str, phases: dict[str, float]) -> Row:
        """Promote and wait until it stands for itself."""
        settings = {"BackupRetentionPeriod": self.params["backup_retention_period"]} if self.params["backup_retention_period"] is not None else {}
        with timed(phases, "wait"):
            wait_serving(self.rds, self.name, self._patience())
        with timed(phases, "promote"):
            self.rds.tag(instance["DBInstanceArn"], {FROM: source})
            try:
                self.promotion.promote(self.name, **settings)
            except (AwsError, NoReply):
                # An answer may have been lost, to boto3 too, whose second try is refused then.
                now = self.rds.instance(self.name)
                if now is None or (source_of(now) and now["DBInstanceStatus"] == "available"):
                    raise
            doing = f"wait for the promotion of {self.name}"

            def still(row: Row | None) -> str:
                state = pending(row, self.name, doing)
                return state or (f"it still follows {source_of(t.cast(Row, row))}" if source_of(t.cast(Row, row)) else "")

            return t.cast(Row, self._patience().wait(doing, lambda: self.rds.instance(self.name), still))

    def _patience(self) -> Patience:
        return Patience(self.params["wait_timeout"], self.params["poll_interval"])

    def _see_writable(self, instance: Row, phases: dict[str, float], warnings: list[str]) -> bool | None:
        """See whether it takes writes; None, with a warning, if there is no password to log in with.

        Raises:
            MainstayError: it did not until the time was over.
        """
        if not self.params["login_password"]:
            warnings.append("it was not seen whether the instance takes writes, since login_password is not given")
            return None
        user = self.params["login_user"] or instance["MasterUsername"]
        login = login_to(instance, self.params, user, self.params["login_password"], self.params["login_db"])
        with timed(phases, "writable"):
            doing = f"write to the instance {self.name}"
            wait_login(login, doing, self._patience(), lambda connection: "" if value(connection, WRITABLE) else "it is read-only")
        return True


def describe(instance: Row) -> dict[str, t.Any]:
    """Return what modules tell of an instance."""
    endpoint = instance.get("Endpoint") or {}
    return {
        "name": instance["DBInstanceIdentifier"],
        "arn": instance["DBInstanceArn"],
        "status": instance["DBInstanceStatus"],
        "address": endpoint.get("Address"),
        "port": endpoint.get("Port"),
        "class": instance["DBInstanceClass"],
        "multi_az": bool(instance.get("MultiAZ")),
    }
