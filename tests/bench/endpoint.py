# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 endpoint on loopback, which benchmarks store into."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import socket
import subprocess
import sys
import time
import typing as t

import boto3


@dataclasses.dataclass(frozen=True)
class S3Endpoint:
    """An S3 endpoint (moto's server) on loopback."""

    url: str
    access_key: str = "AKIABENCH"
    secret_key: str = "bench-on-loopback"

    def client(self) -> t.Any:
        """Return a boto3 client."""
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name="us-east-1")

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to be let in."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_DEFAULT_REGION": "us-east-1"}

    def store(self, bucket: str) -> dict[str, t.Any]:
        """Return the modules' option ``store`` for a bucket."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        return {"type": "s3", "bucket": bucket, "region": "us-east-1", "endpoint_url": self.url, **keys}

    def new_bucket(self, name: str) -> None:
        """Make an empty bucket; one of this name goes, with all that it holds."""
        client = self.client()
        with contextlib.suppress(client.exceptions.NoSuchBucket):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
                for item in page.get("Contents", []):
                    client.delete_object(Bucket=name, Key=item["Key"])
            client.delete_bucket(Bucket=name)
        client.create_bucket(Bucket=name)

    def bytes_in(self, bucket: str) -> int:
        """Return the bytes of all objects of a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sum(item["Size"] for page in pages for item in page.get("Contents", []))


@contextlib.contextmanager
def s3_endpoint(folder: pathlib.Path) -> t.Iterator[S3Endpoint]:
    """Run moto's server, which keeps what it is sent in files below ``folder``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [str(pathlib.Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(folder)}, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError("moto's server did not start")
                time.sleep(0.1)
            yield S3Endpoint(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
