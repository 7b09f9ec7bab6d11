"""What MLflow loads as its stores and artifact repository, for URIs that begin with `lockgate:`."""

import os

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.constants import (
    BACKEND_STORE_URI_ENV_VAR,
    READ_REPLICA_BACKEND_STORE_URI_ENV_VAR,
    REGISTRY_STORE_URI_ENV_VAR,
)
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from lockgate.access.principals import LOCKGATE, calling
from lockgate.database.engine import engine_for, real_uri
from lockgate.registry import artifacts
from lockgate.registry.authorship import Authorship
from lockgate.registry.store import GovernedStore, WorkspaceGovernedStore
from lockgate.registry.tracking import GovernedTrackingStore, WorkspaceGovernedTrackingStore
from lockgate.settings import SCHEME
from lockgate.workflow.gate import PolicyGate


def registry_store(store_uri: str) -> GovernedStore:
    """Return the governed registry store over the database that follows the scheme."""
    kind = WorkspaceGovernedStore if MLFLOW_ENABLE_WORKSPACES.get() else GovernedStore
    return kind(_real(store_uri), PolicyGate())


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> GovernedTrackingStore:
    """Return the governed tracking store over the database that follows the scheme."""
    kind = WorkspaceGovernedTrackingStore if MLFLOW_ENABLE_WORKSPACES.get() else GovernedTrackingStore
    replica = os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    # MLflow may create the default experiment here, before anybody calls.
    with calling(LOCKGATE):
        return kind(_real(store_uri), artifact_uri or "./mlruns", _authorship(), replica)


def artifact_repository(artifact_uri: str) -> ArtifactRepository:
    """Return the governed repository over the one that follows the scheme."""
    return artifacts.govern(artifact_uri.removeprefix(SCHEME), _authorship())


def _real(uri: str) -> str:
    return real_uri(uri.removeprefix(SCHEME))


_authorships: dict[str, Authorship] = {}


def _authorship() -> Authorship:
    uri = os.environ.get(REGISTRY_STORE_URI_ENV_VAR) or os.environ[BACKEND_STORE_URI_ENV_VAR]
    return _authorships.setdefault(uri, Authorship(engine_for(_real(uri))))
