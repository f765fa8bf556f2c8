# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath assertions on a JSON body."""

from __future__ import annotations

import json
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

#: An assertion as it was written, and compiled.
Assertion = tuple[str, t.Any]


def compile_assertions(texts: t.Sequence[str]) -> tuple[Assertion, ...]:
    """Compile assertions, before anything is probed.

    Raises:
        InvalidInput: one is no JMESPath expression, or jmespath is missing.
    """
    if not texts:
        return ()
    try:
        import jmespath
        from jmespath.exceptions import JMESPathError
    except ImportError as error:
        raise InvalidInput("evaluate assertions", missing_required_lib("jmespath")) from error
    compiled = []
    for text in texts:
        try:
            compiled.append((text, jmespath.compile(text)))
        except JMESPathError as error:
            raise InvalidInput(f"understand the assertion {text!r}", str(error).strip().splitlines()[0]) from error
    return tuple(compiled)


def failed_assertions(assertions: t.Sequence[Assertion], body: str, show: t.Callable[[str], str]) -> list[str]:
    """Say which assertions do not hold for a body, and what they found instead.

    Args:
        assertions: the compiled assertions; without any, the body is not looked at.
        body: what should be JSON.
        show: bounds and masks what was found.
    """
    if not assertions:
        return []
    try:
        document = json.loads(body)
    except ValueError as error:
        return [f"body is not JSON: {error}"]
    return [failed for text, compiled in assertions if (failed := _failed_assertion(text, compiled, document, show))]


def _failed_assertion(text: str, compiled: t.Any, document: t.Any, show: t.Callable[[str], str]) -> str:
    from jmespath.exceptions import JMESPathError

    try:
        found = compiled.search(document)
    except JMESPathError as error:
        return f"assertion {text!r} cannot be evaluated: {show(str(error).strip())}"
    return "" if found is True else f"assertion {text!r} is {show(json.dumps(found))}, not true"
