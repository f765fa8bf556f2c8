# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke tests of a drill: checks of ``health_probe`` whose texts name what was restored."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Check
from ansible_collections.mainstay.ops.plugins.module_utils._probe.options import CHECK_OPTIONS, plan_checks
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.sandbox import fill

Places = dict[str, str]
TRIED = {"port": "1", **{f"{part}_port": "1" for part in ("database", "cache")}}
"""Stand in for the ports when checks are looked at before anything runs."""


def smoke_tests(given: t.Sequence[dict[str, t.Any]]) -> t.Callable[[Places], list[Check]]:
    """Return what makes the checks once it is known how the restored things are reached.

    Raises:
        InvalidInput: a check cannot be right.
    """

    def make(places: Places) -> list[Check]:
        entries = []
        for number, entry in enumerate(given, start=1):
            filled = {key: fill(text, places) if isinstance(text, str) else text for key, text in entry.items()}
            validated = ArgumentSpecValidator(CHECK_OPTIONS).validate(filled)
            if validated.error_messages:
                raise InvalidInput(f"read check {number}", "; ".join(validated.error_messages), "see the option checks of health_probe")
            entries.append(validated.validated_parameters)
        return plan_checks(entries) if entries else []

    make(TRIED)
    return make
