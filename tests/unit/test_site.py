# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the site of the documentation (.ci/site): options and their places, links that lead nowhere, pages of playbooks."""

from __future__ import annotations

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ci"), str(ROOT / ".ci/site")]

import links
import markup
import reference
import role_pages
import sources
import yaml

MODULE = "mainstay.ops.thing"
STORE = {"type": "dict", "suboptions": {"type": {"choices": ["local", "s3"], "required": True, "description": "Of O(store.type=s3) or not."}}}
OPTIONS = {"store": {**STORE, "description": "Where."}, "name": {"description": "A name, as O(alias).", "aliases": ["alias"], "default": "<main>"}}
ENTRY = {
    "doc": {"short_description": "Do a thing", "description": ["Returns RV(done)."], "options": OPTIONS},
    "examples": "- mainstay.ops.thing:",
    "return": {"done": {"type": "bool", "returned": "always", "description": "Whether.", "sample": True}},
}
MAIN = {"options": {"role_a": {"description": "A."}, "role_b": {"description": "B."}}}


def page_of(entry: dict) -> str:
    """The page of a module that exists alone."""
    return reference.Page(MODULE, "module", reference.anchors_of({"module": {MODULE: entry}})).plugin(entry)


def test_page_of_a_module_has_a_place_for_each_option_and_value() -> None:
    text = page_of(ENTRY)
    for anchor in ("option-store", "option-store-type", "option-name", "option-alias", "retval-done"):
        assert text.count(f'id="{anchor}"') == 1
    assert 'href="#option-store-type"' in text and 'href="#option-alias"' in text and 'href="#retval-done"' in text
    assert "<code>&lt;main&gt;</code>" in text and "Choices: <code>local</code>, <code>s3</code>" in text and "Sample: <code>true</code>" in text
    assert text.index("option-store-type") < text.index("```yaml")


@pytest.mark.parametrize("wrong", ["O(nothing)", "RV(nothing)", "M(mainstay.ops.nothing)", "O(mainstay.ops.thing#module:nothing)", "O(a", "M(nothing)"])
def test_a_reference_that_leads_nowhere_is_refused(wrong: str) -> None:
    with pytest.raises(markup.MarkupError, match="thing"):
        page_of({**ENTRY, "doc": {**ENTRY["doc"], "description": [wrong]}})


def test_modules_of_other_collections_are_at_docs_ansible_com() -> None:
    text = page_of({**ENTRY, "doc": {**ENTRY["doc"], "description": ["As M(amazon.aws.s3_object)."]}})
    assert "https://docs.ansible.com/ansible/latest/collections/amazon/aws/s3_object_module.html" in text


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({"role_a": {}, "role_b": {}}, set()),
        ({"role_a": {}, "role_b": {}, "role_c": {}}, {"role_c"}),
        ({"role_a": {}}, {"role_a"}),
        ({"role_c": {}}, {"role_c"}),
    ],
)
def test_an_entry_point_lists_what_main_does_not(options: dict, own: set[str]) -> None:
    assert set(reference.own_options({"options": options}, MAIN)) == own


def test_options_of_another_entry_point_have_places_of_their_own() -> None:
    points = {"main": MAIN, "other": {"options": {"role_c": {"description": "As O(role_a)."}}}}
    entry = {"entry_points": {name: {"short_description": "x", "description": "y", **point} for name, point in points.items()}}
    anchors = reference.anchors_of({"role": {"mainstay.ops.role": entry}})
    with pytest.raises(markup.MarkupError):
        reference.Page("mainstay.ops.role", "role", {}).role(entry, [])
    text = reference.Page("mainstay.ops.role", "role", anchors).role(entry, ["site"])
    assert 'id="other-option-role_c"' in text and 'href="#option-role_a"' in text and "[site](../playbooks.md#site)" in text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="other.html">x</a>', []),
        ('<a href="other.html#there">x</a><a href="#here">x</a><p id="here">', []),
        ('<a href="https://example.com/">x</a>', []),
        ('<a href="nothing.html">x</a>', ["page.html: nothing.html does not exist"]),
        ('<a href="other.html#nowhere">x</a>', ["page.html: other.html#nowhere: there is no such place"]),
        ('<img src="nothing.png">', ["page.html: nothing.png does not exist"]),
        ('<script src="https://example.com/x.js">', ["page.html: loads https://example.com/x.js, which is not a part of the site"]),
    ],
)
def test_links_of_the_built_site(tmp_path: pathlib.Path, body: str, said: list[str]) -> None:
    (tmp_path / "other.html").write_text('<p id="there">', encoding="utf-8")
    (tmp_path / "page.html").write_text(body, encoding="utf-8")
    assert list(links.broken(tmp_path)) == said


@pytest.mark.parametrize(
    ("target", "becomes"),
    [
        ("backup.md#take", "../backup.md#take"),
        ("../CONTRIBUTING.md", "../project/contributing.md"),
        ("../tests/fixtures/cloud/README.md", "https://example.com/tests/fixtures/cloud/README.md"),
        ("reference/playbooks.md", "../reference/playbooks.md"),
        ("https://example.com/", "https://example.com/"),
        ("#here", "#here"),
    ],
)
def test_links_of_a_document_are_good_on_its_page(target: str, becomes: str) -> None:
    """The page is one folder further down than the document."""
    taken, made = {"CONTRIBUTING.md": "project/contributing.md"}, {"reference/playbooks.md"}
    text = links.rewrite(f"See [this]({target}).", "docs/x.md", "below/x.md", ROOT, taken, made, "https://example.com")
    assert text == f"See [this]({becomes})."


def test_a_link_to_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(links.LinkError, match=r"docs/x.md links to nothing.md"):
        links.rewrite("[x](nothing.md)", "docs/x.md", "x.md", ROOT, {}, {}, "https://example.com")


def test_page_of_a_playbook(tmp_path: pathlib.Path) -> None:
    (tmp_path / "one.yml").write_text(
        "---\n# Does it, unless app_wait says no:\n#   ansible-playbook -i INVENTORY playbooks/one.yml\n# With --check it says so.\n"
        '- name: "(1/1) DO: it"\n  hosts: all\n  tasks:\n    - ansible.builtin.import_role:\n        name: mainstay.ops.base\n',
        encoding="utf-8",
    )
    (tmp_path / "two.yml").write_text("---\n# As well.\n- name: Do it\n  ansible.builtin.import_playbook: one.yml\n", encoding="utf-8")
    playbooks = sources.read_playbooks(tmp_path)
    assert sources.roles_of("two", playbooks) == {"base"}
    text = sources.playbooks_page(playbooks)
    assert "Does it, unless `app_wait` says no:\n\n```text\nansible-playbook -i INVENTORY playbooks/one.yml\n```\n\nWith `--check` it says so." in text
    assert "- (1/1) DO: it" in text and text.count("Roles: [base](roles/base.md)") == 2


def test_pages_of_a_new_role(tmp_path: pathlib.Path) -> None:
    """They can be read, and say what the role says about itself, without markup."""
    (tmp_path / "thing.md").write_text("# Things\n", encoding="utf-8")
    spec = {"short_description": "x", "description": ["Does a V(thing) by M(mainstay.ops.thing), like P(mainstay.ops.base#role): " + "well " * 50, "More."]}
    pages = role_pages.pages_of("thing", spec, tmp_path)
    said = " ".join(yaml.safe_load(pages["meta/main.yml"])["galaxy_info"]["description"].split())
    assert said.startswith("Does a thing by mainstay.ops.thing, like mainstay.ops.base: well well") and "More" not in said
    assert pages["README.md"].startswith("# mainstay.ops.thing\n\nDoes a thing") and "[Things](../../docs/thing.md)" in pages["README.md"]
    assert max(len(line) for page in pages.values() for line in page.splitlines()) <= 160
    assert "Read on" not in role_pages.pages_of("other", {"short_description": "x"}, tmp_path)["README.md"]


def test_page_of_make_has_every_target_that_help_lists() -> None:
    text = sources.make_page(ROOT / "Makefile")
    assert "| `make demo` |" in text and "| `make docs` |" in text and "| `make molecule-debian12` |" in text and "`make tree`" not in text
