# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases made of wheels by pip, of a repository by git, and of an image by podman."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import typing as t
import zipfile

import pytest
from servers import SENTINEL, Runner

MODULE = "app_release_build"


@pytest.fixture
def runner(tmp_path: pathlib.Path) -> Runner:
    """Runs modules."""
    return Runner(tmp_path)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """An application's folder as the role makes it."""
    root = tmp_path / "shop"
    (root / "releases").mkdir(parents=True)
    (root / "slots").mkdir()
    return root


def wheel(folder: pathlib.Path, name: str, version: str, code: str, *needs: str) -> pathlib.Path:
    """Write a wheel of one module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = "".join([f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", *(f"Requires-Dist: {need}\n" for need in needs)])
    files = {
        f"{name}.py": code,
        f"{name}-{version}.dist-info/METADATA": metadata,
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-{version}.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(zipfile.ZipInfo(member), content)
        archive.writestr(zipfile.ZipInfo(f"{name}-{version}.dist-info/RECORD"), "".join(f"{member},,\n" for member in files))
    return path


def build(runner: Runner, root: pathlib.Path, options: dict[str, t.Any], *arguments: str, **environment: str) -> dict[str, t.Any]:
    """Run the module the whole way, with its part on the controller."""
    run = runner.tasks([{"name": "Build", f"mainstay.ops.{MODULE}": {"root": str(root), **options}}], *arguments, **environment)
    return run.results[0]


def names(runner: Runner, root: pathlib.Path) -> list[str]:
    """The releases that the host has."""
    return [found["release"] for found in runner("app_release_info", {"root": str(root)})["releases"]]


def test_wheels(runner: Runner, root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Planned, installed offline, unchanged the second time; other content is refused where it matters, and a wheel that lacks another leaves nothing."""
    folder = tmp_path / "wheels"
    wheel(folder, "shop", "1.0", "import shelf\ndef main(): print('shop', shelf.COUNT)\n", "shelf>=2")
    options = {"release": "1.0", "type": "wheel", "source": str(folder), "python": shutil.which("python3")}

    lacking = build(runner, root, options)
    assert lacking["failed"] and "shelf" in lacking["msg"] and "name an index" in lacking["msg"]
    assert not (root / "releases" / "1.0").exists()

    wheel(folder, "shelf", "2.0", "COUNT = 3\n")
    planned = build(runner, root, options, "--check", "--diff")
    done = build(runner, root, options)
    again = build(runner, root, options)
    assert planned["changed"] and done["changed"] and not again["changed"]
    assert planned["actions"] == done["actions"] == ["install release 1.0"] and planned["diff"]["after"] == "releases: 1.0\n"
    assert (done["release"], done["path"]) == ("1.0", str(root / "releases" / "1.0"))
    assert subprocess.check_output([root / "releases/1.0/venv/bin/shop"], text=True) == "shop 3\n"
    described = runner("app_release_source_info", {"type": "wheel", "source": str(folder)})
    assert described["content"] == done["content"] and described["size"] > 0 and described["commit"] == ""

    runner("app_release", {"root": str(root), "state": "live", "release": "1.0", "slot": "blue"})
    wheel(folder, "shelf", "2.0", "COUNT = 4\n")
    other = build(runner, root, options)
    assert other["failed"] and "under a new name" in other["msg"]
    assert subprocess.check_output([root / "releases/1.0/venv/bin/shop"], text=True) == "shop 3\n"


def test_wheel_from_an_index(runner: Runner, root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is not given comes from the index, whose address is kept out of all that is said."""
    path = wheel(tmp_path / "wheels", "shop", "1.0", "import shelf\ndef main(): print(shelf.COUNT)\n", "shelf")
    wheel(tmp_path / SENTINEL / "shelf", "shelf", "2.0", "COUNT = 5\n")
    index = (tmp_path / SENTINEL).as_uri()
    (tmp_path / SENTINEL / "shelf" / "index.html").write_text('<a href="shelf-2.0-py3-none-any.whl">shelf-2.0-py3-none-any.whl</a>')
    options = {"release": "1.0", "type": "wheel", "source": str(path), "python": shutil.which("python3"), "index": index}
    done = build(runner, root, options, "-vvv")
    assert not done["failed"], done
    assert SENTINEL not in json.dumps(done)
    assert subprocess.check_output([root / "releases/1.0/venv/bin/shop"], text=True) == "5\n"


def git(repository: pathlib.Path, *argv: str) -> str:
    """Run git as somebody, whatever the machine's settings are."""
    identity = {f"GIT_{who}_{what}": f"{who}@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.check_output(["git", "-C", repository, *argv], text=True, env=environment).strip()


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository with a branch, a tag on its first commit, and a second commit."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    for number in ("1", "2"):
        (repository / "server.py").write_text(f"RELEASE = {number}\n")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "-m", f"Release {number}")
        if number == "1":
            git(repository, "tag", "-a", "v1", "-m", "Release 1")
    return repository


def test_git(runner: Runner, root: pathlib.Path, repository: pathlib.Path) -> None:
    """A tag, a branch and a commit; the mirror is fetched into only for a commit that it lacks."""
    asked = {"type": "git", "repository": str(repository)}
    commits = {name: runner("app_release_source_info", {**asked, "source": name})["commit"] for name in ("v1", "main")}
    assert commits == {"v1": git(repository, "rev-parse", "v1^{commit}"), "main": git(repository, "rev-parse", "main")}
    nothing = runner("app_release_source_info", {**asked, "source": "v3"})
    assert nothing["failed"] and "no such branch or tag" in nothing["msg"]

    first = {"root": str(root), "release": "v1", **asked, "source": commits["v1"]}
    assert runner(MODULE, first, check=True)["actions"] == ["export release v1"] and not names(runner, root)
    done = runner(MODULE, first)
    assert done["changed"] and done["content"] == commits["v1"]
    assert (root / "releases/v1/server.py").read_text() == "RELEASE = 1\n"
    assert (root / "releases/v1/REVISION").read_text() == f"{commits['v1']}\n"
    assert not runner(MODULE, first)["changed"]

    # The mirror has the second commit already.
    shutil.move(repository, repository.with_name("away"))
    assert runner(MODULE, {**first, "release": "v2", "source": commits["main"]})["changed"]
    assert (root / "releases/v2/server.py").read_text() == "RELEASE = 2\n"
    unknown = runner(MODULE, {**first, "release": "v3", "source": "0" * 40})
    assert unknown["failed"] and "deploy key" in unknown["msg"]
    assert names(runner, root) == ["v1", "v2"]


@pytest.mark.parametrize(("options", "words"), [
    ({"type": "git", "source": "main", "repository": "/somewhere"}, "not the full name of a commit"),
    ({"type": "git", "source": "0" * 40, "repository": "https://user:secret@example.com/shop"}, "deploy key"),
    ({"type": "git", "source": "0" * 40, "repository": "ext::sh -c id"}, "is not its address"),
    ({"type": "image", "source": "registry.example.com/shop:latest"}, "by its digest"),
    ({"type": "wheel", "source": "/nowhere"}, "hash is not known"),
])
def test_refusals(runner: Runner, root: pathlib.Path, options: dict[str, t.Any], words: str) -> None:
    """What cannot be right is refused in words, and nothing is made."""
    result = runner(MODULE, {"root": str(root), "release": "1", **options})
    assert result["failed"] and words in result["msg"] and "secret" not in result["msg"]
    assert not names(runner, root)


def test_image(runner: Runner, root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An archive of an image is loaded under a name of its own; the image of a release that is gone goes with the next one."""
    if not shutil.which("podman"):
        pytest.skip("no podman: apt-get install podman")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/images"\n')
    environment = {"CONTAINERS_STORAGE_CONF": str(storage)}

    def podman(*argv: str) -> str:
        return subprocess.check_output(["podman", *argv], env={**os.environ, **environment}, text=True).strip()

    for number in ("1", "2"):
        tree = tmp_path / f"tree{number}.tar"
        (tmp_path / "RELEASE").write_text(number)
        with tarfile.open(tree, "w") as tar:
            tar.add(tmp_path / "RELEASE", arcname="RELEASE")
        podman("import", "--quiet", str(tree), f"localhost/shop-build:{number}")
        podman("save", "--quiet", f"--output={tmp_path}/image{number}.tar", f"localhost/shop-build:{number}")
    identity = podman("image", "inspect", "--format={{ .Id }}", "localhost/shop-build:1")
    podman("rmi", "--all", "--force")

    options = {"release": "1", "type": "image", "source": str(tmp_path / "image1.tar")}
    assert build(runner, root, options, "--check", **environment)["actions"] == ["get the image of release 1"]
    done = build(runner, root, options, **environment)
    assert done["changed"] and not build(runner, root, options, **environment)["changed"]
    assert (root / "releases/1/image.env").read_text() == f"IMAGE={identity}\n"

    runner("app_release", {"root": str(root), "state": "pruned", "keep": 1})
    shutil.rmtree(root / "releases/1")
    assert build(runner, root, {**options, "release": "2", "source": str(tmp_path / "image2.tar")}, **environment)["changed"]
    tags = podman("images", "--format={{ .Repository }}:{{ .Tag }}").split()
    assert "localhost/mainstay-shop:2" in tags and "localhost/mainstay-shop:1" not in tags
