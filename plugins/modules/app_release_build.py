#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a release of wheels, of a git revision, or of an image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release_build
version_added: "1.0.0"
short_description: Make a release of wheels, of a git revision, or of an image
description:
  - Works on the folder that the role C(app_host) keeps for an application, beside the releases that M(mainstay.ops.app_release) unpacks.
  - Wheels are read on the controller, transferred only if their release is not there yet, and installed into a virtual environment of the release.
  - Of a git repository the host keeps a mirror, of which the tree of one commit is exported into the release's folder.
  - An image is pulled, or loaded from an archive on the controller, by podman.
  - A release that could not be made whole is not there at all.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  root:
    description: Folder of the application.
    type: path
    required: true
  release:
    description: Name of the release. One of this name with other content is replaced, unless it is live or what a rollback leads to; that is an error.
    type: str
    required: true
  type:
    description: What it is made from.
    type: str
    choices: [wheel, git, image]
    required: true
  source:
    description:
      - Path on the controller of a wheel, or of a folder of wheels, all of which are installed; the full name of a commit;
        or an image as C(NAME@sha256:DIGEST) or the path on the controller of its archive. By O(type).
    type: str
    required: true
  index:
    description: Address of a package index for what the wheels need beside themselves. Unset, nothing comes from anywhere else.
    type: str
  python:
    description: The interpreter of the virtual environment.
    type: path
    default: /usr/bin/python3
  system_packages:
    description: Whether the virtual environment sees the Python packages of the system.
    type: bool
    default: false
  repository:
    description: Address of the git repository. Required with O(type=git).
    type: str
  key_file:
    description: Private key that the host logs in to the repository with.
    type: path
  known_hosts_file:
    description: File with the host keys of the repository's server. Unset, those that the host knows.
    type: path
  auth_file:
    description: File with the login of the image's registry, as C(podman login) writes it.
    type: path
  content:
    description: Hash of what O(source) holds. Set by the module's controller side, never by a task.
    type: str
    default: ""
  uploaded:
    description: Where the files were put on the host. Set by the module's controller side, never by a task.
    type: path
seealso:
  - module: mainstay.ops.app_release
  - module: mainstay.ops.app_release_source_info
"""

EXAMPLES = r"""
- name: Fetch | Install the wheels, and nothing that is not among them
  mainstay.ops.app_release_build:
    root: /srv/shop
    release: "2.1"
    type: wheel
    source: /builds/shop-2.1

- name: Fetch | Export a commit
  mainstay.ops.app_release_build:
    root: /srv/shop
    release: v2.1
    type: git
    repository: git@git.example.com:shop.git
    source: 0f3b5d1c9a8e7f6d5c4b3a2918f7e6d5c4b3a291
    key_file: /etc/shop/deploy_key
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [install release 2.1]
release:
  description: The release.
  returned: success
  type: str
  sample: "2.1"
path:
  description: Its folder.
  returned: success
  type: str
  sample: /srv/shop/releases/2.1
content:
  description: Hash of its content.
  returned: success
  type: str
  sample: 5c1c...
diff:
  description: Before and after, as lists of the releases.
  returned: success
  type: dict
  sample: {before: "releases: 2.0\n", after: "releases: 2.0, 2.1\n"}
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release import build
from ansible_collections.mainstay.ops.plugins.module_utils._release.apply import alone, need_root
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home, check_name
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import plan_present
from ansible_collections.mainstay.ops.plugins.module_utils._release.source import git_environment, image_digest, is_commit

DOING = {"wheel": "install", "git": "export", "image": "get the image of"}


def content_of(params: dict[str, t.Any]) -> str:
    """The hash of what the release is made from.

    Raises:
        InvalidInput: it cannot be known.
    """
    if params["type"] == "git" and not is_commit(params["source"]):
        raise InvalidInput(f"make a release of {params['source']!r}", "it is not the full name of a commit", "ask app_release_source_info for it")
    content = params["source"] if params["type"] == "git" else params["content"] or image_digest(params["source"])
    if not content:
        raise InvalidInput(f"make a release of {params['source']}", "its hash is not known", "call the module by its full name, mainstay.ops.app_release_build")
    return content


def make(module: AnsibleModule, home: Home, wish: build.Wish) -> None:
    """Make the release, if nobody was faster."""
    need_root(home)
    params = module.params
    # Whatever the mask of the one who runs this: the application reads its release.
    os.umask(0o022)
    with alone(home.releases):
        if plan_present(home.read(), wish.release, wish.content) == "unchanged":
            return
        if params["type"] == "git":
            build.make_git_release(module.run_command, home, wish, git_environment(params["key_file"] or "", params["known_hosts_file"] or ""))
        elif params["type"] == "wheel":
            build.make_wheel_release(module.run_command, home, wish)
        else:
            build.make_image_release(module.run_command, home, wish)


def ensure_present(module: AnsibleModule, home: Home) -> dict[str, t.Any]:
    """Make the release if it is not there; without the files that it takes, say whether they are needed."""
    params, state = module.params, home.read()
    release, content = check_name("release", params["release"]), content_of(module.params)
    todo = plan_present(state, release, content)
    names = [found.release for found in state.releases]
    after = [name for name in names if name != release] + [release]
    remote = params["type"] == "git" or bool(params["type"] == "image" and image_digest(params["source"]))
    if todo != "unchanged" and not module.check_mode and (remote or params["uploaded"]):
        given = {name: params[name] or "" for name in ("source", "uploaded", "index", "python", "repository", "auth_file")}
        make(module, home, build.Wish(release=release, content=content, system_packages=params["system_packages"], **given))
    actions = [] if todo == "unchanged" else [f"{DOING[params['type']]} release {release}" + (" anew" if todo == "replace" else "")]
    before = f"releases: {', '.join(names) or 'none'}\n"
    return {
        "changed": bool(actions),
        "actions": actions,
        "release": release,
        "path": home.release(release),
        "content": content,
        "diff": {"before": before, "after": f"releases: {', '.join(after)}\n" if actions else before},
    }


def argument_spec() -> dict[str, t.Any]:
    """The options; the action plugin sets ``content`` and ``uploaded``."""
    return {
        "root": {"type": "path", "required": True},
        "release": {"type": "str", "required": True},
        "type": {"type": "str", "choices": list(DOING), "required": True},
        "source": {"type": "str", "required": True},
        "index": {"type": "str", "no_log": True},
        "python": {"type": "path", "default": "/usr/bin/python3"},
        "system_packages": {"type": "bool", "default": False},
        "repository": {"type": "str"},
        "key_file": {"type": "path", "no_log": False},
        "known_hosts_file": {"type": "path"},
        "auth_file": {"type": "path"},
        "content": {"type": "str", "default": ""},
        "uploaded": {"type": "path"},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), required_if=[("type", "git", ["repository"])], supports_check_mode=True)
    try:
        result = ensure_present(module, Home(module.params["root"]))
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
