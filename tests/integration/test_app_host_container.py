# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that runs a release which is an image, as the role app_host makes it, with a real podman. Only the cgroup is not systemd's here."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import time

import pytest
import yaml
from servers import SENTINEL, Runner

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "app_host"
USER = 61234
PROGRAMS = ("sh", "cat", "id", "sleep", "touch", "grep")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("podman") and shutil.which("catatonit")), reason="needs root and podman: apt-get install podman catatonit"
)


def rootfs(path: pathlib.Path) -> None:
    """Write a file system of this host's shell and a few programs with their libraries."""
    files = {os.path.realpath(t) for t in (shutil.which(name) for name in PROGRAMS) if t}
    for program in list(files):
        files |= set(re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", program], text=True)))
    with tarfile.open(path, "w") as tar:
        for file in sorted(files):
            tar.add(os.path.realpath(file), arcname=file)
        for name in PROGRAMS:
            tar.add(os.path.realpath(str(shutil.which(name))), arcname=f"/bin/{name}")


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> dict[str, str]:
    """A podman with images of its own, and what systemd would put into the environment of the unit."""
    (tmp_path / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/images"\n')
    runtime = "runc" if shutil.which("runc") else "crun"
    (tmp_path / "containers.conf").write_text(f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\n')
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf"),
        "CONTAINERS_CONF": str(tmp_path / "containers.conf"),
        "RUNTIME_DIRECTORY": str(tmp_path / "credentials"),
        "TOKEN": f"{SENTINEL} with $HOME and \"quotes\"",
        "PORT": "8000",
        "FEATURES_FILE": str(tmp_path / "etc" / "features.json"),
    }


def role_command(tmp_path: pathlib.Path) -> list[str]:
    """What the role writes into the unit, without the option that needs systemd."""
    variables = {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        **yaml.safe_load((ROLE / "vars/main.yml").read_text()),
        "app_host_name": "shop",
        "app_host_account_id": USER,
        "app_host_root": str(tmp_path / "shop"),
        "app_host_config_dir": str(tmp_path / "etc"),
        "app_host_environment": {"TOKEN": "x"},
        "app_host_secrets": {"key": "x"},
    }
    task = {"name": "Render", "ansible.builtin.debug": {"msg": "{{ __app_host_container + __app_host_podman_service }}"}, "vars": variables}
    words = Runner(tmp_path).tasks([task]).results[0]["msg"]
    return [word for word in words if word != "--cgroups=split"]


def test_a_container_has_what_a_process_would_have(tmp_path: pathlib.Path, environment: dict[str, str]) -> None:
    """Account, environment, secret, folders and nothing more; the secret is in no argument; it ends at SIGTERM."""
    for name in ("shop/releases", "shop/shared", "etc", "credentials"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/features.json").write_text("{}\n")
    shutil.chown(tmp_path / "shop/shared", USER, USER)
    secret = tmp_path / "credentials" / "key"
    secret.write_text(SENTINEL)
    secret.chmod(0o400)
    os.chown(secret, USER, USER)
    (tmp_path / "credentials").chmod(0o711)

    def podman(*argv: str) -> str:
        return subprocess.run(["podman", *argv], env=environment, check=True, capture_output=True, text=True).stdout.strip()

    rootfs(tmp_path / "rootfs.tar")
    podman("import", "--quiet", str(tmp_path / "rootfs.tar"), "localhost/shop:1")
    image = podman("image", "inspect", "--format={{ .Id }}", "localhost/shop:1")
    script = (
        f'cd {tmp_path}/shop/shared; id -u > user; printf %s "$TOKEN" > token; cat "$CREDENTIALS_DIRECTORY/key" "$FEATURES_FILE" > read; '
        "grep CapEff /proc/self/status > capabilities; touch /refused 2> refused; touch ready; while :; do sleep 1; done"
    )
    command = [word.replace("${RUNTIME_DIRECTORY}", environment["RUNTIME_DIRECTORY"]) for word in role_command(tmp_path)]
    assert SENTINEL not in json.dumps(command)
    subprocess.run([*command, "--name=shop-blue", image, "/bin/sh", "-c", script], env=environment, check=True, timeout=120)
    try:
        shared = tmp_path / "shop/shared"
        deadline = time.monotonic() + 60
        while not (shared / "ready").exists():
            assert time.monotonic() < deadline, podman("ps", "--all")
            time.sleep(0.1)
        assert (shared / "user").read_text() == f"{USER}\n"
        assert (shared / "token").read_text() == environment["TOKEN"]
        assert (shared / "read").read_text() == f"{SENTINEL}{{}}\n"
        assert (shared / "capabilities").read_text().split() == ["CapEff:", "0" * 16]
        assert "Read-only" in (shared / "refused").read_text()
        for arguments in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = arguments.read_bytes()
            except OSError:
                continue
            assert SENTINEL.encode() not in text or b"pytest" in text
        began = time.monotonic()
        podman("stop", "--ignore", "--time=60", "shop-blue")
        assert time.monotonic() - began < 50
    finally:
        podman("rm", "--force", "--ignore", "--time=0", "shop-blue")
