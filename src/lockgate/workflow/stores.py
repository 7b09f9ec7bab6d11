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
