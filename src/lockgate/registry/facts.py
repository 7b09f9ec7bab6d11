"""Gathering evidence: what MLflow's tables and files say about a version, and who Lockgate saw shaping it."""

import hashlib
import json
import posixpath
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.server.handlers import (
    _get_artifact_repo_mlflow_artifacts,
    _get_artifact_repository_for_uri,
    _get_proxied_run_artifact_destination_path,
    _get_workspace_scoped_repo_path_if_enabled,
    _is_servable_proxied_run_artifact_root,
)
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from sqlalchemy.orm import Session

from lockgate.access.principals import LOCKGATE, calling
from lockgate.database import authors
from lockgate.database.identities import Model, Version
from lockgate.errors import Conflict
from lockgate.evidence.manifest import Artifacts, Hashing
from lockgate.evidence.record import NOT_LOOKED_AT, Evidence, Provenance
from lockgate.registry.authorship import ARTIFACTS, LOGGED_MODEL, RUN, artifact_folder, logged_models_in
from lockgate.registry.places import lies_below
from lockgate.registry.runs import KnownRun, read_run
from lockgate.registry.versions import KnownVersion, read_version

MAX_MODEL_FILE = 1_000_000


@dataclass(frozen=True)
class ModelFile:
    """What the `MLmodel` file beside a version's artifacts says, as far as evidence needs it."""

    #: `read`, `missing` (nothing there) or `unreadable` (something is, and it is no `MLmodel`).
    state: str = "missing"
    signature: dict[str, Any] | None = None
    has_input_example: bool = False
    sha256: str = ""


UNREADABLE = ModelFile("unreadable")


@dataclass(frozen=True)
class Files:
    """What is known of a version's files, looked at outside of any transaction: they may be far away."""

    artifacts: Artifacts = NOT_LOOKED_AT
    model_file: ModelFile = ModelFile()
    #: Logged models whose files MLflow lays over those of the run; None if nobody looked.
    laid_over: tuple[LoggedModel, ...] | None = None
    #: The version's storage location when they were looked at; nothing if nobody looked.
    location: str = ""

    @property
    def progress(self) -> str:
        """How far hashing has come; nothing if it is done."""
        return self.artifacts.reason if self.artifacts.state is Hashing.PENDING else ""


def read_model_file(location: str) -> ModelFile:
    """Read the `MLmodel` file of a version, which whoever uploaded it may have written by hand.

    Args:
        location: Where the version's files are, not by way of a run: `runs:/...` is nothing here.
    """
    if urlparse(location).scheme == "runs":
        return ModelFile()  # There is no such run; MLflow's own repository would ask this server by HTTP.
    try:
        repository, path = _locate(location, "MLmodel")
        with tempfile.TemporaryDirectory() as folder:
            with calling(LOCKGATE):  # evidence does not depend on who looks
                local = Path(repository.download_artifacts(path, folder))
            if local.stat().st_size > MAX_MODEL_FILE:
                return UNREADABLE
            content = local.read_bytes()
    except Exception:  # noqa: BLE001 - repositories raise whatever their storage's library raises
        return ModelFile()
    return replace(parse_model_file(content), sha256=hashlib.sha256(content).hexdigest())


def parse_model_file(text: str | bytes) -> ModelFile:
    """Read the text of an `MLmodel` file. Aliases, with which little text can mean a lot, are not followed."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)):
            return UNREADABLE
        content = yaml.load(text, yaml.CSafeLoader)
        signature = content.get("signature")
        # MLflow writes texts only; whatever is not JSON is no signature.
        known = json.loads(json.dumps(signature, allow_nan=False)) if isinstance(signature, dict) else None
        return ModelFile("read", known, bool(content.get("saved_input_example_info")))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return UNREADABLE


def _locate(storage_location: str, file: str) -> tuple[ArtifactRepository, str]:
    if _is_servable_proxied_run_artifact_root(storage_location):
        path = _get_proxied_run_artifact_destination_path(storage_location, file)
        return _get_artifact_repo_mlflow_artifacts(), _get_workspace_scoped_repo_path_if_enabled(path)
    return _get_artifact_repository_for_uri(storage_location), file


def check_location(files: Files, known: KnownVersion) -> None:
    """Refuse files that were looked at where the version's files lay before.

    Raises:
        Conflict: if they were.
    """
    if files.location and files.location != known.location:
        raise Conflict("Somebody else changed where the files of this version are, at the same moment. Look again.")


def gather(
    session: Session,
    tracking: TrackingStore,
    model: Model,
    version: Version,
    files: Files,
) -> Evidence:
    """Return the evidence about a version as it is now, with who shaped it.

    Args:
        session: The transaction.
        tracking: MLflow's tracking store, which has the run.
        model: The version's model.
        version: The version.
        files: What is known of its files.

    Raises:
        Conflict: if those are not its files any more.
        NotFound: if the version is gone.
    """
    known = read_version(session, model.workspace, model.name, version.number)
    check_location(files, known)
    run = read_run(tracking, known.run_id)
    destination = tracking.authorship.destination
    laid_over = files.laid_over if files.laid_over is not None else _named_by_run(tracking, run, known)
    things = [*_made_of(known, run, destination), *_made_with(laid_over, destination)]
    makers = authors.makers(session, version.id, things)
    origin = _origin(tracking, known, run)
    return Evidence(
        number=version.number,
        created_at=known.created_at,
        source=known.source,
        run_id=known.run_id,
        description=known.description,
        version_tags=known.tags,
        model_tags=known.model_tags,
        provenance=origin,
        artifacts=_settled(files.artifacts),
        model_file=files.model_file.state,
        signature=files.model_file.signature,
        has_input_example=files.model_file.has_input_example,
        registrar=makers.registrar,
        authors=makers.authors,
        **(_run_facts(known, run, laid_over) if run is not None and origin is Provenance.OWN else {}),
    )


def _settled(artifacts: Artifacts) -> Artifacts:
    """Leave out how far hashing has come: that is no evidence."""
    return replace(artifacts, reason="") if artifacts.state is Hashing.PENDING else artifacts


def _origin(tracking: TrackingStore, known: KnownVersion, run: KnownRun | None) -> Provenance:
    """Say whether a version's files lie where its run, or a logged model of its run, keeps them.

    MLflow checks the like only where the files are local or go through the server, and not for `models:/m-...`.
    """
    if run is None:
        return Provenance.NO_RUN
    location = known.location
    if urlparse(location).scheme == "runs":
        of_run, _ = RunsArtifactRepository.parse_runs_uri(location)
        return Provenance.OWN if of_run == known.run_id else Provenance.FOREIGN
    if lies_below(tracking, location, run.artifact_uri):
        return Provenance.OWN
    for model_id in logged_models_in(filter(None, (known.source, known.storage_location))):
        logged = _logged_model(tracking, model_id)
        is_runs = logged is not None and logged.source_run_id == known.run_id
        if logged is not None and is_runs and lies_below(tracking, location, logged.artifact_location):
            return Provenance.OWN
    return Provenance.FOREIGN


def _logged_model(tracking: TrackingStore, model_id: str) -> LoggedModel | None:
    try:
        with calling(LOCKGATE):  # evidence does not depend on who looks
            return tracking.get_logged_model(model_id)
    except MlflowException:
        return None


def _run_facts(known: KnownVersion, run: KnownRun, laid_over: Iterable[LoggedModel]) -> dict[str, Any]:
    others = _metrics_of_other_models(known, run, laid_over)
    return {
        "metrics": {name: value for name, value in run.metrics.items() if name not in others},
        "params": run.params,
        "tags": run.tags,
        "datasets": run.datasets,
    }


def _metrics_of_other_models(known: KnownVersion, run: KnownRun, laid_over: Iterable[LoggedModel]) -> set[str]:
    """Return the metrics that the run logged for other models than this one: a run may train several."""
    locations = [location for location in (known.source, known.storage_location) if location]
    mine = {*logged_models_in(locations), *(logged.model_id for logged in laid_over)}
    of_mine = {name for name, model_id in run.metrics_of_models if model_id in mine}
    return {name for name, _ in run.metrics_of_models} - of_mine


def _made_with(laid_over: Iterable[LoggedModel], destination: str) -> list[tuple[str, str]]:
    found = list(laid_over)
    of_model = [(LOGGED_MODEL, logged.model_id) for logged in found]
    return [*of_model, *((ARTIFACTS, artifact_folder(logged.artifact_location, destination)) for logged in found)]


def _named_by_run(tracking: TrackingStore, run: KnownRun | None, known: KnownVersion) -> list[LoggedModel]:
    """Return the logged models that `runs:/RUN/NAME` locations name."""
    found = []
    for location in dict.fromkeys((known.source, known.storage_location)):
        if run is not None and urlparse(location).scheme == "runs":
            _, path = RunsArtifactRepository.parse_runs_uri(location)
            logged = logged_model_named(tracking, run.experiment_id, run.id, (path or "").partition("/")[0])
            found += [logged] if logged else []
    return found


def logged_model_named(tracking: TrackingStore, experiment_id: str, run_id: str, name: str) -> LoggedModel | None:
    """Return the logged model that MLflow takes `runs:/RUN/NAME` for: the newest of that name in the run."""
    if not name or "'" in name:
        return None  # No filter of MLflow's can hold it, and MLflow's own client finds nothing either.
    token: str | None = None
    while True:
        with calling(LOCKGATE):  # evidence does not depend on who looks
            page = tracking.search_logged_models(
                experiment_ids=[experiment_id], filter_string=f"name = '{name}'", page_token=token
            )
        for logged in page:
            if logged.source_run_id == run_id:
                return logged
        token = page.token
        if not token:
            return None


def _made_of(known: KnownVersion, run: KnownRun | None, destination: str) -> list[tuple[str, str]]:
    things = [(RUN, known.run_id)]
    for uri in (known.source, known.storage_location, run.artifact_uri if run else ""):
        path = urlparse(uri).path
        folder = artifact_folder(uri, destination)
        things.append((ARTIFACTS, folder))
        things += [(LOGGED_MODEL, part) for part in folder.split("/") if part.startswith("m-")]
        if uri.startswith("models:/m-"):
            things.append((LOGGED_MODEL, posixpath.basename(path)))
    return list(dict.fromkeys(things))
