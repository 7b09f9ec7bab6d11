"""The doors that MLflow's plugin points lead to.

MLflow loads them while it is itself being imported, in clients too: so they import what they build only when it is
asked for.
"""

from importlib import import_module
from typing import Any

_BUILDERS = "lockgate.workflow.plugin"


def registry_store(store_uri: str) -> Any:
    """Return the governed registry store for `lockgate:registry`."""
    return import_module(_BUILDERS).registry_store(store_uri)


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Return the governed tracking store for `lockgate:backend`."""
    return import_module(_BUILDERS).tracking_store(store_uri, artifact_uri)


def artifact_repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """Return the governed artifact repository for `lockgate:artifacts`."""
    return import_module(_BUILDERS).artifact_repository(artifact_uri)
