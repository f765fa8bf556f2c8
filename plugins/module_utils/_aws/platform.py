# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a platform, found before anything is changed; and what there is of it. All calls only read."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling

ZONES = 3
GLOBAL_REGION = "us-east-1"
"""The region of what belongs to a distribution."""
STACKS = {"edge": "edge", "standby": "standby", "base": "main", "data": "main", "web": "main", "replica": "standby"}
"""Stacks by name, in the order in which they are made, and which region each is in."""
WITH_ZONES = {"main": "base", "standby": "standby"}
"""The stack that lays the network, by region."""
IN_ORDER = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
"""States in which a stack can be changed."""
QUOTAS = {"VPCs": ("vpc", "L-F678F1CE"), "addresses": ("ec2", "L-0263D0A3")}
"""Quotas that a new account meets first (Service Quotas): VPCs of a region, and Elastic IP addresses."""
MOST_SIMULATED = 100

ACTIONS = (
    "acm:DescribeCertificate",
    "application-autoscaling:RegisterScalableTarget",
    "cloudformation:CreateStack",
    "cloudformation:UpdateStack",
    "cloudformation:CreateChangeSet",
    "cloudfront:CreateDistribution",
    "cloudfront:CreateOriginAccessControl",
    "cloudwatch:PutMetricAlarm",
    "ec2:AllocateAddress",
    "ec2:CreateFlowLogs",
    "ec2:CreateNatGateway",
    "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet",
    "ec2:CreateVpc",
    "ec2:CreateVpcEndpoint",
    "ecs:CreateCluster",
    "ecs:CreateService",
    "ecs:RegisterTaskDefinition",
    "elasticache:CreateReplicationGroup",
    "elasticloadbalancing:CreateListener",
    "elasticloadbalancing:CreateLoadBalancer",
    "elasticloadbalancing:CreateRule",
    "elasticloadbalancing:CreateTargetGroup",
    "iam:CreateRole",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "kms:CreateKey",
    "logs:CreateLogGroup",
    "rds:CreateDBInstance",
    "rds:CreateDBInstanceReadReplica",
    "s3:CreateBucket",
    "s3:PutBucketPolicy",
    "secretsmanager:CreateSecret",
    "secretsmanager:GetSecretValue",
    "sns:CreateTopic",
    "wafv2:CreateWebACL",
    "wafv2:AssociateWebACL",
)
"""The actions without which a platform cannot be made. Some more are needed; IAM is asked about those that make things."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is asked about.

    Args:
        name: of the platform.
        regions: by part, ``main``, ``edge`` if there is a distribution, ``standby`` if there is a second region.
        addresses: how many Elastic IP addresses a new platform needs.
        certificate: ARN of the load balancer's certificate, empty if it shall not be looked at.
        edge_certificate: ARN of the distribution's.
        absent: whether the platform shall be removed.
    """

    name: str
    regions: t.Mapping[str, str]
    addresses: int
    certificate: str = ""
    edge_certificate: str = ""
    absent: bool = False

    @property
    def stacks(self) -> list[str]:
        """The stacks that there shall be, in the order in which they are made."""
        return [name for name, part in STACKS.items() if part in self.regions]


@dataclasses.dataclass
class Report:
    """What was found.

    Args:
        problems: what stands in the way, as sentences without a final stop.
        warnings: what could not be looked at.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def principal_of(arn: str) -> str:
    """Return the ARN of the role or user that IAM knows for a caller's ARN; empty for the root of an account, which may do everything."""
    assumed = re.fullmatch(r"arn:([^:]+):sts::(\d+):assumed-role/([^/]+)/.+", arn)
    if assumed:
        return f"arn:{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}"
    return arn if ":user/" in arn or ":role/" in arn else ""


def stack_problem(name: str, status: str) -> str:
    """Return why a stack cannot be changed, or nothing."""
    if not status or status in IN_ORDER:
        return ""
    if status.endswith("IN_PROGRESS"):
        return f"the stack {name} is being changed ({status}); wait until that is over"
    if status == "ROLLBACK_COMPLETE":
        return f"the stack {name} failed when it was made and was rolled back; see its events for the reason, and delete it"
    return f"the stack {name} is in the state {status}; repair it in the console of CloudFormation"


def zones_of(stack: t.Mapping[str, t.Any]) -> list[str]:
    """Return the zones that a stack has been made in; other ones would have its network made anew, in the middle of an outage of one of them."""
    found = stack.get("parameters", {}).get("Zones", "")
    return found.split(",") if found else []


def bucket_names(name: str, account: str, regions: t.Mapping[str, str]) -> dict[str, str]:
    """Return the stack that makes each bucket of a platform, by the bucket's name."""
    found = {f"{name}-{what}-{account}-{regions['main']}": "data" for what in ("logs", "assets", "backups")}
    if "standby" in regions:
        found[f"{name}-backups-{account}-{regions['standby']}"] = "standby"
    return found


class Account:
    """The calls that read an account."""

    def __init__(self, client: t.Callable[[str, str], t.Any]) -> None:
        """Take what makes a client with retries, of a service in a region."""
        self._client = client

    def caller(self, region: str) -> dict[str, str]:
        """Return who calls."""
        with calling("find out who calls AWS"):
            found = self._client("sts", region).get_caller_identity(aws_retry=True)
        return {"account": found["Account"], "arn": found["Arn"]}

    def denied(self, arn: str, region: str) -> list[str]:
        """Return which of the actions IAM would refuse; it does not know conditions and permission boundaries of an organisation."""
        refused = []
        for start in range(0, len(ACTIONS), MOST_SIMULATED):
            with calling("ask IAM what is permitted"):
                rows = self._client("iam", region).simulate_principal_policy(
                    PolicySourceArn=arn, ActionNames=list(ACTIONS[start : start + MOST_SIMULATED]), aws_retry=True
                )["EvaluationResults"]
            refused += [row["EvalActionName"] for row in rows if row["EvalDecision"] != "allowed"]
        return refused

    def zones(self, region: str) -> list[str]:
        """Return the availability zones of a region that need no opting in."""
        filters = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "opt-in-status", "Values": ["opt-in-not-required"]}]
        with calling(f"read the zones of {region}"):
            rows = self._client("ec2", region).describe_availability_zones(Filters=filters, aws_retry=True)["AvailabilityZones"]
        return sorted(row["ZoneName"] for row in rows if row["State"] == "available")

    def stack(self, name: str, region: str) -> dict[str, t.Any]:
        """Return status, parameters and outputs of a stack; empty if there is none."""
        try:
            with calling(f"read the stack {name}"):
                row = self._client("cloudformation", region).describe_stacks(StackName=name, aws_retry=True)["Stacks"][0]
        except AwsError as error:
            if error.code == "ValidationError" and "does not exist" in str(error):
                return {}
            raise
        return {
            "status": row["StackStatus"],
            "parameters": {each["ParameterKey"]: each["ParameterValue"] for each in row.get("Parameters", [])},
            "outputs": {each["OutputKey"]: each["OutputValue"] for each in row.get("Outputs", [])},
        }

    def certificate(self, arn: str, region: str) -> str:
        """Return the state of a certificate; empty if there is none."""
        try:
            with calling(f"read the certificate {arn}"):
                return str(self._client("acm", region).describe_certificate(CertificateArn=arn, aws_retry=True)["Certificate"]["Status"])
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                return ""
            raise

    def bucket(self, name: str, region: str) -> str:
        """Return ``free``, ``taken`` (by somebody else), ``empty`` or ``full``."""
        client = self._client("s3", region)
        try:
            with calling(f"look for the bucket {name}"):
                client.head_bucket(Bucket=name, aws_retry=True)
        except AwsError as error:
            if error.code in ("404", "NoSuchBucket"):
                return "free"
            if error.code in ("403", "301"):
                return "taken"
            raise
        with calling(f"look into the bucket {name}"):
            found = client.list_object_versions(Bucket=name, MaxKeys=1, aws_retry=True)
        return "full" if found.get("Versions") or found.get("DeleteMarkers") else "empty"

    def database(self, name: str, region: str) -> dict[str, t.Any]:
        """Return state and protection of a database; empty if there is none."""
        try:
            with calling(f"read the database {name}"):
                row = self._client("rds", region).describe_db_instances(DBInstanceIdentifier=name, aws_retry=True)["DBInstances"][0]
        except AwsError as error:
            if error.code in ("DBInstanceNotFound", "DBInstanceNotFoundFault"):
                return {}
            raise
        return {"status": row["DBInstanceStatus"], "protected": row["DeletionProtection"]}

    def left(self, quota: str, region: str) -> float | None:
        """Return how many more of something the account may have in a region; nothing where Service Quotas does not say."""
        service, code = QUOTAS[quota]
        try:
            with calling(f"read the quota of {quota}"):
                most = self._client("service-quotas", region).get_service_quota(ServiceCode=service, QuotaCode=code, aws_retry=True)["Quota"]["Value"]
        except AwsError as error:
            if error.code == "NoSuchResourceException":
                return None
            raise
        with calling(f"count the {quota}"):
            ec2 = self._client("ec2", region)
            used = ec2.describe_vpcs(aws_retry=True)["Vpcs"] if quota == "VPCs" else ec2.describe_addresses(aws_retry=True)["Addresses"]
        return float(most) - len(used)


def inspect(account: Account, wishes: Wishes) -> dict[str, t.Any]:
    """Return what there is, and what stands in the way.

    Raises:
        MainstayError: there are no credentials, or something may not be read.
    """
    report, main = Report(), wishes.regions["main"]
    caller = account.caller(main)
    _permissions(account, caller["arn"], main, report)
    stacks = {name: account.stack(f"{wishes.name}-{name}", wishes.regions[STACKS[name]]) for name in wishes.stacks}
    report.problems += [problem for name in stacks if (problem := stack_problem(f"{wishes.name}-{name}", stacks[name].get("status", "")))]
    zones = {part: zones_of(stacks[stack]) or account.zones(wishes.regions[part]) for part, stack in WITH_ZONES.items() if part in wishes.regions}
    buckets = {name: account.bucket(name, name_region(name)) for name in bucket_names(wishes.name, caller["account"], wishes.regions)}
    database = account.database(wishes.name, main)
    if not wishes.absent:
        short = {part: len(found) for part, found in zones.items() if len(found) < ZONES}
        report.problems += [f"{wishes.regions[part]} has {count} zones, and {ZONES} are needed; take another region" for part, count in short.items()]
        _quotas(account, wishes, stacks, report)
        _certificates(account, wishes, report)
        _leftovers(wishes, caller["account"], stacks, buckets, report)
    return {
        "account": caller["account"],
        "caller": caller["arn"],
        "stacks": stacks,
        "outputs": {name: stack.get("outputs", {}) for name, stack in stacks.items()},
        "zones": {part: found[:ZONES] for part, found in zones.items()},
        "buckets": buckets,
        "database": database,
        "problems": report.problems,
        "warnings": report.warnings,
    }


def name_region(bucket: str) -> str:
    """Return the region at the end of a bucket's name, such as that of ``shop-logs-123456789012-eu-central-1``."""
    return re.sub(r"^.+-\d{12}-", "", bucket)


def _permissions(account: Account, arn: str, region: str, report: Report) -> None:
    principal = principal_of(arn)
    if not principal:
        return
    try:
        denied = account.denied(principal, region)
    except AwsError as error:
        if error.code not in ("AccessDenied", "NoSuchEntity"):
            raise
        report.warnings.append(f"what {principal} may do could not be looked at ({error.code}); a missing permission fails later, and its stack is rolled back")
        return
    if denied:
        report.problems.append(f"{principal} has no permission for {', '.join(denied)}; give it the policy of the page about AWS")


def _quotas(account: Account, wishes: Wishes, stacks: t.Mapping[str, t.Any], report: Report) -> None:
    needed = {("base", "VPCs"): 1, ("base", "addresses"): wishes.addresses, ("standby", "VPCs"): 1}
    for (stack, quota), count in needed.items():
        if stack not in stacks or stacks[stack]:
            continue
        region = wishes.regions[STACKS[stack]]
        left = account.left(quota, region)
        if left is None:
            report.warnings.append(f"the quota of {quota} in {region} is not known")
        elif left < count:
            report.problems.append(f"{region} lacks room for {count} more {quota}, there is room for {left:g}; ask Service Quotas for more")


def _certificates(account: Account, wishes: Wishes, report: Report) -> None:
    for part, arn in (("main", wishes.certificate), ("edge", wishes.edge_certificate)):
        if not arn or part not in wishes.regions:
            continue
        region = wishes.regions[part]
        if arn.split(":")[3] != region:
            report.problems.append(f"the certificate {arn} is not in {region}; ask for one there")
            continue
        state = account.certificate(arn, region)
        if state != "ISSUED":
            words = f"is in the state {state}" if state else "does not exist"
            report.problems.append(f"the certificate {arn} {words}; it must be issued")


def _leftovers(wishes: Wishes, number: str, stacks: t.Mapping[str, t.Any], buckets: t.Mapping[str, str], report: Report) -> None:
    for bucket, stack in bucket_names(wishes.name, number, wishes.regions).items():
        if stacks[stack] or buckets[bucket] == "free":
            continue
        if buckets[bucket] == "taken":
            report.problems.append(f"the bucket {bucket} belongs to somebody else; choose another name")
        else:
            words = f"move its objects and delete it, or import it into the stack {wishes.name}-{stack}"
            report.problems.append(f"the bucket {bucket} is there from before; {words}")
