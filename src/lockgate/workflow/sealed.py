"""Sealing: from now on nobody writes to the files of a version that was approved, or that serves."""

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.utils.workspace_context import ServerWorkspaceContext

from lockgate.database import seals
from lockgate.registry.mutation import Mutation
from lockgate.registry.sealing import Serving, serving
from lockgate.registry.transaction import reading, transaction
from lockgate.registry.versions import location_of
from lockgate.workflow.files import places_of
from lockgate.workflow.stores import Stores


def seal(begun: Mutation, stores: Stores, version: int, version_id: str) -> None:
    """Note where an approved version keeps its files, so that nothing is written there any more."""
    location = location_of(begun.session, begun.workspace, begun.name, version)
    if location:
        seals.add(begun.session, version_id, places_of(stores, location))


def seal_what_serves(stores: Stores) -> None:
    """Seal also what serves without an approval, because it served before a rule did: a rollback may go back to it."""
    with reading(stores.registry.engine) as session:
        found = serving(session)
        sealed = seals.sealed_among(session, (one.version_id for one in found))
    places = {one.version_id: _places(stores, one) for one in found if one.locations and one.version_id not in sealed}
    if not places:
        return
    with transaction(stores.registry.engine) as session:
        for version_id, where in places.items():
            seals.add(session, version_id, where)


def _places(stores: Stores, found: Serving) -> list[str]:
    # Nobody's call has chosen a workspace here; each version is looked for in its own.
    with ServerWorkspaceContext(found.workspace if MLFLOW_ENABLE_WORKSPACES.get() else None):
        return places_of(stores, found.locations[0])
