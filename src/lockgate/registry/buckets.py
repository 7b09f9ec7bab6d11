"""Files in S3 or storage that speaks its protocol. boto3 is an extra: `pip install 'lockgate[s3]'`."""

import importlib.util
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from lockgate.evidence.manifest import shown_path
from lockgate.registry.listing import (
    CHUNK,
    MOST_FILES,
    TOO_MANY,
    Changed,
    Listed,
    Unreachable,
    Unverifiable,
    check_path,
)

#: An object that was changed or removed since it was listed.
_OTHER = ("PreconditionFailed", "NoSuchKey", "404", "412")
_UNVERSIONED = "null"


@dataclass(frozen=True)
class Bucket:
    """The objects below a prefix; or the one object of that name, if there are none below it.

    An object's content is never edited, only replaced as a whole. The mark is its ETag (for a simple upload the MD5 of
    the content), size and time of change, and its version if the bucket keeps versions. While it is read, the storage
    is told the ETag and gives no other.

    What this does not prove: who can make two files with the same MD5 and size, and swaps them within
    one second, is not seen, unless the bucket keeps versions. Turn versioning on.
    """

    name: str
    prefix: str

    def files(self) -> tuple[Listed, ...]:
        """List the objects."""
        with self._storage() as client:
            below = f"{self.prefix}/" if self.prefix else ""
            found = _listed(client, below)
            if not found and self.prefix:
                found = [one for one in _listed(client, self.prefix) if one["Key"] == self.prefix]
                below = self.prefix.rpartition("/")[0] + "/" if "/" in self.prefix else ""
        files = tuple(sorted(_as_listed(one, one["Key"].removeprefix(below)) for one in found))
        for file in files:
            check_path(file.path)
        return files

    def read(self, file: Listed) -> Iterator[bytes]:
        """Read an object chunk by chunk, if it is the one that was listed."""
        etag, version, _, key = file.mark.split(" ", 3)
        with self._storage(file) as client:
            answer = client.get(Key=key, IfMatch=etag)
            if version not in (_UNVERSIONED, answer.get("VersionId", version)):
                raise Changed
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(CHUNK)

    @contextmanager
    def _storage(self, file: Listed | None = None) -> Iterator["_Client"]:
        """Talk to the storage; say what goes wrong with the code of its answer, and nothing of how we got there."""
        if importlib.util.find_spec("boto3") is None:
            raise Unverifiable("Lockgate can't read s3:// locations without boto3. Run: pip install 'lockgate[s3]'")
        from botocore.exceptions import (  # noqa: PLC0415 - an extra
            BotoCoreError,
            ClientError,
            EndpointConnectionError,
            HTTPClientError,
        )

        what = f"The file {shown_path(file.path)}" if file is not None else "The bucket"
        try:
            yield _Client(self.name)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if file is not None and code in _OTHER:
                raise Changed from None
            said = f"{what} can't be read: the storage answered {code or 'with an error'}."
            raise (Unreachable(said) if code in _FOR_NOW else Unverifiable(said)) from None
        except (HTTPClientError, EndpointConnectionError) as error:
            raise Unreachable(f"The storage can't be reached ({type(error).__name__}).") from None
        except (BotoCoreError, ValueError) as error:
            raise Unverifiable(f"{what} can't be read ({type(error).__name__}).") from None


#: What storages answer that is over in a while.
_FOR_NOW = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException"}
    | {"RequestLimitExceeded", "500", "502", "503", "504"}
)
#: What storages answer that know no versions, or to those who may not list them.
_NO_VERSIONS = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed", "403", "405", "501"})


class _Client:
    """MLflow's own S3 client, with all its settings, for one bucket."""

    def __init__(self, bucket: str) -> None:
        repository = S3ArtifactRepository(f"s3://{bucket}")
        self._client = repository._get_s3_client()
        self._always = {"Bucket": bucket, **repository._bucket_owner_params}

    def get(self, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get_object(**self._always, **request)
        return answer

    def pages(self, operation: str, prefix: str) -> Iterator[dict[str, Any]]:
        yield from self._client.get_paginator(operation).paginate(**self._always, Prefix=prefix)


def _listed(client: _Client, prefix: str) -> list[dict[str, Any]]:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - an extra

    try:
        pages = client.pages("list_object_versions", prefix)
        return _collected(one for page in pages for one in page.get("Versions", []) if one["IsLatest"])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _NO_VERSIONS:
            raise
        # Not every storage knows versions, and who may list objects may not always list their versions.
        pages = client.pages("list_objects_v2", prefix)
        return _collected(one for page in pages for one in page.get("Contents", []))


def _collected(found: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    collected: list[dict[str, Any]] = []
    for one in found:
        # What consoles leave behind for an empty folder; MLflow ignores it too.
        if one["Key"].endswith("/") and one["Size"] == 0:
            continue
        collected.append(one)
        if len(collected) > MOST_FILES:
            raise Unverifiable(TOO_MANY)
    return collected


def _as_listed(one: dict[str, Any], path: str) -> Listed:
    at = one["LastModified"].timestamp()
    mark = f"{one['ETag']} {one.get('VersionId', _UNVERSIONED)} {at} {one['Key']}"
    return Listed(path, int(one["Size"]), mark)
