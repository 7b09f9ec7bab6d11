"""Looking at a version's files before the transaction begins: they may be far away, and many."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.utils.uri import append_to_uri_path

from lockgate.evidence.manifest import Artifacts, Hashing
from lockgate.registry.facts import (
    MAX_MODEL_FILE,
    UNREADABLE,
    Files,
    ModelFile,
    logged_model_named,
    read_model_file,
)
from lockgate.registry.places import real_place
from lockgate.registry.runs import place_of_run
from lockgate.registry.transaction import reading
from lockgate.registry.versions import location_of
from lockgate.workflow.hashing import look_at
from lockgate.workflow.stores import Stores

_MODEL_FILE = "MLmodel"


def look_at_files(stores: Stores, name: str, version: int) -> Files:
    """Return what is known of a version's files; nothing if there is no such version."""
    with reading(stores.registry.engine) as session:
        location = location_of(session, stores.registry.workspace, name, version)
    return files_at(stores, location)


def files_at(stores: Stores, location: str) -> Files:
    """Return what is known of the files at a version's storage location; nothing if there is none."""
    if not location:
        return Files()
    root, *rest = locations_of(stores, location)
    artifacts = look_at(stores, root.uri)
    for above in rest:
        artifacts = _over(artifacts, _below(look_at(stores, above.uri), above.below))
    laid_over = tuple(above.of for above in rest if above.of is not None)
    return replace(_with_model_file(root.uri, artifacts, laid_over), location=location)


@dataclass(frozen=True)
class Location:
    """A place where MLflow finds files of a version, and the folder below the version's own where it lays them."""

    uri: str
    below: str = ""
    #: The logged model whose files they are.
    of: LoggedModel | None = None


def places_of(stores: Stores, location: str) -> list[str]:
    """Return the one spelling of each place where MLflow would find a version's files."""
    return [real_place(stores.tracking, place.uri) for place in locations_of(stores, location)]


def locations_of(stores: Stores, location: str) -> list[Location]:
    """Return the locations behind a version's storage location.

    It is one, but for `runs:/RUN/NAME/rest`: there MLflow takes the run's folder, and lays what the run's logged model
    of that name has in `rest` into the folder `NAME/rest` below
    (`mlflow.store.artifact.runs_artifact_repo.RunsArtifactRepository`, of a whole `runs:/` location).
    """
    if urlsplit(location).scheme != "runs":
        return [Location(location)]
    try:
        run_id, path = RunsArtifactRepository.parse_runs_uri(location)
    except MlflowException:
        return [Location(location)]
    run = place_of_run(stores.tracking, run_id)
    if run is None:
        return [Location(location)]
    of_run = Location(str(append_to_uri_path(run.artifact_uri, path or "")))
    name, _, rest = (path or "").partition("/")
    logged = logged_model_named(stores.tracking, run.experiment_id, run_id, name) if path else None
    if logged is None:
        return [of_run]
    of_model = str(append_to_uri_path(logged.artifact_location, rest)) if rest else logged.artifact_location
    return [of_run, Location(of_model, path, logged)]


def _below(found: Artifacts, folder: str) -> Artifacts:
    return replace(found, files=tuple(replace(file, path=f"{folder}/{file.path}") for file in found.files))


def _over(below: Artifacts, above: Artifacts) -> Artifacts:
    """Lay the files of one place over those of another."""
    for part in (below, above):
        if part.state is not Hashing.HASHED:
            return part
    files = {file.path: file for file in (*below.files, *above.files)}
    return Artifacts(Hashing.HASHED, tuple(files[path] for path in sorted(files)))


def _with_model_file(location: str, artifacts: Artifacts, laid_over: tuple[LoggedModel, ...]) -> Files:
    """Add the `MLmodel` file as whoever loads the version finds it: at the root of its files."""
    if artifacts.state is Hashing.PENDING:
        return Files(artifacts, laid_over=laid_over)
    if artifacts.state is Hashing.UNVERIFIABLE:
        return Files(artifacts, read_model_file(location), laid_over)
    known = next((file for file in artifacts.files if file.path == _MODEL_FILE), None)
    if known is None:
        return Files(artifacts, ModelFile(), laid_over)
    if known.size > MAX_MODEL_FILE:
        return Files(artifacts, UNREADABLE, laid_over)
    if known.sha256 not in _read_before:
        read = read_model_file(location)
        if read.sha256 != known.sha256:
            return Files(Artifacts(Hashing.PENDING, reason="the MLmodel file could not be read"), laid_over=laid_over)
        if len(_read_before) >= _REMEMBERED:
            _read_before.clear()
        _read_before[known.sha256] = read
    return Files(artifacts, _read_before[known.sha256], laid_over)


_REMEMBERED = 1_000
#: What `MLmodel` files said, by their SHA-256: the same bytes say the same.
_read_before: dict[str, ModelFile] = {}
