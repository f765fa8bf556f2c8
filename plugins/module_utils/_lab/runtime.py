# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine that lab hosts run on, and what this machine needs to boot systemd in a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import capture

LAB_LABEL = "mainstay.lab"
SPEC_LABEL = "mainstay.spec"

# systemd 257 refuses cgroup v1 unless it is told twice; hosts of older releases ignore both settings.
_CGROUP_V1_ENVIRONMENT = {
    "container": "podman",
    "SYSTEMD_PROC_CMDLINE": "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
}


@dataclass(frozen=True)
class Runtime:
    """A container engine: ``podman`` or ``docker``, and the cgroup version of the machine's kernel."""

    name: str
    path: str
    cgroup_v2: bool

    def command(self, *args: str) -> list[str]:
        """The argv of an engine call; on cgroup v1 podman must use runc, since crun refuses hybrid mode."""
        if self.name == "podman" and not self.cgroup_v2:
            return [self.path, "--runtime", "runc", *args]
        return [self.path, *args]

    def boot_options(self) -> list[str]:
        """The options of ``run`` that let systemd be the first process of a container."""
        if self.name == "docker":
            return ["--privileged", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--env", "container=docker"]
        # SYS_ADMIN lets systemd make the namespaces that its sandboxing needs: without it a unit's hardening is skipped in silence.
        # SYS_PTRACE lets it see its own children in a /proc with ProtectProc=invisible, where PrivateUsers=yes fails otherwise (Debian's Redis has both).
        options = ["--systemd=always", "--cap-add", "NET_ADMIN,NET_RAW,SYS_ADMIN,SYS_PTRACE"]
        if not self.cgroup_v2:
            for key, value in _CGROUP_V1_ENVIRONMENT.items():
                options += ["--env", f"{key}={value}"]
        return options

    def call(self, doing: str, *args: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the engine.

        Args:
            doing: what the call is for, as a verb phrase for the error.
            args: the arguments after the engine's name.
            check: whether a non-zero exit status is an error.
            timeout: seconds after which the call is given up.
        """
        try:
            result = capture(self.command(*args), timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise MainstayError(doing, f"{self.name} {args[0]} did not end within {timeout:.0f} s", "run lab_down, then try again") from error
        if check and result.returncode != 0:
            lines = [line for line in result.stderr.splitlines() if line.strip() and "level=warning" not in line]
            raise MainstayError(doing, f"{self.name} {args[0]}: {' '.join(lines[-3:]) or f'exit status {result.returncode}'}")
        return result

    def inspect_json(self, doing: str, *args: str) -> list[dict[str, t.Any]]:
        """Run an ``inspect`` call and return its JSON; an object that does not exist gives an empty list."""
        result = self.call(doing, *args, check=False)
        if result.returncode != 0:
            return []
        return json.loads(result.stdout or "[]") or []

    def labelled(self, kind: str, lab: str) -> list[str]:
        """Names of the containers or networks (``kind``) that belong to a lab."""
        if kind == "container":
            args = ["ps", "--all", "--filter", f"label={LAB_LABEL}={lab}", "--format", "{{.Names}}"]
        else:
            args = ["network", "ls", "--filter", f"label={LAB_LABEL}={lab}", "--format", "{{.Name}}"]
        return sorted(self.call(f"list the {kind}s of lab {lab}", *args).stdout.split())


def find_runtime(wanted: str = "auto") -> Runtime:
    """Find a container engine that works on this machine.

    Args:
        wanted: ``podman``, ``docker``, or ``auto`` for the first that works, in this order.

    Raises:
        InvalidInput: none is usable; the message says what is missing.
    """
    doing = "find a container engine for the lab"
    if os.geteuid() != 0:
        raise InvalidInput(doing, "lab hosts have addresses of their own, which only root can make", "run the playbook as root or with sudo")
    cgroup_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    names = ["podman", "docker"] if wanted == "auto" else [wanted]
    problems = []
    for name in names:
        path = shutil.which(name)
        if path is None:
            problems.append(f"{name} is not installed")
        elif name == "podman" and not cgroup_v2 and shutil.which("runc") is None:
            problems.append("podman needs runc on this machine (cgroup v1), which is not installed")
        elif capture([path, "info"], timeout=60).returncode != 0:
            problems.append(f"{name} info fails: its engine does not run")
        else:
            return Runtime(name=name, path=path, cgroup_v2=cgroup_v2)
    raise InvalidInput(doing, "; ".join(problems), "install podman (apt-get install podman) or start Docker")
