"""Finding the place where the files of a version really are."""

import os
import posixpath
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.server.handlers import (
    _get_proxied_run_artifact_destination_path,
    _get_workspace_scoped_repo_path_if_enabled,
    _is_servable_proxied_run_artifact_root,
)
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.utils.file_utils import get_local_path_or_none
from mlflow.utils.uri import append_to_uri_path, validate_path_is_safe

from lockgate.access.principals import LOCKGATE, calling
from lockgate.registry.buckets import Bucket
from lockgate.registry.folders import Folder
from lockgate.registry.listing import Place, Unverifiable
from lockgate.settings import ARTIFACTS, real_location


def resolve(tracking: TrackingStore, location: str) -> str:
    """Return where files really are: a local path, or `s3://bucket/prefix`.

    Args:
        tracking: MLflow's tracking store, which knows where a run keeps its artifacts.
        location: Where MLflow says they are: also below a run, or behind the server itself.

    Raises:
        Unverifiable: if that is nowhere that Lockgate can read.
    """
    try:
        return _real(_through_run(tracking, location))
    except MlflowException:
        raise Unverifiable("MLflow can't tell where the version's files are: its run may be gone.") from None


def real_place(tracking: TrackingStore, location: str) -> str:
    """Return the one spelling of the place where files are: where they really are, if that can be told.

    It is found in the way in which MLflow finds the files that it serves, so that what is sealed is what is served.
    """
    try:
        return resolve(tracking, location)
    except Unverifiable:
        return location


def lies_below(tracking: TrackingStore, location: str, root: str) -> bool:
    """Say whether files are in a folder, or are that folder, wherever both really are."""
    inner, outer = real_place(tracking, location), real_place(tracking, root)
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def real_place_here(path: str) -> str:
    """Return the same for a path below the server's artifacts destination, as the artifact repository is given it."""
    try:
        return _below_destination(path)
    except Unverifiable:
        return posixpath.normpath("/" + path)


def place_at(real: str) -> Place:
    """Return the place at a location that `resolve` found."""
    if not real.startswith("s3://"):
        return Folder(real)
    bucket, _, prefix = real.removeprefix("s3://").partition("/")
    return Bucket(bucket, prefix)


def _through_run(tracking: TrackingStore, location: str) -> str:
    if urlsplit(location).scheme != "runs":
        return location
    run_id, path = RunsArtifactRepository.parse_runs_uri(location)
    with calling(LOCKGATE):  # where files are does not depend on who asks
        return str(append_to_uri_path(tracking.get_run(run_id).info.artifact_uri, path))


def _real(location: str) -> str:
    if not location or "\0" in location:
        raise Unverifiable("The version does not say where its files are.")
    if _is_servable_proxied_run_artifact_root(location):
        return _behind_the_server(location)
    local = _local(location)
    if local is not None:
        return os.path.realpath(local)
    scheme = urlsplit(location).scheme
    if scheme == "s3":
        return _s3(location)
    raise Unverifiable(f"Lockgate can't read {scheme}:// locations.")


def _behind_the_server(location: str) -> str:
    anchored = _get_proxied_run_artifact_destination_path(location)
    below = _get_workspace_scoped_repo_path_if_enabled(validate_path_is_safe(anchored)) or ""
    return _below_destination(below)


def _below_destination(path: str) -> str:
    destination = real_location(ARTIFACTS)
    local = _local(destination)
    if local is not None:
        return os.path.realpath(os.path.join(local, path.lstrip("/")))
    if urlsplit(destination).scheme == "s3":
        # Not read as a part of the URI: a key may hold what ends a URI's path.
        return posixpath.normpath(f"/{_s3(destination).removeprefix('s3://')}/{path}").replace("/", "s3://", 1)
    return _real(destination)


def _local(location: str) -> str | None:
    path: str | None = get_local_path_or_none(location)
    return path


def _s3(location: str) -> str:
    # As MLflow reads it: the prefix ends where a query would begin.
    parsed = urlsplit(location)
    return posixpath.join(f"s3://{parsed.netloc}", parsed.path.strip("/"))
