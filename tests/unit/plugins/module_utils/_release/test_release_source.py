# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is made from, as far as that needs no server."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._release.source import check_repository, git_environment, image_digest, read_wheels

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(("image", "digest"), [
    (f"registry.example.com:5000/shop@sha256:{DIGEST}", DIGEST),
    ("/builds/shop.tar", ""),
    ("~/shop.tar", ""),
])
def test_images(image: str, digest: str) -> None:
    """A digest is one, a path has none."""
    assert image_digest(image) == digest


@pytest.mark.parametrize("image", ["shop", "shop:2", "shop@sha256:123", f"shop@md5:{DIGEST}", f"@sha256:{DIGEST}"])
def test_images_that_may_change_are_refused(image: str) -> None:
    """A tag is not enough."""
    with pytest.raises(InvalidInput, match="by its digest"):
        image_digest(image)


@pytest.mark.parametrize("url", ["git@git.example.com:shop.git", "ssh://git@git.example.com/shop.git", "https://git.example.com/shop.git", "/srv/shop.git"])
def test_repositories(url: str) -> None:
    """What git takes for an address."""
    assert check_repository(url) == url


@pytest.mark.parametrize("url", ["", "--upload-pack=id", "ext::sh -c id", "https://user:word@git.example.com/shop.git"])
def test_repositories_that_are_refused(url: str) -> None:
    """What git would take for an option or a command, and a password that others could see."""
    with pytest.raises(InvalidInput) as refused:
        check_repository(url)
    assert "word" not in str(refused.value).replace("password", "")


def test_a_deploy_key_is_the_only_one() -> None:
    """No other key is offered, and an unknown server is refused."""
    command = git_environment("/etc/shop/deploy_key", "/etc/shop/known_hosts")["GIT_SSH_COMMAND"]
    for option in ("-i /etc/shop/deploy_key", "IdentitiesOnly=yes", "BatchMode=yes", "UserKnownHostsFile=/etc/shop/known_hosts", "StrictHostKeyChecking=yes"):
        assert option in command
    assert "-i " not in git_environment("", "")["GIT_SSH_COMMAND"]


def test_wheels_are_one_content_whatever_their_order(tmp_path: pathlib.Path) -> None:
    """Names and bytes count, nothing else in the folder does."""
    for name in ("b.whl", "a.whl", "readme.txt"):
        (tmp_path / name).write_text(name)
    first = read_wheels(str(tmp_path))
    (tmp_path / "readme.txt").write_text("other")
    assert read_wheels(str(tmp_path)) == first and first.size == 10
    (tmp_path / "b.whl").rename(tmp_path / "c.whl")
    assert read_wheels(str(tmp_path)).content != first.content
    with pytest.raises(InvalidInput, match="neither a wheel nor a folder of wheels"):
        read_wheels(str(tmp_path / "readme.txt"))
