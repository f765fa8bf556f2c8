# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform on AWS when AWS does not do what it shall: the reason is said, nothing is left half made, and the next run goes on."""

from __future__ import annotations

import pathlib

from aws_platform import ACCOUNT, NAME, platform_on
from botocore.exceptions import ClientError
from cloud import REGION


def test_a_stack_that_fails_is_rolled_back_and_made_by_a_later_run(tmp_path: pathlib.Path) -> None:
    """A class of databases of which AWS has none: the other stacks stay, and what the failed one had made is gone again, its buckets too."""
    with platform_on(tmp_path, aws_platform_cdn=False, aws_platform_standby_region="") as platform:
        platform.cloud.fault("error", "rds", "CreateDBInstance", status=400, code="InsufficientDBInstanceCapacity")
        failed = platform()
        assert failed.status != 0
        assert f"could not apply the stack {NAME}-data: AWS::RDS::DBInstance Database CREATE_FAILED: " in failed.words
        assert "InsufficientDBInstanceCapacity" in failed.words
        assert platform.stacks() == {f"{NAME}-base": "CREATE_COMPLETE", f"{NAME}-data": "ROLLBACK_COMPLETE"}
        for what in ("logs", "assets", "backups"):
            try:
                platform.cloud.client("s3").head_bucket(Bucket=f"{NAME}-{what}-{ACCOUNT}-{REGION}")
            except ClientError as error:
                assert error.response["Error"]["Code"] == "404"
            else:
                raise AssertionError(f"the bucket {what} is left")
        refused = platform()
        assert refused.status != 0
        assert f"Nothing was changed. the stack {NAME}-data failed when it was made and was rolled back" in refused.words
        platform.cloud.client("cloudformation").delete_stack(StackName=f"{NAME}-data")
        done = platform()
        assert done.status == 0, done.output[-5000:]
        assert set(platform.stacks().values()) == {"CREATE_COMPLETE"}
        assert platform.weights == {"blue": 100, "green": 0}
