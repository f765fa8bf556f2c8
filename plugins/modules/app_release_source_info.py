#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a release would be made from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release_source_info
version_added: "1.0.0"
short_description: Say what a release would be made from
description:
  - Finds the hash that says whether two releases have the same content. Of a branch or a tag that is the commit it stands for now.
  - Run it on the controller for files that lie there, and on a host that reaches the repository for O(type=git).
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  type:
    description: What the release is made from.
    type: str
    choices: [archive, wheel, git, image]
    default: archive
  source:
    description:
      - Path of a tar archive; path of a wheel, or of a folder of wheels; branch, tag or commit;
        or an image as C(NAME@sha256:DIGEST) or the path of its archive. By O(type).
    type: str
    required: true
  repository:
    description: Address of the git repository. Required with O(type=git).
    type: str
  key_file:
    description: Private key that the host logs in to the repository with.
    type: path
  known_hosts_file:
    description: File with the host keys of the repository's server. Unset, those that the host knows.
    type: path
seealso:
  - module: mainstay.ops.app_release
  - module: mainstay.ops.app_release_build
"""

EXAMPLES = r"""
- name: Plan | See which commit the tag stands for
  mainstay.ops.app_release_source_info:
    type: git
    repository: git@git.example.com:shop.git
    source: v2.1
    key_file: /etc/shop/deploy_key
  register: source

- name: Plan | Hash the wheels
  mainstay.ops.app_release_source_info:
    type: wheel
    source: /builds/shop-2.1
  delegate_to: localhost
"""

RETURN = r"""
content:
  description: Hash of the content, SHA-256 or, for git, the commit.
  returned: success
  type: str
  sample: 5c1c...
size:
  description: Bytes of the files on the controller, 0 for what lies elsewhere.
  returned: success
  type: int
  sample: 524288
commit:
  description: Full name of the commit, empty if it is not git.
  returned: success
  type: str
  sample: ""
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.source import KINDS, Source, git_environment, read_file, read_git, read_image, read_wheels


def read(module: AnsibleModule) -> Source:
    """What the module's parameters name."""
    params: dict[str, t.Any] = module.params
    if params["type"] == "git":
        environment = git_environment(params["key_file"] or "", params["known_hosts_file"] or "")
        return read_git(module.run_command, params["repository"], params["source"], environment)
    readers: dict[str, t.Callable[[str], Source]] = {"archive": read_file, "wheel": read_wheels, "image": read_image}
    return readers[params["type"]](params["source"])


def main() -> None:
    """Entry point of the module."""
    spec: dict[str, t.Any] = {
        "type": {"type": "str", "choices": list(KINDS), "default": "archive"},
        "source": {"type": "str", "required": True},
        "repository": {"type": "str"},
        "key_file": {"type": "path", "no_log": False},
        "known_hosts_file": {"type": "path"},
    }
    module = AnsibleModule(argument_spec=spec, required_if=[("type", "git", ["repository"])], supports_check_mode=True)
    try:
        result = dataclasses.asdict(read(module))
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
