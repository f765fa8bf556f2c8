# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that are made on the host: of wheels, of a git revision, of an image. Each is whole or not there at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release import apply
from ansible_collections.mainstay.ops.plugins.module_utils._release import archive as archives
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home
from ansible_collections.mainstay.ops.plugins.module_utils._release.source import Run, check_repository, image_digest, last_line

IMAGE_FILE = "image.env"
"""The file in the folder of a release that names its image for the unit."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """The release to make: what from, and the hash that it was planned with."""

    release: str
    source: str
    content: str
    uploaded: str = ""
    index: str = ""
    python: str = "/usr/bin/python3"
    system_packages: bool = False
    repository: str = ""
    auth_file: str = ""


def _call(run: Run, doing: str, argv: list[str], next_step: str, environment: t.Mapping[str, str] | None = None) -> str:
    rc, out, err = run(argv, environ_update=dict(environment or {}))
    if rc != 0:
        raise MainstayError(doing, last_line(err or out), next_step)
    return out


@contextlib.contextmanager
def _all_or_nothing(folder: str) -> t.Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def make_wheel_release(run: Run, home: Home, wish: Wish) -> None:
    """Install the wheels into a virtual environment of the release.

    It knows its own path, so it is made where it stays; without its stamp, which comes last, it does not count as a release.

    Raises:
        MainstayError: the wheels do not install.
    """
    folder, environment = home.release(wish.release), os.path.join(home.release(wish.release), "venv")
    doing = f"install release {wish.release}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="mainstay-wheels-") as wheels, _all_or_nothing(folder):
        archives.unpack(wish.uploaded, os.path.join(wheels, "wheels"))
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
        options = ["--system-site-packages"] if wish.system_packages else []
        _call(run, doing, [wish.python, "-m", "venv", *options, environment], "install the package python3-venv")
        found = sorted(os.path.join(wheels, "wheels", name) for name in os.listdir(os.path.join(wheels, "wheels")))
        # Through the environment, since an index may have a password in its address.
        where = {"PIP_INDEX_URL": wish.index} if wish.index else {"PIP_NO_INDEX": "1"}
        settings = {**where, "PIP_FIND_LINKS": os.path.join(wheels, "wheels"), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                    "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
        pip = [os.path.join(environment, "bin", "python"), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
        _call(run, doing, [*pip, *found], "put the wheels that are missing beside it, or name an index", settings)
        apply.stamp(folder, wish.release, wish.content)


def make_git_release(run: Run, home: Home, wish: Wish, environment: t.Mapping[str, str]) -> None:
    """Fetch the commit into the host's mirror of the repository, and export its tree, with the commit's name in the file ``REVISION``.

    Raises:
        MainstayError: the repository does not answer, or has no such commit.
    """
    mirror, commit = os.path.join(home.root, "repository.git"), wish.content
    incoming = apply.incoming_folder(home, wish.release)
    doing, git = f"fetch {commit[:12]} from {check_repository(wish.repository)}", ["git", f"--git-dir={mirror}"]
    if not os.path.isdir(mirror):
        with _all_or_nothing(mirror):
            _call(run, doing, ["git", "init", "--quiet", "--bare", mirror], "install git")
    wanted = f"{commit}^{{commit}}"
    if run([*git, "cat-file", "-e", wanted])[0] != 0:
        fetch = [*git, "fetch", "--quiet", "--prune", "--", wish.repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        _call(run, doing, fetch, "correct the address, the deploy key or the known hosts", environment)
        _call(run, doing, [*git, "cat-file", "-e", wanted], "no branch and no tag leads to it: push one that does")
    with tempfile.TemporaryDirectory(prefix="mainstay-git-") as folder, _all_or_nothing(incoming):
        archive = os.path.join(folder, "tree.tar")
        _call(run, doing, [*git, "archive", "--format=tar", f"--output={archive}", commit], "see what is wrong with the repository")
        archives.unpack(archive, incoming)
        with open(os.path.join(incoming, "REVISION"), "w", encoding="utf-8") as stream:
            stream.write(f"{commit}\n")
        apply.place(home, wish.release, commit)


def image_tag(home: Home, release: str) -> str:
    """The name under which a release's image is kept on the host."""
    return f"localhost/mainstay-{os.path.basename(home.root)}:{release}"


def make_image_release(run: Run, home: Home, wish: Wish) -> None:
    """Bring the image to the host, keep it under a name of its own, and write down which one it is.

    Raises:
        MainstayError: podman cannot get it.
    """
    doing, incoming = f"get the image of release {wish.release}", apply.incoming_folder(home, wish.release)
    if image_digest(wish.source):
        options = [f"--authfile={wish.auth_file}"] if wish.auth_file else []
        out = _call(run, doing, ["podman", "pull", "--quiet", *options, wish.source], "correct the image, or the login of the registry")
        name = wish.source
    else:
        out = _call(run, doing, ["podman", "load", "--quiet", f"--input={wish.uploaded}"], "write the archive with podman save or docker save")
        name = last_line(out).rpartition(": ")[2]
    identity = _call(run, doing, ["podman", "image", "inspect", "--format={{ .Id }}", name], "see what podman says about it").strip()
    _call(run, doing, ["podman", "tag", identity, image_tag(home, wish.release)], "see what podman says about it")
    shutil.rmtree(incoming, ignore_errors=True)
    with _all_or_nothing(incoming):
        os.mkdir(incoming, 0o755)
        os.chmod(incoming, 0o755)
        with open(os.path.join(incoming, IMAGE_FILE), "w", encoding="utf-8") as stream:
            stream.write(f"IMAGE={identity.removeprefix('sha256:')}\n")
        apply.place(home, wish.release, wish.content)
    _remove_old_images(run, home)


def _remove_old_images(run: Run, home: Home) -> None:
    """Remove the images of releases that are gone. One that still runs stays, and goes the next time."""
    prefix = image_tag(home, "")
    for name in run(["podman", "images", "--format={{ .Repository }}:{{ .Tag }}"])[1].split():
        if name.startswith(prefix) and not os.path.isdir(home.release(name.removeprefix(prefix))):
            run(["podman", "rmi", name])
