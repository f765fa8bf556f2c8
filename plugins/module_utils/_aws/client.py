# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of AWS, and its errors as sentences."""

from __future__ import annotations

import collections
import contextlib
import functools
import re
import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

try:
    import botocore.exceptions as botocore_errors
except ImportError:  # the module says that boto3 is missing
    botocore_errors = None  # type: ignore[assignment]

IMPATIENT = {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 2}}
IMPATIENT_RETRIES = 2
"""For calls that one can do without: an API that does not answer costs less than half a minute."""
RETRIES = 6
LONGEST_DELAY = 20
"""Seconds between two tries of a call that is refused as one too many. Six tries take about a minute."""


BUSY = re.compile(r"5\d\d|Internal(Failure|Error|ServerError)|ServiceUnavailable|Throttling(Exception)?|RequestLimitExceeded|PriorRequestNotComplete")
"""Codes of the "Common errors" of AWS's API references that say nothing about the request; a status stands where an answer has no body."""


class AwsError(MainstayError):
    """A call that AWS refused; ``code`` is its error code."""

    def __init__(self, doing: str, cause: object, next_step: str = "", code: str = "", **details: t.Any) -> None:
        """See :class:`MainstayError`."""
        super().__init__(doing, cause, next_step, **details)
        self.code = code


class NoReply(MainstayError):
    """A call of which nobody knows whether it was done: the connection ended before the answer."""


def client(module: t.Any, service: str, *more_codes: str, region: str = "", impatient: bool = False) -> t.Any:
    """Return a client that tries again what AWS refuses for the moment.

    Args:
        module: an ``AnsibleAWSModule``.
        service: boto3's name of the service.
        more_codes: error codes that pass by themselves too.
        region: another region than the module's.
        impatient: whether to give up soon.
    """
    options: dict[str, t.Any] = ({"region": region} if region else {}) | ({"config": IMPATIENT} if impatient else {})
    tries = IMPATIENT_RETRIES if impatient else RETRIES
    return module.client(service, retry_decorator=AWSRetry.jittered_backoff(tries, 1, LONGEST_DELAY, catch_extra_error_codes=list(more_codes)), **options)


class NoConnection(NoReply):
    """A call that did not reach AWS."""


class LazyClient:
    """A client that is made when it is used: reading a service's model takes a good part of a second."""

    def __init__(self, make: t.Callable[[], t.Any]) -> None:
        """Take what makes it."""
        self._make = functools.cache(make)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._make(), name)


def count_calls(client: t.Any, into: collections.Counter[str]) -> t.Any:
    """Count a client's calls, as ``service:Operation``, and return the client. What boto3 sends again is not counted again."""

    def count(model: t.Any, **unused: t.Any) -> None:
        into[f"{model.service_model.service_name}:{model.name}"] += 1

    client.meta.events.register("before-call", count)
    return client


@contextlib.contextmanager
def calling(doing: str) -> t.Iterator[None]:
    """Turn boto3's errors into ours.

    Args:
        doing: what is attempted, as a verb phrase with its object.

    Raises:
        AwsError: AWS refused the call.
        NoReply: the answer was lost, or AWS could not be reached.
        InvalidInput: the call's parameters cannot be right.
        MainstayError: the call was not sent, for example since there are no credentials.
    """
    try:
        yield
    except botocore_errors.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "") or str(error)
        raise AwsError(doing, f"{code}: {message}", hint(code, error.operation_name), code) from error
    except botocore_errors.HTTPClientError as error:
        raise NoReply(doing, error, "look whether AWS did it before it is tried again") from error
    except botocore_errors.ConnectionError as error:
        raise NoConnection(doing, error, "see whether the address of the service is right and can be reached") from error
    except botocore_errors.ParamValidationError as error:
        raise InvalidInput(doing, error, "see which option has this value") from error
    except botocore_errors.BotoCoreError as error:
        raise MainstayError(doing, error, "see whether credentials and the address of the service are right") from error


@contextlib.contextmanager
def unless_done(*codes: str) -> t.Iterator[None]:
    """Let a refusal pass whose code says that things are already as the call would make them: an answer was lost, and boto3 has sent it again."""
    try:
        yield
    except AwsError as error:
        if error.code not in codes:
            raise


def unanswered(error: MainstayError) -> bool:
    """Tell whether a failure is that of a service which does not answer, or not now, rather than a refusal."""
    return isinstance(error, NoReply) or (isinstance(error, AwsError) and BUSY.fullmatch(error.code) is not None)


def hint(code: str, operation: str) -> str:
    """Return the next step for an error code of an operation, or nothing."""
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return f"give the role the permission for the call {operation}; the collection's page about AWS lists all that the module needs"
    if "Throttling" in code or code == "PriorRequestNotComplete":
        return "AWS was still busy after several tries; run it again later"
    return ""
