"""Reading a version's `MLmodel` file before the transaction begins: it may be far away."""

from lockgate.registry.facts import ModelFile, read_model_file, storage_location
from lockgate.registry.transaction import reading
from lockgate.workflow.stores import Stores


def model_file(stores: Stores, name: str, version: int) -> ModelFile:
    """Return what the file says; nothing if there is no such version or file."""
    with reading(stores.registry.engine) as session:
        location = storage_location(session, stores.registry.workspace, name, version)
    return read_model_file(stores.tracking, location) if location else ModelFile()
