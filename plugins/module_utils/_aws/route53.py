# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of Route 53: one thin method for each."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover_plan import absolute
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

MOST_REFERENCES = 20
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds between two looks at a change."""


class Route53:
    """A client of Route 53."""

    def __init__(self, client: t.Any) -> None:
        """Use a boto3 client with retries."""
        self._client = client

    def zone_id(self, zone: str, private: bool) -> str:
        """Return the identifier of the only hosted zone of a name.

        Raises:
            InvalidInput: there is none, or more than one.
        """
        name = absolute(zone)
        with calling(f"find the hosted zone {name}"):
            found = self._client.list_hosted_zones_by_name(DNSName=name, aws_retry=True)["HostedZones"]
        fitting = [each["Id"].rpartition("/")[2] for each in found if each["Name"] == name and each.get("Config", {}).get("PrivateZone", False) == private]
        if len(fitting) != 1:
            kind = "private" if private else "public"
            cause = f"there are {len(fitting)} {kind} zones of this name" if fitting else f"there is no {kind} zone of this name"
            raise InvalidInput(f"find the hosted zone {name}", cause, "give hosted_zone_id")
        return fitting[0]

    def name_servers(self, zone_id: str) -> list[str]:
        """Return the name servers of a public zone."""
        with calling(f"read the hosted zone {zone_id}"):
            found = self._client.get_hosted_zone(Id=zone_id, aws_retry=True)
        return list(found.get("DelegationSet", {}).get("NameServers", []))

    def records(self, zone_id: str, name: str) -> list[dict[str, t.Any]]:
        """Return all records of a name, over as many pages as it takes."""
        start: dict[str, t.Any] = {"StartRecordName": name}
        found: list[dict[str, t.Any]] = []
        while True:
            with calling(f"read the records of {name}"):
                page = self._client.list_resource_record_sets(HostedZoneId=zone_id, aws_retry=True, **start)
            rows = page["ResourceRecordSets"]
            found += [row for row in rows if row["Name"] == name]
            if not page["IsTruncated"] or any(row["Name"] != name for row in rows):
                return found
            following = {"StartRecordName": page["NextRecordName"], "StartRecordType": page["NextRecordType"]}
            following |= {"StartRecordIdentifier": page["NextRecordIdentifier"]} if page.get("NextRecordIdentifier") else {}
            if following == start:
                raise MainstayError(f"read the records of {name}", "Route 53 answered with the same page twice", "try again")
            start = following

    def change(self, zone_id: str, changes: t.Sequence[dict[str, t.Any]], comment: str) -> str:
        """Send a batch and return the identifier of the change."""
        with calling(f"change {len(changes)} records"):
            made = self._client.change_resource_record_sets(
                HostedZoneId=zone_id, ChangeBatch={"Changes": list(changes), "Comment": comment}, aws_retry=True
            )
        return str(made["ChangeInfo"]["Id"])

    def wait(self, change_id: str, seconds: float) -> str:
        """Wait until all name servers have a change; return INSYNC, or PENDING if the time is over."""
        end, pause = time.monotonic() + seconds, FIRST_PAUSE
        while True:
            with calling(f"read the change {change_id}"):
                status = str(self._client.get_change(Id=change_id, aws_retry=True)["ChangeInfo"]["Status"])
            if status == "INSYNC" or time.monotonic() >= end:
                return status
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def test_answer(self, zone_id: str, name: str, kind: str) -> list[str]:
        """Return what a name server of a public zone answers, as Route 53 tells it."""
        with calling(f"ask Route 53 for its answer to {name} {kind}"):
            return list(self._client.test_dns_answer(HostedZoneId=zone_id, RecordName=name, RecordType=kind, aws_retry=True)["RecordData"])

    def health_checks(self) -> list[dict[str, t.Any]]:
        """Return all health checks of the account."""
        found: list[dict[str, t.Any]] = []
        start: dict[str, t.Any] = {}
        while True:
            with calling("list the health checks"):
                page = self._client.list_health_checks(aws_retry=True, **start)
            found += page["HealthChecks"]
            if not page["IsTruncated"]:
                return found
            start = {"Marker": page["NextMarker"]}

    def observations(self, check: str) -> list[dict[str, t.Any]]:
        """Return what the checkers of a health check saw last; nothing for a kind of check that has no endpoint."""
        try:
            with calling(f"read the status of the health check {check}"):
                return list(self._client.get_health_check_status(HealthCheckId=check, aws_retry=True)["HealthCheckObservations"])
        except AwsError as error:
            if error.code == "InvalidInput":
                return []
            raise

    def create_check(self, reference: str, config: t.Mapping[str, t.Any], name: str) -> str:
        """Make a health check and give it a name; a reference that a deleted one has used is passed over."""
        start, unused, number = reference.rpartition("-")
        for generation in range(int(number), int(number) + MOST_REFERENCES):
            try:
                with calling(f"make the health check {name}"):
                    made = self._client.create_health_check(CallerReference=f"{start}-{generation}", HealthCheckConfig=dict(config), aws_retry=True)
            except AwsError as error:
                if error.code != "HealthCheckAlreadyExists":
                    raise
                continue
            identifier = str(made["HealthCheck"]["Id"])
            with calling(f"name the health check {name}"):
                tags = [{"Key": "Name", "Value": name}]
                self._client.change_tags_for_resource(ResourceType="healthcheck", ResourceId=identifier, AddTags=tags, aws_retry=True)
            return identifier
        raise MainstayError(f"make the health check {name}", f"the last {MOST_REFERENCES} references of it are used up", "try again in some days")

    def update_check(self, identifier: str, version: int, config: t.Mapping[str, t.Any]) -> None:
        """Change a health check that is still of a version."""
        changeable = {key: value for key, value in config.items() if key not in ("Type", "RequestInterval")}
        with calling(f"change the health check {identifier}"):
            self._client.update_health_check(HealthCheckId=identifier, HealthCheckVersion=version, aws_retry=True, **changeable)

    def delete_check(self, identifier: str) -> None:
        """Remove a health check."""
        with calling(f"remove the health check {identifier}"):
            self._client.delete_health_check(HealthCheckId=identifier, aws_retry=True)
