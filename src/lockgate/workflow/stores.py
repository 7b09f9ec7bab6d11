"""The two stores of this process, as MLflow's handlers hold them."""

from dataclasses import dataclass

from mlflow.server import handlers
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

from lockgate.registry.store import GovernedStore


@dataclass(frozen=True)
class Stores:
    """The governed registry store, and the tracking store that has the runs."""

    registry: GovernedStore
    tracking: TrackingStore


def stores() -> Stores:
    """Return the stores of this process."""
    return Stores(handlers._get_model_registry_store(), handlers._get_tracking_store())


def disconnect(stores: Stores) -> None:
    """Close the connections of this process to its databases. Whoever asks something next makes new ones."""
    for store in (stores.registry, stores.tracking):
        for engine in (store.engine, store.read_engine):
            if engine is not None:
                engine.dispose()
