# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MkDocs calls while it builds the site: adds the reference, puts every document into the navigation, and looks after all links."""

from __future__ import annotations

import pathlib
import posixpath
import re
import typing as t

import links
import markup
import reference
import sources
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Documents that people look for at the top of the checkout, and the pages that are made of them.
TAKEN = {"CONTRIBUTING.md": "project/contributing.md", "SECURITY.md": "project/security.md"}
GUIDES = "How-to guides"
REFERENCE = "Reference"
# What the theme would load from elsewhere, and what takes its place.
SHIM = "https://unpkg.com/iframe-worker/shim"
OUR_SHIM = "javascripts/search_from_disk.js"
# How the groups of modules are called in the navigation; others are called by their name.
GROUPS = {"aws": "AWS", "etcd": "etcd", "nginx": "nginx", "patroni": "Patroni", "redis": "Redis", "postgres": "PostgreSQL", "host": "hosts and releases"}

# What is made between reading the configuration and building: the generated pages by name.
made: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the reference, and the navigation from what there is."""
    documented = reference.read()
    made.clear()
    made.update(reference_pages(documented, sources.read_playbooks(ROOT / "playbooks")))
    made.update({page: (ROOT / source).read_text(encoding="utf-8") for source, page in TAKEN.items()})
    nav = t.cast(list, config.nav)
    section(nav, REFERENCE).extend(reference_nav(documented))
    add_missing(section(nav, GUIDES), pathlib.Path(config.docs_dir), set(named_in(nav)))
    return config


def reference_pages(documented: dict[str, dict[str, t.Any]], playbooks: dict[str, sources.Playbook]) -> dict[str, str]:
    """All pages of the reference; whatever is wrong on any of them is said at once."""
    anchors = reference.anchors_of(documented)
    wrong = []
    pages = {"reference/playbooks.md": sources.playbooks_page(playbooks), "reference/make.md": sources.make_page(ROOT / "Makefile")}
    for kind, entries in documented.items():
        lines = [f"# {markup.FOLDERS[kind].capitalize()}", ""]
        for fqcn, entry in entries.items():
            name = fqcn.rpartition(".")[2]
            writer = reference.Page(fqcn, kind, anchors)
            try:
                if kind == "role":
                    text = writer.role(entry, [playbook for playbook in playbooks if name in sources.roles_of(playbook, playbooks)])
                else:
                    text = writer.plugin(entry)
            except markup.MarkupError as error:
                wrong.append(str(error))
                continue
            pages[markup.page_of(fqcn, kind)] = text
            lines.append(f"- [{name}]({name}.md): {summary_of(entry)}")
        pages[f"reference/{markup.FOLDERS[kind]}/index.md"] = "\n".join(lines) + "\n"
    if wrong:
        raise PluginError("\n".join(wrong))
    return pages


def summary_of(entry: dict[str, t.Any]) -> str:
    """What a module or filter, or the first entry point of a role, says in one line."""
    points = entry.get("entry_points")
    said = (points.get("main") or next(iter(points.values()))) if points else entry["doc"]
    return re.sub(r"[A-Z]+[(]([^)]*)[)]", r"`\1`", said.get("short_description", ""))


def reference_nav(documented: dict[str, dict[str, t.Any]]) -> list[t.Any]:
    """The reference in the navigation: modules by their action groups, then roles and filters."""
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    rest = dict.fromkeys(documented["module"])
    modules: list[t.Any] = ["reference/modules/index.md"]
    for group, members in sorted(groups.items()):
        names = sorted(member for member in members if isinstance(member, str))
        modules.append({GROUPS.get(group, group): [{name: markup.page_of(name, "module")} for name in names]})
        for name in names:
            rest.pop(f"{markup.COLLECTION}.{name}", None)
    if rest:
        modules.append({"others": [{name.rpartition(".")[2]: markup.page_of(name, "module")} for name in rest]})
    flat = {kind: [{name.rpartition(".")[2]: markup.page_of(name, kind)} for name in documented[kind]] for kind in ("role", "filter")}
    return [{"Modules": modules}, {"Roles": ["reference/roles/index.md", *flat["role"]]}, {"Filters": ["reference/filters/index.md", *flat["filter"]]}]


def section(nav: list[t.Any], title: str) -> list[t.Any]:
    """The entries of a section of the navigation."""
    return next(entries for entry in nav if isinstance(entry, dict) for name, entries in entry.items() if name == title)


def named_in(entries: t.Any) -> t.Iterator[str]:
    """The pages that a part of the navigation names."""
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from named_in(entry)


def add_missing(entries: list[t.Any], docs: pathlib.Path, named: set[str]) -> None:
    """Put every document that the navigation does not name into a section, those of a folder together below the folder's name."""
    folders: dict[str, list[str]] = {}
    for path in sorted(docs.rglob("*.md")):
        page = path.relative_to(docs)
        if page.as_posix() not in named:
            folders.setdefault(page.parent.as_posix(), []).append(page.as_posix())
    entries.extend(folders.pop(".", []))
    entries.extend({folder.replace("/", ": ").replace("_", " ").capitalize(): pages} for folder, pages in folders.items())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links out of the documents lead to the page or the repository."""
    name = page.file.src_uri
    source = next((source for source, taken in TAKEN.items() if taken == name), f"docs/{name}")
    if name in made and name not in TAKEN.values():
        return markdown
    try:
        return links.rewrite(markdown, source, name, ROOT, TAKEN, made, f"{config.repo_url}/blob/main")
    except links.LinkError as error:
        raise PluginError(str(error)) from error


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Have the page load what it needs from the site alone."""
    return output.replace(SHIM, posixpath.relpath(OUR_SHIM, posixpath.dirname(page.file.src_uri)))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page of an address that does not exist."""
    return output_content.replace(SHIM, f"/{OUR_SHIM}")


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a link of the built site leads nowhere, which those in HTML could without a word."""
    wrong = list(links.broken(pathlib.Path(config.site_dir)))
    if wrong:
        raise PluginError("links that lead nowhere:\n" + "\n".join(wrong))
