"""Objects in S3, one a checkpoint: with object lock nobody can change or remove a version of one before its time.

So versions are what is read: a newer one, or a mark that an object is deleted, hides none.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lockgate.witnesses.file import lines_of
from lockgate.witnesses.witness import Unreachable

#: How many objects are read: each is a call.
_MOST = 10


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket. The objects are named by year, month, day and time, so that the newest is found quickly."""

    bucket: str
    prefix: str
    #: For how long each object is locked, whoever asks (mode COMPLIANCE); None: as the bucket says.
    retain_days: int | None = None

    @property
    def name(self) -> str:
        """Its URI."""
        return f"s3://{self.bucket}/{self.prefix}"

    def recent(self) -> list[str]:
        """Return the content of the newest objects of the newest day."""
        with _storage() as client:
            return [
                line
                for version in self._newest(client)
                for line in lines_of(self._read(client, version).decode(errors="replace"))
            ]

    def keep(self, line: str, at: str, number: int) -> None:
        """Write an object."""
        day, _, time = at.partition("T")
        lock: dict[str, Any] = {}
        if self.retain_days is not None:
            until = datetime.now(UTC) + timedelta(days=self.retain_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        key = f"{self._below}{day.replace('-', '/')}/{time}-{number:012}.json"
        body = f"{line}\n".encode()
        with _storage() as client:
            client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json", **lock)

    @property
    def _below(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _newest(self, client: Any) -> list[Any]:
        below = self._below
        for _ in range(3):  # year, month, day
            folders = [folder for page in self._pages(client, below) for folder in page.get("CommonPrefixes", ())]
            if not folders:
                return []
            below = max(str(folder["Prefix"]) for folder in folders)
        versions = [one for page in self._pages(client, below) for one in page.get("Versions", ())]
        return sorted(versions, key=lambda one: (one["Key"], one["LastModified"]))[-_MOST:]

    def _read(self, client: Any, version: Any) -> bytes:
        found = client.get_object(Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"])
        return bytes(found["Body"].read())

    def _pages(self, client: Any, below: str) -> Iterator[Any]:
        yield from client.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=below, Delimiter="/"
        )


@contextmanager
def _storage() -> Iterator[Any]:
    """Talk to the storage; say what goes wrong with the code of its answer."""
    if importlib.util.find_spec("boto3") is None:
        raise Unreachable("s3:// needs boto3. Run: pip install 'lockgate[s3]'")
    import boto3  # noqa: PLC0415 - an extra
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    limits = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
    try:
        yield boto3.client("s3", config=limits)
    except ClientError as error:
        raise Unreachable(str(error.response.get("Error", {}).get("Code", "it refused"))) from None
    except BotoCoreError as error:
        raise Unreachable(type(error).__name__) from None
