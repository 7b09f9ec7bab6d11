"""Sealing: from now on nobody writes to the files of a version that was approved, or that serves."""

from lockgate.database import seals
from lockgate.registry.facts import storage_location
from lockgate.registry.mutation import Mutation
from lockgate.registry.sealing import serving
from lockgate.registry.transaction import transaction
from lockgate.workflow.files import places_of
from lockgate.workflow.stores import Stores


def seal(begun: Mutation, stores: Stores, version: int, version_id: str) -> None:
    """Note where an approved version keeps its files, so that nothing is written there any more."""
    location = storage_location(begun.session, begun.workspace, begun.name, version)
    if location:
        seals.add(begun.session, version_id, places_of(stores, location))


def seal_what_serves(stores: Stores) -> None:
    """Seal also what serves without an approval, because it served before a rule did: a rollback may go back to it."""
    with transaction(stores.registry.engine) as session:
        for found in serving(session):
            seals.add(session, found.version_id, places_of(stores, found.locations[0]) if found.locations else ())
