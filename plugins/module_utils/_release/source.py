# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is made from, and the hash that says whether two releases have the same content."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tarfile
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.archive import file_sha256

Run = t.Callable[..., t.Tuple[int, str, str]]
"""A function like ``AnsibleModule.run_command``."""

KINDS = ("archive", "wheel", "git", "image")

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[^@\s]+@sha256:([0-9a-f]{64})")


@dataclasses.dataclass(frozen=True)
class Source:
    """What a release is made from: the hash of its content, its size in bytes as far as it is known, and for git the commit."""

    content: str
    size: int = 0
    commit: str = ""


def is_commit(revision: str) -> bool:
    """Whether this is the full name of a commit."""
    return bool(_COMMIT.fullmatch(revision))


def wheels_in(path: str) -> list[str]:
    """The wheels that a path stands for, sorted: one file, or those of a folder.

    Raises:
        InvalidInput: there is none.
    """
    if os.path.isdir(path):
        found = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".whl"))
    else:
        found = [path] if path.endswith(".whl") and os.path.isfile(path) else []
    if not found:
        raise InvalidInput(f"use {path} as a release", "it is neither a wheel nor a folder of wheels", "build it, or correct the path")
    return found


def read_wheels(path: str) -> Source:
    """The wheels' names and contents as one hash."""
    wheels = wheels_in(path)
    digest = hashlib.sha256()
    for wheel in wheels:
        digest.update(f"{os.path.basename(wheel)} {file_sha256(wheel)}\n".encode())
    return Source(digest.hexdigest(), sum(os.path.getsize(wheel) for wheel in wheels))


def pack_wheels(path: str, archive: str) -> None:
    """Put the wheels into one tar file, so that they travel at once."""
    with tarfile.open(archive, "w") as tar:
        for wheel in wheels_in(path):
            tar.add(wheel, arcname=os.path.basename(wheel))


def read_file(path: str) -> Source:
    """A file's hash."""
    if not os.path.isfile(path):
        raise InvalidInput(f"use the release archive {path}", "it is not there", "build it, or correct the path")
    return Source(file_sha256(path), os.path.getsize(path))


def image_digest(image: str) -> str:
    """The digest in the reference of an image, empty for the path of an archive.

    Raises:
        InvalidInput: it is a reference without a digest, which may be another image tomorrow.
    """
    found = _DIGEST.fullmatch(image)
    if found:
        return found[1]
    if image.startswith(("/", "./", "~")):
        return ""
    raise InvalidInput(f"use {image!r} as an image", "it is neither NAME@sha256:DIGEST nor the path of an archive", "name the image by its digest")


def read_image(image: str) -> Source:
    """The digest of an image in a registry, or the hash of an archive."""
    digest = image_digest(image)
    return Source(digest) if digest else read_file(os.path.expanduser(image))


def git_environment(key_file: str, known_hosts: str) -> dict[str, str]:
    """The environment for git: it asks nobody, and logs in with this key only, to a host that is known."""
    options = ["-o BatchMode=yes", "-o ConnectTimeout=20"]
    if key_file:
        options += [f"-i {key_file}", "-o IdentitiesOnly=yes"]
    if known_hosts:
        options += [f"-o UserKnownHostsFile={known_hosts}", "-o StrictHostKeyChecking=yes"]
    return {"GIT_SSH_COMMAND": " ".join(["ssh", *options]), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def check_repository(url: str) -> str:
    """Return the URL of a repository.

    Raises:
        InvalidInput: there is none, it has a password, or git would take it for an option or a command.
    """
    if not url or url.startswith("-") or "::" in url:
        raise InvalidInput("use a git repository", f"{url!r} is not its address" if url else "its address is missing", "set app_host_git_repository")
    if urllib.parse.urlsplit(url).password is not None:
        raise InvalidInput("use a git repository", "its address has a password, which others on the host could see", "use a deploy key instead")
    return url


def read_git(run: Run, url: str, revision: str, environment: t.Mapping[str, str]) -> Source:
    """The commit that a branch, a tag or the full name of a commit stands for.

    Raises:
        MainstayError: the repository does not answer, or does not know the revision.
    """
    check_repository(url)
    if is_commit(revision):
        return Source(revision, commit=revision)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/+-]*", revision):
        raise InvalidInput(f"use the revision {revision!r}", "it is neither a branch, nor a tag, nor the full name of a commit")
    names = [f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", f"refs/heads/{revision}"]
    rc, out, err = run(["git", "ls-remote", "--", url, *names], environ_update=environment)
    if rc != 0:
        raise MainstayError(f"ask {url} for {revision}", last_line(err), "correct the address, the deploy key or the known hosts")
    found = {name: commit for commit, name in (line.split("\t") for line in out.splitlines() if "\t" in line)}
    for name in names:
        if name in found:
            return Source(found[name], commit=found[name])
    raise MainstayError(f"find {revision} in {url}", "it has no such branch or tag", "push it, or give the full name of a commit")


def last_line(text: str) -> str:
    """What a program said last."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]
