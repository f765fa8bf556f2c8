# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment, which is also its record: one parameter of Systems Manager.

Systems Manager API reference, ``PutParameter``: without ``Overwrite`` it is refused if the parameter exists, so one of many makes it. Each change gives it
the next version; whoever finds a version between that is not its own has lost the lock. AWS has nothing like that for tags.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import BEATS, Record, read_record
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply, calling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def default_name(cluster: str, name: str) -> str:
    """Return the name of the parameter of a deployment, unless another one is given."""
    return f"/mainstay/bluegreen/{cluster.rpartition('/')[2]}/{name}"


class LostLock(MainstayError):
    """Somebody else has the lock now: nothing may be written any more."""


class Lock:
    """The lock of one deployment."""

    def __init__(self, client: t.Any, name: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self._name = client, name
        self._version = 0
        self.record: Record | None = None

    def read(self) -> Record | None:
        """Return what another run has left, or None; and remember it, so that it can be taken over."""
        found = self._get(self._name)
        self._version = int(found["Version"]) if found else 0
        return read_record(found["Value"]) if found else None

    def take(self, record: Record) -> None:
        """Take the lock as it was read last: make it, or take it over.

        Raises:
            LostLock: somebody else was faster.
        """
        fresh = dataclasses.replace(record, beat=time.time())
        if self._version:
            self._put(fresh)
            return
        try:
            with calling(f"take the lock {self._name}"):
                made = self._client.put_parameter(Name=self._name, Value=fresh.text, Type="String", Overwrite=False, aws_retry=True)
            self._version = int(made["Version"])
        except AwsError as error:
            if error.code != "ParameterAlreadyExists":
                raise
            found = self._get(self._name)
            if found is None or read_record(found["Value"]).token != record.token:  # else it was made, and only the answer was lost
                raise self._lost("another run has taken it in the same moment", "locked") from error
            self._version = int(found["Version"])
        self.record = fresh

    @property
    def own(self) -> Record:
        """The record of this run.

        Raises:
            LostLock: the lock is not held.
        """
        if self.record is None:
            raise self._lost("it was given back already", "lost_lock")
        return self.record

    def write(self, **changes: t.Any) -> Record:
        """Change the record; the holder lives.

        Raises:
            LostLock: somebody else has it.
        """
        self._put(dataclasses.replace(self.own, **{"beat": time.time(), **changes}))
        return self.own

    def beat(self) -> None:
        """Say that the holder lives, if that was not said for a while; that it cannot be said at the moment is no matter until the time to live is over.

        Raises:
            LostLock: somebody else has it.
            MainstayError: it could not be said in time.
        """
        if self.record is None or time.time() - self.record.beat <= self.record.ttl / BEATS:
            return
        try:
            self.write()
        except (AwsError, NoReply):
            if time.time() > self.record.beat + self.record.ttl:
                raise

    @contextlib.contextmanager
    def kept(self) -> t.Iterator[None]:
        """Say again and again that the holder lives, while something takes long that does not say so; nothing else may use the lock meanwhile.

        Raises:
            LostLock: somebody else has it.
            MainstayError: it could not be said in time.
        """
        done, problems = threading.Event(), []

        def keep() -> None:
            while self.record is not None and not done.wait(self.record.ttl / BEATS):
                try:
                    self.beat()
                except MainstayError as error:
                    problems.append(error)
                    return

        keeper = threading.Thread(target=keep, name="lock", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()
        if problems:
            raise problems[0]

    def drop(self) -> None:
        """Give the lock back and forget the record."""
        try:
            with calling(f"give back the lock {self._name}"):
                self._client.delete_parameter(Name=self._name, aws_retry=True)
        except AwsError as error:
            if error.code != "ParameterNotFound":
                raise
        self._version, self.record = 0, None

    def _put(self, record: Record) -> None:
        if self.record is not None and time.time() > self.record.beat + self.record.ttl > self.record.ttl:
            self._check_own(self._name, "it was silent for longer than lock_ttl, and another run has taken the lock over")
        with calling(f"write to the lock {self._name}"):
            made = self._client.put_parameter(Name=self._name, Value=record.text, Type="String", Overwrite=True, aws_retry=True)
        before, self._version = self._version, int(made["Version"])
        self.record = record
        for version in range(before + 1, self._version):  # boto3 has sent it twice, or somebody else has written
            self._check_own(f"{self._name}:{version}", "another run has written to it")

    def _check_own(self, name: str, cause: str) -> None:
        found = self._get(name)
        if found is None or self.record is None or read_record(found["Value"]).token != self.record.token:
            raise self._lost(cause, "lost_lock")

    def _lost(self, cause: str, reason: str) -> LostLock:
        return LostLock(f"hold the lock {self._name}", cause, "nothing more was changed; look who deploys there", reason=reason)

    def _get(self, name: str) -> dict[str, t.Any] | None:
        try:
            with calling(f"read the lock {name}"):
                return dict(self._client.get_parameter(Name=name, aws_retry=True)["Parameter"])
        except AwsError as error:
            if error.code in ("ParameterNotFound", "ParameterVersionNotFound"):
                return None
            raise
