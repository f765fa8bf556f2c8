# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab hosts: real Debian hosts as containers that boot systemd, reached over SSH."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pathlib
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._lab.image import Image, build_image, image_exists
from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import LAB_LABEL, SPEC_LABEL, Runtime

# A host boots in 1 to 2 s on a quiet machine of 2 cores; eight at once on a busy one take longer.
BOOT_SECONDS = 90
APT_CACHE_PORT = 3142
INSTANCES = "fs.inotify.max_user_instances"
INSTANCES_EACH = 5
"""What the programs of a host that was booted take of it: 157 with 31 hosts, as /proc/*/fd tells. The kernel gives a user 128, and root is one user."""
INSTANCES_BESIDE = 64
"""What the machine's own programs may take."""
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Host:
    """A host that the lab should have: its name in the inventory, its fixed address, and what it boots."""

    name: str
    address: str
    image: Image


@dataclass(frozen=True)
class Lab:
    """A lab as it should be.

    Attributes:
        name: prefix of all its containers, and the name of its network.
        subnet: CIDR of the network; the engine takes the first address, the package cache the second.
        image: what the package cache runs in.
        hosts: the hosts to make.
        keys_dir: folder with a file of authorised SSH keys for each user (``ops``).
        cache_dir: folder that keeps downloaded packages from one lab to the next.
    """

    name: str
    subnet: str
    image: Image
    hosts: tuple[Host, ...]
    keys_dir: str
    cache_dir: str

    def container(self, host: str) -> str:
        """The container's name of a host."""
        return f"{self.name}-{host}"

    @property
    def cache_container(self) -> str:
        """The container that serves packages to all hosts."""
        return f"{self.name}-aptcache"

    @property
    def cache_address(self) -> str:
        """Address of the package cache."""
        return self.subnet.split("/", maxsplit=1)[0].rsplit(".", 1)[0] + ".2"

    @property
    def apt_cache_dir(self) -> str:
        """Folder of the packages that it keeps. Two daemons cannot share one, and two labs may run at a time."""
        return f"{self.cache_dir}/apt-{self.name}"


@dataclass(frozen=True)
class Found:
    """A container that exists: its state in the engine's words, and the fingerprint of the settings it was made with."""

    state: str
    spec: str


@dataclass(frozen=True)
class Action:
    """One step of a plan: a verb (``raise``, ``build``, ``create``, ``start``, ``replace``, ``remove``), what it is done to, and the sentence for people."""

    verb: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


def run_options(lab: Lab, runtime: Runtime, host: Host) -> list[str]:
    """The arguments of the engine's ``run`` for a host, without its labels."""
    options = [
        "--detach",
        "--name",
        lab.container(host.name),
        "--hostname",
        host.name,
        *runtime.boot_options(),
        # The hard limit of a machine may be lower than the engine's default, which then refuses to start.
        "--ulimit",
        "nofile=16384:16384",
        "--ulimit",
        "nproc=30000:30000",
        "--network",
        lab.name,
        "--ip",
        host.address,
        "--volume",
        f"{lab.keys_dir}:/etc/ssh/authorized_keys.d:ro",
        "--volume",
        f"{lab.cache_dir}/apt.conf.{lab.name}:/etc/apt/apt.conf.d/60lab-cache:ro",
        "--volume",
        f"{lab.cache_dir}/pip:/var/cache/pip",
    ]
    # What this machine trusts: behind an inspecting proxy a host needs it to reach PyPI (PIP_CERT).
    if os.path.exists(CA_BUNDLE):
        options += ["--volume", f"{CA_BUNDLE}:/etc/ssl/controller-ca.crt:ro"]
    for other in lab.hosts:
        if other.name != host.name:
            options += ["--add-host", f"{other.name}:{other.address}"]
    return [*options, host.image.name, "/sbin/init"]


def cache_options(lab: Lab) -> list[str]:
    """The arguments of the engine's ``run`` for the package cache."""
    return [
        "--detach",
        "--name",
        lab.cache_container,
        "--ulimit",
        "nofile=16384:16384",
        "--ulimit",
        "nproc=30000:30000",
        "--network",
        lab.name,
        "--ip",
        lab.cache_address,
        "--volume",
        f"{lab.apt_cache_dir}:/var/cache/apt-cacher-ng",
        lab.image.name,
        "/usr/sbin/apt-cacher-ng",
        "-c",
        "/etc/apt-cacher-ng",
        "ForeGround=1",
        f"Port:{APT_CACHE_PORT}",
        # A mirror that closes a connection is asked again this often; by default twice, and then an installation fails.
        "DlMaxRetries:20",
    ]


def fingerprint(options: t.Sequence[str]) -> str:
    """A short hash of the settings that a container is made with."""
    return hashlib.sha256("\0".join(options).encode()).hexdigest()[:16]


def plan_present(wanted: t.Mapping[str, str], found: t.Mapping[str, Found], missing: t.Sequence[Image], has_network: bool, lab: Lab) -> list[Action]:
    """What it takes to have every wanted container running.

    Args:
        wanted: container name to the fingerprint of its settings.
        found: containers of this lab that exist.
        missing: images that are not there.
        has_network: whether the network is there.
        lab: the lab as it should be.

    Raises:
        InvalidInput: a running host was made with other settings; it may hold data, so it is not replaced unasked.
    """
    actions = [Action("build", "image", image.name) for image in missing]
    if not has_network:
        actions.append(Action("create", "network", lab.name))
    for name, spec in wanted.items():
        current = found.get(name)
        if current is None:
            actions.append(Action("create", "container", name))
        elif current.state in ("created", "configured", "initialized", "dead", "removing"):
            # Left half-made by a run that was cut off: it never booted, so it holds nothing.
            actions.append(Action("replace", "container", name))
        elif current.spec != spec:
            raise InvalidInput(f"bring up lab host {name}", "it was made with other settings (image, address or list of hosts)", "run lab_down first")
        elif current.state == "paused":
            actions.append(Action("unpause", "container", name))
        elif current.state != "running":
            actions.append(Action("start", "container", name))
    return actions


def plan_limit(hosts: int, instances: int) -> list[Action]:
    """What it takes to have so many hosts boot, on a machine whose kernel gives root so many instances of inotify: with none left systemd does not start."""
    return [Action("raise", "limit", INSTANCES)] if instances < instances_for(hosts) else []


def instances_for(hosts: int) -> int:
    """The instances of inotify that so many hosts may take."""
    return INSTANCES_BESIDE + INSTANCES_EACH * hosts


def plan_absent(containers: t.Iterable[str], networks: t.Iterable[str]) -> list[Action]:
    """What it takes to leave nothing of a lab behind; images and the package cache are kept for the next one."""
    return [Action("remove", "container", name) for name in containers] + [Action("remove", "network", name) for name in networks]


def find_containers(runtime: Runtime, lab: str) -> dict[str, Found]:
    """The containers of a lab, by name."""
    found = {}
    for name in runtime.labelled("container", lab):
        for data in runtime.inspect_json(f"inspect {name}", "container", "inspect", name):
            found[name] = Found(state=data["State"]["Status"], spec=(data["Config"].get("Labels") or {}).get(SPEC_LABEL, ""))
    return found


def bring_up(runtime: Runtime, lab: Lab, check_mode: bool = False) -> list[Action]:
    """Make every host of a lab run, and wait until each has booted.

    Returns:
        The actions that were done, or in check mode would be done.
    """
    options = {lab.cache_container: cache_options(lab)}
    options.update({lab.container(host.name): run_options(lab, runtime, host) for host in lab.hosts})
    wanted = {name: fingerprint(argv) for name, argv in options.items()}
    networks = runtime.labelled("network", lab.name)
    images = {image.name: image for image in (lab.image, *(host.image for host in lab.hosts))}
    missing = [image for image in images.values() if not image_exists(runtime, image)]
    plan = plan_present(wanted, find_containers(runtime, lab.name), missing, lab.name in networks, lab)
    limit = pathlib.Path("/proc/sys", INSTANCES.replace(".", "/"))
    plan = plan_limit(len(wanted), int(limit.read_text(encoding="utf-8"))) + plan
    if check_mode or not plan:
        return plan
    for folder in (lab.apt_cache_dir, f"{lab.cache_dir}/pip"):
        os.makedirs(folder, exist_ok=True)
    os.chmod(lab.apt_cache_dir, 0o777)
    with open(f"{lab.cache_dir}/apt.conf.{lab.name}", "w", encoding="utf-8") as stream:
        stream.write(f'Acquire::http::Proxy "http://{lab.cache_address}:{APT_CACHE_PORT}";\n')
    for action in plan:
        if action.kind == "limit":
            raise_limit(limit, instances_for(len(wanted)))
        elif action.kind == "image":
            build_image(runtime, images[action.name])
        elif action.kind == "network":
            runtime.call(f"create network {lab.name}", "network", "create", "--subnet", lab.subnet, "--label", f"{LAB_LABEL}={lab.name}", lab.name)

    def apply(action: Action) -> None:
        doing = str(action)
        if action.verb in ("start", "unpause"):
            runtime.call(doing, action.verb, action.name)
            return
        if action.verb == "replace":
            runtime.call(doing, "rm", "--force", action.name)
        labels = ["--label", f"{LAB_LABEL}={lab.name}", "--label", f"{SPEC_LABEL}={wanted[action.name]}"]
        runtime.call(doing, "run", *labels, *options[action.name])

    # One after the other: the engine serialises them anyway, and the cache must be there first.
    for action in plan:
        if action.kind == "container":
            apply(action)
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda host: wait_until_booted(runtime, lab.container(host.name)), lab.hosts))
    return plan


def raise_limit(limit: pathlib.Path, number: int) -> None:
    """Set a limit of the kernel, until this machine boots again.

    Raises:
        MainstayError: the kernel does not let it be set from here.
    """
    try:
        limit.write_text(str(number), encoding="utf-8")
    except OSError as error:
        advice = "set it with sysctl on the machine itself, or have fewer hosts"
        raise MainstayError(f"raise {INSTANCES} to {number}", error.strerror or error, advice) from error


def wait_until_booted(runtime: Runtime, container: str) -> None:
    """Wait until systemd has finished booting and sshd has its keys.

    Raises:
        MainstayError: it has not within ``BOOT_SECONDS``; the message says the state last seen.
    """
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = runtime.call(f"ask {container} for its state", "exec", container, "systemctl", "is-system-running", check=False).stdout.strip()
        if state in ("running", "degraded") and host_key(runtime, container):
            return
        time.sleep(0.3)
    raise MainstayError(f"boot lab host {container}", f"after {BOOT_SECONDS} s its state is {state or 'unknown'}", f"look at: {runtime.name} logs {container}")


def host_key(runtime: Runtime, container: str) -> str:
    """The public ed25519 key of a host's sshd as the engine reads it, so that SSH need not trust the first answer; empty while there is none."""
    result = runtime.call(f"read the host key of {container}", "exec", container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub", check=False)
    return " ".join(result.stdout.split()[:2]) if result.returncode == 0 else ""


def take_down(runtime: Runtime, lab: str, check_mode: bool = False) -> list[Action]:
    """Remove every container and network of a lab, in whatever state they are.

    Returns:
        The actions that were done, or in check mode would be done.
    """
    plan = plan_absent(runtime.labelled("container", lab), runtime.labelled("network", lab))
    if check_mode:
        return plan
    containers = [action.name for action in plan if action.kind == "container"]
    for name in containers:
        runtime.call(f"unpause {name}", "unpause", name, check=False)
    if containers:
        # Without a time of grace: systemd in a container takes seconds to stop, and nothing of the lab is kept.
        grace = ["--time", "0"] if runtime.name == "podman" else []
        runtime.call(f"remove the hosts of lab {lab}", "rm", "--force", "--volumes", *grace, *containers)
    for action in plan:
        if action.kind == "network":
            runtime.call(str(action), "network", "rm", action.name)
    return plan
