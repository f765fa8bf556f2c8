# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: those of a page that lead out of the documents, and whether all of the built site arrive."""

from __future__ import annotations

import html.parser
import pathlib
import posixpath
import re
import typing as t
import urllib.parse

LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")


class LinkError(Exception):
    """A link leads nowhere."""


def rewrite(markdown: str, source: str, page: str, root: pathlib.Path, taken: dict[str, str], made: t.Container[str], repository: str) -> str:
    """Let the links of a document be good on the site as they are in the checkout.

    :param source: the document, relative to the checkout's root.
    :param page: the page that is made of it, relative to the site's root.
    :param taken: pages made of files that do not lie below ``docs``, by their path in the checkout.
    :param made: pages that are in no file.
    :param repository: address under which the other files of the checkout can be seen.
    :raises LinkError: a link names a file that does not exist.
    """

    def replace(match: re.Match[str]) -> str:
        path, mark, fragment = match[2].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (root / target).exists() and target.removeprefix("docs/") not in made:
            raise LinkError(f"{source} links to {path}, which does not exist")
        if target in taken or target.startswith("docs/"):
            there = posixpath.relpath(taken.get(target, target.removeprefix("docs/")), posixpath.dirname(page))
        else:
            there = f"{repository}/{target}"
        return f"{match[1]}{there}{mark}{fragment}{match[3]}"

    return LINK.sub(replace, markdown)


class _Reader(html.parser.HTMLParser):
    """Gathers what a page links to, what it loads, and what can be linked to on it."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, links, and what is loaded."""
        for name, content in attrs:
            if name == "id" and content:
                self.anchors.add(content)
            elif name in ("href", "src") and content:
                self.targets.add(content)
                if name == "src" or (tag == "link" and dict(attrs).get("rel") != "canonical"):
                    self.loaded.add(content)


def read_site(folder: pathlib.Path) -> dict[str, _Reader]:
    """The pages of a built site by their paths."""
    found = {}
    for path in sorted(folder.rglob("*.html")):
        reader = found[path.relative_to(folder).as_posix()] = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
    return found


def broken(folder: pathlib.Path) -> t.Iterator[str]:
    """Each link of a built site to a file or an anchor that is not there, and whatever a page would load from elsewhere."""
    pages = read_site(folder)
    for page, reader in pages.items():
        for target in sorted(reader.targets):
            parts = urllib.parse.urlsplit(target)
            if parts.netloc and target in reader.loaded:
                yield f"{page}: loads {target}, which is not a part of the site"
            # 404.html is shown at any address, so its links begin at the root of the server.
            if parts.scheme or parts.netloc or page == "404.html":
                continue
            there = posixpath.normpath(posixpath.join(posixpath.dirname(page), urllib.parse.unquote(parts.path))) if parts.path else page
            if not (folder / there).exists():
                yield f"{page}: {target} does not exist"
            elif parts.fragment and there in pages and parts.fragment not in pages[there].anchors | {"__top"}:
                yield f"{page}: {target}: there is no such place"
