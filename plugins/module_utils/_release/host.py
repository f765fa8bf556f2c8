# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release finds on its host: the environment it gets, and the system it runs on."""

from __future__ import annotations

import pathlib
import sys

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

_OS_RELEASE = pathlib.Path("/etc/os-release")


def environment_names(path: str) -> list[str]:
    """The variables that a file for systemd's ``EnvironmentFile=`` sets to something, none if it does not exist.

    Raises:
        MainstayError: it cannot be read.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise MainstayError(f"read {path}", exc.strerror or exc, "run the task with become: true") from exc
    pairs = [line.partition("=") for line in lines if not line.startswith(("#", ";"))]
    return sorted({name.strip() for name, _equals, content in pairs if content.strip().strip("\"'")})


def platform() -> dict[str, str]:
    """The distribution with its version, and the version of the Python that runs this."""
    fields = dict(line.partition("=")[::2] for line in _OS_RELEASE.read_text(encoding="utf-8").splitlines()) if _OS_RELEASE.exists() else {}
    distribution = " ".join(fields.get(name, "").strip("\"'") for name in ("ID", "VERSION_ID")).strip()
    return {"distribution": distribution, "python": ".".join(str(part) for part in sys.version_info[:3])}
