# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of ECS: one thin method for each."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

try:
    from botocore.validate import ParamValidator
except ImportError:  # the module says that boto3 is missing
    ParamValidator = None  # type: ignore[assignment,misc]

MOST_TASKS = 100
"""DescribeTasks takes so many."""
MOST_DEPLOYMENTS = 100
"""ListServiceDeployments answers so many at once."""


class Ecs:
    """A client of ECS, and one cluster."""

    def __init__(self, client: t.Any, cluster: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self._cluster = client, cluster

    def services(self, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """Return the active services among these, by name.

        Raises:
            InvalidInput: there is no such cluster.
        """
        doing = f"read the services {', '.join(names)}"
        try:
            with calling(doing):
                found = self._client.describe_services(cluster=self._cluster, services=list(names), include=["TAGS"], aws_retry=True)
        except AwsError as error:
            if error.code == "ClusterNotFoundException":
                raise InvalidInput(doing, f"there is no cluster {self._cluster}", "see whether cluster and region are right") from error
            raise
        return {row["serviceName"]: row for row in found["services"] if row["status"] == "ACTIVE"}

    def definition(self, name: str) -> dict[str, t.Any]:
        """Return a task definition by ARN, by family and revision, or the newest of a family; with its tags.

        Raises:
            InvalidInput: there is none.
        """
        doing = f"read the task definition {name}"
        try:
            with calling(doing):
                found = self._client.describe_task_definition(taskDefinition=name, include=["TAGS"], aws_retry=True)
        except AwsError as error:
            if error.code == "ClientException":
                raise InvalidInput(doing, error.cause, "see whether family, revision and region are right") from error
            raise
        return {**found["taskDefinition"], "tags": found.get("tags", [])}

    def refuse(self, content: t.Mapping[str, t.Any]) -> None:
        """Refuse what cannot be registered as a task definition: unknown keys, wrong types, what is missing.

        Raises:
            InvalidInput: with all that is wrong.
        """
        shape = self._client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
        report = ParamValidator().validate(dict(content), shape)
        if report.has_errors():
            cause = "; ".join(report.generate_report().splitlines())
            raise InvalidInput("use the task definition that is wanted", cause, "it takes the keys of RegisterTaskDefinition")

    def register(self, content: t.Mapping[str, t.Any]) -> str:
        """Make a revision and return its ARN."""
        with calling(f"register a revision of the task definition {content.get('family')}"):
            made = self._client.register_task_definition(aws_retry=True, **content)
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def update(self, service: str, **options: t.Any) -> dict[str, t.Any]:
        """Change a service and return it."""
        with calling(f"change the service {service}"):
            return dict(self._client.update_service(cluster=self._cluster, service=service, aws_retry=True, **options)["service"])

    def create(self, service: str, **options: t.Any) -> dict[str, t.Any]:
        """Make a service and return it."""
        with calling(f"make the service {service}"):
            return dict(self._client.create_service(cluster=self._cluster, serviceName=service, aws_retry=True, **options)["service"])

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags."""
        with calling(f"tag {arn}"):
            self._client.tag_resource(resourceArn=arn, tags=[{"key": key, "value": text} for key, text in tags.items()], aws_retry=True)

    def run_task(self, **options: t.Any) -> str:
        """Run a task once and return its ARN.

        Raises:
            MainstayError: ECS found no place for it.
        """
        doing = "run a task"
        with calling(doing):
            made = self._client.run_task(cluster=self._cluster, count=1, aws_retry=True, **options)
        if not made["tasks"]:
            reasons = ", ".join(row.get("reason", "") for row in made.get("failures", []))
            raise MainstayError(doing, f"ECS started none ({reasons})", "see whether the cluster has capacity for it")
        return str(made["tasks"][0]["taskArn"])

    def started_by(self, word: str) -> list[str]:
        """Return the tasks that were run once with this word, those that run and those that have stopped not long ago."""
        found: list[str] = []
        for status in ("RUNNING", "STOPPED"):
            with calling(f"list the tasks that {word} has started"):
                found += self._client.list_tasks(cluster=self._cluster, startedBy=word, desiredStatus=status, aws_retry=True)["taskArns"]
        return found

    def tasks(self, arns: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Describe tasks."""
        with calling("read tasks"):
            return list(self._client.describe_tasks(cluster=self._cluster, tasks=list(arns)[:MOST_TASKS], aws_retry=True)["tasks"])

    def stopped_tasks(self, service: str) -> list[dict[str, t.Any]]:
        """Describe the tasks of a service that have stopped not long ago."""
        with calling(f"list the stopped tasks of {service}"):
            arns = self._client.list_tasks(cluster=self._cluster, serviceName=service, desiredStatus="STOPPED", aws_retry=True)["taskArns"]
        return self.tasks(arns) if arns else []

    def service_deployments(self, service: str) -> list[dict[str, t.Any]]:
        """List a service's deployments, newest first."""
        with calling(f"list the deployments of {service}"):
            found = self._client.list_service_deployments(cluster=self._cluster, service=service, maxResults=MOST_DEPLOYMENTS, aws_retry=True)
        return sorted(found["serviceDeployments"], key=lambda row: row["createdAt"], reverse=True)

    def service_deployment(self, arn: str) -> dict[str, t.Any]:
        """Describe a service deployment."""
        with calling(f"read the deployment {arn}"):
            rows = self._client.describe_service_deployments(serviceDeploymentArns=[arn], aws_retry=True)["serviceDeployments"]
        if not rows:
            raise MainstayError(f"read the deployment {arn}", "ECS does not know it any more", "look at the service's deployments")
        return dict(rows[0])

    def revision(self, arn: str) -> dict[str, t.Any]:
        """Describe a revision of a service."""
        with calling(f"read the revision {arn}"):
            rows = self._client.describe_service_revisions(serviceRevisionArns=[arn], aws_retry=True)["serviceRevisions"]
        return dict(rows[0]) if rows else {}

    def stop_deployment(self, arn: str) -> None:
        """Have ECS stop a deployment and roll it back; one that has ended in the same moment stays as it is."""
        try:
            with calling(f"stop the deployment {arn}"):
                self._client.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK", aws_retry=True)
        except AwsError as error:
            if error.code != "ConflictException":
                raise

    def continue_deployment(self, arn: str, hook: str, action: str) -> None:
        """Answer a hook that waits: CONTINUE or ROLLBACK."""
        with calling(f"answer a hook of the deployment {arn}"):
            self._client.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook, action=action, aws_retry=True)

    def lacks(self, operation: str, shape: str = "", word: str = "") -> bool:
        """Tell whether this boto3 has not an operation, or not a word in one of its enumerations."""
        model = self._client.meta.service_model
        if operation not in model.operation_names:
            return True
        return bool(shape) and (shape not in model.shape_names or word not in getattr(model.shape_for(shape), "enum", []))
