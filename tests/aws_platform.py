# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook aws_platform.yml on a cloud of the tests."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import typing as t

from cloud import REGION, Cloud, cloud
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from policies import key_of
from processes import kill_marked

ROOT = pathlib.Path(__file__).resolve().parents[1]
ACCOUNT, STANDBY, EDGE = "123456789012", "eu-west-1", "us-east-1"
NAME = "shop"
PATIENCE = 900
RUN_VARIABLE = "MAINSTAY_TEST_RUN"


def certificate(running: Cloud, region: str) -> str:
    """Import a certificate and return its ARN."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    content = signed.public_bytes(serialization.Encoding.PEM)
    return str(running.client("acm", region=region).import_certificate(Certificate=content, PrivateKey=private)["CertificateArn"])


@dataclasses.dataclass
class Done:
    """A run of the playbook."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks have changed something."""
        found = re.search(r"changed=(\d+)", self.output)
        assert found, self.output
        return int(found[1])

    @property
    def words(self) -> str:
        """The output in one line."""
        return re.sub(r"\s+", " ", self.output)


def start_playbook(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a playbook of the collection, in a session of its own; all that it starts here knows its number by ``RUN_VARIABLE``."""
    program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1", RUN_VARIABLE: secrets.token_hex(8)}
    argv = [program, *arguments, str(ROOT / f"playbooks/{name}.yml")]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def power_off(process: subprocess.Popen[str]) -> None:
    """SIGKILL a playbook with all that it has started, as the loss of the controller's power does.

    A module that works for long has a supervisor, which would end it in order when nobody follows it any more.
    """
    environment = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    kill_marked(next(each for each in environment if each.startswith(RUN_VARIABLE.encode())).decode())


def finish_playbook(process: subprocess.Popen[str], patience: float = PATIENCE) -> Done:
    """Wait for a playbook; one that takes longer than so many seconds is killed."""
    try:
        output, _nothing = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        power_off(process)
        process.wait()
        raise
    return Done(process.returncode, output)


@dataclasses.dataclass
class Platform:
    """The playbook, and the cloud that it works on."""

    cloud: Cloud
    folder: pathlib.Path
    variables: dict[str, t.Any]

    def __call__(self, *arguments: str, **more: t.Any) -> Done:
        """Run the playbook."""
        path = self.folder / "vars.json"
        path.write_text(json.dumps({**self.variables, **more}))
        return finish_playbook(start_playbook("aws_platform", "-i", "localhost,", "-e", f"@{path}", *arguments))

    def deploy(self, *arguments: str, **more: t.Any) -> Done:
        """Run the playbook deploy for the platform's application, of which the inventory says nothing else than for the platform."""
        access = {**self.variables["aws_platform_access"], "access_key": key_of("ecs_app")}
        variables = {**self.variables, "aws_platform_access": access, "ansible_connection": "local", "ecs_app_report_dir": str(self.folder), **more}
        path = self.folder / "hosts.json"
        path.write_text(json.dumps({"all": {"children": {"app": {}, "postgres": {}, "ecs": {"hosts": {"platform": variables}}}}}))
        return finish_playbook(start_playbook("deploy", "-i", str(path), *arguments))

    def outputs(self, stack: str, region: str = REGION) -> dict[str, str]:
        """Return the outputs of a stack."""
        row = self.cloud.client("cloudformation", region=region).describe_stacks(StackName=f"{NAME}-{stack}")["Stacks"][0]
        return {each["OutputKey"]: each["OutputValue"] for each in row.get("Outputs", [])}

    def stacks(self) -> dict[str, str]:
        """Return the states of all stacks."""
        rows = [row for region in (REGION, STANDBY, EDGE) for row in self.cloud.client("cloudformation", region=region).describe_stacks()["Stacks"]]
        return {row["StackName"]: row["StackStatus"] for row in rows}

    @property
    def rule(self) -> dict[str, t.Any]:
        """The rule of production."""
        rows = self.cloud.client("elbv2").describe_rules(ListenerArn=self.outputs("web")["ProductionListener"])["Rules"]
        return dict(next(row for row in rows if not row["IsDefault"]))

    @property
    def weights(self) -> dict[str, int]:
        """The weights of production, by colour."""
        groups = {self.outputs("web")[f"{colour}Group"]: colour.lower() for colour in ("Blue", "Green")}
        return {groups[row["TargetGroupArn"]]: row["Weight"] for row in self.rule["Actions"][0]["ForwardConfig"]["TargetGroups"]}


@contextlib.contextmanager
def platform_on(folder: pathlib.Path, **more: t.Any) -> t.Iterator[Platform]:
    """Yield the playbook with a new cloud, with everything that it can make.

    Args:
        folder: for its variables.
        more: variables.
    """
    with cloud() as running:
        variables = {
            "ansible_python_interpreter": sys.executable,
            "aws_platform_hosts": "localhost",
            "aws_platform_name": NAME,
            "aws_platform_region": REGION,
            "aws_platform_standby_region": STANDBY,
            "aws_platform_access": {"endpoint_url": running.endpoint_url, "access_key": key_of("aws_platform"), "secret_key": "SentinelAWS"},
            "aws_platform_image": "app:v1",
            "aws_platform_container_port": 8080,
            "aws_platform_certificate_arn": certificate(running, REGION),
            "aws_platform_cdn": True,
            "aws_platform_cdn_certificate_arn": certificate(running, EDGE),
            "aws_platform_cdn_names": ["shop.example.com"],
            "aws_platform_cdn_origin": "origin.example.com",
            "aws_platform_drain_seconds": 10,
            "aws_platform_stop_timeout": 10,
            "aws_platform_alarm_email": "ops@example.com",
            "aws_platform_verify_delay": 1,
            "aws_platform_verify_retries": PATIENCE,
            **more,
        }
        yield Platform(running, folder, variables)
