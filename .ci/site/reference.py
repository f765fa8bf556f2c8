# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of every module, role and filter, made from what ``ansible-doc`` says about them."""

from __future__ import annotations

import html
import json
import subprocess
import typing as t

import markup

Options = t.Dict[str, t.Any]


def read() -> dict[str, dict[str, t.Any]]:
    """Modules, roles and filters of the collection with their documentation, by kind and full name.

    :raises subprocess.CalledProcessError: ansible-doc could not read one of them; it has said why.
    """
    command = ["ansible-doc", "--metadata-dump", markup.COLLECTION]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["all"]
    return {kind: dict(sorted(found[kind].items())) for kind in markup.FOLDERS}


def children(option: Options) -> Options:
    """The options within an option: modules, roles and returned values each have a word of their own."""
    return option.get("suboptions") or option.get("options") or option.get("contains") or {}


def anchors_within(options: Options, what: str, entrypoint: str | None, above: tuple[str, ...] = ()) -> set[str]:
    """The anchors of options and all that is within them."""
    found = set()
    for name, option in options.items():
        for spelling in [name, *option.get("aliases", [])]:
            found.add(markup.anchor_of(what, [*above, spelling], entrypoint))
        found |= anchors_within(children(option), what, entrypoint, (*above, name))
    return found


def own_options(entry: Options, main: Options) -> Options:
    """What an entry point of a role takes beside the options of ``main``; everything, if it does not take all of those."""
    options, shared = entry.get("options", {}), main.get("options", {})
    if entry is main or not shared.keys() <= options.keys():
        return options
    return {name: option for name, option in options.items() if name not in shared}


def anchors_of(documented: dict[str, dict[str, t.Any]]) -> dict[str, set[str]]:
    """For each page of the reference the anchors that it has."""
    found: dict[str, set[str]] = {}
    for kind, entries in documented.items():
        for fqcn, entry in entries.items():
            anchors = found.setdefault(markup.page_of(fqcn, kind), set())
            if kind == "role":
                for name, point in entry["entry_points"].items():
                    anchors |= anchors_within(own_options(point, entry["entry_points"].get("main", {})), "option", name)
            else:
                anchors |= anchors_within(entry["doc"].get("options", {}), "option", None)
                anchors |= anchors_within(entry.get("return") or {}, "retval", None)
    return found


class Page:
    """Writes the page of one module, role or filter."""

    def __init__(self, fqcn: str, kind: str, anchors: dict[str, set[str]]) -> None:
        self.fqcn = fqcn
        self.kind = kind
        self.links = markup.Links(anchors, markup.page_of(fqcn, kind))

    def text(self, content: t.Any, entrypoint: str | None = None) -> str:
        """Paragraphs as HTML."""
        return markup.render(content, self.links, self.fqcn, self.kind, entrypoint)

    def plugin(self, entry: dict[str, t.Any]) -> str:
        """A module or filter."""
        doc = entry["doc"]
        parts = [f"# {self.fqcn}", self.text(doc["short_description"]), self.text(doc["description"])]
        if doc.get("requirements"):
            parts += ["## Needs", self.bullets(doc["requirements"])]
        if doc.get("options"):
            parts += ["## Options", self.table(doc["options"], "option")]
        if doc.get("attributes"):
            parts += ["## Attributes", self.attributes(doc["attributes"])]
        if doc.get("notes"):
            parts += ["## Notes", self.bullets(doc["notes"])]
        if doc.get("seealso"):
            parts += ["## See also", self.see_also(doc["seealso"])]
        if entry.get("examples"):
            parts += ["## Examples", f"```yaml\n{entry['examples'].strip()}\n```"]
        if entry.get("return"):
            parts += ["## Returned values", self.table(entry["return"], "retval")]
        return "\n\n".join(parts) + "\n"

    def role(self, entry: dict[str, t.Any], playbooks: list[str]) -> str:
        """A role with its entry points, ``main`` first."""
        points = entry["entry_points"]
        main = points.get("main", {})
        parts = [f"# {self.fqcn}"]
        if playbooks:
            parts.append("Run by the playbooks " + ", ".join(f"[{name}](../playbooks.md#{name})" for name in playbooks) + ".")
        for name in sorted(points, key=lambda point: (point != "main", point)):
            point = points[name]
            parts += [f"## {name}", self.text(point.get("short_description", ""), name), self.text(point.get("description"), name)]
            own = own_options(point, main)
            if point is not main and own.keys() != point.get("options", {}).keys():
                parts.append("Takes all variables of `main`" + (", and these:" if own else "."))
            if own:
                parts.append(self.table(own, "option", name))
        return "\n\n".join(parts) + "\n"

    def table(self, options: Options, what: str, entrypoint: str | None = None) -> str:
        """Options or returned values as a table."""
        rows = "\n".join(self.rows(options, what, entrypoint, ()))
        return f'<table class="options">\n<tbody>\n{rows}\n</tbody>\n</table>'

    def rows(self, options: Options, what: str, entrypoint: str | None, above: tuple[str, ...]) -> t.Iterator[str]:
        """A row for each option, followed by those within it. What is required comes first."""
        for name in sorted(options, key=lambda option: (not options[option].get("required"), option)):
            option = options[name]
            anchor = markup.anchor_of(what, [*above, name], entrypoint)
            aliases = "".join(f'<span id="{markup.anchor_of(what, [*above, alias], entrypoint)}"></span>' for alias in option.get("aliases", []))
            yield (
                f'<tr class="depth{len(above)}"><td id="{anchor}">{aliases}<a href="#{anchor}"><code>{name}</code></a>'
                f"<br>{self.facts(option)}</td><td>{self.text(option.get('description'), entrypoint)}{self.limits(option)}</td></tr>"
            )
            yield from self.rows(children(option), what, entrypoint, (*above, name))

    @staticmethod
    def facts(option: Options) -> str:
        """The type of an option, and whether it must be given."""
        kind = option.get("type", "str") + (f" of {option['elements']}" if option.get("elements") else "")
        words = [f"<small>{kind}</small>"]
        if option.get("required"):
            words.append('<small class="required">required</small>')
        if option.get("aliases"):
            words.append(f"<small>also {', '.join(option['aliases'])}</small>")
        return "<br>".join(words)

    @staticmethod
    def limits(option: Options) -> str:
        """Choices, default, when a value is returned, and a sample."""

        def code(content: t.Any) -> str:
            return f"<code>{html.escape(content if isinstance(content, str) and content else json.dumps(content, ensure_ascii=False))}</code>"

        lines = []
        if option.get("choices"):
            lines.append("Choices: " + ", ".join(code(choice) for choice in option["choices"]))
        if option.get("default") is not None:
            lines.append("Default: " + code(option["default"]))
        if option.get("returned"):
            lines.append("Returned: " + html.escape(option["returned"]))
        if "sample" in option:
            lines.append("Sample: " + code(option["sample"]))
        return "".join(f'<p class="limit">{line}</p>' for line in lines)

    def bullets(self, texts: t.Iterable[str]) -> str:
        """A list."""
        return "<ul>" + "".join(f"<li>{self.text(text)}</li>" for text in texts) + "</ul>"

    def attributes(self, attributes: Options) -> str:
        """What the module supports, such as check mode."""
        rows = "".join(
            f"<tr><td><code>{name}</code><br><small>{attribute.get('support', '')}</small></td>"
            f"<td>{self.text(attribute['description'])}{self.text(attribute.get('details'))}</td></tr>"
            for name, attribute in sorted(attributes.items())
        )
        return f'<table class="options"><tbody>{rows}</tbody></table>'

    def see_also(self, entries: list[Options]) -> str:
        """Links to what belongs to it."""
        lines = []
        for entry in entries:
            description = f": {entry['description']}" if entry.get("description") else ""
            if "module" in entry:
                lines.append(f"M({entry['module']}){description}")
            elif "plugin" in entry:
                lines.append(f"P({entry['plugin']}#{entry['plugin_type']}){description}")
            elif "link" in entry:
                lines.append(f"L({entry['name']},{entry['link']}){description}")
            else:
                raise markup.MarkupError(f"{self.fqcn}: there is no place for {entry} on its page")
        return self.bullets(lines)
