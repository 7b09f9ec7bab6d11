"""The thin twin over MLflow's artifact repositories: it notes who uploads, and lets callers read and write only what
belongs to experiments that their roles cover.
"""

import posixpath
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from typing import Any

import anyio
from mlflow.store.artifact.artifact_repo import (
    ArtifactRepository,
    MultipartDownloadMixin,
    MultipartUploadMixin,
    PresignedUploadMixin,
    StreamUploadMixin,
)
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from mlflow.utils.uri import get_uri_scheme

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.errors import BadInput, NotFound, Refused
from lockgate.registry.authorship import Authorship
from lockgate.registry.bounds import in_experiment
from lockgate.registry.places import real_place_here
from lockgate.registry.transaction import told_by_mlflow

#: Says in which experiments the files at a path lie.
Experiments = Callable[[str], Sequence[str]]


#: In bytes, as S3 has it for a key and file systems for a name.
_MAX_PATH, _MAX_NAME = 1024, 255


def govern(uri: str, authorship: Authorship, experiments: Experiments) -> ArtifactRepository:
    """Return MLflow's repository for a URI, with every way to write to it watched.

    Args:
        uri: The artifacts destination of the server.
        authorship: Where uploaders are noted.
        experiments: Asked by whose roles are bound to patterns.
    """
    build = get_registered_artifact_repositories()[get_uri_scheme(uri)]
    repository = build(uri)
    repository.__class__ = _governed(type(repository))
    repository.lockgate_authorship = authorship
    repository.lockgate_experiments = experiments
    return repository


def _governed(kind: type) -> type:
    # A repository says by its base classes what the server may ask of it, so ours has the same ones.
    parents: list[type] = [_Uploads, _Downloads]
    for mixin, watched in (
        (StreamUploadMixin, _Streams),
        (MultipartUploadMixin, _Multipart),
        (MultipartDownloadMixin, _PresignedDownloads),
        (PresignedUploadMixin, _Presigned),
    ):
        if issubclass(kind, mixin):
            parents.append(watched)
    return type(f"Governed{kind.__name__}", (*parents, kind), {})


def _check_length(path: str) -> None:
    """Refuse a path that no storage takes.

    Raises:
        BadInput: saying how long it may be.
    """
    written = path.encode(errors="surrogatepass")
    if len(written) > _MAX_PATH or any(len(name) > _MAX_NAME for name in written.split(b"/")):
        raise BadInput(f"An artifact's path has {_MAX_PATH} bytes at most, and each name in it {_MAX_NAME}.")


class _Watched:
    lockgate_authorship: Authorship
    lockgate_experiments: Experiments

    def _require(self, permission: Permission, path: str | None) -> None:
        """Refuse a caller whose roles don't cover the experiment that files belong to."""
        with told_by_mlflow():
            _check_length(path or "")
            caller = current_caller()
            if caller.principal.may(permission):
                return
            caller.require_somewhere(permission)
            within = self.lockgate_experiments(path or "")
            if not any(caller.principal.may(Permission.READ, name) for name in within):
                raise NotFound(f"No such artifact: '{path or ''}'")
            for name in within:
                if not caller.principal.may(permission, name):
                    raise Refused(in_experiment(caller.principal, permission, name))

    def _by_caller(self, folder: str | None, file: str = "") -> None:
        """Note who changes a file, or all of a folder, and refuse it where that belongs to an approved version."""
        with told_by_mlflow():
            self._require(Permission.WRITE, posixpath.join(folder or "", posixpath.basename(file)))
            self._refuse_if_sealed(folder, file)
            self.lockgate_authorship.note_folder(folder or "")

    def _refuse_if_sealed(self, folder: str | None, file: str) -> None:
        place = real_place_here(posixpath.join(folder or "", posixpath.basename(file)))
        with told_by_mlflow():
            self.lockgate_authorship.refuse_if_sealed(place, and_below=not file)


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


class _Downloads(_Watched):
    def list_artifacts(self, path: str | None = None) -> Any:
        self._require(Permission.READ, path)
        return super().list_artifacts(path)  # type: ignore[misc]

    def get_local_path(self, artifact_path: str) -> str | None:
        self._require(Permission.READ, artifact_path)
        found: str | None = super().get_local_path(artifact_path)  # type: ignore[misc]
        return found

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        self._require(Permission.READ, artifact_path)
        return str(super().download_artifacts(artifact_path, dst_path))  # type: ignore[misc]


class _Streams(_Watched):
    def log_artifact_from_stream(self, stream: Any, artifact_file_name: str, artifact_path: str | None = None) -> None:
        self._by_caller(artifact_path, artifact_file_name)
        ended = _Ending(stream, lambda: self._refuse_if_sealed(artifact_path, artifact_file_name))
        super().log_artifact_from_stream(ended, artifact_file_name, artifact_path)  # type: ignore[misc]

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        await anyio.to_thread.run_sync(self._by_caller, artifact_path, artifact_file_name)

        async def to_the_end() -> AsyncIterable[bytes]:
            async for chunk in chunks:
                yield chunk
            # It may have been approved while the upload went on, as slowly as somebody likes.
            await anyio.to_thread.run_sync(self._refuse_if_sealed, artifact_path, artifact_file_name)

        await super().log_artifact_from_async_stream(to_the_end(), artifact_file_name, artifact_path)  # type: ignore[misc]


class _Ending:
    """A stream that asks once more, when it has been read to its end, whether it may be written."""

    def __init__(self, stream: Any, at_end: Callable[[], None]) -> None:
        self._stream = stream
        self._at_end = at_end

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._stream.read(size)
        if not chunk or size < 0:
            self._at_end()
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self._at_end()


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


class _PresignedDownloads(_Watched):
    def get_download_presigned_url(self, artifact_path: str, expiration: int = 900) -> Any:
        self._require(Permission.READ, artifact_path)
        return super().get_download_presigned_url(artifact_path, expiration)  # type: ignore[misc]
