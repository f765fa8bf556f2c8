# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys of AWX, made of the arguments of playbooks."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

# Of AWX, which refuses a longer answer to a question of text only where the survey says so.
LONGEST_TEXT = 1024
QUESTIONS = {"str": "text", "path": "text", "int": "integer", "float": "float"}
MARKUP = re.compile(r"\b[A-Z]\(([^()]*)\)")


def survey_of(options: dict[str, dict[str, t.Any]], variables: list[str], requires: list[str]) -> list[dict[str, t.Any]]:
    """Return the questions of a survey.

    Args:
        options: the arguments of a playbook, as in an argument specification.
        variables: which of them are asked for, in this order.
        requires: those of them that need an answer although the playbook can do without.

    Raises:
        MainstayError: a variable is no argument of the playbook, or of a type that AWX has no question for.
    """
    unknown = sorted({*variables, *requires} - set(options))
    if unknown:
        raise MainstayError("make the survey", f"the playbook has no argument {', '.join(unknown)}", f"it has {', '.join(sorted(options))}")
    unasked = sorted(set(requires) - set(variables))
    if unasked:
        raise MainstayError("make the survey", f"{', '.join(unasked)} shall be required, but is not asked for", "add it to the variables")
    return [question_of(name, options[name], required=name in requires) for name in variables]


def question_of(name: str, option: dict[str, t.Any], required: bool) -> dict[str, t.Any]:
    """Return one question.

    A default that is empty is left out, since AWX would hand it to the playbook where nothing was answered, past the inventory.
    """
    description = option["description"]
    text = MARKUP.sub(r"\1", description if isinstance(description, str) else " ".join(description))
    first, *rest = text.split(". ", 1)
    question = {
        "variable": name,
        "question_name": first.removesuffix("."),
        "question_description": "".join(rest),
        "required": required or bool(option.get("required")),
        **form_of(name, option),
    }
    default = default_of(option)
    return question if default in ("", None) else {**question, "default": default}


def form_of(name: str, option: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the type of a question, and what may be answered."""
    kind = option["type"]
    if kind == "bool":
        return {"type": "multiplechoice", "choices": ["true", "false"]}
    if kind == "list" and "choices" in option:
        return {"type": "multiselect", "choices": list(option["choices"])}
    if "choices" in option:
        return {"type": "multiplechoice", "choices": list(option["choices"])}
    if kind == "list" and option.get("elements") in ("str", "path"):
        return {"type": "text", "max": LONGEST_TEXT}
    if kind not in QUESTIONS:
        raise MainstayError("make the survey", f"{name} is a {kind}, which AWX has no question for", "let it be given as a further variable at launch")
    return {"type": QUESTIONS[kind], **({"max": LONGEST_TEXT} if QUESTIONS[kind] == "text" else {})}


def default_of(option: dict[str, t.Any]) -> t.Any:
    """Return the default in the form of AWX: lists of choices have a line for each, other lists commas."""
    default = option.get("default")
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, list):
        return ("\n" if "choices" in option else ",").join(default)
    return default
