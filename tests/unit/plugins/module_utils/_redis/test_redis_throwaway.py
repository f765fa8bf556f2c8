# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private folder of a throwaway server goes, whenever a signal comes."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import workspace
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._redis import throwaway


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("module", "name"), [("tempfile", "mkdtemp"), ("fcntl", "flock"), ("shutil", "rmtree"), ("os", "close")])
def test_a_signal_at_any_step_leaves_no_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, when: str) -> None:
    """SIGTERM right before, or right after, each of the steps in which the folder comes and goes."""
    step = getattr(getattr(workspace, module), name)

    def interrupted(*arguments: t.Any, **named: t.Any) -> t.Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGTERM)
        result = step(*arguments, **named)
        if when == "after":
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    with pytest.raises(MainstayError, match="the module received SIGTERM"), interruptible("use a folder"):
        with monkeypatch.context() as patched:
            patched.setattr(getattr(workspace, module), name, interrupted)
            with throwaway.private_folder(str(tmp_path)) as folder:
                assert os.path.isdir(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_long_or_missing(tmp_path: pathlib.Path) -> None:
    deep = tmp_path / ("x" * 100)
    with pytest.raises(InvalidInput, match="No such file or directory"), throwaway.private_folder(str(deep)):
        pass
    deep.mkdir()
    with pytest.raises(InvalidInput, match="longer than 107 bytes; use a shorter path"), throwaway.private_folder(str(deep)):
        pass
    assert list(deep.iterdir()) == []
