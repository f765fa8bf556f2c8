# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went live on ECS, and which task definition each release is: one parameter of Systems Manager, with the records that a host keeps in its history."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Installed, Record, State
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import next_record

MOST_CHARACTERS = 4096
"""A standard parameter holds so much (Systems Manager User Guide, "Managing parameter tiers"). The oldest records are forgotten."""


def default_name(cluster: str, name: str) -> str:
    """Return the name of the parameter of an application, unless another one is given."""
    return f"/mainstay/releases/{cluster.rpartition('/')[2]}/{name}"


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What went live.

    Attributes:
        history: the records, newest last; the slot is the colour.
        definitions: the ARN of the task definition of each release.
    """

    history: tuple[Record, ...] = ()
    definitions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def live(self) -> Record | None:
        """The newest record."""
        return self.history[-1] if self.history else None

    @property
    def text(self) -> str:
        """In the form in which it is kept: as many of the newest records as there is room for, and the releases that they name."""
        history = list(self.history)
        while True:
            named = {name for record in history for name in (record.release, record.previous)}
            definitions = {name: arn for name, arn in self.definitions.items() if name in named}
            rows = [dataclasses.asdict(record) for record in history]
            text = json.dumps({"definitions": definitions, "history": rows}, sort_keys=True, separators=(",", ":"))
            if len(text) <= MOST_CHARACTERS or len(history) <= 1:
                return text
            history.pop(0)


def read_ledger(text: str) -> Ledger:
    """Return a ledger from the form in which it is kept.

    Raises:
        MainstayError: somebody else has written there.
    """
    try:
        found = json.loads(text)
        return Ledger(tuple(Record(**row) for row in found["history"]), {str(name): str(arn) for name, arn in found["definitions"].items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MainstayError("read the releases", f"the parameter holds something else ({error})", "give parameter_name another name") from error


def serving(ledger: Ledger, definition: str) -> tuple[str, str]:
    """Return the name of the release that has a task definition, and that of the release that a rollback from it leads to.

    Args:
        ledger: what went live.
        definition: the ARN of the task definition that serves.

    Returns:
        Both, each empty if it is not known.
    """
    live = ledger.live
    if live is not None and ledger.definitions.get(live.release) == definition:
        return live.release, live.previous
    name = next((name for name, arn in ledger.definitions.items() if arn == definition), "")
    return name, next((record.previous for record in reversed(ledger.history) if record.release == name and record.kind != "rollback"), "")


def plan_live(ledger: Ledger, release: str, slot: str, definition: str, kind: str, time: str, by: str) -> Ledger:
    """Return the ledger after a release went live; the same one if it has that already.

    Args:
        ledger: what went live until now.
        release: its name.
        slot: its colour.
        definition: the ARN of its task definition.
        kind: how it became live.
        time: when, in UTC.
        by: who did it.
    """
    definitions = {**ledger.definitions, release: definition}
    known = tuple(Installed(name, arn, "") for name, arn in definitions.items())
    record = next_record(State(releases=known, history=ledger.history), release, slot, kind)
    more = () if record is None else (dataclasses.replace(record, time=time, by=by),)
    return Ledger((*ledger.history, *more), definitions)


class Releases:
    """The parameter of one application."""

    def __init__(self, client: t.Any, name: str) -> None:
        """Use a boto3 client of Systems Manager with retries."""
        self._client, self._name = client, name

    def read(self) -> Ledger:
        """Return what went live; nothing before the first record."""
        try:
            with calling(f"read the releases in {self._name}"):
                return read_ledger(self._client.get_parameter(Name=self._name, aws_retry=True)["Parameter"]["Value"])
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return Ledger()
            raise

    def write(self, ledger: Ledger) -> None:
        """Write it; the application's deployments have a lock of their own, so that there is one writer."""
        with calling(f"write the releases to {self._name}"):
            self._client.put_parameter(Name=self._name, Value=ledger.text, Type="String", Overwrite=True, aws_retry=True)
