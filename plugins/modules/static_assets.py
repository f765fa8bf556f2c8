#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: static_assets
short_description: Publish the static files of a release in a bucket behind CloudFront
version_added: "1.0.0"
description:
  - Uploads what has changed of a folder. A file with a hash of its content in its name may be kept for a year, any other one is asked for again at each use.
  - First come the files with hashed names, last the pages, so that no page refers to what is not there yet. Nothing is removed, for pages that a browser still
    shows go on using the files of the release before.
  - What has changed of the files without a hash is invalidated in the distribution, nothing else.
options:
  src:
    description: The folder with the built files.
    type: path
    required: true
  bucket:
    description: The bucket.
    type: str
    required: true
  prefix:
    description: Where in the bucket the folder's content goes.
    type: str
    default: static/
  hashed_pattern:
    description: A regular expression that is found in those names that hold a hash of the content.
    type: str
    default: '(?:\.|-)(?=[0-9A-Za-z_]*[0-9])[0-9A-Za-z_]{8,64}\.[0-9A-Za-z.]+$'
  distribution_id:
    description: The distribution before the bucket. Without it nothing is invalidated.
    type: str
  wait:
    description: Whether to wait until all of the distribution's places have forgotten what was invalidated.
    type: bool
    default: true
  wait_timeout:
    description: Seconds that this may take.
    type: float
    default: 900
  poll_interval:
    description: Seconds between two looks.
    type: float
    default: 5
notes:
  - The distribution compresses files on their way.
  - An object with a hash in its name is known by its size; one with another size is refused, since browsers would keep the old one.
  - 'Permissions: see the collection''s page about AWS, which lists them as a policy.'
extends_documentation_fragment:
  - mainstay.ops.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Publish the files of a release before its pages need them
  mainstay.ops.static_assets:
    src: build/static
    bucket: shop-assets-123456789012-eu-central-1
    distribution_id: E2EXAMPLE
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["upload static/app.3f2a9c1e.js (immutable)", "upload static/index.html (asked for at each use)", "invalidate /static/index.html"]
uploaded:
  description: Keys of what was uploaded, in order.
  type: list
  elements: str
  returned: success
unchanged:
  description: How many files were there already.
  type: int
  returned: success
invalidated:
  description: Paths that were invalidated.
  type: list
  elements: str
  returned: success
invalidation_id:
  description: The id of that; empty without one and in check mode.
  type: str
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.assets import Publisher, run
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import LazyClient, client
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "src": {"type": "path", "required": True},
        "bucket": {"type": "str", "required": True},
        "prefix": {"type": "str", "default": "static/"},
        "hashed_pattern": {"type": "str", "default": r"(?:\.|-)(?=[0-9A-Za-z_]*[0-9])[0-9A-Za-z_]{8,64}\.[0-9A-Za-z.]+$"},
        "distribution_id": {"type": "str"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 900},
        "poll_interval": {"type": "float", "default": 5},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        network = LazyClient(lambda: client(module, "cloudfront", "TooManyInvalidationsInProgress"))
        result = run(Publisher(client(module, "s3"), network, module.params["bucket"]), module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
