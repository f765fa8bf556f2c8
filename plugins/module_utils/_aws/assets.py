# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files of a release in a bucket behind a distribution.

A file whose name holds a hash of its content never changes: browsers and CloudFront may keep it for a year ("immutable" of RFC 8246). Any other one is asked
for again at each use, and what has changed is invalidated. CloudFront compresses (Developer Guide, "Serve compressed files"), so files are stored as they are.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import mimetypes
import pathlib
import re
import time
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

IMMUTABLE = "public, max-age=31536000, immutable"
ALWAYS_ASK = "no-cache"
DIGEST = "sha256"
"""The name of an object's metadata that holds the hash of its content; an ETag is none where objects are encrypted by KMS."""
PARALLEL = 8
MOST_PATHS = 1000
"""More paths are invalidated by one that covers all: CloudFront takes 3,000 at a time, and asks for money for each beyond 1,000 a month."""
MORE_TYPES = {".woff2": "font/woff2", ".woff": "font/woff", ".mjs": "text/javascript", ".js": "text/javascript", ".webmanifest": "application/manifest+json",
              ".map": "application/json", ".svg": "image/svg+xml", ".avif": "image/avif", ".webp": "image/webp", ".wasm": "application/wasm"}
TEXT = ("text/", "application/json", "application/manifest+json")


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file to publish.

    Args:
        path: where it is.
        key: of its object.
        size: in bytes.
        hashed: whether its name holds a hash of its content.
        digest: SHA-256 of its content, in hexadecimal digits.
    """

    path: pathlib.Path
    key: str
    size: int
    hashed: bool
    digest: str

    @property
    def cache_control(self) -> str:
        """How long it may be kept."""
        return IMMUTABLE if self.hashed else ALWAYS_ASK

    @property
    def content_type(self) -> str:
        """What it is."""
        found = MORE_TYPES.get(self.path.suffix.lower()) or mimetypes.guess_type(self.path.name)[0] or "application/octet-stream"
        return f"{found}; charset=utf-8" if found.startswith(TEXT) else found


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do.

    Args:
        uploads: in this order: what pages refer to comes before the pages.
        paths: what to invalidate.
    """

    uploads: tuple[Asset, ...]
    paths: tuple[str, ...]


def collect(folder: pathlib.Path, prefix: str, pattern: str) -> list[Asset]:
    """Return the files below a folder.

    Raises:
        InvalidInput: it is no folder, holds no file, or the pattern is none.
    """
    doing = f"publish the files of {folder}"
    if not folder.is_dir():
        raise InvalidInput(doing, "there is no such folder", "give the folder with the built files")
    try:
        hashed = re.compile(pattern)
    except re.error as error:
        raise InvalidInput(doing, f"hashed_pattern is no regular expression: {error}", "mend it") from error
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            key = prefix + path.relative_to(folder).as_posix()
            found.append(Asset(path, key, len(content), bool(hashed.search(path.name)), hashlib.sha256(content).hexdigest()))
    if not found:
        raise InvalidInput(doing, "it holds no file", "build the files first")
    return found


def plan(assets: t.Sequence[Asset], sizes: t.Mapping[str, int], heads: t.Mapping[str, t.Mapping[str, t.Any]], wildcard: str) -> Plan:
    """Return what to upload and to invalidate.

    Args:
        assets: the files.
        sizes: bytes of each object that is there, by key.
        heads: content type, cache control and metadata of each such object without a hash in its name.
        wildcard: the path that covers all.

    Raises:
        InvalidInput: an object with a hash in its name has another content than the file: browsers would keep the old one for a year.
    """
    uploads = []
    for asset in assets:
        if asset.key not in sizes:
            uploads.append(asset)
        elif asset.hashed:
            if sizes[asset.key] != asset.size:
                cause = f"{asset.key} is there with {sizes[asset.key]} bytes, and the file has {asset.size}: its name is no hash of its content"
                raise InvalidInput("publish the files", cause, "see how the names are made, or narrow hashed_pattern")
        elif not same(asset, heads[asset.key]):
            uploads.append(asset)
    paths = sorted({"/" + urllib.parse.quote(asset.key) for asset in uploads if not asset.hashed})
    ordered = sorted(uploads, key=lambda asset: (not asset.hashed, asset.content_type.startswith("text/html"), asset.key))
    return Plan(tuple(ordered), tuple(paths) if len(paths) <= MOST_PATHS else (wildcard,))


def same(asset: Asset, head: t.Mapping[str, t.Any]) -> bool:
    """Tell whether an object is what a file would make it."""
    mine = (asset.digest, asset.cache_control, asset.content_type)
    return mine == (head.get("Metadata", {}).get(DIGEST), head.get("CacheControl"), head.get("ContentType"))


class Publisher:
    """The calls."""

    def __init__(self, storage: t.Any, network: t.Any, bucket: str) -> None:
        """Use boto3 clients with retries: of S3 and of CloudFront."""
        self._storage, self._network, self._bucket = storage, network, bucket

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the bytes of each object below a prefix.

        Raises:
            InvalidInput: there is no such bucket.
        """
        doing, found, more = f"list the bucket {self._bucket}", {}, {}
        while True:
            try:
                with calling(doing):
                    page = self._storage.list_objects_v2(Bucket=self._bucket, Prefix=prefix, aws_retry=True, **more)
            except AwsError as error:
                if error.code == "NoSuchBucket":
                    raise InvalidInput(doing, "there is no such bucket", "see whether its name and the region are right") from error
                raise
            found.update({row["Key"]: row["Size"] for row in page.get("Contents", [])})
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def heads(self, keys: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """Return what is known of objects."""
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            return dict(zip(keys, pool.map(self._head, keys), strict=True))

    def _head(self, key: str) -> dict[str, t.Any]:
        with calling(f"read the object {key}"):
            return dict(self._storage.head_object(Bucket=self._bucket, Key=key, aws_retry=True))

    def upload(self, assets: t.Sequence[Asset]) -> None:
        """Upload files: first those with hashed names, then those that pages refer to, last the pages."""
        ranks = sorted({self._rank(asset) for asset in assets})
        for rank in ranks:
            with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(self._put, [asset for asset in assets if self._rank(asset) == rank]))

    @staticmethod
    def _rank(asset: Asset) -> tuple[bool, bool]:
        return not asset.hashed, asset.content_type.startswith("text/html")

    def _put(self, asset: Asset) -> None:
        with calling(f"upload {asset.key}"), asset.path.open("rb") as content:
            self._storage.put_object(
                Bucket=self._bucket,
                Key=asset.key,
                Body=content,
                ContentType=asset.content_type,
                CacheControl=asset.cache_control,
                Metadata={DIGEST: asset.digest},
                aws_retry=True,
            )

    def invalidate(self, distribution: str, paths: t.Sequence[str], reference: str) -> str:
        """Have CloudFront forget paths, and return the id of that; the same reference does not do it twice."""
        batch = {"Paths": {"Quantity": len(paths), "Items": list(paths)}, "CallerReference": reference}
        with calling(f"invalidate {len(paths)} paths of {distribution}"):
            return str(self._network.create_invalidation(DistributionId=distribution, InvalidationBatch=batch, aws_retry=True)["Invalidation"]["Id"])

    def wait(self, distribution: str, invalidation: str, seconds: float, interval: float) -> None:
        """Wait until CloudFront has forgotten everywhere.

        Raises:
            MainstayError: it lasted too long.
        """
        end = time.monotonic() + seconds
        while True:
            with calling(f"read the invalidation {invalidation}"):
                status = self._network.get_invalidation(DistributionId=distribution, Id=invalidation, aws_retry=True)["Invalidation"]["Status"]
            if status == "Completed":
                return
            if time.monotonic() > end:
                raise MainstayError(f"wait for the invalidation {invalidation}", f"it is {status} after {seconds:g} s", "it goes on by itself; look again")
            time.sleep(interval)


def run(publisher: Publisher, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Publish what the options say, and return the module's result."""
    assets = collect(pathlib.Path(params["src"]), params["prefix"], params["hashed_pattern"])
    sizes = publisher.sizes(params["prefix"])
    heads = publisher.heads([asset.key for asset in assets if not asset.hashed and asset.key in sizes])
    todo = plan(assets, sizes, heads, f"/{params['prefix']}*")
    paths = todo.paths if params["distribution_id"] else ()
    invalidation = ""
    if not check_mode and todo.uploads:
        publisher.upload(todo.uploads)
        if paths:
            reference = hashlib.sha256("".join(asset.key + asset.digest for asset in todo.uploads).encode()).hexdigest()[:24] + f"-{time.time_ns()}"
            invalidation = publisher.invalidate(params["distribution_id"], paths, reference)
            if params["wait"]:
                publisher.wait(params["distribution_id"], invalidation, params["wait_timeout"], params["poll_interval"])
    actions = [f"upload {asset.key} ({'immutable' if asset.hashed else 'asked for at each use'})" for asset in todo.uploads]
    return {
        "changed": bool(todo.uploads),
        "actions": actions + ([f"invalidate {', '.join(paths)}"] if paths else []),
        "diff": {
            "before": {asset.key: heads.get(asset.key, {}).get("Metadata", {}).get(DIGEST, "") for asset in todo.uploads},
            "after": {asset.key: asset.digest for asset in todo.uploads},
        },
        "uploaded": [asset.key for asset in todo.uploads],
        "unchanged": len(assets) - len(todo.uploads),
        "invalidated": list(paths),
        "invalidation_id": invalidation,
    }
