# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task definition that is wanted: one that is there, or the content of one that is to be registered; and tasks that are run once."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen_plan as plans
from ansible_collections.mainstay.ops.plugins.module_utils._aws.ecs import Ecs
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

Wanted = tuple[str, dict[str, t.Any]]
"""The ARN, empty if there is none yet, and the content."""


class Definitions:
    """Task definitions; each is read once."""

    def __init__(self, ecs: Ecs, params: t.Mapping[str, t.Any]) -> None:
        """Take a client and the module's options."""
        self._ecs, self._params = ecs, params
        self._known: dict[str, dict[str, t.Any]] = {}

    def get(self, name: str) -> dict[str, t.Any]:
        """Return a task definition by ARN, family and revision, or family."""
        if name not in self._known:
            found = self._ecs.definition(name)
            self._known[name] = self._known[found["taskDefinitionArn"]] = found
        return self._known[name]

    def images(self, name: str) -> dict[str, str]:
        """Return the image of each container; nothing for a task definition that is not there yet."""
        return plans.images_of(self.get(name)) if name else {}

    def same(self, content: t.Mapping[str, t.Any], name: str) -> bool:
        """Tell whether a task definition has this content."""
        return bool(content and name) and plans.normal(content) == plans.normal(self.get(name))

    def wanted(self, base: str, *others: str) -> Wanted:
        """Return what is wanted.

        Args:
            base: the live task definition.
            others: more that may have the same content already.

        Raises:
            InvalidInput: a container that is to be changed does not exist, or the content cannot be registered.
        """
        if self._params["task_definition"]:
            found = self.get(self._params["task_definition"])
            return found["taskDefinitionArn"], plans.content_of(found)
        spec = self._params["task_definition_spec"]
        if spec is None:
            content = plans.replaced(plans.content_of(self.get(base)), self._params["images"] or {}, self._params["environment"] or {})
        else:
            content = {"family": self.get(base)["family"], **spec}
        self._ecs.refuse(content)
        newest = [content["family"]] if content["family"] == self.get(base)["family"] else []  # of another family there may be none
        for name in (base, *others, *newest):
            if self.same(content, name):
                return str(self.get(name)["taskDefinitionArn"]), content
        return "", content


def run_once(ecs: Ecs, like: t.Mapping[str, t.Any], definition: str, job: str, options: t.Mapping[str, t.Any], pause: t.Callable[[float], None]) -> None:
    """Run a command of a release once, to its end; one that this job has begun before is waited for and not begun again.

    Args:
        ecs: a client.
        like: the service whose network and capacity it takes.
        definition: the task definition.
        job: a word for the deployment, so that it runs once.
        options: the module's option ``migration``.
        pause: waits for a moment, at most so many seconds.

    Raises:
        MainstayError: it did not end well, or not in time.
    """
    word, container = f"mainstay-{job}", options["container"]
    with current().phase("migrate"):
        arn = next(iter(ecs.started_by(word)), "")
        if not arn:
            overrides = {"containerOverrides": [{"name": container, "command": options["command"]}]}
            settings = plans.taken_over(like, plans.RUN_LIKE)
            arn = ecs.run_task(taskDefinition=definition, startedBy=word, clientToken=job, overrides=overrides, **settings)
        doing, end = f"run {' '.join(options['command'])} once, as task {arn.rpartition('/')[2]}", time.monotonic() + options["timeout"]
        while not (found := plans.judge_once(ecs.tasks([arn]), container)).good:
            if found.bad:
                raise MainstayError(doing, found.why, "see the task's log; no traffic has moved")
            if time.monotonic() >= end:
                cause = f"it did not end within {options['timeout']:.0f} s ({found.why})"
                raise MainstayError(doing, cause, "it still runs: see its log, and stop it if need be")
            pause(options["timeout"])
