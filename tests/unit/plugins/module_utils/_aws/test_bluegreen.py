# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a blue/green deployment refuses before it asks AWS for anything; and errors of AWS as sentences."""

from __future__ import annotations

import botocore.exceptions
import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._aws import bluegreen, client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_moves import Site
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

NAMES = {"blue": "web-blue", "green": "web-green"}
GROUPS = {"blue": "arn:b", "green": "arn:g"}


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (Site(NAMES, {"blue": "arn:b", "green": "arn:b"}, "arn:rule", ""), "could not use target_groups: arn:b is given as blue and as green"),
        (Site({"blue": "web", "green": "web"}, GROUPS, "arn:rule", ""), "could not use services: web is given"),
        (Site(NAMES, GROUPS, "arn:rule", "arn:rule"), "could not use test: it is the production rule"),
    ],
)
def test_the_same_thing_twice_is_refused(site: Site, words: str) -> None:
    """Both colours would be one."""
    bluegreen.refuse_site(Site(NAMES, GROUPS, "arn:rule", ""))
    with pytest.raises(InvalidInput, match=words):
        bluegreen.refuse_site(site)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), client.NoReply, "look whether AWS did it"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), client.NoConnection, "can be reached"),
        (botocore.exceptions.ParamValidationError(report="no"), InvalidInput, "which option"),
        (botocore.exceptions.NoCredentialsError(), MainstayError, "credentials"),
        (
            botocore.exceptions.ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "UpdateService"),
            client.AwsError,
            "AccessDeniedException: not authorized; give the role the permission for the call UpdateService",
        ),
        (botocore.exceptions.ClientError({"Error": {"Code": "ThrottlingException"}}, "UpdateService"), client.AwsError, "run it again later"),
    ],
)
def test_errors_of_aws_are_sentences(error: Exception, kind: type[MainstayError], words: str) -> None:
    """That say what to do; an answer that is lost is told from a call that was refused."""
    with pytest.raises(kind, match=words) as found, client.calling("do it"):
        raise error
    assert found.type is kind and str(found.value).startswith("could not do it: ")
