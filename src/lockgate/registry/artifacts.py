"""The thin twin over MLflow's artifact repositories: it notes who uploads, and lets only contributors write."""

import posixpath
from collections.abc import AsyncIterable
from typing import Any

import anyio
from mlflow.store.artifact.artifact_repo import (
    ArtifactRepository,
    MultipartUploadMixin,
    PresignedUploadMixin,
    StreamUploadMixin,
)
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from mlflow.utils.uri import get_uri_scheme

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.registry.authorship import ARTIFACTS, Authorship, artifact_folder, place_here
from lockgate.registry.transaction import told_by_mlflow


def govern(uri: str, authorship: Authorship) -> ArtifactRepository:
    """Return MLflow's repository for a URI, with every way to write to it watched.

    Args:
        uri: The artifacts destination of the server.
        authorship: Where uploaders are noted.
    """
    build = get_registered_artifact_repositories()[get_uri_scheme(uri)]
    repository = build(uri)
    repository.__class__ = _governed(type(repository))
    repository.lockgate_authorship = authorship
    return repository


def _governed(kind: type) -> type:
    # A repository says by its base classes what the server may ask of it, so ours has the same ones.
    parents: list[type] = [_Uploads]
    for mixin, watched in (
        (StreamUploadMixin, _Streams),
        (MultipartUploadMixin, _Multipart),
        (PresignedUploadMixin, _Presigned),
    ):
        if issubclass(kind, mixin):
            parents.append(watched)
    return type(f"Governed{kind.__name__}", (*parents, kind), {})


class _Watched:
    lockgate_authorship: Authorship

    def _by_caller(self, folder: str | None, file: str = "") -> None:
        """Note who changes a file, or all of a folder, and refuse it where that belongs to an approved version."""
        place = place_here(posixpath.join(folder or "", posixpath.basename(file)))
        with told_by_mlflow():
            current_caller().require_somewhere(Permission.WRITE)
            self.lockgate_authorship.refuse_if_sealed(place, and_below=not file)
            self.lockgate_authorship.note(
                ARTIFACTS, artifact_folder(folder or "", self.lockgate_authorship.destination)
            )


class _Uploads(_Watched):
    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path, local_file)
        super().log_artifact(local_file, artifact_path)  # type: ignore[misc]

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path)
        super().log_artifacts(local_dir, artifact_path)  # type: ignore[misc]

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path)
        super().delete_artifacts(artifact_path)  # type: ignore[misc]


class _Streams(_Watched):
    def log_artifact_from_stream(self, stream: Any, artifact_file_name: str, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path, artifact_file_name)
        super().log_artifact_from_stream(stream, artifact_file_name, artifact_path)  # type: ignore[misc]

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        await anyio.to_thread.run_sync(self._by_caller, artifact_path, artifact_file_name)
        await super().log_artifact_from_async_stream(chunks, artifact_file_name, artifact_path)  # type: ignore[misc]


class _Multipart(_Watched):
    def create_multipart_upload(self, local_file: str, num_parts: int = 1, artifact_path: str | None = None) -> Any:
        self._by_caller(artifact_path, local_file)
        return super().create_multipart_upload(local_file, num_parts, artifact_path)  # type: ignore[misc]

    def complete_multipart_upload(
        self, local_file: str, upload_id: str, parts: Any = None, artifact_path: str | None = None
    ) -> None:
        self._by_caller(artifact_path, local_file)
        super().complete_multipart_upload(local_file, upload_id, parts, artifact_path)  # type: ignore[misc]

    def abort_multipart_upload(self, local_file: str, upload_id: str, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path, local_file)
        super().abort_multipart_upload(local_file, upload_id, artifact_path)  # type: ignore[misc]


class _Presigned(_Watched):
    def create_presigned_upload_url(self, artifact_path: str, expiration: int = 900) -> Any:
        self._by_caller(artifact_path)
        return super().create_presigned_upload_url(artifact_path, expiration)  # type: ignore[misc]
