# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which static files are uploaded, in which order, and what is invalidated."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._aws.assets import ALWAYS_ASK, DIGEST, IMMUTABLE, Asset, collect, plan
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.modules.static_assets import argument_spec

PATTERN = argument_spec()["hashed_pattern"]["default"]


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("app.3f2a9c1e.js", True),
        ("app-BX3k29Zq.css", True),
        ("app.3f2a9c1e.js.map", True),
        ("logo.d41d8cd98f00b204e9800998ecf8427e.svg", True),
        ("index.html", False),
        ("jquery-3.7.1.min.js", False),
        ("service-worker.js", False),
        ("robots.txt", False),
        ("report.20260101.pdf", True),
    ],
)
def test_a_name_with_a_hash(tmp_path: pathlib.Path, name: str, hashed: bool) -> None:
    """A date of eight digits looks like a hash too, which the option narrows."""
    (tmp_path / name).write_text("x")
    asset = collect(tmp_path, "static/", PATTERN)[0]
    assert asset.hashed is hashed
    assert asset.cache_control == (IMMUTABLE if hashed else ALWAYS_ASK)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.woff2", "font/woff2"),
        ("a.map", "application/json; charset=utf-8"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_content_type(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    """The same on every system."""
    (tmp_path / name).write_text("x")
    assert collect(tmp_path, "", PATTERN)[0].content_type == kind


def asset(key: str, hashed: bool, size: int = 1, digest: str = "d") -> Asset:
    """Return a file."""
    return Asset(pathlib.Path(key), key, size, hashed, digest)


def head(of: Asset, **more: t.Any) -> dict[str, t.Any]:
    """Return what is known of the object of a file."""
    return {"Metadata": {DIGEST: of.digest}, "CacheControl": of.cache_control, "ContentType": of.content_type, **more}


HASHED, PAGE, ROBOTS = asset("static/app.3f2a9c1e.js", True), asset("static/a b.html", False), asset("static/robots.txt", False)


def test_everything_is_new() -> None:
    """Pages come last, and what has a hash is not invalidated."""
    made = plan([PAGE, ROBOTS, HASHED], {}, {}, "/static/*")
    assert made.uploads == (HASHED, ROBOTS, PAGE)
    assert made.paths == ("/static/a%20b.html", "/static/robots.txt")


@pytest.mark.parametrize("other", [{"Metadata": {DIGEST: "other"}}, {"Metadata": {}}, {"CacheControl": "public"}, {"ContentType": "text/plain"}])
def test_what_differs_is_uploaded(other: dict[str, t.Any]) -> None:
    """By content, caching or type."""
    sizes = {each.key: 1 for each in (HASHED, PAGE, ROBOTS)}
    assert plan([HASHED, PAGE, ROBOTS], sizes, {PAGE.key: head(PAGE), ROBOTS.key: head(ROBOTS)}, "").uploads == ()
    made = plan([HASHED, PAGE, ROBOTS], sizes, {PAGE.key: head(PAGE, **other), ROBOTS.key: head(ROBOTS)}, "")
    assert made.uploads == (PAGE,)


def test_a_hash_that_is_none_is_refused() -> None:
    """Browsers would keep the old content for a year."""
    with pytest.raises(InvalidInput, match=r"there with 2 bytes, and the file has 1"):
        plan([HASHED], {HASHED.key: 2}, {}, "")


def test_many_paths_become_one() -> None:
    """CloudFront has a quota."""
    assert plan([asset(f"static/{number}.html", False) for number in range(1001)], {}, {}, "/static/*").paths == ("/static/*",)


def test_what_is_no_folder_of_files_is_refused(tmp_path: pathlib.Path) -> None:
    """In words."""
    with pytest.raises(InvalidInput, match="no such folder"):
        collect(tmp_path / "none", "", PATTERN)
    with pytest.raises(InvalidInput, match="holds no file"):
        collect(tmp_path, "", PATTERN)
    with pytest.raises(InvalidInput, match="no regular expression"):
        collect(tmp_path, "", "(")
