# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that lab hosts boot: a Debian made from packages alone, so that no image registry is needed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import Runtime
from ansible_collections.mainstay.ops.plugins.module_utils._process import capture

SUITES = {"debian12": "bookworm", "debian13": "trixie"}

PACKAGES = (
    "apt-cacher-ng",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)

# What is written into the image: path -> content.
FILES = {
    "/etc/sudoers.d/ops": "ops ALL=(ALL) NOPASSWD: ALL\n",
    # The key comes from the lab's state folder, which is mounted here.
    "/etc/ssh/sshd_config.d/lab.conf": "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\nPasswordAuthentication no\n",
    # Each host makes host keys of its own at its first boot.
    "/etc/systemd/system/ssh.service.d/lab.conf": "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n",
    # Hosts live for minutes: no fsync after each file, no manuals.
    "/etc/dpkg/dpkg.cfg.d/lab": "force-unsafe-io\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/locale/*\n",
    "/etc/apt/apt.conf.d/50lab": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\nAcquire::Retries "3";\n',
}

MASKED_UNITS = ("apt-cacher-ng.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer")


@dataclass(frozen=True)
class Image:
    """A lab image: the release it holds and the name it is kept under, which changes with the recipe."""

    release: str

    @property
    def name(self) -> str:
        """Name and tag; the tag ends with a hash of the recipe, so that a changed recipe is built anew."""
        recipe = repr((SUITES[self.release], PACKAGES, sorted(FILES.items()), MASKED_UNITS))
        return f"localhost/mainstay-lab:{self.release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def image_exists(runtime: Runtime, image: Image) -> bool:
    """Whether the engine already keeps this image."""
    return runtime.call(f"look for image {image.name}", "image", "inspect", image.name, check=False).returncode == 0


def build_image(runtime: Runtime, image: Image) -> None:
    """Build the image with mmdebstrap and import it; takes about a minute.

    Raises:
        InvalidInput: mmdebstrap is not installed.
        MainstayError: packages could not be fetched or the import failed.
    """
    doing = f"build the lab image {image.name}"
    mmdebstrap = shutil.which("mmdebstrap")
    if mmdebstrap is None:
        raise InvalidInput(doing, "mmdebstrap is not installed", "install it (apt-get install mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="mainstay-image-") as folder:
        overlay = os.path.join(folder, "overlay")
        for path, content in FILES.items():
            target = overlay + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as stream:
                stream.write(content)
        archive = os.path.join(folder, "image.tar")
        argv = [
            mmdebstrap,
            "--quiet",
            "--variant=minbase",
            # The package lists stay, so that a plan (check mode) knows the packages of a bare host.
            "--skip=cleanup/apt/lists",
            f"--include={','.join(PACKAGES)}",
            f"--customize-hook=sync-in {overlay} /",
            "--customize-hook=chroot \"$1\" useradd --create-home --shell /bin/bash ops",
            "--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_*_key*",
            "--customize-hook=: > \"$1\"/etc/machine-id",
            f"--customize-hook=chroot \"$1\" systemctl mask {' '.join(MASKED_UNITS)}",
            "--customize-hook=chroot \"$1\" systemctl enable ssh.service",
            SUITES[image.release],
            archive,
        ]
        result = capture(argv)
        if result.returncode != 0:
            tail = " ".join(result.stderr.strip().splitlines()[-3:])
            raise MainstayError(doing, f"mmdebstrap: {tail}", "check that this machine reaches a Debian mirror")
        runtime.call(doing, "import", archive, image.name, timeout=600)
