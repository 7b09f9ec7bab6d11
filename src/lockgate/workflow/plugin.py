"""What MLflow loads as its stores and artifact repository, for what it knows as `lockgate:...`."""

import functools
import os
from collections.abc import Sequence

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from lockgate.access.principals import LOCKGATE, calling
from lockgate.database.engine import engine_for, real_uri
from lockgate.registry import artifacts
from lockgate.registry.authorship import Authorship
from lockgate.registry.experiments import names_at
from lockgate.registry.store import GovernedStore, WorkspaceGovernedStore
from lockgate.registry.tracking import GovernedTrackingStore, WorkspaceGovernedTrackingStore
from lockgate.settings import ARTIFACTS, REGISTRY, real_location
from lockgate.workflow.gate import PolicyGate
from lockgate.workflow.stores import stores


def registry_store(store_uri: str) -> GovernedStore:
    """Return the governed registry store over the database that the name stands for."""
    kind = WorkspaceGovernedStore if MLFLOW_ENABLE_WORKSPACES.get() else GovernedStore
    return kind(real_uri(real_location(store_uri)), PolicyGate())


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> GovernedTrackingStore:
    """Return the governed tracking store over the database that the name stands for."""
    kind = WorkspaceGovernedTrackingStore if MLFLOW_ENABLE_WORKSPACES.get() else GovernedTrackingStore
    replica = os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    # MLflow may create the default experiment here, before anybody calls.
    with calling(LOCKGATE):
        return kind(real_uri(real_location(store_uri)), artifact_uri or "./mlruns", _authorship(), replica)


def artifact_repository(artifact_uri: str) -> ArtifactRepository:
    """Return the governed repository over the one that the name stands for."""
    return artifacts.govern(real_location(artifact_uri), _authorship(), _experiments_at)


def _experiments_at(path: str) -> Sequence[str]:
    return names_at(stores().tracking, path)


@functools.cache
def _authorship() -> Authorship:
    return Authorship(engine_for(real_uri(real_location(REGISTRY))), real_location(ARTIFACTS))
