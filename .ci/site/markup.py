# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in DOCUMENTATION and argument specs, as HTML: ``O(...)``, ``M(...)`` and their like become links to the pages that they name."""

from __future__ import annotations

import posixpath
import typing as t

from antsibull_docs_parser import dom
from antsibull_docs_parser.format import LinkProvider
from antsibull_docs_parser.html import to_html_plain
from antsibull_docs_parser.parser import Context, parse

COLLECTION = "mainstay.ops"
FOLDERS = {"module": "modules", "role": "roles", "filter": "filters"}


class MarkupError(Exception):
    """A text refers to something that is not there."""


def page_of(fqcn: str, kind: str) -> str:
    """The page of a module, role or filter of this collection, relative to the site's root."""
    return f"reference/{FOLDERS[kind]}/{fqcn.rpartition('.')[2]}.md"


def html_of(page: str) -> str:
    """The name that a page has in the built site."""
    return page.removesuffix(".md") + ".html"


def anchor_of(what: str, names: t.Iterable[str], entrypoint: str | None = None) -> str:
    """The anchor of an option or a returned value; ``what`` is ``option`` or ``retval``."""
    prefix = [] if entrypoint in (None, "main") else [entrypoint]
    return "-".join([*prefix, what, *names])


class Links(LinkProvider):
    """Knows where everything that a text may name is found.

    :param anchors: for each page of the reference the anchors that it has.
    :param page: the page on which the text stands.
    """

    def __init__(self, anchors: dict[str, set[str]], page: str) -> None:
        self.anchors = anchors
        self.page = page

    def _to(self, page: str) -> str:
        return posixpath.relpath(html_of(page), posixpath.dirname(self.page))

    def plugin_link(self, plugin: dom.PluginIdentifier) -> str | None:
        """The page of a plugin; that of another collection is on docs.ansible.com."""
        namespace, name, short = plugin.fqcn.split(".", 2)
        if f"{namespace}.{name}" != COLLECTION:
            return f"https://docs.ansible.com/ansible/latest/collections/{namespace}/{name}/{short}_{plugin.type}.html"
        page = page_of(plugin.fqcn, plugin.type)
        if page not in self.anchors:
            raise MarkupError(f"{self.page} names the {plugin.type} {plugin.fqcn}, which does not exist")
        return self._to(page)

    def plugin_option_like_link(self, plugin: dom.PluginIdentifier, entrypoint: str | None, what: str, name: list[str], current_plugin: bool) -> str | None:
        """The place of an option or a returned value. Entry points of a role share the options of ``main``."""
        if not plugin.fqcn.startswith(f"{COLLECTION}."):
            return self.plugin_link(plugin)
        page = page_of(plugin.fqcn, plugin.type)
        known = self.anchors.get(page, set())
        for candidate in (anchor_of(what, name, entrypoint), anchor_of(what, name)):
            if candidate in known:
                return f"{'' if page == self.page else self._to(page)}#{candidate}"
        raise MarkupError(f"{self.page} names {'.'.join(name)} of {plugin.fqcn}, which does not exist")


def render(text: t.Any, links: Links, fqcn: str, kind: str, entrypoint: str | None = None) -> str:
    """Paragraphs of a documentation as HTML.

    :raises MarkupError: a reference leads nowhere, or the markup is wrong.
    """
    paragraphs = [str(paragraph) for paragraph in ([text] if isinstance(text, str) else text or [])]
    plugin = dom.PluginIdentifier(fqcn=fqcn, type=kind)
    context = Context(current_plugin=plugin, role_entrypoint=entrypoint if kind == "role" else None)
    try:
        parsed = parse(paragraphs, context, errors="exception")
    except ValueError as error:
        raise MarkupError(f"{fqcn}: {error}") from error
    return to_html_plain(parsed, link_provider=links, current_plugin=plugin)
